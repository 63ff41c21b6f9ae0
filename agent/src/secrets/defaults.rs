//! What holds where the settings say nothing.
//!
//! Promises: every default of the section `secrets` stands here, and is the one that its documentation names.
//! Never: decides anything else.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::HeaderName;

use super::{
    api::{ApiSettings, Token, cache::ROLES_MAX},
    place::PlaceSettings,
    settings::{Api, File, From, Secrets},
};
use crate::tell::chain;

/// Where files are written, unless the user says.
const FOLDER: &str = "/run/secrets";
/// Permission bits of files and folders.
const MODE: u32 = 0o440;
const DIR_MODE: u32 = 0o750;
/// Generations beside the newest, and for how long each is kept.
const KEEP: u64 = 2;
const KEEP_FOR: Duration = Duration::from_secs(60);
/// How long a change waits for others.
const WAIT: Duration = Duration::from_millis(500);
/// How long a start waits for required secrets.
const STARTUP: Duration = Duration::from_secs(60);
/// Between looks at a secret that does not rotate soon.
const EVERY_SECRET: Duration = Duration::from_secs(900);
/// Between looks at a parameter: nobody but the poller says that it changed.
pub(super) const EVERY_PARAMETER: Duration = Duration::from_secs(300);
/// Between looks at a file of a developer, which cost nothing.
const EVERY_FILE: Duration = Duration::from_secs(2);
/// The API's address, and what it is like.
const API: ([u8; 4], u16) = ([127, 0, 0, 1], 2773);
const API_TTL: Duration = Duration::from_secs(300);
const API_CACHE: u64 = 1_000;
const API_CONNECTIONS: u64 = 800;
const API_PREFETCH: usize = 800;
const API_PREFIX: &str = "/v1/";
const API_HEADERS: [&str; 2] = ["x-aws-parameters-secrets-token", "x-vault-token"];

impl Secrets {
    /// True if there is something to do.
    pub fn is_wanted(&self) -> bool {
        !self.items.is_empty() || self.api.is_some()
    }

    /// The folder on the volume.
    pub fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(|| FOLDER.into())
    }

    /// How long a start waits for required secrets.
    pub fn startup(&self) -> Duration {
        self.startup_timeout.map_or(STARTUP, |span| span.0)
    }

    /// How long a change waits for others.
    pub(super) fn wait(&self) -> Duration {
        self.wait.map_or(WAIT, |wait| wait.0)
    }

    /// Permission bits of a file.
    pub fn mode_of(&self, file: &File) -> u32 {
        file.mode.or(self.mode).map_or(MODE, |mode| mode.0)
    }

    pub(super) fn place(&self) -> PlaceSettings {
        let mode = self.mode.map_or(MODE, |mode| mode.0);
        PlaceSettings {
            folder: self.folder(),
            layout: self.layout,
            mode,
            // Who may read files may see their names.
            dir_mode: if mode & 0o004 == 0 { DIR_MODE } else { 0o755 },
            user: self.user,
            group: self.group,
            keep: usize::try_from(self.keep.map_or(KEEP, |keep| keep.get())).unwrap_or(usize::MAX),
            keep_for: KEEP_FOR,
            sync: self.sync,
        }
    }
}

impl From {
    /// The time between looks when nothing is expected.
    pub(super) fn every(&self) -> Duration {
        match self {
            Self::SecretsManager(_) => EVERY_SECRET,
            Self::Parameter(_) | Self::Parameters(_) => EVERY_PARAMETER,
            Self::File(_) => EVERY_FILE,
        }
    }
}

impl Api {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listen.unwrap_or_else(|| API.into())
    }

    /// How long an answer is given from memory, and how many are kept.
    pub(super) fn cache(&self) -> (Duration, usize) {
        let size = self.cache_size.map_or(API_CACHE, |size| size.get());
        (self.ttl.map_or(API_TTL, |ttl| ttl.0), usize::try_from(size).unwrap_or(usize::MAX))
    }

    /// Roles that secrets are read as.
    pub(super) fn roles_max(&self) -> usize {
        self.roles_max.map_or(ROLES_MAX, |most| usize::try_from(most.get()).unwrap_or(usize::MAX))
    }

    /// How many secrets tags may bring.
    pub(super) fn prefetch_max(&self) -> usize {
        self.prefetch_max.map_or(API_PREFETCH, |most| usize::try_from(most.get()).unwrap_or(usize::MAX))
    }

    /// True if the token stands in the folder of secrets.
    pub(super) fn has_token_in_folder(&self) -> bool {
        self.token.is_none() && self.token_file.is_none()
    }

    /// What the API needs to know; the token is in `folder`, unless the user says. An error for a person.
    pub(super) fn usable(&self, folder: PathBuf) -> Result<ApiSettings, String> {
        let token = match self.token.as_ref().and_then(Token::fixed) {
            Some(token) => token,
            None => {
                let path = self.token_file.clone().unwrap_or_else(|| folder.join("token"));
                Token::open(&path).map_err(|error| chain(&error).to_string())?
            }
        };
        let headers = self.token_headers.clone();
        let headers = headers.unwrap_or_else(|| API_HEADERS.map(str::to_owned).to_vec());
        let headers = headers.iter().map(|name| HeaderName::try_from(name.to_ascii_lowercase()));
        Ok(ApiSettings {
            token: Arc::new(token),
            token_headers: headers.collect::<Result<_, _>>().map_err(|error| error.to_string())?,
            path_prefix: self.path_prefix.clone().unwrap_or_else(|| API_PREFIX.to_owned()),
            connections_max: usize::try_from(self.connections_max.map_or(API_CONNECTIONS, |most| most.get()))
                .unwrap_or(usize::MAX),
        })
    }
}
