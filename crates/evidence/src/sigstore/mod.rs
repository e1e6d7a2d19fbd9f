//! Sigstore: bundles of other people's and of our own making, verified offline.
//!
//! Trusted root, bundle, artifact, policy and time are arguments; what comes back is [`VerifiedBundle`], or a [`Refusal`] that
//! names the first check that failed, the key and what to do. A refusal is three-valued: what is wrong fails, what is
//! lacking (a log entry, a key, a time) is indeterminate and says what is lacking.
//!
//! Order of the checks ([`Check`]): sizes and form; key material; the signature over the exact bytes; only then the payload, its
//! predicate type and its subject; who may sign; when it was signed; the certificate at that time and its SCTs; the log;
//! and whether all of that is enough.
//!
//! Deliberately not here: TUF, revocation, anything online. Start reading at [`verify`], then `verify.rs`.

mod bundle;
mod ct;
mod der;
mod json;
mod keys;
mod read;
mod rekor;
mod root;
mod tsp;
mod verify;
mod x509;

pub use bundle::SigstoreBundle;
pub use keys::{Hash, VerifyingKey};
pub use read::{Attestation, read};
pub use root::{TrustedRoot, TrustedRootError};
pub use verify::{
    Artifact, Check, Claims, Entry, Identity, Passed, Policy, ProvenTime, Refusal, Signer, TimeSource, VerifiedBundle,
    Who, verify,
};
