//! The counters of the secrets job.
//!
//! Promises: a label `secret` is a name of the configuration, so that their number is bounded.
//! Never: holds an id that somebody asks the local API for.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec};

use super::Registering;

/// The counters of the secrets job.
#[derive(Clone, Debug)]
pub struct Secrets {
    /// Answers of the sources of secrets, by `secret` and `answer`.
    pub answers: IntCounterVec,
    /// When a secret was last found to be as it is shown, by `secret`, in seconds since 1970.
    pub confirmed: IntGaugeVec,
    /// When a source was last asked for it, by `secret`.
    pub looked: IntGaugeVec,
    /// When it is asked next, by `secret`.
    pub next_look: IntGaugeVec,
    /// The newest generation of secret files.
    pub generation: IntGauge,
    /// The generation in which it changed, by `secret`.
    pub changed_generation: IntGaugeVec,
    /// When it changed on the volume, by `secret`.
    pub changed: IntGaugeVec,
    /// When the service made the version, by `secret`.
    pub created: IntGaugeVec,
    /// Answers of the local API, by `secret`.
    pub reads: IntCounterVec,
    /// Attempts to tell of a new generation, by `who` and `outcome`.
    pub tells: IntCounterVec,
    /// The last generation that everybody has heard of.
    pub heard: IntGauge,
    /// Messages of the queue of hints, by `outcome`.
    pub hints: IntCounterVec,
    /// The newest generation that anybody has acknowledged, by `way`.
    pub acknowledged: IntGaugeVec,
    /// How long a rotation has waited to be taken up, by `secret`.
    pub untaken: IntGaugeVec,
}

impl Secrets {
    pub(super) fn new(to: &Registering) -> Self {
        Self {
            answers: to.counters(
                "pillion_secrets_answers_total",
                &["secret", "answer"],
                "Answers of the sources of secrets: `current`, or why there was none.",
            ),
            confirmed: to.gauges(
                "pillion_secrets_confirmed_timestamp_seconds",
                &["secret"],
                "When the secret was last found to be as it is shown. What is long ago is stale.",
            ),
            looked: to.gauges(
                "pillion_secrets_looked_timestamp_seconds",
                &["secret"],
                "When its source was last asked for the secret, whatever came of it.",
            ),
            next_look: to.gauges(
                "pillion_secrets_next_look_timestamp_seconds",
                &["secret"],
                "When its source will be asked next. None if the version is fixed.",
            ),
            generation: to.gauge("pillion_secrets_generation", "The newest generation of secret files."),
            changed_generation: to.gauges(
                "pillion_secrets_changed_generation",
                &["secret"],
                "The generation of secret files in which the secret changed last, or that was found at the start.",
            ),
            changed: to.gauges(
                "pillion_secrets_changed_timestamp_seconds",
                &["secret"],
                "When the secret's files changed last. None before that happened in this process.",
            ),
            created: to.gauges(
                "pillion_secrets_created_timestamp_seconds",
                &["secret"],
                "When the service made the secret's current version, as it says.",
            ),
            reads: to.counters(
                "pillion_secrets_reads_total",
                &["secret"],
                "Answers of the local API with the secret. All secrets that the configuration does not name are one, with an empty name.",
            ),
            tells: to.counters(
                "pillion_secrets_tells_total",
                &["who", "outcome"],
                "Attempts to tell of a new generation of secrets: `heard` or `unheard`.",
            ),
            heard: to.gauge(
                "pillion_secrets_heard_generation",
                "The last generation of secrets that everybody who is told has heard of.",
            ),
            hints: to.counters(
                "pillion_secrets_hints_total",
                &["outcome"],
                "Messages of the queue of hints: `taken`, `foreign` (about secrets that are not ours), `unreadable`; `failed` \
                 counts attempts to receive.",
            ),
            acknowledged: to.gauges(
                "pillion_secrets_acknowledged_generation",
                &["way"],
                "The newest generation of secrets that anybody has acknowledged: `webhook`, `signal`, `events` or `ack`.",
            ),
            untaken: to.gauges(
                "pillion_secrets_untaken_seconds",
                &["secret"],
                "How long the secret's rotation has waited to be taken up by anybody; 0 if it was. None if nobody could be seen.",
            ),
        }
    }
}
