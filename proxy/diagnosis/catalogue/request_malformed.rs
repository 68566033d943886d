//! A request that two readers could understand differently.

use super::{Class, Diagnosis, Failure, Finding};
use crate::oci::ErrorCode;

pub(super) struct RequestMalformed;

impl Diagnosis for RequestMalformed {
    fn code(&self) -> &'static str {
        "request_malformed"
    }

    fn summary(&self) -> &'static str {
        "The request's framing is ambiguous: something between the client and larder damages it, or it is an attack."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Failure::AmbiguousFraming = failure else { return None };
        let sentence = "larder does not take a request whose Transfer-Encoding is anything but one \"chunked\".";
        let finding = Finding::new(self.code(), Class::Malformed, failure, sentence.to_owned());
        Some(finding.oci_code(ErrorCode::Unsupported).remedy("Look at the proxy between the client and larder."))
    }
}
