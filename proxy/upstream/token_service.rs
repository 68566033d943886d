//! Asking a token service, and what its refusal means (distribution-spec's token flow, by GET).

use super::{
    attempt::host,
    authorize::{basic, secrets},
    client::Upstream,
    document,
    endpoint::Endpoint,
    failure::{Again, Failure, Kind, Step, Trouble},
    proof::Verdict,
    rate,
    token::{self, TOKEN_SIZE_BYTES_MAX, TOKEN_TIMEOUT, Token, TokenKey},
    verdict::REFUSAL_CODES,
    words::Words,
};
use crate::{
    credentials::{Credential, Current},
    metrics::UpstreamRequest,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::sync::Arc;
use tokio::time::Instant;

impl Upstream {
    /// The token for `key`, fetched once for all who want it.
    pub(super) async fn token(
        &self,
        endpoint: &Endpoint,
        key: &TokenKey,
        current: &Current,
        deadline: Instant,
    ) -> Result<Arc<Token>, Trouble> {
        let slot = self.tokens.slot(key);
        let waited = Instant::now();
        let fetching = slot.get_or_init(|| async { self.fetch_token(endpoint, key, current).await.map(Arc::new) });
        match tokio::time::timeout_at(deadline, fetching).await {
            Ok(Ok(token)) => Ok(Arc::clone(token)),
            Ok(Err(trouble)) => {
                self.tokens.drop_slot(key, &slot);
                Err(trouble.clone())
            }
            Err(_) => {
                let failure = self.token_failure(key, current, Kind::Unavailable);
                let detail = format!("timed out after {} s", waited.elapsed().as_secs_f64().round());
                Err(Trouble { failure: failure.with_detail(detail), again: Again::Elsewhere })
            }
        }
    }

    fn token_failure(&self, key: &TokenKey, current: &Current, kind: Kind) -> Failure {
        let mut failure = Failure::new(&self.registry, kind, Step::Token, host(&key.realm));
        failure.credential = current.place.as_deref().map(str::to_owned);
        failure
    }

    async fn fetch_token(&self, endpoint: &Endpoint, key: &TokenKey, current: &Current) -> Result<Token, Trouble> {
        if let Some(refusal) = self.distrust.refusal(key.generation) {
            return Err(refusal);
        }
        let deadline = Instant::now() + TOKEN_TIMEOUT;
        let url = token::question(key);
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(basic) = basic(&current.credential) {
            headers.insert(header::AUTHORIZATION, basic);
        }
        let sent = endpoint.transport.send(Method::GET, &url, headers, deadline).await;
        self.count(UpstreamRequest::Token, sent.as_ref().ok().map(reqwest::Response::status));
        let mut response = sent.map_err(|fault| {
            let mut trouble = self.trouble(fault, &url);
            trouble.failure.step = Step::Token;
            trouble.failure.credential = current.place.as_deref().map(str::to_owned);
            trouble
        })?;
        let status = response.status();
        if status != StatusCode::OK {
            return Err(self.token_refusal(endpoint, response, key, current, deadline).await);
        }
        let malformed = |kind, detail: String| {
            Trouble::from(self.token_failure(key, current, kind).with_status(status.as_u16()).with_detail(detail))
        };
        let body = document::collect(&mut response, TOKEN_SIZE_BYTES_MAX, deadline).await;
        let body = body.map_err(|(kind, detail)| malformed(kind, detail))?;
        let token = token::parse(&body);
        let token = token
            .ok_or_else(|| malformed(Kind::Malformed, "the answer of the token service holds no token".to_owned()))?;
        if key.generation > 0 {
            self.proof.accepted(key.generation);
            self.distrust.accepted();
        }
        Ok(token)
    }

    /// What a token service means that gives no token.
    async fn token_refusal(
        &self,
        endpoint: &Endpoint,
        response: reqwest::Response,
        key: &TokenKey,
        current: &Current,
        deadline: Instant,
    ) -> Trouble {
        let status = response.status().as_u16();
        let mut failure = self.token_failure(key, current, Kind::Malformed).with_status(status);
        if (300..=399).contains(&status) {
            failure.detail = Some("the token service redirects, which is not followed".to_owned());
        }
        failure.retry_after = rate::retry_after(response.headers());
        let shown = basic(&current.credential);
        Words::read(response, deadline, &secrets(&current.credential, shown.as_ref())).await.add_to(&mut failure);
        let is_refusal = |code: &String| REFUSAL_CODES.iter().any(|known| known.eq_ignore_ascii_case(code));
        let status = if status == 400 && failure.code.as_ref().is_some_and(is_refusal) { 401 } else { status };
        let again;
        (failure.kind, again) = match (status, &current.credential) {
            (401 | 403, Credential::Anonymous) => (Kind::RepositoryRefused, Again::No),
            // GHCR refuses here what a credential may not read, though it is a good one.
            (403, Credential::Basic { .. }) if !key.scopes.is_empty() => {
                let verdict = self.proven(endpoint, Some(key), current, deadline).await;
                let good = match verdict {
                    Verdict::Accepted => true,
                    Verdict::Refused => false,
                    Verdict::Unknown => self.proof.was_accepted(key.generation),
                };
                (if good { Kind::RepositoryRefused } else { Kind::CredentialRefused }, Again::No)
            }
            (401 | 403, Credential::Basic { .. }) => (Kind::CredentialRefused, Again::No),
            (429, _) => (Kind::RateLimited, Again::No),
            (408 | 500..=599, _) => (Kind::Unavailable, Again::Here),
            (300..=399, _) => (Kind::Refused, Again::No),
            _ => (Kind::Malformed, Again::No),
        };
        let trouble = Trouble { failure, again };
        if trouble.failure.kind == Kind::CredentialRefused {
            self.distrust.refused(key.generation, &trouble);
        }
        trouble
    }
}
