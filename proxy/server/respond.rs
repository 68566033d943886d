//! Answers, header by header. Only headers built here are sent: nothing of upstream's is copied.

use super::{body::Body, range::Wanted, route::Page};
use crate::{
    cache::{BlobAnswer, Listing, ManifestAnswer, Stale},
    diagnosis::{self, Answer},
    metrics::Metrics,
    oci::{Digest, MediaType, Registry, Repository, Target},
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::ext::ReasonPhrase;
use std::sync::Arc;

/// What of a request decides on the form of its answer.
pub(super) struct Caller<'a> {
    pub(super) is_head: bool,
    pub(super) version: Version,
    pub(super) user_agent: Option<&'a str>,
    range: Option<&'a str>,
    if_range: Option<&'a str>,
    if_none_match: Option<&'a str>,
}

impl<'a> Caller<'a> {
    pub(super) fn of<T>(request: &'a Request<T>) -> Self {
        let text = |name| request.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        Self {
            is_head: request.method() == Method::HEAD,
            version: request.version(),
            user_agent: text(header::USER_AGENT),
            range: text(header::RANGE),
            if_range: text(header::IF_RANGE),
            if_none_match: text(header::IF_NONE_MATCH),
        }
    }
}

/// Whether everybody on the way agrees on where the request ends: hyper has refused what contradicts a Content-Length;
/// of transfer codings only one `chunked` is left (RFC 9112, 6.1).
pub(super) fn is_framed_plainly<T>(request: &Request<T>) -> bool {
    let mut codings = request.headers().get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// What older clients know a registry by.
const API_VERSION: (&str, HeaderValue) = ("docker-distribution-api-version", HeaderValue::from_static("registry/2.0"));
const CONTENT_DIGEST: &str = "docker-content-digest";

pub(super) fn base() -> Response<Body> {
    let mut response = Response::new(Body::Whole(Bytes::from_static(b"{}")));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(API_VERSION.0, API_VERSION.1);
    response
}

pub(super) fn manifest(caller: &Caller<'_>, target: &Target, manifest: ManifestAnswer) -> Response<Body> {
    let etag = etag(&manifest.digest);
    let unchanged = caller.if_none_match.is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = if unchanged { Response::new(Body::Empty) } else { document(caller, manifest.bytes) };
    if unchanged {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, value(manifest.media_type.as_str()));
    headers.insert(CONTENT_DIGEST, value(&manifest.digest.to_string()));
    headers.insert(header::ETAG, etag);
    headers.insert(API_VERSION.0, API_VERSION.1);
    warn(&mut response, &target.registry, manifest.stale);
    response
}

pub(super) fn blob_head(digest: &Digest, size_bytes: u64) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    describe_blob(&mut response, digest);
    response.headers_mut().insert(header::CONTENT_LENGTH, size_bytes.into());
    response
}

pub(super) async fn blob(
    caller: &Caller<'_>,
    digest: &Digest,
    blob: BlobAnswer,
    metrics: &Arc<Metrics>,
) -> Response<Body> {
    let etag = etag(digest);
    let range = caller.range.filter(|_| caller.if_range.is_none_or(|known| known.as_bytes() == etag.as_bytes()));
    let size = blob.size_bytes();
    let wanted = size.map_or(Wanted::Whole, |size| Wanted::of(range, size));
    let (first, end) = match wanted {
        Wanted::Whole => (0, size),
        Wanted::Part { first, end } => (first, Some(end)),
        Wanted::Unsatisfiable => {
            let mut response = Response::new(Body::Empty);
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            response
                .headers_mut()
                .insert(header::CONTENT_RANGE, value(&format!("bytes */{}", size.unwrap_or_default())));
            return response;
        }
    };
    let length = end.map(|end| end - first);
    let content = blob.content(first, end).await;
    let mut response = Response::new(Body::Blob { content, left_bytes: length, metrics: Arc::clone(metrics) });
    describe_blob(&mut response, digest);
    if let Some(length) = length {
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    }
    if let (Wanted::Part { first, end }, Some(size)) = (wanted, size) {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        let part = format!("bytes {first}-{}/{size}", end.saturating_sub(1));
        response.headers_mut().insert(header::CONTENT_RANGE, value(&part));
    }
    response
}

fn describe_blob(response: &mut Response<Body>, digest: &Digest) {
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, OCTETS);
    headers.insert(CONTENT_DIGEST, value(&digest.to_string()));
    headers.insert(header::ETAG, etag(digest));
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(API_VERSION.0, API_VERSION.1);
}

/// A page of the tags (distribution-spec 1.1, "Listing Tags"): with `n`, a `Link` to the next one.
pub(super) fn tags(
    caller: &Caller<'_>,
    registry: &Registry,
    repository: &Repository,
    page: &Page,
    listing: &Listing,
) -> Response<Body> {
    let all = listing.tags();
    let start = page.last.as_ref().map_or(0, |last| all.partition_point(|tag| tag <= last));
    let rest = &all[start..];
    let shown = &rest[..page.count_max.unwrap_or(rest.len()).min(rest.len())];
    let body = serde_json::json!({ "name": repository.as_str(), "tags": shown });
    let mut response = document(caller, Bytes::from(body.to_string()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(API_VERSION.0, API_VERSION.1);
    if let (Some(count), Some(last), true) = (page.count_max, shown.last(), shown.len() < rest.len()) {
        // The name is the upstream's, with ns: right for whichever way the caller came in.
        let link = format!("</v2/{repository}/tags/list?n={count}&last={last}&ns={registry}>; rel=\"next\"");
        headers.insert(header::LINK, value(&link));
    }
    warn(&mut response, registry, listing.stale);
    response
}

/// The referrers, filtered if asked (distribution-spec 1.1, "Listing Referrers").
pub(super) fn referrers(
    caller: &Caller<'_>,
    registry: &Registry,
    listing: &Listing,
    artifact_type: Option<&str>,
) -> Response<Body> {
    let filtered = artifact_type.and_then(|wanted| filter(&listing.bytes, wanted));
    let applied = filtered.is_some();
    let mut response = document(caller, filtered.unwrap_or_else(|| listing.bytes.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MediaType::OCI_INDEX));
    headers.insert(API_VERSION.0, API_VERSION.1);
    if applied {
        headers.insert("oci-filters-applied", HeaderValue::from_static("artifactType"));
    }
    warn(&mut response, registry, listing.stale);
    response
}

fn filter(index: &Bytes, artifact_type: &str) -> Option<Bytes> {
    let mut index: serde_json::Value = serde_json::from_slice(index).ok()?;
    let manifests = index.get_mut("manifests")?.as_array_mut()?;
    manifests.retain(|descriptor| descriptor.get("artifactType").is_some_and(|found| found == artifact_type));
    Some(Bytes::from(index.to_string()))
}

/// A finding, in every channel that some client shows.
pub(super) fn failure(caller: &Caller<'_>, answer: Answer) -> Response<Body> {
    let mut response = document(caller, answer.body);
    *response.status_mut() = answer.status;
    if let Ok(reason) = ReasonPhrase::try_from(answer.reason.into_bytes()) {
        response.extensions_mut().insert(reason);
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, JSON);
    headers.insert(API_VERSION.0, API_VERSION.1);
    headers.insert(header::WARNING, value(&answer.warning));
    if let Some(after) = answer.retry_after {
        headers.insert(header::RETRY_AFTER, after.as_secs().into());
    }
    response
}

/// A document, or only its length where HEAD asks.
fn document(caller: &Caller<'_>, bytes: Bytes) -> Response<Body> {
    let length = bytes.len();
    let mut response = Response::new(if caller.is_head { Body::Empty } else { Body::Whole(bytes) });
    response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
    response
}

fn warn(response: &mut Response<Body>, registry: &Registry, stale: Option<Stale>) {
    if let Some(stale) = stale {
        response.headers_mut().insert(header::WARNING, value(&diagnosis::warning(registry, &stale)));
    }
}

fn etag(digest: &Digest) -> HeaderValue {
    value(&format!("\"{digest}\""))
}

/// Typed values are printable ASCII; a text that is not is left empty rather than sent.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
