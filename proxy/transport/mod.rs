//! The outgoing HTTP client of one upstream: roots, proxies, timeouts, and rules on the addresses that are dialled.
//!
//! It sends one request and gives one answer. It follows no redirect, decodes no body, keeps no cookie and knows no
//! credential: what is sent where is decided by its callers.

mod address;
mod fault;
mod issuer;
mod resolver;
mod roots;

pub use address::{AddressClass, classify};
pub use fault::{Fault, Step};

use crate::config;
use address::Rules;
use http::{HeaderMap, Method};
use resolver::Resolver;
use std::{path::PathBuf, sync::Arc, time::Duration};
use tokio::time::Instant;
use url::Url;

/// Time to resolve a name, connect and shake hands: a host that needs longer is as good as down.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that idle longer are closed: registries and load balancers drop them after 60 s or more.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);
/// Idle connections kept for each host.
const IDLE_PER_HOST_MAX: usize = 32;
/// More headers in one answer than this are no registry's.
const HEADERS_MAX: usize = 128;

/// What can be wrong with the configuration of an upstream's connections.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The CA file cannot be read.
    #[error(
        "ca_file {} cannot be read ({source}): give the path of a file with PEM certificates, or remove ca_file",
        path.display()
    )]
    CaFileUnreadable {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The CA file holds no certificate.
    #[error(
        "ca_file {} holds no certificate that can be used ({problem}): it needs one or more PEM blocks that begin with \
         -----BEGIN CERTIFICATE-----",
        path.display()
    )]
    CaFileInvalid {
        /// As configured.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The proxy's URL is of no use.
    #[error("the proxy cannot be used: give an http or https URL such as \"http://proxy.corp:3128\"")]
    Proxy(#[source] reqwest::Error),
    /// The TLS stack refused its configuration.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
    /// The certificate verifier refused its roots.
    #[error("TLS cannot be set up")]
    Verifier(#[source] rustls::client::VerifierBuilderError),
    /// The HTTP client refused its configuration.
    #[error("the HTTP client cannot be set up")]
    Client(#[source] reqwest::Error),
}

/// The connections to one URL of an upstream, and to where it leads. Nothing in it is shared with another one.
pub struct Transport {
    client: reqwest::Client,
    /// For this machine, where the proxy is one of the environment.
    direct: Option<reqwest::Client>,
    rules: Arc<Rules>,
    resolver: Resolver,
    proxies: Option<hyper_util::client::proxy::matcher::Matcher>,
}

impl Transport {
    /// The connections that `url`, one of those of `upstream`, is to be asked by.
    ///
    /// # Errors
    /// Where its CA file or its proxy cannot be used.
    pub fn new(upstream: &config::Upstream, url: &Url) -> Result<Self, Error> {
        let rules = Arc::new(Rules::new(upstream, url));
        let resolver = Resolver::new(Arc::clone(&rules));
        let tls = roots::client_config(upstream.ca_file.as_deref())?;
        let builder = || builder(tls.clone(), resolver.clone());
        let (client, direct, proxies) = match &upstream.proxy {
            Some(proxy) => (builder().proxy(reqwest::Proxy::all(proxy.clone()).map_err(Error::Proxy)?), None, None),
            None => {
                let proxies = hyper_util::client::proxy::matcher::Matcher::from_env();
                (builder(), Some(builder().no_proxy()), Some(proxies))
            }
        };
        let client = client.build().map_err(Error::Client)?;
        let direct = direct.map(reqwest::ClientBuilder::build).transpose().map_err(Error::Client)?;
        Ok(Self { client, direct, rules, resolver, proxies })
    }

    /// Sends one request without a body and waits for the headers of its answer, at most until `deadline`.
    ///
    /// # Errors
    /// A [`Fault`] that names the step, in words without query or header. Dropping the future drops the request.
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        headers: HeaderMap,
        deadline: Instant,
    ) -> Result<reqwest::Response, Fault> {
        // Literal addresses never reach the resolver, and behind a proxy no name does.
        self.rules.check_literal(url).map_err(Fault::refused)?;
        let proxied = self.is_proxied(url);
        if let Some(url::Host::Domain(host)) = url.host()
            && proxied
            && !self.rules.is_named(host)
        {
            self.resolver.vet(host).await.map_err(Fault::refused)?;
        }
        let client = self.direct.as_ref().filter(|_| address::is_loopback(url)).unwrap_or(&self.client);
        let started = Instant::now();
        let sending = client.request(method, url.clone()).headers(headers).send();
        match tokio::time::timeout_at(deadline, sending).await {
            Ok(Ok(response)) => {
                if let Some(peer) = response.remote_addr().filter(|_| !proxied) {
                    self.rules.connected(url, peer.ip());
                }
                Ok(response)
            }
            Ok(Err(error)) => Err(Fault::of(&error, proxied)),
            Err(_) => Err(Fault::timed_out(Step::Headers, started.elapsed())),
        }
    }

    /// Whether requests for `url` go through a proxy.
    fn is_proxied(&self, url: &Url) -> bool {
        match &self.proxies {
            None => true,
            Some(_) if address::is_loopback(url) => false,
            Some(matcher) => url.as_str().parse().is_ok_and(|uri| matcher.intercept(&uri).is_some()),
        }
    }
}

fn builder(tls: rustls::ClientConfig, resolver: Resolver) -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls)
        .dns_resolver(Arc::new(resolver))
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .http1_only()
        .http1_max_headers(HEADERS_MAX)
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .pool_max_idle_per_host(IDLE_PER_HOST_MAX)
        .tcp_keepalive(Duration::from_secs(30))
}

impl std::fmt::Debug for Transport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Transport")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_of_the_environment_is_not_asked_for_this_machine() {
        let url = |text: &str| Url::parse(text).unwrap();
        let upstream = config::Upstream::at(vec![url("http://127.0.0.1:5000")]);
        let mut transport = Transport::new(&upstream, &upstream.urls[0]).unwrap();
        let proxies = hyper_util::client::proxy::matcher::Matcher::builder().all("http://proxy.example:3128").build();
        transport.proxies = Some(proxies);
        assert!(transport.direct.is_some());
        for (target, proxied) in [
            ("http://127.0.0.1:5000/", false),
            ("https://[::1]/", false),
            ("http://localhost:1/", false),
            ("https://registry.example/", true),
            ("https://10.0.0.1/", true),
        ] {
            assert_eq!(transport.is_proxied(&url(target)), proxied, "{target}");
        }
    }
}
