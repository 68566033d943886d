//! What the store and its writers share: the index, the locks, the numbers.

use super::{
    Error,
    blob::Uses,
    clean,
    codec::BlobRow,
    index::Index,
    layout::{self, Layout, Place},
    lock::Lock,
};
use crate::oci::Digest;
use std::{
    collections::HashMap,
    fs, io,
    path::Path,
    sync::{
        Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::SystemTime,
};

/// Locks that digests and repositories share by their first byte, so that there is a bounded number of them.
const STRIPES: usize = 64;

pub(super) struct State {
    pub(super) layout: Layout,
    pub(super) index: Index,
    pub(super) uses: Uses,
    pub(super) next_fill: AtomicU64,
    pub(super) documents: AtomicUsize,
    /// As of the last time all records were read.
    pub(super) lines_damaged: AtomicU64,
    pub(super) size_bytes: AtomicU64,
    /// Held by whoever changes something; alone by whoever builds the index or closes. Taken before any other lock.
    gate: RwLock<Phase>,
    digests: [Mutex<()>; STRIPES],
    places: [Mutex<()>; STRIPES],
    _lock: Lock,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    Closed,
}

impl State {
    pub(super) fn open(directory: &Path) -> Result<Self, Error> {
        Self::prepare(directory, clean::take)
    }

    /// As if the index had been found as an orderly end left it.
    #[cfg(test)]
    pub(super) fn open_trusting_the_index(directory: &Path) -> Self {
        Self::prepare(directory, |_| Ok(true)).expect("a directory that was opened before")
    }

    fn prepare(directory: &Path, is_trusted: impl FnOnce(&Layout) -> io::Result<bool>) -> Result<Self, Error> {
        let layout = Layout::create(directory)?;
        let lock = Lock::acquire(directory)?;
        layout.check_version()?;
        let unwritable = |source| Error::Unwritable { directory: directory.to_owned(), source };
        empty(&layout.fills()).map_err(unwritable)?;
        let trusted = is_trusted(&layout).map_err(unwritable)?;
        let state = Self {
            index: Index::lost(layout.index()),
            uses: Uses::default(),
            next_fill: AtomicU64::new(0),
            documents: AtomicUsize::new(fs::read_dir(layout.documents()).map_err(unwritable)?.count()),
            lines_damaged: AtomicU64::new(0),
            size_bytes: AtomicU64::new(0),
            gate: RwLock::new(Phase::Open),
            digests: [const { Mutex::new(()) }; STRIPES],
            places: [const { Mutex::new(()) }; STRIPES],
            _lock: lock,
            layout,
        };
        if !(trusted && state.open_index()) {
            state.rebuild().map_err(Error::io("reading the directory"))?;
        }
        Ok(state)
    }

    fn open_index(&self) -> bool {
        let Ok(blobs) = self.index.open().and_then(|()| self.index.blobs()) else { return false };
        self.size_bytes.store(blobs.iter().map(|(_, row)| row.size_bytes).sum(), Ordering::Relaxed);
        true
    }

    /// Keeps the store open while the guard lives; builds a lost index where it is time to.
    pub(super) fn enter(&self) -> Result<RwLockReadGuard<'_, Phase>, Error> {
        self.heal();
        let phase = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Closed { Err(Error::Closed) } else { Ok(phase) }
    }

    /// Builds a lost index again, where it is time to. Not to be called with the gate held.
    pub(super) fn heal(&self) {
        if !self.index.wants_rebuild() {
            return;
        }
        let phase = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Open
            && self.index.wants_rebuild()
            && let Err(error) = self.rebuild()
        {
            tracing::warn!(error = &error as &dyn std::error::Error, "the index could not be built");
        }
    }

    pub(super) fn close(&self) -> Result<(), Error> {
        self.flush_uses();
        let mut phase = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        if *phase == Phase::Closed {
            return Ok(());
        }
        *phase = Phase::Closed;
        if self.index.close().is_err() {
            // The next start builds it anew.
            return Ok(());
        }
        clean::leave(&self.layout).map_err(Error::io("leaving the marker of an orderly end"))
    }

    pub(super) fn lock_digest(&self, digest: &Digest) -> MutexGuard<'_, ()> {
        stripe(&self.digests, digest.bytes()[0])
    }

    pub(super) fn lock_place(&self, place: &Place) -> MutexGuard<'_, ()> {
        stripe(&self.places, place.0[0])
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn grown(&self, bytes: u64) {
        self.size_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn shrunk(&self, bytes: u64) {
        let less = |size: u64| Some(size.saturating_sub(bytes));
        let _ = self.size_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
    }

    /// Brings the noted uses to the index.
    pub(super) fn flush_uses(&self) {
        let uses = self.uses.take();
        if uses.is_empty() {
            return;
        }
        let Ok(_open) = self.enter() else { return };
        let unknown = self.index.edit(|edit| {
            let mut unknown = HashMap::new();
            for (digest, used_at) in &uses {
                if !edit.touch_blob(digest, *used_at)? {
                    unknown.insert(*digest, *used_at);
                }
            }
            Ok(unknown)
        });
        for (digest, used_at) in unknown.unwrap_or_default() {
            self.adopt(&digest, used_at);
        }
    }

    /// Gives a row to a blob that was put there by hand; not to one that was removed since it was used.
    fn adopt(&self, digest: &Digest, used_at: SystemTime) {
        let _one = self.lock_digest(digest);
        let Ok(metadata) = fs::metadata(self.layout.blob(digest)) else { return };
        if matches!(self.index.blob(digest), Ok(None)) {
            let row = BlobRow { size_bytes: metadata.len(), used_at };
            self.grown(row.size_bytes);
            let _ = self.index.edit(|edit| edit.set_blob(digest, &row));
        }
    }

    /// Drops the row of a blob whose file was removed by hand.
    pub(super) fn disown(&self, digest: &Digest) {
        if !matches!(self.index.blob(digest), Ok(Some(_))) {
            return;
        }
        let Ok(_open) = self.enter() else { return };
        let _one = self.lock_digest(digest);
        // A commit gives the file its name first: with the lock held, a row without a file is a stale one.
        if let Ok(Some(row)) = self.index.blob(digest)
            && !self.layout.blob(digest).exists()
        {
            self.shrunk(row.size_bytes);
            let _ = self.index.edit(|edit| edit.remove_blob(digest));
        }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::warn!(error = &error as &dyn std::error::Error, "the store was not closed in order");
        }
    }
}

fn stripe(stripes: &[Mutex<()>; STRIPES], byte: u8) -> MutexGuard<'_, ()> {
    stripes[usize::from(byte) % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        layout::remove_file(&entry?.path())?;
    }
    Ok(())
}
