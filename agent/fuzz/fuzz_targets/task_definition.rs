//! Any bytes as a document with task definitions, in JSON or YAML.
//!
//! Promises: finds panics and hangs of reading, linting, injecting and taking out; a document that does not come back to the byte;
//! an inject that is not the same a second time.
//! Never: does I/O.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pillion::taskdef::{
    inject::{LABEL, Options, SecretsAs, inject, remove},
    lint::lint,
};

fuzz_target!(|bytes: &[u8]| {
    let options =
        Options { image: "pillion:1".to_owned(), secrets: SecretsAs::Files, ..Options::default() };
    drop(lint(bytes));
    let Ok(with) = inject(bytes, &options) else { return };
    drop(lint(with.text.as_bytes()));
    // A history that somebody made up gives back what it says.
    if String::from_utf8_lossy(bytes).contains(LABEL) {
        drop(remove(bytes));
        return;
    }
    let again = inject(with.text.as_bytes(), &options).expect("it was one before");
    assert_eq!(again.text, with.text);
    let back = remove(with.text.as_bytes()).expect("it was one before");
    assert_eq!(back.text.as_bytes(), bytes);
});
