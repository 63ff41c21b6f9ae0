//! Lives days of a secret in no time: stories with counted requests, and a model that lies.
//!
//! Promises: no test waits; what is random is the test's own, and its seed is printed by proptest.
//! Never: proves that anybody asks when the watch says so; that is the driver's.

use proptest::prelude::*;

use super::*;
use crate::secrets::{
    source::CURRENT,
    value::{Content, Value},
};

const DAY: u64 = 86_400;
/// 2026-11-20T00:00:00Z.
const START: i64 = 1_795_132_800;

fn law() -> Law {
    let followed = Followed::Stage(CURRENT.to_owned());
    Law { id: "db".to_owned(), followed, every: Duration::from_secs(900), previous: true, pending: true }
}

/// Stages of versions, as `v1 CURRENT, v2 PENDING`.
fn seen(text: &str) -> Seen {
    let mut seen = Seen { id: "arn".to_owned(), ..Seen::default() };
    for one in text.split(", ") {
        let (id, stage) = one.split_once(' ').expect("a version and a stage");
        seen.versions.entry(id.to_owned()).or_default().push(format!("AWS{stage}"));
    }
    seen
}

fn version(id: &str) -> Version {
    // `v7` was made in the seventh second.
    let created = id.strip_prefix('v').map(str::to_owned);
    let content = Content::Text(Value::new(id.as_bytes().to_vec()));
    Version { id: id.to_owned(), stages: Vec::new(), created, content }
}

fn fault(kind: SourceFaultKind) -> SourceFault {
    SourceFault { kind, what: "no".to_owned(), code: None, status: None }
}

/// A watch, its time, and what it has asked for.
struct Life {
    watch: Watch,
    start: Instant,
    now: Instant,
    random: f64,
    looks: Vec<Duration>,
    fetches: Vec<String>,
}

impl Life {
    fn new(law: Law) -> Self {
        let start = Instant::now();
        Self { watch: Watch::new(law, start), start, now: start, random: 0.5, looks: Vec::new(), fetches: Vec::new() }
    }

    fn moment(&self) -> Moment {
        let unix = START + (self.now - self.start).as_secs() as i64;
        Moment { at: self.now, unix, random: self.random }
    }

    /// Goes on to what is to be done next, and does it.
    fn step(
        &mut self,
        look: impl FnOnce() -> Result<Seen, SourceFault>,
        fetch: impl FnOnce(&str) -> Result<Version, SourceFault>,
    ) {
        match self.watch.next(self.now) {
            Next::Look => {
                self.looks.push(self.now - self.start);
                assert!(self.looks.len() < 100_000, "it looks without end");
                let moment = self.moment();
                self.watch.looked(moment, look());
            }
            Next::Fetch(wanted) => {
                let Wanted::Id(id) = &wanted else { panic!("a fetch without a version") };
                self.fetches.push(id.clone());
                let moment = self.moment();
                self.watch.fetched(moment, &wanted, fetch(id));
            }
            Next::At(at) => {
                assert!(at > self.now, "it would spin");
                self.now = at;
            }
            Next::Never => self.now += Duration::from_secs(DAY),
        }
    }

    /// Lives for `time` with a service that says this and has every version.
    fn live(&mut self, time: Duration, said: &Seen) {
        let end = self.now + time;
        while self.now < end {
            self.step(|| Ok(said.clone()), |id| Ok(version(id)));
        }
    }

    /// One look, and the fetches after it.
    fn look(&mut self, result: Result<Seen, SourceFault>) {
        let (looks, mut result) = (self.looks.len(), Some(result));
        while self.looks.len() == looks || !matches!(self.watch.next(self.now), Next::At(_)) {
            self.step(|| result.take().expect("one look"), |id| Ok(version(id)));
        }
    }

    fn held(&self) -> String {
        let Some(held) = self.watch.held() else { return "nothing".to_owned() };
        let of = |version: &Option<Version>| version.as_ref().map_or("-".to_owned(), |version| version.id.clone());
        format!("{} {} {}", held.current.id, of(&held.previous), of(&held.pending))
    }
}

/// Each line: what is seen, and what is held then, as current, previous and pending.
#[test]
fn a_rotation_goes_through_all_stages_and_each_version_is_fetched_once() {
    let mut life = Life::new(law());
    for (said, held) in [
        ("v1 CURRENT", "v1 - -"),
        ("v1 CURRENT, v2 PENDING", "v1 - v2"),
        ("v2 CURRENT, v1 PREVIOUS", "v2 v1 -"),
        ("v2 CURRENT, v2 PENDING, v1 PREVIOUS", "v2 v1 -"),
        ("v2 CURRENT, v1 PREVIOUS, v3 PENDING", "v2 v1 v3"),
        ("v3 CURRENT, v2 PREVIOUS", "v3 v2 -"),
        ("v4 CURRENT, v3 PREVIOUS", "v4 v3 -"),
    ] {
        let before = life.watch.generation();
        life.look(Ok(seen(said)));
        assert_eq!(life.held(), held, "{said}");
        let is_same = said.starts_with("v2 CURRENT, v2");
        assert_eq!(life.watch.generation() == before, is_same, "{said}");
    }
    assert_eq!(life.fetches, ["v1", "v2", "v3", "v4"]);
    let held = life.watch.held().expect("held");
    assert_eq!((held.id.as_str(), &held.current.stages[..]), ("arn", &["AWSCURRENT".to_owned()][..]));
}

/// What another look has told counts, but it does not put off a look that somebody asked for, nor hurries the next one.
#[test]
fn what_is_overheard_counts_as_a_look_and_puts_off_none() {
    let mut life = Life::new(law());
    life.look(Ok(seen("v1 CURRENT")));
    let due = life.watch.look_at.expect("due");
    life.now += Duration::from_secs(60);
    let moment = life.moment();
    life.watch.overheard(moment, Ok(seen("v2 CURRENT, v1 PREVIOUS")));
    assert!(life.watch.look_at.expect("due") > due, "it was looked at just now");
    while matches!(life.watch.next(life.now), Next::Fetch(_)) {
        life.step(|| panic!("a look"), |id| Ok(version(id)));
    }
    assert_eq!((life.held().as_str(), life.looks.len()), ("v2 v1 -", 1));
    let number = life.watch.nudged(life.now).expect("it is looked at");
    let asked_for = life.watch.look_at;
    let moment = life.moment();
    life.watch.overheard(moment, Ok(seen("v2 CURRENT, v1 PREVIOUS")));
    assert_eq!(life.watch.look_at, asked_for);
    life.look(Ok(seen("v2 CURRENT, v1 PREVIOUS")));
    assert_eq!((life.looks.len() as u64, life.watch.looks()), (number, number));
    // Trouble that is overheard is trouble.
    let moment = life.moment();
    life.watch.overheard(moment, Err(fault(SourceFaultKind::Throttled)));
    assert_eq!(life.watch.trouble().map(|fault| fault.kind), Some(SourceFaultKind::Throttled));
    assert_eq!(life.held(), "v2 v1 -");
}

/// A rotation was two generations, and two calls of each webhook: between the look and the fetch the version that was current
/// became its own previous one.
#[test]
fn a_rotation_changes_what_is_held_once() {
    let mut life = Life::new(Law { pending: false, ..law() });
    life.look(Ok(seen("v1 CURRENT")));
    for (number, said) in
        [(1, "v2 CURRENT, v1 PREVIOUS"), (2, "v3 CURRENT, v2 PREVIOUS"), (3, "v5 CURRENT, v4 PREVIOUS")]
    {
        life.now += Duration::from_secs(1_000);
        let before = life.watch.generation();
        assert_eq!(life.watch.next(life.now), Next::Look);
        life.watch.looked(life.moment(), Ok(seen(said)));
        assert_eq!(life.watch.generation(), before, "{said}: nothing new is held yet");
        assert_eq!(life.held(), ["v1 - -", "v2 v1 -", "v3 v2 -"][number - 1]);
        let Next::Fetch(Wanted::Id(id)) = life.watch.next(life.now) else { panic!("the current one first") };
        life.watch.fetched(life.moment(), &Wanted::Id(id.clone()), Ok(version(&id)));
        assert!(life.watch.generation() > before && life.held().starts_with(&id), "{said}");
        // The one before that was never current here has to be fetched, too.
        while let Next::Fetch(wanted) = life.watch.next(life.now) {
            let Wanted::Id(id) = &wanted else { panic!("by version") };
            life.watch.fetched(life.moment(), &wanted, Ok(version(id)));
        }
    }
    assert_eq!(life.held(), "v5 v4 -");
}

#[test]
fn versions_that_no_file_shows_are_not_fetched() {
    let mut life = Life::new(Law { previous: false, pending: false, ..law() });
    life.look(Ok(seen("v2 CURRENT, v1 PREVIOUS, v3 PENDING")));
    assert_eq!((life.held().as_str(), &life.fetches[..]), ("v2 - -", &["v2".to_owned()][..]));
}

/// Each line: what the looks say one after another, and what is held in the end.
#[test]
fn an_older_version_comes_back_only_when_it_was_named_three_times_in_a_row() {
    let (new, old) = ("v2 CURRENT, v1 PREVIOUS", "v1 CURRENT");
    for (answers, held) in [
        (&[new, old][..], "v2"),
        (&[new, old, old], "v2"),
        (&[new, old, old, new, old, old], "v2"),
        (&[new, old, old, "", old, old], "v2"),
        (&[new, old, old, old], "v1"),
        (&[old, new, old, old, old], "v1"),
        // It never was current while we looked, but it says itself that it is older.
        (&[new, "v0 CURRENT"], "v2"),
        (&[new, "v0 CURRENT", "v0 CURRENT"], "v2"),
        (&[new, "v0 CURRENT", "v0 CURRENT", "v0 CURRENT"], "v0"),
        (&[new, old, old, old, new], "v1"),
        (&[new, old, old, old, new, new, new], "v2"),
        (&[new, old, "v3 CURRENT"], "v3"),
    ] {
        let mut life = Life::new(law());
        for said in answers {
            let before = life.held();
            life.look(if said.is_empty() { Err(fault(SourceFaultKind::Transient)) } else { Ok(seen(said)) });
            let is_doubted = !said.is_empty() && !life.held().starts_with(&said[..2]) && before == life.held();
            if is_doubted {
                assert_eq!(life.watch.next(life.now), Next::At(life.now + CONFIRM), "{answers:?}");
            }
        }
        assert_eq!(life.held().split(' ').next(), Some(held), "{answers:?}");
    }
}

#[test]
fn a_version_that_was_announced_is_asked_for_until_it_is_there() {
    let mut life = Life::new(law());
    life.look(Ok(seen("v1 CURRENT")));
    let mut refusals = 5;
    while life.held() != "v2 v1 -" {
        life.step(
            || Ok(seen("v2 CURRENT, v1 PREVIOUS")),
            |id| {
                refusals -= 1;
                if refusals > 0 { Err(fault(SourceFaultKind::Missing)) } else { Ok(version(id)) }
            },
        );
        let in_trouble = life.watch.trouble().is_some();
        assert_eq!(in_trouble, (1..5).contains(&refusals), "after {refusals}");
    }
    assert_eq!(life.fetches, ["v1", "v2", "v2", "v2", "v2", "v2"]);
}

/// A rotation that fails leaves `AWSPENDING` on a version without a value.
#[test]
fn a_pending_version_without_a_value_hinders_nothing() {
    let mut life = Life::new(law());
    let end = life.now + Duration::from_secs(3_600);
    while life.now < end {
        let value = |id: &str| if id == "v2" { Err(fault(SourceFaultKind::Missing)) } else { Ok(version(id)) };
        life.step(|| Ok(seen("v1 CURRENT, v2 PENDING")), value);
    }
    assert_eq!(life.held(), "v1 - -");
    assert!(life.watch.trouble().is_none() && !life.watch.is_gone());
    assert!((50..150).contains(&life.fetches.len()), "{}", life.fetches.len());
    life.look(Ok(seen("v3 CURRENT, v1 PREVIOUS")));
    assert_eq!(life.held(), "v3 v1 -");
}

#[test]
fn what_is_of_no_use_is_not_fetched_again_until_it_changes() {
    let mut life = Life::new(law());
    life.look(Ok(seen("v1 CURRENT")));
    life.look(Ok(seen("v2 CURRENT, v1 PREVIOUS")));
    life.watch.unusable("v2");
    assert_eq!(life.held(), "v1 v1 -", "the one before stays");
    for _ in 0..5 {
        life.look(Ok(seen("v2 CURRENT, v1 PREVIOUS")));
    }
    assert_eq!(life.fetches, ["v1", "v2"]);
    life.look(Ok(seen("v3 CURRENT, v2 PREVIOUS")));
    assert_eq!(life.held(), "v3 v1 -");

    let mut first = Life::new(law());
    first.look(Ok(seen("v1 CURRENT")));
    first.watch.unusable("v1");
    assert_eq!(first.held(), "nothing");
    first.live(Duration::from_secs(DAY), &seen("v1 CURRENT"));
    assert_eq!(first.fetches, ["v1"]);
}

#[test]
fn trouble_leaves_what_is_held_and_is_met_with_ever_longer_waits() {
    for kind in
        [SourceFaultKind::Transient, SourceFaultKind::Throttled, SourceFaultKind::Denied, SourceFaultKind::Missing]
    {
        let mut life = Life::new(law());
        life.look(Ok(seen("v1 CURRENT")));
        life.random = 1.0;
        let first = life.looks.len();
        for _ in 0..9 {
            life.look(Err(fault(kind)));
        }
        let waits: Vec<_> = life.looks[first..].windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60], "{kind:?}");
        assert_eq!((life.held().as_str(), life.watch.trouble().map(|fault| fault.kind)), ("v1 - -", Some(kind)));
        let is_gone = matches!(kind, SourceFaultKind::Denied | SourceFaultKind::Missing);
        assert_eq!(life.watch.is_gone(), is_gone);
        life.look(Ok(seen("v1 CURRENT")));
        assert!(life.watch.trouble().is_none() && !life.watch.is_gone());
    }
}

#[test]
fn a_secret_is_gone_only_when_several_answers_in_a_row_say_so() {
    let mut life = Life::new(law());
    let missing = || Err(fault(SourceFaultKind::Missing));
    for (answer, is_gone) in [
        (Ok(seen("v1 CURRENT")), false),
        (missing(), false),
        (missing(), false),
        (Err(fault(SourceFaultKind::Transient)), false),
        (missing(), false),
        (Ok(seen("v1 PENDING")), false),
        (missing(), true),
        (Ok(seen("v1 CURRENT")), false),
    ] {
        life.look(answer);
        assert_eq!((life.watch.is_gone(), life.held().as_str()), (is_gone, "v1 - -"));
    }
}

/// Requests in a day of each kind; what `facts` promise is a bill.
#[test]
fn a_day_costs_what_the_law_says() {
    let quiet = seen("v1 CURRENT");
    let dated = |text, date: i64| Seen { next_rotation: Some(date), rotation_window: Some(3_600), ..seen(text) };
    let hour = 3_600;
    for (what, law, said, looks) in [
        ("far from a rotation", law(), quiet.clone(), 96..=98),
        ("a parameter", Law { every: Duration::from_secs(300), ..law() }, quiet.clone(), 288..=290),
        ("a rotation next month", law(), dated("v1 CURRENT", START + 30 * DAY as i64), 96..=98),
        // 20 quiet hours and a bit, then two hours and five minutes at 15 s.
        ("a rotation today", law(), dated("v1 CURRENT", START + 12 * hour), 570..=600),
        ("a rotation that was missed", law(), dated("v1 CURRENT", START - 30 * DAY as i64), 96..=98),
        ("nonsense", law(), dated("v1 CURRENT", i64::MIN), 96..=98),
        ("more nonsense", law(), dated("v1 CURRENT", i64::MAX), 96..=98),
        // 60 in two minutes, then a thirtieth of its age at a time, which is at most 15 minutes.
        ("a rotation that hangs", law(), seen("v1 CURRENT, v2 PENDING"), 200..=330),
    ] {
        let mut life = Life::new(law);
        life.live(Duration::from_secs(DAY), &said);
        assert!(looks.contains(&life.looks.len()), "{what}: {}", life.looks.len());
        assert!(life.fetches.len() <= 2, "{what}: {:?}", life.fetches);
    }
}

#[test]
fn a_window_is_over_when_the_rotation_was_seen() {
    let mut life = Life::new(law());
    let dated = |text| Seen { next_rotation: Some(START + 3_600), rotation_window: Some(7_200), ..seen(text) };
    life.live(Duration::from_secs(60), &dated("v1 CURRENT"));
    assert!(life.looks.len() >= 4, "the window is open: {:?}", life.looks);
    let looks = life.looks.len();
    life.live(Duration::from_secs(7_200), &dated("v2 CURRENT, v1 PREVIOUS"));
    assert!(life.looks.len() - looks <= 10, "{:?}", life.looks);
}

#[test]
fn a_fixed_version_is_fetched_once_and_never_looked_at() {
    let mut life = Life::new(Law { followed: Followed::Version("v7".to_owned()), ..law() });
    let mut failures = 3;
    for _ in 0..50 {
        life.step(
            || panic!("a look"),
            |id| {
                failures -= 1;
                if failures >= 0 { Err(fault(SourceFaultKind::Transient)) } else { Ok(version(id)) }
            },
        );
        life.watch.nudged(life.now);
    }
    assert_eq!((life.held().as_str(), life.fetches.len()), ("v7 - -", 4));
    assert_eq!(life.watch.next(life.now), Next::Never);
}

#[test]
fn who_asks_is_heard_at_once_but_no_more_than_once_a_second() {
    let mut life = Life::new(law());
    life.look(Ok(seen("v1 CURRENT")));
    life.now += Duration::from_secs(5);
    life.watch.nudged(life.now);
    let looks = life.looks.len();
    let end = life.now + Duration::from_secs(10);
    while life.now < end {
        life.watch.nudged(life.now);
        life.step(|| Ok(seen("v1 CURRENT")), |id| Ok(version(id)));
    }
    assert!((10..=11).contains(&(life.looks.len() - looks)), "{:?}", life.looks);

    // What a look sees that was under way may be older than the reason to ask.
    life.now += Duration::from_secs(5);
    life.watch.nudged(life.now);
    assert_eq!(life.watch.next(life.now), Next::Look);
    assert_eq!(life.watch.nudged(life.now), Some(life.watch.looks() + 1));
    life.watch.looked(life.moment(), Ok(seen("v1 CURRENT")));
    assert_eq!(life.watch.next(life.now), Next::At(life.now + NUDGED));

    // A service that throttles is not hurried. Who asks waits for the look that is due anyway.
    life.look(Err(fault(SourceFaultKind::Throttled)));
    let before = life.watch.next(life.now);
    assert_eq!(life.watch.nudged(life.now), Some(life.watch.looks() + 1));
    assert_eq!(life.watch.next(life.now), before);
}

/// Between the look that saw a rotation and the fetch of its version there was a generation in which the old version was both
/// the current and the one before: who waited for the next generation got that one.
#[test]
fn what_is_held_stays_whole_until_the_new_current_version_is_there() {
    let mut life = Life::new(law());
    life.look(Ok(seen("v1 CURRENT, v2 PENDING")));
    assert_eq!(life.held(), "v1 - v2");
    let (generation, rotated) = (life.watch.generation(), seen("v3 CURRENT, v1 PREVIOUS"));
    life.watch.nudged(life.now);
    while life.fetches.last().is_none_or(|id| id != "v3") || life.now < life.start + Duration::from_secs(60) {
        life.step(|| Ok(rotated.clone()), |_| Err(fault(SourceFaultKind::Transient)));
        assert_eq!((life.held().as_str(), life.watch.generation()), ("v1 - v2", generation));
    }
    life.live(Duration::from_secs(60), &rotated);
    assert_eq!((life.held().as_str(), life.watch.generation() > generation), ("v3 v1 -", true));
}

/// While AWS was down an app had reported a refused password every second. The first answer after that was one that throttles,
/// and because of all the failures before it the next look was 50 seconds off, which no report could change.
#[test]
fn a_throttled_look_waits_for_what_was_throttled_and_not_for_an_outage_before_it() {
    let mut life = Life::new(law());
    life.random = 1.0;
    life.look(Ok(seen("v1 CURRENT")));
    for _ in 0..10 {
        life.watch.nudged(life.now);
        life.look(Err(fault(SourceFaultKind::Transient)));
        life.now += NUDGED;
    }
    for seconds in [1, 2, 4, 8, 16, 32, 60, 60] {
        life.look(Err(fault(SourceFaultKind::Throttled)));
        assert_eq!(life.watch.next(life.now), Next::At(life.now + Duration::from_secs(seconds)));
    }
    life.look(Ok(seen("v1 CURRENT")));
    life.look(Err(fault(SourceFaultKind::Throttled)));
    assert_eq!(life.watch.next(life.now), Next::At(life.now + Duration::from_secs(1)));
}

#[test]
fn throttling_halves_the_rate_and_success_restores_it() {
    let mut life = Life::new(law());
    let quiet = || Ok(seen("v1 CURRENT"));
    life.look(quiet());
    for _ in 0..3 {
        life.look(Err(fault(SourceFaultKind::Throttled)));
    }
    let first = life.looks.len();
    for _ in 0..6 {
        life.look(quiet());
    }
    let waits: Vec<_> = life.looks[first..].windows(2).map(|pair| (pair[1] - pair[0]).as_secs()).collect();
    assert_eq!(waits, [7_200, 3_600, 1_800, 900, 900]);
}

/// What the lying service does with one request.
#[derive(Clone, Copy, Debug)]
enum Whim {
    /// Tells the truth.
    Right,
    /// Tells what was true this many changes ago.
    Stale(usize),
    Fails(SourceFaultKind),
}

fn whim() -> impl Strategy<Value = Whim> {
    use SourceFaultKind::{Denied, Invalid, Missing, Throttled, Transient};
    prop_oneof![
        3 => Just(Whim::Right),
        2 => (1usize..4).prop_map(Whim::Stale),
        1 => proptest::sample::select(vec![Transient, Throttled, Denied, Missing, Invalid]).prop_map(Whim::Fails),
    ]
}

/// What happens before a request: a new version is current, the last one is current again, one is pending, someone asks.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    New,
    Back,
    Pending,
    Nudge,
}

fn event() -> impl Strategy<Value = Event> {
    let some = vec![Event::New, Event::Back, Event::Pending, Event::Nudge];
    prop_oneof![5 => Just(Event::Nothing), 1 => proptest::sample::select(some)]
}

/// The service's true states, the latest last.
fn change(history: &mut Vec<Seen>, made: &mut u64, event: Event) {
    let last = history.last().expect("a state").clone();
    let current = last.version_of(CURRENT).expect("a version").to_owned();
    let text = match event {
        Event::New => {
            let new = last.version_of(PENDING).map(str::to_owned).unwrap_or_else(|| {
                *made += 1;
                format!("v{made}")
            });
            format!("{new} CURRENT, {current} PREVIOUS")
        }
        Event::Back => match last.version_of(PREVIOUS) {
            Some(previous) => format!("{previous} CURRENT, {current} PREVIOUS"),
            None => return,
        },
        Event::Pending if last.version_of(PENDING).is_none() => {
            *made += 1;
            let previous = last.version_of(PREVIOUS).map(|id| format!(", {id} PREVIOUS")).unwrap_or_default();
            format!("{current} CURRENT, v{made} PENDING{previous}")
        }
        _ => return,
    };
    history.push(seen(&text));
}

fn number(id: &str) -> u64 {
    id.trim_start_matches('v').parse().expect("a number")
}

proptest! {
    /// However the service lies and fails: what is held stays, goes back only on three equal answers in a row, and is right
    /// soon after the answers are.
    #[test]
    fn property_never_back_on_one_answer_never_too_often_and_right_in_the_end(
        steps in proptest::collection::vec((event(), whim(), 0.0f64..1.0), 1..200),
    ) {
        let mut life = Life::new(law());
        let (mut history, mut made) = (vec![seen("v1 CURRENT")], 1);
        let mut named: Vec<Option<String>> = Vec::new();
        let mut held: Option<String> = None;
        for (event, whim, random) in steps {
            life.random = random;
            if matches!(event, Event::Nudge) {
                life.watch.nudged(life.now);
            }
            change(&mut history, &mut made, event);
            let said = match whim {
                Whim::Right => Ok(history[history.len() - 1].clone()),
                Whim::Stale(by) => Ok(history[history.len().saturating_sub(1 + by)].clone()),
                Whim::Fails(kind) => Err(fault(kind)),
            };
            let name = said.as_ref().ok().and_then(|said| said.version_of(CURRENT).map(str::to_owned));
            let looks = life.looks.len();
            life.step(|| said, |id| match whim {
                Whim::Fails(kind) => Err(fault(kind)),
                _ => Ok(version(id)),
            });
            if life.looks.len() > looks {
                named.push(name);
            }
            let now = life.watch.held().map(|held| held.current.id.clone());
            prop_assert!(held.is_none() || now.is_some(), "what was held is gone");
            if let (Some(before), Some(now)) = (&held, &now)
                && number(now) < number(before)
            {
                let is_proved = named.windows(3).any(|three| three.iter().all(|name| name.as_ref() == Some(now)));
                prop_assert!(is_proved, "{} to {}: {:?}", before, now, named);
            }
            if now != held {
                // A doubt may have begun while the version that is held now was still being fetched.
                named.drain(..named.len().saturating_sub(2));
            }
            held = now;
        }
        for pair in life.looks.windows(2) {
            prop_assert!(pair[1] - pair[0] >= Duration::from_millis(99), "{pair:?}");
        }
        let truth = history.last().expect("a state").clone();
        let before = life.looks.len();
        // The longest wait, throttled to the utmost, and then what confirms.
        life.live(Duration::from_secs(900 * 16 * 2), &truth);
        prop_assert!(life.looks.len() > before);
        let held = life.watch.held().expect("held");
        prop_assert_eq!(Some(held.current.id.as_str()), truth.version_of(CURRENT));
        prop_assert_eq!(held.previous.as_ref().map(|version| version.id.as_str()), truth.version_of(PREVIOUS));
        prop_assert_eq!(held.pending.as_ref().map(|version| version.id.as_str()), truth.version_of(PENDING));
        prop_assert!(life.watch.trouble().is_none());
    }
}
