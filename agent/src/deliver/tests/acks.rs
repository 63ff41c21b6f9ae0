//! Acknowledgements that wait for the service.
//!
//! Promises: when an answer is given is compared with what was settled by then.
//! Never: looks at a connection; the sessions' tests do.

use std::sync::Mutex;

use super::*;
use crate::deliver::ack::{Ack, AckLevel};

/// What became of acknowledgements, by name.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<Vec<(&'static str, bool)>>>);

impl Heard {
    fn ack(&self, name: &'static str) -> Arc<Ack> {
        let heard = self.clone();
        Arc::new(Ack::new(AckLevel::Delivered, 10, move |kept| heard.all().push((name, kept))))
    }

    fn all(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, bool)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Rig {
    /// Appends messages to one lane in one go, each with its records.
    fn push_messages(&self, key: Name, messages: &[(Option<&Arc<Ack>>, &[&str])]) {
        let (lane, account) = (self.output.lane(&Key::new(key)), self.account());
        let mut appending = self.output.append(&lane, &account);
        for (ack, texts) in messages {
            appending.of_message(*ack);
            for text in *texts {
                appending.begin().put(text.as_bytes());
                appending.commit(0, text.len());
            }
        }
        drop(appending);
        assert!(self.budget.used() <= self.budget.total());
    }
}

/// An answer is given when the last record of its message was delivered, in whichever batch or output that is, and a record
/// that the service refuses is as good.
#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_when_all_of_it_is_delivered() {
    let refuse_first = |range| Answer::Partial(vec![Verdict { records: range, fate: Fate::Refused(Refused::TooOld) }]);
    let mut rig = Rig::new(move |request| match &*request.key {
        "b" => (20 * SECOND, Answer::Delivered),
        _ => at_once(refuse_first(0..1)),
    });
    let heard = Heard::default();
    let (both, one, none) = (heard.ack("both"), heard.ack("one"), heard.ack("none"));
    rig.push_messages("a", &[(Some(&one), &["1", "2"]), (None, &["3"]), (Some(&both), &["4"])]);
    rig.push_messages("b", &[(Some(&both), &["5"]), (Some(&none), &[])]);
    drop((both, one, none));
    assert_eq!(*heard.all(), [("none", true)], "nothing to wait for");
    sleep(5 * SECOND).await;
    assert_eq!(*heard.all(), [("none", true), ("one", true)]);
    rig.drained().await;
    assert_eq!(*heard.all(), [("none", true), ("one", true), ("both", true)]);
}

/// A message of which one record is lost is never acknowledged, whatever becomes of the others; others of the batch that
/// was sent again are.
#[tokio::test(start_paused = true)]
async fn a_message_is_not_acknowledged_if_one_of_its_records_is_lost() {
    let rules = Rules { retry: Retry::Never, ..Rules::default() };
    let mut rig = Rig::with(rules, LIMITS, 1 << 20, |request| match &*request.key {
        "down" => at_once(again(Cause::Unavailable)),
        _ => at_once(Answer::Delivered),
    });
    let heard = Heard::default();
    let (half, whole) = (heard.ack("half"), heard.ack("whole"));
    rig.push_messages("up", &[(Some(&half), &["1"]), (Some(&whole), &["2"])]);
    rig.push_messages("down", &[(Some(&half), &["3"])]);
    drop((half, whole));
    rig.drained().await;
    let mut all = heard.all().clone();
    all.sort_unstable();
    assert_eq!(all, [("half", false), ("whole", true)]);
    assert_eq!(rig.lost(Lost::NoRetries), 1);
}

/// A batch that is cut, halved and sent again in parts acknowledges when its last part is there.
#[tokio::test(start_paused = true)]
async fn parts_of_a_batch_share_its_acknowledgements() {
    let mut rig = Rig::new(|request| match request.texts.len() {
        1 => (SECOND, Answer::Delivered),
        _ => at_once(Answer::Divide { detail: "too large".to_owned() }),
    });
    let heard = Heard::default();
    let ack = heard.ack("message");
    rig.push_messages("a", &[(Some(&ack), &["1", "2", "3", "4"])]);
    drop(ack);
    while rig.totals().delivered < 3 {
        sleep(SECOND / 10).await;
    }
    assert!(heard.all().is_empty());
    rig.drained().await;
    assert_eq!(*heard.all(), [("message", true)]);
}

/// What the deadline cuts off, and what memory cannot hold, is not acknowledged; and acknowledgements that wait take their
/// part of the memory.
#[tokio::test(start_paused = true)]
async fn waiting_acknowledgements_are_within_the_budget() {
    let mut rig = Rig::with(Rules::default(), LIMITS, 64 * 1_024, |_| at_once(again(Cause::Unavailable)));
    let heard = Heard::default();
    let ack = heard.ack("plain");
    rig.push_messages("a", &[(None, &["record"])]);
    let plain = rig.budget.used();
    rig.push_messages("a", &[(Some(&ack), &["record"])]);
    drop(ack);
    assert!(rig.budget.used() >= plain + size_of::<Ack>() as u64);
    for _ in 0..3_000 {
        let ack = heard.ack("many");
        rig.push_messages("a", &[(Some(&ack), &["record"])]);
    }
    assert!(heard.all().iter().filter(|(name, kept)| *name == "many" && !kept).count() > 1_000);
    rig.abandon.cancel();
    rig.ended().await;
    assert_eq!(heard.all().len(), 3_001);
    assert!(heard.all().iter().all(|(_, kept)| !kept));
}
