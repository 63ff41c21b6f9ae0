//! Packets of StatsD, encoded beforehand.
//!
//! Promises: every series is written equally often; a packet is no longer than the way takes; how much a packet counts is known.
//! Never: encodes while it is measured.

use std::{
    net::{SocketAddr, UdpSocket},
    os::unix::net::UnixDatagram,
    path::Path,
    thread,
    time::Duration,
};

use anyhow::bail;

use crate::bench::{clock::Clock, process::sleep_precisely};

/// Samples that a packed line has.
pub(super) const PACKED: usize = 8;
/// Packets between two looks at the clock.
const FLAT_OUT: u64 = 64;

/// How samples stand in packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A line a packet: clients without a buffer.
    Single,
    /// As many lines as fit: clients with one.
    Lines,
    /// The same, and several values in a line (protocol 1.1).
    Packed,
}

/// By what they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// UDP over loopback.
    Udp,
    /// Datagrams on a unix socket.
    Unix,
}

impl Way {
    pub(super) const ALL: [(&'static str, Self); 2] = [("udp", Self::Udp), ("unix", Self::Unix)];

    /// Bytes of a packet: as Datadog's clients have them.
    fn packet_bytes(self) -> usize {
        match self {
            Self::Udp => 1_432,
            Self::Unix => 8_192,
        }
    }
}

impl Shape {
    pub(super) const ALL: [(&'static str, Self); 3] =
        [("single", Self::Single), ("lines", Self::Lines), ("packed", Self::Packed)];

    /// Samples of a line.
    pub(super) fn samples(self) -> usize {
        if self == Self::Packed { PACKED } else { 1 }
    }
}

/// A packet, and how many lines it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// One line of each of `series` series, in packets. Each has tags of some 40 bytes, as apps write them.
pub(super) fn packets(way: Way, shape: Shape, series: usize) -> Vec<Packet> {
    let (mut packets, mut open) = (Vec::new(), Packet { bytes: Vec::new(), lines: 0 });
    for number in 0..series {
        let (value, kind) = match shape {
            Shape::Packed => (format!(":{}", ["1"; PACKED].join(":")), "d"),
            _ => (":1".to_owned(), "c"),
        };
        let line = format!("bench.hits{value}|{kind}|#env:bench,service:shop,route:/items/{number:06}\n");
        let is_full = shape == Shape::Single || open.bytes.len() + line.len() > way.packet_bytes();
        if is_full && open.lines > 0 {
            packets.push(std::mem::replace(&mut open, Packet { bytes: Vec::new(), lines: 0 }));
        }
        open.bytes.extend_from_slice(line.as_bytes());
        open.lines += 1;
    }
    packets.push(open);
    packets
}

/// A socket that is sent from.
pub(super) enum Socket {
    Udp(UdpSocket),
    Unix(UnixDatagram),
}

impl Socket {
    pub(super) fn open(way: Way, udp: SocketAddr, unix: &Path) -> anyhow::Result<Self> {
        Ok(match way {
            Way::Udp => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.connect(udp)?;
                Self::Udp(socket)
            }
            Way::Unix => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(unix)?;
                Self::Unix(socket)
            }
        })
    }

    fn send(&self, packet: &Packet) -> anyhow::Result<()> {
        let sent = match self {
            Self::Udp(socket) => socket.send(&packet.bytes)?,
            Self::Unix(socket) => socket.send(&packet.bytes)?,
        };
        if sent != packet.bytes.len() { bail!("a packet was cut") } else { Ok(()) }
    }

    /// Sends round after round of `packets` for `time`, at so many lines a second or as fast as the kernel takes them; or one round, if there is no time.
    /// Says how many lines that were.
    pub(super) fn load(
        &self,
        packets: &[Packet],
        rate: Option<u64>,
        time: Option<Duration>,
        clock: Clock,
    ) -> anyhow::Result<u64> {
        sleep_precisely();
        let (begun, mut lines, mut number) = (clock.now(), 0, 0_u64);
        loop {
            for packet in packets {
                match rate {
                    Some(rate) => {
                        let due = begun + Duration::from_nanos(lines * 1_000_000_000 / rate);
                        if time.is_some_and(|time| due >= begun + time) {
                            return Ok(lines);
                        }
                        if let Some(early) = due.checked_sub(clock.now()) {
                            thread::sleep(early);
                        }
                    }
                    None if number.is_multiple_of(FLAT_OUT) && time.is_some_and(|time| clock.now() >= begun + time) => {
                        return Ok(lines);
                    }
                    None => {}
                }
                self.send(packet)?;
                lines += packet.lines;
                number += 1;
            }
            if time.is_none() {
                return Ok(lines);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_series_is_in_one_packet_that_is_not_too_long() {
        for (_, way) in Way::ALL {
            for (name, shape) in Shape::ALL {
                let packets = packets(way, shape, 1_000);
                assert_eq!(packets.iter().map(|packet| packet.lines).sum::<u64>(), 1_000, "{name}");
                assert!(packets.iter().all(|packet| packet.bytes.len() <= way.packet_bytes()), "{name}");
                assert_eq!(packets.len() == 1_000, shape == Shape::Single, "{name}");
                let text: Vec<u8> = packets.into_iter().flat_map(|packet| packet.bytes).collect();
                let mut lines: Vec<_> = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).collect();
                lines.dedup();
                assert_eq!(lines.len(), 1_000, "{name}");
                let values = lines[0].iter().filter(|byte| **byte == b':').count() - 3;
                assert_eq!(values, shape.samples(), "{name}");
            }
        }
    }
}
