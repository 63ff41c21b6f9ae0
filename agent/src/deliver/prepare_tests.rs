//! Making the next batch ready while a request is under way, with the clock paused.
//!
//! Promises: shows for each request which bytes its memo was worked out from, and when.
//! Never: proves what CloudWatch Logs does with it; its own tests do.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Cause, Destination, Doing, Fate, Key, Limits, Rules, Verdict,
    batch::{Batch, Frame},
    books::{Books, Holder, Totals},
    budget::Budget,
    deliver,
};
use crate::{life::Life, tell::counters::Counters};

const SECOND: Duration = Duration::from_secs(1);

/// What happened, in order.
#[derive(Clone, Debug, PartialEq)]
enum Event {
    /// The engine had this body made ready.
    Prepared { body: String, at: Duration },
    /// This body was sent; its memo was there already or not.
    Sent { body: String, ready: bool, at: Duration },
}

/// A service that answers a second later, and whose memo of a batch is a copy of its body.
struct Noting<F> {
    answer: F,
    begun: Instant,
    events: Mutex<Vec<Event>>,
}

impl<F: Fn(usize, usize) -> Answer + Send + Sync + 'static> Destination for Noting<F> {
    fn limits(&self) -> Limits {
        Limits { bytes: 1_000, records: 4, span_milliseconds: 10_000 }
    }

    fn frame(&self, _: &Key) -> Frame {
        Frame { head: Bytes::from_static(b"["), separator: b",", tail: b"]" }
    }

    fn knows(&self, key: &Key) -> bool {
        key.as_str() == "key"
    }

    fn prepare<'a>(&'a self, batch: &'a Batch) -> Doing<'a, ()> {
        Box::pin(async move {
            let body = text(batch);
            let memo = batch.memo(async { body.clone().into() }).await;
            assert_eq!(memo, body, "what is made ready is new");
            self.events.lock().expect("not poisoned").push(Event::Prepared { body, at: self.begun.elapsed() });
        })
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(async move {
            let (body, mut ready) = (text(batch), true);
            let memo = batch
                .memo(async {
                    ready = false;
                    body.clone().into()
                })
                .await;
            assert_eq!(memo, body, "a memo is of the very bytes that are sent");
            let number = {
                let mut events = self.events.lock().expect("not poisoned");
                let sent = events.iter().filter(|event| matches!(event, Event::Sent { .. })).count();
                events.push(Event::Sent { body, ready, at: self.begun.elapsed() });
                sent
            };
            sleep(SECOND).await;
            (self.answer)(number, batch.entries.len())
        })
    }
}

fn text(batch: &Batch) -> String {
    String::from_utf8(batch.body.to_vec()).expect("tests send text")
}

/// Sends records, four to a batch, in one chunk, and says what happened and what became of them.
async fn run(
    records: &[&str],
    answer: impl Fn(usize, usize) -> Answer + Send + Sync + 'static,
) -> (Vec<Event>, Totals) {
    let (books, budget, counters) = (Books::default(), Budget::new(1 << 20, 1), Counters::new());
    let service = Arc::new(Noting { answer, begun: Instant::now(), events: Mutex::default() });
    let (output, engine) = deliver("noting", Arc::clone(&service), Rules::default(), &budget, &counters);
    let (stopping, abandon) = (CancellationToken::new(), CancellationToken::new());
    let engine = Life::default().spawn("engine", engine.run(stopping, abandon));
    let account = books.account(&Holder { output: "noting".into(), source: "test".into() });
    let lane = output.lane(&Key::new("key"));
    let mut appending = output.append(&lane, &account);
    for (time, record) in (0..).zip(records) {
        appending.begin().put(record.as_bytes());
        appending.commit(time, record.len());
    }
    drop(appending);
    output.close();
    assert_eq!(engine.await.expect("the engine is not cancelled"), Some(()), "it does not panic");
    assert!(books.totals().balanced());
    let events = service.events.lock().expect("not poisoned").clone();
    (events, books.totals())
}

fn bodies(events: &[Event]) -> Vec<(&str, bool)> {
    let sent = |event| match event {
        &Event::Sent { ref body, ready, .. } => Some((body.as_str(), ready)),
        Event::Prepared { .. } => None,
    };
    events.iter().filter_map(sent).collect()
}

/// Three full batches, and one that is open until it is sent.
const RECORDS: [&str; 13] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"];

/// The second batch is made ready while the first is under way, and the third while the second is, once each. The last
/// one may still change until it is sent.
#[tokio::test(start_paused = true)]
async fn the_next_batch_is_made_ready_while_a_request_is_under_way() {
    let (events, totals) = run(&RECORDS, |_, _| Answer::Delivered).await;
    let prepared = |body: &str, at| Event::Prepared { body: body.to_owned(), at };
    let sent = |body: &str, ready, at| Event::Sent { body: body.to_owned(), ready, at };
    let zero = Duration::ZERO;
    assert_eq!(
        events.iter().map(|event| rounded(event.clone())).collect::<Vec<_>>(),
        [
            sent("[a,b,c,d]", false, zero),
            prepared("[e,f,g,h]", zero),
            sent("[e,f,g,h]", true, SECOND),
            prepared("[i,j,k,l]", SECOND),
            sent("[i,j,k,l]", true, 2 * SECOND),
            sent("[m]", false, 3 * SECOND),
        ]
    );
    assert_eq!(totals.delivered, 13);
}

/// The clock goes on in milliseconds.
fn rounded(event: Event) -> Event {
    let whole = |at: Duration| Duration::from_secs(at.as_secs());
    match event {
        Event::Prepared { body, at } => Event::Prepared { body, at: whole(at) },
        Event::Sent { body, ready, at } => Event::Sent { body, ready, at: whole(at) },
    }
}

/// What was worked out for a batch is good for all times that it is sent, and for no part of it.
#[tokio::test(start_paused = true)]
async fn a_memo_is_kept_for_the_same_bytes_and_not_for_a_part_of_them() {
    let again = || Answer::Again { cause: Cause::Unavailable, detail: String::new(), after: None };
    let divide = || Answer::Divide { detail: String::new() };
    let partial = |places| Answer::Partial(vec![Verdict { records: places, fate: Fate::Again }]);
    let (events, totals) =
        run(&RECORDS[..9], move |number, _| if number == 1 { again() } else { Answer::Delivered }).await;
    assert_eq!(bodies(&events), [("[a,b,c,d]", false), ("[e,f,g,h]", true), ("[e,f,g,h]", true), ("[i]", false)]);
    assert_eq!(totals.delivered, 9);

    // The second batch was made ready and is cut.
    let (events, totals) =
        run(&RECORDS[..9], move |number, _| if number == 1 { partial(1..3) } else { Answer::Delivered }).await;
    assert_eq!(bodies(&events)[1], ("[e,f,g,h]", true));
    assert!(bodies(&events).contains(&("[f,g]", false)), "{events:?}");
    assert_eq!(totals.delivered, 9);

    // It is halved until a single record is refused. A half has the age of the whole, which was made ready already.
    let (events, totals) = run(&RECORDS[..9], move |number, records| match (number, records) {
        (1 | 2, _) => divide(),
        (3, 1) => divide(),
        _ => Answer::Delivered,
    })
    .await;
    let sent: Vec<&str> = bodies(&events).into_iter().map(|(body, _)| body).collect();
    assert_eq!(sent, ["[a,b,c,d]", "[e,f,g,h]", "[e,f]", "[e]", "[f]", "[g,h]", "[i]"]);
    assert_eq!((totals.delivered, totals.refused()), (8, 1));
}
