//! One fill per digest, however many ask, owned by none of them.

use super::{assert_gives, is_kept};
use crate::rig::{Fault, FaultyUpstream, Gate, Kind, Setup, get, head, heavy, noise, until};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::task::JoinSet;

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_callers_of_one_cold_blob_cost_one_fetch() {
    let _turn = heavy().await;
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(1, 10 * MIB);
    let digest = upstream.push_blob("app", &bytes);
    // All thousand are there before the fill can end.
    let gate = Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).hold_after(MIB, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;

    let arrived = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let (arrived, bytes) = (Arc::clone(&arrived), bytes.clone());
        let (request, address) = (get(format!("/v2/app/blobs/{digest}")), larder.address);
        callers.spawn(async move {
            let response = request.send(address).await;
            arrived.fetch_add(1, Ordering::SeqCst);
            response.unwrap().compare(&bytes).await
        });
    }
    until("all callers to have headers", async || arrived.load(Ordering::SeqCst) == 1_000).await;
    gate.open();
    for verdict in callers.join_all().await {
        assert!(verdict.is_right(), "{verdict:?}");
    }
    assert_eq!(upstream.count(Kind::BlobGet), 1);
    assert!(upstream.count(Kind::BlobHead) <= 1);
    assert_eq!(upstream.blob_bytes_sent(), bytes.len() as u64);
    let resident = larder.resident_bytes_max();
    println!("larder had {} MiB resident at most", resident / MIB as u64);
    if !cfg!(debug_assertions) {
        assert!(resident < 256 * MIB as u64, "{resident} bytes resident");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_comes_while_a_fill_runs_waits_for_nobody_and_nobody_owns_it() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(2, 16 * MIB);
    let digest = upstream.push_blob("app", &bytes);
    let gate = Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).unless_range().hold_after(4 * MIB, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let path = format!("/v2/app/blobs/{digest}");

    let mut starter = get(&path).send(larder.address).await.unwrap();
    assert_eq!(starter.read_at_least(MIB).await.unwrap()[..MIB], bytes[..MIB]);

    // The first bytes are there although the last are not: the gate is shut.
    let mut late = Vec::new();
    for _ in 0..20 {
        let mut response = get(&path).send(larder.address).await.unwrap();
        let first = response.read_at_least(1).await.unwrap();
        assert!(!first.is_empty() && first == bytes[..first.len()]);
        late.push((response, first.len()));
    }

    // So is the end, for who asks for it alone.
    let last_mib = format!("bytes={}-", 15 * MIB);
    let end = get(&path).range(&last_mib).fetch(larder.address).await;
    assert_eq!((end.status, end.is_complete()), (206, true), "{}", end.summary());
    assert_eq!(end.header("content-range"), Some(format!("bytes {}-{}/{}", 15 * MIB, 16 * MIB - 1, 16 * MIB).as_str()));
    assert!(end.body == bytes[15 * MIB..]);

    // Who started it goes; it goes on.
    drop(starter);
    gate.open();
    for (response, had) in late {
        let rest = response.read().await;
        assert!(rest.is_complete() && rest.body == bytes[had..], "{}", rest.summary());
    }
    assert_gives(&get(&path).fetch(larder.address).await, &bytes);
    let whole = upstream.seen().iter().filter(|s| s.kind == Kind::BlobGet && s.header("range").is_none()).count();
    assert_eq!(whole, 1);
    assert!(upstream.count(Kind::BlobHead) <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_nobody_waits_for_is_finished() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(3, 4 * MIB);
    let digest = upstream.push_blob("app", &bytes);
    let gate = Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).hold_after(MIB, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let path = format!("/v2/app/blobs/{digest}");

    let mut starter = get(&path).send(larder.address).await.unwrap();
    starter.read_at_least(1).await.unwrap();
    drop(starter);
    gate.open();
    until("the blob to be kept", async || is_kept(&setup.directory(), &digest)).await;
    super::settled(&upstream, &larder, &path).await;
    upstream.stop();
    assert_gives(&get(&path).fetch(larder.address).await, &bytes);
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_just_delivered_is_given_again_whatever_upstream_says_now() {
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    for n in 0..40 {
        let bytes = noise(300 + n, 200_000);
        let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
        assert!(get(&path).compare(larder.address, bytes.clone()).await.is_right());
        upstream.fault(Fault::anywhere().status(503));
        for _ in 0..10 {
            let verdict = get(&path).compare(larder.address, bytes.clone()).await;
            assert!(verdict.is_right(), "blob {n}: {verdict:?}");
        }
        upstream.behave();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_does_not_read_delays_nobody() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(4, 24 * MIB);
    let digest = upstream.push_blob("app", &bytes);
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let path = format!("/v2/app/blobs/{digest}");

    let mut idle = get(&path).send(larder.address).await.unwrap();
    let had = idle.read_at_least(1).await.unwrap().len();
    assert!(get(&path).compare(larder.address, bytes.clone()).await.is_right());
    let rest = idle.read().await;
    assert!(rest.is_complete() && rest.body == bytes[had..], "{}", rest.summary());
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_callers_do_not_notice_ten_cuts() {
    let _turn = heavy().await;
    let size = if cfg!(debug_assertions) { 16 * MIB } else { 64 * MIB };
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(5, size);
    let digest = upstream.push_blob("app", &bytes);
    upstream.fault(Fault::on(Kind::BlobGet).times(10).cut_after(size * 3 / 32));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;

    let mut callers = JoinSet::new();
    for _ in 0..200 {
        callers.spawn(get(format!("/v2/app/blobs/{digest}")).compare(larder.address, bytes.clone()));
    }
    for verdict in callers.join_all().await {
        assert!(verdict.is_right(), "{verdict:?}");
    }
    assert_eq!(upstream.count(Kind::BlobGet), 11);
    let sent = upstream.blob_bytes_sent();
    assert!(sent * 100 <= size as u64 * 101, "{sent} bytes for {size}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_fill_takes_what_upstream_makes_of_a_range() {
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let cut = Fault::on(Kind::BlobGet).times(1).cut_after(MIB);
    for (seed, name, faults) in [
        (10, "the rest", vec![cut.clone()]),
        (11, "all of it again", vec![cut.clone(), Fault::on(Kind::BlobGet).times(1).ignore_range()]),
        (12, "another part", {
            let wrong = Fault::on(Kind::BlobGet).times(1).header("Content-Range", "bytes 0-2097151/2097152");
            vec![cut.clone(), wrong]
        }),
        (13, "a part of another whole", {
            let wrong = Fault::on(Kind::BlobGet).times(1).header("Content-Range", "bytes 1048576-2097151/9999999");
            vec![cut.clone(), wrong]
        }),
        (14, "an error, once", vec![cut.clone(), Fault::on(Kind::BlobGet).times(1).status(503)]),
        (15, "a reset", vec![Fault::on(Kind::BlobGet).times(2).reset_after(MIB / 2)]),
        (16, "a short body that says it is whole", vec![Fault::on(Kind::BlobGet).times(1).announce_only(MIB)]),
    ] {
        let bytes = noise(seed, 2 * MIB);
        let digest = upstream.push_blob("app", &bytes);
        upstream.behave();
        faults.into_iter().for_each(|fault| upstream.fault(fault.of(&digest)));
        let path = format!("/v2/app/blobs/{digest}");
        let verdict = get(&path).compare(larder.address, bytes.clone()).await;
        assert!(!verdict.is_lie(), "{name}: {verdict:?}");
        // What upstream made of it may be past mending this once, but never for good.
        upstream.behave();
        until(name, async || get(&path).compare(larder.address, bytes.clone()).await.is_right()).await;
        if matches!(seed, 10 | 11 | 14 | 15) {
            assert!(verdict.is_right(), "{name}: {verdict:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_without_progress_ends_within_bounds_and_the_next_one_works() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(6, 2 * MIB);
    let digest = upstream.push_blob("app", &bytes);
    upstream.fault(Fault::on(Kind::BlobGet).times(1).cut_after(MIB));
    upstream.fault(Fault::on(Kind::BlobGet).cut_after(0));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let path = format!("/v2/app/blobs/{digest}");

    let verdict = get(&path).compare(larder.address, bytes.clone()).await;
    assert!(!verdict.complete && !verdict.is_lie(), "{verdict:?}");
    let tries = upstream.count(Kind::BlobGet);
    assert!((2..=8).contains(&tries), "{tries} tries");
    upstream.behave();
    until("the next one to work", async || get(&path).compare(larder.address, bytes.clone()).await.is_right()).await;
}

#[tokio::test]
async fn asking_for_the_size_of_a_cold_blob_fetches_nothing() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(7, MIB);
    let digest = upstream.push_blob("app", &bytes);
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let answer = head(format!("/v2/app/blobs/{digest}")).fetch(larder.address).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some("1048576")), "{}", answer.summary());
    assert_eq!((upstream.count(Kind::BlobHead), upstream.count(Kind::BlobGet)), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_upstream_is_followed_byte_by_byte() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(8, MIB);
    let digest = upstream.push_blob("app", &bytes);
    // About three seconds.
    upstream.fault(Fault::on(Kind::BlobGet).trickle(MIB / 3));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let path = format!("/v2/app/blobs/{digest}");
    let first = tokio::spawn(get(&path).compare(larder.address, bytes.clone()));
    until("the fill to be half done", async || upstream.blob_bytes_sent() > (MIB / 2) as u64).await;
    let verdict = get(&path).compare(larder.address, bytes.clone()).await;
    assert!(verdict.is_right(), "{verdict:?}");
    let waited = verdict.first_byte_after.unwrap();
    assert!(waited < Duration::from_millis(750), "the first byte took {waited:?}");
    assert!(first.await.unwrap().is_right());
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_are_fetched_once_for_all_who_ask_too() {
    let upstream = FaultyUpstream::start().await;
    let image = crate::rig::Image::new(9, &[100]);
    upstream.push("app", "1", &image);
    upstream.fault(Fault::on(Kind::ManifestHead).delay(Duration::from_millis(200)));
    upstream.fault(Fault::on(Kind::ManifestGet).delay(Duration::from_millis(200)));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let mut callers = JoinSet::new();
    for _ in 0..200 {
        callers.spawn(get("/v2/app/manifests/1").compare(larder.address, image.manifest.clone()));
    }
    for verdict in callers.join_all().await {
        assert!(verdict.is_right(), "{verdict:?}");
    }
    assert_eq!(upstream.count(Kind::ManifestGet), 1);
    assert!(upstream.count(Kind::ManifestHead) <= 1);
}
