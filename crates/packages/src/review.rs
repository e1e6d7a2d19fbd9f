//! The dependency policy over what changed between two inventories.
//!
//! Judges where packages come from and how they changed, not whether they are vulnerable. What did not change was judged
//! when it came. Start reading at [`review`].

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Component, Finding, FindingId, Gap, Observation, Scope, Severity, Span};

use crate::Inventory;
use crate::purl::Purl;

/// Judges every component of `new` that `old` does not hold in the same form; pass an empty `old` to judge all.
///
/// `deny`: package URLs that must not be used; without a version every version. `sources`: the registries packages may come
/// from (`crates.io`, `npm`, `Go`) and addresses that other sources must start with (`https://github.com/acme/`); empty: any.
/// The project's own packages are not judged.
pub fn review(old: &Inventory, new: &Inventory, deny: &[String], sources: &[String]) -> Observation {
    let mut observation = Observation::default();
    let mut denied = Vec::new();
    for text in deny {
        match Purl::parse(text) {
            Ok(purl) => denied.push((text, purl)),
            Err(error) => observation.gaps.push(Gap {
                id: "dependency/bad-policy".to_owned(),
                what: text.clone(),
                reason: error.to_string(),
                blocks: true,
            }),
        }
    }
    let before: BTreeSet<(&str, Option<&str>)> = old.components.iter().map(identity).collect();
    let changed: Vec<&Component> = new
        .components
        .iter()
        .filter(|component| component.scope != Scope::Root && !before.contains(&identity(component)))
        .collect();
    observation
        .coverage
        .add("changed", changed.len() as u64, changed.len() as u64);
    let old_by_purl = old.by_purl();
    for component in &changed {
        let Ok(purl) = Purl::parse(&component.purl) else {
            continue;
        };
        observation.findings.extend(denial(component, &purl, &denied));
        observation.findings.extend(foreign_source(component, &purl, sources));
        observation.findings.extend(
            old_by_purl
                .get(component.purl.as_str())
                .and_then(|olds| checksum_change(olds, component)),
        );
    }
    observation.findings.extend(lowered(old, new));
    observation.sort();
    observation
}

fn identity(component: &Component) -> (&str, Option<&str>) {
    (&component.purl, component.checksum.as_deref())
}

fn denial(component: &Component, purl: &Purl, denied: &[(&String, Purl)]) -> Option<Finding> {
    let (text, _) = denied.iter().find(|(_, deny)| {
        same_package(deny, purl)
            && deny
                .version()
                .is_none_or(|version| Some(version) == purl.version() || version == component.version)
    })?;
    let message = format!("`{}` {} is denied by `{text}`", component.name, component.version);
    let fix = format!("remove `{}`, or use another package for it", component.name);
    Some(finding("dependency/denied", Severity::High, component, message, fix))
}

/// Go's module paths meet on file systems and hosts that don't tell case apart, so a denial does not either.
fn same_package(deny: &Purl, purl: &Purl) -> bool {
    let lower = |part: Option<&str>| part.unwrap_or_default().to_lowercase();
    deny.same_package(purl)
        || (deny.kind() == "golang"
            && purl.kind() == "golang"
            && lower(deny.namespace()) == lower(purl.namespace())
            && deny.name().to_lowercase() == purl.name().to_lowercase())
}

fn foreign_source(component: &Component, purl: &Purl, sources: &[String]) -> Option<Finding> {
    if sources.is_empty() {
        return None;
    }
    let address = ["vcs_url", "repository_url", "download_url"]
        .iter()
        .find_map(|key| purl.qualifiers().get(*key));
    let allowed = match address {
        None => sources
            .iter()
            .any(|source| source.eq_ignore_ascii_case(&component.ecosystem)),
        Some(address) => sources.iter().any(|source| starts_below(address, source)),
    };
    if allowed {
        return None;
    }
    let from = address.map_or(component.ecosystem.as_str(), String::as_str);
    let message = format!(
        "`{}` {} comes from `{from}`, which is not an allowed source",
        component.name, component.version
    );
    let fix = format!(
        "take `{}` from an allowed registry, or add the source to `sources` under `[dependencies]`",
        component.name
    );
    Some(finding(
        "dependency/source-not-allowed",
        Severity::High,
        component,
        message,
        fix,
    ))
}

/// Whether `address` is `source` or lies below it: `https://host/acme` holds `https://host/acme/x`, not `https://host/acme-evil`.
fn starts_below(address: &str, source: &str) -> bool {
    let plain = |text: &'_ str| text.strip_prefix("git+").unwrap_or(text).to_owned();
    let (address, source) = (plain(address), plain(source));
    if !source.contains("://") || address.contains("/../") || address.contains("/./") || address.contains('\\') {
        return false;
    }
    match address.strip_prefix(source.trim_end_matches('/')) {
        Some(rest) => {
            rest.is_empty() || rest.starts_with(['/', '@', '?', '#']) || rest == ".git" || rest.starts_with(".git@")
        }
        None => false,
    }
}

/// The same name and version with other bytes behind them.
fn checksum_change(olds: &[&Component], component: &Component) -> Option<Finding> {
    let algorithm = |checksum: &str| checksum.split(':').next().unwrap_or_default().to_owned();
    let olds: Vec<&str> = olds.iter().filter_map(|old| old.checksum.as_deref()).collect();
    let fix = format!(
        "find out why the bytes of `{}` {} changed before using them: a published version does not change",
        component.name, component.version
    );
    match component.checksum.as_deref() {
        Some(new) if !olds.contains(&new) && olds.iter().any(|old| algorithm(old) == algorithm(new)) => {
            let message = format!(
                "`{}` {} has another checksum than before",
                component.name, component.version
            );
            Some(finding(
                "dependency/checksum-changed",
                Severity::Critical,
                component,
                message,
                fix,
            ))
        }
        None if !olds.is_empty() => {
            let message = format!(
                "`{}` {} had a checksum before, and has none now",
                component.name, component.version
            );
            Some(finding(
                "dependency/checksum-changed",
                Severity::High,
                component,
                message,
                fix,
            ))
        }
        _ => None,
    }
}

/// Packages whose highest version in a lock file went down.
fn lowered(old: &Inventory, new: &Inventory) -> Vec<Finding> {
    let (old, new) = (by_package(old), by_package(new));
    let mut findings = Vec::new();
    for (key, news) in &new {
        let Some(olds) = old.get(key) else { continue };
        let (Some((highest_old, _)), Some((highest_new, component))) = (olds.last_key_value(), news.last_key_value())
        else {
            continue;
        };
        // Without the last check, dropping the higher of two versions in use would count.
        if highest_new < highest_old && !olds.contains_key(highest_new) {
            let message = format!("`{}` went from {highest_old} down to {highest_new}", component.name);
            let fix = format!(
                "go back to {highest_old}, or say in the change why `{}` has to be older",
                component.name
            );
            findings.push(finding(
                "dependency/version-lowered",
                Severity::Medium,
                component,
                message,
                fix,
            ));
        }
    }
    findings
}

type Versions<'a> = BTreeMap<semver::Version, &'a Component>;

/// Versions that can be ordered, by lock file, ecosystem and name.
fn by_package(inventory: &Inventory) -> BTreeMap<(&str, &str, &str), Versions<'_>> {
    let mut packages: BTreeMap<_, Versions<'_>> = BTreeMap::new();
    for component in inventory
        .components
        .iter()
        .filter(|component| component.scope != Scope::Root)
    {
        if let Ok(version) = semver::Version::parse(&component.version) {
            packages
                .entry((
                    component.path.as_str(),
                    component.ecosystem.as_str(),
                    component.name.as_str(),
                ))
                .or_default()
                .insert(version, component);
        }
    }
    packages
}

fn finding(rule: &str, severity: Severity, component: &Component, message: String, fix: String) -> Finding {
    Finding {
        id: FindingId::new(rule, &component.path, &component.purl, 0),
        rule: rule.to_owned(),
        severity,
        message,
        span: Some(Span {
            path: component.path.clone(),
            line: component.line,
            column: 0,
            commit: None,
        }),
        route: None,
        component: Some(component.purl.clone()),
        fix,
        suppressed: false,
        properties: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inventory(rows: &[(&str, &str)]) -> Inventory {
        let component = |(purl, checksum): &(&str, &str)| {
            let parsed = Purl::parse(purl).expect("a package URL");
            Component {
                purl: (*purl).to_owned(),
                ecosystem: if parsed.kind() == "npm" { "npm" } else { "crates.io" }.to_owned(),
                name: parsed.name().to_owned(),
                version: parsed.version().unwrap_or_default().to_owned(),
                licence: None,
                checksum: (!checksum.is_empty()).then(|| (*checksum).to_owned()),
                scope: Scope::Runtime,
                path: "lock".to_owned(),
                line: 1,
            }
        };
        Inventory {
            components: rows.iter().map(component).collect(),
            ..Inventory::default()
        }
    }

    #[test]
    fn what_changed_is_judged() {
        let a = ("pkg:cargo/a@1.2.0", "sha256:aa");
        let git = "pkg:cargo/a@1.2.0?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Facme-evil%2Fa.git%40012";
        type Rows<'a> = &'a [(&'a str, &'a str)];
        let rows: [(Rows, Rows, &[&str]); 11] = [
            (&[], &[a], &[]),
            (&[a], &[a], &[]),
            (
                &[a],
                &[("pkg:cargo/a@1.2.0", "sha256:bb")],
                &["dependency/checksum-changed"],
            ),
            (&[a], &[("pkg:cargo/a@1.2.0", "")], &["dependency/checksum-changed"]),
            (&[a], &[("pkg:cargo/a@1.10.0", "sha256:cc")], &[]),
            (
                &[a],
                &[("pkg:cargo/a@1.1.9", "sha256:cc")],
                &["dependency/version-lowered"],
            ),
            (&[a, ("pkg:cargo/a@2.0.0", "")], &[a], &[]),
            (&[], &[("pkg:cargo/openssl@0.10.0", "")], &["dependency/denied"]),
            (
                &[("pkg:cargo/openssl@0.10.0", "")],
                &[("pkg:cargo/openssl@0.10.0", "")],
                &[],
            ),
            (
                &[],
                &[("pkg:npm/event-stream@3.3.6", ""), ("pkg:npm/event-stream@4.0.0", "")],
                &["dependency/denied"],
            ),
            (
                &[],
                &[
                    (git, ""),
                    (
                        "pkg:cargo/b@1.0.0?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Facme%2Fb.git%40012",
                        "",
                    ),
                ],
                &["dependency/source-not-allowed"],
            ),
        ];
        let deny = ["pkg:cargo/openssl", "pkg:npm/event-stream@3.3.6"].map(str::to_owned);
        let sources = ["crates.io", "npm", "https://github.com/acme"].map(str::to_owned);
        for (old, new, expect) in rows {
            let observation = review(&inventory(old), &inventory(new), &deny, &sources);
            assert_eq!(
                observation.findings.iter().map(|f| f.rule.as_str()).collect::<Vec<_>>(),
                expect,
                "{old:?} {new:?}"
            );
            assert!(observation.gaps.is_empty());
        }
    }

    #[test]
    fn addresses_end_at_a_border() {
        for (address, source, expect) in [
            ("git+https://github.com/acme/a.git@01", "https://github.com/acme/", true),
            (
                "git+https://github.com/acme/a.git@01",
                "https://github.com/acme/a",
                true,
            ),
            (
                "git+https://github.com/acme/ab.git@01",
                "https://github.com/acme/a",
                false,
            ),
            ("https://github.com/acme/../evil/a", "https://github.com/acme", false),
            ("https://github.com.evil/acme", "https://github.com", false),
            ("https://github.com/acme", "", false),
        ] {
            assert_eq!(starts_below(address, source), expect, "{address} {source}");
        }
    }

    #[test]
    fn a_denial_nobody_can_read_is_a_gap() {
        let observation = review(
            &Inventory::default(),
            &Inventory::default(),
            &["event-stream".to_owned()],
            &[],
        );
        assert_eq!(observation.gaps[0].id, "dependency/bad-policy");
        assert_eq!(observation.coverage.looked("changed"), 0);
    }
}
