//! Which log group and stream a record goes to.
//!
//! Promises: a name that is sent is legal for CloudWatch (1 to 512 characters of its alphabet); what a record or tag has
//! in it that is not becomes `.`; a template that cannot be filled falls back to the static name.
//! Never: asks a record if no template does: then the name is settled once per tag.

use std::fmt::Write;

use super::settings::{Config, Templates};
use crate::{
    deliver::Key,
    ecs::Metadata,
    logs::{accessor::Accessor, record::Record},
};

/// Longest name of a group or stream, in bytes (CloudWatch Logs API).
const NAME_BYTES_MAX: usize = 512;
/// Fallbacks of the Go plugin `cloudwatch`.
const GO_DEFAULT_GROUP: &str = "fluentbit-default";
const GO_DEFAULT_STREAM: &str = "/fluentbit-default";

/// A log stream in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The log group.
    pub group: &'a str,
    /// The log stream.
    pub stream: &'a str,
}

impl<'a> Place<'a> {
    /// The place that `key` names.
    pub fn of(key: &'a Key) -> Option<Self> {
        let (group, stream) = key.as_str().split_once(Self::BETWEEN)?;
        Some(Self { group, stream })
    }

    /// Neither name may have one: the service refuses it.
    const BETWEEN: char = ':';

    /// The key of what goes there.
    pub fn key(self) -> Key {
        Key::new(format!("{}{}{}", self.group, Self::BETWEEN, self.stream))
    }
}

/// How names are made.
#[derive(Clone, Debug)]
pub struct Naming {
    group: Name,
    stream: Name,
}

#[derive(Clone, Debug)]
struct Name {
    template: Option<Template>,
    fallback: Fallback,
    legal: fn(char) -> bool,
}

#[derive(Clone, Debug)]
enum Fallback {
    Text(String),
    PrefixAndTag(String),
}

/// Text with places to be filled from the record or its tag.
#[derive(Clone, Debug, PartialEq)]
struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    Text(String),
    Field(Accessor),
}

impl Naming {
    /// Reads the names in `config`. `task` fills in the Go plugin's `$(ecs_...)`; `uuid` its `$(uuid)`.
    pub fn new(config: &Config, task: &Metadata, uuid: &str) -> Result<Self, String> {
        match config.templates {
            Templates::FluentBit => Self::fluent_bit(config),
            Templates::GoPlugin => Self::go_plugin(config, task, uuid),
        }
    }

    fn fluent_bit(config: &Config) -> Result<Self, String> {
        let template = |text: &Option<String>| text.as_deref().map(Template::fluent_bit).transpose();
        let group = config.group.clone().ok_or("`group` is missing; name the log group")?;
        Ok(Self {
            group: Name::group(template(&config.group_template)?, Fallback::Text(group)),
            stream: Name::stream(template(&config.stream_template)?, Self::stream_fallback(config)?),
        })
    }

    fn go_plugin(config: &Config, task: &Metadata, uuid: &str) -> Result<Self, String> {
        let group = config.group.as_deref().ok_or("`group` is missing; name the log group")?;
        let group = Template::go_plugin(group, task, uuid)?;
        let default = |text: &Option<String>, or: &str| Fallback::Text(text.clone().unwrap_or_else(|| or.to_owned()));
        let stream = match &config.stream {
            Some(stream) => Name::stream(
                Some(Template::go_plugin(stream, task, uuid)?),
                default(&config.default_stream, GO_DEFAULT_STREAM),
            ),
            None => Name::stream(None, Self::stream_fallback(config)?),
        };
        Ok(Self { group: Name::group(Some(group), default(&config.default_group, GO_DEFAULT_GROUP)), stream })
    }

    fn stream_fallback(config: &Config) -> Result<Fallback, String> {
        match (&config.stream, &config.stream_prefix) {
            (Some(stream), None) => Ok(Fallback::Text(stream.clone())),
            (None, Some(prefix)) => Ok(Fallback::PrefixAndTag(prefix.clone())),
            _ => Err("exactly one of `stream` and `stream_prefix` must be given".to_owned()),
        }
    }

    /// True if records of one tag can have different names.
    pub fn asks_records(&self) -> bool {
        [&self.group, &self.stream].into_iter().any(Name::asks_records)
    }

    /// The key of `record`.
    pub fn key(&self, tag: &str, record: &Record<'_>) -> Key {
        let directions = record.directions.unwrap_or_default();
        let own = |name: &Name, own: Option<&str>| match own {
            Some(own) => name.legalised(own),
            None => name.render(tag, record),
        };
        Place { group: &own(&self.group, directions.group), stream: &own(&self.stream, directions.stream) }.key()
    }
}

impl Name {
    fn group(template: Option<Template>, fallback: Fallback) -> Self {
        Self { template, fallback, legal: |c| c.is_ascii_alphanumeric() || "_./-#".contains(c) }
    }

    fn stream(template: Option<Template>, fallback: Fallback) -> Self {
        Self { template, fallback, legal: |c| !matches!(c, ':' | '*') && !c.is_control() }
    }

    fn asks_records(&self) -> bool {
        let parts = self.template.as_ref().map(|template| &template.0[..]).unwrap_or_default();
        parts.iter().any(|part| matches!(part, Part::Field(Accessor::Field { .. })))
    }

    fn render(&self, tag: &str, record: &Record<'_>) -> String {
        let filled = self.template.as_ref().and_then(|template| template.fill(tag, record));
        let name = filled.unwrap_or_else(|| match &self.fallback {
            Fallback::Text(text) => text.clone(),
            Fallback::PrefixAndTag(prefix) => format!("{prefix}{tag}"),
        });
        self.legalised(&name)
    }

    fn legalised(&self, name: &str) -> String {
        let mut legal = String::with_capacity(name.len().min(NAME_BYTES_MAX));
        for c in name.chars() {
            let c = if (self.legal)(c) { c } else { '.' };
            if legal.len() + c.len_utf8() > NAME_BYTES_MAX {
                break;
            }
            legal.push(c);
        }
        if legal.is_empty() { ".".to_owned() } else { legal }
    }
}

impl Template {
    /// `text $field['sub'].text $TAG[1]`: a variable ends at `.`, `,`, a space, or the next `$`.
    fn fluent_bit(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find('$') {
            push_text(&mut parts, &rest[..start]);
            let end = start + variable_length(&rest[start..]);
            parts.push(Part::Field(Accessor::parse(&rest[start..end])?));
            rest = &rest[end..];
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    /// `text $(field['sub']) text $(tag[1])`.
    fn go_plugin(text: &str, task: &Metadata, uuid: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("$(") {
            push_text(&mut parts, before);
            let (inner, after) =
                after.split_once(')').ok_or_else(|| format!("`{text}` has a `$(` without `)`; close it"))?;
            parts.push(go_part(inner, task, uuid)?);
            rest = after;
        }
        push_text(&mut parts, rest);
        Ok(Self(parts))
    }

    fn fill(&self, tag: &str, record: &Record<'_>) -> Option<String> {
        let mut name = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => name.push_str(text),
                // Writing to a String cannot fail.
                Part::Field(accessor) => {
                    let _ = name.write_str(&accessor.text(tag, record)?);
                }
            }
        }
        Some(name)
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if !text.is_empty() {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// The length of the variable at the beginning of `text`, `$` and brackets included. The tag ends by itself: in
/// `$TAG[0]/web` and `$TAG-web` the text behind it is text, as in Fluent Bit.
fn variable_length(text: &str) -> usize {
    const TAG: &str = "$TAG";
    if let Some(after) = text.strip_prefix(TAG) {
        let brackets = after.starts_with('[').then(|| after.find(']')).flatten();
        return TAG.len() + brackets.map_or(0, |end| end + 1);
    }
    let mut in_brackets = false;
    for (place, c) in text.char_indices().skip(1) {
        match c {
            '[' => in_brackets = true,
            ']' => in_brackets = false,
            '.' | ',' | ' ' | '$' if !in_brackets => return place,
            _ => {}
        }
    }
    text.len()
}

fn go_part(inner: &str, task: &Metadata, uuid: &str) -> Result<Part, String> {
    let known = match inner {
        "uuid" => Some(uuid),
        "ecs_task_id" => task.task_id.as_deref(),
        "ecs_cluster" => task.cluster.as_deref(),
        "ecs_task_arn" => task.task_arn.as_deref(),
        _ => None,
    };
    if let Some(text) = known {
        return Ok(Part::Text(text.to_owned()));
    }
    let accessor = match inner.strip_prefix("tag") {
        Some(index) if index.is_empty() || index.starts_with('[') => format!("$TAG{index}"),
        _ => format!("${inner}"),
    };
    Accessor::parse(&accessor).map(Part::Field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logs::record::{Pair, Value};

    const TAG: &str = "app-firelens-0123";

    fn names(config: &Config) -> (String, String) {
        let nested = [0x81, 0xa4, b'n', b'a', b'm', b'e', 0xa3, b'w', b'e', b'b'];
        let text = |key: &'static str, value: &'static str| Pair {
            key: Value::Str(key.as_bytes()),
            value: Value::Str(value.as_bytes()),
        };
        let pairs = vec![
            text("log", "line"),
            text("ecs_cluster", "shop"),
            text("odd", "a:b*c\n\"{}\\../%é"),
            Pair { key: Value::Str(b"kubernetes"), value: Value::Raw(&nested) },
        ];
        let record = Record { pairs, ..Record::default() };
        let task = Metadata { task_id: Some("0123".to_owned()), ..Metadata::default() };
        let naming = Naming::new(config, &task, "the-uuid").expect("good names");
        let key = naming.key(TAG, &record);
        let place = Place::of(&key).expect("a place");
        (place.group.to_owned(), place.stream.to_owned())
    }

    fn config(group: &str) -> Config {
        Config { group: Some(group.to_owned()), ..Config::default() }
    }

    #[test]
    fn static_names_and_prefixes() {
        let by_prefix = Config { stream_prefix: Some("app/".to_owned()), ..config("/ecs/web") };
        assert_eq!(names(&by_prefix), ("/ecs/web".to_owned(), format!("app/{TAG}")));
        let fixed = Config { stream: Some("one".to_owned()), ..config("g") };
        assert_eq!(names(&fixed), ("g".to_owned(), "one".to_owned()));
    }

    #[test]
    fn templates_are_filled_from_record_and_tag_or_fall_back() {
        for (group, stream, expected) in [
            ("/ecs/$ecs_cluster", "$TAG", ("/ecs/shop", TAG)),
            ("/x.$kubernetes['name'],y", "$kubernetes['name'].$ecs_cluster", ("/x.web.y", "web.shop")),
            ("/ecs/$ecs_cluster", "$TAG[0]/$ecs_cluster", ("/ecs/shop", "app-firelens-0123/shop")),
            (
                "/ecs/$TAG-$ecs_cluster",
                "$TAG$TAG",
                ("/ecs/app-firelens-0123-shop", "app-firelens-0123app-firelens-0123"),
            ),
            ("/ecs/$missing", "$kubernetes['none']", ("fallback", "stream")),
            ("$odd", "$odd", ("a.b.c.......--%.".get(..0).unwrap_or(""), "")),
        ] {
            let config = Config {
                group_template: Some(group.to_owned()),
                stream_template: Some(stream.to_owned()),
                stream: Some("stream".to_owned()),
                ..config("fallback")
            };
            let (got_group, got_stream) = names(&config);
            if group == "$odd" {
                assert_eq!(got_group, "a.b.c......./..");
                assert_eq!(got_stream, "a.b.c.\"{}\\../%é");
            } else {
                assert_eq!((got_group.as_str(), got_stream.as_str()), expected);
            }
        }
    }

    #[test]
    fn the_go_plugins_templates_are_filled() {
        let go = |group: &str, stream: &str| Config {
            templates: Templates::GoPlugin,
            stream: Some(stream.to_owned()),
            ..config(group)
        };
        for (group, stream, expected) in [
            ("/ecs/$(ecs_cluster)", "$(tag)-$(ecs_task_id)", ("/ecs/shop", "app-firelens-0123-0123")),
            ("$(kubernetes['name'])/x", "$(tag[0])/$(uuid)", ("web/x", "app-firelens-0123/the-uuid")),
            ("$(missing)", "$(tag[7])", ("fluentbit-default", "/fluentbit-default")),
        ] {
            let (group, stream) = names(&go(group, stream));
            assert_eq!((group.as_str(), stream.as_str()), expected);
        }
        let open = Naming::new(&go("$(x", "s"), &Metadata::default(), "").unwrap_err();
        assert_eq!(open, "`$(x` has a `$(` without `)`; close it");
    }

    #[test]
    fn a_long_name_is_cut_and_an_empty_one_is_not_sent() {
        let long = Config { stream: Some("é".repeat(400)), ..config(&"g".repeat(600)) };
        let (group, stream) = names(&long);
        assert_eq!((group.len(), stream.len()), (512, 512));
        let empty = Config { stream: Some(String::new()), ..config("") };
        assert_eq!(names(&empty), (".".to_owned(), ".".to_owned()));
    }

    #[test]
    fn both_or_neither_of_stream_and_prefix_are_refused() {
        let both = Config { stream: Some("s".into()), stream_prefix: Some("p".into()), ..config("g") };
        for config in [config("g"), both] {
            let problem = Naming::new(&config, &Metadata::default(), "").unwrap_err();
            assert_eq!(problem, "exactly one of `stream` and `stream_prefix` must be given");
        }
    }
}
