//! What it costs to take StatsD's lines, and what series weigh.
//!
//! ```text
//! cargo bench -p pillion --bench statsd
//! ```
//!
//! Promises: CPU time of this thread, the median of five rounds, for lines as clients write them: names of 20 to 30 bytes with two tags,
//! counters and gauges mostly, timers with 20,000 different values; packets of 1,432 bytes and of one line. Resident memory is read from
//! the kernel before and after.
//! Never: touches the network; the reading of packets is not in it.

use std::{fs, io::Write as _};

use pillion::metrics::{
    statsd::{
        mapping::Mappings,
        take::{Taker, Tally},
    },
    store::{
        Store,
        policy::{Dimensions, Policy},
    },
};

const ROUNDS: usize = 5;
/// Bytes of a packet, as Datadog's clients fill them over UDP.
const PACKET_BYTES: usize = 1_432;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for series in [100, 10_000, 100_000] {
        for dimensions in [Dimensions::Named(Vec::new()), Dimensions::All] {
            let lines = lines(series);
            let all: Vec<&str> = lines.iter().map(String::as_str).collect();
            let before = resident();
            let (store, taker) = setting(dimensions.clone());
            take(&store, &taker, &packed(&all, PACKET_BYTES));
            let held = resident().saturating_sub(before);
            let mut columns = Vec::new();
            for bytes in [1, PACKET_BYTES] {
                let packets = packed(&all, bytes);
                let rounds = (500_000 / lines.len()).max(1);
                let mut times: Vec<u64> = (0..ROUNDS)
                    .map(|_| {
                        let begun = cpu();
                        for _ in 0..rounds {
                            take(&store, &taker, &packets);
                        }
                        (cpu() - begun) / (rounds * lines.len()) as u64
                    })
                    .collect();
                times.sort_unstable();
                columns.push(times[ROUNDS / 2]);
            }
            let begun = cpu();
            let mut flush = store.flush();
            while flush.next(|_, _| {}) {}
            let flushed = (cpu() - begun) / 1_000;
            let size = store.size();
            writeln!(
                out,
                "{} series, {} metrics: {} ns a line alone, {} ns packed ({:.1} million a CPU-second); {} KiB, {} bytes a series; a flush {flushed} us",
                size.series,
                size.cells,
                columns[0],
                columns[1],
                1e3 / columns[1] as f64,
                held / 1_024,
                held / size.series.max(1),
            )?;
        }
    }
    Ok(())
}

fn setting(dimensions: Dimensions) -> (Store, Taker) {
    let store = Store::default();
    let source = store.source(Policy {
        is_sent: true,
        namespace: "App".into(),
        dimensions,
        fixed: Vec::new(),
        is_high_resolution: false,
        series_max: 1_000_000,
        buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0].into(),
    });
    (store, Taker::new(source, Mappings::default(), true, false))
}

/// A line of each series; one in ten is a timer.
fn lines(series: usize) -> Vec<String> {
    let line = |number: usize| {
        let (route, status) = (number / 5, [200, 201, 404, 500, 503][number % 5]);
        let value = number * 7_919 % 20_000;
        match number % 10 {
            0 => format!("shop.requests.took:{value}.{}|ms|#route:/r{route},status:{status}", number % 100),
            1..=6 => format!("shop.requests.count:1|c|#route:/r{route},status:{status}"),
            _ => format!("shop.requests.open:{value}|g|#route:/r{route},status:{status}"),
        }
    };
    (0..series).map(line).collect()
}

fn packed(lines: &[&str], bytes: usize) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in lines {
        match packets.last_mut() {
            Some(packet) if packet.len() + line.len() < bytes => {
                packet.push('\n');
                packet.push_str(line);
            }
            _ => packets.push((*line).to_owned()),
        }
    }
    packets
}

/// In bursts, as they are read.
fn take(store: &Store, taker: &Taker, packets: &[String]) {
    let mut tally = Tally::default();
    for burst in packets.chunks(64) {
        let mut writing = store.writing(0);
        for packet in burst {
            taker.packet(packet.as_bytes(), &mut writing, &mut tally);
        }
    }
    assert!(tally.samples > 0 && tally.rejected == Tally::default().rejected, "{tally:?}");
}

fn cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec * 1_000_000_000 + time.tv_nsec) as u64
}

fn resident() -> usize {
    let pages = fs::read_to_string("/proc/self/statm").ok().and_then(|text| text.split(' ').nth(1)?.parse().ok());
    pages.unwrap_or(0) * 4_096
}
