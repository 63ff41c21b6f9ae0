//! Secrets: what the services say becomes files, whole and in time, whatever they say next.
//!
//! Promises: what a program would read on the volume is read as one would, through the links; no story asks the agent what it
//! believes without looking at the files; no value stands in a log or a page.
//! Never: waits for a rotation's schedule: the local API, or a start, has the agent look.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    process::Command,
    thread,
};

use tempfile::TempDir;
use tests::{
    agent::{Agent, PILLION, Setup, binary, free_address},
    fake_aws::{Action, Content, Operation},
    wait::until,
};

use crate::{
    secrets_task::{DB, Task, end, value},
    story::SOON,
};

/// Every secret is a file before the agent calls itself well; a rotation is a new generation of all files at once; the version
/// before is there too; modes are as they were asked for.
#[test]
fn a_rotated_secret_reaches_the_files() {
    let task = Task::new();
    let agent = task.start();
    task.is_whole(1);
    assert_eq!((task.file("flag"), task.file("previous.json")), ("one".to_owned(), String::new()));
    let mode = |name: &str| fs::metadata(task.folder().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("db.json"), mode("db/password")), (0o440, 0o400));
    assert_eq!(agent.get("/healthz").0, 200);
    let limits = fs::read_to_string(format!("/proc/{}/limits", agent.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert!(core.split_whitespace().skip(4).take(2).eq(["0", "0"]), "a core file would hold secrets: {core}");
    for number in 2..6 {
        task.rotate(number);
        task.aws.put_parameter("/orders/flag", &number.to_string());
        assert_eq!(task.refresh(), 200, "{}", agent.log());
        task.is_whole(number);
        assert_eq!((task.file("flag"), task.file("previous.json")), (number.to_string(), value(number - 1)));
    }
    let fetched = task.aws.asked(Operation::GetSecretValue);
    assert_eq!(task.refresh(), 200);
    assert_eq!(task.aws.asked(Operation::GetSecretValue), fetched, "a version is fetched once");
    task.aws.assert_no_violations();
    end(agent);
}

/// In a task with a shared PID namespace the app may run as the agent's own user. It can read neither the agent's memory nor
/// its environment, where credentials are. Without secrets there is nothing to hide: that such an agent can be read is what
/// shows that the question is put right.
#[test]
fn a_program_of_the_same_user_cannot_read_the_memory_of_the_agent() {
    let task = Task::new();
    let script = "chown 65532:65532 \"$1\" && shift && exec setpriv --reuid=65532 --regid=65532 --clear-groups \"$@\"";
    let as_nobody = ["/bin/sh", "-c", script, "sh", "{folder}", PILLION];
    let can_read = |agent: &Agent, name: &str| {
        let mut reader = Command::new("setpriv");
        reader.args(["--reuid=65532", "--regid=65532", "--clear-groups", "head", "-c1"]);
        let read = reader.arg(format!("/proc/{}/{name}", agent.id())).output().unwrap();
        assert_eq!(read.status.success(), !read.stdout.is_empty(), "{read:?}");
        read.status.success()
    };
    let mut setup = task.setup();
    let with_secrets = Agent::start(&setup.clone().by(&as_nobody)).unwrap();
    until(SOON, || with_secrets.log(), || with_secrets.get("/readyz").0 == 503);
    assert!(!can_read(&with_secrets, "environ") && !can_read(&with_secrets, "maps"));
    end(with_secrets);
    setup.config.truncate(setup.config.find("secrets:\n").unwrap());
    let without = Agent::start(&setup.by(&as_nobody)).unwrap();
    assert!(can_read(&without, "environ") && can_read(&without, "maps"));
    end(without);
}

/// Throttled, denied, deleted, or of no use: what is there stays, whole, and the agent stays well.
#[test]
fn whatever_the_service_says_what_is_there_stays() {
    let task = Task::new();
    let agent = task.start();
    let looks = || task.aws.asked(Operation::DescribeSecret) + task.aws.asked(Operation::GetSecretValue);
    // Who is throttled does not hurry when it is asked to: that one comes last.
    for fault in [
        Action::Status(500, None),
        Action::Error(400, "AccessDeniedException", "scripted"),
        Action::Error(400, "ResourceNotFoundException", "scripted"),
        Action::Throttle,
    ] {
        for operation in [Operation::DescribeSecret, Operation::GetSecretValue] {
            task.aws.always(operation, fault.clone());
        }
        let before = looks();
        let _ = task.refresh();
        until(SOON, || format!("a look: {fault:?}"), || looks() > before);
        task.is_whole(1);
        assert_eq!(agent.get("/healthz").0, 200);
    }
    for operation in [Operation::DescribeSecret, Operation::GetSecretValue] {
        task.aws.heal(operation);
    }
    end(agent);

    // A version without the member that a file shows: the one before stays, of all files.
    let agent = task.start();
    task.aws.change_secret(DB, |secret| {
        let text = "{\"username\":\"canary-new\"}".to_owned();
        secret.put("bad", Content::Text(text), "AWSCURRENT");
    });
    let _ = task.refresh();
    until(SOON, || "an error that says so".to_owned(), || agent.log().contains("cannot be shown"));
    task.is_whole(1);
    task.rotate(3);
    assert_eq!(task.refresh(), 200);
    task.is_whole(3);
    end(agent);
}

/// What is on the volume is there at once after a restart, without the service, and is not written again.
#[test]
fn a_restart_takes_over_what_is_on_the_volume() {
    let task = Task::new();
    end(task.start());
    let generation = fs::read_link(task.folder().join("..data")).unwrap();
    let inode = fs::metadata(task.folder().join("db.json")).unwrap().ino();
    for operation in [Operation::DescribeSecret, Operation::GetSecretValue, Operation::GetParameters] {
        task.aws.always(operation, Action::Status(503, None));
    }
    let agent = task.start();
    task.is_whole(1);
    for operation in [Operation::DescribeSecret, Operation::GetSecretValue, Operation::GetParameters] {
        task.aws.heal(operation);
    }
    until(SOON, || "a look".to_owned(), || task.aws.asked(Operation::GetSecretValue) > 1);
    assert_eq!(fs::read_link(task.folder().join("..data")).unwrap(), generation);
    assert_eq!(fs::metadata(task.folder().join("db.json")).unwrap().ino(), inode);
    task.rotate(2);
    until(SOON, || "the rotation".to_owned(), || task.refresh() == 200 && task.file("db.json") == value(2));
    end(agent);
}

/// An init container writes everything and ends; without the service it ends with an error that says which, and nothing is
/// half there.
#[test]
fn an_init_container_writes_all_or_says_what_is_missing() {
    let task = Task::new();
    let once = |task: &Task, timeout: &str| {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("pillion.yaml");
        let config = task.setup().config.replace("startup_timeout: 20s", &format!("startup_timeout: {timeout}"));
        fs::write(&file, config).unwrap();
        let output = Command::new(binary().unwrap())
            .args(["secrets", "--once", "--config"])
            .arg(&file)
            .env_clear()
            .envs([
                ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            ])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    task.aws.always(Operation::GetSecretValue, Action::Error(400, "AccessDeniedException", "scripted"));
    let (code, said) = once(&task, "1s");
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("not written within 1 s: db") && said.contains("secretsmanager:GetSecretValue"), "{said}");
    assert!(!task.folder().join("flag").exists() && !task.folder().join("db.json").exists());
    task.aws.heal(Operation::GetSecretValue);
    let (code, said) = once(&task, "20s");
    assert_eq!(code, Some(0), "{said}");
    task.is_whole(1);
    assert!(!said.contains("canary"), "{said}");
    // The sidecar that comes after it takes over.
    let agent = task.start();
    task.is_whole(1);
    end(agent);
}

/// The app is told of each generation until it has heard, also of one that came while it did not listen, and also by the next
/// agent.
#[test]
fn the_app_is_told_until_it_has_heard() {
    let mut task = Task::new();
    let address = free_address().unwrap();
    task.more = format!("  tell: [{{webhook: {{url: 'http://{address}/reload'}}}}]\n");
    let agent = task.start();
    until(
        SOON,
        || "an attempt in vain".to_owned(),
        || agent.metrics().sum("pillion_secrets_tells_total", &[("outcome", "unheard")]) > 0.0,
    );
    end(agent);
    let agent = task.start();
    let listener = TcpListener::bind(address).unwrap();
    let told = |listener: &TcpListener| {
        let (mut stream, _) = listener.accept().unwrap();
        let mut bytes = vec![0; 8_192];
        let mut have = 0;
        loop {
            have += stream.read(&mut bytes[have..]).unwrap();
            let text = String::from_utf8_lossy(&bytes[..have]).into_owned();
            if let Some((_, body)) = text.split_once("\r\n\r\n")
                && let Ok(body) = serde_json::from_str::<serde_json::Value>(body)
            {
                stream.write_all(b"HTTP/1.1 204 Yes\r\nConnection: close\r\n\r\n").unwrap();
                return body;
            }
        }
    };
    let body = told(&listener);
    assert_eq!(body["versions"]["db"], "v1", "{body}");
    let heard = thread::spawn(move || told(&listener));
    task.rotate(2);
    assert_eq!(task.refresh(), 200);
    let body = heard.join().unwrap();
    assert_eq!((&body["versions"]["db"], body["generation"].as_u64()), (&serde_json::json!("v2"), Some(2)), "{body}");
    assert!(!body.to_string().contains("canary"));
    until(SOON, || "that is noted".to_owned(), || agent.metrics().sum("pillion_secrets_heard_generation", &[]) >= 2.0);
    end(agent);
}

/// The API of AWS's agent: the token, the answer, what is not there.
#[test]
fn the_local_api_answers_as_the_agent_of_aws_does() {
    let task = Task::new();
    let agent = task.start();
    let (status, body) = task.ask("GET", &format!("/secretsmanager/get?secretId={DB}"));
    assert_eq!(status, 200, "{body}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&answer["SecretString"], &answer["Name"]), (&value(1).into(), &DB.into()));
    assert_eq!((&answer["VersionId"], &answer["VersionStages"][0]), (&"v1".into(), &"AWSCURRENT".into()));
    let asked = task.aws.asked(Operation::GetSecretValue);
    assert_eq!(task.ask("GET", &format!("/v1/{DB}")).0, 200);
    assert_eq!(task.aws.asked(Operation::GetSecretValue), asked, "from memory");
    let (status, body) = task.ask("GET", "/secretsmanager/get?secretId=nobody");
    assert!(status == 400 && body.contains("ResourceNotFoundException"), "{status} {body}");
    let (status, body) = task.ask("GET", "/systemsmanager/parameters/get?name=%2Forders%2Fflag");
    assert!(status == 200 && body.contains("\"Value\":\"one\""), "{status} {body}");
    assert_eq!(task.ask("GET", "/ping"), (200, "healthy".to_owned()));
    assert_eq!(task.ask_with("nobody", "GET", "/v1/prod/orders/db"), (403, "Bad Token".to_owned()));
    end(agent);
}

/// Who may not ask is told so in the original's order: a request that came through a proxy, then a page that was lured here,
/// then the token, then the method, then the path. None of them learns anything, and none harms who comes next.
#[test]
fn the_local_api_lets_nobody_through_who_may_not_ask() {
    let task = Task::new();
    let agent = task.start();
    let token = task.token();
    let get = format!("/secretsmanager/get?secretId={DB}");
    let good = format!("X-Aws-Parameters-Secrets-Token: {token}");
    let vault = format!("X-Vault-Token: {token}");
    for (head, status, body) in [
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 10.0.0.1"), 400, "Forwarded"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nForwarded: for=x\r\n{good}"), 400, "Forwarded"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nVia: 1.1 x\r\n{good}"), 400, "Forwarded"),
        (format!("GET {get} HTTP/1.1\r\nHost: evil.example\r\n{good}"), 403, "Bad Host"),
        (format!("GET {get} HTTP/1.1\r\nHost: evil@localhost\r\n{good}"), 403, "Bad Host"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n{good}"), 403, "Bad Origin"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Site: cross-site\r\n{good}"), 403, "Bad Origin"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost"), 403, "Bad Token"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {}", &token[1..]), 403, "Bad Token"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: "), 403, "Bad Token"),
        (format!("POST {get} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: x"), 403, "Bad Token"),
        (format!("POST {get} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{good}"), 405, "Not allowed"),
        (format!("GET {get} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n{good}\r\n\r\nx"), 400, "Bad Request"),
        (format!("GET /nowhere HTTP/1.1\r\nHost: localhost\r\n{good}"), 404, "Not found"),
        (format!("GET http://localhost{get} HTTP/1.1\r\nHost: localhost\r\n{good}"), 400, "Bad Request"),
        (format!("GET {get} HTTP/1.1\r\nHost: 127.0.0.1:2773\r\n{vault}"), 200, ""),
        (format!("GET {get} HTTP/1.1\r\nHost: [::1]\r\n{good}"), 200, ""),
        ("GET /ping HTTP/1.1\r\nHost: localhost".to_owned(), 200, "healthy"),
    ] {
        let (said, answer) = task.say(&format!("{head}\r\nConnection: close\r\n\r\n"));
        let shown = head.replace(&token, "TOKEN");
        assert_eq!(said, status, "{shown}");
        assert_eq!(answer.contains("canary"), status == 200 && body.is_empty(), "{shown}");
        assert!(answer.contains(body), "{shown}: {answer}");
    }
    end(agent);
}

/// What is known is answered at once, whatever the service says, and a hundred who ask for the same are one question.
#[test]
fn the_local_api_answers_from_memory_while_the_service_is_down() {
    let mut task = Task::new();
    task.more = "    ttl: 0s\n".to_owned();
    // With a time to live of nothing each request has the agent look.
    let setup = task.setup();
    let config = setup.config.replace("region: us-east-1}\n    ttl: 0s\n", "region: us-east-1, ttl: 0s}\n");
    let agent = Agent::start(&Setup { config, ..setup }).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200 && !task.token().is_empty());
    until(SOON, || "the API".to_owned(), || task.ask("GET", "/ping").0 == 200);
    let get = format!("/secretsmanager/get?secretId={DB}");
    assert_eq!(task.ask("GET", &get).0, 200);
    for operation in [Operation::DescribeSecret, Operation::GetSecretValue] {
        task.aws.always(operation, Action::Throttle);
    }
    for _ in 0..20 {
        let (status, body) = task.ask("GET", &get);
        assert!(status == 200 && body.contains("canary-1"), "stale is better than nothing: {status}");
    }
    let (status, _) = task.ask("GET", "/secretsmanager/get?secretId=never-seen");
    assert_eq!(status, 400, "what is not known cannot be answered");
    end(agent);
}
