//! What a fill writes with: a private file of the store and the digest in the making. Blocking.

use crate::{
    oci::{Digest, Hasher},
    store::{self, Blob, Store, Writer},
};
use bytes::Bytes;
use std::{fs::File, sync::Arc};

pub(super) struct Ink {
    writer: Writer,
    hasher: Hasher,
    digest: Digest,
}

impl Ink {
    pub(super) fn new(store: &Store, digest: Digest) -> Result<Self, store::Error> {
        Ok(Self { writer: store.writer(&digest)?, hasher: digest.hasher(), digest })
    }

    pub(super) fn file(&self) -> Arc<File> {
        self.writer.file()
    }

    pub(super) fn write(mut self, batch: &[Bytes]) -> Result<Self, store::Error> {
        for bytes in batch {
            self.hasher.update(bytes);
            self.writer.append(bytes)?;
        }
        Ok(self)
    }

    /// The file to commit, if its bytes are those of the digest; else what they are of.
    pub(super) fn prove(self) -> Result<Proven, Digest> {
        let found = self.hasher.finish();
        if found == self.digest { Ok(Proven(self.writer)) } else { Err(found) }
    }
}

/// A file whose bytes are those of the digest.
pub(super) struct Proven(Writer);

impl Proven {
    pub(super) fn commit(self) -> Result<Blob, store::Error> {
        self.0.commit()
    }
}
