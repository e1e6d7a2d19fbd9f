//! The join: which components the database speaks about, and what it can't tell.
//!
//! Start reading at [`matches`].

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Component, Finding, FindingId, Gap, Observation, Scope, Severity, Span};
use serde_json::Value;

use crate::cvss;
use crate::database::Database;
use crate::range::{Answer, judge};
use crate::record::{Affected, Record};
use crate::version;

/// Holds every component that is not the project's own against the database.
///
/// Findings have the rule `vuln/<OSV id>`; what could not be told is a gap that blocks: an incomplete database, an ecosystem
/// without any record, a version that can't be ordered although records exist for its package. Withdrawn records don't count.
pub fn matches(db: &Database, components: &[Component]) -> Observation {
    let mut observation = Observation::default();
    let judged: Vec<&Component> = components
        .iter()
        .filter(|component| component.scope != Scope::Root)
        .collect();
    observation.gaps.extend(incomplete(db));
    let mut looked = 0;
    let mut unknown: BTreeSet<&str> = BTreeSet::new();
    for component in &judged {
        if !db.ecosystems().contains(&component.ecosystem) {
            unknown.insert(&component.ecosystem);
            continue;
        }
        looked += u64::from(hold(db, component, &mut observation));
    }
    for ecosystem in unknown {
        let count = judged
            .iter()
            .filter(|component| component.ecosystem == ecosystem)
            .count();
        observation.gaps.push(gap(
            "intel/no-data",
            ecosystem,
            format!("the database holds no record for it, so {count} components were held against nothing"),
        ));
    }
    observation.coverage.add("components", looked, judged.len() as u64);
    observation.sort();
    observation
}

fn incomplete(db: &Database) -> Option<Gap> {
    let first = db.malformed().first()?;
    let reason = format!(
        "{} of its files could not be read, the first is `{first}`",
        db.malformed().len()
    );
    Some(gap("intel/incomplete-database", "advisories", reason))
}

/// Everything the records say about one component; whether all of them could be judged.
fn hold(db: &Database, component: &Component, observation: &mut Observation) -> bool {
    // One record may speak about a package in several entries: the finding is one, with the lowest fix.
    let mut hits: BTreeMap<&str, (&Record, &Affected, Option<String>)> = BTreeMap::new();
    let mut untold: BTreeMap<&str, String> = BTreeMap::new();
    for (record, affected) in db.about(&component.ecosystem, &component.name) {
        match judge(affected, &component.ecosystem, &component.version) {
            Answer::NotAffected => {}
            Answer::Unknown(reason) => {
                untold.insert(&record.id, reason);
            }
            Answer::Affected { fixed } => {
                let hit = hits.entry(&record.id).or_insert((record, affected, None));
                let lower = match (&hit.2, &fixed) {
                    (Some(kept), Some(fixed)) => {
                        version::compare(&component.ecosystem, fixed, kept).is_some_and(std::cmp::Ordering::is_lt)
                    }
                    (None, _) => true,
                    (Some(_), None) => false,
                };
                if lower {
                    *hit = (record, affected, fixed);
                }
            }
        }
    }
    for (record, affected, fixed) in hits.values() {
        observation
            .findings
            .push(finding(component, record, affected, fixed.as_deref()));
    }
    untold.retain(|id, _| !hits.contains_key(id));
    if let Some((id, reason)) = untold.first_key_value() {
        let gap_id = if version::is_ordered(&component.ecosystem, &component.version) {
            "intel/unclear-record"
        } else {
            "intel/unordered-version"
        };
        let more = if untold.len() > 1 {
            format!(" and {} more", untold.len() - 1)
        } else {
            String::new()
        };
        observation.gaps.push(gap(
            gap_id,
            &component.purl,
            format!("{id}{more} may be about it: {reason}"),
        ));
    }
    untold.is_empty()
}

fn finding(component: &Component, record: &Record, affected: &Affected, fixed: Option<&str>) -> Finding {
    let rule = format!("vuln/{}", record.id);
    let name = &component.name;
    let fixed = fixed.map(|version| spelled(&component.ecosystem, version));
    let version = spelled(&component.ecosystem, &component.version);
    let (severity, source) = severity_of(record, affected);
    let summary = one_line(&record.summary);
    let mut properties = BTreeMap::from([
        ("ecosystem".to_owned(), component.ecosystem.clone()),
        ("version".to_owned(), component.version.clone()),
        ("severitySource".to_owned(), source),
    ]);
    properties.extend((!record.aliases.is_empty()).then(|| ("aliases".to_owned(), record.aliases.join(", "))));
    properties.extend(fixed.clone().map(|fixed| ("fixed".to_owned(), fixed)));
    properties.extend((!summary.is_empty()).then(|| ("summary".to_owned(), summary.clone())));
    let said = if summary.is_empty() {
        String::new()
    } else {
        format!(": `{summary}`")
    };
    Finding {
        id: FindingId::new(&rule, &component.path, &component.purl, 0),
        severity,
        message: format!("`{name}` {version} is affected by {}{said}", record.id),
        span: Some(Span {
            path: component.path.clone(),
            line: component.line,
            column: 0,
            commit: None,
        }),
        route: None,
        component: Some(component.purl.clone()),
        fix: match &fixed {
            Some(fixed) => update(&component.ecosystem, name, fixed),
            None => format!(
                "no fixed version of `{name}` is known: replace it, or stop using the affected part and have that accepted"
            ),
        },
        suppressed: false,
        properties,
        rule,
    }
}

/// Go writes versions with `v`, OSV without.
fn spelled(ecosystem: &str, version: &str) -> String {
    if ecosystem == "Go" && version.starts_with(|c: char| c.is_ascii_digit()) {
        format!("v{version}")
    } else {
        version.to_owned()
    }
}

fn update(ecosystem: &str, name: &str, fixed: &str) -> String {
    let command = match ecosystem {
        "crates.io" => format!("cargo update -p {name}"),
        "npm" => format!("npm update {name}"),
        "Go" => format!("go get {name}@{fixed}"),
        _ => return format!("update `{name}` to {fixed} or later"),
    };
    format!("update `{name}` to {fixed} or later (`{command}`)")
}

/// The worst severity anyone states, and who states it. What nobody rates counts as high: not being rated is no reason to pass.
fn severity_of(record: &Record, affected: &Affected) -> (Severity, String) {
    let vectors = record
        .severity
        .iter()
        .chain(&affected.severity)
        .map(|rating| rating.score.as_str());
    let specific = |key: &'static str| {
        [&affected.database_specific, &record.database_specific]
            .into_iter()
            .filter_map(move |table| table.get(key)?.as_str())
    };
    let vectors = vectors.chain(specific("cvss"));
    let by_vector = vectors.filter_map(|vector| Some((cvss::severity_of_vector(vector)?, vector.to_owned())));
    let by_word = specific("severity").filter_map(|word| {
        Some((
            severity_of_word(word)?,
            format!("the database says `{}`", one_line(word)),
        ))
    });
    let worst = by_vector
        .chain(by_word)
        .max_by(|a, b| a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1)));
    let malicious = record
        .id
        .starts_with("MAL-")
        .then(|| (Severity::Critical, "malicious package".to_owned()));
    let informational = affected
        .database_specific
        .get("informational")
        .and_then(Value::as_str)
        .map(|kind| {
            // RustSec: `unmaintained`, `unsound`, `notice`.
            (
                if kind == "unsound" {
                    Severity::Medium
                } else {
                    Severity::Low
                },
                format!("informational: {}", one_line(kind)),
            )
        });
    malicious
        .or(worst)
        .or(informational)
        .unwrap_or((Severity::High, "nobody rated it".to_owned()))
}

/// GitHub's words, and everyone else's.
fn severity_of_word(word: &str) -> Option<Severity> {
    match word.to_ascii_uppercase().as_str() {
        "CRITICAL" => Some(Severity::Critical),
        "HIGH" | "IMPORTANT" => Some(Severity::High),
        "MODERATE" | "MEDIUM" => Some(Severity::Medium),
        "LOW" => Some(Severity::Low),
        _ => None,
    }
}

/// What others wrote, fit for one line of a terminal.
fn one_line(text: &str) -> String {
    const SUMMARY_CHARS_MAX: usize = 160;
    let words: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect();
    words
        .join(" ")
        .replace('`', "'")
        .chars()
        .take(SUMMARY_CHARS_MAX)
        .collect()
}

fn gap(id: &str, what: &str, reason: String) -> Gap {
    Gap {
        id: id.to_owned(),
        what: what.to_owned(),
        reason,
        blocks: true,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::load;

    fn component(ecosystem: &str, name: &str, version: &str, scope: Scope) -> Component {
        let kind = if ecosystem == "Go" { "golang" } else { "cargo" };
        Component {
            purl: format!("pkg:{kind}/{name}@{version}"),
            ecosystem: ecosystem.to_owned(),
            name: name.to_owned(),
            version: version.to_owned(),
            licence: None,
            checksum: None,
            scope,
            path: "Cargo.lock".to_owned(),
            line: 7,
        }
    }

    fn database(records: &[&str]) -> Database {
        let files: Vec<(String, Vec<u8>)> = records
            .iter()
            .enumerate()
            .map(|(at, text)| (format!("{at}.json"), text.as_bytes().to_vec()))
            .collect();
        load(&files).expect("a record").0
    }

    const TIME: &str = r#"{"id":"RUSTSEC-2020-0071","modified":"2024-01-01T00:00:00Z","aliases":["CVE-2020-26235"],
        "summary":"Potential segfault\n in the `time` crate","affected":[{"package":{"ecosystem":"crates.io","name":"time"},
        "database_specific":{"cvss":"CVSS:3.1/AV:L/AC:L/PR:L/UI:N/S:U/C:N/I:N/A:H"},
        "ranges":[{"type":"SEMVER","events":[{"introduced":"0.1.0"},{"fixed":"0.2.0"},{"introduced":"0.2.1"},{"fixed":"0.2.23"}]}]}]}"#;

    #[test]
    fn a_match_says_what_where_why_and_the_fix() {
        let observation = matches(
            &database(&[TIME]),
            &[component("crates.io", "time", "0.2.7", Scope::Runtime)],
        );
        let finding = &observation.findings[0];
        assert_eq!(finding.rule, "vuln/RUSTSEC-2020-0071");
        assert_eq!(finding.severity, Severity::Medium);
        assert_eq!(
            finding.message,
            "`time` 0.2.7 is affected by RUSTSEC-2020-0071: `Potential segfault in the 'time' crate`"
        );
        assert_eq!(finding.fix, "update `time` to 0.2.23 or later (`cargo update -p time`)");
        assert_eq!(
            finding.span.as_ref().map(ToString::to_string).as_deref(),
            Some("Cargo.lock:7")
        );
        assert_eq!(finding.properties["aliases"], "CVE-2020-26235");
        assert_eq!(finding.properties["fixed"], "0.2.23");
        assert_eq!(
            observation.coverage.0["components"],
            evidence::Counted { looked: 1, total: 1 }
        );
        assert!(observation.gaps.is_empty());
    }

    #[test]
    fn who_is_and_who_is_not_affected() {
        let withdrawn = TIME.replace("\"modified\"", "\"withdrawn\":\"2024-01-01T00:00:00Z\",\"modified\"");
        for (record, component, findings, gaps) in [
            (
                TIME,
                component("crates.io", "time", "0.2.23", Scope::Runtime),
                0,
                vec![],
            ),
            (
                TIME,
                component("crates.io", "time", "0.2.7", Scope::Development),
                1,
                vec![],
            ),
            (TIME, component("crates.io", "time", "0.2.7", Scope::Root), 0, vec![]),
            (
                TIME,
                component("crates.io", "timer", "0.2.7", Scope::Runtime),
                0,
                vec![],
            ),
            (
                TIME,
                component("crates.io", "time", "", Scope::Runtime),
                0,
                vec!["intel/unordered-version"],
            ),
            (TIME, component("crates.io", "other", "", Scope::Runtime), 0, vec![]),
            (
                TIME,
                component("npm", "time", "0.2.7", Scope::Runtime),
                0,
                vec!["intel/no-data"],
            ),
            (
                &withdrawn,
                component("crates.io", "time", "0.2.7", Scope::Runtime),
                0,
                vec![],
            ),
        ] {
            let observation = matches(&database(&[record]), std::slice::from_ref(&component));
            assert_eq!(observation.findings.len(), findings, "{component:?}");
            let ids: Vec<&str> = observation.gaps.iter().map(|gap| gap.id.as_str()).collect();
            assert_eq!(ids, gaps, "{component:?}");
            assert!(observation.gaps.iter().all(|gap| gap.blocks));
        }
    }

    #[test]
    fn an_incomplete_database_is_never_clean() {
        let observation = matches(
            &database(&[TIME, "{"]),
            &[component("crates.io", "time", "0.3.0", Scope::Runtime)],
        );
        assert_eq!(
            observation
                .gaps
                .iter()
                .map(|gap| (gap.id.as_str(), gap.blocks))
                .collect::<Vec<_>>(),
            [("intel/incomplete-database", true)]
        );
    }

    #[test]
    fn severities() {
        let entry = |record: &str, affected: &str| {
            format!(
                r#"{{"id":"X-1"{record},"affected":[{{"package":{{"ecosystem":"crates.io","name":"a"}}{affected},"ranges":[{{"type":"SEMVER","events":[{{"introduced":"0"}}]}}]}}]}}"#
            )
        };
        for (record, affected, expect) in [
            ("", "", Severity::High),
            (r#","database_specific":{"severity":"MODERATE"}"#, "", Severity::Medium),
            (
                r#","severity":[{"type":"CVSS_V3","score":"CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],"database_specific":{"severity":"LOW"}"#,
                "",
                Severity::Critical,
            ),
            (
                r#","severity":[{"type":"CVSS_V4","score":"CVSS:4.0/AV:P/AC:H/AT:P/PR:H/UI:A/VC:L/VI:N/VA:N/SC:N/SI:N/SA:N"}]"#,
                "",
                Severity::Low,
            ),
            (
                "",
                r#","database_specific":{"informational":"unmaintained"}"#,
                Severity::Low,
            ),
            (
                "",
                r#","database_specific":{"informational":"unsound"}"#,
                Severity::Medium,
            ),
            (
                r#","severity":[{"type":"CVSS_V2","score":"AV:N/AC:L/Au:N/C:P/I:P/A:P"}]"#,
                "",
                Severity::High,
            ),
        ] {
            let text = entry(record, affected);
            let observation = matches(
                &database(&[&text]),
                &[component("crates.io", "a", "1.0.0", Scope::Runtime)],
            );
            assert_eq!(observation.findings[0].severity, expect, "{text}");
            assert!(observation.findings[0].fix.contains("no fixed version"));
        }
    }

    #[test]
    fn go_is_answered_in_go_s_words() {
        let record = r#"{"id":"GO-2024-0001","affected":[{"package":{"ecosystem":"Go","name":"golang.org/x/net"},"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"0.17.0"}]}]}]}"#;
        let db = database(&[record]);
        for version in ["0.5.6", "v0.5.6", "0.0.0-20210630005230-0f9fa26af87c"] {
            let observation = matches(&db, &[component("Go", "golang.org/x/net", version, Scope::Runtime)]);
            assert_eq!(
                observation.findings[0].fix,
                "update `golang.org/x/net` to v0.17.0 or later (`go get golang.org/x/net@v0.17.0`)"
            );
        }
    }

    proptest! {
        #[test]
        fn mutated_records_are_read_or_named(edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..8), version in "[0-9v.a-z+-]{0,12}") {
            let mut bytes = TIME.as_bytes().to_vec();
            for (at, byte, kind) in edits {
                let at = at.index(bytes.len().max(1));
                match kind {
                    0 if !bytes.is_empty() => bytes[at] = byte,
                    1 => bytes.truncate(at.max(40)),
                    _ => bytes.insert(at.min(bytes.len()), byte),
                }
            }
            let files = [("a.json".to_owned(), bytes), ("b.json".to_owned(), br#"{"id":"OTHER-1"}"#.to_vec())];
            let (db, diagnostics) = load(&files).expect("the other record");
            prop_assert_eq!(db.complete(), diagnostics.is_empty());
            let observation = matches(&db, &[component("crates.io", "time", &version, Scope::Runtime)]);
            prop_assert!(db.complete() || observation.gaps.iter().any(|gap| gap.id == "intel/incomplete-database"));
        }
    }
}
