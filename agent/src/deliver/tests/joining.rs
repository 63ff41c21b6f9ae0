//! Small batches that leave in one request.
//!
//! Promises: every request is compared with what should be in it.
//! Never: shows what that saves; the simulated fleet does.

use super::*;

/// What was not taken, and what came meanwhile, leaves together: one request for all.
#[tokio::test(start_paused = true)]
async fn what_was_not_taken_leaves_with_what_came_meanwhile() {
    let mut rig = Rig::new(|request| match request.number {
        0..=2 => at_once(again(Cause::Throttled)),
        _ => at_once(Answer::Delivered),
    });
    for attempt in 0..3 {
        rig.push("a", numbered(3 * attempt..3 * attempt + 3));
        while rig.requests().len() == attempt {
            sleep(SECOND / 100).await;
        }
    }
    rig.drained().await;
    let sizes: Vec<usize> = rig.requests().iter().map(|request| request.texts.len()).collect();
    assert_eq!(sizes, [3, 6, 9, 9]);
    assert_eq!(rig.delivered("a"), numbered(0..9));
}

/// Joined batches are within the limits: bytes, records, span, and the order of time.
#[tokio::test(start_paused = true)]
async fn joined_batches_keep_the_limits() {
    // Nothing is taken until all is there.
    let mut rig = Rig::new(|request| match request.at {
        at if at < 60 * SECOND => at_once(again(Cause::Missing)),
        _ => at_once(Answer::Delivered),
    });
    let long = "x".repeat(400);
    for (number, time) in [0, 10, 20, 15, 30, 10_020, 10_021].into_iter().enumerate() {
        let (lane, account) = (rig.output.lane(&Key::new("key")), rig.account());
        let mut appending = rig.output.append(&lane, &account);
        let text = format!("{number}{long}");
        appending.begin().put(text.as_bytes());
        appending.commit(time, text.len());
        drop(appending);
        // Each is sealed alone.
        let mut open = lane.lock();
        rig.output.queue().unlist(0);
        lane.listed.store(false, std::sync::atomic::Ordering::Relaxed);
        rig.output.seal(&lane, &mut open);
    }
    rig.drained().await;
    let joined: Vec<Vec<char>> = rig.requests().iter().filter(|request| request.at >= 60 * SECOND).map(first).collect();
    // 401 bytes each, 1,000 at most: two; 3 is earlier than 2; from 4 to 5 are 9,990 ms, to 6 it would be one too many bytes.
    assert_eq!(joined, [vec!['0', '1'], vec!['2'], vec!['3', '4'], vec!['5', '6']]);
    assert_eq!(rig.delivered("key").len(), 7);

    fn first(request: &Request) -> Vec<char> {
        request.texts.iter().filter_map(|text| text.chars().next()).collect()
    }
}

/// If a request for several batches is divided, refused in part, or not taken, each record has its own fate all the same.
#[tokio::test(start_paused = true)]
async fn whatever_is_answered_to_joined_batches_each_record_has_one_fate() {
    let answers: [fn(usize) -> Answer; 3] = [
        |_| Answer::Divide { detail: "too large".to_owned() },
        |records| {
            Answer::Partial(vec![
                Verdict { records: 0..1, fate: Fate::Refused(Refused::Invalid) },
                Verdict { records: records - 1..records, fate: Fate::Again },
            ])
        },
        |_| again(Cause::Ambiguous),
    ];
    for answer in answers {
        let mut rig = Rig::new(move |request| match request.number {
            // The first one is not taken; the second goes with what came meanwhile.
            0 => at_once(again(Cause::Throttled)),
            1 => at_once(answer(request.texts.len())),
            _ => at_once(Answer::Delivered),
        });
        rig.push("a", numbered(0..3));
        while rig.requests().is_empty() {
            sleep(SECOND / 100).await;
        }
        rig.push("a", numbered(3..6));
        rig.drained().await;
        assert_eq!(rig.requests()[1].texts, numbered(0..6), "joined");
        let mut delivered = rig.delivered("a");
        delivered.sort_unstable();
        let refused = usize::try_from(rig.totals().refused()).expect("few");
        assert_eq!(delivered, numbered(refused..6));
        assert_eq!((rig.totals().delivered, rig.totals().lost()), (6 - refused as u64, 0));
    }
}

/// Without memory for one body of all, each goes alone.
#[tokio::test(start_paused = true)]
async fn without_memory_nothing_is_joined() {
    let limits = Limits { bytes: 20_000, ..LIMITS };
    let mut rig = Rig::with(Rules::default(), limits, 24 * 1_024, |request| match request.number {
        0 => at_once(again(Cause::Throttled)),
        _ => at_once(Answer::Delivered),
    });
    let record = "x".repeat(8_000);
    rig.push("a", [&record]);
    while rig.requests().is_empty() {
        sleep(SECOND / 100).await;
    }
    rig.push("a", [&record]);
    rig.drained().await;
    assert_eq!(rig.requests().iter().map(|request| request.texts.len()).collect::<Vec<_>>(), [1, 1, 1]);
    assert_eq!(rig.totals().delivered, 2);
}
