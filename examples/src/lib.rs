//! Small apps that use the sidecar the way a service would; see README.md.
//!
//! Promises: what the apps share, so that each shows its own point only.
//! Never: a part of the agent.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    os::unix::net::UnixStream,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pillion::logs::forward::types::EventTime;

/// Where the log router listens, as ECS tells an app: the socket if the app has it, else `FLUENT_HOST` and
/// `FLUENT_PORT`, which ECS sets in the network modes `awsvpc` and `bridge`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Router {
    /// A unix socket.
    Unix(String),
    /// A host and a port.
    Tcp(String, u16),
}

/// A connection to the router.
pub trait Connection: Read + Write {}

impl<T: Read + Write> Connection for T {}

impl Router {
    /// Where FireLens puts the socket in the router's own container, and in those that mount its folder.
    pub const SOCKET: &str = "/var/run/fluent.sock";
    /// How long the router may take to answer.
    const TIMEOUT: Duration = Duration::from_secs(5);

    /// Chooses by `host` and `port`, the two variables that ECS sets; without them the socket is the only way.
    pub fn choose(host: Option<&str>, port: Option<&str>) -> Self {
        match host {
            Some(host) => Self::Tcp(host.to_owned(), port.and_then(|port| port.parse().ok()).unwrap_or(24_224)),
            None => Self::Unix(Self::SOCKET.to_owned()),
        }
    }

    /// Connects. An answer that does not come in five seconds is an error, so that a log line never holds up the app.
    pub fn connect(&self) -> io::Result<Box<dyn Connection>> {
        match self {
            Self::Unix(path) => {
                let stream = UnixStream::connect(Path::new(path))?;
                stream.set_read_timeout(Some(Self::TIMEOUT))?;
                stream.set_write_timeout(Some(Self::TIMEOUT))?;
                Ok(Box::new(stream))
            }
            Self::Tcp(host, port) => {
                let stream = TcpStream::connect((host.as_str(), *port))?;
                stream.set_read_timeout(Some(Self::TIMEOUT))?;
                stream.set_write_timeout(Some(Self::TIMEOUT))?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream))
            }
        }
    }
}

/// Now, with nanoseconds.
pub fn now() -> EventTime {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime { seconds: u32::try_from(now.as_secs()).unwrap_or(u32::MAX), nanos: now.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_ecs_come_before_the_socket() {
        assert_eq!(Router::choose(None, Some("24224")), Router::Unix(Router::SOCKET.to_owned()));
        for (port, number) in [(None, 24_224), (Some("1"), 1), (Some("no number"), 24_224)] {
            assert_eq!(Router::choose(Some("127.0.0.1"), port), Router::Tcp("127.0.0.1".to_owned(), number));
        }
    }
}
