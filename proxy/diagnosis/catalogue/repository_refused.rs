//! The upstream does not give this repository to us.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::upstream::Kind;

pub(super) struct RepositoryRefused;

impl Diagnosis for RepositoryRefused {
    fn code(&self) -> &'static str {
        "repository_refused"
    }

    fn summary(&self) -> &'static str {
        "The upstream refuses this repository: it does not exist or needs other credentials. Most registries do not \
         say which."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::RepositoryRefused])?;
        let (registry, repository) = (&upstream.upstream, failure.repository()?);
        let (sentence, remedy) = match &upstream.credential {
            None => (
                format!(
                    "{registry} refused {repository} to anonymous callers: it does not exist or needs credentials."
                ),
                format!("Check the name, or give larder an account under [[upstream.\"{registry}\".credentials]]."),
            ),
            Some(place) => (
                format!(
                    "{registry} refused {repository} to the account of {}: it does not exist or that account may not \
                     pull it.",
                    words::clean(place)
                ),
                "Check the name, or let that account pull it.".to_owned(),
            ),
        };
        Some(Finding::new(self.code(), Class::Refused, failure, sentence).remedy(remedy))
    }
}
