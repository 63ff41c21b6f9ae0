//! The admin address: `/metrics`, `/healthz`, `/readyz` and `/status` over HTTP.
//!
//! Promises: it answers while everything else is stuck, because it has a thread and a runtime of its own; a client that
//! is slow, silent or hostile costs one of 64 connections for at most 70 seconds, and a new client always gets in (the
//! oldest connection makes room); the loop survives a process without free descriptors.
//! Never: changes anything (only GET and HEAD exist, and a request with a body is refused); answers a page that was
//! opened under another name for our address (DNS rebinding), unless it listens beyond loopback on purpose.

mod answer;

use std::{
    collections::VecDeque,
    future::Future,
    io,
    net::{SocketAddr, TcpListener},
    pin::pin,
    sync::Arc,
    thread,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    task::AbortHandle,
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::{
    life::Life,
    tell::{RateLimited, chain, exposition::Form},
};

/// Open connections. Prometheus, a health check and a person with a browser need fewer than ten.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request's head. Hyper's smallest buffer; curl sends 80, a browser under 2 KiB.
const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Headers of a request; a browser sends about 20.
const HEADERS_MAX: usize = 64;
/// Time to send a request's head, and the longest pause between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// After this a connection takes no more requests; so one that never reads its answers ends too.
const CONNECTION_AGE_MAX: Duration = Duration::from_secs(60);
/// How long such a connection may take to finish the answer it is at.
const LAST_ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// The pause after `accept` failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

static ACCEPT_FAILED: RateLimited = RateLimited::new(Duration::from_secs(10));

/// What the admin address tells. Called on the admin thread; must not block.
pub trait Report: Send + Sync {
    /// The page `/metrics`.
    fn metrics(&self, form: Form) -> String;
    /// The page `/status`.
    fn status(&self) -> serde_json::Value;
    /// Whether the agent does its work; if not, why. Shown on `/healthz`, which decides if ECS replaces the task.
    fn alive(&self) -> Result<(), String>;
    /// What does not work although the user wants it, and which no replacement of the task would mend: shown on `/healthz`
    /// and `/readyz`, which stay well.
    fn degraded(&self) -> Vec<String>;
    /// Whether the agent takes new work; if not, why. Shown on `/readyz`.
    fn ready(&self) -> Result<(), String>;
}

/// The running admin address. Dropping it ends the thread.
#[derive(Debug)]
#[must_use = "the admin address closes when this is dropped"]
pub struct Admin {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Admin {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // It panicked only if the runtime did; the agent ends either way.
            let _ = thread.join();
        }
    }
}

/// Starts to answer on `listener`.
pub fn serve(listener: TcpListener, report: Arc<dyn Report>) -> io::Result<Admin> {
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
    let stop = CancellationToken::new();
    let until = stop.clone();
    let thread = thread::Builder::new().name("admin".into()).spawn(move || {
        runtime.block_on(async move {
            match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let accept = async || listener.accept().await.map(|(stream, _)| stream);
                    until.run_until_cancelled(accept_all(accept, address, report)).await;
                }
                Err(error) => warn!(error = %chain(&error), "admin address cannot be served"),
            }
        });
    })?;
    Ok(Admin { address, stop, thread: Some(thread) })
}

/// Accepts for ever, whatever `accept` answers.
async fn accept_all<A>(accept: A, address: SocketAddr, report: Arc<dyn Report>)
where
    A: AsyncFn() -> io::Result<TcpStream>,
{
    // A life of its own: a panic in a report ends its connection, and the agent's tasks are not waited for here.
    let life = Life::default();
    let mut open: VecDeque<AbortHandle> = VecDeque::with_capacity(CONNECTIONS_MAX);
    loop {
        match accept().await {
            Ok(stream) => {
                open.retain(|connection| !connection.is_finished());
                if open.len() >= CONNECTIONS_MAX
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let connection = life.spawn("admin connection", converse(stream, address, Arc::clone(&report)));
                open.push_back(connection.abort_handle());
            }
            Err(error) => {
                if let Some(suppressed) = ACCEPT_FAILED.allow(Instant::now()) {
                    warn!(error = %chain(&error), suppressed, "admin address cannot accept; trying again");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Answers the requests of one connection.
fn converse<S>(stream: S, address: SocketAddr, report: Arc<dyn Report>) -> impl Future<Output = ()> + Send
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| {
        let answer = answer::answer(&request, address, &*report);
        std::future::ready(Ok::<_, std::convert::Infallible>(answer))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service);
    async move {
        let mut connection = pin!(connection);
        let ended = match timeout(CONNECTION_AGE_MAX, connection.as_mut()).await {
            Ok(ended) => ended,
            Err(_) => {
                connection.as_mut().graceful_shutdown();
                timeout(LAST_ANSWER_TIMEOUT, connection).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            debug!(error = %chain(&error), "admin connection ended");
        }
    }
}

#[cfg(test)]
mod tests;
