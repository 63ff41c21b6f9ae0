//! SDKs ask X-Ray for sampling rules and targets through the agent, which signs and passes on and changes nothing.
//!
//! Promises: the service checks every signature; bytes are compared; hostile requests reach no service and harm no other.
//! Never: proves what SDKs make of the answers; the stories with real parts do.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{Action, FakeAws, Operation, SAMPLING_RULES},
    wait::until,
};

use crate::story::SOON;

const RULES: Operation = Operation::GetSamplingRules;
const TARGETS: Operation = Operation::GetSamplingTargets;
const METRIC: &str = "pillion_traces_proxied_requests_total";
const STATISTICS: &str = "{\"SamplingStatisticsDocuments\":[{\"RuleName\":\"checkout\",\"ClientID\":\"0123456789abcdef01234567\",\
     \"Timestamp\":1.6E9,\"RequestCount\":2,\"SampledCount\":1,\"BorrowCount\":0}], \"Unknown\" : 1e0}";

pub(crate) struct Task {
    aws: FakeAws,
    pub(crate) agent: Agent,
    pub(crate) port: SocketAddr,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Task {
    pub(crate) fn start(more: &str) -> Self {
        let aws = FakeAws::start();
        Self::of(aws, more, |setup| setup)
    }

    fn of(aws: FakeAws, more: &str, adapt: impl Fn(Setup) -> Setup) -> Self {
        // A port that is free for TCP is for UDP too, as good as always.
        let port = free_address().unwrap();
        let setup = Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
             traces:\n  inputs: [{{xray: {{udp: '{port}', proxy: {{{more}}}}}}}]\n  \
             outputs: [{{to: {{xray: {{region: us-east-1, endpoint: '{}'}}}}}}]\n",
            aws.url()
        ));
        let agent = Agent::start(&adapt(setup)).unwrap();
        until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
        Self { aws, agent, port }
    }

    pub(crate) fn post(&self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{headers}");
        talk(self.port, &[format!("{head}Connection: close\r\n\r\n").as_bytes(), body].concat())
    }

    fn count(&self, path: &str, outcome: &str) -> u64 {
        self.agent.metrics().sum(METRIC, &[("path", path), ("outcome", outcome)]) as u64
    }

    pub(crate) fn end(self) {
        let ended = self.agent.stop(SOON);
        ended.assert_clean();
        let last = ended.final_line().unwrap();
        assert_eq!((&last["accepted"], &last["balanced"]), (&0.into(), &true.into()), "{last}");
        self.aws.assert_no_violations();
    }
}

/// Sends bytes and reads until the other side closes.
fn talk(to: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    // Who answers before everything was read makes the rest fail; the answer counts.
    let _ = stream.write_all(bytes);
    read(&mut stream)
}

fn read(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let _ = stream.read_to_end(&mut bytes);
    let split = memchr::memmem::find(&bytes, b"\r\n\r\n").unwrap_or(bytes.len());
    let head = String::from_utf8_lossy(&bytes[..split]).to_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    Answer { status, head, body: bytes.get(split + 4..).unwrap_or_default().to_vec() }
}

/// The whole way, as SDKs ask: bodies and answers to the byte, whatever else the request says.
#[test]
fn rules_and_targets_are_passed_on_byte_for_byte_and_signed() {
    let aws = FakeAws::start();
    let more = format!(
        "application_signals_endpoint: '{}', \
         allow: [{{path: /list-instrumentation-configurations, service: application-signals}}]",
        aws.url()
    );
    let task = Task::of(aws, &more, |setup| setup);
    for (body, headers) in [
        ("{}", ""),
        (
            "{\"NextToken\": null}",
            "Authorization: AWS4-HMAC-SHA256 Credential=forged\r\nX-Amz-Date: 20000101T000000Z\r\n",
        ),
        ("", "User-Agent: aws-sdk\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Security-Token: forged\r\n"),
    ] {
        let answer = task.post("/GetSamplingRules", headers, body.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (200, SAMPLING_RULES), "{answer:?}");
        assert!(answer.head.contains("content-type: application/x-amz-json-1.1"), "{}", answer.head);
    }
    let answer = task.post("/SamplingTargets", "", STATISTICS.as_bytes());
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().starts_with("{\"LastRuleModification\":1.6E9,"), "{}", answer.text());
    assert_eq!(task.aws.sampling_bodies(TARGETS), [STATISTICS.as_bytes()]);
    assert_eq!(task.aws.sampling_bodies(RULES), [&b"{}"[..], b"{\"NextToken\": null}", b""]);
    for path in ["/SamplingStatisticSummaries", "/list-instrumentation-configurations"] {
        let answer = task.post(path, "Content-Type: application/json\r\n", b"{}");
        assert_eq!((answer.status, answer.text().as_str()), (200, "{ }"), "{path}");
    }
    // Node's SDK does not say how long a body is.
    let chunked =
        "POST /SamplingTargets HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    let chunks = format!("{:x}\r\n{STATISTICS}\r\n0\r\n\r\n", STATISTICS.len());
    assert_eq!(talk(task.port, format!("{chunked}{chunks}").as_bytes()).status, 200);
    assert_eq!(task.aws.sampling_bodies(TARGETS), [STATISTICS.as_bytes(), STATISTICS.as_bytes()]);
    assert_eq!((task.count("/GetSamplingRules", "answered"), task.count("/SamplingTargets", "answered")), (3, 2));
    task.end();
}

/// A hundred processes that start together ask once; targets are each process's own.
#[test]
fn many_who_ask_for_rules_at_once_are_one_request() {
    let task = Task::start("");
    task.aws.script(RULES, [Action::Hang]);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..100).map(|_| scope.spawn(|| task.post("/GetSamplingRules", "", b"{}"))).collect();
        until(SOON, || "the one request".to_owned(), || task.aws.held() == 1);
        task.aws.release();
        for caller in callers {
            assert_eq!(caller.join().unwrap().text(), SAMPLING_RULES);
        }
    });
    assert_eq!((task.aws.asked(RULES), task.count("/GetSamplingRules", "kept")), (1, 99));
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| assert_eq!(task.post("/SamplingTargets", "", STATISTICS.as_bytes()).status, 200));
        }
    });
    assert_eq!(task.aws.sampling_bodies(TARGETS).len(), 20);
    task.end();
}

/// What the service says is what the SDK hears; what is no answer of the service is told in words. The next request is well.
#[test]
fn trouble_of_the_service_is_passed_on_or_told() {
    let aws = FakeAws::start();
    let uri = aws.credentials_uri();
    let task = Task::of(aws, "", |setup| setup.with_credentials_from(uri.clone()));
    for (action, status, said, outcome) in [
        (Action::Error(429, "ThrottledException", "Rate exceeded"), 429, "ThrottledException", "refused"),
        (Action::Denied, 400, "AccessDeniedException", "refused"),
        (Action::Status(503, None), 503, "", "refused"),
        (Action::HtmlError, 502, "<html>", "refused"),
        (Action::NoRequestId, 502, "pillion: no_request_id", "failed"),
        (Action::Garbage, 504, "pillion: broken_connection", "failed"),
        (Action::ResetBeforeAnswer, 504, "pillion: broken_connection", "failed"),
        (Action::EndlessBody, 504, "pillion: answer_too_large", "failed"),
        (Action::Redirect("http://169.254.169.254/"), 307, "", "refused"),
    ] {
        let before = task.count("/SamplingTargets", outcome);
        task.aws.script(TARGETS, [action.clone()]);
        let answer = task.post("/SamplingTargets", "", STATISTICS.as_bytes());
        assert_eq!(answer.status, status, "{action:?}: {answer:?}");
        assert!(answer.text().contains(said), "{action:?}: {answer:?}");
        assert_eq!(task.count("/SamplingTargets", outcome), before + 1, "{action:?}");
        assert_eq!(task.post("/SamplingTargets", "", STATISTICS.as_bytes()).status, 200, "behind {action:?}");
    }
    task.aws.script(TARGETS, [Action::SlowBody(1)]);
    let answer = task.post("/SamplingTargets", "", STATISTICS.as_bytes());
    assert!(answer.text().ends_with("\"UnprocessedStatistics\":[]}"), "{answer:?}");
    // New credentials and the right time are learned on the way.
    let is_well = || task.post("/SamplingTargets", "", STATISTICS.as_bytes()).status == 200;
    task.aws.set_skew(1_200);
    assert!(is_well());
    task.aws.expire_credentials();
    until(SOON, || "other credentials".to_owned(), is_well);
    task.end();
}

/// The daemon forwards unsigned then, and X-Ray's 403 is all that an SDK hears.
#[test]
fn without_credentials_nothing_is_sent_and_the_answer_says_so() {
    let aws = FakeAws::start();
    let uri = aws.credentials_uri();
    aws.always(Operation::Credentials, Action::Status(500, None));
    let task = Task::of(aws, "", |setup| setup.with_credentials_from(uri.clone()));
    for path in ["/SamplingTargets", "/GetSamplingRules"] {
        let answer = task.post(path, "", STATISTICS.as_bytes());
        assert_eq!(answer.status, 503, "{answer:?}");
        assert!(answer.text().contains("credentials"), "{answer:?}");
    }
    assert_eq!((task.aws.asked(TARGETS), task.aws.asked(RULES)), (0, 0), "nothing was sent");
    task.aws.heal(Operation::Credentials);
    until(SOON, || task.agent.log(), || task.post("/SamplingTargets", "", STATISTICS.as_bytes()).status == 200);
    task.end();
}

/// Whatever comes is answered in words or cut off; nothing of it reaches the service, and the next request is well.
#[test]
fn hostile_requests_reach_no_service() {
    let task = Task::start("");
    let ok = "POST /GetSamplingRules HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";
    let large = (1 << 20) + 1;
    let many = "x: y\r\n".repeat(65);
    for (request, status) in [
        ("POST /TraceSegments HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n".to_owned(), 403),
        ("POST /GetSamplingRules?x=1 HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n".to_owned(), 403),
        ("POST /%47etSamplingRules HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n".to_owned(), 403),
        ("POST /../GetSamplingRules HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n".to_owned(), 403),
        ("GET /GetSamplingRules HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n".to_owned(), 405),
        ("CONNECT localhost:80 HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n".to_owned(), 400),
        (
            "POST http://169.254.169.254/GetSamplingRules HTTP/1.1\r\nConnection: close\r\nHost: localhost\r\n\r\n"
                .to_owned(),
            400,
        ),
        ("POST /GetSamplingRules HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n".to_owned(), 403),
        ("POST /GetSamplingRules HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 403),
        (format!("{ok}Origin: http://evil.example\r\n\r\n"), 403),
        // As browsers send it; the mode alone is what Node's `fetch` sends.
        (format!("{ok}Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: cors\r\n\r\n"), 403),
        (format!("{ok}Sec-Fetch-Dest: empty\r\n\r\n"), 403),
        (format!("{ok}X-Forwarded-For: 1.2.3.4\r\n\r\n"), 400),
        (format!("{ok}Via: 1.1 proxy\r\n\r\n"), 400),
        (format!("{ok}Content-Length: {large}\r\n\r\n"), 413),
        (format!("{ok}Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"), 400),
        (format!("{ok}Content-Length: -1\r\n\r\n"), 400),
        (format!("{ok}Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400),
        (format!("{ok}Transfer-Encoding: chunked\r\n\r\n{large:x}\r\n{}\r\n0\r\n\r\n", "x".repeat(large)), 413),
        (format!("{ok}{many}\r\n"), 431),
        (format!("{ok}x: {}\r\n\r\n", "y".repeat(20_000)), 431),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 0),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}".repeat(50), 400),
    ] {
        let answer = talk(task.port, request.as_bytes());
        let shown: String = request.chars().take(120).collect();
        assert_eq!(answer.status, status, "{shown}: {answer:?}");
    }
    assert_eq!(task.aws.asked(RULES), 0);
    assert_eq!(task.post("/GetSamplingRules", "", b"{}").status, 200);
    assert!(task.count("other", "foreign") >= 8 && task.count("other", "not_allowed") >= 4);
    task.end();
}

/// A request that is under way when the agent stops is answered; connections that idle hold nothing up.
#[test]
fn a_request_under_way_is_answered_while_the_agent_stops() {
    let task = Task::start("");
    let idle = TcpStream::connect(task.port).unwrap();
    task.aws.script(TARGETS, [Action::Hang]);
    std::thread::scope(|scope| {
        let caller = scope.spawn(|| task.post("/SamplingTargets", "", STATISTICS.as_bytes()));
        until(SOON, || "the request".to_owned(), || task.aws.held() == 1);
        task.agent.signal("TERM");
        until(SOON, || task.agent.log(), || task.agent.log().contains("stopping"));
        task.aws.release();
        assert_eq!(caller.join().unwrap().status, 200);
    });
    let ended = task.agent.wait_for_end(SOON);
    ended.assert_clean();
    assert!(ended.took < Duration::from_secs(15), "{:?}: it waited for who idles", ended.took);
    drop(idle);
    task.aws.assert_no_violations();
}

/// An address that is taken costs the rules, and nothing else; `off` listens nowhere.
#[test]
fn a_tcp_port_that_is_taken_is_said_and_harms_nothing_else() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for (tcp, said) in [(taken.local_addr().unwrap().to_string(), true), ("off".to_owned(), false)] {
        let udp = free_address().unwrap();
        let agent = Agent::start(&Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
             traces: {{inputs: [{{xray: {{udp: '{udp}', tcp: '{tcp}'}}}}]}}\n"
        )))
        .unwrap();
        until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
        assert_eq!(agent.log().contains("sampling rules cannot be asked for there"), said, "{}", agent.log());
        assert!(TcpStream::connect(udp).is_err());
        agent.stop(SOON).assert_clean();
    }
}
