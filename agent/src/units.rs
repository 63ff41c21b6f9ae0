//! Values with units, as people write them in a configuration: byte sizes, durations, counts with a range, permissions.
//!
//! Promises: a value of these types is in its range; an error says what was written, what is allowed and an example.
//! Never: guesses a unit. A number of seconds without `s` is an error in our own files.

use std::{fmt, net::SocketAddr, time::Duration};

use serde::{Deserialize, Deserializer, de};

#[cfg(test)]
mod schema;

/// A size in bytes. Written `64 MiB`, `25MB`, `512k` or as plain bytes; `k`, `M`, `G` are powers of 1000 (as Fluent Bit
/// reads them), `KiB`, `MiB`, `GiB` powers of 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// A length of time. Written with a unit: `250ms`, `5s`, `2m`, `1h`, `14d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Count<const MIN: u64, const MAX: u64>(u64);

/// Permission bits, written as octal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String")]
#[cfg_attr(test, schemars(with = "String"))]
pub struct Permissions(pub u32);

impl TryFrom<String> for Permissions {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match u32::from_str_radix(&text, 8) {
            Ok(bits) if bits <= 0o777 => Ok(Self(bits)),
            _ => Err(format!("`{text}` is not an octal permission; write for example \"0660\"")),
        }
    }
}

/// Where something listens, if at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(with = "String"))]
pub enum Listen {
    /// At the default address.
    #[default]
    Default,
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
}

impl ByteSize {
    /// `n` times 1024 * 1024 bytes.
    pub const fn mebibytes(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// Reads a size. Errors say what was written and how to write it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" => 1_000,
            "m" | "mb" => 1_000_000,
            "g" | "gb" => 1_000_000_000,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(format!("`{text}` is not a size; write for example `64 MiB` or `25MB`")),
        };
        number
            .parse::<u64>()
            .ok()
            .and_then(|n| n.checked_mul(factor))
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a size; write for example `64 MiB` or `25MB`"))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n >= 1 << 20 && n % (1 << 20) == 0 => write!(f, "{} MiB", n >> 20),
            n if n >= 1 << 20 => write!(f, "{:.1} MiB", n as f64 / (1 << 20) as f64),
            n if n >= 1 << 10 => write!(f, "{:.1} KiB", n as f64 / 1024.0),
            n => write!(f, "{n} B"),
        }
    }
}

impl Span {
    /// Reads a length of time. A bare number other than 0 is refused: it has no unit.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split_unit(text);
        let scale = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3_600.0,
            "d" => 86_400.0,
            "" if number == "0" => 0.0,
            "" => return Err(format!("`{text}` has no unit; write for example `{text}s` or `{text}ms`")),
            _ => return Err(format!("`{text}` is not a length of time; write for example `250ms`, `5s` or `2m`")),
        };
        number
            .parse::<f64>()
            .ok()
            .and_then(|n| Duration::try_from_secs_f64(n * scale).ok())
            .map(Self)
            .ok_or_else(|| format!("`{text}` is not a length of time; write for example `250ms`, `5s` or `2m`"))
    }
}

impl<const MIN: u64, const MAX: u64> Count<MIN, MAX> {
    /// The number, if it is in the range.
    pub fn new(n: u64) -> Result<Self, String> {
        match n {
            n if n < MIN => Err(format!("{n} is less than {MIN}; set it between {MIN} and {MAX}")),
            n if n > MAX => Err(format!("{n} is more than {MAX}; set it between {MIN} and {MAX}")),
            n => Ok(Self(n)),
        }
    }

    /// The number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim())
}

/// What a YAML scalar may be where a unit is expected: text with a unit, or a bare number.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Number(u64),
    Text(String),
}

impl Scalar {
    fn text(self) -> String {
        match self {
            Self::Number(n) => n.to_string(),
            Self::Text(text) => text,
        }
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Scalar::deserialize(deserializer)?.text()).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Scalar::deserialize(deserializer)?.text()).map_err(de::Error::custom)
    }
}

impl<'de, const MIN: u64, const MAX: u64> Deserialize<'de> for Count<MIN, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(u64::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Listen {
    /// The address, with the default filled in.
    pub fn address(self, default: SocketAddr) -> Option<SocketAddr> {
        match self {
            Self::Default => Some(default),
            Self::Off => None,
            Self::At(address) => Some(address),
        }
    }
}

impl<'de> Deserialize<'de> for Listen {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "off" {
            return Ok(Self::Off);
        }
        match text.parse() {
            Ok(address) => Ok(Self::At(address)),
            Err(_) => Err(de::Error::custom(format!(
                "`{text}` is neither an address nor `off`; write for example `127.0.0.1:9464`"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_decimal_and_binary_units() {
        for (text, bytes) in [
            ("0", 0),
            ("512", 512),
            ("25MB", 25_000_000),
            ("25m", 25_000_000),
            ("64 MiB", 64 << 20),
            ("2GiB", 2 << 30),
            ("10k", 10_000),
        ] {
            assert_eq!(ByteSize::parse(text), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "-1MB", "1e9GB", "MB", "1.5MB", "٣MB", "1 XB", "99999999999999999999"] {
            assert!(ByteSize::parse(text).unwrap_err().contains("is not a size"), "{text}");
        }
    }

    #[test]
    fn a_time_without_a_unit_is_refused_with_a_suggestion() {
        assert_eq!(Span::parse("250ms"), Ok(Span(Duration::from_millis(250))));
        assert_eq!(Span::parse("1.5s"), Ok(Span(Duration::from_millis(1500))));
        assert_eq!(Span::parse("14d"), Ok(Span(Duration::from_secs(14 * 86_400))));
        assert_eq!(Span::parse("30").unwrap_err(), "`30` has no unit; write for example `30s` or `30ms`");
        for text in ["", "s", "1y", "-1s", "1..5s", "1e999s"] {
            assert!(Span::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_count_says_its_range() {
        assert_eq!(Count::<1, 500>::new(900).unwrap_err(), "900 is more than 500; set it between 1 and 500");
        assert_eq!(Count::<1, 500>::new(0).unwrap_err(), "0 is less than 1; set it between 1 and 500");
        assert_eq!(Count::<1, 500>::new(500).map(Count::get), Ok(500));
    }
}
