//! ECS `secrets`, which are read once and stay as they were at the start, as files that follow each rotation.
//!
//! Promises: `NAME` becomes the file `/run/secrets/NAME`, and the variable `NAME_FILE` says so, as many images have it; the
//! file holds what the variable held: a whole secret, one member, another stage or version.
//! Never: moves what a template computes; moves anything unless asked.

use std::collections::BTreeMap;

use crate::{
    problem::Problem,
    taskdef::view::{Container, Task},
};

/// Where the files are, in all containers.
pub const FOLDER: &str = "/run/secrets";
/// The volume that they are on.
pub const VOLUME: &str = "pillion-secrets";

/// What becomes of the secrets of a task.
#[derive(Debug, Default)]
pub(super) struct Moved {
    /// Variables of pillion.
    pub(super) settings: Vec<(String, String)>,
    /// Containers, and for each the variables that become files: name and path.
    pub(super) files: BTreeMap<String, Vec<(String, String)>>,
    /// What could not be moved.
    pub(super) care: Vec<Problem>,
}

/// Settings and values below `FROM`.
type From = Vec<(&'static str, String)>;

/// One source that a variable names.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Source {
    from: From,
    /// The member of the JSON object; none for the whole.
    key: Option<String>,
    /// The stage, if it is one that a file can show besides the current one.
    of: Option<&'static str>,
}

/// Looks at the secrets of the containers of these names.
pub(super) fn moved(task: Task<'_>, apps: &[String]) -> Moved {
    let mut moved = Moved::default();
    let mut items: Vec<(From, Vec<(String, Source)>)> = Vec::new();
    let mut paths: BTreeMap<String, Source> = BTreeMap::new();
    for container in apps.iter().filter_map(|name| task.container(name)) {
        let owner = container.name().unwrap_or_default();
        for secret in container.0.items_of("secrets") {
            let Some(name) = secret.text_of("name") else { continue };
            let place = format!("{owner}.secrets.{name}");
            let Some(value_from) = secret.text_of("valueFrom") else {
                let hint = "write the ARN out, or leave it a variable";
                moved.care.push(Problem::warning(place, "is computed by the template, and stays a variable", hint));
                continue;
            };
            let source = source(&value_from);
            // Two containers may call different things by one name.
            let path = match paths.get(&name) {
                Some(other) if *other != source => format!("{owner}/{name}"),
                Some(_) | None => name.clone(),
            };
            moved.files.entry(owner.clone()).or_default().push((name, path.clone()));
            if paths.insert(path.clone(), source.clone()).is_some() {
                continue;
            }
            match items.iter_mut().find(|(from, _)| *from == source.from) {
                Some((_, files)) => files.push((path, source)),
                None => items.push((source.from.clone(), vec![(path, source)])),
            }
        }
    }
    for (number, (from, files)) in items.iter().enumerate() {
        let head = format!("PILLION__SECRETS__ITEMS__{number}__");
        let mut set = |tail: &str, value: &str| moved.settings.push((format!("{head}{tail}"), value.to_owned()));
        set("NAME", &item_name(&files[0].0, number));
        for (setting, value) in from {
            set(&format!("FROM__{setting}"), value);
        }
        for (at, (path, source)) in files.iter().enumerate() {
            set(&format!("FILES__{at}__PATH"), path);
            if let Some(key) = &source.key {
                set(&format!("FILES__{at}__AS__KEY"), key);
            }
            if let Some(stage) = source.of {
                set(&format!("FILES__{at}__OF"), stage);
            }
        }
    }
    moved
}

/// What `valueFrom` names: `arn:..:secretsmanager:..:secret:NAME:KEY:STAGE:VERSION`, the ARN of a parameter, or its name.
fn source(value_from: &str) -> Source {
    let parts: Vec<&str> = value_from.split(':').collect();
    let is_secret = parts.len() >= 7 && parts[0] == "arn" && parts[2] == "secretsmanager";
    if !is_secret {
        return Source { from: vec![("PARAMETER__NAME", value_from.to_owned())], key: None, of: None };
    }
    let part = |index: usize| parts.get(index).copied().filter(|part| !part.is_empty());
    let mut from = vec![("SECRETS_MANAGER__ID", parts[..7].join(":"))];
    let of = match part(8) {
        None | Some("AWSCURRENT") => None,
        Some("AWSPREVIOUS") => Some("previous"),
        Some("AWSPENDING") => Some("pending"),
        Some(stage) => {
            from.push(("SECRETS_MANAGER__STAGE", stage.to_owned()));
            None
        }
    };
    if let Some(version) = part(9) {
        from.push(("SECRETS_MANAGER__VERSION", version.to_owned()));
    }
    Source { from, key: part(7).map(str::to_owned), of }
}

/// A name of letters, digits, `-` and `_` that no other item has.
fn item_name(path: &str, number: usize) -> String {
    let letters =
        path.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' });
    format!("{}-{number}", letters.take(40).collect::<String>())
}

/// The file on a volume that holds the token of AWS's agent for secrets.
pub(super) fn token_file(agent: Container<'_>) -> Option<String> {
    let path = agent.variable("AWS_TOKEN")?.strip_prefix("file://")?.to_owned();
    let is_mounted = agent.0.items_of("mountPoints").any(|mount| {
        mount
            .text_of("containerPath")
            .is_some_and(|folder| path.starts_with(&format!("{}/", folder.trim_end_matches('/'))))
    });
    is_mounted.then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf";

    #[test]
    fn every_form_of_value_from_is_understood() {
        let secret = |more: &[(&'static str, &str)], key: Option<&str>, of| Source {
            from: std::iter::once(("SECRETS_MANAGER__ID", ARN.to_owned()))
                .chain(more.iter().map(|(name, value)| (*name, (*value).to_owned())))
                .collect(),
            key: key.map(str::to_owned),
            of,
        };
        for (tail, expected) in [
            ("", secret(&[], None, None)),
            (":password::", secret(&[], Some("password"), None)),
            ("::AWSPREVIOUS:", secret(&[], None, Some("previous"))),
            (":password:AWSPENDING:", secret(&[], Some("password"), Some("pending"))),
            ("::BLUE:", secret(&[("SECRETS_MANAGER__STAGE", "BLUE")], None, None)),
            (":::9d4cb84b", secret(&[("SECRETS_MANAGER__VERSION", "9d4cb84b")], None, None)),
        ] {
            assert_eq!(source(&format!("{ARN}{tail}")), expected, "{tail}");
        }
        for name in
            ["/prod/flag", "arn:aws:ssm:eu-west-1:123456789012:parameter/prod/flag", "arn:aws:secretsmanager", ""]
        {
            let expected = Source { from: vec![("PARAMETER__NAME", name.to_owned())], key: None, of: None };
            assert_eq!(source(name), expected);
        }
    }
}
