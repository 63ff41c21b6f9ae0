//! Tasks that one owner started and waits for, each known by a key.
//!
//! Promises: every task that was started is handed back once with its key, also if it panicked; dropping the flock ends
//! them all.
//! Never: outlives its owner.

use std::future::Future;

use tokio::task::JoinSet;

use super::CatchPanic;

/// Running tasks with keys of type `K` and results of type `T`.
#[derive(Debug)]
pub struct Flock<K, T>(JoinSet<(K, Option<T>)>);

impl<K, T> Default for Flock<K, T> {
    fn default() -> Self {
        Self(JoinSet::new())
    }
}

impl<K: Send + 'static, T: Send + 'static> Flock<K, T> {
    /// Starts a task.
    pub fn start(&mut self, key: K, task: impl Future<Output = T> + Send + 'static) {
        let task = CatchPanic(Box::pin(task));
        self.0.spawn(async move { (key, task.await) });
    }

    /// Tasks that run.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if none runs.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits for the next task to end. Its result is `None` if it panicked. `None` if no task runs.
    pub async fn next(&mut self) -> Option<(K, Option<T>)> {
        loop {
            match self.0.join_next().await? {
                Ok(done) => return Some(done),
                // Panics are caught inside, so this one was cancelled: the runtime is going down.
                Err(_) => continue,
            }
        }
    }
}
