//! # control/sbom-complete
//! There is a bill of materials, it lists components, and nothing was left out of it.
//!
//! ## What it does
//! The build stage must have stated a CycloneDX document with at least one component. Where the document's metadata
//! has a property `proofmark:gaps` above zero (manifests that could not be read, by count), the answer stays open.
//!
//! ## Why it matters
//! What isn't in the list is matched against no advisory and no licence. A list with a hole in it looks like a clean
//! one.
//!
//! ## Example
//! `web/yarn.lock` is of a version that isn't read: 39 components are listed, one manifest is missing.
//!
//! ## What to do instead
//! Commit a lock file of a kind that is read (`Cargo.lock`, `package-lock.json`, `go.mod`), or take the manifest out
//! of what is released. The gap itself is named beside the vulnerabilities.
//!
//! ## References
//! - CycloneDX 1.6, <https://cyclonedx.org/docs/1.6/json/>
//! - NTIA minimum elements for an SBOM, <https://www.ntia.gov/report/2021/minimum-elements-software-bill-materials-sbom>

use evidence::predicates::SBOM;
use evidence::{Outcome, Stage};
use serde_json::Value;

use crate::catalogue::{Asked, Entry, Judged};
use crate::history::Seen;
use crate::words::count;

pub(super) const ENTRY: Entry = Entry {
    id: "sbom-complete",
    stages: &[Stage::Build],
    in_floor: true,
    parameters: &[],
    judge: |asked| asked.each(SBOM, "bill of materials", one),
    judge_one: Some(one),
    watch: None,
};

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    if seen.statement.predicate_type != SBOM {
        return None;
    }
    let document = &seen.statement.predicate;
    if document.get("bomFormat").and_then(Value::as_str) != Some("CycloneDX") {
        return Some(asked.malformed(seen));
    }
    let components = document.get("components").and_then(Value::as_array).map_or(0, Vec::len) as u64;
    let mut judged = Judged::pass();
    judged.note(count(components, "component", "components"));
    if components == 0 {
        judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            "the bill of materials lists no component",
            "at least one component",
            "commit the lock files of what is released",
        ));
    }
    match gaps(document) {
        Some(0) => {}
        Some(gaps) => judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!(
                "{} missing from the bill of materials",
                count(gaps, "manifest is", "manifests are")
            ),
            "every manifest read",
            "see the gaps beside the vulnerabilities: commit lock files that are read, or leave the manifests out",
        )),
        None => judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            "the property `proofmark:gaps` of the bill of materials is not a number",
            "every manifest read",
            "make the statement with this version of Proofmark",
        )),
    }
    Some(judged)
}

/// The count in `metadata.properties`; 0 where it isn't said, `None` where it is nonsense.
fn gaps(document: &Value) -> Option<u64> {
    let properties = document.pointer("/metadata/properties").and_then(Value::as_array);
    let said = properties
        .into_iter()
        .flatten()
        .find(|property| property.get("name").and_then(Value::as_str) == Some("proofmark:gaps"));
    match said.map(|property| property.get("value")) {
        None => Some(0),
        Some(Some(Value::String(text))) => text.parse().ok(),
        Some(Some(value)) => value.as_u64(),
        Some(None) => None,
    }
}
