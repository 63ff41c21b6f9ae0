//! What the app exposes for Prometheus, scraped as Prometheus would.
//!
//! ```text
//! settings ─┐                                                       ┌─ relabel (a spelling that is new)
//! labels of ┴─ target ─ run, by its own clock ─ fetch ─ exposition ─┴─ take ─▶ store
//! containers
//! ```
//!
//! Each target has a task of its own and a place of its own within the interval. Bodies up to [`SMALL_BYTES`] are read by all at once;
//! larger ones one after the other, so that memory is that of one large body, however many targets there are, and a target that is
//! huge delays only others that are huge.
//!
//! Promises: a target that is slow, huge or lies disturbs no other; of a scrape that fails nothing is taken, and `up` says so; what was
//! counted until we stop is scraped once more.
//! Never: gives a target more than its time; takes timestamps that a target writes: a sample is of the time of its scrape.

mod again;
#[cfg(test)]
mod again_tests;
pub mod fetch;
mod report;
pub mod run;
#[cfg(test)]
mod run_tests;
pub mod settings;
pub mod take;
#[cfg(test)]
mod take_tests;
pub mod target;

/// Bytes of a body that is read beside others. Most expositions have less than 200 KiB, and compressed a tenth of that.
pub const SMALL_BYTES: usize = 1 << 20;
