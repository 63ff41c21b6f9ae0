//! An order that two made-up containers work on, told as a trace: one with the X-Ray SDK, the other with OpenTelemetry.
//!
//! Promises: bytes as the originals send them, over real sockets; a span counts as sent when the socket took it; one trace has both
//! containers' spans, below each other.
//! Never: uses the agent's own encoder, so that the demo also proves its readers.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::json;

use super::progress::Progress;

/// How often there is an order.
const EVERY: Duration = Duration::from_secs(2);
/// How often it is looked whether the demo ends.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const IO_TIMEOUT: Duration = Duration::from_secs(1);
/// What stands before a document on the X-Ray daemon's port.
const HEADER: &str = "{\"format\":\"json\",\"version\":1}\n";
/// Bytes of an answer that are read: its first line.
const ANSWER_BYTES: usize = 12;

/// Spans of one order: the segment, its two subsegments, and the other container's span.
pub(super) const SPANS: u64 = 4;

/// One order.
struct Order {
    dice: fastrand::Rng,
    trace: [String; 2],
    /// Seconds since 1970.
    begun: f64,
}

/// Tells of orders, segments to `udp` and spans to `http`, until `stopped` says so.
pub(super) fn run(udp: SocketAddr, http: SocketAddr, progress: &Progress, stopped: &dyn Fn() -> bool) {
    let mut dice = fastrand::Rng::new();
    while !stopped() {
        let mut order = Order::new(dice.fork());
        let (segment, request) = order.told();
        progress.count_spans(if sent_as_datagram(udp, &segment).is_ok() { SPANS - 1 } else { 0 });
        progress.count_spans(if posted(http, &request).is_ok() { 1 } else { 0 });
        for _ in 0..EVERY.as_millis() / LOOK_EVERY.as_millis() {
            if stopped() {
                return;
            }
            thread::sleep(LOOK_EVERY);
        }
    }
}

impl Order {
    fn new(mut dice: fastrand::Rng) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let trace = [format!("{:08x}", now.as_secs()), format!("{:024x}", dice.u128(..) >> 32)];
        Self { dice, trace, begun: now.as_secs_f64() - 0.08 }
    }

    /// The segment of `web`, and the request of OTLP with the span of `worker`.
    fn told(&mut self) -> (String, String) {
        let [web, query, call, worker] = std::array::from_fn(|_| format!("{:016x}", self.dice.u64(1..)));
        let mut milliseconds = |range| f64::from(self.dice.u32(range)) / 1_000.0;
        let (queried, charged) = (milliseconds(2..9), milliseconds(12..45));
        let at = |offset: f64| self.begun + offset;
        let (query_begun, call_begun) = (at(0.003), at(0.005 + queried));
        let call_ended = call_begun + charged + 0.002;
        let ([epoch, unique], end) = (&self.trace, call_ended + 0.004);
        let segment = json!({
            "name": "web",
            "id": web,
            "trace_id": format!("1-{epoch}-{unique}"),
            "start_time": self.begun,
            "end_time": end,
            "http": {
                "request": {"method": "POST", "url": "https://shop.example.com/api/orders", "client_ip": "10.0.3.7"},
                "response": {"status": 201},
            },
            "annotations": {"customer": self.dice.u32(1_000..10_000)},
            "aws": {"xray": {"sdk": "X-Ray for Node.js", "sdk_version": "3.10.3"}},
            "subsegments": [
                {
                    "name": "orders@db.example.com", "id": query, "namespace": "remote",
                    "start_time": query_begun, "end_time": query_begun + queried,
                    "sql": {"database_type": "PostgreSQL", "sanitized_query": "INSERT INTO orders VALUES ($1, $2)"},
                },
                {
                    "name": "worker", "id": call, "namespace": "remote", "start_time": call_begun, "end_time": call_ended,
                    "http": {"request": {"method": "POST", "url": "http://worker:8080/charge"}, "response": {"status": 200}},
                },
            ],
        });
        let text = |key: &str, value: &str| json!({"key": key, "value": {"stringValue": value}});
        // Times are text, since JSON's numbers are not whole at this size.
        let nanoseconds = |seconds: f64| Duration::from_secs_f64(seconds).as_nanos().to_string();
        let request = json!({"resourceSpans": [{
            "resource": {"attributes": [text("service.name", "worker"), text("telemetry.sdk.language", "go")]},
            "scopeSpans": [{"scope": {"name": "charge"}, "spans": [{
                "traceId": format!("{epoch}{unique}"), "spanId": worker, "parentSpanId": call,
                "name": "charge-card", "kind": 2,
                "startTimeUnixNano": nanoseconds(call_begun + 0.001), "endTimeUnixNano": nanoseconds(call_ended - 0.001),
                "attributes": [text("http.request.method", "POST"), text("url.path", "/charge")],
            }]}],
        }]});
        (segment.to_string(), request.to_string())
    }
}

fn sent_as_datagram(udp: SocketAddr, segment: &str) -> io::Result<()> {
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.send_to(format!("{HEADER}{segment}").as_bytes(), udp).map(drop)
}

fn posted(http: SocketAddr, request: &str) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&http, IO_TIMEOUT)?;
    stream.set_write_timeout(Some(IO_TIMEOUT))?;
    stream.set_read_timeout(Some(IO_TIMEOUT))?;
    write!(
        stream,
        "POST /v1/traces HTTP/1.1\r\nHost: {http}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{request}",
        request.len()
    )?;
    let mut answer = [0; ANSWER_BYTES];
    stream.read_exact(&mut answer)?;
    if answer.ends_with(b" 200") { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn both_containers_tell_of_one_trace_whose_parts_lie_within_each_other() {
        for seed in 0..50 {
            let (segment, request) = Order::new(fastrand::Rng::with_seed(seed)).told();
            let (segment, request): (Value, Value) =
                (serde_json::from_str(&segment).unwrap(), serde_json::from_str(&request).unwrap());
            let span = &request["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
            let id = segment["trace_id"].as_str().unwrap();
            assert_eq!(id.len(), 35);
            assert_eq!(span["traceId"], Value::from(id[2..].replace('-', "")));
            let call = &segment["subsegments"][1];
            assert_eq!(span["parentSpanId"], call["id"]);
            let seconds = |value: &Value| value.as_str().unwrap().parse::<f64>().unwrap() / 1e9;
            let times = [
                segment["start_time"].as_f64().unwrap(),
                segment["subsegments"][0]["end_time"].as_f64().unwrap(),
                call["start_time"].as_f64().unwrap(),
                seconds(&span["startTimeUnixNano"]),
                seconds(&span["endTimeUnixNano"]),
                call["end_time"].as_f64().unwrap(),
                segment["end_time"].as_f64().unwrap(),
            ];
            assert!(times.is_sorted(), "{times:?}");
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            assert!(times[6] < now, "nothing ends in the future");
        }
    }
}
