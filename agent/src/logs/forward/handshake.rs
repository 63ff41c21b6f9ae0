//! The server's side of the forward handshake, without I/O: who knows the shared key, and is one of the users, may
//! send.
//!
//! Promises: a client is let in only with the digest of the shared key over our nonce and, if users are configured,
//! with the digest of one of their passwords; digests are compared in constant time; a client that is refused is told
//! why in two words, as Fluent Bit does.
//! Never: lets in everybody because one of the two is missing. Users without a key mean an empty key and a user all the
//! same (Fluent Bit's CVE-2025-12969 was the opposite).
//!
//! ```text
//! we:     HELO  nonce, auth salt                                          Handshake::new
//! client: PING  its name, salt, digest, user, digest of the password
//! we:     PONG  yes and the digest over our own name, or no and why       Handshake::ping
//! ```

use aws_lc_rs::{constant_time, digest};

use super::types::{Blob, Helo, HeloOptions, Ping, Pong};
use crate::logs::settings::Forward;

/// The longest `PING` that is looked at. Names, digests and a password's digest come to less than 1 KiB.
pub const PING_BYTES_MAX: usize = 16 * 1024;

/// Random bytes of the nonce and of the salt for passwords: what Fluentd and Fluent Bit use.
pub const NONCE_BYTES: usize = 16;

/// A handshake that has begun.
pub struct Handshake<'a> {
    settings: &'a Forward,
    nonce: [u8; NONCE_BYTES],
    auth_salt: [u8; NONCE_BYTES],
}

/// A client that was let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// What it calls itself.
    pub hostname: String,
    /// As whom it logged in, if users are configured.
    pub user: Option<String>,
}

/// Why a client was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No `PING`, or one that cannot be read.
    #[error("the client's PING cannot be read")]
    Malformed,
    /// Its digest is not that of our key.
    #[error("the client does not know the shared key")]
    SharedKey,
    /// There is no such user, or the password is not theirs. Nobody is told which.
    #[error("the user or the password is wrong")]
    User,
}

impl Denied {
    /// The kind, as a label of a counter.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "handshake_malformed",
            Self::SharedKey => "handshake_shared_key",
            Self::User => "handshake_user",
        }
    }

    /// What the client reads: the words of Fluent Bit and Fluentd.
    const fn reason(self) -> &'static str {
        match self {
            Self::Malformed => "invalid ping message",
            Self::SharedKey => "shared_key mismatch",
            Self::User => "username/password mismatch",
        }
    }
}

impl<'a> Handshake<'a> {
    /// True if clients of this input must show who they are.
    pub fn is_needed(settings: &Forward) -> bool {
        settings.shared_key.is_some() || !settings.users.is_empty()
    }

    /// Begins a handshake. `nonce` and `auth_salt` must be random and new for each connection. Returns the `HELO` to
    /// send.
    pub fn new(settings: &'a Forward, nonce: [u8; NONCE_BYTES], auth_salt: [u8; NONCE_BYTES]) -> (Self, Vec<u8>) {
        let auth = if settings.users.is_empty() { Vec::new() } else { auth_salt.to_vec() };
        let helo = Helo(HeloOptions { nonce: Blob(nonce.to_vec()), auth: Blob(auth), keepalive: true });
        let bytes = rmp_serde::to_vec(&helo).expect("text and bytes encode");
        (Self { settings, nonce, auth_salt }, bytes)
    }

    /// Judges the client's `PING`, one whole msgpack value. Returns the `PONG` to send; after a [`Denied`] the
    /// connection must be closed.
    pub fn ping(&self, bytes: &[u8]) -> (Vec<u8>, Result<Peer, Denied>) {
        let (pong, result) = match self.judge(bytes) {
            Ok((peer, digest)) => {
                let hostname = self.hostname().to_owned();
                (Pong { accepted: true, reason: String::new(), hostname, digest }, Ok(peer))
            }
            Err(denied) => (Pong { reason: denied.reason().to_owned(), ..Pong::default() }, Err(denied)),
        };
        (rmp_serde::to_vec(&pong).expect("text and a boolean encode"), result)
    }

    /// The client, and the digest that shows it that we know the key as well.
    fn judge(&self, bytes: &[u8]) -> Result<(Peer, String), Denied> {
        let ping = read(bytes).ok_or(Denied::Malformed)?;
        let expected = self.key_digest(&ping.salt, &ping.hostname);
        if !same(&expected, &ping.digest) {
            return Err(Denied::SharedKey);
        }
        let user = match self.settings.users.is_empty() {
            true => None,
            false => Some(self.user(&ping)?),
        };
        let digest = self.key_digest(&ping.salt, self.hostname());
        Ok((Peer { hostname: ping.hostname, user }, digest))
    }

    /// Every user is tried, so that the time taken does not tell which name exists.
    fn user(&self, ping: &Ping) -> Result<String, Denied> {
        let mut found = Err(Denied::User);
        for user in &self.settings.users {
            let password = user.password.expose();
            let expected = hex_sha512(&[&self.auth_salt, ping.user.as_bytes(), password.as_bytes()]);
            if same(&expected, &ping.password_digest) & same(&user.name, &ping.user) {
                found = Ok(user.name.clone());
            }
        }
        found
    }

    fn key_digest(&self, salt: &[u8], hostname: &str) -> String {
        let key = self.settings.shared_key.as_ref().map_or("", |key| key.expose());
        hex_sha512(&[salt, hostname.as_bytes(), &self.nonce, key.as_bytes()])
    }

    fn hostname(&self) -> &str {
        self.settings.self_hostname.as_deref().unwrap_or("localhost")
    }
}

/// The whole of `bytes` as a `PING`.
fn read(bytes: &[u8]) -> Option<Ping> {
    if bytes.len() > PING_BYTES_MAX {
        return None;
    }
    let mut rest = bytes;
    let ping = rmp_serde::from_read(&mut rest).ok()?;
    rest.is_empty().then_some(ping)
}

fn same(expected: &str, given: &str) -> bool {
    constant_time::verify_slices_are_equal(expected.as_bytes(), given.as_bytes()).is_ok()
}

/// The SHA-512 of all parts, one after another, in lower-case hexadecimal.
fn hex_sha512(parts: &[&[u8]]) -> String {
    let mut context = digest::Context::new(&digest::SHA512);
    for part in parts {
        context.update(part);
    }
    let digest = context.finish();
    let mut text = String::with_capacity(128);
    for byte in digest.as_ref() {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::logs::settings::{Secret, User};

    const NONCE: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];
    const AUTH: [u8; 16] = [16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31];

    // Computed with Python: hashlib.sha512(salt + hostname + nonce + key).hexdigest(), and of auth + user + password.
    const CLIENT_DIGEST: &str = "ad8e37b8add71dbcf94dd7c6c6a8d6d71789b31d31d7ab5e2378526860f67b15\
                                 883b7568079e3d949220c70f472e6f8611b16799ffa7cd6ff55b977aa9af566d";
    const SERVER_DIGEST: &str = "2fd511cc807886b8a3b648ac8aced0abeac73048b567005e1cadda649420956f\
                                 43998ac0528a54dae02d193c0e0a7ccdcc4d583d6c5cc70893aa85e49f394035";
    const PASSWORD_DIGEST: &str = "1daaa509348956e57b66eac22905c8523d4cae77ae602b745834b30762d49344\
                                   0eaacaf99aba596782a998527ac292460787abde8b7f028b7b83f4cb9f9af932";

    fn settings(users: &[(&str, &str)]) -> Forward {
        let user = |&(name, password): &(&str, &str)| User {
            name: name.to_owned(),
            password: Secret::new(password.to_owned()),
        };
        Forward {
            shared_key: Some(Secret::new("s3cr3t-key".to_owned())),
            self_hostname: Some("log-router".to_owned()),
            users: users.iter().map(user).collect(),
            ..Forward::default()
        }
    }

    fn good_ping() -> Ping {
        Ping {
            hostname: "client.local".to_owned(),
            salt: b"0123456789abcdef".to_vec(),
            digest: CLIENT_DIGEST.to_owned(),
            ..Ping::default()
        }
    }

    fn answer(settings: &Forward, ping: &[u8]) -> (Pong, Result<Peer, Denied>) {
        let (pong, result) = Handshake::new(settings, NONCE, AUTH).0.ping(ping);
        (rmp_serde::from_slice(&pong).expect("we encode it"), result)
    }

    fn judge(settings: &Forward, ping: &Ping) -> Result<Peer, Denied> {
        answer(settings, &rmp_serde::to_vec(ping).expect("encodes")).1
    }

    #[test]
    fn who_knows_the_key_comes_in_and_learns_that_we_know_it() {
        let settings = settings(&[]);
        let (_, helo) = Handshake::new(&settings, NONCE, AUTH);
        let head = b"\x92\xa4HELO\x83\xa5nonce\xc4\x10";
        assert_eq!(helo, [&head[..], &NONCE, b"\xa4auth\xc4\x00\xa9keepalive\xc3"].concat());
        let (pong, result) = answer(&settings, &rmp_serde::to_vec(&good_ping()).expect("encodes"));
        assert_eq!(result, Ok(Peer { hostname: "client.local".to_owned(), user: None }));
        assert_eq!((pong.accepted, &*pong.reason, &*pong.hostname), (true, "", "log-router"));
        assert_eq!(pong.digest, SERVER_DIGEST);
    }

    /// As Fluentd's client writes it: the salt as bin; as Fluent Bit's does: all as str.
    #[test]
    fn str_and_bin_are_the_same() {
        for salt_head in [&b"\xb0"[..], b"\xc4\x10", b"\xd9\x10"] {
            let digest = [&b"\xd9\x80"[..], CLIENT_DIGEST.as_bytes()].concat();
            let salt = [salt_head, b"0123456789abcdef"].concat();
            let ping = [b"\x96\xa4PING\xacclient.local", &salt[..], &digest, b"\xa0\xa0"].concat();
            assert!(answer(&settings(&[]), &ping).1.is_ok(), "{salt_head:x?}");
        }
    }

    #[test]
    fn users_must_log_in_if_there_are_any() {
        let alice = settings(&[("bob", "builder"), ("alice", "wonderland")]);
        let (_, helo) = Handshake::new(&alice, NONCE, AUTH);
        assert!(helo.windows(18).any(|window| window == [&b"\xc4\x10"[..], &AUTH].concat()));
        let ping = |user: &str, digest: &str| Ping {
            user: user.to_owned(),
            password_digest: digest.to_owned(),
            ..good_ping()
        };
        let peer = Peer { hostname: "client.local".to_owned(), user: Some("alice".to_owned()) };
        assert_eq!(judge(&alice, &ping("alice", PASSWORD_DIGEST)), Ok(peer));
        for (user, digest) in [
            ("", ""),
            ("alice", ""),
            ("", PASSWORD_DIGEST),
            ("bob", PASSWORD_DIGEST),
            ("alic", PASSWORD_DIGEST),
            ("alice\0", PASSWORD_DIGEST),
            ("alice", &PASSWORD_DIGEST[..127]),
            ("alice", &PASSWORD_DIGEST.to_uppercase()),
            ("mallory", PASSWORD_DIGEST),
        ] {
            assert_eq!(judge(&alice, &ping(user, digest)), Err(Denied::User), "{user}");
        }
        // The right user does not make up for the wrong key.
        let wrong_key = Ping { digest: PASSWORD_DIGEST.to_owned(), ..ping("alice", PASSWORD_DIGEST) };
        assert_eq!(judge(&alice, &wrong_key), Err(Denied::SharedKey));
        // Without users a client may name one; nobody asks.
        assert!(judge(&settings(&[]), &ping("alice", "anything")).is_ok());
    }

    #[test]
    fn a_wrong_digest_is_refused_with_a_reason() {
        for (digest, salt, hostname) in [
            ("", "0123456789abcdef", "client.local"),
            (&CLIENT_DIGEST[..127], "0123456789abcdef", "client.local"),
            (&CLIENT_DIGEST.to_uppercase(), "0123456789abcdef", "client.local"),
            (SERVER_DIGEST, "0123456789abcdef", "client.local"),
            (CLIENT_DIGEST, "0123456789abcdeg", "client.local"),
            (CLIENT_DIGEST, "0123456789abcdef", "client.other"),
            (CLIENT_DIGEST, "", ""),
        ] {
            let ping =
                Ping { digest: digest.to_owned(), salt: salt.into(), hostname: hostname.to_owned(), ..Ping::default() };
            let (pong, result) = answer(&settings(&[]), &rmp_serde::to_vec(&ping).expect("encodes"));
            assert_eq!(result, Err(Denied::SharedKey), "{digest}");
            assert_eq!(pong, Pong { reason: "shared_key mismatch".to_owned(), ..Pong::default() });
        }
        let other =
            Handshake::new(&settings(&[]), AUTH, AUTH).0.ping(&rmp_serde::to_vec(&good_ping()).expect("encodes")).1;
        assert_eq!(other, Err(Denied::SharedKey), "a digest over another connection's nonce");
    }

    /// Fluent Bit's CVE-2025-12969: users without a key switched the handshake off.
    #[test]
    fn users_without_a_key_still_must_log_in() {
        let users_only = Forward { shared_key: None, ..settings(&[("alice", "wonderland")]) };
        assert!(Handshake::is_needed(&users_only) && Handshake::is_needed(&settings(&[])));
        assert!(!Handshake::is_needed(&Forward::default()));
        let salt = b"0123456789abcdef";
        let digest = hex_sha512(&[salt, b"client.local", &NONCE]);
        let ping = Ping { digest, ..good_ping() };
        assert_eq!(judge(&users_only, &ping), Err(Denied::User));
        let ping = Ping { user: "alice".to_owned(), password_digest: PASSWORD_DIGEST.to_owned(), ..ping };
        assert!(judge(&users_only, &ping).is_ok());
    }

    #[test]
    fn a_hostile_ping_is_refused_and_costs_little() {
        let good = rmp_serde::to_vec(&good_ping()).expect("encodes");
        let long = rmp_serde::to_vec(&Ping { user: "x".repeat(PING_BYTES_MAX), ..good_ping() }).expect("encodes");
        let five = [&b"\x95"[..], &good[1..good.len() - 1]].concat();
        let seven = [&b"\x97"[..], &good[1..], b"\xa0"].concat();
        let mut pong = good.clone();
        pong[3] = b'O';
        for (what, ping) in [
            ("nothing", &b""[..]),
            ("nil", b"\xc0"),
            ("a map", b"\x80"),
            ("an empty array", b"\x90"),
            ("a message before any handshake", b"\x93\xa3app\x01\x80"),
            ("numbers", b"\x96\xa4PING\x01\x02\x03\x04\x05"),
            ("nil as the user", b"\x96\xa4PING\xa1h\xa1s\xa1d\xc0\xc0"),
            ("maps", b"\x96\xa4PING\x80\x80\x80\x80\x80"),
            ("a length of 4 GiB", b"\x96\xdb\xff\xff\xff\xffPING"),
            ("an array of 4 G elements", b"\xdd\xff\xff\xff\xff\xa4PING"),
            ("deep nesting", &[0x91; 10_000]),
            ("five elements", &five),
            ("seven elements", &seven),
            ("another word", &pong),
            ("more behind it", &[&good[..], b"\xc0"].concat()),
            ("too long", &long),
        ] {
            let (pong, result) = answer(&settings(&[("alice", "wonderland")]), ping);
            assert_eq!(result, Err(Denied::Malformed), "{what}");
            assert_eq!((pong.accepted, &*pong.reason, &*pong.digest), (false, "invalid ping message", ""), "{what}");
        }
        for cut in 0..good.len() {
            assert_eq!(answer(&settings(&[]), &good[..cut]).1, Err(Denied::Malformed), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn property_one_changed_byte_lets_nobody_in(at in any::<prop::sample::Index>(), change in 1_u8..) {
            let mut ping = rmp_serde::to_vec(&good_ping()).unwrap();
            let at = at.index(ping.len());
            ping[at] ^= change;
            // A str may become a bin of the same bytes, and the user's two fields are not asked for here.
            let same = |read: Ping| Ping { user: String::new(), password_digest: String::new(), ..read } == good_ping();
            if !read(&ping).is_some_and(same) {
                prop_assert!(answer(&settings(&[]), &ping).1.is_err());
            }
        }

        #[test]
        fn property_noise_lets_nobody_in(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(answer(&settings(&[]), &bytes).1.is_err());
            prop_assert!(answer(&settings(&[]), &[&b"\x96\xa4PING"[..], &bytes].concat()).1.is_err());
        }
    }
}
