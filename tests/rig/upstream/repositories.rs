//! What the upstream holds, and what a registry that behaves answers from it.

use super::super::content::INDEX;
use super::super::digest_of;
use super::seen::{Kind, Seen};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// Repositories by name.
#[derive(Default)]
pub struct Repositories {
    repositories: HashMap<String, Repository>,
    /// No referrers API: 404, as registries before distribution-spec 1.1 answer.
    pub without_referrers: bool,
    /// Tags on a page of `tags/list` where the request does not say.
    pub tags_page: Option<usize>,
}

#[derive(Default)]
struct Repository {
    tags: BTreeMap<String, String>,
    manifests: HashMap<String, (String, Bytes)>,
    blobs: HashMap<String, Bytes>,
    referrers: HashMap<String, Vec<Value>>,
}

/// An answer before anything is done to it.
pub(super) struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

impl Reply {
    pub fn new(status: u16, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![("Content-Type".to_owned(), media_type.to_owned())], body: body.into() }
    }

    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = json!({ "errors": [{ "code": code, "message": message }] });
        Self::new(status, "application/json", body.to_string())
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

impl Repositories {
    fn of(&mut self, repository: &str) -> &mut Repository {
        self.repositories.entry(repository.to_owned()).or_default()
    }

    pub fn blob(&mut self, repository: &str, bytes: &Bytes) {
        self.of(repository).blobs.insert(digest_of(bytes), bytes.clone());
    }

    /// A blob under a digest of another algorithm.
    pub fn blob_as(&mut self, repository: &str, digest: &str, bytes: &Bytes) {
        self.of(repository).blobs.insert(digest.to_owned(), bytes.clone());
    }

    pub fn manifest(&mut self, repository: &str, media_type: &str, bytes: &Bytes) {
        self.of(repository).manifests.insert(digest_of(bytes), (media_type.to_owned(), bytes.clone()));
    }

    pub fn tag(&mut self, repository: &str, tag: &str, digest: &str) {
        self.of(repository).tags.insert(tag.to_owned(), digest.to_owned());
    }

    pub fn untag(&mut self, repository: &str, tag: &str) {
        self.of(repository).tags.remove(tag);
    }

    /// The whole repository is gone.
    pub fn remove(&mut self, repository: &str) {
        self.repositories.remove(repository);
    }

    pub fn referrer(&mut self, repository: &str, subject: &str, descriptor: Value) {
        self.of(repository).referrers.entry(subject.to_owned()).or_default().push(descriptor);
    }

    pub(super) fn answer(&self, seen: &Seen, ignore_range: bool) -> Reply {
        if seen.kind == Kind::Base {
            return Reply::new(200, "application/json", "{}").with("Docker-Distribution-API-Version", "registry/2.0");
        }
        let Some((name, collection, reference)) = seen.route() else {
            return Reply::error(404, "UNSUPPORTED", "no such route");
        };
        let Some(repository) = self.repositories.get(name) else {
            return Reply::error(404, "NAME_UNKNOWN", "repository name not known to registry");
        };
        match collection {
            "manifests" => repository.manifest(reference),
            "blobs" => repository.blob(reference, seen.header("range").filter(|_| !ignore_range)),
            "tags" => repository.tags(name, &seen.query, self.tags_page),
            _ if self.without_referrers => Reply::error(404, "UNSUPPORTED", "no such route"),
            _ => repository.referrers(reference, &seen.query),
        }
    }
}

impl Repository {
    fn manifest(&self, reference: &str) -> Reply {
        let digest = self.tags.get(reference).map_or(reference, String::as_str);
        match self.manifests.get(digest) {
            Some((media_type, bytes)) => {
                Reply::new(200, media_type, bytes.clone()).with("Docker-Content-Digest", digest)
            }
            None => Reply::error(404, "MANIFEST_UNKNOWN", &format!("manifest unknown to upstream: {reference}")),
        }
    }

    fn blob(&self, digest: &str, range: Option<&str>) -> Reply {
        let Some(bytes) = self.blobs.get(digest) else {
            return Reply::error(404, "BLOB_UNKNOWN", "blob unknown to registry");
        };
        let whole = |status, body| {
            Reply::new(status, "application/octet-stream", body)
                .with("Docker-Content-Digest", digest)
                .with("Accept-Ranges", "bytes")
        };
        let Some(range) = range.and_then(|range| range.strip_prefix("bytes=")) else {
            return whole(200, bytes.clone());
        };
        let size = bytes.len();
        let bounds = match range.split_once('-') {
            Some(("", last)) => last.parse::<usize>().ok().map(|last| (size.saturating_sub(last), size)),
            Some((first, "")) => first.parse::<usize>().ok().map(|first| (first, size)),
            Some((first, last)) => first.parse().ok().zip(last.parse::<usize>().ok().map(|last| size.min(last + 1))),
            None => None,
        };
        match bounds {
            Some((first, end)) if first < end => {
                whole(206, bytes.slice(first..end)).with("Content-Range", &format!("bytes {first}-{}/{size}", end - 1))
            }
            _ => Reply::new(416, "application/json", "{}").with("Content-Range", &format!("bytes */{size}")),
        }
    }

    fn tags(&self, name: &str, query: &str, page: Option<usize>) -> Reply {
        let last = parameter(query, "last").unwrap_or_default();
        let most =
            parameter(query, "n").and_then(|n| n.parse().ok()).into_iter().chain(page).min().unwrap_or(usize::MAX);
        let rest: Vec<&String> = self.tags.keys().filter(|tag| **tag > last).collect();
        let tags = &rest[..rest.len().min(most)];
        let reply = Reply::new(200, "application/json", json!({ "name": name, "tags": tags }).to_string());
        match tags.last() {
            Some(last) if tags.len() < rest.len() => {
                reply.with("Link", &format!("</v2/{name}/tags/list?last={last}&n={most}>; rel=\"next\""))
            }
            _ => reply,
        }
    }

    fn referrers(&self, subject: &str, query: &str) -> Reply {
        let mut manifests = self.referrers.get(subject).cloned().unwrap_or_default();
        let filter = parameter(query, "artifactType");
        if let Some(artifact_type) = &filter {
            manifests.retain(|descriptor| descriptor["artifactType"] == artifact_type.as_str());
        }
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
        let reply = Reply::new(200, INDEX, index.to_string());
        if filter.is_some() { reply.with("OCI-Filters-Applied", "artifactType") } else { reply }
    }
}

/// A parameter of a query, percent-decoded.
pub(super) fn parameter(query: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
}
