//! The meanings of answers, one by one.
//!
//! Promises: each status that a backend can give stands in a table.
//! Never: asks a backend.

use super::*;

fn answer(status: u16, headers: &[(&'static str, &str)], body: &'static [u8]) -> Response<Bytes> {
    let mut answer = Response::new(Bytes::from_static(body));
    *answer.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        answer.headers_mut().insert(*name, value.parse().expect("a value"));
    }
    answer
}

/// `Again` with its cause and wait in seconds, or the name of another answer.
fn said(answer: &Answer) -> String {
    match answer {
        Answer::Again { cause, after, .. } => format!("{} {:?}", cause.label(), after.map(|after| after.as_secs())),
        Answer::Short { refused, .. } => format!("short {refused}"),
        Answer::Divide { .. } => "divide".to_owned(),
        Answer::Delivered => "delivered".to_owned(),
        other => format!("{other:?}"),
    }
}

#[test]
fn every_status_of_http_has_one_meaning() {
    for (status, headers, expected) in [
        (200, &[][..], "delivered"),
        (202, &[], "delivered"),
        (301, &[("location", "http://elsewhere")], "missing None"),
        (400, &[], "divide"),
        (401, &[], "denied None"),
        (403, &[], "denied None"),
        (404, &[], "missing None"),
        (405, &[], "missing None"),
        (408, &[], "divide"),
        (413, &[], "divide"),
        (415, &[], "missing None"),
        (429, &[("retry-after", "7")], "throttled Some(7)"),
        (429, &[("retry-after", "99999")], "throttled Some(300)"),
        (
            429,
            &[("date", "Fri, 27 Nov 2026 10:00:00 GMT"), ("retry-after", "Fri, 27 Nov 2026 10:00:30 GMT")],
            "throttled Some(30)",
        ),
        (500, &[], "divide"),
        (501, &[], "divide"),
        (502, &[], "unavailable None"),
        (503, &[("retry-after", "nonsense")], "unavailable None"),
        (504, &[("retry-after", "1")], "unavailable Some(1)"),
    ] {
        assert_eq!(said(&of_http(&answer(status, headers, b""))), expected, "{status} {headers:?}");
    }
}

#[test]
fn what_was_taken_in_part_is_counted_and_not_sent_again() {
    for (body, expected) in [
        (&b""[..], "delivered"),
        (b"\x0a\x00", "delivered"),
        (b"\x0a\x06\x12\x04warn", "delivered"),
        (b"\x0a\x02\x08\x07", "short 7"),
        (b"\x0a\x09\x08\xac\x02\x12\x04text", "short 300"),
        (b"\x0a\x0b\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "delivered"),
        (b"\x0a\x06\x08\xff\xff\xff\xff\x7f", "short 4294967295"),
        (b"not protobuf", "delivered"),
        (b"\x0a\xff", "delivered"),
        (b"{}", "delivered"),
    ] {
        assert_eq!(said(&of_success(body)), expected, "{body:x?}");
    }
}

#[test]
fn every_status_of_grpc_has_one_meaning() {
    let headers = |details: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-message", "50 %25 of%0Ait".parse().expect("a value"));
        if !details.is_empty() {
            headers.insert("grpc-status-details-bin", details.parse().expect("a value"));
        }
        headers
    };
    // RetryInfo with 1.5 s, as Python's grpcio-status writes it.
    let mut status =
        b"\x08\x08\x12\x01x\x1a\x36\x0a\x28type.googleapis.com/google.rpc.RetryInfo\x12\x0a\x0a\x08\x08\x01\x10\x80"
            .to_vec();
    status.extend(b"\xca\xb5\xee\x01");
    let info = base64::encoded(&status, false);
    for (code, expected, with_info) in [
        (1, "unavailable None", "unavailable Some(1)"),
        (2, "divide", "divide"),
        (3, "divide", "divide"),
        (4, "ambiguous None", "ambiguous Some(1)"),
        (5, "missing None", "missing Some(1)"),
        (6, "divide", "divide"),
        (7, "denied None", "denied Some(1)"),
        (8, "divide", "throttled Some(1)"),
        (9, "divide", "divide"),
        (10, "unavailable None", "unavailable Some(1)"),
        (11, "unavailable None", "unavailable Some(1)"),
        (12, "missing None", "missing Some(1)"),
        (13, "divide", "divide"),
        (14, "unavailable None", "unavailable Some(1)"),
        (15, "unavailable None", "unavailable Some(1)"),
        (16, "denied None", "denied Some(1)"),
        (99, "divide", "divide"),
    ] {
        assert_eq!(said(&of_grpc(code, &headers(""))), expected, "{code}");
        assert_eq!(said(&of_grpc(code, &headers(&info))), with_info, "{code}");
        assert_eq!(said(&of_grpc(code, &headers("!!"))), expected, "{code}: details that are none");
    }
    let Answer::Divide { detail } = of_grpc(3, &headers("")) else { panic!("not a bad request") };
    assert_eq!(detail, "grpc status 3: 50 % of", "one line");
}

#[test]
fn what_a_backend_says_is_one_short_line() {
    let text = |body: &'static [u8]| match of_http(&answer(400, &[], body)) {
        Answer::Divide { detail } => detail,
        other => panic!("{other:?}"),
    };
    assert_eq!(text(b"\x08\x03\x12\x09bad spans"), "status 400: bad spans");
    assert_eq!(text(b"  plain\r\nsecond"), "status 400: plain");
    assert_eq!(text(b""), "status 400: ");
    let long: &'static [u8] = Box::leak(vec![b'x'; 10_000].into_boxed_slice());
    assert_eq!(text(long).len(), "status 400: ".len() + MESSAGE_BYTES_MAX);
}
