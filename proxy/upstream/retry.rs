//! How often to ask again: little, later, and not at all when everything fails.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Times one thing is asked for at most, at one URL.
pub(super) const ATTEMPTS_MAX: usize = 3;
/// Retries per request that went before: a tenth, so that a failing upstream sees 1.1 times its load at most.
const SHARE: f64 = 0.1;
/// Retries that are there from the start, and the most that are saved up.
const RESERVE: f64 = 10.0;
const DELAY_MIN: Duration = Duration::from_millis(100);
const DELAY_MAX: Duration = Duration::from_millis(400);

/// The retries of one upstream: a token bucket filled by requests.
#[derive(Debug)]
pub(super) struct RetryBudget(Mutex<f64>);

impl Default for RetryBudget {
    fn default() -> Self {
        Self(Mutex::new(RESERVE))
    }
}

impl RetryBudget {
    /// A request is made.
    pub(super) fn deposit(&self) {
        let mut saved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *saved = (*saved + SHARE).min(RESERVE);
    }

    /// Whether a retry may be made; if so, it is taken off.
    pub(super) fn withdraw(&self) -> bool {
        let mut saved = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let enough = *saved >= 1.0;
        if enough {
            *saved -= 1.0;
        }
        enough
    }
}

/// How long to wait before a retry. Drawn, so that those who failed together do not come back together.
pub(super) fn delay() -> Duration {
    DELAY_MIN + (DELAY_MAX - DELAY_MIN).mul_f64(fastrand::f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_gets_a_tenth_more_and_the_reserve() {
        let budget = RetryBudget::default();
        let retries = (0..1000).filter(|_| {
            budget.deposit();
            budget.withdraw()
        });
        assert!((100..=111).contains(&retries.count()));
    }

    #[test]
    fn quiet_times_save_up_no_more_than_the_reserve() {
        let budget = RetryBudget::default();
        (0..10_000).for_each(|_| budget.deposit());
        assert_eq!((0..100).filter(|_| budget.withdraw()).count(), 10);
    }

    #[test]
    fn the_delay_stays_within_its_limits() {
        assert!((0..1000).all(|_| (DELAY_MIN..=DELAY_MAX).contains(&delay())));
    }
}
