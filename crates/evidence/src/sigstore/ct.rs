//! Signed certificate timestamps that stand in the certificate itself (RFC 6962 section 3.2 and 3.3).
//!
//! Deliberately not here: SCTs beside the certificate, and inclusion in the CT log. Start reading at [`parse`].

use super::der::{self, Malformed, Reader};
use super::keys::VerifyingKey;
use super::x509::{Certificate, SCT_LIST};
use crate::{Digest, Timestamp};

const SCTS_MAX: usize = 32;

#[derive(Debug, Clone)]
pub(super) struct Sct<'a> {
    pub log: &'a [u8],
    pub at: Timestamp,
    milliseconds: u64,
    extensions: &'a [u8],
    hash: u8,
    algorithm: u8,
    signature: &'a [u8],
}

/// The SCTs of a certificate; none when it has no such extension.
pub(super) fn parse<'a>(certificate: &Certificate<'a>) -> der::Result<Vec<Sct<'a>>> {
    let Some(extension) = certificate.extension(SCT_LIST) else {
        return Ok(Vec::new());
    };
    let mut list = Tls(Reader::only(extension.value, der::OCTET_STRING)?.content);
    let mut rest = Tls(list.vector()?);
    list.end()?;
    let mut found = Vec::new();
    while !rest.0.is_empty() {
        if found.len() == SCTS_MAX {
            return Err(Malformed);
        }
        found.push(one(rest.vector()?)?);
    }
    Ok(found)
}

fn one(bytes: &[u8]) -> der::Result<Sct<'_>> {
    let mut fields = Tls(bytes);
    if fields.take(1)? != [0] {
        return Err(Malformed);
    }
    let log = fields.take(32)?;
    let milliseconds = u64::from_be_bytes(fields.take(8)?.try_into().map_err(|_| Malformed)?);
    let extensions = fields.vector()?;
    let (hash, algorithm) = (fields.take(1)?[0], fields.take(1)?[0]);
    let signature = fields.vector()?;
    fields.end()?;
    let at = i64::try_from(milliseconds).map_err(|_| Malformed)?;
    Ok(Sct {
        log,
        at: Timestamp::from_millisecond(at).map_err(|_| Malformed)?,
        milliseconds,
        extensions,
        hash,
        algorithm,
        signature,
    })
}

impl Sct<'_> {
    /// Whether the log's `key` signed it over `certificate`, which `issuer` issued.
    pub fn holds(&self, certificate: &Certificate<'_>, issuer: &Certificate<'_>, key: &VerifyingKey) -> bool {
        let Some(scheme) = key.tls_scheme(self.hash, self.algorithm) else {
            return false;
        };
        let tbs = certificate.precertificate();
        // Version v1, type certificate_timestamp; then the time, and a precert_entry.
        let mut signed = vec![0, 0];
        signed.extend_from_slice(&self.milliseconds.to_be_bytes());
        signed.extend_from_slice(&[0, 1]);
        signed.extend_from_slice(&Digest::of(issuer.spki).0);
        signed.extend_from_slice(&(tbs.len() as u32).to_be_bytes()[1..]);
        signed.extend_from_slice(&tbs);
        signed.extend_from_slice(&(self.extensions.len() as u16).to_be_bytes());
        signed.extend_from_slice(self.extensions);
        key.verifies_as(scheme, &signed, self.signature)
    }
}

/// TLS presentation language (RFC 5246 section 4).
struct Tls<'a>(&'a [u8]);

impl<'a> Tls<'a> {
    fn take(&mut self, count: usize) -> der::Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Two bytes of length, then so many.
    fn vector(&mut self) -> der::Result<&'a [u8]> {
        let length = self.take(2)?;
        self.take(usize::from(length[0]) << 8 | usize::from(length[1]))
    }

    fn end(&self) -> der::Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(Malformed) }
    }
}
