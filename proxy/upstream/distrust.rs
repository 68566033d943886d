//! A credential that is refused again and again is shown less often: many failed logins lock accounts.

use super::failure::Trouble;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Refusals in a row that are taken for bad luck.
const REFUSALS_MIN: u32 = 5;
/// How often it is tried from then on. Short, so that an upstream that was wrong itself is noticed to be right again.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// What became of the credential of one upstream lately.
#[derive(Debug, Default)]
pub(super) struct Distrust(Mutex<Option<Refusals>>);

#[derive(Debug)]
struct Refusals {
    generation: u64,
    count: u32,
    probe_at: Instant,
    last: Trouble,
}

impl Distrust {
    /// The last refusal, if the credential of this `generation` is not to be shown now. `None` lets one caller try.
    pub(super) fn refusal(&self, generation: u64) -> Option<Trouble> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let refusals = state.as_mut().filter(|refusals| refusals.generation == generation)?;
        if refusals.count < REFUSALS_MIN {
            return None;
        }
        if Instant::now() < refusals.probe_at {
            return Some(refusals.last.clone());
        }
        refusals.probe_at = Instant::now() + PROBE_INTERVAL;
        None
    }

    /// It was refused.
    pub(super) fn refused(&self, generation: u64, trouble: &Trouble) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            state.as_ref().filter(|refusals| refusals.generation == generation).map_or(0, |before| before.count);
        let probe_at = Instant::now() + PROBE_INTERVAL;
        *state = Some(Refusals { generation, count: before.saturating_add(1), probe_at, last: trouble.clone() });
    }

    /// It was accepted.
    pub(super) fn accepted(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

#[cfg(test)]
mod tests {
    use super::super::failure::{Failure, Kind, Step};
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_credential_that_is_always_refused_is_shown_now_and_then() {
        let failure = Failure::new(&"a.test".parse().unwrap(), Kind::CredentialRefused, Step::Token, "https://a.test");
        let trouble = Trouble::from(failure);
        let distrust = Distrust::default();
        let mut shown = 0;
        for _ in 0..1000 {
            if distrust.refusal(1).is_none() {
                shown += 1;
                distrust.refused(1, &trouble);
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!((20..=26).contains(&shown), "{shown}");
        assert!(distrust.refusal(2).is_none(), "a changed credential is trusted");
        distrust.accepted();
        assert!(distrust.refusal(1).is_none());
    }
}
