//! The tag is not there.

use super::{Class, Diagnosis, Failure, Finding};
use crate::{oci::Reference, upstream::Kind};

pub(super) struct TagMissing;

impl Diagnosis for TagMissing {
    fn code(&self) -> &'static str {
        "tag_missing"
    }

    fn summary(&self) -> &'static str {
        "The upstream answers, but has no such tag."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::NotFound])?;
        let Failure::Pull { target, .. } = failure else { return None };
        let Reference::Tag(tag) = &target.reference else { return None };
        if super::repository_missing::RepositoryMissing.find(failure).is_some() {
            return None;
        }
        let sentence = format!("{} has no tag \"{tag}\" in {}.", upstream.upstream, target.repository);
        Some(
            Finding::new(self.code(), Class::Missing, failure, sentence)
                .remedy("Check the image's name and tag; it may never have been pushed, or was deleted."),
        )
    }
}
