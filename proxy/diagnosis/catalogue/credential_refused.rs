//! The account itself is refused.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::upstream::Kind;

pub(super) struct CredentialRefused;

impl Diagnosis for CredentialRefused {
    fn code(&self) -> &'static str {
        "credential_refused"
    }

    fn summary(&self) -> &'static str {
        "The upstream refuses larder's credential as a whole: every image of it is affected."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let upstream = failure.upstream_of(&[Kind::CredentialRefused])?;
        let registry = &upstream.upstream;
        let (sentence, remedy) = match &upstream.credential {
            Some(place) => (
                format!(
                    "{registry} refused larder's credential, not this image: user name or password of {} are wrong or \
                     expired.",
                    words::clean(place)
                ),
                "Whoever runs larder has to renew it; every image of this registry that is not held is affected.",
            ),
            None => (
                format!(
                    "{registry} refused to let anonymous callers in at all, so {} cannot be pulled.",
                    failure.wanted()
                ),
                "Whoever runs larder has to give it an account for this registry.",
            ),
        };
        Some(Finding::new(self.code(), Class::Refused, failure, sentence).remedy(remedy))
    }
}
