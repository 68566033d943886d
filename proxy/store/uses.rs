//! What was used lately.

use crate::oci::Digest;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

/// Uses that the index has not heard of yet.
#[derive(Debug, Default)]
pub(super) struct Uses(Mutex<HashMap<Digest, SystemTime>>);

impl Uses {
    const MAX: usize = 4096;

    /// Notes a use. `true` if it is time to take them.
    pub(super) fn note(&self, digest: &Digest) -> bool {
        let mut uses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        uses.insert(*digest, SystemTime::now());
        uses.len() >= Self::MAX
    }

    pub(super) fn are_many(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len() >= Self::MAX
    }

    pub(super) fn take(&self) -> HashMap<Digest, SystemTime> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn contains(&self, digest: &Digest) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(digest)
    }

    pub(super) fn forget(&self, digest: &Digest) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(digest);
    }
}
