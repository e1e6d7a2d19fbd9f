//! Sigstore's trusted root (`trusted_root.json`, `TrustedRoot` of
//! <https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto>).
//!
//! Deliberately not TUF: whoever calls has the bytes from a channel of their own. Start reading at [`TrustedRoot::from_bytes`].

use serde::Deserialize;

use super::der::{Reader, SEQUENCE};
use super::json::Bytes;
use super::keys::VerifyingKey;
use super::x509::Certificate;
use crate::{Digest, Timestamp};

/// Which certificate authorities, logs and time stamp authorities count, and when.
///
/// What an attacker who owns this file can do: everything; any bundle of theirs is accepted.
#[derive(Debug, Clone)]
pub struct TrustedRoot {
    digest: Digest,
    pub(super) tlogs: Vec<Log>,
    pub(super) ctlogs: Vec<Log>,
    pub(super) authorities: Vec<Authority>,
    pub(super) timestamp_authorities: Vec<Authority>,
}

/// The bytes are not a trusted root.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustedRootError {
    #[error(
        "trusted root of {bytes} bytes is over the limit of {} bytes",
        TrustedRoot::BYTES_MAX
    )]
    TooLarge { bytes: usize },
    #[error("trusted root: {0}")]
    Form(String),
}

/// A transparency log or a certificate transparency log.
#[derive(Debug, Clone)]
pub(super) struct Log {
    /// Host and path of its address: the origin of its checkpoints.
    pub name: String,
    pub id: Vec<u8>,
    pub key: VerifyingKey,
    pub valid: Window,
    /// First bytes of the key id in notes, where the trusted root states them.
    pub checkpoint_id: Option<Vec<u8>>,
}

/// A certificate authority or a time stamp authority.
#[derive(Debug, Clone)]
pub(super) struct Authority {
    pub uri: String,
    /// DER, from the lowest to the anchor; each was parsed once.
    pub certificates: Vec<Vec<u8>>,
    pub valid: Window,
}

/// Both ends belong to it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    start: Option<Timestamp>,
    end: Option<Timestamp>,
}

impl Window {
    pub fn contains(&self, at: Timestamp) -> bool {
        self.start.is_none_or(|start| start <= at) && self.end.is_none_or(|end| at <= end)
    }
}

impl Authority {
    pub fn parsed(&self) -> Vec<Certificate<'_>> {
        let parsed = self.certificates.iter().map(|der| Certificate::parse(der));
        parsed.filter_map(Result::ok).collect()
    }
}

impl TrustedRoot {
    /// Upper bound of its JSON.
    pub const BYTES_MAX: usize = 4 << 20;
    /// Upper bound of logs, of authorities, and of certificates in a chain.
    const ENTRIES_MAX: usize = 256;

    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrustedRootError> {
        if bytes.len() > Self::BYTES_MAX {
            return Err(TrustedRootError::TooLarge { bytes: bytes.len() });
        }
        let wire: wire::TrustedRoot =
            serde_json::from_slice(bytes).map_err(|error| TrustedRootError::Form(error.to_string()))?;
        Self::understand(wire, Digest::of(bytes)).map_err(TrustedRootError::Form)
    }

    /// SHA-256 of its bytes.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    fn understand(wire: wire::TrustedRoot, digest: Digest) -> Result<Self, String> {
        match wire.media_type.as_deref() {
            Some(
                "application/vnd.dev.sigstore.trustedroot+json;version=0.1"
                | "application/vnd.dev.sigstore.trustedroot.v0.1+json"
                | "application/vnd.dev.sigstore.trustedroot+json;version=0.2"
                | "application/vnd.dev.sigstore.trustedroot.v0.2+json",
            ) => {}
            other => return Err(format!("media type `{}` is not known", other.unwrap_or_default())),
        }
        let logs = |list: Option<Vec<wire::Log>>| -> Result<Vec<Log>, String> {
            let list = list.unwrap_or_default();
            bounded(list.len())?;
            list.into_iter()
                .filter_map(|log| log.understand().transpose())
                .collect()
        };
        let authorities = |list: Option<Vec<wire::Authority>>| -> Result<Vec<Authority>, String> {
            let list = list.unwrap_or_default();
            bounded(list.len())?;
            list.into_iter()
                .filter_map(|authority| authority.understand().transpose())
                .collect()
        };
        Ok(TrustedRoot {
            digest,
            tlogs: logs(wire.tlogs)?,
            ctlogs: logs(wire.ctlogs)?,
            authorities: authorities(wire.certificate_authorities)?,
            timestamp_authorities: authorities(wire.timestamp_authorities)?,
        })
    }
}

fn bounded(count: usize) -> Result<(), String> {
    if count > TrustedRoot::ENTRIES_MAX {
        return Err(format!(
            "a list of {count} is over the limit of {}",
            TrustedRoot::ENTRIES_MAX
        ));
    }
    Ok(())
}

impl wire::Log {
    /// `None` for a log whose key is of a kind that isn't spoken here: what it signed counts for nothing.
    fn understand(self) -> Result<Option<Log>, String> {
        let url = self.base_url.unwrap_or_default();
        let key = self
            .public_key
            .ok_or_else(|| format!("log `{url}` has no public key"))?;
        let valid = match key.valid_for {
            Some(window) => window.understand(&url)?,
            None => Window { start: None, end: None },
        };
        let id = self.log_id.map(|id| id.key_id.0).filter(|id| !id.is_empty());
        let id = id.ok_or_else(|| format!("log `{url}` has no id"))?;
        let sha256 = |name: &str| matches!(name, "SHA2_256" | "HASH_ALGORITHM_UNSPECIFIED");
        if !self.hash_algorithm.as_deref().is_none_or(sha256) {
            return Ok(None);
        }
        let Some(bytes) = key.raw_bytes.filter(|bytes| !bytes.0.is_empty()) else {
            return Err(format!("log `{url}` has no public key"));
        };
        let key = VerifyingKey::from_details(key.key_details.as_deref().unwrap_or_default(), &bytes.0);
        let name = url.split_once("://").map_or(url.as_str(), |(_, rest)| rest);
        Ok(key.map(|key| Log {
            name: name.trim_end_matches('/').to_owned(),
            id,
            key,
            valid,
            checkpoint_id: self.checkpoint_key_id.map(|id| id.key_id.0),
        }))
    }
}

impl wire::Authority {
    /// `None` for an authority with a certificate of a kind that isn't read here: what it vouches for counts for nothing.
    fn understand(self) -> Result<Option<Authority>, String> {
        let uri = self.uri.unwrap_or_default();
        let chain = self.cert_chain.and_then(|chain| chain.certificates).unwrap_or_default();
        if chain.is_empty() {
            return Err(format!("authority `{uri}` has no certificate"));
        }
        bounded(chain.len())?;
        let certificates: Vec<Vec<u8>> = chain.into_iter().map(|one| one.raw_bytes.0).collect();
        if certificates.iter().any(|der| Reader::only(der, SEQUENCE).is_err()) {
            return Err(format!("authority `{uri}` has a malformed certificate"));
        }
        let known = certificates.iter().all(|der| Certificate::parse(der).is_ok());
        let valid = self
            .valid_for
            .ok_or_else(|| format!("authority `{uri}` says not when it is valid"))?;
        let valid = valid.understand(&uri)?;
        Ok(known.then_some(Authority {
            uri,
            certificates,
            valid,
        }))
    }
}

impl wire::Window {
    fn understand(self, of: &str) -> Result<Window, String> {
        let moment = |text: String| {
            text.parse::<Timestamp>()
                .map_err(|_| format!("`{of}`: `{text}` is not a time (RFC 3339)"))
        };
        // A window without its start would be open to the past.
        let start = self
            .start
            .ok_or_else(|| format!("`{of}` is valid for a time without a start"))?;
        Ok(Window {
            start: Some(moment(start)?),
            end: self.end.map(moment).transpose()?,
        })
    }
}

/// Field for field as in the protobuf.
mod wire {
    use super::{Bytes, Deserialize};

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct TrustedRoot {
        #[serde(alias = "media_type")]
        pub media_type: Option<String>,
        pub tlogs: Option<Vec<Log>>,
        #[serde(alias = "certificate_authorities")]
        pub certificate_authorities: Option<Vec<Authority>>,
        pub ctlogs: Option<Vec<Log>>,
        #[serde(alias = "timestamp_authorities")]
        pub timestamp_authorities: Option<Vec<Authority>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Log {
        #[serde(alias = "base_url")]
        pub base_url: Option<String>,
        #[serde(alias = "hash_algorithm")]
        pub hash_algorithm: Option<String>,
        #[serde(alias = "public_key")]
        pub public_key: Option<Key>,
        #[serde(alias = "log_id")]
        pub log_id: Option<LogId>,
        #[serde(alias = "checkpoint_key_id")]
        pub checkpoint_key_id: Option<LogId>,
        #[serde(rename = "operator")]
        pub _operator: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Key {
        #[serde(alias = "raw_bytes")]
        pub raw_bytes: Option<Bytes>,
        #[serde(alias = "key_details")]
        pub key_details: Option<String>,
        #[serde(alias = "valid_for")]
        pub valid_for: Option<Window>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct LogId {
        #[serde(alias = "key_id")]
        pub key_id: Bytes,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Authority {
        #[serde(rename = "subject")]
        pub _subject: Option<Subject>,
        pub uri: Option<String>,
        #[serde(alias = "cert_chain")]
        pub cert_chain: Option<CertificateChain>,
        #[serde(alias = "valid_for")]
        pub valid_for: Option<Window>,
        #[serde(rename = "operator")]
        pub _operator: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Subject {
        #[serde(rename = "organization")]
        pub _organization: Option<String>,
        #[serde(rename = "commonName", alias = "common_name")]
        pub _common_name: Option<String>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct CertificateChain {
        pub certificates: Option<Vec<RawCertificate>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct RawCertificate {
        #[serde(alias = "raw_bytes")]
        pub raw_bytes: Bytes,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    pub struct Window {
        pub start: Option<String>,
        pub end: Option<String>,
    }
}
