//! One forward connection, from its first byte to its last.
//!
//! A read brings up to 128 KiB into a buffer that all connections share; whole messages are routed from there, and only the
//! beginning of a message that is not whole yet is kept, in a buffer of the connection's own. An idle connection holds no
//! memory but its task.
//!
//! Promises: reads whenever there is something to read, whatever happens to the records, unless it is the middle of a
//! large message and there are [too many](crate::net::partial) of those; ends at the first malformed message, after
//! everything whole before it; answers `chunk` with `ack` when all records of the message were accepted.
//! Never: closes a connection because we are busy, or waits for a destination.

#[cfg(test)]
mod ack_tests;
mod answers;
mod burst;
#[cfg(test)]
mod burst_tests;
mod greet;
mod messages;
#[cfg(test)]
mod room_tests;
#[cfg(test)]
mod tests;

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{
    Buffers, Meters, Settings,
    frame::{Finder, Malformed},
    gather::{Brought, Gather},
};
use crate::{
    limits::{FORWARD_READ_BYTES, PARTIAL_BYTES_FREE, PARTIAL_WAIT},
    logs::{
        mask::{Masker, Masks},
        route::{Route, Router},
    },
    net::{
        listen::{Polled, Socket},
        partial::{Partials, Room},
    },
};
use answers::Answers;

/// How long a connection must be quiet, while we stop, before we believe that nothing more comes.
const QUIET: Duration = Duration::from_secs(1);
/// How long a connection is still read after it must close. The poll needs a moment to tell of what is there already.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// What all connections of a listener share.
pub struct Context {
    /// The listener's settings.
    pub settings: Settings,
    /// Where records go.
    pub router: Arc<Router>,
    /// What is masked in records.
    pub masks: Masks,
    /// Counters of the listener.
    pub meters: Meters,
    /// Buffers to read into.
    pub buffers: Arc<Buffers>,
    /// Room for large messages that are not whole yet.
    pub partials: Arc<Partials>,
    /// Cancelled when the agent stops: then a quiet connection is closed.
    pub stopping: CancellationToken,
    /// Cancelled when nothing can be waited for any more.
    pub closing: CancellationToken,
}

/// One connection.
pub struct Session {
    context: Arc<Context>,
    /// The beginning of a message that is not whole yet, when no buffer is held.
    tail: Vec<u8>,
    /// For a tail that is large.
    room: Option<Room>,
    finder: Finder,
    masker: Masker,
    gather: Gather,
    last_read: Instant,
    /// The route of the last message: a connection of Docker's has one tag.
    route: Option<(Vec<u8>, Arc<Route>)>,
    /// Answers not written yet.
    answers: Answers,
    /// Messages of the last read.
    messages: u32,
    /// Until the agent stops: completes when it does. Kept, because to begin to wait anew for each read costs more.
    stopping: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// When to close, once that must be.
    close_at: Option<Instant>,
}

/// Why a connection ended.
#[derive(Debug)]
enum End {
    /// The peer closed it, or we are stopping and it is quiet.
    Closed,
    /// What came was not the protocol.
    Malformed(Malformed),
}

impl From<Malformed> for End {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        // A reset connection is a closed one: what came whole before stays.
        Self::Closed
    }
}

impl Session {
    /// Serves `socket` until it ends, and counts how.
    pub async fn serve(context: Arc<Context>, socket: Socket) {
        let _opened = context.meters.opened();
        let mut session = Self::new(context);
        let end = session.run(socket).await;
        let cut_off = !session.tail.is_empty();
        match end {
            Err(End::Malformed(malformed)) => session.context.meters.malformed(malformed),
            _ if cut_off => session.context.meters.malformed(Malformed::Truncated),
            _ => {}
        }
    }

    fn new(context: Arc<Context>) -> Self {
        let stopping = context.stopping.clone().cancelled_owned();
        Self {
            answers: Answers::new(context.settings.ack),
            masker: context.masks.masker(),
            context,
            tail: Vec::new(),
            room: None,
            finder: Finder::default(),
            gather: Gather::default(),
            last_read: Instant::now(),
            route: None,
            messages: 0,
            stopping: Some(Box::pin(stopping)),
            close_at: None,
        }
    }

    async fn run(&mut self, socket: Socket) -> Result<(), End> {
        let mut polled = socket.polled()?;
        if self.context.settings.handshake.is_some() {
            let closing = self.context.closing.clone();
            tokio::select! {
                biased;
                shaken = self.shake_hands(&mut polled) => shaken?,
                () = closing.cancelled() => return Err(End::Closed),
            }
        }
        loop {
            let read = self.read_polled(&mut polled).await;
            // Also for what came whole before a malformed message.
            self.answers.send(&mut polled, &self.context.closing).await?;
            let how = read?;
            if matches!(how, How::InPoll) {
                continue;
            }
            // Out of the poll: no wake-up until we look by ourselves.
            let socket = polled.unpolled()?;
            let read = match how {
                How::ByClock(wait) => self.read_by_clock(&socket, wait).await,
                _ => self.read_burst(&socket).await,
            };
            polled = socket.polled()?;
            self.answers.send(&mut polled, &self.context.closing).await?;
            read?;
            self.find_room().await?;
        }
    }

    /// Reads as soon as something is there. Returns how the next reads are best done.
    async fn read_polled(&mut self, polled: &mut Polled) -> Result<How, End> {
        let Read { brought, full } = match (&self.room, &self.stopping) {
            (Some(_), _) => {
                timeout(PARTIAL_WAIT, self.read_or_stop(polled)).await.map_err(|_| Malformed::Truncated)??
            }
            (None, Some(_)) => self.read_or_stop(polled).await?,
            (None, None) => self.read_or_close(polled).await?,
        };
        if brought.bytes == 0 {
            // An answer can be given.
            return Ok(How::InPoll);
        }
        let elapsed = self.elapsed();
        self.find_room().await?;
        if !full {
            return Ok(match self.gather.in_poll(brought, elapsed) {
                Some(wait) => How::ByClock(wait),
                None if self.gather.is_burst() => How::Burst,
                None => How::InPoll,
            });
        }
        // There is more; but others have their turn first.
        if self.must_close() {
            return Err(End::Closed);
        }
        tokio::task::yield_now().await;
        let _ = self.gather.in_poll(brought, elapsed);
        Ok(How::InPoll)
    }

    /// Reads as soon as something is there, or hears that the agent stops.
    async fn read_or_stop(&mut self, polled: &mut Polled) -> Result<Read, End> {
        let mut stopping = self.stopping.take();
        let read = {
            let mut given = pin!(self.answers.given());
            poll_fn(|cx| {
                if let Poll::Ready(read) = self.poll_read(cx, polled) {
                    return Poll::Ready(Some(read));
                }
                if given.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Some(Ok(Read::default())));
                }
                match stopping.as_mut().map(|stopping| stopping.as_mut().poll(cx)) {
                    Some(Poll::Ready(())) | None => Poll::Ready(None),
                    Some(Poll::Pending) => Poll::Pending,
                }
            })
            .await
        };
        match read {
            Some(read) => {
                self.stopping = stopping;
                read
            }
            None => self.read_or_close(polled).await,
        }
    }

    /// While we stop: reads as soon as something is there, unless it is quiet for too long.
    async fn read_or_close(&mut self, polled: &mut Polled) -> Result<Read, End> {
        if self.must_close() {
            return Err(End::Closed);
        }
        let closing = self.context.closing.clone();
        let close_at = self.close_at;
        let closed = async {
            closing.cancelled().await;
            sleep_until(close_at.unwrap_or_else(|| Instant::now() + LAST_LOOK)).await;
        };
        // Who waits for an answer is not quiet.
        let (waits, given) = (self.answers.wait(), self.answers.given());
        tokio::select! {
            biased;
            read = poll_fn(|cx| self.poll_read(cx, polled)) => read,
            () = given => Ok(Read::default()),
            () = closed => Err(End::Closed),
            () = sleep(QUIET), if !waits => Err(End::Closed),
        }
    }

    /// True if this connection had its last look. A peer that never stops writing cannot put that off.
    fn must_close(&mut self) -> bool {
        self.context.closing.is_cancelled() && {
            let now = Instant::now();
            now >= *self.close_at.get_or_insert(now + LAST_LOOK)
        }
    }

    fn poll_read(&mut self, cx: &mut TaskContext<'_>, polled: &mut Polled) -> Poll<Result<Read, End>> {
        self.read(|buffer| polled.poll_read(cx, buffer))
    }

    /// Reads again and again after a wait, until there was nothing to read.
    async fn read_by_clock(&mut self, socket: &Socket, mut wait: Duration) -> Result<(), End> {
        loop {
            sleep(wait).await;
            let read = self.read(|buffer| match socket.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                read => Poll::Ready(read),
            });
            let brought = match read {
                Poll::Ready(read) => read?.brought,
                Poll::Pending => Brought::default(),
            };
            let elapsed = self.elapsed();
            match self.gather.by_clock(brought, elapsed) {
                Some(next)
                    if self.answers.is_empty()
                        && self.tail.len() <= PARTIAL_BYTES_FREE
                        && !self.context.closing.is_cancelled() =>
                {
                    wait = next;
                }
                _ => return Ok(()),
            }
        }
    }

    fn elapsed(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.last_read, now))
    }

    /// One read by `fill`, and everything in it.
    fn read(&mut self, fill: impl FnOnce(&mut [u8]) -> Poll<io::Result<usize>>) -> Poll<Result<Read, End>> {
        let mut filling = self.begin();
        let read = fill(filling.room());
        if let Poll::Ready(Ok(bytes)) = &read {
            filling.have += bytes;
        }
        let full = filling.room().is_empty();
        let looked = self.finish(filling);
        read.map(|read| {
            let brought = looked?;
            match read? {
                0 => Err(End::Closed),
                _ => Ok(Read { brought, full }),
            }
        })
    }

    /// A buffer to read into, with what was kept of the last message.
    fn begin(&mut self) -> Filling {
        let kept = self.tail.len();
        // A larger beginning of a message is collected where it lies, not copied between buffers.
        let shared = kept <= PARTIAL_BYTES_FREE;
        let mut buffer = if shared { self.context.buffers.take() } else { std::mem::take(&mut self.tail) };
        if shared {
            buffer[..kept].copy_from_slice(&self.tail);
        } else {
            if buffer.capacity() < kept + FORWARD_READ_BYTES {
                // By a quarter, not by doubling: what a connection holds is what it sent and little more.
                buffer.reserve_exact(FORWARD_READ_BYTES.max(kept / 4));
            }
            buffer.resize(kept + FORWARD_READ_BYTES, 0);
        }
        Filling { buffer, kept, have: kept, shared }
    }

    /// Takes the whole messages that were read, and keeps what is left.
    fn finish(&mut self, filling: Filling) -> Result<Brought, Malformed> {
        let mut filling = filling;
        let (kept, have) = (filling.kept, filling.have);
        self.messages = 0;
        let taken = if have > kept { self.take_masked(&mut filling.buffer[..have]) } else { Ok(0) };
        // Of a connection that ends here, nothing is kept.
        self.keep(filling, taken.unwrap_or(have));
        taken.map(|_| Brought { bytes: have - kept, messages: self.messages })
    }

    /// Keeps what was not taken: what stands behind `from`.
    fn keep(&mut self, Filling { mut buffer, kept, have, shared }: Filling, from: usize) {
        if !shared {
            buffer.truncate(have);
            buffer.drain(..from);
            self.tail = buffer;
        } else {
            if have > kept {
                self.tail.clear();
                self.tail.extend_from_slice(&buffer[from..have]);
            }
            self.context.buffers.give_back(buffer);
        }
        if self.tail.is_empty() {
            self.tail = Vec::new();
        } else if self.tail.len() <= PARTIAL_BYTES_FREE {
            self.tail.shrink_to(PARTIAL_BYTES_FREE);
        }
        self.context.meters.bytes.inc_by((have - kept) as u64);
    }

    /// Takes a room if what is kept needs one, or gives it back. Until there is one nothing is read.
    async fn find_room(&mut self) -> Result<(), End> {
        if self.tail.len() <= PARTIAL_BYTES_FREE {
            self.room = None;
        } else if self.room.is_none() {
            let room = tokio::select! {
                room = self.context.partials.room() => room,
                () = self.context.closing.cancelled() => return Err(End::Closed),
            };
            self.room = Some(room.ok_or(Malformed::TooLarge)?);
        }
        Ok(())
    }
}

/// A buffer being filled: what was kept of the last message, what was read, and room for more.
struct Filling {
    buffer: Vec<u8>,
    kept: usize,
    have: usize,
    /// It is one of the buffers that all connections share.
    shared: bool,
}

impl Filling {
    fn room(&mut self) -> &mut [u8] {
        &mut self.buffer[self.have..]
    }

    /// Room for at least `bytes` more.
    fn room_for(&mut self, bytes: usize) -> &mut [u8] {
        if self.buffer.len() - self.have < bytes {
            self.buffer.resize(2 * self.buffer.len(), 0);
        }
        self.room()
    }
}

/// How to read next.
#[derive(Clone, Copy, Debug)]
enum How {
    /// As soon as something is there.
    InPoll,
    /// After a wait, out of the poll.
    ByClock(Duration),
    /// After naps, out of the poll.
    Burst,
}

#[derive(Default)]
struct Read {
    brought: Brought,
    /// The read filled the buffer: there may be more.
    full: bool,
}

async fn write_all(polled: &mut Polled, bytes: &[u8], within: Duration) -> Result<(), End> {
    timeout(within, polled.write_all(bytes)).await.map_err(|_| End::Closed)?.map_err(End::from)
}
