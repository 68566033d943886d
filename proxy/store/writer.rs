//! Content on its way in.

use super::{
    Blob, Error,
    codec::BlobRow,
    layout::{self, make_directory, sync_directory},
    state::State,
};
use crate::oci::Digest;
use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

/// A private file that becomes a blob when it is committed, and vanishes when it is dropped.
pub struct Writer {
    state: Arc<State>,
    digest: Digest,
    file: Arc<File>,
    private: Private,
    length_bytes: u64,
}

/// Removes the private file, unless it was renamed.
struct Private(Option<PathBuf>);

impl Drop for Private {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What cannot be removed now is removed at the next start.
            let _ = layout::remove_file(path);
        }
    }
}

impl Writer {
    pub(super) fn new(state: Arc<State>, digest: &Digest) -> Result<Self, Error> {
        let number = state.next_fill.fetch_add(1, Ordering::Relaxed);
        let path = state.layout.fills().join(number.to_string());
        let file = layout::create_file(&path).map_err(Error::io("creating a private file"))?;
        Ok(Self { state, digest: *digest, file: Arc::new(file), private: Private(Some(path)), length_bytes: 0 })
    }

    /// Adds bytes at the end.
    ///
    /// # Errors
    /// [`Error::Full`] among others. The writer is of no use then: some of the bytes may be there.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), Error> {
        (&*self.file).write_all(bytes).map_err(Error::io("writing a blob"))?;
        self.length_bytes += bytes.len() as u64;
        Ok(())
    }

    /// How many bytes were added.
    pub fn length_bytes(&self) -> u64 {
        self.length_bytes
    }

    /// The file, for reading at positions while it grows.
    pub fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Makes it the blob. The caller has proven that the bytes are those of the digest. A blob that is there already, of
    /// the same size, stays.
    ///
    /// # Errors
    /// Whatever keeps it from being safe on the disk: then there is no blob.
    pub fn commit(mut self) -> Result<Blob, Error> {
        let target = self.state.layout.blob(&self.digest);
        if let Some(present) = self.present(&target)? {
            return Ok(present);
        }
        self.file.sync_all().map_err(Error::io("syncing a blob"))?;
        let state = self.state.clone();
        let _open = state.enter()?;
        let _one = state.lock_digest(&self.digest);
        if let Some(present) = self.present(&target)? {
            return Ok(present);
        }
        let replaced_bytes = target.symlink_metadata().map_or(0, |metadata| metadata.len());
        self.publish(&target).map_err(Error::io("giving a blob its name"))?;
        state.grown(self.length_bytes);
        state.shrunk(replaced_bytes);
        let row = BlobRow { size_bytes: self.length_bytes, used_at: SystemTime::now() };
        // A lost index is built from the files.
        let _ = state.index.edit(|edit| edit.set_blob(&self.digest, &row));
        Ok(Blob::new(self.file.clone(), self.length_bytes))
    }

    fn present(&self, target: &Path) -> Result<Option<Blob>, Error> {
        let present = Blob::open(target, &self.digest).map_err(Error::io("opening a blob"))?;
        Ok(present.filter(|blob| blob.size_bytes() == self.length_bytes))
    }

    fn publish(&mut self, target: &Path) -> io::Result<()> {
        let directory = target.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if make_directory(directory)? {
            sync_directory(&self.state.layout.blobs(self.digest.algorithm()))?;
        }
        let Some(private) = &self.private.0 else { return Err(io::ErrorKind::NotFound.into()) };
        fs::rename(private, target)?;
        self.private.0 = None;
        sync_directory(directory).inspect_err(|_| {
            // A name that may not be on the disk is not one to promise.
            let _ = layout::remove_file(target);
        })
    }
}
