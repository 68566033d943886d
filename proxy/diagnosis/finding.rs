//! What diagnosis says.

use super::{Failure, words};
use crate::{
    oci::{ErrorCode, Registry},
    upstream,
};
use http::StatusCode;
use std::time::Duration;

/// One cause, found: everything that is told about it comes from here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The cause's name in the catalogue.
    pub code: &'static str,
    /// What happened, to whom.
    pub sentence: String,
    /// What to do.
    pub remedy: Option<String>,
    /// What it rests on.
    pub evidence: Vec<(&'static str, String)>,
    /// The code of the error body.
    pub oci_code: ErrorCode,
    /// What kind of failure it is: decides how the status is shaped.
    pub class: Class,
    /// The status as the specification has it.
    pub status: StatusCode,
    /// The configured upstream it is about.
    pub upstream: Option<Registry>,
    /// When to come back, where upstream told it.
    pub retry_after: Option<Duration>,
}

const UPSTREAM_MESSAGE: &str = "upstream_message";

/// What kind of failure a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// The request makes no sense.
    Malformed,
    /// It is not there.
    Missing,
    /// It may not be had: refused, not configured, not allowed.
    Refused,
    /// larder does not do this.
    Unsupported,
    /// Too often.
    RateLimited,
    /// The upstream cannot be reached, is broken or answers wrongly.
    Unreachable,
    /// larder's own fault.
    Ours,
}

impl Finding {
    /// A finding with the evidence that the failure carries, and the usual status and code of its class.
    pub(super) fn new(code: &'static str, class: Class, failure: &Failure, sentence: String) -> Self {
        let (status, oci_code) = class.usual();
        Self {
            code,
            sentence,
            remedy: None,
            evidence: failure.upstream().map(evidence).unwrap_or_default(),
            oci_code,
            class,
            status,
            upstream: failure.registry().cloned(),
            retry_after: failure.upstream().and_then(|failure| failure.retry_after),
        }
    }

    pub(super) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(super) fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub(super) fn oci_code(mut self, oci_code: ErrorCode) -> Self {
        self.oci_code = oci_code;
        self
    }

    /// Sentence and remedy, as people read them, and behind them the upstream's own words where they may tell more than
    /// that something is missing.
    pub fn message(&self) -> String {
        let mut message = self.sentence.clone();
        if let Some(remedy) = &self.remedy {
            message.push(' ');
            message.push_str(remedy);
        }
        let said = self.evidence.iter().find(|(name, _)| *name == UPSTREAM_MESSAGE);
        if let (Some((_, said)), Some(upstream)) = (said, &self.upstream)
            && self.class != Class::Missing
        {
            message.push_str(&format!(" {upstream}'s own words: {}", words::quoted(said)));
        }
        message
    }
}

impl Class {
    fn usual(self) -> (StatusCode, ErrorCode) {
        match self {
            Self::Malformed => (StatusCode::BAD_REQUEST, ErrorCode::NameInvalid),
            Self::Missing => (StatusCode::NOT_FOUND, ErrorCode::ManifestUnknown),
            Self::Refused => (StatusCode::FORBIDDEN, ErrorCode::Denied),
            Self::Unsupported => (StatusCode::METHOD_NOT_ALLOWED, ErrorCode::Unsupported),
            Self::RateLimited => (StatusCode::TOO_MANY_REQUESTS, ErrorCode::TooManyRequests),
            Self::Unreachable => (StatusCode::SERVICE_UNAVAILABLE, ErrorCode::Unavailable),
            Self::Ours => (StatusCode::INTERNAL_SERVER_ERROR, ErrorCode::Unknown),
        }
    }
}

fn evidence(failure: &upstream::Failure) -> Vec<(&'static str, String)> {
    let mut evidence = vec![
        ("host", words::clean(&failure.host)),
        ("step", format!("{:?}", failure.step).to_lowercase()),
        ("attempts", failure.attempts.to_string()),
        ("elapsed", words::duration(failure.elapsed)),
        ("credential", failure.credential.as_deref().map_or_else(|| "anonymous".to_owned(), words::clean)),
    ];
    let status = failure.status.map(|status| status.to_string());
    let retry_after = failure.retry_after.map(words::duration);
    let rate = failure
        .rate
        .map(|rate| format!("limit {} per {}, {} left", rate.limit, words::duration(rate.window), rate.remaining));
    let optional = [
        ("status", status),
        ("upstream_code", failure.code.as_deref().map(words::clean)),
        (UPSTREAM_MESSAGE, failure.message.as_deref().map(words::clean)),
        ("detail", failure.detail.as_deref().map(words::clean)),
        ("retry_after", retry_after),
        ("rate", rate),
    ];
    evidence.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    evidence
}
