//! An upstream registry that holds what a test puts in, records whatever it is asked, and misbehaves on command.
//!
//! It writes HTTP/1.1 by hand on its sockets, since a proper server would refuse to do most of what is wanted here.

mod auth;
mod fault;
mod repositories;
mod respond;
mod seen;

pub use auth::{Auth, Scheme};
pub use fault::{Fault, Gate};
pub use repositories::Repositories;
pub use seen::{Kind, Seen};

use super::content::{Image, MANIFEST};
use bytes::Bytes;
use rustls_pki_types::PrivateKeyDer;
use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
};
use tokio_rustls::TlsAcceptor;

/// A handle on the upstream; clones are the same upstream.
#[derive(Clone)]
pub struct FaultyUpstream(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    tls: Option<Tls>,
    connections: AtomicUsize,
    state: Mutex<State>,
}

struct Tls {
    acceptor: TlsAcceptor,
    certificate_pem: String,
}

#[derive(Default)]
struct State {
    repositories: Repositories,
    auth: Auth,
    faults: Vec<Fault>,
    seen: Vec<Arc<Seen>>,
    /// Its listener and connections end when this is dropped.
    running: Option<watch::Sender<()>>,
}

impl FaultyUpstream {
    /// Starts one on a free port, plain HTTP.
    pub async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts one that speaks TLS as `localhost` with a certificate of its own making.
    pub async fn start_tls() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = made.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start_with(Some(Tls { acceptor, certificate_pem: made.cert.pem() })).await
    }

    async fn start_with(tls: Option<Tls>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = Self(Arc::new(Shared {
            address,
            tls,
            connections: AtomicUsize::new(0),
            state: Mutex::new(State::default()),
        }));
        upstream.run(listener);
        upstream
    }

    /// Closes the listener and all connections: from now on they are refused.
    pub fn stop(&self) {
        self.state().running = None;
    }

    /// Listens again where it did.
    pub async fn restart(&self) {
        let mut listener = TcpListener::bind(self.0.address).await;
        super::until("the port to be free again", async || {
            if listener.is_err() {
                listener = TcpListener::bind(self.0.address).await;
            }
            listener.is_ok()
        })
        .await;
        self.run(listener.unwrap());
    }

    fn run(&self, listener: TcpListener) {
        let (running, stopped) = watch::channel(());
        self.state().running = Some(running);
        let upstream = self.clone();
        let mut listening = stopped.clone();
        tokio::spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    _ = listening.changed() => return,
                };
                let Ok((stream, _)) = accepted else { continue };
                upstream.0.connections.fetch_add(1, Ordering::SeqCst);
                let upstream = upstream.clone();
                let mut stopped = stopped.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        _ = upstream.serve(stream) => {}
                        _ = stopped.changed() => {}
                    }
                });
            }
        });
    }

    async fn serve(&self, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        match &self.0.tls {
            None => respond::serve(self, stream).await,
            Some(tls) => {
                if let Ok(stream) = tls.acceptor.accept(stream).await {
                    respond::serve(self, stream).await;
                }
            }
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// `http://127.0.0.1:PORT`, or `https://localhost:PORT`.
    pub fn url(&self) -> String {
        match &self.0.tls {
            None => format!("http://{}", self.0.address),
            Some(_) => format!("https://localhost:{}", self.0.address.port()),
        }
    }

    /// The certificate to trust, PEM. Empty without TLS.
    pub fn certificate_pem(&self) -> &str {
        self.0.tls.as_ref().map_or("", |tls| &tls.certificate_pem)
    }

    /// Changes what it holds.
    pub fn hold<T>(&self, change: impl FnOnce(&mut Repositories) -> T) -> T {
        change(&mut self.state().repositories)
    }

    /// Puts in an image under a tag.
    pub fn push(&self, repository: &str, tag: &str, image: &Image) {
        self.hold(|repositories| {
            repositories.blob(repository, &image.config);
            image.layers.iter().for_each(|layer| repositories.blob(repository, layer));
            repositories.manifest(repository, MANIFEST, &image.manifest);
            repositories.tag(repository, tag, &image.digest);
        });
    }

    /// Puts in a blob and says what it is called.
    pub fn push_blob(&self, repository: &str, bytes: &Bytes) -> String {
        self.hold(|repositories| repositories.blob(repository, bytes));
        super::digest_of(bytes)
    }

    /// Changes who may read what.
    pub fn auth<T>(&self, change: impl FnOnce(&mut Auth) -> T) -> T {
        change(&mut self.state().auth)
    }

    /// From now on misbehaves like this. Of several faults that fit a request the first counts.
    pub fn fault(&self, fault: Fault) {
        self.state().faults.push(fault);
    }

    /// Behaves again.
    pub fn behave(&self) {
        self.state().faults.clear();
    }

    /// How often it was dialled.
    pub fn connections(&self) -> usize {
        self.0.connections.load(Ordering::SeqCst)
    }

    /// What it was asked, oldest first.
    pub fn seen(&self) -> Vec<Arc<Seen>> {
        self.state().seen.clone()
    }

    /// How often it was asked for this kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.state().seen.iter().filter(|seen| seen.kind == kind).count()
    }

    /// How often it was asked for this kind with `part` in the path.
    pub fn count_of(&self, kind: Kind, part: &str) -> usize {
        self.state().seen.iter().filter(|seen| seen.kind == kind && seen.path.contains(part)).count()
    }

    /// How often it was asked for anything but a token and `/v2/`.
    pub fn asked(&self) -> usize {
        self.state().seen.iter().filter(|seen| !matches!(seen.kind, Kind::Token | Kind::Base)).count()
    }

    /// Forgets what it was asked.
    pub fn forget(&self) {
        self.state().seen.clear();
    }

    /// How many bytes of blobs it sent.
    pub fn blob_bytes_sent(&self) -> u64 {
        self.state().seen.iter().filter(|seen| seen.kind == Kind::BlobGet).map(|seen| seen.bytes_sent()).sum()
    }

    /// Whether `text` stood anywhere in a request: first line, headers or body.
    pub fn was_told(&self, text: &str) -> bool {
        self.state().seen.iter().any(|seen| seen.raw.contains(text))
    }
}
