//! Documents that are not what they should be.
//!
//! Promises: each is refused for its reason or taken without what is broken, and costs neighbours nothing.
//! Never: expects a panic.

use proptest::prelude::*;

use super::*;

fn without(member: &str) -> Value {
    let mut document = segment(json!({}));
    document.as_object_mut().expect("an object").remove(member);
    document
}

fn with(member: &str, value: Value) -> Value {
    let mut document = segment(json!({}));
    document[member] = value;
    document
}

#[test]
fn what_cannot_be_a_span_is_refused_with_its_reason() {
    for (document, why) in [
        (without("id"), Unmade::NoId),
        (with("id", json!("00000000000000")), Unmade::NoId),
        (with("id", json!("0000000000000000")), Unmade::NoId),
        (with("id", json!("00000000000000zz")), Unmade::NoId),
        (with("id", json!("+0000000000000aa")), Unmade::NoId),
        (with("id", json!(170)), Unmade::NoId),
        (without("trace_id"), Unmade::NoTrace),
        (with("trace_id", json!("58406520a006649127e371903a2de979")), Unmade::NoTrace),
        (with("trace_id", json!("2-58406520-a006649127e371903a2de979")), Unmade::NoTrace),
        (with("trace_id", json!("1-5840652-0a006649127e371903a2de979")), Unmade::NoTrace),
        (with("trace_id", json!("1-00000000-000000000000000000000000")), Unmade::NoTrace),
        (without("name"), Unmade::NoName),
        (with("name", json!("  ")), Unmade::NoName),
        (with("name", json!(["shop"])), Unmade::NoName),
        (without("start_time"), Unmade::NoTime),
        (with("start_time", json!("1478293361")), Unmade::NoTime),
        (with("start_time", json!(-1)), Unmade::NoTime),
        (with("start_time", json!(0)), Unmade::NoTime),
        (with("end_time", json!(1e300)), Unmade::NoTime),
        (without("end_time"), Unmade::InProgress),
        (with("end_time", json!(null)), Unmade::InProgress),
        (with("in_progress", json!(true)), Unmade::InProgress),
    ] {
        let Made { spans, unmade, resources } = made(document.to_string().as_bytes());
        assert_eq!((spans.len(), resources.len(), unmade), (0, 0, vec![why]), "{document}");
    }
    for (document, why) in [
        (&b""[..], Unmade::NotJson),
        (b"{", Unmade::NotJson),
        (b"\"text\"", Unmade::NotJson),
        (b"7", Unmade::NotJson),
        (b"[7]", Unmade::NotJson),
        (b"{}{}", Unmade::NotJson),
        (b"\xff\xfe", Unmade::NotJson),
        (&vec![b' '; DOCUMENT_BYTES_MAX + 1], Unmade::TooLarge),
    ] {
        assert_eq!(made(document).unmade, [why], "{:?}", String::from_utf8_lossy(document));
    }
}

#[test]
fn a_part_that_is_broken_costs_no_other() {
    let good = |id: u32| json!({"name": "s", "id": format!("{id:016x}"), "start_time": 1, "end_time": 2});
    let broken = json!({"name": "s", "id": "short", "start_time": 1, "end_time": 2, "subsegments": [good(1)]});
    let open =
        json!({"name": "s", "id": "0000000000000009", "start_time": 1, "in_progress": true, "subsegments": [good(2)]});
    let document = segment(json!({
        "parent_id": "nobody", "namespace": 7, "annotations": [1], "metadata": "x", "links": {}, "http": 5, "sql": "", "aws": [], "cause": 7,
        "service": null, "user": 1, "origin": {}, "precursor_ids": {"a": 1}, "unknown": {"deep": [[]]},
        "subsegments": [broken, 5, null, "x", open, good(3)],
    }));
    let Made { spans, unmade, .. } = made(document.to_string().as_bytes());
    let told: Vec<_> = spans.iter().map(|span| (span["id"].as_str().unwrap(), span.get("parent"))).collect();
    let root = &json!("00000000000000aa");
    assert_eq!(
        told,
        [("0000000000000001", Some(root)), ("0000000000000003", Some(root)), ("00000000000000aa", None)],
        "what is below a broken one is below the next one above it; what is below an open one comes with it"
    );
    assert_eq!(spans[2].get("attributes"), None, "nothing is made up");
    use Unmade::{InProgress, NoId};
    assert_eq!(unmade, [NoId, NoId, NoId, NoId, InProgress]);
}

#[test]
fn depth_and_numbers_have_an_end() {
    // As deep as is looked, and one deeper.
    for (depth, expected) in [(DEPTH_MAX, vec![]), (DEPTH_MAX + 1, vec![Unmade::TooDeep])] {
        let mut part = json!([]);
        for id in 1..=depth {
            part =
                json!([{"name": "s", "id": format!("{id:016x}"), "start_time": 1, "end_time": 2, "subsegments": part}]);
        }
        let Made { spans, unmade, .. } = made(segment(json!({"subsegments": part})).to_string().as_bytes());
        assert_eq!((spans.len(), unmade), (DEPTH_MAX + 1, expected));
    }
    // Values within values, more exceptions and frames than are looked at: nothing but the time they take.
    let deep = "[".repeat(30_000) + &"]".repeat(30_000);
    let text = segment(json!({})).to_string().replacen('{', &format!("{{\"annotations\":{{\"deep\":{deep}}},"), 1);
    let Made { spans, .. } = made(text.as_bytes());
    let mut value = &spans[0]["attributes"]["deep"];
    for _ in 0..crate::otlp::value::DEPTH_MAX {
        value = &value[0];
    }
    assert!(value.as_str().is_some_and(|text| text.starts_with("[[[")), "what is deeper is text");
    let exceptions: Vec<_> =
        (0..500).map(|id| json!({"id": id.to_string(), "message": "m", "cause": (id + 1).to_string()})).collect();
    let (span, _) = one(&segment(json!({"cause": {"exceptions": exceptions}})));
    let events = span["events"].as_array().expect("events");
    assert_eq!(events.len(), 4, "sixteen in one text, 64 in all");
    assert_eq!(events[0]["exception.stacktrace"].as_str().expect("a text").matches("Caused by: ").count(), 15);
}

/// Bytes that are no UTF-8 cost the text they are in, as on the way to X-Ray.
#[test]
fn bytes_that_are_no_text_are_replaced() {
    let text = segment(json!({"user": "?"})).to_string();
    let (before, after) = text.split_once('?').expect("a mark");
    let document = [before.as_bytes(), b"\xff\xed\xa0\x80", after.as_bytes()].concat();
    let Made { spans, .. } = made(&document);
    assert!(spans[0]["attributes"]["enduser.id"].as_str().is_some_and(|text| text.starts_with('\u{fffd}')));
}

#[test]
fn of_members_that_are_there_twice_the_last_one_counts() {
    let text = segment(json!({})).to_string().replacen('{', "{\"name\":\"first\",\"na\\u006de\":\"second\",", 1);
    let Made { spans, .. } = made(text.as_bytes());
    assert_eq!(spans[0]["name"], "shop");
}

proptest! {
    /// Whatever a document is cut to or gets in between, what comes out is a request of as many spans as was said, and not much larger.
    #[test]
    fn property_damage_never_makes_a_broken_request(
        at in 0_usize..900,
        length in 0_usize..40,
        more in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let whole = segment(json!({
            "http": {"request": {"url": "http://h/p"}}, "annotations": {"a": 1}, "fault": true, "aws": {"xray": {"sdk": "X-Ray for Java"}},
            "cause": {"exceptions": [{"id": "1", "type": "E", "message": "no", "stack": [{"path": "p", "line": 1, "label": "l"}]}]},
            "subsegments": [{"name": "s", "id": "0000000000000001", "start_time": 1, "end_time": 2, "cause": "1"}],
        })).to_string().into_bytes();
        let at = at.min(whole.len());
        let end = (at + length).min(whole.len());
        let damaged = [&whole[..at], &more, &whole[end..]].concat();
        let mut out = Vec::new();
        let spans = request(&damaged, &mut Services::default(), &mut out, &mut |_| {});
        prop_assert_eq!(walk::count(Signal::Traces, &out), Ok(spans));
        prop_assert!(out.len() <= 8 * damaged.len() + 64);
    }
}
