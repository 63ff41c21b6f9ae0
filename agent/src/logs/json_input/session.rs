//! One connection that sends JSON objects.
//!
//! Promises: each object becomes a record with the input's tag, at the time it was read; one that is broken is counted and
//! passed over; the connection stays.
//! Never: answers.

use std::{future::poll_fn, sync::Arc, time::Duration};

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Decoder;
use crate::{
    limits::MSGPACK_DEPTH_MAX,
    logs::{
        forward::{
            Meters,
            frame::{Entries, EntryReader},
        },
        record::{EventTime, Record},
        route::Route,
    },
    net::listen::Socket,
};

/// The largest object, in bytes. Fluent Bit's `tcp` input takes 32 KiB unless told otherwise; more does no harm here.
const OBJECT_BYTES_MAX: usize = 1_048_576;
/// Bytes read at once.
const READ_BYTES: usize = 16 * 1024;
/// How long a connection must be quiet, while we stop, before it is closed.
const QUIET: Duration = Duration::from_secs(1);

/// Serves `socket` until it ends or, once `stopping` is cancelled, is quiet.
pub async fn serve(
    socket: Socket,
    route: Arc<Route>,
    meters: Meters,
    stopping: CancellationToken,
    closing: CancellationToken,
) {
    let Ok(mut polled) = socket.polled() else { return };
    let mut decoder = Decoder::new(OBJECT_BYTES_MAX, MSGPACK_DEPTH_MAX);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let quiet = async {
            stopping.cancelled().await;
            sleep(QUIET).await;
        };
        let read = tokio::select! {
            biased;
            read = poll_fn(|cx| polled.poll_read(cx, &mut buffer)) => read,
            () = closing.cancelled() => break,
            () = quiet => break,
        };
        let Ok(read @ 1..) = read else { break };
        take(&mut decoder, &buffer[..read], &route, &meters);
    }
    if let Err(error) = decoder.finish() {
        meters.broken(error.label());
    }
}

fn take(decoder: &mut Decoder, bytes: &[u8], route: &Route, meters: &Meters) {
    let now = EventTime::now();
    // One chunk for all records of a read: `[time, record]`, one after another, with nil for "now".
    let mut packed = Vec::new();
    decoder.feed(bytes, |object| match object {
        Ok(map) => {
            packed.extend([0x92, 0xc0]);
            packed.extend_from_slice(map);
        }
        Err(error) => meters.broken(error.label()),
    });
    let mut pass = route.begin();
    let outcome = pass.push(EntryReader::new(Entries::Packed(&packed)), &mut Record::default(), now);
    debug_assert!(outcome.is_ok(), "the decoder makes whole maps");
    meters.bytes.inc_by(bytes.len() as u64);
    meters.records.inc_by(pass.records());
}
