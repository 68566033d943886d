//! What kind of document a manifest is.

use std::{fmt, sync::Arc};

/// The media type of a manifest or blob, kept exactly as upstream gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MediaType(Arc<str>);

impl MediaType {
    /// image-spec: an image manifest.
    pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// image-spec: an image index.
    pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// Docker's image manifest, version 2, schema 2.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's manifest list.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's signed schema 1, which only old runtimes take.
    pub const DOCKER_SCHEMA1_SIGNED: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    /// Docker's unsigned schema 1.
    pub const DOCKER_SCHEMA1: &str = "application/vnd.docker.distribution.manifest.v1+json";

    /// All that upstreams are asked for, whatever the caller can read: GHCR answers 404 for an index that the Accept
    /// header does not name.
    pub const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
        application/vnd.oci.image.manifest.v1+json, \
        application/vnd.docker.distribution.manifest.list.v2+json, \
        application/vnd.docker.distribution.manifest.v2+json, \
        application/vnd.docker.distribution.manifest.v1+prettyjws;q=0.2, \
        application/vnd.docker.distribution.manifest.v1+json;q=0.1, */*;q=0.1";

    /// Takes a `Content-Type` value without its parameters. `None` if it is not printable ASCII of at most 255
    /// characters with a slash in it (RFC 6838), since it is sent on in a header.
    pub fn parse(content_type: &str) -> Option<Self> {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        let printable = essence.bytes().all(|b| b.is_ascii_graphic());
        (printable && essence.contains('/') && essence.len() <= 255).then(|| Self(Arc::from(essence)))
    }

    /// Whether it is an image index or a manifest list.
    pub fn is_index(&self) -> bool {
        matches!(self.as_str(), Self::OCI_INDEX | Self::DOCKER_LIST)
    }

    /// Whether it is one of the media types of manifests known here.
    pub fn is_manifest(&self) -> bool {
        self.is_index()
            || matches!(
                self.as_str(),
                Self::OCI_MANIFEST | Self::DOCKER_MANIFEST | Self::DOCKER_SCHEMA1 | Self::DOCKER_SCHEMA1_SIGNED
            )
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_parameters_and_refuses_what_cannot_stand_in_a_header() {
        let parsed = |text| MediaType::parse(text).map(|m| m.to_string());
        assert_eq!(parsed("application/json; charset=utf-8"), Some("application/json".to_owned()));
        for text in ["", "json", "a/\r\nb", "a/b\0", &format!("a/{}", "b".repeat(300))] {
            assert_eq!(parsed(text), None, "{text:?}");
        }
    }
}
