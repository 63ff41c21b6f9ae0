//! Connections on which OTLP comes in. Both ports speak both protocols: a client that was given the wrong port is served, too.
//!
//! Promises: a peer that sends no request, no whole one, too many at once, or does not read costs its own connection and only for
//! a while, at once if others need its place; a connection that is used is kept, also while the agent stops, until nothing came for longer than SDKs wait.
//! Never: knows what is in a request.

use std::{
    convert::Infallible,
    future::Future,
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, rt::Executor, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{
    export::Exports,
    reply::Reply,
    taker::{Rules, Takers},
};
use crate::{
    life::Life,
    limits,
    net::{
        listen::{self, Listener, Most, Polled},
        seats::{Seat, Seats},
        stall::Unstalled,
    },
    tell::{chain, counters::Counters},
};

/// How often a peer of HTTP/2 that says nothing is asked whether it is there, and how long it has to say so.
const ASK_EVERY: Duration = Duration::from_secs(60);
const ASK_TIMEOUT: Duration = Duration::from_secs(20);
/// Streams that a peer opened and reset again at once, before its connection is closed (CVE-2023-44487).
const RESETS_MAX: usize = 32;
/// How long a connection that gives way has to tell its peer.
const FAREWELL: Duration = Duration::from_millis(100);

/// What all connections of an input share.
struct Shared {
    exports: Exports,
    life: Life,
    connections: prometheus::IntGauge,
}

/// What is known of one connection's requests.
struct Use {
    running: AtomicUsize,
    last: Mutex<Instant>,
    first: CancellationToken,
}

/// Why a connection is not waited for any more.
enum Over {
    /// No request came.
    Unused,
    /// The agent stops, and no request came for a while.
    Quiet,
}

/// A request while it is answered.
struct Running<'a>(&'a Use);

/// Has streams of HTTP/2 served by tasks of ours, whose panics are counted.
#[derive(Clone)]
struct Streams(Life);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        self.0.spawn("otlp request", stream);
    }
}

/// Takes requests on `listener` until the agent stops and nobody sends any more, or until `closing`.
pub async fn serve(
    listener: Listener,
    takers: Takers,
    rules: Rules,
    life: &Life,
    counters: &Counters,
    closing: CancellationToken,
) -> io::Result<()> {
    let connections = counters.otlp.connections_open.clone();
    let shared = Arc::new(Shared { exports: Exports::new(takers, rules, counters), life: life.clone(), connections });
    let close = closing.clone();
    let seats = Seats::new(counters.connections_gave_way.with_label_values(&["otlp"]));
    let most = Most::giving_way(rules.connections_max, &seats);
    listen::serve(listener, most, life, "otlp connection", life.stopping(), closing, move |socket| {
        let (shared, close, seat) = (Arc::clone(&shared), close.clone(), seats.seat());
        async move {
            shared.connections.inc();
            match socket.polled() {
                Ok(Polled::Tcp(stream)) => {
                    // Answers are small and should not wait for more.
                    let _ = stream.set_nodelay(true);
                    close.run_until_cancelled(converse(stream, &shared, &seat)).await;
                }
                Ok(Polled::Unix(stream)) => {
                    close.run_until_cancelled(converse(stream, &shared, &seat)).await;
                }
                Err(error) => debug!(error = %chain(&error), "a connection for otlp could not be read"),
            }
            shared.connections.dec();
        }
    })
    .await
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, shared: &Arc<Shared>, seat: &Seat) {
    let usage = Arc::new(Use::default());
    let service = service_fn(|request: Request<Incoming>| {
        let (shared, usage, sitter) = (Arc::clone(shared), Arc::clone(&usage), seat.sitter());
        async move { Ok::<Response<Reply>, Infallible>(usage.count(shared.exports.answer(request, &sitter)).await) }
    });
    let (builder, stopping) = (builder(&shared.life), shared.life.stopping());
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(Unstalled::new(stream)), service));
    let over = async {
        if timeout(limits::OTLP_FIRST_REQUEST, usage.first.cancelled()).await.is_err() {
            return Over::Unused;
        }
        usage.quiet(&stopping).await;
        Over::Quiet
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        over = over => match over {
            Over::Unused => return debug!("a connection for otlp sent no request"),
            Over::Quiet => {
                connection.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = connection.as_mut() => ended,
                    () = seat.asked() => return,
                }
            }
        },
        () = seat.asked() => {
            debug!("a connection for otlp gave way");
            if seat.is_proven() {
                connection.as_mut().graceful_shutdown();
                let _ = timeout(FAREWELL, connection).await;
            }
            return;
        }
    };
    if let Err(error) = ended {
        debug!(error = %chain(&*error), "a connection for otlp ended");
    }
}

fn builder(life: &Life) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(Streams(life.clone()));
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::OTLP_IDLE)
        .max_buf_size(4 * limits::OTLP_HEAD_BYTES_MAX)
        .max_headers(limits::OTLP_HEADERS_MAX)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(ASK_EVERY)
        .keep_alive_timeout(ASK_TIMEOUT)
        .max_concurrent_streams(limits::OTLP_STREAMS_MAX)
        .initial_stream_window_size(limits::OTLP_WINDOW)
        .initial_connection_window_size(limits::OTLP_WINDOW)
        .max_frame_size(limits::OTLP_FRAME_BYTES_MAX)
        .max_header_list_size(limits::OTLP_HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX);
    builder
}

impl Default for Use {
    fn default() -> Self {
        Self { running: AtomicUsize::new(0), last: Mutex::new(Instant::now()), first: CancellationToken::new() }
    }
}

impl Use {
    async fn count<T>(&self, answering: impl Future<Output = T>) -> T {
        self.first.cancel();
        self.running.fetch_add(1, Ordering::Relaxed);
        let _running = Running(self);
        answering.await
    }

    fn last(&self) -> Instant {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the agent stops and no request came for a while.
    async fn quiet(&self, stopping: &CancellationToken) {
        stopping.cancelled().await;
        let begun = Instant::now();
        loop {
            let quiet_at = self.last().max(begun) + limits::OTLP_QUIET;
            if quiet_at <= Instant::now() && self.running.load(Ordering::Relaxed) == 0 {
                return;
            }
            sleep_until(quiet_at.max(Instant::now() + Duration::from_millis(100))).await;
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
