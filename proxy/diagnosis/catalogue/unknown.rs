//! What no other cause explains.

use super::{Class, Diagnosis, Failure, Finding, words};
use crate::upstream::Kind;
use http::StatusCode;

pub(super) struct Unknown;

const CODE: &str = "unknown";

impl Diagnosis for Unknown {
    fn code(&self) -> &'static str {
        CODE
    }

    fn summary(&self) -> &'static str {
        "larder cannot tell the cause; the evidence is all it knows."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        Some(finding(failure))
    }
}

/// Says honestly that the cause is not known, with what is.
pub(in crate::diagnosis) fn finding(failure: &Failure) -> Finding {
    let Some(upstream) = failure.upstream() else {
        let sentence = format!("larder could not serve {} and cannot tell why.", failure.wanted());
        return Finding::new(CODE, Class::Ours, failure, sentence).remedy("See larder's log.");
    };
    let status = upstream.status.map(|status| format!(", status {status}")).unwrap_or_default();
    let sentence = format!(
        "{} did not give {}, and larder cannot tell why: {}{status}.",
        upstream.upstream,
        failure.wanted(),
        words::clean(&upstream.host)
    );
    // Never told as missing: only NotFound is, and it has entries of its own.
    let class = if upstream.kind == Kind::NotFound { Class::Missing } else { Class::Unreachable };
    let finding = Finding::new(CODE, class, failure, sentence);
    if class == Class::Missing { finding } else { finding.status(StatusCode::BAD_GATEWAY) }
}
