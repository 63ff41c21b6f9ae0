//! The admin address over real sockets, with clients that behave and clients that do not.
//!
//! Promises: every hostile request here got its answer, and the address still answers after it.
//! Never: waits for a real timeout of the server; those are hyper's, and set by constants.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;

use super::*;

#[derive(Default)]
struct Fake {
    ill: Mutex<Option<&'static str>>,
    degraded: Mutex<Vec<String>>,
}

impl Report for Fake {
    fn metrics(&self, _: Form) -> String {
        "pillion_build_info{version=\"1\"} 1\n".into()
    }
    fn status(&self) -> serde_json::Value {
        json!({"lost": 0})
    }
    fn alive(&self) -> Result<(), String> {
        self.ill.lock().unwrap().map_or(Ok(()), |why| Err(why.into()))
    }
    fn degraded(&self) -> Vec<String> {
        self.degraded.lock().unwrap().clone()
    }
    fn ready(&self) -> Result<(), String> {
        panic!("a report that panics")
    }
}

fn admin() -> (Admin, Arc<Fake>) {
    let report = Arc::new(Fake::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    (serve(listener, Arc::clone(&report) as Arc<dyn Report>).unwrap(), report)
}

fn connect(admin: &Admin) -> TcpStream {
    let stream = TcpStream::connect(admin.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

/// Sends bytes and returns everything until the server closes. `Connection: close` is up to the request.
fn talk(admin: &Admin, request: &[u8]) -> String {
    let mut stream = connect(admin);
    // A server that answers and closes early makes the rest of the write fail; its answer counts.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(admin: &Admin, path: &str) -> String {
    talk(admin, format!("GET {path} HTTP/1.1\r\nHost: localhost:9464\r\nConnection: close\r\n\r\n").as_bytes())
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("closed")
}

#[test]
fn the_four_pages_and_the_index_answer() {
    let (admin, report) = admin();
    let metrics = get(&admin, "/metrics?x=y");
    assert!(metrics.starts_with("HTTP/1.1 200 OK\r\n"), "{metrics}");
    assert!(metrics.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{metrics}");
    assert!(metrics.ends_with("\r\n\r\npillion_build_info{version=\"1\"} 1\n"), "{metrics}");
    let state = get(&admin, "/status");
    assert!(state.contains("content-type: application/json\r\n") && state.contains("\"lost\": 0"), "{state}");
    assert!(get(&admin, "/").contains("/healthz"));
    let unknown = get(&admin, "/api/v1/traces");
    assert_eq!(status(&unknown), "404");
    assert!(unknown.contains("/metrics /healthz /readyz /status"), "{unknown}");

    assert_eq!(status(&get(&admin, "/healthz")), "200");
    // A full disk must not make ECS replace the task.
    *report.degraded.lock().unwrap() = vec!["there is no spool".into(), "the disk is full".into()];
    let degraded = get(&admin, "/healthz");
    assert_eq!(status(&degraded), "200");
    assert!(degraded.ends_with("\r\n\r\ndegraded: there is no spool; the disk is full\n"), "{degraded}");
    *report.ill.lock().unwrap() = Some("cloudwatch.0 has delivered nothing for 16 minutes");
    let ill = get(&admin, "/healthz");
    assert_eq!(status(&ill), "503");
    assert!(ill.ends_with("cloudwatch.0 has delivered nothing for 16 minutes\n"), "{ill}");
}

#[test]
fn head_has_the_headers_and_no_body() {
    let (admin, _) = admin();
    let answer = talk(&admin, b"HEAD /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\n"), "{answer}");
    assert!(answer.contains("content-length: 34\r\n"), "{answer}");
}

/// One panic of a report costs one connection.
#[test]
fn a_panicking_report_ends_its_connection_only() {
    let (admin, _) = admin();
    assert_eq!(get(&admin, "/readyz"), "");
    assert_eq!(status(&get(&admin, "/healthz")), "200");
}

/// Fault F7: framing in doubt, bodies, giants, unknown methods. Each gets this status and a closed connection, nothing
/// that follows is taken for a request, and the next client is served.
#[test]
fn hostile_requests_get_an_answer_and_harm_nobody() {
    const NEXT: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let line = |rest: &str| format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{rest}\r\n");
    let both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n";
    let (admin, _) = admin();
    for (name, status_expected, request) in [
        ("CL and TE", "413", line(both) + "0\r\n\r\n" + NEXT),
        ("TE and CL", "413", line("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n") + "0\r\n\r\n" + NEXT),
        ("two lengths", "400", line("Content-Length: 5\r\nContent-Length: 6\r\n") + "hello" + NEXT),
        ("negative length", "400", line("Content-Length: -1\r\n") + NEXT),
        ("unknown coding", "400", line("Transfer-Encoding: xchunked\r\n") + NEXT),
        ("a body", "413", line("Content-Length: 5\r\n") + "hello" + NEXT),
        ("huge body promised", "413", line("Content-Length: 9223372036854775807\r\n")),
        ("the largest length", "431", line("Content-Length: 18446744073709551615\r\n")),
        ("a length beyond numbers", "400", line("Content-Length: 18446744073709551616\r\n")),
        ("expect", "413", line("Content-Length: 5\r\nExpect: 100-continue\r\n")),
        ("one huge header", "431", line(&format!("X: {}\r\n", "x".repeat(1 << 20)))),
        ("many headers", "431", line(&"X: y\r\n".repeat(100))),
        ("endless path", "431", format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "x".repeat(1 << 20))),
        ("no HTTP", "400", "\u{16}\u{3}\u{1}\u{2}\r\n\r\n".into()),
        ("obsolete folding", "400", line("X: a\r\n b\r\n") + NEXT),
        ("NUL in a header", "400", line("X: a\0b\r\n") + NEXT),
        ("wrong version", "400", "GET / HTTP/3.0\r\n\r\n".into()),
        ("HTTP/2 without asking", "closed", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into()),
    ] {
        let answer = talk(&admin, request.as_bytes());
        assert_eq!(status(&answer), status_expected, "{name}: {answer}");
        assert!(!answer.contains("pillion_build_info"), "{name}: what followed was taken for a request: {answer}");
        assert_eq!(status(&get(&admin, "/healthz")), "200", "after {name}");
    }
}

#[test]
fn other_methods_and_empty_bodies_are_handled() {
    let (admin, _) = admin();
    for (method, expected) in
        [("POST", "405"), ("DELETE", "405"), ("OPTIONS", "405"), ("FOO", "405"), ("get", "405"), ("GET", "200")]
    {
        let request =
            format!("{method} /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        let answer = talk(&admin, request.as_bytes());
        assert_eq!(status(&answer), expected, "{method}: {answer}");
        assert_eq!(answer.contains("allow: GET, HEAD\r\n"), expected == "405", "{answer}");
    }
}

/// A page in the developer's browser must not read us under a name of its own (DNS rebinding).
#[test]
fn only_our_own_names_are_answered_on_loopback() {
    let (admin, _) = admin();
    let port = admin.address().port();
    let ours = ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:9464", &format!("127.0.0.1:{port}")].map(String::from);
    for host in ours {
        let answer = talk(&admin, format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), "200", "{host}: {answer}");
    }
    for (host, expected) in [
        ("evil.example", "403"),
        ("localhost.evil.example", "403"),
        ("127.0.0.1.evil.example", "403"),
        ("169.254.170.2", "403"),
        ("[::2]", "403"),
        ("user@localhost", "200"),
        ("", "400"),
        ("a b", "400"),
        ("localhost\r\nHost: evil.example", "400"),
    ] {
        let answer = talk(&admin, format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!(status(&answer), expected, "{host}: {answer}");
    }
    let absolute = b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(status(&talk(&admin, absolute)), "403");
    assert_eq!(status(&talk(&admin, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")), "400", "no Host");
    assert_eq!(status(&talk(&admin, b"GET / HTTP/1.0\r\n\r\n")), "200", "HTTP/1.0 has no Host");
}

/// Whoever listens beyond loopback does it for a Prometheus elsewhere, which calls us by any name.
#[test]
fn beyond_loopback_any_name_is_answered() {
    let request = http::Request::builder().uri("/").header("host", "task-1.internal:9464");
    let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    let report = Fake::default();
    let outside: SocketAddr = "0.0.0.0:9464".parse().unwrap();
    assert_eq!(answer::answer(&request, outside, &report).status(), 200);
    let inside: SocketAddr = "127.0.0.1:9464".parse().unwrap();
    assert_eq!(answer::answer(&request, inside, &report).status(), 403);
}

#[test]
fn requests_in_a_row_are_answered_in_a_row() {
    let (admin, _) = admin();
    let one = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    let last = "GET /status HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = talk(&admin, (one + last).as_bytes());
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 51);
    assert!(answer.ends_with("}\n"), "{answer}");
}

/// 200 clients that connect and say half a request keep nobody out: the oldest make room.
#[test]
fn silent_clients_never_keep_a_new_one_out() {
    let (admin, _) = admin();
    let silent: Vec<_> = (0..200)
        .map(|_| {
            let mut stream = connect(&admin);
            let _ = stream.write_all(b"GET /metrics HT");
            stream
        })
        .collect();
    assert_eq!(status(&get(&admin, "/healthz")), "200");
    let mut oldest = &silent[0];
    assert!(matches!(oldest.read(&mut [0; 1]), Ok(0) | Err(_)), "the oldest was closed");
}

/// A client that sends half a head, and one that asks without end and never reads, are gone in time.
#[tokio::test(start_paused = true)]
async fn a_slow_and_a_deaf_client_are_gone_in_time() {
    let loopback: SocketAddr = "127.0.0.1:9464".parse().unwrap();
    let requests = "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(500);
    for (name, sent, seconds) in [("slow", "GET /metrics HTTP/1.1\r\nHos", 10), ("deaf", requests.as_str(), 70)] {
        let (mut client, server) = tokio::io::duplex(64 * 1024);
        tokio::io::AsyncWriteExt::write_all(&mut client, sent.as_bytes()).await.unwrap();
        let start = Instant::now();
        converse(server, loopback, Arc::new(Fake::default())).await;
        assert_eq!(start.elapsed().as_secs(), seconds, "{name}");
    }
}

/// A process without free descriptors fails to accept; the address is back as soon as there are some.
#[tokio::test]
async fn a_failing_accept_is_tried_again() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let attempts = AtomicUsize::new(0);
    let accept = async || match attempts.fetch_add(1, Ordering::Relaxed) {
        0 => Err(io::Error::from_raw_os_error(24)),
        1 => Err(io::Error::from(io::ErrorKind::ConnectionAborted)),
        _ => listener.accept().await.map(|(stream, _)| stream),
    };
    let client = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = tokio::select! {
        () = accept_all(accept, address, Arc::new(Fake::default())) => unreachable!("accepts for ever"),
        answer = client => answer.unwrap(),
    };
    assert!(answer.starts_with("HTTP/1.0 200 OK"), "{answer}");
}

#[test]
fn dropping_it_closes_the_address() {
    let (admin, _) = admin();
    let address = admin.address();
    drop(admin);
    assert!(TcpStream::connect(address).is_err());
}
