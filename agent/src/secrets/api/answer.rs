//! What is answered: the body of a secret, made once for each version, and refusals.
//!
//! Promises: bodies have the members of the original, in its order; what holds a value is allocated once, at its size, and
//! wiped when the last reader has it. What hyper copies into its own buffer is not.
//! Never: shows a body in `Debug`.

use std::{fmt, io::Write as _};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{AGE, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use http_body_util::{Either, Full};
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Ask, Given, Kind, events::EventStream};
use crate::secrets::{
    source::{SourceFault, SourceFaultKind},
    value::{Content, Version},
};

const VERSION: HeaderName = HeaderName::from_static("x-secret-version");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");

/// The body of an answer.
pub(super) type Body = Either<Full<Bytes>, EventStream>;

/// The answer for one version of a secret.
pub struct Answer {
    body: Bytes,
    /// What the service calls it, and the version.
    of: (Box<str>, Box<str>),
    version: Option<HeaderValue>,
    tag: Option<HeaderValue>,
    /// What stands between `age` and `date` in the head of HTTP/1.1.
    after_age: Box<[u8]>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({:?}, ..)", self.version)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SecretBody<'a> {
    #[serde(rename = "ARN")]
    arn: Option<&'a str>,
    name: Option<&'a str>,
    version_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_string: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_binary: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    version_stages: &'a [String],
    created_date: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterBody<'a> {
    parameter: ParameterInner<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ParameterInner<'a> {
    #[serde(rename = "ARN")]
    arn: Option<&'a str>,
    last_modified_date: Option<&'a str>,
    name: &'a str,
    value: &'a str,
    version: serde_json::Value,
}

impl Answer {
    /// The answer to `ask` with a version of what the service calls `id`.
    pub(super) fn new(ask: &Ask, id: &str, version: &Version) -> Result<Self, Refusal> {
        let arn = Some(id).filter(|id| id.starts_with("arn:"));
        let encoded;
        let (text, binary) = match &version.content {
            Content::Text(value) => (Some(value.expose_text().ok_or_else(Refusal::broken)?), None),
            Content::Binary(value) => {
                encoded = base64(value.expose());
                (None, Some(std::str::from_utf8(&encoded).map_err(|_| Refusal::broken())?))
            }
        };
        let body = match ask.kind {
            Kind::Secret => written(&SecretBody {
                arn,
                name: arn.map_or(Some(id), name_in_arn),
                version_id: &version.id,
                secret_string: text,
                secret_binary: binary,
                version_stages: &version.stages,
                created_date: version.created.as_deref(),
            }),
            Kind::Parameter | Kind::SealedParameter => written(&ParameterBody {
                parameter: ParameterInner {
                    arn,
                    last_modified_date: version.created.as_deref(),
                    name: arn.and_then(parameter_in_arn).unwrap_or(id),
                    value: text.or(binary).unwrap_or_default(),
                    version: version.id.parse::<i64>().map_or_else(|_| version.id.as_str().into(), Into::into),
                },
            }),
        };
        let quotable = version.id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"');
        let header = |text: &str| HeaderValue::from_str(text).ok().filter(|_| quotable);
        let of = (id.into(), version.id.as_str().into());
        let (version, tag) = (header(&version.id), header(&format!("\"{}\"", version.id)));
        let mut after_age = Vec::new();
        if let (Some(version), Some(tag)) = (&version, &tag) {
            let lines = [&b"\r\nx-secret-version: "[..], version.as_bytes(), b"\r\netag: ", tag.as_bytes()];
            after_age.extend(lines.concat());
        }
        after_age.extend(format!("\r\ncontent-length: {}\r\ndate: ", body.len()).into_bytes());
        Ok(Self { body: Bytes::from_owner(body), of, version, tag, after_age: after_age.into() })
    }

    /// What the service calls it, and the version.
    pub fn of(&self) -> (&str, &str) {
        (&self.of.0, &self.of.1)
    }

    /// What is sent.
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

/// `arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME-6characters`.
fn name_in_arn(arn: &str) -> Option<&str> {
    arn.splitn(7, ':').nth(6)?.rsplit_once('-').map(|(name, _)| name)
}

/// `arn:aws:ssm:REGION:ACCOUNT:parameter/NAME`, where a name with more than one part begins with `/`.
fn parameter_in_arn(arn: &str) -> Option<&str> {
    let path = arn.splitn(6, ':').nth(5)?.strip_prefix("parameter")?;
    if path[1.min(path.len())..].contains('/') { Some(path) } else { path.strip_prefix('/') }
}

/// JSON in a buffer that never grows, since growing leaves copies behind.
fn written(body: &impl Serialize) -> Zeroizing<Vec<u8>> {
    let mut counted = Counter(0);
    let mut bytes = Zeroizing::new(Vec::new());
    // Neither can fail: there are no maps, and the writers take everything.
    if serde_json::to_writer(&mut counted, body).is_ok() {
        bytes.reserve_exact(counted.0);
        let _ = serde_json::to_writer(&mut *bytes, body);
    }
    bytes
}

struct Counter(usize);

impl std::io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn base64(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = Zeroizing::new(Vec::with_capacity(bytes.len().div_ceil(3) * 4));
    for group in bytes.chunks(3) {
        let at = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for letter in 0..4 {
            let index = (bits >> (18 - 6 * letter)) as usize & 63;
            text.push(if letter <= group.len() { LETTERS[index] } else { b'=' });
        }
    }
    text
}

/// Why there is no answer, as AWS says it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// The status.
    pub status: u16,
    /// `__type`.
    pub code: String,
    /// `message`. No value.
    pub message: String,
}

#[derive(Serialize)]
struct RefusalBody<'a> {
    #[serde(rename = "__type")]
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

impl Refusal {
    /// A refusal.
    pub fn new(status: u16, code: &str, message: &str) -> Self {
        Self { status, code: code.to_owned(), message: message.to_owned() }
    }

    /// The service did not answer in time.
    pub(super) fn late() -> Self {
        Self::new(504, "TimeoutError", "Timeout")
    }

    /// The service's answer makes no sense.
    pub(super) fn broken() -> Self {
        Self::new(502, "ConnectionError", "Response Error")
    }

    /// A bug of ours.
    pub(super) fn internal() -> Self {
        Self::new(500, "InternalFailure", "")
    }
}

impl From<&SourceFault> for Refusal {
    fn from(fault: &SourceFault) -> Self {
        let (status, code) = match fault.kind {
            SourceFaultKind::Transient => (502, "ConnectionError"),
            SourceFaultKind::Throttled => (400, "ThrottlingException"),
            SourceFaultKind::Denied => (403, "AccessDeniedException"),
            SourceFaultKind::Missing => (400, "ResourceNotFoundException"),
            SourceFaultKind::Invalid => {
                return fault.status.map_or_else(Self::broken, |status| Self::of(fault, status));
            }
        };
        let status = fault.status.filter(|status| *status >= 400).unwrap_or(status);
        Self { code: fault.code.clone().unwrap_or_else(|| code.to_owned()), ..Self::of(fault, status) }
    }
}

impl Refusal {
    fn of(fault: &SourceFault, status: u16) -> Self {
        let code = fault.code.clone().unwrap_or_else(|| "InvalidRequestException".to_owned());
        // An answer of 200 that makes no sense is an error all the same.
        Self { status: status.max(400), code, message: fault.what.clone() }
    }
}

/// A plain text, as the original says it.
pub(super) fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Body> {
    of(status, TEXT, body.into())
}

/// JSON that holds no value.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response<Body> {
    serde_json::to_vec(body).map_or_else(|_| refusal(&Refusal::internal()), |bytes| of(status, JSON, bytes.into()))
}

/// An error of the service.
pub(super) fn refusal(refusal: &Refusal) -> Response<Body> {
    let Refusal { status, code, message } = refusal;
    let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if message.is_empty() {
        return json(status, &RefusalBody { code: "InternalFailure", message: None });
    }
    json(status, &RefusalBody { code, message: Some(message) })
}

/// A secret, or 304 if the caller has this version.
pub(super) fn secret(given: &Given, asked: &HeaderMap) -> Response<Body> {
    let Given { answer, age } = given;
    let known = answer.tag.as_ref().is_some_and(|tag| asked.get_all(IF_NONE_MATCH).iter().any(|list| has(list, tag)));
    let mut response = if known {
        let mut response = Response::new(Either::Left(Full::default()));
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        of(StatusCode::OK, JSON, answer.body.clone())
    };
    let headers = response.headers_mut();
    headers.insert(AGE, HeaderValue::from(age.as_secs()));
    if let (Some(version), Some(tag)) = (&answer.version, &answer.tag) {
        headers.insert(VERSION, version.clone());
        headers.insert(ETAG, tag.clone());
    }
    response
}

/// Writes the head of [`secret`]'s answer to a caller who has no version, as hyper does. The body follows it.
pub(super) fn begin(given: &Given, date: &str, head: &mut Vec<u8>) {
    head.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nage: ");
    // Writing to a Vec cannot fail.
    let _ = write!(head, "{}", given.age.as_secs());
    head.extend_from_slice(&given.answer.after_age);
    head.extend_from_slice(date.as_bytes());
    head.extend_from_slice(b"\r\n\r\n");
}

/// True if a list of tags, weak or strong, has this one.
fn has(list: &HeaderValue, tag: &HeaderValue) -> bool {
    list.as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .any(|other| other == b"*" || other.strip_prefix(b"W/").unwrap_or(other) == tag.as_bytes())
}

fn of(status: StatusCode, kind: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
