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

use crate::oci::{Digest, Registry, Repository};
use bytes::Bytes;
use journal::Journal;
use layout::Place;
use state::State;
use std::{
    io,
    path::Path,
    sync::{Arc, atomic::Ordering},
};

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
        self.state.remove_blob(digest)?;
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
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("directory", &self.directory()).finish_non_exhaustive()
    }
}
