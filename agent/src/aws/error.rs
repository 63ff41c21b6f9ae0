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
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
}

/// What to do about a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FaultKind {
    /// Too much at once: send later, and less often.
    Throttled,
    /// Not done, for a reason that may pass: send again.
    Transient,
    /// There was no connection, so nothing was done: send again.
    Unreachable,
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
    ("KMSThrottling", Throttled), // the key of a secret has a quota of its own
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
    ("InternalService", Transient),
    ("InternalServiceError", Transient),
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
    ("DecryptionFailure", Denied), // the secret's key: deleted, disabled, or not ours to use
    ("InvalidKeyId", Denied),      // the same, said by the Parameter Store
    ("KMSAccessDenied", Denied),
    ("KMSDisabled", Denied),
    ("KMSInvalidState", Denied),
    ("KMSNotFound", Denied),
    ("NotAuthorized", Denied),
    ("OptInRequired", Denied),
    ("UnauthorizedOperation", Denied),
    ("ParameterNotFound", NotFound),
    ("ParameterVersionNotFound", NotFound),
    ("ResourceNotFound", NotFound),
    ("DataAlreadyAccepted", AlreadyExists), // PutLogEvents before 2023: this batch was taken already
    ("ResourceAlreadyExists", AlreadyExists),
    ("RequestEntityTooLarge", FaultKind::TooLarge),
    ("InvalidParameter", Invalid),
    ("InvalidParameterCombination", Invalid),
    ("InvalidParameterValue", Invalid),
    ("InvalidRequest", Invalid),
    ("MissingParameter", Invalid),
    ("MissingRequiredParameter", Invalid),
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
            Self::Unreachable => "unreachable",
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
    pub(crate) fn own(kind: FaultKind, code: &str, message: &str) -> Self {
        Self { kind, code: code.to_owned(), message: one_line(message), retry_after: None, status: None }
    }

    /// A success of the service has its request id. One without is from a proxy or a captive portal, and nothing was done.
    pub(crate) fn no_request_id() -> Self {
        let text = "the answer has no x-amzn-RequestId: it is not from AWS; is there a proxy in between?";
        Self::own(Transient, "no_request_id", text)
    }

    /// True if it is about who asks, not about what.
    pub fn is_about_who(&self) -> bool {
        matches!(self.kind, Credentials | Denied)
    }

    /// True if the reason may be that our clock is wrong.
    pub(super) fn may_be_our_clock(&self) -> bool {
        CLOCK_CODES.contains(&stem(&self.code))
    }
}

/// Says what a request without a whole answer means.
impl From<HttpError> for Fault {
    fn from(error: HttpError) -> Self {
        Self::from(&error)
    }
}

impl From<&HttpError> for Fault {
    fn from(error: &HttpError) -> Self {
        let kind = match error.status() {
            Some(status) if !status.is_success() => by_status(status),
            _ if error.may_have_arrived() => FaultKind::Ambiguous,
            _ if error.unconnected().is_some() => FaultKind::Unreachable,
            _ => Transient,
        };
        let code = match error {
            HttpError::Tls(_) | HttpError::Connect { .. } => "no_connection",
            HttpError::Timeout { .. } => "timeout",
            HttpError::Broken { .. } | HttpError::BrokenAnswer { .. } => "broken_connection",
            HttpError::TooLarge { .. } => "answer_too_large",
        };
        Self { status: error.status().map(|status| status.as_u16()), ..Self::own(kind, code, &chain(error)) }
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
    Fault { kind, code, message, retry_after: retry_after(headers), status: Some(status.as_u16()) }
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
pub fn retry_after(headers: &HeaderMap) -> Option<Duration> {
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
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("a value"))).collect()
    }

    fn fault(status: u16, pairs: &[(&'static str, &str)], body: &[u8]) -> Fault {
        classify(StatusCode::from_u16(status).expect("a status"), &headers(pairs), body)
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table is as long as it is")]
    fn every_answer_has_one_meaning() {
        use FaultKind::TooLarge;
        for (status, body, kind, code) in [
            // Throttling, in the words of several services.
            (400, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#, Throttled, "ThrottlingException"),
            (400, r#"{"__type":"com.amazonaws.logs#ThrottlingException"}"#, Throttled, "ThrottlingException"),
            (400, r#"{"code":"Throttling"}"#, Throttled, "Throttling"),
            (400, r#"{"__type":"LimitExceededException"}"#, Throttled, "LimitExceededException"),
            (
                400,
                r#"{"__type":"ProvisionedThroughputExceededException"}"#,
                Throttled,
                "ProvisionedThroughputExceededException",
            ),
            (400, r#"{"__type":"RequestLimitExceeded"}"#, Throttled, "RequestLimitExceeded"),
            (400, r#"{"__type":"RequestThrottledException"}"#, Throttled, "RequestThrottledException"),
            (429, r#"{"__type":"TooManyRequestsException"}"#, Throttled, "TooManyRequestsException"),
            (503, "<Error><Code>SlowDown</Code><Message>Reduce</Message></Error>", Throttled, "SlowDown"),
            (429, "", Throttled, "status_429"),
            (429, r#"{"__type":"NewKindOfThrottlingException"}"#, Throttled, "NewKindOfThrottlingException"),
            // What passes by itself.
            (500, r#"{"__type":"InternalFailure"}"#, Transient, "InternalFailure"),
            (503, r#"{"__type":"ServiceUnavailableException"}"#, Transient, "ServiceUnavailableException"),
            (400, r#"{"__type":"ServiceUnavailable"}"#, Transient, "ServiceUnavailable"),
            (400, r#"{"__type":"OperationAbortedException"}"#, Transient, "OperationAbortedException"),
            (408, r#"{"__type":"RequestTimeoutException"}"#, Transient, "RequestTimeoutException"),
            (500, "", Transient, "status_500"),
            (502, "<html><body><h1>502 Bad Gateway</h1></body></html>", Transient, "status_502"),
            (504, "upstream request timeout", Transient, "status_504"),
            // Credentials.
            (400, r#"{"__type":"ExpiredTokenException"}"#, Credentials, "ExpiredTokenException"),
            (
                403,
                "<ErrorResponse><Error><Code>ExpiredToken</Code></Error></ErrorResponse>",
                Credentials,
                "ExpiredToken",
            ),
            (400, r#"{"__type":"UnrecognizedClientException"}"#, Credentials, "UnrecognizedClientException"),
            (403, r#"{"__type":"InvalidClientTokenId"}"#, Credentials, "InvalidClientTokenId"),
            (
                400,
                r#"{"__type":"MissingAuthenticationTokenException"}"#,
                Credentials,
                "MissingAuthenticationTokenException",
            ),
            (403, r#"{"__type":"RequestTimeTooSkewed"}"#, Credentials, "RequestTimeTooSkewed"),
            (403, r#"{"__type":"SignatureDoesNotMatch"}"#, Credentials, "SignatureDoesNotMatch"),
            (400, r#"{"__type":"InvalidSignatureException"}"#, Credentials, "InvalidSignatureException"),
            // Policies.
            (400, r#"{"__type":"AccessDeniedException","Message":"no"}"#, Denied, "AccessDeniedException"),
            (403, r#"{"__type":"AccessDenied"}"#, Denied, "AccessDenied"),
            (403, "<html>Forbidden</html>", Denied, "status_403"),
            (401, "", Denied, "status_401"),
            (400, r#"{"__type":"DecryptionFailure","Message":"no"}"#, Denied, "DecryptionFailure"),
            (400, r#"{"__type":"KMSDisabledException"}"#, Denied, "KMSDisabledException"),
            (400, r#"{"__type":"InvalidKeyId"}"#, Denied, "InvalidKeyId"),
            // Resources.
            (400, r#"{"__type":"ParameterNotFound"}"#, NotFound, "ParameterNotFound"),
            (400, r#"{"__type":"ResourceNotFoundException"}"#, NotFound, "ResourceNotFoundException"),
            (400, r#"{"__type":"ResourceAlreadyExistsException"}"#, AlreadyExists, "ResourceAlreadyExistsException"),
            // A 404 of a proxy says nothing of the log group.
            (404, "<html>Not Found</html>", Transient, "status_404"),
            // The request itself.
            (413, "", TooLarge, "status_413"),
            (413, r#"{"__type":"InvalidParameterException"}"#, TooLarge, "InvalidParameterException"),
            (400, r#"{"__type":"RequestEntityTooLarge"}"#, TooLarge, "RequestEntityTooLarge"),
            (
                400,
                r#"{"__type":"InvalidParameterException","message":"Upload too large: 1048577 bytes exceeds limit of 1048576"}"#,
                TooLarge,
                "InvalidParameterException",
            ),
            (400, r#"{"__type":"InvalidParameterException"}"#, Invalid, "InvalidParameterException"),
            (400, r#"{"__type":"ValidationException"}"#, Invalid, "ValidationException"),
            (400, r#"{"__type":"SerializationException"}"#, Invalid, "SerializationException"),
            (400, r#"{"__type":"InvalidRequest"}"#, Invalid, "InvalidRequest"),
            // What we do not know is not the record's fault.
            (400, r#"{"__type":"BrandNewException"}"#, Transient, "BrandNewException"),
            (400, "", Transient, "status_400"),
            (400, "{}", Transient, "status_400"),
            (400, "null", Transient, "status_400"),
            (400, r#"{"__type":5,"message":["x"]}"#, Transient, "status_400"),
            (400, r#"{"__type":"","message":null}"#, Transient, "status_400"),
            (400, r#"{"__type":"two words"}"#, Transient, "status_400"),
            (400, r#"{"__type":"ThrottlingException""#, Transient, "status_400"),
            (302, "", Transient, "status_302"),
            (200, "<html>Please log in</html>", Transient, "status_200"),
        ] {
            let fault = fault(status, &[], body.as_bytes());
            assert_eq!((fault.kind, fault.code.as_str()), (kind, code), "{status} {body}");
        }
    }

    #[test]
    fn the_header_names_the_fault_before_the_body() {
        let header = ("x-amzn-ErrorType", "com.amazonaws.logs#ThrottlingException:http://internal.amazon.com/coral/");
        let fault = fault(400, &[header], br#"{"__type":"AccessDeniedException","message":"Rate exceeded"}"#);
        assert_eq!(
            fault,
            Fault {
                kind: Throttled,
                code: "ThrottlingException".into(),
                message: "Rate exceeded".into(),
                retry_after: None,
                status: Some(400),
            }
        );
        assert_eq!(fault.to_string(), "ThrottlingException: Rate exceeded");
    }

    #[test]
    fn each_code_is_known_once() {
        let codes: std::collections::BTreeSet<_> = CODES.iter().map(|(code, _)| code).collect();
        assert_eq!(codes.len(), CODES.len());
        assert!(codes.iter().all(|code| !code.ends_with("Exception")));
        assert!(CLOCK_CODES.iter().all(|code| CODES.contains(&(code, Credentials))));
    }

    #[test]
    fn hostile_bodies_are_survived() {
        let long_code = format!(r#"{{"__type":"{}"}}"#, "A".repeat(60_000));
        for (what, body) in [
            ("not UTF-8", b"{\"__type\":\"\xff\xfe\"}".to_vec()),
            ("deep nesting", "{\"a\":".repeat(10_000).into_bytes()),
            ("deep arrays", [b"{\"__type\":".to_vec(), "[".repeat(60_000).into_bytes()].concat()),
            ("a code of 60 KB", long_code.into_bytes()),
            ("zeros", vec![0; 65_536]),
            ("an XML bomb", b"<!DOCTYPE x [<!ENTITY a \"aaa\">]><Error><Code>&a;</Code></Error>".to_vec()),
            ("XML without an end", b"<Error><Code>AccessDenied".to_vec()),
        ] {
            let fault = fault(400, &[], &body);
            assert_eq!(
                (fault.kind, fault.code.as_str(), fault.message.as_str()),
                (Transient, "status_400", ""),
                "{what}"
            );
        }
    }

    /// AWS repeats the request when it refuses a signature, and with it the session token.
    #[test]
    fn a_message_keeps_one_clean_line() {
        let said = |message: &str| {
            let body = serde_json::json!({"__type": "InvalidSignatureException", "message": message});
            fault(403, &[], body.to_string().as_bytes()).message
        };
        let refused = "The request signature does not match.\n\nThe Canonical String should have been\n\
                       'POST\n/\n\nhost:logs\nx-amz-security-token:TOKEN'";
        assert_eq!(said(refused), "The request signature does not match.");
        assert_eq!(said("\n\n  second line\r\nthird"), "second line");
        assert_eq!(said("\u{1b}[31mred\u{1b}[0m\u{7}\u{0}\u{85}"), "[31mred[0m");
        assert_eq!(said(&"ä".repeat(1_000)), "ä".repeat(128));
        assert_eq!(
            said(&format!("a{}", "€".repeat(1_000))),
            format!("a{}", "€".repeat(85)),
            "a character is kept whole"
        );
    }

    #[test]
    fn the_wait_is_understood_in_every_form_and_bounded() {
        let date = ("date", "Tue, 14 Nov 2023 22:13:20 GMT");
        let ms = Duration::from_millis;
        for (pairs, wait) in [
            (&[("retry-after", "7")][..], Some(ms(7_000))),
            (&[("retry-after", " 7 ")], Some(ms(7_000))),
            (&[("retry-after", "0")], Some(ms(0))),
            (&[("x-amz-retry-after", "1500")], Some(ms(1_500))),
            (&[("x-amz-retry-after", "1500"), ("retry-after", "9")], Some(ms(1_500))),
            (&[("x-amz-retry-after", "soon"), ("retry-after", "9")], Some(ms(9_000))),
            (&[("retry-after", "86400")], Some(RETRY_AFTER_MAX)),
            (&[("retry-after", "18446744073709551615")], Some(RETRY_AFTER_MAX)),
            (&[("retry-after", "99999999999999999999999")], None),
            (&[("retry-after", "-1")], None),
            (&[("retry-after", "1.5")], None),
            (&[("retry-after", "")], None),
            (&[("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT"), date], Some(ms(30_000))),
            (&[("retry-after", "Tue, 14 Nov 2023 22:13:00 GMT"), date], Some(ms(0))), // past
            (&[("retry-after", "Wed, 14 Nov 2029 22:13:00 GMT"), date], Some(RETRY_AFTER_MAX)),
            (&[("retry-after", "Tue, 14 Nov 2023 22:13:50 GMT")], None), // by whose clock?
            (&[], None),
        ] {
            assert_eq!(fault(503, pairs, b"").retry_after, wait, "{pairs:?}");
        }
    }

    proptest! {
        #[test]
        fn property_any_answer_becomes_a_short_clean_fault(
            status in 100u16..1000,
            error_type in "\\PC{0,80}",
            body in prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..300),
                "\\{\"(__type|message|Message|code)\":\"\\PC{0,300}\"\\}".prop_map(String::into_bytes),
                "<Code>\\PC{0,100}</Code><Message>\\PC{0,300}</Message>".prop_map(String::into_bytes),
            ],
        ) {
            let mut headers = HeaderMap::new();
            if let Ok(value) = HeaderValue::from_str(&error_type) {
                headers.insert("x-amzn-errortype", value);
            }
            let fault = classify(StatusCode::from_u16(status).expect("a status"), &headers, &body);
            prop_assert!(!fault.code.is_empty() && fault.code.len() <= CODE_BYTES_MAX && fault.code.is_ascii());
            prop_assert!(fault.message.len() <= MESSAGE_BYTES_MAX && !fault.message.contains(char::is_control));
        }
    }
}
