//! The callers. One thread, keep-alive connections, requests as containerd writes them. Every answer's status and
//! length are checked; its bytes where that does not make the callers what is measured, see [`COMPARED`].

mod connection;
mod request;
mod statistics;

pub use connection::{Connection, Sink};
pub use request::Request;
pub use statistics::{median, percentile};

use crate::content::written;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{runtime::Runtime, task::JoinSet, time::timeout};

/// One caller in so many compares every byte it gets with what the origin holds; the others have the kernel discard the
/// body and check its length. Comparing at all of them would cost more than the servers under test do.
const COMPARED: usize = 10;

/// What a caller can meet. All of them count as errors in the figures.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no runtime or no file of its own")]
    Own(#[source] std::io::Error),
    #[error("not connected: {0}")]
    Connect(#[source] std::io::Error),
    #[error("not sent: {0}")]
    Send(#[source] std::io::Error),
    #[error("broken off after {received} bytes: {source}")]
    Receive { received: usize, source: std::io::Error },
    #[error("closed after {received} bytes of the answer")]
    Closed { received: usize },
    #[error("an answer that is not HTTP/1.1 with a length")]
    Framing,
    #[error("status {0}")]
    Status(u16),
    #[error("{announced} bytes announced instead of {expected}")]
    Length { announced: usize, expected: usize },
    #[error("other bytes than the origin's")]
    Bytes,
    #[error("not done within {0:?}")]
    Deadline(Duration),
}

/// What became of many callers.
#[derive(Debug, Default)]
pub struct Outcome {
    /// From the first caller's start to the last one's end.
    pub seconds: f64,
    /// Per caller that got everything: from its start, connecting included, to the first byte of the body.
    pub first_byte: Vec<Duration>,
    /// Callers that did not.
    pub errors: usize,
    /// What the first of them met.
    pub error: Option<Error>,
}

impl Outcome {
    fn add(&mut self, result: Result<Duration, Error>) {
        match result {
            Ok(first_byte) => self.first_byte.push(first_byte),
            Err(error) => {
                self.errors += 1;
                self.error.get_or_insert(error);
            }
        }
    }
}

/// Callers that each connect and ask once; caller N starts at `arrivals[N]`.
pub fn herd(request: &Request, arrivals: &[Duration], deadline: Duration) -> Result<Outcome, Error> {
    runtime()?.block_on(async {
        let request = Arc::new(request.clone());
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for (index, arrival) in arrivals.iter().copied().enumerate() {
            let request = Arc::clone(&request);
            callers.spawn(async move {
                tokio::time::sleep(arrival).await;
                let call = async {
                    let start = Instant::now();
                    let mut connection = Connection::open(request.address).await?;
                    let bytes = request.expected.clone();
                    let sink = if index.is_multiple_of(COMPARED) { Sink::Compare(&bytes) } else { Sink::Discard };
                    let answer = connection.exchange(&request, sink).await?;
                    Ok(answer.first_byte.duration_since(start))
                };
                timeout(deadline, call).await.unwrap_or(Err(Error::Deadline(deadline)))
            });
        }
        let mut outcome = Outcome::default();
        while let Some(joined) = callers.join_next().await {
            outcome.add(joined.unwrap_or(Err(Error::Framing)));
        }
        outcome.seconds = started.elapsed().as_secs_f64();
        Ok(outcome)
    })
}

/// Answers per second that `connections` callers get, each asking again as soon as it was answered.
pub fn rate(request: &Request, connections: usize, duration: Duration) -> Result<(f64, Outcome), Error> {
    let deadline = duration + Duration::from_secs(30);
    repeat(request, connections, deadline, move |_, started| started.elapsed() < duration)
}

/// `count` answers, by callers that ask one after the other. The same request, so mind the size of the body.
pub fn stream(request: &Request, connections: usize, count: usize, deadline: Duration) -> Result<Outcome, Error> {
    let each = count.div_ceil(connections);
    Ok(repeat(request, connections, deadline, move |done, _| done < each)?.1)
}

/// One caller that keeps what it gets as containerd does: hashed and written to `path`.
pub fn pull(request: &Request, path: &Path, deadline: Duration) -> Result<Duration, Error> {
    let mut file = File::create(path).map_err(Error::Own)?;
    runtime()?.block_on(async {
        let mut hash = Sha256::new();
        let started = Instant::now();
        let call = async {
            let mut connection = Connection::open(request.address).await?;
            connection.exchange(request, Sink::Keep { hash: &mut hash, file: &mut file }).await
        };
        timeout(deadline, call).await.unwrap_or(Err(Error::Deadline(deadline)))?;
        let digest = written(hash);
        let elapsed = started.elapsed();
        if request.path.contains(&digest) { Ok(elapsed) } else { Err(Error::Bytes) }
    })
}

/// Asks for both in turn, `count` times in all, as a node does that pulls a tag: HEAD of the tag, GET by digest.
pub fn pull_tags(requests: &[Request; 2], connections: usize, count: usize, pause: Duration) -> Result<Outcome, Error> {
    const DEADLINE: Duration = Duration::from_secs(90);
    runtime()?.block_on(async {
        let requests = Arc::new(requests.clone());
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..connections {
            let requests = Arc::clone(&requests);
            callers.spawn(async move {
                let mut outcome = Outcome::default();
                let calls = async {
                    let mut connection = Connection::open(requests[0].address).await?;
                    for _ in 0..count.div_ceil(connections) {
                        let start = Instant::now();
                        connection.exchange(&requests[0], Sink::Discard).await?;
                        let answer = connection.exchange(&requests[1], Sink::Compare(&requests[1].expected)).await?;
                        outcome.first_byte.push(answer.first_byte.duration_since(start));
                        tokio::time::sleep(pause).await;
                    }
                    Ok(())
                };
                let result = timeout(DEADLINE, calls).await.unwrap_or(Err(Error::Deadline(DEADLINE)));
                (outcome.first_byte, result.err())
            });
        }
        Ok(gather(callers, started).await)
    })
}

fn repeat(
    request: &Request,
    connections: usize,
    deadline: Duration,
    more: impl Fn(usize, Instant) -> bool + Copy + Send + Sync + 'static,
) -> Result<(f64, Outcome), Error> {
    runtime()?.block_on(async {
        let request = Arc::new(request.clone());
        let started = Instant::now();
        let mut callers = JoinSet::new();
        for _ in 0..connections {
            let request = Arc::clone(&request);
            callers.spawn(async move {
                let mut times = Vec::with_capacity(1 << 16);
                let calls = async {
                    let mut connection = Connection::open(request.address).await?;
                    while more(times.len(), started) {
                        let start = Instant::now();
                        let answer = connection.exchange(&request, Sink::Discard).await?;
                        times.push(answer.first_byte.duration_since(start));
                    }
                    Ok(())
                };
                let result = timeout(deadline, calls).await.unwrap_or(Err(Error::Deadline(deadline)));
                (times, result.err())
            });
        }
        let outcome = gather(callers, started).await;
        Ok((outcome.first_byte.len() as f64 / outcome.seconds, outcome))
    })
}

async fn gather(mut callers: JoinSet<(Vec<Duration>, Option<Error>)>, started: Instant) -> Outcome {
    let mut outcome = Outcome::default();
    while let Some(joined) = callers.join_next().await {
        let (times, error) = joined.unwrap_or((Vec::new(), Some(Error::Framing)));
        outcome.first_byte.extend(times);
        if let Some(error) = error {
            outcome.add(Err(error));
        }
    }
    outcome.seconds = started.elapsed().as_secs_f64();
    outcome
}

/// One thread: the two cores of a small machine belong to the server under test as far as may be.
fn runtime() -> Result<Runtime, Error> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Own)
}
