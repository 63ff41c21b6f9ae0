//! Where records with a tag go, settled once per tag: the filters they pass and the outputs they reach.
//!
//! Promises: a record is parsed once and passes each filter once, whatever the number of outputs; what a filter drops is
//! counted as filtered, what reaches no output as unrouted.
//! Never: looks at a pattern per record; remembers more than [`TAGS_MAX`] tags.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use prometheus::IntCounter;

use super::{
    counted,
    emf_input::count,
    filter::{Filter, Verdict},
    forward::frame::{EntryReader, Malformed},
    known::Workspace,
    out::{Sink, Target, Writer},
    pattern::Pattern,
    record::{DOCUMENT, EventTime, Record},
};
use crate::{
    deliver::{
        ack::Ack,
        books::{Books, Holder},
    },
    emf::{self, Taker},
    limits::{CONTAINER_LABELS_MAX, TAGS_MAX},
    tally::{Counter, Tally},
    tell::counters::{self, Counters},
};

/// An output and the tags it takes.
pub struct Branch {
    /// The output's name.
    pub name: Arc<str>,
    /// The tags.
    pub pattern: Pattern,
    /// The output.
    pub sink: Sink,
}

/// All filters and outputs.
pub struct Router {
    filters: Vec<Arc<Filter>>,
    branches: Vec<Branch>,
    books: Books,
    counters: Counters,
    known: Mutex<Known>,
    documents: Option<Documents>,
    tally: Option<Arc<Tally>>,
}

/// Who takes metrics out of documents in records.
#[derive(Clone)]
struct Documents {
    taker: Arc<dyn Taker>,
    counters: counters::Emf,
}

#[derive(Default)]
struct Known {
    routes: HashMap<Vec<u8>, Arc<Route>>,
    sources: HashSet<String>,
}

/// What happens to records with one tag.
pub struct Route {
    source: Arc<str>,
    filters: Vec<Arc<Filter>>,
    targets: Vec<Target>,
    filtered: IntCounter,
    unrouted: Option<IntCounter>,
    workspace: Mutex<Workspace>,
    documents: Option<Documents>,
    counter: Option<Mutex<Counter>>,
}

/// Records of one tag on their way, for as long as one read lasts.
pub struct Pass<'r> {
    route: &'r Route,
    writers: Vec<Writer<'r>>,
    workspace: MutexGuard<'r, Workspace>,
    counter: Option<MutexGuard<'r, Counter>>,
    read: u64,
    filtered: u64,
}

impl Router {
    /// Routes through `filters`, in this order, to `branches`.
    pub fn new(filters: Vec<Filter>, branches: Vec<Branch>, books: Books, counters: Counters) -> Self {
        let filters = filters.into_iter().map(Arc::new).collect();
        Self { filters, branches, books, counters, known: Mutex::default(), documents: None, tally: None }
    }

    /// Has `taker` look for documents of the embedded metric format in records.
    #[must_use]
    pub fn with_documents_for(mut self, taker: Arc<dyn Taker>) -> Self {
        self.documents = Some(Documents { taker, counters: self.counters.emf.clone() });
        self
    }

    /// Has records counted as `tally` says.
    #[must_use]
    pub fn counting(mut self, tally: Option<Arc<Tally>>) -> Self {
        self.tally = tally;
        self
    }

    /// The route of records with `tag`.
    pub fn route(&self, tag: &[u8]) -> Arc<Route> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(route) = known.routes.get(tag) {
            return Arc::clone(route);
        }
        if known.routes.len() >= TAGS_MAX {
            // A sender that makes up tags pays with a look-up; the tags of real containers come back at once.
            known.routes.clear();
        }
        let text: Arc<str> = String::from_utf8_lossy(tag).into();
        let source = known.source(&text);
        let route = Arc::new(self.settle(&text, &source));
        known.routes.insert(tag.to_vec(), Arc::clone(&route));
        route
    }

    fn settle(&self, tag: &Arc<str>, source: &Arc<str>) -> Route {
        let targets: Vec<Target> = self
            .branches
            .iter()
            .filter(|branch| branch.pattern.fits(tag))
            .map(|branch| {
                let holder = Holder { output: Arc::clone(&branch.name), source: Arc::clone(source) };
                branch.sink.target(tag, self.books.account(&holder))
            })
            .collect();
        let unrouted = targets.is_empty();
        Route {
            source: Arc::clone(source),
            filters: self.filters.iter().filter(|filter| filter.pattern().fits(tag)).map(Arc::clone).collect(),
            targets,
            filtered: self.counters.logs_filtered_records.with_label_values(&[&**source]),
            workspace: Mutex::default(),
            documents: self.documents.clone(),
            counter: self.tally.as_ref().and_then(|tally| tally.counter(source)).map(Mutex::new),
            unrouted: unrouted.then(|| self.counters.logs_unrouted_records.with_label_values(&[&**source])),
        }
    }
}

impl Known {
    /// The container's name in ECS' tag `<container>-firelens-<task>`, or the tag; `other` if there are too many.
    fn source(&mut self, tag: &str) -> Arc<str> {
        const NAME_BYTES_MAX: usize = 255;
        let name = tag.rsplit_once("-firelens-").map_or(tag, |(container, _)| container);
        let name = &name[..name.floor_char_boundary(NAME_BYTES_MAX)];
        if self.sources.contains(name) {
            return name.into();
        }
        if self.sources.len() >= CONTAINER_LABELS_MAX {
            return "other".into();
        }
        self.sources.insert(name.to_owned());
        name.into()
    }
}

impl Route {
    /// The container that its records are counted for.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Begins to send records on their way. What follows shares one look at each output; end it soon.
    pub fn begin(&self) -> Pass<'_> {
        Pass {
            route: self,
            writers: self.targets.iter().map(Target::writer).collect(),
            workspace: self.workspace.lock().unwrap_or_else(PoisonError::into_inner),
            counter: self.counter.as_ref().map(|counter| counter.lock().unwrap_or_else(PoisonError::into_inner)),
            read: 0,
            filtered: 0,
        }
    }
}

impl<'r> Pass<'r> {
    /// Sends all records of `entries` on their way; one without a time happened `now`. `record` is a place to read into.
    /// What stands before a malformed entry is on its way.
    pub fn push<'a>(
        &mut self,
        mut entries: EntryReader<'a>,
        record: &mut Record<'a>,
        now: EventTime,
    ) -> Result<(), Malformed>
    where
        'r: 'a,
    {
        while entries.next_into(record)? {
            self.push_one(record, now);
        }
        Ok(())
    }

    /// Sends `record` on its way.
    #[inline]
    pub fn push_one<'a>(&mut self, record: &mut Record<'a>, now: EventTime)
    where
        'r: 'a,
    {
        self.read += 1;
        if record.time.seconds == 0 {
            record.time = now;
        }
        if let Some(counter) = &mut self.counter
            && counted::counts(record)
        {
            counter.count(&self.route.source, record);
        }
        if self.route.filters.iter().any(|filter| filter.apply(record) == Verdict::Drop) {
            self.filtered += 1;
            return;
        }
        if let Some(documents) = &self.route.documents {
            documents.look(record, now);
        }
        for writer in &mut self.writers {
            writer.append(record, &mut self.workspace);
        }
    }

    /// What comes from here on is of a message that waits for `ack`, or of one that does not wait.
    pub fn of_message(&mut self, ack: Option<&Arc<Ack>>) {
        self.writers.iter_mut().for_each(|writer| writer.of_message(ack));
    }

    /// The container that they are counted for.
    pub fn source(&self) -> &'r str {
        &self.route.source
    }

    /// Records read so far.
    pub fn records(&self) -> u64 {
        self.read
    }
}

impl Documents {
    /// Takes the document in `record`, if it is one. What came as a document was taken before.
    fn look(&self, record: &Record<'_>, now: EventTime) {
        let text = record.get(DOCUMENT).and_then(|value| value.text());
        let Some(text) = text.filter(|text| record.directions.is_none() && emf::is_likely_line(text)) else { return };
        match emf::read(text, now.milliseconds()) {
            Ok(document) => {
                count(&self.counters, &document, "record");
                self.taker.take(&document);
            }
            Err(fault) => self.counters.faults.with_label_values(&[fault.label()]).inc(),
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.workspace.trim();
        if let Some(counter) = &mut self.counter {
            counter.tell(&self.route.source);
        }
        self.route.filtered.inc_by(self.filtered);
        if let Some(unrouted) = &self.route.unrouted {
            unrouted.inc_by(self.read - self.filtered);
        }
    }
}
