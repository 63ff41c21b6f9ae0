//! An app that logs to the sidecar by itself, beside what Docker sends of its stdout.
//!
//! ```text
//! cargo run -p pillion -- demo                                             a sidecar, in one terminal
//! FLUENT_HOST=127.0.0.1 cargo run -p examples --bin forward_client         this app, in another
//! ```
//!
//! It sends structured records with the sidecar's own serde types, several in one message, and waits for the
//! acknowledgement of each message: then the records are in the sidecar's books, and it may forget them.
//!
//! Promises: ends with success only if every message was acknowledged; sends a message again if its answer did not come.
//! Never: prints what it sends.

use std::{
    io::{Read, Write},
    process::ExitCode,
};

use anyhow::{Context, Result, bail, ensure};
use examples::{Connection, Router, now};
use pillion::logs::forward::types::{Ack, Options, PackedForward};

/// The tag: `<container>-firelens-<anything>` goes where the container's own lines go.
const TAG: &str = "app-firelens-forward-client";
/// Messages, and records in each.
const MESSAGES: u32 = 10;
const RECORDS: u32 = 100;
/// Times a message is sent before the app gives up.
const ATTEMPTS: u32 = 3;

/// What this app has to say. Any type that serde can write as a map does.
#[derive(serde::Serialize)]
struct Order<'a> {
    level: &'a str,
    message: &'a str,
    order: u32,
    items: [&'a str; 2],
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // To stderr, which Docker takes to the sidecar as well.
            let _ = writeln!(std::io::stderr(), "forward_client: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "an app of its own: the agent's rule on the environment is not its rule")]
fn router() -> Router {
    let variable = |name| std::env::var(name).ok();
    Router::choose(variable("FLUENT_HOST").as_deref(), variable("FLUENT_PORT").as_deref())
}

fn run() -> Result<()> {
    let router = router();
    let mut connection = None;
    for number in 0..MESSAGES {
        let chunk = format!("forward-client-{}-{number}", std::process::id());
        let bytes = message(number, &chunk)?;
        deliver(&router, &mut connection, &bytes, &chunk)?;
    }
    writeln!(std::io::stdout(), "{} records acknowledged", MESSAGES * RECORDS)?;
    Ok(())
}

/// A message of many records that asks for an acknowledgement with the id `chunk`.
fn message(number: u32, chunk: &str) -> Result<Vec<u8>> {
    let mut message = PackedForward::new(TAG);
    for record in 0..RECORDS {
        let order =
            Order { level: "info", message: "order taken", order: number * RECORDS + record, items: ["tea", "cup"] };
        message.push(now(), &order).context("a record cannot be encoded")?;
    }
    let size = Some(u64::from(RECORDS));
    message.options = Some(Options { chunk: Some(chunk.to_owned()), size, ..Options::default() });
    message.to_msgpack().context("a message cannot be encoded")
}

/// Sends until it is acknowledged. A connection that failed is not used again: what became of its last message is not
/// known, so the message is sent again and may arrive twice, never not at all.
fn deliver(router: &Router, kept: &mut Option<Box<dyn Connection>>, bytes: &[u8], chunk: &str) -> Result<()> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let sent = kept.take().map_or_else(|| router.connect(), Ok).map_err(anyhow::Error::from).and_then(|mut to| {
            to.write_all(bytes)?;
            acknowledged(&mut *to, chunk)?;
            Ok(to)
        });
        match sent {
            Ok(connection) => {
                *kept = Some(connection);
                return Ok(());
            }
            Err(error) => last = Some(error),
        }
    }
    match last {
        Some(error) => Err(error.context(format!("not acknowledged in {ATTEMPTS} attempts by {router:?}"))),
        None => bail!("no attempt was made"),
    }
}

/// Reads the answer, a map of one text: `{"ack": chunk}`.
fn acknowledged(from: &mut dyn Read, chunk: &str) -> Result<()> {
    let ack: Ack = rmp_serde::from_read(from).context("the answer is no acknowledgement")?;
    ensure!(ack.ack == chunk, "the answer is to another message");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_if_it_is_to_this_message() {
        let answer = b"\x81\xa3ack\xa1a";
        assert!(acknowledged(&mut &answer[..], "a").is_ok());
        assert_eq!(acknowledged(&mut &answer[..], "b").unwrap_err().to_string(), "the answer is to another message");
        assert!(acknowledged(&mut &answer[..4], "a").is_err());
    }
}
