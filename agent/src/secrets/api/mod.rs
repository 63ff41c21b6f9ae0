//! The local API: secrets for programs that already speak to AWS's Secrets Manager Agent or to its Lambda extension.
//!
//! ```text
//! connection ─ guard: who asks, and how ─ ask: what is asked ─▶ Vault::get ─▶ cache ─▶ a source
//!     ▲                                                            │
//!     └────── answer: status, headers, the body made before ◀──────┘
//! ```
//!
//! The connection is read in place for as long as its requests are plain GETs of secrets (`plain`, with `head`), and by hyper
//! (`serve`) from the first one on that is not.
//!
//! Paths, parameters, the order of checks, statuses and bodies are those of the original; `docs/secrets.md` lists what is
//! more here. Own paths are below `/v1/agent/`, and a secret of such a name is asked for by query.
//!
//! Promises: nothing but `/ping` is answered without the token; a secret that is known is answered from memory, whatever AWS
//! does; at most one look per secret is under way.
//! Never: shows a value in a log, an error or `Debug`; takes a request that came through a proxy or from a web page.

mod answer;
mod ask;
pub mod cache;
mod events;
pub mod flight;
mod guard;
pub mod head;
mod plain;
mod refresh;
mod serve;
mod token;

use std::{future::Future, sync::Arc, time::Duration};

use http::HeaderName;
use tokio::sync::watch;

pub use answer::{Answer, Refusal};
pub use serve::serve;
pub use token::{Token, TokenError};

pub use super::{proof::Way, tell::Generation};

/// Which service has it, and how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Secrets Manager.
    #[default]
    Secret,
    /// A parameter, decrypted.
    Parameter,
    /// A parameter as it is stored: a `SecureString` stays encrypted.
    SealedParameter,
}

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Ask {
    /// Of which service.
    pub kind: Kind,
    /// Name, ARN, or ARN without its last seven characters.
    pub id: String,
    /// This version.
    pub version_id: Option<String>,
    /// The version with this stage or label. With `version_id` both must fit.
    pub version_stage: Option<String>,
    /// The role to read it as.
    pub role_arn: Option<String>,
}

/// How new an answer must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As the time to live says.
    Cached,
    /// From a look that begins after the request: `refreshNow`.
    Now,
}

/// An answer and its age.
#[derive(Clone, Debug)]
pub struct Given {
    /// What to answer.
    pub answer: Arc<Answer>,
    /// Since the last look that found it right.
    pub age: Duration,
}

/// Where the API has its answers from. The job is one.
pub trait Vault: Send + Sync + 'static {
    /// One secret or parameter.
    fn get(&self, ask: &Ask, freshness: Freshness) -> impl Future<Output = Result<Given, Refusal>> + Send;

    /// True if the configuration has a secret of this name.
    fn knows(&self, name: &str) -> bool;

    /// Looks at these secrets of the configuration now, or at all if there are none named; ends when the generation that
    /// came of it is there. Never called twice at a time.
    fn refresh(&self, names: Vec<String>) -> impl Future<Output = Result<(), Refusal>> + Send;

    /// The newest generation, and each that follows.
    fn generations(&self) -> watch::Receiver<Arc<Generation>>;

    /// Somebody has taken up all generations up to this one. False if there has been none of this number.
    fn acknowledged(&self, way: Way, number: u64) -> bool;
}

/// What the API needs to know, checked.
#[derive(Clone, Debug)]
pub struct ApiSettings {
    /// What callers must know.
    pub token: Arc<Token>,
    /// Headers in which it may come.
    pub token_headers: Vec<HeaderName>,
    /// What stands before a secret's name in a path; begins and ends with `/`.
    pub path_prefix: String,
    /// Connections at a time. The next ones are answered with 429.
    pub connections_max: usize,
}
