//! What the upstream was asked.

use std::sync::atomic::{AtomicU64, Ordering};

/// What kind of request it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Base,
    ManifestHead,
    ManifestGet,
    BlobHead,
    BlobGet,
    Tags,
    Referrers,
    Token,
    Other,
}

/// One request, with everything in it.
#[derive(Debug)]
pub struct Seen {
    pub kind: Kind,
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    /// All of it as it came, for the search for secrets.
    pub raw: String,
    pub(super) bytes_sent: AtomicU64,
}

impl Seen {
    pub(super) fn parse(raw: String) -> Option<Self> {
        let head = raw.split("\r\n\r\n").next()?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next()?.split(' ');
        let (method, target) = (first.next()?.to_owned(), first.next()?);
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (path, query) = (path.to_owned(), query.to_owned());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let kind = kind_of(&method, &path);
        Some(Self { kind, method, path, query, headers, raw, bytes_sent: AtomicU64::new(0) })
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// How much of a body went out in answer.
    pub fn bytes_sent(&self) -> u64 {
        self.bytes_sent.load(Ordering::SeqCst)
    }

    /// The parts of `/v2/<repository>/<collection>/<reference>`.
    pub(super) fn route(&self) -> Option<(&str, &str, &str)> {
        let rest = self.path.strip_prefix("/v2/")?;
        ["/manifests/", "/blobs/", "/tags/", "/referrers/"].into_iter().find_map(|collection| {
            let at = rest.rfind(collection)?;
            Some((&rest[..at], collection.trim_matches('/'), &rest[at + collection.len()..]))
        })
    }
}

fn kind_of(method: &str, path: &str) -> Kind {
    match (method, path) {
        (_, "/v2/" | "/v2") => Kind::Base,
        (_, path) if path.starts_with("/token") => Kind::Token,
        ("HEAD", path) if path.contains("/manifests/") => Kind::ManifestHead,
        ("GET", path) if path.contains("/manifests/") => Kind::ManifestGet,
        ("HEAD", path) if path.contains("/blobs/") => Kind::BlobHead,
        ("GET", path) if path.contains("/blobs/") => Kind::BlobGet,
        (_, path) if path.ends_with("/tags/list") => Kind::Tags,
        (_, path) if path.contains("/referrers/") => Kind::Referrers,
        _ => Kind::Other,
    }
}
