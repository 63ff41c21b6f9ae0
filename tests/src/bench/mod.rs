//! The bench: loads any FireLens-compatible agent over its socket, plays the service behind it, and counts.
//!
//! Promises: what is compared was measured in the same run, in interleaved rounds, with the same records: the agent, a
//! peer, a bare reader, and the machine's [`floor`](floor::Floor). Lost, duplicated and reordered records are exact.
//! Never: pins anything to a core, or trusts what the one under test says about itself (except where it is checked:
//! its count of lost records in `overload`).
//!
//! A run goes through these modules in this order: [`options`] says what to measure; [`plan`] makes cells of it, runs
//! them in rounds and sums up; [`cell`] measures one: it starts a [`sink`] and a [`process`], has the [`sender`] write
//! the [`records`], and waits until they have arrived.
//!
//! CPU is the point, so the bench itself must cost little on a machine with two cores: one thread sends records that
//! were encoded beforehand, one thread per connection scans bodies ([`scan`], 0.2 us a record), one samples.

pub mod bare;
pub mod cell;
pub mod clock;
pub mod floor;
pub mod isolation;
pub mod options;
pub mod otlp;
pub mod otlp_metrics;
pub mod otlp_xray;
pub mod outage;
pub mod plan;
pub mod process;
pub mod records;
pub mod scan;
pub mod secrets;
pub mod sender;
pub mod sink;
pub mod spool;
pub mod statsd;
pub mod table;
pub mod trial;
pub mod words;
pub mod xray;
