//! The simulated fleet: real pipelines and the model, through an outage and behind it, against what docs/fleet.md promises.
//!
//! What is drawn comes from one seed, which a failure prints; `PILLION_FLEET_SEED` sets it. The order in which the runtime
//! polls is its own, so the same seed gives nearly the same figures, not the same ones.
//!
//! Promises: simulated time only; the limits are those of the page.
//! Never: proves anything of AWS, whose quotas may work in another way.

#![expect(clippy::unwrap_used, reason = "a test: what fails here is a failed test")]

use std::time::Duration;

use tests::fleet::{ledger::Report, model, options::Sender, real, scenario::Scenario};

/// Tasks with real pipelines. With a thousand, chance alone would exceed the quota by a third for ten seconds.
const REAL: usize = 2_500;
/// Tasks in the model.
const MODEL: usize = 20_000;

fn seed() -> u64 {
    #[expect(clippy::disallowed_methods, reason = "the rule is about the agent; tests are told by variables")]
    let seed = std::env::var("PILLION_FLEET_SEED");
    seed.map_or(1, |seed| seed.parse().unwrap())
}

fn fleet(agents: usize) -> Scenario {
    Scenario { seed: seed(), ..Scenario::of(agents) }
}

/// What the page promises for an outage in a fleet that needs all of its quota.
fn keeps_the_promises(report: &Report) {
    let drain_max = 3.0 * report.drain_ideal_seconds + 60.0;
    for (promise, kept) in [
        ("at most 1.2 requests are offered for one that is accepted", report.amplification.is_some_and(|a| a <= 1.2)),
        ("95 % of the quota is used by what is taken", report.goodput >= 0.95),
        ("at most 1.3 of the quota is offered, over ten seconds", report.peak_of_ten_seconds <= 1.3),
        ("99 % of the tasks drain in time", report.drain_p99_seconds.is_some_and(|p99| p99 <= drain_max)),
        ("all tasks get their part", report.jain >= 0.99),
        ("nothing is lost", report.lost_records == 0),
        ("a fleet that wants twenty times its quota settles in two minutes", report.settled_seconds <= 120.0),
    ] {
        assert!(kept, "not kept: {promise}: {report:#?}");
    }
}

/// Every record is read by the service once and in order, and every task's books balance: `real::run` looks at both.
#[test]
fn real_pipelines_come_back_from_an_outage_as_the_page_promises() {
    let (report, _) = real::run(fleet(REAL)).unwrap_or_else(|error| panic!("seed {}: {error:#}", seed()));
    keeps_the_promises(&report);
}

/// A rejection that costs much, or nothing, changes little for those that are rarely rejected.
#[test]
fn the_model_keeps_the_promises_whatever_a_rejection_costs() {
    for burn in [0.0, 0.05, 0.2] {
        keeps_the_promises(&model(Sender::Ours, Scenario { burn, ..fleet(MODEL) }).0);
    }
}

/// The model is worth something only if the pipelines do as it says.
#[test]
fn the_model_says_what_the_pipelines_do() {
    let scenario = Scenario { outage: Duration::from_secs(600), after: Duration::from_secs(300), ..fleet(1_000) };
    let (real, _) = real::run(scenario).unwrap_or_else(|error| panic!("seed {}: {error:#}", seed()));
    let (modelled, _) = model(Sender::Ours, scenario);
    for (what, one, other, within) in [
        ("amplification", real.amplification, modelled.amplification, 0.03),
        ("goodput", Some(real.goodput), Some(modelled.goodput), 0.05),
        ("half have drained", real.drain_p50_seconds, modelled.drain_p50_seconds, 4.0),
        ("99 % have drained", real.drain_p99_seconds, modelled.drain_p99_seconds, 25.0),
    ] {
        let near = one.zip(other).is_some_and(|(one, other)| (one - other).abs() <= within);
        assert!(near, "seed {}: {what}: {one:?} and {other:?}", seed());
    }
}

/// A fleet that needs less than its quota drains as fast as its members ask again.
#[test]
fn a_small_fleet_drains_within_the_longest_backoff() {
    let (report, _) = model(Sender::Ours, Scenario { quota: 5_000.0, record_bytes: 2_048, ..fleet(10_000) });
    assert!(report.drain_p99_seconds.is_some_and(|p99| p99 <= 90.0), "{report:#?}");
    assert!(report.amplification.is_some_and(|a| a <= 1.1) && report.lost_records == 0, "{report:#?}");
}

/// The retries of others must still show what ours avoid; otherwise the simulation has lost its meaning.
#[test]
fn others_retries_offer_several_times_what_is_accepted() {
    for (sender, loses) in [(Sender::Sdk, false), (Sender::FluentBit, true)] {
        let (report, _) = model(sender, fleet(2_000));
        assert!(report.amplification.is_none_or(|a| a > 3.0), "{report:#?}");
        assert_eq!(report.lost_records > 0, loses, "{report:#?}");
    }
}
