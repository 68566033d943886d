//! The directory failed.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::cache::Cause;
use std::error::Error;

pub(super) struct StoreFailed;

/// So that a chain which refers to itself ends.
const SOURCES_MAX: usize = 5;

impl Diagnosis for StoreFailed {
    fn code(&self) -> &'static str {
        "store_failed"
    }

    fn summary(&self) -> &'static str {
        "larder's own directory cannot be read or written."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Some(Cause::Store(error)) = failure.cause() else { return None };
        let first: &dyn Error = &**error;
        let told: Vec<String> = std::iter::successors(Some(first), |error| (*error).source())
            .take(SOURCES_MAX)
            .map(|error| words::clean(&error.to_string()))
            .collect();
        let sentence = format!("larder could not serve {}: its own directory failed.", failure.wanted());
        let mut finding = Finding::new(self.code(), Class::Ours, failure, sentence)
            .remedy("The fault is neither the image's nor the registry's: see larder's log and its disk.");
        finding.evidence.push(("store", told.join(": ")));
        Some(finding)
    }
}
