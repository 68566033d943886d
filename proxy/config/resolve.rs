//! Which upstream and which repository a name means.

use super::Config;
use crate::oci::{Registry, Repository};

impl Config {
    /// What `registry/path` means: a configured upstream and the repository in it, or nothing where neither an upstream
    /// nor an alias has this name. An alias with a path counts before the bare name, the longest first, and its path
    /// is dropped; on Docker Hub a name of one part gets `library/`.
    pub fn resolve(&self, registry: &Registry, path: &Repository) -> Option<(Registry, Repository)> {
        let by_alias = self.aliases.iter().filter(|alias| alias.registry == *registry).find_map(|alias| {
            let rest = match &alias.prefix {
                None => path.clone(),
                Some(prefix) => {
                    path.as_str().strip_prefix(prefix.as_str())?.strip_prefix('/')?.parse::<Repository>().ok()?
                }
            };
            Some((alias.upstream.clone(), rest))
        });
        let (upstream, repository) = match by_alias {
            Some(found) => found,
            None => (self.upstreams.get_key_value(registry)?.0.clone(), path.clone()),
        };
        let repository = if upstream == Registry::docker_hub() { repository.with_library() } else { repository };
        Some((upstream, repository))
    }

    /// Whether `registry` is the name of an upstream or the first part of an alias.
    pub fn knows(&self, registry: &Registry) -> bool {
        self.upstreams.contains_key(registry) || self.aliases.iter().any(|alias| alias.registry == *registry)
    }
}
