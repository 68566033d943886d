//! Making room.

use super::{Error, blob, codec::BlobRow, rebuild, state::State};
use crate::oci::Digest;

/// What went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Evicted {
    /// How many blobs.
    pub blobs: u64,
    /// Their size together.
    pub bytes: u64,
}

/// The file system under the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disk {
    /// Its size.
    pub total_bytes: u64,
    /// What we may still write.
    pub free_bytes: u64,
}

impl State {
    pub(super) fn evict(&self, keep_at_most_bytes: u64, in_use: &dyn Fn(&Digest) -> bool) -> Result<Evicted, Error> {
        let mut evicted = Evicted::default();
        if self.size_bytes() <= keep_at_most_bytes {
            return Ok(evicted);
        }
        self.flush_uses();
        for (digest, _) in self.least_used_first()? {
            if self.size_bytes() <= keep_at_most_bytes {
                break;
            }
            // A use noted since the uses were written makes it one of the latest.
            if in_use(&digest) || self.uses.contains(&digest) {
                continue;
            }
            if let Some(size_bytes) = self.remove_blob(&digest)? {
                evicted.blobs += 1;
                evicted.bytes += size_bytes;
            }
        }
        Ok(evicted)
    }

    fn least_used_first(&self) -> Result<Vec<(Digest, BlobRow)>, Error> {
        let mut blobs = match self.index.blobs() {
            Ok(blobs) => blobs,
            Err(_) => rebuild::blobs(&self.layout).map_err(Error::io("listing the blobs"))?,
        };
        blobs.sort_unstable_by_key(|(digest, row)| (row.used_at, *digest));
        Ok(blobs)
    }

    /// Removes file and row, and says how large the file was; `None` if there was none. Both under one lock: a row whose
    /// file is gone means that the file was removed by hand and is still counted.
    pub(super) fn remove_blob(&self, digest: &Digest) -> Result<Option<u64>, Error> {
        let _open = self.enter()?;
        let _one = self.lock_digest(digest);
        let row = self.index.blob(digest);
        let removed = blob::remove(&self.layout.blob(digest)).map_err(Error::io("removing a blob"))?;
        self.uses.forget(digest);
        match row {
            Ok(Some(row)) => {
                self.shrunk(row.size_bytes);
                let _ = self.index.edit(|edit| edit.remove_blob(digest));
            }
            Ok(None) => {}
            // Without an index what was counted is what lay there.
            Err(_) => self.shrunk(removed.unwrap_or_default()),
        }
        Ok(removed)
    }

    pub(super) fn disk(&self) -> Result<Disk, Error> {
        let found = rustix::fs::statvfs(&self.layout.directory)
            .map_err(|error| Error::io("asking the file system for its size")(error.into()))?;
        Ok(Disk {
            total_bytes: found.f_blocks.saturating_mul(found.f_frsize),
            free_bytes: found.f_bavail.saturating_mul(found.f_frsize),
        })
    }
}
