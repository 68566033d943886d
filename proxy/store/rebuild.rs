//! The index from the disk alone.

use super::{blob, codec::BlobRow, index::Edit, journal, layout::Layout, state::State};
use crate::oci::{Algorithm, Digest};
use std::{fs, io, sync::atomic::Ordering, time::SystemTime};

impl State {
    /// Builds the index from what lies in the directory, and counts its size. The blobs are not hashed: their names say
    /// whose content they are. A disk too full for an index leaves it lost, and answers come from the records.
    pub(super) fn rebuild(&self) -> io::Result<()> {
        let blobs = blobs(&self.layout)?;
        sweep_checks(&self.layout);
        self.size_bytes.store(blobs.iter().map(|(_, row)| row.size_bytes).sum(), Ordering::Relaxed);
        let mut lines_damaged = 0;
        let built = self.index.build(|edit| {
            for (digest, row) in &blobs {
                edit.set_blob(digest, row)?;
            }
            lines_damaged = self.add_records(edit)?;
            Ok(())
        });
        self.lines_damaged.store(lines_damaged, Ordering::Relaxed);
        if built.is_ok() {
            tracing::info!(blobs = blobs.len(), lines_damaged, "built the index from the records");
        }
        Ok(())
    }

    fn add_records(&self, edit: &mut Edit<'_>) -> Result<u64, redb::Error> {
        let mut lines_damaged = 0;
        for (place, path) in journal::list(&self.layout)? {
            if self.ending.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::Interrupted).into());
            }
            let records = match journal::read(&path) {
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
}

/// Removes checks without a blob: those of a crash between the two. Nothing depends on it.
fn sweep_checks(layout: &Layout) {
    let shards = [Algorithm::Sha256, Algorithm::Sha512]
        .into_iter()
        .filter_map(|algorithm| Some((algorithm, fs::read_dir(layout.all_checks(algorithm)).ok()?)));
    for (algorithm, shard) in
        shards.flat_map(|(algorithm, shards)| shards.flatten().map(move |shard| (algorithm, shard)))
    {
        for entry in fs::read_dir(shard.path()).into_iter().flatten().flatten() {
            let hex = entry.file_name().to_string_lossy().into_owned();
            let digest = format!("{}:{hex}", algorithm.as_str()).parse::<Digest>();
            if digest.is_ok_and(|digest| entry.path() == layout.checks(&digest) && !layout.blob(&digest).exists()) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
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
