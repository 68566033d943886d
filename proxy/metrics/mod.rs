//! Every number larder exports, declared once with its help.
//!
//! Labels come from closed sets: names of configured upstreams and the enumerations here. A name that a caller or an
//! upstream chose is never a label.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::fmt;

/// The numbers, shared by all modules.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Answers given by the registry door.
    pub answers: Family<AnswerLabels, Counter>,
    /// Bytes of bodies sent to callers.
    pub sent_bytes: Counter,
    /// Pulls answered from the cache, by how.
    pub cache: Family<CacheLabels, Counter>,
    /// Requests sent to upstreams.
    pub upstream_requests: Family<UpstreamRequestLabels, Counter>,
    /// Bytes of bodies received from upstreams.
    pub received_bytes: Family<UpstreamLabels, Counter>,
    /// Realms and redirects that were refused because they left what an upstream may name.
    pub refused_destinations: Family<UpstreamLabels, Counter>,
    /// What an upstream says is left of its rate limit.
    pub rate_remaining: Family<UpstreamLabels, Gauge>,
    /// Fills that run now.
    pub fills_running: Gauge,
    /// Fills that ended, by how.
    pub fills: Family<FillLabels, Counter>,
    /// Findings told to callers.
    pub findings: Family<FindingLabels, Counter>,
    /// Connections open at the registry door.
    pub connections: Gauge,
}

/// Route and status class of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AnswerLabels {
    /// What was asked for.
    pub route: Route,
    /// The hundreds of the status: 2, 3, 4 or 5.
    pub status_class: u8,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)]
pub enum Route {
    Base,
    Manifest,
    Blob,
    Tags,
    Referrers,
    Other,
}

/// Upstream and outcome of a look in the cache.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CacheLabels {
    /// A configured upstream.
    pub upstream: String,
    /// How the answer came about.
    pub outcome: CacheOutcome,
}

/// How an answer came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum CacheOutcome {
    /// Held and fresh.
    Hit,
    /// Held, and upstream confirmed it.
    Renewed,
    /// Held, and served although upstream could not confirm it.
    Stale,
    /// Fetched.
    Miss,
    /// Remembered as missing.
    Missing,
    /// Streamed past a cache that could not keep it.
    PassThrough,
}

/// A configured upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpstreamLabels {
    /// Its name.
    pub upstream: String,
}

/// A request to an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpstreamRequestLabels {
    /// A configured upstream.
    pub upstream: String,
    /// `HEAD`, `GET` or `TOKEN`.
    pub kind: UpstreamRequest,
    /// The hundreds of the status; 0 where none came.
    pub status_class: u8,
}

/// What kind of request it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[allow(missing_docs)]
pub enum UpstreamRequest {
    Head,
    Get,
    Token,
}

/// Upstream and end of a fill.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FillLabels {
    /// A configured upstream.
    pub upstream: String,
    /// How it ended.
    pub end: FillEnd,
}

/// How a fill ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum FillEnd {
    /// Proven and kept.
    Kept,
    /// Proven, delivered, but not kept: the store could not.
    NotKept,
    /// Its bytes were not those of the digest.
    Mismatch,
    /// Upstream did not give it whole.
    Failed,
}

/// A finding by its code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct FindingLabels {
    /// Its code in the catalogue.
    pub code: &'static str,
    /// A configured upstream, or nothing.
    pub upstream: String,
}

impl Metrics {
    /// The text that Prometheus reads (OpenMetrics 1.0).
    ///
    /// # Errors
    /// Only if the writer fails, which a `String` does not.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("larder");
        registry.register("answers", "Answers given by the registry door", self.answers.clone());
        registry.register("sent_bytes", "Bytes of bodies sent to callers", self.sent_bytes.clone());
        registry.register("cache", "Pulls by how the cache answered", self.cache.clone());
        registry.register("upstream_requests", "Requests sent to upstreams", self.upstream_requests.clone());
        registry.register("received_bytes", "Bytes of bodies received from upstreams", self.received_bytes.clone());
        registry.register(
            "refused_destinations",
            "Realms and redirects refused because they left what an upstream may name",
            self.refused_destinations.clone(),
        );
        registry.register(
            "rate_remaining",
            "What an upstream says is left of its rate limit",
            self.rate_remaining.clone(),
        );
        registry.register("fills_running", "Fills that run now", self.fills_running.clone());
        registry.register("fills", "Fills that ended, by how", self.fills.clone());
        registry.register("findings", "Findings told to callers", self.findings.clone());
        registry.register("connections", "Connections open at the registry door", self.connections.clone());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}
