//! Runs the cells of a scenario in interleaved rounds and sums them up.
//!
//! Promises: within a round, agent, peer, bare reader and floor are measured one right after the other for every load,
//! and the agent and the peer take turns at going first, because a shared machine drifts by 1.5x within minutes. A
//! ratio is taken within its round, and the median of the rounds is reported with the extremes.
//! Never: drops a round.

use std::{io::Write, path::Path, process::Command};

use anyhow::{Context as _, ensure};
use serde::Serialize;
use serde_json::{Value, json};

use super::{
    cell::{self, Cell, Order, Who},
    floor::Floor,
    options::{Options, Scenario},
    sender::{Load, Shape},
};

/// Measures everything that `options` ask for; one line of JSON per cell and one at the end to `out`. `bench` is the
/// bench's own program: the bare reader is a child of it.
pub fn run(options: &Options, bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut options = options.clone();
    if options.under_test.is_none() && options.scenario != Scenario::Floor {
        options.under_test = Some(build_own(bench)?);
    }
    let options = &options;
    let mut cells = Vec::new();
    let mut floors = Vec::new();
    for round in 1..=options.rounds {
        if matches!(options.scenario, Scenario::ForwardCloudwatch | Scenario::Floor) {
            let floor = Floor::measure().context("cannot measure the floor")?;
            print(out, &json!({"bench": "floor", "round": round, "ns_per_record": floor}))?;
            floors.push(floor.total);
        }
        if options.scenario == Scenario::Floor {
            continue;
        }
        for load in loads(options) {
            for cell in turn(options, bench, round, load)? {
                print(out, &cell)?;
                cells.push(cell);
            }
        }
    }
    print(out, &summary(options, &cells, &floors))?;
    Ok(())
}

/// Builds this tree's pillion in release and gives its command. Does little when it is up to date.
pub fn build_own(bench: &Path) -> anyhow::Result<String> {
    let built = Command::new("cargo").args(["build", "--release", "--quiet", "--package", "pillion"]).status();
    let built = built.context("cannot run cargo to build pillion; name another agent with --under-test")?;
    ensure!(built.success(), "pillion does not build; name another agent with --under-test");
    Ok(format!("{} -c {{config}}", bench.with_file_name("pillion").display()))
}

/// Writes one line of JSON.
pub fn print(out: &mut dyn Write, line: &impl Serialize) -> anyhow::Result<()> {
    writeln!(out, "{}", serde_json::to_string(line)?)?;
    Ok(out.flush()?)
}

fn loads(options: &Options) -> Vec<Load> {
    let mut loads = Vec::new();
    for &shape in &options.shapes {
        for &rate in &options.rates {
            loads.push(Load { shape, rate, time: options.time, records_max: options.records });
        }
    }
    loads
}

/// Measures one load on everyone.
fn turn(options: &Options, bench: &Path, round: usize, load: Load) -> anyhow::Result<Vec<Cell>> {
    let name = options.scenario.label();
    let bare = format!("{} bare-reader {{socket}}", bench.display());
    let order = |who, command| Order { who, command, load, sink_speed: options.sink_speed };
    let mut orders = Vec::new();
    orders.extend(options.under_test.as_deref().map(|command| order(Who::Agent, command)));
    orders.extend(options.peer.as_deref().map(|command| order(Who::Peer, command)));
    if round.is_multiple_of(2) {
        orders.reverse();
    }
    orders.push(order(Who::Bare, &bare));
    orders.iter().map(|order| cell::measure(name, round, order)).collect()
}

fn summary(options: &Options, cells: &[Cell], floors: &[f64]) -> Value {
    let mut lines = Vec::new();
    for load in loads(options) {
        if options.scenario == Scenario::Floor {
            break;
        }
        lines.push(summary_of(load.shape, load.rate, cells, floors));
    }
    json!({
        "bench": options.scenario.label(),
        "summary": true,
        "rounds": options.rounds,
        "seconds": options.time.as_secs_f64(),
        "under_test": options.under_test,
        "peer": options.peer,
        "sink_speed": options.sink_speed,
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "floor_ns_per_record": spread(floors),
        "loads": lines,
    })
}

fn summary_of(shape: Shape, rate: Option<u64>, cells: &[Cell], floors: &[f64]) -> Value {
    let mine = |who: Who| -> Vec<&Cell> {
        cells.iter().filter(|cell| cell.who == who && cell.shape == shape.label() && cell.rate == rate).collect()
    };
    let (agent, peer, bare) = (mine(Who::Agent), mine(Who::Peer), mine(Who::Bare));
    let to = |others: &[&Cell], figure: fn(&Cell) -> f64| -> Vec<f64> {
        others.iter().zip(&agent).map(|(other, agent)| figure(other) / figure(agent)).collect()
    };
    let cpu = |cell: &Cell| cell.cpu_ns_per_record;
    let to_floor: Vec<_> = floors.iter().zip(&agent).map(|(floor, agent)| floor / cpu(agent)).collect();
    json!({
        "shape": shape.label(),
        "rate": rate,
        "times_the_peer": spread(&to(&peer, cpu)),
        "of_the_floor": spread(&to_floor),
        "send_time_to_bare": spread(&to(&bare, |cell| 1.0 / cell.send_ms.max(0.001))),
        "agent": figures(&agent),
        "peer": figures(&peer),
        "bare": figures(&bare),
    })
}

fn figures(cells: &[&Cell]) -> Value {
    if cells.is_empty() {
        return Value::Null;
    }
    let spread_of = |figure: fn(&Cell) -> f64| spread(&cells.iter().map(|cell| figure(cell)).collect::<Vec<_>>());
    let sum_of = |figure: fn(&Cell) -> u64| cells.iter().map(|cell| figure(cell)).sum::<u64>();
    json!({
        "cpu_ns_per_record": spread_of(|cell| cell.cpu_ns_per_record),
        "records_per_cpu_second": spread_of(|cell| cell.records_per_cpu_second),
        "records_per_second": spread_of(|cell| cell.records_per_second),
        "rss_idle_kb": spread_of(|cell| cell.rss_idle_kb as f64),
        "rss_peak_kb": spread_of(|cell| cell.rss_peak_kb as f64),
        "start_to_bound_ms": spread_of(|cell| cell.start_to_bound_ms),
        "blocked_ms": spread_of(|cell| cell.blocked_ms),
        "blocked_worst_ms": spread_of(|cell| cell.blocked_worst_ms),
        "send_ms": spread_of(|cell| cell.send_ms),
        "latency_p50_ms": spread_of(|cell| cell.latency_p50_ms),
        "latency_p99_ms": spread_of(|cell| cell.latency_p99_ms),
        "sent": sum_of(|cell| cell.sent),
        "lost": sum_of(|cell| cell.lost),
        "lost_counted": sum_of(|cell| cell.lost_counted.unwrap_or(0)),
        "duplicated": sum_of(|cell| cell.duplicated),
        "reordered": sum_of(|cell| cell.reordered),
        "closed": sum_of(|cell| cell.closed),
        "violations": sum_of(|cell| cell.violations),
    })
}

/// Least, median and most.
pub fn spread(numbers: &[f64]) -> Value {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some((&least, &most)) = sorted.first().zip(sorted.last()) else { return Value::Null };
    let middle = sorted.len() / 2;
    let median = if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
    let round = |number: f64| (number * 1_000.0).round() / 1_000.0;
    json!({"min": round(least), "median": round(median), "max": round(most)})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_least_median_and_most() {
        assert_eq!(spread(&[3.0, 1.0, 2.0]), json!({"min": 1.0, "median": 2.0, "max": 3.0}));
        assert_eq!(spread(&[4.0, 1.0]), json!({"min": 1.0, "median": 2.5, "max": 4.0}));
        assert_eq!(spread(&[]), Value::Null);
    }
}
