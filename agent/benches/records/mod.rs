//! What the benches of the hot path have in common: records as Docker's driver sends them, and a router to CloudWatch Logs.
//!
//! Promises: CPU time of this thread in nanoseconds from the kernel's accounting.
//! Never: touches the network; batches are given up as memory fills.

use std::{fs, sync::Arc};

use aws_credential_types::Credentials as Keys;
use pillion::{
    aws::{Client, Clock, Credentials, Endpoint},
    deliver::{self, Rules, books::Books, budget::Budget},
    ecs::Metadata,
    logs::{
        filter::{Filter, record_modifier},
        forward::usual::{self, Usual},
        out::{Sink, cloudwatch},
        pattern::Pattern,
        record::{EventTime, Record},
        route::{Branch, Router},
        settings,
    },
    net::{http::HttpClient, tls::Tls},
    tell::counters::Counters,
};

/// Records of a chunk.
pub(crate) const RECORDS: usize = 2_000;
/// The kernel counts in ticks of 4 ms while a thread does not sleep: with so many that is 2 ns a record.
const PASSES: usize = 1_000;

/// The one in the middle.
pub(crate) fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// What `pass` takes for each record of a chunk, in nanoseconds.
pub(crate) fn per_record(mut pass: impl FnMut()) -> f64 {
    let before = cpu_nanoseconds();
    for _ in 0..PASSES {
        pass();
    }
    (cpu_nanoseconds() - before) as f64 / (PASSES * RECORDS) as f64
}

/// CPU time of this thread so far.
pub(crate) fn cpu_nanoseconds() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has schedstat");
    text.split(' ').next().and_then(|field| field.parse().ok()).expect("the first field is a number")
}

/// Reads, filters and encodes all records.
pub(crate) fn route(router: &Router, chunk: &[u8]) {
    let mut rest = chunk;
    let route = router.route(b"web-firelens-0123456789abcdef0123456789abcdef");
    let mut record = Record::default();
    let mut pass = route.begin();
    while let Some(Usual { length, .. }) = usual::usual(rest, &mut record) {
        pass.push_one(&mut record, EventTime::default());
        rest = &rest[length..];
    }
    assert!(rest.is_empty(), "only usual messages");
}

/// What ECS generates: one filter, one output.
pub(crate) fn router() -> Router {
    let counters = Counters::new();
    let config = cloudwatch::Config {
        group: Some("bench".to_owned()),
        stream_prefix: Some("s-".to_owned()),
        ..cloudwatch::Config::default()
    };
    let credentials = Credentials::from_provider(Keys::new("a", "b", None, None, "bench"), Clock::system());
    let endpoint = Endpoint::parse("http://127.0.0.1:1", None, "us-east-1").expect("an address");
    let client = Client::new("logs", endpoint, credentials, HttpClient::new(&Tls::new(None), &Counters::new()));
    let budget = Budget::new(8 << 20, 1);
    let destination = Arc::new(cloudwatch::CloudWatch::new(client, &config));
    let (output, _engine) = deliver::deliver("cloudwatch.0", destination, Rules::default(), &budget, &counters);
    let naming = cloudwatch::Naming::new(&config, &Metadata::default(), "").expect("good names");
    let truncated = counters.logs_truncated_records.with_label_values(&["cloudwatch.0"]);
    let sink = Sink::Cloudwatch(cloudwatch::Sink::new(output, naming, cloudwatch::Message::Record, truncated));
    let records = [
        ("ecs_cluster", "mycluster"),
        ("ecs_task_arn", "arn:aws:ecs:us-east-1:123456789012:task/mycluster/0123456789abcdef0123456789abcdef"),
        ("ecs_task_definition", "web:7"),
    ];
    let modifier = record_modifier::Config {
        records: records.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
        ..record_modifier::Config::default()
    };
    let filter = Filter::new(&settings::Filter::RecordModifier(modifier)).expect("a good filter");
    let branch = Branch { name: "cloudwatch.0".into(), pattern: Pattern::default(), sink };
    Router::new(vec![filter], vec![branch], Books::default(), counters)
}

/// Messages as Docker's driver sends them: four fields in random order, a line of about 210 bytes.
pub(crate) fn chunk() -> Vec<u8> {
    chunk_of(line)
}

/// The same with lines of one's own.
pub(crate) fn chunk_of(mut line: impl FnMut(&mut fastrand::Rng, usize) -> String) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut chunk = Vec::new();
    for number in 0..RECORDS {
        let line = line(&mut random, number);
        let mut fields = [
            ("container_id", "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef".to_owned()),
            ("container_name", "/ecs-web-7-web-0123456789abcdef".to_owned()),
            ("source", "stdout".to_owned()),
            ("log", line),
        ];
        random.shuffle(&mut fields);
        chunk.push(0x94);
        text(&mut chunk, "web-firelens-0123456789abcdef0123456789abcdef");
        chunk.extend([0xd7, 0x00]);
        chunk.extend((1_700_000_000u32 + number as u32 / 1_000).to_be_bytes());
        chunk.extend((number as u32 % 1_000 * 1_000_000).to_be_bytes());
        chunk.push(0x84);
        for (key, value) in fields {
            text(&mut chunk, key);
            text(&mut chunk, &value);
        }
        chunk.push(0x80);
    }
    chunk
}

/// A line of about 210 bytes, text or JSON.
pub(crate) fn line(random: &mut fastrand::Rng, number: usize) -> String {
    const WORDS: [&str; 8] = ["order", "accepted", "customer", "GET /api/v1/items", "200", "took", "ms", "cache miss"];
    let mut words = String::new();
    while words.len() < 60 + random.usize(..120) {
        words.push_str(WORDS[random.usize(..WORDS.len())]);
        words.push(' ');
    }
    match number % 10 {
        0..=5 => format!("2026-11-20T12:00:00.123Z INFO shop.orders [req-{number:08}] {words}"),
        _ => format!(
            "{{\"level\":\"info\",\"time\":\"2026-11-20T12:00:00.123Z\",\"request\":\"{number:08}\",\"message\":\"{words}\"}}"
        ),
    }
}

fn text(chunk: &mut Vec<u8>, text: &str) {
    let length = text.len();
    match length {
        0..=31 => chunk.push(0xa0 | length as u8),
        32..=255 => chunk.extend([0xd9, length as u8]),
        _ => {
            chunk.push(0xda);
            chunk.extend((length as u16).to_be_bytes());
        }
    }
    chunk.extend_from_slice(text.as_bytes());
}
