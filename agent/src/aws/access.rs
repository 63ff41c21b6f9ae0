//! What all outputs share to speak to AWS: the HTTP client, the clock, and one set of credentials per identity.
//!
//! Promises: outputs with the same identity and region share credentials, so that they are fetched once.
//! Never: connects; the first call does.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Client, Clock, Credentials, Endpoint, EndpointError, Identity, SdkAccess, Settings};
use crate::{
    net::{http::HttpClient, tls::Tls},
    tell::counters::Counters,
};

/// The way to AWS.
pub struct Access {
    region: Option<String>,
    http: HttpClient,
    clock: Clock,
    credentials: Mutex<HashMap<(Identity, String), Credentials>>,
}

impl Access {
    /// As `settings` say. Counts the connections that cannot be made.
    pub fn new(settings: &Settings, counters: &Counters) -> Self {
        let tls = Tls::new(settings.ca_bundle.clone());
        Self {
            region: settings.region.clone(),
            http: HttpClient::new(&tls, counters),
            clock: Clock::system(),
            credentials: Mutex::default(),
        }
    }

    /// The region of outputs that name none, if the environment says one.
    pub fn region(&self) -> Option<&str> {
        self.region.as_deref()
    }

    /// The HTTP client, for what is not signed.
    pub fn http(&self) -> &HttpClient {
        &self.http
    }

    /// A client of `service` in `region`, at `endpoint` if one is given, as `identity`.
    pub fn client(
        &self,
        service: &'static str,
        region: &str,
        endpoint: Option<&str>,
        identity: &Identity,
    ) -> Result<Client, EndpointError> {
        let endpoint = at(service, region, endpoint)?;
        Ok(Client::new(service, endpoint, self.credentials(identity, region)?, self.http.clone()))
    }

    /// The same for a client of the AWS SDK.
    pub fn sdk(
        &self,
        service: &str,
        region: &str,
        endpoint: Option<&str>,
        identity: &Identity,
    ) -> Result<SdkAccess, EndpointError> {
        let endpoint = at(service, region, endpoint)?;
        Ok(SdkAccess::new(&endpoint, self.credentials(identity, region)?, self.http.clone()))
    }

    fn credentials(&self, identity: &Identity, region: &str) -> Result<Credentials, EndpointError> {
        let mut known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (identity.clone(), region.to_owned());
        if let Some(credentials) = known.get(&key) {
            return Ok(credentials.clone());
        }
        let credentials = Credentials::new(identity, region, &self.http, self.clock.clone())?;
        known.insert(key, credentials.clone());
        Ok(credentials)
    }
}

fn at(service: &str, region: &str, endpoint: Option<&str>) -> Result<Endpoint, EndpointError> {
    match endpoint {
        Some(text) => Endpoint::parse(text, None, region),
        None => Endpoint::of(service, region),
    }
}
