//! One upstream and what it can be asked.

use super::{
    Error,
    ask::{Ask, Asked},
    attempt::Answer,
    body::{Bandwidth, BlobBody, ByteRange, Extent},
    distrust::Distrust,
    document::{self, BlobHead, ManifestBody, ManifestHead},
    endpoint::Endpoint,
    failure::{Failure, Kind, Step},
    listing,
    rate::RateBudget,
    retry::{self, RetryBudget},
    token::Tokens,
};
use crate::{
    config::{self, Origin},
    credentials::{self, CredentialProvider},
    metrics::{Metrics, UpstreamLabels},
    oci::{Digest, Reference, Registry, Repository, Tag},
    transport::Transport,
};
use http::Method;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// From the question to the headers, retries and waiting included: larder's own answer must leave within 10 s.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(9);
/// Waiting for one of the `fills_max`.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(8);

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
    pub(super) retries: RetryBudget,
    pub(super) distrust: Distrust,
    fills: Arc<Semaphore>,
    bandwidth: Option<Arc<Bandwidth>>,
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
            distrust: Distrust::default(),
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
        let ask = Ask::manifest(Method::GET, repository, reference);
        loop {
            let (answer, asked) = self.ask(&ask, deadline).await?;
            let headers = answer.response.headers().clone();
            match self.read(answer, &asked, document::MANIFEST_SIZE_BYTES_MAX, deadline).await {
                Ok(bytes) => {
                    return ManifestBody::read(bytes, &headers, reference)
                        .map_err(|(kind, detail)| asked.failure(kind, Step::Body).with_detail(detail));
                }
                // Broken off on the way; a document is too small to be resumed.
                Err(failure) if failure.kind == Kind::Unavailable && self.may_retry(deadline).await => {}
                Err(failure) => return Err(failure),
            }
        }
    }

    /// How large a blob is (end-2 by HEAD).
    ///
    /// # Errors
    /// A [`Failure`] with its evidence; [`Kind::Malformed`] where upstream does not say.
    pub async fn blob_head(&self, repository: &Repository, digest: &Digest) -> Result<BlobHead, Failure> {
        let ask = Ask::blob(Method::HEAD, repository, digest, None);
        let (answer, asked) = match self.ask(&ask, Instant::now() + ANSWER_TIMEOUT).await {
            Ok(answered) => answered,
            Err(failure) if self.refuses_head(&failure) => return self.blob_head_by_get(repository, digest).await,
            Err(failure) => return Err(failure),
        };
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

    /// Whether it is the method that was refused: by the upstream itself, or by a storage whose signed URLs are good for
    /// GET alone.
    fn refuses_head(&self, failure: &Failure) -> bool {
        let itself = self.origins.iter().any(|origin| origin.to_string() == failure.host);
        matches!(failure.status, Some(405 | 501)) || (!itself && matches!(failure.status, Some(400 | 401 | 403)))
    }

    /// As [`Upstream::blob_head`], by asking for the first byte.
    async fn blob_head_by_get(&self, repository: &Repository, digest: &Digest) -> Result<BlobHead, Failure> {
        let body = self.blob(repository, digest, Some(ByteRange { first: 0, last: Some(0) })).await?;
        body.size_bytes.map(|size_bytes| BlobHead { size_bytes }).ok_or_else(|| {
            Failure::new(&self.registry, Kind::Malformed, Step::Headers, self.host()).with_detail("no size given")
        })
    }

    /// Whether the budget and the time allow to ask again; waits a little if so.
    async fn may_retry(&self, deadline: Instant) -> bool {
        let delay = retry::delay();
        if Instant::now() + delay >= deadline || !self.retries.withdraw() {
            return false;
        }
        tokio::time::sleep(delay).await;
        true
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
