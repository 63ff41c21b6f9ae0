//! Turns names into addresses.
//!
//! Promises: an answer or an error within the limit, on at most [`limits::RESOLVE_THREADS_MAX`] threads; no address where
//! hosts offer credentials because a name resolved to it; the families of addresses take turns.
//! Never: keeps an answer. The VPC's resolver does, for as long as it may be kept, and we ask for each new connection, so
//! that a name that moves is followed.

use std::{
    io,
    net::{IpAddr, ToSocketAddrs},
    sync::Arc,
    time::Duration,
};

use tokio::{sync::Semaphore, time::timeout};

use super::is_metadata_address;
use crate::limits;

/// Who knows the addresses of names. It may block for as long as it likes.
pub trait Resolve: Send + Sync {
    /// The addresses of `name`, the best first.
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// getaddrinfo, so that `/etc/hosts`, search domains and VPC resolvers work as everywhere else.
#[derive(Debug)]
pub struct System;

impl Resolve for System {
    fn look_up(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect())
    }
}

/// Why a name has no address.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The resolver says so: there is no such name, it has no address, or nobody who knows could be asked.
    #[error("the name cannot be resolved")]
    Failed(#[source] io::Error),
    /// No answer in time.
    #[error("the name was not resolved within {0:?}")]
    Late(Duration),
    /// What it resolved to is nothing that we connect to.
    #[error("the name has no address that is not link-local")]
    LinkLocal,
}

/// Asks without blocking, and not for ever.
///
/// getaddrinfo blocks for 30 s and more if a resolver is silent, and cannot be stopped. So it runs on threads beside the
/// runtime; a look-up that found no free thread in time fails, as a slow one does.
#[derive(Clone)]
pub(super) struct Resolver {
    limit: Duration,
    threads: Arc<Semaphore>,
    resolve: Arc<dyn Resolve>,
}

impl Resolver {
    pub(super) fn new(limit: Duration, resolve: Arc<dyn Resolve>) -> Self {
        Self { limit, threads: Arc::new(Semaphore::new(limits::RESOLVE_THREADS_MAX)), resolve }
    }

    /// The addresses of a host as it stands in a URI: a name, or an address, which is taken as it is.
    pub(super) async fn addresses(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = plain.parse() {
            return Ok(vec![address]);
        }
        let mut addresses = match timeout(self.limit, self.look_up(host.to_owned())).await {
            Ok(found) => found.map_err(ResolveError::Failed)?,
            Err(_) => return Err(ResolveError::Late(self.limit)),
        };
        addresses.retain(|address| !is_metadata_address(*address));
        match addresses.is_empty() {
            true => Err(ResolveError::LinkLocal),
            false => Ok(take_turns(addresses)),
        }
    }

    async fn look_up(&self, name: String) -> io::Result<Vec<IpAddr>> {
        // The permit goes with the thread, not with this future: a hanging thread counts until it ends.
        let permit = Arc::clone(&self.threads).acquire_owned().await.map_err(io::Error::other)?;
        let resolve = Arc::clone(&self.resolve);
        let found = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            resolve.look_up(&name)
        });
        let addresses = found.await.map_err(io::Error::other)??;
        match addresses.is_empty() {
            true => Err(io::Error::new(io::ErrorKind::NotFound, "the name has no address")),
            false => Ok(addresses),
        }
    }
}

/// One address of each family in turn, in their order: where one family has no way out, the other is not behind all of it.
fn take_turns(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|ip| ip.is_ipv6() == first_is_v6);
    let mut turns = Vec::with_capacity(first.len() + second.len());
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    loop {
        let turn = [first.next(), second.next()];
        if turn == [None, None] {
            return turns;
        }
        turns.extend(turn.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    #[test]
    fn the_families_take_turns_and_keep_their_order() {
        for (found, tried) in [
            (vec!["10.0.0.1", "10.0.0.2"], vec!["10.0.0.1", "10.0.0.2"]),
            (vec!["::1", "::2", "10.0.0.1"], vec!["::1", "10.0.0.1", "::2"]),
            (vec!["10.0.0.1", "::1", "::2", "::3"], vec!["10.0.0.1", "::1", "::2", "::3"]),
            (vec!["::1"], vec!["::1"]),
        ] {
            assert_eq!(take_turns(ips(&found)), ips(&tried));
        }
    }

    struct Known(Vec<IpAddr>);

    impl Resolve for Known {
        fn look_up(&self, _: &str) -> io::Result<Vec<IpAddr>> {
            Ok(self.0.clone())
        }
    }

    /// A name must not lead to where credentials are offered; an address that someone wrote down may.
    #[tokio::test]
    async fn names_do_not_lead_to_link_local_addresses() {
        for (found, left) in [
            (vec!["169.254.169.254"], Err("the name has no address that is not link-local")),
            (vec!["169.254.169.254", "10.0.0.1"], Ok(vec!["10.0.0.1"])),
            (vec!["::ffff:169.254.170.2", "fd00:ec2::254", "fd00::1"], Ok(vec!["fd00::1"])),
            (vec![], Err("the name cannot be resolved")),
        ] {
            let resolver = Resolver::new(limits::RESOLVE_TIMEOUT, Arc::new(Known(ips(&found))));
            let addresses = resolver.addresses("name.example").await.map_err(|error| error.to_string());
            assert_eq!(addresses, left.map(|left| ips(&left)).map_err(str::to_owned));
            for (host, address) in [("169.254.170.2", "169.254.170.2"), ("[fd00:ec2::23]", "fd00:ec2::23")] {
                assert_eq!(resolver.addresses(host).await.expect(host), ips(&[address]));
            }
        }
    }
}
