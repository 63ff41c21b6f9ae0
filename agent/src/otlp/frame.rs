//! A frame of gRPC: what stands before a message on the wire.
//!
//! ```text
//! frame = 1 byte: 0, or 1 if the message is compressed | 4 bytes: its length, the highest first | the message
//! ```
//!
//! A call of OTLP has one message there and one back, so a body is one frame.
//!
//! Promises: a frame that is not exactly one is refused with its reason; what [`head`] writes is what [`message`] reads.
//! Never: believes a length: it says what was declared, and its caller what that may be.

use thiserror::Error;

/// Bytes before a message.
pub const HEAD: usize = 5;

/// Why a body is no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoFrame {
    /// Less than a head.
    #[error("there is no message")]
    Short,
    /// More bytes than the head says, or fewer.
    #[error("the message is not as long as it says, or there are several")]
    Length,
    /// A first byte that is neither 0 nor 1.
    #[error("the message is compressed in no way that gRPC knows")]
    Flag,
}

/// A message as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Whether it is compressed, in the way that the headers name.
    pub is_compressed: bool,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// The bytes that a frame has by its own word, head and all, once enough of its `start` is there.
pub fn declared(start: &[u8]) -> Option<usize> {
    let [_, length @ ..] = *start.first_chunk::<HEAD>()?;
    usize::try_from(u32::from_be_bytes(length)).ok()?.checked_add(HEAD)
}

/// The message of a body.
pub fn message(body: &[u8]) -> Result<Message<'_>, NoFrame> {
    let Some((&[flag, ..], bytes)) = body.split_first_chunk::<HEAD>() else { return Err(NoFrame::Short) };
    if declared(body) != Some(body.len()) {
        return Err(NoFrame::Length);
    }
    match flag {
        0 => Ok(Message { is_compressed: false, bytes }),
        1 => Ok(Message { is_compressed: true, bytes }),
        _ => Err(NoFrame::Flag),
    }
}

/// What stands before a message of so many bytes, unless it is longer than one can be.
pub fn head(is_compressed: bool, length: usize) -> Option<[u8; HEAD]> {
    let [a, b, c, d] = u32::try_from(length).ok()?.to_be_bytes();
    Some([u8::from(is_compressed), a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_one_frame_or_refused_with_its_reason() {
        let plain = |bytes| Ok(Message { is_compressed: false, bytes });
        for (body, expected) in [
            (&b""[..], Err(NoFrame::Short)),
            (b"\0\0\0\0", Err(NoFrame::Short)),
            (b"\0\0\0\0\0", plain(b"")),
            (b"\0\0\0\0\x02ab", plain(b"ab")),
            (b"\x01\0\0\0\x02ab", Ok(Message { is_compressed: true, bytes: b"ab" })),
            (b"\x02\0\0\0\x02ab", Err(NoFrame::Flag)),
            (b"\x80\0\0\0\0", Err(NoFrame::Flag)),
            (b"\0\0\0\0\x02a", Err(NoFrame::Length)),
            (b"\0\0\0\0\x02abc", Err(NoFrame::Length)),
            (b"\0\0\0\0\0\0\0\0\0\0", Err(NoFrame::Length)),
            (b"\0\xff\xff\xff\xffab", Err(NoFrame::Length)),
            (b"\0\x02\0\0\0ab", Err(NoFrame::Length)),
        ] {
            assert_eq!(message(body), expected, "{body:x?}");
        }
    }

    #[test]
    fn a_length_is_known_with_the_fifth_byte() {
        assert_eq!((declared(b"\0\0\0\x01"), declared(b"\0\0\0\x01\x02")), (None, Some(HEAD + 258)));
        assert_eq!(declared(b"\0\xff\xff\xff\xff"), Some(HEAD + u32::MAX as usize));
        assert_eq!((head(true, 258), head(false, 1 << 32)), (Some([1, 0, 0, 1, 2]), None));
    }
}
