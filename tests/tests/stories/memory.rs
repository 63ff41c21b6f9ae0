//! A container's memory limit (T27): the kernel ends who goes beyond it, so the agent must not, whatever happens to it.
//!
//! Promises: the limit is a cgroup's, which the agent finds where a container does; what is lost is counted to the record.
//! Never: sets the agent's `memory`: what it makes of the limit by itself is what is tested.

use std::{collections::BTreeSet, io::Write, path::Path, sync::mpsc, thread};

use tests::{
    agent::Setup,
    cgroup::MemoryGroup,
    fake_aws::{Action, FakeAws, Operation},
    forward_client::{ForwardClient, Options, Time, docker_line, packed},
    metrics::Account,
};

use crate::{
    spool::{arrived, wait},
    story::{SOON, WEB, is_long_run, last_number, line},
};

const PUT: Operation = Operation::PutLogEvents;
const MIB: u64 = 1 << 20;
/// Text behind the number of a line.
const PADDING: usize = 4_000;
/// Connections that stopped in the middle of a message, with 31 KiB of it. The agent takes 144 at a time in such a container;
/// this leaves some for the others.
const HALF_SAID: usize = 130;

/// An agent in `group` that is not told how much memory to use.
fn setup(group: &MemoryGroup, aws: &FakeAws, spool: Option<&Path>) -> Setup {
    let spool = spool.map_or(String::new(), |folder| {
        format!("spool: {{path: {}, bytes_max: 16 MiB, when_full: drop_oldest}}\n", folder.display())
    });
    group.around(Setup::yaml(format!(
        "{spool}logs:\n  inputs:\n    - forward: {{unix: '{{socket}}'}}\n  outputs:\n    - name: cloud\n      to:\n        \
         cloudwatch: {{group: bench, stream_prefix: s-, auto_create_group: true, region: us-east-1, endpoint: '{}'}}\n",
        aws.url()
    )))
}

/// What the service does, one after another, while the sender writes. Nothing of it takes a record.
fn faults() -> Vec<Action> {
    vec![
        Action::Status(503, None),
        Action::EndlessBody,
        Action::Garbage,
        Action::ResetMidBody,
        Action::HtmlError,
        Action::Redirect("http://169.254.169.254/latest/meta-data/"),
        Action::Hang,
    ]
}

/// Messages that are none, and take more memory than they are if one believes them.
fn bombs() -> Vec<Vec<u8>> {
    let mut zeroes = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    zeroes.write_all(&vec![0; 64 << 20]).unwrap();
    let zeroes = zeroes.finish().unwrap();
    let gzip = Options { compressed: Some("gzip"), ..Options::default() };
    let head = [0x92, 0xa1, b't'];
    vec![
        [&head[..], &[0xdd, 0xff, 0xff, 0xff, 0xff]].concat(),
        [&[0x93, 0xa1, b't', 5, 0x81, 0xa1, b'a'][..], &vec![0x91; 1 << 20]].concat(),
        packed("t", &zeroes, Some(&gzip)),
        vec![0xdb; 1 << 20],
    ]
}

/// Throws bombs over connections of their own until told to stop, and each of them once; gives how many.
fn throw(socket: &Path, stop: &mpsc::Receiver<()>) -> usize {
    let bombs = bombs();
    let mut thrown = 0;
    while thrown < bombs.len() || stop.try_recv() == Err(mpsc::TryRecvError::Empty) {
        let mut client = ForwardClient::unix(socket).unwrap();
        // Fails when the agent has heard enough.
        let _ = client.send(&bombs[thrown % bombs.len()]);
        thrown += 1;
        if let ForwardClient::Unix(stream) = &client {
            let _ = stream.shutdown(std::net::Shutdown::Write);
        }
        let _ = client.until_closed();
    }
    thrown
}

/// Sends lines as fast as they are taken.
fn send(client: &mut ForwardClient, numbers: std::ops::Range<usize>) {
    let padding = "x".repeat(PADDING);
    let mut bytes = Vec::new();
    for number in numbers {
        bytes.extend(docker_line(WEB, Time::now(), format!("{} {padding}", line(number)).as_bytes()));
    }
    client.send(&bytes).unwrap();
}

/// What the books call lost is what did not arrive, nothing came twice, and the newest is there.
fn assert_exact(aws: &FakeAws, total: &Account, sent: usize) {
    let all = arrived(aws);
    let set: BTreeSet<_> = all.iter().copied().collect();
    assert_eq!((set.len(), all.is_sorted()), (all.len(), true), "once, and in order");
    assert_eq!(all.len() as u64, total.delivered);
    assert_eq!(total.lost.values().sum::<u64>(), (sent - all.len()) as u64, "{total:?}");
    let reasons: Vec<_> = total.lost.keys().map(String::as_str).collect();
    assert!(reasons.iter().all(|reason| ["memory_full", "spool_full"].contains(reason)), "{total:?}");
    assert!((sent - 1_000..sent).all(|number| set.contains(&number)), "the newest are there");
    aws.assert_no_violations();
}

/// 72 MiB for the container, so 36 MiB for records; twice that (in a long run forty times) is sent while no service takes
/// anything, bombs fly, and as many peers as are let in have stopped in the middle of a message.
fn keep_the_limit(spool: Option<&Path>) {
    let lines: usize = if is_long_run() { 360_000 } else { 18_000 };
    let (group, aws) = (MemoryGroup::new(72 * MIB), FakeAws::start());
    let agent = tests::agent::Agent::start(&setup(&group, &aws, spool)).unwrap();
    assert_eq!(agent.status()["memory"]["limit_bytes"], 36 * MIB, "half of the limit: {}", agent.status());
    let mut client = ForwardClient::unix(&agent.socket()).unwrap();
    let half_said: Vec<_> = (0..HALF_SAID)
        .map(|_| {
            let mut client = ForwardClient::unix(&agent.socket()).unwrap();
            client.send(&docker_line(WEB, Time::now(), &[b'x'; 32 << 10])[..31 << 10]).unwrap();
            client
        })
        .collect();
    let (stop, stopped) = mpsc::sync_channel(1);
    let socket = agent.socket();
    let thrower = thread::spawn(move || throw(&socket, &stopped));
    let faults = faults();
    for (number, first) in (0..lines).step_by(100).enumerate() {
        if number % 24 == 0 {
            aws.always(PUT, faults[number / 24 % faults.len()].clone());
        }
        send(&mut client, first..first + 100);
    }
    stop.send(()).unwrap();
    assert!(thrower.join().unwrap() >= 4, "each bomb was thrown");
    let total = wait(&agent, "all lines", |total| total.accepted == lines as u64);
    assert!(total.lost.values().sum::<u64>() > lines as u64 / 10, "{total:?}");
    aws.heal(PUT);
    aws.release();
    send(&mut client, lines..lines + 1_000);
    let total = wait(&agent, "all to be settled", |total| {
        total.accepted == lines as u64 + 1_000 && total.in_flight + total.spooled == 0
    });
    assert_exact(&aws, &total, lines + 1_000);
    drop(half_said);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    assert_eq!(last_number(&ended, "lost"), total.lost.values().sum::<u64>());
    assert_eq!(group.oom_kills(), 0);
}

#[test]
fn a_container_s_limit_is_kept_under_every_fault() {
    keep_the_limit(None);
}

#[test]
fn a_container_s_limit_is_kept_under_every_fault_with_a_spool() {
    keep_the_limit(Some(tempfile::tempdir().unwrap().path()));
}

/// The smallest container that the guides name: it starts, runs, and gets over an outage.
#[test]
fn a_container_of_32_mib_starts_runs_and_gets_over_an_outage() {
    const LINES: usize = 9_000;
    let (group, aws) = (MemoryGroup::new(32 * MIB), FakeAws::start());
    let agent = tests::agent::Agent::start(&setup(&group, &aws, None)).unwrap();
    assert_eq!(agent.status()["memory"]["limit_bytes"], 16 * MIB, "{}", agent.status());
    let mut client = ForwardClient::unix(&agent.socket()).unwrap();
    for first in (0..LINES).step_by(100) {
        if first == 1_000 {
            wait(&agent, "the first lines to be delivered", |total| total.delivered == 1_000);
            aws.always(PUT, Action::Status(503, None));
        }
        send(&mut client, first..first + 100);
    }
    wait(&agent, "all lines, and some to be lost", |total| total.accepted == LINES as u64 && !total.lost.is_empty());
    aws.heal(PUT);
    send(&mut client, LINES..LINES + 1_000);
    let total =
        wait(&agent, "all to be settled", |total| total.accepted == LINES as u64 + 1_000 && total.in_flight == 0);
    assert_exact(&aws, &total, LINES + 1_000);
    agent.stop(SOON).assert_clean();
    assert_eq!(group.oom_kills(), 0);
}
