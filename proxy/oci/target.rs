//! What a pull asks for.

use super::{Digest, Error, Problem, Reference, Registry, Repository, Tag};
use std::{fmt, str::FromStr};

/// Registry, repository and reference: one thing that can be pulled.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The registry's name, as configured.
    pub registry: Registry,
    /// The repository within it.
    pub repository: Repository,
    /// A tag or a digest.
    pub reference: Reference,
}

impl FromStr for Target {
    type Err = Error;

    /// Reads an image name as Docker's reference grammar does: no registry means Docker Hub, no tag means `latest`, and
    /// with both a tag and a digest the digest counts.
    fn from_str(text: &str) -> Result<Self, Error> {
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>()?)),
            None => (text, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if Registry::is_registry_component(first) => (first.parse()?, rest),
            _ => (Registry::docker_hub(), name),
        };
        let (path, tag) = match path.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag.parse::<Tag>()?)),
            None => (path, None),
        };
        if path.is_empty() {
            return Err(Error::new("image name", text, Problem::Shape("it names no repository")));
        }
        let repository: Repository = path.parse()?;
        let repository = if registry == Registry::docker_hub() { repository.with_library() } else { repository };
        let reference = match (digest, tag) {
            (Some(digest), _) => Reference::Digest(digest),
            (None, tag) => Reference::Tag(tag.unwrap_or_else(Tag::latest)),
        };
        Ok(Self { registry, repository, reference })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = match self.reference {
            Reference::Tag(_) => ':',
            Reference::Digest(_) => '@',
        };
        write!(f, "{}/{}{separator}{}", self.registry, self.repository, self.reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_image_names_as_docker_does() {
        let hex = "a".repeat(64);
        for (given, expected) in [
            ("nginx", "docker.io/library/nginx:latest".to_owned()),
            ("nginx:1.25", "docker.io/library/nginx:1.25".to_owned()),
            ("org/app", "docker.io/org/app:latest".to_owned()),
            ("docker.io/nginx", "docker.io/library/nginx:latest".to_owned()),
            ("localhost:5000/a/b:c", "localhost:5000/a/b:c".to_owned()),
            ("ghcr.io/a:1", "ghcr.io/a:1".to_owned()),
            (&format!("ghcr.io/a:1@sha256:{hex}"), format!("ghcr.io/a@sha256:{hex}")),
        ] {
            assert_eq!(given.parse::<Target>().map(|t| t.to_string()), Ok(expected), "{given}");
        }
    }

    #[test]
    fn refuses_what_is_no_image_name() {
        for text in ["", ":1", "Nginx", "a:", "ghcr.io/", "a@sha256:1", "http://a/b", "a b"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
