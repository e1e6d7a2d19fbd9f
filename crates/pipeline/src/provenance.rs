//! SLSA provenance v1 of a build step, from what was observed while it ran.
//!
//! Package sources appear as package URLs with the digest their lock file states, the toolchain and the system by
//! name and digest; a path of this machine never does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use evidence::{Component, Digest, Timestamp};
use serde_json::{Value, json};

use crate::step::Ran;

/// Upper bound of materials listed one by one.
const MATERIALS_MAX: usize = 4_000;
/// Our build type: a command run by `proofmark run`, its process tree watched.
pub const BUILD_TYPE: &str = "https://proofmark.dev/build/observed-command/v0.1";
pub const BUILDER: &str = "https://proofmark.dev/builder/local/v0.1";

/// What a build was told to do and what it was seen to do.
pub struct Build<'a> {
    pub artifact: &'a str,
    pub run: &'a [String],
    pub tree: &'a Path,
    pub tree_digest: Digest,
    pub commit: Option<&'a str>,
    pub components: &'a [Component],
    pub ran: &'a Ran,
    pub attempt: Digest,
    pub started: Timestamp,
    pub finished: Timestamp,
    /// Secrets that stand in the artifact's bytes.
    pub secrets_in_artifact: u64,
}

/// The predicate.
pub fn predicate(build: &Build<'_>) -> Value {
    let seen = materials(build);
    let observed = build.ran.finished.observed.as_ref();
    let method = observed.map_or("none", |observed| observed.method);
    let isolation = build.ran.finished.isolation.name();
    let mut dependencies = vec![json!({
        "name": "tree", "digest": {"sha256": build.tree_digest.hex()},
        "annotations": {"commit": build.commit},
    })];
    dependencies.extend(seen.materials);
    json!({
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"command": build.run, "artifact": build.artifact},
            "internalParameters": {
                "environment": build.ran.environment,
                "proofmark": {
                    "attempt": build.attempt.hex(),
                    "method": method,
                    "complete": observed.is_some_and(|observed| observed.complete),
                    "isolation": isolation,
                    "slsaLevel": level(build.ran),
                    "connections": observed.map(|observed| connections(&observed.connected)).unwrap_or_default(),
                    "unnamedReads": seen.unnamed,
                    "secretsInLog": build.ran.redacted,
                    "secretsInArtifact": build.secrets_in_artifact,
                },
            },
            "resolvedDependencies": dependencies,
        },
        "runDetails": {
            "builder": {"id": BUILDER, "version": {"proofmark": env!("CARGO_PKG_VERSION")}},
            "metadata": {
                "invocationId": build.attempt.hex(),
                "startedOn": build.started.to_string(),
                "finishedOn": build.finished.to_string(),
            },
            "byproducts": byproducts(observed.map(|o| &o.executed)),
        },
    })
}

/// The SLSA build level the isolation earns. Provenance that exists and is signed is level 1; that the build can't reach
/// the signing key, and that what it did was observed from outside it, is what level 2 asks of a platform. Level 3
/// asks for a build that can't be influenced by others on the same machine: never claimed here.
fn level(ran: &Ran) -> u8 {
    let isolation = &ran.finished.isolation;
    let apart =
        (isolation.user_namespace && isolation.mount_namespace && isolation.pid_namespace) || isolation.landlock;
    let watched = ran.finished.observed.as_ref().is_some_and(|observed| observed.complete);
    if apart && watched { 2 } else { 1 }
}

struct Materials {
    materials: Vec<Value>,
    /// Files that were read from places that have no portable name.
    unnamed: u64,
}

fn materials(build: &Build<'_>) -> Materials {
    let Some(observed) = &build.ran.finished.observed else {
        return Materials {
            materials: Vec::new(),
            unnamed: 0,
        };
    };
    let mut packages: BTreeSet<String> = BTreeSet::new();
    let mut system: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut toolchains: BTreeSet<String> = BTreeSet::new();
    let mut unnamed = 0;
    for path in &observed.read {
        if path.starts_with(build.tree) || ["/proc", "/sys", "/dev", "/tmp"].iter().any(|p| path.starts_with(p)) {
            continue;
        }
        if let Some(package) = package_of(path) {
            packages.insert(package);
        } else if let Some(toolchain) = toolchain_of(path) {
            toolchains.insert(toolchain);
        } else if ["/usr", "/lib", "/lib64", "/etc", "/bin", "/opt"]
            .iter()
            .any(|p| path.starts_with(p))
        {
            system.insert(path.to_string_lossy().into_owned(), path.clone());
        } else {
            unnamed += 1;
        }
    }
    let mut materials: Vec<Value> = packages
        .iter()
        .map(|package| package_material(package, build.components))
        .collect();
    materials.extend(
        toolchains
            .iter()
            .map(|name| json!({"uri": format!("pkg:generic/rust-toolchain@{name}")})),
    );
    materials.extend(system.iter().take(MATERIALS_MAX).filter_map(|(name, path)| {
        let digest = Digest::of(&fs::read(path).ok()?);
        Some(json!({"uri": format!("file://{name}"), "digest": {"sha256": digest.hex()}}))
    }));
    Materials { materials, unnamed }
}

/// `name-version` of a package source or archive below a Cargo registry.
fn package_of(path: &Path) -> Option<String> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let at = parts.iter().position(|part| *part == "registry")?;
    match *parts.get(at + 1)? {
        "src" | "cache" => {
            let name = parts.get(at + 3)?;
            Some(name.strip_suffix(".crate").unwrap_or(name).to_owned())
        }
        _ => None,
    }
}

fn toolchain_of(path: &Path) -> Option<String> {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let at = parts.iter().position(|part| *part == "toolchains")?;
    parts.get(at + 1).map(|name| (*name).to_owned())
}

/// A package source by package URL, with the checksum the lock file states.
fn package_material(package: &str, components: &[Component]) -> Value {
    let component = components.iter().find(|component| {
        component.ecosystem == "crates.io" && format!("{}-{}", component.name, component.version) == package
    });
    match component {
        Some(component) => {
            let digest = component.checksum.as_deref().and_then(|sum| sum.split_once(':'));
            let digest = digest.map(|(algorithm, value)| json!({ algorithm: value }));
            json!({"uri": component.purl, "digest": digest})
        }
        None => json!({"uri": format!("pkg:generic/cargo-registry/{package}"), "annotations": {"inLockFile": false}}),
    }
}

/// Programs that ran, by name and digest.
fn byproducts(executed: Option<&BTreeSet<PathBuf>>) -> Vec<Value> {
    let mut programs: BTreeMap<(String, String), Value> = BTreeMap::new();
    for path in executed.into_iter().flatten() {
        let Some(name) = path.file_name().map(|name| name.to_string_lossy().into_owned()) else {
            continue;
        };
        let Ok(bytes) = fs::read(path) else { continue };
        let digest = Digest::of(&bytes).hex();
        let value = json!({"name": format!("executed:{name}"), "digest": {"sha256": digest}});
        programs.insert((name, digest), value);
    }
    programs.into_values().collect()
}

/// Connections without what is particular to this run: unix sockets by file name only.
fn connections(connected: &BTreeSet<String>) -> Vec<String> {
    let mut names: Vec<String> = connected
        .iter()
        .map(|name| match name.strip_prefix("unix:") {
            Some(path) => format!("unix:{}", path.rsplit('/').next().unwrap_or_default()),
            None => name.clone(),
        })
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The digest of an artifact's provenance subject, and the level it claims: what later stages join to.
pub fn claimed_level(predicate: &Value) -> u64 {
    predicate["buildDefinition"]["internalParameters"]["proofmark"]["slsaLevel"]
        .as_u64()
        .unwrap_or(0)
}
