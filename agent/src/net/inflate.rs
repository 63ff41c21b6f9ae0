//! Decompression of what strangers sent, with a cap.
//!
//! Promises: the result never holds more than `max` bytes, and work stops as soon as more would come out, whatever a
//! header claims. gzip keeps nothing beside the result but its 32 KiB window; zstd keeps its own window, which is at
//! most [`ZSTD_WINDOW_BYTES_MAX`], and one block (at most 1 MiB, when the block lies).
//! Never: trusts a size that the sender wrote: such a size can only make it stop earlier.
//!
//! Both formats may be several compressed pieces in a row (gzip members, zstd frames); they are joined. No bytes at all
//! give no bytes. Bytes after the last piece that do not start another one are an error, because they would be lost.

use std::io::{self, Read};

use flate2::bufread::{GzDecoder, ZlibDecoder};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// The largest zstd window that is accepted: what RFC 8878 (3.1.1.1.2) asks a decoder to support, and what the `zstd`
/// tool needs up to level 19.
pub const ZSTD_WINDOW_BYTES_MAX: u64 = 8 << 20;

/// The first allocation for a result. Grows by doubling, never past the cap.
const FIRST_BYTES: usize = 32 * 1024;

/// How a gzip member starts (RFC 1952).
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Why bytes were not decompressed.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// More than the allowed number of bytes would come out.
    #[error("more than {max} bytes after decompression")]
    TooLarge {
        /// The cap that was given.
        max: usize,
    },
    /// The end is missing.
    #[error("the compressed bytes end too early")]
    Truncated,
    /// Not this format, or damaged.
    #[error("the compressed bytes are damaged")]
    Corrupt(#[source] io::Error),
    /// After a whole piece comes something that does not start another one.
    #[error("{bytes} bytes of something else after the compressed bytes")]
    TrailingGarbage {
        /// How many bytes are left over.
        bytes: usize,
    },
    /// A zstd frame asks for more memory than it may have.
    #[error("a zstd window of {bytes} bytes is more than {ZSTD_WINDOW_BYTES_MAX}")]
    WindowTooLarge {
        /// What the frame asks for.
        bytes: u64,
    },
    /// A zstd frame needs a dictionary. Nobody has given us one.
    #[error("the zstd frame needs dictionary {id}")]
    Dictionary {
        /// The dictionary's number.
        id: u32,
    },
}

impl InflateError {
    /// The kind, as a label of a counter.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "inflate_too_large",
            Self::Truncated => "inflate_truncated",
            Self::Corrupt(_) => "inflate_corrupt",
            Self::TrailingGarbage { .. } => "inflate_trailing_garbage",
            Self::WindowTooLarge { .. } => "inflate_window_too_large",
            Self::Dictionary { .. } => "inflate_dictionary",
        }
    }

    fn corrupt(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Corrupt(io::Error::new(io::ErrorKind::InvalidData, cause))
    }
}

impl From<io::Error> for InflateError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Truncated,
            _ => Self::Corrupt(error),
        }
    }
}

/// Decompresses one or more gzip members into at most `max` bytes.
pub fn gunzip(mut input: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    let mut members = 0;
    while !input.is_empty() {
        if !input.iter().zip(GZIP_MAGIC).all(|(have, want)| *have == want) {
            return Err(match members {
                0 => InflateError::corrupt("no gzip magic number"),
                _ => InflateError::TrailingGarbage { bytes: input.len() },
            });
        }
        read_capped(&mut GzDecoder::new(&mut input), &mut out, max)?;
        members += 1;
    }
    Ok(out)
}

/// Decompresses one stream of zlib (`Content-Encoding: deflate`) into at most `max` bytes.
pub fn unzlib(mut input: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    if !input.is_empty() {
        read_capped(&mut ZlibDecoder::new(&mut input), &mut out, max)?;
    }
    if input.is_empty() { Ok(out) } else { Err(InflateError::TrailingGarbage { bytes: input.len() }) }
}

/// Decompresses one or more zstd frames into at most `max` bytes. Skippable frames are skipped.
///
/// The frames' checksums are not compared: the bytes come over a local socket or TCP, both of which have their own.
pub fn unzstd(mut input: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
    let mut out = Vec::new();
    let mut frames = 0;
    while !input.is_empty() {
        match ZstdFrame::read(input)? {
            ZstdFrame::Skippable { bytes } => input = input.get(bytes..).ok_or(InflateError::Truncated)?,
            ZstdFrame::NotZstd if frames > 0 => return Err(InflateError::TrailingGarbage { bytes: input.len() }),
            ZstdFrame::NotZstd => return Err(InflateError::corrupt("no zstd magic number")),
            ZstdFrame::Data { content_bytes } => {
                if content_bytes.is_some_and(|bytes| bytes > (max - out.len()) as u64) {
                    return Err(InflateError::TooLarge { max });
                }
                let before = out.len();
                zstd_frame(&mut input, &mut out, max)?;
                if content_bytes.is_some_and(|bytes| bytes != (out.len() - before) as u64) {
                    return Err(InflateError::corrupt("the frame's content is not as long as its header says"));
                }
            }
        }
        frames += 1;
    }
    Ok(out)
}

/// One frame, block by block. A decoder is made for each frame: reused, it would reserve the whole window at once.
fn zstd_frame(input: &mut &[u8], out: &mut Vec<u8>, max: usize) -> Result<(), InflateError> {
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(ZSTD_WINDOW_BYTES_MAX);
    decoder.reset(&mut *input).map_err(InflateError::corrupt)?;
    while !decoder.is_finished() {
        whole_block(input)?;
        decoder.decode_blocks(&mut *input, BlockDecodingStrategy::UptoBlocks(1)).map_err(zstd_error)?;
        read_capped(&mut decoder, out, max)?;
    }
    read_capped(&mut decoder, out, max)
}

/// Says `Truncated` before the decoder says something less clear.
fn whole_block(input: &[u8]) -> Result<(), InflateError> {
    let &[a, b, c, ..] = input else { return Err(InflateError::Truncated) };
    let header = u32::from_le_bytes([a, b, c, 0]);
    let bytes = match (header >> 1) & 3 {
        1 => 1,
        _ => (header >> 3) as usize,
    };
    if input.len() - 3 < bytes { Err(InflateError::Truncated) } else { Ok(()) }
}

fn zstd_error(error: ruzstd::decoding::errors::FrameDecoderError) -> InflateError {
    match error {
        ruzstd::decoding::errors::FrameDecoderError::FailedToReadChecksum(_) => InflateError::Truncated,
        other => InflateError::corrupt(other),
    }
}

/// What stands at the start of zstd bytes.
enum ZstdFrame {
    /// A frame, and how long its content is if it says so.
    Data { content_bytes: Option<u64> },
    /// User data, `bytes` long with its header.
    Skippable { bytes: usize },
    /// Something else.
    NotZstd,
}

impl ZstdFrame {
    const MAGIC: u32 = 0xFD2F_B528;
    const SKIPPABLE: u32 = 0x184D_2A50;

    /// Reads a frame's header (RFC 8878, 3.1.1.1) and refuses what the decoder should not even start with.
    fn read(input: &[u8]) -> Result<Self, InflateError> {
        let magic = match input.first_chunk::<4>() {
            Some(&magic) => u32::from_le_bytes(magic),
            None if Self::MAGIC.to_le_bytes().starts_with(input) => return Err(InflateError::Truncated),
            None => return Ok(Self::NotZstd),
        };
        if magic & 0xFFFF_FFF0 == Self::SKIPPABLE {
            let length = little_endian(input, 4, 4)?;
            return Ok(Self::Skippable { bytes: 8 + length as usize });
        }
        if magic != Self::MAGIC {
            return Ok(Self::NotZstd);
        }
        let descriptor = little_endian(input, 4, 1)? as u8;
        let single_segment = descriptor & 0x20 != 0;
        let mut at = 5;
        let mut window = None;
        if !single_segment {
            let byte = little_endian(input, at, 1)?;
            at += 1;
            let base = 1_u64 << (10 + (byte >> 3));
            window = Some(base + base / 8 * (byte & 7));
        }
        let id_bytes = [0, 1, 2, 4][usize::from(descriptor & 3)];
        let id = little_endian(input, at, id_bytes)?;
        at += id_bytes;
        let content_bytes = match descriptor >> 6 {
            0 if single_segment => Some(little_endian(input, at, 1)?),
            0 => None,
            1 => Some(little_endian(input, at, 2)? + 256),
            2 => Some(little_endian(input, at, 4)?),
            _ => Some(little_endian(input, at, 8)?),
        };
        match window.or(content_bytes) {
            Some(bytes) if bytes > ZSTD_WINDOW_BYTES_MAX => Err(InflateError::WindowTooLarge { bytes }),
            _ if id != 0 => Err(InflateError::Dictionary { id: id as u32 }),
            _ => Ok(Self::Data { content_bytes }),
        }
    }
}

/// `bytes` (at most 8) bytes at `at` as a number.
fn little_endian(input: &[u8], at: usize, bytes: usize) -> Result<u64, InflateError> {
    let field = input.get(at..at + bytes).ok_or(InflateError::Truncated)?;
    Ok(field.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// Reads to the end, but one byte past `max` is an error. `out` grows by doubling up to `max`.
fn read_capped(from: &mut impl Read, out: &mut Vec<u8>, max: usize) -> Result<(), InflateError> {
    loop {
        let filled = out.len();
        let mut over = [0_u8; 1];
        if filled == max {
            // An empty read is the only proof that nothing more comes; for gzip it also checks the trailer.
            return match from.read(&mut over)? {
                0 => Ok(()),
                _ => Err(InflateError::TooLarge { max }),
            };
        }
        if out.capacity() == filled {
            let target = (filled * 2).max(FIRST_BYTES).min(max);
            out.reserve_exact(target - filled);
        }
        let free = out.capacity().min(max);
        out.resize(free, 0);
        let read = from.read(&mut out[filled..]);
        out.truncate(filled + *read.as_ref().unwrap_or(&0));
        if read? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(data).expect("a vector takes all");
        encoder.finish().expect("a vector takes all")
    }

    fn zstd(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    fn skippable(data: &[u8]) -> Vec<u8> {
        [&[0x5A, 0x2A, 0x4D, 0x18], &(data.len() as u32).to_le_bytes()[..], data].concat()
    }

    /// A frame without content size whose blocks are all "repeat this byte".
    fn zstd_of_runs(window_descriptor: u8, blocks: usize, run: u32) -> Vec<u8> {
        let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, window_descriptor];
        for n in 1..=blocks {
            let last = u32::from(n == blocks);
            frame.extend_from_slice(&(last | 1 << 1 | run << 3).to_le_bytes()[..3]);
            frame.push(b'x');
        }
        frame
    }

    #[test]
    fn members_and_frames_are_joined_and_nothing_is_nothing() {
        assert_eq!(gunzip(b"", 0).unwrap(), b"");
        assert_eq!(unzstd(b"", 0).unwrap(), b"");
        assert_eq!(gunzip(&gzip(b""), 0).unwrap(), b"");
        assert_eq!(gunzip(&[gzip(b"one "), gzip(b""), gzip(b"two")].concat(), 100).unwrap(), b"one two");
        let frames = [zstd(b"one "), skippable(b"not data"), zstd(b"two"), skippable(b"")].concat();
        assert_eq!(unzstd(&frames, 100).unwrap(), b"one two");
        assert_eq!(unzstd(&skippable(b"only"), 0).unwrap(), b"");
    }

    /// Made by libzstd 1.5.7: with content size in one segment, and streamed without; both with a checksum.
    #[test]
    fn frames_of_the_reference_encoder_are_read() {
        for head in [[0x24, 0x05], [0x04, 0x58]] {
            let rest = [0x29, 0x00, 0x00, b'h', b'e', b'l', b'l', b'o', 0xA3, 0x6D, 0x9F, 0x88];
            let frame = [&[0x28, 0xB5, 0x2F, 0xFD][..], &head, &rest].concat();
            assert_eq!(unzstd(&frame, 5).unwrap(), b"hello");
            for cut in 1..frame.len() {
                assert_eq!(unzstd(&frame[..cut], 5).expect_err("cut").label(), "inflate_truncated", "{cut}");
            }
        }
    }

    #[test]
    fn exactly_the_cap_is_allowed_and_one_more_is_not() {
        let data = vec![7; 100_000];
        for max in [100_000, 100_001, usize::MAX] {
            assert_eq!(gunzip(&gzip(&data), max).unwrap(), data, "{max}");
            assert_eq!(unzstd(&zstd(&data), max).unwrap(), data, "{max}");
        }
        for max in [0, 1, 99_999] {
            assert!(matches!(gunzip(&gzip(&data), max), Err(InflateError::TooLarge { .. })), "{max}");
            assert!(matches!(unzstd(&zstd(&data), max), Err(InflateError::TooLarge { .. })), "{max}");
        }
    }

    /// Each row would need gigabytes if it were believed; none may take longer or hold more than the cap allows.
    #[test]
    fn bombs_stop_at_the_cap() {
        let layer = gzip(&vec![0; 50 << 20]);
        let members: Vec<u8> = std::iter::repeat_n(gzip(&vec![0; 100_000]), 1_000).flatten().collect();
        for bomb in [layer, members] {
            assert!(matches!(gunzip(&bomb, 1 << 20), Err(InflateError::TooLarge { max: 1_048_576 })));
        }
        let runs = zstd_of_runs(0x58, 40_000, 128 << 10);
        let frames: Vec<u8> = std::iter::repeat_n(zstd_of_runs(0x38, 1, 128 << 10), 10_000).flatten().collect();
        for bomb in [runs, frames] {
            assert!(matches!(unzstd(&bomb, 1 << 20), Err(InflateError::TooLarge { max: 1_048_576 })));
        }
        // Many empty pieces cost time only in proportion to their bytes.
        assert_eq!(gunzip(&gzip(b"").repeat(10_000), 0).unwrap(), b"");
        assert_eq!(unzstd(&skippable(b"").repeat(100_000), 0).unwrap(), b"");
    }

    #[test]
    fn a_window_that_is_too_large_is_refused_from_its_header_alone() {
        // Descriptor 0x68 is 8 MiB, 0x69 is 9 MiB, 0xFF is 3.75 TiB.
        assert_eq!(unzstd(&zstd_of_runs(0x68, 1, 3), 10).unwrap(), b"xxx");
        for (descriptor, window) in [(0x69, 9 << 20), (0xFF, (1_u64 << 41) + (1 << 41) / 8 * 7)] {
            match unzstd(&[0x28, 0xB5, 0x2F, 0xFD, 0x00, descriptor], 10) {
                Err(InflateError::WindowTooLarge { bytes }) => assert_eq!(bytes, window),
                other => panic!("{descriptor:x}: {other:?}"),
            }
        }
        // Without a window the content size is the window: a lie of 2^60 bytes.
        let lie = [&[0x28, 0xB5, 0x2F, 0xFD, 0xE0][..], &(1_u64 << 60).to_le_bytes()].concat();
        assert!(matches!(unzstd(&lie, usize::MAX), Err(InflateError::WindowTooLarge { .. })));
        assert!(matches!(unzstd(&lie[..9], 10), Err(InflateError::Truncated)));
    }

    #[test]
    fn what_is_wrong_is_said_by_kind() {
        let good = gzip(b"hello");
        let mut bad_sum = good.clone();
        let end = bad_sum.len() - 8;
        bad_sum[end] ^= 1;
        for (what, input, label) in [
            ("garbage behind", [&good[..], b"zzz"].concat(), "inflate_trailing_garbage"),
            ("zeroes behind", [&good[..], &[0; 512]].concat(), "inflate_trailing_garbage"),
            ("half a second member", [&good[..], &good[..9]].concat(), "inflate_truncated"),
            ("not gzip at all", b"hello".to_vec(), "inflate_corrupt"),
            ("a zlib stream", vec![0x78, 0x9c, 1, 0, 0, 0xff, 0xff], "inflate_corrupt"),
            ("a wrong checksum", bad_sum, "inflate_corrupt"),
        ] {
            assert_eq!(gunzip(&input, 100).expect_err(what).label(), label, "{what}");
        }
        let frame = zstd(b"hello");
        let dictionary = vec![0x28, 0xB5, 0x2F, 0xFD, 0x01, 0x58, 7, 1, 0, 0];
        // Single segment, content size 9, one raw block of 5 bytes.
        let short = [&[0x28, 0xB5, 0x2F, 0xFD, 0x20, 9, 0x29, 0, 0][..], b"hello"].concat();
        for (what, input, label) in [
            ("garbage behind", [&frame[..], b"zzzzzz"].concat(), "inflate_trailing_garbage"),
            ("a short rest behind", [&frame[..], b"z"].concat(), "inflate_trailing_garbage"),
            ("the start of a second frame", [&frame[..], &[0x28, 0xB5]].concat(), "inflate_truncated"),
            ("a skippable frame that is cut", skippable(b"abc")[..9].to_vec(), "inflate_truncated"),
            ("a skippable frame of 4 GiB", vec![0x50, 0x2A, 0x4D, 0x18, 255, 255, 255, 255], "inflate_truncated"),
            ("gzip", gzip(b"hello"), "inflate_corrupt"),
            ("a frame with a dictionary", dictionary, "inflate_dictionary"),
            ("less content than announced", short, "inflate_corrupt"),
            ("a reserved block", vec![0x28, 0xB5, 0x2F, 0xFD, 0, 0x58, 7, 0, 0], "inflate_corrupt"),
        ] {
            assert_eq!(unzstd(&input, 100).expect_err(what).label(), label, "{what}");
        }
    }

    proptest! {
        #[test]
        fn property_what_went_in_comes_out(parts in prop::collection::vec(prop::collection::vec(0_u8..8, 0..3000), 0..5)) {
            let data = parts.concat();
            let gz: Vec<u8> = parts.iter().flat_map(|part| gzip(part)).collect();
            prop_assert_eq!(&gunzip(&gz, data.len()).unwrap(), &data);
            let zst: Vec<u8> = parts.iter().flat_map(|part| zstd(part)).collect();
            prop_assert_eq!(&unzstd(&zst, data.len()).unwrap(), &data);
            if let Some(less) = data.len().checked_sub(1) {
                prop_assert_eq!(gunzip(&gz, less).unwrap_err().label(), "inflate_too_large");
                prop_assert_eq!(unzstd(&zst, less).unwrap_err().label(), "inflate_too_large");
            }
        }

        #[test]
        fn property_a_cut_is_never_taken_for_the_whole(data in prop::collection::vec(0_u8..50, 1..2000), cut in any::<prop::sample::Index>()) {
            let gz = gzip(&data);
            let cut_at = 1 + cut.index(gz.len() - 1);
            prop_assert!(matches!(gunzip(&gz[..cut_at], data.len()), Err(InflateError::Truncated)));
            let zst = zstd(&data);
            let cut_at = 1 + cut.index(zst.len() - 1);
            prop_assert!(matches!(unzstd(&zst[..cut_at], data.len()), Err(InflateError::Truncated)));
        }

        #[test]
        fn property_damage_and_noise_never_panic_or_pass_the_cap(
            data in prop::collection::vec(any::<u8>(), 0..600),
            repeat in 1_usize..20,
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let data = data.repeat(repeat);
            for mut bytes in [gzip(&data), zstd(&data), noise.clone(), [&[0x28, 0xB5, 0x2F, 0xFD][..], &noise].concat(), [&[0x28, 0xB5, 0x2F, 0xFD, 0, 0x58][..], &noise].concat()] {
                for (at, value) in &flips {
                    if !bytes.is_empty() {
                        let at = at.index(bytes.len());
                        bytes[at] = *value;
                    }
                }
                for result in [gunzip(&bytes, 4_096), unzstd(&bytes, 4_096)].into_iter().flatten() {
                    prop_assert!(result.len() <= 4_096);
                }
            }
        }
    }
}
