//! "Content discovery": lists of tags and of referrers.

use super::started;
use crate::rig::{content::INDEX, get};
use serde_json::{Value, json};

/// "Listing Tags": 200 with JSON that holds `name` and `tags`, in lexical order.
#[tokio::test]
async fn tags_are_listed_as_json_in_lexical_order() {
    let (upstream, image, _setup, larder) = started().await;
    for tag in ["v10", "v2", "latest"] {
        upstream.push("lib/img", tag, &image);
    }
    let answer = get("/v2/lib/img/tags/list").fetch(larder.address).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.summary());
    let list: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(list, json!({ "name": "lib/img", "tags": ["latest", "v1", "v10", "v2"] }));
}

/// "Listing Tags": with `n` the answer MUST hold at most n tags and, if there are more, SHOULD have a Link; with `last`
/// it MUST begin after it; with `n=0` it MUST be empty and MUST NOT have a Link.
#[tokio::test]
async fn n_and_last_bound_the_list() {
    let (upstream, image, _setup, larder) = started().await;
    for tag in ["v2", "v3", "v4"] {
        upstream.push("lib/img", tag, &image);
    }
    for (query, expected, has_more) in [
        ("n=2", vec!["v1", "v2"], true),
        ("n=2&last=v2", vec!["v3", "v4"], false),
        ("n=4", vec!["v1", "v2", "v3", "v4"], false),
        ("last=v3", vec!["v4"], false),
        ("last=v4", vec![], false),
        ("n=0", vec![], false),
    ] {
        let answer = get(format!("/v2/lib/img/tags/list?{query}")).fetch(larder.address).await;
        let list: Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!(list["tags"], json!(expected), "{query}");
        assert_eq!(answer.header("link").is_some(), has_more, "{query}: {}", answer.summary());
    }
}

/// "Listing Referrers": 200 with an image index, empty where there are none; MUST NOT be 404 where the API is there.
#[tokio::test]
async fn referrers_are_an_image_index_even_when_there_are_none() {
    let (_, image, _setup, larder) = started().await;
    let answer = get(format!("/v2/lib/img/referrers/{}", image.digest)).fetch(larder.address).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some(INDEX)), "{}", answer.summary());
    let index: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(index, json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [] }));
}

/// "Listing Referrers": a filter that was applied MUST be told by `OCI-Filters-Applied: artifactType`.
#[tokio::test]
async fn an_applied_filter_is_told() {
    let (_, image, _setup, larder) = started().await;
    let path = format!("/v2/lib/img/referrers/{}?artifactType=application%2Fx", image.digest);
    let answer = get(path).fetch(larder.address).await;
    assert_eq!(answer.status, 200, "{}", answer.summary());
    assert_eq!(answer.header("oci-filters-applied"), Some("artifactType"), "{}", answer.summary());
}
