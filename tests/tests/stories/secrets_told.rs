//! Secrets: who is told of a rotation, by which way, and who is seen to have taken it up.
//!
//! Promises: the real binary, real signals, a real watch of the folder, real connections that break; each story ends with an agent
//! that shows no value anywhere.
//! Never: waits for a rotation's schedule: the local API has the agent look.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::fd::OwnedFd,
    thread,
};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use tests::{
    agent::{Agent, PILLION, UNSHARE},
    fake_aws::{Action, Operation},
    wait::until,
};

use crate::{
    secrets_task::{DB, Task, end, value},
    story::SOON,
};

/// What `/status` says of a secret.
fn shown(agent: &Agent, name: &str) -> serde_json::Value {
    agent.status()["secrets"]["items"][name].clone()
}

/// The generation on the volume.
fn generation(task: &Task) -> u64 {
    let marker: serde_json::Value = serde_json::from_str(&task.file("..data/.generation")).unwrap();
    marker["generation"].as_u64().unwrap()
}

/// An app that reads through the API, one that reads files and says so, and one of which nobody can know.
#[test]
fn it_is_shown_who_has_taken_up_a_rotation() {
    let task = Task::new();
    task.aws.with_secret("prod/other", "o1", &value(9));
    let agent = task.start();
    let db = shown(&agent, "db");
    assert_eq!(
        (&db["version"], &db["reads"], &db["taken"]),
        (&"v1".into(), &0.into(), &serde_json::Value::Null),
        "{db}"
    );
    assert_eq!((&db["use_can_be_seen"], &db["untaken_seconds"]), (&false.into(), &serde_json::Value::Null), "{db}");
    // The fake made it in 2023.
    assert!(db["version_age_seconds"].as_u64().unwrap() > 1_000_000 && db["next_look_in_seconds"].is_u64(), "{db}");
    let series = |agent: &Agent, name: &str, secret: &str| agent.metrics().sum(name, &[("secret", secret)]);
    assert!(!agent.get("/metrics").1.contains("pillion_secrets_untaken_seconds{"), "nobody could be seen");

    // Whoever reads it through the API has that version.
    assert_eq!(task.ask("GET", &format!("/v1/{DB}")).0, 200);
    assert_eq!(task.ask("GET", "/v1/prod/other").0, 200);
    assert_eq!(
        (series(&agent, "pillion_secrets_reads_total", "db"), shown(&agent, "db")["taken"]["by"].clone()),
        (1.0, "read".into())
    );
    assert_eq!(
        series(&agent, "pillion_secrets_reads_total", ""),
        1.0,
        "what the configuration does not name has no name"
    );
    task.rotate(2);
    assert_eq!(task.refresh(), 200);
    let db = shown(&agent, "db");
    assert_eq!((&db["taken"], &db["use_can_be_seen"]), (&serde_json::Value::Null, &true.into()), "{db}");
    until(SOON, || "a second".to_owned(), || series(&agent, "pillion_secrets_untaken_seconds", "db") > 0.0);
    assert_eq!(task.ask("GET", &format!("/secretsmanager/get?secretId={DB}&refreshNow=true")).0, 200);
    assert_eq!(shown(&agent, "db")["taken"]["by"], "read");
    assert_eq!(series(&agent, "pillion_secrets_untaken_seconds", "db"), 0.0);

    // Whoever reads files says so, with the number that stands there.
    task.aws.put_parameter("/orders/flag", "two");
    assert_eq!(task.refresh(), 200);
    task.rotate(3);
    assert_eq!(task.refresh(), 200);
    assert_eq!(shown(&agent, "flag")["use_can_be_seen"], false);
    let number = generation(&task);
    assert_eq!(
        task.ask("POST", &format!("/v1/agent/ack?generation={}", number + 1)).0,
        409,
        "there is no such generation"
    );
    assert_eq!(task.ask("POST", &format!("/v1/agent/ack?generation={}", number - 1)).0, 200);
    assert_eq!(shown(&agent, "db")["taken"], serde_json::Value::Null, "that is the one before");
    assert_eq!(task.ask("POST", &format!("/v1/agent/ack?generation={number}")).0, 200);
    for (name, changed) in [("db", number), ("flag", number - 1)] {
        let secret = shown(&agent, name);
        assert_eq!(
            (&secret["taken"]["by"], &secret["changed_in_generation"]),
            (&"ack".into(), &changed.into()),
            "{secret}"
        );
    }
    assert_eq!(agent.metrics().sum("pillion_secrets_acknowledged_generation", &[("way", "ack")]), number as f64);
    assert_eq!(agent.status()["secrets"]["acknowledged"]["ack"], number);

    // Why it could not be looked at.
    for operation in [Operation::DescribeSecret, Operation::GetSecretValue] {
        task.aws.always(operation, Action::Error(400, "AccessDeniedException", "scripted"));
    }
    let _ = task.refresh();
    until(SOON, || "a failure".to_owned(), || shown(&agent, "db")["failures"]["denied"].as_u64() > Some(0));
    assert!(shown(&agent, "db")["trouble"].as_str().unwrap().contains("AccessDenied"), "{}", shown(&agent, "db"));
    end(agent);
}

/// A stream of events.
struct Events(BufReader<TcpStream>);

impl Events {
    /// As an `EventSource` opens it, and opens it again with the number it had last.
    fn open(task: &Task, last: Option<u64>) -> Self {
        let mut stream = TcpStream::connect(task.api).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let last = last.map(|last| format!("Last-Event-ID: {last}\r\n")).unwrap_or_default();
        let token = task.token();
        write!(
            stream,
            "GET /v1/agent/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nX-Vault-Token: {token}\r\n{last}\r\n"
        )
        .unwrap();
        Self(BufReader::new(stream))
    }

    /// The number and the version of `db` of the next event; `None` when the stream breaks.
    fn next(&mut self) -> Option<(u64, String)> {
        let mut id = None;
        loop {
            let mut line = String::new();
            if self.0.read_line(&mut line).ok()? == 0 {
                return None;
            }
            if let Some(number) = line.strip_prefix("id: ") {
                id = Some(number.trim().parse().unwrap());
            } else if let Some(data) = line.strip_prefix("data: ") {
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["generation"].as_u64(), id);
                return Some((id?, data["versions"]["db"].as_str()?.to_owned()));
            }
        }
    }
}

/// A stream and one who asks again and again, over agents that end, are killed, and start anew, with rotations in between: each
/// comes back with the number it had last, hears of every generation that is the newest for a while, and of none twice.
#[test]
fn news_of_a_rotation_are_not_lost_while_either_side_starts_anew() {
    let task = Task::new();
    let mut agent = task.start();
    let mut events = Events::open(&task, None);
    let (first, version) = events.next().unwrap();
    assert_eq!(version, "v1");
    let mut last = first;
    for number in 2..6 {
        if number % 2 == 0 {
            end(agent);
        } else {
            agent.signal("KILL");
            agent.wait_for_end(SOON);
        }
        assert_eq!(events.next(), None, "the stream breaks with its agent");
        agent = task.start();
        // Each is level. Nothing is told before there is something new.
        events = Events::open(&task, Some(last));
        let asked = ask_for_news(&task, last);
        until(
            SOON,
            || "both to wait".to_owned(),
            || agent.metrics().sum("pillion_secrets_acknowledged_generation", &[("way", "events")]) == last as f64,
        );
        assert_eq!(shown(&agent, "db")["taken"]["by"], "events");
        task.rotate(number);
        assert_eq!(task.refresh(), 200);
        let (told, version) = events.next().unwrap();
        assert_eq!((told, version), (last + 1, format!("v{number}")));
        let answer = asked.join().unwrap();
        assert_eq!((&answer["generation"], &answer["versions"]["db"]), (&told.into(), &format!("v{number}").into()));
        last = told;
    }
    // What came while a reader was away is told at once.
    drop(events);
    end(agent);
    task.rotate(6);
    let agent = task.start();
    until(SOON, || "the rotation".to_owned(), || task.file("db.json") == value(6));
    let mut events = Events::open(&task, Some(last));
    assert_eq!(events.next(), Some((last + 1, "v6".to_owned())));
    end(agent);
}

/// Asks for news as one does that is level with `since`, on a thread of its own.
fn ask_for_news(task: &Task, since: u64) -> thread::JoinHandle<serde_json::Value> {
    let (api, token) = (task.api, task.token());
    thread::spawn(move || {
        let mut stream = TcpStream::connect(api).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head =
            format!("GET /v1/agent/events?since={since} HTTP/1.1\r\nHost: localhost\r\nX-Vault-Token: {token}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    })
}

/// What a program sees that watches the folder: for each rotation one rename to `..data`, and the new content behind it. A watch of
/// the folder outlives all of them.
#[test]
fn who_watches_the_folder_sees_each_swap() {
    let task = Task::new();
    let agent = task.start();
    let watch = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, task.folder(), WatchFlags::ALL_EVENTS).unwrap();
    let mut events = Vec::new();
    for number in 2..8 {
        task.rotate(number);
        assert_eq!(task.refresh(), 200);
        // The refresh ends when the files are there, so the event is there too.
        let seen = pending(&watch);
        let swaps = seen.iter().filter(|(flags, name)| flags.contains(ReadFlags::MOVED_TO) && name == "..data").count();
        assert_eq!(swaps, 1, "{seen:?}");
        assert_eq!(task.file("db.json"), value(number));
        events.extend(seen);
    }
    // No name that the app knows is touched, so that no watch of a single file is broken.
    let touched = |name: &str| events.iter().any(|(_, other)| other == name);
    assert!(!touched("db.json") && !touched("db") && !touched("flag"), "{events:?}");
    end(agent);
}

/// All events that wait.
fn pending(watch: &OwnedFd) -> Vec<(ReadFlags, String)> {
    let mut buffer = [std::mem::MaybeUninit::<u8>::uninit(); 4_096];
    let mut reader = inotify::Reader::new(watch, &mut buffer);
    let mut events = Vec::new();
    while let Ok(event) = reader.next() {
        // What is read inside of the folder, such as our own opening of it, has no name.
        let name = event.file_name().map(|name| name.to_string_lossy().into_owned());
        events.push((event.events(), name.unwrap_or_default()));
    }
    events.retain(|(flags, _)| !flags.intersects(ReadFlags::OPEN | ReadFlags::ACCESS | ReadFlags::CLOSE_NOWRITE));
    events
}

/// As in a task with `pidMode: task`: two programs beside the agent in one PID namespace. The one that catches the signal gets it
/// with each rotation, the other one, which it would end, is spared, and both are told apart by their names alone.
#[test]
fn a_program_in_a_shared_pid_namespace_is_signalled() {
    let mut task = Task::new();
    task.more =
        "  tell: [{signal: {process: pln-orders, signal: USR1}}, {signal: {process: pln-deaf, signal: SIGUSR1}}]\n"
            .to_owned();
    let apps = tempfile::tempdir().unwrap();
    let (app, deaf, got) = (apps.path().join("pln-orders"), apps.path().join("pln-deaf"), apps.path().join("got"));
    for program in [&app, &deaf] {
        fs::copy("/bin/sh", program).unwrap();
    }
    let run = format!(
        "{app} -c 'trap \"cat {secrets}/db/username >> {got}; echo >> {got}\" USR1; touch {apps}/up; while :; do sleep 0.01; done' >/dev/null 2>&1 &\n\
         {deaf} -c 'while :; do sleep 0.01; done' >/dev/null 2>&1 &\n\
         until [ -e {apps}/up ]; do sleep 0.01; done\n\
         exec \"$@\"",
        app = app.display(),
        deaf = deaf.display(),
        got = got.display(),
        apps = apps.path().display(),
        secrets = task.folder().display(),
    );
    let setup = task.setup().by(&[
        UNSHARE,
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "/bin/sh",
        "-c",
        &run,
        "sh",
        PILLION,
    ]);
    let agent = Agent::start(&setup).unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200 && !task.token().is_empty());
    until(SOON, || "the API".to_owned(), || task.ask("GET", "/ping").0 == 200);
    let lines = || fs::read_to_string(&got).unwrap_or_default();
    until(SOON, || format!("the first signal: {}", agent.log()), || lines() == "app1\n");
    for number in 2..5 {
        task.rotate(number);
        assert_eq!(task.refresh(), 200);
        let expected: String = (1..=number).map(|number| format!("app{number}\n")).collect();
        until(SOON, || format!("signal {number}: {}", lines()), || lines() == expected);
    }
    let told = |who: &str, outcome: &str| {
        agent.metrics().sum("pillion_secrets_tells_total", &[("who", who), ("outcome", outcome)])
    };
    assert_eq!((told("signal.0", "heard"), told("signal.0", "unheard")), (4.0, 0.0));
    until(SOON, || "attempts".to_owned(), || told("signal.1", "unheard") > 1.0);
    assert_eq!(told("signal.1", "heard"), 0.0);
    assert_eq!(shown(&agent, "db")["taken"]["by"], "signal");
    assert!(is_alive("pln-deaf"), "it would have ended by the signal");
    end(agent);
    assert!(!is_alive("pln-deaf") && !is_alive("pln-orders"), "they end with their namespace");
}

/// True if a process of this name runs.
fn is_alive(name: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut names = processes.filter_map(|process| fs::read_to_string(process.path().join("comm")).ok());
    names.any(|other| other.trim() == name)
}
