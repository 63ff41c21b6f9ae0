//! The laws of the cache, with a service that answers by script and a clock that stands still.
//!
//! Promises: every look and fetch is counted. Never: proves anything of AWS; the sources' tests do.

use std::{collections::BTreeMap, future::Future};

use super::*;
use crate::secrets::value::{Content, Value};

const ARN: &str = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:app/db-AbCdEf";
const CANARY: &str = "c4nary\"\\\u{1}ä";

/// A secret as the service has it.
#[derive(Debug, Default)]
struct Service {
    state: Mutex<Script>,
}

#[derive(Debug, Default)]
struct Script {
    arn: String,
    stages: BTreeMap<String, Vec<String>>,
    /// Answers of the next looks, instead of what `stages` says.
    looks: Vec<BTreeMap<String, Vec<String>>>,
    fault: Option<SourceFaultKind>,
    panics: bool,
    takes: Duration,
    looked: usize,
    fetched: usize,
}

#[derive(Clone, Debug)]
struct Scripted(Arc<Service>);

impl Service {
    fn new() -> Arc<Self> {
        let service = Arc::new(Self::default());
        service.with(|script| script.arn = ARN.to_owned());
        service.rotate("v1");
        service.with(|script| script.takes = Duration::from_millis(300));
        service
    }

    fn with<T>(&self, change: impl FnOnce(&mut Script) -> T) -> T {
        change(&mut self.state.lock().expect("not poisoned"))
    }

    fn rotate(&self, version: &str) {
        self.with(|script| script.stages = BTreeMap::from([(version.to_owned(), vec![CURRENT.to_owned()])]));
    }

    fn fail(&self, kind: impl Into<Option<SourceFaultKind>>) {
        self.with(|script| script.fault = kind.into());
    }

    /// Looks and fetches so far.
    fn calls(&self) -> (usize, usize) {
        self.with(|script| (script.looked, script.fetched))
    }

    async fn wait(&self) -> Result<(), SourceFault> {
        let takes = self.with(|script| script.takes);
        sleep(takes).await;
        assert!(!self.with(|script| script.panics), "a bug in the source");
        let fault = |kind| SourceFault { kind, what: format!("cannot have it: {kind:?}"), code: None, status: None };
        self.with(|script| script.fault).map_or(Ok(()), |kind| Err(fault(kind)))
    }
}

impl Source for Scripted {
    fn look(&self) -> impl Future<Output = Result<Seen, SourceFault>> + Send {
        self.0.with(|script| script.looked += 1);
        async {
            self.0.wait().await?;
            Ok(self.0.with(|script| {
                let scripted = if script.looks.is_empty() { None } else { Some(script.looks.remove(0)) };
                let versions = scripted.unwrap_or_else(|| script.stages.clone());
                Seen { id: script.arn.clone(), versions, ..Seen::default() }
            }))
        }
    }

    fn fetch(&self, wanted: &Wanted) -> impl Future<Output = Result<Version, SourceFault>> + Send {
        let Wanted::Id(id) = wanted.clone() else { panic!("fetched by stage, which a lagging node answers wrongly") };
        self.0.with(|script| script.fetched += 1);
        async {
            self.0.wait().await?;
            let content = Content::Text(Value::new(format!("{CANARY}{id}").into_bytes()));
            Ok(Version { stages: vec![CURRENT.to_owned()], created: Some("1569534789.046".to_owned()), content, id })
        }
    }
}

type Tested = Arc<Cache<Box<dyn Fn(&Ask) -> Scripted + Send + Sync>, Scripted>>;

fn cache(service: &Arc<Service>, ttl: u64, size: usize) -> Tested {
    let service = Arc::clone(service);
    let open: Box<dyn Fn(&Ask) -> Scripted + Send + Sync> = Box::new(move |_| Scripted(Arc::clone(&service)));
    Arc::new(Cache::new(open, Duration::from_secs(ttl), size, Life::default()))
}

fn ask(id: &str) -> Ask {
    Ask { id: id.to_owned(), ..Ask::default() }
}

async fn version(cache: &Tested, id: &str, freshness: Freshness) -> Result<String, String> {
    let ask = ask(id);
    let answered = timeout(Duration::from_secs(3600), cache.get(&ask, freshness)).await;
    let given = answered.expect("nobody waits for ever").map_err(|refusal| refusal.to_string())?;
    let body: serde_json::Value = serde_json::from_slice(given.answer.body()).expect("JSON");
    Ok(body["VersionId"].as_str().expect("a version").to_owned())
}

/// What `readers` read at the same moment, and how long the slowest one took.
async fn together(cache: &Tested, readers: usize, freshness: Freshness) -> (HashSet<String>, Duration) {
    let (life, begun) = (Life::default(), Instant::now());
    let read = || {
        let cache = Arc::clone(cache);
        life.spawn("reader", async move { version(&cache, "app/db", freshness).await.expect("a value") })
    };
    let mut versions = HashSet::new();
    for reader in (0..readers).map(|_| read()).collect::<Vec<_>>() {
        versions.insert(reader.await.expect("not cancelled").expect("no panic"));
    }
    (versions, begun.elapsed())
}

/// Waits until the looks that were begun have ended, however they end.
async fn settled() {
    sleep(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_cause_one_look_for_each_expiry_and_never_wait() {
    let service = Service::new();
    let cache = cache(&service, 300, 10);
    assert_eq!(together(&cache, 1000, Freshness::Cached).await.0.len(), 1);
    assert_eq!(service.calls(), (1, 1));
    for expiry in 1..4 {
        sleep(Duration::from_secs(301)).await;
        assert_eq!(together(&cache, 1000, Freshness::Cached).await.1, Duration::ZERO);
        settled().await;
        assert_eq!(service.calls(), (1 + expiry, 1));
    }
    service.rotate("v2");
    sleep(Duration::from_secs(301)).await;
    assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v1"), "from memory");
    settled().await;
    assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v2"));
    assert_eq!(service.calls(), (5, 2));
}

#[tokio::test(start_paused = true)]
async fn without_a_time_to_live_every_answer_is_from_a_look_after_the_question() {
    let service = Service::new();
    let cache = cache(&service, 0, 10);
    assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v1"));
    let early = {
        let (cache, life) = (Arc::clone(&cache), Life::default());
        life.spawn("early", async move { version(&cache, "app/db", Freshness::Cached).await })
    };
    sleep(Duration::from_millis(299)).await;
    // The look that is under way may already have been answered.
    service.rotate("v2");
    let (versions, took) = together(&cache, 1000, Freshness::Cached).await;
    assert_eq!(versions, HashSet::from(["v2".to_owned()]));
    assert!(took > Duration::from_millis(300), "{took:?}");
    early.await.expect("not cancelled").expect("no panic").expect("a value");
    assert_eq!(service.calls().0, 3, "one for the early reader, one for the thousand");
    service.fail(SourceFaultKind::Transient);
    assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v2"), "what is known stays");
    let calls = service.calls();
    assert_eq!(together(&cache, 1000, Freshness::Cached).await.1, Duration::ZERO, "and nobody waits for an outage");
    assert_eq!(service.calls(), calls);
}

/// An app whose password was refused in the middle of a rotation asks again and again: each answer is from after its question.
#[tokio::test(start_paused = true)]
async fn a_forced_refresh_is_new_and_at_most_one_a_second() {
    let service = Service::new();
    let cache = cache(&service, 300, 10);
    version(&cache, "app/db", Freshness::Cached).await.expect("a value");
    service.rotate("v2");
    let (versions, took) = together(&cache, 1000, Freshness::Now).await;
    assert_eq!((versions, took), (HashSet::from(["v2".to_owned()]), Duration::from_millis(600)));
    assert_eq!(service.calls(), (2, 2));
    service.rotate("v3");
    let (versions, took) = together(&cache, 1000, Freshness::Now).await;
    assert_eq!((versions, took), (HashSet::from(["v3".to_owned()]), Duration::from_millis(1000)));
    assert_eq!(service.calls(), (3, 3));
    service.fail(SourceFaultKind::Throttled);
    let refused = version(&cache, "app/db", Freshness::Now).await.expect_err("said so");
    assert!(refused.starts_with("ThrottlingException"), "{refused}");
    assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v3"), "a failure leaves it");
}

#[tokio::test(start_paused = true)]
async fn an_outage_or_throttling_leaves_what_is_known_and_looks_ever_more_rarely() {
    for kind in [SourceFaultKind::Transient, SourceFaultKind::Throttled, SourceFaultKind::Invalid] {
        let service = Service::new();
        let cache = cache(&service, 10, 10);
        version(&cache, "app/db", Freshness::Cached).await.expect("a value");
        service.fail(kind);
        for _ in 0..3600 {
            sleep(Duration::from_secs(1)).await;
            let (_, took) = together(&cache, 3, Freshness::Cached).await;
            assert_eq!(took, Duration::ZERO);
        }
        let looks = service.calls().0;
        assert!((60..=240).contains(&looks), "{looks} looks in an hour");
        service.fail(None);
        service.rotate("v2");
        sleep(Duration::from_secs(62)).await;
        version(&cache, "app/db", Freshness::Cached).await.expect("a value");
        settled().await;
        assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v2"));
    }
}

/// As from the original: rights that were withdrawn must take effect. A broken app still costs one request a second.
#[tokio::test(start_paused = true)]
async fn a_secret_that_is_denied_or_gone_is_forgotten() {
    for (kind, code) in
        [(SourceFaultKind::Denied, "AccessDeniedException"), (SourceFaultKind::Missing, "ResourceNotFoundException")]
    {
        let service = Service::new();
        let cache = cache(&service, 10, 10);
        version(&cache, "app/db", Freshness::Cached).await.expect("a value");
        service.fail(kind);
        sleep(Duration::from_secs(11)).await;
        version(&cache, "app/db", Freshness::Cached).await.expect("the last from memory");
        settled().await;
        let calls = service.calls().0;
        for _ in 0..100 {
            let refused = version(&cache, "app/db", Freshness::Cached).await.expect_err("forgotten");
            assert!(refused.starts_with(code), "{refused}");
        }
        assert!(service.calls().0 <= calls + 1);
        service.fail(None);
        sleep(Duration::from_secs(1)).await;
        assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v1"));
    }
}

#[tokio::test(start_paused = true)]
async fn name_and_arns_are_one_entry_and_roles_are_not() {
    let service = Service::new();
    let cache = cache(&service, 300, 10);
    for id in ["app/db", ARN, &ARN[..ARN.len() - 7]] {
        version(&cache, id, Freshness::Cached).await.expect("a value");
    }
    assert_eq!((cache.len(), service.calls()), (1, (2, 1)), "the ARN was known by the name");
    let as_role = Ask { role_arn: Some("arn:aws:iam::123456789012:role/r".to_owned()), ..ask("app/db") };
    cache.get(&as_role, Freshness::Cached).await.expect("a value");
    assert_eq!(cache.len(), 2);
    for role in 0..19 {
        let as_role = Ask { role_arn: Some(format!("role/{role}")), ..ask("app/db") };
        cache.get(&as_role, Freshness::Cached).await.expect("a value");
    }
    let as_role = Ask { role_arn: Some("one more".to_owned()), ..ask("app/db") };
    let refused = cache.get(&as_role, Freshness::Cached).await.expect_err("too many");
    assert_eq!((refused.status, refused.code.as_str()), (400, "MaxRolesExceeded"));
}

#[tokio::test(start_paused = true)]
async fn the_least_recently_read_goes_first_and_unknown_names_push_nothing_out() {
    let services: Vec<_> = (0..4).map(|_| Service::new()).collect();
    for (at, service) in services.iter().enumerate() {
        service.with(|script| script.arn = format!("arn:{at}"));
    }
    let missing = Service::new();
    missing.fail(SourceFaultKind::Missing);
    let (found, unknown) = (services.clone(), Arc::clone(&missing));
    let open: Box<dyn Fn(&Ask) -> Scripted + Send + Sync> = Box::new(move |ask| {
        let known = ask.id.parse::<usize>().ok().and_then(|at| found.get(at));
        Scripted(Arc::clone(known.unwrap_or(&unknown)))
    });
    let cache: Tested = Arc::new(Cache::new(open, Duration::from_secs(300), 3, Life::default()));
    for id in ["0", "1", "0", "2", "3", "0"] {
        version(&cache, id, Freshness::Cached).await.expect("a value");
    }
    let fetched = || services.iter().map(|service| service.calls().1).collect::<Vec<_>>();
    assert_eq!((cache.len(), fetched()), (3, vec![1, 1, 1, 1]), "1 is out");
    for name in 0..100 {
        version(&cache, &format!("no-{name}"), Freshness::Cached).await.expect_err("unknown");
    }
    assert_eq!(cache.len(), 3);
    for id in ["0", "3"] {
        version(&cache, id, Freshness::Cached).await.expect("a value");
    }
    assert_eq!(fetched(), vec![1, 1, 1, 1], "a hundred names cost one place");
}

/// Nodes of the service lag behind each other: what one says once is not enough to go back.
#[tokio::test(start_paused = true)]
async fn an_old_version_comes_back_only_if_two_looks_say_so() {
    let service = Service::new();
    let cache = cache(&service, 300, 10);
    let old = service.with(|script| script.stages.clone());
    version(&cache, "app/db", Freshness::Now).await.expect("a value");
    service.rotate("v2");
    version(&cache, "app/db", Freshness::Now).await.expect("a value");
    service.with(|script| script.looks = vec![old.clone()]);
    assert_eq!(version(&cache, "app/db", Freshness::Now).await.as_deref(), Ok("v2"), "a node that lags");
    service.with(|script| script.stages = old);
    assert_eq!(version(&cache, "app/db", Freshness::Now).await.as_deref(), Ok("v1"), "a person who went back");
}

/// Deleted and made anew, a secret has the same name and another ARN.
#[tokio::test(start_paused = true)]
async fn a_secret_made_anew_is_followed_by_its_name_and_not_by_its_old_arn() {
    let service = Service::new();
    let cache = cache(&service, 300, 10);
    version(&cache, "app/db", Freshness::Cached).await.expect("a value");
    service.with(|script| script.arn = format!("{}Zzzzzz", &ARN[..ARN.len() - 6]));
    service.rotate("v9");
    assert_eq!(version(&cache, "app/db", Freshness::Now).await.as_deref(), Ok("v9"));
    service.fail(SourceFaultKind::Missing);
    version(&cache, ARN, Freshness::Cached).await.expect_err("the old one is gone");
}

#[tokio::test(start_paused = true)]
async fn a_reader_who_goes_away_and_a_source_that_panics_or_hangs_harm_nobody() {
    let service = Service::new();
    let cache = cache(&service, 300, 10);
    let gone = timeout(Duration::from_millis(10), version(&cache, "app/db", Freshness::Cached)).await;
    assert!(gone.is_err());
    assert_eq!(together(&cache, 10, Freshness::Cached).await.1, Duration::from_millis(590), "the look went on");
    assert_eq!(service.calls(), (1, 1));
    service.with(|script| script.panics = true);
    assert_eq!(version(&cache, "app/db", Freshness::Now).await.as_deref(), Ok("v1"), "nothing is known to be wrong");
    service.with(|script| (script.panics, script.takes) = (false, Duration::from_secs(3600)));
    let late = version(&cache, "app/db", Freshness::Now).await.expect_err("late");
    assert_eq!(late, "TimeoutError: Timeout");
    assert_eq!(version(&cache, "app/db", Freshness::Cached).await.as_deref(), Ok("v1"));
}

/// The original's body, byte for byte, and nothing of it anywhere else.
#[tokio::test(start_paused = true)]
async fn a_body_is_the_originals_and_no_debug_shows_it() {
    let service = Service::new();
    let cache = cache(&service, 300, 10);
    let given = cache.get(&ask("app/db"), Freshness::Cached).await.expect("a value");
    let body = std::str::from_utf8(given.answer.body()).expect("text");
    insta::assert_snapshot!(body, @r#"{"ARN":"arn:aws:secretsmanager:eu-central-1:123456789012:secret:app/db-AbCdEf","Name":"app/db","VersionId":"v1","SecretString":"c4nary\"\\\u0001äv1","VersionStages":["AWSCURRENT"],"CreatedDate":"1569534789.046"}"#);
    let shown = format!("{given:?} {:?}", lock(&cache.table));
    assert!(!shown.contains("c4nary"), "{shown}");
    let version = Version {
        id: "7".to_owned(),
        stages: vec![],
        created: None,
        content: Content::Binary(Value::new(b"\xff\x00ab".to_vec())),
    };
    let body = |kind, id| {
        let answer = Answer::new(&Ask { kind, ..Ask::default() }, id, &version).expect("an answer");
        String::from_utf8(answer.body().to_vec()).expect("text")
    };
    insta::assert_snapshot!(body(Kind::Secret, "n"), @r#"{"ARN":null,"Name":"n","VersionId":"7","SecretBinary":"/wBhYg==","CreatedDate":null}"#);
    insta::assert_snapshot!(body(Kind::Parameter, "arn:aws:ssm:r:1:parameter/a/b"), @r#"{"Parameter":{"ARN":"arn:aws:ssm:r:1:parameter/a/b","LastModifiedDate":null,"Name":"/a/b","Value":"/wBhYg==","Version":7}}"#);
    insta::assert_snapshot!(body(Kind::Parameter, "arn:aws:ssm:r:1:parameter/a"), @r#"{"Parameter":{"ARN":"arn:aws:ssm:r:1:parameter/a","LastModifiedDate":null,"Name":"a","Value":"/wBhYg==","Version":7}}"#);
}
