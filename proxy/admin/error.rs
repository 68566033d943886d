//! What can go wrong with the socket.

use std::{io, path::PathBuf};

/// The socket cannot be offered, or a command did not reach a server or was refused by it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The socket cannot be made.
    #[error("the socket {} cannot be made", path.display())]
    Bind {
        /// Where it should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("no larder runs on {}", directory.display())]
    NotRunning {
        /// The cache directory.
        directory: PathBuf,
    },
    /// Somebody may listen, but not to this user.
    #[error("the larder on {} cannot be reached: only the user it runs as may command it", directory.display())]
    Forbidden {
        /// The cache directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The talk broke off.
    #[error("the larder on {} gave no answer: {problem}", directory.display())]
    NoAnswer {
        /// The cache directory.
        directory: PathBuf,
        /// What happened.
        problem: &'static str,
        /// What lies below it, if anything does.
        source: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// The server refused the command, in its own words.
    #[error("{0}")]
    Refused(String),
}
