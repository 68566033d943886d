//! What upstream may be unable to tell again, one append-only file for each repository: the truth behind the index.
//!
//! Each line carries its own checksum, so that a torn or damaged one costs itself and no other. Nothing here locks: the
//! store lets one writer at a time to a repository.

use super::{
    Error, Member, TagRecord,
    codec::{self, TagRow},
    layout::{self, Layout, Place},
    record::{self, LINE_BYTES_MAX, Line},
};
use crate::oci::{Digest, Registry, Repository, Tag};
use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

/// Below it rewriting saves nothing worth a sync.
const COMPACT_BYTES_MIN: u64 = 64 * 1024;

/// Whether an append waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// It must not be lost.
    Now,
    /// It may be lost with the power.
    Later,
}

/// What the journal of one repository says.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// Whose it is, unless its first line is damaged.
    pub(super) names: Option<(Registry, Repository)>,
    pub(super) members: HashMap<Digest, Member>,
    pub(super) tags: HashMap<Tag, TagRow>,
    /// Lines that were torn or damaged.
    pub(super) lines_damaged: u64,
}

/// The journal of one repository.
pub(super) struct Journal<'a> {
    pub(super) layout: &'a Layout,
    pub(super) place: Place,
    pub(super) registry: &'a Registry,
    pub(super) repository: &'a Repository,
}

impl Journal<'_> {
    /// Adds lines: all of them are there when it returns, or it fails.
    pub(super) fn append(&self, lines: &[Line], sync: Sync) -> Result<(), Error> {
        let path = self.layout.journal(&self.place);
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io("opening a journal"))?;
        let length = file.metadata().map_err(Error::io("opening a journal"))?.len();
        let mut text = Vec::new();
        if length == 0 {
            self.header(0).write(&mut text);
        } else {
            // A line torn by a crash must not swallow ours.
            let mut last = [0];
            file.read_exact_at(&mut last, length - 1).map_err(Error::io("reading a journal"))?;
            if last != *b"\n" {
                text.push(b'\n');
            }
        }
        for line in lines {
            line.write(&mut text);
        }
        if let Err(error) = (&file).write_all(&text) {
            // What was written of it, on a full disk, would only be skipped later.
            let _ = file.set_len(length);
            return Err(Error::io("writing a journal")(error));
        }
        if sync == Sync::Now {
            file.sync_data().map_err(Error::io("syncing a journal"))?;
            if length == 0 {
                layout::sync_directory(&self.layout.records()).map_err(Error::io("syncing the records"))?;
            }
        }
        self.compact_if_worth_it(&file, length + text.len() as u64);
        Ok(())
    }

    fn header(&self, compacted_bytes: u64) -> Line {
        Line::Repository {
            registry: self.registry.as_str().to_owned(),
            repository: self.repository.as_str().to_owned(),
            compacted_bytes,
        }
    }

    /// The lines are safe already: a failure to rewrite them is no failure.
    fn compact_if_worth_it(&self, file: &File, length: u64) {
        if length <= COMPACT_BYTES_MIN {
            return;
        }
        let mut head = [0; 1024];
        let read = file.read_at(&mut head, 0).unwrap_or_default();
        let first = head[..read].split(|b| *b == b'\n').next().unwrap_or_default();
        let worth_it = match Line::read(first) {
            Some(Line::Repository { compacted_bytes, .. }) => length > compacted_bytes.saturating_mul(2),
            _ => true,
        };
        if worth_it && let Err(error) = self.compact() {
            tracing::warn!(error = &error as &dyn std::error::Error, "a journal could not be compacted");
        }
    }

    /// Writes anew what still counts, in a new file that then takes the old one's name.
    pub(super) fn compact(&self) -> Result<(), Error> {
        let Some(records) = self.read()? else { return Ok(()) };
        let mut body = Vec::new();
        for (digest, member) in &records.members {
            Line::member(digest, member).write(&mut body);
        }
        for (tag, row) in &records.tags {
            Line::tag(tag.as_str(), &row.record, true).write(&mut body);
        }
        let mut text = Vec::new();
        self.header(body.len() as u64).write(&mut text);
        text.append(&mut body);
        let temporary = self.layout.fills().join(format!("journal-{}", self.place.hex()));
        let replace = || {
            let mut file = layout::create_file(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, self.layout.journal(&self.place))?;
            layout::sync_directory(&self.layout.records())
        };
        replace().map_err(|error| {
            let _ = layout::remove_file(&temporary);
            Error::io("compacting a journal")(error)
        })
    }

    /// All it says. `None` if the repository has none.
    pub(super) fn read(&self) -> Result<Option<Records>, Error> {
        read(&self.layout.journal(&self.place)).map_err(Error::io("reading a journal"))
    }
}

/// All that a journal says. `None` if there is no such file.
pub(super) fn read(path: &Path) -> io::Result<Option<Records>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::with_capacity(64 * 1024, file);
    let mut records = Records::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if reader.by_ref().take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)? == 0 {
            return Ok(Some(records));
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        // An empty line is the end of a torn one.
        if !text.is_empty() && records.apply(text).is_none() {
            records.lines_damaged += 1;
        }
    }
}

/// Whose journal it is: its first line alone.
pub(super) fn read_names(path: &Path) -> io::Result<Option<(Registry, Repository)>> {
    let mut line = Vec::new();
    BufReader::with_capacity(1024, File::open(path)?).take(LINE_BYTES_MAX as u64).read_until(b'\n', &mut line)?;
    let mut records = Records::default();
    records.apply(line.strip_suffix(b"\n").unwrap_or(&line));
    Ok(records.names)
}

impl Records {
    fn apply(&mut self, text: &[u8]) -> Option<()> {
        match Line::read(text)? {
            Line::Repository { registry, repository, .. } => {
                self.names = Some((registry.parse().ok()?, repository.parse().ok()?));
            }
            Line::Member { digest, media_type, size_bytes, proven_at, proof } => {
                let member = record::read_member(media_type.as_deref(), size_bytes, proven_at, proof)?;
                self.members.insert(digest.parse().ok()?, member);
            }
            Line::Withdrawn { .. } => self.members.clear(),
            Line::Tag { tag, digest, checked_at, deleted_at, history } => {
                let tag: Tag = tag.parse().ok()?;
                let record = TagRecord {
                    digest: digest.parse().ok()?,
                    checked_at: codec::time(checked_at),
                    deleted_at: deleted_at.map(codec::time),
                    history: record::read_history(&history.clone().unwrap_or_default())?,
                };
                let earlier = if history.is_some() { None } else { self.tags.get(&tag).map(|row| &row.record) };
                let record = record.after(earlier);
                self.tags.insert(tag, TagRow { written_at: record.checked_at, record });
            }
        }
        Some(())
    }
}
