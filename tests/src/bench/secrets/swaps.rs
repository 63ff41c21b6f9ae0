//! How long a rotation takes from the service to the files.
//!
//! Promises: the end is what a program sees that watches the folder; after each, the file is read and compared.
//! Never: counts the second for which the agent lets a refresh wait behind the one before: there is a pause in between.

use std::{
    io::Write,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use serde_json::{Value, json};

use super::{
    super::plan::{print, spread},
    BYTES, Options,
    rig::Rig,
};

/// Between rotations. The agent grants a refresh a second.
const PAUSE: Duration = Duration::from_millis(1_100);

/// One round: milliseconds from what was seen, and from what was asked, to the swap.
#[derive(Debug)]
pub(super) struct Round {
    seen: Vec<f64>,
    asked: Vec<f64>,
}

/// Rotates secrets, one after another.
pub(super) fn measure(options: &Options, own: &str, round: usize, out: &mut dyn Write) -> anyhow::Result<Round> {
    let rig = Rig::start(own, options.secrets, BYTES[1], &options.wait)?;
    let watch = inotify::init(CreateFlags::CLOEXEC).context("cannot watch")?;
    inotify::add_watch(&watch, rig.secrets(), WatchFlags::MOVED_TO).context("cannot watch the folder")?;
    let mut times = Round { seen: Vec::new(), asked: Vec::new() };
    for rotation in 1..=options.rotations {
        thread::sleep(PAUSE);
        let (number, version) = (rotation % options.secrets, format!("v{rotation}"));
        rig.aws.forget();
        rig.rotate(number, &version);
        let asked = Instant::now();
        let (swapped, refreshed) = thread::scope(|scope| {
            let swapped = scope.spawn(|| swapped(&watch));
            let refreshed = rig.refresh(number);
            (swapped.join().expect("the watch does not panic"), refreshed)
        });
        refreshed?;
        let swapped = swapped?;
        rig.shows(number, &version)?;
        let requests = rig.aws.requests();
        let seen = requests.iter().rev().find(|request| request.operation == "DescribeSecret");
        let seen = seen.context("nobody looked")?.at;
        let milliseconds = |since: Instant| swapped.saturating_duration_since(since).as_secs_f64() * 1e3;
        times.seen.push(milliseconds(seen));
        times.asked.push(milliseconds(asked));
    }
    rig.aws.assert_no_violations();
    times.seen.sort_by(f64::total_cmp);
    times.asked.sort_by(f64::total_cmp);
    print(
        out,
        &json!({
            "bench": "secrets", "case": "swap", "round": round, "secrets": options.secrets, "rotations": options.rotations,
            "wait": options.wait, "seen_p50_ms": percentile(&times.seen, 50), "seen_p99_ms": percentile(&times.seen, 99),
            "asked_p50_ms": percentile(&times.asked, 50), "asked_p99_ms": percentile(&times.asked, 99),
        }),
    )?;
    Ok(times)
}

/// The figures of all rounds.
pub(super) fn summary(rounds: &[Round]) -> Value {
    let of = |times: fn(&Round) -> &Vec<f64>, percent| {
        spread(&rounds.iter().map(|round| percentile(times(round), percent)).collect::<Vec<_>>())
    };
    json!({
        "seen_p50_ms": of(|round| &round.seen, 50), "seen_p99_ms": of(|round| &round.seen, 99),
        "asked_p50_ms": of(|round| &round.asked, 50), "asked_p99_ms": of(|round| &round.asked, 99),
    })
}

/// Waits for the rename of `..data`.
fn swapped(watch: &OwnedFd) -> anyhow::Result<Instant> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 4_096];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    loop {
        let event = reader.next().context("the watch ended")?;
        let is_data = event.file_name().is_some_and(|name| name.to_bytes() == b"..data");
        if is_data && event.events().contains(ReadFlags::MOVED_TO) {
            return Ok(Instant::now());
        }
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
