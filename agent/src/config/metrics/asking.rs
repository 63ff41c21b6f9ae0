//! What is wrong with the inputs that ask.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting.

use std::time::Duration;

use super::{Check, Path, check_namespace, check_publish, check_span};
use crate::{
    aws::queue::place_of,
    limits::SCRAPE_TARGETS_MAX,
    metrics::{queue::settings::Queue, relabel::Rules, scrape::settings::Scrape, task::settings::TaskStats},
    units::ByteSize,
};

/// How often a target is scraped: Prometheus' own least, and CloudWatch's coarsest period for alarms of that kind.
const SCRAPE_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));
/// The shortest time for an answer.
const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The smallest exposition that may be the largest, and the largest.
const SCRAPE_BYTES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mebibytes(64));
/// Rules: each is asked once for each new spelling of a series.
const RULES_MAX: usize = 64;
/// How often is looked at the stats, which ECS refreshes each second and throttles at 40 a second for all tasks of a host.
const TASK_EVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(300));

pub(super) fn check_scrape(scrape: &Scrape, path: &Path, check: &mut Check<'_>) {
    check_span(scrape.every, SCRAPE_EVERY, &path.key("every"), "give 1s to 1h", check);
    let hint = "give 100ms to what `every` is";
    check_span(scrape.timeout, (TIMEOUT_MIN, scrape.every()), &path.key("timeout"), hint, check);
    let (least, most) = SCRAPE_BYTES;
    if let Some(bytes) = scrape.bytes_max.filter(|bytes| !(least..=most).contains(bytes)) {
        check.error(&path.key("bytes_max"), format!("`{bytes}` is not in range"), &format!("give {least} to {most}"));
    }
    if scrape.targets.len() > SCRAPE_TARGETS_MAX {
        check.error(&path.key("targets"), format!("more than {SCRAPE_TARGETS_MAX} targets"), "use a second input");
    }
    if scrape.relabel.len() > RULES_MAX {
        check.error(
            &path.key("relabel"),
            format!("more than {RULES_MAX} rules"),
            "join some by `|` in their expressions",
        );
    }
    for (place, why) in Rules::new(&scrape.relabel).err().into_iter().flatten() {
        check.error(&path.key("relabel").item(place), why.to_string(), "");
    }
    check_publish(&scrape.publish, &path.key("publish"), check);
}

pub(super) fn check_task(task: &TaskStats, path: &Path, check: &mut Check<'_>) {
    check_span(task.every, TASK_EVERY, &path.key("every"), "give 5s to 5m", check);
    check_namespace(task.namespace.as_deref(), &path.key("namespace"), check);
}

pub(super) fn check_queue(queue: &Queue, path: &Path, check: &mut Check<'_>) {
    if let Err(why) = place_of(&queue.sqs) {
        check.error(&path.key("sqs"), format!("cannot be asked: {why}"), "");
    }
    check_namespace(queue.namespace.as_deref(), &path.key("namespace"), check);
    let (latency, each) = (queue.acceptable_latency, queue.processing_time);
    if latency.is_some() != each.is_some() {
        let missing = if latency.is_none() { "acceptable_latency" } else { "processing_time" };
        check.error(&path.key(missing), "is missing, so that no target can be told", "give both, or none");
    }
    if each.is_some_and(|each| each.0.is_zero()) {
        check.error(&path.key("processing_time"), "is nothing", "say how long a task works on a message");
    }
}
