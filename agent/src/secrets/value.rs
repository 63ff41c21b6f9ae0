//! Secret bytes, and one version of a secret.
//!
//! Promises: `Debug` shows nothing of a value, not even its length; what we hold is wiped when it is dropped. What the HTTP and
//! TLS layers held on the way is not: their buffers are theirs.
//! Never: compares in a time that depends on what is the same.

use std::{fmt, sync::Arc};

use zeroize::Zeroizing;

/// Bytes that are never shown. Clones share them.
#[derive(Clone, Default)]
pub struct Value(Arc<Zeroizing<Vec<u8>>>);

impl Value {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Zeroizing::new(bytes)))
    }

    /// The bytes, for the one who needs them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, for one who keeps them as long as anybody does.
    pub fn shared(&self) -> Arc<Zeroizing<Vec<u8>>> {
        Arc::clone(&self.0)
    }

    /// The same as text, if it is UTF-8.
    pub fn expose_text(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// True if both hold the same bytes.
    pub fn is_same(&self, other: &Self) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Value(..)")
    }
}

/// What a secret says.
#[derive(Clone, Debug)]
pub enum Content {
    /// Text: `SecretString`, or a parameter.
    Text(Value),
    /// Any bytes: `SecretBinary`.
    Binary(Value),
}

impl Content {
    /// The value, whatever it is.
    pub fn value(&self) -> &Value {
        match self {
            Self::Text(value) | Self::Binary(value) => value,
        }
    }
}

/// One version of a secret. It never changes; what changes is which version a stage names.
#[derive(Clone, Debug)]
pub struct Version {
    /// `VersionId` of a secret, `Version` of a parameter, what a file's content makes of it.
    pub id: String,
    /// The stages that it had when it was fetched: `AWSCURRENT`, `AWSPENDING`, ...
    pub stages: Vec<String>,
    /// When it was made, in seconds since 1970, as the service writes it (`1569534789.046`).
    pub created: Option<String>,
    /// What it says.
    pub content: Content,
}

impl Version {
    /// When it was made, in seconds since 1970. One that does not say it compares as no older and no newer than any.
    pub fn made(&self) -> f64 {
        self.created.as_deref().and_then(|created| created.parse().ok()).unwrap_or(f64::NAN)
    }
}

/// The versions of one secret that files may show. The current one is there.
#[derive(Clone, Debug)]
pub struct Held {
    /// What the service calls it: its ARN, or its name.
    pub id: String,
    /// The one to use.
    pub current: Version,
    /// The one before: `AWSPREVIOUS`.
    pub previous: Option<Version>,
    /// The next one, while a rotation is under way: `AWSPENDING` on another version than the current one.
    pub pending: Option<Version>,
}

impl Held {
    /// The ids of all that is held.
    pub fn ids(&self) -> [Option<String>; 3] {
        let all = [Some(&self.current), self.previous.as_ref(), self.pending.as_ref()];
        all.map(|version| Some(version?.id.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_value_is_shown() {
        let version = |text: &str| Version {
            id: "v1".to_owned(),
            stages: vec!["AWSCURRENT".to_owned()],
            created: None,
            content: Content::Text(Value::new(text.as_bytes().to_vec())),
        };
        let held =
            |text| Held { id: "db".to_owned(), current: version(text), previous: None, pending: Some(version(text)) };
        assert_eq!(format!("{:#?}", held("s3cret")), format!("{:#?}", held("another one, longer")));
        assert!(!format!("{:?}", held("s3cret")).contains("s3cret"));
    }

    #[test]
    fn values_are_compared_by_their_bytes() {
        let value = |text: &str| Value::new(text.as_bytes().to_vec());
        assert!(value("a").is_same(&value("a")) && value("").is_same(&Value::default()));
        assert!(!value("a").is_same(&value("b")) && !value("a").is_same(&value("aa")));
        assert_eq!((value("ä").expose_text(), Value::new(vec![0xff]).expose_text()), (Some("ä"), None));
    }
}
