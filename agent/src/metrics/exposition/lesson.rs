//! A page that is read whole becomes a script.
//!
//! Promises: a page has a script only if each of its lines is written in the usual way, without a timestamp, and the lines of each histogram and
//! summary stand together.
//! Never: costs more than a hash a line.

use std::hash::BuildHasher;

use foldhash::fast::RandomState;

use super::{
    Format, Limits,
    family::{Kind, Role},
    line::Sample,
    replay::{Script, Step, What},
    survey::PROCESS_START,
};

/// A script that is being made. `None` inside once a line came that none can have.
#[derive(Debug, Default)]
pub(super) struct Lesson {
    script: Option<Script>,
    /// The histogram or summary of the line before, and how many there were.
    open: Option<usize>,
    opened: usize,
}

impl Lesson {
    pub(super) fn new(format: Format, limits: Limits) -> Self {
        let (steps, constants) = (Vec::new(), Vec::new());
        let script = Script { format, limits, state: RandomState::default(), steps, constants, simple: 0 };
        Self { script: Some(script), open: None, opened: 0 }
    }

    /// The lesson is over. `None` if there is no script of such a page.
    pub(super) fn end(self) -> Option<Script> {
        self.script
    }

    /// A line without a number.
    pub(super) fn said(&mut self, line: &str) {
        self.step(line, line.len(), What::Said);
    }

    /// A line with a point of its own.
    pub(super) fn number(&mut self, (line, name, spelling): (&str, &str, &str), kind: Kind) {
        let what = if name == PROCESS_START { What::Start(kind) } else { What::Number(kind) };
        self.simple();
        self.sample((line, name, spelling), what);
    }

    /// A line that says when something was born.
    pub(super) fn born(&mut self, line: &str, sample: &Sample<'_, '_>) {
        self.constant(Some(sample.value));
        self.sample((line, &sample.name, sample.spelling), What::Born);
    }

    /// A line of the histogram or summary with this number; `bound` is that of a bucket, or which quantile it is.
    pub(super) fn part(
        &mut self,
        line: (&str, &str, &str),
        (open, kind, role): (usize, Kind, Role),
        bound: Option<f64>,
    ) {
        let begins = self.open != Some(open);
        // One that comes in pieces would have to be kept until its last one.
        if begins && open != self.opened || kind == Kind::GaugeHistogram {
            self.script = None;
        }
        self.opened += usize::from(begins);
        self.open = Some(open);
        if matches!(role, Role::Bucket | Role::Value) {
            self.constant(bound);
        }
        self.sample(line, What::Part(kind, role, begins));
    }

    fn simple(&mut self) {
        if let Some(script) = &mut self.script {
            script.simple += 1;
        }
    }

    fn constant(&mut self, constant: Option<f64>) {
        match (&mut self.script, constant) {
            (Some(script), Some(constant)) => script.constants.push(constant),
            _ => self.script = None,
        }
    }

    /// A line with a number. What is written in another way than usual has no script.
    fn sample(&mut self, (line, name, spelling): (&str, &str, &str), what: What) {
        let bytes = line.as_bytes();
        let bare = if bytes.first() == Some(&b'{') { 0 } else { name.len() };
        let head = bare + if bytes.get(bare) == Some(&b'{') { spelling.len() + "{} ".len() } else { " ".len() };
        if head.checked_sub(1).and_then(|blank| bytes.get(blank)) == Some(&b' ') {
            self.step(line, head, what);
        } else {
            self.script = None;
        }
    }

    fn step(&mut self, line: &str, head: usize, what: What) {
        match (&mut self.script, u32::try_from(head)) {
            (Some(script), Ok(bytes)) => {
                let hash = script.state.hash_one(&line.as_bytes()[..head]);
                script.steps.push(Step { hash, head: bytes, what });
            }
            _ => self.script = None,
        }
    }
}
