//! A value as it was given, in the file or by a variable, and its reading as one of our types.

use super::{Error, Pattern, Size, error::Place};
use std::{str::FromStr, time::Duration};
use toml::{
    Spanned,
    de::{DeArray, DeValue},
};

/// 100 years: beyond it, sums with times of the clock could overflow.
const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// One value with its key's full path and where it stands.
pub(super) struct Given<'a> {
    pub(super) place: Place,
    pub(super) key: String,
    pub(super) value: Raw<'a>,
}

pub(super) enum Raw<'a> {
    Toml(&'a DeValue<'a>),
    Text(&'a str),
}

impl Given<'_> {
    /// The error that says what the value may be.
    pub(super) fn must_be(&self, allowed: impl Into<String>) -> Error {
        let value = match &self.value {
            Raw::Toml(value) => shown(value),
            Raw::Text(text) => quoted(text),
        };
        Error::Value { place: self.place.clone(), key: self.key.clone(), value, allowed: allowed.into() }
    }

    pub(super) fn conflict(&self, problem: impl Into<String>) -> Error {
        Error::Conflict { place: self.place.clone(), key: self.key.clone(), problem: problem.into() }
    }

    pub(super) fn text(&self, allowed: &str) -> Result<&str, Error> {
        match &self.value {
            Raw::Toml(DeValue::String(text)) => Ok(text),
            Raw::Text(text) => Ok(text),
            Raw::Toml(_) => Err(self.must_be(allowed)),
        }
    }

    /// A type that is written as text.
    pub(super) fn parsed<T: FromStr>(&self, allowed: &str) -> Result<T, Error> {
        self.text(allowed)?.parse().map_err(|_| self.must_be(allowed))
    }

    pub(super) fn boolean(&self) -> Result<bool, Error> {
        match &self.value {
            Raw::Toml(DeValue::Boolean(value)) => Ok(*value),
            Raw::Text("true") => Ok(true),
            Raw::Text("false") => Ok(false),
            _ => Err(self.must_be("true or false")),
        }
    }

    pub(super) fn count(&self, min: usize, max: usize) -> Result<usize, Error> {
        let number = match &self.value {
            Raw::Toml(DeValue::Integer(integer)) => usize::from_str_radix(integer.as_str(), integer.radix()).ok(),
            Raw::Text(text) => text.parse().ok(),
            Raw::Toml(_) => None,
        };
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.must_be(format!("a number from {min} to {max}")))
    }

    pub(super) fn duration(&self) -> Result<Duration, Error> {
        let allowed = "a time such as \"90s\", \"15m\", \"12h\" or \"30d\", at most 100 years";
        humantime::parse_duration(self.text(allowed)?)
            .ok()
            .filter(|duration| *duration <= DURATION_MAX)
            .ok_or_else(|| self.must_be(allowed))
    }

    /// A number without a unit counts bytes.
    pub(super) fn size(&self, allowed: &str) -> Result<Size, Error> {
        match &self.value {
            Raw::Toml(DeValue::Integer(integer)) => u64::from_str_radix(integer.as_str(), integer.radix())
                .map(Size::Bytes)
                .map_err(|_| self.must_be(allowed)),
            _ => self.parsed(allowed),
        }
    }

    pub(super) fn patterns(&self) -> Result<Vec<Pattern>, Error> {
        let allowed = "a list of patterns such as [\"v*.*.*\"], without spaces and without empty parts between slashes";
        self.list(allowed, |item| item.parse().ok())
    }

    /// A list of texts, each read by `read`.
    pub(super) fn list<T>(&self, allowed: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Error> {
        self.array()
            .ok_or_else(|| self.must_be(allowed))?
            .iter()
            .map(|item| match item.get_ref() {
                DeValue::String(text) => read(text),
                _ => None,
            })
            .collect::<Option<Vec<T>>>()
            .ok_or_else(|| self.must_be(allowed))
    }

    fn array(&self) -> Option<&DeArray<'_>> {
        match &self.value {
            Raw::Toml(DeValue::Array(items)) => Some(items),
            _ => None,
        }
    }
}

/// A value on one line as it would be written, cut at 100 characters.
fn shown(value: &DeValue<'_>) -> String {
    let text = match value {
        DeValue::String(text) => return quoted(text),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.to_string(),
        DeValue::Boolean(value) => value.to_string(),
        DeValue::Datetime(time) => time.to_string(),
        DeValue::Array(items) => {
            format!("[{}]", items.iter().map(Spanned::get_ref).map(shown).collect::<Vec<_>>().join(", "))
        }
        DeValue::Table(_) => return "a table".to_owned(),
    };
    cut(&text)
}

/// The user part of a URL may be a password and is not shown, with a scheme before it or without.
fn quoted(text: &str) -> String {
    let text = match text.rsplit_once('@') {
        Some((before, rest)) => {
            let plain = |scheme: &&str| !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphanumeric());
            match before.split_once("://").map(|(scheme, _)| scheme).filter(plain) {
                Some(scheme) => format!("{scheme}://[REDACTED]@{rest}"),
                None => format!("[REDACTED]@{rest}"),
            }
        }
        None => text.to_owned(),
    };
    format!("{:?}", cut(&text))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(100) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text.to_owned(),
    }
}
