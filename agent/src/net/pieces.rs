//! A request's body, sent piece by piece.
//!
//! The agent has one thread for its data. A megabyte that is hashed and handed to the kernel in one go keeps it for 0.7 ms, in
//! which a fast container fills the kernel's buffer four times over and waits. So large work is done in pieces, and everybody
//! else has a turn in between.
//!
//! Promises: the bytes and their length are those of the body; a piece takes about 100 us.
//! Never: copies.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

/// Bytes of a piece: 100 us to hash, as long to hand over. With pieces of a quarter, those who read have so many turns that what
/// they bring is not sent in time.
pub const PIECE_BYTES: usize = 256 * 1_024;

/// A body that gives way between its pieces.
#[derive(Debug)]
pub struct Pieces {
    /// What comes before the rest, as a piece of its own.
    head: Bytes,
    rest: Bytes,
    /// Others have their turn before the next piece.
    gives_way: bool,
}

impl Pieces {
    /// All of `body`.
    pub fn new(body: Bytes) -> Self {
        Self::behind(&[], body)
    }

    /// All of `body` behind `head`, which has a few bytes.
    pub fn behind(head: &[u8], body: Bytes) -> Self {
        Self { head: Bytes::copy_from_slice(head), rest: body, gives_way: false }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if !self.head.is_empty() {
            let head = std::mem::take(&mut self.head);
            return Poll::Ready(Some(Ok(Frame::data(head))));
        }
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        if std::mem::take(&mut self.gives_way) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let bytes = self.rest.len().min(PIECE_BYTES);
        let piece = self.rest.split_to(bytes);
        self.gives_way = true;
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.head.is_empty() && self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact((self.head.len() + self.rest.len()) as u64)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn the_pieces_are_the_body() {
        for length in [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 5 * PIECE_BYTES] {
            let body: Bytes = (0..length).map(|n| (n % 251) as u8).collect();
            for head in [&b""[..], b"head"] {
                let pieces = Pieces::behind(head, body.clone());
                let whole = [head, &body].concat();
                let told = (pieces.size_hint().exact(), pieces.is_end_stream());
                assert_eq!(told, (Some(whole.len() as u64), whole.is_empty()));
                assert_eq!(pieces.collect().await.expect("cannot fail").to_bytes(), whole);
            }
        }
    }

    #[test]
    fn it_gives_way_between_pieces() {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut pieces = Pieces::behind(b"head", Bytes::from(vec![0; 2 * PIECE_BYTES + 1]));
        let mut poll = || match Pin::new(&mut pieces).poll_frame(&mut cx) {
            Poll::Pending => "others",
            Poll::Ready(Some(_)) => "piece",
            Poll::Ready(None) => "end",
        };
        let turns: Vec<_> = (0..7).map(|_| poll()).collect();
        assert_eq!(turns, ["piece", "piece", "others", "piece", "others", "piece", "end"]);
    }
}
