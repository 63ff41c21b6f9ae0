//! Templates in the language of Jinja, as far as a secret's file needs it.
//!
//! ```text
//! {{ secret.password | shell }}     one secret: `secret` is its JSON object, or its text if it is none
//! {{ db.password }}                 several: each by its name, or `secrets["my-db"]` for a name with `-`
//! {% if opt is defined %}           and else, elif, for, raw. No set, with, macro, include: nothing that keeps a value
//! ```
//!
//! Filters: `pct` (percent-encoded), `b64`, `json`, `shell` (one word in single quotes), `props` (a value of Java properties).
//! What is not there is an error, and so is printing null, a list or an object but with `json`. A boolean is printed as JSON
//! has it, but `~` makes `True` of it: that is the engine's. Nothing is escaped by itself. The text's own last line break stays.
//!
//! A template is bounded before it runs: [`tags::check`] refuses what can make much of little. Steps and the file's size are
//! bounded while it runs.
//!
//! Promises: a fault has a line and a sentence from a closed list. Numbers appear as the secret has them.
//! Never: knows a file, the environment, the time or chance.

use std::{collections::BTreeMap, fmt, sync::Arc};

use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value,
    value::{Object, ObjectRepr},
};
use serde_json::value::RawValue;

use super::{
    What,
    buffer::Buffer,
    document::{Kind, Members, kind_of, unescaped},
    filters, tags, text_of,
};
use crate::{
    limits::{SECRET_DEPTH_MAX, TEMPLATE_STEPS_MAX},
    secrets::value::{Held, Value as Secret},
};

/// Loops in loops and the like. Nothing that is allowed here calls itself.
const RECURSION_MAX: usize = 32;

/// Writes the file of one secret.
pub(super) fn single(source: &str, text: &str, out: &mut Buffer) -> Result<(), What> {
    let context = BTreeMap::from([("secret", value_of(text)?)]);
    fill(source, Value::from_iter(context), out)
}

/// Writes the file of several secrets. Those that are missing or binary are not there.
pub(super) fn combined(source: &str, held: &BTreeMap<String, Held>) -> Result<Secret, What> {
    let mut context = BTreeMap::new();
    for (name, held) in held {
        match text_of(&held.current.content) {
            // What cannot be read is in the way only of those who ask for it.
            Ok(text) => {
                let value = value_of(text).unwrap_or_else(|_| Value::from(Error::from(ErrorKind::BadSerialization)));
                context.insert(name.clone(), value);
            }
            Err(_) => continue,
        }
    }
    let all = Value::from_iter(context.clone());
    context.insert("secrets".to_owned(), all);
    let mut out = Buffer::default();
    fill(source, Value::from_iter(context), &mut out)?;
    out.finish()
}

/// Whether a template can be read.
pub(super) fn check(source: &str) -> Result<(), What> {
    tags::check(source)?;
    environment().template_from_str(source).map(drop).map_err(|error| what_of(&error))
}

fn fill(source: &str, context: Value, out: &mut Buffer) -> Result<(), What> {
    tags::check(source)?;
    let environment = environment();
    let template = environment.template_from_str(source).map_err(|error| what_of(&error))?;
    match template.render_captured_to(context, &mut *out) {
        Ok(_) => Ok(()),
        Err(_) if out.is_overflown() => Err(What::TooLarge),
        Err(error) => Err(what_of(&error)),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_keep_trailing_newline(true);
    environment.set_formatter(filters::print);
    environment.set_fuel(Some(TEMPLATE_STEPS_MAX));
    environment.set_recursion_limit(RECURSION_MAX);
    environment.add_filter("pct", filters::pct);
    environment.add_filter("b64", filters::b64);
    environment.add_filter("json", filters::json);
    environment.add_filter("shell", filters::shell);
    environment.add_filter("props", filters::props);
    environment.add_test("defined", |value: &Value| !value.is_undefined());
    environment
}

/// The error's own text may hold a value.
fn what_of(error: &Error) -> What {
    let what = match error.kind() {
        ErrorKind::SyntaxError => "cannot be read",
        ErrorKind::UndefinedError => "uses what is not there: a member, or a secret that is missing or binary",
        ErrorKind::UnknownFilter => "has a filter that is none of `pct`, `b64`, `json`, `shell`, `props`",
        ErrorKind::UnknownTest => "has a test that is not `defined`",
        ErrorKind::UnknownFunction | ErrorKind::UnknownMethod => "calls a function, of which there are none",
        ErrorKind::TooManyArguments | ErrorKind::MissingArgument => "gives a filter or a test the wrong arguments",
        ErrorKind::InvalidOperation => "does with a value what cannot be done with it",
        ErrorKind::BadSerialization => "uses a secret whose JSON has NUL, is no Unicode, or is nested too deeply",
        ErrorKind::OutOfFuel => "takes too many steps",
        ErrorKind::WriteFailure => "makes too large a file",
        _ => "cannot be filled in",
    };
    What::Template { line: error.line(), what }
}

/// A secret as templates see it.
fn value_of(text: &str) -> Result<Value, What> {
    match Members::parse(text) {
        Ok(members) => object(&members, 0),
        Err(_) => Ok(Value::from(text)),
    }
}

fn object(members: &Members<'_>, depth: usize) -> Result<Value, What> {
    let pair = |member: &super::document::Member<'_>| Ok((Value::from(&*member.name), json(member.value, depth + 1)?));
    members.iter().map(pair).collect::<Result<BTreeMap<_, _>, _>>().map(Value::from_iter)
}

fn json(value: &RawValue, depth: usize) -> Result<Value, What> {
    if depth > SECRET_DEPTH_MAX {
        return Err(What::TooDeep);
    }
    Ok(match kind_of(value) {
        Kind::Text => Value::from(unescaped(value)?.as_str()),
        Kind::Number => number(value.get()),
        Kind::Boolean => Value::from(value.get() == "true"),
        Kind::Null => Value::from(()),
        Kind::Object => object(&Members::parse(value.get())?, depth)?,
        Kind::Array => {
            let items: Vec<&RawValue> = serde_json::from_str(value.get()).map_err(|_| What::NotObject)?;
            items.into_iter().map(|item| json(item, depth + 1)).collect::<Result<Vec<_>, _>>()?.into()
        }
    })
}

/// A number that can be reckoned with if it is written as we would write it, else its text.
fn number(text: &str) -> Value {
    let same = |value: &Value| value.to_string() == text;
    let whole = text.parse::<i64>().ok().map(Value::from).filter(same);
    let real = || text.parse::<f64>().ok().map(Value::from).filter(same);
    whole.or_else(real).unwrap_or_else(|| Value::from_object(Spelled(text.to_owned())))
}

/// A number in a spelling of its own: `1e3`, `1.50`, one of forty digits.
pub(super) struct Spelled(String);

impl Spelled {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl Object for Spelled {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Plain
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Spelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Spelled(..)")
    }
}
