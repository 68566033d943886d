//! The words that travel with what upstream did not confirm.

use super::words;
use crate::{
    cache::{Stale, Staleness},
    oci::Registry,
};

/// The code under which it is counted among the findings.
pub fn stale_code(staleness: Staleness) -> &'static str {
    match staleness {
        Staleness::Unreachable => "stale_upstream_unreachable",
        Staleness::Slow => "stale_upstream_slow",
        Staleness::RateLimited => "stale_rate_limited",
        Staleness::CredentialRefused => "stale_credential_refused",
        Staleness::RepositoryRefused => "stale_repository_refused",
        Staleness::Deleted => "stale_tag_deleted",
        Staleness::Offline => "stale_offline",
        Staleness::OnlyPulled => "stale_only_pulled",
    }
}

/// The value of `Warning` (distribution-spec 1.1, "Warnings") for something that is served although `registry` did not
/// confirm it.
pub fn warning(registry: &Registry, stale: &Stale) -> String {
    let cause = match stale.staleness {
        Staleness::Unreachable => "cannot be reached or is in trouble",
        Staleness::Slow => "has not answered yet",
        Staleness::RateLimited => "refuses further pulls for now: its rate limit is used up",
        Staleness::CredentialRefused => "refuses larder's credential",
        Staleness::RepositoryRefused => "refuses this repository",
        Staleness::Deleted => "says that this tag is gone",
        Staleness::Offline => "is not asked: larder is set to offline",
        Staleness::OnlyPulled => "does not give its list now: these are only the tags that were pulled here",
    };
    let confirmed = humantime::format_rfc3339_seconds(stale.checked_at);
    let text = format!("served from larder's cache, last confirmed {confirmed}: {registry} {cause}");
    format!("299 - {}", words::quoted_string(&words::ascii(&text, 400)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn the_warning_says_why_and_since_when() {
        let checked_at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let stale = Stale { staleness: Staleness::Deleted, checked_at };
        assert_eq!(
            warning(&Registry::docker_hub(), &stale),
            "299 - \"served from larder's cache, last confirmed 2023-11-14T22:13:20Z: docker.io says that this tag is gone\""
        );
    }
}
