//! The shop that the apps of `examples/` are: how one is started, its database, who rotates the passwords, and a customer.
//!
//! Promises: an app and its definition are as in their folder, but for the texts that a story replaces.
//! Never: tells a story.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{agent::free_address, ecs_local::Task, relay};

use crate::{
    postgres::{self, Postgres},
    world::{self, PATIENCE, World},
};

const REGION: &str = "eu-west-1";
/// The longest pause between two requests.
const PAUSE: Duration = Duration::from_millis(20);

fn folder(example: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example)
}

/// A name of this run alone: several runs may ask one stand-in.
pub(crate) fn unlike(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Starts an example by its definition, in which these texts stand for others.
pub(crate) fn start(world: &World, example: &str, replaced: &[(&str, &str)]) -> Result<Task> {
    let mut text = fs::read_to_string(folder(example).join("task.json")).with_context(|| example.to_owned())?;
    for (from, to) in replaced {
        ensure!(text.contains(from), "{from} is not in the definition of {example}");
        text = text.replace(from, to);
    }
    let value: Value = serde_json::from_str(&text)?;
    let (image, family) = (value["containerDefinitions"][0]["image"].as_str(), value["family"].as_str());
    let group = json!({"logGroupName": format!("/ecs/{}", family.context("no family")?)});
    // Another run may have made it.
    drop(world.ask("logs", "Logs_20140328.CreateLogGroup", &group));
    let mut setup = world.setup();
    let built = format!("pillion-example-{example}:{}", world::part("PILLION_EXAMPLES"));
    setup.images.insert(0, (image.context("no image")?.to_owned(), built));
    if text.contains("PILLION__SECRETS__ITEMS") {
        setup.environment.push(("PILLION__SECRETS__API__LISTEN".to_owned(), "127.0.0.1:2773".to_owned()));
    }
    Task::start(&world.with_real_secrets(text)?, None, setup)
}

/// Lines of a service, as the JSON that each is.
pub(crate) fn lines(world: &World, task: &Task, service: &str) -> Result<Vec<Value>> {
    let lines = world.lines(task, service)?;
    // Gunicorn and Node's warnings write lines of their own.
    Ok(lines.iter().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// Those with this message.
pub(crate) fn with_message<'a>(lines: &'a [Value], message: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["message"] == message).collect()
}

/// What CloudWatch has of the metrics of a namespace.
pub(crate) fn metrics(world: &World, namespace: &str) -> Result<Vec<Value>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/read_metrics_back.py");
    let mut command = Command::new(world::part("PILLION_PYTHON"));
    command.arg(script).args(["--endpoint", &world.moto, "--region", REGION, "--namespace", namespace]);
    let output = command.output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
}

/// What it has of one, all in all.
pub(crate) fn sum(world: &World, namespace: &str, metric: &str) -> Result<f64> {
    let read = metrics(world, namespace)?;
    let sums: Vec<f64> = read.iter().filter(|it| it["name"] == metric).filter_map(|it| it["sum"].as_f64()).collect();
    ensure!(!sums.is_empty(), "no {metric} in {namespace}: {read:?}");
    Ok(sums.iter().sum())
}

/// An address of this machine that containers reach, whatever network they are in.
pub(crate) fn host_of_containers(world: &World) -> Result<String> {
    let bridge = world.engine.ask("GET", "/networks/bridge", None)?;
    let gateway = bridge["IPAM"]["Config"][0]["Gateway"].as_str().context("the bridge has no gateway")?;
    Ok(gateway.to_owned())
}

/// The database, and who rotates its passwords as AWS's function does: `tests/python/rotate.py`.
pub(crate) struct Database {
    pub(crate) postgres: Postgres,
    at: SocketAddr,
    rotator: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Database {
    pub(crate) fn start(world: &World) -> Result<Self> {
        let own = free_address()?;
        let postgres = Postgres::start(Some(own.port()));
        let at = relay::start(own, &host_of_containers(world)?, || {})?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/rotate.py");
        let mut command = Command::new(world::part("PILLION_PYTHON"));
        command.arg(script).args(["--endpoint", &world.moto, "--region", REGION, "--admin", &postgres.admin()]);
        let mut rotator = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (rotator.stdin.take().context("no input")?, rotator.stdout.take().context("no output")?);
        Ok(Self { postgres, at, rotator, input, output: BufReader::new(output) })
    }

    /// What the owner of the database does once for an example.
    pub(crate) fn prepare(&self, example: &str) -> Result<()> {
        let schema = fs::read_to_string(folder(example).join("schema.sql"))?;
        self.sql(&schema).map(drop)
    }

    pub(crate) fn sql(&self, text: &str) -> Result<String> {
        let output = postgres::program("psql").args(["-XAtq", "-c", text]).arg(self.postgres.admin()).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    pub(crate) fn create(&mut self, secret: &str, user: &str) -> Result<()> {
        let (host, port) = (self.at.ip().to_string(), self.at.port());
        let call =
            json!({"do": "create", "secret": secret, "user": user, "host": host, "port": port, "dbname": "postgres"});
        self.say(&call)
    }

    /// The user alternates: the password of the version before goes on until the next rotation.
    pub(crate) fn rotate(&mut self, secret: &str) -> Result<()> {
        self.say(&json!({"do": "rotate", "secret": secret, "strategy": "alternating", "every": 0}))
    }

    fn say(&mut self, call: &Value) -> Result<()> {
        writeln!(self.input, "{call}")?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        let answer: Value = serde_json::from_str(&answer).context("the rotator has ended")?;
        ensure!(answer["ok"] == true, "{call}: {answer}");
        Ok(())
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        drop(self.rotator.kill());
        drop(self.rotator.wait());
    }
}

/// Somebody who asks for one thing after another, and never twice for the same.
pub(crate) struct Customer {
    answers: Arc<Mutex<Vec<Result<Value, String>>>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Customer {
    /// Posts to `path/0`, `path/1` and so on.
    pub(crate) fn start((at, port): (IpAddr, u16), path: &'static str) -> Self {
        let (answers, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (told, stopped) = (Arc::clone(&answers), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            for number in 0.. {
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                let answer = world::post(at, port, &format!("{path}/{number}")).map_err(|error| format!("{error:#}"));
                told.lock().unwrap_or_else(PoisonError::into_inner).push(answer.and_then(|answer| taken(&answer)));
                thread::park_timeout(PAUSE);
            }
        });
        Self { answers, stop, thread }
    }

    fn answers(&self) -> Vec<Result<Value, String>> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until an answer was written down by another user of the database than `before`.
    pub(crate) fn other_user(&self, before: &str, told: impl Fn() -> String) -> Result<String> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(Ok(answer)) = self.answers().last() {
                let user = answer["user"].as_str().context("no user")?;
                if user != before {
                    return Ok(user.to_owned());
                }
            }
            ensure!(Instant::now() < deadline, "{before} still: {:?}\n{}", self.answers().last(), told());
            thread::park_timeout(PAUSE);
        }
    }

    /// Stops, and gives what was answered; each answer was the right one.
    pub(crate) fn end(self) -> Result<Vec<Value>> {
        self.stop.store(true, Ordering::Relaxed);
        let answers = self.answers.clone();
        ensure!(self.thread.join().is_ok(), "the customer fell");
        let answers = answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let failed: Vec<_> = answers.iter().filter_map(|it| it.as_ref().err()).collect();
        ensure!(failed.is_empty(), "{} of {} requests failed: {failed:?}", failed.len(), answers.len());
        Ok(answers.into_iter().filter_map(Result::ok).collect())
    }
}

/// The body of an answer that says yes.
fn taken(answer: &str) -> Result<Value, String> {
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body);
    let value = body.filter(|_| answer.starts_with("HTTP/1.") && answer.contains(" 200 ")).map(serde_json::from_str);
    value.and_then(Result::ok).ok_or_else(|| answer.to_owned())
}
