//! When the publisher goes over everything that is held, and who waits for that.
//!
//! Promises: who wants a pass gets one that began after the wish, however many want one at the same time.
//! Never: does what a pass does, or decides when.

use tokio::sync::{Notify, watch};

/// The passes of one publisher, one after another.
#[derive(Debug, Default)]
pub(super) struct Passes {
    wanted: Notify,
    /// How many have begun, and which of them ended last.
    begun: watch::Sender<u64>,
    ended: watch::Sender<u64>,
}

impl Passes {
    /// There is something new to publish.
    pub(super) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Waits until somebody wants a pass.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// A pass begins: what is held from here on it may have missed.
    pub(super) fn begin(&self) {
        self.begun.send_modify(|begun| *begun += 1);
    }

    /// The pass that began last has ended.
    pub(super) fn end(&self) {
        self.ended.send_replace(*self.begun.borrow());
    }

    /// Wants a pass, and waits for the end of one that began after that.
    pub(super) async fn one_more(&self) {
        let next = *self.begun.borrow() + 1;
        self.want();
        // The sender is ours, so the only error cannot happen.
        let _ = self.ended.subscribe().wait_for(|ended| *ended >= next).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::life::Life;

    /// Lets everything else run that can.
    async fn settled() {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }

    /// An app that had reported a refused password was told "done" when a pass ended that had begun before the new password was
    /// there. It read the old one again.
    #[tokio::test(start_paused = true)]
    async fn a_pass_that_is_under_way_is_not_the_one_that_was_wanted() {
        let (life, passes) = (Life::default(), Arc::new(Passes::default()));
        passes.begin();
        let waiting = Arc::clone(&passes);
        let waiter = life.spawn("waiter", async move { waiting.one_more().await });
        settled().await;
        passes.end();
        settled().await;
        assert!(!waiter.is_finished(), "that one had begun before");
        passes.wanted().await;
        passes.begin();
        settled().await;
        assert!(!waiter.is_finished(), "it has not ended");
        passes.end();
        waiter.await.expect("not cancelled").expect("no panic");
    }
}
