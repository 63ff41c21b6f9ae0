//! One output's entries on disk.
//!
//! Promises: an error leaves the store as it was, but for what the error tells; whatever the disk does, each call returns,
//! and a later one tries again.
//! Never: holds a payload in memory, or lets what it holds grow beyond its limits.

use std::{
    collections::{BTreeSet, VecDeque},
    io::{self, IoSlice},
    iter,
    num::NonZeroU32,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    AppendError, ENTRY_BYTES_MAX, Found, Id, Limits, NotDurable, OpenError, ReadError,
    cursor::{CursorFile, SLOT_BYTES},
    errors::is_no_space,
    files::{Access, Files, Handle, Lock, read_up_to, write_all},
    frame::{FRAME_BYTES, Frame, SEGMENT_HEADER_BYTES, SegmentHeader},
    ranges::Ranges,
    recover::{Recovered, recover},
    segment::{self, Segment, Stored},
};

/// Bytes of the cursor's file.
const CURSOR_BYTES: u64 = 2 * SLOT_BYTES as u64;

/// One output's entries on disk. Made by [`Root::store`](super::Root::store).
#[derive(Debug)]
pub struct Store {
    pub(super) files: Arc<dyn Files>,
    /// Held, not used.
    _lock: Arc<dyn Lock>,
    pub(super) folder: PathBuf,
    limits: Limits,
    pub(super) nonce: u64,
    /// In the order of their numbers, and so of their ids. While there is a writer, it writes the last one.
    pub(super) segments: VecDeque<Segment>,
    pub(super) writer: Option<Writer>,
    pub(super) reader: Option<(u64, Box<dyn Handle>)>,
    pub(super) settled: Ranges,
    /// What of that is on disk no more, so that the cursor must know it.
    pub(super) removed: Ranges,
    pub(super) cursor: CursorFile,
    /// The id of the next entry.
    pub(super) next: u64,
    /// All entries below are durable, or given back.
    pub(super) promised: u64,
    pub(super) next_sequence: u64,
    occupied: BTreeSet<u64>,
    not_durable: Vec<Id>,
    sync_error: Option<io::Error>,
    pub(super) degraded: bool,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    handle: Box<dyn Handle>,
    /// Length and entries of the durable part.
    synced_bytes: u64,
    synced_entries: usize,
    /// Nothing may be written behind what is there.
    sealed: bool,
}

impl Store {
    pub(super) fn open(
        files: Arc<dyn Files>,
        lock: Arc<dyn Lock>,
        folder: &Path,
        limits: Limits,
    ) -> Result<(Self, Found), OpenError> {
        let segment_bytes = limits.segment_bytes.min(limits.bytes_max / 8).min(ENTRY_BYTES_MAX.into());
        let Recovered { nonce, segments, cursor, settled, next, next_sequence, occupied, found } =
            recover(&*files, folder)?;
        let mut removed = settled.clone();
        segments.iter().for_each(|segment| removed.remove(segment.territory.clone()));
        let mut store = Self {
            files,
            _lock: lock,
            folder: folder.to_owned(),
            limits: Limits { segment_bytes, ..limits },
            nonce,
            segments: segments.into(),
            writer: None,
            reader: None,
            settled,
            removed,
            cursor,
            next,
            promised: next,
            next_sequence,
            occupied,
            not_durable: Vec::new(),
            sync_error: None,
            degraded: false,
        };
        if store.cursor.durable().is_none() && store.segments.is_empty() && found == Found::default() {
            // A failure shows in `is_degraded`, and the next save tries again.
            let _ = store.save_cursor();
        }
        Ok((store, found))
    }

    /// Appends an entry: the bytes of `parts` one after another, with so many records in it. A crash may lose it until
    /// [`sync`](Self::sync) returned.
    pub fn append(&mut self, records: NonZeroU32, parts: &[&[u8]]) -> Result<Id, AppendError> {
        let bytes: u64 = parts.iter().map(|part| part.len() as u64).sum();
        let framed = FRAME_BYTES + bytes;
        let alone = Segment { bytes: SEGMENT_HEADER_BYTES, ..Segment::default() }.charge_with(framed);
        let fits = CURSOR_BYTES + alone <= self.capacity();
        let payload = u32::try_from(bytes).ok().filter(|&bytes| fits && bytes <= ENTRY_BYTES_MAX);
        let payload = payload.ok_or(AppendError::TooLarge { bytes })?;
        let goes_on = self.goes_on(framed);
        let growth = match self.segments.back().filter(|_| goes_on) {
            Some(segment) => segment.charge_with(framed) - segment.charge(),
            None => alone,
        };
        if self.used() + growth > self.capacity() {
            return Err(AppendError::Full);
        }
        if !goes_on {
            self.close_writer();
            self.begin_segment().inspect_err(|_| self.degraded = true)?;
        }
        let crc = parts.iter().fold(0, |crc, part| crc32c::crc32c_append(crc, part));
        let frame = Frame { id: self.next, records: records.get(), bytes: payload, crc };
        self.write(frame, parts)?;
        Ok(Id(frame.id))
    }

    /// Makes durable all that was appended.
    pub fn sync(&mut self) -> Result<(), NotDurable> {
        self.sync_writer();
        let ids: Vec<Id> = std::mem::take(&mut self.not_durable);
        match self.sync_error.take() {
            Some(source) if !ids.is_empty() => Err(NotDurable { ids, source }),
            // All that failed was settled meanwhile.
            _ => Ok(()),
        }
    }

    /// The bytes of an entry, checked.
    pub fn read(&mut self, id: Id) -> Result<Vec<u8>, ReadError> {
        let (frame, bytes) = self.read_start(id, usize::MAX)?;
        if bytes.len() < frame.bytes as usize || crc32c::crc32c(&bytes) != frame.crc {
            return Err(ReadError::Damaged { records: frame.records });
        }
        Ok(bytes)
    }

    fn read_start(&mut self, id: Id, bytes_max: usize) -> Result<(Frame, Vec<u8>), ReadError> {
        let place = self.place(id).ok_or(ReadError::Gone)?;
        let segment = &self.segments[place];
        let Stored { frame, at } = *segment.find(id).ok_or(ReadError::Gone)?;
        let sequence = segment.sequence;
        let fails = |source| ReadError::Io { records: frame.records, source };
        if self.reader.as_ref().is_none_or(|(open, _)| *open != sequence) {
            let path = segment::path(&self.folder, sequence);
            self.reader = Some((sequence, self.files.open(&path, Access::Read).map_err(fails)?));
        }
        let (_, handle) = self.reader.as_ref().expect("it was just opened, or was open");
        // The length was measured against the file when it was opened.
        let mut bytes = vec![0; (frame.bytes as usize).min(bytes_max)];
        let filled = read_up_to(&**handle, &mut bytes, at).map_err(fails)?;
        bytes.truncate(filled);
        Ok((frame, bytes))
    }

    /// The first bytes of an entry, at most so many, not checked.
    pub fn peek(&mut self, id: Id, bytes_max: usize) -> Result<Vec<u8>, ReadError> {
        self.read_start(id, bytes_max).map(|(_, bytes)| bytes)
    }

    /// Notes that an entry is not needed any more. False if there is no such entry, or that was known.
    pub fn settle(&mut self, id: Id) -> bool {
        if let Some(place) = self.not_durable.iter().position(|given_back| *given_back == id) {
            // It was delivered before the caller heard that it is not durable.
            self.not_durable.remove(place);
            return true;
        }
        let Some(place) = self.place(id) else { return false };
        let segment = &mut self.segments[place];
        let Some(range) = segment.find(id).map(|stored| stored.frame.id..stored.frame.end()) else { return false };
        let is_new = !self.settled.covers(range.clone());
        segment.live -= usize::from(is_new);
        self.settled.insert(range);
        is_new
    }

    /// The bytes that the store counts for: at least what its files take on disk.
    pub fn used(&self) -> u64 {
        CURSOR_BYTES + self.segments.iter().map(Segment::charge).sum::<u64>()
    }

    /// True if the disk refused the last thing that was to be written, so that what is appended now may not last.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    fn capacity(&self) -> u64 {
        self.limits.bytes_max - 2 * self.limits.segment_bytes
    }

    /// The place of the segment that has the entry with this id, if any has.
    fn place(&self, id: Id) -> Option<usize> {
        self.segments.partition_point(|segment| segment.first <= id.0).checked_sub(1)
    }

    /// True if the next entry, of so many bytes with its frame, goes into the segment that is being written.
    fn goes_on(&self, framed: u64) -> bool {
        let open = self.writer.as_ref().is_some_and(|writer| !writer.sealed);
        let has_room = |last: &Segment| last.entries.is_empty() || last.bytes + framed <= self.limits.segment_bytes;
        open && self.segments.back().is_some_and(has_room)
    }

    fn begin_segment(&mut self) -> io::Result<()> {
        while self.occupied.contains(&self.next_sequence) {
            self.next_sequence += 1;
        }
        let (sequence, first) = (self.next_sequence, self.next);
        let void_from = self.settled.start_of_range_to(first);
        let header = SegmentHeader { nonce: self.nonce, sequence, void_from, first };
        let handle = segment::create(&*self.files, &self.folder, &header)?;
        self.next_sequence += 1;
        let territory = void_from..first;
        self.segments.push_back(Segment {
            sequence,
            first,
            territory,
            bytes: SEGMENT_HEADER_BYTES,
            ..Segment::default()
        });
        self.writer = Some(Writer { handle, synced_bytes: SEGMENT_HEADER_BYTES, synced_entries: 0, sealed: false });
        Ok(())
    }

    fn write(&mut self, frame: Frame, parts: &[&[u8]]) -> io::Result<()> {
        let (segment, writer) = last(&mut self.segments, &mut self.writer).expect("a segment was begun or goes on");
        let header = frame.encode(self.nonce, segment.sequence);
        let mut slices: Vec<_> = iter::once(&header[..]).chain(parts.iter().copied()).map(IoSlice::new).collect();
        if let Err((written, error)) = write_all(&*writer.handle, &mut slices, segment.bytes) {
            self.degraded = true;
            if written > 0 {
                // Some of the frame may be found after a crash. So its ids are void, which the header of the next segment
                // will say; and what there is of it goes, to give back its room, though that may not last.
                let _ = writer.handle.set_len(segment.bytes);
                segment.bytes += written;
                self.settled.insert(frame.id..frame.end());
                self.next = frame.end();
            }
            // If the disk is ill rather than full, the next entry goes elsewhere.
            writer.sealed = written > 0 || !is_no_space(&error);
            if writer.sealed && segment.entries.is_empty() {
                self.discard_last();
            }
            return Err(error);
        }
        segment.entries.push(Stored { frame, at: segment.bytes + FRAME_BYTES });
        segment.bytes += FRAME_BYTES + u64::from(frame.bytes);
        segment.live += 1;
        segment.territory.end = frame.end();
        self.next = frame.end();
        Ok(())
    }

    /// Removes the last segment, which is sealed and holds nothing.
    fn discard_last(&mut self) {
        self.writer = None;
        let sequence = self.segments.back().map(|last| last.sequence);
        if self.remove(self.segments.len() - 1) {
            // The next one follows the one before, so that a scan sees that none is missing.
            self.next_sequence = sequence.unwrap_or(self.next_sequence);
        }
    }

    fn close_writer(&mut self) {
        self.sync_writer();
        self.writer = None;
    }

    fn sync_writer(&mut self) {
        let Some((segment, writer)) = last(&mut self.segments, &mut self.writer) else { return };
        if writer.synced_entries == segment.entries.len() {
            return;
        }
        match writer.handle.sync_data() {
            Ok(()) => {
                (writer.synced_bytes, writer.synced_entries) = (segment.bytes, segment.entries.len());
                self.promised = self.next;
                self.degraded = false;
            }
            Err(error) => self.abandon(error),
        }
    }

    /// Ends the segment whose sync failed, at its durable part.
    fn abandon(&mut self, error: io::Error) {
        let Some((segment, writer)) = last(&mut self.segments, &mut self.writer) else { return };
        for stored in segment.entries.split_off(writer.synced_entries) {
            if !self.settled.covers(stored.frame.id..stored.frame.end()) {
                segment.live -= 1;
                self.not_durable.push(Id(stored.frame.id));
            }
        }
        // Since this may not last, its bytes go on to count, and the next segment's header says that these ids are void.
        let _ = writer.handle.set_len(writer.synced_bytes);
        self.settled.insert(self.promised..self.next);
        self.promised = self.next;
        self.writer = None;
        self.sync_error.get_or_insert(error);
        self.degraded = true;
    }
}

/// The segment that is being written, with its writer.
fn last<'a>(
    segments: &'a mut VecDeque<Segment>,
    writer: &'a mut Option<Writer>,
) -> Option<(&'a mut Segment, &'a mut Writer)> {
    segments.back_mut().zip(writer.as_mut())
}
