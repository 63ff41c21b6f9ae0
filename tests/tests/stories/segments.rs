//! Spans that come by OTLP arrive in X-Ray as segments.
//!
//! Promises: the documents that the service gets are compared with what was sent; every story ends by balancing the books.
//! Never: repeats the rules of the mapping, which stand beside it.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{Action, FakeAws, Operation},
    metrics::Account,
    otlp::{
        Client, request,
        span::{TEXT, field, span},
    },
    wait::until,
};

use crate::story::SOON;

const PUT: Operation = Operation::PutTraceSegments;

struct Task {
    aws: FakeAws,
    agent: Agent,
    http: SocketAddr,
}

impl Task {
    /// With these members of the input and of the output, in YAML.
    fn start(input: &str, output: &str) -> Self {
        let aws = FakeAws::start();
        let (grpc, http) = (free_address().unwrap(), free_address().unwrap());
        let agent = Agent::start(&Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
             traces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'{input}}}}}]\n  \
             outputs: [{{to: {{xray: {{region: us-east-1, endpoint: '{}'{output}}}}}}}]\n",
            aws.url()
        )))
        .unwrap();
        until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
        Self { aws, agent, http }
    }

    fn post(&self, body: &[u8]) {
        assert_eq!(Client::connect(self.http).unwrap().post(body).unwrap().status, 200);
    }

    fn wait(&self, what: &str, is_it: impl Fn(&Account) -> bool) {
        self.agent.wait_for_metrics(SOON, what, |metrics| is_it(&metrics.books().total()));
    }

    /// Ends the agent and gives the segments that arrived, by their ids.
    fn end(self, accepted: u64) -> Vec<Value> {
        let ended = self.agent.stop(SOON);
        ended.assert_clean();
        let last = ended.final_line().unwrap();
        assert_eq!((&last["accepted"], &last["balanced"]), (&accepted.into(), &true.into()), "{last}");
        self.aws.assert_no_violations();
        let mut segments: Vec<Value> =
            self.aws.segments().iter().map(|text| serde_json::from_str(text).expect("JSON")).collect();
        segments.sort_by_key(|segment| segment["id"].as_str().map(str::to_owned));
        segments
    }
}

/// A request with one span.
fn request_of(span: &[u8]) -> Vec<u8> {
    field(1, &field(2, &field(2, span)))
}

#[test]
fn spans_arrive_as_segments_though_the_service_throttles() {
    let task = Task::start("", ", indexed_attributes: [http.route], log_groups: [/ecs/shop]");
    task.aws.script(PUT, [Action::Error(429, "ThrottledException", "Rate exceeded"), Action::Status(503, None)]);
    for first in (0..300).step_by(100) {
        task.post(&request("shop", first + 1..first + 101));
    }
    task.wait("all segments", |total| total.delivered == 300);
    let segments = task.end(300);
    let ids: Vec<_> = segments.iter().map(|segment| segment["id"].as_str().unwrap().to_owned()).collect();
    assert_eq!(ids, (1..301).map(|number| format!("{number:016x}")).collect::<Vec<_>>(), "each once");
    let (start, end) = (segments[6]["start_time"].as_f64().unwrap(), segments[6]["end_time"].as_f64().unwrap());
    assert!((start - 1_790_000_000.007).abs() < 1e-6 && (end - 1_790_000_000.019_345_7).abs() < 1e-6, "{start} {end}");
    // `tests::otlp::span` says what is in the seventh.
    assert_eq!(
        segments[6],
        json!({
            "name": "shop", "id": "0000000000000007", "trace_id": "1-00000000-0000000758406520a0066491",
            "parent_id": "0000000000000004", "start_time": start, "end_time": end,
            "fault": false, "error": false, "throttle": false,
            "http": {"response": {"content_length": 0}},
            "aws": {"cloudwatch_logs": [{"log_group": "/ecs/shop"}], "xray": {"auto_instrumentation": false}},
            "annotations": {"http.route": "/orders/{id}"},
            "metadata": {"default": {
                "db.query.text": TEXT,
                "otel.resource.service.name": "shop",
            }},
        })
    );
}

#[test]
fn one_span_that_cannot_be_one_harms_no_other() {
    let task = Task::start("", "");
    let text = field(9, &[field(1, b"text"), field(2, &field(1, &vec![b'x'; 200_000]))].concat());
    task.post(&request_of(&[span(1), text].concat()));
    task.post(&request_of(&field(5, b"without an id")));
    task.post(&request("shop", 2..4));
    task.wait("all segments", |total| total.delivered == 3 && total.refused.get("invalid") == Some(&1));
    assert_eq!(task.agent.metrics().sum("pillion_traces_shrunk_segments_total", &[]), 1.0);
    let segments = task.end(4);
    let name = |segment: &Value| (segment["id"].as_str().unwrap().to_owned(), segment.to_string().len() <= 64_000);
    let expected = [1, 2, 3].map(|number| (format!("{number:016x}"), true));
    assert_eq!(segments.iter().map(name).collect::<Vec<_>>(), expected);
}

#[test]
fn an_answer_may_wait_until_x_ray_has_the_segments() {
    let task = Task::start(", ack: delivered", "");
    task.post(&request("shop", 1..120));
    assert_eq!(task.agent.books().total().delivered, 119, "before the answer");
    assert_eq!(task.end(119).len(), 119);
}
