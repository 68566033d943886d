//! The upstream sent us where we do not go.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::upstream::{Kind, Step};
use http::StatusCode;

pub(super) struct DestinationRefused;

impl Diagnosis for DestinationRefused {
    fn code(&self) -> &'static str {
        "destination_refused"
    }

    fn summary(&self) -> &'static str {
        "The upstream named a token service or a redirect that larder's rules exclude."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::Refused])?;
        let (registry, host) = (&upstream.upstream, words::clean(&upstream.host));
        let detail =
            upstream.detail.as_deref().map(|detail| format!(" ({})", words::clean(detail))).unwrap_or_default();
        let (sentence, remedy) = match upstream.step {
            Step::Token => (
                format!(
                    "{registry} named the token service {host}, which larder does not trust with credentials{detail}."
                ),
                format!("If it is right, add it to trusted_realms under [upstream.\"{registry}\"]."),
            ),
            _ => (
                format!("{registry} sent larder on to {host}, where it does not go{detail}."),
                "Redirects must stay on https, end, and not lead to addresses of larder's own machine or network."
                    .to_owned(),
            ),
        };
        Some(
            Finding::new(self.code(), Class::Unreachable, failure, sentence)
                .status(StatusCode::BAD_GATEWAY)
                .remedy(remedy),
        )
    }
}
