//! Regular expressions of configurations.
//!
//! Promises: a search takes time linear in the text; an expression has a bounded memory.
//! Never: says where in the text it must fit; who writes it does.

use regex::{Regex, RegexBuilder};

/// Memory of a compiled expression, a hundred times what usual ones take, and again of the tables that are made while it runs.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// The expression that `text` says.
pub(super) fn compiled(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
}
