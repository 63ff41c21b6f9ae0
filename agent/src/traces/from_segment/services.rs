//! Whose a subsegment is that comes alone: what segments before it told.
//!
//! SDKs stream subsegments out of a large segment, ahead of it, as documents that name no service. Two things tell all the same:
//!
//! - the segment that it is right below, if that was heard: it was in progress, or the subsegment is late;
//! - the socket that it came from. SDKs have one for as long as their process lives. If all segments from there were of one service, so is this.
//!
//! Promises: a socket that told of two services tells of none any more; no more than so many segments and sockets are known, whatever comes.
//! Never: goes by an address without its port, which containers of a task share.

use std::{net::SocketAddr, sync::Arc};

use crate::limits::{TRACES_SEGMENTS_KNOWN, TRACES_SERVICE_BYTES_MAX, TRACES_SOURCES_KNOWN};

/// The ids of a trace and of a segment in it.
pub(super) type Ids = ([u8; 16], [u8; 8]);

/// What segments told of their services.
#[derive(Debug, Default)]
pub struct Services {
    /// Each at the place that its id says. The next one there takes its place: ids are random.
    segments: Vec<Option<(Ids, Arc<str>)>>,
    /// The one that told last comes first. One that told of several services, or of a name that is none, is known as that.
    sources: Vec<(SocketAddr, Option<Arc<str>>)>,
    /// Where the document came from that is looked at.
    now: Option<SocketAddr>,
}

impl Services {
    /// The next document is from `source`.
    pub fn heard_from(&mut self, source: Option<SocketAddr>) -> &mut Self {
        self.now = source;
        self
    }

    /// Remembers that the segment `ids` is one of the service `name`.
    pub(super) fn tell(&mut self, ids: Ids, name: &str) {
        let at = self.sources.iter().position(|(source, _)| Some(*source) == self.now);
        let service = match at.and_then(|at| self.sources[at].1.as_ref()) {
            Some(known) if **known == *name => Some(Arc::clone(known)),
            _ => Some(name).filter(|name| name.len() <= TRACES_SERVICE_BYTES_MAX).map(Arc::from),
        };
        if let Some(source) = self.now {
            let at = at.unwrap_or_else(|| {
                self.sources.truncate(TRACES_SOURCES_KNOWN - 1);
                self.sources.push((source, service.clone()));
                self.sources.len() - 1
            });
            if self.sources[at].1 != service {
                self.sources[at].1 = None;
            }
            self.sources[..=at].rotate_right(1);
        }
        self.segments.resize(TRACES_SEGMENTS_KNOWN, None);
        self.segments[place(ids)] = service.map(|service| (ids, service));
    }

    /// The service of a subsegment right below `parent`, if it is known.
    pub(super) fn of(&self, trace: [u8; 16], parent: Option<[u8; 8]>) -> Option<&str> {
        let above = parent.and_then(|id| {
            let (known, service) = self.segments.get(place((trace, id)))?.as_ref()?;
            (*known == (trace, id)).then_some(service)
        });
        let beside = || self.sources.iter().find(|(source, _)| Some(*source) == self.now)?.1.as_ref();
        above.or_else(beside).map(|service| &**service)
    }
}

fn place((_, id): Ids) -> usize {
    usize::from(u16::from_be_bytes([id[6], id[7]])) % TRACES_SEGMENTS_KNOWN
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn source(port: u16) -> Option<SocketAddr> {
        Some(([127, 0, 0, 1], port).into())
    }

    fn id(number: u16) -> [u8; 8] {
        [[7; 6].as_slice(), &number.to_be_bytes()].concat().try_into().expect("eight bytes")
    }

    #[derive(Clone, Debug)]
    enum Event {
        Tell(u16, u16, char),
        Ask(u16, u16),
    }

    fn event() -> impl Strategy<Value = Event> {
        let (ports, numbers) = (0_u16..4, prop_oneof![0_u16..6, Just(2_000)]);
        prop_oneof![
            (ports.clone(), numbers.clone(), prop::char::range('a', 'c')).prop_map(|(a, b, c)| Event::Tell(a, b, c)),
            (ports, numbers).prop_map(|(port, number)| Event::Ask(port, number)),
        ]
    }

    proptest! {
        /// What is answered is what the segment told, or the only thing that the socket ever told; and it is answered if there is one.
        #[test]
        fn property_what_is_answered_was_told(events in prop::collection::vec(event(), 0..40)) {
            let (mut services, mut told) = (Services::default(), Vec::new());
            for event in events {
                match event {
                    Event::Tell(port, number, name) => {
                        services.heard_from(source(port)).tell(([1; 16], id(number)), &name.to_string());
                        told.push((port, number, name.to_string()));
                    }
                    Event::Ask(port, number) => {
                        let above = told.iter().rev().find(|(_, known, _)| *known == number).map(|(.., name)| name);
                        let mut beside = told.iter().filter(|(known, ..)| *known == port).map(|(.., name)| name);
                        let sole = beside.next().filter(|&first| beside.all(|other| other == first));
                        let expected = above.or(sole).map(|name| &**name);
                        prop_assert_eq!(services.heard_from(source(port)).of([1; 16], Some(id(number))), expected);
                        prop_assert_eq!(services.of([2; 16], Some(id(number))), sole.map(|name| &**name));
                        prop_assert_eq!(services.heard_from(None).of([1; 16], None), None);
                    }
                }
            }
        }

        /// Who sends from as many sockets as there are, with as many ids, makes nothing grow, and costs a socket that goes on telling nothing.
        #[test]
        fn property_a_flood_of_sources_has_an_end(ports in prop::collection::vec(1..u16::MAX, 1..400), length in 0_usize..400) {
            let mut services = Services::default();
            // There is no place left when it comes for the first time.
            for (number, port) in (1..).zip((1..=64).chain(ports)) {
                services.heard_from(source(port)).tell(([1; 16], id(port)), &"x".repeat(length + usize::from(port) % 3));
                if number % (TRACES_SOURCES_KNOWN - 1) == 0 {
                    services.heard_from(source(0)).tell(([2; 16], id(port)), "shop");
                }
            }
            prop_assert!(services.sources.len() <= TRACES_SOURCES_KNOWN && services.sources.capacity() <= 2 * TRACES_SOURCES_KNOWN);
            prop_assert_eq!(services.segments.len(), TRACES_SEGMENTS_KNOWN);
            let names = services.segments.iter().flatten().map(|(_, name)| name);
            let names = names.chain(services.sources.iter().flat_map(|(_, name)| name));
            prop_assert!(names.map(|name| name.len()).all(|bytes| bytes <= TRACES_SERVICE_BYTES_MAX));
            prop_assert_eq!(services.heard_from(source(0)).of([3; 16], None), Some("shop"));
        }
    }
}
