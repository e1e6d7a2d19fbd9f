//! A release as its log would hold it: every check clean, signed by real keys, proved against a real checkpoint.
//! Tests change one thing and ask the gate.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use evidence::predicates::{
    APPROVAL, ATTEMPT, Approval, Arm, Attempt, CANARY, CHAOS, CanaryRun, ChaosExperiment, DEPENDENCY_REVIEW,
    DYNAMIC_TEST, DetectorRun, FaultRun, INCIDENT, Incident, LICENCES, Observed, PROVENANCE, RUNTIME, SBOM,
    SECRET_SCAN, STEP, ScanMetadata, Scanner, ScannerDatabase, TEST_RESULT, TestResult, VSA, VULNS,
    VerificationSummary, Vulns, WAIVER, Waiver,
};
use evidence::{
    Algorithm, Allowance, Checkpoint, Context, ControlSpec, Coverage, Digest, Envelope, Finding, FindingId, Gap, Hash,
    InclusionProof, KeyId, Leaf, LogIdentity, Logged, MemorySigner, Observation, Outcome, PublicKey, Role, RoleKeys,
    Severity, Signer, Span, Stage, Statement, Subject, Timestamp, TrustRoot, Verdict, Verified, root_of,
    sign_checkpoint,
};
use policy::{Evidence, Facts};
use serde_json::{Value, json};

/// One key a role.
pub struct Keys(BTreeMap<Role, MemorySigner>);

impl Keys {
    pub fn new() -> Self {
        let signer = |role: Role| {
            let seed = [role.name().len() as u8 + role.name().as_bytes()[0]; 32];
            MemorySigner::from_seed(Algorithm::Ed25519, &seed).unwrap()
        };
        Keys(Role::ALL.into_iter().map(|role| (role, signer(role))).collect())
    }

    pub fn root(&self) -> TrustRoot {
        let id = |role: Role| self.0[&role].public_key().id();
        let keys: BTreeMap<KeyId, PublicKey> = self
            .0
            .values()
            .map(|signer| (signer.public_key().id(), signer.public_key().clone()))
            .collect();
        let allow = |role: Role, predicates: &[&str]| Allowance {
            role,
            predicates: predicates.iter().map(|predicate| (*predicate).to_owned()).collect(),
        };
        TrustRoot {
            version: 1,
            self_signed: true,
            keys,
            roles: Role::ALL
                .into_iter()
                .map(|role| {
                    (
                        role,
                        RoleKeys {
                            keys: vec![id(role)],
                            threshold: 1,
                        },
                    )
                })
                .collect(),
            // The step may sign waivers and the approver scans: the policy itself must tell them apart.
            allow: vec![
                allow(Role::Step, &[&STEP[..], &[WAIVER, APPROVAL]].concat()),
                allow(Role::Approver, &[&STEP[..], &[WAIVER, APPROVAL]].concat()),
                allow(Role::Gate, &[VSA]),
            ],
            log: LogIdentity {
                origin: "example.test/log".to_owned(),
                key: id(Role::Log),
            },
            floor: policy::floor(),
        }
    }

    /// Signs and logs them, in this order.
    pub fn log(&self, statements: &[(Role, Statement)]) -> Vec<Logged<Verified<Statement>>> {
        let root = self.root();
        let envelopes: Vec<Envelope> = statements
            .iter()
            .map(|(role, statement)| Envelope::sign_statement(statement, &[&self.0[role]]).unwrap())
            .collect();
        let leaves: Vec<Hash> = envelopes.iter().map(|envelope| Leaf::of(envelope).hash()).collect();
        let size = leaves.len() as u64;
        let checkpoint = Checkpoint {
            origin: root.log.origin.clone(),
            size,
            root: root_of(&leaves),
        };
        let note = sign_checkpoint(&checkpoint, &self.0[&Role::Log]).unwrap();
        let checkpoint = Verified::checkpoint(&note, &root, now()).unwrap();
        let prove = |(index, envelope): (usize, &Envelope)| {
            let proof = InclusionProof {
                index: index as u64,
                size,
                hashes: path(index, &leaves),
            };
            Logged::prove(
                Verified::statement(envelope, &root, now()).unwrap(),
                &proof,
                &checkpoint,
            )
            .unwrap()
        };
        envelopes.iter().enumerate().map(prove).collect()
    }
}

/// RFC 6962 section 2.1.1.
pub fn path(index: usize, leaves: &[Hash]) -> Vec<Hash> {
    if leaves.len() <= 1 {
        return Vec::new();
    }
    let split = leaves.len().next_power_of_two() / 2;
    let (left, right) = leaves.split_at(split);
    let (mut out, sibling) = if index < split {
        (path(index, left), right)
    } else {
        (path(index - split, right), left)
    };
    out.push(root_of(sibling));
    out
}

pub fn now() -> Timestamp {
    "2026-03-01T12:00:00Z".parse().unwrap()
}

pub fn digest(name: &str) -> Digest {
    Digest::of(name.as_bytes())
}

/// An attempt, what the log holds, and what the gate is told.
#[derive(Debug, Clone)]
pub struct Release {
    pub attempt: Attempt,
    pub log: Vec<(Role, Statement)>,
    pub now: Timestamp,
    pub previous_controls: Option<Vec<ControlSpec>>,
}

impl Release {
    /// One that passes every stage.
    pub fn clean() -> Self {
        let expected = [
            (Stage::Commit, "secrets"),
            (Stage::Commit, "dependencies"),
            (Stage::Commit, "step:lint"),
            (Stage::Commit, "step:unit-tests"),
            (Stage::Build, "provenance:ledger"),
            (Stage::Build, "provenance:storefront"),
            (Stage::Build, "sbom"),
            (Stage::Build, "vulnerabilities"),
            (Stage::Build, "licences"),
            (Stage::Integration, "dynamic-test"),
            (Stage::Integration, "runtime"),
            (Stage::Staging, "experiment:revoke-ledger"),
            (Stage::Staging, "experiment:degrade-link"),
            (Stage::Production, "canary"),
        ];
        let attempt = Attempt {
            name: "shop".to_owned(),
            version: "1.4.0".to_owned(),
            commit: None,
            tree: digest("tree"),
            configuration: digest("configuration"),
            policy: Keys::new().root().policy_digest(),
            trust_root: Keys::new().root().digest(),
            previous: None,
            number: 1,
            controls: policy::floor(),
            expected: expected
                .iter()
                .map(|(stage, check)| (*stage, (*check).to_owned()))
                .collect(),
        };
        let mut release = Release {
            attempt,
            log: Vec::new(),
            now: now(),
            previous_controls: None,
        };
        release.run();
        release
    }

    /// Appends this attempt's own statement and every clean check of it.
    pub fn run(&mut self) {
        let attempt = Statement::new(ATTEMPT, vec![], &self.attempt, &self.context(Stage::Commit, "attempt"));
        self.log.push((Role::Step, attempt));
        let tree = || vec![Subject::new("tree", self.attempt.tree)];
        let product = |name: &str| vec![Subject::new(name, digest(name))];
        let both = || [product("ledger"), product("storefront")].concat();
        let c = Stage::Commit;
        let b = Stage::Build;
        let all = vec![
            self.statement(
                c,
                "secrets",
                SECRET_SCAN,
                tree(),
                &observed(&[("files", 412), ("commits", 96)]),
            ),
            self.statement(c, "dependencies", DEPENDENCY_REVIEW, tree(), &observed(&[])),
            self.statement(c, "step:lint", TEST_RESULT, tree(), &tests("PASSED", &[])),
            self.statement(c, "step:unit-tests", TEST_RESULT, tree(), &tests("PASSED", &["a", "b"])),
            self.statement(b, "provenance:ledger", PROVENANCE, product("ledger"), &provenance()),
            self.statement(
                b,
                "provenance:storefront",
                PROVENANCE,
                product("storefront"),
                &provenance(),
            ),
            self.statement(b, "sbom", SBOM, tree(), &sbom()),
            self.statement(b, "vulnerabilities", VULNS, tree(), &vulns()),
            self.statement(b, "licences", LICENCES, tree(), &observed(&[("components", 39)])),
            self.statement(
                Stage::Integration,
                "dynamic-test",
                DYNAMIC_TEST,
                product("storefront"),
                &observed(&[("routes", 14), ("requests", 2310)]),
            ),
            self.statement(Stage::Integration, "runtime", RUNTIME, both(), &runtime()),
            self.statement(Stage::Staging, "experiment:revoke-ledger", CHAOS, both(), &revocation()),
            self.statement(Stage::Staging, "experiment:degrade-link", CHAOS, both(), &degradation()),
            self.statement(Stage::Production, "canary", CANARY, product("storefront"), &canary()),
        ];
        self.log
            .extend(all.into_iter().map(|statement| (Role::Step, statement)));
    }

    pub fn statement<P: serde::Serialize>(
        &self,
        stage: Stage,
        check: &str,
        predicate_type: &str,
        examined: Vec<Subject>,
        predicate: &P,
    ) -> Statement {
        Statement::new(predicate_type, examined, predicate, &self.context(stage, check))
    }

    pub fn context(&self, stage: Stage, check: &str) -> Context {
        Context {
            attempt: self.attempt.digest(),
            stage,
            check: check.to_owned(),
            config: digest(&format!("config of {check}")),
            at: now(),
        }
    }

    /// The attempt's controls changed: its statements are made anew, so that they name it.
    pub fn asking(mut self, change: impl FnOnce(&mut Attempt)) -> Self {
        change(&mut self.attempt);
        self.log.clear();
        self.run();
        self
    }

    pub fn index(&self, check: &str) -> usize {
        let found = self
            .log
            .iter()
            .rposition(|(_, statement)| statement.context().is_some_and(|context| context.check == check));
        found.unwrap_or_else(|| panic!("no check `{check}`"))
    }

    /// Sets a value in the predicate of `check`'s last statement.
    pub fn set(mut self, check: &str, pointer: &str, value: Value) -> Self {
        let index = self.index(check);
        let predicate = &mut self.log[index].1.predicate;
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        match predicate.pointer_mut(parent).unwrap_or_else(|| panic!("no {parent}")) {
            Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
            parent => parent[name] = value,
        }
        self
    }

    pub fn find(self, check: &str, finding: &Finding) -> Self {
        self.set(check, "/observation/findings", json!([finding]))
    }

    pub fn without(mut self, check: &str) -> Self {
        let index = self.index(check);
        self.log.remove(index);
        self
    }

    pub fn examining(mut self, check: &str, name: &str, digest: Digest) -> Self {
        let index = self.index(check);
        self.log[index].1.subject[0] = Subject::new(name, digest);
        self
    }

    pub fn signed_by(mut self, check: &str, role: Role) -> Self {
        let index = self.index(check);
        self.log[index].0 = role;
        self
    }

    pub fn waive(mut self, finding: &Finding, role: Role, expires: &str) -> Self {
        let waiver = Waiver {
            finding: finding.id.clone(),
            rule: finding.rule.clone(),
            reason: "the key is revoked".to_owned(),
            expires: expires.parse().unwrap(),
        };
        let statement = Statement::new(WAIVER, vec![], &waiver, &self.context(Stage::Commit, "waiver"));
        self.log.push((role, statement));
        self
    }

    pub fn approve(mut self, what: &str, subject: Digest, role: Role, expires: &str) -> Self {
        let approval = Approval {
            what: what.to_owned(),
            subject,
            reason: "agreed on Monday".to_owned(),
            expires: expires.parse().unwrap(),
        };
        let statement = Statement::new(APPROVAL, vec![], &approval, &self.context(Stage::Commit, "approval"));
        self.log.push((role, statement));
        self
    }

    /// A playbook was run after the canary, and ended so.
    pub fn responding(mut self, outcome: &str) -> Self {
        let incident = Incident {
            causes: vec!["canary".to_owned()],
            reason: "halted".to_owned(),
            playbook: "playbooks/halt.json".to_owned(),
            name: "halt".to_owned(),
            digest: digest("halt"),
            run: "r-1".to_owned(),
            outcome: outcome.to_owned(),
            notes: Vec::new(),
            steps: Vec::new(),
            actions: Vec::new(),
        };
        // Its playbook is no product of the attempt.
        let examined = vec![Subject::new("playbooks/halt.json", digest("halt"))];
        let statement = self.statement(Stage::Production, "incident", INCIDENT, examined, &incident);
        self.log.push((Role::Step, statement));
        self
    }

    /// What the gate of `stage` of this attempt said, logged after everything that is logged.
    pub fn gated(mut self, stage: Stage, outcome: Outcome) -> Self {
        self.log.push((Role::Gate, self.gate(stage, outcome)));
        self
    }

    pub fn gate(&self, stage: Stage, outcome: Outcome) -> Statement {
        let passed = if outcome == Outcome::Pass { "PASSED" } else { "FAILED" };
        let summary = VerificationSummary {
            verifier: json!({}),
            time_verified: now(),
            resource_uri: "pkg:generic/shop@1.4.0".to_owned(),
            policy: json!({}),
            input_attestations: vec![],
            verification_result: passed.to_owned(),
            verified_levels: vec![],
            slsa_version: "1.0".to_owned(),
            verdict: Verdict {
                stage,
                outcome,
                controls: vec![],
                reasons: vec![],
                cleared: vec![],
                notes: vec![],
            },
        };
        Statement::new(VSA, vec![], &summary, &self.context(stage, "gate"))
    }

    /// `check` was observed at `at`.
    pub fn at(mut self, check: &str, at: &str) -> Self {
        let index = self.index(check);
        let statement = &self.log[index].1;
        let context = Context {
            at: at.parse().unwrap(),
            ..statement.context().unwrap()
        };
        let examined = statement.examined().cloned().collect();
        self.log[index].1 = Statement::new(&statement.predicate_type, examined, &statement.predicate, &context);
        self
    }

    pub fn decide(&self, stage: Stage) -> Verdict {
        self.decide_on(stage, &Keys::new().log(&self.log))
    }

    pub fn decide_on(&self, stage: Stage, statements: &[Logged<Verified<Statement>>]) -> Verdict {
        let facts = Facts {
            now: self.now,
            previous_controls: self.previous_controls.clone(),
            techniques: BTreeMap::from([
                ("secret-unreadable".to_owned(), vec!["T1552.001".to_owned()]),
                ("credential-revoked".to_owned(), vec!["T1078".to_owned()]),
            ]),
        };
        policy::decide(
            stage,
            &Evidence {
                attempt: &self.attempt,
                statements,
            },
            &facts,
        )
    }

    /// What one control says.
    pub fn control(&self, stage: Stage, id: &str) -> Outcome {
        let verdict = self.decide(stage);
        verdict
            .controls
            .iter()
            .find(|(known, _)| known == id)
            .unwrap_or_else(|| panic!("{id} not asked"))
            .1
    }
}

pub fn finding(rule: &str) -> Finding {
    Finding {
        id: FindingId::new(rule, "config/ci.env", "token = …", 0),
        rule: rule.to_owned(),
        severity: Severity::High,
        message: "a token of a provider stands in the tree".to_owned(),
        span: Some(Span {
            path: "config/ci.env".to_owned(),
            line: 3,
            column: 14,
            commit: None,
        }),
        route: None,
        component: None,
        fix: "revoke it at the provider, then take it out".to_owned(),
        suppressed: false,
        properties: BTreeMap::new(),
    }
}

pub fn gap(blocks: bool) -> Gap {
    Gap {
        id: "source/too-large".to_owned(),
        what: "blob.bin".to_owned(),
        reason: "over 64 MiB".to_owned(),
        blocks,
    }
}

pub fn observation(counts: &[(&str, u64)]) -> Observation {
    let mut coverage = Coverage::default();
    for (unit, n) in counts {
        coverage.add(unit, *n, *n);
    }
    Observation {
        findings: vec![],
        gaps: vec![],
        coverage,
    }
}

pub fn observed(counts: &[(&str, u64)]) -> Observed {
    Observed {
        tool: "proofmark/0.1.0".to_owned(),
        observation: observation(counts),
        facts: BTreeMap::new(),
    }
}

pub fn tests(result: &str, passed: &[&str]) -> TestResult {
    TestResult {
        result: result.to_owned(),
        configuration: vec![],
        passed_tests: passed.iter().map(|test| (*test).to_owned()).collect(),
        warned_tests: vec![],
        failed_tests: vec![],
    }
}

pub fn provenance() -> Value {
    json!({
        "buildDefinition": {
            "buildType": "https://proofmark.dev/run/v0.1",
            "internalParameters": { "proofmark": {
                "method": "traced", "isolation": "userns", "slsaLevel": 2,
                "secretsInArtifact": 0, "secretsInLog": 0,
                "treeAfter": digest("tree").hex(), "undigestedReads": [], "outsideReads": [], "productWritten": true,
            } },
            "resolvedDependencies": [{ "name": "tree", "digest": { "sha256": digest("tree").hex() } }],
        },
        "runDetails": { "builder": { "id": "https://proofmark.dev/run/v0.1" } },
    })
}

pub fn sbom() -> Value {
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "metadata": { "properties": [{ "name": "proofmark:gaps", "value": "0" }] },
        "components": [{ "name": "serde" }, { "name": "libc" }],
    })
}

pub fn vulns() -> Vulns {
    Vulns {
        scanner: Scanner {
            uri: "https://proofmark.dev".to_owned(),
            version: "0.1.0".to_owned(),
            db: ScannerDatabase {
                uri: "advisories".to_owned(),
                version: digest("advisories").hex(),
                last_update: "2025-11-26T12:00:00Z".parse().unwrap(),
                age_days_max: Some(36_500),
                advisories: 1205,
            },
            result: vec![],
        },
        metadata: ScanMetadata {
            scan_started_on: now(),
            scan_finished_on: now(),
        },
        observation: observation(&[("components", 39)]),
    }
}

pub fn runtime() -> Observed {
    let process = |name: &str| json!({ "service": name, "artifact": name, "expected": digest(name).hex(), "running": digest(name).hex() });
    let mut observed = observed(&[("processes", 2)]);
    observed.facts.insert(
        "processes".to_owned(),
        json!([process("ledger"), process("storefront")]),
    );
    observed
}

pub fn revocation() -> ChaosExperiment {
    ChaosExperiment {
        experiment: "experiments/revoke-ledger.toml".to_owned(),
        title: "a revoked ledger credential stops working".to_owned(),
        digest: digest("revoke-ledger"),
        faults: vec![fault("credential-revoked")],
        steady_before: true,
        steady_after: true,
        detectors: vec![DetectorRun {
            id: "ledger-denied".to_owned(),
            kind: "sigma".to_owned(),
            self_test: true,
            false_alarm: false,
            detected_us: Some(140_000),
            diagnosis: None,
        }],
        detected_us: Some(140_000),
        contained_us: Some(160_000),
        recovered_us: Some(1_300_000),
        window_us: 30_000_000,
        workload: BTreeMap::from([("sent".to_owned(), 120), ("refused".to_owned(), 3)]),
        recovered_by_itself: true,
        rung: None,
        targets: vec![],
        pattern: None,
        study: None,
        unknown: vec![],
        notes: vec![],
        measured: None,
    }
}

pub fn degradation() -> ChaosExperiment {
    ChaosExperiment {
        experiment: "experiments/degrade-link.toml".to_owned(),
        title: "a slow and broken link is survived".to_owned(),
        digest: digest("degrade-link"),
        faults: vec![fault("link-slowed"), fault("link-reset")],
        detectors: vec![],
        detected_us: None,
        contained_us: None,
        recovered_us: Some(900_000),
        ..revocation()
    }
}

fn fault(id: &str) -> FaultRun {
    FaultRun {
        fault: id.to_owned(),
        parameters: BTreeMap::new(),
        undo_class: "journaled".to_owned(),
        bit: true,
        undone: true,
        undo_us: 900,
        techniques: vec![],
    }
}

pub fn canary() -> CanaryRun {
    let arm = |requests, errors| Arm {
        requests,
        errors,
        slow: 0,
        p50_us: 900,
        p99_us: 4000,
    };
    CanaryRun {
        old: Some(digest("storefront 1.3.9")),
        old_source: "baseline".to_owned(),
        new: digest("storefront"),
        decision: "promote".to_owned(),
        reason: "not worse".to_owned(),
        arms: BTreeMap::from([("old".to_owned(), arm(2120, 0)), ("new".to_owned(), arm(2000, 1))]),
        worse: BTreeMap::from([("errors".to_owned(), 0.1), ("slow".to_owned(), 0.2)]),
        not_worse: BTreeMap::from([("errors".to_owned(), 31.0), ("slow".to_owned(), 80.0)]),
        alpha: 0.05,
        limits: Default::default(),
        final_weight: 100,
    }
}
