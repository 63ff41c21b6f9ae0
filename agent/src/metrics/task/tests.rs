//! Proves what figures come of documents, good and bad ones.
//!
//! Promises: documents are made up after those that AWS describes: Fargate with cgroup v1, EC2 with v2; figures are worked out by hand.
//! Never: asks a real endpoint.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    document::{Stats, Task},
    measure::{Figures, Measured, Meter},
    names::{Names, dimensions},
};

const MIB: u64 = 1 << 20;

/// A container in `/task`.
pub(super) fn container(name: &str, units: f64, mib: f64) -> Value {
    json!({
        "DockerId": format!("{name}-1234567890"), "Name": name, "DockerName": name, "Image": "example/app:1",
        "Labels": {"com.amazonaws.ecs.container-name": name}, "DesiredStatus": "RUNNING", "KnownStatus": "RUNNING",
        "Limits": {"CPU": units, "Memory": mib}, "Type": "NORMAL",
        "Networks": [{"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.0.7"]}],
    })
}

pub(super) fn task(launch_type: &str, containers: Vec<Value>) -> Value {
    json!({
        "Cluster": "arn:aws:ecs:us-west-2:111122223333:cluster/shop", "ServiceName": "cart", "Family": "cart", "Revision": "3",
        "TaskARN": "arn:aws:ecs:us-west-2:111122223333:task/shop/1", "Limits": {"CPU": 0.5, "Memory": 1024},
        "LaunchType": launch_type, "Containers": containers,
    })
}

/// What a container had used by the second `at`.
#[derive(Clone, Copy)]
pub(super) struct Used {
    pub(super) at: u32,
    /// Milliseconds of processor time.
    pub(super) processor: u64,
    pub(super) memory: u64,
    pub(super) files: u64,
    pub(super) network: u64,
    pub(super) storage: u64,
}

pub(super) const USED: Used =
    Used { at: 10, processor: 4_000, memory: 300 * MIB, files: 100 * MIB, network: 5_000, storage: 700 };

/// Docker's stats on Fargate, with cgroup v1.
pub(super) fn fargate(used: Used) -> Value {
    let Used { at, processor, memory, files, network, storage } = used;
    let second = 1_000_000_000_u64;
    json!({
        "read": format!("2026-11-28T10:{:02}:{:02}.123456789Z", at / 60, at % 60),
        "preread": format!("2026-11-28T10:{:02}:{:02}.123456789Z", (at - 1) / 60, (at - 1) % 60),
        "pids_stats": {}, "num_procs": 0, "storage_stats": {},
        "blkio_stats": {
            "io_service_bytes_recursive": [
                {"major": 202, "minor": 26368, "op": "Read", "value": storage},
                {"major": 202, "minor": 26368, "op": "Write", "value": 2 * storage},
                {"major": 202, "minor": 26368, "op": "Sync", "value": 9 * storage},
                {"major": 202, "minor": 26368, "op": "Async", "value": 9 * storage},
                {"major": 202, "minor": 26368, "op": "Total", "value": 3 * storage},
                {"major": 202, "minor": 26369, "op": "Read", "value": 1},
            ],
            "io_serviced_recursive": [],
        },
        "cpu_stats": {
            "cpu_usage": {
                "total_usage": processor * 1_000_000, "usage_in_kernelmode": 0, "usage_in_usermode": 0,
                "percpu_usage": [1, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            },
            "system_cpu_usage": 3_610_330_000_000_u64, "online_cpus": 2, "throttling_data": {},
        },
        "precpu_stats": {"cpu_usage": {"total_usage": processor * 1_000_000 - second / 10}},
        "memory_stats": {
            "usage": memory, "max_usage": memory, "limit": 9_223_372_036_854_771_712_u64,
            "stats": {"cache": files, "inactive_file": 7, "rss": memory - files, "total_cache": files},
        },
        "name": "ecs-cart-3", "id": "x",
        "networks": {"eth1": {"rx_bytes": network, "rx_packets": 14, "rx_dropped": 2, "tx_errors": 3, "tx_bytes": 2 * network}},
    })
}

/// The same on EC2, with cgroup v2.
pub(super) fn ec2(used: Used) -> Value {
    let Used { memory, files, storage, .. } = used;
    let mut stats = fargate(used);
    stats["memory_stats"] =
        json!({"usage": memory, "limit": 8_u64 << 30, "stats": {"anon": 1, "file": 2 * files, "inactive_file": files}});
    stats["blkio_stats"] = json!({"io_service_bytes_recursive": [
        {"major": 259, "minor": 0, "op": "read", "value": storage}, {"major": 259, "minor": 0, "op": "write", "value": 2 * storage},
    ], "io_serviced_recursive": null});
    stats["cpu_stats"]["cpu_usage"].as_object_mut().expect("an object").remove("percpu_usage");
    stats
}

pub(super) fn look(meter: &mut Meter, task: &Value, stats: &[(&str, Value)]) -> Measured {
    let stats: serde_json::Map<_, _> =
        stats.iter().map(|(name, stats)| (format!("{name}-1234567890"), stats.clone())).collect();
    let task = Task::read(task.to_string().as_bytes()).expect("a document");
    meter.measure(&task, &Stats::read(Value::from(stats).to_string().as_bytes()).expect("a document"))
}

pub(super) fn later(used: Used, seconds: u32, processor: u64) -> Used {
    Used {
        at: used.at + seconds,
        processor: used.processor + processor,
        network: used.network + 600,
        storage: used.storage + 60,
        ..used
    }
}

/// The first look knows what Docker's own two looks, a second apart, say of the processor: 100 ms in a second.
const FIRST: Figures = Figures {
    seconds: None,
    processor: Some(102.4),
    processor_reserved: Some(256.0),
    memory: Some(200.0 * 1_048_576.0),
    memory_reserved: Some(512.0 * 1_048_576.0),
    received: None,
    sent: None,
    read: None,
    written: None,
    storage: None,
    storage_reserved: None,
    restarts: None,
};

#[test]
fn figures_are_what_was_used_between_two_looks() {
    for (launch_type, stats) in [("FARGATE", fargate as fn(Used) -> Value), ("EC2", ec2)] {
        let mut meter = Meter::default();
        let task = task(launch_type, vec![container("app", 256.0, 512.0), container("pillion", 0.0, 0.0)]);
        let measured = look(&mut meter, &task, &[("app", stats(USED)), ("pillion", stats(USED))]);
        assert_eq!(measured.containers[0], ("app".to_owned(), FIRST), "{launch_type}");
        let of_task = Figures { processor_reserved: Some(512.0), memory_reserved: Some(1_073_741_824.0), ..FIRST };
        assert_eq!(
            measured.containers[1],
            ("pillion".to_owned(), of_task),
            "without limits of its own it may use the task's"
        );
        assert_eq!(
            measured.task,
            Figures { processor: Some(204.8), memory: Some(400.0 * 1_048_576.0), ..of_task },
            "{launch_type}"
        );

        // 15 s of processor time in 60 s are a quarter of a vCPU. The interface is the task's: it is counted once.
        let next = stats(later(USED, 60, 15_000));
        let measured = look(&mut meter, &task, &[("app", next.clone()), ("pillion", next)]);
        let app =
            Figures { seconds: Some(60.0), processor: Some(256.0), read: Some(60.0), written: Some(120.0), ..FIRST };
        assert_eq!(measured.containers[0], ("app".to_owned(), app), "{launch_type}");
        assert_eq!(
            measured.task,
            Figures {
                seconds: Some(60.0),
                processor: Some(512.0),
                memory: Some(400.0 * 1_048_576.0),
                received: Some(600.0),
                sent: Some(1_200.0),
                read: Some(120.0),
                written: Some(240.0),
                ..of_task
            },
            "{launch_type}"
        );
        assert_eq!(measured.silent, 0);
    }
}

#[test]
fn on_a_bridge_each_container_has_an_interface() {
    let mut task = task("EC2", vec![container("app", 256.0, 512.0), container("side", 256.0, 512.0)]);
    for at in 0..2 {
        task["Containers"][at]["Networks"] = json!([{"NetworkMode": "bridge", "IPv4Addresses": ["172.17.0.4"]}]);
    }
    let mut meter = Meter::default();
    look(&mut meter, &task, &[("app", ec2(USED)), ("side", ec2(USED))]);
    let next = ec2(later(USED, 60, 0));
    let measured = look(&mut meter, &task, &[("app", next.clone()), ("side", next)]);
    assert_eq!(measured.containers[0].1.received, Some(600.0));
    assert_eq!((measured.task.received, measured.task.sent), (Some(1_200.0), Some(2_400.0)));
}

/// The pause container has the interface, and nobody wants to know what it uses.
#[test]
fn containers_of_ecs_own_tell_of_the_network_alone() {
    let mut pause = container("~internal~ecs~pause", 0.0, 0.0);
    pause["Type"] = json!("CNI_PAUSE");
    let task = task("EC2", vec![container("app", 256.0, 512.0), pause]);
    let mut meter = Meter::default();
    let mut app = [ec2(USED), ec2(later(USED, 60, 0))];
    app.iter_mut().for_each(|stats| stats["networks"] = json!(null));
    look(&mut meter, &task, &[("app", app[0].clone()), ("~internal~ecs~pause", ec2(USED))]);
    let measured =
        look(&mut meter, &task, &[("app", app[1].clone()), ("~internal~ecs~pause", ec2(later(USED, 60, 0)))]);
    assert_eq!(measured.containers.len(), 1);
    assert_eq!((measured.task.received, measured.task.read), (Some(600.0), Some(60.0)));
}

/// A container that was started again begins at nothing, and what it used since is told.
#[test]
fn a_container_that_was_started_again_is_measured_anew() {
    let task = task("FARGATE", vec![container("app", 256.0, 512.0)]);
    let mut meter = Meter::default();
    look(&mut meter, &task, &[("app", fargate(USED))]);
    let anew = Used { at: 70, processor: 2_000, network: 100, storage: 10, ..USED };
    let measured = look(&mut meter, &task, &[("app", fargate(anew))]);
    let app = measured.containers[0].1;
    assert_eq!((app.processor, app.read, app.written), (Some(102.4), Some(11.0), Some(20.0)));
    assert_eq!((measured.task.received, measured.task.sent), (Some(100.0), Some(200.0)));
}

/// What a running container does not tell is missing in the task's sum, so the sum is not told. A stopped one is not missed.
#[test]
fn a_container_that_says_nothing_takes_nothing_from_the_others() {
    let mut two = task("FARGATE", vec![container("app", 256.0, 512.0), container("side", 128.0, 128.0)]);
    let mut unread = fargate(USED);
    unread["read"] = json!("0001-01-01T00:00:00Z");
    for silent in [json!(null), unread, json!({}), json!(5)] {
        let measured = look(&mut Meter::default(), &two, &[("app", fargate(USED)), ("side", silent.clone())]);
        assert_eq!(measured.containers, [("app".to_owned(), FIRST)], "{silent}");
        assert_eq!((measured.task.processor, measured.task.memory, measured.silent), (None, None, 1), "{silent}");
        assert_eq!(measured.task.processor_reserved, Some(512.0), "{silent}");
    }
    let measured = look(&mut Meter::default(), &two, &[("app", fargate(USED))]);
    assert_eq!((measured.task.memory, measured.silent), (None, 1));
    two["Containers"][1]["KnownStatus"] = json!("STOPPED");
    let measured = look(&mut Meter::default(), &two, &[("app", fargate(USED))]);
    assert_eq!((measured.task.memory, measured.silent), (Some(200.0 * 1_048_576.0), 0));
}

/// A look that fails costs the resolution of the next one and nothing else.
#[test]
fn a_silent_look_is_bridged_by_the_next() {
    let task = task("FARGATE", vec![container("app", 256.0, 512.0)]);
    let mut meter = Meter::default();
    look(&mut meter, &task, &[("app", fargate(USED))]);
    look(&mut meter, &task, &[("app", json!(null))]);
    let measured = look(&mut meter, &task, &[("app", fargate(later(USED, 120, 30_000)))]);
    assert_eq!((measured.task.processor, measured.task.received), (Some(256.0), Some(600.0)));
    // The agent gave the same sample again.
    let measured = look(&mut meter, &task, &[("app", fargate(later(USED, 120, 30_000)))]);
    assert_eq!((measured.task.received, measured.task.processor), (None, Some(102.4)));
}

#[test]
fn what_may_be_used_is_what_was_set() {
    for (units, mib, of_task, docker, processor, memory) in [
        (256.0, 512.0, json!({"CPU": 0.5, "Memory": 1024}), json!(1 << 30), Some(256.0), Some(512.0)),
        (0.0, 0.0, json!({"CPU": 0.5, "Memory": 1024}), json!(1 << 30), Some(512.0), Some(1_024.0)),
        (2.0, 0.0, json!(null), json!(1 << 30), Some(2.0), Some(1_024.0)),
        (0.0, 0.0, json!({}), json!(9_223_372_036_854_771_712_u64), None, None),
        (0.0, 0.0, json!({"CPU": "x"}), json!(1_u64 << 60), None, None),
        (-1.0, -1.0, json!([]), json!(0), None, None),
    ] {
        let mut task = task("EC2", vec![container("app", units, mib)]);
        task["Limits"] = of_task.clone();
        let mut stats = ec2(USED);
        stats["memory_stats"]["limit"] = docker;
        let app = look(&mut Meter::default(), &task, &[("app", stats)]).containers[0].1;
        assert_eq!(app.processor_reserved, processor, "{units} {of_task}");
        assert_eq!(app.memory_reserved.map(|bytes| bytes / 1_048_576.0), memory, "{mib} {of_task}");
    }
    let task = task("EC2", vec![container("app", 256.0, 512.0), container("side", 128.0, 0.0)]);
    let mut task = task;
    task["Limits"] = json!(null);
    let measured = look(&mut Meter::default(), &task, &[]);
    let reserved = (measured.task.processor_reserved, measured.task.memory_reserved);
    assert_eq!(reserved, (Some(384.0), None), "half of a sum is none");
}

/// Each way in which memory lies.
#[test]
fn memory_is_what_the_kernel_would_not_give_back() {
    for (memory, bytes) in [
        (json!({"usage": 100, "stats": {"cache": 30, "inactive_file": 7}}), Some(70.0)),
        (json!({"usage": 100, "stats": {"inactive_file": 7}}), Some(93.0)),
        (json!({"usage": 100, "stats": {"cache": 100}}), Some(100.0)),
        (json!({"usage": 100, "stats": {"cache": 101}}), Some(100.0)),
        (json!({"usage": 100, "stats": null}), Some(100.0)),
        (json!({"usage": 100}), Some(100.0)),
        (json!({"usage": "100"}), None),
        (json!({"usage": -1}), None),
        (json!({}), None),
        (json!(null), None),
    ] {
        let mut stats = fargate(USED);
        stats["memory_stats"] = memory.clone();
        let task = task("FARGATE", vec![container("app", 256.0, 512.0)]);
        assert_eq!(look(&mut Meter::default(), &task, &[("app", stats)]).task.memory, bytes, "{memory}");
    }
}

#[test]
fn what_is_no_document_is_none() {
    for document in ["", "null", "[]", "5", "{", "<html></html>", &"[".repeat(100_000)] {
        assert_eq!((Task::read(document.as_bytes()), Stats::read(document.as_bytes())), (None, None), "{document:.20}");
    }
    assert_eq!(Task::read(b"{}"), Some(Task::default()));
    let odd = json!({
        "Cluster": 5, "ServiceName": "a\nb", "Family": "f".repeat(300), "Limits": "x", "EphemeralStorageMetrics": [],
        "Containers": [null, 5, {}, {"DockerId": "x", "Name": ["x"], "Labels": {"a": 5, "b": "c"}, "Networks": [5, {}]}],
    });
    let task = Task::read(odd.to_string().as_bytes()).expect("an object");
    assert_eq!((&*task.cluster, &*task.service_name, &*task.family, task.containers.len()), ("", "", "", 1));
    assert_eq!((task.containers[0].labels.len(), task.containers[0].networks.len()), (1, 1));
    let many: serde_json::Map<_, _> = (0..1_000).map(|number| (number.to_string(), json!({}))).collect();
    assert_eq!(Stats::read(Value::from(many).to_string().as_bytes()).expect("an object").containers.len(), 64);
}

fn told(figures: &Figures, names: Names, is_container: bool) -> Vec<String> {
    let all = figures.metrics(names, is_container);
    all.map(|metric| format!("{} {} {} {:?}", metric.name, metric.value, metric.unit.name(), metric.kind)).collect()
}

#[test]
fn figures_have_names_and_units() {
    let figures = Figures {
        seconds: Some(60.0),
        received: Some(600.0),
        read: Some(5.0),
        storage: Some(1_073_741_824.0),
        storage_reserved: Some(21_474_836_480.0),
        restarts: Some(2.0),
        ..FIRST
    };
    assert_eq!(
        told(&figures, Names::Own, false),
        [
            "CpuUtilized 102.4 None Gauge",
            "CpuReserved 256 None Gauge",
            "CpuUtilization 40 Percent Gauge",
            "MemoryUtilized 200 Megabytes Gauge",
            "MemoryReserved 512 Megabytes Gauge",
            "MemoryUtilization 39.0625 Percent Gauge",
            "EphemeralStorageUtilized 1 Gigabytes Gauge",
            "EphemeralStorageReserved 20 Gigabytes Gauge",
            "EphemeralStorageUtilization 5 Percent Gauge",
            "RestartCount 2 Count Gauge",
            "NetworkRxBytes 600 Bytes Counter",
            "StorageReadBytes 5 Bytes Counter",
        ]
    );
    let insights = |is_container| told(&figures, Names::Insights, is_container);
    assert_eq!(insights(false)[2], "TaskCpuUtilization 40 Percent Gauge");
    assert_eq!(insights(false)[10..], ["NetworkRxBytes 10 Bytes/Second Gauge", "StorageReadBytes 5 Bytes Counter"]);
    assert_eq!(insights(true)[2], "ContainerCpuUtilization 40 Percent Gauge");
    assert_eq!(insights(true)[9..11], ["RestartCount 2 Count Gauge", "ContainerNetworkRxBytes 10 Bytes/Second Gauge"]);
    assert_eq!(told(&Figures::default(), Names::Own, false).len(), 0);
    let shown: Vec<_> = FIRST.metrics(Names::Own, true).map(|metric| metric.shown).collect();
    assert_eq!(shown[0], "ecs_container_cpu_utilized_units");
}

/// No dimension names a task, and none is empty.
#[test]
fn dimensions_name_the_service() {
    let with_service =
        Task { cluster: "shop".into(), service_name: "cart".into(), family: "web".into(), ..Task::default() };
    let shown = |task: &Task, names, container| -> Vec<String> {
        let sets = dimensions(task, names, container);
        let one = |set: &Vec<(&str, &str)>| {
            set.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        sets.iter().map(one).collect()
    };
    assert_eq!(shown(&with_service, Names::Own, None), ["ClusterName=shop ServiceName=cart"]);
    assert_eq!(shown(&with_service, Names::Own, Some("app")), ["ClusterName=shop ServiceName=cart ContainerName=app"]);
    let alone = Task { service_name: String::new(), ..with_service.clone() };
    assert_eq!(shown(&alone, Names::Own, None), ["ClusterName=shop TaskDefinitionFamily=web"]);
    assert_eq!(shown(&Task::default(), Names::Own, None), [""]);
    assert_eq!(
        shown(&with_service, Names::Insights, Some("app")),
        [
            "ClusterName=shop",
            "ClusterName=shop ServiceName=cart ContainerName=app",
            "ClusterName=shop TaskDefinitionFamily=web ContainerName=app",
        ]
    );
}

proptest! {
    /// Any bytes, and documents with anything in the place of a value.
    #[test]
    fn property_no_document_makes_it_panic(bytes: Vec<u8>, at in 0_usize..200, put in "null|-1|1e400|\"\"|\\[\\]|\\{|18446744073709551615|[^\"]{0,3}") {
        drop((Task::read(&bytes), Stats::read(&bytes)));
        let task = task("EC2", vec![container("app", 256.0, 512.0)]).to_string();
        let stats = json!({"app-1234567890": ec2(USED)}).to_string();
        let broken = |text: &str| {
            let parts: Vec<&str> = text.split(':').collect();
            let at = 1 + at % (parts.len() - 1);
            let end = parts[at].find([',', '}', ']']).unwrap_or(0);
            format!("{}:{put}{}", parts[..at].join(":"), [&[&parts[at][end..]], &parts[at + 1..]].concat().join(":"))
        };
        let mut meter = Meter::default();
        for (task, stats) in [(&task, &broken(&stats)), (&broken(&task), &stats), (&task, &stats), (&task, &broken(&stats))] {
            let (Some(task), Some(stats)) = (Task::read(task.as_bytes()), Stats::read(stats.as_bytes())) else { continue };
            let measured = meter.measure(&task, &stats);
            for metric in measured.task.metrics(Names::Own, false) {
                prop_assert!(metric.value.is_finite() && metric.value >= 0.0, "{metric:?}");
            }
        }
    }
}
