//! One connection that sends documents.
//!
//! Promises: what is there is read at once; a long line for which there is no room is given up, and the connection stays.
//! Never: answers, or ends a connection that is used.

use std::{
    future::{pending, poll_fn},
    io,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{Broken, Input, Lines, Taking};
use crate::{
    limits::{PARTIAL_BYTES_FREE, PARTIAL_WAIT},
    logs::{forward::Buffers, record::EventTime},
    net::{
        listen::{Polled, Socket},
        partial::{Partials, Room},
    },
};

/// How long a connection must be quiet, while we stop, before it is closed.
const QUIET: Duration = Duration::from_secs(1);
/// How long it must be quiet when nothing can be waited for any more. The poll needs a moment to tell what is there.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// What all connections of a listener share.
pub struct Context {
    /// Where documents go.
    pub input: Arc<Input>,
    /// Buffers to read into.
    pub buffers: Arc<Buffers>,
    /// Room for long lines that are not whole yet.
    pub partials: Arc<Partials>,
    /// Cancelled when the agent stops: then a quiet connection is closed.
    pub stopping: CancellationToken,
    /// Cancelled when nothing can be waited for any more.
    pub closing: CancellationToken,
}

/// One connection.
struct Session {
    context: Arc<Context>,
    lines: Lines,
    taking: Taking,
    room: Option<Room>,
}

/// Serves `socket` until it ends or, once the agent stops, is quiet.
pub async fn serve(context: Arc<Context>, socket: Socket) {
    let Ok(mut polled) = socket.polled() else { return };
    let _opened = context.input.meters.opened();
    let taking = context.input.taking();
    let mut session = Session { context: Arc::clone(&context), lines: Lines::default(), taking, room: None };
    let mut close_at = None;
    loop {
        let quiet = async {
            context.stopping.cancelled().await;
            sleep(QUIET).await;
        };
        let closed = async {
            context.closing.cancelled().await;
            sleep(LAST_LOOK).await;
        };
        let is_long = session.room.is_some();
        let stalled = async { if is_long { sleep(PARTIAL_WAIT).await } else { pending().await } };
        if context.closing.is_cancelled()
            && Instant::now() >= *close_at.get_or_insert_with(|| Instant::now() + LAST_LOOK)
        {
            break;
        }
        let read = tokio::select! {
            biased;
            read = poll_fn(|cx| session.read(cx, &mut polled)) => read,
            () = closed => break,
            () = quiet => break,
            () = stalled => {
                session.give_up();
                continue;
            }
        };
        let Ok(1..) = read else { break };
        session.make_room();
    }
    session.finish();
}

impl Session {
    /// One read, and everything in it. Holds a buffer only while there is something to read.
    fn read(&mut self, cx: &mut TaskContext<'_>, polled: &mut Polled) -> Poll<io::Result<usize>> {
        let mut buffer = self.context.buffers.take();
        let read = polled.poll_read(cx, &mut buffer);
        if let Poll::Ready(Ok(read)) = read {
            self.take(&buffer[..read]);
        }
        self.context.buffers.give_back(buffer);
        read
    }

    fn take(&mut self, bytes: &[u8]) {
        let now = EventTime::now();
        let Self { context, lines, taking, .. } = self;
        let mut pass = context.input.route.begin();
        lines.feed(bytes, |line| match line {
            Ok(line) => taking.take(line, &mut pass, now),
            Err(broken) => context.input.meters.broken(broken.label()),
        });
        context.input.meters.bytes.inc_by(bytes.len() as u64);
        context.input.meters.records.inc_by(pass.records());
    }

    /// A long line takes a room if there is one, and is given up if there is none.
    fn make_room(&mut self) {
        if self.lines.pending_bytes() <= PARTIAL_BYTES_FREE {
            self.room = None;
        } else if self.room.is_none() {
            self.room = self.context.partials.try_room();
            if self.room.is_none() {
                self.give_up();
            }
        }
    }

    fn give_up(&mut self) {
        self.room = None;
        let broken = self.lines.give_up(Broken::NoRoom);
        self.context.input.meters.broken(broken.label());
    }

    fn finish(&mut self) {
        let now = EventTime::now();
        let Self { context, lines, taking, .. } = self;
        let mut pass = context.input.route.begin();
        lines.finish(|line| taking.take(line, &mut pass, now));
        context.input.meters.records.inc_by(pass.records());
    }
}
