//! No such route.

use super::{Class, Diagnosis, Failure, Finding};
use crate::oci::ErrorCode;
use http::StatusCode;

pub(super) struct RouteUnknown;

impl Diagnosis for RouteUnknown {
    fn code(&self) -> &'static str {
        "route_unknown"
    }

    fn summary(&self) -> &'static str {
        "The path is not one of the registry API's pull routes."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        matches!(failure, Failure::UnknownRoute).then(|| {
            let sentence = "larder has no such path: it serves manifests, blobs, tags and referrers below /v2/.";
            Finding::new(self.code(), Class::Malformed, failure, sentence.to_owned())
                .status(StatusCode::NOT_FOUND)
                .oci_code(ErrorCode::Unsupported)
        })
    }
}
