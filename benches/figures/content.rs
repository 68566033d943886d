//! What the origin serves: blobs of random bytes and one image manifest, made anew by every run from a fixed seed, so
//! that runs can be compared and no layer of any system can compress or guess them.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};

/// The repository all figures pull from.
pub const REPOSITORY: &str = "lib/img";
/// Its tag.
pub const TAG: &str = "v1";

/// Bytes and the digest they are asked by.
#[derive(Debug, Clone)]
pub struct Content {
    /// `sha256:` and 64 hex digits.
    pub digest: String,
    /// What a caller must receive, no more and no less.
    pub bytes: Bytes,
    /// The `Content-Type` it is served with.
    pub media_type: &'static str,
}

impl Content {
    /// `size_bytes` random bytes; the same for the same seed.
    pub fn blob(seed: u64, size_bytes: usize) -> Self {
        let mut bytes = vec![0; size_bytes];
        fastrand::Rng::with_seed(seed).fill(&mut bytes);
        Self::new(bytes.into(), "application/octet-stream")
    }

    /// An image manifest over `layers`, about as large as those people pull.
    pub fn manifest(layers: &[&Self]) -> Self {
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let descriptor = |media_type: &str, content: &Self| serde_json::json!({ "mediaType": media_type, "digest": content.digest, "size": content.bytes.len() });
        let config = Self::blob(u64::MAX, 4096);
        let layers: Vec<_> =
            layers.iter().map(|layer| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", layer)).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2,
            "mediaType": media_type,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers,
        });
        Self::new(manifest.to_string().into(), media_type)
    }

    /// Where a registry serves it: `blobs` or `manifests` in the repository, by digest.
    pub fn path(&self) -> String {
        let kind = if self.media_type == "application/octet-stream" { "blobs" } else { "manifests" };
        format!("/v2/{REPOSITORY}/{kind}/{}", self.digest)
    }

    fn new(bytes: Bytes, media_type: &'static str) -> Self {
        Self { digest: digest(&bytes), bytes, media_type }
    }
}

/// The digest of `bytes` as registries write it.
pub fn digest(bytes: &[u8]) -> String {
    written(Sha256::new_with_prefix(bytes))
}

/// The digest a running hash has come to.
pub fn written(hash: Sha256) -> String {
    use std::fmt::Write as _;
    hash.finalize().iter().fold(String::from("sha256:"), |mut text, byte| {
        let _ = write!(text, "{byte:02x}"); // writing to a String cannot fail
        text
    })
}
