//! The right of a repository to a digest.

use crate::oci::MediaType;
use std::time::SystemTime;

/// That a digest was proven to belong to a repository, and what it is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// What upstream or the bundle said it is. `None` for blobs that nobody described.
    pub media_type: Option<MediaType>,
    /// Its size.
    pub size_bytes: u64,
    /// When it was last proven.
    pub proven_at: SystemTime,
    /// Who said so.
    pub proof: Proof,
}

/// Who said that a digest belongs to a repository. A manifest's list is no proof.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Upstream answered 2xx for that digest in that repository with the credential in force.
    Upstream,
    /// The operator imported it.
    Import,
}
