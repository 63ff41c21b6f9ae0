//! What SDKs send to the X-Ray daemon's port arrives at backends of OTLP as spans, if it is so routed.
//!
//! Promises: spans are compared with what was sent by their ids; every story ends by balancing the books.
//! Never: repeats the rules of the mapping, which stand beside it.

use std::net::{SocketAddr, UdpSocket};

use memchr::memmem::find;
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::FakeAws,
    metrics::Account,
    otlp::{Act, Backend},
    wait::until,
};

use crate::story::SOON;

const HEADER: &str = "{\"format\":\"json\",\"version\":1}\n";
const TRACE: &str = "\"trace_id\":\"1-58406520-a006649127e371903a2de979\"";

struct Task {
    agent: Agent,
    daemon: SocketAddr,
    sdk: UdpSocket,
}

impl Task {
    /// With these outputs, in YAML.
    fn start(outputs: &str, aws: &FakeAws) -> Self {
        let daemon = free_address().unwrap();
        let setup = Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
             traces:\n  inputs: [{{xray: {{udp: '{daemon}'}}}}]\n  outputs: {outputs}\n"
        ));
        let agent = Agent::start(&setup.with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri())).unwrap();
        until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
        Self { agent, daemon, sdk: UdpSocket::bind("127.0.0.1:0").unwrap() }
    }

    fn send(&self, document: &str) {
        self.sdk.send_to(format!("{HEADER}{document}").as_bytes(), self.daemon).unwrap();
    }

    fn wait(&self, what: &str, is_it: impl Fn(&Account) -> bool) {
        self.agent.wait_for_metrics(SOON, what, |metrics| is_it(&metrics.books().total()));
    }

    fn unmade(&self, reason: &str) -> f64 {
        self.agent.metrics().sum("pillion_traces_unmade_spans_total", &[("reason", reason)])
    }

    fn end(self, accepted: u64) {
        let ended = self.agent.stop(SOON);
        ended.assert_clean();
        let last = ended.final_line().unwrap();
        assert_eq!((&last["accepted"], &last["balanced"]), (&accepted.into(), &true.into()), "{last}");
    }
}

/// A segment that called `calls` others; their ids follow its own.
fn segment(number: u64, calls: u64) -> String {
    let times = "\"start_time\":1790000000.25,\"end_time\":1790000001";
    let call = |id: u64| format!("{{\"name\":\"step\",\"id\":\"{id:016x}\",{times}}}");
    let calls: Vec<_> = (number + 1..=number + calls).map(call).collect();
    format!("{{\"name\":\"shop\",\"id\":\"{number:016x}\",{TRACE},{times},\"subsegments\":[{}]}}", calls.join(","))
}

fn open(number: u64) -> String {
    format!("{{\"name\":\"shop\",\"id\":\"{number:016x}\",{TRACE},\"start_time\":1790000000.25,\"in_progress\":true}}")
}

/// Each complete segment and subsegment is a span, once, though the backend fails for a while; what is in progress comes when it is complete; what
/// cannot be a span is refused alone.
#[test]
fn segments_arrive_as_spans_between_documents_that_are_none() {
    let (aws, backend) = (FakeAws::start(), Backend::start());
    backend.script([Act::Status(503, None), Act::Reset]);
    let task = Task::start(&format!("[{{to: {{otlp: {{endpoint: '{}'}}}}}}]", backend.http()), &aws);
    for round in 0..20 {
        task.send(&open(round * 10 + 1));
        task.send(&segment(round * 10 + 1, 5));
        match round % 4 {
            0 => task.send("no JSON"),
            1 => task.send(&segment(round * 10 + 8, 0).replace("1-58406520", "x")),
            2 => task.send("T1UCg=="),
            _ => task.send(&segment(round * 10 + 8, 0).replace("1790000001", "\"soon\"")),
        }
        // Of four rounds the third has nothing that is refused.
        let refused = (0..=round).filter(|round| round % 4 != 2).count() as u64;
        task.wait("these", |total| total.accepted >= 6 * (round + 1) + refused);
    }
    task.wait("all spans", |total| total.delivered == 120 && total.refused.get("invalid") == Some(&15));
    let told = ["in_progress", "unsampled", "not_json", "no_trace", "no_time"].map(|reason| task.unmade(reason));
    assert_eq!(told, [20.0, 5.0, 5.0, 5.0, 5.0]);
    let mut spans = backend.spans();
    spans.sort();
    let ids: Vec<_> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids, (0..20).flat_map(|round| round * 10 + 1..=round * 10 + 6).collect::<Vec<_>>(), "each once");
    assert!(spans.iter().all(|span| span.service == "shop"));
    // The task's own name is put into resources, as for spans that come by OTLP.
    let seen = backend.seen();
    let taken = seen.iter().find(|seen| seen.act == Act::Take).unwrap();
    assert!(find(&taken.body, b"aws.ecs.task.arn").is_some(), "{}", String::from_utf8_lossy(&taken.body));
    backend.assert_no_violations();
    task.end(135);
}

/// A process sends from one socket: what it streams ahead of its second segment is of the service of its first one.
#[test]
fn what_is_streamed_ahead_of_its_segment_is_of_the_process_s_service() {
    let (aws, backend) = (FakeAws::start(), Backend::start());
    let mut task = Task::start(&format!("[{{to: {{otlp: {{endpoint: '{}'}}}}}}]", backend.http()), &aws);
    let alone =
        |id| segment(id, 0).replacen("shop", "step\",\"type\":\"subsegment\",\"parent_id\":\"00000000000000ff", 1);
    let mut till = UdpSocket::bind("127.0.0.1:0").unwrap();
    task.send(&alone(1));
    task.send(&segment(2, 0));
    task.send(&alone(3));
    std::mem::swap(&mut task.sdk, &mut till);
    task.send(&alone(4));
    task.send(&segment(5, 0).replacen("shop", "till", 1));
    task.send(&alone(6));
    std::mem::swap(&mut task.sdk, &mut till);
    task.send(&alone(7));
    task.wait("all", |total| total.delivered == 7);
    let mut spans: Vec<_> = backend.spans().into_iter().map(|span| (span.id, span.service)).collect();
    spans.sort();
    let names = ["", "shop", "shop", "", "till", "till", "shop"].map(str::to_owned);
    assert_eq!(spans, (1..).zip(names).collect::<Vec<_>>());
    task.end(7);
}

/// Beside X-Ray, which gets the documents as they came, a backend gets spans only if it is said.
#[test]
fn beside_x_ray_a_backend_gets_segments_if_it_is_said() {
    for (more, spans) in [("", 0), (", segments: true", 3)] {
        let (aws, backend) = (FakeAws::start(), Backend::start());
        let outputs = format!(
            "[{{to: {{xray: {{region: us-east-1, endpoint: '{}'}}}}}}, {{to: {{otlp: {{endpoint: '{}'}}}}{more}}}]",
            aws.url(),
            backend.http()
        );
        let task = Task::start(&outputs, &aws);
        task.send(&segment(1, 2));
        task.send(&open(9));
        task.wait("all", |total| total.delivered == 2 + spans);
        assert_eq!(aws.segments().len(), 2, "{more}");
        assert_eq!(backend.spans().len() as u64, spans);
        task.end(2 + spans);
    }
}
