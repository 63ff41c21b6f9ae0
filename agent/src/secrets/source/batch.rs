//! Parameters that are looked at together: up to ten names in one request.
//!
//! An account has 40 requests a second to its parameters, whoever asks, and no other way to see a change than to ask. So who
//! looks brings news to all of its batch, and all of them wait the same time until the next look.
//!
//! ```text
//! look(a) ─ wait for the turn ─ gather 10 ms ─▶ GetParameters [a, b, c] ─▶ what it brought, by member ─▶ look(a) ends
//! look(b) ─ wait for the turn ────────────────────────────────────────────────┘                     └─▶ look(b) ends
//!                                                                    c, which did not look: overheard(c) ends
//! ```
//!
//! A name that is not there is told to its own member. When the service refuses a request because of one of its names, the names
//! are halved until that one is found. Both are asked for alone from then on, until they are well again.
//!
//! Promises: what a look brings is from a request that began after the look did; one request of a batch at a time; trouble of one
//! name is not the others'.
//! Never: two members that mean the same parameter, whose answers could be mistaken for one another; a clock of its own, but for
//! the moment in which others may join.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::{Mutex as Turn, watch},
    time::sleep,
};

use super::{
    SourceFault, SourceFaultKind,
    any::SourceError,
    store::{Failure, NAMES_MAX, Operation, Said, Store},
};
use crate::secrets::settings;

/// How long the first who looks waits for others. Those of one batch are due at the same moment, up to the scheduler's whim.
const GATHER: Duration = Duration::from_millis(10);
/// What this begins with is not a parameter but a secret of Secrets Manager, of up to 64 KiB: ten may not fit into an answer.
const REFERENCE: &str = "/aws/reference/";

/// What a look has brought to one member.
pub(super) type Brought = Result<Said, SourceFault>;

/// Parameters of one region, read as one identity.
pub(super) struct Batch {
    pub(super) store: Store,
    turn: Turn<()>,
    state: Mutex<State>,
    /// The number of the last request that was answered.
    news: watch::Sender<u64>,
}

struct State {
    members: Vec<Member>,
    /// How many requests have begun.
    begun: u64,
    /// For the waits of all members, new with each request.
    random: f64,
}

struct Member {
    /// As it is asked for: a name or an ARN, perhaps with a version or label.
    asked: String,
    /// It is asked for alone.
    is_apart: bool,
    /// What the request of this number brought, until it is taken.
    brought: Option<(u64, Brought)>,
}

/// What parameters must have in common to be in one batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) region: String,
    pub(super) role_arn: Option<String>,
    pub(super) endpoint: Option<String>,
    /// A version that never changes is asked for once, and must not be asked for again because of others.
    pub(super) is_fixed: bool,
}

/// The batches of all parameters of the configuration.
#[derive(Default)]
pub struct Batches(HashMap<Key, Vec<Arc<Batch>>>);

impl Batches {
    /// A place in the first batch of `key` that has one for `asked`; else in a new one, with the store that `open` makes.
    pub(super) fn place(
        &mut self,
        key: Key,
        asked: &str,
        open: impl FnOnce() -> Result<Store, SourceError>,
    ) -> Result<(Arc<Batch>, usize), SourceError> {
        let batches = self.0.entry(key).or_default();
        for batch in batches.iter() {
            if let Some(member) = batch.join(asked) {
                return Ok((Arc::clone(batch), member));
            }
        }
        let batch = Arc::new(Batch::of_one(asked, open()?));
        batches.push(Arc::clone(&batch));
        Ok((batch, 0))
    }
}

impl Batch {
    /// A batch with the one member 0.
    pub(super) fn of_one(asked: &str, store: Store) -> Self {
        let state = State { members: vec![Member::new(asked)], begun: 0, random: fastrand::f64() };
        Self { store, turn: Turn::new(()), state: Mutex::new(state), news: watch::Sender::new(0) }
    }

    /// The number of the new member for `asked`, if there is room for it.
    fn join(&self, asked: &str) -> Option<usize> {
        let mut state = self.state();
        if !may_join(state.members.iter().map(|member| member.asked.as_str()), asked) {
            return None;
        }
        state.members.push(Member::new(asked));
        Some(state.members.len() - 1)
    }

    /// The number that spreads the next wait of all members alike, so that they look together.
    pub(super) fn random(&self) -> f64 {
        self.state().random
    }

    /// What there is of `member` now.
    pub(super) async fn look(&self, member: usize) -> Brought {
        let first = self.state().begun + 1;
        // Who goes away meanwhile gives the turn to the next.
        let _turn = self.turn.lock().await;
        if let Some(brought) = self.state().take(member, first) {
            return brought;
        }
        if self.state().members.len() > 1 {
            sleep(GATHER).await;
        }
        let (number, together) = self.state().begin(member);
        self.ask(number, together).await;
        self.news.send_replace(number);
        let brought = self.state().take(member, number);
        brought.unwrap_or_else(|| {
            // Every name of a request is answered.
            Err(SourceFault::own(SourceFaultKind::Transient, "a parameter was not asked for".to_owned()))
        })
    }

    /// Ends when someone else's look has brought something to `member`.
    pub(super) async fn overheard(&self, member: usize) -> Brought {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            if let Some(brought) = self.state().take(member, 0) {
                return brought;
            }
            if news.changed().await.is_err() {
                // The sender is our own.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Asks for these members, and halves them while one of them is in the way of the others.
    async fn ask(&self, number: u64, together: Vec<(usize, String)>) {
        let mut left = vec![together];
        while let Some(mut some) = left.pop() {
            let names: Vec<&str> = some.iter().map(|(_, asked)| asked.as_str()).collect();
            match self.store.get(&names).await {
                Ok(said) => self.state().answered(number, &some, said),
                Err(failure) if failure.may_be_of_one() && some.len() > 1 => {
                    let half = some.split_off(some.len() / 2);
                    left.extend([half, some]);
                }
                Err(failure) => {
                    self.state().failed(number, &some, &failure);
                    if !failure.may_be_of_one() {
                        // The service is not well, or wants to be left alone.
                        left.iter().for_each(|some| self.state().failed(number, some, &failure));
                        return;
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn new(asked: &str) -> Self {
        Self { asked: asked.to_owned(), is_apart: false, brought: None }
    }
}

impl State {
    /// A request for `member` begins: its number, and for whom it asks.
    fn begin(&mut self, member: usize) -> (u64, Vec<(usize, String)>) {
        self.begun += 1;
        self.random = fastrand::f64();
        let is_apart = self.members[member].is_apart;
        let is_meant = |&(at, one): &(usize, &Member)| if is_apart { at == member } else { !one.is_apart };
        let meant = self.members.iter().enumerate().filter(is_meant);
        (self.begun, meant.map(|(at, one)| (at, one.asked.clone())).collect())
    }

    fn answered(&mut self, number: u64, asked: &[(usize, String)], mut said: Vec<Said>) {
        for (at, name) in asked {
            // To one question there is one answer, whatever the service calls it.
            let found = match asked.len() {
                1 => (!said.is_empty()).then_some(0),
                _ => said.iter().position(|said| is_of(said, name)),
            };
            let brought = found.map(|at| said.swap_remove(at)).ok_or_else(|| missing(name));
            self.members[*at].is_apart = brought.is_err();
            self.members[*at].brought = Some((number, brought));
        }
    }

    fn failed(&mut self, number: u64, asked: &[(usize, String)], failure: &Failure) {
        for (at, name) in asked {
            self.members[*at].is_apart |= failure.may_be_of_one();
            self.members[*at].brought = Some((number, Err(failure.of(Operation::Get, name))));
        }
    }

    /// What `member` was brought by a request of the number `first` or a later one. Anything older is forgotten.
    fn take(&mut self, member: usize, first: u64) -> Option<Brought> {
        self.members[member].brought.take().filter(|(number, _)| *number >= first).map(|(_, brought)| brought)
    }
}

/// True if `asked` can be asked for with these.
fn may_join<'a>(mut members: impl ExactSizeIterator<Item = &'a str>, asked: &str) -> bool {
    let goes_alone = |asked: &str| asked.starts_with(REFERENCE);
    let in_its_way = |member: &str| base(member) == base(asked) || goes_alone(member);
    !goes_alone(asked) && members.len() < NAMES_MAX && !members.any(in_its_way)
}

/// How many requests a look at all of these parameters is. Fixed versions are not looked at.
pub fn requests(parameters: &[&settings::Parameter]) -> u32 {
    let mut batches: Vec<(&settings::Parameter, Vec<&str>)> = Vec::new();
    for parameter in parameters.iter().filter(|parameter| !is_fixed(&parameter.name)) {
        let kin = |other: &settings::Parameter| {
            let of = |one: &settings::Parameter| (one.region.clone(), one.role_arn.clone(), one.endpoint.clone());
            of(other) == of(parameter)
        };
        let fits = |(other, names): &&mut (&settings::Parameter, Vec<&str>)| {
            kin(other) && may_join(names.iter().copied(), &parameter.name)
        };
        match batches.iter_mut().find(fits) {
            Some((_, names)) => names.push(&parameter.name),
            None => batches.push((parameter, vec![&parameter.name])),
        }
    }
    u32::try_from(batches.len()).unwrap_or(u32::MAX)
}

/// True if a name asks for one version, by its number.
pub(super) fn is_fixed(name: &str) -> bool {
    split(name).1.is_some_and(|selector| selector.bytes().all(|digit| digit.is_ascii_digit()))
}

/// What `asked` means, be it a name, an ARN, with or without a version or label.
fn base(asked: &str) -> &str {
    let (name, _) = split(asked);
    let name =
        if name.starts_with("arn:") { name.split_once(":parameter/").map_or(name, |(_, name)| name) } else { name };
    name.trim_start_matches('/')
}

/// A name or ARN, and what follows its last colon if that is a version or a label.
pub(super) fn split(name: &str) -> (&str, Option<&str>) {
    // `arn:aws:ssm:REGION:ACCOUNT:parameter/NAME` has five of them itself.
    let own = if name.starts_with("arn:") { 5 } else { 0 };
    match name.rsplit_once(':') {
        Some((name, selector)) if name.matches(':').count() >= own && !selector.is_empty() => (name, Some(selector)),
        _ => (name, None),
    }
}

fn is_of(said: &Said, asked: &str) -> bool {
    let wanted = base(asked);
    base(&said.name) == wanted || said.arn.as_deref().is_some_and(|arn| base(arn) == wanted)
}

pub(super) fn missing(name: &str) -> SourceFault {
    let what = format!("there is no parameter `{name}`; check its name, version or label, and its region");
    SourceFault { code: Some("ParameterNotFound".to_owned()), ..SourceFault::own(SourceFaultKind::Missing, what) }
}

#[cfg(test)]
#[path = "batch_tests.rs"]
mod tests;
