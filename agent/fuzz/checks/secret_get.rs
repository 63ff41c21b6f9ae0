//! What must hold of any bytes that a connection of the local API begins with.
//!
//! Promises: one function that panics if something does not hold; the fuzz target and the replay of its corpus call it.
//! Never: does I/O.

use pillion::secrets::api::head::read;

/// What is plain is the same request to hyper's own parser, whatever follows it, and not before it is whole.
pub(crate) fn check(bytes: &[u8]) {
    let Some(head) = read(bytes) else { return };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    assert_eq!(request.parse(bytes), Ok(httparse::Status::Complete(head.length())));
    assert_eq!((request.method, request.version), (Some("GET"), Some(1)));
    let uri: http::Uri = request.path.unwrap_or_default().parse().expect("what is plain is a URI");
    assert_eq!((uri.path(), uri.query().unwrap_or_default()), (head.path(), head.query()));
    assert!(uri.scheme().is_none() && uri.authority().is_none());
    let theirs: Vec<_> = request.headers.iter().map(|header| (header.name, header.value)).collect();
    assert_eq!(theirs, head.headers());
    for name in ["content-length", "transfer-encoding", "expect", "upgrade"] {
        assert!(!theirs.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)), "{name} is plain");
    }
    assert_eq!(read(&bytes[..head.length()]).map(|alone| alone.length()), Some(head.length()));
    for end in [head.length() - 1, head.length() - 2, head.length() / 2] {
        assert!(read(&bytes[..end]).is_none(), "plain, though not whole");
    }
}
