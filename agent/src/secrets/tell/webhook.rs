//! A web address on this host that is told by a POST.
//!
//! Promises: 2xx means heard; anything else, and no answer in time, does not.
//! Never: sends anything but the number of the generation and version ids; goes to another host.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};

use super::{Generation, Unheard};
use crate::{net::http::HttpClient, secrets::settings, tell::chain};

/// How long it may take to answer, if nobody says.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Calls one address.
pub(super) struct Caller {
    url: String,
    timeout: Duration,
    http: HttpClient,
}

impl Caller {
    pub(super) fn new(webhook: &settings::Webhook, http: HttpClient) -> Self {
        Self { url: webhook.url.clone(), timeout: webhook.timeout.map_or(TIMEOUT, |timeout| timeout.0), http }
    }

    pub(super) async fn call(&self, generation: &Generation) -> Result<(), Unheard> {
        let body = serde_json::to_vec(generation).map_err(|error| Unheard(error.to_string()))?;
        let request = Request::post(&self.url)
            .header(header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body))
            .map_err(|error| Unheard(error.to_string()))?;
        let answer = self.http.send(request, self.timeout).await.map_err(|error| Unheard(chain(&error).to_string()))?;
        if answer.status().is_success() { Ok(()) } else { Err(Unheard(format!("answered with {}", answer.status()))) }
    }
}
