//! Checks the fake AWS itself, over a socket, with requests signed by the agent's own signing library: a second opinion
//! on both. What it does not prove: that the real AWS does the same; moto and the documentation stand for that.
//!
//! Promises: every action does on the wire what its name says.
//! Never: needs the agent.

#![expect(clippy::unwrap_used, reason = "a test: what fails here is a failed test")]

mod sign;

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use tests::{
    fake_aws::{ACCESS_KEY, Action, Content, FakeAws, Operation, SECRET_KEY, TASK_ARN},
    wait,
};

const SOON: Duration = Duration::from_secs(20);
const KEYS: sign::Keys<'_> = (ACCESS_KEY, SECRET_KEY, None);

/// A raw answer, or what the connection died of.
type Answer = Result<String, ErrorKind>;

fn call(aws: &FakeAws, operation: &str, body: &Value) -> Answer {
    send(aws, &sign::request(aws.port(), operation, &body.to_string(), sign::now(), KEYS))
}

fn send(aws: &FakeAws, request: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", aws.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream.write_all(request).map_err(|error| error.kind())?;
    let mut answer = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        let count = stream.read(&mut buffer).map_err(|error| error.kind())?;
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer).into_owned();
        if count == 0 || complete(&text) || answer.len() > 1_000_000 {
            return Ok(text);
        }
    }
}

fn complete(text: &str) -> bool {
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    if head.starts_with("HTTP/1.1 102") {
        return complete(body);
    }
    let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
    length.is_some_and(|length: usize| body.len() >= length)
}

fn put(aws: &FakeAws, lines: &[&str]) -> Answer {
    let now = sign::now() * 1_000;
    let events: Vec<_> = lines.iter().map(|line| json!({"timestamp": now, "message": line})).collect();
    call(aws, "PutLogEvents", &json!({"logGroupName": "g", "logStreamName": "s", "logEvents": events}))
}

#[test]
fn a_signed_request_is_served_and_remembered() {
    let aws = FakeAws::start();
    assert!(put(&aws, &["a"]).unwrap().contains("ResourceNotFoundException"));
    assert!(call(&aws, "CreateLogGroup", &json!({"logGroupName": "g"})).unwrap().starts_with("HTTP/1.1 200"));
    let stream = json!({"logGroupName": "g", "logStreamName": "s"});
    assert!(call(&aws, "CreateLogStream", &stream).unwrap().contains("x-amzn-RequestId: 0"));
    assert!(put(&aws, &["a", "b"]).unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(aws.messages("g", "s"), ["a", "b"]);
    assert_eq!(aws.requests()[0].outcome, "ResourceNotFoundException");
    assert_eq!((aws.count(), aws.duplicates()), (2, 0));
    aws.assert_no_violations();
}

#[test]
fn what_aws_would_not_take_is_a_violation() {
    let aws = FakeAws::start();
    aws.with_streams("g", &["s"]);
    assert!(put(&aws, &["a", ""]).unwrap().contains("InvalidParameterException"));
    assert_eq!(aws.violations().len(), 1);
    let forged = sign::request(aws.port(), "PutLogEvents", "{}", sign::now(), (ACCESS_KEY, "another secret", None));
    assert!(send(&aws, &forged).unwrap().contains("InvalidSignatureException"));
    assert_eq!(aws.violations().len(), 2);
    assert!(aws.violations()[1].contains("canonical request"), "{:?}", aws.violations());
    assert!(call(&aws, "DeleteLogGroup", &json!({})).unwrap().contains("UnknownOperationException"));
    assert_eq!((aws.violations().len(), aws.count()), (3, 0));
}

#[test]
fn every_action_does_what_its_name_says() {
    let reset = Err(ErrorKind::ConnectionReset);
    let table = [
        (Action::Serve, Ok("HTTP/1.1 200"), 1),
        (Action::Throttle, Ok("ThrottlingException"), 0),
        (Action::Status(503, None), Ok("HTTP/1.1 503 x\r\nDate: "), 0),
        (Action::Status(429, Some(7)), Ok("Retry-After: 7"), 0),
        (Action::Error(400, "OperationAbortedException", "x"), Ok("OperationAbortedException"), 0),
        (Action::Denied, Ok("AccessDeniedException"), 0),
        (Action::ExpiredToken, Ok("ExpiredTokenException"), 0),
        (Action::TooLarge, Ok("HTTP/1.1 413"), 0),
        (Action::HtmlError, Ok("<html>"), 0),
        (Action::NoRequestId, Ok("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"), 0),
        (Action::Garbage, Ok("this is not HTTP"), 0),
        (Action::EndlessBody, Ok("xxxxx"), 0),
        (Action::Redirect("http://169.254.169.254/"), Ok("Location: http://169.254.169.254/"), 0),
        (Action::Informational(2), Ok("HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200"), 1),
        (Action::ResetBeforeAnswer, reset, 0),
        (Action::reset_after_serving(), reset, 1),
    ];
    for (action, expected, accepted) in table {
        let aws = FakeAws::start();
        aws.with_streams("g", &["s"]);
        aws.script(Operation::PutLogEvents, [action.clone()]);
        match (put(&aws, &["a"]), expected) {
            (Ok(answer), Ok(part)) => assert!(answer.contains(part), "{action:?}: {answer:.300}"),
            (answer, expected) => assert_eq!(answer.err(), expected.err(), "{action:?}"),
        }
        assert_eq!(aws.count(), accepted, "{action:?}");
        assert!(put(&aws, &["b"]).unwrap().starts_with("HTTP/1.1 200"), "the queue is used up");
        aws.assert_no_violations();
    }
}

#[test]
fn a_body_can_be_cut_and_an_answer_can_drip() {
    let aws = FakeAws::start();
    aws.with_streams("g", &["s"]);
    aws.script(Operation::PutLogEvents, [Action::ResetMidBody, Action::SlowBody(1)]);
    let answer = put(&aws, &[&"x".repeat(1_000_000)]);
    assert!(matches!(answer, Err(ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)), "{answer:?}");
    assert_eq!(aws.count(), 0);
    assert!(put(&aws, &["a"]).unwrap().contains("nextSequenceToken"));
    assert_eq!(aws.messages("g", "s"), ["a"]);
}

#[test]
fn a_held_request_is_served_when_it_is_released() {
    let aws = FakeAws::start();
    aws.with_streams("g", &["s"]);
    aws.script(Operation::PutLogEvents, [Action::Hang]);
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| put(&aws, &["a"]));
        wait::until(SOON, || "a held request".to_owned(), || aws.held() == 1);
        assert_eq!(aws.count(), 0);
        aws.release();
        assert!(sending.join().unwrap().unwrap().starts_with("HTTP/1.1 200"));
    });
    assert_eq!((aws.count(), aws.held()), (1, 0));
}

#[test]
fn a_wrong_clock_is_refused_with_the_date_to_learn_from() {
    let aws = FakeAws::start();
    aws.set_skew(20 * 60);
    let body = json!({"logGroupName": "g"}).to_string();
    let answer = send(&aws, &sign::request(aws.port(), "CreateLogGroup", &body, sign::now(), KEYS)).unwrap();
    assert!(answer.contains("InvalidSignatureException") && answer.contains("Date: "), "{answer}");
    let learned = sign::request(aws.port(), "CreateLogGroup", &body, sign::now() + 20 * 60, KEYS);
    assert!(send(&aws, &learned).unwrap().starts_with("HTTP/1.1 200"));
    aws.assert_no_violations();
}

#[test]
fn credentials_are_given_rotated_and_expired() {
    let aws = FakeAws::start();
    let get = |path: &str| -> Value {
        let answer = send(&aws, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    };
    let create = |given: &Value, group: &str| {
        let text = |name: &str| given[name].as_str().unwrap();
        let keys = (text("AccessKeyId"), text("SecretAccessKey"), Some(text("Token")));
        let body = json!({"logGroupName": group}).to_string();
        send(&aws, &sign::request(aws.port(), "CreateLogGroup", &body, sign::now(), keys)).unwrap()
    };
    let first = get("/creds");
    assert_eq!(first["AccessKeyId"], get("/creds")["AccessKeyId"], "the same until they are rotated");
    assert!(create(&first, "a").starts_with("HTTP/1.1 200"));
    aws.rotate_credentials();
    let second = get("/creds");
    assert_ne!(first["AccessKeyId"], second["AccessKeyId"]);
    assert!(create(&first, "b").starts_with("HTTP/1.1 200") && create(&second, "c").starts_with("HTTP/1.1 200"));
    aws.expire_credentials();
    assert!(create(&second, "d").contains("ExpiredTokenException"));
    assert!(create(&get("/creds"), "d").starts_with("HTTP/1.1 200"));
    aws.assert_no_violations();
    assert_eq!(get("/v4/0123456789abcdef/task")["TaskARN"], TASK_ARN);
}

#[test]
fn secrets_are_served_to_who_signs_for_their_service() {
    let aws = FakeAws::start();
    let arn = aws.with_secret("db", "v1", "one");
    aws.put_parameter("/app/db", "three");
    let ask = |service: &str, target: &str, body: &Value| {
        let request = sign::to_service(aws.port(), (service, target), &body.to_string(), sign::now(), KEYS);
        send(&aws, &request).unwrap()
    };
    let get = json!({"SecretId": arn, "VersionStage": "AWSCURRENT"});
    let answer = ask("secretsmanager", "secretsmanager.GetSecretValue", &get);
    assert!(
        answer.contains(r#""SecretString":"one""#) && answer.contains(r#""CreatedDate":1700000000.046"#),
        "{answer}"
    );

    aws.change_secret("db", |secret| secret.put("v2", Content::Text("two".to_owned()), "AWSPENDING"));
    aws.answer_stale(1);
    let describe = json!({"SecretId": "db"});
    let told = [(); 2].map(|()| ask("secretsmanager", "secretsmanager.DescribeSecret", &describe));
    assert!(!told[0].contains("v2") && told[1].contains(r#""v2":["AWSPENDING"]"#), "{told:?}");

    aws.script(Operation::GetSecretValue, [Action::Throttle, Action::Denied, Action::Status(503, None)]);
    for refused in ["HTTP/1.1 400 x", "AccessDeniedException", "HTTP/1.1 503"] {
        assert!(ask("secretsmanager", "secretsmanager.GetSecretValue", &get).contains(refused));
    }
    let names = json!({"Names": ["/app/db", "/app/none"], "WithDecryption": true});
    let answer = ask("ssm", "AmazonSSM.GetParameters", &names);
    assert!(
        answer.contains(r#""Value":"three""#) && answer.contains(r#""InvalidParameters":["/app/none"]"#),
        "{answer}"
    );
    let asked = [Operation::GetSecretValue, Operation::DescribeSecret, Operation::GetParameters];
    assert_eq!(asked.map(|operation| aws.asked(operation)), [4, 2, 1]);
    aws.assert_no_violations();

    let unnamed = ask("secretsmanager", "secretsmanager.GetSecretValue", &json!({"SecretId": "db"}));
    assert!(unnamed.contains("InvalidParameterException"), "{unnamed}");
    assert!(ask("logs", "secretsmanager.DescribeSecret", &describe).contains("InvalidSignatureException"));
    assert_eq!(aws.violations().len(), 2, "{:?}", aws.violations());
}
