//! A container definition as the engine's API wants it.
//!
//! Promises: what is set is passed on as the ECS agent passes it on; what the engine cannot do is an error, not left out.
//! Never: makes anything.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use pillion::taskdef::view::{Container, Scope, Task};
use serde_json::{Map, Value, json};

use super::{Setup, endpoints::Identity, secrets};

/// Where the containers of a task come to stand.
pub(super) struct Place<'a> {
    pub(super) setup: &'a Setup,
    pub(super) identity: &'a Identity,
    /// The container that holds the namespaces which all share.
    pub(super) pause: Option<&'a str>,
    pub(super) network: &'a str,
    /// True if all containers have one network namespace.
    pub(super) shares: bool,
    pub(super) folder: &'a Path,
    /// Variables of every container.
    pub(super) environment: Vec<(String, String)>,
}

/// The file that is generated for a router.
pub(super) fn firelens_file(folder: &Path) -> PathBuf {
    folder.join("fluent.conf")
}

/// The folder of its socket.
pub(super) fn socket_folder(folder: &Path) -> PathBuf {
    folder.join("socket")
}

impl Place<'_> {
    /// What the engine calls a container.
    pub(super) fn docker_name(&self, name: &str) -> String {
        format!("ecs-{}-1-{name}-{}", self.identity.family, &self.identity.task[..12])
    }

    /// What the engine calls a volume.
    pub(super) fn volume(&self, name: &str) -> String {
        format!("ecs-{}-{name}", &self.identity.task[..12])
    }

    /// The body of the request that makes it.
    pub(super) fn specification(&self, task: Task<'_>, container: Container<'_>) -> Result<Value> {
        let name = container.name().context("a container without a name")?;
        let words = |key: &str| -> Vec<String> { container.0.items_of(key).filter_map(Scope::text).collect() };
        let mut spec = json!({
            "Image": self.image(container)?,
            "Env": self.variables(task, container)?,
            "Labels": self.labels(container, &name),
            "HostConfig": self.host(task, container, &name)?,
        });
        for (key, field) in [("Cmd", "command"), ("Entrypoint", "entryPoint")] {
            if container.0.get(field).is_some() {
                spec[key] = json!(words(field));
            }
        }
        for (key, field) in [("User", "user"), ("WorkingDir", "workingDirectory")] {
            if let Some(text) = container.0.text_of(field) {
                spec[key] = json!(text);
            }
        }
        if let Some(check) = container.0.get("healthCheck") {
            let nanoseconds = |key: &str, default: i64| check.number_of(key).unwrap_or(default) * 1_000_000_000;
            let command: Vec<String> = check.items_of("command").filter_map(Scope::text).collect();
            spec["Healthcheck"] = json!({
                "Test": command,
                "Interval": nanoseconds("interval", 30),
                "Timeout": nanoseconds("timeout", 5),
                "Retries": check.number_of("retries").unwrap_or(3),
                "StartPeriod": nanoseconds("startPeriod", 0),
            });
        } else {
            // The image's own does not count.
            spec["Healthcheck"] = json!({"Test": ["NONE"]});
        }
        if !self.shares {
            let links: Vec<String> = words("links")
                .iter()
                .map(|link| {
                    let (target, alias) = link.split_once(':').unwrap_or((link, link));
                    format!("{}:{alias}", self.docker_name(target))
                })
                .collect();
            spec["NetworkingConfig"] = json!({"EndpointsConfig": {self.network: {"Links": links}}});
        }
        Ok(spec)
    }

    fn image(&self, container: Container<'_>) -> Result<String> {
        let image = container.image().context("a container without an image")?;
        let known = self.setup.images.iter().find(|(head, _)| image.starts_with(head.as_str()));
        Ok(known.map_or(image, |(_, local)| local.clone()))
    }

    fn variables(&self, task: Task<'_>, container: Container<'_>) -> Result<Vec<String>> {
        let mut all: Vec<(String, String)> = self.environment.clone();
        let name = container.name().unwrap_or_default();
        all.push(("ECS_CONTAINER_METADATA_URI_V4".to_owned(), format!("http://169.254.170.2/v4/{name}")));
        // In host mode the file of ECS makes the router listen on no port.
        let is_on_host = task.network_mode().as_deref() == Some("host");
        if container.log_driver().as_deref() == Some("awsfirelens") && self.shares && !is_on_host {
            all.push(("FLUENT_HOST".to_owned(), "127.0.0.1".to_owned()));
            all.push(("FLUENT_PORT".to_owned(), "24224".to_owned()));
        }
        for (variable, value) in container.environment() {
            all.push((variable, value.text().context("a variable that a template computes")?));
        }
        let aws = || self.setup.aws.as_deref().context("there are secrets, and nothing stands in for AWS (--aws)");
        for secret in container.0.items_of("secrets") {
            let (Some(variable), Some(from)) = (secret.text_of("name"), secret.text_of("valueFrom")) else { continue };
            all.push((variable, secrets::value(aws()?, &self.identity.region, &from)?));
        }
        if container.is_router() {
            for (variable, from) in pillion::taskdef::firelens::secret_variables(task) {
                all.push((variable, secrets::value(aws()?, &self.identity.region, &from)?));
            }
        }
        Ok(all.into_iter().map(|(variable, value)| format!("{variable}={value}")).collect())
    }

    fn labels(&self, container: Container<'_>, name: &str) -> Map<String, Value> {
        let own = container.0.get("dockerLabels").into_iter().flat_map(Scope::members);
        let mut labels: Map<String, Value> =
            own.filter_map(|(label, value)| Some((label.to_owned(), json!(value.text()?)))).collect();
        for (label, value) in [
            ("cluster", self.identity.cluster.clone()),
            ("container-name", name.to_owned()),
            ("task-arn", self.identity.arn()),
            ("task-definition-family", self.identity.family.clone()),
            ("task-definition-version", "1".to_owned()),
        ] {
            labels.insert(format!("com.amazonaws.ecs.{label}"), json!(value));
        }
        labels
    }

    fn host(&self, task: Task<'_>, container: Container<'_>, name: &str) -> Result<Value> {
        let mebibytes = |key: &str| container.0.number_of(key).unwrap_or(0) << 20;
        let linux = container.0.get("linuxParameters");
        let capabilities = |key: &str| -> Vec<String> {
            let of = linux.and_then(|linux| linux.get("capabilities"));
            of.into_iter().flat_map(|of| of.items_of(key)).filter_map(Scope::text).collect()
        };
        let limit = |it: Scope<'_>| json!({"Name": it.text_of("name"), "Soft": it.number_of("softLimit"), "Hard": it.number_of("hardLimit")});
        let mut host = json!({
            "NetworkMode": if self.shares { format!("container:{}", self.pause.unwrap_or_default()) } else { self.network.to_owned() },
            "Binds": self.binds(task, container)?,
            "ReadonlyRootfs": container.0.truth_of("readonlyRootFilesystem").unwrap_or(false),
            "Memory": mebibytes("memory"),
            "MemoryReservation": mebibytes("memoryReservation"),
            // The agent gives two shares to who asks for nothing.
            "CpuShares": container.0.number_of("cpu").unwrap_or(0).max(2),
            "CapAdd": capabilities("add"),
            "CapDrop": capabilities("drop"),
            "Init": linux.and_then(|linux| linux.truth_of("initProcessEnabled")).unwrap_or(false),
            "Privileged": container.0.truth_of("privileged").unwrap_or(false),
            "Ulimits": container.0.items_of("ulimits").map(limit).collect::<Vec<_>>(),
            "LogConfig": self.log(container, name),
        });
        match task.0.text_of("pidMode").as_deref() {
            Some("task") => host["PidMode"] = json!(format!("container:{}", self.pause.unwrap_or_default())),
            Some("host") => host["PidMode"] = json!("host"),
            _ => {}
        }
        Ok(host)
    }

    fn binds(&self, task: Task<'_>, container: Container<'_>) -> Result<Vec<String>> {
        let mut binds = Vec::new();
        if container.is_router() {
            let (file, sockets) = (firelens_file(self.folder), socket_folder(self.folder));
            binds.push(format!("{}:/fluent-bit/etc/fluent-bit.conf", file.display()));
            binds.push(format!("{}:/var/run/", sockets.display()));
        }
        for mount in container.0.items_of("mountPoints") {
            let (Some(volume), Some(path)) = (mount.text_of("sourceVolume"), mount.text_of("containerPath")) else {
                continue;
            };
            let named = |it: &Scope<'_>| it.text_of("name").as_deref() == Some(&volume);
            let known =
                task.0.items_of("volumes").find(|it| named(it)).with_context(|| format!("no volume {volume}"))?;
            let source =
                known.get("host").and_then(|host| host.text_of("sourcePath")).unwrap_or_else(|| self.volume(&volume));
            let mode = if mount.truth_of("readOnly") == Some(true) { ":ro" } else { "" };
            binds.push(format!("{source}:{path}{mode}"));
        }
        Ok(binds)
    }

    fn log(&self, container: Container<'_>, name: &str) -> Value {
        if container.log_driver().as_deref() != Some("awsfirelens") {
            return json!({"Type": "json-file", "Config": {}});
        }
        let socket = socket_folder(self.folder).join("fluent.sock");
        let mut options = json!({
            "fluentd-address": format!("unix://{}", socket.display()),
            "tag": format!("{name}-firelens-{}", self.identity.task),
            "fluentd-async": "true",
            "fluentd-sub-second-precision": "true",
        });
        if let Some(limit) = container.log_option("log-driver-buffer-limit") {
            options["fluentd-buffer-limit"] = json!(limit);
        }
        json!({"Type": "fluentd", "Config": options})
    }
}
