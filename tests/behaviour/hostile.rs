//! Requests that no honest client sends: each gets an answer that tells why, and none spoils the connection.

use super::{assert_gives, assert_tells_why};
use crate::rig::{Connection, FaultyUpstream, Image, Larder, Setup, digest_of, get, request};
use std::time::Duration;

async fn started() -> (FaultyUpstream, Image, Setup, Larder) {
    let upstream = FaultyUpstream::start().await;
    let image = Image::new(1, &[10_000]);
    upstream.push("app", "1", &image);
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    upstream.forget();
    (upstream, image, setup, larder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_writes_is_answered_with_405_and_a_sentence() {
    let (upstream, image, _setup, larder) = started().await;
    let digest = digest_of(&image.layers[0]);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        for path in [
            "/v2/app/blobs/uploads/".to_owned(),
            "/v2/app/blobs/uploads/?digest=sha256:aa&mount=b".to_owned(),
            "/v2/app/blobs/uploads/0d3b6f7e".to_owned(),
            format!("/v2/app/blobs/{digest}"),
            "/v2/app/manifests/1".to_owned(),
            format!("/v2/app/manifests/{}?ns=reg.test", image.digest),
            "/v2/app/tags/1".to_owned(),
            "/v2/".to_owned(),
        ] {
            let answer = request(method, &path).header("Content-Length", "0").fetch(larder.address).await;
            assert_eq!(
                (answer.status, answer.error().0.as_str()),
                (405, "UNSUPPORTED"),
                "{method} {path}: {}",
                answer.summary()
            );
            assert_tells_why(&answer);
        }
    }
    for method in ["OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", "X"] {
        let answer = request(method, "/v2/app/manifests/1").fetch(larder.address).await;
        assert!((400..500).contains(&answer.status), "{method}: {}", answer.summary());
        assert_ne!(answer.body, image.manifest);
    }
    assert_eq!(upstream.seen().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_routes_are_told_as_unknown() {
    let (upstream, _, _setup, larder) = started().await;
    for path in [
        "/",
        "/v1/",
        "/v2",
        "/v3/",
        "/v2/_catalog",
        "/v2/app",
        "/v2/app/",
        "/v2/app/manifests",
        "/v2/app/manifests/",
        "/v2/app/blobs/",
        "/v2/app/tags",
        "/v2/app/tags/",
        "/v2/app/tags/lists",
        "/v2/app/referrers/",
        "/v2/manifests/1",
        "/v2/blobs/sha256:aa",
        "/metrics",
        "/livez",
        "/etc/passwd",
        "*",
    ] {
        let answer = get(path).fetch(larder.address).await;
        // Some registries answer /v2 as /v2/; no one else's routes are of this door.
        if path == "/v2" && answer.status == 200 {
            continue;
        }
        assert!(matches!(answer.status, 301 | 307 | 308 | 400 | 404), "{path}: {}", answer.summary());
        if answer.status >= 400 {
            assert_tells_why(&answer);
        }
    }
    assert_eq!(upstream.seen().len(), 0);
}

/// Paths that try to be another file, another repository, or too much.
fn paths() -> Vec<Vec<u8>> {
    let digest = "a".repeat(64);
    let mut paths: Vec<Vec<u8>> = [
        "/v2/../../etc/passwd",
        "/v2/app/manifests/../../../etc/passwd",
        "/v2/app/blobs/sha256:../../../etc/passwd",
        "/v2/%2F%2F..%2F..%2Fetc%2Fpasswd/manifests/1",
        "/v2/%2e%2e/%2e%2e/etc/passwd",
        "/v2/app%2Fmanifests%2F1",
        "/v2/app/manifests/%31",
        "/v2/app/manifests/1%2F..%2F2",
        "/v2/app%00/manifests/1",
        "/v2/app/manifests/1%00",
        "/v2//app//manifests//1",
        "//v2/app/manifests/1",
        "/v2/./app/manifests/1",
        "/v2/app/manifests/.",
        "/v2/app/manifests/..",
        "/v2/app/manifests/-1",
        "/v2/App/manifests/1",
        "/v2/a..b/manifests/1",
        "/v2/-a/manifests/1",
        "/v2/a_/manifests/1",
        "/v2/app/manifests/1;x",
        "/v2/app\\manifests\\1",
        "/v2/app/blobs/sha256:AAAA",
        "/v2/app/blobs/sha256:aaaa",
        "/v2/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e",
        "/v2/app/blobs/sha256",
        "/v2/app/blobs/:",
        "/v2/app/blobs/sha512:aaaa",
        "/v2/app/manifests/sha256:xyz",
        "/v2/app/referrers/1",
        "/v2/app/referrers/sha256:zz",
        "/v2/manifests/manifests/manifests/manifests/a b",
        "http://127.0.0.1/v2/../etc/passwd",
    ]
    .iter()
    .map(|path| path.as_bytes().to_vec())
    .collect();
    paths.push(format!("/v2/app/blobs/sha256:{digest}%2f..").into_bytes());
    paths.push(format!("/v2/app/blobs/sha256:{digest}a").into_bytes());
    paths.push(format!("/v2/app/manifests/{}", "t".repeat(129)).into_bytes());
    paths.push(format!("/v2/{}/manifests/1", "r".repeat(256)).into_bytes());
    paths.push(format!("/v2/{}manifests/1", "r/".repeat(3_000)).into_bytes());
    paths.push(format!("/v2/app/manifests/{}", "1".repeat(100_000)).into_bytes());
    paths.push(format!("/v2/app/manifests/1?ns={}", "n".repeat(100_000)).into_bytes());
    paths.push(format!("/v2/{}/manifests/1", "../".repeat(30_000)).into_bytes());
    paths.push(b"/v2/app/manifests/1\0".to_vec());
    paths.push(b"/v2/\xff\xfe/manifests/1".to_vec());
    paths.push(b"/v2/app/manifests/\xc3\xa9".to_vec());
    paths.push(b"/v2/app\tmanifests/1".to_vec());
    paths
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hostile_path_is_refused_and_asks_nobody() {
    let (upstream, image, _setup, mut larder) = started().await;
    for path in paths() {
        let shown: String = path.escape_ascii().to_string().chars().take(100).collect();
        let mut connection = Connection::open(larder.address).await.unwrap();
        let bytes = [b"GET ".as_slice(), &path, b" HTTP/1.1\r\nHost: larder\r\nConnection: close\r\n\r\n"].concat();
        let answer = match connection.write(&bytes).await {
            Ok(()) => match connection.response(false).await {
                Ok(response) => response.read().await,
                Err(_) => continue,
            },
            Err(_) => continue,
        };
        assert!((400..500).contains(&answer.status), "{shown}: {}", answer.summary());
        assert!(answer.body != image.manifest && !answer.body.windows(5).any(|w| w == b"root:"), "{shown}");
        assert!(answer.body.len() < 16_384, "{shown}: an answer of {} bytes", answer.body.len());
        super::assert_reason_is_printable(&answer);
    }
    assert!(larder.is_running());
    assert_eq!(upstream.seen().len(), 0, "{:#?}", upstream.seen());
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
}

/// The request hidden in another, which must never go upstream. `hidden-00` is replaced by a name for each case.
const HIDDEN: &str = "GET /v2/hidden-00/manifests/1 HTTP/1.1\r\nHost: larder\r\n\r\n";

/// Requests whose end two readers could see in two places. Each hides `HIDDEN` where one of them would not look.
fn smuggled() -> Vec<(&'static str, String)> {
    let request = |headers: &str, body: &str| {
        format!("GET /v2/app/manifests/1 HTTP/1.1\r\nHost: larder\r\n{headers}\r\n{body}{HIDDEN}")
    };
    let length = HIDDEN.len();
    let chunked = format!("{length:x}\r\n{HIDDEN}\r\n0\r\n\r\n");
    vec![
        ("length", request(&format!("Content-Length: {length}\r\n"), "")),
        ("chunks then length", {
            let headers = format!("Transfer-Encoding: chunked\r\nContent-Length: {}\r\n", length + 5);
            request(&headers, "0\r\n\r\n")
        }),
        ("length then chunks", request("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n")),
        ("two lengths", request(&format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), "")),
        ("a list of lengths", request(&format!("Content-Length: 0, {length}\r\n"), "")),
        ("a negative length", request("Content-Length: -1\r\n", "")),
        ("a signed length", request(&format!("Content-Length: +{length}\r\n"), "")),
        ("a hexadecimal length", request("Content-Length: 0x10\r\n", "")),
        ("a huge length", request("Content-Length: 99999999999999999999\r\n", "")),
        ("an empty length", request("Content-Length: \r\n", "")),
        ("a length with a space", request(&format!("Content-Length : {length}\r\n"), "")),
        ("an unknown coding", request("Transfer-Encoding: gzip\r\n", &chunked)),
        ("chunked not last", request("Transfer-Encoding: chunked, gzip\r\n", &chunked)),
        ("chunked twice", request("Transfer-Encoding: chunked, chunked\r\n", &chunked)),
        ("two codings", request("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n", &chunked)),
        ("xchunked", request("Transfer-Encoding: xchunked\r\n", &chunked)),
        ("chunked with a tab", request("Transfer-Encoding:\tchunked\r\n", "0\r\n\r\n")),
        ("chunked in quotes", request("Transfer-Encoding: \"chunked\"\r\n", &chunked)),
        ("chunked with a control character", request("Transfer-Encoding: \x0bchunked\r\n", &chunked)),
        ("a coding with a space", request("Transfer-Encoding : chunked\r\n", &chunked)),
        ("a folded coding", request("Transfer-Encoding:\r\n chunked\r\n", &chunked)),
        ("a bare line feed before the coding", request("X: y\nTransfer-Encoding: chunked\r\n", &chunked)),
        ("a bare carriage return", request("X: y\rTransfer-Encoding: chunked\r\n", &chunked)),
        ("a chunk size with rubbish", request("Transfer-Encoding: chunked\r\n", "0x0\r\n\r\n")),
        ("a chunk size that overflows", request("Transfer-Encoding: chunked\r\n", "fffffffffffffffff\r\n")),
        ("a chunk without its end", request("Transfer-Encoding: chunked\r\n", "1\r\nab\r\n0\r\n\r\n")),
        ("chunked whole", {
            format!("GET /v2/app/manifests/1 HTTP/1.1\r\nHost: larder\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}")
        }),
        ("HTTP/1.0 with chunks", {
            let start = "GET /v2/app/manifests/1 HTTP/1.0\r\nHost: larder\r\nConnection: keep-alive\r\n";
            format!("{start}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{HIDDEN}")
        }),
        ("no host", format!("GET /v2/app/manifests/1 HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{HIDDEN}")),
        (
            "an upgrade",
            request("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", ""),
        ),
        ("an expectation", request(&format!("Expect: 100-continue\r\nContent-Length: {length}\r\n"), "")),
        ("a name with a space", request(&format!("Content Length: {length}\r\n"), "")),
        ("a null in a name", request(&format!("Content\0-Length: {length}\r\n"), "")),
        ("an empty name", request(": x\r\n", "")),
        ("HTTP/0.9", format!("GET /v2/app/manifests/1\r\n\r\n{HIDDEN}")),
        ("HTTP/2.0", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{HIDDEN}")),
        ("HTTP/1.2", format!("GET /v2/app/manifests/1 HTTP/1.2\r\nHost: larder\r\n\r\n{HIDDEN}")),
        ("a second space", format!("GET  /v2/app/manifests/1 HTTP/1.1\r\nHost: larder\r\n\r\n{HIDDEN}")),
        ("a version with rubbish", format!("GET /v2/app/manifests/1 HTTP/1.1x\r\nHost: larder\r\n\r\n{HIDDEN}")),
        ("a POST with a length", {
            format!("POST /v2/app/blobs/uploads/ HTTP/1.1\r\nHost: larder\r\nContent-Length: {length}\r\n\r\n{HIDDEN}")
        }),
        ("a PUT with chunks", {
            format!("PUT /v2/app/manifests/1 HTTP/1.1\r\nHost: larder\r\nTransfer-Encoding: chunked\r\n\r\n{chunked}")
        }),
        ("a DELETE with a length", {
            format!("DELETE /v2/app/manifests/1 HTTP/1.1\r\nHost: larder\r\nContent-Length: {length}\r\n\r\n{HIDDEN}")
        }),
    ]
}

/// The requests after which the hidden part is a request of its own, for every reader.
const PIPELINED: [&str; 5] =
    ["an upgrade", "chunked with a tab", "a bare line feed before the coding", "HTTP/1.2", "a name with a space"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_ambiguous_request_the_connection_is_clean_or_closed() {
    let (upstream, image, _setup, mut larder) = started().await;
    let mut wrong = Vec::new();
    for (n, (name, bytes)) in smuggled().into_iter().enumerate() {
        // What is remembered as missing would not be asked for again.
        let hidden = format!("hidden-{n:02}");
        let bytes = bytes.replace("hidden-00", &hidden);
        let mut connection = Connection::open(larder.address).await.unwrap();
        connection.write(bytes.as_bytes()).await.unwrap();
        // Its answer, if there is one, is the last: a third shows that the hidden part was taken for a request.
        let marker = format!("GET /v2/app/manifests/{} HTTP/1.1\r\nHost: larder\r\n\r\n", image.digest);
        let _ = connection.write(marker.as_bytes()).await;
        let _ = connection.finish().await;
        let Ok(statuses) = tokio::time::timeout(Duration::from_secs(15), answers(connection)).await else {
            wrong.push(format!("{name}: the connection stays open and silent"));
            continue;
        };
        let hidden_was_asked = upstream.seen().iter().any(|seen| seen.path.contains(&hidden));
        let expected = if PIPELINED.contains(&name) { 3 } else { 2 };
        if (hidden_was_asked && !PIPELINED.contains(&name)) || statuses.len() > expected {
            wrong.push(format!("{name}: the hidden request was answered: {:?}", codes(&statuses)));
        }
        if statuses.iter().any(|(status, body)| *status == 200 && *body != image.manifest) {
            wrong.push(format!("{name}: answers are mixed up: {:?}", codes(&statuses)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(larder.is_running());
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
}

/// All answers of a connection until it ends.
async fn answers(mut connection: Connection) -> Vec<(u16, Vec<u8>)> {
    let mut answers = Vec::new();
    while let Ok(response) = connection.response(false).await
        && let Ok((status, body, next)) = response.read_and_keep().await
    {
        answers.push((status, body));
        connection = next;
    }
    answers
}

fn codes(statuses: &[(u16, Vec<u8>)]) -> Vec<u16> {
    statuses.iter().map(|(status, _)| *status).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_serves_many_requests() {
    let (_upstream, image, _setup, larder) = started().await;
    let mut connection = Connection::open(larder.address).await.unwrap();
    for n in 0..50 {
        let (method, path) = match n % 4 {
            0 => ("HEAD", "/v2/app/manifests/1"),
            1 => ("GET", "/v2/"),
            2 => ("GET", "/v2/app/manifests/"),
            _ => ("GET", "/v2/app/manifests/1"),
        };
        let bytes = format!("{method} {path} HTTP/1.1\r\nHost: larder\r\n\r\n");
        connection.write(bytes.as_bytes()).await.unwrap();
        let response = connection.response(method == "HEAD").await.unwrap();
        let (status, body, next) = response.read_and_keep().await.unwrap();
        connection = next;
        match n % 4 {
            0 => assert_eq!((status, body.len()), (200, 0)),
            2 => assert_eq!(status, 404),
            3 => assert!(status == 200 && body == image.manifest),
            _ => assert_eq!(status, 200),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_sends_half_a_request_keeps_nobody_else_waiting() {
    let (_upstream, image, _setup, mut larder) = started().await;
    let mut half = Vec::new();
    for n in 0..300 {
        let mut connection = Connection::open(larder.address).await.unwrap();
        connection.write(&b"GET /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\n"[..n % 40]).await.unwrap();
        half.push(connection);
    }
    assert_gives(&get("/v2/app/manifests/1").fetch(larder.address).await, &image.manifest);
    let mut headers = String::from("GET /v2/app/manifests/1 HTTP/1.1\r\nHost: x\r\n");
    (0..20_000).for_each(|n| headers.push_str(&format!("x-{n}: {}\r\n", "y".repeat(50))));
    headers.push_str("\r\n");
    let mut connection = Connection::open(larder.address).await.unwrap();
    if connection.write(headers.as_bytes()).await.is_ok()
        && let Ok(response) = connection.response(false).await
    {
        assert!(matches!(response.status, 400 | 431), "{}", response.status);
    }
    assert!(larder.is_running());
}
