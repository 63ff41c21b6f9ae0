//! The machine's floor for segments: the same work with nothing around it, measured in the same run.
//!
//! Promises: CPU microseconds per segment of what no relay can leave out: one system call that reads a datagram, one pass that escapes the
//! document into a request of fifty, SHA-256 of the request, and writing it to a loopback connection. One thread.
//! Never: checks a header or UTF-8, waits, or speaks HTTP.

use std::{hint::black_box, io, net::UdpSocket, time::Duration};

use aws_lc_rs::digest;

use super::load;
use crate::bench::{
    floor::{step, write_cost},
    process::thread_cpu,
};

/// Documents of a request.
const DOCUMENTS: usize = 50;
/// Datagrams that the kernel's usual buffer holds.
const BURST: usize = 50;
/// CPU time that reading is repeated for.
const STEP: Duration = Duration::from_millis(60);

/// CPU microseconds per segment.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Floor {
    read: f64,
    escape: f64,
    hash: f64,
    write: f64,
    total: f64,
}

/// Measures all steps; takes half a second.
pub(super) fn measure() -> io::Result<Floor> {
    let segment = load::segment(1);
    let mut body = Vec::with_capacity(DOCUMENTS * 2_000);
    let escape = step(|| {
        body.clear();
        for _ in 0..DOCUMENTS {
            body.extend_from_slice(b"\"");
            for &byte in &segment {
                if matches!(byte, b'"' | b'\\') {
                    body.push(b'\\');
                }
                body.push(byte);
            }
            body.extend_from_slice(b"\",");
        }
        black_box(&body);
        DOCUMENTS as u64
    });
    let hash = step(|| {
        black_box(digest::digest(&digest::SHA256, &body));
        DOCUMENTS as u64
    });
    let write = write_cost(&body)? / DOCUMENTS as f64;
    let read = read(&segment)?;
    let [read, escape, hash, write] = [read, escape, hash, write].map(|nanos| nanos / 1_000.0);
    let total = read + escape + hash + write;
    let [read, escape, hash, write, total] =
        [read, escape, hash, write, total].map(|cost| (cost * 100.0).round() / 100.0);
    Ok(Floor { read, escape, hash, write, total })
}

/// Nanoseconds to read a datagram that is there. Looking at the clock is taken off.
fn read(segment: &[u8]) -> io::Result<f64> {
    let (from, to) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
    from.connect(to.local_addr()?)?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut used, mut clock, mut count) = (Duration::ZERO, Duration::ZERO, 0);
    while used < STEP {
        for _ in 0..BURST {
            from.send(segment)?;
        }
        let (before, begun) = (thread_cpu(), thread_cpu());
        for _ in 0..BURST {
            black_box(to.recv(&mut buffer)?);
        }
        used += thread_cpu() - begun;
        clock += begun - before;
        count += BURST;
    }
    Ok((used.saturating_sub(clock)).as_nanos() as f64 / count as f64)
}
