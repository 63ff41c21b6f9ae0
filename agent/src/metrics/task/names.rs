//! Which metrics figures become.
//!
//! Promises: our own names by default; Container Insights' own, in its namespace, for whoever asks, since both at once would be
//! counted twice where Container Insights is on.
//! Never: tells a figure that is not known, or names a task: each deployment would make new metrics, which are paid for.

use super::{document::Task, measure::Figures};
use crate::{aws::Unit, metrics::store::key::Kind};

/// Whose names are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Names {
    /// Our own.
    #[default]
    Own,
    /// Container Insights'.
    Insights,
}

/// One metric.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// Its name in CloudWatch.
    pub name: String,
    /// Its name on `/metrics`.
    pub shown: String,
    /// Its unit.
    pub unit: Unit,
    /// A gauge tells how much it is now, a counter how much there was since the look before.
    pub kind: Kind,
    /// Its value.
    pub value: f64,
}

/// Bytes in a megabyte and a gigabyte as ECS and Container Insights have them.
const MEGABYTE: f64 = 1_048_576.0;
const GIGABYTE: f64 = 1024.0 * MEGABYTE;

/// What one of the figures is called: in CloudWatch, on `/metrics`.
struct Called {
    name: &'static str,
    shown: &'static str,
    unit: &'static str,
}

const fn called(name: &'static str, shown: &'static str, unit: &'static str) -> Called {
    Called { name, shown, unit }
}

impl Figures {
    /// The metrics of a container, if `is_container`, or of the task.
    pub fn metrics(&self, names: Names, is_container: bool) -> impl Iterator<Item = Metric> {
        let share = |part: Option<f64>, of: Option<f64>| Some(100.0 * part? / of?);
        let scaled = |value: Option<f64>, by: f64| value.map(|value| value / by);
        let gauges = [
            (called("CpuUtilized", "cpu_utilized_units", "None"), self.processor),
            (called("CpuReserved", "cpu_reserved_units", "None"), self.processor_reserved),
            (
                called("CpuUtilization", "cpu_utilization_percent", "Percent"),
                share(self.processor, self.processor_reserved),
            ),
            (called("MemoryUtilized", "memory_utilized_megabytes", "Megabytes"), scaled(self.memory, MEGABYTE)),
            (
                called("MemoryReserved", "memory_reserved_megabytes", "Megabytes"),
                scaled(self.memory_reserved, MEGABYTE),
            ),
            (
                called("MemoryUtilization", "memory_utilization_percent", "Percent"),
                share(self.memory, self.memory_reserved),
            ),
            (
                called("EphemeralStorageUtilized", "ephemeral_storage_utilized_gigabytes", "Gigabytes"),
                scaled(self.storage, GIGABYTE),
            ),
            (
                called("EphemeralStorageReserved", "ephemeral_storage_reserved_gigabytes", "Gigabytes"),
                scaled(self.storage_reserved, GIGABYTE),
            ),
            (
                called("EphemeralStorageUtilization", "ephemeral_storage_utilization_percent", "Percent"),
                share(self.storage, self.storage_reserved),
            ),
            (called("RestartCount", "restarts", "Count"), self.restarts),
        ];
        let bytes = [
            (called("NetworkRxBytes", "network_received_bytes", "Bytes"), self.received),
            (called("NetworkTxBytes", "network_sent_bytes", "Bytes"), self.sent),
            (called("StorageReadBytes", "storage_read_bytes", "Bytes"), self.read),
            (called("StorageWriteBytes", "storage_written_bytes", "Bytes"), self.written),
        ];
        let seconds = self.seconds.filter(|seconds| *seconds > 0.0);
        let bytes = bytes.into_iter().map(move |(called, value)| match names {
            // Container Insights tells of the network how fast it was.
            Names::Insights if called.name.starts_with("Network") => {
                let called = Called { unit: "Bytes/Second", ..called };
                (called, Kind::Gauge, value.zip(seconds).map(|(value, seconds)| value / seconds))
            }
            _ => (called, Kind::Counter, value),
        });
        let all = gauges.into_iter().map(|(called, value)| (called, Kind::Gauge, value)).chain(bytes);
        all.filter_map(move |(called, kind, value)| {
            let value = value.filter(|value| value.is_finite())?;
            let name = match names {
                Names::Own => called.name.to_owned(),
                Names::Insights => insights(called.name, is_container),
            };
            let of = if is_container { "container" } else { "task" };
            let shown = format!("ecs_{of}_{}", called.shown);
            Some(Metric { name, shown, unit: Unit::named(called.unit).unwrap_or_default(), kind, value })
        })
    }
}

/// The name that Container Insights gives to one of ours.
fn insights(name: &str, is_container: bool) -> String {
    let begins = match (name, is_container) {
        ("RestartCount", _) => "",
        (_, true) => "Container",
        ("CpuUtilization" | "MemoryUtilization" | "EphemeralStorageUtilization", false) => "Task",
        (_, false) => "",
    };
    format!("{begins}{name}")
}

/// The sets of dimensions of a metric of the task, or of the container of this name.
pub fn dimensions<'a>(task: &'a Task, names: Names, container: Option<&'a str>) -> Vec<Vec<(&'static str, &'a str)>> {
    let given = |name: &'static str, value: &'a str| (!value.is_empty()).then_some((name, value));
    let cluster = given("ClusterName", &task.cluster);
    let container = container.map(|name| ("ContainerName", name));
    let (service, family) = (given("ServiceName", &task.service_name), given("TaskDefinitionFamily", &task.family));
    let set =
        |owner: Option<(&'static str, &'a str)>| [cluster, owner, container].into_iter().flatten().collect::<Vec<_>>();
    match names {
        // A task without a service is known by its family.
        Names::Own => vec![set(service.or(family))],
        Names::Insights => {
            let mut sets: Vec<_> = cluster.into_iter().map(|cluster| vec![cluster]).collect();
            sets.extend([service, family].into_iter().flatten().map(|owner| set(Some(owner))));
            sets
        }
    }
}
