//! The admin door (health, metrics) and the Unix socket through which commands reach a running server.
//!
//! Whatever changes state goes through the socket, which only the user larder runs as may open.

mod client;
mod commands;
mod connection;
mod door;
mod error;
mod socket;

pub use client::Client;
pub use commands::Commands;
pub use error::Error;
pub use socket::Socket;

use crate::{config::Config, metrics::Metrics};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};
use tokio::{net::TcpListener, sync::watch};

/// Both ways in, served until told to stop.
pub struct Admin {
    config: Arc<Config>,
    metrics: Arc<Metrics>,
    commands: Arc<dyn Commands>,
    ready: AtomicBool,
}

impl Admin {
    /// Not ready yet.
    pub fn new(config: Arc<Config>, metrics: Arc<Metrics>, commands: Arc<dyn Commands>) -> Arc<Self> {
        Arc::new(Self { config, metrics, commands, ready: AtomicBool::new(false) })
    }

    /// What `/readyz` says from now on.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    /// Serves the door and the socket until `stop` is true or its sender is gone; requests under way are finished, for
    /// which each has a deadline. Dropping the future breaks them off.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, socket: Socket, stop: watch::Receiver<bool>) {
        let (door, commands) = (Arc::clone(&self), self);
        tokio::join!(
            connection::accept(
                || async { listener.accept().await.map(|(stream, _)| stream) },
                move |request| {
                    let admin = Arc::clone(&door);
                    async move { door::respond(&admin, &request) }
                },
                stop.clone(),
            ),
            connection::accept(
                || socket.accept(),
                move |request| {
                    let admin = Arc::clone(&commands);
                    async move { commands::respond(&admin, request).await }
                },
                stop,
            ),
        );
    }
}

#[cfg(test)]
mod tests;
