//! Tests of the way from segments to spans: documents as SDKs write them, and the spans that are expected of them.
//!
//! Promises: each rule of the table in `docs/traces.md` has a case that fails without it.
//! Never: asks a backend.

mod hostile;
mod rules;
mod there_and_back;

use serde_json::{Map, Value, json};

use super::*;
use crate::otlp::{
    value::{Any, entries, entry, fields, values},
    wire::{self, Reader},
};

/// A value of an attribute as JSON.
fn plain(value: Any<'_>) -> Value {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    match value {
        Any::Empty => Value::Null,
        Any::Text(bytes) => text(bytes).into(),
        Any::Truth(truth) => truth.into(),
        Any::Int(number) => number.into(),
        Any::Double(number) => number.into(),
        Any::List(list) => values(list).map(plain).collect(),
        Any::Map(map) => entries(map).map(|(name, value)| (text(name), plain(value))).collect(),
        Any::Bytes(_) => panic!("no bytes are written"),
    }
}

/// The attributes in the field `number`, each of which must be there once.
fn attributes(message: &[u8], number: u32) -> Value {
    let mut all = Map::new();
    for (name, value) in fields(message, number).map(entry) {
        let name = String::from_utf8(name.to_vec()).expect("text");
        assert_eq!(all.insert(name.clone(), plain(value)), None, "{name} is there twice");
    }
    all.into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A message by the names of its fields: `name`, `kind` and the like. What is not there is left out.
fn span(message: &[u8]) -> Value {
    let mut span = json!({});
    for field in Reader::new(message).map(|field| field.expect("a field")) {
        let text = |bytes: &[u8]| Value::from(String::from_utf8(bytes.to_vec()).expect("text"));
        match (field.number, field.value) {
            (1, wire::Value::Bytes(id)) => span["trace"] = hex(id).into(),
            (2, wire::Value::Bytes(id)) => span["id"] = hex(id).into(),
            (4, wire::Value::Bytes(id)) => span["parent"] = hex(id).into(),
            (5, wire::Value::Bytes(name)) => span["name"] = text(name),
            (6, wire::Value::Varint(kind)) => {
                span["kind"] = ["", "internal", "server", "client"][usize::try_from(kind).expect("a kind")].into();
            }
            (7, wire::Value::Fixed64(time)) => span["start"] = time.into(),
            (8, wire::Value::Fixed64(time)) => span["end"] = time.into(),
            (9, _) => span["attributes"] = attributes(message, 9),
            (11, wire::Value::Bytes(event)) => {
                let [time, name] = [1, 2].map(|number| {
                    Reader::new(event).flatten().find(|field| field.number == number).expect("a field").value
                });
                let wire::Value::Bytes(name) = name else { panic!("a name") };
                assert_eq!(time, wire::Value::Fixed64(span["end"].as_u64().expect("an end")));
                assert_eq!(name, b"exception");
                let events = span.as_object_mut().expect("an object").entry("events").or_insert_with(|| json!([]));
                events.as_array_mut().expect("a list").push(attributes(event, 3));
            }
            (13, wire::Value::Bytes(link)) => {
                let ids = [1, 2].map(|number| hex(fields(link, number).next().expect("an id")));
                let links = span.as_object_mut().expect("an object").entry("links").or_insert_with(|| json!([]));
                links.as_array_mut().expect("a list").push(json!([ids[0], ids[1], attributes(link, 4)]));
            }
            (15, wire::Value::Bytes(status)) => {
                assert!(Reader::new(status).flatten().any(|field| field.value == wire::Value::Varint(2)));
                span["failed"] = fields(status, 2).next().map_or("".into(), text);
            }
            (16, wire::Value::Fixed32(flags)) => span["flags"] = flags.into(),
            (number, value) => panic!("field {number}: {value:?}"),
        }
    }
    span
}

/// What became of a document: the resource of each group, its spans, and what became none.
#[derive(Debug)]
struct Made {
    resources: Vec<Value>,
    spans: Vec<Value>,
    unmade: Vec<Unmade>,
}

fn made(document: &[u8]) -> Made {
    made_by(document, &mut Services::default())
}

/// The same where `services` know something.
fn made_by(document: &[u8], services: &mut Services) -> Made {
    let (mut out, mut unmade) = (b"before".to_vec(), Vec::new());
    let count = request(document, services, &mut out, &mut |why| unmade.push(why));
    let request = out.strip_prefix(b"before").expect("what was there stays");
    assert_eq!(walk::count(Signal::Traces, request), Ok(count), "as many as it says");
    let groups = || fields(request, GROUPS);
    let resources = groups().map(|group| attributes(fields(group, HEAD).next().expect("a resource"), 1)).collect();
    let spans = groups().flat_map(|group| fields(group, MEMBERS)).flat_map(|scope| fields(scope, MEMBERS)).map(span);
    Made { resources, spans: spans.collect(), unmade }
}

const TRACE: &str = "1-58406520-a006649127e371903a2de979";

/// A segment with `members` beside what each must have.
fn segment(members: Value) -> Value {
    let mut segment = json!({
        "name": "shop", "id": "00000000000000aa", "trace_id": TRACE, "start_time": 1_478_293_361.271, "end_time": 1_478_293_361.449,
    });
    let Value::Object(members) = members else { panic!("members") };
    segment.as_object_mut().expect("an object").extend(members);
    segment
}

/// The one span of a document and its resource.
fn one(document: &Value) -> (Value, Value) {
    let Made { resources, spans, unmade } = made(document.to_string().as_bytes());
    assert_eq!((resources.len(), spans.len(), unmade), (1, 1, vec![]), "{document}");
    (spans[0].clone(), resources[0].clone())
}

/// The attributes of the one span of a subsegment that comes alone.
fn attributes_of(members: Value) -> Value {
    let mut document = segment(members);
    document["type"] = "subsegment".into();
    document["parent_id"] = "00000000000000bb".into();
    one(&document).0.get("attributes").cloned().unwrap_or_default()
}
