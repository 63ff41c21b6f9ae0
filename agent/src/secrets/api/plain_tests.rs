//! The two ways of answering, one held against the other.
//!
//! Promises: whole conversations are compared, byte by byte but for the date. Never: proves what the guards let through;
//! `serve_tests` does, through the way in front.

use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream},
    time::{Instant, sleep},
};

use super::{
    tests::{TOKEN, Table, duplex, ended, settings, table},
    *,
};
use crate::secrets::api::head::tests::CLIENTS;

/// Room for all answers of a conversation.
const PIPE_BYTES: usize = 1024 * 1024;

/// Who reads the connection.
#[derive(Clone, Copy, Debug)]
enum Reader {
    /// As it is: what is plain in front, the rest by hyper.
    Both,
    /// Nobody in front.
    Hyper,
}

fn shared(vault: &Arc<Table>) -> Arc<Shared<Table>> {
    let folder = tempfile::tempdir().unwrap();
    Arc::new(Shared {
        vault: Arc::clone(vault),
        settings: settings(folder.path(), 10),
        address: "127.0.0.1:2773".parse().unwrap(),
        life: Life::default(),
        open: AtomicUsize::new(1),
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        refreshes: Arc::default(),
    })
}

/// All that is answered to these pieces, each of which arrives by itself, without the dates; and what the vault was asked.
async fn heard(reader: Reader, pieces: &[Vec<u8>]) -> (String, Vec<String>) {
    let (vault, (mut ours, theirs)) = (table(), tokio::io::duplex(PIPE_BYTES));
    let place = Place { shared: shared(&vault), number: 1 };
    let served = async move {
        match reader {
            Reader::Both => converse(theirs, place).await,
            Reader::Hyper => whole(Rewound::new(Zeroizing::default(), Unstalled::new(theirs)), &place, false).await,
        }
    };
    let spoken = async {
        for piece in pieces {
            // Nobody may be there any more.
            let _ = ours.write_all(piece).await;
            sleep(Duration::from_millis(1)).await;
        }
        let _ = ours.shutdown().await;
        let mut answer = Vec::new();
        let _ = ours.read_to_end(&mut answer).await;
        String::from_utf8_lossy(&answer).into_owned()
    };
    let ((), answer) = tokio::join!(served, spoken);
    let answer: Vec<_> = answer.split_inclusive("\r\n").filter(|line| !line.starts_with("date: ")).collect();
    let mut asked = vault.asked.lock().unwrap().clone();
    // A refusal is had twice: hyper asks again for what was refused in front.
    asked.dedup();
    (answer.concat(), asked)
}

/// What is left for hyper of these bytes, and how often the vault was asked in front of it.
async fn left(bytes: &[u8]) -> (Option<Vec<u8>>, usize) {
    let (vault, (mut ours, mut theirs)) = (table(), tokio::io::duplex(PIPE_BYTES));
    let shared = shared(&vault);
    ours.write_all(bytes).await.unwrap();
    ours.shutdown().await.unwrap();
    let left = plain::answer(&mut theirs, &*vault, &shared.settings, shared.address).await.unwrap();
    let asked = vault.asked.lock().unwrap().len();
    (left.map(|left| left.to_vec()), asked)
}

#[tokio::test]
async fn what_known_clients_ask_is_answered_in_front_and_the_rest_is_left_as_it_came() {
    let mut all = Vec::new();
    for (who, head) in CLIENTS {
        let head = head.replace("app%2Fdb", "db").replace("TOKEN", TOKEN);
        match left(head.as_bytes()).await {
            (None, 1) => all.push(head),
            (Some(left), 0) => assert!(who.contains(", which ") && left == head.as_bytes(), "{who}"),
            other => panic!("{who}: {other:?}"),
        }
    }
    assert!(all.len() > 4);
    assert_eq!(left(all.concat().as_bytes()).await, (None, all.len()));
    let get = format!("GET /v1/db HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n");
    let others = [
        get.replace(TOKEN, "wrong"),
        get.replace("localhost", "evil.example"),
        get.replace("/v1/db", "/ping"),
        get.replace("/v1/db", "/v1/none"),
        get.replace("/v1/db", "/v1/db?refreshNow=true"),
        get.replace("/v1/db", "/v1/agent/events"),
        get.replace("/v1/db", "/nowhere"),
        get.replace("GET", "POST"),
        get.replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\n{}"),
        get.replace("\r\n\r\n", "\r\nOrigin: null\r\n\r\n"),
        get[..get.len() - 1].to_owned(),
    ];
    for other in others {
        let (rest, asked) = left(format!("{get}{other}{get}").as_bytes()).await;
        assert_eq!(rest.as_deref(), Some(format!("{other}{get}").as_bytes()), "{other}");
        assert_eq!(asked, if other.contains("none") { 2 } else { 1 }, "{other}");
    }
}

/// A connection that nobody reads must not wait for AWS, whoever has it.
#[tokio::test(start_paused = true)]
async fn a_caller_that_goes_away_while_aws_is_asked_ends_its_connection() {
    for rest in ["", "GET /v1/db HTTP/1.1\r\n"] {
        let (mut stream, served, vault) = duplex(1, 1);
        let get = format!("GET /v1/slow HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n{rest}");
        let begun = Instant::now();
        stream.write_all(get.as_bytes()).await.unwrap();
        while vault.asked.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(!served.is_finished());
        drop(stream);
        ended(served).await;
        assert!(begun.elapsed() < Duration::from_secs(1));
    }
}

/// What is sent while AWS is asked is bounded, and answered after it.
#[tokio::test(start_paused = true)]
async fn who_sends_on_without_an_answer_is_not_read_without_end() {
    let (mut stream, served, _) = duplex(1, 1);
    let get = format!("GET /v1/slow HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n");
    stream.write_all(get.as_bytes()).await.unwrap();
    let more = vec![b'x'; 64 * 1024];
    let written = tokio::time::timeout(Duration::from_secs(60), stream.write_all(&more)).await;
    assert!(written.is_err() && !served.is_finished(), "what fits is read, the rest waits");
    drop(stream);
    served.abort();
}

/// The pause after an answer is what counts, however often the connection was used before.
#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_used_ends_after_its_time() {
    for requests in [0, 1, 3] {
        let (mut stream, served, _) = duplex(1, 1);
        let mut used = Instant::now();
        for _ in 0..requests {
            sleep(Duration::from_secs(50)).await;
            stream
                .write_all(
                    format!("GET /v1/db HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n").as_bytes(),
                )
                .await
                .unwrap();
            let mut buffer = [0; 1024];
            assert!(stream.read(&mut buffer).await.unwrap() > 0);
            used = Instant::now();
        }
        ended(served).await;
        let idle = used.elapsed();
        assert!(HEAD_TIMEOUT <= idle && idle <= HEAD_TIMEOUT + Duration::from_secs(1), "{idle:?}");
    }
}

/// The first line of a request and the rest, plain or not, right or wrong.
fn requests() -> impl Strategy<Value = (String, String)> {
    let first = prop::sample::select(vec![
        "GET /v1/db HTTP/1.1",
        "GET /secretsmanager/get?secretId=db HTTP/1.1",
        "GET /secretsmanager/get?secretId=d%62&versionStage=A HTTP/1.1",
        "GET /v1/big HTTP/1.1",
        "GET /systemsmanager/parameters/get?name=db HTTP/1.1",
        "GET /v1/none HTTP/1.1",
        "GET /v1/mute HTTP/1.1",
        "GET /v1/db?refreshNow=1 HTTP/1.1",
        "GET /v1/db?versionId=%20 HTTP/1.1",
        "GET /v1/db?x HTTP/1.1",
        "GET /v1/a/../db HTTP/1.1",
        "GET /v1/db# HTTP/1.1",
        "GET /ping HTTP/1.1",
        "GET /v1/db HTTP/1.0",
        "GET http://localhost/v1/db HTTP/1.1",
        "HEAD /v1/db HTTP/1.1",
        "POST /v1/agent/ack?generation=7 HTTP/1.1",
        "POST /v1/agent/refresh HTTP/1.1",
        "GET //v1/db HTTP/1.1",
        "GET /v1/db?a=1?b=2 HTTP/1.1",
        "GET  /v1/db HTTP/1.1",
    ]);
    let line = prop::sample::select(vec![
        "Host: localhost",
        "host: 127.0.0.1:2773",
        "Host: evil.example",
        "X-Vault-Token: TOKEN",
        "x-aws-parameters-secrets-token:TOKEN \t",
        "X-Vault-Token: wrong",
        "Accept: */*",
        "X: \"(y),;\"",
        "Connection: keep-alive",
        "Connection: close",
        "If-None-Match: \"v-1\"",
        "Content-Length: 0",
        "Content-Length: 2\r\n\r\n{}",
        "Transfer-Encoding: chunked\r\n\r\n0",
        "Origin: null",
        "sec-fetch-mode: cors",
        "sec-fetch-site: none",
        "Via: 1.1 p",
        "Expect: 100-continue",
        "X : y",
        "X: \u{e4}",
    ]);
    let good = prop::bool::weighted(0.7);
    (first, good, prop::collection::vec(line, 0..4)).prop_map(|(first, good, lines)| {
        let good = if good { "Host: localhost\r\nX-Vault-Token: TOKEN\r\n" } else { "" };
        let lines: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        (format!("{first}\r\n"), format!("{good}{lines}\r\n").replace("TOKEN", TOKEN))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever is said on a connection, also again and with other headers, and however it is cut: the answers are those of hyper alone.
    #[test]
    fn property_a_conversation_is_the_same_whoever_reads_it(
        requests in prop::collection::vec(requests(), 1..4),
        picks in prop::collection::vec(any::<[prop::sample::Index; 2]>(), 1..7),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let all = picks.iter().map(|[first, rest]| first.get(&requests).0.clone() + &rest.get(&requests).1);
        let all = all.collect::<String>().into_bytes();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(all.len())).chain([0, all.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|ends| all[ends[0]..ends[1]].to_vec()).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let [both, hyper] = [Reader::Both, Reader::Hyper].map(|reader| runtime.block_on(heard(reader, &pieces)));
        prop_assert_eq!(both, hyper);
    }
}

/// The property is about something: such conversations have answers of both kinds.
#[tokio::test(start_paused = true)]
async fn a_conversation_that_changes_hands_is_answered_to_its_end() {
    let get = format!("GET /v1/db HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {TOKEN}\r\n\r\n");
    let post =
        get.replace("GET /v1/db", "POST /v1/agent/refresh").replace("\r\n\r\n", "\r\nContent-Length: 2\r\n\r\n{}");
    let pieces = [format!("{get}{get}{post}{get}").into_bytes(), get.clone().into_bytes()];
    for reader in [Reader::Both, Reader::Hyper] {
        let (answer, asked) = heard(reader, &pieces).await;
        assert_eq!(
            (answer.matches("HTTP/1.1 200 OK").count(), answer.matches("SecretString").count()),
            (5, 4),
            "{answer}"
        );
        assert_eq!(asked, ["db Cached", "refresh []", "db Cached"]);
    }
}

/// Who was let through is not for ever: with the token goes what is known of its heads.
#[tokio::test(start_paused = true)]
async fn a_head_is_known_for_as_long_as_the_token_is_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let (vault, settings) = (table(), settings(folder.path(), 10));
    let token = std::fs::read_to_string(folder.path().join("token")).unwrap();
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {}\r\n\r\n", token.trim());
    let (mut ours, mut theirs) = tokio::io::duplex(PIPE_BYTES);
    let served = plain::answer(&mut theirs, &*vault, &settings, "127.0.0.1:2773".parse().unwrap());
    let spoken = async {
        let mut part = [0; 4_096];
        for path in ["/v1/db", "/v1/db", "/secretsmanager/get?secretId=db", "/v1/db"] {
            ours.write_all(get(path).as_bytes()).await.unwrap();
            let count = ours.read(&mut part).await.unwrap();
            assert!(part[..count].starts_with(b"HTTP/1.1 200 OK\r\n"), "{path}");
        }
        std::fs::write(folder.path().join("new"), "another token").unwrap();
        std::fs::rename(folder.path().join("new"), folder.path().join("token")).unwrap();
        sleep(Duration::from_secs(2)).await;
        ours.write_all(get("/v1/db").as_bytes()).await.unwrap();
    };
    let (left, ()) = tokio::join!(served, spoken);
    assert_eq!(
        left.unwrap().as_deref().map(Vec::as_slice),
        Some(get("/v1/db").as_bytes()),
        "it is left to who refuses it"
    );
}

/// What is cut off of an answer by a peer that reads slowly comes all the same.
#[tokio::test]
async fn an_answer_that_does_not_fit_into_the_pipe_is_whole() {
    let (mut ours, mut theirs): (DuplexStream, DuplexStream) = tokio::io::duplex(100);
    let vault = table();
    let shared = shared(&vault);
    let get = format!("GET /v1/big HTTP/1.1\r\nHost: l\r\nX-Vault-Token: {TOKEN}\r\n\r\n")
        .replace("Host: l", "Host: localhost");
    let served = plain::answer(&mut theirs, &*vault, &shared.settings, shared.address);
    let asked = async {
        ours.write_all(get.as_bytes()).await.unwrap();
        ours.shutdown().await.unwrap();
        let (mut answer, mut part) = (Vec::new(), [0; 77]);
        while !answer.ends_with(b"}") {
            let count = ours.read(&mut part).await.unwrap();
            assert!(count > 0);
            answer.extend_from_slice(&part[..count]);
        }
        String::from_utf8(answer).unwrap()
    };
    let (left, answer) = tokio::join!(served, asked);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(left.unwrap().is_none() && head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
    assert!(body.matches("c4nary").count() == 10_000);
}
