//! Of what a refusal is a verdict: of the method, the repository, the credential, or of nothing.

use super::origin::*;
use crate::{
    config::SecretSource,
    oci::{Digest, MediaType, Reference},
    upstream::{Failure, Kind, Step, Upstream},
};
use std::sync::atomic::{AtomicBool, Ordering};

const MANIFEST: &str = "{\"schemaVersion\":2}";

fn latest() -> Reference {
    "latest".parse().unwrap()
}

async fn fails(client: &Upstream) -> Failure {
    client.manifest(&repository("a"), &latest()).await.unwrap_err()
}

#[tokio::test]
async fn a_registry_that_refuses_every_head_is_asked_by_get() {
    let origin = Origin::start(|origin, seen| match (seen.method.as_str(), seen.authorization()) {
        _ if seen.path.starts_with("/token") => ok("{\"token\":\"t\"}"),
        ("GET", "Bearer t") if seen.header("range").is_some() => reply(206, &[("content-range", "bytes 0-0/700")], "x"),
        ("GET", "Bearer t") => reply(200, &[("content-type", MediaType::OCI_MANIFEST)], MANIFEST),
        _ => bearer(&origin.url("/token"), "aws"),
    })
    .await;
    let client = origin.client_as("robot", "hunter2");
    for _ in 0..2 {
        assert_eq!(client.blob_head(&repository("a"), &digest()).await.unwrap().size_bytes, 700);
        let head = client.manifest_head(&repository("a"), &latest()).await.unwrap();
        assert_eq!((head.digest, head.size_bytes), (Some(Digest::of(MANIFEST.as_bytes())), Some(19)));
        assert_eq!(head.media_type.unwrap().as_str(), MediaType::OCI_MANIFEST);
    }
    let tokens = origin.seen().iter().filter(|seen| seen.path.starts_with("/token")).count();
    assert_eq!(tokens, 1, "{:?}", origin.log());
}

#[tokio::test]
async fn a_refused_head_takes_its_verdict_and_words_from_a_get() {
    let origin = Origin::start(|_, seen| if seen.method == "HEAD" { reply(403, &[], "") } else { denied(403) }).await;
    let client = origin.client();
    let failure = client.blob_head(&repository("a"), &digest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.code.as_deref()), (Kind::RepositoryRefused, Some("DENIED")));
    let failure = client.manifest_head(&repository("a"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.message.as_deref()), (Kind::RepositoryRefused, Some("no")));
    assert_eq!(origin.seen().len(), 4);
}

#[tokio::test]
async fn heads_that_are_refused_make_no_distrust() {
    let origin = Origin::start(|_, seen| match (seen.method.as_str(), seen.authorization()) {
        (_, "-") => basic_challenge(),
        ("HEAD", _) => basic_challenge(),
        _ => ok(MANIFEST),
    })
    .await;
    let client = origin.client_as("robot", "hunter2");
    for _ in 0..10 {
        client.manifest_head(&repository("a"), &latest()).await.unwrap();
    }
}

#[tokio::test]
async fn a_block_page_is_no_refusal_of_the_registry() {
    for status in [401, 403] {
        let origin = Origin::start(move |_, _| reply(status, &[], "<html>blocked</html>")).await;
        let failure = fails(&origin.client()).await;
        assert_eq!((failure.kind, failure.status), (Kind::Unavailable, Some(status)));
        assert!(failure.detail.unwrap().contains("block page"));
        assert_eq!(origin.seen().len(), 1);
        let signed = [("docker-distribution-api-version", "registry/2.0")];
        let origin = Origin::start(move |_, _| reply(status, &signed, "")).await;
        assert_eq!(fails(&origin.client()).await.kind, Kind::RepositoryRefused);
    }
}

/// A registry that refuses `/v2/a` to a token, whose service knows the password as long as `good`.
async fn bearer_registry(good: &'static AtomicBool) -> Origin {
    Origin::start(move |origin, seen| match seen.path.as_str() {
        path if path.starts_with("/token") && good.load(Ordering::SeqCst) => ok("{\"token\":\"t\",\"expires_in\":600}"),
        path if path.starts_with("/token") => denied(403),
        path if path.starts_with("/v2/a/") && seen.authorization() == "Bearer t" => denied(403),
        _ if seen.authorization() == "Bearer t" => ok(MANIFEST),
        _ => bearer(&origin.url("/token"), ""),
    })
    .await
}

#[tokio::test]
async fn an_expired_password_is_told_from_a_refused_repository() {
    static GOOD: AtomicBool = AtomicBool::new(true);
    let origin = bearer_registry(&GOOD).await;
    let client = origin.client_as("robot", "hunter2");
    let failure = fails(&client).await;
    assert_eq!((failure.kind, origin.seen().len()), (Kind::RepositoryRefused, 3));
    GOOD.store(false, Ordering::SeqCst);
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(61)).await;
    tokio::time::resume();
    // The token is still good; the password is asked about once for all.
    for _ in 0..3 {
        let failure = fails(&client).await;
        assert_eq!((failure.kind, failure.status), (Kind::CredentialRefused, Some(403)));
        assert_eq!(failure.credential.as_deref(), Some("upstream.\"test\".credentials[0]"));
    }
    let log = origin.log();
    assert_eq!(log.len(), 7, "{log:?}");
    assert_eq!(log.iter().filter(|line| line.starts_with("GET /token?service=test Basic")).count(), 1, "{log:?}");
    // What the token service itself refuses is judged alike.
    let failure = client.manifest(&repository("b"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.step), (Kind::CredentialRefused, Step::Token));
}

#[tokio::test]
async fn basic_is_proven_at_the_base() {
    for (base, kind) in [(200, Kind::RepositoryRefused), (403, Kind::CredentialRefused), (500, Kind::RepositoryRefused)]
    {
        let origin = Origin::start(move |_, seen| match (seen.authorization(), seen.path.as_str()) {
            ("-", _) => basic_challenge(),
            (_, "/v2/") if base != 200 => denied(base),
            (_, "/v2/") => ok("{}"),
            _ => denied(403),
        })
        .await;
        let client = origin.client_as("robot", "hunter2");
        assert_eq!(fails(&client).await.kind, kind);
        assert_eq!(fails(&client).await.kind, kind);
        assert_eq!(origin.seen().iter().filter(|seen| seen.path == "/v2/").count(), 1, "{:?}", origin.log());
    }
}

#[tokio::test]
async fn a_token_of_amazon_that_expired_is_renewed_and_tried_again() {
    let right = basic("AWS", "new");
    let origin = Origin::start(move |_, seen| match seen.authorization() {
        "-" => basic_challenge(),
        shown if shown == right => ok(MANIFEST),
        _ => {
            let message = "Your authorization token has expired. Reauthenticate and try again.";
            reply(403, &[], format!("{{\"errors\":[{{\"code\":\"DENIED\",\"message\":\"{message}\"}}]}}"))
        }
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "old\n").unwrap();
    let mut config = config(&[&origin.url("")], Some(("AWS", "old")));
    config.credentials[0].password_source = SecretSource::File(file.path().to_owned());
    let client = client_of(config);
    assert_eq!(fails(&client).await.kind, Kind::CredentialRefused);
    std::fs::write(file.path(), "new\n").unwrap();
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    tokio::time::resume();
    client.manifest(&repository("a"), &latest()).await.unwrap();
}

#[tokio::test]
async fn a_token_service_that_moved_is_found_again() {
    for gone in [404, 400] {
        static MOVED: AtomicBool = AtomicBool::new(false);
        MOVED.store(false, Ordering::SeqCst);
        let origin = Origin::start(move |origin, seen| {
            let place = if MOVED.load(Ordering::SeqCst) { "/new" } else { "/token" };
            match seen.path.split('?').next().unwrap() {
                path if path == place => ok("{\"token\":\"t\"}"),
                "/token" => reply(gone, &[], ""),
                _ if seen.authorization() == "Bearer t" => ok(MANIFEST),
                _ => bearer(&origin.url(place), ""),
            }
        })
        .await;
        let client = origin.client();
        client.manifest(&repository("a"), &latest()).await.unwrap();
        MOVED.store(true, Ordering::SeqCst);
        client.manifest(&repository("b"), &latest()).await.unwrap();
        client.manifest(&repository("c"), &latest()).await.unwrap();
        assert_eq!(origin.seen().len(), 3 + 4 + 2, "{:?}", origin.log());
    }
}

#[tokio::test]
async fn an_echoed_password_is_repeated_to_nobody() {
    let origin = Origin::start(|_, seen| match seen.authorization() {
        "-" => basic_challenge(),
        shown => reply(403, &[], format!("{{\"errors\":[{{\"code\":\"hunter2\",\"message\":\"hunter2 {shown}\"}}]}}")),
    })
    .await;
    let failure = fails(&origin.client_as("robot", "hunter2")).await;
    assert_eq!(failure.message.as_deref(), Some("[REDACTED] Basic [REDACTED]"));
    assert_eq!(failure.code.as_deref(), Some("REDACTED"));
}
