//! The life of a pull.

use super::{
    Server,
    body::Body,
    respond::{self, Caller},
    route::{Query, Route, Wanted},
};
use crate::{
    cache::Cause,
    diagnosis::{self, Asker, Failure},
    metrics::{self, AnswerLabels, FindingLabels},
    oci::{Digest, Reference, Registry, Repository, Target},
};
use http::{Method, StatusCode, Version, header};
use hyper::{Request, Response, body::Incoming};

/// Answers a request: which upstream and what of it, may it be pulled, what the cache has to give, and in which words a
/// failure reaches the caller.
pub(super) async fn answer(server: &Server, request: &Request<Incoming>) -> Response<Body> {
    let query = Query::parse(request.uri().query());
    let has_ns = query.ns.is_some();
    let route = if matches!(*request.method(), Method::GET | Method::HEAD) {
        Route::parse(request.uri().path(), query, &server.config)
    } else {
        Err(Failure::WriteRefused { method: request.method().to_string() })
    };
    let label = route.as_ref().map_or(metrics::Route::Other, Route::label);
    let caller = Caller::of(request);
    let reference = match &route {
        Ok(Route::Of { wanted: Wanted::Manifest(reference), .. }) => Some(reference.clone()),
        _ => None,
    };
    let served = match route {
        Ok(Route::Base) => Ok(respond::base()),
        Ok(Route::Of { registry, repository, wanted }) => serve(server, &caller, registry, repository, wanted).await,
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

async fn serve(
    server: &Server,
    caller: &Caller<'_>,
    registry: Registry,
    repository: Repository,
    wanted: Wanted,
) -> Result<Response<Body>, Failure> {
    let target = |reference| Target { registry: registry.clone(), repository: repository.clone(), reference };
    match wanted {
        Wanted::Manifest(reference) => {
            let target = target(reference);
            match server.cache.manifest(&target).await {
                Ok(manifest) => Ok(respond::manifest(caller, &target, manifest)),
                Err(cause) => Err(Failure::Pull { target, cause }),
            }
        }
        Wanted::Blob(digest) => blob(server, caller, &registry, &repository, &digest)
            .await
            .map_err(|cause| Failure::PullBlob { target: target(Reference::Digest(digest)), cause }),
        Wanted::Tags(page) => match server.cache.tags(&registry, &repository).await {
            Ok(listing) => Ok(respond::tags(caller, &registry, &repository, &page, &listing)),
            Err(cause) => Err(Failure::List { registry, repository, cause }),
        },
        Wanted::Referrers { digest, artifact_type } => {
            match server.cache.referrers(&registry, &repository, &digest).await {
                Ok(listing) => Ok(respond::referrers(caller, &registry, &listing, artifact_type.as_deref())),
                Err(cause) => Err(Failure::Pull { target: target(Reference::Digest(digest)), cause }),
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
        blob.sized().await;
        if blob.size_bytes().is_none() {
            return Err(Cause::Slow { seconds: 0 });
        }
    }
    Ok(respond::blob(caller, digest, blob, &server.metrics).await)
}

/// The one place where a failure becomes words, a log line and a number.
fn tell(server: &Server, caller: &Caller<'_>, asker: &Asker, failure: &Failure) -> Response<Body> {
    let finding = diagnosis::diagnose(failure);
    let upstream = finding.upstream.as_ref().map(ToString::to_string).unwrap_or_default();
    tracing::info!(finding.code = finding.code, upstream.registry = upstream, "{}", finding.message());
    server.metrics.findings.get_or_create(&FindingLabels { code: finding.code, upstream }).inc();
    let answer = diagnosis::answer(&finding, asker, server.config.server.honest_status);
    let mut response = respond::failure(caller, answer);
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, http::HeaderValue::from_static("GET, HEAD"));
        // What the refused request would have written is not read.
        response.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
    }
    response
}
