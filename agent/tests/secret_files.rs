//! Files of secrets, read by the shells of this machine.
//!
//! Promises: what a shell has after `. file` is what the secret says, to the byte.
//! Never: says anything of other readers; the tests beside the formats read them back with small readers of their own.

use std::{collections::BTreeMap, fs, process::Command};

use pillion::secrets::{
    render::render,
    settings::{File, Format, From, Item, Mask, Secrets, Stage, WhenGone},
    value::{Content, Held, Value, Version},
};

/// Pieces that have broken somebody, and all pairs of them.
fn values() -> Vec<String> {
    let pieces = [
        "", "a", " ", "'", "\"", "\\", "\\\\", "$HOME", "${x}", "$(id)", "`id`", "\n", "\r", "\t", "#", " # ", "!",
        "!!", "~", "*", "=", ";", "&&", "|", "<", ">", "(", "[", "{a,b}", "%s", "\\n", "\u{1}", "\u{7f}", "ä", "😀",
        ":~/x",
    ];
    pieces.iter().flat_map(|first| pieces.iter().map(move |second| format!("{first}{second}"))).collect()
}

fn bytes_of(format: Format, secret: &str) -> Vec<u8> {
    let file = File { path: "file".to_owned(), of: Stage::Current, format, mode: None };
    let item = Item {
        name: "secret".to_owned(),
        from: From::File("secret".into()),
        required: true,
        when_gone: WhenGone::Keep,
        mask: Mask::Auto,
        files: vec![file],
    };
    let content = Content::Text(Value::new(secret.as_bytes().to_vec()));
    let current = Version { id: "v1".to_owned(), stages: Vec::new(), created: None, content };
    let held = Held { id: "secret".to_owned(), current, previous: None, pending: None };
    let outcome =
        render(&Secrets { items: vec![item], ..Secrets::default() }, &BTreeMap::from([("secret".to_owned(), held)]));
    assert_eq!(outcome.faults, []);
    outcome.files[0].bytes.expose().to_vec()
}

/// What the shell prints, piece by piece, of which each ends with NUL.
fn says(shell: &str, script: &str, file: &str) -> Vec<String> {
    let mut command = Command::new(shell);
    command.args(["-c", script, shell, file]).env_clear().env("PATH", "/usr/bin:/bin").env("HOME", "/expanded");
    let output = command.output().expect("a shell");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{shell}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    text.split_terminator('\0').map(str::to_owned).collect()
}

#[test]
fn shells_read_dotenv_and_words_exactly() {
    let mut values = values();
    values.push("x'\"\\$`# ".repeat(8_000));
    let folder = tempfile::tempdir().expect("a folder");
    // What a secret may have, 64 KiB, is less than all values together.
    for (at, chunk) in values.chunks(100).enumerate() {
        let members: BTreeMap<String, &String> =
            chunk.iter().enumerate().map(|(number, value)| (format!("v{number:03}"), value)).collect();
        let secret = serde_json::to_string(&members).expect("JSON");
        let dotenv = folder.path().join(format!("{at}.env"));
        fs::write(&dotenv, bytes_of(Format::Dotenv, &secret)).expect("is written");
        let words = folder.path().join(format!("{at}.sh"));
        let template = "printf '%s\\0'{% for name in secret %} {{ secret[name] | shell }}{% endfor %}\n";
        fs::write(&words, bytes_of(Format::Template(template.to_owned()), &secret)).expect("is written");
        for shell in ["bash", "sh"] {
            let variables = says(shell, "set -a; . \"$1\"; exec env -0", dotenv.to_str().expect("a path"));
            for (name, value) in &members {
                let expected = format!("{}={value}", name.to_uppercase());
                assert!(variables.contains(&expected), "{shell} has another {expected:?}");
            }
            let words = says(shell, ". \"$1\"", words.to_str().expect("a path"));
            assert_eq!(words.iter().collect::<Vec<_>>(), members.values().copied().collect::<Vec<_>>(), "{shell}");
        }
    }
}
