//! `kill -9` at any moment: it starts again, serves no wrong byte and leaves nothing that grows.

use super::{files_below, fills_left};
use crate::rig::{FaultyUpstream, Image, Kind, Setup, amount, digest_of, get, heavy, noise};
use bytes::Bytes;
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::task::JoinSet;

/// What can be asked for: a path and the bytes it has to give.
fn stock(upstream: &FaultyUpstream) -> Vec<(String, Bytes)> {
    let mut stock = Vec::new();
    for n in 0..12 {
        let image = Image::new(100 + n, &[5_000 * (n as usize + 1), 400_000]);
        upstream.push(&format!("app{n}"), "1", &image);
        stock.push((format!("/v2/app{n}/manifests/1"), image.manifest.clone()));
        stock.push((format!("/v2/app{n}/manifests/{}", image.digest), image.manifest.clone()));
        stock.push((format!("/v2/app{n}/blobs/{}", digest_of(&image.config)), image.config.clone()));
        for layer in &image.layers {
            stock.push((format!("/v2/app{n}/blobs/{}", digest_of(layer)), layer.clone()));
        }
    }
    stock
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_moments_it_never_serves_a_wrong_byte() {
    let _turn = heavy().await;
    let cycles = amount("LARDER_TEST_CYCLES", 20);
    let seed = amount("LARDER_TEST_SEED", fastrand::usize(..));
    println!("LARDER_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed as u64);
    let upstream = FaultyUpstream::start().await;
    let stock = Arc::new(stock(&upstream));
    // Blobs of which each cycle fills some anew, so that there is always something to interrupt.
    let fresh: Arc<Vec<Bytes>> = Arc::new((0..64).map(|n| noise(9_000 + n, 600_000)).collect());
    let setup = Setup::with(&upstream).cache("tag_ttl = \"1s\"");
    setup.config_file();
    let mut whole = 0;
    for cycle in 0..cycles {
        let started = Instant::now();
        let larder = setup.start_again().await;
        assert!(started.elapsed() < Duration::from_secs(20), "start {cycle} took {:?}", started.elapsed());
        assert_eq!(fills_left(&setup.directory()), Vec::<std::path::PathBuf>::new(), "left over at start {cycle}");

        let (running, right) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicUsize::new(0)));
        let mut load = JoinSet::new();
        for caller in 0..8 {
            let (stock, fresh, running, right) =
                (Arc::clone(&stock), Arc::clone(&fresh), Arc::clone(&running), Arc::clone(&right));
            let (mut random, address, upstream) = (random.fork(), larder.address, upstream.clone());
            load.spawn(async move {
                while running.load(Ordering::SeqCst) {
                    let (path, bytes) = if caller % 2 == 0 {
                        let bytes = &fresh[random.usize(..fresh.len())];
                        let repository = format!("fresh{}", random.usize(..4));
                        (format!("/v2/{repository}/blobs/{}", upstream.push_blob(&repository, bytes)), bytes)
                    } else {
                        let (path, bytes) = &stock[random.usize(..stock.len())];
                        (path.clone(), bytes)
                    };
                    let verdict = get(&path).compare(address, bytes.clone()).await;
                    assert!(!verdict.is_lie(), "{path}: {verdict:?}");
                    assert!(matches!(verdict.status, 0 | 200), "{path}: {verdict:?}");
                    right.fetch_add(usize::from(verdict.is_right()), Ordering::SeqCst);
                }
            });
        }
        tokio::time::sleep(Duration::from_millis(random.u64(5..250))).await;
        larder.kill();
        running.store(false, Ordering::SeqCst);
        load.join_all().await;
        whole += right.load(Ordering::SeqCst);
    }
    assert!(whole > 0, "the load never got anything: nothing was tested");

    let larder = setup.start_again().await;
    for (path, bytes) in stock.iter() {
        let verdict = get(path).compare(larder.address, bytes.clone()).await;
        assert!(verdict.is_right(), "{path}: {verdict:?}");
    }
    for bytes in fresh.iter() {
        let path = format!("/v2/fresh0/blobs/{}", upstream.push_blob("fresh0", bytes));
        let verdict = get(&path).compare(larder.address, bytes.clone()).await;
        assert!(verdict.is_right(), "{path}: {verdict:?}");
    }
    // Every byte on the disk is one that can be named: content once, and records of it.
    let content: HashSet<&Bytes> = stock.iter().map(|(_, bytes)| bytes).chain(fresh.iter()).collect();
    let content: u64 = content.iter().map(|bytes| bytes.len() as u64).sum();
    let kept: u64 = files_below(&setup.directory()).iter().filter_map(|f| f.metadata().ok()).map(|m| m.len()).sum();
    println!("{cycles} cycles, {whole} whole answers, {content} bytes of content, {kept} bytes kept");
    assert!(kept < content + content / 4 + (16 << 20), "{kept} bytes kept for {content} of content");
    upstream.stop();
    for (path, bytes) in stock.iter() {
        let verdict = get(path).compare(larder.address, bytes.clone()).await;
        assert!(verdict.is_right(), "{path}: {verdict:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_got_whole_is_there_after_a_kill() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[200_000]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let layer = digest_of(&image.layers[0]);
    let paths =
        [("/v2/app/manifests/1".to_owned(), &image.manifest), (format!("/v2/app/blobs/{layer}"), &image.layers[0])];
    for (path, bytes) in &paths {
        super::assert_gives(&get(path).fetch(larder.address).await, bytes);
    }
    super::settled(&upstream, &larder, &paths[1].0).await;
    larder.kill();
    upstream.stop();
    let larder = setup.start_again().await;
    for (path, bytes) in &paths {
        super::assert_gives(&get(path).fetch(larder.address).await, bytes);
    }
    assert_eq!(upstream.count(Kind::BlobGet), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_caller_got_whole_is_there_after_an_orderly_stop() {
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream);
    for n in 0..5 {
        let bytes = noise(10 + n, 300_000);
        let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
        let larder = setup.start().await;
        super::assert_gives(&get(&path).fetch(larder.address).await, &bytes);
        assert!(larder.stop().await.success());
        upstream.stop();
        let larder = setup.start().await;
        super::assert_gives(&get(&path).fetch(larder.address).await, &bytes);
        assert!(larder.stop().await.success());
        upstream.restart().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_fresh_before_a_restart_is_fresh_after_it() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(3, &[1_000]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream).cache("tag_ttl = \"1h\"");
    let larder = setup.start().await;
    super::assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert!(larder.stop().await.success());
    upstream.forget();
    let larder = setup.start().await;
    super::assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_eq!(upstream.asked(), 0, "after an orderly stop");
    larder.kill();
    let larder = setup.start().await;
    super::assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_eq!(upstream.asked(), 0, "after a kill");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_lets_answers_be_finished_and_ends_with_success() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(2, 3_000_000);
    let digest = upstream.push_blob("app", &bytes);
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    upstream.fault(crate::rig::Fault::on(Kind::BlobGet).trickle(3_000_000));
    let path = format!("/v2/app/blobs/{digest}");
    let mut response = get(&path).send(larder.address).await.unwrap();
    let had = response.read_at_least(1).await.unwrap().len();
    larder.terminate();
    let rest = response.read().await;
    assert!(rest.is_complete() && rest.body == bytes[had..], "{}", rest.summary());
    assert!(larder.ended().await.success());
}
