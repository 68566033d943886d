//! The right of a repository to a digest.

use super::{
    Error, Store,
    journal::{self, Records, Sync},
    layout::Place,
    record::Line,
};
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

impl Member {
    /// This proof as the successor of an earlier one.
    fn after(mut self, earlier: Option<&Self>) -> Self {
        let Some(earlier) = earlier else { return self };
        if self.media_type.is_none() {
            self.media_type.clone_from(&earlier.media_type);
        }
        if earlier.proof == Proof::Import {
            self.proof = Proof::Import;
        }
        self
    }
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
        let records = self.records(registry, repository)?;
        Ok(records.and_then(|records| records.members.get(digest).cloned()))
    }

    /// Records that a digest was proven to belong to a repository. A media type that was known stays where `member` has
    /// none, and what was imported stays imported.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it may be forgotten with the next start.
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
        let journal = self.journal(place, registry, repository);
        let earlier = match self.state.index.member(&place, digest) {
            Ok(earlier) => earlier,
            Err(_) => self.records(registry, repository)?.and_then(|records| records.members.get(digest).cloned()),
        };
        let member = member.after(earlier.as_ref());
        let renews = earlier.is_some_and(|earlier| Member { proven_at: member.proven_at, ..earlier } == member);
        let sync = if renews { Sync::Later } else { Sync::Now };
        let append = || journal.append(&[Line::member(digest, &member)], sync);
        let written = append();
        let indexed = self.state.index.edit(|edit| edit.set_member(&place, digest, &member));
        journal::settle(written, indexed, append)
    }

    /// Takes a repository's memberships away, except those by import, and its documents: upstream no longer gives it. Tags
    /// and their history stay.
    ///
    /// # Errors
    /// [`Error::Full`] among others: then it is withdrawn now, but may come back with a restart.
    pub fn withdraw(&self, registry: &Registry, repository: &Repository) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let place = Place::of(registry, repository);
        let _one = self.state.lock_place(&place);
        let _ = self.state.index.edit(|edit| edit.remove_members(&place));
        let removed = self.state.remove_documents(&place);
        let journal = self.journal(place, registry, repository);
        // Asking for names at random must not leave a file for each.
        let goes = |records: Records| records.members.values().any(|member| member.proof != Proof::Import);
        if !journal.read()?.is_some_and(goes) {
            return removed;
        }
        journal.append(&[Line::withdrawn(SystemTime::now())], Sync::Now)?;
        // Damage to that one line would bring all of them back. So the lines themselves go.
        if let Err(error) = journal.compact() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a journal could not be compacted");
        }
        removed
    }
}
