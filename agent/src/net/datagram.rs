//! Sockets for datagrams that are read by a thread of their own.
//!
//! What nobody reads in time the kernel drops, and tells nobody but `/proc`. So the socket gets a large buffer, a thread reads it
//! that no other work of the agent can hold up, and what is dropped all the same is found out.
//!
//! Promises: a read ends after [`PATIENCE`] if nothing comes; what the kernel dropped is counted once.
//! Never: sends.

use std::{
    fs,
    io::{self, BufRead, BufReader},
    net::{SocketAddr, UdpSocket},
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::Path,
    time::Duration,
};

use rustix::{
    fs::fstat,
    net::{RecvFlags, recv, recvfrom, sockopt},
};

use super::listen::{BindError, SocketFile, remove_stale};

/// How long a read waits for a datagram. So long may a reader take to notice that it is to end.
pub const PATIENCE: Duration = Duration::from_millis(500);
/// Bytes that a datagram can have, and a few.
pub const DATAGRAM_BYTES_MAX: usize = 64 * 1024;

/// A bound socket.
#[derive(Debug)]
pub enum Datagrams {
    /// On UDP.
    Udp {
        /// The socket.
        socket: UdpSocket,
        /// By which the kernel's table names it.
        inode: u64,
        /// Whether the kernel is asked for the sender of each datagram.
        tells_sources: bool,
    },
    /// On a unix socket, where the kernel holds up who sends rather than drop anything.
    Unix {
        /// The socket.
        socket: UnixDatagram,
        /// Its file, which goes with it.
        file: SocketFile,
    },
}

/// A datagram that lies in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes it has.
    pub bytes: usize,
    /// Who sent it, from a socket that tells.
    pub source: Option<SocketAddr>,
}

impl Datagrams {
    /// Binds `address`. The kernel may keep up to `receive_bytes` until they are read, if the host allows so many.
    pub fn bind(address: SocketAddr, receive_bytes: usize) -> Result<Self, BindError> {
        let failed = |source| BindError::Udp { address, source };
        let socket = UdpSocket::bind(address).map_err(failed)?;
        sockopt::set_socket_recv_buffer_size(&socket, receive_bytes).map_err(|error| failed(error.into()))?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        let inode = fstat(&socket).map_err(|error| failed(error.into()))?.st_ino;
        Ok(Self::Udp { socket, inode, tells_sources: false })
    }

    /// The same one, which tells who sent each datagram. A unix socket cannot: who sends there has no name.
    pub fn telling_sources(mut self) -> Self {
        if let Self::Udp { tells_sources, .. } = &mut self {
            *tells_sources = true;
        }
        self
    }

    /// Binds a unix socket with the permission bits given.
    pub fn bind_unix(path: &Path, permissions: u32) -> Result<Self, BindError> {
        let failed = |source| BindError::Unix { path: path.to_owned(), source };
        let answers = || UnixDatagram::unbound().and_then(|socket| socket.connect(path)).is_ok();
        remove_stale(path, answers)?;
        let socket = UnixDatagram::bind(path).map_err(failed)?;
        fs::set_permissions(path, fs::Permissions::from_mode(permissions)).map_err(failed)?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
        Ok(Self::Unix { socket, file: SocketFile::new(path) })
    }

    /// Where it listens, for people.
    pub fn place(&self) -> String {
        match self {
            Self::Udp { socket, .. } => {
                socket.local_addr().map_or_else(|_| "udp".to_owned(), |address| format!("udp {address}"))
            }
            Self::Unix { file, .. } => format!("unix {}", file.path().display()),
        }
    }

    /// The next datagram, after at most [`PATIENCE`]. `None` if there was none.
    pub fn next(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        self.receive(buffer, RecvFlags::empty())
    }

    /// The next datagram if it is there already.
    pub fn next_at_once(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        self.receive(buffer, RecvFlags::DONTWAIT)
    }

    /// Bytes that the kernel keeps until they are read, its own for each datagram among them. A unix socket counts datagrams instead
    /// (`net.unix.max_dgram_qlen`, ten), which is 0 bytes.
    pub fn kept_bytes(&self) -> usize {
        match self {
            Self::Udp { socket, .. } => sockopt::socket_recv_buffer_size(socket).unwrap_or(0),
            Self::Unix { .. } => 0,
        }
    }

    /// How many datagrams the kernel has dropped so far because nobody read them in time. `None` if it does not say.
    pub fn dropped(&self) -> Option<u64> {
        let Self::Udp { socket, inode, .. } = self else { return Some(0) };
        let is_v4 = socket.local_addr().ok()?.is_ipv4();
        let table = fs::File::open(if is_v4 { "/proc/self/net/udp" } else { "/proc/self/net/udp6" }).ok()?;
        BufReader::new(table).lines().map_while(Result::ok).find_map(|line| dropped_in(&line, *inode))
    }

    fn receive(&self, buffer: &mut [u8], flags: RecvFlags) -> io::Result<Option<Received>> {
        let without_source = |(bytes, _)| Received { bytes, source: None };
        nothing_is_none(match self {
            Self::Udp { socket, tells_sources: true, .. } => {
                recvfrom(socket, buffer, flags).map(|(bytes, _, source)| Received {
                    bytes,
                    source: source.and_then(|source| SocketAddr::try_from(source).ok()),
                })
            }
            Self::Udp { socket, .. } => recv(socket, buffer, flags).map(without_source),
            Self::Unix { socket, .. } => recv(socket, buffer, flags).map(without_source),
        })
    }
}

fn nothing_is_none(read: rustix::io::Result<Received>) -> io::Result<Option<Received>> {
    match read.map_err(io::Error::from) {
        Ok(received) => Ok(Some(received)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
        Err(error) => Err(error),
    }
}

/// The last column of the line of this inode, which is the tenth (`Documentation/networking/proc_net_tcp.rst`, and `drops`).
fn dropped_in(line: &str, inode: u64) -> Option<u64> {
    let mut columns = line.split_ascii_whitespace();
    let is_it = columns.nth(9)?.parse::<u64>() == Ok(inode);
    if is_it { columns.last()?.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_drops_is_found_out() {
        let datagrams = Datagrams::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 4_096).expect("a free port");
        let Datagrams::Udp { socket, .. } = &datagrams else { panic!("it is UDP") };
        let to = socket.local_addr().expect("bound");
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        assert_eq!(datagrams.dropped(), Some(0));
        for _ in 0..200 {
            sender.send_to(&[7; 1_000], to).expect("loopback");
        }
        let mut buffer = [0; 2_000];
        let mut read = 0;
        while let Some(received) = datagrams.next_at_once(&mut buffer).expect("loopback") {
            assert_eq!(received, Received { bytes: 1_000, source: None });
            read += 1;
        }
        assert!(read > 0 && read < 200, "the buffer is small: {read}");
        assert_eq!(datagrams.dropped(), Some(200 - read));
        assert_eq!(datagrams.next(&mut buffer).expect("loopback"), None);
    }

    #[test]
    fn a_socket_tells_sources_if_it_is_to() {
        let datagrams = Datagrams::bind(SocketAddr::from(([127, 0, 0, 1], 0)), 4_096).expect("a free port");
        let datagrams = datagrams.telling_sources();
        let Datagrams::Udp { socket, .. } = &datagrams else { panic!("it is UDP") };
        let senders = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a free port"));
        for sender in &senders {
            sender.send_to(b"one", socket.local_addr().expect("bound")).expect("loopback");
        }
        for sender in &senders {
            let expected = Received { bytes: 3, source: sender.local_addr().ok() };
            assert_eq!(datagrams.next(&mut [0; 10]).expect("loopback"), Some(expected));
        }
    }

    #[test]
    fn a_line_of_the_kernel_s_table_is_read() {
        let line = "  488: 0100007F:07D0 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 \
                    00000000f3c9f2b6 17";
        for (inode, expected) in [(4_711, Some(17)), (471, None)] {
            assert_eq!(dropped_in(line, inode), expected);
        }
        for garbage in ["", "  sl  local_address rem_address   st", "1 2 3 4 5 6 7 8 9 x", "1 2 3 4 5 6 7 8 9 4711 y"] {
            assert_eq!(dropped_in(garbage, 4_711), None, "{garbage}");
        }
    }

    /// A sender to a unix socket is held up rather than robbed, and the file is there only while somebody reads.
    #[test]
    fn a_unix_socket_loses_nothing_and_replaces_a_stale_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("dsd.socket");
        drop(UnixDatagram::bind(&path).expect("a stale socket"));
        let datagrams = Datagrams::bind_unix(&path, 0o666).expect("the stale one is replaced");
        let again = Datagrams::bind_unix(&path, 0o666);
        assert!(matches!(again, Err(BindError::InUse { .. })), "{again:?}");
        let sender = UnixDatagram::unbound().expect("a socket");
        sender.set_nonblocking(true).expect("a socket");
        let mut sent = 0;
        while sender.send_to(b"hits:1|c", &path).is_ok() {
            sent += 1;
        }
        let (mut buffer, mut read) = ([0; 100], 0);
        while let Some(received) = datagrams.next_at_once(&mut buffer).expect("a socket") {
            assert_eq!(received, Received { bytes: 8, source: None });
            read += 1;
        }
        assert!(sent > 0 && read == sent, "{read} of {sent}");
        assert_eq!(datagrams.dropped(), Some(0));
        drop(datagrams);
        assert!(!path.exists());
        fs::write(&path, b"").expect("a file");
        let blocked = Datagrams::bind_unix(&path, 0o666);
        assert!(matches!(blocked, Err(BindError::NotASocket { .. })), "{blocked:?}");
    }
}
