//! Challenges, tokens and refusals.

use super::origin::*;
use crate::{
    oci::Reference,
    upstream::{Kind, Step},
};
use std::sync::atomic::{AtomicUsize, Ordering};

const MANIFEST: &str = "{}";

fn latest() -> Reference {
    "latest".parse().unwrap()
}

/// Gives tokens `t1`, `t2`, ... and takes those that `accepts` takes.
fn registry(
    accepts: impl Fn(&str, &Seen) -> bool + Send + Sync + 'static,
) -> impl Fn(&Origin, &Seen) -> Reply + Send + Sync {
    let count = AtomicUsize::new(0);
    move |origin, seen| {
        if seen.path.starts_with("/token") {
            let count = count.fetch_add(1, Ordering::SeqCst) + 1;
            return ok(format!("{{\"token\":\"t{count}\",\"expires_in\":300}}"));
        }
        let name = seen.path.trim_start_matches("/v2/").split("/manifests").next().unwrap();
        if accepts(seen.authorization(), seen) {
            ok(MANIFEST)
        } else {
            bearer(&origin.url("/token"), &format!("repository:{name}:pull"))
        }
    }
}

#[tokio::test]
async fn a_token_is_fetched_once_and_then_shown_without_being_asked_for() {
    let origin = Origin::start(registry(|shown, _| shown.starts_with("Bearer"))).await;
    let client = origin.client_as("robot", "hunter2");
    for _ in 0..3 {
        client.manifest(&repository("a/b"), &latest()).await.unwrap();
    }
    let basic = basic("robot", "hunter2");
    assert_eq!(
        origin.log(),
        [
            "GET /v2/a/b/manifests/latest -".to_owned(),
            format!("GET /token?service=test&scope=repository%3Aa%2Fb%3Apull {basic}"),
            "GET /v2/a/b/manifests/latest Bearer t1".to_owned(),
            "GET /v2/a/b/manifests/latest Bearer t1".to_owned(),
            "GET /v2/a/b/manifests/latest Bearer t1".to_owned(),
        ]
    );
    // Another repository: a token of its own, and no 401 to learn that.
    client.manifest(&repository("c"), &latest()).await.unwrap();
    assert_eq!(
        origin.log()[5..],
        [
            format!("GET /token?service=test&scope=repository%3Ac%3Apull {basic}"),
            "GET /v2/c/manifests/latest Bearer t2".to_owned(),
        ]
    );
}

#[tokio::test]
async fn many_callers_wait_for_one_token() {
    let origin = Origin::start(registry(|shown, _| shown.starts_with("Bearer"))).await;
    let client = std::sync::Arc::new(origin.client());
    client.manifest(&repository("first"), &latest()).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = std::sync::Arc::clone(&client);
        tasks.spawn(async move { client.manifest(&repository("a"), &latest()).await.map(|_| ()) });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap().unwrap();
    }
    assert_eq!(origin.log().iter().filter(|line| line.contains("/token")).count(), 2);
}

#[tokio::test]
async fn the_scope_of_the_challenge_counts() {
    let origin = Origin::start(|origin, seen| match seen.path.as_str() {
        path if path.starts_with("/token") => ok("{\"access_token\":\"t\"}"),
        _ if seen.authorization() == "Bearer t" => ok(MANIFEST),
        _ => bearer(&origin.url("/token?a=b"), "repository:short/x:pull aws"),
    })
    .await;
    let client = origin.client();
    client.manifest(&repository("long/short/x"), &latest()).await.unwrap();
    client.manifest(&repository("long/short/x"), &latest()).await.unwrap();
    assert_eq!(
        origin.log(),
        [
            "GET /v2/long/short/x/manifests/latest -",
            "GET /token?a=b&service=test&scope=repository%3Ashort%2Fx%3Apull&scope=aws -",
            "GET /v2/long/short/x/manifests/latest Bearer t",
            "GET /v2/long/short/x/manifests/latest Bearer t",
        ]
    );
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_even_if_the_challenge_is_basic() {
    // Harbor: whoever shows something that is refused is challenged with Basic.
    let origin = Origin::start(|origin, seen| match seen.path.as_str() {
        path if path.starts_with("/token") => {
            let count = origin.seen().iter().filter(|seen| seen.path.starts_with("/token")).count();
            ok(format!("{{\"token\":\"t{count}\"}}"))
        }
        "/v2/a/manifests/1" if seen.authorization() == "Bearer t1" => ok(MANIFEST),
        "/v2/a/manifests/2" if seen.authorization() == "Bearer t2" => ok(MANIFEST),
        _ if seen.authorization() == "-" => bearer(&origin.url("/token"), ""),
        _ => basic_challenge(),
    })
    .await;
    let client = origin.client_as("robot", "hunter2");
    client.manifest(&repository("a"), &"1".parse().unwrap()).await.unwrap();
    client.manifest(&repository("a"), &"2".parse().unwrap()).await.unwrap();
    let failure = client.manifest(&repository("a"), &"3".parse().unwrap()).await.unwrap_err();
    assert_eq!((failure.kind, failure.status), (Kind::RepositoryRefused, Some(401)));
    assert_eq!(failure.credential.as_deref(), Some("upstream.\"test\".credentials[0]"));
    for seen in origin.seen().iter().filter(|seen| !seen.path.starts_with("/token")) {
        assert!(!seen.authorization().starts_with("Basic"), "{seen:?}");
    }
    assert!(origin.seen().len() <= 9, "{:?}", origin.log());
}

#[tokio::test]
async fn a_fresh_token_that_is_refused_means_the_repository() {
    let origin = Origin::start(registry(|_, _| false)).await;
    let failure = origin.client().manifest(&repository("a"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.status), (Kind::RepositoryRefused, Some(401)));
    assert_eq!((failure.credential, failure.attempts), (None, 1));
    assert_eq!(origin.seen().len(), 3);
}

#[tokio::test]
async fn basic_is_shown_where_it_is_asked_for() {
    let right = basic("robot", "hunter2");
    let origin = Origin::start(move |_, seen| match seen.authorization() {
        "-" => basic_challenge(),
        shown if shown == right && seen.path.contains("forbidden") => reply(403, &[], "{}"),
        shown if shown == right => ok(MANIFEST),
        _ => basic_challenge(),
    })
    .await;
    let client = origin.client_as("robot", "hunter2");
    client.manifest(&repository("a"), &latest()).await.unwrap();
    client.manifest(&repository("a"), &latest()).await.unwrap();
    assert_eq!(origin.seen().len(), 3);
    let failure = client.manifest(&repository("forbidden"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.status), (Kind::RepositoryRefused, Some(403)));
    let failure = origin.client_as("robot", "wrong").manifest(&repository("a"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.status), (Kind::CredentialRefused, Some(401)));
    assert_eq!(failure.credential.as_deref(), Some("upstream.\"test\".credentials[0]"));
    let failure = origin.client().manifest(&repository("a"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.credential), (Kind::RepositoryRefused, None));
}

#[tokio::test]
async fn a_token_service_refuses_the_credential_or_the_repository() {
    let origin = Origin::start(|origin, seen| match seen.path.as_str() {
        path if path.starts_with("/token") => {
            reply(401, &[], format!("{{\"details\":\"hunter2 of {} is wrong\"}}", seen.authorization()))
        }
        _ => bearer(&origin.url("/token"), ""),
    })
    .await;
    let failure = origin.client_as("robot", "hunter2").manifest(&repository("a"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.step, failure.status), (Kind::CredentialRefused, Step::Token, Some(401)));
    // What was shown is echoed to nobody.
    assert_eq!(failure.message.as_deref(), Some("[REDACTED] of Basic [REDACTED] is wrong"));
    assert_eq!(failure.attempts, 1);
    // Not tried again without it.
    assert_eq!(origin.seen().len(), 2);
    let failure = origin.client().manifest(&repository("a"), &latest()).await.unwrap_err();
    assert_eq!((failure.kind, failure.step), (Kind::RepositoryRefused, Step::Token));
}

#[tokio::test]
async fn a_credential_that_worked_is_not_blamed_for_one_repository() {
    let origin = Origin::start(|origin, seen| match seen.path.as_str() {
        path if path.starts_with("/token") && path.contains("forbidden") => reply(403, &[], "{}"),
        path if path.starts_with("/token") => ok("{\"token\":\"t\"}"),
        _ if seen.authorization() == "Bearer t" => ok(MANIFEST),
        _ => bearer(&origin.url("/token"), ""),
    })
    .await;
    let client = origin.client_as("robot", "hunter2");
    let kind =
        async |name| client.manifest(&repository(name), &latest()).await.map_err(|failure| failure.kind).map(|_| ());
    assert_eq!(kind("forbidden").await, Err(Kind::CredentialRefused));
    assert_eq!(kind("a").await, Ok(()));
    assert_eq!(kind("forbidden").await, Err(Kind::RepositoryRefused));
}

#[tokio::test]
async fn odd_answers_of_a_token_service_are_malformed() {
    for (status, body) in [
        (200, "{}".to_owned()),
        (200, "<html>".to_owned()),
        (200, format!("{{\"token\":\"{}\"}}", "x".repeat(70_000))),
        (404, String::new()),
    ] {
        let origin = Origin::start(move |origin, seen| match seen.path.starts_with("/token") {
            true => reply(status, &[], body.clone()),
            false => bearer(&origin.url("/token"), ""),
        })
        .await;
        let failure = origin.client().manifest(&repository("a"), &latest()).await.unwrap_err();
        assert_eq!((failure.kind, failure.step), (Kind::Malformed, Step::Token), "{failure}");
    }
}

#[tokio::test]
async fn a_changed_password_file_is_used_when_the_old_one_is_refused() {
    let right = basic("robot", "new");
    let origin = Origin::start(move |origin, seen| match seen.path.starts_with("/token") {
        true if seen.authorization() == right => ok("{\"token\":\"t\"}"),
        true => reply(401, &[], "{}"),
        false if seen.authorization() == "Bearer t" => ok(MANIFEST),
        false => bearer(&origin.url("/token"), ""),
    })
    .await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "new\n").unwrap();
    let mut config = config(&[&origin.url("")], Some(("robot", "old")));
    config.credentials[0].password_source = crate::config::SecretSource::File(file.path().to_owned());
    client_of(config).manifest(&repository("a"), &latest()).await.unwrap();
}

#[tokio::test]
async fn the_base_takes_no_scope_of_a_repository() {
    let origin = Origin::start(|origin, seen| match seen.path.as_str() {
        path if path.starts_with("/token") => ok("{\"token\":\"t\"}"),
        _ if seen.authorization() == "Bearer t" => ok("{}"),
        _ => bearer(&origin.url("/token"), "repository:user/image:pull"),
    })
    .await;
    origin.client().base().await.unwrap();
    assert_eq!(origin.log(), ["GET /v2/ -", "GET /token?service=test -", "GET /v2/ Bearer t"]);
}

#[tokio::test]
async fn twenty_upstreams_each_see_their_own_secret_only() {
    let mut all = Vec::new();
    for number in 0..20 {
        let origin = Origin::start(registry(|shown, _| shown.starts_with("Bearer"))).await;
        let client = origin.client_as(&format!("user{number}"), &format!("canary{number}"));
        all.push((origin, client));
    }
    for _ in 0..2 {
        for (_, client) in &all {
            client.manifest(&repository("same/name"), &latest()).await.unwrap();
        }
    }
    for (number, (origin, client)) in all.iter().enumerate() {
        let own = basic(&format!("user{number}"), &format!("canary{number}"));
        for seen in origin.seen().iter().filter(|seen| seen.authorization().starts_with("Basic")) {
            assert_eq!(seen.authorization(), own);
        }
        assert_eq!(origin.seen().len(), 4);
        let printed = format!("{client:?} {:?} {:?} {:?}", client.provider, client.tokens, client.config);
        assert!(!printed.contains("canary") && !printed.contains("Bearer t"), "{printed}");
    }
}
