//! Records on disk: outages larger than the memory, kills, ends without a service, and disks that do not want.
//!
//! Promises: what the books called spooled is delivered later, once unless an answer was ambiguous, in order; what is lost
//! is counted to the record.
//! Never: looks into the spool's files; what is on disk shows in the books and in what arrives.

use std::{collections::BTreeSet, fs, path::Path};

use tempfile::TempDir;
use tests::{
    agent::{Agent, Setup},
    disks::Mounted,
    fake_aws::{Action, FakeAws, Operation},
    forward_client::{ForwardClient, Time, docker_line},
    metrics::Account,
};

use crate::story::{SOON, WEB, WEB_STREAM, last_number, line, number_of, record};

const PUT: Operation = Operation::PutLogEvents;
const MIB: u64 = 1 << 20;

/// An agent with 8 MiB of memory and a spool in `folder`, sending to `aws`.
pub(crate) fn setup(aws: &FakeAws, folder: &Path, spool: &str) -> Setup {
    Setup::yaml(format!(
        "memory: 8 MiB\nspool: {{path: {}{spool}}}\nlogs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  \
         outputs:\n    - name: cloud\n      to:\n        cloudwatch: {{group: bench, stream_prefix: s-, \
         auto_create_group: true, region: us-east-1, endpoint: '{}'}}\n",
        folder.display(),
        aws.url()
    ))
    .with("PILLION_STOP_TIMEOUT", "5")
}

pub(crate) fn start(setup: &Setup) -> Agent {
    Agent::start(setup).unwrap()
}

/// Sends lines of about 220 bytes, which take 400 in a request.
pub(crate) fn send(agent: &Agent, numbers: std::ops::Range<usize>) {
    let mut client = ForwardClient::unix(&agent.socket()).unwrap();
    let padding = "x".repeat(200);
    let all: Vec<usize> = numbers.collect();
    for some in all.chunks(100) {
        let lines =
            some.iter().map(|number| docker_line(WEB, Time::now(), format!("{} {padding}", line(*number)).as_bytes()));
        client.send(&lines.collect::<Vec<_>>().concat()).unwrap();
    }
}

#[track_caller]
pub(crate) fn wait(agent: &Agent, what: &str, condition: impl Fn(&Account) -> bool) -> Account {
    agent.wait_for_metrics(SOON, what, |metrics| {
        let total = metrics.books().total();
        assert!(total.balanced(), "{total:?}");
        condition(&total)
    });
    agent.books().total()
}

/// The numbers of the lines that arrived, in their order.
pub(crate) fn arrived(aws: &FakeAws) -> Vec<usize> {
    let number = |message: &String| number_of(record(message)["log"].as_str().unwrap());
    aws.messages("bench", WEB_STREAM).iter().map(number).collect()
}

/// Seeds of a randomised story.
pub(crate) fn seeds(few: u64) -> u64 {
    #[expect(clippy::disallowed_methods, reason = "a test reads how long it may take")]
    let asked = std::env::var("PILLION_TEST_SEEDS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or(few)
}

/// Three times what memory holds, while the service is down.
#[test]
fn an_outage_larger_than_the_memory_loses_nothing() {
    const LINES: usize = 60_000;
    let (aws, folder) = (FakeAws::start(), TempDir::new().unwrap());
    aws.always(PUT, Action::Status(503, None));
    let agent = start(&setup(&aws, folder.path(), ""));
    for first in (0..LINES).step_by(4_000) {
        send(&agent, first..first + 4_000);
        // The disk may take its time: no more waits for it than fits the memory, of which
        // two batches are kept for reading back.
        wait(&agent, "these lines", |total| total.accepted == first as u64 + 4_000 && total.in_flight < 6_000);
    }
    let total = wait(&agent, "all lines", |total| total.accepted == LINES as u64);
    assert!(total.lost.is_empty() && total.spooled > 20_000, "{total:?}");
    let peak = agent.peak_bytes();
    assert!(peak <= 8 * MIB + 14 * MIB, "{peak} bytes of memory at the peak");
    aws.heal(PUT);
    wait(&agent, "all to be delivered", |total| total.delivered == LINES as u64);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!((last_number(&ended, "spooled"), last_number(&ended, "lost")), (0, 0));
    assert_eq!(arrived(&aws), (0..LINES).collect::<Vec<_>>(), "all, once, in order");
    aws.assert_no_violations();
}

/// T17: killed at any moment, with the service down or up. What was spooled arrives, and no more than was on its way comes
/// twice.
#[test]
fn what_is_spooled_survives_a_kill() {
    for seed in 0..seeds(4) {
        let mut random = fastrand::Rng::with_seed(seed);
        let (aws, folder) = (FakeAws::start(), TempDir::new().unwrap());
        aws.always(PUT, Action::Status(503, None));
        let setup = setup(&aws, folder.path(), "");
        let agent = start(&setup);
        let lines = random.usize(15_000..40_000);
        send(&agent, 0..lines);
        let wanted = random.u64(1_000..8_000);
        let total = wait(&agent, "some on disk", |total| total.spooled >= wanted);
        let spooled_before = total.spooled;
        let heals = random.bool();
        if heals {
            aws.heal(PUT);
        }
        agent.signal("KILL");
        drop(agent.wait_for_end(SOON));
        let before: BTreeSet<_> = arrived(&aws).into_iter().collect();
        aws.heal(PUT);

        let agent = start(&setup);
        send(&agent, lines..lines + 100);
        wait(&agent, "all to be settled", |total| total.in_flight + total.spooled == 0 && total.accepted >= 100);
        let found = agent.books().total().accepted - 100;
        agent.stop(SOON).assert_clean();
        let all = arrived(&aws);
        let set: BTreeSet<_> = all.iter().copied().collect();
        let context = format!("seed {seed}: {lines} lines, {spooled_before} spooled, {found} found");
        assert!(before.len() as u64 + found >= spooled_before, "{context}");
        assert!(set.len() as u64 >= spooled_before, "{context}: {} arrived", set.len());
        assert!(all.len() - set.len() <= 4 * 10_000, "{context}: {} came twice", all.len() - set.len());
        assert!(heals || all.len() == set.len(), "{context}: twice without an answer that was lost");
        assert!((lines..lines + 100).all(|number| set.contains(&number)), "{context}: a new line is missing");
        let last: Vec<_> = all.iter().rev().take(100).rev().copied().collect();
        assert_eq!(last, (lines..lines + 100).collect::<Vec<_>>(), "{context}: what is new comes last");
        aws.assert_no_violations();
    }
}

/// T22: an end without a service, as process 1. What is left is on disk, and the next agent delivers it.
#[test]
fn what_is_left_at_the_end_is_delivered_by_the_next_agent() {
    let (aws, folder) = (FakeAws::start(), TempDir::new().unwrap());
    aws.always(PUT, Action::Hang);
    let setup = setup(&aws, folder.path(), "");
    let agent = start(&setup.clone().as_process_1());
    send(&agent, 0..3_000);
    wait(&agent, "all lines", |total| total.accepted == 3_000);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(
        ["accepted", "spooled", "lost"].map(|name| last_number(&ended, name)),
        [3_000, 3_000, 0],
        "{}",
        ended.log
    );
    assert!(ended.took.as_secs_f64() < 5.0, "it took {:?}", ended.took);
    aws.heal(PUT);

    let agent = start(&setup);
    wait(&agent, "all to be delivered", |total| total.delivered == 3_000);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    // What hung was not taken.
    assert_eq!(arrived(&aws), (0..3_000).collect::<Vec<_>>());
    aws.assert_no_violations();
    let agent = start(&setup);
    let ended = agent.stop(SOON);
    assert_eq!(last_number(&ended, "accepted"), 0, "nothing comes twice");
}

/// T20: the second agent on a folder does without, and says so; the first is not harmed.
#[test]
fn two_agents_do_not_share_a_spool() {
    let (aws, folder) = (FakeAws::start(), TempDir::new().unwrap());
    let setup = setup(&aws, folder.path(), "");
    let (first, second) = (start(&setup), start(&setup));
    send(&first, 0..10);
    send(&second, 10..20);
    for agent in [&first, &second] {
        wait(agent, "its lines", |total| total.delivered == 10);
    }
    assert!(second.log().contains("is in use by another process"), "{}", second.log());
    assert!(!first.log().contains("is in use by another process"), "{}", first.log());
    first.stop(SOON).assert_clean();
    second.stop(SOON).assert_clean();
}

/// T15: no folder can be made: in memory, with a word about it.
#[test]
fn without_a_usable_folder_the_agent_works_in_memory() {
    let (aws, folder) = (FakeAws::start(), TempDir::new().unwrap());
    let file = folder.path().join("file");
    fs::write(&file, "in the way").unwrap();
    for path in [file.clone(), file.join("below"), "/proc/pillion".into()] {
        let agent = start(&setup(&aws, &path, ""));
        send(&agent, 0..10);
        wait(&agent, "its lines", |total| total.delivered == 10);
        assert!(agent.log().contains("there is no spool"), "{}", agent.log());
        // A task is not replaced because of its disk, and whoever asks hears of it.
        let (status, body) = agent.get("/healthz");
        assert!(status == 200 && body.starts_with("degraded: there is no spool: "), "{status} {body}");
        assert_eq!(agent.status()["outputs"]["cloud"]["spool_degraded"], true);
        agent.stop(SOON).assert_clean();
    }
    // It listens before it looks at the disk, so that its start may seem to succeed.
    let refused = match Agent::start(&setup(&aws, &file, ", required: true")) {
        Err(error) => error.to_string(),
        Ok(agent) => agent.wait_for_end(SOON).log,
    };
    assert!(refused.contains("spool.path: there is no spool: "), "{refused}");
    assert_eq!(fs::read(&file).unwrap(), b"in the way");
}

/// T14: somebody else fills the disk. The agent goes on, delivers what is on it, counts what it could not keep, and uses the
/// disk again when there is room.
#[test]
fn a_full_disk_costs_what_memory_cannot_hold_and_no_more() {
    const LINES: usize = 80_000;
    let (aws, disk) = (FakeAws::start(), Mounted::tmpfs(12 * MIB));
    aws.always(PUT, Action::Status(503, None));
    let agent = start(&setup(&aws, &disk.path().join("spool"), ""));
    send(&agent, 0..LINES / 2);
    fs::write(disk.path().join("other"), vec![0; 16 << 20]).expect_err("it fills the disk");
    send(&agent, LINES / 2..LINES);
    let total = wait(&agent, "all lines", |total| total.accepted == LINES as u64 && !total.lost.is_empty());
    assert!(total.spooled > 0, "{total:?}");
    agent
        .wait_for_metrics(SOON, "a degraded spool", |metrics| metrics.sum("pillion_deliver_spool_degraded", &[]) > 0.0);
    fs::remove_file(disk.path().join("other")).unwrap();
    send(&agent, LINES..LINES + 5_000);
    aws.heal(PUT);
    let total = wait(&agent, "all to be settled", |total| {
        total.accepted == LINES as u64 + 5_000 && total.in_flight + total.spooled == 0
    });
    let all = arrived(&aws);
    assert!(all.is_sorted_by(|a, b| a < b), "in order, once");
    assert_eq!(all.len() as u64, total.delivered);
    assert_eq!(total.delivered + total.lost.values().sum::<u64>(), LINES as u64 + 5_000);
    assert_eq!(total.lost.keys().collect::<Vec<_>>(), ["memory_full"], "{total:?}");
    agent.stop(SOON).assert_clean();
    aws.assert_no_violations();
}

/// T15: the file system turns read-only in mid-run, as ext4 does when it finds a mistake in itself. (Asked to by `mount`, the
/// kernel refuses while the agent has files open for writing.) What is on it is delivered all the same.
#[test]
fn a_disk_that_turns_read_only_costs_what_memory_cannot_hold_and_no_more() {
    const LINES: usize = 60_000;
    let (aws, images) = (FakeAws::start(), TempDir::new().unwrap());
    let disk = Mounted::ext4(&images.path().join("image"), 64 * MIB, &[], "errors=remount-ro");
    aws.always(PUT, Action::Status(503, None));
    let agent = start(&setup(&aws, &disk.path().join("spool"), ""));
    send(&agent, 0..LINES / 3);
    let spooled = wait(&agent, "some on disk", |total| total.spooled >= 5_000).spooled;
    disk.find_mistake();
    send(&agent, LINES / 3..LINES);
    let total = wait(&agent, "all lines", |total| total.accepted == LINES as u64 && !total.lost.is_empty());
    agent
        .wait_for_metrics(SOON, "a degraded spool", |metrics| metrics.sum("pillion_deliver_spool_degraded", &[]) > 0.0);
    assert!(total.spooled >= spooled, "what was on disk was given up: {total:?}");
    aws.heal(PUT);
    send(&agent, LINES..LINES + 1_000);
    assert_exact(&agent, &aws, LINES + 1_000);
    // And not because it could not be read.
    assert_eq!(agent.books().total().lost.keys().collect::<Vec<_>>(), ["memory_full"]);
    agent.stop(SOON).assert_clean();
    aws.assert_no_violations();
}

/// T16: a device that cannot write for a while (its own disk is full): what was to be synced was not, and is not believed to
/// be. When it can again, it is used again.
#[test]
fn a_device_that_cannot_write_for_a_while_is_used_again_afterwards() {
    const LINES: usize = 60_000;
    let (aws, under) = (FakeAws::start(), Mounted::tmpfs(8 * MIB));
    let options = ["-O", "^has_journal", "-E", "lazy_itable_init=1"];
    let disk = Mounted::ext4(&under.path().join("image"), 128 * MIB, &options, "errors=continue,noinit_itable");
    aws.always(PUT, Action::Status(503, None));
    let agent = start(&setup(&aws, &disk.path().join("spool"), ""));
    send(&agent, 0..LINES);
    wait(&agent, "all lines, and some to be lost", |total| {
        total.accepted == LINES as u64 && total.lost.contains_key("memory_full")
    });
    let degraded = |metrics: &tests::metrics::Metrics| metrics.sum("pillion_deliver_spool_degraded", &[]) > 0.0;
    agent.wait_for_metrics(SOON, "errors of the device", degraded);
    under.remount("size=1g");
    send(&agent, LINES..LINES + 20_000);
    agent.wait_for_metrics(SOON, "no errors", |metrics| !degraded(metrics));
    wait(&agent, "more on disk than memory holds", |total| {
        total.accepted == LINES as u64 + 20_000 && total.spooled > 12_000
    });
    aws.heal(PUT);
    send(&agent, LINES + 20_000..LINES + 21_000);
    assert_exact(&agent, &aws, LINES + 21_000);
    assert_eq!(agent.books().total().lost.keys().collect::<Vec<_>>(), ["memory_full"]);
    agent.stop(SOON).assert_clean();
    aws.assert_no_violations();
}

/// Waits until all of `sent` lines are settled: once, in order, and the missing ones are those that the books call lost.
#[track_caller]
fn assert_exact(agent: &Agent, aws: &FakeAws, sent: usize) {
    let total =
        wait(agent, "all to be settled", |total| total.accepted == sent as u64 && total.in_flight + total.spooled == 0);
    let all = arrived(aws);
    assert!(all.is_sorted_by(|a, b| a < b), "in order, once");
    assert_eq!(all.len() as u64, total.delivered);
    assert_eq!(total.delivered + total.lost.values().sum::<u64>(), sent as u64, "{total:?}");
    assert_eq!(all.last(), Some(&(sent - 1)), "the newest is there");
}

/// T21: the spool at its limit, under both rules.
#[test]
fn a_full_spool_drops_by_its_rule() {
    const LINES: usize = 110_000;
    for (rule, reason) in [("drop_oldest", "spool_full"), ("drop_newest", "memory_full")] {
        let (aws, folder) = (FakeAws::start(), TempDir::new().unwrap());
        aws.always(PUT, Action::Status(503, None));
        let agent = start(&setup(&aws, folder.path(), &format!(", bytes_max: 16 MiB, when_full: {rule}")));
        for first in (0..LINES).step_by(5_000) {
            send(&agent, first..first + 5_000);
            wait(&agent, "these lines", |total| total.accepted == first as u64 + 5_000);
        }
        let on_disk = agent.metrics().sum("pillion_deliver_spool_bytes", &[]);
        assert!(on_disk <= 16.0 * MIB as f64, "{on_disk} bytes");
        aws.heal(PUT);
        let total = wait(&agent, "all to be settled", |total| total.in_flight + total.spooled == 0);
        assert!(total.lost.get(reason).is_some_and(|&lost| lost > 5_000), "{rule}: {total:?}");
        let all = arrived(&aws);
        assert!(all.is_sorted_by(|a, b| a < b), "{rule}: in order, once");
        assert_eq!((all.len() as u64, all.last()), (total.delivered, Some(&(LINES - 1))), "{rule}");
        if rule == "drop_newest" {
            assert_eq!(all[..5_000], (0..5_000).collect::<Vec<_>>(), "the first ones stay");
        }
        agent.stop(SOON).assert_clean();
        aws.assert_no_violations();
    }
}
