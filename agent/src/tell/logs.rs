//! The agent's own log: events as lines on stderr.
//!
//! Promises: one event is exactly one line, and no control character of a value reaches the terminal or the log driver
//! (they are written as `\u001b`); a stderr that nobody reads never blocks the agent: lines beyond the queue are dropped
//! and their number is logged; a panic is reported with its place.
//! Never: prints a panic's formatted text, which could hold a record; lets the AWS, TLS and HTTP libraries say more than
//! warnings, because their finer levels print headers and credentials.
//!
//! An event is formatted on the thread it happens on, its line goes into a bounded queue, and a thread of its own writes
//! it. A pipe to a log driver that blocks (`awslogs` in blocking mode) therefore stops that thread only.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal, Write},
    panic::PanicHookInfo,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{Level, Metadata, Subscriber, error, warn};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::FilterFn,
    fmt::{MakeWriter, layer},
    layer::SubscriberExt,
};

/// Lines that wait for stderr. At the usual 200 bytes they hold 100 KiB; a healthy day has a dozen lines.
const LINES_MAX: usize = 512;
/// How long the end of the agent waits for stderr to take the last lines.
const FLUSH_MAX: Duration = Duration::from_secs(1);
/// Bytes of text from outside that one field of an event shows.
const UNTRUSTED_BYTES_MAX: usize = 256;
/// Libraries whose finer levels print headers, bodies or credentials (aws-sigv4 did: CVE-2023-30610).
const TALKATIVE: [&str; 7] = ["aws_", "h2", "hyper", "rustls", "tower", "mio", "tokio_util"];

/// The form of the lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line, for machines.
    Json,
    /// Time, level, message and fields, for people.
    Human,
}

impl Format {
    /// Human on a terminal, else JSON.
    pub fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Human } else { Self::Json }
    }
}

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The level is neither a level nor a filter.
    #[error(
        "`{0}` is not a log level; write error, warn, info, debug, trace or off, or a filter such as `info,pillion::logs=debug`"
    )]
    Level(String),
    /// Called twice.
    #[error("the log is set up already")]
    Twice,
    /// The writing thread could not be started.
    #[error("cannot start the thread that writes the log")]
    Thread(#[source] io::Error),
}

/// Keeps the log alive. When dropped it waits, at most a second, until stderr has taken all lines.
#[derive(Debug)]
#[must_use = "the last lines are flushed when this is dropped"]
pub struct Log(Lines);

/// Sets up the log for the whole process. `level` is `error`, `warn`, `info`, `debug`, `trace` or `off`, for the agent's
/// own events, or a filter in env-filter syntax (`info,pillion::deliver=debug`).
pub fn install(level: &str, format: Format) -> Result<Log, LogsError> {
    let filter = filter(level)?;
    let lines = Lines::start(io::stderr()).map_err(LogsError::Thread)?;
    let subscriber = subscriber(filter, format, lines.clone());
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogsError::Twice)?;
    Ok(Log(lines))
}

/// Reads a level or a filter; `config` uses it to check what was written.
pub fn filter(level: &str) -> Result<EnvFilter, LogsError> {
    let text = level.trim();
    let directives = match text.to_ascii_lowercase().as_str() {
        "off" | "error" => text.to_ascii_lowercase(),
        "warn" | "warning" => "warn".to_owned(),
        word @ ("info" | "debug" | "trace") => format!("warn,pillion={word}"),
        // A single other word would be taken for the name of a module, and silence everything.
        word if !word.contains(['=', ',']) => return Err(LogsError::Level(short(text))),
        // What the filter does not name has the level warn, unless it says another.
        _ => format!("warn,{text}"),
    };
    EnvFilter::builder().parse(directives).map_err(|_| LogsError::Level(short(text)))
}

/// Replaces the hook that prints panics, from now on.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(report_panic));
}

/// An error with its causes, for the field `error` of an event: `cannot send: connection refused`.
pub fn chain<'a>(error: &'a (dyn Error + 'a)) -> Chain<'a> {
    Chain(error)
}

/// What [`chain`] returns.
#[derive(Debug)]
pub struct Chain<'a>(&'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// The beginning, at most 256 bytes, of a text from outside (a tag, a peer's message), for a field of an event.
pub fn untrusted(text: &[u8]) -> String {
    short(&String::from_utf8_lossy(&text[..text.len().min(UNTRUSTED_BYTES_MAX)]))
}

fn short(text: &str) -> String {
    text[..text.floor_char_boundary(UNTRUSTED_BYTES_MAX)].to_owned()
}

fn report_panic(info: &PanicHookInfo<'_>) {
    let place = info.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
    // Formatted text could hold a piece of a record; a text that stands in the source cannot.
    let what = info.payload().downcast_ref::<&'static str>().copied().unwrap_or("not shown: it may hold data");
    let current = thread::current();
    let thread = current.name().unwrap_or("unnamed");
    if tracing::dispatcher::has_been_set() {
        error!(place, thread, what, "panicked; this is a bug in pillion, please report it");
    } else {
        // Nobody is left to tell if stderr does not take it.
        let _ = writeln!(io::stderr(), "pillion: panicked at {place} in thread {thread}: {what}");
    }
}

fn subscriber(filter: EnvFilter, format: Format, lines: Lines) -> impl Subscriber + Send + Sync {
    let base = layer().with_writer(lines).with_ansi(false);
    let formatted = match format {
        Format::Json => base.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        Format::Human => base.with_target(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(formatted.with_filter(FilterFn::new(may_be_shown)))
}

/// No filter that a user writes opens the libraries that would print secrets.
fn may_be_shown(event: &Metadata<'_>) -> bool {
    *event.level() <= Level::WARN || !TALKATIVE.iter().any(|library| event.target().starts_with(library))
}

/// Writes control characters, and those that reorder or break a line, as JSON escapes, which in JSON lines is what a
/// string must hold anyway. The line's own end stays.
fn escaped(line: &str) -> String {
    let body = line.strip_suffix('\n').unwrap_or(line);
    let mut safe = String::with_capacity(line.len());
    for c in body.chars() {
        match c {
            c if c.is_control() => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => safe.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => safe.push(c),
        }
    }
    safe.push('\n');
    safe
}

/// The queue of lines before the writing thread.
#[derive(Clone, Debug)]
struct Lines {
    queue: SyncSender<Entry>,
    dropped: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Entry {
    Line(String),
    /// Answered when all lines before it have been written.
    Flush(SyncSender<()>),
}

impl Lines {
    fn start(sink: impl Write + Send + 'static) -> io::Result<Self> {
        let (queue, entries) = sync_channel(LINES_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&dropped);
        thread::Builder::new().name("log".into()).spawn(move || write_lines(sink, &entries, &counted))?;
        Ok(Self { queue, dropped })
    }

    fn push(&self, line: &str) {
        if self.queue.try_send(Entry::Line(escaped(line))).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self, within: Duration) {
        let until = Instant::now() + within;
        let (done, written) = sync_channel(1);
        let mut entry = Entry::Flush(done);
        while let Err(TrySendError::Full(back)) = self.queue.try_send(entry) {
            if Instant::now() >= until {
                return;
            }
            entry = back;
            thread::sleep(Duration::from_millis(5));
        }
        // Whoever does not read our log for a second has waived its last lines.
        let _ = written.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

fn write_lines(mut sink: impl Write, entries: &Receiver<Entry>, dropped: &AtomicU64) {
    for entry in entries {
        match entry {
            // A stderr that is closed for good cannot be told about; the queue is drained all the same.
            Entry::Line(line) => {
                let _ = sink.write_all(line.as_bytes());
            }
            // Whoever asked may have stopped waiting.
            Entry::Flush(done) => {
                let _ = done.try_send(());
            }
        }
        let lines = dropped.swap(0, Ordering::Relaxed);
        if lines > 0 {
            warn!(lines, "own log lines were dropped because stderr was not read");
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush(FLUSH_MAX);
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &Lines {
    /// Called once per event, with the whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(&String::from_utf8_lossy(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc::Sender};

    use tracing::{debug, info, subscriber::with_default};

    use super::*;

    /// A sink whose bytes the test can read.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is on stderr after `say`.
    fn said(level: &str, format: Format, say: impl FnOnce()) -> String {
        let page = Page::default();
        let lines = Lines::start(page.clone()).unwrap();
        with_default(subscriber(filter(level).unwrap(), format, lines.clone()), say);
        lines.flush(Duration::from_secs(10));
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const HOSTILE: &str = "a\nb\r\u{1b}[31mred\u{9b}2J\0\u{7f}\t\u{202e}\u{2028}\"}\\end";

    /// Terminal escapes and line breaks in any kind of value (fluentd's CVE-2017-10906) stay one harmless line.
    #[test]
    fn control_characters_in_values_are_escaped_in_both_forms() {
        for format in [Format::Json, Format::Human] {
            let page = said("info", format, || {
                let error = io::Error::other(HOSTILE);
                info!(text = HOSTILE, shown = %HOSTILE, debugged = ?HOSTILE, error = %chain(&error), "{HOSTILE}");
                warn!(error = &error as &dyn Error, "second");
            });
            assert_eq!(page.lines().count(), 2, "{format:?}: {page}");
            let body = page.replace('\n', "");
            assert!(!body.chars().any(|c| c.is_control() || c == '\u{202e}' || c == '\u{2028}'), "{page:?}");
            assert!(body.contains("red"), "{page}");
            if format == Format::Json {
                for line in page.lines() {
                    serde_json::from_str::<serde_json::Value>(line).expect("a JSON line");
                }
                let first: serde_json::Value = serde_json::from_str(page.lines().next().unwrap()).unwrap();
                assert_eq!(first["shown"], HOSTILE);
                assert_eq!(first["message"], HOSTILE);
            }
        }
    }

    #[test]
    fn a_level_opens_our_own_events_only() {
        let say = || {
            debug!("ours");
            debug!(target: "some_library", "theirs");
            info!(target: "some_library", "theirs");
            warn!(target: "some_library", "their warning");
        };
        let count = |level| said(level, Format::Human, say).lines().count();
        assert_eq!(count("debug"), 2);
        assert_eq!(count("info"), 1);
        assert_eq!(count("WARNING"), 1);
        assert_eq!(count("off"), 0);
        assert_eq!(count("error,some_library=info"), 2);
        assert_eq!(count("pillion::tell=debug"), 2, "what the filter does not name has the level warn");
    }

    /// aws-sigv4 once printed credentials at TRACE; no filter brings such lines back.
    #[test]
    fn the_talkative_libraries_stay_quiet_at_any_level() {
        let page = said("trace,aws_sigv4=trace,hyper_util=trace", Format::Json, || {
            tracing::trace!(target: "aws_sigv4::http_request", key = "AKIAEXAMPLE", "signing");
            info!(target: "hyper_util::client", "connecting");
            warn!(target: "aws_config::imds", "no answer");
        });
        assert_eq!(page.lines().count(), 1, "{page}");
        assert!(page.contains("no answer") && !page.contains("AKIAEXAMPLE"), "{page}");
    }

    #[test]
    fn a_word_that_is_no_level_is_refused() {
        for level in ["inof", "", "pillion", "info,pillion=loud", "verbose"] {
            let error = filter(level).expect_err(level);
            assert!(error.to_string().contains("is not a log level"), "{error}");
        }
    }

    /// The writer of lines blocks for ever, the agent does not; what was dropped is said when stderr is read again.
    #[test]
    fn a_stderr_that_is_not_read_blocks_nobody() {
        struct Stuck(Receiver<()>, Sender<usize>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.recv().map_err(io::Error::other)?;
                self.1.send(bytes.len()).map_err(io::Error::other)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (open, gate) = sync_channel(10_000);
        #[expect(clippy::disallowed_methods, reason = "a test's channel may grow")]
        let (sizes, written) = std::sync::mpsc::channel();
        let lines = Lines::start(Stuck(gate, sizes)).unwrap();
        for _ in 0..LINES_MAX + 100 {
            lines.push("text\n");
        }
        let dropped = lines.dropped.load(Ordering::Relaxed);
        assert!((98..=100).contains(&dropped), "one line is with the writer, {LINES_MAX} wait: {dropped}");
        for _ in 0..LINES_MAX {
            open.send(()).unwrap();
            assert_eq!(written.recv().unwrap(), 5);
        }
    }

    #[test]
    fn an_error_is_shown_with_its_causes_once_each() {
        #[derive(Debug, thiserror::Error)]
        #[error("cannot send the batch")]
        struct Send(#[source] io::Error);
        let error = Send(io::Error::other("connection refused"));
        assert_eq!(chain(&error).to_string(), "cannot send the batch: connection refused");
    }

    #[test]
    fn text_from_outside_is_cut_at_a_character() {
        assert_eq!(untrusted(b"short\xff"), "short\u{fffd}");
        let long = "\u{1f600}".repeat(100);
        assert!(untrusted(long.as_bytes()).len() <= UNTRUSTED_BYTES_MAX);
        assert_eq!(untrusted(long.as_bytes()).chars().count(), 64);
    }

    /// Rust's own hook prints the text of `panic!("{record}")`; ours prints where it happened.
    #[test]
    fn a_panic_shows_its_place_but_no_formatted_text() {
        let page = Page::default();
        let lines = Lines::start(page.clone()).unwrap();
        let subscriber = subscriber(filter("info").unwrap(), Format::Json, lines.clone());
        let record = "card number 4111";
        let before = std::panic::take_hook();
        install_panic_hook();
        with_default(subscriber, || {
            std::panic::catch_unwind(|| panic!("cannot parse {record}")).expect_err("panics");
            std::panic::catch_unwind(|| panic!("a constant")).expect_err("panics");
        });
        std::panic::set_hook(before);
        lines.flush(Duration::from_secs(10));
        let page = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        assert!(!page.contains("4111"), "{page}");
        assert!(page.contains("a constant") && page.contains("src/tell/logs.rs"), "{page}");
    }
}
