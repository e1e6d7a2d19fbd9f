//! # chaos/secret-leaked
//! A secret lies where it must not: a canary, for somebody to find.
//!
//! ## What it does
//! Writes the contents of `canary`, a file below the target's `root` with a value that opens nothing, to `path`,
//! where no file is yet: a backup, a log, a page that is served. Everybody may read it. Only its digest stands in
//! the journal. The probe reads it back and compares digests.
//!
//! - Undo class: `journaled`. The planted file is removed, unless somebody has changed it since; it is moved away
//!   before it is looked at for the last time, so that nothing of anybody else goes with it.
//! - Rights: writing in the folder of `path`.
//! - Targets: `files`.
//! - ATT&CK: T1552.001 (credentials in files), T1567 (exfiltration over web service). CWE: CWE-532 (insertion of
//!   sensitive information into log file), CWE-540 (inclusion of sensitive information in source code).
//! - Expected effect: confidentiality lost for the canary, which opens nothing; integrity kept; availability kept.
//!
//! ## Why it matters
//! Whether a leaked secret is found, by whom and after how long is the one number about leaks that can be measured
//! beforehand.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "secret-leaked"
//! target = "site"
//! path = "public/backup.env"
//! canary = "canaries/aws.env"
//! ```
//!
//! ## What to do instead
//! Scan what is published and what is logged, make canaries that alarm when they are used, and rehearse the
//! rotation that follows.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1552/001/>
//! - <https://attack.mitre.org/techniques/T1567/>
//! - <https://cwe.mitre.org/data/definitions/532.html>
//! - <https://cwe.mitre.org/data/definitions/540.html>

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::file_change::{FileChange, How};
use crate::files;
use crate::read::Section;
use crate::target::TargetKind;

pub(super) const ENTRY: Entry = Entry {
    id: "secret-leaked",
    undo_class: UndoClass::Journaled,
    rights: "writing in the folder of `path`",
    attack: &["T1552.001", "T1567"],
    cwe: &["CWE-532", "CWE-540"],
    effect: Effect {
        confidentiality: "lost for the canary, which opens nothing",
        integrity: "kept",
        availability: "kept",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "path", "canary"],
    read,
};

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let canary = files::read_path(section, "canary")?;
    FileChange::named(section, How::Planted(canary.clone()), "plant a canary as")?
        .with("canary", canary)
        .boxed(const { &ENTRY })
}
