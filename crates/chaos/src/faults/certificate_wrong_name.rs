//! # chaos/certificate-wrong-name
//! The certificate of a TLS endpoint is for another host.
//!
//! ## What it does
//! Gives the endpoint a certificate like its own (same key and authority) that names `other.invalid` only, and reloads
//! it. The authority's key, `issuer_key_file` of the target, signs it; the endpoint's own key is not touched. The probe
//! shakes hands as a client that verifies.
//!
//! - Undo class: `journaled`. The original certificate is put back and the endpoint reloaded, unless somebody else has
//!   changed the file since.
//! - Rights: write access to `certificate_file` and its folder, read access to `issuer_key_file`, the right to reload.
//! - Targets: `tls`.
//! - ATT&CK: T1557 (adversary in the middle). CWE: CWE-297 (improper validation of certificate with host mismatch).
//! - Expected effect: confidentiality lost where a client does not compare names; integrity lost where a client does
//!   not compare names; availability lost for every client that verifies.
//!
//! ## Why it matters
//! Whoever has any certificate of the same authority can stand between a service and a client that compares no names.
//! Libraries have the comparison off more often than one would think.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "certificate-wrong-name"
//! target = "gateway"
//! ```
//!
//! ## What to do instead
//! Use a client whose default is to compare; test with a certificate of the right authority and the wrong name, as
//! here.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1557/>
//! - <https://cwe.mitre.org/data/definitions/297.html>
//! - <https://www.rfc-editor.org/rfc/rfc5280#section-6>

use crate::fault::{Effect, Entry, UndoClass};
use crate::target::TargetKind;
use crate::tls::{FLAWED_KEYS, Flaw, read_flawed};

pub(super) const ENTRY: Entry = Entry {
    id: "certificate-wrong-name",
    undo_class: UndoClass::Journaled,
    rights: "write access to `certificate_file` and its folder, read access to `issuer_key_file`, the right to reload",
    attack: &["T1557"],
    cwe: &["CWE-297"],
    effect: Effect {
        confidentiality: "lost where a client does not compare names",
        integrity: "lost where a client does not compare names",
        availability: "lost for every client that verifies",
    },
    targets: &[TargetKind::Tls],
    keys: FLAWED_KEYS,
    read: |section| read_flawed(const { &ENTRY }, Flaw::WrongName, section),
};
