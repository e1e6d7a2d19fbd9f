//! # chaos/feed-poisoned
//! An advisory says that nothing is affected.
//!
//! ## What it does
//! Empties the list `affected` of one record (OSV JSON) of a feed below the target's `root`: a well-formed advisory
//! that matches no version of anything. The original stays beside it under a name of Proofmark's. The probe reads
//! the record again and compares digests.
//!
//! - Undo class: `journaled`. The original record comes back, unless somebody has changed what stands there.
//! - Rights: writing in the folder of the record.
//! - Targets: `files`.
//! - ATT&CK: T1565.001 (stored data manipulation), T1195 (supply chain compromise). CWE: CWE-345 (insufficient
//!   verification of data authenticity), CWE-353 (missing support for integrity check).
//! - Expected effect: confidentiality kept; integrity lost: a known vulnerability is not matched, unless the change
//!   is noticed; availability kept where the gate refuses the database, as it should.
//!
//! ## Why it matters
//! Whoever wants a vulnerable component through the gate need not touch the gate: one record of the feed is enough.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "feed-poisoned"
//! target = "tree"
//! path = "advisories/RUSTSEC-2024-0388.json"
//! ```
//!
//! ## What to do instead
//! Pin the digest of a database in signed configuration, take feeds only with a signature, and look for records
//! that lost what they named.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1565/001/>
//! - <https://attack.mitre.org/techniques/T1195/>
//! - <https://cwe.mitre.org/data/definitions/345.html>
//! - <https://cwe.mitre.org/data/definitions/353.html>
//! - <https://ossf.github.io/osv-schema/>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "feed-poisoned",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folder of the record",
    attack: &["T1565.001", "T1195"],
    cwe: &["CWE-345", "CWE-353"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "lost: a known vulnerability is not matched, unless the change is noticed",
        availability: "kept where the gate refuses the database, as it should",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    FileChange::named(section, How::Rewritten(Box::new(|_, old| poisoned(old))), "poison")?.boxed(const { &ENTRY })
}

fn poisoned(old: &[u8]) -> Result<Vec<u8>, String> {
    let mut advisory: serde_json::Value =
        serde_json::from_slice(old).map_err(|error| format!("it is no JSON: {error}"))?;
    match advisory.get_mut("affected") {
        Some(affected) if affected.as_array().is_some_and(|affected| !affected.is_empty()) => {
            *affected = serde_json::Value::Array(Vec::new());
        }
        _ => return Err("it is no advisory in OSV format: `affected` names nothing".to_owned()),
    }
    serde_json::to_vec(&advisory).map_err(|error| error.to_string())
}
