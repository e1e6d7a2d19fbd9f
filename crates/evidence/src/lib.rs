//! The waist of Proofmark: the words every other crate speaks.
//!
//! Statements (in-toto v1), envelopes (DSSE), keys, the trust root, log proofs, findings, components and
//! verdicts. Proof checking lives here too, so that `Verified<T>` and `Logged<T>` have one constructor each.
//!
//! It deliberately does no I/O and knows no clock: bytes, time and randomness are arguments
//! ([`Storage`] is a trait; whoever has files implements it).
//!
//! Start reading at [`Statement`], then [`Envelope`], then [`Verified`] and [`Logged`].

mod bundle;
mod canonical;
mod component;
mod digest;
mod dsse;
mod finding;
mod key;
mod leaf;
pub mod lines;
mod merkle;
mod note;
mod outcome;
pub mod predicates;
pub mod sigstore;
mod stage;
mod statement;
mod storage;
mod time;
mod trust;
mod verified;

pub use bundle::{BundleError, BundleFiles, CheckedBundle, LoggedEnvelope, MANIFEST_PATH, Manifest};
pub use canonical::{CanonicalError, from_canonical, to_canonical};
pub use component::{Component, Edge, Scope};
pub use digest::{Digest, DigestParseError};
pub use dsse::{Envelope, EnvelopeError, PAYLOAD_TYPE_IN_TOTO, Signature, pae, signed_bytes};
pub use finding::{Counted, Coverage, Diagnostic, Finding, FindingId, Gap, Observation, Severity, Span};
pub use key::{Algorithm, KeyError, KeyId, MemorySigner, PublicKey, Signer, SigningPair};
pub use leaf::Leaf;
pub use merkle::{
    Hash, InclusionProof, ProofError, empty_root, leaf_hash, node_hash, root_of, verify_consistency, verify_inclusion,
};
pub use note::{Checkpoint, NoteError, SignedNote, note_key_id, sign_checkpoint};
pub use outcome::{Outcome, Preview, Reason, Verdict};
pub use stage::Stage;
pub use statement::{Context, STATEMENT_TYPE, Statement, Subject};
pub use storage::{Storage, StorageError};
pub use time::{Now, Timestamp};
pub use trust::{Allowance, ControlSpec, LogIdentity, Role, RoleKeys, TrustRoot, TrustRootError};
pub use verified::{Logged, Verified, VerifyError};
