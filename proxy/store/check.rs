//! Where a blob's checksums come from: memory, the file beside it, or hashing it once.

use super::{
    Blob, Error,
    checks::{Checks, Sums},
    state::State,
};
use crate::oci::Digest;
use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

/// So much is hashed at once.
const READ_BYTES: usize = 1 << 20;

impl State {
    /// The checksums of a blob, if it has any.
    pub(super) fn checks(&self, digest: &Digest) -> Option<Arc<Checks>> {
        if let Some(checks) = self.checks.get(digest) {
            return Some(checks);
        }
        let checks = Arc::new(Checks::read(&self.layout.checks(digest), digest)?);
        self.checks.insert(digest, &checks);
        Some(checks)
    }

    /// Keeps the checksums of bytes that were proven to be those of `digest`. Without its file the next start hashes the
    /// blob once: that is no failure.
    pub(super) fn keep_checks(&self, digest: &Digest, checks: &Arc<Checks>) {
        if self.checks(digest).as_ref() == Some(checks) {
            return;
        }
        self.checks.insert(digest, checks);
        if let Err(error) = checks.write(&self.layout.checks(digest), digest) {
            let error: &dyn std::error::Error = &error;
            tracing::debug!(blob.digest = %digest, error, "the checksums of a blob could not be kept");
        }
    }

    /// Gives `blob` its checksums, for which it may be hashed: whole, and once for all who ask. One that is not what its
    /// digest says, or cannot be read, is discarded and is none.
    pub(super) fn check(&self, blob: &Blob) -> Result<Option<Blob>, Error> {
        let _one = self.lock_hashing(blob.digest());
        if let Some(checks) = self.checks(blob.digest()) {
            let checked = blob.checked_with(checks);
            if checked.is_none() {
                self.discard_damaged(blob, "its size is wrong")?;
            }
            return Ok(checked);
        }
        match hash(blob) {
            Ok((found, checks)) if found == *blob.digest() => {
                let checks = Arc::new(checks);
                self.keep_checks(blob.digest(), &checks);
                Ok(blob.checked_with(checks))
            }
            Ok(_) => {
                self.discard_damaged(blob, "it is not what its digest says")?;
                Ok(None)
            }
            Err(error) => {
                let source: &dyn std::error::Error = &error;
                tracing::warn!(blob.digest = %blob.digest(), error = source, "a blob cannot be read");
                self.discard_damaged(blob, "it cannot be read")?;
                Ok(None)
            }
        }
    }

    /// Whether the file has the size that was noted of it, as far as one was.
    pub(super) fn has_its_size(&self, blob: &Blob) -> bool {
        // Checks for another size were not given to it.
        if blob.has_checks() {
            return true;
        }
        let is_noted = match self.index.blob(blob.digest()) {
            Ok(Some(row)) => row.size_bytes == blob.size_bytes(),
            _ => true,
        };
        // A power failure leaves an empty file of one that was never synced.
        let is_empty_rightly = blob.size_bytes() > 0 || *blob.digest() == blob.digest().of_same_algorithm(b"");
        is_noted && is_empty_rightly && self.checks.get(blob.digest()).is_none()
    }

    /// Discards a blob that was found wrong, unless another file has taken its place since.
    pub(super) fn discard_damaged(&self, blob: &Blob, what: &'static str) -> Result<(), Error> {
        if self.remove_blob_if(blob.digest(), |path| is_same(blob.file(), path))?.is_some() {
            self.blobs_damaged.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(blob.digest = %blob.digest(), what, "a blob is damaged; it is discarded");
        }
        Ok(())
    }
}

fn is_same(file: &File, path: &Path) -> bool {
    match (file.metadata(), path.symlink_metadata()) {
        (Ok(ours), Ok(there)) => (ours.dev(), ours.ino()) == (there.dev(), there.ino()),
        _ => true,
    }
}

fn hash(blob: &Blob) -> io::Result<(Digest, Checks)> {
    let (mut hasher, mut sums) = (blob.digest().hasher(), Sums::default());
    let mut buffer = vec![0; READ_BYTES];
    let mut position = 0;
    loop {
        match blob.file().read_at(&mut buffer, position) {
            Ok(0) => return Ok((hasher.finish(), sums.finish())),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                sums.update(&buffer[..read]);
                position += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
