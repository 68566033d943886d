//! Many callers at once ask for one blob that the cache does not hold: how long until the last has it, what upstream
//! was asked, and how much memory it took.

use super::{Bench, Cell, Error, Extent, Figure, mebibytes};
use crate::{
    content::Content,
    load::{self, Request, median},
    origin::Counts,
    peers::{Kind, Setting},
};
use std::time::Duration;

/// A thousand nodes start the same image.
pub const HERD: ColdBlob = ColdBlob { id: "herd", callers: 1000, size_mib: 10, rounds_full: 2, seconds_max: 10.0 };
/// Fifty nodes start the same large image.
pub const FIFTY: ColdBlob = ColdBlob { id: "fifty", callers: 50, size_mib: 64, rounds_full: 3, seconds_max: 1.5 };

/// The slowest peer takes half a minute for the herd.
const DEADLINE: Duration = Duration::from_secs(90);
/// A cache may take this much memory, however many callers it has.
const RESIDENT_MIB_MAX: f64 = 256.0;

/// The figure.
pub struct ColdBlob {
    id: &'static str,
    callers: usize,
    size_mib: usize,
    rounds_full: usize,
    seconds_max: f64,
}

struct Sample {
    outcome: load::Outcome,
    upstream: Counts,
    resident_bytes: Option<u64>,
}

impl Figure for ColdBlob {
    fn id(&self) -> &'static str {
        self.id
    }

    fn title(&self, _: Extent) -> String {
        format!("{} callers, one cold {} MiB blob", self.callers, self.size_mib)
    }

    fn aim(&self) -> &'static str {
        match self.id {
            "herd" => "1 GET, at most 1 HEAD, no error, < 10 s, < 256 MiB",
            _ => "< 1.5 s, no error",
        }
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Direct, Kind::Distribution, Kind::NginxCache, Kind::NginxCacheLocked, Kind::Larder]
    }

    fn measure(&self, bench: &Bench<'_>, kinds: &[Kind]) -> Vec<Cell> {
        let content = Content::blob(self.callers as u64, self.size_mib << 20);
        bench.origin.publish(&content);
        let setting = Setting { origin: bench.origin, files: &[], tag_ttl: Duration::from_secs(60) };
        let arrivals = vec![Duration::ZERO; self.callers];
        let rounds = bench.extent.pick(1, self.rounds_full);
        let samples = bench.cold(kinds, rounds, setting, |server| {
            let outcome = load::herd(&Request::get(server, &content), &arrivals, DEADLINE)?;
            let resident_bytes = server.resident_bytes_max();
            Ok(Sample { outcome, upstream: bench.origin.take_counts(), resident_bytes })
        });
        samples.into_iter().map(|(kind, samples)| Cell::of(kind, samples, |samples| tell(kind, &samples))).collect()
    }

    fn reached(&self, larder: &Cell, _: &[&Cell]) -> bool {
        let fast = larder.detail("errors") == 0.0 && larder.value.is_some_and(|seconds| seconds < self.seconds_max);
        let frugal = larder.detail("upstream_get") <= 1.0
            && larder.detail("upstream_head") <= 1.0
            && larder.detail("resident_mib_max") < RESIDENT_MIB_MAX;
        fast && (self.id != "herd" || frugal)
    }
}

/// The median of the times, the worst of everything else.
fn tell(kind: Kind, samples: &[Sample]) -> Cell {
    let seconds: Vec<f64> = samples.iter().map(|sample| sample.outcome.seconds).collect();
    let errors = samples.iter().map(|sample| sample.outcome.errors).sum::<usize>();
    let get = samples.iter().map(|sample| sample.upstream.get).max().unwrap_or_default();
    let head = samples.iter().map(|sample| sample.upstream.head).max().unwrap_or_default();
    let resident = samples.iter().filter_map(|sample| sample.resident_bytes).max().map(mebibytes);
    let error = samples.iter().find_map(|sample| sample.outcome.error.as_ref());
    let median = median(&seconds).unwrap_or(f64::NAN);
    let mut text = format!("{median:.2} s, {get} GET + {head} HEAD");
    if let Some(resident) = resident {
        text += &format!(", {resident:.0} MiB");
    }
    if let Some(error) = error {
        let first = Error::Answers { errors, first: error.to_string() };
        text += &format!(", {first}");
    }
    let first_byte = |percent| {
        let worst = samples.iter().map(|sample| load::percentile(&sample.outcome.first_byte, percent));
        worst.fold(0.0, f64::max)
    };
    let details = serde_json::json!({
        "seconds": seconds, "upstream_get": get, "upstream_head": head, "resident_mib_max": resident,
        "errors": errors, "first_byte_p50_seconds": first_byte(50), "first_byte_p99_seconds": first_byte(99),
    });
    Cell { kind, text, value: (errors == 0).then_some(median), details }
}
