//! Amounts of storage.

use std::{fmt, str::FromStr};

/// An amount of storage: bytes, or a share of the file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// This many bytes.
    Bytes(u64),
    /// This many hundredths of the file system, 1 to 100.
    Percent(u8),
}

/// A text that is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is no size: write a share such as \"70%\" or an amount such as \"200GiB\"")]
pub struct InvalidSize(String);

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

impl Size {
    /// In bytes, on a file system of `total_bytes`.
    pub fn of(self, total_bytes: u64) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Percent(percent) => total_bytes / 100 * u64::from(percent),
        }
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, InvalidSize> {
        let fail = || InvalidSize(text.chars().take(100).collect());
        let number = |digits: &str| {
            let digits = digits.trim();
            digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten()
        };
        let text_trimmed = text.trim();
        if let Some(share) = text_trimmed.strip_suffix('%') {
            let percent = number(share).filter(|percent| (1..=100).contains(percent)).ok_or_else(fail)?;
            return Ok(Self::Percent(u8::try_from(percent).map_err(|_| fail())?));
        }
        let (digits, unit) = UNITS
            .into_iter()
            .find_map(|(name, unit)| text_trimmed.strip_suffix(name).map(|digits| (digits, unit)))
            .unwrap_or((text_trimmed, 1));
        number(digits).and_then(|count| count.checked_mul(unit)).map(Self::Bytes).ok_or_else(fail)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Bytes(bytes) => {
                let unit = UNITS
                    .into_iter()
                    .filter(|(name, _)| name.ends_with("iB"))
                    .find(|(_, unit)| *bytes >= *unit && bytes % unit == 0);
                match unit {
                    Some((name, unit)) => write!(f, "{}{name}", bytes / unit),
                    None => write!(f, "{bytes}B"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_shares_and_amounts() {
        for (text, expected) in [
            ("70%", Size::Percent(70)),
            ("200GiB", Size::Bytes(200 << 30)),
            ("5 MB", Size::Bytes(5_000_000)),
            ("1024", Size::Bytes(1024)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "%", "0%", "101%", "-1GiB", "1.5GiB", "99999999999TiB", "GiB", "12 parsecs"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
