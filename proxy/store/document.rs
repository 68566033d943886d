//! Answers of upstream that are neither manifest nor blob: lists of tags and of referrers, kept for when it is away.
//!
//! They are not content and can be asked for again, so they are not synced; a checksum finds the ones that a power
//! failure tore.

use super::{Error, Store, codec, layout, layout::Place};
use crate::oci::{Digest, MediaType, Registry, Repository};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::SystemTime,
};

/// The largest body.
const BODY_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// The largest description in front of the body.
const HEAD_BYTES_MAX: u64 = 64 * 1024;
/// How many are kept; beyond it the oldest go. They are a convenience and must not fill the disk.
const DOCUMENTS_MAX: usize = 10_000;

/// An answer of upstream that is kept for when it is away.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// Its `Content-Type`.
    pub media_type: MediaType,
    /// Its body, at most 4 MiB.
    pub bytes: Bytes,
    /// Headers that belong to it, at most 60 KiB.
    pub headers: Vec<(String, String)>,
    /// When upstream gave it.
    pub fetched_at: SystemTime,
}

impl Store {
    /// An answer that was kept. `None` if it is damaged.
    ///
    /// # Errors
    /// What the system says.
    pub fn document(
        &self,
        registry: &Registry,
        repository: &Repository,
        name: &str,
    ) -> Result<Option<Document>, Error> {
        read(&self.document_path(registry, repository, name)).map_err(Error::io("reading a document"))
    }

    /// Keeps an answer.
    ///
    /// # Errors
    /// [`Error::TooLarge`] beyond 4 MiB, [`Error::Full`] among others.
    pub fn set_document(
        &self,
        registry: &Registry,
        repository: &Repository,
        name: &str,
        document: Document,
    ) -> Result<(), Error> {
        let _open = self.state.enter()?;
        let path = self.document_path(registry, repository, name);
        let _one = self.state.lock_place(&Place::of(registry, repository));
        let number = self.state.next_fill.fetch_add(1, Ordering::Relaxed);
        let is_new = !path.exists();
        write(&self.state.layout.fills().join(number.to_string()), &path, &document)?;
        if is_new && self.state.documents.fetch_add(1, Ordering::Relaxed) >= DOCUMENTS_MAX {
            let left = thin_out(&self.state.layout.documents()).map_err(Error::io("removing documents"))?;
            self.state.documents.store(left, Ordering::Relaxed);
        }
        Ok(())
    }

    fn document_path(&self, registry: &Registry, repository: &Repository, name: &str) -> PathBuf {
        path(&self.state.layout.documents(), &Place::of(registry, repository), name)
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    media_type: String,
    headers: Vec<(String, String)>,
    fetched_at: u64,
}

fn path(directory: &Path, place: &Place, name: &str) -> PathBuf {
    let mut hasher = Digest::Sha256([0; 32]).hasher();
    hasher.update(&place.0);
    hasher.update(name.as_bytes());
    directory.join(hasher.finish().hex())
}

/// `None` if there is none or it is damaged.
fn read(path: &Path) -> io::Result<Option<Document>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.len() <= BODY_BYTES_MAX + HEAD_BYTES_MAX => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    }
    Ok(parse(&Bytes::from(fs::read(path)?)))
}

fn parse(bytes: &Bytes) -> Option<Document> {
    let (sum, rest) = bytes.split_first_chunk::<4>()?;
    if u32::from_le_bytes(*sum) != crc32c::crc32c(rest) {
        return None;
    }
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (head, _) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    let body = bytes.slice(8 + head.len()..);
    let head: Head = serde_json::from_slice(head).ok()?;
    Some(Document {
        media_type: MediaType::parse(&head.media_type)?,
        bytes: body,
        headers: head.headers,
        fetched_at: codec::time(head.fetched_at),
    })
}

fn write(temporary: &Path, path: &Path, document: &Document) -> Result<(), Error> {
    let too_large = |what, size, size_bytes_max| Error::TooLarge { what, size_bytes: size as u64, size_bytes_max };
    if document.bytes.len() as u64 > BODY_BYTES_MAX {
        return Err(too_large("a document", document.bytes.len(), BODY_BYTES_MAX));
    }
    let head = Head {
        media_type: document.media_type.to_string(),
        headers: document.headers.clone(),
        fetched_at: codec::nanoseconds(document.fetched_at),
    };
    let head = serde_json::to_vec(&head).expect("strings and numbers are always JSON");
    let length = u32::try_from(head.len()).unwrap_or(u32::MAX);
    if u64::from(length) + 8 > HEAD_BYTES_MAX {
        return Err(too_large("the head of a document", head.len(), HEAD_BYTES_MAX - 8));
    }
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(&head);
    bytes.extend_from_slice(&document.bytes);
    let sum = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    let put = || {
        io::Write::write_all(&mut layout::create_file(temporary)?, &bytes)?;
        fs::rename(temporary, path)
    };
    put().map_err(|error| {
        let _ = layout::remove_file(temporary);
        Error::io("writing a document")(error)
    })
}

/// Removes the oldest quarter. Says how many are left.
fn thin_out(directory: &Path) -> io::Result<usize> {
    let mut documents = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        documents.push((entry.metadata()?.modified()?, entry.path()));
    }
    documents.sort_unstable();
    let surplus = documents.len() / 4;
    for (_, path) in &documents[..surplus] {
        layout::remove_file(path)?;
    }
    Ok(documents.len() - surplus)
}
