//! Tests of the walk over a request.
//!
//! Promises: a table of hostile bodies with what Go's collector answers to them; properties of counting and cutting.
//! Never: needs another implementation of protobuf.

use proptest::prelude::*;

use super::*;
use crate::otlp::wire::{put_bytes, put_fixed64, put_uint};

fn message(number: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, &parts.concat());
    out
}

/// A request of one group of one scope with these fields of one item.
fn with_item(item: &[u8]) -> Vec<u8> {
    message(1, &[&message(2, &[&message(2, &[item])])])
}

fn uint(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, number, value);
    out
}

fn fixed64(number: u32) -> Vec<u8> {
    let mut out = Vec::new();
    put_fixed64(&mut out, number, 7);
    out
}

/// What `signal` carries in a request, and how the collector counts it.
#[test]
fn items_are_counted_whatever_the_order_of_fields() {
    let resource = message(1, &[b"\x0a\x00"]);
    let (span, scope) = (message(2, &[&message(5, &[b"GET"])]), message(1, &[b"\x0a\x01s"]));
    let usual = message(2, &[&scope, &span, &span]);
    let reversed = message(2, &[&span, &span, &span, &scope]);
    let request = [message(1, &[&resource, &usual]), message(1, &[&reversed, &usual, &resource, &resource])].concat();
    assert_eq!(count(Signal::Traces, &request), Ok(7));
    assert_eq!(count(Signal::Traces, &[&request[..], &request].concat()), Ok(14));
    let points = |number, points: usize| message(2, &[&message(number, &vec![&b"\x0a\x00"[..]; points])]);
    let metrics = [points(5, 1), points(7, 2), points(9, 3), points(10, 4), points(11, 5), message(2, &[])].concat();
    assert_eq!(count(Signal::Metrics, &message(1, &[&message(2, &[&metrics])])), Ok(15));
    assert_eq!(count(Signal::Logs, &message(1, &[&message(2, &[&message(2, &[]), &message(2, &[])])])), Ok(2));
}

/// Go's collector takes and refuses these.
#[test]
fn bodies_are_taken_as_the_collector_takes_them() {
    let id = |number, length| message(number, &[&vec![7; length]]);
    for taken in [
        &b""[..],
        b"\x0a\x00",
        b"\x0a\x02\x12\x00",
        // Fields that nobody knows, on every level.
        b"\x12\x01x",
        &message(1, &[&uint(9, 1), &message(2, &[&uint(9, 1), &message(2, &[&uint(99, 1)])])]),
        &with_item(&id(1, 0)),
        &with_item(&[id(1, 16), id(2, 8), id(4, 8), uint(6, 99), fixed64(7)].concat()),
        &with_item(&message(13, &[&id(1, 16), &id(2, 8)])),
        // Text that is not UTF-8.
        &with_item(&message(5, &[b"\xff\xfe"])),
        // What attributes hold is not looked at here.
        &with_item(&message(9, &[b"\x0f\x0f"])),
    ] {
        assert!(count(Signal::Traces, taken).is_ok(), "{taken:x?}: {:?}", count(Signal::Traces, taken));
    }
    for (refused, why) in [
        (&b"\x08\x01"[..], Malformed::Mismatch),
        (b"\x0a\x01", Malformed::Truncated),
        (b"\x0a\x02\x12\x01", Malformed::Truncated),
        (b"\x0a\x02\x10\x01", Malformed::Mismatch),
        (b"\x0a\x02\x08\x01", Malformed::Mismatch),
        (b"\x0a\x04\x12\x02\x10\x01", Malformed::Mismatch),
        (b"\x0a\x00\x0b", Malformed::Kind),
        (b"\x0a\x00\x00", Malformed::Number),
        (&with_item(&id(1, 15)), Malformed::Id),
        (&with_item(&id(2, 16)), Malformed::Id),
        (&with_item(&id(4, 1)), Malformed::Id),
        (&with_item(&message(13, &[&id(1, 8)])), Malformed::Id),
        (&with_item(&uint(5, 1)), Malformed::Mismatch),
        (&with_item(&fixed64(6)), Malformed::Mismatch),
        (&with_item(&uint(7, 1)), Malformed::Mismatch),
        (&with_item(&uint(16, 1)), Malformed::Mismatch),
        (&with_item(b"\x0a\x05"), Malformed::Truncated),
    ] {
        assert_eq!(count(Signal::Traces, refused), Err(why), "{refused:x?}");
    }
    let log = |fields: &[u8]| count(Signal::Logs, &with_item(fields));
    assert_eq!(log(&[id(9, 16), id(10, 8), fixed64(1), fixed64(11), uint(2, 9)].concat()), Ok(1));
    assert_eq!(log(&id(9, 8)), Err(Malformed::Id));
    assert_eq!(log(&uint(1, 1)), Err(Malformed::Mismatch));
    let metric = |fields: &[u8]| count(Signal::Metrics, &with_item(fields));
    assert_eq!(metric(&message(7, &[&uint(1, 1)])), Err(Malformed::Mismatch));
    assert_eq!(metric(&uint(7, 1)), Err(Malformed::Mismatch));
    assert_eq!(metric(&message(7, &[&uint(2, 1)])), Ok(0));
}

/// The spans of a request with what stands at the head of their groups, as text.
fn spans(request: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let mut spans = Vec::new();
    for group in each(request, GROUPS).map(|group| group.expect("whole")) {
        for scope in each(group, MEMBERS).map(|scope| scope.expect("whole")) {
            let mut heads = [Vec::new(), Vec::new()];
            put_head(&mut heads[0], group);
            put_head(&mut heads[1], scope);
            let [resource, scope_head] = heads;
            spans.extend(
                each(scope, MEMBERS).map(|span| (resource.clone(), scope_head.clone(), span.expect("whole").to_vec())),
            );
        }
    }
    spans
}

fn request(groups: &[Vec<Vec<usize>>]) -> Vec<u8> {
    let mut number = 0;
    let mut group = |scopes: &Vec<Vec<usize>>| {
        let scopes: Vec<u8> = scopes
            .iter()
            .flat_map(|spans| {
                let spans: Vec<Vec<u8>> = spans
                    .iter()
                    .map(|length| {
                        number += 1;
                        message(2, &[&message(5, &[number.to_string().as_bytes(), &vec![b'.'; *length]])])
                    })
                    .collect();
                // Half of them with the scope behind its spans, as Go's collector writes it.
                let scope = message(1, &[b"\x0a\x05scope"]);
                let (before, after) =
                    if spans.len().is_multiple_of(2) { (&scope[..], &b""[..]) } else { (&b""[..], &scope[..]) };
                message(2, &[before, &spans.concat(), after])
            })
            .collect();
        message(1, &[&scopes, &message(1, &[b"\x0a\x04\x0a\x02aa"]), &message(3, &[b"url"])])
    };
    groups.iter().flat_map(&mut group).collect()
}

#[test]
fn what_cannot_be_cut_is_passed_on_as_it_is() {
    // The head of the group takes more than its share; one span is larger than a piece.
    let large_head = message(1, &[&message(1, &[&[b'x'; 400]]), &message(2, &[&message(2, &[]), &message(2, &[])])]);
    let large_span = request(&[vec![vec![3, 5_000, 3]]]);
    let splitter = Splitter { signal: Signal::Traces, bytes_max: 1_000, items_max: 1 };
    let mut pieces = Vec::new();
    splitter.split(&large_head, |piece| pieces.push((piece.bytes.to_vec(), piece.items))).expect("whole");
    assert_eq!(pieces, [(large_head, 2)]);
    let mut lengths = Vec::new();
    splitter.split(&large_span, |piece| lengths.push((piece.bytes.len() > 1_000, piece.items))).expect("whole");
    assert_eq!(lengths, [(false, 1), (true, 1), (false, 1)]);
    assert_eq!(splitter.split(b"\x0a\x01", |_| ()), Err(Malformed::Truncated));
}

proptest! {
    #[test]
    fn property_any_bytes_are_counted_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..80),
        signal in prop::sample::select(vec![Signal::Traces, Signal::Logs, Signal::Metrics]),
    ) {
        let counted = count(signal, &bytes);
        // Joined with another it is as good or bad as alone.
        let other = with_item(&message(5, &[b"x"]));
        let joined = count(Signal::Traces, &[&bytes[..], &other].concat());
        if signal == Signal::Traces {
            prop_assert!(counted.is_err() || joined == Ok(counted.expect("taken") + 1));
        }
    }

    /// All spans are there after the cut, once each and in order, with their resources and scopes, in pieces within the limits.
    #[test]
    fn property_pieces_hold_every_span_once(
        groups in prop::collection::vec(prop::collection::vec(prop::collection::vec(0..300usize, 0..12), 0..4), 0..4),
        bytes_max in 600..3_000usize,
        items_max in 1..10usize,
    ) {
        let request = request(&groups);
        let splitter = Splitter { signal: Signal::Traces, bytes_max, items_max };
        let (mut all, mut items) = (Vec::new(), 0);
        splitter.split(&request, |piece| {
            assert!(piece.bytes.len() <= bytes_max && piece.items <= items_max, "{} {}", piece.bytes.len(), piece.items);
            assert_eq!(count(Signal::Traces, piece.bytes), Ok(piece.items));
            items += piece.items;
            all.extend_from_slice(piece.bytes);
        }).expect("whole");
        prop_assert_eq!(Ok(items), count(Signal::Traces, &request));
        prop_assert_eq!(spans(&all), spans(&request));
    }
}
