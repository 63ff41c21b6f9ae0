//! Proves what becomes of expositions: series for `/metrics`, and what CloudWatch gets.
//!
//! Promises: the store is the real one; numbers are worked out by hand.
//! Never: asks anybody by HTTP.

use std::collections::BTreeMap;

use proptest::{collection::vec, prelude::*};
use serde_json::json;

use super::take::{Taken, Taker};
use crate::{
    metrics::{
        expose::expose,
        exposition::{Format, Limits, Refused},
        relabel::Rules,
        store::{
            Shown, ShownValue, Store, Window,
            policy::{Dimensions, Policy},
        },
    },
    tell::exposition::{Form, Page},
};

pub(super) const LIMITS: Limits = Limits { samples: 1_000, labels: 16, name_bytes: 64, value_bytes: 128 };
/// When we were born.
const OURS: f64 = 1_000.0;

/// A target, and what it fills.
pub(super) struct World {
    pub(super) store: Store,
    pub(super) taker: Taker,
    pub(super) now: u32,
}

fn policy(series_max: usize) -> Policy {
    Policy {
        is_sent: true,
        namespace: "Shop".into(),
        dimensions: Dimensions::Named(vec!["path".into()]),
        fixed: Vec::new(),
        is_high_resolution: false,
        series_max,
        buckets: [].into(),
    }
}

impl World {
    pub(super) fn new(rules: &serde_json::Value) -> Self {
        let store = Store::default();
        let rules: Vec<_> = serde_json::from_value(rules.clone()).expect("they are rules");
        let labels = vec![("job".to_owned(), "app".to_owned())];
        let taker = Taker::new(store.source(policy(100)), labels, Rules::new(&rules).expect("they are rules"), OURS);
        Self { store, taker, now: 0 }
    }

    fn take(&mut self, text: &str) -> Result<Taken, Refused> {
        self.take_in(Format::Text, text)
    }

    pub(super) fn take_in(&mut self, format: Format, text: &str) -> Result<Taken, Refused> {
        self.now += 60;
        self.taker.take(&self.store, self.now, text.as_bytes(), (format, LIMITS))
    }

    /// What CloudWatch gets of a minute, `name{dimensions} sum` or `name{dimensions} sum count [values]`.
    fn minute(&mut self, text: &str) -> Vec<String> {
        self.take(text).expect("it is an exposition");
        self.told()
    }

    /// The same of what was taken since the last minute.
    pub(super) fn told(&self) -> Vec<String> {
        let mut told = Vec::new();
        let mut flush = self.store.flush();
        while flush.next(|_, datum| {
            let head: serde_json::Value = serde_json::from_str(&format!("{{{}}}", datum.head)).expect("members");
            let of = |dimension: &serde_json::Value| format!("{{{}}}", dimension["Value"].as_str().expect("text"));
            let dimensions: String = head["Dimensions"].as_array().into_iter().flatten().map(of).collect();
            let name = format!("{}{dimensions}", head["MetricName"].as_str().expect("text"));
            told.push(match &datum.window {
                Window::Sum(sum) => format!("{name} {sum}"),
                Window::Values(values) => {
                    let mut each = Vec::new();
                    values.each(|value, weight| each.push(format!("{value}x{weight}")));
                    format!("{name} {} of {} [{}]", values.sum(), values.count(), each.join(" "))
                }
                other => format!("{name} {other:?}"),
            });
        }) {}
        told.sort();
        told
    }

    /// What `/metrics` shows, by series.
    pub(super) fn shown(&self) -> BTreeMap<String, String> {
        let (mut all, mut family) = (BTreeMap::new(), String::new());
        self.store.show(|shown| match shown {
            Shown::Family { name, kind, .. } => family = format!("{kind:?} {name}"),
            Shown::Series { labels, value, .. } => {
                let value = match value {
                    ShownValue::Number(number) => number.to_string(),
                    other => format!("{other:?}"),
                };
                all.insert(format!("{family}{{{labels}}}"), value);
            }
        });
        all
    }
}

fn world() -> World {
    World::new(&json!([]))
}

const NOTHING: [&str; 0] = [];

/// What was counted before anybody looked is no news; what is counted between two looks is told once, by dimension.
#[test]
fn a_counter_becomes_what_came_on_top() {
    let text = |get: u32, put: u32| {
        format!(
            "# TYPE hits_total counter\nhits_total{{path=\"/a\",m=\"get\"}} {get}\nhits_total{{path=\"/a\",m=\"put\"}} {put}\n"
        )
    };
    let mut world = world();
    assert_eq!(world.minute(&text(100, 10)), NOTHING);
    assert_eq!(world.minute(&text(107, 11)), ["hits_total{/a} 8"]);
    assert_eq!(world.minute(&text(107, 11)), ["hits_total{/a} 0"]);
    // The process began anew.
    assert_eq!(world.minute(&text(3, 1)), ["hits_total{/a} 4"]);
    assert_eq!(
        world.shown(),
        BTreeMap::from([
            (r#"Counter hits{job="app",m="get",path="/a"}"#.to_owned(), "3".to_owned()),
            (r#"Counter hits{job="app",m="put",path="/a"}"#.to_owned(), "1".to_owned()),
        ])
    );
}

/// A series that shows up later was born from nothing, and so was everything of a process that began after us.
#[test]
fn what_was_born_after_us_counts_whole() {
    let counter = "# TYPE a_total counter\na_total 5\n";
    let start = |at: f64| format!("# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {at}\n");
    let created = |at: f64| format!("# TYPE a_created gauge\na_created {at}\n");
    let absent = |mut world: World| {
        world.taker.nobody_there();
        world
    };
    let seen = |mut world: World| {
        world.take("b 1\n").expect("good");
        world
    };
    for (what, mut world, text, expected) in [
        ("old", world(), counter.to_owned(), &[][..]),
        ("an old process", world(), counter.to_owned() + &start(999.0), &[]),
        ("a new process", world(), counter.to_owned() + &start(1_001.0), &["a_total 5"]),
        ("an old counter", world(), counter.to_owned() + &created(999.0), &[]),
        ("a new counter", world(), counter.to_owned() + &created(1_001.0), &["a_total 5"]),
        ("nobody was there at first", absent(world()), counter.to_owned(), &["a_total 5"]),
        ("nobody was there for a while", absent(seen(world())), counter.to_owned(), &["a_total 5"]),
        ("a new series", seen(world()), counter.to_owned(), &["a_total 5"]),
    ] {
        let told: Vec<_> = world.minute(&text).into_iter().filter(|told| told.starts_with("a_total")).collect();
        assert_eq!(told, expected, "{what}");
    }
}

/// A process that was started again, and has counted more by now than it had before.
#[test]
fn a_restart_is_noticed_though_the_value_is_not_less() {
    let text = |total: u32, start: f64, created: f64| {
        format!(
            "# TYPE a_total counter\na_total {total}\n# TYPE a_created gauge\na_created {created}\n\
             # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds {start}\n"
        )
    };
    let counted = |world: &mut World, text: &str| {
        world.minute(text).into_iter().filter(|told| told.starts_with("a_total")).collect::<Vec<_>>()
    };
    let mut world = world();
    assert_eq!(counted(&mut world, &text(10, 500.0, 500.0)), NOTHING);
    assert_eq!(counted(&mut world, &text(12, 500.9, 500.0)), ["a_total 2"], "some work it out anew each time");
    assert_eq!(counted(&mut world, &text(12, 2_000.0, 500.0)), ["a_total 12"]);
    assert_eq!(counted(&mut world, &text(14, 2_000.0, 2_100.0)), ["a_total 14"]);
    assert_eq!(counted(&mut world, &text(15, 2_000.0, 2_100.0)), ["a_total 1"]);
    assert_eq!(
        counted(&mut world, "# TYPE a_total counter\na_total NaN\n"),
        NOTHING,
        "what is no number changes nothing"
    );
    assert_eq!(counted(&mut world, &text(17, 2_000.0, 2_100.0)), ["a_total 2"]);
}

#[test]
fn a_histogram_becomes_values_with_an_exact_sum_and_count() {
    let text = |low: u32, middle: u32, all: u32, sum: f64| {
        format!(
            "# TYPE wait_seconds histogram\nwait_seconds_bucket{{path=\"/a\",le=\"1\"}} {low}\n\
             wait_seconds_bucket{{path=\"/a\",le=\"2\"}} {middle}\nwait_seconds_bucket{{path=\"/a\",le=\"+Inf\"}} {all}\n\
             wait_seconds_sum{{path=\"/a\"}} {sum}\nwait_seconds_count{{path=\"/a\"}} {all}\n"
        )
    };
    let mut world = world();
    assert_eq!(world.minute(&text(10, 20, 30, 100.0)), NOTHING);
    assert_eq!(world.minute(&text(13, 25, 36, 109.25)), ["wait_seconds{/a} 9.25 of 6 [0.5x3 1.5x2 2x1]"]);
    assert_eq!(world.minute(&text(13, 25, 36, 109.25)), NOTHING);
    // It began anew.
    assert_eq!(world.minute(&text(1, 1, 1, 0.75)), ["wait_seconds{/a} 0.75 of 1 [0.5x1]"]);
    let shown = world.shown().remove(r#"Histogram wait_seconds{job="app",path="/a"}"#).expect("it is shown");
    assert_eq!(shown, "Histogram { bounds: [1.0, 2.0], counts: [1.0, 0.0, 0.0], sum: 0.75 }");
    // Without a sum, what the middles make.
    let bare = |count: u32| format!("# TYPE b histogram\nb_bucket{{le=\"4\"}} {count}\n");
    assert_eq!(world.minute(&bare(3)), ["b 6 of 3 [2x3]"]);
}

#[test]
fn gauges_summaries_and_texts_become_what_they_are() {
    let text = "# TYPE temperature gauge\ntemperature 21.5\n# TYPE broken gauge\nbroken NaN\n# TYPE lag summary\n\
                lag{quantile=\"0.5\"} 3\nlag_sum 10\nlag_count 4\n# TYPE build_info info\nbuild_info{v=\"1\"} 1\n\
                # TYPE phase stateset\nphase{phase=\"up\"} 1\nnobody_says 7\n# TYPE depth gaugehistogram\n\
                depth_bucket{le=\"+Inf\"} 4\ndepth_gcount 4\ndepth_gsum 9\n";
    let mut world = world();
    let gauges = ["depth_gcount 4 of 1 [4x1]", "depth_gsum 9 of 1 [9x1]"];
    let rest = ["nobody_says 7 of 1 [7x1]", "temperature 21.5 of 1 [21.5x1]"];
    assert_eq!(world.minute(text), [gauges, rest].concat());
    let later = text.replace("lag_sum 10", "lag_sum 16").replace("lag_count 4", "lag_count 6");
    assert_eq!(world.minute(&later), [&gauges[..], &["lag 6 of 2 [3x2]"], &rest[..]].concat());
    let shown = world.shown();
    assert_eq!(shown[r#"Info build{job="app",v="1"}"#], "1");
    assert_eq!(shown[r#"StateSet phase{job="app",phase="up"}"#], "1");
    assert_eq!(shown[r#"Gauge broken{job="app"}"#], "NaN");
    assert_eq!(shown[r#"Summary lag{job="app"}"#], "Summary { quantiles: [(0.5, 3.0)], sum: 16.0, count: 6.0 }");
}

#[test]
fn rules_rename_and_drop_and_labels_of_the_target_win() {
    let mut world = World::new(&json!([
        {"source_labels": ["__name__"], "regex": "go_.*", "action": "drop"},
        {"source_labels": ["__name__"], "regex": "old_(.*)", "target_label": "__name__", "replacement": "new_$1"},
        {"regex": "secret", "action": "labeldrop"},
        {"source_labels": ["m"], "regex": "nameless", "target_label": "__name__", "replacement": ""},
    ]));
    let text = "go_gc 1\nold_x{secret=\"s\",job=\"theirs\",e=\"\"} 2\ny{m=\"nameless\"} 3\n";
    for _ in 0..2 {
        let taken = world.take(text).expect("it is good");
        assert_eq!((taken.samples, taken.dropped, taken.without_series), (3, 2, 0));
    }
    let expected = r#"Unknown new_x{exported_job="theirs",job="app"}"#;
    assert_eq!(world.shown().into_iter().collect::<Vec<_>>(), [(expected.to_owned(), "2".to_owned())]);
}

/// Beyond the cap there is one series a name; the known ones stay exact.
#[test]
fn a_bomb_of_labels_hits_the_cap_and_nothing_else() {
    let mut world = world();
    let bomb = |from: usize| -> String {
        let lines = (from..from + 400).map(|number| format!("bomb_total{{n=\"{number}\"}} 1\n"));
        format!("# TYPE bomb_total counter\n{}", lines.collect::<String>())
    };
    let good = |total: u32| format!("# TYPE good_total counter\ngood_total {total}\n");
    world.minute(&(good(5) + &bomb(0)));
    let told = world.minute(&(good(7) + &bomb(1_000)));
    assert!(told.contains(&"good_total 2".to_owned()), "{told:?}");
    assert!(world.store.size().series <= 201, "{:?}", world.store.size());
    assert!(world.store.size().overflowed > 0);
}

#[test]
fn each_scrape_is_reported() {
    let mut world = world();
    let taken = world.take("a 1\nb 2\n").expect("it is good");
    world.taker.report(&world.store, 60, Some(&taken), 0.25);
    let of = |world: &World, name: &str| world.shown()[&format!("Gauge {name}{{job=\"app\"}}")].clone();
    let all = |world: &World| ["up", "scrape_duration_seconds", "scrape_samples_scraped"].map(|name| of(world, name));
    assert_eq!(all(&world), ["1", "0.25", "2"]);
    world.taker.report(&world.store, 120, None, 10.0);
    assert_eq!(all(&world), ["0", "10", "0"]);
    let told = world.minute("a 1\n");
    assert!(told.iter().all(|told| told.starts_with('a') || told.starts_with('b')), "nobody pays for it: {told:?}");
}

#[test]
fn of_what_is_refused_nothing_is_taken() {
    let mut world = world();
    world.minute("# TYPE a_total counter\na_total 1\n");
    let many = "a_total 2\n".repeat(1_001);
    for text in [many.as_str(), "<html>\n"] {
        assert!(world.take(text).is_err());
    }
    assert_eq!(world.minute("# TYPE a_total counter\na_total 4\n"), ["a_total 3"]);
}

/// What was met before is taken at a glance, and means what it meant: histograms with their bounds last or first, odd blanks, labels that look like
/// others, timestamps, a type that comes later.
#[test]
fn what_is_taken_at_a_glance_is_what_a_first_look_takes() {
    let texts = [
        "# TYPE a counter\na{p=\"}\",le=\"1\"} 1\na 2\n# TYPE h histogram\nh_bucket{p=\"x\",le=\"1\"} 1\nh_bucket{p=\"x\",le=\"+Inf\"} 2\nh_sum{p=\"x\"} 3\nh_count{p=\"x\"} 2\n",
        "# TYPE a counter\na{p=\"}\",le=\"1\"} 5\na 7\n# TYPE h histogram\nh_bucket{p=\"x\",le=\"1\"} 4\nh_bucket{p=\"x\",le=\"+Inf\"} 6\nh_sum{p=\"x\"} 9\nh_count{p=\"x\"} 6\n",
        "# TYPE h histogram\nh_bucket{le=\"1\",p=\"x\"} 5\nh_bucket{le=\"+Inf\",p=\"x\"} 7\nh_bucket{p=\"y\",le=\"1\"} 1\nh_bucket{p=\"x\",le=\"2\"} 6\nh_count{p=\"y\"} 1\nh_sum{p=\"x\"} 10\n",
        "# TYPE h histogram\nh_bucket{q=\"le=\\\"1\",le=\"1\"} 5\nh_bucket{q=\"le=\\\"2\",le=\"1\"} 6\nh_bucket{xle=\"1\"} 7\nh_bucket{le=\"1\"} 1\nh_bucket{le=\"+Inf\"} 1\nh_count 1\nh_sum 2\n",
        "a{p=\"}\",le=\"1\"}  6\na 8 123\n a\t9\n{\"a\"} 10\n# TYPE a gauge\n",
        "# TYPE a counter\na{p=\"}\",le=\"1\"} x\na 11\nbroken\n# TYPE s summary\ns{quantile=\"0.5\"} 1\ns_sum 2\ns_count 3\n",
        "# TYPE a counter\n# TYPE a_created gauge\na 12\na_created 5000\n# TYPE g gaugehistogram\ng_bucket{le=\"1\"} 1\ng_gcount 2\n",
    ];
    let none = serde_json::json!([]);
    for first in texts {
        for second in texts {
            let (mut known, mut afresh) = (World::new(&none), World::new(&none));
            for text in [first, second, second] {
                afresh.taker.forget_spellings();
                let taken = (known.take(text), afresh.take(text));
                assert_eq!(taken.0, taken.1, "{text} behind {first}");
                assert_eq!(known.shown(), afresh.shown(), "{text} behind {first}");
            }
        }
    }
}

proptest! {
    /// However a counter goes, what was told adds up to what it counted, and restarts lose nothing but what was never seen.
    #[test]
    fn property_what_is_told_adds_up(steps in vec((0_u32..50, any::<bool>(), any::<bool>()), 1..20)) {
        let mut world = world();
        world.taker.nobody_there();
        let (mut total, mut expected, mut seen, mut told) = (0_u32, 0_u32, 0_u32, 0.0);
        for (more, restarts, is_there) in steps {
            if restarts {
                total = 0;
            }
            total += more;
            let text = if is_there { format!("# TYPE a_total counter\na_total {total}\n") } else { "b 1\n".to_owned() };
            if is_there {
                expected += if total >= seen { total - seen } else { total };
                seen = total;
            }
            for one in world.minute(&text) {
                if let Some(sum) = one.strip_prefix("a_total ") {
                    told += sum.parse::<f64>().expect("a number");
                }
            }
        }
        prop_assert_eq!(told, f64::from(expected));
    }

    #[test]
    fn property_no_text_makes_it_panic(text in "(# TYPE [ab] (counter|histogram|summary|gaugehistogram)\n|[ab](_bucket|_sum|_count|_total|_created)?(\\{(le|quantile|x)=\"(-?[0-9]|.Inf|NaN)\"\\})? (-?[0-9]{1,2}|NaN|-Inf|1e308)\n){0,12}") {
        let mut world = world();
        for _ in 0..2 {
            let _ = world.take(&text);
            world.shown();
        }
    }

    /// Any lines, again and again with other numbers: nothing depends on what was met before.
    #[test]
    fn property_what_was_met_before_changes_nothing(
        scrapes in vec(vec((
            prop::sample::select(vec!["a", "a_total", "h_bucket", "h_sum", "h_count", "h", "a_created", "{\"a\"}"]),
            prop::sample::select(vec!["", "{}", "{p=\"x\"}", "{p=\"x\",le=\"1\"}", "{p=\"x\",le=\"+Inf\"}", "{le=\"1\",p=\"x\"}", "{p=\"y\",le=\"2\"}", "{p=\"}\"}", "{p=\"\\\"\"}", "{p=x}", "{p=\"x\",}"]),
            prop::sample::select(vec![" 1", " 5", " 2.5", "  3", " 7 123", " NaN", " x", "4", " 6 "]),
        ), 0..12), 1..4),
        types in vec(prop::sample::select(vec!["# TYPE a counter\n", "# TYPE h histogram\n", "# TYPE a_total gauge\n", "# TYPE a gauge\n"]), 0..3),
    ) {
        let none = serde_json::json!([]);
        let (mut known, mut afresh) = (World::new(&none), World::new(&none));
        for scrape in scrapes {
            let lines: String = scrape.iter().map(|(name, labels, value)| format!("{name}{labels}{value}\n")).collect();
            let text = types.concat() + &lines;
            afresh.taker.forget_spellings();
            prop_assert_eq!(known.take(&text), afresh.take(&text), "{}", &text);
            prop_assert_eq!(known.shown(), afresh.shown(), "{}", &text);
        }
    }
}

/// What an app says in OpenMetrics of single requests is on our page too, at the same counter and the same bucket.
#[test]
fn exemplars_stay_with_what_they_are_of() {
    let mut world = world();
    let text = "# TYPE hits counter\nhits_total{m=\"get\"} 5 # {trace_id=\"ab\"} 1 1795860060.007\n\
                # TYPE wait histogram\nwait_bucket{le=\"0.5\"} 1 # {trace_id=\"cd\"} 0.25\nwait_bucket{le=\"2.0\"} 1\n\
                wait_bucket{le=\"+Inf\"} 3 # {} 7\nwait_sum 9\nwait_count 3\n# EOF\n";
    world.taker.take(&world.store, 1, text.as_bytes(), (Format::OpenMetrics, LIMITS)).expect("good");
    let mut page = Page::new(Form::OpenMetrics);
    expose(&world.store, &mut page);
    let page = page.finish();
    for line in [
        "hits_total{job=\"app\",m=\"get\"} 5 # {trace_id=\"ab\"} 1 1795860060.007",
        "wait_bucket{job=\"app\",le=\"0.5\"} 1 # {trace_id=\"cd\"} 0.25",
        "wait_bucket{job=\"app\",le=\"2.0\"} 1",
        "wait_bucket{job=\"app\",le=\"+Inf\"} 3 # {} 7",
    ] {
        assert!(page.lines().any(|own| own == line), "{line}\n{page}");
    }
    let mut page = Page::new(Form::Text);
    expose(&world.store, &mut page);
    assert!(!page.finish().contains(" # {"), "0.0.4 has no place for them");
}
