//! One caller pulls one large blob that the cache does not hold: how much longer does it take than without a cache? The
//! caller hashes and writes what it gets, since that is what a pull is; one that throws it away would be faster than
//! any pull, on both ways.

use super::{Bench, Cell, Error, Extent, Figure, settle};
use crate::{
    content::Content,
    load::{self, Request, median},
    peers::{Kind, Setting},
};
use std::time::Duration;

const SIZE_MIB: usize = 512;
const DEADLINE: Duration = Duration::from_secs(60);
/// Against the direct way.
const RATIO_MAX: f64 = 1.3;

/// The figure.
pub struct ColdLarge;

impl Figure for ColdLarge {
    fn id(&self) -> &'static str {
        "cold-large"
    }

    fn title(&self, _: Extent) -> String {
        format!("cold {SIZE_MIB} MiB, against pulling it directly")
    }

    fn aim(&self) -> &'static str {
        "<= 1.3x"
    }

    fn kinds(&self) -> &'static [Kind] {
        &[Kind::Direct, Kind::Distribution, Kind::NginxCacheLocked, Kind::Larder]
    }

    fn measure(&self, bench: &Bench<'_>, kinds: &[Kind]) -> Vec<Cell> {
        let content = Content::blob(512, SIZE_MIB << 20);
        bench.origin.publish(&content);
        let setting = Setting { origin: bench.origin, files: &[], tag_ttl: Duration::from_secs(60) };
        let file = bench.directory.join("pulled");
        let pull = |request: &Request| {
            let seconds = load::pull(request, &file, DEADLINE)?.as_secs_f64();
            // A caller's own file must not be there to be written back while the next one pulls.
            let _ = std::fs::remove_file(&file);
            settle();
            Ok::<_, Error>(seconds)
        };
        // Each system's time stands beside a direct pull of the same moment: the machine's mood cancels out.
        let direct = bench.peers.start(Kind::Direct, setting).map(|server| Request::get(&server, &content));
        let samples = bench.cold(kinds, bench.extent.pick(2, 5), setting, |server| {
            let direct = pull(direct.as_ref().map_err(|_| load::Error::Framing)?)?;
            Ok((pull(&Request::get(server, &content))?, direct))
        });
        let tell = |kind, samples: Vec<(f64, f64)>| {
            let ratios: Vec<f64> = samples.iter().map(|(through, direct)| through / direct).collect();
            let through: Vec<f64> = samples.iter().map(|(through, _)| *through).collect();
            let (ratio, seconds) = (median(&ratios).unwrap_or(f64::NAN), median(&through).unwrap_or(f64::NAN));
            let text = match kind {
                Kind::Direct => format!("{seconds:.2} s"),
                _ => format!("{ratio:.2}x ({seconds:.2} s)"),
            };
            let details = serde_json::json!({ "ratios": ratios, "seconds": through });
            Cell { kind, text, value: Some(ratio), details }
        };
        samples.into_iter().map(|(kind, samples)| Cell::of(kind, samples, |samples| tell(kind, samples))).collect()
    }

    fn reached(&self, larder: &Cell, _: &[&Cell]) -> bool {
        larder.value.is_some_and(|ratio| ratio <= RATIO_MAX)
    }
}
