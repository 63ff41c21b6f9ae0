//! Messages of protobuf written by hand, for tests.
//!
//! Promises: one function for each kind of field.
//! Never: knows what a field means.

use super::wire::{put_bytes, put_fixed64, put_uint};

/// A field that holds these parts, one behind the other.
pub(crate) fn message(number: u32, parts: &[impl AsRef<[u8]>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, number, &parts.iter().flat_map(|part| part.as_ref().iter().copied()).collect::<Vec<_>>());
    out
}

/// A field with text.
pub(crate) fn text(number: u32, text: &str) -> Vec<u8> {
    message(number, &[text])
}

/// A field with a whole number.
pub(crate) fn uint(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, number, value);
    out
}

/// A field of eight bytes.
pub(crate) fn fixed(number: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_fixed64(&mut out, number, value);
    out
}

/// A field of numbers of eight bytes each, packed.
pub(crate) fn packed(number: u32, values: &[u64]) -> Vec<u8> {
    message(number, &[values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()])
}

/// An attribute with text.
pub(crate) fn attribute(number: u32, key: &str, value: &str) -> Vec<u8> {
    message(number, &[text(1, key), message(2, &[text(1, value)])])
}
