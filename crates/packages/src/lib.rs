//! What is pulled in: lock files in, components, edges, licences and a bill of materials out.
//!
//! Pure over bytes: who calls has read the files and says their paths. It does not judge vulnerabilities (that is
//! `intel`), fetch anything, or guess versions from a manifest without its lock: that is a [`evidence::Gap`].
//!
//! Whoever owns a lock file decides what is built, and so what stands here. It can't hide a file that `is_manifest`
//! knows (each is read or named as a gap), nor change a checksum under a version without [`review`] saying so.
//!
//! Start reading at [`read`], then `ecosystems/cargo.rs`. A new ecosystem is one file more in `ecosystems/`.

mod cyclonedx;
mod ecosystems;
mod licence;
mod pages;
pub mod purl;
mod reader;
mod review;
mod unread;

use std::collections::BTreeMap;

use evidence::{Component, Edge, Gap, Scope};

pub use cyclonedx::{SbomSubject, cyclonedx};
pub use licence::{LicenceLookup, judge_licences, licence_of_manifest, with_licences};
pub use pages::{ids, page};
pub use reader::{Found, Tree};
pub use review::review;

/// Bytes a single manifest may have; a larger one is the gap `packages/unreadable`.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;

/// What a tree pulls in, as its lock files say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// Sorted; one for each package URL and lock file.
    pub components: Vec<Component>,
    /// Sorted, each once. Both ends are package URLs of `components`.
    pub edges: Vec<Edge>,
    /// Sorted, each once.
    pub gaps: Vec<Gap>,
    /// Paths of the files that were read, sorted.
    pub manifests: Vec<String>,
}

/// One ecosystem: the files it reads, and how.
#[derive(Debug)]
pub struct Entry {
    /// Catalogue id: `ecosystem/cargo`.
    pub id: &'static str,
    /// File names it reads, in lower and upper case as given.
    pub files: &'static [&'static str],
    /// Reads every such file of the tree. Never fails: what can't be read becomes a gap.
    pub read: fn(&Tree<'_>, &mut Found),
}

/// Whether `path` is a file [`read`] has something to say about: it reads it, or knows it and names it as a gap.
pub fn is_manifest(path: &str) -> bool {
    let name = reader::file_name(path);
    !reader::is_installed(path)
        && (ecosystems::ALL.iter().any(|entry| entry.files.contains(&name)) || unread::known(path).is_some())
}

/// Reads every manifest among `files` (path relative to the tree's root, `/` between parts; bytes).
///
/// The order of `files` does not matter; of two with one path the first counts. Files that are no manifest are ignored.
pub fn read(files: &[(String, Vec<u8>)]) -> Inventory {
    let tree = Tree::new(files);
    let mut found = Found::default();
    for entry in ecosystems::ALL {
        (entry.read)(&tree, &mut found);
    }
    unread::name_gaps(&tree, &mut found);
    found.into_inventory()
}

impl Inventory {
    /// Components by package URL: the same package may stand in several lock files.
    pub(crate) fn by_purl(&self) -> BTreeMap<&str, Vec<&Component>> {
        let mut by_purl: BTreeMap<&str, Vec<&Component>> = BTreeMap::new();
        for component in &self.components {
            by_purl.entry(&component.purl).or_default().push(component);
        }
        by_purl
    }
}

/// The stronger claim on what is shipped: runtime beats development, and the project's own stays its own.
pub(crate) fn stronger(a: Scope, b: Scope) -> Scope {
    match (a, b) {
        (Scope::Runtime, _) | (_, Scope::Runtime) => Scope::Runtime,
        (Scope::Root, _) | (_, Scope::Root) => Scope::Root,
        (Scope::Development, Scope::Development) => Scope::Development,
    }
}
