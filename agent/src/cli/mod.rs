//! The command line: argv in, exit code out.
//!
//! Promises: `pillion`, and every way in which ECS task definitions call Fluent Bit, runs the agent; a mistake in the
//! call ends with 64, one in the configuration with 78, a failure to run with 1; everything else with 0.
//! Never: reads the environment (`config` does); does anything slow before the sockets are bound.

mod arguments;
mod check;
mod demo;
mod doctor;
mod documents;
mod fluentbit_argv;
mod healthcheck;
mod run;
mod secrets;
mod secrets_agent_argv;
mod taskdef;
mod xray_argv;

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Parser;

use crate::tell;
use arguments::{Arguments, Command};
use run::CalledAs;

/// The agent could not be started, or a health check failed.
const FAILURE: u8 = 1;
/// The call is wrong: `EX_USAGE` of sysexits.h.
const USAGE: u8 = 64;
/// The configuration is wrong: `EX_CONFIG` of sysexits.h.
const CONFIG: u8 = 78;

/// Does what argv says. The first argument is the name we were called by.
pub fn main(argv: impl IntoIterator<Item = OsString>) -> ExitCode {
    tell::logs::install_panic_hook();
    let mut argv = argv.into_iter();
    let name = PathBuf::from(argv.next().unwrap_or_else(|| "pillion".into()));
    let arguments: Vec<OsString> = argv.collect();
    match Manner::of(&name, &arguments) {
        Manner::SecretsAgent => secrets_agent(&name, &arguments),
        Manner::Ours => ours(arguments),
        Manner::FluentBit => fluent_bit(&arguments),
        Manner::Xray { skip } => xray(&arguments[skip..]),
        Manner::Healthcheck => healthcheck::as_collector(&arguments),
        // The scripts run Fluent Bit with the file that ECS mounts; so does our own default, if it is there.
        Manner::Script => {
            // Not their text: an argument may be a password.
            let ignored = arguments.iter().take(1).map(|_| "all arguments".to_owned()).collect();
            run::run(run::Call { ignored, ..run::Call::default() })
        }
    }
}

/// What the X-Ray daemon is called: in its image, in its packages, in task definitions.
const XRAY_NAMES: [&str; 4] = ["xray", "xray-daemon", "xray_linux", "aws-xray-daemon"];

/// In which of the ways that task definitions know we were called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// `pillion`, with a command or without.
    Ours,
    /// `/fluent-bit/bin/fluent-bit ...`, or `pillion -c FILE ...`: Fluent Bit's flags.
    FluentBit,
    /// `aws-workload-credentials-provider sm start`, `aws_secretsmanager_agent`, or `pillion sm start`: AWS's agent for secrets.
    SecretsAgent,
    /// `/xray ...`, `pillion xray-daemon ...`: the X-Ray daemon's flags, behind so many words.
    Xray { skip: usize },
    /// `/healthcheck`, as ADOT's image has it.
    Healthcheck,
    /// `/entrypoint.sh` or `/init/fluent_bit_init_entrypoint.sh`, which take no arguments.
    Script,
}

impl Manner {
    fn of(name: &Path, arguments: &[OsString]) -> Self {
        match name.file_name().and_then(|name| name.to_str()) {
            Some("fluent-bit") => return Self::FluentBit,
            Some(name) if secrets_agent_argv::NAMES.contains(&name) => return Self::SecretsAgent,
            Some(name) if XRAY_NAMES.contains(&name) => return Self::Xray { skip: 0 },
            Some("healthcheck") => return Self::Healthcheck,
            Some("entrypoint.sh" | "fluent_bit_init_entrypoint.sh") => return Self::Script,
            _ => {}
        }
        // Its image ends its entry point with `sm start`; who overrides the command gives both.
        if arguments.first().is_some_and(|first| first == "sm") {
            return Self::SecretsAgent;
        }
        // A `command` that begins with the daemon's path comes here if somebody gave the image an entry point.
        let first = arguments.first().map(Path::new).and_then(Path::file_name).and_then(|name| name.to_str());
        if first.is_some_and(|first| XRAY_NAMES.contains(&first)) {
            return Self::Xray { skip: 1 };
        }
        // A task definition that changed the image only names a file, whatever flags stand before it. Without one,
        // a flag is a slip of the hand, and nothing should start because of it.
        let first_is_flag =
            arguments.first().and_then(|first| first.to_str()).is_some_and(|flag| flag.starts_with('-'));
        if first_is_flag && arguments.iter().any(names_a_file) { Self::FluentBit } else { Self::Ours }
    }
}

/// True for `-c`, `-cFILE`, `--config` and `--config=FILE`.
fn names_a_file(argument: &OsString) -> bool {
    let text = argument.to_string_lossy();
    text.starts_with("-c") || text.split('=').next() == Some("--config")
}

fn ours(arguments: Vec<OsString>) -> ExitCode {
    // The usual call in our own image. Building clap's tables takes longer than binding the sockets.
    if arguments.is_empty() {
        return run::run(run::Call::default());
    }
    let parsed = match Arguments::try_parse_from(std::iter::once("pillion".into()).chain(arguments)) {
        Ok(parsed) => parsed,
        Err(stop) if stop.use_stderr() => {
            complain(format_args!("{stop}"));
            return ExitCode::from(USAGE);
        }
        Err(help) => return print(help),
    };
    match parsed.command {
        None => run::run(run::Call::default()),
        Some(Command::Run { config }) => run::run(run::Call { file: config, ..run::Call::default() }),
        Some(Command::Check { config }) => check::check(&run::Call { file: config, ..run::Call::default() }),
        Some(Command::Doctor(call)) => doctor::doctor(call),
        Some(Command::Secrets { once: _, config }) => secrets::once(config),
        Some(Command::Healthcheck { address }) => healthcheck::healthcheck(address),
        Some(Command::Demo { folder, rate }) => demo::demo(&folder, rate.into()),
        Some(Command::Inject(call)) => taskdef::inject(*call),
        Some(Command::Uninject(document)) => taskdef::uninject(&document),
        Some(Command::Lint(call)) => taskdef::lint(&call),
        Some(Command::Iam(call)) => taskdef::iam(&call),
        Some(Command::Version) => version(),
        Some(Command::Schema { markdown: false }) => print(documents::schema()),
        Some(Command::Schema { markdown: true }) => print(documents::config()),
        Some(Command::Metrics { markdown: false }) => print(documents::counters().render()),
        Some(Command::Metrics { markdown: true }) => print(documents::counters().markdown()),
    }
}

/// Runs what Fluent Bit would do when called with these arguments.
fn fluent_bit(arguments: &[OsString]) -> ExitCode {
    let call = match fluentbit_argv::read(arguments) {
        Ok(call) => call,
        Err(error) => {
            complain(format_args!("pillion: {error}\nTry `pillion --help`.\n"));
            return ExitCode::from(USAGE);
        }
    };
    match call.action {
        fluentbit_argv::Action::Help => ours(vec!["--help".into()]),
        fluentbit_argv::Action::Version => version(),
        fluentbit_argv::Action::Check => check::check(&run::Call { file: call.file, ..run::Call::default() }),
        fluentbit_argv::Action::Run => {
            run::run(run::Call { file: call.file, level: call.level, ignored: call.ignored, ..run::Call::default() })
        }
    }
}

/// Runs what AWS's agent for secrets would do when called with these arguments.
fn secrets_agent(name: &Path, arguments: &[OsString]) -> ExitCode {
    let name = name.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match secrets_agent_argv::read(name, arguments) {
        Ok(secrets_agent_argv::Action::Run(file)) => {
            run::run(run::Call { file, called_as: CalledAs::SecretsAgent, ..run::Call::default() })
        }
        Ok(secrets_agent_argv::Action::Version) => version(),
        Ok(secrets_agent_argv::Action::Help) => ours(vec!["--help".into()]),
        Err(error) => {
            complain(format_args!("pillion: {error}\nTry `pillion --help`.\n"));
            ExitCode::from(USAGE)
        }
    }
}

/// Runs what the X-Ray daemon would do when called with these arguments.
fn xray(arguments: &[OsString]) -> ExitCode {
    let call = match xray_argv::read(arguments) {
        Ok(call) => call,
        Err(error) => {
            complain(format_args!("xray: {error}\n\n{}", xray_argv::HELP));
            return ExitCode::from(USAGE);
        }
    };
    let called_as = CalledAs::XrayDaemon(call.daemon);
    let as_daemon = run::Call { called_as, ignored: call.ignored, ..run::Call::default() };
    match call.action {
        xray_argv::Action::Help => print(xray_argv::HELP),
        xray_argv::Action::Version => version(),
        xray_argv::Action::Check => check::check(&as_daemon),
        xray_argv::Action::Run => run::run(as_daemon),
    }
}

fn version() -> ExitCode {
    print(format_args!("pillion {}\n", env!("CARGO_PKG_VERSION")))
}

/// Writes to stdout. A reader that went away (`pillion schema | head`) is no failure.
fn print(text: impl Display) -> ExitCode {
    match write!(io::stdout().lock(), "{text}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(FAILURE),
        _ => ExitCode::SUCCESS,
    }
}

/// Writes to stderr, where nobody may be left to read it.
fn complain(text: impl Display) {
    let _ = write!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The calls that the surveyed task definitions and images make.
    #[test]
    fn the_manner_of_the_call_follows_from_name_and_first_argument() {
        for (argv, manner) in [
            ("/pillion", Manner::Ours),
            ("/pillion run", Manner::Ours),
            ("/pillion healthcheck", Manner::Ours),
            ("pillion --help", Manner::Ours),
            ("pillion -h", Manner::Ours),
            ("pillion --version", Manner::Ours),
            ("pillion -V", Manner::Ours),
            ("pillion nonsense", Manner::Ours),
            ("pillion --chek", Manner::Ours),
            ("pillion -z", Manner::Ours),
            ("/pillion -c /extra.conf", Manner::FluentBit),
            ("/pillion --config /extra.conf", Manner::FluentBit),
            ("/pillion -e /fluent-bit/firehose.so -c /extra.conf", Manner::FluentBit),
            ("/fluent-bit/bin/fluent-bit", Manner::FluentBit),
            ("/fluent-bit/bin/fluent-bit -c /extra.conf", Manner::FluentBit),
            ("fluent-bit --version", Manner::FluentBit),
            ("/app/aws-workload-credentials-provider sm start --config /etc/c.toml", Manner::SecretsAgent),
            ("/aws_secretsmanager_agent", Manner::SecretsAgent),
            ("/pillion sm start", Manner::SecretsAgent),
            ("/xray", Manner::Xray { skip: 0 }),
            ("/healthcheck -port 13133", Manner::Healthcheck),
            ("/healthcheck", Manner::Healthcheck),
            ("/pillion healthcheck", Manner::Ours),
            ("/xray -t 0.0.0.0:2000 -b 0.0.0.0:2000", Manner::Xray { skip: 0 }),
            ("/usr/bin/xray -o -n eu-west-1", Manner::Xray { skip: 0 }),
            ("xray-daemon -c /cfg.yaml", Manner::Xray { skip: 0 }),
            ("pillion xray-daemon -c /cfg.yaml", Manner::Xray { skip: 1 }),
            ("/pillion /xray -o", Manner::Xray { skip: 1 }),
            ("/pillion xrays -o", Manner::Ours),
            ("/entrypoint.sh", Manner::Script),
            ("/init/fluent_bit_init_entrypoint.sh", Manner::Script),
        ] {
            let mut words = argv.split(' ');
            let name = Path::new(words.next().unwrap());
            let arguments: Vec<OsString> = words.map(OsString::from).collect();
            assert_eq!(Manner::of(name, &arguments), manner, "{argv}");
        }
    }
}
