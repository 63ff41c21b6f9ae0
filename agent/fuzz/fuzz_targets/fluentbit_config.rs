//! Any bytes as Fluent Bit's configuration. Lines `=== NAME` cut the input into several files that may include each other.
//!
//! Promises: finds panics and hangs of `fluentbit::read`, and variables' values that show up in a problem.
//! Never: touches the disk.

#![no_main]

use std::{collections::BTreeMap, path::Path};

use libfuzzer_sys::fuzz_target;
use pillion::fluentbit::{InMemory, read};

fuzz_target!(|bytes: &[u8]| {
    let mut files = InMemory::default();
    let (mut name, mut content) = ("main.conf".to_owned(), Vec::new());
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_prefix(b"=== ") {
            Some(next) => {
                files = files.and(format!("/etc/{name}"), std::mem::take(&mut content));
                name = String::from_utf8_lossy(next.trim_ascii()).into_owned();
            }
            None => content.extend_from_slice(line),
        }
    }
    files = files.and(format!("/etc/{name}"), content);
    let secret = "s3cr3t-value-of-a-variable";
    let variables = BTreeMap::from([("SECRET".to_owned(), secret.to_owned())]);
    let reading = read(Path::new("/etc/main.conf"), &variables, &files);
    assert!(reading.problems.len() <= 202);
    for problem in &reading.problems {
        assert!(!problem.to_string().contains(secret));
    }
});
