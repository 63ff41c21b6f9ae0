//! What it costs to take what an app exposes: the whole way from the text into the store.
//!
//! ```text
//! cargo bench -p pillion --bench scrape
//! ```
//!
//! Promises: CPU time of this thread, the median of five rounds, from the second scrape of a target on, in which every number may be another one;
//! counters and gauges with up to three labels, histograms with twelve buckets; no rules.
//! Never: asks anybody by HTTP.

use std::{fmt::Write as _, fs, io::Write as _};

use pillion::metrics::{
    exposition::{Format, Limits},
    relabel::Rules,
    scrape::take::Taker,
    store::{
        Store,
        policy::{Dimensions, Policy},
    },
};

const ROUNDS: usize = 5;
/// Bytes that are taken in a round, so that the kernel's ticks of 4 ms do not matter.
const BYTES_OF_ROUND: usize = 60_000_000;
const LIMITS: Limits = Limits { samples: 1_000_000, labels: 64, name_bytes: 1_024, value_bytes: 4_096 };

fn main() -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for format in [Format::Text, Format::OpenMetrics] {
        for bytes in [190_000, 10_000_000] {
            let texts = [0, 1].map(|round| exposition(bytes, format, round));
            let (store, mut taker) = setting();
            let mut take = |text: &str| {
                let taken = taker.take(&store, 0, text.as_bytes(), (format, LIMITS)).expect("it is an exposition");
                assert_eq!((taken.faults, taken.without_series), (0, 0));
            };
            texts.iter().for_each(|text| take(text));
            let scrapes = (BYTES_OF_ROUND / bytes).max(2);
            let mut rates: Vec<f64> = (0..ROUNDS)
                .map(|_| {
                    let begun = cpu();
                    (0..scrapes).for_each(|scrape| take(&texts[scrape % 2]));
                    (scrapes * texts[0].len()) as f64 * 1e3 / (cpu() - begun) as f64
                })
                .collect();
            rates.sort_by(f64::total_cmp);
            let (rate, series) = (rates[ROUNDS / 2], store.size().series);
            writeln!(out, "{format:?}, {} bytes, {series} series: {rate:.0} MB/s", texts[0].len())?;
        }
    }
    Ok(())
}

fn setting() -> (Store, Taker) {
    let store = Store::default();
    let source = store.source(Policy {
        is_sent: true,
        namespace: "App".into(),
        dimensions: Dimensions::Named(Vec::new()),
        fixed: Vec::new(),
        is_high_resolution: false,
        series_max: 1_000_000,
        buckets: [1.0].into(),
    });
    let labels = [("job", "app"), ("instance", "127.0.0.1:9404")];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    (store, Taker::new(source, labels, Rules::default(), 0.0))
}

/// What an app exposes in one scrape or another.
fn exposition(bytes: usize, format: Format, round: usize) -> String {
    const BOUNDS: [&str; 12] =
        ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1.0", "2.5", "5.0", "10.0", "+Inf"];
    let (mut text, mut family) = (String::new(), 0);
    let ending = if format == Format::Text { "_total" } else { "" };
    while text.len() < bytes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "# HELP requests_{family}{ending} Requests.\n# TYPE requests_{family}{ending} counter");
        for (route, status) in (0..20).flat_map(|route| [200, 201, 404, 500, 503].map(|status| (route, status))) {
            let labels = format!("method=\"GET\",route=\"/api/v1/items/{route}\",status=\"{status}\"");
            let _ =
                writeln!(text, "requests_{family}_total{{{labels}}} {}", family * 1_000 + route * 10 + status + round);
        }
        let _ = writeln!(text, "# HELP took_{family}_seconds Times.\n# TYPE took_{family}_seconds histogram");
        for route in 0..10 {
            let labels = format!("method=\"GET\",route=\"/api/v1/items/{route}\"");
            for (number, bound) in BOUNDS.iter().enumerate() {
                let count = number * 100 + round;
                let _ = writeln!(text, "took_{family}_seconds_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(text, "took_{family}_seconds_count{{{labels}}} {}", 1_100 + round);
            let _ = writeln!(text, "took_{family}_seconds_sum{{{labels}}} {}.25", 123 + round);
        }
        let _ = writeln!(text, "# HELP open_{family} Open.\n# TYPE open_{family} gauge");
        for pool in 0..20 {
            let _ = writeln!(text, "open_{family}{{pool=\"db-{pool}\"}} {}.5e+06", 1 + round);
        }
        family += 1;
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

/// CPU time of this thread so far, in nanoseconds.
fn cpu() -> u64 {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has schedstat");
    text.split(' ').next().and_then(|field| field.parse().ok()).expect("the first field is a number")
}
