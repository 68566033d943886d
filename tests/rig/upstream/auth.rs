//! Who may read what, and the token service that says so.

use super::repositories::{Reply, parameter};
use super::seen::{Kind, Seen};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde_json::json;
use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

/// How callers prove who they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    None,
    Basic,
    Bearer,
}

/// Users, grants and tokens. A grant is a user (empty: anonymous) and a repository (`*`: all of them).
#[derive(Default)]
pub struct Auth {
    pub scheme: Scheme,
    pub users: HashMap<String, String>,
    pub grants: HashSet<(String, String)>,
    /// Instead of its own token service.
    pub realm: Option<String>,
    /// Instead of the challenge it would send.
    pub challenge: Option<String>,
    pub token_lifetime: Option<Duration>,
    tokens: HashMap<String, Token>,
}

struct Token {
    user: String,
    repositories: Vec<String>,
    until: Instant,
}

impl Auth {
    pub fn grant(&mut self, user: &str, repository: &str) {
        self.grants.insert((user.to_owned(), repository.to_owned()));
    }

    pub fn withdraw(&mut self, user: &str, repository: &str) {
        self.grants.remove(&(user.to_owned(), repository.to_owned()));
    }

    /// All tokens that were ever given out.
    pub fn tokens(&self) -> Vec<String> {
        self.tokens.keys().cloned().collect()
    }

    /// No token that was given out counts any more.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    fn may(&self, user: &str, repository: &str) -> bool {
        ["*", repository].iter().any(|name| self.grants.contains(&(user.to_owned(), (*name).to_owned())))
    }

    /// The refusal of a request, if it is refused.
    pub(super) fn refusal(&self, seen: &Seen, url: &str) -> Option<Reply> {
        let repository = seen.route().map(|(repository, ..)| repository);
        let shown = seen.header("authorization");
        match self.scheme {
            Scheme::None => None,
            Scheme::Basic => {
                let user = self.user(shown);
                let allowed = match (&user, repository) {
                    (Some(user), Some(repository)) => self.may(user, repository),
                    (user, _) => user.is_some(),
                };
                match (user, allowed) {
                    (_, true) => None,
                    (Some(_), _) => Some(Reply::error(403, "DENIED", "requested access to the resource is denied")),
                    (None, _) => Some(self.challenge("Basic realm=\"registry\"".to_owned())),
                }
            }
            Scheme::Bearer => {
                let token = shown.and_then(|shown| shown.strip_prefix("Bearer ")).map(|token| self.tokens.get(token));
                let error = match token {
                    None => "",
                    Some(None) => ",error=\"invalid_token\"",
                    Some(Some(token)) if token.until < Instant::now() => ",error=\"invalid_token\"",
                    Some(Some(token)) => match repository {
                        None => return None,
                        Some(name) if token.repositories.iter().any(|r| r == name) && self.may(&token.user, name) => {
                            return None;
                        }
                        Some(_) => ",error=\"insufficient_scope\"",
                    },
                };
                let realm = self.realm.clone().unwrap_or_else(|| format!("{url}/token"));
                let scope = repository.map(|name| format!(",scope=\"repository:{name}:pull\"")).unwrap_or_default();
                Some(self.challenge(format!("Bearer realm=\"{realm}\",service=\"faulty\"{scope}{error}")))
            }
        }
    }

    fn challenge(&self, challenge: String) -> Reply {
        Reply::error(401, "UNAUTHORIZED", "authentication required")
            .with("WWW-Authenticate", self.challenge.as_ref().unwrap_or(&challenge))
    }

    fn user(&self, shown: Option<&str>) -> Option<String> {
        let pair = BASE64_STANDARD.decode(shown?.strip_prefix("Basic ")?).ok()?;
        let (user, password) = std::str::from_utf8(&pair).ok()?.split_once(':')?;
        self.users.get(user).is_some_and(|known| known == password).then(|| user.to_owned())
    }

    /// The token service. Of the scope asked for it grants silently what may be granted.
    pub(super) fn token(&mut self, seen: &Seen) -> Reply {
        if seen.kind != Kind::Token || seen.method != "GET" {
            return Reply::error(405, "UNSUPPORTED", "only GET");
        }
        let user = match seen.header("authorization") {
            None => String::new(),
            shown => match self.user(shown) {
                Some(user) => user,
                None => return Reply::error(401, "UNAUTHORIZED", "incorrect username or password"),
            },
        };
        let scopes = parameter(&seen.query, "scope").unwrap_or_default();
        let repositories = scopes
            .split(' ')
            .filter_map(|scope| scope.strip_prefix("repository:")?.strip_suffix(":pull").map(str::to_owned))
            .filter(|name| self.may(&user, name))
            .collect();
        let lifetime = self.token_lifetime.unwrap_or(Duration::from_secs(300));
        let token = format!("token-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..));
        self.tokens.insert(token.clone(), Token { user, repositories, until: Instant::now() + lifetime });
        let body = json!({ "token": token, "expires_in": lifetime.as_secs().max(60) });
        Reply::new(200, "application/json", body.to_string())
    }
}
