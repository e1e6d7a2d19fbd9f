//! DSSE envelopes (<https://github.com/secure-systems-lab/dsse/blob/master/protocol.md>).

use serde::{Deserialize, Serialize};

use crate::key::base64_text;
use crate::{Algorithm, CanonicalError, Digest, KeyError, KeyId, Signer, Statement, from_canonical, to_canonical};

/// The payload type of in-toto statements.
pub const PAYLOAD_TYPE_IN_TOTO: &str = "application/vnd.in-toto+json";

/// A payload and signatures over its pre-authentication encoding. Says nothing about who may sign:
/// that is [`Verified`](crate::Verified)'s business.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Envelope {
    #[serde(with = "base64_text")]
    pub payload: Vec<u8>,
    pub payload_type: String,
    pub signatures: Vec<Signature>,
}

/// One signature and the id of the key that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub keyid: KeyId,
    #[serde(with = "base64_text")]
    pub sig: Vec<u8>,
}

impl Envelope {
    /// Upper bound of an envelope's JSON, checked before anything is parsed.
    pub const BYTES_MAX: usize = 64 << 20;

    /// Signs `payload` with every signer, in the order given.
    pub fn sign(payload_type: &str, payload: Vec<u8>, signers: &[&dyn Signer]) -> Result<Self, KeyError> {
        let message = pae(payload_type, &payload);
        let signatures = signers
            .iter()
            .map(|signer| {
                let bytes = signed_bytes(signer.public_key().algorithm, &message);
                Ok(Signature {
                    keyid: signer.public_key().id(),
                    sig: signer.sign(&bytes)?,
                })
            })
            .collect::<Result<_, KeyError>>()?;
        Ok(Envelope {
            payload,
            payload_type: payload_type.to_owned(),
            signatures,
        })
    }

    /// Signs a statement in canonical bytes.
    pub fn sign_statement(statement: &Statement, signers: &[&dyn Signer]) -> Result<Self, KeyError> {
        Self::sign(PAYLOAD_TYPE_IN_TOTO, to_canonical(statement), signers)
    }

    /// SHA-256 of the pre-authentication encoding: what the log leaf commits to.
    pub fn pae_digest(&self) -> Digest {
        Digest::of(&pae(&self.payload_type, &self.payload))
    }

    /// Canonical JSON of the whole envelope.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Reads an envelope, refusing anything but its canonical form.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(EnvelopeError::TooLarge { bytes: bytes.len() });
        }
        Ok(from_canonical(bytes)?)
    }
}

/// `DSSEv1 SP len(type) SP type SP len(payload) SP payload`.
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

/// What a key of `algorithm` signs of a pre-authentication encoding: Ed25519 signs it as it is; ML-DSA signs
/// `"tuf" 0x01 SHA-512(PAE)`, the scheme `ml-dsa-65/1` of TUF's TAP 21, so that stock clients verify it and large
/// payloads are hashed once.
pub fn signed_bytes(algorithm: Algorithm, pae: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Ed25519 => pae.to_vec(),
        Algorithm::MlDsa65 => {
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, pae);
            [b"tuf\x01", hash.as_ref()].concat()
        }
    }
}

/// The bytes are not an envelope.
#[derive(Debug, thiserror::Error)]
pub enum EnvelopeError {
    #[error("envelope of {bytes} bytes is over the limit of {} bytes", Envelope::BYTES_MAX)]
    TooLarge { bytes: usize },
    #[error("envelope: {0}")]
    Form(#[from] CanonicalError),
}
