//! What all outputs share to speak to AWS: the HTTP client, the clock, and one set of credentials per identity.
//!
//! Promises: outputs with the same identity and region share credentials, so that they are fetched once.
//! Never: connects; the first call does.

use std::{
    borrow::Cow,
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{Client, Clock, Credentials, Endpoint, EndpointError, Identity, SdkAccess, Settings};
use crate::{
    net::{http::HttpClient, tls::Tls},
    tell::counters::Counters,
};

/// Clients of the SDK that are kept to be shared. Who asks the local API for an ARN names its region, whichever that is.
const SDK_CLIENTS_MAX: usize = 64;

/// The way to AWS.
pub struct Access {
    region: Option<String>,
    /// Of services that name none of their own.
    endpoint: Option<String>,
    sts_endpoint: Option<String>,
    http: HttpClient,
    clock: Clock,
    credentials: Mutex<HashMap<(Identity, String), Credentials>>,
    /// Clients of the SDK, by region, endpoint and identity. One is tens of kilobytes, and there may be a thousand secrets.
    sdk: Mutex<HashMap<Place, SdkAccess>>,
}

/// What clients of one service differ in.
#[derive(PartialEq, Eq, Hash)]
struct Place {
    identity: Identity,
    region: String,
    endpoint: Option<String>,
}

impl Access {
    /// As `settings` say. Counts the connections that cannot be made.
    pub fn new(settings: &Settings, counters: &Counters) -> Self {
        let tls = Tls::new(settings.ca_bundle.clone());
        Self {
            region: settings.region.clone(),
            endpoint: settings.endpoint.clone(),
            sts_endpoint: settings.sts_endpoint.clone(),
            http: HttpClient::new(&tls, counters),
            clock: Clock::system(),
            credentials: Mutex::default(),
            sdk: Mutex::default(),
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

    /// The HTTP client for gRPC, which speaks HTTP/2 from the first byte.
    pub fn http2(&self) -> HttpClient {
        self.http.http2()
    }

    /// A client of `service` in `region`, at `endpoint` if one is given, as `identity`.
    pub fn client(
        &self,
        service: impl Into<Cow<'static, str>>,
        region: &str,
        endpoint: Option<&str>,
        identity: &Identity,
    ) -> Result<Client, EndpointError> {
        let service = service.into();
        let endpoint = at(&service, region, endpoint.or(self.endpoint.as_deref()))?;
        Ok(Client::new(service, endpoint, self.credentials(identity, region)?, self.http.clone()))
    }

    /// The SDK's client of Secrets Manager, the same for the same region, endpoint and identity.
    pub fn secrets_manager(
        &self,
        region: &str,
        endpoint: Option<&str>,
        identity: &Identity,
    ) -> Result<SdkAccess, EndpointError> {
        let place =
            Place { identity: identity.clone(), region: region.to_owned(), endpoint: endpoint.map(str::to_owned) };
        let mut known = self.sdk.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(access) = known.get(&place) {
            return Ok(access.clone());
        }
        let endpoint = at("secretsmanager", region, endpoint.or(self.endpoint.as_deref()))?;
        if known.len() >= SDK_CLIENTS_MAX {
            // Whoever uses one has it still.
            known.clear();
        }
        let access = SdkAccess::new(&endpoint, self.credentials(identity, region)?, self.http.clone());
        known.insert(place, access.clone());
        Ok(access)
    }

    fn credentials(&self, identity: &Identity, region: &str) -> Result<Credentials, EndpointError> {
        let mut known = self.credentials.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (identity.clone(), region.to_owned());
        if let Some(credentials) = known.get(&key) {
            return Ok(credentials.clone());
        }
        let mut identity = identity.clone();
        let general = self.sts_endpoint.as_ref().or(self.endpoint.as_ref());
        identity.sts_endpoint = identity.sts_endpoint.or_else(|| general.cloned());
        let credentials = Credentials::new(&identity, region, &self.http, self.clock.clone())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    /// As with AWS's own SDKs: one address for all services, unless one has its own.
    #[test]
    fn an_endpoint_for_all_counts_where_none_is_named() {
        let settings = Settings { endpoint: Some("http://127.0.0.1:5000".to_owned()), ..Settings::default() };
        let access = Access::new(&settings, &Counters::new());
        let address = |endpoint| {
            let client = access.client("logs", "eu-central-1", endpoint, &Identity::default()).expect("an endpoint");
            client.endpoint().to_string()
        };
        assert_eq!(address(None), "http://127.0.0.1:5000/");
        assert_eq!(address(Some("http://127.0.0.1:6000")), "http://127.0.0.1:6000/");
    }

    /// Two hundred secrets had two hundred clients, which were 18 MB. The number of shared ones has a bound too.
    #[test]
    fn clients_of_the_sdk_are_shared_and_bounded() {
        let access = Access::new(&Settings::default(), &Counters::new());
        let kept = || access.sdk.lock().expect("not poisoned").len();
        let role = Identity { role_arn: Some("arn:aws:iam::123456789012:role/r".to_owned()), ..Identity::default() };
        for _ in 0..200 {
            access.secrets_manager("eu-central-1", None, &Identity::default()).expect("a region");
            access.secrets_manager("eu-central-1", None, &role).expect("a region");
        }
        assert_eq!(kept(), 2);
        for number in 0..1_000 {
            access.secrets_manager(&format!("made-up-{number}"), None, &role).expect("a region");
            assert!(kept() <= SDK_CLIENTS_MAX);
        }
        assert!(access.secrets_manager("no region", None, &role).is_err());
    }
}
