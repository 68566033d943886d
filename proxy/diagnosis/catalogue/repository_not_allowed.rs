//! The operator's own rule.

use super::{Class, Diagnosis, Failure, Finding};

pub(super) struct RepositoryNotAllowed;

impl Diagnosis for RepositoryNotAllowed {
    fn code(&self) -> &'static str {
        "repository_not_allowed"
    }

    fn summary(&self) -> &'static str {
        "The configuration does not allow this repository to be pulled."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Failure::NotAllowed { target } = failure else { return None };
        let (registry, repository) = (&target.registry, &target.repository);
        let sentence = format!("larder's configuration does not allow {repository} to be pulled from {registry}.");
        let remedy = format!(
            "Whoever runs larder can allow it by repositories_allowed or repositories_denied under \
             [upstream.\"{registry}\"]."
        );
        Some(Finding::new(self.code(), Class::Refused, failure, sentence).remedy(remedy))
    }
}
