//! What the disk did, and what that means for the batches.
//!
//! Promises: an earlier process' batches stand before all others, in their order; a batch that cannot be read back is booked.
//! Never: orders anything of the disk.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};

use super::{
    Engine, Flight,
    keeping::{DISK_REST, before, now_in_milliseconds},
};
use crate::deliver::{
    Key,
    books::{Account, Holder, Lost},
    disk::Event,
    entry::{Head, read_batch},
    pending::{DiskCopy, Pending, STUB_BYTES},
    spool::Id,
};

/// Times that a disk may fail to read a batch, in some ten seconds, until the batch is given up.
const READS_MAX: u32 = 5;

impl Engine {
    /// Takes note of what the disk did.
    pub(super) fn hear_disk(&mut self, now: Instant) {
        let events = self.keeping.as_ref().map(|keeping| keeping.disk.events()).unwrap_or_default();
        for event in events {
            match event {
                Event::Found { id, head } => self.found(id, head),
                Event::Listed { lost } => self.listed(lost, now),
                Event::Saved { ticket, id } => self.saved(ticket, id),
                Event::NotSaved { ticket, why } => self.not_saved(ticket, &why, now),
                Event::Loaded { ticket, bytes } => self.loaded(ticket, bytes),
                Event::NotLoaded { ticket, why, again } => self.not_loaded(ticket, &why, again, now),
                Event::Evicted(ids) => self.evicted(&ids),
                Event::Closed => self.disk_closed(),
            }
        }
    }

    fn found(&mut self, id: Id, head: Head) {
        if let Some(keeping) = &mut self.keeping {
            keeping.found.push((id, head));
        }
    }

    /// Puts what an earlier process left before everything else, in the order in which it was accepted.
    fn listed(&mut self, lost: u64, now: Instant) {
        let Some(keeping) = &mut self.keeping else { return };
        keeping.listing = false;
        let mut found = std::mem::take(&mut keeping.found);
        found.sort_unstable_by_key(|(id, head)| (head.run, head.number, *id));
        keeping.run = found.last().map_or(0, |(_, head)| head.run) + 1;
        let mut since = None;
        for (id, head) in &found {
            since = self.adopt(*id, head, now, since);
        }
        if !found.is_empty() {
            let (output, batches) = (&*self.output.name, found.len());
            info!(output, batches, "batches of an earlier process are in the spool");
        }
        if let Some(lost) = u32::try_from(lost).ok().filter(|&lost| lost > 0) {
            warn!(output = &*self.output.name, records = lost, "records in the spool were damaged");
            if let Some(account) = self.account("other") {
                account.adopt(lost).lost(lost, Lost::SpoolDamaged);
            }
        }
    }

    /// Makes a batch of what was found, no older than the one `after`. Returns how old it is.
    fn adopt(&mut self, id: Id, head: &Head, now: Instant, after: Option<Instant>) -> Option<Instant> {
        let stored = self.keeping.as_ref()?.disk.stored(id);
        let accounts = head.sources.iter().filter_map(|(source, count)| Some(self.account(source)?.adopt(*count)));
        let receipts: Vec<_> = accounts.collect();
        let key = Key::new(&*head.key);
        if !self.output.destination.knows(&key) {
            receipts.into_iter().for_each(|mut receipt| receipt.lost(receipt.unsettled(), Lost::SpoolDamaged));
            return after;
        }
        // The clock may have been set meanwhile; what came since the start is newer in any case.
        let age = u64::try_from(now_in_milliseconds().saturating_sub(head.since)).unwrap_or(0);
        let begun = self.keeping.as_ref()?.begun;
        let since = before(now, Duration::from_millis(age)).min(begun);
        let since = after.map_or(since, |after| since.max(after));
        let mut lease = self.output.share.lease();
        // If there is not even this little, it goes on without.
        lease.resize(STUB_BYTES);
        self.output.queue().adopt(Pending::adopted(key, receipts, stored, since, lease));
        Some(since)
    }

    fn account(&self, source: &str) -> Option<Arc<Account>> {
        let holder = Holder { output: Arc::clone(&self.output.name), source: source.into() };
        Some(self.keeping.as_ref()?.books.account(&holder))
    }

    pub(super) fn saved(&mut self, ticket: u64, id: Id) {
        let Some(keeping) = &mut self.keeping else { return };
        let Some((key, age, _)) = keeping.writing.remove(&ticket) else { return };
        // If nobody takes it, the batch was settled meanwhile, and the entry is settled when this is dropped.
        let stored = keeping.disk.stored(id);
        let is_it = |batch: &Pending| matches!(batch.copy, DiskCopy::Asked(asked) if asked == ticket);
        if let Some(flying) = flying(&mut self.flights).find(|flying| is_it(flying)) {
            return flying.is_stored(stored);
        }
        if let Some(batch) = self.output.queue().find(&key, age, is_it) {
            batch.is_stored(stored);
        }
    }

    fn not_saved(&mut self, ticket: u64, why: &str, now: Instant) {
        let Some(keeping) = &mut self.keeping else { return };
        let Some((key, age, _)) = keeping.writing.remove(&ticket) else { return };
        keeping.rests_until = Some(now + DISK_REST);
        let is_it = |batch: &Pending| matches!(batch.copy, DiskCopy::Asked(asked) if asked == ticket);
        if let Some(flying) = flying(&mut self.flights).find(|flying| is_it(flying)) {
            flying.copy = DiskCopy::None;
        } else if let Some(batch) = self.output.queue().find(&key, age, is_it) {
            batch.copy = DiskCopy::None;
        }
        self.warn_of_disk(why, "the spool did not take a batch; it stays in memory");
    }

    fn loaded(&mut self, ticket: u64, bytes: Vec<u8>) {
        let Some(mut pending) = self.keeping.as_mut().and_then(|keeping| keeping.loading.remove(&ticket)) else {
            return;
        };
        self.free(&pending.key);
        let Some(batch) = read_batch(bytes, pending.key.clone()).map(Arc::new) else {
            pending.lost(Lost::SpoolDamaged);
            return;
        };
        while !pending.load(&batch) {
            // Its turn has come: what is newer makes room.
            let reserved =
                self.keeping.as_mut().is_some_and(|keeping| pending.lease_from(&mut keeping.reserve, &batch));
            if !reserved && !self.output.stock.clear() && self.output.queue().evict().is_none() {
                break;
            }
        }
        self.output.queue().put_back(pending);
    }

    fn not_loaded(&mut self, ticket: u64, why: &str, again: bool, now: Instant) {
        let Some(mut pending) = self.keeping.as_mut().and_then(|keeping| keeping.loading.remove(&ticket)) else {
            return;
        };
        self.free(&pending.key);
        let given_up = matches!(pending.copy, DiskCopy::None);
        pending.reads_failed += 1;
        if again && !given_up && pending.reads_failed < READS_MAX {
            pending.not_before = Some(now + DISK_REST * pending.reads_failed);
            self.output.queue().put_back(pending);
            return self.warn_of_disk(why, "a batch could not be read from the spool; it is tried again");
        }
        pending.lost(if given_up { Lost::SpoolFull } else { Lost::SpoolDamaged });
        self.warn_of_disk(why, "a batch could not be read from the spool; its records are lost");
    }

    fn evicted(&mut self, ids: &[Id]) {
        let is_gone = |id: Id| ids.contains(&id);
        for flying in flying(&mut self.flights).filter(|flying| flying.copy.is_of(is_gone)) {
            flying.is_stored_no_more();
        }
        let loading = self.keeping.iter_mut().flat_map(|keeping| keeping.loading.values_mut());
        for pending in loading.filter(|pending| pending.copy.is_of(is_gone)) {
            // It may have been read before it went.
            pending.is_stored_no_more();
        }
        let gone = self.output.queue().forget(is_gone);
        let records: u64 = gone.into_iter().map(|pending| pending.lost(Lost::SpoolFull)).sum();
        self.warn_of_disk("the spool is full", &format!("{records} of the oldest records in it were given up"));
    }

    fn disk_closed(&mut self) {
        let Some(keeping) = &mut self.keeping else { return };
        (keeping.closed, keeping.listing) = (true, false);
        keeping.writing.clear();
        for (_, pending) in std::mem::take(&mut keeping.loading) {
            self.free(&pending.key);
            pending.lost(Lost::SpoolDamaged);
        }
    }

    fn warn_of_disk(&self, why: &str, what: &str) {
        if let Some(suppressed) = self.warned_of_disk.allow(Instant::now()) {
            warn!(output = &*self.output.name, why, suppressed, "{what}");
        }
    }
}

/// The batches whose requests are under way.
fn flying(flights: &mut HashMap<u64, Flight>) -> impl Iterator<Item = &mut Pending> {
    flights.values_mut().flat_map(|flight| &mut flight.parts)
}
