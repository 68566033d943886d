//! Bytes to pull, and what they are called.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fmt::Write as _;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Bytes without a pattern; the same seed gives the same bytes.
pub fn noise(seed: u64, length: usize) -> Bytes {
    let mut bytes = vec![0; length];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    Bytes::from(bytes)
}

/// `sha256:` and the hash.
pub fn digest_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::from("sha256:"), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A descriptor (image-spec, "OCI Content Descriptors").
pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len() })
}

/// An image of one platform: a configuration, layers and the manifest that lists them.
#[derive(Clone)]
pub struct Image {
    pub config: Bytes,
    pub layers: Vec<Bytes>,
    pub manifest: Bytes,
    pub digest: String,
}

impl Image {
    /// An image with one layer for each length.
    pub fn new(seed: u64, lengths: &[usize]) -> Self {
        let config = json!({ "architecture": "amd64", "os": "linux", "rootfs": { "type": "layers", "diff_ids": [] }, "seed": seed });
        let layers = lengths.iter().zip(1..).map(|(length, n)| noise(seed * 1_000 + n, *length)).collect();
        Self::of(Bytes::from(config.to_string()), layers, None)
    }

    /// An image without layers whose manifest has a subject, as a signature or an SBOM has.
    pub fn referrer(subject: &Value, artifact_type: &str) -> Self {
        let config = Bytes::from_static(b"{}");
        Self::of(config, Vec::new(), Some((subject, artifact_type)))
    }

    fn of(config: Bytes, layers: Vec<Bytes>, subject: Option<(&Value, &str)>) -> Self {
        let mut manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": descriptor(CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(LAYER, layer)).collect::<Vec<_>>(),
        });
        if let Some((subject, artifact_type)) = subject {
            manifest["subject"] = subject.clone();
            manifest["artifactType"] = json!(artifact_type);
        }
        let manifest = Bytes::from(serde_json::to_vec_pretty(&manifest).unwrap());
        Self { config, layers, digest: digest_of(&manifest), manifest }
    }

    /// The descriptor of its manifest.
    pub fn descriptor(&self) -> Value {
        descriptor(MANIFEST, &self.manifest)
    }
}

/// An image index over images for the given platforms, in order.
pub fn index(images: &[(&Image, &str, &str)]) -> Bytes {
    let manifests = images.iter().map(|(image, os, architecture)| {
        let mut descriptor = image.descriptor();
        descriptor["platform"] = json!({ "os": os, "architecture": architecture });
        descriptor
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests.collect::<Vec<_>>() });
    Bytes::from(serde_json::to_vec_pretty(&index).unwrap())
}
