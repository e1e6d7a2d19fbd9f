//! What the log says, sorted for the controls: this attempt's statements, those of other attempts on the same tree,
//! and what people signed.

use std::collections::{BTreeMap, BTreeSet};

use evidence::predicates::{
    self, APPROVAL, ATTEMPT, Approval, Attempt, DRILL, INCIDENT, PROVENANCE, VSA, VerificationSummary, WAIVER, Waiver,
};
use evidence::{Context, Digest, Finding, Logged, Outcome, Role, Stage, Statement, Subject, Timestamp, Verified};

use crate::decide::Evidence;

/// Statements by what they are, in order of log index, each index once.
#[derive(Debug)]
pub struct History<'a> {
    pub attempt: &'a Attempt,
    pub attempt_digest: Digest,
    /// Of every attempt: what the role `step` signed and bound to an attempt, stage and check.
    seen: Vec<Seen<'a>>,
    /// Attempts in the log, by digest.
    attempts: BTreeMap<Digest, Attempt>,
    waivers: Vec<Signed<Waiver>>,
    approvals: Vec<Signed<Approval>>,
    /// What gates decided before, of every attempt.
    gates: Vec<Gate>,
    /// Log index of this attempt's own statement, the first where there are several.
    begun: Option<u64>,
    /// The newest time stated up to each log index, that index included.
    newest: BTreeMap<u64, Timestamp>,
}

/// A decision of a gate.
#[derive(Debug)]
struct Gate {
    index: u64,
    attempt: Digest,
    stage: Stage,
    passed: bool,
}

/// Another attempt that passed a stage.
#[derive(Debug)]
pub(crate) struct Passed<'a> {
    /// Log index of the gate's decision.
    pub index: u64,
    /// `None` where the log doesn't hold the attempt.
    pub attempt: Option<&'a Attempt>,
}

/// A build that must not count.
#[derive(Debug)]
pub(crate) struct Rebuilt<'a> {
    /// Name of the artifact.
    pub name: &'a str,
    pub seen: &'a Seen<'a>,
    /// True when the build gate had decided already; false when there were two builds before it.
    pub after_gate: bool,
}

/// A statement and where it belongs.
#[derive(Debug, Clone)]
pub struct Seen<'a> {
    pub statement: &'a Logged<Verified<Statement>>,
    pub context: Context,
}

/// What an approver signed, and where it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed<T> {
    pub index: u64,
    pub value: T,
}

/// Whether something a person signed applies.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing<'a, T> {
    Holds(&'a Signed<T>),
    /// It did once.
    Expired(&'a Signed<T>),
    None,
}

impl<'a> History<'a> {
    pub(crate) fn new(evidence: &Evidence<'a>) -> Self {
        let mut statements: Vec<_> = evidence.statements.iter().collect();
        statements.sort_by_key(|statement| statement.index());
        statements.dedup_by_key(|statement| statement.index());
        let mut history = History {
            attempt: evidence.attempt,
            attempt_digest: evidence.attempt.digest(),
            seen: Vec::new(),
            attempts: BTreeMap::new(),
            waivers: Vec::new(),
            approvals: Vec::new(),
            gates: Vec::new(),
            begun: None,
            newest: BTreeMap::new(),
        };
        for statement in statements {
            history.add_time(statement);
            match statement.verified().role() {
                Role::Step => history.add_step(statement),
                Role::Approver => history.add_person(statement),
                Role::Gate => history.add_gate(statement),
                Role::Log => {}
            }
        }
        history
    }

    fn add_step(&mut self, statement: &'a Logged<Verified<Statement>>) {
        if let Some(attempt) = statement.predicate_as::<Attempt>(ATTEMPT) {
            let digest = attempt.digest();
            if digest == self.attempt_digest && self.begun.is_none() {
                self.begun = Some(statement.index());
            }
            self.attempts.insert(digest, attempt);
        } else if statement.predicate_type == INCIDENT || statement.predicate_type == DRILL {
            // What was done about a failure, and how that was rehearsed, is no check, and no control sees it: it moves
            // no verdict, neither way.
        } else if predicates::STEP.contains(&statement.predicate_type.as_str()) {
            self.seen
                .extend(statement.context().map(|context| Seen { statement, context }));
        }
    }

    fn add_person(&mut self, statement: &Logged<Verified<Statement>>) {
        let index = statement.index();
        if let Some(value) = statement.predicate_as(WAIVER) {
            self.waivers.push(Signed { index, value });
        } else if let Some(value) = statement.predicate_as(APPROVAL) {
            self.approvals.push(Signed { index, value });
        }
    }

    fn add_gate(&mut self, statement: &Logged<Verified<Statement>>) {
        let Some(context) = statement.context().filter(|_| statement.predicate_type == VSA) else {
            return;
        };
        let summary: Option<VerificationSummary> = statement.predicate_as(VSA);
        self.gates.push(Gate {
            index: statement.index(),
            attempt: context.attempt,
            stage: context.stage,
            passed: summary.is_some_and(|summary| summary.verdict.outcome == Outcome::Pass),
        });
    }

    fn add_time(&mut self, statement: &Logged<Verified<Statement>>) {
        let Some(context) = statement.context() else { return };
        let newest = self.newest.last_key_value().map(|(_, newest)| *newest);
        let newest = newest.map_or(context.at, |newest| newest.max(context.at));
        self.newest.insert(statement.index(), newest);
    }

    /// The newest time that any statement logged before `index` states.
    pub(crate) fn newest_before(&self, index: u64) -> Option<Timestamp> {
        self.newest.range(..index).next_back().map(|(_, newest)| *newest)
    }

    /// The newest time that any statement states.
    pub(crate) fn newest(&self) -> Option<Timestamp> {
        self.newest.last_key_value().map(|(_, newest)| *newest)
    }

    /// The other attempt that passed `stage` last, before this attempt began.
    pub(crate) fn passed_before(&self, stage: Stage) -> Option<Passed<'_>> {
        let gate = self.gates.iter().rfind(|gate| {
            gate.passed
                && gate.stage == stage
                && gate.attempt != self.attempt_digest
                && self.begun.is_none_or(|begun| gate.index < begun)
        })?;
        Some(Passed {
            index: gate.index,
            attempt: self.attempts.get(&gate.attempt),
        })
    }

    /// The statements of every attempt and every run, in order of log index.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Seen<'a>> {
        self.seen.iter()
    }

    /// This attempt's statements at `stage`, in order of log index.
    pub(crate) fn of_attempt(&self, stage: Stage) -> impl Iterator<Item = &Seen<'a>> {
        self.seen
            .iter()
            .filter(move |seen| seen.context.attempt == self.attempt_digest && seen.context.stage == stage)
    }

    /// The last of this attempt's statements at `stage` for each check and configuration: a later one replaces an
    /// earlier one under the same configuration only.
    pub(crate) fn current(&self, stage: Stage) -> impl Iterator<Item = &Seen<'a>> {
        let mut last = BTreeMap::new();
        for seen in self.of_attempt(stage) {
            last.insert(
                (&seen.context.check, seen.context.config, &seen.statement.predicate_type),
                seen,
            );
        }
        let mut current: Vec<_> = last.into_values().collect();
        current.sort_by_key(|seen| seen.statement.index());
        current.into_iter()
    }

    /// Statements at `stage` of every attempt on this attempt's tree, this attempt included. Where the log doesn't
    /// hold the attempt itself, a statement counts when it examines exactly what one of this attempt's does.
    pub(crate) fn of_tree(&self, stage: Stage) -> impl Iterator<Item = &Seen<'a>> {
        self.seen.iter().filter(move |seen| {
            seen.context.stage == stage
                && match self.attempts.get(&seen.context.attempt) {
                    _ if seen.context.attempt == self.attempt_digest => true,
                    Some(attempt) => attempt.tree == self.attempt.tree,
                    None => self
                        .of_attempt(stage)
                        .any(|own| own.context.check == seen.context.check && examined(own) == examined(seen)),
                }
        })
    }

    /// What this attempt built: every product of the provenance statements that its build gate could read, as (check,
    /// subject). What was built after that gate had decided is no product.
    pub(crate) fn products(&self) -> impl Iterator<Item = (&str, &Subject)> {
        self.builds()
            .filter(|seen| !self.after_build_gate(seen))
            .flat_map(|seen| {
                seen.statement
                    .examined()
                    .map(|subject| (seen.context.check.as_str(), subject))
            })
    }

    /// Artifacts that were built again after the build gate had decided, or twice before it, by name. A second
    /// statement about the same bytes before the gate is no second build.
    pub(crate) fn rebuilt(&self) -> Vec<Rebuilt<'_>> {
        let mut out: BTreeMap<(bool, &str), &Seen> = BTreeMap::new();
        let mut digests: BTreeMap<&str, BTreeSet<Digest>> = BTreeMap::new();
        let mut sets: BTreeMap<&str, BTreeSet<BTreeSet<Digest>>> = BTreeMap::new();
        for seen in self.builds() {
            let check = seen.context.check.as_str();
            let artifact = check.strip_prefix("provenance:").unwrap_or(check);
            if self.after_build_gate(seen) {
                out.insert((true, artifact), seen);
                continue;
            }
            let products: BTreeSet<Digest> = seen.statement.examined().filter_map(Subject::sha256).collect();
            for subject in seen.statement.examined() {
                let known = digests.entry(&subject.name).or_default();
                known.extend(subject.sha256());
                if known.len() > 1 {
                    out.insert((false, &subject.name), seen);
                }
            }
            if !products.is_empty() {
                let known = sets.entry(artifact).or_default();
                known.insert(products);
                if known.len() > 1 {
                    out.insert((false, artifact), seen);
                }
            }
        }
        out.into_iter()
            .map(|((after_gate, name), seen)| Rebuilt { name, seen, after_gate })
            .collect()
    }

    /// Every provenance statement of this attempt's build stage. A baseline is built at another stage.
    fn builds(&self) -> impl Iterator<Item = &Seen<'a>> {
        self.of_attempt(Stage::Build)
            .filter(|seen| seen.statement.predicate_type == PROVENANCE)
    }

    fn after_build_gate(&self, seen: &Seen) -> bool {
        let gate = self
            .gates
            .iter()
            .find(|gate| gate.stage == Stage::Build && gate.attempt == self.attempt_digest);
        gate.is_some_and(|gate| seen.statement.index() > gate.index)
    }

    pub(crate) fn built(&self, digest: Digest) -> bool {
        self.products().any(|(_, subject)| subject.sha256() == Some(digest))
    }

    /// The attempt that was last promoted before this one, where the log holds it.
    pub(crate) fn previous(&self) -> Option<&Attempt> {
        self.attempts.get(&self.attempt.previous?)
    }

    pub(crate) fn waiver(&self, finding: &Finding, now: Timestamp) -> Standing<'_, Waiver> {
        let mine = self
            .waivers
            .iter()
            .filter(|waiver| waiver.value.finding == finding.id && waiver.value.rule == finding.rule);
        standing(mine, |waiver| waiver.expires, now)
    }

    /// An approval of `what` for `subject`, signed after log index `after` where that is given.
    pub(crate) fn approval(
        &self,
        what: &str,
        subject: Digest,
        after: Option<u64>,
        now: Timestamp,
    ) -> Standing<'_, Approval> {
        let mine = self.approvals.iter().filter(|approval| {
            approval.value.what == what
                && approval.value.subject == subject
                && after.is_none_or(|after| approval.index > after)
        });
        standing(mine, |approval| approval.expires, now)
    }
}

fn standing<'a, T: 'a>(
    signed: impl Iterator<Item = &'a Signed<T>>,
    expires: fn(&T) -> Timestamp,
    now: Timestamp,
) -> Standing<'a, T> {
    // The one that lasts longest says it all; the log index breaks ties.
    match signed.max_by_key(|signed| (expires(&signed.value), signed.index)) {
        Some(signed) if expires(&signed.value) > now => Standing::Holds(signed),
        Some(signed) => Standing::Expired(signed),
        None => Standing::None,
    }
}

fn examined(seen: &Seen) -> Vec<(Option<Digest>, String)> {
    let mut examined: Vec<_> = seen
        .statement
        .examined()
        .map(|subject| (subject.sha256(), subject.name.clone()))
        .collect();
    examined.sort();
    examined
}
