//! One table of the file, its keys checked against the list.

use super::{
    Error,
    error::Place,
    given::{Given, Raw},
    key::{KEYS, NOT_YET, Table},
};
use std::{collections::BTreeMap, path::Path};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// The text of a file, to tell where in it something stands.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    pub(super) file: &'a Path,
    pub(super) text: &'a str,
}

impl Document<'_> {
    /// Line and column of a byte of the text.
    pub(super) fn place(&self, at: usize) -> Place {
        let before = self.text.get(..at).unwrap_or(self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Place::File {
            file: self.file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
        }
    }
}

/// The keys given for one table.
pub(super) struct Section<'a> {
    pub(super) path: String,
    pub(super) place: Place,
    values: BTreeMap<&'static str, Given<'a>>,
}

impl<'a> Section<'a> {
    /// A table that the file does not have.
    pub(super) fn empty(path: &str, place: Place) -> Self {
        Self { path: path.to_owned(), place, values: BTreeMap::new() }
    }

    /// Takes the keys of a table. `inner` names tables that may stand within it and are read elsewhere.
    ///
    /// # Errors
    /// A key that is not in the list.
    pub(super) fn read(
        document: Document<'a>,
        table: Table,
        path: &str,
        spanned: &'a Spanned<DeValue<'a>>,
        inner: &[&str],
    ) -> Result<Self, Error> {
        let place = document.place(spanned.span().start);
        let DeValue::Table(entries) = spanned.get_ref() else {
            let given = Given { place, key: path.to_owned(), value: Raw::Toml(spanned.get_ref()) };
            return Err(given.must_be(format!("a table, as in {}", table.heading())));
        };
        let mut section = Self::empty(path, place);
        for (name, value) in ordered(entries) {
            let place = document.place(name.span().start);
            let key = join(path, name.get_ref());
            if inner.contains(&name.get_ref().as_ref()) {
                continue;
            }
            if table == Table::Credentials && NOT_YET.contains(&name.get_ref().as_ref()) {
                let problem =
                    "is not supported by this version: one user name with a password serves the whole upstream";
                return Err(Error::Conflict { place, key, problem: problem.to_owned() });
            }
            let Some(known) = table.keys().find(|known| known.name == name.get_ref().as_ref()) else {
                let hint = hint(table, path, name.get_ref(), inner);
                return Err(Error::UnknownKey { place, key, hint });
            };
            section.values.insert(known.name, Given { place, key, value: Raw::Toml(value.get_ref()) });
        }
        Ok(section)
    }

    /// Puts the text of a variable above what the file says.
    pub(super) fn set(&mut self, name: &'static str, variable: &str, text: &'a str) {
        let given =
            Given { place: Place::Variable(variable.to_owned()), key: join(&self.path, name), value: Raw::Text(text) };
        self.values.insert(name, given);
    }

    pub(super) fn get(&self, name: &str) -> Option<&Given<'a>> {
        debug_assert!(KEYS.iter().any(|key| key.name == name), "{name} is not in the list of keys");
        self.values.get(name)
    }

    /// Replaces `value` by what is given for `name`, if anything is.
    pub(super) fn over<T>(
        &self,
        name: &str,
        value: &mut T,
        read: impl FnOnce(&Given<'a>) -> Result<T, Error>,
    ) -> Result<(), Error> {
        if let Some(given) = self.get(name) {
            *value = read(given)?;
        }
        Ok(())
    }

    pub(super) fn conflict(&self, problem: impl Into<String>) -> Error {
        Error::Conflict { place: self.place.clone(), key: self.path.clone(), problem: problem.into() }
    }
}

/// The entries of a table in the order of the file, so that the first mistake is the one that is told.
pub(super) fn ordered<'a>(
    table: &'a DeTable<'a>,
) -> Vec<(&'a Spanned<toml::de::DeString<'a>>, &'a Spanned<DeValue<'a>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    entries
}

/// `upstream` and `docker.io` are `upstream."docker.io"`.
pub(super) fn join(path: &str, name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let name = if bare { name.to_owned() } else { format!("{name:?}") };
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

/// The nearest of `names`, if one is near enough to have been meant.
pub(super) fn nearest<'n>(given: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given.to_lowercase(), &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn hint(table: Table, path: &str, name: &str, inner: &[&str]) -> String {
    let here = || table.keys().map(|key| key.name).chain(inner.iter().copied());
    if let Some(near) = nearest(name, here()) {
        return format!("did you mean `{}`?", join(path, near));
    }
    let elsewhere = Table::ALL.into_iter().find(|other| other.keys().any(|key| key.name == name));
    match elsewhere {
        Some(other) => format!("`{name}` stands in {}", other.heading()),
        None => format!("known there: {}", here().collect::<Vec<_>>().join(", ")),
    }
}
