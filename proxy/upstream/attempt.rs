//! One attempt at one URL: redirects are followed by hand, and every answer is judged.
//!
//! A credential is shown to the origin that was asked only, and not again once an answer has led elsewhere.

use super::{
    ask::Ask,
    challenge::{Bearer, Challenges},
    client::Upstream,
    endpoint::Endpoint,
    failure::{Again, Failure, Kind, Step, Trouble},
    rate::RateBudget,
    redirect,
    token::TokenKey,
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
    /// Whether a redirect led away from the origin that was asked.
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
        let mut renewed = false;
        loop {
            let (answer, presented) = self.authorized(endpoint, ask, deadline).await?;
            if answer.response.status().is_success() {
                return Ok(answer);
            }
            let trouble = self.refusal(endpoint, ask, answer, &presented, deadline).await;
            if renewed
                || trouble.failure.kind != Kind::CredentialRefused
                || !self.is_renewed(presented.current.generation).await
            {
                return Err(trouble);
            }
            renewed = true;
        }
    }

    /// Sends `ask` and follows where it leads. `authorization` is shown as long as that is the endpoint itself.
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
            let response = self.send(endpoint, &ask.method, &url, headers, left, deadline).await?;
            let status = response.status();
            if left && status == StatusCode::UNAUTHORIZED && elsewhere.is_none() {
                let challenge = Challenges::read(response.headers()).bearer;
                if let Some(token) = self.elsewhere(endpoint, &url, challenge, deadline).await? {
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
            left |= Origin::of(&url).as_ref() != Some(&endpoint.origin);
            elsewhere = None;
        }
    }

    /// An anonymous token for the host a redirect led to, from that host itself and from nowhere else.
    async fn elsewhere(
        &self,
        endpoint: &Endpoint,
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
        self.token(endpoint, &key, &Current::anonymous(), deadline).await.map(|token| Some(token.header.clone()))
    }

    /// Sends one request.
    async fn send(
        &self,
        endpoint: &Endpoint,
        method: &Method,
        url: &Url,
        headers: HeaderMap,
        left: bool,
        deadline: Instant,
    ) -> Result<reqwest::Response, Trouble> {
        let sent = endpoint.transport.send(method.clone(), url, headers, deadline).await;
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
}
