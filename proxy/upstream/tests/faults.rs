//! Upstreams that fail, stall or are not what they say.

use super::origin::*;
use crate::{
    oci::Reference,
    upstream::{Failure, Kind, Step, Upstream},
};
use std::{sync::Arc, time::Duration};
use tokio::{net::TcpListener, time::Instant};
use tokio_rustls::TlsAcceptor;

fn latest() -> Reference {
    "latest".parse().unwrap()
}

async fn fails(client: &Upstream) -> Failure {
    client.manifest(&repository("a"), &latest()).await.unwrap_err()
}

#[tokio::test]
async fn a_failing_upstream_is_asked_three_times() {
    for failing in [|| reply(503, &[], "{\"errors\":[{\"code\":\"UNAVAILABLE\"}]}"), || Reply::Close] {
        let origin = Origin::start(move |_, _| failing()).await;
        let failure = fails(&origin.client()).await;
        assert_eq!((failure.kind, failure.attempts), (Kind::Unavailable, 3));
        assert_eq!(origin.seen().len(), 3);
        assert!(failure.elapsed >= Duration::from_millis(200));
    }
}

#[tokio::test]
async fn a_failure_that_passes_is_not_noticed() {
    let origin = Origin::start(|origin, _| match origin.seen().len() {
        1 => reply(502, &[], ""),
        2 => Reply::Close,
        _ => ok("{}"),
    })
    .await;
    origin.client().manifest(&repository("a"), &latest()).await.unwrap();
}

#[tokio::test]
async fn a_storm_of_failures_is_not_answered_with_a_storm_of_retries() {
    let origin = Origin::start(|_, _| reply(503, &[], "")).await;
    let client = origin.client();
    let repository = repository("a");
    let latest = latest();
    let all = (0..200).map(|_| client.manifest(&repository, &latest));
    for answer in futures_util::future::join_all(all).await {
        assert_eq!(answer.unwrap_err().kind, Kind::Unavailable);
    }
    assert!(origin.seen().len() <= 200 + 20 + 10, "{}", origin.seen().len());
}

#[tokio::test]
async fn the_second_url_is_used_when_the_first_is_dead_and_asked_first_from_then_on() {
    let first = Origin::start(|_, _| reply(500, &[], "")).await;
    let second = Origin::start(|_, _| ok("{}")).await;
    for dead in ["http://127.0.0.1:1".to_owned(), first.url("")] {
        let client = client(&[&dead, &second.url("")], None);
        client.manifest(&repository("a"), &latest()).await.unwrap();
        client.manifest(&repository("a"), &latest()).await.unwrap();
    }
    assert_eq!((first.seen().len(), second.seen().len()), (1, 4));
}

#[tokio::test]
async fn a_url_whose_bodies_are_cut_or_wrong_is_asked_last() {
    let cut = || match reply(200, &[("content-length", "10")], "hello") {
        Reply::Answer(response) => Reply::Cut(response),
        other => other,
    };
    let first = Origin::start(move |_, _| cut()).await;
    let second = Origin::start(|_, _| ok("hello")).await;
    let urls = [first.url(""), second.url("")];
    let urls = [urls[0].as_str(), urls[1].as_str()];
    let (repository, digest) = (repository("a"), digest());
    let told = client(&urls, None);
    told.blob(&repository, &digest, None).await.unwrap().source().distrust();
    told.blob(&repository, &digest, None).await.unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    let seeing = client(&urls, None);
    let mut body = seeing.blob(&repository, &digest, None).await.unwrap();
    while body.chunk().await.is_ok() {}
    seeing.blob(&repository, &digest, None).await.unwrap();
    assert_eq!((first.seen().len(), second.seen().len()), (2, 2));
}

#[tokio::test]
async fn a_manifest_of_other_bytes_is_asked_for_at_the_next_url() {
    let first = Origin::start(|_, _| ok("{\"x\":1}")).await;
    let second = Origin::start(|_, _| ok("{}")).await;
    let client = client(&[&first.url(""), &second.url("")], None);
    let wanted = Reference::Digest(crate::oci::Digest::of(b"{}"));
    assert_eq!(client.manifest(&repository("a"), &wanted).await.unwrap().bytes, "{}");
    let missing = Reference::Digest(digest());
    let failure = client.manifest(&repository("a"), &missing).await.unwrap_err();
    assert_eq!((failure.kind, first.seen().len() + second.seen().len()), (Kind::Mismatch, 3));
}

#[tokio::test]
async fn an_answer_of_the_first_url_counts() {
    let first = Origin::start(|_, _| reply(404, &[], "")).await;
    let second = Origin::start(|_, _| ok("{}")).await;
    assert_eq!(fails(&client(&[&first.url(""), &second.url("")], None)).await.kind, Kind::NotFound);
    assert!(second.seen().is_empty());
}

#[tokio::test]
async fn a_silent_upstream_is_answered_for_within_the_deadline() {
    let origin = Origin::start(|_, seen| if seen.path == "/v2/" { ok("{}") } else { Reply::Silence }).await;
    let client = origin.client();
    client.base().await.unwrap();
    tokio::time::pause();
    let started = Instant::now();
    let failure = fails(&client).await;
    assert_eq!((failure.kind, failure.step), (Kind::Unavailable, Step::Headers));
    assert_eq!(failure.detail.as_deref(), Some("timed out after 15 s"));
    assert!(started.elapsed() <= Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_silent_token_service_is_answered_for_within_the_deadline() {
    let origin = Origin::start(|origin, seen| match seen.path.as_str() {
        "/v2/" => ok("{}"),
        path if path.starts_with("/token") => Reply::Silence,
        _ => bearer(&origin.url("/token"), ""),
    })
    .await;
    let client = origin.client();
    client.base().await.unwrap();
    client.base().await.unwrap();
    let started = Instant::now();
    tokio::time::pause();
    let failure = fails(&client).await;
    assert_eq!(failure.kind, Kind::Unavailable);
    assert!(started.elapsed() <= Duration::from_secs(30), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_body_that_stalls_is_cut() {
    let origin = Origin::start(|_, _| match reply(200, &[("content-length", "10")], "hello") {
        Reply::Answer(response) => Reply::Stall(response),
        other => other,
    })
    .await;
    let mut body = origin.client().blob(&repository("a"), &digest(), None).await.unwrap();
    assert_eq!(body.chunk().await.unwrap().unwrap(), "hello");
    tokio::time::pause();
    // Waiting in small steps is waiting.
    for _ in 0..19 {
        assert!(tokio::time::timeout(Duration::from_secs(1), body.chunk()).await.is_err());
    }
    let failure = tokio::time::timeout(Duration::from_secs(2), body.chunk()).await.unwrap().unwrap_err();
    assert_eq!((failure.kind, failure.step), (Kind::Unavailable, Step::Body));
    assert_eq!(failure.detail.as_deref(), Some("no byte for 20 s, cut"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_failure() {
    for length in ["10", ""] {
        let origin = Origin::start(move |_, _| {
            let headers = [("content-length", length)];
            match reply(200, if length.is_empty() { &[] } else { &headers }, "hello") {
                Reply::Answer(response) => Reply::Cut(response),
                other => other,
            }
        })
        .await;
        let mut body = origin.client().blob(&repository("a"), &digest(), None).await.unwrap();
        assert_eq!(body.chunk().await.unwrap().unwrap(), "hello");
        let failure = body.chunk().await.unwrap_err();
        assert_eq!((failure.kind, failure.step), (Kind::Unavailable, Step::Body), "{failure}");
    }
}

/// A TLS server that has `certificate` and answers `{}`, or sends on to `location`.
async fn tls_origin(certificate: rcgen::Certificate, key: rcgen::KeyPair, location: Option<String>) -> u16 {
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, location) = (acceptor.clone(), location.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper::service::service_fn(move |_| {
                    let mut response = http::Response::new(http_body_util::Full::new(bytes::Bytes::from("{}")));
                    if let Some(location) = &location {
                        *response.status_mut() = http::StatusCode::TEMPORARY_REDIRECT;
                        response.headers_mut().insert("location", location.parse().unwrap());
                    }
                    std::future::ready(Ok::<_, std::convert::Infallible>(response))
                });
                let stream = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_bad_certificate_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let ca_file = directory.path().join("ca.pem");
    for (name, year, trusted, expected) in [
        ("localhost", 4000, true, None),
        ("localhost", 2020, true, Some("certificate expired")),
        ("other.example", 4000, true, Some("certificate is for another name")),
        ("localhost", 4000, false, Some("issuer unknown: CN=Corp Inspection")),
    ] {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new([name.to_owned()]).unwrap();
        params.distinguished_name.push(rcgen::DnType::CommonName, "Corp Inspection");
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(&ca_file, certificate.pem()).unwrap();
        let port = tls_origin(certificate, key, None).await;
        let mut config = config(&[&format!("https://localhost:{port}")], None);
        config.ca_file = trusted.then(|| ca_file.clone());
        let answer = client_of(config).manifest(&repository("a"), &latest()).await;
        match expected {
            None => assert!(answer.is_ok(), "{answer:?}"),
            Some(expected) => {
                let failure = answer.unwrap_err();
                assert_eq!((failure.kind, failure.step, failure.attempts), (Kind::Unavailable, Step::Tls, 1));
                assert_eq!(failure.detail.as_deref(), Some(expected));
            }
        }
    }
}

#[tokio::test]
async fn a_redirect_from_https_to_http_is_refused() {
    let plain = Origin::start(|_, _| ok("{}")).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    std::fs::write(file.path(), certificate.pem()).unwrap();
    let port = tls_origin(certificate, key, Some(plain.url("/"))).await;
    let mut config = config(&[&format!("https://localhost:{port}")], None);
    config.ca_file = Some(file.path().to_owned());
    let failure = fails(&client_of(config)).await;
    assert_eq!((failure.kind, failure.step), (Kind::Refused, Step::Redirect));
    assert!(plain.seen().is_empty());
}

#[tokio::test]
async fn what_does_not_answer_is_named() {
    let plain = Origin::start(|_, _| ok("{}")).await;
    for (url, step, expected) in [
        ("http://127.0.0.1:1".to_owned(), Step::Connect, "connection refused"),
        ("https://127.0.0.1:1".to_owned(), Step::Connect, "connection refused"),
        ("http://nowhere.invalid".to_owned(), Step::Resolve, "name not found"),
        (format!("https://{}", plain.address), Step::Tls, "the other side does not speak TLS"),
    ] {
        let failure = fails(&client(&[&url], None)).await;
        assert_eq!((failure.kind, failure.step), (Kind::Unavailable, step), "{failure}");
        assert_eq!(failure.detail.as_deref(), Some(expected), "{url}");
    }
}

#[tokio::test]
async fn a_proxy_is_asked_and_named_when_it_fails() {
    let proxy = Origin::start(|_, seen| match seen.method.as_str() {
        "CONNECT" => reply(502, &[], ""),
        _ => ok("{}"),
    })
    .await;
    let client = |url: &str, proxy: &str| {
        let mut config = config(&[url], None);
        config.proxy = Some(proxy.parse().unwrap());
        client_of(config)
    };
    client("http://registry.example", &proxy.url("")).manifest(&repository("a"), &latest()).await.unwrap();
    assert_eq!(proxy.log(), ["GET http://registry.example/v2/a/manifests/latest -"]);
    let failure = fails(&client("https://registry.example", &proxy.url(""))).await;
    assert_eq!((failure.kind, failure.step), (Kind::Unavailable, Step::Proxy), "{failure}");
    let failure = fails(&client("https://registry.example", "http://127.0.0.1:1")).await;
    assert_eq!((failure.step, failure.detail.as_deref()), (Step::Proxy, Some("connection refused")));
}

#[tokio::test]
async fn a_proxy_is_not_asked_for_a_metadata_service() {
    let proxy = Origin::start(|_, seen| match seen.path.as_str() {
        path if path.contains("registry.example") => redirect("http://metadata.google.internal/computeMetadata/v1/"),
        _ => ok("{}"),
    })
    .await;
    let mut config = config(&["http://registry.example"], None);
    config.proxy = Some(proxy.url("").parse().unwrap());
    let failure = fails(&client_of(config)).await;
    assert_eq!((failure.kind, proxy.seen().len()), (Kind::Refused, 1), "{failure}");
}
