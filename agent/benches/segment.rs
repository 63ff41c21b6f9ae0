//! What it costs to make a segment of a span, and spans of a segment.
//!
//! ```text
//! cargo bench -p pillion --bench segment
//! ```
//!
//! Promises: CPU time of this thread, the median of five rounds; the spans are those of a web service on ECS: a request served,
//! a query, a call of an AWS service, and a request that failed with a stack trace. The way back takes the segments that they became, and one
//! with two subsegments and a chain of others as the X-Ray SDK sends it.
//! Never: touches the network.

use std::io::Write as _;

use pillion::{
    otlp::wire::{begin, end, put_bytes, put_fixed64, put_uint},
    traces::{
        from_segment,
        segment::{Mapper, Resource},
    },
};

const ROUNDS: usize = 5;
const SPANS: u32 = 50_000;

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let group = group();
    let served = span(2, &SERVED);
    let stack = format!("Error: no\n{}", "    at handle (/app/src/web/handler.js:10:5)\n".repeat(12));
    let mut failed = span(2, &SERVED);
    let event = begin(&mut failed, 11);
    put_bytes(&mut failed, 2, b"exception");
    attribute(&mut failed, 3, "exception.message", "no");
    attribute(&mut failed, 3, "exception.stacktrace", &stack);
    end(&mut failed, event);
    for (name, span) in
        [("served", &served), ("query", &span(3, &QUERY)), ("call", &span(3, &CALL)), ("failed, with a stack", &failed)]
    {
        let mut mapper = Mapper::default();
        let resource = Resource::read(&group);
        let mut bytes = 0;
        let cost = cost(|| mapper.map(&resource, span, |document, _| bytes = document.len()).expect("ids"));
        writeln!(out, "{name}: {} bytes become {bytes}, {cost} ns", span.len())?;
        let mut document = Vec::new();
        mapper.map(&resource, span, |made, _| document = made.to_vec()).expect("ids");
        back(&mut out, name, &document)?;
    }
    back(&mut out, "of the sdk, three deep", sdk(3, 1).as_bytes())?;
    back(&mut out, "of the sdk, fifteen deep", sdk(15, 1).as_bytes())?;
    back(&mut out, "of the sdk, forty beside each other", sdk(1, 40).as_bytes())
}

/// The way back.
fn back(out: &mut impl std::io::Write, name: &str, document: &[u8]) -> std::io::Result<()> {
    let (mut services, mut request, mut spans) = (from_segment::Services::default(), Vec::new(), 0);
    let cost = cost(|| {
        request.clear();
        spans = from_segment::request(document, &mut services, &mut request, &mut |why| panic!("{}", why.label()));
    });
    let each = cost / spans.max(1) as u64;
    writeln!(
        out,
        "  back, {name}: {} bytes become {spans} spans of {} bytes, {cost} ns, {each} ns a span",
        document.len(),
        request.len()
    )
}

/// A segment with so many chains of subsegments, each so deep.
fn sdk(depth: usize, wide: usize) -> String {
    let mut number = 0;
    let mut chain = || {
        (0..depth).fold(String::new(), |inner, _| {
            number += 1;
            let inner = if inner.is_empty() { inner } else { format!(",\"subsegments\":[{inner}]") };
            format!(
                "{{\"id\":\"{number:016x}\",\"name\":\"DynamoDB\",\"namespace\":\"aws\",\"start_time\":1700000000.25,\
                 \"end_time\":1700000000.5,\"http\":{{\"response\":{{\"status\":200,\"content_length\":61}}}},\
                 \"aws\":{{\"operation\":\"GetItem\",\"region\":\"eu-west-1\",\"table_name\":\"orders\",\
                 \"request_id\":\"8F3EQ8F3EQ8F3EQ8F3EQ8F3EQ8F3EQVV4KQNSO5AEMVJF66Q9ASUAAJG\",\"retries\":1}}{inner}}}"
            )
        })
    };
    let chains: Vec<_> = (0..wide).map(|_| chain()).collect();
    format!(
        "{{\"name\":\"shop\",\"id\":\"70de5b6f19ff9a0a\",\"trace_id\":\"1-581cf771-a006649127e371903a2de979\",\
         \"start_time\":1700000000.125,\"end_time\":1700000000.75,\"http\":{{\"request\":{{\"method\":\"GET\",\
         \"url\":\"https://shop.example.com/orders/1234\",\"client_ip\":\"192.0.2.17\"}},\"response\":{{\"status\":200}}}},\
         \"annotations\":{{\"tenant\":\"blue\",\"items\":3}},\"subsegments\":[{}]}}",
        chains.join(",")
    )
}

/// Nanoseconds of one `run`.
fn cost(mut run: impl FnMut()) -> u64 {
    let mut times: Vec<u64> = (0..ROUNDS)
        .map(|_| {
            let begun = cpu();
            for _ in 0..SPANS {
                run();
            }
            (cpu() - begun) / u64::from(SPANS)
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn cpu() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    (time.tv_sec * 1_000_000_000 + time.tv_nsec) as u64
}

const SERVED: [(&str, &str); 12] = [
    ("http.request.method", "GET"),
    ("url.scheme", "https"),
    ("url.path", "/orders/1234"),
    ("url.query", "expand=items"),
    ("server.address", "shop.example.com"),
    ("server.port", "443"),
    ("http.response.status_code", "200"),
    ("http.route", "/orders/:id"),
    ("user_agent.original", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
    ("client.address", "192.0.2.17"),
    ("network.protocol.version", "1.1"),
    ("tenant", "blue"),
];

const QUERY: [(&str, &str); 6] = [
    ("db.system.name", "postgresql"),
    ("db.namespace", "orders"),
    ("db.query.text", "SELECT id, total, created_at FROM orders WHERE customer = $1 ORDER BY created_at DESC LIMIT 20"),
    ("db.operation.name", "SELECT"),
    ("server.address", "db.internal"),
    ("server.port", "5432"),
];

const CALL: [(&str, &str); 8] = [
    ("rpc.system", "aws-api"),
    ("rpc.service", "DynamoDB"),
    ("rpc.method", "GetItem"),
    ("aws.region", "eu-west-1"),
    ("aws.request_id", "8F3EQ8F3EQ8F3EQ8F3EQ8F3EQ8F3EQVV4KQNSO5AEMVJF66Q9ASUAAJG"),
    ("aws.table_name", "orders"),
    ("http.response.status_code", "200"),
    ("aws.remote.service", "AWS.SDK.DynamoDB"),
];

fn attribute(out: &mut Vec<u8>, number: u32, name: &str, value: &str) {
    let begun = begin(out, number);
    put_bytes(out, 1, name.as_bytes());
    let any = begin(out, 2);
    match value.parse() {
        Ok(number) => put_uint(out, 3, number),
        Err(_) => put_bytes(out, 1, value.as_bytes()),
    }
    end(out, any);
    end(out, begun);
}

fn span(kind: u64, attributes: &[(&str, &str)]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, &[0x65; 16]);
    put_bytes(&mut out, 2, &[1; 8]);
    put_bytes(&mut out, 4, &[2; 8]);
    put_bytes(&mut out, 5, b"GET /orders/:id");
    put_uint(&mut out, 6, kind);
    put_fixed64(&mut out, 7, 1_700_000_000_123_456_789);
    put_fixed64(&mut out, 8, 1_700_000_000_223_456_789);
    attributes.iter().for_each(|(name, value)| attribute(&mut out, 9, name, value));
    out
}

fn group() -> Vec<u8> {
    let mut out = Vec::new();
    let begun = begin(&mut out, 1);
    for (name, value) in [
        ("service.name", "orders"),
        ("service.version", "2.14.0"),
        ("telemetry.sdk.name", "opentelemetry"),
        ("telemetry.sdk.language", "nodejs"),
        ("telemetry.sdk.version", "1.30.0"),
        ("cloud.provider", "aws"),
        ("cloud.platform", "aws_ecs"),
        ("cloud.region", "eu-west-1"),
        ("cloud.account.id", "123456789012"),
        ("aws.ecs.task.arn", "arn:aws:ecs:eu-west-1:123456789012:task/shop/8f3e8f3e8f3e8f3e8f3e8f3e8f3e8f3e"),
        ("aws.ecs.cluster.arn", "arn:aws:ecs:eu-west-1:123456789012:cluster/shop"),
        ("aws.ecs.launchtype", "fargate"),
        ("aws.log.group.names", "/ecs/orders"),
        ("container.id", "8f3e8f3e8f3e8f3e8f3e8f3e8f3e8f3e-1234567890"),
    ] {
        attribute(&mut out, 1, name, value);
    }
    end(&mut out, begun);
    out
}
