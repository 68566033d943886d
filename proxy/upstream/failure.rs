//! An upstream that did not give what it was asked for, with all evidence and no explanation.

use super::RateBudget;
use crate::{oci::Registry, transport};
use std::time::Duration;

/// What an upstream, or the way to it, made of a request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The configured upstream.
    pub upstream: Registry,
    /// What kind of failure it is.
    pub kind: Kind,
    /// Where it happened.
    pub step: Step,
    /// The origin that failed, `scheme://host[:port]`; never a path or query.
    pub host: String,
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// Upstream's `errors[0].code`, cleaned.
    pub code: Option<String>,
    /// Upstream's own words: control characters replaced, cut at 300 characters, without what was shown to it.
    pub message: Option<String>,
    /// How many times upstream was asked.
    pub attempts: u32,
    /// From the question to the failure.
    pub elapsed: Duration,
    /// How long upstream wants to be left alone.
    pub retry_after: Option<Duration>,
    /// What is left of upstream's rate limit, as far as it said.
    pub rate: Option<RateBudget>,
    /// The place in the configuration of the credential that was shown; `None`: anonymous.
    pub credential: Option<String>,
    /// The cause in words where it is not upstream's answer: `connection refused`, `certificate expired`.
    pub detail: Option<String>,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Upstream has no such repository, tag or digest.
    NotFound,
    /// The credential as a whole is not accepted.
    CredentialRefused,
    /// This repository is refused, or does not exist: many upstreams do not tell which.
    RepositoryRefused,
    /// Too many requests.
    RateLimited,
    /// No answer, or none that is one: DNS, TCP, TLS, time, 5xx, cut.
    Unavailable,
    /// The bytes are not those of the digest.
    Mismatch,
    /// Refused by larder: a foreign realm, an address rule, a redirect that may not be followed, offline.
    Refused,
    /// An answer that cannot be understood: too large, unparsable, encoded.
    Malformed,
    /// Too many fetches from this upstream are running.
    Busy,
}

/// Where a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Resolving the name, or checking the address.
    Resolve,
    /// Connecting.
    Connect,
    /// Agreeing on TLS.
    Tls,
    /// Asking the proxy.
    Proxy,
    /// Getting a token.
    Token,
    /// Waiting for the headers of the answer, or reading them.
    Headers,
    /// Following a redirect.
    Redirect,
    /// Reading the body.
    Body,
}

impl From<transport::Step> for Step {
    fn from(step: transport::Step) -> Self {
        match step {
            transport::Step::Resolve => Self::Resolve,
            transport::Step::Connect => Self::Connect,
            transport::Step::Tls => Self::Tls,
            transport::Step::Proxy => Self::Proxy,
            transport::Step::Headers => Self::Headers,
            transport::Step::Body => Self::Body,
        }
    }
}

impl Step {
    fn as_str(self) -> &'static str {
        match self {
            Self::Resolve => "resolving",
            Self::Connect => "connecting",
            Self::Tls => "agreeing on TLS",
            Self::Proxy => "asking the proxy",
            Self::Token => "getting a token",
            Self::Headers => "waiting for the answer",
            Self::Redirect => "following a redirect",
            Self::Body => "reading the body",
        }
    }
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not found",
            Self::CredentialRefused => "credential refused",
            Self::RepositoryRefused => "repository refused",
            Self::RateLimited => "rate limited",
            Self::Unavailable => "unavailable",
            Self::Mismatch => "bytes do not match their digest",
            Self::Refused => "refused by larder",
            Self::Malformed => "answer not understood",
            Self::Busy => "too many fetches are running",
        }
    }
}

impl Failure {
    /// A failure of one attempt at `host`, without further evidence.
    pub fn new(upstream: &Registry, kind: Kind, step: Step, host: impl Into<String>) -> Self {
        Self {
            upstream: upstream.clone(),
            kind,
            step,
            host: host.into(),
            status: None,
            code: None,
            message: None,
            attempts: 1,
            elapsed: Duration::ZERO,
            retry_after: None,
            rate: None,
            credential: None,
            detail: None,
        }
    }

    /// With its cause in words.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    pub(super) fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {} while {} at {}", self.upstream, self.kind.as_str(), self.step.as_str(), self.host)?;
        if let Some(status) = self.status {
            write!(f, ", status {status}")?;
        }
        match &self.detail {
            Some(detail) => write!(f, ": {detail}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Failure {}

/// A failure, and whether asking again may help.
#[derive(Debug, Clone)]
pub(super) struct Trouble {
    pub(super) failure: Failure,
    pub(super) again: Again,
}

/// Whether asking again may help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Again {
    /// It is an answer.
    No,
    /// At another URL of the upstream.
    Elsewhere,
    /// At the same URL too.
    Here,
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, again: Again::No }
    }
}
