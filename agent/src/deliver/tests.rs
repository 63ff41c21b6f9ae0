//! The engine against a scripted destination, with the clock paused.
//!
//! Promises: every test ends by balancing the books and by finding all memory given back.
//! Never: proves anything of a real service.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use proptest::prelude::*;
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    Answer, Cause, Destination, Doing, Fate, Key, Limits, Retry, Rules, Standing, Verdict,
    batch::{Batch, Frame},
    books::{Account, Books, Holder, Lost, Refused, Totals},
    budget::Budget,
    deliver,
    lane::Output,
};
use crate::{life::Life, tell::counters::Counters};

mod acks;
mod joining;
mod several;

/// A key as tests write it.
type Name = &'static str;

const LIMITS: Limits = Limits { bytes: 1_000, records: 100, span_milliseconds: 10_000 };
/// No limit but that of records.
const ROOMY: Limits = Limits { bytes: 1 << 20, ..LIMITS };
const SECOND: Duration = Duration::from_secs(1);

/// One request.
#[derive(Clone, Debug)]
struct Request {
    /// How many there were before it.
    number: usize,
    key: String,
    texts: Vec<String>,
    /// Time since the start.
    at: Duration,
}

type Script = dyn Fn(&Request) -> (Duration, Answer) + Send + Sync;

/// A service that does what the script says.
struct Scripted {
    limits: Limits,
    script: Box<Script>,
    books: Books,
    begun: Instant,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    delivered: Vec<(String, String)>,
    flying: BTreeMap<usize, String>,
    most_flying: usize,
    unbalanced: usize,
    key_twice: usize,
}

/// Takes a request off the list also if it is dropped on the way.
struct Flying<'a>(&'a Scripted, usize);

impl Drop for Flying<'_> {
    fn drop(&mut self) {
        self.0.seen().flying.remove(&self.1);
    }
}

impl Scripted {
    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn frame() -> Frame {
    Frame { head: Bytes::from_static(b"head["), separator: b", ", tail: b"]tail" }
}

impl Destination for Scripted {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn frame(&self, _: &Key) -> Frame {
        frame()
    }

    fn knows(&self, _: &Key) -> bool {
        true
    }

    fn send<'a>(&'a self, batch: &'a Batch) -> Doing<'a, Answer> {
        Box::pin(async move {
            let text = |place| String::from_utf8(batch.record(place, &frame()).to_vec()).expect("tests send text");
            let texts: Vec<String> = (0..batch.entries.len()).map(text).collect();
            assert_eq!(batch.body, format!("head[{}]tail", texts.join(", ")), "the frame stands around the records");
            let key = batch.key.as_str().to_owned();
            let request = {
                let mut seen = self.seen();
                let number = seen.requests.len();
                let request = Request { number, key: key.clone(), texts, at: self.begun.elapsed() };
                seen.requests.push(request.clone());
                seen.key_twice += usize::from(seen.flying.values().any(|other| *other == key));
                seen.flying.insert(number, key);
                seen.most_flying = seen.most_flying.max(seen.flying.len());
                seen.unbalanced += usize::from(!self.books.totals().balanced());
                request
            };
            let _flying = Flying(self, request.number);
            let (latency, answer) = (self.script)(&request);
            sleep(latency).await;
            let mut seen = self.seen();
            seen.unbalanced += usize::from(!self.books.totals().balanced());
            let left_out = |place: usize| match &answer {
                Answer::Delivered => false,
                Answer::Partial(verdicts) => verdicts.iter().any(|verdict| verdict.records.contains(&place)),
                _ => true,
            };
            let taken = request.texts.iter().enumerate().filter(|(place, _)| !left_out(*place));
            seen.delivered.extend(taken.map(|(_, text)| (request.key.clone(), text.clone())));
            drop(seen);
            answer
        })
    }
}

/// An output, its engine, and everything to look at.
struct Rig {
    output: Arc<Output>,
    service: Arc<Scripted>,
    budget: Budget,
    books: Books,
    counters: Counters,
    standing: Arc<Mutex<Standing>>,
    stopping: CancellationToken,
    abandon: CancellationToken,
    engine: JoinHandle<Option<()>>,
    times: Mutex<i64>,
}

impl Rig {
    fn new(script: impl Fn(&Request) -> (Duration, Answer) + Send + Sync + 'static) -> Self {
        Self::with(Rules::default(), LIMITS, 1 << 20, script)
    }

    fn with(
        rules: Rules,
        limits: Limits,
        memory: u64,
        script: impl Fn(&Request) -> (Duration, Answer) + Send + Sync + 'static,
    ) -> Self {
        let (books, budget, counters) = (Books::default(), Budget::new(memory, 1), Counters::new());
        let service = Arc::new(Scripted {
            limits,
            script: Box::new(script),
            books: books.clone(),
            begun: Instant::now(),
            seen: Mutex::default(),
        });
        let (output, engine) = deliver("scripted", Arc::clone(&service), rules, &budget, &counters);
        let standing = engine.standing();
        let (stopping, abandon) = (CancellationToken::new(), CancellationToken::new());
        let engine = Life::default().spawn("engine", engine.run(stopping.clone(), abandon.clone()));
        let times = Mutex::new(0);
        Self { output, service, budget, books, counters, standing, stopping, abandon, engine, times }
    }

    fn account(&self) -> Arc<Account> {
        self.books.account(&Holder { output: "scripted".into(), source: "test".into() })
    }

    /// Appends records as one chunk, each a millisecond later than the one before.
    fn push<T: AsRef<str>>(&self, key: Name, texts: impl IntoIterator<Item = T>) {
        let (lane, account) = (self.output.lane(&Key::new(key)), self.account());
        let mut appending = self.output.append(&lane, &account);
        let mut time = self.times.lock().unwrap_or_else(PoisonError::into_inner);
        for text in texts {
            appending.begin().put(text.as_ref().as_bytes());
            appending.commit(*time, text.as_ref().len());
            *time += 1;
        }
        drop(appending);
        assert!(self.totals().balanced());
        assert!(self.budget.used() <= self.budget.total());
    }

    fn totals(&self) -> Totals {
        self.books.totals()
    }

    fn lost(&self, reason: Lost) -> u64 {
        self.totals().lost[reason as usize]
    }

    fn requests(&self) -> Vec<Request> {
        self.service.seen().requests.clone()
    }

    /// What was delivered for `key`, in order.
    fn delivered(&self, key: Name) -> Vec<String> {
        let seen = self.service.seen();
        seen.delivered.iter().filter(|(other, _)| *other == key).map(|(_, text)| text.clone()).collect()
    }

    /// Sends what is left, without hurry, and looks whether all is as it should be.
    async fn drained(&mut self) {
        self.output.close();
        self.ended().await;
    }

    async fn ended(&mut self) {
        let ended = (&mut self.engine).await.expect("the engine is not cancelled");
        assert_eq!(ended, Some(()), "the engine does not panic");
        let totals = self.totals();
        assert!(totals.balanced());
        assert_eq!((totals.in_flight, totals.lost[Lost::Unsettled as usize]), (0, 0), "{totals:?}");
        assert_eq!(self.budget.used(), 0, "all memory is given back");
        assert_eq!(self.service.seen().unbalanced, 0, "the books balance at every request");
    }
}

fn at_once(answer: Answer) -> (Duration, Answer) {
    (Duration::ZERO, answer)
}

fn again(cause: Cause) -> Answer {
    Answer::Again { cause, detail: "scripted".to_owned(), after: None }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("record {number:05}")).collect()
}

/// A throttled output delays records but loses none, and gives all memory back.
#[tokio::test(start_paused = true)]
async fn a_throttled_output_delays_but_does_not_lose() {
    let mut rig = Rig::new(|request| match request.number {
        0 | 1 => at_once(again(Cause::Throttled)),
        _ => at_once(Answer::Delivered),
    });
    rig.push("a", numbered(0..3));
    rig.drained().await;
    assert_eq!(rig.delivered("a"), numbered(0..3));
    assert_eq!((rig.totals().delivered, rig.requests().len()), (3, 3));
}

/// A key that rests keeps its order; other keys do not wait for it.
#[tokio::test(start_paused = true)]
async fn order_is_kept_within_a_key_while_other_keys_go_on() {
    let mut rig = Rig::new(|request| match (&*request.key, request.at) {
        ("denied", at) if at < 200 * SECOND => at_once(again(Cause::Denied)),
        _ => (SECOND / 10, Answer::Delivered),
    });
    for number in 0..100 {
        rig.push("denied", [format!("{number:03}")]);
        rig.push("healthy", [format!("{number:03}")]);
        sleep(SECOND).await;
    }
    assert!(rig.delivered("healthy").len() >= 99 && rig.delivered("denied").is_empty());
    rig.drained().await;
    let expected: Vec<String> = (0..100).map(|number| format!("{number:03}")).collect();
    assert_eq!((rig.delivered("denied"), rig.delivered("healthy")), (expected.clone(), expected));
    let requests = rig.requests();
    let denied: Vec<&Request> = requests.iter().filter(|request| request.key == "denied").collect();
    for pair in denied.windows(2).filter(|pair| pair[1].at < 200 * SECOND) {
        assert!(pair[1].at - pair[0].at >= 60 * SECOND, "a key that may not be written to rests");
    }
    assert_eq!(rig.service.seen().key_twice, 0, "one request at a time for a key");
    // What came while the key rested was not cut into a batch for each quarter of a second, and leaves in one request with
    // what was not taken.
    assert_eq!(denied.last().map(|request| request.texts.len()), Some(100));
}

/// While a request is under way, the next batch of its key fills.
#[tokio::test(start_paused = true)]
async fn a_busy_key_fills_its_batch_instead_of_sealing_many() {
    let mut rig = Rig::with(Rules::default(), ROOMY, 1 << 20, |_| (10 * SECOND, Answer::Delivered));
    for number in 0..90 {
        rig.push("a", numbered(number..number + 1));
        sleep(SECOND / 10).await;
    }
    rig.drained().await;
    let sizes: Vec<usize> = rig.requests().iter().map(|request| request.texts.len()).collect();
    assert_eq!(sizes, [3, 87]);
    assert_eq!(rig.delivered("a"), numbered(0..90));
}

/// Also if it is not the key that is busy but the output, because the service is slow.
#[tokio::test(start_paused = true)]
async fn batches_fill_while_no_request_may_be_started() {
    let rules = Rules { workers: 1, ..Rules::default() };
    let mut rig = Rig::with(rules, ROOMY, 1 << 20, |_| (10 * SECOND, Answer::Delivered));
    for number in 0..90 {
        rig.push("a", numbered(number..number + 1));
        rig.push("b", numbered(number..number + 1));
        sleep(SECOND / 10).await;
    }
    rig.drained().await;
    assert_eq!(rig.requests().iter().map(|request| request.key.clone()).collect::<Vec<_>>(), ["a", "b", "a"]);
    assert_eq!((rig.delivered("a"), rig.delivered("b")), (numbered(0..90), numbered(0..90)));
}

/// Full batches of a busy container do not keep the lines of a quiet one waiting.
#[tokio::test(start_paused = true)]
async fn a_quiet_key_is_not_starved_by_a_busy_one() {
    let rules = Rules { workers: 1, ..Rules::default() };
    let mut rig = Rig::with(rules, LIMITS, 1 << 20, |_| (SECOND, Answer::Delivered));
    rig.push("busy", numbered(0..5_000));
    rig.push("quiet", ["line"]);
    sleep(5 * SECOND).await;
    for _ in 0..20 {
        rig.push("busy", numbered(0..100));
        sleep(SECOND).await;
    }
    let place = rig.requests().iter().position(|request| request.key == "quiet");
    // 5,000 records of 12 bytes are 61 batches of 83; those that were there before go first.
    assert!(place.is_none_or(|place| place <= 62), "{place:?}");
    rig.drained().await;
    let place = rig.requests().iter().position(|request| request.key == "quiet").expect("is sent");
    assert!((55..=62).contains(&place), "{place}");
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured_whatever_else_is_answered() {
    let mut rig = Rig::new(|request| match (request.number, &*request.key) {
        (30, _) => (SECOND, Answer::Again { cause: Cause::Throttled, detail: String::new(), after: Some(7 * SECOND) }),
        // Was under way when the other was throttled.
        (31, _) => (2 * SECOND, Answer::Delivered),
        _ => at_once(Answer::Delivered),
    });
    for number in 0..30 {
        rig.push("warm", numbered(number..number + 1));
        sleep(SECOND).await;
    }
    assert_eq!(rig.requests().len(), 30);
    rig.push("a", ["a"]);
    rig.push("b", ["b"]);
    rig.push("c", ["c"]);
    sleep(SECOND * 3 / 2).await;
    rig.push("d", ["d"]);
    rig.drained().await;
    let throttled = rig.requests()[30].at + SECOND;
    for late in &rig.requests()[33..] {
        assert!(late.at >= throttled + 7 * SECOND, "{late:?}");
    }
    assert!(rig.requests()[33].at <= throttled + 9 * SECOND, "with at most a quarter of jitter");
    assert_eq!(rig.totals().delivered, 34);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_down_gets_one_probe_at_a_time_and_everything_afterwards() {
    const KEYS: [Name; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];
    let mut rig = Rig::new(|request| match request.at {
        at if (60 * SECOND..180 * SECOND).contains(&at) => (SECOND / 10, again(Cause::Unreachable)),
        _ => (SECOND / 10, Answer::Delivered),
    });
    for number in 0..240 {
        for key in KEYS {
            rig.push(key, numbered(number..number + 1));
        }
        sleep(SECOND).await;
    }
    let down: Vec<Request> =
        rig.requests().into_iter().filter(|r| (62 * SECOND..180 * SECOND).contains(&r.at)).collect();
    assert!((2..40).contains(&down.len()), "{} probes in two minutes", down.len());
    for pair in down.windows(2) {
        assert!(pair[1].at - pair[0].at >= SECOND / 10, "one after another");
    }
    rig.drained().await;
    for key in KEYS {
        assert_eq!(rig.delivered(key), numbered(0..240));
    }
    assert!(rig.service.seen().most_flying > 4, "a healthy service gets several requests at a time");
}

/// T10: who cannot be reached, or is not who he should be, is asked once in 30 s on average, and a few times before.
#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_be_reached_is_asked_twice_a_minute() {
    const HOURS: u32 = 20;
    let mut rig = Rig::new(|request| match request.at {
        at if at < HOURS * 3_600 * SECOND => (SECOND / 100, again(Cause::Unreachable)),
        _ => at_once(Answer::Delivered),
    });
    rig.push("a", ["line"]);
    sleep(HOURS * 3_600 * SECOND).await;
    let gaps: Vec<Duration> = rig.requests().windows(2).map(|pair| pair[1].at - pair[0].at).collect();
    // The backoff is at its full length from the eighth failure on: anything up to a minute, all equally likely. The mean of
    // 2,400 of these is further than 3 s from 30 s once in 10^17 runs.
    let full = &gaps[8..];
    let mean = full.iter().sum::<Duration>() / full.len() as u32;
    assert!((27 * SECOND..33 * SECOND).contains(&mean), "{mean:?} between {} requests", full.len());
    assert!(full.iter().all(|gap| *gap <= 61 * SECOND), "but never much longer than a minute");
    rig.drained().await;
    assert_eq!(rig.delivered("a"), ["line"]);
}

#[tokio::test(start_paused = true)]
async fn a_partial_answer_books_each_record_and_resends_only_some() {
    let mut rig = Rig::new(|request| match request.number {
        0 => at_once(Answer::Partial(vec![
            Verdict { records: 7..9, fate: Fate::Again },
            Verdict { records: 0..2, fate: Fate::Refused(Refused::TooOld) },
            Verdict { records: 2..4, fate: Fate::Again },
            Verdict { records: 9..99, fate: Fate::Refused(Refused::TooNew) },
        ])),
        _ => at_once(Answer::Delivered),
    });
    let texts = numbered(0..10);
    rig.push("a", &texts);
    sleep(SECOND / 3).await;
    rig.push("a", ["next"]);
    rig.drained().await;
    let sent: Vec<Vec<String>> = rig.requests().iter().map(|request| request.texts.clone()).collect();
    let part = [&texts[2..4], &texts[7..9]].concat();
    assert_eq!(sent, [texts, part, vec!["next".to_owned()]]);
    let totals = rig.totals();
    assert_eq!((totals.delivered, totals.refused(), totals.lost()), (8, 3, 0));
    assert_eq!(totals.refused[Refused::TooOld as usize], 2);
}

/// A service that refuses the same records for ever is not asked for ever in a row.
#[tokio::test(start_paused = true)]
async fn records_to_be_sent_again_wait_and_are_given_up_at_last() {
    let rules = Rules { age_max: 600 * SECOND, ..Rules::default() };
    let mut rig = Rig::with(rules, LIMITS, 1 << 20, |_| {
        at_once(Answer::Partial(vec![Verdict { records: 0..1, fate: Fate::Again }]))
    });
    rig.push("a", ["never", "at once"]);
    rig.drained().await;
    assert_eq!(rig.delivered("a"), ["at once"]);
    assert_eq!(rig.lost(Lost::TooLate), 1);
    assert!((10..80).contains(&rig.requests().len()), "{} requests", rig.requests().len());
}

#[tokio::test(start_paused = true)]
async fn a_poisonous_record_is_found_and_only_it_is_refused() {
    let mut rig = Rig::with(Rules::default(), ROOMY, 1 << 20, |request| {
        match request.texts.iter().any(|text| text.contains("poison")) {
            true => at_once(Answer::Divide { detail: "invalid".to_owned() }),
            false => at_once(Answer::Delivered),
        }
    });
    let mut texts = numbered(0..100);
    texts[37] = "poison".to_owned();
    rig.push("a", &texts);
    rig.push("a", ["next"]);
    rig.drained().await;
    texts.remove(37);
    texts.push("next".to_owned());
    assert_eq!(rig.delivered("a"), texts, "in order, each once");
    assert_eq!(rig.totals().refused[Refused::Invalid as usize], 1);
    assert!(rig.requests().len() <= 2 * 7 + 2, "{} requests", rig.requests().len());
}

/// Memory is used up while the service is down: the oldest records go, and the newest are there when it is back.
#[tokio::test(start_paused = true)]
async fn when_memory_is_full_the_oldest_records_go() {
    let mut rig = Rig::with(Rules::default(), LIMITS, 32 << 10, |request| match request.at {
        at if at < 60 * SECOND => (SECOND, again(Cause::Unavailable)),
        _ => at_once(Answer::Delivered),
    });
    let texts: Vec<String> = (0..1_000).map(|number| format!("{number:0100}")).collect();
    for text in &texts {
        rig.push("a", [text]);
        sleep(SECOND / 100).await;
    }
    sleep(60 * SECOND).await;
    rig.drained().await;
    let delivered = rig.delivered("a");
    let lost = usize::try_from(rig.lost(Lost::MemoryFull)).expect("small");
    assert_eq!((delivered.len() + lost, rig.totals().lost()), (1_000, lost as u64));
    assert!(delivered.len() > 100, "memory is used: {}", delivered.len());
    // A batch that was on its way while older ones were dropped may have kept its place.
    let gaps = delivered.windows(2).filter(|pair| {
        let number = |text: &str| text.parse::<usize>().expect("a number");
        number(&pair[0]) + 1 != number(&pair[1])
    });
    assert!(gaps.count() <= 1);
    assert_eq!(delivered.last(), texts.last(), "the newest is there");
}

/// Many keys with a few records each fill the memory with open batches, which nobody seals while the service is down.
/// Once the newest record was dropped then; the oldest must be.
#[tokio::test(start_paused = true)]
async fn when_open_batches_fill_the_memory_the_oldest_of_them_goes() {
    const KEYS: [Name; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let mut rig = Rig::with(Rules::default(), LIMITS, 40 << 10, |request| match request.at {
        at if at < 60 * SECOND => at_once(again(Cause::Unavailable)),
        _ => at_once(Answer::Delivered),
    });
    rig.push("first", ["to close the output"]);
    sleep(SECOND / 4).await;
    for key in KEYS {
        rig.push(key, [key]);
        sleep(SECOND / 1_000).await;
    }
    sleep(60 * SECOND).await;
    rig.drained().await;
    let alive: Vec<Name> = KEYS.into_iter().filter(|key| !rig.delivered(key).is_empty()).collect();
    assert!((4..12).contains(&alive.len()), "{alive:?}");
    assert_eq!(alive, KEYS[12 - alive.len()..], "the newest");
    let totals = rig.totals();
    assert_eq!((totals.accepted, totals.delivered + rig.lost(Lost::MemoryFull)), (13, 13));
}

#[tokio::test(start_paused = true)]
async fn who_wants_no_retries_gets_none() {
    let rules = Rules { retry: Retry::Never, ..Rules::default() };
    let mut rig = Rig::with(rules, LIMITS, 1 << 20, |request| match request.number {
        0 => at_once(again(Cause::Unavailable)),
        1 => at_once(Answer::Partial(vec![Verdict { records: 1..2, fate: Fate::Again }])),
        _ => at_once(Answer::Delivered),
    });
    rig.push("a", numbered(0..2));
    sleep(SECOND).await;
    rig.push("a", numbered(2..4));
    rig.drained().await;
    assert_eq!((rig.lost(Lost::NoRetries), rig.totals().delivered, rig.requests().len()), (3, 1, 2));
}

/// A throttled CreateLogStream does not use up the retries of the records that wait for it.
#[tokio::test(start_paused = true)]
async fn what_could_not_be_prepared_is_no_attempt() {
    for retry in [Retry::Never, Retry::AtLeast(1)] {
        let rules = Rules { retry, patience: Duration::ZERO, ..Rules::default() };
        let mut rig = Rig::with(rules, LIMITS, 1 << 20, |request| match request.number {
            0..20 => at_once(Answer::Unprepared { cause: Cause::Throttled, detail: String::new(), after: None }),
            _ => at_once(Answer::Delivered),
        });
        rig.push("a", numbered(0..3));
        rig.drained().await;
        assert_eq!((rig.totals().delivered, rig.totals().lost(), rig.requests().len()), (3, 0, 21));
    }
}

#[tokio::test(start_paused = true)]
async fn retries_are_not_used_up_before_patience_is() {
    let rules = Rules { retry: Retry::AtLeast(2), patience: 600 * SECOND, ..Rules::default() };
    let mut rig = Rig::with(rules, LIMITS, 1 << 20, |_| at_once(again(Cause::Unavailable)));
    rig.push("a", numbered(0..3));
    rig.drained().await;
    assert_eq!(rig.lost(Lost::TooLate), 3);
    let requests = rig.requests();
    let last = requests.last().expect("some").at;
    assert!(requests.len() > 3 && (600 * SECOND..700 * SECOND).contains(&last), "{} until {last:?}", requests.len());
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_too_old_is_given_up() {
    let rules = Rules { age_max: 3_600 * SECOND, ..Rules::default() };
    let mut rig = Rig::with(rules, LIMITS, 1 << 20, |request| match request.at {
        at if at < 5_000 * SECOND => at_once(again(Cause::Credentials)),
        _ => at_once(Answer::Delivered),
    });
    rig.push("a", ["old"]);
    sleep(3_000 * SECOND).await;
    rig.push("b", ["young"]);
    rig.drained().await;
    assert_eq!((rig.lost(Lost::TooLate), rig.delivered("b")), (1, vec!["young".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_send_that_panics_is_counted_and_its_batch_sent_again() {
    let mut rig = Rig::new(|request| {
        assert!(request.number > 0, "scripted panic");
        at_once(Answer::Delivered)
    });
    rig.push("a", numbered(0..3));
    rig.push("b", numbered(0..3));
    rig.drained().await;
    assert_eq!((rig.delivered("a"), rig.delivered("b")), (numbered(0..3), numbered(0..3)));
    assert_eq!(rig.counters.life_panics.get(), 1);
}

/// Whatever waits when the output is closed is sent, without a hurry if nobody asks for one.
#[tokio::test(start_paused = true)]
async fn a_closed_output_is_drained() {
    let mut rig = Rig::new(|_| (SECOND, Answer::Delivered));
    rig.push("a", numbered(0..1_000));
    rig.push("b", ["open"]);
    rig.output.close();
    rig.ended().await;
    assert_eq!((rig.delivered("a"), rig.delivered("b").len()), (numbered(0..1_000), 1));
    // Who appends after the end is told so by the books.
    rig.push("a", ["too late"]);
    rig.push("new", numbered(0..1_000));
    assert_eq!((rig.lost(Lost::Stopped), rig.totals().in_flight, rig.budget.used()), (1_001, 0, 0));
}

/// A stopping agent does not wait for company, nor for a minute after a failure.
#[tokio::test(start_paused = true)]
async fn a_stopping_agent_hurries() {
    let rules = Rules { linger: 50 * SECOND, ..Rules::default() };
    let mut rig = Rig::with(rules, LIMITS, 1 << 20, |request| match request.number {
        0 => at_once(Answer::Again { cause: Cause::Denied, detail: String::new(), after: None }),
        1 => at_once(Answer::Again { cause: Cause::Throttled, detail: String::new(), after: Some(40 * SECOND) }),
        _ => at_once(Answer::Delivered),
    });
    rig.push("a", ["x"]);
    sleep(51 * SECOND).await;
    rig.push("b", ["y"]);
    rig.stopping.cancel();
    let begun = Instant::now();
    rig.drained().await;
    assert!(begun.elapsed() <= 2 * SECOND, "{:?}", begun.elapsed());
    assert_eq!((rig.totals().delivered, rig.requests().len()), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn what_is_left_at_the_deadline_is_booked_as_stopped() {
    let mut rig = Rig::new(|request| match &*request.key {
        "flying" => (1_000 * SECOND, Answer::Delivered),
        _ => at_once(again(Cause::Denied)),
    });
    rig.push("resting", numbered(0..200));
    sleep(SECOND).await;
    rig.push("flying", numbered(0..3));
    sleep(SECOND).await;
    rig.push("flying", ["open"]);
    rig.output.close();
    rig.stopping.cancel();
    sleep(SECOND).await;
    rig.abandon.cancel();
    rig.ended().await;
    assert_eq!((rig.lost(Lost::Stopped), rig.totals().delivered), (204, 0));
    rig.push("flying", ["too late"]);
    assert_eq!(rig.lost(Lost::Stopped), 205);
}

/// One record and then silence: it must not wait for the next one (Vector's #22946).
#[tokio::test(start_paused = true)]
async fn a_single_record_is_delivered_within_linger_ten_thousand_times() {
    let mut rig = Rig::new(|_| at_once(Answer::Delivered));
    let linger = Rules::default().linger;
    for number in 0..10_000_u64 {
        rig.push("a", ["line"]);
        sleep(linger + SECOND / 500).await;
        assert_eq!(rig.totals().delivered, number + 1);
        sleep(SECOND * (number % 7) as u32 / 50).await;
    }
    rig.drained().await;
}

/// T40: the same while answers take their time: a record that comes at any moment of the one before, alone on its key or
/// not, waits for that one's answer at most.
#[tokio::test(start_paused = true)]
async fn a_single_record_behind_another_is_delivered_in_time_ten_thousand_times() {
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let linger = Rules::default().linger;
    let latency = SECOND / 2;
    let mut rig = Rig::new(move |_| (latency, Answer::Delivered));
    for number in 0..10_000_u64 {
        rig.push("a", ["first"]);
        sleep((linger + latency + SECOND / 100).mul_f64(random.f64())).await;
        rig.push(random.choice(["a", "b"]).expect("two keys"), ["second"]);
        sleep(linger + 2 * latency + SECOND / 100).await;
        assert_eq!(rig.totals().delivered, 2 * number + 2, "{:?}", rig.requests().last());
    }
    rig.drained().await;
}

/// The paused clock stands still while an engine spins: a test that ends shows that this one sleeps.
#[tokio::test(start_paused = true)]
async fn a_thousand_lanes_are_each_sent_once_in_order_of_age() {
    let names: Vec<Name> = (0..1_000).map(|number| &*Box::leak(format!("{number:04}").into_boxed_str())).collect();
    let mut rig = Rig::with(Rules::default(), LIMITS, 64 << 20, |_| (SECOND / 1_000, Answer::Delivered));
    for round in 0..3 {
        for name in &names {
            rig.push(name, numbered(round..round + 1));
        }
        sleep(10 * SECOND).await;
    }
    rig.drained().await;
    let requests = rig.requests();
    assert_eq!(requests.len(), 3_000);
    assert!(requests.iter().zip(names.iter().cycle()).all(|(request, name)| request.key == *name));
}

/// With real threads and a real clock: chunks that end while their batch is taken are neither forgotten nor sent twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chunks_appended_from_many_threads_all_arrive() {
    const KEYS: [Name; 3] = ["a", "b", "c"];
    let rules = Rules { linger: Duration::from_micros(500), ..Rules::default() };
    let rig = Rig::with(rules, LIMITS, 64 << 20, |_| at_once(Answer::Delivered));
    let pushed: Vec<Vec<String>> = std::thread::scope(|scope| {
        let rig = &rig;
        let push = |key: Name| {
            move || {
                for number in 0..2_000 {
                    rig.push(key, numbered(number..number + 1 + number % 3));
                    std::thread::yield_now();
                }
                (0..2_000).flat_map(|number| numbered(number..number + 1 + number % 3)).collect()
            }
        };
        let threads: Vec<_> = KEYS.into_iter().map(|key| scope.spawn(push(key))).collect();
        threads.into_iter().map(|thread| thread.join().expect("pushes")).collect()
    });
    let mut rig = rig;
    rig.drained().await;
    for (key, pushed) in KEYS.into_iter().zip(pushed) {
        assert_eq!(rig.delivered(key), pushed);
    }
    assert_eq!(rig.service.seen().key_twice, 0);
}

/// Stuck means that something waits and nothing is delivered.
#[tokio::test(start_paused = true)]
async fn the_standing_says_since_when_nothing_is_delivered() {
    let mut rig = Rig::new(|request| match request.at {
        at if at < 100 * SECOND => at_once(again(Cause::Unavailable)),
        _ => at_once(Answer::Delivered),
    });
    let standing = Arc::clone(&rig.standing);
    let read = || standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let start = Instant::now();
    rig.push("a", ["x"]);
    sleep(50 * SECOND).await;
    let bad = read();
    assert!(bad.stuck_since.is_some_and(|since| since - start < SECOND));
    assert!(bad.failures >= 3 && bad.last_failure.as_deref() == Some("scripted") && bad.memory_bytes > 0);
    sleep(150 * SECOND).await;
    let good = read();
    assert_eq!((good.stuck_since, good.last_failure, good.failures, good.memory_bytes), (None, None, 0, 0));
    rig.drained().await;
}

/// A stream that was denied for ever hid behind its neighbours' success.
#[tokio::test(start_paused = true)]
async fn a_denied_key_stays_in_the_standing_while_its_neighbours_deliver() {
    let mut rig = Rig::new(|request| match &*request.key {
        "denied" if request.at < 300 * SECOND => at_once(again(Cause::Denied)),
        _ => at_once(Answer::Delivered),
    });
    let standing = Arc::clone(&rig.standing);
    let read = || standing.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let start = Instant::now();
    rig.push("denied", ["x"]);
    for _ in 0..20 {
        sleep(10 * SECOND).await;
        rig.push("well", ["y"]);
    }
    let bad = read();
    assert!(bad.stuck_since.is_some_and(|since| since - start < SECOND), "{bad:?}");
    assert_eq!(bad.last_failure.as_deref(), Some("scripted"));
    sleep(300 * SECOND).await;
    rig.push("well", ["z"]);
    sleep(SECOND).await;
    let good = read();
    assert_eq!((good.stuck_since, good.last_failure), (None, None));
    rig.drained().await;
}

/// A record that is refused before it is in a batch leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_record_refused_by_the_encoder_holds_no_memory() {
    let mut rig = Rig::new(|_| at_once(Answer::Delivered));
    let (lane, account) = (rig.output.lane(&Key::new("a")), rig.account());
    let mut appending = rig.output.append(&lane, &account);
    appending.begin().put(b"half of it");
    appending.refuse(Refused::KeyMissing);
    drop(appending);
    assert_eq!((rig.budget.used(), rig.totals().refused()), (0, 1));
    rig.drained().await;
    assert_eq!(rig.requests().len(), 0, "no empty batch is sent");
}

/// A record larger than a whole batch may be is sent alone, not behind an empty batch.
#[tokio::test(start_paused = true)]
async fn an_oversized_record_is_sent_alone() {
    let mut rig = Rig::new(|_| at_once(Answer::Delivered));
    rig.push("a", ["x".repeat(2_000), "small".to_owned(), "y".repeat(2_000)]);
    rig.drained().await;
    assert_eq!(rig.requests().iter().map(|request| request.texts.len()).collect::<Vec<_>>(), [1, 1, 1]);
}

/// Batches as the documentation of [`Limits`] says, made the slow way.
fn naive(records: &[(i64, String)], limits: Limits) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<(i64, String)>> = Vec::new();
    for record in records {
        let fits = |batch: &Vec<(i64, String)>| {
            let bytes: usize = batch.iter().map(|(_, text)| text.len()).sum();
            let times = || batch.iter().map(|(time, _)| *time).chain([record.0]);
            let span = times().max().unwrap_or(0) - times().min().unwrap_or(0);
            bytes + record.1.len() <= limits.bytes
                && batch.len() < limits.records
                && span.unsigned_abs() <= limits.span_milliseconds
        };
        match batches.last_mut() {
            Some(batch) if fits(batch) => batch.push(record.clone()),
            _ => batches.push(vec![record.clone()]),
        }
    }
    let texts = |mut batch: Vec<(i64, String)>| {
        batch.sort_by_key(|(time, _)| *time);
        batch.into_iter().map(|(_, text)| text).collect()
    };
    batches.into_iter().map(texts).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Batches are exactly those of the slow way, whatever the sizes and times.
    #[test]
    fn property_batches_keep_all_limits_and_every_byte(
        records in prop::collection::vec((-20_000_i64..20_000, 1_usize..400), 1..200),
        steady in any::<bool>(),
    ) {
        let records: Vec<(i64, String)> = records
            .into_iter()
            .enumerate()
            .map(|(number, (time, size))| {
                (if steady { time / 20 } else { time }, format!("{number:03}{}", "x".repeat(size)))
            })
            .collect();
        let limits = Limits { bytes: 1_000, records: 7, span_milliseconds: 10_000 };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut rig = Rig::with(Rules::default(), limits, 8 << 20, |_| at_once(Answer::Delivered));
            let (lane, account) = (rig.output.lane(&Key::new("a")), rig.account());
            let mut appending = rig.output.append(&lane, &account);
            for (time, text) in &records {
                appending.begin().put(text.as_bytes());
                appending.commit(*time, text.len());
            }
            drop(appending);
            rig.drained().await;
            let sent: Vec<Vec<String>> = rig.requests().into_iter().map(|request| request.texts).collect();
            prop_assert_eq!(sent, naive(&records, limits));
            Ok(())
        })?;
    }

    /// Chaos: whatever is answered, each record is delivered once, or its loss has a reason; keys keep their order;
    /// memory and books are right. Ambiguous answers are left out: they are the only ones that may double.
    #[test]
    fn property_no_answer_loses_doubles_or_disorders_a_record(
        seed in any::<u64>(),
        chunks in prop::collection::vec((0_usize..3, 1_usize..40, 0_u64..900), 1..60),
        memory in prop_oneof![Just(64_u64 << 20), Just(24 << 10)],
    ) {
        const KEYS: [Name; 3] = ["a", "b", "c"];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(async {
            let mut rig = Rig::with(Rules::default(), LIMITS, memory, move |request| {
                let mut random = fastrand::Rng::with_seed(seed ^ request.number as u64);
                let latency = Duration::from_millis(random.u64(0..2_000));
                let half = request.texts.len() / 2;
                let answer = match random.u32(0..12) {
                    0 => again(Cause::Throttled),
                    1 => again(Cause::Unavailable),
                    2 => again(Cause::Missing),
                    3 => Answer::Divide { detail: String::new() },
                    4 => Answer::Partial(vec![Verdict { records: half..usize::MAX, fate: Fate::Again }]),
                    5 => Answer::Partial(vec![Verdict { records: 0..half, fate: Fate::Refused(Refused::TooOld) }]),
                    _ => Answer::Delivered,
                };
                (latency, answer)
            });
            let mut pushed: BTreeMap<Name, usize> = BTreeMap::new();
            for &(key, records, pause) in &chunks {
                let count = pushed.entry(KEYS[key]).or_default();
                rig.push(KEYS[key], numbered(*count..*count + records));
                *count += records;
                sleep(Duration::from_millis(pause)).await;
                prop_assert!(rig.totals().balanced());
            }
            rig.drained().await;
            for (key, count) in pushed {
                let delivered = rig.delivered(key);
                prop_assert!(delivered.windows(2).all(|pair| pair[0] < pair[1]), "{key}: {delivered:?}");
                prop_assert!(delivered.len() <= count);
            }
            prop_assert_eq!(rig.service.seen().key_twice, 0);
            let totals = rig.totals();
            prop_assert_eq!(totals.lost(), totals.lost[Lost::MemoryFull as usize]);
            prop_assert_eq!(totals.delivered, rig.service.seen().delivered.len() as u64);
            Ok(())
        })?;
    }
}
