//! Verified bytes by digest, and what is known of tags and of whose the bytes are.
//!
//! Blobs are files named by digest. What upstream may be unable to tell again stands in journals, one for each
//! repository. The index over both is redb, trusted only after an orderly end and always allowed to be lost. Nothing
//! here dials or judges: whether a record is fresh, and who may have the bytes, others decide. Calls block.

mod blob;
mod clean;
mod codec;
mod document;
mod error;
mod evict;
mod index;
mod journal;
mod layout;
mod lock;
mod member;
mod rebuild;
mod record;
mod state;
mod tag;
#[cfg(test)]
mod tests;
mod writer;

pub use blob::Blob;
pub use document::Document;
pub use error::Error;
pub use evict::{Disk, Evicted};
pub use member::{Member, Proof};
pub use tag::TagRecord;
pub use writer::Writer;

use crate::oci::{Digest, Registry, Repository, Tag};
use bytes::Bytes;
use codec::TagRow;
use journal::{Journal, Sync};
use layout::Place;
use record::Line;
use state::State;
use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::{Duration, SystemTime},
};

/// A tag or membership that was merely confirmed is written at most this often: the index has the exact time, and a
/// crash may make it this much older.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(600);
/// The largest blob that [`Store::read_verified`] reads.
const VERIFIED_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// The directory of one larder.
pub struct Store {
    state: Arc<State>,
}

/// What was found damaged and done without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Damage {
    /// Lines of records, as of the last time all of them were read.
    pub lines: u64,
    /// Rows of the index.
    pub rows: u64,
    /// How often the index was lost while in use.
    pub index_losses: u64,
}

impl Store {
    /// Opens the directory, which is created where it is missing, and makes it ours. Builds the index where the last end
    /// was not orderly, and removes what was being written then.
    ///
    /// # Errors
    /// [`Error::InUse`], [`Error::Unwritable`], [`Error::FormatVersion`] and [`Error::Io`].
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Ok(Self { state: Arc::new(State::open(directory)?) })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.state.layout.directory
    }

    /// Opens a blob, and notes that it was used. Cheap: no more than opening a file.
    ///
    /// # Errors
    /// What the system says, other than that there is no such file.
    pub fn blob(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        let found = Blob::open(&self.state.layout.blob(digest), digest).map_err(Error::io("opening a blob"))?;
        match found {
            Some(_) if self.state.uses.note(digest) => self.state.flush_uses(),
            Some(_) => {}
            None => self.state.disown(digest),
        }
        Ok(found)
    }

    /// Reads a small blob and verifies it. One that is wrong or cannot be read is discarded and is none.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond 8 MiB, and what the system says.
    pub fn read_verified(&self, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let Some(blob) = self.blob(digest)? else { return Ok(None) };
        if blob.size_bytes() > VERIFIED_BYTES_MAX {
            return Err(Error::TooLarge {
                what: "a blob to be read at once",
                size_bytes: blob.size_bytes(),
                size_bytes_max: VERIFIED_BYTES_MAX,
            });
        }
        match blob.read_all() {
            Ok(bytes) if digest.of_same_algorithm(&bytes) == *digest => return Ok(Some(bytes.into())),
            Ok(_) => tracing::warn!(blob.digest = %digest, "a blob is not what its digest says; it is discarded"),
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(blob.digest = %digest, error, "a blob cannot be read; it is discarded");
            }
        }
        self.discard(digest)?;
        Ok(None)
    }

    /// A private file for the content of `digest`.
    ///
    /// # Errors
    /// [`Error::Full`] among others.
    pub fn writer(&self, digest: &Digest) -> Result<Writer, Error> {
        Writer::new(self.state.clone(), digest)
    }

    /// Stores small content whole. The caller has verified it.
    ///
    /// # Errors
    /// [`Error::Full`] among others.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> Result<Blob, Error> {
        let mut writer = self.writer(digest)?;
        writer.append(bytes)?;
        writer.commit()
    }

    /// Removes a blob that was found wrong or unreadable. Memberships stay: it will be fetched again.
    ///
    /// # Errors
    /// What the system says.
    pub fn discard(&self, digest: &Digest) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let _one = self.state.lock_digest(digest);
        let removed = blob::remove(&self.state.layout.blob(digest)).map_err(Error::io("removing a blob"))?;
        self.state.shrunk(removed.unwrap_or_default());
        self.state.uses.forget(digest);
        let _ = self.state.index.edit(|edit| edit.remove_blob(digest));
        Ok(())
    }

    /// The size of all blobs.
    pub fn size_bytes(&self) -> u64 {
        self.state.size_bytes()
    }

    /// Removes blobs, the least recently used first and none that `in_use` holds, until the rest is no larger than
    /// `keep_at_most_bytes`. Records stay: what is gone is fetched again.
    ///
    /// # Errors
    /// What the system says. What was removed by then is gone.
    pub fn evict(&self, keep_at_most_bytes: u64, in_use: &dyn Fn(&Digest) -> bool) -> Result<Evicted, Error> {
        self.state.evict(keep_at_most_bytes, in_use)
    }

    /// The file system under the directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn disk(&self) -> Result<Disk, Error> {
        self.state.disk()
    }

    /// The right of a repository to a digest, as it was last proven.
    ///
    /// # Errors
    /// What the system says while the records are read, which is only where the index is lost.
    pub fn member(
        &self,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<Member>, Error> {
        let place = Place::of(registry, repository);
        if let Ok(member) = self.state.index.member(&place, digest) {
            return Ok(member);
        }
        self.state.heal();
        let records = self.journal(place, registry, repository).read()?;
        Ok(records.and_then(|mut records| records.members.remove(digest)))
    }

    /// Records that a digest was proven to belong to a repository.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it may be forgotten with the power.
    pub fn prove(
        &self,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
        member: Member,
    ) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let place = Place::of(registry, repository);
        let _one = self.state.lock_place(&place);
        let earlier = self.state.index.member(&place, digest).ok().flatten();
        let renews = earlier.is_some_and(|earlier| Member { proven_at: member.proven_at, ..earlier } == member);
        let sync = if renews { Sync::Later } else { Sync::Now };
        self.journal(place, registry, repository).append(&[Line::member(digest, &member)], sync)?;
        let _ = self.state.index.edit(|edit| edit.set_member(&place, digest, &member));
        Ok(())
    }

    /// Takes all of a repository's memberships away: the right to it is gone. Tags and their history stay.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it is withdrawn now, but may come back with a restart.
    pub fn withdraw(&self, registry: &Registry, repository: &Repository) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let place = Place::of(registry, repository);
        let _one = self.state.lock_place(&place);
        let _ = self.state.index.edit(|edit| edit.remove_members(&place));
        let journal = self.journal(place, registry, repository);
        journal.append(&[Line::withdrawn(SystemTime::now())], Sync::Now)?;
        // Damage to that one line would bring all of them back. So the lines themselves go.
        if let Err(error) = journal.compact() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a journal could not be compacted");
        }
        Ok(())
    }

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

    /// All repositories that something is recorded of, in order.
    ///
    /// # Errors
    /// What the system says.
    pub fn repositories(&self) -> Result<Vec<(Registry, Repository)>, Error> {
        let list = || {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(self.state.layout.records())? {
                names.extend(journal::read_names(&entry?.path())?);
            }
            names.sort_unstable();
            Ok::<_, io::Error>(names)
        };
        list().map_err(Error::io("listing the records"))
    }

    /// An answer that was kept. `None` if it is damaged.
    ///
    /// # Errors
    /// What the system says.
    pub fn document(
        &self,
        registry: &Registry,
        repository: &Repository,
        name: &str,
    ) -> Result<Option<Document>, Error> {
        document::read(&self.document_path(registry, repository, name)).map_err(Error::io("reading a document"))
    }

    /// Keeps an answer.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond 4 MiB, [`Error::Full`] among others.
    pub fn set_document(
        &self,
        registry: &Registry,
        repository: &Repository,
        name: &str,
        document: Document,
    ) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let path = self.document_path(registry, repository, name);
        let _one = self.state.lock_place(&Place::of(registry, repository));
        let number = self.state.next_fill.fetch_add(1, Ordering::Relaxed);
        let is_new = !path.exists();
        document::write(&self.state.layout.fills().join(number.to_string()), &path, &document)?;
        if is_new && self.state.documents.fetch_add(1, Ordering::Relaxed) >= document::DOCUMENTS_MAX {
            let left = document::thin_out(&self.state.layout.documents()).map_err(Error::io("removing documents"))?;
            self.state.documents.store(left, Ordering::Relaxed);
        }
        Ok(())
    }

    /// What was found damaged since the start.
    pub fn damage(&self) -> Damage {
        Damage {
            lines: self.state.lines_damaged.load(Ordering::Relaxed),
            rows: self.state.index.rows_damaged.load(Ordering::Relaxed),
            index_losses: self.state.index.losses.load(Ordering::Relaxed),
        }
    }

    /// Ends in order, so that the next start need not read everything. Reading still works, changing does not.
    ///
    /// # Errors
    /// What the system says: then the next start reads everything, and nothing is lost.
    pub fn close(&self) -> Result<(), Error> {
        self.state.close()
    }

    fn journal<'a>(&'a self, place: Place, registry: &'a Registry, repository: &'a Repository) -> Journal<'a> {
        Journal { layout: &self.state.layout, place, registry, repository }
    }

    fn document_path(&self, registry: &Registry, repository: &Repository, name: &str) -> std::path::PathBuf {
        document::path(&self.state.layout.documents(), &Place::of(registry, repository), name)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("directory", &self.directory()).finish_non_exhaustive()
    }
}

/// Whether `now` is at most [`RENEWAL_INTERVAL`] after `then`. A clock that was set back counts as later.
fn is_within(now: SystemTime, then: SystemTime) -> bool {
    now.duration_since(then).is_ok_and(|age| age <= RENEWAL_INTERVAL)
}
