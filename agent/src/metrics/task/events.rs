//! Container Insights' performance events: what a look told, as log events of the types `Task` and `Container`.
//!
//! ```text
//! {"Version":"0","Type":"Container","ContainerName":"app","TaskId":..,"TaskDefinitionFamily":..,"TaskDefinitionRevision":..,"ServiceName":..,
//!  "ClusterName":..,"Image":..,"ContainerKnownStatus":"RUNNING","Timestamp":1654023960000,"CpuUtilized":24.9,"CpuReserved":256,..}
//! {"Version":"0","Type":"Task",..,"CloudWatchMetrics":[{"Namespace":"ECS/ContainerInsights","Metrics":[{"Name":"CpuUtilized","Unit":"None"},..],
//!  "Dimensions":[["ClusterName"],["ClusterName","ServiceName"],["ClusterName","TaskDefinitionFamily"]]}]}
//! ```
//!
//! They are those that AWS describes ("Container Insights performance log events for Amazon ECS"), with the same meanings: bytes of the network are
//! a rate, bytes of storage and packets are totals since the container began, the time is the minute's. `CloudWatchMetrics` is at the top, which is
//! the embedded metric format's older form.
//!
//! Promises: pure; a look that has none before it makes no event, since nothing is known then of what was used; what is not known is missing, in the
//! metrics too.
//! Never: makes an event of a container of ECS' own, or of one that tells nothing.

use super::{
    document::{Container, ContainerStats, NetworkStats, Stats, Task},
    measure::{Figures, MIB, Measured, instant, larger},
};
use crate::{emf::Made, metrics::out::cloudwatch::Json};

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;

/// A number of an event, and the unit of its metric if it is one.
struct Number {
    name: &'static str,
    unit: Option<&'static str>,
    value: Option<f64>,
}

/// Totals since a container began.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    read: Option<f64>,
    written: Option<f64>,
    /// Packets, errors, and what was dropped; first of what came, then of what went.
    packets: [Option<f64>; 6],
}

/// The events of one look, which was `now` (milliseconds since 1970). CloudWatch makes metrics of the task's, in this namespace, if there is one.
pub fn events((task, stats): (&Task, &Stats), measured: &Measured, now: i64, namespace: Option<&str>) -> Vec<Made> {
    if measured.task.seconds.is_none() {
        return Vec::new();
    }
    let milliseconds = now - now.rem_euclid(MINUTE);
    let totals = |container: &Container| stats.containers.get(&container.docker_id).map(Totals::of);
    let mut of_task = Totals::default();
    for container in &task.containers {
        of_task = of_task.with(totals(container).unwrap_or_default(), container.is_users(), task.shares_interface());
    }
    if measured.silent > 0 {
        (of_task.read, of_task.written) = (None, None);
    }
    let mut made = vec![of_the_task((task, &measured.task), of_task, milliseconds, namespace)];
    for (name, figures) in &measured.containers {
        let container = task.containers.iter().find(|one| one.name == *name && one.is_users());
        let Some((container, mut totals)) = container.and_then(|one| Some((one, totals(one)?))) else { continue };
        if task.shares_interface() {
            totals.packets = Default::default();
        }
        made.push(of_container((task, container), figures, totals, milliseconds));
    }
    made.into_iter().map(|text| Made { milliseconds, text }).collect()
}

fn of_the_task(
    (task, figures): (&Task, &Figures),
    totals: Totals,
    milliseconds: i64,
    namespace: Option<&str>,
) -> String {
    // `arn:aws:ecs:REGION:ACCOUNT:task/..`
    let mut arn = task.arn.split(':').skip(3);
    let (region, account) = (arn.next().unwrap_or_default(), arn.next().unwrap_or_default());
    let mut event = Event::new("Task");
    event.is_of(task);
    event.text("AccountID", account);
    event.text("Region", region);
    event.text("AvailabilityZone", &task.availability_zone);
    event.text("KnownStatus", &task.known_status);
    event.text("LaunchType", &task.launch_type);
    for (name, at) in [
        ("PullStartedAt", instant(&task.pull_started_at)),
        ("PullStoppedAt", instant(&task.pull_stopped_at)),
        ("CreatedAt", created(task)),
        ("StartedAt", started(task)),
    ] {
        if let Some(nanoseconds) = at {
            event.member(name, format_args!("{}", nanoseconds / 1_000_000));
        }
    }
    event.member("Timestamp", format_args!("{milliseconds}"));
    let gigabytes = |bytes: Option<f64>| bytes.map(|bytes| bytes / (1024.0 * MIB));
    let numbers = numbers(figures, totals).into_iter().chain([
        number("EphemeralStorageReserved", Some("Gigabytes"), gigabytes(figures.storage_reserved)),
        number("EphemeralStorageUtilized", Some("Gigabytes"), gigabytes(figures.storage)),
    ]);
    let metrics = event.numbers(numbers);
    if let Some(namespace) = namespace.filter(|_| !metrics.is_empty()) {
        event.metrics(namespace, &metrics, task);
    }
    event.end()
}

/// When the first container of the task was made: when the task itself was, its metadata do not say.
fn created(task: &Task) -> Option<i128> {
    task.containers.iter().filter_map(|container| instant(&container.created_at)).min()
}

/// When the last container of the task was started, if all were. One that was started again says no more when that was for the first time.
fn started(task: &Task) -> Option<i128> {
    let own = task.containers.iter().filter(|container| container.is_users());
    let first = own.filter(|container| container.restart_count.is_none_or(|count| count == 0.0));
    first.map(|container| instant(&container.started_at)).try_fold(None, |last, at| Some(last.max(Some(at?))))?
}

fn of_container(
    (task, container): (&Task, &Container),
    figures: &Figures,
    totals: Totals,
    milliseconds: i64,
) -> String {
    let mut event = Event::new("Container");
    event.text("ContainerName", &container.name);
    event.is_of(task);
    event.text("Image", &container.image);
    event.text("ContainerKnownStatus", &container.known_status);
    event.member("Timestamp", format_args!("{milliseconds}"));
    event.numbers(numbers(figures, totals));
    event.end()
}

/// What both types of events tell.
fn numbers(figures: &Figures, totals: Totals) -> [Number; 14] {
    let rate = |bytes: Option<f64>| Some(bytes? / figures.seconds.filter(|seconds| *seconds > 0.0)?);
    let megabytes = |bytes: Option<f64>| bytes.map(|bytes| bytes / MIB);
    let [came, broken, left_out, went, failed, not_sent] = totals.packets;
    [
        number("CpuUtilized", Some("None"), figures.processor),
        number("CpuReserved", Some("None"), figures.processor_reserved),
        number("MemoryUtilized", Some("Megabytes"), megabytes(figures.memory)),
        number("MemoryReserved", Some("Megabytes"), megabytes(figures.memory_reserved)),
        number("StorageReadBytes", Some("Bytes"), totals.read),
        number("StorageWriteBytes", Some("Bytes"), totals.written),
        number("NetworkRxBytes", Some("Bytes/Second"), rate(figures.received)),
        number("NetworkRxDropped", None, left_out),
        number("NetworkRxErrors", None, broken),
        number("NetworkRxPackets", None, came),
        number("NetworkTxBytes", Some("Bytes/Second"), rate(figures.sent)),
        number("NetworkTxDropped", None, not_sent),
        number("NetworkTxErrors", None, failed),
        number("NetworkTxPackets", None, went),
    ]
}

fn number(name: &'static str, unit: Option<&'static str>, value: Option<f64>) -> Number {
    Number { name, unit, value }
}

impl Totals {
    fn of(stats: &ContainerStats) -> Self {
        let done = |operation: &str| {
            let has_storage = !stats.blkio_stats.io_service_bytes_recursive.is_empty();
            has_storage.then(|| stats.blkio_stats.done(operation) as f64)
        };
        let sum = |of: fn(&NetworkStats) -> u64| {
            let all = stats.networks.values().map(of).fold(0, u64::saturating_add);
            (!stats.networks.is_empty()).then_some(all as f64)
        };
        Self {
            read: done("read"),
            written: done("write"),
            packets: [
                sum(|network| network.rx_packets),
                sum(|network| network.rx_errors),
                sum(|network| network.rx_dropped),
                sum(|network| network.tx_packets),
                sum(|network| network.tx_errors),
                sum(|network| network.tx_dropped),
            ],
        }
    }

    /// With those of another container. An interface that all have is counted once, and storage of the user's containers alone.
    fn with(mut self, other: Self, is_users: bool, shares_interface: bool) -> Self {
        let sum =
            |one: Option<f64>, other: Option<f64>| one.zip(other).map(|(one, other)| one + other).or(one).or(other);
        for (mine, other) in self.packets.iter_mut().zip(other.packets) {
            *mine = if shares_interface { larger(*mine, other) } else { sum(*mine, other) };
        }
        if is_users {
            (self.read, self.written) = (sum(self.read, other.read), sum(self.written, other.written));
        }
        self
    }
}

/// An event while it is written.
struct Event(String);

impl Event {
    fn new(kind: &str) -> Self {
        Self(format!("{{\"Version\":\"0\",\"Type\":\"{kind}\""))
    }

    /// Which task it is of.
    fn is_of(&mut self, task: &Task) {
        self.text("TaskId", task.id());
        self.text("TaskDefinitionFamily", &task.family);
        self.text("TaskDefinitionRevision", &task.revision);
        self.text("ServiceName", &task.service_name);
        self.text("ClusterName", &task.cluster);
    }

    fn text(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            let text = serde_json::to_string(text).expect("a text is JSON");
            self.member(name, format_args!("{text}"));
        }
    }

    fn member(&mut self, name: &str, value: std::fmt::Arguments<'_>) {
        use std::fmt::Write;
        write!(self.0, ",\"{name}\":{value}").expect("a text takes what is written");
    }

    /// Writes those that are known, and tells which of them are metrics.
    fn numbers(&mut self, numbers: impl IntoIterator<Item = Number>) -> Vec<String> {
        let mut metrics = Vec::new();
        for Number { name, unit, value } in numbers {
            let Some(value) = value.filter(|value| value.is_finite()) else { continue };
            self.member(name, format_args!("{}", Json(value)));
            metrics.extend(unit.map(|unit| format!("{{\"Name\":\"{name}\",\"Unit\":\"{unit}\"}}")));
        }
        metrics
    }

    /// What CloudWatch makes metrics of. Each dimension is a member of the event.
    fn metrics(&mut self, namespace: &str, metrics: &[String], task: &Task) {
        let has = |name: &'static str, value: &str| (!value.is_empty()).then_some(name);
        let cluster = has("ClusterName", &task.cluster);
        let owners = [has("ServiceName", &task.service_name), has("TaskDefinitionFamily", &task.family)];
        let sets = cluster.map(|cluster| format!("[\"{cluster}\"]")).into_iter();
        let sets = sets.chain(owners.into_iter().flatten().map(|owner| match cluster {
            Some(cluster) => format!("[\"{cluster}\",\"{owner}\"]"),
            None => format!("[\"{owner}\"]"),
        }));
        let sets: Vec<String> = sets.collect();
        // A set without a dimension is one, too.
        let sets = if sets.is_empty() { "[]".to_owned() } else { sets.join(",") };
        let namespace = serde_json::to_string(namespace).expect("a text is JSON");
        let metrics = metrics.join(",");
        let directive = format_args!("[{{\"Namespace\":{namespace},\"Metrics\":[{metrics}],\"Dimensions\":[{sets}]}}]");
        self.member("CloudWatchMetrics", directive);
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
