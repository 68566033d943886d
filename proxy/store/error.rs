//! What can go wrong with the directory.

use std::{io, path::PathBuf};

/// The directory could not be used, or not for this.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process owns the directory.
    #[error(
        "the directory {} is in use by another larder{}",
        directory.display(),
        pid.map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The directory.
        directory: PathBuf,
        /// Who holds it, as it noted itself in its own pid namespace. `None` if its note could not be read.
        pid: Option<u32>,
    },
    /// The directory cannot be created or written.
    #[error("the directory {} cannot be written", directory.display())]
    Unwritable {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The directory was written by a larder with another format.
    #[error(
        "the directory {} has the format {found:?}, this larder knows {known:?}: use the larder that wrote it, \
        or another directory",
        directory.display()
    )]
    FormatVersion {
        /// The directory.
        directory: PathBuf,
        /// What stands in its `version` file, cut at 64 characters.
        found: String,
        /// What this larder writes there.
        known: &'static str,
    },
    /// No space, no inode or no quota is left.
    #[error("the disk is full: {doing}")]
    Full {
        /// What could not be done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// More bytes than this may have.
    #[error("{what} of {size_bytes} bytes is larger than {size_bytes_max}")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// How large it is.
        size_bytes: u64,
        /// How large it may be.
        size_bytes_max: u64,
    },
    /// The store was closed before.
    #[error("the store is closed")]
    Closed,
    /// Anything else the system refused.
    #[error("{doing} failed")]
    Io {
        /// What could not be done.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Whether the cure is more space: nothing is wrong with what is held, and reading goes on.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// For `map_err`: an error of the system while `doing`.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, source },
            _ => Self::Io { doing, source },
        }
    }
}
