//! What is known of a tag.

use crate::oci::Digest;
use std::time::SystemTime;

/// The most digests remembered of one tag.
pub(super) const HISTORY_MAX: usize = 32;

/// What a tag pointed to when upstream was last asked, and before.
#[derive(Debug, Clone, PartialEq)]
pub struct TagRecord {
    /// What it points to.
    pub digest: Digest,
    /// When upstream last said so.
    pub checked_at: SystemTime,
    /// Since when upstream says that it is gone.
    pub deleted_at: Option<SystemTime>,
    /// Each digest it had, the present one among them, and when it was first seen to have it. Newest first, at most 32.
    ///
    /// Kept by the store: what a caller of `set_tag` gives counts only for a tag that is not known yet (an import).
    pub history: Vec<(Digest, SystemTime)>,
}

impl TagRecord {
    /// This record as the successor of `earlier`, which decides the history.
    pub(super) fn after(mut self, earlier: Option<&TagRecord>) -> Self {
        if let Some(earlier) = earlier {
            self.history.clone_from(&earlier.history);
        }
        if self.history.first().map(|(digest, _)| digest) != Some(&self.digest) {
            self.history.insert(0, (self.digest, self.checked_at));
        }
        self.history.truncate(HISTORY_MAX);
        self
    }
}
