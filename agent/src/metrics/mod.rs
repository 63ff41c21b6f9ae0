//! The metrics job: what apps count and measure, for CloudWatch and for whoever scrapes the agent.
//!
//! ```text
//! StatsD ──┐            ┌─ series ─▶ /metrics
//! others ──┴─▶ store ───┤
//!                       └─ cells ── once a minute ─▶ out ─▶ deliver
//! ```
//!
//! Promises: a sample that was taken is told by exactly one flush; sums and counts are exact; there are never more series than the
//! settings say.
//! Never: holds up who sends.

pub mod distribution;
pub mod store;
