//! Tests of documents.
//!
//! Promises: a table of what people and libraries write, and of what is wrong; properties of any bytes and of any document.
//! Never: proves what CloudWatch does; the limits are those of its documentation.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A time that documents are read at: 2026-11-28.
const NOW: i64 = 1_795_860_000_000;

/// The documents that go on.
fn parts(document: &Document<'_>) -> Vec<String> {
    let mut parts = Vec::new();
    document.parts(|part| parts.push(part.to_owned()));
    assert_eq!(parts.len(), document.count());
    parts
}

/// Faults and repairs, as text.
fn findings(document: &Document<'_>) -> String {
    let faults = document.findings().faults().map(|(fault, times)| (fault.label(), times));
    let repairs = document.findings().repairs().map(|(repair, times)| (repair.label(), times));
    let all: Vec<String> = faults.chain(repairs).map(|(label, times)| format!("{label}={times}")).collect();
    all.join(" ")
}

/// What a document says: `namespace name{key=value,..}` with a number for each value and weight.
fn said(document: &Document<'_>) -> BTreeMap<String, Vec<String>> {
    let mut said: BTreeMap<String, Vec<String>> = BTreeMap::new();
    document.metrics(|metric| {
        for set in metric.sets {
            let set: Vec<String> = set.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let unit = metric.unit.map_or("-", Unit::name);
            let name =
                format!("{} {}{{{}}} {unit} {:?}", metric.namespace, metric.name, set.join(","), metric.resolution);
            let values = said.entry(name).or_default();
            match metric.values {
                Values::One(value) => values.push(value.to_string()),
                Values::Many(numbers) => values.extend(numbers.iter().map(|value| value.to_string())),
                Values::Weighted { values: numbers, counts, .. } => {
                    let pairs = numbers.iter().zip(counts.iter());
                    values.extend(pairs.map(|(value, count)| format!("{value}x{count}")));
                }
                Values::Statistics(statistics) => values.push(format!("{statistics:?}")),
            }
        }
    });
    said
}

/// A document with these directives and other members.
fn document(directives: &str, members: &str) -> String {
    format!(r#"{{"_aws":{{"Timestamp":{NOW},"CloudWatchMetrics":[{directives}]}},{members}}}"#)
}

/// A directive with one metric `m`.
const DIRECTIVE: &str = r#"{"Namespace":"n","Dimensions":[["d"]],"Metrics":[{"Name":"m"}]}"#;

#[test]
fn a_document_that_a_library_writes_goes_on_byte_for_byte() {
    // aws-embedded-metrics for Node, with its default dimensions.
    let text = format!(
        r#"{{"LogGroup":"shop-metrics","ServiceName":"shop","ServiceType":"AWS::ECS::Container","requestId":"x\u00e9","deep":{{"a":[1,{{"b": 2.0}}]}},"_aws":{{"Timestamp":{NOW},"CloudWatchMetrics":[{{"Dimensions":[["LogGroup","ServiceName","ServiceType"]],"Metrics":[{{"Name":"Latency","Unit":"Milliseconds"}},{{"Name":"Bytes","Unit":"None","StorageResolution":1}}],"Namespace":"shop"}}]}},"Latency":[1, 2.50,3],"Bytes":7}}"#
    );
    let spaced = format!("  {text}\r\n");
    let read = read(spaced.as_bytes(), NOW + 5).expect("a document");
    assert_eq!(parts(&read), [text]);
    assert_eq!((findings(&read).as_str(), read.time(), read.group()), ("", Some(NOW), None));
    let set = "LogGroup=shop-metrics,ServiceName=shop,ServiceType=AWS::ECS::Container";
    assert_eq!(
        said(&read),
        BTreeMap::from([
            (format!("shop Bytes{{{set}}} None Second"), vec!["7".to_owned()]),
            (format!("shop Latency{{{set}}} Milliseconds Minute"), ["1", "2.5", "3"].map(str::to_owned).to_vec()),
        ])
    );
}

#[test]
fn what_is_no_document_is_refused_with_its_reason() {
    let many: Vec<String> = (0..=MEMBERS_MAX).map(|number| format!("\"{number}\":0")).collect();
    for (text, expected) in [
        ("", Fault::Malformed),
        ("hello", Fault::Malformed),
        ("[]", Fault::Malformed),
        ("{}{}", Fault::Malformed),
        ("{\"_aws\":", Fault::Malformed),
        ("{\"m\":NaN}", Fault::Malformed),
        ("{}", Fault::NoMetadata),
        (r#"{"_aws":1}"#, Fault::NoMetadata),
        (r#"{"_aws":{}}"#, Fault::NoMetadata),
        (r#"{"_aws":{"CloudWatchMetrics":{}}}"#, Fault::NoMetadata),
        (r#"{"_aws":{"CloudWatchMetrics":[]},"_aws":[]}"#, Fault::NoMetadata),
        (r#"{"CloudWatchMetrics":1}"#, Fault::NoMetadata),
        (&format!("{{{}}}", many.join(",")), Fault::TooMany),
        (&format!("{{\"a\":\"{}\"}}", "x".repeat(DOCUMENT_BYTES_MAX)), Fault::TooLarge),
    ] {
        assert_eq!(read(text.as_bytes(), NOW).map(|_| ()), Err(expected), "{}", &text[..text.len().min(80)]);
    }
    assert_eq!(read(b"{\"a\":\"\xff\"}", NOW).map(|_| ()), Err(Fault::Malformed));
    // However deep, it is read without a stack.
    let deep = format!("{{\"a\":{}{}}}", "[".repeat(400_000), "]".repeat(400_000));
    assert_eq!(read(deep.as_bytes(), NOW).map(|_| ()), Err(Fault::NoMetadata));
}

/// What a mistake costs: directives, other members, what is found, and which metrics are left.
type Cost<'a> = (&'a str, &'a str, &'a str, &'a str);

fn costs(cases: &[Cost<'_>]) {
    for (directives, members, expected_findings, expected_said) in cases {
        let text = document(directives, members);
        let read = read(text.as_bytes(), NOW).expect("a document");
        let metrics: Vec<String> = said(&read).into_keys().collect();
        let metrics: Vec<&str> = metrics.iter().map(|name| name.rsplitn(3, ' ').nth(2).unwrap_or_default()).collect();
        assert_eq!((&*findings(&read), &*metrics.join(" ")), (*expected_findings, *expected_said), "{text}");
        hold(text.as_bytes());
    }
}

#[test]
fn a_mistake_in_a_dimension_costs_its_set() {
    let long = "x".repeat(1_025);
    costs(&[
        (DIRECTIVE, r#""d":"v","m":1"#, "", "n m{d=v}"),
        (DIRECTIVE, r#""d":5,"m":1"#, "dimension_text=1", "n m{d=5}"),
        (DIRECTIVE, r#""d":true,"m":1"#, "dimension_text=1", "n m{d=true}"),
        (DIRECTIVE, r#""d":null,"m":1"#, "dimension_value=1", ""),
        (DIRECTIVE, r#""d":"","m":1"#, "dimension_value=1", ""),
        (DIRECTIVE, r#""d":" ","m":1"#, "dimension_value=1", ""),
        (DIRECTIVE, r#""d":"é","m":1"#, "dimension_value=1", ""),
        (DIRECTIVE, r#""d":"a\u0007","m":1"#, "dimension_value=1", ""),
        (DIRECTIVE, r#""d":"\ud800","m":1"#, "dimension_value=1", ""),
        (DIRECTIVE, r#""d":["v"],"m":1"#, "dimension_value=1", ""),
        (DIRECTIVE, &format!(r#""d":"{long}","m":1"#), "dimension_value=1", ""),
        (DIRECTIVE, r#""m":1"#, "dimension_value=1", ""),
        (r#"{"Namespace":"n","Dimensions":[["m"]],"Metrics":[{"Name":"m"}]}"#, r#""m":1"#, "dimension_value=1", ""),
        (
            r#"{"Namespace":"n","Dimensions":[["d"],[]],"Metrics":[{"Name":"m"}]}"#,
            r#""m":1"#,
            "dimension_value=1",
            "n m{}",
        ),
        (r#"{"Namespace":"n","Dimensions":[],"Metrics":[{"Name":"m"}]}"#, r#""m":1"#, "no_dimensions=1", "n m{}"),
        (r#"{"Namespace":"n","Metrics":[{"Name":"m"}]}"#, r#""m":1"#, "no_dimensions=1", "n m{}"),
        (r#"{"Namespace":"n","Dimensions":["d"],"Metrics":[{"Name":"m"}]}"#, r#""d":"v","m":1"#, "dimension_set=1", ""),
        (r#"{"Namespace":"n","Dimensions":"d","Metrics":[{"Name":"m"}]}"#, r#""d":"v","m":1"#, "dimension_set=1", ""),
        (r#"{"Namespace":"n","Dimensions":[[1]],"Metrics":[{"Name":"m"}]}"#, r#""m":1"#, "dimension_set=1", ""),
        (
            r#"{"Namespace":"n","Dimensions":[[":d"],[]],"Metrics":[{"Name":"m"}]}"#,
            r#"":d":"v","m":1"#,
            "dimension_key=1",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[[""],["é"],[]],"Metrics":[{"Name":"m"}]}"#,
            r#""m":1"#,
            "dimension_key=2",
            "n m{}",
        ),
    ]);
}

#[test]
fn a_mistake_in_a_metric_costs_the_metric() {
    costs(&[
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":""},{"Name":1},{},5,{"Name":"m"}]}"#,
            r#""m":1"#,
            "name=4",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":":x"},{"Name":"a\n"},{"Name":"m"}]}"#,
            r#""m":1"#,
            "name=2",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"none"},{"Name":"m"}]}"#,
            r#""m":1"#,
            "value_missing=1",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"t"},{"Name":"m"}]}"#,
            r#""t":"5","m":1"#,
            "value=1",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"t"},{"Name":"m"}]}"#,
            r#""t":[1,null],"m":1"#,
            "value=1",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"t"},{"Name":"m"}]}"#,
            r#""t":1e400,"m":1"#,
            "value=1",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"m","Unit":"milliseconds"}]}"#,
            r#""m":1"#,
            "unit=1",
            "n m{}",
        ),
        (r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"m","Unit":"ms"}]}"#, r#""m":1"#, "unit=1", "n m{}"),
        (
            r#"{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"m","Unit":7,"StorageResolution":5}]}"#,
            r#""m":1"#,
            "unit=1 resolution=1",
            "n m{}",
        ),
        (
            r#"{"Namespace":"n","Dimensions":[["t"]],"Metrics":[{"Name":"m"}]},{"Namespace":"n","Dimensions":[[]],"Metrics":[{"Name":"t"}]}"#,
            r#""t":5,"m":1"#,
            "value=1 dimension_text=1",
            "n m{t=5}",
        ),
    ]);
}

#[test]
fn a_mistake_in_a_directive_costs_the_directive() {
    let long = "x".repeat(1_025);
    costs(&[
        (
            &format!(
                r#"5,{{}},{{"Namespace":"n"}},{{"Namespace":1,"Dimensions":[[]],"Metrics":[{{"Name":"m"}}]}},{DIRECTIVE}"#
            ),
            r#""d":"v","m":1"#,
            "directive=2 namespace=2",
            "n m{d=v}",
        ),
        (
            &format!(r#"{{"Namespace":"{long}","Dimensions":[[]],"Metrics":[{{"Name":"m"}}]}},{DIRECTIVE}"#),
            r#""d":"v","m":1"#,
            "namespace=1",
            "n m{d=v}",
        ),
        // Of two members with one name the last is meant.
        (DIRECTIVE, r#""d":1,"d":"v","m":"x","m":1"#, "", "n m{d=v}"),
    ]);
}

/// A document that is written anew has each name once, and the last of its values.
#[test]
fn of_members_with_one_name_the_last_is_passed_on() {
    let text = document(DIRECTIVE, r#""x":1,"d":"old","m":[1,2],"d":5,"x":{"a":2},"m":3"#);
    let read = read(text.as_bytes(), NOW).expect("a document");
    assert_eq!(parts(&read), [document(DIRECTIVE, r#""d":"5","x":{"a":2},"m":3"#)]);
    hold(text.as_bytes());
}

#[test]
fn sets_of_more_than_thirty_dimensions_are_left_out() {
    for (count, expected) in [(30, ""), (31, "dimension_set=1")] {
        let keys: Vec<String> = (0..count).map(|key| format!("\"k{key}\"")).collect();
        let members: Vec<String> = (0..count).map(|key| format!("\"k{key}\":\"v\"")).collect();
        let directive =
            format!(r#"{{"Namespace":"n","Dimensions":[[{}],[]],"Metrics":[{{"Name":"m"}}]}}"#, keys.join(","));
        let text = document(&directive, &format!("{},\"m\":1", members.join(",")));
        assert_eq!(findings(&read(text.as_bytes(), NOW).expect("a document")), expected);
    }
}

#[test]
fn the_time_is_the_document_s_if_cloudwatch_takes_it_and_mended_if_it_can_be() {
    let day = 24 * 3_600 * 1_000;
    for (written, time, expected) in [
        (format!(r#""Timestamp":{NOW},"#), Some(NOW), ""),
        (format!(r#""Timestamp":{},"#, NOW - 14 * day), Some(NOW - 14 * day), ""),
        (format!(r#""Timestamp":{},"#, NOW - 14 * day - 1), None, "timestamp=1"),
        (format!(r#""Timestamp":{},"#, NOW + 7_200_000), Some(NOW + 7_200_000), ""),
        (format!(r#""Timestamp":{},"#, NOW + 7_200_001), None, "timestamp=1"),
        (String::new(), Some(NOW), "timestamp=1"),
        (r#""Timestamp":null,"#.to_owned(), Some(NOW), "timestamp=1"),
        (format!(r#""Timestamp":{NOW}.75,"#), Some(NOW), "timestamp=1"),
        (format!(r#""Timestamp":"{NOW}","#), Some(NOW), "timestamp=1"),
        (format!(r#""Timestamp":{},"#, NOW / 1_000), Some(NOW), "timestamp=1"),
        (format!(r#""Timestamp":{},"#, NOW * 1_000), Some(NOW), "timestamp=1"),
        (format!(r#""Timestamp":{},"#, NOW * 1_000_000), Some(NOW), "timestamp=1"),
        (r#""Timestamp":-1,"#.to_owned(), None, "timestamp=1"),
        (r#""Timestamp":1e300,"#.to_owned(), None, "timestamp=1"),
        (r#""Timestamp":"yesterday","#.to_owned(), None, "timestamp=1"),
        (r#""Timestamp":{},"#.to_owned(), None, "timestamp=1"),
    ] {
        let text = format!(r#"{{"_aws":{{{written}"CloudWatchMetrics":[{DIRECTIVE}]}},"d":"v","m":1}}"#);
        let read = read(text.as_bytes(), NOW).expect("a document");
        assert_eq!((read.time(), findings(&read).as_str()), (time, expected), "{written}");
        let after: Value = serde_json::from_str(&parts(&read)[0]).expect("JSON");
        match time {
            Some(time) => assert_eq!(after["_aws"]["Timestamp"], json!(time), "{written}"),
            // What cannot be mended is left as it is.
            None => assert_eq!(parts(&read), [text], "{written}"),
        }
    }
}

#[test]
fn the_route_is_read_and_taken_out() {
    for (text, group, stream, after) in [
        (
            format!(
                r#"{{"_aws":{{"LogGroupName":"g","Timestamp":{NOW},"LogStreamName":"s\u0041","CloudWatchMetrics":[{DIRECTIVE}],"x":1}},"d":"v","m":1}}"#
            ),
            Some("g"),
            Some("sA"),
            format!(r#"{{"_aws":{{"Timestamp":{NOW},"CloudWatchMetrics":[{DIRECTIVE}],"x":1}},"d":"v","m":1}}"#),
        ),
        (
            format!(
                r#"{{"log_group_name":"g","_aws":{{"Timestamp":{NOW},"CloudWatchMetrics":[{DIRECTIVE}]}},"d":"v","log_stream_name":5,"m":1}}"#
            ),
            Some("g"),
            None,
            document(DIRECTIVE, r#""d":"v","m":1"#),
        ),
        (
            format!(
                r#"{{"Version":"0","log_group_name":"g","log_stream_name":"s","Timestamp":{NOW},"CloudWatchMetrics":[{DIRECTIVE}],"d":"v","m":1}}"#
            ),
            Some("g"),
            Some("s"),
            format!(r#"{{"Version":"0","Timestamp":{NOW},"CloudWatchMetrics":[{DIRECTIVE}],"d":"v","m":1}}"#),
        ),
        (
            format!(r#"{{"CloudWatchMetrics":[{DIRECTIVE}],"d":"v","m":1,"LogGroupName":""}}"#),
            None,
            None,
            format!(r#"{{"CloudWatchMetrics":[{DIRECTIVE}],"d":"v","m":1,"Timestamp":{NOW}}}"#),
        ),
        (
            // As a dimension it stays.
            document(
                r#"{"Namespace":"n","Dimensions":[["log_group_name"]],"Metrics":[{"Name":"m"}]}"#,
                r#""log_group_name":"g","m":1"#,
            ),
            Some("g"),
            None,
            document(
                r#"{"Namespace":"n","Dimensions":[["log_group_name"]],"Metrics":[{"Name":"m"}]}"#,
                r#""log_group_name":"g","m":1"#,
            ),
        ),
    ] {
        let read = read(text.as_bytes(), NOW).expect("a document");
        assert_eq!((read.group(), read.stream()), (group, stream), "{text}");
        assert_eq!(parts(&read), [after]);
        hold(text.as_bytes());
    }
}

#[test]
fn more_values_or_metrics_than_cloudwatch_takes_become_several_documents() {
    let list = |from: usize, count: usize| {
        let numbers: Vec<String> = (from..from + count).map(|number| format!("{number}.50")).collect();
        format!("[{}]", numbers.join(","))
    };
    let text = document(
        r#"{"Namespace":"n","Dimensions":[["d"]],"Metrics":[{"Name":"a","Unit":"Count"},{"Name":"b"}],"Note":1},{"Namespace":"o","Dimensions":[[]],"Metrics":[{"Name":"a"}]}"#,
        &format!(r#""d":"v","a":{},"p":{{"x":[ 1 ]}},"b":5"#, list(0, 201)),
    );
    let read = read(text.as_bytes(), NOW).expect("a document");
    assert_eq!(
        parts(&read),
        [
            document(
                r#"{"Namespace":"n","Dimensions":[["d"]],"Metrics":[{"Name":"a","Unit":"Count"},{"Name":"b"}],"Note":1},{"Namespace":"o","Dimensions":[[]],"Metrics":[{"Name":"a"}]}"#,
                &format!(r#""d":"v","a":{},"p":{{"x":[ 1 ]}},"b":5"#, list(0, 100)),
            ),
            document(
                r#"{"Namespace":"n","Note":1,"Dimensions":[["d"]],"Metrics":[{"Name":"a","Unit":"Count"}]},{"Namespace":"o","Dimensions":[[]],"Metrics":[{"Name":"a"}]}"#,
                &format!(r#""d":"v","a":{},"p":{{"x":[ 1 ]}}"#, list(100, 100)),
            ),
            document(
                r#"{"Namespace":"n","Note":1,"Dimensions":[["d"]],"Metrics":[{"Name":"a","Unit":"Count"}]},{"Namespace":"o","Dimensions":[[]],"Metrics":[{"Name":"a"}]}"#,
                &format!(r#""d":"v","a":{},"p":{{"x":[ 1 ]}}"#, list(200, 1)),
            ),
        ]
    );
    hold(text.as_bytes());
    // 250 metrics in one directive.
    let metrics: Vec<String> = (0..250).map(|metric| format!(r#"{{"Name":"m{metric}"}}"#)).collect();
    let values: Vec<String> = (0..250).map(|metric| format!("\"m{metric}\":{metric}")).collect();
    let directive = format!(r#"{{"Namespace":"n","Dimensions":[[]],"Metrics":[{}]}}"#, metrics.join(","));
    let text = document(&directive, &values.join(","));
    let counts: Vec<usize> = parts(&super::read(text.as_bytes(), NOW).expect("a document"))
        .iter()
        .map(|part| {
            let part: Value = serde_json::from_str(part).expect("JSON");
            assert_eq!(part["m0"].is_number(), part["m99"].is_number());
            part["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().map_or(0, Vec::len)
        })
        .collect();
    assert_eq!(counts, [100, 100, 50]);
    hold(text.as_bytes());
}

/// A document may be as large as allowed with nothing but values. One that would become many times larger goes on as it came.
#[test]
fn splitting_never_makes_gigabytes_of_a_megabyte() {
    let values = vec!["0"; 400_000].join(",");
    let text = document(DIRECTIVE, &format!(r#""d":"v","m":[{values}]"#));
    let read = read(text.as_bytes(), NOW).expect("a document");
    assert_eq!((read.count(), findings(&read).as_str()), (4_000, ""));
    hold(text.as_bytes());

    let values = vec!["0"; 200_000].join(",");
    let text = document(DIRECTIVE, &format!(r#""d":"v","m":[{values}],"p":"{}""#, "x".repeat(400_000)));
    let read = super::read(text.as_bytes(), NOW).expect("a document");
    assert_eq!((parts(&read), findings(&read).as_str()), (vec![text.clone()], "too_large=1"));
    assert!(said(&read).is_empty());

    // A hundred thousand series out of one document.
    let sets = vec!["[]"; 1_001].join(",");
    let metrics = [r#"{"Name":"m"}"#; 10].join(",");
    let text = document(&format!(r#"{{"Namespace":"n","Dimensions":[{sets}],"Metrics":[{metrics}]}}"#), r#""m":1"#);
    let read = super::read(text.as_bytes(), NOW).expect("a document");
    assert_eq!((parts(&read), findings(&read).as_str()), (vec![text.clone()], "too_many=1"));
}

#[test]
fn a_document_is_recognised_without_reading_it() {
    assert!(is_likely(document(DIRECTIVE, r#""d":"v""#).as_bytes()));
    assert!(!is_likely(b"a line of a log with CloudWatchMetrics in it"));
    let document = document(DIRECTIVE, r#""d":"v""#);
    assert!(is_likely_line(format!(" \n{document}").as_bytes()));
    assert!(
        !is_likely_line(format!("INFO {document}").as_bytes()),
        "Lambda's lines have something before, ECS's do not"
    );
    assert!(!is_likely_line(b"{\"level\":\"info\"}") && !is_likely_line(b""));
}

/// What holds of any bytes. Returns what it says, if it is a document.
fn hold(bytes: &[u8]) -> Option<BTreeMap<String, Vec<String>>> {
    let document = read(bytes, NOW).ok()?;
    let said_before = said(&document);
    // Half of a surrogate pair is JSON and no text; such a document is not compared.
    let before: Value = serde_json::from_slice(bytes).unwrap_or_else(|_| json!({}));
    let mut said_after: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let all = parts(&document);
    for part in &all {
        assert!(part.len() <= DOCUMENT_BYTES_MAX);
        let again = read(part.as_bytes(), NOW).expect("a part is a document");
        for (name, values) in said(&again) {
            said_after.entry(name).or_default().extend(values);
        }
        let after: Value = serde_json::from_str(part).unwrap_or_else(|_| json!({}));
        if said_before.is_empty() {
            assert_eq!(part, str::from_utf8(bytes).expect("UTF-8").trim_ascii());
            continue;
        }
        // Nothing is left to mend, but a time that cannot be.
        let left: Vec<_> = again.findings().faults().map(|(fault, _)| fault).collect();
        assert!(left.is_empty() || left == [Fault::Timestamp], "{left:?} in {part}");
        assert_eq!((again.findings().repairs().count(), parts(&again)), (0, vec![part.clone()]));
        // What is neither metadata nor a metric is in each part, and is what it was.
        for (name, value) in before.as_object().expect("an object") {
            let is_metadata = matches!(
                name.as_str(),
                "_aws"
                    | "CloudWatchMetrics"
                    | "Timestamp"
                    | "log_group_name"
                    | "log_stream_name"
                    | "LogGroupName"
                    | "LogStreamName"
            );
            match &after[name] {
                kept if kept == value => {}
                // A dimension: the number is the text as it was written.
                Value::String(text) => assert_eq!(serde_json::from_str::<Value>(text).ok().as_ref(), Some(value)),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    assert!(
                        is_metadata || said_before.keys().any(|metric| metric.contains(name.as_str())),
                        "{name} in {part}"
                    );
                }
                other => assert!(is_metadata, "{name} became {other}"),
            }
        }
    }
    if said_before.is_empty() {
        return Some(said_before);
    }
    for values in said_after.values_mut().chain(said_before.clone().values_mut()) {
        values.sort_unstable();
    }
    let mut expected = said_before.clone();
    expected.values_mut().for_each(|values| values.sort_unstable());
    // A list without a number says nothing; it is in the first part alone.
    assert_eq!(said_after, expected, "each value is in one part");
    Some(said_before)
}

/// A document out of few names, so that they meet.
fn any_document() -> impl Strategy<Value = String> {
    let name = || prop::sample::select(&["a", "b", "c", "d", "e", "log_group_name", "é", ""][..]);
    let unit = prop::option::of(prop::sample::select(&["Count", "count", "Seconds", "x"][..]));
    let definition = (name(), unit, prop::option::of(0..70u8)).prop_map(|(name, unit, resolution)| {
        let mut metric = json!({"Name": name});
        if let Some(unit) = unit {
            metric["Unit"] = unit.into();
        }
        if let Some(resolution) = resolution {
            metric["StorageResolution"] = if resolution > 30 { 60.into() } else { resolution.into() };
        }
        metric
    });
    let set = prop::collection::vec(name(), 0..3);
    let directive = (
        prop::sample::select(&["n", "o", ""][..]),
        prop::collection::vec(set, 0..3),
        prop_oneof![9 => prop::collection::vec(definition.clone(), 0..4), 1 => prop::collection::vec(definition, 90..230)],
    )
        .prop_map(|(namespace, sets, metrics)| json!({"Namespace": namespace, "Dimensions": sets, "Metrics": metrics}));
    let number = || prop_oneof![(-1_000_000..1_000_000i64).prop_map(Value::from), any::<f64>().prop_map(Value::from)];
    let value = prop_oneof![
        4 => number(),
        2 => prop::collection::vec(number(), 0..5).prop_map(Value::from),
        2 => prop::collection::vec(number(), 95..330).prop_map(Value::from),
        2 => "[a-z]{0,5}".prop_map(Value::from),
        1 => (1..250usize).prop_map(|count| json!({
            "Values": (0..count).collect::<Vec<_>>(), "Counts": vec![2; count], "Max": count, "Min": 0, "Count": 2 * count, "Sum": 1,
        })),
        1 => Just(json!({"Max": 3, "Min": 1, "Count": 2, "Sum": 4})),
        1 => Just(Value::Null),
        1 => Just(json!({"x": [1, {"y": "z"}]})),
    ];
    let time = prop_oneof![Just(json!(NOW)), Just(json!(NOW / 1_000)), Just(Value::Null), Just(json!(5))];
    (
        prop::collection::vec(directive, 0..4),
        prop::collection::vec((name(), value), 0..8),
        time,
        prop::option::of("[a-z]{0,3}"),
        any::<bool>(),
    )
        .prop_map(|(directives, members, time, group, old)| {
            let mut metadata = json!({"CloudWatchMetrics": directives, "Timestamp": time});
            if let Some(group) = group {
                metadata["LogGroupName"] = group.into();
            }
            let mut text: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {value}", Value::from(*name))).collect();
            if old {
                let members = metadata.as_object().expect("an object");
                text.extend(members.iter().map(|(name, value)| format!("{}:{value}", Value::from(name.as_str()))));
            } else {
                text.insert(text.len() / 2, format!("\"_aws\" : {metadata}"));
            }
            format!("{{{}}}", text.join(" ,"))
        })
}

proptest! {
    /// Whatever the document is: its parts are documents without a mistake, and say together what it says.
    #[test]
    fn property_parts_say_together_what_the_document_says(text in any_document()) {
        prop_assert!(hold(text.as_bytes()).is_some(), "{}", text);
    }

    #[test]
    fn property_no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        hold(&bytes);
    }

    /// A document with some bytes changed.
    #[test]
    fn property_no_damage_does_harm(
        text in any_document(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&b"{}[],:\"\\0ae-. \xff"[..])), 1..4),
    ) {
        let mut bytes = text.into_bytes();
        for (index, byte) in damage {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        hold(&bytes);
    }
}
