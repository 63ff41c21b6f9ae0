//! The password of a running database changes, and changes again, while apps log in all the while.
//!
//! Two strategies of AWS' rotation functions. *Alternating users*: the user of the version before keeps its password until the next
//! rotation, so no app ever has to be refused, as long as pillion is quicker than the time between two rotations. *Single user*:
//! between two steps of the function nobody can know a password that works and stands in Secrets Manager as current. An app that
//! reports what was refused, and tries twice more, shows its users nothing of it. One that does not, does.
//!
//! Promises: the rotator never waits for the agent; the database's own log is the witness.
//! Never: proves what happens at AWS' pace: a rotation comes every few seconds here, and the time that pillion has is as much
//! shorter.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;
use tests::{agent::free_address, wait::until};

use crate::{
    SOON, is_long,
    world::{World, total},
};

const SEED: u64 = 1;
/// `tests/run long` takes so many times as many rounds.
const LONG: usize = 8;

/// How many rounds of rotations, and the seconds from one to the next.
#[derive(Clone, Copy)]
struct Pace {
    rounds: usize,
    every: f64,
}

impl Pace {
    fn new(rounds: usize, every: f64) -> Self {
        Self { rounds: if is_long() { rounds * LONG } else { rounds }, every }
    }

    fn go(self, mut round: impl FnMut(f64)) {
        for _ in 0..self.rounds {
            round(self.every);
        }
    }
}

#[expect(clippy::print_stdout, reason = "shown when the test fails, and by --nocapture")]
fn say(line: &str) {
    println!("{line}");
}

/// The agent is killed while rotations go on.
fn with_kills(world: &World, pace: Pace) {
    let is_done = AtomicBool::new(false);
    let kills = thread::scope(|scope| {
        let killer = scope.spawn(|| world.kill_at_random(SEED, &is_done));
        pace.go(|every| world.rotate(every));
        is_done.store(true, Ordering::Relaxed);
        killer.join().unwrap()
    });
    assert!(kills > 0, "nobody was killed");
    world.settle();
    say(&format!("seed {SEED}: {kills} kills"));
    stands(world, "with kills");
}

/// AWS cannot be reached, for a minute's half in `tests/run long`, for seconds else. Its rotation cannot either.
fn with_an_outage(world: &World, pace: Pace) {
    let (before, seconds) = (world.generation(), if is_long() { 30 } else { 5 });
    world.service.be_down(true);
    for _ in 0..seconds {
        world.hint();
        world.rest(1.0);
    }
    assert_eq!(world.generation(), before);
    world.service.be_down(false);
    assert!(world.service.lost() > 0, "nobody noticed the outage");
    world.hint();
    // Two looks that are asked for are a second apart: the one that ends the outage is not to delay that for the next rotation.
    world.rest(1.5);
    pace.go(|every| world.rotate(every));
    world.settle();
    stands(world, "with an outage");
}

/// AWS throttles so many requests, and did.
fn throttle(world: &World, count: usize) {
    let all = world.service.throttled() + count;
    world.service.throttle(count);
    world.hint();
    until(SOON, || format!("{count} requests that are throttled"), || world.service.throttled() >= all);
}

/// Where a story stands.
fn stands(world: &World, what: &str) {
    let (rotations, refused, generation) = (world.rotations(), world.postgres.refused(), world.generation().0);
    let longest = world.longest();
    say(&format!(
        "{what}: {rotations} rotations so far, the longest took {longest:.2} s, generation {generation}, {refused} logins refused"
    ));
}

/// Nothing that an app read was torn or mixed, older than what it had read before, or of no use; no query failed.
#[track_caller]
fn assert_unharmed(totals: &Value) {
    for name in ["failed", "broken", "backwards"] {
        assert_eq!(total(totals, name), 0, "{totals}");
    }
}

#[test]
fn no_query_fails_while_alternating_users_are_rotated() {
    let hook = free_address().unwrap();
    let world = World::start("alternating", &["orders", "billing"], &[hook]);
    let (mut pool, mut pair) = (world.app("pool", "orders"), world.app("pair", "billing"));
    let mut node = world.node_app("orders", hook);

    Pace::new(14, 1.6).go(|every| world.rotate(every));
    world.settle();
    let told = world.told.all();
    assert!(told.is_sorted_by(|before, next| before < next), "{told:?}");
    stands(&world, "calm");
    with_kills(&world, Pace::new(6, 2.5));
    // Three requests for two secrets: a look is tried again after a second at most, then two, and nothing hurries it.
    Pace::new(2, 5.0).go(|every| {
        world.rest(every);
        world.service.throttle(3);
        world.rotate(0.0);
    });
    world.settle();
    stands(&world, "throttled");
    with_an_outage(&world, Pace::new(3, 1.6));
    assert_eq!(world.postgres.refused(), 0);
    let told = world.told.all();
    assert!(told.is_sorted(), "{told:?}");

    for app in [&mut pool, &mut pair, &mut node] {
        let totals = app.ask("count");
        say(&format!("{} rotations of alternating users: {totals}", world.rotations()));
        assert!(total(&totals, "ok") > world.rotations() && total(&totals, "users") == 2, "{totals}");
        assert_eq!(total(&totals, "failed"), 0, "{totals}");
    }
    for app in [&mut pool, &mut pair] {
        assert_unharmed(&app.ask("count"));
    }
    let totals = node.ask("count");
    assert_eq!(total(&totals, "told_backwards"), 0, "{totals}");
    assert_eq!(total(&totals, "generation") as u64, world.generation().0, "{totals}");
    pool.end();
    node.end();

    // The other way round: without pillion they fail, and come back with it.
    world.with_agent(tests::agent::Agent::suspend);
    for _ in 0..2 {
        world.rotate(1.6);
    }
    until(SOON, || "a query that fails".to_owned(), || total(&pair.ask("count"), "failed") > 0);
    world.with_agent(|agent| agent.signal("CONT"));
    world.settle();
    let before = total(&pair.ask("count"), "ok");
    until(SOON, || "a query that succeeds".to_owned(), || total(&pair.ask("count"), "ok") > before);
    pair.end();
    world.end();
}

#[test]
fn an_app_that_reports_a_refused_password_shows_nothing_of_a_single_user_rotation() {
    let world = World::start("single", &["reports", "invoices"], &[]);
    let (mut report, mut fresh) = (world.app("report", "reports"), world.app("fresh", "invoices"));
    let mut plain = world.app("plain", "reports");

    Pace::new(18, 2.5).go(|every| world.rotate(every));
    world.settle();
    let every_one: Vec<u64> = (1..=world.generation().0).collect();
    assert_eq!(world.told.all(), every_one, "each generation is told once");
    stands(&world, "calm");
    with_kills(&world, Pace::new(4, 3.5));
    // Once while a rotation is under way, and twice when it is over.
    Pace::new(2, 3.5).go(|every| {
        world.rest(every);
        world.service.throttle(1);
        world.rotate(0.0);
        world.rest(every);
        throttle(&world, 2);
    });
    world.settle();
    stands(&world, "throttled");
    with_an_outage(&world, Pace::new(1, 2.5));

    let all = [&mut report, &mut fresh, &mut plain].map(|app| app.ask("count"));
    for (how, totals) in ["report", "fresh", "plain"].iter().zip(&all) {
        say(&format!("{} rotations of a single user, {how}: {totals}", world.rotations()));
    }
    for totals in &all[..2] {
        assert_unharmed(totals);
        assert!(total(totals, "ok") > world.rotations(), "{totals}");
    }
    // Only the time between two steps of the function is lost, and only to what was refused.
    let (failed, refused) = (total(&all[2], "failed"), total(&all[2], "refused"));
    assert!(failed == refused && total(&all[2], "ok") > failed, "{}", all[2]);
    let refused: usize = all.iter().map(|totals| total(totals, "refused")).sum();
    assert!(refused > 0, "nobody was refused: nothing was shown");
    for app in [report, fresh, plain] {
        app.end();
    }
    assert!(world.postgres.refused() >= refused, "{} of {refused}", world.postgres.refused());
    world.end();
}
