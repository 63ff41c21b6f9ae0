//! The network: HTTP towards services, TLS, and what arrives compressed.
//!
//! Promises: every connect, look-up, request and answer has a bound in time and bytes, taken from `limits`.
//! Never: follows a redirect, looks at what it carries, or sends to a link-local address that a name resolved to.

use std::net::{IpAddr, Ipv6Addr};

pub mod burst;
pub mod caller;
pub mod connect;
pub mod datagram;
pub mod deflate;
pub mod http;
pub mod inflate;
pub mod listen;
#[cfg(test)]
mod name_tests;
pub mod nap;
pub mod partial;
pub mod pieces;
pub mod resolve;
pub mod rewound;
pub mod seats;
pub mod stall;
#[cfg(test)]
pub(crate) mod stub;
pub mod tls;
#[cfg(test)]
mod tls_tests;

/// True for the addresses where hosts offer credentials and metadata: 169.254.0.0/16 and fd00:ec2::/32.
///
/// No service we send data to lives there, so a destination with such an address is a mistake or an attack.
pub fn is_metadata_address(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => v4.is_link_local(),
            None => v6.segments()[..2] == Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0).segments()[..2],
        },
    }
}
