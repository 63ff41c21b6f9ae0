//! What OpenMetrics 1.0 forbids, rule by rule.
//!
//! Promises: each exposition is taken or refused as the specification says; the cases are written after its text.
//! Never: says anything of 0.0.4.

use super::{Format, Limits, points, survey};

/// True if the exposition is taken.
fn is_taken(text: &str) -> bool {
    let limits = Limits { samples: 1_000, labels: 64, name_bytes: 1_024, value_bytes: 4_096 };
    let taken = survey(text.as_bytes(), Format::OpenMetrics, limits).map(|mut survey| {
        let mut count = 0;
        points(text.as_bytes(), (Format::OpenMetrics, limits), &mut survey, |_| count += 1);
        count
    });
    taken.is_ok()
}

/// Each is a whole exposition but for its end.
const TAKEN: [&str; 20] = [
    "",
    "temperature 21.5\n",
    "# TYPE temperature gauge\n# UNIT temperature celsius\n",
    "# TYPE room_celsius gauge\n# UNIT room_celsius celsius\n# HELP room_celsius How warm \\\"it\\\" is\\n\nroom_celsius{room=\"a\\\\b\\\"c\\nd\"} -3e-2\n",
    "# TYPE hits counter\nhits_total 7\nhits_created 1.5e9\n",
    "# TYPE hits counter\nhits_total{a=\"1\"} 7 12.5 # {trace=\"x\"} 1 12.25\nhits_total{a=\"2\"} 0\n",
    "# TYPE took histogram\ntook_bucket{le=\"0.1\"} 1\ntook_bucket{le=\"+Inf\"} 2 # {t=\"y\"} 0.3\ntook_count 2\ntook_sum 0.4\n",
    "# TYPE took histogram\ntook_bucket{a=\"1\",le=\"1.0\"} 0\ntook_bucket{a=\"1\",le=\"+Inf\"} 0\ntook_bucket{a=\"2\",le=\"+Inf\"} 3\n",
    "# TYPE size gaugehistogram\nsize_bucket{le=\"-1.0\"} 1\nsize_bucket{le=\"+Inf\"} 2\nsize_gcount 2\nsize_gsum -4\n",
    "# TYPE rpc summary\nrpc{quantile=\"0.5\"} 1\nrpc{quantile=\"0.99\"} NaN\nrpc_sum 9\nrpc_count 4\n",
    "# TYPE build info\nbuild_info{version=\"1\"} 1\n",
    "# TYPE mode stateset\nmode{mode=\"on\"} 1\nmode{mode=\"off\"} 0\n",
    "# TYPE odd unknown\nodd NaN\n",
    "# TYPE far gauge\nfar +Inf\n# TYPE near gauge\nnear -Inf\n",
    "a{} 1\n",
    "a{b=\"\u{e4} \u{1f600}\"} 1\n",
    "a{b=\"\"} 1\n",
    "# HELP a about a\n# TYPE a gauge\na 1\n",
    "# TYPE a gauge\na 1 1\na 2 2\n",
    "# TYPE a_b gauge\na_b 1\n# TYPE a gauge\na 2\n",
];

/// The same; each breaks one rule.
const REFUSED: [(&str, &str); 41] = [
    ("a line is empty", "a 1\n\n"),
    ("two spaces", "a  1\n"),
    ("a tab", "a\t1\n"),
    ("a space before the name", " a 1\n"),
    ("a space at the end", "a 1 \n"),
    ("a carriage return", "a 1\r\n"),
    ("no value", "a\n"),
    ("no value behind labels", "a{b=\"1\"}\n"),
    ("a value that is no number", "a one\n"),
    ("an underscore in a number", "a 1_000\n"),
    ("a hexadecimal number", "a 0x10\n"),
    ("a comment", "# a comment\na 1\n"),
    ("a comment without a space", "#TYPE a gauge\na 1\n"),
    ("a name that begins with a digit", "1a 1\n"),
    ("a name with a point", "a.b 1\n"),
    ("a label's name with a colon", "a{b:c=\"1\"} 1\n"),
    ("a label that comes twice", "a{b=\"1\",b=\"2\"} 1\n"),
    ("a label without quotes", "a{b=1} 1\n"),
    ("a label that does not end", "a{b=\"1} 1\n"),
    ("braces that do not end", "a{b=\"1\" 1\n"),
    ("an unknown type", "# TYPE a meter\na 1\n"),
    ("a type twice", "# TYPE a gauge\n# TYPE a gauge\na 1\n"),
    ("help twice", "# HELP a x\n# HELP a y\na 1\n"),
    ("a type behind its samples", "a 1\n# TYPE a gauge\n"),
    ("families that are mixed", "# TYPE a gauge\n# TYPE b gauge\na{x=\"1\"} 1\nb 1\na{x=\"2\"} 2\n"),
    ("a unit that the name does not end with", "# TYPE a gauge\n# UNIT a seconds\na 1\n"),
    ("a counter's sample without its ending", "# TYPE a counter\na 1\n"),
    ("a counter below zero", "# TYPE a counter\na_total -1\n"),
    ("a counter that is no number", "# TYPE a counter\na_total NaN\n"),
    ("a bucket without a bound", "# TYPE a histogram\na_bucket 1\n"),
    ("no bucket without a bound at the end", "# TYPE a histogram\na_bucket{le=\"1.0\"} 1\n"),
    (
        "bounds that fall",
        "# TYPE a histogram\na_bucket{le=\"2.0\"} 1\na_bucket{le=\"1.0\"} 1\na_bucket{le=\"+Inf\"} 1\n",
    ),
    ("counts that fall", "# TYPE a histogram\na_bucket{le=\"1.0\"} 2\na_bucket{le=\"+Inf\"} 1\n"),
    (
        "a count that is not that of the last bucket",
        "# TYPE a histogram\na_bucket{le=\"+Inf\"} 1\na_count 2\na_sum 1\n",
    ),
    ("a quantile above one", "# TYPE a summary\na{quantile=\"1.5\"} 1\n"),
    ("a summary's count below zero", "# TYPE a summary\na_count -1\n"),
    ("an info that is not one", "# TYPE a info\na_info{b=\"1\"} 2\n"),
    ("a state that is neither", "# TYPE a stateset\na{a=\"on\"} 0.5\n"),
    ("a state without its label", "# TYPE a stateset\na 1\n"),
    ("an exemplar of a gauge", "# TYPE a gauge\na 1 # {t=\"x\"} 1\n"),
    ("times that go back", "# TYPE a gauge\na 1 2\na 2 1\n"),
];

#[test]
fn what_the_specification_allows_is_taken() {
    let refused: Vec<_> = TAKEN.iter().filter(|text| !is_taken(&format!("{text}# EOF\n"))).collect();
    // The unit of the third is not the end of its name, and it has no samples: metadata alone obeys the rule too.
    assert_eq!(refused, [&TAKEN[2]]);
}

#[test]
fn what_the_specification_forbids_is_refused() {
    let taken: Vec<_> = REFUSED.iter().filter(|(_, text)| is_taken(&format!("{text}# EOF\n"))).collect();
    assert!(taken.is_empty(), "{taken:#?}");
}

#[test]
fn the_end_stands_at_the_end_and_nowhere_else() {
    for (text, expected) in [
        ("a 1\n# EOF\n", true),
        ("a 1\n# EOF", true),
        ("a 1\n", false),
        ("", false),
        ("# EOF\na 1\n", false),
        ("# EOF\n# EOF\n", false),
        ("a 1\n# EOF \n", false),
        ("a 1 # EOF\n", false),
    ] {
        assert_eq!(is_taken(text), expected, "{text:?}");
    }
}

#[test]
fn an_exemplar_has_at_most_128_characters_of_labels() {
    let with = |characters: usize| {
        let text = "x".repeat(characters - 1);
        format!("# TYPE a counter\na_total 1 # {{t=\"{text}\"}} 1\n# EOF\n")
    };
    assert!(is_taken(&with(128)));
    assert!(!is_taken(&with(129)));
}
