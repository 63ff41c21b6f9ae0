//! Signs requests with `aws-sigv4`.
//!
//! Promises: whole requests, ready to be written to a socket.
//! Never: shares code with the check on the other side.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use tests::fake_aws::REGION;

/// Access key, secret, token.
pub(crate) type Keys<'a> = (&'a str, &'a str, Option<&'a str>);

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A request to CloudWatch Logs, signed at `at` seconds since 1970.
pub(crate) fn request(port: u16, operation: &str, body: &str, at: u64, keys: Keys<'_>) -> Vec<u8> {
    to_service(port, ("logs", &format!("Logs_20140328.{operation}")), body, at, keys)
}

/// The same to any service, for this target.
pub(crate) fn to_service(
    port: u16,
    (service, target): (&str, &str),
    body: &str,
    at: u64,
    (key, secret, token): Keys<'_>,
) -> Vec<u8> {
    let identity = Credentials::new(key, secret, token.map(str::to_owned), None, "test").into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name(service)
        .time(UNIX_EPOCH + Duration::from_secs(at))
        .settings(SigningSettings::default())
        .build()
        .unwrap();
    let host = format!("127.0.0.1:{port}");
    let headers = [("content-type", "application/x-amz-json-1.1"), ("host", host.as_str()), ("x-amz-target", target)];
    let uri = format!("http://{host}/");
    let signable =
        SignableRequest::new("POST", uri.as_str(), headers.into_iter(), SignableBody::Bytes(body.as_bytes())).unwrap();
    let (instructions, _) = sign(signable, &parameters.into()).unwrap().into_parts();
    let mut text = format!("POST / HTTP/1.1\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers.into_iter().chain(instructions.headers()) {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    format!("{text}\r\n{body}").into_bytes()
}
