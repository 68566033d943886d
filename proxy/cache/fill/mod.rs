//! The one running fetch of a blob.
//!
//! A fill is a task of its own that writes to a private file. All callers, first or late, read that file as it grows, so
//! that a slow one delays nobody and one that hangs up ends nothing. The last bytes are withheld until the digest is
//! proven. When the file cannot be written any more, the fill ends and each reader goes on by itself from upstream
//! ([`super::pass`]).

mod ink;
mod plan;
mod reader;
mod task;

pub(super) use plan::{Next, Plan, Stop, WITHHELD_BYTES};
pub(super) use reader::{Part, read};

use crate::{
    oci::{Digest, Repository},
    upstream::{Failure, Upstream},
};
use std::{
    fs::File,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};

/// Ranges far ahead of a fill that are fetched beside it at once; further ones wait for the fill.
const BESIDE_MAX: usize = 8;

/// A fill as its readers see it.
pub(super) struct Fill {
    pub(super) digest: Digest,
    /// Where the bytes come from. This is the seam for other sources than an upstream.
    pub(super) upstream: Arc<Upstream>,
    /// Which repository upstream is asked in: whoever reads by another must have its right proven first.
    pub(super) repository: Repository,
    file: OnceLock<Arc<File>>,
    progress: watch::Sender<Progress>,
    readers: AtomicUsize,
    abandoned: Notify,
    finished: watch::Sender<bool>,
    beside: Arc<Semaphore>,
}

/// How far a fill is, as its readers see it.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// So many bytes, from the first on, may be read from the file.
    pub(super) deliverable_bytes: u64,
    /// The size of the blob, where upstream gave it.
    pub(super) size_bytes: Option<u64>,
    pub(super) state: State,
}

/// What a fill is doing.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// Upstream was asked and has not answered.
    Asking,
    /// Bytes come in.
    Receiving,
    /// Every byte is there and is what the digest says.
    Proven,
    /// The store cannot take it; upstream is not the matter.
    Unstorable,
    /// It cannot be finished.
    Failed(Arc<Failure>),
}

impl Fill {
    pub(super) fn new(digest: Digest, upstream: Arc<Upstream>, repository: Repository) -> Arc<Self> {
        let progress = Progress { deliverable_bytes: 0, size_bytes: None, state: State::Asking };
        Arc::new(Self {
            digest,
            upstream,
            repository,
            file: OnceLock::new(),
            progress: watch::Sender::new(progress),
            readers: AtomicUsize::new(0),
            abandoned: Notify::new(),
            finished: watch::Sender::new(false),
            beside: Arc::new(Semaphore::new(BESIDE_MAX)),
        })
    }

    /// Counts a reader in.
    pub(super) fn join(self: &Arc<Self>) -> Readership {
        self.readers.fetch_add(1, Ordering::Relaxed);
        Readership(Arc::clone(self))
    }

    /// Whether nobody waits for it.
    pub(super) fn is_orphan(&self) -> bool {
        self.readers.load(Ordering::Relaxed) == 0
    }

    /// Ends a fill that nobody waits for.
    pub(super) fn abandon(&self) {
        self.abandoned.notify_one();
    }

    /// Waits until upstream has answered: the size, if it gave one, and the state then.
    pub(super) async fn opened(&self) -> Progress {
        let mut progress = self.progress.subscribe();
        let opened = progress.wait_for(|progress| !matches!(progress.state, State::Asking)).await;
        opened.map(|progress| progress.clone()).unwrap_or_else(|_| self.progress.borrow().clone())
    }

    /// Waits until it is over.
    pub(super) async fn ended(&self) -> Progress {
        let mut progress = self.progress.subscribe();
        let over = |progress: &Progress| matches!(progress.state, State::Proven | State::Unstorable | State::Failed(_));
        let ended = progress.wait_for(over).await;
        ended.map(|progress| progress.clone()).unwrap_or_else(|_| self.progress.borrow().clone())
    }

    /// How far it is now.
    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// A place for a fetch beside it, if one is left.
    pub(super) fn place_beside(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.beside).try_acquire_owned().ok()
    }

    /// Whether its bytes are proven; they may not be kept yet.
    pub(super) fn is_proven(&self) -> bool {
        matches!(self.progress.borrow().state, State::Proven)
    }

    /// Waits until its task is over: until what was proven is kept.
    pub(super) async fn finished(&self) {
        // An error would mean that the fill is gone, which it is not while it is borrowed.
        let _ = self.finished.subscribe().wait_for(|finished| *finished).await;
    }

    /// Its task is over.
    pub(super) fn set_finished(&self) {
        self.finished.send_replace(true);
    }

    /// The file it writes to, once upstream has answered and the store has given one.
    pub(super) fn file(&self) -> Option<Arc<File>> {
        self.file.get().cloned()
    }

    fn is_over(&self) -> bool {
        matches!(self.progress.borrow().state, State::Proven | State::Unstorable | State::Failed(_))
    }
}

/// A reader of a fill; its drop counts it out.
pub(super) struct Readership(Arc<Fill>);

impl std::ops::Deref for Readership {
    type Target = Arc<Fill>;

    fn deref(&self) -> &Arc<Fill> {
        &self.0
    }
}

impl Drop for Readership {
    fn drop(&mut self) {
        self.0.readers.fetch_sub(1, Ordering::Relaxed);
    }
}
