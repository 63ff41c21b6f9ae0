//! CPU time of the hot path without sockets: forward bytes in, `PutLogEvents` bodies out.
//!
//! ```text
//! cargo bench -p pillion --bench encode
//! ```
//!
//! Promises: CPU time of this thread in nanoseconds from the kernel's accounting, the median of five rounds.
//! Never: touches the network; batches are given up as memory fills.

mod records;

use std::io::Write;

use pillion::logs::forward::frame::Finder;

use records::{RECORDS, chunk, median, per_record, route, router};

const ROUNDS: usize = 5;

fn main() {
    let chunk = chunk();
    let router = router();
    let mut finding = Vec::new();
    let mut all = Vec::new();
    for _ in 0..ROUNDS {
        finding.push(per_record(|| find(&chunk)));
        all.push(per_record(|| route(&router, &chunk)));
    }
    let line = format!(
        "find the end of a record: {:.1} ns\nfind, parse, filter, encode a record of {} bytes: {:.1} ns\n",
        median(&mut finding),
        chunk.len() / RECORDS,
        median(&mut all),
    );
    std::io::stdout().write_all(line.as_bytes()).expect("stdout takes text");
}

fn find(chunk: &[u8]) {
    let mut finder = Finder::default();
    let mut rest = chunk;
    while let Some(length) = finder.find(rest, usize::MAX).expect("well-formed") {
        rest = &rest[length..];
    }
}
