//! The outputs of a job while it runs: their engines, and how they end.
//!
//! Promises: an output that was added is on the ledger, and has its part of the spool if there is one; who stops waiting for the
//! end may begin again.
//! Never: decides when a job ends.

use std::{collections::HashMap, sync::Arc};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Destination, Engine, Rules, budget::Budget, collect::Ledger, deliver, lane::Output, spooling::Spooling};
use crate::{
    life::Life,
    tell::{counters::Counters, spans::Spans},
};

/// What delivering needs of the rest of the agent.
#[derive(Clone, Copy)]
pub struct Means<'a> {
    /// To run tasks.
    pub life: &'a Life,
    /// To be counted in.
    pub ledger: &'a Ledger,
    /// To lease memory from.
    pub budget: &'a Budget,
    /// To keep on disk what memory does not hold, if the user wants that.
    pub spool: Option<&'a Spooling>,
    /// To count with.
    pub counters: &'a Counters,
    /// To tell of requests with.
    pub spans: &'a Spans,
}

/// Running outputs.
#[derive(Default)]
pub struct Outputs {
    engines: Vec<JoinHandle<Option<()>>>,
    closers: Vec<Box<dyn Fn() + Send>>,
    /// Cancelled when all records are in and the engines should hurry.
    draining: CancellationToken,
    /// Cancelled when what is left must be given up.
    abandoning: CancellationToken,
}

impl Outputs {
    /// Starts to deliver to `destination`.
    pub fn add(
        &mut self,
        name: &Arc<str>,
        destination: Arc<impl Destination>,
        rules: Rules,
        means: &Means<'_>,
    ) -> Arc<Output> {
        let (output, engine): (_, Engine) = deliver(name, destination, rules, means.budget, means.counters);
        let engine = engine.with_spans(means.spans.clone());
        let engine = match means.spool {
            Some(spool) => spool.attach(engine, &means.ledger.books),
            None => engine,
        };
        means.ledger.enter(Arc::clone(name), engine.standing());
        let run = engine.run(self.draining.clone(), self.abandoning.clone());
        self.engines.push(means.life.spawn("output", run));
        let closing = Arc::clone(&output);
        self.closers.push(Box::new(move || closing.close()));
        output
    }

    /// Sends everything that is left. No more may come.
    pub async fn drained(&mut self) {
        self.closers.iter().for_each(|close| close());
        self.draining.cancel();
        ended(&mut self.engines).await;
    }

    /// Gives up what is left.
    pub fn abandon(&self) {
        self.abandoning.cancel();
    }
}

/// The names of outputs, of each of which the kind and its own name are given: its own, else the kind and its number.
pub fn names<'a>(outputs: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Vec<Arc<str>> {
    let mut numbers = HashMap::new();
    let name = |(kind, own): (&'a str, Option<&'a str>)| {
        let number = numbers.entry(kind).or_insert(0);
        let name = own.map_or_else(|| format!("{kind}.{number}"), str::to_owned);
        *number += 1;
        name.into()
    };
    outputs.map(name).collect()
}

/// Waits until all of `tasks` have ended. Who stops waiting may begin again: those that have not ended stay.
pub async fn ended<T>(tasks: &mut Vec<JoinHandle<T>>) {
    while let Some(task) = tasks.last_mut() {
        // One that panicked was counted by `life`.
        let _ = task.await;
        tasks.pop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The handles were gone when the first wait was given up, and nobody waited for the last batches.
    #[tokio::test]
    async fn who_gives_up_waiting_can_begin_again() {
        let (life, gate) = (Life::default(), CancellationToken::new());
        let mut tasks: Vec<_> = (0..3).map(|_| life.spawn("task", gate.clone().cancelled_owned())).collect();
        tokio::select! {
            biased;
            () = ended(&mut tasks) => panic!("the gate is closed"),
            () = std::future::ready(()) => {}
        }
        assert_eq!(tasks.len(), 3);
        gate.cancel();
        ended(&mut tasks).await;
        assert!(tasks.is_empty());
    }
}
