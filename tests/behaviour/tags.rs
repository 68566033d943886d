//! What a tag is answered with, whatever upstream says ("Tags" in the design, row by row).

use super::{assert_gives, assert_gives_stale, assert_tells_why};
use crate::rig::upstream::Scheme;
use crate::rig::{Answer, Fault, FaultyUpstream, Image, Kind, Larder, Setup, client::Request, get, head, outlive};
use std::time::Duration;
use tokio::task::JoinSet;

const SECOND: Duration = Duration::from_secs(1);

/// What upstream can say that is no answer to the question.
fn silences() -> Vec<(&'static str, Fault)> {
    let mut silences: Vec<_> = [("500", 500), ("502", 502), ("503", 503), ("504", 504)]
        .into_iter()
        .map(|(name, status)| (name, Fault::anywhere().status(status)))
        .collect();
    silences
        .push(("429", Fault::anywhere().error(429, "TOOMANYREQUESTS", "pull rate limit").header("Retry-After", "2")));
    silences.push(("hang-up", Fault::anywhere().hang_up()));
    silences
}

async fn started(upstream: &FaultyUpstream, lines: &[&str]) -> (Setup, Larder) {
    let setup = lines.iter().fold(Setup::with(upstream), |setup, line| setup.cache(line));
    let larder = setup.start().await;
    (setup, larder)
}

async fn all(larder: &Larder, count: usize, request: Request) -> Vec<Answer> {
    let mut callers = JoinSet::new();
    for _ in 0..count {
        callers.spawn(request.clone().fetch(larder.address));
    }
    callers.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fresh_tags_cost_upstream_nothing_and_expired_ones_one_head() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[10]);
    upstream.push("app", "1", &image);
    let (_setup, larder) = started(&upstream, &["tag_ttl = \"3s\""]).await;

    // The lifetime cannot run out before it began, so what is asked within it is asked in time.
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    upstream.forget();
    for answer in all(&larder, 25, get("/v2/app/manifests/1")).await {
        assert_gives(&answer, &image.manifest);
        assert_eq!(answer.header("warning"), None);
    }
    for answer in all(&larder, 25, head("/v2/app/manifests/1").containerd()).await {
        assert_eq!((answer.status, answer.header("docker-content-digest")), (200, Some(image.digest.as_str())));
    }
    assert_eq!(upstream.asked(), 0);

    outlive(3 * SECOND).await;
    for answer in all(&larder, 50, get("/v2/app/manifests/1")).await {
        assert_gives(&answer, &image.manifest);
    }
    assert_eq!((upstream.count(Kind::ManifestHead), upstream.count(Kind::ManifestGet)), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_that_moved_is_followed_and_the_old_digest_still_served() {
    let upstream = FaultyUpstream::start().await;
    let (old, new) = (Image::new(2, &[10]), Image::new(3, &[10]));
    upstream.push("app", "1", &old);
    let (_setup, larder) = started(&upstream, &["tag_ttl = \"1s\""]).await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &old.manifest);
    upstream.push("app", "1", &new);
    outlive(SECOND).await;
    let answer = get("/v2/app/manifests/1").fetch(larder.address).await;
    assert_gives(&answer, &new.manifest);
    assert_eq!(answer.header("docker-content-digest"), Some(new.digest.as_str()));
    upstream.stop();
    assert_gives(&get(format!("/v2/app/manifests/{}", old.digest)).fetch(larder.address).await, &old.manifest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_tag_is_served_with_a_warning_while_upstream_cannot_answer() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(4, &[10]);
    for (name, _) in silences() {
        upstream.push(&format!("app-{name}"), "1", &image);
    }
    let (_setup, larder) = started(&upstream, &["tag_ttl = \"1s\""]).await;
    let path = |name| format!("/v2/app-{name}/manifests/1");
    for (name, _) in silences() {
        assert_gives(&get(path(name)).fetch(larder.address).await, &image.manifest);
    }
    outlive(SECOND).await;
    for (name, fault) in silences() {
        upstream.fault(fault.of(&format!("/app-{name}/")));
        for request in [get(path(name)), head(path(name)).containerd(), get(format!("{}?ns=reg.test", path(name)))] {
            let answer = request.fetch(larder.address).await;
            assert_eq!(answer.status, 200, "{name}: {}", answer.summary());
            assert!(answer.header("warning").is_some(), "{name}: {}", answer.summary());
        }
        assert_gives_stale(&get(path(name)).fetch(larder.address).await, &image.manifest);
    }
    assert!(larder.metric("larder_cache", &["Stale"]).await >= silences().len() as f64);

    upstream.behave();
    for (name, _) in silences() {
        crate::rig::until("the warning to go", async || {
            let answer = get(path(name)).fetch(larder.address).await;
            assert_gives(&answer, &image.manifest);
            answer.header("warning").is_none()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_is_not_made_worse_by_asking_again_and_again() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(17, &[10]);
    for repository in ["app-500", "app-429", "app-hang-up"] {
        upstream.push(repository, "1", &image);
    }
    let (_setup, larder) = started(&upstream, &["tag_ttl = \"1s\""]).await;
    for repository in ["app-500", "app-429", "app-hang-up"] {
        assert_gives(&get(format!("/v2/{repository}/manifests/1")).fetch(larder.address).await, &image.manifest);
    }
    outlive(SECOND).await;
    upstream.fault(Fault::anywhere().of("/app-500/").status(500));
    upstream.fault(Fault::anywhere().of("/app-429/").status(429).header("Retry-After", "60"));
    upstream.fault(Fault::anywhere().of("/app-hang-up/").hang_up());
    upstream.fault(Fault::anywhere().of("/cold-429/").status(429).header("Retry-After", "60"));
    upstream.forget();
    for repository in ["app-500", "app-429", "app-hang-up"] {
        for _ in 0..50 {
            let answer = get(format!("/v2/{repository}/manifests/1")).fetch(larder.address).await;
            assert_gives_stale(&answer, &image.manifest);
        }
        let asked = upstream.seen().iter().filter(|seen| seen.path.contains(repository)).count();
        assert!(asked <= 8, "{repository}: {asked} requests for 50 asks");
    }
    for _ in 0..20 {
        assert_eq!(get("/v2/cold-429/manifests/1").fetch(larder.address).await.status, 503);
    }
    let asked = upstream.seen().iter().filter(|seen| seen.path.contains("cold-429")).count();
    assert!(asked <= 4, "{asked} requests for 20 asks of a cold tag while it is limited");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_held_tag_survives_a_dead_upstream_until_it_is_too_old() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(5, &[10]);
    upstream.push("app", "1", &image);
    let (_setup, larder) = started(&upstream, &["tag_ttl = \"1s\"", "stale_max = \"4s\""]).await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    upstream.stop();
    outlive(SECOND).await;
    assert_gives_stale(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    outlive(4 * SECOND).await;
    let answer = get("/v2/app/manifests/1").fetch(larder.address).await;
    assert!(matches!(answer.status, 502..=504), "{}", answer.summary());
    assert_tells_why(&answer);
    // A digest has no age.
    assert_gives(&get(format!("/v2/app/manifests/{}", image.digest)).fetch(larder.address).await, &image.manifest);

    upstream.restart().await;
    crate::rig::until("recovery by itself", async || {
        get("/v2/app/manifests/1").fetch(larder.address).await.status == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cold_tag_is_refused_for_what_upstream_is_and_never_as_missing() {
    let upstream = FaultyUpstream::start().await;
    let (_setup, larder) = started(&upstream, &[]).await;
    for (name, fault) in silences() {
        let repository = format!("cold-{name}");
        upstream.fault(fault.of(&format!("/{repository}/")));
        let path = format!("/v2/{repository}/manifests/1");
        let answer = get(&path).fetch(larder.address).await;
        let expected: &[u16] = if name == "429" { &[503] } else { &[502, 503, 504] };
        assert!(expected.contains(&answer.status), "{name}: {}", answer.summary());
        assert_tells_why(&answer);
        // containerd repeats a 429 at once and takes a 404 for the truth.
        for request in [head(format!("{path}?ns=reg.test")), get(format!("{path}?ns=reg.test"))] {
            let answer = request.containerd().fetch(larder.address).await;
            assert_eq!(answer.status, 503, "{name}: {}", answer.summary());
            assert!(answer.reason.contains("reg.test"), "the reason tells nothing: {}", answer.summary());
            super::assert_reason_is_printable(&answer);
        }
    }
    let path = "/v2/cold-429/manifests/1";
    let answer = get(path).header("User-Agent", "cri-o/1.30 containers/image").fetch(larder.address).await;
    assert!(matches!(answer.status, 429 | 503), "{}", answer.summary());
    assert!(answer.status != 429 || answer.header("retry-after").is_some(), "{}", answer.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_credential_is_not_an_outage_for_what_is_held() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(6, &[10]);
    upstream.push("team/app", "1", &image);
    upstream.auth(|auth| {
        auth.scheme = Scheme::Bearer;
        auth.users.insert("robot".to_owned(), "canary".to_owned());
        auth.grant("robot", "*");
    });
    let setup = Setup::new()
        .server("default_registry = \"reg.test\"")
        .upstream_with_credential("reg.test", &upstream, "robot", "canary")
        .cache("tag_ttl = \"1s\"");
    let larder = setup.start().await;
    assert_gives(&get("/v2/team/app/manifests/1").fetch(larder.address).await, &image.manifest);

    upstream.auth(|auth| {
        auth.users.insert("robot".to_owned(), "changed".to_owned());
        auth.forget_tokens();
    });
    outlive(SECOND).await;
    assert_gives_stale(&get("/v2/team/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_gives(&get(format!("/v2/team/app/manifests/{}", image.digest)).fetch(larder.address).await, &image.manifest);
    let is_alarm = |line: &String| line.contains("ERROR") && line.contains("reg.test");
    assert!(larder.log().iter().any(is_alarm), "no alarm");

    // What is not held is refused, and the sentence says whose fault it is.
    let answer = get("/v2/team/other/manifests/1").fetch(larder.address).await;
    assert_eq!((answer.status, answer.error().0.as_str()), (403, "DENIED"), "{}", answer.summary());
    assert_tells_why(&answer);
    let answer = head("/v2/team/other/manifests/1?ns=reg.test").containerd().fetch(larder.address).await;
    assert_eq!(answer.status, 403, "{}", answer.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_repository_is_told_as_refused_and_concerns_no_other() {
    let upstream = FaultyUpstream::start().await;
    let (app, other) = (Image::new(7, &[10]), Image::new(8, &[10]));
    upstream.push("team/app", "1", &app);
    upstream.push("team/other", "1", &other);
    upstream.push("team/never", "1", &app);
    upstream.auth(|auth| {
        auth.scheme = Scheme::Bearer;
        auth.users.insert("robot".to_owned(), "canary".to_owned());
        auth.grant("robot", "team/app");
        auth.grant("robot", "team/other");
    });
    let setup = Setup::new()
        .server("default_registry = \"reg.test\"")
        .upstream_with_credential("reg.test", &upstream, "robot", "canary")
        .cache("tag_ttl = \"1s\"");
    let larder = setup.start().await;
    assert_gives(&get("/v2/team/app/manifests/1").fetch(larder.address).await, &app.manifest);
    assert_gives(&get("/v2/team/other/manifests/1").fetch(larder.address).await, &other.manifest);

    let answer = get("/v2/team/never/manifests/1").fetch(larder.address).await;
    assert_eq!((answer.status, answer.error().0.as_str()), (403, "DENIED"), "{}", answer.summary());
    assert_tells_why(&answer);

    upstream.auth(|auth| auth.withdraw("robot", "team/app"));
    outlive(SECOND).await;
    // Within the life of the grant the held one may still be served; it is never told as missing or as an outage.
    let answer = get("/v2/team/app/manifests/1").fetch(larder.address).await;
    assert!(matches!(answer.status, 200 | 403), "{}", answer.summary());
    let answer = get("/v2/team/other/manifests/1").fetch(larder.address).await;
    assert_gives(&answer, &other.manifest);
    assert_eq!(answer.header("warning"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tag_stays_served_with_a_warning_and_its_digests_are_never_asked_for() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(9, &[1_000]);
    for repository in ["kept", "gone"] {
        upstream.push(repository, "1", &image);
    }
    let (_setup, larder) = started(&upstream, &["tag_ttl = \"1s\""]).await;
    let layer = crate::rig::digest_of(&image.layers[0]);
    for repository in ["kept", "gone"] {
        assert_gives(&get(format!("/v2/{repository}/manifests/1")).fetch(larder.address).await, &image.manifest);
        assert_gives(&get(format!("/v2/{repository}/blobs/{layer}")).fetch(larder.address).await, &image.layers[0]);
        super::settled(&upstream, &larder, &format!("/v2/{repository}/blobs/{layer}")).await;
    }
    upstream.hold(|repositories| {
        repositories.untag("kept", "1");
        repositories.remove("gone");
    });
    outlive(SECOND).await;
    upstream.forget();
    for repository in ["kept", "gone"] {
        let answer = get(format!("/v2/{repository}/manifests/1")).fetch(larder.address).await;
        assert_gives_stale(&answer, &image.manifest);
        let by_digest = format!("/v2/{repository}/manifests/{}", image.digest);
        assert_gives(&get(by_digest).fetch(larder.address).await, &image.manifest);
        assert_gives(&get(format!("/v2/{repository}/blobs/{layer}")).fetch(larder.address).await, &image.layers[0]);
    }
    assert!(larder.metric("larder_findings", &[]).await > 0.0, "no finding");
    let by_digest = upstream.seen().iter().filter(|seen| seen.path.contains("sha256:")).count();
    assert_eq!(by_digest, 0, "a held digest was asked for");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_tag_is_missing_once_it_was_kept_long_enough() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(10, &[10]);
    upstream.push("app", "1", &image);
    let lines = ["tag_ttl = \"1s\"", "missing_ttl = \"1s\"", "keep_deleted = \"3s\""];
    let (_setup, larder) = started(&upstream, &lines).await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    upstream.hold(|repositories| repositories.untag("app", "1"));
    outlive(SECOND).await;
    assert_gives_stale(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    outlive(3 * SECOND).await;
    let answer = get("/v2/app/manifests/1").fetch(larder.address).await;
    assert_eq!((answer.status, answer.error().0.as_str()), (404, "MANIFEST_UNKNOWN"), "{}", answer.summary());
    // It comes back as soon as upstream has it again.
    upstream.push("app", "1", &image);
    outlive(SECOND).await;
    let answer = get("/v2/app/manifests/1").fetch(larder.address).await;
    assert_gives(&answer, &image.manifest);
    assert_eq!(answer.header("warning"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_asks_for_a_missing_tag_cost_one_head_and_one_get() {
    let upstream = FaultyUpstream::start().await;
    upstream.push("app", "1", &Image::new(11, &[10]));
    let (_setup, larder) = started(&upstream, &["missing_ttl = \"60s\""]).await;
    for _ in 0..10 {
        for answer in all(&larder, 50, get("/v2/app/manifests/2")).await {
            assert_eq!((answer.status, answer.error().0.as_str()), (404, "MANIFEST_UNKNOWN"), "{}", answer.summary());
        }
        for answer in all(&larder, 50, head("/v2/app/manifests/2?ns=reg.test").containerd()).await {
            assert_eq!(answer.status, 410, "{}", answer.summary());
            assert!(answer.reason.contains("app"), "{}", answer.summary());
        }
    }
    assert!(upstream.count(Kind::ManifestHead) <= 1, "{} HEADs", upstream.count(Kind::ManifestHead));
    assert!(upstream.count(Kind::ManifestGet) <= 1, "{} GETs", upstream.count(Kind::ManifestGet));

    // The same for a repository and for a digest.
    upstream.forget();
    let digest = crate::rig::digest_of(b"nowhere");
    for path in ["/v2/nowhere/manifests/1".to_owned(), format!("/v2/app/manifests/{digest}")] {
        for answer in all(&larder, 20, get(path)).await {
            assert_eq!(answer.status, 404, "{}", answer.summary());
            assert_tells_why(&answer);
        }
    }
    assert!(upstream.asked() <= 4, "{} requests", upstream.asked());

    // Only for tags does containerd ask the next host after a 410; digests and referrer tags are told as they are.
    for reference in [digest.clone(), digest.replace(':', "-")] {
        let path = format!("/v2/app/manifests/{reference}?ns=reg.test");
        let answer = head(path).containerd().fetch(larder.address).await;
        assert_eq!(answer.status, 404, "{reference}: {}", answer.summary());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_missing_is_found_after_its_lifetime() {
    let upstream = FaultyUpstream::start().await;
    let (_setup, larder) = started(&upstream, &["missing_ttl = \"1s\""]).await;
    assert_eq!(get("/v2/app/manifests/1").fetch(larder.address).await.status, 404);
    let image = Image::new(12, &[10]);
    upstream.push("app", "1", &image);
    outlive(SECOND).await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refresh_makes_the_next_ask_go_upstream() {
    let upstream = FaultyUpstream::start().await;
    let (old, new) = (Image::new(13, &[10]), Image::new(14, &[10]));
    upstream.push("app", "1", &old);
    let (setup, larder) = started(&upstream, &["tag_ttl = \"1h\"", "missing_ttl = \"1h\""]).await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &old.manifest);
    assert_eq!(get("/v2/app/manifests/2").fetch(larder.address).await.status, 404);
    upstream.push("app", "1", &new);
    upstream.push("app", "2", &new);
    upstream.forget();
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &old.manifest);
    assert_eq!(upstream.asked(), 0);
    for tag in ["1", "2"] {
        let output = setup.run(&["refresh", &format!("reg.test/app:{tag}")]).await;
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        assert_gives(&get(format!("/v2/app/manifests/{tag}")).fetch(larder.address).await, &new.manifest);
    }
    assert!(upstream.count(Kind::ManifestHead) <= 2 && upstream.count(Kind::ManifestGet) <= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_immutable_tag_is_never_asked_for_again() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(15, &[10]);
    upstream.push("app", "v1.2.3", &image);
    let (_setup, larder) = started(&upstream, &["tag_ttl = \"1s\"", "tags_immutable = [\"v*.*.*\"]"]).await;
    assert_gives(&get("/v2/app/manifests/v1.2.3").fetch(larder.address).await, &image.manifest);
    upstream.forget();
    outlive(SECOND).await;
    let answer = get("/v2/app/manifests/v1.2.3").fetch(larder.address).await;
    assert_gives(&answer, &image.manifest);
    assert_eq!((upstream.asked(), answer.header("warning")), (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_nobody_is_dialled_and_what_is_held_is_served() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(16, &[10_000]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream).cache("tag_ttl = \"1s\"");
    let layer = format!("/v2/app/blobs/{}", crate::rig::digest_of(&image.layers[0]));
    let larder = setup.start().await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_gives(&get(&layer).fetch(larder.address).await, &image.layers[0]);
    super::settled(&upstream, &larder, &layer).await;
    assert!(larder.stop().await.success());

    let setup = setup.cache("offline = true");
    let larder = setup.start().await;
    let connections = upstream.connections();
    outlive(SECOND).await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    assert_gives(&get(&layer).fetch(larder.address).await, &image.layers[0]);
    let answer = get("/v2/app/manifests/2").fetch(larder.address).await;
    assert_tells_why(&answer);
    assert!(answer.error().1.contains("offline"), "{}", answer.summary());
    assert_eq!(upstream.connections(), connections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn honest_status_turns_the_shaping_off() {
    let upstream = FaultyUpstream::start().await;
    upstream.fault(Fault::anywhere().of("/limited/").status(429));
    let setup = Setup::with(&upstream).server("honest_status = true");
    let larder = setup.start().await;
    let answer = head("/v2/app/manifests/1?ns=reg.test").containerd().fetch(larder.address).await;
    assert_eq!(answer.status, 404, "{}", answer.summary());
    // A bare 429 is never right.
    let answer = head("/v2/limited/manifests/1?ns=reg.test").containerd().fetch(larder.address).await;
    assert!(answer.status != 429 || answer.header("retry-after").is_some(), "{}", answer.summary());
}
