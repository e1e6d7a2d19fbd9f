//! Releases of `examples/shop`, end to end: real processes, real sockets, the real program.

mod common;

use common::{Shop, turn};

#[test]
fn a_clean_release_passes_twice_and_its_bundle_verifies_elsewhere() {
    let _turn = turn();
    let shop = Shop::new();
    let first = shop.release();
    first.expect(0, &["PASS", "attestation coverage", "self-signed"]);
    let bundle = first.bundle();
    shop.run(&["verify", &bundle]).expect(0, &["VERIFIED", "PASS"]);
    // Another machine: another home, only the trust root.
    let trust_root = shop.home.join("trust-root.json").display().to_string();
    let mut elsewhere = shop.command(&["verify", &bundle, "--trust-root", &trust_root]);
    let out = elsewhere
        .env("PROOFMARK_HOME", shop.tree.join("../nowhere"))
        .output()
        .expect("the program starts");
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    let second = shop.release();
    second.expect(0, &["PASS"]);
    assert_ne!(first.bundle(), second.bundle());
    shop.run(&["log", "fsck"]).expect(0, &["log holds"]);
    // Nothing is left behind.
    assert!(!shop.tree.join(".proofmark/run").exists());
}

#[test]
fn the_same_release_passes_five_years_from_now() {
    let _turn = turn();
    let shop = Shop::new();
    shop.run(&["release", "--as-of", "2031-11-24T00:00:00Z"])
        .expect(0, &["PASS"]);
}

#[test]
fn five_switches_are_blocked_at_five_stages() {
    let _turn = turn();
    let rows = [
        ("planted-secret", "commit", "secret/"),
        ("vulnerable-dependency", "build", "vuln/"),
        ("unauthenticated-endpoint", "integration", "dast/missing-authentication"),
        ("cached-validity", "staging", "revoked"),
        ("faulty-canary", "production", "canary"),
    ];
    for (name, stage, says) in rows {
        let shop = Shop::new();
        shop.switch(name);
        let answer = shop.release();
        answer.expect(1, &[&format!("BLOCKED at {stage}"), says, "to do:", "why here:"]);
        shop.run(&["verify", &answer.bundle()])
            .expect(1, &["VERIFIED", "BLOCKED"]);
        responded(&shop, stage, &answer);
    }
}

/// What the playbook of a stage did after the block, as it was read back, is in the report and in the log.
#[track_caller]
fn responded(shop: &Shop, stage: &str, answer: &common::Answer) {
    let (cause, actions) = match stage {
        "staging" => ("experiment:experiments/revoke-ledger.toml", CONTAINED),
        "production" => ("canary", HALTED),
        _ => return answer.expect(1, &[]).say_nothing_of("incident: "),
    };
    answer.expect(1, &[&format!("incident: {cause}"), "succeeded", "= did: "]);
    answer.say_nothing_of("`incident`");
    shop.run(&["log", "list"]).expect(0, &["incident"]);
    let summary = std::fs::read_to_string(shop.tree.join(answer.bundle()).join("summary.md")).expect("a summary");
    assert!(summary.contains(&format!("incident: {cause}")), "{summary}");
    let incident = shop.incident();
    let said: Vec<&str> = incident["actions"]
        .as_array()
        .expect("actions")
        .iter()
        .map(|action| action["answer"].as_str().expect("an answer"))
        .collect();
    assert_eq!(said.len(), actions.len(), "{said:?}");
    for (said, expect) in said.iter().zip(actions) {
        assert!(said.contains(expect), "no {expect:?} in {said:?}");
    }
}

const HALTED: &[&str] = &["0 per cent, read back", "0 → 0 per cent, read back"];
const CONTAINED: &[&str] = &[
    "links cut, read back: storefront-ledger",
    "revoked, none of them alive, read back",
    "artifact `ledger` is sha256:",
    "service `ledger` restarted and ready; it runs sha256:",
    "links clear, read back: storefront-ledger",
    "leased anew",
];

/// Not by the incident that it was meant for.
#[test]
fn a_playbook_that_cannot_be_run_is_found_before_anything_runs() {
    let shop = Shop::new();
    let file = "playbooks/contain-credential.json";
    let rows = [
        ("\"type\": \"start\"", "\"type\": \"stop\"", "can't be run"),
        ("\"bash\"", "\"powershell\"", "`powershell` are not run here"),
        (
            "\"workflow_start\"",
            "\"playbook_variables\": {\"__who__\": {\"type\": \"string\", \"external\": true}}, \"workflow_start\"",
            "wants a value for `__who__`",
        ),
    ];
    let good = std::fs::read(shop.tree.join(file)).expect("a playbook");
    for (from, to, says) in rows {
        shop.replace(file, from, to);
        shop.release().expect(2, &[says, "hint: "]);
        std::fs::write(shop.tree.join(file), &good).expect("a file");
    }
    std::fs::remove_file(shop.tree.join(file)).expect("removed");
    shop.release().expect(2, &["is not in the tree"]);
}

#[test]
fn a_plan_does_nothing() {
    let shop = Shop::new();
    shop.run(&["release", "--plan"])
        .expect(0, &["undo", "revoke", "staging"]);
    assert!(!shop.tree.join(".proofmark").exists());
    assert!(!shop.home.exists());
}

#[test]
fn without_any_older_version_an_approver_decides() {
    let _turn = turn();
    let shop = Shop::new();
    let path = shop.tree.join("proofmark.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let start = text.find("[production.baseline]").expect("a baseline");
    let end = text[start + 1..].find("\n[").map_or(text.len(), |at| start + 1 + at);
    std::fs::write(&path, format!("{}{}", &text[..start], &text[end..])).expect("a file");
    shop.commit("no baseline");
    shop.release().expect(3, &["UNPROVEN at production"]);
    let approve = [
        "approve",
        "first-release",
        "--reason",
        "the first one",
        "--expires",
        "2100-01-01T00:00:00Z",
    ];
    shop.run(&approve).expect(0, &["approved"]);
    shop.release().expect(0, &["PASS"]);
}
