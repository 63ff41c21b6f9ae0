//! The limits of `PutLogEvents`, at and beyond each of them. The fake refuses, and remembers, what the service would.
//!
//! Promises: each limit is reached exactly, so that nothing is sent in more requests than needed.
//! Never: looks into the agent's encoder.

use std::collections::BTreeMap;

use tests::{
    fake_aws::Event,
    forward_client::{Fields, Time, forward, message, packed, stream},
};

use crate::story::{SOON, Story, WEB, WEB_STREAM};

const DAY: u64 = 24 * 3_600;

fn now() -> u64 {
    match Time::now() {
        Time::Event(seconds, _) => seconds.into(),
        Time::Seconds(seconds) => seconds,
    }
}

/// Events of each request, in the order of the requests.
fn by_request(events: &[Event]) -> Vec<usize> {
    let mut counts = BTreeMap::new();
    for event in events {
        *counts.entry(event.request).or_insert(0) += 1;
    }
    counts.into_values().collect()
}

#[test]
fn a_request_has_10_000_events_and_not_one_more() {
    let story = Story::begin("log_key log");
    let texts: Vec<_> = (0..10_001).map(|number| number.to_string()).collect();
    let records: Vec<[(&str, &[u8]); 1]> = texts.iter().map(|text| [("log", text.as_bytes())]).collect();
    let entries: Vec<_> = records.iter().map(|fields| (Time::Seconds(now()), &fields[..])).collect();
    story.connect().send(&packed(WEB, &stream(&entries), None)).unwrap();
    story.settled(10_001);
    assert_eq!(story.aws.messages("bench", WEB_STREAM), texts);
    assert_eq!(by_request(&story.aws.events("bench", WEB_STREAM)), [10_000, 1]);
    story.end();
}

/// 16 events of 65,510 bytes and 26 for each of them are 1,048,576 bytes.
#[test]
fn a_request_has_1_mib_and_not_one_byte_more() {
    for (more, requests) in [(0, &[16][..]), (1, &[15, 1])] {
        let story = Story::begin("log_key log");
        let text = |number: usize| format!("{number:02}{}", "x".repeat(1_048_576 / 16 - 26 - 2 + number / 15 * more));
        let texts: Vec<_> = (0..16).map(text).collect();
        let records: Vec<[(&str, &[u8]); 1]> = texts.iter().map(|text| [("log", text.as_bytes())]).collect();
        let time = Time::Seconds(now());
        let entries: Vec<(Time, &Fields<'_>)> = records.iter().map(|fields| (time, &fields[..])).collect();
        story.connect().send(&forward(WEB, &entries, None)).unwrap();
        story.settled(16);
        assert_eq!(story.aws.messages("bench", WEB_STREAM), texts);
        assert_eq!(by_request(&story.aws.events("bench", WEB_STREAM)), requests);
        story.end();
    }
}

/// What counts is bytes of UTF-8, not characters, and not the escapes of JSON.
#[test]
fn bytes_are_counted_as_the_service_counts_them() {
    for (text, records) in [("\u{20ac}", 21_845), ("\"\\\n", 21_845), ("\u{1}", 65_536 - 26)] {
        let story = Story::begin("log_key log");
        let text = text.repeat(records);
        let fields: [(&str, &[u8]); 1] = [("log", text.as_bytes())];
        let entries: Vec<(Time, &Fields<'_>)> = vec![(Time::Seconds(now()), &fields[..]); 40];
        story.connect().send(&forward(WEB, &entries, None)).unwrap();
        story.settled(40);
        let full = 1_048_576 / (text.len() + 26);
        let requests = by_request(&story.aws.events("bench", WEB_STREAM));
        assert_eq!(requests, [full, full, 40 - 2 * full], "{} bytes", text.len());
        // All events are the same; the fake would call them duplicates.
        story.aws.assert_no_violations();
        assert_eq!(story.agent.books().total().delivered, 40);
        story.agent.stop(SOON).assert_clean();
    }
}

#[test]
fn a_request_spans_24_hours_and_not_a_millisecond_more() {
    let start = now() - 2 * DAY;
    let time = |seconds: u64, millis: u32| Time::Event(seconds as u32, millis * 1_000_000);
    for (later, requests) in [(time(start + DAY, 0), &[2][..]), (time(start + DAY, 1), &[1, 1])] {
        let story = Story::begin("log_key log");
        let first: [(&str, &[u8]); 1] = [("log", b"first")];
        let second: [(&str, &[u8]); 1] = [("log", b"second")];
        let entries: [(Time, &Fields<'_>); 2] = [(time(start, 0), &first), (later, &second)];
        story.connect().send(&forward(WEB, &entries, None)).unwrap();
        story.settled(2);
        assert_eq!(story.aws.messages("bench", WEB_STREAM), ["first", "second"]);
        assert_eq!(by_request(&story.aws.events("bench", WEB_STREAM)), requests);
        story.end();
    }
}

/// The service wants events in the order of their times; those of one millisecond keep theirs.
#[test]
fn events_out_of_order_are_sorted_and_no_time_is_changed() {
    let story = Story::begin("log_key log");
    let start = now() - 3_600;
    let mut random = fastrand::Rng::with_seed(7);
    let mut expected = Vec::new();
    let mut bytes = Vec::new();
    for number in 0..500 {
        let second = start + random.u64(0..50);
        let text = number.to_string();
        bytes.extend(message(WEB, Time::Seconds(second), &[("log", text.as_bytes())], None));
        expected.push((second as i64 * 1_000, text));
    }
    story.connect().send(&bytes).unwrap();
    story.settled(500);
    expected.sort_by_key(|(time, _)| *time);
    let events = story.aws.events("bench", WEB_STREAM);
    // The first record may travel alone, if the agent is quick: compare as sorted, and each request was in order.
    let mut got: Vec<_> = events.into_iter().map(|event| (event.timestamp_ms, event.message)).collect();
    got.sort_by_key(|(time, _)| *time);
    assert_eq!(got, expected);
    story.end();
}

#[test]
fn a_record_over_1_mb_is_cut_marked_and_counted() {
    let story = Story::begin("log_key log");
    let log = "0123456789".repeat(120_000);
    story.connect().send(&message(WEB, Time::now(), &[("log", log.as_bytes())], None)).unwrap();
    story.settled(1);
    let messages = story.aws.messages("bench", WEB_STREAM);
    let mark = "[Truncated...]";
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].len(), 1_000_000);
    assert!(messages[0].ends_with(mark) && log.starts_with(messages[0].trim_end_matches(mark)));
    let cut = story.agent.metrics().sum("pillion_logs_truncated_records_total", &[]);
    assert_eq!(cut, 1.0);
    story.end();
}
