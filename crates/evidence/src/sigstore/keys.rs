//! Public keys of Sigstore's trusted roots, certificates and managed keys, and what they verify, through aws-lc-rs.
//!
//! Deliberately not [`crate::PublicKey`]: those are Proofmark's own, of two algorithms. Start reading at [`VerifyingKey`].

use aws_lc_rs::signature::{self as aws, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::der::{self, Malformed, Reader};
use crate::Digest;

const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];
const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
const RSA_PSS: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a];
const RSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0b];
const RSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0c];
const RSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0d];
const MGF1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08];
const ECDSA_SHA256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
const ECDSA_SHA384: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x03];
const ECDSA_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x04];
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
const SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];
const SHA384: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02];
const SHA512: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03];

/// A hash function of the SHA-2 family (FIPS 180-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    /// Name as in-toto and Rekor v1 write it.
    pub fn name(self) -> &'static str {
        match self {
            Hash::Sha256 => "sha256",
            Hash::Sha384 => "sha384",
            Hash::Sha512 => "sha512",
        }
    }

    /// Bytes of a digest.
    pub fn size(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    pub fn of(self, bytes: &[u8]) -> Vec<u8> {
        aws_lc_rs::digest::digest(self.algorithm(), bytes).as_ref().to_vec()
    }

    pub(super) fn algorithm(self) -> &'static aws_lc_rs::digest::Algorithm {
        match self {
            Hash::Sha256 => &aws_lc_rs::digest::SHA256,
            Hash::Sha384 => &aws_lc_rs::digest::SHA384,
            Hash::Sha512 => &aws_lc_rs::digest::SHA512,
        }
    }

    /// From `HashAlgorithm` of Sigstore's common protobuf, or the names of Rekor v1.
    pub(super) fn named(name: &str) -> Option<Hash> {
        match name {
            "SHA2_256" | "sha256" => Some(Hash::Sha256),
            "SHA2_384" | "sha384" => Some(Hash::Sha384),
            "SHA2_512" | "sha512" => Some(Hash::Sha512),
            _ => None,
        }
    }

    fn of_oid(oid: &[u8]) -> Option<Hash> {
        match oid {
            SHA256 => Some(Hash::Sha256),
            SHA384 => Some(Hash::Sha384),
            SHA512 => Some(Hash::Sha512),
            _ => None,
        }
    }

    /// Of an AlgorithmIdentifier without parameters, or with NULL.
    pub(super) fn of_identifier(identifier: &[u8]) -> der::Result<Hash> {
        let mut fields = Reader::new(identifier);
        let hash = Hash::of_oid(fields.oid()?).ok_or(Malformed)?;
        no_parameters(fields)?;
        Ok(hash)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    P256,
    P384,
    P521,
    Ed25519,
    Rsa,
}

/// How a signature is made with a key: which padding, which hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    Ecdsa(Hash),
    Pkcs1(Hash),
    Pss(Hash),
    Ed25519,
}

impl Scheme {
    /// Of a signature's AlgorithmIdentifier (RFC 5758, RFC 4055, RFC 8410). In CMS the hash may stand apart from it.
    pub fn of_identifier(identifier: &[u8], digest: Option<Hash>) -> der::Result<Scheme> {
        let mut fields = Reader::new(identifier);
        let oid = fields.oid()?;
        if oid == RSA_PSS {
            return pss_parameters(fields).map(Scheme::Pss);
        }
        let scheme = match (oid, digest) {
            (ECDSA_SHA256, _) => Scheme::Ecdsa(Hash::Sha256),
            (ECDSA_SHA384, _) => Scheme::Ecdsa(Hash::Sha384),
            (ECDSA_SHA512, _) => Scheme::Ecdsa(Hash::Sha512),
            (RSA_SHA256, _) => Scheme::Pkcs1(Hash::Sha256),
            (RSA_SHA384, _) => Scheme::Pkcs1(Hash::Sha384),
            (RSA_SHA512, _) => Scheme::Pkcs1(Hash::Sha512),
            (RSA_ENCRYPTION, Some(hash)) => Scheme::Pkcs1(hash),
            (ED25519, _) => Scheme::Ed25519,
            _ => return Err(Malformed),
        };
        no_parameters(fields)?;
        Ok(scheme)
    }
}

fn no_parameters(mut fields: Reader<'_>) -> der::Result<()> {
    const NULL: u8 = 0x05;
    match fields.optional(NULL)? {
        Some(null) if !null.content.is_empty() => Err(Malformed),
        _ => fields.end(),
    }
}

/// `RSASSA-PSS-params` with one hash for everything and a salt of its length; the defaults (SHA-1) are refused.
fn pss_parameters(mut fields: Reader<'_>) -> der::Result<Hash> {
    let mut parameters = fields.inside(der::SEQUENCE)?;
    fields.end()?;
    let hash = Hash::of_identifier(parameters.inside(der::context(0))?.inside(der::SEQUENCE)?.remaining())?;
    let mut mask = parameters.inside(der::context(1))?.inside(der::SEQUENCE)?;
    if mask.oid()? != MGF1 || Hash::of_identifier(mask.inside(der::SEQUENCE)?.remaining())? != hash {
        return Err(Malformed);
    }
    let salt = parameters.inside(der::context(2))?.small()?;
    parameters.end()?;
    if salt as usize == hash.size() {
        Ok(hash)
    } else {
        Err(Malformed)
    }
}

/// A public key that signatures are held against. It says nothing about whose it is.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey {
    kind: Kind,
    /// SubjectPublicKeyInfo (RFC 5280), or for RSA also RSAPublicKey (RFC 8017).
    der: Vec<u8>,
}

impl VerifyingKey {
    /// A key in PEM, `PUBLIC KEY`.
    pub fn from_pem(text: &str) -> Option<VerifyingKey> {
        Self::from_spki(&pem(text, "PUBLIC KEY")?).ok()
    }

    /// SHA-256 over its DER, in hexadecimal: how Rekor and cosign name it.
    pub fn id(&self) -> String {
        Digest::of(&self.der).hex()
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }

    pub(super) fn from_spki(spki: &[u8]) -> der::Result<VerifyingKey> {
        let mut fields = Reader::new(Reader::only(spki, der::SEQUENCE)?.content);
        let mut algorithm = fields.inside(der::SEQUENCE)?;
        let oid = algorithm.oid()?;
        let kind = match oid {
            EC_PUBLIC_KEY => match algorithm.oid()? {
                P256 => Kind::P256,
                P384 => Kind::P384,
                P521 => Kind::P521,
                _ => return Err(Malformed),
            },
            ED25519 => Kind::Ed25519,
            RSA_ENCRYPTION => Kind::Rsa,
            _ => return Err(Malformed),
        };
        no_parameters(algorithm)?;
        fields.bits()?;
        fields.end()?;
        Ok(VerifyingKey {
            kind,
            der: spki.to_vec(),
        })
    }

    /// A key of a trusted root, by its `keyDetails` (`PublicKeyDetails` of Sigstore's common protobuf).
    pub(super) fn from_details(details: &str, bytes: &[u8]) -> Option<VerifyingKey> {
        if details.starts_with("PKCS1_RSA_") {
            return Some(VerifyingKey {
                kind: Kind::Rsa,
                der: bytes.to_vec(),
            });
        }
        let key = Self::from_spki(bytes).ok()?;
        let fits = match key.kind {
            Kind::P256 => details.starts_with("PKIX_ECDSA_P256"),
            Kind::P384 => details.starts_with("PKIX_ECDSA_P384"),
            Kind::P521 => details.starts_with("PKIX_ECDSA_P521"),
            Kind::Ed25519 => details == "PKIX_ED25519",
            Kind::Rsa => details.starts_with("PKIX_RSA_"),
        };
        fits.then_some(key)
    }

    /// The raw bytes of an Ed25519 key.
    pub(super) fn ed25519(&self) -> Option<&[u8]> {
        let raw = self.der.len().checked_sub(32)?;
        (self.kind == Kind::Ed25519).then(|| &self.der[raw..])
    }

    /// Hashes a signer may have used where nothing says which: the customary one of the key first.
    pub(super) fn schemes(&self) -> &'static [Scheme] {
        match self.kind {
            Kind::P256 => &[Scheme::Ecdsa(Hash::Sha256)],
            Kind::P384 => &[Scheme::Ecdsa(Hash::Sha384), Scheme::Ecdsa(Hash::Sha256)],
            Kind::P521 => &[Scheme::Ecdsa(Hash::Sha512), Scheme::Ecdsa(Hash::Sha256)],
            Kind::Ed25519 => &[Scheme::Ed25519],
            Kind::Rsa => &[Scheme::Pkcs1(Hash::Sha256), Scheme::Pss(Hash::Sha256)],
        }
    }

    /// The hash its signer takes unless told otherwise; Ed25519 hashes for itself.
    pub(super) fn customary_hash(&self) -> Option<Hash> {
        self.schemes().first().and_then(|scheme| scheme.hash())
    }

    /// Whether `signature` over `message` is by this key, under any customary scheme.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.schemes()
            .iter()
            .any(|scheme| self.verifies_as(*scheme, message, signature))
    }

    pub(super) fn verifies_as(&self, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
        match self.algorithm(scheme) {
            Some(Verifier::Ec(algorithm)) => UnparsedPublicKey::new(algorithm, &self.der).verify(message, signature),
            Some(Verifier::Rsa(algorithm)) => UnparsedPublicKey::new(algorithm, &self.der).verify(message, signature),
            Some(Verifier::Ed25519) => UnparsedPublicKey::new(&aws::ED25519, &self.der).verify(message, signature),
            None => return false,
        }
        .is_ok()
    }

    /// As [`VerifyingKey::verifies`], over the digest of a message that is not at hand. Ed25519 can't.
    pub(super) fn verifies_digest(&self, hash: Hash, digest: &[u8], signature: &[u8]) -> bool {
        let Ok(digest) = aws_lc_rs::digest::Digest::import_less_safe(digest, hash.algorithm()) else {
            return false;
        };
        let schemes = self.schemes().iter().filter(|scheme| scheme.hash() == Some(hash));
        schemes.into_iter().any(|scheme| {
            match self.algorithm(*scheme) {
                Some(Verifier::Ec(algorithm)) => {
                    UnparsedPublicKey::new(algorithm, &self.der).verify_digest(&digest, signature)
                }
                Some(Verifier::Rsa(algorithm)) => {
                    UnparsedPublicKey::new(algorithm, &self.der).verify_digest(&digest, signature)
                }
                Some(Verifier::Ed25519) | None => return false,
            }
            .is_ok()
        })
    }

    fn algorithm(&self, scheme: Scheme) -> Option<Verifier> {
        use {Hash::*, Kind::*, Verifier::Ec};
        Some(match (self.kind, scheme) {
            (P256, Scheme::Ecdsa(Sha256)) => Ec(&aws::ECDSA_P256_SHA256_ASN1),
            (P256, Scheme::Ecdsa(Sha384)) => Ec(&aws::ECDSA_P256_SHA384_ASN1),
            (P256, Scheme::Ecdsa(Sha512)) => Ec(&aws::ECDSA_P256_SHA512_ASN1),
            (P384, Scheme::Ecdsa(Sha256)) => Ec(&aws::ECDSA_P384_SHA256_ASN1),
            (P384, Scheme::Ecdsa(Sha384)) => Ec(&aws::ECDSA_P384_SHA384_ASN1),
            (P384, Scheme::Ecdsa(Sha512)) => Ec(&aws::ECDSA_P384_SHA512_ASN1),
            (P521, Scheme::Ecdsa(Sha256)) => Ec(&aws::ECDSA_P521_SHA256_ASN1),
            (P521, Scheme::Ecdsa(Sha384)) => Ec(&aws::ECDSA_P521_SHA384_ASN1),
            (P521, Scheme::Ecdsa(Sha512)) => Ec(&aws::ECDSA_P521_SHA512_ASN1),
            (Rsa, Scheme::Pkcs1(Sha256)) => Verifier::Rsa(&aws::RSA_PKCS1_2048_8192_SHA256),
            (Rsa, Scheme::Pkcs1(Sha384)) => Verifier::Rsa(&aws::RSA_PKCS1_2048_8192_SHA384),
            (Rsa, Scheme::Pkcs1(Sha512)) => Verifier::Rsa(&aws::RSA_PKCS1_2048_8192_SHA512),
            (Rsa, Scheme::Pss(Sha256)) => Verifier::Rsa(&aws::RSA_PSS_2048_8192_SHA256),
            (Rsa, Scheme::Pss(Sha384)) => Verifier::Rsa(&aws::RSA_PSS_2048_8192_SHA384),
            (Rsa, Scheme::Pss(Sha512)) => Verifier::Rsa(&aws::RSA_PSS_2048_8192_SHA512),
            (Kind::Ed25519, Scheme::Ed25519) => Verifier::Ed25519,
            _ => return None,
        })
    }

    /// True when it signs messages themselves, so that a digest alone can't be verified.
    pub(super) fn needs_message(&self) -> bool {
        self.kind == Kind::Ed25519
    }

    /// True when it is of the kind that a digitally-signed struct of TLS names (RFC 5246 section 7.4.1.4.1).
    pub(super) fn tls_scheme(&self, hash: u8, signature: u8) -> Option<Scheme> {
        match (self.kind, hash, signature) {
            (Kind::P256 | Kind::P384 | Kind::P521, 4, 3) => Some(Scheme::Ecdsa(Hash::Sha256)),
            (Kind::P256 | Kind::P384 | Kind::P521, 5, 3) => Some(Scheme::Ecdsa(Hash::Sha384)),
            (Kind::P256 | Kind::P384 | Kind::P521, 6, 3) => Some(Scheme::Ecdsa(Hash::Sha512)),
            (Kind::Rsa, 4, 1) => Some(Scheme::Pkcs1(Hash::Sha256)),
            (Kind::Rsa, 5, 1) => Some(Scheme::Pkcs1(Hash::Sha384)),
            (Kind::Rsa, 6, 1) => Some(Scheme::Pkcs1(Hash::Sha512)),
            (Kind::Ed25519, 8, 7) => Some(Scheme::Ed25519),
            _ => None,
        }
    }
}

impl Scheme {
    fn hash(self) -> Option<Hash> {
        match self {
            Scheme::Ecdsa(hash) | Scheme::Pkcs1(hash) | Scheme::Pss(hash) => Some(hash),
            Scheme::Ed25519 => None,
        }
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "VerifyingKey({:?} {})", self.kind, self.id())
    }
}

enum Verifier {
    Ec(&'static aws::EcdsaVerificationAlgorithm),
    Rsa(&'static aws::RsaParameters),
    Ed25519,
}

/// The bytes of the one block `label` that `text` consists of (RFC 7468).
pub(super) fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    let body = text.trim().strip_prefix(&format!("-----BEGIN {label}-----"))?;
    let body = body.strip_suffix(&format!("-----END {label}-----"))?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(body).ok()
}
