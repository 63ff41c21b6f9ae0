//! A backend that takes OTLP by HTTP and gRPC, with faults on demand.
//!
//! Promises: keeps every request that it took, decompressed, and what its headers said; acts are used up one a request, in order;
//! a request that is no OTLP, by its shape or its headers, is a violation.
//! Never: acts by itself.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use flate2::read::GzDecoder;

use super::{
    grpc,
    span::{Span, count, spans},
};
use crate::http::{Connection, Request};

/// What is done with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// It is taken.
    Take,
    /// It is taken, and the answer says that so many spans were not.
    Partly(u64),
    /// A status of HTTP, with `Retry-After` in seconds if given. Nothing is taken.
    Status(u16, Option<u32>),
    /// A status of gRPC, with RetryInfo in seconds if given. Nothing is taken.
    Grpc(u32, Option<u64>),
    /// The connection is reset. Nothing is taken.
    Reset,
    /// It is taken, and the connection is reset.
    TakeAndReset,
    /// It is taken, and answered after so many milliseconds.
    Slow(u64),
    /// Like a service that refuses what holds a span of this id: 400.
    Poison(u64),
}

/// What came with a request that was read.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The path.
    pub path: String,
    /// The headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The spans in it.
    pub spans: usize,
    /// Bytes of the body as they came, and decompressed.
    pub bytes: (usize, usize),
    /// The body, decompressed.
    pub body: Vec<u8>,
    /// What was done.
    pub act: Act,
}

impl Seen {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Default)]
pub(super) struct State {
    acts: VecDeque<Act>,
    always: Option<Act>,
    seen: Vec<Seen>,
    spans: Vec<Span>,
    counted: u64,
    keeps_no_spans: bool,
    pub(super) violations: Vec<String>,
}

/// What connections share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    stopping: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

/// A running backend. Dropping it closes all connections.
#[derive(Debug)]
pub struct Backend {
    http: SocketAddr,
    grpc: grpc::Server,
    shared: Arc<Shared>,
}

impl Default for Backend {
    fn default() -> Self {
        Self::start()
    }
}

impl Backend {
    /// Starts one on two free ports of loopback.
    pub fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let http = listener.local_addr().expect("a bound listener has an address");
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { http, grpc: grpc::Server::start(Arc::clone(&shared)), shared }
    }

    /// The value of `endpoint` for HTTP.
    pub fn http(&self) -> String {
        format!("http://{}", self.http)
    }

    /// The value of `endpoint` for gRPC.
    pub fn grpc(&self) -> String {
        format!("http://{}", self.grpc.address())
    }

    /// Does these next, one a request.
    pub fn script(&self, acts: impl IntoIterator<Item = Act>) {
        self.shared.state().acts.extend(acts);
    }

    /// Does this whenever the script is used up.
    pub fn always(&self, act: Act) {
        self.shared.state().always = Some(act);
    }

    /// Counts spans and keeps none, for who measures.
    pub fn only_count(&self) {
        self.shared.state().keeps_no_spans = true;
    }

    /// The spans that were taken, in the order of their ids.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.shared.state().spans.clone();
        spans.sort();
        spans
    }

    /// How many spans were taken.
    pub fn count(&self) -> u64 {
        self.shared.state().counted
    }

    /// The requests that were read.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.state().seen.clone()
    }

    /// Panics if a request was no OTLP.
    #[track_caller]
    pub fn assert_no_violations(&self) {
        let state = self.shared.state();
        assert!(state.violations.is_empty(), "{:#?}", state.violations);
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.http);
        for connection in self.shared.connections.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = connection.shutdown(std::net::Shutdown::Both);
        }
    }
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is to be done with this request, which is written down, and its spans if they are taken.
    pub(super) fn took(&self, path: &str, headers: Vec<(String, String)>, body: &[u8], sent_bytes: usize) -> Act {
        if self.state().keeps_no_spans {
            let spans = count(body);
            self.state().counted += spans;
            return Act::Take;
        }
        let found = spans(body);
        let mut state = self.state();
        let act = state.acts.pop_front().or_else(|| state.always.clone()).unwrap_or(Act::Take);
        let act = match act {
            Act::Poison(id) if found.iter().all(|span| span.id != id) => Act::Take,
            act => act,
        };
        let takes = match act {
            Act::Take | Act::TakeAndReset | Act::Slow(_) => found.len(),
            Act::Partly(refused) => found.len().saturating_sub(usize::try_from(refused).unwrap_or(usize::MAX)),
            Act::Status(..) | Act::Grpc(..) | Act::Reset | Act::Poison(_) => 0,
        };
        let seen = Seen {
            path: path.to_owned(),
            headers,
            spans: found.len(),
            bytes: (sent_bytes, body.len()),
            body: body.to_vec(),
            act: act.clone(),
        };
        state.seen.push(seen);
        state.spans.extend_from_slice(&found[..takes]);
        state.counted += takes as u64;
        act
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().map_while(Result::ok) {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(kept) = stream.try_clone() {
            shared.connections.lock().unwrap_or_else(PoisonError::into_inner).push(kept);
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // A client that closes is no fault of ours.
            let _ = serve(stream, &shared);
        });
    }
}

fn serve(stream: TcpStream, shared: &Shared) -> io::Result<()> {
    let mut connection = Connection::new(stream);
    while let Some(request) = connection.request()? {
        let mut plain = Vec::new();
        let body = match request.header("content-encoding") {
            Some("gzip") => {
                GzDecoder::new(connection.body()).read_to_end(&mut plain)?;
                &plain
            }
            _ => connection.body(),
        };
        check(&request, shared);
        let headers = request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.clone())).collect();
        let act = shared.took(&request.path, headers, body, connection.body().len());
        match act {
            Act::Take | Act::Poison(_) | Act::Slow(_) | Act::Partly(_) | Act::Status(..) | Act::Grpc(..) => {
                answer(connection.stream(), &act)?;
            }
            Act::Reset | Act::TakeAndReset => {
                // No time to linger: the close is a reset.
                socket2::SockRef::from(connection.stream()).set_linger(Some(Duration::ZERO))?;
                return connection.stream().shutdown(std::net::Shutdown::Both);
            }
        }
    }
    Ok(())
}

fn check(request: &Request, shared: &Shared) {
    let is_good = request.method == "POST"
        && request.header("content-type") == Some("application/x-protobuf")
        && matches!(request.header("content-encoding"), None | Some("gzip"))
        && request.header("user-agent").is_some_and(|agent| agent.starts_with("pillion/"));
    if !is_good {
        shared.state().violations.push(format!("{request:?}"));
    }
}

fn answer(mut stream: &TcpStream, act: &Act) -> io::Result<()> {
    let (status, more, body) = match act {
        Act::Partly(refused) => (200, String::new(), partial_success(*refused)),
        Act::Status(status, after) => (
            *status,
            after.map(|after| format!("Retry-After: {after}\r\n")).unwrap_or_default(),
            b"\x12\x04told".to_vec(),
        ),
        Act::Poison(_) => (400, String::new(), b"\x08\x03\x12\x08bad span".to_vec()),
        Act::Slow(milliseconds) => {
            thread::sleep(Duration::from_millis(*milliseconds));
            (200, String::new(), Vec::new())
        }
        _ => (200, String::new(), Vec::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/x-protobuf\r\n{more}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), &body].concat())
}

/// `ExportTraceServiceResponse` of a backend that refused some.
pub(super) fn partial_success(refused: u64) -> Vec<u8> {
    let mut partial = vec![8];
    let mut rest = refused;
    while rest >= 0x80 {
        partial.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    partial.push(rest as u8);
    partial.extend(super::span::field(2, b"too old"));
    super::span::field(1, &partial)
}
