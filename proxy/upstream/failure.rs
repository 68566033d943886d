//! How an upstream failed, with the evidence.

use crate::oci::Registry;
use std::{
    fmt,
    time::{Duration, Instant},
};

/// A request to an upstream that came to nothing.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Who.
    pub upstream: Registry,
    /// What it amounts to.
    pub kind: Kind,
    /// How far the request came.
    pub step: Step,
    /// The origin that failed: `scheme://host[:port]`, never a query.
    pub host: String,
    /// The status of its answer, if there was one.
    pub status: Option<u16>,
    /// The upstream's `errors[0].code`, cleaned.
    pub code: Option<String>,
    /// The upstream's own words: control characters replaced, cut at 300 characters.
    pub message: Option<String>,
    /// How often it was tried.
    pub attempts: u32,
    /// How long it took in all.
    pub elapsed: Duration,
    /// What `Retry-After` said.
    pub retry_after: Option<Duration>,
    /// The rate limit as the upstream last told it.
    pub rate: Option<RateBudget>,
    /// The place in the configuration of the credential that was shown; `None`: anonymous.
    pub credential: Option<String>,
    /// The network's cause in words, such as `connection refused`.
    pub detail: Option<String>,
}

/// What a failure amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// It is not there.
    NotFound,
    /// The credential as a whole is refused.
    CredentialRefused,
    /// This repository is refused, or does not exist: 401 after a fresh token, or 403.
    RepositoryRefused,
    /// 429.
    RateLimited,
    /// DNS, TCP, TLS, a timeout, 5xx, a cut connection.
    Unavailable,
    /// The bytes are not those of the digest.
    Mismatch,
    /// Refused by us: a foreign realm, an address rule, a redirect loop, a downgrade.
    Refused,
    /// Too large, unparsable or encoded.
    Malformed,
    /// No permit for a fill came in time.
    Busy,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Step {
    Resolve,
    Connect,
    Tls,
    Proxy,
    Token,
    Headers,
    Redirect,
    Body,
}

/// A rate limit as the upstream tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateBudget {
    /// Requests per window.
    pub limit: u64,
    /// What is left of them.
    pub remaining: u64,
    /// The window.
    pub window: Duration,
    /// When it was told.
    pub seen_at: Instant,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed: {:?} at {:?}", self.upstream, self.kind, self.step)
    }
}

impl std::error::Error for Failure {}
