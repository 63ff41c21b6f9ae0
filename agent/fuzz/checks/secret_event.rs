//! What must hold of any message in the queue of hints.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::{
    limits::EVENT_BYTES_MAX,
    secrets::{
        hints::{Hint, read},
        settings::{From, Parameter, Parameters, SecretsManager},
    },
};

/// Any message is read to its end, and names only what stands in it.
pub(crate) fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Some(hints) = read(&text) else { return };
    assert!(text.len() <= EVENT_BYTES_MAX);
    for hint in hints {
        let (Hint::Secret(name) | Hint::Parameter(name)) = &hint;
        assert!(!name.is_empty() && name.len() <= text.len());
        let secret = From::SecretsManager(SecretsManager { id: name.clone(), ..SecretsManager::default() });
        let parameter = From::Parameter(Parameter { name: name.clone(), ..Parameter::default() });
        let all = From::Parameters(Parameters { path: "/".to_owned(), ..Parameters::default() });
        assert_eq!(hint.concerns(&secret), matches!(hint, Hint::Secret(_)), "each is concerned by its own name");
        assert!(!matches!(hint, Hint::Secret(_)) || !hint.concerns(&parameter) && !hint.concerns(&all));
    }
}
