//! The Sigstore bundle, versions 0.1 to 0.3
//! (<https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_bundle.proto>): its form, and nothing more.
//!
//! What [`SigstoreBundle::from_bytes`] gives has exactly one signature, one kind of key material and bounded lists.
//! Nothing in it is believed before [`super::verify`].

use serde::Deserialize;

use super::json::{self, Bytes, Int};

/// A bundle of which nothing but the form was checked.
#[derive(Debug, Clone)]
pub struct SigstoreBundle {
    pub(super) version: Version,
    pub(super) content: Content,
    pub(super) material: Material,
    pub(super) entries: Vec<Entry>,
    /// TimeStampResp (RFC 3161), DER.
    pub(super) timestamps: Vec<Vec<u8>>,
}

/// Media type of a bundle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    V01,
    V02,
    V03,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A signature over an artifact, and the digest the bundle says it has (a hint).
    Message {
        signature: Vec<u8>,
        digest: Option<(String, Vec<u8>)>,
    },
    /// A DSSE envelope with its one signature.
    Envelope {
        payload: Vec<u8>,
        payload_type: String,
        signature: Vec<u8>,
    },
}

impl Content {
    pub fn signature(&self) -> &[u8] {
        match self {
            Content::Message { signature, .. } | Content::Envelope { signature, .. } => signature,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) enum Material {
    /// DER; the leaf first.
    Certificates(Vec<Vec<u8>>),
    /// A hint that says which key it is, for people.
    Key(String),
    /// A bare envelope names nobody.
    None,
}

/// One entry of a transparency log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub index: u64,
    pub log_id: Vec<u8>,
    pub kind: String,
    pub version: String,
    /// Seconds since 1970.
    pub integrated_time: Option<i64>,
    /// Signed entry timestamp.
    pub promise: Option<Vec<u8>>,
    pub proof: Option<Proof>,
    pub body: Vec<u8>,
}

#[derive(Debug, Clone)]
pub(super) struct Proof {
    pub index: u64,
    pub size: u64,
    pub root: Vec<u8>,
    pub hashes: Vec<Vec<u8>>,
    /// A signed note.
    pub checkpoint: Option<String>,
}

/// What is wrong with the form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FormError {
    TooLarge(usize),
    Form(String),
}

impl SigstoreBundle {
    /// Upper bound of its JSON; an envelope's payload may be a bill of materials.
    pub const BYTES_MAX: usize = 64 << 20;
    const ENTRIES_MAX: usize = 32;
    const TIMESTAMPS_MAX: usize = 32;
    const CERTIFICATES_MAX: usize = 10;
    /// A tree of 2^64 leaves has no longer proof.
    const HASHES_MAX: usize = 64;

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, FormError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(FormError::TooLarge(bytes.len()));
        }
        let wire: wire::Bundle = serde_json::from_slice(bytes).map_err(|error| FormError::Form(error.to_string()))?;
        Self::understand(wire).map_err(FormError::Form)
    }

    pub(super) fn from_value(value: serde_json::Value) -> Result<Self, String> {
        Self::understand(serde_json::from_value(value).map_err(|error| error.to_string())?)
    }

    fn understand(wire: wire::Bundle) -> Result<Self, String> {
        let version = version(wire.media_type.as_deref().unwrap_or_default())?;
        let content = match (wire.message_signature, wire.dsse_envelope) {
            (Some(message), None) => message.understand()?,
            (None, Some(envelope)) => envelope.understand()?,
            (Some(_), Some(_)) => return Err("has both a message signature and an envelope".to_owned()),
            (None, None) => return Err("has neither a message signature nor an envelope".to_owned()),
        };
        let material = wire.verification_material.ok_or("has no verification material")?;
        let timestamps = material.timestamp_verification_data.unwrap_or_default();
        let timestamps = timestamps.rfc3161_timestamps.unwrap_or_default();
        bounded("time stamps", timestamps.len(), Self::TIMESTAMPS_MAX)?;
        let timestamps = timestamps
            .into_iter()
            .map(|one| required(one.signed_timestamp, "a time stamp is empty"))
            .collect::<Result<_, _>>()?;
        let entries = material.tlog_entries.unwrap_or_default();
        bounded("log entries", entries.len(), Self::ENTRIES_MAX)?;
        let entries = entries
            .into_iter()
            .map(wire::Entry::understand)
            .collect::<Result<_, _>>()?;
        let material = match (
            material.certificate,
            material.x509_certificate_chain,
            material.public_key,
        ) {
            (Some(one), None, None) => certificates(vec![one])?,
            (None, Some(_), None) if version == Version::V03 => {
                return Err("of version 0.3 has a chain of certificates: it must have one certificate".to_owned());
            }
            (None, Some(chain), None) => certificates(chain.certificates.unwrap_or_default())?,
            (None, None, Some(key)) => Material::Key(key.hint.unwrap_or_default()),
            (None, None, None) => return Err("has neither a certificate nor a public key".to_owned()),
            _ => return Err("has more than one kind of key material".to_owned()),
        };
        Ok(SigstoreBundle {
            version,
            content,
            material,
            entries,
            timestamps,
        })
    }
}

fn version(media_type: &str) -> Result<Version, String> {
    match media_type {
        "application/vnd.dev.sigstore.bundle+json;version=0.1" | "application/vnd.dev.sigstore.bundle.v0.1+json" => {
            Ok(Version::V01)
        }
        "application/vnd.dev.sigstore.bundle+json;version=0.2" | "application/vnd.dev.sigstore.bundle.v0.2+json" => {
            Ok(Version::V02)
        }
        "application/vnd.dev.sigstore.bundle+json;version=0.3" | "application/vnd.dev.sigstore.bundle.v0.3+json" => {
            Ok(Version::V03)
        }
        other => Err(format!(
            "media type `{}` is not known",
            other.chars().take(80).collect::<String>()
        )),
    }
}

fn certificates(list: Vec<wire::Certificate>) -> Result<Material, String> {
    bounded("certificates", list.len(), SigstoreBundle::CERTIFICATES_MAX)?;
    if list.is_empty() {
        return Err("has an empty chain of certificates".to_owned());
    }
    let list = list
        .into_iter()
        .map(|one| required(one.raw_bytes, "a certificate is empty"));
    list.collect::<Result<_, _>>().map(Material::Certificates)
}

fn bounded(what: &str, count: usize, limit: usize) -> Result<(), String> {
    if count > limit {
        return Err(format!("has {count} {what}, at most {limit} are read"));
    }
    Ok(())
}

fn required(bytes: Option<Bytes>, what: &str) -> Result<Vec<u8>, String> {
    present(bytes).ok_or_else(|| what.to_owned())
}

/// Empty is how protobuf writes absent.
fn present(bytes: Option<Bytes>) -> Option<Vec<u8>> {
    bytes.map(|bytes| bytes.0).filter(|bytes| !bytes.is_empty())
}

fn count(number: Option<Int>, what: &str) -> Result<u64, String> {
    u64::try_from(number.map_or(0, |int| int.0)).map_err(|_| format!("{what} is negative"))
}

impl wire::Message {
    fn understand(self) -> Result<Content, String> {
        let digest = match self.message_digest {
            None => None,
            Some(digest) => Some((
                digest.algorithm.unwrap_or_default(),
                required(digest.digest, "the message digest is empty")?,
            )),
        };
        Ok(Content::Message {
            signature: required(self.signature, "the signature is empty")?,
            digest,
        })
    }
}

impl wire::Envelope {
    pub(super) fn understand(self) -> Result<Content, String> {
        let [signature] = <[wire::Signature; 1]>::try_from(self.signatures.unwrap_or_default())
            .map_err(|list| format!("the envelope has {} signatures: it must have one", list.len()))?;
        Ok(Content::Envelope {
            payload: required(self.payload, "the envelope's payload is empty")?,
            payload_type: self.payload_type.unwrap_or_default(),
            signature: required(signature.sig, "the signature is empty")?,
        })
    }
}

impl wire::Entry {
    fn understand(self) -> Result<Entry, String> {
        let kind = self.kind_version.ok_or("a log entry has no kind")?;
        let integrated_time = self.integrated_time.map(|int| int.0).filter(|seconds| *seconds != 0);
        if integrated_time.is_some_and(|seconds| seconds < 0) {
            return Err("a log entry's integrated time is negative".to_owned());
        }
        // One that is not base64 is one that doesn't hold: it is refused where promises are checked.
        let promise = self
            .inclusion_promise
            .and_then(|promise| promise.signed_entry_timestamp);
        let promise = promise.filter(|text| !text.is_empty());
        Ok(Entry {
            index: count(self.log_index, "a log entry's index")?,
            log_id: required(self.log_id.and_then(|id| id.key_id), "a log entry has no log id")?,
            kind: kind.kind.unwrap_or_default(),
            version: kind.version.unwrap_or_default(),
            integrated_time,
            promise: promise.map(|text| json::base64(&text).unwrap_or_default()),
            proof: self.inclusion_proof.map(wire::Proof::understand).transpose()?,
            body: required(self.canonicalized_body, "a log entry has no body")?,
        })
    }
}

impl wire::Proof {
    fn understand(self) -> Result<Proof, String> {
        let hashes = self.hashes.unwrap_or_default();
        bounded("hashes in an inclusion proof", hashes.len(), SigstoreBundle::HASHES_MAX)?;
        let checkpoint = self.checkpoint.and_then(|checkpoint| checkpoint.envelope);
        Ok(Proof {
            index: count(self.log_index, "an inclusion proof's index")?,
            size: count(self.tree_size, "an inclusion proof's tree size")?,
            root: required(self.root_hash, "an inclusion proof has no root hash")?,
            hashes: hashes.into_iter().map(|hash| hash.0).collect(),
            checkpoint: checkpoint.filter(|note| !note.is_empty()),
        })
    }
}

/// Field for field as in the protobuf.
pub(super) mod wire {
    use super::{Bytes, Deserialize, Int};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Bundle {
        #[serde(alias = "media_type")]
        pub media_type: Option<String>,
        #[serde(alias = "verification_material")]
        pub verification_material: Option<Material>,
        #[serde(alias = "message_signature")]
        pub message_signature: Option<Message>,
        #[serde(alias = "dsse_envelope")]
        pub dsse_envelope: Option<Envelope>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Material {
        #[serde(alias = "public_key")]
        pub public_key: Option<KeyHint>,
        #[serde(alias = "x509_certificate_chain")]
        pub x509_certificate_chain: Option<Chain>,
        pub certificate: Option<Certificate>,
        #[serde(alias = "tlog_entries")]
        pub tlog_entries: Option<Vec<Entry>>,
        #[serde(alias = "timestamp_verification_data")]
        pub timestamp_verification_data: Option<TimeStamps>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct KeyHint {
        pub hint: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Chain {
        pub certificates: Option<Vec<Certificate>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Certificate {
        #[serde(alias = "raw_bytes")]
        pub raw_bytes: Option<Bytes>,
    }

    #[derive(Deserialize, Default)]
    #[serde(deny_unknown_fields)]
    pub struct TimeStamps {
        #[serde(rename = "rfc3161Timestamps", alias = "rfc3161_timestamps")]
        pub rfc3161_timestamps: Option<Vec<TimeStamp>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct TimeStamp {
        #[serde(alias = "signed_timestamp")]
        pub signed_timestamp: Option<Bytes>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Message {
        #[serde(alias = "message_digest")]
        pub message_digest: Option<HashOutput>,
        pub signature: Option<Bytes>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct HashOutput {
        pub algorithm: Option<String>,
        pub digest: Option<Bytes>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Envelope {
        pub payload: Option<Bytes>,
        #[serde(alias = "payload_type")]
        pub payload_type: Option<String>,
        pub signatures: Option<Vec<Signature>>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Signature {
        pub sig: Option<Bytes>,
        #[serde(rename = "keyid")]
        pub _keyid: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Entry {
        #[serde(alias = "log_index")]
        pub log_index: Option<Int>,
        #[serde(alias = "log_id")]
        pub log_id: Option<LogId>,
        #[serde(alias = "kind_version")]
        pub kind_version: Option<KindVersion>,
        #[serde(alias = "integrated_time")]
        pub integrated_time: Option<Int>,
        #[serde(alias = "inclusion_promise")]
        pub inclusion_promise: Option<Promise>,
        #[serde(alias = "inclusion_proof")]
        pub inclusion_proof: Option<Proof>,
        #[serde(alias = "canonicalized_body")]
        pub canonicalized_body: Option<Bytes>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct LogId {
        #[serde(alias = "key_id")]
        pub key_id: Option<Bytes>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct KindVersion {
        pub kind: Option<String>,
        pub version: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Promise {
        #[serde(alias = "signed_entry_timestamp")]
        pub signed_entry_timestamp: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Proof {
        #[serde(alias = "log_index")]
        pub log_index: Option<Int>,
        #[serde(alias = "root_hash")]
        pub root_hash: Option<Bytes>,
        #[serde(alias = "tree_size")]
        pub tree_size: Option<Int>,
        pub hashes: Option<Vec<Bytes>>,
        pub checkpoint: Option<Checkpoint>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    pub struct Checkpoint {
        pub envelope: Option<String>,
    }
}
