//! Proves how targets are asked: what is sent, what is made of answers, and that the rhythm and the end are kept.
//!
//! Promises: targets are real servers on the loopback; nothing is timed.
//! Never: proves what becomes of an exposition; `take_tests` does.

use std::{io::Write, sync::Arc, time::Duration};

use flate2::{Compression, write::GzEncoder};
use tokio_util::sync::CancellationToken;

use super::{
    fetch::{Failure, fetch},
    run::{Means, Scraper},
    settings::Scrape,
};
use crate::{
    life::Life,
    metrics::{Seconds, exposition::Format, store::Shown, store::ShownValue, store::Store},
    net::{
        http::{Bounds, HttpClient},
        stub::{Stub, answer},
        tls::Tls,
    },
    tell::counters::Counters,
};

const LONG: Duration = Duration::from_secs(30);
const BOUNDS: Bounds = Bounds { time: LONG, answer_bytes: 1_000 };
const OPEN: &str = "content-type: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n";

fn client() -> HttpClient {
    HttpClient::new(&Tls::new(None), &Counters::new())
}

fn gzipped(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("a vector takes all");
    encoder.finish().expect("a vector takes all")
}

fn answered(headers: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len()).as_bytes(), body].concat()
}

#[tokio::test]
async fn what_is_asked_is_what_prometheus_asks() {
    let stub = Stub::answering([answer("200 OK", OPEN, "# EOF\n")]);
    let uri = format!("{}/m?x=y", stub.url()).parse().expect("an address");
    let fetched =
        fetch(&uri, &client(), Bounds { time: Duration::from_millis(30_500), ..BOUNDS }).await.expect("an answer");
    assert_eq!(fetched.format, Format::OpenMetrics);
    assert_eq!(&fetched.text(100).expect("text")[..], b"# EOF\n");
    let seen = stub.seen().remove(0);
    assert_eq!(seen.line, "GET /m?x=y HTTP/1.1");
    assert_eq!(seen.header("host"), Some(format!("127.0.0.1:{}", stub.port()).as_str()));
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    assert_eq!(seen.header("x-prometheus-scrape-timeout-seconds"), Some("30.5"));
    assert!(seen.header("accept").expect("a header").starts_with("application/openmetrics-text;version=1.0.0"));
    assert_eq!(seen.header("authorization"), None);
}

/// Each answer has one meaning.
#[tokio::test]
async fn answers_are_told_apart() {
    let bomb = gzipped(&[b' '; 100_000]);
    let gzip = "content-encoding: gzip\r\n";
    for (what, reply, outcome) in [
        ("text", answered("content-type: text/plain; version=0.0.4\r\n", b"a 1\n"), "Text a 1\n"),
        ("without a type", answered("", b"a 1\n"), "Text a 1\n"),
        ("of a page", answered("content-type: text/html\r\n", b"a 1\n"), "Text a 1\n"),
        ("open", answered("content-type: Application/OpenMetrics-Text\r\n", b"a 1\n"), "OpenMetrics a 1\n"),
        ("compressed", answered(gzip, &gzipped(b"a 1\n")), "Text a 1\n"),
        ("empty", answered("", b""), "Text "),
        ("a bomb", answered(gzip, &bomb), "too_large"),
        ("half compressed", answered(gzip, &gzipped(b"a 1\n")[..15]), "encoding"),
        ("not compressed", answered(gzip, b"a 1\n"), "encoding"),
        ("brotli", answered("content-encoding: br\r\n", b"a 1\n"), "encoding"),
        ("too large", answered("", &[b' '; 1_001]), "too_large"),
        ("elsewhere", answer("302 Found", "location: http://169.254.169.254/\r\n", "").into(), "status"),
        ("denied", answer("401 Unauthorized", "", "").into(), "status"),
        ("nothing", answer("204 No Content", "", "").into(), "status"),
        ("broken", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\na".to_vec(), "broken"),
        ("nonsense", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(), "broken"),
    ] {
        let stub = Stub::answering([reply]);
        let uri = format!("{}/metrics", stub.url()).parse().expect("an address");
        let fetched = fetch(&uri, &client(), BOUNDS).await;
        let read = fetched.and_then(|fetched| {
            let format = fetched.format;
            Ok(format!("{format:?} {}", String::from_utf8_lossy(&fetched.text(1_000)?)))
        });
        assert_eq!(read.unwrap_or_else(|failure| failure.label().to_owned()), outcome, "{what}");
    }
}

#[tokio::test]
async fn who_does_not_answer_is_told_from_who_is_not_there() {
    let stub = Stub::handling(|stream| {
        // It is held open until the client leaves.
        std::io::Read::read(&mut &stream, &mut [0; 4_096])
            .and_then(|_| std::io::Read::read(&mut &stream, &mut [0]))
            .map(drop)
    });
    let uri = format!("{}/metrics", stub.url()).parse().expect("an address");
    let slow =
        fetch(&uri, &client(), Bounds { time: Duration::from_millis(200), ..BOUNDS }).await.expect_err("no answer");
    assert_eq!((slow.label(), slow.is_nobody_there()), ("timeout", false));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    let uri = format!("http://{closed}/metrics").parse().expect("an address");
    let absent = fetch(&uri, &client(), BOUNDS).await.expect_err("nobody");
    assert_eq!((absent.label(), absent.is_nobody_there()), ("unreachable", true));
    assert!(!Failure::Panicked.is_nobody_there());
}

struct World {
    store: Store,
    counters: Counters,
    life: Life,
    closing: CancellationToken,
}

impl World {
    fn new() -> Self {
        let closing = CancellationToken::new();
        Self { store: Store::default(), counters: Counters::new(), life: Life::default(), closing }
    }

    fn start(&self, settings: &serde_json::Value, metadata: Option<String>) -> tokio::task::JoinHandle<Option<()>> {
        let settings: Scrape = serde_json::from_value(settings.clone()).expect("they are settings");
        let http = HttpClient::new(&Tls::new(None), &self.counters);
        let means = Means {
            store: &self.store,
            seconds: Seconds::new(),
            http: &http,
            counters: &self.counters,
            life: &self.life,
            closing: &self.closing,
        };
        let scraper = Scraper::new(&settings, "scrape.0", settings.publish.policy(true), &means);
        self.life.spawn("test", Arc::clone(&scraper).run(settings, metadata))
    }

    fn asked(&self, outcome: &str) -> u64 {
        self.counters.metrics.asked.with_label_values(&["scrape.0", "target", outcome]).get()
    }

    async fn until(&self, what: &str, is_it: impl Fn() -> bool) {
        let waiting = async {
            while !is_it() {
                tokio::task::yield_now().await;
            }
        };
        assert!(tokio::time::timeout(LONG, waiting).await.is_ok(), "{what}: {:?}", self.shown());
    }

    /// Numbers on `/metrics`, as `name{labels} value`.
    fn shown(&self) -> Vec<String> {
        let (mut all, mut family) = (Vec::new(), String::new());
        self.store.show(|shown| match shown {
            Shown::Family { name, .. } => name.clone_into(&mut family),
            Shown::Series { labels, value: ShownValue::Number(number), .. } => {
                all.push(format!("{family}{{{labels}}} {number}"));
            }
            Shown::Series { .. } => {}
        });
        all.sort();
        all
    }

    /// What CloudWatch would get.
    fn sums(&self) -> Vec<String> {
        let mut all = Vec::new();
        let mut flush = self.store.flush();
        while flush.next(|_, datum| all.push(format!("{} {:?}", datum.head, datum.window))) {}
        all.sort();
        all
    }
}

/// What was counted between the last scrape and the stop is not lost, and the target is asked no more.
#[tokio::test]
async fn each_target_is_scraped_once_more_at_the_end() {
    let exposition = |total: u32| answer("200 OK", "", &format!("# TYPE jobs_total counter\njobs_total {total}\n"));
    let stub = Stub::answering([exposition(10), exposition(17), exposition(99)]);
    let world = World::new();
    let target = format!("127.0.0.1:{}/m", stub.port());
    let run = world.start(&serde_json::json!({"targets": [target, target], "job": "shop", "every": "1h"}), None);
    world.until("the first scrape", || world.asked("success") == 1).await;
    assert_eq!(world.sums(), [""; 0], "what was counted before is no news");
    world.life.stop(LONG);
    assert_eq!(run.await.expect("joins"), Some(()));
    assert_eq!(world.asked("success"), 2);
    assert_eq!(world.sums(), ["\"MetricName\":\"jobs_total\",\"Unit\":\"Count\" Sum(7.0)"]);
    let labels = format!("instance=\"127.0.0.1:{}\",job=\"shop\"", stub.port());
    let shown: Vec<_> = world.shown().into_iter().filter(|one| !one.starts_with("scrape_duration")).collect();
    assert_eq!(
        shown,
        ["jobs", "scrape_samples_scraped", "up"].map(|name| {
            let value = if name == "jobs" { 17 } else { 1 };
            format!("{name}{{{labels}}} {value}")
        })
    );
}

/// A target that lies, and one that is huge, are counted by what is wrong; the one between them never notices.
#[tokio::test]
async fn targets_that_lie_or_are_huge_disturb_no_other() {
    let huge = "# filler\n".repeat(300_000);
    let liar = Stub::answering([answer("200 OK", OPEN, "a 1\n"), answer("200 OK", OPEN, "a 1\n")]);
    // Asked with the small bound, with the large one, and once more at the end with the large one.
    let giant = Stub::handling(move |stream| {
        let mut reader = std::io::BufReader::new(stream.try_clone()?);
        while !crate::net::stub::read_head(&mut reader)?.is_empty() {
            // Who closes before the end does so on purpose.
            (&stream).write_all(answer("200 OK", "", &(huge.clone() + "giant 1\n")).as_bytes())?;
        }
        Ok(())
    });
    let good = Stub::answering([answer("200 OK", "", "good 1\n"), answer("200 OK", "", "good 2\n")]);
    let world = World::new();
    let targets: Vec<_> = [&liar, &giant, &good].map(|stub| format!("127.0.0.1:{}", stub.port())).into();
    let run = world.start(&serde_json::json!({"targets": targets, "every": "1h"}), None);
    world.until("all three", || world.asked("success") == 2 && world.asked("invalid") == 1).await;
    let has = |what: &str| world.shown().iter().any(|shown| shown.starts_with(what));
    assert!(has("good") && has("giant") && !has("a{"), "{:?}", world.shown());
    let up = |stub: &Stub| {
        let start = format!("up{{instance=\"127.0.0.1:{}\"", stub.port());
        world.shown().into_iter().find(|shown| shown.starts_with(&start)).and_then(|shown| shown.chars().last())
    };
    assert_eq!([&liar, &giant, &good].map(up), [Some('0'), Some('1'), Some('1')]);
    world.life.stop(LONG);
    assert_eq!(run.await.expect("joins"), Some(()));
}

/// One that is larger than allowed is refused, however often it is asked.
#[tokio::test]
async fn what_is_larger_than_allowed_is_refused() {
    let body = "# filler\n".repeat(10_000);
    let stub = Stub::answering([answer("200 OK", "", &body)]);
    let world = World::new();
    let target = format!("127.0.0.1:{}", stub.port());
    let run = world.start(&serde_json::json!({"targets": [target], "every": "1h", "bytes_max": "64KiB"}), None);
    world.until("the first", || world.asked("too_large") == 1).await;
    world.life.stop(LONG);
    assert_eq!(run.await.expect("joins"), Some(()));
    assert_eq!(world.asked("too_large"), 1, "who never answered is not asked at the end");
}

/// The labels of the task's containers say where the app exposes its metrics.
#[tokio::test]
async fn targets_are_found_by_labels() {
    let app = Stub::answering([answer("200 OK", "", "good 1\n"), answer("200 OK", "", "good 2\n")]);
    let document = serde_json::json!({"Containers": [{
        "DockerId": "1", "Name": "web", "Type": "NORMAL", "KnownStatus": "RUNNING",
        "Labels": {"ECS_PROMETHEUS_EXPORTER_PORT": app.port().to_string(), "job": "shop"},
        "Networks": [{"NetworkMode": "awsvpc"}],
    }]});
    let metadata = Stub::answering([answer("200 OK", "", &document.to_string())]);
    let world = World::new();
    let run = world.start(&serde_json::json!({"every": "1h"}), Some(format!("{}/v4/x", metadata.url())));
    world.until("the first scrape", || world.asked("success") == 1).await;
    let expected = format!("good{{container_name=\"web\",instance=\"127.0.0.1:{}\",job=\"shop\"}} 1", app.port());
    assert!(world.shown().contains(&expected), "{:?}", world.shown());
    assert_eq!(metadata.seen()[0].line, "GET /v4/x/task HTTP/1.1");
    world.life.stop(LONG);
    assert_eq!(run.await.expect("joins"), Some(()));
    assert_eq!(world.asked("success"), 2);
}
