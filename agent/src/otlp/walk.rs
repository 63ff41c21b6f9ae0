//! The outer shape of an OTLP request: how much is in it, and how it is cut.
//!
//! ```text
//! request  = 1: resource group*
//! group    = 1: resource, 2: scope group*, 3: schema url
//! scope    = 1: scope, 2: item*, 3: schema url
//! item     = a span, a record of a log, or a metric with its points
//! ```
//!
//! The three signals have the same outer shape. Fields come in any order: Go's collector writes the spans before the resource that they
//! belong to. Two requests laid one behind the other are one request with the groups of both.
//!
//! Promises: a body that [`count`] takes spoils no request that it is joined with: its fields are whole down to those of its items,
//! of the kinds that their numbers say, and its ids have the right lengths. Pieces that [`Splitter`] cuts hold each item once.
//! Never: allocates to count; looks into attributes, which a reader skips by their lengths.

use super::wire::{Malformed, Reader, Value, each, header_len, put_header};

/// The resource groups of a request.
pub const GROUPS: u32 = 1;
/// The resource of a resource group, the scope of a scope group.
pub const HEAD: u32 = 1;
/// The scope groups of a resource group, the items of a scope group.
pub const MEMBERS: u32 = 2;

/// What a request carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Records.
    Logs,
    /// Metrics, which are counted by their points.
    Metrics,
}

/// The kinds of the fields of a span, by number; `-` where there is none. `t` is the id of a trace, `s` that of a span, `l` a link.
const SPAN: &[u8; 17] = b"-tsbsbv88bvbvlvb4";
/// The kinds of the fields of a record.
const RECORD: &[u8; 13] = b"-8vb-bbv4ts8b";
/// The kinds of the fields of a metric; `p` is where its points are.
const METRIC: &[u8; 13] = b"-bbb-p-p-pppb";
/// The kinds of the fields of a link of a span.
const LINK: &[u8; 7] = b"-tsbbv4";

/// Counts the items of a request, and checks its shape down to their fields.
pub fn count(signal: Signal, request: &[u8]) -> Result<usize, Malformed> {
    each(request, GROUPS).try_fold(0, |sum, group| Ok(sum + count_group(signal, group?)?))
}

fn count_group(signal: Signal, group: &[u8]) -> Result<usize, Malformed> {
    members(group).try_fold(0, |sum, scope| Ok(sum + scope?.map_or(Ok(0), |scope| count_scope(signal, scope))?))
}

fn count_scope(signal: Signal, scope: &[u8]) -> Result<usize, Malformed> {
    members(scope).try_fold(0, |sum, item| Ok(sum + item?.map_or(Ok(0), |item| count_item(signal, item))?))
}

/// The fields of a group of either level: its members, and nothing for what stands at its head.
fn members(group: &[u8]) -> impl Iterator<Item = Result<Option<&[u8]>, Malformed>> {
    Reader::new(group).map(|field| {
        let field = field?;
        match field.number {
            MEMBERS => field.bytes().map(Some),
            1 | 3 => field.bytes().map(|_| None),
            _ => Ok(None),
        }
    })
}

fn count_item(signal: Signal, item: &[u8]) -> Result<usize, Malformed> {
    match signal {
        Signal::Traces => check(item, SPAN).map(|_| 1),
        Signal::Logs => check(item, RECORD).map(|_| 1),
        Signal::Metrics => check(item, METRIC),
    }
}

/// Checks the fields of `message` against their kinds, and counts its points.
fn check(message: &[u8], kinds: &[u8]) -> Result<usize, Malformed> {
    let mut points = 0;
    for field in Reader::new(message) {
        let field = field?;
        match (kinds.get(field.number as usize), field.value) {
            (None | Some(b'-'), _)
            | (Some(b'v'), Value::Varint(_))
            | (Some(b'8'), Value::Fixed64(_))
            | (Some(b'4'), Value::Fixed32(_))
            | (Some(b'b'), Value::Bytes(_)) => {}
            (Some(b't'), Value::Bytes(id)) => length(id, 16)?,
            (Some(b's'), Value::Bytes(id)) => length(id, 8)?,
            (Some(b'l'), Value::Bytes(link)) => points += check(link, LINK)?,
            (Some(b'p'), Value::Bytes(data)) => {
                for point in each(data, 1) {
                    point?;
                    points += 1;
                }
            }
            _ => return Err(Malformed::Mismatch),
        }
    }
    Ok(points)
}

/// An id may be absent, and then it is empty.
fn length(id: &[u8], wanted: usize) -> Result<(), Malformed> {
    if id.is_empty() || id.len() == wanted { Ok(()) } else { Err(Malformed::Id) }
}

/// Cuts requests that are larger than somebody takes.
#[derive(Clone, Copy, Debug)]
pub struct Splitter {
    /// What the request carries.
    pub signal: Signal,
    /// Bytes of a piece.
    pub bytes_max: usize,
    /// Items of a piece.
    pub items_max: usize,
}

/// A piece of a request, which is a request itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Its bytes. They are more than was wished if a single item is, or if resource and scope alone take too many.
    pub bytes: &'a [u8],
    /// The items in it.
    pub items: usize,
}

/// A piece while it is made: what goes into one resource group.
struct Cut<'a, F> {
    splitter: Splitter,
    /// The group, of which each piece repeats all but the scope groups.
    group: &'a [u8],
    head_bytes: usize,
    members: Vec<u8>,
    items: usize,
    piece: Vec<u8>,
    emit: F,
}

impl Splitter {
    /// The largest share of a piece that resource and scope may take: 1/16, as each piece repeats them. Where they take more,
    /// a group is not cut, so that few bytes that come do not become many.
    const HEAD_SHARE: usize = 16;

    /// Hands the pieces of `request` to `emit`, in order. Groups that fit are passed on as they lie.
    pub fn split(&self, request: &[u8], mut emit: impl FnMut(Piece<'_>)) -> Result<(), Malformed> {
        for field in Reader::new(request) {
            let field = field?;
            if field.number != GROUPS {
                continue;
            }
            let group = field.bytes()?;
            let items = count_group(self.signal, group)?;
            let head_bytes = head_len(group);
            if (field.raw.len() <= self.bytes_max && items <= self.items_max)
                || head_bytes > self.bytes_max / Self::HEAD_SHARE
            {
                emit(Piece { bytes: field.raw, items });
                continue;
            }
            let (members, piece) = (Vec::new(), Vec::new());
            Cut { splitter: *self, group, head_bytes, members, items: 0, piece, emit: &mut emit }.group()?;
        }
        Ok(())
    }
}

impl<F: FnMut(Piece<'_>)> Cut<'_, F> {
    fn group(&mut self) -> Result<(), Malformed> {
        for field in Reader::new(self.group) {
            let field = field?;
            if field.number == MEMBERS {
                let scope = field.bytes()?;
                let items = count_scope(self.splitter.signal, scope)?;
                let whole = self.fits_alone(field.raw.len(), items)
                    || head_len(scope) > self.splitter.bytes_max / Splitter::HEAD_SHARE;
                if whole { self.push(field.raw, items) } else { self.scope(scope)? }
            }
        }
        self.flush();
        Ok(())
    }

    /// Cuts one scope group into runs of its items.
    fn scope(&mut self, scope: &[u8]) -> Result<(), Malformed> {
        let head_bytes = head_len(scope);
        let (mut run, mut items) = (Vec::new(), 0);
        for field in Reader::new(scope) {
            let field = field?;
            if field.number != MEMBERS {
                continue;
            }
            let more = count_item(self.splitter.signal, field.bytes()?)?;
            let body = head_bytes + run.len() + field.raw.len();
            if !run.is_empty() && !self.fits_alone(header_len(MEMBERS, body) + body, items + more) {
                self.push_run(scope, &run, items);
                run.clear();
                items = 0;
            }
            run.extend_from_slice(field.raw);
            items += more;
        }
        self.push_run(scope, &run, items);
        Ok(())
    }

    fn push_run(&mut self, scope: &[u8], run: &[u8], items: usize) {
        let mut whole = Vec::with_capacity(run.len() + head_len(scope) + 8);
        put_header(&mut whole, MEMBERS, head_len(scope) + run.len());
        put_head(&mut whole, scope);
        whole.extend_from_slice(run);
        self.push(&whole, items);
    }

    /// True if a piece may hold these members and nothing else.
    fn fits_alone(&self, member_bytes: usize, items: usize) -> bool {
        let body = self.head_bytes + member_bytes;
        header_len(GROUPS, body) + body <= self.splitter.bytes_max && items <= self.splitter.items_max
    }

    /// Adds a scope group to the piece, or begins the next one with it.
    fn push(&mut self, scope: &[u8], items: usize) {
        if !self.members.is_empty() && !self.fits_alone(self.members.len() + scope.len(), self.items + items) {
            self.flush();
        }
        self.members.extend_from_slice(scope);
        self.items += items;
    }

    fn flush(&mut self) {
        if self.members.is_empty() {
            return;
        }
        self.piece.clear();
        put_header(&mut self.piece, GROUPS, self.head_bytes + self.members.len());
        put_head(&mut self.piece, self.group);
        self.piece.extend_from_slice(&self.members);
        (self.emit)(Piece { bytes: &self.piece, items: self.items });
        self.members.clear();
        self.items = 0;
    }
}

/// The bytes of a group without its members.
fn head_len(group: &[u8]) -> usize {
    head(group).map(<[u8]>::len).sum()
}

fn put_head(out: &mut Vec<u8>, group: &[u8]) {
    head(group).for_each(|raw| out.extend_from_slice(raw));
}

fn head(group: &[u8]) -> impl Iterator<Item = &[u8]> {
    Reader::new(group).map_while(Result::ok).filter(|field| field.number != MEMBERS).map(|field| field.raw)
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
