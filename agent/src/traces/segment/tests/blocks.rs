//! Tests of the blocks `http`, `aws`, `sql`, and of annotations and metadata.
//!
//! Promises: see the page above.
//! Never: looks at what stands outside of the block.

use super::*;

#[test]
fn a_request_is_shown_whatever_its_attributes_are_called() {
    let old = json!({
        "http.method": "GET", "http.url": "https://a.b/c?d", "http.user_agent": "curl", "http.status_code": 404,
        "http.client_ip": "192.0.2.1",
    });
    let new = json!({
        "http.request.method": "GET", "url.full": "https://a.b/c?d", "user_agent.original": "curl",
        "http.response.status_code": "404", "client.address": "192.0.2.1",
    });
    let expected = json!({
        "request": {"method": "GET", "url": "https://a.b/c?d", "user_agent": "curl", "client_ip": "192.0.2.1", "x_forwarded_for": true},
        "response": {"status": 404, "content_length": 0},
    });
    for attributes in [old, new] {
        let seen = document(&json!({}), &client(attributes.clone()));
        assert_eq!(seen["http"], expected, "{attributes}");
        assert_eq!(seen["metadata"], json!(null), "nothing appears twice");
    }
    let method = |more: Value| {
        let mut attributes = json!({"http.method": "GET"});
        attributes.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        attributes
    };
    for (members, url) in [
        (
            server(method(json!({"http.host": "a:81", "net.host.port": 82, "http.target": "/p?q"}))),
            Some("http://a:81/p?q"),
        ),
        (
            server(method(json!({"http.scheme": "https", "http.server_name": "a", "net.host.port": 443}))),
            Some("https://a/"),
        ),
        (
            server(method(json!({"net.host.name": "a", "net.host.port": 80, "url.path": "/p", "url.query": "q=1"}))),
            Some("http://a/p?q=1"),
        ),
        (
            server(method(json!({"server.address": "a", "server.port": 8080, "url.scheme": "https"}))),
            Some("https://a:8080/"),
        ),
        (server(method(json!({"host.name": "a", "net.host.port": "x"}))), Some("http://a/")),
        (
            client(method(json!({"net.peer.name": "a", "net.peer.port": "8080", "http.target": "/p"}))),
            Some("http://a:8080/p"),
        ),
        (client(method(json!({"net.peer.ip": "192.0.2.1"}))), Some("http://192.0.2.1/")),
        (client(method(json!({"url.path": "/p"}))), None),
    ] {
        assert_eq!(document(&json!({}), &members)["http"]["request"]["url"].as_str(), url, "{members}");
    }
    for (attributes, client_ip, forwarded) in [
        (json!({"client.address": "name", "http.client_ip": "1.1.1.1"}), json!("1.1.1.1"), json!(true)),
        (json!({"client.address": "2001:db8::1", "http.client_ip": "1.1.1.1"}), json!("2001:db8::1"), json!(true)),
        (json!({"net.peer.ip": "1.1.1.1"}), json!("1.1.1.1"), json!(null)),
        (json!({"network.peer.address": "1.1.1.1"}), json!("1.1.1.1"), json!(null)),
        (json!({"network.peer.address": "/run/socket"}), json!(null), json!(null)),
    ] {
        let seen = &document(&json!({}), &server(method(attributes.clone())))["http"]["request"];
        assert_eq!((&seen["client_ip"], &seen["x_forwarded_for"]), (&client_ip, &forwarded), "{attributes}");
    }
    for attributes in [json!({"net.peer.name": "a"}), json!({"server.address": "a", "client.address": "1.1.1.1"})] {
        let seen = document(&json!({}), &client(attributes));
        assert_eq!((&seen["http"], &seen["metadata"]), (&json!(null), &json!(null)));
    }
    let sized = json!({
        "kind": "client", "attributes": {"http.method": "GET"},
        "events": [{"name": "m", "attributes": {"message.type": "RECEIVED", "messaging.message_payload_size_bytes": 9}}],
    });
    assert_eq!(document(&json!({}), &sized)["http"]["response"], json!({"content_length": 9}));
    let body = document(&json!({}), &client(json!({"http.method": "GET", "http.response.body.size": 8})));
    assert_eq!(body["http"]["response"], json!({"content_length": 8}));
}

#[test]
fn where_it_ran_is_shown_for_each_platform() {
    let xray = json!({"auto_instrumentation": false});
    let zone = "eu-west-1a";
    for (resource, block, origin) in [
        (
            json!({
                "cloud.provider": "aws", "cloud.platform": "aws_ecs", "cloud.account.id": "7", "container.name": "c",
                "container.id": "i", "aws.ecs.container.arn": "ca", "aws.ecs.cluster.arn": "cl", "aws.ecs.task.arn": "t",
                "aws.ecs.task.family": "f", "aws.ecs.launchtype": "fargate", "cloud.availability_zone": zone,
            }),
            json!({"account_id": "7", "xray": xray, "ecs": {
                "container": "c", "container_id": "i", "container_arn": "ca", "cluster_arn": "cl", "task_arn": "t",
                "task_family": "f", "launch_type": "fargate", "availability_zone": zone,
            }}),
            Some("AWS::ECS::Fargate"),
        ),
        (
            json!({"cloud.platform": "aws_ecs", "aws.ecs.launchtype": "EC2", "host.id": "h"}),
            json!({"xray": xray, "ec2": {"instance_id": "h"}, "ecs": {"launch_type": "EC2"}}),
            Some("AWS::ECS::EC2"),
        ),
        (json!({"cloud.platform": "aws_ecs"}), json!({"xray": xray}), Some("AWS::ECS::Container")),
        (
            json!({"cloud.platform": "aws_ec2", "host.id": "h", "host.type": "m5", "host.image.id": "ami", "cloud.availability_zone": zone}),
            json!({"xray": xray, "ec2": {"instance_id": "h", "availability_zone": zone, "instance_size": "m5", "ami_id": "ami"}}),
            Some("AWS::EC2::Instance"),
        ),
        (
            json!({"cloud.platform": "aws_eks", "k8s.cluster.name": "k", "k8s.pod.name": "p", "container.id": "i"}),
            json!({"xray": xray, "eks": {"cluster_name": "k", "pod": "p", "container_id": "i"}}),
            Some("AWS::EKS::Container"),
        ),
        (
            json!({"cloud.platform": "aws_elastic_beanstalk", "service.instance.id": "32", "service.namespace": "e", "service.version": "v"}),
            json!({"xray": xray, "elastic_beanstalk": {"environment_name": "e", "version_label": "v", "deployment_id": 32}}),
            Some("AWS::ElasticBeanstalk::Environment"),
        ),
        (json!({"cloud.platform": "aws_app_runner"}), json!({"xray": xray}), Some("AWS::AppRunner::Service")),
        (json!({"cloud.provider": "gcp", "cloud.platform": "aws_ec2", "host.id": "h"}), json!(null), None),
        (json!({}), json!({"xray": xray}), None),
    ] {
        let seen = document(&resource, &json!({"kind": "internal", "parent": 1}));
        assert_eq!(seen["aws"], block, "{resource}");
        assert_eq!(seen["origin"].as_str(), origin, "{resource}");
    }
}

#[test]
fn what_was_called_of_aws_is_shown() {
    for (attributes, expected) in [
        (
            json!({
                "aws.account_id": "8", "aws.operation": "Put", "rpc.method": "no", "aws.region": "r", "aws.request_id": "q",
                "aws.queue_url": "u", "aws.table_name": "t",
            }),
            json!({"account_id": "8", "operation": "Put", "region": "r", "request_id": "q", "queue_url": "u", "table_name": "t"}),
        ),
        (
            json!({"rpc.method": "Put", "aws.requestId": "q", "aws.queue.url": "u", "aws.table.name": "t"}),
            json!({"account_id": "7", "operation": "Put", "request_id": "q", "queue_url": "u", "table_name": "t"}),
        ),
        (
            json!({"messaging.url": "m", "aws.queue_url": "u", "aws.dynamodb.table_names": ["a"], "aws.table_name": "t"}),
            json!({"account_id": "7", "queue_url": "m", "table_name": "a"}),
        ),
        (json!({"aws.dynamodb.table_names": "one"}), json!({"account_id": "7", "table_name": "one"})),
        (json!({"aws.dynamodb.table_names": ["a", "b"]}), json!({"account_id": "7", "table_names": ["a", "b"]})),
    ] {
        let mut seen = document(
            &json!({"cloud.account.id": "7"}),
            &json!({"kind": "client", "parent": 1, "attributes": attributes}),
        );
        seen["aws"].as_object_mut().expect("a block").remove("xray");
        assert_eq!(seen["aws"], expected, "{attributes}");
        // What names more than one place is kept as it was.
        let kept = ["messaging.url", "aws.dynamodb.table_names"];
        let shown = kept.iter().filter(|key| !attributes[**key].is_null()).count();
        assert_eq!(seen["metadata"]["default"].as_object().map_or(0, serde_json::Map::len), shown, "{attributes}");
    }
}

#[test]
fn logs_and_sdk_are_shown() {
    let arn = "arn:aws:logs:eu-west-1:1:log-group:/ecs/a:*";
    for (resource, logs) in [
        (
            json!({"aws.log.group.arns": [arn], "aws.log.group.names": "n"}),
            json!([{"log_group": "/ecs/a", "arn": arn}]),
        ),
        (json!({"aws.log.group.arns": format!("{arn}&x")}), json!([{"log_group": "/ecs/a", "arn": arn}, {"arn": "x"}])),
        (json!({"aws.log.group.names": ["a", "b"]}), json!([{"log_group": "a"}, {"log_group": "b"}])),
        (json!({"aws.log.group.names": "a&b"}), json!([{"log_group": "a"}, {"log_group": "b"}])),
        (json!({}), json!([{"log_group": "set"}])),
    ] {
        let settings = Settings { log_groups: vec!["set".to_owned()], ..Settings::default() };
        let seen = mapped(&settings, &resource, &span(&json!({}))).remove(0).0;
        assert_eq!(seen["aws"]["cloudwatch_logs"], logs, "{resource}");
    }
    for (resource, expected) in [
        (
            json!({"telemetry.sdk.name": "x", "telemetry.auto.version": "1"}),
            json!({"sdk": "x", "auto_instrumentation": true}),
        ),
        (
            json!({"telemetry.sdk.name": "X for Java", "telemetry.sdk.language": "java", "telemetry.distro.version": "1"}),
            json!({"sdk": "X for Java", "auto_instrumentation": true}),
        ),
    ] {
        assert_eq!(document(&resource, &json!({}))["aws"]["xray"], expected, "{resource}");
    }
    let tagged = document(&json!({"container.image.tag": "v9"}), &json!({}));
    assert_eq!(tagged["service"], json!({"version": "v9"}));
}

#[test]
fn queries_are_shown_whatever_their_attributes_are_called() {
    let old = json!({
        "db.system": "postgresql", "db.connection_string": "h:5432", "db.name": "d", "db.statement": "select ?", "db.user": "u",
    });
    let new = json!({
        "db.system.name": "postgresql", "server.address": "h:5432", "db.namespace": "d", "db.query.text": "select ?", "db.user": "u",
    });
    for attributes in [old, new] {
        let seen = document(&json!({}), &client(attributes.clone()));
        let expected = json!({
            "url": "its name", "connection_string": "h:5432/d", "database_type": "postgresql", "user": "u",
            "sanitized_query": "select ?",
        });
        assert_eq!(seen["sql"], expected, "{attributes}");
        assert_eq!(seen["metadata"], json!(null), "{attributes}");
    }
    let bare = document(&json!({}), &client(json!({"db.system": "mysql"})));
    assert_eq!(bare["sql"]["connection_string"], "localhost/");
    let other = document(&json!({}), &client(json!({"db.system": "redis", "db.statement": "GET a"})));
    assert_eq!(other["sql"], json!(null));
    assert_eq!(other["metadata"]["default"], json!({"db.system": "redis", "db.statement": "GET a"}));
}

#[test]
fn what_is_indexed_becomes_an_annotation_and_the_rest_metadata() {
    let resource = json!({"r.s": "1", "t": "2"});
    let members = json!({"kind": "server", "attributes": {
        "a-b.c_d": 1, "list": ["x"], "http.method": "GET", "asked": true, "rest": "m", "aws.xray.annotations": ["asked", "list"],
    }});
    let named = ["a-b.c_d", "list", "http.method", "otel.resource.r.s", "nobody"].map(str::to_owned).to_vec();
    let settings = Settings { indexed_attributes: named, ..Settings::default() };
    let seen = mapped(&settings, &resource, &span(&members)).remove(0).0;
    assert_eq!(
        seen["annotations"],
        json!({"a_b.c_d": 1, "http.method": "GET", "asked": true, "otel.resource.r.s": "1"})
    );
    assert_eq!(seen["metadata"], json!({"default": {"list": ["x"], "rest": "m", "otel.resource.t": "2"}}));
    assert_eq!(seen["http"]["request"]["method"], "GET", "it keeps its place, too");
    let all = Settings { index_all_attributes: true, ..Settings::default() };
    let seen = mapped(&all, &resource, &span(&members)).remove(0).0;
    assert_eq!(
        seen["annotations"],
        json!({"a_b.c_d": 1, "asked": true, "rest": "m", "otel.resource.r.s": "1", "otel.resource.t": "2"})
    );
    // What is no single value is not lost.
    assert_eq!(seen["metadata"], json!({"default": {"list": ["x"]}}));
    let long =
        json!({"attributes": {"asked": "\u{20ac}".repeat(2_000), "aws.xray.annotations": "asked", "a b": 1, "a_b": 2}});
    let seen = mapped(&all, &json!({}), &span(&long)).remove(0).0;
    assert_eq!(seen["annotations"], json!({"asked": "\u{20ac}".repeat(333), "a_b": 1}));
}

#[test]
fn metadata_may_have_namespaces_of_its_own() {
    let members = json!({"attributes": {
        "aws.xray.metadata.mine": "{\"a\":[1,{\"b\":null}],\"c\":\"d\"}", "aws.xray.metadata.Default": "{\"e\":1,\"plain\":2}",
        "aws.xray.metadata.bad": "{", "aws.xray.metadata.list": "[]", "plain": "x", "aws.xray.metadata.": "{}",
    }});
    assert_eq!(
        document(&json!({}), &members)["metadata"],
        json!({
            "mine": {"a": [1, {"b": null}], "c": "d"},
            "default": {"e": 1, "plain": "x", "aws.xray.metadata.bad": "{", "aws.xray.metadata.list": "[]", "aws.xray.metadata.": "{}"},
        })
    );
}
