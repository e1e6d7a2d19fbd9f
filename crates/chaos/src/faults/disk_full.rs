//! # chaos/disk-full
//! A file system is full.
//!
//! ## What it does
//! Reserves room in the file system of the target's `root` until `leave_bytes` are left (without it: none), at most
//! `bytes_max`: in a file without a name, in a process of Proofmark's own. What a file system keeps for root is not
//! touched. The probe asks the file system what is left.
//!
//! - Undo class: `process-bounded`. The room is free again when that process ends, whatever happens: the file has
//!   no name that could stay.
//! - Rights: writing in `root`.
//! - Targets: `files`.
//! - ATT&CK: T1499 (endpoint denial of service), T1562 (impair defenses). CWE: CWE-400 (uncontrolled resource
//!   consumption), CWE-778 (insufficient logging).
//! - Expected effect: confidentiality kept; integrity at risk: files are cut off where a failed write is not
//!   noticed; availability lost for whoever has to write.
//!
//! ## Why it matters
//! Logs that nobody bounds fill the disk that the audit log lies on. Then nothing is recorded, and half-written
//! files take the place of whole ones.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "disk-full"
//! target = "data"
//! leave_bytes = 4096
//! bytes_max = 1073741824
//! ```
//!
//! ## What to do instead
//! Give logs, data and evidence file systems of their own, check every write, and put files in place only once they
//! are whole.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://attack.mitre.org/techniques/T1562/>
//! - <https://cwe.mitre.org/data/definitions/400.html>
//! - <https://cwe.mitre.org/data/definitions/778.html>

use std::collections::BTreeMap;
use std::time::Duration;

use rustix::fs::{FallocateFlags, Mode, OFlags, fallocate, fstatvfs, openat};
use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::{self, told};
use crate::permit::Permit;
use crate::read::Section;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::{Target, TargetKind};

pub(super) const ENTRY: Entry = Entry {
    id: "disk-full",
    undo_class: UndoClass::ProcessBounded,
    rights: "writing in `root`",
    attack: &["T1499", "T1562"],
    cwe: &["CWE-400", "CWE-778"],
    effect: Effect {
        confidentiality: "kept",
        integrity: "at risk: files are cut off where a failed write is not noticed",
        availability: "lost for whoever has to write",
    },
    targets: &[TargetKind::Files],
    keys: &["target", "leave_bytes", "bytes_max"],
    read,
};

/// Nobody fills more than that on purpose.
const BYTES_MAX: u64 = 1 << 40;
const BYTES_MAX_DEFAULT: u64 = 1 << 30;
/// The bookkeeping of a file system needs room, too: it is asked again so often.
const ROUNDS_MAX: u32 = 16;
/// Between two looks at what is left.
const LOOK_MS: u64 = 50;
const MODE: Mode = Mode::RUSR;

#[derive(Debug)]
struct DiskFull {
    target: String,
    leave_bytes: u64,
    bytes_max: u64,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target");
    let leave_bytes = section.optional_number("leave_bytes", 0..=BYTES_MAX).unwrap_or(0);
    let bytes_max = section
        .optional_number("bytes_max", 1..=BYTES_MAX)
        .unwrap_or(BYTES_MAX_DEFAULT);
    let strike = DiskFull {
        target: target?,
        leave_bytes,
        bytes_max,
    };
    boxed(const { &ENTRY }, strike, None)
}

impl Strike for DiskFull {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([
            ("target".to_owned(), self.target.clone().into()),
            ("leave_bytes".to_owned(), self.leave_bytes.into()),
            ("bytes_max".to_owned(), self.bytes_max.into()),
        ])
    }

    fn action(&self) -> String {
        format!(
            "fill the file system of `{}` until {} bytes are left",
            self.target, self.leave_bytes
        )
    }

    fn undo_action(&self) -> String {
        "give the room back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let left = left_bytes(site.target(&self.target)?)?;
        let needed = left.saturating_sub(self.leave_bytes);
        if needed == 0 {
            return Err(format!("no more than {} bytes are left already", self.leave_bytes));
        }
        if needed > self.bytes_max {
            return Err(format!(
                "that would need {needed} bytes, more than `bytes_max`, which is {}",
                self.bytes_max
            ));
        }
        Ok(Record::new())
    }

    fn inject(&self, _: &Permit, _: &Site, _: &Record) -> Result<(), String> {
        Err("a process of its own holds this fault".to_owned())
    }

    fn hold(&self, site: &Site, _: &Record, ready: &mut dyn FnMut()) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let file = files::reach(target, ".", OFlags::DIRECTORY | OFlags::RDONLY).and_then(|root| {
            openat(&root, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, MODE).map_err(told)
        })?;
        let (mut filled, mut is_full) = (0, false);
        let mut rounds = 0;
        loop {
            let needed = left_bytes(target)?.saturating_sub(self.leave_bytes);
            let is_over = filled + needed > self.bytes_max;
            if needed == 0 || (is_full && is_over) {
                ready();
                is_full = true;
                // What others give back meanwhile is taken, too, up to the bound.
                std::thread::sleep(Duration::from_millis(LOOK_MS));
                continue;
            }
            rounds += u32::from(!is_full);
            if is_over || rounds > ROUNDS_MAX {
                return Err(format!("{needed} bytes more would be over `bytes_max`"));
            }
            fallocate(&file, FallocateFlags::empty(), filled, needed).map_err(told)?;
            filled += needed;
        }
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        Ok(left_bytes(site.target(&self.target)?)? <= self.leave_bytes)
    }

    /// It has ended with its process.
    fn undo(&self, _: &Site, _: &Record) -> Result<Undone, String> {
        Ok(Undone::Restored)
    }
}

/// What others than root may still write.
fn left_bytes(target: &Target) -> Result<u64, String> {
    let root = files::reach(target, ".", OFlags::DIRECTORY | OFlags::RDONLY)?;
    let left = fstatvfs(&root).map_err(told)?;
    Ok(left.f_bavail.saturating_mul(left.f_frsize))
}
