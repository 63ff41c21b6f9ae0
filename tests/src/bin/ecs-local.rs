//! Runs a task definition on this machine's Docker engine, as ECS would: see `ecs_local` of this crate.
//!
//! ```text
//! tests/ecs-local task.json --aws http://127.0.0.1:5000 --image 123456789012.dkr.ecr.eu-west-1.amazonaws.com/pillion=pillion \
//!     --pause-image debian:bookworm-slim
//! ```
//!
//! Promises: ends with 0 if every essential container ended with 0, else with 1; SIGINT and SIGTERM stop the task as ECS would.
//! Never: leaves a container, a network or a volume behind.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::{Context, Result, bail};
use tests::{
    command_line::CommandLine,
    ecs_local::{self, Setup, Task, engine::Engine},
};

const HELP: &str = "tests/ecs-local TASK.json [--aws URL] [--image NAME=LOCAL]... [--pause-image IMAGE] [--env NAME=VALUE]... \
                    [--resource NAME]\n";
static STOP: AtomicBool = AtomicBool::new(false);

fn main() -> Result<ExitCode> {
    run(&std::env::args().skip(1).collect::<Vec<String>>())
}

#[expect(clippy::disallowed_methods, reason = "a program of the tests: where the engine is, is said as to `docker`")]
fn run(words: &[String]) -> Result<ExitCode> {
    let line = CommandLine::parse(words, HELP)?;
    let host = std::env::var("DOCKER_HOST").ok();
    let mut setup = Setup {
        engine: Engine::new(host.as_deref())?,
        aws: None,
        images: Vec::new(),
        pause_image: "debian:bookworm-slim".to_owned(),
        environment: Vec::new(),
    };
    let mut resource = None;
    line.each(|word, value| {
        let pair = || {
            let (name, value) = value.split_once('=').context("write NAME=VALUE")?;
            anyhow::Ok((name.to_owned(), value.to_owned()))
        };
        match word {
            "--aws" => setup.aws = Some(value.to_owned()),
            "--image" => setup.images.push(pair()?),
            "--pause-image" => setup.pause_image = value.to_owned(),
            "--env" => setup.environment.push(pair()?),
            "--resource" => resource = Some(value.to_owned()),
            _ => bail!("there is no such option; {HELP}"),
        }
        Ok(())
    })?;
    let definition = ecs_local::read(Path::new(line.what))?;
    stop_on_signals()?;
    let mut task = Task::start(&definition, resource.as_deref(), setup)?;
    let mut out = io::stdout();
    writeln!(out, "{} started", task.identity().arn())?;
    let ended = task.run(&STOP)?;
    writeln!(out, "{}{}", task.told(), ended.reason)?;
    for (name, code) in &ended.codes {
        writeln!(out, "  {name} ended with {code}")?;
    }
    let well = ended.codes.values().all(|code| *code == 0);
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn stop_on_signals() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut terminate = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = tokio::signal::ctrl_c() => {}
            }
        });
        STOP.store(true, Ordering::Relaxed);
    });
    Ok(())
}
