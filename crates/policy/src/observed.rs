//! How a control reads an observation: findings fail, blocking gaps leave it open, and only a signed waiver clears.

use evidence::predicates::{Observed, Vulns};
use evidence::{Finding, Logged, Observation, Outcome, Reason, Severity, Statement, Verified};

use crate::catalogue::{Asked, Judged};
use crate::history::{Seen, Standing};
use crate::words::{count, day, thousands};

/// What a control looks for in observations of one predicate type.
#[derive(Debug)]
pub(crate) struct Watch {
    pub predicate: &'static str,
    /// The check in words: `secret scan`.
    pub check: &'static str,
    /// One finding and many: `secret`, `secrets`.
    pub finding: (&'static str, &'static str),
    /// What to do where a finding doesn't say.
    pub fix: &'static str,
    /// True when a check that looked at nothing at all proves nothing.
    pub must_look: bool,
    /// Units of coverage worth saying.
    pub units: &'static [Unit],
}

/// A unit of coverage, in words.
#[derive(Debug)]
pub(crate) struct Unit {
    /// As the observation spells it.
    pub name: &'static str,
    pub one: &'static str,
    pub many: &'static str,
    /// What to say of those that were not looked at; `None` where they are not worth saying.
    pub missed: Option<&'static str>,
}

/// What hides or clears a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Clearing {
    /// At a gate: a waiver that an approver signed, and nothing else.
    Waivers,
    /// In `check` and the hook: the tree's own suppressions.
    Suppressions,
}

/// Judges one statement that carries an [`Observation`] in the predicate `Observed`.
pub(crate) fn judge_observed(asked: &Asked, seen: &Seen, watch: &Watch) -> Judged {
    match observed(seen.statement, watch.predicate) {
        Some(observed) => judge(asked, Some(seen), &observed.observation, watch, Clearing::Waivers),
        None => asked.malformed(seen),
    }
}

pub(crate) fn observed(statement: &Logged<Verified<Statement>>, predicate: &str) -> Option<Observed> {
    statement.predicate_as(predicate)
}

pub(crate) fn vulns(statement: &Logged<Verified<Statement>>) -> Option<Vulns> {
    statement.predicate_as(evidence::predicates::VULNS)
}

/// Judges an observation, signed (`seen`) or not.
pub(crate) fn judge(
    asked: &Asked,
    seen: Option<&Seen>,
    observation: &Observation,
    watch: &Watch,
    clearing: Clearing,
) -> Judged {
    let mut judged = Judged::pass();
    let least = severity_min(asked);
    let (mut counted, mut below, mut hidden, mut waived) = (0, 0, 0, Vec::new());
    for finding in &observation.findings {
        if finding.severity < least {
            below += 1;
            continue;
        }
        if clearing == Clearing::Suppressions {
            if finding.suppressed {
                hidden += 1;
                continue;
            }
        } else if let Standing::Holds(waiver) = asked.history.waiver(finding, asked.facts.now) {
            let ends = day(waiver.value.expires);
            judged.cleared.push(format!(
                "`{}` at {}: waived until {ends} (log index {}): {}",
                finding.rule,
                place(finding),
                waiver.index,
                waiver.value.reason
            ));
            waived.push(ends);
            continue;
        }
        counted += 1;
        judged.add(finding_reason(asked, seen, finding, watch, clearing));
    }
    for gap in observation.gaps.iter().filter(|gap| gap.blocks) {
        judged.add(asked.gap(seen, gap, watch.check));
    }
    if clearing == Clearing::Waivers && looked_at_nothing(observation, watch) {
        let mut reason = asked.reason(
            Outcome::Indeterminate,
            format!("the {} looked at nothing", watch.check),
            &format!("a complete {}", watch.check),
            "see why there was nothing to look at; the paths and services it is given stand in `proofmark.toml`",
        );
        reason.log_index = index(seen);
        judged.add(reason);
    }
    for unit in watch.units {
        let Some(counted) = observation.coverage.0.get(unit.name) else {
            continue;
        };
        judged.note(count(counted.looked, unit.one, unit.many));
        let missed = counted.total.saturating_sub(counted.looked);
        if let Some(words) = unit.missed.filter(|_| missed > 0) {
            judged.note(format!("{} {words}", count(missed, unit.one, unit.many)));
        }
    }
    judged.note(count(counted, watch.finding.0, watch.finding.1));
    if below > 0 {
        judged.note(format!("{} below severity {}", thousands(below), least.name()));
    }
    if hidden > 0 {
        judged.note(format!(
            "{} hidden by the tree's own allow lines or baseline, which a gate ignores",
            thousands(hidden)
        ));
    }
    if let Some(soonest) = waived.iter().min() {
        let used = count(waived.len() as u64, "finding waived", "findings waived");
        judged.note(format!("{used} (the first ends {soonest})"));
    }
    judged
}

/// Every finding counts where the control has no such parameter.
fn severity_min(asked: &Asked) -> Severity {
    asked.severity("severity_min")
}

fn looked_at_nothing(observation: &Observation, watch: &Watch) -> bool {
    let counts = observation.coverage.0.values();
    let (looked, total) = counts.fold((0u64, 0u64), |(looked, total), counted| {
        (
            looked.saturating_add(counted.looked),
            total.saturating_add(counted.total),
        )
    });
    looked == 0 && (watch.must_look || total > 0)
}

fn finding_reason(asked: &Asked, seen: Option<&Seen>, finding: &Finding, watch: &Watch, clearing: Clearing) -> Reason {
    let asks = match severity_min(asked) {
        Severity::Note => format!("no {} at all", watch.finding.0),
        least => format!("no {} of severity {} or above", watch.finding.0, least.name()),
    };
    let fix = if finding.fix.is_empty() {
        watch.fix
    } else {
        &finding.fix
    };
    let mut reason = asked.reason(Outcome::Fail, finding.message.as_str(), &asks, fix);
    reason
        .why
        .push_str(&format!("; this one is {}", finding.severity.name()));
    if finding.suppressed {
        reason
            .why
            .push_str("; an allow line or baseline entry of the tree hides it elsewhere, never at a gate");
    }
    if clearing == Clearing::Waivers
        && let Standing::Expired(waiver) = asked.history.waiver(finding, asked.facts.now)
    {
        reason.why.push_str(&format!(
            "; its waiver (log index {}) ended {}",
            waiver.index,
            day(waiver.value.expires)
        ));
    }
    reason.id.clone_from(&finding.rule);
    reason.r#where = place(finding);
    reason.finding = Some(finding.id.clone());
    reason.log_index = index(seen);
    reason
}

fn index(seen: Option<&Seen>) -> Option<u64> {
    seen.map(|seen| seen.statement.index())
}

/// The file and line, or the route, or the component: whatever leads there soonest.
fn place(finding: &Finding) -> String {
    let parts = [
        finding.span.as_ref().map(ToString::to_string),
        finding.route.clone(),
        finding.component.clone(),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
