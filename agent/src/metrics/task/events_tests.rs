//! Proves what performance events say, and that CloudWatch's rules for documents find no mistake in them.
//!
//! Promises: the documents are those of `tests`, and the numbers are worked out by hand.
//! Never: sends an event.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{
    document::{Stats, Task},
    events::events,
    measure::Meter,
    tests::{USED, container, ec2, fargate, later, task},
};
use crate::emf::{self, Values};

/// 2026-11-28T10:01:10Z, and the minute in which it is.
const NOW: i64 = 1_795_860_070_000;
const MINUTE: i64 = 1_795_860_060_000;

/// Looks twice, a minute apart, and tells the events of both looks.
fn looked(task: &Value, stats: [&[(&str, Value)]; 2], namespace: Option<&str>) -> [Vec<Value>; 2] {
    let task = Task::read(task.to_string().as_bytes()).expect("a document");
    let mut meter = Meter::default();
    stats.map(|stats| {
        let stats: serde_json::Map<_, _> =
            stats.iter().map(|(name, stats)| (format!("{name}-1234567890"), stats.clone())).collect();
        let stats = Stats::read(Value::from(stats).to_string().as_bytes()).expect("a document");
        let measured = meter.measure(&task, &stats);
        let made = events((&task, &stats), &measured, NOW, namespace);
        assert!(made.iter().all(|made| made.milliseconds == MINUTE));
        made.iter().map(|made| serde_json::from_str(&made.text).expect("an event is JSON")).collect()
    })
}

fn app_alone(launch_type: &str) -> Value {
    let mut task = task(launch_type, vec![container("app", 256.0, 512.0)]);
    task["AvailabilityZone"] = json!("us-west-2b");
    task["KnownStatus"] = json!("RUNNING");
    task["PullStartedAt"] = json!("2026-11-28T10:00:00.25Z");
    task["PullStoppedAt"] = json!(null);
    task["EphemeralStorageMetrics"] = json!({"Utilized": 1_024, "Reserved": 20_480});
    task
}

/// The first look has no rate. What the second tells is, member for member, what AWS describes.
#[test]
fn a_look_becomes_the_events_that_aws_describes() {
    let next = later(USED, 60, 15_000);
    let [first, second] = looked(
        &app_alone("FARGATE"),
        [&[("app", fargate(USED))], &[("app", fargate(next))]],
        Some("ECS/ContainerInsights"),
    );
    assert_eq!(first, [Value::Null; 0]);
    let metric = |name: &str, unit: &str| json!({"Name": name, "Unit": unit});
    assert_eq!(
        second[0],
        json!({
            "Version": "0", "Type": "Task", "TaskId": "1", "TaskDefinitionFamily": "cart", "TaskDefinitionRevision": "3",
            "ServiceName": "cart", "ClusterName": "shop", "AccountID": "111122223333", "Region": "us-west-2",
            "AvailabilityZone": "us-west-2b", "KnownStatus": "RUNNING", "LaunchType": "FARGATE",
            "PullStartedAt": 1_795_860_000_250_i64, "Timestamp": MINUTE,
            "CpuUtilized": 256, "CpuReserved": 512, "MemoryUtilized": 200, "MemoryReserved": 1_024,
            "StorageReadBytes": 761, "StorageWriteBytes": 1_520,
            "NetworkRxBytes": 10, "NetworkRxDropped": 2, "NetworkRxErrors": 0, "NetworkRxPackets": 14,
            "NetworkTxBytes": 20, "NetworkTxDropped": 0, "NetworkTxErrors": 3, "NetworkTxPackets": 0,
            "EphemeralStorageReserved": 20, "EphemeralStorageUtilized": 1,
            "CloudWatchMetrics": [{
                "Namespace": "ECS/ContainerInsights",
                "Metrics": [
                    metric("CpuUtilized", "None"), metric("CpuReserved", "None"),
                    metric("MemoryUtilized", "Megabytes"), metric("MemoryReserved", "Megabytes"),
                    metric("StorageReadBytes", "Bytes"), metric("StorageWriteBytes", "Bytes"),
                    metric("NetworkRxBytes", "Bytes/Second"), metric("NetworkTxBytes", "Bytes/Second"),
                    metric("EphemeralStorageReserved", "Gigabytes"), metric("EphemeralStorageUtilized", "Gigabytes"),
                ],
                "Dimensions": [["ClusterName"], ["ClusterName", "ServiceName"], ["ClusterName", "TaskDefinitionFamily"]],
            }],
        })
    );
    assert_eq!(
        second[1..],
        [json!({
            "Version": "0", "Type": "Container", "ContainerName": "app", "TaskId": "1", "TaskDefinitionFamily": "cart",
            "TaskDefinitionRevision": "3", "ServiceName": "cart", "ClusterName": "shop", "Image": "example/app:1",
            "ContainerKnownStatus": "RUNNING", "Timestamp": MINUTE, "CpuUtilized": 256, "CpuReserved": 256,
            "MemoryUtilized": 200, "MemoryReserved": 512, "StorageReadBytes": 761, "StorageWriteBytes": 1_520,
        })],
        "the interface is the task's, and none of the container's"
    );
}

/// A task was made with its first container, and has started when each of its own has. Of one that was started again nobody says when that was first.
#[test]
fn a_task_has_started_when_its_last_container_has() {
    let at = |seconds: u32| json!(format!("2026-11-28T10:00:{seconds:02}Z"));
    let milliseconds = |seconds: i64| json!(1_795_860_000_000 + seconds * 1_000);
    let nothing = || json!(null);
    for (app, side, pause, expected) in [
        ((at(2), at(5), None), (at(3), at(4), None), (at(1), at(9)), (milliseconds(1), milliseconds(5))),
        ((at(2), at(5), None), (at(3), nothing(), None), (nothing(), nothing()), (milliseconds(2), nothing())),
        ((at(2), at(5), Some(0)), (at(3), at(59), Some(1)), (nothing(), nothing()), (milliseconds(2), milliseconds(5))),
        (
            (json!("no time"), json!(7), None),
            (nothing(), nothing(), None),
            (nothing(), nothing()),
            (nothing(), nothing()),
        ),
    ] {
        let own = |name, (created, started, restarts): (Value, Value, Option<u32>)| {
            let mut container = container(name, 256.0, 512.0);
            (container["CreatedAt"], container["StartedAt"], container["RestartCount"]) =
                (created, started, json!(restarts));
            container
        };
        let mut pausing = own("pause", (pause.0, pause.1, None));
        pausing["Type"] = json!("CNI_PAUSE");
        let task = task("FARGATE", vec![own("app", app), own("side", side), pausing]);
        let used = [("app", fargate(USED)), ("side", fargate(USED))];
        let next = later(USED, 60, 15_000);
        let [_, told] = looked(&task, [&used, &[("app", fargate(next)), ("side", fargate(next))]], None);
        assert_eq!((&told[0]["CreatedAt"], &told[0]["StartedAt"]), (&expected.0, &expected.1), "{task}");
    }
}

/// On a bridge each container has an interface; of what one does not tell there is no sum, and no event of its own.
#[test]
fn what_is_not_known_is_in_no_event() {
    let mut two = task("EC2", vec![container("app", 256.0, 512.0), container("side", 128.0, 128.0)]);
    (two["ServiceName"], two["Revision"], two["TaskARN"]) = (json!(null), json!(7), json!("nonsense"));
    for at in 0..2 {
        two["Containers"][at]["Networks"] = json!([{"NetworkMode": "bridge"}]);
    }
    let next = ec2(later(USED, 60, 15_000));
    let both: &[_] = &[("app", ec2(USED)), ("side", ec2(USED))];
    let [_, both_told] = looked(&two, [both, &[("app", next.clone()), ("side", next.clone())]], None);
    let types: Vec<_> = both_told.iter().map(|event| (&event["Type"], &event["ContainerName"])).collect();
    assert_eq!(
        types,
        [(&json!("Task"), &json!(null)), (&json!("Container"), &json!("app")), (&json!("Container"), &json!("side"))]
    );
    assert_eq!((&both_told[0]["NetworkRxBytes"], &both_told[1]["NetworkRxBytes"]), (&json!(20), &json!(10)));
    assert_eq!((&both_told[0]["NetworkRxPackets"], &both_told[1]["NetworkRxPackets"]), (&json!(28), &json!(14)));
    assert_eq!((&both_told[0]["StorageReadBytes"], &both_told[1]["StorageReadBytes"]), (&json!(1_520), &json!(760)));
    assert_eq!(both_told[0]["TaskDefinitionRevision"], "7", "older agents write a number");

    let [_, one_told] = looked(&two, [both, &[("app", next), ("side", json!(null))]], Some("Own"));
    assert_eq!(one_told.len(), 2);
    for absent in [
        "TaskId",
        "ServiceName",
        "Region",
        "CpuUtilized",
        "StorageReadBytes",
        "PullStartedAt",
        "EphemeralStorageReserved",
    ] {
        assert_eq!(one_told[0][absent], json!(null), "{absent}");
    }
    let directive = &one_told[0]["CloudWatchMetrics"][0];
    assert_eq!(directive["Dimensions"], json!([["ClusterName"], ["ClusterName", "TaskDefinitionFamily"]]));
    let names: Vec<_> =
        directive["Metrics"].as_array().expect("a list").iter().map(|one| one["Name"].clone()).collect();
    assert_eq!(names, ["CpuReserved", "MemoryReserved", "NetworkRxBytes", "NetworkTxBytes"]);
}

/// What the reader of the embedded metric format makes of a task's event.
fn told(text: &str) -> Vec<String> {
    let document = emf::read(text.as_bytes(), NOW).unwrap_or_else(|fault| panic!("{fault:?}: {text}"));
    assert!(document.is_whole() && document.findings().repairs().next().is_none(), "{text}");
    assert_eq!(document.time(), Some(MINUTE));
    let mut told = Vec::new();
    document.metrics(|metric| {
        let Values::One(value) = metric.values else { panic!("one value") };
        told.push(format!("{} {} {value} {:?}", metric.namespace, metric.name, metric.sets));
    });
    told
}

#[test]
fn cloudwatch_makes_metrics_of_the_tasks_event_without_a_mistake() {
    let stats: [&[_]; 2] = [&[("app", fargate(USED))], &[("app", fargate(later(USED, 60, 15_000)))]];
    let [_, made] = looked(&app_alone("FARGATE"), stats, Some("My/Own"));
    let metrics = told(&made[0].to_string());
    assert_eq!(metrics.len(), 10);
    let cpu = "My/Own CpuUtilized 256 [[(\"ClusterName\", \"shop\")], [(\"ClusterName\", \"shop\"), (\"ServiceName\", \"cart\")], \
               [(\"ClusterName\", \"shop\"), (\"TaskDefinitionFamily\", \"cart\")]]";
    assert_eq!(metrics[0], cpu);
    let [_, made] = looked(&app_alone("FARGATE"), stats, None);
    assert_eq!(made[0]["CloudWatchMetrics"], json!(null), "nobody wants metrics");
}

proptest! {
    /// Names with anything in them, and numbers of any size.
    #[test]
    fn property_events_are_documents_whatever_the_names_and_numbers(
        name in "\\PC{0,12}", cluster in "\\PC{0,12}", family in "[ -~]{0,12}", network in any::<u64>(), storage in any::<u64>(),
        memory in any::<u64>(), dropped in any::<u64>(),
    ) {
        let mut all = task("FARGATE", vec![container("app", 256.0, 512.0)]);
        (all["Containers"][0]["Name"], all["Cluster"], all["Family"]) = (json!(name), json!(cluster), json!(family));
        all["Containers"][0]["Image"] = json!(name);
        let mut next = fargate(later(USED, 60, 15_000));
        next["networks"]["eth1"] = json!({"rx_bytes": network, "rx_dropped": dropped, "tx_bytes": network});
        next["blkio_stats"] = json!({"io_service_bytes_recursive": [{"op": "read", "value": storage}, {"op": "READ", "value": storage}]});
        next["memory_stats"]["usage"] = json!(memory);
        let [_, made] = looked(&all, [&[("app", fargate(USED))], &[("app", next)]], Some("N"));
        let rest = cluster.rsplit_once('/').map_or(&*cluster, |(_, rest)| rest);
        prop_assert_eq!(made[0]["ClusterName"].as_str().unwrap_or_default(), rest);
        prop_assert_eq!(made.len(), if name.is_empty() { 1 } else { 2 });
        // CloudWatch takes dimensions of ASCII that are not blank.
        if rest.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) && !family.trim().is_empty() {
            prop_assert!(!told(&made[0].to_string()).is_empty());
        }
    }
}
