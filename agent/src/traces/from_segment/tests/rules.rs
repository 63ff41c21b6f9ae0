//! What becomes of each part of a document.
//!
//! Promises: a table for each block.
//! Never: tries what is broken; `hostile` does.

use super::*;

/// The example of X-Ray's own guide, shortened, as the SDK for Node.js sends it.
fn example() -> Value {
    segment(json!({
        "parent_id": "00000000000000bb",
        "http": {
            "request": {"method": "POST", "client_ip": "78.255.233.48", "url": "http://www.example.com:8080/api/user?id=7",
                        "user_agent": "Mozilla/5.0", "x_forwarded_for": true},
            "response": {"status": 200, "content_length": "60"},
        },
        "service": {"version": "1.2", "runtime": "node", "runtime_version": "v22.1.0"},
        "user": "ada",
        "origin": "AWS::ECS::Fargate",
        "aws": {"account_id": "123456789012", "ecs": {"container": "shop-1", "cluster_arn": "arn:c"},
                "cloudwatch_logs": [{"log_group": "/ecs/shop", "arn": "arn:g"}, {"log_group": "/ecs/till"}],
                "xray": {"sdk": "X-Ray for Node.js", "sdk_version": "3.10.3", "sampling_rule_name": "Default"}},
        "annotations": {"tier": "gold", "items": 3, "price": 1.5, "new": true, "none": null},
        "metadata": {"debug": {"a": [1, {"b": "\u{e4}"}]}, "default": {"k": "v"}},
        "links": [{"trace_id": "1-11111111-222222222222222222222222", "id": "00000000000000cc", "attributes": {"why": 1}},
                  {"id": "00000000000000cc"}],
        "precursor_ids": ["00000000000000dd"],
        "subsegments": [{
            "name": "DynamoDB", "id": "0000000000000001", "start_time": 1.478293361271E9, "end_time": 1_478_293_361.4,
            "namespace": "aws",
            "aws": {"operation": "UpdateItem", "region": "us-west-2", "request_id": "R1", "table_name": "users", "retries": 2},
            "subsegments": [{"name": "marshal", "id": "0000000000000002", "start_time": 1_478_293_361.3, "end_time": 1_478_293_361.2}],
        }, {
            "name": "api.example.com", "id": "0000000000000003", "start_time": 1_478_293_361, "end_time": 1_478_293_362,
            "namespace": "remote", "http": {"request": {"method": "GET", "url": "https://api.example.com/"}, "response": {"status": 404}},
            "error": true,
        }],
    }))
}

/// Its spans.
fn spans_of_example() -> [Value; 4] {
    let trace = "58406520a006649127e371903a2de979";
    [
        json!({
            "trace": trace, "id": "0000000000000002", "parent": "0000000000000001", "name": "marshal", "kind": "internal",
            "start": 1_478_293_361_300_000_000_u64, "end": 1_478_293_361_300_000_000_u64, "flags": 0x101,
        }),
        json!({
            "trace": trace, "id": "0000000000000001", "parent": "00000000000000aa", "name": "DynamoDB", "kind": "client",
            "start": 1_478_293_361_271_000_000_u64, "end": 1_478_293_361_400_000_000_u64, "flags": 0x101,
            "attributes": {"rpc.system": "aws-api", "rpc.service": "DynamoDB", "rpc.method": "UpdateItem", "aws.region": "us-west-2",
                           "aws.request_id": "R1", "aws.dynamodb.table_names": ["users"], "aws.retries": 2},
        }),
        json!({
            "trace": trace, "id": "0000000000000003", "parent": "00000000000000aa", "name": "api.example.com", "kind": "client",
            "start": 1_478_293_361_000_000_000_u64, "end": 1_478_293_362_000_000_000_u64, "flags": 0x101, "failed": "",
            "attributes": {"peer.service": "api.example.com", "http.request.method": "GET", "url.full": "https://api.example.com/",
                           "server.address": "api.example.com", "http.response.status_code": 404},
        }),
        json!({
            "trace": trace, "id": "00000000000000aa", "parent": "00000000000000bb", "name": "shop", "kind": "server",
            "start": 1_478_293_361_271_000_000_u64, "end": 1_478_293_361_449_000_000_u64, "flags": 0x301,
            "attributes": {
                "http.request.method": "POST", "url.full": "http://www.example.com:8080/api/user?id=7", "url.scheme": "http",
                "url.path": "/api/user", "url.query": "id=7", "server.address": "www.example.com", "server.port": 8080,
                "user_agent.original": "Mozilla/5.0", "client.address": "78.255.233.48",
                "http.response.status_code": 200, "http.response.body.size": 60,
                "aws.xray.sampling_rule": "Default", "enduser.id": "ada", "aws.xray.precursor_ids": ["00000000000000dd"],
                "aws.xray.metadata.debug": "{\"a\":[1,{\"b\":\"\u{e4}\"}]}", "aws.xray.metadata.default": "{\"k\":\"v\"}",
                "tier": "gold", "items": 3, "price": 1.5, "new": true,
                "aws.xray.annotations": ["items", "new", "price", "tier"],
            },
            "links": [["11111111222222222222222222222222", "00000000000000cc", {"why": 1}]],
        }),
    ]
}

#[test]
fn a_segment_and_what_it_called_become_spans_below_each_other() {
    let Made { resources, spans, unmade } = made(example().to_string().as_bytes());
    assert_eq!(unmade, []);
    let resource = json!({
        "service.name": "shop", "service.version": "1.2", "process.runtime.name": "node", "process.runtime.version": "v22.1.0",
        "cloud.provider": "aws", "cloud.platform": "aws_ecs", "aws.ecs.launchtype": "fargate", "cloud.account.id": "123456789012",
        "container.name": "shop-1", "aws.ecs.cluster.arn": "arn:c", "aws.log.group.arns": ["arn:g"],
        "aws.log.group.names": ["/ecs/shop", "/ecs/till"],
        "telemetry.sdk.name": "X-Ray", "telemetry.sdk.language": "nodejs", "telemetry.sdk.version": "3.10.3",
    });
    assert_eq!(resources, [resource]);
    let expected = spans_of_example();
    for (span, expected) in spans.iter().zip(&expected) {
        assert_eq!(span, expected);
    }
    assert_eq!(spans.len(), expected.len());
}

#[test]
fn a_subsegment_that_comes_alone_is_below_its_parent_and_names_no_service_that_is_not_known() {
    let document = json!({
        "type": "subsegment", "name": "step", "id": "0000000000000001", "trace_id": TRACE, "parent_id": "00000000000000aa",
        "start_time": 1, "end_time": 2, "subsegments": [{"name": "in it", "id": "0000000000000002", "start_time": 1, "end_time": 2}],
    });
    let Made { resources, spans, .. } = made(document.to_string().as_bytes());
    assert_eq!(resources, [json!({})]);
    let told: Vec<_> = spans.iter().map(|span| (&span["id"], &span["parent"], &span["kind"], &span["flags"])).collect();
    let (one, two, above) = (&json!("0000000000000001"), &json!("0000000000000002"), &json!("00000000000000aa"));
    let (internal, flags) = (&json!("internal"), &json!(0x101));
    assert_eq!(told, [(two, one, internal, flags), (one, above, internal, flags)]);
    // A list of them is a document, too.
    let list = Value::from(vec![document.clone(), document]);
    assert_eq!(made(list.to_string().as_bytes()).spans.len(), 4);
}

/// The segment right above it says whose it is, whoever sent that; else the socket does, as long as it told of one service.
#[test]
fn a_subsegment_that_comes_alone_is_of_the_service_that_is_known() {
    let segment = |id: &str, more: Value| {
        let mut segment = segment(more);
        segment["id"] = id.into();
        segment
    };
    let alone =
        |parent: &str| segment("0000000000000001", json!({"type": "subsegment", "name": "step", "parent_id": parent}));
    let list = Value::from(vec![alone("00000000000000ff"), alone("00000000000000aa")]);
    let open = json!({"name": "till", "in_progress": true, "parent_id": "00000000000000bb"});
    let mut services = Services::default();
    for (port, document, expected) in [
        (1, alone("00000000000000aa"), json!([null])),
        (1, segment("00000000000000aa", json!({})), json!(["shop"])),
        (1, alone("00000000000000ff"), json!(["shop"])),
        (1, list, json!(["shop", "shop"])),
        (2, alone("00000000000000ff"), json!([null])),
        (2, alone("00000000000000aa"), json!(["shop"])),
        // One that goes on tells whose it is, too.
        (2, segment("00000000000000bb", open), json!([])),
        (2, alone("00000000000000ff"), json!(["till"])),
        (1, alone("00000000000000bb"), json!(["till"])),
        (1, alone("00000000000000ff"), json!(["shop"])),
        // What is no segment's name says nothing.
        (1, segment("00000000000000cc", json!({"name": " "})), json!([])),
        (1, segment("short", json!({"name": "till"})), json!([])),
        (1, segment("00000000000000cc", json!({"name": "till", "trace_id": "1"})), json!([])),
        (1, alone("00000000000000ff"), json!(["shop"])),
        // A process that serves under several names: only its segments know.
        (1, segment("00000000000000cc", json!({"name": "till"})), json!(["till"])),
        (1, alone("00000000000000ff"), json!([null])),
        (1, segment("00000000000000cc", json!({})), json!(["shop"])),
        (1, alone("00000000000000ff"), json!([null])),
        (1, alone("00000000000000cc"), json!(["shop"])),
    ] {
        let source = Some(([127, 0, 0, 1], port).into());
        let Made { resources, .. } = made_by(document.to_string().as_bytes(), services.heard_from(source));
        let names: Value = resources.iter().map(|resource| resource["service.name"].clone()).collect();
        assert_eq!(names, expected, "{port}: {document}");
    }
}

#[test]
fn blocks_get_the_names_of_conventions() {
    for (members, expected) in [
        (json!({"http": {"request": {"url": "https://inner/"}}}), json!({"url.full": "https://inner/"})),
        (
            json!({"namespace": "remote", "http": {"request": {"url": "https://u:p@[::1]:8443"}}}),
            json!({
            "peer.service": "shop", "url.full": "https://u:p@[::1]:8443", "server.address": "::1", "server.port": 8443}),
        ),
        (
            json!({"http": {"request": {"url": "/only/a/path", "client_ip": "10.0.0.1", "traced": true}, "response": {"status": "503"}}}),
            json!({
            "url.full": "/only/a/path", "client.address": "10.0.0.1", "network.peer.address": "10.0.0.1", "aws.xray.traced": true,
            "http.response.status_code": 503}),
        ),
        (json!({"http": {"request": [], "response": {"status": "none", "content_length": {}}}}), json!(null)),
        (
            json!({"namespace": "remote", "sql": {"url": "jdbc:postgresql://db.example.com:5432/orders?ssl=on", "user": "ada",
                "database_type": "PostgreSQL", "database_version": "16.2", "driver_version": "42", "preparation": "statement",
                "sanitized_query": "SELECT ?"}}),
            json!({
            "peer.service": "shop", "db.system.name": "postgresql", "db.user": "ada", "db.query.text": "SELECT ?",
            "aws.xray.sql.database_version": "16.2", "aws.xray.sql.driver_version": "42", "aws.xray.sql.preparation": "statement",
            "db.namespace": "orders", "db.connection_string": "jdbc:postgresql://db.example.com:5432",
            "server.address": "db.example.com", "server.port": 5432}),
        ),
        (
            json!({"sql": {"url": "SELECT", "connection_string": "localhost/shop", "database_type": "mysql"}}),
            json!({
            "peer.service": "shop", "db.system.name": "mysql", "db.namespace": "shop", "server.address": "localhost"}),
        ),
        (
            json!({"aws": {"operation": "Work", "account_id": "1", "queue_url": "q", "bucket_name": "b", "table_names": ["x", "y"],
                "topic_arn": "arn:t", "resource_names": ["r"], "service": "not over ours", "response": {}, "ecs": {"container": "c"}}}),
            json!({
            "aws.operation": "Work", "aws.account_id": "1", "aws.queue_url": "q", "aws.s3.bucket": "b",
            "aws.dynamodb.table_names": ["x", "y"], "aws.topic_arn": "arn:t", "aws.resource_names": ["r"]}),
        ),
        (
            json!({"annotations": {"http.url": "mine", "aws.xray.traced": 1, "list": [1, [2]], "map": {"a": null}}}),
            json!({
            "annotation.http.url": "mine", "annotation.aws.xray.traced": 1, "list": [1, [2]], "map": {"a": null},
            "aws.xray.annotations": ["annotation.aws.xray.traced", "annotation.http.url", "list", "map"]}),
        ),
        (
            json!({"metadata": {}, "annotations": {}, "http": {}, "aws": {}, "sql": {}, "subsegments": [], "user": "", "links": []}),
            json!(null),
        ),
    ] {
        assert_eq!(attributes_of(members.clone()), expected, "{members}");
    }
}

#[test]
fn flags_are_a_status_and_are_told_apart_where_the_answer_does_not() {
    let http = |status: u16| json!({"response": {"status": status}});
    for (members, failed, told) in [
        (json!({}), false, vec![]),
        (json!({"fault": false, "error": false, "throttle": false, "http": http(404)}), false, vec![]),
        (json!({"fault": true}), true, vec![]),
        (json!({"fault": true, "http": http(500)}), true, vec![]),
        (json!({"error": true, "http": http(404)}), true, vec![]),
        (json!({"error": true, "throttle": true, "http": http(429)}), true, vec![]),
        (json!({"error": true}), true, vec!["aws.xray.error"]),
        (
            json!({"error": true, "throttle": true, "http": http(400)}),
            true,
            vec!["aws.xray.error", "aws.xray.throttle"],
        ),
        (json!({"fault": true, "http": http(404)}), true, vec!["aws.xray.fault"]),
    ] {
        let (span, _) = one(&segment(members.clone()));
        let flags: Vec<_> = ["aws.xray.error", "aws.xray.fault", "aws.xray.throttle"]
            .into_iter()
            .filter(|name| span["attributes"][*name] == true)
            .collect();
        assert_eq!((span.get("failed").is_some(), flags), (failed, told), "{members}");
    }
}

fn frames() -> Value {
    json!([{"path": "a.x", "line": 1, "label": "inner"}, {"path": "b.x", "line": 2, "label": "outer"}])
}

#[test]
fn exceptions_become_events_with_a_stack_as_their_language_writes_it() {
    for (sdk, expected) in [
        (
            "Java",
            vec![
                "E: no\n\tat inner(a.x:1)\n\tat outer(b.x:2)\nCaused by: F: gone\n\tat inner(a.x:1)\n\tat outer(b.x:2)\n",
            ],
        ),
        (
            "Python",
            vec![
                "Traceback (most recent call last):\n  File \"b.x\", line 2, in outer\n  File \"a.x\", line 1, in inner\nF: gone\n\
             \nDuring handling of the above exception, another exception occurred:\n\n\
             Traceback (most recent call last):\n  File \"b.x\", line 2, in outer\n  File \"a.x\", line 1, in inner\nE: no\n",
            ],
        ),
        (
            "Node.js",
            vec![
                "E: no\n    at inner (a.x:1)\n    at outer (b.x:2)\n",
                "F: gone\n    at inner (a.x:1)\n    at outer (b.x:2)\n",
            ],
        ),
        (
            ".NET",
            vec![
                "E: no\n   at inner in a.x:line 1\n   at outer in b.x:line 2\n",
                "F: gone\n   at inner in a.x:line 1\n   at outer in b.x:line 2\n",
            ],
        ),
        (
            "Go",
            vec![
                "goroutine 1 [running]:\ninner\n\ta.x:1\nouter\n\tb.x:2\n",
                "goroutine 1 [running]:\ninner\n\ta.x:1\nouter\n\tb.x:2\n",
            ],
        ),
    ] {
        let (span, _) = one(&segment(json!({
            "fault": true,
            "aws": {"xray": {"sdk": format!("X-Ray for {sdk}")}},
            "cause": {"exceptions": [
                {"id": "000000000000000e", "type": "E", "message": "no", "cause": "000000000000000f", "stack": frames()},
                {"id": "000000000000000f", "type": "F", "message": "gone", "stack": frames()},
            ]},
        })));
        assert_eq!(span["failed"], "no");
        let events = span["events"].as_array().expect("events");
        let texts: Vec<_> =
            events.iter().map(|event| event["exception.stacktrace"].as_str().expect("a text")).collect();
        assert_eq!(texts, expected, "{sdk}");
        let cause = if expected.len() == 1 { &Value::Null } else { &json!("000000000000000f") };
        assert_eq!(
            (&events[0]["exception.type"], &events[0]["exception.message"], &events[0]["aws.xray.exception.id"]),
            (&json!("E"), &json!("no"), &json!("000000000000000e"))
        );
        assert_eq!(events[0].get("aws.xray.exception.cause").unwrap_or(&Value::Null), cause, "{sdk}");
    }
}

/// An exception that goes up through segments is told in full where it was thrown, and by its id above: as text, and as Node.js does.
#[test]
fn an_exception_that_is_passed_on_is_told_by_its_id() {
    let thrown = json!({"exceptions": [{"id": "000000000000000e", "type": "E", "message": "no", "stack": frames()}]});
    let below = |cause: &Value, inner: Vec<Value>, id: u32| json!({"name": "s", "id": format!("{id:016x}"), "start_time": 1, "end_time": 2, "fault": true, "cause": cause, "subsegments": inner});
    let inner = below(&thrown, vec![], 1);
    let middle = below(&json!({"id": "000000000000000e", "exceptions": []}), vec![inner], 2);
    let unknown = below(&json!("00000000000000ff"), vec![], 3);
    let document = segment(json!({"fault": true, "cause": "000000000000000e", "subsegments": [middle, unknown]}));
    let Made { spans, .. } = made(document.to_string().as_bytes());
    let events: Vec<_> = spans.iter().map(|span| (span["events"].clone(), span["failed"].clone())).collect();
    let by_id =
        json!([{"exception.type": "E", "exception.message": "no", "aws.xray.exception.id": "000000000000000e"}]);
    assert!(events[0].0[0]["exception.stacktrace"].is_string());
    assert_eq!(events[1], (by_id.clone(), json!("no")));
    assert_eq!(events[2], (json!([{"aws.xray.exception.id": "00000000000000ff"}]), json!("")));
    assert_eq!(events[3], (by_id, json!("no")));
}

#[test]
fn a_resource_is_what_the_segment_ran_on() {
    for (members, expected) in [
        (
            json!({"origin": "AWS::EC2::Instance", "aws": {"ec2": {"instance_id": "i-1", "availability_zone": "z", "instance_size": "m", "ami_id": "a"}}}),
            json!({"cloud.provider": "aws", "cloud.platform": "aws_ec2", "host.id": "i-1", "cloud.availability_zone": "z", "host.type": "m", "host.image.id": "a"}),
        ),
        (
            json!({"aws": {"ec2": {"availability_zone": "y"}, "ecs": {"container_id": "c", "container_arn": "ca", "task_arn": "t", "task_family": "f",
                "launch_type": "ec2", "availability_zone": "z"}}}),
            json!({"container.id": "c", "aws.ecs.container.arn": "ca", "aws.ecs.task.arn": "t",
                "aws.ecs.task.family": "f", "aws.ecs.launchtype": "ec2", "cloud.availability_zone": "z"}),
        ),
        (
            json!({"origin": "AWS::ElasticBeanstalk::Environment", "aws": {"elastic_beanstalk": {"environment_name": "e", "version_label": "v", "deployment_id": 7}}}),
            json!({"cloud.provider": "aws", "cloud.platform": "aws_elastic_beanstalk", "service.namespace": "e", "service.version": "v", "service.instance.id": "7"}),
        ),
        (
            json!({"aws": {"eks": {"cluster_name": "k", "pod": "p", "container_id": "c"}}}),
            json!({"k8s.cluster.name": "k", "k8s.pod.name": "p", "container.id": "c"}),
        ),
        (
            json!({"origin": "Mars", "aws": {"xray": {"sdk": "X-Ray", "auto_instrumentation": true}}}),
            json!({"telemetry.sdk.name": "X-Ray", "aws.xray.auto_instrumentation": true}),
        ),
    ] {
        let (_, mut resource) = one(&segment(members.clone()));
        assert_eq!(resource.as_object_mut().and_then(|all| all.remove("service.name")), Some("shop".into()));
        assert_eq!(resource, expected, "{members}");
    }
}

/// What AWS Distro's exporters pack is OTLP already; what was not sampled is not for people's eyes.
#[test]
fn packed_spans_are_unpacked() {
    let mut spans = Vec::new();
    request(segment(json!({})).to_string().as_bytes(), &mut Services::default(), &mut spans, &mut |_| {
        panic!("all of it")
    });
    let packed = base64::encoded(&spans, true);
    let Made { spans, unmade, .. } = made(format!("T1S{packed}\n").as_bytes());
    assert_eq!((spans.len(), unmade), (1, vec![]));
    for (document, why) in [
        (format!("T1U{packed}"), Unmade::Unsampled),
        (format!("T1S{}", &packed[..40]), Unmade::NotOtlp),
        ("T1S".to_owned(), Unmade::NotOtlp),
        ("T1S{}".to_owned(), Unmade::NotOtlp),
    ] {
        assert_eq!(made(document.as_bytes()).unmade, [why], "{document}");
    }
}
