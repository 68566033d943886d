//! Checksums over the pieces of a blob, so that a flipped bit is found before it is given on.
//!
//! A digest is over the whole: it says nothing until the last byte was read. The checksums are taken while the blob is
//! written and kept in a file beside it. That file is not synced: one that is missing or torn costs hashing the blob
//! once, with its own digest.

use super::{
    codec,
    layout::{self, make_directory},
};
use crate::oci::Digest;
use quick_cache::{Weighter, sync::Cache};
use std::{fs, io, io::Write as _, path::Path, sync::Arc};

/// The size of all pieces but the last, which may be smaller. A piece begins at a multiple of it.
pub const PIECE_BYTES: u64 = 64 << 10;

const MAGIC: &[u8; 8] = b"lchecks1";

/// All kept in memory together. 64 MiB are the checksums of about 1 TiB.
const MEMORY_BYTES_MAX: u64 = 64 << 20;

/// CRC-32C of each piece of one blob.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Checks {
    size_bytes: u64,
    sums: Box<[u32]>,
}

impl Checks {
    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Whether `bytes` are the whole piece that begins at `start`.
    pub(super) fn agree(&self, start: u64, bytes: &[u8]) -> bool {
        let sum = usize::try_from(start / PIECE_BYTES).ok().and_then(|piece| self.sums.get(piece));
        start.is_multiple_of(PIECE_BYTES)
            && bytes.len() as u64 == PIECE_BYTES.min(self.size_bytes.saturating_sub(start))
            && sum == Some(&crc32c::crc32c(bytes))
    }

    /// `None` if there is no such file, it is damaged, or another digest's.
    pub(super) fn read(path: &Path, digest: &Digest) -> Option<Self> {
        let bytes = fs::read(path).ok()?;
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*sum) != seal(digest, body) {
            return None;
        }
        let (size_bytes, sums) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let size_bytes = u64::from_le_bytes(*size_bytes);
        let (sums, rest) = sums.as_chunks::<4>();
        let sums: Box<[u32]> = sums.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        (rest.is_empty() && sums.len() as u64 == size_bytes.div_ceil(PIECE_BYTES)).then_some(Self { size_bytes, sums })
    }

    /// Whoever reads it meanwhile finds it damaged, which is as good as missing.
    pub(super) fn write(&self, path: &Path, digest: &Digest) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(self.sums.len() * 4 + 20);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.size_bytes.to_le_bytes());
        bytes.extend(self.sums.iter().flat_map(|sum| sum.to_le_bytes()));
        bytes.extend_from_slice(&seal(digest, &bytes).to_le_bytes());
        let mut file = match layout::create_file(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
                layout::create_file(path)?
            }
            created => created?,
        };
        file.write_all(&bytes)
    }
}

fn seal(digest: &Digest, body: &[u8]) -> u32 {
    let mut key = Vec::with_capacity(65);
    codec::digest_key(digest, &mut key);
    crc32c::crc32c_append(crc32c::crc32c(&key), body)
}

/// Checksums in the making: bytes in, in order.
#[derive(Debug, Default)]
pub(super) struct Sums {
    size_bytes: u64,
    sums: Vec<u32>,
    /// Of the piece that is not full yet.
    open: u32,
}

impl Sums {
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let lacking = PIECE_BYTES - self.size_bytes % PIECE_BYTES;
            let (now, rest) = bytes.split_at(bytes.len().min(usize::try_from(lacking).unwrap_or(usize::MAX)));
            self.open = crc32c::crc32c_append(self.open, now);
            self.size_bytes += now.len() as u64;
            if self.size_bytes.is_multiple_of(PIECE_BYTES) {
                self.sums.push(std::mem::take(&mut self.open));
            }
            bytes = rest;
        }
    }

    pub(super) fn finish(mut self) -> Checks {
        if !self.size_bytes.is_multiple_of(PIECE_BYTES) {
            self.sums.push(self.open);
        }
        Checks { size_bytes: self.size_bytes, sums: self.sums.into() }
    }
}

/// The checksums last used, so that a blob that is often asked for costs no second file.
pub(super) struct ChecksMemory(Cache<Digest, Arc<Checks>, ByBytes>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Digest, Arc<Checks>> for ByBytes {
    fn weight(&self, _: &Digest, checks: &Arc<Checks>) -> u64 {
        checks.sums.len() as u64 * 4 + 256
    }
}

impl ChecksMemory {
    pub(super) fn new() -> Self {
        Self(Cache::with_weighter(10_000, MEMORY_BYTES_MAX, ByBytes))
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<Arc<Checks>> {
        self.0.get(digest)
    }

    pub(super) fn insert(&self, digest: &Digest, checks: &Arc<Checks>) {
        self.0.insert(*digest, Arc::clone(checks));
    }

    pub(super) fn remove(&self, digest: &Digest) {
        self.0.remove(digest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_the_same_however_the_bytes_came_and_read_back_only_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ab/c");
        for length in [0, 1, 65_535, 65_536, 65_537, 200_000] {
            let content: Vec<u8> = (0..length).map(|_| fastrand::u8(..)).collect();
            let digest = Digest::of(&content);
            let mut whole = Sums::default();
            whole.update(&content);
            let whole = whole.finish();
            let mut parts = Sums::default();
            content.chunks(4_099).for_each(|chunk| parts.update(chunk));
            assert_eq!(parts.finish(), whole);
            for (piece, bytes) in content.chunks(65_536).enumerate() {
                assert!(whole.agree(piece as u64 * PIECE_BYTES, bytes));
                assert!(!whole.agree(piece as u64 * PIECE_BYTES, &bytes[1..]));
            }
            whole.write(&path, &digest).unwrap();
            assert_eq!(Checks::read(&path, &digest).as_ref(), Some(&whole));
            assert_eq!(Checks::read(&path, &Digest::of(b"another's")), None);
            let good = fs::read(&path).unwrap();
            for at in 0..good.len() {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << (at % 8);
                fs::write(&path, bytes).unwrap();
                assert_eq!(Checks::read(&path, &digest), None);
                fs::write(&path, &good[..at]).unwrap();
                assert_eq!(Checks::read(&path, &digest), None);
            }
        }
    }
}
