//! What follows a repository's name in a request.

use super::{Digest, Error, Tag};
use std::{fmt, str::FromStr};

/// A tag or a digest: the `<reference>` of distribution-spec 1.1.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reference {
    /// A name that may move.
    Tag(Tag),
    /// Content itself.
    Digest(Digest),
}

impl FromStr for Reference {
    type Err = Error;

    /// A colon can stand in a digest only.
    fn from_str(text: &str) -> Result<Self, Error> {
        if text.contains(':') { text.parse().map(Self::Digest) } else { text.parse().map(Self::Tag) }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}
