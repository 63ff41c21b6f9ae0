//! Writes answers, right ones and wrong ones.
//!
//! Promises: the bytes on the wire are what the action says; a reset is a real RST.
//! Never: decides which action it is.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::Duration,
};

use super::script::Action;

/// Chunks of [`Action::EndlessBody`]; the client must have had enough long before 1 GiB.
const ENDLESS_CHUNKS: usize = 16 * 1024;

/// An answer that is not wrong.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) body: String,
    /// The service's own error code, for the log of requests.
    pub(super) code: Option<&'static str>,
}

impl Answer {
    pub(super) fn json(status: u16, body: String) -> Self {
        Self { status, content_type: "application/x-amz-json-1.1", body, code: None }
    }

    pub(super) fn error(status: u16, code: &'static str, message: &str) -> Self {
        let body = serde_json::json!({"__type": code, "message": message}).to_string();
        Self { code: Some(code), ..Self::json(status, body) }
    }
}

/// What an answer's head says besides the answer.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// `Date`.
    pub(super) date: String,
    /// `x-amzn-RequestId`.
    pub(super) request_id: String,
}

/// Whether the connection may serve another request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum After {
    Keep,
    Close,
}

/// Writes `answer`.
pub(super) fn write(mut stream: &TcpStream, head: &Head, answer: &Answer) -> io::Result<After> {
    let mut text = head_of(head, answer);
    text.push_str(&answer.body);
    stream.write_all(text.as_bytes())?;
    Ok(After::Keep)
}

/// Writes `answer` one byte at a time.
pub(super) fn write_slowly(mut stream: &TcpStream, head: &Head, answer: &Answer, pause: Duration) -> io::Result<After> {
    stream.write_all(head_of(head, answer).as_bytes())?;
    for byte in answer.body.bytes() {
        thread::sleep(pause);
        stream.write_all(&[byte])?;
    }
    Ok(After::Keep)
}

/// What takes the place of an answer; `None` if `action` is none of these.
pub(super) fn misbehave(mut stream: &TcpStream, head: &Head, action: &Action) -> Option<io::Result<After>> {
    let error = |status, code, message: &str| write(stream, head, &Answer::error(status, code, message));
    let plain = |text: String| stream_out(stream, text.as_bytes());
    Some(match action {
        Action::Throttle => error(400, "ThrottlingException", "Rate exceeded"),
        Action::Error(status, code, message) => error(*status, code, message),
        Action::Denied => error(400, "AccessDeniedException", "User is not authorized to perform this action"),
        Action::ExpiredToken => {
            error(400, "ExpiredTokenException", "The security token included in the request is expired")
        }
        Action::TooLarge => plain(format!("HTTP/1.1 413 x\r\nDate: {}\r\nContent-Length: 0\r\n\r\n", head.date)),
        Action::Status(status, retry_after) => {
            let retry_after = retry_after.map_or(String::new(), |seconds| format!("Retry-After: {seconds}\r\n"));
            let date = &head.date;
            plain(format!("HTTP/1.1 {status} x\r\nDate: {date}\r\n{retry_after}Content-Length: 0\r\n\r\n"))
        }
        Action::HtmlError => {
            let page = "<html><head><title>502 Bad Gateway</title></head><body>502</body></html>";
            let length = page.len();
            plain(format!("HTTP/1.1 502 x\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}"))
        }
        Action::NoRequestId => plain("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}".to_owned()),
        Action::Redirect(to) => plain(format!("HTTP/1.1 307 x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n")),
        Action::Garbage => plain("\u{1}\u{2}\u{3} this is not HTTP\r\n\r\n".to_owned()).and(Ok(After::Close)),
        Action::ResetBeforeAnswer => reset(stream),
        Action::EndlessBody => {
            let begun =
                plain("HTTP/1.1 200 OK\r\nx-amzn-RequestId: x\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned());
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            begun
                .and_then(|_| (0..ENDLESS_CHUNKS).try_for_each(|_| stream.write_all(chunk.as_bytes())))
                .and(Ok(After::Close))
        }
        Action::Serve
        | Action::Poisoned(_)
        | Action::Hang
        | Action::SlowBody(_)
        | Action::ResetMidBody
        | Action::Informational(_)
        | Action::AfterServing(_) => return None,
    })
}

/// Reads about half of a body of `length` bytes and resets the connection.
pub(super) fn reset_mid_body(mut stream: &TcpStream, length: usize) -> io::Result<After> {
    // Some of the body may have come with the head; what is read here is at most half.
    let mut half = vec![0; (length / 2).min(64 * 1024)];
    let _ = stream.read(&mut half)?;
    reset(stream)
}

/// Ends the connection with an RST.
fn reset(stream: &TcpStream) -> io::Result<After> {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
    Ok(After::Close)
}

/// Ends the connection in good order.
pub(super) fn close(stream: &TcpStream) {
    // Fails only if the peer was first.
    let _ = stream.shutdown(Shutdown::Both);
}

fn stream_out(mut stream: &TcpStream, bytes: &[u8]) -> io::Result<After> {
    stream.write_all(bytes)?;
    Ok(After::Keep)
}

fn head_of(head: &Head, answer: &Answer) -> String {
    format!(
        "HTTP/1.1 {} x\r\nx-amzn-RequestId: {}\r\nDate: {}\r\nContent-Type: {}\r\nContent-Length: {}\r\n\r\n",
        answer.status,
        head.request_id,
        head.date,
        answer.content_type,
        answer.body.len()
    )
}
