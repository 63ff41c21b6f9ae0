//! What is wrong with the section `spool`, where other sections have a say in it.
//!
//! Promises: what a Fluent Bit file asks of the disk counts only if it fits what the environment says.
//! Never: touches a disk.

use super::{document::Document, node::Path, source::Tree};
use crate::{
    deliver::spooling,
    problem::{Problem, Problems},
    units::ByteSize,
};

/// Finds a spool that must work and is not named. Apart, since a Fluent Bit file may name it.
pub(super) fn required(document: &Document, tree: &Tree, problems: &mut Problems) {
    if document.spool.required && document.spool.path.is_none() {
        let place = tree.place(&Path::of("spool.required"));
        problems.push(Problem::error(place, "there is no spool without a `path`", "give `spool.path` too"));
    }
}

/// The environment goes before a Fluent Bit file: what the outputs there ask for counts only if it fits.
pub(super) fn settle_parts(document: &mut Document, tree: &Tree, problems: &mut Problems) {
    let parts = parts(document);
    let named = parts.iter().any(Option::is_some);
    if named && document.spool.bytes_max.is_some_and(|bytes| bytes < spooling::least(&parts)) {
        let what = "does not hold what outputs ask for with `storage.total_limit_size`";
        let place = tree.place(&Path::of("spool.bytes_max"));
        problems.push(Problem::warning(place, what, "it counts, and each output gets an equal part of it"));
        document.logs.outputs.iter_mut().for_each(|output| output.spool_bytes_max = None);
    }
}

/// The part of the disk that each output asks for that keeps records.
pub(super) fn parts(document: &Document) -> Vec<Option<ByteSize>> {
    let logs = document.logs.keeping().map(|output| output.spool_bytes_max);
    let traces = document.traces.running();
    let traces = traces.iter().map(|output| output.spool_bytes_max);
    logs.chain(traces).chain(document.metrics.keeping().map(|output| output.spool_bytes_max)).collect()
}
