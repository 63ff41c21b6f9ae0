//! What the task and its containers use: processor, memory, network, storage, by the task metadata endpoint (version 4).
//!
//! ```text
//! GET /task       ─ document::Task ───┐
//! GET /task/stats ─ document::Stats ──┴▶ measure::Meter, which knows the sample before ─▶ figures ─┬▶ names ─▶ the store
//!                                                                                                   └▶ events ─▶ the logs
//! ```
//!
//! The stats are Docker's, and lie in many ways; each has its line in `measure`:
//!
//! | what | means |
//! |---|---|
//! | an entry that is `null`, or was read in the year 1 | the container has just started; there is nothing to say yet |
//! | `memory_stats.limit` of 2^60 and more | no limit |
//! | `memory_stats.usage` | with pages of files that the kernel gives back: `cache` in cgroup v1, `inactive_file` in v2 |
//! | `cpu_usage.percpu_usage` | padded with zeros on Fargate, absent in v2; never needed |
//! | `networks`, the same in each container | with `awsvpc` the task has one interface: it is counted once |
//! | `io_service_bytes_recursive` | one entry a device and operation, `Read` in v1, `read` in v2 |
//! | a total that is less than before | the container was started again |
//!
//! Promises: figures of a container that cannot be read are missing, and those of the others are there; a sum of the task is told
//! only if every container that runs is in it.
//! Never: guesses a figure; does I/O in what computes.

pub mod document;
pub mod events;
#[cfg(test)]
mod events_tests;
pub mod measure;
pub mod names;
pub mod run;
pub mod settings;
#[cfg(test)]
mod tests;
