//! The real binary, driven as ECS drives it: a configuration file, an environment, signals.
//!
//! Promises: a folder of its own for every agent, no fixed port, an environment without anything of ours; it has bound
//! its socket when [`Agent::start`] returns; it is killed, by its id, when the handle goes, and what it wrote is left to be
//! searched for secrets ([`leaks`]).
//! Never: restarts an agent, or looks inside it.

use std::{
    collections::{BTreeMap, VecDeque},
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::{net::UnixStream, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use tempfile::TempDir;

use crate::{
    fake_aws::{ACCESS_KEY, REGION, SECRET_KEY},
    leaks,
    metrics::{Books, Metrics},
    wait,
};

/// A binary that has not bound its socket by then has failed. It takes milliseconds on an idle machine.
const BOUND_MAX: Duration = Duration::from_secs(20);
/// How often a starting or stopping process is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// The environment variable that names the binary; `tests/run` sets it.
const BINARY: &str = "PILLION_BIN";
/// The word of [`Setup::command`] that stands for the binary.
pub const PILLION: &str = "{pillion}";
/// Runs what follows in namespaces of its own (util-linux).
pub const UNSHARE: &str = "unshare";

/// How an agent is started.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The words before `-c FILE`. `{pillion}` stands for the binary.
    pub command: Vec<String>,
    /// The configuration file. `{socket}` and `{folder}` in it stand for the agent's own paths.
    pub config: String,
    /// `pillion.conf` for Fluent Bit's classic form, `pillion.yaml` for ours.
    pub file: &'static str,
    /// Words behind `-c FILE`.
    pub arguments: Vec<String>,
    /// The environment besides `PATH`, `PILLION__ADMIN__LISTEN` and credentials; an empty value removes one of those.
    pub environment: Vec<(String, String)>,
    /// Other files in the agent's folder: name and text, filled as the configuration is.
    pub files: Vec<(String, String)>,
    /// The admin address; `None`: a free port of loopback.
    pub admin: Option<SocketAddr>,
}

impl Setup {
    /// With a file in Fluent Bit's classic form.
    pub fn classic(config: impl Into<String>) -> Self {
        Self {
            command: vec![PILLION.to_owned()],
            config: config.into(),
            file: "pillion.conf",
            arguments: Vec::new(),
            environment: Vec::new(),
            files: Vec::new(),
            admin: None,
        }
    }

    /// With a file in our own form.
    pub fn yaml(config: impl Into<String>) -> Self {
        Self { file: "pillion.yaml", ..Self::classic(config) }
    }

    /// What ECS generates for one container, with CloudWatch Logs played on `port`; group `bench`, streams `s-` and the
    /// tag. `more` is added to the output section, one option a line.
    pub fn cloudwatch(port: u16, more: &str) -> Self {
        let mut options = String::new();
        for option in more.lines().map(str::trim).filter(|option| !option.is_empty()) {
            options.push_str("    ");
            options.push_str(option);
            options.push('\n');
        }
        Self::classic(format!(
            "[INPUT]\n    Name forward\n    unix_path {{socket}}\n\n[OUTPUT]\n    Name cloudwatch_logs\n    \
             Match *\n    region {REGION}\n    endpoint 127.0.0.1\n    port {port}\n    tls off\n    \
             log_group_name bench\n    log_stream_prefix s-\n    auto_create_group true\n{options}"
        ))
    }

    /// Adds a variable.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a file.
    #[must_use]
    pub fn with_file(mut self, name: &str, text: impl Into<String>) -> Self {
        self.files.push((name.to_owned(), text.into()));
        self
    }

    /// Starts the agent by this command.
    #[must_use]
    pub fn by(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    /// Starts the agent as process 1 of a PID namespace, as a container runtime does. Needs root.
    #[must_use]
    pub fn as_process_1(self) -> Self {
        self.by(&[UNSHARE, "--pid", "--fork", "--kill-child", PILLION])
    }

    /// Takes the credentials from an ECS endpoint and not from variables.
    #[must_use]
    pub fn with_credentials_from(self, uri: String) -> Self {
        let setup = self.with("AWS_CONTAINER_CREDENTIALS_FULL_URI", uri);
        setup.with("AWS_ACCESS_KEY_ID", "").with("AWS_SECRET_ACCESS_KEY", "")
    }
}

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    child: Child,
    /// The agent's own process id, which is not the child's if that one is `unshare`.
    id: u32,
    folder: TempDir,
    admin: SocketAddr,
    /// What the test wrote in the folder, where spools are, and each page as it was last.
    written: Vec<String>,
    spools: Vec<PathBuf>,
    pages: Mutex<BTreeMap<String, String>>,
    /// From exec to the first accepted connection.
    pub start_to_bound: Duration,
}

/// An agent that has ended.
#[derive(Debug)]
pub struct Ended {
    /// Its exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// From the signal we sent to its end.
    pub took: Duration,
    /// What it wrote to standard output and error.
    pub log: String,
}

impl Ended {
    /// The last line of its log, which says what was delivered and what was not.
    pub fn final_line(&self) -> Option<serde_json::Value> {
        self.log.lines().rev().find_map(|line| serde_json::from_str(line).ok())
    }

    /// Panics unless it ended in good order.
    #[track_caller]
    pub fn assert_clean(&self) {
        assert_eq!(self.code, Some(0), "signal {:?}, log:\n{}", self.signal, self.log);
        assert!(!self.log.contains("panicked"), "{}", self.log);
    }
}

impl Agent {
    /// Starts the agent and waits until its socket accepts, if its configuration has one.
    pub fn start(setup: &Setup) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let admin = setup.admin.map_or_else(free_address, Ok)?;
        let socket = folder.path().join("forward.sock");
        let fill = |text: &str| {
            let text = text.replace("{socket}", &socket.to_string_lossy());
            text.replace("{folder}", &folder.path().to_string_lossy())
        };
        let config = folder.path().join(setup.file);
        fs::write(&config, fill(&setup.config)).context("cannot write the configuration")?;
        for (name, text) in &setup.files {
            fs::write(folder.path().join(name), fill(text)).context("cannot write a file")?;
        }
        let log = fs::File::create(folder.path().join("log")).context("cannot create the log")?;
        let binary = binary()?;
        let word = |word: &String| fill(word).replace(PILLION, &binary.to_string_lossy());
        let mut words = setup.command.iter().map(word);
        let mut command = Command::new(words.next().context("the command is empty")?);
        command
            .args(words)
            .arg("-c")
            .arg(&config)
            .args(setup.arguments.iter().map(|word| fill(word)))
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("PILLION__ADMIN__LISTEN", admin.to_string())
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_REGION", REGION)
            .env("AWS_ACCESS_KEY_ID", ACCESS_KEY)
            .env("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        for (name, value) in &setup.environment {
            if value.is_empty() {
                command.env_remove(name)
            } else {
                command.env(name, fill(value))
            };
        }
        let begun = Instant::now();
        let child = command.spawn().context("cannot start the agent")?;
        let written = setup.files.iter().map(|(name, _)| name.clone()).chain([setup.file.to_owned()]).collect();
        let (spools, pages, start_to_bound) = (spools(&fill(&setup.config)), Mutex::default(), Duration::ZERO);
        let mut agent = Self { id: child.id(), child, folder, admin, written, spools, pages, start_to_bound };
        if setup.command.first().is_some_and(|first| first == UNSHARE) {
            wait::until(BOUND_MAX, || "a child of unshare".to_owned(), || agent.find_own_id());
        }
        if setup.config.contains("{socket}") {
            agent.wait_until_bound(begun)?;
        }
        agent.start_to_bound = begun.elapsed();
        Ok(agent)
    }

    /// The unix socket that `{socket}` stands for.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("forward.sock")
    }

    /// The folder that `{folder}` stands for.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Where `/metrics`, `/healthz`, `/readyz` and `/status` are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// Status and body of an answer of the admin address. Waits for it to answer at all.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut answer = Err(anyhow::anyhow!("not asked yet"));
        wait::until(
            BOUND_MAX,
            || format!("an answer at http://{}{path}\n{}", self.admin, self.log()),
            || {
                answer = get(self.admin, path);
                answer.is_ok()
            },
        );
        let (status, page) = answer.expect("waited for it");
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned(), page.clone());
        (status, page)
    }

    /// The page `/metrics`.
    pub fn metrics(&self) -> Metrics {
        let (status, page) = self.get("/metrics");
        assert_eq!(status, 200, "{page}");
        Metrics::parse(&page).expect("the page is Prometheus' text format")
    }

    /// The books as they stand, which must balance at any time.
    pub fn books(&self) -> Books {
        let books = self.metrics().books();
        books.assert_balanced();
        books
    }

    /// The page `/status`.
    pub fn status(&self) -> serde_json::Value {
        let (status, page) = self.get("/status");
        assert_eq!(status, 200, "{page}");
        serde_json::from_str(&page).expect("the page is JSON")
    }

    /// Waits until the page `/metrics` fits `condition`.
    #[track_caller]
    pub fn wait_for_metrics(&self, within: Duration, what: &str, condition: impl Fn(&Metrics) -> bool) {
        wait::until(within, || format!("{what}\n{}", self.log()), || condition(&self.metrics()));
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// A line of `/proc/PID/status` that is in kB, for example `VmRSS` or `VmHWM`.
    pub fn status_kb(&self, name: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|line| line.trim().split(' ').next()?.parse().ok()).unwrap_or(0)
    }

    /// The most memory that it had at a time, without the pages of the program: how many of those the kernel maps differs from boot
    /// to boot (7 to 20 MiB of a binary that was not optimised).
    pub fn peak_bytes(&self) -> u64 {
        self.status_kb("VmHWM").saturating_sub(self.status_kb("RssFile")) * 1_024
    }

    /// Open file descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.id())).map_or(0, Iterator::count)
    }

    /// Stops the process where it is, until it is sent `CONT`.
    pub fn suspend(&self) {
        self.signal("STOP");
        let stopped = || {
            let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
            status.lines().any(|line| line.starts_with("State:\tT"))
        };
        wait::until(BOUND_MAX, || "the process to stop".to_owned(), stopped);
    }

    /// Sends a signal by its name, for example `TERM`, `INT`, `STOP`.
    pub fn signal(&self, name: &str) {
        // The shell's own kill: std sends SIGKILL only, and not every image has a program of that name.
        let sent = Command::new("/bin/sh").arg("-c").arg(format!("kill -{name} {}", self.id())).status();
        assert!(sent.is_ok_and(|status| status.success()), "cannot send SIG{name}");
    }

    /// Sends SIGTERM and waits for the end; panics if that takes longer than `within`.
    #[track_caller]
    pub fn stop(self, within: Duration) -> Ended {
        self.signal("TERM");
        self.wait_for_end(within)
    }

    /// Waits for the end; panics if that takes longer than `within`.
    #[track_caller]
    pub fn wait_for_end(mut self, within: Duration) -> Ended {
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("the child is ours") {
                break status;
            }
            assert!(begun.elapsed() < within, "the agent runs on after {within:?}:\n{}", self.log());
            thread::sleep(LOOK);
        };
        self.ended(status, begun.elapsed())
    }

    /// Looks for the child of the child.
    fn find_own_id(&mut self) -> bool {
        let parent = self.child.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
        self.id = children.split_whitespace().next().and_then(|id| id.parse().ok()).unwrap_or(parent);
        self.id != parent
    }

    fn ended(&self, status: ExitStatus, took: Duration) -> Ended {
        Ended { code: status.code(), signal: status.signal(), took, log: self.log() }
    }

    fn wait_until_bound(&mut self, begun: Instant) -> anyhow::Result<()> {
        let socket = self.socket();
        while UnixStream::connect(&socket).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the agent ended before it accepted ({status}):\n{}", self.log());
            }
            if begun.elapsed() > BOUND_MAX {
                bail!("the agent does not accept on `{}`:\n{}", socket.display(), self.log());
            }
            thread::sleep(LOOK);
        }
        Ok(())
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let pages: Vec<_> = self.pages.lock().unwrap_or_else(PoisonError::into_inner).clone().into_iter().collect();
        let (folder, but, others) = (self.folder.path(), self.written.as_slice(), self.spools.as_slice());
        leaks::keep(&leaks::Left { folder, but, others, pages: &pages });
    }
}

/// The folders of spools that a configuration of ours names.
fn spools(config: &str) -> Vec<PathBuf> {
    let paths = config.split("spool: {path: ").skip(1);
    paths.filter_map(|rest| rest.split([',', '}']).next()).map(|path| PathBuf::from(path.trim())).collect()
}

/// The binary under test: what `PILLION_BIN` names, or the one that was built beside the running test.
pub fn binary() -> anyhow::Result<PathBuf> {
    #[expect(clippy::disallowed_methods, reason = "the rule is about the agent; tests are told by variables")]
    if let Some(path) = std::env::var_os(BINARY) {
        return Ok(path.into());
    }
    let test = std::env::current_exe().context("cannot find the running test")?;
    let near = test.ancestors().skip(1).take(2).map(|folder| folder.join("pillion"));
    near.into_iter().find(|path| path.is_file()).with_context(|| {
        format!("there is no `pillion` near `{}`; run `cargo build -p pillion`, or set {BINARY}", test.display())
    })
}

/// Ports that [`free_address`] gave last and does not give again: whoever asked for one may not listen on it yet.
static GIVEN: Mutex<VecDeque<u16>> = Mutex::new(VecDeque::new());
/// A quarter of the kernel's usual range of ports.
const GIVEN_MAX: usize = 7_000;

/// An address of loopback that nobody listens on. The agent cannot tell us which port it got, so we choose one.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("loopback has no free port")?.local_addr()?;
        if !given.contains(&address.port()) {
            given.push_back(address.port());
            if given.len() > GIVEN_MAX {
                given.pop_front();
            }
            return Ok(address);
        }
    }
}

/// One GET by hand: status and body.
pub fn get(address: SocketAddr, path: &str) -> anyhow::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(BOUND_MAX))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no head")?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok((status, body.to_owned()))
}
