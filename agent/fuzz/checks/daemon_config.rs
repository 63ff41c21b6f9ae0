//! What must hold of any bytes as the X-Ray daemon's `cfg.yaml`.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: touches the disk.

use pillion::{
    config::{DaemonCall, Environment, Sources, load_xray_daemon},
    fluentbit::InMemory,
};

/// Checks that a file is refused with reasons, or is one input, one output and nothing of logs; and that a file which nobody named is
/// judged no harder than one that somebody did.
pub(crate) fn check(bytes: &[u8]) {
    let load = |file: Option<&str>| {
        let name = file.unwrap_or("/etc/amazon/xray/cfg.yaml");
        let files = InMemory::one(name, bytes);
        let call = DaemonCall { file: file.map(Into::into), flags: Vec::new() };
        let loaded =
            load_xray_daemon(&call, &Sources { file: None, environment: Environment::default(), files: &files });
        match loaded {
            Ok((config, _)) => {
                assert_eq!((config.traces.inputs.len(), config.traces.outputs.len()), (1, 1));
                assert!(config.logs.inputs.is_empty());
                true
            }
            Err(problems) => {
                assert!(problems.iter().all(|problem| !problem.to_string().is_empty()) && !problems.is_empty());
                false
            }
        }
    };
    let named = load(Some("/named/cfg.yaml"));
    assert!(load(None) || !named);
}
