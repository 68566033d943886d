//! "Error Codes": what a 4xx says.

use super::started;
use crate::rig::{digest_of, get, request};
use serde_json::Value;

/// "Error Codes": a 4xx body, if JSON, MUST hold `errors`, each with a `code` of the listed ones; `code` MUST be upper
/// case letters and underscores.
#[tokio::test]
async fn errors_are_listed_as_the_specification_has_them() {
    let (_, _, _setup, larder) = started().await;
    for (request, code) in [
        (get("/v2/lib/img/manifests/nonesuch"), "MANIFEST_UNKNOWN"),
        (get(format!("/v2/lib/img/blobs/{}", digest_of(b"nonesuch"))), "BLOB_UNKNOWN"),
        (get("/v2/nonesuch/tags/list"), "NAME_UNKNOWN"),
        (get("/v2/lib/img/blobs/sha256:abc"), "DIGEST_INVALID"),
        (get("/v2/Lib/img/manifests/v1"), "NAME_INVALID"),
        (request("DELETE", "/v2/lib/img/manifests/v1"), "UNSUPPORTED"),
        (request("POST", "/v2/lib/img/blobs/uploads/"), "UNSUPPORTED"),
    ] {
        let answer = request.fetch(larder.address).await;
        assert!((400..500).contains(&answer.status), "{}", answer.summary());
        assert_eq!(answer.header("content-type"), Some("application/json"), "{}", answer.summary());
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let errors = body["errors"].as_array().unwrap();
        assert!(!errors.is_empty());
        for error in errors {
            let code = error["code"].as_str().unwrap();
            assert!(code.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'), "{code}");
            assert!(error["message"].is_string(), "{}", answer.summary());
        }
        assert_eq!(errors[0]["code"], code, "{}", answer.summary());
    }
}
