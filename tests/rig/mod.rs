//! What the tests stand on: an upstream that misbehaves on command, a larder of its own for each test, and a client
//! that tells a whole body from a broken one. It holds no expectation about larder; those are in the tests.

mod checks;
pub mod client;
pub mod content;
pub mod larder;
pub mod upstream;

pub use client::{Answer, Connection, get, head, request};
pub use content::{Image, digest_of, noise};
pub use larder::{Larder, Setup};
pub use upstream::{Fault, FaultyUpstream, Gate, Kind};

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. Generous: it is a bound, not an expectation.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Tests that use up both cores take turns.
static HEAVY: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Waits for the turn of a test that uses up both cores; the turn lasts until the guard is dropped.
pub async fn heavy() -> tokio::sync::MutexGuard<'static, ()> {
    HEAVY.lock().await
}

/// Asks again and again until `condition` holds, and panics with `what` when it does not within the patience.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Lets a lifetime that the configuration names run out. A wait on the clock, since only the clock ends a lifetime.
pub async fn outlive(lifetime: Duration) {
    tokio::time::sleep(lifetime + Duration::from_millis(300)).await;
}

/// A number from the environment, so that the nightly run can ask for more of the same.
pub fn amount(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
