//! The settings of the secrets job, as serde reads them. The comments here are the user's documentation.
//!
//! Promises: every field has a default or an error that says what is missing.
//! Never: checks one field against another; `config::check` does.

use std::{fmt, net::SocketAddr, path::PathBuf};

use serde::Deserialize;
use zeroize::Zeroizing;

use crate::units::{Count, Permissions, Span};

mod from;

pub use from::{From, Parameter, Parameters, SecretsManager};

/// The secrets job. Without `items` and without `api` there is none.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Secrets {
    /// The folder on the shared volume where files are written. Default `/run/secrets`. Mount the folder into the app, not
    /// single files: those never change.
    pub folder: Option<PathBuf>,
    /// How files are replaced.
    pub layout: Layout,
    /// Permission bits of files, octal. Default `"0440"`.
    pub mode: Option<Permissions>,
    /// The user that files belong to, by number. Needs an agent that runs as root. Default: the agent's own.
    pub user: Option<u32>,
    /// The group that files belong to, by number. Default: the agent's own.
    pub group: Option<u32>,
    /// Generations that are kept for programs that still read them, beside the newest, 1 to 100. Default 2. One that was
    /// replaced is kept for at least a minute in any case.
    pub keep: Option<Count<1, 100>>,
    /// Whether files are synced to the disk. Default `false`: the volume dies with the task, and the swap needs no sync.
    pub sync: bool,
    /// The secrets.
    pub items: Vec<Item>,
    /// Files made of several secrets.
    pub files: Vec<Combined>,
    /// How long a change waits for others, so that all of them are one generation. Default 500ms.
    pub wait: Option<Span>,
    /// How long the start waits for required secrets. Default 60s. `pillion secrets --once` ends with an error then; the
    /// sidecar is not ready until they are there.
    pub startup_timeout: Option<Span>,
    /// Who is told of a new generation.
    pub tell: Vec<Tell>,
    /// A queue that says when something changed, so that it is looked at at once. Default: none.
    pub hints: Option<Hints>,
    /// The local API of AWS's Secrets Manager Agent. Default: none.
    pub api: Option<Api>,
}

/// How files are replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Visible names are links into the newest generation, all of which is swapped at once, as Kubernetes does it. Whoever
    /// watches the folder sees `..data` move.
    #[default]
    Swapped,
    /// Each file is replaced by a rename, one after another. For programs that watch a single file by its name.
    Plain,
}

/// One secret and the files it becomes.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// The name by which metrics, pages and templates call it: letters, digits, `-`, `_`.
    pub name: String,
    /// Where it comes from.
    pub from: From,
    /// With `false` the start does not wait for it. Default `true`.
    #[serde(default = "yes")]
    pub required: bool,
    /// What to do when we may not read it any more, or it was deleted.
    #[serde(default)]
    pub when_gone: WhenGone,
    /// Whether its values are masked in every log record.
    #[serde(default)]
    pub mask: Mask,
    /// Files to write. Default: one with the secret's `name` that holds the value as it is.
    #[serde(default)]
    pub files: Vec<File>,
}

fn yes() -> bool {
    true
}

/// What to do when a secret that was there is denied or deleted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum WhenGone {
    /// Its files stay as they are.
    #[default]
    Keep,
    /// Its files are removed with the next generation.
    Remove,
}

/// Whether the values of a secret are masked in log records, wherever they stand and however they are encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// Those that could not be an ordinary word: `docs/secrets.md` has the rules.
    #[default]
    Auto,
    /// All of at least 8 bytes that are no number. A word in it is masked wherever it stands.
    Always,
    /// None.
    Never,
}

/// A file made of one secret.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Its path below the folder.
    pub path: String,
    /// Which version it shows. A file of a version that there is not is absent.
    #[serde(default)]
    pub of: Stage,
    /// What is written. Default: the value as it is.
    #[serde(default, rename = "as")]
    pub format: Format,
    /// Permission bits, octal. Default: those of the folder's files.
    #[serde(default)]
    pub mode: Option<Permissions>,
}

/// Which version of a secret a file shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The one to use.
    #[default]
    Current,
    /// The one before.
    Previous,
    /// The one that a rotation is making just now.
    Pending,
}

/// What is written of a secret. All but `raw` and `template` need a secret that is a JSON object; all but `raw` need text
/// without NUL. Of members with the same name the last one counts. A file has at most 1 MiB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The value as it is, to the byte.
    #[default]
    Raw,
    /// One member of the JSON object: text as it is, numbers as they are written.
    Key(String),
    /// A folder: one file for each member of the JSON object that is text, a number or a boolean, called as the member is. A `/` in
    /// a name makes a folder. If one of the names cannot be a file's, or one would be the folder of another, none is written.
    Each,
    /// One line `NAME=value` for each member that is text, a number or a boolean, quoted where need be, so that a shell reads
    /// it back exactly. Names are written in capitals; what is not a letter, digit or `_` becomes `_`.
    Dotenv,
    /// Java properties.
    Properties,
    /// A URL in which `{member}` stands for a member, percent-encoded: `postgres://{username}:{password}@{host}:{port}/{dbname}`.
    Url(String),
    /// A line of PostgreSQL's `.pgpass` of `host`, `port`, `dbname`, `username` and `password`. The first three may be missing
    /// (`*`, 5432, `*`). PostgreSQL's clients ignore the file unless `mode` is `"0400"` or `"0600"`.
    Pgpass,
    /// A `[client]` section for MySQL of `host`, `port`, `username` and `password`.
    MyCnf,
    /// A template in the language of Jinja. `secret` is the JSON object, or the text if it is none. What is not there is an
    /// error. Statements: `if`, `for`, `raw`. Filters: `pct` (percent-encoded), `b64`, `json`, `shell` (one quoted word),
    /// `props` (a value of Java properties). At most 64 KiB.
    Template(String),
}

/// A file made of several secrets.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Combined {
    /// Its path below the folder.
    pub path: String,
    /// A template in the language of Jinja, in which each secret stands by its name: `{{ db.password }}`,
    /// or `{{ secrets["my-db"].password }}`.
    pub template: String,
    /// Permission bits, octal. Default: those of the folder's files.
    #[serde(default)]
    pub mode: Option<Permissions>,
}

/// Who is told of a new generation.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    /// A POST with names and version ids, again and again until it is answered with 2xx.
    Webhook(Webhook),
    /// A signal. Needs `pidMode: task`.
    Signal(Signal),
}

/// A web address that is told.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Its URL, `http` on a loopback address.
    pub url: String,
    /// How long it may take to answer. Default 10s.
    #[serde(default)]
    pub timeout: Option<Span>,
    /// The longest random wait before it is told, so that not all tasks renew their connections at the same moment. Default
    /// none.
    #[serde(default)]
    pub splay: Option<Span>,
}

/// A process that gets a signal.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Signal {
    /// The name of its program, as `/proc/PID/comm` has it.
    pub process: String,
    /// Which signal: `HUP`, `USR1`, `USR2`, `TERM`.
    pub signal: String,
    /// With `true` it is sent also to a process that does not catch it, which ends that process. Default `false`.
    #[serde(default)]
    pub force: bool,
    /// The longest random wait before it is sent. Default none.
    #[serde(default)]
    pub splay: Option<Span>,
}

/// A queue of SQS into which EventBridge puts what happens to secrets and parameters. What is in it is only a reason to look.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hints {
    /// The URL of a queue that only this task reads: each message reaches one reader, and is deleted.
    pub sqs: String,
    /// Default: the region in the URL, or that of the task.
    #[serde(default)]
    pub region: Option<String>,
    /// A role to read it as. Default: the task's own.
    #[serde(default)]
    pub role_arn: Option<String>,
}

/// The local API.
#[derive(Clone, Debug, Default, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Api {
    /// Its address. Default `127.0.0.1:2773`.
    pub listen: Option<SocketAddr>,
    /// A file with the token that callers must know. If it is not there it is made, of 32 random bytes. Default: `token` in
    /// the folder.
    pub token_file: Option<PathBuf>,
    /// Headers in which the token may come. Default `X-Aws-Parameters-Secrets-Token` and `X-Vault-Token`.
    pub token_headers: Option<Vec<String>>,
    /// What stands before the secret's name in a path. Default `/v1/`.
    pub path_prefix: Option<String>,
    /// How long an answer is given from memory without a look whether it is still right, 0s to 1h. Default 300s.
    pub ttl: Option<Span>,
    /// Secrets in memory, 1 to 1000. Default 1000.
    pub cache_size: Option<Count<1, 1000>>,
    /// Roles that callers may have secrets read as (`roleArn`), 1 to 1000. Default 20.
    pub roles_max: Option<Count<1, 1000>>,
    /// Secrets that are asked for at the start, so that the first who asks does not wait.
    pub prefetch: Vec<Prefetch>,
    /// The longest random wait before they are asked for, so that not all tasks ask at the same moment. Default none.
    pub prefetch_splay: Option<Span>,
    /// How many secrets tags may bring, 1 to 1000. Default 800.
    pub prefetch_max: Option<Count<1, 1000>>,
    /// Connections at a time, 1 to 1000. Default 800.
    pub connections_max: Option<Count<1, 1000>>,
    /// The region of secrets that name none. Default: that of the task.
    pub region: Option<String>,
    /// Another address of Secrets Manager, for tests and private endpoints.
    pub endpoint: Option<String>,
    /// The token itself, if the environment of AWS's agent holds it.
    #[serde(skip)]
    #[cfg_attr(test, schemars(skip))]
    pub token: Option<TokenText>,
}

/// Secrets that are asked for at the start: one, or all that have a tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Prefetch {
    /// Name or ARN of the one.
    pub id: Option<String>,
    /// The tag's key; its value may be any. Needs `secretsmanager:ListSecrets`.
    pub tag: Option<String>,
    /// The role to list and read as. Default: the task's own.
    pub role_arn: Option<String>,
}

/// The token of the API. It is wiped from memory, and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText(Zeroizing<String>);

impl TokenText {
    /// This one.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.to_owned()))
    }

    /// To compare with.
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Debug for TokenText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenText(..)")
    }
}
