//! `[server]`

use crate::oci::Registry;
use std::net::SocketAddr;

/// The doors: where larder listens and what a request means that names no registry.
#[derive(Debug, Clone)]
pub struct Server {
    /// Where nodes speak the registry API. Default `127.0.0.1:5000`.
    pub listen: SocketAddr,
    /// Where health, metrics and findings are served. Default `127.0.0.1:5001`.
    pub admin: SocketAddr,
    /// The upstream of a request that names none. Default `docker.io`.
    pub default_registry: Registry,
    /// Status codes as the specification has them for every client. Default `false`: shaped so that the sentence
    /// reaches the user.
    pub honest_status: bool,
}
