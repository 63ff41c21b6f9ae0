//! What is done to a record between input and output.
//!
//! Promises: a filter sees a borrowed view and changes only that; a record that a filter drops is counted as filtered.
//! Never: awaits, or fails at run time: what cannot work is refused when the configuration is read.

pub mod grep;
pub mod record_modifier;
pub mod regex;
mod ruby;
