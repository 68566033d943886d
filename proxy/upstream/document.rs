//! What upstream answers, read and checked: manifests and the headers around them.

use super::failure::Kind;
use crate::{
    oci::{self, Digest, MediaType, Reference},
    transport::Fault,
};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header};
use serde::Deserialize;
use tokio::time::Instant;

pub(super) use oci::MANIFEST_SIZE_BYTES_MAX;

/// What upstream says of a manifest without giving it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestHead {
    /// Its digest, where upstream says so in a form that can be verified.
    pub digest: Option<Digest>,
    /// Its media type.
    pub media_type: Option<MediaType>,
    /// Its size in bytes.
    pub size_bytes: Option<u64>,
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManifestBody {
    /// As upstream sent it.
    pub bytes: Bytes,
    /// From the header, else from the document.
    pub media_type: MediaType,
    /// Computed from the bytes.
    pub digest: Digest,
}

/// What upstream says of a blob without giving it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobHead {
    /// Its size in bytes.
    pub size_bytes: u64,
}

/// What of a document is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Shape {
    media_type: Option<String>,
    manifests: Option<serde::de::IgnoredAny>,
}

impl ManifestHead {
    pub(super) fn read(headers: &HeaderMap) -> Self {
        Self {
            digest: content_digest(headers),
            media_type: content_type(headers),
            size_bytes: super::body::content_length(headers),
        }
    }
}

impl ManifestBody {
    /// Reads `bytes` that came with `headers` for `reference`.
    pub(super) fn read(bytes: Bytes, headers: &HeaderMap, reference: &Reference) -> Result<Self, (Kind, String)> {
        let shape =
            shape(&bytes).ok_or_else(|| (Kind::Malformed, "the answer is no manifest: no JSON object".to_owned()))?;
        let media_type = media_type(headers, &shape);
        let digest = match (reference, content_digest(headers)) {
            (Reference::Digest(asked), _) => proven(asked, &bytes)?,
            // Schema 1 is signed, and its digest is not that of the bytes with the signature.
            (Reference::Tag(_), Some(announced)) if !is_schema1(&media_type) => proven(&announced, &bytes)?,
            (Reference::Tag(_), _) => Digest::of(&bytes),
        };
        Ok(Self { bytes, media_type, digest })
    }
}

fn is_schema1(media_type: &MediaType) -> bool {
    matches!(media_type.as_str(), MediaType::DOCKER_SCHEMA1 | MediaType::DOCKER_SCHEMA1_SIGNED)
}

/// `expected`, if the bytes are its content.
fn proven(expected: &Digest, bytes: &[u8]) -> Result<Digest, (Kind, String)> {
    let found = expected.of_same_algorithm(bytes);
    if found == *expected {
        Ok(found)
    } else {
        Err((Kind::Mismatch, format!("the bytes are those of {found} instead of {expected}")))
    }
}

/// `None` for what is no JSON object: an error page, an empty answer, a list.
pub(super) fn is_object(bytes: &[u8]) -> bool {
    shape(bytes).is_some()
}

fn shape(bytes: &[u8]) -> Option<Shape> {
    // Serde would take a list for a struct.
    (bytes.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{')).then_some(())?;
    serde_json::from_slice(bytes).ok()
}

/// From the header; from the document where the header only says that it is JSON, or bytes.
fn media_type(headers: &HeaderMap, shape: &Shape) -> MediaType {
    let stated = content_type(headers);
    let telling = stated.clone().filter(|stated| {
        let generic = ["application/json", "application/octet-stream", "binary/octet-stream"];
        !generic.contains(&stated.as_str()) && !stated.as_str().starts_with("text/")
    });
    let written = || shape.media_type.as_deref().and_then(MediaType::parse);
    let guessed = || {
        let text = if shape.manifests.is_some() { MediaType::OCI_INDEX } else { MediaType::OCI_MANIFEST };
        MediaType::parse(text)
    };
    telling.or_else(written).or_else(guessed).or(stated).expect("the media types of the specification are media types")
}

fn content_type(headers: &HeaderMap) -> Option<MediaType> {
    headers.get(header::CONTENT_TYPE)?.to_str().ok().and_then(MediaType::parse)
}

fn content_digest(headers: &HeaderMap) -> Option<Digest> {
    headers.get("docker-content-digest")?.to_str().ok()?.trim().parse().ok()
}

/// Encoded bytes are not those of the digest, and identity was asked for.
pub(super) fn refuse_encoded(headers: &HeaderMap) -> Result<(), String> {
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let text = value.to_str().unwrap_or("unreadable").trim();
        if !text.is_empty() && !text.eq_ignore_ascii_case("identity") {
            let text: String = text.chars().filter(char::is_ascii_graphic).take(40).collect();
            return Err(format!("the body is encoded ({text}) although that was ruled out"));
        }
    }
    Ok(())
}

/// The whole body of `response`, as long as it is not larger than `size_bytes_max`.
pub(super) async fn collect(
    response: &mut reqwest::Response,
    size_bytes_max: usize,
    deadline: Instant,
) -> Result<Bytes, (Kind, String)> {
    let too_large = || (Kind::Malformed, format!("the answer is larger than {size_bytes_max} bytes"));
    let announced = response.content_length().unwrap_or(0);
    if announced > size_bytes_max as u64 {
        return Err(too_large());
    }
    let mut body = BytesMut::with_capacity(usize::try_from(announced).unwrap_or(0));
    loop {
        match tokio::time::timeout_at(deadline, response.chunk()).await {
            Err(_) => return Err((Kind::Unavailable, format!("no more time after {} bytes", body.len()))),
            Ok(Err(error)) => {
                let detail = format!("{} after {} bytes", Fault::of_body(&error).detail, body.len());
                return Err((Kind::Unavailable, detail));
            }
            Ok(Ok(None)) => return Ok(body.freeze()),
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() > size_bytes_max => return Err(too_large()),
            Ok(Ok(Some(chunk))) => body.extend_from_slice(&chunk),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str, headers: &[(&'static str, &str)], reference: &str) -> Result<ManifestBody, Kind> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        ManifestBody::read(Bytes::copy_from_slice(body.as_bytes()), &map, &reference.parse().unwrap())
            .map_err(|(kind, _)| kind)
    }

    fn media_type(body: &str, content_type: &str) -> Option<String> {
        read(body, &[("content-type", content_type)], "latest").ok().map(|manifest| manifest.media_type.to_string())
    }

    #[test]
    fn the_media_type_is_the_headers_else_the_documents() {
        let written = format!("{{\"mediaType\":\"{}\"}}", MediaType::DOCKER_LIST);
        for (body, content_type, expected) in [
            (written.as_str(), MediaType::OCI_INDEX, MediaType::OCI_INDEX),
            (&written, "application/json; charset=utf-8", MediaType::DOCKER_LIST),
            (&written, "text/plain", MediaType::DOCKER_LIST),
            (&written, "nonsense", MediaType::DOCKER_LIST),
            ("{}", "application/vnd.oci.artifact.manifest.v1+json", "application/vnd.oci.artifact.manifest.v1+json"),
            ("{\"manifests\":[]}", "application/json", MediaType::OCI_INDEX),
            ("{\"config\":{}}", "application/json", MediaType::OCI_MANIFEST),
        ] {
            assert_eq!(media_type(body, content_type).as_deref(), Some(expected), "{body} {content_type}");
        }
    }

    #[test]
    fn what_is_no_json_object_is_no_manifest() {
        for body in ["", " ", "<html></html>", "[]", "[null,null]", "7", "\"x\"", "{", "{\"mediaType\":7}", "{} x"] {
            assert_eq!(read(body, &[], "latest"), Err(Kind::Malformed), "{body}");
        }
    }

    #[test]
    fn the_digest_is_computed_and_what_was_announced_is_verified() {
        let body = "{\"config\":{}}";
        let right = Digest::of(body.as_bytes()).to_string();
        let wrong = Digest::of(b"x").to_string();
        let sha512 = format!("sha512:{}", "a".repeat(128)).parse::<Digest>().unwrap();
        let right512 = sha512.of_same_algorithm(body.as_bytes()).to_string();
        let wrong512 = sha512.to_string();
        for (reference, announced, expected) in [
            (right.as_str(), wrong.as_str(), Ok(&right)),
            (&right512, &right, Ok(&right512)),
            (&wrong, &wrong, Err(Kind::Mismatch)),
            ("latest", &right, Ok(&right)),
            ("latest", "nonsense", Ok(&right)),
            ("latest", &right512, Ok(&right512)),
            ("latest", &wrong, Err(Kind::Mismatch)),
            ("latest", &wrong512, Err(Kind::Mismatch)),
        ] {
            let found = read(body, &[("docker-content-digest", announced)], reference);
            assert_eq!(found.map(|manifest| manifest.digest.to_string()), expected.cloned(), "{reference} {announced}");
        }
        let schema1 = [("docker-content-digest", wrong.as_str()), ("content-type", MediaType::DOCKER_SCHEMA1_SIGNED)];
        assert_eq!(read(body, &schema1, "latest").map(|manifest| manifest.digest.to_string()), Ok(right));
    }
}
