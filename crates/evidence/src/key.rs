//! Keys and signatures: Ed25519 (RFC 8032) and ML-DSA-65 (FIPS 204, pure, empty context), through aws-lc-rs.

use std::fmt;

use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ML_DSA_65, ML_DSA_65_SIGNING, PqdsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

/// A signature algorithm Proofmark speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    #[serde(rename = "ed25519")]
    Ed25519,
    #[serde(rename = "ml-dsa-65")]
    MlDsa65,
}

impl Algorithm {
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Ed25519 => "ed25519",
            Algorithm::MlDsa65 => "ml-dsa-65",
        }
    }

    /// Bytes of a raw public key.
    pub fn public_key_bytes(self) -> usize {
        match self {
            Algorithm::Ed25519 => 32,
            Algorithm::MlDsa65 => 1952,
        }
    }
}

/// Identity of a key: the first 32 hexadecimal characters of
/// `SHA-256(algorithm name ":" raw public key)`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub String);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A raw public key and its algorithm.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PublicKey {
    pub algorithm: Algorithm,
    #[serde(rename = "public", with = "base64_text")]
    pub bytes: Vec<u8>,
}

impl PublicKey {
    pub fn id(&self) -> KeyId {
        let mut hasher = Digest::hasher();
        hasher.update(self.algorithm.name().as_bytes());
        hasher.update(b":");
        hasher.update(&self.bytes);
        KeyId(hasher.finish().hex()[..32].to_owned())
    }

    /// True when `signature` over `message` is by this key.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        if self.bytes.len() != self.algorithm.public_key_bytes() {
            return false;
        }
        match self.algorithm {
            Algorithm::Ed25519 => UnparsedPublicKey::new(&ED25519, &self.bytes).verify(message, signature),
            Algorithm::MlDsa65 => UnparsedPublicKey::new(&ML_DSA_65, &self.bytes).verify(message, signature),
        }
        .is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm.name(), self.id())
    }
}

/// Something that signs. A private key never leaves what implements this.
pub trait Signer: Send + Sync {
    fn public_key(&self) -> &PublicKey;

    /// Signs exactly `message`: callers hash or frame it first where their format says so.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError>;
}

/// The two signers of one role: what the native envelope asks for (threshold 2).
#[derive(Debug)]
pub struct SigningPair {
    pub classical: MemorySigner,
    pub post_quantum: MemorySigner,
}

impl SigningPair {
    /// Both keys of a role, each from its own 32-byte seed.
    pub fn from_seeds(ed25519: &[u8; 32], ml_dsa_65: &[u8; 32]) -> Result<Self, KeyError> {
        Ok(SigningPair {
            classical: MemorySigner::from_seed(Algorithm::Ed25519, ed25519)?,
            post_quantum: MemorySigner::from_seed(Algorithm::MlDsa65, ml_dsa_65)?,
        })
    }

    pub fn signers(&self) -> [&dyn Signer; 2] {
        [&self.classical, &self.post_quantum]
    }
}

/// A private key held in this process's memory. Whoever can read the process's memory or its seed file owns it.
pub struct MemorySigner {
    public: PublicKey,
    secret: Secret,
}

enum Secret {
    Ed25519(Ed25519KeyPair),
    MlDsa65(Box<PqdsaKeyPair>),
}

impl MemorySigner {
    /// The key that follows from a seed of 32 random bytes (RFC 8032 secret key; FIPS 204 `xi`).
    pub fn from_seed(algorithm: Algorithm, seed: &[u8; 32]) -> Result<Self, KeyError> {
        let refused = |_| KeyError::Refused(algorithm.name());
        let (secret, bytes) = match algorithm {
            Algorithm::Ed25519 => {
                let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(refused)?;
                let public = pair.public_key().as_ref().to_vec();
                (Secret::Ed25519(pair), public)
            }
            Algorithm::MlDsa65 => {
                let pair = PqdsaKeyPair::from_seed(&ML_DSA_65_SIGNING, seed).map_err(refused)?;
                let public = pair.public_key().as_ref().to_vec();
                (Secret::MlDsa65(Box::new(pair)), public)
            }
        };
        Ok(MemorySigner {
            public: PublicKey { algorithm, bytes },
            secret,
        })
    }
}

impl Signer for MemorySigner {
    fn public_key(&self) -> &PublicKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match &self.secret {
            Secret::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            Secret::MlDsa65(pair) => {
                let mut signature = vec![0; ML_DSA_65_SIGNING.signature_len()];
                let length = pair
                    .sign(message, &mut signature)
                    .map_err(|_| KeyError::Refused("ml-dsa-65"))?;
                signature.truncate(length);
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for MemorySigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemorySigner({:?})", self.public)
    }
}

/// A key or a signer refused. Never holds key material.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the {0} key was refused by the cryptographic library")]
    Refused(&'static str),
}

pub(crate) mod base64_text {
    use super::{Deserialize, Deserializer, Engine, STANDARD, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD
            .decode(String::deserialize(deserializer)?)
            .map_err(serde::de::Error::custom)
    }
}
