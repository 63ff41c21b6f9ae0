//! Measures agents: `cargo run --release -p tests --bin bench -- --help`.
//!
//! Promises: see [`tests::bench`].
//! Never: decides anything; this is only the way in.

use std::{
    io::{self, Write as _},
    path::Path,
};

use tests::bench::{
    bare, isolation, options, otlp, otlp_metrics, otlp_xray, outage, plan, secrets, spool, statsd, xray,
};

fn main() -> anyhow::Result<()> {
    let bench = std::env::current_exe()?;
    let words: Vec<_> = std::env::args().skip(1).collect();
    let mut out = io::stdout().lock();
    match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["bare-reader", socket] => Ok(bare::read_for_ever(Path::new(socket))?),
        [] | ["--help" | "-h"] => Ok(out.write_all(
            [
                options::HELP,
                outage::HELP,
                spool::HELP,
                secrets::HELP,
                xray::HELP,
                otlp::HELP,
                otlp_xray::HELP,
                statsd::HELP,
                otlp_metrics::HELP,
            ]
            .concat()
            .as_bytes(),
        )?),
        ["outage", ..] => outage::run(&words, &bench, &mut out),
        ["secrets", ..] => secrets::run(&words, &bench, &mut out),
        ["xray-udp", ..] => xray::run(&words, &bench, &mut out),
        ["otlp-otlp", ..] => otlp::run(&words, &bench, &mut out),
        ["otlp-xray", ..] => otlp_xray::run(&words, &bench, &mut out),
        ["otlp-metrics", ..] => otlp_metrics::run(&words, &bench, &mut out),
        ["statsd", ..] => statsd::run(&words, &bench, &mut out),
        ["spool", ..] => spool::run(&words, &bench, &mut out),
        ["isolation", ..] => isolation::run(&words[1..], &bench, &mut out),
        _ => plan::run(&options::Options::parse(&words)?, &bench, &mut out),
    }
}
