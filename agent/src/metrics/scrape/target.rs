//! What is scraped: addresses that the settings name, and those that the labels of the task's own containers tell.
//!
//! | what | labels, the first that is there counts |
//! |---|---|
//! | port | `ECS_PROMETHEUS_EXPORTER_PORT`, `PROMETHEUS_EXPORTER_PORT`, `PROMETHEUS_PORT` |
//! | path | `ECS_PROMETHEUS_METRICS_PATH`, `ECS_PROMETHEUS_EXPORTER_METRICS_PATH`, `PROMETHEUS_METRICS_PATH`, else `/metrics` |
//! | job | `job`, `ECS_PROMETHEUS_JOB_NAME`, `PROMETHEUS_JOB`, else the container's name |
//!
//! The first of each are the CloudWatch agent's own for its discovery, so that a task which it scraped is scraped here too.
//!
//! Promises: a target is an address that can be asked by HTTP; the same address is one target, however many say it.
//! Never: asks anybody; takes an address at which credentials are offered.

use std::net::{IpAddr, Ipv4Addr};

use http::Uri;
use serde::Deserialize;

use crate::metrics::task::document::{Container, Task};

/// Where most expose their metrics.
const PATH: &str = "/metrics";
/// The word for what the containers' labels say.
const AUTO: &str = "auto";
const PORT_LABELS: [&str; 3] = ["ECS_PROMETHEUS_EXPORTER_PORT", "PROMETHEUS_EXPORTER_PORT", "PROMETHEUS_PORT"];
const PATH_LABELS: [&str; 3] =
    ["ECS_PROMETHEUS_METRICS_PATH", "ECS_PROMETHEUS_EXPORTER_METRICS_PATH", "PROMETHEUS_METRICS_PATH"];
const JOB_LABELS: [&str; 3] = ["job", "ECS_PROMETHEUS_JOB_NAME", "PROMETHEUS_JOB"];
/// Bytes of a path that a label may have.
const PATH_BYTES_MAX: usize = 1_024;

/// What the settings name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub enum Named {
    /// What the labels of the task's containers say.
    Auto,
    /// An address.
    Address(Address),
}

/// Where something is exposed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    uri: Uri,
}

/// What is scraped, and what its series are labelled with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where it is.
    pub address: Address,
    /// Labels that all its series get.
    pub labels: Vec<(String, String)>,
}

impl Address {
    /// Reads `host:port`, with a path or without, or a whole URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let hint = "write for example `127.0.0.1:9404/metrics`, or `auto` for what the containers' labels say";
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let uri: Uri = whole.parse().map_err(|_| format!("`{text}` is no address; {hint}"))?;
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        let Some(authority) = authority.filter(|authority| !authority.host().is_empty()) else {
            return Err(format!("`{text}` has no host; {hint}"));
        };
        if !matches!(scheme, "http" | "https") || authority.as_str().contains('@') {
            return Err(format!("`{text}` is no address of http or https; {hint}"));
        }
        if authority.port_u16().is_none() && !text.contains("://") {
            return Err(format!("`{text}` has no port; {hint}"));
        }
        if offers_credentials(authority.host()) {
            return Err(format!("`{text}` is an address at which AWS offers credentials; nothing there is scraped"));
        }
        let path = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let path = if path == "/" { PATH } else { path };
        let uri = Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(path).build();
        uri.map(|uri| Self { uri }).map_err(|_| format!("`{text}` is no address; {hint}"))
    }

    /// The whole.
    pub fn uri(&self) -> &Uri {
        &self.uri
    }

    /// Host and port, as the label `instance` has them.
    pub fn instance(&self) -> &str {
        self.uri.authority().map_or("", http::uri::Authority::as_str)
    }
}

/// The metadata service of instances and the endpoint of tasks' credentials are link-local.
fn offers_credentials(host: &str) -> bool {
    match host.trim_matches(['[', ']']).parse() {
        Ok(IpAddr::V4(address)) => address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.to_ipv4_mapped().is_some_and(|address| address.is_link_local())
                || address.segments()[0] & 0xffc0 == 0xfe80
                || address.segments()[..2] == [0xfd00, 0x0ec2]
        }
        Err(_) => false,
    }
}

impl TryFrom<String> for Named {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == AUTO { Ok(Self::Auto) } else { Address::parse(&text).map(Self::Address) }
    }
}

impl Target {
    /// A target of the settings.
    pub fn of(address: &Address, job: &str) -> Self {
        let labels = vec![("instance".to_owned(), address.instance().to_owned()), ("job".to_owned(), job.to_owned())];
        Self { address: address.clone(), labels }
    }
}

/// The targets that the labels of a task's containers tell, at most `most`, each address once. Those that are wrong are left out, and
/// told to `wrong` with the container's name.
pub fn discovered(task: &Task, most: usize, mut wrong: impl FnMut(&str, String)) -> Vec<Target> {
    let mut targets: Vec<Target> = Vec::new();
    for container in task.containers.iter().filter(|container| container.is_users() && container.is_running()) {
        let Some(port) = label(container, &PORT_LABELS) else { continue };
        match of_container(container, port) {
            Ok(target) if targets.iter().any(|known| known.address == target.address) => {}
            Ok(target) if targets.len() < most => targets.push(target),
            Ok(_) => wrong(&container.name, format!("there are more than {most} targets")),
            Err(why) => wrong(&container.name, why),
        }
    }
    targets
}

fn of_container(container: &Container, port: &str) -> Result<Target, String> {
    let port: u16 = port.trim().parse().ok().filter(|port| *port != 0).ok_or("the label for the port is no port")?;
    let path = label(container, &PATH_LABELS).unwrap_or(PATH);
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("the label for the path has more than {PATH_BYTES_MAX} bytes"));
    }
    let slash = if path.starts_with('/') { "" } else { "/" };
    let address = Address::parse(&format!("{}:{port}{slash}{path}", host(container)?))?;
    let job = label(container, &JOB_LABELS).unwrap_or(&container.name);
    let mut target = Target::of(&address, job);
    target.labels.push(("container_name".to_owned(), container.name.clone()));
    Ok(target)
}

/// Containers of a task share the loopback, unless each has an address of its own on a bridge.
fn host(container: &Container) -> Result<IpAddr, String> {
    let on_bridge = container.networks.iter().find(|network| !matches!(&*network.mode, "awsvpc" | "host" | ""));
    let Some(bridge) = on_bridge else { return Ok(Ipv4Addr::LOCALHOST.into()) };
    let mut addresses = bridge.ipv4_addresses.iter().filter_map(|address| address.parse::<Ipv4Addr>().ok());
    addresses.next().map(IpAddr::from).ok_or_else(|| format!("it has no address on its network (`{}`)", bridge.mode))
}

fn label<'a>(container: &'a Container, names: &[&str]) -> Option<&'a str> {
    names.iter().find_map(|name| container.labels.get(*name)).map(String::as_str).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_address_is_a_host_with_a_port_or_a_url() {
        for (text, expected) in [
            ("127.0.0.1:9404", "http://127.0.0.1:9404/metrics"),
            ("127.0.0.1:9404/", "http://127.0.0.1:9404/metrics"),
            ("127.0.0.1:9404/actuator/prometheus", "http://127.0.0.1:9404/actuator/prometheus"),
            ("app:80/m?name[]=x", "http://app:80/m?name[]=x"),
            ("[::1]:9404/m", "http://[::1]:9404/m"),
            ("http://app/m", "http://app/m"),
            ("https://app:8443", "https://app:8443/metrics"),
        ] {
            assert_eq!(
                Address::parse(text).map(|address| address.uri().to_string()).as_deref(),
                Ok(expected),
                "{text}"
            );
        }
        for text in [
            "",
            "9404",
            ":9404",
            "app",
            "app/metrics",
            "app:x/m",
            "app:99999",
            "ftp://app:1/m",
            "unix:///x",
            "user:pass@app:1/m",
            "app:1/ m",
            "a b:1",
            "169.254.169.254:80/latest",
            "http://169.254.170.2/v2",
            "[fe80::1]:80",
            "[fd00:ec2::254]:80",
            "[::ffff:169.254.170.2]:80",
            "AUTO",
        ] {
            assert!(Named::try_from(text.to_owned()).is_err(), "{text}");
        }
        assert_eq!(Named::try_from("auto".to_owned()), Ok(Named::Auto));
        let target = Target::of(&Address::parse("app:80").expect("an address"), "shop");
        assert_eq!(target.labels, [("instance".into(), "app:80".into()), ("job".into(), "shop".into())]);
    }

    fn found(containers: Value) -> (Vec<String>, usize) {
        let document = json!({"Containers": containers}).to_string();
        let mut wrong = 0;
        let task = Task::read(document.as_bytes()).expect("a document");
        let targets = discovered(&task, 2, |_, _| wrong += 1);
        let shown = |target: &Target| {
            let labels: Vec<_> = target.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("{} {}", target.address.uri(), labels.join(" "))
        };
        (targets.iter().map(shown).collect(), wrong)
    }

    fn container(name: &str, labels: Value, network: Value) -> Value {
        json!({"DockerId": name, "Name": name, "Type": "NORMAL", "KnownStatus": "RUNNING", "Labels": labels, "Networks": [network]})
    }

    #[test]
    fn labels_of_containers_tell_what_is_exposed() {
        let vpc = json!({"NetworkMode": "awsvpc", "IPv4Addresses": ["10.0.0.7"]});
        let bridge = json!({"NetworkMode": "bridge", "IPv4Addresses": ["172.17.0.4"]});
        for (labels, network, expected) in [
            (
                json!({"ECS_PROMETHEUS_EXPORTER_PORT": "9404", "ECS_PROMETHEUS_METRICS_PATH": "/m", "job": "shop"}),
                &vpc,
                "http://127.0.0.1:9404/m instance=127.0.0.1:9404 job=shop container_name=app",
            ),
            (
                json!({"PROMETHEUS_PORT": " 80 ", "PROMETHEUS_METRICS_PATH": "m"}),
                &json!({"NetworkMode": "host"}),
                "http://127.0.0.1:80/m instance=127.0.0.1:80 job=app container_name=app",
            ),
            (
                json!({"PROMETHEUS_EXPORTER_PORT": "9404", "PROMETHEUS_PORT": "1", "PROMETHEUS_JOB": "j", "job": ""}),
                &bridge,
                "http://172.17.0.4:9404/metrics instance=172.17.0.4:9404 job=app container_name=app",
            ),
        ] {
            let both = json!([
                container("app", labels.clone(), network.clone()),
                container("side", json!({}), network.clone())
            ]);
            assert_eq!(found(both), (vec![expected.to_owned()], 0), "{labels}");
        }
        for (labels, network) in [
            (json!({"PROMETHEUS_PORT": "x"}), &vpc),
            (json!({"PROMETHEUS_PORT": "0"}), &vpc),
            (json!({"PROMETHEUS_PORT": "65536"}), &vpc),
            (json!({"PROMETHEUS_PORT": "80", "PROMETHEUS_METRICS_PATH": "/a b"}), &vpc),
            (json!({"PROMETHEUS_PORT": "80", "PROMETHEUS_METRICS_PATH": "/a".repeat(600)}), &vpc),
            (json!({"PROMETHEUS_PORT": "80"}), &json!({"NetworkMode": "none", "IPv4Addresses": []})),
            (json!({"PROMETHEUS_PORT": "80"}), &json!({"NetworkMode": "bridge", "IPv4Addresses": ["169.254.170.2"]})),
        ] {
            assert_eq!(found(json!([container("app", labels.clone(), network.clone())])), (vec![], 1), "{labels}");
        }
        // The same address twice, one that has ended, and one too many.
        let port = |port: u16| json!({"PROMETHEUS_PORT": port.to_string()});
        let mut ended = container("old", port(4), vpc.clone());
        ended["KnownStatus"] = json!("STOPPED");
        let all: Vec<_> =
            [("a", 1), ("b", 1), ("c", 2), ("d", 3)].map(|(name, at)| container(name, port(at), vpc.clone())).into();
        let (targets, wrong) = found(json!([[ended].as_slice(), &all].concat()));
        assert_eq!((targets.len(), wrong), (2, 1));
    }
}
