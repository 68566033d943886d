//! How many answers per second come from a warm cache: for manifests and for small blobs, both asked by digest, which
//! spares distribution the question upstream that it asks for every tag.

use super::{Bench, Cell, Extent, Figure, faultless, pull_once};
use crate::{
    content::Content,
    load::{self, Request, median, percentile},
    peers::{Kind, Setting},
};
use std::time::Duration;

/// A manifest of a few layers.
pub const MANIFEST: Rate = Rate { id: "manifest-rate", title: "warm manifest, answers per second" };
/// A blob of 64 KiB.
pub const BLOB: Rate = Rate { id: "blob-rate", title: "warm 64 KiB blob, answers per second" };

/// Connections, each of which asks again as soon as it was answered.
const CONNECTIONS: usize = 100;

/// The figure.
pub struct Rate {
    id: &'static str,
    title: &'static str,
}

impl Figure for Rate {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, _: Extent) -> String {
        self.title.to_owned()
    }

    fn aim(&self) -> &'static str {
        ">= nginx"
    }

    fn less_is_better(&self) -> bool {
        false
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Direct, Kind::Distribution, Kind::NginxCacheLocked, Kind::NginxFiles, Kind::Larder]
    }

    fn measure(&self, bench: &Bench<'_>, kinds: &[Kind]) -> Vec<Cell> {
        let layers: Vec<_> = (0..6).map(|seed| Content::blob(640 + seed, 64 << 10)).collect();
        let content = match self.id {
            "blob-rate" => layers[0].clone(),
            _ => Content::manifest(&layers.iter().collect::<Vec<_>>()),
        };
        bench.origin.publish(&content);
        let setting = Setting { origin: bench.origin, files: &[&content], tag_ttl: Duration::from_secs(600) };
        let duration = bench.extent.pick(Duration::from_secs(1), Duration::from_secs(4));
        let warm = |server: &_| {
            let request = Request::get(server, &content);
            pull_once(&request)?;
            faultless(load::rate(&request, CONNECTIONS, duration / 4)?.1)?;
            pull_once(&request)
        };
        let samples = bench.warm(kinds, bench.extent.pick(2, 3), setting, warm, |server| {
            let before = server.processor_seconds();
            let (rate, outcome) = load::rate(&Request::get(server, &content), CONNECTIONS, duration)?;
            let used = before.zip(server.processor_seconds()).map(|(before, after)| after - before);
            let times = faultless(outcome)?.first_byte;
            let microseconds = used.map_or(0.0, |used| used * 1e6 / times.len() as f64);
            Ok((rate, percentile(&times, 99), microseconds))
        });
        let tell = |kind, samples: Vec<(f64, f64, f64)>| {
            let rates: Vec<f64> = samples.iter().map(|(rate, ..)| *rate).collect();
            let p99: Vec<f64> = samples.iter().map(|(_, p99, _)| *p99).collect();
            // Of one answer; where other work disturbs the machine, it tells more than the rate.
            let used: Vec<f64> = samples.iter().map(|(.., used)| *used).collect();
            let value = median(&rates);
            let mut text = value.map_or_else(String::new, |rate| thousands(rate as u64));
            if let Some(used) = median(&used).filter(|used| *used > 0.0) {
                text += &format!(" ({used:.0} us each)");
            }
            let details =
                serde_json::json!({ "per_second": rates, "p99_seconds": p99, "processor_microseconds": used });
            Cell { kind, text, value, details }
        };
        samples.into_iter().map(|(kind, samples)| Cell::of(kind, samples, |samples| tell(kind, samples))).collect()
    }

    fn reached(&self, larder: &Cell, peers: &[&Cell]) -> bool {
        peers.iter().filter_map(|peer| peer.value).all(|peer| larder.value.is_some_and(|rate| rate >= peer))
    }
}

fn thousands(number: u64) -> String {
    if number < 1000 { number.to_string() } else { format!("{},{:03}", number / 1000, number % 1000) }
}
