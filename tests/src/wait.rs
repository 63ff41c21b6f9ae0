//! Waiting in tests: for a condition, with a deadline.
//!
//! Promises: returns as soon as the condition holds; says what did not come true, and when the wait was given up.
//! Never: waits for a length of time as such.

use std::{
    thread,
    time::{Duration, Instant},
};

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until `condition` holds. Panics with `what` when it does not within `within`.
#[track_caller]
pub fn until(within: Duration, what: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < within, "waited {within:?} in vain for {}", what());
        thread::sleep(LOOK);
    }
}
