//! Checks AWS Signature Version 4 with an implementation of its own, so that a mistake in the agent's signing library,
//! or in how we call it, does not check itself.
//!
//! Promises: the canonical request is rebuilt from what was received; a mismatch comes with it, for the one who debugs.
//! Never: accepts a signature that leaves out the host, the date, the token or any other `x-amz-` header.

use std::fmt::Write;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use crate::http::Request;

/// How far the signer's clock may be from ours.
const CLOCK_SECONDS_MAX: i64 = 5 * 60;

/// A set of credentials that the fake knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The public part.
    pub access_key: String,
    /// The secret part.
    pub secret: String,
    /// The session token of temporary credentials.
    pub token: Option<String>,
    /// From then on, in seconds since 1970 by the fake's clock, requests get `ExpiredTokenException`.
    pub expires: Option<i64>,
}

/// Why a request is not accepted. Only the last kind is a mistake of the signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Nobody has this access key.
    UnknownKey,
    /// The credentials are no longer valid.
    Expired,
    /// Signed at a time that is not now.
    Skewed,
    /// The request is signed wrongly, or not at all; here is how.
    Wrong(String),
}

/// What a request is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Expected<'a> {
    /// Credentials that exist.
    pub(super) known: &'a [Credentials],
    /// The region of the scope.
    pub(super) region: &'a str,
    /// The service of the scope.
    pub(super) service: &'a str,
    /// The fake's clock, in seconds since 1970.
    pub(super) now: i64,
}

/// Says whether `request` with `body` is signed rightly, and gives the access key.
pub(super) fn check(request: &Request, body: &[u8], expected: &Expected<'_>) -> Result<String, Refusal> {
    let wrong = |what: &str| Refusal::Wrong(what.to_owned());
    let header = request.header("authorization").ok_or_else(|| wrong("there is no authorization header"))?;
    let parts = header.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| wrong("not AWS4-HMAC-SHA256"))?;
    let part = |name: &str| {
        parts.split(',').find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('=')).ok_or_else(|| wrong(name))
    };
    let (credential, signed, signature) = (part("Credential")?, part("SignedHeaders")?, part("Signature")?);
    let (key, scope) = credential.split_once('/').ok_or_else(|| wrong("the credential has no scope"))?;
    let date = request.header("x-amz-date").ok_or_else(|| wrong("there is no x-amz-date"))?;
    let day = date.get(..8).ok_or_else(|| wrong("x-amz-date is no date"))?;
    if scope != format!("{day}/{}/{}/aws4_request", expected.region, expected.service) {
        return Err(Refusal::Wrong(format!("the scope is `{scope}`")));
    }
    must_be_signed(request, signed)?;
    let known = expected.known.iter().find(|known| known.access_key == key).ok_or(Refusal::UnknownKey)?;
    if request.header("x-amz-security-token") != known.token.as_deref() {
        return Err(wrong("the token does not belong to the access key"));
    }
    let canonical = canonical(request, body, signed)?;
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(&canonical)));
    let mut secret = format!("AWS4{}", known.secret).into_bytes();
    for part in scope.split('/') {
        secret = mac(&secret, part.as_bytes());
    }
    if hex(&mac(&secret, to_sign.as_bytes())) != signature {
        return Err(Refusal::Wrong(format!("the signature does not fit this canonical request:\n{canonical}")));
    }
    let signed_at = unix_seconds(date).ok_or_else(|| wrong("x-amz-date is no date"))?;
    if (signed_at - expected.now).abs() > CLOCK_SECONDS_MAX {
        return Err(Refusal::Skewed);
    }
    if known.expires.is_some_and(|expires| expires <= expected.now) {
        Err(Refusal::Expired)
    } else {
        Ok(key.to_owned())
    }
}

fn must_be_signed(request: &Request, signed: &str) -> Result<(), Refusal> {
    for (name, _) in &request.headers {
        let name = name.to_ascii_lowercase();
        let must = name == "host" || name == "content-type" || name.starts_with("x-amz-");
        if must && !signed.split(';').any(|one| one == name) {
            return Err(Refusal::Wrong(format!("the header `{name}` is not signed")));
        }
    }
    if signed.split(';').is_sorted() { Ok(()) } else { Err(Refusal::Wrong(format!("not sorted: {signed}"))) }
}

fn canonical(request: &Request, body: &[u8], signed: &str) -> Result<String, Refusal> {
    let (path, query) = request.path.split_once('?').unwrap_or((&request.path, ""));
    let mut pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    pairs.sort_unstable();
    let mut text = format!("{}\n{path}\n{}\n", request.method, pairs.join("&"));
    for name in signed.split(';') {
        let value =
            request.header(name).ok_or_else(|| Refusal::Wrong(format!("`{name}` is signed and was not sent")))?;
        let value: Vec<_> = value.split_ascii_whitespace().collect();
        writeln!(text, "{name}:{}", value.join(" ")).expect("a String takes everything");
    }
    let hash = hex(&Sha256::digest(body));
    if let Some(said) = request.header("x-amz-content-sha256").filter(|said| **said != *hash) {
        return Err(Refusal::Wrong(format!("x-amz-content-sha256 is {said}, the body has {hash}")));
    }
    write!(text, "\n{signed}\n{hash}").expect("a String takes everything");
    Ok(text)
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(text);
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    text
}

/// Reads `20261120T134113Z`.
fn unix_seconds(date: &str) -> Option<i64> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date).ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `get-vanilla` of AWS's own Signature Version 4 test suite.
    fn vanilla() -> Request {
        let headers = [
            ("Host", "example.amazonaws.com"),
            ("X-Amz-Date", "20150830T123600Z"),
            (
                "Authorization",
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=host;x-amz-date, \
                 Signature=5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
        ];
        Request {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        }
    }

    fn known() -> Credentials {
        Credentials {
            access_key: "AKIDEXAMPLE".to_owned(),
            secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            token: None,
            expires: None,
        }
    }

    fn checked(request: &Request, body: &[u8], known: Credentials, late: i64) -> Result<String, Refusal> {
        let now = 1_440_938_160 + late;
        check(request, body, &Expected { known: &[known], region: "us-east-1", service: "service", now })
    }

    #[test]
    fn the_example_of_aws_is_accepted_and_nothing_near_it() {
        assert_eq!(checked(&vanilla(), b"", known(), 299), Ok("AKIDEXAMPLE".to_owned()));
        assert_eq!(checked(&vanilla(), b"", known(), 301), Err(Refusal::Skewed));
        assert_eq!(checked(&vanilla(), b"", Credentials { expires: Some(1), ..known() }, 0), Err(Refusal::Expired));
        let other = Credentials { access_key: "AKIDOTHER".to_owned(), ..known() };
        assert_eq!(checked(&vanilla(), b"", other, 0), Err(Refusal::UnknownKey));
        assert!(matches!(checked(&vanilla(), b"x", known(), 0), Err(Refusal::Wrong(_))));
        let mut unsigned = vanilla();
        unsigned.headers.push(("X-Amz-Target".to_owned(), "x".to_owned()));
        assert!(
            matches!(checked(&unsigned, b"", known(), 0), Err(Refusal::Wrong(what)) if what.contains("not signed"))
        );
        let mut forged = vanilla();
        forged.headers[2].1 = forged.headers[2].1.replace("fbf31", "fbf32");
        assert!(matches!(checked(&forged, b"", known(), 0), Err(Refusal::Wrong(what)) if what.contains("canonical")));
    }
}
