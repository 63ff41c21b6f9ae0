//! One connection to the fake: reads requests, asks the script, serves or misbehaves, and writes everything down.
//!
//! Promises: a request has its effect before its answer is written, and only if the action says so.
//! Never: outlives its connection.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::atomic::Ordering,
    thread,
    time::{Duration, Instant},
};

use flate2::read::MultiGzDecoder;

use super::{
    Logged, Shared, State,
    answer::{self, After, Answer, Head},
    logs, now_ms,
    script::{Action, Operation},
    signature::{self, Credentials, Expected},
    sts, task,
};
use crate::http::{Connection, Request};

/// How often a held request looks whether it may go on.
const LOOK: Duration = Duration::from_millis(2);
/// How STS is spoken to.
const FORM: &str = "application/x-www-form-urlencoded";
/// A body that unpacks to more than this is a bomb of ours.
const PLAIN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Serves until the client closes or something is wrong.
pub(super) fn connection(shared: &Shared, stream: TcpStream) {
    let from = stream.peer_addr().unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)));
    let mut connection = Connection::new(stream);
    loop {
        match one(shared, &mut connection, from) {
            Ok(After::Keep) => {}
            Ok(After::Close) => break,
            Err(error) => {
                if error.kind() == io::ErrorKind::InvalidData {
                    shared.state().violations.push(format!("not HTTP/1.1: {error}"));
                }
                break;
            }
        }
    }
    // The handle kept for the fake's own end would hold the socket open, and an RST back.
    let own = connection.stream().peer_addr().ok();
    shared.connections().retain(|kept| kept.peer_addr().ok() != own);
}

fn one(shared: &Shared, connection: &mut Connection, from: SocketAddr) -> io::Result<After> {
    let Some(request) = connection.head()? else { return Ok(After::Close) };
    let Some(operation) = operation(&request) else {
        connection.read_body(&request)?;
        let number = log(shared, &request, from, &request.path, connection.body().len());
        let mut state = shared.state();
        // Whoever looks whether somebody is there asks for nothing, and nothing is what the services have there.
        if request.method != "GET" || request.path != "/" {
            state.violations.push(format!("request {number}: unknown operation: {request:?}"));
        }
        let head = head(&state, number);
        drop(state);
        return answer::write(connection.stream(), &head, &Answer::error(400, "UnknownOperationException", ""));
    };
    let action = shared.state().script.next(operation);
    if action == Action::ResetMidBody {
        let number = log(shared, &request, from, &format!("{operation:?}"), 0);
        shared.state().note(number, format!("{action:?}"));
        let length = request.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        return answer::reset_mid_body(connection.stream(), length);
    }
    connection.read_body(&request)?;
    let number = log(shared, &request, from, &format!("{operation:?}"), connection.body().len());
    let head = head(&shared.state(), number);
    if action == Action::Hang {
        shared.state().note(number, "Hang".to_owned());
        if hold(shared, connection.stream())? == After::Close {
            return Ok(After::Close);
        }
    }
    if let Action::Poisoned(marker) = action
        && memchr::memmem::find(connection.body(), marker.as_bytes()).is_some()
    {
        shared.state().note(number, "InvalidParameterException".to_owned());
        let refused = Answer::error(400, "InvalidParameterException", "Log event is not valid");
        return answer::write(connection.stream(), &head, &refused);
    }
    if let Some(outcome) = answer::misbehave(connection.stream(), &head, &action) {
        // Written down before the client can see the answer would be better, but the outcome is what was written.
        shared.state().note(number, format!("{action:?}"));
        return outcome;
    }
    if operation == Operation::PutLogEvents && take(shared, connection)? == After::Close {
        return Ok(After::Close);
    }
    let answer = effect(&mut shared.state(), operation, &request, connection.body(), number);
    let stream = connection.stream();
    match action {
        Action::SlowBody(pause) => answer::write_slowly(stream, &head, &answer, Duration::from_millis(pause)),
        Action::Informational(count) => {
            let mut out = stream;
            for _ in 0..count {
                out.write_all(b"HTTP/1.1 102 Processing\r\n\r\n")?;
            }
            answer::write(stream, &head, &answer)
        }
        Action::AfterServing(then) => {
            shared.state().note(number, format!("served, then {then:?}"));
            match answer::misbehave(stream, &head, &then) {
                Some(outcome) => outcome,
                None if *then == Action::Hang => hold(shared, stream).and(Ok(After::Close)),
                None => answer::write(stream, &head, &answer),
            }
        }
        _ => answer::write(stream, &head, &answer),
    }
}

fn operation(request: &Request) -> Option<Operation> {
    if request.method == "GET" {
        return match request.path.as_str() {
            "/creds" => Some(Operation::Credentials),
            path if path.starts_with("/v4/") => Some(Operation::Metadata),
            _ => None,
        };
    }
    if request.header("content-type") == Some(FORM) {
        return Some(Operation::AssumeRole);
    }
    Operation::by_path(&request.path).or_else(|| Operation::by_target(request.header("x-amz-target")?))
}

fn log(shared: &Shared, request: &Request, from: SocketAddr, operation: &str, bytes: usize) -> usize {
    let mut state = shared.state();
    let number = state.requests_read;
    state.requests_read += 1;
    state.requests.push(Logged {
        number,
        operation: operation.to_owned(),
        at: Instant::now(),
        from,
        headers: request.headers.clone(),
        bytes,
        outcome: String::new(),
    });
    number
}

fn head(state: &State, number: usize) -> Head {
    let now =
        jiff::Timestamp::from_second(now_ms() / 1_000 + state.skew_seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    Head {
        date: now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string(),
        request_id: format!("00000000-0000-4000-8000-{number:012}"),
    }
}

/// Takes a body at the speed that is set; says whether the client is still there then.
fn take(shared: &Shared, connection: &Connection) -> io::Result<After> {
    let until = {
        let mut state = shared.state();
        let Some(speed) = state.speed else { return Ok(After::Keep) };
        let time = Duration::from_nanos(connection.body().len() as u64 * 1_000_000_000 / speed);
        state.free_at = state.free_at.max(Instant::now()) + time;
        state.free_at
    };
    watch(shared, connection.stream(), || Instant::now() >= until)
}

/// Holds a request until the fake is told to release it; says whether the client is still there.
fn hold(shared: &Shared, stream: &TcpStream) -> io::Result<After> {
    let before = {
        let mut holding = shared.holding();
        holding.held += 1;
        holding.released
    };
    let outcome = watch(shared, stream, || shared.holding().released != before);
    shared.holding().held -= 1;
    outcome
}

/// Waits until `done`, or until the client has left.
fn watch(shared: &Shared, stream: &TcpStream, done: impl Fn() -> bool) -> io::Result<After> {
    stream.set_nonblocking(true)?;
    let outcome = loop {
        if shared.stopping.load(Ordering::SeqCst) {
            break After::Close;
        }
        if done() {
            break After::Keep;
        }
        match stream.peek(&mut [0]) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(LOOK),
            // A pipelined request may wait there; a close or a reset ends it.
            Ok(1) => thread::sleep(LOOK),
            _ => break After::Close,
        }
    };
    stream.set_nonblocking(false)?;
    Ok(outcome)
}

/// Does what the request asks for and notes the outcome.
fn effect(state: &mut State, operation: Operation, request: &Request, body: &[u8], number: usize) -> Answer {
    let answer = match operation {
        Operation::Credentials => give_credentials(state, number),
        Operation::Metadata => Answer::json(200, task::metadata(&request.path, now_ms()).to_string()),
        _ => match authorise(state, operation, request, body, number) {
            Ok(_) if operation == Operation::AssumeRole => sts::assume_role(state, body, number),
            Ok(key) => call(state, operation, request, body, (number, &key)),
            Err(refused) => refused,
        },
    };
    let outcome = answer.code.map_or_else(|| answer.status.to_string(), str::to_owned);
    state.note(number, outcome);
    answer
}

fn give_credentials(state: &mut State, number: usize) -> Answer {
    let now = now_ms() / 1_000 + state.skew_seconds;
    let good = |&place: &usize| state.credentials[place].expires.is_none_or(|expires| now < expires);
    let place = match state.current.filter(good) {
        Some(place) => place,
        None => {
            let place = state.credentials.len();
            state.credentials.push(Credentials {
                access_key: format!("ASIAEXAMPLE{number}"),
                secret: format!("secret/{number}"),
                token: Some(format!("token/{number}==")),
                expires: None,
            });
            *state.current.insert(place)
        }
    };
    let last = i64::try_from(state.credentials_last.as_secs()).unwrap_or(i64::MAX / 2);
    // Credentials that are given again live on from the first time.
    let expires = *state.credentials[place].expires.get_or_insert(now.saturating_add(last));
    let expires = jiff::Timestamp::from_second(expires).unwrap_or(jiff::Timestamp::MAX);
    Answer::json(200, task::credentials(&state.credentials[place], &expires.to_string()).to_string())
}

fn authorise(
    state: &mut State,
    operation: Operation,
    request: &Request,
    body: &[u8],
    number: usize,
) -> Result<String, Answer> {
    let now = now_ms() / 1_000 + state.skew_seconds;
    let expected = Expected { known: &state.credentials, region: &state.region, service: operation.service(), now };
    let (status, code, message) = match signature::check(request, body, &expected) {
        Ok(key) => return Ok(key),
        Err(signature::Refusal::UnknownKey) => {
            (400, "UnrecognizedClientException", "The security token included in the request is invalid.".to_owned())
        }
        Err(signature::Refusal::Expired) => {
            (400, "ExpiredTokenException", "The security token included in the request is expired".to_owned())
        }
        Err(signature::Refusal::Skewed) => {
            let date = request.header("x-amz-date").unwrap_or_default();
            (400, "InvalidSignatureException", format!("Signature not yet current or expired: {date}"))
        }
        Err(signature::Refusal::Wrong(what)) => {
            state.violations.push(format!("request {number}: {what}"));
            (400, "InvalidSignatureException", "The request signature we calculated does not match".to_owned())
        }
    };
    Err(Answer::error(status, code, &message))
}

/// What the body of a request is.
fn content_type_of(operation: Operation, is_rest: bool) -> &'static str {
    match operation {
        Operation::PutSpans => "application/x-protobuf",
        Operation::PutMetricData | Operation::GetQueueAttributes => "application/x-amz-json-1.0",
        _ if is_rest => "application/json",
        _ => "application/x-amz-json-1.1",
    }
}

fn call(
    state: &mut State,
    operation: Operation,
    request: &Request,
    body: &[u8],
    (number, key): (usize, &str),
) -> Answer {
    // A service with a path for each operation speaks REST.
    let is_rest = Operation::by_path(&request.path).is_some();
    if request.method != "POST" || !is_rest && request.path != "/" {
        state.violations.push(format!("request {number}: {} {}", request.method, request.path));
    }
    let content_type = request.header("content-type");
    if content_type != Some(content_type_of(operation, is_rest)) {
        state.violations.push(format!("request {number}: the content type is {content_type:?}"));
    }
    let mut unpacked = Vec::new();
    let body = match request.header("content-encoding") {
        None => body,
        Some("gzip") => match MultiGzDecoder::new(body).take(PLAIN_BYTES_MAX).read_to_end(&mut unpacked) {
            Ok(_) => unpacked.as_slice(),
            Err(error) => {
                state.violations.push(format!("request {number}: the body is not gzip: {error}"));
                return Answer::error(400, "SerializationException", "");
            }
        },
        Some(other) => {
            state.violations.push(format!("request {number}: content-encoding {other}"));
            return Answer::error(400, "SerializationException", "");
        }
    };
    let role = state.roles.iter().find(|(_, keys)| keys.iter().any(|one| one == key)).map(|(role, _)| role.as_str());
    let done = match operation {
        Operation::PutLogEvents => state.logs.put(body, now_ms(), number, Instant::now()),
        Operation::CreateLogGroup => state.logs.create_group(body),
        Operation::CreateLogStream => state.logs.create_stream(body),
        Operation::PutRetentionPolicy => state.logs.put_retention(body),
        Operation::DescribeSecret => state.secrets.describe(body, &state.region, role),
        Operation::GetSecretValue => state.secrets.get(body, &state.region, role),
        Operation::ListSecrets => state.secrets.list(body, &state.region),
        Operation::GetParameters => state.secrets.get_parameters(body, &state.region),
        Operation::GetParametersByPath => state.secrets.get_parameters_by_path(body, &state.region),
        Operation::PutTraceSegments => state.segments.put(body),
        Operation::PutMetricData => state.metrics.put(body, now_ms()),
        Operation::GetQueueAttributes | Operation::DescribeServices | Operation::ListTasks => {
            state.scale.answer(operation, body)
        }
        // These answer in bytes of their own, so that whoever passes them on is seen not to read them.
        Operation::GetSamplingRules
        | Operation::GetSamplingTargets
        | Operation::GetSamplingStatisticSummaries
        | Operation::ListInstrumentationConfigurations => {
            return match state.segments.sampling(operation, body, now_ms()) {
                Ok(text) => Answer::json(200, text),
                Err(logs::Refusal { code, message, .. }) => {
                    state.violations.push(format!("request {number}: {code}: {message}"));
                    Answer::error(400, code, &message)
                }
            };
        }
        Operation::PutSpans => return state.segments.put_spans(body),
        Operation::GetTraceSegmentDestination => Ok(state.segments.destination()),
        Operation::TagResource | Operation::AssumeRole | Operation::Credentials | Operation::Metadata => {
            Ok(serde_json::json!({}))
        }
    };
    match done {
        Ok(answer) => Answer::json(200, answer.to_string()),
        Err(logs::Refusal { code, message, violation }) => {
            if violation {
                state.violations.push(format!("request {number}: {code}: {message}"));
            }
            Answer::error(400, code, &message)
        }
    }
}
