//! From two looks at the stats to what was used between them.
//!
//! ```text
//! processor = (total now - total before) / (time now - time before)      in vCPU; units are 1024 of them
//! memory    = usage - pages of files that the kernel would give back
//! network   = what came and went since the look before, all interfaces; once for the task if the containers share it
//! storage   = what was read and written since the look before, all devices
//! ```
//!
//! Promises: pure, and the same whatever the order of the containers; a total that fell is that of a container which was started
//! again, so that all of it is new; the first look tells nothing but memory, and the processor's share of Docker's own two looks.
//! Never: takes what a container had used before we came for what it uses now.

use std::collections::HashMap;

use jiff::Timestamp;

use super::document::{Container, ContainerStats, NetworkStats, Stats, Task};

/// Units of processor in a vCPU.
const UNITS: f64 = 1024.0;
/// Bytes in a MiB, in which limits are.
pub(super) const MIB: f64 = 1_048_576.0;
/// A limit from here on is none: the kernel's largest number, rounded down to a page.
const LIMIT_MAX: u64 = 1 << 60;

/// Keeps the last sample of each container.
#[derive(Debug, Default)]
pub struct Meter {
    before: HashMap<String, Sample>,
}

/// What one look at the stats of a container tells.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Sample {
    /// Nanoseconds since 1970.
    at: i128,
    processor_ns: Option<u64>,
    received: u64,
    sent: u64,
    read: u64,
    written: u64,
}

/// What was used. What is not known is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Seconds since the look before.
    pub seconds: Option<f64>,
    /// Units of processor in use, 1024 for each vCPU.
    pub processor: Option<f64>,
    /// Units of processor that may be used.
    pub processor_reserved: Option<f64>,
    /// Bytes of memory in use.
    pub memory: Option<f64>,
    /// Bytes of memory that may be used.
    pub memory_reserved: Option<f64>,
    /// Bytes that came over the network since the look before.
    pub received: Option<f64>,
    /// Bytes that went.
    pub sent: Option<f64>,
    /// Bytes that were read from devices since the look before.
    pub read: Option<f64>,
    /// Bytes that were written.
    pub written: Option<f64>,
    /// Bytes of the task's volume in use.
    pub storage: Option<f64>,
    /// Bytes of the task's volume.
    pub storage_reserved: Option<f64>,
    /// How often containers were started again.
    pub restarts: Option<f64>,
}

/// What a look told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Measured {
    /// Of the task as a whole.
    pub task: Figures,
    /// Of each container that the user put there, by name.
    pub containers: Vec<(String, Figures)>,
    /// Containers that run, and of which nothing is known at this look.
    pub silent: usize,
}

impl Meter {
    /// Tells what was used since the look before.
    pub fn measure(&mut self, task: &Task, stats: &Stats) -> Measured {
        let shares_interface = task.shares_interface();
        let mut measured = Measured::default();
        let mut sum = Figures::default();
        let mut now = HashMap::new();
        for container in &task.containers {
            let stats = stats.containers.get(&container.docker_id);
            let sample = stats.and_then(Sample::of);
            let (Some(stats), Some(sample)) = (stats, sample) else {
                measured.silent += usize::from(container.is_users() && container.is_running());
                // Its next look is compared with its last one, unless it ended.
                if let Some(before) = self.before.get(&container.docker_id).filter(|_| container.is_running()) {
                    now.insert(container.docker_id.clone(), *before);
                }
                continue;
            };
            let before = self.before.get(&container.docker_id).copied().filter(|before| before.at < sample.at);
            let mut figures = used(stats, sample, before);
            now.insert(container.docker_id.clone(), sample);
            sum.seconds = larger(sum.seconds, figures.seconds);
            // The interface may belong to a container of ECS' own, which has the addresses of all.
            match shares_interface {
                true => {
                    sum.received = larger(sum.received, figures.received.take());
                    sum.sent = larger(sum.sent, figures.sent.take());
                }
                false => {
                    sum.received = added(sum.received, figures.received);
                    sum.sent = added(sum.sent, figures.sent);
                }
            }
            if container.is_users() {
                reserve(&mut figures, container, task, stats);
                sum.processor = added(sum.processor, figures.processor);
                sum.memory = added(sum.memory, figures.memory);
                sum.read = added(sum.read, figures.read);
                sum.written = added(sum.written, figures.written);
                sum.restarts = added(sum.restarts, figures.restarts);
                measured.containers.push((container.name.clone(), figures));
            }
        }
        self.before = now;
        measured.task = whole(sum, task, &measured);
        measured
    }
}

impl Sample {
    /// `None` if it was not read yet.
    fn of(stats: &ContainerStats) -> Option<Self> {
        let at = instant(&stats.read)?;
        let interfaces = stats.networks.values();
        let sum = |of: fn(&NetworkStats) -> u64| interfaces.clone().map(of).fold(0_u64, u64::saturating_add);
        Some(Self {
            at,
            processor_ns: stats.cpu_stats.cpu_usage.total_usage,
            received: sum(|network| network.rx_bytes),
            sent: sum(|network| network.tx_bytes),
            read: stats.blkio_stats.done("read"),
            written: stats.blkio_stats.done("write"),
        })
    }
}

/// Nanoseconds since 1970; `None` for the year 1, which Docker writes for never.
pub(super) fn instant(text: &str) -> Option<i128> {
    let at: Timestamp = text.parse().ok()?;
    Some(at.as_nanosecond()).filter(|at| *at > 0)
}

/// What a container used between two looks.
fn used(stats: &ContainerStats, sample: Sample, before: Option<Sample>) -> Figures {
    let since = |now: u64, then: fn(&Sample) -> u64| {
        before.map(|before| match now.checked_sub(then(&before)) {
            Some(more) => more as f64,
            // It was started again.
            None => now as f64,
        })
    };
    let has_network = !stats.networks.is_empty();
    let has_storage = !stats.blkio_stats.io_service_bytes_recursive.is_empty();
    Figures {
        seconds: before.map(|before| (sample.at - before.at) as f64 / 1e9),
        processor: processor(stats, sample, before).map(|processors| processors * UNITS),
        memory: memory(stats),
        received: since(sample.received, |before| before.received).filter(|_| has_network),
        sent: since(sample.sent, |before| before.sent).filter(|_| has_network),
        read: since(sample.read, |before| before.read).filter(|_| has_storage),
        written: since(sample.written, |before| before.written).filter(|_| has_storage),
        ..Figures::default()
    }
}

/// Processors in use between our own two looks; at the first, or after a restart, between those of Docker, a second apart.
fn processor(stats: &ContainerStats, sample: Sample, before: Option<Sample>) -> Option<f64> {
    let total = sample.processor_ns?;
    let rate = |total_before: u64, at_before: i128| {
        let used = total.checked_sub(total_before)? as f64;
        (sample.at > at_before).then(|| used / (sample.at - at_before) as f64)
    };
    let ours = before.and_then(|before| rate(before.processor_ns?, before.at));
    ours.or_else(|| rate(stats.precpu_stats.cpu_usage.total_usage?, instant(&stats.preread)?))
}

/// Bytes that the kernel would not give back. Both versions of cgroups count pages of files in `usage`.
fn memory(stats: &ContainerStats) -> Option<f64> {
    let usage = stats.memory_stats.usage?;
    let parts = stats.memory_stats.stats;
    let files = parts.cache.or(parts.inactive_file).filter(|files| *files < usage).unwrap_or(0);
    Some((usage - files) as f64)
}

/// What a container may use: what was set for it, else for the task, else (memory) what Docker knows.
fn reserve(figures: &mut Figures, container: &Container, task: &Task, stats: &ContainerStats) {
    let units = positive(container.limits.cpu).or(positive(task.limits.cpu * UNITS));
    let limit = stats.memory_stats.limit.filter(|limit| (1..LIMIT_MAX).contains(limit)).map(|limit| limit as f64);
    figures.processor_reserved = units;
    figures.memory_reserved = positive(container.limits.memory * MIB).or(positive(task.limits.memory * MIB)).or(limit);
    figures.restarts = container.restart_count.filter(|count| *count >= 0.0);
}

/// What the task used: nothing of what a silent container may have a part in.
fn whole(mut sum: Figures, task: &Task, measured: &Measured) -> Figures {
    if measured.silent > 0 {
        let Figures { seconds, received, sent, restarts, .. } = sum;
        sum = Figures { seconds, received, sent, restarts, ..Figures::default() };
    }
    let containers = || task.containers.iter().filter(|container| container.is_users());
    // Half of a sum is none: a container without a limit may use anything.
    let all =
        |of: fn(&Container) -> f64| containers().try_fold(0.0, |sum, container| Some(sum + positive(of(container))?));
    sum.processor_reserved =
        positive(task.limits.cpu * UNITS).or_else(|| all(|container| container.limits.cpu).and_then(positive));
    sum.memory_reserved = positive(task.limits.memory * MIB)
        .or_else(|| all(|container| container.limits.memory * MIB).and_then(positive));
    let volume = task.ephemeral_storage_metrics;
    sum.storage = volume.utilized.filter(|used| *used >= 0.0).map(|used| used * MIB);
    sum.storage_reserved = volume.reserved.and_then(positive).map(|size| size * MIB);
    sum
}

fn positive(number: f64) -> Option<f64> {
    (number > 0.0 && number.is_finite()).then_some(number)
}

pub(super) fn added(sum: Option<f64>, more: Option<f64>) -> Option<f64> {
    match (sum, more) {
        (Some(sum), Some(more)) => Some(sum + more),
        (one, other) => one.or(other),
    }
}

pub(super) fn larger(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        (one, other) => one.or(other),
    }
}
