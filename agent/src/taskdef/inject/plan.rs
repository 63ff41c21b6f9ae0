//! What is to be done to a task definition, decided before anything is touched.
//!
//! Promises: no two programs of one task want the same port: where a sidecar stays, pillion does not listen in its place.
//! Never: changes the definition.

use super::{
    Container, Logs, NAME, Options, SecretsAs, Task, carried,
    logs::{own, translated},
    secrets::{Moved, moved},
    sidecars::{self, Kind, Sidecar},
};
use crate::{config::Setting, problem::Problem, taskdef::tree::Node};

/// What is to be done.
pub(super) struct Plan {
    /// The sidecars, with those that stay.
    pub(super) sidecars: Vec<Sidecar>,
    /// True if FireLens sends the logs to pillion.
    pub(super) routes: bool,
    /// The new log configuration of containers.
    pub(super) logs: Vec<(String, Node)>,
    /// Containers that are neither pillion nor a sidecar that it knows.
    pub(super) apps: Vec<String>,
    /// Where clients find pillion.
    pub(super) host: &'static str,
    /// Where it listens.
    pub(super) listen: &'static str,
    /// What comes in beside logs.
    pub(super) inputs: Vec<Input>,
    /// What sidecars that go were told to do.
    pub(super) carried: Vec<Setting>,
    /// Secrets that become files.
    pub(super) secrets: Moved,
    /// The file of the token of AWS's agent for secrets, and the mount that it is on.
    pub(super) token: Option<(String, Node)>,
    /// Where pillion's own log goes.
    pub(super) own_log: Option<Node>,
    /// What to look at.
    pub(super) care: Vec<Problem>,
}

/// What comes in beside logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Segments, as to the X-Ray daemon.
    Xray,
    /// OTLP.
    Otlp,
    /// StatsD and DogStatsD.
    Statsd,
    /// Documents of the embedded metric format.
    Emf,
}

impl Plan {
    pub(super) fn of(task: Task<'_>, options: &Options, title: &str) -> Self {
        let sidecars = sidecars::of(task, options);
        let mut care: Vec<Problem> = sidecars.iter().filter_map(|sidecar| stays(sidecar, title)).collect();
        let all = task.containers();
        let is_sidecar = |name: &String| sidecars.iter().any(|sidecar| sidecar.name == *name);
        let apps: Vec<String> =
            all.iter().filter_map(|container| container.name()).filter(|name| !is_sidecar(name)).collect();
        let app_containers: Vec<Container<'_>> =
            all.iter().copied().filter(|container| container.name().is_some_and(|name| !is_sidecar(&name))).collect();
        if all.iter().any(|container| container.name().is_none()) {
            let what = "has a container whose name is computed: it is left alone";
            care.push(Problem::warning(title.trim_end_matches('.'), what, "write the name out"));
        }
        let staying = |kind: Kind| sidecars.iter().any(|sidecar| sidecar.kind == kind && sidecar.stays.is_some());
        let may_route = options.logs == Logs::Route && !staying(Kind::Router);
        let (logs, routes) =
            if may_route { routed(&app_containers, title, options, &mut care) } else { (Vec::new(), false) };
        let secrets = match options.secrets {
            SecretsAs::Variables => Moved::default(),
            SecretsAs::Files | SecretsAs::Both => moved(task, &apps),
        };
        care.extend(
            secrets
                .care
                .iter()
                .map(|problem| Problem { place: format!("{title}{}", problem.place), ..problem.clone() }),
        );
        let mut carried = carried::together(sidecars.iter().map(|sidecar| &*sidecar.settings));
        if staying(Kind::XrayDaemon) {
            carried = carried::without(carried, Input::Xray);
        }
        let (host, listen) = if task.shares_loopback() { ("127.0.0.1", "127.0.0.1") } else { (NAME, "0.0.0.0") };
        Self {
            routes,
            logs,
            host,
            listen,
            inputs: inputs(&staying, &carried),
            carried,
            token: token(task, &sidecars),
            // The old router's own way of logging serves as well.
            own_log: own(&all),
            apps,
            sidecars,
            secrets,
            care,
        }
    }

    /// Those that are taken out.
    pub(super) fn replaced(&self) -> impl Iterator<Item = &Sidecar> {
        self.sidecars.iter().filter(|sidecar| sidecar.stays.is_none())
    }

    /// True if pillion writes secrets as files.
    pub(super) fn has_files(&self) -> bool {
        !self.secrets.settings.is_empty()
    }
}

fn stays(sidecar: &Sidecar, title: &str) -> Option<Problem> {
    let why = sidecar.stays.as_ref()?;
    let name = &sidecar.name;
    let what = format!("stays, a {}: {why}", sidecar.kind.label());
    let hint = if why == "as asked" { String::new() } else { format!("`--replace {name}` takes it out all the same") };
    Some(Problem::warning(format!("{title}{name}"), what, hint))
}

/// The new log configurations, and whether FireLens has anybody to serve: ECS refuses a router that nobody logs through.
fn routed(
    apps: &[Container<'_>],
    title: &str,
    options: &Options,
    care: &mut Vec<Problem>,
) -> (Vec<(String, Node)>, bool) {
    let (mut logs, mut routes) = (Vec::new(), false);
    for app in apps {
        let name = app.name().unwrap_or_default();
        match app.log_driver().as_deref() {
            Some("awsfirelens") => routes = true,
            Some("awslogs") => {
                let (configuration, more) = translated(*app, &format!("{title}{name}."), options);
                care.extend(more);
                if let Some(configuration) = configuration {
                    logs.push((name, configuration));
                    routes = true;
                }
            }
            Some(driver) => {
                let what = format!("logs by `{driver}`, and stays so");
                let hint = "with `awslogs` or `awsfirelens` its log would go through pillion";
                care.push(Problem::warning(format!("{title}{name}.logConfiguration"), what, hint));
            }
            None => {
                let hint = "name a log group with `awslogs`, and inject again";
                care.push(Problem::warning(
                    format!("{title}{name}"),
                    "has no log configuration: what it prints is lost on Fargate",
                    hint,
                ));
            }
        }
    }
    (logs, routes)
}

/// What may come in: nothing that a sidecar which stays listens for.
fn inputs(staying: &impl Fn(Kind) -> bool, carried: &[Setting]) -> Vec<Input> {
    let mut inputs = Vec::new();
    let collector = staying(Kind::Collector);
    let agent = staying(Kind::CloudWatchAgent);
    if !staying(Kind::XrayDaemon) && !collector && !agent {
        inputs.push(Input::Xray);
    }
    if !collector && !agent {
        inputs.push(Input::Otlp);
        inputs.push(Input::Statsd);
    }
    // What sidecars that go listened for is listened for, whoever stays.
    for input in [Input::Xray, Input::Otlp, Input::Statsd, Input::Emf] {
        if carried::listens(carried, input) && !inputs.contains(&input) {
            inputs.push(input);
        }
    }
    inputs
}

/// The token file of the secrets agent that goes, and the mount point that holds it.
fn token(task: Task<'_>, sidecars: &[Sidecar]) -> Option<(String, Node)> {
    let agent = sidecars.iter().find(|sidecar| sidecar.kind == Kind::SecretsAgent && sidecar.stays.is_none())?;
    let container = task.container(&agent.name)?;
    let path = super::secrets::token_file(container)?;
    let mount = container.0.items_of("mountPoints").find(|mount| {
        mount
            .text_of("containerPath")
            .is_some_and(|folder| path.starts_with(&format!("{}/", folder.trim_end_matches('/'))))
    })?;
    Some((path, mount.node.clone()))
}
