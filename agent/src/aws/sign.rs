//! Signature Version 4 over requests whose body is hashed once.
//!
//! Promises: everything that AWS requires is signed, and every header the caller gives; the hash is aws-lc's SHA-256.
//! Never: shows a credential, or changes the body.

use std::{fmt::Write, time::SystemTime};

use aws_lc_rs::digest;
use aws_sigv4::{
    http_request::{self, SignableBody, SignableRequest, SigningError, SigningSettings},
    sign::v4::{SigningParams, signing_params::BuildError},
};
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::{Request, header::ToStrError};

/// What a signature is valid for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scope<'a> {
    pub(super) service: &'a str,
    pub(super) region: &'a str,
    pub(super) time: SystemTime,
}

/// Why a request cannot be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    #[error("a header is not text")]
    Header(#[source] ToStrError),
    #[error("the signature lacks a part")]
    Parameters(#[source] BuildError),
    #[error("the request cannot be signed")]
    Request(#[source] SigningError),
}

/// The SHA-256 of a body in lower-case hexadecimal.
pub(super) fn sha256_hex(body: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, body);
    hash.as_ref().iter().fold(String::with_capacity(64), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes all that fits in memory");
        text
    })
}

/// Adds the headers `x-amz-date`, `x-amz-security-token` if there is one, and `authorization`.
pub(super) fn sign(
    request: &mut Request<Bytes>,
    body_sha256: String,
    identity: &Identity,
    scope: Scope<'_>,
) -> Result<(), SignError> {
    let parameters = SigningParams::builder()
        .identity(identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time)
        .settings(SigningSettings::default())
        .build()
        .map_err(SignError::Parameters)?
        .into();
    let headers = request.headers().iter().map(|(name, value)| Ok((name.as_str(), value.to_str()?)));
    let headers = headers.collect::<Result<Vec<_>, _>>().map_err(SignError::Header)?;
    let signable = SignableRequest::new(
        request.method().as_str(),
        request.uri().to_string(),
        headers.into_iter(),
        SignableBody::Precomputed(body_sha256),
    );
    let signed = http_request::sign(signable.map_err(SignError::Request)?, &parameters).map_err(SignError::Request)?;
    signed.into_parts().0.apply_to_request_http1x(request);
    Ok(())
}
