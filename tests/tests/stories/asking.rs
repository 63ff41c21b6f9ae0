//! What the agent asks for: an app's exposition, the stats of the task, the backlog of a queue.
//!
//! Promises: what CloudWatch has is compared with what was exposed, to the last unit; every story ends by balancing the books.
//! Never: waits for an interval to pass, but for what is done in the next one: what is asked is asked at the start, and once more at the stop.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use tests::{
    agent::{Agent, Setup},
    fake_aws::{Action, FakeAws, Operation},
    metrics::Metrics,
};

use crate::story::SOON;

/// What is done once a minute is done by then.
const MINUTES: Duration = Duration::from_secs(150);

/// An app with an exposition.
struct App {
    address: SocketAddr,
    shared: Arc<Mutex<String>>,
}

impl App {
    /// Exposes `text` until the story ends.
    fn exposing(text: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, shared) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(text.to_owned())));
        let exposed = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let exposed = Arc::clone(&exposed);
                thread::spawn(move || converse(&stream, &exposed));
            }
        });
        Self { address, shared }
    }

    fn exposes(&self, text: &str) {
        text.clone_into(&mut self.shared.lock().unwrap());
    }
}

/// Answers request after request. Who leaves has heard enough.
fn converse(stream: &TcpStream, exposed: &Mutex<String>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut line = String::new();
        while line.trim_end() != "" || line.is_empty() {
            line.clear();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
        }
        let body = exposed.lock().unwrap().clone();
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = stream;
        stream.write_all((head + &body).as_bytes()).ok()?;
    }
}

fn start(inputs: &str, aws: &FakeAws) -> Agent {
    let setup = Setup::yaml(format!(
        "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
         metrics:\n  inputs:\n{inputs}  outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{}'}}}}}}]\n",
        aws.url()
    ));
    Agent::start(&setup.with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri())).unwrap()
}

fn asked(metrics: &Metrics, asked: &str, outcome: &str) -> f64 {
    metrics.sum("pillion_metrics_questions_total", &[("asked", asked), ("outcome", outcome)])
}

/// `name dimensions: sum count`, of all metrics that CloudWatch has.
fn told(aws: &FakeAws) -> Vec<String> {
    let all = aws.metrics();
    let one = |(metric, statistics): (&tests::fake_aws::Metric, &tests::fake_aws::Statistics)| {
        let dimensions: Vec<_> = metric.dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
        format!("{} {}: {} {}", metric.name, dimensions.join(","), statistics.sum, statistics.count)
    };
    all.iter().map(one).collect()
}

fn end(agent: Agent, aws: &FakeAws) {
    let ended = agent.stop(SOON);
    ended.assert_clean();
    let last = ended.final_line().unwrap();
    assert_eq!((&last["balanced"], last["lost"].as_u64()), (&true.into(), Some(0)), "{last}");
    aws.assert_no_violations();
}

fn exposition(hits: [u32; 2], low: u32, all: u32, sum: f64) -> String {
    format!(
        "# HELP hits_total Requests.\n# TYPE hits_total counter\nhits_total{{route=\"/a\",user=\"1\"}} {}\n\
         hits_total{{route=\"/a\",user=\"2\"}} {}\n# TYPE wait_seconds histogram\nwait_seconds_bucket{{le=\"0.5\"}} {low}\n\
         wait_seconds_bucket{{le=\"+Inf\"}} {all}\nwait_seconds_sum {sum}\nwait_seconds_count {all}\n\
         # TYPE go_threads gauge\ngo_threads 7\n# TYPE temperature gauge\ntemperature 21.5\n",
        hits[0], hits[1]
    )
}

/// Between a target that lies and one that is not there, an app is scraped; what it counted until the stop arrives.
#[test]
fn what_an_app_exposes_arrives_to_the_last_unit() {
    let aws = FakeAws::start();
    let (app, liar) = (App::exposing(&exposition([10, 20], 5, 9, 40.0)), App::exposing("<html>not here</html>\n"));
    let absent = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let agent = start(
        &format!(
            "  - scrape:\n      targets: ['{}', '{absent}', '{}/m']\n      job: shop\n      every: 1h\n      \
             relabel: [{{source_labels: [__name__], regex: 'go_.*', action: drop}}]\n      \
             publish: {{namespace: Shop, dimensions: [route]}}\n",
            liar.address, app.address
        ),
        &aws,
    );
    agent.wait_for_metrics(SOON, "the first scrapes", |metrics| {
        let of = |outcome| asked(metrics, "target", outcome);
        of("success") == 1.0 && of("invalid") >= 1.0 && of("unreachable") >= 1.0
    });
    let metrics = agent.metrics();
    let instance = app.address.to_string();
    assert_eq!(
        metrics.sum("hits_total", &[("route", "/a"), ("user", "2"), ("instance", &instance), ("job", "shop")]),
        20.0
    );
    assert_eq!(metrics.sum("up", &[("instance", &instance)]), 1.0);
    assert_eq!(metrics.sum("up", &[]), 1.0, "of three");
    assert_eq!(metrics.sum("go_threads", &[]), 0.0);
    app.exposes(&exposition([17, 25], 6, 12, 43.25));
    end(agent, &aws);
    let (gauges, counted): (Vec<_>, Vec<_>) = told(&aws).into_iter().partition(|told| told.starts_with("temperature"));
    assert_eq!(counted, ["hits_total route=/a: 12 1", "wait_seconds : 3.25 3"], "12 more, and 3 more in 3.25 s");
    // Told once, or twice if a minute ended between the scrapes.
    assert!(gauges == ["temperature : 21.5 1"] || gauges == ["temperature : 43 2"], "{gauges:?}");
}

/// A task with a service, on Fargate: the app's figures are there, and no sum in which the sidecar's would be missing.
#[test]
fn what_the_task_uses_arrives() {
    let aws = FakeAws::start();
    let agent = start("  - task: {}\n", &aws);
    // The stats may have been answered, and counted, before what is said of the task: both make the figures.
    agent.wait_for_metrics(SOON, "the first look", |metrics| metrics.sum("ecs_task_cpu_reserved_units", &[]) > 0.0);
    let metrics = agent.metrics();
    assert!(asked(&metrics, "task/stats", "success") >= 1.0);
    assert_eq!(metrics.sum("ecs_container_cpu_utilized_units", &[("container_name", "app")]), 128.0);
    assert_eq!(metrics.sum("ecs_task_cpu_reserved_units", &[]), 256.0);
    end(agent, &aws);
    let told = told(&aws);
    let of =
        |what: &str| told.iter().find(|told| told.starts_with(what)).unwrap_or_else(|| panic!("no {what}: {told:#?}"));
    let app = "ClusterName=mycluster,ContainerName=app,TaskDefinitionFamily=web";
    let average = |what: &str| {
        let numbers: Vec<f64> =
            of(what).rsplit_once(": ").unwrap().1.split(' ').map(|number| number.parse().unwrap()).collect();
        numbers[0] / numbers[1]
    };
    assert_eq!(average(&format!("CpuUtilized {app}")).round(), 128.0);
    assert_eq!(average(&format!("MemoryUtilized {app}")), 100.0);
    assert_eq!(average("MemoryReserved ClusterName=mycluster,TaskDefinitionFamily=web"), 512.0);
    assert!(average("NetworkRxBytes ClusterName=mycluster,TaskDefinitionFamily=web") >= 0.0);
    assert!(!told.iter().any(|told| told.starts_with("MemoryUtilized ClusterName=mycluster,Task")), "{told:#?}");
}

/// Container Insights' events lie where it has them, with the metrics of the task in them, and the output for metrics gets none of it twice.
#[test]
fn performance_events_arrive_where_container_insights_has_them() {
    let aws = FakeAws::start();
    let url = aws.url();
    let setup = Setup::yaml(format!(
        "logs:\n  inputs: [{{forward: {{unix: '{{socket}}'}}}}]\n  outputs:\n    - match: perf*\n      \
         to: {{cloudwatch: {{group: ours, stream: s, auto_create_group: true, region: us-east-1, endpoint: '{url}'}}}}\n\
         metrics:\n  inputs: [{{task: {{performance_events: {{}}}}}}]\n  \
         outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{url}'}}}}}}]\n"
    ));
    let agent = Agent::start(&setup.with("ECS_CONTAINER_METADATA_URI_V4", aws.metadata_uri())).unwrap();
    agent.wait_for_metrics(SOON, "the first look", |metrics| asked(metrics, "task/stats", "success") >= 1.0);
    assert_eq!(agent.metrics().sum("ecs_container_cpu_utilized_units", &[("container_name", "app")]), 128.0);
    // Between two looks is time in which something was used.
    end(agent, &aws);
    assert_eq!(told(&aws), [""; 0], "CloudWatch makes them of the events");
    let messages = aws.messages("/aws/ecs/containerinsights/mycluster/performance", "0123456789abcdef0123456789abcdef");
    let events: Vec<serde_json::Value> = messages.iter().map(|text| serde_json::from_str(text).unwrap()).collect();
    let of = |kind: &str| events.iter().rfind(|event| event["Type"] == kind).unwrap_or_else(|| panic!("{events:?}"));
    let (task, app) = (of("Task"), of("Container"));
    assert_eq!((&task["ClusterName"], &task["TaskDefinitionRevision"]), (&"mycluster".into(), &"7".into()));
    assert_eq!((&app["ContainerName"], app["CpuUtilized"].as_f64().unwrap().round()), (&"app".into(), 128.0));
    // The sidecar tells nothing of itself yet, so there is no sum of the task's memory; of the network, which they share, there is.
    let metrics = task["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    let names: Vec<_> = metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect();
    assert_eq!(names, ["CpuReserved", "MemoryReserved", "NetworkRxBytes", "NetworkTxBytes"]);
    assert_eq!(task["NetworkRxBytes"].as_f64().unwrap().round(), 1_000.0, "a byte a millisecond");
}

/// What waits for each task, and nothing made up while the queue cannot be asked.
#[test]
fn the_backlog_of_a_queue_arrives() {
    let aws = FakeAws::start();
    aws.set_scale(100, 7, 4);
    let queue = |aws: &FakeAws| {
        let url = aws.url();
        format!(
            "  - queue: {{sqs: '{url}/123456789012/jobs', ecs_endpoint: '{url}', region: us-east-1, service: cart}}\n"
        )
    };
    let agent = start(&queue(&aws), &aws);
    agent.wait_for_metrics(SOON, "the first question", |metrics| asked(metrics, "queue", "success") == 1.0);
    let metrics = agent.metrics();
    assert_eq!(metrics.sum("ecs_queue_backlog_per_task", &[("QueueName", "jobs")]), 25.0);
    assert_eq!(metrics.sum("ecs_queue_messages_in_flight", &[]), 7.0);
    end(agent, &aws);
    assert_eq!(told(&aws), ["BacklogPerTask ClusterName=mycluster,QueueName=jobs,ServiceName=cart: 25 1"]);

    let aws = FakeAws::start();
    aws.always(Operation::GetQueueAttributes, Action::Denied);
    let agent = start(&queue(&aws), &aws);
    agent.wait_for_metrics(SOON, "the first refusal", |metrics| asked(metrics, "queue", "failed") == 1.0);
    end(agent, &aws);
    assert_eq!(told(&aws), [""; 0]);
}

/// Of two tasks one asks the queue and publishes. When it ends, the other one does, from the next minute on.
#[test]
fn one_of_two_tasks_publishes_and_the_other_takes_over_when_it_ends() {
    let aws = FakeAws::start();
    let url = aws.url();
    let tasks = ["a", "b"].map(|id| aws.metadata_of(id));
    aws.set_scale(100, 0, 9);
    aws.set_tasks(&tasks.clone().map(|(_, arn)| arn));
    let [mut first, mut second] = tasks.map(|(uri, arn)| {
        let setup = Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
             metrics:\n  inputs: [{{queue: {{sqs: '{url}/123456789012/jobs', ecs_endpoint: '{url}', region: us-east-1, service: cart, publishers: 1}}}}]\n  \
             outputs: [{{to: {{cloudwatch: {{region: us-east-1, endpoint: '{url}'}}}}}}]\n"
        ));
        let agent = Agent::start(&setup.with("ECS_CONTAINER_METADATA_URI_V4", &uri)).unwrap();
        (agent, arn)
    });
    let elected = |agent: &Agent| agent.metrics().sum("ecs_queue_elected", &[("QueueName", "jobs")]) == 1.0;
    for (agent, _) in [&first, &second] {
        agent.wait_for_metrics(SOON, "the election", |metrics| asked(metrics, "service", "success") >= 1.0);
    }
    if elected(&second.0) {
        std::mem::swap(&mut first, &mut second);
    }
    first.0.wait_for_metrics(SOON, "the queue's answer", |metrics| asked(metrics, "queue", "success") >= 1.0);
    assert_eq!((elected(&first.0), elected(&second.0)), (true, false));
    let metrics = second.0.metrics();
    assert_eq!((asked(&metrics, "queue", "success"), metrics.sum("ecs_queue_backlog_per_task", &[])), (0.0, 0.0));
    end(first.0, &aws);
    let backlog = |told: &[String]| -> Vec<f64> {
        let sums = told.iter().filter_map(|told| {
            told.strip_prefix("BacklogPerTask ClusterName=mycluster,QueueName=jobs,ServiceName=cart: ")
        });
        sums.flat_map(|sums| sums.split(' ').map(|number| number.parse().unwrap()).collect::<Vec<_>>()).collect()
    };
    let before = backlog(&told(&aws));
    assert_eq!(before[0], 50.0 * before[1], "100 messages for two tasks, each minute");

    aws.set_tasks(&[second.1]);
    // It asks in each minute, at a second of its own.
    second.0.wait_for_metrics(MINUTES, "the next one", |metrics| asked(metrics, "queue", "success") >= 1.0);
    assert!(elected(&second.0));
    assert_eq!(second.0.metrics().sum("ecs_queue_backlog_per_task", &[]), 100.0);
    end(second.0, &aws);
    let after = backlog(&told(&aws));
    assert_eq!(after[0] - before[0], 100.0 * (after[1] - before[1]), "100 messages for one task");
    assert!(after[1] > before[1], "{after:?}");
}
