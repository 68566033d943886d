//! What a disk can do to the directory between two starts, and what is answered all the same.

use super::files_below;
use crate::rig::{FaultyUpstream, Image, Larder, Setup, amount, digest_of, get, until};
use bytes::Bytes;
use std::{
    path::{Path, PathBuf},
    time::Instant,
};

struct Held {
    upstream: FaultyUpstream,
    setup: Setup,
    answers: Vec<(String, Bytes)>,
}

impl Held {
    /// A directory that holds a few images; larder has ended and upstream is dead.
    async fn new() -> Self {
        let upstream = FaultyUpstream::start().await;
        let setup = Setup::with(&upstream).cache("tag_ttl = \"1h\"");
        let larder = setup.start().await;
        let mut answers = Vec::new();
        for n in 0..6 {
            let image = Image::new(n + 1, &[3_000, 200_000]);
            let repository = format!("app{n}");
            upstream.push(&repository, "1", &image);
            answers.push((format!("/v2/{repository}/manifests/1"), image.manifest.clone()));
            answers.push((format!("/v2/{repository}/manifests/{}", image.digest), image.manifest.clone()));
            for blob in image.layers.iter().chain([&image.config]) {
                answers.push((format!("/v2/{repository}/blobs/{}", digest_of(blob)), blob.clone()));
            }
        }
        let held = Self { upstream, setup, answers };
        held.assert_answers(&larder).await;
        for (path, _) in &held.answers {
            super::settled(&held.upstream, &larder, path).await;
        }
        assert!(larder.stop().await.success());
        held.upstream.stop();
        held
    }

    async fn assert_answers(&self, larder: &Larder) {
        for (path, bytes) in &self.answers {
            let answer = get(path).fetch(larder.address).await;
            super::assert_gives(&answer, bytes);
        }
    }

    fn index(&self) -> PathBuf {
        let files = files_below(&self.setup.directory());
        let index = files.iter().find(|file| file.extension().is_some_and(|extension| extension == "redb"));
        index.unwrap_or_else(|| panic!("no index among {files:#?}")).clone()
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_its_index_it_answers_the_same_with_upstream_dead() {
    let held = Held::new().await;
    std::fs::remove_file(held.index()).unwrap();
    let larder = held.setup.start_again().await;
    held.assert_answers(&larder).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_damaged_index_it_answers_the_same_with_upstream_dead() {
    let held = Held::new().await;
    let index = held.index();
    let good = index.with_extension("good");
    copy(&index, &good);
    let seed = amount("LARDER_TEST_SEED", fastrand::usize(..));
    println!("LARDER_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed as u64);
    for case in 0..amount("LARDER_TEST_DAMAGE", 12) {
        copy(&good, &index);
        let mut bytes = std::fs::read(&index).unwrap();
        let used = bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count();
        match case % 4 {
            0 => bytes[random.usize(..used)] ^= 1 << random.u8(..8),
            1 => bytes.truncate(random.usize(..used)),
            2 => {
                let at = random.usize(..used);
                let end = (at + 4_096).min(used);
                random.fill(&mut bytes[at..end]);
            }
            _ => bytes[random.usize(..4_096.min(used))] ^= 0xff,
        }
        std::fs::write(&index, &bytes).unwrap();
        let started = Instant::now();
        let larder = held.setup.start_again().await;
        let ready_after = started.elapsed();
        held.assert_answers(&larder).await;
        println!("case {case}: ready after {ready_after:?}, all answered after {:?}", started.elapsed());
        larder.kill();
    }
    std::fs::remove_file(good).unwrap();
}

/// Turns over one bit in the middle of each file that holds one of `answers`.
fn flip_bits(held: &Held, answers: &[&(String, Bytes)]) {
    let mut flipped = 0;
    for file in files_below(&held.setup.directory()) {
        let hex: String = file.to_string_lossy().replace('/', "");
        if answers.iter().any(|(_, bytes)| hex.contains(digest_of(bytes).trim_start_matches("sha256:"))) {
            let mut bytes = std::fs::read(&file).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(&file, bytes).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped >= answers.len() / 2, "only {flipped} files were found");
}

async fn assert_never_wrong_and_heals(held: &Held, kind: &str) {
    held.upstream.restart().await;
    let answers: Vec<&(String, Bytes)> = held.answers.iter().filter(|(path, _)| path.contains(kind)).collect();
    flip_bits(held, &answers);
    let larder = held.setup.start_again().await;
    for (path, bytes) in answers {
        let verdict = get(path).compare(larder.address, bytes.clone()).await;
        assert!(!verdict.is_lie(), "{path}: {verdict:?}");
        until("it to heal", async || get(path).compare(larder.address, bytes.clone()).await.is_right()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_with_a_flipped_bit_is_never_given_as_whole_and_heals() {
    assert_never_wrong_and_heals(&Held::new().await, "/blobs/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_with_a_flipped_bit_is_never_given_and_heals() {
    assert_never_wrong_and_heals(&Held::new().await, "/manifests/").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_or_empty_blob_file_is_fetched_again() {
    let held = Held::new().await;
    held.upstream.restart().await;
    let blobs: Vec<&(String, Bytes)> = held.answers.iter().filter(|(path, _)| path.contains("/blobs/")).collect();
    for (n, file) in files_below(&held.setup.directory()).iter().enumerate() {
        let hex: String = file.to_string_lossy().replace('/', "");
        if blobs.iter().any(|(path, _)| hex.contains(path.rsplit(':').next().unwrap())) {
            match n % 2 {
                0 => std::fs::remove_file(file).unwrap(),
                _ => std::fs::write(file, b"").unwrap(),
            }
        }
    }
    let larder = held.setup.start_again().await;
    held.assert_answers(&larder).await;
}
