//! When a tag is asked for again, and what is served when upstream does not give it: the design's table of tags as a
//! function. Pure.

use crate::{
    config,
    upstream::{Failure, Kind, RateBudget},
};
use std::time::{Duration, SystemTime};

/// How long a tag stays served while the whole credential is refused: long enough for a human to see the alarm.
const CREDENTIAL_REFUSED_MAX: Duration = Duration::from_hours(24);

/// How long a right that upstream once granted outlives upstream's word that it is gone.
const GRANT_LIFE: Duration = Duration::from_hours(1);

/// After a failure upstream is asked for the same tag again no sooner than this, or than `tag_ttl` where that is less.
const RETRY_AFTER: Duration = Duration::from_secs(10);

/// How long this upstream's tags live, and for how long they may outlive it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub(super) tag_ttl: Duration,
    pub(super) stale_max: Duration,
    pub(super) keep_deleted: Duration,
}

/// What is held of a tag.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    /// When upstream last confirmed it.
    pub(super) checked_at: SystemTime,
    /// When upstream first said that it is gone.
    pub(super) deleted_at: Option<SystemTime>,
}

/// What to do with what is held when upstream does not confirm it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    /// Serve it, say why it is stale, and ask again after this long.
    Serve(Staleness, Duration),
    /// It may not be served: tell upstream's failure.
    Tell,
    /// As [`Decision::Tell`], and the right to all of this repository is gone.
    Withdraw,
}

/// Why something is served that upstream did not confirm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staleness {
    /// Upstream could not be reached, or answered with its own trouble.
    Unreachable,
    /// Upstream has not answered yet.
    Slow,
    /// Upstream's rate limit is used up.
    RateLimited,
    /// Upstream refuses larder's credential.
    CredentialRefused,
    /// Upstream refuses this repository, and its last grant is not an hour old.
    RepositoryRefused,
    /// Upstream says that the tag is gone.
    Deleted,
    /// larder may not dial this upstream.
    Offline,
    /// Upstream does not give its list of tags: these are those that were pulled.
    OnlyPulled,
}

impl Policy {
    pub(super) fn new(cache: &config::Cache, upstream: &config::Upstream) -> Self {
        Self {
            tag_ttl: upstream.tag_ttl.unwrap_or(cache.tag_ttl),
            stale_max: cache.stale_max,
            keep_deleted: cache.keep_deleted,
        }
    }

    /// How long a tag that was just confirmed is not asked for again: longer as the rate budget shrinks.
    pub(super) fn life(&self, budget: Option<&RateBudget>) -> Duration {
        let factor = match budget {
            Some(budget) if budget.limit > 0 => match budget.remaining * 100 / budget.limit {
                0..10 => 10,
                10..25 => 4,
                25..50 => 2,
                _ => 1,
            },
            _ => 1,
        };
        self.tag_ttl * factor
    }

    /// For how much longer a tag that upstream confirmed at `checked_at` is not asked for again: what a restart leaves.
    /// A time that lies ahead was written by another clock and counts for nothing.
    pub(super) fn life_left(&self, checked_at: SystemTime, now: SystemTime) -> Option<Duration> {
        self.tag_ttl.checked_sub(now.duration_since(checked_at).ok()?)
    }

    /// Whether `held` may be served while upstream's word is waited for. `last` is why it was stale before, if it was.
    pub(super) fn serves_unasked(&self, held: Held, last: Option<Staleness>, now: SystemTime) -> bool {
        let max = match last {
            Some(Staleness::CredentialRefused) => CREDENTIAL_REFUSED_MAX,
            Some(Staleness::RepositoryRefused) => GRANT_LIFE,
            _ => self.stale_max,
        };
        !self.is_gone(held, now) && age(held.checked_at, now) <= max
    }

    /// Whether upstream has said for longer than `keep_deleted` that it is gone.
    fn is_gone(&self, held: Held, now: SystemTime) -> bool {
        held.deleted_at.is_some_and(|since| age(since, now) >= self.keep_deleted)
    }

    /// What becomes of `held` when upstream answers with `failure`.
    pub(super) fn decide(&self, held: Held, failure: &Failure, now: SystemTime) -> Decision {
        if self.is_gone(held, now) {
            return Decision::Tell;
        }
        let retry = RETRY_AFTER.min(self.tag_ttl);
        let unconfirmed = age(held.checked_at, now);
        let within = |max: Duration, staleness, retry| {
            if unconfirmed <= max { Decision::Serve(staleness, retry) } else { Decision::Tell }
        };
        match failure.kind {
            Kind::Unavailable | Kind::Busy | Kind::Mismatch | Kind::Refused | Kind::Malformed => {
                within(self.stale_max, Staleness::Unreachable, retry)
            }
            Kind::RateLimited => {
                let retry = failure.retry_after.unwrap_or(retry).clamp(retry, Duration::from_mins(15));
                within(self.stale_max, Staleness::RateLimited, retry)
            }
            Kind::CredentialRefused => within(CREDENTIAL_REFUSED_MAX, Staleness::CredentialRefused, retry),
            Kind::RepositoryRefused if unconfirmed <= GRANT_LIFE => {
                Decision::Serve(Staleness::RepositoryRefused, retry)
            }
            Kind::RepositoryRefused => Decision::Withdraw,
            Kind::NotFound if self.keep_deleted.is_zero() => Decision::Tell,
            Kind::NotFound => Decision::Serve(Staleness::Deleted, self.tag_ttl),
        }
    }
}

/// A clock that was set back makes things fresh rather than ancient.
fn age(since: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(since).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{oci::Registry, upstream::Step};

    const MINUTE: Duration = Duration::from_mins(1);
    const DAY: Duration = Duration::from_hours(24);

    fn failure(kind: Kind) -> Failure {
        Failure::new(&Registry::docker_hub(), kind, Step::Headers, "https://registry-1.docker.io")
    }

    #[test]
    fn the_table_of_tags_row_by_row() {
        let policy = Policy { tag_ttl: MINUTE, stale_max: DAY * 30, keep_deleted: DAY * 30 };
        let now = SystemTime::now();
        let retry = RETRY_AFTER;
        let rows = [
            (Kind::Unavailable, DAY * 29, None, Decision::Serve(Staleness::Unreachable, retry)),
            (Kind::Unavailable, DAY * 31, None, Decision::Tell),
            (Kind::RateLimited, DAY * 29, None, Decision::Serve(Staleness::RateLimited, retry)),
            (Kind::RateLimited, DAY * 31, None, Decision::Tell),
            (Kind::CredentialRefused, DAY - MINUTE, None, Decision::Serve(Staleness::CredentialRefused, retry)),
            (Kind::CredentialRefused, DAY + MINUTE, None, Decision::Tell),
            (Kind::RepositoryRefused, MINUTE * 59, None, Decision::Serve(Staleness::RepositoryRefused, retry)),
            (Kind::RepositoryRefused, MINUTE * 61, None, Decision::Withdraw),
            (Kind::NotFound, DAY * 60, None, Decision::Serve(Staleness::Deleted, MINUTE)),
            (Kind::NotFound, DAY * 60, Some(DAY * 29), Decision::Serve(Staleness::Deleted, MINUTE)),
            (Kind::NotFound, DAY * 60, Some(DAY * 31), Decision::Tell),
            (Kind::Unavailable, DAY, Some(DAY * 31), Decision::Tell),
        ];
        for (kind, unconfirmed, deleted, expected) in rows {
            let held = Held { checked_at: now - unconfirmed, deleted_at: deleted.map(|ago| now - ago) };
            assert_eq!(policy.decide(held, &failure(kind), now), expected, "{kind:?} {unconfirmed:?} {deleted:?}");
        }
    }

    #[test]
    fn a_tag_of_before_a_restart_lives_on_for_what_is_left_of_its_life() {
        let policy = Policy { tag_ttl: MINUTE, stale_max: DAY, keep_deleted: DAY };
        let now = SystemTime::now();
        assert_eq!(policy.life_left(now - Duration::from_secs(20), now), Some(Duration::from_secs(40)));
        assert_eq!(policy.life_left(now - MINUTE * 2, now), None);
        assert_eq!(policy.life_left(now + DAY, now), None);
    }

    #[test]
    fn what_was_refused_does_not_come_back_because_upstream_is_slow() {
        let policy = Policy { tag_ttl: MINUTE, stale_max: DAY * 30, keep_deleted: DAY };
        let now = SystemTime::now();
        let held = |ago, deleted_at| Held { checked_at: now - ago, deleted_at };
        assert!(policy.serves_unasked(held(DAY * 2, None), None, now));
        assert!(!policy.serves_unasked(held(DAY * 31, None), None, now));
        assert!(!policy.serves_unasked(held(DAY * 2, None), Some(Staleness::CredentialRefused), now));
        assert!(!policy.serves_unasked(held(MINUTE * 61, None), Some(Staleness::RepositoryRefused), now));
        assert!(!policy.serves_unasked(held(DAY * 2, Some(now - DAY)), None, now));
    }

    #[test]
    fn a_clock_set_back_a_year_does_not_make_tags_stale() {
        let policy = Policy { tag_ttl: MINUTE, stale_max: DAY, keep_deleted: DAY };
        let now = SystemTime::now();
        let held = Held { checked_at: now + DAY * 365, deleted_at: None };
        assert!(matches!(policy.decide(held, &failure(Kind::Unavailable), now), Decision::Serve(..)));
    }
}
