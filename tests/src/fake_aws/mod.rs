//! A fake AWS on loopback: CloudWatch Logs, Secrets Manager, the Parameter Store, X-Ray, STS, the ECS credentials endpoint and
//! task metadata, with faults on demand.
//!
//! Promises: checks what moto does not (signatures, limits, names, order) with code of its own; keeps every accepted
//! event, every request and every violation; a script makes it throttle, fail, hang, reset or lie at will.
//! Never: uses the agent's code, a fixed port, or a network other than loopback, unless told which.
//!
//! A story looks like this:
//! ```ignore
//! let aws = FakeAws::start();
//! aws.script(Operation::PutLogEvents, [Action::Throttle, Action::reset_after_serving()]);
//! // run the agent with aws.port() as the endpoint's port and aws.credentials_uri() in its environment
//! aws.wait_for_events(100, Duration::from_secs(10));
//! assert_eq!(aws.messages("bench", "s-web"), lines);
//! aws.assert_no_violations();
//! ```
//! Each connection has a thread of its own that reads requests with [`http`](crate::http) and owns the socket, which is
//! what makes the faults real: a reset is an RST, a hang holds the socket.

mod answer;
mod cloudwatch;
mod logs;
mod scale;
mod script;
mod secrets;
mod serve;
mod signature;
mod sts;
mod task;
mod xray;

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

pub use cloudwatch::{Metric, Statistics};
pub use logs::{Event, Group, tally};
pub use script::{Action, Operation};
pub use secrets::{Content, Parameter, Secret};
pub use signature::Credentials;
pub use task::TASK_ARN;
pub use xray::SAMPLING_RULES;

use crate::{otlp::Span, wait};

/// The access key that is valid from the start, for `AWS_ACCESS_KEY_ID`. It has no token.
pub const ACCESS_KEY: &str = "AKIDEXAMPLE";
/// Its secret, for `AWS_SECRET_ACCESS_KEY`.
pub const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// The region that requests must be signed for.
pub const REGION: &str = "us-east-1";

/// A request as it came, and what became of it.
#[derive(Clone, Debug)]
pub struct Logged {
    /// From 0, in the order in which they were read.
    pub number: usize,
    /// `PutLogEvents`, `Credentials`, ... or the path of an unknown one.
    pub operation: String,
    /// When it had been read.
    pub at: Instant,
    /// The address it came from; one for each connection.
    pub from: SocketAddr,
    /// All headers.
    pub headers: Vec<(String, String)>,
    /// Bytes of the body as sent.
    pub bytes: usize,
    /// `200`, an error code of the service, or the scripted action.
    pub outcome: String,
}

/// A running fake. Dropping it closes all connections.
#[derive(Debug)]
pub struct FakeAws {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    stopping: AtomicBool,
    holding: Mutex<Holding>,
    connections: Mutex<Vec<TcpStream>>,
}

#[derive(Debug, Default)]
struct Holding {
    /// Requests that are held now.
    held: usize,
    /// Calls of [`FakeAws::release`].
    released: u64,
}

#[derive(Debug)]
struct State {
    script: script::Script,
    logs: logs::Logs,
    secrets: secrets::Secrets,
    segments: xray::Segments,
    scale: scale::Scale,
    metrics: cloudwatch::Metrics,
    requests: Vec<Logged>,
    /// Also those that are forgotten.
    requests_read: usize,
    violations: Vec<String>,
    credentials: Vec<Credentials>,
    /// Roles that may be assumed, and the access keys that were given for each.
    roles: BTreeMap<String, Vec<String>>,
    /// The newest that the credentials endpoint gave, by place in `credentials`.
    current: Option<usize>,
    credentials_last: Duration,
    skew_seconds: i64,
    /// Where it plays to be.
    region: String,
    /// Bytes of PutLogEvents that are taken per second.
    speed: Option<u64>,
    /// When the next of them may be taken.
    free_at: Instant,
}

impl FakeAws {
    /// Starts one on a free port of 127.0.0.1, with no groups.
    pub fn start() -> Self {
        Self::start_at(Ipv4Addr::LOCALHOST)
    }

    /// Starts one on a free port of this address of ours.
    pub fn start_at(address: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("an address of ours has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let fixed = Credentials {
            access_key: ACCESS_KEY.to_owned(),
            secret: SECRET_KEY.to_owned(),
            token: None,
            expires: None,
        };
        let state = State {
            script: script::Script::default(),
            logs: logs::Logs::default(),
            secrets: secrets::Secrets::default(),
            segments: xray::Segments::default(),
            scale: scale::Scale::default(),
            metrics: cloudwatch::Metrics::default(),
            requests: Vec::new(),
            requests_read: 0,
            violations: Vec::new(),
            credentials: vec![fixed],
            roles: BTreeMap::new(),
            current: None,
            credentials_last: Duration::from_secs(6 * 60 * 60),
            skew_seconds: 0,
            region: REGION.to_owned(),
            speed: None,
            free_at: Instant::now(),
        };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            stopping: AtomicBool::new(false),
            holding: Mutex::default(),
            connections: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Self { address, shared }
    }

    /// The same in another region, for which requests must be signed then.
    pub fn start_in(region: &str) -> Self {
        let aws = Self::start();
        aws.state().region = region.to_owned();
        aws
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port, for `endpoint 127.0.0.1` and `port`.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The base, for example `http://127.0.0.1:4711`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on this role may be assumed.
    pub fn with_role(&self, arn: &str) {
        self.state().roles.entry(arn.to_owned()).or_default();
    }

    /// For `AWS_CONTAINER_CREDENTIALS_FULL_URI`.
    pub fn credentials_uri(&self) -> String {
        format!("{}/creds", self.url())
    }

    /// For `ECS_CONTAINER_METADATA_URI_V4`.
    pub fn metadata_uri(&self) -> String {
        format!("{}/v4/0123456789abcdef", self.url())
    }

    /// The same for another task, and the task's ARN. `id` has no slash.
    pub fn metadata_of(&self, id: &str) -> (String, String) {
        (format!("{}/v4/task-{id}", self.url()), task::arn_of(id))
    }

    /// Queues actions: one for each of the next requests of this kind.
    pub fn script(&self, operation: Operation, actions: impl IntoIterator<Item = Action>) {
        self.state().script.queue(operation, actions);
    }

    /// Does `action` on every request of this kind until [`heal`](Self::heal). Queued actions go first.
    pub fn always(&self, operation: Operation, action: Action) {
        self.state().script.stand(operation, 100, 0, action);
    }

    /// Does `action` on about `percent` of 100 requests of this kind until [`heal`](Self::heal).
    pub fn sometimes(&self, operation: Operation, percent: u8, seed: u64, action: Action) {
        self.state().script.stand(operation, percent, seed, action);
    }

    /// Forgets what was queued and what stands for this kind of request.
    pub fn heal(&self, operation: Operation) {
        self.state().script.heal(operation);
    }

    /// Serves all requests that [`Action::Hang`] holds now.
    pub fn release(&self) {
        self.shared.holding().released += 1;
    }

    /// How many requests [`Action::Hang`] holds now.
    pub fn held(&self) -> usize {
        self.shared.holding().held
    }

    /// Sets the service's clock `seconds` from the true time: signatures are judged and `Date` is written by it. Events
    /// are judged by the true time, for it is the signer's clock that this plays.
    pub fn set_skew(&self, seconds: i64) {
        self.state().skew_seconds = seconds;
    }

    /// Takes so many bytes of PutLogEvents per second from now on, on all connections together. Who leaves before all of
    /// its request was taken has sent nothing.
    pub fn set_speed(&self, bytes_per_second: Option<u64>) {
        self.state().speed = bytes_per_second;
    }

    /// How long credentials from the endpoint are valid by the service's clock, as they say. They are checked.
    pub fn set_credentials_last(&self, time: Duration) {
        self.state().credentials_last = time;
    }

    /// The credentials endpoint gives new credentials from now on; the old ones stay valid.
    pub fn rotate_credentials(&self) {
        self.state().current = None;
    }

    /// What the credentials endpoint gave so far is no longer valid; it gives new credentials from now on.
    pub fn expire_credentials(&self) {
        let mut state = self.state();
        state.current = None;
        for credentials in state.credentials.iter_mut().filter(|credentials| credentials.token.is_some()) {
            credentials.expires = Some(0);
        }
    }

    /// Makes a group and streams, as if they had been there before.
    pub fn with_streams(&self, group: &str, streams: &[&str]) {
        let mut state = self.state();
        let group = state.logs.groups.entry(group.to_owned()).or_default();
        for stream in streams {
            group.streams.entry((*stream).to_owned()).or_default();
        }
    }

    /// Sets a group's retention, as its owner would.
    pub fn set_retention(&self, group: &str, days: u32) {
        self.state().logs.groups.entry(group.to_owned()).or_default().retention_days = Some(days);
    }

    /// Deletes a group and its streams, as its owner would.
    pub fn delete_group(&self, group: &str) {
        self.state().logs.groups.remove(group);
    }

    /// Makes a secret with this version, which is current, and gives its ARN.
    pub fn with_secret(&self, name: &str, version: &str, value: &str) -> String {
        self.change_secret(name, |secret| *secret = Secret::new(version, value));
        self.secret_arn(name)
    }

    /// The ARN of a secret of this name.
    pub fn secret_arn(&self, name: &str) -> String {
        secrets::arn(name, &self.state().region)
    }

    /// Changes a secret: puts versions, moves stages, marks it deleted or denied.
    pub fn change_secret(&self, name: &str, change: impl FnOnce(&mut Secret)) {
        self.state().secrets.change(name, change);
    }

    /// Answers the next `count` requests for secrets from before the last change, as the service's nodes do for moments.
    pub fn answer_stale(&self, count: u32) {
        self.state().secrets.answer_stale(count);
    }

    /// Answers whoever names no version of a secret with the current one. Clients that are not ours do that.
    pub fn take_unversioned(&self) {
        self.state().secrets.takes_unversioned = true;
    }

    /// Puts the next version of a parameter.
    pub fn put_parameter(&self, name: &str, value: &str) {
        let mut state = self.state();
        state.secrets.parameters.entry(name.to_owned()).or_default().values.push(value.to_owned());
    }

    /// Removes a parameter.
    pub fn remove_parameter(&self, name: &str) {
        self.state().secrets.parameters.remove(name);
    }

    /// Puts a label on a version of a parameter.
    pub fn label_parameter(&self, name: &str, label: &str, version: u64) {
        let mut state = self.state();
        state.secrets.parameters.entry(name.to_owned()).or_default().labels.insert(label.to_owned(), version);
    }

    /// What CloudWatch has of each metric, all times together.
    pub fn metrics(&self) -> BTreeMap<Metric, Statistics> {
        self.state().metrics.all.clone()
    }

    /// Messages that wait in the queue `jobs` and that are being worked on, and how many tasks run of any service.
    pub fn set_scale(&self, visible: u64, in_flight: u64, running: u64) {
        let tasks = std::mem::take(&mut self.state().scale.tasks);
        self.state().scale = scale::Scale { visible, in_flight, running, tasks };
    }

    /// The running tasks of any service.
    pub fn set_tasks(&self, arns: &[String]) {
        self.state().scale.tasks = arns.to_vec();
    }

    /// The segment documents that were processed, in the order of acceptance.
    pub fn segments(&self) -> Vec<String> {
        self.state().segments.processed.clone()
    }

    /// The bodies of requests of this kind, which is about sampling, that were served.
    pub fn sampling_bodies(&self, operation: Operation) -> Vec<Vec<u8>> {
        let state = self.state();
        let mine = state.segments.sampling.iter().filter(|(asked, _)| *asked == operation);
        mine.map(|(_, body)| body.clone()).collect()
    }

    /// Turns Transaction Search off again.
    pub fn take_no_spans(&self) {
        self.state().segments.takes_spans = false;
    }

    /// Turns Transaction Search on: spans are taken by OTLP.
    pub fn take_spans(&self) {
        self.state().segments.takes_spans = true;
    }

    /// The spans that were taken by OTLP, in the order of their ids.
    pub fn spans(&self) -> Vec<Span> {
        let mut spans = self.state().segments.spans.clone();
        spans.sort();
        spans
    }

    /// How many requests of this kind have been read.
    pub fn asked(&self, operation: Operation) -> usize {
        let name = format!("{operation:?}");
        self.state().requests.iter().filter(|request| request.operation == name).count()
    }

    /// All groups with all events, as they stand.
    pub fn groups(&self) -> BTreeMap<String, Group> {
        self.state().logs.groups.clone()
    }

    /// The accepted events of a stream, in the order of acceptance; empty if it does not exist.
    pub fn events(&self, group: &str, stream: &str) -> Vec<Event> {
        let state = self.state();
        state.logs.groups.get(group).and_then(|group| group.streams.get(stream)).cloned().unwrap_or_default()
    }

    /// Their texts.
    pub fn messages(&self, group: &str, stream: &str) -> Vec<String> {
        self.events(group, stream).into_iter().map(|event| event.message).collect()
    }

    /// Bytes of the bodies of all PutLogEvents that were served.
    pub fn taken_bytes(&self) -> u64 {
        let served = |request: &&Logged| request.operation == "PutLogEvents" && request.outcome == "200";
        self.state().requests.iter().filter(served).map(|request| request.bytes as u64).sum()
    }

    /// Accepted events of all streams.
    pub fn count(&self) -> usize {
        self.state().logs.count()
    }

    /// Forgets the events and requests so far, for runs that are longer than memory.
    pub fn forget(&self) {
        let mut state = self.state();
        state.logs.groups.values_mut().flat_map(|group| group.streams.values_mut()).for_each(Vec::clear);
        state.requests.clear();
    }

    /// Waits until at least `count` events have been accepted. Panics when they have not come in time.
    pub fn wait_for_events(&self, count: usize, within: Duration) {
        wait::until(within, || format!("{count} events; there are {}", self.count()), || self.count() >= count);
    }

    /// Waits until at least `count` requests of this kind have been read.
    pub fn wait_for_requests(&self, operation: &str, count: usize, within: Duration) {
        let read = || self.state().requests.iter().filter(|request| request.operation == operation).count();
        wait::until(within, || format!("{count} {operation}; there are {}", read()), || read() >= count);
    }

    /// Events that were accepted more than once: same group, stream, time and text. Let every line differ.
    pub fn duplicates(&self) -> usize {
        self.state().logs.duplicates()
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Logged> {
        self.state().requests.clone()
    }

    /// What was wrong with requests so far.
    pub fn violations(&self) -> Vec<String> {
        self.state().violations.clone()
    }

    /// Panics if any request was wrong. Every story ends with it.
    pub fn assert_no_violations(&self) {
        let violations = self.violations();
        assert!(violations.is_empty(), "requests that AWS would not take:\n{}", violations.join("\n"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for FakeAws {
    fn drop(&mut self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then sees that it must end.
        let _ = TcpStream::connect(self.address);
        for connection in self.shared.connections().drain(..) {
            answer::close(&connection);
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holding(&self) -> MutexGuard<'_, Holding> {
        self.holding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn connections(&self) -> MutexGuard<'_, Vec<TcpStream>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Writes down what became of a request, unless it is forgotten by now.
    fn note(&mut self, number: usize, outcome: String) {
        if let Some(logged) = self.requests.iter_mut().rev().find(|logged| logged.number == number) {
            logged.outcome = outcome;
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming().flatten() {
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        if let Ok(handle) = stream.try_clone() {
            shared.connections().push(handle);
        }
        let shared = Arc::clone(shared);
        thread::spawn(move || serve::connection(&shared, stream));
    }
}

/// The true time, in milliseconds since 1970.
fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the year is past 1970").as_millis() as i64
}
