//! Hints: moto's EventBridge puts an event into moto's SQS, and the agent looks.
//!
//! Promises: the envelope is moto's own, not ours; the secret changes nowhere but in the fake AWS, so that what the agent writes is
//! what it looked at.
//! Never: asks the agent to look; the next look of its own is a quarter of an hour away.

use std::{
    env,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::{Value, json};
use tests::{agent::Agent, wait::until};

use crate::{
    secrets_task::{DB, Task, end},
    story::SOON,
};

/// Calls moto, which believes any signature. `target` begins with the service's prefix.
#[expect(clippy::disallowed_methods, reason = "where moto is; the agent does not see it")]
fn moto(service: &str, target: &str, body: &Value) -> Value {
    let url = env::var("MOTO_URL").expect("tests/run starts moto and says where it is");
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let version = if service == "sqs" { "1.0" } else { "1.1" };
    let body = body.to_string();
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "POST / HTTP/1.1\r\nHost: {address}\r\nX-Amz-Target: {target}\r\nContent-Type: application/x-amz-json-{version}\r\n\
         Authorization: AWS4-HMAC-SHA256 Credential=AKID/20261120/us-east-1/{service}/aws4_request, SignedHeaders=host, \
         Signature=x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{target}: {answer}");
    serde_json::from_str(body).unwrap_or(Value::Null)
}

/// Messages in the queue, also those that somebody has received and not deleted.
fn waiting(queue: &str) -> i64 {
    let names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"];
    let said = moto("sqs", "AmazonSQS.GetQueueAttributes", &json!({"QueueUrl": queue, "AttributeNames": names}));
    let count = |name: &str| said["Attributes"][name].as_str().and_then(|text| text.parse::<i64>().ok());
    names.iter().map(|name| count(name).unwrap_or_else(|| panic!("no {name}: {said}"))).sum()
}

#[test]
fn an_event_has_the_agent_look_at_once_and_whatever_is_in_the_queue_is_taken_out() {
    let mut task = Task::new();
    let name = format!("hints-{}", task.api.port());
    let queue =
        moto("sqs", "AmazonSQS.CreateQueue", &json!({"QueueName": name}))["QueueUrl"].as_str().unwrap().to_owned();
    let arn = format!("arn:aws:sqs:us-east-1:123456789012:{name}");
    let pattern = json!({"source": ["aws.secretsmanager", "aws.ssm"]}).to_string();
    moto("events", "AWSEvents.PutRule", &json!({"Name": name, "EventPattern": pattern, "State": "ENABLED"}));
    moto("events", "AWSEvents.PutTargets", &json!({"Rule": name, "Targets": [{"Id": "q", "Arn": arn}]}));
    let happens = |source: &str, kind: &str, detail: Value| {
        let entry = json!({"Source": source, "DetailType": kind, "Detail": detail.to_string()});
        let said = moto("events", "AWSEvents.PutEvents", &json!({"Entries": [entry]}));
        assert_eq!(said["FailedEntryCount"].as_i64().unwrap_or(0), 0, "{said}");
    };
    let put = |body: &str| {
        moto("sqs", "AmazonSQS.SendMessage", &json!({"QueueUrl": queue, "MessageBody": body}));
    };

    task.more = format!("  hints: {{sqs: '{queue}', region: us-east-1}}\n");
    let agent: Agent = task.start();
    let hints = |outcome: &str| agent.metrics().sum("pillion_secrets_hints_total", &[("outcome", outcome)]);

    task.rotate(2);
    let secret = task.aws.secret_arn(DB);
    happens(
        "aws.secretsmanager",
        "AWS Service Event via CloudTrail",
        json!({"eventName": "RotationSucceeded", "additionalEventData": {"SecretId": secret}}),
    );
    until(SOON, || format!("the rotation: {}", agent.log()), || task.file("db.json") == crate::secrets_task::value(2));
    task.is_whole(2);
    task.aws.put_parameter("/orders/flag", "two");
    happens(
        "aws.ssm",
        "Parameter Store Change",
        json!({"operation": "Update", "name": "/orders/flag", "type": "String"}),
    );
    until(SOON, || format!("the parameter: {}", agent.log()), || task.file("flag") == "two");
    assert!(hints("taken") >= 2.0);

    // Somebody else's, no event at all, large, and a call of our own kind: none makes a look, all are taken out.
    let looks = task.aws.asked(tests::fake_aws::Operation::DescribeSecret);
    happens(
        "aws.secretsmanager",
        "AWS API Call via CloudTrail",
        json!({"eventName": "PutSecretValue", "requestParameters": {"secretId": "elses"}}),
    );
    happens(
        "aws.secretsmanager",
        "AWS API Call via CloudTrail",
        json!({"eventName": "DescribeSecret", "requestParameters": {"secretId": secret}}),
    );
    put("garbage");
    put(&"[".repeat(200_000));
    until(
        SOON,
        || format!("{} foreign: {}", hints("foreign"), agent.log()),
        || hints("foreign") >= 2.0 && hints("unreadable") >= 2.0,
    );
    until(SOON, || format!("an empty queue; it has {}", waiting(&queue)), || waiting(&queue) == 0);
    assert_eq!(task.aws.asked(tests::fake_aws::Operation::DescribeSecret), looks);
    assert_eq!(hints("failed"), 0.0, "{}", agent.log());
    task.aws.assert_no_violations();
    end(agent);
}
