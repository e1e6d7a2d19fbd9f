//! The trust root: who may say what, which log is ours, and the floor no tree can lower.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Algorithm, CanonicalError, Digest, KeyId, PublicKey, Stage, from_canonical, to_canonical};

/// Held outside every tree that is judged (`$PROOFMARK_HOME/trust-root.json`), in canonical JSON.
///
/// What an attacker who owns this file can do: everything. They decide whose signature counts. Whoever verifies
/// takes it from a channel of their own, never from the bundle or the judged tree.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TrustRoot {
    /// Format version; this code reads 1.
    pub version: u32,
    /// True when one machine made all the keys for itself: every verdict says so.
    pub self_signed: bool,
    pub keys: BTreeMap<KeyId, PublicKey>,
    pub roles: BTreeMap<Role, RoleKeys>,
    /// Which role may sign which predicate types.
    pub allow: Vec<Allowance>,
    pub log: LogIdentity,
    /// Controls that hold whatever the tree's configuration says.
    pub floor: Vec<ControlSpec>,
}

/// What a key is for. One key has one role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Signs what checks and steps saw.
    Step,
    /// Signs verdicts and bundles.
    Gate,
    /// Signs checkpoints.
    Log,
    /// Signs approvals and waivers: a person.
    Approver,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Step, Role::Gate, Role::Log, Role::Approver];

    pub fn name(self) -> &'static str {
        match self {
            Role::Step => "step",
            Role::Gate => "gate",
            Role::Log => "log",
            Role::Approver => "approver",
        }
    }
}

/// The keys of a role and how many must sign. Where keys of several algorithms are listed, one of each must.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RoleKeys {
    pub keys: Vec<KeyId>,
    pub threshold: u32,
}

/// A role may sign statements of these predicate types.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Allowance {
    pub role: Role,
    pub predicates: Vec<String>,
}

/// The logs whose checkpoints count: `origin` itself and those named below it, `origin/STORE`, one a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogIdentity {
    pub origin: String,
    /// An Ed25519 key of the role `log`.
    pub key: KeyId,
}

/// A control and its parameters: data, read by the policy engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ControlSpec {
    /// Catalogue id: `no-secrets`.
    pub id: String,
    pub stage: Stage,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Value>,
}

/// The bytes are not a trust root this code can hold to.
#[derive(Debug, thiserror::Error)]
pub enum TrustRootError {
    #[error("trust root: {0}")]
    Form(#[from] CanonicalError),
    #[error("trust root has version {0}, this program reads version 1: update Proofmark")]
    Version(u32),
    #[error("trust root: key `{0}` is named but not listed, or its id does not follow from its bytes")]
    Key(KeyId),
    #[error("trust root: key `{0}` has more than one role")]
    SharedKey(KeyId),
    #[error("trust root: role `{0}` has a threshold its keys can't meet, or of zero")]
    Threshold(&'static str),
}

impl TrustRoot {
    /// Reads and checks a trust root; only canonical bytes are accepted.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrustRootError> {
        let root: TrustRoot = from_canonical(bytes)?;
        root.check()?;
        Ok(root)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        to_canonical(self)
    }

    /// Names this trust root: part of every attempt's identity and of every `Verified`.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.to_bytes())
    }

    /// Digest of the floor alone: the policy part of an attempt's identity.
    pub fn policy_digest(&self) -> Digest {
        Digest::of(&to_canonical(&self.floor))
    }

    pub fn keys_of(&self, role: Role) -> impl Iterator<Item = (&KeyId, &PublicKey)> {
        let listed = self.roles.get(&role).map_or(&[][..], |keys| &keys.keys);
        listed.iter().filter_map(|id| self.keys.get_key_value(id))
    }

    fn check(&self) -> Result<(), TrustRootError> {
        if self.version != 1 {
            return Err(TrustRootError::Version(self.version));
        }
        for (id, key) in &self.keys {
            if key.id() != *id {
                return Err(TrustRootError::Key(id.clone()));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        for (role, keys) in &self.roles {
            for id in &keys.keys {
                if !self.keys.contains_key(id) {
                    return Err(TrustRootError::Key(id.clone()));
                }
                if !seen.insert(id) {
                    return Err(TrustRootError::SharedKey(id.clone()));
                }
            }
            if keys.threshold == 0 || keys.threshold as usize > keys.keys.len() {
                return Err(TrustRootError::Threshold(role.name()));
            }
        }
        let log_key = self.keys_of(Role::Log).find(|(id, _)| **id == self.log.key);
        match log_key {
            Some((_, key)) if key.algorithm == Algorithm::Ed25519 => Ok(()),
            _ => Err(TrustRootError::Key(self.log.key.clone())),
        }
    }
}
