//! What is known of a tag.

use super::{Error, Store, codec::TagRow, journal::Sync, layout::Place, record::Line};
use crate::oci::{Digest, Registry, Repository, Tag};
use std::time::{Duration, SystemTime};

/// The most digests remembered of one tag.
pub(super) const HISTORY_MAX: usize = 32;
/// A tag that was merely confirmed is written at most this often: the index has the exact time, and a
/// crash may make it this much older.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(600);

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
        self.state.heal();
        let row = self.journal(place, registry, repository).read()?.and_then(|mut records| records.tags.remove(tag));
        Ok(row.map(|row| row.record))
    }

    /// Records what upstream said of a tag; its history goes on.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it may be forgotten with the power.
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
        let renews = earlier
            .as_ref()
            .is_some_and(|row| row.record.digest == record.digest && row.record.deleted_at == record.deleted_at);
        let written_at = match earlier {
            Some(row) if renews && is_within(record.checked_at, row.written_at) => row.written_at,
            _ => {
                let sync = if renews { Sync::Later } else { Sync::Now };
                journal.append(&[Line::tag(tag.as_str(), &record, !renews)], sync)?;
                record.checked_at
            }
        };
        let _ = self.state.index.edit(|edit| edit.set_tag(&place, tag, &TagRow { record, written_at }));
        Ok(())
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
                self.state.heal();
                let records = self.journal(place, registry, repository).read()?.unwrap_or_default();
                records.tags.into_iter().collect()
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
