//! From a failure to a finding: what happened, to whom, what to do. Pure: no I/O, no clock, so that the registry door,
//! the command line and the status page all tell the same.
//!
//! A cause is one file in `catalogue/` and one line in its list. From the one [`Finding`] come status, reason phrase,
//! body, warning, log line and metric.

mod answer;
mod asker;
mod catalogue;
mod failure;
mod finding;
mod staleness;
mod words;

pub use answer::{Answer, answer};
pub use asker::{Agent, Asker};
pub use catalogue::CATALOGUE;
pub use failure::Failure;
pub use finding::{Class, Finding};
pub use staleness::{stale_code, warning};

/// One cause of failed pulls.
pub trait Diagnosis: Sync {
    /// Its name in logs, metrics and bodies; never changes.
    fn code(&self) -> &'static str;
    /// What it is about, for lists of all causes.
    fn summary(&self) -> &'static str;
    /// The finding, if this is the cause.
    fn find(&self, failure: &Failure) -> Option<Finding>;
}

/// The finding of a failure: the first in the catalogue whose cause it is. The last always matches.
pub fn diagnose(failure: &Failure) -> Finding {
    CATALOGUE.iter().find_map(|diagnosis| diagnosis.find(failure)).unwrap_or_else(|| catalogue::unknown(failure))
}

#[cfg(test)]
mod tests;
