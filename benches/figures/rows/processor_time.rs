//! Processor time that serving large warm blobs costs, by the kernel's own account of the server's processes.

use super::{Bench, Cell, Error, Extent, Figure, faultless, pull_once};
use crate::{
    content::Content,
    load::{self, Request, median},
    peers::{Kind, Setting},
};
use std::time::Duration;

const SIZE: usize = 64 << 20;
const CONNECTIONS: usize = 4;
const DEADLINE: Duration = Duration::from_secs(60);
/// Against nginx.
const RATIO_MAX: f64 = 1.1;

/// The figure.
pub struct ProcessorTime;

impl Figure for ProcessorTime {
    fn id(&self) -> &'static str {
        "processor-time"
    }

    fn title(&self, _: Extent) -> String {
        "processor seconds per GB of warm blob".to_owned()
    }

    fn aim(&self) -> &'static str {
        "<= nginx x 1.1"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Distribution, Kind::NginxCacheLocked, Kind::NginxFiles, Kind::Larder]
    }

    fn measure(&self, bench: &Bench<'_>, kinds: &[Kind]) -> Vec<Cell> {
        let content = Content::blob(64, SIZE);
        bench.origin.publish(&content);
        let setting = Setting { origin: bench.origin, files: &[&content], tag_ttl: Duration::from_secs(60) };
        let answers = bench.extent.pick(32, 128);
        let warm = |server: &_| {
            let request = Request::get(server, &content);
            pull_once(&request)?;
            pull_once(&request)
        };
        let samples = bench.warm(kinds, bench.extent.pick(2, 3), setting, warm, |server| {
            let before = server.processor_seconds();
            let outcome = load::stream(&Request::get(server, &content), CONNECTIONS, answers, DEADLINE)?;
            let after = server.processor_seconds();
            let outcome = faultless(outcome)?;
            let gigabytes = (outcome.first_byte.len() * SIZE) as f64 / 1e9;
            let used = before.zip(after).map_or(f64::NAN, |(before, after)| after - before);
            Ok::<_, Error>((used / gigabytes, gigabytes / outcome.seconds))
        });
        let tell = |kind, samples: Vec<(f64, f64)>| {
            let used: Vec<f64> = samples.iter().map(|(used, _)| *used).collect();
            let speed: Vec<f64> = samples.iter().map(|(_, speed)| *speed).collect();
            let value = median(&used);
            let text = value.map_or_else(String::new, |used| format!("{used:.3}"));
            let details = serde_json::json!({ "processor_seconds_per_gb": used, "gb_per_second": speed });
            Cell { kind, text, value, details }
        };
        samples.into_iter().map(|(kind, samples)| Cell::of(kind, samples, |samples| tell(kind, samples))).collect()
    }

    fn reached(&self, larder: &Cell, peers: &[&Cell]) -> bool {
        let least = peers.iter().filter_map(|peer| peer.value).fold(f64::INFINITY, f64::min);
        larder.value.is_some_and(|used| used <= least * RATIO_MAX)
    }
}
