//! Levels, their names and their numbers.
//!
//! Promises: names are those that known libraries write, in any letters; a number means one level or none.
//! Never: looks into a line; `level` does.

/// The longest name of a level has eleven letters.
pub(super) const NAME_BYTES_MAX: usize = 11;

/// A level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// None was found.
    #[default]
    None,
    /// The finest.
    Trace,
    /// For who looks for a mistake.
    Debug,
    /// What goes on.
    Info,
    /// What may become a mistake.
    Warn,
    /// A mistake.
    Error,
    /// A mistake that ends something.
    Fatal,
}

/// How many levels there are.
pub const LEVELS: usize = Level::ALL.len();

impl Level {
    /// All of them, by number.
    pub const ALL: [Self; 7] = [Self::None, Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];

    /// The name, as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Fatal => "fatal",
        }
    }

    /// The level that `word` names, in capitals.
    #[inline]
    pub(super) fn in_capitals(word: &[u8]) -> Option<Self> {
        Some(match word {
            b"INFO" | b"INF" | b"INFORMATION" | b"NOTICE" => Self::Info,
            b"WARN" | b"WARNING" | b"WRN" => Self::Warn,
            b"ERROR" | b"ERR" | b"SEVERE" | b"FAIL" => Self::Error,
            b"DEBUG" | b"DBG" | b"DBUG" | b"FINE" => Self::Debug,
            b"TRACE" | b"TRC" | b"TRCE" | b"VERBOSE" | b"FINER" | b"FINEST" => Self::Trace,
            b"FATAL" | b"FTL" | b"CRITICAL" | b"CRIT" | b"PANIC" | b"EMERG" | b"EMERGENCY" | b"ALERT" => Self::Fatal,
            _ => return None,
        })
    }

    /// The level that `word` names, in any letters.
    #[inline]
    pub fn named(word: &[u8]) -> Option<Self> {
        let mut capitals = [0; NAME_BYTES_MAX];
        let capitals = capitals.get_mut(..word.len())?;
        capitals.copy_from_slice(word);
        capitals.make_ascii_uppercase();
        Self::in_capitals(capitals)
    }

    /// The level with this number: of pino and bunyan from 10 on, of syslog below.
    pub fn numbered(number: f64) -> Option<Self> {
        const SYSLOG: [Level; 8] = [
            Level::Fatal,
            Level::Fatal,
            Level::Fatal,
            Level::Error,
            Level::Warn,
            Level::Info,
            Level::Info,
            Level::Debug,
        ];
        if number.fract() != 0.0 || !(0.0..=60.0).contains(&number) {
            return None;
        }
        let number = number as usize;
        SYSLOG.get(number).copied().or(match number {
            10 => Some(Self::Trace),
            20 => Some(Self::Debug),
            30 => Some(Self::Info),
            40 => Some(Self::Warn),
            50 => Some(Self::Error),
            60 => Some(Self::Fatal),
            _ => None,
        })
    }

    /// The level of a severity's number as OpenTelemetry has it: four for each level.
    pub fn of_severity(number: f64) -> Option<Self> {
        let is_one = number.fract() == 0.0 && (1.0..=24.0).contains(&number);
        is_one.then(|| Self::ALL[(number as usize - 1) / 4 + 1])
    }
}
