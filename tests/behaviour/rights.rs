//! Bytes are stored once; the right to them is each repository's own, and upstream alone can give it.

use super::{assert_gives, assert_tells_why};
use crate::rig::content::{LAYER, MANIFEST, descriptor};
use crate::rig::upstream::Scheme;
use crate::rig::{Fault, FaultyUpstream, Image, Kind, Setup, digest_of, get, head, noise};
use bytes::Bytes;
use serde_json::json;

/// A manifest that lists a blob of somebody else.
fn claim(repository: &str, upstream: &FaultyUpstream, wanted: &Bytes) -> (String, Bytes) {
    let config = Bytes::from_static(b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.empty.v1+json", &config),
        "layers": [descriptor(LAYER, wanted)],
    });
    let manifest = Bytes::from(manifest.to_string());
    let digest = digest_of(&manifest);
    upstream.hold(|repositories| {
        repositories.blob(repository, &config);
        repositories.manifest(repository, MANIFEST, &manifest);
        repositories.tag(repository, "1", &digest);
    });
    (digest, manifest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_of_one_repository_is_given_through_another_only_when_upstream_says_so() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(1, 100_000);
    let digest = upstream.push_blob("a", &bytes);
    let (_, manifest) = claim("b", &upstream, &bytes);
    let setup = Setup::with(&upstream).cache("missing_ttl = \"1s\"");
    let larder = setup.start().await;
    assert_gives(&get(format!("/v2/a/blobs/{digest}")).fetch(larder.address).await, &bytes);
    assert_gives(&get("/v2/b/manifests/1").fetch(larder.address).await, &manifest);

    let through_b = format!("/v2/b/blobs/{digest}");
    for request in [get(&through_b), head(&through_b), get(&through_b).range("bytes=0-9")] {
        let answer = request.fetch(larder.address).await;
        assert_eq!(answer.status, 404, "{}", answer.summary());
    }
    let answer = get(&through_b).fetch(larder.address).await;
    assert_eq!(answer.error().0, "BLOB_UNKNOWN", "{}", answer.summary());
    assert_tells_why(&answer);
    assert!(upstream.count_of(Kind::BlobHead, "/b/") + upstream.count_of(Kind::BlobGet, "/b/") > 0);

    // An outage is no yes.
    upstream.fault(Fault::anywhere().of("/b/").status(503));
    crate::rig::outlive(std::time::Duration::from_secs(1)).await;
    let answer = get(&through_b).fetch(larder.address).await;
    assert!(answer.status >= 500, "{}", answer.summary());
    assert!(answer.body != bytes);
    upstream.behave();

    // Upstream's yes is.
    upstream.push_blob("b", &bytes);
    upstream.forget();
    crate::rig::until("upstream's yes to count", async || {
        let answer = get(&through_b).fetch(larder.address).await;
        answer.status == 200 && answer.is_complete() && answer.body == bytes
    })
    .await;
    assert_eq!(upstream.count_of(Kind::BlobGet, "/b/"), 0, "bytes that are held were fetched again");
    upstream.stop();
    assert_gives(&get(&through_b).fetch(larder.address).await, &bytes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_blob_is_filled_for_one_repository_another_gets_none_of_it() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(2, 2 << 20);
    let digest = upstream.push_blob("a", &bytes);
    claim("b", &upstream, &bytes);
    let gate = crate::rig::Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).of("/a/").hold_after(1 << 20, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let mut filling = get(format!("/v2/a/blobs/{digest}")).send(larder.address).await.unwrap();
    filling.read_at_least(1).await.unwrap();
    let answer = get(format!("/v2/b/blobs/{digest}")).fetch(larder.address).await;
    assert_eq!(answer.status, 404, "{}", answer.summary());
    gate.open();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_repositories_that_may_give_a_blob_share_its_fill() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(6, 2 << 20);
    let digest = upstream.push_blob("a", &bytes);
    upstream.push_blob("b", &bytes);
    let gate = crate::rig::Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).hold_after(1 << 20, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let through_a = get(format!("/v2/a/blobs/{digest}")).send(larder.address).await.unwrap();
    let through_b = get(format!("/v2/b/blobs/{digest}")).send(larder.address).await.unwrap();
    gate.open();
    for response in [through_a, through_b] {
        let verdict = response.compare(&bytes).await;
        assert!(verdict.is_right(), "{verdict:?}");
    }
    assert_eq!((upstream.count(Kind::BlobGet), upstream.count_of(Kind::BlobHead, "/b/")), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_public_repository_that_lists_a_private_digest_gets_nothing() {
    let upstream = FaultyUpstream::start().await;
    let private = Image::new(3, &[50_000]);
    upstream.push("private/app", "1", &private);
    let (digest, _) = claim("public/app", &upstream, &private.layers[0]);
    upstream.auth(|auth| {
        auth.scheme = Scheme::Bearer;
        auth.users.insert("robot".to_owned(), "canary".to_owned());
        auth.grant("robot", "*");
        auth.grant("", "public/app");
    });
    let setup = Setup::new()
        .server("default_registry = \"reg.test\"")
        .upstream_with_credential("reg.test", &upstream, "robot", "canary");
    let larder = setup.start().await;
    let layer = digest_of(&private.layers[0]);
    assert_gives(&get("/v2/private/app/manifests/1").fetch(larder.address).await, &private.manifest);
    assert_gives(&get(format!("/v2/private/app/blobs/{layer}")).fetch(larder.address).await, &private.layers[0]);
    assert_eq!(get("/v2/public/app/manifests/1").fetch(larder.address).await.status, 200);
    assert_eq!(get(format!("/v2/public/app/manifests/{digest}")).fetch(larder.address).await.status, 200);

    for path in [
        format!("/v2/public/app/blobs/{layer}"),
        format!("/v2/public/app/manifests/{}", private.digest),
        format!("/v2/public/app/blobs/{}", private.digest),
        format!("/v2/public/app/blobs/{}", digest_of(&private.config)),
    ] {
        for request in [get(&path), head(&path)] {
            let answer = request.fetch(larder.address).await;
            assert_eq!(answer.status, 404, "{path}: {}", answer.summary());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_upstream_gives_is_not_given_as_anothers() {
    let (one, other) = (FaultyUpstream::start().await, FaultyUpstream::start().await);
    let image = Image::new(4, &[20_000]);
    one.push("app", "1", &image);
    let setup = Setup::new().upstream("one.test", &one, "").upstream("other.test", &other, "");
    let larder = setup.start().await;
    let layer = digest_of(&image.layers[0]);
    for path in [format!("manifests/{}", image.digest), format!("blobs/{layer}"), "manifests/1".to_owned()] {
        assert_eq!(get(format!("/v2/one.test/app/{path}")).fetch(larder.address).await.status, 200);
        let answer = get(format!("/v2/other.test/app/{path}")).fetch(larder.address).await;
        assert_eq!(answer.status, 404, "{}", answer.summary());
        assert!(answer.error().1.contains("other.test"), "{}", answer.summary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_operator_does_not_allow_is_refused_without_asking_upstream() {
    let upstream = FaultyUpstream::start().await;
    for repository in ["team/app", "team/secret", "other/app"] {
        upstream.push(repository, "1", &Image::new(5, &[10]));
    }
    let lines = "repositories_allowed = [\"team/*\"]\nrepositories_denied = [\"team/secret\"]\n";
    let setup = Setup::new().upstream("reg.test", &upstream, lines);
    let larder = setup.start().await;
    assert_eq!(get("/v2/reg.test/team/app/manifests/1").fetch(larder.address).await.status, 200);
    upstream.forget();
    for repository in ["team/secret", "other/app"] {
        for path in ["manifests/1".to_owned(), format!("blobs/{}", digest_of(b"{}")), "tags/list".to_owned()] {
            let answer = get(format!("/v2/reg.test/{repository}/{path}")).fetch(larder.address).await;
            assert_eq!((answer.status, answer.error().0.as_str()), (403, "DENIED"), "{}", answer.summary());
            assert_tells_why(&answer);
        }
    }
    assert_eq!(upstream.seen().len(), 0);
}
