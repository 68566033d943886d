//! Names to addresses: the system's resolver with a deadline, a bound and the address rules.

use super::address::{Refused, Rules};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Semaphore, time::Instant};

/// Longer than a resolver needs that works, shorter than the time to connect.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);
/// A name server that is silent holds a thread for each look-up, long after nobody waits for it.
const LOOKUPS_MAX: usize = 16;
/// How long a name is looked up that only a proxy has to resolve. Networks with proxies often have no other names.
const VET_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the finding about such a name is believed.
const VETTED_FOR: Duration = Duration::from_secs(60);
/// How long addresses that were right are used while the name server gives none.
const REMEMBERED_MAX: Duration = Duration::from_secs(3600);
/// Hosts whose addresses are remembered; an upstream redirects to a handful.
const HOSTS_MAX: usize = 256;

/// Why a name gave no address to dial.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    #[error("name not found")]
    NotFound(#[source] std::io::Error),
    #[error("no answer from the name server after {} s", RESOLVE_TIMEOUT.as_secs())]
    TimedOut,
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// The resolver of one upstream.
#[derive(Clone)]
pub(super) struct Resolver(Arc<Inner>);

/// What was found of names that a proxy resolves, and when.
type Vetted = HashMap<String, (Instant, Result<(), Refused>)>;

struct Inner {
    rules: Arc<Rules>,
    lookups: Arc<Semaphore>,
    remembered: Mutex<HashMap<String, (Instant, Vec<IpAddr>)>>,
    vetted: Mutex<Vetted>,
}

impl Resolver {
    pub(super) fn new(rules: Arc<Rules>) -> Self {
        let lookups = Arc::new(Semaphore::new(LOOKUPS_MAX));
        Self(Arc::new(Inner { rules, lookups, remembered: Mutex::default(), vetted: Mutex::default() }))
    }

    /// Whether a proxy may be asked for `host`, which the operator did not name. What has no address here is not known
    /// to be bad.
    pub(super) async fn vet(&self, host: &str) -> Result<(), Refused> {
        let known =
            self.0.vetted().get(host).filter(|(at, _)| at.elapsed() < VETTED_FOR).map(|(_, found)| found.clone());
        if let Some(found) = known {
            return found;
        }
        let addresses = tokio::time::timeout(VET_TIMEOUT, self.0.look_up(host)).await;
        let found = self.0.rules.check_proxied(host, &addresses.ok().and_then(Result::ok).unwrap_or_default());
        let mut vetted = self.0.vetted();
        if vetted.len() >= HOSTS_MAX {
            vetted.clear();
        }
        vetted.insert(host.to_owned(), (Instant::now(), found.clone()));
        found
    }
}

impl Inner {
    fn vetted(&self) -> MutexGuard<'_, Vetted> {
        self.vetted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, ResolveError> {
        let found = match tokio::time::timeout(RESOLVE_TIMEOUT, self.look_up(host)).await {
            Ok(found) => found.map_err(ResolveError::NotFound),
            Err(_) => Err(ResolveError::TimedOut),
        };
        let addresses = match found {
            Ok(addresses) => {
                self.remember(host, &addresses);
                addresses
            }
            Err(error) => self.recall(host).ok_or(error)?,
        };
        Ok(self.rules.filter(host, addresses)?)
    }

    async fn look_up(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(std::io::Error::other)?;
        let host = host.to_owned();
        let addresses = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (host.as_str(), 0).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect::<Vec<_>>())
        });
        let addresses = addresses.await.map_err(std::io::Error::other)??;
        if addresses.is_empty() { Err(std::io::ErrorKind::NotFound.into()) } else { Ok(addresses) }
    }

    fn remember(&self, host: &str, addresses: &[IpAddr]) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.len() >= HOSTS_MAX && !remembered.contains_key(host) {
            remembered.clear();
        }
        remembered.insert(host.to_owned(), (Instant::now(), addresses.to_vec()));
    }

    fn recall(&self, host: &str) -> Option<Vec<IpAddr>> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        remembered.get(host).filter(|(at, _)| at.elapsed() < REMEMBERED_MAX).map(|(_, addresses)| addresses.clone())
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let inner = Arc::clone(&self.0);
        Box::pin(async move {
            let addresses = inner.resolve(name.as_str()).await?;
            Ok(Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0))) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::address::tests::rules;

    #[tokio::test]
    async fn a_foreign_name_that_stands_for_this_machine_is_refused() {
        let resolver = Resolver::new(Arc::new(rules(&["https://registry.example"])));
        let error = resolver.0.resolve("localhost").await.unwrap_err();
        assert!(matches!(error, ResolveError::Refused(_)), "{error}");
    }

    #[tokio::test]
    async fn the_own_name_may_stand_for_this_machine() {
        let resolver = Resolver::new(Arc::new(rules(&["http://localhost:5000"])));
        assert!(resolver.0.resolve("localhost").await.unwrap().iter().all(IpAddr::is_loopback));
    }

    #[tokio::test]
    async fn the_last_addresses_are_used_while_the_name_server_gives_none() {
        let resolver = Resolver::new(Arc::new(rules(&["https://gone.invalid"])));
        assert!(matches!(resolver.0.resolve("gone.invalid").await, Err(ResolveError::NotFound(_))));
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        resolver.0.remember("gone.invalid", &[address]);
        assert_eq!(resolver.0.resolve("gone.invalid").await.unwrap(), [address]);
    }

    #[tokio::test]
    async fn a_name_for_the_proxy_is_refused_only_for_what_is_known_of_it() {
        let resolver = Resolver::new(Arc::new(rules(&["https://registry.example"])));
        for _ in 0..2 {
            assert!(resolver.vet("localhost").await.is_err());
            assert!(resolver.vet("metadata.google.internal").await.is_err());
            assert!(resolver.vet("cdn.invalid").await.is_ok());
        }
    }
}
