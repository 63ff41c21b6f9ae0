//! Compressed entries of a message.
//!
//! Promises: what comes out is within the limit of a message.
//! Never: decompresses what does not call itself compressed.

use super::frame::{Entries, Malformed, Message};
use crate::net::inflate::{InflateError, gunzip, unzstd};

impl Message<'_> {
    /// True if its entries come compressed, in a way that [`inflated`](Self::inflated) opens.
    pub fn is_compressed(&self) -> bool {
        matches!((self.option.compressed, &self.entries), (Some(b"gzip" | b"zstd"), Entries::Packed(_)))
    }

    /// The entries if they came compressed, in at most `bytes_max` bytes.
    pub fn inflated(&self, bytes_max: usize) -> Result<Option<Vec<u8>>, Malformed> {
        let inflate = match self.option.compressed {
            Some(b"gzip") => gunzip,
            Some(b"zstd") => unzstd,
            // A word that nobody knows counts as none, as in Fluentd and Fluent Bit.
            _ => return Ok(None),
        };
        // Only packed entries can be compressed.
        let Entries::Packed(packed) = self.entries else { return Ok(None) };
        match inflate(packed, bytes_max) {
            Ok(entries) => Ok(Some(entries)),
            Err(InflateError::TooLarge { .. }) => Err(Malformed::TooLarge),
            Err(_) => Err(Malformed::Compression),
        }
    }
}
