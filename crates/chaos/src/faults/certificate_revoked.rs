//! # chaos/certificate-revoked
//! The certificate of a TLS endpoint is revoked.
//!
//! ## What it does
//! Adds the endpoint's certificate to the authority's revocation list, `crl_file` of the target: the list is issued
//! anew with one entry more, signed with `issuer_key_file`, everything else as it was. The endpoint itself is not
//! touched; its `reload` is run, for whoever reads the list there. The probe shakes hands as a client that verifies,
//! with that list.
//!
//! - Undo class: `journaled`. The earlier list is put back, unless somebody else has issued one since. A client that
//!   keeps the list in memory goes on refusing until it reads it again.
//! - Rights: write access to `crl_file` and its folder, read access to `issuer_key_file`.
//! - Targets: `tls`.
//! - ATT&CK: T1531 (account access removal). CWE: CWE-299 (improper check for certificate revocation).
//! - Expected effect: confidentiality lost where a client does not look at the list; integrity lost where a client does
//!   not look at the list; availability lost for every client that looks.
//!
//! ## Why it matters
//! Revocation is what is left when a key is out. Most clients never look, and nobody knows which ones do until it is
//! needed.
//!
//! ## Example
//! ```toml
//! [[fault]]
//! id = "certificate-revoked"
//! target = "gateway"
//! ```
//!
//! ## What to do instead
//! Give clients the list and let them insist on it, or make certificates so short that none is needed; measure how long
//! a revoked one is still accepted.
//!
//! ## References
//! - <https://attack.mitre.org/techniques/T1531/>
//! - <https://cwe.mitre.org/data/definitions/299.html>
//! - <https://www.rfc-editor.org/rfc/rfc5280#section-5>

use std::collections::BTreeMap;

use rustls::CertificateError;
use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject;
use serde_json::Value;

use crate::fault::{Effect, Entry, Fault, UndoClass};
use crate::files::Location;
use crate::permit::Permit;
use crate::read::Section;
use crate::record;
use crate::reload;
use crate::replaced::Replacement;
use crate::strike::{Record, Site, Strike, Undone, boxed};
use crate::target::{Target, TargetKind};
use crate::tls::{Met, issuer, meet};
use crate::x509::{Certificate, pem, revoking};

pub(super) const ENTRY: Entry = Entry {
    id: "certificate-revoked",
    undo_class: UndoClass::Journaled,
    rights: "write access to `crl_file` and its folder, read access to `issuer_key_file`",
    attack: &["T1531"],
    cwe: &["CWE-299"],
    effect: Effect {
        confidentiality: "lost where a client does not look at the list",
        integrity: "lost where a client does not look at the list",
        availability: "lost for every client that looks",
    },
    targets: &[TargetKind::Tls],
    keys: &["target"],
    read,
};

#[derive(Debug)]
struct CertificateRevoked {
    target: String,
}

fn read(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let target = section.text("target")?;
    boxed(const { &ENTRY }, CertificateRevoked { target }, None)
}

/// Under this key a record has the new list (DER, base64). It is meant for everybody.
const LIST_KEY: &str = "revocation_list";

fn bites(target: &Target) -> Result<bool, String> {
    meet(target).map(|met| met == Met::Refused(CertificateError::Revoked))
}

fn as_file(list: &[u8]) -> String {
    pem("X509 CRL", list)
}

impl Strike for CertificateRevoked {
    fn parameters(&self) -> BTreeMap<String, Value> {
        BTreeMap::from([("target".to_owned(), self.target.clone().into())])
    }

    fn action(&self) -> String {
        format!(
            "add the certificate of `{}` to its authority's revocation list",
            self.target
        )
    }

    fn undo_action(&self) -> String {
        "put the earlier list back".to_owned()
    }

    fn targets(&self) -> Vec<String> {
        vec![self.target.clone()]
    }

    fn survey(&self, site: &Site) -> Result<Record, String> {
        let target = site.target(&self.target)?;
        let file = Location::declared(target, "crl_file")?;
        let Met::Trusted(seen) = meet(target)? else {
            return Err(format!("a verifying client does not trust `{}` as it is", target.name));
        };
        let certificate = Certificate::parse(&seen).ok_or("the endpoint's certificate can't be read")?;
        let before = file.read(target)?;
        let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(&before).collect();
        let [list] = lists.as_deref().unwrap_or_default() else {
            return Err(format!("`{file}` is not one revocation list in PEM"));
        };
        let list = revoking(list, &certificate, &issuer(target)?)?;
        let mut record = Replacement::to(target, &file, as_file(&list).as_bytes())?.record();
        record.insert(LIST_KEY.to_owned(), record::of_bytes(&list));
        Ok(record)
    }

    fn inject(&self, _: &Permit, site: &Site, record: &Record) -> Result<(), String> {
        let target = site.target(&self.target)?;
        let list = as_file(&record::bytes(record, LIST_KEY)?);
        let make = |_| Ok(list.into_bytes());
        reload::put_in(&Replacement::of(record)?, target, make, || bites(target))
    }

    fn bites(&self, site: &Site, _: &Record) -> Result<bool, String> {
        bites(site.target(&self.target)?)
    }

    fn undo(&self, site: &Site, record: &Record) -> Result<Undone, String> {
        let target = site.target(&self.target)?;
        reload::put_back(&Replacement::of(record)?, target, || bites(target))
    }
}
