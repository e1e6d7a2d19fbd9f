//! Licences: what is declared, and whether the policy allows it.
//!
//! Judges SPDX expressions (<https://spdx.github.io/spdx-spec/v2.3/SPDX-license-expressions/>), not licence texts: what a
//! package declares is believed. Start reading at [`judge_licences`].

use std::collections::BTreeMap;

use evidence::{Component, Finding, FindingId, Gap, Observation, Scope, Severity, Span};
use spdx::{Expression, LicenseReq, Licensee, ParseMode};

use crate::Inventory;

/// Answers with the licence a package declares, from wherever the caller keeps packages; `None` when it can't tell.
pub type LicenceLookup<'a> = &'a dyn Fn(&Component) -> Option<String>;

/// Fills in licences the inventory doesn't have yet.
pub fn with_licences(mut inventory: Inventory, lookup: LicenceLookup<'_>) -> Inventory {
    for component in &mut inventory.components {
        if component.licence.is_none() {
            component.licence = lookup(component)
                .map(|text| text.trim().to_owned())
                .filter(|text| !text.is_empty());
        }
    }
    inventory
}

/// The licence a package's own manifest declares. `ecosystem` as OSV spells it: `crates.io` (`Cargo.toml`) or `npm` (`package.json`).
pub fn licence_of_manifest(ecosystem: &str, manifest_bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(manifest_bytes).ok()?;
    let licence = match ecosystem {
        "crates.io" => {
            let manifest: toml::Table = toml::from_str(text).ok()?;
            manifest.get("package")?.get("license")?.as_str()?.to_owned()
        }
        "npm" => {
            let manifest: serde_json::Value = serde_json::from_str(text).ok()?;
            npm_licence(manifest.get("license"), manifest.get("licenses"))?
        }
        _ => return None,
    };
    Some(licence.trim().to_owned()).filter(|licence| !licence.is_empty())
}

/// `license` is a text, or was `{type}`; `licenses` was a list of those, of which one may choose.
pub(crate) fn npm_licence(license: Option<&serde_json::Value>, licenses: Option<&serde_json::Value>) -> Option<String> {
    let one = |value: &serde_json::Value| {
        value
            .as_str()
            .or_else(|| value.get("type")?.as_str())
            .map(str::to_owned)
    };
    license.and_then(one).or_else(|| {
        let listed = licenses?;
        let all: Vec<String> = listed.as_array().map_or_else(
            || one(listed).into_iter().collect(),
            |list| list.iter().filter_map(one).collect(),
        );
        Some(all.join(" OR "))
    })
}

/// Holds each component that is not the project's own against the licences in `allow` (SPDX ids, `WITH` an exception where there is one).
///
/// An expression passes when one may choose licences of `allow` that satisfy it. No licence, or one that is no SPDX expression,
/// is the gap `licence/unknown`: it blocks unless the component is for development only. An empty `allow` judges nothing and says so.
pub fn judge_licences(components: &[Component], allow: &[String]) -> Observation {
    let mut observation = Observation::default();
    let judged: Vec<&Component> = components
        .iter()
        .filter(|component| component.scope != Scope::Root)
        .collect();
    let total = judged.len() as u64;
    if allow.is_empty() {
        observation.coverage.add("licences", 0, total);
        if !judged.is_empty() {
            observation.gaps.push(gap(
                "licence/no-policy",
                "licences.allow",
                "no licence is listed as allowed, so none was judged".to_owned(),
                true,
            ));
        }
        return observation;
    }
    let mut allowed = Vec::new();
    for text in allow {
        match Licensee::parse_mode(text, ParseMode::LAX) {
            Ok(licensee) => allowed.push(licensee),
            Err(error) => observation.gaps.push(gap(
                "licence/bad-policy",
                text,
                format!("it is no SPDX licence: {}", error.reason),
                true,
            )),
        }
    }
    let mut known = 0;
    let mut answers: BTreeMap<&str, Answer> = BTreeMap::new();
    for component in judged {
        let blocks = component.scope == Scope::Runtime;
        let Some(licence) = component.licence.as_deref() else {
            observation.gaps.push(gap(
                "licence/unknown",
                &component.purl,
                "no licence is known for it".to_owned(),
                blocks,
            ));
            continue;
        };
        match answers.entry(licence).or_insert_with(|| judge(licence, &allowed)) {
            Answer::Allowed => known += 1,
            Answer::Denied(failed) => {
                known += 1;
                observation.findings.push(denied(component, licence, failed));
            }
            Answer::NotSpdx => observation.gaps.push(gap(
                "licence/unknown",
                &component.purl,
                format!("`{licence:.80}` is no SPDX expression"),
                blocks,
            )),
        }
    }
    observation.coverage.add("licences", known, total);
    observation.sort();
    observation
}

/// The expression in SPDX's words, when it is one.
pub(crate) fn parse(licence: &str) -> Option<Expression> {
    /// Bounds the work on one expression, which others write.
    const EXPRESSION_BYTES_MAX: usize = 4096;
    if licence.len() > EXPRESSION_BYTES_MAX {
        return None;
    }
    Expression::parse_mode(licence, ParseMode::LAX).ok()
}

enum Answer {
    Allowed,
    /// The parts that nothing allows.
    Denied(String),
    NotSpdx,
}

fn judge(licence: &str, allowed: &[Licensee]) -> Answer {
    let Some(expression) = parse(licence) else {
        return Answer::NotSpdx;
    };
    match expression.evaluate_with_failures(|required| allowed.iter().any(|licensee| meets(licensee, required))) {
        Ok(()) => Answer::Allowed,
        Err(failures) => {
            let mut parts: Vec<String> = failures.iter().map(|failure| format!("`{}`", failure.req)).collect();
            parts.sort();
            parts.dedup();
            Answer::Denied(parts.join(", "))
        }
    }
}

/// Whether having the one licence meets what is required. The crate knows `+`, but not that GNU's `-or-later` can be met
/// by a later `-only`.
fn meets(licensee: &Licensee, required: &LicenseReq) -> bool {
    if licensee.satisfies(required) {
        return true;
    }
    let having = licensee.clone().into_req();
    let (Some(have), Some(want)) = (having.license.id(), required.license.id()) else {
        return false;
    };
    match (gnu(have.name), gnu(want.name)) {
        (Some((have_family, have_version, _)), Some((family, version, true))) => {
            have_family == family && have_version >= version && having.addition == required.addition
        }
        _ => false,
    }
}

/// Family, version and whether later ones do: of `GPL-2.0-or-later` these are `GPL`, (2, 0) and true.
fn gnu(name: &str) -> Option<(&str, (u8, u8), bool)> {
    let (rest, later) = name
        .strip_suffix("-or-later")
        .map(|rest| (rest, true))
        .or_else(|| Some((name.strip_suffix("-only")?, false)))?;
    let (family, version) = rest.rsplit_once('-')?;
    let (major, minor) = version.split_once('.')?;
    Some((family, (major.parse().ok()?, minor.parse().ok()?), later))
}

fn denied(component: &Component, licence: &str, failed: &str) -> Finding {
    let rule = "licence/denied";
    Finding {
        id: FindingId::new(rule, &component.path, &component.purl, 0),
        rule: rule.to_owned(),
        severity: if component.scope == Scope::Runtime {
            Severity::High
        } else {
            Severity::Medium
        },
        message: format!(
            "`{}` {} is under `{licence}`, and {failed} is not allowed",
            component.name, component.version
        ),
        span: Some(Span {
            path: component.path.clone(),
            line: component.line,
            column: 0,
            commit: None,
        }),
        route: None,
        component: Some(component.purl.clone()),
        fix: format!(
            "replace `{}` by a package under an allowed licence, or add {failed} to `allow` under `[licences]` after legal review",
            component.name
        ),
        suppressed: false,
        properties: BTreeMap::from([("licence".to_owned(), licence.to_owned())]),
    }
}

fn gap(id: &str, what: &str, reason: String, blocks: bool) -> Gap {
    Gap {
        id: id.to_owned(),
        what: what.to_owned(),
        reason,
        blocks,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(licence: Option<&str>, scope: Scope) -> Component {
        Component {
            purl: "pkg:cargo/a@1.0.0".to_owned(),
            ecosystem: "crates.io".to_owned(),
            name: "a".to_owned(),
            version: "1.0.0".to_owned(),
            licence: licence.map(str::to_owned),
            checksum: None,
            scope,
            path: "Cargo.lock".to_owned(),
            line: 3,
        }
    }

    #[test]
    fn expressions_are_met_or_not() {
        let allow = [
            "MIT",
            "Apache-2.0",
            "Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0-only",
        ]
        .map(str::to_owned);
        for (licence, denied) in [
            ("MIT", false),
            ("MIT/Apache-2.0", false),
            ("MIT OR GPL-2.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", false),
            ("GPL-2.0-or-later", false),
            ("GPL-2.0+", false),
            ("GPL-2.0-only", true),
            ("AGPL-3.0-or-later", true),
            ("MIT AND GPL-2.0-only", true),
            ("AGPL-3.0-only", true),
            ("Apache-2.0 WITH Classpath-exception-2.0", true),
        ] {
            let observation = judge_licences(&[component(Some(licence), Scope::Runtime)], &allow);
            assert_eq!(observation.findings.len(), usize::from(denied), "{licence}");
            assert!(observation.gaps.is_empty(), "{licence}: {:?}", observation.gaps);
        }
    }

    #[test]
    fn unknown_blocks_what_is_shipped() {
        let allow = ["MIT".to_owned()];
        for (licence, scope, expect) in [
            (None, Scope::Runtime, Some(true)),
            (Some("SEE LICENSE IN LICENSE"), Scope::Runtime, Some(true)),
            (Some("UNLICENSED"), Scope::Development, Some(false)),
            (None, Scope::Root, None),
        ] {
            let observation = judge_licences(&[component(licence, scope)], &allow);
            assert!(observation.findings.is_empty());
            assert_eq!(observation.gaps.first().map(|gap| gap.blocks), expect, "{licence:?}");
        }
    }

    #[test]
    fn a_policy_that_says_nothing_or_nonsense_is_a_gap() {
        let components = [component(Some("MIT"), Scope::Runtime)];
        assert_eq!(judge_licences(&components, &[]).gaps[0].id, "licence/no-policy");
        assert_eq!(
            judge_licences(&components, &["MIT".to_owned(), "Mine".to_owned()]).gaps[0].id,
            "licence/bad-policy"
        );
    }

    #[test]
    fn manifests_declare() {
        for (ecosystem, text, expect) in [
            ("crates.io", "[package]\nname = \"a\"\nlicense = \"MIT\"\n", Some("MIT")),
            ("crates.io", "[package]\nlicense-file = \"LICENSE\"\n", None),
            ("npm", r#"{"license":"ISC"}"#, Some("ISC")),
            ("npm", r#"{"license":{"type":"MIT","url":"x"}}"#, Some("MIT")),
            (
                "npm",
                r#"{"licenses":[{"type":"MIT"},{"type":"Apache-2.0"}]}"#,
                Some("MIT OR Apache-2.0"),
            ),
            ("npm", "{", None),
            ("Go", "module m", None),
        ] {
            assert_eq!(
                licence_of_manifest(ecosystem, text.as_bytes()).as_deref(),
                expect,
                "{text}"
            );
        }
    }
}
