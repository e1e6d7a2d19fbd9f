//! Nothing is believed before [`Verified`], nothing gates before [`Logged`]. Each has one constructor.

use std::collections::BTreeSet;
use std::ops::Deref;

use crate::{
    Checkpoint, Digest, Envelope, InclusionProof, KeyId, Leaf, NoteError, PAYLOAD_TYPE_IN_TOTO, ProofError, Role,
    STATEMENT_TYPE, Statement, Timestamp, TrustRoot, from_canonical, pae, signed_bytes, verify_inclusion,
};

/// A `T` whose signatures were checked against a trust root, and by whom it was signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified<T> {
    // INVARIANT: no field is public and none is ever changed, so that holding one is proof that it was checked.
    value: T,
    signers: Vec<KeyId>,
    role: Role,
    trust_root: Digest,
    at: Timestamp,
    digest: Digest,
    leaf: Leaf,
}

/// A verified `T` that stands in the log the trust root names.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged<T> {
    // INVARIANT: as for `Verified`.
    value: T,
    index: u64,
    size: u64,
}

/// The first check that failed, with the key or role and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    #[error("payload type is `{0}`, `{PAYLOAD_TYPE_IN_TOTO}` is expected")]
    PayloadType(String),
    #[error("key `{0}` signs twice in one envelope")]
    RepeatedKey(KeyId),
    #[error("signature of key `{0}` does not hold over the exact bytes")]
    Signature(KeyId),
    #[error(
        "{valid} of {threshold} signatures needed of role `{role}`: key `{missing}` or another of its algorithm has not signed"
    )]
    Threshold {
        role: &'static str,
        valid: u32,
        threshold: u32,
        missing: String,
    },
    #[error("payload is not a canonical in-toto statement: {0}")]
    Statement(String),
    #[error("no role of the trust root may sign predicate `{0}`")]
    NotAllowed(String),
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    #[error("log proof: {0}")]
    Proof(#[from] ProofError),
    #[error("log proof is for tree size {proof}, the checkpoint has {checkpoint}")]
    Size { proof: u64, checkpoint: u64 },
}

impl Verified<()> {
    /// The one constructor: who signed `payload` in `envelope`, as which role, and does it suffice.
    fn signatures(envelope: &Envelope, role: Role, root: &TrustRoot) -> Result<Vec<KeyId>, VerifyError> {
        let message = pae(&envelope.payload_type, &envelope.payload);
        let keys = root.roles.get(&role);
        let mut seen = BTreeSet::new();
        let mut algorithms = BTreeSet::new();
        let mut signers = Vec::new();
        for signature in &envelope.signatures {
            if !seen.insert(&signature.keyid) {
                return Err(VerifyError::RepeatedKey(signature.keyid.clone()));
            }
            let listed = keys.is_some_and(|keys| keys.keys.contains(&signature.keyid));
            let Some(key) = root.keys.get(&signature.keyid).filter(|_| listed) else {
                return Err(VerifyError::Signature(signature.keyid.clone()));
            };
            if !key.verifies(&signed_bytes(key.algorithm, &message), &signature.sig) {
                return Err(VerifyError::Signature(signature.keyid.clone()));
            }
            algorithms.insert(key.algorithm);
            signers.push(signature.keyid.clone());
        }
        let threshold = keys.map_or(u32::MAX, |keys| keys.threshold);
        let missing = root.keys_of(role).find(|(_, key)| !algorithms.contains(&key.algorithm));
        if (signers.len() as u32) < threshold || missing.is_some() {
            return Err(VerifyError::Threshold {
                role: role.name(),
                valid: signers.len() as u32,
                threshold,
                missing: missing.map_or_else(|| "any".to_owned(), |(id, _)| id.0.clone()),
            });
        }
        Ok(signers)
    }
}

impl<T> Verified<T> {
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Keys whose signatures hold.
    pub fn signers(&self) -> &[KeyId] {
        &self.signers
    }

    /// The role they signed as.
    pub fn role(&self) -> Role {
        self.role
    }

    /// The trust root it was held against.
    pub fn trust_root(&self) -> Digest {
        self.trust_root
    }

    /// When it was checked.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// SHA-256 over the PAE of what was signed (envelopes), or over the whole signed note (checkpoints).
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

impl Verified<Statement> {
    /// Checks an envelope: signatures over the exact bytes first, then the form, then who may sign what.
    pub fn statement(envelope: &Envelope, root: &TrustRoot, at: Timestamp) -> Result<Self, VerifyError> {
        if envelope.payload_type != PAYLOAD_TYPE_IN_TOTO {
            return Err(VerifyError::PayloadType(envelope.payload_type.clone()));
        }
        // The role follows from the signer, so that nothing unsigned is parsed to find it.
        let role = signing_role(envelope, root)?;
        let signers = Verified::signatures(envelope, role, root)?;
        let statement: Statement =
            from_canonical(&envelope.payload).map_err(|error| VerifyError::Statement(error.to_string()))?;
        if statement.kind != STATEMENT_TYPE {
            return Err(VerifyError::Statement(format!("_type is `{}`", statement.kind)));
        }
        let allowed = root
            .allow
            .iter()
            .any(|allow| allow.role == role && allow.predicates.contains(&statement.predicate_type));
        if !allowed {
            return Err(VerifyError::NotAllowed(statement.predicate_type));
        }
        Ok(Verified {
            value: statement,
            signers,
            role,
            trust_root: root.digest(),
            at,
            digest: envelope.pae_digest(),
            leaf: Leaf::of(envelope),
        })
    }
}

impl Verified<Vec<u8>> {
    /// Checks an envelope of another payload type than in-toto, signed by `role`: the manifest of a bundle.
    pub fn payload(
        envelope: &Envelope,
        payload_type: &str,
        role: Role,
        root: &TrustRoot,
        at: Timestamp,
    ) -> Result<Self, VerifyError> {
        if envelope.payload_type != payload_type {
            return Err(VerifyError::PayloadType(envelope.payload_type.clone()));
        }
        let signers = Verified::signatures(envelope, role, root)?;
        Ok(Verified {
            value: envelope.payload.clone(),
            signers,
            role,
            trust_root: root.digest(),
            at,
            digest: envelope.pae_digest(),
            leaf: Leaf::of(envelope),
        })
    }
}

impl Verified<Checkpoint> {
    /// Checks a signed checkpoint against the log the trust root names.
    pub fn checkpoint(note: &str, root: &TrustRoot, at: Timestamp) -> Result<Self, VerifyError> {
        let key = root.keys.get(&root.log.key).ok_or(NoteError::Unsigned)?;
        let checkpoint = Checkpoint::open(note, &root.log.origin, key)?;
        Ok(Verified {
            value: checkpoint,
            signers: vec![root.log.key.clone()],
            role: Role::Log,
            trust_root: root.digest(),
            at,
            digest: Digest::of(note.as_bytes()),
            leaf: Leaf(Vec::new()),
        })
    }
}

impl<T> Logged<Verified<T>> {
    /// The one constructor: the leaf that follows from what was verified stands in the log at `proof.index`.
    pub fn prove(
        verified: Verified<T>,
        proof: &InclusionProof,
        checkpoint: &Verified<Checkpoint>,
    ) -> Result<Self, VerifyError> {
        if proof.size != checkpoint.value.size {
            return Err(VerifyError::Size {
                proof: proof.size,
                checkpoint: checkpoint.value.size,
            });
        }
        verify_inclusion(&verified.leaf.hash(), proof, &checkpoint.value.root)?;
        Ok(Logged {
            value: verified,
            index: proof.index,
            size: proof.size,
        })
    }

    pub fn verified(&self) -> &Verified<T> {
        &self.value
    }

    /// Where it stands in the log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Size of the checkpoint it was proved against.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl<T> Deref for Logged<Verified<T>> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value.value
    }
}

/// The one role whose keys signed; signatures of several roles in one envelope are refused.
fn signing_role(envelope: &Envelope, root: &TrustRoot) -> Result<Role, VerifyError> {
    let first = envelope.signatures.first().ok_or(VerifyError::Threshold {
        role: "any",
        valid: 0,
        threshold: 1,
        missing: "any".to_owned(),
    })?;
    root.roles
        .iter()
        .find(|(_, keys)| keys.keys.contains(&first.keyid))
        .map(|(role, _)| *role)
        .ok_or_else(|| VerifyError::Signature(first.keyid.clone()))
}
