//! `chaos next`, as a person uses it: it learns from the log, is replayed byte for byte, and proposes nothing that the
//! owner refuses.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

#[track_caller]
fn check(folder: &Path, args: &[&str], code: i32) -> String {
    let out = Command::new(env!("CARGO_BIN_EXE_proofmark"))
        .arg("chaos")
        .args(args)
        .current_dir(folder)
        .env("PROOFMARK_HOME", folder.with_extension("home"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let error = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(code), "{args:?}: {text}{error}");
    text + &error
}

fn next(folder: &Path, args: &[&str]) -> Value {
    let text = check(folder, &[&["next", "--json"], args].concat(), 0);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn picks(next: &Value) -> Vec<&str> {
    let picks = next["picks"].as_array().unwrap().iter();
    picks.map(|pick| pick["experiment"].as_str().unwrap()).collect()
}

fn experiment(fault: &str, target: &str) -> String {
    format!(
        "title = \"x\"\ndeadline_seconds = 20\nwindow_seconds = 3\n[declares]\ndata = \"synthetic\"\n\
         paying_customers = \"none\"\ntenancy = \"dedicated\"\n[steady]\ntarget = \"{target}\"\nrequests = 1\n[[fault]]\n\
         id = \"{fault}\"\ntarget = \"{target}\"\npath = \"password\"\nhold_ms = 300\n"
    )
}

/// Two targets that may be attacked, one in production, and one that has not opted in.
fn tree() -> tempfile::TempDir {
    let scratch = tempfile::tempdir().unwrap();
    let folder = scratch.path().join("tree");
    let mut settings = "[release]\nname = \"x\"\nversion = \"1\"\n[chaos.prevalence]\nT1485 = 90\n".to_owned();
    for (target, rung, opted_in) in [
        ("one", "isolated", true),
        ("two", "isolated", true),
        ("live", "production", true),
        ("shy", "isolated", false),
    ] {
        std::fs::create_dir_all(folder.join(target)).unwrap();
        std::fs::write(folder.join(target).join("password"), "not a secret").unwrap();
        settings += &format!(
            "[chaos.target.{target}]\nkind = \"files\"\nopted_in = {opted_in}\nrung = \"{rung}\"\ntenancy = \"dedicated\"\n\
             criticality = 3\nroot = \"{target}\"\n"
        );
    }
    std::fs::write(folder.join("proofmark.toml"), settings).unwrap();
    std::fs::create_dir(folder.join("experiments")).unwrap();
    for target in ["one", "two", "live", "shy"] {
        for fault in ["file-withdrawn", "secret-unreadable"] {
            std::fs::write(
                folder.join(format!("experiments/{fault}-{target}.toml")),
                experiment(fault, target),
            )
            .unwrap();
        }
    }
    std::fs::write(folder.join("experiments/broken.toml"), "title = 1\n").unwrap();
    scratch
}

#[test]
fn a_choice_learns_from_the_log_and_is_replayed() {
    let scratch = tree();
    let folder = &scratch.path().join("tree");
    let first = next(folder, &["-n", "8"]);
    let mut all = picks(&first);
    all.sort_unstable();
    assert_eq!(
        all,
        [
            "experiments/file-withdrawn-one.toml",
            "experiments/file-withdrawn-two.toml",
            "experiments/secret-unreadable-one.toml",
            "experiments/secret-unreadable-two.toml",
        ]
    );
    let refused = first["refused"].as_array().unwrap();
    assert_eq!(refused.len(), 4);
    let reasons = first["refused"].to_string();
    assert!(
        reasons.contains("has not opted in") && reasons.contains("`rung_max` of `[chaos.choice]`"),
        "{reasons}"
    );
    assert_eq!(first["unread"].as_array().unwrap().len(), 1);
    let withdrawn = first["picks"].as_array().unwrap().iter();
    let withdrawn = withdrawn.filter(|pick| pick["experiment"].as_str().unwrap().contains("withdrawn"));
    for pick in withdrawn {
        assert_eq!(pick["prevalence"]["source"], "proofmark.toml");
        assert_eq!(pick["prevalence"]["weight"], 0.9);
    }

    // It is run, and looked at again: the log has grown, and what was run is doubted less.
    let ran = picks(&first)[0].to_owned();
    check(folder, &["run", &ran], 0);
    let after = next(folder, &["-n", "8"]);
    assert_eq!(after["runs"], 1);
    let of = |next: &Value, path: &str| {
        let picks = next["picks"].as_array().unwrap().clone();
        picks.into_iter().find(|pick| pick["experiment"] == *path).unwrap()
    };
    let mean = |next: &Value, path: &str| {
        let belief = of(next, path)["belief"].clone();
        let (a, b) = (belief["a"].as_f64().unwrap(), belief["b"].as_f64().unwrap());
        a / (a + b)
    };
    assert!(mean(&after, &ran) < mean(&first, &ran));
    assert_eq!(of(&after, &ran)["factors"]["uncertainty"], 0.5);
    assert_ne!(after["seed"], first["seed"], "the seed is of the statements");
    // A neighbour on the same target is believed in less too.
    let target = ran.trim_end_matches(".toml").rsplit('-').next().unwrap();
    let neighbour = picks(&first)
        .into_iter()
        .find(|path| *path != ran && path.contains(target))
        .unwrap()
        .to_owned();
    assert!(mean(&after, &neighbour) < mean(&first, &neighbour));

    // The earlier choice again, from the longer log: byte for byte, in words and as JSON.
    let (seed, size, at) = (
        first["seed"].to_string(),
        first["logSize"].to_string(),
        first["at"].as_str().unwrap(),
    );
    let stated = ["--seed", &seed, "--log-size", &size, "--as-of", at, "-n", "8"];
    assert_eq!(next(folder, &stated), first);
    let words = check(folder, &[&["next"], &stated[..]].concat(), 0);
    assert_eq!(words, check(folder, &[&["next"], &stated[..]].concat(), 0));
    for part in [
        "risk ×",
        "draw",
        "runner-up",
        "never proposed, whatever is learnt",
        "not read: experiments/broken.toml",
    ] {
        assert!(words.contains(part), "{part}: {words}");
    }
    assert_ne!(
        next(folder, &["--seed", "1"])["picks"],
        next(folder, &["--seed", "2"])["picks"]
    );
}

#[test]
fn an_empty_tree_says_what_to_do() {
    let scratch = tempfile::tempdir().unwrap();
    let text = check(scratch.path(), &["next"], 2);
    assert!(text.contains("name their folder with `--experiments FOLDER`"), "{text}");
}
