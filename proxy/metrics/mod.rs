//! Every number larder exports, declared once with its help.
//!
//! Labels come from closed sets: names of configured upstreams and the enumerations here. A name that a caller or an
//! upstream chose is never a label.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::{Metric, Registry},
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

/// Name without prefix and suffix, type, help.
pub type Exported = (&'static str, &'static str, &'static str);

/// What is exported, in the order in which `encode` registers it.
pub const EXPORTED: &[Exported] = &[
    ("answers", "counter", "Answers given by the registry door"),
    ("sent_bytes", "counter", "Bytes of bodies sent to callers"),
    ("cache", "counter", "Pulls by how the cache answered"),
    ("upstream_requests", "counter", "Requests sent to upstreams"),
    ("received_bytes", "counter", "Bytes of bodies received from upstreams"),
    ("refused_destinations", "counter", "Realms and redirects refused because they left what an upstream may name"),
    ("rate_remaining", "gauge", "What an upstream says is left of its rate limit"),
    ("fills_running", "gauge", "Fills that run now"),
    ("fills", "counter", "Fills that ended, by how"),
    ("findings", "counter", "Findings told to callers"),
    ("connections", "gauge", "Connections open at the registry door"),
];

impl Metrics {
    /// The text that Prometheus reads (OpenMetrics 1.0).
    ///
    /// # Errors
    /// Only if the writer fails, which a `String` does not.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("larder");
        let mut listed = EXPORTED.iter();
        register(&mut registry, &mut listed, self.answers.clone());
        register(&mut registry, &mut listed, self.sent_bytes.clone());
        register(&mut registry, &mut listed, self.cache.clone());
        register(&mut registry, &mut listed, self.upstream_requests.clone());
        register(&mut registry, &mut listed, self.received_bytes.clone());
        register(&mut registry, &mut listed, self.refused_destinations.clone());
        register(&mut registry, &mut listed, self.rate_remaining.clone());
        register(&mut registry, &mut listed, self.fills_running.clone());
        register(&mut registry, &mut listed, self.fills.clone());
        register(&mut registry, &mut listed, self.findings.clone());
        register(&mut registry, &mut listed, self.connections.clone());
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        Ok(text)
    }
}

fn register(registry: &mut Registry, listed: &mut std::slice::Iter<'_, Exported>, metric: impl Metric) {
    let (name, _, help) = listed.next().expect("as many are listed as are registered");
    registry.register(*name, *help, metric);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_is_exported_under_its_own_name_and_type() {
        let metrics = Metrics::default();
        let upstream = || "docker.io".to_owned();
        drop(metrics.answers.get_or_create(&AnswerLabels { route: Route::Base, status_class: 2 }));
        drop(metrics.cache.get_or_create(&CacheLabels { upstream: upstream(), outcome: CacheOutcome::Hit }));
        let request = UpstreamRequestLabels { upstream: upstream(), kind: UpstreamRequest::Head, status_class: 2 };
        drop(metrics.upstream_requests.get_or_create(&request));
        drop(metrics.received_bytes.get_or_create(&UpstreamLabels { upstream: upstream() }));
        drop(metrics.refused_destinations.get_or_create(&UpstreamLabels { upstream: upstream() }));
        drop(metrics.rate_remaining.get_or_create(&UpstreamLabels { upstream: upstream() }));
        drop(metrics.fills.get_or_create(&FillLabels { upstream: upstream(), end: FillEnd::Kept }));
        drop(metrics.findings.get_or_create(&FindingLabels { code: "unknown", upstream: upstream() }));
        let text = metrics.encode().unwrap();
        for (name, kind, help) in EXPORTED {
            assert!(text.contains(&format!("# TYPE larder_{name} {kind}\n")), "{name} {kind}:\n{text}");
            assert!(text.contains(&format!("# HELP larder_{name} {help}.\n")), "{name}:\n{text}");
        }
        // A sample that stands out of order would carry another's labels.
        for sample in ["answers_total{route=", "fills_total{upstream=\"docker.io\",end=", "findings_total{code="] {
            assert!(text.contains(&format!("larder_{sample}")), "{sample}:\n{text}");
        }
    }
}
