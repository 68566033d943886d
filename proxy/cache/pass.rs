//! Bytes that go past the store: one caller's own stream from upstream.
//!
//! Two cases need it: the store cannot take a fill any more, and a caller asks for a range far ahead of one. A stream
//! that reaches the end of a blob whose start is known is hashed, and its last bytes are withheld like those of a fill.

use super::{
    content::Interrupted,
    error::failure_of_body,
    fill::{Fill, Next, Part, Plan},
};
use crate::{
    oci::{Digest, Hasher, Repository},
    upstream::{BlobBody, ByteRange, Failure, Kind, Upstream},
};
use bytes::Bytes;
use std::{fs::File, os::unix::fs::FileExt as _, sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking, time::sleep};

/// A caller's own stream from upstream.
pub(super) struct Pass {
    upstream: Arc<Upstream>,
    repository: Repository,
    digest: Digest,
    plan: Plan,
    /// Exclusive; `None`: to the end of the blob.
    end: Option<u64>,
    proof: Proof,
    body: Option<BlobBody>,
    /// The last bytes that came: given only when more come or the whole is proven.
    withheld: Bytes,
    busy: u32,
    _place: Option<OwnedSemaphorePermit>,
}

/// Whether the digest can be proven, and how far that is.
enum Proof {
    /// A part of a blob proves nothing.
    None,
    /// The start is in this file still and was not hashed by this stream.
    Unstarted(Option<Arc<File>>),
    Running(Box<Hasher>),
}

/// How much of a file is hashed at a time.
const PREFIX_BUFFER_BYTES: usize = 256 << 10;

const RESUME_DELAY: Duration = Duration::from_secs(1);
const RESUME_DELAY_MAX: Duration = Duration::from_secs(10);

/// So often a stream waits for one of the upstream's `fills_max`; each wait has the upstream's own deadline.
const BUSY_MAX: u32 = 30;

impl Pass {
    /// What follows after `position` of `part` when `fill` gave out.
    pub(super) fn after(fill: &Fill, part: Part, position: u64) -> Self {
        let size = fill.progress().size_bytes;
        // Whoever reads from the first byte to the last gets a proof. What it has so far stands in the file.
        let whole = part.first == 0 && (part.end.is_none() || part.end == size);
        Self {
            upstream: part.upstream,
            repository: part.repository,
            digest: fill.digest,
            plan: Plan::at(position, size),
            end: part.end.or(size),
            proof: if whole { Proof::Unstarted(fill.file()) } else { Proof::None },
            body: None,
            withheld: Bytes::new(),
            busy: 0,
            _place: None,
        }
    }

    /// A part that lies far ahead of `fill`, from upstream's answer `body` to exactly that range.
    pub(super) fn beside(
        fill: &Fill,
        (first, end): (u64, u64),
        size: u64,
        body: BlobBody,
        place: OwnedSemaphorePermit,
    ) -> Self {
        Self {
            upstream: Arc::clone(&fill.upstream),
            repository: fill.repository.clone(),
            digest: fill.digest,
            plan: Plan::at(first, Some(size)),
            end: Some(end),
            proof: Proof::None,
            body: Some(body),
            withheld: Bytes::new(),
            busy: 0,
            _place: Some(place),
        }
    }

    /// The next bytes; `None` after the last.
    pub(super) async fn next(&mut self) -> Option<Result<Bytes, Interrupted>> {
        if let Proof::Unstarted(file) = &self.proof {
            match hash_prefix(self.digest, file.clone(), self.plan.received_bytes()).await {
                Ok(hasher) => self.proof = Proof::Running(Box::new(hasher)),
                Err(error) => return Some(Err(error)),
            }
        }
        loop {
            if self.end == Some(self.plan.received_bytes()) {
                return self.finish();
            }
            let failure = match &mut self.body {
                None => self.open().await.err(),
                Some(body) => match body.chunk().await {
                    Ok(Some(bytes)) => match self.take(bytes) {
                        Ok(bytes) if bytes.is_empty() => None,
                        Ok(bytes) => return Some(Ok(bytes)),
                        Err(error) => return Some(Err(error)),
                    },
                    Ok(None) if self.end.is_none() => {
                        self.end = Some(self.plan.received_bytes());
                        None
                    }
                    Ok(None) => Some(self.failure(Kind::Unavailable, "the body ended early")),
                    Err(failure) => Some(failure),
                },
            };
            if let Some(failure) = failure
                && let Err(error) = self.again(failure).await
            {
                return Some(Err(error));
            }
        }
    }

    /// Waits before the next attempt, if there is to be one.
    async fn again(&mut self, failure: Failure) -> Result<(), Interrupted> {
        self.body = None;
        if failure.kind == Kind::Busy && self.busy < BUSY_MAX {
            self.busy += 1;
            return Ok(());
        }
        match (failure.kind, self.plan.cut()) {
            (Kind::Unavailable | Kind::RateLimited, Next::Ask { attempt, .. }) => {
                sleep(failure.retry_after.unwrap_or(RESUME_DELAY * attempt).min(RESUME_DELAY_MAX)).await;
                Ok(())
            }
            _ => Err(Interrupted::Upstream(Arc::new(failure))),
        }
    }

    async fn open(&mut self) -> Result<(), Failure> {
        let first = self.plan.received_bytes();
        let whole = first == 0 && (self.end.is_none() || self.end == self.plan.size_bytes());
        let range = (!whole).then(|| ByteRange { first, last: self.end.map(|end| end.saturating_sub(1)) });
        let body = self.upstream.blob(&self.repository, &self.digest, range).await?;
        self.plan
            .opened(body.first, body.size_bytes)
            .map_err(|stop| self.failure(Kind::Malformed, &stop.to_string()))?;
        self.body = Some(body);
        Ok(())
    }

    /// Takes bytes in and gives those that may go out.
    fn take(&mut self, bytes: Bytes) -> Result<Bytes, Interrupted> {
        let before = self.plan.received_bytes();
        let dropped = self
            .plan
            .received(bytes.len())
            .map_err(|stop| Interrupted::Upstream(Arc::new(self.failure(Kind::Malformed, &stop.to_string()))))?;
        let mut bytes = bytes.slice(dropped..);
        if let Some(end) = self.end
            && self.plan.received_bytes() > end
        {
            // Upstream ignored the end of the range.
            bytes.truncate(usize::try_from(end - before).unwrap_or(usize::MAX));
            self.plan = Plan::at(end, self.plan.size_bytes());
        }
        match &mut self.proof {
            Proof::Running(hasher) if !bytes.is_empty() => {
                hasher.update(&bytes);
                Ok(std::mem::replace(&mut self.withheld, bytes))
            }
            _ => Ok(bytes),
        }
    }

    fn finish(&mut self) -> Option<Result<Bytes, Interrupted>> {
        match std::mem::replace(&mut self.proof, Proof::None) {
            Proof::Running(hasher) if hasher.clone().finish() != self.digest => Some(Err(Interrupted::Upstream(
                Arc::new(self.failure(Kind::Mismatch, "the bytes are not those of the digest")),
            ))),
            _ if self.withheld.is_empty() => None,
            _ => Some(Ok(std::mem::take(&mut self.withheld))),
        }
    }

    fn failure(&self, kind: Kind, detail: &str) -> Failure {
        failure_of_body(&self.upstream, kind, detail)
    }
}

/// The digest in the making of the first `length` bytes of `file`.
async fn hash_prefix(digest: Digest, file: Option<Arc<File>>, length: u64) -> Result<Hasher, Interrupted> {
    let mut hasher = digest.hasher();
    let Some(file) = file.filter(|_| length > 0) else {
        return Ok(hasher);
    };
    let hash = move || {
        let mut buffer = vec![0; PREFIX_BUFFER_BYTES];
        let mut position = 0;
        while position < length {
            let most = usize::try_from(length - position).unwrap_or(usize::MAX).min(buffer.len());
            file.read_exact_at(&mut buffer[..most], position)?;
            hasher.update(&buffer[..most]);
            position += most as u64;
        }
        Ok(hasher)
    };
    spawn_blocking(hash).await.map_err(|_| Interrupted::Defect)?.map_err(Interrupted::Store)
}
