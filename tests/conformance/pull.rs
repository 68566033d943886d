//! "Pull": manifests, blobs and whether they exist.

use super::started;
use crate::rig::content::{INDEX, MANIFEST, index};
use crate::rig::{FaultyUpstream, Image, Setup, digest_of, get, head};

/// "Determining Support": a 200 at `/v2/` says that the specification is implemented (endpoint end-1).
#[tokio::test]
async fn end_1_says_that_the_specification_is_implemented() {
    let (_, _, _setup, larder) = started().await;
    for request in [get("/v2/"), head("/v2/")] {
        let answer = request.fetch(larder.address).await;
        assert_eq!(answer.status, 200, "{}", answer.summary());
        assert_eq!(answer.header("www-authenticate"), None);
    }
}

/// "Pulling manifests": a GET to `/v2/<name>/manifests/<reference>` with tag or digest; found: 200 and the manifest.
#[tokio::test]
async fn a_manifest_is_given_by_tag_and_by_digest_byte_for_byte() {
    let (_, image, _setup, larder) = started().await;
    for reference in ["v1", &image.digest, "v1"] {
        let answer = get(format!("/v2/lib/img/manifests/{reference}")).fetch(larder.address).await;
        assert_eq!(answer.status, 200, "{}", answer.summary());
        assert!(answer.body == image.manifest);
    }
}

/// "Pulling manifests": Content-Type MUST be the media type of the manifest; the digest header SHOULD be there and
/// MUST match the body.
#[tokio::test]
async fn a_manifest_has_its_media_type_and_digest_in_its_headers() {
    let upstream = FaultyUpstream::start().await;
    let images = [Image::new(1, &[10]), Image::new(2, &[10])];
    let index = index(&[(&images[0], "linux", "amd64"), (&images[1], "linux", "arm64")]);
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    let schema2 = bytes::Bytes::from(String::from_utf8(images[0].manifest.to_vec()).unwrap().replace(MANIFEST, docker));
    upstream.hold(|repositories| {
        for (tag, media_type, bytes) in
            [("index", INDEX, &index), ("image", MANIFEST, &images[0].manifest), ("docker", docker, &schema2)]
        {
            repositories.manifest("lib/img", media_type, bytes);
            repositories.tag("lib/img", tag, &digest_of(bytes));
        }
    });
    let setup = Setup::with(&upstream);
    let larder = setup.start().await;
    for (tag, media_type, bytes) in
        [("index", INDEX, &index), ("image", MANIFEST, &images[0].manifest), ("docker", docker, &schema2)]
    {
        let digest = digest_of(bytes);
        // Twice each: as fetched and as held.
        for reference in [tag, tag, &digest, &digest] {
            for request in [get, head] {
                let path = format!("/v2/lib/img/manifests/{reference}");
                let answer = request(path).fetch(larder.address).await;
                assert_eq!(answer.status, 200, "{}", answer.summary());
                assert_eq!(answer.header("content-type"), Some(media_type), "{}", answer.summary());
                assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()), "{}", answer.summary());
                assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
            }
        }
    }
}

/// "Pulling manifests": Accept lists what the client can read; a registry MAY ignore it, and bytes are never rewritten.
#[tokio::test]
async fn accept_changes_no_byte_of_a_manifest() {
    let (_, image, _setup, larder) = started().await;
    for accept in [MANIFEST, INDEX, "*/*", "application/json", "text/html", "nonsense"] {
        let answer = get("/v2/lib/img/manifests/v1").header("Accept", accept).fetch(larder.address).await;
        if answer.status == 200 {
            assert!(answer.body == image.manifest, "{accept}");
            assert_eq!(answer.header("content-type"), Some(MANIFEST));
        } else {
            assert!(matches!(answer.status, 404 | 406), "{accept}: {}", answer.summary());
        }
    }
    for accept in
        [MANIFEST, "*/*", "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json"]
    {
        let answer = get("/v2/lib/img/manifests/v1").header("Accept", accept).fetch(larder.address).await;
        assert_eq!(answer.status, 200, "{accept}: {}", answer.summary());
    }
    assert_eq!(get("/v2/lib/img/manifests/v1").fetch(larder.address).await.status, 200);
}

/// "Pulling manifests": a manifest that is not found MUST be answered with 404.
#[tokio::test]
async fn an_unknown_manifest_is_answered_with_404() {
    let (_, _, _setup, larder) = started().await;
    for reference in ["nonesuch".to_owned(), digest_of(b"nonesuch")] {
        for request in [get, head] {
            let answer = request(format!("/v2/lib/img/manifests/{reference}")).fetch(larder.address).await;
            assert_eq!(answer.status, 404, "{}", answer.summary());
        }
        let answer = get(format!("/v2/lib/img/manifests/{reference}")).fetch(larder.address).await;
        assert_eq!(answer.error().0, "MANIFEST_UNKNOWN", "{}", answer.summary());
    }
}

/// "Pulling manifests": `<reference>` as a tag MUST be at most 128 characters of `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[tokio::test]
async fn the_longest_tag_is_a_tag_and_a_longer_one_is_none() {
    let (upstream, image, _setup, larder) = started().await;
    let longest = "T".repeat(128);
    for tag in [longest.as_str(), "_", "A.b-c_d"] {
        upstream.push("lib/img", tag, &image);
        let answer = get(format!("/v2/lib/img/manifests/{tag}")).fetch(larder.address).await;
        assert_eq!(answer.status, 200, "{tag}: {}", answer.summary());
    }
    let asked = upstream.seen().len();
    for tag in [format!("{longest}T"), "-a".to_owned(), ".a".to_owned(), "a%20b".to_owned(), "a+b".to_owned()] {
        let answer = get(format!("/v2/lib/img/manifests/{tag}")).fetch(larder.address).await;
        assert!(matches!(answer.status, 400 | 404), "{tag}: {}", answer.summary());
    }
    assert_eq!(upstream.seen().len(), asked);
}

/// "Pulling manifests": `<name>` MUST match the grammar of names.
#[tokio::test]
async fn a_name_outside_the_grammar_is_refused() {
    let (upstream, _, _setup, larder) = started().await;
    for name in ["LIB/img", "lib//img", "lib/img-", "lib/.img", "lib/i..g", "lib/i___g", "li b/img"] {
        let answer = get(format!("/v2/{}/manifests/v1", name.replace(' ', "%20"))).fetch(larder.address).await;
        assert!(matches!(answer.status, 400 | 404), "{name}: {}", answer.summary());
        assert!(matches!(answer.error().0.as_str(), "NAME_INVALID" | "NAME_UNKNOWN"), "{name}: {}", answer.summary());
    }
    assert_eq!(upstream.seen().len(), 0);
}

/// "Pulling blobs": a GET to `/v2/<name>/blobs/<digest>`; found: 200 and the blob, whose digest header, if present,
/// MUST match.
#[tokio::test]
async fn a_blob_is_given_whole_with_its_digest() {
    let (_, image, _setup, larder) = started().await;
    for blob in image.layers.iter().chain([&image.config]) {
        let digest = digest_of(blob);
        for _ in 0..2 {
            let answer = get(format!("/v2/lib/img/blobs/{digest}")).fetch(larder.address).await;
            assert_eq!(answer.status, 200, "{}", answer.summary());
            assert!(answer.is_complete() && answer.body == *blob);
            assert_eq!(answer.header("docker-content-digest"), Some(digest.as_str()));
            assert_eq!(answer.header("content-length"), Some(blob.len().to_string().as_str()));
        }
    }
}

/// "Pulling blobs": a blob that is not found MUST be answered with 404.
#[tokio::test]
async fn an_unknown_blob_is_answered_with_404() {
    let (_, _, _setup, larder) = started().await;
    let path = format!("/v2/lib/img/blobs/{}", digest_of(b"nonesuch"));
    assert_eq!(head(&path).fetch(larder.address).await.status, 404);
    let answer = get(&path).fetch(larder.address).await;
    assert_eq!((answer.status, answer.error().0.as_str()), (404, "BLOB_UNKNOWN"), "{}", answer.summary());
}

/// "Pulling blobs": a registry SHOULD support Range as RFC 9110 has it.
#[tokio::test]
async fn a_part_of_a_blob_is_given() {
    let (_, image, _setup, larder) = started().await;
    let path = format!("/v2/lib/img/blobs/{}", digest_of(&image.layers[0]));
    for _ in 0..2 {
        let answer = get(&path).range("bytes=10-19").fetch(larder.address).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &image.layers[0][10..20]), "{}", answer.summary());
        assert_eq!(answer.header("content-range"), Some("bytes 10-19/100000"));
        assert!(get(&path).compare(larder.address, image.layers[0].clone()).await.is_right());
    }
}

/// "Checking if content exists in the registry": HEAD MUST be 200 with the size for what is there, without a body, and
/// 404 for what is not.
#[tokio::test]
async fn head_tells_what_get_would_give() {
    let (_, image, _setup, larder) = started().await;
    let blob = format!("/v2/lib/img/blobs/{}", digest_of(&image.layers[0]));
    for path in ["/v2/lib/img/manifests/v1", &format!("/v2/lib/img/manifests/{}", image.digest), &blob] {
        for _ in 0..2 {
            let (asked, got) = (head(path).fetch(larder.address).await, get(path).fetch(larder.address).await);
            assert_eq!((asked.status, got.status), (200, 200), "{path}");
            assert!(asked.body.is_empty());
            for name in ["content-length", "docker-content-digest", "content-type"] {
                assert_eq!(asked.header(name), got.header(name), "{path}: {name}");
                assert!(asked.header(name).is_some(), "{path}: {name}");
            }
        }
    }
}

/// "Digests": `sha256` MUST be supported, `sha512` MAY; a digest of another algorithm or length is malformed.
#[tokio::test]
async fn a_malformed_digest_is_answered_with_400_or_404() {
    let (upstream, _, _setup, larder) = started().await;
    for digest in ["sha256:abc", "sha256:zz", "sha256", "sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha512:ab"] {
        for collection in ["blobs", "manifests", "referrers"] {
            let answer = get(format!("/v2/lib/img/{collection}/{digest}")).fetch(larder.address).await;
            if collection == "manifests" && !digest.contains(':') {
                continue;
            }
            assert!(matches!(answer.status, 400 | 404), "{collection}/{digest}: {}", answer.summary());
            assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.summary());
        }
    }
    let asked = upstream.seen().iter().filter(|seen| seen.path.contains(':')).count();
    assert_eq!(asked, 0, "a malformed digest went upstream");
}

/// "Digests": `sha512` is a registered algorithm (image-spec, "Registered algorithms"), proven like `sha256`.
#[tokio::test]
async fn a_blob_is_given_by_its_sha512() {
    use sha2::Digest as _;
    let (upstream, image, _setup, larder) = started().await;
    let bytes = &image.layers[0];
    let hex: String = sha2::Sha512::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let digest = format!("sha512:{hex}");
    upstream.hold(|repositories| repositories.blob_as("lib/img", &digest, bytes));
    for _ in 0..2 {
        let answer = get(format!("/v2/lib/img/blobs/{digest}")).fetch(larder.address).await;
        assert_eq!((answer.status, answer.header("docker-content-digest")), (200, Some(digest.as_str())));
        assert!(answer.is_complete() && answer.body == *bytes);
    }
    let wrong = format!("sha512:{}", "0".repeat(128));
    upstream.hold(|repositories| repositories.blob_as("lib/img", &wrong, bytes));
    let verdict = get(format!("/v2/lib/img/blobs/{wrong}")).compare(larder.address, bytes.clone()).await;
    assert!(!(verdict.status == 200 && verdict.complete), "{verdict:?}");
}

/// "Pulling manifests" and "Pushing Manifests": manifests of 4 MiB have to work.
#[tokio::test]
async fn a_manifest_of_four_mebibytes_is_given() {
    let (upstream, _, _setup, larder) = started().await;
    let start = format!("{{\"schemaVersion\":2,\"mediaType\":\"{INDEX}\",\"manifests\":[],\"annotations\":{{\"a\":\"");
    let manifest = format!("{start}{}\"}}}}", "x".repeat((4 << 20) - start.len() - 3));
    let manifest = bytes::Bytes::from(manifest);
    assert_eq!(manifest.len(), 4 << 20);
    upstream.hold(|repositories| {
        repositories.manifest("lib/img", INDEX, &manifest);
        repositories.tag("lib/img", "large", &digest_of(&manifest));
    });
    for _ in 0..2 {
        let verdict = get("/v2/lib/img/manifests/large").compare(larder.address, manifest.clone()).await;
        assert!(verdict.is_right(), "{verdict:?}");
    }
}
