//! What a manifest says of other content. The bytes themselves are never changed and are kept elsewhere.

use super::{Descriptor, MediaType, descriptor};
use serde::Deserialize;

/// A manifest, read as far as larder needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// From the document, else from the `Content-Type` it came with.
    pub media_type: MediaType,
    /// What it lists.
    pub content: Content,
    /// What it refers to (image-spec 1.1, `subject`).
    pub subject: Option<Descriptor>,
}

/// What a manifest lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An image index or manifest list: manifests.
    Index(Vec<Descriptor>),
    /// An image or artifact: its config and its layers.
    Image {
        /// The image's configuration.
        config: Descriptor,
        /// The layers, base first.
        layers: Vec<Descriptor>,
    },
    /// Docker's schema 1, or a document of a kind unknown here: passed on, not looked into.
    Opaque,
}

/// Larger manifests are refused. The specification asks registries to take 4 MiB at least, and containerd reads up to
/// 4 x 1048 x 1048 bytes.
pub const MANIFEST_SIZE_BYTES_MAX: usize = 4 * 1048 * 1048;

/// More descriptors than this in one document are no image.
const DESCRIPTORS_MAX: usize = 20_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Json {
    media_type: Option<String>,
    manifests: Option<Vec<descriptor::Json>>,
    config: Option<descriptor::Json>,
    layers: Option<Vec<descriptor::Json>>,
    subject: Option<descriptor::Json>,
}

impl Manifest {
    /// Reads `bytes` that came with `content_type`. A document that is not understood is [`Content::Opaque`]: bytes
    /// whose digest is right are passed on whatever they say.
    pub fn parse(bytes: &[u8], content_type: &MediaType) -> Self {
        let opaque = || Self { media_type: content_type.clone(), content: Content::Opaque, subject: None };
        let Ok(json) = serde_json::from_slice::<Json>(bytes) else {
            return opaque();
        };
        let media_type = json.media_type.as_deref().and_then(MediaType::parse).unwrap_or_else(|| content_type.clone());
        let count = json.manifests.as_ref().map_or(0, Vec::len) + json.layers.as_ref().map_or(0, Vec::len);
        if count > DESCRIPTORS_MAX {
            return opaque();
        }
        let all = |list: Vec<descriptor::Json>| list.into_iter().filter_map(|json| json.into_descriptor()).collect();
        let subject = json.subject.and_then(descriptor::Json::into_descriptor);
        // A document that has both lists is ambiguous (CVE-2021-41190): nothing is read out of it.
        let content = match (json.manifests, json.config, json.layers) {
            (Some(manifests), None, None) => Content::Index(all(manifests)),
            (None, Some(config), layers) => match config.into_descriptor() {
                Some(config) => Content::Image { config, layers: all(layers.unwrap_or_default()) },
                None => Content::Opaque,
            },
            _ => Content::Opaque,
        };
        Self { media_type, content, subject }
    }

    /// Every descriptor the manifest lists, in its order.
    pub fn descriptors(&self) -> Vec<&Descriptor> {
        match &self.content {
            Content::Index(manifests) => manifests.iter().collect(),
            Content::Image { config, layers } => std::iter::once(config).chain(layers).collect(),
            Content::Opaque => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn parse(text: &str) -> Manifest {
        Manifest::parse(text.as_bytes(), &MediaType::parse(MediaType::OCI_MANIFEST).unwrap())
    }

    #[test]
    fn reads_an_index_and_an_image() {
        let digest = Digest::of(b"x");
        let index = parse(&format!(
            r#"{{"manifests":[{{"digest":"{digest}","size":1,"platform":{{"os":"linux","architecture":"arm64"}}}}]}}"#
        ));
        let Content::Index(manifests) = &index.content else { panic!("not an index: {index:?}") };
        assert_eq!(manifests[0].platform.as_ref().map(ToString::to_string), Some("linux/arm64".to_owned()));

        let image =
            parse(&format!(r#"{{"config":{{"digest":"{digest}"}},"layers":[{{"digest":"{digest}","size":7}}]}}"#));
        assert_eq!(image.descriptors().len(), 2);
    }

    #[test]
    fn an_ambiguous_document_is_opaque() {
        let digest = Digest::of(b"x");
        let both = parse(&format!(r#"{{"manifests":[],"config":{{"digest":"{digest}"}},"layers":[]}}"#));
        assert_eq!(both.content, Content::Opaque);
        assert_eq!(parse("not json").content, Content::Opaque);
        assert_eq!(parse(&"[".repeat(100_000)).content, Content::Opaque);
    }
}
