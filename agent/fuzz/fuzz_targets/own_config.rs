//! Any bytes as our own configuration.
//!
//! Promises: finds panics and hangs of `config::load`, and refusals without a reason.
//! Never: touches the disk.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion::{
    config::{Environment, Sources, load},
    fluentbit::InMemory,
};

fuzz_target!(|bytes: &[u8]| {
    // The other one is that of AWS's agent for secrets.
    for name in ["pillion.yaml", "agent.toml"] {
        let files = InMemory::one(name, bytes);
        let sources = Sources { file: Some(name.into()), environment: Environment::default(), files: &files };
        if let Err(problems) = load(&sources) {
            assert!(!problems.is_empty());
        }
    }
});
