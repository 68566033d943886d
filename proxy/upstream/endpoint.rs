//! One of an upstream's URLs: how it wants to be asked, and whether it answered lately.

use super::scope;
use crate::{
    config::{self, Origin},
    oci::Repository,
    transport::{self, Transport},
};
use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;
use url::Url;

/// A URL that did not answer is asked last for so long.
const DOWN_FOR: Duration = Duration::from_secs(30);
/// So long as well one whose bodies broke off or were wrong, though its headers were right.
const WRONG_FOR: Duration = Duration::from_secs(60);
/// Repositories whose unusual scope is remembered.
const SCOPES_MAX: usize = 10_000;

/// One of an upstream's URLs.
#[derive(Debug)]
pub(super) struct Endpoint {
    base: Url,
    pub(super) origin: Origin,
    /// Whether the upstream's credential may be shown here.
    pub(super) entitled: bool,
    pub(super) transport: Transport,
    memory: Mutex<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    down_until: Option<Instant>,
    wrong_until: Option<Instant>,
    scheme: Option<Scheme>,
    /// Scopes that are not `repository:<name>:pull`, after challenges.
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

impl Endpoint {
    /// One of the URLs of `upstream`. `None` where it is neither http nor https.
    pub(super) fn new(base: &Url, upstream: &config::Upstream) -> Result<Option<Self>, transport::Error> {
        let Some(origin) = Origin::of(base) else { return Ok(None) };
        Ok(Some(Self {
            origin,
            base: base.clone(),
            entitled: upstream.is_entitled(base),
            transport: Transport::new(upstream, base)?,
            memory: Mutex::default(),
        }))
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
        let memory = self.memory();
        [memory.down_until, memory.wrong_until].into_iter().flatten().any(|until| Instant::now() < until)
    }

    pub(super) fn set_down(&self, down: bool) {
        self.memory().down_until = down.then(|| Instant::now() + DOWN_FOR);
    }

    /// What came from it was cut or wrong: for a while it is asked last, whatever its headers say.
    pub(super) fn distrust(&self) {
        self.memory().wrong_until = Some(Instant::now() + WRONG_FOR);
    }

    pub(super) fn scheme(&self) -> Option<Scheme> {
        self.memory().scheme.clone()
    }

    /// Remembers how it wants to be asked, and the scopes of a token for `repository`.
    pub(super) fn learn(&self, scheme: Scheme, repository: Option<&Repository>, scopes: &[String]) {
        let mut memory = self.memory();
        memory.scheme = Some(scheme);
        // The scope of `/v2/` is a placeholder on GHCR and says nothing about any repository.
        let Some(repository) = repository else { return };
        if scopes.is_empty() || scopes == [scope::usual(repository)] {
            memory.scopes.remove(repository);
            return;
        }
        memory.unusual = true;
        if memory.scopes.len() >= SCOPES_MAX {
            memory.scopes.clear();
        }
        memory.scopes.insert(repository.clone(), scopes.to_vec());
    }

    /// Forgets how it wants to be asked: the next question goes without, and its challenge counts.
    pub(super) fn forget(&self) {
        self.memory().scheme = None;
    }

    /// The scope a token for `repository` needs, as far as it can be told before a challenge.
    pub(super) fn scopes(&self, repository: &Repository) -> Option<Vec<String>> {
        let memory = self.memory();
        match memory.scopes.get(repository) {
            Some(scopes) => Some(scopes.clone()),
            None if memory.unusual => None,
            None => Some(vec![scope::usual(repository)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(url: &str) -> Endpoint {
        let url = Url::parse(url).unwrap();
        Endpoint::new(&url, &config::Upstream::at(vec![url.clone()])).unwrap().unwrap()
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
        endpoint.learn(Scheme::Basic, Some(&one), &["repository:some/x:pull".to_owned()]);
        endpoint.learn(Scheme::Basic, Some(&one), &[]);
        endpoint.learn(Scheme::Basic, None, &["repository:user/image:pull".to_owned()]);
        assert_eq!(endpoint.scopes(&two), Some(vec!["repository:other/y:pull".to_owned()]));
        endpoint.learn(Scheme::Basic, Some(&one), &["aws".to_owned()]);
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

    #[tokio::test(start_paused = true)]
    async fn right_headers_do_not_make_up_for_a_wrong_body() {
        let endpoint = endpoint("https://a");
        endpoint.distrust();
        endpoint.set_down(false);
        assert!(endpoint.is_down());
        tokio::time::advance(Duration::from_secs(61)).await;
        assert!(!endpoint.is_down());
    }
}
