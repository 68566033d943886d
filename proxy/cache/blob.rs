//! Blobs: held, arriving, or to be fetched.

use super::{
    Cache, Cause, Content, ORPHANS_MAX, content_target,
    error::failure_of_body,
    fill::{self, Fill, Part, Progress, Readership, State, WITHHELD_BYTES},
    landed,
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
    collections::HashMap,
    sync::{Arc, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

/// A blob that may be served.
pub struct BlobAnswer(Source);

enum Source {
    Held(Blob),
    Arriving { fill: Readership, size_bytes: Option<u64>, upstream: Arc<Upstream>, repository: Repository },
}

/// A range that begins this far ahead of a fill does not wait for it.
const FAR_AHEAD_BYTES: u64 = 1 << 20;

/// An upstream that takes longer for a range is no faster than the fill: the headers need not wait for it.
const BESIDE_TIMEOUT: Duration = Duration::from_secs(4);

impl BlobAnswer {
    /// Its size, unless upstream has not told it.
    pub fn size_bytes(&self) -> Option<u64> {
        match &self.0 {
            Source::Held(blob) => Some(blob.size_bytes()),
            Source::Arriving { size_bytes, .. } => *size_bytes,
        }
    }

    /// Waits until its size is known: until it is proven, where upstream did not tell it. The fill has its own deadlines.
    ///
    /// # Errors
    /// When it will not be known.
    pub async fn sized(&mut self) -> Result<u64, Cause> {
        let Source::Arriving { fill, size_bytes, .. } = &mut self.0 else {
            return self.size_bytes().ok_or(Cause::Defect);
        };
        if size_bytes.is_none() {
            let ended = fill.ended().await;
            if let State::Failed(failure) = ended.state {
                return Err(Cause::Upstream(failure));
            }
            *size_bytes = ended.size_bytes;
        }
        size_bytes.ok_or_else(|| {
            failure_of_body(&fill.upstream, Kind::Unavailable, "its size is not known and it cannot be kept").into()
        })
    }

    /// Its bytes from `first` to before `end`; to its own end without one.
    pub async fn content(self, first: u64, end: Option<u64>) -> Content {
        match self.0 {
            Source::Held(blob) => {
                let end = end.unwrap_or(blob.size_bytes());
                Content::held(Arc::clone(blob.file()), first, end)
            }
            Source::Arriving { fill, upstream, repository, .. } => match beside(&fill, first, end).await {
                Some(pass) => Content::arriving(stream::unfold(Some(pass), |pass| async move {
                    let mut pass = pass?;
                    match pass.next().await? {
                        Ok(bytes) => Some((Ok(bytes), Some(pass))),
                        Err(error) => Some((Err(error), None)),
                    }
                })),
                None => Content::arriving(fill::read(fill, Part { first, end, upstream, repository })),
            },
        }
    }
}

/// A stream of its own for a range far ahead of the fill: lazy-pulling snapshotters read a layer's end first. `None`
/// where upstream does not give ranges, or too many are fetched so: then the fill is waited for.
async fn beside(fill: &Fill, first: u64, end: Option<u64>) -> Option<Pass> {
    let progress = fill.progress();
    let (size, end) = (progress.size_bytes?, end?);
    if !matches!(progress.state, State::Receiving) || first < progress.deliverable_bytes + FAR_AHEAD_BYTES {
        return None;
    }
    let place = fill.place_beside()?;
    let range = ByteRange { first, last: Some(end.checked_sub(1)?) };
    let asked = fill.upstream.blob(&fill.repository, &fill.digest, Some(range));
    match timeout(BESIDE_TIMEOUT, asked).await {
        Ok(Ok(body)) if body.first == first => Some(Pass::beside(fill, (first, end), size, body, place)),
        _ => None,
    }
}

/// What there is of a blob.
enum Found {
    Held(Blob),
    Arriving(Readership),
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
        let target = content_target(registry, repository, digest);
        let member = self.member(&target).is_some() || self.is_being_kept(&target, digest);
        if let Some(blob) = self.held_blob(digest) {
            if !member {
                self.prove_blob(&target, digest).await?;
            }
            self.count(registry, CacheOutcome::Hit);
            return Ok(BlobAnswer(Source::Held(blob)));
        }
        if let Some(failure) = self.memory.failure(Asked::Blob, &target) {
            self.count(registry, CacheOutcome::Missing);
            return Err(Cause::Upstream(failure));
        }
        let upstream = Arc::clone(self.dialled(registry)?);
        loop {
            let fill = match self.join_fill(&upstream, repository, digest) {
                Found::Arriving(fill) => fill,
                // Kept while this was on its way here.
                Found::Held(blob) => {
                    if self.member(&target).is_none() {
                        self.prove_blob(&target, digest).await?;
                    }
                    self.count(registry, CacheOutcome::Hit);
                    return Ok(BlobAnswer(Source::Held(blob)));
                }
            };
            let ours = is_of(&fill, &target);
            if !member && !ours {
                self.prove_blob(&target, digest).await?;
            }
            match opened(&fill).await {
                // Nothing was sent yet: the failure can be told in words.
                Progress { state: State::Failed(failure), .. } if ours => {
                    return Err(self.remember(Asked::Blob, &target, Arc::unwrap_or_clone(failure)));
                }
                // That was another repository's failure: the next fill is this one's own.
                Progress { state: State::Failed(_), .. } => {}
                Progress { state, size_bytes, .. } => {
                    let passes = matches!(state, State::Unstorable);
                    self.count(registry, if passes { CacheOutcome::PassThrough } else { CacheOutcome::Miss });
                    let repository = repository.clone();
                    return Ok(BlobAnswer(Source::Arriving { fill, size_bytes, upstream, repository }));
                }
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
        let target = content_target(registry, repository, digest);
        let member = self.member(&target);
        if let (Some(_), Some(blob)) = (&member, self.held_blob(digest)) {
            self.count(registry, CacheOutcome::Hit);
            return Ok(blob.size_bytes());
        }
        // On its way through this very repository: its answer told the size.
        let arriving = self.running_fills().get(digest).filter(|fill| is_of(fill, &target)).map(|fill| fill.progress());
        if let Some(Progress { state: State::Receiving | State::Proven, size_bytes: Some(size), .. }) = arriving {
            self.count(registry, CacheOutcome::Hit);
            return Ok(size);
        }
        if let Some(size_bytes) = self.just_proven(member) {
            self.count(registry, CacheOutcome::Hit);
            return Ok(size_bytes);
        }
        if let Some(failure) = self.memory.failure(Asked::Blob, &target) {
            self.count(registry, CacheOutcome::Missing);
            return Err(Cause::Upstream(failure));
        }
        self.count(registry, CacheOutcome::Miss);
        self.prove_blob(&target, digest).await
    }

    /// Whether upstream has just given it for `target`, and the store is at work on it.
    fn is_being_kept(&self, target: &Target, digest: &Digest) -> bool {
        self.running_fills().get(digest).is_some_and(|fill| is_of(fill, target) && fill.is_proven())
    }

    /// The size of what upstream gave a moment ago, by another HEAD say: its word is fresh.
    fn just_proven(&self, member: Option<Member>) -> Option<u64> {
        let member = member?;
        member.proven_at.elapsed().is_ok_and(|age| age < self.config.cache.tag_ttl).then_some(member.size_bytes)
    }

    /// Asks upstream whether this repository gives this blob, and records that it does. Gives its size.
    async fn prove_blob(self: &Arc<Self>, target: &Target, digest: &Digest) -> Result<u64, Cause> {
        let work = || {
            let (cache, target, digest) = (Arc::clone(self), target.clone(), *digest);
            async move { cache.ask_for_blob(&target, digest).await }
        };
        landed(self.rights.join(target, work)).await
    }

    async fn ask_for_blob(&self, target: &Target, digest: Digest) -> Result<u64, Cause> {
        if let Some(failure) = self.memory.failure(Asked::Blob, target) {
            return Err(Cause::Upstream(failure));
        }
        if let Some(size_bytes) = self.just_proven(self.member(target)) {
            return Ok(size_bytes);
        }
        let upstream = self.dialled(&target.registry)?;
        let size_bytes = match upstream.blob_head(&target.repository, &digest).await {
            Ok(head) => head.size_bytes,
            Err(failure) => return Err(self.remember(Asked::Blob, target, failure)),
        };
        if let Some(blob) = self.held_blob(&digest)
            && blob.size_bytes() != size_bytes
        {
            let detail = format!("it gives {size_bytes} bytes as the size of a blob of {}", blob.size_bytes());
            return Err(failure_of_body(upstream, Kind::Malformed, &detail).into());
        }
        let member = Member { media_type: None, size_bytes, proven_at: SystemTime::now(), proof: Proof::Upstream };
        let target = target.clone();
        self.record(move |store| store.prove(&target.registry, &target.repository, &digest, member)).await;
        Ok(size_bytes)
    }

    /// Joins the fill of `digest`, or starts it; unless it has been kept meanwhile.
    fn join_fill(&self, upstream: &Arc<Upstream>, repository: &Repository, digest: &Digest) -> Found {
        let mut fills = self.running_fills();
        if let Some(fill) = fills.get(digest)
            && !matches!(fill.progress().state, State::Failed(_) | State::Unstorable)
        {
            return Found::Arriving(fill.join());
        }
        // A fill leaves the list only after its blob is kept: without this look it would be fetched twice.
        if let Some(blob) = self.held_blob(digest) {
            return Found::Held(blob);
        }
        bound_orphans(&mut fills);
        let fill = Fill::new(*digest, Arc::clone(upstream), repository.clone());
        let readership = fill.join();
        fills.insert(*digest, Arc::clone(&fill));
        drop(fills);
        let (store, metrics) = (Arc::clone(&self.store), Arc::clone(&self.metrics));
        let running = Arc::clone(&self.fills);
        tokio::spawn(async move {
            // A task of its own within, so that the entry goes by panic too; the fill tells its readers by itself.
            let _ = tokio::spawn(Arc::clone(&fill).run(store, metrics)).await;
            fill.set_finished();
            let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
            if running.get(&fill.digest).is_some_and(|other| Arc::ptr_eq(other, &fill)) {
                running.remove(&fill.digest);
            }
        });
        Found::Arriving(readership)
    }

    pub(super) fn running_fills(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Fill>>> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether `fill` fetches by the upstream and repository of `target`: then its 2xx is the proof of the right.
fn is_of(fill: &Fill, target: &Target) -> bool {
    (fill.upstream.registry(), &fill.repository) == (&target.registry, &target.repository)
}

/// Waits for upstream's answer; for the end of what is so small that nothing of it goes out before it is proven.
async fn opened(fill: &Fill) -> Progress {
    let opened = fill.opened().await;
    if opened.size_bytes.is_some_and(|size| size <= WITHHELD_BYTES) { fill.ended().await } else { opened }
}

/// Fills go on when their callers hang up; with too many such, the one with the fewest bytes is given up.
fn bound_orphans(fills: &mut HashMap<Digest, Arc<Fill>>) {
    let orphans = fills.values().filter(|fill| fill.is_orphan() && !fill.is_proven());
    if orphans.clone().count() < ORPHANS_MAX {
        return;
    }
    if let Some(least) = orphans.min_by_key(|fill| fill.progress().deliverable_bytes).cloned() {
        least.abandon();
        // At once, so that nobody joins what is about to end.
        fills.remove(&least.digest);
    }
}
