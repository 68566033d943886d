//! Reading a fill while it grows.

use super::{Progress, Readership, State, task::subscribe};
use crate::{
    cache::{content::Interrupted, pass::Pass, slice::read_slice},
    oci::Repository,
    upstream::Upstream,
};
use bytes::Bytes;
use futures_util::{Stream, stream};
use std::sync::Arc;
use tokio::sync::watch;

/// Which bytes of a fill are read, and where a reader goes on by itself when the fill gives out.
pub(in crate::cache) struct Part {
    pub(in crate::cache) first: u64,
    /// Exclusive; `None`: to the end of the blob.
    pub(in crate::cache) end: Option<u64>,
    /// Where this reader has the right to the blob.
    pub(in crate::cache) upstream: Arc<Upstream>,
    pub(in crate::cache) repository: Repository,
}

enum Step {
    Reading(Reading),
    Passing(Box<Pass>),
    Over,
}

struct Reading {
    fill: Readership,
    progress: watch::Receiver<Progress>,
    position: u64,
    part: Part,
}

type Read = Option<(Result<Bytes, Interrupted>, Step)>;

/// The bytes of `part`.
///
/// The stream breaks off with an error when the fill fails, before its last bytes. When the store gives out, or another
/// repository's upstream does, it goes on from this reader's own.
pub(in crate::cache) fn read(fill: Readership, part: Part) -> impl Stream<Item = Result<Bytes, Interrupted>> + Send {
    let progress = subscribe(&fill);
    let reading = Reading { fill, progress, position: part.first, part };
    stream::unfold(Step::Reading(reading), |step| async move {
        match step {
            Step::Reading(reading) => reading.next().await,
            Step::Passing(pass) => passed(pass).await,
            Step::Over => None,
        }
    })
}

impl Reading {
    async fn next(mut self) -> Read {
        loop {
            let now = self.progress.borrow_and_update().clone();
            let end = self.part.end.or(now.size_bytes);
            // The end of the blob itself is reached only once it is proven: until then its last bytes are withheld.
            if end == Some(self.position) && now.size_bytes.is_some_and(|size| self.position < size) {
                return None;
            }
            let available = now.deliverable_bytes.min(end.unwrap_or(u64::MAX));
            if available > self.position
                && let Some(file) = self.fill.file()
            {
                return Some(match read_slice(&file, self.position, available - self.position).await {
                    Ok(bytes) => {
                        self.position += bytes.len() as u64;
                        (Ok(bytes), Step::Reading(self))
                    }
                    Err(error) => (Err(Interrupted::Store(error)), Step::Over),
                });
            }
            match now.state {
                State::Proven => return None,
                State::Failed(failure) if self.is_ours() => {
                    return Some((Err(Interrupted::Upstream(failure)), Step::Over));
                }
                State::Unstorable | State::Failed(_) => {
                    return passed(Box::new(Pass::after(&self.fill, self.part, self.position))).await;
                }
                State::Asking | State::Receiving => {}
            }
            // The task publishes its end whatever happens, and its body has deadlines: this wait ends.
            if self.progress.changed().await.is_err() {
                return Some((Err(Interrupted::Defect), Step::Over));
            }
        }
    }

    fn is_ours(&self) -> bool {
        (self.fill.upstream.registry(), &self.fill.repository) == (self.part.upstream.registry(), &self.part.repository)
    }
}

async fn passed(mut pass: Box<Pass>) -> Read {
    match pass.next().await {
        None => None,
        Some(Ok(bytes)) => Some((Ok(bytes), Step::Passing(pass))),
        Some(Err(error)) => Some((Err(error), Step::Over)),
    }
}
