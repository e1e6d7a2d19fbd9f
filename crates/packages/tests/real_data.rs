//! Real data of public projects, where it is at hand: package URL tests, and lock files with what another reader found in them.
//!
//! Set `PROOFMARK_DATA` to a folder with the archives unpacked side by side (`purl-spec/`, `lockfiles-and-os-packages/`,
//! `lockfile-expectations.json`). Without it each test prints that it did not run.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use packages::purl::Purl;
use serde_json::Value;

fn data(part: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PROOFMARK_DATA")
        .map(|root| PathBuf::from(root).join(part))
        .filter(|path| path.exists());
    if path.is_none() {
        println!("not run: no `{part}` below PROOFMARK_DATA");
    }
    path
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("readable")).expect("JSON")
}

#[test]
fn package_urls_of_the_specification() {
    let Some(root) = data("purl-spec/tests") else { return };
    let mut ours = (0, 0);
    let mut all = (0, 0);
    let files = ["types", "spec"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root.join(folder)).expect("a folder"));
    for path in files.map(|entry| entry.expect("an entry").path()) {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default()
            .to_owned();
        let mine = [
            "cargo-test.json",
            "npm-test.json",
            "golang-test.json",
            "specification-test.json",
        ]
        .contains(&name.as_str());
        for case in json(&path)["tests"].as_array().expect("tests") {
            let good = purl_case(case);
            if !good {
                println!(
                    "{name}: {} {} expected {}",
                    case["test_type"], case["input"], case["expected_output"]
                );
            }
            for (passed, total) in [Some(&mut all), mine.then_some(&mut ours)].into_iter().flatten() {
                *passed += usize::from(good);
                *total += 1;
            }
        }
    }
    println!(
        "cargo, npm, golang and the rules for all: {} of {}; all types: {} of {}",
        ours.0, ours.1, all.0, all.1
    );
    assert!(ours.1 > 0);
    assert_eq!(ours.0, ours.1);
}

fn purl_case(case: &Value) -> bool {
    let input = &case["input"];
    let got = match input.as_str() {
        Some(text) => Purl::parse(text).ok(),
        None => build(input),
    };
    let expect = &case["expected_output"];
    match (got, case["expected_failure"] == true) {
        (got, true) => got.is_none(),
        (None, false) => false,
        (Some(purl), false) => match expect.as_str() {
            Some(text) => purl.to_string() == text,
            None => {
                let none = serde_json::Map::new();
                let qualifiers = expect["qualifiers"].as_object().unwrap_or(&none);
                Some(purl.kind()) == expect["type"].as_str()
                    && purl.namespace() == expect["namespace"].as_str()
                    && Some(purl.name()) == expect["name"].as_str()
                    && purl.version() == expect["version"].as_str()
                    && purl.subpath() == expect["subpath"].as_str()
                    && purl.qualifiers().len() == qualifiers.len()
                    && purl
                        .qualifiers()
                        .iter()
                        .all(|(key, value)| qualifiers.get(key).and_then(Value::as_str) == Some(value))
            }
        },
    }
}

fn build(input: &Value) -> Option<Purl> {
    let mut purl = Purl::new(
        input["type"].as_str()?,
        input["namespace"].as_str(),
        input["name"].as_str()?,
        input["version"].as_str(),
    )
    .ok()?;
    for (key, value) in input["qualifiers"].as_object().into_iter().flatten() {
        purl = purl.with_qualifier(key, value.as_str()?).ok()?;
    }
    Some(match input["subpath"].as_str() {
        Some(subpath) => purl.with_subpath(subpath),
        None => purl,
    })
}

#[test]
fn lock_files_hold_what_another_reader_found() {
    let (Some(root), Some(expectations)) = (data("lockfiles-and-os-packages"), data("lockfile-expectations.json"))
    else {
        return;
    };
    // A module replaced by a local folder: the other reader takes the folder for a package. Its code is still that module's, of unknown version.
    let differs = ["gomod/testdata/replace-local.mod"];
    let (mut same, mut total, mut different) = (0, 0, Vec::new());
    for (path, expect) in json(&expectations).as_object().expect("a table") {
        let read_as = expect["read_as"].as_str().unwrap_or_default();
        if !["Cargo.lock", "package-lock.json", "go.mod"].contains(&read_as) {
            continue;
        }
        let mut files = vec![(read_as.to_owned(), std::fs::read(root.join(path)).expect("a fixture"))];
        let sums = root.join(path).with_extension("sum");
        if path.ends_with(".mod") && sums.exists() {
            files.push(("go.sum".to_owned(), std::fs::read(sums).expect("a fixture")));
        }
        let inventory = packages::read(&files);
        let got: BTreeSet<(String, String)> = inventory
            .components
            .iter()
            .filter(|component| component.scope != evidence::Scope::Root)
            .map(|component| (component.name.clone(), component.version.clone()))
            .collect();
        let good = match expect["packages"].as_array() {
            None => inventory.gaps.iter().any(|gap| gap.id == "packages/unreadable"),
            Some(packages) => {
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let expect: BTreeSet<(String, String)> =
                    packages.iter().map(|row| (text(&row[1]), text(&row[2]))).collect();
                if got != expect {
                    println!(
                        "{path}: only ours {:?}, only theirs {:?}",
                        got.difference(&expect),
                        expect.difference(&got)
                    );
                }
                got == expect
            }
        };
        total += 1;
        same += usize::from(good);
        if !good && !differs.iter().any(|known| path.ends_with(known)) {
            different.push((path.clone(), inventory.gaps));
        }
    }
    println!("{same} of {total}, {} expected to differ", differs.len());
    assert!(total > 0);
    assert!(different.is_empty(), "{different:#?}");
}
