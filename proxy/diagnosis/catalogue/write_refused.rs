//! A push or a deletion.

use super::{Class, Diagnosis, Failure, Finding, words};

pub(super) struct WriteRefused;

impl Diagnosis for WriteRefused {
    fn code(&self) -> &'static str {
        "write_refused"
    }

    fn summary(&self) -> &'static str {
        "The request would write; larder only serves pulls."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Failure::WriteRefused { method } = failure else { return None };
        let sentence = format!("larder is a cache for pulls and does not take {}.", words::quoted(method));
        Some(
            Finding::new(self.code(), Class::Unsupported, failure, sentence)
                .remedy("Push to the registry itself; larder serves the new content once its tag is asked for anew."),
        )
    }
}
