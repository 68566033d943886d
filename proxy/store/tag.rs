//! What is known of a tag.

use super::{
    Error, Store,
    codec::TagRow,
    journal::{self, Sync},
    layout::Place,
    record::Line,
};
use crate::oci::{Digest, Registry, Repository, Tag};
use std::time::{Duration, SystemTime};

/// The most digests remembered of one tag.
pub(super) const HISTORY_MAX: usize = 32;
/// A tag that was merely confirmed is written at most this often: the index has the exact time, and a
/// crash may make it this much older.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(600);

/// In the place of when a record was written that could not be.
const UNWRITTEN: SystemTime = SystemTime::UNIX_EPOCH;

/// What a tag pointed to when upstream was last asked, and before.
#[derive(Debug, Clone, PartialEq)]
pub struct TagRecord {
    /// What it points to.
    pub digest: Digest,
    /// When upstream last said so.
    pub checked_at: SystemTime,
    /// Since when upstream says that it is gone.
    pub deleted_at: Option<SystemTime>,
    /// Each digest it had, the present one among them, and when it was first seen to have it. Newest first, at most 32.
    ///
    /// Kept by the store: what a caller of `set_tag` gives counts only for a tag that is not known yet (an import).
    pub history: Vec<(Digest, SystemTime)>,
}

impl TagRecord {
    /// This record as the successor of `earlier`, which decides the history.
    pub(super) fn after(mut self, earlier: Option<&TagRecord>) -> Self {
        if let Some(earlier) = earlier {
            self.history.clone_from(&earlier.history);
        }
        if self.history.first().map(|(digest, _)| digest) != Some(&self.digest) {
            self.history.insert(0, (self.digest, self.checked_at));
        }
        self.history.truncate(HISTORY_MAX);
        self
    }
}

impl Store {
    /// What is known of a tag.
    ///
    /// # Errors
    /// As [`Store::member`].
    pub fn tag(&self, registry: &Registry, repository: &Repository, tag: &Tag) -> Result<Option<TagRecord>, Error> {
        let place = Place::of(registry, repository);
        if let Ok(row) = self.state.index.tag(&place, tag) {
            return Ok(row.map(|row| row.record));
        }
        let records = self.records(registry, repository)?;
        Ok(records.and_then(|records| records.tags.get(tag).map(|row| row.record.clone())))
    }

    /// Records what upstream said of a tag; its history goes on.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it may be forgotten with the next start.
    pub fn set_tag(
        &self,
        registry: &Registry,
        repository: &Repository,
        tag: &Tag,
        record: TagRecord,
    ) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let place = Place::of(registry, repository);
        let _one = self.state.lock_place(&place);
        let journal = self.journal(place, registry, repository);
        let earlier = match self.state.index.tag(&place, tag) {
            Ok(row) => row,
            Err(_) => journal.read()?.and_then(|mut records| records.tags.remove(tag)),
        };
        let record = record.after(earlier.as_ref().map(|row| &row.record));
        let renews = earlier.as_ref().is_some_and(|row| {
            let known = &row.record;
            row.written_at != UNWRITTEN && known.digest == record.digest && known.deleted_at == record.deleted_at
        });
        let sync = if renews { Sync::Later } else { Sync::Now };
        let append = || journal.append(&[Line::tag(tag.as_str(), &record, !renews)], sync);
        let (written_at, written) = match earlier {
            Some(row) if renews && is_within(record.checked_at, row.written_at) => (row.written_at, Ok(())),
            earlier => match append() {
                Ok(()) => (record.checked_at, Ok(())),
                Err(error) => (earlier.filter(|_| renews).map_or(UNWRITTEN, |row| row.written_at), Err(error)),
            },
        };
        let row = TagRow { record: record.clone(), written_at };
        let indexed = self.state.index.edit(|edit| edit.set_tag(&place, tag, &row));
        journal::settle(written, indexed, append)
    }

    /// Whether any tag of a repository was ever asked for. Cheaper than [`Store::tags`].
    ///
    /// # Errors
    /// As [`Store::member`].
    pub fn knows_repository(&self, registry: &Registry, repository: &Repository) -> Result<bool, Error> {
        match self.state.index.has_tags(&Place::of(registry, repository)) {
            Ok(has) => Ok(has),
            Err(_) => Ok(self.records(registry, repository)?.is_some_and(|records| !records.tags.is_empty())),
        }
    }

    /// All tags of a repository that were ever asked for, in order.
    ///
    /// # Errors
    /// As [`Store::member`].
    pub fn tags(&self, registry: &Registry, repository: &Repository) -> Result<Vec<(Tag, TagRecord)>, Error> {
        let place = Place::of(registry, repository);
        let mut rows = match self.state.index.tags(&place) {
            Ok(rows) => rows,
            Err(_) => {
                let records = self.records(registry, repository)?.unwrap_or_default();
                records.tags.iter().map(|(tag, row)| (tag.clone(), row.clone())).collect()
            }
        };
        rows.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(rows.into_iter().map(|(tag, row)| (tag, row.record)).collect())
    }
}

/// Whether `now` is at most [`RENEWAL_INTERVAL`] after `then`. A clock that was set back counts as later.
fn is_within(now: SystemTime, then: SystemTime) -> bool {
    now.duration_since(then).is_ok_and(|age| age <= RENEWAL_INTERVAL)
}
