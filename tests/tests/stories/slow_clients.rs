//! Clients that open connections and send next to nothing on them, as one that leaks them does, or one that means harm.
//!
//! Promises: five thousand of them, more at a time than the agent serves; who sends whole requests is answered all the while, on
//! connections that are kept and on new ones. Without places that give way they would wait until the slow ones had been given up.
//! Never: measures how long an answer takes; who waits for longer than clients do fails.

use std::{
    collections::VecDeque,
    io::Write,
    net::{SocketAddr, TcpStream},
};

use tests::otlp::{
    Backend,
    grpc::{TRACES, framed},
    request,
};

use crate::{otlp, sampling};

/// Connections that are opened in all, and at a time.
const ALL: usize = 5_000;
const AT_A_TIME: usize = 600;
const GAVE_WAY: &str = "pillion_net_connections_gave_way_total";

/// What they begin with. Behind it come bytes of which none is the end of anything.
const BEGINNINGS: [&[u8]; 4] = [
    b"",
    b"POST /v1/traces HTTP/1.1\r\nHos",
    b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: 60000\r\n\r\nx",
    b"PRI * HTTP/2.0\r\n\r\nSM",
];

/// The slow clients of some addresses.
struct Slow {
    addresses: Vec<SocketAddr>,
    open: VecDeque<TcpStream>,
    opened: usize,
}

impl Slow {
    fn of(addresses: &[SocketAddr]) -> Self {
        Self { addresses: addresses.to_vec(), open: VecDeque::new(), opened: 0 }
    }

    /// Opens so many more at each address, and has all of them send another byte.
    fn go_on(&mut self, count: usize) {
        for number in 0..count {
            for address in &self.addresses {
                let mut stream = TcpStream::connect(address).unwrap();
                // Who was closed already is not served; that is what the others need.
                let _ = stream.write_all(BEGINNINGS[number % BEGINNINGS.len()]);
                self.open.push_back(stream);
                self.opened += 1;
            }
            while self.open.len() > AT_A_TIME {
                self.open.pop_front();
            }
        }
        for stream in &mut self.open {
            let _ = stream.write_all(b"x");
        }
    }
}

#[test]
fn slow_clients_of_otlp_keep_nobody_out() {
    let backend = Backend::start();
    let task = otlp::Task::start(&[otlp::to(&backend)], "");
    let (mut client, mut caller) = (task.client(), task.caller());
    let (mut slow, mut sent) = (Slow::of(&[task.http, task.grpc]), 0);
    let mut body = || {
        sent += 1;
        request("shop", sent..sent + 1)
    };
    while slow.opened < ALL {
        slow.go_on(40);
        assert_eq!(client.post(&body()).unwrap().status, 200, "kept, by HTTP");
        assert_eq!(caller.call(TRACES, &[], framed(&body(), 0)).unwrap().status, 0, "kept, by gRPC");
        assert_eq!(task.client().post(&body()).unwrap().status, 200, "new, by HTTP");
        assert_eq!(task.caller().call(TRACES, &[], framed(&body(), 0)).unwrap().status, 0, "new, by gRPC");
    }
    task.wait("all that was whole", |total| total.delivered == sent);
    let gave_way = task.agent.metrics().sum(GAVE_WAY, &[("listener", "otlp")]);
    assert!(gave_way > 100.0, "{gave_way}");
    drop(slow);
    task.end();
    assert_eq!(backend.spans().len(), usize::try_from(sent).unwrap());
}

#[test]
fn slow_sdks_keep_nobody_from_the_sampling_rules() {
    let task = sampling::Task::start("");
    let mut slow = Slow::of(&[task.port]);
    for _ in 0..15 {
        slow.go_on(40);
        assert_eq!(task.post("/GetSamplingRules", "", b"{}").status, 200);
    }
    // Most of them are no HTTP/1, and were told so.
    let gave_way = task.agent.metrics().sum(GAVE_WAY, &[("listener", "xray_proxy")]);
    assert!(gave_way > 0.0, "{gave_way}");
    drop(slow);
    task.end();
}
