//! Connections and their requests.
//!
//! Promises: beyond the limit connections wait in the kernel; a peer that sends no whole head or body, or does not read, costs its own
//! connection and only for a while; once the agent stops, a request that is under way is answered and its connection closed.
//! Never: reads a body of more than [`PROXY_BODY_BYTES_MAX`], or of a request that is not let through.

use std::{convert::Infallible, io, pin::pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response, StatusCode, header::CONNECTION};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::SemaphorePermit,
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    Proxy,
    answer::{Answer, Outcome, Stopped, TOO_LARGE},
};
use crate::{
    life::Life,
    limits::{PROXY_BODY_BYTES_MAX, PROXY_CONNECTIONS_MAX, PROXY_HEAD_BYTES_MAX, PROXY_SMALL_BODY_BYTES},
    net::{
        listen::{self, Listener, Most, Polled},
        seats::{Seat, Seats},
        stall::Unstalled,
    },
    tell::chain,
};

/// Headers of a request; SDKs send fewer than 20.
const HEADERS_MAX: usize = 64;
/// Time to send a request's head, and the longest pause between two requests. SDKs ask for targets every 10 s.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// Time to send a body. On one host it is milliseconds.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The label of requests for what is not on the list.
const OTHER: &str = "other";

/// A body, and its place among the large ones if it is one.
type Read<'a> = (Bytes, Option<SemaphorePermit<'a>>);

/// Answers on `listener` until the agent stops and nobody is connected any more, or until `closing`.
pub async fn serve(listener: Listener, proxy: Arc<Proxy>, life: &Life, closing: CancellationToken) -> io::Result<()> {
    let (stop, close) = (life.stopping(), closing.clone());
    let seats = Seats::new(proxy.gave_way.clone());
    listen::serve(
        listener,
        Most::giving_way(PROXY_CONNECTIONS_MAX, &seats),
        life,
        "xray proxy connection",
        life.stopping(),
        closing,
        move |socket| {
            let (proxy, stop, close, seat) = (Arc::clone(&proxy), stop.clone(), close.clone(), seats.seat());
            async move {
                match socket.polled() {
                    Ok(Polled::Tcp(stream)) => {
                        // Not needed for an answer.
                        let _ = stream.set_nodelay(true);
                        close.run_until_cancelled(proxy.converse(stream, &stop, &seat)).await;
                    }
                    Ok(Polled::Unix(stream)) => {
                        close.run_until_cancelled(proxy.converse(stream, &stop, &seat)).await;
                    }
                    Err(error) => debug!(error = %chain(&error), "a connection of an sdk could not be read"),
                }
            }
        },
    )
    .await
}

impl Proxy {
    async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &self,
        stream: S,
        stop: &CancellationToken,
        seat: &Seat,
    ) {
        let service = service_fn(|request| async { Ok::<_, Infallible>(self.respond(request, seat).await) });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(PROXY_HEAD_BYTES_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(Unstalled::new(stream)), service);
        let mut connection = pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            // An SDK that has its answer asks on a new connection.
            () = seat.asked() => return,
            () = stop.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            debug!(error = %chain(&error), "a connection of an sdk ended");
        }
    }

    async fn respond(&self, request: Request<Incoming>, seat: &Seat) -> Response<Full<Bytes>> {
        let route = match self.judge(&request) {
            Ok(route) => route,
            Err(stopped) => {
                let Stopped(_, outcome, _) = stopped;
                self.count(OTHER, outcome);
                return closing(stopped.into(), !request.body().is_end_stream());
            }
        };
        let (head, body) = request.into_parts();
        let answer = match timeout(BODY_TIMEOUT, self.read(body)).await {
            Ok(Ok((body, _place))) => {
                let _answering = seat.sitter().answering();
                self.answer(route, &head.headers, body).await
            }
            Ok(Err(stopped)) => stopped.into(),
            Err(_) => Answer::own(StatusCode::REQUEST_TIMEOUT, Outcome::NoBody, "the body did not come"),
        };
        self.count(&route.path, answer.outcome);
        let is_unread = matches!(answer.outcome, Outcome::NoBody | Outcome::TooLarge);
        closing(answer, is_unread)
    }

    /// Reads a body. One that is not small waits for its turn.
    async fn read(&self, mut body: Incoming) -> Result<Read<'_>, Stopped> {
        let (mut read, mut place) = (BytesMut::new(), None);
        while let Some(frame) = body.frame().await {
            let broken = |_| Stopped(StatusCode::BAD_REQUEST, Outcome::NoBody, "the body is broken");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if read.len() + data.len() > PROXY_BODY_BYTES_MAX {
                return Err(TOO_LARGE);
            }
            if place.is_none() && read.len() + data.len() > PROXY_SMALL_BODY_BYTES {
                place = self.large.acquire().await.ok();
            }
            read.extend_from_slice(&data);
        }
        Ok((read.freeze(), place))
    }
}

/// What follows a request whose body was not read may be the body: it is never read as a request.
fn closing(answer: Answer, is_unread: bool) -> Response<Full<Bytes>> {
    let mut response = answer.into_response();
    if is_unread {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
