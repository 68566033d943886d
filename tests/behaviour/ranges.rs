//! `Range` on blobs: warm, cold, while a fill runs and far ahead of it (RFC 9110 section 14).

use crate::rig::{Answer, Fault, FaultyUpstream, Gate, Kind, Larder, Setup, get, head, noise};
use bytes::Bytes;

const SIZE: usize = 4 << 20;

/// Ranges and the bytes they mean, as first and end; `None` where nothing can be given.
fn matrix() -> Vec<(String, Option<(usize, usize)>)> {
    let satisfiable = [
        ("bytes=0-0".to_owned(), (0, 1)),
        ("bytes=0-".to_owned(), (0, SIZE)),
        ("bytes=1-".to_owned(), (1, SIZE)),
        ("bytes=100-199".to_owned(), (100, 200)),
        ("bytes=65535-65537".to_owned(), (65_535, 65_538)),
        (format!("bytes={}-", SIZE - 1), (SIZE - 1, SIZE)),
        (format!("bytes={}-{}", SIZE - 1, SIZE - 1), (SIZE - 1, SIZE)),
        (format!("bytes=10-{}", SIZE * 10), (10, SIZE)),
        ("bytes=-1".to_owned(), (SIZE - 1, SIZE)),
        ("bytes=-70000".to_owned(), (SIZE - 70_000, SIZE)),
        (format!("bytes=-{}", SIZE * 2), (0, SIZE)),
    ];
    let unsatisfiable = [format!("bytes={SIZE}-"), format!("bytes={}-{}", SIZE * 2, SIZE * 3), "bytes=-0".to_owned()];
    let satisfiable = satisfiable.into_iter().map(|(range, bounds)| (range, Some(bounds)));
    satisfiable.chain(unsatisfiable.into_iter().map(|range| (range, None))).collect()
}

#[track_caller]
fn assert_range(answer: &Answer, range: &str, bounds: Option<(usize, usize)>, bytes: &Bytes) {
    let context = || format!("{range}: {}", answer.summary());
    assert!(answer.is_complete(), "{}", context());
    match bounds {
        Some((first, end)) => {
            assert_eq!(answer.status, 206, "{}", context());
            assert!(answer.body == bytes[first..end], "{}", context());
            let content_range = format!("bytes {first}-{}/{SIZE}", end - 1);
            assert_eq!(answer.header("content-range"), Some(content_range.as_str()), "{}", context());
            assert_eq!(answer.header("content-length"), Some((end - first).to_string().as_str()), "{}", context());
        }
        None => {
            assert_eq!(answer.status, 416, "{}", context());
            assert_eq!(answer.header("content-range"), Some(format!("bytes */{SIZE}").as_str()), "{}", context());
        }
    }
}

async fn assert_matrix(larder: &Larder, path: &str, bytes: &Bytes) {
    for (range, bounds) in matrix() {
        assert_range(&get(path).range(&range).fetch(larder.address).await, &range, bounds, bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_held_blob_every_range_is_given_without_upstream() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(1, SIZE);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    assert!(get(&path).compare(larder.address, bytes.clone()).await.is_right());
    super::settled(&upstream, &larder, &path).await;
    upstream.stop();
    assert_matrix(&larder, &path, &bytes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_cold_blob_every_range_is_given() {
    let upstream = FaultyUpstream::start().await;
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    for (seed, (range, bounds)) in matrix().into_iter().enumerate() {
        let bytes = noise(100 + seed as u64, SIZE);
        let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
        assert_range(&get(&path).range(&range).fetch(larder.address).await, &range, bounds, &bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_a_blob_is_filled_every_range_is_given_at_once() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(2, SIZE);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let gate = Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).unless_range().hold_after(SIZE / 4, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let mut filling = get(&path).send(larder.address).await.unwrap();
    let had = filling.read_at_least(SIZE / 8).await.unwrap().len();

    // What the fill has and what is far ahead of it come while it stands still.
    for (range, bounds) in matrix() {
        let is_at_once = bounds.is_none_or(|(first, end)| end <= SIZE / 8 || first >= SIZE - 70_000);
        if is_at_once {
            assert_range(&get(&path).range(&range).fetch(larder.address).await, &range, bounds, &bytes);
        }
    }
    gate.open();
    assert_matrix(&larder, &path, &bytes).await;
    let rest = filling.read().await;
    assert!(rest.is_complete() && rest.body == bytes[had..]);
    let whole = upstream.seen().iter().filter(|s| s.kind == Kind::BlobGet && s.header("range").is_none()).count();
    assert_eq!(whole, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_ignores_ranges_is_no_reason_for_a_wrong_answer() {
    let upstream = FaultyUpstream::start().await;
    upstream.fault(Fault::on(Kind::BlobGet).ignore_range());
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    for (seed, (range, bounds)) in matrix().into_iter().enumerate().take(9) {
        let bytes = noise(200 + seed as u64, SIZE);
        let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
        let answer = get(&path).range(&range).fetch(larder.address).await;
        match answer.status {
            200 => assert!(answer.is_complete() && answer.body == bytes, "{range}: {}", answer.summary()),
            _ => assert_range(&answer, &range, bounds, &bytes),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_ranges_are_ignored_or_refused_and_never_half_understood() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(3, SIZE);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    assert!(get(&path).compare(larder.address, bytes.clone()).await.is_right());
    for range in [
        "bytes=0-9,20-29",
        "bytes=0-9, 5-14",
        "bytes=",
        "bytes",
        "bytes=-",
        "bytes=a-b",
        "bytes=9-5",
        "bytes=1-2-3",
        "bytes=0x0-0x9",
        "bytes=+1-5",
        "bytes=-1-5",
        "bytes=18446744073709551615-18446744073709551616",
        "bytes=99999999999999999999999-",
        "items=0-9",
        "bytes 0-9",
        &format!("bytes={}", vec!["0-0"; 2_000].join(",")),
    ] {
        let answer = get(&path).range(range).fetch(larder.address).await;
        let shown = &range[..range.len().min(60)];
        match answer.status {
            200 => assert!(answer.is_complete() && answer.body == bytes, "{shown}: {}", answer.summary()),
            206 => panic!("{shown} was understood as {:?}", answer.header("content-range")),
            status => assert!(matches!(status, 400 | 416), "{shown}: {}", answer.summary()),
        }
    }
    // A Range on a HEAD means nothing (RFC 9110 section 14.2).
    let answer = head(&path).range("bytes=0-9").fetch(larder.address).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, Some(SIZE.to_string().as_str())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_that_is_not_ours_makes_a_range_void() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(4, SIZE);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let whole = get(&path).fetch(larder.address).await;
    super::assert_gives(&whole, &bytes);
    let answer = get(&path).range("bytes=0-9").header("If-Range", "\"something else\"").fetch(larder.address).await;
    super::assert_gives(&answer, &bytes);
    if let Some(etag) = whole.header("etag") {
        let answer = get(&path).range("bytes=0-9").header("If-Range", etag).fetch(larder.address).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &bytes[..10]), "{}", answer.summary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_and_get_of_a_blob_agree_cold_filling_and_warm() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(5, SIZE);
    let digest = upstream.push_blob("app", &bytes);
    let path = format!("/v2/app/blobs/{digest}");
    let gate = Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).hold_after(SIZE / 2, &gate));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let cold = head(&path).fetch(larder.address).await;
    let mut filling = get(&path).send(larder.address).await.unwrap();
    filling.read_at_least(1).await.unwrap();
    let during = head(&path).fetch(larder.address).await;
    gate.open();
    filling.read().await;
    let warm = head(&path).fetch(larder.address).await;
    let got = get(&path).fetch(larder.address).await;
    for answer in [&cold, &during, &warm, &got] {
        assert_eq!(answer.status, 200, "{}", answer.summary());
        for (name, expected) in [
            ("content-length", SIZE.to_string().as_str()),
            ("docker-content-digest", digest.as_str()),
            ("accept-ranges", "bytes"),
        ] {
            assert_eq!(answer.header(name), Some(expected), "{}", answer.summary());
        }
        assert_eq!(answer.header("content-type"), got.header("content-type"), "{}", answer.summary());
    }
}
