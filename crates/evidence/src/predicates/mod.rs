//! Predicate types, and the shapes of those that are ours or that gates read.
//!
//! Standard predicates keep their standard shape; where a gate needs more, it stands in fields the standards
//! tell readers to ignore.

mod canary;
mod chaos;
mod drill;
mod gates;
mod incident;
mod study;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ControlSpec, Digest, FindingId, Observation, Stage, Timestamp, Verdict};

pub use canary::{Arm, CanaryRun};
pub use chaos::{AlertRun, BlindWindow, ChaosExperiment, DetectorRun, FaultRun, InvariantRun, Measured, Moment, Phase};
pub use drill::{Drill, DrillAction, DrillDeviation, DrillExperiment, DrillParticipant, DrillStep, DrillTaken};
pub use gates::{GateExperiment, NotPlanted, PlantResult, PlantRun};
pub use incident::{Incident, IncidentAction, IncidentStep};
pub use study::{
    StudyArm, StudyArmResult, StudyEstimate, StudyExperiment, StudyPlace, StudyPlan, StudyPower, StudyResult, StudyRun,
    StudyTest,
};

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
