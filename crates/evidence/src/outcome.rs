//! Three-valued answers, and verdicts made of them.

use serde::{Deserialize, Serialize};

use crate::Stage;

/// What a check or a gate concludes. A check that is missing, failed to run, stale or partial is
/// `Indeterminate`, never `Pass`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Pass,
    Indeterminate,
    Fail,
}

impl Outcome {
    /// Fail beats Indeterminate beats Pass.
    #[must_use]
    pub fn and(self, other: Outcome) -> Outcome {
        match (self, other) {
            (Outcome::Fail, _) | (_, Outcome::Fail) => Outcome::Fail,
            (Outcome::Indeterminate, _) | (_, Outcome::Indeterminate) => Outcome::Indeterminate,
            (Outcome::Pass, Outcome::Pass) => Outcome::Pass,
        }
    }

    /// The strongest of many. No answer at all is not a pass.
    pub fn all(outcomes: impl IntoIterator<Item = Outcome>) -> Outcome {
        outcomes
            .into_iter()
            .reduce(Outcome::and)
            .unwrap_or(Outcome::Indeterminate)
    }

    pub fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Indeterminate => "indeterminate",
            Outcome::Fail => "fail",
        }
    }
}

/// Why a control said what it said, in the words of the screen, the log and the report alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Reason {
    /// The control that decided, as `explain` takes it: `control/no-secrets`.
    pub control: String,
    pub outcome: Outcome,
    /// The id to `explain`: a rule, fault or control.
    pub id: String,
    /// One line: what was found.
    pub what: String,
    /// Where: `path:line`, a route, an experiment file, a log index. May be empty.
    pub r#where: String,
    /// Why it matters here: the control and the limit that asked.
    pub why: String,
    /// What to do, cheapest way to green first.
    pub fix: String,
    /// Identity of the finding behind it, if any: what a waiver names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<crate::FindingId>,
    /// Index in the log of the statement that proves it, if one exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_index: Option<u64>,
}

/// What a gate decided for one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    pub stage: Stage,
    pub outcome: Outcome,
    /// Every control that was asked, in order of id, with its outcome.
    pub controls: Vec<(String, Outcome)>,
    /// Why it is not a pass; empty when it is.
    pub reasons: Vec<Reason>,
    /// Findings that were cleared by authenticated data, each with what cleared it.
    pub cleared: Vec<String>,
    /// Facts worth saying on the stage's one line: `0 secrets`, `database pinned at 2026-08-21`.
    pub notes: Vec<String>,
}

/// What would be decided, from evidence nobody signed or logged. No gate accepts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview<T>(pub T);
