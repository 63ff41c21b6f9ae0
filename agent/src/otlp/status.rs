//! Why a request is not taken, in the words of both protocols.
//!
//! Promises: each reason has one status of HTTP, one of gRPC and one label; what may be sent again says so and when.
//! Never: repeats what a request holds.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::{
    base64,
    wire::{put_bytes, put_uint},
};

/// Seconds after which a sender may come again.
pub(super) const RETRY_SECONDS: u64 = 1;
/// The type of the detail that says so (google/rpc/error_details.proto).
const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// Why a request is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is no request of OTLP.
    Malformed,
    /// The frame of gRPC around it is not one.
    Frame,
    /// It is compressed in a way that we do not read.
    Encoding,
    /// What is compressed is damaged.
    Corrupt,
    /// It is larger than is taken, as it came or decompressed.
    TooLarge,
    /// It is of another media type.
    MediaType,
    /// Not `POST`.
    Method,
    /// There is nothing at this path.
    Path,
    /// Nobody takes this signal here.
    NoTaker,
    /// There is no memory for it now.
    Busy,
    /// It did not come in time.
    Slow,
    /// It broke off.
    Broken,
    /// It was taken and could not be kept for as long as its acknowledgement promises.
    NotKept,
}

/// A request that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) message: Cow<'static, str>,
}

/// How a body of HTTP is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Protobuf,
    Json,
}

impl Reason {
    /// The label on `/metrics`.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Frame => "frame",
            Self::Encoding => "encoding",
            Self::Corrupt => "corrupt",
            Self::TooLarge => "too_large",
            Self::MediaType => "media_type",
            Self::Method => "method",
            Self::Path => "path",
            Self::NoTaker => "no_taker",
            Self::Busy => "busy",
            Self::Slow => "slow",
            Self::Broken => "broken",
            Self::NotKept => "not_kept",
        }
    }

    /// The status of HTTP. Of these only 503 has a client send again (opentelemetry.io, OTLP, "Retryable Response Codes").
    pub(super) const fn http(self) -> StatusCode {
        match self {
            Self::Malformed | Self::Frame | Self::Corrupt | Self::Broken => StatusCode::BAD_REQUEST,
            Self::Encoding | Self::MediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path | Self::NoTaker => StatusCode::NOT_FOUND,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Busy | Self::NotKept => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The status of gRPC.
    pub(super) const fn grpc(self) -> u8 {
        match self {
            Self::Malformed | Self::Corrupt => 3, // INVALID_ARGUMENT
            Self::Slow => 4,                      // DEADLINE_EXCEEDED
            Self::TooLarge => 8,                  // RESOURCE_EXHAUSTED, which without RetryInfo is for good
            Self::Encoding | Self::MediaType | Self::Method | Self::Path | Self::NoTaker => 12, // UNIMPLEMENTED
            Self::Frame | Self::Broken => 13,     // INTERNAL
            Self::Busy | Self::NotKept => 14,     // UNAVAILABLE
        }
    }

    /// True if the sender should send it again.
    pub(super) const fn passes(self) -> bool {
        matches!(self, Self::Busy | Self::NotKept)
    }
}

impl Refusal {
    pub(super) fn new(reason: Reason, message: impl Into<Cow<'static, str>>) -> Self {
        Self { reason, message: message.into() }
    }

    /// google.rpc.Status { 1: code, 2: message, 3: details }.
    pub(super) fn protobuf(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_uint(&mut out, 1, u64::from(self.reason.grpc()));
        put_bytes(&mut out, 2, self.message.as_bytes());
        if self.reason.passes() {
            // RetryInfo { 1: Duration { 1: seconds } } in Any { 1: type, 2: bytes }.
            let (mut duration, mut info, mut any) = (Vec::new(), Vec::new(), Vec::new());
            put_uint(&mut duration, 1, RETRY_SECONDS);
            put_bytes(&mut info, 1, &duration);
            put_bytes(&mut any, 1, RETRY_INFO.as_bytes());
            put_bytes(&mut any, 2, &info);
            put_bytes(&mut out, 3, &any);
        }
        out
    }

    /// The same for a body of HTTP.
    pub(super) fn body(&self, media: Media) -> Bytes {
        match media {
            Media::Protobuf => self.protobuf().into(),
            Media::Json => {
                let status = serde_json::json!({"code": self.reason.grpc(), "message": self.message});
                status.to_string().into()
            }
        }
    }

    /// The message as a header of gRPC has it: printable ASCII, all else as `%xx`.
    pub(super) fn grpc_message(&self) -> HeaderValue {
        let mut text = String::new();
        for byte in self.message.bytes() {
            match byte {
                b' '..=b'~' if byte != b'%' => text.push(char::from(byte)),
                _ => text.push_str(&format!("%{byte:02X}")),
            }
        }
        HeaderValue::from_str(&text).expect("printable ASCII is a header value")
    }

    /// The details as a header of gRPC has them, if there are any: base64 without padding.
    pub(super) fn grpc_details(&self) -> Option<HeaderValue> {
        let text = base64::encoded(&self.protobuf(), false);
        self.reason.passes().then(|| HeaderValue::from_str(&text).expect("base64 is a header value"))
    }
}

impl Media {
    pub(super) const fn name(self) -> HeaderValue {
        match self {
            Self::Protobuf => HeaderValue::from_static("application/x-protobuf"),
            Self::Json => HeaderValue::from_static("application/json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_said_in_both_protocols() {
        let refusal = Refusal::new(Reason::Malformed, "100 % \u{fc}bel\n");
        assert_eq!(refusal.protobuf(), b"\x08\x03\x12\x0c100 % \xc3\xbcbel\n");
        assert_eq!(refusal.body(Media::Json), r#"{"code":3,"message":"100 % übel\n"}"#);
        assert_eq!(
            (refusal.grpc_message().to_str().unwrap_or(""), refusal.grpc_details()),
            ("100 %25 %C3%BCbel%0A", None)
        );
        let busy = Refusal::new(Reason::Busy, "x");
        let expected =
            b"\x08\x0e\x12\x01x\x1a\x30\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x04\x0a\x02\x08\x01";
        assert_eq!(busy.protobuf(), expected);
        assert_eq!(busy.grpc_details().expect("it may come again"), base64::encoded(expected, false).as_str());
    }
}
