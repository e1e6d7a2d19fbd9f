//! The bill of materials in CycloneDX 1.6 JSON (<https://cyclonedx.org/docs/1.6/json/>).
//!
//! Deterministic: the same inventory and subject give the same value, serial number included. Start reading at [`cyclonedx`].

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Component, Digest, Scope, Timestamp};
use serde_json::{Map, Value, json};

use crate::purl::Purl;
use crate::{Inventory, licence, stronger};

/// What the bill of materials is about, and who wrote it when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SbomSubject {
    pub name: String,
    pub version: String,
    /// What the serial number is derived from: the digest of what the bill describes.
    pub seed: Digest,
    pub timestamp: Timestamp,
    /// Version of Proofmark.
    pub tool_version: String,
}

/// One component for each package URL, with every place that names it; the graph; and, where the inventory has gaps that
/// block, a composition that says `incomplete`.
pub fn cyclonedx(inventory: &Inventory, subject: &SbomSubject) -> Value {
    let subject_ref = Purl::new("generic", None, &subject.name, Some(&subject.version))
        .map_or_else(|_| "pkg:generic/unnamed".to_owned(), |purl| purl.to_string());
    let by_purl = inventory.by_purl();
    let complete = !inventory.gaps.iter().any(|gap| gap.blocks);
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": serial_number(&subject.seed),
        "version": 1,
        "metadata": {
            "timestamp": subject.timestamp.to_string(),
            "tools": { "components": [{ "type": "application", "name": "proofmark", "version": subject.tool_version }] },
            "component": {
                "type": "application",
                "bom-ref": subject_ref,
                "name": subject.name,
                "version": subject.version,
                "purl": subject_ref,
            },
            "properties": gaps(inventory),
        },
        "components": by_purl.iter().map(|(purl, places)| component(purl, places)).collect::<Vec<_>>(),
        "dependencies": dependencies(inventory, &by_purl, &subject_ref),
        "compositions": [{
            "aggregate": if complete { "complete" } else { "incomplete" },
            "assemblies": [subject_ref],
        }],
    })
}

/// A UUID of version 8 (RFC 9562, 5.8) made of the digest's first bytes.
fn serial_number(seed: &Digest) -> String {
    let mut bytes = seed.0;
    bytes[6] = (bytes[6] & 0x0f) | 0x80;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex = Digest(bytes).hex();
    format!(
        "urn:uuid:{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..32]
    )
}

fn gaps(inventory: &Inventory) -> Vec<Value> {
    let line = |gap: &evidence::Gap| json!({ "name": format!("proofmark:gap:{}", gap.id), "value": format!("{}: {}", gap.what, gap.reason) });
    inventory.gaps.iter().map(line).collect()
}

fn component(purl: &str, places: &[&Component]) -> Value {
    let mut out = Map::new();
    let Some(first) = places.first() else {
        return Value::Object(out);
    };
    let scope = places
        .iter()
        .fold(first.scope, |scope, place| stronger(scope, place.scope));
    out.insert(
        "type".to_owned(),
        json!(if scope == Scope::Root { "application" } else { "library" }),
    );
    out.insert("bom-ref".to_owned(), json!(purl));
    let group = first.name.rsplit_once('/').filter(|_| first.ecosystem == "npm");
    if let Some((group, _)) = group {
        out.insert("group".to_owned(), json!(group));
    }
    out.insert(
        "name".to_owned(),
        json!(group.map_or(first.name.as_str(), |(_, name)| name)),
    );
    if !first.version.is_empty() {
        out.insert("version".to_owned(), json!(first.version));
    }
    out.insert("purl".to_owned(), json!(purl));
    // CycloneDX calls what is used for tests and other non-runtime purposes `excluded`.
    out.insert(
        "scope".to_owned(),
        json!(if scope == Scope::Development {
            "excluded"
        } else {
            "required"
        }),
    );
    let checksums: BTreeSet<&str> = places.iter().filter_map(|place| place.checksum.as_deref()).collect();
    if first.ecosystem == "Go" {
        // The `h1:` of go.sum is a digest over a list of file digests, not over any file one could hash.
        let properties: Vec<Value> = checksums
            .iter()
            .map(|sum| json!({ "name": "proofmark:go.sum:h1", "value": sum }))
            .collect();
        insert_some(&mut out, "properties", properties);
    } else {
        insert_some(
            &mut out,
            "hashes",
            checksums.iter().filter_map(|sum| hash(sum)).collect(),
        );
    }
    let licences: BTreeSet<&str> = places.iter().filter_map(|place| place.licence.as_deref()).collect();
    insert_some(
        &mut out,
        "licenses",
        licences.first().map(|text| licence_choice(text)).into_iter().collect(),
    );
    let occurrences: BTreeSet<(&str, u32)> = places.iter().map(|place| (place.path.as_str(), place.line)).collect();
    let occurrence = |(path, line): (&str, u32)| match line {
        0 => json!({ "location": path }),
        _ => json!({ "location": path, "line": line }),
    };
    out.insert(
        "evidence".to_owned(),
        json!({ "occurrences": occurrences.into_iter().map(occurrence).collect::<Vec<_>>() }),
    );
    Value::Object(out)
}

fn insert_some(out: &mut Map<String, Value>, key: &str, values: Vec<Value>) {
    if !values.is_empty() {
        out.insert(key.to_owned(), Value::Array(values));
    }
}

fn hash(checksum: &str) -> Option<Value> {
    let (algorithm, hex) = checksum.split_once(':')?;
    let algorithm = match (algorithm, hex.len()) {
        ("sha256", 64) => "SHA-256",
        ("sha512", 128) => "SHA-512",
        _ => return None,
    };
    Some(json!({ "alg": algorithm, "content": hex }))
}

/// Always an expression: the schema lists the ids it knows, and would refuse a licence that is younger than itself as an id.
fn licence_choice(licence: &str) -> Value {
    match licence::parse(licence) {
        None => json!({ "license": { "name": licence, "acknowledgement": "declared" } }),
        Some(expression) => json!({ "expression": canonical(&expression, licence), "acknowledgement": "declared" }),
    }
}

/// `MIT/Apache-2.0`, as crates once wrote it, is no expression of the standard.
fn canonical(expression: &spdx::Expression, written: &str) -> String {
    let strict = spdx::Expression::parse(written).is_ok();
    if strict {
        written.to_owned()
    } else {
        spdx::Expression::canonicalize(written)
            .ok()
            .flatten()
            .unwrap_or_else(|| expression.to_string())
    }
}

/// Every component has an entry. The subject depends on the project's own packages and on what nothing else depends on.
fn dependencies(inventory: &Inventory, by_purl: &BTreeMap<&str, Vec<&Component>>, subject_ref: &str) -> Vec<Value> {
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = by_purl.keys().map(|purl| (*purl, BTreeSet::new())).collect();
    let mut wanted: BTreeSet<&str> = BTreeSet::new();
    for edge in inventory
        .edges
        .iter()
        .filter(|edge| by_purl.contains_key(edge.to.as_str()))
    {
        if let Some(targets) = graph.get_mut(edge.from.as_str()) {
            targets.insert(&edge.to);
            wanted.insert(&edge.to);
        }
    }
    let top = by_purl
        .iter()
        .filter(|(purl, places)| !wanted.contains(**purl) || places.iter().any(|place| place.scope == Scope::Root));
    let top: BTreeSet<&str> = top.map(|(purl, _)| *purl).filter(|purl| *purl != subject_ref).collect();
    graph.entry(subject_ref).or_default().extend(top);
    graph
        .into_iter()
        .map(|(from, to)| json!({ "ref": from, "dependsOn": to }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{read, with_licences};

    fn subject() -> SbomSubject {
        SbomSubject {
            name: "shop".to_owned(),
            version: "1.4.0".to_owned(),
            seed: Digest::of(b"seed"),
            timestamp: "2026-01-02T03:04:05Z".parse().expect("a time"),
            tool_version: "0.1.0".to_owned(),
        }
    }

    fn example() -> Inventory {
        let lock = "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"a\"]\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://github.com/rust-lang/crates.io-index\"\nchecksum = \"f71489ff30030d2ae598524f61326b902466f72a0fb1a8564c001cc63425bcc7\"\n";
        let files = ["Cargo.lock", "other/Cargo.lock"].map(|path| (path.to_owned(), lock.as_bytes().to_vec()));
        with_licences(read(&files), &|component| {
            (component.name == "a").then(|| "MIT/Apache-2.0".to_owned())
        })
    }

    #[test]
    fn says_what_the_inventory_says() {
        let bom = cyclonedx(&example(), &subject());
        assert_eq!(
            bom["components"].as_array().map(Vec::len),
            Some(2),
            "two lock files, one component each"
        );
        let a = &bom["components"][0];
        assert_eq!(a["purl"], "pkg:cargo/a@1.0.0");
        assert_eq!(a["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(a["hashes"][0]["alg"], "SHA-256");
        assert_eq!(
            a["evidence"]["occurrences"],
            json!([{ "location": "Cargo.lock", "line": 7 }, { "location": "other/Cargo.lock", "line": 7 }])
        );
        assert_eq!(bom["compositions"][0]["aggregate"], "complete");
        assert_eq!(
            bom["dependencies"],
            json!([
                { "ref": "pkg:cargo/a@1.0.0", "dependsOn": [] },
                { "ref": "pkg:cargo/app@0.1.0", "dependsOn": ["pkg:cargo/a@1.0.0"] },
                { "ref": "pkg:generic/shop@1.4.0", "dependsOn": ["pkg:cargo/app@0.1.0"] },
            ])
        );
        assert_eq!(bom, cyclonedx(&example(), &subject()), "the same in, the same out");
    }

    #[test]
    fn serial_numbers_are_uuids_of_version_8() {
        let serial = serial_number(&Digest([0xff; 32]));
        assert_eq!(serial, "urn:uuid:ffffffff-ffff-8fff-bfff-ffffffffffff");
    }

    #[test]
    fn gaps_make_it_incomplete() {
        let inventory = read(&[("pom.xml".to_owned(), Vec::new())]);
        let bom = cyclonedx(&inventory, &subject());
        assert_eq!(bom["compositions"][0]["aggregate"], "incomplete");
        assert_eq!(
            bom["metadata"]["properties"][0]["name"],
            "proofmark:gap:packages/unread-manifest"
        );
    }
}
