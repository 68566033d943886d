//! Answers from the store, or by a fetch that runs exactly once.
//!
//! What is asked for is looked up by (registry, repository) first: bytes are shared by digest, the right to them is not.
//! Requests that the store cannot answer join the one piece of work under way for the same thing ([`flight`]); blobs are
//! read while they arrive ([`fill`]). When upstream does not confirm what is held, [`freshness`] decides.
//!
//! Deliberately absent: words for people (`diagnosis`) and anything of HTTP's callers (`server`).

mod blob;
mod content;
mod error;
mod fill;
mod flight;
mod freshness;
mod listing;
mod manifest;
mod memory;
mod pass;
mod room;
mod slice;
mod tag;

pub use blob::BlobAnswer;
pub use content::{Content, Interrupted};
pub use error::Cause;
pub use freshness::Staleness;
pub use listing::Listing;
pub use manifest::ManifestAnswer;

use crate::{
    config::Config,
    metrics::{CacheLabels, CacheOutcome, Metrics},
    oci::{Digest, Reference, Registry, Repository, Target},
    store::{self, Blob, Member, Store},
    upstream::{Upstream, Upstreams},
};
use fill::Fill;
use flight::Flights;
use freshness::Policy;
use memory::{Memory, TagState};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Something is served that upstream did not confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stale {
    /// Why.
    pub staleness: Staleness,
    /// When upstream last confirmed it.
    pub checked_at: SystemTime,
}

/// The cache: the one place that decides between the store and upstream.
pub struct Cache {
    config: Arc<Config>,
    store: Arc<Store>,
    upstreams: Arc<Upstreams>,
    metrics: Arc<Metrics>,
    memory: Memory,
    tags: Flights<Target, Result<tag::Known, Cause>>,
    manifests: Flights<Target, Result<Arc<manifest::Held>, Cause>>,
    rights: Flights<Target, Result<u64, Cause>>,
    listings: Flights<listing::Key, Result<Listing, Cause>>,
    fills: Arc<Mutex<HashMap<Digest, Arc<Fill>>>>,
}

/// How long a caller waits for upstream's word on something that is held.
const HELD_PATIENCE: Duration = Duration::from_secs(3);

/// Fills that nobody waits for go on, up to this many.
const ORPHANS_MAX: usize = 32;

impl Cache {
    /// A cache over `store` that fetches from `upstreams`.
    pub fn new(config: Arc<Config>, store: Arc<Store>, upstreams: Arc<Upstreams>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self {
            config,
            store,
            upstreams,
            metrics,
            memory: Memory::new(),
            tags: Flights::new(),
            manifests: Flights::new(),
            rights: Flights::new(),
            listings: Flights::new(),
            fills: Arc::default(),
        })
    }

    /// Forgets how fresh `target` is and that names in its repository were missing: the next to ask will ask upstream.
    pub fn refresh(&self, target: &Target) {
        self.memory.refresh(target);
        if let Some(held) = self.held_tag(target) {
            self.memory.set_tag(target, TagState { digest: held.digest, fresh_until: Instant::now(), stale: None });
        }
    }

    /// Waits until what was proven is kept, so that an orderly stop loses nothing that was delivered. Fills that are
    /// still running are given up with the process. At most `patience`.
    pub async fn settle(&self, patience: Duration) {
        let proven: Vec<Arc<Fill>> = self.running_fills().values().filter(|fill| fill.is_proven()).cloned().collect();
        let kept = futures_util::future::join_all(proven.iter().map(|fill| fill.finished()));
        if tokio::time::timeout(patience, kept).await.is_err() {
            tracing::warn!("some blobs were delivered and could not be kept before the end");
        }
    }

    /// The upstream of this name, if larder may dial it.
    fn dialled(&self, registry: &Registry) -> Result<&Arc<Upstream>, Cause> {
        match self.upstreams.get(registry) {
            Some(upstream) if !self.config.cache.offline && !upstream.config().offline => Ok(upstream),
            _ => Err(Cause::Offline),
        }
    }

    fn policy(&self, upstream: &Upstream) -> Policy {
        Policy::new(&self.config.cache, upstream.config())
    }

    /// What was read of the store, or nothing where it cannot be read: upstream may still give it.
    fn readable<T>(&self, read: Result<Option<T>, store::Error>) -> Option<T> {
        read.unwrap_or_else(|error| {
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "the store could not be read: upstream is asked as if nothing were held");
            None
        })
    }

    fn member(&self, target: &Target) -> Option<Member> {
        let Reference::Digest(digest) = &target.reference else { return None };
        self.readable(self.store.member(&target.registry, &target.repository, digest))
    }

    fn held_blob(&self, digest: &Digest) -> Option<Blob> {
        self.readable(self.store.blob(digest))
    }

    /// Runs store work that reaches the disk where it may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, Cause> {
        let store = Arc::clone(&self.store);
        match tokio::task::spawn_blocking(move || work(&store)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(Cause::Defect),
        }
    }

    /// Runs store work whose failure costs durability only: what was proven is served all the same.
    async fn record(&self, work: impl FnOnce(&Store) -> Result<(), store::Error> + Send + 'static) {
        if let Err(cause) = self.blocking(work).await {
            let cause: &dyn std::error::Error = &cause;
            tracing::warn!(cause, "what upstream said could not be recorded; it is served and will be asked for again");
        }
    }

    fn count(&self, registry: &Registry, outcome: CacheOutcome) {
        self.metrics.cache.get_or_create(&CacheLabels { upstream: registry.to_string(), outcome }).inc();
    }
}

/// The outcome of a flight. Whoever calls may stop waiting: the work goes on and has its own deadlines.
async fn landed<T>(flight: impl Future<Output = Option<Result<T, Cause>>>) -> Result<T, Cause> {
    flight.await.unwrap_or(Err(Cause::Defect))
}

/// Who asks for what content: the key of rights.
fn content_target(registry: &Registry, repository: &Repository, digest: &Digest) -> Target {
    Target { registry: registry.clone(), repository: repository.clone(), reference: Reference::Digest(*digest) }
}
