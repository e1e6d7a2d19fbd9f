//! What the log says, sorted for the controls: this attempt's statements, those of other attempts on the same tree,
//! and what people signed.

use std::collections::BTreeMap;

use evidence::predicates::{self, APPROVAL, ATTEMPT, Approval, Attempt, PROVENANCE, WAIVER, Waiver};
use evidence::{Context, Digest, Finding, Logged, Role, Stage, Statement, Subject, Timestamp, Verified};

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
        };
        for statement in statements {
            match statement.verified().role() {
                Role::Step => history.add_step(statement),
                Role::Approver => history.add_person(statement),
                Role::Gate | Role::Log => {}
            }
        }
        history
    }

    fn add_step(&mut self, statement: &'a Logged<Verified<Statement>>) {
        if let Some(attempt) = statement.predicate_as::<Attempt>(ATTEMPT) {
            self.attempts.insert(attempt.digest(), attempt);
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

    /// What this attempt built: every product of its provenance statements, as (check, subject).
    pub(crate) fn products(&self) -> impl Iterator<Item = (&str, &Subject)> {
        self.current(Stage::Build)
            .filter(|seen| seen.statement.predicate_type == PROVENANCE)
            .flat_map(|seen| {
                seen.statement
                    .examined()
                    .map(|subject| (seen.context.check.as_str(), subject))
            })
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
