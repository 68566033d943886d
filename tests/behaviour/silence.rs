//! Whatever upstream does, the headers of an answer leave within ten seconds.

use super::{assert_gives, assert_gives_stale, assert_tells_why};
use crate::rig::{Fault, FaultyUpstream, Image, Kind, Setup, digest_of, get, head, noise, outlive, until};
use std::time::Duration;
use tokio::task::JoinSet;

/// The ten seconds, and half a second for a busy machine.
const BOUND: Duration = Duration::from_millis(10_500);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_accepts_and_says_nothing_keeps_nobody_longer_than_ten_seconds() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[10_000]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream).cache("tag_ttl = \"1s\"");
    let larder = setup.start().await;
    let layer = format!("/v2/app/blobs/{}", digest_of(&image.layers[0]));
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_gives(&get(&layer).fetch(larder.address).await, &image.layers[0]);
    super::settled(&upstream, &larder, &layer).await;
    outlive(Duration::from_secs(1)).await;
    upstream.fault(Fault::anywhere().silent());

    let cold = digest_of(b"cold");
    let mut asked = JoinSet::new();
    for (request, is_held) in [
        (get("/v2/app/manifests/1"), true),
        (head("/v2/app/manifests/1?ns=reg.test").containerd(), true),
        (get(format!("/v2/app/manifests/{}", image.digest)), true),
        (get(&layer), true),
        (get("/v2/cold/manifests/1"), false),
        (head("/v2/cold/manifests/2?ns=reg.test").containerd(), false),
        (get(format!("/v2/cold/manifests/{cold}")), false),
        (get(format!("/v2/cold/blobs/{cold}")), false),
        (head(format!("/v2/other/blobs/{cold}")), false),
        (get(format!("/v2/third/blobs/{cold}")).range("bytes=10-"), false),
        (get("/v2/cold/tags/list"), false),
        (get(format!("/v2/cold/referrers/{cold}")), false),
    ] {
        let address = larder.address;
        asked.spawn(async move { (request.fetch(address).await, is_held) });
    }
    for (answer, is_held) in asked.join_all().await {
        assert!(answer.headers_after < BOUND, "{:?}: {}", answer.headers_after, answer.summary());
        match is_held {
            true => assert_eq!(answer.status, 200, "{}", answer.summary()),
            false => assert!(matches!(answer.status, 502..=504), "{}", answer.summary()),
        }
    }
    assert_gives_stale(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    let answer = get("/v2/cold/manifests/1").fetch(larder.address).await;
    assert!(answer.headers_after < BOUND, "{:?}", answer.headers_after);
    assert_tells_why(&answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_service_that_says_nothing_keeps_nobody_longer_either() {
    let upstream = FaultyUpstream::start().await;
    upstream.push("app", "1", &Image::new(2, &[10]));
    upstream.auth(|auth| auth.scheme = crate::rig::upstream::Scheme::Bearer);
    upstream.fault(Fault::on(Kind::Token).silent());
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let answer = get("/v2/app/manifests/1").fetch(larder.address).await;
    assert!(answer.headers_after < BOUND, "{:?}: {}", answer.headers_after, answer.summary());
    assert!(matches!(answer.status, 502..=504), "{}", answer.summary());
    assert_tells_why(&answer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_of_a_blob_whose_upstream_is_slow_to_send_its_first_byte_leave_in_time() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(3, 100_000);
    let digest = upstream.push_blob("app", &bytes);
    let gate = crate::rig::Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).hold_after(0, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let response = get(format!("/v2/app/blobs/{digest}")).send(larder.address).await.unwrap();
    assert!(response.headers_after < BOUND, "{:?}", response.headers_after);
    assert_eq!(response.status, 200);
    gate.open();
    assert!(response.compare(&bytes).await.is_right());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_for_a_place_among_the_fills_is_told_in_time() {
    let upstream = FaultyUpstream::start().await;
    let (first, second) = (noise(4, 2_000_000), noise(5, 100_000));
    let paths = [&first, &second].map(|bytes| format!("/v2/app/blobs/{}", upstream.push_blob("app", bytes)));
    let gate = crate::rig::Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).times(1).hold_after(1_000_000, &gate));
    let setup =
        Setup::new().server("default_registry = \"reg.test\"").upstream("reg.test", &upstream, "fills_max = 1\n");
    let larder = setup.start().await;
    let filling = get(&paths[0]).send(larder.address).await.unwrap();
    let answer = get(&paths[1]).fetch(larder.address).await;
    assert!(answer.headers_after < BOUND, "{:?}: {}", answer.headers_after, answer.summary());
    assert_eq!(answer.status, 503, "{}", answer.summary());
    assert_tells_why(&answer);
    gate.open();
    assert!(filling.compare(&first).await.is_right());
    until("the place to be free", async || get(&paths[1]).compare(larder.address, second.clone()).await.is_right())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_stands_still_is_taken_up_again() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(6, 2_000_000);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let never = crate::rig::Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).times(1).hold_after(1_000_000, &never));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let verdict = get(&path).compare(larder.address, bytes).await;
    assert!(verdict.is_right(), "{verdict:?}");
    assert_eq!((upstream.count(Kind::BlobGet), upstream.blob_bytes_sent()), (2, 2_000_000));
}
