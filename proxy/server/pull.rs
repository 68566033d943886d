//! The life of a pull.

use super::{
    Server,
    body::Body,
    respond::{self, Caller},
    route::{Query, Route, Wanted},
};
use crate::{
    cache::{Cause, Stale},
    diagnosis::{self, Asker, Failure},
    metrics::{self, AnswerLabels, FindingLabels},
    oci::{Digest, Reference, Registry, Repository, Target},
};
use http::{HeaderValue, Method, Version, header};
use hyper::{Request, Response, body::Incoming};
use std::time::Duration;
use tokio::time::timeout;

/// The headers of every answer leave within 10 s; this leaves some for the way.
const HEADERS_TIMEOUT: Duration = Duration::from_millis(9_700);

/// Answers a request: which upstream and what of it, may it be pulled, what the cache has to give, and in which words a
/// failure reaches the caller.
pub(super) async fn answer(server: &Server, request: &Request<Incoming>) -> Response<Body> {
    let query = Query::parse(request.uri().query());
    let has_ns = query.ns.is_some();
    let route = match *request.method() {
        _ if !respond::is_framed_plainly(request) => Err(Failure::AmbiguousFraming),
        Method::GET | Method::HEAD => Route::parse(request.uri().path(), query, &server.config),
        _ => Err(Failure::WriteRefused { method: request.method().to_string() }),
    };
    let label = route.as_ref().map_or(metrics::Route::Other, Route::label);
    let caller = Caller::of(request);
    let reference = match &route {
        Ok(Route::Of { wanted: Wanted::Manifest(reference), .. }) => Some(reference.clone()),
        _ => None,
    };
    let served = match route {
        Ok(Route::Base) => Ok(respond::base()),
        Ok(Route::Of { registry, repository, wanted }) => {
            in_time(&registry, &repository, &wanted, serve(server, &caller, &registry, &repository, &wanted)).await
        }
        Err(failure) => Err(failure),
    };
    let response = served.unwrap_or_else(|failure| {
        let asker = Asker::new(caller.user_agent, reference.as_ref(), has_ns);
        tell(server, &caller, &asker, &failure)
    });
    let status_class = u8::try_from(response.status().as_u16() / 100).unwrap_or_default();
    server.metrics.answers.get_or_create(&AnswerLabels { route: label, status_class }).inc();
    response
}

/// Waits for the headers of an answer as long as runtimes do, with some time to spare. What was begun goes on: the next
/// to ask finds it further.
async fn in_time(
    registry: &Registry,
    repository: &Repository,
    wanted: &Wanted,
    served: impl Future<Output = Result<Response<Body>, Failure>>,
) -> Result<Response<Body>, Failure> {
    timeout(HEADERS_TIMEOUT, served).await.unwrap_or_else(|_| {
        let cause = Cause::Slow { seconds: HEADERS_TIMEOUT.as_secs() };
        let target = |reference| Target { registry: registry.clone(), repository: repository.clone(), reference };
        Err(match wanted {
            Wanted::Manifest(reference) => Failure::Pull { target: target(reference.clone()), cause },
            Wanted::Blob(digest) => Failure::PullBlob { target: target(Reference::Digest(*digest)), cause },
            Wanted::Referrers { digest, .. } => Failure::Pull { target: target(Reference::Digest(*digest)), cause },
            Wanted::Tags(_) => Failure::List { registry: registry.clone(), repository: repository.clone(), cause },
        })
    })
}

async fn serve(
    server: &Server,
    caller: &Caller<'_>,
    registry: &Registry,
    repository: &Repository,
    wanted: &Wanted,
) -> Result<Response<Body>, Failure> {
    let target = |reference| Target { registry: registry.clone(), repository: repository.clone(), reference };
    match wanted {
        Wanted::Manifest(reference) => {
            let target = target(reference.clone());
            match server.cache.manifest(&target).await {
                Ok(manifest) => {
                    note_stale(server, registry, manifest.stale);
                    Ok(respond::manifest(caller, &target, manifest))
                }
                Err(cause) => Err(Failure::Pull { target, cause }),
            }
        }
        Wanted::Blob(digest) => blob(server, caller, registry, repository, digest)
            .await
            .map_err(|cause| Failure::PullBlob { target: target(Reference::Digest(*digest)), cause }),
        Wanted::Tags(page) => match server.cache.tags(registry, repository).await {
            Ok(listing) => Ok(respond::tags(caller, registry, repository, page, &listing)),
            Err(cause) => Err(Failure::List { registry: registry.clone(), repository: repository.clone(), cause }),
        },
        Wanted::Referrers { digest, artifact_type } => {
            match server.cache.referrers(registry, repository, digest).await {
                Ok(listing) => Ok(respond::referrers(caller, registry, &listing, artifact_type.as_deref())),
                Err(cause) => Err(Failure::Pull { target: target(Reference::Digest(*digest)), cause }),
            }
        }
    }
}

async fn blob(
    server: &Server,
    caller: &Caller<'_>,
    registry: &Registry,
    repository: &Repository,
    digest: &Digest,
) -> Result<Response<Body>, Cause> {
    if caller.is_head {
        let size_bytes = server.cache.blob_size(registry, repository, digest).await?;
        return Ok(respond::blob_head(digest, size_bytes));
    }
    let mut blob = server.cache.blob(registry, repository, digest).await?;
    if caller.version < Version::HTTP_11 {
        // Without a length the end of the connection is the end of the body: a broken-off one would look complete.
        blob.sized().await?;
    }
    Ok(respond::blob(caller, digest, blob, &server.metrics).await)
}

/// What is served although upstream did not confirm it is a finding too, if one that nobody has to act on at once.
fn note_stale(server: &Server, registry: &Registry, stale: Option<Stale>) {
    if let Some(stale) = stale {
        let labels = FindingLabels { code: diagnosis::stale_code(stale.staleness), upstream: registry.to_string() };
        server.metrics.findings.get_or_create(&labels).inc();
    }
}

/// The one place where a failure becomes words, a log line and a number.
fn tell(server: &Server, caller: &Caller<'_>, asker: &Asker, failure: &Failure) -> Response<Body> {
    let finding = diagnosis::diagnose(failure);
    let upstream = finding.upstream.as_ref().map(ToString::to_string).unwrap_or_default();
    tracing::info!(finding.code = finding.code, upstream.registry = upstream, "{}", finding.message());
    server.metrics.findings.get_or_create(&FindingLabels { code: finding.code, upstream }).inc();
    let answer = diagnosis::answer(&finding, asker, server.config.server.honest_status);
    let mut response = respond::failure(caller, answer);
    let headers = response.headers_mut();
    if matches!(failure, Failure::WriteRefused { .. }) {
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    if matches!(failure, Failure::WriteRefused { .. } | Failure::AmbiguousFraming) {
        // What follows on the connection is not read: it may be what was to be written, or a hidden request.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
