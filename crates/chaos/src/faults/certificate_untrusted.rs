//! # chaos/certificate-untrusted
//! The certificate of a TLS endpoint is of an authority that nobody trusts.
//!
//! ## What it does
//! Gives the endpoint a certificate like its own (same key and names) that an unknown authority has signed, and reloads
//! it. The endpoint's own key is not touched. The probe shakes hands as a client that verifies.
//!
//! - Undo class: `journaled`. The original certificate is put back and the endpoint reloaded, unless somebody else has
//!   changed the file since.
//! - Rights: write access to `certificate_file` and its folder, the right to reload.
//! - Targets: `tls`.
//! - ATT&CK: T1557 (adversary in the middle). CWE: CWE-295 (improper certificate validation).
//! - Expected effect: confidentiality lost where a client does not verify; integrity lost where a client does not
//!   verify; availability lost for every client that verifies.
//!
//! ## Why it matters
//! A client with verification off works with every certificate, and so with everybody's. It shows only when the
//! endpoint presents a wrong one.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "certificate-untrusted"
//! target = "gateway"
//! ```
//!
//! ## What to do instead
//! Verify everywhere, inside too; give staging an authority of its own rather than a switch that turns the check off.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1557/>
//! - <https://cwe.mitre.org/data/definitions/295.html>
//! - <https://www.rfc-editor.org/rfc/rfc5280#section-6>

use crate::fault::{Effect, Entry, UndoClass};
use crate::target::TargetKind;
use crate::tls::{FLAWED_KEYS, Flaw, read_flawed};

pub(super) const ENTRY: Entry = Entry {
    id: "certificate-untrusted",
    undo_class: UndoClass::Journaled,
    rights: "write access to `certificate_file` and its folder, the right to reload",
    attack: &["T1557"],
    cwe: &["CWE-295"],
    effect: Effect {
        confidentiality: "lost where a client does not verify",
        integrity: "lost where a client does not verify",
        availability: "lost for every client that verifies",
    },
    targets: &[TargetKind::Tls],
    keys: FLAWED_KEYS,
    read: |section| read_flawed(const { &ENTRY }, Flaw::Untrusted, section),
};
