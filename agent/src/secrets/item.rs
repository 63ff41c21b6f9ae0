//! One secret while the agent runs: its watch, its source, and what it wants to be asked.
//!
//! Promises: one question to the source at a time; a source that panics or hangs concerns its own secret only.
//! Never: decides when to ask, or what to believe; [`watch`](super::watch) does.

use std::{
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use prometheus::{IntCounterVec, IntGauge};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::{Instant, sleep_until, timeout},
};
use tracing::warn;

use super::{
    settings,
    source::{Followed, Source, SourceFault, SourceFaultKind},
    value::Held,
    watch::{Law, Moment, Next, Watch},
};
use crate::{
    limits::SECRET_QUESTIONS_MAX,
    tell::{
        RateLimited,
        spans::{Open, Spans},
    },
};

/// The longest that one question may take. A request to AWS has 10 s, and there may be replicas to ask.
const QUESTION_MAX: Duration = Duration::from_secs(45);
/// A question that takes longer does not count among those at a time: what hangs must not delay the others.
const TURN_MAX: Duration = Duration::from_secs(1);
/// A warning about the same secret, at most so often.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// One secret.
pub(super) struct Item {
    /// Its settings.
    pub(super) settings: settings::Item,
    watch: Mutex<Watch>,
    nudge: Notify,
    /// How many looks had begun when it last came to rest: nothing is left to be asked until later.
    rested: watch::Sender<u64>,
    confirmed: IntGauge,
    answers: IntCounterVec,
    warned: RateLimited,
    spans: Spans,
    turns: Arc<Semaphore>,
}

/// How it stands, for a page.
#[derive(Clone, Debug)]
pub(super) struct Standing {
    /// When it was looked at last, and when it will be next.
    pub(super) looked: Option<Instant>,
    pub(super) next_look: Option<Instant>,
    /// When the service made the current version, in seconds since 1970.
    pub(super) created: Option<i64>,
    /// Why it is not known or had.
    pub(super) trouble: Option<String>,
}

impl Item {
    /// A secret whose current version is `followed`.
    pub(super) fn new(
        settings: settings::Item,
        followed: Followed,
        confirmed: IntGauge,
        answers: IntCounterVec,
    ) -> Self {
        let shows = |stage| settings.files.iter().any(|file| file.of == stage);
        let id = match &settings.from {
            settings::From::SecretsManager(secret) => secret.id.clone(),
            settings::From::Parameter(parameter) => parameter.name.clone(),
            settings::From::Parameters(parameters) => parameters.path.clone(),
            settings::From::File(path) => path.display().to_string(),
        };
        let (previous, pending) = (shows(settings::Stage::Previous), shows(settings::Stage::Pending));
        let law = Law { id, followed, every: settings.from.every(), previous, pending };
        Self {
            settings,
            watch: Mutex::new(Watch::new(law, Instant::now())),
            nudge: Notify::new(),
            rested: watch::Sender::new(0),
            confirmed,
            answers,
            warned: RateLimited::new(WARN_EVERY),
            spans: Spans::off(),
            turns: turns(),
        }
    }

    /// The same, which takes turns with others.
    pub(super) fn with_turns(mut self, turns: &Arc<Semaphore>) -> Self {
        self.turns = Arc::clone(turns);
        self
    }

    /// The same with a span for each question.
    pub(super) fn with_spans(mut self, spans: Spans) -> Self {
        self.spans = spans;
        self
    }

    /// What is held, if the current version is there, and whether each version that files show is: both of one moment.
    pub(super) fn held(&self) -> (Option<Held>, bool) {
        let watch = self.watch();
        (watch.held().cloned(), watch.is_whole())
    }

    /// What the service calls it, once that is known.
    pub(super) fn id(&self) -> Option<String> {
        self.watch().held().map(|held| held.id.clone())
    }

    /// How it stands.
    pub(super) fn standing(&self) -> Standing {
        let watch = self.watch();
        let (looked, next_look) = watch.times();
        let created = watch.held().and_then(|held| held.current.created.as_ref());
        // `1569534789.046`: whole seconds will do.
        let created = created.and_then(|created| created.split('.').next()?.parse().ok());
        Standing { looked, next_look, created, trouble: watch.trouble().map(ToString::to_string) }
    }

    /// True if it is denied or deleted, and its files shall go.
    pub(super) fn is_removed(&self) -> bool {
        self.settings.when_gone == settings::WhenGone::Remove && self.watch().is_gone()
    }

    /// Why it is not known or had, for a person.
    pub(super) fn trouble(&self) -> Option<SourceFault> {
        self.watch().trouble().cloned()
    }

    /// The version `id` cannot be shown. The one before is held again.
    pub(super) fn is_unusable(&self, id: &str) {
        self.watch().unusable(id);
        self.nudge.notify_one();
    }

    /// Looks soon: someone has reason to think that there is something new. Ends when what that look brought is held. At once
    /// if nobody may be hurried.
    pub(super) fn look_soon(&self) -> impl Future<Output = ()> + use<> {
        let look = self.watch().nudged(Instant::now());
        let mut rested = self.rested.subscribe();
        self.nudge.notify_one();
        async move {
            let Some(look) = look else { return };
            // The sender is the item's; without it there is nothing to wait for.
            let _ = rested.wait_for(|&looks| looks >= look).await;
        }
    }

    /// Asks `source` for as long as it lives, and calls `changed` when other versions are held than before.
    pub(super) async fn run(self: Arc<Self>, source: Arc<impl Source>, changed: impl Fn()) {
        let mut seen = self.state();
        loop {
            let next = self.watch().next(Instant::now());
            match next {
                Next::Look => {
                    let span = self.spans.begin("look at secret");
                    // On the heap while it lasts: what a question to AWS needs is many times what a task has between two.
                    let result = Box::pin(span.clone().around(within(&self.turns, source.look()))).await;
                    let answer = self.count(result.as_ref().err());
                    let moment = moment(source.random());
                    self.watch().looked(moment, result);
                    self.tell(span, answer);
                    self.note(moment);
                }
                Next::Fetch(wanted) => {
                    let span = self.spans.begin("fetch secret");
                    let result = Box::pin(span.clone().around(within(&self.turns, source.fetch(&wanted)))).await;
                    let answer = self.count(result.as_ref().err());
                    let moment = moment(source.random());
                    self.watch().fetched(moment, &wanted, result);
                    self.tell(span, answer);
                    self.note(moment);
                }
                Next::At(time) => {
                    self.rest();
                    tokio::select! {
                        () = sleep_until(time) => {}
                        () = self.nudge.notified() => {}
                        result = source.overheard() => {
                            self.count(result.as_ref().err());
                            let moment = moment(source.random());
                            self.watch().overheard(moment, result);
                            self.note(moment);
                        }
                    }
                }
                Next::Never => {
                    self.rest();
                    self.nudge.notified().await;
                }
            }
            let now = self.state();
            if now != seen {
                seen = now;
                changed();
            }
        }
    }

    fn rest(&self) {
        self.rested.send_replace(self.watch().looks());
    }

    fn state(&self) -> (u64, bool) {
        let watch = self.watch();
        (watch.generation(), watch.is_gone())
    }

    /// For tests: what a look or a fetch would bring.
    #[cfg(test)]
    pub(super) fn watched<T>(&self, with: impl FnOnce(&mut Watch) -> T) -> T {
        with(&mut self.watch())
    }

    fn watch(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, moment: Moment) {
        if self.watch().trouble().is_none() {
            self.confirmed.set(moment.unix);
        }
    }

    /// Ends the span of a question: which secret, which version is held now, what the answer was.
    fn tell(&self, span: Open, answer: &'static str) {
        if span.is_made() {
            span.say("pillion.secret", self.settings.name.clone());
            if let Some(held) = self.watch().held() {
                span.say("pillion.secret.version", held.current.id.clone());
            }
        }
        span.end(answer, answer == "current");
    }

    /// Counts an answer, and says what it is called.
    fn count(&self, fault: Option<&SourceFault>) -> &'static str {
        let answer = fault.map_or("current", |fault| match fault.kind {
            SourceFaultKind::Transient => "transient",
            SourceFaultKind::Throttled => "throttled",
            SourceFaultKind::Denied => "denied",
            SourceFaultKind::Missing => "missing",
            SourceFaultKind::Invalid => "invalid",
        });
        self.answers.with_label_values(&[self.settings.name.as_str(), answer]).inc();
        if let Some(fault) = fault
            && let Some(suppressed) = self.warned.allow(Instant::now())
        {
            let held = self.watch().held().is_some();
            warn!(secret = self.settings.name, why = %fault, held, suppressed, "a secret cannot be read; what is there stays");
        }
        answer
    }
}

/// For secrets that are asked for so many at a time. Two hundred at once, as at a start, would leave 13 MB behind.
pub(super) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(SECRET_QUESTIONS_MAX))
}

/// When it is its turn, and never longer than [`QUESTION_MAX`] from then on.
async fn within<T>(
    turns: &Semaphore,
    question: impl Future<Output = Result<T, SourceFault>>,
) -> Result<T, SourceFault> {
    // Nobody closes it.
    let turn = turns.acquire().await;
    let mut question = pin!(timeout(QUESTION_MAX, question));
    let early = timeout(TURN_MAX, question.as_mut()).await;
    drop(turn);
    let answer = match early {
        Ok(answer) => answer,
        Err(_) => question.await,
    };
    answer.unwrap_or_else(|_| {
        let what = format!("no answer within {} s", QUESTION_MAX.as_secs());
        Err(SourceFault { kind: SourceFaultKind::Transient, what, code: None, status: None })
    })
}

fn moment(random: f64) -> Moment {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    Moment { at: Instant::now(), unix: i64::try_from(unix).unwrap_or(i64::MAX), random }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        path::PathBuf,
        sync::atomic::{AtomicU64, Ordering},
    };

    use super::*;
    use crate::{
        life::Life,
        secrets::{
            source::{AnySource, CURRENT, File, Seen, Wanted},
            value::{Content, Value, Version},
        },
        tell::counters::Counters,
    };

    /// A secret whose version changes when the test says so. Each answer takes a while.
    #[derive(Default)]
    struct Scripted(AtomicU64);

    impl Source for Scripted {
        async fn look(&self) -> Result<Seen, SourceFault> {
            let versions = BTreeMap::from([(self.0.load(Ordering::Relaxed).to_string(), vec![CURRENT.to_owned()])]);
            tokio::time::sleep(Duration::from_millis(300)).await;
            Ok(Seen { versions, ..Seen::default() })
        }

        async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
            let Wanted::Id(id) = wanted else { panic!("by version") };
            let content = Content::Text(Value::new(Vec::new()));
            Ok(Version { id: id.clone(), stages: Vec::new(), created: None, content })
        }
    }

    fn item() -> Item {
        let counters = Counters::new();
        let settings = settings::Item {
            name: "db".to_owned(),
            from: settings::From::File("unused".into()),
            required: true,
            when_gone: settings::WhenGone::default(),
            mask: settings::Mask::default(),
            files: Vec::new(),
        };
        let confirmed = counters.secrets.confirmed.with_label_values(&["db"]);
        let followed = Followed::Stage(CURRENT.to_owned());
        Item::new(settings, followed, confirmed, counters.secrets.answers.clone())
    }

    /// How many are asked now, and were at most.
    #[derive(Default)]
    struct Crowd([AtomicU64; 2]);

    /// One of many secrets. Some never answer.
    struct One(Arc<Crowd>, bool);

    impl Source for One {
        async fn look(&self) -> Result<Seen, SourceFault> {
            if self.1 {
                return std::future::pending().await;
            }
            let Crowd([now, most]) = &*self.0;
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            let answer = Scripted::default().look().await;
            now.fetch_sub(1, Ordering::Relaxed);
            answer
        }

        async fn fetch(&self, wanted: &Wanted) -> Result<Version, SourceFault> {
            Scripted::default().fetch(wanted).await
        }
    }

    /// Two hundred secrets were asked for at once at a start, each on a connection of its own, and what that took was never
    /// given back.
    /// Two hundred of them wait for most of their lives.
    #[test]
    fn a_secret_that_waits_for_its_next_look_takes_little() {
        let source = AnySource::File(File::new(PathBuf::from("/dev/null")));
        let run = Arc::new(item()).run(Arc::new(source), || {});
        assert!(size_of_val(&run) <= 1_024, "{} bytes", size_of_val(&run));
    }

    #[tokio::test(start_paused = true)]
    async fn many_secrets_are_asked_for_a_few_at_a_time_and_those_that_hang_delay_the_others_for_seconds() {
        let (life, crowd, turns) = (Life::default(), Arc::new(Crowd::default()), turns());
        let begun = Instant::now();
        let mut answering = Vec::new();
        for number in 0..150 {
            let item = Arc::new(item().with_turns(&turns));
            let source = Arc::new(One(Arc::clone(&crowd), number < 50));
            life.spawn("item", Arc::clone(&item).run(source, || {}));
            if number >= 50 {
                answering.push(item);
            }
        }
        // All are asked for before the first is waited for.
        let looks: Vec<_> = answering.iter().map(|item| item.look_soon()).collect();
        for (look, item) in looks.into_iter().zip(&answering) {
            look.await;
            assert!(item.held().0.is_some());
        }
        assert!(begun.elapsed() < QUESTION_MAX / 2, "{:?}", begun.elapsed());
        let most = crowd.0[1].load(Ordering::Relaxed);
        assert!((2..=SECRET_QUESTIONS_MAX as u64).contains(&most), "{most} at a time");
    }

    /// An app whose password was refused twice within a second was told "done" the second time before the look that it had
    /// asked for began: the item had come to rest in between, until that look was due. It then read the old password again.
    #[tokio::test(start_paused = true)]
    async fn who_asks_gets_what_was_there_when_it_asked_however_often_it_asks() {
        let life = Life::default();
        let item = Arc::new(item());
        let source = Arc::new(Scripted::default());
        life.spawn("item", Arc::clone(&item).run(Arc::clone(&source), || {}));
        let begun = Instant::now();
        for rotation in 1..200 {
            // Also in the middle of a look, and in the middle of the rest behind it.
            tokio::time::sleep(Duration::from_millis(rotation * 7 % 1_100)).await;
            source.0.store(rotation, Ordering::Relaxed);
            item.look_soon().await;
            let held = item.held().0.expect("looked at").current.id;
            assert_eq!(held, rotation.to_string(), "after {:?}", begun.elapsed());
        }
    }
}
