//! Which token service may see an upstream's credential. Pure, and closed: a realm that is not named somewhere is not
//! asked at all, since it could name any host (CVE-2026-33540).

use crate::config::Origin;
use url::Url;

/// APIs whose token service is on another origin, which their operator is known to be the same of.
const BUILT_IN: [(&str, &str); 1] = [("https://registry-1.docker.io", "https://auth.docker.io")];

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
    /// The origin that gave the challenge.
    pub(super) own: &'a Origin,
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
        let built_in = BUILT_IN.iter().any(|(own, named)| self.own.to_string() == *own && origin.to_string() == *named);
        if built_in || *self.own == origin || self.trusted.contains(&origin) {
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

    fn check(own: &str, realm: &str) -> Result<(), RealmRefused> {
        let policy = Policy {
            own: &origin(own),
            trusted: &[origin("https://gitlab.corp"), origin("http://plain.corp:8080")],
            plain: own.starts_with("http:"),
        };
        policy.check(realm).map(|_| ())
    }

    #[test]
    fn own_listed_and_built_in_realms_are_asked() {
        for (own, realm) in [
            ("https://registry-1.docker.io", "https://auth.docker.io/token"),
            ("https://registry-1.docker.io", "https://AUTH.docker.io:443/token?x=y"),
            ("https://quay.io", "https://quay.io/v2/auth"),
            ("https://artifactory.corp", "https://artifactory.corp:443/artifactory/api/docker/r/v2/token"),
            ("https://registry.corp", "https://gitlab.corp/jwt/auth"),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5000/token"),
            ("http://127.0.0.1:5000", "http://plain.corp:8080/token"),
            ("http://127.0.0.1:5000", "https://gitlab.corp/token"),
        ] {
            assert_eq!(check(own, realm), Ok(()), "{realm}");
        }
    }

    #[test]
    fn all_others_are_not() {
        for (own, realm) in [
            ("https://registry-1.docker.io", "https://auth.docker.io.evil.example/token"),
            ("https://registry-1.docker.io", "https://evil.docker.io/token"),
            ("https://registry-1.docker.io", "https://auth.docker.io:8443/token"),
            ("https://registry-1.docker.io", "http://auth.docker.io/token"),
            ("https://ghcr.io", "https://auth.docker.io/token"),
            ("https://mirror.example", "https://auth.docker.io/token"),
            ("http://registry-1.docker.io", "https://auth.docker.io/token"),
            ("http://127.0.0.1:5000", "https://registry-1.docker.io/token"),
            ("https://ghcr.io", "https://user@ghcr.io/token"),
            ("https://ghcr.io", "https://ghcr.io@evil.example/token"),
            ("https://ghcr.io", "https://ghcr.io/token#x"),
            ("https://ghcr.io", "http://ghcr.io/token"),
            ("https://ghcr.io", "http://ghcr.io:443/token"),
            ("https://ghcr.io", "https://ghcr.io:8443/token"),
            ("https://ghcr.io", "http://plain.corp:8080/token"),
            ("https://ghcr.io", "https://169.254.169.254/latest"),
            ("https://ghcr.io", "https://[::1]/token"),
            ("https://ghcr.io", "file:///etc/passwd"),
            ("https://ghcr.io", "/token"),
            ("https://ghcr.io", "//evil.example/token"),
            ("https://ghcr.io", ""),
            ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token"),
            ("http://127.0.0.1:5000", "http://localhost:5000/token"),
        ] {
            assert!(check(own, realm).is_err(), "{realm}");
        }
    }
}
