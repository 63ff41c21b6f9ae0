//! Proves how expositions are read: usual ones, odd ones, hostile ones.
//!
//! Promises: expected results are written by hand; what a writer here writes is read as the same.
//! Never: proves what OpenMetrics forbids; `strict_tests` does.

use std::{borrow::Cow, collections::BTreeSet, fmt::Write};

use proptest::{collection::vec, prelude::*};

use super::{
    family::Kind,
    line::{Line, Metadata, Reader},
    *,
};

const LIMITS: Limits = Limits { samples: 1_000, labels: 8, name_bytes: 64, value_bytes: 128 };

/// Every point of `text` as a line for people, in the order in which they are told; or why there is none.
fn told(text: &[u8], format: Format) -> Result<Vec<String>, Refused> {
    let mut survey = survey(text, format, LIMITS)?;
    let mut all = Vec::new();
    points(text, (format, LIMITS), &mut survey, |point| all.push(shown(point)));
    Ok(all)
}

fn shown(point: &Point<'_, '_>) -> String {
    let mut out = format!("{:?} {}", point.kind, point.name);
    for Label { name, value } in point.labels {
        write!(out, " {name}={value:?}").expect("a text takes all");
    }
    match point.value {
        Value::Number(number) => write!(out, " {number}"),
        Value::Histogram(histogram) => {
            let buckets: Vec<_> =
                histogram.buckets.iter().map(|Bucket { le, count }| format!("{le}:{count}")).collect();
            write!(out, " [{}] sum {:?}", buckets.join(" "), histogram.sum)
        }
        Value::Summary(Summary { quantiles, sum, count }) => write!(out, " {quantiles:?} sum {sum:?} count {count:?}"),
    }
    .expect("a text takes all");
    for (what, value) in [("at", point.timestamp_ms.map(|at| at as f64)), ("born", point.born)] {
        value.map_or(Ok(()), |value| write!(out, " {what} {value}")).expect("a text takes all");
    }
    if let Some(exemplar) = point.exemplar {
        let trace = exemplar.labels.iter().map(|label| &*label.value).collect::<Vec<_>>().join(",");
        write!(out, " like {trace} {}", exemplar.value).expect("a text takes all");
    }
    out
}

fn lines(text: &str) -> Vec<String> {
    told(text.as_bytes(), Format::Text).unwrap_or_else(|refused| vec![format!("{refused:?}")])
}

/// After the example in Prometheus' description of the format.
#[test]
fn the_example_of_the_description_is_read() {
    let text = r#"
# HELP http_requests_total The total number of HTTP requests.
# TYPE http_requests_total counter
http_requests_total{method="post",code="200"} 1027 1395066363000
http_requests_total{method="post",code="400"}    3 1395066363000

# Escaping in label values:
msdos_file_access_time_seconds{path="C:\\DIR\\FILE.TXT",error="Cannot find file:\n\"FILE.TXT\""} 1.458255915e9

# Minimalistic line:
metric_without_timestamp_and_labels 12.47

# A weird metric from before the epoch:
something_weird{problem="division by zero"} +Inf -3982045

# A histogram, which has a pretty complex representation in the text format:
# HELP http_request_duration_seconds A histogram of the request duration.
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.05"} 24054
http_request_duration_seconds_bucket{le="0.1"} 33444
http_request_duration_seconds_bucket{le="0.2"} 100392
http_request_duration_seconds_bucket{le="0.5"} 129389
http_request_duration_seconds_bucket{le="1"} 133988
http_request_duration_seconds_bucket{le="+Inf"} 144320
http_request_duration_seconds_sum 53423
http_request_duration_seconds_count 144320

# Finally a summary, which has a complex representation, too:
# HELP rpc_duration_seconds A summary of the RPC duration in seconds.
# TYPE rpc_duration_seconds summary
rpc_duration_seconds{quantile="0.01"} 3102
rpc_duration_seconds{quantile="0.5"} 4773
rpc_duration_seconds_sum 1.7560473e+07
rpc_duration_seconds_count 2693
"#;
    assert_eq!(
        lines(text),
        [
            r#"Counter http_requests_total method="post" code="200" 1027 at 1395066363000"#,
            r#"Counter http_requests_total method="post" code="400" 3 at 1395066363000"#,
            r#"Unknown msdos_file_access_time_seconds path="C:\\DIR\\FILE.TXT" error="Cannot find file:\n\"FILE.TXT\"" 1458255915"#,
            "Unknown metric_without_timestamp_and_labels 12.47",
            r#"Unknown something_weird problem="division by zero" inf at -3982045"#,
            "Histogram http_request_duration_seconds [0.05:24054 0.1:33444 0.2:100392 0.5:129389 1:133988 inf:144320] sum Some(53423.0)",
            "Summary rpc_duration_seconds [(0.01, 3102.0), (0.5, 4773.0)] sum Some(17560473.0) count Some(2693.0)",
        ]
    );
}

#[test]
fn openmetrics_says_when_things_were_born_and_gives_examples() {
    let text = concat!(
        "# HELP jobs Jobs \\\"done\\\".\n# TYPE jobs counter\n# UNIT jobs \n",
        "jobs_total{q=\"a\"} 5 1520879607.789 # {trace_id=\"0af7\"} 0.5 1520879607.1\njobs_created{q=\"a\"} 1520430000.123 1520879607.789\n",
        "jobs_total{q=\"b\"} 7\n",
        "# TYPE wait_seconds histogram\n# UNIT wait_seconds seconds\n",
        "wait_seconds_bucket{le=\"0.5\"} 2 # {trace_id=\"1b\"} 0.3\nwait_seconds_bucket{le=\"+Inf\"} 3\n",
        "wait_seconds_count 3\nwait_seconds_sum 1.5\nwait_seconds_created 1520430001\n",
        "# TYPE app info\napp_info{version=\"1.2\"} 1\n# TYPE phase stateset\nphase{phase=\"up\"} 1\nphase{phase=\"down\"} 0\n",
        "# TYPE depth gaugehistogram\ndepth_bucket{le=\"-1\"} 3\ndepth_bucket{le=\"+Inf\"} 4\ndepth_gcount 4\ndepth_gsum -2\n# EOF\n",
    );
    let expected = [
        r#"Counter jobs_total q="a" 5 at 1520879607789 born 1520430000.123 like 0af7 0.5"#,
        r#"Counter jobs_total q="b" 7"#,
        r#"Info app_info version="1.2" 1"#,
        r#"StateSet phase phase="up" 1"#,
        r#"StateSet phase phase="down" 0"#,
        "Histogram wait_seconds [0.5:2 inf:3] sum Some(1.5) born 1520430001",
        "GaugeHistogram depth [-1:3 inf:4] sum Some(-2.0)",
    ];
    assert_eq!(told(text.as_bytes(), Format::OpenMetrics), Ok(expected.map(str::to_owned).into()));
    let mut survey = survey(text.as_bytes(), Format::OpenMetrics, LIMITS).expect("it is valid");
    points(text.as_bytes(), (Format::OpenMetrics, LIMITS), &mut survey, |point| match point.name {
        "jobs_total" => assert_eq!((point.help, point.unit), ("Jobs \"done\".", "")),
        "wait_seconds" => assert_eq!((point.help, point.unit), ("", "seconds")),
        _ => {}
    });
}

/// What Python's client writes in 0.0.4: a family of its own says when a counter was born.
#[test]
fn a_gauge_beside_a_counter_says_when_it_was_born() {
    let text = "# TYPE jobs_total counter\njobs_total{q=\"a\"} 5\njobs_total{q=\"b\"} 6\n# TYPE jobs_created gauge\n\
                jobs_created{q=\"a\"} 1.5e9\n# TYPE wait histogram\nwait_bucket{le=\"+Inf\"} 1\nwait_count 1\nwait_sum 2\n\
                # TYPE wait_created gauge\nwait_created 1.6e9\n# TYPE user_created gauge\nuser_created 9\n\
                # TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.4e9\n";
    assert_eq!(
        lines(text),
        [
            r#"Counter jobs_total q="a" 5 born 1500000000"#,
            r#"Counter jobs_total q="b" 6"#,
            "Gauge user_created 9",
            "Gauge process_start_time_seconds 1400000000",
            "Histogram wait [inf:1] sum Some(2.0) born 1600000000",
        ]
    );
    assert_eq!(survey(text.as_bytes(), Format::Text, LIMITS).expect("good").process_start, Some(1.4e9));
}

/// What breaks a rule of 0.0.4 that libraries break, and means one thing all the same.
#[test]
fn what_is_meant_is_taken() {
    for (text, meant) in [
        ("a 1", "Unknown a 1"),
        ("a 1\r\n", "Unknown a 1"),
        ("  \t a\t{ x = \"y\" , }\t1\t2 \t", "Unknown a x=\"y\" 1 at 2"),
        ("a{x=\"y\"}1\n", "Unknown a x=\"y\" 1"),
        ("a{} 1\n", "Unknown a 1"),
        ("a{x=\"\"} 1\n", "Unknown a x=\"\" 1"),
        ("a:b{x=\"}{,\"} 1\n", "Unknown a:b x=\"}{,\" 1"),
        ("a{x=\"1 # 2\"} 1\n", "Unknown a x=\"1 # 2\" 1"),
        ("a{x=\"\\t\\\\\"} 1\n", "Unknown a x=\"\\\\t\\\\\" 1"),
        ("a{x=\"ä\"} 1\n", "Unknown a x=\"ä\" 1"),
        ("{\"a.b\",\"c.d\"=\"e\"} 1\n", "Unknown a.b c.d=\"e\" 1"),
        ("{x=\"y\",\"a.b\"} 1\n", "Unknown a.b x=\"y\" 1"),
        ("{\"a\\\"b\"} 1\n", "Unknown a\"b 1"),
        ("# TYPE \"a.b\" counter\n{\"a.b\"} 1\n", "Counter a.b 1"),
        ("a_total 1\n# TYPE a_total counter\n", "Counter a_total 1"),
        ("#TYPE a counter\na 1\n", "Counter a 1"),
        ("# TYPE a  counter \na 1\n", "Counter a 1"),
        ("# TYPE a counter\n# TYPE a gauge\na 1\n", "Counter a 1"),
        ("# TYPE a untyped\na 1\n", "Unknown a 1"),
        ("# TYPE a unknown\na 1\n", "Unknown a 1"),
        ("# EOF\na 1\n", "Unknown a 1"),
        ("# HELP\n# TYPES a b\n#\n# \n##\na 1\n", "Unknown a 1"),
        ("# TYPE a histogram\na 1\n", "Unknown a 1"),
        ("a_bucket{le=\"1\"} 1\n", "Unknown a_bucket le=\"1\" 1"),
        ("# TYPE a histogram\na_count 3\n", "Histogram a [inf:3] sum None"),
        ("# TYPE a histogram\na_bucket{le=\"1\"} 3\n", "Histogram a [1:3 inf:3] sum None"),
        (
            "# TYPE a histogram\na_bucket{le=\"+Inf\"} 2\na_bucket{le=\"2\"} 3\na_bucket{le=\"1\"} 5\na_bucket{le=\"x\"} 9\na_count 4\n",
            "Histogram a [1:5 2:5 inf:5] sum None",
        ),
        (
            "# TYPE a histogram\na_bucket{le=\"1\"} 3\na_bucket{le=\"1.0\"} 4\na_bucket 9\n",
            "Histogram a [1:4 inf:4] sum None",
        ),
        ("# TYPE a histogram\na_bucket{le=\"1\"} NaN\na_count 4\n", "Histogram a [inf:4] sum None"),
        ("# TYPE a summary\na_sum 4\n", "Summary a [] sum Some(4.0) count None"),
        ("# TYPE a summary\na 4\n", "Summary a [] sum None count None"),
    ] {
        assert_eq!(lines(text), [meant], "{text:?}");
    }
}

/// Samples of one histogram need not stand together.
#[test]
fn histograms_are_gathered_wherever_their_samples_stand() {
    let text = "# TYPE a histogram\na_bucket{x=\"1\",le=\"1\"} 1\na_bucket{x=\"2\",le=\"1\"} 2\nb 1\na_bucket{le=\"+Inf\",x=\"1\"} 3\n\
                a_sum{x=\"2\",y=\"\"} 5\na_count{x=\"1\"} 3\na_count{x=\"2\"} 4\na_sum{x=\"1\"} 6\n";
    assert_eq!(
        lines(text),
        [
            "Unknown b 1",
            "Histogram a x=\"1\" [1:1 inf:3] sum Some(6.0)",
            "Histogram a x=\"2\" [1:2 inf:4] sum Some(5.0)",
        ]
    );
}

/// A bound is that of a bucket; with a sum or a count it is a label like others, and what has it is another histogram.
#[test]
fn a_bound_belongs_to_buckets() {
    let text = "# TYPE a histogram\na_count{x=\"1\",le=\"1\"} 7\na_bucket{x=\"1\",le=\"1\"} 1\na_count{x=\"1\"} 3\na_sum{x=\"1\"} 6\n";
    assert_eq!(
        lines(text),
        ["Histogram a x=\"1\" le=\"1\" [inf:7] sum None", "Histogram a x=\"1\" [1:1 inf:3] sum Some(6.0)"]
    );
}

/// Each line is judged alone: what is wrong is counted by its reason, and the sample behind it is taken.
#[test]
fn a_line_that_is_wrong_harms_no_other() {
    let long = |length: usize| "x".repeat(length);
    let many: String = (0..9).map(|number| format!("l{number}=\"\",")).collect();
    for (line, label) in [
        ("a", "value"),
        ("a ", "value"),
        ("a x", "value"),
        ("a 1 2 3", "trailing"),
        ("a 1 x", "timestamp"),
        ("a 1 1.5", "timestamp"),
        ("a 1 # {x=\"y\"} 1", "timestamp"),
        ("a 1 1 # {x=\"y\"} 1", "trailing"),
        ("1a 1", "name"),
        ("-a 1", "name"),
        ("ä 1", "name"),
        ("{} 1", "name"),
        ("{x=\"y\"} 1", "name"),
        ("{\"\"} 1", "labels"),
        ("{\"a\",\"b\"} 1", "labels"),
        ("{\"a\",\"\"=\"b\"} 1", "labels"),
        ("b{\"a\"} 1", "name"),
        ("a{ 1", "labels"),
        ("a{x} 1", "labels"),
        ("a{x=} 1", "labels"),
        ("a{x=y} 1", "labels"),
        ("a{x=\"y} 1", "labels"),
        ("a{x=\"y\\\"} 1", "labels"),
        ("a{x=\"y\\", "labels"),
        ("a{x=\"y\"", "labels"),
        ("a{x=\"y\"z=\"\"} 1", "labels"),
        ("a{,} 1", "labels"),
        ("a{,x=\"y\"} 1", "labels"),
        ("a{x=\"y\",,} 1", "labels"),
        ("a{1x=\"y\"} 1", "labels"),
        ("a{x:y=\"y\"} 1", "labels"),
        ("a{x=\"y\"}", "value"),
        ("a{x=\"y\"} } 1", "value"),
        ("a{x=\"1\",x=\"1\"} 1", "labels"),
        ("# TYPE a", "metadata"),
        ("# TYPE a nonsense", "metadata"),
        ("# TYPE a counter gauge", "metadata"),
        ("# TYPE 1 counter", "metadata"),
        ("# HELP {x} y", "metadata"),
        (&format!("{} 1", long(65)), "too_long"),
        (&format!("a{{{}=\"\"}} 1", long(65)), "too_long"),
        (&format!("a{{x=\"{}\"}} 1", long(129)), "too_long"),
        (&format!("a{{x=\"\\n{}\"}} 1", long(129)), "too_long"),
        (&format!("# HELP {} x", long(65)), "too_long"),
        (&format!("a{{{many}}} 1"), "too_many_labels"),
    ] {
        let text = format!("{line}\ngood 1\n");
        let survey = survey(text.as_bytes(), Format::Text, LIMITS).expect("a sample is good");
        let first = survey.first_fault.map(|fault| (fault.line, fault.reason.label()));
        assert_eq!((survey.samples, survey.faults, first), (1, 1, Some((1, label))), "{line}");
        assert_eq!(lines(&text), ["Unknown good 1"], "{line}");
    }
    let text = b"a{x=\"\xff\"} 1\ngood{x=\"\xc3\xa4\"} 1\n";
    assert_eq!(told(text, Format::Text), Ok(vec!["Unknown good x=\"ä\" 1".to_owned()]));
}

/// Nothing of it is taken.
#[test]
fn what_is_no_exposition_is_refused_as_a_whole() {
    let many = "a 1\n".repeat(1_001);
    let families: String = (0..1_001).map(|number| format!("# TYPE a{number} gauge\n")).collect();
    let om = |text: &str| format!("{text}# EOF\n");
    for (text, format, why) in [
        ("<html><body>Not found</body></html>\n", Format::Text, "invalid"),
        ("\u{0}\u{1}\n", Format::Text, "invalid"),
        (&many, Format::Text, "more than 1000 samples"),
        (&families, Format::Text, "more than 1000 samples"),
        (&om(&many), Format::OpenMetrics, "more than 1000 samples"),
        ("", Format::OpenMetrics, "# EOF"),
        ("a 1\n", Format::OpenMetrics, "# EOF"),
        ("a 1\n# EO", Format::OpenMetrics, "invalid"),
        (&om("a 1\r\n"), Format::OpenMetrics, "invalid"),
        (&om("a 1\n\n"), Format::OpenMetrics, "invalid"),
        (&om("# TYPE a counter\na_total{x=\"1\"} 1\nb 1\na_total{x=\"2\"} 1\n"), Format::OpenMetrics, "invalid"),
    ] {
        let refused = told(text.as_bytes(), format).expect_err("nothing is taken").to_string();
        assert!(refused.contains(why), "{}: {refused}", &text[..text.len().min(40)]);
    }
    assert_eq!(told(b"", Format::Text), Ok(vec![]));
    assert_eq!(told(b"# nothing yet\n", Format::Text), Ok(vec![]));
    // What is refused for our own limits is no fault of OpenMetrics.
    let long = format!("a 1\nb{{x=\"{}\"}} 1\n# EOF\n", "y".repeat(129));
    assert_eq!(told(long.as_bytes(), Format::OpenMetrics), Ok(vec!["Unknown a 1".to_owned()]));
}

/// The hot path: thousands of samples, and as many allocations as ten have.
#[test]
fn a_sample_costs_no_allocation() {
    let count = |samples: usize| {
        let mut text = "# TYPE a counter\n".to_owned();
        for number in 0..samples {
            writeln!(text, "a{{x=\"{number}\",y=\"z\"}} {number}.5 1395066363000").expect("a text takes all");
        }
        let limits = Limits { samples, ..LIMITS };
        allocation_counter::measure(|| {
            let mut survey = survey(text.as_bytes(), Format::Text, limits).expect("it is good");
            let mut seen = 0;
            points(text.as_bytes(), (Format::Text, limits), &mut survey, |_| seen += 1);
            assert_eq!(seen, samples);
        })
        .count_total
    };
    assert_eq!(count(10_000), count(10));
}

/// A family as somebody means it.
#[derive(Clone, Debug)]
struct Meant {
    name: String,
    kind: Kind,
    help: String,
    samples: Vec<MeantSample>,
}

/// Labels, value, time.
type MeantSample = (Vec<(String, String)>, f64, Option<i64>);

fn meant() -> impl Strategy<Value = Vec<Meant>> {
    let labels = vec(("[a-z_][a-z0-9_]{0,6}", "[ -~äß\\\\\"\n\u{1F600}]{0,10}"), 0..4)
        .prop_map(|labels| labels.into_iter().collect::<std::collections::BTreeMap<_, _>>().into_iter().collect());
    let value = prop_oneof![any::<f64>(), (0_u32..100_000).prop_map(f64::from)];
    let kind = prop_oneof![Just(Kind::Counter), Just(Kind::Gauge), Just(Kind::Unknown)];
    let samples = vec((labels, value, proptest::option::of(any::<i32>().prop_map(i64::from))), 0..6);
    let family = ("[a-zA-Z_:][a-z0-9_:]{0,9}", kind, "[ -~ä\\\\\n]{0,12}", samples);
    vec(family.prop_map(|(name, kind, help, samples)| Meant { name: format!("m_{name}"), kind, help, samples }), 0..6)
}

/// Writes it as the description of 0.0.4 says.
fn written(families: &[Meant]) -> String {
    let mut out = String::new();
    for Meant { name, kind, help, samples } in families {
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let word =
            ["counter", "gauge", "untyped"][[Kind::Counter, Kind::Gauge].iter().position(|it| it == kind).unwrap_or(2)];
        writeln!(out, "# HELP {name} {help}\n# TYPE {name} {word}").expect("a text takes all");
        for (labels, value, at) in samples {
            let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let labels: Vec<_> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
            let at = at.map(|at| format!(" {at}")).unwrap_or_default();
            writeln!(out, "{name}{{{}}} {value}{at}", labels.join(",")).expect("a text takes all");
        }
    }
    out
}

proptest! {
    #[test]
    fn property_what_is_written_is_read_as_the_same(families in meant()) {
        let names: BTreeSet<_> = families.iter().map(|family| &family.name).collect();
        prop_assume!(names.len() == families.len());
        let text = written(&families);
        let mut survey = survey(text.as_bytes(), Format::Text, LIMITS).expect("it is good");
        let mut read = Vec::new();
        points(text.as_bytes(), (Format::Text, LIMITS), &mut survey, |point| {
            let labels: Vec<_> = point.labels.iter().map(|label| (label.name.clone().into_owned(), label.value.clone().into_owned())).collect();
            let Value::Number(value) = point.value else { panic!("there are no others") };
            // HELP has no blanks at its ends: nothing shows where they would be.
            read.push((point.name.to_owned(), point.kind, point.help.to_owned(), labels, value.to_string(), point.timestamp_ms));
        });
        let meant: Vec<_> = families.iter().flat_map(|family| family.samples.iter().map(|(labels, value, at)| {
            (family.name.clone(), family.kind, family.help.trim_matches(' ').to_owned(), labels.clone(), value.to_string(), *at)
        })).collect();
        prop_assert_eq!(read, meant);
    }

    /// Any bytes, and bytes that are nearly right.
    #[test]
    fn property_no_bytes_make_it_panic(
        bytes: Vec<u8>,
        text in "(# (TYPE|HELP|UNIT) \"?[ab]\"?(_total|_bucket)? (counter|histogram|summary|x)?\n|[ab](_total|_bucket|_sum|_count|_created)?(\\{[abl]?e?=?\"?[1\\\\\"]?\"?,?\\})? -?[1N.]?(nf|aN)? ?1?( # \\{a?\\} 1)?\n|# EOF\n){0,12}",
    ) {
        for bytes in [&bytes[..], text.as_bytes()] {
            for format in [Format::Text, Format::OpenMetrics] {
                let _ = told(bytes, format);
            }
        }
    }

    /// A line is read as it is alone, whatever stands around it.
    #[test]
    fn property_lines_do_not_know_each_other(lines in vec("[a\\{\\}x=\", 0-9\\\\.#]{0,12}|a\\{x=\"[0-9]\"\\} [0-9]", 1..6)) {
        let alone: Vec<_> = lines.iter().flat_map(|line| all(line)).collect();
        prop_assert_eq!(all(&lines.join("\n")), alone);
    }
}

fn all(text: &str) -> Vec<String> {
    let mut reader = Reader::new(text.as_bytes(), Format::Text, LIMITS);
    let mut all = Vec::new();
    while let Some(line) = reader.next_line() {
        all.push(format!("{:?}", line.map_err(|fault| fault.reason)));
    }
    all
}

#[test]
fn metadata_borrows_from_the_text() {
    let text = b"# HELP a some help\n# HELP a a\\nb \\\"\n";
    let mut reader = Reader::new(text, Format::Text, LIMITS);
    let Some(Ok(Line::Metadata { what: Metadata::Help(help), .. })) = reader.next_line() else { panic!("it is help") };
    assert!(matches!(help, Cow::Borrowed("some help")));
    let Some(Ok(Line::Metadata { what: Metadata::Help(help), .. })) = reader.next_line() else { panic!("it is help") };
    assert_eq!((&*help, reader.line()), ("a\nb \\\"", 2));
}
