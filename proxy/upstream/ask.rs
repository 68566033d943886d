//! A question to an upstream, and asking it: at one URL after the other, again where that may help, and not for ever.

use super::{
    attempt::Answer,
    body::ByteRange,
    client::Upstream,
    endpoint::Endpoint,
    failure::{Again, Failure, Kind, Step, Trouble},
    retry,
};
use crate::oci::{Digest, MediaType, Reference, Registry, Repository};
use http::{Method, header};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::time::Instant;

/// One attempt, tokens and redirects included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// One attempt while another URL is left to be asked.
const ATTEMPT_TIMEOUT_SHORT: Duration = Duration::from_secs(4);
/// An attempt needs at least so long to be worth it.
const ATTEMPT_TIME_MIN: Duration = Duration::from_millis(200);

/// A question.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    pub(super) method: Method,
    /// Path and query, from `/v2/` on.
    pub(super) path: String,
    pub(super) repository: Option<&'a Repository>,
    pub(super) accept: &'static str,
    pub(super) range: Option<ByteRange>,
}

/// Who was asked, when and as whom: the evidence of every failure from here on.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) upstream: Registry,
    pub(super) host: String,
    pub(super) credential: Option<Arc<str>>,
    pub(super) started: Instant,
    pub(super) attempts: u32,
}

impl Asked {
    pub(super) fn failure(&self, kind: Kind, step: Step) -> Failure {
        let mut failure = Failure::new(&self.upstream, kind, step, self.host.as_str());
        failure.attempts = self.attempts;
        failure.elapsed = self.started.elapsed();
        failure.credential = self.credential.as_deref().map(str::to_owned);
        failure
    }
}

impl<'a> Ask<'a> {
    pub(super) fn manifest(method: Method, repository: &'a Repository, reference: &Reference) -> Self {
        let path = format!("/v2/{repository}/manifests/{reference}");
        Self { method, path, repository: Some(repository), accept: MediaType::ACCEPT, range: None }
    }

    pub(super) fn blob(method: Method, repository: &'a Repository, digest: &Digest, range: Option<ByteRange>) -> Self {
        let path = format!("/v2/{repository}/blobs/{digest}");
        Self { method, path, repository: Some(repository), accept: "*/*", range }
    }

    pub(super) fn headers(&self) -> http::HeaderMap {
        let mut headers = http::HeaderMap::new();
        headers.insert(header::ACCEPT, http::HeaderValue::from_static(self.accept));
        headers.insert(header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
        if let Some(range) = self.range
            && let Ok(value) = http::HeaderValue::try_from(range.to_string())
        {
            headers.insert(header::RANGE, value);
        }
        headers
    }
}

impl Upstream {
    /// Asks until there is an answer of success, or a failure that more asking will not change.
    pub(super) async fn ask(&self, ask: &Ask<'_>, deadline: Instant) -> Result<(Answer, Asked), Failure> {
        let started = Instant::now();
        let mut attempts = 0;
        let result = self.ask_in_turn(ask, deadline, &mut attempts).await;
        match result {
            Ok(answer) => {
                let asked = Asked {
                    upstream: self.registry.clone(),
                    host: answer.host(),
                    credential: answer.credential.clone(),
                    started,
                    attempts,
                };
                Ok((answer, asked))
            }
            Err(mut failure) => {
                failure.attempts = attempts;
                failure.elapsed = started.elapsed();
                failure.rate = self.rate_budget();
                tracing::debug!(
                    upstream.registry = %self.registry, upstream.path = %ask.path.split('?').next().unwrap_or_default(),
                    failure = %failure, "upstream failed"
                );
                Err(failure)
            }
        }
    }

    async fn ask_in_turn(&self, ask: &Ask<'_>, deadline: Instant, attempts: &mut u32) -> Result<Answer, Failure> {
        if self.config.offline {
            return Err(Failure::new(&self.registry, Kind::Refused, Step::Connect, self.host()).with_detail("offline"));
        }
        self.retries.deposit();
        let (live, down): (Vec<_>, Vec<_>) = self.endpoints.iter().partition(|endpoint| !endpoint.is_down());
        let mut turn: VecDeque<&Endpoint> = live.into_iter().chain(down).collect();
        let attempts_max = retry::ATTEMPTS_MAX.max(turn.len());
        let mut last = None;
        while let Some(endpoint) = turn.pop_front() {
            if *attempts as usize >= self.endpoints.len() {
                // Every URL was asked once: from here on it is asking again.
                if !self.retries.withdraw() {
                    break;
                }
                tokio::time::sleep(retry::delay()).await;
            }
            if last.is_some() && Instant::now() + ATTEMPT_TIME_MIN > deadline {
                break;
            }
            *attempts += 1;
            let limit = if turn.is_empty() { ATTEMPT_TIMEOUT } else { ATTEMPT_TIMEOUT_SHORT };
            let trouble = match self.attempt(endpoint, ask, deadline.min(Instant::now() + limit)).await {
                Ok(answer) => {
                    endpoint.set_down(false);
                    return Ok(answer);
                }
                Err(trouble) => trouble,
            };
            self.judge(endpoint, &trouble);
            match trouble.again {
                Again::No => return Err(trouble.failure),
                Again::Here if *attempts as usize + turn.len() < attempts_max => turn.push_back(endpoint),
                Again::Here | Again::Elsewhere => {}
            }
            // That time ran out says less than what went wrong at the same place before.
            let known = last.as_ref().is_some_and(|last: &Failure| last.host == trouble.failure.host);
            if !(known && trouble.failure.step == Step::Headers && trouble.again == Again::Elsewhere) {
                last = Some(trouble.failure);
            }
        }
        Err(last.unwrap_or_else(|| Failure::new(&self.registry, Kind::Unavailable, Step::Connect, self.host())))
    }

    /// Remembers whether `endpoint` itself is the one that does not answer.
    fn judge(&self, endpoint: &Endpoint, trouble: &Trouble) {
        let itself = trouble.failure.host == endpoint.origin.to_string() && trouble.failure.step != Step::Token;
        endpoint.set_down(itself && trouble.again != Again::No);
    }
}
