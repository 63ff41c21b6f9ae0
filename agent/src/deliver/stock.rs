//! Buffers of bodies that were sent, to be written into again.
//!
//! A new megabyte costs 256 page faults: a quarter of all work when bodies leave, or are given up, as fast as they are made.
//!
//! Promises: at most [`KEPT`] buffers, leased; the first to go when memory is short; none once the output is idle.
//! Never: gives away a buffer that somebody still reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::{
    body::Body,
    budget::{Lease, Share},
};

/// Buffers kept: one that is sent, and one that is written meanwhile.
const KEPT: usize = 2;

/// The buffers of one output.
#[derive(Debug)]
pub struct Stock {
    share: Share,
    /// Bytes of each buffer.
    room: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    buffers: Vec<(Vec<u8>, Lease)>,
    closed: bool,
}

/// A written buffer that returns to its stock.
struct Written {
    buffer: Vec<u8>,
    end: usize,
    stock: Arc<Stock>,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.buffer[..self.end]
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        self.stock.put(std::mem::take(&mut self.buffer));
    }
}

impl Stock {
    /// Buffers of `room` bytes, leased from `share`.
    pub fn new(share: Share, room: usize) -> Self {
        Self { share, room, kept: Mutex::default() }
    }

    /// Bytes of each buffer.
    pub fn room(&self) -> u64 {
        self.room as u64
    }

    /// A buffer that was used before, if there is one. The caller leases its bytes.
    pub fn take(&self) -> Option<Body> {
        self.kept().buffers.pop().map(|(buffer, _)| Body::reusing(buffer))
    }

    /// A buffer, new if need be. The caller leases its bytes.
    pub fn take_or_make(&self) -> Body {
        self.take().unwrap_or_else(|| Body::with_room(self.room))
    }

    /// What was written to `body`. Its buffer returns when nobody reads it any more.
    pub fn lend(self: &Arc<Self>, body: Body) -> Bytes {
        let (buffer, end) = body.into_parts();
        Bytes::from_owner(Written { buffer, end, stock: Arc::clone(self) })
    }

    /// True if the buffer of `body` is worth to be used again: a large one, which is full or of which the rest does not matter
    /// because memory is not short.
    pub fn wants(&self, body: &Body) -> bool {
        let full = body.len() >= body.capacity() / 4 * 3;
        (self.room..=2 * self.room).contains(&body.capacity()) && (full || self.share.is_roomy(0))
    }

    /// Gives all buffers back to the system. False if there were none.
    pub fn clear(&self) -> bool {
        !std::mem::take(&mut self.kept().buffers).is_empty()
    }

    /// Keeps no buffer from now on.
    pub fn close(&self) {
        let mut kept = self.kept();
        kept.closed = true;
        kept.buffers.clear();
    }

    fn put(&self, buffer: Vec<u8>) {
        let bytes = buffer.capacity() as u64;
        let mut lease = self.share.lease();
        let mut kept = self.kept();
        if !kept.closed && kept.buffers.len() < KEPT && lease.resize(bytes) {
            kept.buffers.push((buffer, lease));
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::budget::Budget;

    #[test]
    fn a_buffer_returns_when_its_last_reader_is_done() {
        let budget = Budget::new(10_000, 1);
        let stock = Arc::new(Stock::new(budget.share(), 1_000));
        let mut body = stock.take_or_make();
        body.put(b"hello");
        assert!(stock.wants(&body));
        let (first, second) = (stock.lend(body), stock.take());
        let reader = first.clone();
        drop(first);
        assert!(second.is_none() && stock.take().is_none(), "it is still read");
        assert_eq!((&reader[..], budget.used()), (&b"hello"[..], 0));
        drop(reader);
        assert_eq!(budget.used(), 1_000, "what is kept is leased");
        assert!(stock.clear() && !stock.clear());
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn few_are_kept_and_none_beyond_the_memory_or_after_the_end() {
        let budget = Budget::new(8_000, 1);
        let share = budget.share();
        let stock = Arc::new(Stock::new(share.clone(), 1_000));
        let written = || stock.lend(Body::with_room(1_000));
        drop([written(), written(), written()]);
        assert_eq!(budget.used(), 2_000);
        stock.clear();
        let mut lease = share.lease();
        assert!(lease.resize(7_500));
        drop(written());
        assert_eq!(budget.used(), 7_500);
        let mut full = Body::with_room(1_000);
        assert!(!stock.wants(&full), "memory is short, and it is empty");
        full.put(&[b'x'; 800]);
        assert!(stock.wants(&full));
        drop(lease);
        stock.close();
        drop(written());
        assert_eq!(budget.used(), 0);
        // Small and huge ones are not worth it.
        assert!(!stock.wants(&Body::with_room(999)) && !stock.wants(&Body::with_room(2_001)));
    }
}
