//! The distribution API as a client: challenge, token, redirect, retry, rate limit.
//!
//! Each configured upstream is a value of its own; tokens, challenges, connections and budgets are never shared between
//! two of them. What an upstream says is hostile until it is parsed. Nothing is kept here but what saves requests: what
//! was fetched belongs to the cache, and what a failure means is said by `diagnosis`.

mod ask;
mod attempt;
mod authorize;
mod body;
mod challenge;
mod client;
mod distrust;
mod document;
mod endpoint;
mod failure;
mod listing;
mod rate;
mod realm;
mod redirect;
mod retry;
mod token;
mod token_service;
mod words;

pub use body::{BlobBody, ByteRange};
pub use client::Upstream;
pub use document::{BlobHead, ManifestBody, ManifestHead};
pub use failure::{Failure, Kind, Step};
pub use rate::RateBudget;

use crate::{config::Config, metrics::Metrics, oci::Registry, transport};
use std::{collections::BTreeMap, sync::Arc};

/// An upstream whose configuration cannot be put to use.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its connections cannot be set up.
    #[error("upstream \"{registry}\" cannot be used")]
    Transport {
        /// The upstream.
        registry: Registry,
        /// What is wrong.
        source: transport::Error,
    },
}

/// The closed set of upstreams.
#[derive(Debug)]
pub struct Upstreams(BTreeMap<Registry, Arc<Upstream>>);

impl Upstreams {
    /// A client for each configured upstream. Nothing is dialled yet.
    ///
    /// # Errors
    /// Where a CA file or a proxy cannot be used.
    pub fn new(config: &Config, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let build = |(registry, upstream): (&Registry, &crate::config::Upstream)| {
            let mut upstream = upstream.clone();
            upstream.offline |= config.cache.offline;
            let built = Upstream::new(registry.clone(), upstream, Arc::clone(&metrics))?;
            Ok((registry.clone(), Arc::new(built)))
        };
        config.upstreams.iter().map(build).collect::<Result<_, Error>>().map(Self)
    }

    /// The upstream of this name.
    pub fn get(&self, registry: &Registry) -> Option<&Arc<Upstream>> {
        self.0.get(registry)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests;
