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
    oci::{Digest, Registry, Repository, Target},
    store::{self, Store},
    upstream::{Upstream, Upstreams},
};
use fill::Fill;
use flight::Flights;
use freshness::Policy;
use memory::Memory;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

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

/// An answer's headers leave within 10 s. This is what is left of that after larder's own share.
const ANSWER_SECONDS_MAX: u64 = 9;

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

/// Waits for `work` as long as an answer may take. The work itself goes on.
async fn in_time<T>(work: impl Future<Output = Option<Result<T, Cause>>>) -> Result<T, Cause> {
    match tokio::time::timeout(Duration::from_secs(ANSWER_SECONDS_MAX), work).await {
        Ok(Some(outcome)) => outcome,
        Ok(None) => Err(Cause::Defect),
        Err(_) => Err(Cause::Slow { seconds: ANSWER_SECONDS_MAX }),
    }
}

/// Who asks for what content: the key of rights.
fn content_target(registry: &Registry, repository: &Repository, digest: &Digest) -> Target {
    Target {
        registry: registry.clone(),
        repository: repository.clone(),
        reference: crate::oci::Reference::Digest(*digest),
    }
}
