//! Values as bytes: the rows of the index.

use super::{Member, Proof, TagRecord, tag::HISTORY_MAX};
use crate::oci::{Digest, MediaType};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970; times before it become 1970.
pub(super) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

pub(super) fn time(nanoseconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanoseconds)
}

/// A tag, and when it was last written to its journal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TagRow {
    pub(super) record: TagRecord,
    pub(super) written_at: SystemTime,
}

/// A blob's size and last use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct BlobRow {
    pub(super) size_bytes: u64,
    pub(super) used_at: SystemTime,
}

/// What can be the value of a row.
pub(super) trait Row: Sized {
    fn write(&self, to: &mut Vec<u8>);
    fn read(from: &mut &[u8]) -> Option<Self>;
}

/// The value of a row: a checksum over key and value, since redb neither detects bit rot nor that a value stands at a
/// key that is not its own.
pub(super) fn seal<R: Row>(key: &[u8], row: &R) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    row.write(&mut bytes);
    let sum = checksum(key, &bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// `None` if it is damaged.
pub(super) fn unseal<R: Row>(key: &[u8], bytes: &[u8]) -> Option<R> {
    let (sum, mut value) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != checksum(key, value) {
        return None;
    }
    let row = R::read(&mut value)?;
    value.is_empty().then_some(row)
}

fn checksum(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// A digest as a key: its algorithm and its bytes.
pub(super) fn digest_key(digest: &Digest, to: &mut Vec<u8>) {
    to.push(match digest {
        Digest::Sha256(_) => 0,
        Digest::Sha512(_) => 1,
    });
    to.extend_from_slice(digest.bytes());
}

pub(super) fn digest_from_key(from: &mut &[u8]) -> Option<Digest> {
    match take::<1>(from)? {
        [0] => Some(Digest::Sha256(take(from)?)),
        [1] => Some(Digest::Sha512(take(from)?)),
        _ => None,
    }
}

fn take<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*head)
}

fn write_number(number: u64, to: &mut Vec<u8>) {
    to.extend_from_slice(&number.to_le_bytes());
}

fn read_number(from: &mut &[u8]) -> Option<u64> {
    take(from).map(u64::from_le_bytes)
}

impl Row for BlobRow {
    fn write(&self, to: &mut Vec<u8>) {
        write_number(self.size_bytes, to);
        write_number(nanoseconds(self.used_at), to);
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        Some(Self { size_bytes: read_number(from)?, used_at: time(read_number(from)?) })
    }
}

impl Row for Member {
    fn write(&self, to: &mut Vec<u8>) {
        write_number(self.size_bytes, to);
        write_number(nanoseconds(self.proven_at), to);
        to.push(match self.proof {
            Proof::Upstream => 0,
            Proof::Import => 1,
        });
        to.extend_from_slice(self.media_type.as_ref().map_or("", MediaType::as_str).as_bytes());
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let size_bytes = read_number(from)?;
        let proven_at = time(read_number(from)?);
        let proof = match take::<1>(from)? {
            [0] => Proof::Upstream,
            [1] => Proof::Import,
            _ => return None,
        };
        let text = std::str::from_utf8(std::mem::take(from)).ok()?;
        let media_type = if text.is_empty() { None } else { Some(MediaType::parse(text)?) };
        Some(Self { media_type, size_bytes, proven_at, proof })
    }
}

impl Row for TagRow {
    fn write(&self, to: &mut Vec<u8>) {
        digest_key(&self.record.digest, to);
        write_number(nanoseconds(self.record.checked_at), to);
        // 0 is 1970, when no tag was deleted.
        write_number(self.record.deleted_at.map_or(0, nanoseconds), to);
        write_number(nanoseconds(self.written_at), to);
        for (digest, since) in &self.record.history {
            digest_key(digest, to);
            write_number(nanoseconds(*since), to);
        }
    }

    fn read(from: &mut &[u8]) -> Option<Self> {
        let digest = digest_from_key(from)?;
        let checked_at = time(read_number(from)?);
        let deleted_at = Some(read_number(from)?).filter(|at| *at != 0).map(time);
        let written_at = time(read_number(from)?);
        let mut history = Vec::new();
        while !from.is_empty() && history.len() < HISTORY_MAX {
            history.push((digest_from_key(from)?, time(read_number(from)?)));
        }
        Some(Self { record: TagRecord { digest, checked_at, deleted_at, history }, written_at })
    }
}
