//! A network of the agent's own, which loses packets, resets connections or swallows everything when told.
//!
//! Promises: a network namespace with one cable to ours; what is done to the packets is done in there by the kernel's
//! packet filter; gone when dropped.
//! Never: touches another namespace's filter, or a network that is there already.

use std::{
    net::{Ipv4Addr, SocketAddr},
    process::{self, Command},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::agent::{PILLION, Setup};

/// The port of the agent's admin address in there. Nobody else is.
const ADMIN_PORT: u16 = 8_088;

/// A namespace with a cable.
#[derive(Debug)]
pub struct Network {
    name: String,
    ours: Ipv4Addr,
    theirs: Ipv4Addr,
}

impl Network {
    /// Lays a cable to a new namespace.
    pub fn new() -> Self {
        static MADE: AtomicUsize = AtomicUsize::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let id = process::id();
        // 198.18.0.0/15 is for tests of networks (RFC 2544). A net of four addresses for each cable.
        let net = (id as usize * 16 + number) * 4 % (1 << 17);
        let address = |host: usize| Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + (net + host) as u32);
        let network = Self { name: format!("pn{id:x}-{number}"), ours: address(1), theirs: address(2) };
        let (name, ours, theirs) = (&network.name, network.ours, network.theirs);
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add {name}o type veth peer name eth0 netns {name}"));
        run(&format!("ip addr add {ours}/30 dev {name}o"));
        run(&format!("ip link set {name}o up"));
        run(&format!("ip -n {name} addr add {theirs}/30 dev eth0"));
        run(&format!("ip -n {name} link set eth0 up"));
        run(&format!("ip -n {name} link set lo up"));
        network
    }

    /// Our end of the cable, where the services are.
    pub fn ours(&self) -> Ipv4Addr {
        self.ours
    }

    /// Starts the agent of `setup` in there.
    #[must_use]
    pub fn around(&self, setup: Setup) -> Setup {
        let admin = SocketAddr::from((self.theirs, ADMIN_PORT));
        Setup { admin: Some(admin), ..setup }.by(&["ip", "netns", "exec", &self.name, PILLION])
    }

    /// Adds a rule for packets, in the words of iptables behind `-A`.
    pub fn add(&self, rule: &str) {
        self.filter(&format!("-A {rule}"));
    }

    /// Lets all packets pass again.
    pub fn heal(&self) {
        self.filter("-F");
    }

    /// Packets that met the rules.
    pub fn met(&self) -> u64 {
        let page = self.filter("-L -n -v -x");
        let packets = |line: &str| line.split_whitespace().next()?.parse::<u64>().ok();
        page.lines().filter(|line| !line.starts_with("Chain")).filter_map(packets).sum()
    }

    fn filter(&self, words: &str) -> String {
        run(&format!("ip netns exec {} iptables -w {words}", self.name))
    }
}

impl Default for Network {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // Takes the cable with it.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap_or_default()).args(words).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run `{line}`: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` failed; it needs root, Debian's iproute2 and iptables: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
