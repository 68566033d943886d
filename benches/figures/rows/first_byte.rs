//! A blob takes upstream seconds to send. Callers that come while one fill runs: how long until they have the first
//! byte of it?

use super::{Bench, Cell, Extent, Figure, faultless};
use crate::{
    content::Content,
    load::{self, Request, percentile},
    peers::{Kind, Setting},
};
use std::time::Duration;

/// Callers that come late.
const CALLERS: u32 = 200;
/// Small, so that what is measured is waiting and not copying.
const SIZE: usize = 8 << 20;
/// Some peers answer only after two fills in a row.
const DEADLINE: Duration = Duration::from_secs(60);
/// What larder should stay under.
const P99_MAX_SECONDS: f64 = 0.25;

/// The figure.
pub struct FirstByte;

impl FirstByte {
    /// How long upstream takes. nginx gives up its lock after 5 s, so less would hide what it does.
    fn fill(extent: Extent) -> Duration {
        extent.pick(Duration::from_secs(6), Duration::from_secs(8))
    }
}

impl Figure for FirstByte {
    fn id(&self) -> &'static str {
        "first-byte"
    }

    fn title(&self, extent: Extent) -> String {
        let seconds = Self::fill(extent).as_secs();
        format!("first byte of {CALLERS} late callers while a fill takes {seconds} s")
    }

    fn aim(&self) -> &'static str {
        "p99 < 250 ms"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Distribution, Kind::NginxCache, Kind::NginxCacheLocked, Kind::Larder]
    }

    fn measure(&self, bench: &Bench<'_>, kinds: &[Kind]) -> Vec<Cell> {
        let content = Content::blob(8, SIZE);
        let fill = Self::fill(bench.extent);
        bench.origin.publish_paced(&content, fill);
        let setting = Setting { origin: bench.origin, files: &[], tag_ttl: Duration::from_secs(60) };
        // The first caller starts the fill and is one of the callers, but not one of the late ones.
        let late = (0..CALLERS).map(|index| fill.mul_f64(0.05 + 0.75 * f64::from(index) / f64::from(CALLERS)));
        let late: Vec<_> = late.collect();
        let samples = bench.cold(kinds, 1, setting, |server| {
            let request = Request::get(server, &content);
            let first = request.clone();
            let fill = std::thread::spawn(move || load::herd(&first, &[Duration::ZERO], DEADLINE));
            let outcome = load::herd(&request, &late, DEADLINE)?;
            let first = fill.join().unwrap_or(Err(load::Error::Framing))?;
            faultless(first)?;
            Ok((faultless(outcome)?, bench.origin.take_counts()))
        });
        let tell = |kind, samples: Vec<(load::Outcome, crate::origin::Counts)>| {
            let times: Vec<_> = samples.iter().flat_map(|(outcome, _)| outcome.first_byte.iter().copied()).collect();
            let upstream: Vec<_> = samples.iter().map(|(_, counts)| counts).collect();
            let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
            let gets = samples.iter().map(|(_, counts)| counts.get).max().unwrap_or_default();
            let text = format!("p50 {}, p99 {}, {gets} GET", time(p50), time(p99));
            let details = serde_json::json!({ "p50_seconds": p50, "p99_seconds": p99, "upstream": upstream });
            // Who asks upstream for every caller has no waiting callers, but is no cache while the fill runs.
            Cell { kind, text, value: (gets == 1).then_some(p99), details }
        };
        samples.into_iter().map(|(kind, samples)| Cell::of(kind, samples, |samples| tell(kind, samples))).collect()
    }

    fn reached(&self, larder: &Cell, _: &[&Cell]) -> bool {
        larder.value.is_some_and(|p99| p99 < P99_MAX_SECONDS)
    }
}

fn time(seconds: f64) -> String {
    if seconds < 1.0 { format!("{:.0} ms", seconds * 1000.0) } else { format!("{seconds:.1} s") }
}
