//! Bodies of requests: how they come into memory, and out of their compression.
//!
//! ```text
//! headers ─ room for what they declare ─▶ body ─▶ decompressed, with a cap ─▶ counted, appended, forgotten
//! ```
//!
//! Promises: bodies that are not whole yet hold no more memory than there are rooms; one that does not come on gives its room to who
//! waits for some; whoever gets none is told to come again;
//! a body is decompressed up to its cap and no further, a large one beside the data path, one at a time.
//! Never: believes a length.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Body;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout, timeout_at},
};

use super::{
    frame,
    status::{Reason, Refusal},
};
use crate::{
    limits::{OTLP_BODY_BYTES_LEAST, OTLP_BODY_PAUSE, OTLP_INLINE_BYTES_MAX, OTLP_ROOM_WAIT},
    net::inflate::{self, InflateError},
};

/// Bytes of a room's unit.
const UNIT: usize = 1_024;
/// What a compressed body of [`OTLP_INLINE_BYTES_MAX`] becomes at most while others wait: 2 ms of work.
const INLINE_RESULT_BYTES_MAX: usize = 1 << 20;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Zstd,
    Deflate,
}

/// What is around a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Around {
    /// Nothing.
    Nothing,
    /// A frame of gRPC.
    Grpc,
}

/// The rooms of one input.
#[derive(Debug)]
pub(super) struct Intake {
    rooms: Arc<Semaphore>,
    /// Requests that wait for room.
    waiting: AtomicUsize,
    opening: Semaphore,
    bytes_max: usize,
}

/// A request that waits for room, as long as it does.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body in memory, and its room.
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: OwnedSemaphorePermit,
}

impl Coding {
    /// By the name that headers have for it.
    pub(super) fn named(name: &str) -> Option<Self> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Self::Identity),
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "zstd" => Some(Self::Zstd),
            "deflate" => Some(Self::Deflate),
            _ => None,
        }
    }

    fn open(self, body: &[u8], max: usize) -> Result<Vec<u8>, InflateError> {
        match self {
            Self::Identity => Ok(body.to_vec()),
            Self::Gzip => inflate::gunzip(body, max),
            Self::Zstd => inflate::unzstd(body, max),
            Self::Deflate => inflate::unzlib(body, max),
        }
    }
}

impl Intake {
    /// Takes requests of `bytes_max`, and has room for two of them, or for many small ones.
    pub(super) fn new(bytes_max: usize) -> Self {
        let rooms = Arc::new(Semaphore::new(units(2 * bytes_max)));
        Self { rooms, waiting: AtomicUsize::new(0), opening: Semaphore::new(1), bytes_max }
    }

    /// The largest request.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Reads a whole body.
    pub(super) async fn read<B>(&self, mut body: B, around: Around) -> Result<Held, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let most = self.bytes_max + if around == Around::Grpc { frame::HEAD } else { 0 };
        let mut declared = body.size_hint().exact().map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        let mut room = self.room(declared.unwrap_or(UNIT), most).await?;
        let mut whole = BytesMut::new();
        let (mut look_at, mut had) = (Instant::now() + OTLP_BODY_PAUSE, 0);
        loop {
            let Ok(frame) = timeout_at(look_at, body.frame()).await else {
                self.is_coming(whole.len() - had)?;
                (look_at, had) = (Instant::now() + OTLP_BODY_PAUSE, whole.len());
                continue;
            };
            let Some(frame) = frame else { break };
            let frame = frame.map_err(|_| Refusal::new(Reason::Broken, "the request broke off"))?;
            // Trailers of a request say nothing that is of interest.
            let Ok(data) = frame.into_data() else { continue };
            if around == Around::Grpc && whole.is_empty() {
                declared = frame::declared(&data);
            }
            let bytes = declared.unwrap_or(0).max(whole.len() + data.len());
            self.grow(&mut room, bytes, most)?;
            if whole.is_empty() && body.is_end_stream() {
                return Ok(Held { bytes: data, _room: room });
            }
            if whole.is_empty() {
                whole.reserve(bytes);
            }
            whole.extend_from_slice(&data);
        }
        Ok(Held { bytes: whole.freeze(), _room: room })
    }

    /// What `body` is when it is decompressed.
    pub(super) async fn open(&self, coding: Coding, body: Bytes) -> Result<Bytes, Refusal> {
        if coding == Coding::Identity {
            return Ok(body);
        }
        let max = self.bytes_max;
        if body.len() <= OTLP_INLINE_BYTES_MAX {
            match coding.open(&body, max.min(INLINE_RESULT_BYTES_MAX)) {
                Err(InflateError::TooLarge { .. }) if max > INLINE_RESULT_BYTES_MAX => {}
                opened => return opened.map(Bytes::from).map_err(|error| unopened(&error)),
            }
        }
        let _turn = self.opening.acquire().await;
        let opened = tokio::task::spawn_blocking(move || coding.open(&body, max)).await;
        let opened = opened.map_err(|_| Refusal::new(Reason::Corrupt, "the compressed bytes could not be read"))?;
        opened.map(Bytes::from).map_err(|error| unopened(&error))
    }

    /// Refuses a body of which only so much came in [`OTLP_BODY_PAUSE`], if others wait for its room.
    fn is_coming(&self, bytes: usize) -> Result<(), Refusal> {
        let is_waited_for = self.waiting.load(Ordering::Relaxed) > 0;
        match is_waited_for && bytes < OTLP_BODY_BYTES_LEAST {
            true => Err(Refusal::new(Reason::Slow, "the request does not come on, and others wait for its room")),
            false => Ok(()),
        }
    }

    async fn room(&self, bytes: usize, most: usize) -> Result<OwnedSemaphorePermit, Refusal> {
        let wanted = self.fits(bytes, most)?;
        let _waiting = Waiting::new(&self.waiting);
        match timeout(OTLP_ROOM_WAIT, Arc::clone(&self.rooms).acquire_many_owned(wanted)).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(busy()),
        }
    }

    fn grow(&self, room: &mut OwnedSemaphorePermit, bytes: usize, most: usize) -> Result<(), Refusal> {
        let more = (self.fits(bytes, most)? as usize).saturating_sub(room.num_permits());
        let more = u32::try_from(more).expect("no more than what fits, which is 32 bits");
        // Who holds a part of the room must not wait for the rest: two who do would wait for each other.
        room.merge(Arc::clone(&self.rooms).try_acquire_many_owned(more).map_err(|_| busy())?);
        Ok(())
    }

    fn fits(&self, bytes: usize, most: usize) -> Result<u32, Refusal> {
        if bytes > most {
            return Err(too_large(self.bytes_max));
        }
        Ok(u32::try_from(units(bytes)).expect("a request has at most 64 MiB"))
    }
}

fn units(bytes: usize) -> usize {
    bytes.div_ceil(UNIT).max(1)
}

fn busy() -> Refusal {
    Refusal::new(Reason::Busy, "there is no memory for this request now; send it again")
}

fn too_large(max: usize) -> Refusal {
    Refusal::new(Reason::TooLarge, format!("the request has more than {max} bytes (`request_bytes_max`)"))
}

fn unopened(error: &InflateError) -> Refusal {
    match error {
        InflateError::TooLarge { max } => too_large(*max),
        error => Refusal::new(Reason::Corrupt, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    use hyper::body::{Frame, SizeHint};
    use tokio::{
        sync::mpsc::{Receiver, Sender, channel},
        task::JoinHandle,
        time::sleep,
    };

    use super::*;
    use crate::life::Life;

    const MAX: usize = 1 << 20;

    /// A body of a declared length whose bytes come when the test sends them.
    struct Slow(Receiver<Bytes>, usize);

    impl Body for Slow {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            self.0.poll_recv(cx).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
        }

        fn size_hint(&self) -> SizeHint {
            SizeHint::with_exact(self.1 as u64)
        }
    }

    /// A body of so many bytes that is being read, and its sender.
    fn reading(intake: &Arc<Intake>) -> (Sender<Bytes>, JoinHandle<Option<Result<usize, Reason>>>) {
        let (sender, receiver) = channel(64);
        let intake = Arc::clone(intake);
        let read = async move {
            let held = intake.read(Slow(receiver, MAX), Around::Nothing).await;
            held.map(|held| held.bytes.len()).map_err(|refusal| refusal.reason)
        };
        (sender, Life::default().spawn("body", read))
    }

    fn send(sender: &Sender<Bytes>, bytes: usize) {
        // Who refused the body does not listen any more.
        let _ = sender.try_send(Bytes::from(vec![0; bytes]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_on_gives_its_room_to_who_waits() {
        let intake = Arc::new(Intake::new(MAX));
        let (stalled, slow) = (reading(&intake), reading(&intake));
        for _ in 0..20 {
            send(&slow.0, 1);
            sleep(Duration::from_secs(1)).await;
        }
        assert!(!stalled.1.is_finished() && !slow.1.is_finished(), "nobody waits for their room");
        let (sender, read) = reading(&intake);
        send(&sender, MAX);
        drop(sender);
        assert_eq!(read.await.expect("not cancelled"), Some(Ok(MAX)));
        let refused = tokio::select! {
            refused = stalled.1 => refused,
            refused = slow.1 => refused,
        };
        assert_eq!(refused.expect("not cancelled"), Some(Err(Reason::Slow)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_comes_on_keeps_its_room() {
        let intake = Arc::new(Intake::new(MAX));
        let large = [reading(&intake), reading(&intake)];
        let waits = reading(&intake);
        for _ in 0..16 {
            large.iter().for_each(|(sender, _)| send(sender, MAX / 16));
            sleep(OTLP_BODY_PAUSE).await;
        }
        assert_eq!(waits.1.await.expect("not cancelled"), Some(Err(Reason::Busy)));
        for (sender, read) in large {
            drop(sender);
            assert_eq!(read.await.expect("not cancelled"), Some(Ok(MAX)));
        }
    }
}
