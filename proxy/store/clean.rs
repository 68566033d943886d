//! The marker of an orderly end, without which the index is not trusted.
//!
//! It names the index by length and checksum, since redb does not notice when bits of a cleanly closed file flip, and
//! what the index was built from by names, sizes and times, so that a directory restored or tidied by hand is read anew.

use super::layout::{self, Layout};
use crate::oci::Algorithm;
use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::Path,
};

/// Whether the index on disk is the one that an orderly end left, over the files it left. Takes the marker away: from now
/// on the end is not orderly until it has come.
pub(super) fn take(layout: &Layout) -> io::Result<bool> {
    let found = fs::read(layout.clean_marker()).unwrap_or_default();
    let trusted = !found.is_empty() && describe(layout).is_ok_and(|expected| expected.as_bytes() == found);
    if layout::remove_file(&layout.clean_marker())? {
        layout::sync_directory(&layout.directory)?;
    }
    Ok(trusted)
}

/// Leaves the marker.
pub(super) fn leave(layout: &Layout) -> io::Result<()> {
    let text = describe(layout)?;
    let temporary = layout.fills().join("clean");
    let mut file = layout::create_file(&temporary)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&temporary, layout.clean_marker())?;
    layout::sync_directory(&layout.directory)
}

fn describe(layout: &Layout) -> io::Result<String> {
    let (sum, length) = checksum(&layout.index())?;
    Ok(format!("larder clean 1\nindex {length} {sum:08x}\nsources {:08x}\n", sources(layout)?))
}

fn checksum(path: &Path) -> io::Result<(u32, u64)> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1024 * 1024];
    let (mut sum, mut length) = (0, 0);
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok((sum, length)),
            read => {
                sum = crc32c::crc32c_append(sum, &buffer[..read]);
                length += read as u64;
            }
        }
    }
}

/// One number for all journals and for the directories of blobs, whose time changes with the names in them.
fn sources(layout: &Layout) -> io::Result<u32> {
    let directories =
        [(layout.records(), true), (layout.blobs(Algorithm::Sha256), false), (layout.blobs(Algorithm::Sha512), false)];
    let mut sum = 0;
    for (directory, with_length) in directories {
        let mut entries = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            let length = if with_length { metadata.len() } else { 0 };
            entries.push((entry.file_name(), length, metadata.mtime(), metadata.mtime_nsec()));
        }
        entries.sort_unstable();
        sum = crc32c::crc32c_append(sum, format!("{entries:?}").as_bytes());
    }
    Ok(sum)
}
