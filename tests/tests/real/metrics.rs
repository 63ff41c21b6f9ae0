//! StatsD's own clients send, moto keeps what CloudWatch was told, boto3 reads it back; and the official Prometheus scrapes the agent.
//!
//! Promises: sum, count, least and greatest are exactly what was sent, at the stop too; what Prometheus has is what the page says, and both
//! parsers of its Python library take the page.
//! Never: waits for a minute to pass.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tests::{
    agent::{self, Agent, Setup, free_address},
    wait::until,
};

use crate::{
    SOON, environment,
    program::{Program, lines},
};

const ROUNDS: u32 = 100;

/// A running Prometheus that scrapes one address each second.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    fn scraping(target: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs: [{{job_name: task, static_configs: [{{targets: ['{target}']}}]}}]\n"
        );
        fs::write(&config, text).unwrap();
        let address = free_address().unwrap();
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, address, _folder: folder }
    }

    /// What it says of an expression that gives one value.
    fn value(&self, expression: &str) -> Option<f64> {
        let (status, body) = agent::get(self.address, &format!("/api/v1/query?query={expression}")).ok()?;
        let answer: Value = serde_json::from_str(&body).ok()?;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_real_clients_send_is_read_back_exactly_and_prometheus_takes_the_page() {
    let (moto, statsd) = (environment("MOTO_URL"), free_address().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("dsd.socket").display().to_string();
    let namespace = format!("Shop-{}", statsd.port());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         metrics:\n  inputs: [{{statsd: {{udp: '{statsd}', unix: '{socket}', publish: {{namespace: '{namespace}', dimensions: [shop]}}}}}}]\n  \
         outputs: [{{to: {{cloudwatch: {{endpoint: '{moto}'}}}}}}]\n"
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let (port, rounds) = (statsd.port().to_string(), ROUNDS.to_string());
    lines("send_statsd.py", &["--port", &port, "--rounds", &rounds]);
    lines("send_statsd.py", &["--port", &port, "--rounds", &rounds, "--socket", &socket]);
    lines("statsd.cjs", &["--port", &port, "--rounds", &rounds]);
    let samples = f64::from(ROUNDS) * (2.0 * 11.0 + 3.0);
    agent.wait_for_metrics(SOON, "all samples", |metrics| metrics.sum("pillion_metrics_samples_total", &[]) == samples);
    let metrics = agent.metrics();
    assert_eq!(metrics.sum("pillion_metrics_rejected_total", &[]), 0.0);

    let url = format!("http://{}/metrics", agent.admin());
    let pages = ["text", "openmetrics"].map(|format| lines("parse_metrics.py", &["--url", &url, "--format", format]));
    for page in &pages {
        let south: f64 = page
            .iter()
            .filter(|sample| sample["name"] == "orders_total" && sample["labels"]["shop"] == "south")
            .filter_map(|sample| sample["value"].as_f64())
            .sum();
        assert_eq!(south, 400.0);
    }
    let names = |page: &[Value]| page.iter().map(|sample| sample["name"].to_string()).collect::<Vec<_>>();
    assert_eq!(names(&pages[0]), names(&pages[1]), "names are the same in both");

    let prometheus = Prometheus::scraping(&agent.admin().to_string());
    until(SOON, || "orders in Prometheus".to_owned(), || prometheus.value("sum(orders_total)") == Some(600.0));
    assert_eq!(prometheus.value("up"), Some(1.0));
    assert_eq!(prometheus.value("took_bucket%7Ble=%220.01%22%7D"), Some(200.0));
    assert_eq!(prometheus.value("node_stock"), Some(99.0));
    drop(prometheus);

    agent.stop(SOON).assert_clean();
    let read = lines("read_metrics_back.py", &["--endpoint", &moto, "--namespace", &namespace]);
    let of = |name: &str, shop: Option<&str>| {
        let is_it = |metric: &&Value| metric["name"] == name && metric["dimensions"]["shop"].as_str() == shop;
        let found: Vec<_> = read.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{name} in {read:#?}");
        ["sum", "count", "least", "greatest"].map(|key| found[0][key].as_f64().unwrap())
    };
    // A counter is one value for each minute, and the rounds may have met the end of one.
    let sums: BTreeMap<_, _> =
        [("orders", Some("north")), ("orders", Some("south")), ("plain.orders", None), ("node.orders", Some("north"))]
            .map(|(name, shop)| ((name, shop), of(name, shop)[0]))
            .into();
    let expected = [
        (("node.orders", Some("north")), 300.0),
        (("orders", Some("north")), 200.0),
        (("orders", Some("south")), 400.0),
        (("plain.orders", None), 200.0),
    ];
    assert_eq!(sums, BTreeMap::from(expected));
    assert_eq!(of("took", None), [4_000.0, 400.0, 5.0, 15.0]);
    assert_eq!(of("plain.took", None), [4_000.0, 200.0, 20.0, 20.0]);
    assert_eq!(of("node.took", None), [700.0, 100.0, 7.0, 7.0]);
    assert_eq!(of("size", None), [300.0, 200.0, 1.5, 1.5]);
    assert_eq!(of("size.all", None), [500.0, 200.0, 2.5, 2.5]);
    assert_eq!(of("stock", None)[3], 99.0);
    assert_eq!(of("plain.level", None)[3], 200.0, "relative gauges add up");
    assert_eq!(of("customers", None)[3], 10.0);
}

/// The same samples to backends of OTLP, by HTTP and gRPC: OpenTelemetry's own classes read the series.
#[test]
fn series_are_received_by_opentelemetry_s_own_classes() {
    let mut receiver = Program::python("receive_otlp.py", &[]);
    let (places, statsd) = (receiver.ask("addresses"), free_address().unwrap());
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         metrics:\n  inputs: [{{statsd: {{udp: '{statsd}'}}}}]\n  outputs:\n    \
         - {{to: {{otlp: {{endpoint: 'http://{}', protocol: grpc}}}}}}\n    - {{to: {{otlp: {{endpoint: 'http://{}'}}}}}}\n",
        places["grpc"].as_str().unwrap(),
        places["http"].as_str().unwrap(),
    )))
    .unwrap();
    until(SOON, || agent.log(), || agent.get("/readyz").0 == 200);
    let (port, rounds) = (statsd.port().to_string(), ROUNDS.to_string());
    lines("send_statsd.py", &["--port", &port, "--rounds", &rounds]);
    let samples = f64::from(ROUNDS) * 11.0;
    agent.wait_for_metrics(SOON, "all samples", |metrics| metrics.sum("pillion_metrics_samples_total", &[]) == samples);
    agent.stop(SOON).assert_clean();
    let received = receiver.ask("points");
    let points = received["points"].as_array().unwrap();
    assert!(points.iter().all(|point| point["good"] == true), "{points:#?}");
    for by in ["grpc", "http"] {
        // A window may have ended in between: what is cumulative is told again, and the last counts.
        let last = |name: &str, shop: Option<&str>| {
            let is_it =
                |point: &&Value| point["by"] == by && point["name"] == name && point["labels"]["shop"].as_str() == shop;
            points.iter().rfind(is_it).unwrap_or_else(|| panic!("no {name} by {by} in {points:#?}"))
        };
        let south = last("orders", Some("south"));
        assert_eq!(
            (&south["kind"], &south["value"], &south["labels"]["env"]),
            (&"sum".into(), &200.0.into(), &"test".into())
        );
        let took = last("took", None);
        assert_eq!((&took["kind"], &took["unit"], &took["count"]), (&"histogram".into(), &"s".into(), &200.into()));
        assert!((took["sum"].as_f64().unwrap() - 2.0).abs() < 1e-9, "{took}");
        assert_eq!((&took["buckets"][0], &took["buckets"][2]), (&100.into(), &100.into()), "{took}");
        assert_eq!(last("stock", None)["value"], 99.0);
        assert_eq!(last("plain.level", None)["value"], 100.0);
    }
}
