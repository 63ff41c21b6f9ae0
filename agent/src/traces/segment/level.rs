//! How much of a span goes into its document: all of it, and less from step to step until X-Ray takes it.
//!
//! Promises: a document of the last level is smaller than what X-Ray takes, whatever the span holds.
//! Never: leaves out what tells a segment from others: ids, names, times, flags.

/// X-Ray takes documents of 64 kB. Taken as thousands, so that it does not matter how it counts.
pub const DOCUMENT_BYTES_MAX: usize = 64_000;

/// What goes into a document.
#[derive(Clone, Copy, Debug)]
pub(super) struct Level {
    /// Bytes at which nothing more is added, because the document is too large anyway.
    pub(super) document_bytes: usize,
    /// Frames of an exception.
    pub(super) frames: usize,
    /// Exceptions.
    pub(super) exceptions: u64,
    /// Bytes of any text.
    pub(super) text_bytes: usize,
    /// Bytes of metadata's texts.
    pub(super) metadata_bytes: usize,
    /// Bytes of annotations' texts.
    pub(super) annotation_bytes: usize,
    /// Annotations, links, tables, groups of logs: what there can be any number of.
    pub(super) members: usize,
}

/// All of it. Texts are cut where they alone are too much.
const ALL: Level = Level {
    document_bytes: DOCUMENT_BYTES_MAX,
    frames: usize::MAX,
    exceptions: u64::MAX,
    text_bytes: DOCUMENT_BYTES_MAX,
    metadata_bytes: DOCUMENT_BYTES_MAX,
    // X-Ray takes 1,000 characters of one.
    annotation_bytes: 1_000,
    members: usize::MAX,
};

/// From one to the next: first stacks, then metadata, then annotations are given up.
pub(super) const LEVELS: [Level; 7] = [
    ALL,
    Level { frames: 32, exceptions: 64, ..ALL },
    Level { frames: 8, exceptions: 16, text_bytes: 4_096, ..ALL },
    Level { frames: 0, exceptions: 16, text_bytes: 4_096, metadata_bytes: 1_024, ..ALL },
    Level { frames: 0, exceptions: 8, text_bytes: 2_048, metadata_bytes: 128, ..ALL },
    Level { frames: 0, exceptions: 8, text_bytes: 1_024, metadata_bytes: 0, annotation_bytes: 250, ..ALL },
    // Of some 60 texts each has at most 100 bytes, each of which may need six.
    Level { frames: 0, exceptions: 4, text_bytes: 100, metadata_bytes: 0, annotation_bytes: 0, members: 4, ..ALL },
];
