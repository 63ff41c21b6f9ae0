//! Our own command line, and the help that explains it.
//!
//! Promises: the help says to a newcomer what this is, which commands there are, and where to go on.
//! Never: does anything; `cli` does.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Parser, Subcommand};

use super::{doctor::Doctor, taskdef};

const EXAMPLES: &str = "\
Examples:
  pillion demo                          see it work here, without AWS, Docker or configuration
  pillion check --config pillion.yaml   find every mistake before a deployment does
  pillion doctor                        see what is wrong where it runs, by ECS Exec or docker exec
  pillion secrets --once                write all secrets and end, before the app starts
  pillion run --config pillion.yaml     run with your own configuration
  pillion -c /fluent-bit/etc/fluent-bit.conf
                                        run as Fluent Bit would; most of its flags are understood
  pillion xray-daemon -n eu-west-1      run as the X-Ray daemon would; so does /xray in the image
  pillion inject task.json --image REPOSITORY/pillion:1.0.0 --diff
                                        see what adding it to a task definition would change

In a task definition: set the image of your FireLens container to pillion, and as its health check
  [\"CMD\", \"/pillion\", \"healthcheck\"]

While it runs: http://127.0.0.1:9464/ says what can be seen there.
Exit codes: 0 well, 1 failed to run, 64 wrong call, 78 wrong configuration.
Documentation: README.md, docs/config.md (every setting), docs/metrics.md (every counter).
";

/// pillion: one container beside every ECS task, for its logs, traces, metrics and secrets.
///
/// It takes the place of Fluent Bit in FireLens: it receives what the task's containers print
/// and delivers it to CloudWatch Logs. Without a command it runs; inside ECS it needs no
/// configuration but the one that ECS generates.
#[derive(Debug, Parser)]
#[command(name = "pillion", version, after_help = EXAMPLES, disable_help_subcommand = true, verbatim_doc_comment)]
#[command(help_template = "{about-with-newline}\n{usage-heading} {usage}\n\n{all-args}{after-help}")]
pub(super) struct Arguments {
    /// What to do. Nothing given: run.
    #[command(subcommand)]
    pub(super) command: Option<Command>,
}

#[derive(Debug, PartialEq, Eq, Subcommand)]
pub(super) enum Command {
    /// Run the agent until SIGTERM (this is the default)
    Run {
        /// A YAML file of ours, or a Fluent Bit configuration. Default: what ECS mounted
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Show every mistake in the configuration, or what would run
    Check {
        /// A YAML file of ours, or a Fluent Bit configuration. Default: what ECS mounted
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Look at the place where the agent runs: what is wrong, and what to change
    Doctor(Doctor),
    /// Write all secrets to the shared volume and end; for an init container
    Secrets {
        /// Required: without it, `pillion run` keeps them fresh
        #[arg(long, required = true)]
        once: bool,
        /// A YAML file of ours. Default: what ECS mounted, and PILLION__SECRETS__...
        #[arg(long, short, value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Ask a running agent whether it is well; for the health check of a task definition
    Healthcheck {
        /// The agent's admin address. Default: the configured one, else 127.0.0.1:9464
        #[arg(long, value_name = "ADDRESS")]
        address: Option<SocketAddr>,
    },
    /// See it work: made-up containers, local files, no AWS, no Docker, no configuration
    Demo {
        /// Where the demo keeps its socket, its configuration and the delivered records
        #[arg(long, value_name = "DIR", default_value = "pillion-demo")]
        folder: PathBuf,
        /// Records in a second, 1 to 100000
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
    },
    /// Put pillion into a task definition, in the place of the sidecars that it makes needless
    Inject(Box<taskdef::Inject>),
    /// Take it out again: what inject was given comes back, to the byte
    Uninject(taskdef::Document),
    /// Find what ECS would refuse in a task definition, and what you would regret
    Lint(taskdef::Lint),
    /// Print the policy that pillion needs in a task definition's role
    Iam(taskdef::Iam),
    /// Print the version
    Version,
    /// Print the JSON Schema of the configuration, for editors
    Schema {
        /// Print docs/config.md instead: every setting explained
        #[arg(long)]
        markdown: bool,
    },
    /// Print all metrics of an agent that has just started
    #[command(hide = true)]
    Metrics {
        /// Print docs/metrics.md instead
        #[arg(long)]
        markdown: bool,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_is_read() {
        let read = |line: &str| {
            Arguments::try_parse_from(line.split(' ')).map(|arguments| arguments.command).map_err(|e| e.kind())
        };
        let file = || Some(PathBuf::from("f.yaml"));
        assert_eq!(read("pillion"), Ok(None));
        assert_eq!(read("pillion run"), Ok(Some(Command::Run { config: None })));
        assert_eq!(read("pillion run --config f.yaml"), Ok(Some(Command::Run { config: file() })));
        assert_eq!(read("pillion check -c f.yaml"), Ok(Some(Command::Check { config: file() })));
        assert_eq!(
            read("pillion healthcheck --address [::1]:99"),
            Ok(Some(Command::Healthcheck { address: "[::1]:99".parse().ok() }))
        );
        let doctor = |config, write, json| Some(Command::Doctor(Doctor { config, write, json }));
        assert_eq!(read("pillion doctor"), Ok(doctor(None, false, false)));
        assert_eq!(read("pillion doctor -c f.yaml --write --json"), Ok(doctor(file(), true, true)));
        assert_eq!(read("pillion demo"), Ok(Some(Command::Demo { folder: "pillion-demo".into(), rate: 200 })));
        assert_eq!(read("pillion schema --markdown"), Ok(Some(Command::Schema { markdown: true })));
        assert_eq!(read("pillion metrics"), Ok(Some(Command::Metrics { markdown: false })));
        assert_eq!(read("pillion demo --rate 0"), Err(clap::error::ErrorKind::ValueValidation));
        assert_eq!(read("pillion rum"), Err(clap::error::ErrorKind::InvalidSubcommand));
        assert_eq!(read("pillion run f.yaml"), Err(clap::error::ErrorKind::UnknownArgument));
    }

    #[test]
    fn the_help_explains_it_to_a_newcomer() {
        insta::assert_snapshot!(Arguments::command().render_long_help(), @r#"
        pillion: one container beside every ECS task, for its logs, traces, metrics and secrets.

        It takes the place of Fluent Bit in FireLens: it receives what the task's containers print
        and delivers it to CloudWatch Logs. Without a command it runs; inside ECS it needs no
        configuration but the one that ECS generates.

        Usage: pillion [COMMAND]

        Commands:
          run          Run the agent until SIGTERM (this is the default)
          check        Show every mistake in the configuration, or what would run
          doctor       Look at the place where the agent runs: what is wrong, and what to change
          secrets      Write all secrets to the shared volume and end; for an init container
          healthcheck  Ask a running agent whether it is well; for the health check of a task definition
          demo         See it work: made-up containers, local files, no AWS, no Docker, no configuration
          inject       Put pillion into a task definition, in the place of the sidecars that it makes needless
          uninject     Take it out again: what inject was given comes back, to the byte
          lint         Find what ECS would refuse in a task definition, and what you would regret
          iam          Print the policy that pillion needs in a task definition's role
          version      Print the version
          schema       Print the JSON Schema of the configuration, for editors

        Options:
          -h, --help
                  Print help (see a summary with '-h')

          -V, --version
                  Print version

        Examples:
          pillion demo                          see it work here, without AWS, Docker or configuration
          pillion check --config pillion.yaml   find every mistake before a deployment does
          pillion doctor                        see what is wrong where it runs, by ECS Exec or docker exec
          pillion secrets --once                write all secrets and end, before the app starts
          pillion run --config pillion.yaml     run with your own configuration
          pillion -c /fluent-bit/etc/fluent-bit.conf
                                                run as Fluent Bit would; most of its flags are understood
          pillion xray-daemon -n eu-west-1      run as the X-Ray daemon would; so does /xray in the image
          pillion inject task.json --image REPOSITORY/pillion:1.0.0 --diff
                                                see what adding it to a task definition would change

        In a task definition: set the image of your FireLens container to pillion, and as its health check
          ["CMD", "/pillion", "healthcheck"]

        While it runs: http://127.0.0.1:9464/ says what can be seen there.
        Exit codes: 0 well, 1 failed to run, 64 wrong call, 78 wrong configuration.
        Documentation: README.md, docs/config.md (every setting), docs/metrics.md (every counter).
        "#);
    }
}
