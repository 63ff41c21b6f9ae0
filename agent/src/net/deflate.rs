//! Compression of what leaves.
//!
//! Promises: the result is one gzip member; others have their turn between pieces of the work.
//! Never: compresses harder than level 1: telemetry repeats itself, and more CPU saves few bytes.

use std::io::Write;

use flate2::{Compression, write::GzEncoder};

/// Bytes that are compressed at once: about 150 us.
const PIECE_BYTES: usize = 64 * 1024;

/// `body` compressed.
pub async fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 6 + 64), Compression::fast());
    for (number, piece) in body.chunks(PIECE_BYTES).enumerate() {
        if number > 0 {
            tokio::task::yield_now().await;
        }
        encoder.write_all(piece).expect("a Vec takes all that fits in memory");
    }
    encoder.finish().expect("a Vec takes all that fits in memory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::inflate::gunzip;

    #[tokio::test]
    async fn what_is_compressed_is_what_comes_out() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES] {
            let body: Vec<u8> = (0..length).map(|n| (n / 7 % 251) as u8).collect();
            assert_eq!(gunzip(&gzip(&body).await, length).expect("it is gzip"), body);
        }
    }
}
