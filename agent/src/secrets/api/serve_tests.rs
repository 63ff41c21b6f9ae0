//! The API over real sockets, with callers that behave and callers that do not.
//!
//! Promises: every status and body is compared whole. Never: proves what a source does; the vault here is a table.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::Mutex,
};

use http::HeaderName;
use insta::assert_snapshot;
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    sync::watch,
    time::Instant,
};

use super::*;
use crate::secrets::{
    api::{Answer, Ask, Freshness, Generation, Given, Refusal, Token},
    value::{Content, Value, Version},
};

pub(super) const TOKEN: &str = "0123456789abcdef";
const CANARY: &str = "c4nary";

/// Has `db` and `big`, and `slow` for ever to come; asks for anything else are refused.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) asked: Mutex<Vec<String>>,
    news: watch::Sender<Arc<Generation>>,
}

impl Vault for Table {
    async fn get(&self, ask: &Ask, freshness: Freshness) -> Result<Given, Refusal> {
        self.asked.lock().unwrap().push(format!("{} {freshness:?}", ask.id));
        let text = match ask.id.as_str() {
            "db" => CANARY.to_owned(),
            "big" => CANARY.repeat(10_000),
            "slow" => std::future::pending().await,
            "mute" => return Err(Refusal::new(500, "X", "")),
            id => return Err(Refusal::new(400, "ResourceNotFoundException", &format!("there is no {id}"))),
        };
        let content = Content::Text(Value::new(text.into_bytes()));
        let version =
            Version { id: "v-1".into(), stages: vec!["AWSCURRENT".into()], created: Some("7".into()), content };
        let answer = Answer::new(ask, "arn:aws:secretsmanager:r:1:secret:db-abcdef", &version)?;
        Ok(Given { answer: Arc::new(answer), age: Duration::from_secs(42) })
    }

    fn knows(&self, name: &str) -> bool {
        name == "db" || name == "big"
    }

    async fn refresh(&self, names: Vec<String>) -> Result<(), Refusal> {
        self.asked.lock().unwrap().push(format!("refresh {names:?}"));
        self.news.send_modify(|generation| Arc::make_mut(generation).number += 1);
        Ok(())
    }

    fn generations(&self) -> watch::Receiver<Arc<Generation>> {
        self.news.subscribe()
    }

    fn acknowledged(&self, way: Way, number: u64) -> bool {
        self.asked.lock().unwrap().push(format!("{} {number}", way.label()));
        number <= self.news.borrow().number
    }
}

pub(super) fn table() -> Arc<Table> {
    let generation = Generation { number: 7, versions: [("db".to_owned(), "v-1".to_owned())].into() };
    Arc::new(Table { asked: Mutex::default(), news: watch::Sender::new(Arc::new(generation)) })
}

pub(super) fn settings(folder: &std::path::Path, connections_max: usize) -> ApiSettings {
    let path = folder.join("token");
    std::fs::write(&path, TOKEN).unwrap();
    let names = ["x-aws-parameters-secrets-token", "x-vault-token"];
    ApiSettings {
        token: Arc::new(Token::open(&path).unwrap()),
        token_headers: names.map(HeaderName::from_static).to_vec(),
        path_prefix: "/v1/".into(),
        connections_max,
    }
}

/// The API on a socket, with a runtime of its own.
struct Rig {
    address: SocketAddr,
    vault: Arc<Table>,
    closing: CancellationToken,
    runtime: Option<std::thread::JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Rig {
    fn new(connections_max: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings(folder.path(), connections_max);
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (address, vault, closing) = (listener.local_addr().unwrap(), table(), CancellationToken::new());
        let (served, close) = (Arc::clone(&vault), closing.clone());
        let runtime = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                serve(Listener::Tcp(listener), served, settings, &Life::default(), close).await.unwrap();
            });
        });
        Self { address, vault, closing, runtime: Some(runtime), _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// Sends bytes and returns everything until the server closes.
    fn talk(&self, request: &[u8]) -> String {
        let mut stream = self.connect();
        // A server that answers and closes early makes the rest of the write fail; its answer counts.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// Status and body of the answer to a request with these lines, `Host` and `Connection` aside.
    fn say(&self, lines: &str) -> String {
        let (first, rest) = lines.split_once('\n').unwrap_or((lines, ""));
        let rest: String = rest.lines().map(|line| format!("{line}\r\n")).collect();
        let host = if rest.to_ascii_lowercase().contains("host:") { "" } else { "Host: localhost\r\n" };
        let first = if first.contains(" HTTP/") { first.to_owned() } else { format!("{first} HTTP/1.1") };
        let answer = self.talk(format!("{first}\r\n{host}{rest}Connection: close\r\n\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, "no answer"));
        format!("{} {body}", head.split(' ').nth(1).unwrap_or("-")).trim_end().to_owned()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.closing.cancel();
        let ended = self.runtime.take().map(std::thread::JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(()))));
    }
}

/// Requests in the order of the checks that stop them. Each breaks those that follow, too.
const CHECKED: &[&str] = &[
    "PUT /nowhere\nX-Forwarded-For: 1.2.3.4\nHost: evil.example\nOrigin: http://evil.example",
    "PUT /nowhere\nForwarded: for=1.2.3.4\nHost: evil.example",
    "PUT /nowhere\nVia: 1.1 proxy\nHost: evil.example",
    "PUT http://localhost/nowhere\nHost: evil.example",
    "PUT /nowhere\nHost: evil.example\nOrigin: http://evil.example",
    "PUT /nowhere\nHost: 127.0.0.1.evil.example",
    "PUT /nowhere\nHost: localhost@evil.example",
    "PUT /nowhere\nHost: evil@localhost",
    "PUT /nowhere\nHost: localhost\nHost: localhost",
    "PUT /nowhere\nOrigin: null",
    "PUT /nowhere\nSec-Fetch-Site: none",
    "PUT /nowhere",
    "PUT /nowhere\nX-Vault-Token: 0123456789abcdeF",
    "PUT /nowhere\nAuthorization: TOKEN",
    "PUT /nowhere\nRIGHT",
    "HEAD /secretsmanager/get?secretId=db\nRIGHT",
    "OPTIONS *\nRIGHT",
    "DELETE /v1/db\nRIGHT",
    "GET /v1/agent/refresh\nRIGHT",
    "POST /v1/agent/events\nRIGHT",
    "GET /v1/agent/ack?generation=7\nRIGHT",
    "GET /nowhere\nRIGHT\nContent-Length: 1",
    "GET /LONG\nRIGHT",
    "GET /nowhere\nRIGHT",
];

/// Requests that pass the checks, right and wrong ones.
const ASKED: &[&str] = &[
    "GET /secretsmanager/get/?secretId=db\nRIGHT",
    "GET /secretsmanager/get\nRIGHT",
    "GET /secretsmanager/get?refreshNow=2\nRIGHT",
    "GET /secretsmanager/get?roleArn=x\nRIGHT",
    "GET /secretsmanager/get?k=x\nRIGHT",
    "GET /v1/\nRIGHT",
    "GET /v1/a%20b\nRIGHT",
    "GET /v1/none\nRIGHT",
    "GET /v1/mute\nRIGHT",
    "GET /v1/db\nRIGHT",
    "GET /v1/db\nHost: 127.0.0.1:2773\nRIGHT",
    "GET /v1/db\nHost: [::1]\nRIGHT",
    "GET /secretsmanager/get?secretId=db\nx-aws-parameters-secrets-token: TOKEN\nX-Vault-Token: wrong",
    "GET /systemsmanager/parameters/get?name=db\nRIGHT",
    "POST /v1/agent/ack\nRIGHT",
    "POST /v1/agent/ack?generation=8\nRIGHT",
    "POST /v1/agent/ack?generation=7\nRIGHT",
    "GET /ping",
    "GET /ping\nX-Forwarded-For: 1.2.3.4\nHost: evil.example",
    "POST /ping",
];

/// Each of the requests with its answer. `RIGHT` and `TOKEN` stand for the token, `LONG` for 9,000 letters.
fn answers(requests: &[&str]) -> String {
    let rig = Rig::new(100);
    let answer = |request: &&str| {
        let sent = request.replace("RIGHT", &format!("X-Vault-Token: {TOKEN}")).replace("LONG", &"n".repeat(9000));
        format!("{}\n    {}", request.replace('\n', " | "), rig.say(&sent.replace("TOKEN", TOKEN)))
    };
    requests.iter().map(answer).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_checks_come_in_their_order() {
    assert_snapshot!(answers(CHECKED), @r#"
PUT /nowhere | X-Forwarded-For: 1.2.3.4 | Host: evil.example | Origin: http://evil.example
    400 Forwarded
PUT /nowhere | Forwarded: for=1.2.3.4 | Host: evil.example
    400 Forwarded
PUT /nowhere | Via: 1.1 proxy | Host: evil.example
    400 Forwarded
PUT http://localhost/nowhere | Host: evil.example
    400 Bad Request
PUT /nowhere | Host: evil.example | Origin: http://evil.example
    403 Bad Host
PUT /nowhere | Host: 127.0.0.1.evil.example
    403 Bad Host
PUT /nowhere | Host: localhost@evil.example
    403 Bad Host
PUT /nowhere | Host: evil@localhost
    403 Bad Host
PUT /nowhere | Host: localhost | Host: localhost
    403 Bad Host
PUT /nowhere | Origin: null
    403 Bad Origin
PUT /nowhere | Sec-Fetch-Site: none
    403 Bad Origin
PUT /nowhere
    403 Bad Token
PUT /nowhere | X-Vault-Token: 0123456789abcdeF
    403 Bad Token
PUT /nowhere | Authorization: TOKEN
    403 Bad Token
PUT /nowhere | RIGHT
    405 Not allowed
HEAD /secretsmanager/get?secretId=db | RIGHT
    405
OPTIONS * | RIGHT
    405 Not allowed
DELETE /v1/db | RIGHT
    405 Not allowed
GET /v1/agent/refresh | RIGHT
    405 Not allowed
POST /v1/agent/events | RIGHT
    405 Not allowed
GET /v1/agent/ack?generation=7 | RIGHT
    405 Not allowed
GET /nowhere | RIGHT | Content-Length: 1
    400 Bad Request
GET /LONG | RIGHT
    414 URI too long
GET /nowhere | RIGHT
    404 Not found
"#);
}

#[test]
fn every_question_has_the_originals_answer() {
    assert_snapshot!(answers(ASKED), @r#"
GET /secretsmanager/get/?secretId=db | RIGHT
    404 Not found
GET /secretsmanager/get | RIGHT
    400 missing parameter secretId
GET /secretsmanager/get?refreshNow=2 | RIGHT
    400 invalid refreshNow value
GET /secretsmanager/get?roleArn=x | RIGHT
    400 invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>
GET /secretsmanager/get?k=x | RIGHT
    400 unknown parameter: k
GET /v1/ | RIGHT
    400 missing secret ID
GET /v1/a%20b | RIGHT
    400 {"__type":"ValidationException","message":"Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!"}
GET /v1/none | RIGHT
    400 {"__type":"ResourceNotFoundException","message":"there is no none"}
GET /v1/mute | RIGHT
    500 {"__type":"InternalFailure"}
GET /v1/db | RIGHT
    200 {"ARN":"arn:aws:secretsmanager:r:1:secret:db-abcdef","Name":"db","VersionId":"v-1","SecretString":"c4nary","VersionStages":["AWSCURRENT"],"CreatedDate":"7"}
GET /v1/db | Host: 127.0.0.1:2773 | RIGHT
    200 {"ARN":"arn:aws:secretsmanager:r:1:secret:db-abcdef","Name":"db","VersionId":"v-1","SecretString":"c4nary","VersionStages":["AWSCURRENT"],"CreatedDate":"7"}
GET /v1/db | Host: [::1] | RIGHT
    200 {"ARN":"arn:aws:secretsmanager:r:1:secret:db-abcdef","Name":"db","VersionId":"v-1","SecretString":"c4nary","VersionStages":["AWSCURRENT"],"CreatedDate":"7"}
GET /secretsmanager/get?secretId=db | x-aws-parameters-secrets-token: TOKEN | X-Vault-Token: wrong
    200 {"ARN":"arn:aws:secretsmanager:r:1:secret:db-abcdef","Name":"db","VersionId":"v-1","SecretString":"c4nary","VersionStages":["AWSCURRENT"],"CreatedDate":"7"}
GET /systemsmanager/parameters/get?name=db | RIGHT
    200 {"Parameter":{"ARN":"arn:aws:secretsmanager:r:1:secret:db-abcdef","LastModifiedDate":"7","Name":"arn:aws:secretsmanager:r:1:secret:db-abcdef","Value":"c4nary","Version":"v-1"}}
POST /v1/agent/ack | RIGHT
    400 missing parameter generation
POST /v1/agent/ack?generation=8 | RIGHT
    409 there is no such generation
POST /v1/agent/ack?generation=7 | RIGHT
    200 OK
GET /ping
    200 healthy
GET /ping | X-Forwarded-For: 1.2.3.4 | Host: evil.example
    200 healthy
POST /ping
    405 Not allowed
"#);
}

/// What is more than in the original: type, age, version, tag.
#[test]
fn an_answer_says_its_age_and_version_and_304_to_who_has_it() {
    let rig = Rig::new(100);
    let ask = |more: &str| {
        let request = format!(
            "GET /v1/db HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n{more}Connection: close\r\n\r\n"
        );
        let answer = rig.talk(request.as_bytes());
        answer.lines().filter(|line| !line.starts_with("date:")).collect::<Vec<_>>().join("\n")
    };
    assert_snapshot!(ask(""), @r#"
HTTP/1.1 200 OK
content-type: application/json
age: 42
x-secret-version: v-1
etag: "v-1"
connection: close
content-length: 156

{"ARN":"arn:aws:secretsmanager:r:1:secret:db-abcdef","Name":"db","VersionId":"v-1","SecretString":"c4nary","VersionStages":["AWSCURRENT"],"CreatedDate":"7"}
"#);
    assert_snapshot!(ask("If-None-Match: \"v-0\", W/\"v-1\"\r\n"), @r#"
HTTP/1.1 304 Not Modified
age: 42
x-secret-version: v-1
etag: "v-1"
connection: close
"#);
    assert!(ask("If-None-Match: \"v-2\"\r\n").starts_with("HTTP/1.1 200"));
}

/// No way to put a second request into the body of a first one, or a body where none belongs.
#[test]
fn hostile_requests_get_nothing_and_leave_the_address_alive() {
    let rig = Rig::new(100);
    let get = format!("GET /v1/db HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n");
    let after = format!("{get}\r\n");
    let hostile = [
        (format!("{get}Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n{after}"), "400"),
        (format!("{get}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{after}"), "400"),
        (format!("{get}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello{after}"), "400"),
        (format!("{get}Content-Length: 5\r\n\r\nhello{after}"), "400"),
        (format!("{get}X: {}\r\n\r\n", "x".repeat(20_000)), "431"),
        (format!("{get}{}\r\n", "X: y\r\n".repeat(100)), "431"),
        (format!("GET /v1/{} HTTP/1.1\r\n\r\n", "x".repeat(70_000)), "4"),
        ("GET /v1/db\r\n\r\n".to_owned(), "400"),
        ("\u{16}\u{3}\u{1} TLS, or nothing at all\r\n\r\n".to_owned(), "400"),
        ("CONNECT localhost:2773 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".to_owned(), "4"),
    ];
    for (request, status) in hostile {
        let answer = rig.talk(request.as_bytes());
        let shown = request.get(..80).unwrap_or(&request);
        assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}\n{answer}");
        assert!(!answer.contains(CANARY) && !answer.contains("HTTP/1.1 200"), "{shown}\n{answer}");
    }
    assert!(rig.vault.asked.lock().unwrap().is_empty());
    let pipelined = format!("{get}\r\n").repeat(50) + &format!("{get}Connection: close\r\n\r\n");
    assert_eq!(rig.talk(pipelined.as_bytes()).matches(CANARY).count(), 51);
}

/// As in the original: one too many is told so, and `/ping` has two places more.
#[test]
fn connections_beyond_the_limit_are_answered_with_429() {
    let rig = Rig::new(1000);
    let ping = b"GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let pinged = |stream: &mut TcpStream| {
        stream.write_all(ping).unwrap();
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..read]).into_owned()
    };
    let mut open: Vec<_> = (0..1000).map(|_| rig.connect()).collect();
    for stream in [0, 500, 999] {
        assert!(pinged(&mut open[stream]).starts_with("HTTP/1.1 200"));
    }
    assert_eq!(rig.say(&format!("GET /v1/db\nX-Vault-Token: {TOKEN}")), "429 Connection limit exceeded");
    assert_eq!(rig.say("GET /ping"), "200 healthy");
    assert!(pinged(&mut open[0]).starts_with("HTTP/1.1 200"), "the others notice nothing");
}

#[test]
fn a_refresh_is_shared_and_its_names_are_checked() {
    let rig = Rig::new(100);
    let post = |body: &str| {
        let head = format!(
            "POST /v1/agent/refresh HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\nConnection: close\r\n"
        );
        let answer = rig.talk(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        format!("{} {body}", head.split(' ').nth(1).unwrap())
    };
    assert_eq!(post(""), r#"200 {"generation":8,"versions":{"db":"v-1"}}"#);
    assert!(post(r#"{"names":["db","none"]}"#).starts_with(r#"404 {"__type":"ResourceNotFoundException""#));
    for wrong in ["x", "7", r#"{"name":[]}"#] {
        assert!(post(wrong).starts_with(r#"400 {"__type":"ValidationException""#), "{wrong}");
    }
    // The rest of such a body is not read, so that the kernel may take the answer back.
    let head = format!("POST /v1/agent/refresh HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n");
    let long = format!("{head}Content-Length: 9000000\r\n\r\n{{\"names\":[\"{}", "x".repeat(9_000_000));
    let answer = rig.talk(long.as_bytes());
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert_eq!(post(r#"{"names":["db"]}"#), r#"200 {"generation":9,"versions":{"db":"v-1"}}"#);
    assert_eq!(*rig.vault.asked.lock().unwrap(), ["refresh []", "refresh [\"db\"]"]);
}

#[test]
fn events_are_told_by_answer_and_by_stream() {
    let rig = Rig::new(100);
    let ask = |since: &str| rig.say(&format!("GET /v1/agent/events{since}\nX-Vault-Token: {TOKEN}"));
    let now = r#"200 {"generation":7,"versions":{"db":"v-1"}}"#;
    assert_eq!((ask(""), ask("?since=6"), ask("?since=900")), (now.to_owned(), now.to_owned(), now.to_owned()));
    let mut stream = rig.connect();
    write!(stream, "GET /v1/agent/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nX-Vault-Token: {TOKEN}\r\n\r\n").unwrap();
    let mut seen = String::new();
    let mut read_until = |stream: &mut TcpStream, end: &str| {
        while !seen.contains(end) {
            let mut buffer = [0; 1024];
            let read = stream.read(&mut buffer).unwrap();
            assert!(read > 0, "{seen}");
            seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        assert!(!seen.contains(CANARY));
    };
    read_until(&mut stream, "id: 7\nevent: generation\ndata: {\"generation\":7,\"versions\":{\"db\":\"v-1\"}}\n\n");
    rig.vault.news.send_modify(|generation| Arc::make_mut(generation).number = 8);
    read_until(&mut stream, "id: 8\nevent: generation\n");
    // A browser's own EventSource, and all that are like it, come back so.
    let mut again = rig.connect();
    write!(again, "GET /v1/agent/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nLast-Event-ID: 8\r\nX-Vault-Token: {TOKEN}\r\n\r\n").unwrap();
    until_acknowledged(&rig, "events 8");
    rig.vault.news.send_modify(|generation| Arc::make_mut(generation).number = 9);
    let mut first = String::new();
    while !first.contains("id: ") {
        let mut buffer = [0; 1024];
        let read = again.read(&mut buffer).unwrap();
        assert!(read > 0, "{first}");
        first.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
    assert!(first.contains("id: 9\n"), "{first}");
    assert_eq!(*rig.vault.asked.lock().unwrap(), ["events 6", "events 900", "events 8"]);
}

/// Until the vault was told so. The request that says it is answered only when there is news.
fn until_acknowledged(rig: &Rig, what: &str) {
    let begun = std::time::Instant::now();
    while !rig.vault.asked.lock().unwrap().iter().any(|asked| asked == what) {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::yield_now();
    }
}

/// One connection over memory, so that the clock can stand still.
pub(super) fn duplex(
    number: usize,
    connections_max: usize,
) -> (DuplexStream, tokio::task::JoinHandle<Option<()>>, Arc<Table>) {
    let folder = tempfile::tempdir().unwrap();
    let (vault, life) = (table(), Life::default());
    let shared = Shared {
        vault: Arc::clone(&vault),
        settings: settings(folder.path(), connections_max),
        address: "127.0.0.1:2773".parse().unwrap(),
        life: life.clone(),
        open: AtomicUsize::new(number),
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        refreshes: Arc::default(),
    };
    let (ours, theirs) = tokio::io::duplex(1024);
    let served = life.spawn("connection", converse(theirs, Place { shared: Arc::new(shared), number }));
    (ours, served, vault)
}

/// Waits for the end of a connection, but not for ever.
pub(super) async fn ended(served: tokio::task::JoinHandle<Option<()>>) {
    let ended = tokio::time::timeout(Duration::from_secs(3600), served).await;
    assert_eq!(ended.expect("the connection ends").unwrap(), Some(()));
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_and_an_answer_that_nobody_reads_cost_their_connection() {
    let begun = Instant::now();
    let (mut slow, served, _) = duplex(1, 1);
    for letter in b"GET /ping HTTP/1.1\r\nX: ".iter().chain(&[b'x'; 100]) {
        if slow.write_all(&[*letter]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    ended(served).await;
    assert!(begun.elapsed() <= HEAD_TIMEOUT + Duration::from_secs(3), "bytes that drip in buy no time");

    let begun = Instant::now();
    let (mut deaf, served, _) = duplex(1, 1);
    let get = format!("GET /v1/big HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n");
    deaf.write_all(get.as_bytes()).await.unwrap();
    ended(served).await;
    assert_eq!(begun.elapsed().as_secs(), crate::net::stall::STALL.as_secs());

    let (_silent, served, _) = duplex(2, 1);
    let begun = Instant::now();
    ended(served).await;
    assert_eq!(begun.elapsed().as_secs(), HEAD_TIMEOUT_OVER.as_secs());
}

/// The original cuts every connection after 61 s, in the middle of an answer if need be.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_used_is_never_cut() {
    let (mut stream, served, vault) = duplex(1, 1);
    let get = format!("GET /v1/db HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n");
    for _ in 0..100 {
        stream.write_all(get.as_bytes()).await.unwrap();
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        assert!(String::from_utf8_lossy(&buffer[..read]).contains(CANARY));
        tokio::time::sleep(Duration::from_secs(61)).await;
    }
    assert!(!served.is_finished() && vault.asked.lock().unwrap().len() == 100);
}

/// Who waits for news gets an answer after a while, also without any.
#[tokio::test(start_paused = true)]
async fn a_wait_for_news_ends() {
    let (mut stream, _served, _) = duplex(1, 1);
    let begun = Instant::now();
    let get = format!("GET /v1/agent/events?since=7 HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n");
    stream.write_all(get.as_bytes()).await.unwrap();
    let mut buffer = [0; 1024];
    let read = stream.read(&mut buffer).await.unwrap();
    assert!(String::from_utf8_lossy(&buffer[..read]).ends_with(r#"{"generation":7,"versions":{"db":"v-1"}}"#));
    assert_eq!(begun.elapsed().as_secs(), events::WAIT.as_secs());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is sent: no panic, and without the token nothing but `/ping` is answered with 200.
    #[test]
    fn property_without_the_token_nothing_is_told(
        method in "(GET|POST|HEAD|PUT|[A-Z]{1,8})",
        path in "(/secretsmanager/get|/v1/db|/v1/agent/refresh|/v1/agent/events|/systemsmanager/parameters/get|/ping/|/[!-~]{0,20})",
        query in "(\\?(secretId|name)=db)?",
        header in "(X-Vault-Token: ([!-~]{0,20}|0123456789abcde)|[A-Za-z-]{1,20}: [ -~]{0,30}|Content-Length: [0-9]|\\PC{0,20})",
        body in "\\PC{0,40}",
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let answer = runtime.block_on(async {
            let (mut stream, served, vault) = duplex(1, 1);
            let request = format!("{method} {path}{query} HTTP/1.1\r\nHost: localhost\r\n{header}\r\n\r\n{body}");
            let _ = stream.write_all(request.as_bytes()).await;
            let _ = stream.shutdown().await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            assert!(served.await.unwrap().is_some(), "panicked");
            assert!(vault.asked.lock().unwrap().is_empty());
            String::from_utf8_lossy(&answer).into_owned()
        });
        prop_assert!(!answer.contains("HTTP/1.1 200") || path == "/ping", "{answer}");
        prop_assert!(!answer.contains(CANARY));
    }
}
