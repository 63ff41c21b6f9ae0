//! Tests of the mapping: spans written as JSON, made protobuf here, and the documents that are expected of them, written by hand.
//!
//! Promises: each rule of the table in `docs/traces.md` has a case that fails without it.
//! Never: asks X-Ray.

mod blocks;
mod causes;
mod hostile;
mod structure;

use serde_json::{Value, json};

use super::*;
use crate::otlp::wire::{begin, end, put_bytes, put_fixed64, put_uint};

/// Appends a value of an attribute.
fn put_any(out: &mut Vec<u8>, number: u32, value: &Value) {
    let begun = begin(out, number);
    match value {
        Value::Null => {}
        Value::String(text) => put_bytes(out, 1, text.as_bytes()),
        Value::Bool(truth) => put_uint(out, 2, u64::from(*truth)),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => put_uint(out, 3, whole.cast_unsigned()),
            None => put_fixed64(out, 4, number.as_f64().expect("a number").to_bits()),
        },
        Value::Array(list) => {
            let begun = begin(out, 5);
            list.iter().for_each(|value| put_any(out, 1, value));
            end(out, begun);
        }
        Value::Object(map) => {
            let begun = begin(out, 6);
            put_attributes(out, 1, &Value::Object(map.clone()));
            end(out, begun);
        }
    }
    end(out, begun);
}

fn put_attributes(out: &mut Vec<u8>, number: u32, attributes: &Value) {
    for (name, value) in attributes.as_object().into_iter().flatten() {
        let begun = begin(out, number);
        put_bytes(out, 1, name.as_bytes());
        put_any(out, 2, value);
        end(out, begun);
    }
}

const TRACE: [u8; 16] = [0x65, 0x53, 0xf1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

/// A span out of the members of `span`: kind, name, parent, attributes, events, links, status.
pub(in crate::traces) fn span(span: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &TRACE);
    put_bytes(&mut out, 2, &0x11_u64.to_be_bytes());
    if let Some(parent) = span["parent"].as_u64() {
        put_bytes(&mut out, 4, &parent.to_be_bytes());
    }
    put_bytes(&mut out, 5, span["name"].as_str().unwrap_or("its name").as_bytes());
    let kinds = ["unspecified", "internal", "server", "client", "producer", "consumer"];
    let kind = kinds.iter().position(|kind| span["kind"] == *kind).unwrap_or(0);
    put_uint(&mut out, 6, kind as u64);
    put_fixed64(&mut out, 7, 1_700_000_000_250_000_000);
    put_fixed64(&mut out, 8, 1_700_000_001_000_000_001);
    put_attributes(&mut out, 9, &span["attributes"]);
    for event in span["events"].as_array().into_iter().flatten() {
        let begun = begin(&mut out, 11);
        put_fixed64(&mut out, 1, 1_700_000_000_500_000_000);
        put_bytes(&mut out, 2, event["name"].as_str().expect("a name").as_bytes());
        put_attributes(&mut out, 3, &event["attributes"]);
        end(&mut out, begun);
    }
    for link in span["links"].as_array().into_iter().flatten() {
        let begun = begin(&mut out, 13);
        put_bytes(&mut out, 1, &TRACE);
        put_bytes(&mut out, 2, &0x22_u64.to_be_bytes());
        put_attributes(&mut out, 4, link);
        end(&mut out, begun);
    }
    if let Some(message) = span["failed"].as_str() {
        let begun = begin(&mut out, 15);
        put_bytes(&mut out, 2, message.as_bytes());
        put_uint(&mut out, 3, 2);
        end(&mut out, begun);
    }
    out
}

/// A resource group with these attributes, behind its spans.
pub(in crate::traces) fn group(attributes: &Value) -> Vec<u8> {
    let mut out = b"\x12\x00".to_vec();
    let begun = begin(&mut out, HEAD);
    put_attributes(&mut out, 1, attributes);
    end(&mut out, begun);
    out
}

/// The documents of `span` and whether they are whole.
fn mapped(settings: &Settings, resource: &Value, span: &[u8]) -> Vec<(Value, Fit, usize)> {
    let group = group(resource);
    let mut documents = Vec::new();
    Mapper::new(Arc::new(settings.clone()))
        .map(&Resource::read(&group), span, |document, fit| {
            let value = serde_json::from_slice(document);
            documents.push((value.expect("JSON"), fit, document.len()));
        })
        .expect("ids");
    documents
}

fn documents(resource: &Value, members: &Value) -> Vec<Value> {
    mapped(&Settings::default(), resource, &span(members)).into_iter().map(|(document, ..)| document).collect()
}

/// The one document of a span.
fn document(resource: &Value, members: &Value) -> Value {
    let mut documents = documents(resource, members);
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

/// A client's span with these attributes.
fn client(attributes: Value) -> Value {
    json!({"kind": "client", "attributes": attributes})
}

fn server(attributes: Value) -> Value {
    json!({"kind": "server", "attributes": attributes})
}
