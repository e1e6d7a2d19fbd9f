//! What a control is, and what it is asked with.

use std::time::Duration;

use evidence::predicates::Observed;
use evidence::{ControlSpec, Gap, Outcome, Reason, Severity, Stage};
use serde::Deserialize;
use serde_json::Value;

use crate::controls::{ALL, PAGES};
use crate::decide::Facts;
use crate::history::{History, Seen};
use crate::observed::Watch;
use crate::words::day;

/// Every control there is, in order of id.
pub fn controls() -> &'static [Entry] {
    ALL
}

/// The page of a control, as `explain` prints it: `control/no-secrets`, or `no-secrets`.
pub fn page(id: &str) -> Option<&'static str> {
    let id = id.strip_prefix("control/").unwrap_or(id);
    PAGES
        .iter()
        .find(|(known, _)| known.strip_prefix("control/") == Some(id))
        .map(|(_, page)| *page)
}

/// A control: one file in `controls/`.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// `no-secrets`; its page is `control/no-secrets`.
    pub id: &'static str,
    /// Where it may be asked; the floor asks it at all of them where it asks it.
    pub stages: &'static [Stage],
    /// Whether a new trust root asks it; one that makes no sense before somebody has said something is not.
    pub in_floor: bool,
    pub parameters: &'static [Parameter],
    /// The control's answer over all the evidence.
    pub judge: fn(&Asked) -> Judged,
    /// What one statement says by itself, where the control reads statements one by one; `None` when this one is not
    /// its business. It tells a run that failed from one that passed, in whatever attempt it was made.
    pub judge_one: Option<fn(&Asked, &Seen) -> Option<Judged>>,
    /// How it reads a bare observation, where it can: for `check` and the hook.
    pub(crate) watch: Option<&'static Watch>,
}

/// A parameter of a control. What the trust root's floor says can only be tightened.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    pub name: &'static str,
    pub kind: Kind,
    /// What holds where nothing is said; `None` when nothing is then asked, which is the loosest of all.
    pub default: Option<Setting>,
    pub tighter: Tighter,
    /// Meaning and unit, one sentence.
    pub doc: &'static str,
}

/// What a parameter's value looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A whole number from 0.
    Integer,
    /// A finite number from 0.
    Number,
    /// `note`, `low`, `medium`, `high` or `critical`.
    Severity,
    /// A list of texts.
    Texts,
}

/// A default.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Setting {
    Integer(u64),
    Number(f64),
    Severity(Severity),
}

/// Which way a parameter is stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tighter {
    Lower,
    Higher,
    /// Fewer texts: a list of what is allowed.
    Subset,
    /// More texts: a list of what is demanded or denied.
    Superset,
}

/// A control with its parameters, and all it may read.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub entry: &'a Entry,
    pub spec: &'a ControlSpec,
    pub history: &'a History<'a>,
    pub facts: &'a Facts,
}

/// A control's answer. It starts as a pass; every reason added makes it worse.
#[derive(Debug, Clone, PartialEq)]
pub struct Judged {
    outcome: Outcome,
    reasons: Vec<Reason>,
    /// What was cleared and by what.
    pub cleared: Vec<String>,
    /// Facts worth saying on the stage's line.
    pub notes: Vec<String>,
}

impl Judged {
    pub fn pass() -> Self {
        Judged {
            outcome: Outcome::Pass,
            reasons: Vec::new(),
            cleared: Vec::new(),
            notes: Vec::new(),
        }
    }

    pub fn because(reason: Reason) -> Self {
        let mut judged = Judged::pass();
        judged.add(reason);
        judged
    }

    pub fn add(&mut self, reason: Reason) {
        self.outcome = self.outcome.and(reason.outcome);
        self.reasons.push(reason);
    }

    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    #[must_use]
    pub fn merge(mut self, other: Judged) -> Self {
        self.outcome = self.outcome.and(other.outcome);
        self.reasons.extend(other.reasons);
        self.cleared.extend(other.cleared);
        self.notes.extend(other.notes);
        self
    }

    pub fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// In canonical order, at most [`Judged::REASONS_MAX`]; where there are more, the last one counts the rest.
    pub(crate) fn into_reasons(mut self) -> Vec<Reason> {
        sort_reasons(&mut self.reasons);
        self.reasons.dedup();
        let total = self.reasons.len();
        if total > Self::REASONS_MAX {
            let mut rest = self.reasons[Self::REASONS_MAX].clone();
            self.reasons.truncate(Self::REASONS_MAX);
            rest.outcome = self.outcome;
            rest.id.clone_from(&rest.control);
            rest.what = format!("{} more like these, not listed", total - Self::REASONS_MAX);
            rest.r#where = String::new();
            rest.fix = "settle those that are listed first".to_owned();
            rest.finding = None;
            self.reasons.push(rest);
        }
        self.reasons
    }

    /// Reasons a control may give before the rest is only counted.
    pub const REASONS_MAX: usize = 100;
}

/// The worst first, then by control, id, place and words.
pub(crate) fn sort_reasons(reasons: &mut [Reason]) {
    let rank = |outcome: Outcome| match outcome {
        Outcome::Fail => 0,
        Outcome::Indeterminate => 1,
        Outcome::Pass => 2,
    };
    reasons.sort_by(|a, b| {
        let key = |r: &Reason| (rank(r.outcome), r.log_index);
        (
            key(a).0,
            &a.control,
            &a.id,
            &a.r#where,
            &a.what,
            key(a).1,
            &a.finding,
            &a.why,
            &a.fix,
        )
            .cmp(&(
                key(b).0,
                &b.control,
                &b.id,
                &b.r#where,
                &b.what,
                key(b).1,
                &b.finding,
                &b.why,
                &b.fix,
            ))
    });
}

impl Asked<'_> {
    /// A reason of this control, to be filled in: `what` was found, what it `asks` for, and what to do.
    pub(crate) fn reason(
        &self,
        outcome: Outcome,
        what: impl Into<String>,
        asks: &str,
        fix: impl Into<String>,
    ) -> Reason {
        let id = format!("control/{}", self.entry.id);
        Reason {
            control: id.clone(),
            outcome,
            id,
            what: what.into(),
            r#where: String::new(),
            why: format!(
                "control `{}` (stage {}) asks for {asks}",
                self.entry.id, self.spec.stage
            ),
            fix: fix.into(),
            finding: None,
            log_index: None,
        }
    }

    /// The same about one statement.
    pub(crate) fn reason_at(
        &self,
        seen: &Seen,
        outcome: Outcome,
        what: impl Into<String>,
        asks: &str,
        fix: impl Into<String>,
    ) -> Reason {
        let mut reason = self.reason(outcome, what, asks, fix);
        reason.r#where = format!("log index {}", seen.statement.index());
        reason.log_index = Some(seen.statement.index());
        reason
    }

    /// Every current statement of `predicate` at this stage of this attempt, judged by itself; none is no pass.
    pub(crate) fn each(&self, predicate: &str, check: &str, one: fn(&Asked, &Seen) -> Option<Judged>) -> Judged {
        let judged = self
            .history
            .current(self.spec.stage)
            .filter(|seen| seen.statement.predicate_type == predicate)
            .filter_map(|seen| one(self, seen))
            .reduce(Judged::merge);
        judged.unwrap_or_else(|| {
            let what = format!("no {check} of this attempt stands in the log");
            Judged::because(self.reason(
                Outcome::Indeterminate,
                what,
                &format!("a {check}"),
                "run the stage again and let it end; an interrupted check leaves no statement",
            ))
        })
    }

    /// What to say of a statement whose predicate is not of its type's own shape. A check that could not be made at
    /// all may say so there, as gaps of an `Observed`.
    pub(crate) fn malformed(&self, seen: &Seen) -> Judged {
        let gaps = Observed::deserialize(&seen.statement.predicate).map(|observed| observed.observation.gaps);
        let mut judged = Judged::pass();
        for gap in gaps.unwrap_or_default().iter().filter(|gap| gap.blocks) {
            judged.add(self.gap(Some(seen), gap, &format!("check `{}`", seen.context.check)));
        }
        if judged.outcome() == Outcome::Pass {
            judged.add(self.reason_at(
                seen,
                Outcome::Indeterminate,
                format!(
                    "the predicate of check `{}` is not of the shape its type promises",
                    seen.context.check
                ),
                "a statement that can be read",
                "make the statement with this version of Proofmark",
            ));
        }
        judged
    }

    /// What a blocking gap leaves open.
    pub(crate) fn gap(&self, seen: Option<&Seen>, gap: &Gap, check: &str) -> Reason {
        let mut reason = self.reason(
            Outcome::Indeterminate,
            format!("not looked at: {}", gap.reason),
            &format!("a complete {check}"),
            "make it readable, configure it, or take it out of what is released: as it is, nothing is known about it",
        );
        reason.id.clone_from(&gap.id);
        reason.r#where.clone_from(&gap.what);
        reason.log_index = seen.map(|seen| seen.statement.index());
        reason
    }

    /// The command by which an approver lets `what` pass, as a shell takes it; it would hold for about 30 days.
    pub(crate) fn approve(&self, what: &str) -> String {
        const HOLDS: Duration = Duration::from_secs(30 * 24 * 60 * 60);
        let expires = self.facts.now.checked_add(HOLDS).unwrap_or(self.facts.now);
        format!(
            "`proofmark approve {what} --reason \"WHY\" --expires {}T00:00:00Z`",
            day(expires)
        )
    }

    pub(crate) fn integer(&self, name: &str) -> u64 {
        match (self.value(name), self.default(name)) {
            (Some(value), _) if value.as_u64().is_some() => value.as_u64().unwrap_or_default(),
            (_, Some(Setting::Integer(default))) => default,
            _ => 0,
        }
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        match (self.value(name).and_then(Value::as_f64), self.default(name)) {
            (Some(value), _) => value,
            (_, Some(Setting::Number(default))) => default,
            _ => 0.0,
        }
    }

    pub(crate) fn severity(&self, name: &str) -> Severity {
        match (self.value(name).and_then(severity_of), self.default(name)) {
            (Some(value), _) => value,
            (_, Some(Setting::Severity(default))) => default,
            _ => Severity::Note,
        }
    }

    /// The list, or `None` where nothing is asked.
    pub(crate) fn texts(&self, name: &str) -> Option<Vec<&str>> {
        Some(self.value(name)?.as_array()?.iter().filter_map(Value::as_str).collect())
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.spec.parameters.get(name)
    }

    fn default(&self, name: &str) -> Option<Setting> {
        self.entry
            .parameters
            .iter()
            .find(|parameter| parameter.name == name)?
            .default
    }
}

pub(crate) fn severity_of(value: &Value) -> Option<Severity> {
    let text = value.as_str()?;
    Severity::ALL.into_iter().find(|severity| severity.name() == text)
}
