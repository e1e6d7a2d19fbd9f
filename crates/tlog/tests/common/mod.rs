//! What the log's tests share: one key, one trust root.

#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;

use evidence::{
    Algorithm, Checkpoint, LogIdentity, MemorySigner, PublicKey, Role, RoleKeys, Signer, Storage, Timestamp, TrustRoot,
    Verified,
};
use tlog::{Log, LogError, Recovery};

pub const ORIGIN: &str = "example.org/log";

pub fn signer() -> Arc<dyn Signer> {
    Arc::new(MemorySigner::from_seed(Algorithm::Ed25519, &[7; 32]).expect("a key"))
}

pub fn key() -> PublicKey {
    signer().public_key().clone()
}

pub fn open(storage: Arc<dyn Storage>) -> Result<(Log, Recovery), LogError> {
    Log::open(storage, ORIGIN, signer())
}

/// Reads a checkpoint as everybody else does: against a trust root.
pub fn checked(note: &str) -> Result<Checkpoint, String> {
    let key = key();
    let root = TrustRoot {
        version: 1,
        self_signed: true,
        roles: BTreeMap::from([(
            Role::Log,
            RoleKeys {
                keys: vec![key.id()],
                threshold: 1,
            },
        )]),
        log: LogIdentity {
            origin: ORIGIN.to_owned(),
            key: key.id(),
        },
        keys: BTreeMap::from([(key.id(), key)]),
        allow: Vec::new(),
        floor: Vec::new(),
    };
    let verified = Verified::checkpoint(note, &root, Timestamp::UNIX_EPOCH).map_err(|error| error.to_string())?;
    Ok(verified.value().clone())
}

pub fn numbered(range: std::ops::Range<u64>) -> Vec<Vec<u8>> {
    range.map(|number| format!("leaf {number}").into_bytes()).collect()
}

pub fn append(log: &Log, leaves: &[Vec<u8>]) -> Result<Vec<u64>, LogError> {
    log.append(&leaves.iter().map(Vec::as_slice).collect::<Vec<_>>())
}
