//! A machine that runs out of something makes pulls no worse than they would be without larder.

use super::{assert_gives, fills_left};
use crate::rig::{Connection, FaultyUpstream, Image, Kind, Setup, digest_of, get, noise, until};
use std::process::Command;
use tokio::task::JoinSet;

/// How larder is started with a file system of 6 MiB under its directory, which only larder sees and which goes when it
/// goes. `None` where the system does not allow that.
fn small_disk(setup: &Setup) -> Option<Vec<String>> {
    let may = |arguments: &[&str]| {
        Command::new("unshare").args(arguments).arg("true").output().is_ok_and(|output| output.status.success())
    };
    let way = [&["--mount"][..], &["--map-root-user", "--mount"]].into_iter().find(|way| may(way));
    let Some(way) = way else {
        println!("no mount of one's own here: a full disk is not tested");
        return None;
    };
    let directory = setup.directory().display().to_string();
    let script = format!("mkdir -p {directory} && mount -t tmpfs -o size=6m none {directory} && exec \"$@\"");
    let words = [&["unshare"], way, &["sh", "-c", &script, "sh"]].concat();
    Some(words.into_iter().map(str::to_owned).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_no_pull() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[500_000]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream).cache("tag_ttl = \"1h\"");
    let Some(launcher) = small_disk(&setup) else { return };
    let setup = setup.launcher(&launcher.iter().map(String::as_str).collect::<Vec<_>>());
    let mut larder = setup.start().await;
    let layer = format!("/v2/app/blobs/{}", digest_of(&image.layers[0]));
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_gives(&get(&layer).fetch(larder.address).await, &image.layers[0]);
    super::settled(&upstream, &larder, &layer).await;

    // One blob larger than the disk, and many that fill it.
    let big = noise(2, 20 << 20);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &big));
    let mut callers = JoinSet::new();
    for _ in 0..5 {
        callers.spawn(get(&path).compare(larder.address, big.clone()));
    }
    for n in 0..12 {
        let bytes = noise(100 + n, 1 << 20);
        let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
        callers.spawn(get(path).compare(larder.address, bytes));
    }
    for verdict in callers.join_all().await {
        assert!(verdict.is_right(), "{verdict:?}");
    }
    assert!(larder.metric("larder_fills_total", &["NotKept"]).await > 0.0, "the disk was never full");
    // New tags work too, and what was held is held.
    let other = Image::new(3, &[10]);
    upstream.push("other", "1", &other);
    assert_gives(&get("/v2/other/manifests/1").fetch(larder.address).await, &other.manifest);
    upstream.stop();
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_gives(&get(&layer).fetch(larder.address).await, &image.layers[0]);
    assert!(larder.is_running());
    assert_eq!(get("/readyz").fetch(larder.admin).await.status, 200);
    // From larder's own view of the file system.
    let seen_by_larder = std::path::PathBuf::from(format!("/proc/{}/root", larder.pid()));
    let directory = seen_by_larder.join(setup.directory().strip_prefix("/").unwrap());
    until("fills/ to be empty", async || fills_left(&directory).is_empty()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn too_few_descriptors_delay_and_end_nothing() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(4, &[300_000]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream).launcher(&["sh", "-c", "ulimit -n 64 && exec \"$@\"", "sh"]);
    let mut larder = setup.start().await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    let mut idle = Vec::new();
    for _ in 0..200 {
        idle.push(Connection::open(larder.address).await.unwrap());
    }
    drop(idle);
    let layer = format!("/v2/app/blobs/{}", digest_of(&image.layers[0]));
    until("it to serve again", async || get(&layer).compare(larder.address, image.layers[0].clone()).await.is_right())
        .await;
    assert!(larder.is_running());
    assert!(upstream.count(Kind::BlobGet) <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_stays_within_its_size_and_what_went_is_fetched_again() {
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream).cache("size_max = \"4MiB\"");
    let larder = setup.start().await;
    let blobs: Vec<_> = (0..12).map(|n| noise(200 + n, 1 << 20)).collect();
    let path = |bytes| format!("/v2/app/blobs/{}", digest_of(bytes));
    for bytes in &blobs {
        upstream.push_blob("app", bytes);
        assert!(get(path(bytes)).compare(larder.address, bytes.clone()).await.is_right());
    }
    let kept = || blobs.iter().filter(|bytes| super::is_kept(&setup.directory(), &digest_of(bytes))).count();
    until("the oldest to go", async || kept() <= 4).await;
    assert!(super::is_kept(&setup.directory(), &digest_of(&blobs[11])), "the newest went");
    for bytes in &blobs {
        assert!(get(path(bytes)).compare(larder.address, bytes.clone()).await.is_right());
    }
}
