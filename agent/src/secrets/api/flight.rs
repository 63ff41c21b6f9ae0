//! Many who want the same work done become few runs of it.
//!
//! Promises: at most one run at a time; whoever asks for the next run gets one that begins after the question; those who ask
//! while it has not begun share it; forced runs begin at least [`FORCED_APART`] apart; a run that panics wakes its waiters.
//! Never: spawns. Who is told to drive must drive, in a task that nobody cancels.

use std::{
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

/// A broken app that refreshes in a loop must not become a storm at AWS, whose quota the account shares.
pub const FORCED_APART: Duration = Duration::from_secs(1);

/// The runs of one piece of work.
#[derive(Debug, Default)]
pub struct Flights {
    numbers: Mutex<Numbers>,
    done: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Numbers {
    wanted: u64,
    begun: u64,
    driven: bool,
    force: bool,
    forced: Option<Instant>,
}

/// A run to wait for.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "if `drive` is true nobody else will drive it"]
pub struct Ticket {
    /// Its number.
    pub number: u64,
    /// True if the caller must have somebody [`drive`](Flights::drive).
    pub drive: bool,
}

impl Flights {
    /// A run that begins after this call.
    pub fn next(&self) -> Ticket {
        let mut numbers = self.lock();
        let number = numbers.begun + 1;
        numbers.want(number)
    }

    /// The same, but not sooner after another forced one than allowed.
    pub fn next_forced(&self) -> Ticket {
        let mut numbers = self.lock();
        numbers.force = true;
        let number = numbers.begun + 1;
        numbers.want(number)
    }

    /// The run under way, or one that begins.
    pub fn any(&self) -> Ticket {
        let mut numbers = self.lock();
        let under_way = numbers.driven && numbers.begun > *self.done.borrow();
        let number = if under_way { numbers.begun } else { numbers.begun + 1 };
        numbers.want(number)
    }

    /// Waits for the end of a run.
    pub async fn wait(&self, number: u64) {
        // The sender is ours, so the only error cannot happen.
        let _ = self.done.subscribe().wait_for(|done| *done >= number).await;
    }

    /// Runs `work` for as long as somebody wants it.
    pub async fn drive<F: Future<Output = ()>>(&self, mut work: impl FnMut() -> F) {
        let mut driving = Driving { flights: self, ended: false };
        while let Some(at) = self.due() {
            sleep_until(at).await;
            self.begin();
            work().await;
            self.end();
        }
        driving.ended = true;
    }

    /// When the next run may begin. `None` ends the driving.
    fn due(&self) -> Option<Instant> {
        let mut numbers = self.lock();
        if numbers.wanted <= numbers.begun {
            numbers.driven = false;
            return None;
        }
        let now = Instant::now();
        Some(numbers.forced.filter(|_| numbers.force).map_or(now, |forced| now.max(forced + FORCED_APART)))
    }

    fn begin(&self) {
        let mut numbers = self.lock();
        numbers.begun += 1;
        if std::mem::take(&mut numbers.force) {
            numbers.forced = Some(Instant::now());
        }
    }

    fn end(&self) {
        let begun = self.lock().begun;
        self.done.send_replace(begun);
    }

    fn lock(&self) -> MutexGuard<'_, Numbers> {
        // Plain numbers: a panic elsewhere cannot have left them half-written.
        self.numbers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Numbers {
    fn want(&mut self, number: u64) -> Ticket {
        self.wanted = self.wanted.max(number);
        let drive = self.wanted > self.begun && !std::mem::replace(&mut self.driven, true);
        Ticket { number, drive }
    }
}

/// Wakes the waiters of a run that ended by a panic, or with the runtime.
struct Driving<'a> {
    flights: &'a Flights,
    ended: bool,
}

impl Drop for Driving<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let mut numbers = self.flights.lock();
            numbers.driven = false;
            numbers.begun = numbers.wanted;
            drop(numbers);
            self.flights.end();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::life::Life;

    /// A hundred who ask while a run is under way share the next one: theirs must begin after they asked.
    #[tokio::test(start_paused = true)]
    async fn who_asks_during_a_run_gets_the_next_one() {
        let (life, flights, runs) = (Life::default(), Arc::new(Flights::default()), Arc::new(AtomicUsize::new(0)));
        let first = flights.next();
        assert_eq!(first, Ticket { number: 1, drive: true });
        let (driven, counted) = (Arc::clone(&flights), Arc::clone(&runs));
        let driver = life.spawn("driver", async move {
            let work = || async {
                counted.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(300)).await;
            };
            driven.drive(work).await;
        });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(flights.any(), Ticket { number: 1, drive: false });
        for _ in 0..100 {
            assert_eq!(flights.next(), Ticket { number: 2, drive: false });
        }
        flights.wait(2).await;
        driver.await.expect("not cancelled").expect("no panic");
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        assert_eq!(flights.any(), Ticket { number: 3, drive: true });
    }

    #[tokio::test(start_paused = true)]
    async fn forced_runs_begin_a_second_apart() {
        let flights = Flights::default();
        let begun = Instant::now();
        for run in 0..3 {
            let _ = flights.next_forced();
            flights.drive(|| async {}).await;
            assert_eq!(begun.elapsed().as_secs(), run);
        }
        let _ = flights.next();
        flights.drive(|| async {}).await;
        assert_eq!(begun.elapsed().as_secs(), 2, "the others do not wait");
    }

    /// A source that panics is a bug of ours, and must not be one that hangs every reader for ever.
    #[tokio::test(start_paused = true)]
    async fn a_run_that_panics_wakes_its_waiters() {
        let (life, flights) = (Life::default(), Arc::new(Flights::default()));
        let ticket = flights.next();
        let driven = Arc::clone(&flights);
        let driver = life.spawn("driver", async move { driven.drive(|| async { panic!("no value here") }).await });
        let woken = tokio::time::timeout(Duration::from_secs(3600), flights.wait(ticket.number)).await;
        woken.expect("woken, not left waiting");
        driver.await.expect("not cancelled");
        assert_eq!((life.panics(), flights.next()), (1, Ticket { number: 2, drive: true }));
    }
}
