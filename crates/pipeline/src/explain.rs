//! `explain`: the page of any rule, fault, control or stage. A page is the doc comment of the file that does it.

/// Pages of this crate: stages, and what only the pipeline says.
static PAGES: &[(&str, &str)] = &[
    ("stage/build", include_str!("stages/build.rs")),
    ("stage/commit", include_str!("stages/commit.rs")),
    ("stage/integration", include_str!("stages/integration.rs")),
    ("stage/production", include_str!("stages/production.rs")),
    ("stage/staging", include_str!("stages/staging.rs")),
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
        .or_else(|| policy::page(id).map(doc))
        .or_else(|| canary::page(id).map(doc))
}

/// The page of `id`, of its family, or what comes nearest by name.
pub fn find(id: &str) -> Result<String, String> {
    if let Some(page) = page(id) {
        return Ok(page);
    }
    // Advisories have no page each: their family has.
    if let Some((family, _)) = id.split_once('/')
        && let Some(page) = page(family)
    {
        return Ok(page);
    }
    for family in ["control", "stage", "chaos", "secret", "dast"] {
        if let Some(page) = page(&format!("{family}/{id}")) {
            return Ok(page);
        }
    }
    let ids = ids();
    let near: Vec<&str> = ids
        .iter()
        .map(String::as_str)
        .filter(|known| known.contains(id))
        .take(8)
        .collect();
    let near = match (
        near.as_slice(),
        crate::config::nearest(id, ids.iter().map(String::as_str)),
    ) {
        ([], Some(name)) => format!("did you mean `{name}`?"),
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
    ids.extend(dast::ids().into_iter().map(str::to_owned));
    ids.extend(packages::ids().into_iter().chain(intel::ids()).map(str::to_owned));
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
