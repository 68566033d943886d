//! An answer that cannot be passed on.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::upstream::Kind;
use http::StatusCode;

pub(super) struct UpstreamWrong;

impl Diagnosis for UpstreamWrong {
    fn code(&self) -> &'static str {
        "upstream_wrong"
    }

    fn summary(&self) -> &'static str {
        "The upstream sent bytes that are not those of the digest, or an answer that is none; nothing of it was kept."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::Mismatch, Kind::Malformed])?;
        let (registry, host) = (&upstream.upstream, words::clean(&upstream.host));
        let detail =
            upstream.detail.as_deref().map(|detail| format!(" ({})", words::clean(detail))).unwrap_or_default();
        let (sentence, remedy) = match upstream.kind {
            Kind::Mismatch => (
                format!(
                    "{registry} sent wrong bytes for {}: {host} sent what does not have the digest asked for{detail}.",
                    failure.wanted()
                ),
                "larder kept none of it. Look for a proxy or registry on the way that alters or damages content.",
            ),
            _ => (
                format!(
                    "{registry} answered {} with what is no registry's answer: {host} sent it{detail}.",
                    failure.wanted()
                ),
                "Check that the upstream's url leads to a registry and not to a login page or a proxy's error page.",
            ),
        };
        Some(
            Finding::new(self.code(), Class::Unreachable, failure, sentence)
                .status(StatusCode::BAD_GATEWAY)
                .remedy(remedy),
        )
    }
}
