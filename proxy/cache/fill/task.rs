//! The life of a fill: ask, receive, resume, prove, keep.

use super::{Fill, Next, Plan, Progress, State, Stop, ink::Ink};
use crate::{
    cache::error::failure_of_body,
    metrics::{FillEnd, FillLabels, Metrics},
    store::{self, Member, Proof, Store},
    upstream::{BlobBody, BlobSource, ByteRange, Failure, Kind},
};
use bytes::Bytes;
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{mpsc, watch},
    task::{JoinError, spawn_blocking},
    time::sleep,
};

/// Between the network and the disk: enough that neither waits for the other, at most some MiB a fill.
const CHUNKS_AHEAD_MAX: usize = 8;

/// So much is written at once, where so much has come in.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// Before each attempt that follows one without progress: together long enough for a registry to be restarted.
const RESUME_DELAYS: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(10)];

/// A fill that is cut again and again remembers so many of those who sent its bytes.
const SOURCES_MAX: usize = 16;

/// So often a resume waits for one of the upstream's `fills_max`; each wait has the upstream's own deadline.
const BUSY_MAX: u32 = 30;

/// Why a fill ended without its bytes.
enum Broken {
    Upstream(Box<Failure>),
    Store(store::Error),
    Task(JoinError),
    Abandoned,
}

impl Fill {
    /// Runs to its end, which its readers are told and the metrics count.
    pub(in crate::cache) async fn run(self: Arc<Self>, store: Arc<Store>, metrics: Arc<Metrics>) {
        metrics.fills_running.inc();
        let guard = Unwinding { fill: &self, metrics: &metrics };
        let end = tokio::select! {
            end = self.fetch(&store) => end,
            () = self.abandoned.notified() => Err(Broken::Abandoned),
        };
        let upstream = self.upstream.registry();
        let end = match end {
            Ok(end) => end,
            Err(Broken::Upstream(failure)) => {
                tracing::warn!(upstream.registry = %upstream, blob.digest = %self.digest, kind = ?failure.kind,
                    detail = failure.detail, "a blob could not be fetched");
                let end = if failure.kind == Kind::Mismatch { FillEnd::Mismatch } else { FillEnd::Failed };
                self.publish(State::Failed(Arc::new(*failure)), None);
                end
            }
            Err(Broken::Abandoned) => {
                self.publish(State::Failed(Arc::new(self.failure(Kind::Busy, "nobody waited for it any more"))), None);
                FillEnd::Failed
            }
            Err(Broken::Store(error)) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(upstream.registry = %upstream, blob.digest = %self.digest, error,
                    "the store cannot take this blob: it is passed through");
                self.publish(State::Unstorable, None);
                FillEnd::NotKept
            }
            Err(Broken::Task(error)) => {
                tracing::error!(upstream.registry = %upstream, blob.digest = %self.digest,
                    error = &error as &dyn std::error::Error, "a task of a fill ended unexpectedly");
                self.publish(State::Unstorable, None);
                FillEnd::NotKept
            }
        };
        metrics.fills.get_or_create(&FillLabels { upstream: upstream.to_string(), end }).inc();
        drop(guard);
    }

    async fn fetch(&self, store: &Arc<Store>) -> Result<FillEnd, Broken> {
        let mut plan = Plan::new(None);
        // The first answer decides whether there is anything to fetch: its failure is final, since the upstream module
        // has tried again where that could help.
        let body = self.upstream.blob(&self.repository, &self.digest, None).await.map_err(broken)?;
        plan.opened(body.first, body.size_bytes.or(body.length_bytes)).map_err(|stop| self.stopped(stop))?;
        if plan.size_bytes() == Some(0) && self.digest.of_same_algorithm(b"") != self.digest {
            // Nothing can be withheld of nothing: an empty body would be whole before it is proven.
            return Err(broken(self.failure(Kind::Mismatch, "upstream gives an empty body")));
        }
        // The size is known from here on, whether or not the store can take it.
        self.publish(State::Asking, Some(&plan));
        let (from, digest) = (Arc::clone(store), self.digest);
        let ink = spawn_blocking(move || Ink::new(&from, digest)).await.map_err(Broken::Task)??;
        self.file.set(ink.file()).expect("set once, here");
        self.publish(State::Receiving, Some(&plan));
        let mut sources = vec![body.source()];
        let ink = self.receive(&mut plan, ink, body, &mut sources).await?;
        let kept = self.keep(plan, ink, store).await;
        if matches!(&kept, Err(Broken::Upstream(failure)) if failure.kind == Kind::Mismatch) {
            // Any of them may have sent the wrong bytes: the next fill asks another of the upstream's urls first.
            sources.iter().for_each(BlobSource::distrust);
        }
        kept
    }

    /// Takes in bodies until every byte is there.
    async fn receive(
        &self,
        plan: &mut Plan,
        mut ink: Ink,
        mut body: BlobBody,
        sources: &mut Vec<BlobSource>,
    ) -> Result<Ink, Broken> {
        loop {
            let (written, next) = self.take(plan, ink, body).await?;
            ink = written;
            body = match self.resume(plan, next).await? {
                Some(body) => body,
                None => return Ok(ink),
            };
            if sources.len() < SOURCES_MAX {
                sources.push(body.source());
            }
        }
    }

    /// Upstream's next body, or `None` where every byte is there.
    async fn resume(&self, plan: &mut Plan, mut next: Next) -> Result<Option<BlobBody>, Broken> {
        let mut busy = 0;
        let mut wait = None;
        loop {
            let (from, attempt) = match next {
                Next::Prove => return Ok(None),
                Next::Stop(stop) => return Err(self.stopped(stop)),
                Next::Ask { from, attempt } => (from, attempt),
            };
            sleep(wait.take().unwrap_or_else(|| pause(attempt))).await;
            let range = (from > 0).then_some(ByteRange { first: from, last: None });
            match self.upstream.blob(&self.repository, &self.digest, range).await {
                Ok(body) => {
                    plan.opened(body.first, body.size_bytes).map_err(|stop| self.stopped(stop))?;
                    return Ok(Some(body));
                }
                // Waiting for a place is not upstream's fault.
                Err(failure) if failure.kind == Kind::Busy && busy < BUSY_MAX => busy += 1,
                Err(failure) if is_final(&failure) => return Err(broken(failure)),
                Err(failure) => {
                    wait = failure.retry_after.map(|after| after.min(RESUME_DELAYS[RESUME_DELAYS.len() - 1]));
                    next = plan.cut();
                }
            }
        }
    }

    /// Takes in one body, to its end or to where it breaks. The network is read ahead of the disk.
    async fn take(&self, plan: &mut Plan, mut ink: Ink, mut body: BlobBody) -> Result<(Ink, Next), Broken> {
        let (sender, mut chunks) = mpsc::channel(CHUNKS_AHEAD_MAX);
        // Ends when the receiver is dropped or the body is over; the body carries the deadlines.
        let _network = AbortOnDrop(tokio::spawn(async move {
            loop {
                let chunk = body.chunk().await;
                let last = !matches!(chunk, Ok(Some(_)));
                if sender.send(chunk).await.is_err() || last {
                    return;
                }
            }
        }));
        let mut end = None;
        while end.is_none() {
            let mut batch = Vec::new();
            let mut length = 0;
            let mut came = chunks.recv().await;
            loop {
                match came {
                    Some(Ok(Some(bytes))) => {
                        let dropped = plan.received(bytes.len()).map_err(|stop| self.stopped(stop))?;
                        length += bytes.len();
                        batch.push(bytes.slice(dropped..));
                    }
                    Some(Ok(None)) => end = Some(plan.ended()),
                    Some(Err(_)) | None => end = Some(plan.cut()),
                }
                if end.is_some() || length >= BATCH_BYTES_MAX {
                    break;
                }
                match chunks.try_recv() {
                    Ok(chunk) => came = Some(chunk),
                    Err(_) => break,
                }
            }
            ink = write(ink, batch).await?;
            self.publish(State::Receiving, Some(plan));
        }
        Ok((ink, end.expect("the loop ends when it is set")))
    }

    /// Compares the digest, lets the readers have the end, and only then makes it durable: they need not wait for that.
    async fn keep(&self, mut plan: Plan, ink: Ink, store: &Arc<Store>) -> Result<FillEnd, Broken> {
        let proven = match spawn_blocking(move || ink.prove()).await.map_err(Broken::Task)? {
            Ok(proven) => proven,
            Err(found) => {
                let mut failure = self.failure(Kind::Mismatch, "the bytes are not those of the digest");
                failure.detail = Some(format!("its {} bytes have the digest {found}", plan.received_bytes()));
                return Err(broken(failure));
            }
        };
        plan.proven();
        self.publish(State::Proven, Some(&plan));
        let store = Arc::clone(store);
        let (registry, repository) = (self.upstream.registry().clone(), self.repository.clone());
        let digest = self.digest;
        let member = Member {
            media_type: None,
            size_bytes: plan.received_bytes(),
            proven_at: SystemTime::now(),
            proof: Proof::Upstream,
        };
        let kept = spawn_blocking(move || {
            proven.commit()?;
            store.prove(&registry, &repository, &digest, member)
        });
        match kept.await.map_err(Broken::Task)? {
            Ok(()) => Ok(FillEnd::Kept),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                tracing::warn!(blob.digest = %self.digest, error, "a blob was delivered and could not be kept");
                Ok(FillEnd::NotKept)
            }
        }
    }

    fn publish(&self, state: State, plan: Option<&Plan>) {
        self.progress.send_modify(|progress: &mut Progress| {
            if let Some(plan) = plan {
                progress.deliverable_bytes = plan.deliverable_bytes();
                progress.size_bytes = plan.size_bytes();
            }
            progress.state = state;
        });
    }

    fn stopped(&self, stop: Stop) -> Broken {
        let kind = match stop {
            Stop::NoProgress { .. } => Kind::Unavailable,
            Stop::Overlong { .. } | Stop::SizeChanged { .. } | Stop::Gap { .. } => Kind::Malformed,
        };
        broken(self.failure(kind, &stop.to_string()))
    }

    fn failure(&self, kind: Kind, detail: &str) -> Failure {
        failure_of_body(&self.upstream, kind, detail)
    }
}

async fn write(ink: Ink, batch: Vec<Bytes>) -> Result<Ink, Broken> {
    spawn_blocking(move || ink.write(&batch)).await.map_err(Broken::Task)?.map_err(Broken::Store)
}

/// Asking again cannot help where upstream has answered and the answer was no.
fn is_final(failure: &Failure) -> bool {
    !matches!(failure.kind, Kind::Unavailable | Kind::RateLimited)
}

fn pause(attempt: u32) -> Duration {
    let place = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX).min(RESUME_DELAYS.len() - 1);
    RESUME_DELAYS[place].mul_f64(0.5 + fastrand::f64() / 2.0)
}

fn broken(failure: Failure) -> Broken {
    Broken::Upstream(Box::new(failure))
}

impl From<store::Error> for Broken {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

/// A task that is of no use without its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Whatever ends the task, by panic too, nobody waits for it for ever.
struct Unwinding<'a> {
    fill: &'a Fill,
    metrics: &'a Metrics,
}

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        self.metrics.fills_running.dec();
        if !self.fill.is_over() {
            self.fill.publish(State::Unstorable, None);
        }
    }
}

/// Kept out of `Fill` so that its field stays private to this module.
pub(super) fn subscribe(fill: &Fill) -> watch::Receiver<Progress> {
    fill.progress.subscribe()
}
