//! Runs a task definition on this machine's Docker engine as ECS would run it.
//!
//! What is as in ECS: order of start and stop (`dependsOn`, also the one that FireLens adds by itself), `essential`, `stopTimeout`,
//! `restartPolicy`, health checks (the engine runs them), one network namespace for all containers in `awsvpc`, links in `bridge`, this
//! machine's own network in `host`, volumes and mount points, environment, `secrets`, `user`, `readonlyRootFilesystem`, memory, `pidMode`; the file that ECS generates
//! for a FireLens router, its socket, and Docker's own `fluentd` driver in front of it; task metadata version 4 with the engine's
//! statistics, and credentials, at 169.254.170.2. A definition that ECS would refuse is refused (`pillion lint` knows how).
//!
//! What is not: images come from the engine, by a table from the names in the definition; there is no limit of CPU for the task; with
//! `awslogs` lines are written to the stand-in when a container has ended; of tasks in network mode `host` one runs at a time, because
//! 169.254.170.2 is the whole machine's there; services, load balancers and IAM are elsewhere.
//!
//! Promises: what it made is gone when it ends, however it ends; it says why a task stopped, in the words of ECS.
//! Never: asks AWS. Something on this machine stands in for it, for example moto.

mod awslogs;
mod container;
pub mod endpoints;
pub mod engine;
pub mod order;
pub mod secrets;
mod supervise;

use std::{
    collections::BTreeMap,
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use pillion::{
    problem::Severity,
    taskdef::{self, find::Place, firelens, lint, tree::Document, view::Task as Definition},
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::leaks;
use endpoints::{Identity, Member};
use engine::Engine;
use order::{Order, State};
pub use supervise::Ended;

/// Where containers ask for credentials and metadata.
const ENDPOINTS: &str = "169.254.170.2";
/// Seconds that a container has to stop if it does not say.
const STOP_SECONDS: u64 = 30;

/// What a definition does not say.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The engine.
    pub engine: Engine,
    /// What stands in for AWS, as containers of the task reach it by `GATEWAY`, for example `http://127.0.0.1:5000`; the address is
    /// relayed, for it may listen on the loopback address only.
    pub aws: Option<String>,
    /// Beginnings of image names, and the local image that each stands for.
    pub images: Vec<(String, String)>,
    /// An image that has `sleep`: it holds the network of the task.
    pub pause_image: String,
    /// Variables that every container gets besides.
    pub environment: Vec<(String, String)>,
}

/// A task.
pub struct Task {
    setup: Setup,
    identity: Identity,
    document: Document,
    place: Place,
    order: Order,
    containers: Vec<Running>,
    states: BTreeMap<String, State>,
    reason: Option<String>,
    group: Option<awslogs::Writer>,
    // What must go away at the end.
    pause: Option<String>,
    network: String,
    volumes: Vec<String>,
    rule: Option<Vec<String>>,
    folder: TempDir,
}

/// A container of the task.
struct Running {
    name: String,
    id: String,
    essential: bool,
    stop_seconds: u64,
    /// It is started again if it ran so long, unless it ended with one of these codes.
    restart: Option<(Duration, Vec<i64>)>,
    started: Option<Instant>,
    restarts: usize,
}

impl Task {
    /// Makes everything, and starts what waits for nobody. `which` is the resource of a template with several.
    pub fn start(definition: &str, which: Option<&str>, setup: Setup) -> Result<Self> {
        refuse(definition)?;
        let (document, places) =
            taskdef::read(definition.as_bytes()).map_err(|problem| anyhow::anyhow!("{problem}"))?;
        let wanted = |place: &&Place| which.is_none_or(|which| place.title.trim_end_matches('.') == which);
        let place = places.iter().find(wanted).context("no such task definition in the document")?.clone();
        let task = place.task(&document.root).context("no task definition")?;
        let identity = identity(task);
        let (network, gateway) = setup.engine.network(&format!("ecs-{}", &identity.task[..12]))?;
        let order = Order::of(task);
        let folder = tempfile::Builder::new().prefix("ecs-local-").tempdir()?;
        let mut made = Self {
            setup,
            identity,
            document,
            place,
            order,
            containers: Vec::new(),
            states: BTreeMap::new(),
            reason: None,
            group: None,
            pause: None,
            network,
            volumes: Vec::new(),
            rule: None,
            folder,
        };
        made.make(&gateway)?;
        made.look()?;
        Ok(made)
    }

    /// Networks, volumes, the router's file, the endpoints, and the containers, none of which runs yet.
    fn make(&mut self, gateway: &str) -> Result<()> {
        let document = self.document.clone();
        let task = self.place.task(&document.root).context("no task definition")?;
        let stand_in = match &self.setup.aws {
            Some(url) => Some(relay(url, gateway)?),
            None => None,
        };
        self.group = self.setup.aws.as_ref().map(|aws| awslogs::Writer::new(aws, &self.identity));
        let shares = self.shares();
        if shares || task.0.text_of("pidMode").as_deref() == Some("task") {
            let pause = json!({
                "Image": self.setup.pause_image, "Entrypoint": ["sleep", "infinity"], "Cmd": [], "StopSignal": "SIGKILL",
                "HostConfig": {"NetworkMode": if self.is_on_host() { "host" } else { &self.network }},
            });
            let id = self.setup.engine.create(&format!("ecs-pause-{}", &self.identity.task[..12]), &pause)?;
            self.pause = Some(id.clone());
            self.setup.engine.start(&id)?;
        }
        self.firelens(task)?;
        let mut environment = self.environment(stand_in.as_deref());
        environment.extend(self.setup.environment.iter().cloned());
        let place = container::Place {
            setup: &self.setup,
            identity: &self.identity,
            pause: self.pause.as_deref(),
            network: &self.network,
            shares,
            folder: self.folder.path(),
            environment,
        };
        let mut members = Vec::new();
        for container in task.containers() {
            let name = container.name().context("a container without a name")?;
            let spec = place.specification(task, container)?;
            let id = self.setup.engine.create(&place.docker_name(&name), &spec)?;
            self.states.insert(name.clone(), State::Pending);
            members.push(Member { name: name.clone(), image: container.image().unwrap_or_default(), id: id.clone() });
            self.containers.push(Running::of(container, name, id));
        }
        self.volumes =
            task.0.items_of("volumes").filter_map(|it| it.text_of("name")).map(|it| place.volume(&it)).collect();
        let engine = self.setup.engine.clone();
        let address = endpoints::serve(gateway, engine, self.identity.clone(), members)?;
        let who = if self.is_on_host() { Who::Machine } else { Who::Network(&self.network) };
        self.rule = Some(redirect(who, &address.to_string())?);
        Ok(())
    }

    /// The router's file and the folder of its socket, as ECS mounts them.
    fn firelens(&self, task: Definition<'_>) -> Result<()> {
        let identity = firelens::Identity {
            cluster: self.identity.cluster.clone(),
            task_arn: self.identity.arn(),
            definition: format!("{}:1", self.identity.family),
        };
        let Some(text) = firelens::generated(task, &identity) else { return Ok(()) };
        let (file, sockets) =
            (container::firelens_file(self.folder.path()), container::socket_folder(self.folder.path()));
        fs::write(&file, text)?;
        fs::set_permissions(&file, PermissionsExt::from_mode(0o644))?;
        fs::create_dir(&sockets)?;
        // The agent gives it to the router's user; who runs this may not be able to.
        fs::set_permissions(&sockets, PermissionsExt::from_mode(0o777))?;
        // The engine must be able to pass through.
        fs::set_permissions(self.folder.path(), PermissionsExt::from_mode(0o755))?;
        Ok(())
    }

    /// What ECS puts into every container's environment, and where AWS is.
    fn environment(&self, stand_in: Option<&str>) -> Vec<(String, String)> {
        let mut all = vec![
            ("AWS_EXECUTION_ENV".to_owned(), format!("AWS_ECS_{}", self.identity.launch_type)),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI".to_owned(), format!("/v2/credentials/{}", self.identity.task)),
            ("AWS_REGION".to_owned(), self.identity.region.clone()),
            ("AWS_DEFAULT_REGION".to_owned(), self.identity.region.clone()),
        ];
        all.extend(stand_in.map(|url| ("AWS_ENDPOINT_URL".to_owned(), url.to_owned())));
        all
    }

    /// Who the task is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The FireLens socket as this machine sees it.
    pub fn socket(&self) -> PathBuf {
        container::socket_folder(self.folder.path()).join("fluent.sock")
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        for ours in self.containers.iter().filter(|it| it.name.starts_with("pillion")) {
            leaks::keep_log(self.setup.engine.logs(&ours.id).map(String::into_bytes).map_err(io::Error::other));
        }
        // A failure here must not hide the one that ended it all.
        let mut ids: Vec<&String> = self.containers.iter().map(|it| &it.id).collect();
        // The router last: the engine cannot end a container whose log goes nowhere.
        let router = self
            .place
            .task(&self.document.root)
            .and_then(|task| task.containers().into_iter().find(|it| it.is_router())?.name());
        ids.sort_by_key(|id| self.containers.iter().any(|it| it.id == **id && Some(&it.name) == router.as_ref()));
        for id in ids.into_iter().chain(&self.pause) {
            drop(self.setup.engine.remove(id));
        }
        for volume in &self.volumes {
            drop(self.setup.engine.bytes("DELETE", &format!("/volumes/{volume}?force=true"), None));
        }
        drop(self.setup.engine.bytes("DELETE", &format!("/networks/{}", self.network), None));
        if let Some(rule) = &self.rule {
            drop(iptables("-D", rule));
        }
    }
}

impl Running {
    fn of(container: taskdef::view::Container<'_>, name: String, id: String) -> Self {
        let policy = container.0.get("restartPolicy").filter(|policy| policy.truth_of("enabled") == Some(true));
        let restart = policy.map(|policy| {
            let seconds = policy.number_of("restartAttemptPeriod").unwrap_or(300);
            let ignored = policy.items_of("ignoredExitCodes").filter_map(|code| code.number()).collect();
            (Duration::from_secs(seconds.unsigned_abs()), ignored)
        });
        let stop_seconds = container.0.number_of("stopTimeout").map_or(STOP_SECONDS, i64::unsigned_abs);
        Self { name, id, essential: container.is_essential(), stop_seconds, restart, started: None, restarts: 0 }
    }
}

/// Refuses what ECS would refuse.
fn refuse(definition: &str) -> Result<()> {
    let findings = lint::lint(definition.as_bytes()).map_err(|problem| anyhow::anyhow!("{problem}"))?;
    let errors: Vec<String> =
        findings.iter().filter(|it| it.rule.severity == Severity::Error).map(|it| format!("\n  {it}")).collect();
    ensure!(errors.is_empty(), "ClientException: ECS would refuse this task definition:{}", errors.concat());
    Ok(())
}

fn identity(task: Definition<'_>) -> Identity {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    // Not a secret, and unlike all others on this machine.
    let unlike =
        format!("{}-{}-{:?}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed), std::time::SystemTime::now());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, unlike.as_bytes());
    let id: String = digest.as_ref().iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    let account = taskdef::iam::Account::of(task);
    let or = |text: String, default: &str| if text.starts_with(char::is_uppercase) { default.to_owned() } else { text };
    let number = |key: &str, parse: fn(&str) -> Option<i64>| {
        task.0.get(key).and_then(|it| parse(&it.text()?).or_else(|| it.number()))
    };
    let cpu = number("cpu", taskdef::fargate::cpu_units).map_or(Value::Null, |units| json!(units as f64 / 1_024.0));
    let memory = number("memory", taskdef::fargate::mebibytes).map_or(Value::Null, |size| json!(size));
    Identity {
        cluster: "local".to_owned(),
        region: or(account.region, "us-east-1"),
        account: or(account.id, "123456789012"),
        task: id,
        family: task.0.text_of("family").unwrap_or_else(|| "family".to_owned()),
        launch_type: if task.is_fargate() { "FARGATE" } else { "EC2" },
        limits: json!({"CPU": cpu, "Memory": memory}),
    }
}

/// Lets containers of a network reach what listens on this machine's loopback address. Gives the URL for them.
fn relay(url: &str, gateway: &str) -> Result<String> {
    let target =
        url.strip_prefix("http://").context("what stands in for AWS is reached by http://")?.trim_end_matches('/');
    let address = crate::relay::start(target.parse().with_context(|| target.to_owned())?, gateway, || {})?;
    Ok(format!("http://{address}"))
}

/// Who is led to our endpoints.
enum Who<'a> {
    /// Containers of a network.
    Network(&'a str),
    /// This machine, where containers of the network mode `host` are.
    Machine,
}

/// 169.254.170.2 leads to our endpoints: as on an instance of ECS.
fn redirect(who: Who<'_>, to: &str) -> Result<Vec<String>> {
    let mut rule: Vec<String> = match who {
        Who::Network(network) => {
            let interface = format!("br-{}", &network[..12]);
            vec!["PREROUTING".to_owned(), "-i".to_owned(), interface]
        }
        Who::Machine => {
            let rules = iptables("-S", &["OUTPUT".to_owned()])?;
            let other = rules.lines().find(|rule| rule.contains(ENDPOINTS));
            ensure!(
                other.is_none(),
                "one task of network mode host runs at a time; if none does, `iptables -t nat` has this rule of one that was killed: {}",
                other.unwrap_or_default()
            );
            vec!["OUTPUT".to_owned()]
        }
    };
    rule.extend(
        ["-d", ENDPOINTS, "-p", "tcp", "--dport", "80", "-j", "DNAT", "--to-destination", to].map(str::to_owned),
    );
    iptables("-I", &rule)?;
    Ok(rule)
}

/// Gives what it says.
fn iptables(what: &str, rule: &[String]) -> Result<String> {
    let output = Command::new("iptables").args(["-w", "-t", "nat", what]).args(rule).output().context("iptables")?;
    ensure!(output.status.success(), "iptables {what} {}: {}", rule.join(" "), String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Reads a definition, and leaves out what is not JSON's: for the program.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
