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
/// Folders that hold no files.
const PSEUDO: [&str; 3] = ["/proc", "/sys", "/dev"];
/// Folders that belong to the operating system.
const SYSTEM: [&str; 8] = ["/usr", "/lib", "/lib32", "/lib64", "/etc", "/bin", "/sbin", "/opt"];
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
    /// The product, relative to the tree.
    pub path: &'a str,
    /// Root of the git repository, when the tree is in one.
    pub repository: Option<&'a Path>,
    /// What the tree's digest covers.
    pub files: &'a [source::TreeFile],
    /// The tree's digest after the build.
    pub tree_after: Digest,
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
                    "treeAfter": build.tree_after.hex(),
                    "productWritten": product_written(build),
                    "undigestedReads": seen.undigested,
                    "outsideReads": seen.outside,
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

#[derive(Default)]
struct Materials {
    materials: Vec<Value>,
    /// Read from the tree, but no part of its digest and not below the folder the build writes to.
    undigested: Vec<String>,
    /// Read from somewhere that is neither tree, repository, toolchain, package manager nor system: the name only.
    outside: Vec<String>,
}

/// Whether the build itself was seen to write its product. Nobody watched where nothing was observed.
fn product_written(build: &Build<'_>) -> bool {
    let product = build.tree.join(build.path);
    build
        .ran
        .finished
        .observed
        .as_ref()
        .is_some_and(|observed| observed.written.contains(&product))
}

fn materials(build: &Build<'_>) -> Materials {
    let Some(observed) = &build.ran.finished.observed else {
        return Materials::default();
    };
    let digested: BTreeSet<PathBuf> = build.files.iter().map(|file| build.tree.join(&file.os_path)).collect();
    let output = build.tree.join(build.path.split('/').next().unwrap_or_default());
    let homes = tool_homes();
    let mut seen = Materials::default();
    let mut packages: BTreeSet<String> = BTreeSet::new();
    let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut toolchains: BTreeSet<String> = BTreeSet::new();
    for path in &observed.read {
        if digested.contains(path) || observed.written.contains(path) || PSEUDO.iter().any(|p| path.starts_with(p)) {
            continue;
        }
        if let Ok(inside) = path.strip_prefix(build.tree) {
            if !path.starts_with(&output) && !inside.starts_with(".git") {
                seen.undigested.push(inside.display().to_string());
            }
        } else if let Some(package) = package_of(path) {
            packages.insert(package);
        } else if let Some(toolchain) = toolchain_of(path) {
            toolchains.insert(toolchain);
        } else if let Some(inside) = build
            .repository
            .and_then(|repository| path.strip_prefix(repository).ok())
        {
            files.insert(format!("repository:{}", inside.display()), path.clone());
        } else if SYSTEM.iter().any(|p| path.starts_with(p)) {
            files.insert(format!("file://{}", path.display()), path.clone());
        } else if !homes.iter().any(|home| path.starts_with(home)) {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            seen.outside.push(name.unwrap_or_default());
        }
    }
    seen.materials = packages
        .iter()
        .map(|package| package_material(package, build.components))
        .collect();
    let named = toolchains
        .iter()
        .map(|name| json!({"uri": format!("pkg:generic/rust-toolchain@{name}")}));
    seen.materials.extend(named);
    seen.materials
        .extend(files.iter().take(MATERIALS_MAX).filter_map(|(name, path)| {
            let digest = Digest::of(&fs::read(path).ok()?);
            Some(json!({"uri": name, "digest": {"sha256": digest.hex()}}))
        }));
    seen
}

/// Where package managers keep their state: read by every build, and not what a product is made of.
fn tool_homes() -> Vec<PathBuf> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let stated = ["CARGO_HOME", "RUSTUP_HOME", "GOPATH", "GOMODCACHE"];
    let usual = [".cargo", ".rustup", ".npm", "go", ".gitconfig", ".config/git"];
    let stated = stated
        .into_iter()
        .filter_map(|name| std::env::var_os(name).map(PathBuf::from));
    stated
        .chain(usual.into_iter().filter_map(|folder| Some(home.as_ref()?.join(folder))))
        .collect()
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
