//! Keeping within the room the operator gives: what was not used for longest goes first.
//!
//! Deliberately absent: rights and tags stay, so that what went is fetched again when it is asked for.

use super::Cache;
use crate::{
    config,
    store::{Disk, Evicted},
};
use std::{
    sync::{Arc, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};

/// A fill adds at most some GiB between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Room is made down to this share of the limit, so that it is not made for every fill anew.
const LOW_WATERMARK_PERCENT: u64 = 90;

impl Cache {
    /// Makes room whenever there is too little, until `stop` turns true.
    pub async fn keep_room(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            self.make_room().await;
            tokio::select! {
                () = sleep(LOOK_EVERY) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn make_room(&self) {
        let (settings, fills) = (self.config.cache.clone(), Arc::clone(&self.fills));
        let made = self
            .blocking(move |store| {
                let held_bytes = store.size_bytes();
                let Some(keep_bytes) = keep_at_most(&settings, held_bytes, &store.disk()?) else { return Ok(None) };
                let filled = |digest: &_| fills.lock().unwrap_or_else(PoisonError::into_inner).contains_key(digest);
                store.evict(keep_bytes, &filled).map(Some)
            })
            .await;
        match made {
            Ok(None) => {}
            Ok(Some(Evicted { blobs, bytes })) => {
                tracing::info!(blobs, bytes, "made room: what was not used for longest is no longer held");
            }
            Err(cause) => {
                let cause: &dyn std::error::Error = &cause;
                tracing::warn!(cause, "room could not be made; blobs pass through if the disk fills up");
            }
        }
    }
}

/// How much may stay, if that is less than what is held.
fn keep_at_most(settings: &config::Cache, held_bytes: u64, disk: &Disk) -> Option<u64> {
    if settings.offline {
        // What nobody can bring back is not given up.
        return None;
    }
    let limit = settings.size_max.of(disk.total_bytes);
    let free_min = settings.free_min.of(disk.total_bytes);
    let low = |bytes: u64| bytes / 100 * LOW_WATERMARK_PERCENT;
    let within_limit = if held_bytes > limit { low(limit) } else { held_bytes };
    let lacking = free_min.saturating_sub(disk.free_bytes);
    let leaving_free = if lacking > 0 { low(held_bytes.saturating_sub(lacking)) } else { held_bytes };
    let keep = within_limit.min(leaving_free);
    (keep < held_bytes).then_some(keep)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Size};

    #[test]
    fn room_is_made_when_the_limit_or_the_disk_says_so() {
        let mut settings = Config::load(None, std::iter::empty()).unwrap().cache;
        (settings.size_max, settings.free_min) = (Size::Bytes(1000), Size::Bytes(500));
        let disk = |free_bytes| Disk { total_bytes: 10_000, free_bytes };
        assert_eq!(keep_at_most(&settings, 1000, &disk(500)), None);
        assert_eq!(keep_at_most(&settings, 1001, &disk(500)), Some(900));
        assert_eq!(keep_at_most(&settings, 1000, &disk(300)), Some(720));
        assert_eq!(keep_at_most(&settings, 100, &disk(0)), Some(0));
        settings.offline = true;
        assert_eq!(keep_at_most(&settings, 5000, &disk(0)), None);
    }
}
