//! The server half of HTTP/1.1 for the doubles: reads one request after another from a connection.
//!
//! Promises: knows exactly what a client sent: headers in their order, the body byte by byte, `Content-Length` or
//! chunked. The caller owns the socket, so that it can answer wrongly, slowly or not at all.
//! Never: writes; hides a malformed request from the test (that is an `InvalidData` error).

use std::{
    io::{self, Read},
    net::TcpStream,
};

use memchr::memmem;

/// The largest head taken.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// The largest body taken. CloudWatch Logs itself takes little more than 1 MiB.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A request without its body, which stays in [`Connection::body`].
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`, `GET`, ...
    pub method: String,
    /// Path and query as they stood in the request line.
    pub path: String,
    /// Names (as written) and trimmed values, in their order.
    pub headers: Vec<(String, String)>,
}

impl Request {
    /// The value of the first header of this name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// One accepted connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Bytes that were read and not used: `unused[from..to]`.
    unused: Vec<u8>,
    from: usize,
    to: usize,
    /// Grows to the largest body and is used again, so that a fast client costs no page faults here.
    body: Vec<u8>,
    body_bytes: usize,
}

impl Connection {
    /// Takes over an accepted socket.
    pub fn new(stream: TcpStream) -> Self {
        Self { stream, unused: vec![0; HEAD_BYTES_MAX], from: 0, to: 0, body: Vec::new(), body_bytes: 0 }
    }

    /// The socket, to answer on.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The body of the last request.
    pub fn body(&self) -> &[u8] {
        &self.body[..self.body_bytes]
    }

    /// Reads a whole request; `None` when the client closed between two requests.
    pub fn request(&mut self) -> io::Result<Option<Request>> {
        let Some(request) = self.head()? else { return Ok(None) };
        self.read_body(&request)?;
        Ok(Some(request))
    }

    /// Reads the body of the request whose head was read last.
    pub fn read_body(&mut self, request: &Request) -> io::Result<()> {
        self.body_bytes = 0;
        if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            self.chunks()?;
        } else if let Some(length) = request.header("content-length") {
            let length = length.parse().map_err(|_| invalid("content-length is no number"))?;
            self.body_part(length)?;
        }
        Ok(())
    }

    /// Reads the head of a request and leaves its body in the socket.
    pub fn head(&mut self) -> io::Result<Option<Request>> {
        loop {
            if let Some(end) = memmem::find(&self.unused[self.from..self.to], b"\r\n\r\n") {
                let head = std::str::from_utf8(&self.unused[self.from..self.from + end])
                    .map_err(|_| invalid("the head is not UTF-8"))?;
                let request = parse(head)?;
                self.from += end + 4;
                return Ok(Some(request));
            }
            if self.fill()? == 0 {
                let clean = self.from == self.to;
                return if clean { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads more bytes behind the unused ones.
    fn fill(&mut self) -> io::Result<usize> {
        self.unused.copy_within(self.from..self.to, 0);
        self.to -= self.from;
        self.from = 0;
        if self.to == self.unused.len() {
            return Err(invalid("the head is too long"));
        }
        let count = (&self.stream).read(&mut self.unused[self.to..])?;
        self.to += count;
        Ok(count)
    }

    /// Appends the next `length` bytes to the body.
    fn body_part(&mut self, length: usize) -> io::Result<()> {
        let end = self.body_bytes + length;
        if end > BODY_BYTES_MAX {
            return Err(invalid("the body is too long"));
        }
        if self.body.len() < end {
            self.body.resize(end, 0);
        }
        let have = length.min(self.to - self.from);
        self.body[self.body_bytes..self.body_bytes + have].copy_from_slice(&self.unused[self.from..self.from + have]);
        self.from += have;
        (&self.stream).read_exact(&mut self.body[self.body_bytes + have..end])?;
        self.body_bytes = end;
        Ok(())
    }

    fn chunks(&mut self) -> io::Result<()> {
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(|_| invalid("a chunk's size is no number"))?;
            self.body_part(size)?;
            if !self.line()?.is_empty() {
                return Err(invalid("a chunk does not end where it said"));
            }
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = memmem::find(&self.unused[self.from..self.to], b"\r\n") {
                let line = String::from_utf8_lossy(&self.unused[self.from..self.from + end]).into_owned();
                self.from += end + 2;
                return Ok(line);
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

fn parse(head: &str) -> io::Result<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ');
    let (Some(method), Some(path), Some("HTTP/1.1" | "HTTP/1.0")) = (first.next(), first.next(), first.next()) else {
        return Err(invalid("the request line is not HTTP/1.1"));
    };
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| invalid("a header without a colon"))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Ok(Request { method: method.to_owned(), path: path.to_owned(), headers })
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener};

    use super::*;

    fn connected(bytes: &[u8]) -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.write_all(bytes).unwrap();
        drop(client);
        Connection::new(listener.accept().unwrap().0)
    }

    #[test]
    fn two_requests_in_one_write_are_told_apart() {
        let mut connection = connected(
            b"POST /a?b=c HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloPOST / HTTP/1.1\r\n\
              transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n",
        );
        let first = connection.request().unwrap().unwrap();
        assert_eq!((first.path.as_str(), first.header("HOST")), ("/a?b=c", Some("x")));
        assert_eq!(connection.body(), b"hello");
        assert_eq!(connection.request().unwrap().unwrap().path, "/");
        assert_eq!(connection.body(), b"abcde");
        assert!(connection.request().unwrap().is_none());
    }

    #[test]
    fn a_body_that_ends_early_is_an_error() {
        let mut connection = connected(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel");
        assert_eq!(connection.request().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
