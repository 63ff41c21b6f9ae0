//! How a segment is called, and whose it is.
//!
//! Promises: a name has only characters that X-Ray takes, is at most 200 bytes long, cut between characters, and never empty.
//! Never: takes a name out of an attribute that is not text.

use std::borrow::Cow;

use super::{
    json::cut,
    keys::Key,
    span::{Kind, Span},
    value::Attributes,
};

/// X-Ray takes 200 characters. Bytes, so that it does not matter how it counts.
const NAME_BYTES_MAX: usize = 200;

/// A name and its namespace.
#[derive(Debug)]
pub(super) struct Naming<'a> {
    pub(super) name: Cow<'a, [u8]>,
    pub(super) namespace: &'static str,
}

/// The name of `span`: the first of a list of attributes that has text, and in the end its own.
pub(super) fn of<'a>(span: &Span<'a>, resource: &Attributes<'a>, local_root: bool) -> Naming<'a> {
    let attributes = &span.attributes;
    let server = span.kind == Kind::Server;
    let aws_service = attributes.text(Key::AwsService);
    let first = [
        if server || (span.kind == Kind::Internal && local_root) { attributes.text(Key::AwsLocalService) } else { b"" },
        if span.kind.is_dependency() { remote_service(attributes) } else { b"" },
        attributes.text(Key::PeerService),
    ];
    let mut named_by_service = false;
    let name = first.into_iter().find(|name| !name.is_empty()).map(Cow::Borrowed).unwrap_or_else(|| {
        named_by_service = !aws_service.is_empty();
        if named_by_service { Cow::Borrowed(aws_service) } else { later(span, resource) }
    });
    let namespace = if is_aws_api(attributes) || named_by_service {
        "aws"
    } else if span.kind == Kind::Client {
        "remote"
    } else {
        ""
    };
    Naming { name, namespace }
}

/// The name of the service that a dependency is on, as AWS's SDKs are shown.
pub(super) fn remote_service<'a>(attributes: &Attributes<'a>) -> &'a [u8] {
    let name = attributes.text(Key::AwsRemoteService);
    let prefix = ["AWS.SDK.", "AWS::"].iter().find_map(|prefix| name.strip_prefix(prefix.as_bytes()));
    prefix.filter(|_| is_aws_api(attributes)).unwrap_or(name)
}

pub(super) fn is_aws_api(attributes: &Attributes<'_>) -> bool {
    attributes.text(Key::RpcSystem) == b"aws-api"
}

fn later<'a>(span: &Span<'a>, resource: &Attributes<'a>) -> Cow<'a, [u8]> {
    let attributes = &span.attributes;
    if let Some(database) = database(attributes) {
        return database;
    }
    let server = span.kind == Kind::Server;
    let found = [
        if server { resource.text(Key::ServiceName) } else { b"" },
        attributes.text(Key::RpcService),
        attributes.text(Key::HttpHost),
        attributes.text(Key::NetPeerName),
        // What `net.peer.name` is called now. Of a server it is its own address.
        if server { b"" } else { attributes.text(Key::ServerAddress) },
    ];
    Cow::Borrowed(found.into_iter().find(|name| !name.is_empty()).unwrap_or(span.name))
}

/// A database and its host.
fn database<'a>(attributes: &Attributes<'a>) -> Option<Cow<'a, [u8]>> {
    let old = attributes.text(Key::DbName);
    let name = if old.is_empty() { attributes.text(Key::DbNamespace) } else { old };
    if name.is_empty() {
        return None;
    }
    let connection = attributes.text(Key::DbConnectionString);
    let host = match host(connection) {
        b"" if old.is_empty() => attributes.text(Key::ServerAddress),
        host => host,
    };
    Some(if host.is_empty() { Cow::Borrowed(name) } else { Cow::Owned([name, b"@", host].concat()) })
}

/// The host in the address of a database.
fn host(connection: &[u8]) -> &[u8] {
    let address = connection.strip_prefix(b"jdbc:").unwrap_or(connection);
    let Some(start) = memchr::memmem::find(address, b"://") else { return b"" };
    let rest = &address[start + 3..];
    let authority = rest.split(|byte| b"/?#;".contains(byte)).next().unwrap_or_default();
    let host = authority.rsplit(|&byte| byte == b'@').next().unwrap_or_default();
    match host {
        // An address of IPv6 stands in brackets.
        [b'[', inner @ ..] => inner.split(|&byte| byte == b']').next().unwrap_or_default(),
        host => host.split(|&byte| byte == b':').next().unwrap_or_default(),
    }
}

/// `name` as X-Ray takes one.
pub(super) fn clean(name: &[u8]) -> Cow<'_, [u8]> {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b" _.:/%&#=+\\-@".contains(byte);
    if !name.trim_ascii().is_empty() && name.len() <= NAME_BYTES_MAX && name.iter().all(plain) {
        return Cow::Borrowed(name);
    }
    // A character of four bytes may become one of three; more of the text can not matter.
    let text = String::from_utf8_lossy(cut(name, 64 * 1024));
    let mut cleaned = String::new();
    for character in text.chars() {
        let taken = if character.is_ascii() { plain(&(character as u8)) } else { character.is_alphanumeric() };
        if taken {
            if cleaned.len() + character.len_utf8() > NAME_BYTES_MAX {
                break;
            }
            cleaned.push(character);
        }
    }
    if cleaned.trim().is_empty() { Cow::Borrowed(b"span") } else { Cow::Owned(cleaned.into_bytes()) }
}
