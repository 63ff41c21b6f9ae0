//! Stories: the real binary against the fake AWS, from the first byte on its socket to its last word.
//!
//! Every story ends with [`Story::end`](story::Story::end): the books balance, what they call delivered is what the fake
//! has, no request was wrong, and the agent stops in good order and says the same numbers.
//!
//! Promises: no story depends on another, on a fixed port, or on how fast the machine is, deadlines aside.
//! Never: sleeps; waits are for conditions.

#![expect(clippy::unwrap_used, reason = "a test: what fails here is a failed test")]

mod acks;
mod asking;
mod books;
mod command_line;
mod configuration;
mod counted;
mod daemon;
mod delivery;
mod doctor;
mod emf;
mod failover;
mod faults;
mod generated;
mod hints;
mod limits;
mod masking;
mod memory;
mod network;
mod otlp;
mod overload;
mod parameters;
mod prefetch;
mod readme;
mod roles;
mod sampling;
mod secrets;
mod secrets_agent;
mod secrets_task;
mod secrets_told;
mod segments;
mod segments_as_spans;
mod signals;
mod slow_clients;
mod soak;
mod spool;
mod statsd;
mod stop;
mod story;
mod suspended;
mod task_definitions;
mod telemetry;
mod traces;
mod wire;
mod x_ray_spans;
