//! A server for tests, on threads of its own: it answers what the script says, as slowly and as wrongly as it says.
//!
//! Promises: listens on a free port of the loopback, keeps what it was asked, ends with the test.
//! Never: is in the product.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

/// The server.
pub(crate) struct Stub {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
    done: Arc<AtomicBool>,
}

/// A request that arrived whole.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// The value of a header; `name` in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

impl Stub {
    /// Gives the n-th request the n-th answer, and closes the connection after the last.
    pub(crate) fn answering<A: AsRef<[u8]>>(answers: impl IntoIterator<Item = A>) -> Self {
        let answers: VecDeque<Vec<u8>> = answers.into_iter().map(|answer| answer.as_ref().to_vec()).collect();
        let answers = Mutex::new(answers);
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        let mut stub = Self::handling(move |stream| {
            let mut reader = BufReader::new(stream.try_clone()?);
            while let Some(request) = read_request(&mut reader)? {
                kept.lock().expect("not poisoned").push(request);
                let (answer, left) = {
                    let mut answers = answers.lock().expect("not poisoned");
                    (answers.pop_front().unwrap_or_default(), answers.len())
                };
                (&stream).write_all(&answer)?;
                if left == 0 {
                    break;
                }
            }
            Ok(())
        });
        stub.seen = seen;
        stub
    }

    /// Gives each connection to `handle`, on a thread of its own. Its errors are the client's doing and mean nothing.
    pub(crate) fn handling(handle: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let stub = Self {
            address: listener.local_addr().expect("it is bound"),
            seen: Arc::default(),
            connections: Arc::default(),
            done: Arc::default(),
        };
        let (connections, done) = (Arc::clone(&stub.connections), Arc::clone(&stub.done));
        let handle = Arc::new(handle);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                connections.fetch_add(1, Ordering::Relaxed);
                let handle = Arc::clone(&handle);
                thread::spawn(move || drop(handle(stream)));
            }
        });
        stub
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port.
    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }

    /// The number of connections so far.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(self.address)); // wakes the thread that accepts
    }
}

/// An answer with a status line, these headers (each ending with a line break) and a body.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

/// Reads until the end of a request's head.
pub(crate) fn read_head(reader: &mut impl BufRead) -> io::Result<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => return Ok(lines),
            text => lines.push(text.to_owned()),
        }
    }
}

fn read_request(reader: &mut impl BufRead) -> io::Result<Option<Seen>> {
    let mut lines = read_head(reader)?.into_iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let split = |line: String| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned()));
    let headers: Vec<_> = lines.filter_map(split).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length").and_then(|(_, value)| value.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body)?;
    Ok(Some(Seen { line, headers, body }))
}
