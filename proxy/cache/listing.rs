//! Answers that are lists and not content: the tags of a repository, the referrers of a digest. Cached, stale and offline
//! like tags.

use super::{
    Cache, Cause, HELD_PATIENCE, Stale,
    freshness::{Decision, Held, Staleness},
    landed,
    memory::Asked,
};
use crate::{
    metrics::CacheOutcome,
    oci::{Digest, MediaType, Reference, Registry, Repository, Tag, Target},
    store::Document,
    upstream::{Failure, Kind, ManifestBody, Upstream},
};
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::time::timeout;

/// A list as upstream last gave it.
#[derive(Debug, Clone)]
pub struct Listing {
    /// A JSON array of tags, sorted; or an image index of referrers.
    pub bytes: Bytes,
    /// Set if upstream did not confirm it.
    pub stale: Option<Stale>,
}

/// Which list of which repository.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    registry: Registry,
    repository: Repository,
    list: List,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum List {
    Tags,
    Referrers(Digest),
}

impl Cache {
    /// All tags of a repository, sorted as the specification wants them ("Listing Tags": lexically).
    ///
    /// # Errors
    /// When upstream does not give them and none are held.
    pub async fn tags(self: &Arc<Self>, registry: &Registry, repository: &Repository) -> Result<Listing, Cause> {
        self.list(Key { registry: registry.clone(), repository: repository.clone(), list: List::Tags }).await
    }

    /// The referrers of a digest: an image index, empty if there are none.
    ///
    /// # Errors
    /// When upstream does not give them and none are held.
    pub async fn referrers(
        self: &Arc<Self>,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Listing, Cause> {
        let list = List::Referrers(*digest);
        self.list(Key { registry: registry.clone(), repository: repository.clone(), list }).await
    }

    async fn list(self: &Arc<Self>, key: Key) -> Result<Listing, Cause> {
        let held = self.held_list(&key);
        if let Some(listing) = held.as_ref().and_then(|held| self.at_hand(&key, held)) {
            return Ok(listing);
        }
        let work = || {
            let (cache, key) = (Arc::clone(self), key.clone());
            async move { cache.relist(&key).await }
        };
        let flight = self.listings.join(&key, work);
        let Some(held) = held else { return landed(flight).await };
        match timeout(HELD_PATIENCE, flight).await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(Cause::Defect),
            Err(_) => {
                let policy = self.policy(self.dialled(&key.registry)?);
                if !policy.serves_unasked(state(&held, None), None, SystemTime::now()) {
                    return Err(Cause::Slow { seconds: HELD_PATIENCE.as_secs() });
                }
                Ok(self.serve_stale(&key, &held, Staleness::Slow, Duration::ZERO))
            }
        }
    }

    fn held_list(&self, key: &Key) -> Option<Document> {
        self.readable(self.store.document(&key.registry, &key.repository, &key.name()))
    }

    /// What needs no word of upstream's: it is fresh, or upstream failed a moment ago.
    fn at_hand(&self, key: &Key, held: &Document) -> Option<Listing> {
        let listing = |stale| Listing { bytes: held.bytes.clone(), stale };
        if let Some(stale) = self.memory.stale_list(key) {
            self.count(&key.registry, CacheOutcome::Stale);
            return Some(listing(Some(stale)));
        }
        let policy = self.policy(self.dialled(&key.registry).ok()?);
        policy.life_left(held.fetched_at, SystemTime::now())?;
        self.count(&key.registry, CacheOutcome::Hit);
        Some(listing(None))
    }

    async fn relist(self: &Arc<Self>, key: &Key) -> Result<Listing, Cause> {
        let held = self.held_list(key);
        if let Some(listing) = held.as_ref().and_then(|held| self.at_hand(key, held)) {
            return Ok(listing);
        }
        if let Some(failure) = self.memory.failure(Asked::List, &key.target()) {
            self.count(&key.registry, CacheOutcome::Missing);
            return Err(Cause::Upstream(failure));
        }
        let upstream = match (self.dialled(&key.registry), &held) {
            (Ok(upstream), _) => Arc::clone(upstream),
            (Err(_), Some(held)) => return Ok(self.serve_stale(key, held, Staleness::Offline, Duration::ZERO)),
            (Err(cause), None) => return self.tags_held(key, cause),
        };
        let fetched = match key.list {
            List::Tags => upstream.tags(&key.repository).await.map(|tags| tags_json(&tags)),
            List::Referrers(digest) => self.fetch_referrers(&upstream, key, &digest).await,
        };
        match fetched {
            Ok(bytes) => {
                self.count(&key.registry, CacheOutcome::Miss);
                self.keep_list(key, bytes.clone()).await?;
                Ok(Listing { bytes, stale: None })
            }
            Err(failure) => self.unconfirmed_list(&upstream, key, held, failure),
        }
    }

    async fn keep_list(&self, key: &Key, bytes: Bytes) -> Result<(), Cause> {
        let media_type = MediaType::parse(key.media_type()).ok_or(Cause::Defect)?;
        let document = Document { media_type, bytes, headers: Vec::new(), fetched_at: SystemTime::now() };
        let at = key.clone();
        self.record(move |store| store.set_document(&at.registry, &at.repository, &at.name(), document)).await;
        Ok(())
    }

    fn unconfirmed_list(
        &self,
        upstream: &Upstream,
        key: &Key,
        held: Option<Document>,
        failure: Failure,
    ) -> Result<Listing, Cause> {
        if let Some(held) = held {
            match self.policy(upstream).decide(state(&held, Some(&failure)), &failure, SystemTime::now()) {
                Decision::Serve(staleness, retry_after) => {
                    return Ok(self.serve_stale(key, &held, staleness, retry_after));
                }
                Decision::Tell | Decision::Withdraw => {}
            }
        }
        let cause = self.remember(Asked::List, &key.target(), failure);
        self.tags_held(key, cause)
    }

    fn serve_stale(&self, key: &Key, held: &Document, staleness: Staleness, retry_after: Duration) -> Listing {
        self.count(&key.registry, CacheOutcome::Stale);
        let stale = Stale { staleness, checked_at: held.fetched_at };
        self.memory.set_stale_list(key, stale, retry_after);
        Listing { bytes: held.bytes.clone(), stale: Some(stale) }
    }

    /// No list was ever read, but tags may have been pulled one by one: those are known while upstream gives nothing.
    fn tags_held(&self, key: &Key, cause: Cause) -> Result<Listing, Cause> {
        let gives_nothing = match &cause {
            Cause::Offline => true,
            Cause::Upstream(failure) => matches!(failure.kind, Kind::Unavailable | Kind::RateLimited),
            _ => false,
        };
        if !gives_nothing || key.list != List::Tags {
            return Err(cause);
        }
        let mut held = self.store.tags(&key.registry, &key.repository)?;
        held.retain(|(_, record)| record.deleted_at.is_none());
        let Some(checked_at) = held.iter().map(|(_, record)| record.checked_at).max() else { return Err(cause) };
        self.count(&key.registry, CacheOutcome::Stale);
        let tags: Vec<Tag> = held.into_iter().map(|(tag, _)| tag).collect();
        Ok(Listing { bytes: tags_json(&tags), stale: Some(Stale { staleness: Staleness::OnlyPulled, checked_at }) })
    }

    /// The referrers API, or the tag schema where upstream has none (distribution-spec 1.1, "Unavailable Referrers API").
    async fn fetch_referrers(
        self: &Arc<Self>,
        upstream: &Upstream,
        key: &Key,
        digest: &Digest,
    ) -> Result<Bytes, Failure> {
        if let Some(body) = upstream.referrers(&key.repository, digest).await? {
            return Ok(body.bytes);
        }
        let reference = Reference::Tag(Tag::of_referrers(digest));
        match upstream.manifest(&key.repository, &reference).await {
            Ok(ManifestBody { bytes, media_type, digest }) => {
                let target = Target { registry: key.registry.clone(), repository: key.repository.clone(), reference };
                let body = ManifestBody { bytes: bytes.clone(), media_type, digest };
                self.take_in(&target, body).await;
                Ok(bytes)
            }
            Err(failure) if failure.kind == Kind::NotFound => Ok(Bytes::from_static(NO_REFERRERS)),
            Err(failure) => Err(failure),
        }
    }
}

/// A list that upstream no longer has was there when it was last given.
fn state(held: &Document, failure: Option<&Failure>) -> Held {
    let gone = failure.is_some_and(|failure| failure.kind == Kind::NotFound);
    Held { checked_at: held.fetched_at, deleted_at: gone.then_some(held.fetched_at) }
}

const NO_REFERRERS: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}"#;

impl Key {
    /// What it is remembered by.
    fn target(&self) -> Target {
        let reference = match &self.list {
            List::Tags => Reference::Tag(Tag::latest()),
            List::Referrers(digest) => Reference::Digest(*digest),
        };
        Target { registry: self.registry.clone(), repository: self.repository.clone(), reference }
    }

    fn name(&self) -> String {
        match &self.list {
            List::Tags => "tags".to_owned(),
            List::Referrers(digest) => format!("referrers/{digest}"),
        }
    }

    fn media_type(&self) -> &'static str {
        match &self.list {
            List::Tags => "application/json",
            List::Referrers(_) => MediaType::OCI_INDEX,
        }
    }
}

fn tags_json(tags: &[Tag]) -> Bytes {
    let mut names: Vec<&str> = tags.iter().map(Tag::as_str).collect();
    names.sort_unstable();
    names.dedup();
    Bytes::from(serde_json::to_vec(&names).expect("a list of strings is JSON"))
}

impl Listing {
    /// The tags, if this is a list of tags.
    pub fn tags(&self) -> Vec<String> {
        serde_json::from_slice(&self.bytes).unwrap_or_default()
    }
}
