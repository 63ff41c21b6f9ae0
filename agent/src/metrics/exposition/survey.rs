//! A first look at the whole.
//!
//! Promises: after it is known whether anything may be taken, what each family is, and when things were born; in 0.0.4 a text in which
//! nothing is a sample, but something is wrong, is refused: it is a page for people, not an exposition.
//! Never: keeps a sample.

use std::{
    collections::{HashMap, HashSet},
    hash::BuildHasher,
};

use foldhash::fast::RandomState;

use super::{
    Fault, Format, Label, Limits, Reason,
    family::{Families, Role},
    labels::fingerprint,
    lesson::Lesson,
    line::{Line, Reader, Sample},
    number,
    replay::Script,
    strict::Rules,
};

/// The gauge with which a process says when it started, in seconds since 1970. All client libraries have it.
pub(super) const PROCESS_START: &str = "process_start_time_seconds";

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
    /// True if texts like it were read before.
    is_met: bool,
    pub(super) lesson: Lesson,
}

/// What lines were like that were read without a fault: of each, a hash of what stands before its number. A target exposes the same lines again and
/// again with other numbers, and whether names and labels are well formed depends on nothing else.
#[derive(Debug, Default)]
pub struct Memory {
    lines: HashSet<u64, RandomState>,
    state: RandomState,
}

/// Lines beyond those that the last text had: what is gone is forgotten when there is so much of it.
const LINES_SPARE: usize = 1_024;

impl Memory {
    /// True if a line is a sample that was read before with another number.
    #[inline]
    fn knows(&self, line: &str) -> bool {
        let Some((before, number)) = line.rsplit_once(' ') else { return false };
        self.lines.contains(&self.hash(before)) && number::value(number, Format::Text).is_some()
    }

    /// Remembers a line without a timestamp that was read without a fault, unless it says more than a number.
    fn keep(&mut self, line: &str, sample: &Sample<'_, '_>) {
        let says_more = sample.name == PROCESS_START || sample.name.ends_with("_created");
        if sample.timestamp_ms.is_none()
            && !says_more
            && let Some((before, _)) = line.rsplit_once(' ')
        {
            let hash = self.hash(before);
            self.lines.insert(hash);
        }
    }

    /// The text is over, and had so many samples.
    fn end(&mut self, samples: usize) {
        if self.lines.len() > samples + samples / 2 + LINES_SPARE {
            self.lines.clear();
        }
    }

    #[inline]
    fn hash(&self, before: &str) -> u64 {
        self.state.hash_one(before)
    }
}

/// Looks at the whole of `text`.
pub fn survey<'a>(text: &'a [u8], format: Format, limits: Limits) -> Result<Survey<'a>, Refused> {
    survey_again(text, (format, limits), &mut Memory::default())
}

/// The same of a text like those that `memory` is of. In 0.0.4, where each line is judged alone, what it knows need not be read again.
pub fn survey_again<'a>(
    text: &'a [u8],
    (format, limits): (Format, Limits),
    memory: &mut Memory,
) -> Result<Survey<'a>, Refused> {
    let state = RandomState::default();
    let mut survey = Survey {
        families: Families::new(format),
        births: HashMap::default(),
        state: state.clone(),
        samples: 0,
        faults: 0,
        first_fault: None,
        process_start: None,
        is_met: !memory.lines.is_empty(),
        lesson: Lesson::default(),
    };
    let mut rules = (format == Format::OpenMetrics).then(|| Rules::new(&state));
    let mut reader = Reader::new(text, format, limits);
    let mut is_ended = false;
    while let Some(raw) = reader.raw() {
        let result = match raw {
            Ok(line) if format == Format::Text && memory.knows(line) => {
                survey.samples += 1;
                Ok(())
            }
            Ok(line) => match reader.read(line) {
                None => continue,
                Some(Err(fault)) => Err(fault.reason),
                Some(Ok(read)) => {
                    if let Line::Sample(sample) = &read
                        && format == Format::Text
                    {
                        memory.keep(line, sample);
                    }
                    survey.take(read, rules.as_mut(), &mut is_ended)
                }
            },
            Err(fault) => Err(fault.reason),
        };
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
    memory.end(survey.samples);
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

    /// Has [`points_again`](super::points_again) keep what the page is like.
    pub fn learn(&mut self, format: Format, limits: Limits) {
        if self.faults == 0 {
            self.lesson = Lesson::new(format, limits);
        }
    }

    /// What the page is like, if that was kept, and a page can be played again that is.
    pub fn learned(self) -> Option<Script> {
        self.lesson.end()
    }

    /// True if each line can be taken at a glance: it is not the first text, all were read without a fault, and none says when something was
    /// born.
    pub(super) fn is_plain(&self) -> bool {
        self.is_met && self.faults == 0 && self.births.is_empty()
    }

    /// When what has these labels in a family was born, in seconds since 1970; `without` is not one of them.
    pub(super) fn born(&self, family: Option<usize>, labels: &[Label<'_>]) -> Option<f64> {
        if self.births.is_empty() {
            return None;
        }
        self.births.get(&(family?, fingerprint(labels, None, &self.state))).copied().filter(|at| at.is_finite())
    }
}
