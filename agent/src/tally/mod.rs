//! What log records count for metrics: how many there are of each level, and what rules say of them.
//!
//! ```text
//! logs: records of one tag ─▶ Counter ── at the end of a read ─▶ Taker: metrics
//! ```
//!
//! It lies beneath both jobs, which never use each other. Logs hand each record to a [`Counter`], before filters leave any out. A record costs
//! what finding its level costs (see [`level`]), and what the rules for its container do. Metrics hear of it once a read.
//!
//! Promises: a record counts once; whatever it holds, it goes on as it is; what waits to be told is bounded.
//! Never: waits; keeps a record.

mod json;
pub mod level;
mod name;
pub mod rule;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, mem, sync::Arc};

pub use name::{LEVELS, Level};
pub use rule::{Rule, Rules};

/// What rules found and metrics have not heard of yet.
const FOUND_MAX: usize = 256;

/// A field of a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Field<'a> {
    /// A text; of a boolean, its name.
    Text(Cow<'a, [u8]>),
    /// A number.
    Number(f64),
    /// What is neither.
    Nothing,
}

/// What a record says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Said<'a> {
    /// The line that the program wrote; may be empty.
    pub line: &'a [u8],
    /// The level, if a field says it.
    pub level: Option<Level>,
}

/// A record, as far as it is looked at.
pub trait Record {
    /// The field called `name`, if it has one.
    fn field(&self, name: &[u8]) -> Option<Field<'_>>;

    /// The line that the program wrote, and the level if a field says it. Asked once a record.
    fn said(&self) -> Said<'_>;
}

/// Hears what was counted.
pub trait Taker: Send + Sync {
    /// So many records of `container` had each level. Never waits.
    fn levels(&self, container: &str, counts: &[u64; LEVELS]);

    /// What rules found in records of `container`. Never waits.
    fn found(&self, container: &str, found: &[Found]);
}

/// What a rule found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The rule's number.
    pub rule: usize,
    /// How much it counts; `None` if there was no number to sum up.
    pub amount: Option<f64>,
    /// The values of the rule's labels, in the order of their names; empty where a record had none.
    pub labels: Vec<String>,
}

/// What is counted of records, and who hears of it.
pub struct Tally {
    /// Whether levels are.
    pub levels: bool,
    /// What rules are.
    pub rules: Rules,
    /// Who hears of it.
    pub taker: Arc<dyn Taker>,
}

/// Counts the records of one tag.
pub struct Counter {
    tally: Arc<Tally>,
    rules: Vec<usize>,
    wants_level: bool,
    memory: level::Memory,
    counts: [u64; LEVELS],
    found: Vec<Found>,
    workspace: rule::Workspace,
}

impl Tally {
    /// A counter of records of `container`; `None` if nothing of them is counted.
    pub fn counter(self: &Arc<Self>, container: &str) -> Option<Counter> {
        let rules = self.rules.of_container(container);
        (self.levels || !rules.is_empty()).then(|| Counter {
            wants_level: self.levels || self.rules.want_level(&rules),
            tally: Arc::clone(self),
            rules,
            memory: level::Memory::default(),
            counts: [0; LEVELS],
            found: Vec::new(),
            workspace: rule::Workspace::default(),
        })
    }
}

impl Counter {
    /// Counts a record of `container`.
    #[inline]
    pub fn count(&mut self, container: &str, record: &impl Record) {
        let said = record.said();
        let level = match said.level {
            Some(level) => level,
            None if self.wants_level => self.memory.level(said.line),
            None => Level::None,
        };
        self.counts[level as usize] += 1;
        if !self.rules.is_empty() {
            self.by_rules(container, record, said.line, level);
        }
    }

    fn by_rules(&mut self, container: &str, record: &impl Record, line: &[u8], level: Level) {
        let Self { tally, rules, found, workspace, .. } = self;
        tally.rules.apply(rules, (record, line, level), workspace, |of_rule| {
            let labels = of_rule.labels.iter().map(|label| label.clone().into_owned()).collect();
            found.push(Found { rule: of_rule.rule, amount: of_rule.amount, labels });
        });
        if found.len() >= FOUND_MAX {
            tally.taker.found(container, found);
            found.clear();
        }
    }

    /// Tells what was counted since the last time.
    pub fn tell(&mut self, container: &str) {
        let counts = mem::take(&mut self.counts);
        if self.tally.levels && counts != [0; LEVELS] {
            self.tally.taker.levels(container, &counts);
        }
        if !self.found.is_empty() {
            self.tally.taker.found(container, &self.found);
            self.found.clear();
        }
    }
}
