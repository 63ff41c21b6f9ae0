//! Small writes that come faster than the timer ticks.
//!
//! Who sleeps in the poll is woken for each line, which costs reader and writer more than the line itself; on a task's one or two
//! CPUs that is time which Docker's log driver does not have, and what it could not hand over when its container exits it
//! throws away. So in a burst the connection leaves the poll and is read after naps of 100 to 500 us, by which some
//! fifty lines come together; the kernel's buffer holds 160. What was read is put aside and looked at together. What a sender
//! writes in its first second is put aside as a whole if it can be; of one that goes on and on, so much that the kernel's
//! buffer does not fill while we look at it.
//!
//! Promises: nothing is put aside for much longer than [`ASIDE`]; what comes while we look at it is read in between; memory
//! is one message's room, of which there are few.
//! Never: keeps other connections waiting for more than [`PIECES`] pieces.

use std::{io, time::Duration};

use super::{Brought, End, Filling, Session};
use crate::{
    limits::{FORWARD_BURST_BYTES, FORWARD_READ_BYTES, PARTIAL_BYTES_FREE},
    net::{listen::Socket, nap::Nap},
};

/// How long lines are put aside at most.
const ASIDE: Duration = Duration::from_millis(20);
/// Bytes that are looked at between two reads: about 150 of Docker's lines, 60 us of work. In that time the kernel's buffer,
/// which holds 160 of them, does not fill (a fast writer needs 1 us for each).
const PIECE: usize = 64 * 1_024;
/// Pieces before others get their turn.
const PIECES: u32 = 8;
/// The shortest and the longest nap. To be woken costs some 4 us; at 10,000 lines a second five come in the longest.
const NAP_LEAST: Duration = Duration::from_micros(100);
const NAP_MOST: Duration = Duration::from_micros(500);
/// Naps in a row without a byte after which it is no burst any more.
const NAPS_EMPTY: u32 = 4;

impl Session {
    /// Reads what comes in the next moment, and looks at it then.
    pub(super) async fn read_burst(&mut self, socket: &Socket) -> Result<(), End> {
        if self.tail.len() > PARTIAL_BYTES_FREE {
            return Ok(());
        }
        let (Some(_room), Ok(nap)) = (self.context.partials.try_room(), Nap::new()) else { return Ok(()) };
        let most = if self.gather.is_young() { FORWARD_BURST_BYTES } else { PIECE };
        let mut filling = self.begin();
        let ended = self.put_aside(&mut filling, most, socket, &nap).await;
        let kept = filling.kept;
        let looked = self.look_in_pieces(&mut filling, most, socket).await;
        let (messages, have) = (self.messages, filling.have);
        // Of a connection that ends here, nothing is kept.
        self.keep(filling, looked.as_ref().map_or(have, |&at| at));
        looked?;
        let elapsed = self.elapsed();
        self.gather.in_burst(Brought { bytes: have - kept, messages }, elapsed);
        ended.map_or(Ok(()), Err)
    }

    /// Reads until there is enough, or nothing came for some naps, or it has been long enough. Returns why it cannot go on.
    async fn put_aside(&self, filling: &mut Filling, most: usize, socket: &Socket, nap: &Nap) -> Option<End> {
        let target = self.gather.gathered_bytes();
        let (mut time, mut waited, mut empty) = (self.gather.nap().clamp(NAP_LEAST, NAP_MOST), Duration::ZERO, 0);
        loop {
            let before = filling.have;
            if let Err(end) = read_all(filling, most, socket) {
                return Some(end);
            }
            let brought = filling.have - before;
            empty = if brought == 0 { empty + 1 } else { 0 };
            if filling.have >= most || waited >= ASIDE || empty >= NAPS_EMPTY {
                return None;
            }
            time = next_nap(time, brought, target);
            if let Err(error) = nap.take(time).await {
                return Some(error.into());
            }
            waited += time;
        }
    }

    /// Takes the whole messages, reads on in between while there is room, and says where the last one ends.
    async fn look_in_pieces(&mut self, filling: &mut Filling, most: usize, socket: &Socket) -> Result<usize, End> {
        self.messages = 0;
        let (mut at, mut piece, mut pieces) = (0, PIECE, 0);
        loop {
            let end = (at + piece).min(filling.have);
            let taken = self.take_masked(&mut filling.buffer[at..end])?;
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
                // An end is seen again by the next read.
                let _ = read_all(filling, most, socket);
            }
        }
    }
}

/// Reads what is there.
fn read_all(filling: &mut Filling, most: usize, socket: &Socket) -> Result<(), End> {
    while filling.have < most {
        match socket.read(filling.room_for(FORWARD_READ_BYTES)) {
            Ok(0) => return Err(End::Closed),
            Ok(bytes) => {
                filling.have += bytes;
                if bytes < FORWARD_READ_BYTES {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The nap that would have brought `target` bytes, if `time` brought `brought`: at most half as long again, at least half.
fn next_nap(time: Duration, brought: usize, target: f64) -> Duration {
    let factor = (target / (brought as f64).max(1.0)).clamp(0.5, 1.5);
    time.mul_f64(factor).clamp(NAP_LEAST, NAP_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn naps_follow_the_rate() {
        let micros = Duration::from_micros;
        for (nap, brought, next) in [
            (200, 20_000, 200),
            (200, 40_000, 100),
            (200, 200_000, 100),
            (400, 25_000, 320),
            (200, 15_000, 266),
            (200, 1_000, 300),
            (400, 0, 500),
            (500, 0, 500),
        ] {
            let got = next_nap(micros(nap), brought, 20_000.0);
            assert_eq!(got.as_micros(), next, "{nap} us brought {brought} bytes");
        }
    }
}
