//! Tests of OTLP as JSON.
//!
//! Promises: the specification's own example as bytes written by hand; what the collector takes and refuses; a property that goes from
//! protobuf to JSON and back.
//! Never: shares the table of fields with what is written by hand.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::otlp::{
    by_hand::{fixed, message, uint},
    schema::{LOGS, METRICS, TRACES},
    walk::count,
    wire::{Reader, Value as Wire, put_header},
};

fn transcoded(signal: Signal, text: &str) -> Result<Vec<u8>, NotJson> {
    let mut out = b"before".to_vec();
    let outcome = transcode(signal, text.as_bytes(), 1 << 20, &mut out);
    assert_eq!(&out[..6], b"before");
    assert!(outcome.is_ok() || out.len() == 6, "an error leaves nothing behind");
    outcome.map(|()| out.split_off(6))
}

/// The example of the specification, `examples/trace.json`.
const EXAMPLE: &str = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"my.service"}}]},
    "scopeSpans":[{"scope":{"name":"shop.tracer","version":"1.0.0","attributes":[{"key":"tracer.kind","value":{"stringValue":"manual"}}]},
    "spans":[{"traceId":"5B8EFFF798038103D269B633813FC60C","spanId":"EEE19B7EC3C1B174","parentSpanId":"EEE19B7EC3C1B173",
    "name":"I'm a server span","startTimeUnixNano":"1544712660000000000","endTimeUnixNano":"1544712661000000000","kind":2,
    "attributes":[{"key":"my.span.attr","value":{"stringValue":"some value"}}]}]}]}]}"#;

#[test]
fn the_example_of_the_specification_becomes_what_a_client_would_send() {
    let attribute = |number, key: &str, value: &str| {
        message(number, &[&message(1, &[key.as_bytes()]), &message(2, &[&message(1, &[value.as_bytes()])])])
    };
    let trace = [0x5b, 0x8e, 0xff, 0xf7, 0x98, 3, 0x81, 3, 0xd2, 0x69, 0xb6, 0x33, 0x81, 0x3f, 0xc6, 0x0c];
    let span = [
        message(1, &[&trace]),
        message(2, &[&[0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x74]]),
        message(4, &[&[0xee, 0xe1, 0x9b, 0x7e, 0xc3, 0xc1, 0xb1, 0x73]]),
        message(5, &[b"I'm a server span"]),
        fixed(7, 1_544_712_660_000_000_000),
        fixed(8, 1_544_712_661_000_000_000),
        uint(6, 2),
        attribute(9, "my.span.attr", "some value"),
    ]
    .concat();
    let scope =
        [message(1, &[b"shop.tracer"]), message(2, &[b"1.0.0"]), attribute(3, "tracer.kind", "manual")].concat();
    let resource = message(1, &[&attribute(1, "service.name", "my.service")]);
    let expected = message(1, &[&resource, &message(2, &[&message(1, &[&scope]), &message(2, &[&span])])]);
    assert_eq!(transcoded(Signal::Traces, EXAMPLE), Ok(expected));
}

/// A request with one span that has these members.
fn with_span(members: &str) -> String {
    format!(r#"{{"resourceSpans":[{{"scopeSpans":[{{"spans":[{{{members}}}]}}]}}]}}"#)
}

fn span_of(fields: &[u8]) -> Vec<u8> {
    message(1, &[&message(2, &[&message(2, &[fields])])])
}

#[test]
fn members_are_read_as_the_collector_reads_them() {
    let value = |fields: &[u8]| message(9, &[&message(1, &[b"k"]), &message(2, &[fields])]);
    let attribute = |value: &str| format!(r#""attributes":[{{"key":"k","value":{value}}}]"#);
    let double = |number: f64| value(&fixed(4, number.to_bits()));
    for (members, expected) in [
        (r#""kind":"SPAN_KIND_CONSUMER""#.to_owned(), uint(6, 5)),
        (r#""kind":99"#.to_owned(), uint(6, 99)),
        (r#""kind":0,"name":"","traceId":"","flags":0,"startTimeUnixNano":0"#.to_owned(), vec![]),
        (r#""start_time_unix_nano":7,"end_time_unix_nano":"8""#.to_owned(), [fixed(7, 7), fixed(8, 8)].concat()),
        (
            r#""status":{"code":"STATUS_CODE_ERROR","message":"m"}"#.to_owned(),
            message(15, &[&uint(3, 2), &message(2, &[b"m"])]),
        ),
        (r#""status":{}"#.to_owned(), message(15, &[""])),
        (r#""attributes":null,"status":null,"name":null,"kind":null,"links":[null]"#.to_owned(), vec![]),
        (r#""unknown":{"a":[1,{"b":null}]},"name":"n""#.to_owned(), message(5, &[b"n"])),
        (r#""droppedAttributesCount":"3""#.to_owned(), uint(10, 3)),
        (r#""flags":257"#.to_owned(), vec![0x85, 0x01, 1, 1, 0, 0]),
        (attribute(r#"{"intValue":"-7"}"#), value(&uint(3, (-7_i64).cast_unsigned()))),
        (attribute(r#"{"intValue":0}"#), value(&uint(3, 0))),
        (attribute(r#"{"boolValue":false}"#), value(&uint(2, 0))),
        (attribute(r#"{"stringValue":""}"#), value(&message(1, &[""]))),
        (attribute(r#"{"doubleValue":"NaN"}"#), double(f64::NAN)),
        (attribute(r#"{"doubleValue":"-Infinity"}"#), double(f64::NEG_INFINITY)),
        (attribute(r#"{"doubleValue":"3.5"}"#), double(3.5)),
        (attribute(r#"{"doubleValue":3}"#), double(3.0)),
        (attribute(r#"{"bytesValue":"AP8="}"#), value(&message(7, &[&[0, 255]]))),
        (attribute(r#"{"bytesValue":"-_8"}"#), value(&message(7, &[&[251, 255]]))),
        (attribute(r#"{"arrayValue":{}}"#), value(&message(5, &[""]))),
        (
            attribute(r#"{"array_value":{"values":[{"intValue":1},{}]}}"#),
            value(&message(5, &[&message(1, &[&uint(3, 1)]), &message(1, &[""])])),
        ),
        (
            attribute(r#"{"kvlistValue":{"values":[{"key":"a"}]}}"#),
            value(&message(6, &[&message(1, &[&message(1, &[b"a"])])])),
        ),
        (attribute("{}"), value(&[])),
        (attribute(r#"{"stringValue":"\u20ac\ud83d\ude00"}"#), value(&message(1, &["\u{20ac}\u{1f600}".as_bytes()]))),
    ] {
        assert_eq!(transcoded(Signal::Traces, &with_span(&members)), Ok(span_of(&expected)), "{members}");
    }
    for empty in ["{}", r#"{"resourceSpans":[]}"#, r#"{"resourceSpans":null}"#, " \n{ } "] {
        assert_eq!(transcoded(Signal::Traces, empty), Ok(vec![]), "{empty}");
    }
}

#[test]
fn what_the_collector_refuses_is_refused_without_a_word_of_what_was_sent() {
    let attribute = |value: &str| format!(r#""attributes":[{{"key":"k","value":{value}}}]"#);
    for members in [
        r#""kind":"2""#.to_owned(),
        r#""kind":"CANARY""#.to_owned(),
        r#""kind":2.0"#.to_owned(),
        r#""traceId":"W47/95gDgQPSabYzgT/GDA==""#.to_owned(),
        r#""traceId":"5b8e""#.to_owned(),
        r#""spanId":"EEE19B7EC3C1B174EEE19B7EC3C1B174""#.to_owned(),
        r#""traceId":7"#.to_owned(),
        r#""startTimeUnixNano":-1"#.to_owned(),
        r#""startTimeUnixNano":"18446744073709551616""#.to_owned(),
        r#""startTimeUnixNano":1.5"#.to_owned(),
        r#""startTimeUnixNano":1e3"#.to_owned(),
        r#""flags":4294967296"#.to_owned(),
        r#""name":1"#.to_owned(),
        r#""name":["CANARY"]"#.to_owned(),
        r#""name":{}"#.to_owned(),
        r#""attributes":{}"#.to_owned(),
        r#""attributes":"CANARY""#.to_owned(),
        r#""attributes":["CANARY"]"#.to_owned(),
        r#""attributes":[[]]"#.to_owned(),
        r#""status":[]"#.to_owned(),
        r#""status":3"#.to_owned(),
        attribute(r#"{"intValue":7.0}"#),
        attribute(r#"{"intValue":"9223372036854775808"}"#),
        attribute(r#"{"intValue":true}"#),
        attribute(r#"{"boolValue":"true"}"#),
        attribute(r#"{"boolValue":1}"#),
        attribute(r#"{"doubleValue":"CANARY"}"#),
        attribute(r#"{"bytesValue":"A"}"#),
        attribute(r#"{"bytesValue":"%%%%"}"#),
    ] {
        let refused = transcoded(Signal::Traces, &with_span(&members)).expect_err(&members);
        assert!(matches!(refused, NotJson::Value { line: 1, .. }), "{members}: {refused:?}");
        assert!(!refused.to_string().contains("CANARY"), "{refused}");
    }
    let deep = r#"{"arrayValue":{"values":["#.repeat(60) + "{}" + &"]}}".repeat(60);
    for text in ["", "{", "nul", "{}x", "{}{}", r#"{"a"}"#, "{\"a\":\"\u{1}\"}", &with_span(&attribute(&deep))] {
        let refused = transcoded(Signal::Traces, text).expect_err(text);
        assert!(matches!(refused, NotJson::Syntax { .. }), "{text}: {refused:?}");
    }
    for text in ["[]", "null", "7", "\"x\""] {
        assert!(matches!(transcoded(Signal::Traces, text), Err(NotJson::Value { .. })), "{text}");
    }
    // Text that is not UTF-8, where it would be kept; what is passed over is not looked at.
    let mut out = Vec::new();
    let refused = transcode(Signal::Traces, b"{\"resourceSpans\":[{\"schemaUrl\":\"\xff\"}]}", 99, &mut out);
    assert!(matches!(refused, Err(NotJson::Syntax { .. })), "{refused:?}");
    assert_eq!(transcode(Signal::Traces, b"{\"a\":\"\xff\"}", 99, &mut out), Ok(()));
}

#[test]
fn a_request_is_never_larger_than_was_allowed() {
    let buckets = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"histogram":{{"dataPoints":[{{"bucketCounts":[{}1]}}]}}}}]}}]}}]}}"#,
        "1,".repeat(100_000)
    );
    let mut out = b"!".to_vec();
    assert_eq!(transcode(Signal::Metrics, buckets.as_bytes(), 400_000, &mut out), Err(NotJson::TooLarge));
    assert_eq!(out, b"!");
    assert!(out.capacity() < 2_000_000, "nothing was made beyond it: {}", out.capacity());
    assert_eq!(transcode(Signal::Metrics, buckets.as_bytes(), 900_000, &mut out), Ok(()));
    assert_eq!(count(Signal::Metrics, &out[1..]), Ok(1));
}

/// Metrics and logs, with every kind of number.
#[test]
fn numbers_lie_as_their_fields_say() {
    let text = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"g","gauge":{"dataPoints":[{"asInt":"-2","timeUnixNano":1},{"asDouble":0}]}},
        {"sum":{"aggregationTemporality":"AGGREGATION_TEMPORALITY_DELTA","isMonotonic":true,"dataPoints":[]}},
        {"exponential_histogram":{"dataPoints":[{"scale":-1,"sum":0,"positive":{"offset":1,"bucketCounts":["300",0]}}]}},
        {"histogram":{"dataPoints":[{"count":"2","explicitBounds":[0.5,"Infinity"],"bucketCounts":[1,"1"]}]}}]}]}]}"#;
    let point = |fields: &[Vec<u8>]| message(1, &[&fields.concat()]);
    let packed = |numbers: &[u64]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let metrics = [
        message(
            2,
            &[
                &message(1, &[b"g"]),
                &message(5, &[&point(&[fixed(6, (-2_i64).cast_unsigned()), fixed(3, 1)]), &point(&[fixed(4, 0)])]),
            ],
        ),
        message(2, &[&message(7, &[&uint(2, 1), &uint(3, 1)])]),
        message(
            2,
            &[&message(
                10,
                &[&point(&[uint(6, 1), fixed(5, 0), message(8, &[&uint(1, 2), &message(2, &[&[0xac, 0x02, 0]])])])],
            )],
        ),
        message(
            2,
            &[&message(
                9,
                &[&point(&[
                    fixed(4, 2),
                    message(7, &[&packed(&[0.5_f64.to_bits(), f64::INFINITY.to_bits()])]),
                    message(6, &[&packed(&[1, 1])]),
                ])],
            )],
        ),
    ];
    assert_eq!(transcoded(Signal::Metrics, text), Ok(message(1, &[&message(2, &[&metrics.concat()])])));
    let text = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[
        {"severityNumber":"SEVERITY_NUMBER_WARN","body":{"stringValue":"b"},"spanId":"0102030405060708","eventName":"e"}]}]}]}"#;
    let record = [
        uint(2, 13),
        message(5, &[&message(1, &[b"b"])]),
        message(10, &[&[1, 2, 3, 4, 5, 6, 7, 8]]),
        message(12, &[b"e"]),
    ];
    assert_eq!(transcoded(Signal::Logs, text), Ok(span_of(&record.concat())));
}

/// Any bytes of a message, made of the table: `choice` gives numbers to choose by.
fn make(message: &'static Message, choice: &mut impl FnMut() -> u64, depth: usize, out: &mut Vec<u8>) {
    for field in message.fields {
        let times = if field.times == Times::Many { choice() % 3 } else { choice() % 2 };
        if is_packed(field.kind) && field.times == Times::Many {
            let numbers: Vec<u64> = (0..times).map(|_| choice()).collect();
            let mut packed = Vec::new();
            match field.kind {
                Kind::Uint64 => numbers.iter().for_each(|number| put_varint(&mut packed, *number)),
                Kind::Double => numbers.iter().for_each(|number| packed.extend(double_of(*number).to_le_bytes())),
                _ => numbers.iter().for_each(|number| packed.extend(number.to_le_bytes())),
            }
            if times > 0 {
                put_bytes(out, field.number, &packed);
            }
            continue;
        }
        for _ in 0..times {
            let number = choice();
            match field.kind {
                Kind::Text => put_bytes(out, field.number, format!("t{number}\n\u{20ac}").as_bytes()),
                Kind::Bytes => put_bytes(out, field.number, &number.to_le_bytes()[..(number % 8) as usize + 1]),
                Kind::Id(length) => put_bytes(out, field.number, &vec![number as u8; length]),
                Kind::Truth => put_uint(out, field.number, 1),
                Kind::Uint32 | Kind::Zigzag32 => put_uint(out, field.number, (number % 0xffff_ffff) + 1),
                Kind::Uint64 | Kind::Int64 => put_uint(out, field.number, number.max(1)),
                Kind::Name(names) => put_uint(out, field.number, number % (names.len() as u64 + 2) + 1),
                Kind::Fixed32 => put_fixed32(out, field.number, number as u32 | 1),
                Kind::Fixed64 | Kind::Signed64 => put_fixed64(out, field.number, number | 1),
                Kind::Double => put_fixed64(out, field.number, double_of(number).to_bits()),
                Kind::Message(inner) => {
                    let mut bytes = Vec::new();
                    if depth > 0 {
                        make(inner, choice, depth - 1, &mut bytes);
                    }
                    put_header(out, field.number, bytes.len());
                    out.extend(bytes);
                }
            }
        }
    }
}

/// One that serde_json reads exactly: of those with more than 15 digits the last bit may be another one.
fn double_of(number: u64) -> f64 {
    f64::from(number as u32) + 1.5
}

fn base64_of(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digits = |three: &[u8]| {
        let bits = three.iter().chain([&0, &0]).take(3).fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        (0..=three.len())
            .map(move |digit| char::from(DIGITS[(bits >> (18 - 6 * digit)) as usize & 63]))
            .collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

/// A message as JSON, in one of the ways it may be written.
fn to_json(message: &'static Message, bytes: &[u8], way: bool) -> Value {
    let mut members = Map::new();
    for read in Reader::new(bytes).map(|field| field.expect("whole")) {
        let field = message.fields.iter().find(|field| field.number == read.number).expect("known");
        let whole = |number: i128| {
            if way { json!(number.to_string()) } else { serde_json::from_str(&number.to_string()).expect("a number") }
        };
        let double = |number: f64| if way { json!(number.to_string()) } else { json!(number) };
        let value = match (field.kind, read.value) {
            (Kind::Text, Wire::Bytes(text)) => json!(String::from_utf8(text.to_vec()).expect("text")),
            (Kind::Bytes, Wire::Bytes(bytes)) => json!(base64_of(bytes)),
            (Kind::Id(_), Wire::Bytes(id)) => {
                json!(
                    id.iter()
                        .map(|byte| if way { format!("{byte:02X}") } else { format!("{byte:02x}") })
                        .collect::<String>()
                )
            }
            (Kind::Message(inner), Wire::Bytes(bytes)) => to_json(inner, bytes, way),
            (Kind::Truth, Wire::Varint(number)) => json!(number != 0),
            (Kind::Name(names), Wire::Varint(number)) => match names.get(number as usize).filter(|_| way) {
                Some(name) => json!(name),
                None => json!(number),
            },
            (Kind::Zigzag32, Wire::Varint(number)) => whole(i128::from((number as i64 >> 1) ^ -(number as i64 & 1))),
            (Kind::Int64, Wire::Varint(number)) => whole(i128::from(number.cast_signed())),
            (Kind::Signed64, Wire::Fixed64(number)) => whole(i128::from(number.cast_signed())),
            (Kind::Double, Wire::Fixed64(bits)) => double(f64::from_bits(bits)),
            (_, Wire::Varint(number) | Wire::Fixed64(number)) => whole(i128::from(number)),
            (_, Wire::Fixed32(number)) => whole(i128::from(number)),
            (Kind::Uint64, Wire::Bytes(packed)) => {
                let mut reader = Reader::new(packed);
                json!(
                    std::iter::from_fn(|| reader.varint().ok())
                        .map(|number| whole(i128::from(number)))
                        .collect::<Vec<_>>()
                )
            }
            (kind, Wire::Bytes(packed)) => {
                let numbers = packed.as_chunks::<8>().0.iter();
                json!(
                    numbers
                        .map(|eight| match kind {
                            Kind::Double => double(f64::from_le_bytes(*eight)),
                            _ => whole(i128::from(u64::from_le_bytes(*eight))),
                        })
                        .collect::<Vec<_>>()
                )
            }
        };
        let name = if way { field.name.to_owned() } else { camel(field.name) };
        if field.times == Times::Many && !is_packed(field.kind) {
            members.entry(name).or_insert_with(|| json!([])).as_array_mut().expect("a list").push(value);
        } else {
            members.insert(name, value);
        }
    }
    Value::Object(members)
}

fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

proptest! {
    #[test]
    fn property_protobuf_becomes_json_and_protobuf_again(seed: u64, way: bool, which in 0..3usize) {
        let mut random = fastrand::Rng::with_seed(seed);
        let (signal, message) = [(Signal::Traces, &TRACES), (Signal::Logs, &LOGS), (Signal::Metrics, &METRICS)][which];
        let mut bytes = Vec::new();
        make(message, &mut || random.u64(..) >> (random.u8(..) % 64), 8, &mut bytes);
        let json = to_json(message, &bytes, way);
        let again = transcoded(signal, &json.to_string()).expect("is taken");
        prop_assert_eq!(again.len(), bytes.len());
        prop_assert_eq!(to_json(message, &again, way), json);
        prop_assert_eq!(count(signal, &again), count(signal, &bytes));
    }

    #[test]
    fn property_any_text_is_refused_or_becomes_a_request(text in "[\\[\\]{}\":,a-z0-9.\\-]{0,60}", members in "[\\[\\]{}\":,a-zA-Z0-9.\\-]{0,30}") {
        for text in [text, with_span(&members)] {
            if let Ok(bytes) = transcoded(Signal::Traces, &text) {
                prop_assert!(count(Signal::Traces, &bytes).is_ok(), "{}", text);
            }
        }
    }
}
