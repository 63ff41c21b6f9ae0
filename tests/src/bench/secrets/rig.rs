//! A service with secrets and an agent that reads them, ready.
//!
//! Promises: an agent is ready when it answers with the first secret, and, if it is ours, when all files are there.
//! Never: says that a peer writes files.

use std::{fmt::Write as _, fs, net::SocketAddr, path::PathBuf};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::{super::process::Process, callers};
use crate::{
    agent::free_address,
    fake_aws::{Content, FakeAws},
};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A service, an agent beside it, and what they share.
pub(super) struct Rig {
    pub(super) aws: FakeAws,
    pub(super) process: Process,
    /// Where the agent answers.
    pub(super) api: SocketAddr,
    bytes: usize,
    folder: TempDir,
}

impl Rig {
    /// An agent with so many secrets of so many bytes, which gathers changes for `wait`.
    pub(super) fn start(command: &str, count: usize, bytes: usize, wait: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let (aws, api) = (FakeAws::start(), free_address()?);
        if !command.contains("{config}") {
            aws.take_unversioned();
        }
        for number in 0..count {
            aws.with_secret(&name(number), "v0", &value(number, "v0", bytes));
        }
        let token = folder.path().join("token");
        fs::write(&token, TOKEN).context("cannot write the token")?;
        let (config, toml) = (folder.path().join("bench.yaml"), folder.path().join("bench.toml"));
        fs::write(&config, configuration(&folder, &aws, api, count, wait))?;
        let port = api.port();
        let lines = format!(
            "http_port = {port}\nregion = \"us-east-1\"\nlog_to_file = false\nlog_level = \"error\"\nvalidate_credentials = false\n"
        );
        fs::write(&toml, lines)?;
        let fill = |text: &str| text.replace("{config}", &path(&config)).replace("{toml}", &path(&toml));
        let variables = [("AWS_TOKEN", format!("file://{}", path(&token))), ("AWS_ENDPOINT_URL", aws.url())];
        let secrets = folder.path().join("secrets");
        let (first, wanted) = (request(0), value(0, "v0", bytes));
        let is_ready = || match count {
            0 => callers::ask_once(api, PING, "healthy").is_ok(),
            _ if !command.contains("{config}") => callers::ask_once(api, &first, &wanted).is_ok(),
            _ => secrets.join(name(count - 1)).exists() && callers::ask_once(api, &first, &wanted).is_ok(),
        };
        let process = Process::launch(&fill(command), &variables, &folder.path().join("log"), &is_ready)?;
        Ok(Self { aws, process, api, bytes, folder })
    }

    /// The folder that files of secrets are in.
    pub(super) fn secrets(&self) -> PathBuf {
        self.folder.path().join("secrets")
    }

    /// What asks for a secret.
    pub(super) fn request(&self, number: usize) -> String {
        request(number)
    }

    /// The value that a secret begins with.
    pub(super) fn value(&self, number: usize) -> String {
        value(number, "v0", self.bytes)
    }

    /// Makes a new version of a secret the current one.
    pub(super) fn rotate(&self, number: usize, version: &str) {
        let text = value(number, version, self.bytes);
        self.aws.change_secret(&name(number), |secret| secret.put(version, Content::Text(text), "AWSCURRENT"));
    }

    /// Has the agent look at a secret, and gives back when that came of it.
    pub(super) fn refresh(&self, number: usize) -> anyhow::Result<()> {
        let body = format!("{{\"names\":[\"{}\"]}}", name(number));
        let request = format!(
            "POST /v1/agent/refresh HTTP/1.1\r\nHost: localhost\r\nX-Aws-Parameters-Secrets-Token: {TOKEN}\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        callers::ask_once(self.api, &request, "generation")
    }

    /// True if the file of a secret shows this version.
    pub(super) fn shows(&self, number: usize, version: &str) -> anyhow::Result<()> {
        let text = fs::read_to_string(self.secrets().join(name(number)))?;
        ensure!(text == value(number, version, self.bytes), "the file of {} does not show {version}", name(number));
        Ok(())
    }
}

const PING: &str = "GET /ping HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn path(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

fn name(number: usize) -> String {
    format!("bench-{number}")
}

/// As AWS's own clients ask.
fn request(number: usize) -> String {
    format!(
        "GET /secretsmanager/get?secretId={} HTTP/1.1\r\nHost: localhost:2773\r\nX-Aws-Parameters-Secrets-Token: {TOKEN}\r\n\
         User-Agent: bench\r\nAccept: */*\r\n\r\n",
        name(number)
    )
}

/// As a key: what repeats would cost the agent less than a secret does. No character that JSON writes otherwise, so that the answer holds
/// it as it is.
fn value(number: usize, version: &str, bytes: usize) -> String {
    let mut text = format!("secret {number} {version} ");
    let seed = text.bytes().fold(0, |seed: u64, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let mut random = fastrand::Rng::with_seed(seed);
    text.extend(std::iter::repeat_with(|| random.alphanumeric()).take(bytes.saturating_sub(text.len())));
    text
}

fn configuration(folder: &TempDir, aws: &FakeAws, api: SocketAddr, count: usize, wait: &str) -> String {
    let (at, url) = (folder.path().display(), aws.url());
    let mut text = format!(
        "logs: {{inputs: [{{forward: {{unix: '{at}/forward.sock'}}}}], outputs: [{{to: discard}}]}}\n\
         secrets:\n  folder: {at}/secrets\n  wait: {wait}\n\
         \x20 api: {{listen: '{api}', token_file: {at}/token, endpoint: '{url}', region: us-east-1}}\n"
    );
    if count > 0 {
        text.push_str("  items:\n");
    }
    for number in 0..count {
        let name = name(number);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "    - {{name: {name}, from: {{secrets_manager: {{id: {name}, region: us-east-1, endpoint: '{url}'}}}}}}"
        );
    }
    text
}
