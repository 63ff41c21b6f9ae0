//! The bytes of a segment: its header, and the frame around each entry.
//!
//! ```text
//! segment  magic 8 | major u16 | minor u16 | where frames begin u32 | nonce u64 | sequence u64
//!          | void from u64 | first u64 | 0 * 12 | crc32c of the 60 bytes before u32                      64 bytes
//! frame    magic 4 | bytes u32 | id u64 | records u32 | crc32c of the payload u32
//!          | crc32c of nonce, sequence and the 24 bytes before u32                                       28 bytes
//!          payload
//! ```
//!
//! Numbers are little endian. The first 12 bytes of a segment's header and its checksum stay where they are in every
//! version, so that a newer one is told from a damaged one.
//!
//! Promises: a header that was not written by this store into this segment is not taken for one, whatever a payload
//! contains, since it would have to know the nonce; a decoded length is at most [`ENTRY_BYTES_MAX`].
//! Never: does I/O.

use super::{ENTRY_BYTES_MAX, ID_MAX};

/// Bytes of a segment's header.
pub(super) const SEGMENT_HEADER_BYTES: u64 = 64;
/// Bytes before each payload.
pub(super) const FRAME_BYTES: u64 = 28;
/// Begins a frame. `0xF5` occurs in no UTF-8 text, so that a search through text for a frame finds no false ones.
pub(super) const FRAME_MAGIC: [u8; 4] = [0xF5, b'p', b'l', 0xA7];
/// The version of what is written. Another minor one can be read, a newer major one cannot.
pub(super) const MAJOR: u16 = 1;
const MINOR: u16 = 0;
const SEGMENT_MAGIC: [u8; 8] = *b"pilSPOOL";
const SEGMENT_CHECKED: usize = SEGMENT_HEADER_BYTES as usize - 4;
const FRAME_CHECKED: usize = FRAME_BYTES as usize - 4;

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    /// Random, one for the whole store.
    pub(super) nonce: u64,
    /// The number in its name.
    pub(super) sequence: u64,
    /// From here up to `first`, what older segments hold is settled, or was never promised and is written here again.
    pub(super) void_from: u64,
    /// The id of its first entry.
    pub(super) first: u64,
}

/// What could be made of the bytes where a segment's header should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decoded {
    /// The header, and where frames begin.
    Header(SegmentHeader, u64),
    /// Whole, but of a version that we do not know.
    Newer(u16),
    Damaged,
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: u64,
    pub(super) records: u32,
    /// Bytes of the payload.
    pub(super) bytes: u32,
    /// Checksum of the payload.
    pub(super) crc: u32,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; SEGMENT_HEADER_BYTES as usize] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES as usize];
        bytes[..8].copy_from_slice(&SEGMENT_MAGIC);
        bytes[8..10].copy_from_slice(&MAJOR.to_le_bytes());
        bytes[10..12].copy_from_slice(&MINOR.to_le_bytes());
        bytes[12..16].copy_from_slice(&(SEGMENT_HEADER_BYTES as u32).to_le_bytes());
        for (place, number) in [self.nonce, self.sequence, self.void_from, self.first].into_iter().enumerate() {
            bytes[16 + 8 * place..][..8].copy_from_slice(&number.to_le_bytes());
        }
        let crc = crc32c::crc32c(&bytes[..SEGMENT_CHECKED]);
        bytes[SEGMENT_CHECKED..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Decoded {
        let whole = bytes.len() == SEGMENT_HEADER_BYTES as usize
            && bytes[..8] == SEGMENT_MAGIC
            && number_u32(bytes, SEGMENT_CHECKED) == crc32c::crc32c(&bytes[..SEGMENT_CHECKED]);
        if !whole {
            return Decoded::Damaged;
        }
        let major = u16::from_le_bytes([bytes[8], bytes[9]]);
        if major > MAJOR {
            return Decoded::Newer(major);
        }
        let [nonce, sequence, void_from, first] = [16, 24, 32, 40].map(|at| number_u64(bytes, at));
        let begin = u64::from(number_u32(bytes, 12));
        if void_from > first || first > ID_MAX || begin < SEGMENT_HEADER_BYTES {
            return Decoded::Damaged;
        }
        Decoded::Header(Self { nonce, sequence, void_from, first }, begin)
    }
}

impl Frame {
    /// The id after its last record.
    pub(super) fn end(&self) -> u64 {
        self.id + u64::from(self.records)
    }

    pub(super) fn encode(&self, nonce: u64, sequence: u64) -> [u8; FRAME_BYTES as usize] {
        let mut bytes = [0; FRAME_BYTES as usize];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[4..8].copy_from_slice(&self.bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.id.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.records.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.crc.to_le_bytes());
        let crc = header_crc(&bytes, nonce, sequence);
        bytes[FRAME_CHECKED..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// The frame at the beginning of `bytes`, if that is one of the segment `sequence` of the store with `nonce`.
    pub(super) fn decode(bytes: &[u8], nonce: u64, sequence: u64) -> Option<Self> {
        let bytes = bytes.get(..FRAME_BYTES as usize)?;
        let whole = bytes[..4] == FRAME_MAGIC && number_u32(bytes, FRAME_CHECKED) == header_crc(bytes, nonce, sequence);
        let frame = Self {
            bytes: number_u32(bytes, 4),
            id: number_u64(bytes, 8),
            records: number_u32(bytes, 16),
            crc: number_u32(bytes, 20),
        };
        let sane = frame.records > 0 && frame.bytes <= ENTRY_BYTES_MAX && frame.id <= ID_MAX;
        (whole && sane).then_some(frame)
    }
}

fn header_crc(bytes: &[u8], nonce: u64, sequence: u64) -> u32 {
    let crc = crc32c::crc32c(&nonce.to_le_bytes());
    let crc = crc32c::crc32c_append(crc, &sequence.to_le_bytes());
    crc32c::crc32c_append(crc, &bytes[..FRAME_CHECKED])
}

/// The number of 4 bytes at `at`, which must be there.
pub(super) fn number_u32(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(number)
}

/// The number of 8 bytes at `at`, which must be there.
pub(super) fn number_u64(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: SegmentHeader = SegmentHeader { nonce: 0x1234_5678_9abc, sequence: 7, void_from: 90, first: 100 };
    const FRAME: Frame = Frame { id: 100, records: 3, bytes: 5, crc: 77 };

    #[test]
    fn headers_come_back_as_they_were_written() {
        assert_eq!(SegmentHeader::decode(&HEADER.encode()), Decoded::Header(HEADER, SEGMENT_HEADER_BYTES));
        assert_eq!(Frame::decode(&FRAME.encode(1, 7), 1, 7), Some(FRAME));
        assert_eq!(FRAME.end(), 103);
    }

    /// What is on the disks of users must be read by every version to come.
    #[test]
    fn the_bytes_of_version_one_stay_as_they_are() {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        insta::assert_snapshot!(hex(&HEADER.encode()), @"70696c53504f4f4c0100000040000000bc9a78563412000007000000000000005a00000000000000640000000000000000000000000000000000000064e616ce");
        insta::assert_snapshot!(hex(&FRAME.encode(1, 7)), @"f5706ca7050000006400000000000000030000004d00000021758103");
    }

    #[test]
    fn each_flipped_bit_is_found() {
        let (header, frame) = (HEADER.encode(), FRAME.encode(1, 7));
        for bit in 0..header.len() * 8 {
            let mut damaged = header;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(SegmentHeader::decode(&damaged), Decoded::Damaged, "bit {bit}");
        }
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Frame::decode(&damaged, 1, 7), None, "bit {bit}");
        }
    }

    /// A log line may contain a whole spool file of another store, or of another segment of this one.
    #[test]
    fn a_frame_counts_only_where_it_was_written() {
        let bytes = FRAME.encode(1, 7);
        assert_eq!(Frame::decode(&bytes, 2, 7), None);
        assert_eq!(Frame::decode(&bytes, 1, 8), None);
        assert_eq!(Frame::decode(&bytes[..27], 1, 7), None);
    }

    #[test]
    fn what_a_frame_must_not_say_is_not_believed_though_its_checksum_is_right() {
        for frame in [
            Frame { records: 0, ..FRAME },
            Frame { bytes: ENTRY_BYTES_MAX + 1, ..FRAME },
            Frame { id: ID_MAX + 1, ..FRAME },
        ] {
            assert_eq!(Frame::decode(&frame.encode(1, 7), 1, 7), None, "{frame:?}");
        }
    }

    #[test]
    fn a_newer_major_version_is_told_from_damage() {
        let mut bytes = HEADER.encode();
        bytes[8] = 2;
        assert_eq!(SegmentHeader::decode(&bytes), Decoded::Damaged);
        let crc = crc32c::crc32c(&bytes[..SEGMENT_CHECKED]);
        bytes[SEGMENT_CHECKED..].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(SegmentHeader::decode(&bytes), Decoded::Newer(2));
    }
}
