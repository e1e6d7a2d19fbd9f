//! # chaos/certificate-expired
//! The certificate of a TLS endpoint has expired.
//!
//! ## What it does
//! Gives the endpoint a certificate like its own (same key, names, extensions and authority) that ended in 2000, and
//! reloads it. The authority's key, `issuer_key_file` of the target, signs it; the endpoint's own key is not touched.
//! The probe shakes hands as a client that verifies.
//!
//! - Undo class: `journaled`. The original certificate is put back and the endpoint reloaded, unless somebody else has
//!   changed the file since.
//! - Rights: write access to `certificate_file` and its folder, read access to `issuer_key_file`, the right to reload.
//! - Targets: `tls`.
//! - ATT&CK: T1499 (endpoint denial of service). CWE: CWE-298 (improper validation of certificate expiration).
//! - Expected effect: confidentiality kept, unless a client goes on all the same; integrity kept, unless a client goes
//!   on all the same; availability lost for every client that verifies.
//!
//! ## Why it matters
//! A certificate expires at a moment that was known for months, and takes everything down at once. Worse is the client
//! that goes on: nobody notices, and the check is off for attackers too.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "certificate-expired"
//! target = "gateway"
//! ```
//!
//! ## What to do instead
//! Renew long before the end and by a machine; alert on the days that are left as a client sees them; never switch the
//! check off to get through a night.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://cwe.mitre.org/data/definitions/298.html>
//! - <https://www.rfc-editor.org/rfc/rfc5280#section-6>

use crate::fault::{Effect, Entry, UndoClass};
use crate::target::TargetKind;
use crate::tls::{FLAWED_KEYS, Flaw, read_flawed};

pub(super) const ENTRY: Entry = Entry {
    id: "certificate-expired",
    undo_class: UndoClass::Journaled,
    rights: "write access to `certificate_file` and its folder, read access to `issuer_key_file`, the right to reload",
    attack: &["T1499"],
    cwe: &["CWE-298"],
    effect: Effect {
        confidentiality: "kept, unless a client goes on all the same",
        integrity: "kept, unless a client goes on all the same",
        availability: "lost for every client that verifies",
    },
    targets: &[TargetKind::Tls],
    keys: FLAWED_KEYS,
    read: |section| read_flawed(const { &ENTRY }, Flaw::Expired, section),
};
