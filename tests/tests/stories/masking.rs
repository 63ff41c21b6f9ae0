//! Secrets never leave in a log: apps that print their passwords, before and after a rotation, and what CloudWatch has of it.
//!
//! Promises: an app here reads its secret from the file and prints it at once, as fast as it can; what the service got is looked
//! at, record by record, and the agent's own log and pages.
//! Never: proves the forms of all encoders; `logs::mask` does.

use std::{
    io::Write as _,
    net::TcpStream,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use tests::{
    agent::{Agent, Setup},
    fake_aws::{Action, Operation, REGION},
    forward_client::{self, ForwardClient, Options, Time, docker_line, docker_part},
    wait::until,
};

use crate::{
    secrets_task::{DB, Task, end, value},
    story::{SOON, WEB, connect_unix, record},
};

const GROUP: &str = "masked";
const STREAM: &str = "all";

/// The task of the other stories, whose logs go to the fake CloudWatch; `more` are inputs beside the socket.
fn setup(task: &Task, more: &str) -> Setup {
    let setup = task.setup();
    let output = format!(
        "outputs: [{{to: {{cloudwatch: {{group: {GROUP}, stream: {STREAM}, region: {REGION}, endpoint: '{}', \
         auto_create_group: true}}}}}}]",
        task.aws.url()
    );
    let config = setup
        .config
        .replace("outputs: [{to: discard}]", &output)
        .replace("'{socket}'}}", &format!("'{{socket}}'}}}}{more}"));
    assert!(config.contains(GROUP), "{config}");
    Setup { config, ..setup }
}

fn start(task: &Task, more: &str) -> Agent {
    let agent = Agent::start(&setup(task, more)).unwrap();
    until(SOON, || format!("the secrets: {}", agent.log()), || agent.get("/readyz").0 == 200);
    until(SOON, || "the API".to_owned(), || !task.token().is_empty() && task.ask("GET", "/ping").0 == 200);
    agent
}

/// Waits until `records` have come, and gives the lines that the service has.
fn delivered(task: &Task, agent: &Agent, records: u64) -> Vec<String> {
    agent.wait_for_metrics(SOON, &format!("{records} records to be delivered"), |metrics| {
        let total = metrics.books().total();
        total.accepted == records && total.in_flight == 0
    });
    let lines: Vec<String> = task.aws.messages(GROUP, STREAM);
    assert_eq!(lines.len() as u64, records);
    let log = |line: &String| record(line)["log"].as_str().unwrap_or_default().to_owned();
    lines.iter().map(log).collect()
}

fn password(number: u32) -> String {
    format!("canary-{number}#/?$\"")
}

/// While this lives the app goes on, and not longer if an assertion fails.
struct Rotating<'a>(&'a AtomicBool);

impl Drop for Rotating<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// As a few programs print it.
fn forms(password: &str) -> [String; 5] {
    let json = serde_json::to_string(password).unwrap();
    let twice = serde_json::to_string(&json).unwrap();
    let percent =
        password.replace('#', "%23").replace('/', "%2F").replace('?', "%3F").replace('$', "%24").replace('"', "%22");
    [password.to_owned(), json, twice, percent, format!("postgres://app:{password}@db/x")]
}

/// One record in every way in which it can come.
fn ways(text: &str) -> Vec<Vec<u8>> {
    let fields: [(&str, &[u8]); 1] = [("log", text.as_bytes())];
    let entries = [(Time::now(), &fields[..])];
    let gzip = Options { compressed: Some("gzip"), ..Options::default() };
    vec![
        docker_line(WEB, Time::now(), text.as_bytes()),
        forward_client::message(WEB, Time::now(), &fields, None),
        forward_client::forward(WEB, &entries, None),
        forward_client::packed(WEB, &forward_client::stream(&entries), None),
        forward_client::compressed(WEB, &[&entries], &gzip),
    ]
}

/// An app prints what it reads, each time it reads it, while the secret rotates five times; afterwards it prints old ones. Nothing
/// of them has reached the service, and not a byte is missing beside.
#[test]
fn what_an_app_prints_of_its_secrets_never_reaches_the_service() {
    let task = Task::new();
    let agent = start(&task, "");
    let (rotated, mut sent) = (AtomicBool::new(false), 0);
    let printed = thread::scope(|scope| {
        let rotating = Rotating(&rotated);
        let app = scope.spawn(|| {
            let (mut client, mut printed, mut seen) = (connect_unix(&agent.socket()), 0, String::new());
            // The first line with a new value is written in the moment in which the file shows it.
            while !rotated.load(Ordering::Acquire) || printed < 100 {
                let password = task.file("db/password");
                if password != seen || printed < 100 {
                    client.line(WEB, &format!("connecting with {password}")).unwrap();
                    (printed, seen) = (printed + 1, password);
                }
            }
            printed
        });
        for number in 2..6 {
            task.rotate(number);
            assert_eq!(task.refresh(), 200, "{}", agent.log());
            task.is_whole(number);
        }
        drop(rotating);
        app.join().unwrap()
    });
    assert!(printed >= 100);
    sent += printed;
    let mut client = connect_unix(&agent.socket());
    for number in 1..6 {
        for form in forms(&password(number)) {
            for message in ways(&format!("{{\"n\":1}} {form}.")) {
                client.send(&message).unwrap();
                sent += 1;
            }
        }
    }
    let lines = delivered(&task, &agent, sent);
    for line in &lines {
        assert!(!line.contains("canary") && !line.contains("#/?$"), "{line}");
    }
    let hidden = format!("connecting with {}", "*".repeat(password(1).len()));
    assert_eq!(lines.iter().filter(|line| **line == hidden).count() as u64, printed);
    assert_eq!(lines.iter().filter(|line| line.starts_with("{\"n\":1} ") && line.ends_with('.')).count(), 125);
    let masked = agent.metrics().sum("pillion_logs_masked_spans_total", &[("secret", "db"), ("container", "web")]);
    assert!(masked >= sent as f64, "{masked} of {sent}");
    assert_eq!(agent.log().matches("an app writes a secret to its log").count(), 1, "said once");
    task.aws.assert_no_violations();
    end(agent);
}

/// A line of 40 KB, which Docker cuts into three parts, with the password across each cut.
#[test]
fn a_password_that_docker_cut_in_two_is_masked_in_both_parts() {
    let task = Task::new();
    let agent = start(&task, "");
    let mut client = connect_unix(&agent.socket());
    let line = format!("{}{}{}{}tail", "x".repeat(16_380), password(1), "y".repeat(16_371), password(1));
    let parts: Vec<&[u8]> = line.as_bytes().chunks(16_384).collect();
    assert!(parts.len() == 3 && parts[1].starts_with(b"ry-1") && parts[2].starts_with(b"ry-1"), "cut in the password");
    for (ordinal, part) in parts.iter().enumerate() {
        let message = docker_part(WEB, Time::now(), part, "id-1", ordinal as u32 + 1, ordinal == parts.len() - 1);
        client.send(&message).unwrap();
    }
    let shown = delivered(&task, &agent, 3).concat();
    let hidden = "*".repeat(password(1).len());
    assert_eq!(shown, format!("{}{hidden}{}{hidden}tail", "x".repeat(16_380), "y".repeat(16_371)));
    end(agent);
}

/// What an earlier agent wrote is masked from the first record on, though the service cannot be asked; so is what an app asks the
/// local API for; and what comes as JSON.
#[test]
fn what_was_on_the_volume_and_what_the_api_gave_is_masked_too() {
    let task = Task::new();
    end(start(&task, ""));
    for operation in [Operation::DescribeSecret, Operation::GetSecretValue, Operation::GetParameters] {
        task.aws.always(operation, Action::Status(503, None));
    }
    let json = tests::agent::free_address().unwrap();
    let agent = Agent::start(&setup(&task, &format!(", {{json: {{tcp: '{json}', tag: {WEB}}}}}"))).unwrap();
    let mut client = ForwardClient::unix(&agent.socket()).unwrap();
    client.line(WEB, &format!("from the volume: {}", password(1))).unwrap();
    assert_eq!(delivered(&task, &agent, 1), [format!("from the volume: {}", "*".repeat(password(1).len()))]);
    for operation in [Operation::DescribeSecret, Operation::GetSecretValue, Operation::GetParameters] {
        task.aws.heal(operation);
    }
    until(SOON, || "the API".to_owned(), || !task.token().is_empty() && task.ask("GET", "/ping").0 == 200);
    task.aws.with_secret("prod/other", "v1", "canary-of-the-API-7");
    let (status, body) = task.ask("GET", "/secretsmanager/get?secretId=prod%2Fother");
    assert!(status == 200 && body.contains("canary-of-the-API-7"), "{status}");
    client.line(WEB, "from the API: canary-of-the-API-7").unwrap();
    let mut stream = TcpStream::connect(json).unwrap();
    let object = serde_json::json!({"log": "from JSON", "deep": [{"value": value(1)}], "also": "canary-of-the-API-7"});
    stream.write_all(object.to_string().as_bytes()).unwrap();
    let _ = delivered(&task, &agent, 3);
    let messages = task.aws.messages(GROUP, STREAM);
    assert!(messages.iter().all(|message| !message.contains("canary")), "{messages:?}");
    assert!(messages.iter().any(|message| message.contains("app1") && message.contains("from JSON")), "{messages:?}");
    assert!(agent.metrics().sum("pillion_logs_masked_spans_total", &[("secret", "api")]) >= 2.0);
    end(agent);
}

/// `mask: never` is the user's word, and a word is masked if he wants that.
#[test]
fn the_user_says_what_is_masked() {
    let task = Task::new();
    task.aws.put_parameter("/orders/flag", "production");
    let plain = setup(&task, "");
    let (never, always) = ("   - name: db\n", "   - name: flag\n");
    let config = plain.config.replace(never, "   - name: db\n      mask: never\n");
    let config = config.replace(always, "   - name: flag\n      mask: always\n");
    let agent = Agent::start(&Setup { config, ..plain }).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    until(SOON, || "the API".to_owned(), || !task.token().is_empty() && task.ask("GET", "/ping").0 == 200);
    // What the API gives of that secret is not masked either.
    assert_eq!(task.ask("GET", &format!("/secretsmanager/get?secretId={}", task.aws.secret_arn(DB))).0, 200);
    connect_unix(&agent.socket()).line(WEB, &format!("{} in production", password(1))).unwrap();
    assert_eq!(delivered(&task, &agent, 1), [format!("{} in **********", password(1))]);
    assert_eq!(agent.metrics().sum("pillion_logs_masked_spans_total", &[("secret", DB)]), 0.0);
    end(agent);
}

/// A wish that cannot be granted is told, once.
#[test]
fn a_secret_that_should_be_masked_and_cannot_be_is_told() {
    let task = Task::new();
    let plain = setup(&task, "");
    let config = plain.config.replace("   - name: flag\n", "   - name: flag\n      mask: always\n");
    let agent = Agent::start(&Setup { config, ..plain }).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    task.aws.put_parameter("/orders/flag", "two");
    until(SOON, || "a refresh".to_owned(), || task.refresh() == 200);
    assert_eq!(agent.log().matches("nothing in it that can be masked").count(), 1, "{}", agent.log());
    end(agent);
}
