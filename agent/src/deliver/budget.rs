//! The one budget of memory for data, in bytes, shared by all outputs.
//!
//! Each output has a share that is its own; what no share reserves is common, first come, first served. So an output
//! whose service is down can fill the common part and no more, and the others go on with their shares.
//!
//! Promises: the sum of all leases never exceeds the budget; a lease that is dropped gives its bytes back.
//! Never: waits. Who gets no lease makes room or drops records.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The part of the budget that is split into reserved shares; the rest is common.
const RESERVED_PART: u64 = 2;

/// The budget; clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    total: u64,
    /// Bytes that each share has for itself.
    reserve: u64,
    common: u64,
    used: Mutex<Used>,
}

#[derive(Debug, Default)]
struct Used {
    common: u64,
    shares: Vec<u64>,
}

/// One output's part of the budget; clones share it.
#[derive(Clone, Debug)]
pub struct Share {
    pool: Arc<Pool>,
    number: usize,
}

/// Bytes that are in use. Give back by dropping.
#[derive(Debug)]
pub struct Lease {
    share: Share,
    bytes: u64,
}

impl Budget {
    /// A budget of `total` bytes of which up to `shares` outputs have a part for themselves.
    pub fn new(total: u64, shares: usize) -> Self {
        let reserve = total / RESERVED_PART / shares.max(1) as u64;
        let common = total - reserve * shares.max(1) as u64;
        Self(Arc::new(Pool { total, reserve, common, used: Mutex::default() }))
    }

    /// The next share.
    pub fn share(&self) -> Share {
        let mut used = self.0.used();
        used.shares.push(0);
        Share { pool: Arc::clone(&self.0), number: used.shares.len() - 1 }
    }

    /// Bytes there are.
    pub fn total(&self) -> u64 {
        self.0.total
    }

    /// Bytes leased.
    pub fn used(&self) -> u64 {
        self.0.used().shares.iter().sum()
    }
}

impl Pool {
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// An empty lease, to be resized.
    pub fn lease(&self) -> Lease {
        Lease { share: self.clone(), bytes: 0 }
    }

    /// Bytes that no other output can take.
    pub fn own(&self) -> u64 {
        self.pool.reserve
    }

    /// True if `bytes` more would leave half of the budget free: then they may be leased for mere convenience.
    pub fn is_roomy(&self, bytes: u64) -> bool {
        let used: u64 = self.pool.used().shares.iter().sum();
        used + bytes <= self.pool.total / 2
    }

    /// True if the memory is half full, and this output has its part in that: it holds more than half of what is its own.
    pub fn is_short(&self) -> bool {
        let used = self.pool.used();
        let all: u64 = used.shares.iter().sum();
        all > self.pool.total / 2 && used.shares[self.number] > self.pool.reserve / 2
    }

    /// Bytes leased by this output.
    pub fn used(&self) -> u64 {
        self.pool.used().shares[self.number]
    }
}

impl Lease {
    /// Bytes leased.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the lease `bytes` large. False, and nothing changed, if it may not grow so far.
    pub fn resize(&mut self, bytes: u64) -> bool {
        let pool = &self.share.pool;
        let mut used = pool.used();
        let before = used.shares[self.share.number];
        let after = before - self.bytes + bytes;
        let beyond = |used: u64| used.saturating_sub(pool.reserve);
        let common = used.common - beyond(before) + beyond(after);
        if bytes > self.bytes && common > pool.common {
            return false;
        }
        used.shares[self.share.number] = after;
        used.common = common;
        self.bytes = bytes;
        true
    }

    /// Adds another lease of the same output. This cannot fail.
    pub fn join(&mut self, mut other: Self) {
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Moves `bytes` of it, or all there are, to a lease of their own. This cannot fail.
    #[must_use]
    pub fn split(&mut self, bytes: u64) -> Self {
        let bytes = bytes.min(self.bytes);
        self.bytes -= bytes;
        Self { share: self.share.clone(), bytes }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An output that takes all it can get leaves the others their shares.
    #[test]
    fn a_greedy_output_leaves_the_others_their_shares() {
        let budget = Budget::new(1_000, 2);
        let (greedy, modest) = (budget.share(), budget.share());
        let mut lease = greedy.lease();
        assert!(lease.resize(750));
        assert!(!lease.resize(751));
        let mut other = modest.lease();
        assert!(other.resize(250));
        assert!(!other.resize(251));
        assert_eq!(budget.used(), 1_000);
        drop(lease);
        assert!(other.resize(750));
        drop(other);
        assert_eq!(budget.used(), 0);
    }

    proptest! {
        #[test]
        fn property_leases_never_exceed_the_budget(
            steps in prop::collection::vec((0usize..3, 0u64..800), 1..60),
        ) {
            let budget = Budget::new(1_000, 3);
            let shares = [budget.share(), budget.share(), budget.share()];
            let mut leases: Vec<Lease> = shares.iter().map(Share::lease).collect();
            for (who, bytes) in steps {
                let before = leases[who].bytes();
                let done = leases[who].resize(bytes);
                prop_assert_eq!(leases[who].bytes(), if done { bytes } else { before });
                prop_assert!(done || bytes > before);
                prop_assert!(budget.used() <= budget.total());
                prop_assert_eq!(budget.used(), leases.iter().map(Lease::bytes).sum::<u64>());
            }
        }
    }
}
