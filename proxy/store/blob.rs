//! Content that is held.

use super::{
    Error,
    checks::{Checks, PIECE_BYTES},
    layout,
    state::State,
};
use crate::oci::Digest;
use std::{
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Weak},
};

/// An open blob. It stays readable when it is evicted meanwhile.
#[derive(Clone)]
pub struct Blob {
    digest: Digest,
    file: Arc<File>,
    size_bytes: u64,
    checks: Option<Arc<Checks>>,
    state: Weak<State>,
}

impl Blob {
    pub(super) fn new(
        state: &Arc<State>,
        digest: &Digest,
        file: Arc<File>,
        size_bytes: u64,
        checks: Option<Arc<Checks>>,
    ) -> Self {
        let checks = checks.filter(|checks| checks.size_bytes() == size_bytes);
        Self { digest: *digest, file, size_bytes, checks, state: Arc::downgrade(state) }
    }

    /// Opens the file of `digest`. `None` if there is none.
    pub(super) fn open(state: &Arc<State>, digest: &Digest) -> io::Result<Option<Self>> {
        let file = match File::open(state.layout.blob(digest)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let size_bytes = file.metadata()?.len();
        Ok(Some(Self::new(state, digest, Arc::new(file), size_bytes, state.checks(digest))))
    }

    /// Its digest.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Its size.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Its file, for reading at positions: the file's own position belongs to nobody.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Where the piece that holds `position` begins and ends. Empty at and beyond the end of the blob.
    pub fn piece_at(&self, position: u64) -> Range<u64> {
        let start = position - position % PIECE_BYTES;
        start..self.size_bytes.min(start.saturating_add(PIECE_BYTES)).max(start)
    }

    /// Whether [`Blob::is_right`] can tell. If not, [`Blob::check`] makes it so.
    pub fn has_checks(&self) -> bool {
        self.checks.is_some()
    }

    /// Whether `piece` is what stood from `start` to the end of its piece when the blob was proven. Never without checks.
    pub fn is_right(&self, start: u64, piece: &[u8]) -> bool {
        self.checks.as_ref().is_some_and(|checks| checks.agree(start, piece))
    }

    /// This blob with checks. Blocks, and reads all of it where none are kept: they get lost with the power, and an older
    /// directory has none. `None` if it is not what its digest says: it is discarded then.
    ///
    /// # Errors
    /// What the system says; [`Error::Closed`] if the store is gone.
    pub fn check(&self) -> Result<Option<Self>, Error> {
        match &self.checks {
            Some(_) => Ok(Some(self.clone())),
            None => self.state.upgrade().ok_or(Error::Closed)?.check(self),
        }
    }

    /// Removes it from the store, since it was found wrong or unreadable. Memberships stay: it will be fetched again.
    /// Blocks.
    ///
    /// # Errors
    /// What the system says; [`Error::Closed`] if the store is gone.
    pub fn discard(&self) -> Result<(), Error> {
        let state = self.state.upgrade().ok_or(Error::Closed)?;
        state.discard_damaged(self, "a piece of it is wrong or cannot be read")
    }

    pub(super) fn checked_with(&self, checks: Arc<Checks>) -> Option<Self> {
        (checks.size_bytes() == self.size_bytes).then(|| Self { checks: Some(checks), ..self.clone() })
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

impl std::fmt::Debug for Blob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Blob")
            .field("digest", &self.digest)
            .field("size_bytes", &self.size_bytes)
            .field("has_checks", &self.has_checks())
            .finish_non_exhaustive()
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
