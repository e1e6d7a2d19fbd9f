//! # chaos/atomic-test
//! An Atomic Red Team test is run in a throwaway copy of the machine.
//!
//! ## What it does
//! Reads a technique's file below the target's `root` (a folder of <https://github.com/redcanaryco/atomic-red-team>, the one
//! that holds `T1003.008/` and the like) and runs one of its tests in a copy of this machine: an overlay in memory over the
//! host's files, and namespaces of its own for users, processes, mounts, network and the rest. `test` is the test's number
//! in the file, from 1. The probe asks whether the copy is there and the attack goes on in it, or has been made and is
//! held; a test that can't run here (its prerequisite isn't met, it is for a person) never bites, and its reason is told.
//!
//! - Undo class: `sandbox-discard`. The copy vanishes with its process, whatever happens; nothing of it was ever on a
//!   disk.
//! - Rights: user namespaces; root where the test has to see files as root does.
//! - Targets: `files`.
//! - ATT&CK: T1059.004 (Unix shell), and the technique of the file. CWE: CWE-693 (protection mechanism failure).
//! - Expected effect: confidentiality kept, the copy has no network and its output is not kept; integrity kept, writes
//!   go to memory; availability kept, processes, memory and time of the copy are bounded.
//!
//! ## Why it matters
//! Detections are written for techniques, and rot unseen. Whether a sensor of this host notices one is only known by
//! doing it.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "atomic-test"
//! target = "atomics"
//! path = "T1003.008/T1003.008.yaml"
//! test = 1
//! ```
//!
//! ## What to do instead
//! Where the test isn't noticed, write a detection for its technique, and let this experiment ask for it.
//!
//! ## References
//! - <https://github.com/redcanaryco/atomic-red-team>
//! - <https://attack.mitre.org/techniques/T1059/004/>
//! - <https://cwe.mitre.org/data/definitions/693.html>

use std::collections::BTreeMap;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use host::process::Cancel;
use serde_json::Value;

use crate::atomic::{self, Options, Outcome, Test};
use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::TargetKind;
use crate::{files, held_linux};

pub(super) const ENTRY: Entry = Entry {
    id: "atomic-test",
    undo_class: UndoClass::SandboxDiscard,
    rights: "user namespaces; root where the test has to see files as root does",
    attack: &["T1059.004"],
    cwe: &["CWE-693"],
    effect: Effect {
        confidentiality: "kept: the copy has no network, and its output is not kept",
        integrity: "kept: writes go to memory",
        availability: "kept: processes, memory and time of the copy are bounded",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path", "test"],
    read,
};

/// A test that can't run says so within this time; one that runs for longer is in force.
const REFUSAL_MS_MAX: u64 = 1_200;

#[derive(Debug)]
struct AtomicTest {
    target: String,
    path: String,
    test: u64,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let path = files::read_path(section, "path");
    let test = section.number("test", 1..=1_000);
    let strike = AtomicTest {
        target: target?,
        path: path?,
        test: test?,
    };
    boxed(const { &ENTRY }, strike, None)
}

impl AtomicTest {
    fn load(&self, site: &Site) -> Result<Test, String> {
        let bytes = files::contents(site.target(&self.target)?, &self.path)?;
        let (technique, problems) = atomic::parse(&bytes, &self.path);
        let problem = || {
            problems
                .first()
                .map_or_else(String::new, |problem| problem.message.clone())
        };
        let tests = technique
            .ok_or_else(|| format!("`{}` is no technique: {}", self.path, problem()))?
            .tests;
        let count = tests.len();
        tests
            .into_iter()
            .find(|test| test.number as u64 == self.test)
            .ok_or_else(|| format!("`{}` has {count} tests, none is number {}", self.path, self.test))
    }
}

impl Strike for AtomicTest {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("path".to_owned(), self.path.clone().into()),
            ("test".to_owned(), self.test.into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "run test {} of `{}` of `{}` in a throwaway copy of the machine",
            self.test, self.path, self.target
        )
    }

    fn undo_action(&self) -> String {
        "end the copy: nothing of it was ever on a disk".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let test = self.load(site)?;
        Ok(Record::from([
            ("technique".to_owned(), test.technique.into()),
            ("name".to_owned(), test.name.into()),
        ]))
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("a process of its own holds this fault".to_owned())
    }

    fn hold(&self, site: &Site, record: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let test = self.load(site)?;
        let options = Options {
            atomics: Some(site.target(&self.target)?.path("root")?),
            timeout: site.time_left,
            ..Options::default()
        };
        let (said, saying) = channel();
        let thread = held_linux::thread(record, move || {
            let ended = match atomic::run(&test, &options, &Cancel::new()) {
                Ok(Outcome::Ran(_)) => Ok(()),
                Ok(Outcome::NotRun(reason)) => Err(reason.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let _ = said.send(ended.clone());
            ended?;
            // The attack was made; that it was is held until somebody ends it.
            loop {
                std::thread::park();
            }
        })?;
        match saying.recv_timeout(Duration::from_millis(REFUSAL_MS_MAX)) {
            Ok(Err(reason)) => return Err(reason),
            Ok(Ok(())) | Err(RecvTimeoutError::Timeout) => ready(),
            Err(RecvTimeoutError::Disconnected) => {}
        }
        thread.join().map_err(|_| "the thread broke")?
    }

    fn bites(&self, _: &Site, record: &Record) -> Result<bool, String> {
        Ok(held_linux::is_held(record))
    }

    fn undo(&self, _: &Site, _: &Record) -> Result<Undone, String> {
        Ok(Undone::Restored)
    }
}
