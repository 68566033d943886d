//! One attempt at one URL: redirects are followed by hand, and every answer is judged.
//!
//! A credential is shown to the upstream's own origins only, and not again once an answer has led elsewhere.

use super::{
    ask::Ask,
    challenge::{Bearer, Challenges},
    client::Upstream,
    endpoint::Endpoint,
    failure::{Again, Failure, Kind, Step, Trouble},
    rate::{self, RateBudget},
    redirect,
    token::TokenKey,
    words::Words,
};
use crate::{
    config::Origin,
    credentials::Current,
    metrics::{UpstreamRequest, UpstreamRequestLabels},
    transport::Fault,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::{Arc, PoisonError};
use tokio::time::Instant;
use url::Url;

/// Warnings about refused destinations that are remembered as given.
const WARNED_MAX: usize = 64;

/// An answer, and where it came from.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: reqwest::Response,
    pub(super) url: Url,
    /// Whether a redirect led away from the upstream's own origins.
    pub(super) left: bool,
    /// The place of the credential that was shown.
    pub(super) credential: Option<Arc<str>>,
}

impl Answer {
    /// Its origin; never a path or query.
    pub(super) fn host(&self) -> String {
        host(&self.url)
    }
}

/// The origin of `url` as text.
pub(super) fn host(url: &Url) -> String {
    Origin::of(url).map(|origin| origin.to_string()).unwrap_or_default()
}

impl Upstream {
    /// Asks `endpoint` once, tokens and redirects included. `Ok` is an answer of success.
    pub(super) async fn attempt(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let (answer, shown) = self.authorized(endpoint, ask, deadline).await?;
        if answer.response.status().is_success() {
            return Ok(answer);
        }
        Err(self.refusal(answer, shown.as_ref(), deadline).await)
    }

    /// Sends `ask` and follows where it leads. `authorization` is shown as long as that is the upstream itself.
    pub(super) async fn follow(
        &self,
        endpoint: &Endpoint,
        ask: &Ask<'_>,
        authorization: Option<&HeaderValue>,
        deadline: Instant,
    ) -> Result<Answer, Trouble> {
        let mut url = endpoint.url(&ask.path).ok_or_else(|| {
            Failure::new(&self.registry, Kind::Refused, Step::Headers, self.host()).with_detail("its URL is no URL")
        })?;
        let (mut left, mut redirects) = (false, 0);
        // A token of a redirect's own host, which never saw the credential.
        let mut elsewhere: Option<HeaderValue> = None;
        loop {
            let mut headers = ask.headers();
            let shown = if left { elsewhere.as_ref() } else { authorization };
            if let Some(shown) = shown {
                headers.insert(header::AUTHORIZATION, shown.clone());
            }
            let response = self.send(&ask.method, &url, headers, left, deadline).await?;
            let status = response.status();
            if left && status == StatusCode::UNAUTHORIZED && elsewhere.is_none() {
                let challenge = Challenges::read(response.headers()).bearer;
                if let Some(token) = self.elsewhere(&url, challenge, deadline).await? {
                    elsewhere = Some(token);
                    continue;
                }
            }
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { response, url, left, credential: None });
            }
            redirects += 1;
            url = redirect::target(&url, response.headers(), redirects).map_err(|refused| {
                self.warn_once(&host(&url), &refused);
                Failure::new(&self.registry, Kind::Refused, Step::Redirect, host(&url)).with_detail(refused.to_string())
            })?;
            left |= !Origin::of(&url).is_some_and(|origin| self.origins.contains(&origin));
            elsewhere = None;
        }
    }

    /// An anonymous token for the host a redirect led to, from that host itself and from nowhere else.
    async fn elsewhere(
        &self,
        url: &Url,
        challenge: Option<Bearer>,
        deadline: Instant,
    ) -> Result<Option<HeaderValue>, Trouble> {
        let (Some(challenge), Some(origin)) = (challenge, Origin::of(url)) else { return Ok(None) };
        let realm = match Url::parse(&challenge.realm) {
            Ok(realm) if Origin::of(&realm).as_ref() == Some(&origin) && realm.username().is_empty() => realm,
            _ => return Ok(None),
        };
        let Bearer { service, scopes, .. } = challenge;
        let key = TokenKey { generation: 0, realm, service, scopes };
        self.token(&key, &Current::anonymous(), deadline).await.map(|token| Some(token.header.clone()))
    }

    /// Sends one request.
    async fn send(
        &self,
        method: &Method,
        url: &Url,
        headers: HeaderMap,
        left: bool,
        deadline: Instant,
    ) -> Result<reqwest::Response, Trouble> {
        let sent = self.transport.send(method.clone(), url, headers, deadline).await;
        if !left {
            let kind = if method == Method::HEAD { UpstreamRequest::Head } else { UpstreamRequest::Get };
            self.count(kind, sent.as_ref().ok().map(reqwest::Response::status));
        }
        let response = sent.map_err(|fault| self.trouble(fault, url))?;
        if let Some(budget) = RateBudget::read(response.headers()).filter(|_| !left) {
            *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = Some(budget);
            let gauge = self.metrics.rate_remaining.get_or_create(&self.labels()).clone();
            gauge.set(i64::try_from(budget.remaining).unwrap_or(i64::MAX));
        }
        Ok(response)
    }

    pub(super) fn count(&self, kind: UpstreamRequest, status: Option<StatusCode>) {
        let status_class = status.map_or(0, |status| u8::try_from(status.as_u16() / 100).unwrap_or(0));
        let labels = UpstreamRequestLabels { upstream: self.registry.to_string(), kind, status_class };
        self.metrics.upstream_requests.get_or_create(&labels).inc();
    }

    /// No answer came.
    pub(super) fn trouble(&self, fault: Fault, url: &Url) -> Trouble {
        let step = Step::from(fault.step);
        let (kind, again) = if fault.refused {
            self.warn_once(&host(url), &fault);
            (Kind::Refused, Again::No)
        } else if step == Step::Tls || (fault.timed_out && step == Step::Headers) {
            // A certificate does not get better, and a silent upstream took all of the time.
            (Kind::Unavailable, Again::Elsewhere)
        } else {
            (Kind::Unavailable, Again::Here)
        };
        let failure = Failure::new(&self.registry, kind, step, host(url)).with_detail(fault.detail);
        Trouble { failure, again }
    }

    /// Counts a destination that was refused, and warns of each once.
    pub(super) fn warn_once(&self, host: &str, refused: &dyn std::fmt::Display) {
        self.metrics.refused_destinations.get_or_create(&self.labels()).inc();
        let text = refused.to_string();
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.len() < WARNED_MAX && warned.insert(format!("{host} {text}")) {
            tracing::warn!(upstream.registry = %self.registry, upstream.host = %host, "destination refused: {text}");
        }
    }

    /// What an answer without success means.
    pub(super) async fn refusal(&self, answer: Answer, shown: Option<&HeaderValue>, deadline: Instant) -> Trouble {
        let status = answer.response.status();
        let mut failure = Failure::new(&self.registry, Kind::Malformed, Step::Headers, answer.host());
        failure.status = Some(status.as_u16());
        failure.credential = answer.credential.as_deref().map(str::to_owned);
        failure.retry_after = rate::retry_after(answer.response.headers());
        if answer.left {
            failure.step = Step::Redirect;
        }
        // Storage refuses with these what the registry allowed: a signature that is over, a clock that is off.
        let storage = answer.left && !answer.url.path().starts_with("/v2/");
        let shown = shown.and_then(|shown| shown.to_str().ok()).and_then(|shown| shown.split_once(' '));
        let shown: Vec<&str> = shown.map(|(_, value)| value).into_iter().collect();
        Words::read(answer.response, deadline, &shown).await.add_to(&mut failure);
        let again;
        (failure.kind, again) = classify(status.as_u16(), failure.code.as_deref(), storage);
        Trouble { failure, again }
    }
}

/// What a status means for a pull, and whether asking again may help.
fn classify(status: u16, code: Option<&str>, storage: bool) -> (Kind, Again) {
    let limited = code.is_some_and(|code| code.eq_ignore_ascii_case("TOOMANYREQUESTS"));
    match status {
        429 => (Kind::RateLimited, Again::No),
        403 | 503 if limited => (Kind::RateLimited, Again::No),
        404 | 410 => (Kind::NotFound, Again::No),
        400 if code.is_some_and(is_about_a_name) => (Kind::NotFound, Again::No),
        400 | 401 | 403 if storage => (Kind::Unavailable, Again::Here),
        401 | 403 | 451 => (Kind::RepositoryRefused, Again::No),
        501 => (Kind::Unavailable, Again::No),
        407 | 408 | 421 | 425 | 500..=599 => (Kind::Unavailable, Again::Here),
        _ => (Kind::Malformed, Again::No),
    }
}

/// Some registries answer 400 for names that they could not have.
fn is_about_a_name(code: &str) -> bool {
    ["NAME_INVALID", "NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN", "TAG_INVALID", "DIGEST_INVALID"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_means_what_the_table_says() {
        for (status, code, storage, expected) in [
            (404, None, false, Kind::NotFound),
            (404, Some("NAME_UNKNOWN"), false, Kind::NotFound),
            (410, None, false, Kind::NotFound),
            (400, Some("NAME_INVALID"), false, Kind::NotFound),
            (400, None, false, Kind::Malformed),
            (401, None, false, Kind::RepositoryRefused),
            (403, Some("DENIED"), false, Kind::RepositoryRefused),
            (403, Some("toomanyrequests"), false, Kind::RateLimited),
            (403, None, true, Kind::Unavailable),
            (429, None, false, Kind::RateLimited),
            (503, Some("TOOMANYREQUESTS"), false, Kind::RateLimited),
            (500, None, false, Kind::Unavailable),
            (501, None, false, Kind::Unavailable),
            (503, None, false, Kind::Unavailable),
            (304, None, false, Kind::Malformed),
            (416, None, false, Kind::Malformed),
        ] {
            assert_eq!(classify(status, code, storage).0, expected, "{status} {code:?} {storage}");
        }
        assert_eq!(classify(429, None, false).1, Again::No);
        assert_eq!(classify(404, None, false).1, Again::No);
    }
}
