//! A name in the request is none.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::oci::ErrorCode;
use http::StatusCode;

pub(super) struct NameInvalid;

impl Diagnosis for NameInvalid {
    fn code(&self) -> &'static str {
        "name_invalid"
    }

    fn summary(&self) -> &'static str {
        "A registry, repository, tag or digest in the request is not a valid one."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Failure::InvalidName(error) = failure else { return None };
        let sentence = format!("{} is no {}: {}.", words::quoted(&error.text), error.noun, error.problem);
        let finding = Finding::new(self.code(), Class::Malformed, failure, sentence)
            .remedy("Correct the image's name: repositories are lower case.");
        Some(match error.noun {
            // Such a tag can exist nowhere, and the specification's own tests want it to be missing.
            "tag" => finding
                .status(StatusCode::NOT_FOUND)
                .oci_code(ErrorCode::ManifestUnknown)
                .remedy("Correct the tag: letters, digits, dots, dashes and underscores, at most 128."),
            "digest" => finding
                .oci_code(ErrorCode::DigestInvalid)
                .remedy("Correct the digest: sha256: and 64 lower-case hex digits."),
            _ => finding,
        })
    }
}
