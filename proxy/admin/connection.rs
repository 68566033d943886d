//! Connections of either way in: accepted, bounded in number and time, one request each.

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::{Semaphore, watch},
    task::JoinSet,
    time,
};

/// A monitoring system and a few people; a caller beyond is told to come later by a closed connection.
const CONNECTIONS_MAX: usize = 64;
/// From the first byte to the end of the headers.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);
/// From the first byte to the last: answers are small.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
/// After an accept that failed, since descriptors may have run out and would again at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

pub(super) type Answer = Response<Full<Bytes>>;

/// Accepts until `stop`, then waits for what is under way.
pub(super) async fn accept<S, A, R>(
    next: impl Fn() -> A,
    respond: impl Fn(Request<Incoming>) -> R + Clone + Send + Sync + 'static,
    mut stop: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    A: Future<Output = io::Result<S>>,
    R: Future<Output = Answer> + Send + 'static,
{
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            Some(_) = connections.join_next() => {}
            accepted = next() => match accepted {
                Ok(stream) => {
                    let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
                    let respond = respond.clone();
                    connections.spawn(async move {
                        serve(stream, respond).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin door cannot accept");
                    time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    while connections.join_next().await.is_some() {}
}

/// An error means that the sender is gone, which is as good as a stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn serve<S, R>(stream: S, respond: impl Fn(Request<Incoming>) -> R)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    R: Future<Output = Answer>,
{
    let service = service_fn(|request| {
        let answer = respond(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_TIMEOUT)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A caller that breaks off or dawdles is no event.
    let _ = time::timeout(CONNECTION_TIMEOUT, connection).await;
}

/// An answer with a body of this type.
pub(super) fn answer(status: StatusCode, media_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(media_type));
    answer.headers_mut().insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
    answer
}
