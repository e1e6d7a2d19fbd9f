//! Crash campaigns on simulated storage: a crash at every write of random histories, and failed syncs.
//!
//! `cargo xtask soak storage` runs this with `PROOFMARK_SOAK_RUNS` histories from `PROOFMARK_SOAK_SEED` on; run
//! number i has seed `PROOFMARK_SOAK_SEED + i`, so a failing seed is replayed alone with
//! `PROOFMARK_SOAK_SEED=<seed> PROOFMARK_SOAK_RUNS=1`.
//!
//! After every crash the harness re-verifies everything: each acknowledged entry where it was and what it was, with
//! a proof; each checkpoint that was ever handed to the storage consistent with the present one; the files by fsck.

mod common;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use common::{ORIGIN, checked, key, open};
use evidence::{Hash, Storage, StorageError, leaf_hash, verify_consistency, verify_inclusion};
use testkit::{Rng, SimStorage};
use tlog::{Log, LogError, fsck};

const RUNS_DEFAULT: u64 = 10;
const SEED_DEFAULT: u64 = 1;

/// How the log sees the simulated storage: as it is, or through something that breaks a promise.
type Through = fn(Arc<SimStorage>) -> Arc<dyn Storage>;

#[test]
fn acknowledged_entries_survive_a_crash_at_every_write() {
    let number = |name: &str, default| match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is not a number")),
        Err(_) => default,
    };
    let (runs, seed) = (
        number("PROOFMARK_SOAK_RUNS", RUNS_DEFAULT),
        number("PROOFMARK_SOAK_SEED", SEED_DEFAULT),
    );
    let outcome = campaign(runs, seed, |sim| sim);
    for (seed, reason) in &outcome.failures {
        println!("seed {seed}: {reason}");
    }
    println!("{} crashes, {} failed syncs", outcome.crashes, outcome.failed_syncs);
    println!("{runs} runs, {} failures", outcome.failures.len());
    assert!(outcome.failures.is_empty(), "failing seeds: {:?}", outcome.failures);
    assert!(runs == 0 || outcome.crashes > 0);
}

/// The campaign's own test: a log on storage that lies is caught.
#[test]
fn the_campaign_notices_storage_that_does_not_sync() {
    let outcome = campaign(2, 1, |sim| Arc::new(NoSync(sim)));
    assert_eq!(outcome.failures.len(), 2, "{:?}", outcome.failures);
    let lost = |reason: &str| reason.contains("rolled back or damaged");
    assert!(
        outcome.failures.iter().all(|(_, reason)| lost(reason)),
        "{:?}",
        outcome.failures
    );
}

#[derive(Default)]
struct Outcome {
    crashes: u64,
    failed_syncs: u64,
    failures: Vec<(u64, String)>,
}

fn campaign(runs: u64, first: u64, through: Through) -> Outcome {
    let mut outcome = Outcome::default();
    for seed in first..first.saturating_add(runs) {
        let run = catch_unwind(AssertUnwindSafe(|| History::new(seed, through).run(&mut outcome)));
        match run {
            Ok(Ok(())) => {}
            Ok(Err(reason)) => outcome.failures.push((seed, reason)),
            Err(_) => outcome.failures.push((seed, "panicked".to_owned())),
        }
    }
    outcome
}

/// One random history, the same for every crash point.
struct History {
    seed: u64,
    steps: Vec<Step>,
    through: Through,
}

enum Step {
    Append(Vec<Vec<u8>>),
    Reopen,
}

/// What the world was told: it must stay true.
#[derive(Default)]
struct Told {
    /// Acknowledged leaves by index.
    entries: BTreeMap<u64, Vec<u8>>,
    /// Roots by size, of every checkpoint that was ever handed to the storage.
    roots: BTreeMap<u64, Hash>,
}

impl History {
    fn new(seed: u64, through: Through) -> Self {
        let mut rng = Rng::new(seed);
        let count = 3 + rng.below(8);
        let steps = (0..count).map(|_| {
            if rng.percent(15) {
                Step::Reopen
            } else {
                Step::Append(batch(&mut rng))
            }
        });
        History {
            steps: steps.collect(),
            seed,
            through,
        }
    }

    fn run(&self, outcome: &mut Outcome) -> Result<(), String> {
        let undisturbed = Arc::new(SimStorage::new(self.seed));
        let mut told = Told::default();
        self.finish(&undisturbed, 0, &mut told)
            .map_err(|error| format!("undisturbed, {error}"))?;
        told.check(&undisturbed, self.through)?;
        for crash in 1..=undisturbed.writes() {
            outcome.crashes += 1;
            self.crash_at(crash, outcome)
                .map_err(|error| format!("crash at write {crash}: {error}"))?;
        }
        for sync in 1..=undisturbed.syncs() {
            outcome.failed_syncs += 1;
            self.fail_sync_at(sync)
                .map_err(|error| format!("failed sync {sync}: {error}"))?;
        }
        Ok(())
    }

    fn crash_at(&self, crash: u64, outcome: &mut Outcome) -> Result<(), String> {
        let mut rng = Rng::new(self.seed ^ crash.rotate_left(32));
        let storage = Arc::new(SimStorage::new(rng.bits()));
        storage.crash_at(crash);
        let mut told = Told::default();
        let (step, _) = self.play(&storage, 0, &mut told)?.ok_or("the crash did not come")?;
        told.see(&storage)?;
        let storage = self.survive(storage, &mut told, &mut rng, outcome)?;
        self.finish(&storage, step, &mut told)
            .map_err(|error| format!("resumed, {error}"))?;
        told.check(&storage, self.through)?;
        // A second power loss, with nothing under way, takes nothing either.
        told.check(&Arc::new(storage.after_crash(rng.bits())), self.through)
    }

    /// Recovers, with more crashes during recovery now and then, and checks everything.
    fn survive(
        &self,
        crashed: Arc<SimStorage>,
        told: &mut Told,
        rng: &mut Rng,
        outcome: &mut Outcome,
    ) -> Result<Arc<SimStorage>, String> {
        const CRASHES_MAX: u32 = 4;
        let mut storage = crashed;
        for attempt in 0.. {
            // Mostly the machine dies, sometimes only the process.
            let next = if rng.percent(80) {
                storage.after_crash(rng.bits())
            } else {
                storage.after_kill(rng.bits())
            };
            storage = Arc::new(next);
            told.see(&storage)?;
            if attempt < CRASHES_MAX && rng.percent(40) {
                storage.crash_at(1 + rng.below(8));
            }
            let opened = open((self.through)(storage.clone()));
            told.see(&storage)?;
            match opened {
                Ok(_) if storage.crashed() => return Err("opened although the storage crashed".to_owned()),
                Ok(_) => break,
                Err(_) if storage.crashed() => outcome.crashes += 1,
                Err(error) => return Err(format!("can't be opened after the crash: {error}")),
            }
        }
        // The planned crash may not have come: it must not hit what follows.
        let storage = Arc::new(storage.after_kill(rng.bits()));
        told.check(&storage, self.through)?;
        Ok(storage)
    }

    /// A failed sync poisons the log; what the disk then lost must not be missed after it was opened again.
    fn fail_sync_at(&self, sync: u64) -> Result<(), String> {
        let mut rng = Rng::new(self.seed ^ sync.rotate_left(48));
        let storage = Arc::new(SimStorage::new(rng.bits()));
        storage.fail_sync_at(sync);
        let mut told = Told::default();
        let (step, _) = self.play(&storage, 0, &mut told)?.ok_or("the log went on")?;
        told.see(&storage)?;
        if rng.percent(50) {
            let storage = Arc::new(storage.after_crash(rng.bits()));
            told.check(&storage, self.through)?;
        }
        self.finish(&storage, step, &mut told)
            .map_err(|error| format!("resumed, {error}"))?;
        told.check(&Arc::new(storage.after_crash(rng.bits())), self.through)
    }

    /// Plays the steps from `first` on to the end.
    fn finish(&self, storage: &Arc<SimStorage>, first: usize, told: &mut Told) -> Result<(), String> {
        match self.play(storage, first, told)? {
            None => Ok(()),
            Some((step, error)) => Err(format!("step {step}: {error}")),
        }
    }

    /// Plays the steps from `first` on: the step and the error where the log stopped, `None` when all were played.
    /// `Err` when the log did what it must not.
    fn play(
        &self,
        storage: &Arc<SimStorage>,
        first: usize,
        told: &mut Told,
    ) -> Result<Option<(usize, LogError)>, String> {
        let mut log = match open((self.through)(storage.clone())) {
            Ok((log, _)) => log,
            Err(error) => return Ok(Some((first, error))),
        };
        for (step, action) in self.steps.iter().enumerate().skip(first) {
            let leaves = match action {
                Step::Append(leaves) => leaves,
                Step::Reopen => match open((self.through)(storage.clone())) {
                    Ok((reopened, _)) => {
                        log = reopened;
                        continue;
                    }
                    Err(error) => return Ok(Some((step, error))),
                },
            };
            match common::append(&log, leaves) {
                Ok(indices) => told.acknowledge(&log, leaves, &indices)?,
                Err(error) => {
                    poisoned(&log)?;
                    return Ok(Some((step, error)));
                }
            }
        }
        told.see(storage)?;
        Ok(None)
    }
}

/// A group of leaves: mostly few and short, sometimes across a tile's border, some of them known already.
fn batch(rng: &mut Rng) -> Vec<Vec<u8>> {
    let count = match rng.below(10) {
        0 => 100 + rng.below(300),
        1 => 0,
        _ => 1 + rng.below(5),
    };
    let leaf = |rng: &mut Rng| {
        let length = if rng.percent(3) { rng.index(5000) } else { rng.index(40) };
        let known = rng.below(1000);
        if rng.percent(30) {
            known.to_string().into_bytes()
        } else {
            rng.bytes(length)
        }
    };
    (0..count).map(|_| leaf(rng)).collect()
}

/// After a failure every call errors, appends of known leaves included.
fn poisoned(log: &Log) -> Result<(), String> {
    let calls = [
        log.append(&[b"more"]).err(),
        log.append(&[]).err(),
        log.leaves(0..0).err(),
        log.leaf(0).err(),
        log.prove(0, 1).err(),
        log.consistency(0, 0).err(),
    ];
    if calls.iter().all(|call| matches!(call, Some(LogError::Poisoned(_)))) {
        Ok(())
    } else {
        Err(format!("the log goes on after a failure: {calls:?}"))
    }
}

impl Told {
    fn acknowledge(&mut self, log: &Log, leaves: &[Vec<u8>], indices: &[u64]) -> Result<(), String> {
        if indices.len() != leaves.len() {
            return Err("not every leaf got an index".to_owned());
        }
        for (leaf, index) in leaves.iter().zip(indices) {
            if self
                .entries
                .insert(*index, leaf.clone())
                .is_some_and(|before| before != *leaf)
            {
                return Err(format!("index {index} was given twice"));
            }
        }
        self.root(&log.checkpoint())
    }

    /// Takes note of every checkpoint a reader of `storage` may have seen, and looks at the store as a reader does
    /// who comes now, before any recovery: what the checkpoint needs must be there.
    fn see(&mut self, storage: &SimStorage) -> Result<(), String> {
        for note in storage.replaced("checkpoint") {
            self.root(std::str::from_utf8(&note).map_err(|error| error.to_string())?)?;
        }
        let files = storage.files();
        if !files.contains_key("checkpoint") {
            return Ok(());
        }
        let report = fsck(&SimStorage::of(files, 0), ORIGIN, &key()).map_err(|error| error.to_string())?;
        if report.is_sound() {
            Ok(())
        } else {
            Err(format!("before recovery: {report:?}"))
        }
    }

    fn root(&mut self, note: &str) -> Result<(), String> {
        let checkpoint = checked(note)?;
        match self.roots.insert(checkpoint.size, checkpoint.root) {
            Some(before) if before != checkpoint.root => Err(format!("two roots for size {}", checkpoint.size)),
            _ => Ok(()),
        }
    }

    fn check(&mut self, storage: &Arc<SimStorage>, through: Through) -> Result<(), String> {
        let (log, _) = open(through(storage.clone())).map_err(|error| format!("can't be opened: {error}"))?;
        let present = checked(&log.checkpoint())?;
        self.root(&log.checkpoint())?;
        self.check_entries(&log, present.size, &present.root)
            .map_err(|error| format!("{error} (size {})", present.size))?;
        for (old, root) in &self.roots {
            let proof = log
                .consistency(*old, present.size)
                .map_err(|error| format!("from size {old}: {error}"))?;
            verify_consistency(*old, root, present.size, &present.root, &proof)
                .map_err(|error| format!("fork at size {old}: {error}"))?;
        }
        let report = fsck(storage.as_ref(), ORIGIN, &key()).map_err(|error| error.to_string())?;
        if !report.is_sound() || report.size != present.size || report.torn_bytes > 0 || report.entries != report.size {
            return Err(format!("fsck: {report:?}"));
        }
        let (_, again) = open(through(storage.clone())).map_err(|error| format!("can't be opened again: {error}"))?;
        if again.is_clean() {
            Ok(())
        } else {
            Err(format!("repaired twice: {again:?}"))
        }
    }

    fn check_entries(&self, log: &Log, size: u64, root: &Hash) -> Result<(), String> {
        for (index, leaf) in &self.entries {
            let hash = leaf_hash(leaf);
            if log.find(&hash) != Some(*index) {
                return Err(format!("acknowledged entry {index} is at {:?}", log.find(&hash)));
            }
            let held = log.leaf(*index).map_err(|error| error.to_string())?;
            if held != *leaf {
                return Err(format!("acknowledged entry {index} was changed"));
            }
            let proof = log.prove(*index, size).map_err(|error| error.to_string())?;
            verify_inclusion(&hash, &proof, root).map_err(|error| format!("entry {index}: {error}"))?;
        }
        Ok(())
    }
}

/// Storage whose sync says yes and does nothing.
struct NoSync(Arc<SimStorage>);

impl Storage for NoSync {
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.read(path)
    }

    fn read_at(&self, path: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StorageError> {
        self.0.read_at(path, offset, length)
    }

    fn length(&self, path: &str) -> Result<Option<u64>, StorageError> {
        self.0.length(path)
    }

    fn append(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.append(path, bytes)
    }

    fn truncate(&self, path: &str, length: u64) -> Result<(), StorageError> {
        self.0.truncate(path, length)
    }

    fn replace(&self, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
        self.0.replace(path, bytes)
    }

    fn sync(&self, _path: &str) -> Result<(), StorageError> {
        Ok(())
    }

    fn remove(&self, path: &str) -> Result<(), StorageError> {
        self.0.remove(path)
    }

    fn list(&self, folder: &str) -> Result<Vec<String>, StorageError> {
        self.0.list(folder)
    }
}
