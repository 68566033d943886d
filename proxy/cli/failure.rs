//! Why a command failed, as one line.

use std::{error::Error, fmt, process::ExitCode};

/// A sentence and the exit code it goes with.
#[derive(Debug)]
pub(super) struct Failure {
    sentence: String,
    code: u8,
}

/// So that a chain which refers to itself ends.
const SOURCES_MAX: usize = 10;

impl Failure {
    /// It was tried and did not succeed.
    pub(super) fn failed(sentence: String) -> Self {
        Self { sentence, code: 1 }
    }

    /// An error and what lies below it.
    pub(super) fn from_error(error: &dyn Error) -> Self {
        Self::failed(chain(error))
    }

    /// Command line or configuration are wrong.
    pub(super) fn usage(error: &dyn Error) -> Self {
        Self { sentence: chain(error), code: 2 }
    }

    /// With what to do about it.
    pub(super) fn with_remedy(mut self, remedy: &str) -> Self {
        self.sentence.push_str("; ");
        self.sentence.push_str(remedy);
        self
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}

/// The error and its sources, each on its own level, on one line.
fn chain(error: &dyn Error) -> String {
    let levels = std::iter::successors(Some(error), |error| (*error).source()).take(SOURCES_MAX);
    levels.map(|level| level.to_string().replace(['\n', '\r'], " ")).collect::<Vec<_>>().join(": ")
}
