//! Blobs: held, arriving, or to be fetched.

use super::{
    ANSWER_SECONDS_MAX, Cache, Cause, Content, ORPHANS_MAX, content_target,
    error::failure_of_body,
    fill::{self, Fill, Readership, State},
    in_time,
    memory::Asked,
    pass::Pass,
};
use crate::{
    metrics::CacheOutcome,
    oci::{Digest, Registry, Repository, Target},
    store::{Blob, Member, Proof},
    upstream::{ByteRange, Kind, Upstream},
};
use futures_util::stream;
use std::{
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

/// A blob that may be served.
pub struct BlobAnswer(Source);

enum Source {
    Held(Blob),
    Arriving { fill: Readership, size_bytes: Option<u64> },
}

/// A range that begins this far ahead of a fill does not wait for it.
const FAR_AHEAD_BYTES: u64 = 1 << 20;

impl BlobAnswer {
    /// Its size, unless upstream has not told it.
    pub fn size_bytes(&self) -> Option<u64> {
        match &self.0 {
            Source::Held(blob) => Some(blob.size_bytes()),
            Source::Arriving { size_bytes, .. } => *size_bytes,
        }
    }

    /// Waits until its size is known: until it is proven, where upstream did not tell it. The fill has its own deadlines.
    pub async fn sized(&mut self) {
        if let Source::Arriving { fill, size_bytes } = &mut self.0
            && size_bytes.is_none()
        {
            *size_bytes = fill.ended().await.size_bytes;
        }
    }

    /// Its bytes from `first` to before `end`; to its own end without one.
    pub async fn content(self, first: u64, end: Option<u64>) -> Content {
        match self.0 {
            Source::Held(blob) => {
                let end = end.unwrap_or(blob.size_bytes());
                Content::held(Arc::clone(blob.file()), first, end)
            }
            Source::Arriving { fill, .. } => match beside(&fill, first, end).await {
                Some(pass) => Content::arriving(stream::unfold(Some(pass), |pass| async move {
                    let mut pass = pass?;
                    match pass.next().await? {
                        Ok(bytes) => Some((Ok(bytes), Some(pass))),
                        Err(error) => Some((Err(error), None)),
                    }
                })),
                None => Content::arriving(fill::read(fill, first, end)),
            },
        }
    }
}

/// A stream of its own for a range far ahead of the fill: lazy-pulling snapshotters read a layer's end first. `None`
/// where upstream does not give ranges: then the fill is waited for.
async fn beside(fill: &Fill, first: u64, end: Option<u64>) -> Option<Pass> {
    let progress = fill.progress();
    let (size, end) = (progress.size_bytes?, end?);
    if !matches!(progress.state, State::Receiving) || first < progress.deliverable_bytes + FAR_AHEAD_BYTES {
        return None;
    }
    let range = ByteRange { first, last: Some(end.checked_sub(1)?) };
    let answer = fill.upstream.blob(&fill.repository, &fill.digest, Some(range)).await;
    match answer {
        Ok(body) if body.first == first => Some(Pass::beside(fill, first, end, size, body)),
        _ => None,
    }
}

impl Cache {
    /// The blob of `digest`, if `repository` may give it: from the store, or while it arrives.
    ///
    /// # Errors
    /// When upstream does not give it and it is not held for this repository.
    pub async fn blob(
        self: &Arc<Self>,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<BlobAnswer, Cause> {
        let member = self.store.member(registry, repository, digest)?.is_some();
        if let Some(blob) = self.store.blob(digest)? {
            if !member {
                self.prove_blob(registry, repository, digest).await?;
            }
            self.count(registry, CacheOutcome::Hit);
            return Ok(BlobAnswer(Source::Held(blob)));
        }
        let target = content_target(registry, repository, digest);
        if let Some(failure) = self.memory.failure(Asked::Blob, &target) {
            self.count(registry, CacheOutcome::Missing);
            return Err(Cause::Upstream(failure));
        }
        let upstream = Arc::clone(self.dialled(registry)?);
        self.count(registry, CacheOutcome::Miss);
        loop {
            let fill = self.join_fill(&upstream, repository, digest);
            let ours = (fill.upstream.registry(), &fill.repository) == (registry, repository);
            if !member && !ours {
                self.prove_blob(registry, repository, digest).await?;
            }
            let opened = timeout(Duration::from_secs(ANSWER_SECONDS_MAX), fill.opened()).await;
            let progress = opened.map_err(|_| Cause::Slow { seconds: ANSWER_SECONDS_MAX })?;
            match progress.state {
                // It never began.
                State::Failed(failure) if progress.size_bytes.is_none() => {
                    if ours {
                        return Err(self.remember(Asked::Blob, &target, Arc::unwrap_or_clone(failure)));
                    }
                    // That was another repository's failure: the next fill is this one's own.
                }
                _ => return Ok(BlobAnswer(Source::Arriving { fill, size_bytes: progress.size_bytes })),
            }
        }
    }

    /// The size of the blob of `digest`. Never starts a fill.
    ///
    /// # Errors
    /// As [`Cache::blob`].
    pub async fn blob_size(
        self: &Arc<Self>,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<u64, Cause> {
        let member = self.store.member(registry, repository, digest)?;
        if let (Some(_), Some(blob)) = (&member, self.store.blob(digest)?) {
            self.count(registry, CacheOutcome::Hit);
            return Ok(blob.size_bytes());
        }
        // Proven a moment ago, by another HEAD say: upstream's word is fresh.
        let fresh = |member: &Member| member.proven_at.elapsed().is_ok_and(|age| age < self.config.cache.tag_ttl);
        if let Some(member) = member.filter(fresh) {
            return Ok(member.size_bytes);
        }
        let target = content_target(registry, repository, digest);
        if let Some(failure) = self.memory.failure(Asked::Blob, &target) {
            self.count(registry, CacheOutcome::Missing);
            return Err(Cause::Upstream(failure));
        }
        self.count(registry, CacheOutcome::Miss);
        self.prove_blob(registry, repository, digest).await
    }

    /// Asks upstream whether this repository gives this blob, and records that it does. Gives its size.
    async fn prove_blob(
        self: &Arc<Self>,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<u64, Cause> {
        let target = content_target(registry, repository, digest);
        let work = || {
            let (cache, target, digest) = (Arc::clone(self), target.clone(), *digest);
            async move { cache.ask_for_blob(&target, digest).await }
        };
        in_time(self.rights.join(&target, work)).await
    }

    async fn ask_for_blob(&self, target: &Target, digest: Digest) -> Result<u64, Cause> {
        if let Some(failure) = self.memory.failure(Asked::Blob, target) {
            return Err(Cause::Upstream(failure));
        }
        let upstream = self.dialled(&target.registry)?;
        let size_bytes = match upstream.blob_head(&target.repository, &digest).await {
            Ok(head) => head.size_bytes,
            Err(failure) => return Err(self.remember(Asked::Blob, target, failure)),
        };
        if let Some(blob) = self.store.blob(&digest)?
            && blob.size_bytes() != size_bytes
        {
            let detail = format!("it gives {size_bytes} bytes as the size of a blob of {}", blob.size_bytes());
            return Err(failure_of_body(upstream, Kind::Malformed, &detail).into());
        }
        let member = Member { media_type: None, size_bytes, proven_at: SystemTime::now(), proof: Proof::Upstream };
        let target = target.clone();
        self.record(move |store| {
            // A manifest that is also asked for as a blob keeps its media type.
            if store.member(&target.registry, &target.repository, &digest)?.is_some_and(|m| m.media_type.is_some()) {
                return Ok(());
            }
            store.prove(&target.registry, &target.repository, &digest, member)
        })
        .await;
        Ok(size_bytes)
    }

    /// Joins the fill of `digest`, or starts it.
    fn join_fill(&self, upstream: &Arc<Upstream>, repository: &Repository, digest: &Digest) -> Readership {
        let mut fills = self.running_fills();
        if let Some(fill) = fills.get(digest)
            && !matches!(fill.progress().state, State::Failed(_) | State::Unstorable)
        {
            return fill.join();
        }
        self.bound_orphans(&fills);
        let fill = Fill::new(*digest, Arc::clone(upstream), repository.clone());
        let readership = fill.join();
        fills.insert(*digest, Arc::clone(&fill));
        drop(fills);
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let running = Arc::clone(&self.fills);
        tokio::spawn(async move {
            let digest = fill.digest;
            // A task of its own within, so that the entry goes by panic too; the fill tells its readers by itself.
            let _ = tokio::spawn(Arc::clone(&fill).run(store, metrics)).await;
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.get(&digest).is_some_and(|other| Arc::ptr_eq(other, &fill)) {
                running.remove(&digest);
            }
        });
        readership
    }

    /// Fills go on when their callers hang up; with too many such, the one with the fewest bytes is given up.
    fn bound_orphans(&self, fills: &MutexGuard<'_, std::collections::HashMap<Digest, Arc<Fill>>>) {
        let orphans = fills.values().filter(|fill| fill.is_orphan());
        if orphans.clone().count() >= ORPHANS_MAX
            && let Some(least) = orphans.min_by_key(|fill| fill.progress().deliverable_bytes)
        {
            least.abandon();
        }
    }

    fn running_fills(&self) -> MutexGuard<'_, std::collections::HashMap<Digest, Arc<Fill>>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
