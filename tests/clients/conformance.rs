//! The official conformance suite of the distribution specification, in pull mode, with larder as the registry.

use super::{
    Bed, available,
    program::{command, run},
    upstream::Access,
};
use larder::oci::Digest;
use serde_json::json;
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

#[test]
fn official_conformance_suite_finds_no_failure() {
    if !available(Access::Open, &["conformance"]) {
        return;
    }
    let bed = Bed::open();
    refer_to(&bed);
    let layers: Vec<_> = bed.layout.layers.iter().map(Digest::to_string).collect();
    let folder = tempfile::tempdir().unwrap();
    let mut suite = command("conformance");
    suite.current_dir(&folder);
    suite.env("OCI_REGISTRY", bed.larder.host()).env("OCI_TLS", "disabled").env("OCI_VERSION", "1.1");
    suite.env("OCI_REPO1", "library/toast");
    for writes in ["PUSH", "BLOBS_DELETE", "MANIFESTS_DELETE", "TAGS_DELETE"] {
        suite.env(format!("OCI_API_{writes}"), "false");
    }
    // The same for manifests would demand a header of an answer that the suite does not look at in this mode.
    suite.env("OCI_API_BLOBS_DIGEST_HEADER", "true");
    suite.env("OCI_RO_DATA_TAGS", "1").env("OCI_RO_DATA_MANIFESTS", bed.layout.one.to_string());
    suite.env("OCI_RO_DATA_BLOBS", layers.join(" ")).env("OCI_RO_DATA_REFERRERS", bed.layout.one.to_string());
    // Its exit code says nothing: once its table is printed, it stumbles over its own report in this mode.
    let text = run(&mut suite).text;
    let count = |result: &str| -> u32 {
        let row = text.lines().find(|line| line.trim_start().starts_with(&format!("{result}...")));
        let number = row.and_then(|row| row.split_whitespace().last()).and_then(|number| number.parse().ok());
        number.unwrap_or_else(|| panic!("no row of {result}:\n{text}"))
    };
    assert_eq!((count("FAIL"), count("Error"), count("Skip")), (0, 0, 0), "{text}");
    assert!(count("Pass") >= 16, "fewer than are asked for:\n{text}");
}

/// Gives `library/toast:1` a referrer, by the tag that the specification has for registries without the referrers API,
/// since this upstream is one.
fn refer_to(bed: &Bed) {
    let (manifest_type, index_type) =
        ("application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json");
    let size = |digest: &Digest| bed.layout.read(digest).len();
    let blob = |media_type: &str, digest: &Digest| json!({"mediaType": media_type, "digest": digest.to_string(), "size": size(digest)});
    let referrer = json!({
        "schemaVersion": 2, "mediaType": manifest_type, "artifactType": "application/vnd.larder.taste",
        "config": blob("application/vnd.oci.image.config.v1+json", &bed.layout.config),
        "layers": [blob("application/vnd.oci.image.layer.v1.tar+gzip", &bed.layout.layers[1])],
        "subject": blob(manifest_type, &bed.layout.one),
    });
    let referrer = referrer.to_string();
    let digest = Digest::of(referrer.as_bytes());
    put(bed, &digest.to_string(), manifest_type, &referrer);
    let index = json!({"schemaVersion": 2, "mediaType": index_type, "manifests": [{
        "mediaType": manifest_type, "digest": digest.to_string(), "size": referrer.len(),
        "artifactType": "application/vnd.larder.taste",
    }]});
    put(bed, &bed.layout.one.to_string().replace(':', "-"), index_type, &index.to_string());
}

fn put(bed: &Bed, reference: &str, media_type: &str, body: &str) {
    let url = bed.upstream.url();
    let host = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(host).unwrap();
    write!(
        stream,
        "PUT /v2/library/toast/manifests/{reference} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
         Content-Type: {media_type}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
}
