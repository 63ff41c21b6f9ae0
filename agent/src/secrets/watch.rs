//! When one secret is looked at and fetched, and what is held of it.
//!
//! - *Far* from a rotation it is looked at every 15 minutes, within the time in which it rotates every 15 seconds, and every 2
//!   while a version is pending; that slows down when a rotation does not end. Each wait is spread, the first one most: tasks
//!   that start together must not ask together.
//! - *Trouble* is met with backoff, and what is held stays. A throttled look also doubles the waits behind it.
//! - *Contradiction:* the service's own nodes disagree for moments. A version that was current before is believed to be current
//!   again when it was seen three times in a row. A version that was announced is asked for by its name until it is there.
//! - *A version never changes.* So it is fetched once, and one that is of no use is not fetched again.
//!
//! Promises: never back to an older version on one answer; never without what was held; once answers are right, what is
//! held is right after the next look and fetch.
//! Never: looks at a clock or a random source of its own; both are arguments. Never asks: whoever gets [`Next::Look`] or
//! [`Next::Fetch`] does, and says what came of it before it asks for the next.

mod doubt;
mod faults;
pub(super) mod rhythm;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use self::{
    doubt::{ANSWERS, CONFIRM, Doubt},
    faults::{another_version, no_version},
    rhythm::{Rhythm, backoff, spread},
};
use super::{
    source::{Followed, PENDING, PREVIOUS, Seen, SourceFault, SourceFaultKind, Wanted},
    value::{Held, Version},
};

/// Between looks that someone asks for.
const NUDGED: Duration = Duration::from_secs(1);
/// How a secret is to be watched.
#[derive(Clone, Debug)]
pub struct Law {
    /// What it is called, until the service says it.
    pub id: String,
    /// Which version is the current one.
    pub followed: Followed,
    /// Between looks far from a rotation.
    pub every: Duration,
    /// Some file shows the version before.
    pub previous: bool,
    /// Some file shows the version that a rotation is making.
    pub pending: bool,
}

/// The time, and a random number for it.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// For waits.
    pub at: Instant,
    /// Seconds since 1970, for the service's dates.
    pub unix: i64,
    /// In 0.0..1.0, new each time.
    pub random: f64,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look, and say what was seen.
    Look,
    /// Fetch, and say what was got.
    Fetch(Wanted),
    /// Nothing until then.
    At(Instant),
    /// Nothing any more.
    Never,
}

/// The watch over one secret.
#[derive(Debug)]
pub struct Watch {
    law: Law,
    held: Option<Held>,
    /// The current version before this one, in case this one is of no use.
    fallback: Option<Version>,
    generation: u64,
    belief: Option<Belief>,
    doubt: Doubt,
    unusable: BTreeSet<String>,
    retries: BTreeMap<String, Retry>,
    /// `None` if it is never looked at.
    look_at: Option<Instant>,
    /// When the last look began, and how many did.
    began: Option<Instant>,
    looks: u64,
    is_looking: bool,
    is_nudged: bool,
    rhythm: Rhythm,
    gone: u8,
    look_fault: Option<SourceFault>,
    fetch_fault: Option<SourceFault>,
}

/// Which versions there are, as far as we believe it.
#[derive(Clone, Debug, Default)]
struct Belief {
    current: String,
    previous: Option<String>,
    pending: Option<String>,
    stages: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Copy, Debug)]
struct Retry {
    failures: u32,
    at: Instant,
}

impl Watch {
    /// A watch that begins with a look at `now`, or with a fetch if the version is fixed.
    pub fn new(law: Law, now: Instant) -> Self {
        let belief = match &law.followed {
            Followed::Version(id) => Some(Belief { current: id.clone(), ..Belief::default() }),
            Followed::Stage(_) => None,
        };
        Self {
            look_at: belief.is_none().then_some(now),
            belief,
            held: None,
            fallback: None,
            generation: 0,
            doubt: Doubt::default(),
            unusable: BTreeSet::new(),
            retries: BTreeMap::new(),
            began: None,
            looks: 0,
            is_looking: false,
            is_nudged: false,
            rhythm: Rhythm::new(law.every),
            gone: 0,
            look_fault: None,
            fetch_fault: None,
            law,
        }
    }

    /// What is held; `None` until the first current version is there.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// False while a version that is to be shown has not come yet.
    pub fn is_whole(&self) -> bool {
        self.missing().is_empty()
    }

    /// Grows whenever other versions are held than before.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What keeps us from knowing, or having, the current version.
    pub fn trouble(&self) -> Option<&SourceFault> {
        self.look_fault.as_ref().or(self.fetch_fault.as_ref())
    }

    /// True if the service said several times in a row that we may not see the secret, or that it is not there.
    pub fn is_gone(&self) -> bool {
        self.gone >= ANSWERS
    }

    /// What to do at `now`.
    pub fn next(&mut self, now: Instant) -> Next {
        if self.look_at.is_some_and(|at| at <= now) {
            (self.began, self.is_looking) = (Some(now), true);
            self.looks += 1;
            return Next::Look;
        }
        let mut at = self.look_at;
        for id in self.missing() {
            match self.retries.get(&id).map(|retry| retry.at).filter(|&at| now < at) {
                None => return Next::Fetch(Wanted::Id(id)),
                Some(later) => at = Some(at.map_or(later, |at| at.min(later))),
            }
        }
        at.map_or(Next::Never, Next::At)
    }

    /// When the last look began, and when the next one is due.
    pub fn times(&self) -> (Option<Instant>, Option<Instant>) {
        (self.began, self.look_at)
    }

    /// How many looks have begun.
    pub fn looks(&self) -> u64 {
        self.looks
    }

    /// Someone has reason to think that there is something new. Returns the number of the first look that cannot be older than
    /// the reason. There is none for a version that is fixed. A service that throttles is not hurried: who asks waits for the
    /// look that is due.
    pub fn nudged(&mut self, now: Instant) -> Option<u64> {
        let look_at = self.look_at?;
        if self.look_fault.as_ref().is_some_and(|fault| fault.kind == SourceFaultKind::Throttled) && !self.is_looking {
            return Some(self.looks + 1);
        }
        if self.is_looking {
            // What that look sees may be older than the reason.
            self.is_nudged = true;
        }
        let earliest = self.began.map_or(now, |began| now.max(began + NUDGED));
        self.look_at = Some(look_at.min(earliest));
        Some(self.looks + 1)
    }

    /// A look has ended.
    pub fn looked(&mut self, now: Moment, result: Result<Seen, SourceFault>) {
        let Followed::Stage(stage) = self.law.followed.clone() else { return };
        self.is_looking = false;
        let result = result.and_then(|seen| match seen.version_of(&stage).map(str::to_owned) {
            Some(current) => Ok((seen, current)),
            None => Err(no_version(&self.law.id, &stage)),
        });
        let wait = match result {
            Err(fault) => self.look_failed(now, fault),
            Ok((seen, current)) => {
                (self.gone, self.look_fault) = (0, None);
                let believed = self.belief.as_ref().map(|belief| belief.current.as_str());
                let is_believed = self.doubt.believes(believed, &current);
                if is_believed {
                    self.believe(now, seen, current);
                }
                self.rhythm.succeeded(now, is_believed)
            }
        };
        self.look_at = Some(now.at + wait);
        if std::mem::take(&mut self.is_nudged) {
            self.nudged(now.at);
        }
    }

    /// A look at another secret has told of this one, too. It counts as a look, unless one of its own is about to begin: that one
    /// may have been asked for, and would be put off.
    pub fn overheard(&mut self, now: Moment, result: Result<Seen, SourceFault>) {
        if self.look_at.is_some_and(|at| at > now.at + NUDGED) {
            self.looked(now, result);
        }
    }

    /// A fetch of `wanted` has ended.
    pub fn fetched(&mut self, now: Moment, wanted: &Wanted, result: Result<Version, SourceFault>) {
        let Wanted::Id(wanted) = wanted else { return };
        match result {
            Ok(version) if version.id == *wanted => {
                self.retries.remove(wanted);
                self.take(now, version);
            }
            Ok(_) => self.fetch_failed(now, wanted, another_version(&self.law.id)),
            Err(fault) => self.fetch_failed(now, wanted, fault),
        }
    }

    /// The version `id` is of no use: what it says is not what files are made of. The one before stays, and `id` is not fetched
    /// again for as long as it is there.
    pub fn unusable(&mut self, id: &str) {
        self.unusable.insert(id.to_owned());
        let Some(held) = &mut self.held else { return };
        self.generation += 1;
        let is_it = |version: &Version| version.id == id;
        held.previous.take_if(|version| is_it(version));
        held.pending.take_if(|version| is_it(version));
        if is_it(&held.current) {
            match self.fallback.take() {
                Some(before) => held.current = before,
                None => self.held = None,
            }
        }
    }

    /// The versions that are wanted and not held, the current one first.
    fn missing(&self) -> Vec<String> {
        let Some(belief) = &self.belief else { return Vec::new() };
        let held = self.held.as_ref();
        let is = |version: Option<&Version>, id: &str| version.is_some_and(|version| version.id == id);
        let mut missing = Vec::new();
        if !is(held.map(|held| &held.current), &belief.current) {
            missing.push(belief.current.clone());
        }
        // Without the current version there is nothing to put them beside.
        let is_current_wanted = missing.iter().any(|id| !self.unusable.contains(id));
        if let Some(held) = held.filter(|_| !is_current_wanted) {
            let pending = belief.pending.iter().filter(|id| self.law.pending && !is(held.pending.as_ref(), id));
            let previous = belief.previous.iter().filter(|id| self.law.previous && !is(held.previous.as_ref(), id));
            missing.extend(pending.chain(previous).cloned());
        }
        missing.retain(|id| !self.unusable.contains(id));
        missing
    }

    fn believe(&mut self, now: Moment, seen: Seen, current: String) {
        let other = |stage: &str| seen.version_of(stage).filter(|id| *id != current).map(str::to_owned);
        let dates = (seen.next_rotation, seen.rotation_window);
        let belief = Belief { previous: other(PREVIOUS), pending: other(PENDING), current, stages: seen.versions };
        let before = self.belief.take().map(|belief| belief.current).filter(|before| *before != belief.current);
        self.rhythm.heard(now, dates, belief.pending.as_deref(), before.is_some());
        self.doubt.passed(before, &belief.current, belief.previous.clone());
        self.unusable.retain(|id| belief.stages.contains_key(id));
        self.retries.retain(|id, _| belief.stages.contains_key(id));
        self.law.id = Some(seen.id).filter(|id| !id.is_empty()).unwrap_or_else(|| std::mem::take(&mut self.law.id));
        self.belief = Some(belief);
        self.arrange();
    }

    /// Takes what was fetched, if it is still wanted.
    fn take(&mut self, now: Moment, version: Version) {
        let Some(belief) = &self.belief else { return };
        let is_current = version.id == belief.current;
        let is_proved = self.doubt.is_proved(&version.id);
        match &mut self.held {
            held @ None if is_current => {
                let id = self.law.id.clone();
                *held = Some(Held { id, current: version, previous: None, pending: None });
            }
            Some(held) if is_current && !is_proved && version.made() < held.current.made() => {
                // The answer that named it may have been an old one.
                self.doubt.begin(&version.id);
                self.belief = Some(Belief { current: held.current.id.clone(), ..belief.clone() });
                self.look_at = self.look_at.map(|at| at.min(now.at + spread(CONFIRM, now.random)));
                return;
            }
            Some(held) if is_current => self.fallback = Some(std::mem::replace(&mut held.current, version)),
            Some(held) if belief.pending.as_ref() == Some(&version.id) => held.pending = Some(version),
            Some(held) if belief.previous.as_ref() == Some(&version.id) => held.previous = Some(version),
            _ => return,
        }
        if is_current {
            self.fetch_fault = None;
        }
        self.generation += 1;
        self.arrange();
    }

    /// Puts what is held where we believe that it belongs: what was pending is current now, what was current is previous.
    fn arrange(&mut self) {
        let (Some(belief), Some(held)) = (&self.belief, &mut self.held) else { return };
        let before = held.ids();
        held.id.clone_from(&self.law.id);
        let is_usable = !self.unusable.contains(&belief.current);
        if held.current.id != belief.current && is_usable {
            let is_it = |version: &mut Version| version.id == belief.current;
            if let Some(version) = held.pending.take_if(is_it).or_else(|| held.previous.take_if(is_it)) {
                self.fallback = Some(std::mem::replace(&mut held.current, version));
            }
        }
        if held.current.id != belief.current && is_usable {
            // What is held is one generation, whole, until the new current version is there.
            return;
        }
        let known = [Some(&held.current), self.fallback.as_ref()];
        let find = |id: &String| known.into_iter().flatten().find(|version| version.id == *id).cloned();
        if let Some(found) = belief.previous.as_ref().filter(|_| self.law.previous).and_then(find) {
            held.previous = Some(found);
        }
        held.previous.take_if(|_| belief.previous.is_none());
        held.pending.take_if(|_| belief.pending.is_none());
        for version in [Some(&mut held.current), held.previous.as_mut(), held.pending.as_mut()].into_iter().flatten() {
            if let Some(stages) = belief.stages.get(&version.id) {
                version.stages.clone_from(stages);
            }
        }
        if self.fetch_fault.is_some() && held.current.id == belief.current {
            self.fetch_fault = None;
        }
        self.generation += u64::from(before != held.ids());
    }

    fn look_failed(&mut self, now: Moment, fault: SourceFault) -> Duration {
        let is_answer = matches!(fault.kind, SourceFaultKind::Denied | SourceFaultKind::Missing);
        self.gone = if is_answer { self.gone.saturating_add(1) } else { 0 };
        self.doubt.drop_it();
        let wait = self.rhythm.failed(now, &fault);
        self.look_fault = Some(fault);
        wait
    }

    fn fetch_failed(&mut self, now: Moment, wanted: &str, fault: SourceFault) {
        let failures = self.retries.get(wanted).map_or(0, |retry| retry.failures) + 1;
        let at = now.at + backoff(failures, now.random);
        self.retries.insert(wanted.to_owned(), Retry { failures, at });
        self.rhythm.slow_down(&fault);
        if self.belief.as_ref().is_some_and(|belief| belief.current == wanted) {
            // It may have been announced by mistake: look once more before it is tried again.
            self.look_at = self.look_at.map(|look_at| look_at.min(at));
            self.fetch_fault = Some(fault);
        }
    }
}

#[cfg(test)]
mod tests;
