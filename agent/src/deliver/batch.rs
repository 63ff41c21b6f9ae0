//! Records packed in the destination's own encoding: ready to send, to send again, or to lie on disk.
//!
//! ```text
//! body     head record separator record separator record tail
//! entries  where each record ends, when it happened, whose receipt it is on
//! ```
//!
//! What cannot be cut apart is one entry, also if it is several records: a request of OTLP is appended as it came.
//!
//! Because the frame around records is constant for a key, and each record's bytes are known, a part of a batch (what a
//! service refused, one half in the hunt for a poisonous record) is cut out without encoding anything again.
//!
//! Promises: the entries always describe the body; cutting keeps bytes, order and receipts.
//! Never: knows what a record says.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use tokio::{sync::OnceCell, time::Instant};

use super::{
    Key,
    ack::Ack,
    body::Body,
    books::{Account, Lost, Receipt},
    budget::Lease,
    pending::{Pending, lose_all},
    stock::Stock,
};

/// What stands around and between the records of a body.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Before the first record.
    pub head: Bytes,
    /// Between two records.
    pub separator: &'static [u8],
    /// After the last record.
    pub tail: &'static [u8],
}

/// What is known of one record in a body, or of several that cannot be cut apart. 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When it happened, in milliseconds since 1970.
    pub time: i64,
    /// Where it ends in the body.
    pub end: u32,
    /// Which of the batch's receipts it is on.
    pub(super) source: u16,
    /// Records in it beyond the first.
    pub(super) more: u16,
}

/// Receipts that the entries of one batch can tell apart.
pub(super) const RECEIPTS_MAX: usize = u16::MAX as usize;

impl Entry {
    /// The most records of one entry.
    pub const RECORDS_MAX: u32 = 1 << 16;

    /// Records in it.
    pub fn records(&self) -> u32 {
        1 + u32::from(self.more)
    }
}

/// What a destination sends.
#[derive(Debug)]
pub struct Batch {
    /// Where it goes.
    pub key: Key,
    /// The whole request body.
    pub body: Bytes,
    /// Its records, in order.
    pub entries: Vec<Entry>,
    /// What the destination worked out beforehand.
    memo: OnceCell<Box<str>>,
}

/// Bytes that a batch holds besides its body and entries: receipts, lease, its place in the queue. Batches of one record
/// each would otherwise hold ten times what they lease.
const BATCH_BYTES: usize = 1_024;

impl Batch {
    /// A batch with this body, of which `entries` says what is in it.
    pub fn new(key: Key, body: Bytes, entries: Vec<Entry>) -> Self {
        Self { key, body, entries, memo: OnceCell::new() }
    }

    /// What `work` gives, which is done once for all times that the batch is sent.
    pub async fn memo(&self, work: impl Future<Output = Box<str>>) -> &str {
        self.memo.get_or_init(|| work).await
    }

    /// Bytes of memory that it holds.
    pub(super) fn memory(&self) -> u64 {
        memory(self.body.len(), &self.entries)
    }

    /// Bytes of the record at `place`.
    pub fn record(&self, place: usize, frame: &Frame) -> &[u8] {
        &self.body[record_start(&self.entries, place, frame)..self.entries[place].end as usize]
    }
}

fn record_start(entries: &[Entry], place: usize, frame: &Frame) -> usize {
    match place.checked_sub(1) {
        None => frame.head.len(),
        Some(before) => entries[before].end as usize + frame.separator.len(),
    }
}

/// A batch that still takes records.
#[derive(Debug)]
pub struct Open {
    /// The body so far.
    pub body: Body,
    entries: Vec<Entry>,
    receipts: Vec<Receipt>,
    records: usize,
    /// Bytes as the service counts them.
    counted: usize,
    earliest: i64,
    latest: i64,
    ordered: bool,
    lease: Lease,
    opened: Instant,
    /// Where the record being written begins.
    start: usize,
    /// Bytes of the batch before, which this one is likely to resemble.
    before: usize,
    /// Bytes of memory that acknowledgements hold.
    acks: u64,
}

impl Open {
    /// An empty one.
    pub fn new(lease: Lease) -> Self {
        Self {
            body: Body::default(),
            entries: Vec::new(),
            receipts: Vec::new(),
            records: 0,
            counted: 0,
            earliest: i64::MAX,
            latest: i64::MIN,
            ordered: true,
            lease,
            opened: Instant::now(),
            start: 0,
            before: 0,
            acks: 0,
        }
    }

    /// True if no record is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Records in it.
    pub fn records(&self) -> usize {
        self.records
    }

    /// Accounts that its records are of.
    pub fn receipts(&self) -> usize {
        self.receipts.len()
    }

    /// Bytes as the service counts them.
    pub fn counted(&self) -> usize {
        self.counted
    }

    /// When its first record came.
    pub fn opened(&self) -> Instant {
        self.opened
    }

    /// Bytes of memory it holds.
    pub fn memory(&self) -> u64 {
        if self.body.capacity() == 0 { 0 } else { memory(self.body.capacity(), &self.entries) + self.acks }
    }

    /// The lease that covers [`memory`](Self::memory).
    pub fn lease(&mut self) -> &mut Lease {
        &mut self.lease
    }

    /// Writes what stands before a record.
    pub fn begin(&mut self, frame: &Frame) {
        if self.entries.is_empty() {
            self.body.truncate(0);
            self.body.put(&frame.head);
            self.opened = Instant::now();
        } else {
            self.body.put(frame.separator);
        }
        self.start = self.body.len();
    }

    /// Bytes of the record being written.
    pub fn written(&self) -> &[u8] {
        &self.body.as_slice()[self.start..]
    }

    /// The span of time of the records if one of `time` came to them, in milliseconds.
    pub fn span_with(&self, time: i64) -> u64 {
        self.latest.max(time).abs_diff(self.earliest.min(time))
    }

    /// The earliest time of its records, and the latest.
    pub fn times(&self) -> (i64, i64) {
        (self.earliest, self.latest)
    }

    /// Takes back the record being written.
    pub fn cancel(&mut self, frame: &Frame) {
        let before = if self.entries.is_empty() { 0 } else { self.start - frame.separator.len() };
        self.body.truncate(before);
    }

    /// The place of `account`'s receipt among the receipts.
    pub fn source(&mut self, account: &Arc<Account>) -> u16 {
        let place = self.receipts.iter().rposition(|receipt| receipt.is_of(account)).unwrap_or_else(|| {
            self.receipts.push(account.accept(0));
            self.receipts.len() - 1
        });
        u16::try_from(place).expect("an output has some hundred accounts, and a batch no more receipts")
    }

    /// Accepts `records` on the receipt at `source`. Their message may wait for an acknowledgement.
    pub fn accept(&mut self, source: u16, records: u32, ack: Option<&Arc<Ack>>) {
        let receipt = &mut self.receipts[source as usize];
        receipt.accept(records);
        if let Some(ack) = ack.filter(|_| records > 0) {
            self.acks += receipt.holds(ack);
        }
    }

    /// Keeps what was written, which is so many `records`.
    pub fn commit(&mut self, time: i64, counted: usize, source: u16, records: u32) {
        let end = u32::try_from(self.body.len()).expect("a body is far below 4 GiB: its limit is a few MiB");
        self.ordered &= time >= self.latest || self.entries.is_empty();
        self.latest = self.latest.max(time);
        self.earliest = self.earliest.min(time);
        self.counted += counted;
        self.records += records as usize;
        let more = u16::try_from(records - 1).expect("whoever appends knows the most records of an entry");
        self.entries.push(Entry { time, end, source, more });
    }

    /// True if it has no buffer, and the batch before needed a large one.
    #[inline]
    pub fn wants_room(&self) -> bool {
        const LARGE: usize = 128 * 1_024;
        self.body.capacity() == 0 && self.before > LARGE
    }

    /// Ends the batch and leaves an empty one with `lease`. The body's buffer comes back to `stock` if that wants it.
    pub fn seal(&mut self, key: Key, frame: &Frame, lease: Lease, stock: &Arc<Stock>) -> Pending {
        let fresh = Self { before: self.body.len(), ..Self::new(lease) };
        let mut done = std::mem::replace(self, fresh);
        let since = done.opened;
        if !done.ordered {
            done.sort(frame);
        }
        done.body.put(frame.tail);
        let mut capacity = done.body.capacity();
        let body = if stock.wants(&done.body) {
            stock.lend(done.body)
        } else {
            let mut body = done.body.into_bytes();
            if body.capacity() - body.len() > body.len() / 4 {
                // Room for a full batch that did not become one, or what doubling left over: while memory is short, it
                // would cost a third of the records that could wait.
                body.shrink_to_fit();
                done.entries.shrink_to_fit();
            }
            capacity = body.capacity();
            body.into()
        };
        done.lease.resize(memory(capacity, &done.entries) + done.acks);
        Pending::sealed(Batch::new(key, body, done.entries), done.counted, done.receipts, done.lease, since)
    }

    /// Gives back the memory of an empty one.
    pub fn clear(&mut self) {
        debug_assert!(self.is_empty(), "only what holds no record can be cleared");
        self.entries = Vec::new();
        self.body = Body::default();
        self.lease.resize(0);
    }

    /// Books all its records as lost and empties it.
    pub fn lose(&mut self, reason: Lost) -> u64 {
        let lost = self.receipts.iter_mut().map(|receipt| lose_all(receipt, reason)).sum();
        self.receipts.clear();
        self.entries.clear();
        (self.records, self.counted, self.acks) = (0, 0, 0);
        (self.earliest, self.latest, self.ordered) = (i64::MAX, i64::MIN, true);
        self.clear();
        lost
    }

    /// Puts the records in the order of their times, those of one time in the order in which they came.
    fn sort(&mut self, frame: &Frame) {
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|&place| self.entries[place].time);
        let (body, entries) = carve(self.body.as_slice(), &self.entries, frame, &order);
        self.body = body;
        self.entries = entries;
    }
}

/// Writes the records at `places` into a body of their own, without tail.
pub(super) fn carve(body: &[u8], entries: &[Entry], frame: &Frame, places: &[usize]) -> (Body, Vec<Entry>) {
    let records: usize =
        places.iter().map(|&place| entries[place].end as usize - record_start(entries, place, frame)).sum();
    let around = frame.head.len() + places.len() * frame.separator.len() + frame.tail.len();
    let mut carved = Body::with_room(records + around);
    let mut kept = Vec::with_capacity(places.len());
    carved.put(&frame.head);
    for (number, &place) in places.iter().enumerate() {
        if number > 0 {
            carved.put(frame.separator);
        }
        carved.put(&body[record_start(entries, place, frame)..entries[place].end as usize]);
        let end = u32::try_from(carved.len()).expect("a part is no larger than the whole");
        kept.push(Entry { end, ..entries[place] });
    }
    (carved, kept)
}

/// One batch that says what `parts` say, one after another. Each comes with the number of its receipts.
pub(super) fn join(key: Key, parts: &[(&Batch, usize)], frame: &Frame) -> Batch {
    let mut body = Body::with_room(parts.iter().map(|(part, _)| part.body.len()).sum());
    let mut entries = Vec::with_capacity(parts.iter().map(|(part, _)| part.entries.len()).sum());
    body.put(&frame.head);
    let mut receipts_before = 0;
    for (part, receipts) in parts {
        if !entries.is_empty() {
            body.put(frame.separator);
        }
        let records = &part.body[frame.head.len()..part.body.len() - frame.tail.len()];
        entries.extend(part.entries.iter().map(|entry| {
            let end = entry.end as usize - frame.head.len() + body.len();
            let end = u32::try_from(end).expect("together they are within the limits of one batch");
            Entry { end, source: entry.source + receipts_before, ..*entry }
        }));
        body.put(records);
        receipts_before += u16::try_from(*receipts).expect("what has more receipts together is not joined");
    }
    body.put(frame.tail);
    Batch::new(key, body.into_bytes().into(), entries)
}

/// Bytes of memory that a body and its entries hold.
pub(super) fn memory(body: usize, entries: &Vec<Entry>) -> u64 {
    (BATCH_BYTES + body + entries.capacity() * size_of::<Entry>()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::{books::Refused, budget::Budget};

    fn frame() -> Frame {
        Frame { head: Bytes::from_static(b"{["), separator: b",", tail: b"]}" }
    }

    fn open_with(records: &[(i64, &str)], accounts: &[&Arc<Account>]) -> (Open, Budget) {
        let budget = Budget::new(1 << 20, 1);
        let mut open = Open::new(budget.share().lease());
        for (number, (time, text)) in records.iter().enumerate() {
            open.begin(&frame());
            open.body.put(text.as_bytes());
            let source = open.source(accounts[number % accounts.len()]);
            open.accept(source, 1, None);
            open.commit(*time, text.len(), source, 1);
        }
        (open, budget)
    }

    fn sealed(open: &mut Open, budget: &Budget) -> Pending {
        let stock = Arc::new(Stock::new(budget.share(), 1 << 20));
        open.seal(Key::new("key"), &frame(), budget.share().lease(), &stock)
    }

    #[test]
    fn records_that_came_out_of_order_are_sent_in_order_of_time() {
        let account = Arc::new(Account::default());
        let (mut open, budget) = open_with(&[(5, "e1"), (3, "c"), (5, "e2"), (4, "d")], &[&account]);
        assert_eq!(open.span_with(6), 3);
        let pending = sealed(&mut open, &budget);
        assert_eq!(&pending.content().body[..], b"{[c,d,e1,e2]}");
        assert!(open.is_empty());
        let texts: Vec<_> = (0..4).map(|place| pending.content().record(place, &frame()).to_vec()).collect();
        assert_eq!(texts, [b"c".to_vec(), b"d".to_vec(), b"e1".to_vec(), b"e2".to_vec()]);
        pending.delivered();
        assert_eq!(account.totals().delivered, 4);
    }

    #[test]
    fn a_record_taken_back_leaves_no_trace() {
        let account = Arc::new(Account::default());
        let (mut open, budget) = open_with(&[(1, "a")], &[&account]);
        open.begin(&frame());
        open.body.put(b"oops");
        assert_eq!(open.written(), b"oops");
        open.cancel(&frame());
        let pending = sealed(&mut open, &budget);
        assert_eq!(&pending.content().body[..], b"{[a]}");
        assert_eq!(pending.lost(Lost::Stopped), 1);
        assert!(account.totals().balanced());
    }

    /// Cutting keeps bytes and order, and the receipts follow their records.
    #[test]
    fn a_part_is_cut_out_with_its_receipts() {
        let (web, cron) = (Arc::new(Account::default()), Arc::new(Account::default()));
        let (mut open, budget) = open_with(&[(1, "w1"), (2, "c1"), (3, "w2"), (4, "c2"), (5, "w3")], &[&web, &cron]);
        let mut pending = sealed(&mut open, &budget);
        let part = pending.cut(&[1, 2, 4], &frame());
        assert_eq!(&part.content().body[..], b"{[c1,w2,w3]}");
        pending.refuse([0], Refused::TooOld);
        pending.delivered();
        assert_eq!(web.totals().refused(), 1);
        assert_eq!((web.totals().in_flight, cron.totals().in_flight), (2, 1));
        assert_eq!(cron.totals().delivered, 1);
        part.refused(Refused::Invalid);
        assert_eq!((web.totals().refused(), cron.totals().refused()), (3, 1));
        assert!(web.totals().balanced() && cron.totals().balanced());
    }
}
