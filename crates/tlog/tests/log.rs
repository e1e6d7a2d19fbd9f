//! The log as its callers use it: appending, reading, refusing what was tampered with.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use common::{ORIGIN, append, checked, key, numbered, open, signer};
use evidence::{
    Algorithm, Checkpoint, MemorySigner, Storage, empty_root, leaf_hash, root_of, sign_checkpoint, verify_consistency,
    verify_inclusion,
};
use host::DiskStorage;
use testkit::SimStorage;
use tlog::{ENTRY_BYTES_MAX, Log, LogError, fsck};

type Files = BTreeMap<String, Vec<u8>>;

fn sim() -> Arc<SimStorage> {
    Arc::new(SimStorage::new(1))
}

/// The files of a log that was grown by appends of `groups` leaves.
fn grown(groups: &[u64]) -> Files {
    let storage = sim();
    let log = open(storage.clone()).expect("opens").0;
    let mut size = 0;
    for group in groups {
        append(&log, &numbered(size..size + group)).expect("appends");
        size += group;
    }
    storage.files()
}

fn refused(files: Files) -> LogError {
    let storage = Arc::new(SimStorage::of(files.clone(), 1));
    let error = open(storage.clone()).expect_err("is refused");
    assert_eq!(storage.files(), files, "a refused log is left as it is");
    let report = fsck(storage.as_ref(), ORIGIN, &key()).expect("reads");
    assert!(!report.is_sound(), "fsck finds it, too: {report:?}");
    error
}

#[test]
fn an_empty_log_has_a_checkpoint() {
    let storage = sim();
    let (log, recovery) = open(storage.clone()).expect("opens");
    assert!(recovery.created);
    assert_eq!((log.size(), log.root()), (0, empty_root()));
    let expected = Checkpoint {
        origin: ORIGIN.to_owned(),
        size: 0,
        root: empty_root(),
    };
    assert_eq!(checked(&log.checkpoint()), Ok(expected));
    assert_eq!(log.append(&[]), Ok(Vec::new()));
    assert_eq!(log.leaves(0..0), Ok(Vec::new()));
    assert_eq!(log.leaf(0), Err(LogError::OutOfRange { asked: 1, size: 0 }));
    assert!(log.leaf(u64::MAX).is_err() && log.prove(0, 0).is_err() && log.prove(0, 1).is_err());
    assert_eq!(log.consistency(0, 0), Ok(Vec::new()));
    assert_eq!(storage.files().keys().collect::<Vec<_>>(), ["checkpoint", "journal"]);
    assert!(fsck(storage.as_ref(), ORIGIN, &key()).expect("reads").is_sound());
    assert!(open(storage).expect("opens").1.is_clean());
}

#[test]
fn a_leaf_keeps_its_first_index() {
    let storage = sim();
    let log = open(storage.clone()).expect("opens").0;
    assert_eq!(log.append(&[b"a", b"b", b"a"]), Ok(vec![0, 1, 0]));
    let writes = storage.writes();
    assert_eq!(log.append(&[b"b", b"a"]), Ok(vec![1, 0]));
    assert_eq!(storage.writes(), writes, "nothing new, nothing written");
    assert_eq!(log.append(&[b"c", b"a", b"d", b"c"]), Ok(vec![2, 0, 3, 2]));
    assert_eq!(log.size(), 4);
    let again = open(storage).expect("opens").0;
    assert_eq!(again.append(&[b"d"]), Ok(vec![3]));
    assert_eq!(again.find(&leaf_hash(b"c")), Some(2));
    assert_eq!(again.find(&leaf_hash(b"e")), None);
    assert_eq!(again.leaf(1), Ok(b"b".to_vec()));
    assert_eq!(
        again.leaves(1..4),
        Ok(vec![b"b".to_vec(), b"c".to_vec(), b"d".to_vec()])
    );
    assert_eq!(again.checkpoint(), log.checkpoint());
}

#[test]
fn entries_have_bounds() {
    let log = open(sim()).expect("opens").0;
    let large = vec![7; ENTRY_BYTES_MAX + 1];
    let error = log.append(&[b"fine", &large]).expect_err("is refused");
    assert_eq!(error.to_string(), "entry has 65536 bytes, the log takes up to 65535");
    assert_eq!(log.size(), 0, "nothing of the group was appended");
    assert_eq!(log.append(&[b"", &large[1..]]), Ok(vec![0, 1]));
    assert_eq!(log.leaf(0), Ok(Vec::new()));
    assert_eq!(log.leaf(1).map(|leaf| leaf.len()), Ok(ENTRY_BYTES_MAX));
}

#[test]
fn origins_and_keys_are_checked() {
    for origin in ["", "with space", "with+plus", "with\nline", &"x".repeat(1025)] {
        assert!(
            matches!(Log::open(sim(), origin, signer()), Err(LogError::Origin(_))),
            "{origin:?}"
        );
    }
    let ml_dsa = MemorySigner::from_seed(Algorithm::MlDsa65, &[1; 32]).expect("a key");
    let error = Log::open(sim(), ORIGIN, Arc::new(ml_dsa)).expect_err("is refused");
    assert_eq!(error, LogError::Algorithm("ml-dsa-65"));
}

#[test]
fn proofs_hold_for_every_size() {
    let storage = sim();
    let log = open(storage).expect("opens").0;
    let leaves = numbered(0..300);
    let mut at = 0;
    for group in [1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 68] {
        append(&log, &leaves[at..at + group]).expect("appends");
        at += group;
        let hashes: Vec<_> = leaves[..at].iter().map(|leaf| leaf_hash(leaf)).collect();
        let checkpoint = checked(&log.checkpoint()).expect("holds");
        assert_eq!((checkpoint.size, checkpoint.root), (at as u64, root_of(&hashes)));
        assert_eq!(log.root(), checkpoint.root);
    }
    let hashes: Vec<_> = leaves.iter().map(|leaf| leaf_hash(leaf)).collect();
    for size in 1..=300 {
        let root = root_of(&hashes[..size as usize]);
        for index in [0, size / 3, size / 2, size - 1] {
            let proof = log.prove(index, size).expect("is in range");
            verify_inclusion(&hashes[index as usize], &proof, &root).expect("holds");
        }
        let proof = log.consistency(size, 300).expect("is in range");
        verify_consistency(size, &root, 300, &log.root(), &proof).expect("holds");
    }
}

#[test]
fn partial_tiles_stay_until_the_full_one_is_there() {
    let files = grown(&[4, 250, 1]);
    let partials = |files: &Files| {
        files
            .keys()
            .filter(|path| path.contains(".p/"))
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(
        partials(&files),
        [
            "tile/0/000.p/254",
            "tile/0/000.p/255",
            "tile/0/000.p/4",
            "tile/entries/000.p/254",
            "tile/entries/000.p/255",
            "tile/entries/000.p/4",
        ]
    );
    assert_eq!(partials(&grown(&[4, 250, 1, 1])), ["tile/1/000.p/1"]);
    // A crash between the checkpoint and the removal: opening removes them.
    let mut files = grown(&[256]);
    files.insert("tile/0/000.p/3".to_owned(), files["tile/0/000"][..96].to_vec());
    let storage = Arc::new(SimStorage::of(files, 1));
    assert!(
        fsck(storage.as_ref(), ORIGIN, &key()).expect("reads").is_sound(),
        "superseded but right"
    );
    assert_eq!(open(storage.clone()).expect("opens").1.partials_removed, 1);
    assert_eq!(storage.files(), grown(&[256]));
}

#[test]
fn a_journal_rolled_back_is_refused() {
    let (older, newer) = (grown(&[5]), grown(&[5, 4]));
    let mut files = newer.clone();
    files.insert("journal".to_owned(), older["journal"].clone());
    let error = refused(files);
    assert_eq!(
        error,
        LogError::RolledBack {
            checkpoint: 9,
            journal: 5
        }
    );
    assert_eq!(
        error.to_string(),
        "`journal` was rolled back or damaged: `checkpoint` commits to 9 entries, the journal holds 5 whole ones"
    );
    for missing in ["journal", "checkpoint"] {
        let mut files = newer.clone();
        files.remove(missing);
        assert_eq!(refused(files), LogError::Missing { file: missing });
    }
}

#[test]
fn every_flipped_byte_of_journal_and_checkpoint_is_noticed() {
    let files = grown(&[3]);
    for path in ["journal", "checkpoint"] {
        for position in 0..files[path].len() {
            let mut files = files.clone();
            files.get_mut(path).expect("is there")[position] ^= 1;
            refused(files);
        }
    }
}

#[test]
fn a_journal_with_other_entries_is_refused() {
    let storage = sim();
    let log = open(storage.clone()).expect("opens").0;
    log.append(&[b"x", b"y", b"z"]).expect("appends");
    let mut files = grown(&[3]);
    files.insert("journal".to_owned(), storage.files()["journal"].clone());
    assert!(matches!(refused(files), LogError::OtherRoot { size: 3, .. }));
}

#[test]
fn a_checkpoint_of_another_log_or_key_is_refused() {
    let files = grown(&[3]);
    let present = checked(std::str::from_utf8(&files["checkpoint"]).expect("text")).expect("holds");
    let put = |note: Vec<u8>| {
        let mut files = files.clone();
        files.insert("checkpoint".to_owned(), note);
        refused(files)
    };
    let thief = MemorySigner::from_seed(Algorithm::Ed25519, &[8; 32]).expect("a key");
    let theirs = sign_checkpoint(&present, &thief).expect("signs");
    assert!(matches!(put(theirs.into_bytes()), LogError::Checkpoint(_)));
    let other = Checkpoint {
        origin: "example.org/other".to_owned(),
        ..present
    };
    let other = sign_checkpoint(&other, signer().as_ref()).expect("signs");
    assert!(matches!(put(other.into_bytes()), LogError::Checkpoint(_)));
    assert_eq!(put(vec![0xFF]), LogError::CheckpointText);

    let storage = Arc::new(SimStorage::of(files, 1));
    let error = Log::open(storage, "example.org/other", signer()).expect_err("is refused");
    assert!(matches!(error, LogError::OtherLog { .. }), "{error}");
}

#[test]
fn tiles_that_differ_are_found_and_rebuilt() {
    let files = grown(&[300]);
    let tiles: Vec<&String> = files.keys().filter(|path| path.starts_with("tile/")).collect();
    assert_eq!(
        tiles,
        [
            "tile/0/000",
            "tile/0/001.p/44",
            "tile/1/000.p/1",
            "tile/entries/000",
            "tile/entries/001.p/44"
        ]
    );
    for path in tiles {
        for missing in [false, true] {
            let mut changed = files.clone();
            if missing {
                changed.remove(path);
            } else {
                changed.get_mut(path).expect("is there")[0] ^= 1;
            }
            let storage = Arc::new(SimStorage::of(changed, 1));
            let report = fsck(storage.as_ref(), ORIGIN, &key()).expect("reads");
            assert_eq!(report.problems.len(), 1, "{report:?}");
            assert!(report.problems[0].contains(path.as_str()), "{report:?}");
            let recovery = open(storage.clone()).expect("opens").1;
            assert_eq!(recovery.tiles_rebuilt, 1);
            assert_eq!(storage.files(), files);
        }
    }
    let mut stray = files;
    stray.insert("tile/0/x00/note.txt".to_owned(), b"?".to_vec());
    stray.insert("tile/0/002".to_owned(), vec![0; 8192]);
    let report = fsck(&SimStorage::of(stray, 1), ORIGIN, &key()).expect("reads");
    assert_eq!(report.problems.len(), 2, "{report:?}");
}

#[test]
fn a_second_writer_is_noticed() {
    let storage = sim();
    let (one, two) = (
        open(storage.clone()).expect("opens").0,
        open(storage.clone()).expect("opens").0,
    );
    one.append(&[b"one"]).expect("appends");
    assert!(matches!(two.append(&[b"two"]), Err(LogError::Changed { .. })));
    assert!(matches!(two.leaf(0), Err(LogError::Poisoned(_))));
    one.append(&[b"three"]).expect("the first goes on");
    assert!(fsck(storage.as_ref(), ORIGIN, &key()).expect("reads").is_sound());
}

#[test]
fn an_entry_damaged_while_open_is_not_handed_out() {
    let storage = sim();
    let log = open(storage.clone()).expect("opens").0;
    log.append(&[b"first", b"second"]).expect("appends");
    let mut journal = storage.files()["journal"].clone();
    let position = journal
        .windows(6)
        .position(|window| window == b"second")
        .expect("is there");
    journal[position] ^= 1;
    storage.replace("journal", &journal).expect("replaces");
    assert_eq!(log.leaf(0), Ok(b"first".to_vec()));
    assert_eq!(log.leaf(1), Err(LogError::Damaged { index: 1 }));
}

#[test]
fn threads_may_append_together() {
    let storage = sim();
    let log = open(storage.clone()).expect("opens").0;
    std::thread::scope(|scope| {
        for thread in 0..4_u64 {
            let log = &log;
            scope.spawn(move || {
                for leaf in numbered(thread * 50..thread * 50 + 100) {
                    let index = log.append(&[&leaf]).expect("appends")[0];
                    assert_eq!(log.leaf(index), Ok(leaf));
                }
            });
        }
    });
    assert_eq!(log.size(), 250);
    let report = fsck(storage.as_ref(), ORIGIN, &key()).expect("reads");
    assert!(report.is_sound() && report.size == 250, "{report:?}");
}

#[test]
fn a_hundred_thousand_entries_are_quick() {
    let storage = sim();
    let log = open(storage.clone()).expect("opens").0;
    let leaves = numbered(0..100_000);
    let start = std::time::Instant::now();
    for group in leaves.chunks(1000) {
        append(&log, group).expect("appends");
    }
    let appended = start.elapsed();
    let (again, recovery) = open(storage).expect("opens");
    println!(
        "100000 entries appended in {appended:?}, opened in {:?}",
        start.elapsed() - appended
    );
    assert!(recovery.is_clean());
    assert_eq!((again.size(), again.root()), (100_000, log.root()));
    assert_eq!(again.leaf(99_999), Ok(leaves[99_999].clone()));
    // Far above what it takes, so that only a lost order of growth turns it red.
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn lives_on_a_disk() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let disk = || Arc::new(DiskStorage::open(&folder.path().join("log")).expect("opens"));
    let mut at = 0;
    for group in [3, 252, 1, 400] {
        let (log, recovery) = open(disk()).expect("opens");
        assert!(recovery.created == (at == 0) && recovery.torn_bytes == 0 && recovery.tiles_rebuilt == 0);
        append(&log, &numbered(at..at + group)).expect("appends");
        at += group;
    }
    std::fs::write(folder.path().join("log/.replacing-checkpoint"), b"torn").expect("writes");
    disk().append("journal", b"\0\0\0\x05lea").expect("appends");
    let (log, recovery) = open(disk()).expect("opens");
    assert_eq!((log.size(), recovery.torn_bytes), (656, 7));
    assert_eq!(log.leaves(0..656), Ok(numbered(0..656)));
    log.append(&[b"one more"]).expect("appends");
    assert!(fsck(disk().as_ref(), ORIGIN, &key()).expect("reads").is_sound());
    let names = |path: &str| std::fs::read_dir(folder.path().join(path)).expect("lists").count();
    assert_eq!(
        (names("log"), names("log/tile"), names("log/tile/0")),
        (3, 3, 3),
        "nothing is left over"
    );
}

#[test]
fn the_files_are_a_promise() {
    let files = grown(&[3]);
    let hashes: Vec<u8> = numbered(0..3).iter().flat_map(|leaf| leaf_hash(leaf).0).collect();
    assert_eq!(files["tile/0/000.p/3"], hashes);
    assert_eq!(files["tile/entries/000.p/3"], b"\0\x06leaf 0\0\x06leaf 1\0\x06leaf 2");
    let note = std::str::from_utf8(&files["checkpoint"]).expect("text");
    let root = root_of(&numbered(0..3).iter().map(|leaf| leaf_hash(leaf)).collect::<Vec<_>>());
    assert!(
        note.starts_with(&format!(
            "{ORIGIN}\n3\n{}\n\n\u{2014} {ORIGIN} ",
            STANDARD.encode(root.0)
        )),
        "{note}"
    );
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config { failure_persistence: None, cases: 24, ..Default::default() })]

    #[test]
    fn grouping_does_not_matter(groups in proptest::collection::vec(1_u64..200, 1..6)) {
        let together = grown(&[groups.iter().sum()]);
        let apart = grown(&groups);
        // Apart from the partial tiles of earlier sizes, the files are the same.
        for (path, bytes) in &together {
            assert_eq!(apart.get(path), Some(bytes), "{path}");
        }
    }
}
