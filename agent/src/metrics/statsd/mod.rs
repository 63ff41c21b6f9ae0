//! StatsD and DogStatsD.
//!
//! ```text
//! packet ─▶ lines ─ grammar ─▶ take ─ known spelling ─▶ store
//!                                └─ new spelling: mapping, tags, caps ─┘
//! ```
//!
//! Promises: takes what the clients of protocols 1.0 to 1.6 write; each line is judged alone.
//! Never: makes a sample into several.

pub mod grammar;
pub mod listen;
pub mod mapping;
pub mod number;
pub mod take;
