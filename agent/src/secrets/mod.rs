//! The secrets job: values of Secrets Manager and the Parameter Store on a shared volume, swapped as they rotate.
//!
//! ```text
//! source ─ look, fetch ─▶ watch ─ what is held ─▶ render ─ files ─▶ place ─ generation ─▶ tell
//!                           ▲                                                │
//!                           └── refresh: the app, a hint ── api ◀── reads ───┘
//! ```
//!
//! Desired state comes in, files appear. Nothing of this uses [`deliver`](crate::deliver): a secret is never a batch.
//!
//! Promises: a reader sees one generation of all files, old or new, never a mixture; what cannot be had leaves what was there;
//! no value, length or hash of one is in any log, metric, page, error or panic.
//! Never: writes a secret anywhere but through `place` and the local API.

pub mod api;
pub mod cost;
mod defaults;
pub mod hide;
pub mod hints;
mod item;
pub mod job;
mod passes;
pub mod place;
mod prefetch;
mod proof;
mod publish;
pub mod render;
pub mod settings;
pub mod source;
pub mod standing;
pub mod tell;
pub mod value;
mod vault;
pub mod watch;
