//! Secrets and traces with the real parts: a PostgreSQL whose passwords are really rotated, moto as AWS, apps in Python and Node
//! that ask the database all the while, boto3 beside the local API, and AWS's X-Ray SDKs.
//!
//! Promises: whoever rotates waits for nobody but the service and the database; what apps say of themselves is compared with what
//! the database refused; what was started is stopped, by its process id.
//! Never: runs without its parts. `tests/run` installs and starts them and says where they are.

#![expect(clippy::unwrap_used, reason = "a test: what fails here is a failed test")]

mod answers;
mod emf;
mod measured;
mod metrics;
mod otlp;
mod postgres;
mod program;
mod rotation;
mod sampling;
mod scrape;
mod segments;
mod service;
mod traces;
mod world;

use std::time::Duration;

/// Longer than anything takes, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// What `tests/run` tells the stories.
#[expect(clippy::disallowed_methods, reason = "the stories are told by tests/run where their parts are")]
pub(crate) fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this story by tests/run"))
}

/// True in `tests/run long`.
#[expect(clippy::disallowed_methods, reason = "the stories are told by tests/run how long they may take")]
pub(crate) fn is_long() -> bool {
    std::env::var("PILLION_TEST_SEEDS").is_ok_and(|seeds| seeds.parse().is_ok_and(|seeds: u64| seeds >= 100))
}
