//! Looks at the stats once in a while.
//!
//! Promises: a look ends within its time; one that fails is counted, said once in ten minutes, and bridged by the next.
//! Never: asks through a proxy, or anybody but the endpoint that ECS names.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Request, StatusCode};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{
    document::{Stats, Task},
    events::events,
    measure::{Figures, Measured, Meter},
    names::dimensions,
    settings::TaskStats,
};
use crate::{
    limits::{METADATA_BYTES_MAX, METADATA_TIMEOUT},
    metrics::{
        Seconds,
        out::emf::Way,
        rhythm::until_next,
        settings::Publish,
        store::{
            Store, Writing,
            key::{Key, Kind, Publication, SourceId},
        },
    },
    net::http::{Bounds, HttpClient},
    tell::{RateLimited, counters::Counters},
};

/// Where in its interval a look stands: near the end, so that the minute that is flushed has its own figures.
const PLACE: f64 = 0.9;
/// How long the last look may take.
const LAST_TIMEOUT: Duration = Duration::from_secs(1);
const WARN_EVERY: Duration = Duration::from_secs(600);

/// What the input needs of the rest of the agent.
pub struct Means<'a> {
    /// Where samples go.
    pub store: &'a Store,
    /// Its clock.
    pub seconds: Seconds,
    /// To ask with.
    pub http: &'a HttpClient,
    /// To count.
    pub counters: &'a Counters,
    /// How performance events go, if they are wanted.
    pub way: &'a Way,
}

/// Looks at one endpoint.
pub struct Looker {
    input: String,
    uri: String,
    settings: TaskStats,
    meter: Mutex<Meter>,
    source: SourceId,
    store: Store,
    seconds: Seconds,
    http: HttpClient,
    counters: Counters,
    warned: RateLimited,
    way: Way,
}

impl Looker {
    /// Looks at the endpoint at `uri` (the value of `ECS_CONTAINER_METADATA_URI_V4`).
    pub fn new(settings: &TaskStats, input: &str, uri: &str, is_sent: bool, means: &Means<'_>) -> Self {
        let publish = Publish { namespace: Some(settings.namespace().to_owned()), ..Publish::default() };
        // CloudWatch would have them twice.
        let is_sent = is_sent && settings.namespace_of_events().is_none();
        Self {
            input: input.to_owned(),
            uri: uri.trim_end_matches('/').to_owned(),
            settings: settings.clone(),
            meter: Mutex::default(),
            source: means.store.source(publish.policy(is_sent)),
            store: means.store.clone(),
            seconds: means.seconds,
            http: means.http.clone(),
            counters: means.counters.clone(),
            warned: RateLimited::new(WARN_EVERY),
            way: Arc::clone(means.way),
        }
    }

    /// Looks until `stopping`, and then once more, unless `closing`.
    pub async fn run(&self, stopping: CancellationToken, closing: CancellationToken) {
        let every = self.settings.every();
        loop {
            self.look().await;
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let wait = sleep(until_next(since_1970, every, every.mul_f64(PLACE)));
            if stopping.run_until_cancelled(wait).await.is_none() {
                break;
            }
        }
        closing.run_until_cancelled(timeout(LAST_TIMEOUT, self.look())).await;
    }

    /// One look.
    pub(super) async fn look(&self) {
        let (task, stats) = tokio::join!(self.document("task", Task::read), self.document("task/stats", Stats::read));
        let (Some(task), Some(stats)) = (task, stats) else {
            if let Some(suppressed) = self.warned.allow(Instant::now()) {
                warn!(input = self.input, suppressed, "the stats of the task are not told");
            }
            return;
        };
        let measured = self.meter.lock().unwrap_or_else(PoisonError::into_inner).measure(&task, &stats);
        let count = |reason: &str, count: usize| {
            if count > 0 {
                self.counters.metrics.rejected.with_label_values(&[&*self.input, reason]).inc_by(count as u64);
            }
        };
        count("unreadable", stats.unreadable);
        count("silent", measured.silent);
        self.write(&task, &measured);
        if self.settings.performance_events.is_some() {
            self.tell(&task, &stats, &measured);
        }
    }

    fn tell(&self, task: &Task, stats: &Stats, measured: &Measured) {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
        let events = events((task, stats), measured, now, self.settings.namespace_of_events());
        // The first look, which makes no event, is all that may end before the logs run.
        if let Some(way) = self.way.get().filter(|_| !events.is_empty()) {
            way.send(&events);
        }
    }

    async fn document<T>(&self, path: &'static str, read: fn(&[u8]) -> Option<T>) -> Option<T> {
        let found = self.asked(path).await.and_then(|body| read(&body));
        let outcome = if found.is_some() { "success" } else { "failed" };
        self.counters.metrics.asked.with_label_values(&[&*self.input, path, outcome]).inc();
        found
    }

    async fn asked(&self, path: &str) -> Option<Bytes> {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = format!("{}/{path}", self.uri).parse().ok()?;
        let bounds = Bounds { time: METADATA_TIMEOUT, answer_bytes: METADATA_BYTES_MAX };
        let answer = self.http.send_within(request, bounds).await.ok()?;
        (answer.status() == StatusCode::OK).then(|| answer.into_body())
    }

    fn write(&self, task: &Task, measured: &Measured) {
        let mut writing = self.store.writing(self.seconds.now());
        self.figures(&measured.task, (task, None), &mut writing);
        for (name, figures) in &measured.containers {
            self.figures(figures, (task, Some(name)), &mut writing);
        }
    }

    fn figures(&self, figures: &Figures, (task, container): (&Task, Option<&str>), writing: &mut Writing<'_>) {
        let names = self.settings.names();
        let is_sent = container.is_none() || self.settings.containers.unwrap_or(true);
        let sets = dimensions(task, names, container);
        let sets: Vec<&[(&str, &str)]> = sets.iter().filter(|_| is_sent).map(Vec::as_slice).collect();
        let labels: Vec<_> = container.map(|name| ("container_name", name)).into_iter().collect();
        for metric in figures.metrics(names, container.is_some()) {
            let publication =
                Publication::Own { namespace: self.settings.namespace(), sets: &sets, is_high_resolution: false };
            let key = Key {
                source: self.source,
                name: &metric.name,
                shown: Some(&metric.shown),
                kind: metric.kind,
                unit: metric.unit,
                labels: &labels,
                publication,
            };
            let Some(series) = writing.series(&key) else { continue };
            match metric.kind {
                Kind::Counter => writing.add(series, metric.value),
                _ => writing.set(series, metric.value),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metrics::store::{Shown, ShownValue, Window},
        net::{
            stub::{Stub, answer},
            tls::Tls,
        },
    };

    fn stats(second: u32, received: u32) -> String {
        let stats = serde_json::json!({"app-1": {
            "read": format!("2026-11-28T10:00:{second:02}Z"), "preread": "0001-01-01T00:00:00Z",
            "cpu_stats": {"cpu_usage": {"total_usage": u64::from(second) * 500_000_000}},
            "memory_stats": {"usage": 104_857_600_u64, "stats": {"inactive_file": 0}},
            "networks": {"eth0": {"rx_bytes": received, "tx_bytes": 0}},
        }});
        answer("200 OK", "", &stats.to_string())
    }

    /// Both documents are asked for together, on connections of their own.
    fn endpoint(stats: [String; 2]) -> Stub {
        let task = serde_json::json!({
            "Cluster": "shop", "ServiceName": "cart", "Limits": {"CPU": 1.0, "Memory": 200},
            "Containers": [{"DockerId": "app-1", "Name": "app", "Networks": [{"NetworkMode": "bridge"}]}],
        });
        let stats = Mutex::new(stats.into_iter());
        Stub::handling(move |stream| {
            let mut reader = std::io::BufReader::new(stream.try_clone()?);
            loop {
                let head = crate::net::stub::read_head(&mut reader)?;
                let reply = match head.first().map(String::as_str) {
                    None => return Ok(()),
                    Some("GET /v4/x/task HTTP/1.1") => answer("200 OK", "", &task.to_string()),
                    Some("GET /v4/x/task/stats HTTP/1.1") => {
                        stats.lock().expect("not poisoned").next().unwrap_or_else(|| answer("500 Oh", "", ""))
                    }
                    Some(_) => answer("404 Not Found", "", ""),
                };
                std::io::Write::write_all(&mut &stream, reply.as_bytes())?;
            }
        })
    }

    /// What CloudWatch gets, and what `/metrics` shows.
    #[tokio::test]
    async fn the_stats_of_a_task_become_metrics() {
        let stub = endpoint([stats(10, 1_000), stats(40, 1_600)]);
        let (store, counters) = (Store::default(), Counters::new());
        let http = HttpClient::new(&Tls::new(None), &counters);
        let means =
            Means { store: &store, seconds: Seconds::new(), http: &http, counters: &counters, way: &Way::default() };
        let looker = Looker::new(&TaskStats::default(), "task.0", &format!("{}/v4/x/", stub.url()), true, &means);
        looker.look().await;
        looker.look().await;
        looker.look().await;
        let asked = |asked, outcome| counters.metrics.asked.with_label_values(&["task.0", asked, outcome]).get();
        assert_eq!(
            (asked("task", "success"), asked("task/stats", "success"), asked("task/stats", "failed")),
            (3, 2, 1)
        );

        let mut sent = Vec::new();
        let mut flush = store.flush();
        while flush.next(|namespace, datum| {
            assert_eq!(namespace, "ECS/Sidecar");
            let head: serde_json::Value = serde_json::from_str(&format!("{{{}}}", datum.head)).expect("members");
            let values = head["Dimensions"].as_array().expect("dimensions").iter().map(|one| one["Value"].to_string());
            let value = match &datum.window {
                Window::Sum(sum) => *sum,
                Window::Values(values) => values.greatest(),
                other => panic!("{other:?}"),
            };
            sent.push(
                format!("{} {} {value}", head["MetricName"], values.collect::<Vec<_>>().join(" ")).replace('"', ""),
            );
        }) {}
        sent.sort();
        let of = |name: &str| sent.iter().filter(|sent| sent.starts_with(name)).cloned().collect::<Vec<_>>();
        assert_eq!(of("CpuUtilization"), ["CpuUtilization shop app cart 50", "CpuUtilization shop cart 50"]);
        assert_eq!(of("MemoryUtilized"), ["MemoryUtilized shop app cart 100", "MemoryUtilized shop cart 100"]);
        assert_eq!(of("NetworkRxBytes"), ["NetworkRxBytes shop app cart 600", "NetworkRxBytes shop cart 600"]);

        let (mut shown, mut family) = (Vec::new(), String::new());
        store.show(|one| match one {
            Shown::Family { name, .. } => name.clone_into(&mut family),
            Shown::Series { labels, value: ShownValue::Number(number), .. } => {
                shown.push(format!("{family}{{{labels}}} {number}"));
            }
            Shown::Series { .. } => {}
        });
        assert!(shown.contains(&"ecs_task_cpu_utilized_units{} 512".to_owned()), "{shown:?}");
        assert!(
            shown.contains(&"ecs_container_network_received_bytes{container_name=\"app\"} 600".to_owned()),
            "{shown:?}"
        );
    }
}
