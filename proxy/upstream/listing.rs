//! Answers that come in pages: tags and referrers. A `Link` is followed to the same origin only (CVE-2026-88887).

use super::{
    ask::{Ask, Asked},
    attempt::Answer,
    client::Upstream,
    document::{self, MANIFEST_SIZE_BYTES_MAX, ManifestBody},
    failure::{Failure, Kind, Step},
};
use crate::{
    config::Origin,
    oci::{Digest, MediaType, Repository, Tag},
};
use bytes::Bytes;
use http::{HeaderMap, Method, header};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use url::Url;

const PAGES_MAX: usize = 100;
const TAGS_MAX: usize = 100_000;
const PAGE_SIZE_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Deserialize)]
struct TagsJson {
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct IndexJson<'a> {
    #[serde(borrow)]
    manifests: Vec<&'a RawValue>,
}

/// All tags of `repository`.
pub(super) async fn tags(upstream: &Upstream, repository: &Repository, deadline: Instant) -> Result<Vec<Tag>, Failure> {
    let mut tags = Vec::new();
    let mut next = Some(format!("/v2/{repository}/tags/list?n=1000"));
    for _ in 0..PAGES_MAX {
        let Some(path) = next.take() else { break };
        let (page, asked) = page(upstream, repository, path, "application/json", deadline).await?;
        let object = document::is_object(&page.bytes);
        let json = object.then(|| serde_json::from_slice::<TagsJson>(&page.bytes).ok()).flatten();
        let json = json.ok_or_else(|| asked.failure(Kind::Malformed, Step::Body).with_detail("no list of tags"))?;
        let valid = json.tags.unwrap_or_default().into_iter().filter_map(|tag| tag.parse().ok());
        tags.extend(valid.take(TAGS_MAX - tags.len()));
        next = page.next.filter(|_| tags.len() < TAGS_MAX);
    }
    Ok(tags)
}

/// What refers to `digest`; pages are put together into one index. `None`: there is no such API.
pub(super) async fn referrers(
    upstream: &Upstream,
    repository: &Repository,
    digest: &Digest,
    deadline: Instant,
) -> Result<Option<ManifestBody>, Failure> {
    let first = format!("/v2/{repository}/referrers/{digest}");
    let (page_first, asked) = match page(upstream, repository, first, MediaType::OCI_INDEX, deadline).await {
        Ok(page) => page,
        Err(failure) if matches!(failure.status, Some(404 | 405 | 501)) => return Ok(None),
        Err(failure) => return Err(failure),
    };
    // Registries without the API answer with a page for people, or an object of another kind.
    if !document::is_object(&page_first.bytes) || manifests(&page_first.bytes).is_none() {
        return Ok(None);
    }
    let mut next = page_first.next.clone();
    let mut pages = vec![page_first];
    let mut size_bytes = 0;
    while let Some(path) = next.take().filter(|_| pages.len() < PAGES_MAX) {
        let (page, asked) = page(upstream, repository, path, MediaType::OCI_INDEX, deadline).await?;
        size_bytes += page.bytes.len();
        if size_bytes > MANIFEST_SIZE_BYTES_MAX || manifests(&page.bytes).is_none() {
            return Err(asked
                .failure(Kind::Malformed, Step::Body)
                .with_detail("no list of referrers, or one too large"));
        }
        next = page.next.clone();
        pages.push(page);
    }
    let bytes = join(&pages);
    if bytes.len() > MANIFEST_SIZE_BYTES_MAX {
        return Err(asked.failure(Kind::Malformed, Step::Body).with_detail("the list of referrers is too large"));
    }
    let media_type = MediaType::parse(MediaType::OCI_INDEX).expect("a media type of the specification");
    Ok(Some(ManifestBody { digest: Digest::of(&bytes), media_type, bytes }))
}

/// One page as it is, several as one index with their descriptors verbatim.
fn join(pages: &[Page]) -> Bytes {
    if let [page] = pages {
        return page.bytes.clone();
    }
    let all: Vec<&str> = pages.iter().filter_map(|page| manifests(&page.bytes)).flatten().map(RawValue::get).collect();
    let text =
        format!("{{\"schemaVersion\":2,\"mediaType\":\"{}\",\"manifests\":[{}]}}", MediaType::OCI_INDEX, all.join(","));
    Bytes::from(text)
}

fn manifests(bytes: &[u8]) -> Option<Vec<&RawValue>> {
    serde_json::from_slice::<IndexJson<'_>>(bytes).ok().map(|json| json.manifests)
}

/// A page, and the path and query of the next one.
struct Page {
    bytes: Bytes,
    next: Option<String>,
}

async fn page(
    upstream: &Upstream,
    repository: &Repository,
    path: String,
    accept: &'static str,
    deadline: Instant,
) -> Result<(Page, Asked), Failure> {
    let own_path = path.split('?').next().unwrap_or_default().to_owned();
    let ask = Ask { method: Method::GET, path, repository: Some(repository), accept, range: None };
    let (answer, asked): (Answer, Asked) = upstream.ask(&ask, deadline).await?;
    let mut next = next_page(&answer.url, answer.response.headers());
    if answer.left {
        // The path is one of the host that a redirect led to (registry.k8s.io); what is asked for next is in the query.
        next = next.and_then(|next| next.split_once('?').map(|(_, query)| format!("{own_path}?{query}")));
    }
    let bytes = upstream.read(answer, &asked, PAGE_SIZE_BYTES_MAX, deadline).await?;
    Ok((Page { bytes, next }, asked))
}

/// The target of `Link: <...>; rel="next"` (RFC 8288), if it is of the same origin.
fn next_page(current: &Url, headers: &HeaderMap) -> Option<String> {
    let link = headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok()).find_map(|text| {
        let (target, parameters) = text.trim().strip_prefix('<')?.split_once('>')?;
        let is_next = |parameter: &str| matches!(parameter.trim(), "rel=\"next\"" | "rel=next");
        parameters.split([';', ',']).any(is_next).then_some(target)
    })?;
    let url = current.join(link).ok()?;
    (Origin::of(&url)? == Origin::of(current)? && url.username().is_empty()).then_some(())?;
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("{}{query}", url.path())).filter(|path| path.len() <= 4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(link: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert("link", link.parse().unwrap());
        next_page(&Url::parse("https://registry.example/v2/a/tags/list?n=2").unwrap(), &headers)
    }

    #[test]
    fn follows_a_link_to_the_same_origin_only() {
        for (link, expected) in [
            ("</v2/a/tags/list?n=2&last=b>; rel=\"next\"", Some("/v2/a/tags/list?n=2&last=b")),
            ("<list?last=b>; rel=next", Some("/v2/a/tags/list?last=b")),
            ("<https://registry.example:443/v2/a/tags/list?last=b>; rel=\"next\"", Some("/v2/a/tags/list?last=b")),
            ("<https://evil.example/v2/a/tags/list?last=b>; rel=\"next\"", None),
            ("<//evil.example/v2/>; rel=\"next\"", None),
            ("<http://registry.example/v2/>; rel=\"next\"", None),
            ("<https://registry.example:444/v2/>; rel=\"next\"", None),
            ("<https://user@registry.example/v2/>; rel=\"next\"", None),
            ("</v2/a/tags/list>; rel=\"prev\"", None),
            ("/v2/a/tags/list; rel=\"next\"", None),
            ("", None),
        ] {
            assert_eq!(next(link).as_deref(), expected, "{link}");
        }
    }

    #[test]
    fn pages_of_referrers_are_joined_with_their_descriptors_verbatim() {
        let page = |bytes: &'static str| Page { bytes: Bytes::from_static(bytes.as_bytes()), next: None };
        let one = page("{\"manifests\":[{\"digest\" : \"a\"}], \"x\":1}");
        assert_eq!(join(&[Page { bytes: one.bytes.clone(), next: None }]), one.bytes);
        let joined = join(&[one, page("{\"manifests\":[]}"), page("{\"manifests\":[{\"b\":2},{}]}")]);
        let expected = "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\
            \"manifests\":[{\"digest\" : \"a\"},{\"b\":2},{}]}";
        assert_eq!(joined, expected);
    }
}
