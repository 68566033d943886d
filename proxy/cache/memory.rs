//! What is kept in memory over the store: bounded, and gone with the process.

use super::{Stale, listing, manifest::Held};
use crate::{
    oci::{Digest, Target},
    upstream::{Failure, Kind},
};
use quick_cache::{Weighter, sync::Cache};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// What is known of a tag at the moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct TagState {
    pub(super) digest: Digest,
    /// Until then upstream is not asked.
    pub(super) fresh_until: Instant,
    pub(super) stale: Option<Stale>,
}

pub(super) struct Memory {
    tags: Cache<Target, TagState>,
    manifests: Cache<Target, Arc<Held>, ByBytes>,
    failures: Cache<(Asked, Target), Remembered>,
    stale_lists: Cache<listing::Key, (Instant, Stale)>,
}

/// Which namespace was asked: a digest missing among manifests may be there among blobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Asked {
    Manifest,
    Blob,
    List,
}

type Remembered = (Instant, Arc<Failure>);

#[derive(Clone)]
struct ByBytes;

impl Weighter<Target, Arc<Held>> for ByBytes {
    fn weight(&self, _: &Target, held: &Arc<Held>) -> u64 {
        held.bytes.len() as u64 + 256
    }
}

const TAGS_MAX: usize = 100_000;
const MANIFESTS_BYTES_MAX: u64 = 64 << 20;
const FAILURES_MAX: usize = 20_000;
const LISTS_MAX: usize = 10_000;

/// A refusal is remembered no longer than this: the remedy is often on its way.
const REFUSAL_SECONDS_MAX: Duration = Duration::from_secs(5);
/// A rate limit is remembered as long as upstream asks for, within these bounds.
const RATE_LIMIT_SECONDS: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(60));

/// A tag that is never asked for again: about a century.
pub(super) const FOR_EVER: Duration = Duration::from_hours(24 * 365 * 100);

impl Memory {
    pub(super) fn new() -> Self {
        Self {
            tags: Cache::new(TAGS_MAX),
            manifests: Cache::with_weighter(10_000, MANIFESTS_BYTES_MAX, ByBytes),
            failures: Cache::new(FAILURES_MAX),
            stale_lists: Cache::new(LISTS_MAX),
        }
    }

    pub(super) fn tag(&self, target: &Target) -> Option<TagState> {
        self.tags.get(target)
    }

    pub(super) fn set_tag(&self, target: &Target, state: TagState) {
        self.tags.insert(target.clone(), state);
    }

    pub(super) fn manifest(&self, target: &Target) -> Option<Arc<Held>> {
        self.manifests.get(target)
    }

    pub(super) fn set_manifest(&self, target: &Target, held: Arc<Held>) {
        self.manifests.insert(target.clone(), held);
    }

    /// The failure that upstream would tell again.
    pub(super) fn failure(&self, asked: Asked, target: &Target) -> Option<Arc<Failure>> {
        let key = (asked, target.clone());
        let (until, failure) = self.failures.get(&key)?;
        if until > Instant::now() {
            return Some(failure);
        }
        self.failures.remove(&key);
        None
    }

    /// Remembers `failure` if it is of a kind that upstream would tell again.
    pub(super) fn set_failure(&self, asked: Asked, target: &Target, failure: &Arc<Failure>, missing_ttl: Duration) {
        let life = match failure.kind {
            Kind::NotFound => missing_ttl,
            Kind::CredentialRefused | Kind::RepositoryRefused => missing_ttl.min(REFUSAL_SECONDS_MAX),
            Kind::RateLimited => {
                let (least, most) = RATE_LIMIT_SECONDS;
                failure.retry_after.unwrap_or(least).clamp(least, most)
            }
            Kind::Unavailable | Kind::Mismatch | Kind::Refused | Kind::Malformed | Kind::Busy => return,
        };
        self.failures.insert((asked, target.clone()), (Instant::now() + life, Arc::clone(failure)));
    }

    /// Why a list is stale, while upstream need not be asked again.
    pub(super) fn stale_list(&self, key: &listing::Key) -> Option<Stale> {
        self.stale_lists.get(key).filter(|(until, _)| *until > Instant::now()).map(|(_, stale)| stale)
    }

    pub(super) fn set_stale_list(&self, key: &listing::Key, stale: Stale, retry_after: Duration) {
        self.stale_lists.insert(key.clone(), (Instant::now() + retry_after, stale));
    }

    /// Whatever was known of this repository's missing names and of this target's freshness is forgotten.
    pub(super) fn refresh(&self, target: &Target) {
        self.failures
            .retain(|(_, known), _| (&known.registry, &known.repository) != (&target.registry, &target.repository));
        if let Some(state) = self.tags.get(target) {
            self.tags.insert(target.clone(), TagState { fresh_until: Instant::now(), ..state });
        }
    }

    /// Whatever was read of this repository is no longer at hand: the right to it is gone.
    pub(super) fn withdraw(&self, target: &Target) {
        let same = |known: &Target| (&known.registry, &known.repository) == (&target.registry, &target.repository);
        self.tags.retain(|known, _| !same(known));
        self.manifests.retain(|known, _| !same(known));
    }
}
