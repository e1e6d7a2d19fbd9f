//! Predicate of [`CHAOS`](super::CHAOS): one run of one experiment, and how it was measured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::StudyPlace;
use crate::{Digest, Timestamp};

/// Predicate of [`CHAOS`](super::CHAOS): one run of one experiment, as measured. Durations are microseconds of boot time
/// from the end of injection unless said otherwise; `None` where a thing never happened within the window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ChaosExperiment {
    /// File of the experiment, relative to the tree.
    pub experiment: String,
    pub title: String,
    /// SHA-256 of the experiment file.
    pub digest: Digest,
    /// Catalogue id of each fault, in order of injection, and its parameters.
    pub faults: Vec<FaultRun>,
    pub steady_before: bool,
    pub steady_after: bool,
    /// Detectors that were armed; one that failed its self-test makes the run unknown.
    pub detectors: Vec<DetectorRun>,
    /// From the start of injection.
    pub detected_us: Option<u64>,
    pub contained_us: Option<u64>,
    pub recovered_us: Option<u64>,
    /// How long was watched.
    pub window_us: u64,
    /// Requests while the fault was in force: sent, refused as they should be, wrongly served, failed.
    pub workload: BTreeMap<String, u64>,
    /// True when the system restored steady state itself; our own undo never counts.
    pub recovered_by_itself: bool,
    /// How close to people it came: `isolated`, `mirrored`, `canary`, `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rung: Option<String>,
    /// Declared targets that were touched, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<String>,
    /// Digest of the faults and their parameters without the names of targets: the same on every rung.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<Digest>,
    /// The study that it is a run of, and its place there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub study: Option<StudyPlace>,
    /// Why the run could not be judged, if so: never a pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
    /// What went wrong, in words for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What every figure of the run can be computed from again; `None` where nothing was injected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<Measured>,
}

/// The measurement of one run. Times are whole microseconds of one monotonic clock (boot time), from the start of the
/// injection; nothing of another machine's clock is ever in them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Measured {
    /// 128 random bits in hex. Names the run, and is planted where a fault can carry it.
    pub run: String,
    /// UTC at the start of the injection, for people; no duration is computed from it.
    pub began: Timestamp,
    /// When the last injection was over: the injection is an interval, from 0.
    pub injected_us: u64,
    /// When every fault that ends by itself had ended; recovery counts from there where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_us: Option<u64>,
    /// When our own undo began: what comes after it is never credited to the system.
    pub undo_us: u64,
    /// `detected`, `notified`, `acknowledged`, `responded`, `contained`, `recovered`: those that could be seen at all.
    pub moments: BTreeMap<String, Moment>,
    /// What detectors said, credited or not, in order of time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<AlertRun>,
    /// Windows in which nothing was injected: what fires there is a false alert.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blind: Vec<BlindWindow>,
    /// What was registered beforehand as having to hold throughout.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub invariants: Vec<InvariantRun>,
    /// Services that served what they had to refuse, and how each fails open, by name: `fail-open`,
    /// `fail-open-until-cache-expiry`, `fail-open-on-timeout`…
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, String>,
    /// The workload `before`, `during` and `after` the fault.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub phases: BTreeMap<String, Phase>,
}

/// One moment of a run: when it came, or how long it did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Moment {
    /// `None`: it never came while it was watched for; censored there, not dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_us: Option<u64>,
    /// Where it is counted from: 0, or the end of what ends by itself. Its duration is `at_us - from_us`.
    pub from_us: u64,
    /// Until when it was watched for.
    pub until_us: u64,
    /// It lies at most so much before the time that is told: the pause between two looks.
    pub resolution_us: u64,
    /// Who or what: a detector's id, a person's name, a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Moment {
    /// Microseconds it took, and whether it was observed (`false`: right-censored there).
    pub fn duration_us(&self) -> (u64, bool) {
        let at = self.at_us.unwrap_or(self.until_us);
        (at.saturating_sub(self.from_us), self.at_us.is_some())
    }
}

/// Something a detector said while a run was watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AlertRun {
    /// The detector's id.
    pub detector: String,
    /// From the start of the injection, negative where it came before.
    pub at_us: i64,
    /// What joins it to the injection: `run-id`, `entity-and-technique`, `window` (weak), or `none`.
    pub correlation: String,
    /// It counts as a detection.
    pub credited: bool,
    /// Why it does not, if so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// A window in which nothing was injected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BlindWindow {
    /// From the start of the injection: negative.
    pub from_us: i64,
    pub until_us: i64,
    /// What was done instead of a fault: `nothing`, or `marker` (the run's name planted, and nothing else).
    pub planted: String,
    /// Ids of detectors that fired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fired: Vec<String>,
}

/// An invariant that was registered before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InvariantRun {
    pub id: String,
    /// Which of `confidentiality`, `integrity`, `availability` it stands for.
    pub property: String,
    /// Looks that gave an answer while the fault was in force, and those in which it did not hold.
    pub looks: u64,
    pub broken: u64,
    /// When it was first seen broken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_us: Option<u64>,
    /// How it broke, by name: `fail-open-under-load`, `not-served`, `slow`, `lost-write`, `stale-read`…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
}

/// Requests of the steady workload in one phase of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Phase {
    pub requests: u64,
    pub served: u64,
    /// Of those served; 0 where none was.
    pub p50_us: u64,
    pub p99_us: u64,
}

/// A fault as it was injected and undone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultRun {
    pub fault: String,
    pub parameters: BTreeMap<String, Value>,
    /// `process-bounded`, `journaled`, `irreversible`…
    pub undo_class: String,
    /// Its probe said that it really bit.
    pub bit: bool,
    /// Undone, or its way forward taken, and read back.
    pub undone: bool,
    /// From the decision to undo until read back.
    pub undo_us: u64,
    /// ATT&CK techniques that it stands for, as the catalogue had them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub techniques: Vec<String>,
}

/// A detector that was armed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DetectorRun {
    pub id: String,
    /// `sigma`, `probe` or `alert`.
    pub kind: String,
    pub self_test: bool,
    /// True when it fired before anything was injected: it then proves nothing.
    pub false_alarm: bool,
    pub detected_us: Option<u64>,
    /// What is wrong with it, by name: `dead`, `always-on`, `flapping`, `late`, `wrong-reason`, `reads-run-id`…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diagnosis: Option<String>,
}
