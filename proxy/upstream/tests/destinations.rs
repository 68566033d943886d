//! Where a hostile upstream cannot send us, and what does not go along.

use super::origin::*;
use crate::{
    oci::Reference,
    upstream::{Failure, Kind, Step, Upstream},
};

fn latest() -> Reference {
    "latest".parse().unwrap()
}

async fn fails(client: &Upstream) -> Failure {
    client.manifest(&repository("a"), &latest()).await.unwrap_err()
}

#[tokio::test]
async fn a_foreign_realm_sees_no_request() {
    let foreign = Origin::start(|_, _| ok("{\"token\":\"t\"}")).await;
    let realm = foreign.url("/token");
    let origin = Origin::start(move |_, _| bearer(&realm, "")).await;
    let client = origin.client_as("robot", "hunter2");
    let failure = fails(&client).await;
    assert_eq!((failure.kind, failure.step, failure.attempts), (Kind::Refused, Step::Token, 1));
    assert!(failure.detail.unwrap().contains("trusted_realms"));
    assert!(foreign.seen().is_empty());
    assert!(origin.log().iter().all(|line| line.ends_with(" -")), "{:?}", origin.log());
    assert_eq!(client.metrics.refused_destinations.get_or_create(&client.labels()).get(), 1);
}

#[tokio::test]
async fn a_trusted_realm_is_asked() {
    let foreign = Origin::start(|_, _| ok("{\"token\":\"t\"}")).await;
    let realm = foreign.url("/token");
    let origin = Origin::start(move |_, seen| match seen.authorization() {
        "Bearer t" => ok("{}"),
        _ => bearer(&realm, ""),
    })
    .await;
    let mut config = config(&[&origin.url("")], Some(("robot", "hunter2")));
    config.trusted_realms = vec![crate::config::Origin::of(&foreign.url("").parse().unwrap()).unwrap()];
    client_of(config).manifest(&repository("a"), &latest()).await.unwrap();
    assert_eq!(
        foreign.log(),
        [format!("GET /token?service=test&scope=repository%3Aa%3Apull {}", basic("robot", "hunter2"))]
    );
}

#[tokio::test]
async fn a_metadata_service_is_dialled_neither_as_realm_nor_as_redirect() {
    for target in ["http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/", "http://[::ffff:a9fe:a9fe]/"]
    {
        let origin = Origin::start(move |_, seen| match seen.path.contains("/manifests/") {
            true => bearer(target, ""),
            false => redirect(target),
        })
        .await;
        let client = origin.client_as("robot", "hunter2");
        assert_eq!(fails(&client).await.kind, Kind::Refused, "{target}");
        let started = std::time::Instant::now();
        let failure = client.blob(&repository("a"), &digest(), None).await.unwrap_err();
        assert_eq!((failure.kind, failure.step), (Kind::Refused, Step::Resolve), "{target}");
        assert!(started.elapsed().as_secs() < 2, "nothing was dialled");
        assert_eq!(failure.attempts, 1);
    }
}

#[tokio::test]
async fn a_redirect_to_another_port_carries_no_authorization() {
    let storage = Origin::start(|_, _| ok("hello")).await;
    let target = storage.url("/blob?X-Amz-Signature=signature");
    let origin = Origin::start(move |_, seen| match seen.authorization() {
        "-" => basic_challenge(),
        _ => redirect(&target),
    })
    .await;
    let client = origin.client_as("robot", "hunter2");
    let mut body = client.blob(&repository("a"), &digest(), None).await.unwrap();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "hello");
    assert_eq!(storage.log(), ["GET /blob?X-Amz-Signature=signature -"]);
}

#[tokio::test]
async fn authorization_is_not_shown_again_once_an_answer_led_elsewhere() {
    let back = std::sync::Arc::new(std::sync::OnceLock::<String>::new());
    let target = std::sync::Arc::clone(&back);
    let storage = Origin::start(move |_, _| redirect(target.get().unwrap())).await;
    let away = storage.url("/x");
    let origin = Origin::start(move |_, seen| match (seen.path.as_str(), seen.authorization()) {
        ("/back", _) => ok("{}"),
        (_, "-") => basic_challenge(),
        _ => redirect(&away),
    })
    .await;
    back.set(origin.url("/back")).unwrap();
    origin.client_as("robot", "hunter2").manifest(&repository("a"), &latest()).await.unwrap();
    assert_eq!(origin.log().last().unwrap(), "GET /back -");
}

#[tokio::test]
async fn a_redirect_within_the_origin_keeps_authorization() {
    let origin = Origin::start(|_, seen| match (seen.path.as_str(), seen.authorization()) {
        (_, "-") => basic_challenge(),
        ("/moved", _) => ok("{}"),
        _ => redirect("/moved"),
    })
    .await;
    origin.client_as("robot", "hunter2").manifest(&repository("a"), &latest()).await.unwrap();
    assert_eq!(origin.log()[2], format!("GET /moved {}", basic("robot", "hunter2")));
}

#[tokio::test]
async fn a_redirect_loop_ends() {
    let origin = Origin::start(|_, seen| redirect(&seen.path)).await;
    let failure = fails(&origin.client()).await;
    assert_eq!((failure.kind, failure.step, failure.attempts), (Kind::Refused, Step::Redirect, 1));
    assert_eq!(origin.seen().len(), 6);
}

#[tokio::test]
async fn a_redirect_to_what_is_no_url_is_refused() {
    for target in ["file:///etc/passwd", "http://user:x@127.0.0.1/", "gopher://a/"] {
        let origin = Origin::start(move |_, _| redirect(target)).await;
        let failure = fails(&origin.client()).await;
        assert_eq!((failure.kind, failure.step), (Kind::Refused, Step::Redirect), "{target}");
    }
}

#[tokio::test]
async fn the_host_behind_a_redirect_gives_an_anonymous_token_of_its_own() {
    // registry.k8s.io sends manifests to Artifact Registry, which may challenge.
    let storage = Origin::start(|origin, seen| match seen.path.as_str() {
        path if path.starts_with("/v2/token") => ok("{\"token\":\"theirs\"}"),
        _ if seen.authorization() == "Bearer theirs" => ok("{}"),
        _ => bearer(&origin.url("/v2/token"), "repository:images/a:pull"),
    })
    .await;
    let target = storage.url("/v2/images/a/manifests/latest");
    let origin = Origin::start(move |_, seen| match seen.authorization() {
        "-" => basic_challenge(),
        _ => redirect(&target),
    })
    .await;
    origin.client_as("robot", "hunter2").manifest(&repository("a"), &latest()).await.unwrap();
    assert_eq!(
        storage.log(),
        [
            "GET /v2/images/a/manifests/latest -",
            "GET /v2/token?service=test&scope=repository%3Aimages%2Fa%3Apull -",
            "GET /v2/images/a/manifests/latest Bearer theirs",
        ]
    );
}

#[tokio::test]
async fn the_host_behind_a_redirect_cannot_send_for_a_token_elsewhere() {
    let third = Origin::start(|_, _| ok("{\"token\":\"t\"}")).await;
    let realm = third.url("/token");
    let storage = Origin::start(move |_, _| bearer(&realm, "")).await;
    let target = storage.url("/v2/a");
    let origin = Origin::start(move |_, _| redirect(&target)).await;
    let failure = fails(&origin.client_as("robot", "hunter2")).await;
    assert_eq!((failure.kind, failure.step), (Kind::RepositoryRefused, Step::Redirect));
    assert!(third.seen().is_empty());
}

#[tokio::test]
async fn a_token_service_that_redirects_is_not_followed() {
    let third = Origin::start(|_, _| ok("{\"token\":\"t\"}")).await;
    let target = third.url("/token");
    let origin = Origin::start(move |origin, seen| match seen.path.starts_with("/token") {
        true => redirect(&target),
        false => bearer(&origin.url("/token"), ""),
    })
    .await;
    let failure = fails(&origin.client_as("robot", "hunter2")).await;
    assert_eq!((failure.kind, failure.step), (Kind::Refused, Step::Token));
    assert!(third.seen().is_empty());
}

#[tokio::test]
async fn a_signed_url_is_in_no_error() {
    let target = "http://127.0.0.1:1/blob?X-Amz-Signature=signature";
    let origin = Origin::start(move |_, _| redirect(target)).await;
    let failure = origin.client().blob(&repository("a"), &digest(), None).await.unwrap_err();
    assert_eq!((failure.kind, failure.step), (Kind::Unavailable, Step::Connect));
    assert_eq!(failure.detail.as_deref(), Some("connection refused"));
    assert_eq!(failure.host, "http://127.0.0.1:1");
    assert!(!format!("{failure} {failure:?}").contains("signature"));
}

#[tokio::test]
async fn an_offline_upstream_is_not_dialled() {
    let origin = Origin::start(|_, _| ok("{}")).await;
    let mut config = config(&[&origin.url("")], None);
    config.offline = true;
    let failure = fails(&client_of(config)).await;
    assert_eq!((failure.kind, failure.detail.as_deref()), (Kind::Refused, Some("offline")));
    assert!(origin.seen().is_empty());
}
