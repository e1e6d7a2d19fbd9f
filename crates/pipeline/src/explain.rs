//! `explain`: the page of any rule, fault, control or stage. A page is the doc comment of the file that does it.

/// Pages of this crate: stages, and what only the pipeline says.
static PAGES: &[(&str, &str)] = &[
    ("stage/build", include_str!("stages/build.rs")),
    ("stage/commit", include_str!("stages/commit.rs")),
    ("stage/integration", include_str!("stages/integration.rs")),
    ("stage/production", include_str!("stages/production.rs")),
    ("stage/staging", include_str!("stages/staging.rs")),
    // Families of ids that have one page together: what may be wrong with a file, what may not have been looked at.
    ("attestation", include_str!("pages/attestation.md")),
    ("chaos", include_str!("pages/experiment-file.md")),
    ("chaos/drill", include_str!("pages/chaos-drill.md")),
    ("chaos/next", include_str!("pages/chaos-next.md")),
    ("chaos/report", include_str!("pages/chaos-report.md")),
    ("config", include_str!("pages/configuration.md")),
    ("plant", include_str!("pages/plant.md")),
    ("source", include_str!("pages/not-read.md")),
    ("study", include_str!("pages/study-file.md")),
    ("telemetry", include_str!("pages/log-not-read.md")),
    ("intel/no-database", include_str!("pages/no-database.md")),
    ("intel/unreadable-record", include_str!("pages/unreadable-record.md")),
    ("secret/known-value", include_str!("pages/known-value.md")),
    ("pipeline/not-configured", include_str!("pages/not-configured.md")),
    ("runtime/other-executable", include_str!("pages/other-executable.md")),
    ("trust-root", include_str!("pages/trust-root.md")),
];

/// The page of `id` as Markdown; `None` where there is none.
pub fn page(id: &str) -> Option<String> {
    let own = PAGES.iter().find(|(page, _)| *page == id).map(|(_, text)| doc(text));
    own.or_else(|| source::page(id).map(doc))
        .or_else(|| packages::page(id).map(doc))
        .or_else(|| intel::page(id).map(doc))
        .or_else(|| dast::page(id).map(doc))
        .or_else(|| chaos::page(id))
        .or_else(|| (id == "chaos/prevalence").then(chaos::choice::prevalence_page))
        .or_else(|| policy::page(id).map(doc))
        .or_else(|| canary::page(id).map(doc))
        .or_else(|| telemetry::page(id).map(doc))
        .or_else(|| crate::gate_experiment::page(id).map(doc))
        .or_else(|| crate::config::schema::manual(id.strip_prefix("config/")?))
}

/// The page of `id`, of its family, or what comes nearest by name.
pub fn find(id: &str) -> Result<String, String> {
    if let Some(page) = page(id) {
        return Ok(page);
    }
    let ids = ids();
    let meant = crate::config::nearest(id, ids.iter().map(String::as_str));
    // Advisories, problems of a file and gaps have no page each: their family has, unless a page begins like that.
    if let Some((family, _)) = id.split_once('/')
        && meant.is_none()
        && !ids.iter().any(|known| known.starts_with(id))
        && let Some(page) = page(family)
    {
        return Ok(page);
    }
    for family in [
        "control",
        "stage",
        "chaos",
        "secret",
        "dast",
        "canary",
        "licence",
        "dependency",
        "ecosystem",
        "plant",
        "observer",
    ] {
        if let Some(page) = page(&format!("{family}/{id}")) {
            return Ok(page);
        }
    }
    let near: Vec<&str> = ids
        .iter()
        .map(String::as_str)
        .filter(|known| known.contains(id))
        .take(8)
        .collect();
    let near = match (near.as_slice(), meant) {
        (_, Some(name)) => format!("did you mean `{name}`?"),
        ([], None) => "`proofmark explain` alone lists every id".to_owned(),
        (names, _) => format!("known: {}", names.join(", ")),
    };
    Err(near)
}

/// Every id that has a page, sorted.
pub fn ids() -> Vec<String> {
    let mut ids: Vec<String> = PAGES.iter().map(|(id, _)| (*id).to_owned()).collect();
    ids.extend(source::rules().iter().map(|rule| rule.id.to_owned()));
    ids.extend(
        policy::controls()
            .iter()
            .map(|control| format!("control/{}", control.id)),
    );
    ids.extend(chaos::faults().iter().map(|fault| format!("chaos/{}", fault.id)));
    ids.push("chaos/prevalence".to_owned());
    ids.extend(
        canary::measures()
            .iter()
            .map(|measure| format!("canary/{}", measure.name)),
    );
    ids.extend(
        crate::gate_experiment::plants()
            .iter()
            .map(|plant| format!("plant/{}", plant.id)),
    );
    ids.extend(telemetry::page_ids().map(str::to_owned));
    ids.extend(dast::ids().into_iter().map(str::to_owned));
    ids.extend(packages::ids().into_iter().chain(intel::ids()).map(str::to_owned));
    ids.extend(
        crate::config::schema::tables()
            .iter()
            .map(|name| format!("config/{name}")),
    );
    ids.sort();
    ids.dedup();
    ids
}

/// The `//!` lines of a source file without their marker; a text that has none is a page already.
fn doc(text: &str) -> String {
    if !text.starts_with("//!") {
        return text.to_owned();
    }
    let lines = text.lines().map_while(|line| line.strip_prefix("//!"));
    lines
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_id_has_a_page() {
        for id in ids() {
            assert!(page(&id).is_some(), "{id}");
        }
    }

    #[test]
    fn what_messages_print_in_brackets_can_be_explained() {
        let printed = [
            "attestation/signature",
            "config/unknown-key",
            "config/looser-than-floor",
            "chaos/unknown-fault",
            "chaos/wrong-type",
            "source/unreadable",
            "source/archive",
            "telemetry/line-too-long",
            "intel/no-database",
            "secret/known-value",
            "canary/errors",
            "vuln/RUSTSEC-2024-0388",
        ];
        for id in printed {
            assert!(find(id).is_ok(), "{id}");
        }
    }

    #[test]
    fn a_slip_gets_the_name_that_was_meant() {
        assert_eq!(
            find("chaos/link-slowd"),
            Err("did you mean `chaos/link-slowed`?".to_owned())
        );
        assert!(find("secret/nope").is_err());
    }
}
