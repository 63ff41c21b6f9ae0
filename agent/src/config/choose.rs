//! Which of all sources is the configuration.
//!
//! Promises: one source counts; another one that was named is told as not read.
//! Never: reads what is in it.

use std::{
    io,
    path::{Path, PathBuf},
};

use super::{FIRELENS_FILE, OWN_FILE, Sources, collector, source::Tree};
use crate::{
    fluentbit,
    problem::{Problem, Problems, shown},
};

/// Where the CloudWatch agent's image looks: a file, or a folder with it.
const CLOUDWATCH_AGENT_FILES: [&str; 2] = ["/etc/cwagentconfig", "/etc/cwagentconfig/cwagentconfig.json"];
/// The source that counts.
pub(super) enum Chosen {
    Nothing,
    Own { name: String, text: Vec<u8> },
    FluentBit(PathBuf),
    SecretsAgent { name: String, text: Vec<u8> },
}

pub(super) fn choose(sources: &Sources<'_>, problems: &mut Problems) -> Chosen {
    let environment = &sources.environment;
    let named = sources.file.clone().or_else(|| environment.get("PILLION_CONFIG").map(PathBuf::from));
    if let Some(content) = environment.get("PILLION_CONFIG_CONTENT") {
        if let Some(file) = named {
            let what = format!("`{}` is not read", shown(&file.display().to_string()));
            problems.push(Problem::warning("PILLION_CONFIG_CONTENT", what, "the variable takes the file's place"));
        }
        return Chosen::Own { name: "PILLION_CONFIG_CONTENT".to_owned(), text: content.as_bytes().to_vec() };
    }
    // Those of ADOT and of the CloudWatch agent.
    for variable in ["AOT_CONFIG_CONTENT", "CW_CONFIG_CONTENT"] {
        let Some(content) = environment.get(variable) else { continue };
        if let Some(file) = named {
            let what = format!("`{}` is not read", shown(&file.display().to_string()));
            problems.push(Problem::warning(variable, what, "the variable takes the file's place"));
        }
        return Chosen::Own { name: variable.to_owned(), text: content.as_bytes().to_vec() };
    }
    let usual = [OWN_FILE, FIRELENS_FILE].into_iter().chain(CLOUDWATCH_AGENT_FILES).map(PathBuf::from);
    let is_named = named.is_some();
    for path in named.map_or_else(|| usual.collect(), |file| vec![file]) {
        match sources.files.read(&path) {
            Ok(text) if path.extension().is_some_and(|ending| ending == "toml") => {
                return Chosen::SecretsAgent { name: shown(&path.display().to_string()), text };
            }
            Ok(text) if is_fluent_bit(&path, &text) => return Chosen::FluentBit(path),
            Ok(text) => return Chosen::Own { name: shown(&path.display().to_string()), text },
            // The CloudWatch agent's file may be a folder with one in it.
            Err(error)
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::IsADirectory) && !is_named => {}
            Err(error) => {
                let name = path.display().to_string();
                if let Some(text) = collector::of_image(&name) {
                    return Chosen::Own { name, text: text.into_bytes() };
                }
                let what = format!("cannot be read: {}", fluentbit::reason(&error));
                let place = shown(&path.display().to_string());
                problems.push(Problem::error(place, what, "give the path of a configuration file"));
            }
        }
    }
    Chosen::Nothing
}

/// `.yaml` and `.yml` are ours, `.conf` is Fluent Bit's (and `.toml` that of AWS's agent for secrets); else the first line that says something decides.
pub(super) fn is_fluent_bit(path: &Path, text: &[u8]) -> bool {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("yaml" | "yml") => false,
        Some("conf") => true,
        _ => text
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::trim_ascii)
            .find(|line| !line.is_empty() && !line.starts_with(b"#"))
            .is_some_and(|line| line.starts_with(b"[") || line.starts_with(b"@")),
    }
}

/// The tree of a text of ours, or of the collector's or the CloudWatch agent's. JSON may have tabs where YAML has none.
pub(super) fn read_own(name: &str, text: &[u8], problems: &mut Problems) -> Tree {
    // In JSON they stand between values only.
    let is_json = text.contains(&b'\t') && serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    if is_json {
        let text: Vec<u8> = text.iter().map(|byte| if *byte == b'\t' { b' ' } else { *byte }).collect();
        return Tree::parse(name, &text, problems);
    }
    Tree::parse(name, text, problems)
}
