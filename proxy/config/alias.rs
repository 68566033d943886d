//! `[alias."NAME"]`

use crate::oci::{Registry, Repository};

/// Another name of an upstream, such as the one an earlier cache was known by.
#[derive(Debug, Clone)]
pub struct Alias {
    /// The registry part of the name: `harbor.corp`.
    pub registry: Registry,
    /// The path behind it, dropped before upstream is asked: `dockerhub`.
    pub prefix: Option<Repository>,
    /// The upstream that is meant.
    pub upstream: Registry,
}
