//! Checking the checkpoint that lies beside the journal.

use std::collections::BTreeMap;

use evidence::{Checkpoint, LogIdentity, PublicKey, Timestamp, TrustRoot, Verified};

use crate::LogError;
use crate::format::ORIGIN_BYTES_MAX;

pub(crate) const PATH: &str = "checkpoint";

/// The checkpoint of `note`, if the log `origin` signed it with `key`.
pub(crate) fn open(note: &[u8], origin: &str, key: &PublicKey) -> Result<(Checkpoint, String), LogError> {
    let note = std::str::from_utf8(note).map_err(|_| LogError::CheckpointText)?;
    // A trust root that trusts this one log, so that checkpoints are believed in one place of the code only. The
    // time is that of the check and says nothing about the checkpoint; we don't keep it.
    let verified = Verified::checkpoint(note, &only(origin, key), Timestamp::UNIX_EPOCH)?;
    Ok((verified.value().clone(), note.to_owned()))
}

/// Refuses origins that a signed note can't carry as key name (C2SP signed-note).
pub(crate) fn check_origin(origin: &str) -> Result<(), LogError> {
    let bad = |c: char| c.is_whitespace() || c.is_control() || c == '+';
    if origin.is_empty() || origin.len() > ORIGIN_BYTES_MAX || origin.contains(bad) {
        return Err(LogError::Origin(origin.chars().take(80).collect()));
    }
    Ok(())
}

fn only(origin: &str, key: &PublicKey) -> TrustRoot {
    TrustRoot {
        version: 1,
        self_signed: false,
        keys: BTreeMap::from([(key.id(), key.clone())]),
        roles: BTreeMap::new(),
        allow: Vec::new(),
        log: LogIdentity {
            origin: origin.to_owned(),
            key: key.id(),
        },
        floor: Vec::new(),
    }
}
