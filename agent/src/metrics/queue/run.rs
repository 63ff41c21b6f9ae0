//! Asks once a minute, and publishes.
//!
//! Promises: asks at a second of the minute that differs from task to task, early enough for the minute's flush; trouble is counted and
//! said, and harms nothing else.
//! Never: asks while the answer to the question before is still awaited.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::{
    backlog::{Backlog, Published},
    elect::Election,
    service,
    settings::Queue,
};
use crate::{
    aws::{Access, Client, Fault, Identity, Unit, queue},
    ecs::Metadata,
    limits::SERVICES_ANSWER_BYTES_MAX,
    metrics::{
        Seconds,
        rhythm::until_next,
        settings::{NAMESPACE, Publish},
        store::{
            Store,
            key::{Key, Kind, Publication, SourceId},
        },
    },
    tell::{RateLimited, chain, counters::Counters},
};

/// How often is asked: a target-tracking policy looks at minutes.
const EVERY: Duration = Duration::from_secs(60);
/// Seconds of the minute in which is asked. What is left is for the answers, 10 s each at worst.
const SPREAD: Duration = Duration::from_secs(35);
const WARN_EVERY: Duration = Duration::from_secs(600);

/// What the input needs of the rest of the agent.
pub struct Means<'a> {
    /// Where samples go.
    pub store: &'a Store,
    /// Its clock.
    pub seconds: Seconds,
    /// To count.
    pub counters: &'a Counters,
    /// To speak to AWS.
    pub access: &'a Access,
    /// Who we are.
    pub task: &'a Metadata,
}

/// Watches one queue.
pub struct Watcher {
    input: String,
    sqs: Client,
    ecs: Client,
    url: String,
    cluster: String,
    service: String,
    labels: [(&'static str, String); 3],
    namespace: String,
    backlog: Mutex<Backlog>,
    /// Whether this task is to ask and publish, if not all are.
    election: Option<Mutex<Election>>,
    /// The second of the minute in which is asked.
    offset: Duration,
    source: SourceId,
    store: Store,
    seconds: Seconds,
    counters: Counters,
    warned: RateLimited,
}

impl Watcher {
    /// As `settings` say; `input` is the name on `/metrics`. `None`, and said, if it cannot be asked at all.
    pub fn new(settings: &Queue, input: &str, is_sent: bool, means: &Means<'_>) -> Option<Self> {
        match Self::open(settings, input, is_sent, means) {
            Ok(watcher) => Some(watcher),
            Err(why) => {
                error!(input, problem = why, "the backlog of a queue cannot be published");
                None
            }
        }
    }

    fn open(settings: &Queue, input: &str, is_sent: bool, means: &Means<'_>) -> Result<Self, String> {
        let (access, task) = (means.access, means.task);
        let cluster =
            settings.cluster.clone().or_else(|| task.cluster.clone()).ok_or("no cluster is known; set `cluster`")?;
        let service =
            settings.service.clone().or_else(|| task.service.clone()).ok_or("no service is known; set `service`")?;
        let (role_arn, of_url) =
            (settings.role_arn.as_deref(), queue::place_of(&settings.sqs).map_err(|error| error.to_string())?.1);
        let (own, of_task) = (settings.region.as_deref(), access.region().or(task.region.as_deref()));
        let sqs = queue::client(&settings.sqs, (own.or(of_url.as_deref()).or(of_task), role_arn), access);
        let region = own.or(of_task).or(of_url.as_deref());
        let region = region.ok_or("no region is known; set `region`, or AWS_REGION in the environment")?;
        let identity = Identity { role_arn: settings.role_arn.clone(), ..Identity::default() };
        let ecs = access.client("ecs", region, settings.ecs_endpoint.as_deref(), &identity);
        let ecs = ecs.map_err(|error| chain(&error).to_string())?.with_answer_bytes_max(SERVICES_ANSWER_BYTES_MAX);
        let publish = Publish { namespace: settings.namespace.clone(), ..Publish::default() };
        let name = |text: &str| text.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(Self {
            input: input.to_owned(),
            sqs: sqs.map_err(|error| chain(&error).to_string())?,
            ecs,
            url: settings.sqs.clone(),
            labels: [
                ("ClusterName", name(&cluster)),
                ("QueueName", settings.name().to_owned()),
                ("ServiceName", name(&service)),
            ],
            cluster,
            service,
            namespace: settings.namespace.clone().unwrap_or_else(|| NAMESPACE.to_owned()),
            backlog: Backlog::new(settings.include_in_flight).into(),
            election: settings.publishers.map(|publishers| {
                let publishers = usize::try_from(publishers.get()).unwrap_or(usize::MAX);
                Election::new(&settings.sqs, task.task_arn.as_deref(), publishers).into()
            }),
            offset: SPREAD.mul_f64(fastrand::f64()),
            source: means.store.source(publish.policy(is_sent)),
            store: means.store.clone(),
            seconds: means.seconds,
            counters: means.counters.clone(),
            warned: RateLimited::new(WARN_EVERY),
        })
    }

    /// Publishes until `ended`.
    pub async fn run(&self, ended: CancellationToken) {
        loop {
            self.pass().await;
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            if ended.run_until_cancelled(sleep(until_next(since_1970, EVERY, self.offset))).await.is_none() {
                return;
            }
        }
    }

    /// Asks once, and publishes what comes.
    pub(super) async fn pass(&self) {
        let (depth, running) = match &self.election {
            None => tokio::join!(
                service::depth(&self.sqs, &self.url),
                service::running(&self.ecs, &self.cluster, &self.service)
            ),
            Some(election) => {
                let tasks = service::tasks(&self.ecs, &self.cluster, &self.service).await;
                let is_elected = {
                    let mut election = election.lock().unwrap_or_else(PoisonError::into_inner);
                    election.is_elected(tasks.as_ref().ok(), Instant::now())
                };
                self.show_elected(is_elected);
                let running = tasks.map(|tasks| tasks.len() as u64);
                if !is_elected {
                    // It remembers how many there are, for the minute in which it is.
                    self.note(self.judged("service", running));
                    return;
                }
                (service::depth(&self.sqs, &self.url).await, running)
            }
        };
        let running = self.judged("service", running);
        match self.judged("queue", depth) {
            Some(depth) => {
                let mut backlog = self.backlog.lock().unwrap_or_else(PoisonError::into_inner);
                self.publish(&backlog.publish(depth, running, Instant::now()));
            }
            None => self.note(running),
        }
    }

    fn note(&self, running: Option<u64>) {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner).note(running, Instant::now());
    }

    fn judged<T>(&self, asked: &'static str, answer: Result<T, Fault>) -> Option<T> {
        let outcome = if answer.is_ok() { "success" } else { "failed" };
        self.counters.metrics.asked.with_label_values(&[&*self.input, asked, outcome]).inc();
        if let Err(fault) = &answer
            && let Some(suppressed) = self.warned.allow(Instant::now())
        {
            warn!(input = self.input, asked, error = %fault, suppressed, "the backlog of a queue is not known; nothing is published");
        }
        answer.ok()
    }

    fn publish(&self, Published { backlog_per_task, depth }: &Published) {
        let per_task = "Messages that wait for each task of the service.";
        if let Some(value) = *backlog_per_task {
            self.gauge("BacklogPerTask", "ecs_queue_backlog_per_task", per_task, value);
        }
        // The depth is AWS' own metric already (`AWS/SQS`), which costs nothing.
        for (shown, value, help) in [
            ("ecs_queue_messages_visible", depth.visible, "Messages that can be received."),
            (
                "ecs_queue_messages_in_flight",
                depth.in_flight,
                "Messages that somebody received and did not delete yet.",
            ),
            ("ecs_queue_messages_delayed", depth.delayed, "Messages that cannot be received yet."),
        ] {
            self.gauge("", shown, help, value as f64);
        }
    }

    fn show_elected(&self, is_elected: bool) {
        let help =
            "1 if this task asks the queue and publishes; with 0 the other series are as they were when it last did.";
        self.gauge("", "ecs_queue_elected", help, f64::from(u8::from(is_elected)));
    }

    /// Sets a gauge: for `/metrics`, and for CloudWatch if it has a name there.
    fn gauge(&self, name: &str, shown: &str, help: &str, value: f64) {
        let labels: Vec<_> = self.labels.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let sets: &[&[(&str, &str)]] = if name.is_empty() { &[] } else { &[&labels] };
        let publication = Publication::Own { namespace: &self.namespace, sets, is_high_resolution: false };
        let (source, kind, unit) = (self.source, Kind::Gauge, Unit::COUNT);
        let name = if name.is_empty() { shown } else { name };
        let key = Key { source, name, shown: Some(shown), kind, unit, labels: &labels, publication };
        let mut writing = self.store.writing(self.seconds.now());
        if let Some(series) = writing.series(&key) {
            writing.describe(series, help);
            writing.set(series, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        aws::Settings,
        metrics::store::Window,
        net::stub::{Stub, answer},
    };

    const ID: &str = "x-amzn-RequestId: 7f6d\r\n";

    fn depth(visible: &str) -> String {
        let numbers = json!({"ApproximateNumberOfMessages": visible, "ApproximateNumberOfMessagesNotVisible": "4"});
        answer("200 OK", ID, &json!({"Attributes": numbers}).to_string())
    }

    fn service(running: u64) -> String {
        answer("200 OK", ID, &json!({"services": [{"runningCount": running}], "failures": []}).to_string())
    }

    fn settings(sqs: &Stub, ecs: &Stub) -> Queue {
        let settings = json!({
            "sqs": format!("{}/123456789012/jobs", sqs.url()), "ecs_endpoint": ecs.url(), "region": "eu-west-1", "service": "cart",
        });
        serde_json::from_value(settings).expect("settings")
    }

    /// What CloudWatch gets in a minute.
    fn told(store: &Store) -> Vec<String> {
        let mut told = Vec::new();
        let mut flush = store.flush();
        while flush.next(|namespace, datum| {
            let Window::Values(values) = &datum.window else { panic!("{:?}", datum.window) };
            told.push(format!("{namespace} {} {} of {}", datum.head, values.sum(), values.count()));
        }) {}
        told
    }

    /// A minute in which something cannot be asked: without the queue nothing is told, without the service what was known of it holds.
    #[tokio::test]
    async fn each_minute_tells_what_waits_for_each_task() {
        let failed = || answer("503 Oh", ID, "");
        let sqs = Stub::answering([depth("100"), failed(), depth("50"), depth("0"), String::new()]);
        let ecs = Stub::answering([service(4), service(4), failed(), service(0), String::new()]);
        let (store, counters) = (Store::default(), Counters::new());
        let access = Access::new(&Settings::default(), &counters);
        let task = Metadata { cluster: Some("shop".into()), ..Metadata::default() };
        let means = Means { store: &store, seconds: Seconds::new(), counters: &counters, access: &access, task: &task };
        let mut watcher = Watcher::new(&settings(&sqs, &ecs), "queue.0", true, &means).expect("it can be asked");
        watcher.sqs = test_client("sqs", &sqs, &counters).with_json_1_0();
        watcher.ecs = test_client("ecs", &ecs, &counters);

        let metric = |value: u64| {
            let dimension = |name: &str, value: &str| format!(r#"{{"Name":"{name}","Value":"{value}"}}"#);
            let all =
                [dimension("ClusterName", "shop"), dimension("QueueName", "jobs"), dimension("ServiceName", "cart")];
            let dimensions = all.join(",");
            format!(
                r#"ECS/Sidecar "MetricName":"BacklogPerTask","Dimensions":[{dimensions}],"Unit":"Count" {value} of 1"#
            )
        };
        for expected in [Some(25), None, Some(13), Some(0)] {
            watcher.pass().await;
            assert_eq!(told(&store), expected.map(metric).into_iter().collect::<Vec<_>>());
        }
        let asked = |asked, outcome| counters.metrics.asked.with_label_values(&["queue.0", asked, outcome]).get();
        assert_eq!((asked("queue", "success"), asked("queue", "failed")), (3, 1));
        assert_eq!((asked("service", "success"), asked("service", "failed")), (3, 1));
        let request = sqs.seen().remove(0);
        assert_eq!(request.header("x-amz-target"), Some("AmazonSQS.GetQueueAttributes"));
        assert_eq!(request.header("content-type"), Some("application/x-amz-json-1.0"));
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body["QueueUrl"], format!("{}/123456789012/jobs", sqs.url()));
        let request = ecs.seen().remove(0);
        assert_eq!(request.header("x-amz-target"), Some("AmazonEC2ContainerServiceV20141113.DescribeServices"));
        assert_eq!(
            serde_json::from_slice::<serde_json::Value>(&request.body).expect("JSON"),
            json!({"cluster": "shop", "services": ["cart"]})
        );
    }

    fn test_client(service: &'static str, stub: &Stub, counters: &Counters) -> Client {
        use crate::{
            aws::{Clock, Credentials, Endpoint},
            net::{http::HttpClient, tls::Tls},
        };
        let keys = aws_credential_types::Credentials::new("AKID", "SECRET", None, None, "test");
        let endpoint = Endpoint::parse(&stub.url(), None, "eu-west-1").expect("an endpoint");
        let http = HttpClient::new(&Tls::new(None), counters);
        Client::new(service, endpoint, Credentials::from_provider(keys, Clock::system()), http)
    }

    fn listed(tasks: &[&str], next: Option<&str>) -> String {
        answer("200 OK", ID, &json!({"taskArns": tasks, "nextToken": next}).to_string())
    }

    /// Of two tasks one publishes. When ECS does not list it any more, the other does, with the number of tasks that there are.
    #[tokio::test]
    async fn of_two_tasks_one_publishes_and_the_other_takes_over() {
        let arns = ["arn:aws:ecs:eu-west-1:1:task/shop/a", "arn:aws:ecs:eu-west-1:1:task/shop/b"];
        let mut told_by = Vec::new();
        for own in 0..2 {
            let pages = [
                listed(&arns[..1], Some("more")),
                listed(&arns[1..], None),
                answer("503 Oh", ID, ""),
                listed(&arns[own..=own], None),
                String::new(),
            ];
            // Who is elected asks three times, and who is not once.
            let (sqs, ecs) =
                (Stub::answering([depth("9"), depth("8"), depth("7"), String::new()]), Stub::answering(pages));
            let (store, counters) = (Store::default(), Counters::new());
            let access = Access::new(&Settings::default(), &counters);
            let task =
                Metadata { cluster: Some("shop".into()), task_arn: Some(arns[own].into()), ..Metadata::default() };
            let means =
                Means { store: &store, seconds: Seconds::new(), counters: &counters, access: &access, task: &task };
            let settings =
                Queue { publishers: serde_json::from_value(json!(1)).expect("a number"), ..settings(&sqs, &ecs) };
            let mut watcher = Watcher::new(&settings, "queue.0", true, &means).expect("it can be asked");
            watcher.sqs = test_client("sqs", &sqs, &counters).with_json_1_0();
            watcher.ecs = test_client("ecs", &ecs, &counters);
            // Each has a stub of its own, and the ranks are by the queue, which is one.
            watcher.election = Some(Election::new("jobs", Some(arns[own]), 1).into());
            let mut each = Vec::new();
            for _ in 0..3 {
                watcher.pass().await;
                each.push(
                    told(&store)
                        .iter()
                        .filter_map(|told| told.rsplit_once("\"Count\" ").map(|(_, sum)| sum.to_owned()))
                        .collect::<Vec<_>>(),
                );
            }
            told_by.push(each);
            let asked: Vec<_> =
                ecs.seen().iter().map(|request| request.header("x-amz-target").map(str::to_owned)).collect();
            assert_eq!(asked, vec![Some("AmazonEC2ContainerServiceV20141113.ListTasks".to_owned()); 4]);
            let second: serde_json::Value = serde_json::from_slice(&ecs.seen()[1].body).expect("JSON");
            assert_eq!(
                second,
                json!({"cluster": "shop", "serviceName": "cart", "desiredStatus": "RUNNING", "nextToken": "more"})
            );
        }
        // The last minute has one task, and each of the two believes that it is the one that is left.
        told_by.sort();
        assert_eq!(
            told_by,
            [
                [vec![], vec![], vec!["9 of 1".to_owned()]],
                [vec!["5 of 1".to_owned()], vec!["4 of 1".to_owned()], vec!["7 of 1".to_owned()]]
            ]
        );
    }

    #[test]
    fn what_nobody_knows_keeps_the_input_from_working_and_is_said() {
        let (store, counters) = (Store::default(), Counters::new());
        let access = Access::new(&Settings::default(), &counters);
        let task = Metadata::default();
        let means = Means { store: &store, seconds: Seconds::new(), counters: &counters, access: &access, task: &task };
        for (settings, why) in [
            (json!({"sqs": "https://sqs.eu-west-1.amazonaws.com/1/q"}), "no cluster is known"),
            (json!({"sqs": "https://sqs.eu-west-1.amazonaws.com/1/q", "cluster": "shop"}), "no service is known"),
            (json!({"sqs": "http://127.0.0.1:1/1/q", "cluster": "shop", "service": "cart"}), "region"),
        ] {
            let settings = serde_json::from_value(settings).expect("settings");
            let told = Watcher::open(&settings, "queue.0", true, &means).err().expect("it cannot");
            assert!(told.contains(why), "{told}");
        }
    }
}
