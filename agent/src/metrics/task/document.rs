//! The two documents of the metadata endpoint, as far as they matter here.
//!
//! Promises: what is missing or of another type than it should be is missing, and nothing else; an entry of the stats that is no
//! object is counted.
//! Never: keeps more than `CONTAINERS_MAX` containers, or a name that cannot be one.

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// Containers that are looked at. ECS allows ten in a task, and adds a few of its own.
const CONTAINERS_MAX: usize = 64;
/// Bytes of the longest name or id.
const NAME_BYTES_MAX: usize = 255;
/// Entries of block I/O of a container that are looked at: one a device and operation.
const BLOCK_IO_ENTRIES_MAX: usize = 1_024;

/// What `GET /task` tells.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
pub struct Task {
    /// The cluster's name, or its ARN.
    #[serde(deserialize_with = "or_nothing")]
    pub cluster: String,
    /// The service's name; newer agents only.
    #[serde(deserialize_with = "or_nothing")]
    pub service_name: String,
    /// The family of the task definition.
    #[serde(deserialize_with = "or_nothing")]
    pub family: String,
    /// Its revision.
    #[serde(deserialize_with = "text_or_number")]
    pub revision: String,
    /// `arn:aws:ecs:eu-central-1:123456789012:task/shop/0123456789abcdef0123456789abcdef`.
    #[serde(rename = "TaskARN", deserialize_with = "or_nothing")]
    pub arn: String,
    /// Where it runs.
    #[serde(deserialize_with = "or_nothing")]
    pub availability_zone: String,
    /// `RUNNING`, `STOPPED`, ...
    #[serde(deserialize_with = "or_nothing")]
    pub known_status: String,
    /// When its first image was begun to be pulled, in RFC 3339.
    #[serde(deserialize_with = "or_nothing")]
    pub pull_started_at: String,
    /// When all were there.
    #[serde(deserialize_with = "or_nothing")]
    pub pull_stopped_at: String,
    /// `EC2`, `FARGATE`, `EXTERNAL`.
    #[serde(deserialize_with = "or_nothing")]
    pub launch_type: String,
    /// Processors and MiB of the whole task.
    #[serde(deserialize_with = "or_nothing")]
    pub limits: Limits,
    /// MiB of the volume that goes with the task; Fargate only.
    #[serde(deserialize_with = "or_nothing")]
    pub ephemeral_storage_metrics: EphemeralStorage,
    /// All containers, those of ECS itself too.
    #[serde(deserialize_with = "those_that_are")]
    pub containers: Vec<Container>,
}

/// What a task or a container may use. For a task the processor is in vCPU, for a container in units of 1/1024.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Limits {
    /// Processor; 0 if nothing was set.
    #[serde(rename = "CPU", deserialize_with = "or_nothing")]
    pub cpu: f64,
    /// MiB; 0 if nothing was set.
    #[serde(rename = "Memory", deserialize_with = "or_nothing")]
    pub memory: f64,
}

/// MiB of the volume that goes with the task.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
pub struct EphemeralStorage {
    /// In use.
    #[serde(deserialize_with = "or_nothing")]
    pub utilized: Option<f64>,
    /// There.
    #[serde(deserialize_with = "or_nothing")]
    pub reserved: Option<f64>,
}

/// A container of the task.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
pub struct Container {
    /// By which the stats call it.
    #[serde(deserialize_with = "or_nothing")]
    pub docker_id: String,
    /// Its name in the task definition.
    #[serde(deserialize_with = "or_nothing")]
    pub name: String,
    /// Its image, as in the task definition.
    #[serde(deserialize_with = "or_nothing")]
    pub image: String,
    /// `NORMAL`, or what ECS adds for itself.
    #[serde(rename = "Type", deserialize_with = "or_nothing")]
    pub kind: String,
    /// `RUNNING`, `STOPPED`, ...
    #[serde(deserialize_with = "or_nothing")]
    pub known_status: String,
    /// When it was made, in RFC 3339.
    #[serde(deserialize_with = "or_nothing")]
    pub created_at: String,
    /// When it was started last.
    #[serde(deserialize_with = "or_nothing")]
    pub started_at: String,
    /// What it may use.
    #[serde(deserialize_with = "or_nothing")]
    pub limits: Limits,
    /// Where it is reached.
    #[serde(deserialize_with = "those_that_are")]
    pub networks: Vec<Network>,
    /// Labels of the container, with those that the user wrote.
    #[serde(deserialize_with = "members_that_are")]
    pub labels: HashMap<String, String>,
    /// How often it was started again; with a restart policy only.
    #[serde(deserialize_with = "or_nothing")]
    pub restart_count: Option<f64>,
}

/// A network of a container.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct Network {
    /// `awsvpc`, `bridge`, `host`, `none`.
    #[serde(rename = "NetworkMode", deserialize_with = "or_nothing")]
    pub mode: String,
    /// Its addresses.
    #[serde(rename = "IPv4Addresses", deserialize_with = "those_that_are")]
    pub ipv4_addresses: Vec<String>,
}

impl Task {
    /// Reads the document. `None` if it is no object.
    pub fn read(document: &[u8]) -> Option<Self> {
        // A list would be taken for an object without names.
        let is_object = document.trim_ascii_start().starts_with(b"{");
        let mut task: Self = serde_json::from_slice(document).ok().filter(|_| is_object)?;
        let can_be_name = |name: &str| name.len() <= NAME_BYTES_MAX && !name.contains(char::is_control);
        task.containers.retain(|container| {
            can_be_name(&container.name) && can_be_name(&container.docker_id) && !container.docker_id.is_empty()
        });
        task.containers.truncate(CONTAINERS_MAX);
        // An ARN on Fargate, a name on EC2.
        if let Some((_, name)) = task.cluster.rsplit_once('/') {
            task.cluster = name.to_owned();
        }
        let Self {
            cluster,
            service_name,
            family,
            revision,
            arn,
            availability_zone,
            known_status,
            launch_type,
            containers,
            ..
        } = &mut task;
        let of_task = [cluster, service_name, family, revision, arn, availability_zone, known_status, launch_type];
        let of_containers = containers.iter_mut().flat_map(|one| [&mut one.image, &mut one.known_status]);
        of_task.into_iter().chain(of_containers).filter(|name| !can_be_name(name)).for_each(String::clear);
        Some(task)
    }

    /// The last part of its ARN, and nothing of what is none.
    pub fn id(&self) -> &str {
        self.arn.rsplit_once('/').map_or("", |(_, id)| id)
    }

    /// True if all containers have the task's interface, so that each has its numbers.
    pub fn shares_interface(&self) -> bool {
        let mut modes = self.containers.iter().flat_map(|container| &container.networks).map(|network| &*network.mode);
        modes.any(|mode| mode == "awsvpc") || self.launch_type == "FARGATE"
    }
}

impl Container {
    /// True if the user put it there.
    pub fn is_users(&self) -> bool {
        matches!(&*self.kind, "NORMAL" | "") && !self.name.is_empty()
    }

    /// True unless it is known to be in another state.
    pub fn is_running(&self) -> bool {
        matches!(&*self.known_status, "RUNNING" | "")
    }
}

/// What `GET /task/stats` tells, by Docker's id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Those that tell something.
    pub containers: HashMap<String, ContainerStats>,
    /// Entries that could not be read.
    pub unreadable: usize,
}

/// Docker's statistics of one container.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct ContainerStats {
    /// When they were read, in RFC 3339.
    #[serde(deserialize_with = "or_nothing")]
    pub read: String,
    /// When `precpu_stats` were.
    #[serde(deserialize_with = "or_nothing")]
    pub preread: String,
    /// Processor time until now.
    #[serde(deserialize_with = "or_nothing")]
    pub cpu_stats: CpuStats,
    /// Processor time until `preread`.
    #[serde(deserialize_with = "or_nothing")]
    pub precpu_stats: CpuStats,
    /// Memory.
    #[serde(deserialize_with = "or_nothing")]
    pub memory_stats: MemoryStats,
    /// By interface.
    #[serde(deserialize_with = "members_that_are")]
    pub networks: HashMap<String, NetworkStats>,
    /// Storage.
    #[serde(deserialize_with = "or_nothing")]
    pub blkio_stats: BlkioStats,
}

/// Processor time.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct CpuStats {
    /// Of the container.
    #[serde(deserialize_with = "or_nothing")]
    pub cpu_usage: CpuUsage,
}

/// Processor time of a container.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct CpuUsage {
    /// Nanoseconds on all processors together.
    #[serde(deserialize_with = "or_nothing")]
    pub total_usage: Option<u64>,
}

/// Memory of a container.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct MemoryStats {
    /// Bytes, with what the kernel keeps of files.
    #[serde(deserialize_with = "or_nothing")]
    pub usage: Option<u64>,
    /// Bytes that it may use.
    #[serde(deserialize_with = "or_nothing")]
    pub limit: Option<u64>,
    /// The parts, as cgroup v1 or v2 calls them.
    #[serde(deserialize_with = "or_nothing")]
    pub stats: MemoryParts,
}

/// Parts of the memory of a container.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct MemoryParts {
    /// cgroup v1: pages of files.
    #[serde(deserialize_with = "or_nothing")]
    pub cache: Option<u64>,
    /// Both: those of them that were not used lately.
    #[serde(deserialize_with = "or_nothing")]
    pub inactive_file: Option<u64>,
}

/// What went over an interface.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct NetworkStats {
    /// Bytes that came.
    #[serde(deserialize_with = "or_nothing")]
    pub rx_bytes: u64,
    /// Packets that came,
    #[serde(deserialize_with = "or_nothing")]
    pub rx_packets: u64,
    /// that were broken,
    #[serde(deserialize_with = "or_nothing")]
    pub rx_errors: u64,
    /// and for which there was no room.
    #[serde(deserialize_with = "or_nothing")]
    pub rx_dropped: u64,
    /// Bytes that went.
    #[serde(deserialize_with = "or_nothing")]
    pub tx_bytes: u64,
    /// Packets that went,
    #[serde(deserialize_with = "or_nothing")]
    pub tx_packets: u64,
    /// that could not,
    #[serde(deserialize_with = "or_nothing")]
    pub tx_errors: u64,
    /// and for which there was no room.
    #[serde(deserialize_with = "or_nothing")]
    pub tx_dropped: u64,
}

/// Storage of a container.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct BlkioStats {
    /// Bytes by device and operation.
    #[serde(deserialize_with = "those_that_are")]
    pub io_service_bytes_recursive: Vec<BlkioEntry>,
}

impl BlkioStats {
    /// Bytes of one operation, which cgroup v1 writes with a capital, on all devices.
    pub fn done(&self, operation: &str) -> u64 {
        let entries = self.io_service_bytes_recursive.iter().filter(|entry| entry.op.eq_ignore_ascii_case(operation));
        entries.map(|entry| entry.value).fold(0, u64::saturating_add)
    }
}

/// Bytes of one operation on one device.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(default)]
pub struct BlkioEntry {
    /// `Read`, `read`, `Write`, ..., `Total`.
    #[serde(deserialize_with = "or_nothing")]
    pub op: String,
    /// Bytes.
    #[serde(deserialize_with = "or_nothing")]
    pub value: u64,
}

impl Stats {
    /// Reads the document. `None` if it is no object.
    pub fn read(document: &[u8]) -> Option<Self> {
        let entries: HashMap<String, Option<&RawValue>> = serde_json::from_slice(document).ok()?;
        let mut stats = Self::default();
        for (id, entry) in entries.into_iter().take(CONTAINERS_MAX) {
            // A container that has just started has none yet.
            let Some(entry) = entry else { continue };
            match serde_json::from_str::<ContainerStats>(entry.get()) {
                Ok(mut container) => {
                    container.blkio_stats.io_service_bytes_recursive.truncate(BLOCK_IO_ENTRIES_MAX);
                    stats.containers.insert(id, container);
                }
                Err(_) => stats.unreadable += 1,
            }
        }
        Some(stats)
    }
}

/// What is `null`, or of another type than it should be, is as if it were not there.
fn or_nothing<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    let value = <&RawValue>::deserialize(from)?;
    Ok(serde_json::from_str(value.get()).unwrap_or_default())
}

/// A revision is a text here and a number there.
fn text_or_number<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let value = <&RawValue>::deserialize(from)?.get();
    let number = || serde_json::from_str(value).map(|number: u64| number.to_string());
    Ok(serde_json::from_str(value).or_else(|_| number()).unwrap_or_default())
}

/// Of a list, what is as it should be.
fn those_that_are<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    let values: Vec<&RawValue> = or_nothing(from)?;
    Ok(values.into_iter().filter_map(|value| serde_json::from_str(value.get()).ok()).collect())
}

/// Of members, those that are as they should be.
fn members_that_are<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<HashMap<String, T>, D::Error> {
    let values: HashMap<String, &RawValue> = or_nothing(from)?;
    Ok(values.into_iter().filter_map(|(name, value)| Some((name, serde_json::from_str(value.get()).ok()?))).collect())
}
