//! What the README tells a newcomer to do, done to the letter.
//!
//! Promises: each command of "Add it to your service" ends with 0 in this order, and says what the README says that it does; the task
//! definition that is written out there is one that ECS takes and pillion starts with.
//! Never: builds the binary, runs a container, or asks AWS: `tests/run` and `tests/tests/ecs_local` do.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tests::agent::binary;

fn readme() -> String {
    fs::read_to_string(root().join("README.md")).unwrap()
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// What stands under a heading.
fn section<'a>(text: &'a str, heading: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    rest.split("\n## ").next().unwrap()
}

/// What stands in the first fence of a kind.
fn fenced<'a>(text: &'a str, kind: &str) -> &'a str {
    let (_, rest) = text.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("no {kind}"));
    rest.split("```").next().unwrap()
}

/// What a call of pillion in this folder prints: to standard output, and to standard error.
fn run(folder: &Path, words: &[&str]) -> (String, String) {
    let output = Command::new(binary().unwrap()).args(words).current_dir(folder).env_clear().output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "pillion {words:?} ended with {}: {said}", output.status);
    (String::from_utf8(output.stdout).unwrap(), said)
}

#[test]
fn the_path_of_a_newcomer_works_word_by_word() {
    let text = readme();
    let path = section(&text, "Add it to your service");
    let folder = tempfile::tempdir().unwrap();
    let (_, copied) = path.split_once("`cp ").unwrap();
    let [from, to] = copied.split('`').next().unwrap().split(' ').collect::<Vec<_>>()[..] else { panic!("{copied}") };
    let before = fs::read_to_string(root().join(from)).unwrap();
    fs::write(folder.path().join(to), &before).unwrap();

    let mut done = Vec::new();
    for line in fenced(path, "console").lines() {
        let Some(words) = line.strip_prefix("$ pillion ") else { continue };
        let words: Vec<&str> = words.split(' ').collect();
        let (out, said) = run(folder.path(), &words);
        let option = words.last().filter(|word| word.starts_with("--")).copied().unwrap_or_default();
        done.push(format!("{} {option}", words[0]));
        let told = match (words[0], option) {
            ("lint", _) => out.contains("warning["),
            ("inject", "--diff") => out.contains("+++ task.json") && out.contains("\n+      \"name\": \"pillion\",\n"),
            ("inject", "--in-place") => {
                out.is_empty() && said.contains("that frees 256 CPU units and 576 MiB of memory")
            }
            ("inject", "--check") => out.is_empty(),
            ("iam", _) => serde_json::from_str::<Value>(&out).unwrap()["Statement"][0]["Effect"] == "Allow",
            ("uninject", "--diff") => out.contains("\n-      \"name\": \"pillion\",\n"),
            _ => panic!("no word about `{line}` here: say what it has to do"),
        };
        assert!(told, "{line}\n{out}\n{said}");
    }
    assert_eq!(done, ["lint ", "inject --diff", "inject --in-place", "iam ", "inject --check", "uninject --diff"]);
    let (back, _) = run(folder.path(), &["uninject", to]);
    assert_eq!(back, before);
}

#[test]
fn the_task_definition_that_is_written_out_is_a_good_one() {
    let text = readme();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("task.json"), fenced(section(&text, "Add it by hand"), "json")).unwrap();
    let (findings, _) = run(folder.path(), &["lint", "task.json"]);
    assert!(!findings.contains("error["), "{findings}");
    let (policy, _) = run(folder.path(), &["iam", "task.json"]);
    // The rights that the README names below it.
    for action in ["logs:CreateLogStream", "logs:PutLogEvents", "logs:CreateLogGroup", "logs:PutRetentionPolicy"] {
        assert!(policy.contains(action) && text.contains(action), "{action}: {policy}");
    }
}

/// Commands that the README lists are commands that the binary has.
#[test]
fn every_command_that_is_listed_is_one() {
    let text = readme();
    let (help, _) = run(root(), &["--help"]);
    let listed = section(&text, "Commands").lines().filter(|line| line.starts_with("| `"));
    let mut names: Vec<&str> = listed
        .flat_map(|line| line.split('|').nth(1).unwrap_or_default().split("`pillion ").skip(1))
        .filter_map(|rest| rest.split([' ', '`']).next())
        .filter(|name| name.bytes().all(|byte| byte.is_ascii_lowercase()))
        .collect();
    names.sort_unstable();
    names.dedup();
    assert!(names.len() > 8, "{names:?}");
    for name in names.iter().filter(|name| **name != "sm") {
        assert!(
            help.lines().any(|line| line.split_whitespace().next() == Some(name)),
            "{name} is not in the help:\n{help}"
        );
    }
}
