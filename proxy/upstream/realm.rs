//! Which token service may see an upstream's credential. Pure, and closed: a realm that is not named somewhere is not
//! asked at all, since it could name any host (CVE-2026-33540).

use crate::{config::Origin, oci::Registry};
use url::Url;

/// Token services of shipped upstreams that are on another origin than their API.
const BUILT_IN: [(&str, &str); 1] = [("docker.io", "https://auth.docker.io")];

/// A realm that is not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RealmRefused {
    /// It is no URL that could be asked.
    #[error("the realm is no http or https URL")]
    NoUrl,
    /// It has a user part or a fragment.
    #[error("the realm has a user part or a fragment")]
    Decorated,
    /// A secret would be readable on its way.
    #[error("the realm {0} is not https")]
    NotEncrypted(Origin),
    /// Nobody named it.
    #[error("the realm {0} is neither the upstream's own origin nor in trusted_realms")]
    NotTrusted(Origin),
}

/// What a realm is judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy<'a> {
    /// The upstream, for the built-in table.
    pub(super) registry: &'a Registry,
    /// The origins of its URLs.
    pub(super) own: &'a [Origin],
    /// The operator's list.
    pub(super) trusted: &'a [Origin],
    /// Whether the URL that gave the challenge is itself plain http.
    pub(super) plain: bool,
}

impl Policy<'_> {
    /// The realm as a URL that may be asked.
    pub(super) fn check(&self, realm: &str) -> Result<Url, RealmRefused> {
        let url = Url::parse(realm).map_err(|_| RealmRefused::NoUrl)?;
        let origin = Origin::of(&url).ok_or(RealmRefused::NoUrl)?;
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(RealmRefused::Decorated);
        }
        if url.scheme() != "https" && !self.plain {
            return Err(RealmRefused::NotEncrypted(origin));
        }
        let built_in = BUILT_IN.iter().any(|(registry, named)| {
            self.registry.as_str() == *registry
                && Url::parse(named).ok().and_then(|url| Origin::of(&url)).as_ref() == Some(&origin)
        });
        if built_in || self.own.contains(&origin) || self.trusted.contains(&origin) {
            Ok(url)
        } else {
            Err(RealmRefused::NotTrusted(origin))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(&Url::parse(text).unwrap()).unwrap()
    }

    fn check(registry: &str, own: &str, realm: &str) -> Result<(), RealmRefused> {
        let registry = registry.parse().unwrap();
        let policy = Policy {
            registry: &registry,
            own: &[origin(own)],
            trusted: &[origin("https://gitlab.corp"), origin("http://plain.corp:8080")],
            plain: own.starts_with("http:"),
        };
        policy.check(realm).map(|_| ())
    }

    #[test]
    fn own_listed_and_built_in_realms_are_asked() {
        for (registry, own, realm) in [
            ("docker.io", "https://registry-1.docker.io", "https://auth.docker.io/token"),
            ("docker.io", "https://registry-1.docker.io", "https://AUTH.docker.io:443/token?x=y"),
            ("quay.io", "https://quay.io", "https://quay.io/v2/auth"),
            (
                "artifactory.corp",
                "https://artifactory.corp",
                "https://artifactory.corp:443/artifactory/api/docker/r/v2/token",
            ),
            ("registry.corp", "https://registry.corp", "https://gitlab.corp/jwt/auth"),
            ("a", "http://127.0.0.1:5000", "http://127.0.0.1:5000/token"),
            ("a", "http://127.0.0.1:5000", "http://plain.corp:8080/token"),
            ("a", "http://127.0.0.1:5000", "https://gitlab.corp/token"),
        ] {
            assert_eq!(check(registry, own, realm), Ok(()), "{realm}");
        }
    }

    #[test]
    fn all_others_are_not() {
        for (registry, own, realm) in [
            ("docker.io", "https://registry-1.docker.io", "https://auth.docker.io.evil.example/token"),
            ("docker.io", "https://registry-1.docker.io", "https://evil.docker.io/token"),
            ("docker.io", "https://registry-1.docker.io", "https://auth.docker.io:8443/token"),
            ("docker.io", "https://registry-1.docker.io", "http://auth.docker.io/token"),
            ("ghcr.io", "https://ghcr.io", "https://auth.docker.io/token"),
            ("ghcr.io", "https://ghcr.io", "https://user@ghcr.io/token"),
            ("ghcr.io", "https://ghcr.io", "https://ghcr.io@evil.example/token"),
            ("ghcr.io", "https://ghcr.io", "https://ghcr.io/token#x"),
            ("ghcr.io", "https://ghcr.io", "http://ghcr.io/token"),
            ("ghcr.io", "https://ghcr.io", "http://ghcr.io:443/token"),
            ("ghcr.io", "https://ghcr.io", "https://ghcr.io:8443/token"),
            ("ghcr.io", "https://ghcr.io", "http://plain.corp:8080/token"),
            ("ghcr.io", "https://ghcr.io", "https://169.254.169.254/latest"),
            ("ghcr.io", "https://ghcr.io", "https://[::1]/token"),
            ("ghcr.io", "https://ghcr.io", "file:///etc/passwd"),
            ("ghcr.io", "https://ghcr.io", "/token"),
            ("ghcr.io", "https://ghcr.io", "//evil.example/token"),
            ("ghcr.io", "https://ghcr.io", ""),
            ("a", "http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("a", "http://127.0.0.1:5000", "http://localhost:5000/token"),
        ] {
            assert!(check(registry, own, realm).is_err(), "{realm}");
        }
    }
}
