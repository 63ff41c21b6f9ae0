//! The documents that go on: the one that came, the same mended, or several.
//!
//! ```text
//! part(page, slice) = metadata with the page's metrics that have values in the slice,
//!                     these values,
//!                     all other members
//! ```
//! A page is a hundred metrics of each directive, a slice a hundred values of each metric.
//!
//! Promises: each value of each metric stands in one part for each directive that names it; nothing is written that came as it is to go on.
//! Never: writes more than [`SPLIT_BYTES_MAX`]; what would take more goes on as it came.

use std::fmt::Write;

use super::{
    DOCUMENT_BYTES_MAX,
    directive::{Definition, Directive, Resolution},
    fault::Fault,
    json::{self, Member},
    read::{Document, Metadata, place},
    target::Values,
};

/// Bytes of all parts of a document. A document of 1 MB with nothing but values needs 4 MB.
const SPLIT_BYTES_MAX: usize = 8 << 20;
/// Bytes that mending may add besides quotes: a time and its name, and the frame of a list.
const MENDED_BYTES: usize = 64;

/// Which part.
#[derive(Clone, Copy, Debug)]
struct Place {
    page: usize,
    slice: usize,
}

impl<'a> Document<'a> {
    /// Hands each document that goes on to `each`.
    pub fn parts(&self, mut each: impl FnMut(&str)) {
        if !self.is_rewritten() {
            return each(self.text);
        }
        let cut =
            self.values.iter().map(|values| values.filter(|values| values.slices() > 1).map(|values| values.cut()));
        let cut: Vec<_> = cut.map(Option::unwrap_or_default).collect();
        let mut out = String::with_capacity(self.text.len() / 2);
        for page in 0..self.pages() {
            for slice in 0..self.slices(page) {
                out.clear();
                self.put(Place { page, slice }, &cut, &mut out);
                each(&out);
            }
        }
    }

    /// How many documents go on.
    pub fn count(&self) -> usize {
        if self.is_rewritten() { (0..self.pages()).map(|page| self.slices(page)).sum() } else { 1 }
    }

    fn is_rewritten(&self) -> bool {
        !self.directives.is_empty()
            && (self.is_changed
                || self.new_time.is_some()
                || self.has_route()
                || self.texts.contains(&true)
                || self.pages() > 1
                || self.slices(0) > 1)
    }

    fn pages(&self) -> usize {
        self.directives.iter().map(Directive::pages).max().unwrap_or(1)
    }

    /// The parts of one page.
    fn slices(&self, page: usize) -> usize {
        self.on_page(page).map(|metric| self.slices_of(metric)).max().unwrap_or(1)
    }

    fn on_page(&self, page: usize) -> impl Iterator<Item = &Definition<'a>> {
        self.directives.iter().flat_map(move |directive| directive.page(page))
    }

    fn slices_of(&self, metric: &Definition<'_>) -> usize {
        self.values[metric.place].map_or(1, |values| values.slices())
    }

    /// True if the route is in it, which is for us alone.
    fn has_route(&self) -> bool {
        let inner = match &self.metadata {
            Metadata::Member(_, inner) => &inner[..],
            Metadata::Root => &[],
        };
        !self.routes.is_empty() || inner.iter().any(|member| matches!(&*member.name, "LogGroupName" | "LogStreamName"))
    }

    /// Whether the parts together are as small as they may be.
    pub(super) fn fits(&self) -> Result<(), Fault> {
        let quotes = 2 * self.texts.iter().filter(|text| **text).count();
        let written = self.text.len() + quotes + MENDED_BYTES;
        let parts = self.count();
        let values: usize = (0..self.members.len())
            .filter(|place| self.values[*place].is_some())
            .map(|place| self.members[place].value.len())
            .sum();
        // What stands beside the values is in each part; the values are in each directive's page.
        let beside = written.saturating_sub(values).saturating_mul(parts);
        let of_pages = values.saturating_mul(self.pages());
        let fits = (parts > 1 || written <= DOCUMENT_BYTES_MAX) && beside.saturating_add(of_pages) <= SPLIT_BYTES_MAX;
        if fits || !self.is_rewritten() { Ok(()) } else { Err(Fault::TooLarge) }
    }

    /// Appends one part. `cut` has the values of those members that do not fit into one.
    fn put(&self, at: Place, cut: &[Vec<Values<'_>>], out: &mut String) {
        // Members that are values of metrics of this part.
        let mut wanted = vec![false; self.members.len()];
        for metric in self.on_page(at.page).filter(|metric| at.slice < self.slices_of(metric)) {
            wanted[metric.place] = true;
        }
        let mut object = Object::begin(out);
        for (index, member) in self.members.iter().enumerate() {
            // Of two members with one name the last is meant.
            if !self.is_last[index] || self.routes.contains(&index) {
                continue;
            }
            match (&self.metadata, self.values[index]) {
                (Metadata::Member(metadata, inner), _) if *metadata == index => {
                    object.key(member.key);
                    self.put_metadata(inner, at, object.out);
                }
                (Metadata::Root, _) if member.name == "CloudWatchMetrics" => {
                    object.key(member.key);
                    self.put_directives(at, object.out);
                }
                (Metadata::Root, _) if member.name == "Timestamp" && self.new_time.is_some() => {}
                (_, Some(_)) if !wanted[index] => {}
                (_, Some(_)) if !cut[index].is_empty() => {
                    object.key(member.key);
                    cut[index].iter().skip(at.slice).take(1).for_each(|values| values.put(object.out));
                }
                _ if self.texts[index] => object.member(member.key, &format!("\"{}\"", member.value)),
                _ => object.member(member.key, member.value),
            }
        }
        if matches!(self.metadata, Metadata::Root) {
            object.time(self.new_time);
        }
        object.end();
    }

    fn put_metadata(&self, members: &[Member<'_>], at: Place, out: &mut String) {
        let mut object = Object::begin(out);
        for (index, member) in members.iter().enumerate() {
            match &*member.name {
                _ if place(&members[index + 1..], &member.name).is_some() => {}
                "LogGroupName" | "LogStreamName" => {}
                "Timestamp" if self.new_time.is_some() => {}
                "CloudWatchMetrics" => {
                    object.key(member.key);
                    self.put_directives(at, object.out);
                }
                _ => object.member(member.key, member.value),
            }
        }
        object.time(self.new_time);
        object.end();
    }

    fn put_directives(&self, at: Place, out: &mut String) {
        let mut list = List::begin(out);
        for directive in &self.directives {
            let all = directive.page(at.page);
            let here = || all.iter().filter(|metric| at.slice < self.slices_of(metric));
            let count = here().count();
            match directive.text {
                _ if count == 0 => {}
                Some(text) if count == directive.metrics.len() => list.next().push_str(text),
                _ => put_directive(directive, here(), list.next()),
            }
        }
        list.end();
    }
}

fn put_directive<'m>(directive: &Directive<'_>, metrics: impl Iterator<Item = &'m Definition<'m>>, out: &mut String) {
    let mut object = Object::begin(out);
    for (index, member) in directive.members.iter().enumerate() {
        let is_ours = matches!(&*member.name, "Dimensions" | "Metrics");
        if !is_ours && place(&directive.members[index + 1..], &member.name).is_none() {
            object.member(member.key, member.value);
        }
    }
    object.key("\"Dimensions\"");
    let mut list = List::begin(object.out);
    directive.sets.iter().for_each(|set| list.next().push_str(set.text));
    list.end();
    object.key("\"Metrics\"");
    let mut list = List::begin(object.out);
    metrics.for_each(|metric| put_metric(metric, list.next()));
    list.end();
    object.end();
}

fn put_metric(metric: &Definition<'_>, out: &mut String) {
    if let Some(text) = metric.text {
        return out.push_str(text);
    }
    let mut object = Object::begin(out);
    object.member("\"Name\"", metric.key);
    if let Some(unit) = metric.unit {
        object.key("\"Unit\"");
        json::put_text(object.out, unit.name());
    }
    if let Some(resolution) = metric.resolution {
        object.member("\"StorageResolution\"", if resolution == Resolution::Second { "1" } else { "60" });
    }
    object.end();
}

/// An object while it is written.
struct Object<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl<'o> Object<'o> {
    fn begin(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, is_empty: true }
    }

    /// Writes a key, after which its value is written.
    fn key(&mut self, key: &str) {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(',');
        }
        self.out.push_str(key);
        self.out.push(':');
    }

    fn member(&mut self, key: &str, value: &str) {
        self.key(key);
        self.out.push_str(value);
    }

    fn time(&mut self, time: Option<i64>) {
        if let Some(time) = time {
            self.key("\"Timestamp\"");
            // Writing to a String cannot fail.
            let _ = write!(self.out, "{time}");
        }
    }

    fn end(self) {
        self.out.push('}');
    }
}

/// A list while it is written.
struct List<'o> {
    out: &'o mut String,
    is_empty: bool,
}

impl<'o> List<'o> {
    fn begin(out: &'o mut String) -> Self {
        out.push('[');
        Self { out, is_empty: true }
    }

    /// Where the next element is written.
    fn next(&mut self) -> &mut String {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.out.push(',');
        }
        self.out
    }

    fn end(self) {
        self.out.push(']');
    }
}
