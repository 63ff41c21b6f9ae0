//! Sets up the AWS SDK's credential providers, and lets them and the SDK's clients use our HTTP client.
//!
//! Promises: one pool, one TLS configuration, one set of limits for all that leaves the task; what AWS says about the time
//! reaches the [`Clock`].
//! Never: streams; requests and answers are small and whole.

use aws_config::{
    BehaviorVersion, Region, SdkConfig, default_provider::credentials::DefaultCredentialsChain,
    provider_config::ProviderConfig, retry::RetryConfig, sts::AssumeRoleProvider,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::SharedTimeSource,
};
use aws_smithy_runtime_api::client::{
    http::{
        HttpClient as SdkHttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
    },
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
    runtime_components::RuntimeComponents,
};
use bytes::Bytes;
use http::Request;

use super::{Clock, Endpoint, EndpointError, Identity};
use crate::{
    limits,
    net::http::{Bounds, HttpClient, HttpError},
};

/// Bounds of what the credential providers ask.
const PROVIDER_BOUNDS: Bounds = Bounds { time: limits::CREDENTIALS_TIMEOUT, answer_bytes: limits::ANSWER_BYTES_MAX };

/// Where the credentials of an identity are found.
pub(super) struct ProviderChain {
    identity: Identity,
    region: Region,
    sts: Option<Endpoint>,
    bridge: Bridge,
}

/// Our HTTP client, as the SDK wants it.
#[derive(Clone, Debug)]
pub(super) struct Bridge {
    pub(super) http: HttpClient,
    pub(super) clock: Clock,
    pub(super) bounds: Bounds,
}

/// Why a request of the SDK cannot be sent as it is. None of those that we use makes such a request.
#[derive(Debug, thiserror::Error)]
enum BridgeError {
    #[error("the body is a stream")]
    Stream,
    #[error("not a request")]
    Request(#[source] http::Error),
    #[error("not an answer")]
    Answer(#[source] aws_smithy_runtime_api::http::HttpError),
}

impl Bridge {
    /// For credential providers.
    pub(super) fn for_providers(http: HttpClient, clock: Clock) -> Self {
        Self { http, clock, bounds: PROVIDER_BOUNDS }
    }
}

impl ProviderChain {
    pub(super) fn new(identity: &Identity, region: &str, bridge: Bridge) -> Result<Self, EndpointError> {
        let sts = identity.sts_endpoint.as_deref().map(|text| Endpoint::parse(text, None, region)).transpose()?;
        Ok(Self { identity: identity.clone(), region: Region::new(region.to_owned()), sts, bridge })
    }

    /// Variables, profile, web identity, container endpoint, instance metadata: the first that is configured. Then, if
    /// there is a role to assume, STS.
    pub(super) async fn provider(&self) -> SharedCredentialsProvider {
        let settings = ProviderConfig::without_region()
            .with_region(Some(self.region.clone()))
            .with_http_client(self.bridge.clone())
            .with_retry_config(RetryConfig::disabled())
            .with_time_source(self.bridge.clock.clone());
        let mut chain = DefaultCredentialsChain::builder().configure(settings).region(self.region.clone());
        if let Some(profile) = &self.identity.profile {
            chain = chain.profile_name(profile);
        }
        let chain = SharedCredentialsProvider::new(chain.build().await);
        match &self.identity.role_arn {
            None => chain,
            Some(role) => self.assume(role, chain).await,
        }
    }

    async fn assume(&self, role: &str, own: SharedCredentialsProvider) -> SharedCredentialsProvider {
        let mut sdk = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(self.region.clone())
            .http_client(self.bridge.clone())
            .retry_config(RetryConfig::disabled())
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(SharedTimeSource::new(self.bridge.clock.clone()));
        sdk.set_endpoint_url(self.sts.as_ref().map(ToString::to_string));
        let mut role = AssumeRoleProvider::builder(role).session_name("pillion").configure(&sdk.build());
        if let Some(id) = &self.identity.external_id {
            role = role.external_id(id);
        }
        SharedCredentialsProvider::new(role.build_from_provider(own).await)
    }
}

impl SdkHttpClient for Bridge {
    fn http_connector(&self, _: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Bridge {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let bridge = self.clone();
        HttpConnectorFuture::new(async move {
            let request = outgoing(&request).map_err(|error| ConnectorError::user(error.into()))?;
            let answer = bridge.http.send_within(request, bridge.bounds).await.map_err(connector_error)?;
            if answer.status().is_client_error() {
                bridge.clock.learn(answer.headers());
            }
            incoming(answer).map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

fn outgoing(request: &HttpRequest) -> Result<Request<Bytes>, BridgeError> {
    let body = Bytes::copy_from_slice(request.body().bytes().ok_or(BridgeError::Stream)?);
    let mut outgoing = Request::builder().method(request.method()).uri(request.uri());
    for (name, value) in request.headers() {
        outgoing = outgoing.header(name, value);
    }
    outgoing.body(body).map_err(BridgeError::Request)
}

fn incoming(answer: http::Response<Bytes>) -> Result<HttpResponse, BridgeError> {
    let (head, body) = answer.into_parts();
    let status = head.status.as_u16().try_into().map_err(BridgeError::Answer)?;
    let mut incoming = HttpResponse::new(status, body.into());
    for (name, value) in &head.headers {
        // A header that is not text is none of those that are read.
        if let Ok(value) = value.to_str() {
            incoming.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(incoming)
}

fn connector_error(error: HttpError) -> ConnectorError {
    match error {
        HttpError::Timeout { .. } => ConnectorError::timeout(error.into()),
        _ => ConnectorError::io(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use aws_credential_types::{Credentials as Keys, provider::ProvideCredentials};

    use super::*;
    use crate::{
        net::{
            stub::{Stub, answer},
            tls::Tls,
        },
        tell::counters::Counters,
    };

    const ROLE: &str = "arn:aws:iam::123456789012:role/logs";

    fn chain(stub: &Stub) -> ProviderChain {
        let identity = Identity {
            role_arn: Some(ROLE.into()),
            external_id: Some("shop 7".into()),
            sts_endpoint: Some(stub.url()),
            profile: None,
        };
        let bridge = Bridge::for_providers(HttpClient::new(&Tls::new(None), &Counters::new()), Clock::system());
        ProviderChain::new(&identity, "eu-central-1", bridge).expect("an endpoint")
    }

    fn own() -> SharedCredentialsProvider {
        SharedCredentialsProvider::new(Keys::new("AKIDTASK", "SECRET", None, None, "test"))
    }

    /// Proves the bridge and the set-up of STS. Which variables the SDK's own chain reads is not proved here.
    #[tokio::test]
    async fn a_role_is_assumed_over_our_own_http_client() {
        let body = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
            <Credentials><AccessKeyId>AKIDROLE</AccessKeyId><SecretAccessKey>S</SecretAccessKey>\
            <SessionToken>T</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>\
            </AssumeRoleResult></AssumeRoleResponse>";
        let stub = Stub::answering([answer("200 OK", "content-type: text/xml\r\n", body)]);
        let keys = chain(&stub).assume(ROLE, own()).await.provide_credentials().await.expect("credentials");
        assert_eq!((keys.access_key_id(), keys.session_token()), ("AKIDROLE", Some("T")));

        let [seen] = &stub.seen()[..] else { panic!("one request") };
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        for field in [
            "Action=AssumeRole",
            "RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Flogs",
            "RoleSessionName=pillion",
            "ExternalId=shop%207",
        ] {
            assert!(form.split('&').any(|f| f == field), "{field} in {form}");
        }
        let signed = "Credential=AKIDTASK/";
        assert!(seen.header("authorization").is_some_and(|a| a.contains(signed)), "{seen:?}");
    }

    #[tokio::test]
    async fn a_refused_role_is_one_request_and_teaches_the_time() {
        let body =
            "<ErrorResponse><Error><Code>AccessDenied</Code><Message>not yours</Message></Error></ErrorResponse>";
        let headers = "date: Fri, 01 Jan 2100 00:00:00 GMT\r\n";
        let stub = Stub::answering([answer("403 Forbidden", headers, body), answer("403 Forbidden", headers, body)]);
        let chain = chain(&stub);
        for asked in 1..=2 {
            let error = chain.assume(ROLE, own()).await.provide_credentials().await.expect_err("refused");
            assert!(crate::aws::error::chain(&error).contains("not yours"), "{error:?}");
            assert_eq!(stub.seen().len(), asked, "the SDK does not retry");
        }
        // So far off that it takes two answers; see `Clock`.
        assert!(chain.bridge.clock.offset_seconds() > 0);
    }

    #[test]
    fn an_sts_endpoint_that_is_none_is_refused_at_start() {
        let identity = Identity { sts_endpoint: Some("http://169.254.169.254".into()), ..Identity::default() };
        let bridge = Bridge::for_providers(HttpClient::new(&Tls::new(None), &Counters::new()), Clock::system());
        let refused = ProviderChain::new(&identity, "eu-central-1", bridge).err();
        assert_eq!(refused, Some(EndpointError::LinkLocal("169.254.169.254".into())));
    }
}
