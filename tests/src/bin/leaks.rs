//! Searches what the agents of a test run wrote for secrets: `cargo run -p tests --bin leaks -- FOLDER`.
//!
//! Promises: see [`tests::leaks`]; the exit code is 1 if there is anything to say.
//! Never: decides anything; this is only the way in.

use std::{io, path::Path};

use anyhow::Context as _;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).context("which folder?")?;
    tests::leaks::check(Path::new(&folder), &mut io::stdout().lock())
}
