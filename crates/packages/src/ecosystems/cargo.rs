//! # ecosystem/cargo
//! Reads `Cargo.lock` (formats 1 to 4), with the `Cargo.toml` files beside and below it.
//!
//! ## What it does
//! Every `[[package]]` becomes a component with its checksum and line. A package without a source is the project's own,
//! unless a `[patch]` puts a local copy in the place of a registry package: that one is judged like the package it
//! replaces. What only development or build dependencies lead to has the scope `development`; when a manifest is missing, everything is `runtime`.
//!
//! ## Why it matters
//! The lock says what is built. A `Cargo.toml` alone says what might be.
//!
//! ## Example
//! ```toml
//! [[package]]
//! name = "serde"
//! version = "1.0.200"
//! source = "registry+https://github.com/rust-lang/crates.io-index"
//! checksum = "ddc6f9cc94d67c0e21aaf7eda3a010fd3af78ebf6e096aa6e2e13c79749cce4f"
//! ```
//!
//! ## What to do instead
//! Commit `Cargo.lock`, for libraries too: `cargo generate-lockfile`.
//!
//! ## References
//! - <https://doc.rust-lang.org/cargo/guide/cargo-toml-vs-cargo-lock.html>
//! - <https://docs.rs/cargo-lock>

use std::collections::{BTreeMap, BTreeSet, HashMap};

use evidence::{Component, Scope};
use serde::Deserialize;

use crate::Entry;
use crate::purl::Purl;
use crate::reader::{Found, Lines, Tree, folder, join, public_url, toml_reason};

pub(super) const ENTRY: Entry = Entry {
    id: "ecosystem/cargo",
    files: &["Cargo.lock", "Cargo.toml"],
    read,
};

/// The newest lock format we know.
const LOCK_VERSION_MAX: u32 = 4;

fn read(tree: &Tree<'_>, found: &mut Found) {
    let manifests = read_manifests(tree, found);
    let mut locks = BTreeMap::new();
    for (path, _) in tree.named("Cargo.lock") {
        found.manifests.insert(path.to_owned());
        match read_lock(tree, path) {
            Ok(lock) => {
                lock.report(path, &manifests, found);
                locks.insert(path.to_owned(), Some(lock));
            }
            Err(reason) => {
                found.unreadable(path, reason);
                locks.insert(path.to_owned(), None);
            }
        }
    }
    for (path, manifest) in &manifests {
        let Some(name) = manifest.name().filter(|_| manifest.depends()) else {
            continue;
        };
        // A lock we could not read is already a gap of its own.
        let locked = tree.at_or_above(path, "Cargo.lock").any(|lock| match locks.get(&lock) {
            Some(Some(lock)) => lock
                .packages
                .iter()
                .any(|package| package.source.is_none() && package.name == name),
            _ => true,
        });
        if !locked {
            found.gap(
                "packages/no-lock",
                path,
                "no `Cargo.lock` beside or above it names this package, so the versions it pulls in are unknown",
            );
        }
    }
}

fn read_manifests(tree: &Tree<'_>, found: &mut Found) -> BTreeMap<String, Manifest> {
    let mut manifests = BTreeMap::new();
    for (path, _) in tree.named("Cargo.toml") {
        found.manifests.insert(path.to_owned());
        match tree
            .text(path)
            .and_then(|text| toml::from_str::<Manifest>(text).map_err(|error| toml_reason(text, &error)))
        {
            Ok(manifest) => {
                manifests.insert(path.to_owned(), manifest);
            }
            Err(reason) => found.unreadable(path, reason),
        }
    }
    manifests
}

/// A lock file, its packages in the order of the file.
struct Lock {
    packages: Vec<Package>,
}

struct Package {
    name: String,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    dependencies: Vec<String>,
    line: u32,
}

fn read_lock(tree: &Tree<'_>, path: &str) -> Result<Lock, String> {
    let text = tree.text(path)?;
    let file: LockFile = toml::from_str(text).map_err(|error| toml_reason(text, &error))?;
    if let Some(version) = file.version.filter(|version| *version > LOCK_VERSION_MAX) {
        return Err(format!(
            "lock format {version} is newer than {LOCK_VERSION_MAX}, the newest one known"
        ));
    }
    let lines = Lines::of(text);
    let mut packages = Vec::with_capacity(file.package.len() + 1);
    for package in file.root.into_iter().chain(file.package) {
        let name = package.name.get_ref().clone();
        // Format 1 keeps checksums in a table of their own.
        let checksum = package.checksum.or_else(|| {
            let source = package.source.as_deref()?;
            file.metadata
                .get(&format!("checksum {name} {} ({source})", package.version))?
                .as_str()
                .map(str::to_owned)
        });
        packages.push(Package {
            line: lines.line(package.name.span().start),
            name,
            version: package.version,
            source: package.source,
            checksum: checksum
                .filter(|hex| is_sha256(hex))
                .map(|hex| format!("sha256:{}", hex.to_ascii_lowercase())),
            dependencies: package.dependencies,
        });
    }
    Ok(Lock { packages })
}

impl Lock {
    fn report(&self, path: &str, manifests: &BTreeMap<String, Manifest>, found: &mut Found) {
        let targets = self.targets();
        let beside = manifests.get(&join(folder(path), "Cargo.toml"));
        let patched = beside.map(Manifest::patched_locally).unwrap_or_default();
        let runtime = self.runtime(path, manifests, &targets);
        let purls: Vec<String> = self.packages.iter().map(Package::purl).collect();
        for (at, package) in self.packages.iter().enumerate() {
            let own = package.source.is_none() && !patched.contains(&package.name);
            found.components.push(Component {
                purl: purls[at].clone(),
                ecosystem: "crates.io".to_owned(),
                name: package.name.clone(),
                version: package.version.clone(),
                licence: None,
                checksum: package.checksum.clone(),
                scope: match (own, runtime[at]) {
                    (true, _) => Scope::Root,
                    (false, true) => Scope::Runtime,
                    (false, false) => Scope::Development,
                },
                path: path.to_owned(),
                line: package.line,
            });
            for to in &targets[at] {
                found.edge(&purls[at], &purls[*to]);
            }
        }
    }

    /// For each package the indices of those it depends on. A name the lock does not hold leads nowhere.
    fn targets(&self) -> Vec<Vec<usize>> {
        let mut by_name: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, package) in self.packages.iter().enumerate() {
            by_name.entry(&package.name).or_default().push(at);
        }
        let resolve = |dependency: &String| -> Option<usize> {
            let mut words = dependency.splitn(3, ' ');
            let candidates = by_name.get(words.next()?)?;
            let version = words.next();
            let source = words
                .next()
                .map(|source| source.trim_start_matches('(').trim_end_matches(')'));
            candidates.iter().copied().find(|at| {
                let package = &self.packages[*at];
                version.is_none_or(|version| package.version == version)
                    && source.is_none_or(|source| package.source.as_deref() == Some(source))
            })
        };
        self.packages
            .iter()
            .map(|package| package.dependencies.iter().filter_map(resolve).collect())
            .collect()
    }

    /// Which packages end up in what is shipped, as far as the manifests tell; without one, all of its dependencies.
    fn runtime(&self, path: &str, manifests: &BTreeMap<String, Manifest>, targets: &[Vec<usize>]) -> Vec<bool> {
        let below = folder(path);
        let is_below = |manifest: &str| below.is_empty() || manifest.starts_with(&format!("{below}/"));
        let workspace = manifests.get(&join(below, "Cargo.toml"));
        let mut by_name: BTreeMap<&str, Vec<&Manifest>> = BTreeMap::new();
        for (_, manifest) in manifests.iter().filter(|(path, _)| is_below(path)) {
            if let Some(name) = manifest.name() {
                by_name.entry(name).or_default().push(manifest);
            }
        }
        let mut reached = vec![false; self.packages.len()];
        let mut queue: Vec<usize> = Vec::new();
        for (at, package) in self
            .packages
            .iter()
            .enumerate()
            .filter(|(_, package)| package.source.is_none())
        {
            let own = by_name.get(package.name.as_str());
            let shipped = |target: &&usize| {
                own.is_none_or(|own| {
                    own.iter()
                        .any(|manifest| manifest.ships(&self.packages[**target].name, workspace))
                })
            };
            queue.extend(targets[at].iter().filter(shipped));
        }
        if !self.packages.iter().any(|package| package.source.is_none()) {
            queue.extend(0..self.packages.len());
        }
        while let Some(at) = queue.pop() {
            if !std::mem::replace(&mut reached[at], true) && self.packages[at].source.is_some() {
                queue.extend(&targets[at]);
            }
        }
        reached
    }
}

impl Package {
    /// Where it comes from stands in the qualifiers, unless that is crates.io or this tree.
    fn purl(&self) -> String {
        let source = self.source.as_deref().map(Source::of);
        let purl = Purl::new("cargo", None, &self.name, Some(&self.version)).and_then(|purl| match source {
            None | Some(Source::CratesIo) => Ok(purl),
            Some(Source::Registry(url)) => purl.with_qualifier("repository_url", &url),
            Some(Source::Git(url)) => purl.with_qualifier("vcs_url", &url),
        });
        purl.map_or_else(|_| format!("pkg:cargo/unnamed@{}", self.line), |purl| purl.to_string())
    }
}

enum Source {
    CratesIo,
    Registry(String),
    Git(String),
}

impl Source {
    fn of(source: &str) -> Source {
        const CRATES_IO: [&str; 2] = [
            "registry+https://github.com/rust-lang/crates.io-index",
            "sparse+https://index.crates.io/",
        ];
        if CRATES_IO.contains(&source) {
            return Source::CratesIo;
        }
        match source.split_once('+') {
            Some(("git", _)) => {
                let commit = source
                    .rsplit_once('#')
                    .map(|(_, commit)| format!("@{commit}"))
                    .unwrap_or_default();
                Source::Git(format!("{}{commit}", public_url(source)))
            }
            Some((_, url)) => Source::Registry(public_url(url)),
            None => Source::Registry(public_url(source)),
        }
    }
}

fn is_sha256(hex: &str) -> bool {
    hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[derive(Deserialize)]
struct LockFile {
    version: Option<u32>,
    /// Until 2016 the root package stood apart.
    root: Option<LockedPackage>,
    #[serde(default)]
    package: Vec<LockedPackage>,
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
}

#[derive(Deserialize)]
struct LockedPackage {
    name: toml::Spanned<String>,
    version: String,
    source: Option<String>,
    checksum: Option<String>,
    #[serde(default)]
    dependencies: Vec<String>,
}

/// The parts of `Cargo.toml` that say which dependency is for what.
#[derive(Deserialize, Default)]
#[serde(rename_all = "kebab-case", default)]
struct Manifest {
    package: Option<toml::Table>,
    workspace: Option<WorkspaceTable>,
    dependencies: toml::Table,
    #[serde(alias = "dev_dependencies")]
    dev_dependencies: toml::Table,
    #[serde(alias = "build_dependencies")]
    build_dependencies: toml::Table,
    target: toml::Table,
    patch: toml::Table,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct WorkspaceTable {
    dependencies: toml::Table,
}

impl Manifest {
    fn name(&self) -> Option<&str> {
        self.package.as_ref()?.get("name")?.as_str()
    }

    fn depends(&self) -> bool {
        !self.dependencies.is_empty()
            || !self.dev_dependencies.is_empty()
            || !self.build_dependencies.is_empty()
            || !self.target.is_empty()
    }

    /// Whether `package` may be shipped because of this manifest: listed as a normal dependency, or not listed at all.
    fn ships(&self, package: &str, workspace: Option<&Manifest>) -> bool {
        let lists = |table: &toml::Table| {
            table
                .iter()
                .any(|(key, value)| same_crate(real_name(key, value, workspace), package))
        };
        let in_targets = |kind: &str| {
            self.target
                .values()
                .filter_map(|target| target.get(kind)?.as_table())
                .any(lists)
        };
        let normal = lists(&self.dependencies) || in_targets("dependencies");
        let listed = [&self.dev_dependencies, &self.build_dependencies]
            .into_iter()
            .any(lists)
            || [
                "dev-dependencies",
                "dev_dependencies",
                "build-dependencies",
                "build_dependencies",
            ]
            .into_iter()
            .any(in_targets);
        normal || !listed
    }

    /// Names of packages that a `[patch]` replaces by a local folder.
    fn patched_locally(&self) -> BTreeSet<String> {
        let tables = self.patch.values().filter_map(toml::Value::as_table);
        tables
            .flat_map(|table| table.iter())
            .filter(|(_, value)| value.get("path").is_some())
            .map(|(key, value)| real_name(key, value, None).to_owned())
            .collect()
    }
}

/// The package behind a dependency's key: it may be renamed here or in the workspace.
fn real_name<'a>(key: &'a str, value: &'a toml::Value, workspace: Option<&'a Manifest>) -> &'a str {
    let renamed = |value: &'a toml::Value| value.get("package").and_then(toml::Value::as_str);
    let inherits = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
    let inherited = || workspace?.workspace.as_ref()?.dependencies.get(key).and_then(renamed);
    renamed(value)
        .or_else(|| if inherits { inherited() } else { None })
        .unwrap_or(key)
}

/// crates.io holds `-` and `_` for the same.
fn same_crate(a: &str, b: &str) -> bool {
    a.len() == b.len()
        && a.bytes()
            .zip(b.bytes())
            .all(|(a, b)| a == b || (matches!(a, b'-' | b'_') && matches!(b, b'-' | b'_')))
}

#[cfg(test)]
mod tests {
    use evidence::Scope;

    use crate::read;

    const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";
    const SUM: &str = "f71489ff30030d2ae598524f61326b902466f72a0fb1a8564c001cc63425bcc7";

    fn files(rows: &[(&str, String)]) -> Vec<(String, Vec<u8>)> {
        rows.iter()
            .map(|(path, text)| ((*path).to_owned(), text.clone().into_bytes()))
            .collect()
    }

    #[test]
    fn scopes_follow_the_manifest() {
        let package = |name: &str, needs: &str| {
            format!(
                "[[package]]\nname = \"{name}\"\nversion = \"1.0.0\"\nsource = \"{REGISTRY}\"\ndependencies = [{needs}]\n"
            )
        };
        let lock = format!(
            "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"real\", \"tester\", \"builder\"]\n{}{}{}{}{}",
            package("real", "\"shared\""),
            package("tester", "\"shared\", \"deep\""),
            package("builder", ""),
            package("shared", ""),
            package("deep", ""),
        );
        let manifest = "[package]\nname = \"app\"\n[dependencies]\nalias = { package = \"real\", version = \"1\" }\n[dev-dependencies]\ntester = \"1\"\n[build-dependencies]\nbuilder = \"1\"\n".to_owned();
        let inventory = read(&files(&[("x/Cargo.lock", lock.clone()), ("x/Cargo.toml", manifest)]));
        let scopes: Vec<(&str, Scope)> = inventory
            .components
            .iter()
            .map(|c| (c.name.as_str(), c.scope))
            .collect();
        assert_eq!(
            scopes,
            [
                ("app", Scope::Root),
                ("builder", Scope::Development),
                ("deep", Scope::Development),
                ("real", Scope::Runtime),
                ("shared", Scope::Runtime),
                ("tester", Scope::Development),
            ]
        );
        assert!(inventory.gaps.is_empty(), "{:?}", inventory.gaps);
        assert_eq!(inventory.edges.len(), 6);
        let without = read(&files(&[("x/Cargo.lock", lock)]));
        assert!(
            without.components.iter().all(|c| c.scope != Scope::Development),
            "without a manifest everything may be shipped"
        );
    }

    #[test]
    fn every_format_gives_checksum_line_and_source() {
        let v1 = format!(
            "[[package]]\nname = \"syn\"\nversion = \"1.0.73\"\nsource = \"{REGISTRY}\"\n\n[metadata]\n\"checksum syn 1.0.73 ({REGISTRY})\" = \"{SUM}\"\n"
        );
        let v3 = format!(
            "version = 3\n\n[[package]]\nname = \"syn\"\nversion = \"1.0.73\"\nsource = \"{REGISTRY}\"\nchecksum = \"{SUM}\"\n"
        );
        for (lock, line) in [(v1, 2), (v3, 4)] {
            let inventory = read(&files(&[("Cargo.lock", lock)]));
            let component = &inventory.components[0];
            assert_eq!(component.purl, "pkg:cargo/syn@1.0.73");
            assert_eq!(component.checksum.as_deref(), Some(format!("sha256:{SUM}").as_str()));
            assert_eq!(component.line, line);
        }
        let git = "[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"git+https://user:pw@host/a.git?branch=x#0123abc\"\n".to_owned();
        let inventory = read(&files(&[("Cargo.lock", git)]));
        assert_eq!(
            inventory.components[0].purl,
            "pkg:cargo/a@1.0.0?vcs_url=git%2Bhttps:%2F%2Fhost%2Fa.git%400123abc"
        );
    }

    #[test]
    fn what_can_not_be_read_is_a_gap() {
        for (path, text, id) in [
            ("Cargo.lock", "this is not valid toml! (I think)", "packages/unreadable"),
            ("Cargo.lock", "version = 5\n", "packages/unreadable"),
            (
                "Cargo.toml",
                "[package]\nname = \"a\"\n[dependencies]\nb = \"1\"\n",
                "packages/no-lock",
            ),
        ] {
            let inventory = read(&files(&[(path, text.to_owned())]));
            assert_eq!(
                inventory
                    .gaps
                    .iter()
                    .map(|gap| (gap.id.as_str(), gap.what.as_str(), gap.blocks))
                    .collect::<Vec<_>>(),
                [(id, path, true)]
            );
        }
        let quiet = read(&files(&[("Cargo.toml", "[package]\nname = \"a\"\n".to_owned())]));
        assert!(quiet.gaps.is_empty(), "it pulls nothing in");
    }

    #[test]
    fn a_local_patch_is_judged_like_what_it_replaces() {
        let lock = "version = 4\n[[package]]\nname = \"app\"\nversion = \"0.1.0\"\ndependencies = [\"time\"]\n[[package]]\nname = \"time\"\nversion = \"0.1.40\"\n".to_owned();
        let manifest = "[package]\nname = \"app\"\n[dependencies]\ntime = \"0.1\"\n[patch.crates-io]\ntime = { path = \"vendor/time\" }\n".to_owned();
        let inventory = read(&files(&[("Cargo.lock", lock), ("Cargo.toml", manifest)]));
        assert_eq!(inventory.components[1].scope, Scope::Runtime);
    }
}
