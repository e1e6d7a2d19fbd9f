//! Real data of public projects, where it is at hand: version order vectors and the Go vulnerability database.
//!
//! Set `PROOFMARK_DATA` to a folder with the archives unpacked side by side (`version-vectors/`, `advisories-go/`).
//! Without it each test prints that it did not run.

use std::cmp::Ordering;
use std::path::PathBuf;

use evidence::{Component, Scope};

fn data(part: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PROOFMARK_DATA")
        .map(|root| PathBuf::from(root).join(part))
        .filter(|path| path.exists());
    if path.is_none() {
        println!("not run: no `{part}` below PROOFMARK_DATA");
    }
    path
}

#[test]
fn order_of_versions() {
    let Some(path) = data("version-vectors/semver-versions.txt") else {
        return;
    };
    let text = std::fs::read_to_string(path).expect("vectors");
    let (mut good, mut total) = (0, 0);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [a, operator, b] = words[..] else {
            panic!("`{line}` is no vector")
        };
        let expect = match operator {
            "<" => Ordering::Less,
            ">" => Ordering::Greater,
            _ => Ordering::Equal,
        };
        for ecosystem in ["crates.io", "npm", "Go"] {
            total += 1;
            let got = intel::version::compare(ecosystem, a, b);
            good += usize::from(got == Some(expect));
            if got != Some(expect) {
                println!("{ecosystem}: {line}: {got:?}");
            }
        }
    }
    println!("{good} of {total}");
    assert!(total > 0);
    assert_eq!(good, total);
}

fn module(name: &str, version: &str) -> Component {
    Component {
        purl: format!("pkg:golang/{name}@v{version}"),
        ecosystem: "Go".to_owned(),
        name: name.to_owned(),
        version: version.to_owned(),
        licence: None,
        checksum: None,
        scope: Scope::Runtime,
        path: "go.mod".to_owned(),
        line: 1,
    }
}

#[test]
fn the_go_vulnerability_database() {
    let Some(root) = data("advisories-go/data/osv") else {
        return;
    };
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    for entry in std::fs::read_dir(root).expect("a folder") {
        let path = entry.expect("an entry").path();
        files.push((
            path.file_name()
                .and_then(|name| name.to_str())
                .unwrap_or_default()
                .to_owned(),
            std::fs::read(path).expect("a record"),
        ));
    }
    let (db, diagnostics) = intel::load(&files).expect("a database");
    println!("{} records, {} diagnostics", db.len(), diagnostics.len());
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    assert_eq!(db.len(), files.len());
    assert_eq!(db.digest(), intel::digest_of(&files));

    // Known answers: <https://pkg.go.dev/vuln/GO-2021-0113> (fixed in 0.3.7), GO-2020-0015 (fixed in 0.3.3), GO-2022-1059 (0.3.8).
    let ids = |version: &str| -> Vec<String> {
        let observation = intel::matches(&db, &[module("golang.org/x/text", version)]);
        assert!(observation.gaps.is_empty(), "{:?}", observation.gaps);
        // Younger records may come; what was published until 2022 stays.
        let known = |rule: &String| rule.as_str() < "vuln/GO-2023";
        observation
            .findings
            .into_iter()
            .map(|finding| finding.rule)
            .filter(known)
            .collect()
    };
    for (version, expect) in [
        (
            "0.3.0",
            ["vuln/GO-2020-0015", "vuln/GO-2021-0113", "vuln/GO-2022-1059"].as_slice(),
        ),
        ("0.3.5", &["vuln/GO-2021-0113", "vuln/GO-2022-1059"]),
        ("0.3.7", &["vuln/GO-2022-1059"]),
        ("0.3.8", &[]),
    ] {
        assert_eq!(ids(version), expect, "{version}");
    }

    // Every eighth record (all of them take half a minute without optimisation, and passed): a version that introduces is
    // affected, one that fixes is not.
    let (mut good, mut total) = (0, 0);
    for (path, bytes) in files.iter().step_by(8) {
        let record: serde_json::Value = serde_json::from_slice(bytes).expect("JSON");
        if record.get("withdrawn").is_some() {
            continue;
        }
        let rule = format!("vuln/{}", record["id"].as_str().unwrap_or_default());
        for affected in record["affected"].as_array().into_iter().flatten() {
            let name = affected["package"]["name"].as_str().unwrap_or_default();
            let others = record["affected"].as_array().map_or(0, |all| {
                all.iter()
                    .filter(|other| other["package"] == affected["package"])
                    .count()
            });
            if others > 1 {
                continue;
            }
            for event in affected["ranges"][0]["events"].as_array().into_iter().flatten() {
                let Some(version) = event["introduced"]
                    .as_str()
                    .filter(|at| *at != "0")
                    .or(event["fixed"].as_str())
                else {
                    continue;
                };
                let expect = event.get("introduced").is_some();
                let observation = intel::matches(&db, &[module(name, version)]);
                let got = observation.findings.iter().any(|finding| finding.rule == rule);
                total += 1;
                good += usize::from(got == expect);
                if got != expect {
                    println!("{path}: {name} {version}: {got}");
                }
            }
        }
    }
    println!("borders: {good} of {total}");
    assert_eq!(good, total);
}
