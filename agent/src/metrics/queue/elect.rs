//! Which tasks of a service ask and publish, where not all are to.
//!
//! ```text
//! ecs:ListTasks ─ ARNs of the running tasks ─▶ each is ranked by hash(queue, ARN) ─▶ the first few are elected
//! ```
//! Every task ranks the same list by the same numbers (rendezvous hashing), so that they agree without speaking to each other. When one ends, the list
//! lacks it, and the next in rank is elected within a minute. Tasks that see different lists for a while elect one more, which does no harm: all
//! publish the same value, and are read by the statistic `Average`. So in doubt a task is elected: a minute without data keeps a service from scaling.
//!
//! Promises: pure; the rank of a task is the same on every machine and in every version; who knows nobody else is elected.
//! Never: elects fewer than it should, but for tasks that ECS lists and that do not publish (yet).

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::backlog::RUNNING_HOLDS_FOR;

/// Whether this task is elected, by what it last heard.
#[derive(Debug)]
pub struct Election {
    queue: String,
    /// This task's ARN, if it knows it.
    own: Option<String>,
    /// How many are to be elected.
    publishers: usize,
    /// The last list's outcome, and when.
    last: Option<(bool, Instant)>,
    /// Whether this task was ever in a list. One that never was is no task of the service, or so new that ECS does not list it yet.
    was_listed: bool,
}

impl Election {
    /// Of `publishers` tasks, for `queue`.
    pub fn new(queue: &str, own: Option<&str>, publishers: usize) -> Self {
        Self { queue: queue.to_owned(), own: own.map(str::to_owned), publishers, last: None, was_listed: false }
    }

    /// Whether this task is elected at `now`, with the ARNs of the running tasks, if ECS told them.
    pub fn is_elected(&mut self, tasks: Option<&BTreeSet<String>>, now: Instant) -> bool {
        if let Some(tasks) = tasks {
            self.last = Some((self.wins(tasks), now));
        }
        let holds = |at: Instant| now.saturating_duration_since(at) <= RUNNING_HOLDS_FOR;
        self.last.filter(|(_, at)| holds(*at)).is_none_or(|(is_elected, _)| is_elected)
    }

    fn wins(&mut self, tasks: &BTreeSet<String>) -> bool {
        let Some(own) = &self.own else { return true };
        if !tasks.contains(own) {
            // Once listed and not any more: it is being stopped, and the others know it.
            return !self.was_listed;
        }
        self.was_listed = true;
        let mine = rank(&self.queue, own);
        tasks.iter().filter(|other| rank(&self.queue, other) < mine).count() < self.publishers
    }
}

/// The rank of a task for a queue: the least is the first. FNV-1a with a finisher that has each bit of the text change every bit, since ARNs of one
/// service differ in their last characters alone; and the ARN itself, for the case that never happens.
fn rank<'t>(queue: &str, task: &'t str) -> (u64, &'t str) {
    let bytes = queue.bytes().chain([0]).chain(task.bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // The finisher of SplitMix64.
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31), task)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const QUEUE: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/jobs";

    fn arn(number: usize) -> String {
        format!("arn:aws:ecs:eu-west-1:123456789012:task/shop/{number:032x}")
    }

    fn elected(tasks: &BTreeSet<String>, publishers: usize) -> Vec<&String> {
        let now = Instant::now();
        let wins = |own: &&String| Election::new(QUEUE, Some(own), publishers).is_elected(Some(tasks), now);
        tasks.iter().filter(wins).collect()
    }

    /// Another version in another task must rank as this one does: these numbers never change.
    #[test]
    fn the_rank_of_a_task_is_the_same_everywhere_and_for_ever() {
        assert_eq!(rank(QUEUE, &arn(1)).0, 6_376_077_273_045_376_188_u64);
        assert_eq!(rank("", "").0, 2_737_183_428_366_584_608_u64);
        assert_ne!(rank("a", "bc").0, rank("ab", "c").0, "a queue's name does not run into the task's");
    }

    #[test]
    fn in_doubt_a_task_is_elected() {
        let (now, some) = (Instant::now(), BTreeSet::from([arn(1), arn(2)]));
        assert!(Election::new(QUEUE, None, 1).is_elected(Some(&some), now), "it does not know who it is");
        assert!(Election::new(QUEUE, Some(&arn(1)), 1).is_elected(None, now), "nobody told who there is");
        assert!(Election::new(QUEUE, Some(&arn(1)), 1).is_elected(Some(&BTreeSet::new()), now), "nobody is there");
        assert!(
            Election::new(QUEUE, Some(&arn(3)), 1).is_elected(Some(&some), now),
            "it is no task of the service, or a new one"
        );
    }

    /// Two of a hundred; one ends, and the third takes its place. The others stay what they were.
    #[test]
    fn the_next_in_rank_takes_over_from_who_ends() {
        let all: BTreeSet<String> = (0..100).map(arn).collect();
        let (two, three) = (elected(&all, 2), elected(&all, 3));
        assert_eq!((two.len(), three.len()), (2, 3));
        let mut rest = all.clone();
        rest.remove(two[0]);
        let mut after: BTreeSet<_> = elected(&rest, 2).into_iter().collect();
        assert!(after.remove(two[1]), "who was elected stays");
        assert!(three.contains(after.first().expect("another one")), "the third in rank");
        // It is in no list any more, and knows it.
        let mut ended = Election::new(QUEUE, Some(two[0]), 2);
        let now = Instant::now();
        assert_eq!((ended.is_elected(Some(&all), now), ended.is_elected(Some(&rest), now)), (true, false));
    }

    /// A list that cannot be had leaves things as they were for as long as the count of tasks holds.
    #[test]
    fn the_last_list_holds_for_five_minutes() {
        let (begun, all) = (Instant::now(), BTreeSet::from([arn(1), arn(2)]));
        let winner = elected(&all, 1)[0].clone();
        let loser = all.iter().find(|arn| **arn != winner).expect("two");
        let mut election = Election::new(QUEUE, Some(loser), 1);
        let mut at = |minute: u64, tasks| election.is_elected(tasks, begun + Duration::from_secs(60 * minute));
        assert!(!at(0, Some(&all)));
        assert!(!at(1, None));
        assert!(!at(5, None));
        assert!(at(6, None), "nobody may be there any more");
        assert!(!at(7, Some(&all)));
    }

    proptest! {
        /// Whatever the tasks are, exactly so many are elected as are to be, or all.
        #[test]
        fn property_so_many_are_elected_as_are_to_be(tasks in proptest::collection::btree_set(".{0,40}", 1..60), publishers in 1_usize..5) {
            prop_assert_eq!(elected(&tasks, publishers).len(), publishers.min(tasks.len()));
        }

        /// Tasks share the work: none of ten is elected for half of a thousand queues.
        #[test]
        fn property_queues_spread_over_tasks(seed in any::<u32>()) {
            let tasks: Vec<String> = (0..10).map(|number| arn(number + seed as usize)).collect();
            let mut times = [0; 10];
            for queue in 0..1_000 {
                let queue = format!("{QUEUE}-{queue}");
                let first = (0..10).min_by_key(|task| rank(&queue, &tasks[*task])).expect("ten");
                times[first] += 1;
            }
            prop_assert!(times.iter().all(|times| (50..200).contains(times)), "{times:?}");
        }
    }
}
