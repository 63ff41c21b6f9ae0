//! The jobs that deliver, as one: they start and end together.
//!
//! Promises: none of them waits for another; what one does not get done in time keeps no other.
//! Never: knows how a job works.

use crate::{logs, metrics, otlp::input::Listening, traces};

/// The running jobs.
pub(super) struct Jobs {
    pub(super) logs: logs::job::Job,
    pub(super) traces: traces::job::Job,
    pub(super) metrics: metrics::job::Job,
    /// Where OTLP comes in, for all of them.
    pub(super) otlp: Listening,
}

impl Jobs {
    /// Reads until the peers are done. What still comes after [`close_inputs`](Self::close_inputs) is not read.
    pub(super) async fn inputs_ended(&mut self) {
        let Self { logs, traces, metrics, otlp } = self;
        tokio::join!(logs.inputs_ended(), traces.inputs_ended(), metrics.inputs_ended(), otlp.ended());
    }

    /// Stops waiting for peers.
    pub(super) fn close_inputs(&self) {
        self.logs.close_inputs();
        self.traces.close_inputs();
        self.metrics.close_inputs();
        self.otlp.close();
    }

    /// Sends everything that is left.
    pub(super) async fn outputs_drained(&mut self) {
        // What metrics send as documents is delivered by the logs.
        self.metrics.flushed().await;
        tokio::join!(self.logs.outputs_drained(), self.traces.outputs_drained(), self.metrics.outputs_drained());
    }

    /// Gives up what is left.
    pub(super) fn abandon(&self) {
        self.logs.abandon();
        self.traces.abandon();
        self.metrics.abandon();
        self.otlp.close();
    }
}
