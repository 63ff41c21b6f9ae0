//! Who is seen to have taken up what, with the time as an argument.
//!
//! Promises: each way of proof is tried against each order of events.
//! Never: proves that an app uses what it was told of; nobody can see that.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::secrets::place::Marker;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// A state of two secrets, `db` and `flag`, that the service calls `arn:db` and `arn:flag`.
fn state(is_told: bool) -> State {
    let counters = Counters::new();
    let names = ["db", "flag"].map(str::to_owned).into_iter();
    let mut state = State::new(names, is_told, |name| counters.secrets.reads.with_label_values(&[name]));
    state.is_called(0, "arn:db");
    state.is_called(1, "arn:flag");
    state
}

fn generation(number: u64, versions: &[(&str, &str)]) -> Generation {
    let versions = versions.iter().map(|(name, id)| ((*name).to_owned(), (*id).to_owned()));
    Generation { number, versions: versions.collect() }
}

fn adopted(number: u64, told: u64) -> Adopted {
    let versions = BTreeMap::from([("db".to_owned(), vec!["v1".to_owned()])]);
    Adopted { marker: Marker { number, versions }, told }
}

/// How long `db` has waited to be taken up.
fn waited(state: &State, now: Instant) -> Option<u64> {
    state.untaken(&state.secrets[0], now).map(|waited| waited.as_secs())
}

fn way(state: &State) -> Option<&'static str> {
    state.secrets[0].shown.as_ref()?.taken.map(|(way, _)| way.label())
}

#[test]
fn a_rotation_waits_until_somebody_is_seen_with_it() {
    let begun = Instant::now();
    for (way_of_proof, expected) in [
        (Way::Webhook, "webhook"),
        (Way::Signal, "signal"),
        (Way::Events, "events"),
        (Way::Ack, "ack"),
        (Way::Read, "read"),
    ] {
        let mut state = state(true);
        state.placed(&generation(1, &[("db", "v1"), ("flag", "1")]), begun);
        assert_eq!(waited(&state, begun + SECONDS(99)), Some(0), "the first version is no rotation");
        assert!(state.acknowledged(Way::Webhook, 1, begun) && way(&state) == Some("webhook"));
        state.placed(&generation(2, &[("db", "v2"), ("flag", "1")]), begun + SECONDS(100));
        assert_eq!((waited(&state, begun + SECONDS(130)), way(&state)), (Some(30), None));
        assert_eq!(state.untaken(&state.secrets[1], begun + SECONDS(130)), Some(Duration::ZERO), "it did not change");
        let seen = begun + SECONDS(140);
        match way_of_proof {
            Way::Read => assert!(state.read("arn:db", "v2", || seen)),
            other => assert!(state.acknowledged(other, 2, seen)),
        }
        assert_eq!((waited(&state, begun + SECONDS(999)), way(&state)), (Some(0), Some(expected)));
        // Who comes second changes nothing.
        assert!(state.acknowledged(Way::Ack, 1, begun + SECONDS(150)));
        assert_eq!(way(&state), Some(expected));
    }
}

#[test]
fn what_proves_nothing_leaves_it_waiting() {
    let now = Instant::now();
    let mut state = state(true);
    state.placed(&generation(1, &[("db", "v1")]), now);
    state.placed(&generation(2, &[("db", "v2")]), now);
    assert!(!state.acknowledged(Way::Ack, 3, now), "there is no such generation");
    assert!(!state.acknowledged(Way::Events, 0, now), "that is none");
    assert!(!state.acknowledged(Way::Ack, u64::MAX, now));
    assert!(state.acknowledged(Way::Ack, 1, now), "one who has the version before");
    assert!(state.read("arn:db", "v1", || now), "the version before");
    assert!(state.read("arn:flag", "v2", || now), "another secret");
    assert!(!state.read("db", "v2", || now), "nobody is called so");
    assert_eq!((waited(&state, now + SECONDS(5)), way(&state)), (Some(5), None));
    assert_eq!(state.acknowledged_by(Way::Ack), Some(1));
    assert_eq!(state.acknowledged_by(Way::Events), None);
}

/// The API may see a rotation before the files do: whoever read it there has it.
#[test]
fn who_read_it_before_the_files_had_it_has_taken_it() {
    let now = Instant::now();
    let mut state = state(false);
    state.placed(&generation(1, &[("db", "v1")]), now);
    assert!(state.read("arn:db", "v2", || now));
    state.placed(&generation(2, &[("db", "v2")]), now);
    assert_eq!((waited(&state, now + SECONDS(9)), way(&state)), (Some(0), Some("read")));
    assert_eq!(state.secrets[0].reads.get(), 1);
}

/// A false alarm for every task whose app reads files would train people to ignore the right one.
#[test]
fn a_secret_of_which_nobody_can_be_seen_has_no_verdict() {
    let now = Instant::now();
    let mut state = state(false);
    state.placed(&generation(1, &[("db", "v1"), ("flag", "1")]), now);
    state.placed(&generation(2, &[("db", "v2"), ("flag", "2")]), now);
    assert_eq!(waited(&state, now + SECONDS(9_999)), None);
    assert!(state.overdue(now + SECONDS(9_999)).is_empty());
    assert!(state.read("arn:db", "v1", || now));
    assert_eq!(waited(&state, now + SECONDS(60)), Some(60), "who reads the old one can be seen");
    assert_eq!(state.untaken(&state.secrets[1], now), None, "nobody has read that one");
    assert!(state.acknowledged(Way::Events, 1, now));
    assert_eq!(state.untaken(&state.secrets[1], now + SECONDS(60)), Some(SECONDS(60)));
}

#[test]
fn what_waits_for_long_is_told_once_for_each_rotation() {
    let now = Instant::now();
    let mut state = state(true);
    state.placed(&generation(1, &[("db", "v1")]), now);
    state.placed(&generation(2, &[("db", "v2")]), now);
    assert!(state.overdue(now + UNTAKEN_MAX - SECONDS(1)).is_empty());
    assert_eq!(state.overdue(now + UNTAKEN_MAX), [("db".to_owned(), 2, UNTAKEN_MAX)]);
    assert!(state.overdue(now + 2 * UNTAKEN_MAX).is_empty());
    state.placed(&generation(3, &[("db", "v3")]), now + 2 * UNTAKEN_MAX);
    assert_eq!(state.overdue(now + 3 * UNTAKEN_MAX), [("db".to_owned(), 3, UNTAKEN_MAX)]);
}

/// The volume says who was told, and the next process goes on from there.
#[test]
fn after_a_restart_what_was_not_told_still_waits() {
    let now = Instant::now();
    for (is_told, told, expected) in [(true, 6, Some(5)), (true, 7, Some(0)), (false, 0, None)] {
        let mut state = state(is_told);
        state.adopted(&adopted(7, told), now);
        state.placed(&generation(7, &[("db", "v1"), ("flag", "1")]), now);
        assert_eq!(waited(&state, now + SECONDS(5)), expected, "{is_told} {told}");
        assert!(state.acknowledged(Way::Events, 7, now), "a number from before the restart");
        assert_eq!(waited(&state, now + SECONDS(5)), Some(0));
        state.placed(&generation(8, &[("db", "v2"), ("flag", "1")]), now);
        assert_eq!(waited(&state, now + SECONDS(5)), Some(5));
    }
}

/// New ids of the same bytes leave the files, and the generation, as they are: nobody is told, so nobody could take them up.
#[test]
fn new_ids_of_the_same_bytes_are_no_rotation() {
    let now = Instant::now();
    let mut state = state(true);
    state.placed(&generation(1, &[("db", "v1")]), now);
    state.placed(&generation(1, &[("db", "v2")]), now);
    assert_eq!((waited(&state, now + SECONDS(5)), way(&state)), (Some(0), None));
    assert!(state.read("arn:db", "v2", || now));
    assert_eq!(way(&state), Some("read"));
}

/// One that was removed has nothing to take up, and one that comes back is not a rotation; its new ARN leads to it alone.
#[test]
fn a_secret_that_goes_and_comes_back_starts_anew() {
    let now = Instant::now();
    let mut state = state(true);
    state.placed(&generation(1, &[("db", "v1")]), now);
    state.placed(&generation(2, &[]), now);
    assert_eq!(waited(&state, now + SECONDS(5)), Some(0));
    state.is_called(0, "arn:db-again");
    state.placed(&generation(3, &[("db", "v1")]), now);
    assert_eq!(waited(&state, now + SECONDS(5)), Some(0));
    assert!(!state.read("arn:db", "v1", || now) && state.read("arn:db-again", "v1", || now));
}

/// What the page shows is there for every secret, and holds nothing but what it should.
#[test]
fn the_page_tells_of_each_secret() {
    let now = Instant::now();
    let mut state = state(true);
    state.placed(&generation(1, &[("db", "v1")]), now);
    state.placed(&generation(4, &[("db", "v2")]), now + SECONDS(10));
    assert!(state.read("arn:db", "v2", || now + SECONDS(12)));
    let shown = Value::Object(state.described(&state.secrets[0], now + SECONDS(15)));
    let expected = serde_json::json!({
        "version": "v2", "changed_in_generation": 4, "changed_seconds_ago": 5, "reads": 1,
        "taken": {"by": "read", "seconds_ago": 3}, "use_can_be_seen": true, "untaken_seconds": 0,
    });
    assert_eq!(shown, expected);
    let nothing = Value::Object(state.described(&state.secrets[1], now));
    assert_eq!((&nothing["version"], &nothing["taken"]), (&Value::Null, &Value::Null));
}

#[derive(Clone, Debug)]
enum Event {
    Placed(u8),
    Read(u8),
    Acknowledged(u8),
    Later(u8),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        (0..6_u8).prop_map(Event::Placed),
        (0..6_u8).prop_map(Event::Read),
        any::<u8>().prop_map(|number| Event::Acknowledged(number % 12)),
        any::<u8>().prop_map(Event::Later),
    ]
}

proptest! {
    /// Whatever happens in whatever order: what waits is what is shown, has changed in our time, and was neither read nor
    /// acknowledged since; and the wait is the time since it was placed.
    #[test]
    fn property_what_waits_is_what_changed_and_was_not_seen(events in prop::collection::vec(event(), 0..60)) {
        let mut state = state(true);
        let mut now = Instant::now();
        let (mut number, mut version, mut since, mut read) = (0_u64, None, None, None);
        for event in events {
            match event {
                Event::Placed(next) => {
                    if version != Some(next) {
                        number += 1;
                        since = version.filter(|_| read != Some(next)).map(|_| (number, now));
                        version = Some(next);
                    }
                    state.placed(&generation(number, &[("db", &next.to_string())]), now);
                }
                Event::Read(other) => {
                    read = Some(other);
                    since = since.filter(|_| version != Some(other));
                    prop_assert!(state.read("arn:db", &other.to_string(), || now));
                }
                Event::Acknowledged(other) => {
                    let other = u64::from(other);
                    prop_assert_eq!(state.acknowledged(Way::Ack, other, now), (1..=number).contains(&other));
                    since = since.filter(|(placed, _)| other > number || other < *placed);
                }
                Event::Later(seconds) => now += Duration::from_secs(seconds.into()),
            }
            let expected = since.map_or(Duration::ZERO, |(_, since)| now - since);
            prop_assert_eq!(state.untaken(&state.secrets[0], now), Some(expected));
        }
    }
}
