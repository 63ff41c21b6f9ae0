//! The pages that are generated: the configuration's schema and reference, and the list of metrics.
//!
//! Promises: `docs/metrics.md` says what this binary counts; a test compares them.
//! Never: describes by hand what the code can describe.

use crate::{agent, config, tell::counters::Counters};

/// The JSON Schema of the configuration.
pub(super) fn schema() -> String {
    let schema = serde_json::to_string_pretty(&config::schema()).expect("a schema is plain JSON");
    schema + "\n"
}

/// `docs/config.md`.
pub(super) fn config() -> String {
    config::reference()
}

/// All metrics of an agent, the books included.
pub(super) fn counters() -> Counters {
    agent::counters()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_metrics_is_fresh() {
        let page = include_str!("../../../docs/metrics.md");
        assert_eq!(page, counters().markdown(), "run: cargo run -- metrics --markdown > docs/metrics.md");
    }
}
