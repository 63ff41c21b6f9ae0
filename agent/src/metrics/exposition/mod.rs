//! What a Prometheus client library exposes, as text: version 0.0.4 and OpenMetrics 1.0.
//!
//! ```text
//! exposition = *( [ metadata / sample / comment ] LF )           ; OpenMetrics: no comments, no empty lines, "# EOF" last
//! metadata   = "# TYPE" name kind / "# HELP" name text / "# UNIT" name unit
//! sample     = name [ "{" labels "}" ] value [ timestamp ] [ "# {" labels "} " value [ timestamp ] ]
//!            / "{" '"' name '"' [ "," labels ] "}" value ...     ; names in UTF-8
//! labels     = name "=" '"' escaped '"' *( "," ... )
//! ```
//!
//! - [`line::Reader`] reads one line after the other; everything it gives borrows from the text.
//! - [`survey()`] looks at the whole first: nothing of an exposition is taken if OpenMetrics calls it invalid as a whole, or if it
//!   has more samples than are allowed. It also finds types that stand behind their samples, and when things were born.
//! - [`points`] goes through it again and gives whole points: a counter, a gauge, or all buckets of a histogram together.
//!
//! A target exposes the same lines again and again with other numbers. So a page that has just the lines of the one before, in either language, is
//! taken by its numbers alone: see [`replay`]. Where some differ, [`Memory`] knows those of 0.0.4 that were well formed, and [`points_again`] takes
//! what was met before without its labels; of OpenMetrics, whose rules are about lines together, each is read whole then.
//!
//! Twice through the text costs less than keeping what was read: memory is that of histograms and summaries, not of samples.
//!
//! Promises: any bytes are read without a panic; in 0.0.4 each line is judged alone; what OpenMetrics forbids is refused as a
//! whole; a simple sample costs no allocation unless an escape is in it; memory is bound by [`Limits`].
//! Never: does I/O, knows the time, or believes that samples of one histogram stand together (unless OpenMetrics says so).

pub mod family;
mod gather;
mod labels;
mod lesson;
pub mod line;
mod number;
mod point;
pub mod replay;
mod strict;
mod survey;

pub use self::{
    gather::{points, points_again},
    labels::Label,
    point::{Bucket, Histogram, Known, Point, Summary, Told, Value},
    survey::{Memory, Refused, Survey, survey, survey_again},
};

/// Which of the two languages a text is in. The answer's `Content-Type` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text format 0.0.4, and 1.0.0, which adds names in UTF-8.
    Text,
    /// OpenMetrics 1.0, and 0.0.1.
    OpenMetrics,
}

/// How much of an exposition is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Samples, and families with metadata. An exposition with more is refused as a whole.
    pub samples: usize,
    /// Labels of a sample. One with more is refused alone.
    pub labels: usize,
    /// Bytes of the name of a metric or a label.
    pub name_bytes: usize,
    /// Bytes of a label's value.
    pub value_bytes: usize,
}

/// An example of what is in a bucket.
#[derive(Clone, Debug, PartialEq)]
pub struct Example<'a> {
    /// What leads to it, a trace for example.
    pub labels: Vec<Label<'a>>,
    /// Its value.
    pub value: f64,
    /// When it was, in milliseconds since 1970.
    pub timestamp_ms: Option<i64>,
}

/// Why a line is refused, and in OpenMetrics with it the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Not UTF-8.
    #[error("it is not UTF-8")]
    Utf8,
    /// No name, or one that no metric can have.
    #[error("the name is none")]
    Name,
    /// Something else than labels between the braces.
    #[error("the labels are malformed")]
    Labels,
    /// A label twice.
    #[error("a label is there twice")]
    LabelTwice,
    /// More labels than are taken.
    #[error("it has too many labels")]
    TooManyLabels,
    /// A name or a label's value with more bytes than are taken.
    #[error("a name or a value is too long")]
    TooLong,
    /// No number where the value should be.
    #[error("the value is no number")]
    Value,
    /// A timestamp that is none.
    #[error("the timestamp is none")]
    Timestamp,
    /// An exemplar that is none, or where none may be.
    #[error("the exemplar is malformed or has no place here")]
    Exemplar,
    /// More on the line than belongs there.
    #[error("something follows the value")]
    Trailing,
    /// `# TYPE` and the like with something wrong in it.
    #[error("the metadata is malformed")]
    Metadata,
    /// Something that OpenMetrics does not allow.
    #[error("OpenMetrics forbids it: {0}")]
    Forbidden(&'static str),
}

impl Reason {
    /// The kind, as a label of a counter.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Utf8 => "utf8",
            Self::Name => "name",
            Self::Labels | Self::LabelTwice => "labels",
            Self::TooManyLabels => "too_many_labels",
            Self::TooLong => "too_long",
            Self::Value => "value",
            Self::Timestamp => "timestamp",
            Self::Exemplar => "exemplar",
            Self::Trailing => "trailing",
            Self::Metadata => "metadata",
            Self::Forbidden(_) => "forbidden",
        }
    }
}

/// A line that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct Fault {
    /// Which one, from 1.
    pub line: usize,
    /// Why.
    pub reason: Reason,
}

#[cfg(test)]
mod strict_tests;
#[cfg(test)]
mod tests;
