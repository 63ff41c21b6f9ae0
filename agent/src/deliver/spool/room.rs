//! How a store gives room back: what is settled is noted in the cursor, and segments that hold nothing go.
//!
//! Promises: a segment goes only when a durable cursor says that all of it is settled, unless there is no room for that.
//! Never: gives up one entry after another on a disk that lets none of them go.

use std::io;

use super::{
    Evicted, Id, Store,
    cursor::{Cursor, RANGES_MAX},
    errors::is_no_space,
    ranges::Ranges,
    segment::{self, Stored},
};

impl Store {
    /// Makes durable what is settled, as far as the cursor has room for it, and removes the segments that hold nothing else.
    /// Writes nothing if nothing changed.
    pub fn save_cursor(&mut self) -> io::Result<()> {
        if self.segments.back().is_some_and(|last| last.live == 0 && !last.entries.is_empty()) {
            // What an output that has caught up leaves behind is nobody's any more.
            self.writer = None;
            self.promised = self.next;
        }
        let cursor = self.cursor_to_save();
        if self.cursor.durable() != Some(&cursor) {
            let mut saved = self.cursor.save(&*self.files, cursor.clone());
            if saved.as_ref().is_err_and(is_no_space) && self.remove_settled(None) > 0 {
                saved = self.cursor.save(&*self.files, cursor);
            }
            self.degraded = saved.is_err();
            saved?;
        }
        let durable = self.cursor.durable().map(|cursor| cursor.settled.clone());
        self.remove_settled(durable.as_ref());
        Ok(())
    }

    /// Gives up the oldest segment that holds something, to make room. `None` if there is none, or the disk does not let
    /// it go: then nothing more should be given up for it.
    pub fn evict_oldest(&mut self) -> Option<Evicted> {
        let before = self.segments.len();
        // Whether the cursor was saved shows in `is_degraded`. Room is needed in any case.
        let _ = self.save_cursor();
        self.remove_settled(None);
        if self.segments.len() < before {
            return Some(Evicted::default());
        }
        let writing = usize::from(self.writer.is_some());
        if self.segments.iter().rev().skip(writing).any(|segment| segment.live == 0) {
            return None;
        }
        let place = self.segments.iter().position(|segment| segment.live > 0)?;
        self.evict(place)
    }

    /// Gives up the segment at `place`, unless the disk does not let it go.
    fn evict(&mut self, place: usize) -> Option<Evicted> {
        let segment = self.segments.get(place)?;
        let gone = |stored: &&Stored| !self.settled.covers(stored.frame.id..stored.frame.end());
        let frames: Vec<_> = segment.entries.iter().filter(gone).map(|stored| stored.frame).collect();
        let is_last = place + 1 == self.segments.len();
        let writer = if is_last { self.writer.take() } else { None };
        // Not after the cursor, as elsewhere: a save that fails may still have reached the disk, and what is settled there
        // and not given up here would be gone without a trace.
        if !self.remove(place) {
            self.writer = self.writer.take().or(writer);
            return None;
        }
        frames.iter().for_each(|frame| self.settled.insert(frame.id..frame.end()));
        if is_last {
            self.promised = self.next;
        }
        // Whether that works shows in `is_degraded`.
        let _ = self.save_cursor();
        let _ = self.files.sync_folder(&self.folder);
        let records = frames.iter().map(|frame| u64::from(frame.records)).sum();
        Some(Evicted { ids: frames.iter().map(|frame| Id(frame.id)).collect(), records })
    }

    /// Everything that is settled, or of that what there is room for: first what is on disk no more.
    fn cursor_to_save(&self) -> Cursor {
        let mut settled: Vec<_> = self.settled.iter().collect();
        if settled.len() > RANGES_MAX {
            settled.sort_by_key(|range| !self.removed.meets(range.clone()));
            settled.truncate(RANGES_MAX);
        }
        Cursor {
            nonce: self.nonce,
            promised: self.promised,
            next: self.next,
            next_sequence: self.next_sequence,
            settled: settled.into_iter().collect(),
        }
    }

    /// Removes the segments that hold nothing, if that is in `durable`; says how many.
    fn remove_settled(&mut self, durable: Option<&Ranges>) -> usize {
        let writing = self.segments.back().filter(|_| self.writer.is_some()).map(|last| last.sequence);
        let (mut removed, mut place) = (0, 0);
        while let Some(segment) = self.segments.get(place) {
            let is_known = durable.is_none_or(|durable| durable.covers(segment.territory.clone()));
            if segment.live == 0 && Some(segment.sequence) != writing && is_known && self.remove(place) {
                removed += 1;
            } else {
                place += 1;
            }
        }
        if removed > 0 {
            // So that what is removed cannot come back after its room was used again. If it does, it goes again.
            let _ = self.files.sync_folder(&self.folder);
        }
        removed
    }

    /// Removes the segment at `place`. False if the disk does not.
    pub(super) fn remove(&mut self, place: usize) -> bool {
        let Some(segment) = self.segments.get(place) else { return false };
        match self.files.remove(&segment::path(&self.folder, segment.sequence)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                self.degraded = true;
                return false;
            }
            _ => {}
        }
        self.removed.insert(segment.territory.clone());
        if self.reader.as_ref().is_some_and(|(open, _)| *open == segment.sequence) {
            self.reader = None;
        }
        self.segments.remove(place).is_some()
    }
}
