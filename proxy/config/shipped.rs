//! What is configured without a file.

use super::{Alias, Cache, Config, Server, Size, Upstream};
use crate::oci::Registry;
use std::{net::SocketAddr, path::PathBuf, time::Duration};
use url::Url;

const UPSTREAMS: [(&str, &str); 7] = [
    ("docker.io", "https://registry-1.docker.io"),
    ("ghcr.io", "https://ghcr.io"),
    ("quay.io", "https://quay.io"),
    ("registry.k8s.io", "https://registry.k8s.io"),
    ("gcr.io", "https://gcr.io"),
    ("mcr.microsoft.com", "https://mcr.microsoft.com"),
    ("public.ecr.aws", "https://public.ecr.aws"),
];

/// The names under which Docker's own tools know Docker Hub.
const DOCKER_HUB_ALIASES: [&str; 3] = ["registry.hub.docker.com", "registry-1.docker.io", "index.docker.io"];

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Default for Config {
    fn default() -> Self {
        let parse = |name: &str| name.parse::<Registry>().expect("a shipped name is a registry");
        let upstreams = UPSTREAMS
            .into_iter()
            .map(|(name, url)| (parse(name), Upstream::at(vec![url.parse().expect("a shipped URL is one")])))
            .collect();
        let aliases = DOCKER_HUB_ALIASES
            .into_iter()
            .map(|name| Alias { registry: parse(name), prefix: None, upstream: Registry::docker_hub() })
            .collect();
        Self { server: Server::default(), cache: Cache::default(), upstreams, aliases }
    }
}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 5000)),
            admin: SocketAddr::from(([127, 0, 0, 1], 5001)),
            default_registry: Registry::docker_hub(),
            honest_status: false,
        }
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            directory: PathBuf::from("larder-data"),
            size_max: Size::Percent(70),
            free_min: Size::Percent(10),
            tag_ttl: Duration::from_secs(60),
            tags_immutable: Vec::new(),
            missing_ttl: Duration::from_secs(10),
            stale_max: 30 * DAY,
            keep_deleted: 30 * DAY,
            offline: false,
        }
    }
}

impl Upstream {
    /// An upstream at `urls` with everything else as it is by default.
    pub fn at(urls: Vec<Url>) -> Self {
        Self {
            urls,
            ca_file: None,
            proxy: None,
            trusted_realms: Vec::new(),
            redirects_private_allowed: false,
            repositories_allowed: Vec::new(),
            repositories_denied: Vec::new(),
            fills_max: 64,
            bandwidth_max: None,
            tag_ttl: None,
            offline: false,
            credentials: Vec::new(),
        }
    }
}
