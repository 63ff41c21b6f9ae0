//! Series that somebody keeps in mind from one batch of samples to the next.
//!
//! Promises: what was forgotten since is not there, and never another series in its place.
//! Never: keeps a series from being forgotten.

use super::{SeriesId, Writing};

/// A series, and which of those that had its place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    id: u32,
    serial: u32,
}

impl Writing<'_> {
    /// To find `series` again later.
    pub fn keep(&self, SeriesId(id): SeriesId) -> Option<Kept> {
        let series = self.inner.table.series.get(id as usize)?.as_ref()?;
        Some(Kept { id, serial: series.serial })
    }

    /// The series, if it is still there.
    #[inline]
    pub fn kept(&self, Kept { id, serial }: Kept) -> Option<SeriesId> {
        let series = self.inner.table.series.get(id as usize)?.as_ref()?;
        (series.serial == serial).then_some(SeriesId(id))
    }
}
