//! Room for messages that are not whole yet, shared by the connections of all listeners.
//!
//! A connection may hold a small beginning of a message, always. One that needs more takes a room first. There are few:
//! without them a thousand connections, each in the middle of a large message, would hold gigabytes.
//!
//! Promises: at most [`PARTIAL_MESSAGES_MAX`] connections hold more than [`PARTIAL_BYTES_FREE`](crate::limits::PARTIAL_BYTES_FREE) and one read; when all
//! rooms are taken the next wait unread, [`PARTIAL_WAITING_MAX`] of them for [`PARTIAL_WAIT`]; nobody else waits.
//! Never: knows what a message is.

use std::sync::Arc;

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::limits::{PARTIAL_MESSAGES_MAX, PARTIAL_WAIT, PARTIAL_WAITING_MAX};

/// All rooms.
#[derive(Debug)]
pub struct Partials {
    rooms: Arc<Semaphore>,
    waiting: Semaphore,
}

/// Room for one message that is not whole yet. Give back by dropping.
#[derive(Debug)]
pub struct Room(#[expect(dead_code, reason = "given back when dropped")] OwnedSemaphorePermit);

impl Default for Partials {
    fn default() -> Self {
        Self { rooms: Arc::new(Semaphore::new(PARTIAL_MESSAGES_MAX)), waiting: Semaphore::new(PARTIAL_WAITING_MAX) }
    }
}

impl Partials {
    /// A room, perhaps after a wait. `None` if too many wait already, or if none became free in time.
    pub async fn room(&self) -> Option<Room> {
        let rooms = Arc::clone(&self.rooms);
        if let Ok(room) = Arc::clone(&rooms).try_acquire_owned() {
            return Some(Room(room));
        }
        let _place = self.waiting.try_acquire().ok()?;
        timeout(PARTIAL_WAIT, rooms.acquire_owned()).await.ok()?.ok().map(Room)
    }

    /// A room, if there is one at once.
    pub fn try_room(&self) -> Option<Room> {
        Arc::clone(&self.rooms).try_acquire_owned().ok().map(Room)
    }

    /// Rooms nobody has.
    #[cfg(test)]
    pub(crate) fn free(&self) -> usize {
        self.rooms.available_permits()
    }

    /// Connections that wait for a room.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        PARTIAL_WAITING_MAX - self.waiting.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_finds_no_room_waits_and_not_for_ever() {
        let partials = Partials::default();
        let mut taken = Vec::new();
        for _ in 0..PARTIAL_MESSAGES_MAX {
            taken.push(partials.room().await.expect("a free room"));
        }
        let before = tokio::time::Instant::now();
        assert!(partials.room().await.is_none());
        assert_eq!(before.elapsed(), PARTIAL_WAIT);
        let (room, ()) = tokio::join!(partials.room(), async { drop(taken.pop()) });
        assert!(room.is_some(), "the next in line has what became free");
    }

    #[tokio::test(start_paused = true)]
    async fn not_too_many_wait() {
        let partials = Partials::default();
        let _all = partials.rooms.acquire_many(PARTIAL_MESSAGES_MAX as u32).await.expect("free rooms");
        let _waiting = partials.waiting.acquire_many(PARTIAL_WAITING_MAX as u32).await.expect("free places");
        let before = tokio::time::Instant::now();
        assert!(partials.room().await.is_none());
        assert_eq!(before.elapsed(), std::time::Duration::ZERO, "refused at once");
    }
}
