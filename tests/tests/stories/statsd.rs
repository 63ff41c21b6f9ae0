//! What apps send as StatsD is in CloudWatch and on `/metrics`, to the last unit.
//!
//! Promises: sums, counts and extremes are compared with what was sent; every story ends by balancing the books.
//! Never: waits for a minute to pass: the rest of a window is flushed when the agent stops.

use std::{
    io::Write,
    net::{SocketAddr, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
};

use tempfile::TempDir;
use tests::{
    agent::{Agent, Ended, Setup, free_address},
    fake_aws::{Action, FakeAws, Metric, Operation, Statistics},
};

use crate::{spool::wait, story::SOON};

const PUT: Operation = Operation::PutMetricData;

struct Task {
    aws: FakeAws,
    agent: Agent,
    statsd: SocketAddr,
    app: UdpSocket,
    sent: f64,
}

impl Task {
    /// A task whose `statsd` input has these settings more.
    fn start(more: &str) -> Self {
        Self::start_with(more, "")
    }

    fn start_with(more: &str, top: &str) -> Self {
        let aws = FakeAws::start();
        let statsd = free_address().unwrap();
        let agent = Agent::start(&Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n{top}\
             metrics:\n  inputs: [{{statsd: {{udp: '{statsd}'{more}}}}}]\n  outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{}'}}}}}}]\n",
            aws.url()
        )))
        .unwrap();
        Self { aws, agent, statsd, app: UdpSocket::bind("127.0.0.1:0").unwrap(), sent: 0.0 }
    }

    fn send(&self, packet: &str) {
        self.app.send_to(packet.as_bytes(), self.statsd).unwrap();
    }

    /// Waits until so many samples more were taken.
    fn taken(&mut self, more: u32) {
        self.sent += f64::from(more);
        let sent = self.sent;
        let taken = |metrics: &tests::metrics::Metrics| metrics.sum("pillion_metrics_samples_total", &[]) == sent;
        self.agent.wait_for_metrics(SOON, "all samples are taken", taken);
    }

    fn end(self) -> (FakeAws, Ended) {
        assert_eq!(self.agent.metrics().sum("pillion_metrics_dropped_packets_total", &[]), 0.0);
        let ended = self.agent.stop(SOON);
        ended.assert_clean();
        let last = ended.final_line().unwrap();
        assert_eq!(last["balanced"], true, "{last}");
        (self.aws, ended)
    }
}

fn found(aws: &FakeAws, name: &str, dimensions: &[(&str, &str)]) -> Statistics {
    let wanted: Vec<_> = dimensions.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let all = aws.metrics();
    let is_it = |metric: &&Metric| metric.name == name && metric.dimensions == wanted;
    let Some(metric) = all.keys().find(is_it) else { panic!("no {name} {dimensions:?} in {all:#?}") };
    all[metric].clone()
}

fn numbers(statistics: &Statistics) -> [f64; 4] {
    [statistics.sum, statistics.count, statistics.least, statistics.greatest]
}

/// Every type, packed and not, with rates and tags: what CloudWatch gets is what was sent, and `/metrics` shows the same.
#[test]
fn what_apps_count_and_measure_arrives_to_the_last_unit() {
    let mut task = Task::start(", publish: {namespace: Shop, dimensions: [route], fixed_dimensions: {Service: cart}}");
    task.send("hits:1|c|#route:/a,user:1\nhits:2|c|#user:2,route:/a\nhits:1|c|@0.25|#route:/b\n\n");
    task.send("load:5|g\nload:-2|g\nload:+4|g\n");
    task.send("took:10:20:30|ms|#route:/a|c:ci-1|e:it-false|card:low\ntook:40|ms|@0.5|#route:/a");
    task.send("size:1.5|h\nsize:2.5|d\nusers:alice|s\nusers:bob|s\nusers:alice|s");
    task.send("_e{5,4}:title|text|t:error\n_sc|db|2|#host:a|m:down");
    task.taken(17);
    let metrics = task.agent.metrics();
    assert_eq!(metrics.sum("hits_total", &[("route", "/a"), ("user", "1")]), 1.0);
    assert_eq!(metrics.sum("hits_total", &[("route", "/b")]), 4.0);
    assert_eq!(metrics.sum("load", &[]), 7.0);
    assert_eq!(metrics.sum("took_sum", &[]), 0.14);
    assert_eq!(metrics.sum("took_bucket", &[("le", "0.025")]), 2.0);
    assert_eq!(metrics.sum("statsd_events_total", &[("alert_type", "error")]), 1.0);
    assert_eq!(metrics.sum("statsd_service_check", &[("check", "db"), ("host", "a")]), 2.0);
    let (aws, _) = task.end();
    let service = ("Service", "cart");
    assert_eq!(numbers(&found(&aws, "hits", &[service, ("route", "/a")])), [3.0, 1.0, 3.0, 3.0]);
    assert_eq!(numbers(&found(&aws, "hits", &[service, ("route", "/b")])), [4.0, 1.0, 4.0, 4.0]);
    assert_eq!(numbers(&found(&aws, "load", &[service])), [7.0, 1.0, 7.0, 7.0]);
    assert_eq!(numbers(&found(&aws, "took", &[service, ("route", "/a")])), [140.0, 5.0, 10.0, 40.0]);
    assert_eq!(numbers(&found(&aws, "size", &[service])), [4.0, 2.0, 1.5, 2.5]);
    assert_eq!(numbers(&found(&aws, "users", &[service])), [2.0, 1.0, 2.0, 2.0]);
    let all = aws.metrics();
    assert!(all.keys().all(|metric| metric.namespace == "Shop"), "{all:#?}");
    let took = all.keys().find(|metric| metric.name == "took").unwrap();
    assert_eq!(took.unit, "Milliseconds");
    let times: Vec<f64> = all.values().flat_map(|statistics| statistics.times.clone()).collect();
    assert!(times.iter().all(|time| time % 60.0 == 0.0), "{times:?}");
    aws.assert_no_violations();
}

/// Datagrams and streams of unix sockets are taken as well, and a stream that lies about a length costs itself only.
#[test]
fn unix_sockets_are_taken_too() {
    let folder = tempfile::tempdir().unwrap();
    let (datagrams, stream) = (folder.path().join("dsd.socket"), folder.path().join("stream.socket"));
    let mut task = Task::start(&format!(", unix: '{}', unix_stream: '{}'", datagrams.display(), stream.display()));
    let app = UnixDatagram::unbound().unwrap();
    for _ in 0..100 {
        app.send_to(b"hits:1|c\nhits:1|c", &datagrams).unwrap();
    }
    task.taken(200);
    let mut liar = UnixStream::connect(&stream).unwrap();
    liar.write_all(&[255, 255, 255, 255, 1]).unwrap();
    let mut app = UnixStream::connect(&stream).unwrap();
    let packet = b"hits:1|c\nhits:1|c";
    let framed = [&(packet.len() as u32).to_le_bytes()[..], packet].concat();
    for byte in &framed {
        app.write_all(&[*byte]).unwrap();
    }
    app.write_all(&framed.repeat(99)).unwrap();
    task.taken(200);
    let wrong = |metrics: &tests::metrics::Metrics| {
        metrics.sum("pillion_metrics_rejected_total", &[("reason", "packet_length")]) == 1.0
    };
    task.agent.wait_for_metrics(SOON, "the liar is found out", wrong);
    drop(app);
    let (aws, _) = task.end();
    assert_eq!(found(&aws, "hits", &[]).sum, 400.0);
    aws.assert_no_violations();
    assert!(!datagrams.exists() && !stream.exists());
}

/// A flood of labels costs a bounded number of series; those known before stay exact, and nothing is lost of the sum.
#[test]
fn a_flood_of_labels_leaves_known_series_exact() {
    let mut task = Task::start(", publish: {dimensions: ['*'], series_max: 10}");
    task.send("hits:1|c|#user:known");
    task.taken(1);
    for number in 0..2_000 {
        task.send(&format!("hits:1|c|#user:{number}"));
        if number % 50 == 49 {
            task.taken(50);
        }
    }
    task.send("hits:1|c|#user:known");
    task.taken(1);
    let metrics = task.agent.metrics();
    assert_eq!(metrics.sum("hits_total", &[("user", "known")]), 2.0);
    assert_eq!(metrics.sum("hits_total", &[]), 2_002.0);
    assert_eq!(metrics.sum("hits_total", &[("overflow", "true")]), 1_991.0);
    let (aws, _) = task.end();
    let all = aws.metrics();
    assert_eq!((all.len(), all.values().map(|statistics| statistics.sum).sum::<f64>()), (11, 2_002.0));
    aws.assert_no_violations();
}

/// Lines that are wrong are counted by reason and harm no other.
#[test]
fn what_is_wrong_is_counted_and_harms_nothing_else() {
    let mut task = Task::start(
        ", mappings: [{match: 'debug.*', action: drop}, {match: 'shop.*.sold', name: sold, labels: {country: $1}}]",
    );
    task.send("hits:1|c\nnonsense\nhits:x:1|c\nhits:1|q\nhits:1|c|@0\n_e{9,9}:a|b\n_sc|x|9\ndebug.a:1|c\nshop.de.sold:3|c\n:|");
    task.app.send_to(&[0xff; 60_000], task.statsd).unwrap();
    task.send("datadog.dogstatsd.client.metrics:7|c");
    task.send("hits:1|c");
    task.taken(4);
    let metrics = task.agent.metrics();
    let rejected = |reason| metrics.sum("pillion_metrics_rejected_total", &[("reason", reason)]);
    assert_eq!(["no_metric", "value", "type", "rate", "event", "check"].map(rejected), [3.0, 1.0, 1.0, 1.0, 1.0, 1.0]);
    assert_eq!(metrics.sum("pillion_metrics_filtered_total", &[]), 2.0);
    assert_eq!(metrics.sum("sold_total", &[("country", "de")]), 3.0);
    let (aws, _) = task.end();
    assert_eq!(found(&aws, "hits", &[]).sum, 3.0);
    assert_eq!(found(&aws, "sold", &[]).sum, 3.0);
    aws.assert_no_violations();
}

/// A service that throttles, fails and then takes: what was gathered arrives once.
#[test]
fn what_the_service_does_not_take_at_once_arrives_later() {
    let mut task = Task::start("");
    task.aws.script(PUT, [Action::Throttle, Action::Status(503, None), Action::Status(500, None)]);
    task.send("hits:7|c");
    task.taken(1);
    let (aws, ended) = task.end();
    assert_eq!(numbers(&found(&aws, "hits", &[])), [7.0, 1.0, 7.0, 7.0]);
    let last = ended.final_line().unwrap();
    assert_eq!((&last["accepted"], &last["delivered"]), (&1.into(), &1.into()), "{last}");
    assert_eq!(aws.asked(PUT), 4);
}

/// Killed twice while the service is down: what was gathered is on disk, and arrives once and as of its window, with what comes after it. (What is
/// gathered while a batch waits for the service goes to disk with the next batch, at the latest after 30 s: a kill before that costs it.)
#[test]
fn metrics_on_disk_survive_a_kill_and_arrive_once() {
    const COUNTERS: u32 = 100;
    const DATA: u64 = COUNTERS as u64 + 2;
    let (aws, folder, statsd) = (FakeAws::start(), TempDir::new().unwrap(), free_address().unwrap());
    aws.always(PUT, Action::Status(503, None));
    let setup = Setup::yaml(format!(
        "spool: {{path: {}}}\nlogs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         metrics:\n  flush_every: 1s\n  inputs: [{{statsd: {{udp: '{statsd}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{}'}}}}}}]\n",
        folder.path().display(),
        aws.url()
    ));
    let app = UdpSocket::bind("127.0.0.1:0").unwrap();
    // In one packet, so that all of it is of one window.
    let send = |amount: u32| {
        let counters: String = (1..=COUNTERS).map(|number| format!("c{number}:{}|c\n", number * amount)).collect();
        let packet = format!("{counters}load:{amount}|g\ntook:{amount}:3|ms");
        app.send_to(packet.as_bytes(), statsd).unwrap();
    };

    let mut agent = Agent::start(&setup).unwrap();
    send(1);
    for life in ["the first", "the second"] {
        wait(&agent, life, |total| total.accepted == DATA && total.spooled == DATA);
        agent.signal("KILL");
        drop(agent.wait_for_end(SOON));
        agent = Agent::start(&setup).unwrap();
    }
    assert!(aws.metrics().is_empty() && aws.asked(PUT) > 0, "the service was asked, and took nothing");

    send(8);
    wait(&agent, "what is new", |total| total.accepted == 2 * DATA);
    aws.heal(PUT);
    let total = wait(&agent, "all to be delivered", |total| total.delivered == 2 * DATA);
    assert_eq!((total.accepted, total.in_flight, total.spooled), (2 * DATA, 0, 0), "{total:?}");
    let ended = agent.stop(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((&last["balanced"], &last["spooled"], &last["lost"]), (&true.into(), &0.into(), &0.into()), "{last}");

    for number in 1..=COUNTERS {
        let counter = found(&aws, &format!("c{number}"), &[]);
        let amount = f64::from(number);
        assert_eq!(numbers(&counter), [9.0 * amount, 2.0, amount, 8.0 * amount], "{number}");
        assert!(counter.times[0] != counter.times[1], "each window has its own time: {counter:?}");
    }
    assert_eq!(numbers(&found(&aws, "load", &[])), [9.0, 2.0, 1.0, 8.0]);
    assert_eq!(numbers(&found(&aws, "took", &[])), [15.0, 4.0, 1.0, 8.0]);
    aws.assert_no_violations();
}

/// With windows of a second, what was counted in one is told when it is over, and nothing is told twice.
#[test]
fn windows_are_told_while_the_agent_runs() {
    let mut task = Task::start_with(", publish: {high_resolution: true}", "");
    task.send("hits:1|c");
    task.taken(1);
    let (aws, _) = task.end();
    let hits = found(&aws, "hits", &[]);
    assert!(hits.is_high_resolution && hits.times.len() == 1, "{hits:?}");
    let aws = FakeAws::start();
    let statsd = free_address().unwrap();
    let agent = Agent::start(&Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         metrics:\n  flush_every: 1s\n  inputs: [{{statsd: {{udp: '{statsd}'}}}}]\n  outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{}'}}}}}}]\n",
        aws.url()
    )))
    .unwrap();
    let app = UdpSocket::bind("127.0.0.1:0").unwrap();
    for round in 1..=3 {
        app.send_to(b"hits:1|c\nload:3|g", statsd).unwrap();
        tests::wait::until(
            SOON,
            || format!("round {round}"),
            || aws.metrics().iter().any(|(metric, told)| metric.name == "hits" && told.sum == f64::from(round)),
        );
    }
    agent.stop(SOON).assert_clean();
    assert_eq!(numbers(&found(&aws, "hits", &[])), [3.0, 3.0, 1.0, 1.0]);
    assert_eq!(numbers(&found(&aws, "load", &[])), [9.0, 3.0, 3.0, 3.0]);
    aws.assert_no_violations();
}
