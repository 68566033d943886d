//! Content that is held.

use super::layout;
use crate::oci::Digest;
use std::{
    collections::HashMap,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// An open blob. It stays readable when it is evicted meanwhile.
#[derive(Debug, Clone)]
pub struct Blob {
    file: Arc<File>,
    size_bytes: u64,
}

impl Blob {
    pub(super) fn new(file: Arc<File>, size_bytes: u64) -> Self {
        Self { file, size_bytes }
    }

    /// Opens the file of `digest`. `None` if there is none, or an empty one that cannot be its content: what a power
    /// failure leaves of a file that was never synced.
    pub(super) fn open(path: &Path, digest: &Digest) -> io::Result<Option<Self>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let size_bytes = file.metadata()?.len();
        if size_bytes == 0 && *digest != digest.of_same_algorithm(b"") {
            return Ok(None);
        }
        Ok(Some(Self { file: Arc::new(file), size_bytes }))
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Its file, for reading at positions: the file's own position belongs to nobody.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// All of it, unverified.
    ///
    /// # Errors
    /// What the system says; also if the file is shorter than it was when it was opened.
    pub fn read_all(&self) -> io::Result<Vec<u8>> {
        let length = usize::try_from(self.size_bytes).map_err(io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

/// Uses that the index has not heard of yet.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<Digest, SystemTime>>);

impl Uses {
    const MAX: usize = 4096;

    /// Notes a use. `true` if it is time to take them.
    pub(super) fn note(&self, digest: &Digest) -> bool {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.insert(*digest, SystemTime::now());
        uses.len() >= Self::MAX
    }

    pub(super) fn take(&self) -> HashMap<Digest, SystemTime> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(digest)
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }
}

/// Removes the file of a blob and says how large it was; `None` if there was none.
pub(super) fn remove(path: &Path) -> io::Result<Option<u64>> {
    let size_bytes = match path.symlink_metadata() {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(layout::remove_file(path)?.then_some(size_bytes))
}
