//! Which digest a tag names: one request upstream however many ask, and the table of what is served when it fails.

use super::{
    Cache, Cause, HELD_PATIENCE, Stale, content_target,
    freshness::{Decision, Held, Staleness},
    landed,
    memory::{Asked, FOR_EVER, TagState},
};
use crate::{
    metrics::CacheOutcome,
    oci::{Digest, Reference, Tag, Target},
    store::TagRecord,
    upstream::{Failure, Kind, Upstream},
};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::{Instant, timeout};

/// What a tag names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    pub(super) digest: Digest,
    pub(super) stale: Option<Stale>,
}

impl Cache {
    /// The digest that the tag of `target` names.
    pub(super) async fn resolve(self: &Arc<Self>, target: &Target) -> Result<Known, Cause> {
        if let Some(state) = self.memory.tag(target)
            && state.fresh_until > Instant::now()
        {
            let outcome = if state.stale.is_some() { CacheOutcome::Stale } else { CacheOutcome::Hit };
            self.count(&target.registry, outcome);
            return Ok(state.into());
        }
        let work = || {
            let (cache, target) = (Arc::clone(self), target.clone());
            async move { cache.revalidate(&target).await }
        };
        let flight = self.tags.join(target, work);
        let Some(held) = self.held_tag(target) else { return landed(flight).await };
        // What is held is not held back for an upstream that says nothing; its word counts for the next caller.
        match timeout(HELD_PATIENCE, flight).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Cause::Defect),
            Err(_) => {
                let policy = self.policy(self.dialled(&target.registry)?);
                let state = Held { checked_at: held.checked_at, deleted_at: held.deleted_at };
                let last = self.memory.tag(target).and_then(|state| state.stale).map(|stale| stale.staleness);
                if !policy.serves_unasked(state, last, SystemTime::now()) {
                    return Err(Cause::Slow { seconds: HELD_PATIENCE.as_secs() });
                }
                self.count(&target.registry, CacheOutcome::Stale);
                let stale = Some(Stale { staleness: Staleness::Slow, checked_at: held.checked_at });
                Ok(Known { digest: held.digest, stale })
            }
        }
    }

    pub(super) fn held_tag(&self, target: &Target) -> Option<TagRecord> {
        match &target.reference {
            Reference::Tag(tag) => self.readable(self.store.tag(&target.registry, &target.repository, tag)),
            Reference::Digest(_) => None,
        }
    }

    async fn revalidate(self: &Arc<Self>, target: &Target) -> Result<Known, Cause> {
        let Reference::Tag(tag) = &target.reference else { return Err(Cause::Defect) };
        let remembered = self.memory.tag(target);
        if let Some(state) = remembered
            && state.fresh_until > Instant::now()
        {
            return Ok(state.into());
        }
        if let Some(failure) = self.memory.failure(Asked::Manifest, target) {
            self.count(&target.registry, CacheOutcome::Missing);
            return Err(Cause::Upstream(failure));
        }
        let held = self.held_tag(target);
        if let Some(held) = &held
            && remembered.is_none()
            && let Some(life) = self.life_left(target, tag, held)
        {
            self.count(&target.registry, CacheOutcome::Hit);
            return Ok(self.know(target, held.digest, life, None));
        }
        let upstream = match (self.dialled(&target.registry), &held) {
            (Ok(upstream), _) => Arc::clone(upstream),
            (Err(_), Some(held)) => return Ok(self.serve_offline(target, held)),
            (Err(cause), None) => return Err(cause),
        };
        match self.ask(&upstream, target, tag, held.as_ref()).await {
            Ok(digest) => Ok(self.confirm(&upstream, target, tag, held, digest).await),
            Err(failure) => self.unconfirmed(&upstream, target, tag, held, failure).await,
        }
    }

    /// For how long what an earlier run confirmed is still good.
    fn life_left(&self, target: &Target, tag: &Tag, held: &TagRecord) -> Option<Duration> {
        if self.is_immutable(tag) {
            return Some(FOR_EVER);
        }
        let policy = self.policy(self.dialled(&target.registry).ok()?);
        policy.life_left(held.checked_at, SystemTime::now()).filter(|_| held.deleted_at.is_none())
    }

    fn is_immutable(&self, tag: &Tag) -> bool {
        self.config.cache.tags_immutable.iter().any(|pattern| pattern.matches(tag.as_str()))
    }

    /// Upstream's word on the tag. Where something of the repository is held, HEAD comes first: it costs no rate limit
    /// and often tells of a digest that is held already.
    async fn ask(
        self: &Arc<Self>,
        upstream: &Upstream,
        target: &Target,
        tag: &Tag,
        held: Option<&TagRecord>,
    ) -> Result<Digest, Failure> {
        let knows_repository =
            held.is_some() || self.store.knows_repository(&target.registry, &target.repository).unwrap_or(false);
        if knows_repository {
            match upstream.manifest_head(&target.repository, &target.reference).await {
                Ok(head) => {
                    if let Some(digest) = head.digest
                        && self.is_held(target, &digest)
                    {
                        return Ok(digest);
                    }
                }
                // Some registries answer HEAD with 404 for what GET gives; and only GET brings upstream's words.
                Err(failure) if failure.kind == Kind::NotFound => {}
                Err(failure) => return Err(failure),
            }
        }
        let body = upstream.manifest(&target.repository, &Reference::Tag(tag.clone())).await?;
        Ok(self.take_in(target, body).await.digest)
    }

    /// Whether the manifest `digest` can be served in the repository of `target` without upstream.
    pub(super) fn is_held(&self, target: &Target, digest: &Digest) -> bool {
        let content = content_target(&target.registry, &target.repository, digest);
        self.memory.manifest(&content).is_some()
            || (self.member(&content).is_some_and(|member| member.media_type.is_some())
                && self.held_blob(digest).is_some())
    }

    async fn confirm(
        &self,
        upstream: &Upstream,
        target: &Target,
        tag: &Tag,
        held: Option<TagRecord>,
        digest: Digest,
    ) -> Known {
        let renewed = held.as_ref().is_some_and(|held| held.digest == digest);
        self.count(&target.registry, if renewed { CacheOutcome::Renewed } else { CacheOutcome::Miss });
        let history = held.map(|held| held.history).unwrap_or_default();
        let record = TagRecord { digest, checked_at: SystemTime::now(), deleted_at: None, history };
        self.record_tag(target, tag, record).await;
        let life =
            if self.is_immutable(tag) { FOR_EVER } else { self.policy(upstream).life(upstream.rate_budget().as_ref()) };
        self.know(target, digest, life, None)
    }

    /// The design's table: what is served when upstream does not confirm.
    async fn unconfirmed(
        &self,
        upstream: &Upstream,
        target: &Target,
        tag: &Tag,
        held: Option<TagRecord>,
        failure: Failure,
    ) -> Result<Known, Cause> {
        let Some(held) = held else {
            return Err(self.remember(Asked::Manifest, target, failure));
        };
        let state = Held { checked_at: held.checked_at, deleted_at: held.deleted_at };
        let decision = self.policy(upstream).decide(state, &failure, SystemTime::now());
        match decision {
            Decision::Serve(staleness, retry_after) => {
                tracing::warn!(image = %target, reason = ?staleness, detail = failure.detail, status = failure.status,
                    "upstream did not confirm this tag: the cached one is served");
                if staleness == Staleness::CredentialRefused {
                    tracing::error!(upstream.registry = %target.registry, credential = failure.credential,
                        "upstream refuses larder's credential: what is cached is served for 24 h at most");
                }
                if staleness == Staleness::Deleted && held.deleted_at.is_none() {
                    let record = TagRecord { deleted_at: Some(SystemTime::now()), ..held.clone() };
                    self.record_tag(target, tag, record).await;
                }
                self.count(&target.registry, CacheOutcome::Stale);
                let stale = Stale { staleness, checked_at: held.checked_at };
                Ok(self.know(target, held.digest, retry_after, Some(stale)))
            }
            Decision::Tell => Err(self.remember(Asked::Manifest, target, failure)),
            Decision::Withdraw => {
                let gone = target.clone();
                self.record(move |store| store.withdraw(&gone.registry, &gone.repository)).await;
                self.memory.withdraw(target);
                Err(self.remember(Asked::Manifest, target, failure))
            }
        }
    }

    fn serve_offline(&self, target: &Target, held: &TagRecord) -> Known {
        self.count(&target.registry, CacheOutcome::Stale);
        let stale = Stale { staleness: Staleness::Offline, checked_at: held.checked_at };
        self.know(target, held.digest, Duration::ZERO, Some(stale))
    }

    fn know(&self, target: &Target, digest: Digest, life: Duration, stale: Option<Stale>) -> Known {
        let state = TagState { digest, fresh_until: Instant::now() + life, stale };
        self.memory.set_tag(target, state);
        state.into()
    }

    async fn record_tag(&self, target: &Target, tag: &Tag, record: TagRecord) {
        let (target, tag) = (target.clone(), tag.clone());
        self.record(move |store| store.set_tag(&target.registry, &target.repository, &tag, record)).await;
    }
}

impl From<TagState> for Known {
    fn from(state: TagState) -> Self {
        Self { digest: state.digest, stale: state.stale }
    }
}
