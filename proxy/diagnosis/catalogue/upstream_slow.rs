//! No answer in time, and the work goes on.

use super::{Class, Diagnosis, Failure, Finding};
use crate::cache::Cause;
use http::StatusCode;
use std::time::Duration;

pub(super) struct UpstreamSlow;

impl Diagnosis for UpstreamSlow {
    fn code(&self) -> &'static str {
        "upstream_slow"
    }

    fn summary(&self) -> &'static str {
        "The upstream has not answered in the time a runtime waits; larder goes on waiting."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Some(Cause::Slow { seconds }) = failure.cause() else { return None };
        let registry = failure.registry()?;
        let sentence = format!("{registry} has not answered for {} within {seconds} s.", failure.wanted());
        let mut finding = Finding::new(self.code(), Class::Unreachable, failure, sentence)
            .status(StatusCode::GATEWAY_TIMEOUT)
            .remedy("larder goes on waiting for it; try again in a moment.");
        finding.retry_after = Some(Duration::from_secs(5));
        Some(finding)
    }
}
