//! The harness against itself: each of its oracles is shown to fail on a planted defect, and each fault to happen.

use super::{Fault, FaultyUpstream, Gate, Image, Kind, get, head, noise};
use crate::rig::upstream::Scheme;
use base64::{Engine as _, prelude::BASE64_STANDARD};
use std::time::Duration;

#[tokio::test]
async fn the_comparison_sees_one_wrong_byte_and_a_missing_end() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(1, 300_000);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let fetch = || get(&path).compare(upstream.address(), bytes.clone());

    assert!(fetch().await.is_right());
    upstream.fault(Fault::on(Kind::BlobGet).times(1).flip(299_999));
    let flipped = fetch().await;
    assert!(flipped.is_lie() && !flipped.is_right(), "{flipped:?}");
    upstream.fault(Fault::on(Kind::BlobGet).times(1).announce_only(299_999));
    let short = fetch().await;
    assert!(short.is_lie() && !short.is_right(), "{short:?}");
    for cut in [Fault::on(Kind::BlobGet).cut_after(1), Fault::on(Kind::BlobGet).chunked().reset_after(100_000)] {
        upstream.fault(cut.times(1));
        let cut = fetch().await;
        assert!(!cut.complete && !cut.is_lie() && !cut.is_right(), "{cut:?}");
    }
    assert!(fetch().await.is_right());
    assert_eq!(upstream.count(Kind::BlobGet), 6);
    assert_eq!(upstream.blob_bytes_sent(), 300_000 * 3 + 299_999 + 1 + 100_000);
}

#[tokio::test]
async fn the_reader_knows_every_framing() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(2, 200_000);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let closing = Fault::on(Kind::BlobGet).without("content-length");
    for fault in [Fault::on(Kind::BlobGet), Fault::on(Kind::BlobGet).chunked(), closing] {
        upstream.fault(fault.times(1));
        let answer = get(&path).fetch(upstream.address()).await;
        assert!(answer.is_complete() && answer.body == bytes, "{}", answer.summary());
    }
    let answer = head(&path).fetch(upstream.address()).await;
    assert_eq!((answer.status, answer.header("content-length"), answer.body.len()), (200, Some("200000"), 0));
    let answer = get(&path).range("bytes=-10").fetch(upstream.address()).await;
    assert_eq!((answer.status, &answer.body[..]), (206, &bytes[199_990..]));
}

#[tokio::test]
async fn a_gate_holds_a_body_until_it_is_opened() {
    let upstream = FaultyUpstream::start().await;
    let bytes = noise(3, 500_000);
    let path = format!("/v2/app/blobs/{}", upstream.push_blob("app", &bytes));
    let gate = Gate::shut();
    upstream.fault(Fault::on(Kind::BlobGet).hold_after(100_000, &gate));
    let mut response = get(&path).send(upstream.address()).await.unwrap();
    assert_eq!(response.read_at_least(100_000).await.unwrap(), bytes[..100_000]);
    let mut buffer = [0; 1];
    assert!(tokio::time::timeout(Duration::from_millis(100), response.read_into(&mut buffer)).await.is_err());
    gate.open();
    assert_eq!(response.read().await.body, bytes[100_000..]);
}

#[tokio::test]
async fn a_stopped_upstream_refuses_connections() {
    let upstream = FaultyUpstream::start().await;
    assert_eq!(get("/v2/").fetch(upstream.address()).await.status, 200);
    upstream.stop();
    super::until("refused", async || get("/v2/").send(upstream.address()).await.is_err()).await;
    upstream.restart().await;
    assert_eq!(get("/v2/").fetch(upstream.address()).await.status, 200);
}

#[tokio::test]
async fn only_a_granted_token_opens_a_repository_and_every_secret_is_noticed() {
    let upstream = FaultyUpstream::start().await;
    upstream.push("team/app", "1", &Image::new(1, &[10]));
    upstream.auth(|auth| {
        auth.scheme = Scheme::Bearer;
        auth.users.insert("robot".to_owned(), "canary".to_owned());
        auth.grant("robot", "team/app");
    });
    let path = "/v2/team/app/manifests/1";
    let refused = get(path).fetch(upstream.address()).await;
    let challenge = refused.header("www-authenticate").unwrap();
    assert_eq!(refused.status, 401);
    assert!(challenge.contains("scope=\"repository:team/app:pull\""), "{challenge}");

    let token = async |basic: Option<&str>| {
        let request = get("/token?service=faulty&scope=repository:team/app:pull");
        let request = match basic {
            Some(pair) => request.header("Authorization", format!("Basic {}", BASE64_STANDARD.encode(pair))),
            None => request,
        };
        let answer = request.fetch(upstream.address()).await;
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (answer.status, body["token"].as_str().unwrap_or_default().to_owned())
    };
    let ask = async |token: &str| {
        get(path).header("Authorization", format!("Bearer {token}")).fetch(upstream.address()).await.status
    };
    assert_eq!(token(Some("robot:wrong")).await.0, 401);
    assert_eq!(ask(&token(None).await.1).await, 401);
    assert!(!upstream.was_told(&BASE64_STANDARD.encode("robot:canary")));
    let (status, good) = token(Some("robot:canary")).await;
    assert_eq!((status, ask(&good).await), (200, 200));
    assert!(upstream.was_told(&BASE64_STANDARD.encode("robot:canary")));
    assert!(upstream.was_told(&good));
    upstream.auth(|auth| auth.withdraw("robot", "team/app"));
    assert_eq!(ask(&good).await, 401);
}
