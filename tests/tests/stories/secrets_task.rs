//! A task whose secrets come from the fake AWS, for stories about them.
//!
//! Promises: the same two secrets in every story (a secret `db` with several files, a parameter `flag`); no value stands in a log
//! or a page when an agent ends.
//! Never: tells a story.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    path::PathBuf,
};

use tempfile::TempDir;
use tests::{
    agent::{Agent, Setup, free_address},
    fake_aws::{Content, FakeAws},
    wait::until,
};

use crate::story::SOON;

pub(crate) const DB: &str = "prod/orders/db";

/// A value that must not stand anywhere but in files and answers of the API.
pub(crate) fn value(number: u32) -> String {
    format!("{{\"username\":\"app{number}\",\"password\":\"canary-{number}#/?$\\\"\",\"port\":5432}}")
}

/// A task with secrets: a service, a volume, and how the agent beside it is set up.
pub(crate) struct Task {
    pub(crate) aws: FakeAws,
    pub(crate) volume: TempDir,
    pub(crate) api: std::net::SocketAddr,
    /// Lines of the section `secrets`, before its items.
    pub(crate) more: String,
}

impl Task {
    pub(crate) fn new() -> Self {
        let aws = FakeAws::start();
        aws.with_secret(DB, "v1", &value(1));
        aws.put_parameter("/orders/flag", "one");
        Self { aws, volume: TempDir::new().unwrap(), api: free_address().unwrap(), more: String::new() }
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.volume.path().join("secrets")
    }

    pub(crate) fn file(&self, name: &str) -> String {
        fs::read_to_string(self.folder().join(name)).unwrap_or_default()
    }

    pub(crate) fn setup(&self) -> Setup {
        let (folder, url, api, more) = (self.folder(), self.aws.url(), self.api, &self.more);
        Setup::yaml(format!(
            "logs: {{inputs: [{{forward: {{unix: '{{socket}}'}}}}], outputs: [{{to: discard}}]}}\n\
             log: {{level: trace}}\n\
             secrets:\n  folder: {folder}\n  wait: 1ms\n  startup_timeout: 20s\n  api: {{listen: '{api}', endpoint: '{url}', \
             region: us-east-1}}\n{more}  items:\n\
             \x20   - name: db\n      from: {{secrets_manager: {{id: {DB}, region: us-east-1, endpoint: '{url}'}}}}\n\
             \x20     files:\n        - {{path: db.json}}\n        - {{path: db/username, as: {{key: username}}}}\n\
             \x20       - {{path: db/password, as: {{key: password}}, mode: '0400'}}\n\
             \x20       - {{path: db.url, as: {{url: 'postgres://{{username}}:{{password}}@db:{{port}}/orders'}}}}\n\
             \x20       - {{path: previous.json, of: previous}}\n\
             \x20   - name: flag\n      from: {{parameter: {{name: /orders/flag, region: us-east-1, endpoint: '{url}'}}}}\n",
            folder = folder.display()
        ))
    }

    pub(crate) fn start(&self) -> Agent {
        let agent = Agent::start(&self.setup()).unwrap();
        until(SOON, || format!("the secrets: {}", agent.log()), || agent.get("/readyz").0 == 200);
        until(SOON, || "the API".to_owned(), || !self.token().is_empty() && self.ask("GET", "/ping").0 == 200);
        agent
    }

    /// A new version is current, and the one before is previous.
    pub(crate) fn rotate(&self, number: u32) {
        self.aws.change_secret(DB, |secret| {
            secret.put(&format!("v{number}"), Content::Text(value(number)), "AWSPENDING");
            secret.move_stage("AWSCURRENT", &format!("v{number}"));
        });
    }

    /// Asks the agent to look now, as an app does whose password was refused.
    pub(crate) fn refresh(&self) -> u16 {
        self.ask("POST", "/v1/agent/refresh").0
    }

    /// The same for one secret.
    pub(crate) fn refresh_only(&self, name: &str) -> u16 {
        let (token, body) = (self.token(), format!("{{\"names\":[\"{name}\"]}}"));
        self.say(&format!(
            "POST /v1/agent/refresh HTTP/1.1\r\nHost: localhost\r\nX-Aws-Parameters-Secrets-Token: {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ))
        .0
    }

    pub(crate) fn token(&self) -> String {
        self.file("token").trim().to_owned()
    }

    pub(crate) fn ask(&self, method: &str, path: &str) -> (u16, String) {
        self.ask_with(&self.token(), method, path)
    }

    pub(crate) fn ask_with(&self, token: &str, method: &str, path: &str) -> (u16, String) {
        self.say(&format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Aws-Parameters-Secrets-Token: {token}\r\n\
             Content-Length: 0\r\nConnection: close\r\n\r\n"
        ))
    }

    /// The status and the body of what is answered to these bytes.
    pub(crate) fn say(&self, request: &str) -> (u16, String) {
        let Ok(mut stream) = TcpStream::connect(self.api) else { return (0, String::new()) };
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        (head.split(' ').nth(1).unwrap_or("0").parse().unwrap(), body.to_owned())
    }

    pub(crate) fn is_whole(&self, number: u32) {
        assert_eq!(self.file("db.json"), value(number));
        assert_eq!(self.file("db/username"), format!("app{number}"));
        assert_eq!(self.file("db/password"), format!("canary-{number}#/?$\""));
        let url = format!("postgres://app{number}:canary-{number}%23%2F%3F%24%22@db:5432/orders");
        assert_eq!(self.file("db.url"), url);
    }
}

/// Ends an agent, and looks for values where none may be.
pub(crate) fn end(agent: Agent) {
    let pages = ["/metrics", "/status", "/healthz", "/readyz"].map(|page| agent.get(page).1);
    let ended = agent.stop(SOON);
    ended.assert_clean();
    for text in pages.iter().chain([&ended.log]) {
        assert!(!text.contains("canary"), "a value is shown: {text}");
    }
}
