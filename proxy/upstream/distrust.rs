//! A credential that is refused again and again is shown less often: many failed logins lock accounts.

use super::failure::Trouble;
use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Refusals in a row that are taken for bad luck.
const REFUSALS_MIN: u32 = 5;
/// How long it is not tried then: short at first, so that an upstream that was wrong itself is noticed to be right
/// again, and twice as long after each further refusal.
const INTERVAL_MIN: Duration = Duration::from_secs(5);
const INTERVAL_MAX: Duration = Duration::from_secs(300);

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
        refusals.probe_at = Instant::now() + interval(refusals.count);
        None
    }

    /// It was refused.
    pub(super) fn refused(&self, generation: u64, trouble: &Trouble) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before =
            state.as_ref().filter(|refusals| refusals.generation == generation).map_or(0, |before| before.count);
        let count = before.saturating_add(1);
        let mut last = trouble.clone();
        // The words were about another question.
        last.failure.message = None;
        *state = Some(Refusals { generation, count, probe_at: Instant::now() + interval(count), last });
    }

    /// It was accepted.
    pub(super) fn accepted(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn interval(count: u32) -> Duration {
    let doublings = count.saturating_sub(REFUSALS_MIN).min(16);
    (INTERVAL_MIN * (1 << doublings)).min(INTERVAL_MAX)
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
        for _ in 0..10_000 {
            if distrust.refusal(1).is_none() {
                shown += 1;
                distrust.refused(1, &trouble);
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        // Five, then after 5, 10, 20, 40, 80, 160, 300 and 300 s.
        assert!((12..=14).contains(&shown), "{shown}");
        assert!(distrust.refusal(2).is_none(), "a changed credential is trusted");
        distrust.accepted();
        assert!(distrust.refusal(1).is_none());
    }
}
