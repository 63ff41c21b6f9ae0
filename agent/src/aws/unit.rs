//! The units that CloudWatch knows (API reference, `StandardUnit`).
//!
//! Promises: a unit is one of the list, in CloudWatch's letters.
//! Never: converts a value.

/// A unit of CloudWatch (API reference, `StandardUnit`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Unit(u8);

/// The names of units, `None` first.
const UNITS: [&str; 27] = [
    "None",
    "Seconds",
    "Microseconds",
    "Milliseconds",
    "Bytes",
    "Kilobytes",
    "Megabytes",
    "Gigabytes",
    "Terabytes",
    "Bits",
    "Kilobits",
    "Megabits",
    "Gigabits",
    "Terabits",
    "Percent",
    "Count",
    "Bytes/Second",
    "Kilobytes/Second",
    "Megabytes/Second",
    "Gigabytes/Second",
    "Terabytes/Second",
    "Bits/Second",
    "Kilobits/Second",
    "Megabits/Second",
    "Gigabits/Second",
    "Terabits/Second",
    "Count/Second",
];

impl Unit {
    /// None.
    pub const NONE: Self = Self(0);
    /// Seconds.
    pub const SECONDS: Self = Self(1);
    /// Milliseconds.
    pub const MILLISECONDS: Self = Self(3);
    /// Bytes.
    pub const BYTES: Self = Self(4);
    /// Megabytes.
    pub const MEGABYTES: Self = Self(6);
    /// Percent.
    pub const PERCENT: Self = Self(14);
    /// Count.
    pub const COUNT: Self = Self(15);

    /// The unit of this name of CloudWatch's, to the letter.
    pub fn named(name: &str) -> Option<Self> {
        UNITS.iter().position(|unit| *unit == name).and_then(|place| u8::try_from(place).ok()).map(Self)
    }

    /// The same, whatever letters are capital.
    pub fn in_any_letters(name: &str) -> Option<Self> {
        UNITS.into_iter().find(|unit| unit.eq_ignore_ascii_case(name)).and_then(Self::named)
    }

    /// CloudWatch's name.
    pub fn name(self) -> &'static str {
        UNITS[usize::from(self.0)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_found_by_their_names() {
        assert_eq!(Unit::named("Milliseconds"), Some(Unit::MILLISECONDS));
        assert_eq!((Unit::BYTES.name(), Unit::PERCENT.name(), Unit::COUNT.name()), ("Bytes", "Percent", "Count"));
        assert_eq!(
            (Unit::SECONDS.name(), Unit::MEGABYTES.name(), Unit::default().name()),
            ("Seconds", "Megabytes", "None")
        );
        assert_eq!((Unit::named("Fortnights"), Unit::in_any_letters("ms")), (None, None));
        assert_eq!(
            (Unit::named("bytes"), Unit::in_any_letters("bytes/SECOND").map(Unit::name)),
            (None, Some("Bytes/Second"))
        );
    }
}
