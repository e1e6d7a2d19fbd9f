//! X.509 certificates (RFC 5280), as far as Fulcio's and time stamp authorities' need them, and chains of them.
//!
//! Deliberately not a TLS verifier: no revocation, no policies, no names of hosts. A critical extension that isn't read
//! here is refused. Start reading at [`Certificate::parse`], then [`Chain::verify`].

use super::der::{self, Element, Malformed, Reader};
use super::keys::{Scheme, VerifyingKey};
use crate::Timestamp;

const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
const KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
const EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25];
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const NAME_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x1e];
const SUBJECT_KEY_IDENTIFIER: &[u8] = &[0x55, 0x1d, 0x0e];
pub(super) const SCT_LIST: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xd6, 0x79, 0x02, 0x04, 0x02];
/// `1.3.6.1.4.1.57264.1`, Fulcio's arc.
const FULCIO: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0x83, 0xbf, 0x30, 0x01];
const FULCIO_OTHER_NAME: u8 = 7;
pub(super) const CODE_SIGNING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x03];
pub(super) const TIME_STAMPING: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x08];
const ANY_EXTENDED_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];

const EXTENSIONS_MAX: usize = 64;
const NAMES_MAX: usize = 64;
/// Certificates between a leaf and its anchor, both included.
const CHAIN_MAX: usize = 8;

/// Bit numbers of the extension `keyUsage`.
const DIGITAL_SIGNATURE: u8 = 0;
const KEY_CERT_SIGN: u8 = 5;

#[derive(Debug, Clone, Copy)]
pub(super) struct Extension<'a> {
    pub oid: &'a [u8],
    pub critical: bool,
    pub value: &'a [u8],
    whole: &'a [u8],
}

/// A certificate whose form was checked; of its signature nothing is known.
#[derive(Debug, Clone)]
pub(super) struct Certificate<'a> {
    pub der: &'a [u8],
    tbs: Element<'a>,
    pub serial: &'a [u8],
    /// A Name, its tag included.
    pub issuer: &'a [u8],
    pub subject: &'a [u8],
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub spki: &'a [u8],
    pub key: VerifyingKey,
    scheme: Scheme,
    signature: &'a [u8],
    pub extensions: Vec<Extension<'a>>,
    is_ca: bool,
    path_length: Option<u32>,
    key_usage: Option<Vec<u8>>,
    pub extended_key_usage: Option<Vec<&'a [u8]>>,
}

impl<'a> Certificate<'a> {
    pub fn parse(der: &'a [u8]) -> der::Result<Self> {
        let mut outer = Reader::new(Reader::only(der, der::SEQUENCE)?.content);
        let tbs = outer.expect(der::SEQUENCE)?;
        let algorithm = outer.expect(der::SEQUENCE)?;
        let signature = outer.bits()?;
        outer.end()?;
        let mut fields = Reader::new(tbs.content);
        // Version 3: the others have no extensions.
        let mut version = fields.inside(der::context(0))?;
        if version.small()? != 2 {
            return Err(Malformed);
        }
        version.end()?;
        let serial = fields.integer()?;
        if fields.expect(der::SEQUENCE)?.whole != algorithm.whole {
            return Err(Malformed);
        }
        let issuer = fields.expect(der::SEQUENCE)?.whole;
        let mut validity = fields.inside(der::SEQUENCE)?;
        let (not_before, not_after) = (der::time(validity.next()?)?, der::time(validity.next()?)?);
        validity.end()?;
        let subject = fields.expect(der::SEQUENCE)?.whole;
        let spki = fields.expect(der::SEQUENCE)?.whole;
        fields.optional(der::context_primitive(1))?;
        fields.optional(der::context_primitive(2))?;
        let extensions = match fields.optional(der::context(3))? {
            Some(wrapped) => extensions(Reader::only(wrapped.content, der::SEQUENCE)?.content)?,
            None => Vec::new(),
        };
        fields.end()?;
        let mut certificate = Certificate {
            der,
            tbs,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            spki,
            key: VerifyingKey::from_spki(spki)?,
            scheme: Scheme::of_identifier(algorithm.content, None)?,
            signature,
            extensions,
            is_ca: false,
            path_length: None,
            key_usage: None,
            extended_key_usage: None,
        };
        certificate.understand()?;
        Ok(certificate)
    }

    /// Reads the extensions that decide, and refuses critical ones that nobody here reads.
    fn understand(&mut self) -> der::Result<()> {
        for extension in self.extensions.clone() {
            match extension.oid {
                BASIC_CONSTRAINTS => {
                    let mut fields = Reader::new(Reader::only(extension.value, der::SEQUENCE)?.content);
                    self.is_ca = fields.is_true()?;
                    if !fields.is_empty() {
                        self.path_length = Some(fields.small()?);
                    }
                    fields.end()?;
                }
                KEY_USAGE => {
                    let bits = Reader::only(extension.value, der::BIT_STRING)?.content;
                    let (unused, bits) = bits.split_first().ok_or(Malformed)?;
                    if *unused > 7 || bits.is_empty() || bits.len() > 2 {
                        return Err(Malformed);
                    }
                    self.key_usage = Some(bits.to_vec());
                }
                EXTENDED_KEY_USAGE => {
                    let mut fields = Reader::new(Reader::only(extension.value, der::SEQUENCE)?.content);
                    let mut uses = Vec::new();
                    while !fields.is_empty() {
                        uses.push(fields.oid()?);
                    }
                    self.extended_key_usage = Some(uses);
                }
                SUBJECT_ALTERNATIVE_NAME | NAME_CONSTRAINTS => {}
                _ if extension.critical => return Err(Malformed),
                _ => {}
            }
        }
        Ok(())
    }

    pub fn extension(&self, oid: &[u8]) -> Option<&Extension<'a>> {
        self.extensions.iter().find(|extension| extension.oid == oid)
    }

    /// The value of Fulcio's extension `1.3.6.1.4.1.57264.1.NUMBER`: raw text up to number 7, DER UTF8String above
    /// (<https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md>).
    pub fn claim(&self, number: u8) -> Option<&'a str> {
        let oid = [FULCIO, &[number]].concat();
        let value = self.extension(&oid)?.value;
        let text = if number < 8 {
            value
        } else {
            Reader::only(value, der::UTF8_STRING).ok()?.content
        };
        std::str::from_utf8(text).ok()
    }

    /// The names in the subject alternative name: URIs, e-mail addresses and Fulcio's user names.
    pub fn names(&self) -> der::Result<Vec<Name<'a>>> {
        match self.extension(SUBJECT_ALTERNATIVE_NAME) {
            Some(extension) => names(Reader::only(extension.value, der::SEQUENCE)?.content),
            None => Ok(Vec::new()),
        }
    }

    pub fn subject_key_identifier(&self) -> Option<&'a [u8]> {
        let extension = self.extension(SUBJECT_KEY_IDENTIFIER)?;
        Some(Reader::only(extension.value, der::OCTET_STRING).ok()?.content)
    }

    pub fn is_ca(&self) -> bool {
        self.is_ca
    }

    pub fn is_self_issued(&self) -> bool {
        self.issuer == self.subject
    }

    pub fn is_valid_at(&self, at: Timestamp) -> bool {
        self.not_before <= at && at <= self.not_after
    }

    fn may(&self, bit: u8) -> bool {
        let usage = self.key_usage.as_deref();
        usage.is_some_and(|bits| bits[0] & (0x80 >> bit) != 0)
    }

    fn is_for(&self, use_: &[u8]) -> bool {
        let uses = self.extended_key_usage.as_ref();
        uses.is_none_or(|uses| uses.iter().any(|one| *one == use_ || *one == ANY_EXTENDED_KEY_USAGE))
    }

    pub fn is_signed_by(&self, issuer: &Certificate<'_>) -> bool {
        self.issuer == issuer.subject && issuer.key.verifies_as(self.scheme, self.tbs.whole, self.signature)
    }

    /// The TBSCertificate that a log signed: without the list of signed certificate timestamps (RFC 6962 section 3.2).
    pub fn precertificate(&self) -> Vec<u8> {
        let kept: Vec<&[u8]> = self
            .extensions
            .iter()
            .filter(|extension| extension.oid != SCT_LIST)
            .map(|e| e.whole)
            .collect();
        let kept = wrap(der::context(3), &wrap(der::SEQUENCE, &kept.concat()));
        let mut fields = Reader::new(self.tbs.content);
        let mut before = Vec::new();
        while let Ok(element) = fields.next() {
            if element.tag != der::context(3) {
                before.extend_from_slice(element.whole);
            }
        }
        before.extend_from_slice(&kept);
        wrap(der::SEQUENCE, &before)
    }
}

/// Tag, shortest length and content.
pub(super) fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        short @ 0..0x80 => out.push(short as u8),
        long => {
            let digits = long.to_be_bytes();
            let digits = &digits[digits.iter().take_while(|byte| **byte == 0).count()..];
            out.push(0x80 | digits.len() as u8);
            out.extend_from_slice(digits);
        }
    }
    out.extend_from_slice(content);
    out
}

fn extensions(bytes: &[u8]) -> der::Result<Vec<Extension<'_>>> {
    let mut list = Reader::new(bytes);
    let mut found: Vec<Extension<'_>> = Vec::new();
    while !list.is_empty() {
        let element = list.expect(der::SEQUENCE)?;
        let mut fields = Reader::new(element.content);
        let extension = Extension {
            oid: fields.oid()?,
            critical: fields.is_true()?,
            value: fields.octets()?,
            whole: element.whole,
        };
        fields.end()?;
        if found.len() == EXTENSIONS_MAX || found.iter().any(|other| other.oid == extension.oid) {
            return Err(Malformed);
        }
        found.push(extension);
    }
    Ok(found)
}

/// A GeneralName.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Name<'a> {
    Email(&'a str),
    Dns(&'a str),
    Uri(&'a str),
    /// Fulcio's otherName for user names.
    User(&'a str),
    Directory(&'a [u8]),
    Ip(&'a [u8]),
    Other(u8),
}

impl<'a> Name<'a> {
    fn of(element: Element<'a>) -> der::Result<Name<'a>> {
        let text = || std::str::from_utf8(element.content).map_err(|_| Malformed);
        Ok(match element.tag {
            0xa0 => {
                let mut fields = Reader::new(element.content);
                let oid = fields.oid()?;
                let value = fields.expect(der::context(0))?;
                fields.end()?;
                if oid == [FULCIO, &[FULCIO_OTHER_NAME]].concat() {
                    let text = Reader::only(value.content, der::UTF8_STRING)?.content;
                    Name::User(std::str::from_utf8(text).map_err(|_| Malformed)?)
                } else {
                    Name::Other(element.tag)
                }
            }
            0x81 => Name::Email(text()?),
            0x82 => Name::Dns(text()?),
            0x86 => Name::Uri(text()?),
            0xa4 => Name::Directory(Reader::only(element.content, der::SEQUENCE)?.content),
            0x87 => Name::Ip(element.content),
            other => Name::Other(other),
        })
    }

    /// As policies name it; `None` for kinds that are no identity.
    pub fn text(&self) -> Option<&'a str> {
        match self {
            Name::Email(text) | Name::Uri(text) | Name::User(text) | Name::Dns(text) => Some(text),
            Name::Directory(_) | Name::Ip(_) | Name::Other(_) => None,
        }
    }

    /// `None` when the two are of different kinds; constraints of kinds that can't be compared hold nothing.
    fn is_within(&self, constraint: &Name<'_>) -> Option<bool> {
        match (self, constraint) {
            (Name::Email(name), Name::Email(limit)) => Some(email_is_within(name, limit)),
            (Name::Dns(name), Name::Dns(limit)) => Some(host_is_within(name, limit)),
            (Name::Uri(name), Name::Uri(limit)) => {
                Some(uri_host(name).is_some_and(|host| uri_host_is_within(host, limit)))
            }
            (Name::Directory(name), Name::Directory(limit)) => Some(name.starts_with(limit)),
            (Name::Ip(name), Name::Ip(limit)) => Some(ip_is_within(name, limit)),
            (Name::User(_), Name::User(_) | Name::Other(0xa0)) => Some(false),
            (Name::Other(kind), Name::Other(other)) if kind == other => Some(false),
            _ => None,
        }
    }
}

fn names(bytes: &[u8]) -> der::Result<Vec<Name<'_>>> {
    let mut list = Reader::new(bytes);
    let mut found = Vec::new();
    while !list.is_empty() {
        if found.len() == NAMES_MAX {
            return Err(Malformed);
        }
        found.push(Name::of(list.next()?)?);
    }
    Ok(found)
}

/// Host `limit` itself or any below it; `.limit` only those below it (RFC 5280 section 4.2.1.10).
fn host_is_within(name: &str, limit: &str) -> bool {
    let (name, limit) = (name.to_ascii_lowercase(), limit.to_ascii_lowercase());
    if limit.is_empty() || name == limit {
        return true;
    }
    let below = limit.strip_prefix('.').unwrap_or(&limit);
    name.strip_suffix(below)
        .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
}

/// For URIs a host stands for itself alone, and `.host` for all below it.
fn uri_host_is_within(name: &str, limit: &str) -> bool {
    if limit.starts_with('.') {
        host_is_within(name, limit)
    } else {
        name.eq_ignore_ascii_case(limit)
    }
}

fn email_is_within(name: &str, limit: &str) -> bool {
    let Some((local, host)) = name.rsplit_once('@') else {
        return false;
    };
    match limit.rsplit_once('@') {
        Some((only, at)) => local == only && host.eq_ignore_ascii_case(at),
        None => uri_host_is_within(host, limit),
    }
}

fn uri_host(uri: &str) -> Option<&str> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let host = host.split(':').next()?;
    (!host.is_empty()).then_some(host)
}

/// `limit` is an address and a mask.
fn ip_is_within(name: &[u8], limit: &[u8]) -> bool {
    let (address, mask) = limit.split_at(limit.len() / 2);
    name.len() == address.len()
        && mask.len() == address.len()
        && name
            .iter()
            .zip(address)
            .zip(mask)
            .all(|((byte, limit), mask)| byte & mask == limit & mask)
}

/// Why a certificate isn't believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChainError {
    /// No certificate of the authority signed it.
    Unknown,
    /// It, or one above it, was not valid at the time.
    Expired,
    /// Used for something it isn't for.
    Use,
    /// A certificate above it may not issue certificates, or not so many.
    Authority,
    /// A certificate above it constrains its names.
    Names,
}

impl ChainError {
    pub fn what(self) -> &'static str {
        match self {
            ChainError::Unknown => "no certificate authority of the trusted root has issued it",
            ChainError::Expired => "a certificate of the chain was not valid then",
            ChainError::Use => "its key usage doesn't allow this",
            ChainError::Authority => "a certificate above it may not issue certificates",
            ChainError::Names => "a certificate above it constrains its names",
        }
    }
}

/// A leaf, and what it may be chained to.
pub(super) struct Chain<'c, 'a> {
    /// Certificates that may stand between; they needn't be trusted.
    pub between: &'c [Certificate<'a>],
    /// Trusted as it is.
    pub anchor: &'c Certificate<'a>,
    /// An extended key usage.
    pub purpose: &'c [u8],
}

impl<'c, 'a> Chain<'c, 'a> {
    /// The certificates above `leaf` up to the anchor, if all were valid at `at`.
    pub fn verify(&self, leaf: &Certificate<'_>, at: Timestamp) -> Result<Vec<&'c Certificate<'a>>, ChainError> {
        if leaf.is_ca || !leaf.may(DIGITAL_SIGNATURE) {
            return Err(ChainError::Use);
        }
        let uses = leaf.extended_key_usage.as_ref();
        if !uses.is_some_and(|uses| uses.contains(&self.purpose)) {
            return Err(ChainError::Use);
        }
        let path = self.path(leaf)?;
        for (below, issuer) in path.iter().enumerate() {
            if !issuer.is_ca || !issuer.may(KEY_CERT_SIGN) {
                return Err(ChainError::Authority);
            }
            let intermediates = path[..below].iter().filter(|one| !one.is_self_issued()).count();
            if issuer.path_length.is_some_and(|limit| intermediates > limit as usize) {
                return Err(ChainError::Authority);
            }
            if !issuer.is_for(self.purpose) {
                return Err(ChainError::Use);
            }
            constrain(issuer, leaf)?;
        }
        if leaf.is_valid_at(at) && path.iter().all(|issuer| issuer.is_valid_at(at)) {
            Ok(path)
        } else {
            Err(ChainError::Expired)
        }
    }

    fn path(&self, leaf: &Certificate<'_>) -> Result<Vec<&'c Certificate<'a>>, ChainError> {
        let mut path: Vec<&'c Certificate<'a>> = Vec::new();
        while path.len() < CHAIN_MAX {
            let issuer = match path.last() {
                None => self.issuer(leaf),
                Some(last) => self.issuer(last),
            };
            let issuer = issuer.ok_or(ChainError::Unknown)?;
            path.push(issuer);
            if issuer.der == self.anchor.der {
                return Ok(path);
            }
        }
        Err(ChainError::Unknown)
    }

    fn issuer(&self, certificate: &Certificate<'_>) -> Option<&'c Certificate<'a>> {
        let candidates = std::iter::once(self.anchor).chain(self.between);
        candidates.into_iter().find(|issuer| certificate.is_signed_by(issuer))
    }
}

/// Name constraints of `issuer`, held against the names of `leaf` (RFC 5280 section 4.2.1.10).
fn constrain(issuer: &Certificate<'_>, leaf: &Certificate<'_>) -> Result<(), ChainError> {
    let Some(extension) = issuer.extension(NAME_CONSTRAINTS) else {
        return Ok(());
    };
    let (permitted, excluded) = constraints(extension.value).map_err(|_| ChainError::Names)?;
    let mut names = leaf.names().map_err(|_| ChainError::Names)?;
    let subject = Reader::only(leaf.subject, der::SEQUENCE).map_err(|_| ChainError::Names)?;
    if !subject.content.is_empty() {
        names.push(Name::Directory(subject.content));
    }
    for name in names {
        let inside: Vec<bool> = permitted.iter().filter_map(|limit| name.is_within(limit)).collect();
        if !inside.is_empty() && !inside.contains(&true) {
            return Err(ChainError::Names);
        }
        // What can't be compared is taken to be excluded.
        let outside = |limit: &Name<'_>| match (name, limit) {
            (Name::Other(kind), Name::Other(other)) if kind == *other => true,
            (Name::User(_), Name::User(_) | Name::Other(0xa0)) => true,
            _ => name.is_within(limit) == Some(true),
        };
        if excluded.iter().any(outside) {
            return Err(ChainError::Names);
        }
    }
    Ok(())
}

type Subtrees<'a> = Vec<Name<'a>>;

/// Permitted and excluded subtrees.
fn constraints(value: &[u8]) -> der::Result<(Subtrees<'_>, Subtrees<'_>)> {
    let mut fields = Reader::new(Reader::only(value, der::SEQUENCE)?.content);
    let mut both = [Vec::new(), Vec::new()];
    for (number, subtrees) in both.iter_mut().enumerate() {
        let Some(list) = fields.optional(der::context(number as u8))? else {
            continue;
        };
        let mut list = Reader::new(list.content);
        while !list.is_empty() {
            let mut subtree = list.inside(der::SEQUENCE)?;
            subtrees.push(Name::of(subtree.next()?)?);
            // `minimum` and `maximum` are not used in this profile.
            subtree.end()?;
        }
    }
    fields.end()?;
    let [permitted, excluded] = both;
    Ok((permitted, excluded))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_within_constraints() {
        for (name, limit, expected) in [
            (Name::Dns("a.example.com"), Name::Dns("example.com"), Some(true)),
            (Name::Dns("example.com"), Name::Dns("example.com"), Some(true)),
            (Name::Dns("badexample.com"), Name::Dns("example.com"), Some(false)),
            (Name::Dns("example.com"), Name::Dns(".example.com"), Some(false)),
            (Name::Email("a@example.com"), Name::Email("example.com"), Some(true)),
            (Name::Email("a@b.example.com"), Name::Email("example.com"), Some(false)),
            (Name::Email("a@b.example.com"), Name::Email(".example.com"), Some(true)),
            (Name::Email("a@example.com"), Name::Email("b@example.com"), Some(false)),
            (Name::Uri("https://example.com/x"), Name::Uri("example.com"), Some(true)),
            (
                Name::Uri("https://u@example.com:1/x"),
                Name::Uri("example.com"),
                Some(true),
            ),
            (
                Name::Uri("https://a.example.com"),
                Name::Uri("example.com"),
                Some(false),
            ),
            (Name::Uri("urn:x"), Name::Uri("example.com"), Some(false)),
            (
                Name::Ip(&[10, 1, 2, 3]),
                Name::Ip(&[10, 0, 0, 0, 255, 0, 0, 0]),
                Some(true),
            ),
            (
                Name::Ip(&[11, 1, 2, 3]),
                Name::Ip(&[10, 0, 0, 0, 255, 0, 0, 0]),
                Some(false),
            ),
            (Name::Ip(&[10, 1, 2, 3]), Name::Ip(&[10]), Some(false)),
            (Name::Dns("example.com"), Name::Email("example.com"), None),
        ] {
            assert_eq!(name.is_within(&limit), expected, "{name:?} {limit:?}");
        }
    }
}
