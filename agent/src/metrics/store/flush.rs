//! What was gathered since the last flush, told piece by piece, so that nobody who writes waits for long.
//!
//! Promises: a sample is told by one flush; none that was written before a flush began is left out of it.
//! Never: holds the store for more than a few hundred series at a time.

use std::sync::Arc;

use super::{
    Inner, Store,
    cell::Datum,
    table::{Fed, Value},
};

/// Series or cells looked at under one lock. With 150 values each that is about a millisecond.
const PIECE: usize = 256;

/// A flush under way.
#[derive(Debug)]
pub struct Flush<'a> {
    store: &'a Store,
    at: At,
}

#[derive(Debug)]
enum At {
    Series(usize),
    Cells(usize),
    End,
}

impl Store {
    /// Begins a flush.
    pub fn flush(&self) -> Flush<'_> {
        Flush { store: self, at: At::Series(0) }
    }
}

impl Flush<'_> {
    /// Tells the next piece: the namespace and what was gathered for a metric in it. False if there is no more.
    pub fn next(&mut self, mut tell: impl FnMut(&str, &Datum<'_>)) -> bool {
        let mut inner = self.store.lock();
        let inner = &mut *inner;
        self.at = match self.at {
            At::Series(from) => gather(inner, from).map_or(At::Cells(0), At::Series),
            At::Cells(from) => {
                let names: &[Arc<str>] = &inner.namespaces;
                let mut tell = |namespace: u16, datum: &Datum<'_>| {
                    if let Some(namespace) = names.get(usize::from(namespace)) {
                        tell(namespace, datum);
                    }
                };
                inner.cells.take(from, PIECE, &mut tell).map_or(At::End, At::Cells)
            }
            At::End => return false,
        };
        true
    }
}

/// Gives the cells what their series have now. Returns where to go on.
fn gather(inner: &mut Inner, from: usize) -> Option<usize> {
    let Inner { table, cells, .. } = inner;
    let end = table.series.len().min(from + PIECE);
    for series in table.series[from..end].iter_mut().flatten() {
        let fed: &Fed = &series.cells;
        match &mut series.value {
            Value::Gauge { value, is_fresh } if *is_fresh => {
                *is_fresh = false;
                fed.each(|cell| {
                    if let Some(window) = cells.window(cell) {
                        window.values().observe(*value, 1.0);
                    }
                });
            }
            Value::Set { last, seen } => {
                *last = seen.len();
                if !seen.is_empty() {
                    fed.each(|cell| cells.window(cell).into_iter().for_each(|window| window.join(seen)));
                    seen.clear();
                }
            }
            _ => {}
        }
    }
    (end < table.series.len()).then_some(end)
}
