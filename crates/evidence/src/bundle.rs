//! The bundle: everything needed to check a release offline, closed by a signed manifest.
//!
//! Layout (paths within the bundle directory):
//!
//! ```text
//! manifest.dsse.json        envelope of the Manifest, signed by the role `gate`
//! checkpoint                signed checkpoint of the log
//! statements/000017.json    LoggedEnvelope: an envelope and its inclusion proof, named after its log index
//! summary.md …              anything else the manifest lists
//! ```
//!
//! A bundle is closed: a file the manifest doesn't list, one it lists that is not there, or one byte that
//! differs is refused. Manifest and statements are accepted only in canonical JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    CanonicalError, Checkpoint, Digest, Envelope, EnvelopeError, InclusionProof, KeyError, Logged, Role, Signer,
    Statement, Timestamp, TrustRoot, Verified, VerifyError, from_canonical, to_canonical,
};

/// Where the manifest stands.
pub const MANIFEST_PATH: &str = "manifest.dsse.json";
const CHECKPOINT_PATH: &str = "checkpoint";
const MANIFEST_TYPE: &str = "application/vnd.proofmark.bundle-manifest.v1+json";

/// The files of a bundle by path; whoever does I/O reads and writes them.
pub type BundleFiles = BTreeMap<String, Vec<u8>>;

/// What the bundle holds: the SHA-256 of every file but the manifest itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    pub version: u32,
    pub attempt: Digest,
    pub files: BTreeMap<String, Digest>,
}

/// An envelope and the proof that the log holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoggedEnvelope {
    pub envelope: Envelope,
    pub proof: InclusionProof,
}

/// A bundle of which every byte was accounted for.
#[derive(Debug)]
pub struct CheckedBundle {
    pub manifest: Manifest,
    pub checkpoint: Verified<Checkpoint>,
    /// In order of log index.
    pub statements: Vec<Logged<Verified<Statement>>>,
}

/// The first thing wrong with a bundle, and the file it is in.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error("{path}: missing from the bundle")]
    Missing { path: String },
    #[error("{path}: not listed in the manifest")]
    Unlisted { path: String },
    #[error("{path}: content differs from the manifest's digest")]
    Changed { path: String },
    #[error("{path}: {error}")]
    Form { path: String, error: CanonicalError },
    #[error("{path}: {error}")]
    Envelope { path: String, error: EnvelopeError },
    #[error("{path}: {error}")]
    Refused { path: String, error: VerifyError },
    #[error("{path}: manifest has version {version}, this program reads version 1")]
    Version { path: String, version: u32 },
    #[error("{path}: is named after another log index than its proof's ({index})")]
    Name { path: String, index: u64 },
    #[error("{path}: is not UTF-8")]
    Text { path: String },
}

impl CheckedBundle {
    /// Lays out and closes a bundle. `others` are files beside the statements (`summary.md`).
    pub fn write(
        attempt: Digest,
        checkpoint: &str,
        statements: &[LoggedEnvelope],
        others: BundleFiles,
        gate: &[&dyn Signer],
    ) -> Result<BundleFiles, KeyError> {
        let mut files = others;
        files.insert(CHECKPOINT_PATH.to_owned(), checkpoint.as_bytes().to_vec());
        for statement in statements {
            files.insert(statement_path(statement.proof.index), to_canonical(statement));
        }
        let manifest = Manifest {
            version: 1,
            attempt,
            files: files
                .iter()
                .map(|(path, bytes)| (path.clone(), Digest::of(bytes)))
                .collect(),
        };
        let envelope = Envelope::sign(MANIFEST_TYPE, to_canonical(&manifest), gate)?;
        files.insert(MANIFEST_PATH.to_owned(), envelope.to_bytes());
        Ok(files)
    }

    /// Checks every byte: manifest signature, closedness, digests, then each statement's signatures and log proof.
    pub fn open(files: &BundleFiles, root: &TrustRoot, at: Timestamp) -> Result<Self, BundleError> {
        let manifest = open_manifest(files, root, at)?;
        for path in files.keys().filter(|path| *path != MANIFEST_PATH) {
            if !manifest.files.contains_key(path) {
                return Err(BundleError::Unlisted { path: path.clone() });
            }
        }
        for (path, digest) in &manifest.files {
            let bytes = files
                .get(path)
                .ok_or_else(|| BundleError::Missing { path: path.clone() })?;
            if Digest::of(bytes) != *digest {
                return Err(BundleError::Changed { path: path.clone() });
            }
        }
        let checkpoint = open_checkpoint(files, root, at)?;
        let mut statements: Vec<_> = files
            .iter()
            .filter(|(path, _)| path.starts_with("statements/"))
            .map(|(path, bytes)| open_statement(path, bytes, root, &checkpoint, at))
            .collect::<Result<_, _>>()?;
        // Names have six digits only as long as the log is small: the index is a number, not a name.
        statements.sort_by_key(Logged::index);
        Ok(CheckedBundle {
            manifest,
            checkpoint,
            statements,
        })
    }
}

fn statement_path(index: u64) -> String {
    format!("statements/{index:06}.json")
}

fn file<'a>(files: &'a BundleFiles, path: &str) -> Result<&'a [u8], BundleError> {
    files
        .get(path)
        .map(Vec::as_slice)
        .ok_or_else(|| BundleError::Missing { path: path.to_owned() })
}

fn open_manifest(files: &BundleFiles, root: &TrustRoot, at: Timestamp) -> Result<Manifest, BundleError> {
    let path = || MANIFEST_PATH.to_owned();
    let envelope = Envelope::from_bytes(file(files, MANIFEST_PATH)?)
        .map_err(|error| BundleError::Envelope { path: path(), error })?;
    let payload = Verified::payload(&envelope, MANIFEST_TYPE, Role::Gate, root, at)
        .map_err(|error| BundleError::Refused { path: path(), error })?;
    let manifest: Manifest =
        from_canonical(payload.value()).map_err(|error| BundleError::Form { path: path(), error })?;
    if manifest.version != 1 {
        return Err(BundleError::Version {
            path: path(),
            version: manifest.version,
        });
    }
    Ok(manifest)
}

fn open_checkpoint(files: &BundleFiles, root: &TrustRoot, at: Timestamp) -> Result<Verified<Checkpoint>, BundleError> {
    let path = || CHECKPOINT_PATH.to_owned();
    let note = std::str::from_utf8(file(files, CHECKPOINT_PATH)?).map_err(|_| BundleError::Text { path: path() })?;
    Verified::checkpoint(note, root, at).map_err(|error| BundleError::Refused { path: path(), error })
}

fn open_statement(
    path: &str,
    bytes: &[u8],
    root: &TrustRoot,
    checkpoint: &Verified<Checkpoint>,
    at: Timestamp,
) -> Result<Logged<Verified<Statement>>, BundleError> {
    if bytes.len() > Envelope::BYTES_MAX {
        let error = EnvelopeError::TooLarge { bytes: bytes.len() };
        return Err(BundleError::Envelope {
            path: path.to_owned(),
            error,
        });
    }
    let logged: LoggedEnvelope = from_canonical(bytes).map_err(|error| BundleError::Form {
        path: path.to_owned(),
        error,
    })?;
    if statement_path(logged.proof.index) != path {
        return Err(BundleError::Name {
            path: path.to_owned(),
            index: logged.proof.index,
        });
    }
    let refused = |error| BundleError::Refused {
        path: path.to_owned(),
        error,
    };
    let verified = Verified::statement(&logged.envelope, root, at).map_err(refused)?;
    Logged::prove(verified, &logged.proof, checkpoint).map_err(refused)
}
