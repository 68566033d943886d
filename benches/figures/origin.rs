//! The registry everything is pulled from: HTTP/1.1 by hand, bodies straight from memory in large writes, so that it is
//! never what limits a figure. It counts what it is asked and can spread a body over a time. It knows neither
//! authentication nor errors: what a registry does wrong is the business of the tests, not of the figures.

use crate::content::{Content, REPOSITORY, TAG};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::{Instant, sleep_until, timeout},
};

/// Longest a connection may be silent, and longest a write may wait: no figure leaves one alone for so long.
const IDLE_MAX: Duration = Duration::from_secs(150);
/// Largest request head; ours and those of the peers have a few hundred bytes.
const HEAD_MAX: usize = 16 * 1024;
/// One write of an unpaced body.
const WRITE_SIZE: usize = 1024 * 1024;
/// Parts of a paced body: many enough that it looks steady, few enough to cost nothing.
const PACED_PARTS: usize = 400;

/// How the origin can fail to start.
#[derive(Debug, thiserror::Error)]
#[error("the origin did not start")]
pub struct Error(#[from] std::io::Error);

/// A running origin; it stops when dropped.
pub struct Origin {
    /// Where it listens.
    pub address: SocketAddr,
    state: Arc<State>,
    _runtime: Runtime,
}

/// Requests seen since the counts were last taken. `GET /v2/`, which some systems send when they start, is not counted.
#[derive(Debug, Default, Clone, Copy, serde::Serialize)]
pub struct Counts {
    /// GET of blobs and manifests.
    pub get: u64,
    /// HEAD of blobs and manifests.
    pub head: u64,
}

#[derive(Default)]
struct State {
    served: RwLock<HashMap<String, Served>>,
    get: AtomicU64,
    head: AtomicU64,
}

#[derive(Clone)]
struct Served {
    content: Content,
    /// How long the body takes.
    pace: Option<Duration>,
}

impl Origin {
    /// Listens on a free port of the loopback, with two threads of its own.
    pub fn start() -> Result<Self, Error> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("origin").enable_all().build()?;
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let accepting = Arc::clone(&state);
        runtime.spawn(async move {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            loop {
                match listener.accept().await {
                    Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&accepting)))),
                    // Out of descriptors: the callers are waiting, so try again rather than stop.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
        });
        Ok(Self { address, state, _runtime: runtime })
    }

    /// Serves `content` by its digest, and as the tag if it is a manifest.
    pub fn publish(&self, content: &Content) {
        self.insert(content.path(), Served { content: content.clone(), pace: None });
        if content.path().contains("/manifests/") {
            let path = format!("/v2/{REPOSITORY}/manifests/{TAG}");
            self.insert(path, Served { content: content.clone(), pace: None });
        }
    }

    /// Serves `content` by its digest, each body spread evenly over `pace`.
    pub fn publish_paced(&self, content: &Content, pace: Duration) {
        self.insert(content.path(), Served { content: content.clone(), pace: Some(pace) });
    }

    /// What was asked since the last call.
    pub fn take_counts(&self) -> Counts {
        Counts { get: self.state.get.swap(0, Ordering::Relaxed), head: self.state.head.swap(0, Ordering::Relaxed) }
    }

    fn insert(&self, path: String, served: Served) {
        self.state.served.write().expect("no holder of this lock panics").insert(path, served);
    }
}

/// One connection, request after request, until the peer closes it or errs.
async fn serve(mut stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true); // without it figures get worse, nothing breaks
    let mut received = Vec::with_capacity(HEAD_MAX);
    loop {
        let end = loop {
            if let Some(end) = received.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            let read = timeout(IDLE_MAX, stream.read_buf(&mut received)).await;
            if received.len() > HEAD_MAX || !matches!(read, Ok(Ok(1..))) {
                return;
            }
        };
        let answered = match Request::parse(&received[..end]) {
            Some(request) => answer(&mut stream, &state, &request).await,
            None => return,
        };
        if answered.is_err() {
            return;
        }
        received.drain(..end);
    }
}

async fn answer(stream: &mut TcpStream, state: &State, request: &Request<'_>) -> std::io::Result<()> {
    if request.path == "/v2/" || request.path == "/v2" {
        return write(stream, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}")
            .await;
    }
    let counter = if request.head { &state.head } else { &state.get };
    counter.fetch_add(1, Ordering::Relaxed);
    let served = state.served.read().expect("no holder of this lock panics").get(request.path).cloned();
    let Some(Served { content, pace }) = served else {
        return write(stream, b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    };
    let size = content.bytes.len();
    let (first, end) = request.range.map_or((0, size), |(first, last)| (first, last.map_or(size, |last| last + 1)));
    if first >= end || end > size {
        return write(stream, b"HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n").await;
    }
    let status = match request.range {
        Some(_) => format!("206 Partial Content\r\nContent-Range: bytes {first}-{}/{size}", end - 1),
        None => "200 OK".to_owned(),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nContent-Type: {}\r\nDocker-Content-Digest: {}\r\n\
         Docker-Distribution-Api-Version: registry/2.0\r\nAccept-Ranges: bytes\r\nEtag: \"{}\"\r\n\r\n",
        end - first,
        content.media_type,
        content.digest,
        content.digest
    );
    let body = if request.head { &[][..] } else { &content.bytes[first..end] };
    if body.len() <= HEAD_MAX {
        return write(stream, &[head.as_bytes(), body].concat()).await;
    }
    write(stream, head.as_bytes()).await?;
    match pace {
        None => {
            for part in body.chunks(WRITE_SIZE) {
                write(stream, part).await?;
            }
        }
        Some(pace) => {
            let started = Instant::now();
            let parts = body.chunks(size.div_ceil(PACED_PARTS));
            for (index, part) in parts.enumerate() {
                sleep_until(started + pace.mul_f64((index + 1) as f64 / PACED_PARTS as f64)).await;
                write(stream, part).await?;
            }
        }
    }
    Ok(())
}

async fn write(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    timeout(IDLE_MAX, stream.write_all(bytes)).await?
}

/// What of a request counts here.
struct Request<'a> {
    head: bool,
    path: &'a str,
    range: Option<(usize, Option<usize>)>,
}

impl<'a> Request<'a> {
    /// `None` for what no peer sends: a broken line, another method, several ranges.
    fn parse(head: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?;
        let mut lines = text.split("\r\n");
        let mut words = lines.next()?.split(' ');
        let head = match words.next()? {
            "GET" => false,
            "HEAD" => true,
            _ => return None,
        };
        let target = words.next()?;
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        let mut range = None;
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("range") {
                let (first, last) = value.trim().strip_prefix("bytes=")?.split_once('-')?;
                let last = if last.is_empty() { None } else { Some(last.parse().ok()?) };
                range = Some((first.parse().ok()?, last));
            }
        }
        Some(Self { head, path, range })
    }
}
