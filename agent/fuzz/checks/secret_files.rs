//! What must hold of any secret in any format.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use std::collections::BTreeMap;

use pillion::{
    limits::SECRET_FILE_BYTES_MAX,
    secrets::{
        render::{mistakes, render},
        settings::{Combined, File, Format, From, Item, Mask, Secrets, Stage, WhenGone},
        value::{Content, Held, Value, Version},
    },
};

/// Where each member has a file. Patterns that begin so are left out.
const FOLDER: &str = "each member";

/// The first line is a path, a member, a URL and a template, all at once; the rest is the secret.
pub(crate) fn check(bytes: &[u8]) {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let pattern = String::from_utf8_lossy(&bytes[..line]).into_owned();
    if pattern.starts_with(FOLDER) {
        return;
    }
    let secret = &bytes[(line + 1).min(bytes.len())..];
    let formats = [
        Format::Raw,
        Format::Key(pattern.clone()),
        Format::Dotenv,
        Format::Properties,
        Format::Url(pattern.clone()),
        Format::Pgpass,
        Format::MyCnf,
        Format::Template(pattern.clone()),
    ];
    let file = |(at, format): (usize, Format)| File { path: at.to_string(), of: Stage::Current, format, mode: None };
    let mut files: Vec<File> = formats.into_iter().enumerate().map(file).collect();
    files.push(File { path: pattern.clone(), of: Stage::Current, format: Format::Raw, mode: None });
    files.push(File { path: FOLDER.to_owned(), of: Stage::Current, format: Format::Each, mode: None });
    let expected = files.len() + 1;
    let item = Item {
        name: "db".to_owned(),
        from: From::File("db".into()),
        required: true,
        when_gone: WhenGone::Keep,
        mask: Mask::Auto,
        files,
    };
    let combined = Combined { path: "all".to_owned(), template: pattern, mode: None };
    let secrets = Secrets { items: vec![item], files: vec![combined], ..Secrets::default() };
    let found = mistakes(&secrets);
    let content = Content::Text(Value::new(secret.to_vec()));
    let current = Version { id: "v1".to_owned(), stages: Vec::new(), created: None, content };
    let held = Held { id: "db".to_owned(), current, previous: None, pending: None };
    let outcome = render(&secrets, &BTreeMap::from([("db".to_owned(), held)]));
    // The files of a folder are as many as it has members.
    let singles = outcome.files.iter().filter(|file| !file.path.starts_with(FOLDER)).count();
    let is_made = outcome.faults.iter().all(|fault| fault.path != FOLDER);
    assert_eq!(singles + outcome.faults.len() + usize::from(is_made), expected, "each is made, or said why not");
    assert_eq!(outcome.files[0].bytes.expose(), secret, "raw is to the byte");
    for file in &outcome.files {
        let bytes = file.bytes.expose();
        assert!(bytes.len() <= SECRET_FILE_BYTES_MAX);
        let is_text = (1..=7).any(|at| file.path == at.to_string());
        assert!(!is_text || (std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0)), "{} is text", file.path);
        assert!(!file.path.starts_with('/') && file.path.split('/').all(|name| !matches!(name, "" | "." | "..")));
    }
    let refused = |path: &str| outcome.faults.iter().any(|fault| fault.path == path);
    for mistake in &found {
        match mistake.place.as_str() {
            "secrets.items[0].files[4].as" => assert!(refused("4"), "a URL that is a mistake"),
            "secrets.items[0].files[7].as" => assert!(refused("7"), "a template that is a mistake"),
            "secrets.files[0].template" => assert!(refused("all"), "a template that is a mistake"),
            _ => {}
        }
    }
}
