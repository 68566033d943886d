//! One upstream and what it can be asked.

use super::{
    Error,
    attempt::Answer,
    body::{Bandwidth, BlobBody, ByteRange, Extent},
    document::{self, BlobHead, ManifestBody, ManifestHead},
    endpoint::Endpoint,
    failure::{Again, Failure, Kind, Step, Trouble},
    listing,
    rate::RateBudget,
    retry::{self, RetryBudget},
    token::Tokens,
};
use crate::{
    config::{self, Origin},
    credentials::{self, CredentialProvider},
    metrics::{Metrics, UpstreamLabels},
    oci::{Digest, MediaType, Reference, Registry, Repository, Tag},
    transport::Transport,
};
use http::{Method, header};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// From the question to the headers, retries and waiting included: larder's own answer must leave within 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(9);
/// One attempt, tokens and redirects included.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(8);
/// One attempt while another URL is left to be asked.
const ATTEMPT_TIMEOUT_SHORT: Duration = Duration::from_secs(4);
/// Waiting for one of the `fills_max`.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(8);
/// An attempt needs at least so long to be worth it.
const ATTEMPT_TIME_MIN: Duration = Duration::from_millis(200);

/// A configured upstream as a client of its API. All of its state is its own.
pub struct Upstream {
    pub(super) registry: Registry,
    pub(super) config: config::Upstream,
    pub(super) transport: Transport,
    pub(super) provider: Arc<dyn CredentialProvider>,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) origins: Vec<Origin>,
    pub(super) tokens: Tokens,
    /// The last credential a token was got with, so that a refusal can be told from one of a single repository.
    pub(super) proven_generation: AtomicU64,
    pub(super) rate: Mutex<Option<RateBudget>>,
    pub(super) warned: Mutex<HashSet<String>>,
    pub(super) metrics: Arc<Metrics>,
    retries: RetryBudget,
    fills: Arc<Semaphore>,
    bandwidth: Option<Arc<Bandwidth>>,
}

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

impl Upstream {
    /// A client for `config`, known as `registry`.
    ///
    /// # Errors
    /// Where its CA file or its proxy cannot be used.
    pub fn new(registry: Registry, config: config::Upstream, metrics: Arc<Metrics>) -> Result<Self, Error> {
        let transport =
            Transport::new(&config).map_err(|source| Error::Transport { registry: registry.clone(), source })?;
        let endpoints: Vec<Endpoint> = config.urls.iter().cloned().filter_map(Endpoint::new).collect();
        Ok(Self {
            origins: endpoints.iter().map(|endpoint| endpoint.origin.clone()).collect(),
            provider: credentials::provider(&config),
            fills: Arc::new(Semaphore::new(config.fills_max.clamp(1, Semaphore::MAX_PERMITS))),
            bandwidth: config.bandwidth_max.map(|limit| Arc::new(Bandwidth::new(limit))),
            transport,
            endpoints,
            registry,
            config,
            metrics,
            tokens: Tokens::default(),
            proven_generation: AtomicU64::new(0),
            rate: Mutex::default(),
            warned: Mutex::default(),
            retries: RetryBudget::default(),
        })
    }

    /// Its name.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Its configuration.
    pub fn config(&self) -> &config::Upstream {
        &self.config
    }

    /// What is left of its rate limit, as far as it said.
    pub fn rate_budget(&self) -> Option<RateBudget> {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which digest a reference stands for (distribution-spec, end-3 by HEAD). Nothing is known where upstream does not
    /// do HEAD.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence.
    pub async fn manifest_head(&self, repository: &Repository, reference: &Reference) -> Result<ManifestHead, Failure> {
        let ask = Ask::manifest(Method::HEAD, repository, reference);
        match self.ask(&ask, Instant::now() + ANSWER_TIMEOUT).await {
            Ok((answer, _)) => Ok(ManifestHead::read(answer.response.headers())),
            Err(failure) if matches!(failure.status, Some(405 | 501)) => Ok(ManifestHead::default()),
            Err(failure) => Err(failure),
        }
    }

    /// A manifest (end-3). Asked for by digest, its bytes are proven to be that digest's.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence; [`Kind::Mismatch`] for other bytes than those of the digest.
    pub async fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<ManifestBody, Failure> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let (answer, asked) = self.ask(&Ask::manifest(Method::GET, repository, reference), deadline).await?;
        let headers = answer.response.headers().clone();
        let bytes = self.read(answer, &asked, document::MANIFEST_SIZE_BYTES_MAX, deadline).await?;
        ManifestBody::read(bytes, &headers, reference)
            .map_err(|(kind, detail)| asked.failure(kind, Step::Body).with_detail(detail))
    }

    /// How large a blob is (end-2 by HEAD).
    ///
    /// # Errors
    /// A [`Failure`] with its evidence; [`Kind::Malformed`] where upstream does not say.
    pub async fn blob_head(&self, repository: &Repository, digest: &Digest) -> Result<BlobHead, Failure> {
        let ask = Ask::blob(Method::HEAD, repository, digest, None);
        let (answer, asked) = self.ask(&ask, Instant::now() + ANSWER_TIMEOUT).await?;
        document::refuse_encoded(answer.response.headers())
            .and_then(|()| super::body::content_length(answer.response.headers()).ok_or("no Content-Length".to_owned()))
            .map(|size_bytes| BlobHead { size_bytes })
            .map_err(|detail| asked.failure(Kind::Malformed, Step::Headers).with_detail(detail))
    }

    /// A blob, or a part of it (end-2). Its headers are there when this returns. The bytes are not proven.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence; [`Kind::Busy`] where too many fetches are running.
    pub async fn blob(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Option<ByteRange>,
    ) -> Result<BlobBody, Failure> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let permit = self.permit().await?;
        let (answer, asked) = self.ask(&Ask::blob(Method::GET, repository, digest, range), deadline).await?;
        let headers = answer.response.headers();
        let extent = document::refuse_encoded(headers)
            .and_then(|()| Extent::read(answer.response.status(), headers, range))
            .map_err(|detail| asked.failure(Kind::Malformed, Step::Headers).with_detail(detail))?;
        let counter = self.metrics.received_bytes.get_or_create(&self.labels()).clone();
        Ok(BlobBody::new(extent, answer.response, asked, counter, self.bandwidth.clone(), permit))
    }

    /// All tags of a repository (end-8), pages followed. Names that are no tags are left out.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence.
    pub async fn tags(&self, repository: &Repository) -> Result<Vec<Tag>, Failure> {
        listing::tags(self, repository, Instant::now() + ANSWER_TIMEOUT).await
    }

    /// What refers to a digest (end-12), pages put together. `None`: upstream has no referrers API.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence.
    pub async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Option<ManifestBody>, Failure> {
        listing::referrers(self, repository, digest, Instant::now() + ANSWER_TIMEOUT).await
    }

    /// Whether upstream speaks the API and takes the credential (end-1).
    ///
    /// # Errors
    /// A [`Failure`] with its evidence.
    pub async fn base(&self) -> Result<(), Failure> {
        let path = "/v2/".to_owned();
        let ask = Ask { method: Method::GET, path, repository: None, accept: "application/json", range: None };
        self.ask(&ask, Instant::now() + ANSWER_TIMEOUT).await.map(|_| ())
    }

    async fn permit(&self) -> Result<OwnedSemaphorePermit, Failure> {
        let started = Instant::now();
        match tokio::time::timeout(PERMIT_TIMEOUT, Arc::clone(&self.fills).acquire_owned()).await {
            Ok(Ok(permit)) => Ok(permit),
            _ => {
                let mut failure = Failure::new(&self.registry, Kind::Busy, Step::Connect, self.host());
                failure.elapsed = started.elapsed();
                failure.attempts = 0;
                Err(failure.with_detail(format!("all {} fetches are taken (fills_max)", self.config.fills_max)))
            }
        }
    }

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

    /// The body of `answer`, at most `size_bytes_max` of it.
    pub(super) async fn read(
        &self,
        mut answer: Answer,
        asked: &Asked,
        size_bytes_max: usize,
        deadline: Instant,
    ) -> Result<bytes::Bytes, Failure> {
        document::refuse_encoded(answer.response.headers())
            .map_err(|detail| asked.failure(Kind::Malformed, Step::Headers).with_detail(detail))?;
        let body = document::collect(&mut answer.response, size_bytes_max, deadline).await;
        let body = body.map_err(|(kind, detail)| asked.failure(kind, Step::Body).with_detail(detail))?;
        self.metrics.received_bytes.get_or_create(&self.labels()).inc_by(body.len() as u64);
        Ok(body)
    }

    pub(super) fn labels(&self) -> UpstreamLabels {
        UpstreamLabels { upstream: self.registry.to_string() }
    }

    /// The origin that is asked first.
    pub(super) fn host(&self) -> String {
        self.origins.first().map(Origin::to_string).unwrap_or_default()
    }
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upstream").field(&self.registry.as_str()).finish()
    }
}

impl<'a> Ask<'a> {
    fn manifest(method: Method, repository: &'a Repository, reference: &Reference) -> Self {
        let path = format!("/v2/{repository}/manifests/{reference}");
        Self { method, path, repository: Some(repository), accept: MediaType::ACCEPT, range: None }
    }

    fn blob(method: Method, repository: &'a Repository, digest: &Digest, range: Option<ByteRange>) -> Self {
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
