//! What a client of the AWS SDK needs of us, so that it is one more user of our HTTP client, clock and credentials.
//!
//! Promises: one request for each call, as with [`Client`](super::Client): signed for its own moment, sent once more only after
//! the time or new credentials were learned; what came of it is a [`Fault`] that [`error`](super::error) made.
//! Never: lets the SDK retry, cache credentials, correct the clock or choose a TLS library; repeats what an answer said that it
//! could not read, for it may be a secret.

use std::{error::Error, future::Future};

use aws_config::{
    BehaviorVersion, Region, SdkConfig, identity::IdentityCache, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::{
    rt::sleep::{SharedAsyncSleep, TokioSleep},
    time::SharedTimeSource,
};
use aws_smithy_runtime_api::{
    client::{orchestrator::HttpResponse, result::SdkError},
    http::Headers,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::{
    Credentials, Endpoint, Fault, FaultKind,
    error::{chain, classify},
    sdk::Bridge,
};
use crate::{
    limits,
    net::http::{Bounds, HttpClient, HttpError},
};

/// Bounds of one request of an SDK client.
const BOUNDS: Bounds = Bounds { time: limits::REQUEST_TIMEOUT, answer_bytes: limits::SECRET_ANSWER_BYTES_MAX };

/// The SDK's client of Secrets Manager, and what is ours around it. Clones share it.
#[derive(Clone, Debug)]
pub struct SdkAccess {
    client: aws_sdk_secretsmanager::Client,
    credentials: Credentials,
}

impl SdkAccess {
    /// To the service at `endpoint`, as `credentials` say.
    pub fn new(endpoint: &Endpoint, credentials: Credentials, http: HttpClient) -> Self {
        let clock = credentials.clock().clone();
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(endpoint.region().to_owned()))
            .endpoint_url(endpoint.to_string())
            .http_client(Bridge { http, clock: clock.clone(), bounds: BOUNDS })
            .credentials_provider(SharedCredentialsProvider::new(credentials.clone()))
            .identity_cache(IdentityCache::no_cache())
            .retry_config(RetryConfig::disabled())
            .timeout_config(TimeoutConfig::disabled())
            .disable_clock_skew_correction(true)
            .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
            .time_source(SharedTimeSource::new(clock))
            .build();
        Self { client: aws_sdk_secretsmanager::Client::new(&config), credentials }
    }

    /// The client, whose every call goes through [`call`](Self::call).
    pub fn client(&self) -> &aws_sdk_secretsmanager::Client {
        &self.client
    }

    /// Makes one call. `send` starts the same request each time.
    pub async fn call<T, E, F>(&self, send: impl Fn() -> F) -> Result<T, Fault>
    where
        E: Error + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let clock = self.credentials.clock();
        let (mut may_set_clock, mut may_renew) = (true, true);
        let mut before: Option<Fault> = None;
        loop {
            let held = self.credentials.get().await.map_err(|fault| before.take().unwrap_or(fault))?;
            let offset = clock.offset_seconds();
            // Boxed: the SDK's future is larger than all of ours together.
            let fault = match Box::pin(send()).await {
                Ok(answer) => return Ok(answer),
                Err(error) => fault(&error),
            };
            if fault.kind != FaultKind::Credentials {
                return Err(fault);
            }
            // The bridge has learned the time already.
            if may_set_clock && fault.may_be_our_clock() && clock.offset_seconds() != offset {
                may_set_clock = false;
            } else if may_renew {
                self.credentials.forget(&held);
                may_renew = false;
            } else {
                return Err(fault);
            }
            before = Some(fault);
        }
    }
}

/// Says what became of a request of the SDK.
fn fault<E: Error + 'static>(error: &SdkError<E, HttpResponse>) -> Fault {
    match error {
        SdkError::ServiceError(refusal) => refused(refusal.raw()),
        SdkError::ResponseError(unread) if unread.raw().status().is_success() => {
            let text = "the answer is none of the service; is there a proxy in between?";
            Fault {
                status: Some(unread.raw().status().as_u16()),
                ..Fault::own(FaultKind::Transient, "unreadable_answer", text)
            }
        }
        SdkError::ResponseError(unread) => refused(unread.raw()),
        unsent => match http_error(unsent) {
            Some(error) => Fault::from(error),
            None => Fault::own(FaultKind::Transient, "cannot_send", &chain(unsent)),
        },
    }
}

fn refused(answer: &HttpResponse) -> Fault {
    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    classify(status, &headers(answer.headers()), answer.body().bytes().unwrap_or_default())
}

fn headers(said: &Headers) -> HeaderMap {
    let pair =
        |(name, value): (&str, &str)| Some((HeaderName::try_from(name).ok()?, HeaderValue::from_str(value).ok()?));
    said.iter().filter_map(pair).collect()
}

/// Our own HTTP client's word on what went wrong, where it is the cause.
fn http_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a HttpError> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        cause = error.source();
    }
    None
}
