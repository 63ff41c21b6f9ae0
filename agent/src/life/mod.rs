//! The agent's life: what runs, when it must stop, and that no task's panic ends the process.
//!
//! Promises: every task has a name; a task that panics is reported, counted, and restarted if it is a service; stopping
//! is a token that no queue can delay; there is one deadline, and everything that waits at the end waits until it.
//! Never: knows what the tasks do. Nothing else in the agent spawns.

mod flock;
mod signal;

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::error;

pub use flock::Flock;
pub use signal::Signals;

/// The pause before a service that panicked is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// A handle to the agent's life; clones share it.
#[derive(Clone, Debug)]
pub struct Life(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    stopping: CancellationToken,
    hurrying: CancellationToken,
    deadline: OnceLock<Instant>,
    stopped_by: OnceLock<&'static str>,
    tasks: TaskTracker,
    panics: AtomicU64,
}

impl Default for Life {
    fn default() -> Self {
        Self(Arc::new(Shared {
            stopping: CancellationToken::new(),
            hurrying: CancellationToken::new(),
            deadline: OnceLock::new(),
            stopped_by: OnceLock::new(),
            tasks: TaskTracker::new(),
            panics: AtomicU64::new(0),
        }))
    }
}

impl Life {
    /// Runs `task` beside the others. If it panics, that is reported and counted, and nothing else is harmed.
    pub fn spawn<F>(&self, name: &'static str, task: F) -> JoinHandle<Option<F::Output>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let (life, task) = (self.clone(), CatchPanic::new(task));
        self.0.tasks.spawn(async move { life.guard(name, task).await })
    }

    /// Runs a service that must be there as long as the agent is: made anew, after a second, if it panics.
    pub fn keep<F, M>(&self, name: &'static str, mut make: M) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
        M: FnMut() -> F + Send + 'static,
    {
        let life = self.clone();
        self.0.tasks.spawn(async move {
            while life.guard(name, CatchPanic::new(make())).await.is_none() {
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        })
    }

    /// Cancelled when the agent begins to stop.
    pub fn stopping(&self) -> CancellationToken {
        self.0.stopping.clone()
    }

    /// Cancelled when the agent must stop at once (a second SIGTERM).
    pub fn hurrying(&self) -> CancellationToken {
        self.0.hurrying.clone()
    }

    /// Begins to stop; everything has `budget` from now. Only the first call sets the deadline.
    pub fn stop(&self, budget: Duration) {
        self.0.deadline.get_or_init(|| Instant::now() + budget);
        self.0.stopping.cancel();
    }

    /// The same, because of `whom`, a signal.
    pub fn stop_for(&self, whom: &'static str, budget: Duration) {
        self.0.stopped_by.get_or_init(|| whom);
        self.stop(budget);
    }

    /// Who asked first that it stops, if anybody said so.
    pub fn stopped_by(&self) -> Option<&'static str> {
        self.0.stopped_by.get().copied()
    }

    /// Stops waiting for anything.
    pub fn hurry(&self) {
        self.stop(Duration::ZERO);
        self.0.hurrying.cancel();
    }

    /// When everything must have ended; `None` while the agent is not stopping.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get().copied()
    }

    /// Panics of tasks so far.
    pub fn panics(&self) -> u64 {
        self.0.panics.load(Ordering::Relaxed)
    }

    async fn guard<F: Future>(&self, name: &'static str, task: CatchPanic<F>) -> Option<F::Output> {
        let outcome = task.await;
        if outcome.is_none() {
            self.0.panics.fetch_add(1, Ordering::Relaxed);
            // The panic's text is printed by the hook; it names the place and never holds a record.
            error!(task = name, "task panicked; this is a bug in pillion, please report it");
        }
        outcome
    }
}

/// A future whose panic ends it with `None`. It is on the heap from the beginning: each function that it went through by value would
/// keep room for it as long as the task lives.
struct CatchPanic<F>(Pin<Box<F>>);

impl<F> CatchPanic<F> {
    fn new(task: F) -> Self {
        Self(Box::pin(task))
    }
}

impl<F: Future> Future for CatchPanic<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let future = &mut self.0;
        match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A panic in one task is counted; the service is made again, and its neighbours never notice.
    #[tokio::test(start_paused = true)]
    async fn a_panicking_service_is_restarted() {
        let life = Life::default();
        let mut starts = 0;
        let service = life.keep("flaky", move || {
            starts += 1;
            async move { assert!(starts == 3, "not yet") }
        });
        let neighbour = life.spawn("neighbour", async { 42 });
        service.await.expect("the service ends by itself");
        assert_eq!(neighbour.await.expect("joins"), Some(42));
        assert_eq!(life.panics(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_first_stop_sets_the_deadline() {
        let life = Life::default();
        life.stop(Duration::from_secs(29));
        let deadline = life.deadline();
        tokio::time::advance(Duration::from_secs(5)).await;
        life.hurry();
        assert_eq!(life.deadline(), deadline);
        assert!(life.stopping().is_cancelled() && life.hurrying().is_cancelled());
    }
}
