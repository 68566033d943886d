//! The bytes of an answer, as they become ready.
//!
//! What is held is read in whole pieces, and none is given on before its checksum agrees: bits rot on disks.

use super::{
    Cause,
    slice::{read_slice_at_once, read_slice_blocking},
};
use crate::{
    store::{self, Blob},
    upstream::Failure,
};
use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _, future::BoxFuture, stream::BoxStream};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

/// The bytes of a blob, or of a part of it.
///
/// An error means that the rest cannot be given: the connection is to be broken off, so that what was sent looks as
/// incomplete as it is.
pub struct Content(Source);

enum Source {
    Held(Box<Held>),
    Arriving(BoxStream<'static, Result<Bytes, Interrupted>>),
}

/// Why the rest of a body cannot be given.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// The file of the blob could not be read.
    #[error("the stored blob could not be read")]
    Store(#[source] io::Error),
    /// Upstream did not give it, or gave something else.
    #[error("upstream did not give the rest")]
    Upstream(#[source] Arc<Failure>),
    /// A defect of larder itself.
    #[error("a task of larder ended unexpectedly")]
    Defect,
}

impl Content {
    /// The bytes of `blob` from `position` to before `end`, which is not beyond its own end.
    pub(super) fn held(blob: Blob, position: u64, end: u64) -> Self {
        Self(Source::Held(Box::new(Held { blob, position, end, waiting: None })))
    }

    pub(super) fn arriving(stream: impl Stream<Item = Result<Bytes, Interrupted>> + Send + 'static) -> Self {
        Self(Source::Arriving(stream.boxed()))
    }
}

impl Stream for Content {
    type Item = Result<Bytes, Interrupted>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match &mut self.0 {
            Source::Arriving(stream) => stream.poll_next_unpin(context),
            Source::Held(held) => held.poll_next(context),
        }
    }
}

struct Held {
    blob: Blob,
    position: u64,
    end: u64,
    /// Work on a thread that may block.
    waiting: Option<BoxFuture<'static, Result<Step, Interrupted>>>,
}

enum Step {
    /// The blob has checks now.
    Checked(Blob),
    /// A piece that was not in memory.
    Read(io::Result<Bytes>),
}

impl Held {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Interrupted>>> {
        loop {
            let read = match &mut self.waiting {
                Some(waiting) => {
                    let step = ready!(waiting.poll_unpin(context));
                    self.waiting = None;
                    match step {
                        Ok(Step::Checked(blob)) => {
                            self.blob = blob;
                            continue;
                        }
                        Ok(Step::Read(read)) => read,
                        Err(interrupted) => {
                            self.position = self.end;
                            return Poll::Ready(Some(Err(interrupted)));
                        }
                    }
                }
                None if self.position >= self.end => return Poll::Ready(None),
                None if !self.blob.has_checks() => {
                    self.waiting = Some(checked_or_none(self.blob.clone()).boxed());
                    continue;
                }
                None => {
                    let piece = self.blob.piece_at(self.position);
                    let length = piece.end - piece.start;
                    match read_slice_at_once(self.blob.file(), piece.start, length) {
                        Ok(Some(bytes)) if bytes.len() as u64 == length => Ok(bytes),
                        // Some of it is not in memory.
                        Ok(_) => {
                            let read = read_slice_blocking(Arc::clone(self.blob.file()), piece.start, length);
                            self.waiting = Some(read.map(|read| Ok(Step::Read(read))).boxed());
                            continue;
                        }
                        Err(error) => Err(error),
                    }
                }
            };
            match read.and_then(|piece| self.take(&piece)) {
                Ok(bytes) => return Poll::Ready(Some(Ok(bytes))),
                Err(error) => self.waiting = Some(discard(self.blob.clone(), error).boxed()),
            }
        }
    }

    /// What was asked for of the piece at the position, if the piece is right.
    fn take(&mut self, piece: &Bytes) -> io::Result<Bytes> {
        let start = self.blob.piece_at(self.position).start;
        if !self.blob.is_right(start, piece) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a piece has another checksum than when it was stored",
            ));
        }
        let end = self.end.min(start + piece.len() as u64);
        // Both are within the piece, which is in memory.
        let bytes = piece.slice((self.position - start) as usize..(end - start) as usize);
        self.position = end;
        Ok(bytes)
    }
}

/// The blob goes first: whoever asks again must not find it.
async fn discard(blob: Blob, error: io::Error) -> Result<Step, Interrupted> {
    match spawn_blocking(move || blob.discard()).await {
        Ok(Ok(())) | Ok(Err(store::Error::Closed)) => {}
        Ok(Err(error)) => {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "a damaged blob could not be discarded");
        }
        Err(_) => return Err(Interrupted::Defect),
    }
    Err(Interrupted::Store(error))
}

/// Blobs hashed at once. More would only share the disk; and whoever waits holds no thread.
static HASHING: Semaphore = Semaphore::const_new(4);

/// Headers leave within 10 s: what takes longer to hash is waited for in the body.
const CHECK_PATIENCE: Duration = Duration::from_secs(4);

/// `found` with checks, if that can be had soon. `None` too if it turns out not to be what its digest says.
pub(super) async fn checked(found: Option<Blob>) -> Result<Option<Blob>, Cause> {
    let blob = match found {
        Some(blob) if !blob.has_checks() => blob,
        found => return Ok(found),
    };
    match timeout(CHECK_PATIENCE, check(blob.clone())).await {
        Ok(checked) => checked,
        Err(_) => Ok(Some(blob)),
    }
}

/// Goes on where the caller stops waiting: the next one finds it done.
async fn check(blob: Blob) -> Result<Option<Blob>, Cause> {
    let permit = HASHING.acquire().await.map_err(|_| Cause::Defect)?;
    let work = move || {
        let _permit = permit;
        blob.check()
    };
    Ok(spawn_blocking(work).await.map_err(|_| Cause::Defect)??)
}

async fn checked_or_none(blob: Blob) -> Result<Step, Interrupted> {
    match check(blob).await {
        Ok(Some(blob)) => Ok(Step::Checked(blob)),
        Ok(None) => {
            Err(Interrupted::Store(io::Error::new(io::ErrorKind::InvalidData, "it is not what its digest says")))
        }
        Err(cause) => Err(Interrupted::Store(io::Error::other(cause))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{oci::Digest, store::Store};
    use std::{
        fs,
        path::{Path, PathBuf},
    };

    fn path(directory: &Path, kind: &str, digest: &Digest) -> PathBuf {
        let hex = digest.hex();
        directory.join(kind).join("sha256").join(&hex[..2]).join(hex)
    }

    /// Reads `first..end`: no byte of it may be wrong. Whether it came whole.
    async fn read(blob: Blob, content: &[u8], first: usize, end: usize) -> bool {
        let mut body = Content::held(blob, first as u64, end as u64);
        let mut position = first;
        while let Some(piece) = body.next().await {
            let Ok(piece) = piece else {
                assert!(body.next().await.is_none(), "nothing follows a break");
                return false;
            };
            assert_eq!(piece, content[position..position + piece.len()], "at {position}");
            position += piece.len();
        }
        assert_eq!(position, end);
        true
    }

    #[tokio::test]
    async fn a_flipped_bit_is_never_given_and_the_blob_goes() {
        let directory = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut random = fastrand::Rng::with_seed(3);
        for round in 0..200 {
            let length = [1, 900, 65_536, 400_000][round % 4];
            let mut content = vec![0; length];
            random.fill(&mut content);
            let digest = Digest::of(&content);
            let store = Store::open(directory.path()).unwrap();
            let held = store.put(&digest, &content).unwrap();
            assert!(read(held.clone(), &content, 0, length).await);
            let mut rotten = content.clone();
            rotten[random.usize(..length)] ^= 1 << random.u8(..8);
            // In place: the same file, open or not.
            fs::write(path(directory.path(), "blobs", &digest), &rotten).unwrap();
            let store = match round % 5 {
                // As one that was opened before.
                0 => {
                    assert!(!read(held, &content, 0, length).await);
                    store
                }
                // With its checks in memory, then from their file.
                1 => store,
                other => {
                    drop(store);
                    let checks = path(directory.path(), "checks", &digest);
                    match other {
                        2 => {}
                        3 => fs::remove_file(checks).unwrap(),
                        _ => fs::write(checks, "torn").unwrap(),
                    }
                    Store::open(directory.path()).unwrap()
                }
            };
            if let Some(blob) = checked(store.blob(&digest).unwrap()).await.unwrap() {
                assert!(!read(blob, &content, 0, length).await, "round {round}");
            }
            assert!(store.blob(&digest).unwrap().is_none(), "round {round}");
            assert_eq!((store.damage().blobs, store.size_bytes()), (1, 0));
        }
    }

    #[tokio::test]
    async fn a_blob_without_checks_is_given_as_a_whole_and_in_ranges_once_it_was_hashed() {
        let directory = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8).collect();
        let digest = Digest::of(&content);
        Store::open(directory.path()).unwrap().put(&digest, &content).unwrap();
        let checks = path(directory.path(), "checks", &digest);
        let written = fs::read(&checks).unwrap();
        fs::remove_file(&checks).unwrap();
        let store = Store::open(directory.path()).unwrap();
        let blob = store.blob(&digest).unwrap().unwrap();
        assert!(!blob.has_checks());
        for (first, end) in [(0, 300_000), (5, 6), (65_535, 65_537), (65_536, 131_072), (299_999, 300_000), (7, 7)] {
            assert!(read(blob.clone(), &content, first, end).await, "{first}..{end}");
        }
        assert_eq!(fs::read(&checks).unwrap(), written);
        assert!(store.blob(&digest).unwrap().unwrap().has_checks());
    }

    #[tokio::test]
    async fn a_range_beside_the_rot_is_given_and_one_over_it_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let content = vec![7; 300_000];
        let digest = Digest::of(&content);
        let store = Store::open(directory.path()).unwrap();
        let blob = store.put(&digest, &content).unwrap();
        let mut rotten = content.clone();
        rotten[140_000] ^= 4;
        fs::write(path(directory.path(), "blobs", &digest), &rotten).unwrap();
        assert!(read(blob.clone(), &content, 3, 131_072).await);
        assert!(read(blob.clone(), &content, 196_608, 300_000).await);
        assert!(store.blob(&digest).unwrap().is_some());
        assert!(!read(blob, &content, 150_000, 150_001).await, "its piece is wrong");
        assert!(store.blob(&digest).unwrap().is_none());
    }

    #[tokio::test]
    async fn a_blob_that_took_a_rotten_ones_place_stays() {
        let directory = tempfile::tempdir().unwrap();
        let (content, digest) = (b"content", Digest::of(b"content"));
        let store = Store::open(directory.path()).unwrap();
        let old = store.put(&digest, content).unwrap();
        store.discard(&digest).unwrap();
        let new = store.put(&digest, content).unwrap();
        old.discard().unwrap();
        assert!(store.blob(&digest).unwrap().is_some());
        new.discard().unwrap();
        assert!(store.blob(&digest).unwrap().is_none());
    }
}
