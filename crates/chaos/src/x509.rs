//! Certificates and revocation lists that are like others but for one thing, signed with the authority's own key.
//!
//! No general X.509: what is not changed is copied byte for byte, extensions and names among it. The endpoint's private
//! key is never needed, since a certificate names its public half only. Start reading at [`Certificate::reissued`] and
//! [`revoking`].

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use evidence::Digest;
use rustls::SignatureScheme;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{AlgorithmIdentifier, CertificateDer, PrivateKeyDer, alg_id};

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT_IDENTIFIER: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed: a certificate's version, a list's extensions.
const CONTEXT_0: u8 = 0xa0;
/// `[3]`, constructed: a certificate's extensions.
const CONTEXT_3: u8 = 0xa3;
/// `[2]`: `dNSName` of a general name.
const DNS_NAME: u8 = 0x82;
/// RFC 5280, 4.2.1.6 and 4.2.1.1: 2.5.29.17 and 2.5.29.35.
const SUBJECT_ALTERNATIVE_NAME: &[u8] = &[0x55, 0x1d, 0x11];
const AUTHORITY_KEY: &[u8] = &[0x55, 0x1d, 0x23];
/// 2.5.4.3
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const FIRST_CERTIFICATE: (&str, &str) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");

/// The parts of a certificate (RFC 5280, 4.1), each as it stands in it, tag and length included.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    whole: Vec<u8>,
    serial: Vec<u8>,
    validity: Vec<u8>,
    subject: Vec<u8>,
    public_key: Vec<u8>,
    extensions: Vec<Vec<u8>>,
}

/// What a reissued certificate has of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    /// It was valid in 2000.
    Past,
    /// It will be valid in 2199.
    Future,
    /// It names another host.
    Name(&'a str),
    /// Nothing: another authority's signature is the change.
    Issuer,
}

/// Who signs.
pub(crate) struct Authority {
    /// Its name, a whole DER sequence.
    name: Vec<u8>,
    key: Key,
}

enum Key {
    Declared(Box<dyn rustls::sign::Signer>),
    /// Nobody's.
    Unknown(Box<Ed25519KeyPair>),
}

impl Certificate {
    pub(crate) fn parse(der: &[u8]) -> Option<Certificate> {
        let mut outer = Der(Der(der).expect(SEQUENCE)?);
        let mut body = Der(outer.expect(SEQUENCE)?);
        let (tag, _, mut serial) = body.next()?;
        if tag == CONTEXT_0 {
            serial = body.next()?.2;
        }
        let _algorithm = body.next()?;
        let _issuer = body.next()?;
        let validity = body.next()?.2;
        let subject = body.next()?.2;
        let public_key = body.next()?.2;
        let mut extensions = Vec::new();
        while let Some((tag, content, _)) = body.next() {
            if tag == CONTEXT_3 {
                let mut list = Der(Der(content).expect(SEQUENCE)?);
                while let Some((_, _, extension)) = list.next() {
                    extensions.push(extension.to_vec());
                }
            }
        }
        Some(Certificate {
            whole: der.to_vec(),
            serial: serial.to_vec(),
            validity: validity.to_vec(),
            subject: subject.to_vec(),
            public_key: public_key.to_vec(),
            extensions,
        })
    }

    /// Every certificate of a PEM text, in order.
    pub(crate) fn all(pem: &[u8]) -> Vec<Certificate> {
        CertificateDer::pem_slice_iter(pem)
            .filter_map(|der| Certificate::parse(&der.ok()?))
            .collect()
    }

    /// The same certificate for the same key with one change, signed by `authority`: its DER.
    pub(crate) fn reissued(&self, change: Change<'_>, authority: &Authority) -> Result<Vec<u8>, String> {
        let validity = match change {
            Change::Past => tlv(SEQUENCE, &[&time("000101000000Z"), &time("001231235959Z")]),
            Change::Future => tlv(SEQUENCE, &[&time("21990101000000Z"), &time("21991231235959Z")]),
            Change::Name(_) | Change::Issuer => self.validity.clone(),
        };
        let subject = match change {
            Change::Name(name) => named(name),
            _ => self.subject.clone(),
        };
        let mut extensions: Vec<Vec<u8>> = self.extensions.clone();
        match change {
            Change::Name(name) => {
                extensions.retain(|extension| identifier(extension) != Some(SUBJECT_ALTERNATIVE_NAME));
                extensions.push(alternative_name(name));
            }
            Change::Issuer => extensions.retain(|extension| identifier(extension) != Some(AUTHORITY_KEY)),
            Change::Past | Change::Future => {}
        }
        let serial = serial_of(&self.whole, change);
        let algorithm = tlv(SEQUENCE, &[authority.algorithm()?.as_ref()]);
        let body = tlv(
            SEQUENCE,
            &[
                &tlv(CONTEXT_0, &[&tlv(INTEGER, &[&[2]])]),
                &serial,
                &algorithm,
                &authority.name,
                &validity,
                &subject,
                &self.public_key,
                &tlv(CONTEXT_3, &[&tlv(SEQUENCE, &[&extensions.concat()])]),
            ],
        );
        authority.seal(&body, &algorithm)
    }
}

/// The revocation list `list` with one more entry: `revoked`. What else is in it stays as it is, its number and its
/// times among it, so that putting the earlier one back goes back to nothing older.
pub(crate) fn revoking(list: &[u8], revoked: &Certificate, authority: &Authority) -> Result<Vec<u8>, String> {
    let broken = "the revocation list can't be read";
    let mut outer = Der(Der(list).expect(SEQUENCE).ok_or(broken)?);
    let mut body = Der(outer.expect(SEQUENCE).ok_or(broken)?);
    let algorithm = tlv(SEQUENCE, &[authority.algorithm()?.as_ref()]);
    let mut parts: Vec<Vec<u8>> = Vec::new();
    let (mut entries, mut extensions): (Vec<u8>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut times: Vec<&[u8]> = Vec::new();
    while let Some((tag, content, whole)) = body.next() {
        match tag {
            INTEGER => parts.push(whole.to_vec()),
            UTC_TIME | GENERALIZED_TIME => times.push(whole),
            // Algorithm and issuer come before the times, the entries behind them.
            SEQUENCE if !times.is_empty() => entries.extend_from_slice(content),
            CONTEXT_0 => extensions.extend_from_slice(whole),
            _ => {}
        }
    }
    let this_update = *times.first().ok_or(broken)?;
    entries.extend(tlv(SEQUENCE, &[&revoked.serial, this_update]));
    parts.extend([algorithm.clone(), authority.name.clone()]);
    parts.push(times.concat());
    parts.push(tlv(SEQUENCE, &[&entries]));
    parts.push(extensions);
    let body = tlv(SEQUENCE, &[&parts.concat()]);
    authority.seal(&body, &algorithm)
}

impl Authority {
    /// The one of `certificates` whose key stands in `key_pem`.
    pub(crate) fn declared(key_pem: &[u8], certificates: &[Certificate]) -> Result<Authority, String> {
        let key = PrivateKeyDer::from_pem_slice(key_pem).map_err(|_| "`issuer_key_file` has no private key")?;
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key)
            .map_err(|_| "the key of `issuer_key_file` is of a kind that is not supported")?;
        let public = key
            .public_key()
            .ok_or("the key of `issuer_key_file` has no public half")?;
        let own = certificates
            .iter()
            .find(|certificate| certificate.public_key == public.as_ref())
            .ok_or("no certificate of `ca_file` or `certificate_file` belongs to the key of `issuer_key_file`")?;
        let schemes = [
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
            SignatureScheme::ECDSA_NISTP521_SHA512,
            SignatureScheme::RSA_PKCS1_SHA256,
            SignatureScheme::ED25519,
        ];
        let signer = key
            .choose_scheme(&schemes)
            .ok_or("the key of `issuer_key_file` signs in no way that is supported")?;
        Ok(Authority {
            name: own.subject.clone(),
            key: Key::Declared(signer),
        })
    }

    /// An authority that nobody has ever trusted. That its key can be computed by everybody is no loss.
    pub(crate) fn unknown() -> Result<Authority, String> {
        let seed = Digest::of(b"proofmark: an authority that nobody trusts").hex();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed.as_bytes()[..32]).map_err(|_| "no key could be made")?;
        debug_assert_eq!(pair.public_key().as_ref().len(), 32);
        Ok(Authority {
            name: named("proofmark untrusted authority"),
            key: Key::Unknown(Box::new(pair)),
        })
    }

    fn algorithm(&self) -> Result<AlgorithmIdentifier, String> {
        let Key::Declared(signer) = &self.key else {
            return Ok(alg_id::ED25519);
        };
        match signer.scheme() {
            SignatureScheme::ECDSA_NISTP256_SHA256 => Ok(alg_id::ECDSA_SHA256),
            SignatureScheme::ECDSA_NISTP384_SHA384 => Ok(alg_id::ECDSA_SHA384),
            SignatureScheme::ECDSA_NISTP521_SHA512 => Ok(alg_id::ECDSA_SHA512),
            SignatureScheme::RSA_PKCS1_SHA256 => Ok(alg_id::RSA_PKCS1_SHA256),
            SignatureScheme::ED25519 => Ok(alg_id::ED25519),
            other => Err(format!("{other:?} is no way to sign a certificate here")),
        }
    }

    /// `body`, how it is signed, and the signature (RFC 5280, 4.1.1).
    fn seal(&self, body: &[u8], algorithm: &[u8]) -> Result<Vec<u8>, String> {
        let signature = match &self.key {
            Key::Declared(signer) => signer
                .sign(body)
                .map_err(|_| "the key of `issuer_key_file` does not sign")?,
            Key::Unknown(pair) => pair.sign(body).as_ref().to_vec(),
        };
        Ok(tlv(SEQUENCE, &[body, algorithm, &tlv(BIT_STRING, &[&[0], &signature])]))
    }
}

/// DER as PEM (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .map(|at| &text[at..text.len().min(at + 64)])
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// A PEM text with another first certificate; everything else, a key that stands in the same file among it, stays.
pub(crate) fn with_first(text: &[u8], certificate: &[u8]) -> Option<Vec<u8>> {
    let (begin, end) = FIRST_CERTIFICATE;
    let from = find(text, begin)?;
    let to = from + find(&text[from..], end)? + end.len();
    let new = pem("CERTIFICATE", certificate);
    Some([&text[..from], new.trim_end().as_bytes(), &text[to..]].concat())
}

fn find(text: &[u8], part: &str) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part.as_bytes())
}

/// A name with a common name only.
fn named(name: &str) -> Vec<u8> {
    let attribute = tlv(
        SEQUENCE,
        &[
            &tlv(OBJECT_IDENTIFIER, &[COMMON_NAME]),
            &tlv(UTF8_STRING, &[name.as_bytes()]),
        ],
    );
    tlv(SEQUENCE, &[&tlv(SET, &[&attribute])])
}

fn alternative_name(name: &str) -> Vec<u8> {
    let names = tlv(SEQUENCE, &[&tlv(DNS_NAME, &[name.as_bytes()])]);
    tlv(
        SEQUENCE,
        &[
            &tlv(OBJECT_IDENTIFIER, &[SUBJECT_ALTERNATIVE_NAME]),
            &tlv(OCTET_STRING, &[&names]),
        ],
    )
}

/// UTCTime with a year of two digits, GeneralizedTime with one of four.
fn time(text: &str) -> Vec<u8> {
    let tag = if text.len() == 13 { UTC_TIME } else { GENERALIZED_TIME };
    tlv(tag, &[text.as_bytes()])
}

/// A serial number that no other certificate has: 16 bytes, positive.
fn serial_of(certificate: &[u8], change: Change<'_>) -> Vec<u8> {
    let digest = Digest::of(&[certificate, format!("{change:?}").as_bytes()].concat()).hex();
    let mut bytes: Vec<u8> = digest.as_bytes().chunks(2).take(16).map(hex_byte).collect();
    bytes[0] = (bytes[0] & 0x7f) | 0x40;
    tlv(INTEGER, &[&bytes])
}

fn hex_byte(pair: &[u8]) -> u8 {
    pair.iter().fold(0, |byte, digit| {
        byte << 4 | u8::try_from(char::from(*digit).to_digit(16).unwrap_or(0)).unwrap_or(0)
    })
}

/// Which extension one is.
fn identifier(extension: &[u8]) -> Option<&[u8]> {
    Der(Der(extension).expect(SEQUENCE)?).expect(OBJECT_IDENTIFIER)
}

/// One element: tag, length, contents.
fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut bytes = vec![tag];
    if let Ok(short @ 0..=0x7f) = u8::try_from(length) {
        bytes.push(short);
    } else {
        let long = length.to_be_bytes();
        let long = &long[long.iter().take_while(|byte| **byte == 0).count()..];
        bytes.push(0x80 | u8::try_from(long.len()).unwrap_or(0));
        bytes.extend_from_slice(long);
    }
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

/// What is left of a run of elements.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    /// Tag, contents, and the element as a whole.
    fn next(&mut self) -> Option<(u8, &'a [u8], &'a [u8])> {
        let all = self.0;
        let (&tag, &first) = (all.first()?, all.get(1)?);
        let (header, length) = if first < 0x80 {
            (2, usize::from(first))
        } else {
            let count = usize::from(first & 0x7f);
            if !(1..=4).contains(&count) {
                return None;
            }
            let bytes = all.get(2..2 + count)?;
            (
                2 + count,
                bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)),
            )
        };
        let whole = all.get(..header + length)?;
        self.0 = &all[header + length..];
        Some((tag, &whole[header..], whole))
    }

    /// The contents of the next element, which has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next()
            .filter(|(found, _, _)| *found == tag)
            .map(|(_, content, _)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_shortest() {
        let of = |length: usize| tlv(OCTET_STRING, &[&vec![7; length]])[1..4].to_vec();
        assert_eq!(of(127)[0], 127);
        assert_eq!(of(128)[..2], [0x81, 128]);
        assert_eq!(of(256), [0x82, 1, 0]);
    }

    #[test]
    fn what_is_cut_short_is_no_certificate() {
        let name = named("x");
        for length in 0..name.len() {
            assert!(Der(&name[..length]).next().is_none());
            assert!(Certificate::parse(&name[..length]).is_none());
        }
        assert!(Certificate::parse(&name).is_none());
    }

    #[test]
    fn the_first_certificate_is_replaced_and_nothing_else() {
        let text = "key\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nrest\n";
        let new = with_first(text.as_bytes(), &[1, 2, 3]).unwrap();
        assert_eq!(
            String::from_utf8(new).unwrap(),
            "key\n-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\nrest\n"
        );
        assert_eq!(with_first(b"no certificate", &[1]), None);
    }
}
