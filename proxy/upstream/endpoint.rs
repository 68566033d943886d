//! One of an upstream's URLs: how it wants to be asked, and whether it answered lately.

use super::challenge::Bearer;
use crate::{config::Origin, oci::Repository};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use url::Url;

/// A URL that did not answer is asked last for so long.
const DOWN_FOR: Duration = Duration::from_secs(30);
/// Repositories whose unusual scope is remembered.
const SCOPES_MAX: usize = 10_000;

/// One of an upstream's URLs.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: Url,
    pub(super) origin: Origin,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    down_until: Option<Instant>,
    scheme: Option<Scheme>,
    /// Scopes that are not `repository:<name>:pull`, as challenges gave them.
    scopes: HashMap<Repository, Vec<String>>,
    /// Whether any such scope was seen: then the scope of a repository cannot be told before its challenge.
    unusual: bool,
}

/// How it wants to be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scheme {
    /// User name and password with each request.
    Basic,
    /// A token from a service that was found trustworthy.
    Bearer {
        /// Where tokens are to be had.
        realm: Url,
        /// What for.
        service: Option<String>,
    },
}

/// `repository:<name>:pull`
pub(super) fn usual_scope(repository: &Repository) -> String {
    format!("repository:{repository}:pull")
}

impl Endpoint {
    pub(super) fn new(base: Url) -> Option<Self> {
        Some(Self { origin: Origin::of(&base)?, base, memory: Mutex::default() })
    }

    /// The URL of `path`, which begins with `/v2/`, or with the path of the base where upstream itself wrote it.
    /// `None` where both together are no URL.
    pub(super) fn url(&self, path: &str) -> Option<Url> {
        let base = self.base.path().trim_end_matches('/');
        let whole = path.strip_prefix(base).is_some_and(|rest| rest.starts_with("/v2/"));
        let base = if whole { self.origin.to_string() } else { self.base.as_str().trim_end_matches('/').to_owned() };
        Url::parse(&format!("{base}{path}")).ok()
    }

    pub(super) fn is_plain(&self) -> bool {
        self.base.scheme() == "http"
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_down(&self) -> bool {
        self.memory().down_until.is_some_and(|until| Instant::now() < until)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.memory().down_until = down.then(|| Instant::now() + DOWN_FOR);
    }

    pub(super) fn scheme(&self) -> Option<Scheme> {
        self.memory().scheme.clone()
    }

    /// Remembers how it wants to be asked, and for which scope.
    pub(super) fn learn(&self, scheme: Scheme, repository: Option<&Repository>, challenge: Option<&Bearer>) {
        let mut memory = self.memory();
        memory.scheme = Some(scheme);
        // The scope of `/v2/` is a placeholder on GHCR and says nothing about any repository.
        let (Some(repository), Some(challenge)) = (repository, challenge) else { return };
        if challenge.scopes.is_empty() || challenge.scopes == [usual_scope(repository)] {
            memory.scopes.remove(repository);
            return;
        }
        memory.unusual = true;
        if memory.scopes.len() >= SCOPES_MAX {
            memory.scopes.clear();
        }
        memory.scopes.insert(repository.clone(), challenge.scopes.clone());
    }

    /// The scope a token for `repository` needs, as far as it can be told before a challenge.
    pub(super) fn scopes(&self, repository: &Repository) -> Option<Vec<String>> {
        let memory = self.memory();
        match memory.scopes.get(repository) {
            Some(scopes) => Some(scopes.clone()),
            None if memory.unusual => None,
            None => Some(vec![usual_scope(repository)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        Endpoint::new(Url::parse(url).unwrap()).unwrap()
    }

    fn challenge(scopes: &[&str]) -> Bearer {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        Bearer { realm: "https://a/t".to_owned(), service: None, scopes }
    }

    #[test]
    fn a_base_with_a_path_keeps_it() {
        for (base, expected) in [
            ("https://a", "https://a/v2/"),
            ("https://a/", "https://a/v2/"),
            ("https://a/artifactory/api/docker/r/", "https://a/artifactory/api/docker/r/v2/"),
        ] {
            assert_eq!(endpoint(base).url("/v2/").unwrap().as_str(), expected);
        }
        let page = "/artifactory/api/docker/r/v2/a/tags/list?last=b";
        let url = endpoint("https://a/artifactory/api/docker/r").url(page).unwrap();
        assert_eq!(url.as_str(), format!("https://a{page}"));
    }

    #[test]
    fn the_scope_is_foretold_only_where_it_is_usual() {
        let endpoint = endpoint("https://a");
        let [one, two]: [Repository; 2] = ["some/x", "other/y"].map(|name| name.parse().unwrap());
        assert_eq!(endpoint.scopes(&one), Some(vec!["repository:some/x:pull".to_owned()]));
        endpoint.learn(Scheme::Basic, Some(&one), Some(&challenge(&["repository:some/x:pull"])));
        endpoint.learn(Scheme::Basic, Some(&one), Some(&challenge(&[])));
        endpoint.learn(Scheme::Basic, None, Some(&challenge(&["repository:user/image:pull"])));
        assert_eq!(endpoint.scopes(&two), Some(vec!["repository:other/y:pull".to_owned()]));
        endpoint.learn(Scheme::Basic, Some(&one), Some(&challenge(&["aws"])));
        assert_eq!(endpoint.scopes(&one), Some(vec!["aws".to_owned()]));
        assert_eq!(endpoint.scopes(&two), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_dead_url_comes_back_after_a_while() {
        let endpoint = endpoint("https://a");
        endpoint.set_down(true);
        assert!(endpoint.is_down());
        tokio::time::advance(Duration::from_secs(31)).await;
        assert!(!endpoint.is_down());
    }
}
