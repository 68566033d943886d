//! The whole repository is not there.

use super::{Class, Diagnosis, Failure, Finding};
use crate::{oci::ErrorCode, upstream::Kind};

pub(super) struct RepositoryMissing;

impl Diagnosis for RepositoryMissing {
    fn code(&self) -> &'static str {
        "repository_missing"
    }

    fn summary(&self) -> &'static str {
        "The upstream says that it has no such repository."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::NotFound])?;
        let named = upstream.code.as_deref() == Some(ErrorCode::NameUnknown.as_str());
        if !named && !matches!(failure, Failure::List { .. }) {
            return None;
        }
        let sentence = format!("{} has no repository {}.", upstream.upstream, failure.repository()?);
        Some(
            Finding::new(self.code(), Class::Missing, failure, sentence)
                .oci_code(ErrorCode::NameUnknown)
                .remedy("Check the image's name."),
        )
    }
}
