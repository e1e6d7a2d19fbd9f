//! What holds for every log: risk may only tighten.

mod common;

use common::*;
use evidence::{Context, Finding, Logged, Outcome, Role, Stage, Statement, Verdict, Verified};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::json;

const LATER: &str = "2027-01-01T00:00:00Z";
const EARLIER: &str = "2026-01-01T00:00:00Z";

/// What can go wrong with a release, one thing each.
const TROUBLES: &[fn(Release) -> Release] = &[
    |release| release.find("secrets", &finding("secret/github-pat")),
    |release| release.find("dependencies", &finding("dependency/denied")),
    |release| release.find("vulnerabilities", &finding("vuln/RUSTSEC-2024-0388")),
    |release| release.find("dynamic-test", &finding("dast/missing-authentication")),
    |release| release.set("licences", "/observation/gaps", json!([gap(true)])),
    |release| release.set("step:unit-tests", "/result", json!("FAILED")),
    |release| release.set("step:lint", "/result", json!("nonsense")),
    |release| {
        release.set(
            "provenance:ledger",
            "/buildDefinition/internalParameters/proofmark/slsaLevel",
            json!(0),
        )
    },
    |release| {
        release.set(
            "provenance:ledger",
            "/buildDefinition/internalParameters/proofmark/secretsInArtifact",
            json!(1),
        )
    },
    |release| {
        release.set(
            "provenance:storefront",
            "/buildDefinition/internalParameters/proofmark/outsideReads",
            json!(["elsewhere/patch.rs"]),
        )
    },
    |release| release.set("sbom", "/components", json!([])),
    |release| release.set("runtime", "/facts/processes/0/running", json!(digest("other").hex())),
    |release| release.set("experiment:revoke-ledger", "/detectedUs", json!(null)),
    |release| release.set("experiment:degrade-link", "/unknown", json!(["timed out"])),
    |release| release.set("canary", "/decision", json!("halt")),
    |release| release.set("canary", "/decision", json!("undecided")),
];

/// Checks of which a statement may be missing.
const CHECKS: &[&str] = &[
    "secrets",
    "step:unit-tests",
    "sbom",
    "runtime",
    "experiment:revoke-ledger",
    "canary",
];

fn releases() -> impl Strategy<Value = Release> {
    let troubles = subsequence((0..TROUBLES.len()).collect::<Vec<_>>(), 0..4);
    let missing = subsequence(CHECKS.to_vec(), 0..2);
    let flag = proptest::bool::weighted;
    (troubles, missing, flag(0.3), flag(0.5)).prop_map(|(troubles, missing, again, gated)| {
        let mut release = troubles
            .into_iter()
            .fold(Release::clean(), |release, trouble| TROUBLES[trouble](release));
        if gated {
            let index = release.index("licences") + 1;
            release
                .log
                .insert(index, (Role::Gate, release.gate(Stage::Build, Outcome::Pass)));
        }
        if again {
            // A second, clean attempt on the same tree: what failed in the first must not be forgotten.
            release.attempt.number = 2;
            release.run();
        }
        missing.into_iter().fold(release, Release::without)
    })
}

fn verdicts(release: &Release) -> Vec<Verdict> {
    let statements = Keys::new().log(&release.log);
    verdicts_on(release, &statements)
}

fn verdicts_on(release: &Release, statements: &[Logged<Verified<Statement>>]) -> Vec<Verdict> {
    Stage::ALL
        .into_iter()
        .map(|stage| release.decide_on(stage, statements))
        .collect()
}

fn outcomes(release: &Release) -> Vec<Outcome> {
    verdicts(release).iter().map(|verdict| verdict.outcome).collect()
}

/// The statement of `trouble`, alone: what it changed in a clean release, bound to `release`'s attempt.
fn failing(release: &Release, trouble: usize, config: Option<&str>) -> Statement {
    let clean = Release::clean();
    let troubled = TROUBLES[trouble](clean.clone());
    let changed = troubled
        .log
        .iter()
        .zip(&clean.log)
        .find(|(a, b)| a != b)
        .expect("it changes one")
        .0
        .1
        .clone();
    let context = changed.context().unwrap();
    let context = Context {
        attempt: release.attempt.digest(),
        config: config.map_or(context.config, digest),
        ..context
    };
    let examined = changed.examined().cloned().collect();
    Statement::new(&changed.predicate_type, examined, &changed.predicate, &context)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn order_of_statements_is_irrelevant(release in releases(), shuffle in Just((0..64usize).collect::<Vec<_>>()).prop_shuffle()) {
        let statements = Keys::new().log(&release.log);
        let shuffled: Vec<_> = shuffle.into_iter().filter_map(|i| statements.get(i).cloned()).collect();
        prop_assert_eq!(shuffled.len(), statements.len());
        let twice = [shuffled.clone(), statements.clone()].concat();
        prop_assert_eq!(verdicts_on(&release, &statements), verdicts_on(&release, &shuffled));
        prop_assert_eq!(verdicts_on(&release, &statements), verdicts_on(&release, &twice));
    }

    /// Wherever in the log it stands, and under whatever configuration it was made.
    #[test]
    fn a_failing_statement_never_helps(
        release in releases(),
        trouble in 0..TROUBLES.len(),
        place in any::<Index>(),
        config in proptest::option::of(Just("another configuration")),
    ) {
        let before = outcomes(&release);
        let mut worse = release.clone();
        worse.log.insert(place.index(release.log.len() + 1), (Role::Step, failing(&release, trouble, config)));
        for (before, after) in before.into_iter().zip(outcomes(&worse)) {
            prop_assert!(before == Outcome::Pass || after != Outcome::Pass, "{before:?} became {after:?}");
        }
    }

    /// Last in the log, it is never a pass at its stage.
    #[test]
    fn a_failing_statement_of_this_attempt_is_no_pass(trouble in 0..TROUBLES.len(), first in any::<bool>()) {
        let mut release = Release::clean();
        let statement = failing(&release, trouble, None);
        let stage = statement.context().unwrap().stage;
        release.log.insert(if first { 0 } else { release.log.len() }, (Role::Step, statement));
        // Where a pass follows an open answer, nothing was hidden; where it follows a fail, somebody must sign.
        let failed = TROUBLES[trouble](Release::clean()).decide(stage).outcome == Outcome::Fail;
        if failed || !first {
            prop_assert_ne!(release.decide(stage).outcome, Outcome::Pass);
        }
    }

    #[test]
    fn suppressed_never_matters(release in releases()) {
        let mut hidden = release.clone();
        for (_, statement) in &mut hidden.log {
            if let Some(findings) = statement.predicate.pointer_mut("/observation/findings").and_then(|f| f.as_array_mut()) {
                for finding in findings {
                    finding["suppressed"] = json!(true);
                }
            }
        }
        let controls = |release: &Release| verdicts(release).into_iter().map(|v| (v.outcome, v.controls, v.cleared)).collect::<Vec<_>>();
        prop_assert_eq!(controls(&release), controls(&hidden));
    }

    /// A waiver clears when an approver signed it and it has not ended; nothing else that looks like one does.
    #[test]
    fn only_a_signed_waiver_improves(release in releases(), rule in 0..3usize) {
        let finding: Finding = finding(["secret/github-pat", "vuln/RUSTSEC-2024-0388", "dast/missing-authentication"][rule]);
        let before = outcomes(&release);
        for forged in [
            release.clone().waive(&finding, Role::Step, LATER),
            release.clone().waive(&finding, Role::Approver, EARLIER),
            release.clone().waive(&Finding { rule: "another/rule".to_owned(), ..finding.clone() }, Role::Approver, LATER),
        ] {
            prop_assert_eq!(&outcomes(&forged), &before);
        }
        let rank = |outcome: &Outcome| match outcome { Outcome::Pass => 0, Outcome::Indeterminate => 1, Outcome::Fail => 2 };
        for (before, after) in before.iter().zip(outcomes(&release.waive(&finding, Role::Approver, LATER))) {
            prop_assert!(rank(&after) <= rank(before));
        }
    }

    /// Pass has no reasons, everything else has one, and the strongest control decides.
    #[test]
    fn verdicts_are_coherent(release in releases()) {
        for verdict in verdicts(&release) {
            prop_assert_eq!(verdict.outcome, Outcome::all(verdict.controls.iter().map(|(_, outcome)| *outcome)));
            for (id, outcome) in &verdict.controls {
                let mine = verdict.reasons.iter().filter(|reason| reason.control == format!("control/{id}"));
                let reasons: Vec<Outcome> = mine.map(|reason| reason.outcome).collect();
                prop_assert_eq!(reasons.iter().copied().fold(Outcome::Pass, Outcome::and), *outcome);
            }
        }
    }
}
