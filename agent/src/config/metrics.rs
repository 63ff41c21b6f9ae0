//! What is wrong with the section `metrics`, beyond what its types can say.
//!
//! Promises: every problem names the line and path of the field that should change.
//! Never: changes a setting.

mod asking;
mod records;

use std::{path, time::Duration};

use super::{
    checking::{Check, Common, Protection, is_region},
    node::Path,
    traces::{self, check_backend},
};
use crate::{
    metrics::{
        self,
        declared::{DECLARATIONS_MAX, Declared},
        settings::{ALL, Deliver, Destination, Emf, Input, Metrics, Publish, Statsd},
        statsd::mapping::Mappings,
    },
    otlp::walk::Signal,
    units::{ByteSize, Span},
};

/// The least that the kernel may keep, and the most.
const RECEIVE_BYTES: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize::mebibytes(64));
/// The shortest time between flushes, and the longest.
const FLUSH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3_600));
/// The shortest time after which series are forgotten, and the longest.
const FORGET: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(7 * 86_400));
/// Characters of a namespace (API reference of `PutMetricData`).
const NAMESPACE_MAX: usize = 255;
/// Dimensions of a metric (the same).
const DIMENSIONS_MAX: usize = 30;
/// Buckets of a histogram: each is a line on the page for each series.
const BUCKETS_MAX: usize = 64;
/// Rules: each is asked once for each new spelling of a series.
const MAPPINGS_MAX: usize = 256;

/// Looks at the whole section.
pub(super) fn check(section: &Metrics, check: &mut Check<'_>) {
    if section.inputs.is_empty() && !section.outputs.is_empty() {
        let hint = "name an input, for example `- statsd: {}`";
        check.warning(&Path::of("metrics.outputs"), "nothing can come in", hint);
    }
    check_span(section.flush_every, FLUSH, &Path::of("metrics.flush_every"), "give 1s to 1h", check);
    check_span(section.forget_after, FORGET, &Path::of("metrics.forget_after"), "give 1m to 7d", check);
    for (input, path) in section.inputs.iter().zip(check.items("metrics.inputs")) {
        match input {
            Input::Statsd(statsd) => check_statsd(statsd, &path.key("statsd"), check),
            Input::Emf(emf) => check_emf(emf, &path.key("emf"), !section.outputs.is_empty(), check),
            Input::Logs(records) => records::check_records(records, &path.key("logs"), check),
            Input::Otlp(otlp) => {
                let path = path.key("otlp");
                // A request waits for no disk: `ack` is not looked at.
                traces::check_otlp(&otlp.listen, true, &path.key("listen"), check);
                check_publish(&otlp.publish, &path.key("publish"), check);
            }
            Input::Scrape(scrape) => asking::check_scrape(scrape, &path.key("scrape"), check),
            Input::Task(task) => asking::check_task(task, &path.key("task"), check),
            Input::Queue(queue) => asking::check_queue(queue, &path.key("queue"), check),
        }
    }
    let counted = section.inputs.iter().zip(check.items("metrics.inputs"));
    for (_, path) in counted.filter(|(input, _)| matches!(input, Input::Logs(_))).skip(1) {
        check.error(&path.key("logs"), "is there twice", "write all rules into one");
    }
    let names = metrics::job::names(&section.outputs);
    for ((output, path), name) in section.outputs.iter().zip(check.items("metrics.outputs")).zip(names) {
        let (own, spool_bytes_max) = (output.name.as_deref(), output.spool_bytes_max);
        check.output(Common { name, own, spool_bytes_max }, &path);
        let config = match &output.to {
            Destination::Cloudwatch(config) => config,
            // Whether an output of the logs takes its documents is seen where both are known.
            Destination::Emf(_) => continue,
            Destination::Otlp(config) => {
                check_backend(config, Signal::Metrics, &path.key("to").key("otlp"), check);
                continue;
            }
        };
        if config.region.as_deref().is_some_and(|region| !is_region(region)) {
            let path = path.key("to").key("cloudwatch").key("region");
            check.error(&path, "not a region", "write for example `eu-west-1`");
        }
    }
}

fn check_span(span: Option<Span>, (least, most): (Duration, Duration), path: &Path, hint: &str, check: &mut Check<'_>) {
    if let Some(Span(span)) = span
        && (span < least || span > most)
    {
        check.error(path, format!("{span:?} is not in range"), hint);
    }
}

fn check_statsd(statsd: &Statsd, path: &Path, check: &mut Check<'_>) {
    check.listener(statsd.udp_address(), &path.key("udp"), Protection::None);
    let (least, most) = RECEIVE_BYTES;
    if !(least..=most).contains(&statsd.receive()) {
        let what = format!("`{}` is not in range", statsd.receive());
        check.error(&path.key("receive_bytes"), what, &format!("give {least} to {most}"));
    }
    for (name, socket) in [("unix", &statsd.unix), ("unix_stream", &statsd.unix_stream)] {
        if let Some(socket) = socket {
            check_socket(socket, &path.key(name), check);
        }
    }
    if statsd.udp_address().is_none() && statsd.unix.is_none() && statsd.unix_stream.is_none() {
        check.error(path, "listens nowhere", "leave out `udp`, or give `unix` or `unix_stream`");
    }
    if statsd.mappings.len() > MAPPINGS_MAX {
        check.error(&path.key("mappings"), format!("more than {MAPPINGS_MAX} rules"), "join some by stars");
    }
    if let Err((place, error)) = Mappings::new(&statsd.mappings) {
        let path = path.key("mappings").item(place).key("match");
        check.error(&path, error.to_string(), "write for example `shop.*.orders`, or a regular expression");
    }
    check_publish(&statsd.publish, &path.key("publish"), check);
}

fn check_emf(emf: &Emf, path: &Path, has_outputs: bool, check: &mut Check<'_>) {
    if emf.deliver == Deliver::Metrics && !has_outputs {
        let hint = "name an output, for example `- to: {cloudwatch: {}}`, or leave it to the logs";
        check.error(&path.key("deliver"), "there is no output for metrics", hint);
    }
    check_publish(&emf.publish(), path, check);
}

fn check_socket(socket: &path::Path, path: &Path, check: &mut Check<'_>) {
    if !socket.is_absolute() {
        check.error(path, "is not an absolute path", "write for example `/var/run/pillion/statsd.sock`");
    }
    if let Some(other) = check.sockets.insert(socket.to_owned(), path.clone()) {
        let what = format!("`{}` is the socket of `{other}` too", socket.display());
        check.error(path, what, "give each listener a path of its own");
    }
}

fn check_namespace(namespace: Option<&str>, path: &Path, check: &mut Check<'_>) {
    let Some(namespace) = namespace else { return };
    let is_good = (1..=NAMESPACE_MAX).contains(&namespace.len())
        && namespace.bytes().all(|byte| (b' '..=b'~').contains(&byte))
        && !namespace.starts_with(':')
        && !namespace.trim().is_empty();
    if !is_good {
        let hint = "use 1 to 255 characters of ASCII, not beginning with a colon";
        check.error(path, "not a namespace of CloudWatch", hint);
    }
    if namespace.starts_with("AWS/") {
        check.error(path, "begins with `AWS/`, which is AWS's own", "choose another one");
    }
}

fn check_publish(publish: &Publish, path: &Path, check: &mut Check<'_>) {
    check_namespace(publish.namespace.as_deref(), &path.key("namespace"), check);
    let dimensions = publish.dimensions.iter().filter(|name| *name != ALL).count() + publish.fixed_dimensions.len();
    if dimensions > DIMENSIONS_MAX {
        let what = format!("{dimensions} dimensions, and CloudWatch takes {DIMENSIONS_MAX}");
        check.error(&path.key("dimensions"), what, "leave some out");
    }
    if publish.dimensions.iter().chain(publish.fixed_dimensions.keys()).any(|name| name.trim().is_empty()) {
        check.error(&path.key("dimensions"), "a name is empty", "write the name of a label");
    }
    let declarations = path.key("declarations");
    if let Err((place, why)) = Declared::new(&publish.declarations) {
        check.error(&declarations.item(place), why, "write expressions of RE2's kind");
    }
    if publish.declarations.len() > DECLARATIONS_MAX {
        let what = format!("{} declarations", publish.declarations.len());
        check.error(&declarations, what, &format!("write {DECLARATIONS_MAX} at most"));
    }
    if !publish.declarations.is_empty() && !publish.dimensions.is_empty() {
        check.error(&path.key("dimensions"), "stands beside `declarations`", "write the one or the other");
    }
    let rises = publish.buckets.is_sorted_by(|a, b| a < b) && publish.buckets.iter().all(|bound| bound.is_finite());
    if !rises || publish.buckets.len() > BUCKETS_MAX {
        let what = format!("not at most {BUCKETS_MAX} rising numbers");
        check.error(&path.key("buckets"), what, "write for example `[0.1, 1, 10]`");
    }
}
