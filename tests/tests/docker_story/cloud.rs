//! CloudWatch Logs as the stories see it: moto, reached from a container through a relay, read back with boto3.
//!
//! Promises: what is compared is what boto3 gave, whole and in its order.
//! Never: looks into moto, or takes the agent's word for what was delivered.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::{PoisonError, RwLock},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tests::relay;

use crate::{docker, environment};

/// An event as read back.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    /// The log stream it stands in.
    pub(crate) stream: String,
    /// Milliseconds since 1970.
    pub(crate) timestamp: i64,
    message: String,
}

/// What our agent sends for a record of Docker's driver: all values are strings.
pub(crate) type Record = BTreeMap<String, String>;

impl Event {
    /// The message as the JSON object that it must be.
    pub(crate) fn record(&self) -> Result<Record> {
        serde_json::from_str(&self.message).with_context(|| format!("not an object of strings: {}", self.message))
    }

    /// The message as any JSON object.
    pub(crate) fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_str(&self.message).with_context(|| format!("not JSON: {}", self.message))
    }
}

/// A script of `tests/python`, to be run by the Python that `tests/run` made.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(environment("PILLION_PYTHON"));
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("python").join(script));
    command
}

/// All events of the streams of a group whose names start with `prefix`, once there are at least `count` of them.
pub(crate) fn read_back(group: &str, prefix: &str, count: usize) -> Result<Vec<Event>> {
    let seconds = docker::PATIENCE.as_secs().to_string();
    let mut command = python("read_back.py");
    command.args(["--endpoint", &environment("MOTO_URL"), "--group", group, "--prefix", prefix]);
    command.args(["--at-least", &count.to_string(), "--seconds", &seconds]);
    let lines = docker::output(&mut command).with_context(|| format!("fewer than {count} events in {group}"))?;
    lines.lines().map(|line| serde_json::from_str(line).context(line.to_owned())).collect()
}

/// Who holds it for writing keeps moto from getting new connections. The real service does its work on other machines than
/// the agent's; moto takes half of this one while a story measures.
pub(crate) static MOTO_RESTS: RwLock<()> = RwLock::new(());

/// Lets containers of a network reach moto, which listens on loopback only. Serves until the process ends.
pub(crate) fn relay_to_moto(gateway: &str) -> Result<SocketAddr> {
    let url = environment("MOTO_URL");
    let moto: SocketAddr = url.strip_prefix("http://").unwrap_or(&url).parse().context(url.clone())?;
    relay::start(moto, gateway, || drop(MOTO_RESTS.read().unwrap_or_else(PoisonError::into_inner)))
}

/// The lines that a container wrote on one of its streams, split ones joined again, in the order of the events.
pub(crate) fn lines(events: &[Event], source: &str) -> Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut open: Option<(String, u32, String)> = None;
    for event in events {
        let record = event.record()?;
        if record.get("source").map(String::as_str) != Some(source) {
            continue;
        }
        let log = record.get("log").with_context(|| format!("no log in {record:?}"))?;
        let Some(id) = record.get("partial_id") else {
            ensure!(open.is_none(), "a whole line stands among the parts of another");
            lines.push(log.clone());
            continue;
        };
        ensure!(record.get("partial_message").map(String::as_str) == Some("true"), "partial_message in {record:?}");
        let ordinal = record.get("partial_ordinal").context("partial_ordinal is missing")?;
        let (open_id, parts, mut text) = open.take().unwrap_or_else(|| (id.clone(), 0, String::new()));
        ensure!(open_id == *id, "the parts of two lines are mixed");
        ensure!(*ordinal == (parts + 1).to_string(), "part {ordinal} came after part {parts}");
        text.push_str(log);
        match record.get("partial_last").map(String::as_str) {
            Some("true") => lines.push(text),
            _ => open = Some((open_id, parts + 1, text)),
        }
    }
    ensure!(open.is_none(), "the last part of a line is missing");
    Ok(lines)
}
