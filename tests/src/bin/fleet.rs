//! Simulates a fleet: `cargo run --release -p tests --bin fleet -- --help`.
//!
//! Promises: see [`tests::fleet`].
//! Never: decides anything; this is only the way in.

use std::io::{self, Write as _};

use tests::fleet::{options, run};

fn main() -> anyhow::Result<()> {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] | ["--help" | "-h"] => Ok(out.write_all(options::HELP.as_bytes())?),
        _ => run(&options::Options::parse(&words)?, &mut out),
    }
}
