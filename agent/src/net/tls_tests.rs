//! Servers whom we must not trust, and handshakes that do not happen (the reliability matrix's T10).
//!
//! Promises: for each, not a byte of a request is sent, the error and `/metrics` say which it was.
//! Never: shows how often it is tried again; that is `deliver`'s.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    connect::Reason,
    http::{HttpClient, HttpError, Network},
    stub::{Stub, answer},
    tls::Tls,
};
use crate::tell::{chain, counters::Counters};

/// What a test waits for something that never comes.
const SHORT: Duration = Duration::from_millis(300);
/// What a test gives to something that comes.
const LONG: Duration = Duration::from_secs(30);

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tls").join(name)
}

fn client(tls: &Tls) -> HttpClient {
    HttpClient::new(tls, &Counters::new())
}

fn request(url: &str) -> Request<Bytes> {
    Request::post(url).body(Bytes::from_static(b"{\"a\":1}")).expect("a request")
}

/// A TLS server with the certificate and key in a file, which answers one request; counts the bytes it could read.
fn tls_stub(file: &str, version: &'static SupportedProtocolVersion, bytes_read: &Arc<AtomicUsize>) -> Stub {
    let pem = std::fs::read(testdata(file)).expect("a file in testdata");
    let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_slice(&pem).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(&[version])
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(certificates, key))
        .map(Arc::new)
        .expect("a usable configuration");
    let bytes_read = Arc::clone(bytes_read);
    Stub::handling(move |stream| {
        let session = ServerConnection::new(Arc::clone(&config)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(session, stream);
        bytes_read.fetch_add(stream.read(&mut [0; 1024])?, Ordering::Relaxed);
        stream.write_all(answer("200 OK", "", "over TLS").as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()
    })
}

fn good() -> Stub {
    tls_stub("good.pem", &version::TLS13, &Arc::default())
}

/// Shows besides that the stub counts what it reads.
#[tokio::test]
async fn a_bundle_adds_an_authority() {
    for version in [&version::TLS13, &version::TLS12] {
        let bytes_read = Arc::default();
        let stub = tls_stub("good.pem", version, &bytes_read);
        let client = client(&Tls::new(Some(testdata("authority.pem"))));
        for host in ["localhost", "127.0.0.1"] {
            let answer = client.send(request(&format!("https://{host}:{}/", stub.port())), LONG).await.expect(host);
            assert_eq!(&answer.body()[..], b"over TLS");
        }
        assert!(bytes_read.load(Ordering::Relaxed) > 0);
    }
}

#[tokio::test]
async fn not_a_byte_is_sent_to_whom_we_do_not_trust() {
    let trusting = Tls::new(Some(testdata("authority.pem")));
    for (file, tls, why, reason) in [
        ("good.pem", Tls::new(None), "UnknownIssuer", Reason::CertificateAuthority),
        ("expired.pem", trusting.clone(), "expired", Reason::CertificateTime),
        ("other-name.pem", trusting, "not valid for name", Reason::CertificateName),
    ] {
        for version in [&version::TLS13, &version::TLS12] {
            let (bytes_read, counters) = (Arc::default(), Counters::new());
            let stub = tls_stub(file, version, &bytes_read);
            let url = format!("https://localhost:{}/", stub.port());
            let error = HttpClient::new(&tls, &counters).send(request(&url), LONG).await.expect_err(file);
            assert!(chain(&error).to_string().contains(why), "{file}: {}", chain(&error));
            assert!(!error.may_have_arrived(), "{file}: {}", chain(&error));
            assert_eq!(error.unconnected(), Some(reason), "{file}: {}", chain(&error));
            assert_eq!(counters.net_connect_failures.with_label_values(&[reason.label()]).get(), 1, "{file}");
            assert_eq!((bytes_read.load(Ordering::Relaxed), stub.connections()), (0, 1), "{file}");
        }
    }
}

/// What a server does instead of a handshake. It writes down what it was sent.
type Handshake = (&'static str, fn(&TcpStream, &mut Vec<u8>) -> io::Result<()>, Reason, &'static str);

/// Reads until the client closes.
fn hold(mut stream: &TcpStream, heard: &mut Vec<u8>) -> io::Result<()> {
    stream.read_to_end(heard).map(drop)
}

/// Waits for the first bytes of the client's hello, says `record`, and reads what comes.
fn say(mut stream: &TcpStream, record: &[u8], heard: &mut Vec<u8>) -> io::Result<()> {
    heard.resize(16, 0);
    stream.read_exact(heard)?;
    stream.write_all(record)?;
    hold(stream, heard)
}

/// A ServerHello that chooses TLS 1.0 or 1.1 (`minor` 1 or 2), with a cipher suite of its time.
fn old_hello(minor: u8) -> Vec<u8> {
    [&[0x16, 3, 1, 0, 42, 2, 0, 0, 38, 3, minor][..], &[7; 32], &[0, 0, 0x2f, 0]].concat()
}

#[tokio::test]
async fn a_handshake_that_does_not_happen_is_no_connection() {
    let cases: &[Handshake] = &[
        ("hangs", hold, Reason::TlsTimedOut, "handshake was not done within"),
        ("closes", |_, _| Ok(()), Reason::Tls, "handshake failed"),
        (
            "closes within its hello",
            |mut s, h| {
                h.resize(16, 0);
                s.read_exact(h)?;
                s.write_all(&old_hello(3)[..20])
            },
            Reason::Tls,
            "handshake failed",
        ),
        ("is plain HTTP", |s, h| say(s, b"HTTP/1.1 200 OK\r\n\r\n", h), Reason::Tls, "handshake failed"),
        ("chooses TLS 1.0", |s, h| say(s, &old_hello(1), h), Reason::TlsVersion, "incompatible"),
        ("chooses TLS 1.1", |s, h| say(s, &old_hello(2), h), Reason::TlsVersion, "incompatible"),
        // The alert `protocol_version`, as OpenSSL with nothing newer than TLS 1.1 sends it.
        ("refuses what is newer", |s, h| say(s, &[0x15, 3, 1, 0, 2, 2, 70], h), Reason::TlsVersion, "ProtocolVersion"),
    ];
    for (what, serve, reason, why) in cases {
        let (heard, counters) = (Arc::new(Mutex::new(Vec::new())), Counters::new());
        let (serve, kept) = (*serve, Arc::clone(&heard));
        let (done, ended) = std::sync::mpsc::sync_channel(1);
        let stub = Stub::handling(move |stream| {
            let mut bytes = Vec::new();
            let result = serve(&stream, &mut bytes);
            kept.lock().expect("not poisoned").extend(bytes);
            let _ = done.try_send(());
            result
        });
        let network = Network {
            connect_timeout: if *reason == Reason::TlsTimedOut { SHORT } else { LONG },
            ..Network::default()
        };
        let client = HttpClient::over(network, &Tls::new(None), &counters);
        let url = format!("https://localhost:{}/", stub.port());
        let error = client.send(request(&url), LONG).await.expect_err(what);
        assert!(matches!(error, HttpError::Connect { .. }), "a server that {what}: {}", chain(&error));
        assert!(chain(&error).to_string().contains(why), "a server that {what}: {}", chain(&error));
        assert_eq!(error.unconnected(), Some(*reason), "a server that {what}: {}", chain(&error));
        assert_eq!(counters.net_connect_failures.with_label_values(&[reason.label()]).get(), 1, "{what}");
        ended.recv_timeout(LONG).expect("the server's connection ends with the client's");
        assert_no_data(what, &heard.lock().expect("not poisoned"));
    }
}

/// All that was sent are records of TLS, of the handshake (22) or alerts (21), and none of data (23).
fn assert_no_data(what: &str, mut heard: &[u8]) {
    while let [kind, _, _, high, low, rest @ ..] = heard {
        assert!([21, 22].contains(kind), "a server that {what} was sent a record of type {kind}");
        heard = rest.get(usize::from(u16::from_be_bytes([*high, *low]))..).unwrap_or_default();
    }
}

#[tokio::test]
async fn a_bundle_that_cannot_be_used_is_named_and_tried_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.pem");
    let stub = good();
    let counters = Counters::new();
    let client = HttpClient::new(&Tls::new(Some(path.clone())), &counters);
    let url = format!("https://localhost:{}/", stub.port());

    let missing = client.send(request(&url), LONG).await.expect_err("no file");
    let text = chain(&missing).to_string();
    assert!(text.contains("ca.pem") && text.contains("No such file"), "{text}");
    std::fs::write(&path, "no certificate").expect("written");
    let empty = client.send(request(&url), LONG).await.expect_err("no certificate");
    assert!(chain(&empty).to_string().contains("holds no certificate"), "{}", chain(&empty));
    assert_eq!(counters.net_connect_failures.with_label_values(&["own"]).get(), 2);
    std::fs::copy(testdata("authority.pem"), &path).expect("copied");
    assert_eq!(client.send(request(&url), LONG).await.expect("an answer").status(), StatusCode::OK);
}
