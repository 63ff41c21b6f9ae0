//! The configuration of AWS's Secrets Manager Agent (now Workload Credentials Provider), for who comes from there.
//!
//! ```text
//! agent.toml ─ parsed with places ─▶ `http_port = 2773` ─▶ secrets.api.listen: 127.0.0.1:2773 ─▶ the tree of our own
//! ```
//!
//! Promises: each of its keys, flat or nested, is put where ours stands or is named with what we do instead; a key that it does not
//! know is an error, as with the original; what it takes from the environment (the token) is taken from there.
//! Never: checks a value's range: what ours may be is checked where ours is; shows the token.

use toml::de::{DeTable, DeValue};

use super::{environment::Environment, overrides, source::Tree};
use crate::{
    problem::{Problem, Problems, nearest, shown},
    secrets::settings::TokenText,
};

/// Bytes of such a file. Theirs have a few hundred.
const BYTES_MAX: usize = 64 * 1024;
/// Variables in which it looks for the token.
const TOKEN_VARIABLES: [&str; 3] = ["AWS_TOKEN", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
/// The part of its cache that a prefetch may fill, and how many secrets that cache has if nothing is said.
const RATIO: f64 = 0.8;
const CACHE: f64 = 1_000.0;

/// What the file says.
pub(super) struct Reading {
    /// Our own configuration, without the token.
    pub(super) tree: Tree,
    /// The token, or the file that holds it.
    pub(super) token: Option<Given>,
}

/// Where the token is.
pub(super) enum Given {
    File(String),
    Text(TokenText),
}

/// Where one of its keys goes.
enum Meaning {
    /// To this setting, as it is.
    As(&'static str),
    /// To this one, as seconds.
    Seconds(&'static str),
    Port,
    Level,
    /// Texts, to this list.
    Texts(&'static str),
    TokenVariables,
    Ratio,
    Secrets,
    Tags,
    /// It has no effect here if it says this; else it need not be said.
    Unlike(bool, &'static str),
    /// It has no effect here.
    Nothing(&'static str),
}

/// Its flat keys. Nested ones are called the same.
const KEYS: [(&str, Meaning); 15] = [
    ("log_level", Meaning::Level),
    ("log_to_file", Meaning::Unlike(true, "the log goes to standard error")),
    ("http_port", Meaning::Port),
    ("ttl_seconds", Meaning::Seconds("secrets.api.ttl")),
    ("cache_size", Meaning::As("secrets.api.cache_size")),
    ("ssrf_headers", Meaning::Texts("secrets.api.token_headers")),
    ("ssrf_env_variables", Meaning::TokenVariables),
    ("path_prefix", Meaning::As("secrets.api.path_prefix")),
    ("max_conn", Meaning::As("secrets.api.connections_max")),
    ("max_roles", Meaning::As("secrets.api.roles_max")),
    ("region", Meaning::As("secrets.api.region")),
    ("ignore_transient_errors", Meaning::Unlike(false, "what is known is answered while AWS has trouble")),
    ("validate_credentials", Meaning::Unlike(true, "credentials are asked for when they are needed; see `/healthz`")),
    ("credentials_file_path", Meaning::Nothing("the role of the task is used, or what AWS's usual variables say")),
    ("prefetch", Meaning::Nothing("")),
];
const PREFETCH: [(&str, Meaning); 4] = [
    ("cache_buffer_ratio", Meaning::Ratio),
    ("max_jitter_seconds", Meaning::Seconds("secrets.api.prefetch_splay")),
    ("secrets", Meaning::Secrets),
    ("filter_tags", Meaning::Tags),
];
/// Which of the keys stand where in a nested file.
const LOGGING: [&str; 2] = ["log_level", "log_to_file"];
const CACHING: [&str; 2] = ["ttl_seconds", "cache_size"];
const SECURITY: [&str; 2] = ["ssrf_headers", "ssrf_env_variables"];

/// Reads such a file. Without one everything has its default.
pub(super) fn read(name: &str, text: &[u8], environment: &Environment, problems: &mut Problems) -> Reading {
    let mut reader = Reader {
        name,
        text: "",
        tree: Tree::empty(name),
        variables: TOKEN_VARIABLES.map(str::to_owned).to_vec(),
        cache: CACHE,
        ratio: RATIO,
        prefetched: 0,
        problems,
    };
    // There is such an API, whatever the file says of it.
    reader.put(name, "secrets.api.path_prefix", "/v1/");
    match parsed(text) {
        Ok((text, table)) => {
            reader.text = text;
            reader.whole(&table);
        }
        Err((line, what)) => {
            let place = line.map_or(name.to_owned(), |line| format!("{name}:{line}"));
            reader.problems.push(Problem::error(place, what, "see the documentation of AWS's agent"));
        }
    }
    let most = (reader.cache * reader.ratio).floor().clamp(1.0, CACHE);
    reader.put(name, "secrets.api.prefetch_max", &format!("{most}"));
    let variables = std::mem::take(&mut reader.variables);
    let said = variables.iter().find_map(|name| environment.get(name));
    let token = said.map(|said| match said.strip_prefix("file://") {
        Some(path) => Given::File(path.to_owned()),
        None => Given::Text(TokenText::new(said.trim())),
    });
    if token.is_none() {
        let what = "none of the variables that may hold the token is set";
        let hint = "the token is made in a file, `token` in `secrets.folder`; set AWS_TOKEN, for example to `file:///run/token`";
        reader.problems.push(Problem::warning(variables.join(", "), what, hint));
    }
    Reading { tree: reader.tree, token }
}

/// The text and what it says, or the line and why not. What the parser says may show a line, and is not repeated.
fn parsed(text: &[u8]) -> Result<(&str, DeTable<'_>), (Option<usize>, &'static str)> {
    if text.len() > BYTES_MAX {
        return Err((None, "larger than 64 KiB"));
    }
    let text = std::str::from_utf8(text).map_err(|_| (None, "not UTF-8"))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match DeTable::parse(text) {
        Ok(table) => Ok((text, table.into_inner())),
        Err(error) => Err((error.span().map(|span| line(text, span.start)), "not TOML")),
    }
}

fn line(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|&byte| byte == b'\n').count() + 1
}

struct Reader<'a> {
    name: &'a str,
    text: &'a str,
    tree: Tree,
    variables: Vec<String>,
    cache: f64,
    ratio: f64,
    /// Entries of `secrets.api.prefetch` so far.
    prefetched: usize,
    problems: &'a mut Problems,
}

impl Reader<'_> {
    fn whole(&mut self, table: &DeTable<'_>) {
        // As the original has it: a file is either flat or nested.
        let is_nested = table.iter().any(|(key, _)| matches!(key.as_ref().as_ref(), "capabilities" | "logging"));
        self.each(table, &mut |reader, key, place, value| match (key, value) {
            ("logging", DeValue::Table(table)) => {
                reader.keys(table, &|key| LOGGING.contains(&key));
            }
            ("capabilities", DeValue::Table(table)) => reader.capabilities(table),
            ("logging" | "capabilities", _) => reader.wrong(place, "not a table"),
            _ if is_nested => {
                let hint = "move it below `[capabilities.secrets_manager]` or `[logging]`";
                reader.problems.push(Problem::error(place, "stands outside of the tables", hint));
            }
            _ => reader.key(key, place, value, &|_| true),
        });
    }

    fn capabilities(&mut self, table: &DeTable<'_>) {
        self.each(table, &mut |reader, key, place, value| match (key, value) {
            ("secrets_manager", DeValue::Table(table)) => reader.secrets_manager(table),
            ("acm", _) => {
                let hint = "AWS's agent does not write them in containers either";
                reader.problems.push(Problem::warning(place, "certificates are not written", hint));
            }
            _ => reader.unknown(key, place, &["secrets_manager", "acm"]),
        });
    }

    fn secrets_manager(&mut self, table: &DeTable<'_>) {
        self.each(table, &mut |reader, key, place, value| match (key, value) {
            ("enabled", DeValue::Boolean(true)) => {}
            ("enabled", _) => reader.wrong(place, "not `true`: nothing would run"),
            ("cache", DeValue::Table(table)) => reader.keys(table, &|key| CACHING.contains(&key)),
            ("security", DeValue::Table(table)) => reader.keys(table, &|key| SECURITY.contains(&key)),
            _ => reader.key(key, place, value, &|key| {
                !LOGGING.contains(&key) && !CACHING.contains(&key) && !SECURITY.contains(&key)
            }),
        });
    }

    /// All keys of a table, of which these may stand there.
    fn keys(&mut self, table: &DeTable<'_>, may_stand: &dyn Fn(&str) -> bool) {
        self.each(table, &mut |reader, key, place, value| reader.key(key, place, value, may_stand));
    }

    fn each(&mut self, table: &DeTable<'_>, each: &mut dyn FnMut(&mut Self, &str, &str, &DeValue<'_>)) {
        for (key, value) in table {
            let place = format!("{}:{} {}", self.name, line(self.text, key.span().start), shown(key.as_ref()));
            each(self, key.as_ref(), &place, value.as_ref());
        }
    }

    fn key(&mut self, key: &str, place: &str, value: &DeValue<'_>, may_stand: &dyn Fn(&str) -> bool) {
        if key == "prefetch"
            && may_stand(key)
            && let DeValue::Table(table) = value
        {
            return self.each(table, &mut |reader, key, place, value| match PREFETCH
                .iter()
                .find(|(name, _)| *name == key)
            {
                Some((_, meaning)) => reader.means(meaning, place, value),
                None => reader.unknown(key, place, &PREFETCH.each_ref().map(|(name, _)| *name)),
            });
        }
        match KEYS.iter().find(|(name, _)| *name == key && may_stand(name)) {
            Some((_, meaning)) => self.means(meaning, place, value),
            None => {
                let known: Vec<_> = KEYS.iter().map(|(name, _)| *name).filter(|name| may_stand(name)).collect();
                self.unknown(key, place, &known);
            }
        }
    }

    fn means(&mut self, meaning: &Meaning, place: &str, value: &DeValue<'_>) {
        match meaning {
            Meaning::Nothing("") => self.wrong(place, "not a table"),
            Meaning::Nothing(instead) => {
                self.problems.push(Problem::warning(place, "has no effect here", *instead));
            }
            Meaning::Unlike(said, instead) => match value {
                DeValue::Boolean(is) if is == said => {
                    self.problems.push(Problem::warning(place, "has no effect here", *instead));
                }
                DeValue::Boolean(_) => {}
                _ => self.wrong(place, "not `true` or `false`"),
            },
            Meaning::Texts(path) => self.texts(place, value).into_iter().enumerate().for_each(|(number, text)| {
                self.put(place, &format!("{path}.{number}"), &text);
            }),
            Meaning::TokenVariables => self.variables = self.texts(place, value),
            Meaning::Ratio => match number(value) {
                Some(ratio) if (0.1..=1.0).contains(&ratio) => self.ratio = ratio,
                _ => self.wrong(place, "not a number from 0.1 to 1.0"),
            },
            Meaning::Secrets => self.prefetch(place, value, "secret_id", "id"),
            Meaning::Tags => self.prefetch(place, value, "key", "tag"),
            Meaning::As(path) => {
                let Some(text) = self.scalar(place, value) else { return };
                if *path == "secrets.api.cache_size" {
                    self.cache = number(value).unwrap_or(CACHE);
                }
                self.put(place, path, &text);
            }
            Meaning::Seconds(path) => {
                let Some(text) = self.scalar(place, value) else { return };
                self.put(place, path, &format!("{text}s"));
            }
            Meaning::Port => {
                let Some(text) = self.scalar(place, value) else { return };
                self.put(place, "secrets.api.listen", &format!("127.0.0.1:{text}"));
            }
            Meaning::Level => {
                let Some(text) = self.scalar(place, value) else { return };
                let text = text.to_ascii_lowercase();
                self.put(place, "log.level", if text == "none" { "off" } else { &text });
            }
        }
    }

    /// Entries of a list of tables, with a role that may be missing.
    fn prefetch(&mut self, place: &str, value: &DeValue<'_>, theirs: &str, ours: &str) {
        let DeValue::Array(entries) = value else { return self.wrong(place, "not a list of tables") };
        for entry in entries {
            let DeValue::Table(table) = entry.as_ref() else {
                self.wrong(place, "not a list of tables");
                continue;
            };
            let number = self.prefetched;
            self.prefetched += 1;
            if !table.iter().any(|(key, _)| key.as_ref() == theirs) {
                let what = format!("an entry has no `{theirs}`");
                self.problems.push(Problem::error(place, what, "say what is to be asked for"));
                continue;
            }
            self.each(table, &mut |reader, key, place, value| {
                let member = match key {
                    "role_arn" => "role_arn",
                    _ if key == theirs => ours,
                    _ => return reader.unknown(key, place, &[theirs, "role_arn"]),
                };
                if let Some(text) = reader.scalar(place, value) {
                    reader.put(place, &format!("secrets.api.prefetch.{number}.{member}"), &text);
                }
            });
        }
    }

    fn texts(&mut self, place: &str, value: &DeValue<'_>) -> Vec<String> {
        let DeValue::Array(texts) = value else {
            self.wrong(place, "not a list of texts");
            return Vec::new();
        };
        texts.iter().filter_map(|text| self.scalar(place, text.as_ref())).collect()
    }

    /// A text or a number, which the original takes for each other.
    fn scalar(&mut self, place: &str, value: &DeValue<'_>) -> Option<String> {
        match value {
            DeValue::String(text) => Some(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
            _ => {
                self.wrong(place, "neither a text nor a whole number");
                None
            }
        }
    }

    fn put(&mut self, place: &str, path: &str, value: &str) {
        let steps: Vec<String> = path.split('.').map(str::to_owned).collect();
        if let Err(misplaced) = overrides::put(&mut self.tree.root, place, &steps, value) {
            self.problems.push(Problem::error(misplaced.variable, misplaced.what, misplaced.hint));
        }
    }

    fn wrong(&mut self, place: &str, what: &str) {
        self.problems.push(Problem::error(place, what, "see the documentation of AWS's agent"));
    }

    fn unknown(&mut self, key: &str, place: &str, known: &[&str]) {
        let hint = match nearest(key, known.iter().copied()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("known are here: {}", known.join(", ")),
        };
        self.problems.push(Problem::error(place, "there is no such key", hint));
    }
}

fn number(value: &DeValue<'_>) -> Option<f64> {
    match value {
        DeValue::Integer(number) => number.as_str().parse().ok(),
        DeValue::Float(number) => number.as_str().parse().ok(),
        DeValue::String(text) => text.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
#[path = "secrets_agent_tests.rs"]
mod tests;
