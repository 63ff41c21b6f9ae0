//! pillion: one container beside every ECS task, for its logs, traces, metrics and secrets.
//!
//! Promises: see `docs/` and ARCHITECTURE.md; the modules below in reading order.
//! Never: is the reason a task fails.

pub mod agent;
pub mod aws;
pub mod cli;
pub mod config;
pub mod deliver;
pub mod ecs;
pub mod emf;
pub mod fluentbit;
pub mod life;
pub mod limits;
pub mod logs;
pub mod metrics;
pub mod net;
pub mod otlp;
pub mod problem;
pub mod secrets;
pub mod tally;
pub mod taskdef;
pub mod tell;
pub mod traces;
pub mod units;
