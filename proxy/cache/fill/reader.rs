//! Reading a fill while it grows.

use super::{Readership, State, task::subscribe};
use crate::cache::{content::Interrupted, pass::Pass, slice::read_slice};
use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::watch;

enum Step {
    Reading { fill: Readership, progress: watch::Receiver<super::Progress>, position: u64, end: Option<u64> },
    Passing(Box<Pass>),
    Over,
}

/// The bytes of a fill from `position` on, up to `end` (exclusive) or to its own end.
///
/// The stream breaks off with an error when the fill fails, before its last bytes. When the store gives out it goes on
/// from upstream, for this reader alone.
pub(in crate::cache) fn read(
    fill: Readership,
    position: u64,
    end: Option<u64>,
) -> impl Stream<Item = Result<Bytes, Interrupted>> + Send {
    let progress = subscribe(&fill);
    stream::unfold(Step::Reading { fill, progress, position, end }, |step| async move {
        match step {
            Step::Reading { fill, progress, position, end } => next(fill, progress, position, end).await,
            Step::Passing(pass) => passed(pass).await,
            Step::Over => None,
        }
    })
}

async fn next(
    fill: Readership,
    mut progress: watch::Receiver<super::Progress>,
    position: u64,
    end: Option<u64>,
) -> Option<(Result<Bytes, Interrupted>, Step)> {
    loop {
        let now = progress.borrow_and_update().clone();
        let end = end.or(now.size_bytes);
        // The end of the blob itself is reached only once it is proven: until then its last bytes are withheld.
        if end == Some(position) && now.size_bytes.is_some_and(|size| position < size) {
            return None;
        }
        let available = now.deliverable_bytes.min(end.unwrap_or(u64::MAX));
        if available > position
            && let Some(file) = fill.file.get()
        {
            return Some(match read_slice(file, position, available - position).await {
                Ok(bytes) => {
                    let position = position + bytes.len() as u64;
                    (Ok(bytes), Step::Reading { fill, progress, position, end })
                }
                Err(error) => (Err(Interrupted::Store(error)), Step::Over),
            });
        }
        match now.state {
            State::Proven => return None,
            State::Failed(failure) => return Some((Err(Interrupted::Upstream(failure)), Step::Over)),
            State::Unstorable => return passed(Box::new(Pass::after(&fill, position, end))).await,
            State::Asking | State::Receiving => {}
        }
        // The task publishes its end whatever happens, and its body has deadlines: this wait ends.
        if progress.changed().await.is_err() {
            return Some((Err(Interrupted::Defect), Step::Over));
        }
    }
}

async fn passed(mut pass: Box<Pass>) -> Option<(Result<Bytes, Interrupted>, Step)> {
    match pass.next().await {
        None => None,
        Some(Ok(bytes)) => Some((Ok(bytes), Step::Passing(pass))),
        Some(Err(error)) => Some((Err(error), Step::Over)),
    }
}
