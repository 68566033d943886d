//! `larder serve`

mod doors;
mod process;

use super::Failure;
use crate::{
    admin::{Admin, Commands, Socket},
    cache::Cache,
    config::Config,
    metrics::Metrics,
    oci::Target,
    server::Server,
    store::{self, Store},
    upstream::Upstreams,
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    task::{JoinHandle, spawn_blocking},
    time,
};

/// For streams under way when it is told to stop. Kubernetes kills after 30 s by default, and the store is to be closed
/// by then.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// For what was delivered and is not yet on the disk.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(5);
/// For the admin door after the registry door has closed.
const ADMIN_STOP_TIMEOUT: Duration = Duration::from_secs(2);

impl Commands for Cache {
    fn refresh(&self, target: &Target) {
        Cache::refresh(self, target);
    }
}

/// Everything open, nothing served yet.
struct Opened {
    store: Arc<Store>,
    cache: Arc<Cache>,
    server: Server,
    admin: Arc<Admin>,
    registry_door: TcpListener,
    admin_door: TcpListener,
    socket: Socket,
    signals: Signals,
}

/// Runs until SIGTERM or SIGINT.
pub(super) async fn serve(config: Config) -> Result<(), Failure> {
    process::raise_descriptor_limit();
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    let Opened { store, cache, server, admin, registry_door, admin_door, socket, mut signals } =
        open(Arc::new(config)).await?;
    // Only now: a process that cannot be dumped cannot use the links of its own descriptors, by which a socket with a
    // long path is made.
    process::forbid_core_dumps();
    let (listen, admin_address) = (address(&registry_door)?, address(&admin_door)?);

    let (stop_server, server_stopped) = watch::channel(false);
    let (stop_admin, admin_stopped) = watch::channel(false);
    let keeping_room = tokio::spawn(Arc::clone(&cache).keep_room(server_stopped.clone()));
    let mut serving = tokio::spawn(async move { server.run(registry_door, server_stopped).await });
    let administering = tokio::spawn(Arc::clone(&admin).serve(admin_door, socket, admin_stopped));
    admin.set_ready(true);
    tracing::info!(%listen, admin = %admin_address, directory = %store.directory().display(), "listening");

    let outcome = tokio::select! {
        () = signals.stop() => {
            tracing::info!("stopping: streams under way have {} s to end", STOP_TIMEOUT.as_secs());
            Ok(())
        }
        _ = &mut serving => Err(Failure::failed("the registry door closed by itself: see the log above".to_owned())),
    };
    admin.set_ready(false);
    stop_server.send_replace(true);
    if outcome.is_ok() {
        tokio::select! {
            _ = time::timeout(STOP_TIMEOUT, &mut serving) => {}
            () = signals.stop() => tracing::info!("stopping at once"),
        }
    }
    serving.abort();
    keeping_room.abort();
    stop_admin.send_replace(true);
    finish(administering).await;
    cache.settle(SETTLE_TIMEOUT).await;
    close(store).await;
    outcome
}

/// Store first: its lock says whether another larder runs here, before any door is tried.
async fn open(config: Arc<Config>) -> Result<Opened, Failure> {
    let signals = Signals::new().map_err(|error| Failure::failed(format!("signals cannot be received: {error}")))?;
    let directory = config.cache.directory.clone();
    let store = spawn_blocking(move || Store::open(&directory))
        .await
        .map_err(|error| Failure::from_error(&error))?
        .map_err(|error| unopened(&error))?;
    let store = Arc::new(store);
    let metrics = Arc::new(Metrics::default());
    let upstreams = Arc::new(Upstreams::new(&config, Arc::clone(&metrics)).map_err(|error| Failure::usage(&error))?);
    let cache = Cache::new(Arc::clone(&config), Arc::clone(&store), upstreams, Arc::clone(&metrics));
    let registry_door = doors::open(config.server.listen, "server.listen")?;
    let admin_door = doors::open(config.server.admin, "server.admin")?;
    let socket = Socket::bind(&config.cache.directory).map_err(|error| Failure::from_error(&error))?;
    let commands = Arc::clone(&cache) as Arc<dyn Commands>;
    let admin = Admin::new(Arc::clone(&config), Arc::clone(&metrics), commands);
    let server = Server::new(config, Arc::clone(&cache), metrics);
    Ok(Opened { store, cache, server, admin, registry_door, admin_door, socket, signals })
}

fn unopened(error: &store::Error) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        store::Error::InUse { .. } => failure.with_remedy("stop it or set cache.directory"),
        store::Error::Unwritable { .. } => failure.with_remedy("set cache.directory to one that this user may write"),
        _ => failure,
    }
}

fn address(door: &TcpListener) -> Result<SocketAddr, Failure> {
    door.local_addr().map_err(|error| Failure::from_error(&error))
}

async fn finish(mut administering: JoinHandle<()>) {
    if time::timeout(ADMIN_STOP_TIMEOUT, &mut administering).await.is_err() {
        administering.abort();
        // Awaited so that the socket's file is gone before the directory's lock is.
        let _ = administering.await;
    }
}

async fn close(store: Arc<Store>) {
    match spawn_blocking(move || store.close()).await {
        Ok(Ok(())) => tracing::info!("stopped"),
        Ok(Err(error)) => tracing::warn!(%error, "the store was not closed cleanly; the next start checks it"),
        Err(error) => tracing::warn!(%error, "the store was not closed cleanly; the next start checks it"),
    }
}

/// What the system tells the process.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From now on they no longer end the process by themselves.
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one that means to stop.
    async fn stop(&mut self) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    tracing::warn!("SIGHUP is ignored: this version reads its configuration at the start only");
                }
            }
        }
    }
}
