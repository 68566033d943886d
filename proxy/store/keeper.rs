//! The thread for what must hold up no caller: building a lost index, and telling the index what was used.

use super::state::State;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
};

/// Ended and awaited by [`Keeper::end`].
#[derive(Default)]
pub(super) struct Keeper(Mutex<Option<Running>>);

struct Running {
    /// One call that waits is enough: whoever hears it looks at everything.
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Keeper {
    /// Starts the thread. Without one nothing is lost: uses are told at the end, and the next start builds the index.
    pub(super) fn start(&self, state: &Arc<State>) {
        let (wake, woken) = sync_channel(1);
        let state = Arc::downgrade(state);
        let work = move || keep(&woken, || state.upgrade());
        match thread::Builder::new().name("store".to_owned()).spawn(work) {
            Ok(thread) => *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Running { wake, thread }),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(error, "the store has no thread of its own");
            }
        }
    }

    /// Makes it look. Does not wait.
    pub(super) fn wake(&self) {
        if let Some(running) = &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            // Full: it is about to look anyway.
            let _ = running.wake.try_send(());
        }
    }

    /// Waits until it has ended.
    pub(super) fn end(&self) {
        let running = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { wake, thread }) = running {
            drop(wake);
            // It may itself be the last to hold the store, and end with it.
            if thread.thread().id() != thread::current().id() {
                let _ = thread.join();
            }
        }
    }
}

fn keep(woken: &Receiver<()>, state: impl Fn() -> Option<Arc<State>>) {
    while woken.recv().is_ok() {
        let Some(state) = state() else { return };
        state.heal();
        if state.uses.are_many() {
            state.flush_uses();
        }
    }
}
