//! The series as text for whoever scrapes.
//!
//! Promises: what the store shows stands on the page, family by family.
//! Never: decides what is shown.

use super::store::{
    Shown, ShownValue, Store,
    examples::{Example, bucket_of},
};
use crate::tell::exposition::{Page, Type};

/// Appends all series of `store` to `page`.
pub fn expose(store: &Store, page: &mut Page) {
    let mut name = String::new();
    let mut kind = Type::Unknown;
    store.show(|shown| match shown {
        Shown::Family { name: own, kind: its, help, .. } => {
            own.clone_into(&mut name);
            kind = its.shown();
            page.family(&name, kind, help);
        }
        Shown::Series { labels, value, examples, .. } => put((&name, kind), labels, &value, examples, page),
    });
}

fn put((name, kind): (&str, Type), labels: &str, value: &ShownValue<'_>, examples: &[Example], page: &mut Page) {
    let exemplar = |page: &mut Page, example: Option<&Example>| {
        if let Some(Example { labels, value, milliseconds }) = example {
            page.exemplar(labels, *value, *milliseconds);
        }
    };
    match value {
        ShownValue::Number(number) => {
            page.sample((name, kind.ending()), labels, None, *number);
            exemplar(page, examples.first());
        }
        ShownValue::Histogram { bounds, counts, sum } => {
            let mut count = 0.0;
            let all = bounds.iter().copied().chain([f64::INFINITY]);
            for (place, (bound, more)) in all.zip(*counts).enumerate() {
                count += more;
                page.sample((name, "_bucket"), labels, Some(("le", bound)), count);
                exemplar(page, examples.iter().rfind(|example| bucket_of(bounds, example.value) == place));
            }
            page.sample((name, "_sum"), labels, None, *sum);
            page.sample((name, "_count"), labels, None, count);
        }
        ShownValue::Summary { quantiles, sum, count } => {
            for (quantile, value) in *quantiles {
                page.sample((name, ""), labels, Some(("quantile", *quantile)), *value);
            }
            page.sample((name, "_sum"), labels, None, *sum);
            page.sample((name, "_count"), labels, None, *count);
        }
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::{
        aws::Unit,
        metrics::store::{
            First, Histogram,
            key::{Key, Kind, Publication},
            policy::{Dimensions, Policy},
        },
        tell::exposition::Form,
    };

    fn page(form: Form) -> String {
        let store = Store::default();
        let source = store.source(Policy {
            is_sent: false,
            namespace: "".into(),
            dimensions: Dimensions::All,
            fixed: Vec::new(),
            is_high_resolution: false,
            series_max: 100,
            buckets: [0.1, 1.0].into(),
        });
        let mut writing = store.writing(0);
        let mut series = |name, kind, labels: &[(&str, &str)]| {
            let (unit, publication) = (Unit::NONE, Publication::ByPolicy);
            let key = Key { source, name, shown: None, kind, unit, labels, publication };
            let series = writing.series(&key).expect("room");
            writing.describe(series, "a \"b\"\\\nc");
            series
        };
        let hits = [series("api.hits", Kind::Counter, &[("route", "/")]), series("api.hits", Kind::Counter, &[])];
        let (took, set) = (series("took", Kind::Timer, &[("a", "b")]), series("users", Kind::Set, &[]));
        let (info, temperature) = (series("build", Kind::Info, &[("v", "1")]), series("temp", Kind::Gauge, &[]));
        let (old, theirs) = (series("old", Kind::Unknown, &[]), series("theirs", Kind::Histogram, &[]));
        let summary = series("rpc", Kind::Summary, &[]);
        // Neither is shown: the name is the agent's, or has a sample of another family's.
        series("pillion_hits", Kind::Counter, &[]);
        series("took_count", Kind::Gauge, &[]);
        writing.add(hits[0], 1.5);
        writing.add(hits[1], 1e20);
        writing.observe(took, 50.0, 2.0);
        writing.observe(took, 5_000.0, 1.0);
        writing.see(set, 1);
        writing.set(info, 1.0);
        writing.set(temperature, -1e-9);
        writing.set(old, f64::NAN);
        writing.histogram_total(theirs, &Histogram { bounds: &[5.0], counts: &[1.0, 0.0], sum: 2.0 }, First::Baseline);
        writing.summary_total(summary, &[(0.5, 2.0), (1.0, f64::INFINITY)], 3.0, 4.0, First::Baseline);
        writing.exemplify(hits[0], &[("trace_id", "4bf9\"")], 1.0, Some(1_795_860_060_007));
        writing.exemplify(theirs, &[], 0.25, None);
        writing.exemplify(theirs, &[("trace_id", "00f0")], 9e20, Some(1_795_860_060_000));
        writing.exemplify(temperature, &[("trace_id", "00f0")], 1.0, None);
        drop(writing);
        let mut flush = store.flush();
        while flush.next(|_, _| {}) {}
        let mut page = Page::new(form);
        expose(&store, &mut page);
        page.finish()
    }

    #[test]
    fn all_kinds_are_written_for_prometheus() {
        assert_snapshot!(page(Form::Text), @r##"
        # TYPE api_hits_total counter
        # HELP api_hits_total a "b"\\\nc
        api_hits_total{route="/"} 1.5
        api_hits_total 1e20
        # TYPE took histogram
        # HELP took a "b"\\\nc
        took_bucket{a="b",le="0.1"} 2
        took_bucket{a="b",le="1"} 2
        took_bucket{a="b",le="+Inf"} 3
        took_sum{a="b"} 5.1
        took_count{a="b"} 3
        # TYPE users gauge
        # HELP users a "b"\\\nc
        users 1
        # TYPE build_info gauge
        # HELP build_info a "b"\\\nc
        build_info{v="1"} 1
        # TYPE temp gauge
        # HELP temp a "b"\\\nc
        temp -1e-9
        # TYPE old untyped
        # HELP old a "b"\\\nc
        old NaN
        # TYPE theirs histogram
        # HELP theirs a "b"\\\nc
        theirs_bucket{le="5"} 1
        theirs_bucket{le="+Inf"} 1
        theirs_sum 2
        theirs_count 1
        # TYPE rpc summary
        # HELP rpc a "b"\\\nc
        rpc{quantile="0.5"} 2
        rpc{quantile="1"} +Inf
        rpc_sum 3
        rpc_count 4
        "##);
    }

    #[test]
    fn all_kinds_are_written_in_open_metrics() {
        assert_snapshot!(page(Form::OpenMetrics), @r##"
        # TYPE api_hits counter
        # HELP api_hits a \"b\"\\\nc
        api_hits_total{route="/"} 1.5 # {trace_id="4bf9\""} 1 1795860060.007
        api_hits_total 1e20
        # TYPE took histogram
        # HELP took a \"b\"\\\nc
        took_bucket{a="b",le="0.1"} 2
        took_bucket{a="b",le="1.0"} 2
        took_bucket{a="b",le="+Inf"} 3
        took_sum{a="b"} 5.1
        took_count{a="b"} 3
        # TYPE users gauge
        # HELP users a \"b\"\\\nc
        users 1
        # TYPE build info
        # HELP build a \"b\"\\\nc
        build_info{v="1"} 1
        # TYPE temp gauge
        # HELP temp a \"b\"\\\nc
        temp -1e-9
        # TYPE old unknown
        # HELP old a \"b\"\\\nc
        old NaN
        # TYPE theirs histogram
        # HELP theirs a \"b\"\\\nc
        theirs_bucket{le="5.0"} 1 # {} 0.25
        theirs_bucket{le="+Inf"} 1 # {trace_id="00f0"} 9e20 1795860060.000
        theirs_sum 2
        theirs_count 1
        # TYPE rpc summary
        # HELP rpc a \"b\"\\\nc
        rpc{quantile="0.5"} 2
        rpc{quantile="1.0"} +Inf
        rpc_sum 3
        rpc_count 4
        # EOF
        "##);
    }
}
