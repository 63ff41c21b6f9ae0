//! What all stories have in common: an agent, a fake AWS, and how a story ends.
//!
//! Promises: [`Story::end`] compares three witnesses: the books, the fake's own count, and the agent's last line.
//! Never: knows what a story is about.

use std::{net::SocketAddr, path::Path, time::Duration};

use serde_json::Value;
use tests::{
    agent::{Agent, Ended, Setup},
    fake_aws::{FakeAws, REGION},
    forward_client::{ForwardClient, Time, docker_line},
    metrics::{Account, Metrics},
    wait,
};

/// Longer than anything takes, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(30);
/// Whether this is `tests/run long`: what takes seconds every day takes minutes then.
pub(crate) fn is_long_run() -> bool {
    #[expect(clippy::disallowed_methods, reason = "a test reads how long it may take")]
    std::env::var_os("PILLION_TEST_LONG").is_some()
}

/// The tag of ECS' container `web`.
pub(crate) const WEB: &str = "web-firelens-0123456789abcdef0123456789abcdef";
/// Where [`Setup::cloudwatch`] puts its records.
pub(crate) const WEB_STREAM: &str = "s-web-firelens-0123456789abcdef0123456789abcdef";

/// An agent and its service.
pub(crate) struct Story {
    pub(crate) aws: FakeAws,
    pub(crate) agent: Agent,
}

impl Story {
    /// What ECS generates, with `more` in its output section.
    pub(crate) fn begin(more: &str) -> Self {
        let aws = FakeAws::start();
        let setup = Setup::cloudwatch(aws.port(), more);
        Self::with(aws, &setup)
    }

    /// An agent of one's own.
    #[track_caller]
    pub(crate) fn with(aws: FakeAws, setup: &Setup) -> Self {
        Self { aws, agent: Agent::start(setup).unwrap() }
    }

    /// A connection to the FireLens socket.
    pub(crate) fn connect(&self) -> ForwardClient {
        ForwardClient::unix(&self.agent.socket()).unwrap()
    }

    /// Sends Docker's lines `line FROM` to `line TO - 1` of container `web` over a connection of their own.
    pub(crate) fn send_lines(&self, numbers: std::ops::Range<usize>) -> Vec<String> {
        let mut client = self.connect();
        let mut bytes = Vec::new();
        let lines: Vec<_> = numbers.map(line).collect();
        for line in &lines {
            bytes.extend(docker_line(WEB, Time::now(), line.as_bytes()));
        }
        client.send(&bytes).unwrap();
        lines
    }

    /// What `log` was in the records of [`WEB_STREAM`], in the order of acceptance.
    pub(crate) fn web_lines(&self) -> Vec<String> {
        logs(&self.aws, "bench", WEB_STREAM)
    }

    /// Waits until `accepted` records have come and none of them waits any more; gives the account of all.
    #[track_caller]
    pub(crate) fn settled(&self, accepted: u64) -> Account {
        self.agent.wait_for_metrics(SOON, &format!("{accepted} records to be settled"), |metrics| {
            let total = metrics.books().total();
            total.accepted >= accepted && total.in_flight == 0
        });
        let total = self.agent.books().total();
        assert_eq!(total.accepted, accepted, "{total:?}");
        total
    }

    /// Waits until `accepted` records have come.
    #[track_caller]
    pub(crate) fn accepted(&self, accepted: u64) {
        self.agent.wait_for_metrics(SOON, &format!("{accepted} records to be accepted"), |metrics| {
            metrics.books().total().accepted >= accepted
        });
    }

    /// The end of a story in which nothing was sent twice.
    #[track_caller]
    pub(crate) fn end(self) -> Ended {
        self.end_with_duplicates(0)
    }

    /// The end of a story: at most `duplicates` events are there more than once.
    #[track_caller]
    pub(crate) fn end_with_duplicates(self, duplicates: usize) -> Ended {
        let (aws, books, ended) = self.stop();
        assert_delivered(&aws, &books, duplicates);
        ended
    }

    /// The end of a story that sent the same text at the same time more than once, on purpose.
    #[track_caller]
    pub(crate) fn end_with_duplicate_texts(self) -> Ended {
        let (aws, books, ended) = self.stop();
        assert_eq!(books.delivered as usize, aws.count(), "{books:?}");
        aws.assert_no_violations();
        ended
    }

    #[track_caller]
    fn stop(self) -> (FakeAws, Account, Ended) {
        let settled = |metrics: &Metrics| metrics.books().total().in_flight == 0;
        self.agent.wait_for_metrics(SOON, "everything to be settled", settled);
        let books = self.agent.books().total();
        assert_eq!(self.agent.metrics().sum("pillion_life_panics_total", &[]), 0.0);
        let ended = self.agent.stop(SOON);
        ended.assert_clean();
        assert_last_line(&ended, &books);
        (self.aws, books, ended)
    }
}

/// The agent's last line says what the books say.
#[track_caller]
pub(crate) fn assert_last_line(ended: &Ended, books: &Account) {
    let last = ended.final_line().unwrap_or_else(|| panic!("there is no last line:\n{}", ended.log));
    assert_eq!(last["message"], "stopped", "{}", ended.log);
    let number = |name: &str| last[name].as_u64().unwrap_or_else(|| panic!("no `{name}` in {last}"));
    assert_eq!(number("accepted"), books.accepted, "{last}");
    assert_eq!(number("delivered"), books.delivered, "{last}");
    assert_eq!(number("refused"), books.refused.values().sum::<u64>(), "{last}");
    assert_eq!(number("lost"), books.lost.values().sum::<u64>(), "{last}");
    assert_eq!((number("unsettled"), &last["balanced"]), (0, &Value::Bool(true)), "{last}");
}

/// What is called delivered is there, and the service has nothing to complain about.
#[track_caller]
pub(crate) fn assert_delivered(aws: &FakeAws, books: &Account, duplicates: usize) {
    assert!(aws.duplicates() <= duplicates, "{} duplicates", aws.duplicates());
    assert_eq!(books.delivered as usize, aws.count() - aws.duplicates(), "{books:?}");
    aws.assert_no_violations();
}

/// The number of the last line's `lost`, for a story that loses records on its way out.
#[track_caller]
pub(crate) fn last_number(ended: &Ended, name: &str) -> u64 {
    let last = ended.final_line().unwrap_or_else(|| panic!("there is no last line:\n{}", ended.log));
    assert_eq!((&last["message"], &last["balanced"]), (&"stopped".into(), &Value::Bool(true)), "{}", ended.log);
    last[name].as_u64().unwrap_or_else(|| panic!("no `{name}` in {last}"))
}

/// The text of line `number`.
pub(crate) fn line(number: usize) -> String {
    format!("line {number:06}")
}

/// The number in a line that begins as [`line`] does.
pub(crate) fn number_of(text: &str) -> usize {
    text.split(' ').nth(1).unwrap().parse().unwrap()
}

/// The field `log` of a stream's records.
pub(crate) fn logs(aws: &FakeAws, group: &str, stream: &str) -> Vec<String> {
    let log = |message: &String| record(message)["log"].as_str().unwrap().to_owned();
    aws.messages(group, stream).iter().map(log).collect()
}

/// A message that is a record.
pub(crate) fn record(message: &str) -> Value {
    serde_json::from_str(message).unwrap_or_else(|error| panic!("{error}: {message}"))
}

/// An output section for CloudWatch Logs on `port`; `more` is lines of options.
pub(crate) fn output(port: u16, match_: &str, more: &str) -> String {
    let mut text = format!(
        "[OUTPUT]\n    Name cloudwatch_logs\n    Match {match_}\n    region {REGION}\n    endpoint 127.0.0.1\n    \
         port {port}\n    tls off\n    auto_create_group true\n"
    );
    for option in more.lines().map(str::trim).filter(|option| !option.is_empty()) {
        text.push_str(&format!("    {option}\n"));
    }
    text.push('\n');
    text
}

/// The input section of the FireLens socket.
pub(crate) const FIRELENS: &str = "[INPUT]\n    Name forward\n    unix_path {socket}\n\n";

/// An input section for TCP.
pub(crate) fn tcp_input(address: SocketAddr) -> String {
    format!("[INPUT]\n    Name forward\n    Listen {}\n    Port {}\n\n", address.ip(), address.port())
}

/// Waits until something listens on a TCP address, and connects.
pub(crate) fn connect_tcp(address: SocketAddr) -> ForwardClient {
    let mut client = None;
    wait::until(
        SOON,
        || format!("a listener at {address}"),
        || {
            client = ForwardClient::tcp(address).ok();
            client.is_some()
        },
    );
    client.unwrap()
}

/// Waits until something listens on a unix socket, and connects.
pub(crate) fn connect_unix(path: &Path) -> ForwardClient {
    let mut client = None;
    wait::until(
        SOON,
        || format!("a listener at {}", path.display()),
        || {
            client = ForwardClient::unix(path).ok();
            client.is_some()
        },
    );
    client.unwrap()
}
