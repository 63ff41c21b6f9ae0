//! Cells: what CloudWatch gets, gathered from one flush to the next. Any number of series may feed one.
//!
//! Promises: what was added since the last flush is told once; a cell that nobody feeds any more is told and then forgotten.
//! Never: looks at the time.

use std::{collections::HashSet, mem};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::{hash, key::Kind, policy::kept_second};
use crate::metrics::distribution::Distribution;

/// Different hashes that a set tells apart in one window; with 16 bytes each that is a megabyte. Further ones are not counted.
pub(super) const SET_MAX: usize = 1 << 16;

/// Cells of times that sources say themselves, between two flushes: whoever writes any time he likes would fill the memory.
const TIMED_MAX: usize = 4_096;

/// Hashes of what was seen.
pub type Seen = HashSet<u64, RandomState>;

/// What a cell gathers.
#[derive(Clone, Debug, Default)]
pub enum Window {
    /// Nothing since the last flush.
    #[default]
    Empty,
    /// The sum of what was counted.
    Sum(f64),
    /// Values.
    Values(Box<Distribution>),
    /// Hashes of what was seen.
    Set(Seen),
}

/// What kind of window a cell has, so that a counter and a gauge of one name do not mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Sum,
    Values,
    Set,
}

/// One metric of CloudWatch.
#[derive(Debug)]
struct Cell {
    namespace: u16,
    class: Class,
    /// The members of its datum that stay.
    head: Box<str>,
    /// When all of it was, in seconds since 1970, if the source said so.
    at: Option<u32>,
    /// Series that feed it.
    feeders: u32,
    window: Window,
}

/// What a cell gathered.
#[derive(Debug)]
pub struct Datum<'a> {
    /// The members that stay.
    pub head: &'a str,
    /// When it was, in seconds since 1970, if not in the window that is flushed: a full minute, unless CloudWatch keeps its seconds.
    pub at: Option<u32>,
    /// What was gathered; never empty.
    pub window: Window,
}

/// All cells.
#[derive(Debug, Default)]
pub(super) struct Cells {
    cells: Vec<Option<Cell>>,
    free: Vec<u32>,
    by_head: HashTable<u32>,
    /// How many are of a time that a source said.
    timed: usize,
    state: RandomState,
}

impl Cell {
    fn hash(&self, state: &RandomState) -> u64 {
        let second = self.at.map_or(0, |at| u64::from(at) + 1);
        hash(state, second << 20 | u64::from(self.namespace) << 2 | self.class as u64, self.head.as_bytes(), b"")
    }

    fn is_the_same(&self, other: &Self) -> bool {
        (self.namespace, self.class, self.at, &*self.head) == (other.namespace, other.class, other.at, &*other.head)
    }
}

impl Class {
    pub(super) fn of(kind: Kind) -> Self {
        match kind {
            Kind::Counter => Self::Sum,
            Kind::Set => Self::Set,
            Kind::Gauge
            | Kind::Histogram
            | Kind::Timer
            | Kind::Summary
            | Kind::Info
            | Kind::StateSet
            | Kind::Unknown => Self::Values,
        }
    }
}

impl Window {
    pub(super) fn add(&mut self, amount: f64) {
        match self {
            Self::Sum(sum) => *sum += amount,
            _ => *self = Self::Sum(amount),
        }
    }

    pub(super) fn values(&mut self) -> &mut Distribution {
        if !matches!(self, Self::Values(_)) {
            *self = Self::Values(Box::default());
        }
        let Self::Values(values) = self else { unreachable!("it was made so") };
        values
    }

    pub(super) fn join(&mut self, seen: &Seen) {
        match self {
            Self::Set(all) => {
                for one in seen {
                    if all.len() < SET_MAX {
                        all.insert(*one);
                    }
                }
            }
            _ => *self = Self::Set(seen.clone()),
        }
    }
}

impl Cells {
    /// The cell of this head, made if need be, with one more that feeds it.
    pub(super) fn feed(&mut self, namespace: u16, class: Class, head: &str) -> u32 {
        let id = self.find_or_make((namespace, class), head, None);
        if let Some(cell) = self.cell(id) {
            cell.feeders += 1;
        }
        id
    }

    /// One less feeds it.
    pub(super) fn leave(&mut self, id: u32) {
        let Some(cell) = self.cell(id) else { return };
        cell.feeders = cell.feeders.saturating_sub(1);
        if cell.feeders == 0 && matches!(cell.window, Window::Empty) {
            self.remove(id);
        }
    }

    /// What the cell gathers.
    #[inline]
    pub(super) fn window(&mut self, id: u32) -> Option<&mut Window> {
        self.cell(id).map(|cell| &mut cell.window)
    }

    /// The same of what was `at` a second since 1970, if that is said; if too many others are told of already, of what is of now.
    #[inline]
    pub(super) fn window_at(&mut self, id: u32, at: Option<u32>) -> Option<&mut Window> {
        match at {
            None => self.window(id),
            Some(at) => self.window_of_then(id, at),
        }
    }

    fn window_of_then(&mut self, id: u32, at: u32) -> Option<&mut Window> {
        let cell = self.cell(id)?;
        let at = kept_second(&cell.head, at);
        let (kind, head) = ((cell.namespace, cell.class), cell.head.clone());
        let at = (self.timed < TIMED_MAX || self.is_there(kind, &head, at)).then_some(at);
        let id = self.find_or_make(kind, &head, at);
        self.window(id)
    }

    /// Takes what the cells from `from` on gathered, of at most `most` of them. Told are the number of the
    /// namespace and what was gathered. Returns where to go on, if there are more.
    pub(super) fn take(&mut self, from: usize, most: usize, tell: &mut impl FnMut(u16, &Datum<'_>)) -> Option<usize> {
        let end = self.cells.len().min(from + most);
        for id in from..end {
            let Some(cell) = &mut self.cells[id] else { continue };
            let window = mem::take(&mut cell.window);
            let is_over = cell.feeders == 0;
            if !matches!(window, Window::Empty) {
                tell(cell.namespace, &Datum { head: &cell.head, at: cell.at, window });
            }
            if is_over && let Ok(id) = u32::try_from(id) {
                self.remove(id);
            }
        }
        (end < self.cells.len()).then_some(end)
    }

    /// True if the cell gathered nothing.
    #[inline]
    pub(super) fn is_empty(&self, id: u32) -> bool {
        matches!(self.cells.get(id as usize), Some(Some(Cell { window: Window::Empty, .. })))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_head.len()
    }

    #[inline]
    fn cell(&mut self, id: u32) -> Option<&mut Cell> {
        self.cells.get_mut(id as usize).and_then(Option::as_mut)
    }

    /// True if there is one of the second `at`.
    fn is_there(&self, (namespace, class): (u16, Class), head: &str, at: u32) -> bool {
        let cell = Cell { namespace, class, head: head.into(), at: Some(at), feeders: 0, window: Window::Empty };
        let is_it = |&id: &u32| self.cells[id as usize].as_ref().is_some_and(|other| other.is_the_same(&cell));
        self.by_head.find(cell.hash(&self.state), is_it).is_some()
    }

    fn find_or_make(&mut self, (namespace, class): (u16, Class), head: &str, at: Option<u32>) -> u32 {
        let Self { cells, free, by_head, state, timed } = self;
        let cell = Cell { namespace, class, head: head.into(), at, feeders: 0, window: Window::Empty };
        let wanted = cell.hash(state);
        let is_it = |&id: &u32| cells[id as usize].as_ref().is_some_and(|other| other.is_the_same(&cell));
        if let Some(&id) = by_head.find(wanted, is_it) {
            return id;
        }
        *timed += usize::from(at.is_some());
        let id = put(cells, free, cell);
        by_head.insert_unique(wanted, id, |&id| cells[id as usize].as_ref().map_or(0, |cell| cell.hash(state)));
        id
    }

    fn remove(&mut self, id: u32) {
        let Some(cell) = self.cells[id as usize].take() else { return };
        if let Ok(entry) = self.by_head.find_entry(cell.hash(&self.state), |&other| other == id) {
            entry.remove();
        }
        self.timed -= usize::from(cell.at.is_some());
        self.free.push(id);
    }
}

/// Puts `one` into a free place of `all`.
pub(super) fn put<T>(all: &mut Vec<Option<T>>, free: &mut Vec<u32>, one: T) -> u32 {
    if let Some(id) = free.pop() {
        all[id as usize] = Some(one);
        return id;
    }
    all.push(Some(one));
    u32::try_from(all.len() - 1).expect("series are capped far below")
}
