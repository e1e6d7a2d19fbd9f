//! # stage/commit
//! Is what we wrote safe?
//!
//! ## What it does
//! Scans the tree and the git history of its path for secrets, runs the team's linters and tests as isolated steps
//! and reads their reports, and holds the manifests that changed since the last promoted release (or the parent
//! commit) against the dependency policy.
//!
//! ## Why it matters
//! What is cheapest to mend is what hasn't been built yet; and a secret that was committed once is out, whatever
//! later commits do.
//!
//! ## Example
//! `[[commit.step]] name = "lint", run = ["cargo", "run", "-p", "ci", "--", "lint"], report = "target/lint.sarif"`
//!
//! ## What to do instead
//! Rotate an exposed secret first, then remove it; mend what a test or linter names; pin dependencies to a registry.
//!
//! ## References
//! NIST SSDF PW.7, PW.8; OWASP CICD-SEC-6.

use std::collections::BTreeMap;
use std::time::Duration;

use evidence::predicates::{self, Observed, TestResult};
use evidence::{Digest, Gap, Observation, Stage};
use serde_json::{Value, json};

use crate::run::Run;
use crate::step::{self, Step};
use crate::{Error, inventory, reports};

pub const STEP_SECONDS: u64 = 900;
/// A larger report is none.
const REPORT_BYTES_MAX: u64 = 64 << 20;

pub fn run(run: &mut Run) -> Result<(), Error> {
    secrets(run)?;
    dependencies(run)?;
    for index in 0..run.loaded.config.commit.step.len() {
        team_step(run, index)?;
    }
    Ok(())
}

fn secrets(run: &mut Run) -> Result<(), Error> {
    let history = run.loaded.config.commit.history;
    let progress = run.progress.clone();
    let tell =
        move |seen: source::Progress| progress.doing(Stage::Commit, "looking for secrets", seen.done, seen.total);
    let mut observation = crate::check::scan(&run.tree, history, Some(&tell))?;
    if !history {
        observation.gaps.push(Gap {
            id: "source/history-not-scanned".to_owned(),
            what: "git history".to_owned(),
            reason: "`commit.history` is false".to_owned(),
            blocks: true,
        });
    }
    let config = json!({"check": "secrets", "history": history, "rules": source::rules_digest()});
    let predicate = observed(observation, [("rules", source::rules().len().into())]);
    let subject = vec![run.tree_subject()];
    run.record(
        Stage::Commit,
        "secrets",
        predicates::SECRET_SCAN,
        subject,
        &predicate,
        &config,
    )?;
    Ok(())
}

fn dependencies(run: &mut Run) -> Result<(), Error> {
    run.progress.doing(Stage::Commit, "comparing manifests", 0, 0);
    let policy = &run.loaded.config.dependencies;
    let now = inventory::of_tree(&run.tree)?;
    let before = inventory::before(&run.root, source::Revision::Parent)?;
    // What is denied is denied whenever it came in; what a change may not do is held against the parent commit.
    let standing = packages::review(&packages::read(&[]), &now, &policy.deny, &policy.sources);
    let mut observation = packages::review(&before, &now, &policy.deny, &policy.sources);
    for finding in standing.findings {
        if observation.findings.iter().all(|other| other.id != finding.id) {
            observation.findings.push(finding);
        }
    }
    observation.gaps.extend(standing.gaps);
    observation.sort();
    let config = json!({"check": "dependencies", "deny": policy.deny, "sources": policy.sources});
    let predicate = observed(
        observation,
        [
            ("against", "parent commit".into()),
            ("deny", policy.deny.clone().into()),
            ("sources", policy.sources.clone().into()),
        ],
    );
    let subject = vec![run.tree_subject()];
    run.record(
        Stage::Commit,
        "dependencies",
        predicates::DEPENDENCY_REVIEW,
        subject,
        &predicate,
        &config,
    )?;
    Ok(())
}

fn team_step(run: &mut Run, index: usize) -> Result<(), Error> {
    let spec = run.loaded.config.commit.step[index].clone();
    run.progress
        .doing(Stage::Commit, &format!("running `{}`", spec.name), 0, 0);
    // A report of an earlier run must not speak for this one.
    host::remove_beneath(&run.root, &spec.report)
        .map_err(|error| Error::io("remove", &run.root.join(&spec.report), &error))?;
    let ran = step::run(
        &Step {
            run: &spec.run,
            folder: &run.root,
            hide: run.hidden(),
            writable: run.writable(),
            temporary: &run.temporary,
            observe: false,
            timeout: Duration::from_secs(spec.timeout_seconds.unwrap_or(STEP_SECONDS)),
            log: run.scratch.join("steps").join(format!("{}.log", spec.name)),
            secrets: Vec::new(),
        },
        &run.cancel,
    )?;
    let config = json!({"check": "step", "run": spec.run, "report": spec.report});
    let digest = Digest::of(&evidence::to_canonical(&config));
    let configuration = reports::configuration(&spec.name, &digest);
    let result = match host::read_beneath(&run.root, &spec.report, REPORT_BYTES_MAX) {
        Ok(bytes) => reports::read(&spec.report, &bytes, ran.finished.status.code(), configuration.clone()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(format!("no report {} was written", spec.report))
        }
        Err(error) => Err(format!("the report {} can't be read ({error})", spec.report)),
    };
    let mut result = result.unwrap_or_else(|problem| unread(&problem, &ran, configuration));
    if run.digest_now()? != run.tree_digest {
        run.changed_by_step = true;
        result.result = "FAILED".to_owned();
        result
            .failed_tests
            .push("the step changed the tree that is being judged".to_owned());
    }
    let subject = vec![run.tree_subject()];
    run.record(
        Stage::Commit,
        &format!("step:{}", spec.name),
        predicates::TEST_RESULT,
        subject,
        &result,
        &config,
    )?;
    Ok(())
}

/// A step without a readable report failed: what it printed last says why, on one line.
fn unread(problem: &str, ran: &step::Ran, configuration: Value) -> TestResult {
    const LINES: usize = 6;
    let how = match (ran.finished.timed_out, ran.finished.status.code()) {
        (true, _) => "it ran out of time".to_owned(),
        (false, Some(code)) => format!("it ended with exit code {code}"),
        (false, None) => "it was ended by a signal".to_owned(),
    };
    let last = ran.tail(LINES).replace('\n', " | ").replace('`', "'");
    TestResult {
        result: "FAILED".to_owned(),
        configuration: vec![configuration],
        passed_tests: Vec::new(),
        warned_tests: Vec::new(),
        failed_tests: vec![format!("{problem}, {how}; its last output: {last}")],
    }
}

/// An observation as a predicate of ours.
pub fn observed<const N: usize>(observation: Observation, facts: [(&str, Value); N]) -> Observed {
    Observed {
        tool: crate::TOOL.to_owned(),
        observation,
        facts: facts
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<BTreeMap<_, _>>(),
    }
}
