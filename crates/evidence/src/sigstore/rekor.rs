//! Entries of Rekor, versions 1 and 2: that an entry is about this signature, that its promise (signed entry timestamp) and its
//! inclusion proof hold, and that the log signed the checkpoint the proof leads to.
//!
//! Specifications: <https://github.com/sigstore/rekor/tree/main/pkg/types>,
//! <https://github.com/sigstore/rekor-tiles/blob/main/CLIENTS.md>, <https://c2sp.org/tlog-checkpoint>.
//! Deliberately not here: which logs count. Start reading at [`binds`], [`promise_holds`] and [`proof_holds`].

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::bundle::{Content, Entry};
use super::json;
use super::keys::{Hash, VerifyingKey, pem};
use super::root::Log;
use crate::{Digest, InclusionProof, ProofError, SignedNote, leaf_hash, pae, verify_inclusion};

/// What an entry has to be about.
pub(super) struct Signed<'a> {
    pub content: &'a Content,
    /// The certificate that signed, DER; `None` for a bare key.
    pub certificate: Option<&'a [u8]>,
    pub key: &'a VerifyingKey,
    /// Digest of the artifact, for a message signature.
    pub artifact: &'a dyn Fn(Hash) -> Option<Vec<u8>>,
}

/// Whether the log of version 2 wrote it: no integrated time, no promise, and the index is that of the tree.
pub(super) fn is_v2(entry: &Entry) -> bool {
    entry.version == "0.0.2" && entry.kind != "intoto"
}

/// The entry's body says: this signature, by this key, over this content. `Err` is what differs.
pub(super) fn binds(entry: &Entry, signed: &Signed<'_>) -> Result<(), String> {
    let body = json::strict(&entry.body).map_err(|error| format!("its body is not JSON: {error}"))?;
    if body["kind"] != entry.kind.as_str() || body["apiVersion"] != entry.version.as_str() {
        return Err("its body is of another kind or version than the bundle says".to_owned());
    }
    let spec = &body["spec"];
    match (entry.kind.as_str(), entry.version.as_str()) {
        ("hashedrekord", "0.0.1") => hashedrekord_v1(spec, signed),
        ("hashedrekord", "0.0.2") => hashedrekord_v2(&spec["hashedRekordV002"], signed),
        ("dsse", "0.0.1") => dsse_v1(spec, signed),
        ("dsse", "0.0.2") => dsse_v2(&spec["dsseV002"], signed),
        ("intoto", "0.0.2") => intoto_v2(&spec["content"], signed),
        (kind, version) => Err(format!("entries of kind `{kind}` {version} are not read")),
    }
}

fn hashedrekord_v1(spec: &Value, signed: &Signed<'_>) -> Result<(), String> {
    let hash = &spec["data"]["hash"];
    digest(hash["algorithm"].as_str(), unhex(&hash["value"]), signed)?;
    let signature = &spec["signature"];
    same_signature(base64(&signature["content"]), signed)?;
    same_pem(base64(&signature["publicKey"]["content"]), signed)
}

fn hashedrekord_v2(spec: &Value, signed: &Signed<'_>) -> Result<(), String> {
    let data = &spec["data"];
    digest(data["algorithm"].as_str(), base64(&data["digest"]), signed)?;
    same_signature(base64(&spec["signature"]["content"]), signed)?;
    same_verifier(&spec["signature"]["verifier"], signed)
}

fn dsse_v1(spec: &Value, signed: &Signed<'_>) -> Result<(), String> {
    let hash = &spec["payloadHash"];
    payload(hash["algorithm"].as_str(), unhex(&hash["value"]), signed)?;
    let signature = only(&spec["signatures"])?;
    same_signature(base64(&signature["signature"]), signed)?;
    same_pem(base64(&signature["verifier"]), signed)
}

fn dsse_v2(spec: &Value, signed: &Signed<'_>) -> Result<(), String> {
    let hash = &spec["payloadHash"];
    payload(hash["algorithm"].as_str(), base64(&hash["digest"]), signed)?;
    let signature = only(&spec["signatures"])?;
    same_signature(base64(&signature["content"]), signed)?;
    same_verifier(&signature["verifier"], signed)
}

fn intoto_v2(content: &Value, signed: &Signed<'_>) -> Result<(), String> {
    let hash = &content["payloadHash"];
    payload(hash["algorithm"].as_str(), unhex(&hash["value"]), signed)?;
    let envelope = &content["envelope"];
    if let Content::Envelope { payload_type, .. } = signed.content
        && envelope["payloadType"] != payload_type.as_str()
    {
        return Err("it is about an envelope of another payload type".to_owned());
    }
    let signature = only(&envelope["signatures"])?;
    // The log encodes what is base64 in the envelope once more.
    let inner = base64(&signature["sig"]).and_then(|text| json::base64(std::str::from_utf8(&text).ok()?));
    same_signature(inner, signed)?;
    same_pem(base64(&signature["publicKey"]), signed)
}

/// What was signed: the artifact, or the pre-authentication encoding of the envelope.
fn digest(algorithm: Option<&str>, digest: Option<Vec<u8>>, signed: &Signed<'_>) -> Result<(), String> {
    let hash = algorithm
        .and_then(Hash::named)
        .ok_or("it has a digest of an unknown algorithm")?;
    let expected = match signed.content {
        Content::Message { .. } => (signed.artifact)(hash),
        Content::Envelope {
            payload, payload_type, ..
        } => Some(hash.of(&pae(payload_type, payload))),
    };
    match (digest, expected) {
        (Some(digest), Some(expected)) if digest == expected => Ok(()),
        _ => Err("it is about another artifact".to_owned()),
    }
}

fn payload(algorithm: Option<&str>, digest: Option<Vec<u8>>, signed: &Signed<'_>) -> Result<(), String> {
    let hash = algorithm
        .and_then(Hash::named)
        .ok_or("it has a digest of an unknown algorithm")?;
    match signed.content {
        Content::Envelope { payload, .. } if digest.as_deref() == Some(&hash.of(payload)) => Ok(()),
        _ => Err("it is about another payload".to_owned()),
    }
}

fn only(signatures: &Value) -> Result<&Value, String> {
    match signatures.as_array().map(Vec::as_slice) {
        Some([one]) => Ok(one),
        _ => Err("it must have one signature".to_owned()),
    }
}

fn same_signature(signature: Option<Vec<u8>>, signed: &Signed<'_>) -> Result<(), String> {
    if signature.as_deref() == Some(signed.content.signature()) {
        Ok(())
    } else {
        Err("it is about another signature".to_owned())
    }
}

const OTHER_SIGNER: &str = "it is about another certificate or key";

fn same_pem(text: Option<Vec<u8>>, signed: &Signed<'_>) -> Result<(), String> {
    let text = text.and_then(|text| String::from_utf8(text).ok()).unwrap_or_default();
    let same = match signed.certificate {
        Some(certificate) => pem(&text, "CERTIFICATE").as_deref() == Some(certificate),
        None => pem(&text, "PUBLIC KEY").as_deref() == Some(signed.key.der()),
    };
    if same { Ok(()) } else { Err(OTHER_SIGNER.to_owned()) }
}

fn same_verifier(verifier: &Value, signed: &Signed<'_>) -> Result<(), String> {
    let same = match signed.certificate {
        Some(certificate) => base64(&verifier["x509Certificate"]["rawBytes"]).as_deref() == Some(certificate),
        None => base64(&verifier["publicKey"]["rawBytes"]).as_deref() == Some(signed.key.der()),
    };
    if same { Ok(()) } else { Err(OTHER_SIGNER.to_owned()) }
}

fn base64(value: &Value) -> Option<Vec<u8>> {
    json::base64(value.as_str()?)
}

fn unhex(value: &Value) -> Option<Vec<u8>> {
    let text = value.as_str()?;
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    let plain = text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain.then(|| (0..text.len()).step_by(2).map(digit).collect())?
}

/// Whether the log signed that it integrated, or would integrate, the entry at its integrated time.
pub(super) fn promise_holds(entry: &Entry, log: &Log) -> bool {
    let (Some(promise), Some(time)) = (&entry.promise, entry.integrated_time) else {
        return false;
    };
    // Canonical JSON (RFC 8785), written out: base64, digits and hexadecimal need no escapes.
    let signed = format!(
        r#"{{"body":"{}","integratedTime":{time},"logID":"{}","logIndex":{}}}"#,
        STANDARD.encode(&entry.body),
        crate::digest::hex(&entry.log_id),
        entry.index
    );
    log.key.verifies(signed.as_bytes(), promise)
}

/// What is wrong with an inclusion proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProofFault {
    /// It doesn't lead from the entry to the root it names.
    Inclusion(String),
    /// The checkpoint is not of the log, or is about another root.
    Checkpoint(String),
    /// There is none to be held against.
    NoCheckpoint,
}

/// The entry stands in the tree of the checkpoint, and the log signed that.
pub(super) fn proof_holds(entry: &Entry, log: &Log) -> Result<(), ProofFault> {
    let missing = || ProofFault::Inclusion("there is none".to_owned());
    let proof = entry.proof.as_ref().ok_or_else(missing)?;
    let inclusion = |what: &str| ProofFault::Inclusion(what.to_owned());
    let root = hash(&proof.root).ok_or_else(|| inclusion("its root is not a SHA-256"))?;
    let hashes = proof.hashes.iter().map(|bytes| hash(bytes)).collect::<Option<_>>();
    let inclusion_proof = InclusionProof {
        index: proof.index,
        size: proof.size,
        hashes: hashes.ok_or_else(|| inclusion("a hash in it is not a SHA-256"))?,
    };
    verify_inclusion(&leaf_hash(&entry.body), &inclusion_proof, &root)
        .map_err(|error: ProofError| ProofFault::Inclusion(error.to_string()))?;
    if is_v2(entry) && entry.index != proof.index {
        return Err(inclusion("it is for another index than the entry's"));
    }
    let note = proof.checkpoint.as_deref().ok_or(ProofFault::NoCheckpoint)?;
    checkpoint_holds(note, is_v2(entry), log, proof.size, root).map_err(ProofFault::Checkpoint)
}

fn checkpoint_holds(note: &str, v2: bool, log: &Log, size: u64, root: Digest) -> Result<(), String> {
    let note = SignedNote::parse(note).map_err(|error| error.to_string())?;
    let mut lines = note.text.split('\n');
    let (origin, stated_size, stated_root) = (lines.next(), lines.next(), lines.next());
    let origin = origin.filter(|origin| !origin.is_empty()).ok_or("it has no origin")?;
    let number = stated_size.and_then(|text| text.parse::<u64>().ok().filter(|number| number.to_string() == text));
    let number = number.ok_or("its size is not a number")?;
    let stated = stated_root
        .and_then(|text| STANDARD.decode(text).ok())
        .unwrap_or_default();
    let stated = hash(&stated).ok_or("its root is not a SHA-256")?;
    if v2 && origin != log.name {
        return Err(format!("it is of log `{origin}`, the entry of `{}`", log.name));
    }
    // Version 1 writes `HOST - TREE`, and signs as HOST.
    let name = if v2 {
        origin
    } else {
        origin.split(" - ").next().unwrap_or(origin)
    };
    signed_by_log(&note, name, log)?;
    if number == size && stated == root {
        Ok(())
    } else {
        Err("it is about another tree than the inclusion proof".to_owned())
    }
}

/// Signature lines of other names or keys (witnesses) are passed over; one of this key must hold.
fn signed_by_log(note: &SignedNote, name: &str, log: &Log) -> Result<(), String> {
    let ids = note_ids(name, log);
    let own = |(line, id, _): &&(String, [u8; 4], Vec<u8>)| line == name && ids.contains(id);
    let mut lines = note.signatures.iter().filter(own).peekable();
    if lines.peek().is_none() {
        return Err("no signature line is of the log's name and key".to_owned());
    }
    if lines.all(|(_, _, signature)| log.key.verifies(note.text.as_bytes(), signature)) {
        Ok(())
    } else {
        Err("the log's signature does not hold over its text".to_owned())
    }
}

/// Key ids the log's key has in notes: as the trusted root says, or as it follows from the key (C2SP signed-note;
/// for ECDSA, SHA-256 over its DER).
fn note_ids(name: &str, log: &Log) -> Vec<[u8; 4]> {
    let first = |bytes: &[u8]| bytes.first_chunk::<4>().copied();
    let derived = match log.key.ed25519() {
        Some(raw) => Digest::of(&[name.as_bytes(), b"\n\x01", raw].concat()),
        None => Digest::of(log.key.der()),
    };
    let stated = log.checkpoint_id.as_deref().unwrap_or(&log.id);
    [first(stated), first(&derived.0)].into_iter().flatten().collect()
}

fn hash(bytes: &[u8]) -> Option<Digest> {
    bytes.try_into().ok().map(Digest)
}
