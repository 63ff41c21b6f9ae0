//! A task: a database, one who rotates its passwords, Secrets Manager, a volume, an agent, and who is told by it.
//!
//! Promises: a rotation waits for nothing that the agent does; what happens at random comes from a seed that is printed.
//! Never: looks into the agent; what it did is what stands on the volume.

use std::{
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{
    agent::{Agent, Setup, free_address},
    http::Connection,
    wait::until,
};

use crate::{SOON, environment, postgres::Postgres, program::Program, service::Service};

/// The longest that a kill comes behind the request that it was drawn for. Files are written by then.
const KILL_WAIT_MAX: Duration = Duration::from_millis(60);

/// See above.
pub(crate) struct World {
    pub(crate) postgres: Postgres,
    pub(crate) service: Service,
    pub(crate) told: Told,
    strategy: &'static str,
    names: &'static [&'static str],
    hooks: Vec<SocketAddr>,
    rotator: Mutex<Program>,
    volume: TempDir,
    api: SocketAddr,
    agent: Mutex<Option<Agent>>,
    rotations: AtomicUsize,
    /// How long the longest rotation took so far, in seconds.
    longest: Mutex<f64>,
    /// The current version of each secret, as the rotator said.
    current: Mutex<serde_json::Map<String, Value>>,
}

/// The numbers of the generations that a webhook was told of, in their order.
#[derive(Clone)]
pub(crate) struct Told(Arc<Mutex<Vec<u64>>>, SocketAddr);

impl World {
    /// A task in which these secrets are rotated by this strategy; `hooks` are told of generations too.
    pub(crate) fn start(strategy: &'static str, names: &'static [&'static str], hooks: &[SocketAddr]) -> Self {
        let (postgres, moto, told) = (Postgres::start(None), environment("MOTO_URL"), Told::start());
        let mut rotator = Program::python("rotate.py", &["--endpoint", &moto, "--admin", &postgres.admin()]);
        for name in names {
            let host = postgres.host();
            let create =
                json!({"do": "create", "secret": id(strategy, name), "user": name, "host": host, "dbname": "postgres"});
            assert_eq!(rotator.ask(&create.to_string()), json!({"ok": true}));
        }
        let world = Self {
            service: Service::before(&moto),
            hooks: hooks.iter().copied().chain([told.1]).collect(),
            postgres,
            told,
            strategy,
            names,
            rotator: Mutex::new(rotator),
            volume: TempDir::new().unwrap(),
            api: free_address().unwrap(),
            agent: Mutex::new(None),
            rotations: AtomicUsize::new(0),
            longest: Mutex::new(0.0),
            current: Mutex::default(),
        };
        world.start_agent();
        let is_ready = || world.with_agent(|agent| agent.get("/readyz").0) == 200 && !world.token().is_empty();
        until(SOON, || format!("the secrets: {}", world.with_agent(Agent::log)), is_ready);
        world
    }

    /// An app that asks the database with one of the secrets.
    pub(crate) fn app(&self, how: &str, name: &str) -> Program {
        let (folder, api, secret) = (self.folder(), format!("http://{}", self.api), id(self.strategy, name));
        let folder = folder.display().to_string();
        let mut arguments = vec![how, "--folder", &folder, "--name", name];
        arguments.extend(["--api", &api, "--secret", &secret]);
        has_begun(Program::python("query.py", &arguments))
    }

    /// The same in Node, told at `hook`.
    pub(crate) fn node_app(&self, name: &str, hook: SocketAddr) -> Program {
        let (folder, port) = (self.folder().display().to_string(), hook.port().to_string());
        has_begun(Program::node("query.cjs", &["--folder", &folder, "--name", name, "--port", &port]))
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.volume.path().join("secrets")
    }

    /// How many secrets have been rotated.
    pub(crate) fn rotations(&self) -> usize {
        self.rotations.load(Ordering::Relaxed)
    }

    /// How long the longest rotation took so far, in seconds.
    pub(crate) fn longest(&self) -> f64 {
        *self.longest.lock().unwrap()
    }

    /// The number of the generation on the volume, and the versions in it.
    pub(crate) fn generation(&self) -> (u64, Value) {
        let text = fs::read_to_string(self.folder().join("..data/.generation")).unwrap();
        let marker: Value = serde_json::from_str(&text).unwrap();
        (marker["generation"].as_u64().unwrap(), marker["versions"].clone())
    }

    /// Rotates all secrets, at least `every` seconds after the last time, and has the agent look, as an event from AWS would.
    /// Nobody waits until it has.
    pub(crate) fn rotate(&self, every: f64) {
        for name in self.names {
            let rotate = json!({
                "do": "rotate", "secret": id(self.strategy, name), "strategy": self.strategy, "every": every,
            });
            let answer = self.say_to_rotator(&rotate);
            assert_eq!(answer["ok"], true, "{answer}");
            self.current.lock().unwrap().insert((*name).to_owned(), answer["version"].clone());
            self.rotations.fetch_add(1, Ordering::Relaxed);
            let mut longest = self.longest.lock().unwrap();
            *longest = longest.max(answer["took"].as_f64().unwrap());
        }
        self.hint();
    }

    /// The one who rotates does nothing for a while, as when AWS is down.
    pub(crate) fn rest(&self, seconds: f64) {
        assert_eq!(self.say_to_rotator(&json!({"do": "rest", "seconds": seconds})), json!({"ok": true}));
    }

    /// Asks the agent to look, and does not wait for it.
    pub(crate) fn hint(&self) {
        let (api, token) = (self.api, self.token());
        thread::spawn(move || {
            let mut stream = TcpStream::connect(api)?;
            write!(
                stream,
                "POST /v1/agent/refresh HTTP/1.1\r\nHost: localhost\r\nX-Aws-Parameters-Secrets-Token: {token}\r\n\
                 Content-Length: 0\r\nConnection: close\r\n\r\n"
            )?;
            // Who hangs up early is forgotten.
            stream.read_to_end(&mut Vec::new())
        });
    }

    /// Waits until the volume shows the newest versions, and who is told has heard of it.
    #[track_caller]
    pub(crate) fn settle(&self) {
        self.hint();
        let is_newest = || {
            let (number, versions) = self.generation();
            let current = self.current.lock().unwrap();
            let shown = current.iter().all(|(name, version)| versions[name][0] == *version);
            shown && self.told.last() == Some(number)
        };
        let what = || format!("the newest versions: {:?} {:?}", self.generation(), self.told.all());
        until(SOON, what, is_newest);
    }

    /// Kills the agent again and again, each time behind a request to the service that was drawn, until `is_done`. Gives the
    /// number of kills. There is one for each round of rotations at most: who is killed at every start brings nothing about.
    pub(crate) fn kill_at_random(&self, seed: u64, is_done: &AtomicBool) -> usize {
        let mut random = fastrand::Rng::with_seed(seed);
        let done = || is_done.load(Ordering::Relaxed);
        for kills in 0.. {
            let rotations = self.rotations() + self.names.len();
            until(SOON, || "a rotation".to_owned(), || done() || self.rotations() >= rotations);
            // Each secret is described and fetched, in this order.
            let at = self.service.read() + random.usize(1..=2 * self.names.len());
            let wait = KILL_WAIT_MAX.mul_f64(random.f64());
            until(SOON, || "a request".to_owned(), || done() || self.service.read() >= at);
            if done() {
                return kills;
            }
            let reached = Instant::now();
            until(SOON, || "a moment".to_owned(), || reached.elapsed() >= wait);
            self.start_agent();
        }
        unreachable!("it does not count to the end")
    }

    pub(crate) fn with_agent<T>(&self, what: impl FnOnce(&Agent) -> T) -> T {
        what(self.agent.lock().unwrap_or_else(PoisonError::into_inner).as_ref().unwrap())
    }

    /// The end: nothing of half a generation is on the volume, and no value in the log or on a page.
    pub(crate) fn end(self) {
        let mut expected: Vec<_> = [".told", "..data", "token"].map(str::to_owned).to_vec();
        expected.extend(self.names.iter().flat_map(|name| [(*name).to_owned(), format!("{name}.json")]));
        for entry in fs::read_dir(self.folder()).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            if name.starts_with("..g") {
                let files = self.names.iter().flat_map(|name| [format!("{name}.json"), format!("{name}/password")]);
                for file in files.chain([".generation".to_owned()]) {
                    assert!(entry.path().join(&file).is_file(), "{name} has no {file}");
                }
            } else {
                assert!(expected.contains(&name), "{name} was left behind");
            }
        }
        let agent = self.agent.into_inner().unwrap().unwrap();
        let pages = ["/metrics", "/status", "/healthz", "/readyz"].map(|page| agent.get(page).1);
        let ended = agent.stop(SOON);
        ended.assert_clean();
        for text in pages.iter().chain([&ended.log]) {
            assert!(!text.contains("canary"), "a value is shown: {text}");
        }
        self.rotator.into_inner().unwrap().end();
    }

    /// Starts the agent. One that runs is killed.
    fn start_agent(&self) {
        let mut agent = self.agent.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(killed) = agent.take() {
            let log = killed.log();
            drop(killed);
            assert!(!log.contains("canary") && !log.contains("panicked"), "{log}");
        }
        *agent = Some(Agent::start(&self.setup()).unwrap());
    }

    fn setup(&self) -> Setup {
        let (folder, url, api) = (self.folder(), self.service.url(), self.api);
        let hooks: Vec<_> = self.hooks.iter().map(|hook| format!("{{webhook: {{url: 'http://{hook}/'}}}}")).collect();
        let mut config = format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\nlog: {{level: trace}}\n\
             secrets:\n  folder: {}\n  wait: 1ms\n  tell: [{}]\n  \
             api: {{listen: '{api}', endpoint: '{url}', region: us-east-1}}\n  items:\n",
            folder.display(),
            hooks.join(", ")
        );
        for name in self.names {
            let id = id(self.strategy, name);
            config.push_str(&format!(
                "    - name: {name}\n      from: {{secrets_manager: {{id: {id}, region: us-east-1, endpoint: '{url}'}}}}\n\
                 \x20     files:\n        - {{path: {name}.json}}\n\
                 \x20       - {{path: {name}/username, as: {{key: username}}}}\n\
                 \x20       - {{path: {name}/password, as: {{key: password}}}}\n",
            ));
        }
        Setup::yaml(config)
    }

    fn say_to_rotator(&self, command: &Value) -> Value {
        self.rotator.lock().unwrap().ask(&command.to_string())
    }

    fn token(&self) -> String {
        fs::read_to_string(self.folder().join("token")).unwrap_or_default().trim().to_owned()
    }
}

impl Told {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let told = Self(Arc::default(), listener.local_addr().unwrap());
        let own = told.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let mut connection = Connection::new(stream);
                if !matches!(connection.request(), Ok(Some(_))) {
                    continue;
                }
                let body: Value = serde_json::from_slice(connection.body()).unwrap_or_default();
                own.0.lock().unwrap().extend(body["generation"].as_u64());
                // If it is not heard, we are told again.
                let _ = connection.stream().write_all(b"HTTP/1.1 204 Yes\r\nConnection: close\r\n\r\n");
            }
        });
        told
    }

    pub(crate) fn all(&self) -> Vec<u64> {
        self.0.lock().unwrap().clone()
    }

    fn last(&self) -> Option<u64> {
        self.0.lock().unwrap().last().copied()
    }
}

/// A number of an app's totals.
#[track_caller]
pub(crate) fn total(totals: &Value, name: &str) -> usize {
    let number = totals[name].as_u64().unwrap_or_else(|| panic!("no {name} in {totals}"));
    usize::try_from(number).unwrap()
}

/// What a secret is called at the service, which other runs of the tests may have used.
fn id(strategy: &str, name: &str) -> String {
    format!("stories/{}/{strategy}/{name}", std::process::id())
}

fn has_begun(mut app: Program) -> Program {
    until(SOON, || "a first query".to_owned(), || total(&app.ask("count"), "ok") > 0);
    app
}
