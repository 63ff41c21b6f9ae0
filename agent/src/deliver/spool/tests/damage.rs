//! Every way to damage a small spool, one at a time.
//!
//! Promises: each costs exactly the entries that it touched, and their records are counted exactly: at the start, or when
//! they are read.
//! Never: damages two places at once, except in the last test.

use super::{
    super::{
        frame::{FRAME_BYTES, FRAME_MAGIC, SEGMENT_HEADER_BYTES},
        segment, *,
    },
    *,
};

/// A spool with entries in two segments, all durable, and a cursor that knows how far they go.
struct Spool {
    disk: Hostile,
    entries: Vec<Known>,
}

struct Known {
    id: Id,
    records: u32,
    payload: Vec<u8>,
    sequence: u64,
    /// Where its frame begins and its payload ends.
    bytes: std::ops::Range<usize>,
}

fn spool() -> Spool {
    let disk = Hostile::default();
    let (mut store, _) = open(&disk);
    let lengths = [100, 0, 40, 700, 60, 1_500, 30, 90];
    for (number, bytes) in (0..).zip(lengths) {
        append(&mut store, number as u32 % 4 + 1, &payload(number, bytes));
    }
    store.sync().expect("durable");
    store.save_cursor().expect("saved");
    let mut entries = Vec::new();
    for segment in &store.segments {
        for stored in &segment.entries {
            let id = Id(stored.frame.id);
            let at = usize::try_from(stored.at).expect("small");
            entries.push(Known {
                id,
                records: stored.frame.records,
                payload: payload(entries.len() as u64, stored.frame.bytes as usize),
                sequence: segment.sequence,
                bytes: at - FRAME_BYTES as usize..at + stored.frame.bytes as usize,
            });
        }
    }
    drop(store);
    assert_eq!(entries.iter().map(|known| known.sequence).collect::<Vec<_>>(), [0, 0, 0, 0, 0, 1, 1, 1]);
    Spool { disk, entries }
}

impl Spool {
    /// Opens the spool with `content` in place of segment `sequence`, and checks that all entries are there but those that
    /// `damaged` names, and that exactly their records are counted.
    fn check(&self, sequence: u64, content: Vec<u8>, what: &str, damaged: impl Fn(&Known) -> bool) {
        let path = segment::path(&folder(), sequence);
        let before = self.disk.content(&path);
        self.disk.put(&path, content);
        self.check_now(what, damaged);
        self.disk.put(&path, before);
    }

    fn check_now(&self, what: &str, damaged: impl Fn(&Known) -> bool) {
        let (mut store, found) = open(&self.disk);
        let mut lost = found.lost.records();
        let mut waiting = found.waiting.iter().peekable();
        for known in &self.entries {
            let is_here = waiting.next_if(|entry| entry.id == known.id);
            let is_damaged = damaged(known);
            let Some(entry) = is_here else {
                assert!(is_damaged, "{what}: {} is not found: {found:?}", known.id);
                continue;
            };
            assert_eq!((entry.records, entry.bytes as usize), (known.records, known.payload.len()), "{what}");
            match store.read(known.id) {
                Ok(bytes) => {
                    assert!(!is_damaged, "{what}: {} is damaged and is read", known.id);
                    assert!(bytes == known.payload, "{what}: {} is read wrongly", known.id);
                }
                Err(ReadError::Damaged { records }) => {
                    assert!(is_damaged, "{what}: {} is not damaged", known.id);
                    lost += u64::from(records);
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
        assert_eq!(waiting.next(), None, "{what}: nothing is invented");
        let expected: u64 =
            self.entries.iter().filter(|known| damaged(known)).map(|known| u64::from(known.records)).sum();
        assert_eq!(lost, expected, "{what}: {found:?}");
    }

    fn content(&self, sequence: u64) -> Vec<u8> {
        self.disk.content(&segment::path(&folder(), sequence))
    }
}

fn touches(known: &Known, sequence: u64, bytes: &std::ops::Range<usize>) -> bool {
    known.sequence == sequence && known.bytes.start < bytes.end && bytes.start < known.bytes.end
}

#[test]
fn a_flipped_bit_costs_the_entry_that_it_is_in() {
    let spool = spool();
    spool.check_now("undamaged", |_| false);
    for sequence in [0, 1] {
        let content = spool.content(sequence);
        for byte in 0..content.len() {
            let in_header = byte < SEGMENT_HEADER_BYTES as usize
                || spool.entries.iter().any(|known| {
                    known.sequence == sequence && (known.bytes.start..known.bytes.start + 28).contains(&byte)
                });
            let all = 0..8_u32;
            let one = byte as u32 % 8..byte as u32 % 8 + 1;
            for bit in if in_header { all } else { one } {
                let mut damaged = content.clone();
                damaged[byte] ^= 1 << bit;
                let what = format!("segment {sequence}, byte {byte}, bit {bit}");
                spool.check(sequence, damaged, &what, |known| touches(known, sequence, &(byte..byte + 1)));
            }
        }
    }
}

#[test]
fn a_truncated_segment_costs_the_entries_that_were_cut() {
    let spool = spool();
    for sequence in [0, 1] {
        let content = spool.content(sequence);
        for length in 0..content.len() {
            let what = format!("segment {sequence} cut at {length}");
            let cut = content[..length].to_vec();
            spool.check(sequence, cut, &what, |known| touches(known, sequence, &(length..usize::MAX)));
        }
    }
}

#[test]
fn zeros_cost_the_entries_that_they_cover() {
    let spool = spool();
    for sequence in [0, 1] {
        let content = spool.content(sequence);
        for length in [1, 28, 64, 300, 512] {
            for start in (0..content.len() - 1).step_by(7) {
                let zeros = start..(start + length).min(content.len());
                let mut damaged = content.clone();
                damaged[zeros.clone()].fill(0);
                // What was zero before is not damaged.
                let changed = |bytes: &std::ops::Range<usize>| damaged[bytes.clone()] != content[bytes.clone()];
                let costs: Vec<_> = spool
                    .entries
                    .iter()
                    .filter(|known| known.sequence == sequence && changed(&known.bytes))
                    .map(|known| known.id)
                    .collect();
                let what = format!("segment {sequence}, zeros {zeros:?}");
                spool.check(sequence, damaged.clone(), &what, |known| costs.contains(&known.id));
            }
        }
    }
}

/// Frames tell by themselves what they are, wherever they are in their segment.
#[test]
fn moved_doubled_and_inserted_frames_cost_nothing() {
    let spool = spool();
    let content = spool.content(0);
    let frame = |place: usize| content[spool.entries[place].bytes.clone()].to_vec();
    let head = content[..SEGMENT_HEADER_BYTES as usize].to_vec();
    let with = |places: &[usize]| places.iter().fold(head.clone(), |all, place| [all, frame(*place)].concat());
    for places in [&[1, 0, 2, 3, 4][..], &[4, 3, 2, 1, 0], &[0, 1, 1, 2, 3, 4], &[0, 1, 2, 3, 4, 0, 2]] {
        spool.check(0, with(places), &format!("{places:?}"), |_| false);
    }
    for strange in [vec![0; 5], vec![0xff; 100], FRAME_MAGIC.repeat(20), frame(3)[..27].to_vec()] {
        for place in 0..=4 {
            let at = spool.entries[place].bytes.start;
            let inserted = [&content[..at], &strange[..], &content[at..]].concat();
            spool.check(0, inserted, &format!("{} bytes before {place}", strange.len()), |_| false);
        }
    }
    // Frames of another segment, and of another spool, are no frames here.
    let other = spool.content(1);
    let mixed = [&content[..], &other[SEGMENT_HEADER_BYTES as usize..]].concat();
    spool.check(0, mixed, "frames of the next segment behind", |_| false);
}

#[test]
fn a_removed_range_costs_the_entries_that_it_touched() {
    let spool = spool();
    let content = spool.content(0);
    for start in (SEGMENT_HEADER_BYTES as usize..content.len()).step_by(11) {
        for length in [1, 30, 400] {
            let gone = start..(start + length).min(content.len());
            let shorter = [&content[..gone.start], &content[gone.end..]].concat();
            spool.check(0, shorter, &format!("without {gone:?}"), |known| touches(known, 0, &gone));
        }
    }
}

/// Whatever length a header names, it is compared with the file before memory is taken for it.
#[test]
fn a_huge_length_takes_no_memory() {
    let disk = Hostile::default();
    let (store, _) = open(&disk);
    let nonce = store.nonce;
    drop(store);
    let header = frame::SegmentHeader { nonce, sequence: 0, void_from: 0, first: 0 };
    for bytes in [ENTRY_BYTES_MAX, ENTRY_BYTES_MAX - 1, 1_000] {
        let entry = frame::Frame { id: 0, records: u32::MAX, bytes, crc: 0 };
        let content = [&header.encode()[..], &entry.encode(nonce, 0)[..], &[0; 500][..]].concat();
        disk.put(&segment::path(&folder(), 0), content);
        let opened = allocation_counter::measure(|| {
            let (_, found) = open(&disk);
            assert_eq!((found.waiting.len(), found.lost.torn), (0, u64::from(u32::MAX)));
        });
        assert!(opened.bytes_max < 1_000_000, "{opened:?}");
    }
}

#[test]
fn a_damaged_cursor_costs_copies_and_nothing_else() {
    let spool = spool();
    let content = spool.disk.content(&cursor_path());
    for byte in 0..content.len() {
        let mut damaged = content.clone();
        damaged[byte] ^= 1 << (byte % 8);
        spool.disk.put(&cursor_path(), damaged);
        spool.check_now(&format!("byte {byte} of the cursor"), |_| false);
    }
    for length in (0..content.len()).step_by(61) {
        spool.disk.put(&cursor_path(), content[..length].to_vec());
        spool.check_now(&format!("cursor cut at {length}"), |_| false);
    }
    spool.disk.take(&cursor_path());
    spool.check_now("no cursor", |_| false);
}

/// With a damaged slot, the other one counts: what was settled since is sent again, and none of it is called lost.
#[test]
fn a_torn_cursor_forgets_the_last_save_only() {
    let spool = spool();
    let (mut store, _) = open(&spool.disk);
    store.settle(spool.entries[0].id);
    store.save_cursor().expect("saved");
    let after_one = spool.disk.content(&cursor_path());
    for known in &spool.entries[1..5] {
        store.settle(known.id);
    }
    store.save_cursor().expect("saved, and the first segment is gone");
    drop(store);
    let after_five = spool.disk.content(&cursor_path());
    let newer = if after_one[..4096] == after_five[..4096] { 4096..8192 } else { 0..4096 };
    for byte in newer.step_by(13) {
        let mut damaged = after_five.clone();
        damaged[byte] ^= 0x10;
        spool.disk.put(&cursor_path(), damaged);
        let (_, found) = open(&spool.disk);
        assert_eq!(found.waiting.len(), 3, "the first segment is gone, for a reason that is not known any more");
        assert_eq!(found.lost, Lost::default());
        assert_eq!(found.damage.len(), 1);
    }
}

#[test]
fn a_missing_segment_is_counted_exactly() {
    let spool = spool();
    for sequence in [0, 1] {
        let path = segment::path(&folder(), sequence);
        let content = spool.disk.content(&path);
        spool.disk.take(&path);
        spool.check_now("a missing segment", |known| known.sequence == sequence);
        spool.disk.put(&path, content);
    }
}

/// Several damages at once: the sum of what is read and what is counted stays exact, since the cursor knows how far it goes.
#[test]
fn property_whatever_is_in_a_segment_it_opens_and_invents_nothing() {
    with_seeds(cases(300, 20_000), |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        let spool = spool();
        for _ in 0..random.usize(1..6) {
            let path = segment::path(&folder(), random.u64(0..2));
            let mut content = spool.disk.content(&path);
            if content.is_empty() {
                continue;
            }
            let (at, other) = (random.usize(0..content.len()), random.usize(0..content.len()));
            let length = random.usize(0..200).min(content.len() - at.max(other));
            match random.u8(0..5) {
                0 => content[at] = random.u8(..),
                1 => content.truncate(at),
                2 => content.copy_within(at..at + length, other),
                3 => content[at..at + length].fill(0),
                _ => drop(content.splice(at..at, (0..length).map(|_| random.u8(..)).collect::<Vec<_>>())),
            }
            spool.disk.put(&path, content);
        }
        let (mut store, found) = open(&spool.disk);
        let mut read = 0;
        for entry in &found.waiting {
            let known = spool.entries.iter().find(|known| known.id == entry.id).expect("nothing is invented");
            match store.read(entry.id) {
                Ok(bytes) => assert!(bytes == known.payload),
                Err(ReadError::Damaged { records }) => assert_eq!(records, known.records),
                Err(error) => panic!("{error}"),
            }
            read += u64::from(known.records);
        }
        let all: u64 = spool.entries.iter().map(|known| u64::from(known.records)).sum();
        assert_eq!(read + found.lost.records(), all);
        store.save_cursor().expect("saved");
        drop(store);
        let (_, again) = open(&spool.disk);
        assert_eq!((again.waiting, again.lost), (found.waiting, Lost::default()), "booked once");
    });
}
