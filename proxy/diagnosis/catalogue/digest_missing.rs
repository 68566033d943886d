//! The content is not there.

use super::{Class, Diagnosis, Failure, Finding};
use crate::{
    oci::{ErrorCode, Reference},
    upstream::Kind,
};

pub(super) struct DigestMissing;

impl Diagnosis for DigestMissing {
    fn code(&self) -> &'static str {
        "digest_missing"
    }

    fn summary(&self) -> &'static str {
        "The upstream answers, but has no content of this digest in the repository."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::NotFound])?;
        let (target, code, what) = match failure {
            Failure::Pull { target, .. } => (target, ErrorCode::ManifestUnknown, "manifest"),
            Failure::PullBlob { target, .. } => (target, ErrorCode::BlobUnknown, "blob"),
            _ => return None,
        };
        let Reference::Digest(digest) = &target.reference else { return None };
        if super::repository_missing::RepositoryMissing.find(failure).is_some() {
            return None;
        }
        let sentence = format!("{} has no {what} {digest} in {}.", upstream.upstream, target.repository);
        Some(
            Finding::new(self.code(), Class::Missing, failure, sentence)
                .oci_code(code)
                .remedy("It was deleted there, or the digest is from another repository; pull the tag anew."),
        )
    }
}
