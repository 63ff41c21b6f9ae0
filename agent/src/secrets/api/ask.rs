//! What a path and a query ask for.
//!
//! Promises: the same question, or the same complaint, as the original makes of them; parameters are read in their order, and
//! the first one that is wrong is complained about.
//! Never: panics, whatever the bytes are; lets an id through that no service could have.

use std::borrow::Cow;

use http::{Method, StatusCode};

use super::{Ask, Freshness, Kind};

/// Health of the listener itself.
pub(super) const PING: &str = "/ping";
/// Our own: look now.
pub(super) const REFRESH: &str = "/v1/agent/refresh";
/// Our own: an app has taken a generation up.
const ACK: &str = "/v1/agent/ack";
/// Our own: what generation there is.
const EVENTS: &str = "/v1/agent/events";
/// The original's query style.
const GET: &str = "/secretsmanager/get";
/// The Lambda extension's.
const PARAMETER: &str = "/systemsmanager/parameters/get";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Is somebody there?
    Ping,
    /// A secret or parameter.
    Get(Ask, Freshness),
    /// Look now.
    Refresh,
    /// The generation, once it is not this one.
    Events(Option<u64>),
    /// This generation was taken up.
    Ack(u64),
}

/// Why nothing can be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrong {
    /// A plain text.
    Text(StatusCode, Cow<'static, str>),
    /// The id has letters that no name has: what AWS would say.
    Name,
}

fn bad(what: impl Into<Cow<'static, str>>) -> Wrong {
    Wrong::Text(StatusCode::BAD_REQUEST, what.into())
}

/// True if the method may be used on this path.
pub(super) fn allows(path: &str, method: &Method) -> bool {
    if path == REFRESH || path == ACK { method == Method::POST } else { method == Method::GET }
}

/// Reads path and query. Our own paths win over secrets that are called like them.
pub(super) fn route(path: &str, query: &str, prefix: &str) -> Result<Route, Wrong> {
    match path {
        PING => Ok(Route::Ping),
        REFRESH => Ok(Route::Refresh),
        EVENTS => Ok(Route::Events(number(query, "since")?)),
        ACK => number(query, "generation")?.map(Route::Ack).ok_or_else(|| bad("missing parameter generation")),
        GET => secret(None, query),
        _ if path.strip_suffix('/').unwrap_or(path) == PARAMETER => parameter(query),
        _ => match path.strip_prefix(prefix) {
            Some(rest) => secret(Some(named(rest)?), query),
            None => Err(not_found()),
        },
    }
}

fn not_found() -> Wrong {
    Wrong::Text(StatusCode::NOT_FOUND, "Not found".into())
}

/// The id in a path: as it stands, but for dot segments, and for `%XX` of letters that a name may have, which could not be meant
/// otherwise: no name has a `%`.
fn named(rest: &str) -> Result<String, Wrong> {
    // Nearly all have neither.
    if !rest.is_empty() && !rest.bytes().any(|byte| byte == b'%') && !rest.starts_with('.') && !rest.contains("/.") {
        return Ok(rest.to_owned());
    }
    let mut parts: Vec<&str> = Vec::new();
    let mut all = rest.split('/').peekable();
    while let Some(part) = all.next() {
        match part.replace("%2e", ".").replace("%2E", ".").as_str() {
            "." | ".." if part.len() > 6 => parts.push(part),
            "." if all.peek().is_none() => parts.push(""),
            "." => {}
            ".." => {
                parts.pop().ok_or_else(not_found)?;
                if all.peek().is_none() {
                    parts.push("");
                }
            }
            _ => parts.push(part),
        }
    }
    let id = parts.join("/");
    if id.is_empty() {
        return Err(bad("missing secret ID"));
    }
    Ok(decoded(id.as_bytes(), is_in_ids))
}

fn secret(id: Option<String>, query: &str) -> Result<Route, Wrong> {
    let by_path = id.is_some();
    let (mut ask, mut freshness) = (Ask { id: id.unwrap_or_default(), ..Ask::default() }, Freshness::Cached);
    for (key, value) in pairs(query) {
        match &*key {
            "secretId" if !by_path => ask.id = value.into_owned(),
            "versionId" => ask.version_id = Some(value.into_owned()),
            "versionStage" => ask.version_stage = Some(value.into_owned()),
            "refreshNow" => freshness = refresh_now(&value)?,
            "roleArn" if is_role(&value) => ask.role_arn = Some(value.into_owned()),
            "roleArn" => {
                return Err(bad("invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>"));
            }
            _ => return Err(bad(format!("unknown parameter: {key}"))),
        }
    }
    if ask.id.is_empty() {
        return Err(bad("missing parameter secretId"));
    }
    checked(ask, freshness)
}

fn parameter(query: &str) -> Result<Route, Wrong> {
    let mut ask = Ask { kind: Kind::SealedParameter, ..Ask::default() };
    for (key, value) in pairs(query) {
        let first = ask.version_id.is_none() && ask.version_stage.is_none();
        match &*key {
            "name" => ask.id = value.into_owned(),
            "version" if first => ask.version_id = Some(value.into_owned()),
            "label" if first => ask.version_stage = Some(value.into_owned()),
            "version" | "label" => {}
            "withDecryption" if value.eq_ignore_ascii_case("true") => ask.kind = Kind::Parameter,
            "withDecryption" if value.eq_ignore_ascii_case("false") => ask.kind = Kind::SealedParameter,
            "withDecryption" => return Err(bad("invalid withDecryption value")),
            _ => return Err(bad(format!("unknown parameter: {key}"))),
        }
    }
    if ask.id.is_empty() {
        return Err(bad("missing parameter name"));
    }
    checked(ask, Freshness::Cached)
}

/// The number of a generation, the only parameter.
fn number(query: &str, name: &str) -> Result<Option<u64>, Wrong> {
    let mut number = None;
    for (key, value) in pairs(query) {
        if key != name {
            return Err(bad(format!("unknown parameter: {key}")));
        }
        number = Some(value.parse().map_err(|_| bad(format!("invalid {name} value")))?);
    }
    Ok(number)
}

fn checked(ask: Ask, freshness: Freshness) -> Result<Route, Wrong> {
    // Longest as the services take them.
    let plain = |text: &str, most: usize| text.len() <= most && text.bytes().all(is_in_ids);
    let selectors = ask.version_id.iter().chain(&ask.version_stage);
    let fits = plain(&ask.id, 2_048) && selectors.into_iter().all(|selector| plain(selector, 256));
    if fits { Ok(Route::Get(ask, freshness)) } else { Err(Wrong::Name) }
}

/// What stands in names, ARNs, version ids and stages.
fn is_in_ids(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/_+=.@-:!".contains(&byte)
}

fn refresh_now(value: &str) -> Result<Freshness, Wrong> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(Freshness::Now),
        "false" | "0" => Ok(Freshness::Cached),
        _ => Err(bad("invalid refreshNow value")),
    }
}

/// `^arn:[\w-]+:iam::\d{12}:role/[\w+=,.@/-]+$`
fn is_role(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let &["arn", partition, "iam", "", account, role] = parts.as_slice() else { return false };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let name = role.strip_prefix("role/").unwrap_or_default();
    !partition.is_empty()
        && partition.bytes().all(word)
        && account.len() == 12
        && account.bytes().all(|byte| byte.is_ascii_digit())
        // Names have 64 letters at most, paths 512.
        && (1..=576).contains(&name.len())
        && name.bytes().all(|byte| word(byte) || b"+=,.@/".contains(&byte))
}

/// The parameters of a query: `+` is a space, `%XX` a byte.
fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(move |pair| {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        (spaced(key), spaced(value))
    })
}

fn spaced(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte == b'+' || byte == b'%') {
        return Cow::Borrowed(text);
    }
    Cow::Owned(decoded(text.replace('+', " ").as_bytes(), |_| true))
}

/// Decodes each `%XX` whose byte is wanted; others stay as they are.
fn decoded(mut text: &[u8], wanted: impl Fn(u8) -> bool) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        let digit = |at: usize| rest.get(at).and_then(|digit| (*digit as char).to_digit(16));
        let byte = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok().filter(|byte| wanted(*byte)),
            _ => None,
        };
        bytes.push(byte.unwrap_or(first));
        text = if byte.is_some() { &rest[2..] } else { rest };
    }
    String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use super::*;

    fn said(uri: &str) -> String {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        match route(path, query, "/v1/") {
            Ok(Route::Get(ask, freshness)) => {
                let Ask { kind, id, version_id, version_stage, role_arn } = ask;
                let of = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
                let (version, stage, role) = (of(version_id), of(version_stage), of(role_arn));
                format!("{kind:?} {id} {version} {stage} {role} {freshness:?}")
            }
            other => format!("{other:?}"),
        }
    }

    const URIS: &[&str] = &[
        "/ping",
        "/secretsmanager/get?secretId=MyTest",
        "/secretsmanager/get?secretId=a%2Fb+c",
        "/secretsmanager/get?secretId=a%2Fb&versionId=v&versionStage=AWSPENDING&refreshNow=TRUE",
        "/secretsmanager/get?secretId=a&secretId=b&refreshNow=0",
        "/secretsmanager/get?secretId=a&roleArn=arn:aws:iam::123456789012:role/path/r",
        "/secretsmanager/get?secretId=a&roleArn=arn:aws:iam::12345678901:role/r",
        "/secretsmanager/get?secretId=a&refreshNow=yes&x=1",
        "/secretsmanager/get?secretId=a&x=1&refreshNow=yes",
        "/secretsmanager/get",
        "/secretsmanager/get?secretId=",
        "/secretsmanager/get/?secretId=a",
        "/v1/",
        "/v1/My/Test?versionStage=AWSPREVIOUS",
        "/v1/My%2FTest",
        "/v1/My%20Test",
        "/v1/My%2",
        "/v1/a/./b/../c",
        "/v1/a/%2e%2E/c",
        "/v1/../ping",
        "/v1/a?secretId=b",
        "/v1/agent/refresh",
        "/v1/agent/events?since=7",
        "/v1/agent/events?since=-7",
        "/v1/agent/ack?generation=7",
        "/v1/agent/ack?generation=18446744073709551616",
        "/v1/agent/other",
        "/systemsmanager/parameters/get/?name=%2Fa%2Fb&version=3&label=prod&withDecryption=true",
        "/systemsmanager/parameters/get?name=a&label=prod",
        "/systemsmanager/parameters/get?version=3",
        "/systemsmanager/parameters/get?name=a&withDecryption=1",
        "/",
        "/etc/passwd",
    ];

    /// The original's parameters, in its order of complaints, and ours.
    #[test]
    fn every_way_to_ask() {
        let table: Vec<_> = URIS.iter().map(|uri| format!("{uri}\n    {}", said(uri))).collect();
        assert_snapshot!(table.join("\n"), @r#"
/ping
    Ok(Ping)
/secretsmanager/get?secretId=MyTest
    Secret MyTest - - - Cached
/secretsmanager/get?secretId=a%2Fb+c
    Err(Name)
/secretsmanager/get?secretId=a%2Fb&versionId=v&versionStage=AWSPENDING&refreshNow=TRUE
    Secret a/b v AWSPENDING - Now
/secretsmanager/get?secretId=a&secretId=b&refreshNow=0
    Secret b - - - Cached
/secretsmanager/get?secretId=a&roleArn=arn:aws:iam::123456789012:role/path/r
    Secret a - - arn:aws:iam::123456789012:role/path/r Cached
/secretsmanager/get?secretId=a&roleArn=arn:aws:iam::12345678901:role/r
    Err(Text(400, "invalid roleArn format, expected arn:<partition>:iam::<account>:role/<name>"))
/secretsmanager/get?secretId=a&refreshNow=yes&x=1
    Err(Text(400, "invalid refreshNow value"))
/secretsmanager/get?secretId=a&x=1&refreshNow=yes
    Err(Text(400, "unknown parameter: x"))
/secretsmanager/get
    Err(Text(400, "missing parameter secretId"))
/secretsmanager/get?secretId=
    Err(Text(400, "missing parameter secretId"))
/secretsmanager/get/?secretId=a
    Err(Text(404, "Not found"))
/v1/
    Err(Text(400, "missing secret ID"))
/v1/My/Test?versionStage=AWSPREVIOUS
    Secret My/Test - AWSPREVIOUS - Cached
/v1/My%2FTest
    Secret My/Test - - - Cached
/v1/My%20Test
    Err(Name)
/v1/My%2
    Err(Name)
/v1/a/./b/../c
    Secret a/c - - - Cached
/v1/a/%2e%2E/c
    Secret c - - - Cached
/v1/../ping
    Err(Text(404, "Not found"))
/v1/a?secretId=b
    Err(Text(400, "unknown parameter: secretId"))
/v1/agent/refresh
    Ok(Refresh)
/v1/agent/events?since=7
    Ok(Events(Some(7)))
/v1/agent/events?since=-7
    Err(Text(400, "invalid since value"))
/v1/agent/ack?generation=7
    Ok(Ack(7))
/v1/agent/ack?generation=18446744073709551616
    Err(Text(400, "invalid generation value"))
/v1/agent/other
    Secret agent/other - - - Cached
/systemsmanager/parameters/get/?name=%2Fa%2Fb&version=3&label=prod&withDecryption=true
    Parameter /a/b 3 - - Cached
/systemsmanager/parameters/get?name=a&label=prod
    SealedParameter a - prod - Cached
/systemsmanager/parameters/get?version=3
    Err(Text(400, "missing parameter name"))
/systemsmanager/parameters/get?name=a&withDecryption=1
    Err(Text(400, "invalid withDecryption value"))
/
    Err(Text(404, "Not found"))
/etc/passwd
    Err(Text(404, "Not found"))
"#);
    }

    proptest! {
        #[test]
        fn property_no_path_or_query_panics(path in "/(v1/)?[ -~]{0,40}", query in "(secretId=|name=)?[ -~]{0,60}") {
            let _ = route(&path, &query, "/v1/");
            let _ = route("/secretsmanager/get", &query, "/v1/");
            let _ = route("/systemsmanager/parameters/get", &query, "/v1/");
        }

        #[test]
        fn property_an_id_holds_only_what_names_hold(id in "\\PC{1,40}") {
            if let Ok(Route::Get(ask, _)) = route(&format!("/v1/{id}"), "", "/v1/") {
                prop_assert!(ask.id.bytes().all(is_in_ids), "{:?}", ask.id);
            } else {
                prop_assert!(!id.bytes().all(|byte| byte.is_ascii_alphanumeric()));
            }
        }
    }
}
