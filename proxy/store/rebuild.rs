//! The index from the disk alone.

use super::{
    blob,
    codec::BlobRow,
    index::Edit,
    journal,
    layout::{Layout, Place},
    state::State,
};
use crate::oci::{Algorithm, Digest};
use std::{fs, io, path::Path, sync::atomic::Ordering, time::SystemTime};

impl State {
    /// Builds the index from what lies in the directory, and counts its size. The blobs are not hashed: their names say
    /// whose content they are. A disk too full for an index leaves it lost, and answers come from the records.
    pub(super) fn rebuild(&self) -> io::Result<()> {
        let blobs = blobs(&self.layout)?;
        self.size_bytes.store(blobs.iter().map(|(_, row)| row.size_bytes).sum(), Ordering::Relaxed);
        let mut lines_damaged = 0;
        let built = self.index.build(|edit| {
            for (digest, row) in &blobs {
                edit.set_blob(digest, row)?;
            }
            lines_damaged = add_records(&self.layout.records(), edit)?;
            Ok(())
        });
        self.lines_damaged.store(lines_damaged, Ordering::Relaxed);
        if built.is_ok() {
            tracing::info!(blobs = blobs.len(), lines_damaged, "built the index from the records");
        }
        Ok(())
    }
}

fn add_records(directory: &Path, edit: &mut Edit<'_>) -> Result<u64, redb::Error> {
    let mut lines_damaged = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let Some(place) = entry.file_name().to_str().and_then(Place::from_file_name) else { continue };
        let records = match journal::read(&entry.path()) {
            Ok(Some(records)) => records,
            Ok(None) => continue,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a journal cannot be read");
                lines_damaged += 1;
                continue;
            }
        };
        lines_damaged += records.lines_damaged;
        for (digest, member) in &records.members {
            edit.set_member(&place, digest, member)?;
        }
        for (tag, row) in &records.tags {
            edit.set_tag(&place, tag, row)?;
        }
    }
    Ok(lines_damaged)
}

/// All blobs that lie in the directory. Removes what a power failure left empty.
pub(super) fn blobs(layout: &Layout) -> io::Result<Vec<(Digest, BlobRow)>> {
    let now = SystemTime::now();
    let mut blobs = Vec::new();
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512] {
        for shard in fs::read_dir(layout.blobs(algorithm))? {
            let shard = shard?;
            if !shard.file_type()?.is_dir() {
                continue;
            }
            for entry in fs::read_dir(shard.path())? {
                let entry = entry?;
                let name = entry.file_name();
                let Some(hex) = name.to_str() else { continue };
                let Ok(digest) = format!("{}:{hex}", algorithm.as_str()).parse::<Digest>() else { continue };
                let metadata = entry.metadata()?;
                if !metadata.is_file() || entry.path() != layout.blob(&digest) {
                    continue;
                }
                if metadata.len() == 0 && digest != digest.of_same_algorithm(b"") {
                    blob::remove(&entry.path())?;
                    continue;
                }
                // The access time is exact to a day where the file system keeps it only roughly (relatime).
                let modified = metadata.modified()?;
                let used_at = metadata.accessed().unwrap_or(modified).max(modified).min(now);
                blobs.push((digest, BlobRow { size_bytes: metadata.len(), used_at }));
            }
        }
    }
    Ok(blobs)
}
