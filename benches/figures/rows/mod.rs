//! The figures, one file each. A figure says whom it measures, measures them side by side, and puts what it found in
//! words; what makes a table of them is the report.

mod cold_blob;
mod cold_large;
mod first_byte;
mod processor_time;
mod rate;
mod tag_pulls;

use crate::{
    load,
    origin::Origin,
    peers::{self, Kind, Peers, Server, Setting},
};
use std::{path::Path, time::Duration};

/// Every figure, in the table's order.
pub const FIGURES: &[&dyn Figure] = &[
    &cold_blob::HERD,
    &first_byte::FirstByte,
    &cold_blob::FIFTY,
    &cold_large::ColdLarge,
    &rate::MANIFEST,
    &rate::BLOB,
    &processor_time::ProcessorTime,
    &tag_pulls::TagPulls,
];

/// One row of the table.
pub trait Figure {
    /// What `--only` calls it.
    fn id(&self) -> &'static str;
    /// What is measured.
    fn title(&self, extent: Extent) -> String;
    /// What larder should reach.
    fn aim(&self) -> &'static str;
    /// Whether less is better.
    fn less_is_better(&self) -> bool {
        true
    }
    /// Whom it makes sense to measure.
    fn kinds(&self) -> &'static [Kind];
    /// Measures all `kinds`, each under the same conditions; one cell for each.
    fn measure(&self, bench: &Bench<'_>, kinds: &[Kind]) -> Vec<Cell>;
    /// Whether `larder` is what it should be, given what the others are.
    fn reached(&self, larder: &Cell, peers: &[&Cell]) -> bool;
}

/// How much is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// Within 3 minutes.
    Quick,
    /// Within 12 minutes.
    Full,
}

impl Extent {
    /// One of the two.
    pub fn pick<T>(self, quick: T, full: T) -> T {
        match self {
            Self::Quick => quick,
            Self::Full => full,
        }
    }
}

/// What every figure needs.
pub struct Bench<'a> {
    /// Whom to start.
    pub peers: &'a Peers,
    /// Where they pull from.
    pub origin: &'a Origin,
    /// How much to do.
    pub extent: Extent,
    /// For files of callers.
    pub directory: &'a Path,
}

/// What one system came to in one figure.
#[derive(Debug)]
pub struct Cell {
    /// Which system.
    pub kind: Kind,
    /// For people.
    pub text: String,
    /// What the ratio is made of; absent where something went wrong.
    pub value: Option<f64>,
    /// Everything that was measured.
    pub details: serde_json::Value,
}

/// How measuring a system can fail.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not started: {0}")]
    Peer(#[from] peers::Error),
    #[error("{0}")]
    Load(#[from] load::Error),
    #[error("{errors} of its answers were wrong, the first: {first}")]
    Answers { errors: usize, first: String },
}

impl Cell {
    /// Of a system that could not be measured.
    fn failed(kind: Kind, error: &Error) -> Self {
        let details = serde_json::json!({ "failed": error.to_string() });
        Self { kind, text: format!("failed: {error}"), value: None, details }
    }

    /// What `measured` came to, put in words by `tell`.
    fn of<T>(kind: Kind, measured: Result<T, Error>, tell: impl FnOnce(T) -> Self) -> Self {
        measured.map_or_else(|error| Self::failed(kind, &error), tell)
    }

    /// A number among the details.
    fn detail(&self, name: &str) -> f64 {
        self.details[name].as_f64().unwrap_or(f64::NAN)
    }
}

/// All samples of one system, or why there are none.
type Samples<T> = (Kind, Result<Vec<T>, Error>);

impl Bench<'_> {
    /// Measures every system `rounds` times, each time started anew with an empty cache, one after the other in each
    /// round, so that what else the machine does hits all alike.
    fn cold<T>(
        &self,
        kinds: &[Kind],
        rounds: usize,
        setting: Setting<'_>,
        mut measure: impl FnMut(&Server) -> Result<T, Error>,
    ) -> Vec<Samples<T>> {
        let mut all: Vec<Samples<T>> = kinds.iter().map(|kind| (*kind, Ok(Vec::new()))).collect();
        for _ in 0..rounds {
            for (kind, samples) in &mut all {
                let Ok(sofar) = samples else { continue };
                settle();
                let sample = self.peers.start(*kind, setting).map_err(Error::from).and_then(|server| {
                    self.origin.take_counts();
                    measure(&server)
                });
                match sample {
                    Ok(sample) => sofar.push(sample),
                    Err(error) => *samples = Err(error),
                }
            }
        }
        all
    }

    /// Starts all systems, has `warm` fill each, and then measures them in turn, `rounds` times.
    fn warm<T>(
        &self,
        kinds: &[Kind],
        rounds: usize,
        setting: Setting<'_>,
        warm: impl Fn(&Server) -> Result<(), Error>,
        mut measure: impl FnMut(&Server) -> Result<T, Error>,
    ) -> Vec<Samples<T>> {
        let start = |kind: &Kind| {
            let server = self.peers.start(*kind, setting)?;
            warm(&server)?;
            Ok(server)
        };
        let servers: Vec<_> = kinds.iter().map(|kind| (*kind, start(kind))).collect();
        settle();
        let mut all: Vec<Samples<T>> = kinds.iter().map(|kind| (*kind, Ok(Vec::new()))).collect();
        for _ in 0..rounds {
            for ((_, samples), (_, server)) in all.iter_mut().zip(&servers) {
                let (Ok(sofar), Ok(server)) = (samples.as_mut(), server) else { continue };
                match measure(server) {
                    Ok(sample) => sofar.push(sample),
                    Err(error) => *samples = Err(error),
                }
            }
        }
        servers.into_iter().zip(all).map(|((kind, server), (_, samples))| (kind, server.and(samples))).collect()
    }
}

/// What the last measurement left to be written must not slow the next one.
fn settle() {
    rustix::fs::sync();
    std::thread::sleep(Duration::from_millis(200));
}

/// An outcome in which every answer was right.
fn faultless(outcome: load::Outcome) -> Result<load::Outcome, Error> {
    match outcome.error {
        Some(first) => Err(Error::Answers { errors: outcome.errors, first: first.to_string() }),
        None => Ok(outcome),
    }
}

/// Pulls `request` once and compares every byte.
fn pull_once(request: &load::Request) -> Result<(), Error> {
    faultless(load::herd(request, &[Duration::ZERO], Duration::from_secs(60))?).map(drop)
}

/// Bytes in the unit of memory figures.
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
