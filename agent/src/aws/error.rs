//! The ONE place that says what an answer of AWS means.
//!
//! Promises: every answer that is not a success becomes a [`Fault`] of one kind, whatever is in it (JSON, XML, a proxy's
//! HTML, nothing, garbage); what we do not know is [`FaultKind::Transient`], so that no record is given up because of a
//! code we have not heard of: `deliver` gives up by age, and says so. Texts from outside are short, one line, without
//! control characters.
//! Never: keeps more than the first line of a message: a refused signature's further lines repeat the request, session
//! token included.

use std::{borrow::Cow, time::Duration};

use http::{HeaderMap, HeaderValue, StatusCode, header::DATE, header::RETRY_AFTER};
use serde_json::Value;

use super::clock;
use crate::net::http::HttpError;

/// The longest wait that an answer can make us take.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);
/// Bytes of a message that are kept.
const MESSAGE_BYTES_MAX: usize = 256;
/// Bytes of an error code. The longest of CloudWatch Logs has 38.
const CODE_BYTES_MAX: usize = 96;

/// Why a call did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Fault {
    /// What to do about it.
    pub kind: FaultKind,
    /// The service's own word (`ThrottlingException`), or ours in lower case (`no_answer`). Never empty.
    pub code: String,
    /// What the service says, or what happened: one line of at most 256 bytes.
    pub message: String,
    /// How long to wait at least, at most [`RETRY_AFTER_MAX`].
    pub retry_after: Option<Duration>,
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// Too much at once: send later, and less often.
    Throttled,
    /// Not done, for a reason that may pass: send again.
    Transient,
    /// Perhaps done: the answer is missing. Sending again can make duplicates.
    Ambiguous,
    /// No credentials, or the service does not accept them. Send again when there are others.
    Credentials,
    /// The identity may not do this. Send again rarely: someone must change a policy.
    Denied,
    /// What the request names does not exist.
    NotFound,
    /// What the request would make is there already.
    AlreadyExists,
    /// The request is larger than the service takes: split it.
    TooLarge,
    /// The service will never take this request. A batch holds a record that must be found and refused.
    Invalid,
}

use FaultKind::{AlreadyExists, Credentials, Denied, Invalid, NotFound, Throttled, Transient};

/// Codes that we know, without `Exception` at their end. Sorted by kind; each occurs once.
const CODES: &[(&str, FaultKind)] = &[
    ("LimitExceeded", Throttled), // on creates: too many at once; the account's own limit looks the same and may be raised
    ("ProvisionedThroughputExceeded", Throttled),
    ("RequestLimitExceeded", Throttled),
    ("RequestThrottled", Throttled),
    ("SlowDown", Throttled),
    ("Throttled", Throttled),
    ("Throttling", Throttled),
    ("TooManyRequests", Throttled),
    ("InternalFailure", Transient),
    ("InternalServer", Transient),
    ("InternalServerError", Transient),
    ("OperationAborted", Transient),
    ("RequestTimeout", Transient),
    ("ServiceUnavailable", Transient),
    ("ExpiredToken", Credentials),
    ("IncompleteSignature", Credentials),
    ("InvalidAccessKeyId", Credentials),
    ("InvalidClientTokenId", Credentials),
    ("InvalidSignature", Credentials),
    ("InvalidToken", Credentials),
    ("MissingAuthenticationToken", Credentials),
    ("RequestExpired", Credentials),
    ("RequestTimeTooSkewed", Credentials),
    ("SignatureDoesNotMatch", Credentials),
    ("TokenRefreshRequired", Credentials),
    ("UnrecognizedClient", Credentials),
    ("AccessDenied", Denied),
    ("NotAuthorized", Denied),
    ("OptInRequired", Denied),
    ("UnauthorizedOperation", Denied),
    ("ResourceNotFound", NotFound),
    ("DataAlreadyAccepted", AlreadyExists), // PutLogEvents before 2023: this batch was taken already
    ("ResourceAlreadyExists", AlreadyExists),
    ("RequestEntityTooLarge", FaultKind::TooLarge),
    ("InvalidParameter", Invalid),
    ("InvalidParameterCombination", Invalid),
    ("InvalidParameterValue", Invalid),
    ("InvalidRequest", Invalid),
    ("Serialization", Invalid),
    ("Validation", Invalid),
    ("ValidationError", Invalid),
];

/// Codes that a wrong clock causes. They may have other causes; [`clock::Clock::learn`] decides.
const CLOCK_CODES: &[&str] = &["InvalidSignature", "RequestExpired", "RequestTimeTooSkewed", "SignatureDoesNotMatch"];

impl FaultKind {
    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
            Self::Credentials => "credentials",
            Self::Denied => "denied",
            Self::NotFound => "not_found",
            Self::AlreadyExists => "already_exists",
            Self::TooLarge => "too_large",
            Self::Invalid => "invalid",
        }
    }
}

impl Fault {
    /// A fault that the service did not tell us itself. `code` is ours, in lower case.
    pub(super) fn own(kind: FaultKind, code: &str, message: &str) -> Self {
        Self { kind, code: code.to_owned(), message: one_line(message), retry_after: None }
    }

    /// True if the reason may be that our clock is wrong.
    pub(super) fn may_be_our_clock(&self) -> bool {
        CLOCK_CODES.contains(&stem(&self.code))
    }
}

/// Says what a request without a whole answer means.
impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        let kind = match error.status() {
            Some(status) if !status.is_success() => by_status(status),
            _ if error.may_have_arrived() => FaultKind::Ambiguous,
            _ => Transient,
        };
        let code = match &error {
            HttpError::Tls(_) | HttpError::Connect { .. } => "no_connection",
            HttpError::Timeout { .. } => "timeout",
            HttpError::Broken { .. } | HttpError::BrokenAnswer { .. } => "broken_connection",
            HttpError::TooLarge { .. } => "answer_too_large",
        };
        Self::own(kind, code, &chain(&error))
    }
}

/// Says what an answer means that is not a success, or only looks like one.
pub fn classify(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Fault {
    let Said { code, message } = Said::find(headers, body);
    let known = code.as_deref().map(stem).and_then(|code| CODES.iter().find(|(known, _)| *known == code));
    let kind = match known {
        _ if status == StatusCode::PAYLOAD_TOO_LARGE => FaultKind::TooLarge,
        Some((_, Invalid)) if message.contains("Upload too large") => FaultKind::TooLarge,
        Some((_, kind)) => *kind,
        None => by_status(status),
    };
    let code = code.unwrap_or_else(|| format!("status_{}", status.as_u16()));
    let message = one_line(&message);
    Fault { kind, code, message, retry_after: retry_after(headers) }
}

/// The meaning of a status alone: from somebody between us and AWS, with a code we do not know, or without a word. A bare
/// 404 is no proof that a resource is missing, and a bare 400 none that a record is bad.
fn by_status(status: StatusCode) -> FaultKind {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => FaultKind::TooLarge,
        StatusCode::TOO_MANY_REQUESTS => Throttled,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Denied,
        _ => Transient,
    }
}

/// What an answer says about the error.
struct Said {
    code: Option<String>,
    message: String,
}

impl Said {
    fn find(headers: &HeaderMap, body: &[u8]) -> Self {
        let header = headers.get("x-amzn-errortype").and_then(|value| value.to_str().ok()).and_then(clean_code);
        let (code, message) = match body.trim_ascii_start().first() {
            Some(b'{') => from_json(body),
            Some(b'<') => from_xml(&String::from_utf8_lossy(body)),
            _ => (None, String::new()),
        };
        Self { code: header.or(code), message }
    }
}

fn from_json(body: &[u8]) -> (Option<String>, String) {
    let Ok(Value::Object(fields)) = serde_json::from_slice(body) else {
        return (None, String::new());
    };
    let text = |names: &[&str]| names.iter().find_map(|name| fields.get(*name).and_then(Value::as_str));
    let code = text(&["__type", "code", "Code"]).and_then(clean_code);
    (code, text(&["message", "Message", "errorMessage"]).unwrap_or_default().to_owned())
}

fn from_xml(body: &str) -> (Option<String>, String) {
    let between = |open: &str, close: &str| body.split_once(open)?.1.split_once(close).map(|(text, _)| text);
    let code = between("<Code>", "</Code>").and_then(clean_code);
    let message = if code.is_some() { between("<Message>", "</Message>").unwrap_or_default() } else { "" };
    (code, message.to_owned())
}

/// `com.amazonaws.logs#ThrottlingException:http://internal...` is `ThrottlingException`. What cannot be a code is `None`.
fn clean_code(text: &str) -> Option<String> {
    let name = text.split(':').next()?;
    let name = name.rsplit('#').next()?.trim();
    let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'-');
    ((1..=CODE_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)).then(|| name.to_owned())
}

/// The same fault has an `Exception` at its end in some services and none in others.
fn stem(code: &str) -> &str {
    code.strip_suffix("Exception").unwrap_or(code)
}

/// `x-amz-retry-after` in milliseconds, else `Retry-After` in seconds or as a date, which is compared with the answer's
/// own `Date`, so that our clock does not matter.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u64>().ok();
    let wait = match (headers.get("x-amz-retry-after").and_then(number), headers.get(RETRY_AFTER)) {
        (Some(milliseconds), _) => Duration::from_millis(milliseconds),
        (None, None) => return None,
        (None, Some(value)) => match number(value) {
            Some(seconds) => Duration::from_secs(seconds),
            None => {
                let wait = clock::difference(clock::date(Some(value))?, clock::date(headers.get(DATE))?);
                Duration::from_secs(u64::try_from(wait).unwrap_or(0))
            }
        },
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

/// The first line of a text from outside, without control characters, cut to [`MESSAGE_BYTES_MAX`].
fn one_line(text: &str) -> String {
    let line = text.trim_start().lines().next().unwrap_or_default();
    let clean: Cow<'_, str> = match line.contains(char::is_control) {
        true => line.chars().filter(|c| !c.is_control()).collect::<String>().into(),
        false => line.into(),
    };
    clean[..clean.floor_char_boundary(MESSAGE_BYTES_MAX)].to_owned()
}

/// An error and its sources in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = error.to_string();
        // Several layers repeat their source; saying it once is enough.
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
        source = error.source();
    }
    text
}
