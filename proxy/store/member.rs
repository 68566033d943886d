//! The right of a repository to a digest.

use super::{Error, Store, journal::Sync, layout::Place, record::Line};
use crate::oci::{Digest, MediaType, Registry, Repository};
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

impl Store {
    /// The right of a repository to a digest, as it was last proven.
    ///
    /// # Errors
    /// What the system says while the records are read, which is only where the index is lost.
    pub fn member(
        &self,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
    ) -> Result<Option<Member>, Error> {
        let place = Place::of(registry, repository);
        if let Ok(member) = self.state.index.member(&place, digest) {
            return Ok(member);
        }
        self.state.heal();
        let records = self.journal(place, registry, repository).read()?;
        Ok(records.and_then(|mut records| records.members.remove(digest)))
    }

    /// Records that a digest was proven to belong to a repository.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it may be forgotten with the power.
    pub fn prove(
        &self,
        registry: &Registry,
        repository: &Repository,
        digest: &Digest,
        member: Member,
    ) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let place = Place::of(registry, repository);
        let _one = self.state.lock_place(&place);
        let earlier = self.state.index.member(&place, digest).ok().flatten();
        let renews = earlier.is_some_and(|earlier| Member { proven_at: member.proven_at, ..earlier } == member);
        let sync = if renews { Sync::Later } else { Sync::Now };
        self.journal(place, registry, repository).append(&[Line::member(digest, &member)], sync)?;
        let _ = self.state.index.edit(|edit| edit.set_member(&place, digest, &member));
        Ok(())
    }

    /// Takes all of a repository's memberships away: the right to it is gone. Tags and their history stay.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it is withdrawn now, but may come back with a restart.
    pub fn withdraw(&self, registry: &Registry, repository: &Repository) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let place = Place::of(registry, repository);
        let _one = self.state.lock_place(&place);
        let _ = self.state.index.edit(|edit| edit.remove_members(&place));
        let journal = self.journal(place, registry, repository);
        // Asking for names at random must not leave a file for each.
        if journal.read()?.is_none_or(|records| records.members.is_empty()) {
            return Ok(());
        }
        journal.append(&[Line::withdrawn(SystemTime::now())], Sync::Now)?;
        // Damage to that one line would bring all of them back. So the lines themselves go.
        if let Err(error) = journal.compact() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a journal could not be compacted");
        }
        Ok(())
    }
}
