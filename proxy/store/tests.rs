//! The store through its front door, and what lies in its directory damaged in every way at hand.

mod rights;

use super::*;
use crate::oci::{MediaType, Tag};
use std::{
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// In memory where that can be had: these tests sync thousands of times.
fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn registry() -> Registry {
    Registry::docker_hub()
}

fn repository(text: &str) -> Repository {
    text.parse().unwrap()
}

fn tag(text: &str) -> Tag {
    text.parse().unwrap()
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000 + seconds)
}

fn member(size_bytes: u64) -> Member {
    Member {
        media_type: MediaType::parse(MediaType::OCI_MANIFEST),
        size_bytes,
        proven_at: at(size_bytes) + Duration::from_nanos(7),
        proof: Proof::Upstream,
    }
}

fn pointing_to(digest: Digest, seconds: u64) -> TagRecord {
    TagRecord { digest, checked_at: at(seconds), deleted_at: None, history: Vec::new() }
}

fn blob_path(directory: &Path, digest: &Digest) -> PathBuf {
    let hex = digest.hex();
    directory.join("blobs/sha256").join(&hex[..2]).join(hex)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

/// Everything a filled store says.
type Answers = (Vec<Option<Vec<u8>>>, Vec<Option<Member>>, Vec<(Tag, TagRecord)>, u64);

const CONTENTS: [&[u8]; 4] = [b"a", b"bb", b"ccc", b""];

fn fill(store: &Store) {
    for (size, content) in CONTENTS.iter().enumerate() {
        let digest = Digest::of(content);
        store.put(&digest, content).unwrap();
        for name in ["library/x", "y/z"] {
            store.prove(&registry(), &repository(name), &digest, member(size as u64)).unwrap();
            store.set_tag(&registry(), &repository(name), &tag("latest"), pointing_to(digest, size as u64)).unwrap();
            store.set_tag(&registry(), &repository(name), &tag(&format!("v{size}")), pointing_to(digest, 9)).unwrap();
        }
    }
}

fn answers(store: &Store) -> Answers {
    let digests: Vec<_> = CONTENTS.iter().map(|content| Digest::of(content)).collect();
    let blobs = digests.iter().map(|d| store.blob(d).unwrap().map(|blob| blob.read_all().unwrap())).collect();
    let (mut members, mut tags) = (Vec::new(), Vec::new());
    for name in ["library/x", "y/z", "not/there"] {
        members.extend(digests.iter().map(|d| store.member(&registry(), &repository(name), d).unwrap()));
        tags.extend(store.tags(&registry(), &repository(name)).unwrap());
    }
    (blobs, members, tags, store.size_bytes())
}

#[test]
fn what_was_stored_is_there_after_an_orderly_end() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    let given = answers(&store);
    assert_eq!(given.0, CONTENTS.map(|content| Some(content.to_vec())));
    assert_eq!(given.1.iter().flatten().count(), 8);
    assert_eq!((given.2.len(), given.3), (10, 6));
    let latest = store.tag(&registry(), &repository("y/z"), &tag("latest")).unwrap().unwrap();
    let history: Vec<_> = (0..4).rev().map(|i| (Digest::of(CONTENTS[i]), at(i as u64))).collect();
    assert_eq!(latest, TagRecord { history, ..pointing_to(Digest::of(b""), 3) });
    store.close().unwrap();
    assert!(matches!(store.put(&Digest::of(b"late"), b"late"), Err(Error::Closed)));
    assert_eq!(answers(&store), given, "reading goes on after the end");
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(answers(&store), given);
    assert_eq!(store.damage(), Damage::default());
    assert_eq!(store.repositories().unwrap(), [(registry(), repository("library/x")), (registry(), repository("y/z"))]);
}

#[test]
fn what_was_stored_is_there_without_an_orderly_end() {
    let directory = scratch();
    let crashed = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    copy(directory.path(), crashed.path());
    fs::write(crashed.path().join("fills/0"), "half").unwrap();
    let after = Store::open(crashed.path()).unwrap();
    assert_eq!(answers(&after), answers(&store));
    assert_eq!(fs::read_dir(crashed.path().join("fills")).unwrap().count(), 0);
}

#[test]
fn a_second_larder_is_refused_and_told_who_holds_it() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    match Store::open(directory.path()) {
        Err(Error::InUse { directory: named, pid }) => {
            assert_eq!((named.as_path(), pid), (directory.path(), Some(std::process::id())));
        }
        other => panic!("{other:?}"),
    }
    drop(store);
    Store::open(directory.path()).unwrap();
}

#[test]
fn another_format_is_refused() {
    let directory = scratch();
    fs::write(directory.path().join("version"), "larder 2\n").unwrap();
    match Store::open(directory.path()) {
        Err(Error::FormatVersion { found, known, .. }) => assert_eq!((found.as_str(), known), ("larder 2", "larder 1")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_we_may_read_what_is_stored() {
    let parent = scratch();
    let directory = parent.path().join("data");
    let store = Store::open(&directory).unwrap();
    fill(&store);
    let document = document("x");
    store.set_document(&registry(), &repository("y/z"), "tags", document).unwrap();
    store.close().unwrap();
    let mut paths = vec![directory];
    while let Some(path) = paths.pop() {
        let metadata = fs::metadata(&path).unwrap();
        let expected = if metadata.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(metadata.permissions().mode() & 0o777, expected, "{path:?}");
        if metadata.is_dir() {
            paths.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
}

#[test]
fn a_lost_index_changes_no_answer() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    let given = answers(&store);
    drop(store);
    for damage in ["removed", "empty", "not an index", "a directory"] {
        let path = directory.path().join("index.redb");
        fs::remove_file(&path).unwrap();
        match damage {
            "removed" => {}
            "empty" => fs::write(&path, "").unwrap(),
            "not an index" => fs::write(&path, [7; 100_000]).unwrap(),
            _ => fs::create_dir(&path).unwrap(),
        }
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(answers(&store), given, "{damage}");
        drop(store);
        if damage == "a directory" {
            fs::remove_dir(&path).unwrap();
            fs::write(&path, "").unwrap();
        }
    }
}

#[test]
fn flipped_bits_in_the_index_change_no_answer() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    let given = answers(&store);
    drop(store);
    let index = fs::read(directory.path().join("index.redb")).unwrap();
    let mut random = fastrand::Rng::with_seed(1);
    for round in 0..200 {
        let mut bytes = index.clone();
        bytes[random.usize(..index.len())] ^= 1 << random.u32(..8);
        fs::write(directory.path().join("index.redb"), bytes).unwrap();
        let store = Store::open(directory.path()).unwrap();
        assert_eq!(answers(&store), given, "round {round}");
        drop(store);
        fs::write(directory.path().join("index.redb"), &index).unwrap();
    }
}

/// The marker would have caught these; here the bits flip after it was looked at.
#[test]
fn bits_that_flip_while_the_index_is_open_neither_panic_nor_lie() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    let given = answers(&store);
    drop(store);
    let path = directory.path().join("index.redb");
    let index = fs::read(&path).unwrap();
    let used: Vec<_> = (0..index.len()).filter(|i| index[*i] != 0).collect();
    let mut random = fastrand::Rng::with_seed(2);
    let mut losses = 0;
    for round in 0..300 {
        let mut bytes = index.clone();
        bytes[*random.choice(&used).unwrap()] ^= 1 << random.u32(..8);
        fs::write(&path, bytes).unwrap();
        let state = State::open_trusting_the_index(directory.path());
        let store = Store::over(state);
        let found = answers(&store);
        assert_eq!(found.0, given.0, "round {round}");
        for (found, given) in found.1.iter().zip(&given.1) {
            assert!(found.is_none() || found == given, "round {round}: {found:?}");
        }
        assert!(found.2.iter().all(|tag| given.2.contains(tag)), "round {round}");
        if store.damage().index_losses > 0 {
            losses += 1;
            assert_eq!(answers(&store), given, "round {round}, after the loss");
        }
        store.put(&Digest::of(b"new"), b"new").unwrap();
        store.discard(&Digest::of(b"new")).unwrap();
        drop(store);
    }
    assert!(losses > 10, "the flips did no damage: {losses}");
}

#[test]
fn a_lost_index_is_built_again_while_callers_are_answered() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    let given = answers(&store);
    // Nothing can be built while this is held: whoever waited for it would wait for ever.
    let open = store.state.enter().unwrap();
    store.state.index.lose_for_now();
    assert_eq!(answers(&store), given);
    let known = |name| store.knows_repository(&registry(), &repository(name)).unwrap();
    assert_eq!((known("y/z"), known("y"), known("never/seen")), (true, false, false));
    drop(open);
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while store.state.index.blob(&Digest::of(b"a")).is_err() {
        assert!(std::time::Instant::now() < deadline, "the index does not come back");
        std::thread::yield_now();
    }
    assert_eq!(answers(&store), given);
    assert_eq!((known("y/z"), known("y"), known("never/seen")), (true, false, false));
}

#[test]
fn what_is_recorded_without_an_index_is_told_at_once() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    store.state.index.lose_for_now();
    for size in 0..50 {
        store.prove(&registry(), &repository("y/z"), &Digest::of(b"a"), member(size)).unwrap();
        let found = store.member(&registry(), &repository("y/z"), &Digest::of(b"a")).unwrap();
        assert_eq!(found, Some(member(size)));
    }
}

#[test]
fn uses_are_told_to_the_index_while_it_is_busy() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    store.put(&Digest::of(b"a"), b"a").unwrap();
    let before = store.state.index.blob(&Digest::of(b"a")).unwrap().unwrap();
    let busy = store.state.index.edit(|_| {
        (0..5000u32).for_each(|i| store.note_use(&Digest::of(&i.to_le_bytes())));
        Ok(store.blob(&Digest::of(b"a")).unwrap().is_some())
    });
    assert!(busy.unwrap(), "a use waits for no one");
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    while store.state.uses.are_many() {
        assert!(std::time::Instant::now() < deadline, "nobody takes the uses");
        std::thread::yield_now();
    }
    store.close().unwrap();
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert!(store.state.index.blob(&Digest::of(b"a")).unwrap().unwrap().used_at > before.used_at);
}

#[test]
fn a_torn_journal_keeps_all_whole_lines() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let digests: Vec<_> = (0..4u8).map(|i| Digest::of(&[i])).collect();
    for digest in &digests {
        store.prove(&registry(), &repository("y/z"), digest, member(1)).unwrap();
    }
    drop(store);
    let path = fs::read_dir(directory.path().join("records")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    let ends: Vec<_> = (0..whole.len()).filter(|i| whole[*i] == b'\n').collect();
    assert_eq!(ends.len(), 5, "a first line and four memberships");
    for length in ends[2] + 1..=whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        let store = Store::open(directory.path()).unwrap();
        let expected: Vec<_> = ends[1..].iter().map(|end| *end <= length).collect();
        let held = |digest| store.member(&registry(), &repository("y/z"), digest).unwrap().is_some();
        assert_eq!(digests.iter().map(held).collect::<Vec<_>>(), expected, "cut at {length}");
        store.prove(&registry(), &repository("y/z"), &Digest::of(b"next"), member(2)).unwrap();
        drop(store);
        fs::remove_file(directory.path().join("index.redb")).unwrap();
        let store = Store::open(directory.path()).unwrap();
        let held = store.member(&registry(), &repository("y/z"), &Digest::of(b"next")).unwrap();
        assert_eq!(held, Some(member(2)), "what follows a torn line, cut at {length}");
    }
}

#[test]
fn a_flipped_bit_in_a_journal_costs_at_most_the_lines_it_touches() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let digests: Vec<_> = (0..4u8).map(|i| Digest::of(&[i])).collect();
    for digest in &digests {
        store.prove(&registry(), &repository("y/z"), digest, member(1)).unwrap();
    }
    drop(store);
    let path = fs::read_dir(directory.path().join("records")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    for position in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[position] ^= 1 << (position % 8);
        fs::write(&path, &bytes).unwrap();
        let records = journal::read(&path).unwrap().unwrap();
        assert!(records.members.len() >= 2, "position {position}");
        assert!(records.members.iter().all(|(d, m)| digests.contains(d) && *m == member(1)), "position {position}");
        let whole = records.members.len() == 4 && records.names.is_some();
        assert!(records.lines_damaged > 0 || whole, "position {position}");
    }
}

#[test]
fn an_empty_or_missing_file_is_a_miss() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    fs::write(blob_path(directory.path(), &Digest::of(b"a")), "").unwrap();
    assert!(store.blob(&Digest::of(b"a")).unwrap().is_none());
    fs::remove_file(blob_path(directory.path(), &Digest::of(b"ccc"))).unwrap();
    assert!(store.blob(&Digest::of(b"ccc")).unwrap().is_none());
    assert_eq!(store.blob(&Digest::of(b"")).unwrap().map(|blob| blob.size_bytes()), Some(0));
    assert_eq!(store.size_bytes(), 2);
    store.put(&Digest::of(b"a"), b"a").unwrap();
    assert_eq!(store.read_verified(&Digest::of(b"a")).unwrap(), Some(Bytes::from_static(b"a")));
}

#[test]
fn a_shorter_or_longer_file_is_a_miss_with_and_without_checks() {
    let directory = scratch();
    let digest = Digest::of(b"ccc");
    for content in ["cc", "cccc"] {
        for with_checks in [true, false] {
            let store = Store::open(directory.path()).unwrap();
            store.put(&digest, b"ccc").unwrap();
            if !with_checks {
                let hex = digest.hex();
                fs::remove_file(directory.path().join("checks/sha256").join(&hex[..2]).join(hex)).unwrap();
                store.state.checks.remove(&digest);
            }
            fs::write(blob_path(directory.path(), &digest), content).unwrap();
            assert!(store.blob(&digest).unwrap().is_none(), "{content}, checks: {with_checks}");
            assert_eq!((store.damage().blobs, store.size_bytes()), (1, 0));
            assert!(!blob_path(directory.path(), &digest).exists());
        }
    }
}

#[test]
fn a_rotten_manifest_is_discarded_and_its_membership_stays() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    let digest = Digest::of(b"bb");
    fs::write(blob_path(directory.path(), &digest), "bc").unwrap();
    assert_eq!(store.read_verified(&digest).unwrap(), None);
    assert!(store.blob(&digest).unwrap().is_none());
    assert_eq!(store.member(&registry(), &repository("y/z"), &digest).unwrap(), Some(member(1)));
    assert_eq!(store.size_bytes(), 4);
}

#[test]
fn the_least_recently_used_go_first() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let contents: Vec<_> = (0..6u8).map(|i| vec![i; 100]).collect();
    let digests: Vec<_> = contents.iter().map(|content| Digest::of(content)).collect();
    for (digest, content) in digests.iter().zip(&contents) {
        store.put(digest, content).unwrap();
    }
    store.blob(&digests[0]).unwrap();
    let held = Digest::of(&contents[1]);
    let evicted = store.evict(300, &|digest| *digest == held, &[]).unwrap();
    assert_eq!((evicted, store.size_bytes()), (Evicted { blobs: 3, bytes: 300 }, 300));
    let left: Vec<_> = digests.iter().map(|d| store.blob(d).unwrap().is_some()).collect();
    assert_eq!(left, [true, true, false, false, false, true]);
    drop(store);
    assert_eq!(Store::open(directory.path()).unwrap().size_bytes(), 300);
}

#[test]
fn an_evicted_blob_is_read_to_its_end() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    let blob = store.blob(&Digest::of(b"ccc")).unwrap().unwrap();
    store.discard(&Digest::of(b"ccc")).unwrap();
    assert_eq!(blob.read_all().unwrap(), b"ccc");
}

#[test]
fn a_withdrawn_right_does_not_come_back() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    fill(&store);
    store.withdraw(&registry(), &repository("y/z")).unwrap();
    store.withdraw(&registry(), &repository("never/seen")).unwrap();
    assert_eq!(store.repositories().unwrap().len(), 2, "nothing is recorded of what was never held");
    let digest = Digest::of(b"a");
    let held = |store: &Store, name| store.member(&registry(), &repository(name), &digest).unwrap();
    assert_eq!((held(&store, "y/z"), held(&store, "library/x")), (None, Some(member(0))));
    let tags = store.tags(&registry(), &repository("y/z")).unwrap();
    store.prove(&registry(), &repository("y/z"), &Digest::of(b"bb"), member(1)).unwrap();
    drop(store);
    fs::remove_file(directory.path().join("index.redb")).unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!((held(&store, "y/z"), held(&store, "library/x")), (None, Some(member(0))));
    assert_eq!(store.member(&registry(), &repository("y/z"), &Digest::of(b"bb")).unwrap(), Some(member(1)));
    assert_eq!(store.tags(&registry(), &repository("y/z")).unwrap(), tags);
}

#[test]
fn a_history_is_bounded_and_a_renewal_is_no_part_of_it() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let (name, latest) = (repository("y/z"), tag("latest"));
    for i in 0..40u8 {
        for second in [0, 5] {
            let record = pointing_to(Digest::of(&[i]), u64::from(i) * 10 + second);
            store.set_tag(&registry(), &name, &latest, record).unwrap();
        }
    }
    let record = store.tag(&registry(), &name, &latest).unwrap().unwrap();
    let expected: Vec<_> = (8..40u8).rev().map(|i| (Digest::of(&[i]), at(u64::from(i) * 10))).collect();
    assert_eq!((record.history.clone(), record.checked_at), (expected, at(395)));
    drop(store);
    fs::remove_file(directory.path().join("index.redb")).unwrap();
    let again = Store::open(directory.path()).unwrap().tag(&registry(), &name, &latest).unwrap().unwrap();
    assert_eq!((again.history, again.checked_at), (record.history, at(390)), "a mere renewal may be lost");
}

#[test]
fn a_journal_of_superseded_lines_is_compacted() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    for i in 0..2000 {
        store.prove(&registry(), &repository("y/z"), &Digest::of(b"a"), member(i)).unwrap();
    }
    store.set_tag(&registry(), &repository("y/z"), &tag("v1"), pointing_to(Digest::of(b"a"), 1)).unwrap();
    drop(store);
    let path = fs::read_dir(directory.path().join("records")).unwrap().next().unwrap().unwrap().path();
    assert!(fs::metadata(&path).unwrap().len() < 70_000, "{}", fs::metadata(&path).unwrap().len());
    fs::remove_file(directory.path().join("index.redb")).unwrap();
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.member(&registry(), &repository("y/z"), &Digest::of(b"a")).unwrap(), Some(member(1999)));
}

#[test]
fn two_writers_of_one_digest_leave_one_blob() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let content = vec![7; 100_000];
    let digest = Digest::of(&content);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut writer = store.writer(&digest).unwrap();
                for chunk in content.chunks(999) {
                    writer.append(chunk).unwrap();
                }
                assert_eq!(writer.length_bytes(), 100_000);
                assert_eq!(writer.commit().unwrap().read_all().unwrap(), content);
            });
        }
    });
    assert_eq!(store.size_bytes(), 100_000);
    assert_eq!(fs::read_dir(directory.path().join("fills")).unwrap().count(), 0);
}

#[test]
fn the_size_is_right_whatever_happened_at_once() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let contents: Vec<_> = (1..12u8).map(|i| vec![i; usize::from(i) * 10]).collect();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (store, contents) = (&store, &contents);
            scope.spawn(move || {
                let mut random = fastrand::Rng::with_seed(seed);
                for _ in 0..150 {
                    let content = random.choice(contents).unwrap();
                    let digest = Digest::of(content);
                    match random.u8(..8) {
                        0 => store.discard(&digest).unwrap(),
                        1 => drop(store.evict(300, &|_| false, &[]).unwrap()),
                        2 => store.state.flush_uses(),
                        3 | 4 => drop(store.blob(&digest).unwrap()),
                        _ => assert_eq!(store.put(&digest, content).unwrap().read_all().unwrap(), *content),
                    }
                }
            });
        }
    });
    let held = |store: &Store| {
        let held = contents.iter().filter(|content| store.blob(&Digest::of(content)).unwrap().is_some());
        held.map(|content| content.len() as u64).sum::<u64>()
    };
    assert_eq!(store.size_bytes(), held(&store));
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(store.size_bytes(), held(&store));
    assert_eq!(store.damage(), Damage::default());
}

#[test]
fn a_dropped_writer_leaves_nothing_and_a_growing_one_can_be_read() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let mut writer = store.writer(&Digest::of(b"abc")).unwrap();
    writer.append(b"ab").unwrap();
    let mut read = [0; 2];
    writer.file().read_exact_at(&mut read, 0).unwrap();
    assert_eq!(&read, b"ab");
    assert!(store.blob(&Digest::of(b"abc")).unwrap().is_none());
    drop(writer);
    assert_eq!(fs::read_dir(directory.path().join("fills")).unwrap().count(), 0);
}

fn document(body: &str) -> Document {
    Document {
        media_type: MediaType::parse("application/json").unwrap(),
        bytes: Bytes::copy_from_slice(body.as_bytes()),
        headers: vec![("OCI-Filters-Applied".to_owned(), "artifactType".to_owned())],
        fetched_at: at(1),
    }
}

#[test]
fn a_document_is_given_back_whole_or_not_at_all() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let name = repository("y/z");
    assert_eq!(store.document(&registry(), &name, "tags").unwrap(), None);
    store.set_document(&registry(), &name, "tags", document("one")).unwrap();
    store.set_document(&registry(), &name, "tags", document("two")).unwrap();
    assert_eq!(store.document(&registry(), &name, "tags").unwrap(), Some(document("two")));
    assert_eq!(store.document(&registry(), &repository("y"), "tags").unwrap(), None);
    let large = Document { bytes: vec![0; 8 * 1024 * 1024 + 1].into(), ..document("") };
    assert!(matches!(store.set_document(&registry(), &name, "tags", large), Err(Error::TooLarge { .. })));
    let path = fs::read_dir(directory.path().join("documents")).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&path).unwrap();
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(store.document(&registry(), &name, "tags").unwrap(), None, "cut at {length}");
    }
}

/// A small file system of its own. `None`, said aloud, where we may not mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let directory = scratch();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "none"])
            .arg(directory.path())
            .status()
            .is_ok_and(|status| status.success());
        if !mounted {
            eprintln!("skipped: no tmpfs can be mounted here");
            return None;
        }
        Some(Self(directory))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_is_told_and_what_is_held_stays() {
    let Some(disk) = SmallDisk::mount() else { return };
    let directory = disk.0.path().join("data");
    let store = Store::open(&directory).unwrap();
    fill(&store);
    let given = answers(&store);
    let digest = Digest::of(b"too much");
    let mut writer = store.writer(&digest).unwrap();
    let error = loop {
        if let Err(error) = writer.append(&[1; 4096]) {
            break error;
        }
    };
    assert!(error.is_full(), "{error:?}");
    // The private file still fills the disk.
    let refused = (0..10_000u32)
        .find_map(|i| store.prove(&registry(), &repository("y/z"), &Digest::of(&i.to_le_bytes()), member(1)).err());
    assert!(refused.as_ref().is_some_and(Error::is_full), "{refused:?}");
    assert_eq!(answers(&store), given);
    drop(store);
    drop(writer);
    fs::write(disk.0.path().join("ballast"), vec![1; 16 << 20]).unwrap_err();
    let store = Store::open(&directory).unwrap();
    assert_eq!(answers(&store), given, "a full disk does not keep us from starting");
    fs::remove_file(disk.0.path().join("ballast")).unwrap();
    store.put(&digest, b"too much").unwrap();
    let disk = store.disk().unwrap();
    assert!(disk.total_bytes == 8 << 20 && disk.free_bytes > 0, "{disk:?}");
}

#[test]
fn checks_whose_blob_never_came_are_swept_after_a_crash() {
    let scratch = scratch();
    let digest = Digest::of(b"whole");
    {
        let store = Store::open(scratch.path()).unwrap();
        store.put(&digest, b"whole").unwrap();
        store.close().unwrap();
    }
    let orphan = Digest::of(b"never came").hex();
    let shard = scratch.path().join("checks/sha256").join(&orphan[..2]);
    fs::create_dir_all(&shard).unwrap();
    fs::write(shard.join(&orphan), b"x").unwrap();
    fs::remove_file(scratch.path().join("index.redb")).unwrap();
    let store = Store::open(scratch.path()).unwrap();
    assert!(!shard.join(&orphan).exists());
    assert!(store.blob(&digest).unwrap().unwrap().has_checks());
}
