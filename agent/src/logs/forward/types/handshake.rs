//! The three messages of the handshake: `HELO`, `PING`, `PONG`.
//!
//! Promises: random bytes are written as bin, as Fluentd does, and read as bin or str, as Fluent Bit writes them.
//! Never: computes a digest; see `handshake` beside `types`.

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap};

use super::Blob;

/// What the server says first if it wants a handshake.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(String, HeloOptions)", try_from = "(String, HeloOptions)")]
pub struct Helo(pub HeloOptions);

/// The map in a [`Helo`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct HeloOptions {
    /// Random bytes, which go into the digests of the shared key.
    pub nonce: Blob,
    /// Random bytes, which go into the digest of the password. Empty if no user is needed.
    pub auth: Blob,
    /// Whether the connection may stay open for more than one message.
    pub keepalive: bool,
}

/// How the client shows that it knows the shared key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(String, String, Salt, String, String, String)", try_from = "(Salt, Salt, Salt, Salt, Salt, Salt)")]
pub struct Ping {
    /// What the client calls itself.
    pub hostname: String,
    /// Random bytes, which go into the digest of the shared key. Fluent Bit's server wants them as str: choose text.
    pub salt: Vec<u8>,
    /// `hex(sha512(salt, hostname, nonce, shared key))`.
    pub digest: String,
    /// The user, or nothing.
    pub user: String,
    /// `hex(sha512(auth, user, password))`, or nothing.
    pub password_digest: String,
}

/// Bytes that are written as str if they are text, else as bin.
struct Salt(Vec<u8>);

/// How the server answers a [`Ping`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "(String, bool, String, String, String)", try_from = "(String, bool, String, String, String)")]
pub struct Pong {
    /// Whether the client may go on.
    pub accepted: bool,
    /// Why not.
    pub reason: String,
    /// What the server calls itself.
    pub hostname: String,
    /// `hex(sha512(salt, server's name, nonce, shared key))`: so the client knows that the server has the key as well.
    pub digest: String,
}

impl Serialize for HeloOptions {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(3))?;
        map.serialize_entry("nonce", &self.nonce)?;
        map.serialize_entry("auth", &self.auth)?;
        map.serialize_entry("keepalive", &self.keepalive)?;
        map.end()
    }
}

impl From<Helo> for (String, HeloOptions) {
    fn from(Helo(options): Helo) -> Self {
        ("HELO".to_owned(), options)
    }
}

impl TryFrom<(String, HeloOptions)> for Helo {
    type Error = String;

    fn try_from((kind, options): (String, HeloOptions)) -> Result<Self, String> {
        if kind == "HELO" { Ok(Self(options)) } else { Err(format!("expected HELO, found {kind:?}")) }
    }
}

impl Serialize for Salt {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => serializer.serialize_bytes(&self.0),
        }
    }
}

impl<'de> Deserialize<'de> for Salt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Blob::deserialize(deserializer).map(|Blob(bytes)| Self(bytes))
    }
}

impl From<Ping> for (String, String, Salt, String, String, String) {
    fn from(ping: Ping) -> Self {
        ("PING".to_owned(), ping.hostname, Salt(ping.salt), ping.digest, ping.user, ping.password_digest)
    }
}

impl TryFrom<(Salt, Salt, Salt, Salt, Salt, Salt)> for Ping {
    type Error = &'static str;

    fn try_from(parts: (Salt, Salt, Salt, Salt, Salt, Salt)) -> Result<Self, &'static str> {
        let (kind, hostname, salt, digest, user, password_digest) = parts;
        if kind.0 != b"PING" {
            return Err("expected PING");
        }
        // What is not UTF-8 fits no digest afterwards, which is what it should do.
        let text = |Salt(bytes)| String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self {
            hostname: text(hostname),
            salt: salt.0,
            digest: text(digest),
            user: text(user),
            password_digest: text(password_digest),
        })
    }
}

impl From<Pong> for (String, bool, String, String, String) {
    fn from(pong: Pong) -> Self {
        ("PONG".to_owned(), pong.accepted, pong.reason, pong.hostname, pong.digest)
    }
}

impl TryFrom<(String, bool, String, String, String)> for Pong {
    type Error = String;

    fn try_from(
        (kind, accepted, reason, hostname, digest): (String, bool, String, String, String),
    ) -> Result<Self, String> {
        if kind == "PONG" {
            Ok(Self { accepted, reason, hostname, digest })
        } else {
            Err(format!("expected PONG, found {kind:?}"))
        }
    }
}
