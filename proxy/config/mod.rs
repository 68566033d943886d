//! The operator's TOML as values that cannot be invalid. Plain data: nothing here dials, opens a door or reads the clock.

mod alias;
mod cache;
mod environment;
mod error;
mod given;
mod key;
mod load;
mod pattern;
mod reference;
mod resolve;
mod secret;
mod section;
mod server;
mod shipped;
mod size;
mod upstream;
mod upstream_load;

#[cfg(test)]
mod tests;

pub use alias::Alias;
pub use cache::Cache;
pub use error::{Error, Place};
pub use pattern::Pattern;
pub use reference::reference;
pub use secret::{Secret, SecretSource};
pub use server::Server;
pub use size::Size;
pub use upstream::{Credential, Origin, Upstream};

use crate::oci::Registry;
use std::collections::BTreeMap;

/// Everything an operator can decide.
#[derive(Debug, Clone)]
pub struct Config {
    /// `[server]`: the doors.
    pub server: Server,
    /// `[cache]`: what is kept, where and how long.
    pub cache: Cache,
    /// `[upstream."NAME"]`: the closed set of registries, the shipped ones among them.
    pub upstreams: BTreeMap<Registry, Upstream>,
    /// `[alias."NAME"]`: other names of upstreams, Docker Hub's own among them. Longest name first.
    pub aliases: Vec<Alias>,
}
