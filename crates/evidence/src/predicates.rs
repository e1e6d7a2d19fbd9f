//! Predicate types, and the shapes of those that are ours or that gates read.
//!
//! Standard predicates keep their standard shape; where a gate needs more, it stands in fields the standards
//! tell readers to ignore.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ControlSpec, Digest, FindingId, Observation, Stage, Timestamp, Verdict};

/// SLSA provenance v1 (<https://slsa.dev/spec/v1.0/provenance>).
pub const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// SLSA verification summary v1 (<https://slsa.dev/spec/v1.0/verification_summary>).
pub const VSA: &str = "https://slsa.dev/verification_summary/v1";
/// CycloneDX BOM as predicate (<https://cyclonedx.org/specification/overview/>).
pub const SBOM: &str = "https://cyclonedx.org/bom";
/// in-toto vulns (<https://github.com/in-toto/attestation/blob/main/spec/predicates/vuln.md>).
pub const VULNS: &str = "https://in-toto.io/attestation/vulns/v0.1";
/// in-toto test result (<https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md>).
pub const TEST_RESULT: &str = "https://in-toto.io/attestation/test-result/v0.1";
pub const SECRET_SCAN: &str = "https://proofmark.dev/secret-scan/v0.1";
pub const DEPENDENCY_REVIEW: &str = "https://proofmark.dev/dependency-review/v0.1";
pub const LICENCES: &str = "https://proofmark.dev/licences/v0.1";
pub const DYNAMIC_TEST: &str = "https://proofmark.dev/dynamic-test/v0.1";
pub const RUNTIME: &str = "https://proofmark.dev/runtime-composition/v0.1";
pub const CHAOS: &str = "https://proofmark.dev/chaos-experiment/v0.1";
pub const STUDY_PLAN: &str = "https://proofmark.dev/study-plan/v0.1";
pub const STUDY_RESULT: &str = "https://proofmark.dev/study-result/v0.1";
pub const GATES: &str = "https://proofmark.dev/gate-experiment/v0.1";
pub const CANARY: &str = "https://proofmark.dev/canary/v0.1";
pub const INCIDENT: &str = "https://proofmark.dev/incident/v0.1";
pub const DRILL: &str = "https://proofmark.dev/drill/v0.1";
pub const ATTEMPT: &str = "https://proofmark.dev/release-attempt/v0.1";
pub const APPROVAL: &str = "https://proofmark.dev/approval/v0.1";
pub const WAIVER: &str = "https://proofmark.dev/waiver/v0.1";

/// What the role `step` signs.
pub const STEP: [&str; 17] = [
    ATTEMPT,
    SECRET_SCAN,
    DEPENDENCY_REVIEW,
    TEST_RESULT,
    PROVENANCE,
    SBOM,
    VULNS,
    LICENCES,
    DYNAMIC_TEST,
    RUNTIME,
    CHAOS,
    STUDY_PLAN,
    STUDY_RESULT,
    GATES,
    CANARY,
    INCIDENT,
    DRILL,
];

/// Predicate of [`SECRET_SCAN`], [`DEPENDENCY_REVIEW`], [`LICENCES`], [`DYNAMIC_TEST`] and [`RUNTIME`]:
/// what a check of ours saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observed {
    /// What looked, and its version: `proofmark/0.1.0`.
    pub tool: String,
    pub observation: Observation,
    /// Further facts by name: counts, limits, digests.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub facts: BTreeMap<String, Value>,
}

/// Predicate of [`ATTEMPT`]: what a release attempt is. Its canonical digest identifies the attempt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Attempt {
    /// Name and version from the configuration.
    pub name: String,
    pub version: String,
    /// Git commit, when the tree is in a repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    /// Our own SHA-256 digest of the tree, dirty files included.
    pub tree: Digest,
    pub configuration: Digest,
    /// Digest of the trust root's floor.
    pub policy: Digest,
    pub trust_root: Digest,
    /// Attempt that was last promoted before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Digest>,
    /// 1 for the first attempt on this store, then one more each.
    pub number: u64,
    /// The controls in force, floor and configuration together: what the next attempt is held against.
    pub controls: Vec<ControlSpec>,
    /// Checks that the plan expects, as (stage, check): the denominator of attestation coverage.
    pub expected: Vec<(Stage, String)>,
}

impl Attempt {
    /// The identity of this attempt.
    pub fn digest(&self) -> Digest {
        Digest::of(&crate::to_canonical(self))
    }
}

/// Predicate of [`TEST_RESULT`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestResult {
    /// `PASSED`, `WARNED` or `FAILED`.
    pub result: String,
    /// ResourceDescriptors of what configured the tests.
    pub configuration: Vec<Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passed_tests: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warned_tests: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed_tests: Vec<String>,
}

/// Predicate of [`VULNS`], with what a gate needs beside the standard's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vulns {
    pub scanner: Scanner,
    pub metadata: ScanMetadata,
    /// Ours: the same matches as findings, with what could not be judged.
    pub observation: Observation,
}

/// The scanner of [`Vulns`] and what it saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Scanner {
    pub uri: String,
    pub version: String,
    pub db: ScannerDatabase,
    /// `{id, severity: [{method, score}], annotations}` as the standard has it.
    pub result: Vec<Value>,
}

/// The advisory database of a [`Scanner`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScannerDatabase {
    pub uri: String,
    /// SHA-256 over the database's content.
    pub version: String,
    /// When its newest record was changed.
    pub last_update: Timestamp,
    /// Ours: how old it may be; `None` when the project pins it for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_days_max: Option<u64>,
    /// Ours: number of advisories.
    pub advisories: u64,
}

/// When a scan ran.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScanMetadata {
    pub scan_started_on: Timestamp,
    pub scan_finished_on: Timestamp,
}

/// Predicate of [`CHAOS`]: one run of one experiment, as measured. Durations are microseconds of boot time
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

/// Which run of a study a [`ChaosExperiment`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyPlace {
    /// [`StudyPlan::canonical_digest`].
    pub plan: Digest,
    /// From 0, in the order in which they run.
    pub block: u64,
    /// Within the block, from 0.
    pub position: u64,
    pub arm: StudyArm,
}

/// An arm of a study.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StudyArm {
    Treatment,
    Control,
}

impl StudyArm {
    pub fn name(self) -> &'static str {
        match self {
            StudyArm::Treatment => "treatment",
            StudyArm::Control => "control",
        }
    }
}

/// Predicate of [`STUDY_PLAN`]: what a study will run, in which order, and how it will be judged. Logged before its
/// first run; its canonical digest identifies the study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyPlan {
    /// File of the study, relative to the tree, and its digest.
    pub study: String,
    pub digest: Digest,
    pub title: String,
    /// `treatment-control`, `sham` (control: the same, nothing injected) or `aa` (the same in both arms).
    pub design: String,
    pub treatment: StudyExperiment,
    pub control: StudyExperiment,
    /// `detected`, `contained` or `recovered`.
    pub outcome: String,
    /// What happens later counts as not happened.
    pub window_us: u64,
    /// The order is drawn from this number, in decimal.
    pub seed: String,
    /// Arms by block, in the order in which they run.
    pub order: Vec<Vec<StudyArm>>,
    pub alpha: f64,
    /// How it is judged, in words for people.
    pub analysis: String,
    /// The smallest p that a study of this order can come to.
    pub smallest_p: f64,
    /// Share of the control's runs that the power table supposes it happens in.
    pub expected_share: f64,
    pub power: Vec<StudyPower>,
}

impl StudyPlan {
    /// The identity of this study.
    pub fn canonical_digest(&self) -> Digest {
        Digest::of(&crate::to_canonical(self))
    }

    /// All places, in the order in which they run.
    pub fn places(&self) -> Vec<StudyPlace> {
        let plan = self.canonical_digest();
        let blocks = self.order.iter().enumerate();
        blocks
            .flat_map(|(block, arms)| {
                arms.iter().enumerate().map(move |(position, arm)| StudyPlace {
                    plan,
                    block: block as u64,
                    position: position as u64,
                    arm: *arm,
                })
            })
            .collect()
    }
}

/// What an arm of a study runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyExperiment {
    /// File of the experiment, relative to the tree, and its digest.
    pub experiment: String,
    pub digest: Digest,
    /// Its faults are left out.
    pub sham: bool,
}

/// How often a study of this size finds a difference of this size.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyPower {
    /// Rate of the treatment by that of the control: 2 is twice as fast.
    pub hazard_ratio: f64,
    pub power: f64,
}

/// Predicate of [`STUDY_RESULT`]: what the logged runs of a study come to. It follows from them alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyResult {
    /// [`StudyPlan::canonical_digest`], and where the plan stands in the log.
    pub plan: Digest,
    pub plan_index: u64,
    pub title: String,
    pub design: String,
    pub outcome: String,
    pub window_us: u64,
    pub alpha: f64,
    /// Runs that were planned, and places of which none is logged.
    pub planned: u64,
    pub missing: u64,
    pub arms: BTreeMap<StudyArm, StudyArmResult>,
    /// Absent where an arm has too few runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<StudyTest>,
    /// Every place that has a run, in order.
    pub runs: Vec<StudyRun>,
    /// What did not go as planned, in words for people: runs out of order, twice, of another experiment.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deviations: Vec<String>,
}

/// One arm of a [`StudyResult`]. Times are seconds. Estimates are absent under five runs, where `raw` says it all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyArmResult {
    /// Runs whose outcome is known; in so many it happened, in so many it had not when the window closed.
    pub n: u64,
    pub events: u64,
    pub censored: u64,
    /// Runs whose outcome is not known: in no estimate.
    pub unknown: u64,
    /// Times of the runs whose outcome is known, in order, where they are fewer than five; `None`: not within the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raw: Option<Vec<Option<f64>>>,
    /// Share in which it happened within the window (Wilson's interval).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probability: Option<StudyEstimate>,
    /// Kaplan-Meier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median: Option<StudyEstimate>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restricted_mean: Option<StudyEstimate>,
}

/// An estimate with its 95 % interval; `None` for what was not reached within the window.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyEstimate {
    pub value: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
}

/// The comparison of the arms.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyTest {
    /// Observed less expected events of the treatment: positive where it is faster.
    pub excess: f64,
    /// Two-sided mid-p of the log-rank scores against every order that the blocks allowed.
    pub p: f64,
    /// `exact` (every order counted) or `normal` (their exact variance, and the normal limit).
    pub method: String,
    /// Smallest and largest p that the runs of unknown outcome could have made of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_unknown: Option<(f64, f64)>,
    /// `p` is at most alpha, whatever the runs of unknown outcome were.
    pub differs: bool,
}

/// One run of a study, as the log has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StudyRun {
    /// Where it stands in the log.
    pub index: u64,
    pub block: u64,
    pub position: u64,
    pub arm: StudyArm,
    /// When it happened; `None` where it had not, or isn't known.
    pub time_us: Option<u64>,
    /// Until when was watched.
    pub watched_us: u64,
    /// Why the outcome isn't known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
}

/// Predicate of [`GATES`]: known-bad commits, dependencies and artifacts that were planted in a throwaway branch of a
/// tree, and what its gates said of each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct GateExperiment {
    pub tree: Digest,
    pub configuration: Digest,
    /// Digest of the trust root's floor.
    pub policy: Digest,
    /// What was planted is made from this number, in decimal: the same seed plants the same.
    pub seed: String,
    /// The last stage that the tree passed with nothing planted.
    pub clean: Stage,
    pub plants: Vec<PlantRun>,
    /// What this tree has no place for, each with the reason; no part of any denominator.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_applicable: Vec<NotPlanted>,
}

impl GateExperiment {
    /// Plants that a gate decided on: the denominator.
    pub fn planted(&self) -> u64 {
        self.plants
            .iter()
            .filter(|run| run.result != PlantResult::NotJudged)
            .count() as u64
    }

    pub fn missed(&self) -> u64 {
        self.plants
            .iter()
            .filter(|run| run.result == PlantResult::Missed)
            .count() as u64
    }
}

/// One plant, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlantRun {
    /// Catalogue id: `secret-private-key`.
    pub plant: String,
    /// Which of several of its kind; empty where there is one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// What was planted, in words; never a value.
    pub what: String,
    /// Where it should be blocked at the latest.
    pub stage: Stage,
    /// What should block it: a control, or `refusal` where evidence that was tampered with is to be refused.
    pub expected: String,
    pub result: PlantResult,
    /// What blocked it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// The stage that did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stage>,
    /// It was blocked because something could not be proved, not because something was found.
    #[serde(default)]
    pub undecided: bool,
}

/// What became of a plant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlantResult {
    /// Blocked by what should block it.
    Caught,
    /// Blocked, by something else.
    CaughtElsewhere,
    /// It passed.
    Missed,
    /// The gate came to no decision: an error of the tool or of the host.
    NotJudged,
}

/// A plant that a tree has no place for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NotPlanted {
    pub plant: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
    pub reason: String,
}

/// Predicate of [`CANARY`]: old and new side by side.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CanaryRun {
    pub old: Option<Digest>,
    /// Where the old one comes from: `promoted` (log index) or `baseline`.
    pub old_source: String,
    pub new: Digest,
    /// `promote`, `halt` or `undecided`.
    pub decision: String,
    /// Why, in words for people.
    pub reason: String,
    pub arms: BTreeMap<String, Arm>,
    /// Evidence (e-value) that the new one is worse than allowed, by measure.
    pub worse: BTreeMap<String, f64>,
    /// Evidence (e-value) that the new one is not worse than the margin, by measure.
    pub not_worse: BTreeMap<String, f64>,
    /// Each e-value decides at `1 / alpha`.
    pub alpha: f64,
    /// What was allowed, by name: `error_margin`, `slow_margin` (shares of requests), `slow_ms`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub limits: BTreeMap<String, f64>,
    /// Weight of the new one at the end, per cent, as read back from the router.
    pub final_weight: u32,
}

/// Counts of one arm.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arm {
    pub requests: u64,
    pub errors: u64,
    /// Requests over the latency limit.
    pub slow: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

/// Predicate of [`INCIDENT`]: what a playbook did after a check of this attempt had shown something bad. No control
/// reads it: what was done about a failure doesn't make it a pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Incident {
    /// Checks of this attempt that led to it: `canary`, `experiment:FILE`.
    pub causes: Vec<String>,
    /// What they showed, in words for people.
    pub reason: String,
    /// File of the playbook, relative to the tree, and its name.
    pub playbook: String,
    pub name: String,
    /// SHA-256 of the playbook's text.
    pub digest: Digest,
    /// Names the playbook's run in the store.
    pub run: String,
    /// `succeeded`, `failed` or `waiting` (for a person).
    pub outcome: String,
    /// Why it failed, or what it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    pub steps: Vec<IncidentStep>,
    /// What was done within the release, in order.
    pub actions: Vec<IncidentAction>,
}

/// One command of one execution of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentStep {
    pub step: String,
    /// Who acted: this program, or the person who answered.
    pub by: String,
    pub began: Timestamp,
    pub changed: Timestamp,
    /// `done`, `failed: …`, `waiting`, `interrupted`.
    pub outcome: String,
}

/// A command that acted on the release, and what was read back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct IncidentAction {
    pub at: Timestamp,
    /// Its words: `rollout rollback RELEASE`.
    pub command: String,
    pub ok: bool,
    pub answer: String,
}

/// Predicate of [`DRILL`]: a rehearsal of a playbook with people, as it went: the after-action record. No control reads
/// it. Durations are microseconds from the announcement, of boot time unless [`Drill::wall_clock`] says otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Drill {
    /// File of the playbook, or its name in the library; and what it is called.
    pub playbook: String,
    pub name: String,
    /// SHA-256 of the playbook's text.
    pub digest: Digest,
    /// Names the playbook's run in the store.
    pub run: String,
    /// What people were told.
    pub announcement: String,
    /// True when machine actions were really done; otherwise each was only said.
    pub live: bool,
    /// When it was announced.
    pub started: Timestamp,
    /// The machine was restarted meanwhile: boot time began anew, and what came after it is measured by UTC.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub wall_clock: bool,
    /// The experiment that was injected at the announcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub experiment: Option<DrillExperiment>,
    /// `succeeded`, `failed`, or `stopped` when it was closed before its end.
    pub outcome: String,
    /// By name: `announced` (0), `notified` (the first person was asked), `acknowledged` (the first signed answer was
    /// given), `over` (the playbook's end), `closed`. What never happened is absent.
    pub milestones_us: BTreeMap<String, u64>,
    pub participants: Vec<DrillParticipant>,
    /// The playbook's own way when every step succeeds, in order.
    pub expected: Vec<DrillStep>,
    /// What was done, in order of its beginning.
    pub taken: Vec<DrillTaken>,
    pub deviations: Vec<DrillDeviation>,
    /// What people wrote.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What is to be done about it, and who does it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<DrillAction>,
}

/// The experiment of a [`Drill`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillExperiment {
    /// Its file, as it was named.
    pub file: String,
    /// Log index of its own statement; `None` where it came to none, and why stands in `problem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// Somebody who answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillParticipant {
    /// As they gave it.
    pub name: String,
    /// Keys that signed what they said.
    pub keys: Vec<crate::KeyId>,
}

/// A step that a playbook has people or machines do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillStep {
    /// Its id in the playbook.
    pub step: String,
    pub name: String,
    /// True where a person does it.
    pub person: bool,
    /// True where it depends on a condition: that it wasn't taken is no deviation.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// After this long it has failed, microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_us: Option<u64>,
}

/// One execution of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillTaken {
    pub step: String,
    pub name: String,
    /// Who acted: the person who answered, or this program.
    pub by: String,
    /// It was asked for, or begun.
    pub began_us: u64,
    /// Answered, or done; `None` where it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done_us: Option<u64>,
    /// `done`, `rehearsed`, `failed: …`, `waiting`, `interrupted`.
    pub outcome: String,
}

/// Where it went another way than the playbook has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillDeviation {
    /// `skipped`, `timed-out`, `failed`, `unanswered`, `out-of-order`, `unexpected`.
    pub kind: String,
    pub step: String,
    pub what: String,
}

/// What is left to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DrillAction {
    pub owner: String,
    pub action: String,
}

/// Predicate of [`VSA`]: what a gate decided, with our verdict beside the standard's fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VerificationSummary {
    pub verifier: Value,
    pub time_verified: Timestamp,
    pub resource_uri: String,
    pub policy: Value,
    /// `{uri, digest}` of each statement that was read.
    pub input_attestations: Vec<Value>,
    /// `PASSED` or `FAILED`; indeterminate is `FAILED`.
    pub verification_result: String,
    pub verified_levels: Vec<String>,
    pub slsa_version: String,
    /// Ours.
    pub verdict: Verdict,
}

/// Predicate of [`APPROVAL`]: a person lets something pass that no rule may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approval {
    /// `first-release`, `loosened-controls` or `rerun`; for a chaos experiment, by one digest over it and the
    /// declarations of what it attacks, `chaos-ethics`, `chaos-legal` or `chaos-run`; for a person's answer to a playbook, by that answer's digest, `playbook-step`.
    pub what: String,
    /// The digest that is approved: tree digest, or configuration digest for `loosened-controls`.
    pub subject: Digest,
    pub reason: String,
    pub expires: Timestamp,
}

/// Predicate of [`WAIVER`]: a person accepts one finding, until a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Waiver {
    pub finding: FindingId,
    pub rule: String,
    pub reason: String,
    pub expires: Timestamp,
}
