//! What SDKs send to the X-Ray daemon's port arrives in X-Ray, whatever else comes there and whatever the service says.
//!
//! Promises: segments are compared with what was sent, byte for byte; every story ends by balancing the books.
//! Never: knows that UDP may lose on loopback: what the kernel dropped is counted, and must be nothing where nothing is flooded.

use std::{
    collections::BTreeSet,
    net::{SocketAddr, UdpSocket},
};

use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{Action, FakeAws, Operation},
    wait::until,
};

use crate::story::SOON;

const PUT: Operation = Operation::PutTraceSegments;
const HEADER: &str = "{\"format\":\"json\",\"version\":1}\n";

struct Task {
    aws: FakeAws,
    agent: Agent,
    daemon: SocketAddr,
    sdk: UdpSocket,
}

fn segment(number: usize) -> String {
    format!(
        "{{\"name\":\"shop \u{e4} \\\\ \\\"x\\\"\",\"id\":\"{number:016x}\",\"trace_id\":\"1-58406520-a006649127e371903a2de979\",\
         \"start_time\":1.478293361271E9,\"end_time\":1.478293361449E9,\"sql\":\"SELECT\\n\\t1\"}}"
    )
}

impl Task {
    fn start(more: &str) -> Self {
        let aws = FakeAws::start();
        // A port that is free for TCP is for UDP too, as good as always.
        let daemon = free_address().unwrap();
        let agent = Agent::start(&Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n{more}\
             traces:\n  inputs: [{{xray: {{udp: '{daemon}'}}}}]\n  outputs: [{{to: {{xray: {{region: us-east-1, endpoint: '{}'}}}}}}]\n",
            aws.url()
        )))
        .unwrap();
        Self { aws, agent, daemon, sdk: UdpSocket::bind("127.0.0.1:0").unwrap() }
    }

    fn send(&self, datagram: &[u8]) {
        self.sdk.send_to(datagram, self.daemon).unwrap();
    }

    fn send_segments(&self, numbers: std::ops::Range<usize>) {
        numbers.for_each(|number| self.send(format!("{HEADER}{}", segment(number)).as_bytes()));
    }

    /// The same for more than the kernel keeps, as an app sends them over time: when the ones before were read.
    fn send_many_segments(&self, count: usize) {
        for first in (0..count).step_by(20) {
            self.send_segments(first..first + 20);
            self.wait("these segments", |total| total.accepted == first as u64 + 20);
        }
    }

    fn wait(&self, what: &str, is_it: impl Fn(&tests::metrics::Account) -> bool) {
        self.agent.wait_for_metrics(SOON, what, |metrics| is_it(&metrics.books().total()));
    }

    /// Ends the agent and gives the segments that arrived, sorted.
    fn end(self, accepted: u64) -> Vec<String> {
        assert_eq!(self.agent.metrics().sum("pillion_traces_overflowed_datagrams_total", &[]), 0.0);
        let ended = self.agent.stop(SOON);
        ended.assert_clean();
        let last = ended.final_line().unwrap();
        assert_eq!((&last["accepted"], &last["balanced"]), (&accepted.into(), &true.into()), "{last}");
        self.aws.assert_no_violations();
        let mut segments = self.aws.segments();
        segments.sort();
        segments
    }
}

/// Segments as SDKs write them, between datagrams that are none: each once, byte for byte, in requests of fifty.
#[test]
fn segments_arrive_as_they_were_sent_between_datagrams_that_are_none() {
    let task = Task::start("");
    for number in 0..120 {
        task.send_segments(number..number + 1);
        if number % 10 == 9 {
            task.wait("these segments", |total| total.accepted == number as u64 + 1);
        }
        match number % 4 {
            0 => task.send(b"no header at all"),
            1 => task.send(b"{\"format\":\"json\",\"version\":2}\n{}"),
            2 => task.send(HEADER.as_bytes()),
            _ => task.send(b""),
        }
    }
    let large = format!("{HEADER}{}", segment(120).replace("SELECT", &"x".repeat(60_000)));
    task.send(large.as_bytes());
    task.wait("all segments", |total| total.delivered == 121);
    let metrics = task.agent.metrics();
    let rejected = |reason| metrics.sum("pillion_traces_rejected_datagrams_total", &[("reason", reason)]);
    assert_eq!((rejected("no_header"), rejected("bad_header"), rejected("no_document")), (30.0, 30.0, 30.0));
    assert_eq!(metrics.sum("pillion_traces_received_datagrams_total", &[]), 211.0);
    let requests = task.aws.asked(PUT);
    assert!(requests <= 12, "{requests} requests for 121 segments");
    let mut expected: Vec<_> = (0..120).map(segment).chain([large[HEADER.len()..].to_owned()]).collect();
    expected.sort();
    assert_eq!(task.end(121), expected);
}

/// What X-Ray does not process is refused alone; bytes that are no UTF-8 cost their neighbours nothing.
#[test]
fn what_x_ray_does_not_process_is_refused_alone() {
    let task = Task::start("");
    task.send_segments(0..20);
    task.send(format!("{HEADER}not JSON").as_bytes());
    task.send(format!("{HEADER}{{\"id\":\"0123456789abcdef\",\"name\":\"without a trace\"}}").as_bytes());
    task.send(&[HEADER.as_bytes(), b"{\"broken\":\"\xff\xfe\"}"].concat());
    task.send(format!("{HEADER}T1SCg==").as_bytes());
    task.send_segments(20..40);
    task.wait("all to be settled", |total| total.accepted == 44 && total.in_flight == 0);
    let total = task.agent.books().total();
    assert_eq!((total.delivered, total.refused["invalid"]), (41, 3), "{total:?}");
    let (arrived, unnamed): (Vec<_>, Vec<_>) = task.end(44).into_iter().partition(|segment| segment.starts_with('{'));
    let mut expected: Vec<_> = (0..40).map(segment).collect();
    expected.sort();
    assert_eq!(arrived, expected, "once each");
    assert_eq!(unnamed, ["T1SCg=="], "has no id by right, and was not what was refused");
}

/// Throttled, failing, reset: nothing is lost, where the daemon loses every batch that it tried twice.
#[test]
fn a_service_that_fails_for_a_while_costs_no_segment() {
    let task = Task::start("");
    task.aws.script(
        PUT,
        [
            Action::Status(429, Some(1)),
            Action::Error(429, "ThrottledException", "Rate exceeded"),
            Action::Status(503, None),
            Action::HtmlError,
            Action::ResetBeforeAnswer,
            Action::reset_after_serving(),
        ],
    );
    task.send_many_segments(200);
    task.wait("all segments", |total| total.delivered == 200);
    let arrived: BTreeSet<_> = task.aws.segments().into_iter().collect();
    assert_eq!(arrived, (0..200).map(segment).collect());
    // A request that was taken and whose answer was lost is sent again: the same segments, to X-Ray.
    let doubled = task.aws.segments().len() - arrived.len();
    assert!(doubled <= 50, "{doubled}");
    let ended = task.agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(ended.final_line().unwrap()["delivered"], 200);
}

/// What was sent before the signal, and while the agent stops, is delivered; what cannot be is kept by a spool.
#[test]
fn segments_sent_at_the_end_are_delivered_or_spooled() {
    let task = Task::start("");
    task.send_segments(0..30);
    task.agent.signal("TERM");
    task.send_segments(30..60);
    until(SOON, || format!("{} segments", task.aws.segments().len()), || task.aws.segments().len() == 60);
    let ended = task.agent.wait_for_end(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((&last["delivered"], &last["lost"]), (&60.into(), &0.into()), "{last}");

    let folder = tempfile::tempdir().unwrap();
    let spool = format!("spool: {{path: '{}'}}\nstop_timeout: 3s\n", folder.path().display());
    let task = Task::start(&spool);
    task.aws.always(PUT, Action::Status(503, None));
    task.send_many_segments(60);
    task.wait("all segments", |total| total.accepted == 60);
    let ended = task.agent.stop(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((&last["spooled"], &last["lost"]), (&60.into(), &0.into()), "{last}");
    let next = Task::start(&spool);
    next.wait("what was left", |total| total.delivered == 60);
    assert_eq!(next.end(60).len(), 60, "once each");
}

/// A port that is taken costs the traces, and nothing else.
#[test]
fn a_port_that_is_taken_is_said_and_harms_nothing_else() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces: {{inputs: [{{xray: {{udp: '{}'}}}}]}}\n",
        taken.local_addr().unwrap()
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    assert!(agent.log().contains("segments are not taken there"), "{}", agent.log());
    agent.stop(SOON).assert_clean();
}
