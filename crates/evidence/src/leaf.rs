//! Log leaf format v1.

use crate::{Digest, Envelope, Hash, leaf_hash};

/// What the log keeps of an envelope: a commitment to its pre-authentication encoding and to every signature
/// with its key, so that neither payload nor signatures can be exchanged afterwards.
///
/// Text, each line ended by `\n`:
///
/// ```text
/// proofmark-leaf-v1
/// <SHA-256 of PAE, hex>
/// <keyid> <SHA-256 of the signature, hex>      one line a signature, in the envelope's order
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leaf(pub Vec<u8>);

impl Leaf {
    pub fn of(envelope: &Envelope) -> Leaf {
        let mut text = format!("proofmark-leaf-v1\n{}\n", envelope.pae_digest());
        for signature in &envelope.signatures {
            text.push_str(&format!("{} {}\n", signature.keyid, Digest::of(&signature.sig)));
        }
        Leaf(text.into_bytes())
    }

    /// RFC 6962 leaf hash.
    pub fn hash(&self) -> Hash {
        leaf_hash(&self.0)
    }
}
