//! The words of every cause, and the status they travel with.

use super::*;
use crate::{
    cache::Cause,
    oci::{Digest, Reference, Repository, Tag, Target},
    upstream::{self, Kind, RateBudget, Step},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

fn target(reference: &str) -> Target {
    Target {
        registry: "docker.io".parse().unwrap(),
        repository: "library/nginx".parse().unwrap(),
        reference: reference.parse().unwrap(),
    }
}

fn broken(kind: Kind, step: Step) -> upstream::Failure {
    upstream::Failure {
        upstream: "docker.io".parse().unwrap(),
        kind,
        step,
        host: "https://registry-1.docker.io".to_owned(),
        status: None,
        code: None,
        message: None,
        attempts: 1,
        elapsed: Duration::from_millis(80),
        retry_after: None,
        rate: None,
        credential: None,
        detail: None,
    }
}

fn pull(failure: upstream::Failure) -> Failure {
    Failure::Pull { target: target("1.99"), cause: Cause::Upstream(Arc::new(failure)) }
}

fn with_account(failure: upstream::Failure) -> upstream::Failure {
    upstream::Failure { credential: Some("upstream.\"docker.io\".credentials[0]".to_owned()), ..failure }
}

fn with_detail(kind: Kind, step: Step, detail: &str) -> Failure {
    pull(upstream::Failure { detail: Some(detail.to_owned()), attempts: 3, ..broken(kind, step) })
}

fn with_status(step: Step, status: u16) -> Failure {
    pull(upstream::Failure { status: Some(status), attempts: 3, ..broken(Kind::Unavailable, step) })
}

/// One or more of each cause.
fn samples() -> Vec<(&'static str, Failure)> {
    let digest = Digest::of(b"x").to_string();
    let invalid = |error: crate::oci::Error| Failure::InvalidName(error);
    let not_found = || broken(Kind::NotFound, Step::Headers);
    let limited = broken(Kind::RateLimited, Step::Headers);
    let budget = RateBudget { limit: 100, remaining: 0, window: Duration::from_secs(21_600), seen_at: Instant::now() };
    vec![
        ("name_invalid", invalid("library/Nginx".parse::<Repository>().unwrap_err())),
        ("name_invalid", invalid(".x".parse::<Tag>().unwrap_err())),
        ("name_invalid", invalid("sha256:abc".parse::<Digest>().unwrap_err())),
        ("request_malformed", Failure::AmbiguousFraming),
        ("route_unknown", Failure::UnknownRoute),
        ("write_refused", Failure::WriteRefused { method: "PUT".to_owned() }),
        (
            "registry_not_configured",
            Failure::NotConfigured { name: "quay.example".to_owned(), configured: vec!["docker.io".parse().unwrap()] },
        ),
        ("repository_not_allowed", Failure::NotAllowed { target: target("1") }),
        ("repository_missing", pull(upstream::Failure { code: Some("NAME_UNKNOWN".to_owned()), ..not_found() })),
        (
            "repository_missing",
            Failure::List {
                registry: "docker.io".parse().unwrap(),
                repository: "library/nginx".parse().unwrap(),
                cause: Cause::Upstream(Arc::new(not_found())),
            },
        ),
        ("tag_missing", pull(not_found())),
        ("digest_missing", Failure::Pull { target: target(&digest), cause: Cause::Upstream(Arc::new(not_found())) }),
        (
            "digest_missing",
            Failure::PullBlob { target: target(&digest), cause: Cause::Upstream(Arc::new(not_found())) },
        ),
        (
            "repository_refused",
            pull(upstream::Failure {
                status: Some(401),
                message: Some("authentication \"required\"".to_owned()),
                ..broken(Kind::RepositoryRefused, Step::Headers)
            }),
        ),
        ("repository_refused", pull(with_account(broken(Kind::RepositoryRefused, Step::Headers)))),
        ("credential_refused", pull(with_account(broken(Kind::CredentialRefused, Step::Token)))),
        ("credential_refused", pull(broken(Kind::CredentialRefused, Step::Token))),
        (
            "rate_limited",
            pull(upstream::Failure {
                rate: Some(budget),
                retry_after: Some(Duration::from_secs(2_465)),
                ..limited.clone()
            }),
        ),
        ("rate_limited", pull(with_account(limited))),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Resolve, "no such host")),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Connect, "connection refused")),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Connect, "timed out after 5 s")),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Tls, "certificate expired")),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Proxy, "407 Proxy Authentication Required")),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Token, "timed out after 10 s")),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Headers, "connection reset")),
        ("upstream_unreachable", with_detail(Kind::Unavailable, Step::Body, "ended 5 bytes early")),
        ("upstream_unreachable", with_status(Step::Headers, 500)),
        ("upstream_unreachable", with_status(Step::Token, 503)),
        ("upstream_wrong", with_detail(Kind::Mismatch, Step::Body, "got sha256:00")),
        ("upstream_wrong", with_detail(Kind::Malformed, Step::Headers, "manifest larger than 4 MiB")),
        ("destination_refused", with_detail(Kind::Refused, Step::Token, "not in trusted_realms")),
        ("destination_refused", with_detail(Kind::Refused, Step::Redirect, "loopback address")),
        ("offline_not_held", Failure::Pull { target: target("1.99"), cause: Cause::Offline }),
        (
            "busy",
            Failure::PullBlob {
                target: target(&digest),
                cause: Cause::Upstream(Arc::new(broken(Kind::Busy, Step::Headers))),
            },
        ),
        ("busy", pull(broken(Kind::Busy, Step::Body))),
        ("upstream_slow", Failure::Pull { target: target("1.99"), cause: Cause::Slow { seconds: 9 } }),
        (
            "store_failed",
            Failure::Pull { target: target("1.99"), cause: Cause::Store(Arc::new(std::io::Error::other("I/O error"))) },
        ),
    ]
}

#[test]
fn every_cause_has_its_words() {
    let told: Vec<String> = samples()
        .iter()
        .map(|(_, failure)| {
            let finding = diagnose(failure);
            format!("{} {} {}: {}", finding.status.as_u16(), finding.oci_code, finding.code, finding.message())
        })
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r#"
    400 NAME_INVALID name_invalid: "library/Nginx" is no repository: 'N' may not stand at position 9. Correct the image's name: repositories are lower case.
    404 MANIFEST_UNKNOWN name_invalid: ".x" is no tag: '.' may not stand at position 1. Correct the tag: letters, digits, dots, dashes and underscores, at most 128.
    400 DIGEST_INVALID name_invalid: "sha256:abc" is no digest: sha256 needs 64 hex digits, sha512 needs 128. Correct the digest: sha256: and 64 lower-case hex digits.
    400 UNSUPPORTED request_malformed: larder does not take a request whose Transfer-Encoding is anything but one "chunked". Look at the proxy between the client and larder.
    404 UNSUPPORTED route_unknown: larder has no such path: it serves manifests, blobs, tags and referrers below /v2/.
    405 UNSUPPORTED write_refused: larder is a cache for pulls and does not take "PUT". Push to the registry itself; larder serves the new content once its tag is asked for anew.
    403 DENIED registry_not_configured: larder is not configured for the registry "quay.example". Add the line [upstream."quay.example"] to its configuration.
    403 DENIED repository_not_allowed: larder's configuration does not allow library/nginx to be pulled from docker.io. Whoever runs larder can allow it by repositories_allowed or repositories_denied under [upstream."docker.io"].
    404 NAME_UNKNOWN repository_missing: docker.io has no repository library/nginx. Check the image's name.
    404 NAME_UNKNOWN repository_missing: docker.io has no repository library/nginx. Check the image's name.
    404 MANIFEST_UNKNOWN tag_missing: docker.io has no tag "1.99" in library/nginx. Check the image's name and tag; it may never have been pushed, or was deleted.
    404 MANIFEST_UNKNOWN digest_missing: docker.io has no manifest sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 in library/nginx. It was deleted there, or the digest is from another repository; pull the tag anew.
    404 BLOB_UNKNOWN digest_missing: docker.io has no blob sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 in library/nginx. It was deleted there, or the digest is from another repository; pull the tag anew.
    403 DENIED repository_refused: docker.io refused library/nginx to anonymous callers: it does not exist or needs credentials. Check the name, or give larder an account under [[upstream."docker.io".credentials]]. docker.io's own words: "authentication 'required'"
    403 DENIED repository_refused: docker.io refused library/nginx to the account of upstream."docker.io".credentials[0]: it does not exist or that account may not pull it. Check the name, or let that account pull it.
    403 DENIED credential_refused: docker.io refused larder's credential, not this image: user name or password of upstream."docker.io".credentials[0] are wrong or expired. Whoever runs larder has to renew it; every image of this registry that is not held is affected.
    403 DENIED credential_refused: docker.io refused to let anonymous callers in at all, so library/nginx:1.99 cannot be pulled. Whoever runs larder has to give it an account for this registry.
    429 TOOMANYREQUESTS rate_limited: docker.io refused library/nginx:1.99: rate limit for anonymous callers (100 per 6h, 0 left); it asks to wait 41min 5s. Give larder an account under [[upstream."docker.io".credentials]], or wait.
    429 TOOMANYREQUESTS rate_limited: docker.io refused library/nginx:1.99: rate limit of the account of upstream."docker.io".credentials[0]. Wait, or give larder an account with a higher limit.
    503 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: the name of https://registry-1.docker.io cannot be resolved (no such host). Check the DNS of the machine larder runs on, and url under [upstream."docker.io"].
    503 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: https://registry-1.docker.io takes no connection in 3 attempts (connection refused). Check network and firewall of the machine larder runs on; a proxy is set by proxy under [upstream."docker.io"].
    504 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: https://registry-1.docker.io takes no connection in 3 attempts (timed out after 5 s). Check network and firewall of the machine larder runs on; a proxy is set by proxy under [upstream."docker.io"].
    503 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: TLS with https://registry-1.docker.io failed (certificate expired). Check clock and certificate; an authority of your own is set by ca_file under [upstream."docker.io"].
    503 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: the proxy on the way to https://registry-1.docker.io failed (407 Proxy Authentication Required). Check proxy under [upstream."docker.io"], or HTTPS_PROXY and NO_PROXY of larder.
    504 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: its token service https://registry-1.docker.io gave no answer in 3 attempts (timed out after 10 s). Check that larder's machine can reach it; else try again later.
    503 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: https://registry-1.docker.io gave no answer in 3 attempts (connection reset). Try again later; if it lasts, check the network of the machine larder runs on.
    502 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: https://registry-1.docker.io broke off the transfer in 3 attempts (ended 5 bytes early). Try again; if it lasts, check the network of the machine larder runs on.
    502 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: https://registry-1.docker.io answered 500 in 3 attempts. The fault is on its side; try again later or look at its status page.
    503 UNAVAILABLE upstream_unreachable: docker.io cannot be asked for library/nginx:1.99: its token service https://registry-1.docker.io answered 503 in 3 attempts. The fault is on its side; try again later or look at its status page.
    502 UNAVAILABLE upstream_wrong: docker.io sent wrong bytes for library/nginx:1.99: https://registry-1.docker.io sent what does not have the digest asked for (got sha256:00). larder kept none of it. Look for a proxy or registry on the way that alters or damages content.
    502 UNAVAILABLE upstream_wrong: docker.io answered library/nginx:1.99 with what is no registry's answer: https://registry-1.docker.io sent it (manifest larger than 4 MiB). Check that the upstream's url leads to a registry and not to a login page or a proxy's error page.
    502 UNAVAILABLE destination_refused: docker.io named the token service https://registry-1.docker.io, which larder does not trust with credentials (not in trusted_realms). If it is right, add it to trusted_realms under [upstream."docker.io"].
    502 UNAVAILABLE destination_refused: docker.io sent larder on to https://registry-1.docker.io, where it does not go (loopback address). Redirects must stay on https, end, and not lead to addresses of larder's own machine or network.
    503 UNAVAILABLE offline_not_held: larder is offline for docker.io (offline = true) and does not hold library/nginx:1.99. Pull it once while online, or pull an image that is held.
    503 UNAVAILABLE busy: larder fetches as much from docker.io as it may at once, so blob sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881 of library/nginx had to wait too long. Try again; if it lasts, raise fills_max under [upstream."docker.io"].
    503 UNAVAILABLE busy: larder fetches as much from docker.io as it may at once, so library/nginx:1.99 had to wait too long. Try again; if it lasts, raise fills_max under [upstream."docker.io"].
    504 UNAVAILABLE upstream_slow: docker.io has not answered for library/nginx:1.99 within 9 s. larder goes on waiting for it; try again in a moment.
    500 UNKNOWN store_failed: larder could not serve library/nginx:1.99: its own directory failed. The fault is neither the image's nor the registry's: see larder's log and its disk.
    "#);
}

#[test]
fn each_failure_has_one_cause_and_each_cause_a_sample() {
    let (last, causes) = CATALOGUE.split_last().unwrap();
    for (code, failure) in samples() {
        let found: Vec<&str> =
            causes.iter().filter(|cause| cause.find(&failure).is_some()).map(|cause| cause.code()).collect();
        assert_eq!(found, [code], "{failure:?}");
        assert!(last.find(&failure).is_some());
    }
    for cause in causes {
        assert!(samples().iter().any(|(code, _)| *code == cause.code()), "{} has no sample", cause.code());
        assert!(cause.summary().ends_with('.'));
    }
}

#[test]
fn what_nothing_explains_is_told_as_unknown_with_its_evidence() {
    let failure = Failure::PullBlob {
        target: target("1.99"),
        cause: Cause::Upstream(Arc::new(upstream::Failure {
            status: Some(404),
            ..broken(Kind::NotFound, Step::Headers)
        })),
    };
    let finding = diagnose(&failure);
    assert_eq!(finding.code, "unknown");
    insta::assert_snapshot!(finding.message(), @"docker.io did not give blob 1.99 of library/nginx, and larder cannot tell why: https://registry-1.docker.io, status 404.");
}

/// The table of the design, row by row. Columns: containerd by `?ns=`, containerd by its User-Agent, containers/image,
/// anyone else, and whoever asks for a digest or a referrers' tag with `?ns=`.
#[test]
fn the_status_is_chosen_by_whom_it_is_for() {
    let tag: Reference = "1.99".parse().unwrap();
    let digest: Reference = Digest::of(b"x").to_string().parse().unwrap();
    let referrers = Reference::Tag(Tag::of_referrers(&Digest::of(b"x")));
    let askers = [
        Asker::new(Some("curl/8"), Some(&tag), true),
        Asker::new(Some("containerd/v1.7.22-k3s1"), Some(&tag), false),
        Asker::new(Some("Buildah/1.38"), Some(&tag), false),
        Asker::new(Some("docker/29.0"), Some(&tag), false),
        Asker::new(Some("containerd/2.3.4"), Some(&digest), true),
        Asker::new(Some("containerd/2.3.4"), Some(&referrers), true),
        Asker::new(Some("containerd/2.3.4"), None, true),
    ];
    let table = [
        ("tag_missing", [410, 410, 404, 404, 404, 404, 404]),
        ("repository_missing", [410, 410, 404, 404, 404, 404, 404]),
        ("repository_refused", [403; 7]),
        ("credential_refused", [403; 7]),
        ("registry_not_configured", [403; 7]),
        ("repository_not_allowed", [403; 7]),
        ("rate_limited", [503, 503, 429, 503, 503, 503, 503]),
        ("upstream_wrong", [503, 503, 502, 502, 502, 502, 502]),
        ("destination_refused", [503, 503, 502, 502, 502, 502, 502]),
        ("offline_not_held", [503; 7]),
        ("busy", [503; 7]),
        ("store_failed", [500; 7]),
        ("write_refused", [405; 7]),
        ("route_unknown", [404; 7]),
    ];
    for (code, expected) in table {
        let failure = samples().into_iter().find(|(sample, _)| *sample == code).unwrap().1;
        let given = askers.map(|asker| answer(&diagnose(&failure), &asker, false).status.as_u16());
        assert_eq!(given, expected, "{code}");
    }
    let by_kind = [
        (with_detail(Kind::Unavailable, Step::Connect, "timed out after 5 s"), 504),
        (with_detail(Kind::Unavailable, Step::Connect, "connection refused"), 503),
        (with_detail(Kind::Unavailable, Step::Body, "ended early"), 502),
        (with_status(Step::Headers, 500), 502),
        (with_status(Step::Headers, 503), 503),
        (with_status(Step::Headers, 504), 504),
    ];
    for (failure, expected) in by_kind {
        let given = askers.map(|asker| answer(&diagnose(&failure), &asker, false).status.as_u16());
        assert_eq!(given, [503, 503, expected, expected, expected, expected, expected]);
    }
}

#[test]
fn honest_status_is_the_same_for_all_and_a_429_never_bare() {
    let tag: Reference = "1.99".parse().unwrap();
    let asker = Asker::new(Some("containerd/2.3.4"), Some(&tag), true);
    for (_, failure) in samples() {
        let finding = diagnose(&failure);
        let given = answer(&finding, &asker, true);
        assert_eq!(given.status, finding.status);
        assert_ne!(given.status, 401);
        if given.status == 429 {
            assert!(given.retry_after.is_some_and(|wait| wait >= Duration::from_secs(1)));
        }
    }
}

#[test]
fn what_to_wait_is_told_where_it_helps() {
    let tag: Reference = "1.99".parse().unwrap();
    let podman = Asker::new(Some("containers/5.23.1 (github.com/containers/image)"), Some(&tag), false);
    let other = Asker::new(None, Some(&tag), false);
    for (told, for_podman, for_other) in [
        (None, Some(1), None),
        (Some(Duration::ZERO), Some(1), Some(1)),
        (Some(Duration::MAX), Some(1), Some(u64::MAX)),
        (Some(Duration::from_millis(7_500)), Some(8), Some(8)),
        (Some(Duration::from_secs(3_600)), Some(1), Some(3_600)),
    ] {
        let finding =
            diagnose(&pull(upstream::Failure { retry_after: told, ..broken(Kind::RateLimited, Step::Headers) }));
        let seconds = |asker| answer(&finding, asker, false).retry_after.map(|wait| wait.as_secs());
        assert_eq!((seconds(&podman), seconds(&other)), (for_podman, for_other), "{told:?}");
    }
}

#[test]
fn the_answer_carries_the_same_words_in_all_channels() {
    let failure = pull(broken(Kind::NotFound, Step::Headers));
    let tag: Reference = "1.99".parse().unwrap();
    let answer = answer(&diagnose(&failure), &Asker::new(None, Some(&tag), true), false);
    insta::assert_snapshot!(answer.reason, @r#"docker.io has no tag "1.99" in library/nginx. Check the image's name and tag; it may never have been pushed, or was deleted."#);
    insta::assert_snapshot!(answer.warning, @r#"299 - "docker.io has no tag \"1.99\" in library/nginx. Check the image's name and tag; it may never have been pushed, or was deleted.""#);
    insta::assert_snapshot!(String::from_utf8(answer.body.to_vec()).unwrap(), @r#"{"errors":[{"code":"MANIFEST_UNKNOWN","detail":{"attempts":"1","cause":"tag_missing","credential":"anonymous","elapsed":"80ms","host":"https://registry-1.docker.io","step":"headers"},"message":"docker.io has no tag \"1.99\" in library/nginx. Check the image's name and tag; it may never have been pushed, or was deleted."}]}"#);
}

#[test]
fn hostile_words_reach_no_channel_unescaped() {
    let hostile = format!("a\r\nSet-Cookie: x\0\x1b[31m\"quoted\\\" ü\u{202e}\u{7f}{}", "x".repeat(1 << 20));
    let mut failures: Vec<Failure> = [
        Kind::NotFound,
        Kind::CredentialRefused,
        Kind::RepositoryRefused,
        Kind::RateLimited,
        Kind::Unavailable,
        Kind::Mismatch,
        Kind::Refused,
        Kind::Malformed,
        Kind::Busy,
    ]
    .into_iter()
    .flat_map(|kind| [Step::Token, Step::Body, Step::Connect].map(|step| broken(kind, step)))
    .map(|failure| {
        pull(upstream::Failure {
            host: hostile.clone(),
            code: Some(hostile.clone()),
            message: Some(hostile.clone()),
            credential: Some(hostile.clone()),
            detail: Some(hostile.clone()),
            ..failure
        })
    })
    .collect();
    failures.push(Failure::WriteRefused { method: hostile.clone() });
    failures.push(Failure::NotConfigured { name: hostile.clone(), configured: Vec::new() });
    failures.push(Failure::InvalidName(hostile.parse::<Repository>().unwrap_err()));
    failures.push(Failure::Pull {
        target: target("1"),
        cause: Cause::Store(Arc::new(std::io::Error::other(hostile.clone()))),
    });
    let tag: Reference = "1".parse().unwrap();
    for failure in failures {
        let answer = answer(&diagnose(&failure), &Asker::new(None, Some(&tag), true), false);
        let printable = |text: &str| text.bytes().all(|b| (b' '..=b'~').contains(&b));
        assert!(printable(&answer.reason) && answer.reason.len() <= 400, "{}", answer.reason);
        assert!(printable(&answer.warning) && answer.warning.len() <= 1024);
        let inner = answer.warning.strip_prefix("299 - \"").and_then(|rest| rest.strip_suffix('"')).unwrap();
        assert!(!inner.replace("\\\\", "").replace("\\\"", "").contains(['"', '\\']), "{inner}");
        http::HeaderValue::from_str(&answer.warning).unwrap();
        assert!(answer.body.len() < 8 << 10, "{}", answer.body.len());
        let body: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let shown = body.to_string() + body["errors"][0]["message"].as_str().unwrap();
        assert!(!shown.chars().any(|c| c.is_control() || c == '\u{202e}'));
    }
}

#[test]
fn a_long_sentence_is_cut_at_a_word() {
    assert_eq!(words::ascii("one two three", 13), "one two three");
    assert_eq!(words::ascii("one two three", 12), "one two...");
    assert_eq!(words::ascii(&"x".repeat(20), 10), "xxxxxxx...");
    assert_eq!(words::ascii("größe", 10), "gr??e");
}

#[test]
fn times_are_told_in_two_units() {
    for (seconds, expected) in [(21_600, "6h"), (2_465, "41min 5s"), (86_401, "1d 1s"), (0, "0ms")] {
        assert_eq!(words::duration(Duration::from_secs(seconds)), expected);
    }
}
