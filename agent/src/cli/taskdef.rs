//! `pillion inject`, `uninject`, `lint` and `iam`: task definitions in, task definitions, findings and policies out.
//!
//! Promises: the document goes to standard output, what is said about it to standard error, so that all of them stand in pipes;
//! 1 means a finding, or with `--check` a difference; 78 a document that cannot be read; a file is replaced whole or not at all.
//! Never: asks AWS; writes a file unless told to.

use std::{
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};

use super::{CONFIG, FAILURE, USAGE, complain, print};
use crate::{
    problem::{Problem, Severity},
    taskdef::{
        self, diff,
        find::Place,
        iam::{self, Account},
        inject::{self, Changed, Logs, Options, Records, SecretsAs, Wait},
        lint::{self, Finding, RULES},
        tree::BYTES_MAX,
    },
};

/// A document with task definitions, and what becomes of it.
#[derive(Args, Debug, PartialEq, Eq)]
pub(super) struct Document {
    /// A task definition, a list of container definitions, or a template of CloudFormation or CDK, as JSON or YAML. Default: standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Write the result here instead of to standard output
    #[arg(long, short, value_name = "FILE", conflicts_with_all = ["in_place", "check", "diff"])]
    output: Option<PathBuf>,
    /// Write the result into the file itself
    #[arg(long, short, requires = "file", conflicts_with_all = ["check", "diff"])]
    in_place: bool,
    /// Show what would change instead, as `diff -u` does
    #[arg(long)]
    diff: bool,
    /// Write nothing, and end with 1 if something would change; for CI
    #[arg(long)]
    check: bool,
    /// Say nothing but what has to be looked at
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Args, Debug, PartialEq, Eq)]
pub(super) struct Inject {
    #[command(flatten)]
    document: Document,
    /// pillion's image, with a version or a digest
    #[arg(long, value_name = "IMAGE")]
    image: String,
    /// MiB to reserve for it. ECS tells it half of that for undelivered records
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u32).range(32..=4096))]
    memory: u32,
    /// The user that it runs as; `root` for instances whose ECS agent is older than 1.96
    #[arg(long, value_name = "UID", default_value = "65532")]
    user: String,
    /// Seconds that it has to stop, after the apps have. Fargate takes 120 at most
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(10..=120))]
    stop_timeout: u32,
    /// Leave logs as they are
    #[arg(long)]
    keep_logs: bool,
    /// Send whole records as JSON where awslogs had the line alone
    #[arg(long)]
    whole_records: bool,
    /// Turn ECS `secrets` into files that follow each rotation (NAME becomes NAME_FILE); with `=both` they stay variables too
    #[arg(long, value_name = "HOW", num_args = 0..=1, require_equals = true, default_missing_value = "files")]
    secrets_as_files: Option<Move>,
    /// Let apps start when pillion was started, not when it is well
    #[arg(long)]
    no_wait: bool,
    /// A sidecar that stays
    #[arg(long, value_name = "NAME")]
    keep: Vec<String>,
    /// A sidecar that goes, although it does more than pillion does
    #[arg(long, value_name = "NAME")]
    replace: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Move {
    /// They become files, and are no variables any more.
    Files,
    /// They become files, and stay variables.
    Both,
}

#[derive(Args, Debug, PartialEq, Eq)]
pub(super) struct Lint {
    /// Task definitions or templates, as JSON or YAML. Default: standard input
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// End with 1 for warnings too
    #[arg(long)]
    strict: bool,
    /// Print findings as JSON, one a line
    #[arg(long)]
    json: bool,
    /// A rule that does not count
    #[arg(long, value_name = "ID")]
    allow: Vec<String>,
    /// Print all rules
    #[arg(long)]
    rules: bool,
}

#[derive(Args, Debug, PartialEq, Eq)]
pub(super) struct Iam {
    /// A task definition or a template, as JSON or YAML. Default: standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// Print what the execution role needs to start the task, instead of what the task role needs for pillion
    #[arg(long)]
    execution_role: bool,
    /// The key that secrets and parameters are encrypted with, if it is one of your own
    #[arg(long, value_name = "ARN")]
    kms_key: Option<String>,
    /// The region, if the definition does not show it
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The account, if the definition does not show it
    #[arg(long, value_name = "DIGITS")]
    account: Option<String>,
    /// Which task definition of a template. Default: the only one
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
}

pub(super) fn inject(call: Inject) -> ExitCode {
    let options = Options {
        image: call.image,
        memory: call.memory,
        user: (call.user != "root" && call.user != "0").then_some(call.user),
        stop_timeout: call.stop_timeout,
        logs: if call.keep_logs { Logs::Keep } else { Logs::Route },
        records: if call.whole_records { Records::Whole } else { Records::Lines },
        secrets: match call.secrets_as_files {
            None => SecretsAs::Variables,
            Some(Move::Files) => SecretsAs::Files,
            Some(Move::Both) => SecretsAs::Both,
        },
        wait: if call.no_wait { Wait::Start } else { Wait::Healthy },
        keep: call.keep,
        replace: call.replace,
    };
    change(&call.document, |bytes| inject::inject(bytes, &options))
}

pub(super) fn uninject(document: &Document) -> ExitCode {
    change(document, inject::remove)
}

fn change(document: &Document, with: impl FnOnce(&[u8]) -> Result<Changed, Problem>) -> ExitCode {
    let bytes = match read(document.file.as_deref()) {
        Ok(bytes) => bytes,
        Err(code) => return code,
    };
    let changed = match with(&bytes) {
        Ok(changed) => changed,
        Err(problem) => return refuse(document.file.as_deref(), &problem),
    };
    for report in &changed.reports {
        let care = report.care.iter().map(|problem| format!("{problem}\n")).collect::<String>();
        complain(if document.quiet { care } else { report.to_string() });
    }
    // The document was read, so it is UTF-8.
    let before = String::from_utf8_lossy(&bytes);
    let name = document.file.as_deref().map_or("task definition".to_owned(), |file| file.display().to_string());
    if document.diff {
        print(diff::unified(&before, &changed.text, &name));
    }
    if document.check && before != changed.text {
        complain(format_args!("pillion: {name} is not as it would be made\n"));
        return ExitCode::from(FAILURE);
    }
    match (&document.output, document.in_place, &document.file) {
        _ if document.diff || document.check => ExitCode::SUCCESS,
        (Some(file), _, _) | (None, true, Some(file)) => write(file, &changed.text),
        _ => print(changed.text),
    }
}

/// Replaces a file whole: a reader sees the old text or the new one.
fn write(file: &Path, text: &str) -> ExitCode {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".pillion");
    let beside = PathBuf::from(beside);
    let done = fs::write(&beside, text).and_then(|()| {
        if let Ok(known) = fs::metadata(file) {
            fs::set_permissions(&beside, known.permissions())?;
        }
        fs::rename(&beside, file)
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // What was written beside it helps nobody; the first error is the one to tell.
            drop(fs::remove_file(&beside));
            complain(format_args!("pillion: {} cannot be written: {error}\n", file.display()));
            ExitCode::from(FAILURE)
        }
    }
}

pub(super) fn lint(call: &Lint) -> ExitCode {
    if call.rules {
        return print(RULES.iter().map(|rule| format!("{:24}{}\n", rule.id, rule.wants)).collect::<String>());
    }
    if let Some(unknown) = call.allow.iter().find(|id| !RULES.iter().any(|rule| rule.id == id.as_str())) {
        complain(format_args!("pillion: there is no rule `{unknown}`; `pillion lint --rules` lists them\n"));
        return ExitCode::from(USAGE);
    }
    let mut worst = None;
    let files: Vec<Option<&Path>> = match call.files.as_slice() {
        [] => vec![None],
        files => files.iter().map(|file| Some(file.as_path())).collect(),
    };
    for file in files {
        let bytes = match read(file) {
            Ok(bytes) => bytes,
            Err(code) => return code,
        };
        let findings = match lint::lint(&bytes) {
            Ok(findings) => findings,
            Err(problem) => return refuse(file, &problem),
        };
        for finding in findings.iter().filter(|finding| !call.allow.iter().any(|id| id == finding.rule.id)) {
            worst = Some(worst.map_or(finding.rule.severity, |worst: Severity| worst.min(finding.rule.severity)));
            print(said(finding, file, call.json));
        }
    }
    match worst {
        Some(Severity::Error | Severity::Loss) => ExitCode::from(FAILURE),
        Some(Severity::Warning) if call.strict => ExitCode::from(FAILURE),
        Some(Severity::Warning) | None => ExitCode::SUCCESS,
    }
}

fn said(finding: &Finding, file: Option<&Path>, as_json: bool) -> String {
    let file = file.map(|file| file.display().to_string());
    if !as_json {
        return file.map_or_else(String::new, |file| format!("{file}: ")) + &format!("{finding}\n");
    }
    let severity = match finding.rule.severity {
        Severity::Error => "error",
        Severity::Loss => "loss",
        Severity::Warning => "warning",
    };
    let Finding { rule, place, what, fix } = finding;
    let value = serde_json::json!({
        "file": file, "severity": severity, "id": rule.id, "place": place, "what": what, "fix": fix,
    });
    format!("{value}\n")
}

pub(super) fn iam(call: &Iam) -> ExitCode {
    let bytes = match read(call.file.as_deref()) {
        Ok(bytes) => bytes,
        Err(code) => return code,
    };
    let (document, places) = match taskdef::read(&bytes) {
        Ok(read) => read,
        Err(problem) => return refuse(call.file.as_deref(), &problem),
    };
    let wanted = |place: &&Place| {
        call.resource.as_ref().is_none_or(|resource| place.title.trim_end_matches('.') == resource.as_str())
    };
    let found: Vec<&Place> = places.iter().filter(wanted).collect();
    let [place] = found.as_slice() else {
        let names: Vec<&str> = places.iter().map(|place| place.title.trim_end_matches('.')).collect();
        complain(format_args!("pillion: say which with --resource: {}\n", names.join(", ")));
        return ExitCode::from(USAGE);
    };
    let Some(task) = place.task(&document.root) else { return ExitCode::from(CONFIG) };
    let shown = Account::of(task);
    let account = Account {
        region: call.region.clone().unwrap_or(shown.region),
        id: call.account.clone().unwrap_or(shown.id),
        partition: shown.partition,
    };
    let key = call.kms_key.as_deref();
    let statements = if call.execution_role {
        iam::execution_role(task, &account, key)
    } else {
        let Some(ours) = iam::ours(task) else {
            complain("pillion: no container runs pillion; `pillion inject` puts one in\n");
            return ExitCode::from(CONFIG);
        };
        match iam::loaded(task, ours, &account) {
            Ok((config, _)) => iam::task_role(&config, &account, key),
            Err(problems) => {
                complain(super::run::listed(&problems));
                return ExitCode::from(CONFIG);
            }
        }
    };
    print(iam::document(&statements))
}

/// The whole input, or the exit code after saying why not.
fn read(file: Option<&Path>) -> Result<Vec<u8>, ExitCode> {
    let mut bytes = Vec::new();
    // One byte more than is taken shows that there is more.
    let most = BYTES_MAX as u64 + 1;
    let read = match file.filter(|file| *file != Path::new("-")) {
        Some(file) => fs::File::open(file).and_then(|file| file.take(most).read_to_end(&mut bytes)),
        None => io::stdin().lock().take(most).read_to_end(&mut bytes),
    };
    read.map(|_| bytes).map_err(|error| {
        let name = file.map_or("standard input".to_owned(), |file| file.display().to_string());
        complain(format_args!("pillion: {name} cannot be read: {error}\n"));
        ExitCode::from(CONFIG)
    })
}

fn refuse(file: Option<&Path>, problem: &Problem) -> ExitCode {
    let name = file.map_or("standard input".to_owned(), |file| file.display().to_string());
    complain(format_args!("error: {name}: {}: {}", problem.place, problem.what));
    complain(if problem.hint.is_empty() { "\n".to_owned() } else { format!("; {}\n", problem.hint) });
    ExitCode::from(CONFIG)
}
