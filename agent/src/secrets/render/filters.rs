//! The filters of templates.
//!
//! Promises: a value cannot end the word, the string or the line that its filter makes of it. The result is at most as large
//! as a file.
//! Never: takes a list or an object, but for `json`; takes what is not there.

use std::borrow::Cow;

use minijinja::{Error, ErrorKind, Output, State, Value, value::ValueKind};

use super::{super::value::Value as Secret, What, buffer::Buffer, properties, template::Spelled, url};

/// Letters of base64 (RFC 4648, section 4).
const BASE64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Percent-encoded.
pub(super) fn pct(value: &Value) -> Result<String, Error> {
    written(value, url::encode)
}

/// In base64.
pub(super) fn b64(value: &Value) -> Result<String, Error> {
    written(value, |text, out| {
        for three in text.as_bytes().chunks(3) {
            let bits = three.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - three.len()));
            for at in 0..4 {
                let letter = BASE64[(bits >> (18 - 6 * at)) as usize & 63];
                out.push_char(if at > three.len() { '=' } else { char::from(letter) });
            }
        }
    })
}

/// One word of a shell.
pub(super) fn shell(value: &Value) -> Result<String, Error> {
    written(value, |text, out| {
        out.push("'");
        for letter in text.chars() {
            match letter {
                '\'' => out.push(r"'\''"),
                _ => out.push_char(letter),
            }
        }
        out.push("'");
    })
}

/// A value of Java properties.
pub(super) fn props(value: &Value) -> Result<String, Error> {
    written(value, properties::value_into)
}

/// JSON.
pub(super) fn json(value: &Value) -> Result<String, Error> {
    let mut out = Buffer::default();
    write_json(value, &mut out)?;
    text(out)
}

/// What `{{ }}` prints: text, numbers and booleans as JSON has them, and nothing else. The engine's own way to write a list
/// or null is Python's.
pub(super) fn print(out: &mut Output<'_>, _: &State<'_, '_>, value: &Value) -> Result<(), Error> {
    let plain = plain(value).ok_or_else(|| kind(value))?;
    out.write_str(&plain).map_err(|_| ErrorKind::WriteFailure.into())
}

fn written(value: &Value, write: impl FnOnce(&str, &mut Buffer)) -> Result<String, Error> {
    let mut out = Buffer::default();
    write(&plain(value).ok_or_else(|| kind(value))?, &mut out);
    text(out)
}

/// Text, a number or a boolean, as JSON has it.
fn plain(value: &Value) -> Option<Cow<'_, str>> {
    if let Some(text) = value.as_str() {
        return Some(Cow::Borrowed(text));
    }
    match value.kind() {
        ValueKind::Bool => Some(Cow::Borrowed(if value.is_true() { "true" } else { "false" })),
        ValueKind::Number => Some(Cow::Owned(value.to_string())),
        _ => value.downcast_object_ref::<Spelled>().map(|spelled| Cow::Borrowed(spelled.as_str())),
    }
}

fn write_json(value: &Value, out: &mut Buffer) -> Result<(), Error> {
    // A list of the template's own can hold the same long text again and again.
    if out.is_overflown() {
        return Ok(());
    }
    match value.kind() {
        ValueKind::None => out.push("null"),
        ValueKind::String => write_text(value, out)?,
        ValueKind::Number if f64::try_from(value.clone()).is_ok_and(|number| !number.is_finite()) => {
            return Err(kind(value));
        }
        ValueKind::Seq => {
            out.push("[");
            for (at, item) in value.try_iter()?.enumerate() {
                out.push(if at > 0 { "," } else { "" });
                write_json(&item, out)?;
            }
            out.push("]");
        }
        ValueKind::Map => {
            out.push("{");
            for (at, name) in value.try_iter()?.enumerate() {
                out.push(if at > 0 { "," } else { "" });
                write_text(&name, out)?;
                out.push(":");
                write_json(&value.get_item(&name)?, out)?;
            }
            out.push("}");
        }
        _ => out.push(&plain(value).ok_or_else(|| kind(value))?),
    }
    Ok(())
}

fn write_text(value: &Value, out: &mut Buffer) -> Result<(), Error> {
    let text = value.as_str().ok_or_else(|| kind(value))?;
    serde_json::to_writer(&mut *out, text).or(if out.is_overflown() { Ok(()) } else { Err(kind(value)) })
}

/// What is not there is one thing, what a filter cannot take another.
fn kind(value: &Value) -> Error {
    if value.is_undefined() { ErrorKind::UndefinedError.into() } else { ErrorKind::InvalidOperation.into() }
}

fn text(out: Buffer) -> Result<String, Error> {
    let refused = |what: What| match what {
        What::TooLarge => Error::from(ErrorKind::WriteFailure),
        _ => ErrorKind::InvalidOperation.into(),
    };
    let bytes: Secret = out.finish().map_err(refused)?;
    bytes.expose_text().map(str::to_owned).ok_or_else(|| ErrorKind::InvalidOperation.into())
}
