//! Predicates of [`STUDY_PLAN`](super::STUDY_PLAN) and [`STUDY_RESULT`](super::STUDY_RESULT): runs in an order that chance drew.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

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

/// Predicate of [`STUDY_PLAN`](super::STUDY_PLAN): what a study will run, in which order, and how it will be judged. Logged before its
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

/// Predicate of [`STUDY_RESULT`](super::STUDY_RESULT): what the logged runs of a study come to. It follows from them alone.
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
