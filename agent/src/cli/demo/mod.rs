//! `pillion demo`: the real agent with made-up containers and a local folder, so that a newcomer sees it work.
//!
//! Promises: needs no AWS, no Docker, no configuration and no rights; says within two seconds what happens, where to
//! look and how to stop; writes in its own folder only; ends with the books.
//! Never: takes a shortcut past the sockets. The workload speaks to the agent as Docker's log driver does, and what is
//! shown was read from the agent's own `/metrics`.

mod backend;
mod orders;
mod progress;
mod scene;
mod workload;

use std::{
    fmt::Write as _,
    net::{SocketAddr, TcpListener},
    path::Path,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use super::{CONFIG, FAILURE, complain, healthcheck, print, run};
use crate::{
    agent,
    config::{self, Environment, Sources},
    deliver::books::{Holder, Totals},
    fluentbit::Disk,
    life::Life,
    tell::{self, chain, logs::Format},
};
use progress::Progress;
use scene::Scene;

/// How often a line is shown.
const SHOWN_EVERY: Duration = Duration::from_secs(5);
/// How often the showing thread looks whether it should end.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) fn demo(folder: &Path, records_per_second: u64) -> ExitCode {
    let scene = match Scene::set(folder) {
        Ok(scene) => scene,
        Err(error) => return failed(format_args!("{}", chain(&error))),
    };
    // The person's own environment has no say in a demo.
    let nothing = Environment::from_iter::<[(&str, &str); 0]>([]);
    let sources = Sources { file: Some(scene.config.clone()), environment: nothing, files: &Disk };
    let config = match config::load(&sources) {
        Ok((config, _)) => config,
        Err(problems) => {
            complain(run::listed(&problems));
            return ExitCode::from(CONFIG);
        }
    };
    let host = match run::Host::new() {
        Ok(host) => host,
        Err(error) => return failed(format_args!("{}", chain(&error))),
    };
    let bound = match agent::bind(&config) {
        Ok(bound) => bound,
        Err(error) => return failed(format_args!("{}", chain(&error))),
    };
    let log = tell::logs::install("warn", Format::of_stderr());
    let life = Life::default();
    let progress = Arc::new(Progress::default());
    let has_ended = Arc::new(AtomicBool::new(false));
    let backend = start_backend(&scene, &progress, &has_ended);
    let threads =
        match backend.and_then(|backend| Ok((backend, start_threads(&scene, records_per_second, &life, &progress)?))) {
            Ok((backend, threads)) => threads.into_iter().chain([backend]),
            Err(error) => return failed(format_args!("{}", chain(&error))),
        };
    print(scene.explanation(records_per_second));
    let outcome = host.drive(config, bound, agent::Spool::default(), &life);
    life.stop(Duration::ZERO);
    has_ended.store(true, Ordering::Relaxed);
    for thread in threads {
        // A thread that panicked has said so; the books are shown all the same.
        let _ = thread.join();
    }
    drop(log);
    print(ending(&outcome.books, &progress, &scene))
}

fn failed(why: std::fmt::Arguments<'_>) -> ExitCode {
    complain(format_args!("pillion: the demo cannot run: {why}\n"));
    ExitCode::from(FAILURE)
}

/// The made-up containers and the line every five seconds. Both end when `life` stops.
fn start_threads(
    scene: &Scene,
    records_per_second: u64,
    life: &Life,
    progress: &Arc<Progress>,
) -> std::io::Result<[thread::JoinHandle<()>; 3]> {
    let stopping = life.stopping();
    let (unix, tcp, counted) = (scene.unix.clone(), scene.tcp, Arc::clone(progress));
    let work = thread::Builder::new().name("demo workload".into()).spawn(move || {
        workload::run(&unix, tcp, records_per_second, &counted, &|| stopping.is_cancelled());
    })?;
    let stopping = life.stopping();
    let (segments, spans, counted) = (scene.segments, scene.spans, Arc::clone(progress));
    let order = thread::Builder::new().name("demo orders".into()).spawn(move || {
        orders::run(segments, spans, &counted, &|| stopping.is_cancelled());
    })?;
    let stopping = life.stopping();
    let (admin, counted) = (scene.admin, Arc::clone(progress));
    let show = thread::Builder::new().name("demo display".into()).spawn(move || {
        let start = Instant::now();
        let mut shown = start;
        while !stopping.is_cancelled() {
            thread::sleep(LOOK_EVERY);
            if shown.elapsed() >= SHOWN_EVERY {
                let rate = counted.sent_since_last_look() as f64 / shown.elapsed().as_secs_f64();
                shown = Instant::now();
                print(live(start.elapsed(), rate, &counted, received(admin)));
            }
        }
    })?;
    Ok([work, order, show])
}

/// The backend that draws traces. It is there until the agent `has_ended`.
fn start_backend(
    scene: &Scene,
    progress: &Arc<Progress>,
    has_ended: &Arc<AtomicBool>,
) -> std::io::Result<thread::JoinHandle<()>> {
    let listener = TcpListener::bind(scene.backend)?;
    let (file, counted, has_ended) = (scene.trace.clone(), Arc::clone(progress), Arc::clone(has_ended));
    thread::Builder::new().name("demo backend".into()).spawn(move || {
        backend::run(&listener, &file, &counted, &|| has_ended.load(Ordering::Relaxed));
    })
}

/// Records that the agent says it received.
fn received(admin: SocketAddr) -> Option<u64> {
    let (_, page) = healthcheck::fetch(admin, "/metrics", Duration::from_secs(1)).ok()?;
    Some(sum_of(&page, "pillion_logs_received_records_total"))
}

/// The sum over all series of a counter on a page in Prometheus' text format.
fn sum_of(page: &str, name: &str) -> u64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        if !rest.starts_with(['{', ' ']) {
            return None;
        }
        rest.rsplit(' ').next()?.parse::<u64>().ok()
    });
    values.sum()
}

fn live(elapsed: Duration, rate: f64, progress: &Progress, received: Option<u64>) -> String {
    let received = received.map_or_else(|| "unknown".to_owned(), |n| n.to_string());
    format!(
        "{:>5} s  {rate:>8.0} records/s   sent {}   received {received}   batches acknowledged {}   spans {}, with the backend {}\n",
        elapsed.as_secs(),
        progress.sent(),
        progress.acknowledged(),
        progress.spans(),
        progress.drawn(),
    )
}

/// The books as a table, and whether they balance.
fn ending(books: &[(Holder, Totals)], progress: &Progress, scene: &Scene) -> String {
    let (records, spans) = (progress.sent(), progress.spans());
    let mut text = format!("\nstopped. The containers sent {records} records and {spans} spans. The books:\n\n");
    let mut sum = Totals::default();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "  {:<16} {:<10} {:>10} {:>10} {:>8} {:>6} {:>10}",
        "output", "container", "accepted", "delivered", "refused", "lost", "in flight"
    );
    let mut row = |output: &str, source: &str, totals: &Totals| {
        let _ = writeln!(
            text,
            "  {output:<16} {source:<10} {:>10} {:>10} {:>8} {:>6} {:>10}",
            totals.accepted,
            totals.delivered,
            totals.refused(),
            totals.lost(),
            totals.in_flight
        );
    };
    for (holder, totals) in books {
        row(&holder.output, &holder.source, totals);
        sum.add(totals);
    }
    row("all", "", &sum);
    let sent = records + spans;
    let verdict = match sum.balanced() && sum.accepted == sent && sum.delivered == sent && progress.drawn() == spans {
        true => "Every record and every span that was sent was delivered",
        false => "Not everything was delivered; the table says where it is",
    };
    let _ = writeln!(text, "\n{verdict}. See {} and {}", scene.records.display(), scene.trace.display());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_summed_over_its_series_only() {
        let page =
            "# HELP a_total x\na_total{input=\"b c\"} 3\na_total{input=\"d\"} 4\na_total_more 9\na_total 1\nz 8\n";
        assert_eq!(sum_of(page, "a_total"), 8);
        assert_eq!(sum_of("", "a_total"), 0);
    }

    #[test]
    fn the_ending_shows_the_books_and_a_verdict() {
        let holder = |source: &str| Holder { output: "file.0".into(), source: source.into() };
        let totals = Totals { accepted: 1500, delivered: 1500, ..Totals::default() };
        let scene = Scene::for_test("pillion-demo");
        let spans = Totals { accepted: 8, delivered: 8, ..Totals::default() };
        let books = [
            (holder("web"), totals),
            (holder("worker"), totals),
            (Holder { output: "otlp.0".into(), source: "xray".into() }, spans),
        ];
        let progress = Progress::default();
        (0..3000).for_each(|_| progress.count(true));
        progress.count_spans(8);
        assert!(ending(&books, &progress, &scene).contains("Not everything was delivered"), "the backend has none");
        progress.count_drawn(8);
        insta::assert_snapshot!(ending(&books, &progress, &scene), @"

        stopped. The containers sent 3000 records and 8 spans. The books:

          output           container    accepted  delivered  refused   lost  in flight
          file.0           web              1500       1500        0      0          0
          file.0           worker           1500       1500        0      0          0
          otlp.0           xray                8          8        0      0          0
          all                               3008       3008        0      0          0

        Every record and every span that was sent was delivered. See pillion-demo/records and pillion-demo/trace.txt
        ");
        progress.count(true);
        assert!(ending(&books, &progress, &scene).contains("Not everything was delivered"));
    }
}
