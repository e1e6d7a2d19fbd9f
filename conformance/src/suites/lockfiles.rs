//! `lockfiles-and-os-packages`: what [`packages::read`] makes of other people's fixtures, against what osv-scanner makes of
//! them (`lockfile-expectations.json`, in the folder or beside it).
//!
//! Each fixture is put under the name it is read as, alone (a `.mod` with the `.sum` beside it). Cases are named
//! `FORMAT/PATH`. A format we know and don't read must be the gap `packages/unread-manifest`; its difference is an expected
//! one. What osv-scanner has no word on is `no-expectation/PATH`, or `named/PATH` where its own name is one we know: then it
//! must be read or named as a gap.

use std::collections::BTreeSet;

use evidence::Scope;
use serde_json::Value;

use super::{Data, guarded};
use crate::expected::Tally;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let expectations = data.companion("lockfile-expectations.json")?;
    for path in data.files()? {
        if path == "lockfile-expectations.json" {
            continue;
        }
        let bytes = data.bytes(&path)?;
        match expectations.get(&path) {
            Some(expectation) => {
                let format = expectation["read_as"].as_str().unwrap_or("unknown");
                let mut files = vec![(place(format).to_owned(), bytes)];
                if let Some(stem) = path.strip_suffix(".mod") {
                    files.extend(
                        data.bytes(&format!("{stem}.sum"))
                            .ok()
                            .map(|sum| ("go.sum".to_owned(), sum)),
                    );
                }
                let got = guarded(|| answer(place(format), &files));
                tally.case(&format!("{format}/{path}"), &expected(expectation), &got);
            }
            None if packages::is_manifest(&path) => {
                let got = guarded(|| named(&path, bytes));
                tally.case(&format!("named/{path}"), "read or named", &got);
            }
            None => tally.case(&format!("no-expectation/{path}"), "an expectation", "none"),
        }
    }
    Ok(())
}

/// Where a file of this format stands in a tree.
fn place(format: &str) -> &str {
    match format {
        "apk-installed" => "lib/apk/db/installed",
        "dpkg-status" => "var/lib/dpkg/status",
        "deps.json" => "app.deps.json",
        name => name,
    }
}

fn expected(expectation: &Value) -> String {
    if expectation.get("error").is_some() {
        return "refused".to_owned();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let packages = expectation["packages"].as_array().into_iter().flatten();
    list(packages.map(|package| format!("{} {} {}", text(&package[0]), text(&package[1]), text(&package[2]))))
}

fn answer(path: &str, files: &[(String, Vec<u8>)]) -> String {
    if !packages::is_manifest(path) {
        return "no manifest to us".to_owned();
    }
    let inventory = packages::read(files);
    if let Some(gap) = inventory.gaps.iter().find(|gap| gap.id == "packages/unread-manifest") {
        return gap.id.clone();
    }
    if inventory.components.is_empty() && inventory.gaps.iter().any(|gap| gap.id == "packages/unreadable") {
        return "refused".to_owned();
    }
    let pulled = inventory
        .components
        .iter()
        .filter(|component| component.scope != Scope::Root);
    list(pulled.map(|component| format!("{} {} {}", component.ecosystem, component.name, component.version)))
}

fn named(path: &str, bytes: Vec<u8>) -> String {
    // A manifest that asks for nothing needs no word.
    let text = String::from_utf8_lossy(&bytes).to_lowercase();
    let asks = ["dependenc", "install_requires"].iter().any(|word| text.contains(word));
    let inventory = packages::read(&[(path.to_owned(), bytes)]);
    let read = inventory.manifests.iter().any(|manifest| manifest == path);
    let gap = inventory
        .gaps
        .iter()
        .any(|gap| gap.what == path || gap.what.starts_with(&format!("{path}:")));
    if read || gap || !asks {
        "read or named"
    } else {
        "passed over"
    }
    .to_owned()
}

/// Each once, in order: one package may stand twice in a lock file.
fn list(packages: impl Iterator<Item = String>) -> String {
    let packages: BTreeSet<String> = packages.collect();
    let packages: Vec<String> = packages.into_iter().collect();
    format!("[{}]", packages.join(", "))
}
