//! The documentation of the configuration, made of the types: a JSON schema, and the page `docs/config.md`.
//!
//! The types tell their schema in test builds only, where `schema.json` is compared with them: what tells it weighs 0.4 MB,
//! the schema, packed, a twentieth of that.
//!
//! Promises: every field of every section is in the schema and on the page, with its own comment and nothing else.
//! Never: is edited by hand; tests compare `schema.json` with the types, and `docs/config.md` with this.

use std::fmt::Write;

use serde_json::{Map, Value};

use crate::net::inflate::gunzip;

/// `schema.json`, which `the_schema_is_the_one_that_the_types_give` writes, packed by the build script.
const SCHEMA: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.json.gz"));
/// More than its bytes.
const SCHEMA_BYTES_MAX: usize = 1 << 20;

/// The JSON schema of our own configuration file.
pub fn schema() -> Value {
    serde_json::from_slice(&text()).expect("a test has written it")
}

fn text() -> Vec<u8> {
    gunzip(SCHEMA, SCHEMA_BYTES_MAX).expect("the build script has packed it")
}

/// `docs/config.md`.
pub fn reference() -> String {
    let schema = schema();
    let definitions = schema["$defs"].as_object().cloned().unwrap_or_default();
    let mut page = Page { definitions, text: format!("{HEAD}\n```yaml\n{EXAMPLE}```\n") };
    page.section("", &schema);
    page.text
}

const HEAD: &str = "\
# Configuration

This page is generated from the types in `agent/src/config` and `agent/src/logs`; change the comments there and run
`PILLION_SCHEMA=write cargo test -p pillion schema` and `cargo run -- schema --markdown > docs/config.md`.

The agent reads the first of: the file named by `--config` (or `-c`), the one named by `PILLION_CONFIG`,
`/etc/pillion/pillion.yaml`, `/fluent-bit/etc/fluent-bit.conf` (where ECS mounts the file it generates for FireLens). If
there is none, it listens on the FireLens socket and on 127.0.0.1:24224. A file ending in `.yaml` or `.yml` is read as
described here, one ending in `.conf` as Fluent Bit's classic configuration. `PILLION_CONFIG_CONTENT` takes the file's
place with a YAML text of its own.

A single value can be set by a variable named `PILLION__` and its path, with `__` between the steps and items of lists
counted from 0: `PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__GROUP=/ecs/web`. It goes before the file. `{}` is a section in which nothing is
set: `PILLION__METRICS__OUTPUTS__0__TO__CLOUDWATCH={}`.

| variable | meaning |
|---|---|
| `PILLION_CONFIG` | path of the configuration file |
| `PILLION_CONFIG_CONTENT` | a YAML text that takes the file's place |
| `PILLION_STOP_TIMEOUT` | see `stop_timeout`; here a bare number is one of seconds |
| `PILLION_LOG_LEVEL`, `FLB_LOG_LEVEL` | see `log.level` |
| `AWS_REGION`, `AWS_DEFAULT_REGION` | the region where the file names none |
| `AWS_ENDPOINT_URL` | the address of all AWS services where the file names none |
| `AWS_CA_BUNDLE`, `SSL_CERT_FILE` | the certificate authorities where the file names none |
| `ECS_CONTAINER_METADATA_URI_V4` | set by ECS: who and where we are |

Sizes are written `64 MiB`, `25MB` or in plain bytes (`k`, `M`, `G` are powers of 1000, `KiB`, `MiB`, `GiB` of 1024),
times with a unit: `250ms`, `5s`, `2m`, `1h`, `14d`. Unknown and duplicate keys are errors; all problems are reported at
once (`pillion check`).

## Example
";

/// A whole file, for those who start from one.
const EXAMPLE: &str = "\
logs:
  filters:
    - grep:
        match: web-firelens*
        rules:
          - exclude: {key: log, regex: 'GET /healthz'}
    - record_modifier:
        records: [[team, payments]]
  outputs:
    - match: web-firelens*
      to:
        cloudwatch:
          group: /ecs/web
          stream_prefix: web/
          auto_create_group: true
          retention_days: 30
    - match: debug-firelens*
      to:
        file: {folder: /logs}
stop_timeout: 2m
";

struct Page {
    definitions: Map<String, Value>,
    text: String,
}

impl Page {
    /// One table for an object, then the sections of the objects in it.
    fn section(&mut self, path: &str, schema: &Value) {
        let Some(fields) = schema["properties"].as_object() else { return };
        let title = if path.is_empty() { "The file" } else { path };
        let code = if path.is_empty() { "" } else { "`" };
        self.put(&format!("\n## {code}{title}{code}\n\n"));
        if !path.is_empty()
            && let Some(text) = self.resolve(schema)["description"].as_str()
        {
            self.put(&format!("{}\n\n", line(text)));
        }
        if fields.is_empty() {
            return self.put("No settings.\n");
        }
        self.put("| key | value | meaning |\n|---|---|---|\n");
        let required: Vec<&str> =
            schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for (key, field) in fields {
            let must = if required.contains(&key.as_str()) { " Required." } else { "" };
            let resolved = self.resolve(field);
            let text = field["description"].as_str().or_else(|| resolved["description"].as_str());
            let kind = self.kind(field).replace('|', "\\|");
            self.put(&format!("| `{key}` | {kind} | {}{must} |\n", line(text.unwrap_or_default()).replace('|', "\\|")));
        }
        for (key, field) in fields.clone() {
            let inner = if path.is_empty() { key } else { format!("{path}.{key}") };
            self.inner(&inner, &field);
        }
    }

    /// The sections of what a field holds.
    fn inner(&mut self, path: &str, field: &Value) {
        let schema = self.resolve(field);
        if let Some(items) = schema.get("items") {
            return self.inner(&format!("{path}[]"), &items.clone());
        }
        for kind in kinds(&schema) {
            let Some((name, settings)) = kind["properties"].as_object().and_then(|fields| fields.iter().next()) else {
                continue;
            };
            let mut settings = self.resolve(settings);
            // What the kind says of itself is more than what its settings say of themselves.
            if let Some(text) = kind.get("description") {
                settings["description"] = text.clone();
            }
            self.section(&format!("{path}.{name}"), &settings);
        }
        self.section(path, &schema);
    }

    /// The type of a field in a word or two.
    fn kind(&self, field: &Value) -> String {
        if let Some(reference) = reference_of(field) {
            match reference {
                "ByteSize" => return "size".to_owned(),
                "Span" => return "time".to_owned(),
                _ => {}
            }
        }
        let schema = self.resolve(field);
        if let Some(items) = schema.get("items") {
            return format!("list of {}", self.kind(items));
        }
        if schema["prefixItems"].is_array() {
            return "pair of texts".to_owned();
        }
        let words: Vec<String> = kinds(&schema).iter().flat_map(words).collect();
        if !words.is_empty() {
            return words.join(", ");
        }
        let range = match (schema["minimum"].as_u64(), schema["maximum"].as_u64()) {
            (Some(least), Some(most)) => format!(" {least} to {most}"),
            _ => String::new(),
        };
        match type_of(&schema) {
            Some("object") if schema["properties"].is_object() => "section".to_owned(),
            Some("object") => "texts by name".to_owned(),
            Some("integer") => format!("number{range}"),
            Some("boolean") => "true or false".to_owned(),
            _ => "text".to_owned(),
        }
    }

    /// The definition that a field refers to, or the field itself.
    fn resolve(&self, field: &Value) -> Value {
        match reference_of(field).and_then(|name| self.definitions.get(name)) {
            Some(definition) => definition.clone(),
            None => field.clone(),
        }
    }

    fn put(&mut self, text: &str) {
        write!(self.text, "{text}").expect("text can always be written");
    }
}

/// `Foo` of `{"$ref": "#/$defs/Foo"}`, also where the field may be null.
fn reference_of(field: &Value) -> Option<&str> {
    let one_of = field["anyOf"].as_array().into_iter().flatten();
    let reference = field["$ref"].as_str().or_else(|| one_of.filter_map(|kind| kind["$ref"].as_str()).next())?;
    reference.strip_prefix("#/$defs/")
}

/// The kinds of an enum.
fn kinds(schema: &Value) -> Vec<Value> {
    match schema["oneOf"].as_array() {
        Some(kinds) => kinds.clone(),
        None if schema["enum"].is_array() => vec![schema.clone()],
        None => Vec::new(),
    }
}

/// How the kinds of an enum are written.
fn words(kind: &Value) -> Vec<String> {
    if let Some(word) = kind["const"].as_str() {
        return vec![format!("`{word}`")];
    }
    if let Some(words) = kind["enum"].as_array() {
        return words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
    }
    kind["properties"].as_object().into_iter().flat_map(Map::keys).map(|key| format!("`{key}:`")).collect()
}

/// The first type that is not null.
fn type_of(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

/// A comment as one line.
fn line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `PILLION_SCHEMA=write` writes it anew; otherwise it must be what the types say.
    #[test]
    #[expect(clippy::disallowed_methods, reason = "whoever changes a setting asks for it, no agent does")]
    fn the_schema_is_the_one_that_the_types_give() {
        let schema = schemars::schema_for!(super::super::document::Document).to_value();
        let entries = |value: &Value| -> String {
            let fields = value.as_object().expect("a schema's parts are objects");
            let lines = fields.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str())));
            lines.collect::<Vec<_>>().join(",\n")
        };
        let (mut head, definitions) = (schema.clone(), &schema["$defs"]);
        head.as_object_mut().expect("a schema is an object").remove("$defs");
        let text = format!("{{\n{},\n\"$defs\":{{\n{}\n}}}}\n", entries(&head), entries(definitions));
        assert_eq!(serde_json::from_str::<Value>(&text).expect("it is JSON"), schema);
        if std::env::var_os("PILLION_SCHEMA").is_some_and(|asked| asked == "write") {
            let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/config/schema.json");
            return std::fs::write(path, text).expect("the schema can be written");
        }
        assert!(
            text.as_bytes() == super::text(),
            "schema.json is stale: run `PILLION_SCHEMA=write cargo test -p pillion schema`"
        );
    }

    #[test]
    fn the_page_in_docs_is_the_one_that_the_types_give() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
        let page = std::fs::read_to_string(path).unwrap_or_default();
        assert!(page == reference(), "docs/config.md is stale: run `cargo run -- schema --markdown > docs/config.md`");
    }

    /// Who copies the example gets no problem of any kind.
    #[test]
    fn the_example_on_the_page_is_a_configuration() {
        let files = crate::fluentbit::InMemory::one("example.yaml", EXAMPLE);
        let sources = super::super::Sources {
            file: Some("example.yaml".into()),
            environment: super::super::Environment::default(),
            files: &files,
        };
        let (config, warnings) = super::super::load(&sources).expect("the example has no errors");
        assert_eq!(warnings, []);
        assert_eq!((config.logs.inputs.len(), config.logs.filters.len(), config.logs.outputs.len()), (2, 2, 2));
    }

    /// Every key of the schema stands on the page, with a comment.
    #[test]
    fn every_field_is_on_the_page_with_its_comment() {
        let page = reference();
        for wanted in [
            "| `stop_timeout` | time | Time from SIGTERM to SIGKILL",
            "## `logs.inputs[].forward`",
            "## `logs.outputs[].to.cloudwatch`",
            "## `logs.filters[].grep`",
            "| `match` | text |",
            "| `workers` | number 1 to 32 |",
            "| `level` | `off`, `error`, `warn`, `info`, `debug`, `trace` |",
            "| `to` | `cloudwatch:`, `file:`, `discard:` | The destination. Required. |",
        ] {
            assert!(page.contains(wanted), "{wanted}");
        }
        for line in page.lines().filter(|line| line.starts_with("| `")) {
            assert!(!line.ends_with("|  |"), "no comment: {line}");
        }
    }
}
