//! What the agent says about itself: its own log, its own counters, and the admin address that shows them.
//!
//! Promises: one event is one line, whatever its values hold; a stderr or an admin client that does not read blocks
//! nothing but itself; every counter has a documented name.
//! Never: shows a secret, a token or the body of a record; opens a connection to anywhere.

pub mod admin;
pub mod books;
pub mod counters;
pub mod exposition;
pub mod limited;
pub mod logs;
pub mod spans;

pub use limited::RateLimited;
pub use logs::{chain, untrusted};
