//! `$PROOFMARK_HOME`: private keys and the trust root, outside every tree.
//!
//! What an attacker who owns this folder can do: sign as every role and decide whom this machine believes.
//! Nothing in it is ever passed to a step: it is hidden from the step's view of the file system.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use evidence::{
    Algorithm, Allowance, Digest, KeyId, LogIdentity, MemorySigner, PublicKey, Role, RoleKeys, Signer, SigningPair,
    TrustRoot, predicates,
};

use crate::Error;

const TRUST_ROOT: &str = "trust-root.json";

/// The folder of keys and trust root.
#[derive(Debug, Clone)]
pub struct Home {
    pub path: PathBuf,
}

impl Home {
    /// The home for a tree; one that lies within the tree, or holds it, is refused.
    pub fn at(path: PathBuf, tree: Option<&Path>) -> Result<Home, Error> {
        let path = std::path::absolute(&path).unwrap_or(path);
        let canonical = fs::canonicalize(&path).unwrap_or_else(|_| path.clone());
        if tree.is_some_and(|tree| canonical.starts_with(tree) || tree.starts_with(&canonical)) {
            return Err(Error::usage(
                format!("`{}` and the tree that is judged lie within each other", path.display()),
                "set PROOFMARK_HOME to a folder outside the repository",
            ));
        }
        Ok(Home { path })
    }

    /// The trust root, or `None` where none was made yet.
    pub fn trust_root(&self) -> Result<Option<TrustRoot>, Error> {
        let path = self.path.join(TRUST_ROOT);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(
                TrustRoot::from_bytes(&bytes).map_err(|error| Error::trust(&path, &error))?,
            )),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", &path, &error)),
        }
    }

    /// Path of the trust root, for people who hand it to a verifier.
    pub fn trust_root_path(&self) -> PathBuf {
        self.path.join(TRUST_ROOT)
    }

    /// Makes keys for every role and a self-signed trust root, unless there is one. Says whether it made them.
    pub fn ensure(&self, random: &mut dyn FnMut() -> [u8; 32]) -> Result<(TrustRoot, bool), Error> {
        if let Some(root) = self.trust_root()? {
            return Ok((root, false));
        }
        let folder = self.path.join("keys");
        if folder.exists() {
            return Err(Error::refused(
                format!(
                    "`{}` has keys but no trust root: somebody removed it",
                    self.path.display()
                ),
                "put the trust root back from where you keep a copy; a new one would forget what was demanded",
            ));
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(|error| Error::io("create", &folder, &error))?;
        for role in Role::ALL {
            for algorithm in algorithms(role) {
                let path = self.key_path(role, *algorithm);
                if !path.exists() {
                    write_private(&path, Digest(random()).hex().as_bytes())?;
                }
            }
        }
        let root = self.self_signed_root()?;
        write_private(&self.path.join(TRUST_ROOT), &root.to_bytes())?;
        Ok((root, true))
    }

    /// Both signers of a role.
    pub fn pair(&self, role: Role) -> Result<SigningPair, Error> {
        let classical = self.seed(role, Algorithm::Ed25519)?;
        let post_quantum = self.seed(role, Algorithm::MlDsa65)?;
        SigningPair::from_seeds(&classical, &post_quantum).map_err(|error| Error::failed("load the keys", error))
    }

    /// The log's signer.
    pub fn log_signer(&self) -> Result<MemorySigner, Error> {
        let seed = self.seed(Role::Log, Algorithm::Ed25519)?;
        MemorySigner::from_seed(Algorithm::Ed25519, &seed).map_err(|error| Error::failed("load the keys", error))
    }

    /// Where the last checkpoint of the log of store `id` is remembered, outside the store.
    pub fn remembered_checkpoint(&self, id: &str) -> PathBuf {
        self.path.join("logs").join(format!("{id}.checkpoint"))
    }

    fn key_path(&self, role: Role, algorithm: Algorithm) -> PathBuf {
        self.path
            .join("keys")
            .join(format!("{}.{}", role.name(), algorithm.name()))
    }

    fn seed(&self, role: Role, algorithm: Algorithm) -> Result<[u8; 32], Error> {
        let path = self.key_path(role, algorithm);
        let text = fs::read_to_string(&path).map_err(|error| Error::io("read", &path, &error))?;
        let mode = fs::metadata(&path)
            .map_err(|error| Error::io("read", &path, &error))?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            return Err(Error::usage(
                format!(
                    "private key `{}` can be read by others (mode {:o})",
                    path.display(),
                    mode & 0o777
                ),
                format!("chmod 600 {}", path.display()),
            ));
        }
        let seed: Digest = text.trim().parse().map_err(|_| {
            Error::usage(
                format!("`{}` is not a key seed", path.display()),
                "restore it from a backup",
            )
        })?;
        Ok(seed.0)
    }

    fn self_signed_root(&self) -> Result<TrustRoot, Error> {
        let mut keys: BTreeMap<KeyId, PublicKey> = BTreeMap::new();
        let mut roles = BTreeMap::new();
        for role in Role::ALL {
            let mut ids = Vec::new();
            for algorithm in algorithms(role) {
                let signer = MemorySigner::from_seed(*algorithm, &self.seed(role, *algorithm)?)
                    .map_err(|error| Error::failed("load the keys", error))?;
                let public = signer.public_key().clone();
                ids.push(public.id());
                keys.insert(public.id(), public);
            }
            let threshold = ids.len() as u32;
            roles.insert(role, RoleKeys { keys: ids, threshold });
        }
        let log_key = roles[&Role::Log].keys[0].clone();
        let allow = |role, predicates: &[&str]| Allowance {
            role,
            predicates: predicates.iter().map(|name| (*name).to_owned()).collect(),
        };
        Ok(TrustRoot {
            version: 1,
            self_signed: true,
            allow: vec![
                allow(Role::Step, &predicates::STEP),
                allow(Role::Gate, &[predicates::VSA]),
                allow(Role::Approver, &[predicates::APPROVAL, predicates::WAIVER]),
            ],
            log: LogIdentity {
                origin: format!("proofmark.local/{}", &log_key.0[..16]),
                key: log_key,
            },
            keys,
            roles,
            floor: policy::floor(),
        })
    }
}

/// The log signs checkpoints with Ed25519 alone (C2SP note); every other role signs with both.
fn algorithms(role: Role) -> &'static [Algorithm] {
    match role {
        Role::Log => &[Algorithm::Ed25519],
        Role::Step | Role::Gate | Role::Approver => &[Algorithm::Ed25519, Algorithm::MlDsa65],
    }
}

/// Puts a private file in place at once: a crash leaves none or a whole one.
fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::io("write", path, &error);
    let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&temporary, path).map_err(failed)
}
