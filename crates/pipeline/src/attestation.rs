//! `verify FILE`: attestations of others, in Sigstore bundles and the envelopes registries publish them in, held offline against a
//! trusted root, an artifact and who may have signed.
//!
//! The checks are `evidence::sigstore`'s; here are the files and what the person asked. Start reading at [`verify`].

use std::path::Path;

use evidence::sigstore::{
    Artifact, Hash, Identity, Policy, Refusal, TrustedRoot, VerifiedBundle, VerifyingKey, Who, read,
};
use evidence::{Digest, Outcome, Timestamp};
use regex::Regex;

use crate::Error;

/// Artifacts over this are hashed as a stream.
const ARTIFACT_BYTES_MAX: u64 = 256 << 20;

/// What a person asks of a file of attestations.
#[derive(Debug, Default)]
pub struct Asked<'a> {
    pub trusted_root: Option<&'a Path>,
    pub artifact: Option<&'a Path>,
    /// `sha256:HEX`, `sha384:HEX` or `sha512:HEX`.
    pub digest: Option<&'a str>,
    /// Read a statement about whatever subject.
    pub any_subject: bool,
    pub identity: Option<Wanted<'a>>,
    pub issuer: Option<Wanted<'a>>,
    /// Whoever the trusted root vouches for.
    pub any_identity: bool,
    /// A public key in PEM.
    pub key: Option<&'a Path>,
    pub predicate_type: Option<&'a str>,
    pub log_entries_min: usize,
    pub scts_min: usize,
}

#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    Exact(&'a str),
    /// A regular expression for the whole of it.
    Pattern(&'a str),
}

/// What a file of attestations was found to say.
#[derive(Debug)]
pub struct Verification {
    /// The form of each attestation, and the answer.
    pub attestations: Vec<(&'static str, Result<VerifiedBundle, Refusal>)>,
    /// Attestations of another predicate type than was asked for.
    pub passed_over: usize,
    /// SHA-256 of the trusted root.
    pub trusted_root: Digest,
    pub outcome: Outcome,
}

/// Reads and checks a file of attestations.
pub fn verify(file: &Path, asked: &Asked<'_>, at: Timestamp) -> Result<Verification, Error> {
    let root = trusted_root(asked)?;
    let key = asked.key.map(key).transpose()?;
    let name = asked.identity.map(Match::of).transpose()?;
    let issuer = asked.issuer.map(Match::of).transpose()?;
    let (is_name, is_issuer);
    let who = match (&key, &name, &issuer) {
        (Some(key), None, None) if !asked.any_identity => Who::Key(key),
        (None, Some(name), Some(issuer)) if !asked.any_identity => {
            is_name = |text: &str| name.is(text);
            is_issuer = |text: &str| issuer.is(text);
            Who::Identity(Identity {
                name: &is_name,
                name_text: name.text,
                issuer: &is_issuer,
                issuer_text: issuer.text,
            })
        }
        (None, None, None) if asked.any_identity => Who::Anyone,
        _ => {
            return Err(Error::usage(
                "who may have signed is not said, or said twice",
                "give `--certificate-identity` and `--certificate-oidc-issuer`, or `--key FILE`, or `--any-identity`",
            ));
        }
    };
    let held = Held::of(asked)?;
    let policy = Policy {
        predicate_type: asked.predicate_type,
        log_entries_min: asked.log_entries_min,
        scts_min: asked.scts_min,
        ..Policy::new(who)
    };
    let bytes = std::fs::read(file).map_err(|error| Error::io("read", file, &error))?;
    let mut passed_over = 0;
    let attestations = match read(&bytes) {
        Err(refusal) => vec![("file", Err(refusal))],
        Ok(list) => {
            let several = list.len() > 1;
            // What the payload claims to be is only used to pass it over; what is kept is checked.
            let other =
                |claimed: Option<&str>| several && asked.predicate_type.is_some() && claimed != asked.predicate_type;
            let kept: Vec<_> = list.iter().filter(|one| !other(one.claimed_predicate_type())).collect();
            passed_over = list.len() - kept.len();
            kept.into_iter()
                .map(|one| (one.form, one.verify(&root, &policy, held.artifact(), at)))
                .collect()
        }
    };
    let answers = attestations.iter().map(|(_, answer)| match answer {
        Ok(_) => Outcome::Pass,
        Err(refusal) => refusal.outcome,
    });
    Ok(Verification {
        outcome: Outcome::all(answers),
        attestations,
        passed_over,
        trusted_root: root.digest(),
    })
}

fn trusted_root(asked: &Asked<'_>) -> Result<TrustedRoot, Error> {
    let path = asked.trusted_root.ok_or_else(|| {
        Error::usage(
            "attestations of others are held against a trusted root, and none is given",
            "give Sigstore's `trusted_root.json` with `--trusted-root FILE`; take it from where you trust it, never from who made the bundle",
        )
    })?;
    let bytes = std::fs::read(path).map_err(|error| Error::io("read the trusted root", path, &error))?;
    TrustedRoot::from_bytes(&bytes).map_err(|error| {
        Error::refused(
            format!("`{}`: {error}", path.display()),
            "take the trusted root again from where you first got it",
        )
    })
}

fn key(path: &Path) -> Result<VerifyingKey, Error> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read the key", path, &error))?;
    VerifyingKey::from_pem(&text).ok_or_else(|| {
        Error::usage(
            format!(
                "`{}` is not a public key in PEM, or of a kind that isn't known",
                path.display()
            ),
            "known are ECDSA P-256, P-384 and P-521, Ed25519 and RSA of 2048 bits and more",
        )
    })
}

struct Match<'a> {
    text: &'a str,
    pattern: Option<Regex>,
}

impl<'a> Match<'a> {
    fn of(wanted: Wanted<'a>) -> Result<Match<'a>, Error> {
        match wanted {
            Wanted::Exact(text) => Ok(Match { text, pattern: None }),
            Wanted::Pattern(text) => {
                let whole = Regex::new(&format!("^(?:{text})$"));
                let pattern = whole.map_err(|error| {
                    Error::usage(
                        format!("`{text}` is not a regular expression: {error}"),
                        "see docs.rs/regex for the syntax",
                    )
                })?;
                Ok(Match {
                    text,
                    pattern: Some(pattern),
                })
            }
        }
    }

    fn is(&self, text: &str) -> bool {
        match &self.pattern {
            Some(pattern) => pattern.is_match(text),
            None => self.text == text,
        }
    }
}

/// The artifact in memory, or its digest.
enum Held {
    Bytes(Vec<u8>),
    Digest(Hash, Vec<u8>),
    AnySubject,
}

impl Held {
    fn of(asked: &Asked<'_>) -> Result<Held, Error> {
        match (asked.artifact, asked.digest, asked.any_subject) {
            (Some(path), None, false) => {
                let failed = |error: std::io::Error| Error::io("read the artifact", path, &error);
                if std::fs::metadata(path).map_err(failed)?.len() <= ARTIFACT_BYTES_MAX {
                    return Ok(Held::Bytes(std::fs::read(path).map_err(failed)?));
                }
                let mut file = std::fs::File::open(path).map_err(failed)?;
                streamed(&mut file)
                    .map(|digest| Held::Digest(Hash::Sha256, digest.0.to_vec()))
                    .map_err(failed)
            }
            (None, Some(text), false) => digest(text),
            (None, None, true) => Ok(Held::AnySubject),
            _ => Err(Error::usage(
                "what is to be verified is not said, or said twice",
                "give `--artifact PATH`, or `--digest sha256:HEX`, or `--any-subject` to read a statement about whatever it is about",
            )),
        }
    }

    fn artifact(&self) -> Artifact<'_> {
        match self {
            Held::Bytes(bytes) => Artifact::Bytes(bytes),
            Held::Digest(hash, digest) => Artifact::Digest(*hash, digest),
            Held::AnySubject => Artifact::AnySubject,
        }
    }
}

fn streamed(file: &mut std::fs::File) -> std::io::Result<Digest> {
    use std::io::Read;
    let mut hasher = Digest::hasher();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn digest(text: &str) -> Result<Held, Error> {
    let parsed = text.split_once(':').and_then(|(name, hex)| {
        let hash = [Hash::Sha256, Hash::Sha384, Hash::Sha512]
            .into_iter()
            .find(|hash| hash.name() == name)?;
        let plain = hex.len() == 2 * hash.size() && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
        let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
        let bytes = (0..hex.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>();
        Some(Held::Digest(hash, bytes.filter(|_| plain)?))
    });
    parsed.ok_or_else(|| {
        Error::usage(
            format!("`{text}` is not a digest"),
            "it is written `sha256:` and 64 hexadecimal characters, or the same with sha384 or sha512",
        )
    })
}
