//! No credential and no token leaves for anybody it was not configured for.

use super::assert_tells_why;
use crate::rig::upstream::Scheme;
use crate::rig::{Fault, FaultyUpstream, Image, Kind, Larder, Setup, digest_of, get};
use base64::{Engine as _, prelude::BASE64_STANDARD};

const USER: &str = "robot";
const PASSWORD: &str = "canary-7f3a91";

/// An upstream that wants a token or a password for everything.
async fn guarded(scheme: Scheme) -> (FaultyUpstream, Image) {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[30_000]);
    upstream.push("team/app", "1", &image);
    guard(&upstream, scheme);
    (upstream, image)
}

fn guard(upstream: &FaultyUpstream, scheme: Scheme) {
    upstream.auth(|auth| {
        auth.scheme = scheme;
        auth.users.insert(USER.to_owned(), PASSWORD.to_owned());
        auth.grant(USER, "*");
    });
}

/// What must not be seen, as it could be written.
fn secrets(upstream: &FaultyUpstream) -> Vec<String> {
    let mut secrets = vec![PASSWORD.to_owned(), BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))];
    secrets.extend(upstream.auth(|auth| auth.tokens()));
    secrets
}

#[track_caller]
fn assert_knows_nothing(stranger: &FaultyUpstream, upstream: &FaultyUpstream) {
    for secret in secrets(upstream) {
        assert!(!stranger.was_told(&secret), "a stranger was told a secret: {:#?}", stranger.seen());
    }
    assert!(stranger.seen().iter().all(|seen| seen.header("authorization").is_none()), "{:#?}", stranger.seen());
}

async fn assert_kept_quiet(larder: &Larder, upstream: &FaultyUpstream) {
    let metrics = String::from_utf8_lossy(&get("/metrics").fetch(larder.admin).await.body).into_owned();
    for secret in secrets(upstream) {
        assert!(larder.log().iter().all(|line| !line.contains(&secret)), "a secret in the log");
        assert!(!metrics.contains(&secret), "a secret in the metrics");
    }
}

async fn started(upstream: &FaultyUpstream) -> (Setup, Larder) {
    let setup = Setup::new()
        .server("default_registry = \"reg.test\"")
        .upstream_with_credential("reg.test", upstream, USER, PASSWORD)
        .environment("RUST_LOG", "trace")
        .environment("LARDER_LOG", "trace");
    let larder = setup.start().await;
    (setup, larder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_upstream_itself_sees_the_credential_and_nobody_reads_it_in_log_or_metrics() {
    for scheme in [Scheme::Basic, Scheme::Bearer] {
        let (upstream, image) = guarded(scheme).await;
        let (_setup, larder) = started(&upstream).await;
        assert_eq!(get("/v2/team/app/manifests/1").fetch(larder.address).await.status, 200);
        let layer = get(format!("/v2/team/app/blobs/{}", digest_of(&image.layers[0]))).fetch(larder.address).await;
        super::assert_gives(&layer, &image.layers[0]);
        // Otherwise the other tests of this file would show nothing.
        assert!(upstream.was_told(&BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))));
        if scheme == Scheme::Bearer {
            assert!(upstream.count(Kind::Token) <= 2, "{} tokens", upstream.count(Kind::Token));
        }
        // A caller's own credential is not passed on.
        get("/v2/team/app/manifests/2").header("Authorization", "Bearer of-a-caller").fetch(larder.address).await;
        assert!(!upstream.was_told("of-a-caller"));
        assert_kept_quiet(&larder, &upstream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_upstream_no_longer_knows_is_replaced_without_anybody_noticing() {
    let (upstream, image) = guarded(Scheme::Bearer).await;
    let (_setup, larder) = started(&upstream).await;
    super::assert_gives(&get("/v2/team/app/manifests/1").fetch(larder.address).await, &image.manifest);
    upstream.auth(|auth| auth.forget_tokens());
    let layer = format!("/v2/team/app/blobs/{}", digest_of(&image.layers[0]));
    super::assert_gives(&get(layer).fetch(larder.address).await, &image.layers[0]);

    // Some registries answer a refused token with a Basic challenge: the token service is still the one to ask.
    upstream.auth(|auth| auth.forget_tokens());
    let basic = Fault::on(Kind::BlobGet).times(1).error(401, "UNAUTHORIZED", "unauthorized");
    upstream.fault(basic.header("WWW-Authenticate", "Basic realm=\"harbor\""));
    let config = format!("/v2/team/app/blobs/{}", digest_of(&image.config));
    super::assert_gives(&get(config).fetch(larder.address).await, &image.config);
    assert_eq!(upstream.count(Kind::Token), 3);
    let basic_elsewhere = |seen: &crate::rig::upstream::Seen| {
        seen.kind != Kind::Token && seen.header("authorization").is_some_and(|shown| shown.starts_with("Basic"))
    };
    assert!(!upstream.seen().iter().any(|seen| basic_elsewhere(seen)), "the password went where a token is wanted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_foreign_realm_never_sees_the_credential() {
    let stranger = FaultyUpstream::start().await;
    let port = stranger.address().port();
    for realm in [
        format!("http://127.0.0.1:{port}/token"),
        format!("http://localhost:{port}/token"),
        format!("http://[::ffff:127.0.0.1]:{port}/token"),
        format!("http://UPSTREAM@127.0.0.1:{port}/token"),
        format!("http://0.0.0.0:{port}/token"),
        "http://169.254.169.254/latest/meta-data/iam".to_owned(),
        "http://metadata.google.internal/token".to_owned(),
        format!("//127.0.0.1:{port}/token"),
        "file:///etc/passwd".to_owned(),
        "token".to_owned(),
    ] {
        let (upstream, _) = guarded(Scheme::Bearer).await;
        let realm = realm.replace("UPSTREAM", &upstream.address().to_string());
        upstream.auth(|auth| auth.realm = Some(realm.clone()));
        let (_setup, larder) = started(&upstream).await;
        let answer = get("/v2/team/app/manifests/1").fetch(larder.address).await;
        assert!(matches!(answer.status, 403 | 500..=504), "{realm}: {}", answer.summary());
        assert_tells_why(&answer);
        assert_knows_nothing(&stranger, &upstream);
        assert!(!upstream.was_told(&BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))), "{realm}");
        assert_kept_quiet(&larder, &upstream).await;
    }
    assert_eq!(stranger.connections(), 0, "a foreign realm was dialled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listed_realm_sees_it() {
    let (upstream, image) = guarded(Scheme::Bearer).await;
    let tokens = FaultyUpstream::start().await;
    // It knows the user but what it gives out the upstream does not know: asked is enough here.
    guard(&tokens, Scheme::Bearer);
    let realm = format!("{}/token", tokens.url());
    upstream.auth(|auth| auth.realm = Some(realm));
    let setup = Setup::new().server("default_registry = \"reg.test\"");
    let lines = format!("trusted_realms = [\"{}\"]\n", tokens.url());
    let file = setup.home().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let setup = setup.upstream("reg.test", &upstream, &lines).table(&format!(
        "[[upstream.\"reg.test\".credentials]]\nusername = \"{USER}\"\npassword_file = \"{}\"\n",
        file.display()
    ));
    let larder = setup.start().await;
    let answer = get("/v2/team/app/manifests/1").fetch(larder.address).await;
    assert_ne!(answer.body, image.manifest);
    assert!(tokens.was_told(&BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}"))), "{}", answer.summary());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_carries_no_credential_to_another_origin() {
    let stranger = FaultyUpstream::start().await;
    for scheme in [Scheme::Basic, Scheme::Bearer] {
        let (upstream, image) = guarded(scheme).await;
        stranger.push("team/app", "1", &image);
        let (_setup, larder) = started(&upstream).await;
        let layer = format!("/v2/team/app/blobs/{}", digest_of(&image.layers[0]));
        upstream.fault(Fault::on(Kind::BlobGet).redirect(&format!("{}{layer}", stranger.url())));
        upstream.fault(Fault::on(Kind::BlobHead).redirect(&format!("{}{layer}", stranger.url())));
        let manifest = format!("{}/v2/team/app/manifests/1", stranger.url());
        // Storage behind another port of the same machine is followed, or nothing would be shown here.
        super::assert_gives(&get(&layer).fetch(larder.address).await, &image.layers[0]);
        assert!(stranger.count(Kind::BlobGet) > 0);
        upstream.fault(Fault::on(Kind::ManifestGet).redirect(&manifest));
        upstream.fault(Fault::on(Kind::ManifestHead).redirect(&manifest));
        get("/v2/team/app/manifests/1").fetch(larder.address).await;
        assert_knows_nothing(&stranger, &upstream);
        assert_kept_quiet(&larder, &upstream).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_within_the_origin_is_followed_and_a_loop_ends() {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(2, &[30_000]);
    upstream.push("app", "1", &image);
    upstream.push("storage", "1", &image);
    let layer = digest_of(&image.layers[0]);
    upstream.fault(Fault::on(Kind::BlobGet).of("/v2/app/").redirect(&format!("/v2/storage/blobs/{layer}")));
    for kind in [Kind::BlobGet, Kind::BlobHead] {
        upstream.fault(Fault::on(kind).of("/v2/loop/").redirect(&format!("/v2/loop/blobs/{layer}")));
    }
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let answer = get(format!("/v2/app/blobs/{layer}")).fetch(larder.address).await;
    super::assert_gives(&answer, &image.layers[0]);
    let answer = get(format!("/v2/loop/blobs/{layer}")).fetch(larder.address).await;
    assert!(answer.status >= 500, "{}", answer.summary());
    assert_tells_why(&answer);
    assert!(upstream.seen().len() <= 60, "{} requests", upstream.seen().len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_to_the_metadata_service_or_to_no_web_address_is_refused() {
    let upstream = FaultyUpstream::start().await;
    let bytes = crate::rig::noise(3, 1_000);
    let digest = upstream.push_blob("app", &bytes);
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    for target in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[fe80::1]/",
        "http://0.0.0.0:1/",
        "ftp://127.0.0.1/x",
        "file:///etc/passwd",
        "http://user:password@127.0.0.1/",
    ] {
        upstream.behave();
        upstream.fault(Fault::on(Kind::BlobGet).redirect(target));
        let answer = get(format!("/v2/app/blobs/{digest}")).fetch(larder.address).await;
        assert!(answer.status >= 500 || answer.status == 403, "{target}: {}", answer.summary());
        assert_tells_why(&answer);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_tls_nothing_goes_on_in_plain_text() {
    let upstream = FaultyUpstream::start_tls().await;
    let image = Image::new(4, &[30_000]);
    upstream.push("team/app", "1", &image);
    guard(&upstream, Scheme::Bearer);
    let plain = FaultyUpstream::start().await;
    plain.push("team/app", "1", &image);
    let setup = Setup::new().server("default_registry = \"reg.test\"");
    let (ca, password) = (setup.home().join("ca.pem"), setup.home().join("password"));
    std::fs::write(&ca, upstream.certificate_pem()).unwrap();
    std::fs::write(&password, PASSWORD).unwrap();
    let table = format!(
        "[[upstream.\"reg.test\".credentials]]\nusername = \"{USER}\"\npassword_file = \"{}\"\n",
        password.display()
    );
    let setup = setup.upstream("reg.test", &upstream, &format!("ca_file = \"{}\"\n", ca.display())).table(&table);
    let larder = setup.start().await;
    super::assert_gives(&get("/v2/team/app/manifests/1").fetch(larder.address).await, &image.manifest);

    // A redirect or a realm that drops TLS.
    let layer = format!("/v2/team/app/blobs/{}", digest_of(&image.layers[0]));
    upstream.fault(Fault::on(Kind::BlobGet).redirect(&format!("{}{layer}", plain.url())));
    let answer = get(&layer).fetch(larder.address).await;
    assert!(answer.status >= 500 || answer.status == 403, "{}", answer.summary());
    assert_tells_why(&answer);
    upstream.behave();
    upstream.auth(|auth| {
        auth.forget_tokens();
        auth.realm = Some(format!("http://localhost:{}/token", plain.address().port()));
    });
    let answer = get("/v2/team/other/manifests/1").fetch(larder.address).await;
    assert_ne!(answer.status, 200, "{}", answer.summary());
    assert_eq!(plain.connections(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_nobody_vouches_for_ends_the_pull_with_its_name() {
    let upstream = FaultyUpstream::start_tls().await;
    upstream.push("app", "1", &Image::new(5, &[10]));
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    let answer = get("/v2/app/manifests/1").fetch(larder.address).await;
    assert!(matches!(answer.status, 502..=504), "{}", answer.summary());
    assert!(answer.error().1.contains("certificate"), "{}", answer.summary());
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_page_of_tags_is_fetched_from_nobody_else() {
    let (upstream, _) = guarded(Scheme::Basic).await;
    let stranger = FaultyUpstream::start().await;
    stranger.push("team/app", "9", &Image::new(6, &[10]));
    let link = format!("<{}/v2/team/app/tags/list?last=1>; rel=\"next\"", stranger.url());
    upstream.fault(Fault::on(Kind::Tags).header("Link", &link));
    let (_setup, larder) = started(&upstream).await;
    let answer = get("/v2/team/app/tags/list").fetch(larder.address).await;
    assert!(!answer.body.windows(3).any(|window| window == b"\"9\""), "{}", answer.summary());
    assert_eq!(stranger.connections(), 0);
}
