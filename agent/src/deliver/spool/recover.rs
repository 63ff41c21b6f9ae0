//! What a store's folder holds when it is opened.
//!
//! Ids count records, so that whatever is neither found nor settled is a number of records. The segments are walked in
//! order; each gap between what was found so far and what comes next is lost, unless
//!
//! - the cursor says that it is settled, or a later segment says that it is void;
//! - a segment lies between that we must not touch: then it is not lost, but kept for a version that can read it;
//! - the cursor is damaged and a whole segment is missing: then it was most likely settled.
//!
//! Promises: writes nothing, and so gives the same result again; a damaged frame costs its own entry only.
//! Never: reads a payload for its own sake, follows a link, or removes what is not ours.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use super::{
    Damage, Found, OpenError,
    cursor::{self, Cursor, CursorFile},
    files::{Access, Files, Handle, Kind, read_up_to},
    frame::{Decoded, SEGMENT_HEADER_BYTES, SegmentHeader},
    ranges::Ranges,
    segment::{self, Scan, Segment},
};

/// Descriptions of damage that are kept. The counts are exact beyond that.
const DAMAGE_MAX: usize = 64;

/// What was found.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) nonce: u64,
    pub(super) segments: Vec<Segment>,
    pub(super) cursor: CursorFile,
    pub(super) settled: Ranges,
    /// The id of the next entry.
    pub(super) next: u64,
    pub(super) next_sequence: u64,
    /// Numbers of things that are called like a segment and are none of ours.
    pub(super) occupied: BTreeSet<u64>,
    pub(super) found: Found,
}

/// Finds everything in `folder`.
pub(super) fn recover(files: &dyn Files, folder: &Path) -> Result<Recovered, OpenError> {
    let listing = list(files, folder).map_err(|error| OpenError::of(folder, error))?;
    for name in &listing.unfinished {
        // A crash left it. If it cannot be removed, it stays, and does no harm.
        let _ = files.remove(name);
    }
    let cursor_path = folder.join(cursor::NAME);
    let (cursor, loaded) = CursorFile::load(files, folder)
        .map_err(|major| OpenError::NewerVersion { path: cursor_path.clone(), major })?;
    let mut found = Found::default();
    for path in listing.others.values() {
        found.tell(path.clone(), "is not a file; left alone".to_owned());
    }
    let trusted = loaded.cursor.is_some() && loaded.damage.is_none();
    if let Some(damage) = loaded.damage {
        found.tell(cursor_path, damage);
    }
    let nonce = match &loaded.cursor {
        Some(cursor) => cursor.nonce,
        None => nonce_of_any(files, folder, &listing.segments).unwrap_or_else(|| files.random()),
    };
    let mut shelf = Shelf { pieces: Vec::new(), held: Vec::new(), occupied: listing.others.into_keys().collect() };
    for sequence in listing.segments {
        shelf.put(files, folder, sequence, nonce, &mut found);
    }
    shelf.drop_void();
    let cursor_says = loaded.cursor.unwrap_or_default();
    let mut walk = Walk { settled: cursor_says.settled.clone(), cursor: cursor_says, trusted, at: 0, found };
    let segments = walk.segments(&shelf);
    let last = shelf.pieces.last().map(|piece| piece.sequence + 1);
    let held_last: u64 =
        shelf.held.iter().filter(|(sequence, _)| Some(*sequence) >= last).map(|(_, bytes)| bytes).sum();
    let held_sequence = shelf.held.iter().map(|(sequence, _)| sequence + 1).max();
    Ok(Recovered {
        nonce,
        segments,
        cursor,
        settled: walk.settled,
        // What we cannot read has ids too: at most one for each byte.
        next: walk.at + held_last,
        next_sequence: walk.cursor.next_sequence.max(last.unwrap_or(0)).max(held_sequence.unwrap_or(0)),
        occupied: shelf.occupied,
        found: walk.found,
    })
}

impl Found {
    fn tell(&mut self, path: PathBuf, what: String) {
        if self.damage.len() < DAMAGE_MAX {
            self.damage.push(Damage { path, what });
        }
    }
}

struct Listing {
    segments: BTreeSet<u64>,
    /// What has a name of ours and is no file, by its number.
    others: BTreeMap<u64, PathBuf>,
    unfinished: Vec<PathBuf>,
}

fn list(files: &dyn Files, folder: &Path) -> io::Result<Listing> {
    let mut listing = Listing { segments: BTreeSet::new(), others: BTreeMap::new(), unfinished: Vec::new() };
    files.list(folder, &mut |listed| {
        let path = folder.join(&listed.name);
        let (finished, unfinished) =
            (segment::sequence_of(&listed.name), segment::unfinished_sequence_of(&listed.name));
        match (listed.kind, finished, unfinished) {
            (Kind::File, Some(sequence), _) => listing.segments.extend([sequence]),
            (Kind::File, _, Some(_)) => listing.unfinished.push(path),
            (Kind::File, ..) if listed.name == cursor::NEW_NAME => listing.unfinished.push(path),
            // No file can be made under that name, so its number is not used.
            (_, Some(sequence), _) | (_, _, Some(sequence)) => listing.others.extend([(sequence, path)]),
            _ => {}
        }
    })?;
    Ok(listing)
}

fn nonce_of_any(files: &dyn Files, folder: &Path, sequences: &BTreeSet<u64>) -> Option<u64> {
    sequences.iter().find_map(|&sequence| {
        let file = files.open(&segment::path(folder, sequence), Access::Read).ok()?;
        match decode(&*file).ok()? {
            Decoded::Header(header, _) if header.sequence == sequence => Some(header.nonce),
            _ => None,
        }
    })
}

fn decode(file: &dyn Handle) -> io::Result<Decoded> {
    let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
    let filled = read_up_to(file, &mut bytes, 0)?;
    Ok(SegmentHeader::decode(&bytes[..filled]))
}

/// A segment as it lies there.
struct Piece {
    sequence: u64,
    header: Option<SegmentHeader>,
    bytes: u64,
    scan: Scan,
}

impl Piece {
    /// Its first id, as far as known.
    fn first(&self) -> Option<u64> {
        let entry = self.scan.entries.first().map(|stored| stored.frame.id);
        let torn = self.scan.torn.iter().map(|frame| frame.id).min();
        self.header.map(|header| header.first).or(entry.into_iter().chain(torn).min())
    }
}

/// All segments.
struct Shelf {
    pieces: Vec<Piece>,
    /// Those that are left alone and may hold entries, with their length.
    held: Vec<(u64, u64)>,
    occupied: BTreeSet<u64>,
}

impl Shelf {
    /// Reads one segment.
    fn put(&mut self, files: &dyn Files, folder: &Path, sequence: u64, nonce: u64, found: &mut Found) {
        let path = segment::path(folder, sequence);
        let opened = files.open(&path, Access::Read).and_then(|file| Ok((decode(&*file)?, file.bytes()?, file)));
        let (decoded, bytes, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                found.tell(path, format!("cannot be read now: {error}; left alone"));
                return self.hold(sequence, 0);
            }
        };
        let (header, begin) = match decoded {
            Decoded::Header(header, _) if header.sequence != sequence || header.nonce != nonce => {
                found.tell(path, "is not of this spool, or was renamed; left alone".to_owned());
                self.occupied.insert(sequence);
                return;
            }
            Decoded::Newer(major) => {
                found.tell(path, format!("has format {major}, which a newer version wrote; left alone"));
                return self.hold(sequence, bytes);
            }
            Decoded::Header(header, begin) => (Some(header), begin),
            Decoded::Damaged => (None, SEGMENT_HEADER_BYTES),
        };
        let scan = segment::scan(&*file, bytes, begin, nonce, sequence);
        if let Some(error) = &scan.error {
            found.tell(path, format!("cannot be read to its end: {error}"));
        } else if header.is_none() {
            found.tell(path, format!("has a damaged header; {} entries were found behind it", scan.entries.len()));
        } else if let Some(at) = scan.damaged_at {
            found.tell(path, format!("is damaged at byte {at} of {bytes}; {} entries were found", scan.entries.len()));
        }
        self.pieces.push(Piece { sequence, header, bytes, scan });
    }

    fn hold(&mut self, sequence: u64, bytes: u64) {
        self.occupied.insert(sequence);
        self.held.push((sequence, bytes));
    }

    /// Forgets frames that a later segment declares void, and any that are not where they belong.
    fn drop_void(&mut self) {
        let mut end = u64::MAX;
        for piece in self.pieces.iter_mut().rev() {
            piece.scan.entries.retain(|stored| stored.frame.end() <= end);
            piece.scan.torn.retain(|frame| frame.end() <= end);
            end = end.min(piece.header.map(|header| header.void_from).or(piece.first()).unwrap_or(end));
        }
        let mut start = 0;
        for piece in &mut self.pieces {
            start = start.max(piece.header.map_or(0, |header| header.first));
            piece.scan.entries.retain(|stored| stored.frame.id >= start);
            piece.scan.torn.retain(|frame| frame.id >= start);
            start = piece.scan.entries.last().map_or(start, |stored| stored.frame.end());
        }
    }

    fn holds_between(&self, after: Option<u64>, before: Option<u64>) -> bool {
        let before = before.unwrap_or(u64::MAX);
        self.held.iter().any(|&(sequence, _)| after.is_none_or(|after| after < sequence) && sequence < before)
    }
}

/// Why records are gone.
#[derive(Clone, Copy)]
enum Reason {
    Damaged,
    Missing,
    Torn,
    /// They are not: a segment that we must not touch may hold them.
    Held,
    /// They are not, as far as we can tell: they were settled.
    Settled,
}

/// Goes through the ids from 0 on.
struct Walk {
    cursor: Cursor,
    trusted: bool,
    settled: Ranges,
    /// All ids below are accounted for.
    at: u64,
    found: Found,
}

impl Walk {
    fn segments(&mut self, shelf: &Shelf) -> Vec<Segment> {
        for header in shelf.pieces.iter().filter_map(|piece| piece.header) {
            self.settled.insert(header.void_from..header.first);
        }
        let mut segments: Vec<Segment> = Vec::new();
        let mut before: Option<u64> = None;
        for (place, piece) in shelf.pieces.iter().enumerate() {
            let follows = before.is_some_and(|before| before + 1 == piece.sequence);
            let first = piece.first().unwrap_or(self.at);
            let reason = match () {
                () if follows => Reason::Damaged,
                () if shelf.holds_between(before, Some(piece.sequence)) => Reason::Held,
                () if self.trusted => Reason::Missing,
                () => Reason::Settled,
            };
            let start = self.at;
            self.account(start..first, reason);
            // Ids lost at the end of a segment go with it, and those before a damaged header with that.
            match segments.last_mut() {
                Some(last) if follows => last.territory.end = last.territory.end.max(first),
                _ => {}
            }
            let is_last = place + 1 == shelf.pieces.len();
            self.inside(piece, is_last);
            let from = match (piece.header, reason) {
                (Some(header), _) => header.void_from,
                (None, Reason::Held) => first,
                (None, _) => start.min(first),
            };
            segments.push(Segment {
                sequence: piece.sequence,
                first,
                territory: from..self.at.max(first),
                bytes: piece.bytes,
                entries: piece.scan.entries.clone(),
                live: 0,
            });
            before = Some(piece.sequence);
        }
        self.after(before, shelf);
        if let Some(last) = segments.last_mut().filter(|_| !shelf.holds_between(before, None)) {
            last.territory.end = last.territory.end.max(self.at);
        }
        for segment in &mut segments {
            let ours =
                segment.entries.iter().filter(|stored| !self.settled.covers(stored.frame.id..stored.frame.end()));
            self.found.waiting.extend(ours.clone().map(segment::Stored::entry));
            segment.live = ours.count();
        }
        segments
    }

    /// Accounts for the frames of `piece`, and for the gaps between them.
    fn inside(&mut self, piece: &Piece, is_last: bool) {
        let entries = piece.scan.entries.iter().map(|stored| (stored.frame, true));
        let mut frames: Vec<_> = entries.chain(piece.scan.torn.iter().map(|frame| (*frame, false))).collect();
        frames.sort_by_key(|(frame, _)| frame.id);
        for (frame, whole) in frames {
            let reason = |id: u64| if is_last && id >= self.cursor.promised { Reason::Torn } else { Reason::Damaged };
            let (gap, torn) = (reason(self.at), reason(frame.id));
            self.account(self.at..frame.id, gap);
            if !whole {
                self.account(frame.id..frame.end(), torn);
            }
            self.at = self.at.max(frame.end());
        }
    }

    /// Accounts for what the cursor knows of and no segment.
    fn after(&mut self, last: Option<u64>, shelf: &Shelf) {
        let (promised, next) = (self.cursor.promised, self.cursor.next);
        let held = shelf.holds_between(last, None);
        let lost = if last.is_some() { Reason::Damaged } else { Reason::Missing };
        self.account(self.at..promised, if held { Reason::Held } else { lost });
        self.account(self.at..next, if held { Reason::Held } else { Reason::Torn });
    }

    /// Books what is not settled of `range`.
    fn account(&mut self, range: Range<u64>, reason: Reason) {
        if range.is_empty() {
            return;
        }
        self.at = range.end;
        if matches!(reason, Reason::Held) {
            return;
        }
        for lost in self.settled.missing(range) {
            let records = lost.end - lost.start;
            match reason {
                Reason::Damaged => self.found.lost.damaged += records,
                Reason::Missing => self.found.lost.missing += records,
                Reason::Torn => self.found.lost.torn += records,
                Reason::Held | Reason::Settled => {}
            }
            self.settled.insert(lost);
        }
    }
}
