//! The agent's own spans arrive at a backend of OTLP: one for each request and each question, and none about themselves.
//!
//! Promises: they are counted against what the agent says of its requests; every story ends by balancing the books.
//! Never: proves what a span looks like to somebody else's program.

use memchr::memmem::find;
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{FakeAws, TASK_ARN},
    forward_client::ForwardClient,
    otlp::{Act, Backend, Client, Span, request},
    wait::until,
};

use crate::{secrets_task, story::SOON};

/// For whom own spans are meant.
const TO: &str = "PILLION__TELEMETRY__TRACES__TO";

fn says(span: &Span, text: &str) -> bool {
    find(&span.bytes, text.as_bytes()).is_some()
}

/// Each try of a request is a span, with what became of it and of whose task. The last ones leave when the agent ends.
#[test]
fn each_request_is_a_span_and_none_is_left_behind() {
    let (aws, backend, own, http) = (FakeAws::start(), Backend::start(), Backend::start(), free_address().unwrap());
    backend.script([Act::Status(503, None), Act::Take]);
    let setup = Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{}', http: '{http}'}}}}]\n  outputs: [{{to: {{otlp: {{endpoint: '{}', fill_from_task: false}}}}}}]\n\
         telemetry: {{traces: {{to: '{}', headers: {{x-key: canary-of-headers}}}}}}\n",
        free_address().unwrap(),
        backend.http(),
        own.http()
    ));
    // The region is known, and nothing but the own spans wants to know more.
    let setup = setup.with("AWS_REGION", "us-east-1").with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri());
    let agent = Agent::start(&setup).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    assert_eq!(Client::connect(http).unwrap().post(&request("shop", 0..10)).unwrap().status, 200);
    agent.wait_for_metrics(SOON, "the spans", |metrics| metrics.books().total().delivered == 10);
    let requests = agent.metrics().sum("pillion_deliver_requests_total", &[("output", "otlp.0")]);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(ended.final_line().unwrap()["balanced"], true);
    let spans = own.spans();
    assert_eq!((spans.len() as f64, requests), (2.0, 2.0));
    assert!(spans.iter().all(|span| span.service == "pillion" && says(span, "deliver") && says(span, "otlp.0")));
    let with = |outcome: &str| spans.iter().filter(|span| says(span, outcome)).count();
    assert_eq!((with("unavailable"), with("delivered")), (1, 1));
    assert_eq!(own.seen()[0].header("x-key"), Some("canary-of-headers"));
    assert!(find(&own.seen()[0].body, TASK_ARN.as_bytes()).is_some(), "the resource says which task it is");
    own.assert_no_violations();
}

/// Each question about a secret is a span with its name and its version, and nothing of its value.
#[test]
fn each_question_about_a_secret_is_a_span_without_its_value() {
    let (task, own) = (secrets_task::Task::new(), Backend::start());
    let agent = Agent::start(&task.setup().with(TO, own.http())).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    agent.stop(SOON).assert_clean();
    let spans = own.spans();
    let about = |text: &str| spans.iter().filter(|span| says(span, text)).count();
    assert!(about("look at secret") > 0 && about("fetch secret") > 0, "{}", spans.len());
    assert!(spans.iter().any(|span| says(span, "pillion.secret.version") && says(span, "v1")));
    assert_eq!(about("canary"), 0);
    own.assert_no_violations();
}

/// Own spans may go through the agent's own input, to X-Ray or anywhere. That they were delivered is no span then.
#[test]
fn own_spans_that_come_back_are_not_told_of() {
    let (backend, aws, http) = (Backend::start(), FakeAws::start(), free_address().unwrap());
    aws.with_streams("shop", &["app"]);
    let setup = Setup::yaml(format!(
        "logs:\n  inputs: [{{forward: {{unix: '{{socket}}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{}', group: \
         shop, stream: app}}}}}}]\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{}', http: '{http}'}}}}]\n  outputs: [{{to: {{otlp: {{endpoint: '{}'}}}}}}]\n\
         telemetry: {{traces: {{to: 'http://{http}'}}}}\n",
        aws.url(),
        free_address().unwrap(),
        backend.http()
    ));
    let agent = Agent::start(&setup).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    ForwardClient::unix(&agent.socket()).unwrap().line("app-firelens-1", "hello").unwrap();
    until(SOON, || agent.log(), || backend.count() > 0);
    agent.wait_for_metrics(SOON, "all of it", |metrics| metrics.books().total().in_flight == 0);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(ended.final_line().unwrap()["balanced"], true);
    let spans = backend.spans();
    assert!(spans.iter().all(|span| says(span, "cloudwatch.0") && !says(span, "otlp.0")), "{spans:?}");
}
