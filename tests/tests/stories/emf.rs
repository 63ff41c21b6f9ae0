//! Documents of CloudWatch's embedded metric format, on 25888 or wherever: as AWS's libraries send them, and as they should not.
//!
//! Promises: each document arrives as it was, where it says or where the configuration says; an app that writes more than the service
//! takes is never held up.
//! Never: proves what CloudWatch makes of them. `tests/tests/real/emf.rs` has the libraries.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{Action, FakeAws, Operation},
    forward_client::ForwardClient,
    wait::until,
};

use crate::story::{SOON, Story, WEB, WEB_STREAM, last_number, logs, record};

/// An agent with an `emf` input at `address`, with `more` in it.
fn begin(memory: &str, address: SocketAddr, more: &str) -> Story {
    let aws = FakeAws::start();
    let config = format!(
        "memory: {memory}\nlogs:\n  inputs:\n    - emf: {{tcp: '{address}', udp: '{address}'{more}}}\n  outputs:\n    - to:\n        \
         cloudwatch: {{group: ours, stream_prefix: s-, auto_create_group: true, region: us-east-1, endpoint: '{}'}}\n",
        aws.url()
    );
    let story = Story::with(aws, &Setup::yaml(config));
    until(SOON, || story.agent.log(), || story.agent.get("/readyz").0 == 200);
    story
}

fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

/// A document with these metadata besides the usual ones.
fn document(number: usize, metadata: Value) -> Value {
    let mut all = json!({
        "Timestamp": now(),
        "CloudWatchMetrics": [{"Namespace": "shop", "Dimensions": [["service"]], "Metrics": [{"Name": "latency", "Unit": "Milliseconds"}]}],
    });
    let more = metadata.as_object().unwrap().clone();
    all.as_object_mut().unwrap().extend(more);
    json!({"_aws": all, "service": "cart", "latency": number, "request": {"id": format!("r{number}"), "path": "/\u{e4}\"\\"}})
}

fn send(address: SocketAddr, lines: &[String]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(format!("{}\n", lines.join("\n")).as_bytes()).unwrap();
    stream
}

#[test]
fn documents_arrive_as_they_were_and_where_they_say() {
    let address = free_address().unwrap();
    let story = begin("16 MiB", address, "");
    let kept: Vec<String> = (0..3).map(|number| document(number, json!({})).to_string()).collect();
    let routed = document(3, json!({"LogGroupName": "theirs", "LogStreamName": "one"}));
    let half_routed = document(4, json!({"LogGroupName": "theirs"}));
    let mut long = document(5, json!({}));
    long["latency"] = (0..250).map(|value| json!(value)).collect();
    // Three documents with line feeds, one datagram, and one that is whole when the connection ends.
    let mut stream = send(address, &[kept[0].clone(), routed.to_string(), half_routed.to_string(), long.to_string()]);
    stream.write_all(kept[1].as_bytes()).unwrap();
    drop(stream);
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.send_to(format!("{}\n", kept[2]).as_bytes(), address).unwrap();
    story.settled(8);

    let mut ours = story.aws.messages("ours", "s-emf");
    let mut parts: Vec<Value> =
        ours.extract_if(.., |message| !kept.contains(message)).map(|part| record(&part)).collect();
    ours.sort_unstable();
    assert_eq!(ours, kept, "byte for byte");
    parts.sort_by_key(|part| part["latency"][0].as_u64());
    let values: Vec<&Vec<Value>> = parts.iter().map(|part| part["latency"].as_array().unwrap()).collect();
    assert_eq!(values.iter().map(|part| part.len()).collect::<Vec<_>>(), [100, 100, 50]);
    let all: Value = values.into_iter().flatten().cloned().collect();
    assert_eq!(all, long["latency"], "each value once");
    assert!(parts.iter().all(|part| part["_aws"] == long["_aws"] && part["request"] == long["request"]));

    let without = |mut document: Value| {
        let metadata = document["_aws"].as_object_mut().unwrap();
        metadata.remove("LogGroupName");
        metadata.remove("LogStreamName");
        document
    };
    let theirs = |stream| story.aws.messages("theirs", stream).iter().map(|text| record(text)).collect::<Vec<_>>();
    assert_eq!(theirs("one"), [without(routed.clone())]);
    assert_eq!(theirs("s-emf"), [without(half_routed)]);
    // An event happened when its document says.
    let at = story.aws.events("theirs", "one")[0].timestamp_ms;
    assert_eq!(Value::from(at), routed["_aws"]["Timestamp"]);
    let metrics = story.agent.metrics();
    assert_eq!(metrics.sum("pillion_emf_documents_total", &[("outcome", "logs")]), 6.0);
    assert_eq!(metrics.sum("pillion_emf_split_documents_total", &[]), 2.0);
    story.end();
}

/// CloudWatch would take nothing out of the first three; text is as text of any input.
#[test]
fn what_is_wrong_is_mended_or_goes_to_the_logs_as_it_is() {
    let address = free_address().unwrap();
    let story = begin("16 MiB", address, ", log_group: emf-default, tag: metrics");
    let mut number = document(1, json!({"Timestamp": now() / 1_000}));
    number["service"] = json!(7);
    let mut mixed = document(2, json!({}));
    mixed["_aws"]["CloudWatchMetrics"][0]["Metrics"] = json!([{"Name": "gone"}, {"Name": "latency", "Unit": "ms"}]);
    let broken = "{\"_aws\":{\"CloudWatchMetrics\":[{}]},\"latency\":NaN}";
    let text = "\u{1b}[31mhello \"metrics\"";
    drop(send(address, &[number.to_string(), mixed.to_string(), broken.to_owned(), text.to_owned(), "\r".to_owned()]));
    story.settled(4);
    let mut messages = story.aws.messages("emf-default", "s-metrics");
    assert_eq!(messages.extract_if(.., |message| message == broken).count(), 1, "{messages:?}");
    let mut documents: Vec<Value> = messages.iter().map(|message| record(message)).collect();
    documents.sort_by_key(|document| document["latency"].as_u64());
    number["service"] = json!("7");
    number["_aws"]["Timestamp"] = json!(number["_aws"]["Timestamp"].as_u64().unwrap() * 1_000);
    mixed["_aws"]["CloudWatchMetrics"][0]["Metrics"] = json!([{"Name": "latency"}]);
    assert_eq!(documents, [number, mixed]);
    assert_eq!(
        story.aws.messages("ours", "s-metrics").iter().map(|text| record(text)).collect::<Vec<_>>(),
        [json!({"log": text})]
    );
    let metrics = story.agent.metrics();
    for (name, label, value, expected) in [
        ("documents", "outcome", "logs", 2.0),
        ("documents", "outcome", "broken", 1.0),
        ("documents", "outcome", "plain", 1.0),
        ("faults", "reason", "malformed", 1.0),
        ("faults", "reason", "value_missing", 1.0),
        ("faults", "reason", "unit", 1.0),
        ("repairs", "kind", "dimension_text", 1.0),
        ("repairs", "kind", "timestamp", 1.0),
    ] {
        assert_eq!(metrics.sum(&format!("pillion_emf_{name}_total"), &[(label, value)]), expected, "{value}");
    }
    story.end();
}

/// What a container prints stays a line of the log, and its metrics are on the page and in CloudWatch. Too long a part of Docker's, or a line
/// that merely speaks of metrics, is a line.
#[test]
fn documents_in_what_containers_print_are_found_if_that_is_wished() {
    let aws = FakeAws::start();
    let to = format!("region: us-east-1, endpoint: '{}'", aws.url());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs:\n  inputs: [{{forward: {{unix: '{{socket}}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{group: bench, stream_prefix: s-, \
         auto_create_group: true, {to}}}}}}}]\n\
         metrics:\n  inputs: [{{emf: {{in_records: true, deliver: metrics}}}}]\n  outputs: [{{to: {{cloudwatch: {{{to}}}}}}}]\n"
    )))
    .unwrap();
    let mut client = ForwardClient::unix(&agent.socket()).unwrap();
    let lines: Vec<String> = [2, 3].map(|number| document(number, json!({})).to_string()).to_vec();
    let cut = lines[0][..lines[0].len() - 9].to_owned();
    let others = ["about \"CloudWatchMetrics\"".to_owned(), cut];
    for line in lines.iter().chain(&others) {
        client.line(WEB, line).unwrap();
    }
    // A minute may be over meanwhile, and then metrics are delivered too.
    aws.wait_for_events(4, SOON);
    let page = agent.metrics();
    assert_eq!((page.sum("latency_sum", &[("service", "cart")]), page.sum("latency_count", &[])), (5.0, 2.0));
    assert_eq!(page.sum("pillion_emf_documents_total", &[("outcome", "record")]), 2.0);
    // A line about documents is none that is broken: it does not begin as one.
    assert_eq!(page.sum("pillion_emf_faults_total", &[("reason", "malformed")]), 1.0);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(last_number(&ended, "lost"), 0);
    assert_eq!(logs(&aws, "bench", WEB_STREAM), [lines, others.to_vec()].concat());
    let told: Vec<_> = aws.metrics().into_iter().map(|(metric, told)| (metric.name, told.sum, told.count)).collect();
    assert_eq!(told, [("latency".to_owned(), 5.0, 2.0)]);
    aws.assert_no_violations();
}

/// Python's library blocks its app while nobody reads. Nothing is taken by the service here, and all is read.
#[test]
fn an_app_that_writes_more_than_can_be_kept_is_never_held_up() {
    const DOCUMENTS: usize = 60_000;
    let address = free_address().unwrap();
    let story = begin("4 MiB", address, "");
    story.aws.always(Operation::PutLogEvents, Action::Hang);
    let mut stream = TcpStream::connect(address).unwrap();
    // A line that is too long and one that never ends cost themselves.
    stream.write_all(&[&vec![b'x'; 1_500_000][..], b"\n"].concat()).unwrap();
    let mut unfinished = TcpStream::connect(address).unwrap();
    unfinished.write_all(b"{\"_aws\"").unwrap();
    for first in (0..DOCUMENTS).step_by(1_000) {
        let lines: Vec<String> =
            (first..first + 1_000).map(|number| document(number, json!({})).to_string() + "\n").collect();
        stream.write_all(lines.concat().as_bytes()).unwrap();
    }
    story.accepted(DOCUMENTS as u64);
    let total = story.agent.books().total();
    assert!(total.lost["memory_full"] > 0 && total.balanced(), "{total:?}");
    assert_eq!(story.agent.metrics().sum("pillion_logs_forward_errors_total", &[("kind", "emf_too_long")]), 1.0);
    drop((stream, unfinished));
    story.accepted(DOCUMENTS as u64 + 1);
    let ended = story.agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(last_number(&ended, "accepted"), DOCUMENTS as u64 + 1);
    assert_eq!(last_number(&ended, "lost"), DOCUMENTS as u64 + 1);
}
