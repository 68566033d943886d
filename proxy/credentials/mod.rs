//! What to show an upstream.
//!
//! A provider knows one way to come by a credential. It is asked before each use, so that what changed is used, and told
//! when an upstream refused what it gave. Where a credential may be sent is decided by `upstream`.

mod fixed;

pub use fixed::Fixed;

use crate::config::{self, Secret};
use std::{fmt, future::Future, path::PathBuf, pin::Pin, sync::Arc};

/// What to show an upstream.
#[derive(Debug, Clone)]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// A user name and a password, robot token or access token.
    Basic {
        /// The user name.
        username: String,
        /// The password.
        secret: Secret,
    },
}

/// A credential as it is now.
#[derive(Debug, Clone)]
pub struct Current {
    /// What to show.
    pub credential: Credential,
    /// Grows whenever the credential changes; what was got with an older one is not used any more. 0 is anonymous.
    pub generation: u64,
    /// Where it stands in the configuration; `None` for anonymous.
    pub place: Option<Arc<str>>,
}

/// A provider that has no credential to give.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The file that held the secret cannot be read.
    #[error("{} cannot be read", path.display())]
    Unreadable {
        /// As configured.
        path: PathBuf,
        /// What the system said.
        source: Arc<std::io::Error>,
    },
}

/// What an operation of a provider gives.
pub type Providing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One way to come by a credential.
pub trait CredentialProvider: fmt::Debug + Send + Sync {
    /// The credential as it is now. Cancelling it loses nothing.
    fn current(&self) -> Providing<'_, Result<Current, Error>>;

    /// An upstream refused the credential of this `generation`. Whether there is another one by now.
    fn refused(&self, generation: u64) -> Providing<'_, bool>;
}

/// The provider of what `upstream` is configured with.
pub fn provider(upstream: &config::Upstream) -> Arc<dyn CredentialProvider> {
    match upstream.credentials.first() {
        Some(credential) => Arc::new(Fixed::new(credential)),
        None => Arc::new(Anonymous),
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct Anonymous;

impl Current {
    /// Nothing to show.
    pub fn anonymous() -> Self {
        Self { credential: Credential::Anonymous, generation: 0, place: None }
    }
}

impl CredentialProvider for Anonymous {
    fn current(&self) -> Providing<'_, Result<Current, Error>> {
        Box::pin(std::future::ready(Ok(Current::anonymous())))
    }

    fn refused(&self, _generation: u64) -> Providing<'_, bool> {
        Box::pin(std::future::ready(false))
    }
}
