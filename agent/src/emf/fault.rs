//! What is wrong with documents, and what was mended.
//!
//! Promises: the kinds are few and fixed, so that they can be labels.
//! Never: holds what a document said.

/// Why something was not taken. One of these costs what it is in, and nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The document: it is not one JSON object in UTF-8.
    Malformed,
    /// The document: there is no `CloudWatchMetrics` in it.
    NoMetadata,
    /// The document: it is larger than CloudWatch takes, or would be once it is mended or split.
    TooLarge,
    /// The document: it has more members or series than are looked at.
    TooMany,
    /// The document's time: CloudWatch takes two weeks back and two hours ahead.
    Timestamp,
    /// A directive: it is not an object with dimensions and metrics.
    Directive,
    /// A directive: its namespace is missing, too long, or has characters that are not allowed.
    Namespace,
    /// A set of dimensions: it is no list of texts, or too long.
    DimensionSet,
    /// A set of dimensions: a key is too long, or has characters that are not allowed.
    DimensionKey,
    /// A set of dimensions: a key has no member with a text that CloudWatch takes.
    DimensionValue,
    /// A metric: its name is missing, too long, or has characters that are not allowed.
    Name,
    /// A metric's unit, which is left out: it is none of CloudWatch's.
    Unit,
    /// A metric's resolution, which is left out: it is neither 1 nor 60.
    Resolution,
    /// A metric: there is no member with its name.
    ValueMissing,
    /// A metric: its value is no number, no list of numbers and no distribution, or out of CloudWatch's range.
    Value,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::NoMetadata,
        Self::TooLarge,
        Self::TooMany,
        Self::Timestamp,
        Self::Directive,
        Self::Namespace,
        Self::DimensionSet,
        Self::DimensionKey,
        Self::DimensionValue,
        Self::Name,
        Self::Unit,
        Self::Resolution,
        Self::ValueMissing,
        Self::Value,
    ];

    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::NoMetadata => "no_metadata",
            Self::TooLarge => "too_large",
            Self::TooMany => "too_many",
            Self::Timestamp => "timestamp",
            Self::Directive => "directive",
            Self::Namespace => "namespace",
            Self::DimensionSet => "dimension_set",
            Self::DimensionKey => "dimension_key",
            Self::DimensionValue => "dimension_value",
            Self::Name => "name",
            Self::Unit => "unit",
            Self::Resolution => "resolution",
            Self::ValueMissing => "value_missing",
            Self::Value => "value",
        }
    }
}

/// What was mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Repair {
    /// A time that was missing, or in another unit or form.
    Timestamp,
    /// Dimensions that were missing: there is the empty set now.
    NoDimensions,
    /// A number or a truth as a dimension, which is text now.
    DimensionText,
    /// A unit in other letters, as CloudWatch writes it.
    Unit,
}

impl Repair {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Timestamp, Self::NoDimensions, Self::DimensionText, Self::Unit];

    /// The label on `/metrics`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Timestamp => "timestamp",
            Self::NoDimensions => "no_dimensions",
            Self::DimensionText => "dimension_text",
            Self::Unit => "unit",
        }
    }
}

/// How often what was found in a document.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    faults: [u32; Fault::ALL.len()],
    repairs: [u32; Repair::ALL.len()],
}

impl Findings {
    pub(super) fn fault(&mut self, fault: Fault) {
        self.faults[fault as usize] += 1;
    }

    pub(super) fn repair(&mut self, repair: Repair) {
        self.repairs[repair as usize] += 1;
    }

    /// What was wrong, and how often.
    pub fn faults(&self) -> impl Iterator<Item = (Fault, u32)> {
        Fault::ALL.into_iter().zip(self.faults).filter(|(_, times)| *times > 0)
    }

    /// What was mended, and how often.
    pub fn repairs(&self) -> impl Iterator<Item = (Repair, u32)> {
        Repair::ALL.into_iter().zip(self.repairs).filter(|(_, times)| *times > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_in_its_own_place() {
        let mut findings = Findings::default();
        Fault::ALL.into_iter().for_each(|fault| findings.fault(fault));
        Repair::ALL.into_iter().for_each(|repair| findings.repair(repair));
        assert!(findings.faults().map(|(fault, _)| fault).eq(Fault::ALL) && findings.faults().all(|(_, n)| n == 1));
        assert!(
            findings.repairs().map(|(repair, _)| repair).eq(Repair::ALL) && findings.repairs().all(|(_, n)| n == 1)
        );
    }
}
