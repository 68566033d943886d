//! The registry door: HTTP in and out.
//!
//! [`pull`] is the life of a pull from top to bottom. Routes are parsed once from the raw path ([`route`]); nothing is
//! decoded after that. There is no route that writes.

mod body;
mod pull;
mod range;
mod respond;
mod route;

use crate::{cache::Cache, config::Config, metrics::Metrics};
use body::Body;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use std::{convert::Infallible, sync::Arc, time::Duration};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};

/// The registry API for nodes (distribution-spec 1.1, the pull part).
pub struct Server {
    config: Arc<Config>,
    cache: Arc<Cache>,
    metrics: Arc<Metrics>,
}

/// Head and unsent body of one connection: with a thousand callers this is what counts.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// A connection that says nothing for so long is closed, so that silent ones cannot use all there are.
const HEADER_TIMEOUT: Duration = Duration::from_secs(60);

/// A caller that takes nothing for so long is gone.
const UNSENT_TIMEOUT: Duration = Duration::from_secs(120);

/// More connections than this wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 16_384;

/// When stopping, running answers have this long to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

impl Server {
    /// A door to `cache`.
    pub fn new(config: Arc<Config>, cache: Arc<Cache>, metrics: Arc<Metrics>) -> Self {
        Self { config, cache, metrics }
    }

    /// Serves `listener` until `stop` turns true; then lets running answers end, for 20 s at most.
    pub async fn run(self, listener: TcpListener, mut stop: watch::Receiver<bool>) {
        let server = Arc::new(self);
        let graceful = GracefulShutdown::new();
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = accept(&listener, &places) => accepted,
                _ = stop.wait_for(|stop| *stop) => break,
            };
            let Some((stream, place)) = accepted else { continue };
            let answering = Arc::clone(&server);
            let service = service_fn(move |request| {
                let server = Arc::clone(&answering);
                async move { Ok::<_, Infallible>(server.answer(request).await) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIMEOUT)
                .max_buf_size(BUFFER_BYTES_MAX)
                .serve_connection(TokioIo::new(stream), service);
            let connection = graceful.watch(connection);
            let server = Arc::clone(&server);
            tokio::spawn(async move {
                server.metrics.connections.inc();
                // Callers hang up and bodies are broken off on purpose: neither is news.
                if let Err(error) = connection.await {
                    tracing::debug!(error = &error as &dyn std::error::Error, "a connection ended early");
                }
                server.metrics.connections.dec();
                drop(place);
            });
        }
        drop(listener);
        if timeout(STOP_TIMEOUT, graceful.shutdown()).await.is_err() {
            tracing::warn!("some answers were still running after {} s and are broken off", STOP_TIMEOUT.as_secs());
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        pull::answer(self, &request).await
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => {
            // Neither is worth refusing a caller for.
            let _ = stream.set_nodelay(true);
            let _ = rustix::net::sockopt::set_tcp_user_timeout(
                &stream,
                u32::try_from(UNSENT_TIMEOUT.as_millis()).unwrap_or(u32::MAX),
            );
            Some((stream, place))
        }
        Err(error) => {
            // Out of file descriptors, most likely: those who are served free some.
            tracing::warn!(error = &error as &dyn std::error::Error, "a connection could not be accepted");
            sleep(Duration::from_millis(50)).await;
            None
        }
    }
}
