//! Sends segments to a UDP port on a precise schedule, or as fast as the kernel takes them.
//!
//! Promises: each segment is one datagram with a number of its own; the kernel's count of what it dropped at the port is read by the port.
//! Never: sends a segment twice.

use std::{
    fs, io,
    net::{SocketAddr, UdpSocket},
    thread,
    time::Duration,
};

use crate::bench::{clock::Clock, process::sleep_precisely};

const HEADER: &[u8] = b"{\"format\":\"json\",\"version\":1}\n";
/// What stands before the number of a segment, and how it looks within the request.
const BEFORE: &str = "{\"id\":\"";
/// Bytes of the number, in hexadecimal digits.
pub(in crate::bench) const DIGITS: usize = 16;
/// Datagrams between two looks at the clock, flat out.
const FLAT_OUT: u64 = 64;

/// A segment as an SDK writes it for a request with a query in it: some 1.3 KB.
pub(super) fn segment(number: u64) -> Vec<u8> {
    let mut text = format!(
        "{BEFORE}{number:016x}\",\"name\":\"checkout.shop.example\",\"trace_id\":\"1-58406520-a006649127e371903a2de979\",\
         \"start_time\":1478293361.271,\"end_time\":1478293361.449,\"in_progress\":false,\"http\":{{\"request\":{{\"method\":\"POST\",\
         \"url\":\"https://checkout.shop.example/api/v2/carts/9f4c/items?currency=EUR\",\"client_ip\":\"203.0.113.17\",\"user_agent\":\
         \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36\"}},\"response\":\
         {{\"status\":200,\"content_length\":1543}}}},\"aws\":{{\"xray\":{{\"sdk\":\"X-Ray for Python\",\"sdk_version\":\"2.15.0\"}},\"ecs\":\
         {{\"container\":\"ip-10-0-1-17.eu-west-1.compute.internal\"}}}},\"origin\":\"AWS::ECS::Container\",\"service\":{{\"runtime\":\
         \"CPython\",\"runtime_version\":\"3.13.1\",\"version\":\"2026.11.3\"}},\"annotations\":{{\"tenant\":\"acme\",\"cart_items\":7}},\
         \"subsegments\":[{{\"name\":\"orders@db.shop.example\",\"start_time\":1478293361.29,\"end_time\":1478293361.33,\"namespace\":\
         \"remote\",\"sql\":{{\"database_type\":\"PostgreSQL\",\"user\":\"shop\",\"sanitized_query\":\"SELECT i.sku, i.count, p.price\\n  \
         FROM items i JOIN prices p ON p.sku = i.sku\\n WHERE i.cart = $1 AND p.currency = \\\"EUR\\\"\"}}}}],\"metadata\":{{\"default\":\
         {{\"note\":\""
    )
    .into_bytes();
    text.resize(1_290, b'x');
    text.extend_from_slice(b"\"}}}");
    text
}

/// Sends for `time` and says how many.
pub(super) fn send(to: SocketAddr, rate: Option<u64>, time: Duration, clock: &Clock) -> io::Result<u64> {
    sleep_precisely();
    let socket = UdpSocket::bind("127.0.0.1:0")?;
    socket.connect(to)?;
    let mut datagram = [HEADER, &segment(0)].concat();
    let digits = HEADER.len() + BEFORE.len();
    let (begun, mut sent) = (clock.now(), 0);
    loop {
        match rate {
            Some(rate) => {
                let due = begun + Duration::from_nanos(sent * 1_000_000_000 / rate);
                if due >= begun + time {
                    return Ok(sent);
                }
                if let Some(early) = due.checked_sub(clock.now()) {
                    thread::sleep(early);
                }
            }
            None if sent.is_multiple_of(FLAT_OUT) && clock.now() >= begun + time => return Ok(sent),
            None => {}
        }
        datagram[digits..digits + DIGITS].copy_from_slice(format!("{sent:016x}").as_bytes());
        socket.send(&datagram)?;
        sent += 1;
    }
}

/// What the kernel has dropped at a UDP port of ours because nobody read it in time; `None` if nobody is bound.
pub(in crate::bench) fn row(port: u16) -> Option<u64> {
    let table = fs::read_to_string("/proc/net/udp").ok()?;
    let suffix = format!(":{port:04X}");
    let row =
        table.lines().find(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&suffix)))?;
    row.split_whitespace().last()?.parse().ok()
}
