//! What must hold of any bytes on a forward connection when parts of them are secrets.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::{
    logs::{
        forward::frame::{EntryReader, Finder, Frame},
        mask::{Mask, Masks, Plain, Secret},
        record::Record,
    },
    tell::counters::Counters,
};

/// The largest message, here.
const BYTES_MAX: usize = 1 << 20;

/// Checks `bytes` as a stream in which some of its own parts are secrets, however it is cut.
pub(crate) fn check(bytes: &[u8]) {
    // Places that the input itself decides on, so that a run can be repeated.
    let seed = bytes.iter().fold(bytes.len(), |sum, &byte| sum.wrapping_mul(31).wrapping_add(usize::from(byte)));
    let part = |number: usize| {
        let start = seed.wrapping_mul(2 * number + 1) / 7 % bytes.len().max(1);
        let length = 8 + seed / (number + 1) % 33;
        bytes[start..(start + length).min(bytes.len())].to_vec()
    };
    let values: Vec<Vec<u8>> = (0..4).map(part).collect();
    let masks = Masks::new(&Counters::new());
    masks.replace(&values.iter().map(|value| secret(value)).collect::<Vec<_>>());
    let whole = masked(&masks, bytes, &[bytes.len().max(1)]);
    // Each piece has the end of what was searched before it searched again: many pieces are for short streams.
    let few = bytes.len() / 16 + 1;
    for cuts in [&[few][..], &[7 + few, 1, 64 + few, 3], &[seed % 61 + few, seed / 61 % 251 + 1]] {
        assert_eq!(masked(&masks, bytes, cuts), whole, "cut as {cuts:?}");
    }
    let before: Vec<u8> = masked(&Masks::new(&Counters::new()), bytes, &[bytes.len().max(1)]).concat();
    let after = whole.concat();
    assert_eq!(before.len(), after.len(), "the same messages");
    assert!(before.iter().zip(&after).all(|(before, after)| before == after || *after == b'*'), "masked, nothing else");
    for message in &whole {
        shows_none(message, &values);
    }
}

fn secret(value: &[u8]) -> Secret {
    let (name, called, version) = ("s".into(), String::new(), format!("{value:?}"));
    Secret { name, called, version, value: Plain::new(value.to_vec()).into(), mask: Mask::Always }
}

/// The messages of `stream`, masked, if it comes in pieces of the sizes `cuts`; up to the first that is not well-formed.
fn masked(masks: &Masks, stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
    let (mut masker, mut finder) = (masks.masker(), Finder::default());
    let (mut buffer, mut rest, mut messages) = (Vec::new(), stream, Vec::new());
    for cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at(rest.len().min(*cut));
        buffer.extend_from_slice(piece);
        rest = after;
        masker.messages(&mut buffer, &mut finder, BYTES_MAX, |_, _| {});
        let mut taken = 0;
        loop {
            match finder.find(&buffer[taken..], BYTES_MAX) {
                Ok(Some(length)) if is_well_formed(&buffer[taken..taken + length]) => {
                    messages.push(buffer[taken..taken + length].to_vec());
                    taken += length;
                }
                Ok(None) => break,
                _ => return messages,
            }
        }
        masker.taken(taken);
        buffer.drain(..taken);
        if rest.is_empty() {
            break;
        }
    }
    messages
}

fn is_well_formed(message: &[u8]) -> bool {
    let read = match Frame::parse(message) {
        Ok(Frame::Message(read)) => read,
        Ok(Frame::Heartbeat) => return true,
        Err(_) => return false,
    };
    let mut reader = EntryReader::new(read.entries);
    let mut record = Record::default();
    loop {
        match reader.next_into(&mut record) {
            Ok(true) => {}
            Ok(false) => return true,
            Err(_) => return read.is_compressed(),
        }
    }
}

/// No text of a record holds a value that was to be masked.
fn shows_none(message: &[u8], values: &[Vec<u8>]) {
    let Ok(Frame::Message(read)) = Frame::parse(message) else { return };
    if read.is_compressed() {
        return;
    }
    let mut reader = EntryReader::new(read.entries);
    let mut record = Record::default();
    // One line of text that is no document and no number is looked for as it is.
    let is_plain = |value: &&Vec<u8>| {
        let text = value.len() >= 8 && value.iter().all(|byte| byte.is_ascii_graphic());
        text && !b"{[\"*".iter().any(|byte| value.contains(byte)) && value.iter().any(|byte| b"fghjk".contains(byte))
    };
    let plain: Vec<&Vec<u8>> = values.iter().filter(is_plain).collect();
    while let Ok(true) = reader.next_into(&mut record) {
        for text in record.pairs.iter().filter_map(|pair| pair.value.text()) {
            for value in &plain {
                assert!(!text.windows(value.len()).any(|part| part == &value[..]), "{value:?} is shown in {text:?}");
            }
        }
    }
}
