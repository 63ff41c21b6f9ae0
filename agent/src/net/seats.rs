//! Places of connections that give way: where all are taken, a newcomer has the place of who does nothing with it.
//!
//! Without this, who opens connections and sends a byte a second keeps all others out for as long as a request may take, and an app
//! that leaks connections keeps itself out.
//!
//! Promises: who waits for an answer keeps its place; who never sent a whole request goes before who did, and of these the one that
//! has been quiet for longest.
//! Never: closes a connection; who serves it does, when it is [asked](Seat::asked).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus::IntCounter;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The connections of one listener that can give way. Clones share them.
#[derive(Clone, Debug)]
pub struct Seats {
    taken: Arc<Mutex<Vec<Arc<Taken>>>>,
    gave_way: IntCounter,
}

/// What is known of one connection.
#[derive(Debug)]
struct Taken {
    state: Mutex<State>,
    asked: CancellationToken,
}

#[derive(Debug)]
struct State {
    /// Whole requests that are not answered yet.
    running: usize,
    /// A whole request came.
    is_proven: bool,
    /// When it was opened, or the last answer was given.
    quiet_since: Instant,
}

/// The place of one connection, until this is dropped.
#[derive(Debug)]
pub struct Seat {
    taken: Arc<Taken>,
    among: Seats,
}

/// By which requests on a connection tell that they came whole. They may live longer than the connection does.
#[derive(Clone, Debug)]
pub struct Sitter(Arc<Taken>);

/// A whole request that waits for its answer.
#[derive(Debug)]
pub struct Running(Arc<Taken>);

impl Seats {
    /// Nobody sits yet. Who is asked to go is counted in `gave_way`.
    pub fn new(gave_way: IntCounter) -> Self {
        Self { taken: Arc::default(), gave_way }
    }

    /// The place of a new connection.
    pub fn seat(&self) -> Seat {
        let state = State { running: 0, is_proven: false, quiet_since: Instant::now() };
        let taken = Arc::new(Taken { state: Mutex::new(state), asked: CancellationToken::new() });
        lock(&self.taken).push(Arc::clone(&taken));
        Seat { taken, among: self.clone() }
    }

    /// Asks the one to go who does nothing. False if there is none.
    pub fn make_room(&self) -> bool {
        let all = lock(&self.taken);
        let idle = all.iter().filter(|taken| !taken.asked.is_cancelled()).filter_map(|taken| {
            let state = lock(&taken.state);
            (state.running == 0).then_some(((state.is_proven, state.quiet_since), taken))
        });
        let Some((_, last)) = idle.min_by_key(|(rank, _)| *rank) else { return false };
        last.asked.cancel();
        self.gave_way.inc();
        true
    }
}

impl Sitter {
    /// A request came whole: until what this returns is dropped, the place is kept.
    pub fn answering(&self) -> Running {
        let mut state = lock(&self.0.state);
        (state.running, state.is_proven) = (state.running + 1, true);
        Running(Arc::clone(&self.0))
    }
}

impl Seat {
    /// For requests on the connection.
    pub fn sitter(&self) -> Sitter {
        Sitter(Arc::clone(&self.taken))
    }

    /// True if a whole request ever came: then the peer is to be told before the connection is closed.
    pub fn is_proven(&self) -> bool {
        lock(&self.taken.state).is_proven
    }

    /// Ends when a newcomer needs the place.
    pub async fn asked(&self) {
        self.taken.asked.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        lock(&self.among.taken).retain(|taken| !Arc::ptr_eq(taken, &self.taken));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.running -= 1;
        state.quiet_since = Instant::now();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    async fn seats(count: usize) -> (Seats, Vec<Seat>) {
        let seats = Seats::new(IntCounter::new("gave_way", "for tests").expect("a name"));
        let mut all = Vec::new();
        for _ in 0..count {
            all.push(seats.seat());
            advance(Duration::from_secs(1)).await;
        }
        (seats, all)
    }

    fn asked(seats: &[Seat]) -> Vec<usize> {
        (0..seats.len()).filter(|&number| seats[number].taken.asked.is_cancelled()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_asked_anything_goes_first_and_who_waits_for_an_answer_never() {
        let (seats, all) = seats(5).await;
        let waits = all[0].sitter().answering();
        drop(all[1].sitter().answering());
        advance(Duration::from_secs(1)).await;
        drop(all[3].sitter().answering());
        for expected in [&[2][..], &[2, 4], &[1, 2, 4], &[1, 2, 3, 4]] {
            assert!(seats.make_room());
            assert_eq!(asked(&all), expected);
        }
        assert!(!seats.make_room(), "the last one waits for its answer");
        drop(waits);
        assert!(seats.make_room());
        assert_eq!((asked(&all).len(), seats.gave_way.get()), (5, 5));
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_gone_has_no_place() {
        let (seats, mut all) = seats(3).await;
        let kept = all.remove(1);
        // A request that outlives its connection has no part in it.
        let request = all[0].sitter();
        drop(all);
        assert_eq!(lock(&seats.taken).len(), 1);
        assert!(seats.make_room() && !seats.make_room());
        kept.asked().await;
        drop(request.answering());
        assert!(!kept.is_proven());
    }
}
