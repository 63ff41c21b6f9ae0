//! `bench otlp-otlp`: spans in by OTLP, out by OTLP.
//!
//! Requests of 512 spans of some 350 bytes each (what an SDK's batch has), encoded beforehand, come at a rate or as fast as they are
//! answered. CPU is that of the process under test alone.
//!
//! Promises: all ways take turns within a round, with the floor of the same round beside them: the same bytes read, copied,
//! compressed and written with nothing around it; every span that was sent is counted at the backend, or missing.
//! Never: trusts what the one under test says.

use std::{
    hint::black_box,
    io::{Read as _, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use serde::Serialize;
use serde_json::json;

use super::{
    plan::{build_own, print, spread},
    process::{Process, thread_cpu},
    table,
};
use crate::{
    agent::free_address,
    command_line::CommandLine,
    otlp::{
        Backend, Client,
        client::gzip,
        grpc::{Caller, TRACES, framed},
        request,
    },
};

/// What `--help` prints of it.
pub const HELP: &str = "
  bench otlp-otlp            spans by OTLP to a backend of OTLP, by gRPC and HTTP, plain and gzip

  --rounds N           interleaved rounds (3)
  --rate N             spans a second, or max (10000)
  --seconds N          of sending in each cell (5)
  --ways WAYS          of http, http-gzip, grpc, grpc-gzip; a comma between (all): in and out alike
  --under-test CMD     another agent; {grpc} {http} are where it listens, {backend-grpc} {backend-http} where it sends, {compression}
                       is gzip or none, {protocol} grpc or http
";

/// Spans of a request: the batch of an SDK.
pub(super) const SPANS: u64 = 512;
/// Bytes of a batch towards the backend, for the floor.
const BATCH_BYTES: usize = 1 << 20;
/// A backend that gets nothing for so long has all that it will get.
const QUIET: Duration = Duration::from_secs(5);
/// How often the process is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// CPU time that a step of the floor is repeated for.
const STEP: Duration = Duration::from_millis(150);

/// By what spans come and leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Way {
    name: &'static str,
    is_grpc: bool,
    is_gzip: bool,
}

const WAYS: [Way; 4] = [
    Way { name: "http", is_grpc: false, is_gzip: false },
    Way { name: "http-gzip", is_grpc: false, is_gzip: true },
    Way { name: "grpc", is_grpc: true, is_gzip: false },
    Way { name: "grpc-gzip", is_grpc: true, is_gzip: true },
];

#[derive(Clone, Debug)]
struct Options {
    rounds: usize,
    rate: Option<u64>,
    time: Duration,
    ways: Vec<Way>,
    under_test: Option<String>,
}

/// One way, measured.
#[derive(Clone, Debug, Serialize)]
struct Measured {
    bench: &'static str,
    round: usize,
    way: &'static str,
    sent: u64,
    missing: u64,
    spans_per_second: f64,
    spans_per_cpu_second: f64,
    /// The same of the floor.
    floor_spans_per_cpu_second: f64,
    rss_idle_mib: f64,
    rss_peak_mib: f64,
}

impl Options {
    fn parse(words: &[String]) -> anyhow::Result<Self> {
        let time = Duration::from_secs(5);
        let mut options = Self { rounds: 3, rate: Some(10_000), time, ways: WAYS.to_vec(), under_test: None };
        CommandLine::parse(words, "say what to measure; see --help")?.each(|word, value| options.set(word, value))?;
        Ok(options)
    }

    fn set(&mut self, word: &str, value: &str) -> anyhow::Result<()> {
        match word {
            "--rounds" => self.rounds = value.parse()?,
            "--rate" => self.rate = if value == "max" { None } else { Some(value.parse()?) },
            "--seconds" => self.time = Duration::from_secs(value.parse()?),
            "--ways" => {
                let named: Vec<_> = value.split(',').collect();
                self.ways = WAYS.iter().filter(|way| named.contains(&way.name)).copied().collect();
                ensure!(self.ways.len() == named.len(), "write some of http, http-gzip, grpc, grpc-gzip");
            }
            "--under-test" => self.under_test = Some(value.to_owned()),
            _ => bail!("there is no such option; see --help"),
        }
        Ok(())
    }
}

/// Measures what `words` ask for.
pub fn run(words: &[String], bench: &Path, out: &mut dyn Write) -> anyhow::Result<()> {
    let options = Options::parse(words)?;
    let command = match &options.under_test {
        Some(command) => command.clone(),
        None => build_own(bench)?,
    };
    let mut all = Vec::new();
    for round in 1..=options.rounds {
        for way in &options.ways {
            let measured = measure(&command, round, *way, &options)?;
            print(out, &measured)?;
            all.push(measured);
        }
    }
    let figures = |way: &Way, figure: fn(&Measured) -> f64| {
        spread(&all.iter().filter(|cell| cell.way == way.name).map(figure).collect::<Vec<_>>())
    };
    let rows = options.ways.iter().map(|way| {
        let cells = FIGURES.map(|figure| table::cell(&figures(way, figure)));
        [way.name.to_owned()].into_iter().chain(cells).collect()
    });
    write!(out, "\n{}\n", table::markdown(&HEAD, &rows.collect::<Vec<_>>()))?;
    print(out, &json!({"bench": "otlp-otlp", "summary": true, "rounds": options.rounds, "rate": options.rate}))
}

const HEAD: [&str; 7] = ["way", "spans/s", "spans per CPU-second", "floor's", "idle MiB", "peak MiB", "missing"];
const FIGURES: [fn(&Measured) -> f64; 6] = [
    |cell| cell.spans_per_second,
    |cell| cell.spans_per_cpu_second,
    |cell| cell.floor_spans_per_cpu_second,
    |cell| cell.rss_idle_mib,
    |cell| cell.rss_peak_mib,
    |cell| cell.missing as f64,
];

fn measure(command: &str, round: usize, way: Way, options: &Options) -> anyhow::Result<Measured> {
    let backend = Backend::start();
    backend.only_count();
    let (grpc, http) = (free_address()?, free_address()?);
    let folder = tempfile::tempdir()?;
    let mut process = start(command, way, &backend, (grpc, http), folder.path())?;
    let rss_idle = process.status_kb("VmRSS");
    process.cpu();
    let before = process.cpu();
    let address = if way.is_grpc { grpc } else { http };
    let begun = Instant::now();
    let sending = thread::spawn({
        let (rate, time) = (options.rate, options.time);
        move || send(address, way, rate, time)
    });
    while !sending.is_finished() {
        process.cpu();
        thread::sleep(LOOK);
    }
    let sent = sending.join().map_err(|_| anyhow::anyhow!("the sender panicked"))??;
    let arrived = arrived(&backend, sent, &mut process);
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = (process.cpu() - before).as_secs_f64();
    Ok(Measured {
        bench: "otlp-otlp",
        round,
        way: way.name,
        sent,
        missing: sent - arrived.min(sent),
        spans_per_second: (sent as f64 / seconds).round(),
        spans_per_cpu_second: (arrived as f64 / cpu.max(1e-9)).round(),
        floor_spans_per_cpu_second: floor(way)?.round(),
        rss_idle_mib: mebibytes(rss_idle),
        rss_peak_mib: mebibytes(process.status_kb("VmHWM")),
    })
}

/// A figure that people read.
pub(super) fn mebibytes(kilobytes: u64) -> f64 {
    (kilobytes as f64 / 102.4).round() / 10.0
}

fn start(
    command: &str,
    way: Way,
    backend: &Backend,
    (grpc, http): (SocketAddr, SocketAddr),
    folder: &Path,
) -> anyhow::Result<Process> {
    let (protocol, compression) =
        (if way.is_grpc { "grpc" } else { "http" }, if way.is_gzip { "gzip" } else { "none" });
    let endpoint = if way.is_grpc { backend.grpc() } else { backend.http() };
    let config = folder.join("pillion.yaml");
    let text = format!(
        "logs: {{inputs: [{{forward: {{unix: '{}'}}}}], outputs: [{{to: discard}}]}}\n\
         traces:\n  inputs: [{{otlp: {{grpc: '{grpc}', http: '{http}'}}}}]\n  outputs: [{{to: {{otlp: {{endpoint: '{endpoint}', \
         protocol: {protocol}, compression: {compression}}}}}}}]\n",
        folder.join("socket").display()
    );
    std::fs::write(&config, text)?;
    let filled = command
        .replace("{config}", &config.to_string_lossy())
        .replace("{grpc}", &grpc.to_string())
        .replace("{http}", &http.to_string())
        .replace("{backend-grpc}", &backend.grpc())
        .replace("{backend-http}", &backend.http())
        .replace("{protocol}", protocol)
        .replace("{compression}", compression);
    let accepts = || TcpStream::connect(if way.is_grpc { grpc } else { http }).is_ok();
    Process::launch(&filled, &[], &folder.join("log"), &accepts)
}

/// Sends for `time` and says how many spans that were.
fn send(address: SocketAddr, way: Way, rate: Option<u64>, time: Duration) -> anyhow::Result<u64> {
    let body = request("orders", 0..SPANS);
    let body = if way.is_gzip { gzip(&body) } else { body };
    let mut http = Client::connect(address)?;
    let mut grpc = Caller::connect(address)?;
    let encoding = if way.is_gzip { &[("grpc-encoding", "gzip")][..] } else { &[] };
    let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "gzip")];
    let headers = if way.is_gzip { &headers[..] } else { &headers[..1] };
    let frame = framed(&body, u8::from(way.is_gzip));
    let (begun, mut sent) = (Instant::now(), 0);
    while begun.elapsed() < time {
        let due = rate.map(|rate| Duration::from_secs_f64(sent as f64 / rate as f64));
        if let Some(early) = due.and_then(|due| due.checked_sub(begun.elapsed())) {
            thread::sleep(early);
        }
        let taken = match way.is_grpc {
            true => grpc.call(TRACES, encoding, frame.clone())?.status == 0,
            false => http.post_with("/v1/traces", headers, &body)?.status == 200,
        };
        ensure!(taken, "a request was not taken");
        sent += SPANS;
    }
    Ok(sent)
}

/// Waits until all that was sent has arrived, or nothing comes any more.
fn arrived(backend: &Backend, sent: u64, process: &mut Process) -> u64 {
    let (mut count, mut since) = (backend.count(), Instant::now());
    while count < sent && since.elapsed() < QUIET {
        thread::sleep(LOOK);
        process.cpu();
        let now = backend.count();
        if now != count {
            (count, since) = (now, Instant::now());
        }
    }
    count
}

/// Spans that a CPU-second is enough for if they are only read, opened, copied, compressed and written.
fn floor(way: Way) -> anyhow::Result<f64> {
    let plain = request("orders", 0..SPANS);
    let sent = if way.is_gzip { gzip(&plain) } else { plain.clone() };
    let batch: Vec<u8> = plain.iter().copied().cycle().take(BATCH_BYTES / plain.len() * plain.len()).collect();
    let read = per_byte_read(&sent)? * sent.len() as f64;
    let open = if way.is_gzip { step(|| drop(black_box(opened(&sent)))) } else { 0.0 };
    let mut copied = Vec::with_capacity(BATCH_BYTES);
    let copy = step(|| {
        copied.clear();
        copied.extend_from_slice(black_box(&plain));
        black_box(&copied);
    });
    let requests = (batch.len() / plain.len()) as f64;
    let (packed, pack) = match way.is_gzip {
        true => (gzip(&batch), step(|| drop(black_box(gzip(&batch)))) / requests),
        false => (batch, 0.0),
    };
    let write = per_byte_written(&packed)? * packed.len() as f64 / requests;
    Ok(SPANS as f64 * 1e9 / (read + open + copy + pack + write))
}

fn opened(body: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    // It was compressed here.
    let _ = flate2::read::GzDecoder::new(body).read_to_end(&mut plain);
    plain
}

/// CPU nanoseconds of one `work`.
fn step(mut work: impl FnMut()) -> f64 {
    work();
    let (begun, mut times) = (thread_cpu(), 0_u32);
    loop {
        for _ in 0..4 {
            work();
        }
        times += 4;
        let used = thread_cpu() - begun;
        if used > STEP {
            return used.as_nanos() as f64 / f64::from(times);
        }
    }
}

fn connected() -> anyhow::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    Ok((near, listener.accept()?.0))
}

fn per_byte_read(body: &[u8]) -> anyhow::Result<f64> {
    let (mut near, mut far) = connected()?;
    let body = body.to_vec();
    let writing = thread::spawn(move || while near.write_all(&body).is_ok() {});
    let (mut buffer, begun, mut bytes) = (vec![0; 64 * 1024], thread_cpu(), 0);
    while thread_cpu() - begun < STEP {
        bytes += far.read(&mut buffer)?;
    }
    let cost = (thread_cpu() - begun).as_nanos() as f64 / bytes as f64;
    drop(far);
    // Ends with the connection.
    let _ = writing.join();
    Ok(cost)
}

fn per_byte_written(body: &[u8]) -> anyhow::Result<f64> {
    let (mut near, mut far) = connected()?;
    let reading = thread::spawn(move || {
        let mut buffer = vec![0; 256 * 1024];
        while far.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    });
    let (begun, mut bytes) = (thread_cpu(), 0);
    while thread_cpu() - begun < STEP {
        near.write_all(body)?;
        bytes += body.len();
    }
    let cost = (thread_cpu() - begun).as_nanos() as f64 / bytes as f64;
    drop(near);
    // Ends with the connection.
    let _ = reading.join();
    Ok(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_says_how_fast_and_by_what() {
        let parse = |line: &str| Options::parse(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        let options = parse("otlp-otlp --rate max --seconds 2 --ways grpc,http-gzip").expect("parses");
        assert_eq!((options.rate, options.time.as_secs()), (None, 2));
        assert_eq!(options.ways.iter().map(|way| way.name).collect::<Vec<_>>(), ["http-gzip", "grpc"]);
        for wrong in ["otlp-otlp --ways http,smoke", "otlp-otlp --rate fast", "otlp-otlp --bytes 1", "otlp-otlp --rate"]
        {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_floor_of_less_work_is_higher() {
        let [plain, packed] = [WAYS[0], WAYS[1]].map(|way| floor(way).expect("loopback"));
        assert!(plain > packed && packed > 10_000.0, "{plain} {packed}");
    }
}
