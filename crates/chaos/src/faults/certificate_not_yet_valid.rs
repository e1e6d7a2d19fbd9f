//! # chaos/certificate-not-yet-valid
//! The certificate of a TLS endpoint is not valid yet.
//!
//! ## What it does
//! Gives the endpoint a certificate like its own (same key, names, extensions and authority) that begins in 2199, and
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
//! A new certificate is put in too early, or a host's clock is behind: the same refusal, with a cause that few look
//! for.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "certificate-not-yet-valid"
//! target = "gateway"
//! ```
//!
//! ## What to do instead
//! Put a new certificate in only once it is valid on the slowest clock; keep clocks together; let the client's error
//! say which of the two times was wrong.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1499/>
//! - <https://cwe.mitre.org/data/definitions/298.html>
//! - <https://www.rfc-editor.org/rfc/rfc5280#section-6>

use crate::fault::{Effect, Entry, UndoClass};
use crate::target::TargetKind;
use crate::tls::{FLAWED_KEYS, Flaw, read_flawed};

pub(super) const ENTRY: Entry = Entry {
    id: "certificate-not-yet-valid",
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
    read: |section| read_flawed(const { &ENTRY }, Flaw::NotYetValid, section),
};
