//! Small writes that come faster than the timer ticks.
//!
//! Whoever looks at each line when it comes is slower than a writer who has the other core to itself: the kernel's buffer
//! fills, and the writer waits. So lines are put aside first and looked at together. What a container writes right before
//! it exits is put aside as a whole if it can be, because Docker throws away what it could not hand over by then; of a
//! writer that goes on and on, just so much that the kernel's buffer does not fill while we look at it.
//!
//! Promises: nothing is put aside for longer than [`ASIDE`]; what comes while we look at it is read in between; memory is
//! one message's room, of which there are few.
//! Never: keeps other connections waiting for more than [`PIECES`] pieces.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use tokio::time::sleep;

use super::{Brought, End, Filling, Polled, Session};
use crate::limits::{FORWARD_BURST_BYTES, FORWARD_READ_BYTES, PARTIAL_BYTES_FREE};

/// How long lines are put aside at most.
const ASIDE: Duration = Duration::from_millis(20);
/// Bytes that are looked at between two reads: about 150 of Docker's lines, 60 us of work. In that time the kernel's buffer,
/// which holds 160 of them, does not fill (a fast writer needs 1 us for each).
const PIECE: usize = 64 * 1_024;
/// Pieces before others get their turn.
const PIECES: u32 = 8;

impl Session {
    /// Reads what comes in the next moment, and looks at it then.
    pub(super) async fn read_burst(&mut self, polled: &mut Polled) -> Result<(), End> {
        if self.tail.len() > PARTIAL_BYTES_FREE {
            return Ok(());
        }
        let Some(_room) = self.context.partials.try_room() else { return Ok(()) };
        let most = if self.gather.is_young() { FORWARD_BURST_BYTES } else { PIECE };
        let mut filling = self.begin();
        let (mut due, mut reads) = (pin!(sleep(ASIDE)), 0);
        let ended = poll_fn(|cx| {
            while filling.have < most {
                match polled.poll_read(cx, filling.room_for(FORWARD_READ_BYTES)) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Some(End::Closed)),
                    Poll::Ready(Ok(bytes)) => filling.have += bytes,
                    Poll::Ready(Err(error)) => return Poll::Ready(Some(error.into())),
                    Poll::Pending => return due.as_mut().poll(cx).map(|()| None),
                }
                reads += 1;
            }
            Poll::Ready(None)
        });
        let ended = ended.await;
        let kept = filling.kept;
        let looked = self.look_in_pieces(&mut filling, most, polled).await;
        let messages = self.messages;
        let have = filling.have;
        // Of a connection that ends here, nothing is kept.
        self.keep(filling, looked.as_ref().map_or(have, |&at| at));
        looked?;
        let elapsed = self.elapsed();
        self.gather.in_burst(Brought { bytes: have - kept, messages }, reads, elapsed);
        self.find_room().await?;
        ended.map_or(Ok(()), Err)
    }

    /// Takes the whole messages, reads on in between while there is room, and says where the last one ends.
    async fn look_in_pieces(&mut self, filling: &mut Filling, most: usize, polled: &mut Polled) -> Result<usize, End> {
        self.messages = 0;
        let (mut at, mut piece, mut pieces) = (0, PIECE, 0);
        loop {
            let end = (at + piece).min(filling.have);
            let taken = self.take_messages(&filling.buffer[at..end])?;
            at += taken;
            if end == filling.have {
                return Ok(at);
            }
            // A message larger than a piece is looked at when more of it is shown.
            piece = if taken == 0 { 2 * piece } else { PIECE };
            pieces += 1;
            if pieces % PIECES == 0 {
                tokio::task::yield_now().await;
            }
            if filling.have < most {
                let read = poll_fn(|cx| Poll::Ready(polled.poll_read(cx, filling.room_for(FORWARD_READ_BYTES))));
                if let Poll::Ready(read) = read.await {
                    // An end is seen again by the next read.
                    filling.have += read.unwrap_or(0);
                }
            }
        }
    }
}
