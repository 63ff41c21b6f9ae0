//! The books: who handed in how many records, and what became of each.
//!
//! Promises: `accepted = delivered + refused + lost + spooled + in_flight` for every account at every instant: an
//! account's numbers move together under one lock, taken once per chunk or batch, never per record. A record that is
//! forgotten by a bug is booked as lost when its [`Receipt`] is dropped.
//! Never: counts a record twice, or lets a reason be free text.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::ack::Ack;

/// Why a service, or a rule of the service, did not take a record. Sending it again would not help.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refused {
    /// Older than the service takes (CloudWatch Logs: 14 days).
    TooOld,
    /// Further in the future than the service takes (CloudWatch Logs: 2 hours).
    TooNew,
    /// Older than the destination's own retention.
    Expired,
    /// The service called the record, alone, invalid.
    Invalid,
    /// The record lacks what the output is told to send (`log_key` of a record without that key).
    KeyMissing,
    /// There is nothing in it, and the service takes no empty records.
    Empty,
    /// What the service needs for it is switched off in the account.
    NotEnabled,
}

/// Why a record was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lost {
    /// The memory budget was used up and this was the oldest record.
    MemoryFull,
    /// It could not be delivered within the output's age or retry limit.
    TooLate,
    /// The agent had to stop before it could be delivered.
    Stopped,
    /// The output is of a kind that this version does not have.
    OutputNotSupported,
    /// The output's settings cannot work here (no region, for example).
    OutputUnusable,
    /// The user asked for no retries, and the first attempt failed.
    NoRetries,
    /// The spool was full and this was the oldest record in it.
    SpoolFull,
    /// The disk gave back something else than was written to the spool, or nothing.
    SpoolDamaged,
    /// Forgotten. Always a bug; please report it.
    Unsettled,
}

impl Refused {
    /// All reasons, in the order of the page.
    pub const ALL: [Self; 7] =
        [Self::TooOld, Self::TooNew, Self::Expired, Self::Invalid, Self::KeyMissing, Self::Empty, Self::NotEnabled];

    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::TooOld => "too_old",
            Self::TooNew => "too_new",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::KeyMissing => "key_missing",
            Self::Empty => "empty",
            Self::NotEnabled => "not_enabled",
        }
    }
}

impl Lost {
    /// All reasons, in the order of the page.
    pub const ALL: [Self; 9] = [
        Self::MemoryFull,
        Self::TooLate,
        Self::Stopped,
        Self::OutputNotSupported,
        Self::OutputUnusable,
        Self::NoRetries,
        Self::SpoolFull,
        Self::SpoolDamaged,
        Self::Unsettled,
    ];

    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::MemoryFull => "memory_full",
            Self::TooLate => "too_late",
            Self::Stopped => "stopped",
            Self::OutputNotSupported => "output_not_supported",
            Self::OutputUnusable => "output_unusable",
            Self::NoRetries => "no_retries",
            Self::SpoolFull => "spool_full",
            Self::SpoolDamaged => "spool_damaged",
            Self::Unsettled => "unsettled",
        }
    }
}

/// The numbers of one account, in records. Consistent with each other when taken by [`Account::totals`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Handed to the output.
    pub accepted: u64,
    /// Taken by the service.
    pub delivered: u64,
    /// Not taken by the service for good, by [`Refused::ALL`].
    pub refused: [u64; Refused::ALL.len()],
    /// Lost, by [`Lost::ALL`].
    pub lost: [u64; Lost::ALL.len()],
    /// Safe on disk.
    pub spooled: u64,
    /// In memory: in an open batch, waiting, or on its way.
    pub in_flight: u64,
}

impl Totals {
    /// True if every accepted record is accounted for.
    pub fn balanced(&self) -> bool {
        self.accepted == self.delivered + self.refused() + self.lost() + self.spooled + self.in_flight
    }

    /// All refused records.
    pub fn refused(&self) -> u64 {
        self.refused.iter().sum()
    }

    /// All lost records.
    pub fn lost(&self) -> u64 {
        self.lost.iter().sum()
    }

    /// Adds another account's numbers.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.delivered += other.delivered;
        self.spooled += other.spooled;
        self.in_flight += other.in_flight;
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            *mine += theirs;
        }
        for (mine, theirs) in self.lost.iter_mut().zip(other.lost) {
            *mine += theirs;
        }
    }
}

/// The account of one output and one source (a container).
#[derive(Debug, Default)]
pub struct Account {
    source: Arc<str>,
    totals: Mutex<Totals>,
}

impl Account {
    /// The source's name, by which a later process finds the account of what it finds on disk.
    pub fn source(&self) -> &Arc<str> {
        &self.source
    }

    /// The numbers as they stand.
    pub fn totals(&self) -> Totals {
        *self.lock()
    }

    /// Accepts `records` and returns the receipt that must be settled for them.
    pub fn accept(self: &Arc<Self>, records: u32) -> Receipt {
        let mut receipt = Receipt { account: Arc::clone(self), unsettled: 0, on_disk: false, acks: Vec::new() };
        receipt.accept(records);
        receipt
    }

    /// Accepts `records` that an earlier process left on disk.
    pub fn adopt(self: &Arc<Self>, records: u32) -> Receipt {
        let mut totals = self.lock();
        totals.accepted += u64::from(records);
        totals.spooled += u64::from(records);
        drop(totals);
        Receipt { account: Arc::clone(self), unsettled: records, on_disk: true, acks: Vec::new() }
    }

    fn lock(&self) -> MutexGuard<'_, Totals> {
        // The numbers are plain integers: a panic elsewhere cannot have left them half-written.
        self.totals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stands for records that were accepted and whose fate is not known yet. Settle all of them: what is unsettled when it
/// is dropped counts as [`Lost::Unsettled`].
#[derive(Debug)]
#[must_use = "an unsettled receipt books its records as lost"]
pub struct Receipt {
    account: Arc<Account>,
    unsettled: u32,
    /// They are safe on disk.
    on_disk: bool,
    /// Of the messages that they came in, if those wait for more than acceptance.
    acks: Vec<Arc<Ack>>,
}

impl Receipt {
    /// Records not settled yet.
    pub fn unsettled(&self) -> u32 {
        self.unsettled
    }

    /// The account it books on.
    pub fn account(&self) -> &Arc<Account> {
        &self.account
    }

    /// True if this receipt books on `account`.
    pub fn is_of(&self, account: &Arc<Account>) -> bool {
        Arc::ptr_eq(&self.account, account)
    }

    /// Accepts more records of the same account.
    pub fn accept(&mut self, records: u32) {
        let mut totals = self.account.lock();
        totals.accepted += u64::from(records);
        totals.in_flight += u64::from(records);
        drop(totals);
        self.unsettled += records;
    }

    /// Splits off `records` of the unsettled ones into a receipt of their own.
    pub fn split(&mut self, records: u32) -> Self {
        let records = records.min(self.unsettled);
        self.unsettled -= records;
        Self { account: Arc::clone(&self.account), unsettled: records, on_disk: self.on_disk, acks: self.acks.clone() }
    }

    /// Some of its records are of the message that waits for `ack`. Returns the bytes of memory that this holds.
    pub fn holds(&mut self, ack: &Arc<Ack>) -> u64 {
        if self.acks.last().is_some_and(|last| Arc::ptr_eq(last, ack)) {
            return 0;
        }
        self.acks.push(Arc::clone(ack));
        ack.bytes()
    }

    /// Bytes of memory that acknowledgements hold.
    pub fn ack_bytes(&self) -> u64 {
        self.acks.iter().map(|ack| ack.bytes()).sum()
    }

    /// What is not settled yet is safe on disk, or is no more.
    pub fn set_on_disk(&mut self, on_disk: bool) {
        if self.on_disk == on_disk {
            return;
        }
        self.on_disk = on_disk;
        if on_disk {
            self.acks.retain(|ack| ack.awaits_delivery());
        }
        let records = u64::from(self.unsettled);
        let mut totals = self.account.lock();
        let Totals { spooled, in_flight, .. } = &mut *totals;
        let (from, to) = if on_disk { (in_flight, spooled) } else { (spooled, in_flight) };
        *from -= records;
        *to += records;
    }

    /// Leaves what is on disk to the next process. What is not is lost with this one.
    pub fn leave(mut self) {
        if self.on_disk {
            self.unsettled = 0;
            // Whether they will be delivered, this process will not know.
            self.take_back_acks();
        }
    }

    /// The service took `records` of them.
    pub fn delivered(&mut self, records: u32) {
        self.settle(records, |totals, n| totals.delivered += n);
    }

    /// The service will never take `records` of them.
    pub fn refused(&mut self, records: u32, reason: Refused) {
        self.settle(records, |totals, n| totals.refused[reason as usize] += n);
    }

    /// `records` of them are gone.
    pub fn lost(&mut self, records: u32, reason: Lost) {
        if records > 0 {
            self.take_back_acks();
        }
        self.settle(records, |totals, n| totals.lost[reason as usize] += n);
    }

    fn settle(&mut self, records: u32, book: impl FnOnce(&mut Totals, u64)) {
        debug_assert!(records <= self.unsettled, "settles {records} of {} records", self.unsettled);
        let records = records.min(self.unsettled);
        self.unsettled -= records;
        let mut totals = self.account.lock();
        match self.on_disk {
            true => totals.spooled -= u64::from(records),
            false => totals.in_flight -= u64::from(records),
        }
        book(&mut totals, u64::from(records));
        drop(totals);
        if self.unsettled == 0 {
            self.acks.clear();
        }
    }

    fn take_back_acks(&mut self) {
        self.acks.drain(..).for_each(|ack| ack.take_back());
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if self.unsettled > 0 {
            self.lost(self.unsettled, Lost::Unsettled);
        }
    }
}

/// Whose account it is. Both names are bounded: outputs by the configuration, sources by
/// [`CONTAINER_LABELS_MAX`](crate::limits::CONTAINER_LABELS_MAX).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder {
    /// The output's name, for example `cloudwatch_logs.0`.
    pub output: Arc<str>,
    /// The source's name: the container, or `other`.
    pub source: Arc<str>,
}

/// All accounts. Cloning gives another handle to the same books.
#[derive(Clone, Debug, Default)]
pub struct Books(Arc<Mutex<BTreeMap<Holder, Arc<Account>>>>);

impl Books {
    /// The account of `holder`, opened if need be.
    pub fn account(&self, holder: &Holder) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let opened = || Arc::new(Account { source: Arc::clone(&holder.source), totals: Mutex::default() });
        Arc::clone(accounts.entry(holder.clone()).or_insert_with(opened))
    }

    /// Every account with its numbers, ordered by output and source.
    pub fn list(&self) -> Vec<(Holder, Totals)> {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.iter().map(|(holder, account)| (holder.clone(), account.totals())).collect()
    }

    /// The sum over all accounts.
    pub fn totals(&self) -> Totals {
        let mut sum = Totals::default();
        for (_, totals) in self.list() {
            sum.add(&totals);
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whatever is done with receipts, in whatever order, the books balance.
    #[test]
    fn the_books_balance_after_every_settlement() {
        let account = Arc::new(Account::default());
        let mut receipt = account.accept(10);
        receipt.delivered(3);
        receipt.refused(2, Refused::TooOld);
        let mut part = receipt.split(4);
        part.lost(1, Lost::MemoryFull);
        assert!(account.totals().balanced());
        assert_eq!(account.totals().in_flight, 4);
        drop(receipt);
        part.delivered(3);
        drop(part);
        let totals = account.totals();
        assert!(totals.balanced());
        assert_eq!((totals.accepted, totals.delivered, totals.refused(), totals.in_flight), (10, 6, 2, 0));
        assert_eq!(totals.lost[Lost::Unsettled as usize], 1);
        assert_eq!(totals.lost[Lost::MemoryFull as usize], 1);
    }

    /// On disk and back, adopted from an earlier process, and left to the next one.
    #[test]
    fn records_on_disk_are_booked_as_spooled() {
        let account = Arc::new(Account::default());
        let (mut receipt, adopted) = (account.accept(10), account.adopt(5));
        let now = || (account.totals().accepted, account.totals().spooled, account.totals().in_flight);
        assert_eq!(now(), (15, 5, 10));
        receipt.set_on_disk(true);
        receipt.set_on_disk(true);
        assert_eq!(now(), (15, 15, 0));
        receipt.delivered(4);
        let mut part = receipt.split(2);
        part.set_on_disk(false);
        assert_eq!((now(), account.totals().delivered), ((15, 9, 2), 4));
        part.lost(2, Lost::SpoolFull);
        receipt.leave();
        adopted.leave();
        assert_eq!(now(), (15, 9, 0));
        assert!(account.totals().balanced());
    }

    #[test]
    fn a_forgotten_receipt_is_booked_as_lost() {
        let account = Arc::new(Account::default());
        drop(account.accept(7));
        assert_eq!(account.totals().lost[Lost::Unsettled as usize], 7);
        assert!(account.totals().balanced());
    }

    #[test]
    fn every_reason_stands_at_its_own_place_in_the_list() {
        for (place, reason) in Refused::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{}", reason.label());
        }
        for (place, reason) in Lost::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "{}", reason.label());
        }
    }
}
