//! What a request asks for: the raw path and query, parsed once into typed values. Pure.

use crate::{
    config::Config,
    diagnosis::Failure,
    metrics,
    oci::{Digest, Platform, Reference, Registry, Repository, Target},
};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Route {
    /// `/v2/`: whether this is a registry.
    Base,
    /// Something of a repository of a configured upstream.
    Of { registry: Registry, repository: Repository, wanted: Wanted },
}

/// What is wanted of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    Manifest(Reference),
    Blob(Digest),
    Tags(Page),
    Referrers { digest: Digest, artifact_type: Option<String> },
}

/// Which part of a list of tags (distribution-spec 1.1, "Listing Tags").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Page {
    /// At most so many.
    pub(super) count_max: Option<usize>,
    /// Those after this one.
    pub(super) last: Option<String>,
}

/// The parameters that are looked at. Others are ignored, as clients send their own.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) ns: Option<String>,
    artifact_type: Option<String>,
    page: Page,
    ns_twice: bool,
}

impl Query {
    pub(super) fn parse(query: Option<&str>) -> Self {
        let mut parsed = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            match &*name {
                "ns" => parsed.ns_twice |= parsed.ns.replace(value.into_owned()).is_some(),
                "artifactType" => parsed.artifact_type = Some(value.into_owned()),
                "n" => parsed.page.count_max = value.parse().ok(),
                "last" => parsed.page.last = Some(value.into_owned()),
                _ => {}
            }
        }
        parsed
    }
}

impl Route {
    /// Parses `path` as it came; a `%` in it is no part of any name.
    ///
    /// # Errors
    /// The place where it makes no sense, or names what is not configured or not allowed.
    pub(super) fn parse(path: &str, query: Query, config: &Config) -> Result<Self, Failure> {
        let rest = after_platform(path)?.strip_prefix("/v2").ok_or(Failure::UnknownRoute)?;
        if matches!(rest, "" | "/") {
            return Ok(Self::Base);
        }
        let rest = rest.strip_prefix('/').ok_or(Failure::UnknownRoute)?;
        let (name_and_kind, last) = rest.rsplit_once('/').ok_or(Failure::UnknownRoute)?;
        let (name, kind) = name_and_kind.rsplit_once('/').ok_or(Failure::UnknownRoute)?;
        // The name comes first: whoever asks for what is not configured learns that, whatever else is wrong.
        let known = matches!((kind, last), ("manifests" | "blobs" | "referrers", _) | ("tags", "list"));
        let (registry, repository) =
            if known { locate(name, &query, config)? } else { return Err(Failure::UnknownRoute) };
        let wanted = match kind {
            "manifests" => Wanted::Manifest(last.parse().map_err(Failure::InvalidName)?),
            "blobs" => Wanted::Blob(last.parse().map_err(Failure::InvalidName)?),
            "tags" => Wanted::Tags(query.page),
            _ => Wanted::Referrers {
                digest: last.parse().map_err(Failure::InvalidName)?,
                artifact_type: query.artifact_type,
            },
        };
        let route = Self::Of { registry, repository, wanted };
        route.may_be_pulled(config)?;
        Ok(route)
    }

    /// What the operator's patterns say.
    fn may_be_pulled(&self, config: &Config) -> Result<(), Failure> {
        let Self::Of { registry, repository, .. } = self else { return Ok(()) };
        let Some(upstream) = config.upstreams.get(registry) else { return Ok(()) };
        let matches = |patterns: &[crate::config::Pattern]| patterns.iter().any(|p| p.matches(repository.as_str()));
        let allowed = upstream.repositories_allowed.is_empty() || matches(&upstream.repositories_allowed);
        if allowed && !matches(&upstream.repositories_denied) {
            return Ok(());
        }
        Err(Failure::NotAllowed { target: self.target().ok_or(Failure::UnknownRoute)? })
    }

    /// What it is about, with a tag or a digest; lists of tags are about the repository's `latest`.
    pub(super) fn target(&self) -> Option<Target> {
        let Self::Of { registry, repository, wanted } = self else { return None };
        let reference = match wanted {
            Wanted::Manifest(reference) => reference.clone(),
            Wanted::Blob(digest) | Wanted::Referrers { digest, .. } => Reference::Digest(*digest),
            Wanted::Tags(_) => Reference::Tag(crate::oci::Tag::latest()),
        };
        Some(Target { registry: registry.clone(), repository: repository.clone(), reference })
    }

    /// The label of its metrics.
    pub(super) fn label(&self) -> metrics::Route {
        match self {
            Self::Base => metrics::Route::Base,
            Self::Of { wanted: Wanted::Manifest(_), .. } => metrics::Route::Manifest,
            Self::Of { wanted: Wanted::Blob(_), .. } => metrics::Route::Blob,
            Self::Of { wanted: Wanted::Tags(_), .. } => metrics::Route::Tags,
            Self::Of { wanted: Wanted::Referrers { .. }, .. } => metrics::Route::Referrers,
        }
    }
}

/// The path behind `/platform/<os>-<arch>[-<variant>]`, which nodes that cannot send headers put before `/v2/`.
fn after_platform(path: &str) -> Result<&str, Failure> {
    let Some(rest) = path.strip_prefix("/platform/") else { return Ok(path) };
    let (platform, _) = rest.split_once('/').ok_or(Failure::UnknownRoute)?;
    platform.parse::<Platform>().map_err(Failure::InvalidName)?;
    Ok(&rest[platform.len()..])
}

/// Which upstream and repository are meant; the first that applies: `?ns=`, a first component that is a registry's name,
/// the default registry. Nothing is looked up anywhere but in the configuration.
fn locate(name: &str, query: &Query, config: &Config) -> Result<(Registry, Repository), Failure> {
    let not_configured = |name: &str| Failure::NotConfigured {
        name: name.to_owned(),
        configured: config.upstreams.keys().cloned().collect(),
    };
    let in_registry = |given: &str, path: &str| {
        let registry: Registry = given.parse().map_err(|_| not_configured(given))?;
        if !config.knows(&registry) {
            return Err(not_configured(given));
        }
        let repository: Repository = path.parse().map_err(Failure::InvalidName)?;
        config.resolve(&registry, &repository).ok_or_else(|| not_configured(&format!("{given}/{path}")))
    };
    if query.ns_twice {
        return Err(not_configured("two of ?ns="));
    }
    if let Some(ns) = &query.ns {
        return in_registry(ns, name);
    }
    if let Some((first, rest)) = name.split_once('/')
        && (Registry::is_registry_component(first) || first.parse().is_ok_and(|first| config.knows(&first)))
    {
        return in_registry(first, rest);
    }
    let repository: Repository = name.parse().map_err(Failure::InvalidName)?;
    config
        .resolve(&config.server.default_registry, &repository)
        .ok_or_else(|| not_configured(config.server.default_registry.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = r#"
            [upstream."reg.example:5000"]
            repositories_denied = ["secret/**"]
            [alias."harbor.corp/dockerhub"]
            upstream = "docker.io"
            [alias."hub"]
            upstream = "docker.io"
        "#;
        Config::parse(std::path::Path::new("test.toml"), text, std::iter::empty()).unwrap()
    }

    fn parse(uri: &str) -> Result<String, String> {
        let (path, query) = uri.split_once('?').map_or((uri, None), |(path, query)| (path, Some(query)));
        match Route::parse(path, Query::parse(query), &config()) {
            Ok(Route::Base) => Ok("base".to_owned()),
            Ok(route @ Route::Of { .. }) => Ok(route.target().unwrap().to_string()),
            Err(Failure::NotConfigured { name, .. }) => Err(format!("not configured: {name}")),
            Err(Failure::InvalidName(error)) => Err(format!("invalid {}", error.noun)),
            Err(Failure::NotAllowed { .. }) => Err("not allowed".to_owned()),
            Err(Failure::UnknownRoute) => Err("no route".to_owned()),
            Err(other) => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_first_that_names_a_registry_wins() {
        for (uri, expected) in [
            ("/v2/", "base"),
            ("/v2", "base"),
            ("/v2/library/nginx/manifests/1?ns=docker.io", "docker.io/library/nginx:1"),
            ("/v2/nginx/manifests/1", "docker.io/library/nginx:1"),
            ("/v2/docker.io/nginx/manifests/1", "docker.io/library/nginx:1"),
            ("/v2/index.docker.io/library/nginx/manifests/1", "docker.io/library/nginx:1"),
            ("/v2/ghcr.io/org/app/manifests/1", "ghcr.io/org/app:1"),
            ("/v2/org/app/manifests/1?ns=ghcr.io", "ghcr.io/org/app:1"),
            ("/v2/org/app/manifests/1?ns=GHCR.io", "ghcr.io/org/app:1"),
            ("/v2/app/manifests/1?ns=reg.example%3A5000", "reg.example:5000/app:1"),
            ("/v2/reg.example:5000/app/manifests/1", "reg.example:5000/app:1"),
            ("/v2/dockerhub/nginx/manifests/1?ns=harbor.corp", "docker.io/library/nginx:1"),
            ("/v2/harbor.corp/dockerhub/org/app/manifests/1", "docker.io/org/app:1"),
            ("/v2/hub/org/app/manifests/1", "docker.io/org/app:1"),
            ("/platform/linux-arm64/v2/nginx/manifests/1", "docker.io/library/nginx:1"),
            ("/v2/a/blobs/manifests/1", "docker.io/a/blobs:1"),
            ("/v2/manifests/manifests/manifests", "docker.io/library/manifests:manifests"),
            ("/v2/nginx/tags/list?n=3&last=a", "docker.io/library/nginx:latest"),
        ] {
            assert_eq!(parse(uri), Ok(expected.to_owned()), "{uri}");
        }
    }

    #[test]
    fn what_is_not_configured_or_makes_no_sense_is_said_and_never_looked_up() {
        for (uri, expected) in [
            ("/", "no route"),
            ("/v1/", "no route"),
            ("/v2x", "no route"),
            ("/v2/_catalog", "no route"),
            ("/v2/nginx", "no route"),
            ("/v2/nginx/tags/all", "no route"),
            ("/v2/nginx/manifests", "no route"),
            ("/v2//manifests/1", "invalid repository"),
            ("/v2/a/../b/manifests/1", "invalid repository"),
            ("/v2/a%2Fb/manifests/1", "invalid repository"),
            ("/v2/Nginx/manifests/1", "invalid repository"),
            ("/v2/nginx/manifests/", "invalid tag"),
            ("/v2/nginx/manifests/.a", "invalid tag"),
            ("/v2/nginx/manifests/sha256:abc", "invalid digest"),
            ("/v2/nginx/blobs/latest", "invalid digest"),
            ("/v2/nginx/blobs/sha256:../../../etc/passwd", "no route"),
            ("/v2/a/manifests/1?ns=evil.example", "not configured: evil.example"),
            ("/v2/a/manifests/1?ns=169.254.169.254", "not configured: 169.254.169.254"),
            ("/v2/a/manifests/1?ns=docker.io:443", "not configured: docker.io:443"),
            ("/v2/a/manifests/1?ns=user@docker.io", "not configured: user@docker.io"),
            ("/v2/a/manifests/1?ns=docker.io/x", "not configured: docker.io/x"),
            ("/v2/a/manifests/1?ns=http%3A%2F%2Fdocker.io", "not configured: http://docker.io"),
            ("/v2/a/manifests/1?ns=", "not configured: "),
            ("/v2/a/manifests/1?ns=docker.io&ns=evil.example", "not configured: two of ?ns="),
            ("/v2/evil.example/a/manifests/1", "not configured: evil.example"),
            ("/v2/evil.example:80/a/manifests/1", "not configured: evil.example:80"),
            ("/v2/[::1]:80/a/manifests/1", "not configured: [::1]:80"),
            ("/v2/user@docker.io/a/manifests/1", "not configured: user@docker.io"),
            ("/v2/other/x/manifests/1?ns=harbor.corp", "not configured: harbor.corp/other/x"),
            ("/v2/secret/x/manifests/1?ns=reg.example:5000", "not allowed"),
            ("/platform/linux/v2/nginx/manifests/1", "invalid platform"),
        ] {
            assert_eq!(parse(uri), Err(expected.to_owned()), "{uri}");
        }
    }
}
