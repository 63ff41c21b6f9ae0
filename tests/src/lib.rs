//! Drives the real pillion binary from outside: the bench, the test doubles, the stories.
//!
//! Promises: nothing here is linked into the product; the doubles check what they are given and keep a list of what
//! was wrong, which must be empty at the end of every story.
//! Never: reaches into the agent's memory: sockets, files, signals and `/metrics` are the only ways in and out.

pub mod agent;
pub mod bench;
pub mod fake_aws;
pub mod forward_client;
pub mod http;
pub mod metrics;
pub mod tidy;
pub mod wait;
