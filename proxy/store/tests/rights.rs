//! Memberships: what stays of one, what a withdrawal takes, and what is kept for them.

use super::*;

fn imported(size_bytes: u64) -> Member {
    Member { proof: Proof::Import, ..member(size_bytes) }
}

fn unnamed(member: Member) -> Member {
    Member { media_type: None, ..member }
}

/// With the index, without it while the store is open, and from the records alone.
fn in_every_condition(directory: &Path, store: Store, assert: impl Fn(&Store)) {
    assert(&store);
    store.state.index.lose_for_now();
    assert(&store);
    drop(store);
    let _ = fs::remove_file(directory.join("index.redb"));
    assert(&Store::open(directory).unwrap());
}

#[test]
fn a_proof_without_a_media_type_keeps_the_one_that_was_known() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let (name, digest) = (repository("y/z"), Digest::of(b"a"));
    store.prove(&registry(), &name, &digest, unnamed(member(1))).unwrap();
    assert_eq!(store.member(&registry(), &name, &digest).unwrap(), Some(unnamed(member(1))));
    store.prove(&registry(), &name, &digest, member(1)).unwrap();
    store.prove(&registry(), &name, &digest, unnamed(member(2))).unwrap();
    store.state.index.lose_for_now();
    store.prove(&registry(), &name, &digest, unnamed(member(3))).unwrap();
    in_every_condition(directory.path(), store, |store| {
        assert_eq!(store.member(&registry(), &name, &digest).unwrap(), Some(member(3)));
    });
}

#[test]
fn a_withdrawal_takes_documents_and_leaves_what_was_imported() {
    let directory = scratch();
    let store = Store::open(directory.path()).unwrap();
    let (name, other) = (repository("y/z"), repository("y"));
    let (pulled, brought) = (Digest::of(b"pulled"), Digest::of(b"brought"));
    for name in [&name, &other] {
        store.prove(&registry(), name, &pulled, member(1)).unwrap();
        store.prove(&registry(), name, &brought, imported(2)).unwrap();
        store.prove(&registry(), name, &brought, member(3)).unwrap();
        store.set_document(&registry(), name, "tags", document("x")).unwrap();
        store.set_document(&registry(), name, "referrers", document("y")).unwrap();
    }
    store.withdraw(&registry(), &name).unwrap();
    store.withdraw(&registry(), &name).unwrap();
    in_every_condition(directory.path(), store, |store| {
        let held = |name, digest| store.member(&registry(), name, digest).unwrap();
        assert_eq!((held(&name, &pulled), held(&name, &brought)), (None, Some(imported(3))));
        assert_eq!((held(&other, &pulled), held(&other, &brought)), (Some(member(1)), Some(imported(3))));
        let document = |name, what| store.document(&registry(), name, what).unwrap().is_some();
        assert_eq!((document(&name, "tags"), document(&name, "referrers")), (false, false));
        assert_eq!((document(&other, "tags"), document(&other, "referrers")), (true, true));
    });
}

#[test]
fn what_was_imported_or_belongs_to_a_kept_registry_is_never_evicted() {
    for is_lost in [false, true] {
        let directory = scratch();
        let store = Store::open(directory.path()).unwrap();
        let kept: Registry = "ghcr.io".parse().unwrap();
        let digests = ["imported", "kept", "both", "pulled", "nobody's"].map(|name| Digest::of(name.as_bytes()));
        for name in ["imported", "kept", "both", "pulled", "nobody's"] {
            store.put(&Digest::of(name.as_bytes()), name.as_bytes()).unwrap();
        }
        let name = repository("y/z");
        store.prove(&registry(), &name, &digests[0], imported(1)).unwrap();
        store.prove(&kept, &name, &digests[1], member(1)).unwrap();
        store.prove(&registry(), &name, &digests[2], member(1)).unwrap();
        store.prove(&kept, &name, &digests[2], member(1)).unwrap();
        store.prove(&registry(), &name, &digests[3], member(1)).unwrap();
        let held = |store: &Store| {
            digests.map(|digest| blob_path(directory.path(), &digest).exists() && store.size_bytes() > 0)
        };
        if is_lost {
            store.state.index.lose_for_now();
        }
        store.evict(0, &|_| false, std::slice::from_ref(&kept)).unwrap();
        assert_eq!(held(&store), [true, true, true, false, false], "lost: {is_lost}");
        store.evict(0, &|_| false, &[]).unwrap();
        assert_eq!(held(&store), [true, false, false, false, false], "lost: {is_lost}");
    }
}

#[test]
fn what_a_full_disk_cannot_record_counts_until_the_end() {
    let Some(disk) = SmallDisk::mount() else { return };
    let directory = disk.0.path().join("data");
    let store = Store::open(&directory).unwrap();
    fill(&store);
    fs::write(disk.0.path().join("ballast"), vec![1; 16 << 20]).unwrap_err();
    let (name, latest) = (repository("y/z"), tag("latest"));
    let digest = Digest::of(b"next");
    let mut refused = 0;
    for second in 10..3_000u64 {
        let digest = Digest::of(&second.to_le_bytes());
        refused += u32::from(store.set_tag(&registry(), &name, &latest, pointing_to(digest, second)).is_err());
        refused += u32::from(store.prove(&registry(), &name, &digest, member(second)).is_err());
        let told = store.tag(&registry(), &name, &latest).unwrap().unwrap();
        assert_eq!((told.digest, told.checked_at), (digest, at(second)));
        assert_eq!(store.member(&registry(), &name, &digest).unwrap(), Some(member(second)));
        if refused > 10 {
            break;
        }
    }
    assert!(refused > 0 || store.damage().index_losses > 0, "the disk was never full");
    let _ = store.set_tag(&registry(), &name, &latest, pointing_to(digest, 20_000));
    // With room again, the same answer is written down: it was not yet.
    fs::remove_file(disk.0.path().join("ballast")).unwrap();
    store.set_tag(&registry(), &name, &latest, pointing_to(digest, 20_001)).unwrap();
    drop(store);
    fs::remove_file(directory.join("index.redb")).unwrap();
    let store = Store::open(&directory).unwrap();
    assert_eq!(store.tag(&registry(), &name, &latest).unwrap().map(|record| record.digest), Some(digest));
}
