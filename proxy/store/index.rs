//! The index over blobs and records: a redb file that is always allowed to be lost.
//!
//! redb survives a crash but does not detect bit rot, and may panic on it. So its rows carry checksums, its panics end
//! here, and whatever it does that is not an answer makes it [`Lost`]: closed and deleted, until it is built again.

use super::{
    Member, Proof,
    codec::{self, BlobRow, Row, TagRow},
    layout::{self, Place},
};
use crate::oci::{Digest, Tag};
use redb::{Database, Durability, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError, RwLock,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

type Definition = TableDefinition<'static, &'static [u8], &'static [u8]>;
const BLOBS: Definition = TableDefinition::new("blobs");
const MEMBERS: Definition = TableDefinition::new("members");
const TAGS: Definition = TableDefinition::new("tags");

/// redb's own cache of pages.
const CACHE_BYTES: usize = 32 * 1024 * 1024;
/// Commits between two that reach the disk. It bounds what redb must keep of unsynced pages; nothing depends on them
/// being on disk, since after a crash the index is built anew.
const COMMITS_UNSYNCED_MAX: u32 = 1024;
/// Time between two attempts to build a lost index again, which reads all records.
const REBUILD_INTERVAL: Duration = Duration::from_secs(60);

/// The index has no answer: the records have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lost;

pub(super) struct Index {
    path: PathBuf,
    condition: RwLock<Condition>,
    built_at: Mutex<Option<Instant>>,
    commits_unsynced: AtomicU32,
    /// Rows whose checksum was wrong.
    pub(super) rows_damaged: AtomicU64,
    /// How often it was lost.
    pub(super) losses: AtomicU64,
}

enum Condition {
    Open(Database),
    /// `retry_at` is when building it again may be tried.
    Lost {
        retry_at: Instant,
    },
    Closed,
}

impl Index {
    /// An index without a file yet.
    pub(super) fn lost(path: PathBuf) -> Self {
        Self {
            path,
            condition: RwLock::new(Condition::Lost { retry_at: Instant::now() }),
            built_at: Mutex::new(None),
            commits_unsynced: AtomicU32::new(0),
            rows_damaged: AtomicU64::new(0),
            losses: AtomicU64::new(0),
        }
    }

    /// Opens the file that is there.
    pub(super) fn open(&self) -> Result<(), Lost> {
        match contain(|| database(&self.path)) {
            Ok(database) => {
                self.set(Condition::Open(database));
                Ok(())
            }
            Err(cause) => Err(self.lose(&cause)),
        }
    }

    /// Starts anew: a file with what `fill` puts in.
    pub(super) fn build(&self, fill: impl FnOnce(&mut Edit<'_>) -> Result<(), redb::Error>) -> Result<(), Lost> {
        self.set(Condition::Lost { retry_at: Instant::now() + REBUILD_INTERVAL });
        *self.built_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        let built = contain(|| {
            layout::remove_file(&self.path)?;
            layout::create_file(&self.path)?;
            let database = database(&self.path)?;
            let transaction = database.begin_write()?;
            fill(&mut Edit::new(&transaction)?)?;
            transaction.commit()?;
            Ok(database)
        });
        match built {
            Ok(database) => {
                self.set(Condition::Open(database));
                Ok(())
            }
            Err(cause) => Err(self.lose(&cause)),
        }
    }

    /// Whether building it again should be tried now.
    pub(super) fn wants_rebuild(&self) -> bool {
        let condition = self.condition.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*condition, Condition::Lost { retry_at } if Instant::now() >= *retry_at)
    }

    /// Brings everything to disk and ends. [`Lost`] means that the file is not to be trusted.
    pub(super) fn close(&self) -> Result<(), Lost> {
        let condition =
            std::mem::replace(&mut *self.condition.write().unwrap_or_else(PoisonError::into_inner), Condition::Closed);
        let Condition::Open(mut database) = condition else { return Err(Lost) };
        let sound = contain(|| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(Durability::Immediate)?;
            transaction.commit()?;
            // What rotted on the disk meanwhile must not be declared clean.
            let sound = database.check_integrity()?;
            database.close()?;
            Ok(sound)
        });
        if matches!(sound, Ok(true)) { Ok(()) } else { Err(Lost) }
    }

    pub(super) fn edit<T>(&self, work: impl FnOnce(&mut Edit<'_>) -> Result<T, redb::Error>) -> Result<T, Lost> {
        let count = self.commits_unsynced.fetch_add(1, Ordering::Relaxed);
        let durability = if count % COMMITS_UNSYNCED_MAX == COMMITS_UNSYNCED_MAX - 1 {
            Durability::Immediate
        } else {
            Durability::None
        };
        self.commit(work, durability)
    }

    fn commit<T>(
        &self,
        work: impl FnOnce(&mut Edit<'_>) -> Result<T, redb::Error>,
        durability: Durability,
    ) -> Result<T, Lost> {
        self.with(|database| {
            let mut transaction = database.begin_write()?;
            transaction.set_durability(durability)?;
            let result = work(&mut Edit::new(&transaction)?)?;
            transaction.commit()?;
            Ok(result)
        })
    }

    /// The row of a key.
    fn get<R: Row>(&self, table: Definition, key: &[u8]) -> Result<Option<R>, Lost> {
        let found = self.read(|transaction| {
            let table = transaction.open_table(table)?;
            Ok(table.get(key)?.map(|value| codec::unseal(key, value.value())))
        })?;
        match found {
            None => Ok(None),
            Some(Some(row)) => Ok(Some(row)),
            Some(None) => Err(self.damaged()),
        }
    }

    /// A file with one damaged row may have lost others without a trace.
    fn damaged(&self) -> Lost {
        self.rows_damaged.fetch_add(1, Ordering::Relaxed);
        self.lose(&Cause::Damaged)
    }

    pub(super) fn blob(&self, digest: &Digest) -> Result<Option<BlobRow>, Lost> {
        self.get(BLOBS, &blob_key(digest))
    }

    pub(super) fn member(&self, place: &Place, digest: &Digest) -> Result<Option<Member>, Lost> {
        self.get(MEMBERS, &member_key(place, digest))
    }

    pub(super) fn tag(&self, place: &Place, tag: &Tag) -> Result<Option<TagRow>, Lost> {
        self.get(TAGS, &tag_key(place, tag))
    }

    /// All tags of a repository, in order.
    pub(super) fn tags(&self, place: &Place) -> Result<Vec<(Tag, TagRow)>, Lost> {
        let tags = self.read(|transaction| {
            let table = transaction.open_table(TAGS)?;
            let mut tags = Vec::new();
            for entry in table.range(place.0.as_slice()..)? {
                let (key, value) = entry?;
                let Some(name) = key.value().strip_prefix(place.0.as_slice()) else { break };
                let tag = std::str::from_utf8(name).ok().and_then(|name| name.parse().ok());
                let (Some(tag), Some(row)) = (tag, codec::unseal(key.value(), value.value())) else { return Ok(None) };
                tags.push((tag, row));
            }
            Ok(Some(tags))
        })?;
        tags.ok_or_else(|| self.damaged())
    }

    pub(super) fn has_tags(&self, place: &Place) -> Result<bool, Lost> {
        self.read(|transaction| {
            let table = transaction.open_table(TAGS)?;
            let first = table.range(place.0.as_slice()..)?.next().transpose()?;
            Ok(first.is_some_and(|(key, _)| key.value().starts_with(&place.0)))
        })
    }

    /// All blobs, in no order that counts.
    pub(super) fn blobs(&self) -> Result<Vec<(Digest, BlobRow)>, Lost> {
        let blobs = self.read(|transaction| {
            let table = transaction.open_table(BLOBS)?;
            let mut blobs = Vec::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                let digest = codec::digest_from_key(&mut key.value());
                let (Some(digest), Some(row)) = (digest, codec::unseal(key.value(), value.value())) else {
                    return Ok(None);
                };
                blobs.push((digest, row));
            }
            Ok(Some(blobs))
        })?;
        blobs.ok_or_else(|| self.damaged())
    }

    /// The digests of the memberships that `is_meant` picks.
    pub(super) fn members(&self, is_meant: impl Fn(&Place, &Member) -> bool) -> Result<HashSet<Digest>, Lost> {
        let digests = self.read(|transaction| {
            let table = transaction.open_table(MEMBERS)?;
            let mut digests = HashSet::new();
            for entry in table.iter()? {
                let (key, value) = entry?;
                let Some((place, mut digest)) = key.value().split_first_chunk::<32>() else { return Ok(None) };
                let member = codec::unseal(key.value(), value.value());
                let (Some(digest), Some(member)) = (codec::digest_from_key(&mut digest), member) else {
                    return Ok(None);
                };
                if is_meant(&Place(*place), &member) {
                    digests.insert(digest);
                }
            }
            Ok(Some(digests))
        })?;
        digests.ok_or_else(|| self.damaged())
    }

    fn read<T>(&self, work: impl FnOnce(&ReadTransaction) -> Result<T, redb::Error>) -> Result<T, Lost> {
        self.with(|database| work(&database.begin_read()?))
    }

    fn with<T>(&self, work: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Lost> {
        let outcome = {
            let condition = self.condition.read().unwrap_or_else(PoisonError::into_inner);
            let Condition::Open(database) = &*condition else { return Err(Lost) };
            contain(|| work(database))
        };
        outcome.map_err(|cause| self.lose(&cause))
    }

    #[cfg(test)]
    pub(super) fn lose_for_now(&self) {
        self.set(Condition::Lost { retry_at: Instant::now() });
    }

    /// Gives the file up, so that nobody trusts it again: whatever it missed, the records have.
    fn lose(&self, cause: &Cause) -> Lost {
        let mut condition = self.condition.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(*condition, Condition::Closed) {
            return Lost;
        }
        let cause: &dyn std::error::Error = cause;
        tracing::warn!(cause, "the index is lost and will be built again from the records");
        self.losses.fetch_add(1, Ordering::Relaxed);
        let built_at = *self.built_at.lock().unwrap_or_else(PoisonError::into_inner);
        let retry_at = built_at.map_or_else(Instant::now, |at| at + REBUILD_INTERVAL);
        let old = std::mem::replace(&mut *condition, Condition::Lost { retry_at });
        let _ = catch_unwind(AssertUnwindSafe(move || drop(old)));
        let _ = layout::remove_file(&self.path);
        Lost
    }

    /// Replaces the condition; what was there may panic while it is dropped.
    fn set(&self, new: Condition) {
        let old = std::mem::replace(&mut *self.condition.write().unwrap_or_else(PoisonError::into_inner), new);
        let _ = catch_unwind(AssertUnwindSafe(move || drop(old)));
    }
}

/// Changes to the index that come true together.
pub(super) struct Edit<'a> {
    blobs: Rows<'a>,
    members: Rows<'a>,
    tags: Rows<'a>,
}

type Rows<'a> = redb::Table<'a, &'static [u8], &'static [u8]>;

impl<'a> Edit<'a> {
    fn new(transaction: &'a WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            blobs: transaction.open_table(BLOBS)?,
            members: transaction.open_table(MEMBERS)?,
            tags: transaction.open_table(TAGS)?,
        })
    }

    pub(super) fn set_blob(&mut self, digest: &Digest, row: &BlobRow) -> Result<(), redb::Error> {
        set(&mut self.blobs, &blob_key(digest), row)
    }

    /// Notes a later use. `false` if there is no sound row of it.
    pub(super) fn touch_blob(&mut self, digest: &Digest, used_at: SystemTime) -> Result<bool, redb::Error> {
        let key = blob_key(digest);
        let row = self.blobs.get(key.as_slice())?.and_then(|value| codec::unseal::<BlobRow>(&key, value.value()));
        let Some(row) = row else { return Ok(false) };
        set(&mut self.blobs, &key, &BlobRow { used_at: used_at.max(row.used_at), ..row })?;
        Ok(true)
    }

    pub(super) fn remove_blob(&mut self, digest: &Digest) -> Result<(), redb::Error> {
        self.blobs.remove(blob_key(digest).as_slice())?;
        Ok(())
    }

    pub(super) fn set_member(&mut self, place: &Place, digest: &Digest, member: &Member) -> Result<(), redb::Error> {
        set(&mut self.members, &member_key(place, digest), member)
    }

    /// Removes the memberships that upstream gave.
    pub(super) fn remove_members(&mut self, place: &Place) -> Result<(), redb::Error> {
        let mut keys = Vec::new();
        for entry in self.members.range(place.0.as_slice()..)? {
            let (key, value) = entry?;
            if !key.value().starts_with(&place.0) {
                break;
            }
            let member = codec::unseal::<Member>(key.value(), value.value());
            if member.is_none_or(|member| member.proof != Proof::Import) {
                keys.push(key.value().to_vec());
            }
        }
        for key in keys {
            self.members.remove(key.as_slice())?;
        }
        Ok(())
    }

    pub(super) fn set_tag(&mut self, place: &Place, tag: &Tag, row: &TagRow) -> Result<(), redb::Error> {
        set(&mut self.tags, &tag_key(place, tag), row)
    }
}

fn set<R: Row>(table: &mut Rows<'_>, key: &[u8], row: &R) -> Result<(), redb::Error> {
    table.insert(key, codec::seal(key, row).as_slice())?;
    Ok(())
}

fn blob_key(digest: &Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(65);
    codec::digest_key(digest, &mut key);
    key
}

fn member_key(place: &Place, digest: &Digest) -> Vec<u8> {
    let mut key = Vec::with_capacity(97);
    key.extend_from_slice(&place.0);
    codec::digest_key(digest, &mut key);
    key
}

fn tag_key(place: &Place, tag: &Tag) -> Vec<u8> {
    [place.0.as_slice(), tag.as_str().as_bytes()].concat()
}

fn database(path: &Path) -> Result<Database, redb::Error> {
    let database = Database::builder().set_cache_size(CACHE_BYTES).create(path)?;
    Ok(database)
}

/// Why the index is lost.
#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error("redb failed")]
    Failed(#[source] redb::Error),
    #[error("redb panicked")]
    Panicked,
    #[error("a row is damaged")]
    Damaged,
}

fn contain<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, Cause> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Cause::Failed(error)),
        Err(_) => Err(Cause::Panicked),
    }
}
