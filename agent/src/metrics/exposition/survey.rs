//! A first look at the whole.
//!
//! Promises: after it is known whether anything may be taken, what each family is, and when things were born; in 0.0.4 a text in which
//! nothing is a sample, but something is wrong, is refused: it is a page for people, not an exposition.
//! Never: keeps a sample.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::{
    Fault, Format, Label, Limits, Reason,
    family::{Families, Role},
    labels::fingerprint,
    line::{Line, Reader},
    strict::Rules,
};

/// The gauge with which a process says when it started, in seconds since 1970. All client libraries have it.
const PROCESS_START: &str = "process_start_time_seconds";

/// Why nothing is taken of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is something wrong with it as a whole, or OpenMetrics forbids a line.
    #[error("the exposition is invalid")]
    Invalid(#[source] Fault),
    /// It has more samples, or families, than are taken.
    #[error("the exposition has more than {0} samples")]
    TooManySamples(usize),
    /// OpenMetrics' last line is missing: the text was cut.
    #[error("the exposition does not end with `# EOF`")]
    Cut,
}

/// What is known of a text before anything of it is taken.
#[derive(Debug)]
pub struct Survey<'a> {
    pub(super) families: Families<'a>,
    /// By family and labels, seconds since 1970.
    births: HashMap<(usize, u64), f64, RandomState>,
    pub(super) state: RandomState,
    /// Samples in it, good ones.
    pub samples: usize,
    /// Lines that were refused.
    pub faults: usize,
    /// The first of them.
    pub first_fault: Option<Fault>,
    /// When the process started, in seconds since 1970, if it says so.
    pub process_start: Option<f64>,
}

/// Looks at the whole of `text`.
pub fn survey<'a>(text: &'a [u8], format: Format, limits: Limits) -> Result<Survey<'a>, Refused> {
    let state = RandomState::default();
    let mut survey = Survey {
        families: Families::new(format),
        births: HashMap::default(),
        state: state.clone(),
        samples: 0,
        faults: 0,
        first_fault: None,
        process_start: None,
    };
    let mut rules = (format == Format::OpenMetrics).then(|| Rules::new(&state));
    let mut reader = Reader::new(text, format, limits);
    let mut is_ended = false;
    while let Some(line) = reader.next_line() {
        let result =
            line.map_err(|fault| fault.reason).and_then(|line| survey.take(line, rules.as_mut(), &mut is_ended));
        if let Err(reason) = result {
            let fault = Fault { line: reader.line(), reason };
            let is_ours = matches!(reason, Reason::TooManyLabels | Reason::TooLong);
            if format == Format::OpenMetrics && !is_ours {
                return Err(Refused::Invalid(fault));
            }
            survey.faults += 1;
            survey.first_fault.get_or_insert(fault);
        }
        if survey.samples > limits.samples || survey.families.count() > limits.samples {
            return Err(Refused::TooManySamples(limits.samples));
        }
    }
    let fault = |reason| Refused::Invalid(Fault { line: reader.line(), reason });
    if let Some(rules) = &mut rules {
        rules.end().map_err(fault)?;
        return if is_ended { Ok(survey) } else { Err(Refused::Cut) };
    }
    match survey.first_fault {
        Some(first) if survey.samples == 0 => Err(Refused::Invalid(first)),
        _ => Ok(survey),
    }
}

impl<'a> Survey<'a> {
    #[inline]
    fn take(&mut self, line: Line<'_, 'a>, rules: Option<&mut Rules<'a>>, is_ended: &mut bool) -> Result<(), Reason> {
        match line {
            Line::Metadata { name, what } => {
                rules.map_or(Ok(()), |rules| rules.metadata(name.clone(), &what))?;
                self.families.say(name, what);
            }
            Line::Sample(sample) => {
                rules.map_or(Ok(()), |rules| rules.sample(&sample))?;
                self.samples += 1;
                let place = self.families.place(&sample);
                if let (Some(family), Role::Created) = (place.family, place.role) {
                    self.births.insert((family, fingerprint(sample.labels, None, &self.state)), sample.value);
                } else if sample.name == PROCESS_START && sample.value.is_finite() {
                    self.process_start = Some(sample.value);
                }
            }
            Line::End => *is_ended = true,
        }
        Ok(())
    }

    /// When what has these labels in a family was born, in seconds since 1970; `without` is not one of them.
    pub(super) fn born(&self, family: Option<usize>, labels: &[Label<'_>]) -> Option<f64> {
        if self.births.is_empty() {
            return None;
        }
        self.births.get(&(family?, fingerprint(labels, None, &self.state))).copied().filter(|at| at.is_finite())
    }
}
