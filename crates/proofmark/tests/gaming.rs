//! What a pull request might try instead of mending what is wrong. None of it gets a pass.

mod common;

use common::{Shop, turn};

/// A control of the example's own configuration, to be dropped or loosened.
const CONTROL: &str = "within_seconds = ";

#[test]
fn a_deleted_or_loosened_control_needs_an_approver() {
    let _turn = turn();
    let shop = Shop::new();
    shop.release().expect(0, &["PASS"]);
    let text = std::fs::read_to_string(shop.tree.join("proofmark.toml")).expect("a file");
    let start = text.find("[[control]]").expect("the example adds a control");
    // Deleted.
    std::fs::write(shop.tree.join("proofmark.toml"), &text[..start]).expect("a file");
    shop.commit("drop a control");
    shop.run(&["release", "--to", "commit"])
        .expect(3, &["UNPROVEN", "loosened"]);
    // Loosened.
    let at = text[start..].find(CONTROL).expect("a limit") + start + CONTROL.len();
    let end = text[at..].find('\n').map_or(text.len(), |n| at + n);
    let value: u64 = text[at..end].trim().parse().expect("a number");
    let loosened = format!("{}{}{}", &text[..at], value + 1, &text[end..]);
    std::fs::write(shop.tree.join("proofmark.toml"), loosened).expect("a file");
    shop.commit("loosen a control");
    shop.run(&["release", "--to", "commit"])
        .expect(3, &["UNPROVEN", "loosened"]);
    let approve = [
        "approve",
        "loosened-controls",
        "--reason",
        "agreed",
        "--expires",
        "2100-01-01T00:00:00Z",
    ];
    shop.run(&approve).expect(0, &["approved"]);
    shop.run(&["release", "--to", "commit"]).expect(0, &["PASS"]);
}

#[test]
fn a_floor_control_can_not_be_loosened_at_all() {
    let shop = Shop::new();
    let path = shop.tree.join("proofmark.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    let weaker = "\n[[control]]\nid = \"revocation-detected\"\nstage = \"staging\"\nwithin_seconds = 86400\n";
    std::fs::write(&path, format!("{text}{weaker}")).expect("a file");
    shop.commit("weaker");
    shop.run(&["release", "--to", "commit"])
        .expect(2, &["revocation-detected"]);
}

#[test]
fn an_allow_line_or_a_baseline_entry_hides_nothing_from_the_gate() {
    let _turn = turn();
    let shop = Shop::new();
    shop.switch("planted-secret");
    let seen = shop.run(&["check", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&seen.stdout).expect("JSON");
    let finding = &document["checks"]["secrets"]["findings"][0];
    let (id, rule) = (
        finding["id"].as_str().expect("an id"),
        finding["rule"].as_str().expect("a rule"),
    );
    let (file, line) = (
        finding["span"]["path"].as_str().expect("a path"),
        finding["span"]["line"].as_u64().expect("a line"),
    );
    let path = shop.tree.join(file);
    let text = std::fs::read_to_string(&path).expect("a file");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines[line as usize - 1].push_str(&format!(" # proofmark:allow {rule} it is only a test"));
    std::fs::write(&path, lines.join("\n") + "\n").expect("a file");
    std::fs::write(shop.tree.join(".proofmark-baseline"), format!("{id} known\n")).expect("a file");
    shop.commit("allow it");
    // Hidden from the developer's own look, not from the gate.
    shop.run(&["hook"]).expect(0, &[]);
    shop.run(&["release", "--to", "commit"])
        .expect(1, &["BLOCKED at commit", rule]);
}

#[test]
fn a_failed_check_that_is_run_until_it_passes_is_not_a_pass() {
    let _turn = turn();
    let shop = Shop::new();
    // A test that fails the first time it is run on a machine, and never again.
    let flaky = "\n[[commit.step]]\nname = \"flaky\"\nrun = [\"sh\", \"flaky.sh\"]\nreport = \"target/flaky.xml\"\n";
    let path = shop.tree.join("proofmark.toml");
    let text = std::fs::read_to_string(&path).expect("a file");
    std::fs::write(
        &path,
        text.replacen("\n[dependencies]", &format!("{flaky}\n[dependencies]"), 1),
    )
    .expect("a file");
    let script = "if [ -e target/seen ]; then r=''; else r='<failure message=\"x\"/>'; fi; : > target/seen\n\
                  echo \"<testsuite><testcase name=\\\"t\\\">$r</testcase></testsuite>\" > target/flaky.xml\n";
    std::fs::write(shop.tree.join("flaky.sh"), script).expect("a file");
    shop.commit("flaky");
    shop.run(&["release", "--to", "commit"])
        .expect(1, &["BLOCKED at commit", "flaky"]);
    let again = shop.run(&["release", "--to", "commit"]);
    again.expect(3, &["UNPROVEN at commit"]);
    shop.run(&["release", "--to", "commit"])
        .expect(3, &["UNPROVEN at commit"]);
    let approve = [
        "approve",
        "rerun",
        "--reason",
        "it was the disk",
        "--expires",
        "2100-01-01T00:00:00Z",
    ];
    shop.run(&approve).expect(0, &["approved"]);
    shop.run(&["release", "--to", "commit"]).expect(0, &["PASS"]);
}

#[test]
fn an_artifact_that_is_swapped_between_stages_is_refused() {
    let _turn = turn();
    let shop = Shop::new();
    shop.run(&["release", "--to", "build"]).expect(0, &["PASS"]);
    // Another build's bytes under this build's name, in the store itself.
    let blobs = shop.tree.join(".proofmark/blobs");
    let mut swapped = 0;
    for folder in std::fs::read_dir(&blobs).expect("blobs") {
        for blob in std::fs::read_dir(folder.expect("a folder").path()).expect("blobs") {
            let path = blob.expect("a blob").path();
            let mut bytes = std::fs::read(&path).expect("a blob");
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            std::fs::remove_file(&path).expect("removed");
            std::fs::write(&path, bytes).expect("written");
            swapped += 1;
        }
    }
    assert!(swapped > 0);
    // The bundle of the build attempt is gone, as if it had been killed there: the attempt is resumed with the swapped bytes.
    std::fs::remove_dir_all(shop.tree.join(".proofmark/bundles")).expect("removed");
    let answer = shop.release();
    assert_ne!(answer.code, 0, "{answer:?}");
    answer.expect(4, &["changed"]);
}

/// Adds a step that runs `script` and writes a report that looks fine.
fn add_step(shop: &Shop, name: &str, script: &str) {
    let report = format!("target/{name}.xml");
    let step = format!("\n[[commit.step]]\nname = \"{name}\"\nrun = [\"sh\", \"{name}.sh\"]\nreport = \"{report}\"\n");
    shop.replace("proofmark.toml", "\n[dependencies]", &format!("{step}\n[dependencies]"));
    let script = format!("{script}\necho '<testsuite><testcase name=\"t\"/></testsuite>' > {report}\n");
    std::fs::write(shop.tree.join(format!("{name}.sh")), script).expect("a file");
    shop.commit(name);
}

#[test]
fn a_step_that_changes_what_is_judged_is_blocked() {
    let _turn = turn();
    let shop = Shop::new();
    add_step(&shop, "edit", "echo '<!-- more -->' >> web/index.html");
    shop.run(&["release", "--to", "build"])
        .expect(1, &["BLOCKED at commit", "changed the tree"]);
}

#[test]
fn a_step_can_write_nothing_but_the_tree_and_its_temporary_folder() {
    let _turn = turn();
    let shop = Shop::new();
    let outside = shop.tree.join("../outside");
    let script = format!(
        "echo x > {0} && : > target/escaped\nmv .. ../moved && : > target/escaped\necho x > $TMPDIR/mine || : > target/escaped",
        outside.display()
    );
    add_step(&shop, "escape", &script);
    shop.run(&["release", "--to", "commit"]).expect(0, &["PASS"]);
    assert!(!outside.exists() && !shop.tree.join("target/escaped").exists());
}

#[test]
fn what_judges_is_not_exchanged_without_an_approver() {
    let _turn = turn();
    let shop = Shop::new();
    shop.release().expect(0, &["PASS"]);
    shop.replace("experiments/revoke-ledger.toml", "is noticed", "gets noticed");
    shop.commit("another experiment under the same name");
    let answer = shop.run(&["release", "--to", "commit"]);
    answer.expect(3, &["UNPROVEN", "experiments/revoke-ledger.toml"]);
}

#[test]
fn run_builds_only_what_is_declared_and_only_once() {
    let _turn = turn();
    let shop = Shop::new();
    let other = [
        "run",
        "--name",
        "ledger",
        "--artifact",
        "target/debug/ledger",
        "--",
        "true",
    ];
    shop.run(&other).expect(2, &["not declared so"]);
    let path = ["build", "--offline", "--locked", "-p", "ledger"];
    let declared = [
        &[
            "run",
            "--name",
            "ledger",
            "--artifact",
            "target/debug/ledger",
            "--",
            "cargo",
        ],
        &path[..],
    ]
    .concat();
    shop.run(&declared).expect(0, &["provenance logged"]);
    shop.run(&declared).expect(2, &["already"]);
    shop.run(&["release", "--to", "build"]).expect(0, &["PASS"]);
}

#[test]
fn a_home_that_lost_its_trust_root_makes_no_new_one() {
    let _turn = turn();
    let shop = Shop::new();
    shop.run(&["release", "--to", "commit"]).expect(0, &["PASS"]);
    std::fs::remove_file(shop.home.join("trust-root.json")).expect("removed");
    shop.run(&["release", "--to", "commit"]).expect(4, &["no trust root"]);
}
