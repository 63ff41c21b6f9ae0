//! What SDKs send by OTLP arrives in any backend of OTLP, whatever else comes there and whatever the backend says.
//!
//! Promises: spans are compared with what was sent, byte for byte; every story ends by balancing the books.
//! Never: proves that a client of somebody else is understood; `tests/real` does.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{Action, FakeAws, Operation, TASK_ARN},
    metrics::Account,
    otlp::{
        Act, Backend, Client, Span,
        client::gzip,
        grpc::{Caller, TRACES, framed},
        request,
        span::{attribute, field, span},
        spans,
    },
    wait::until,
};

use crate::story::SOON;

const PROTOBUF: (&str, &str) = ("content-type", "application/x-protobuf");

pub(crate) struct Task {
    pub(crate) agent: Agent,
    pub(crate) grpc: SocketAddr,
    pub(crate) http: SocketAddr,
}

impl Task {
    /// With these outputs, in YAML, and `more` at the top of the file.
    pub(crate) fn start(outputs: &[String], more: &str) -> Self {
        Self::with(outputs, more, "")
    }

    fn with(outputs: &[String], more: &str, input: &str) -> Self {
        let outputs: Vec<_> = outputs.iter().map(|output| format!("otlp: {{{output}}}")).collect();
        Self::to(&outputs, more, input)
    }

    /// With outputs of any kind.
    pub(crate) fn to(outputs: &[String], more: &str, input: &str) -> Self {
        let (grpc, http) = (free_address().unwrap(), free_address().unwrap());
        let outputs: String = outputs.iter().map(|output| format!("    - {{to: {{{output}}}}}\n")).collect();
        let agent = Agent::start(&Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n{more}\
             traces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'{input}}}}}]\n  outputs:\n{outputs}"
        )))
        .unwrap();
        until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
        Self { agent, grpc, http }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.http).unwrap()
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller::connect(self.grpc).unwrap()
    }

    /// Sends so many requests of 50 spans each by HTTP, numbered from `first` on.
    pub(crate) fn send(&self, first: u64, requests: u64) -> Vec<Span> {
        let mut client = self.client();
        let mut sent = Vec::new();
        for number in 0..requests {
            let first = first + 50 * number;
            let body = request("shop", first..first + 50);
            assert_eq!(client.post(&body).unwrap().status, 200);
            sent.extend(spans(&body));
        }
        sent
    }

    pub(crate) fn wait(&self, what: &str, is_it: impl Fn(&Account) -> bool) {
        self.agent.wait_for_metrics(SOON, what, |metrics| is_it(&metrics.books().total()));
    }

    fn refused(&self, reason: &str) -> f64 {
        self.agent.metrics().sum("pillion_otlp_refused_requests_total", &[("reason", reason)])
    }

    pub(crate) fn end(self) -> serde_json::Value {
        let ended = self.agent.stop(SOON);
        ended.assert_clean();
        let last = ended.final_line().unwrap();
        assert_eq!((&last["balanced"], &last["unsettled"]), (&true.into(), &0.into()), "{last}");
        last
    }
}

pub(crate) fn to(backend: &Backend) -> String {
    format!("endpoint: '{}'", backend.http())
}

fn to_grpc(backend: &Backend) -> String {
    format!("endpoint: '{}', protocol: grpc", backend.grpc())
}

/// Both protocols on both ports, as they are and compressed, to two backends, of which one is spoken to by gRPC: each span once,
/// byte for byte.
#[test]
fn spans_arrive_as_they_were_sent_by_both_protocols() {
    let (first, second) = (Backend::start(), Backend::start());
    let task = Task::start(&[to(&first), format!("{}, compression: none", to_grpc(&second))], "");
    let mut sent = Vec::new();
    let next = |sent: &mut Vec<Span>| {
        let from = sent.len() as u64;
        let body = request(if from.is_multiple_of(20) { "shop" } else { "till" }, from..from + 10);
        sent.extend(spans(&body));
        body
    };
    for (mut client, mut caller) in [
        (Client::connect(task.http).unwrap(), Caller::connect(task.grpc).unwrap()),
        (Client::connect(task.grpc).unwrap(), Caller::connect(task.http).unwrap()),
    ] {
        for _ in 0..3 {
            let answer = client.post(&next(&mut sent)).unwrap();
            assert_eq!((answer.status, answer.header("content-type")), (200, Some(PROTOBUF.1)));
            assert_eq!(answer.body, b"", "all was taken");
            assert_eq!(client.post_gzip(&next(&mut sent)).unwrap().status, 200);
            let answer = caller.call(TRACES, &[], framed(&next(&mut sent), 0)).unwrap();
            assert_eq!((answer.status, &answer.body[..]), (0, &[0; 5][..]));
            let compressed = framed(&gzip(&next(&mut sent)), 1);
            assert_eq!(caller.call(TRACES, &[("grpc-encoding", "gzip")], compressed).unwrap().status, 0);
        }
    }
    // A request without spans is taken, and is nothing.
    assert_eq!(task.client().post(b"").unwrap().status, 200);
    assert_eq!(task.caller().call(TRACES, &[], framed(b"", 0)).unwrap().status, 0);
    let count = sent.len() as u64;
    task.wait("all spans", |total| total.delivered == 2 * count);
    sent.sort();
    for backend in [&first, &second] {
        assert_eq!(backend.spans(), sent, "each once");
        backend.assert_no_violations();
    }
    let seen = first.seen();
    assert!(seen.iter().all(|seen| seen.path == "/v1/traces" && seen.bytes.0 < seen.bytes.1), "{seen:?}");
    assert!(second.seen().iter().all(|seen| seen.path == TRACES && seen.header("grpc-encoding").is_none()));
    let last = task.end();
    assert_eq!((&last["accepted"], &last["delivered"]), (&(2 * count).into(), &(2 * count).into()), "{last}");
}

/// What the specification calls retryable is sent again when the backend says; nothing is lost, and only an answer that did not
/// come makes duplicates.
#[test]
fn a_backend_that_fails_for_a_while_costs_no_span() {
    for by_grpc in [false, true] {
        let backend = Backend::start();
        let acts = match by_grpc {
            false => vec![
                Act::Status(429, Some(1)),
                Act::Status(503, None),
                Act::Status(502, None),
                Act::Status(504, Some(1)),
                Act::Reset,
                Act::TakeAndReset,
            ],
            true => vec![
                Act::Grpc(14, None),
                Act::Grpc(8, Some(1)),
                Act::Grpc(1, None),
                Act::Grpc(10, None),
                Act::Grpc(15, None),
                Act::Status(503, None),
            ],
        };
        backend.script(acts);
        let task = Task::start(&[if by_grpc { to_grpc(&backend) } else { to(&backend) }], "");
        let mut sent = task.send(0, 4);
        task.wait("all spans", |total| total.delivered == 200);
        let mut arrived = backend.spans();
        let doubled = arrived.len() - 200;
        arrived.dedup();
        sent.sort();
        assert_eq!(arrived, sent);
        assert!(doubled <= if by_grpc { 0 } else { 200 }, "{doubled}");
        backend.assert_no_violations();
        let last = task.end();
        assert_eq!((&last["delivered"], &last["lost"]), (&200.into(), &0.into()), "{last}");
    }
}

/// What a backend took in part is booked, and not sent again; what it never takes is found by halving, and costs only the request
/// that it came in.
#[test]
fn what_a_backend_refuses_is_booked_and_costs_no_neighbour() {
    for by_grpc in [false, true] {
        let backend = Backend::start();
        let task = Task::start(&[if by_grpc { to_grpc(&backend) } else { to(&backend) }], "");
        backend.script([Act::Partly(7)]);
        task.send(0, 1);
        task.wait("the answer", |total| total.delivered == 43 && total.refused.get("invalid") == Some(&7));
        assert_eq!(backend.seen().len(), 1, "it is not sent again");

        backend.always(Act::Poison(220));
        task.send(100, 5);
        task.wait("all to be settled", |total| total.accepted == 300 && total.in_flight == 0);
        let total = task.agent.books().total();
        assert_eq!((total.delivered, total.refused["invalid"]), (243, 57), "{total:?}");
        let arrived: Vec<u64> = backend.spans().iter().map(|span| span.id).filter(|id| *id >= 100).collect();
        let expected: Vec<u64> = (100..200).chain(250..350).collect();
        assert_eq!(arrived, expected);
        task.end();
    }
}

/// One backend is slow, one refuses our key, one is not there: each has its own fate.
#[test]
fn a_backend_that_is_down_keeps_no_other_from_its_spans() {
    let (well, slow, denied) = (Backend::start(), Backend::start(), Backend::start());
    slow.always(Act::Slow(300));
    denied.always(Act::Status(401, None));
    let nowhere = format!("endpoint: 'http://{}'", free_address().unwrap());
    let task = Task::start(&[to(&denied), nowhere, to(&slow), to(&well)], "stop_timeout: 3s\n");
    task.send(0, 20);
    task.wait("all but two", |total| total.delivered == 2_000);
    assert_eq!((well.spans().len(), slow.spans().len(), denied.spans().len()), (1_000, 1_000, 0));
    until(SOON, || task.agent.status().to_string(), || task.agent.status().to_string().contains("status 401"));
    let last = task.end();
    assert_eq!((&last["accepted"], &last["delivered"], &last["lost"]), (&4_000.into(), &2_000.into(), &2_000.into()));
}

/// A request that is none, by HTTP: each answered as the specification has it, counted, and nothing else is disturbed.
#[test]
fn hostile_requests_by_http_are_answered_and_harm_nothing() {
    let backend = Backend::start();
    let task = Task::with(&[to(&backend)], "", ", request_bytes_max: 1 MiB");
    let body = request("shop", 0..10);
    let zeros = gzip(&vec![0; 8 << 20]);
    let damaged = {
        let mut bytes = gzip(&body);
        let end = bytes.len() - 6;
        bytes[end] ^= 1;
        bytes
    };
    let deep = (0..50_000).fold(Vec::new(), |inner, _| if inner.len() < 200_000 { field(1, &inner) } else { inner });
    let with_id = |id: &[u8]| field(1, &field(2, &field(2, &field(1, id))));
    for (status, reason, method, path, headers, body) in [
        (404, "path", "POST", "/v1/trace", &[PROTOBUF][..], &body[..]),
        (404, "path", "GET", "/", &[], b""),
        (404, "path", "POST", "/v1development/profiles", &[PROTOBUF], &body),
        (404, "no_taker", "POST", "/v1/metrics", &[PROTOBUF], &body),
        (405, "method", "GET", "/v1/traces", &[], b""),
        (405, "method", "PUT", "/v1/traces", &[PROTOBUF], &body),
        (415, "media_type", "POST", "/v1/traces", &[], &body),
        (415, "media_type", "POST", "/v1/traces", &[("content-type", "text/plain")], &body),
        (415, "media_type", "POST", "/v1/traces", &[("content-type", "application/x-protobuf2")], &body),
        (415, "media_type", "POST", "/v1/traces", &[("content-type", "application/grpc-web")], &body),
        (415, "encoding", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "br")], &body),
        (415, "encoding", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip, gzip")], &body),
        (400, "corrupt", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], &body),
        (400, "corrupt", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], &damaged),
        (400, "corrupt", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "zstd")], &body),
        (400, "corrupt", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "deflate")], &body),
        (413, "too_large", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "gzip")], &zeros),
        (413, "too_large", "POST", "/v1/traces", &[PROTOBUF], &vec![0; 1_100_000]),
        (400, "malformed", "POST", "/v1/traces", &[PROTOBUF], b"not protobuf"),
        (400, "malformed", "POST", "/v1/traces", &[PROTOBUF], &body[..body.len() - 1]),
        (400, "malformed", "POST", "/v1/traces", &[PROTOBUF], b"{}"),
        (400, "malformed", "POST", "/v1/traces", &[PROTOBUF], b"\x0a\xff\xff\xff\xff\x0f"),
        (400, "malformed", "POST", "/v1/traces", &[PROTOBUF], &with_id(b"short")),
        (400, "malformed", "POST", "/v1/traces", &[PROTOBUF], &[0x0b; 100_000]),
        (200, "", "POST", "/v1/traces", &[("Content-Type", "Application/X-Protobuf; charset=utf-8")], &body),
        (200, "", "POST", "/v1/traces", &[PROTOBUF, ("content-encoding", "GZIP")], &gzip(&body)),
        (200, "", "POST", "/v1/traces", &[PROTOBUF], &deep),
    ] {
        let before = task.refused(reason);
        let mut client = task.client();
        let answer = client.send(method, path, headers, body).unwrap();
        let said = format!("{method} {path} {headers:?}: {answer:?}");
        assert_eq!(answer.status, status, "{said}");
        if status == 200 {
            continue;
        }
        assert_eq!(task.refused(reason), before + 1.0, "{said}");
        assert_eq!(answer.header("allow").is_some(), status == 405, "{said}");
        let kind = if headers.contains(&PROTOBUF) { PROTOBUF.1 } else { "text/plain; charset=utf-8" };
        assert_eq!(answer.header("content-type"), Some(kind), "{said}");
        if kind == PROTOBUF.1 {
            assert_eq!(answer.body.first(), Some(&8), "google.rpc.Status: {said}");
        }
        // The connection is as good as before.
        assert_eq!(client.post(&request("shop", 0..1)).unwrap().status, 200, "{said}");
    }
    task.wait("what was good", |total| total.in_flight == 0);
    let last = task.end();
    assert_eq!((&last["accepted"], &last["delivered"]), (&44.into(), &44.into()), "{last}");
    assert!(backend.spans().iter().all(|known| known.bytes == span(known.id)));
}

/// The same by gRPC.
#[test]
fn hostile_calls_are_answered_and_harm_nothing() {
    let backend = Backend::start();
    let task = Task::with(&[to(&backend)], "", ", request_bytes_max: 1 MiB");
    let body = request("shop", 0..10);
    let gzipped = [("grpc-encoding", "gzip")];
    let logs = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
    let mut caller = task.caller();
    for (status, reason, path, headers, frame) in [
        (0, "", TRACES, &[][..], framed(&body, 0)),
        (0, "", TRACES, &[("grpc-timeout", "10S")], framed(&body, 0)),
        (0, "", TRACES, &gzipped, framed(&body, 0)),
        (0, "", TRACES, &[("grpc-encoding", "zstd")], framed(&body, 0)),
        (12, "path", "/grpc.health.v1.Health/Check", &[], framed(b"", 0)),
        (12, "path", "/v1/traces", &[], framed(&body, 0)),
        (12, "no_taker", logs, &[], framed(&body, 0)),
        (12, "encoding", TRACES, &[("grpc-encoding", "snappy")], framed(&body, 0)),
        (13, "frame", TRACES, &[], framed(&gzip(&body), 1)),
        (13, "frame", TRACES, &gzipped, framed(&gzip(&body), 7)),
        (13, "frame", TRACES, &[], vec![]),
        (13, "frame", TRACES, &[], vec![0, 0, 0]),
        (13, "frame", TRACES, &[], framed(&body, 0)[..100].to_vec()),
        (13, "frame", TRACES, &[], [framed(&body, 0), framed(&body, 0)].concat()),
        (8, "too_large", TRACES, &[], [&[0, 255, 255, 255, 255][..], &body].concat()),
        (8, "too_large", TRACES, &[], framed(&vec![0; 1_100_000], 0)),
        (8, "too_large", TRACES, &gzipped, framed(&gzip(&vec![0; 8 << 20]), 1)),
        (3, "corrupt", TRACES, &gzipped, framed(&body, 1)),
        (3, "malformed", TRACES, &[], framed(b"not protobuf", 0)),
        (3, "malformed", TRACES, &[], framed(&body[..body.len() - 1], 0)),
    ] {
        let before = task.refused(reason);
        let answer = caller.call(path, headers, frame).unwrap();
        assert_eq!(answer.status, status, "{path} {headers:?}: {answer:?}");
        assert!(!answer.may_come_again, "{answer:?}");
        if status > 0 {
            assert!(!answer.message.is_empty(), "{answer:?}");
            assert_eq!(task.refused(reason), before + 1.0, "{path} {headers:?}: {answer:?}");
        }
    }
    assert_eq!(caller.call(TRACES, &[], framed(&body, 0)).unwrap().status, 0, "the connection is as good as before");
    task.wait("what was good", |total| total.delivered == 50);
    drop(caller);
    let last = task.end();
    assert_eq!((&last["accepted"], &last["delivered"]), (&50.into(), &50.into()), "{last}");
}

/// While no backend takes anything and memory is full, clients are told to come again, and keep what they have.
#[test]
fn clients_are_told_to_wait_while_memory_is_full() {
    let backend = Backend::start();
    backend.always(Act::Status(503, None));
    let task = Task::start(&[to(&backend)], "memory: 8 MiB\n");
    let mut client = task.client();
    let mut taken = 0;
    let answer = loop {
        let answer = client.post(&request("shop", taken..taken + 500)).unwrap();
        if answer.status != 200 {
            break answer;
        }
        taken += 500;
        assert!(taken < 100_000, "memory has no end");
    };
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    let called = task.caller().call(TRACES, &[], framed(&request("shop", 0..500), 0)).unwrap();
    assert_eq!((called.status, called.may_come_again), (14, true), "{called:?}");
    let total = task.agent.books().total();
    assert_eq!(
        (total.accepted, total.in_flight),
        (taken, taken),
        "nothing was given up for what came later: {total:?}"
    );
    backend.always(Act::Take);
    task.wait("all spans", |total| total.delivered == taken);
    assert_eq!(client.post(&request("shop", taken..taken + 500)).unwrap().status, 200);
    task.wait("all spans", |total| total.delivered == taken + 500);
    assert_eq!(backend.spans().len() as u64, taken + 500);
    task.end();
}

/// With `ack: delivered` an answer waits for the backend.
#[test]
fn an_answer_can_wait_for_the_backend() {
    let backend = Backend::start();
    backend.script([Act::Status(503, None), Act::Status(503, None)]);
    let task = Task::with(&[to(&backend)], "", ", ack: delivered");
    assert_eq!(task.client().post(&request("shop", 0..10)).unwrap().status, 200);
    assert_eq!(backend.spans().len(), 10, "it was answered after that");
    task.end();
}

/// What an app sends when it stops, after we were told to, is delivered too.
#[test]
fn spans_sent_while_the_agent_stops_are_delivered_or_spooled() {
    let backend = Backend::start();
    let task = Task::start(&[to(&backend)], "");
    let mut client = task.client();
    assert_eq!(client.post(&request("shop", 0..10)).unwrap().status, 200);
    task.agent.signal("TERM");
    until(SOON, || task.agent.log(), || task.agent.log().contains("stopping"));
    assert_eq!(client.post(&request("shop", 10..20)).unwrap().status, 200);
    assert_eq!(task.client().post(&request("shop", 20..30)).unwrap().status, 200, "a new connection");
    drop(client);
    let ended = task.agent.wait_for_end(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((&last["delivered"], &last["lost"], &last["balanced"]), (&30.into(), &0.into(), &true.into()), "{last}");
    assert_eq!(backend.spans().len(), 30);

    let folder = tempfile::tempdir().unwrap();
    let spool = format!("spool: {{path: '{}'}}\nstop_timeout: 3s\n", folder.path().display());
    backend.always(Act::Status(503, None));
    let task = Task::start(&[to(&backend)], &spool);
    task.send(100, 4);
    let last = task.end();
    assert_eq!((&last["spooled"], &last["lost"]), (&200.into(), &0.into()), "{last}");
    backend.always(Act::Take);
    let next = Task::start(&[to(&backend)], &spool);
    next.wait("what was left", |total| total.delivered == 200);
    next.end();
    assert_eq!(backend.spans().len(), 230, "once each");
}

/// AWS's own endpoint: signed, within its limits. While Transaction Search is off, it refuses everything, for which nothing is tried
/// in halves: somebody has to change the account.
#[test]
fn spans_are_signed_for_aws_and_a_setting_of_the_account_is_told() {
    let aws = FakeAws::start();
    let task = Task::start(&[format!("endpoint: '{}', aws: {{}}", aws.url())], "");
    task.send(0, 4);
    task.wait("all to be refused", |total| total.refused.get("not_enabled") == Some(&200));
    assert_eq!(aws.asked(Operation::PutSpans), aws.asked(Operation::GetTraceSegmentDestination), "once each");
    // The log has a thread of its own.
    until(SOON, || task.agent.log(), || task.agent.log().contains("transaction search is off"));

    aws.take_spans();
    aws.script(Operation::PutSpans, [Action::Status(429, Some(1)), Action::ExpiredToken, Action::Status(503, None)]);
    // Larger than AWS takes: 12,000 spans in one request.
    let large = request("shop", 1_000..13_000);
    assert_eq!(task.client().post_gzip(&large).unwrap().status, 200);
    let mut sent = spans(&large);
    sent.extend(task.send(20_000, 2));
    task.wait("all spans", |total| total.delivered == 12_100);
    assert_eq!(aws.spans(), sent);
    aws.assert_no_violations();
    task.end();
}

/// What HTTP/2 lets a peer do: each frame of it is lawful, or nearly (T31).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A client is told that a request of 512 spans may come whole, in large frames.
#[test]
fn what_http_2_is_told_has_room_for_a_usual_request() {
    let backend = Backend::start();
    let task = Task::start(&[to(&backend)], "");
    let mut stream = TcpStream::connect(task.grpc).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, b"")[..]].concat()).unwrap();
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let (mut told, mut window) = (Vec::new(), 65_535);
    while window == 65_535 {
        let mut head = [0; 9];
        stream.read_exact(&mut head).unwrap();
        let mut payload = vec![0; number(&head[..3]) as usize];
        stream.read_exact(&mut payload).unwrap();
        match (head[3], head[4]) {
            (4, 0) => told.extend(payload.chunks(6).map(|setting| (number(&setting[..2]), number(&setting[2..])))),
            (8, _) => window += number(&payload),
            _ => {}
        }
    }
    // SETTINGS_INITIAL_WINDOW_SIZE, SETTINGS_MAX_FRAME_SIZE.
    assert!(told.contains(&(4, window)) && told.contains(&(5, 64 * 1024)), "{told:?}");
    assert!(request("shop", 0..512).len() < window as usize && window <= 192 * 1024, "{window}");
    drop(stream);
    task.end();
}

/// Bytes that the agent takes of a flood, at most, and whether it closed the connection.
fn flood(address: SocketAddr, first: &[u8], mut next: impl FnMut(u32) -> Vec<u8>) -> (usize, bool) {
    const MUCH: usize = 32 << 20;
    let mut stream = TcpStream::connect(address).unwrap();
    // The kernel would keep megabytes for the agent, which nobody took.
    socket2::SockRef::from(&stream).set_send_buffer_size(64 * 1024).unwrap();
    // Whoever takes nothing for so long has stopped reading, which is an answer too.
    stream.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let mut taken = 0;
    let mut refused =
        stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(4, 0, 0, b"")[..], first].concat()).is_err();
    let mut number = 0;
    while !refused && taken < MUCH {
        let bytes = next(number);
        number += 1;
        refused = stream.write_all(&bytes).is_err();
        taken += bytes.len();
    }
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let mut rest = [0; 64 * 1024];
    loop {
        match stream.read(&mut rest) {
            Ok(0) => return (taken, true),
            Ok(_) => {}
            Err(error) => return (taken, error.kind() == std::io::ErrorKind::ConnectionReset),
        }
    }
}

/// Floods of resets, headers without an end, settings, pings and empty frames end their own connection or are not read; memory
/// stays, and everybody else is served.
#[test]
fn floods_of_http_2_cost_their_own_connection() {
    let backend = Backend::start();
    let task = Task::start(&[to(&backend)], "");
    let headers = b"\x83\x86\x84\x41\x09localhost";
    let literal = [&b"\x00\x01x\x7f\x81\x7e"[..], &[b'y'; 16_000]].concat();
    let before = task.agent.peak_bytes();
    for (attack, is_ended) in
        [("resets", true), ("continuations", true), ("settings", false), ("pings", false), ("empty data", false)]
    {
        let first = match attack {
            "continuations" => frame(1, 0, 1, headers),
            "empty data" => frame(1, 4, 1, headers),
            _ => Vec::new(),
        };
        let (taken, ended) = flood(task.grpc, &first, |number| match attack {
            "resets" => {
                let stream = 2 * number + 1;
                [frame(1, 5, stream, headers), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
            }
            "continuations" => frame(9, 0, 1, &literal),
            "settings" => frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]).repeat(100),
            "pings" => frame(6, 0, 0, b"12345678").repeat(100),
            _ => frame(0, 0, 1, b"").repeat(100),
        });
        assert!(ended, "{attack}: the connection goes on after {taken} bytes");
        assert!(!is_ended || taken < 4 << 20, "{attack}: {taken} bytes were taken");
        assert_eq!(task.caller().call(TRACES, &[], framed(&request("shop", 0..1), 0)).unwrap().status, 0, "{attack}");
        let grown = task.agent.peak_bytes().saturating_sub(before);
        assert!(grown < 24 << 20, "{attack}: memory grew by {grown} bytes");
    }
    task.wait("what was good", |total| total.delivered == 5);
    task.end();
}

/// JSON is the same as protobuf, once it is in.
#[test]
fn spans_that_come_as_json_are_spans() {
    let backend = Backend::start();
    let task = Task::start(&[to(&backend)], "");
    let json = ("content-type", "application/json; charset=utf-8");
    let body = r#"{"resourceSpans":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"till"}}]},
        "scopeSpans":[{"spans":[{"traceId":"5b8efff798038103d269b633813fc60c","spanId":"0000000000000007","name":"n","kind":3}]}]}]}"#;
    let mut client = task.client();
    let answer = client.post_with("/v1/traces", &[json], body.as_bytes()).unwrap();
    assert_eq!(
        (answer.status, answer.header("content-type"), &answer.body[..]),
        (200, Some("application/json"), &b"{}"[..])
    );
    let headers = [json, ("content-encoding", "gzip")];
    assert_eq!(client.post_with("/v1/traces", &headers, &gzip(body.as_bytes())).unwrap().status, 200);
    let answer = client.post_with("/v1/traces", &[json], b"{\"resourceSpans\":7}").unwrap();
    assert_eq!((answer.status, answer.header("content-type")), (400, Some("application/json")));
    assert!(answer.body.starts_with(b"{\"code\":3,\"message\":\""), "{answer:?}");
    task.wait("both", |total| total.delivered == 2);
    assert!(backend.spans().iter().all(|span| (span.id, &*span.service) == (7, "till")), "{:?}", backend.spans());
    task.end();
}

/// With sampling, errors and slow spans go on; of the rest, what the ids say. What does not go on is counted and told to nobody.
#[test]
fn sampling_keeps_errors_and_counts_the_rest() {
    let (backend, grpc, http) = (Backend::start(), free_address().unwrap(), free_address().unwrap());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'}}}}]\n  outputs: [{{to: {{otlp: {{{}}}}}}}]\n  \
         sampling: {{probability: 0, slower_than: 1s}}\n",
        to(&backend)
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let task = Task { agent, grpc, http };
    let mut client = task.client();
    // The last byte of a request is the status of its last span.
    let mut failed = request("shop", 10..12);
    *failed.last_mut().unwrap() = 2;
    for body in [&request("shop", 0..10), &failed] {
        let answer = client.post(body).unwrap();
        assert_eq!((answer.status, &answer.body[..]), (200, &b""[..]), "whoever sent it is content");
    }
    task.wait("the failed span", |total| total.delivered == 1);
    assert_eq!(backend.spans(), spans(&failed)[1..]);
    let metrics = task.agent.metrics();
    let sampled = |rule| metrics.sum("pillion_traces_sampled_spans_total", &[("rule", rule)]);
    assert_eq!(["error", "slow", "probability", "dropped"].map(sampled), [1.0, 0.0, 0.0, 11.0]);
    assert_eq!(task.end()["accepted"], 1);
}

/// What the task's metadata says is put into resources that do not say it, in front of one backend; the other gets what came. The spans are
/// the same bytes at both.
#[test]
fn what_a_resource_lacks_is_filled_in_from_the_task() {
    let (aws, filled, plain) = (FakeAws::start(), Backend::start(), Backend::start());
    let (grpc, http) = (free_address().unwrap(), free_address().unwrap());
    let setup = Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'}}}}]\n  outputs:\n    - {{to: {{otlp: {{{}}}}}}}\n    \
         - {{to: {{otlp: {{{}, fill_from_task: false}}}}}}\n",
        to(&filled),
        to(&plain)
    ));
    let agent = Agent::start(&setup.with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri())).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let task = Task { agent, grpc, http };
    let body = request("shop", 0..20);
    assert_eq!(task.client().post(&body).unwrap().status, 200);
    task.wait("both", |total| total.delivered == 40);
    assert_eq!((filled.spans(), plain.spans()), (spans(&body), spans(&body)));
    assert_eq!(plain.seen()[0].body, body);
    let with = |name: &str, value: &str| field(1, &attribute(name, value));
    let own = with("service.name", "shop");
    let added = [
        ("cloud.provider", "aws"),
        ("cloud.platform", "aws_ecs"),
        ("cloud.account.id", "123456789012"),
        ("cloud.region", "us-east-1"),
        ("cloud.availability_zone", "us-east-1b"),
        ("aws.ecs.cluster.arn", "arn:aws:ecs:us-east-1:123456789012:cluster/mycluster"),
        ("aws.ecs.task.arn", TASK_ARN),
        ("aws.ecs.task.id", TASK_ARN.rsplit('/').next().unwrap()),
        ("aws.ecs.task.family", "web"),
        ("aws.ecs.task.revision", "7"),
        ("aws.ecs.launchtype", "fargate"),
    ];
    let resource = added.iter().fold(own, |resource, (name, value)| [resource, with(name, value)].concat());
    let seen = &filled.seen()[0].body;
    assert!(memchr::memmem::find(seen, &field(1, &resource)).is_some(), "{}", String::from_utf8_lossy(seen));
    filled.assert_no_violations();
    task.end();
}

/// With `ack: spooled` what was answered is on disk: it survives a kill while the backend is down, and the next agent delivers it.
#[test]
fn what_was_answered_as_spooled_survives_a_kill() {
    let (backend, folder) = (Backend::start(), tempfile::tempdir().unwrap());
    backend.always(Act::Status(503, None));
    let spool = format!("spool: {{path: '{}'}}\n", folder.path().join("spool").display());
    let task = Task::with(&[to(&backend)], &spool, ", ack: spooled");
    let sent: Vec<Span> = (0..4)
        .flat_map(|number| {
            let body = request("shop", number * 20..number * 20 + 20);
            let (mut client, mut caller) = (task.client(), task.caller());
            match number % 2 {
                0 => assert_eq!(client.post(&body).unwrap().status, 200),
                _ => assert_eq!(caller.call(TRACES, &[], framed(&body, 0)).unwrap().status, 0),
            }
            spans(&body)
        })
        .collect();
    assert_eq!(backend.spans(), [], "nothing was taken");
    // Who goes is killed, without a chance to write anything.
    drop(task);
    backend.always(Act::Take);
    let task = Task::with(&[to(&backend)], &spool, ", ack: spooled");
    task.wait("what was on disk", |total| total.delivered == 80);
    assert_eq!(backend.spans(), sent);
    task.end();
}
