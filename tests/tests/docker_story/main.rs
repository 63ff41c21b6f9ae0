//! Stories with the real parts: our image, Docker's own `fluentd` log driver, the configuration that ECS generates, and
//! moto as CloudWatch Logs, read back with boto3.
//!
//! Promises: every story compares what containers wrote with what stands in CloudWatch Logs, and ends by balancing the
//! books. It does not prove what ECS itself does (metadata, credentials), nor TLS: moto is reached in the clear.
//! Never: runs without its parts. `tests/run` starts them and says where they are.

mod burst;
mod cloud;
mod docker;
mod task;

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
    sync::{PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result, ensure};

use cloud::{Event, python};
use docker::{Container, docker};
use task::{TASK_ARN, Task, tag};

/// The image may not grow beyond this. The budget is 16 MB, and is missed since the secrets job is there
/// (docs/performance.md): this only holds the line until it is met again.
const IMAGE_BYTES_MAX: u64 = 18_900_000;

/// Numbered lines on both streams over about a second, lines that Docker splits (16,384 bytes are one part and an empty
/// one), bytes that are no UTF-8, a character cut by a split, and then quiet until SIGTERM.
const APP: &str = r#"
    use POSIX; $SIG{TERM} = sub { exit 0 }; select STDERR; $| = 1; select STDOUT; $| = 1;
    for my $i (1..1000) { print STDOUT "out $i\n"; print STDERR "err $i\n"; select undef, undef, undef, 0.001; }
    print "a" x 16384, "\n"; print "b" x 40000, "\n"; print "x", "\xc3\xa9" x 10000, "\n"; print "raw \xff\xfe\x80 end\n";
    print "done\n"; pause while 1;
"#;
/// Numbered lines until it is killed.
const ENDLESS: &str = r#"$| = 1; for (my $i = 1; ; $i++) { print "tick $i\n"; select undef, undef, undef, 0.001; }"#;
/// The burst is a measurement and holds it alone; the other stories share it.
static MACHINE: RwLock<()> = RwLock::new(());

/// What `tests/run` tells the stories.
#[expect(clippy::disallowed_methods, reason = "the stories are told by tests/run where their parts are")]
fn environment(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run this story by tests/run"))
}

fn milliseconds_now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// Every line of three containers, one of which is killed, stands in CloudWatch Logs once and in its order.
#[test]
fn what_containers_wrote_stands_in_cloudwatch_logs_once_and_in_order() -> Result<()> {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let before = milliseconds_now()?;
    let mut task = Task::start("lines", &["app", "killed", "app2"], &[], &[])?;
    let app = task.app("app", APP)?;
    let killed = task.app("killed", ENDLESS)?;
    let second = task.app("app2", APP)?;

    // 1,000 on each stream, then 2 + 3 + 2 parts of split lines, and 2 short lines.
    let events = 1_000 + 1_000 + 7 + 2;
    task.read_back("app", events)?;
    task.read_back("app2", events)?;
    task.read_back("killed", 300)?;
    task.apps[killed].kill()?;
    for index in [app, second] {
        ensure!(task.apps[index].stop(10)? == 0);
    }
    task.stop()?;
    let after = milliseconds_now()?;

    for (name, index) in [("app", app), ("app2", second)] {
        let found = task.read_back(name, 0)?;
        ensure!(found.len() == events, "{name}: {} events", found.len());
        check_app_lines(&found).with_context(|| name.to_owned())?;
        check_fields(&found, name, task.apps[index].id())?;
        check_times(&found, before, after)?;
    }
    let ticks = cloud::lines(&task.read_back("killed", 0)?, "stdout")?;
    for (index, tick) in ticks.iter().enumerate() {
        ensure!(*tick == format!("tick {}", index + 1), "`{tick}` stands at place {index}");
    }
    Ok(())
}

fn check_app_lines(events: &[Event]) -> Result<()> {
    let errors = cloud::lines(events, "stderr")?;
    let expected: Vec<String> = (1..=1_000).map(|number| format!("err {number}")).collect();
    ensure!(errors == expected, "standard error differs");

    let lines = cloud::lines(events, "stdout")?;
    let expected: Vec<String> = (1..=1_000).map(|number| format!("out {number}")).collect();
    ensure!(lines.len() == 1_005 && lines[..1_000] == expected, "standard output differs");
    ensure!(lines[1_000] == "a".repeat(16_384), "the line of exactly one part");
    ensure!(lines[1_001] == "b".repeat(40_000), "the line of three parts");
    // The cut goes through a character: its two halves are no text, all others are whole.
    let whole: String = lines[1_002].chars().filter(|character| *character != '\u{fffd}').collect();
    ensure!(whole == format!("x{}", "é".repeat(9_999)), "the line with a cut character");
    let raw = &lines[1_003];
    ensure!(raw.starts_with("raw ") && raw.ends_with(" end") && raw.contains('\u{fffd}'), "raw bytes became {raw:?}");
    ensure!(lines[1_004] == "done");
    Ok(())
}

fn check_fields(events: &[Event], name: &str, id: &str) -> Result<()> {
    for event in events {
        ensure!(event.stream == format!("story/{}", tag(name)), "stands in {}", event.stream);
        let record = event.record()?;
        let expected = [
            ("container_id", id),
            ("container_name", &format!("/{name}-{}", std::process::id())),
            ("ecs_cluster", "story"),
            ("ecs_task_arn", TASK_ARN),
            ("ecs_task_definition", "web:7"),
        ];
        for (key, value) in expected {
            ensure!(record.get(key).map(String::as_str) == Some(value), "{key} in {record:?}");
        }
    }
    Ok(())
}

/// Events lie in the time of the story, in order, and their times have been told to the millisecond.
fn check_times(events: &[Event], before: i64, after: i64) -> Result<()> {
    ensure!(events.iter().all(|event| (before..=after).contains(&event.timestamp)), "an event lies outside the story");
    ensure!(events.is_sorted_by_key(|event| event.timestamp), "events are out of order");
    let fractions: BTreeSet<i64> = events.iter().map(|event| event.timestamp % 1_000).collect();
    ensure!(fractions.len() > 100, "only {} different milliseconds: sub-second times were cut", fractions.len());
    Ok(())
}

/// Called as task definitions call AWS's image, as a user with nothing: no root, no capabilities, nothing to write on.
#[test]
fn the_image_runs_confined_and_says_that_it_is_well() -> Result<()> {
    let _shared = MACHINE.read().unwrap_or_else(PoisonError::into_inner);
    let confined = ["--user", "65532:65532", "--read-only", "--cap-drop", "ALL"];
    let confined = [confined.as_slice(), &["--security-opt", "no-new-privileges"]].concat();
    let command = ["/fluent-bit/bin/fluent-bit", "-c", "/fluent-bit/etc/fluent-bit.conf"];
    let mut task = Task::start("confined", &["guest", "py"], &confined, &command)?;
    let app =
        task.app("guest", r#"use POSIX; $| = 1; $SIG{TERM} = sub { exit 0 }; print "hello\n"; pause while 1;"#)?;
    ensure!(cloud::lines(&task.read_back("guest", 1)?, "stdout")? == ["hello"]);
    ensure!(task.agent.exec(&["/pillion", "healthcheck"])? == Some(0), "not healthy: {}", task.told());
    speak_as_public_clients(&task)?;
    ensure!(task.apps[app].stop(10)? == 0);
    task.stop()
}

/// The public client, and messages encoded by a package that is not ours, over the unix socket and TCP.
fn speak_as_public_clients(task: &Task) -> Result<()> {
    let (unix, tcp) = (format!("unix://{}", task.socket().display()), format!("tcp://{}:24224", task.agent.address()?));
    let start = milliseconds_now()?;
    let time = start.to_string();
    let mut senders: Vec<(&str, Command)> = Vec::new();
    for (to, label, options) in [
        (&unix, "sync", [].as_slice()),
        (&tcp, "precise", ["--nanoseconds"].as_slice()),
        (&tcp, "async", ["--nanoseconds", "--async", "--bufmax", "65536"].as_slice()),
    ] {
        let mut command = python("send_with_fluent_logger.py");
        command.args(["--to", to, "--label", label]).args(options);
        senders.push((label, command));
    }
    for (to, mode) in [(&unix, "message"), (&tcp, "forward"), (&unix, "packed"), (&tcp, "gzip")] {
        let mut command = python("send_forward_modes.py");
        command.args(["--to", to, "--mode", mode]);
        senders.push((mode, command));
    }
    let count = 100_i64;
    for (label, command) in &mut senders {
        command.args(["--tag", &tag("py"), "--time", &time, "--count", &count.to_string()]);
        docker::output(command).with_context(|| format!("{label}: {}", task.told()))?;
    }

    let mut found: BTreeMap<String, Vec<(i64, i64)>> = BTreeMap::new();
    for event in task.read_back("py", senders.len() * 100)? {
        let record = event.json()?;
        let number = record["seq"].as_i64().context("seq")?;
        ensure!(record["log"] == format!("line {number}"), "{record}");
        let label = record["label"].as_str().context("label")?;
        found.entry(label.to_owned()).or_default().push((number, event.timestamp));
    }
    for (label, _) in &senders {
        let mut events = found.remove(*label).with_context(|| format!("nothing of {label}"))?;
        events.sort_unstable();
        // Without EventTime a time is whole seconds.
        let whole = if *label == "sync" { 1_000 } else { 1 };
        let expected: Vec<(i64, i64)> = (0..count).map(|number| (number, (start + number) / whole * whole)).collect();
        ensure!(events == expected, "{label} differs: {events:?}");
    }
    Ok(())
}

/// Only the files that have a reason to be there, small, and with the names by which task definitions call AWS's image.
#[test]
fn the_image_holds_the_binary_and_nothing_else() -> Result<()> {
    let image = environment("PILLION_IMAGE");
    let bytes: u64 = docker(&["image", "inspect", "--format", "{{.Size}}", &image])?.parse()?;
    ensure!(bytes <= IMAGE_BYTES_MAX, "the image has {bytes} bytes");

    let container = Container::create(&[&image])?;
    let folder = tempfile::tempdir()?;
    let archive = folder.path().join("image.tar").display().to_string();
    docker(&["export", "--output", &archive, container.id()])?;
    let listing =
        docker::output(Command::new("tar").args(["--list", "--verbose", "--numeric-owner", "--file", &archive]))?;
    // Docker itself puts these into every container.
    let own = [".dockerenv", "dev/", "proc/", "sys/", "etc/hostname", "etc/hosts", "etc/mtab", "etc/resolv.conf"];
    let mut found = BTreeSet::new();
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        ensure!(words.len() >= 6, "not a line of tar: {line}");
        if !own.iter().any(|name| words[5].starts_with(name)) {
            found.insert([&words[..2], &words[5..]].concat().join(" "));
        }
    }
    let expected = [
        "-rw-r--r-- 0/0 LICENSE",
        "-rwxr-xr-x 0/0 pillion",
        "drwxr-xr-x 0/0 app/",
        "drwxr-xr-x 0/0 etc/",
        "drwxr-xr-x 0/0 fluent-bit/",
        "drwxr-xr-x 0/0 fluent-bit/bin/",
        "drwxr-xr-x 0/0 fluent-bit/etc/",
        "drwxr-xr-x 0/0 init/",
        "drwxr-xr-x 0/0 run/",
        "drwxr-xr-x 0/0 var/",
        "drwxr-xr-x 0/0 var/run/",
        "drwxrwxr-x 65532/0 run/secrets/",
        "lrwxrwxrwx 0/0 app/aws-workload-credentials-provider -> /pillion",
        "lrwxrwxrwx 0/0 app/aws_secretsmanager_agent -> /pillion",
        "lrwxrwxrwx 0/0 entrypoint.sh -> /pillion",
        "lrwxrwxrwx 0/0 fluent-bit/bin/fluent-bit -> /pillion",
        "lrwxrwxrwx 0/0 healthcheck -> /pillion",
        "lrwxrwxrwx 0/0 init/fluent_bit_init_entrypoint.sh -> /pillion",
        "lrwxrwxrwx 0/0 xray -> /pillion",
    ];
    let expected: BTreeSet<String> = expected.map(str::to_owned).into();
    ensure!(found == expected, "the image holds {found:#?}");
    Ok(())
}
