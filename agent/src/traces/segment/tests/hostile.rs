//! Tests with spans that are broken, odd or too large.
//!
//! Promises: one odd field never loses a document; what is too large is shrunk, and stays a document.
//! Never: expects more of a broken span than what could be read of it.

use proptest::prelude::*;

use super::*;

/// What X-Ray asks of every document.
fn assert_complete(document: &Value) {
    let id = |name: &str| document[name].as_str().is_some_and(|id| id.len() == 16);
    let name = document["name"].as_str().expect("a name");
    assert!(!name.is_empty() && name.len() <= 200, "{name}");
    assert!(id("id"), "{document}");
    let trace = document["trace_id"].as_str().expect("a trace");
    assert!(trace.len() == 35 && trace.starts_with("1-") && trace.as_bytes()[10] == b'-', "{trace}");
    assert!(document["start_time"].as_f64().expect("a number") <= document["end_time"].as_f64().expect("a number"));
    assert!(document["type"].is_null() || (document["type"] == "subsegment" && id("parent_id")), "{document}");
    for flag in ["fault", "error", "throttle"] {
        assert!(document[flag].is_boolean(), "{document}");
    }
}

#[test]
fn a_span_without_ids_has_no_document() {
    let whole = span(&json!({}));
    for (number, id) in [(1, &[][..]), (1, &[0; 16]), (1, &[1; 15]), (2, &[]), (2, &[0; 8]), (2, &[1; 9])] {
        let mut broken = whole.clone();
        put_bytes(&mut broken, number, id);
        let mapped = Mapper::default().map(&Resource::read(b""), &broken, |_, _| panic!("no document"));
        assert_eq!(mapped, Err(Nameless), "{number} {id:?}");
    }
}

#[test]
fn one_odd_field_does_not_lose_the_document() {
    let whole = span(&json!({"attributes": {"before": 1}}));
    let attribute = |value: &[u8]| {
        let mut out = Vec::new();
        put_bytes(&mut out, 9, &[b"\x0a\x03odd", value].concat());
        out
    };
    let float = |number: f64| attribute(&[&b"\x12\x09\x21"[..], &number.to_le_bytes()].concat());
    let deep = (0..200).fold(b"\x0a\x01x".to_vec(), |inner, _| {
        let mut list = Vec::new();
        put_bytes(&mut list, 1, &inner);
        let mut any = Vec::new();
        put_bytes(&mut any, 5, &list);
        any
    });
    let mut nested = Vec::new();
    put_bytes(&mut nested, 2, &deep);
    for (odd, expected) in [
        (float(f64::NAN), json!("NaN")),
        (float(f64::INFINITY), json!("Infinity")),
        (float(f64::NEG_INFINITY), json!("-Infinity")),
        (float(1e300), json!(1e300)),
        (attribute(b"\x12\x04\x0a\x02\xff\xfe"), json!("\u{fffd}\u{fffd}")),
        (attribute(b"\x12\x05\x3a\x03\x00\x01\xff"), json!("AAH/")),
        (attribute(b"\x12\x02\x3a\x00"), json!("")),
        (attribute(b"\x12\x03\x0a\x05x"), json!(null)),
        (attribute(b"\x12\x00"), json!(null)),
        (attribute(b""), json!(null)),
        (attribute(b"\x12\x06\x0a\x01x\x0a\x01y"), json!("y")),
        (attribute(b"\x12\x0b\x18\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), json!(-1)),
        (b"\x4a\x01\x0f".to_vec(), json!(null)),
    ] {
        let seen = mapped(&Settings::default(), &json!({}), &[&whole[..], &odd, &attribute(b"")].concat());
        let default = &seen[0].0["metadata"]["default"];
        assert_eq!((&default["before"], &default["odd"]), (&json!(1), &expected), "{odd:x?}");
        assert_complete(&seen[0].0);
    }
    let seen = mapped(&Settings::default(), &json!({}), &[&whole[..], &attribute(&nested)].concat());
    let text = seen[0].0["metadata"]["default"]["odd"].to_string();
    assert!(text.contains("nested too deeply") && text.matches('[').count() == 16, "{text}");
}

#[test]
fn a_document_that_is_too_large_is_shrunk_and_keeps_what_matters_most() {
    let text = |length: usize| "x\u{20ac}\"\n".repeat(length / 6);
    let stack = format!("E: m\n{}", "    at f (/app/file.js:10:5)\n".repeat(3_000));
    let exception = |stack: &str| json!([{"name": "exception", "attributes": {"exception.stacktrace": stack, "exception.message": "m"}}]);
    let many =
        |length: usize| (0..300).map(|n| (format!("k{n}"), json!(text(length)))).collect::<serde_json::Map<_, _>>();
    let node = json!({"telemetry.sdk.language": "nodejs"});
    let all = Settings { index_all_attributes: true, ..Settings::default() };
    let of = |settings: &Settings, members: &Value| mapped(settings, &node, &span(members)).remove(0);
    // First stacks: the metadata is whole.
    let attributes = json!({"keep": text(30_000)});
    let (seen, fit, _) = of(
        &Settings::default(),
        &json!({"attributes": attributes, "events": [exception(&stack)[0], exception(&stack)[0], exception(&stack)[0]]}),
    );
    assert_eq!(fit, Fit::Shrunk);
    assert_eq!(seen["metadata"]["default"]["keep"], attributes["keep"]);
    let first = &seen["cause"]["exceptions"][0];
    assert!(
        first["stack"].as_array().is_some_and(|stack| stack.len() >= 8) && first["truncated"].is_number(),
        "{first}"
    );
    // Then metadata: the annotations are whole.
    let (seen, fit, _) = of(&Settings { indexed_attributes: vec!["note".to_owned()], ..Settings::default() }, &{
        let mut members = json!({"attributes": many(3_000), "events": exception(&stack)});
        members["attributes"]["note"] = json!("n".repeat(900));
        members
    });
    assert_eq!(fit, Fit::Shrunk);
    assert_eq!(seen["annotations"]["note"], "n".repeat(900));
    assert_eq!(seen["cause"]["exceptions"][0]["message"], "m");
    // In the end everything that there is much of.
    for members in [
        json!({"attributes": many(900)}),
        json!({"failed": text(5_000_000), "name": text(100_000)}),
        json!({"attributes": {"http.url": text(70_000), "http.method": text(70_000), "db.system": "mysql", "db.statement": text(70_000)}}),
        json!({"links": vec![json!({"a": text(2_000)}); 200]}),
        json!({"links": vec![json!({}); 1_000]}),
        json!({"attributes": {"aws.dynamodb.table_names": vec![text(100); 2_000]}}),
        json!({"attributes": {"list": vec![json!("y"); 100_000], "map": many(50)}}),
        json!({"events": vec![exception(&stack)[0].clone(); 500]}),
        json!({"attributes": (0..5_000).map(|n| (format!("k{n}"), json!(n))).collect::<serde_json::Map<_, _>>()}),
    ] {
        let (seen, fit, bytes) = of(&all, &members);
        assert_eq!(fit, Fit::Shrunk);
        assert!(bytes <= DOCUMENT_BYTES_MAX, "{bytes}");
        assert_complete(&seen);
    }
    let controls = "\u{1}".repeat(70_000);
    let resource = json!({"aws.log.group.arns": vec![controls.clone(); 500], "service.version": controls, "container.name": controls,
        "cloud.platform": "aws_ecs", "host.id": controls, "telemetry.sdk.name": controls, "cloud.account.id": controls});
    let (seen, fit, bytes) =
        mapped(&all, &resource, &span(&json!({"failed": controls, "attributes": {"http.url": controls}}))).remove(0);
    assert!(fit == Fit::Shrunk && bytes <= DOCUMENT_BYTES_MAX, "{bytes}");
    assert_complete(&seen);
}

#[test]
fn a_resource_in_parts_is_one() {
    let two = [group(&json!({"service.name": "a", "cloud.platform": "aws_ec2"})), group(&json!({"service.name": "b"}))]
        .concat();
    let mut names = Vec::new();
    let span = span(&json!({"kind": "server"}));
    let emit = |document: &[u8], _| names.push(serde_json::from_slice::<Value>(document).expect("JSON"));
    Mapper::default().map(&Resource::read(&two), &span, emit).expect("ids");
    assert_eq!((&names[0]["name"], &names[0]["origin"]), (&json!("b"), &json!("AWS::EC2::Instance")));
}

/// Any value, and names that mean something beside others.
fn attributes() -> impl Strategy<Value = Value> {
    let names = [
        "http.method",
        "http.url",
        "http.status_code",
        "net.peer.port",
        "db.system",
        "db.name",
        "aws.span.kind",
        "rpc.system",
        "aws.xray.annotations",
        "aws.xray.metadata.x",
        "aws.dynamodb.table_names",
        "aws.log.group.arns",
        "cloud.platform",
        "telemetry.sdk.language",
        "exception.stacktrace",
        "exception.message",
        "x",
        "\u{20ac} *",
        "service.instance.id",
    ];
    let leaf = prop_oneof![
        any::<i64>().prop_map(|number| json!(number)),
        any::<f64>().prop_map(|number| json!(number)),
        any::<bool>().prop_map(|truth| json!(truth)),
        ".{0,40}".prop_map(|text| json!(text)),
        prop::sample::select(vec![
            "LOCAL_ROOT",
            "aws-api",
            "mysql",
            "java",
            "python",
            "nodejs",
            "aws_ecs",
            "{\"a\":1}",
            "Caused by: x:\n"
        ])
        .prop_map(|text| json!(text)),
    ];
    let value = leaf.prop_recursive(3, 12, 4, |inner| prop::collection::vec(inner, 0..4).prop_map(|list| json!(list)));
    prop::collection::vec((prop::sample::select(names.to_vec()), value), 0..12)
        .prop_map(|pairs| Value::Object(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

proptest! {
    /// Whatever the bytes behind the ids are, there is a whole document.
    #[test]
    fn property_any_bytes_become_a_document(bytes in prop::collection::vec(any::<u8>(), 0..300), group in prop::collection::vec(any::<u8>(), 0..100)) {
        let mut span = Vec::new();
        put_bytes(&mut span, 1, &TRACE);
        put_bytes(&mut span, 2, &[7; 8]);
        span.extend(bytes);
        let mapped = Mapper::default().map(&Resource::read(&group), &span, |document, _| {
            assert!(document.len() <= DOCUMENT_BYTES_MAX);
            assert_complete(&serde_json::from_slice(document).expect("JSON"));
        });
        // A later field may take the id away.
        prop_assert!(mapped.is_ok() || mapped == Err(Nameless));
    }

    #[test]
    fn property_any_attributes_become_documents(
        of_span in attributes(), of_resource in attributes(), of_event in attributes(), of_link in attributes(),
        kind in prop::sample::select(vec!["internal", "server", "client", "consumer"]), index_all_attributes: bool,
    ) {
        let members = json!({
            "kind": kind, "parent": 5, "attributes": of_span, "links": [of_link],
            "events": [{"name": "exception", "attributes": of_event}, {"name": "HTTP request failure", "attributes": of_event}],
        });
        let settings = Settings { index_all_attributes, ..Settings::default() };
        let seen = mapped(&settings, &of_resource, &span(&members));
        prop_assert_eq!(seen.len(), 1 + usize::from(of_span["aws.span.kind"] == "LOCAL_ROOT" && matches!(kind, "client" | "consumer")));
        for (document, fit, _) in seen {
            assert_complete(&document);
            prop_assert_eq!(fit, Fit::Whole);
        }
    }
}
