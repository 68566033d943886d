//! One line of a journal: `crc32c json`, eight hex digits, a space, one JSON object.

use super::{Member, Proof, TagRecord, codec};
use crate::oci::{Digest, MediaType};
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// The longest line there can be: a tag with a full history of sha512 digests has 6 KiB.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Line {
    /// The first line: whose journal it is, and how many bytes it had when it was last compacted.
    Repository { registry: String, repository: String, compacted_bytes: u64 },
    Tag {
        tag: String,
        digest: String,
        checked_at: u64,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        deleted_at: Option<u64>,
        /// Absent: that of the lines before goes on.
        #[serde(skip_serializing_if = "Option::is_none", default)]
        history: Option<Vec<(String, u64)>>,
    },
    Member {
        digest: String,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        media_type: Option<String>,
        size_bytes: u64,
        proven_at: u64,
        proof: Said,
    },
    /// All memberships before this line are gone.
    Withdrawn { at: u64 },
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Said {
    Upstream,
    Import,
}

impl Line {
    pub(super) fn member(digest: &Digest, member: &Member) -> Self {
        Self::Member {
            digest: digest.to_string(),
            media_type: member.media_type.as_ref().map(ToString::to_string),
            size_bytes: member.size_bytes,
            proven_at: codec::nanoseconds(member.proven_at),
            proof: match member.proof {
                Proof::Upstream => Said::Upstream,
                Proof::Import => Said::Import,
            },
        }
    }

    pub(super) fn tag(tag: &str, record: &TagRecord, with_history: bool) -> Self {
        let history =
            || record.history.iter().map(|(digest, since)| (digest.to_string(), codec::nanoseconds(*since))).collect();
        Self::Tag {
            tag: tag.to_owned(),
            digest: record.digest.to_string(),
            checked_at: codec::nanoseconds(record.checked_at),
            deleted_at: record.deleted_at.map(codec::nanoseconds),
            history: with_history.then(history),
        }
    }

    pub(super) fn withdrawn(at: SystemTime) -> Self {
        Self::Withdrawn { at: codec::nanoseconds(at) }
    }

    /// Adds the line to `text`, with its end.
    pub(super) fn write(&self, text: &mut Vec<u8>) {
        let json = serde_json::to_vec(self).expect("strings and numbers are always JSON");
        text.extend_from_slice(format!("{:08x} ", crc32c::crc32c(&json)).as_bytes());
        text.extend_from_slice(&json);
        text.push(b'\n');
    }

    /// `None` if it is damaged. `text` is without its end.
    pub(super) fn read(text: &[u8]) -> Option<Self> {
        let (sum, json) = text.split_at_checked(8)?;
        let sum = u32::from_str_radix(std::str::from_utf8(sum).ok()?, 16).ok()?;
        let json = json.strip_prefix(b" ")?;
        (sum == crc32c::crc32c(json)).then(|| serde_json::from_slice(json).ok())?
    }
}

/// Reads the fields of [`Line::Member`]. `None` if they are not what we write.
pub(super) fn read_member(media_type: Option<&str>, size_bytes: u64, proven_at: u64, proof: Said) -> Option<Member> {
    let media_type = match media_type {
        None => None,
        Some(text) => Some(MediaType::parse(text)?),
    };
    let proof = match proof {
        Said::Upstream => Proof::Upstream,
        Said::Import => Proof::Import,
    };
    Some(Member { media_type, size_bytes, proven_at: codec::time(proven_at), proof })
}

/// Reads a history. `None` if it is not what we write.
pub(super) fn read_history(history: &[(String, u64)]) -> Option<Vec<(Digest, SystemTime)>> {
    history.iter().map(|(digest, since)| Some((digest.parse().ok()?, codec::time(*since)))).collect()
}
