//! Names and addresses that misbehave, in simulated time (the reliability matrix's T4).
//!
//! Promises: the client under test is the real one; only who answers for names, and who is behind the addresses, is not.
//! Never: opens a socket. That [`System`](super::resolve::System) and [`Tcp`](super::connect::Tcp) do is shown by the
//! tests of [`http`](super::http).

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::Request;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, DuplexStream, duplex},
    time::{Instant, advance, sleep},
};

use super::{
    connect::{Connect, Connecting, Io},
    http::{HttpClient, HttpError, Network},
    resolve::Resolve,
    tls::Tls,
};
use crate::{
    life::Life,
    limits,
    tell::{chain, counters::Counters},
};

const SECOND: Duration = Duration::from_secs(1);
/// The time for a request of which a test does not want to see the end.
const LONG: Duration = Duration::from_secs(120);

/// What a resolver says.
struct Names<F>(F);

impl<F: Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync> Resolve for Names<F> {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        (self.0)(name)
    }
}

/// What is behind an address.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Host {
    Serves,
    /// Packets go nowhere.
    Dead,
    Fails(io::ErrorKind),
}

/// All that is behind addresses; what is not named is dead.
#[derive(Clone, Default)]
struct Hosts(Arc<Mutex<Behind>>);

#[derive(Default)]
struct Behind {
    hosts: HashMap<IpAddr, Host>,
    life: Life,
    tried: Vec<SocketAddr>,
    /// Who served which request, and when it was read.
    served: Vec<(IpAddr, Instant)>,
}

impl Hosts {
    fn new(hosts: &[(&str, Host)]) -> Self {
        let hosts = hosts.iter().map(|(address, host)| (ip(address), *host)).collect();
        Self(Arc::new(Mutex::new(Behind { hosts, ..Behind::default() })))
    }

    fn tried(&self) -> Vec<SocketAddr> {
        self.0.lock().expect("not poisoned").tried.clone()
    }

    fn served(&self) -> Vec<(IpAddr, Instant)> {
        self.0.lock().expect("not poisoned").served.clone()
    }

    /// Answers every request; one for `/slow` after a minute.
    async fn serve(self, address: IpAddr, stream: DuplexStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let mut lines = Vec::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                match line.trim_end() {
                    "" if lines.is_empty() => return Ok(()),
                    "" => break,
                    text => lines.push(text.to_owned()),
                }
            }
            stream.read_exact(&mut [0; 7]).await?;
            self.0.lock().expect("not poisoned").served.push((address, Instant::now()));
            if lines[0].starts_with("POST /slow ") {
                sleep(60 * SECOND).await;
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await?;
        }
    }
}

impl Connect for Hosts {
    fn connect(&self, address: SocketAddr) -> Connecting {
        let hosts = self.clone();
        Box::pin(async move {
            let host = {
                let mut behind = hosts.0.lock().expect("not poisoned");
                behind.tried.push(address);
                behind.hosts.get(&address.ip()).copied().unwrap_or(Host::Dead)
            };
            match host {
                Host::Dead => std::future::pending().await,
                Host::Fails(kind) => Err(kind.into()),
                Host::Serves => {
                    let (ours, theirs) = duplex(64 * 1024);
                    let served = hosts.clone().serve(address.ip(), theirs);
                    drop(hosts.0.lock().expect("not poisoned").life.spawn("host", served));
                    Ok(Box::new(ours) as Box<dyn Io>)
                }
            }
        })
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn client(
    names: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static,
    hosts: &Hosts,
) -> (HttpClient, Counters) {
    let network = Network { resolve: Arc::new(Names(names)), connect: Arc::new(hosts.clone()), ..Network::default() };
    let counters = Counters::new();
    (HttpClient::over(network, &Tls::new(None), &counters), counters)
}

fn request(url: &str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(b"{\"a\":1}")).expect("a request")
}

fn counted(counters: &Counters, reason: &str) -> u64 {
    counters.net_connect_failures.with_label_values(&[reason]).get()
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_knows_is_an_error_at_once_and_counted() {
    type Answer = fn(&str) -> io::Result<Vec<IpAddr>>;
    let answers: [(Answer, &str); 4] = [
        // As std words EAI_NONAME and EAI_AGAIN.
        (|_| Err(io::Error::other("failed to lookup address information: Name or service not known")), "not known"),
        (|_| Err(io::Error::other("failed to lookup address information: Temporary failure")), "Temporary failure"),
        (|_| Ok(Vec::new()), "no address"),
        (|_| Ok(vec![ip("169.254.169.254")]), "link-local"),
    ];
    for (answer, why) in answers {
        let hosts = Hosts::default();
        let (client, counters) = client(answer, &hosts);
        let begun = Instant::now();
        for asked in 1..=3 {
            let error = client.send(request("http://logs.example"), LONG).await.expect_err(why);
            assert!(matches!(error, HttpError::Connect { .. }) && !error.may_have_arrived(), "{}", chain(&error));
            assert!(chain(&error).to_string().contains(why), "{why}: {}", chain(&error));
            assert_eq!(counted(&counters, "name"), asked);
        }
        assert_eq!((begun.elapsed(), hosts.tried()), (Duration::ZERO, vec![]), "{why}");
    }
}

/// A look-up that blocks until the test lets it go, as getaddrinfo does for 30 s.
#[derive(Default)]
struct Hanging {
    begun: AtomicUsize,
    ended: AtomicUsize,
    released: Mutex<bool>,
    release: Condvar,
}

impl Hanging {
    fn look_up(&self) -> Vec<IpAddr> {
        self.begun.fetch_add(1, Ordering::SeqCst);
        let released = self.released.lock().expect("not poisoned");
        drop(self.release.wait_while(released, |released| !*released).expect("not poisoned"));
        self.ended.fetch_add(1, Ordering::SeqCst);
        vec![ip("10.0.0.1")]
    }
}

/// getaddrinfo cannot be stopped: without a bound a dead resolver would take all 512 threads of the runtime.
#[tokio::test(start_paused = true)]
async fn a_resolver_that_hangs_holds_four_threads_and_fails_in_time() {
    let hosts = Hosts::new(&[("10.0.0.1", Host::Serves)]);
    let hanging = Arc::new(Hanging::default());
    let names = Arc::clone(&hanging);
    let (client, counters) = client(move |_| Ok(names.look_up()), &hosts);
    for asked in 1..=12 {
        let (begun, url) = (Instant::now(), format!("http://host{asked}.example"));
        // A thread that works holds the paused clock, so that it must be pushed.
        let error = tokio::select! {
            answer = client.send(request(&url), LONG) => answer.expect_err("no address"),
            () = async { loop { advance(SECOND / 100).await } } => unreachable!("the clock does not end"),
        };
        assert!(chain(&error).to_string().contains("not resolved within 2s"), "{}", chain(&error));
        assert!((2 * SECOND..SECOND * 21 / 10).contains(&begun.elapsed()), "{:?}", begun.elapsed());
        assert_eq!(counted(&counters, "name"), asked);
    }
    // A blocking thread begins when it likes; no more than these can.
    assert!(hanging.begun.load(Ordering::SeqCst) <= limits::RESOLVE_THREADS_MAX);
    *hanging.released.lock().expect("not poisoned") = true;
    hanging.release.notify_all();
    assert_eq!(&client.send(request("http://host.example"), LONG).await.expect("an answer").body()[..], b"ok");
    let (begun, ended) = (hanging.begun.load(Ordering::SeqCst), hanging.ended.load(Ordering::SeqCst));
    assert_eq!(begun, limits::RESOLVE_THREADS_MAX + 1, "four that hung, and one that did not");
    assert!(ended >= 2, "who found a free thread had waited for one to end");
}

/// A busy output never lets its connection be idle, and followed a service that moved only when the old address died.
#[tokio::test(start_paused = true)]
async fn a_name_that_moves_is_followed_within_thirty_seconds() {
    for gap in [SECOND / 10, SECOND, SECOND * 39 / 10, 10 * SECOND] {
        let hosts = Hosts::new(&[("10.0.0.1", Host::Serves), ("10.0.0.2", Host::Serves)]);
        let moved = Arc::new(Mutex::new(ip("10.0.0.1")));
        let address = Arc::clone(&moved);
        let (client, counters) = client(move |_| Ok(vec![*address.lock().expect("not poisoned")]), &hosts);
        let send = async |count: u32, path: &str| {
            for _ in 0..count {
                let url = format!("http://logs.example{path}");
                assert_eq!(client.send(request(&url), LONG).await.expect("an answer").status(), 200);
                sleep(gap).await;
            }
        };
        let rounds = (60.0 / gap.as_secs_f64()) as u32;
        send(rounds, "/").await;
        let moves = async {
            sleep(SECOND / 20).await;
            *moved.lock().expect("not poisoned") = ip("10.0.0.2");
            Instant::now()
        };
        // What is under way when the name moves is not cut off.
        let ((), moved_at, ()) = tokio::join!(send(1, "/slow"), moves, send(rounds, "/"));
        let served = hosts.served();
        assert_eq!(served.len(), 2 * rounds as usize + 1, "{gap:?}: each once");
        let last = served.iter().filter(|(address, _)| *address == ip("10.0.0.1")).map(|(_, at)| *at).max();
        let stale = last.map(|last| last.saturating_duration_since(moved_at));
        assert!(stale.is_some_and(|stale| stale < 30 * SECOND), "{gap:?}: {stale:?}");
        assert!(served.iter().any(|(address, _)| *address == ip("10.0.0.2")), "{gap:?}");
        // Renewed, but not for each request.
        let renewed = hosts.tried().len();
        assert!(gap > limits::POOL_IDLE || renewed <= 2 * 60 / 20 + 2, "{gap:?}: {renewed} connections");
        assert!(["name", "refused", "timed_out"].iter().all(|reason| counted(&counters, reason) == 0));
    }
}

#[tokio::test(start_paused = true)]
async fn dead_addresses_are_passed_by() {
    const REFUSED: io::ErrorKind = io::ErrorKind::ConnectionRefused;
    let hosts = [
        ("10.0.0.1", Host::Serves),
        ("10.0.0.9", Host::Fails(REFUSED)),
        ("2001:db8::1", Host::Serves),
        ("2001:db8::9", Host::Fails(io::ErrorKind::NetworkUnreachable)),
    ];
    let dead: Vec<String> = (1..=12).map(|number| format!("10.9.9.{number}")).collect();
    let dead_then = |count: usize| dead[..count].iter().map(String::as_str).chain(["10.0.0.1"]).collect::<Vec<_>>();
    // The addresses of the name; who serves, or why nobody does; after how many milliseconds.
    let cases: [(Vec<&str>, Result<&str, &str>, u64); 12] = [
        (vec!["10.0.0.1"], Ok("10.0.0.1"), 0),
        (vec!["2001:db8::1"], Ok("2001:db8::1"), 0),
        (vec!["2001:db8::1", "10.0.0.1"], Ok("2001:db8::1"), 0),
        (vec!["10.0.0.9", "10.0.0.1"], Ok("10.0.0.1"), 0),
        (vec!["2001:db8::9", "10.0.0.1"], Ok("10.0.0.1"), 0),
        (vec!["2001:db8::7", "2001:db8::8", "10.0.0.1"], Ok("10.0.0.1"), 250),
        (dead_then(1), Ok("10.0.0.1"), 250),
        (dead_then(7), Ok("10.0.0.1"), 1_750),
        (dead_then(8), Err("timed_out"), 3_000),
        (vec!["10.9.9.1", "10.0.0.9"], Err("timed_out"), 3_000),
        (vec!["10.0.0.9", "10.0.0.9"], Err("refused"), 0),
        (vec!["2001:db8::9"], Err("unreachable"), 0),
    ];
    for (addresses, expected, milliseconds) in cases {
        let hosts = Hosts::new(&hosts);
        let ips: Vec<IpAddr> = addresses.iter().map(|address| ip(address)).collect();
        let (client, counters) = client(move |_| Ok(ips.clone()), &hosts);
        let begun = Instant::now();
        let answer = client.send(request("http://logs.example:8080"), LONG).await;
        assert_eq!(begun.elapsed().as_millis(), u128::from(milliseconds), "{addresses:?}");
        match expected {
            Ok(address) => {
                assert_eq!(answer.expect("an answer").status(), 200);
                let served: Vec<IpAddr> = hosts.served().into_iter().map(|(address, _)| address).collect();
                assert_eq!(served, [ip(address)], "{addresses:?}");
            }
            Err(reason) => {
                let error = answer.expect_err(reason);
                assert!(!error.may_have_arrived(), "{addresses:?}: {}", chain(&error));
                assert_eq!((counted(&counters, reason), hosts.served()), (1, vec![]), "{addresses:?}");
            }
        }
        assert!(hosts.tried().len() <= limits::ADDRESSES_MAX && hosts.tried().iter().all(|tried| tried.port() == 8080));
    }
}

/// An address in a URL is not a name, in brackets or not.
#[tokio::test(start_paused = true)]
async fn addresses_are_not_looked_up() {
    let hosts = Hosts::new(&[("2001:db8::1", Host::Serves), ("10.0.0.1", Host::Serves)]);
    let (client, _) = client(|name| panic!("{name} is looked up"), &hosts);
    for (url, address) in [
        ("http://10.0.0.1", "10.0.0.1:80"),
        ("http://[2001:db8::1]", "[2001:db8::1]:80"),
        ("http://[2001:db8::1]:8443/x", "[2001:db8::1]:8443"),
    ] {
        assert_eq!(client.send(request(url), LONG).await.expect(url).status(), 200);
        assert_eq!(hosts.tried().last(), Some(&address.parse().expect("an address")), "{url}");
    }
}
