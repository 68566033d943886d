//! No caller ever receives a complete body whose digest is wrong, and nothing wrong is kept.

use super::{fills_left, is_kept};
use crate::rig::{Fault, FaultyUpstream, Image, Kind, Setup, amount, get, heavy, noise, until};
use bytes::Bytes;
use tokio::task::JoinSet;

/// How a body can be wrong. Each is tried with many lengths.
fn poisons(n: usize) -> Fault {
    let fault = Fault::on(Kind::BlobGet);
    match n % 5 {
        0 => fault.flip(0),
        1 => fault.flip(usize::MAX),
        2 => fault.flip(n * 7_919).chunked(),
        3 => fault.flip(n).without("content-length"),
        _ => fault.body(noise(n as u64, 1_000)),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_poisoned_fills_with_twenty_readers_each_give_no_complete_body() {
    let _turn = heavy().await;
    let fills = amount("LARDER_TEST_POISON", 200);
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let lengths = [1, 2, 4_096, 65_536, 65_537, 300_000];
    let blobs: Vec<(String, Bytes)> = (0..fills)
        .map(|n| {
            let bytes = noise(1_000 + n as u64, lengths[n % lengths.len()]);
            let digest = upstream.push_blob("app", &bytes);
            upstream.fault(poisons(n).of(&digest));
            (digest, bytes)
        })
        .collect();

    for some in blobs.chunks(4) {
        let mut readers = JoinSet::new();
        for (digest, bytes) in some {
            for _ in 0..20 {
                readers.spawn(get(format!("/v2/app/blobs/{digest}")).compare(larder.address, bytes.clone()));
            }
        }
        for verdict in readers.join_all().await {
            assert!(!(verdict.status == 200 && verdict.complete), "a complete body: {verdict:?}");
            assert_ne!(verdict.status, 404, "wrong is not missing: {verdict:?}");
        }
        for (digest, _) in some {
            assert!(!is_kept(&setup.directory(), digest), "{digest} was kept");
        }
    }
    until("fills/ to be empty", async || fills_left(&setup.directory()).is_empty()).await;

    upstream.behave();
    for (digest, bytes) in &blobs {
        let path = format!("/v2/app/blobs/{digest}");
        until("the next good answer", async || get(&path).compare(larder.address, bytes.clone()).await.is_right())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_the_end_of_the_connection_for_the_end_is_not_deceived_either() {
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    for (seed, length) in [(1, 100), (2, 2_000_000)] {
        let bytes = noise(seed, length);
        let digest = upstream.push_blob("app", &bytes);
        upstream.behave();
        upstream.fault(Fault::on(Kind::BlobGet).chunked().flip(length / 2));
        let path = format!("/v2/app/blobs/{digest}");
        let verdict = get(&path).http_1_0().compare(larder.address, bytes.clone()).await;
        assert!(!(verdict.status == 200 && verdict.complete), "{verdict:?}");
        upstream.behave();
        upstream.fault(Fault::on(Kind::BlobGet).chunked());
        until("the good answer", async || {
            get(&path).http_1_0().compare(larder.address, bytes.clone()).await.is_right()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_manifest_is_not_given_and_not_kept() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(3, &[10]);
    upstream.push("app", "1", &image);
    upstream.fault(Fault::on(Kind::ManifestGet).flip(30));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let path = format!("/v2/app/manifests/{}", image.digest);
    let answer = get(&path).fetch(larder.address).await;
    assert!(answer.status >= 500, "{}", answer.summary());
    super::assert_tells_why(&answer);
    assert!(!is_kept(&setup.directory(), &image.digest));
    upstream.behave();
    until("the good answer", async || get(&path).compare(larder.address, image.manifest.clone()).await.is_right())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_digest_of_a_tag_is_that_of_its_bytes_whatever_the_header_says() {
    let upstream = FaultyUpstream::start().await;
    let (image, other) = (Image::new(4, &[10]), Image::new(5, &[10]));
    upstream.push("app", "1", &image);
    for kind in [Kind::ManifestGet, Kind::ManifestHead] {
        upstream.fault(Fault::on(kind).header("Docker-Content-Digest", &other.digest));
    }
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let answer = get("/v2/app/manifests/1").fetch(larder.address).await;
    if answer.status == 200 {
        assert_eq!(answer.header("docker-content-digest"), Some(answer.digest().as_str()), "{}", answer.summary());
    }
    let answer = get(format!("/v2/app/manifests/{}", other.digest)).fetch(larder.address).await;
    assert_ne!(answer.status, 200, "{}", answer.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoded_blob_or_a_manifest_past_all_bounds_is_refused() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(6, 50_000);
    let digest = upstream.push_blob("app", &bytes);
    upstream.fault(Fault::on(Kind::BlobGet).header("Content-Encoding", "gzip"));
    let huge = Bytes::from(format!("{{\"schemaVersion\":2,\"a\":\"{}\"}}", "x".repeat(20 << 20)));
    upstream.push("app", "huge", &Image::new(7, &[]));
    upstream.fault(Fault::on(Kind::ManifestGet).of("/huge").body(huge.clone()));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let verdict = get(format!("/v2/app/blobs/{digest}")).compare(larder.address, bytes).await;
    assert!(!verdict.is_lie(), "{verdict:?}");
    let answer = get("/v2/app/manifests/huge").fetch(larder.address).await;
    assert!((500..600).contains(&answer.status), "{}", answer.summary());
    super::assert_tells_why(&answer);
}
