//! A stream of which somebody has read already.
//!
//! Promises: what was read comes first, then what the stream brings; nothing twice.
//! Never: looks at the bytes.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroizing;

/// A stream, and what comes before it.
pub struct Rewound<S> {
    before: Zeroizing<Vec<u8>>,
    given: usize,
    stream: S,
}

impl<S> Rewound<S> {
    /// Puts `before` in front of what `stream` brings.
    pub fn new(before: Zeroizing<Vec<u8>>, stream: S) -> Self {
        Self { before, given: 0, stream }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Rewound<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.before.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buffer);
        }
        let left = &self.before[self.given..];
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..count]);
        self.given += count;
        if self.given == self.before.len() {
            self.before = Zeroizing::default();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Rewound<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    proptest! {
        #[test]
        fn property_what_was_read_comes_first_and_once(
            before in prop::collection::vec(any::<u8>(), 0..40),
            after in prop::collection::vec(any::<u8>(), 0..40),
            step in 1_usize..50,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            let all = runtime.block_on(async {
                let (mut peer, stream) = duplex(64);
                peer.write_all(&after).await.expect("is written");
                drop(peer);
                let mut stream = Rewound::new(Zeroizing::new(before.clone()), stream);
                let (mut all, mut part) = (Vec::new(), vec![0; step]);
                loop {
                    match stream.read(&mut part).await.expect("is read") {
                        0 => return all,
                        count => all.extend_from_slice(&part[..count]),
                    }
                }
            });
            prop_assert_eq!(all, [before, after].concat());
        }
    }
}
