//! How much waits in a queue for each task of the service: what the service is scaled by.
//!
//! ```text
//! sqs:GetQueueAttributes ─ depth ───┐
//! ecs:DescribeServices ─── running ─┴▶ backlog ─▶ BacklogPerTask {ClusterName, ServiceName, QueueName} ─▶ store
//! ```
//!
//! Every task of the service publishes the same value under the same name once a minute, so that no one of them is needed: read it with
//! the statistic `Average` (never `Sum`, which would multiply it by the number of tasks). Zero is published too: without data a
//! target-tracking policy neither scales out nor in. A service without a task has nobody who publishes: it cannot scale from zero.
//!
//! Where `publishers` says how many, those that are elected do it (`elect`), by the list of tasks that ECS gives instead of the service's number.
//!
//! Promises: a value is published only if the queue was asked in that minute; if the service cannot be asked, the last count of its tasks
//! holds for five minutes, and then nothing is published.
//! Never: changes a queue or a service; asks more than once a minute.

pub mod backlog;
pub mod elect;
mod run;
mod service;
pub mod settings;

pub use run::{Means, Watcher};
