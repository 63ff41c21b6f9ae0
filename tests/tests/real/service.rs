//! What stands between the agent and moto, for moto neither throttles nor fails.
//!
//! Promises: passes requests and answers on as they are, unless it was told to throttle or to be down; counts what it read.
//! Never: changes an answer.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use tests::http::{Connection, Request};

const THROTTLED: &str = "{\"__type\":\"ThrottlingException\",\"message\":\"Rate exceeded\"}";

/// The service as the agent sees it. It ends with the test.
pub(crate) struct Service {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    behind: SocketAddr,
    state: Mutex<State>,
}

#[derive(Clone, Copy, Default)]
struct State {
    read: usize,
    throttle: usize,
    throttled: usize,
    is_down: bool,
    lost: usize,
}

impl Service {
    /// In front of what answers at this URL.
    pub(crate) fn before(url: &str) -> Self {
        let behind = url.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared { behind, state: Mutex::default() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&accepting);
                // A connection that breaks is what the agent does when it is killed.
                thread::spawn(move || shared.serve(stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Requests it has read so far.
    pub(crate) fn read(&self) -> usize {
        self.shared.state().read
    }

    /// Throttles the next `count` requests.
    pub(crate) fn throttle(&self, count: usize) {
        self.shared.state().throttle += count;
    }

    /// Requests it has throttled so far.
    pub(crate) fn throttled(&self) -> usize {
        self.shared.state().throttled
    }

    /// Ends each connection without an answer from now on, or no more.
    pub(crate) fn be_down(&self, is_down: bool) {
        self.shared.state().is_down = is_down;
    }

    /// Requests that got no answer.
    pub(crate) fn lost(&self) -> usize {
        self.shared.state().lost
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One request a connection: moto closes behind an answer, and so do we.
    fn serve(&self, stream: TcpStream) -> io::Result<()> {
        let mut connection = Connection::new(stream);
        let Some(request) = connection.request()? else { return Ok(()) };
        let before = {
            let mut state = self.state();
            let before = *state;
            state.read += 1;
            if before.is_down {
                state.lost += 1;
            } else if before.throttle > 0 {
                state.throttle -= 1;
                state.throttled += 1;
            }
            before
        };
        if before.is_down {
            return Ok(());
        }
        let answer = match before.throttle {
            0 => self.pass_on(&request, connection.body())?,
            _ => format!(
                "HTTP/1.1 400 Bad Request\r\nContent-Type: application/x-amz-json-1.1\r\nConnection: close\r\n\
                 Content-Length: {}\r\n\r\n{THROTTLED}",
                THROTTLED.len()
            )
            .into_bytes(),
        };
        connection.stream().write_all(&answer)
    }

    fn pass_on(&self, request: &Request, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect(self.behind)?;
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path);
        for (name, value) in &request.headers {
            if !["connection", "content-length", "transfer-encoding"].contains(&name.to_ascii_lowercase().as_str()) {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        head.push_str(&format!("Content-Length: {}\r\nConnection: close\r\n\r\n", body.len()));
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}
