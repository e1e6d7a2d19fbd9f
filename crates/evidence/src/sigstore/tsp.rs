//! RFC 3161 time stamps: TimeStampResp, its CMS SignedData (RFC 5652) with one signer, and TSTInfo.
//!
//! Deliberately not a CMS library: what a time stamp doesn't need is refused. Start reading at [`TimeStamp::parse`].

use super::der::{self, Malformed, Reader};
use super::keys::{Hash, Scheme};
use super::x509::{Certificate, wrap};
use crate::Timestamp;

const SIGNED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
const TST_INFO: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x01, 0x04];
const CONTENT_TYPE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x03];
const MESSAGE_DIGEST: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x04];
const SIGNING_CERTIFICATE_V2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x10, 0x02, 0x2f];

const CERTIFICATES_MAX: usize = 16;

/// A time stamp whose form was checked; of its signature nothing is known.
#[derive(Debug)]
pub(super) struct TimeStamp<'a> {
    pub at: Timestamp,
    imprint: (Hash, &'a [u8]),
    /// Certificates that came with it: none of them is trusted.
    pub certificates: Vec<Certificate<'a>>,
    signer: Signer<'a>,
    digest: Hash,
    scheme: Scheme,
    content: &'a [u8],
    /// Content of the SET of signed attributes.
    attributes: &'a [u8],
    signature: &'a [u8],
}

#[derive(Debug)]
enum Signer<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    KeyIdentifier(&'a [u8]),
}

impl<'a> TimeStamp<'a> {
    pub fn parse(response: &'a [u8]) -> der::Result<Self> {
        let mut response = Reader::new(Reader::only(response, der::SEQUENCE)?.content);
        // 0 is granted, 1 is granted with changes.
        if response.inside(der::SEQUENCE)?.small()? > 1 {
            return Err(Malformed);
        }
        let mut token = response.inside(der::SEQUENCE)?;
        response.end()?;
        if token.oid()? != SIGNED_DATA {
            return Err(Malformed);
        }
        let mut wrapped = token.inside(der::context(0))?;
        token.end()?;
        let mut data = wrapped.inside(der::SEQUENCE)?;
        wrapped.end()?;
        data.small()?;
        data.expect(der::SET)?;
        let content = encapsulated(data.inside(der::SEQUENCE)?)?;
        let certificates = match data.optional(der::context(0))? {
            Some(list) => certificates(list.content)?,
            None => Vec::new(),
        };
        data.optional(der::context(1))?;
        let mut signers = data.inside(der::SET)?;
        data.end()?;
        let mut signer = signers.inside(der::SEQUENCE)?;
        // RFC 3161: the authority's signature, and no other.
        signers.end()?;
        let (at, imprint) = info(content)?;
        signer.small()?;
        let identifier = identifier(&mut signer)?;
        let digest = Hash::of_identifier(signer.inside(der::SEQUENCE)?.remaining())?;
        let attributes = signer.expect(der::context(0))?.content;
        let scheme = Scheme::of_identifier(signer.inside(der::SEQUENCE)?.remaining(), Some(digest))?;
        let signature = signer.octets()?;
        signer.optional(der::context(1))?;
        signer.end()?;
        Ok(TimeStamp {
            at,
            imprint,
            certificates,
            signer: identifier,
            digest,
            scheme,
            content,
            attributes,
            signature,
        })
    }

    /// Whether it is over `message`.
    pub fn is_over(&self, message: &[u8]) -> bool {
        self.imprint.0.of(message) == self.imprint.1
    }

    /// Whether it says to be signed with this certificate.
    pub fn names(&self, certificate: &Certificate<'_>) -> bool {
        match self.signer {
            Signer::IssuerAndSerial { issuer, serial } => issuer == certificate.issuer && serial == certificate.serial,
            Signer::KeyIdentifier(id) => certificate.subject_key_identifier() == Some(id),
        }
    }

    /// Whether this certificate's key signed it: the attributes, which hold the digest of the content.
    pub fn is_signed_by(&self, certificate: &Certificate<'_>) -> bool {
        let digest = self.digest.of(self.content);
        let Ok(found) = attributes(self.attributes) else {
            return false;
        };
        let only = |oid: &[u8], tag: u8| {
            let (_, value) = found.iter().find(|(name, _)| *name == oid)?;
            Some(Reader::only(value, tag).ok()?.content)
        };
        let describes = only(CONTENT_TYPE, der::OID) == Some(TST_INFO)
            && only(MESSAGE_DIGEST, der::OCTET_STRING) == Some(&digest[..])
            && only(SIGNING_CERTIFICATE_V2, der::SEQUENCE)
                .is_none_or(|value| is_for(value, certificate).unwrap_or(false));
        // What is signed has the tag of a SET, not the implicit one it stands under (RFC 5652 section 5.4).
        describes
            && certificate
                .key
                .verifies_as(self.scheme, &wrap(der::SET, self.attributes), self.signature)
    }
}

/// The first of the certificates that SigningCertificateV2 names is this one (RFC 5816).
fn is_for(value: &[u8], certificate: &Certificate<'_>) -> der::Result<bool> {
    let mut first = Reader::new(value).inside(der::SEQUENCE)?.inside(der::SEQUENCE)?;
    let hash = match first.optional(der::SEQUENCE)? {
        Some(identifier) => Hash::of_identifier(identifier.content)?,
        None => Hash::Sha256,
    };
    Ok(first.octets()? == hash.of(certificate.der))
}

/// The TSTInfo.
fn encapsulated(mut fields: Reader<'_>) -> der::Result<&[u8]> {
    if fields.oid()? != TST_INFO {
        return Err(Malformed);
    }
    let wrapped = fields.expect(der::context(0))?;
    fields.end()?;
    Ok(Reader::only(wrapped.content, der::OCTET_STRING)?.content)
}

type Imprint<'a> = (Hash, &'a [u8]);

/// Time and message imprint of a TSTInfo.
fn info(content: &[u8]) -> der::Result<(Timestamp, Imprint<'_>)> {
    let mut fields = Reader::new(Reader::only(content, der::SEQUENCE)?.content);
    if fields.small()? != 1 {
        return Err(Malformed);
    }
    fields.oid()?;
    let mut imprint = fields.inside(der::SEQUENCE)?;
    let hash = Hash::of_identifier(imprint.inside(der::SEQUENCE)?.remaining())?;
    let digest = imprint.octets()?;
    imprint.end()?;
    fields.integer()?;
    let at = der::time(fields.expect(der::GENERALIZED_TIME)?)?;
    // Accuracy, ordering, nonce, name and extensions: in this order, none of them decides.
    fields.optional(der::SEQUENCE)?;
    fields.is_true()?;
    fields.optional(der::INTEGER)?;
    fields.optional(der::context(0))?;
    fields.optional(der::context(1))?;
    fields.end()?;
    Ok((at, (hash, digest)))
}

fn certificates(bytes: &[u8]) -> der::Result<Vec<Certificate<'_>>> {
    let mut list = Reader::new(bytes);
    let mut found = Vec::new();
    while !list.is_empty() {
        if found.len() == CERTIFICATES_MAX {
            return Err(Malformed);
        }
        // One that isn't understood is as good as one that isn't there.
        if let Ok(certificate) = Certificate::parse(list.next()?.whole) {
            found.push(certificate);
        }
    }
    Ok(found)
}

fn identifier<'a>(signer: &mut Reader<'a>) -> der::Result<Signer<'a>> {
    if let Some(id) = signer.optional(der::context_primitive(0))? {
        return Ok(Signer::KeyIdentifier(id.content));
    }
    let mut fields = signer.inside(der::SEQUENCE)?;
    let issuer = fields.expect(der::SEQUENCE)?.whole;
    let serial = fields.integer()?;
    fields.end()?;
    Ok(Signer::IssuerAndSerial { issuer, serial })
}

/// Name and one value of each attribute; no name stands twice.
fn attributes(bytes: &[u8]) -> der::Result<Vec<(&[u8], &[u8])>> {
    let mut list = Reader::new(bytes);
    let mut found: Vec<(&[u8], &[u8])> = Vec::new();
    while !list.is_empty() {
        let mut attribute = list.inside(der::SEQUENCE)?;
        let oid = attribute.oid()?;
        let values = attribute.expect(der::SET)?;
        attribute.end()?;
        if found.iter().any(|(other, _)| *other == oid) {
            return Err(Malformed);
        }
        found.push((oid, values.content));
    }
    Ok(found)
}
