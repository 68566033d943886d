//! Reading a piece of a file without holding up the other callers.
//!
//! What the page cache holds is copied at once, on the asynchronous thread; only what must come from the disk goes to a
//! thread that may block. Buffers are reused, so that a read costs neither an allocation nor clearing.

use bytes::Bytes;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::{
    cell::RefCell,
    fs::File,
    io::{self, IoSliceMut},
    os::unix::fs::FileExt as _,
    sync::Arc,
};

/// The most that is read at once: large enough that system calls do not count, small enough for a thousand callers.
pub(super) const SLICE_BYTES_MAX: usize = 64 << 10;

/// Buffers kept for reuse by each thread.
const SPARE_BUFFERS_MAX: usize = 32;

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Up to `length` bytes of `file` from `position` on, at least one.
pub(super) async fn read_slice(file: &Arc<File>, position: u64, length: u64) -> io::Result<Bytes> {
    match read_slice_at_once(file, position, length)? {
        Some(bytes) => Ok(bytes),
        None => read_slice_blocking(Arc::clone(file), position, length).await,
    }
}

/// As [`read_slice`], or `None` if the bytes would have to come from the disk.
pub(super) fn read_slice_at_once(file: &File, position: u64, length: u64) -> io::Result<Option<Bytes>> {
    let mut buffer = Buffer::new(length);
    match preadv2(file, &mut [IoSliceMut::new(buffer.free())], position, ReadWriteFlags::NOWAIT) {
        Ok(count) => buffer.into_bytes(count).map(Some),
        // Not in memory; or a file system that cannot tell.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::INTR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// As [`read_slice`], from the disk.
pub(super) async fn read_slice_blocking(file: Arc<File>, position: u64, length: u64) -> io::Result<Bytes> {
    let read = move || {
        let mut buffer = Buffer::new(length);
        let count = file.read_at(buffer.free(), position)?;
        buffer.into_bytes(count)
    };
    tokio::task::spawn_blocking(read).await.unwrap_or_else(|error| Err(io::Error::other(error)))
}

struct Buffer {
    memory: Box<[u8]>,
    length: usize,
}

impl Buffer {
    fn new(length: u64) -> Self {
        let memory = SPARE.with_borrow_mut(Vec::pop).unwrap_or_else(|| vec![0; SLICE_BYTES_MAX].into_boxed_slice());
        Self { memory, length: usize::try_from(length).unwrap_or(usize::MAX).min(SLICE_BYTES_MAX) }
    }

    fn free(&mut self) -> &mut [u8] {
        &mut self.memory[..self.length]
    }

    fn into_bytes(mut self, count: usize) -> io::Result<Bytes> {
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.length = count;
        Ok(Bytes::from_owner(self))
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.memory[..self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let memory = std::mem::take(&mut self.memory);
        // A thread that is ending has no list any more: the buffer is freed then.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_BUFFERS_MAX {
                spare.push(memory);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slice_is_what_stands_there_and_never_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let content: Vec<u8> = (0..200_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &content).unwrap();
        let file = Arc::new(File::open(&path).unwrap());
        for (position, length) in [(0, 10), (7, 200_000), (199_999, 1), (100_000, 65_536)] {
            let bytes = read_slice(&file, position as u64, length).await.unwrap();
            assert!(!bytes.is_empty() && bytes.len() as u64 <= length);
            assert_eq!(&bytes[..], &content[position..position + bytes.len()]);
            let blocking = read_slice_blocking(Arc::clone(&file), position as u64, length).await.unwrap();
            assert_eq!(&blocking[..], &content[position..position + blocking.len()]);
        }
        assert_eq!(read_slice(&file, 200_000, 1).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
