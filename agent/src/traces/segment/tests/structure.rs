//! Tests of what documents a span becomes, how they are called, and what is in each of them.
//!
//! Promises: see the page above.
//! Never: looks at a block of its own.

use super::*;

/// A whole document, so that nothing in it goes unseen.
#[test]
fn a_server_span_becomes_a_segment_with_its_resource() {
    let resource = json!({
        "service.name": "shop", "service.version": "1.2", "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.language": "python", "telemetry.sdk.version": "1.30.0", "deployment": ["a", 1],
    });
    let members = json!({
        "kind": "server", "parent": 0x33, "name": "GET /a",
        "attributes": {"enduser.id": "u1", "x": 1, "y": 1.5, "z": true, "list": ["a", 2, {"b": null}]},
        "links": [{}, {"why": "retry"}],
    });
    assert_eq!(
        document(&resource, &members),
        json!({
            "name": "shop", "id": "0000000000000011", "trace_id": "1-6553f100-0102030405060708090a0b0c",
            "parent_id": "0000000000000033", "start_time": 1_700_000_000.25, "end_time": 1_700_000_001.000_000_001,
            "fault": false, "error": false, "throttle": false, "user": "u1",
            "aws": {"xray": {"sdk": "opentelemetry for python", "sdk_version": "1.30.0", "auto_instrumentation": false}},
            "service": {"version": "1.2"},
            "links": [
                {"trace_id": "1-6553f100-0102030405060708090a0b0c", "id": "0000000000000022"},
                {"trace_id": "1-6553f100-0102030405060708090a0b0c", "id": "0000000000000022", "attributes": {"why": "retry"}},
            ],
            "metadata": {"default": {
                "x": 1, "y": 1.5, "z": true, "list": ["a", 2, {"b": null}],
                "otel.resource.service.name": "shop", "otel.resource.service.version": "1.2",
                "otel.resource.telemetry.sdk.name": "opentelemetry", "otel.resource.telemetry.sdk.language": "python",
                "otel.resource.telemetry.sdk.version": "1.30.0", "otel.resource.deployment": ["a", 1],
            }},
        })
    );
}

#[test]
fn a_span_below_another_is_a_subsegment_unless_it_serves() {
    for (kind, parent, subsegment, namespace) in [
        ("server", Some(1), false, None),
        ("server", None, false, None),
        ("client", Some(1), true, Some("remote")),
        ("client", None, false, Some("remote")),
        ("internal", Some(1), true, None),
        ("internal", None, false, None),
        ("producer", Some(1), true, None),
        ("consumer", Some(1), true, None),
        ("unspecified", Some(1), true, None),
    ] {
        let seen = document(&json!({"r": 1}), &json!({"kind": kind, "parent": parent}));
        assert_eq!(seen["type"], if subsegment { json!("subsegment") } else { json!(null) }, "{kind} {parent:?}");
        assert_eq!(seen["namespace"].as_str(), namespace, "{kind} {parent:?}");
        assert_eq!(seen["metadata"]["default"]["otel.resource.r"].is_null(), subsegment, "{kind} {parent:?}");
        assert_eq!(seen["parent_id"].is_string(), parent.is_some(), "{kind} {parent:?}");
    }
    let remote = json!({"kind": "producer", "parent": 1, "attributes": {"aws.remote.service": "queue"}});
    assert_eq!(document(&json!({}), &remote)["namespace"], "remote");
}

#[test]
fn the_first_span_of_a_service_is_a_segment_of_its_own() {
    for kind in ["server", "internal"] {
        let attributes = json!({"aws.span.kind": "LOCAL_ROOT", "aws.local.service": "shop", "rpc.system": "aws-api"});
        let seen = document(&json!({"r": 1}), &json!({"kind": kind, "parent": 1, "attributes": attributes}));
        assert_eq!(
            (&seen["name"], &seen["type"], &seen["namespace"]),
            (&json!("shop"), &json!(null), &json!(null)),
            "{kind}"
        );
        assert_eq!(seen["metadata"]["default"]["otel.resource.r"], 1, "{kind}");
    }
    for (kind, links_of_call) in [("client", true), ("producer", true), ("consumer", false), ("unspecified", true)] {
        let members = json!({
            "kind": kind, "parent": 0x44, "links": [{}], "failed": "no",
            "attributes": {
                "aws.span.kind": "LOCAL_ROOT", "aws.local.service": "shop", "aws.remote.service": "AWS.SDK.S3",
                "aws.remote.operation": "PutObject", "rpc.system": "aws-api", "rpc.method": "PutObject",
                "aws.request_id": "r1", "http.method": "PUT", "aws.region": "eu-west-1", "x": "y",
            },
        });
        let [call, service] = &documents(&json!({"cloud.account.id": "7"}), &members)[..] else {
            panic!("two: {kind}")
        };
        assert_eq!(call["parent_id"], service["id"], "{kind}");
        assert_eq!(
            (&call["id"], &service["parent_id"]),
            (&json!("0000000000000011"), &json!("0000000000000044")),
            "{kind}"
        );
        assert_ne!(service["id"], call["id"], "{kind}");
        assert_eq!((&call["name"], &service["name"]), (&json!("S3"), &json!("shop")), "{kind}");
        assert_eq!((&call["type"], &call["namespace"]), (&json!("subsegment"), &json!("aws")), "{kind}");
        assert_eq!(
            (&service["type"], &service["namespace"], &service["http"]),
            (&json!(null), &json!(null), &json!(null))
        );
        assert_eq!(call["links"].is_array(), links_of_call, "{kind}");
        assert_eq!(service["links"].is_array(), !links_of_call, "{kind}");
        assert_eq!(call["aws"]["operation"], "PutObject", "{kind}");
        assert_eq!(service["aws"], json!({"account_id": "7", "xray": {"auto_instrumentation": false}}), "{kind}");
        assert_eq!(service["metadata"], json!({"default": {"otel.resource.cloud.account.id": "7"}}), "{kind}");
        assert_eq!(call["metadata"]["default"]["x"], "y", "{kind}");
        assert_eq!((&call["fault"], &service["fault"]), (&json!(true), &json!(true)), "{kind}");
        assert_eq!(documents(&json!({}), &members)[1]["id"], service["id"], "the same each time");
    }
}

#[test]
fn the_first_attribute_that_names_it_names_a_segment() {
    let everything = [
        ("server", "aws.local.service", "local"),
        ("client", "aws.remote.service", "remote"),
        ("client", "peer.service", "peer"),
        ("client", "aws.service", "aws"),
        ("client", "db.name", "db"),
        ("client", "db.namespace", "db2"),
        ("client", "rpc.service", "rpc"),
        ("client", "http.host", "host"),
        ("client", "net.peer.name", "net"),
        ("client", "server.address", "address"),
    ];
    for (index, (kind, key, expected)) in everything.into_iter().enumerate() {
        // Of a name and those that come after it, it is the first.
        let mut attributes = json!({});
        for (_, later, name) in &everything[index..] {
            attributes[*later] = json!(name);
        }
        let seen = document(&json!({}), &json!({"kind": kind, "attributes": attributes}));
        let name = seen["name"].as_str().expect("text");
        assert_eq!(name.split('@').next(), Some(expected), "{key}");
    }
    for (members, expected) in [
        (json!({"kind": "server", "name": "n"}), "shop"),
        (json!({"kind": "client", "name": "n"}), "n"),
        (json!({"kind": "server", "name": "n", "attributes": {"server.address": "me"}}), "shop"),
        (json!({"kind": "internal", "name": "n", "attributes": {"aws.local.service": "l"}}), "n"),
        (client(json!({"aws.remote.service": "AWS::S3"})), "AWS::S3"),
        (client(json!({"aws.remote.service": "AWS::S3", "rpc.system": "aws-api"})), "S3"),
        (client(json!({"db.name": "d", "db.connection_string": "jdbc:mysql://u:p@h.x:3306/d?a=b"})), "d@h.x"),
        (client(json!({"db.name": "d", "db.connection_string": "postgresql://[::1]:5432/d"})), "d@::1"),
        (client(json!({"db.name": "d", "db.connection_string": "h.x:3306", "server.address": "s"})), "d"),
        (client(json!({"db.namespace": "d", "server.address": "s"})), "d@s"),
    ] {
        assert_eq!(document(&json!({"service.name": "shop"}), &members)["name"], expected, "{members}");
    }
    for (attributes, expected) in [
        (json!({"rpc.system": "aws-api", "peer.service": "p"}), Some("aws")),
        (json!({"aws.service": "S3"}), Some("aws")),
        (json!({"aws.service": "S3", "peer.service": "p"}), Some("remote")),
        (json!({}), Some("remote")),
    ] {
        assert_eq!(document(&json!({}), &client(attributes.clone()))["namespace"].as_str(), expected, "{attributes}");
    }
}

#[test]
fn names_have_only_what_x_ray_takes() {
    let long = "\u{20ac}\u{e4}".repeat(300);
    for (name, expected) in [
        ("GET /a_b.c:d%e&f#g=h+i\\j-k@l", "GET /a_b.c:d%e&f#g=h+i\\j-k@l"),
        ("a*b?c\"d\n\u{1f600}e\u{e4}\u{4e2d}\u{661}", "abcde\u{e4}\u{4e2d}\u{661}"),
        ("", "span"),
        ("***", "span"),
        (" ", "span"),
        (&"x".repeat(300), &"x".repeat(200)),
        (&long, &"\u{e4}".repeat(100)),
    ] {
        assert_eq!(document(&json!({}), &json!({"name": name}))["name"], expected, "{name}");
        let peer = document(&json!({}), &client(json!({"peer.service": name})));
        assert_eq!(peer["name"], if name.is_empty() { "its name" } else { expected }, "{name}");
    }
}

#[test]
fn times_are_exact_and_a_span_without_an_end_ends_when_it_begins() {
    let mut reversed = span(&json!({}));
    put_fixed64(&mut reversed, 8, 5);
    let seen = mapped(&Settings::default(), &json!({}), &reversed).remove(0).0;
    assert_eq!((&seen["start_time"], &seen["end_time"]), (&json!(1_700_000_000.25), &json!(1_700_000_000.25)));
}

#[test]
fn what_a_resource_does_not_say_is_filled_in_from_the_task() {
    let metadata = crate::ecs::Metadata {
        task_arn: Some("arn:aws-cn:ecs:cn-north-1:7:task/shop/8f3e".to_owned()),
        cluster: Some("shop".to_owned()),
        family: Some("web".to_owned()),
        launch_type: Some("FARGATE".to_owned()),
        availability_zone: Some("cn-north-1a".to_owned()),
        ..crate::ecs::Metadata::default()
    };
    let task = Task::new(&metadata);
    let filled = |resource: &Value| {
        let group = group(resource);
        let mut seen = json!(null);
        let emit = |document: &[u8], _| seen = serde_json::from_slice(document).expect("JSON");
        Mapper::default().map(&Resource::read(&group).filled(&task), &span(&json!({})), emit).expect("ids");
        seen
    };
    let seen = filled(&json!({"aws.ecs.task.family": "said", "cloud.account.id": "8"}));
    assert_eq!(
        seen["aws"],
        json!({
            "account_id": "8", "xray": {"auto_instrumentation": false},
            "ecs": {
                "cluster_arn": "arn:aws-cn:ecs:cn-north-1:7:cluster/shop", "task_arn": "arn:aws-cn:ecs:cn-north-1:7:task/shop/8f3e",
                "task_family": "said", "launch_type": "fargate", "availability_zone": "cn-north-1a",
            },
        })
    );
    assert_eq!(seen["origin"], "AWS::ECS::Fargate");
    let elsewhere = filled(&json!({"cloud.provider": "gcp"}));
    assert_eq!(elsewhere["metadata"], json!({"default": {"otel.resource.cloud.provider": "gcp"}}));
    let nothing =
        Task::new(&crate::ecs::Metadata { family: Some("web".to_owned()), ..crate::ecs::Metadata::default() });
    assert_eq!(nothing, Task::default(), "outside of ECS nothing is known");
}
