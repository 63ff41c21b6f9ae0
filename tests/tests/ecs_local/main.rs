//! Every task definition of `task-definitions/`, run as ECS would run it: our image, Docker's own log driver, the file that ECS
//! generates, health checks, secrets, the metadata and credentials endpoints; moto stands in for AWS.
//!
//! Promises: what an app wrote stands in its log group, every line once and in its order; its trace is in X-Ray; its secrets were
//! files before it started; and the agent's books balance. It does not prove IAM, TLS, or how ECS places tasks.
//! Never: runs without its parts. `tests/run` starts them and says where they are.

mod examples;
#[expect(clippy::unwrap_used, reason = "a test: what fails here is a failed test")]
#[path = "../real/postgres.rs"]
mod postgres;
mod shop;
mod world;

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tests::{
    agent::free_address,
    ecs_local::{Setup, Task, order::State},
};

use world::{World, definition};

/// How long a part may take to start.
const SOON: Duration = Duration::from_secs(60);

/// Lines of a service that was asked, besides those of its start.
fn asked(service: &str) -> Vec<String> {
    (0..20).map(|number| format!("{service} request GET /{number} HTTP/1.0")).collect()
}

/// A service that answers on a port: starts, is well, answers, stops with 0, and nothing of it is lost.
fn serves(name: &str, port: u16, files: &[&str]) -> Result<()> {
    let world = World::new()?;
    let mut task = world.start(name)?;
    task.until("all is well", Task::is_well)?;
    let service = definition(name)?.service;
    for number in 0..20 {
        let answer = world::get(task.address(&service)?, port, &format!("/{number}"))?;
        ensure!(answer.ends_with("ok\n"), "{answer}");
    }
    check_secrets(&task, &service, files)?;
    world.ends(&mut task, &service, |lines| {
        let stopped = format!("{service} stopped");
        let expected: Vec<String> = asked(&service).into_iter().chain([stopped]).collect();
        ensure!(lines.ends_with(&expected), "{lines:#?}");
        for file in files {
            let told = format!("{service} file {file}_FILE can be read");
            ensure!(lines.contains(&told), "{told}: {lines:#?}");
        }
        Ok(())
    })
}

/// Files are what ECS would have given as variables, and there is no such variable.
fn check_secrets(task: &Task, service: &str, files: &[&str]) -> Result<()> {
    for file in files {
        let (code, said) = task.exec(service, &["/bin/cat", &format!("/run/secrets/{file}")])?;
        ensure!(code == 0 && said == world::secret(file), "{file}: {said}");
        let (_, environment) = task.exec(service, &["/usr/bin/env"])?;
        ensure!(!environment.contains(&format!("{file}=")), "{file} is a variable too");
    }
    Ok(())
}

#[test]
fn orders_runs_and_loses_nothing() -> Result<()> {
    serves("orders", 3000, &["DB_PASSWORD", "DB_USER"])
}

#[test]
fn users_runs_and_loses_nothing() -> Result<()> {
    serves("users", 3000, &["DB_PASSWORD"])
}

#[test]
fn inventory_runs_and_loses_nothing() -> Result<()> {
    serves("inventory", 3000, &["DB_PASSWORD", "FEATURES"])
}

#[test]
fn api_service_runs_and_loses_nothing() -> Result<()> {
    serves("api-service", 8080, &["SESSION_KEY"])
}

#[test]
fn users_on_ec2_in_bridge_mode_finds_pillion_by_its_link() -> Result<()> {
    serves("users-ec2-bridge", 3000, &["DB_PASSWORD"])
}

#[test]
fn orders_on_ec2_as_root_with_a_spool_runs_and_loses_nothing() -> Result<()> {
    serves("orders-ec2-root-spool", 3000, &[])
}

/// Numbers in lines such as `worker-service item 7`.
fn items(service: &str, lines: &[String]) -> Vec<u64> {
    let head = format!("{service} item ");
    lines.iter().filter_map(|line| line.strip_prefix(&head)?.parse().ok()).collect()
}

#[test]
fn a_worker_that_is_stopped_has_all_its_items_in_the_log() -> Result<()> {
    let world = World::new()?;
    let mut task = world.start("worker-service")?;
    task.until("all is well", Task::is_well)?;
    world.until("30 items", &task, "worker-service", |lines| items("worker-service", lines).len() >= 30)?;
    check_secrets(&task, "worker-service", &["DB_PASSWORD"])?;
    world.ends(&mut task, "worker-service", |lines| {
        let found = items("worker-service", lines);
        ensure!(found.iter().copied().eq(1..=found.len() as u64), "an item is missing: {found:?}");
        ensure!(lines.last().is_some_and(|line| line == "worker-service stopped"), "{lines:?}");
        Ok(())
    })
}

/// In the network mode `host` containers share the machine's addresses, and the file of ECS names no port of the router.
#[test]
fn a_worker_on_ec2_in_host_mode_runs_and_loses_nothing() -> Result<()> {
    let world = World::new()?;
    let mut text = definition("worker-service")?.text;
    for (from, to) in [("\"awsvpc\"", "\"host\""), ("\"FARGATE\"", "\"EC2\"")] {
        ensure!(text.contains(from), "{from} is not there");
        text = text.replace(from, to);
    }
    // Ports of the machine, which others may have.
    for port in [2000, 4317, 4318, 8125] {
        text = text.replace(&format!("127.0.0.1:{port}"), &free_address()?.to_string());
    }
    let admin = free_address()?;
    let environment = vec![("PILLION__ADMIN__LISTEN".to_owned(), admin.to_string())];
    let mut task = Task::start(&world.with_real_secrets(text)?, None, Setup { environment, ..world.setup() })?;
    task.until("all is well", Task::is_well)?;
    // It is this machine's own loopback address.
    let answer = world::call_service(admin.ip(), admin.port(), "GET", "/healthz", &format!("Host: {admin}"))?;
    ensure!(answer.starts_with("HTTP/1.0 200"), "{answer}");
    let (_, environment) = task.exec("worker-service", &["/usr/bin/env"])?;
    ensure!(!environment.contains("FLUENT_HOST"), "{environment}");
    world.until("30 items", &task, "worker-service", |lines| items("worker-service", lines).len() >= 30)?;
    check_secrets(&task, "worker-service", &["DB_PASSWORD"])?;
    world.ends(&mut task, "worker-service", |lines| {
        let found = items("worker-service", lines);
        ensure!(found.iter().copied().eq(1..=found.len() as u64), "an item is missing: {found:?}");
        Ok(())
    })
}

/// A task that EventBridge starts, that ends by itself at once: the whole task ends, and each of its lines is delivered.
#[test]
fn a_scheduled_task_ends_by_itself_and_loses_nothing() -> Result<()> {
    let world = World::new()?;
    let mut task = world.start("scheduler-service")?;
    let ended = task.run(&std::sync::atomic::AtomicBool::new(false))?;
    ensure!(ended.reason == "Essential container in task exited: scheduler-service with 0", "{ended:?}");
    world.ends(&mut task, "scheduler-service", |lines| {
        let expected: Vec<String> = (1..=100).map(|number| format!("scheduler-service line {number}")).collect();
        ensure!(lines.ends_with(&expected), "{lines:#?}");
        Ok(())
    })
}

/// Spot gives two minutes: the app says where it was, then pillion delivers what is left.
#[test]
fn a_batch_task_on_spot_says_where_it_was_within_two_minutes() -> Result<()> {
    let world = World::new()?;
    let mut task = world.start("batch-spot")?;
    task.until("all is well", Task::is_well)?;
    world.until("20 items", &task, "batch-spot", |lines| items("batch-spot", lines).len() >= 20)?;
    let seconds: i64 = world::stop_timeouts("batch-spot")?.iter().sum();
    ensure!(seconds <= 120, "its containers may take {seconds} s, one after another");
    let warned = Instant::now();
    world.ends(&mut task, "batch-spot", |lines| {
        let found = items("batch-spot", lines);
        let last = found.last().context("no item")?;
        let checkpoint = format!("batch-spot checkpoint {last}");
        ensure!(lines.ends_with(&[checkpoint, "batch-spot stopped".to_owned()]), "{lines:?}");
        ensure!(found.iter().copied().eq(1..=*last), "an item is missing: {found:?}");
        Ok(())
    })?;
    ensure!(warned.elapsed().as_secs() < 120, "it took {:?}", warned.elapsed());
    Ok(())
}

/// A password is rotated: the file has the new one, nobody was started again, and nobody who asked noticed.
#[test]
fn a_rotated_password_reaches_the_app_without_a_restart() -> Result<()> {
    let world = World::new()?;
    let (id, mut task) = world.start_with_own_secret("users", ("PILLION__SECRETS__API__LISTEN", "127.0.0.1:2773"))?;
    task.until("all is well", Task::is_well)?;
    let file = |task: &Task| Ok::<_, anyhow::Error>(task.exec("users", &["/bin/cat", "/run/secrets/DB_PASSWORD"])?.1);
    ensure!(file(&task)? == world::secret("DB_PASSWORD"), "{}", file(&task)?);
    world.put_secret(&id, "canary-rotated")?;
    world::refresh(&task)?;
    let deadline = Instant::now() + world::PATIENCE;
    let mut asked = 0;
    while file(&task)? != "canary-rotated" {
        ensure!(Instant::now() < deadline, "the file does not follow: {}", task.logs("pillion")?);
        ensure!(world::get(task.address("users")?, 3000, &format!("/{asked}"))?.ends_with("ok\n"));
        asked += 1;
    }
    task.look()?;
    ensure!(task.is_well() && task.restarts("users") + task.restarts("pillion") == 0, "{}", task.told());
    world.ends(&mut task, "users", |lines| {
        let found = lines.iter().filter(|line| line.starts_with("users request GET /")).count();
        ensure!(found == asked, "{asked} requests, {found} in the log");
        Ok(())
    })
}

/// A service is rolled from one version to the next while it is asked, and back from one that never turns healthy: every request is
/// answered, and stands in the log of the task that answered it.
#[test]
fn a_service_is_rolled_to_the_next_version_and_nothing_is_lost() -> Result<()> {
    let world = World::new()?;
    let mut first = world.start_with("api-service", &STOP_RECORD)?;
    first.until("the first version is well", Task::is_well)?;
    let ask = |task: &Task, numbers: std::ops::Range<usize>| {
        numbers.into_iter().try_for_each(|number| {
            let answer = world::get(task.address("api-service")?, 8080, &format!("/{number}"))?;
            ensure!(answer.ends_with("ok\n"), "{number}: {answer}");
            Ok(())
        })
    };
    ask(&first, 0..10)?;

    // One that can never be well: the circuit breaker leaves the first where it is.
    let mut broken = world.start_changed("api-service", "\"command\": [\"serve\"]", "\"command\": [\"job\"]")?;
    let why = broken.until("the broken version is well", Task::is_well).err().context("it turned healthy")?;
    ensure!(why.to_string().contains("Essential container in task exited"), "{why}");
    broken.stop()?;
    ask(&first, 10..20)?;

    // One that is: it is well before the first one goes.
    let mut second = world.start("api-service")?;
    second.until("the second version is well", Task::is_well)?;
    ask(&first, 20..30)?;
    ask(&second, 30..40)?;
    for (task, numbers) in [(&mut first, 0..30), (&mut second, 30..40)] {
        world.ends(task, "api-service", |lines| {
            let expected: Vec<String> =
                numbers.clone().map(|n| format!("api-service request GET /{n} HTTP/1.0")).collect();
            let found: Vec<&String> = lines.iter().filter(|line| line.starts_with("api-service request")).collect();
            ensure!(found.iter().copied().eq(&expected), "{found:?}");
            Ok(())
        })?;
    }
    check_stop_record(&world, &first)
}

/// The record of the stop, in a stream of its own.
const STOP_RECORD: [(&str, &str); 6] = [
    ("PILLION__STOP_RECORD", "pillion.stop"),
    ("PILLION__LOGS__OUTPUTS__0__MATCH", "pillion.stop"),
    ("PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__GROUP", "/ecs/api-service"),
    ("PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__STREAM", "stop/$(ecs_task_id)"),
    ("PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__TEMPLATES", "go_plugin"),
    ("PILLION__LOGS__OUTPUTS__0__TO__CLOUDWATCH__LOG_KEY", "log"),
];

/// What the version that went said of its end.
fn check_stop_record(world: &World, task: &Task) -> Result<()> {
    let stream = format!("stop/{}", task.identity().task);
    let page = serde_json::json!({"logGroupName": "/ecs/api-service", "logStreamName": stream, "startFromHead": true});
    let written = world.messages(&page)?;
    ensure!(written.len() == 1, "{written:?}\n{}", task.told());
    let record: serde_json::Value = serde_json::from_str(&written[0])?;
    ensure!(record["record"] == "pillion.stop" && record["stopped_by"] == "SIGTERM", "{record}");
    ensure!(
        record["task"]["definition"] == "api-service:1" && record["task"]["arn"] == task.identity().arn(),
        "{record}"
    );
    let app = serde_json::json!({"name": "api-service", "exit_code": 0});
    ensure!(record["task"]["ended"].as_array().is_some_and(|ended| ended.contains(&app)), "{record}");
    ensure!(record["secrets"]["generation"].as_u64() == Some(1), "{record}");
    ensure!(world::last_line(task)?["definition"] == "api-service:1", "{}", task.logs("pillion")?);
    Ok(())
}

/// One team's log storm is that team's own: whatever becomes of it, a team beside it loses no line and no order, and its books balance.
/// It does not prove that AWS takes both: here one stand-in is asked by both.
#[test]
fn a_storm_of_one_team_costs_another_team_nothing() -> Result<()> {
    let world = World::new()?;
    let mut storm = world.start_changed("users", "\"command\": [\"serve\"]", "\"command\": [\"storm\"]")?;
    let blows = |task: &Task| matches!(task.state("users"), Some(State::Running { .. }));
    storm.until("the storm has begun", blows)?;
    world
        .until("the storm", &storm, "users", |lines| lines.iter().any(|line| line.starts_with("users storm 1000 ")))?;
    let mut quiet = world.start("orders")?;
    quiet.until("orders is well", |task| task.state("orders") == Some(State::Running { healthy: Some(true) }))?;
    for number in 0..20 {
        let answer = world::get(quiet.address("orders")?, 3000, &format!("/{number}"))?;
        ensure!(answer.ends_with("ok\n"), "{answer}");
    }
    world.ends(&mut quiet, "orders", |lines| {
        let expected: Vec<String> = asked("orders").into_iter().chain(["orders stopped".to_owned()]).collect();
        ensure!(lines.ends_with(&expected), "{lines:#?}");
        ensure!(!lines.iter().any(|line| line.contains("storm")), "a line of another team: {lines:#?}");
        Ok(())
    })?;
    // The storm went on all the while.
    storm.look()?;
    ensure!(matches!(storm.state("users"), Some(State::Running { .. })), "{}", storm.told());
    world.stops(&mut storm)?;
    let last = world::last_line(&storm)?;
    let of = |name: &str| last[name].as_u64().with_context(|| format!("no {name} in {last}"));
    ensure!(last["balanced"] == true && of("accepted")? > 1_000 && of("unsettled")? == 0, "{last}");
    Ok(())
}

/// What ECS would refuse is refused, in its words, and nothing is left behind.
#[test]
fn what_ecs_would_refuse_is_refused() -> Result<()> {
    let world = World::new()?;
    let good = definition("orders")?.text;
    for (from, to, said) in [
        ("\"cpu\": \"512\"", "\"cpu\": \"300\"", "fargate-size"),
        ("\"condition\": \"HEALTHY\"", "\"condition\": \"READY\"", "dependency-condition"),
        ("\"stopTimeout\": 120", "\"stopTimeout\": 500", "time-range"),
    ] {
        ensure!(good.contains(from), "{from}");
        let refused = Task::start(&good.replace(from, to), None, world.setup());
        let told = refused.err().context("ECS would refuse it")?.to_string();
        ensure!(told.starts_with("ClientException") && told.contains(said), "{told}");
    }
    Ok(())
}

/// A container that waits for what can never be ends the task, as in ECS.
#[test]
fn a_dependency_that_fails_stops_the_task() -> Result<()> {
    let world = World::new()?;
    let text = r#"{"family": "order", "requiresCompatibilities": ["EC2"], "networkMode": "awsvpc", "containerDefinitions": [
        {"name": "app", "image": "app:1", "memory": 32, "command": ["job"], "dependsOn": [{"containerName": "first", "condition": "SUCCESS"}]},
        {"name": "first", "image": "app:1", "memory": 32, "essential": false, "entryPoint": ["/bin/false"]}
    ]}"#;
    let mut task = Task::start(text, None, world.setup())?;
    let ended = task.run(&std::sync::atomic::AtomicBool::new(false))?;
    ensure!(ended.reason == "Task failed to start: app: dependency first ended with 1 instead of SUCCESS", "{ended:?}");
    ensure!(task.state("app") == Some(State::Pending), "{:?}", task.state("app"));
    Ok(())
}

/// The policies beside the definitions are those that pillion prints for them today.
#[test]
fn the_policies_are_those_that_the_definitions_need() -> Result<()> {
    for name in world::names()? {
        for (kind, flag) in [("task", &[][..]), ("execution", &["--execution-role"])] {
            let file = world::folder().join("iam").join(format!("{name}-{kind}.json"));
            let written = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
            let printed = world::pillion(&[&["iam"], flag].concat(), &definition(&name)?.text)?;
            ensure!(printed == written, "{}: pillion iam prints {printed}", file.display());
        }
    }
    Ok(())
}

/// True if a resource of a policy, with `*` and `?`, means this ARN.
fn means(resource: &str, arn: &str) -> bool {
    match (resource.as_bytes(), arn.as_bytes()) {
        ([], []) => true,
        ([b'*', ..], _) => (0..=arn.len()).any(|at| means(&resource[1..], &arn[at..])),
        ([one, ..], [other, ..]) if *one == b'?' || one == other => means(&resource[1..], &arn[1..]),
        _ => false,
    }
}

/// True if a statement of a policy is about this ARN.
fn reaches(policy: &serde_json::Value, arn: &str) -> bool {
    policy["Statement"].as_array().into_iter().flatten().any(|statement| {
        // X-Ray, ECR's token and CloudWatch's metrics know no resources.
        let action = statement["Action"][0].as_str().unwrap_or_default();
        let resources = statement["Resource"].as_array().into_iter().flatten();
        let global =
            action.starts_with("xray:") || ["ecr:GetAuthorizationToken", "cloudwatch:PutMetricData"].contains(&action);
        !global && resources.filter_map(|it| it.as_str()).any(|resource| means(resource, arn))
    })
}

/// Queues, too: the one whose backlog is told, and the one that says what was rotated.
#[test]
fn no_team_reaches_a_queue_of_another_team() -> Result<()> {
    const TEAMS: [&str; 3] = ["orders", "users", "inventory"];
    for team in TEAMS {
        let url = |queue: &str| format!("https://sqs.eu-west-1.amazonaws.com/123456789012/{team}-{queue}");
        let variable = |name: &str, value: String| format!("{{ \"name\": \"{name}\", \"value\": \"{value}\" }},");
        let added = [
            variable("PILLION__METRICS__INPUTS__1__QUEUE__SQS", url("jobs")),
            variable("PILLION__METRICS__INPUTS__1__QUEUE__CLUSTER", "shop".to_owned()),
            variable("PILLION__METRICS__INPUTS__1__QUEUE__SERVICE", team.to_owned()),
            variable("PILLION__METRICS__OUTPUTS__0__TO__CLOUDWATCH__REGION", "eu-west-1".to_owned()),
            variable("PILLION__SECRETS__HINTS__SQS", url("hints")),
        ];
        let stop = "{ \"name\": \"PILLION_STOP_TIMEOUT\"";
        let text = definition(team)?.text;
        ensure!(text.matches(stop).count() == 1, "{team}");
        let printed = world::pillion(&["iam"], &text.replace(stop, &format!("{}{stop}", added.concat())))?;
        let policy: serde_json::Value = serde_json::from_str(&printed)?;
        for owner in TEAMS {
            for queue in ["jobs", "hints"] {
                let arn = format!("arn:aws:sqs:eu-west-1:123456789012:{owner}-{queue}");
                ensure!(reaches(&policy, &arn) == (owner == team), "{team} and the queue {owner}-{queue}: {printed}");
            }
        }
    }
    Ok(())
}

/// Three teams side by side: what one may read and write, no other may.
#[test]
fn no_team_reaches_what_is_another_team_s() -> Result<()> {
    let teams = ["orders", "users", "inventory"];
    for team in teams {
        for kind in ["task", "execution"] {
            let text = std::fs::read_to_string(world::folder().join("iam").join(format!("{team}-{kind}.json")))?;
            let policy: serde_json::Value = serde_json::from_str(&text)?;
            let reaches = |arn: &str| reaches(&policy, arn);
            for owner in teams {
                let logs = format!("arn:aws:logs:eu-west-1:123456789012:log-group:/ecs/{owner}:log-stream:x");
                let secret = format!("arn:aws:secretsmanager:eu-west-1:123456789012:secret:{owner}/db-AbCdEf");
                ensure!(reaches(&logs) == (owner == team), "{team}'s {kind} role and the log of {owner}");
                ensure!(!reaches(&secret) || owner == team, "{team}'s {kind} role reaches the secret of {owner}");
                ensure!(
                    kind == "execution" || reaches(&secret) == (owner == team),
                    "{team} cannot read its own secret"
                );
            }
        }
    }
    Ok(())
}
