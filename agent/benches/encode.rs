//! CPU time of the hot path without sockets: forward bytes in, `PutLogEvents` bodies out.
//!
//! ```text
//! cargo bench -p pillion --bench encode
//! ```
//!
//! Promises: CPU time of this thread in nanoseconds from the kernel's accounting, the median of five rounds.
//! Never: touches the network; batches are given up as memory fills.

mod records;

use std::{io::Write, sync::Arc};

use pillion::{
    logs::forward::frame::Finder,
    metrics::{
        Seconds, emf,
        records::{Records, Setup},
        settings,
        store::Store,
    },
    tally::{Rules, Tally},
    tell::counters::Counters,
};

use records::{RECORDS, chunk, median, per_record, route, router};

const ROUNDS: usize = 5;
/// Three rules: one that is for no line, one for the text of a field, one for some lines with a label.
const RULES: &str = r#"{"rules":[
    {"name":"orders","when":[{"field":"event","equals":"order-7"}]},
    {"name":"starts","when":[{"glob":"*never there*"}]},
    {"name":"requests","when":[{"field":"level","equals":"info"}],"labels":{"level":"level"}}]}"#;

fn main() {
    let chunk = chunk();
    let (plain, counting, ruled) =
        (router(), router().counting(Some(tally("{}"))), router().counting(Some(tally(RULES))));
    let searched = router().with_documents_for(documents());
    let [mut finding, mut all, mut counted, mut by_rules, mut for_documents] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        finding.push(per_record(|| find(&chunk)));
        all.push(per_record(|| route(&plain, &chunk)));
        counted.push(per_record(|| route(&counting, &chunk)));
        by_rules.push(per_record(|| route(&ruled, &chunk)));
        for_documents.push(per_record(|| route(&searched, &chunk)));
    }
    let line = format!(
        "find the end of a record: {:.1} ns\nfind, parse, filter, encode a record of {} bytes: {:.1} ns\nthe same, counted by level: {:.1} ns\nthe same, with three rules besides: {:.1} ns\nnot counted, and looked at whether it is a document of metrics: {:.1} ns\n",
        median(&mut finding),
        chunk.len() / RECORDS,
        median(&mut all),
        median(&mut counted),
        median(&mut by_rules),
        median(&mut for_documents),
    );
    std::io::stdout().write_all(line.as_bytes()).expect("stdout takes text");
}

/// What is counted of records with these settings.
fn tally(settings: &str) -> Arc<Tally> {
    let settings: settings::Records = serde_json::from_str(settings).expect("settings");
    let (store, counters) = (Store::default(), Counters::new());
    let rules = Rules::new(&settings.rules).expect("good rules");
    let taker = Records::new(Setup {
        name: "logs.0".to_owned(),
        source: store.source(settings.publish().policy(true)),
        store,
        rules: settings.rules,
        seconds: Seconds::new(),
        rejected: counters.metrics.rejected.clone(),
        samples: counters.metrics.samples.clone(),
    });
    Arc::new(Tally { levels: true, rules, taker })
}

/// Who takes documents of metrics out of records.
fn documents() -> Arc<emf::Documents> {
    let settings: settings::Records = serde_json::from_str("{}").expect("settings");
    let (store, counters) = (Store::default(), Counters::new());
    emf::Documents::new(emf::Setup {
        name: "emf.0".to_owned(),
        source: store.source(settings.publish().policy(true)),
        store,
        is_instead_of_logs: false,
        wants_records: true,
        seconds: Seconds::new(),
        rejected: counters.metrics.rejected.clone(),
        samples: counters.metrics.samples.clone(),
    })
}

fn find(chunk: &[u8]) {
    let mut finder = Finder::default();
    let mut rest = chunk;
    while let Some(length) = finder.find(rest, usize::MAX).expect("well-formed") {
        rest = &rest[length..];
    }
}
