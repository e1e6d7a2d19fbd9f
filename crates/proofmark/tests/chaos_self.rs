//! Proofmark is attacked by its own faults: whatever is done to its evidence, it refuses, and says so; and once the
//! fault is undone, everything holds again. The same for the feed that it matches with.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chaos::{Rehearsal, UndoJournal, Undone};
use common::{Shop, turn};
use testkit::SimStorage;

/// A fault may hold so long.
const TIME_LEFT: Duration = Duration::from_secs(60);

/// Which fault, what is asked while it holds, the answer's exit code, and a word of it.
const REFUSALS: &[(&str, &[&str], i32, &str)] = &[
    ("artifact-tampered", &["release", "--to", "integration"], 4, "changed"),
    ("attestation-expired", &["log", "fsck"], 4, "log entry"),
    ("attestation-forged", &["log", "fsck"], 4, "log entry"),
    ("attestation-missing", &["log", "fsck"], 4, "has lost its envelope"),
    ("attestation-other-subject", &["log", "fsck"], 4, "log entry"),
    (
        "attestation-replayed",
        &["log", "fsck"],
        4,
        "isn't the one that was logged",
    ),
    ("log-entry-tampered", &["log", "fsck"], 4, "log"),
    ("log-split-view", &["log", "fsck"], 4, "checkpoint"),
    ("log-truncated", &["log", "fsck"], 4, "log"),
    ("sbom-tampered", &["log", "fsck"], 4, "isn't the one that was logged"),
    ("store-unavailable", &["log", "fsck"], 4, "the log is gone"),
];

#[test]
fn proofmark_refuses_under_each_fault_on_its_evidence_and_holds_after_the_undo() {
    let _turn = turn();
    let shop = Shop::new();
    shop.run(&["release", "--to", "build"]).expect(0, &["PASS"]);
    shop.run(&["log", "fsck"]).expect(0, &["log holds"]);
    let attacked: Vec<&str> = chaos::faults()
        .iter()
        .filter(|entry| entry.targets == [chaos::TargetKind::Proofmark])
        .map(|entry| entry.id)
        .collect();
    let tabled: Vec<&str> = REFUSALS.iter().map(|(id, ..)| *id).collect();
    assert_eq!(attacked, tabled, "every fault on Proofmark has a row");
    let targets = format!(
        "[chaos.target.own]\nkind = \"proofmark\"\nopted_in = true\nrung = \"isolated\"\nroot = {:?}\n",
        shop.tree.display().to_string()
    );
    for (id, command, code, says) in REFUSALS {
        let before = evidence(&shop.tree);
        let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).expect("a journal");
        let fault = format!("id = \"{id}\"\ntarget = \"own\"\n");
        let mut drill = Rehearsal::new(&fault, &targets, TIME_LEFT).expect("a fault");
        drill.plan(&journal).unwrap_or_else(|reason| panic!("{id}: {reason}"));
        drill
            .inject(&journal, Path::new(""))
            .unwrap_or_else(|reason| panic!("{id}: {reason}"));
        assert_eq!(drill.bites(), Ok(true), "{id}");
        let answer = shop.run(command);
        println!(
            "{id}: {} {}",
            answer.code,
            answer.stderr.lines().next().unwrap_or_default()
        );
        assert_eq!(drill.bites(), Ok(true), "{id}: asking has changed the evidence");
        answer.expect(*code, &[says]);
        assert_eq!(drill.undo(&journal), Ok(Undone::Restored), "{id}");
        let after = evidence(&shop.tree);
        // A release logs what it does until it is refused.
        let may_have_grown = command.contains(&"release");
        let changed: Vec<&PathBuf> = before
            .keys()
            .chain(after.keys())
            .filter(|path| before.get(*path) != after.get(*path))
            .filter(|path| !may_have_grown || path.starts_with(shop.tree.join(".proofmark/blobs")))
            .collect();
        assert!(changed.is_empty(), "{id}: {changed:?}");
        shop.run(&["log", "fsck"]).expect(0, &["log holds"]);
    }
}

#[test]
fn a_poisoned_or_stale_feed_is_no_clean_one() {
    const RECORD: &str = "advisories/RUSTSEC-2020-0071.json";
    let shop = Shop::new();
    common::must("cp", &["-a", "advisories", "older"], &shop.tree);
    std::fs::remove_file(shop.tree.join("older/RUSTSEC-2020-0071.json")).expect("removed");
    let targets = format!(
        "[chaos.target.feed]\nkind = \"files\"\nopted_in = true\nrung = \"isolated\"\nroot = {:?}\n",
        shop.tree.display().to_string()
    );
    let feed = || std::fs::read(shop.tree.join(RECORD)).ok();
    let before = feed();
    let poisoned = format!("id = \"feed-poisoned\"\ntarget = \"feed\"\npath = \"{RECORD}\"\n");
    let stale = "id = \"feed-stale\"\ntarget = \"feed\"\npath = \"advisories\"\nolder = \"older\"\n".to_owned();
    // The second release of a machine compares with the first, and says so before it reads the database.
    for (fault, code, says) in [(poisoned, 2, "pins"), (stale, 3, "no longer holds `advisory")] {
        let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).expect("a journal");
        let mut drill = Rehearsal::new(&fault, &targets, TIME_LEFT).expect("a fault");
        drill.plan(&journal).expect("it can bite");
        drill.inject(&journal, Path::new("")).expect("injected");
        assert_ne!(feed(), before, "{fault}");
        shop.run(&["release", "--to", "build"]).expect(code, &[says]);
        assert_eq!(drill.undo(&journal), Ok(Undone::Restored), "{fault}");
        assert_eq!(feed(), before, "{fault}");
    }
}

/// Digest of each file of log, envelopes and artifacts.
fn evidence(tree: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders: Vec<PathBuf> = ["log", "envelopes", "blobs"]
        .iter()
        .map(|part| tree.join(".proofmark").join(part))
        .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let digest = evidence::Digest::of(&std::fs::read(&path).expect("a file"));
                found.insert(path, digest.hex());
            }
        }
    }
    found
}
