//! `secret-contracts`: keyhog's text per detector with the credential in it, against [`source::scan_secrets`].
//!
//! A positive holds when some rule finds the credential at its place; a negative when no rule finds anything. Texts that
//! come with a companion value say only whether something is to be found. Cases are named `KIND/FILE/SECTION/N`:
//!
//! - `positive`, `negative`: one of our rules is named after the detector or its service, or the text is a placeholder
//! - `no-rule/positive`, `no-rule/negative`: none is, so that only general rules look, which know no format
//! - `companion-alone`: the second value of a pair, without the first, which the detector leaves alone
//!
//! Recall is printed apart where a rule is there and where none is.

use std::path::Path;

use serde_json::Value;

use super::{Data, guarded, unplaced};
use crate::expected::Tally;

pub fn run(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let mut recall = [Recall::default(), Recall::default()];
    for path in data.files()? {
        let document = data.json(&path)?;
        let Some(service) = document["service"].as_str() else {
            unplaced(tally, &path);
            continue;
        };
        let detector = document["detector_id"].as_str().unwrap_or_default();
        let covered = has_rule(detector, service);
        for (name, text) in texts(&document) {
            let found = guarded(|| look(text.text, text.path, text.credential).unwrap_or_else(|problem| problem));
            let expected = if text.positive { "found" } else { "nothing" };
            let kind = match (text.positive, covered) {
                (true, true) => "positive",
                (true, false) => "no-rule/positive",
                (false, _) if name.starts_with("negative_companion") => "companion-alone",
                (false, _) if covered || text.placeholder => "negative",
                (false, _) => "no-rule/negative",
            };
            if text.positive {
                recall[usize::from(!covered)].add(found == "found");
            }
            tally.case(&format!("{kind}/{path}/{name}"), expected, &found);
        }
    }
    let [covered, uncovered] = recall;
    println!(
        "recall where a rule is named after the service: {} of {}",
        covered.found, covered.all
    );
    println!(
        "recall elsewhere, by general rules: {} of {}",
        uncovered.found, uncovered.all
    );
    Ok(())
}

#[derive(Default)]
struct Recall {
    found: u64,
    all: u64,
}

impl Recall {
    fn add(&mut self, found: bool) {
        self.all += 1;
        self.found += u64::from(found);
    }
}

struct Text<'a> {
    text: &'a str,
    path: Option<&'a str>,
    /// Empty: anywhere.
    credential: &'a str,
    positive: bool,
    /// It stands for a value that is to be filled in.
    placeholder: bool,
}

/// Every text of a detector's file, named `SECTION/N`. A text states its credential, or which detectors find something.
fn texts(document: &Value) -> Vec<(String, Text<'_>)> {
    let mut texts = Vec::new();
    for (section, content) in document.as_object().into_iter().flatten() {
        let entries = content.as_array().map_or(std::slice::from_ref(content), Vec::as_slice);
        for (at, entry) in entries.iter().enumerate() {
            let Some(text) = entry["text"].as_str() else { continue };
            let credential = entry["credential"].as_str().unwrap_or_default();
            let findings = entry["expected_findings"]
                .as_array()
                .is_some_and(|findings| !findings.is_empty());
            let positive = !credential.is_empty() || findings;
            let placeholder = ["placeholder", "example"]
                .iter()
                .any(|word| text.to_lowercase().contains(word));
            let path = entry["path"].as_str();
            texts.push((
                format!("{section}/{at}"),
                Text {
                    text,
                    path,
                    credential,
                    positive,
                    placeholder,
                },
            ));
        }
    }
    texts
}

/// What keyhog calls a service, and what we do.
const NAMES: [(&str, &str); 6] = [
    ("1password", "onepassword"),
    ("hashicorp-vault", "vault"),
    ("sonarcloud", "sonar"),
    ("sonarqube", "sonar"),
    ("terraform-cloud", "terraform"),
    ("terraform-enterprise", "terraform"),
];

/// Whether a rule is named after this service (`secret/SERVICE-…`), or the detector after a rule (`…-private-key`).
fn has_rule(detector: &str, service: &str) -> bool {
    let plain = |text: &str| -> String {
        text.chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_lowercase())
            .collect()
    };
    let service = NAMES
        .iter()
        .find(|(theirs, _)| *theirs == service)
        .map_or(service, |(_, ours)| ours);
    let service = plain(service);
    source::rules().iter().any(|rule| {
        let name = rule.id.trim_start_matches("secret/");
        let mut ends = name.match_indices('-').map(|(at, _)| at).chain([name.len()]);
        let of_service = !service.is_empty() && ends.any(|end| plain(&name[..end]) == service);
        of_service || detector == name || detector.ends_with(&format!("-{name}"))
    })
}

/// Scans a tree that holds nothing but this text.
fn look(text: &str, path: Option<&str>, credential: &str) -> Result<String, String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = path.filter(|path| is_plain(path)).unwrap_or("settings.txt");
    let file = folder.path().join(path);
    std::fs::create_dir_all(file.parent().unwrap_or(folder.path())).map_err(|error| error.to_string())?;
    std::fs::write(&file, text).map_err(|error| error.to_string())?;
    let walk = source::WalkOptions {
        gitignore: false,
        ..Default::default()
    };
    let tree = source::walk(folder.path(), &walk).map_err(|error| error.to_string())?;
    let options = source::ScanOptions {
        history: false,
        threads: 1,
        ..Default::default()
    };
    let observation = source::scan_secrets(&tree, &options).map_err(|error| error.to_string())?;
    let places: Vec<(u32, u32)> = observation
        .findings
        .iter()
        .filter_map(|finding| finding.span.as_ref())
        .map(|at| (at.line, at.column))
        .collect();
    let rules: Vec<&str> = observation
        .findings
        .iter()
        .map(|finding| finding.rule.as_str())
        .collect();
    Ok(if places.is_empty() {
        "nothing".to_owned()
    } else if credential.is_empty() || places.iter().any(|place| stands_in(text, *place, credential)) {
        "found".to_owned()
    } else {
        format!("something elsewhere ({})", rules.join(", "))
    })
}

/// A case may not write outside of its own folder.
fn is_plain(path: &str) -> bool {
    Path::new(path)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)))
}

/// Whether the place is inside of the credential, wherever the text holds it.
fn stands_in(text: &str, (line, column): (u32, u32), credential: &str) -> bool {
    let before: usize = text
        .split_inclusive('\n')
        .take(line.saturating_sub(1) as usize)
        .map(str::len)
        .sum();
    let at = before + column.saturating_sub(1) as usize;
    text.match_indices(credential)
        .any(|(start, _)| (start..start + credential.len()).contains(&at))
}
