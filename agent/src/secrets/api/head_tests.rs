//! Heads that are plain, heads that are not, and hyper's own parser as the judge of both.
//!
//! Promises: what the known clients send is plain; what is hostile is not. Never: proves what is answered; `plain_tests` does.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

/// As they were seen on the wire, with the token and the port made the same.
pub(in crate::secrets::api) const CLIENTS: &[(&str, &str)] = &[
    (
        "curl 7.88",
        "GET /secretsmanager/get?secretId=app%2Fdb HTTP/1.1\r\nHost: localhost:2773\r\nUser-Agent: curl/7.88.1\r\nAccept: */*\r\nX-Aws-Parameters-Secrets-Token: TOKEN\r\n\r\n",
    ),
    (
        "Python requests 2.34",
        "GET /secretsmanager/get?secretId=db HTTP/1.1\r\nHost: localhost:2773\r\nUser-Agent: python-requests/2.34.2\r\nAccept-Encoding: gzip, deflate\r\nAccept: */*\r\nConnection: keep-alive\r\nX-Vault-Token: TOKEN\r\n\r\n",
    ),
    (
        "Python urllib3 2.8",
        "GET /v1/db HTTP/1.1\r\nHost: localhost:2773\r\nAccept-Encoding: identity\r\nUser-Agent: python-urllib3/2.8.0\r\nX-Vault-Token: TOKEN\r\n\r\n",
    ),
    (
        "Python urllib 3.11, which closes",
        "GET /v1/db HTTP/1.1\r\nAccept-Encoding: identity\r\nHost: localhost:2773\r\nUser-Agent: Python-urllib/3.11\r\nX-Vault-Token: TOKEN\r\nConnection: close\r\n\r\n",
    ),
    (
        "Node 20 fetch",
        "GET /v1/db?versionStage=AWSCURRENT HTTP/1.1\r\nhost: localhost:2773\r\nconnection: keep-alive\r\nX-Vault-Token: TOKEN\r\naccept: */*\r\naccept-language: *\r\nsec-fetch-mode: cors\r\nuser-agent: node\r\naccept-encoding: gzip, deflate\r\n\r\n",
    ),
    (
        "Node 20 http",
        "GET /v1/db HTTP/1.1\r\nX-Vault-Token: TOKEN\r\nHost: localhost:2773\r\nConnection: keep-alive\r\n\r\n",
    ),
    (
        "Java 17 HttpURLConnection",
        "GET /v1/db HTTP/1.1\r\nX-Vault-Token: TOKEN\r\nUser-Agent: Java/17.0.15\r\nHost: localhost:2773\r\nAccept: text/html, image/gif, image/jpeg, */*; q=0.2\r\nConnection: keep-alive\r\n\r\n",
    ),
    (
        "Java 17 HttpClient, which offers HTTP/2",
        "GET /v1/db HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nContent-Length: 0\r\nHost: localhost:2773\r\nHTTP2-Settings: AAEAAEAAAAIAAAAAAAMAAAAAAAQBAAAAAAUAAEAAAAYABgAA\r\nUpgrade: h2c\r\nUser-Agent: Java-http-client/17.0.15\r\nX-Vault-Token: TOKEN\r\n\r\n",
    ),
];

/// What to say of a head: its path, query, and headers.
fn said(bytes: &[u8]) -> String {
    read(bytes).map_or("not plain".to_owned(), |head| {
        assert_eq!(head.length(), bytes.len());
        let names: Vec<_> = head.headers().iter().map(|(name, _)| *name).collect();
        format!("{} {} {}", head.path(), head.query(), names.join(","))
    })
}

#[test]
fn what_known_clients_send_is_plain() {
    let all: Vec<_> = CLIENTS.iter().map(|(who, head)| format!("{who}: {}", said(head.as_bytes()))).collect();
    assert_snapshot!(all.join("\n"), @"
curl 7.88: /secretsmanager/get secretId=app%2Fdb Host,User-Agent,Accept,X-Aws-Parameters-Secrets-Token
Python requests 2.34: /secretsmanager/get secretId=db Host,User-Agent,Accept-Encoding,Accept,Connection,X-Vault-Token
Python urllib3 2.8: /v1/db  Host,Accept-Encoding,User-Agent,X-Vault-Token
Python urllib 3.11, which closes: not plain
Node 20 fetch: /v1/db versionStage=AWSCURRENT host,connection,X-Vault-Token,accept,accept-language,sec-fetch-mode,user-agent,accept-encoding
Node 20 http: /v1/db  X-Vault-Token,Host,Connection
Java 17 HttpURLConnection: /v1/db  X-Vault-Token,User-Agent,Host,Accept,Connection
Java 17 HttpClient, which offers HTTP/2: not plain
");
}

/// First lines that are not plain.
const FIRSTS: &[&str] = &[
    "POST /v1/db HTTP/1.1",
    "get /v1/db HTTP/1.1",
    "GET  /v1/db HTTP/1.1",
    "GET /v1/db  HTTP/1.1",
    "GET /v1/db HTTP/1.0",
    "GET /v1/db HTTP/1.1 ",
    "GET /v1/db HTTP/1.2",
    "GET /v1/db http/1.1",
    "GET /v1/db",
    "GET",
    "",
    " GET /v1/db HTTP/1.1",
    "GET http://localhost/v1/db HTTP/1.1",
    "GET * HTTP/1.1",
    "GET v1/db HTTP/1.1",
    "GET /v1/d b HTTP/1.1",
    "GET /v1/db#x HTTP/1.1",
    "GET /v1/d\tb HTTP/1.1",
    "GET /v1/d\0b HTTP/1.1",
    "GET /v1/d\u{e4}b HTTP/1.1",
    "GET /v1/d\rb HTTP/1.1",
    "\r\nGET /v1/db HTTP/1.1",
    "GET\t/v1/db HTTP/1.1",
    "GET /v1/\"db\" HTTP/1.1",
    "GET /v1/{db} HTTP/1.1",
    "PRI * HTTP/2.0",
];

/// Headers that make a head one that is not plain.
const HEADERS: &[&str] = &[
    "Content-Length: 0\r\n",
    "content-length: 5\r\n",
    "CONTENT-LENGTH:\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: identity\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Content-Length : 5\r\n",
    " Content-Length: 5\r\n",
    "\tX: y\r\n",
    "X: y\r\n z\r\n",
    "Expect: 100-continue\r\n",
    "Upgrade: h2c\r\n",
    "Connection: close\r\n",
    "Connection: Upgrade\r\n",
    "Connection: keep-alive, close\r\n",
    "Connection: keep-alive\r\nConnection: close\r\n",
    "Connection:\r\n",
    "TE: trailers\r\n",
    "Trailer: X\r\n",
    "If-None-Match: \"v-1\"\r\n",
    "X\r\n",
    ": y\r\n",
    "X y: z\r\n",
    "X(: y\r\n",
    "X: \0\r\n",
    "X: \u{7f}\r\n",
    "X: \u{e4}\r\n",
    "X: y\rz: 1\r\n",
    "X: y\n",
    "X: y\r\r\n",
    "\u{e4}: y\r\n",
];

/// What would let one of two readers see another request than the other, or is not to be answered from here.
#[test]
fn what_is_hostile_or_odd_is_not_plain() {
    let head = |first: &str, lines: &str| format!("{first}\r\nHost: localhost\r\n{lines}\r\n").into_bytes();
    let line = |lines: &str| head("GET /v1/db HTTP/1.1", lines);
    assert!(read(&line("X-Vault-Token: t\r\n")).is_some(), "the others differ from this one");
    for first in FIRSTS {
        assert!(read(&head(first, "")).is_none(), "{first:?}");
    }
    let many = "X: y\r\n".repeat(HEADERS_MAX);
    for header in HEADERS.iter().copied().chain([&*many]) {
        assert!(read(&line(header)).is_none(), "{header:?}");
    }
    assert!(read(b"GET /v1/db HTTP/1.1\nHost: localhost\n\n").is_none() && read(b"").is_none());
}

/// Both readers' opinion of bytes: hyper's parser is `httparse`, and its path is a `Uri`.
fn held_against_hyper(bytes: &[u8]) -> Result<(), TestCaseError> {
    let Some(head) = read(bytes) else { return Ok(()) };
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(bytes);
    prop_assert_eq!(parsed, Ok(httparse::Status::Complete(head.length())));
    prop_assert_eq!((request.method, request.version), (Some("GET"), Some(1)));
    let uri: http::Uri = request.path.unwrap_or_default().parse().map_err(|_| TestCaseError::fail("no URI"))?;
    prop_assert_eq!((uri.path(), uri.query().unwrap_or_default()), (head.path(), head.query()));
    prop_assert!(uri.authority().is_none());
    let theirs: Vec<_> = request.headers.iter().map(|header| (header.name, header.value)).collect();
    prop_assert_eq!(theirs, head.headers());
    Ok(())
}

/// A head with something odd in it, or not.
fn heads() -> impl Strategy<Value = Vec<u8>> {
    let odd = prop::sample::select(vec![
        "",
        " ",
        "\t",
        "\r",
        "\n",
        "\r\n",
        ":",
        "\0",
        "\u{e4}",
        "\u{7f}",
        "#",
        "?",
        "//",
        "HTTP/1.1",
        "Content-Length: 1\r\n",
        "%",
        "\"",
    ]);
    let header = "(Host|X-Vault-Token|connection|Accept|X-[a-z!#$%&'*+.^_`|~-]{0,9}):[ \t]{0,2}([ -~\t]{0,12}|keep-alive)[ \t]{0,2}\r\n";
    let target = "/(v1/)?[!-~]{0,20}(\\?[!-~]{0,20})?";
    (target, prop::collection::vec(header, 0..6), odd, any::<prop::sample::Index>()).prop_map(
        |(target, headers, odd, at)| {
            let mut head = format!("GET {target} HTTP/1.1\r\n{}\r\n", headers.concat()).into_bytes();
            let at = at.index(head.len() + 1);
            head.splice(at..at, odd.bytes());
            head
        },
    )
}

proptest! {
    #[test]
    fn property_what_is_plain_is_the_same_to_hyper(head in heads(), after in prop::collection::vec(any::<u8>(), 0..9)) {
        held_against_hyper(&head)?;
        let followed = [&head[..], &after].concat();
        held_against_hyper(&followed)?;
        if let Some(whole) = read(&head) {
            prop_assert_eq!(read(&followed).map(|head| head.length()), Some(whole.length()));
            for end in 0..whole.length() {
                prop_assert!(read(&head[..end]).is_none(), "plain, though not whole");
            }
        }
    }

    #[test]
    fn property_no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        held_against_hyper(&bytes)?;
    }
}
