//! Drives the real pillion binary from outside: the bench, the test doubles, the stories. The fleet alone runs its delivery
//! inside, a thousand times, in simulated time.
//!
//! Promises: nothing here is linked into the product; the doubles check what they are given and keep a list of what
//! was wrong, which must be empty at the end of every story.
//! Never: reaches into the agent's memory (the fleet apart): sockets, files, signals and `/metrics` are the only ways in
//! and out.

pub mod agent;
pub mod bench;
pub mod cgroup;
pub mod command_line;
pub mod disks;
pub mod ecs_local;
pub mod fake_aws;
pub mod false_clock;
pub mod fleet;
pub mod forward_client;
pub mod http;
pub mod leaks;
pub mod metrics;
pub mod network;
pub mod otlp;
pub mod relay;
pub mod tidy;
pub mod wait;
