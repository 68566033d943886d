//! Too much at once.

use super::{Class, Diagnosis, Failure, Finding};
use crate::{oci::ErrorCode, upstream::Kind};
use http::StatusCode;
use std::time::Duration;

pub(super) struct Busy;

impl Diagnosis for Busy {
    fn code(&self) -> &'static str {
        "busy"
    }

    fn summary(&self) -> &'static str {
        "larder has as many fetches running as it may, and none ended in time."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        failure.upstream_of(&[Kind::Busy])?;
        let registry = failure.registry()?;
        let sentence = format!(
            "larder fetches as much from {registry} as it may at once, so {} had to wait too long.",
            failure.wanted()
        );
        let mut finding = Finding::new(self.code(), Class::Ours, failure, sentence)
            .status(StatusCode::SERVICE_UNAVAILABLE)
            .oci_code(ErrorCode::Unavailable)
            .remedy(format!("Try again; if it lasts, raise fills_max under [upstream.\"{registry}\"]."));
        finding.retry_after = Some(Duration::from_secs(1));
        Some(finding)
    }
}
