//! What the stories of task definitions share: where the parts are, what stands in AWS, how a task ends.
//!
//! Promises: a task that ends here has balanced books, and left what it wrote in CloudWatch Logs and X-Ray.
//! Never: tells a story.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tests::{
    agent::binary,
    ecs_local::{
        Setup, Task,
        engine::Engine,
        secrets::{call, request},
    },
};

const REGION: &str = "eu-west-1";
/// The image of the app that stands for all services.
const APP: &str = "pillion-ecs-local-app:test";
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// What is made once for all stories, which run side by side.
static MADE: Mutex<bool> = Mutex::new(false);

pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) moto: String,
}

/// A file of `task-definitions/`.
pub(crate) struct Definition {
    pub(crate) text: String,
    /// The container that is not pillion.
    pub(crate) service: String,
}

/// What `tests/run` tells the stories.
#[expect(clippy::disallowed_methods, reason = "the stories are told by tests/run where their parts are")]
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

pub(crate) fn part(name: &str) -> String {
    environment(name).unwrap_or_else(|| panic!("{name} is not set: run this story by tests/run"))
}

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../task-definitions")
}

/// All definitions that have pillion as inject puts it in.
pub(crate) fn names() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder())? {
        let name = entry?.file_name().into_string().unwrap_or_default();
        names.extend(name.strip_suffix(".json").filter(|name| *name != "web-firelens").map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

pub(crate) fn definition(name: &str) -> Result<Definition> {
    let text = fs::read_to_string(folder().join(format!("{name}.json"))).with_context(|| name.to_owned())?;
    let value: Value = serde_json::from_str(&text)?;
    let containers = value["containerDefinitions"].as_array().context("no containers")?;
    let service = containers.iter().filter_map(|it| it["name"].as_str()).find(|it| *it != "pillion");
    let service = service.context("no app")?.to_owned();
    Ok(Definition { text, service })
}

/// The `stopTimeout` of every container.
pub(crate) fn stop_timeouts(name: &str) -> Result<Vec<i64>> {
    let value: Value = serde_json::from_str(&definition(name)?.text)?;
    let containers = value["containerDefinitions"].as_array().context("no containers")?;
    Ok(containers.iter().map(|it| it["stopTimeout"].as_i64().unwrap_or(30)).collect())
}

/// What the file of that name must hold: as in the secrets that [`World::new`] makes.
pub(crate) fn secret(file: &str) -> String {
    format!("canary-{file}")
}

impl World {
    pub(crate) fn new() -> Result<Self> {
        let world = Self { engine: Engine::new(environment("DOCKER_HOST").as_deref())?, moto: part("MOTO_URL") };
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        if !*made {
            world.make()?;
            *made = true;
        }
        Ok(world)
    }

    /// The app's image, and what an account would have: groups, secrets, parameters.
    fn make(&self) -> Result<()> {
        let context = tempfile::tempdir()?;
        let script = context.path().join("app");
        fs::write(&script, include_str!("app.pl"))?;
        fs::set_permissions(&script, PermissionsExt::from_mode(0o755))?;
        let file = format!("FROM {}\nCOPY app /app\nENTRYPOINT [\"/app\"]\n", part("PILLION_APP_IMAGE"));
        fs::write(context.path().join("Dockerfile"), file)?;
        let built = Command::new("docker").args(["build", "--quiet", "--tag", APP]).arg(context.path()).output()?;
        ensure!(built.status.success(), "docker build: {}", String::from_utf8_lossy(&built.stderr));
        for name in names()? {
            let group = json!({"logGroupName": format!("/ecs/{name}")});
            // Somebody may have made it before.
            drop(self.ask("logs", "Logs_20140328.CreateLogGroup", &group));
        }
        for service in ["orders", "users", "inventory", "api-service", "worker-service"] {
            let value =
                json!({"password": secret("DB_PASSWORD"), "username": secret("DB_USER"), "key": secret("SESSION_KEY")});
            for kind in ["db", "session"] {
                let body = json!({"Name": format!("{service}/{kind}"), "SecretString": value.to_string()});
                drop(self.ask("secretsmanager", "secretsmanager.CreateSecret", &body));
            }
        }
        let parameter =
            json!({"Name": "/inventory/features", "Value": secret("FEATURES"), "Type": "String", "Overwrite": true});
        self.ask("ssm", "AmazonSSM.PutParameter", &parameter).map(drop)
    }

    pub(crate) fn ask(&self, service: &str, target: &str, body: &Value) -> Result<Value> {
        call(&self.moto, REGION, service, target, body)
    }

    pub(crate) fn setup(&self) -> Setup {
        let ecr = "123456789012.dkr.ecr.eu-west-1.amazonaws.com";
        Setup {
            engine: self.engine.clone(),
            aws: Some(self.moto.clone()),
            images: vec![
                (format!("{ecr}/pillion:"), part("PILLION_IMAGE")),
                (format!("{ecr}/"), APP.to_owned()),
                ("app:".to_owned(), APP.to_owned()),
            ],
            pause_image: part("PILLION_APP_IMAGE"),
            environment: Vec::new(),
        }
    }

    /// Starts a definition of the folder.
    pub(crate) fn start(&self, name: &str) -> Result<Task> {
        Task::start(&self.with_real_secrets(definition(name)?.text)?, None, self.setup())
    }

    /// Starts it with variables besides.
    pub(crate) fn start_with(&self, name: &str, variables: &[(&str, &str)]) -> Result<Task> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let setup = Setup { environment, ..self.setup() };
        Task::start(&self.with_real_secrets(definition(name)?.text)?, None, setup)
    }

    /// Starts it with one thing changed.
    pub(crate) fn start_changed(&self, name: &str, from: &str, to: &str) -> Result<Task> {
        let text = definition(name)?.text;
        ensure!(text.contains(from), "{from} is not in {name}");
        Task::start(&self.with_real_secrets(text.replace(from, to))?, None, self.setup())
    }

    /// Starts it with a secret that no other story has, which may be rotated. Gives the secret's name.
    pub(crate) fn start_with_own_secret(&self, name: &str, variable: (&str, &str)) -> Result<(String, Task)> {
        let own = format!("{name}-rotated-{}", std::process::id());
        let value = json!({"password": secret("DB_PASSWORD")}).to_string();
        self.ask("secretsmanager", "secretsmanager.CreateSecret", &json!({"Name": own, "SecretString": value}))?;
        let text = definition(name)?.text.replace(&format!("secret:{name}/db-"), &format!("secret:{own}-"));
        let environment = vec![(variable.0.to_owned(), variable.1.to_owned())];
        let setup = Setup { environment, ..self.setup() };
        Ok((own, Task::start(&self.with_real_secrets(text)?, None, setup)?))
    }

    /// A new version of a secret is current.
    pub(crate) fn put_secret(&self, id: &str, password: &str) -> Result<()> {
        let body = json!({"SecretId": id, "SecretString": json!({"password": password}).to_string()});
        self.ask("secretsmanager", "secretsmanager.PutSecretValue", &body).map(drop)
    }

    /// The six characters behind the names of secrets are the account's.
    pub(crate) fn with_real_secrets(&self, mut text: String) -> Result<String> {
        let secrets: BTreeSet<String> =
            text.split('"').filter(|word| word.starts_with("arn:aws:secretsmanager:")).map(str::to_owned).collect();
        for written in secrets {
            let name = written.split(':').nth(6).and_then(|name| name.strip_suffix("-AbCdEf"));
            let id = json!({"SecretId": name.with_context(|| written.clone())?});
            let known = self.ask("secretsmanager", "secretsmanager.DescribeSecret", &id)?;
            text = text.replace(&written, known["ARN"].as_str().context("a secret without an ARN")?);
        }
        Ok(text)
    }

    /// The messages of a container's stream, in the order of the events.
    pub(crate) fn lines(&self, task: &Task, name: &str) -> Result<Vec<String>> {
        let group = format!("/ecs/{}", task.identity().family);
        let stream = format!("{name}/{name}/{}", task.identity().task);
        let body = json!({"logGroupName": group, "logStreamName": stream, "startFromHead": true, "limit": 10_000});
        self.messages(&body)
    }

    /// The messages of a page of a stream.
    pub(crate) fn messages(&self, body: &Value) -> Result<Vec<String>> {
        // It is made with the first line.
        let Ok(page) = self.ask("logs", "Logs_20140328.GetLogEvents", body) else { return Ok(Vec::new()) };
        let events = page["events"].as_array().context("no events")?;
        Ok(events.iter().filter_map(|event| event["message"].as_str()).map(str::to_owned).collect())
    }

    /// The documents of a trace in X-Ray.
    pub(crate) fn segments(&self, trace: &str) -> Result<Vec<Value>> {
        let found = request(&self.moto, REGION, "xray", "/Traces", None, &json!({"TraceIds": [trace]}))?;
        let segments = found["Traces"][0]["Segments"].as_array().with_context(|| format!("no trace {trace}"))?;
        segments.iter().map(|it| Ok(serde_json::from_str(it["Document"].as_str().context("no document")?)?)).collect()
    }

    /// Waits until what stands in a container's stream is so.
    pub(crate) fn until(&self, what: &str, task: &Task, name: &str, so: impl Fn(&[String]) -> bool) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let lines = self.lines(task, name)?;
            if so(&lines) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "waited in vain for {what}: {lines:?}\n{}", task.told());
            thread::park_timeout(Duration::from_millis(100));
        }
    }

    /// Stops the task, if it has not stopped, and balances: exit codes, the log, the trace, the books.
    pub(crate) fn ends(&self, task: &mut Task, service: &str, check: impl Fn(&[String]) -> Result<()>) -> Result<()> {
        self.stops(task)?;
        let lines = self.lines(task, service)?;
        check(&lines).with_context(|| task.told())?;
        self.trace(service, &lines).with_context(|| task.told())?;
        self.balances(task, lines.len())
    }

    /// Stops the task, if it has not stopped; all of it ends with 0.
    pub(crate) fn stops(&self, task: &mut Task) -> Result<()> {
        let ended = task.stop()?;
        ensure!(ended.codes.len() == 2 && ended.codes.values().all(|code| *code == 0), "{ended:?}\n{}", task.told());
        Ok(())
    }

    /// The books that pillion closed with: all was delivered, and no less than so many records.
    pub(crate) fn balances(&self, task: &Task, least: usize) -> Result<()> {
        let last = last_line(task)?;
        let of = |name: &str| last[name].as_u64().with_context(|| format!("no {name} in {last}"));
        let (accepted, delivered, gone) = (of("accepted")?, of("delivered")?, of("lost")? + of("refused")?);
        ensure!(accepted == delivered && gone == 0, "{accepted} accepted, {delivered} delivered, {gone} lost: {last}");
        ensure!(delivered >= least as u64, "{delivered} delivered, {least} lines");
        Ok(())
    }

    /// The segment that the app sent at its start is in X-Ray.
    fn trace(&self, service: &str, lines: &[String]) -> Result<()> {
        let head = format!("{service} trace ");
        let id = lines.iter().find_map(|line| line.strip_prefix(&head)).context("the app sent no segment")?;
        let segments = self.segments(id)?;
        ensure!(segments[0]["name"] == service, "{segments:?}");
        Ok(())
    }
}

/// Has pillion look at once, by its local API. Without it a rotation is seen within minutes.
const REFRESH: &str = r#"use IO::Socket::INET; my $socket = IO::Socket::INET->new("127.0.0.1:2773") or die $!;
    print $socket "POST /v1/agent/refresh HTTP/1.1\r\nHost: localhost\r\nX-Aws-Parameters-Secrets-Token: $ARGV[0]\r\n",
        "Content-Length: 0\r\nConnection: close\r\n\r\n";
    exit(<$socket> =~ / 20[0-9] / ? 0 : 1);"#;

/// Has pillion look at its secrets. The app has no part in it: it may have no shell, and must not read the token.
pub(crate) fn refresh(task: &Task) -> Result<()> {
    let token = String::from_utf8(task.file("pillion", "/run/secrets/token")?)?;
    let (code, said) = task.exec_beside(&["/usr/bin/perl", "-e", REFRESH, token.trim()])?;
    ensure!(code == 0, "refresh: {said}\n{}", task.told());
    Ok(())
}

/// What pillion exposes for Prometheus.
const EXPOSED: &str = r#"use IO::Socket::INET; my $socket = IO::Socket::INET->new("127.0.0.1:9464") or die $!;
    print $socket "GET /metrics HTTP/1.0\r\n\r\n"; print while <$socket>;"#;

/// Waits until pillion exposes a series of this name, with this label, that has this value.
pub(crate) fn until_exposed(task: &Task, name: &str, label: &str, value: usize) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (_, exposed) = task.exec_beside(&["/usr/bin/perl", "-e", EXPOSED])?;
        let mut series = exposed.lines().map(str::trim_end).filter(|line| line.starts_with(&format!("{name}{{")));
        if series.any(|line| line.contains(label) && line.ends_with(&format!("}} {value}"))) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "no {name} of {value} with {label}: {exposed}\n{}", task.told());
        thread::park_timeout(Duration::from_millis(100));
    }
}

/// The last line that pillion wrote: the books, and what there is to know of the end.
pub(crate) fn last_line(task: &Task) -> Result<Value> {
    let own = task.logs("pillion")?;
    let mut lines = own.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.find(|line| line["message"] == "stopped").with_context(|| format!("no last line in: {own}"))
}

/// Asks a service in the task.
pub(crate) fn get(address: std::net::IpAddr, port: u16, path: &str) -> Result<String> {
    call_service(address, port, "GET", path, "Host: service")
}

/// The same, with something to do.
pub(crate) fn post(address: std::net::IpAddr, port: u16, path: &str) -> Result<String> {
    call_service(address, port, "POST", path, "Content-Length: 0")
}

/// One request with one header.
pub(crate) fn call_service(
    address: std::net::IpAddr,
    port: u16,
    method: &str,
    path: &str,
    header: &str,
) -> Result<String> {
    let mut stream = TcpStream::connect((address, port)).with_context(|| format!("{address}:{port}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{method} {path} HTTP/1.0\r\n{header}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// What `pillion ARGUMENTS` prints for a text on its standard input.
pub(crate) fn pillion(arguments: &[&str], input: &str) -> Result<String> {
    let mut child =
        Command::new(binary()?).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).env_clear().spawn()?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "pillion {arguments:?} ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}
