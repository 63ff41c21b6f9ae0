//! The messages of one read, routed.
//!
//! Promises: messages of one tag that follow each other share one look at route and outputs; everything whole before a
//! malformed message is on its way.
//! Never: reads, or waits.

use std::sync::Arc;

use super::{
    super::frame::{Entries, EntryReader, Frame, Malformed, Message},
    Context, Session,
};
use crate::logs::{
    forward::usual::{self, Usual},
    record::{EventTime, Record},
    route::{Pass, Route},
};

/// What stands next in a buffer.
enum Next<'a> {
    Heartbeat,
    /// A message with this tag, whose record was read.
    Usual(&'a [u8]),
    Message(Message<'a>),
}

impl<'a> Next<'a> {
    fn tag(&self) -> Option<&'a [u8]> {
        match self {
            Self::Heartbeat => None,
            Self::Usual(tag) => Some(tag),
            Self::Message(message) => Some(message.tag),
        }
    }
}

impl Session {
    /// Masks the whole messages of `bytes`, routes them, and returns their length together.
    pub(super) fn take_masked(&mut self, bytes: &mut [u8]) -> Result<usize, Malformed> {
        self.mask(bytes);
        let taken = self.take_messages(bytes)?;
        self.masker.taken(taken);
        Ok(taken)
    }

    fn mask(&mut self, bytes: &mut [u8]) {
        let Self { masker, finder, context, route, .. } = self;
        masker.messages(bytes, finder, context.settings.message_bytes_max, |tag, masked| {
            masked.count(find_route(context, route, tag).source());
        });
    }

    /// Routes the whole messages of `bytes` and returns their length together.
    fn take_messages(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        let now = EventTime::now();
        let (mut taken, mut record) = (0, Record::default());
        while let Some((next, length)) = self.next(&bytes[taken..], &mut record)? {
            taken += length;
            self.messages += 1;
            if let Some(tag) = next.tag() {
                self.take_run(tag, next, std::mem::take(&mut record), bytes, &mut taken, now)?;
            }
        }
        Ok(taken)
    }

    /// The first whole message of `bytes`, and its length. If it is a usual one, its record stands in `record`.
    #[inline]
    fn next<'a>(&mut self, bytes: &'a [u8], record: &mut Record<'a>) -> Result<Option<(Next<'a>, usize)>, Malformed> {
        let bytes_max = self.context.settings.message_bytes_max;
        if !self.finder.is_within()
            && let Some(Usual { tag, length }) = usual::usual(bytes, record)
            && length <= bytes_max
        {
            return Ok(Some((Next::Usual(tag), length)));
        }
        let Some(length) = self.finder.find(bytes, bytes_max)? else { return Ok(None) };
        let next = match Frame::parse_found(&bytes[..length], self.finder.last_element())? {
            Frame::Heartbeat => Next::Heartbeat,
            Frame::Message(message) => Next::Message(message),
        };
        Ok(Some((next, length)))
    }

    /// Routes `next`, whose record may stand in `record`, and the messages after it that have the same tag, in one pass.
    /// `taken` is where they begin, and then where they end.
    fn take_run<'a>(
        &mut self,
        tag: &[u8],
        next: Next<'a>,
        record: Record<'a>,
        bytes: &'a [u8],
        taken: &mut usize,
        now: EventTime,
    ) -> Result<(), Malformed> {
        let route = find_route(&self.context, &mut self.route, tag);
        let mut pass = route.begin();
        // From here on they borrow from the route as well.
        let (mut next, mut record): (Next<'_>, Record<'_>) = (next, record);
        let outcome = loop {
            match &next {
                Next::Usual(_) => pass.push_one(&mut record, now),
                Next::Message(message) => {
                    if let Err(malformed) = self.take_message(message, &mut pass, &mut record, now) {
                        break Err(malformed);
                    }
                }
                Next::Heartbeat => {}
            }
            match self.next(&bytes[*taken..], &mut record) {
                Ok(Some((another, length))) if another.tag() == Some(tag) => {
                    *taken += length;
                    self.messages += 1;
                    next = another;
                }
                // Whatever else it is, it is looked at again with the route of its own tag.
                Ok(_) => break Ok(()),
                Err(malformed) => break Err(malformed),
            }
        };
        self.context.meters.records.inc_by(pass.records());
        outcome
    }

    fn take_message<'a>(
        &mut self,
        message: &Message<'a>,
        pass: &mut Pass<'a>,
        record: &mut Record<'a>,
        now: EventTime,
    ) -> Result<(), Malformed> {
        if message.option.signal.is_some_and(|signal| signal != 0) {
            // Metrics and traces of Fluent Bit have a format of their own.
            self.context.meters.malformed(Malformed::Signal);
            return Ok(());
        }
        let mut inflated = message.inflated(self.context.settings.message_bytes_max)?;
        if let Some(entries) = &mut inflated {
            self.masker.entries(entries, pass.source());
        }
        let ack = self.answers.later(message.option.chunk, &self.context.meters);
        if ack.is_some() {
            pass.of_message(ack.as_ref());
        }
        let pushed = match inflated {
            Some(entries) => pass.push(EntryReader::new(Entries::Packed(&entries)), &mut Record::default(), now),
            None => pass.push(EntryReader::new(message.entries), record, now),
        };
        if let Some(ack) = ack {
            pass.of_message(None);
            if pushed.is_err() {
                ack.take_back();
            }
        }
        pushed?;
        if let Some(chunk) = message.option.chunk {
            self.answers.accepted(chunk);
        }
        Ok(())
    }
}

/// The route of `tag`, remembered in `last` for the next message.
fn find_route(context: &Context, last: &mut Option<(Vec<u8>, Arc<Route>)>, tag: &[u8]) -> Arc<Route> {
    if let Some((known, route)) = last
        && known == tag
    {
        return Arc::clone(route);
    }
    let Context { settings, router, .. } = context;
    let route = match (&settings.tag, &settings.tag_prefix) {
        (Some(fixed), _) => router.route(fixed.as_bytes()),
        (None, Some(prefix)) => router.route(&[prefix.as_bytes(), tag].concat()),
        (None, None) => router.route(tag),
    };
    *last = Some((tag.to_vec(), Arc::clone(&route)));
    route
}
