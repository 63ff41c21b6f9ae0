//! Entries that are several records, which cannot be cut apart.
//!
//! Promises: the books count records, the service gets entries.
//! Never: proves anything of a real service.

use super::*;

impl Rig {
    /// Appends entries of so many records each, all of one time.
    fn push_entries(&self, entries: &[(&str, u32)]) {
        let (lane, account) = (self.output.lane(&Key::new("a")), self.account());
        let mut appending = self.output.append(&lane, &account);
        for (text, records) in entries {
            appending.begin().put(text.as_bytes());
            appending.commit_records(0, text.len(), *records);
        }
    }
}

/// A limit of records counts what is in the entries.
#[tokio::test(start_paused = true)]
async fn batches_are_limited_by_records_not_by_entries() {
    let mut rig = Rig::new(|_| at_once(Answer::Delivered));
    rig.push_entries(&[("one", 60), ("two", 40), ("three", 1), ("four", 250), ("five", 1)]);
    rig.drained().await;
    let texts: Vec<_> = rig.requests().into_iter().map(|request| request.texts).collect();
    assert_eq!(texts, [vec!["one", "two"], vec!["three"], vec!["four"], vec!["five"]]);
    let totals = rig.totals();
    assert_eq!((totals.accepted, totals.delivered), (352, 352));
}

/// Halving ends at an entry, all of whose records are refused with it; the others arrive.
#[tokio::test(start_paused = true)]
async fn an_entry_that_is_refused_alone_costs_all_its_records_and_no_others() {
    let mut rig = Rig::new(|request| match request.texts.iter().any(|text| text == "poison") {
        true => at_once(Answer::Divide { detail: "scripted".to_owned() }),
        false => at_once(Answer::Delivered),
    });
    rig.push_entries(&[("one", 5), ("poison", 7), ("two", 11), ("three", 13)]);
    rig.drained().await;
    let totals = rig.totals();
    assert_eq!((totals.accepted, totals.delivered, totals.refused[Refused::Invalid as usize]), (36, 29, 7));
}

/// A service that says how many it refused, but not which, is believed, up to what there is.
#[tokio::test(start_paused = true)]
async fn records_that_a_service_only_counts_are_refused_and_not_sent_again() {
    for (refused, expected) in [(0, 0), (9, 9), (u32::MAX, 36)] {
        let mut rig = Rig::new(move |_| at_once(Answer::Short { refused, detail: "scripted".to_owned() }));
        rig.push_entries(&[("one", 5), ("two", 31)]);
        rig.drained().await;
        let totals = rig.totals();
        assert_eq!((totals.delivered, totals.refused()), (36 - expected, expected), "{refused}");
        assert_eq!(rig.requests().len(), 1);
    }
}
