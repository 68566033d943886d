//! What upstream is asked while nodes pull a tag that the cache holds: HEAD of the tag, then GET by digest, as
//! containerd does. Measured within the tag's lifetime, and over several short ones.

use super::{Bench, Cell, Error, Extent, Figure, faultless, pull_once};
use crate::{
    content::Content,
    load::{self, Request},
    peers::{Kind, Server, Setting},
};
use std::time::Duration;

const CONNECTIONS: usize = 10;
/// The lifetime within which the pulls happen.
const TTL: Duration = Duration::from_secs(60);
/// The lifetime that the pulls outlast.
const TTL_SHORT: Duration = Duration::from_secs(2);
/// Between two pulls of one node, while lifetimes pass.
const PAUSE: Duration = Duration::from_millis(100);

/// The figure.
pub struct TagPulls;

struct Sample {
    pulls: usize,
    upstream: u64,
    seconds: f64,
}

impl Figure for TagPulls {
    fn id(&self) -> &'static str {
        "tag-pulls"
    }

    fn title(&self, _: Extent) -> String {
        "upstream requests per warm tag pull".to_owned()
    }

    fn aim(&self) -> &'static str {
        "<= 1 per TTL"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Distribution, Kind::NginxCacheLocked, Kind::Larder]
    }

    fn measure(&self, bench: &Bench<'_>, kinds: &[Kind]) -> Vec<Cell> {
        let layer = Content::blob(640, 64 << 10);
        let manifest = Content::manifest(&[&layer]);
        bench.origin.publish(&manifest);
        let pulls = |server: &Server, count: usize, pause: Duration| {
            let requests = [Request::head_of_tag(server, &manifest), Request::get(server, &manifest)];
            faultless(load::pull_tags(&requests, 1, 1, Duration::ZERO)?)?;
            pull_once(&requests[1])?;
            bench.origin.take_counts();
            let outcome = faultless(load::pull_tags(&requests, CONNECTIONS, count, pause)?)?;
            let counts = bench.origin.take_counts();
            let (pulls, upstream) = (outcome.first_byte.len(), counts.get + counts.head);
            Ok::<_, Error>(Sample { pulls, upstream, seconds: outcome.seconds })
        };
        let setting = |tag_ttl| Setting { origin: bench.origin, files: &[], tag_ttl };
        let within =
            bench.cold(kinds, 1, setting(TTL), |server| pulls(server, bench.extent.pick(500, 2000), Duration::ZERO));
        // distribution asks for every tag, whenever it asked last: no lifetime to outlast.
        let lasting: Vec<Kind> = kinds.iter().copied().filter(|kind| *kind != Kind::Distribution).collect();
        let mut over =
            bench.cold(&lasting, 1, setting(TTL_SHORT), |server| pulls(server, bench.extent.pick(500, 1000), PAUSE));
        let tell = |(kind, within): (Kind, Result<Vec<Sample>, Error>)| {
            let over = over.iter().position(|(other, _)| *other == kind).map(|index| over.swap_remove(index).1);
            let both = within.and_then(|within| Ok((within, over.transpose()?.unwrap_or_default())));
            Cell::of(kind, both, |(within, over)| tell(kind, &within, &over))
        };
        within.into_iter().map(tell).collect()
    }

    fn reached(&self, larder: &Cell, _: &[&Cell]) -> bool {
        larder.detail("upstream_within_ttl") <= 1.0 && larder.detail("upstream_per_ttl") <= 1.0
    }
}

fn tell(kind: Kind, within: &[Sample], over: &[Sample]) -> Cell {
    let pulls: usize = within.iter().map(|sample| sample.pulls).sum();
    let upstream: u64 = within.iter().map(|sample| sample.upstream).sum();
    let per_pull = upstream as f64 / pulls as f64;
    let mut text = format!("{per_pull:.3} ({upstream} in {pulls} pulls)");
    let per_ttl = over.first().map(|sample| {
        // A lifetime that has begun counts as one.
        sample.upstream as f64 / (sample.seconds / TTL_SHORT.as_secs_f64()).ceil()
    });
    if let Some(per_ttl) = per_ttl {
        text += &format!(", {per_ttl:.2} per TTL");
    }
    let seconds: f64 = within.iter().map(|sample| sample.seconds).sum();
    let details = serde_json::json!({
        "per_pull": per_pull, "pulls_within_ttl": pulls, "upstream_within_ttl": upstream,
        "pulls_per_second": pulls as f64 / seconds, "upstream_per_ttl": per_ttl,
    });
    Cell { kind, text, value: Some(per_pull), details }
}
