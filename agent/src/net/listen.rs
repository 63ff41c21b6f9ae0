//! Listeners: unix sockets and TCP, bound early, accepted from for as long as the agent lives.
//!
//! Promises: a stale unix socket is replaced, anything else at its path is an error; accepting survives whatever `accept`
//! says (too many open files, a peer that is gone); beyond the most that the caller allows, peers wait, but for the listeners
//! whose connections give way ([`Seats`]); none is closed here.
//! Never: reads or writes what a connection carries.

use std::{
    fs,
    io::{self, Read},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::seats::Seats;
use crate::{life::Life, tell::RateLimited};

/// The pause after `accept` failed for want of something (file descriptors, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// So long after a connection was asked to give way, the next one is.
const GIVE_WAY_WITHIN: Duration = Duration::from_millis(200);
/// A warning of one kind, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(10);
/// While the agent stops: how long no new peer must come before the listener closes.
const QUIET: Duration = Duration::from_millis(250);

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Something that is not a socket stands at the path.
    #[error("`{path}` is there and is not a socket; remove it or choose another path")]
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// Another process answers at the path.
    #[error("another process listens on `{path}`; stop it or choose another path")]
    InUse {
        /// The path.
        path: PathBuf,
    },
    /// The path could not be bound.
    #[error("cannot listen on `{path}`; the folder must exist and be writable")]
    Unix {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address could not be bound for datagrams.
    #[error("cannot listen on UDP {address}; another process may use the port")]
    Udp {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The address could not be bound.
    #[error("cannot listen on {address}; another process may use the port")]
    Tcp {
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A bound listener.
#[derive(Debug)]
pub enum Listener {
    /// On a unix socket, whose file goes with the listener.
    Unix(UnixListener, SocketFile),
    /// On TCP.
    Tcp(TcpListener),
}

/// A connection that does not block.
#[derive(Debug)]
pub enum Socket {
    /// From a unix socket.
    Unix(UnixStream),
    /// From TCP.
    Tcp(TcpStream),
}

/// A connection that the runtime watches.
#[derive(Debug)]
pub enum Polled {
    /// From a unix socket.
    Unix(tokio::net::UnixStream),
    /// From TCP.
    Tcp(tokio::net::TcpStream),
}

/// A listener that the runtime watches.
enum Accepting {
    Unix(tokio::net::UnixListener),
    Tcp(tokio::net::TcpListener),
    /// First fails so often for want of file descriptors.
    #[cfg(test)]
    Failing(std::sync::atomic::AtomicUsize, tokio::net::UnixListener),
}

/// Removes the file of a unix socket when it is dropped.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl SocketFile {
    /// The file at `path`, which is a socket of ours.
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Removes the socket of a process that is gone: nobody answers there.
pub(super) fn remove_stale(path: &Path, answers: impl FnOnce() -> bool) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => Err(BindError::NotASocket { path: path.to_owned() }),
        Ok(_) if answers() => Err(BindError::InUse { path: path.to_owned() }),
        Ok(_) => fs::remove_file(path).map_err(|source| BindError::Unix { path: path.to_owned(), source }),
        Err(_) => Ok(()),
    }
}

impl Listener {
    /// Binds a unix socket with the permission bits given, else those that the umask leaves.
    pub fn unix(path: &Path, permissions: Option<u32>) -> Result<Self, BindError> {
        let failed = |source| BindError::Unix { path: path.to_owned(), source };
        remove_stale(path, || UnixStream::connect(path).is_ok())?;
        let listener = UnixListener::bind(path).map_err(failed)?;
        if let Some(bits) = permissions {
            fs::set_permissions(path, fs::Permissions::from_mode(bits)).map_err(failed)?;
        }
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self::Unix(listener, SocketFile(path.to_owned())))
    }

    /// Binds a TCP port.
    pub fn tcp(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError::Tcp { address, source };
        let listener = TcpListener::bind(address).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        Ok(Self::Tcp(listener))
    }

    /// Where it listens, for people.
    pub fn place(&self) -> String {
        match self {
            Self::Unix(_, file) => file.0.display().to_string(),
            Self::Tcp(listener) => {
                listener.local_addr().map_or_else(|_| "tcp".to_owned(), |address| address.to_string())
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file left behind is replaced at the next start, so a failure here harms nobody.
        let _ = fs::remove_file(&self.0);
    }
}

impl Accepting {
    async fn accept(&self) -> io::Result<Socket> {
        match self {
            Self::Unix(listener) => listener.accept().await?.0.into_std().map(Socket::Unix),
            Self::Tcp(listener) => listener.accept().await?.0.into_std().map(Socket::Tcp),
            #[cfg(test)]
            Self::Failing(left, listener) => {
                use std::sync::atomic::Ordering::Relaxed;
                const EMFILE: i32 = 24;
                match left.try_update(Relaxed, Relaxed, |left| left.checked_sub(1)) {
                    Ok(_) => Err(io::Error::from_raw_os_error(EMFILE)),
                    Err(_) => listener.accept().await?.0.into_std().map(Socket::Unix),
                }
            }
        }
    }
}

impl Socket {
    /// Reads what is there. `WouldBlock` if nothing is.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => (&mut &*stream).read(buffer),
            Self::Tcp(stream) => (&mut &*stream).read(buffer),
        }
    }

    /// Puts it into the poll.
    pub fn polled(self) -> io::Result<Polled> {
        match self {
            Self::Unix(stream) => tokio::net::UnixStream::from_std(stream).map(Polled::Unix),
            Self::Tcp(stream) => tokio::net::TcpStream::from_std(stream).map(Polled::Tcp),
        }
    }
}

impl Polled {
    /// Takes it out of the poll: nobody is woken for it any more.
    pub fn unpolled(self) -> io::Result<Socket> {
        match self {
            Self::Unix(stream) => stream.into_std().map(Socket::Unix),
            Self::Tcp(stream) => stream.into_std().map(Socket::Tcp),
        }
    }

    /// Reads what is there, or arranges to be woken when something is.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut filled = ReadBuf::new(buffer);
        let polled = match self {
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, &mut filled),
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, &mut filled),
        };
        polled.map_ok(|()| filled.filled().len())
    }

    /// Writes everything.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Unix(stream) => stream.write_all(bytes).await,
            Self::Tcp(stream) => stream.write_all(bytes).await,
        }
    }
}

/// How many connections there may be at a time, and whether one gives way for the next.
#[derive(Clone, Debug)]
pub struct Most {
    count: usize,
    seats: Option<Seats>,
}

impl From<usize> for Most {
    /// The next ones wait.
    fn from(count: usize) -> Self {
        Self { count, seats: None }
    }
}

impl Most {
    /// The next one has the place of one of `seats` who does nothing with it.
    pub fn giving_way(count: usize, seats: &Seats) -> Self {
        Self { count, seats: Some(seats.clone()) }
    }

    /// One of `places`, as soon as there is one.
    async fn place(&self, places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        loop {
            if places.available_permits() == 0
                && let Some(seats) = &self.seats
            {
                seats.make_room();
            }
            // Who waited for an answer then may have it by now.
            match timeout(GIVE_WAY_WITHIN, Arc::clone(places).acquire_owned()).await {
                Ok(place) => return place.expect("nobody closes it"),
                Err(_) => continue,
            }
        }
    }
}

/// Accepts connections, at most `most` at a time, and serves each in a task of its own. Once `stopping` is cancelled it goes on until no connection
/// is left and nobody new came for a moment, or until `closing`; it returns when all connections have ended.
pub async fn serve<F>(
    listener: Listener,
    most: impl Into<Most>,
    life: &Life,
    name: &'static str,
    stopping: CancellationToken,
    closing: CancellationToken,
    serve: impl Fn(Socket) -> F,
) -> io::Result<()>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (accepting, _file) = match listener {
        Listener::Unix(listener, file) => (Accepting::Unix(tokio::net::UnixListener::from_std(listener)?), Some(file)),
        Listener::Tcp(listener) => (Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?), None),
    };
    accept_all(&accepting, &most.into(), &Task { life, name, stopping, closing }, serve).await;
    Ok(())
}

/// What is known of the tasks that serve connections.
struct Task<'a> {
    life: &'a Life,
    name: &'static str,
    stopping: CancellationToken,
    closing: CancellationToken,
}

/// At most so many connections at a time: one waits with us and the next ones in the kernel, which closes none.
async fn accept_all<F>(accepting: &Accepting, most: &Most, task: &Task<'_>, serve: impl Fn(Socket) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Task { life, name, stopping, closing } = task;
    let places = Arc::new(Semaphore::new(most.count));
    let (warned, warned_of_want) = (RateLimited::new(WARN_EVERY), RateLimited::new(WARN_EVERY));
    loop {
        let quiet = async {
            stopping.cancelled().await;
            loop {
                sleep(QUIET).await;
                if places.available_permits() == most.count {
                    return;
                }
            }
        };
        let accepted = tokio::select! {
            biased;
            accepted = accepting.accept() => accepted,
            () = closing.cancelled() => break,
            () = quiet => break,
        };
        match accepted {
            Ok(socket) => {
                if places.available_permits() == 0
                    && let Some(suppressed) = warned_of_want.allow(tokio::time::Instant::now())
                {
                    let most = most.count;
                    warn!(listener = *name, most, suppressed, "there are too many connections; an app may leak them");
                }
                let place = tokio::select! {
                    biased;
                    place = most.place(&places) => place,
                    () = closing.cancelled() => break,
                };
                let served = serve(socket);
                life.spawn(name, async move {
                    served.await;
                    drop(place);
                });
            }
            Err(error) => {
                if let Some(suppressed) = warned.allow(tokio::time::Instant::now()) {
                    warn!(listener = *name, error = %error, suppressed, "a connection could not be accepted");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let all = u32::try_from(most.count).expect("a few thousand at most");
    drop(places.acquire_many(all).await);
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::AsyncReadExt,
        net::{UnixListener as Listening, UnixStream as Peer},
    };

    use std::future::poll_fn;

    use super::*;

    /// Accepting on a socket of its own, at most `most` connections, each of which is read to its end.
    struct Rig {
        folder: tempfile::TempDir,
        served: tokio::task::JoinHandle<Option<()>>,
        stopping: CancellationToken,
        closing: CancellationToken,
    }

    impl Rig {
        fn new(failures: usize, most: usize) -> Self {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let listener = Listening::bind(folder.path().join("socket")).expect("binds");
            let (stopping, closing) = (CancellationToken::new(), CancellationToken::new());
            let (stop, close) = (stopping.clone(), closing.clone());
            let life = Life::default();
            let lives = life.clone();
            let served = life.spawn("listener", async move {
                let accepting = Accepting::Failing(failures.into(), listener);
                let task = Task { life: &lives, name: "test", stopping: stop, closing: close.clone() };
                let read = move |socket: Socket| {
                    let close = close.clone();
                    async move {
                        let mut polled = socket.polled().expect("a socket");
                        polled.write_all(b"!").await.expect("writes");
                        let mut buffer = [0; 16];
                        let read = async {
                            while poll_fn(|cx| polled.poll_read(cx, &mut buffer)).await.is_ok_and(|read| read > 0) {}
                        };
                        tokio::select! {
                            () = read => {}
                            () = close.cancelled() => {}
                        }
                    }
                };
                accept_all(&accepting, &most.into(), &task, read).await;
            });
            Self { folder, served, stopping, closing }
        }

        async fn peer(&self) -> Peer {
            Peer::connect(self.folder.path().join("socket")).await.expect("connects")
        }
    }

    /// True if the other side serves this connection within a second.
    async fn is_served(peer: &mut Peer) -> bool {
        timeout(Duration::from_secs(1), peer.read_exact(&mut [0])).await.is_ok_and(|read| read.is_ok())
    }

    /// Without file descriptors to spare the listener waits and goes on; a peer only waits a little longer.
    #[tokio::test(start_paused = true)]
    async fn accepting_survives_too_many_open_files() {
        let rig = Rig::new(7, 8);
        let mut peer = rig.peer().await;
        assert!(is_served(&mut peer).await, "after seven pauses");
        drop(peer);
        rig.stopping.cancel();
        rig.served.await.expect("not cancelled").expect("no panic");
    }

    /// One connection too many waits in the kernel until another one ends.
    #[tokio::test(start_paused = true)]
    async fn a_connection_too_many_waits_and_is_not_closed() {
        let rig = Rig::new(0, 2);
        let (mut first, mut second, mut third) = (rig.peer().await, rig.peer().await, rig.peer().await);
        assert!(is_served(&mut first).await && is_served(&mut second).await);
        assert!(!is_served(&mut third).await);
        drop(first);
        assert!(is_served(&mut third).await);
        rig.closing.cancel();
        rig.served.await.expect("not cancelled").expect("no panic");
        assert_eq!(second.read(&mut [0]).await.expect("reads"), 0);
    }

    /// While we stop, a peer that comes late is still served; the listener ends when nobody is left.
    #[tokio::test(start_paused = true)]
    async fn a_stopping_listener_serves_who_comes_late() {
        let rig = Rig::new(0, 8);
        let mut peer = rig.peer().await;
        assert!(is_served(&mut peer).await);
        rig.stopping.cancel();
        sleep(10 * QUIET).await;
        let mut late = rig.peer().await;
        assert!(is_served(&mut late).await && !rig.served.is_finished());
        drop((peer, late));
        rig.served.await.expect("not cancelled").expect("no panic");
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_listener_can_be_closed() {
        let rig = Rig::new(0, 1);
        let mut peer = rig.peer().await;
        assert!(is_served(&mut peer).await);
        rig.stopping.cancel();
        rig.closing.cancel();
        rig.served.await.expect("not cancelled").expect("no panic");
    }

    #[test]
    fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("fluent.sock");
        drop(UnixListener::bind(&path).expect("binds"));
        assert!(path.exists(), "a socket stays when its process is gone");
        let listener = Listener::unix(&path, Some(0o660)).expect("replaces the stale socket");
        assert_eq!(fs::metadata(&path).expect("exists").permissions().mode() & 0o777, 0o660);
        assert!(matches!(Listener::unix(&path, None), Err(BindError::InUse { .. })));
        drop(listener);
        assert!(!path.exists(), "our socket goes with us");
        fs::write(&path, "precious").expect("writes");
        assert!(matches!(Listener::unix(&path, None), Err(BindError::NotASocket { .. })));
        assert_eq!(fs::read(&path).expect("reads"), b"precious");
    }
}
