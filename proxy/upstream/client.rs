//! One upstream and what it can be asked.

use super::{
    Error,
    ask::{Ask, AskKind, Asked},
    attempt::Answer,
    body::{Bandwidth, BlobBody, ByteRange, Extent},
    distrust::Distrust,
    document::{self, BlobHead, ManifestBody, ManifestHead},
    endpoint::Endpoint,
    failure::{Failure, Kind, Step},
    listing,
    proof::Proof,
    rate::{Pause, RateBudget},
    retry::{self, RetryBudget},
    token::Tokens,
};
use crate::{
    config::{self, Origin},
    credentials::{self, CredentialProvider},
    metrics::{Metrics, UpstreamLabels},
    oci::{Digest, Reference, Registry, Repository, Tag},
};
use http::Method;
use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// From the question to the answer, retries and waiting included. Callers are not kept that long: what is asked here is
/// asked by a fill or a flight of the cache's, which goes on without them.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(30);
/// To the headers of a blob: some storage has to fetch it first.
const BLOB_TIMEOUT: Duration = Duration::from_secs(60);
/// For all pages of a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(60);
/// For the base, which somebody waits for.
const BASE_TIMEOUT: Duration = Duration::from_secs(9);
/// Waiting for one of the `fills_max`.
const PERMIT_TIMEOUT: Duration = Duration::from_secs(8);

/// A configured upstream as a client of its API. All of its state is its own.
pub struct Upstream {
    pub(super) registry: Registry,
    pub(super) config: config::Upstream,
    pub(super) provider: Arc<dyn CredentialProvider>,
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    pub(super) origins: Vec<Origin>,
    pub(super) tokens: Tokens,
    /// What is known of the credential as a whole, so that its refusal can be told from one of a single repository.
    pub(super) proof: Proof,
    pub(super) rate: Mutex<Option<RateBudget>>,
    pub(super) pause: Pause,
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
        let endpoint = |url| Endpoint::new(url, &config).transpose();
        let endpoints: Result<Vec<_>, _> =
            config.urls.iter().filter_map(endpoint).map(|endpoint| endpoint.map(Arc::new)).collect();
        let endpoints = endpoints.map_err(|source| Error::Transport { registry: registry.clone(), source })?;
        Ok(Self {
            origins: endpoints.iter().map(|endpoint| endpoint.origin.clone()).collect(),
            provider: credentials::provider(&config),
            fills: Arc::new(Semaphore::new(config.fills_max.clamp(1, Semaphore::MAX_PERMITS))),
            bandwidth: config.bandwidth_max.map(|limit| Arc::new(Bandwidth::new(limit))),
            endpoints,
            registry,
            config,
            metrics,
            tokens: Tokens::default(),
            proof: Proof::default(),
            rate: Mutex::default(),
            pause: Pause::default(),
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
    /// do HEAD. A refusal of a HEAD is no verdict: some registries refuse every one, and none gives its words. It takes a
    /// GET.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence.
    pub async fn manifest_head(&self, repository: &Repository, reference: &Reference) -> Result<ManifestHead, Failure> {
        let deadline = Instant::now() + DOCUMENT_TIMEOUT;
        let ask = Ask::manifest(Method::HEAD, repository, reference);
        match self.ask(&ask, deadline).await {
            Ok((answer, _)) => Ok(ManifestHead::read(answer.response.headers())),
            Err(failure) if matches!(failure.status, Some(405 | 501)) => Ok(ManifestHead::default()),
            Err(failure) if self.refuses_head(&failure) => {
                self.manifest_by(repository, reference, deadline).await.map(ManifestHead::from)
            }
            Err(failure) => Err(failure),
        }
    }

    /// A manifest (end-3). Asked for by digest, its bytes are proven to be that digest's.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence; [`Kind::Mismatch`] for other bytes than those of the digest.
    pub async fn manifest(&self, repository: &Repository, reference: &Reference) -> Result<ManifestBody, Failure> {
        self.manifest_by(repository, reference, Instant::now() + DOCUMENT_TIMEOUT).await
    }

    async fn manifest_by(
        &self,
        repository: &Repository,
        reference: &Reference,
        deadline: Instant,
    ) -> Result<ManifestBody, Failure> {
        let ask = Ask::manifest(Method::GET, repository, reference);
        loop {
            let (answer, asked) = self.ask(&ask, deadline).await?;
            let headers = answer.response.headers().clone();
            match self.read(answer, &asked, document::MANIFEST_SIZE_BYTES_MAX, deadline).await {
                Ok(bytes) => match ManifestBody::read(bytes, &headers, reference) {
                    Ok(body) => return Ok(body),
                    Err((kind, detail)) => {
                        asked.endpoint.distrust();
                        // Each round leaves one URL less to be asked.
                        if self.endpoints.iter().all(|endpoint| endpoint.is_down()) {
                            return Err(asked.failure(kind, Step::Body).with_detail(detail));
                        }
                    }
                },
                // Broken off on the way; a document is too small to be resumed.
                Err(failure) if failure.kind == Kind::Unavailable => {
                    asked.endpoint.distrust();
                    if !self.may_retry(deadline).await {
                        return Err(failure);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
    }

    /// How large a blob is (end-2 by HEAD; by a GET of its first byte where HEAD is refused).
    ///
    /// # Errors
    /// A [`Failure`] with its evidence; [`Kind::Malformed`] where upstream does not say.
    pub async fn blob_head(&self, repository: &Repository, digest: &Digest) -> Result<BlobHead, Failure> {
        let deadline = Instant::now() + DOCUMENT_TIMEOUT;
        let ask = Ask::blob(Method::HEAD, repository, digest, None);
        let (answer, asked) = match self.ask(&ask, deadline).await {
            Ok(answered) => answered,
            Err(failure) if self.refuses_head(&failure) => {
                return self.blob_head_by_get(repository, digest, deadline).await;
            }
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
        self.blob_by(repository, digest, range, Instant::now() + BLOB_TIMEOUT).await
    }

    async fn blob_by(
        &self,
        repository: &Repository,
        digest: &Digest,
        range: Option<ByteRange>,
        deadline: Instant,
    ) -> Result<BlobBody, Failure> {
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
        listing::tags(self, repository, Instant::now() + LIST_TIMEOUT).await
    }

    /// What refers to a digest (end-12), pages put together. `None`: upstream has no referrers API.
    ///
    /// # Errors
    /// A [`Failure`] with its evidence.
    pub async fn referrers(&self, repository: &Repository, digest: &Digest) -> Result<Option<ManifestBody>, Failure> {
        listing::referrers(self, repository, digest, Instant::now() + LIST_TIMEOUT).await
    }

    /// Whether upstream speaks the API and takes the credential (end-1).
    ///
    /// # Errors
    /// A [`Failure`] with its evidence.
    pub async fn base(&self) -> Result<(), Failure> {
        let path = "/v2/".to_owned();
        let (kind, accept) = (AskKind::Other, "application/json");
        let ask = Ask { kind, method: Method::GET, path, repository: None, accept, range: None };
        self.ask(&ask, Instant::now() + BASE_TIMEOUT).await.map(|_| ())
    }

    /// Whether it may be the method that was refused: by the upstream itself, or by a storage whose signed URLs are good
    /// for GET alone. What a token service refuses is refused for every method.
    fn refuses_head(&self, failure: &Failure) -> bool {
        let itself = self.origins.iter().any(|origin| origin.to_string() == failure.host);
        match failure.status {
            Some(401 | 403 | 405 | 501) => failure.step != Step::Token,
            Some(400) => !itself && failure.step != Step::Token,
            _ => false,
        }
    }

    /// As [`Upstream::blob_head`], by asking for the first byte.
    async fn blob_head_by_get(
        &self,
        repository: &Repository,
        digest: &Digest,
        deadline: Instant,
    ) -> Result<BlobHead, Failure> {
        let body = self.blob_by(repository, digest, Some(ByteRange { first: 0, last: Some(0) }), deadline).await?;
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
