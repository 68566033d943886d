//! One running piece of work per key, however many ask for it.

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::oneshot;

/// Work that is under way, by key.
///
/// The work runs as a task of its own: whoever asked may go away and it still comes to its end, which is why each piece
/// of work carries its own deadlines.
pub(super) struct Flights<K, V> {
    running: Arc<Mutex<HashMap<K, Running<V>>>>,
}

type Running<V> = Shared<BoxFuture<'static, Option<V>>>;

impl<K, V> Flights<K, V>
where
    K: Eq + Hash + Clone + Send + 'static,
    V: Clone + Send + Sync + 'static,
{
    pub(super) fn new() -> Self {
        Self { running: Arc::default() }
    }

    /// The outcome of the work under `key`: of the one that runs, or of `work`, which is started if none does. `None` if
    /// the work panicked.
    ///
    /// `work` looks again whether it is still needed: an earlier one may have ended between the caller's own look and
    /// this call.
    pub(super) fn join<F>(&self, key: &K, work: impl FnOnce() -> F) -> impl Future<Output = Option<V>> + Send + 'static
    where
        F: Future<Output = V> + Send + 'static,
    {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(outcome) = running.get(key) {
            return outcome.clone();
        }
        let (sender, receiver) = oneshot::channel();
        let outcome: Running<V> = receiver.map(Result::ok).boxed().shared();
        running.insert(key.clone(), outcome.clone());
        drop(running);
        let landing = Landing { running: Arc::clone(&self.running), key: key.clone() };
        let work = work();
        tokio::spawn(async move {
            let outcome = work.await;
            drop(landing);
            // Nobody left to hear it is fine: the work was done for its effect too.
            let _ = sender.send(outcome);
        });
        outcome
    }
}

/// Takes the key out when the work ends, by panic too.
struct Landing<K: Eq + Hash, V> {
    running: Arc<Mutex<HashMap<K, Running<V>>>>,
    key: K,
}

impl<K: Eq + Hash, V> Drop for Landing<K, V> {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn many_askers_share_one_piece_of_work() {
        let flights = Arc::new(Flights::new());
        let count = Arc::new(AtomicUsize::new(0));
        let askers = (0..100).map(|_| {
            let (flights, count) = (Arc::clone(&flights), Arc::clone(&count));
            tokio::spawn(async move {
                flights
                    .join(&"key", || async move {
                        tokio::task::yield_now().await;
                        count.fetch_add(1, Ordering::SeqCst) + 1
                    })
                    .await
            })
        });
        for asker in askers.collect::<Vec<_>>() {
            assert_eq!(asker.await.unwrap(), Some(1));
        }
        assert_eq!(count.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn work_goes_on_when_its_asker_goes_away_and_a_panic_frees_the_key() {
        let flights = Flights::new();
        let (sender, receiver) = oneshot::channel();
        drop(flights.join(&1, || async move {
            sender.send("done").unwrap();
            1
        }));
        assert_eq!(receiver.await, Ok("done"));
        assert_eq!(flights.join(&2, || async { panic!("planted") }).await, None::<i32>);
        assert_eq!(flights.join(&2, || async { 3 }).await, Some(3));
    }
}
