//! `[upstream."NAME"]`

use super::{Pattern, Secret, SecretSource};
use std::{num::NonZeroU64, path::PathBuf, time::Duration};
use url::Url;

/// A registry that may be pulled from, and how.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Where its API is, in the order they are tried; never empty. `http` or `https`, no user part, query or fragment.
    pub urls: Vec<Url>,
    /// Further certificate authorities (PEM), over the system's.
    pub ca_file: Option<PathBuf>,
    /// The proxy to reach it by; absent: `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` count.
    pub proxy: Option<Url>,
    /// Token services that may see its credentials, beside its own origins and the built-in ones.
    pub trusted_realms: Vec<Origin>,
    /// Whether its redirects may lead to private addresses although its own is public. Default false.
    pub redirects_private_allowed: bool,
    /// Only these repositories may be pulled; empty: all.
    pub repositories_allowed: Vec<Pattern>,
    /// These repositories may not be pulled, whatever is allowed.
    pub repositories_denied: Vec<Pattern>,
    /// How many blobs are fetched from it at once. Default 64.
    pub fills_max: usize,
    /// Bytes per second that all fetches from it share; absent: no limit.
    pub bandwidth_max: Option<NonZeroU64>,
    /// Instead of `cache.tag_ttl`.
    pub tag_ttl: Option<Duration>,
    /// Never dial it.
    pub offline: bool,
    /// What to show it. At most one for now.
    pub credentials: Vec<Credential>,
}

impl Upstream {
    /// Whether the credential may be shown at `url`: it belongs to the origin of the first of `urls`, and to others that
    /// `trusted_realms` lists; never to http where the first is https.
    pub fn is_entitled(&self, url: &Url) -> bool {
        let (Some(first), Some(origin)) = (self.urls.first(), Origin::of(url)) else { return false };
        if first.scheme() == "https" && url.scheme() != "https" {
            return false;
        }
        Origin::of(first).as_ref() == Some(&origin) || self.trusted_realms.contains(&origin)
    }
}

/// A user name and where its password is.
#[derive(Debug, Clone)]
pub struct Credential {
    /// Which entry it is, for sentences: `upstream."docker.io".credentials[0]`.
    pub place: String,
    /// The user name.
    pub username: String,
    /// Where the password comes from.
    pub password_source: SecretSource,
    /// The password as it was when the configuration was read.
    pub password: Secret,
}

/// Scheme, host and port of a URL: what a credential belongs to (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    scheme: String,
    host: String,
    port: u16,
}

impl Origin {
    /// The origin of `url`, default ports filled in. `None` where the scheme is neither http nor https.
    pub fn of(url: &Url) -> Option<Self> {
        matches!(url.scheme(), "http" | "https").then_some(())?;
        Some(Self {
            scheme: url.scheme().to_owned(),
            host: url.host_str()?.to_ascii_lowercase(),
            port: url.port_or_known_default()?,
        })
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        match (self.scheme.as_str(), self.port) {
            ("https", 443) | ("http", 80) => Ok(()),
            (_, port) => write!(f, ":{port}"),
        }
    }
}
