//! `pillion healthcheck`: asks the agent in this network namespace whether it is well.
//!
//! Promises: an answer within two seconds, as an exit code and one line that ECS and Docker show.
//! Never: starts a runtime, or waits longer for an agent that dribbles.

use std::{
    ffi::OsString,
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    process::ExitCode,
    time::{Duration, Instant},
};

use super::{FAILURE, USAGE, complain, print, run};
use crate::{config, tell::chain};

/// ECS gives a health check 5 s unless told otherwise.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes of an answer that are read. `/metrics` of an agent with 64 containers has about 60 KiB.
const ANSWER_BYTES_MAX: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("nobody answers at {address} (is the agent running, and is this its admin address?)")]
    Connect { address: SocketAddr, source: io::Error },
    #[error("the agent at {address} took the question and did not answer")]
    Exchange { address: SocketAddr, source: io::Error },
    #[error("what listens at {address} is not pillion: it does not speak HTTP")]
    NotHttp { address: SocketAddr },
}

/// Where the collector's `health_check` extension answers.
const COLLECTOR_PORT: u16 = 13_133;

/// As the program of this name in ADOT's image: `-port N`, else 13133.
pub(super) fn as_collector(arguments: &[OsString]) -> ExitCode {
    let texts: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let port = match &texts[..] {
        [] => Some(COLLECTOR_PORT),
        [flag, port] if matches!(&**flag, "-port" | "--port") => port.parse().ok(),
        [both] => both.trim_start_matches('-').strip_prefix("port=").and_then(|port| port.parse().ok()),
        _ => None,
    };
    match port {
        Some(port) => healthcheck(Some(SocketAddr::from(([127, 0, 0, 1], port)))),
        None => {
            complain("Usage: healthcheck [-port PORT]\n");
            ExitCode::from(USAGE)
        }
    }
}

pub(super) fn healthcheck(address: Option<SocketAddr>) -> ExitCode {
    let Some(address) = address.or_else(configured) else {
        complain("pillion: the configuration turns the admin address off, so nobody can be asked\n");
        return ExitCode::from(FAILURE);
    };
    match fetch(address, "/healthz", TIMEOUT) {
        Ok((200, body)) => print(format_args!("{}\n", body.trim())),
        Ok((status, body)) => {
            print(format_args!("not well ({status}): {}\n", body.trim()));
            ExitCode::from(FAILURE)
        }
        Err(error) => {
            print(format_args!("{}\n", chain(&error)));
            ExitCode::from(FAILURE)
        }
    }
}

/// The admin address of the agent that runs with the same environment; `None` if it has none.
fn configured() -> Option<SocketAddr> {
    match config::load(&run::sources(None)) {
        Ok((config, _)) => config.admin,
        // The agent was called with a file that we do not know of.
        Err(_) => Some(SocketAddr::from(([127, 0, 0, 1], 9464))),
    }
}

/// Asks an admin address for a page; returns the status and the body.
pub(super) fn fetch(address: SocketAddr, path: &str, within: Duration) -> Result<(u16, String), FetchError> {
    let until = Instant::now() + within;
    let stream =
        TcpStream::connect_timeout(&address, within).map_err(|source| FetchError::Connect { address, source })?;
    let answer = exchange(stream, address, path, until).map_err(|source| FetchError::Exchange { address, source })?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|code| code.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => Ok((status, body.to_owned())),
        _ => Err(FetchError::NotHttp { address }),
    }
}

fn exchange(mut stream: TcpStream, address: SocketAddr, path: &str, until: Instant) -> io::Result<Vec<u8>> {
    stream.set_write_timeout(Some(TIMEOUT))?;
    // `localhost` is a name that the agent answers to wherever it listens.
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n", address.port());
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 8 * 1024];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() as u64 > ANSWER_BYTES_MAX {
            return Err(io::ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return Ok(answer),
            n => answer.extend_from_slice(&piece[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    /// A server that reads a request, writes `answer`, and then holds or closes the connection.
    fn server(answer: &'static str, close: bool) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let n = stream.read(&mut request).unwrap();
            assert!(request[..n].starts_with(b"GET /healthz HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).unwrap();
            if !close {
                // Ends when the client hangs up.
                let _ = stream.read(&mut request);
            }
        });
        address
    }

    #[test]
    fn a_well_and_an_ill_agent_are_told_apart() {
        let well = server("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n", true);
        assert_eq!(fetch(well, "/healthz", TIMEOUT).unwrap(), (200, "ok\n".into()));
        let ill = server("HTTP/1.1 503 Service Unavailable\r\n\r\nstuck for 16 minutes\n", true);
        assert_eq!(fetch(ill, "/healthz", TIMEOUT).unwrap(), (503, "stuck for 16 minutes\n".into()));
    }

    #[test]
    fn what_is_not_an_agent_is_named() {
        let within = Duration::from_millis(200);
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        assert!(matches!(fetch(closed, "/healthz", within), Err(FetchError::Connect { .. })));
        for strange in ["", "SSH-2.0-OpenSSH\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1", "HTTP/1.1 2é\r\n\r\n"] {
            assert!(matches!(fetch(server(strange, true), "/healthz", within), Err(FetchError::NotHttp { .. })));
        }
        let silent = server("HTTP/1.1 200 OK\r\n", false);
        assert!(matches!(fetch(silent, "/healthz", within), Err(FetchError::Exchange { .. })));
    }
}
