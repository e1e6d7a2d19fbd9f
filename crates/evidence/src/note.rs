//! Signed notes and checkpoints (C2SP signed-note and tlog-checkpoint, <https://c2sp.org/tlog-checkpoint>).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::{Digest, Hash, KeyError, PublicKey, Signer};

/// What a log commits to: its origin, its size and its root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    pub origin: String,
    pub size: u64,
    pub root: Hash,
}

/// A note as it stands in a file: text, then signature lines. Parsing says nothing about the signatures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedNote {
    /// The signed text, its last `\n` included.
    pub text: String,
    /// `(key name, key id, signature)` of each line, in order.
    pub signatures: Vec<(String, [u8; 4], Vec<u8>)>,
}

/// A note or checkpoint that is malformed or not signed by the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    #[error("checkpoint is malformed: {0}")]
    Malformed(&'static str),
    #[error("checkpoint is of log `{got}`, the trust root names `{expected}`")]
    Origin { got: String, expected: String },
    #[error("checkpoint has no valid signature of the log's key")]
    Unsigned,
}

/// `SHA-256(name || 0x0A || 0x01 || Ed25519 public key)[..4]` (C2SP signed-note).
pub fn note_key_id(name: &str, key: &PublicKey) -> [u8; 4] {
    let mut hasher = Digest::hasher();
    hasher.update(name.as_bytes());
    hasher.update(b"\n\x01");
    hasher.update(&key.bytes);
    let digest = hasher.finish();
    [digest.0[0], digest.0[1], digest.0[2], digest.0[3]]
}

/// The note of `checkpoint`, signed with the log's Ed25519 key under its origin as key name.
pub fn sign_checkpoint(checkpoint: &Checkpoint, signer: &dyn Signer) -> Result<String, KeyError> {
    let text = checkpoint.text();
    let mut blob = note_key_id(&checkpoint.origin, signer.public_key()).to_vec();
    blob.extend(signer.sign(text.as_bytes())?);
    Ok(format!(
        "{text}\n\u{2014} {} {}\n",
        checkpoint.origin,
        STANDARD.encode(blob)
    ))
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root.0))
    }

    /// Reads the text of a checkpoint; extension lines are refused, since ours has none.
    pub(crate) fn from_text(text: &str) -> Result<Self, NoteError> {
        let mut lines = text.split('\n');
        let (Some(origin), Some(size), Some(root), Some(""), None) =
            (lines.next(), lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err(NoteError::Malformed("three lines are expected"));
        };
        let parsed: u64 = size.parse().map_err(|_| NoteError::Malformed("size is not a number"))?;
        let root: [u8; 32] = STANDARD
            .decode(root)
            .ok()
            .and_then(|bytes| bytes.try_into().ok())
            .ok_or(NoteError::Malformed("root is not 32 bytes in base64"))?;
        let checkpoint = Checkpoint {
            origin: origin.to_owned(),
            size: parsed,
            root: Digest(root),
        };
        if checkpoint.text() == text {
            Ok(checkpoint)
        } else {
            Err(NoteError::Malformed("not in canonical form"))
        }
    }

    /// The checkpoint of `note` if the log `origin`, or one named below it (`origin/STORE`), signed it with `key`. Call [`Verified`](crate::Verified) instead.
    pub(crate) fn open(note: &str, origin: &str, key: &PublicKey) -> Result<Self, NoteError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Self::from_text(&note.text)?;
        let own = checkpoint
            .origin
            .strip_prefix(origin)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        if !own {
            return Err(NoteError::Origin {
                got: checkpoint.origin,
                expected: origin.to_owned(),
            });
        }
        let id = note_key_id(&checkpoint.origin, key);
        let signed = note.signatures.iter().any(|(name, key_id, signature)| {
            *name == checkpoint.origin && *key_id == id && key.verifies(note.text.as_bytes(), signature)
        });
        if signed {
            Ok(checkpoint)
        } else {
            Err(NoteError::Unsigned)
        }
    }
}

impl SignedNote {
    pub const BYTES_MAX: usize = 1 << 20;

    pub fn parse(note: &str) -> Result<Self, NoteError> {
        if note.len() > Self::BYTES_MAX {
            return Err(NoteError::Malformed("over 1 MiB"));
        }
        let split = note
            .rfind("\n\n")
            .ok_or(NoteError::Malformed("no empty line before the signatures"))?;
        let (text, rest) = (&note[..=split], &note[split + 2..]);
        let lines = rest
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("no newline at the end"))?;
        let signatures = lines.split('\n').map(parse_signature).collect::<Option<Vec<_>>>();
        let signatures = signatures.ok_or(NoteError::Malformed("a signature line is not `\u{2014} NAME BASE64`"))?;
        Ok(SignedNote {
            text: text.to_owned(),
            signatures,
        })
    }
}

fn parse_signature(line: &str) -> Option<(String, [u8; 4], Vec<u8>)> {
    let (name, blob) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    let blob = STANDARD.decode(blob).ok()?;
    let (id, signature) = blob.split_first_chunk::<4>()?;
    (!name.is_empty()).then(|| (name.to_owned(), *id, signature.to_vec()))
}
