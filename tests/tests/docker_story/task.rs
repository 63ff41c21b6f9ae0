//! One task as ECS makes it: our container with the generated configuration, and apps whose driver sends to its socket.
//!
//! Promises: apps go before the agent, however a story ends; stopping a task balances the agent's books against what
//! stands in CloudWatch Logs.
//! Never: gives the agent anything that ECS would not give it.

use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::{
    cloud::{Event, read_back, relay_to_moto},
    docker::{Container, Network, until},
    environment,
};

/// The task id in the tags, as ECS makes them.
pub(crate) const TASK: &str = "0123456789abcdef0123456789abcdef";
/// The ECS fields that the generated configuration adds to every record.
pub(crate) const TASK_ARN: &str = "arn:aws:ecs:us-east-1:123456789012:task/story/0123456789abcdef0123456789abcdef";

/// One task: a network, our container with the generated configuration, and a socket directory for the apps' driver.
pub(crate) struct Task {
    // Dropped in this order: Docker cannot end an app whose log receiver is gone.
    pub(crate) apps: Vec<Container>,
    pub(crate) agent: Container,
    /// Held until the containers in it are gone.
    _network: Network,
    group: String,
    folder: TempDir,
}

impl Task {
    /// Starts the agent as ECS does and waits until its socket is bound. `containers` are those with an output;
    /// `user` are the arguments of `docker run` that decide as whom, and how confined, it runs.
    pub(crate) fn start(story: &str, containers: &[&str], user: &[&str], command: &[&str]) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("pillion-").tempdir()?;
        let network = Network::create(story)?;
        let moto = relay_to_moto(&network.gateway)?;
        let group = format!("/pillion/{story}-{}", std::process::id());
        let configuration = folder.path().join("fluent.conf");
        fs::write(&configuration, generated(containers, &group, &network.gateway, moto.port()))?;
        fs::set_permissions(&configuration, PermissionsExt::from_mode(0o644))?;
        let sockets = folder.path().join("socket");
        fs::create_dir(&sockets)?;
        // ECS gives the directory to the user of the container; who runs the tests may not be able to.
        fs::set_permissions(&sockets, PermissionsExt::from_mode(0o777))?;
        let mounts = [
            format!("{}:/fluent-bit/etc/fluent-bit.conf", configuration.display()),
            format!("{}:/var/run/", sockets.display()),
        ];
        let image = environment("PILLION_IMAGE");
        let mut arguments = vec!["--network", network.id(), "--memory", "100m"];
        arguments.extend(["--volume", &mounts[0], "--volume", &mounts[1]]);
        arguments.extend(["--env", "AWS_ACCESS_KEY_ID=story", "--env", "AWS_SECRET_ACCESS_KEY=story"]);
        arguments.extend(["--env", "AWS_REGION=us-east-1"]);
        arguments.extend(user);
        arguments.push(&image);
        arguments.extend(command);
        let agent = Container::run(&arguments)?;
        let task = Self { apps: Vec::new(), agent, _network: network, group, folder };
        let running = || task.agent.inspect("{{.State.Running}}").is_ok_and(|running| running == "true");
        until("the socket is bound", || task.socket().exists() || !running())?;
        ensure!(task.socket().exists(), "the agent ended at once: {}", task.told());
        Ok(task)
    }

    /// The FireLens socket as this machine sees it.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.path().join("socket/fluent.sock")
    }

    /// What the agent said so far, for the report of a failed story.
    pub(crate) fn told(&self) -> String {
        self.agent.told().unwrap_or_default()
    }

    /// Starts an app whose driver sends to our socket. Gives its place in `apps`.
    pub(crate) fn app(&mut self, name: &str, script: &str) -> Result<usize> {
        self.apps.push(app(name, script, &self.socket().display().to_string())?);
        Ok(self.apps.len() - 1)
    }

    /// Waits until a container's stream holds that many events.
    pub(crate) fn read_back(&self, name: &str, count: usize) -> Result<Vec<Event>> {
        read_back(&self.group, &format!("story/{}", tag(name)), count).with_context(|| self.told())
    }

    /// Stops the agent as ECS does, after all apps, and balances its books against what stands in CloudWatch Logs.
    pub(crate) fn stop(&self) -> Result<()> {
        ensure!(self.agent.stop(30)? == 0, "the agent did not end with 0: {}", self.told());
        let told = self.told();
        let books = Books::last(&told).with_context(|| format!("no final books in: {told}"))?;
        let settled = books.delivered + books.refused + books.lost + books.spooled;
        ensure!(books.accepted == settled && books.unsettled == 0, "the books do not balance: {books:?}");
        ensure!(books.lost == 0 && books.refused == 0, "something was lost or refused: {books:?}");
        let stand = read_back(&self.group, "", 0)?.len() as u64;
        ensure!(books.delivered == stand, "{books:?}, but {stand} events stand in CloudWatch Logs");
        Ok(())
    }
}

/// A container with Docker's fluentd driver set up as ECS does it.
pub(crate) fn app(name: &str, script: &str, socket: &str) -> Result<Container> {
    // Stories run side by side: each names its apps as no other does.
    let unique = format!("{name}-{}", std::process::id());
    let image = environment("PILLION_APP_IMAGE");
    let (address, tag) = (format!("fluentd-address=unix://{socket}"), format!("tag={}", tag(name)));
    let mut arguments = vec!["--name", &unique, "--network", "none", "--log-driver", "fluentd"];
    for option in [&address, &tag, "fluentd-sub-second-precision=true", "fluentd-async=true"] {
        arguments.extend(["--log-opt", option]);
    }
    Container::run(&[arguments.as_slice(), &[&image, "perl", "-e", script]].concat())
}

/// The tag that ECS gives a container of the task.
pub(crate) fn tag(name: &str) -> String {
    format!("{name}-firelens-{TASK}")
}

/// The file that ECS generates for a task in bridge mode whose containers log to `cloudwatch_logs`: an empty first
/// line, four spaces, options sorted by key.
fn generated(containers: &[&str], group: &str, endpoint: &str, port: u16) -> String {
    let mut text = format!(
        "
[INPUT]
    Name forward
    Mem_Buf_Limit 50MB
    unix_path /var/run/fluent.sock

[INPUT]
    Name forward
    Listen 0.0.0.0
    Port 24224

[INPUT]
    Name tcp
    Tag firelens-healthcheck
    Listen 127.0.0.1
    Port 8877

[FILTER]
    Name record_modifier
    Match *
    Record ecs_cluster story
    Record ecs_task_arn {TASK_ARN}
    Record ecs_task_definition web:7

[OUTPUT]
    Name null
    Match firelens-healthcheck
"
    );
    for name in containers {
        text.push_str(&format!(
            "
[OUTPUT]
    Name cloudwatch_logs
    Match {name}-firelens*
    auto_create_group true
    endpoint {endpoint}
    log_group_name {group}
    log_stream_prefix story/
    port {port}
    region us-east-1
    tls off
"
        ));
    }
    text
}

/// The numbers of the agent's last line.
#[derive(Debug, Default)]
struct Books {
    accepted: u64,
    delivered: u64,
    refused: u64,
    lost: u64,
    spooled: u64,
    unsettled: u64,
}

impl Books {
    /// The last line in which the agent says what became of the records.
    fn last(told: &str) -> Option<Self> {
        let lines = told.lines().rev().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        for line in lines {
            let fields = line.get("fields").unwrap_or(&line);
            let number = |name: &str| fields.get(name).and_then(serde_json::Value::as_u64);
            let (Some(accepted), Some(delivered)) = (number("accepted"), number("delivered")) else {
                continue;
            };
            let [refused, lost, spooled, unsettled] =
                ["refused", "lost", "spooled", "unsettled"].map(|name| number(name).unwrap_or(0));
            return Some(Self { accepted, delivered, refused, lost, spooled, unsettled });
        }
        None
    }
}
