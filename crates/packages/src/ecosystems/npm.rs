//! # ecosystem/npm
//! Reads `package-lock.json` and `npm-shrinkwrap.json` (formats 1 to 3), with the `package.json` files beside and below.
//!
//! ## What it does
//! Every installed package becomes a component with its checksum (sha512 or sha256 of the tarball) and line. What npm marks
//! `dev` has the scope `development`. Aliases count under their real name. Packages from git, a file or another registry say so in their package URL.
//!
//! ## Why it matters
//! `package.json` names ranges; only the lock says which bytes are installed.
//!
//! ## Example
//! ```json
//! { "lockfileVersion": 3, "packages": { "node_modules/wrappy": { "version": "1.0.2", "integrity": "sha512-…" } } }
//! ```
//!
//! ## What to do instead
//! Commit `package-lock.json` and install with `npm ci`.
//!
//! ## References
//! - <https://docs.npmjs.com/cli/configuring-npm/package-lock-json>

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use evidence::{Component, Scope};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::Entry;
use crate::licence::npm_licence;
use crate::purl::Purl;
use crate::reader::{Found, Lines, Tree, file_name, folder, folders_up, join, json_reason, public_url};

pub(super) const ENTRY: Entry = Entry {
    id: "ecosystem/npm",
    files: &["package-lock.json", "npm-shrinkwrap.json", "package.json"],
    read,
};

const LOCK_NAMES: [&str; 2] = ["npm-shrinkwrap.json", "package-lock.json"];
/// Locks of other tools: where one of them stands, it is the gap, not the missing package-lock.json.
const OTHER_LOCKS: [&str; 5] = ["yarn.lock", "pnpm-lock.yaml", "bun.lock", "bun.lockb", "deno.lock"];
const LOCK_VERSION_MAX: u64 = 3;
/// How deep `dependencies` of format 1 may nest.
const DEPTH_MAX: usize = 64;

fn read(tree: &Tree<'_>, found: &mut Found) {
    let mut locks: BTreeMap<String, Option<Lock>> = BTreeMap::new();
    let paths: Vec<&str> = tree
        .all()
        .map(|(path, _)| path)
        .filter(|path| LOCK_NAMES.contains(&file_name(path)))
        .collect();
    for path in paths {
        found.manifests.insert(path.to_owned());
        let lock = read_lock(tree, path)
            .map_err(|reason| found.unreadable(path, reason))
            .ok();
        if let Some(lock) = &lock {
            lock.report(tree, path, found);
        }
        locks.insert(path.to_owned(), lock);
    }
    for (path, _) in tree.named("package.json") {
        found.manifests.insert(path.to_owned());
        let manifest = tree
            .text(path)
            .and_then(|text| serde_json::from_str::<Manifest>(text).map_err(|error| json_reason(&error)));
        match manifest {
            Err(reason) => found.unreadable(path, reason),
            Ok(manifest) if manifest.depends() && !is_locked(tree, path, &locks) => {
                found.gap("packages/no-lock", path, "no `package-lock.json` beside or above it names this package, so the versions it pulls in are unknown");
            }
            Ok(_) => {}
        }
    }
}

/// Whether some lock, ours or another tool's, says what this `package.json` pulls in.
fn is_locked(tree: &Tree<'_>, path: &str, locks: &BTreeMap<String, Option<Lock>>) -> bool {
    let home = folder(path);
    folders_up(path).any(|above| {
        let ours = LOCK_NAMES
            .iter()
            .filter_map(|name| locks.get(&join(above, name)))
            .any(|lock| {
                let inside = home.strip_prefix(above).unwrap_or(home).trim_start_matches('/');
                // A lock that can't be read is a gap of its own.
                inside.is_empty()
                    || lock
                        .as_ref()
                        .is_none_or(|lock| lock.local.iter().any(|local| local == inside))
            });
        ours || OTHER_LOCKS.iter().any(|name| tree.get(&join(above, name)).is_some())
    })
}

struct Lock {
    root: RootPackage,
    packages: Vec<Package>,
    /// Folders below the lock that hold packages of their own: workspaces and `file:` dependencies.
    local: Vec<String>,
    /// Entries of a shape npm does not write: how many, and the first.
    odd: Option<(usize, String)>,
}

#[derive(Default)]
struct RootPackage {
    name: String,
    version: String,
    needs: Vec<String>,
}

struct Package {
    /// Place in the tree of installed packages: `node_modules/a/node_modules/b`, or a local folder.
    place: String,
    name: String,
    version: String,
    source: Source,
    checksum: Option<String>,
    licence: Option<String>,
    scope: Scope,
    needs: Vec<String>,
    line: u32,
}

enum Source {
    Npm,
    Registry(String),
    Git(String),
    Other(String),
}

fn read_lock(tree: &Tree<'_>, path: &str) -> Result<Lock, String> {
    let text = tree.text(path)?;
    let file: LockFile<'_> = serde_json::from_str(text).map_err(|error| json_reason(&error))?;
    if let Some(version) = file.lockfile_version.filter(|version| *version > LOCK_VERSION_MAX) {
        return Err(format!(
            "lock format {version} is newer than {LOCK_VERSION_MAX}, the newest one known"
        ));
    }
    let mut reading = Reading {
        text,
        lines: Lines::of(text),
        lock: Lock {
            root: RootPackage::default(),
            packages: Vec::new(),
            local: Vec::new(),
            odd: None,
        },
    };
    reading.lock.root.name = file.name.unwrap_or_default();
    reading.lock.root.version = file.version.unwrap_or_default();
    match &file.packages {
        Some(packages) => reading.packages(packages),
        None => {
            let dependencies = file.dependencies.unwrap_or_default();
            reading.lock.root.needs = dependencies.keys().cloned().collect();
            reading.dependencies("", &dependencies, 0);
        }
    }
    Ok(reading.lock)
}

struct Reading<'a> {
    text: &'a str,
    lines: Lines,
    lock: Lock,
}

impl<'a> Reading<'a> {
    /// Formats 2 and 3: one flat table by place.
    fn packages(&mut self, packages: &BTreeMap<String, &'a RawValue>) {
        let mut workspaces = false;
        if let Some(root) = packages
            .get("")
            .and_then(|raw| serde_json::from_str::<Locked>(raw.get()).ok())
        {
            workspaces = root.workspaces.is_some_and(|value| !value.is_null());
            self.lock.root.needs = root.needs.all();
            self.lock.root.name = root.name.unwrap_or_else(|| std::mem::take(&mut self.lock.root.name));
            self.lock.root.version = root
                .version
                .unwrap_or_else(|| std::mem::take(&mut self.lock.root.version));
        }
        for (place, raw) in packages.iter().filter(|(place, _)| !place.is_empty()) {
            let Ok(entry) = serde_json::from_str::<Locked>(raw.get()) else {
                self.odd(place);
                continue;
            };
            if entry.link {
                continue; // The folder it leads to has an entry of its own.
            }
            let installed = place.rsplit_once("node_modules/").map(|(_, name)| name);
            if installed.is_none() {
                self.lock.local.push(place.clone());
            }
            let name = entry
                .name
                .clone()
                .unwrap_or_else(|| installed.unwrap_or_else(|| file_name(place)).to_owned());
            let scope = match (installed.is_none() && workspaces, entry.dev || entry.dev_optional) {
                (true, _) => Scope::Root,
                (false, true) => Scope::Development,
                (false, false) => Scope::Runtime,
            };
            self.lock.packages.push(Package {
                place: place.clone(),
                version: entry.version.clone().unwrap_or_default(),
                source: Source::of(entry.resolved.as_deref(), &name),
                name,
                checksum: entry.integrity.as_deref().and_then(checksum_of),
                licence: npm_licence(entry.license.as_ref(), entry.licenses.as_ref()),
                scope,
                needs: entry.needs.all(),
                line: self.line(raw),
            });
        }
    }

    /// Format 1: a tree of tables by name.
    fn dependencies(&mut self, above: &str, dependencies: &BTreeMap<String, &'a RawValue>, depth: usize) {
        for (key, raw) in dependencies {
            let place = join(above, &format!("node_modules/{key}"));
            let entry = match serde_json::from_str::<LockedV1<'a>>(raw.get()) {
                Ok(entry) if depth < DEPTH_MAX => entry,
                _ => {
                    self.odd(&place);
                    continue;
                }
            };
            let spec = entry.version.unwrap_or_default();
            // An alias: `npm:string-width@4.2.0`.
            let (name, version) = match spec.strip_prefix("npm:").and_then(|alias| alias.rsplit_once('@')) {
                Some((name, version)) if !name.is_empty() => (name.to_owned(), version.to_owned()),
                _ => (key.clone(), spec.clone()),
            };
            let pinned = semver::Version::parse(&version).is_ok();
            let source = if pinned {
                Source::of(entry.resolved.as_deref(), &name)
            } else {
                Source::of(Some(&spec), &name)
            };
            self.lock.packages.push(Package {
                place: place.clone(),
                name,
                version: if pinned { version } else { String::new() },
                source,
                checksum: entry.integrity.as_deref().and_then(checksum_of),
                licence: None,
                scope: if entry.dev { Scope::Development } else { Scope::Runtime },
                needs: entry.requires.keys(),
                line: self.line(raw),
            });
            self.dependencies(&place, &entry.dependencies.unwrap_or_default(), depth + 1);
        }
    }

    fn odd(&mut self, place: &str) {
        let (count, _) = self.lock.odd.get_or_insert_with(|| (0, place.to_owned()));
        *count += 1;
    }

    /// A raw value is a piece of the text, so its place is its distance from the beginning.
    fn line(&self, raw: &RawValue) -> u32 {
        let offset = (raw.get().as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        self.lines.line(offset.min(self.text.len()))
    }
}

impl Lock {
    fn report(&self, tree: &Tree<'_>, path: &str, found: &mut Found) {
        if let Some((count, first)) = &self.odd {
            found.unreadable(
                path,
                format!("{count} of its entries can't be understood, the first is `{first}`"),
            );
        }
        let root = self.report_root(tree, path, found);
        let purls: Vec<String> = self.packages.iter().map(Package::purl).collect();
        let by_place: HashMap<&str, &str> = self
            .packages
            .iter()
            .zip(&purls)
            .map(|(package, purl)| (package.place.as_str(), purl.as_str()))
            .collect();
        for need in self.root.needs.iter().filter_map(|need| resolve(&by_place, "", need)) {
            if let Some(root) = &root {
                found.edge(root, need);
            }
        }
        for (package, purl) in self.packages.iter().zip(&purls) {
            for need in package
                .needs
                .iter()
                .filter_map(|need| resolve(&by_place, &package.place, need))
            {
                found.edge(purl, need);
            }
            found.components.push(Component {
                purl: purl.clone(),
                ecosystem: "npm".to_owned(),
                name: package.name.clone(),
                version: package.version.clone(),
                licence: package.licence.clone(),
                checksum: package.checksum.clone(),
                scope: package.scope,
                path: path.to_owned(),
                line: package.line,
            });
        }
    }

    /// The project's own package, when it has a name; its package URL.
    fn report_root(&self, tree: &Tree<'_>, path: &str, found: &mut Found) -> Option<String> {
        let beside = tree.text(&join(folder(path), "package.json")).ok();
        let beside = beside
            .and_then(|text| serde_json::from_str::<Manifest>(text).ok())
            .unwrap_or_default();
        let own = |stated: &str, beside: Option<String>| {
            if stated.is_empty() {
                beside.unwrap_or_default()
            } else {
                stated.to_owned()
            }
        };
        let (name, version) = (
            own(&self.root.name, beside.name),
            own(&self.root.version, beside.version),
        );
        let purl = purl_of(&name, &version)?.to_string();
        found.components.push(Component {
            purl: purl.clone(),
            ecosystem: "npm".to_owned(),
            name,
            version,
            licence: None,
            checksum: None,
            scope: Scope::Root,
            path: path.to_owned(),
            line: 1,
        });
        Some(purl)
    }
}

/// Node's rule: look beside, then in each `node_modules` above.
fn resolve<'p>(by_place: &HashMap<&str, &'p str>, from: &str, need: &str) -> Option<&'p str> {
    let mut here = Some(from);
    while let Some(place) = here {
        if let Some(purl) = by_place.get(join(place, &format!("node_modules/{need}")).as_str()) {
            return Some(purl);
        }
        here = match place.rfind("node_modules/") {
            Some(at) => Some(place[..at].trim_end_matches('/')),
            None if place.is_empty() => None,
            None => Some(folder(place)),
        };
    }
    None
}

impl Package {
    fn purl(&self) -> String {
        let purl = purl_of(&self.name, &self.version).and_then(|purl| match &self.source {
            Source::Npm => Some(purl),
            Source::Registry(url) => purl.with_qualifier("repository_url", url).ok(),
            Source::Git(url) => purl.with_qualifier("vcs_url", url).ok(),
            Source::Other(url) => purl.with_qualifier("download_url", url).ok(),
        });
        purl.map_or_else(|| format!("pkg:npm/unnamed@{}", self.line), |purl| purl.to_string())
    }
}

fn purl_of(name: &str, version: &str) -> Option<Purl> {
    let (namespace, name) = match name.rsplit_once('/') {
        Some((namespace, name)) => (Some(namespace), name),
        None => (None, name),
    };
    Purl::new("npm", namespace, name, Some(version)).ok()
}

impl Source {
    /// From where npm would fetch it; nothing said is the default registry.
    fn of(resolved: Option<&str>, name: &str) -> Source {
        const NPM: [&str; 2] = ["https://registry.npmjs.org/", "https://registry.yarnpkg.com/"];
        const HOSTERS: [(&str, &str); 3] = [
            ("github:", "https://github.com/"),
            ("gitlab:", "https://gitlab.com/"),
            ("bitbucket:", "https://bitbucket.org/"),
        ];
        let Some(resolved) = resolved.filter(|resolved| !resolved.is_empty()) else {
            return Source::Npm;
        };
        if NPM.iter().any(|npm| resolved.starts_with(npm)) {
            return Source::Npm;
        }
        let commit = resolved
            .rsplit_once('#')
            .map(|(_, commit)| format!("@{commit}"))
            .unwrap_or_default();
        if resolved.starts_with("git+") || resolved.starts_with("git:") {
            return Source::Git(format!("{}{commit}", public_url(resolved)));
        }
        if let Some((host, rest)) = HOSTERS
            .iter()
            .find_map(|(short, host)| Some((host, resolved.strip_prefix(short)?)))
        {
            return Source::Git(format!("git+{host}{}.git{commit}", public_url(rest)));
        }
        let url = public_url(resolved);
        match url.split_once(&format!("/{name}/-/")) {
            Some((registry, _)) if registry.contains("://") => Source::Registry(registry.to_owned()),
            _ => Source::Other(url),
        }
    }
}

/// The strongest checksum of a Subresource Integrity text, in hexadecimal; sha1 counts as none.
fn checksum_of(integrity: &str) -> Option<String> {
    let of = |algorithm: &str, length: usize| {
        let mut words = integrity.split_ascii_whitespace();
        let encoded = words.find_map(|word| word.strip_prefix(algorithm)?.strip_prefix('-'))?;
        let encoded = encoded.split('?').next().unwrap_or(encoded);
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .ok()
            .filter(|bytes| bytes.len() == length)?;
        Some(format!(
            "{algorithm}:{}",
            bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        ))
    };
    of("sha512", 64).or_else(|| of("sha256", 32))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LockFile<'a> {
    name: Option<String>,
    version: Option<String>,
    lockfile_version: Option<u64>,
    #[serde(borrow)]
    packages: Option<BTreeMap<String, &'a RawValue>>,
    #[serde(borrow)]
    dependencies: Option<BTreeMap<String, &'a RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Locked {
    name: Option<String>,
    version: Option<String>,
    resolved: Option<String>,
    integrity: Option<String>,
    #[serde(default)]
    link: bool,
    #[serde(default)]
    dev: bool,
    #[serde(default)]
    dev_optional: bool,
    workspaces: Option<serde_json::Value>,
    /// A text, or what older registries had: `{type, url}` or a list.
    license: Option<serde_json::Value>,
    licenses: Option<serde_json::Value>,
    #[serde(flatten)]
    needs: Needs,
}

#[derive(Deserialize)]
struct LockedV1<'a> {
    version: Option<String>,
    resolved: Option<String>,
    integrity: Option<String>,
    #[serde(default)]
    dev: bool,
    #[serde(default)]
    requires: Names,
    #[serde(borrow)]
    dependencies: Option<BTreeMap<String, &'a RawValue>>,
}

/// Only the names count; what stands beside them may be anything.
#[derive(Deserialize, Default)]
#[serde(untagged)]
enum Names {
    Table(BTreeMap<String, serde_json::Value>),
    #[default]
    None,
    Odd(serde::de::IgnoredAny),
}

impl Names {
    fn keys(&self) -> Vec<String> {
        match self {
            Names::Table(table) => table.keys().cloned().collect(),
            Names::None | Names::Odd(_) => Vec::new(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Needs {
    dependencies: Names,
    optional_dependencies: Names,
    peer_dependencies: Names,
    dev_dependencies: Names,
}

impl Needs {
    fn all(&self) -> Vec<String> {
        let mut all: Vec<String> = [
            &self.dependencies,
            &self.optional_dependencies,
            &self.peer_dependencies,
            &self.dev_dependencies,
        ]
        .into_iter()
        .flat_map(Names::keys)
        .collect();
        all.sort();
        all.dedup();
        all
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Manifest {
    name: Option<String>,
    version: Option<String>,
    #[serde(flatten)]
    needs: Needs,
}

impl Manifest {
    fn depends(&self) -> bool {
        !self.needs.all().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use evidence::Scope;

    use super::checksum_of;
    use crate::{Inventory, read};

    fn lock(text: &str) -> Inventory {
        read(&[("web/package-lock.json".to_owned(), text.as_bytes().to_vec())])
    }

    fn rows(inventory: &Inventory) -> Vec<(&str, Scope, u32)> {
        inventory
            .components
            .iter()
            .map(|c| (c.purl.as_str(), c.scope, c.line))
            .collect()
    }

    #[test]
    fn flat_format() {
        let inventory = lock(
            r#"{ "name": "web", "version": "1.0.0", "lockfileVersion": 3, "packages": {
              "": { "name": "web", "version": "1.0.0", "dependencies": { "alias": "npm:real@1", "@s/a": "^1" } },
              "node_modules/alias": { "name": "real", "version": "1.2.3", "dependencies": { "@s/a": "2" } },
              "node_modules/alias/node_modules/@s/a": { "version": "2.0.0", "resolved": "https://npm.example/@s/a/-/a-2.0.0.tgz?token=x" },
              "node_modules/@s/a": { "version": "1.0.0", "dev": true, "integrity": "sha1-kbR5JYinc4wl813W9jdSovh3YTU=" },
              "node_modules/g": { "resolved": "git+https://dummy-token@github.com/j/g.git#af885e2e" },
              "node_modules/own": { "link": true, "resolved": "own" },
              "own": { "version": "0.1.0" }
            } }"#,
        );
        assert_eq!(
            rows(&inventory),
            [
                ("pkg:npm/%40s/a@1.0.0", Scope::Development, 5),
                (
                    "pkg:npm/%40s/a@2.0.0?repository_url=https:%2F%2Fnpm.example",
                    Scope::Runtime,
                    4
                ),
                (
                    "pkg:npm/g?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Fj%2Fg.git%40af885e2e",
                    Scope::Runtime,
                    6
                ),
                ("pkg:npm/own@0.1.0", Scope::Runtime, 8),
                ("pkg:npm/real@1.2.3", Scope::Runtime, 3),
                ("pkg:npm/web@1.0.0", Scope::Root, 1),
            ]
        );
        let edges: Vec<(&str, &str)> = inventory
            .edges
            .iter()
            .map(|e| (e.from.as_str(), e.to.as_str()))
            .collect();
        assert_eq!(
            edges,
            [
                (
                    "pkg:npm/real@1.2.3",
                    "pkg:npm/%40s/a@2.0.0?repository_url=https:%2F%2Fnpm.example"
                ),
                ("pkg:npm/web@1.0.0", "pkg:npm/%40s/a@1.0.0"),
                ("pkg:npm/web@1.0.0", "pkg:npm/real@1.2.3"),
            ]
        );
    }

    #[test]
    fn nested_format() {
        let inventory = lock(
            r#"{ "lockfileVersion": 1, "dependencies": {
              "a": { "version": "1.0.0", "requires": { "b": "2" }, "dependencies": { "b": { "version": "npm:c@2.0.0", "dev": true } } },
              "b": { "version": "github:j/b#0123", "requires": true }
            } }"#,
        );
        assert_eq!(
            rows(&inventory),
            [
                ("pkg:npm/a@1.0.0", Scope::Runtime, 2),
                (
                    "pkg:npm/b?vcs_url=git%2Bhttps:%2F%2Fgithub.com%2Fj%2Fb.git%400123",
                    Scope::Runtime,
                    3
                ),
                ("pkg:npm/c@2.0.0", Scope::Development, 2),
            ]
        );
        assert_eq!(inventory.edges.len(), 1);
    }

    #[test]
    fn checksums_are_the_strongest() {
        assert_eq!(checksum_of("sha1-kbR5JYinc4wl813W9jdSovh3YTU="), None);
        let sha256 = "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        assert_eq!(
            checksum_of(sha256).as_deref(),
            Some("sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
        );
        assert!(checksum_of(&format!("{sha256} sha512-AAAA")).is_some_and(|sum| sum.starts_with("sha256:")));
    }

    #[test]
    fn what_can_not_be_read_is_a_gap() {
        let deep = format!(
            "{}1{}",
            r#"{"dependencies":{"a":{"version":"1.0.0","dependencies":{"a":"#.repeat(40),
            "}}}}".repeat(40)
        );
        for (name, text, id) in [
            ("package-lock.json", "this is not json", "packages/unreadable"),
            ("package-lock.json", r#"{"lockfileVersion":9}"#, "packages/unreadable"),
            (
                "package-lock.json",
                r#"{"packages":{"node_modules/a":{"version":1}}}"#,
                "packages/unreadable",
            ),
            ("package-lock.json", deep.as_str(), "packages/unreadable"),
            ("package.json", r#"{"dependencies":{"a":"1"}}"#, "packages/no-lock"),
        ] {
            let inventory = read(&[(name.to_owned(), text.as_bytes().to_vec())]);
            assert_eq!(
                inventory.gaps.iter().map(|gap| gap.id.as_str()).collect::<Vec<_>>(),
                [id],
                "{text:.80}"
            );
        }
    }
}
