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
use http::{
    Request,
    header::{AUTHORIZATION, ToStrError},
};

use crate::net::pieces::PIECE_BYTES;

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

/// The SHA-256 of a body in lower-case hexadecimal. Others have their turn between its pieces.
pub async fn sha256_hex(body: &[u8]) -> String {
    let mut hash = digest::Context::new(&digest::SHA256);
    for (number, piece) in body.chunks(PIECE_BYTES).enumerate() {
        if number > 0 {
            tokio::task::yield_now().await;
        }
        hash.update(piece);
    }
    let hash = hash.finish();
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
    if let Some(authorization) = request.headers_mut().get_mut(AUTHORIZATION) {
        authorization.set_sensitive(true);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use aws_credential_types::Credentials;
    use hmac::{Hmac, Mac};
    use sha2::{Digest, Sha256};

    use super::*;

    const TOKEN: &str = "IQoJb3JpZ2luX2VjEXAMPLE//////////wEaDGV1LWNlbnRyYWwtMSJ==";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    /// 2023-11-14T22:13:20Z.
    fn scope() -> Scope<'static> {
        let time = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Scope { service: "logs", region: "eu-central-1", time }
    }

    fn identity() -> Identity {
        Credentials::new("AKIDEXAMPLE", SECRET, Some(TOKEN.into()), None, "test").into()
    }

    fn request() -> Request<Bytes> {
        Request::post("https://logs.eu-central-1.amazonaws.com/")
            .header("host", "logs.eu-central-1.amazonaws.com")
            .header("user-agent", "pillion/0.0.0")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", "Logs_20140328.PutLogEvents")
            .header("x-amzn-logs-format", "json/emf")
            .body(Bytes::from_static(br#"{"logGroupName":"a"}"#))
            .expect("a request")
    }

    fn hmac(key: &[u8], text: &str) -> Vec<u8> {
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("any length will do");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The signature by the steps that AWS's documentation gives, with other implementations of the hashes.
    #[tokio::test]
    async fn a_request_is_signed_as_aws_documents_it() {
        let mut signed = request();
        let hash = sha256_hex(signed.body()).await;
        assert_eq!(hash, hex(&Sha256::digest(br#"{"logGroupName":"a"}"#)));
        sign(&mut signed, hash.clone(), &identity(), scope()).expect("signed");

        let names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target;x-amzn-logs-format";
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/x-amz-json-1.1\nhost:logs.eu-central-1.amazonaws.com\n\
             x-amz-date:20231114T221320Z\nx-amz-security-token:{TOKEN}\nx-amz-target:Logs_20140328.PutLogEvents\n\
             x-amzn-logs-format:json/emf\n\n{names}\n{hash}"
        );
        let credential = "20231114/eu-central-1/logs/aws4_request";
        let to_sign =
            format!("AWS4-HMAC-SHA256\n20231114T221320Z\n{credential}\n{}", hex(&Sha256::digest(canonical.as_bytes())));
        let key = ["20231114", "eu-central-1", "logs", "aws4_request"]
            .iter()
            .fold(format!("AWS4{SECRET}").into_bytes(), |key, part| hmac(&key, part));
        let signature = hex(&hmac(&key, &to_sign));

        assert_eq!(signed.headers()["x-amz-date"], "20231114T221320Z");
        assert_eq!(signed.headers()["x-amz-security-token"], TOKEN);
        assert_eq!(
            signed.headers()["authorization"],
            format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/{credential}, SignedHeaders={names}, Signature={signature}"
            )
        );
    }

    #[tokio::test]
    async fn what_is_secret_is_not_shown() {
        let mut signed = request();
        let hash = sha256_hex(signed.body()).await;
        sign(&mut signed, hash, &identity(), scope()).expect("signed");
        let shown = format!("{signed:?}");
        assert!(!shown.contains(TOKEN) && !shown.contains("Signature="), "{shown}");
    }

    #[test]
    fn a_header_that_is_not_text_cannot_be_signed() {
        let mut bad = request();
        bad.headers_mut().insert("x-bad", http::HeaderValue::from_bytes(b"\xff").expect("a header value"));
        let error = sign(&mut bad, String::new(), &identity(), scope()).expect_err("no signature");
        assert_eq!(error.to_string(), "a header is not text");
    }
}
