//! What each control says: pass, fail, open, missing. A row changes one thing in a clean release.

mod common;

use common::*;
use evidence::Outcome::{Fail, Indeterminate, Pass};
use evidence::predicates::{TEST_RESULT, TestResult};
use evidence::{ControlSpec, Digest, Outcome, Role, Severity, Stage, Verdict};
use serde_json::json;

const LATER: &str = "2027-01-01T00:00:00Z";
const EARLIER: &str = "2026-01-01T00:00:00Z";

/// The control's outcome, and a part of one of its reasons (empty: it has none).
#[track_caller]
fn check(release: &Release, stage: Stage, control: &str, expected: Outcome, part: &str) -> Verdict {
    let verdict = release.decide(stage);
    let outcome = verdict.controls.iter().find(|(id, _)| id == control).expect("asked").1;
    let mine: Vec<_> = verdict
        .reasons
        .iter()
        .filter(|reason| reason.control == format!("control/{control}"))
        .collect();
    assert_eq!(outcome, expected, "{mine:#?}");
    assert_eq!(verdict.outcome, verdict.outcome.and(expected));
    assert_eq!(mine.is_empty(), expected == Pass, "{mine:#?}");
    let said = mine
        .iter()
        .any(|reason| format!("{} | {} | {}", reason.r#where, reason.what, reason.why).contains(part));
    assert!(said || expected == Pass, "`{part}` is not in {mine:#?}");
    for reason in mine {
        assert!(
            !reason.what.is_empty() && !reason.why.is_empty() && !reason.fix.is_empty(),
            "{reason:?}"
        );
        assert!(!reason.what.ends_with('.') && !reason.fix.ends_with('.'), "{reason:?}");
    }
    verdict
}

#[test]
fn a_clean_release_passes_everywhere() {
    let release = Release::clean();
    let notes: Vec<Vec<String>> = Stage::ALL
        .into_iter()
        .map(|stage| {
            let verdict = release.decide(stage);
            assert_eq!(verdict.outcome, Pass, "{:#?}", verdict.reasons);
            assert!(verdict.reasons.is_empty() && verdict.cleared.is_empty());
            let asked = release
                .attempt
                .controls
                .iter()
                .filter(|spec| spec.stage == stage)
                .count();
            assert_eq!(verdict.controls.len(), asked);
            assert!(verdict.controls.is_sorted_by(|a, b| a.0 <= b.0));
            verdict.notes
        })
        .collect();
    assert_eq!(
        notes[0],
        [
            "0 denied dependencies",
            "412 files",
            "96 commits",
            "0 secrets",
            "2 tests passed",
            "coverage 4/4"
        ]
    );
    assert_eq!(
        notes[1],
        [
            "0 licence problems",
            "0 known vulnerabilities",
            "database 95 days old, limit 36500 (declared by the project)",
            "2 artifacts, provenance observed (SLSA L2)",
            "2 components",
            "coverage 5/5"
        ]
    );
    assert_eq!(
        notes[2],
        [
            "14 routes",
            "2,310 requests",
            "0 findings",
            "2 services run what was built",
            "coverage 2/2"
        ]
    );
    assert_eq!(
        notes[3],
        [
            "link slowed, link reset: recovered 900 ms",
            "2 experiments",
            "credential revoked: detected 140 ms, contained 160 ms, recovered 1.3 s",
            "coverage 2/2"
        ]
    );
    assert_eq!(
        notes[4],
        [
            "promoted after 4,120 requests (errors 0.05 % against 0.00 %, e-value 31)",
            "coverage 1/1"
        ]
    );
}

#[test]
fn five_years_later_the_verdicts_are_the_same() {
    let mut release = Release::clean();
    release.now = "2031-03-01T12:00:00Z".parse().unwrap();
    for stage in Stage::ALL {
        assert_eq!(release.decide(stage).outcome, Pass);
    }
}

#[test]
fn observations() {
    // Stage, control, check: all five read observations in the same way.
    for (stage, control, name) in [
        (Stage::Commit, "no-secrets", "secrets"),
        (Stage::Commit, "dependency-policy", "dependencies"),
        (Stage::Build, "licences-allowed", "licences"),
        (Stage::Build, "no-known-vulnerabilities", "vulnerabilities"),
        (Stage::Integration, "dynamic-test-clean", "dynamic-test"),
    ] {
        let clean = Release::clean;
        let found = finding("family/rule");
        let verdict = check(
            &clean().find(name, &found),
            stage,
            control,
            Fail,
            "config/ci.env:3:14 | a token",
        );
        let reason = &verdict.reasons[0];
        assert_eq!(
            (reason.id.as_str(), &reason.finding),
            ("family/rule", &Some(found.id.clone()))
        );
        assert_eq!(reason.log_index, Some(clean().index(name) as u64));

        let hidden = evidence::Finding {
            suppressed: true,
            ..found.clone()
        };
        check(&clean().find(name, &hidden), stage, control, Fail, "never at a gate");
        let small = evidence::Finding {
            severity: Severity::Note,
            ..found.clone()
        };
        check(&clean().find(name, &small), stage, control, Pass, "");
        let strict = clean().asking(|attempt| {
            let spec = attempt.controls.iter_mut().find(|spec| spec.id == control).unwrap();
            spec.parameters.insert("severity_min".to_owned(), json!("note"));
        });
        check(&strict.find(name, &small), stage, control, Fail, "at all");

        check(
            &clean().set(name, "/observation/gaps", json!([gap(true)])),
            stage,
            control,
            Indeterminate,
            "over 64 MiB",
        );
        check(
            &clean().set(name, "/observation/gaps", json!([gap(false)])),
            stage,
            control,
            Pass,
            "",
        );
        check(
            &clean().set(
                name,
                "/observation/coverage",
                json!({"files": {"looked": 0, "total": 7}}),
            ),
            stage,
            control,
            Indeterminate,
            "looked at nothing",
        );
        check(
            &clean().set(name, "/observation/coverage", json!(7)),
            stage,
            control,
            Indeterminate,
            "not of the shape",
        );
        check(
            &clean().without(name),
            stage,
            control,
            Indeterminate,
            "of this attempt stands in the log",
        );
        check(
            &clean().signed_by(name, Role::Approver),
            stage,
            control,
            Indeterminate,
            "of this attempt stands in the log",
        );

        let waived = clean().find(name, &found).waive(&found, Role::Approver, LATER);
        let verdict = check(&waived, stage, control, Pass, "");
        assert_eq!(verdict.cleared.len(), 1);
        assert!(
            verdict.cleared[0].contains("waived until 2027-01-01 (log index 15): the key is revoked"),
            "{:?}",
            verdict.cleared
        );
        assert!(
            verdict
                .notes
                .contains(&"1 finding waived (the first ends 2027-01-01)".to_owned())
        );
        check(
            &clean().find(name, &found).waive(&found, Role::Step, LATER),
            stage,
            control,
            Fail,
            "a token",
        );
        check(
            &clean().find(name, &found).waive(&found, Role::Approver, EARLIER),
            stage,
            control,
            Fail,
            "its waiver (log index 15) ended 2026-01-01",
        );
        let other = evidence::Finding {
            rule: "family/other".to_owned(),
            ..found.clone()
        };
        check(
            &clean().find(name, &found).waive(&other, Role::Approver, LATER),
            stage,
            control,
            Fail,
            "a token",
        );
    }
    // Nothing to review is a clean review; nothing to scan is no scan.
    let nothing = json!({});
    check(
        &Release::clean().set("dependencies", "/observation/coverage", nothing.clone()),
        Stage::Commit,
        "dependency-policy",
        Pass,
        "",
    );
    check(
        &Release::clean().set("secrets", "/observation/coverage", nothing),
        Stage::Commit,
        "no-secrets",
        Indeterminate,
        "looked at nothing",
    );
    let partial = Release::clean().set("dynamic-test", "/observation/coverage/routes/total", json!(16));
    assert!(
        partial
            .decide(Stage::Integration)
            .notes
            .contains(&"2 routes never reached".to_owned())
    );
}

#[test]
fn many_findings_are_counted_not_lost() {
    let many: Vec<_> = (0..250)
        .map(|n| evidence::Finding {
            id: evidence::FindingId::new("r", "p", "c", n),
            ..finding("family/rule")
        })
        .collect();
    let verdict = Release::clean()
        .set("secrets", "/observation/findings", json!(many))
        .decide(Stage::Commit);
    assert_eq!(verdict.reasons.len(), 101);
    assert_eq!(verdict.outcome, Fail);
    assert!(
        verdict
            .reasons
            .iter()
            .any(|reason| reason.what == "150 more like these, not listed")
    );
    assert!(verdict.notes.contains(&"250 secrets".to_owned()));
}

#[test]
fn lists_a_check_was_made_with() {
    let asking = |id: &'static str, name: &str, list: &[&str]| {
        let (name, list) = (name.to_owned(), json!(list));
        Release::clean().asking(|attempt| {
            let spec = attempt.controls.iter_mut().find(|spec| spec.id == id).unwrap();
            spec.parameters.insert(name, list);
        })
    };
    let said =
        |release: Release, check: &str, fact: &str, list: &[&str]| release.set(check, "/facts", json!({fact: list}));
    let licences = |allow: &[&str]| asking("licences-allowed", "allow", allow);
    let (b, c) = (Stage::Build, Stage::Commit);
    check(
        &licences(&["MIT"]),
        b,
        "licences-allowed",
        Indeterminate,
        "doesn't say which `allow`",
    );
    check(
        &said(licences(&["MIT"]), "licences", "allow", &["MIT"]),
        b,
        "licences-allowed",
        Pass,
        "",
    );
    check(
        &said(licences(&["MIT", "ISC"]), "licences", "allow", &["MIT"]),
        b,
        "licences-allowed",
        Pass,
        "",
    );
    check(
        &said(licences(&["MIT"]), "licences", "allow", &["MIT", "GPL-3.0"]),
        b,
        "licences-allowed",
        Fail,
        "`GPL-3.0`",
    );
    check(
        &said(licences(&["MIT"]), "licences", "allow", &[]),
        b,
        "licences-allowed",
        Indeterminate,
        "doesn't say",
    );
    let deny = || asking("dependency-policy", "deny", &["pkg:npm/event-stream"]);
    check(
        &deny(),
        c,
        "dependency-policy",
        Indeterminate,
        "doesn't say which `deny`",
    );
    check(
        &said(deny(), "dependencies", "deny", &["pkg:npm/event-stream", "pkg:npm/x"]),
        c,
        "dependency-policy",
        Pass,
        "",
    );
    check(
        &said(deny(), "dependencies", "deny", &["pkg:npm/x"]),
        c,
        "dependency-policy",
        Fail,
        "without `pkg:npm/event-stream`",
    );
    let sources = || asking("dependency-policy", "sources", &["crates.io"]);
    check(
        &said(sources(), "dependencies", "sources", &["crates.io", "npm"]),
        c,
        "dependency-policy",
        Fail,
        "`npm`",
    );
}

#[test]
fn steps() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Commit, "steps-passed");
    let set = |name: &str, value| clean().set("step:unit-tests", name, value);
    check(&set("/result", json!("WARNED")), stage, control, Pass, "");
    check(
        &set("/result", json!("FAILED")),
        stage,
        control,
        Fail,
        "step `unit-tests` failed",
    );
    check(
        &set("/failedTests", json!(["cart::rounds"])),
        stage,
        control,
        Fail,
        "step `unit-tests` failed: `cart::rounds`",
    );
    check(
        &set("/result", json!("SKIPPED")),
        stage,
        control,
        Indeterminate,
        "has result `SKIPPED`",
    );
    check(
        &set("/result", json!(7)),
        stage,
        control,
        Indeterminate,
        "not of the shape",
    );
    check(
        &clean().without("step:unit-tests"),
        stage,
        control,
        Indeterminate,
        "step `unit-tests` left no result",
    );
    let none = clean().asking(|attempt| attempt.expected.retain(|(_, check)| !check.starts_with("step:")));
    check(&none, stage, control, Indeterminate, "the plan holds no step");
    let required = clean().asking(|attempt| {
        let spec = attempt.controls.iter_mut().find(|spec| spec.id == control).unwrap();
        spec.parameters
            .insert("steps_required".to_owned(), json!(["lint", "fuzz"]));
    });
    check(&required, stage, control, Fail, "doesn't hold step `fuzz`");
}

#[test]
fn provenances() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Build, "provenance-observed");
    let set = |pointer: &str, value| clean().set("provenance:ledger", pointer, value);
    let ours = "/buildDefinition/internalParameters/proofmark";
    check(
        &clean().without("provenance:ledger"),
        stage,
        control,
        Indeterminate,
        "artifact `ledger` has no provenance",
    );
    check(
        &set("/runDetails/builder/id", json!("https://github.com/actions")),
        stage,
        control,
        Fail,
        "was built by `https://github.com/actions`",
    );
    check(
        &set(&format!("{ours}/method"), json!("declared")),
        stage,
        control,
        Indeterminate,
        "doesn't say how it was observed",
    );
    check(
        &set(&format!("{ours}/slsaLevel"), json!(0)),
        stage,
        control,
        Fail,
        "SLSA level 0",
    );
    check(
        &set(ours, json!(null)),
        stage,
        control,
        Indeterminate,
        "claims no SLSA level",
    );
    let strict = clean().asking(|attempt| {
        let spec = attempt.controls.iter_mut().find(|spec| spec.id == control).unwrap();
        spec.parameters.insert("slsa_level_min".to_owned(), json!(3));
    });
    check(&strict, stage, control, Fail, "level 3 or above");
    let none = clean().asking(|attempt| attempt.expected.retain(|(_, check)| !check.starts_with("provenance:")));
    check(&none, stage, control, Indeterminate, "the plan builds no artifact");
    for (field, value, expected, part) in [
        (
            "secretsInArtifact",
            json!(1),
            Fail,
            "1 secret is exposed in artifact `ledger`",
        ),
        (
            "secretsInLog",
            json!(2),
            Fail,
            "2 secrets are exposed in the build log of `ledger`",
        ),
        (
            "secretsInLog",
            json!(null),
            Indeterminate,
            "doesn't say whether a secret",
        ),
        (
            "treeAfter",
            json!(digest("another tree").hex()),
            Indeterminate,
            "`ledger`: the tree changed while it was built",
        ),
        (
            "treeAfter",
            json!(null),
            Indeterminate,
            "the tree changed while it was built",
        ),
        (
            "undigestedReads",
            json!(["a", "b", "c", "d"]),
            Indeterminate,
            "read `a`, `b`, `c` and 1 more, in the tree and not part of its digest",
        ),
        (
            "outsideReads",
            json!(["/home/me/patch.rs"]),
            Indeterminate,
            "read `/home/me/patch.rs`, outside tree",
        ),
        ("outsideReads", json!("none"), Indeterminate, "is not a list of paths"),
        (
            "productWritten",
            json!(false),
            Indeterminate,
            "the build was not seen to write `ledger`",
        ),
    ] {
        check(&set(&format!("{ours}/{field}"), value), stage, control, expected, part);
    }
    for (absent, expected, part) in [
        ("secretsInArtifact", Indeterminate, "doesn't say whether a secret"),
        ("secretsInLog", Indeterminate, "doesn't say whether a secret"),
        ("treeAfter", Indeterminate, "doesn't say whether the tree changed"),
        ("productWritten", Indeterminate, "not seen to write"),
        ("undigestedReads", Pass, ""),
        ("outsideReads", Pass, ""),
    ] {
        let mut release = clean();
        let index = release.index("provenance:ledger");
        let fields = release.log[index].1.predicate.pointer_mut(ours).unwrap();
        fields.as_object_mut().unwrap().remove(absent).unwrap();
        check(&release, stage, control, expected, part);
    }
    check(
        &set("/buildDefinition/resolvedDependencies", json!([])),
        stage,
        control,
        Indeterminate,
        "the tree changed while it was built",
    );
}

/// A second build of the ledger with these bytes; it stands in the log where `place` says.
fn built_again(release: Release, bytes: &str, place: impl FnOnce(&Release) -> usize) -> Release {
    let subjects = vec![evidence::Subject::new("ledger", digest(bytes))];
    let (name, kind) = ("provenance:ledger", evidence::predicates::PROVENANCE);
    let again = release.statement(Stage::Build, name, kind, subjects, &provenance());
    let mut release = release;
    let index = place(&release);
    release.log.insert(index, (Role::Step, again));
    release
}

#[test]
fn one_attempt_has_one_build() {
    let asked = [
        (Stage::Build, "provenance-observed"),
        (Stage::Integration, "running-artifacts-match"),
        (Stage::Integration, "coverage-complete"),
        (Stage::Staging, "coverage-complete"),
        (Stage::Production, "coverage-complete"),
    ];
    // As `release` does it: the build gate decides before anything runs what was built.
    let gated = || {
        let mut release = Release::clean();
        let index = release.index("licences") + 1;
        release
            .log
            .insert(index, (Role::Gate, release.gate(Stage::Build, Pass)));
        release
    };
    let after = |release: &Release| release.index("gate") + 1;
    let before = |release: &Release| release.index("sbom");
    // What runs is what was exchanged: everything later agrees with it.
    let exchanged = |place: fn(&Release) -> usize| {
        let mut release = built_again(gated(), "exchanged", place);
        let text = serde_json::to_string(&release.log).unwrap();
        for (_, statement) in &mut release.log {
            if statement.context().unwrap().stage > Stage::Build {
                let (old, new) = (digest("ledger").hex(), digest("exchanged").hex());
                let text = serde_json::to_string(&statement).unwrap().replace(&old, &new);
                *statement = serde_json::from_str(&text).unwrap();
            }
        }
        assert_ne!(text, serde_json::to_string(&release.log).unwrap());
        release
    };
    let late = "artifact `ledger` was built again after the build gate had decided";
    let twice = "two builds of `ledger` in one attempt";
    for (stage, control) in asked {
        check(&gated(), stage, control, Pass, "");
        check(&exchanged(|r| r.index("gate") + 1), stage, control, Fail, late);
        check(&exchanged(|r| r.index("sbom")), stage, control, Fail, twice);
        // The same bytes again: no other build before the gate; after it, nothing is built any more.
        check(&built_again(gated(), "ledger", before), stage, control, Pass, "");
        check(&built_again(gated(), "ledger", after), stage, control, Fail, late);
        // The first decision is the one that counts, whatever it was.
        let failed = |outcome| {
            let mut release = built_again(gated(), "other", after);
            let index = release.index("gate");
            release.log[index].1 = release.gate(Stage::Build, outcome);
            release.gated(Stage::Build, Pass)
        };
        check(&failed(Fail), stage, control, Fail, late);
        check(&failed(Indeterminate), stage, control, Fail, late);
        // Other gates and other attempts' gates end nothing.
        let mut others = gated();
        let index = others.index("gate");
        others.log[index].1 = others.gate(Stage::Commit, Pass);
        let mut stranger = gated();
        stranger.attempt.number = 2;
        let gate = stranger.gate(Stage::Build, Pass);
        stranger.attempt.number = 1;
        stranger.log[index].1 = gate;
        for release in [others, stranger] {
            check(&built_again(release, "ledger", |_| index + 1), stage, control, Pass, "");
        }
    }
    // Under another artifact's check, it is a second build of both.
    let mut renamed = gated();
    let subjects = vec![evidence::Subject::new("ledger", digest("exchanged"))];
    let kind = evidence::predicates::PROVENANCE;
    let statement = renamed.statement(Stage::Build, "provenance:storefront", kind, subjects, &provenance());
    let index = renamed.index("sbom");
    renamed.log.insert(index, (Role::Step, statement));
    let verdict = check(&renamed, Stage::Build, "provenance-observed", Fail, twice);
    assert!(
        verdict
            .reasons
            .iter()
            .any(|reason| reason.what == "two builds of `storefront` in one attempt")
    );
}

#[test]
fn time_goes_on() {
    let control = "coverage-complete";
    for (stage, name) in Release::clean().attempt.expected {
        for (at, expected) in [
            ("2026-03-01T11:59:00Z", Pass),
            ("2026-03-01T11:58:59.9Z", Indeterminate),
            ("2025-03-01T00:00:00Z", Indeterminate),
        ] {
            let release = Release::clean().at(&name, at);
            check(&release, stage, control, expected, "the clock was set back");
        }
    }
    // What was made after what is judged sets nothing back, unless the gate itself is asked earlier.
    let mut ahead = Release::clean().at("canary", "2026-03-01T13:00:00Z");
    for stage in Stage::ALL {
        check(
            &ahead,
            stage,
            control,
            Indeterminate,
            "the gate is asked at 2026-03-01T12:00:00Z, and the log holds a statement of 2026-03-01T13:00:00Z",
        );
    }
    ahead.now = "2026-03-01T12:59:30Z".parse().unwrap();
    for stage in Stage::ALL {
        check(&ahead, stage, control, Pass, "");
    }
    // Statements of other attempts, and what people signed, tell the time too.
    let mut later = Release::clean().at("secrets", "2026-03-02T12:00:00Z");
    later.attempt.number = 2;
    later.now = "2026-03-02T12:00:00Z".parse().unwrap();
    later.run();
    check(&later, Stage::Commit, control, Indeterminate, "the clock was set back");
}

#[test]
fn bills_of_materials() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Build, "sbom-complete");
    check(
        &clean().without("sbom"),
        stage,
        control,
        Indeterminate,
        "no bill of materials",
    );
    check(
        &clean().set("sbom", "/components", json!([])),
        stage,
        control,
        Indeterminate,
        "lists no component",
    );
    check(
        &clean().set("sbom", "/bomFormat", json!("SPDX")),
        stage,
        control,
        Indeterminate,
        "not of the shape",
    );
    let gaps = |value| clean().set("sbom", "/metadata/properties/0/value", value);
    check(
        &gaps(json!("2")),
        stage,
        control,
        Indeterminate,
        "2 manifests are missing",
    );
    check(&gaps(json!(1)), stage, control, Indeterminate, "1 manifest is missing");
    check(&gaps(json!("few")), stage, control, Indeterminate, "is not a number");
    check(&clean().set("sbom", "/metadata", json!({})), stage, control, Pass, "");
}

#[test]
fn advisories() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Build, "no-known-vulnerabilities");
    let db = |name: &str, value| clean().set("vulnerabilities", &format!("/scanner/db/{name}"), value);
    check(
        &db("advisories", json!(0)),
        stage,
        control,
        Indeterminate,
        "holds no advisory",
    );
    let verdict = check(
        &db("ageDaysMax", json!(90)),
        stage,
        control,
        Indeterminate,
        "of 2025-11-26, 95 days ago",
    );
    assert!(
        verdict
            .notes
            .contains(&"database 95 days old, limit 90 (declared by the project)".to_owned())
    );
    check(&db("ageDaysMax", json!(95)), stage, control, Pass, "");
    check(
        &db("lastUpdate", json!("2030-01-01T00:00:00Z")),
        stage,
        control,
        Pass,
        "",
    );
    let strict = clean().asking(|attempt| {
        let spec = attempt.controls.iter_mut().find(|spec| spec.id == control).unwrap();
        spec.parameters.insert("age_days_max".to_owned(), json!(30));
    });
    check(
        &strict,
        stage,
        control,
        Indeterminate,
        "not older than 30 days (of the control)",
    );
}

#[test]
fn what_runs() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Integration, "running-artifacts-match");
    let set = |pointer: &str, value| clean().set("runtime", pointer, value);
    let other = json!(digest("another ledger").hex());
    check(
        &set("/facts/processes/0/running", other.clone()),
        stage,
        control,
        Fail,
        "service `ledger`: it runs sha256:",
    );
    check(
        &set("/facts/processes/0/running", json!(null)),
        stage,
        control,
        Indeterminate,
        "could not be read",
    );
    check(
        &set("/facts/processes", json!([])),
        stage,
        control,
        Indeterminate,
        "no process was looked at",
    );
    check(
        &set("/facts", json!({})),
        stage,
        control,
        Indeterminate,
        "not of the shape",
    );
    let nobodys =
        set("/facts/processes/0/artifact", json!(null)).set("runtime", "/facts/processes/0/expected", json!(null));
    check(&nobodys, stage, control, Fail, "which is no artifact of this attempt");
    check(
        &clean().without("runtime"),
        stage,
        control,
        Indeterminate,
        "no run-time composition",
    );
    // Expected and running agree with each other, and not with what was built: an artifact of another attempt.
    let swapped = set("/facts/processes/0/running", other.clone()).set("runtime", "/facts/processes/0/expected", other);
    check(&swapped, stage, control, Fail, "no product of artifact `ledger`");
    // The storefront's bytes under the ledger's name.
    let crossed = json!(digest("storefront").hex());
    let crossed =
        set("/facts/processes/0/running", crossed.clone()).set("runtime", "/facts/processes/0/expected", crossed);
    check(&crossed, stage, control, Fail, "no product of artifact `ledger`");
    let prefixed = json!(format!("sha256:{}", digest("ledger")));
    check(&set("/facts/processes/0/running", prefixed), stage, control, Pass, "");
}

#[test]
fn revocations() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Staging, "revocation-detected");
    let set = |name: &str, value| clean().set("experiment:revoke-ledger", name, value);
    let verdict = check(
        &set("/containedUs", json!(null)),
        stage,
        control,
        Fail,
        "a revoked credential still worked",
    );
    assert_eq!(verdict.reasons[0].id, "chaos/credential-revoked");
    assert_eq!(verdict.reasons[0].r#where, "experiments/revoke-ledger.toml");
    check(
        &set("/containedUs", json!(31_000_000)),
        stage,
        control,
        Fail,
        "refused after 31.0 s",
    );
    check(
        &set("/detectedUs", json!(null)),
        stage,
        control,
        Fail,
        "no detector fired in 30.0 s (1 detector armed: `ledger-denied`)",
    );
    check(
        &set("/detectedUs", json!(31_000_000)),
        stage,
        control,
        Fail,
        "first detection after 31.0 s",
    );
    check(
        &set("/recoveredByItself", json!(false)),
        stage,
        control,
        Fail,
        "did not recover by itself",
    );
    check(
        &set("/recoveredUs", json!(null)),
        stage,
        control,
        Fail,
        "did not recover by itself",
    );
    check(
        &set("/steadyAfter", json!(false)),
        stage,
        control,
        Fail,
        "not steady after",
    );
    check(
        &set("/faults/0/undone", json!(false)),
        stage,
        control,
        Fail,
        "was not undone",
    );
    check(
        &set("/faults/0/bit", json!(false)),
        stage,
        control,
        Indeterminate,
        "did not bite",
    );
    check(
        &set("/steadyBefore", json!(false)),
        stage,
        control,
        Indeterminate,
        "not steady before",
    );
    check(
        &set("/unknown", json!(["the broker was gone"])),
        stage,
        control,
        Indeterminate,
        "the broker was gone",
    );
    check(
        &set("/detectors/0/selfTest", json!(false)),
        stage,
        control,
        Indeterminate,
        "self-test",
    );
    check(
        &set("/detectors/0/falseAlarm", json!(true)),
        stage,
        control,
        Indeterminate,
        "credited to no detector",
    );
    check(
        &set("/faults/0/fault", json!("chaos/credential-revoked")),
        stage,
        control,
        Pass,
        "",
    );
    check(
        &set("/faults/0/fault", json!("process-killed")),
        stage,
        control,
        Indeterminate,
        "no experiment of this attempt revoked",
    );
    check(
        &set("/title", json!(7)),
        stage,
        control,
        Indeterminate,
        "not of the shape",
    );
    check(
        &clean().without("experiment:revoke-ledger"),
        stage,
        control,
        Indeterminate,
        "no experiment of this attempt revoked",
    );
    let strict = clean().asking(|attempt| {
        let spec = attempt.controls.iter_mut().find(|spec| spec.id == control).unwrap();
        spec.parameters.insert("within_seconds".to_owned(), json!(0));
    });
    check(&strict, stage, control, Fail, "detection within 0 s");
}

#[test]
fn degradations() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Staging, "degradation-recovered");
    let set = |name: &str, value| clean().set("experiment:degrade-link", name, value);
    let verdict = check(
        &set("/recoveredUs", json!(null)),
        stage,
        control,
        Fail,
        "did not recover in the 30.0 s",
    );
    assert!(verdict.reasons.iter().any(|reason| reason.id == "chaos/link-slowed"));
    check(
        &set("/recoveredUs", json!(30_000_001)),
        stage,
        control,
        Fail,
        "recovered after 30.0 s",
    );
    check(
        &set("/steadyAfter", json!(false)),
        stage,
        control,
        Fail,
        "not steady afterwards",
    );
    check(
        &set("/faults/1/undone", json!(false)),
        stage,
        control,
        Fail,
        "`link-reset` was not undone",
    );
    check(
        &set("/faults/1/bit", json!(false)),
        stage,
        control,
        Indeterminate,
        "`link-reset` was injected and did not bite",
    );
    check(
        &clean().without("experiment:degrade-link"),
        stage,
        control,
        Indeterminate,
        "no experiment of this attempt slowed",
    );
}

#[test]
fn experiments() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Staging, "experiments-complete");
    let set = |name: &str, value| clean().set("experiment:degrade-link", name, value);
    check(
        &clean().without("experiment:degrade-link"),
        stage,
        control,
        Indeterminate,
        "experiment `degrade-link` left no result",
    );
    check(
        &set("/unknown", json!(["timed out"])),
        stage,
        control,
        Indeterminate,
        "timed out",
    );
    check(
        &set("/steadyAfter", json!(false)),
        stage,
        control,
        Fail,
        "not steady after the experiment",
    );
    check(
        &set("/faults", json!([])),
        stage,
        control,
        Indeterminate,
        "injected no fault",
    );
    check(
        &set("/faults/0/undone", json!(false)),
        stage,
        control,
        Fail,
        "was not undone",
    );
    let none = clean().asking(|attempt| attempt.expected.retain(|(stage, _)| *stage != Stage::Staging));
    check(&none, stage, control, Indeterminate, "the plan holds no experiment");
}

/// What was done about a failure moves no verdict, neither way.
#[test]
fn incidents_decide_nothing() {
    let halted = || {
        Release::clean()
            .set("canary", "/decision", json!("halt"))
            .set("canary", "/finalWeight", json!(0))
    };
    for (release, expected) in [(Release::clean(), Pass), (halted(), Fail)] {
        let before = release.decide(Stage::Production);
        for outcome in ["succeeded", "failed", "waiting"] {
            let after = release.clone().responding(outcome).decide(Stage::Production);
            assert_eq!(after, before);
            assert_eq!(after.outcome, expected);
        }
    }
}

#[test]
fn canaries() {
    let clean = Release::clean;
    let (stage, control) = (Stage::Production, "canary-promoted");
    let set = |name: &str, value| clean().set("canary", name, value);
    let halted = || set("/decision", json!("halt")).set("canary", "/finalWeight", json!(0));
    check(&halted(), stage, control, Fail, "was halted");
    let named = halted().set("canary", "/worse/errors", json!(55.0));
    assert_eq!(
        check(&named, stage, control, Fail, "was halted").reasons[0].id,
        "canary/errors"
    );
    check(
        &set("/decision", json!("halt")),
        stage,
        control,
        Fail,
        "still has 100 % of the traffic",
    );
    check(
        &set("/decision", json!("undecided")),
        stage,
        control,
        Indeterminate,
        "neither better nor worse",
    );
    check(
        &set("/decision", json!("yes")),
        stage,
        control,
        Indeterminate,
        "decision is `yes`",
    );
    check(
        &set("/finalWeight", json!(50)),
        stage,
        control,
        Indeterminate,
        "read back as 50 %",
    );
    check(
        &set("/notWorse/errors", json!(19.0)),
        stage,
        control,
        Indeterminate,
        "without enough evidence in `errors`",
    );
    check(
        &set("/notWorse", json!({})),
        stage,
        control,
        Indeterminate,
        "without evidence in any measure",
    );
    check(
        &set("/worse/slow", json!(20.0)),
        stage,
        control,
        Fail,
        "worse in `slow`",
    );
    check(&set("/alpha", json!(0.2)), stage, control, Indeterminate, "alpha 0.2");
    check(&set("/alpha", json!(0.0)), stage, control, Indeterminate, "alpha 0");
    check(
        &set("/old", json!(digest("storefront").hex())),
        stage,
        control,
        Indeterminate,
        "the same bytes",
    );
    check(
        &set("/new", json!(digest("another").hex())),
        stage,
        control,
        Fail,
        "no product of this attempt",
    );
    check(
        &clean().without("canary"),
        stage,
        control,
        Indeterminate,
        "no canary of this attempt",
    );

    let tree = clean().attempt.tree;
    let first = || set("/old", json!(null)).set("canary", "/decision", json!("undecided"));
    check(
        &first(),
        stage,
        control,
        Indeterminate,
        "no old version to compare with",
    );
    let approve = |role, subject, expires| first().approve("first-release", subject, role, expires);
    let verdict = check(&approve(Role::Approver, tree, LATER), stage, control, Pass, "");
    assert_eq!(verdict.outcome, Pass);
    assert!(verdict.cleared[0].starts_with("first release of tree "));
    check(
        &approve(Role::Step, tree, LATER),
        stage,
        control,
        Indeterminate,
        "no old version",
    );
    check(
        &approve(Role::Approver, digest("other tree"), LATER),
        stage,
        control,
        Indeterminate,
        "no old version",
    );
    check(
        &approve(Role::Approver, tree, EARLIER),
        stage,
        control,
        Indeterminate,
        "ended 2026-01-01",
    );
    // An approval of a first release lets no undecided canary pass, and no halted one.
    let undecided = set("/decision", json!("undecided")).approve("first-release", tree, Role::Approver, LATER);
    check(&undecided, stage, control, Indeterminate, "neither better nor worse");
    let halted = halted()
        .set("canary", "/old", json!(null))
        .approve("first-release", tree, Role::Approver, LATER);
    check(&halted, stage, control, Fail, "was halted");
}

#[test]
fn coverage() {
    let clean = Release::clean;
    let control = "coverage-complete";
    for (stage, name) in clean().attempt.expected {
        let verdict = check(
            &clean().without(&name),
            stage,
            control,
            Indeterminate,
            &format!("check `{name}` left no statement"),
        );
        assert!(verdict.notes.iter().any(|note| note.starts_with("coverage ")));
        // Statements of another attempt are not this attempt's evidence.
        let mut other = clean();
        other.attempt.number = 2;
        check(
            &other,
            stage,
            control,
            Indeterminate,
            &format!("check `{name}` left no statement"),
        );
    }
    let stranger = |check: &str| clean().examining(check, "ledger", digest("of another build"));
    for (stage, name) in [
        (Stage::Integration, "dynamic-test"),
        (Stage::Integration, "runtime"),
        (Stage::Staging, "experiment:revoke-ledger"),
        (Stage::Production, "canary"),
    ] {
        check(
            &stranger(name),
            stage,
            control,
            Indeterminate,
            "which is no product of this attempt",
        );
        let tree_only = clean().examining(name, "tree", clean().attempt.tree);
        let expected = if name == "dynamic-test" || name == "canary" {
            Indeterminate
        } else {
            Pass
        };
        check(&tree_only, stage, control, expected, "nothing that this attempt built");
    }
    check(
        &clean().examining("experiment:degrade-link", "degrade-link.toml", digest("degrade-link")),
        Stage::Staging,
        control,
        Pass,
        "",
    );
    let nothing = clean().asking(|attempt| attempt.expected.clear());
    check(
        &nothing,
        Stage::Commit,
        control,
        Indeterminate,
        "expects no check at stage commit",
    );
}

#[test]
fn a_stage_that_is_not_configured_says_so() {
    let gap = json!([{
        "id": "pipeline/not-configured",
        "what": "canary",
        "reason": "`[production]` is missing from proofmark.toml",
        "blocks": true,
    }]);
    let observed = json!({"tool": "t", "observation": {"findings": [], "gaps": gap, "coverage": {}}});
    for (stage, control, name) in [
        (Stage::Production, "canary-promoted", "canary"),
        (Stage::Staging, "revocation-detected", "experiment:revoke-ledger"),
        (Stage::Staging, "experiments-complete", "experiment:revoke-ledger"),
    ] {
        let mut release = Release::clean();
        let index = release.index(name);
        release.log[index].1.predicate = observed.clone();
        let verdict = check(
            &release,
            stage,
            control,
            Indeterminate,
            "`[production]` is missing from proofmark.toml",
        );
        assert!(
            verdict
                .reasons
                .iter()
                .any(|reason| reason.id == "pipeline/not-configured")
        );
    }
}

/// The first old version is built in the production stage, with provenance of its own.
#[test]
fn a_baseline_is_no_product_and_no_stranger() {
    let with = |new: &str| {
        let mut release = Release::clean().set("canary", "/new", json!(digest(new).hex()));
        let subjects = vec![evidence::Subject::new(
            "storefront-baseline",
            digest("storefront 1.3.9"),
        )];
        let provenance = release.statement(
            Stage::Production,
            "baseline",
            evidence::predicates::PROVENANCE,
            subjects,
            &provenance(),
        );
        release.log.push((Role::Step, provenance));
        release
    };
    assert_eq!(with("storefront").decide(Stage::Production).outcome, Pass);
    check(
        &with("storefront 1.3.9"),
        Stage::Production,
        "canary-promoted",
        Fail,
        "no product of this attempt",
    );
}

#[test]
fn loosening() {
    let control = "controls-not-loosened";
    let tight = |seconds: u64| {
        let mut controls = policy::floor();
        let spec = controls
            .iter_mut()
            .find(|spec| spec.id == "revocation-detected")
            .unwrap();
        spec.parameters.insert("within_seconds".to_owned(), json!(seconds));
        controls
    };
    let told = |controls: Vec<ControlSpec>| Release {
        previous_controls: Some(controls),
        ..Release::clean()
    };
    for stage in Stage::ALL {
        check(&told(policy::floor()), stage, control, Pass, "");
        check(&told(tight(60)), stage, control, Pass, "");
        let line = "`within_seconds` of control `revocation-detected` (stage staging) was `5`, is `30`";
        check(&told(tight(5)), stage, control, Indeterminate, line);
    }
    let more = [
        policy::floor(),
        vec![ControlSpec {
            id: "no-secrets".to_owned(),
            stage: Stage::Build,
            parameters: Default::default(),
        }],
    ]
    .concat();
    check(
        &told(more),
        Stage::Commit,
        control,
        Indeterminate,
        "control `no-secrets` (stage build) was removed",
    );

    let configuration = Release::clean().attempt.configuration;
    let approve = |role, subject, expires| told(tight(5)).approve("loosened-controls", subject, role, expires);
    let verdict = check(
        &approve(Role::Approver, configuration, LATER),
        Stage::Commit,
        control,
        Pass,
        "",
    );
    assert_eq!(verdict.cleared.len(), 1);
    check(
        &approve(Role::Step, configuration, LATER),
        Stage::Commit,
        control,
        Indeterminate,
        "was `5`",
    );
    check(
        &approve(Role::Approver, digest("other"), LATER),
        Stage::Commit,
        control,
        Indeterminate,
        "was `5`",
    );
    check(
        &approve(Role::Approver, configuration, EARLIER),
        Stage::Commit,
        control,
        Indeterminate,
        "ended 2026-01-01",
    );
    check(
        &told(tight(5)).approve("rerun", configuration, Role::Approver, LATER),
        Stage::Commit,
        control,
        Indeterminate,
        "was `5`",
    );

    // The log's own word counts beside the caller's: the previous attempt asked more, whatever is declared.
    let previous = Release::clean().asking(|attempt| {
        attempt.controls = tight(5);
        attempt.tree = digest("older tree");
        attempt
            .expected
            .push((Stage::Staging, "experiment:kill-broker".to_owned()));
    });
    let mut now = previous.clone();
    now.attempt = Release::clean().attempt;
    now.attempt.previous = Some(previous.attempt.digest());
    now.attempt.number = 2;
    now.run();
    check(&now, Stage::Commit, control, Indeterminate, "was `5`, is `30`");
    check(
        &now,
        Stage::Commit,
        control,
        Indeterminate,
        "check `experiment:kill-broker` (stage staging) was dropped",
    );
    now.previous_controls = Some(vec![]);
    check(&now, Stage::Commit, control, Indeterminate, "was `5`, is `30`");

    // Nothing was promoted, and an earlier attempt passed a stage: `release --to` is held against that.
    let passed = |stage, outcome, judged_by: Vec<ControlSpec>| {
        let mut release = Release::clean()
            .asking(|attempt| {
                attempt.controls = judged_by;
                attempt.tree = digest("older tree");
            })
            .gated(stage, outcome);
        release.attempt = Release::clean().attempt;
        release.attempt.number = 2;
        release
    };
    let then = |mut release: Release| {
        release.run();
        release
    };
    let b = Stage::Build;
    check(
        &then(passed(b, Pass, tight(5))),
        b,
        control,
        Indeterminate,
        "was `5`, is `30`",
    );
    check(&then(passed(b, Pass, policy::floor())), b, control, Pass, "");
    check(&then(passed(b, Fail, tight(5))), b, control, Pass, "");
    check(&then(passed(Stage::Commit, Pass, tight(5))), b, control, Pass, "");
    // Only what passed before this attempt began: an earlier attempt is not judged by what came after it.
    let mut after = then(passed(b, Pass, tight(5)));
    let gate = after.log.remove(after.index("gate"));
    after.log.push(gate);
    check(&after, b, control, Pass, "");
    // The last one that passed counts: what an approver let pass there need not be approved again.
    let mut newer = passed(b, Pass, tight(5));
    newer.run();
    newer = newer.gated(b, Pass);
    newer.attempt.number = 3;
    check(&then(newer), b, control, Pass, "");
    let mut lost = passed(b, Pass, tight(5));
    lost.log.remove(0);
    check(
        &then(lost),
        b,
        control,
        Indeterminate,
        "another attempt passed this stage",
    );

    // What judges a release is named, one text each.
    let judges = |texts: &[&str]| {
        let mut controls = policy::floor();
        let mut asked = controls.iter_mut().filter(|spec| spec.stage == Stage::Commit);
        let spec = asked.find(|spec| spec.id == control).unwrap();
        spec.parameters.insert("judges".to_owned(), json!(texts));
        controls
    };
    let having = |before: &[&str], now: &[&str]| {
        let now = judges(now);
        let mut release = Release::clean().asking(|attempt| attempt.controls = now);
        release.previous_controls = Some(judges(before));
        release
    };
    let orders = &["secured POST /orders", "identity shopper"];
    check(&having(&orders[..1], orders), Stage::Commit, control, Pass, "");
    let verdict = check(
        &having(orders, &orders[1..]),
        Stage::Production,
        control,
        Indeterminate,
        "(stage commit) no longer holds `secured POST /orders`",
    );
    let fix = &verdict.reasons[0].fix;
    let command = "`proofmark approve loosened-controls --reason \"WHY\" --expires 2026-03-31T00:00:00Z`";
    assert!(fix.ends_with(command), "{fix}");

    let unknown = Release::clean().asking(|attempt| attempt.previous = Some(digest("lost")));
    check(
        &unknown,
        Stage::Commit,
        control,
        Indeterminate,
        "what judged it is not known",
    );
}

/// A second attempt on the same tree after the first, whose check `step:unit-tests` said `first`.
fn again(first: &str, tree: &str, config: &str) -> Release {
    let mut release = Release::clean().asking(|attempt| attempt.tree = digest(tree));
    let index = release.index("step:unit-tests");
    release.log[index].1 = release.statement(
        Stage::Commit,
        "step:unit-tests",
        TEST_RESULT,
        release.log[index].1.examined().cloned().collect(),
        &tests(first, &[]),
    );
    let mut context = release.context(Stage::Commit, "step:unit-tests");
    context.config = digest(config);
    release.log[index].1 = evidence::Statement::new(TEST_RESULT, vec![], &tests(first, &[]), &context);
    release.attempt = Release::clean().attempt;
    release.attempt.number = 2;
    release.run();
    release
}

const CONFIG: &str = "config of step:unit-tests";

#[test]
fn running_until_green() {
    let (stage, control) = (Stage::Commit, "no-rerun");
    check(&again("PASSED", "tree", CONFIG), stage, control, Pass, "");
    check(&again("FAILED", "another tree", CONFIG), stage, control, Pass, "");
    check(&again("SKIPPED", "tree", CONFIG), stage, control, Pass, "");
    let rerun = || again("FAILED", "tree", CONFIG);
    let story = "check `step:unit-tests` failed at log index 4 and passed at log index 19 on the same tree";
    let verdict = check(&rerun(), stage, control, Indeterminate, story);
    assert_eq!(verdict.reasons[0].r#where, "log index 4, log index 19");
    check(
        &again("FAILED", "tree", "other"),
        stage,
        control,
        Fail,
        "failed at log index 4 on the same tree",
    );

    let tree = rerun().attempt.tree;
    let verdict = check(
        &rerun().approve("rerun", tree, Role::Approver, LATER),
        stage,
        control,
        Pass,
        "",
    );
    assert!(verdict.cleared[0].starts_with(story));
    check(
        &rerun().approve("rerun", tree, Role::Step, LATER),
        stage,
        control,
        Indeterminate,
        story,
    );
    check(
        &rerun().approve("rerun", tree, Role::Approver, EARLIER),
        stage,
        control,
        Indeterminate,
        "ended 2026-01-01",
    );
    check(
        &rerun().approve("rerun", digest("other"), Role::Approver, LATER),
        stage,
        control,
        Indeterminate,
        story,
    );
    check(
        &again("FAILED", "tree", "other").approve("rerun", tree, Role::Approver, LATER),
        stage,
        control,
        Fail,
        "on the same tree",
    );
    assert!(
        verdict_fix(&rerun(), stage)
            .contains("`proofmark approve rerun --reason \"WHY\" --expires 2026-03-31T00:00:00Z`")
    );
    // An approval given before anything failed is no blank cheque.
    let mut early = rerun().approve("rerun", tree, Role::Approver, LATER);
    let approval = early.log.pop().unwrap();
    early.log.insert(0, approval);
    check(&early, stage, control, Indeterminate, "failed at log index 5");

    // Within one attempt: the later pass replaces the fail, and both are shown.
    let mut within = Release::clean();
    let index = within.index("step:unit-tests");
    let failed = within.statement(
        Stage::Commit,
        "step:unit-tests",
        TEST_RESULT,
        vec![],
        &tests("FAILED", &[]),
    );
    within.log.insert(index, (Role::Step, failed.clone()));
    let verdict = check(
        &within,
        stage,
        control,
        Indeterminate,
        "failed at log index 4 and passed at log index 5",
    );
    assert!(verdict.controls.contains(&("steps-passed".to_owned(), Pass)));
    // A fail after a pass is a fail, said once by its own control.
    let mut after = Release::clean();
    after.log.push((Role::Step, failed));
    check(&after, stage, control, Pass, "");
    check(&after, stage, "steps-passed", Fail, "step `unit-tests` failed");
}

fn verdict_fix(release: &Release, stage: Stage) -> String {
    release.decide(stage).reasons[0].fix.clone()
}

/// A canary that came to no decision, and a second attempt on `tree`.
#[test]
fn drawing_again() {
    let (stage, control) = (Stage::Production, "no-rerun");
    let again = |tree: &str, decision: &str, old: serde_json::Value| {
        let mut release = Release::clean()
            .asking(|attempt| attempt.tree = digest(tree))
            .set("canary", "/decision", json!("undecided"))
            .set("canary", "/old", old);
        release.attempt = Release::clean().attempt;
        release.attempt.number = 2;
        release.run();
        release.set("canary", "/decision", json!(decision))
    };
    let old = || json!(digest("storefront 1.3.9").hex());
    let story = "check `canary` was undecided at log index 14 and passed at log index 29 on the same tree";
    check(&again("tree", "promote", old()), stage, control, Indeterminate, story);
    let still = "was undecided at log index 14 and was run again at log index 29";
    check(&again("tree", "undecided", old()), stage, control, Indeterminate, still);
    check(
        &again("tree", "halt", old()),
        stage,
        control,
        Indeterminate,
        "and failed at log index 29",
    );
    // Another tree starts afresh, and without an old version nothing was drawn.
    check(&again("another tree", "promote", old()), stage, control, Pass, "");
    check(&again("tree", "promote", json!(null)), stage, control, Pass, "");
    // Once is no rerun.
    let once = Release::clean().set("canary", "/decision", json!("undecided"));
    check(&once, stage, control, Pass, "");

    let tree = Release::clean().attempt.tree;
    let approved = |role, expires| again("tree", "promote", old()).approve("rerun", tree, role, expires);
    let verdict = check(&approved(Role::Approver, LATER), stage, control, Pass, "");
    assert!(verdict.cleared[0].starts_with(story));
    assert_eq!(verdict.outcome, Pass);
    check(&approved(Role::Step, LATER), stage, control, Indeterminate, story);
    check(
        &approved(Role::Approver, EARLIER),
        stage,
        control,
        Indeterminate,
        "ended 2026-01-01",
    );
}

#[test]
fn a_waived_finding_of_an_earlier_run_is_no_failure() {
    let found = finding("secret/github-pat");
    let mut release = Release::clean().find("secrets", &found);
    release.attempt.number = 2;
    release.run();
    let check_it =
        |release: &Release, expected| check(release, Stage::Commit, "no-rerun", expected, "check `secrets` failed");
    check_it(&release, Indeterminate);
    check_it(&release.waive(&found, Role::Approver, LATER), Pass);
}

#[test]
fn an_attempt_the_log_does_not_hold_is_matched_by_what_it_examined() {
    let mut release = again("FAILED", "tree", CONFIG);
    release.log.remove(0);
    // Its failed step examined nothing, ours the tree: not the same thing.
    check(&release, Stage::Commit, "no-rerun", Pass, "");
    let failed: TestResult = tests("FAILED", &[]);
    let context = release.log[3].1.context().unwrap();
    let examined = vec![evidence::Subject::new("tree", release.attempt.tree)];
    release.log[3].1 = evidence::Statement::new(TEST_RESULT, examined, &failed, &context);
    check(
        &release,
        Stage::Commit,
        "no-rerun",
        Indeterminate,
        "failed at log index 3",
    );
}

#[test]
fn controls_nobody_knows() {
    let with = |spec: ControlSpec| {
        Release::clean()
            .asking(|attempt| attempt.controls.push(spec))
            .decide(Stage::Commit)
    };
    let spec = |id: &str, parameters: serde_json::Value| ControlSpec {
        id: id.to_owned(),
        stage: Stage::Commit,
        parameters: serde_json::from_value(parameters).unwrap(),
    };
    for (spec, part) in [
        (
            spec("no-secret", json!({})),
            "this program knows no control `no-secret`",
        ),
        (
            spec("no-secrets", json!({"colour": "red"})),
            "has no parameter `colour`",
        ),
        (spec("no-secrets", json!({"severity_min": "severe"})), "is `\"severe\"`"),
        (spec("canary-promoted", json!({})), "can't be asked at stage commit"),
    ] {
        let verdict = with(spec);
        assert_eq!(verdict.outcome, Indeterminate);
        assert!(
            verdict.reasons.iter().any(|reason| reason.what.contains(part)),
            "{:?}",
            verdict.reasons
        );
    }
    assert!(
        with(spec("no-secret", json!({}))).reasons[0]
            .fix
            .starts_with("did you mean `no-secrets`?")
    );
    let none = Release::clean().asking(|attempt| attempt.controls.clear());
    let verdict = none.decide(Stage::Commit);
    assert_eq!((verdict.outcome, verdict.reasons.len()), (Indeterminate, 1));
}

#[test]
fn evidence_under_another_trust_root_is_open() {
    let other = Release::clean().asking(|attempt| attempt.trust_root = Digest([7; 32]));
    let verdict = other.decide(Stage::Commit);
    assert_eq!(verdict.outcome, Indeterminate);
    assert!(verdict.reasons[0].what.contains("another trust root"));
}

#[test]
fn previews() {
    use evidence::predicates::{LICENCES, SECRET_SCAN, VULNS};
    let found = finding("secret/github-pat");
    let with = |findings: Vec<evidence::Finding>, gaps: Vec<evidence::Gap>| evidence::Observation {
        findings,
        gaps,
        ..Default::default()
    };
    let clean = with(vec![], vec![]);
    let hidden = with(
        vec![evidence::Finding {
            suppressed: true,
            ..found.clone()
        }],
        vec![],
    );
    let bad = with(vec![found], vec![]);
    let partial = with(vec![], vec![gap(true)]);
    let (c, b) = (Stage::Commit, Stage::Build);
    let floor = policy::floor();
    for (observations, outcome, stage, controls) in [
        (vec![], Indeterminate, c, 0),
        (vec![(c, SECRET_SCAN, &clean)], Pass, c, 1),
        (vec![(c, SECRET_SCAN, &bad)], Fail, c, 1),
        (vec![(c, SECRET_SCAN, &hidden)], Pass, c, 1),
        (vec![(c, SECRET_SCAN, &partial)], Indeterminate, c, 1),
        (
            vec![(c, SECRET_SCAN, &clean), (b, VULNS, &bad), (b, LICENCES, &partial)],
            Fail,
            b,
            3,
        ),
        (vec![(c, SECRET_SCAN, &bad), (c, SECRET_SCAN, &clean)], Fail, c, 1),
        (vec![(b, SECRET_SCAN, &clean)], Indeterminate, c, 0),
    ] {
        let evidence::Preview(verdict) = policy::preview(&observations, &floor);
        assert_eq!(
            (verdict.outcome, verdict.stage, verdict.controls.len()),
            (outcome, stage, controls),
            "{observations:?}"
        );
        assert_eq!(verdict.reasons.is_empty(), outcome == Pass || controls == 0);
    }
    let evidence::Preview(verdict) = policy::preview(&[(c, SECRET_SCAN, &hidden)], &floor);
    assert!(
        verdict.notes.iter().any(|note| note.contains("which a gate ignores")),
        "{:?}",
        verdict.notes
    );
}
