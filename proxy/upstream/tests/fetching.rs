//! What upstream gives.

use super::origin::*;
use crate::{
    oci::{Digest, MediaType, Reference},
    upstream::{BlobBody, ByteRange, Kind, ManifestHead, Step},
};
use std::{num::NonZeroU64, time::Duration};

const MANIFEST: &str = "{\"schemaVersion\":2,\"config\":{}}";

fn tag(text: &str) -> Reference {
    text.parse().unwrap()
}

async fn text(mut body: BlobBody) -> String {
    let mut text = Vec::new();
    while let Some(chunk) = body.chunk().await.unwrap() {
        text.extend_from_slice(&chunk);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_manifest_comes_with_its_digest_and_media_type() {
    let origin = Origin::start(|_, _| reply(200, &[("content-type", MediaType::OCI_MANIFEST)], MANIFEST)).await;
    let manifest = origin.client().manifest(&repository("a/b"), &tag("1")).await.unwrap();
    assert_eq!(manifest.digest, Digest::of(MANIFEST.as_bytes()));
    assert_eq!(manifest.media_type.as_str(), MediaType::OCI_MANIFEST);
    assert_eq!(manifest.bytes, MANIFEST);
    let seen = &origin.seen()[0];
    assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/v2/a/b/manifests/1"));
    assert_eq!(seen.header("accept"), Some(MediaType::ACCEPT));
    assert_eq!(seen.header("accept-encoding"), Some("identity"));
    assert_eq!(seen.header("user-agent"), Some(concat!("larder/", env!("CARGO_PKG_VERSION"))));
}

#[tokio::test]
async fn a_head_says_what_upstream_says() {
    let announced = digest().to_string();
    let origin = Origin::start(move |_, seen| match seen.path.rsplit('/').next() {
        Some("full") => reply(
            200,
            &[("docker-content-digest", &announced), ("content-type", MediaType::OCI_INDEX), ("content-length", "7")],
            "",
        ),
        Some("bare") => ok(""),
        _ => reply(405, &[], ""),
    })
    .await;
    let client = origin.client();
    let head = client.manifest_head(&repository("a"), &tag("full")).await.unwrap();
    assert_eq!(head.digest, Some(digest()));
    assert_eq!(head.media_type.map(|media_type| media_type.to_string()).as_deref(), Some(MediaType::OCI_INDEX));
    assert_eq!(head.size_bytes, Some(7));
    assert_eq!(client.manifest_head(&repository("a"), &tag("bare")).await.unwrap().digest, None);
    assert_eq!(client.manifest_head(&repository("a"), &tag("refused")).await.unwrap(), ManifestHead::default());
}

#[tokio::test]
async fn a_manifest_with_other_bytes_than_its_digest_is_a_mismatch() {
    let origin = Origin::start(|_, _| ok(MANIFEST)).await;
    let failure = origin.client().manifest(&repository("a"), &Reference::Digest(digest())).await.unwrap_err();
    assert_eq!((failure.kind, failure.step), (Kind::Mismatch, Step::Body));
}

#[tokio::test]
async fn what_is_no_manifest_is_malformed() {
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(5 << 20));
    for (headers, body) in [
        (vec![("content-type", "text/html")], "<html>login</html>".to_owned()),
        (vec![], String::new()),
        (vec![("content-encoding", "gzip")], MANIFEST.to_owned()),
        (vec![], large.clone()),
        (vec![("transfer-encoding", "chunked")], large),
    ] {
        let size_bytes = body.len();
        let origin = Origin::start(move |_, _| reply(200, &headers, body.clone())).await;
        let failure = origin.client().manifest(&repository("a"), &tag("1")).await.unwrap_err();
        assert_eq!(failure.kind, Kind::Malformed, "{failure} {size_bytes}");
    }
}

#[tokio::test]
async fn a_blob_comes_whole_or_in_part() {
    let origin = Origin::start(|_, seen| match seen.header("range") {
        None => ok("hello"),
        Some("bytes=2-") => reply(206, &[("content-range", "bytes 2-4/5")], "llo"),
        Some("bytes=1-2") => reply(206, &[("content-range", "bytes 1-2/5")], "el"),
        Some("bytes=3-") => reply(206, &[("content-range", "bytes 2-4/5")], "llo"),
        Some("bytes=9-") => reply(416, &[("content-range", "bytes */5")], ""),
        Some(_) => ok("hello"),
    })
    .await;
    let client = origin.client();
    let (repository, digest) = (repository("a"), digest());
    let get = |range| client.blob(&repository, &digest, range);
    let from = |first| Some(ByteRange { first, last: None });
    for (range, first, length, expected) in [
        (None, 0, 5, "hello"),
        (from(2), 2, 3, "llo"),
        (Some(ByteRange { first: 1, last: Some(2) }), 1, 2, "el"),
        (from(4), 0, 5, "hello"),
    ] {
        let body = get(range).await.unwrap();
        assert_eq!((body.first, body.length_bytes, body.size_bytes), (first, Some(length), Some(5)), "{range:?}");
        assert_eq!(text(body).await, expected);
    }
    for first in [3, 9] {
        assert_eq!(get(from(first)).await.unwrap_err().kind, Kind::Malformed, "{first}");
    }
    assert_eq!(client.blob_head(&repository, &digest).await.unwrap().size_bytes, 5);
    assert_eq!(client.metrics.received_bytes.get_or_create(&client.labels()).get(), 15);
}

#[tokio::test]
async fn an_encoded_blob_is_malformed() {
    let origin = Origin::start(|_, _| reply(200, &[("content-encoding", "gzip")], "hello")).await;
    let failure = origin.client().blob(&repository("a"), &digest(), None).await.unwrap_err();
    assert_eq!(failure.kind, Kind::Malformed);
    assert_eq!(failure.detail.as_deref(), Some("the body is encoded (gzip) although that was ruled out"));
}

#[tokio::test]
async fn a_missing_blob_comes_with_upstreams_words() {
    let body = r#"{"errors":[{"code":"BLOB_UNKNOWN","message":"blob \u001b[31m unknown"}]}"#;
    let origin = Origin::start(move |_, _| reply(404, &[], body)).await;
    let failure = origin.client().blob(&repository("a"), &digest(), None).await.unwrap_err();
    assert_eq!((failure.kind, failure.status, failure.attempts), (Kind::NotFound, Some(404), 1));
    assert_eq!(failure.code.as_deref(), Some("BLOB_UNKNOWN"));
    assert_eq!(failure.message.as_deref(), Some("blob \u{fffd}[31m unknown"));
    assert_eq!(failure.host, origin.url(""));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn a_rate_limit_is_told_and_not_asked_against() {
    let origin = Origin::start(|_, _| {
        reply(
            429,
            &[("retry-after", "61"), ("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "0;w=21600")],
            "",
        )
    })
    .await;
    let client = origin.client();
    let failure = client.manifest(&repository("a"), &tag("1")).await.unwrap_err();
    assert_eq!((failure.kind, failure.retry_after), (Kind::RateLimited, Some(Duration::from_secs(61))));
    let rate = failure.rate.unwrap();
    assert_eq!((rate.limit, rate.remaining, rate.window.as_secs()), (100, 0, 21600));
    assert_eq!(client.rate_budget(), Some(rate));
    assert_eq!(origin.seen().len(), 1);
}

#[tokio::test]
async fn tags_come_from_all_pages_of_the_same_origin() {
    let foreign = Origin::start(|_, _| ok("{\"tags\":[\"foreign\"]}")).await;
    let elsewhere = format!("<{}>; rel=\"next\"", foreign.url("/v2/a/tags/list"));
    let origin = Origin::start(move |_, seen| match seen.path.as_str() {
        "/v2/a/tags/list?n=1000" => {
            let link = [("link", "</v2/a/tags/list?n=1000&last=2>; rel=\"next\"")];
            reply(200, &link, "{\"name\":\"a\",\"tags\":[\"1\",\"2\",\"no tag\",\"../x\"]}")
        }
        "/v2/a/tags/list?n=1000&last=2" => reply(200, &[("link", &elsewhere)], "{\"tags\":[\"3\"]}"),
        "/v2/empty/tags/list?n=1000" => ok("{\"tags\":null}"),
        _ => ok("[]"),
    })
    .await;
    let client = origin.client();
    let names = async |name: &str| {
        client.tags(&repository(name)).await.map(|tags| tags.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(names("a").await.unwrap(), ["1", "2", "3"]);
    assert_eq!(names("empty").await.unwrap(), Vec::<String>::new());
    assert_eq!(names("broken").await.unwrap_err().kind, Kind::Malformed);
    assert!(foreign.seen().is_empty());
}

#[tokio::test]
async fn a_list_of_tags_without_end_has_one_here() {
    let origin = Origin::start(|_, seen| {
        let link = format!("<{}1>; rel=\"next\"", seen.path);
        reply(200, &[("link", &link)], "{\"tags\":[\"x\"]}")
    })
    .await;
    assert_eq!(origin.client().tags(&repository("a")).await.unwrap().len(), 100);
}

#[tokio::test]
async fn referrers_are_put_together_and_may_be_missing() {
    let origin = Origin::start(|_, seen| match seen.path.split('/').nth(2).unwrap() {
        "paged" if !seen.path.contains('?') => {
            let link = format!("<{}?page=2>; rel=\"next\"", seen.path);
            reply(200, &[("link", &link)], "{\"manifests\":[{\"a\":1}]}")
        }
        "paged" => ok("{\"manifests\":[{\"b\":2}]}"),
        "page" => reply(200, &[("content-type", "text/html")], "<html>"),
        "refused" => reply(403, &[], ""),
        _ => reply(404, &[], "404 page not found"),
    })
    .await;
    let client = origin.client();
    let index = client.referrers(&repository("paged"), &digest()).await.unwrap().unwrap();
    assert!(std::str::from_utf8(&index.bytes).unwrap().ends_with("\"manifests\":[{\"a\":1},{\"b\":2}]}"));
    assert_eq!(index.digest, Digest::of(&index.bytes));
    assert_eq!(client.referrers(&repository("missing"), &digest()).await.unwrap(), None);
    assert_eq!(client.referrers(&repository("page"), &digest()).await.unwrap(), None);
    assert!(client.referrers(&repository("refused"), &digest()).await.is_err());
}

#[tokio::test]
async fn fetches_are_counted_and_slow_where_the_operator_says() {
    let origin = Origin::start(|_, _| ok(vec![b'x'; 3000])).await;
    let mut config = config(&[&origin.url("")], None);
    config.fills_max = 1;
    config.bandwidth_max = NonZeroU64::new(10_000);
    let client = client_of(config);
    let (repository, digest) = (repository("a"), digest());
    let first = client.blob(&repository, &digest, None).await.unwrap();
    tokio::time::pause();
    let failure = client.blob(&repository, &digest, None).await.unwrap_err();
    assert_eq!((failure.kind, origin.seen().len()), (Kind::Busy, 1));
    tokio::time::resume();
    drop(first);
    let started = tokio::time::Instant::now();
    for _ in 0..5 {
        text(client.blob(&repository, &digest, None).await.unwrap()).await;
    }
    assert!(started.elapsed() >= Duration::from_millis(400), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_manifest_that_breaks_off_is_asked_for_again() {
    let origin = Origin::start(|origin, _| {
        let length = MANIFEST.len().to_string();
        let whole = reply(200, &[("content-length", &length)], MANIFEST);
        match (origin.seen().len(), whole) {
            (1, Reply::Answer(response)) => Reply::Cut(response.map(|body| body.slice(..5))),
            (_, whole) => whole,
        }
    })
    .await;
    let manifest = origin.client().manifest(&repository("a"), &tag("1")).await.unwrap();
    assert_eq!(manifest.bytes, MANIFEST);
    assert_eq!(origin.seen().len(), 2);
}

#[tokio::test]
async fn a_size_comes_by_get_where_the_storage_refuses_head() {
    let storage = Origin::start(|_, seen| match (seen.method.as_str(), seen.header("range")) {
        ("GET", Some("bytes=0-0")) => reply(206, &[("content-range", "bytes 0-0/700")], "x"),
        _ => reply(403, &[], "SignatureDoesNotMatch"),
    })
    .await;
    let to = format!("http://{}/signed?key=secret", storage.address);
    let origin = Origin::start(move |_, _| redirect(&to)).await;
    let head = origin.client().blob_head(&repository("a"), &digest()).await.unwrap();
    assert_eq!(head.size_bytes, 700);
    let refusing = Origin::start(|_, _| reply(403, &[], "{}")).await;
    let failure = refusing.client().blob_head(&repository("a"), &digest()).await.unwrap_err();
    assert_eq!((failure.kind, refusing.seen().len()), (Kind::RepositoryRefused, 1));
}
