//! The manifests of a tree, read: now, and as an earlier commit had them.

use std::fs;
use std::path::{Path, PathBuf};

use evidence::{Component, Gap};
use packages::Inventory;

use crate::Error;

/// What the tree pulls in, as it stands.
pub fn of_tree(tree: &source::Tree) -> Result<Inventory, Error> {
    let mut files = Vec::new();
    for file in tree.files.iter().filter(|file| packages::is_manifest(&file.path)) {
        if let Some(bytes) = source::read(tree, &file.path).map_err(|error| Error::failed("read a manifest", error))? {
            files.push((file.path.clone(), bytes));
        }
    }
    let mut gaps = Vec::new();
    for file in tree
        .files
        .iter()
        .filter(|file| file.symlink.is_some() && packages::is_manifest(&file.path))
    {
        gaps.push(Gap {
            id: "packages/unread-manifest".to_owned(),
            what: file.path.clone(),
            reason: "it is a symbolic link, which is never followed".to_owned(),
            blocks: true,
        });
    }
    let cargo = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let lookup = |component: &Component| licence_on_this_machine(cargo.as_deref()?, component);
    let mut inventory = packages::with_licences(packages::read(&files), &lookup);
    inventory.gaps.extend(gaps);
    inventory.gaps.sort();
    Ok(inventory)
}

/// What an earlier revision pulled in; nothing where there is no such revision.
pub fn before(root: &Path, revision: source::Revision) -> Result<Inventory, Error> {
    let failed = |error| Error::failed("read an earlier manifest", error);
    let mut files = Vec::new();
    for path in source::paths_at(root, revision).map_err(failed)? {
        if packages::is_manifest(&path)
            && let Some(bytes) = source::file_at(root, revision, &path).map_err(failed)?
        {
            files.push((path, bytes));
        }
    }
    Ok(packages::read(&files))
}

/// The licence a package states in its own manifest, where Cargo has unpacked it; the file is only read, never run.
fn licence_on_this_machine(cargo_home: &Path, component: &Component) -> Option<String> {
    if component.ecosystem != "crates.io" {
        return None;
    }
    let registries = fs::read_dir(cargo_home.join("registry/src")).ok()?;
    let mut folders: Vec<PathBuf> = registries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    folders.sort();
    folders.iter().find_map(|registry| {
        let manifest = registry
            .join(format!("{}-{}", component.name, component.version))
            .join("Cargo.toml");
        packages::licence_of_manifest("crates.io", &fs::read(manifest).ok()?)
    })
}
