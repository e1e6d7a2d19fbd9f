//! # chaos/chaos-toolkit-actions
//! The method of a Chaos Toolkit file, with its rollbacks as what undoes it.
//!
//! ## What it does
//! Runs the activities of the file's `method`, in order, with their pauses: commands, HTTP requests, Python functions. Its
//! `rollbacks` are written to the undo journal before the first of them, and played on every way out, by the warden or at
//! the next start too, whatever rollback strategy the file names.
//!
//! - Undo class: `journaled`; `irreversible` where the file has no rollbacks. Nobody but the file's author knows what
//!   the rollbacks restore: that they ran without failing is all that can be said.
//! - Rights: those of the actions.
//! - ATT&CK: T1059 (command and scripting interpreter). CWE: CWE-754 (improper check for unusual or exceptional
//!   conditions).
//! - Expected effect: confidentiality, integrity and availability as the actions have it.
//!
//! ## Why it matters
//! Chaos Toolkit leaves the fault in place when it is killed, and by default plays no rollbacks when an experiment fails.
//!
//! ## Example
//! ```json
//! {"title": "…", "description": "…",
//!  "steady-state-hypothesis": {"title": "…", "probes": []},
//!  "method": [{"type": "action", "name": "stop", "provider": {"type": "process", "path": "systemctl", "arguments": "stop x"}}],
//!  "rollbacks": [{"type": "action", "name": "start", "provider": {"type": "process", "path": "systemctl", "arguments": "start x"}}],
//!  "extensions": [{"name": "proofmark", "declares": {"data": "synthetic", "paying_customers": "none", "tenancy": "dedicated"}}]}
//! ```
//! It needs `unknown_actions = "allow"` in `[chaos]` of proofmark.toml.
//!
//! ## What to do instead
//! Where a fault of this catalogue does the same, name that: it has a probe, and an undo that is checked.
//!
//! ## References
//! - <https://chaostoolkit.org/reference/api/experiment/>
//! - <https://attack.mitre.org/techniques/T1059/>
//! - <https://cwe.mitre.org/data/definitions/754.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::read::Section;

pub(super) const ENTRY: Entry = Entry {
    id: "chaos-toolkit-actions",
    undo_class: UndoClass::Journaled,
    rights: "those of the actions",
    attack: &["T1059"],
    cwe: &["CWE-754"],
    effect: Effect {
        confidentiality: "as the actions have it",
        integrity: "as the actions have it",
        availability: "as the actions have it",
    },
    targets: &[],
    keys: &[],
    read,
};

/// It is made of a whole file, never of a `[[fault]]`.
fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let message = "`chaos-toolkit-actions` is the method of a Chaos Toolkit file".to_owned();
    section.problem(
        "id",
        "chaos/unknown-fault",
        message,
        "run that file: `proofmark chaos run FILE.json`",
    );
    None
}
