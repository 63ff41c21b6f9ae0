//! Proves that a page which is taken by its numbers alone means what it means when it is read whole.
//!
//! Promises: each page is taken by one that knows the pages before and by one that knows none; all that is told of both is compared.
//! Never: asks anybody by HTTP.

use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use super::take_tests::{LIMITS, World};
use crate::metrics::exposition::Format;

/// Families as libraries write them; each `@` is a number, each `~` an exemplar or nothing.
const FAMILIES: [&str; 11] = [
    "# HELP hits Hits.\n# TYPE hits counter\nhits_total{path=\"/a\"} @~\nhits_total{path=\"/b\",m=\"{ \\\"} 1\"} @\nhits_total @\n",
    "# TYPE born counter\nborn_total{path=\"/a\"} @\nborn_created{path=\"/a\"} 1000.5\n",
    "# TYPE wait histogram\nwait_bucket{path=\"/a\",le=\"0.5\"} @~\nwait_bucket{path=\"/a\",le=\"1.0\"} @\nwait_bucket{path=\"/a\",le=\"+Inf\"} @\nwait_count{path=\"/a\"} @\nwait_sum{path=\"/a\"} @\nwait_created{path=\"/a\"} 2000\n",
    "# TYPE took_seconds histogram\n# UNIT took_seconds seconds\ntook_seconds_bucket{le=\"1.0\"} @\ntook_seconds_bucket{le=\"+Inf\"} @\ntook_seconds_sum @\ntook_seconds_count @\n",
    "# TYPE open gauge\nopen{path=\"/a\"} @\nopen{path=\"/b\"} @\n",
    "# TYPE gc summary\ngc{quantile=\"0.5\"} @\ngc{quantile=\"0.9\"} @\ngc_sum @\ngc_count @\n",
    "# TYPE build info\nbuild_info{v=\"1\"} @\n",
    "# TYPE state stateset\nstate{state=\"on\"} @\nstate{state=\"off\"} @\n",
    "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds @\n",
    "nobody_says{p=\"x\"} @\n",
    "# TYPE size gaugehistogram\nsize_bucket{le=\"1.0\"} @\nsize_bucket{le=\"+Inf\"} @\nsize_gcount @\nsize_gsum @\n",
];

/// What may happen to a page.
#[derive(Clone, Copy, Debug)]
enum Change {
    Nothing,
    Without(usize),
    Twice(usize),
    Blanks(usize),
    Timestamp(usize),
    AnotherBirth,
    Cut(usize),
}

/// A page: these families, these numbers, one after the other.
fn page(families: &[usize], numbers: &[&str], format: Format, change: Change) -> String {
    let mut numbers = numbers.iter().cycle();
    let mut text = String::new();
    for family in families {
        for c in FAMILIES[*family].chars() {
            match c {
                '@' => text.push_str(numbers.next().expect("they come again")),
                '~' if format == Format::OpenMetrics => text.push_str(" # {trace_id=\"ab\"} 0.25"),
                '~' => {}
                _ => text.push(c),
            }
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    match change {
        Change::Nothing => {}
        Change::Without(at) => drop(lines.remove(at % lines.len())),
        Change::Twice(at) => lines.insert(at % lines.len(), lines[at % lines.len()].clone()),
        Change::Blanks(at) => {
            let at = at % lines.len();
            lines[at].push_str(" \t\r");
        }
        Change::Timestamp(at) => {
            let at = at % lines.len();
            lines[at].push_str(" 123");
        }
        Change::AnotherBirth => lines.iter_mut().for_each(|line| *line = line.replace(" 1000.5", " 1000.75")),
        Change::Cut(at) => {
            let text = lines.join("\n");
            return text.chars().take(at % text.len()).collect();
        }
    }
    lines.join("\n") + "\n"
}

/// From the third time on there is nothing to look up. Were it not so, all below would prove nothing.
#[test]
fn a_page_with_the_lines_of_the_one_before_is_taken_by_its_numbers() {
    for format in [Format::Text, Format::OpenMetrics] {
        let mut world = World::new(&json!([{"source_labels":["__name__"],"regex":"open","action":"drop"}]));
        let families: Vec<usize> = (0..FAMILIES.len() - 1).collect();
        let numbered = |number| page(&families, &[number], format, Change::Nothing);
        let text = numbered("1");
        for round in ["nothing was met", "nothing was learned"] {
            assert_eq!(world.taker.again(&world.store, 1, text.as_bytes(), (format, LIMITS)), None, "{round}");
            let taken = world.take_in(format, &text).expect("good");
            assert_eq!((taken.faults, taken.dropped), (0, 2), "{taken:?}");
        }
        let again = world.taker.again(&world.store, 1, text.as_bytes(), (format, LIMITS)).expect("the same lines");
        assert_eq!((again.samples, again.dropped), (text.lines().filter(|line| !line.starts_with('#')).count(), 2));
        // A process that was started again, another line, a number that is none: read whole, and learned anew.
        for other in [
            numbered("9"),
            text.replace("hits_total 1", "hits_total{} 1"),
            text.replace("open{path=\"/a\"} 1", "open{path=\"/a\"} x"),
        ] {
            assert_ne!(other, text);
            assert_eq!(world.taker.again(&world.store, 1, other.as_bytes(), (format, LIMITS)), None, "{other}");
            world.take_in(format, &text).expect("good");
        }
        let again = world.taker.again(&world.store, 1, text.as_bytes(), (format, LIMITS));
        assert_eq!(again.map(|taken| taken.faults), Some(0), "it was learned anew");
    }
}

/// A series that was forgotten is made anew, and what has its place by then is left alone.
#[test]
fn what_was_forgotten_is_not_written_to() {
    let text = |name: &str, number: u32| format!("# TYPE {name} counter\n{name} {number}\n");
    let mut world = World::new(&json!([]));
    for number in [1, 2, 3] {
        world.take_in(Format::Text, &text("a_total", number)).expect("good");
    }
    assert_eq!(world.store.forget(world.now + 1), 1);
    let mut other = World { store: world.store.clone(), ..World::new(&json!([])) };
    other.take_in(Format::Text, &text("b_total", 70)).expect("good");
    world.told();
    world.take_in(Format::Text, &text("a_total", 5)).expect("good");
    assert_eq!(world.told(), ["a_total 5"]);
    assert_eq!(world.shown().len(), 2);
}

/// What OpenMetrics demands of numbers is looked at on a page that is known as well, before anything of it is taken.
#[test]
fn what_openmetrics_forbids_of_numbers_is_refused_on_a_known_page_too() {
    let good = "# TYPE hits counter\nhits_total 1\n# TYPE wait histogram\nwait_bucket{le=\"1.0\"} 1\nwait_bucket{le=\"+Inf\"} 2\n\
                wait_count 2\nwait_sum 3\n# TYPE took histogram\ntook_bucket{le=\"1.0\"} 4\ntook_bucket{le=\"+Inf\"} 5\ntook_sum 6\n\
                took_count 5\n# TYPE gc summary\ngc{quantile=\"0.5\"} 7\ngc_sum 7\ngc_count 1\n# TYPE build info\nbuild_info 1\n# TYPE on stateset\n\
                on{on=\"a\"} 0\n# TYPE load gauge\nload 8\n# EOF\n";
    for (line, forbidden) in [
        ("hits_total 1", "hits_total -1"),
        ("hits_total 1", "hits_total NaN"),
        ("hits_total 1", "hits_total 1 # {} x"),
        ("wait_bucket{le=\"1.0\"} 1", "wait_bucket{le=\"1.0\"} 3"),
        ("wait_bucket{le=\"1.0\"} 1", "wait_bucket{le=\"1.0\"} 0.5"),
        ("wait_count 2", "wait_count 3"),
        ("wait_sum 3", "wait_sum -3"),
        ("took_bucket{le=\"+Inf\"} 5", "took_bucket{le=\"+Inf\"} 4"),
        ("took_count 5", "took_count 6"),
        ("gc{quantile=\"0.5\"} 7", "gc{quantile=\"0.5\"} -7"),
        ("build_info 1", "build_info 2"),
        ("on{on=\"a\"} 0", "on{on=\"a\"} 2"),
        ("load 8", "load 8 # {} 1"),
        ("load 8", "load eight"),
        ("# EOF\n", "# EOF\n\n"),
    ] {
        let mut world = World::new(&json!([]));
        for _ in 0..2 {
            world.take_in(Format::OpenMetrics, good).expect("good");
        }
        assert!(world.taker.learned.is_some());
        let (text, before) = (good.replace(line, forbidden), world.shown());
        assert_ne!(text, good);
        assert!(world.take_in(Format::OpenMetrics, &text).is_err(), "{forbidden}");
        assert_eq!(world.shown(), before, "{forbidden}");
    }
}

/// A page with a point that was not met before is not learned, or the points behind it would go to each other's series.
#[test]
fn what_is_new_on_a_page_moves_nothing_to_another_series() {
    let mut world = World::new(&json!([]));
    let (a, b) = ("# TYPE a_total counter\na_total 1\n", "# TYPE b_total counter\nb_total 70\n");
    for (text, told) in [
        (a.to_owned(), vec![]),
        (a.to_owned(), vec!["a_total 0"]),
        ([b, a].concat(), vec!["a_total 0", "b_total 70"]),
        ([b, a].concat(), vec!["a_total 0", "b_total 0"]),
        ([b, a].concat(), vec!["a_total 0", "b_total 0"]),
    ] {
        world.take_in(Format::Text, &text).expect("good");
        assert_eq!(world.told(), told, "{text}");
    }
}

proptest! {
    /// Page after page, of which most have the lines of the one before: nothing depends on what was met before.
    #[test]
    fn property_a_page_means_the_same_whatever_was_before(
        families in vec(0..FAMILIES.len(), 1..5),
        format in select(vec![Format::Text, Format::OpenMetrics]),
        pages in vec(
            (
                vec(select(vec!["1", "1", "1", "2", "3", "0", "1", "1", "17.5", "-1", "NaN", "+Inf", "1e3"]), 1..4),
                prop_oneof![
                    8 => Just(Change::Nothing),
                    1 => (0_usize..40).prop_map(Change::Without),
                    1 => (0_usize..40).prop_map(Change::Twice),
                    1 => (0_usize..40).prop_map(Change::Blanks),
                    1 => (0_usize..40).prop_map(Change::Timestamp),
                    1 => Just(Change::AnotherBirth),
                    1 => (0_usize..800).prop_map(Change::Cut),
                ],
            ),
            3..8,
        ),
    ) {
        let none = json!([]);
        let (mut known, mut afresh) = (World::new(&none), World::new(&none));
        for (numbers, change) in pages {
            let text = page(&families, &numbers, format, change);
            afresh.taker.forget_spellings();
            prop_assert_eq!(known.take_in(format, &text), afresh.take_in(format, &text), "{}", &text);
            prop_assert_eq!(known.shown(), afresh.shown(), "{}", &text);
            prop_assert_eq!(known.told(), afresh.told(), "{}", &text);
        }
    }
}
