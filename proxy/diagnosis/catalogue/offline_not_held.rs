//! Nobody may be dialled.

use super::{Class, Diagnosis, Failure, Finding};
use crate::cache::Cause;

pub(super) struct OfflineNotHeld;

impl Diagnosis for OfflineNotHeld {
    fn code(&self) -> &'static str {
        "offline_not_held"
    }

    fn summary(&self) -> &'static str {
        "larder is configured to be offline and does not hold what was asked for."
    }

    fn find(&self, failure: &Failure) -> Option<Finding> {
        let Some(Cause::Offline) = failure.cause() else { return None };
        let registry = failure.registry()?;
        let sentence =
            format!("larder is offline for {registry} (offline = true) and does not hold {}.", failure.wanted());
        Some(
            Finding::new(self.code(), Class::Unreachable, failure, sentence)
                .remedy("Pull it once while online, or pull an image that is held."),
        )
    }
}
