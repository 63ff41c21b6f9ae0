//! One connection that sends JSON objects.
//!
//! Promises: each object becomes a record with the input's tag, at the time it was read; one that is broken is counted and
//! passed over; the connection stays.
//! Never: answers.

use std::{
    future::{pending, poll_fn},
    io,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Decoder, JsonError};
use crate::{
    limits::{MSGPACK_DEPTH_MAX, PARTIAL_BYTES_FREE, PARTIAL_WAIT},
    logs::{
        forward::{
            Buffers, Meters,
            frame::{Entries, EntryReader},
        },
        mask::{Masker, Masks},
        record::{EventTime, Record},
        route::Route,
    },
    net::{
        listen::{Polled, Socket},
        partial::Partials,
    },
};

/// The largest object, in bytes. Fluent Bit's `tcp` input takes 32 KiB unless told otherwise; more does no harm here.
const OBJECT_BYTES_MAX: usize = 1_048_576;
/// How long a connection must be quiet, while we stop, before it is closed.
const QUIET: Duration = Duration::from_secs(1);
/// How long it must be quiet when nothing can be waited for any more. The poll needs a moment to tell what is there.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// What all connections of a listener share.
pub struct Context {
    /// Where records go.
    pub route: Arc<Route>,
    /// What is masked in records.
    pub masks: Masks,
    /// Counters of the listener.
    pub meters: Meters,
    /// Buffers to read into.
    pub buffers: Arc<Buffers>,
    /// Room for large objects that are not whole yet.
    pub partials: Arc<Partials>,
    /// Cancelled when the agent stops: then a quiet connection is closed.
    pub stopping: CancellationToken,
    /// Cancelled when nothing can be waited for any more.
    pub closing: CancellationToken,
}

/// What becomes of the bytes of one connection.
struct Incoming {
    decoder: Decoder,
    masker: Masker,
}

/// Serves `socket` until it ends or, once the agent stops, is quiet.
pub async fn serve(context: Arc<Context>, socket: Socket) {
    let Ok(mut polled) = socket.polled() else { return };
    let _opened = context.meters.opened();
    let mut incoming =
        Incoming { decoder: Decoder::new(OBJECT_BYTES_MAX, MSGPACK_DEPTH_MAX), masker: context.masks.masker() };
    let mut room = None;
    let mut close_at = None;
    loop {
        let quiet = async {
            context.stopping.cancelled().await;
            sleep(QUIET).await;
        };
        let stalled = async {
            match room {
                Some(_) => sleep(PARTIAL_WAIT).await,
                None => pending().await,
            }
        };
        let closed = async {
            context.closing.cancelled().await;
            sleep(LAST_LOOK).await;
        };
        if context.closing.is_cancelled()
            && Instant::now() >= *close_at.get_or_insert_with(|| Instant::now() + LAST_LOOK)
        {
            break;
        }
        let read = tokio::select! {
            biased;
            read = poll_fn(|cx| context.read(cx, &mut polled, &mut incoming)) => read,
            () = closed => break,
            () = quiet => break,
            () = stalled => break,
        };
        let Ok(1..) = read else { break };
        if incoming.decoder.pending_bytes() <= PARTIAL_BYTES_FREE {
            room = None;
        } else if room.is_none() {
            room = tokio::select! {
                room = context.partials.room() => room,
                () = context.closing.cancelled() => break,
            };
            if room.is_none() {
                return context.meters.broken(JsonError::TooLong.label());
            }
        }
    }
    if let Err(error) = incoming.decoder.finish() {
        context.meters.broken(error.label());
    }
}

impl Context {
    /// One read, and everything in it. Holds a buffer only while there is something to read.
    fn read(&self, cx: &mut TaskContext<'_>, polled: &mut Polled, incoming: &mut Incoming) -> Poll<io::Result<usize>> {
        let mut buffer = self.buffers.take();
        let read = polled.poll_read(cx, &mut buffer);
        if let Poll::Ready(Ok(read)) = read {
            self.take(incoming, &buffer[..read]);
        }
        self.buffers.give_back(buffer);
        read
    }

    fn take(&self, incoming: &mut Incoming, bytes: &[u8]) {
        let now = EventTime::now();
        // One chunk for all records of a read: `[time, record]`, one after another, with nil for "now".
        let mut packed = Vec::new();
        incoming.decoder.feed(bytes, |object| match object {
            Ok(map) => {
                packed.extend([0x92, 0xc0]);
                packed.extend_from_slice(map);
            }
            Err(error) => self.meters.broken(error.label()),
        });
        incoming.masker.entries(&mut packed, self.route.source());
        let mut pass = self.route.begin();
        let outcome = pass.push(EntryReader::new(Entries::Packed(&packed)), &mut Record::default(), now);
        debug_assert!(outcome.is_ok(), "the decoder makes whole maps");
        self.meters.bytes.inc_by(bytes.len() as u64);
        self.meters.records.inc_by(pass.records());
    }
}
