//! The formats in which `/metrics` answers, which of them a request wants, and how a page is written.
//!
//! Promises: who asks for nothing, or for nothing that we have, gets Prometheus' text format 0.0.4, which everybody reads; names are the
//! same in both formats; what is written, a strict reader takes.
//! Never: knows what it says.

use std::fmt::{self, Display, Write};

/// A format of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Prometheus' text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Form {
    /// What an answer in this format says that it is.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// The format that a request with these headers `Accept` wants most.
    pub fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut text, mut open) = (0.0, 0.0);
        for range in accept.flat_map(|header| header.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut is_ours) = (1.0, true);
            for part in parts {
                match part.split_once('=') {
                    Some(("q", value)) => quality = value.parse().unwrap_or(0.0),
                    Some(("version", value)) => is_ours = matches!(value, "0.0.1" | "0.0.4" | "1.0.0"),
                    _ => {}
                }
            }
            match kind.as_str() {
                "application/openmetrics-text" if is_ours => open = f64::max(open, quality),
                "text/plain" if is_ours => text = f64::max(text, quality),
                "text/*" | "*/*" => text = f64::max(text, quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= text { Self::OpenMetrics } else { Self::Text }
    }
}

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// It only grows. Samples end with `_total`.
    Counter,
    /// It has a value now.
    Gauge,
    /// Buckets, a sum and a count.
    Histogram,
    /// Quantiles, a sum and a count.
    Summary,
    /// Its labels say something. Samples end with `_info`.
    Info,
    /// One of several states.
    StateSet,
    /// Nobody says what it is.
    Unknown,
}

impl Type {
    /// The end of the names of samples that are just a number.
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Counter => "_total",
            Self::Info => "_info",
            _ => "",
        }
    }

    const fn word(self, form: Form) -> &'static str {
        match (form, self) {
            (_, Self::Counter) => "counter",
            (_, Self::Histogram) => "histogram",
            (_, Self::Summary) => "summary",
            (Form::OpenMetrics, Self::Info) => "info",
            (Form::OpenMetrics, Self::StateSet) => "stateset",
            (Form::OpenMetrics, Self::Unknown) => "unknown",
            (Form::Text, Self::Unknown) => "untyped",
            (_, Self::Gauge) | (Form::Text, Self::Info | Self::StateSet) => "gauge",
        }
    }
}

/// A page while it is written.
#[derive(Debug)]
pub struct Page {
    form: Form,
    text: String,
}

impl Page {
    /// An empty page.
    pub fn new(form: Form) -> Self {
        Self { form, text: String::new() }
    }

    /// Begins a family; `name` is without the ending of its samples.
    pub fn family(&mut self, name: &str, kind: Type, help: &str) {
        let ending = if self.form == Form::Text { kind.ending() } else { "" };
        let page = &mut self.text;
        // Writing to a String cannot fail.
        let _ = writeln!(page, "# TYPE {name}{ending} {}", kind.word(self.form));
        if help.is_empty() {
            return;
        }
        let _ = write!(page, "# HELP {name}{ending} ");
        for c in help.chars() {
            match c {
                '\\' => page.push_str("\\\\"),
                '\n' => page.push_str("\\n"),
                '"' if self.form == Form::OpenMetrics => page.push_str("\\\""),
                c => page.push(c),
            }
        }
        page.push('\n');
    }

    /// Writes a sample. `labels` are as they stand between the braces; a bound is one more label, `le` or `quantile`.
    pub fn sample(&mut self, (name, ending): (&str, &str), labels: &str, bound: Option<(&str, f64)>, value: f64) {
        let (page, form) = (&mut self.text, self.form);
        page.push_str(name);
        page.push_str(ending);
        let bound = bound.map(|(name, bound)| (name, Bound(bound, form)));
        let _ = match (labels, bound) {
            ("", None) => Ok(()),
            (_, None) => write!(page, "{{{labels}}}"),
            ("", Some((name, bound))) => write!(page, "{{{name}=\"{bound}\"}}"),
            (_, Some((name, bound))) => write!(page, "{{{labels},{name}=\"{bound}\"}}"),
        };
        let _ = writeln!(page, " {}", Number(value));
    }

    /// Writes an example of what the sample before counted, if the format has a place for it: 0.0.4 has none.
    pub fn exemplar(&mut self, labels: &str, value: f64, milliseconds: Option<u64>) {
        if self.form == Form::Text {
            return;
        }
        self.text.truncate(self.text.trim_end_matches('\n').len());
        let page = &mut self.text;
        let _ = write!(page, " # {{{labels}}} {}", Number(value));
        let _ = match milliseconds {
            Some(milliseconds) => writeln!(page, " {}.{:03}", milliseconds / 1_000, milliseconds % 1_000),
            None => writeln!(page),
        };
    }

    /// The whole page.
    pub fn finish(mut self) -> String {
        if self.form == Form::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }
}

/// What stands between the quotes of a label's value.
pub fn escape_label(value: &str, text: &mut String) {
    for c in value.chars() {
        match c {
            '\\' => text.push_str("\\\\"),
            '"' => text.push_str("\\\""),
            '\n' => text.push_str("\\n"),
            c => text.push(c),
        }
    }
}

/// A number as both formats take it.
struct Number(f64);

/// The same as the value of a label `le` or `quantile`, for which OpenMetrics wants a point.
struct Bound(f64, Form);

/// True if the number is written without an exponent: others would be hundreds of digits.
fn is_plain(number: f64) -> bool {
    number == 0.0 || (1e-7..1e17).contains(&number.abs())
}

impl Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            number if number.is_nan() => f.write_str("NaN"),
            f64::INFINITY => f.write_str("+Inf"),
            f64::NEG_INFINITY => f.write_str("-Inf"),
            number if is_plain(number) => write!(f, "{number}"),
            number => write!(f, "{number:e}"),
        }
    }
}

impl Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, form) = self;
        Number(*number).fmt(f)?;
        let is_whole = number.is_finite() && number.fract() == 0.0 && is_plain(*number);
        if *form == Form::OpenMetrics && is_whole { f.write_str(".0") } else { Ok(()) }
    }
}

/// True if a request with these headers `Accept-Encoding` takes gzip.
pub fn takes_gzip<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    accept.flat_map(|header| header.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        let refuses = |part: &str| part.strip_prefix("q=").is_some_and(|quality| quality.parse() == Ok(0.0));
        is_gzip && !parts.any(refuses)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_that_is_wanted_most_is_given() {
        let prometheus = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (&[][..], Form::Text),
            (&["*/*"], Form::Text),
            (&[""], Form::Text),
            (&["text/html, */*;q=0.1"], Form::Text),
            (&["application/openmetrics-text"], Form::OpenMetrics),
            (&["Application/OpenMetrics-Text; version=1.0.0"], Form::OpenMetrics),
            (&["application/openmetrics-text;version=2.0.0"], Form::Text),
            (&["application/openmetrics-text;q=0"], Form::Text),
            (&["application/openmetrics-text;q=0.1, text/plain"], Form::Text),
            (&["text/plain;q=0.1", "application/openmetrics-text;q=0.2"], Form::OpenMetrics),
            (&[prometheus], Form::OpenMetrics),
            (&["application/openmetrics-text;q=x, ;;,=,"], Form::Text),
        ] {
            assert_eq!(Form::wanted(accept.iter().copied()), expected, "{accept:?}");
        }
    }

    #[test]
    fn gzip_is_taken_by_who_says_so() {
        for (accept, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip;q=0.0, br", false),
            ("*", false),
            ("", false),
        ] {
            assert_eq!(takes_gzip([accept].into_iter()), expected, "{accept}");
        }
    }
}
