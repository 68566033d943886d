//! A pointer to content.

use super::{Digest, Platform};
use serde::Deserialize;

/// A descriptor (image-spec 1.1, "OCI Content Descriptors"): what larder reads of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Descriptor {
    /// As the manifest has it.
    pub media_type: String,
    /// The identity of the content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size_bytes: u64,
    /// What it runs on, where an index says so.
    pub platform: Option<Platform>,
    /// What kind of artifact it is, where a referrers list says so.
    pub artifact_type: Option<String>,
}

/// The JSON form, in which a digest is still text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Json {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: u64,
    platform: Option<serde_json::Value>,
    artifact_type: Option<String>,
}

impl Json {
    /// `None` for a digest nobody here could verify. A platform that is not understood counts as none.
    pub(super) fn into_descriptor(self) -> Option<Descriptor> {
        Some(Descriptor {
            media_type: self.media_type,
            digest: self.digest.parse().ok()?,
            size_bytes: self.size,
            platform: self.platform.and_then(|value| serde_json::from_value(value).ok()),
            artifact_type: self.artifact_type,
        })
    }
}
