//! A task from its first look to its end: what is started, started again, waited for and stopped.
//!
//! Promises: looks at every container alike, also at those that end by themselves; says why a task stopped, in the words of ECS.
//! Never: makes or removes anything.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::{Running, Task, order::State};

/// How often the engine is asked how it stands.
const LOOK: Duration = Duration::from_millis(50);
/// How long anything that is waited for may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// How a task ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Why, in the words of ECS.
    pub reason: String,
    /// Exit codes by container; 137 for one that had to be killed.
    pub codes: BTreeMap<String, i64>,
}

impl Task {
    /// How it stands with every container, and what follows from it: starts, restarts, the end of the task.
    pub fn look(&mut self) -> Result<()> {
        for running in &mut self.containers {
            let known = self.setup.engine.inspect(&running.id)?;
            let state = seen(&known);
            if let (State::Ended { code }, Some(started)) = (state, running.started)
                && self.reason.is_none()
                && let Some((least, ignored)) = &running.restart
                && started.elapsed() >= *least
                && !ignored.contains(&code)
            {
                self.setup.engine.start(&running.id)?;
                running.started = Some(Instant::now());
                running.restarts += 1;
                continue;
            }
            if let State::Ended { code } = state
                && running.essential
                && self.reason.is_none()
            {
                self.reason = Some(format!("Essential container in task exited: {} with {code}", running.name));
            }
            self.states.insert(running.name.clone(), state);
        }
        if self.reason.is_some() {
            return Ok(());
        }
        for index in 0..self.containers.len() {
            let name = self.containers[index].name.clone();
            if self.states.get(&name) != Some(&State::Pending) {
                continue;
            }
            if let Some(why) = self.order.is_hopeless(&name, &self.states) {
                self.reason = Some(format!("Task failed to start: {why}"));
                return Ok(());
            }
            if self.order.may_start(&name, &self.states) {
                self.setup.engine.start(&self.containers[index].id).with_context(|| name.clone())?;
                self.containers[index].started = Some(Instant::now());
                self.states.insert(name, State::Running { healthy: None });
            }
        }
        Ok(())
    }

    /// Looks until something is so. A task that stops before is an error.
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&Self) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.look()?;
            if let Some(reason) = &self.reason {
                bail!("{reason}, before {what}:\n{}", self.told());
            }
            if so(self) {
                return Ok(());
            }
            ensure!(
                Instant::now() < deadline,
                "waited {PATIENCE:?} in vain until {what}: {:?}\n{}",
                self.states,
                self.told()
            );
            thread::park_timeout(LOOK);
        }
    }

    /// True if every container that has not ended runs, and every health check says that all is well.
    pub fn is_well(&self) -> bool {
        let checks = |name: &str| {
            let task = self.place.task(&self.document.root);
            task.and_then(|task| task.container(name)).is_some_and(|it| it.0.get("healthCheck").is_some())
        };
        self.states.iter().all(|(name, state)| match state {
            State::Pending => false,
            State::Running { healthy } => *healthy == Some(true) || !checks(name),
            State::Ended { .. } => true,
        })
    }

    /// How it stands with a container.
    pub fn state(&self, name: &str) -> Option<State> {
        self.states.get(name).copied()
    }

    /// How often a container was started again.
    pub fn restarts(&self, name: &str) -> usize {
        self.containers.iter().find(|it| it.name == name).map_or(0, |it| it.restarts)
    }

    /// Runs a command in a container.
    pub fn exec(&self, name: &str, command: &[&str]) -> Result<(i64, String)> {
        self.setup.engine.exec(self.id(name)?, "", command)
    }

    /// Runs a command beside the containers, in their network: in the container that holds it.
    pub fn exec_beside(&self, command: &[&str]) -> Result<(i64, String)> {
        let pause = self.pause.as_deref().context("nothing holds a network for this task")?;
        self.setup.engine.exec(pause, "", command)
    }

    /// A file of a container, which needs no shell for it.
    pub fn file(&self, name: &str, path: &str) -> Result<Vec<u8>> {
        self.setup.engine.file(self.id(name)?, path)
    }

    /// Sends a container a signal, as the kernel does when it runs out of memory.
    pub fn kill(&self, name: &str, signal: &str) -> Result<()> {
        let path = format!("/containers/{}/kill?signal={signal}", self.id(name)?);
        self.setup.engine.bytes("POST", &path, None).map(drop)
    }

    /// What a container without `awsfirelens` wrote.
    pub fn logs(&self, name: &str) -> Result<String> {
        self.setup.engine.logs(self.id(name)?)
    }

    /// The address of a container in the task's network.
    pub fn address(&self, name: &str) -> Result<IpAddr> {
        if self.is_on_host() {
            return Ok(Ipv4Addr::LOCALHOST.into());
        }
        let holder = match &self.pause {
            Some(pause) if self.shares() => pause,
            _ => self.id(name)?,
        };
        let known = self.setup.engine.inspect(holder)?;
        let networks = known["NetworkSettings"]["Networks"].as_object().context("no networks")?;
        let address = networks.values().find_map(|it| it["IPAddress"].as_str()).context("no address")?;
        Ok(address.parse()?)
    }

    /// True if all containers have one address.
    pub(super) fn shares(&self) -> bool {
        self.place.task(&self.document.root).and_then(|task| task.network_mode()).as_deref() != Some("bridge")
    }

    /// True in the network mode `host`.
    pub(super) fn is_on_host(&self) -> bool {
        self.place.task(&self.document.root).and_then(|task| task.network_mode()).as_deref() == Some("host")
    }

    fn id(&self, name: &str) -> Result<&str> {
        let found = self.containers.iter().find(|it| it.name == name);
        found.map(|it| it.id.as_str()).with_context(|| format!("no container {name}"))
    }

    /// What all containers wrote whose log can be read, for a report.
    pub fn told(&self) -> String {
        let read = |it: &Running| self.setup.engine.logs(&it.id).map(|text| format!("--- {}\n{text}", it.name)).ok();
        self.containers.iter().filter_map(read).collect()
    }

    /// Runs until the task stops by itself, or `stop` becomes true.
    pub fn run(&mut self, stop: &AtomicBool) -> Result<Ended> {
        while self.reason.is_none() && !stop.load(Ordering::Relaxed) {
            self.look()?;
            thread::park_timeout(LOOK);
        }
        self.stop()
    }

    /// Stops the task as ECS does: who depends on nobody's life last.
    pub fn stop(&mut self) -> Result<Ended> {
        self.look()?;
        let reason = self.reason.get_or_insert_with(|| "Task stopped by user".to_owned()).clone();
        loop {
            let runs = |it: &&Running| matches!(self.states.get(&it.name), Some(State::Running { .. }));
            let now: Vec<&Running> =
                self.containers.iter().filter(runs).filter(|it| self.order.may_stop(&it.name, &self.states)).collect();
            if now.is_empty() {
                break;
            }
            let engine = &self.setup.engine;
            thread::scope(|scope| {
                let stops: Vec<_> = now.iter().map(|it| scope.spawn(|| engine.stop(&it.id, it.stop_seconds))).collect();
                stops.into_iter().try_for_each(|stop| stop.join().expect("a stop does not panic"))
            })?;
            self.look()?;
        }
        let mut codes = BTreeMap::new();
        for it in &self.containers {
            if let Some(State::Ended { code }) = self.states.get(&it.name) {
                codes.insert(it.name.clone(), *code);
            }
        }
        self.deliver()?;
        Ok(Ended { reason, codes })
    }

    /// Lines of containers with `awslogs`, for what stands in for CloudWatch.
    fn deliver(&mut self) -> Result<()> {
        // Once: a task that has stopped may be told to stop.
        let Some(writer) = self.group.take() else { return Ok(()) };
        let task = self.place.task(&self.document.root).context("no task definition")?;
        for container in task.containers().into_iter().filter(|it| it.log_driver().as_deref() == Some("awslogs")) {
            let name = container.name().unwrap_or_default();
            writer.write(container, &self.setup.engine.logs(self.id(&name)?)?)?;
        }
        Ok(())
    }
}

/// What the engine says of a container.
fn seen(known: &Value) -> State {
    let state = &known["State"];
    match state["Status"].as_str() {
        Some("created") => State::Pending,
        Some("exited" | "dead") => State::Ended { code: state["ExitCode"].as_i64().unwrap_or(-1) },
        _ => State::Running {
            healthy: match state["Health"]["Status"].as_str() {
                Some("healthy") => Some(true),
                Some("unhealthy") => Some(false),
                _ => None,
            },
        },
    }
}
