//! Who waits for news, with the clock paused: by one answer and by a stream, behind, level and ahead, across a restart.
//!
//! Promises: what a reader is told is compared with every generation that came.
//! Never: opens a socket; `serve_tests` and the stories do.

use std::collections::BTreeMap;

use http_body_util::BodyExt;
use proptest::prelude::*;
use tokio::{sync::Semaphore, time::Instant};

use super::*;
use crate::life::Life;

fn generation(number: u64) -> Arc<Generation> {
    Arc::new(Generation { number, versions: BTreeMap::from([("db".to_owned(), format!("v{number}"))]) })
}

fn news(number: u64) -> watch::Sender<Arc<Generation>> {
    watch::Sender::new(generation(number))
}

/// What a reader who has number `since` is told.
async fn told(news: watch::Receiver<Arc<Generation>>, since: Option<u64>) -> String {
    let response = answer(news, since).await;
    assert_eq!(response.status(), StatusCode::OK);
    let bytes = response.into_body().collect().await.expect("cannot fail").to_bytes();
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// The stream of a reader who has number `since`.
fn streamed(news: watch::Receiver<Arc<Generation>>, since: Option<u64>) -> Response<Body> {
    stream(news, since, Arc::new(Semaphore::new(1)).try_acquire_owned().expect("one is free"))
}

/// The next event of a stream.
async fn event(stream: &mut Response<Body>) -> String {
    let frame = stream.body_mut().frame().await.expect("goes on").expect("cannot fail");
    String::from_utf8(frame.into_data().expect("data").to_vec()).expect("text")
}

#[tokio::test(start_paused = true)]
async fn who_is_behind_or_ahead_is_answered_at_once() {
    let news = news(7);
    let begun = Instant::now();
    // A number that is higher comes from a volume that is no more.
    for since in [None, Some(0), Some(6), Some(8), Some(u64::MAX)] {
        let said = told(news.subscribe(), since).await;
        assert_eq!(said, r#"{"generation":7,"versions":{"db":"v7"}}"#, "{since:?}");
    }
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn who_is_level_waits_for_the_next_one_and_not_for_ever() {
    let (news, life, begun) = (news(7), Life::default(), Instant::now());
    let waits = life.spawn("reader", told(news.subscribe(), Some(7)));
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(!waits.is_finished());
    news.send_replace(generation(8));
    let said = waits.await.expect("not cancelled").expect("no panic");
    assert!(said.contains("\"generation\":8") && begun.elapsed() < Duration::from_secs(10), "{said}");
    let said = told(news.subscribe(), Some(8)).await;
    assert!(said.contains("\"generation\":8") && begun.elapsed() >= WAIT, "{said}");
}

/// A reader that came back a moment after our own restart was told of generation 0, without versions, because the volume had
/// not been looked at yet; and then, if it took that for the newest, of the one it had already.
#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_generation_before_it_is_known_which_there_is() {
    let (news, life) = (watch::Sender::new(Arc::new(Generation::default())), Life::default());
    let level = life.spawn("level", told(news.subscribe(), Some(7)));
    let behind = life.spawn("behind", told(news.subscribe(), Some(6)));
    let mut stream = streamed(news.subscribe(), Some(6));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!level.is_finished() && !behind.is_finished());
    news.send_replace(generation(7));
    let told = behind.await.expect("not cancelled").expect("no panic");
    assert!(told.contains("\"generation\":7"), "{told}");
    assert!(event(&mut stream).await.starts_with("id: 7\n"));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!level.is_finished(), "it has that one");
    news.send_replace(generation(8));
    let told = level.await.expect("not cancelled").expect("no panic");
    assert!(told.contains("\"generation\":8"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_tells_of_each_generation_and_breathes_in_between() {
    let news = news(3);
    let mut stream = streamed(news.subscribe(), None);
    assert_eq!(stream.headers()[CONTENT_TYPE], "text/event-stream");
    let expected = "id: 3\nevent: generation\ndata: {\"generation\":3,\"versions\":{\"db\":\"v3\"}}\n\n";
    assert_eq!(event(&mut stream).await, expected);
    let begun = Instant::now();
    assert_eq!((event(&mut stream).await.as_str(), begun.elapsed().as_secs()), (":\n\n", WAIT.as_secs()));
    // What came while nobody read is one event, of the newest.
    for number in 4..=6 {
        news.send_replace(generation(number));
    }
    assert!(event(&mut stream).await.starts_with("id: 6\n"));
    drop(news);
    assert!(stream.body_mut().frame().await.is_none(), "there will be no more");
}

#[test]
fn the_last_event_is_read_whatever_it_is() {
    for (value, expected) in [
        (Some(&b"7"[..]), Some(7)),
        (Some(b"0"), Some(0)),
        (Some(b"18446744073709551615"), Some(u64::MAX)),
        (Some(b"18446744073709551616"), None),
        (Some(b"-7"), None),
        (Some(b" 7"), None),
        (Some(b"7,8"), None),
        (Some(b""), None),
        (Some(b"\xff7"), None),
        (None, None),
    ] {
        let mut headers = HeaderMap::new();
        if let Some(value) = value {
            headers.insert("last-event-id", HeaderValue::from_bytes(value).expect("a header may say so"));
        }
        assert_eq!(last_event(&headers), expected, "{value:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Readers that come back with the last number they had, over streams that break and agents that start anew at any time:
    /// each ends with the newest generation, and none is told of the same one twice in a row, or of one that is older.
    #[test]
    fn property_no_generation_is_lost_across_restarts(steps in prop::collection::vec(0..4_u8, 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("made");
        runtime.block_on(async {
            let (mut number, mut known) = (1, None);
            let mut news = news(number);
            let mut stream = streamed(news.subscribe(), known);
            let mut told = Vec::new();
            for step in steps.into_iter().chain([1]) {
                match step {
                    0 => {
                        number += 1;
                        news.send_replace(generation(number));
                    }
                    // Reads what there is to read.
                    1 => while known != Some(number) {
                        let event = event(&mut stream).await;
                        let id = event.strip_prefix("id: ").and_then(|rest| rest.split('\n').next()).map(str::parse::<u64>);
                        let Some(Ok(id)) = id else { continue };
                        told.push(id);
                        known = Some(id);
                    },
                    // The stream breaks.
                    2 => stream = streamed(news.subscribe(), known),
                    // The agent starts anew: first it knows nothing, then what is on the volume.
                    _ => {
                        news = watch::Sender::new(Arc::new(Generation::default()));
                        stream = streamed(news.subscribe(), known);
                        news.send_replace(generation(number));
                    }
                }
            }
            assert_eq!(told.last(), Some(&number));
            assert!(told.windows(2).all(|pair| pair[0] < pair[1]), "{told:?}");
        });
    }
}
