//! A backend of OTLP that has one wall: it draws the last trace that came.
//!
//! ```text
//! trace 692a1c00 9f3c… 47.3 ms
//!   web      web                      |========================================|  47.3 ms
//!   web        orders@db.example.com  |  =====                                 |   6.0 ms
//!   web        worker                 |        =============================   |  35.1 ms
//!   worker       charge-card          |         ===========================    |  33.1 ms
//! ```
//!
//! Promises: answers what the agent sends and keeps eight traces at most; a request that it does not understand gets a 400.
//! Never: is part of the agent. It listens on loopback while the demo runs.

use std::{
    collections::VecDeque,
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::Path,
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use super::progress::Progress;
use crate::otlp::{
    walk::{GROUPS, HEAD, MEMBERS},
    wire::{Malformed, Reader, Value, each},
};

/// Bytes of a request at most: the agent joins what it has.
const BODY_BYTES_MAX: usize = 8 << 20;
/// Bytes of one line of a request's head.
const LINE_BYTES_MAX: u64 = 8 << 10;
/// Lines of a head.
const LINES_MAX: usize = 64;
/// Traces that are kept until the rest of them comes.
const TRACES_MAX: usize = 8;
/// How often it is looked whether the demo ends.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Characters of a bar.
const WIDTH: usize = 40;

/// What is drawn of a span.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Span {
    trace: Vec<u8>,
    id: Vec<u8>,
    parent: Vec<u8>,
    service: String,
    name: String,
    /// Nanoseconds since 1970.
    times: (u64, u64),
}

/// The traces that came last, newest at the end.
type Traces = Mutex<VecDeque<Vec<Span>>>;

/// Takes requests and draws to `file` until `stopped` says so.
pub(super) fn run(listener: &TcpListener, file: &Path, progress: &Progress, stopped: &(dyn Fn() -> bool + Sync)) {
    let traces = Traces::default();
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    thread::scope(|scope| {
        while !stopped() {
            match listener.accept() {
                Ok((stream, _)) => {
                    let traces = &traces;
                    scope.spawn(move || serve(stream, traces, file, progress, stopped));
                }
                Err(_) => thread::sleep(LOOK_EVERY),
            }
        }
    });
}

/// One connection. It ends when the other side closes it, or with the demo.
fn serve(stream: TcpStream, traces: &Traces, file: &Path, progress: &Progress, stopped: &dyn Fn() -> bool) {
    let mut answers = match stream.set_nonblocking(false).and_then(|()| stream.try_clone()) {
        Ok(answers) if stream.set_read_timeout(Some(LOOK_EVERY)).is_ok() => answers,
        _ => return,
    };
    let mut reader = BufReader::new(stream);
    while !stopped() {
        match reader.fill_buf() {
            Ok([]) => return,
            Ok(_) => {}
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => continue,
            Err(_) => return,
        }
        let Ok(body) = request(&mut reader) else { return };
        let answer = match spans(&body) {
            Ok(spans) => {
                progress.count_drawn(spans.len() as u64);
                keep(spans, traces, file);
                "200 OK"
            }
            Err(_) => "400 Bad Request",
        };
        let head = format!("HTTP/1.1 {answer}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n");
        if answers.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// The body of a request. The agent says how long it is.
fn request(reader: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut length = None;
    for _ in 0..LINES_MAX {
        let mut line = String::new();
        reader.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
        if line.trim_end().is_empty() {
            let length: usize = length.filter(|&length| length <= BODY_BYTES_MAX).ok_or(io::ErrorKind::InvalidData)?;
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            return Ok(body);
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok();
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// The spans of a request of OTLP.
fn spans(request: &[u8]) -> Result<Vec<Span>, Malformed> {
    let mut spans = Vec::new();
    for group in each(request, GROUPS) {
        let group = group?;
        let mut service = String::new();
        for resource in each(group, HEAD) {
            for attribute in each(resource?, 1) {
                let attribute = attribute?;
                if text(attribute, 1)? == "service.name"
                    && let Some(value) = each(attribute, 2).next()
                {
                    service = text(value?, 1)?;
                }
            }
        }
        for scope in each(group, MEMBERS) {
            for span in each(scope?, MEMBERS) {
                spans.push(Span { service: service.clone(), ..read(span?)? });
            }
        }
    }
    Ok(spans)
}

/// A field of text.
fn text(message: &[u8], number: u32) -> Result<String, Malformed> {
    let bytes = each(message, number).last().unwrap_or(Ok(&[]))?;
    Ok(String::from_utf8_lossy(bytes).into_owned())
}

fn read(span: &[u8]) -> Result<Span, Malformed> {
    let mut read = Span::default();
    for field in Reader::new(span) {
        let field = field?;
        match (field.number, field.value) {
            (1, Value::Bytes(id)) => read.trace = id.to_vec(),
            (2, Value::Bytes(id)) => read.id = id.to_vec(),
            (4, Value::Bytes(id)) => read.parent = id.to_vec(),
            (5, Value::Bytes(name)) => read.name = String::from_utf8_lossy(name).into_owned(),
            (7, Value::Fixed64(time)) => read.times.0 = time,
            (8, Value::Fixed64(time)) => read.times.1 = time,
            _ => {}
        }
    }
    Ok(read)
}

/// Puts `spans` to those of their traces, and draws the trace that is whole, or the last one.
fn keep(spans: Vec<Span>, traces: &Traces, file: &Path) {
    let mut traces = traces.lock().unwrap_or_else(PoisonError::into_inner);
    for span in spans {
        match traces.iter_mut().find(|trace| trace[0].trace == span.trace) {
            Some(trace) => trace.push(span),
            None => traces.push_back(vec![span]),
        }
    }
    while traces.len() > TRACES_MAX {
        traces.pop_front();
    }
    let whole = traces.iter().rev().find(|trace| trace.len() as u64 >= super::orders::SPANS);
    if let Some(trace) = whole.or(traces.back()) {
        // Who looks at it sees the one before or this one. A folder that is gone ends nothing.
        let draft = file.with_extension("draft");
        let _ = fs::write(&draft, drawn(trace)).and_then(|()| fs::rename(&draft, file));
    }
}

/// A trace as lines, each span below its parent.
fn drawn(trace: &[Span]) -> String {
    let begun = trace.iter().map(|span| span.times.0).min().unwrap_or_default();
    let ended = trace.iter().map(|span| span.times.1).max().unwrap_or_default();
    let whole = ended.saturating_sub(begun).max(1);
    let id: String =
        trace.first().map(|span| &*span.trace).unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut rows = Vec::new();
    let is_root = |span: &&Span| !trace.iter().any(|other| other.id == span.parent);
    for root in in_time(trace.iter().filter(is_root)) {
        below(root, trace, 0, &mut rows);
    }
    let names = rows.iter().map(|(depth, span)| 2 * depth + span.name.chars().count()).max().unwrap_or_default();
    let services = rows.iter().map(|(_, span)| span.service.chars().count()).max().unwrap_or_default();
    let mut text = format!("trace {id}  {:.1} ms\n", milliseconds(whole));
    for (depth, Span { service, name, times: (from, to), .. }) in rows {
        let place = |time: u64| ((time.saturating_sub(begun)) as f64 / whole as f64 * WIDTH as f64).round() as usize;
        let start = place(*from).min(WIDTH - 1);
        let bar = "=".repeat(place(*to).clamp(start + 1, WIDTH) - start);
        let name = format!("{:depth$}{name}", "", depth = 2 * depth);
        let took = milliseconds(to.saturating_sub(*from));
        text.push_str(&format!(
            "  {service:<services$}  {name:<names$}  |{:start$}{bar:<rest$}|{took:>7.1} ms\n",
            "",
            rest = WIDTH - start
        ));
    }
    text
}

fn milliseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e6
}

/// `span` and what is below it, in the order of time. A span is one row, whatever the parents say.
fn below<'a>(span: &'a Span, trace: &'a [Span], depth: usize, rows: &mut Vec<(usize, &'a Span)>) {
    if rows.iter().any(|(_, row)| std::ptr::eq(*row, span)) {
        return;
    }
    rows.push((depth, span));
    for child in in_time(trace.iter().filter(|child| child.parent == span.id)) {
        below(child, trace, depth + 1, rows);
    }
}

fn in_time<'a>(spans: impl Iterator<Item = &'a Span>) -> Vec<&'a Span> {
    let mut spans: Vec<_> = spans.collect();
    spans.sort_by_key(|span| span.times.0);
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(service: &str, name: &str, (id, parent): (u8, u8), (from, to): (u64, u64)) -> Span {
        let parent = if parent == 0 { Vec::new() } else { vec![parent; 8] };
        let times = (1_000_000_000 + from * 1_000_000, 1_000_000_000 + to * 1_000_000);
        Span { trace: vec![0xab; 16], id: vec![id; 8], parent, service: service.into(), name: name.into(), times }
    }

    #[test]
    fn a_trace_is_drawn_with_each_span_below_its_parent() {
        let trace = [
            span("worker", "charge-card", (4, 3), (11, 39)),
            span("web", "worker", (3, 1), (10, 40)),
            span("web", "orders@db", (2, 1), (3, 8)),
            span("web", "web", (1, 0), (0, 44)),
        ];
        insta::assert_snapshot!(drawn(&trace), @"
        trace abababababababababababababababab  44.0 ms
          web     web              |========================================|   44.0 ms
          web       orders@db      |   ====                                 |    5.0 ms
          web       worker         |         ===========================    |   30.0 ms
          worker      charge-card  |          =========================     |   28.0 ms
        ");
        // Part of a trace, a span of no length at the very end, and two that are each other's parents.
        let odd = [span("a", "x", (1, 9), (0, 10)), span("b", "y", (2, 1), (10, 10))];
        assert_eq!(drawn(&odd).lines().count(), 3, "{}", drawn(&odd));
        let round = [span("a", "x", (1, 2), (0, 1)), span("a", "y", (2, 1), (0, 1))];
        assert_eq!(drawn(&round).lines().count(), 1);
        assert_eq!(drawn(&[]).lines().count(), 1);
    }

    #[test]
    fn bodies_that_are_none_are_refused() {
        for (text, expected) in [
            ("POST /v1/traces HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd", Some("abc")),
            ("POST / HTTP/1.1\r\nCONTENT-LENGTH:0\r\n\r\n", Some("")),
            ("POST / HTTP/1.1\r\n\r\nabc", None),
            ("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", None),
            ("POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\nabc", None),
            ("POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\nabc", None),
        ] {
            let body = request(&mut text.as_bytes()).ok();
            assert_eq!(body.as_deref(), expected.map(str::as_bytes), "{text}");
        }
        let endless = "a: b\r\n".repeat(LINES_MAX + 1);
        assert!(request(&mut endless.as_bytes()).is_err());
        assert!(spans(b"\xff\xff").is_err());
        assert_eq!(spans(b""), Ok(Vec::new()));
    }
}
