//! `init`: a commented `proofmark.toml`, keys and trust root outside the tree, and the pre-commit hook.
//!
//! Nothing that exists is overwritten.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::Error;
use crate::config::{self, schema};
use crate::home::Home;
use crate::run::Random;

const HOOK: &str =
    "#!/bin/sh\n# Written by `proofmark init`: looks for secrets before each commit.\nexec proofmark hook\n";

/// Makes what is missing; the answer says line by line what was made and what stood there already.
pub fn init(tree: &Path, home: &Path, random: &Random) -> Result<Vec<String>, Error> {
    let root = fs::canonicalize(tree).map_err(|error| Error::io("open", tree, &error))?;
    let mut said = Vec::new();
    let path = root.join(config::FILE);
    let written = write_new(&path, template(&root).as_bytes(), 0o644)?;
    said.push(line(written, &seen(&path, &root, tree)));
    let home = Home::at(home.to_owned(), Some(&root))?;
    let (_, made) = home.ensure(&mut || random())?;
    said.push(line(
        made,
        &format!("{} (keys, mode 0600, and trust root)", home.path.display()),
    ));
    match hooks_folder(&root) {
        Hooks::Elsewhere(folder) => said.push(format!(
            "git looks for hooks in `{folder}` (core.hooksPath): add `proofmark hook` to its pre-commit"
        )),
        Hooks::Folder(folder) => {
            fs::create_dir_all(&folder).map_err(|error| Error::io("create", &folder, &error))?;
            let hook = folder.join("pre-commit");
            let written = write_new(&hook, HOOK.as_bytes(), 0o755)?;
            said.push(line(written, &seen(&hook, &root, tree)));
            if !written && !fs::read_to_string(&hook).is_ok_and(|text| text.contains("proofmark hook")) {
                said.push("        add `proofmark hook` to it to look for secrets before each commit".to_owned());
            }
        }
        Hooks::None => said.push("no git repository here: no pre-commit hook".to_owned()),
    }
    Ok(said)
}

fn line(made: bool, what: &str) -> String {
    format!("{} {what}", if made { "made   " } else { "exists " })
}

fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<bool, Error> {
    match fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
    {
        Ok(mut file) => {
            file.write_all(bytes)
                .map_err(|error| Error::io("write", path, &error))?;
            Ok(true)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("write", path, &error)),
    }
}

/// A path as the person who named `tree` sees it; one outside of it in full.
fn seen(path: &Path, root: &Path, tree: &Path) -> String {
    let below = path.strip_prefix(root).ok();
    let path = below.map_or_else(|| path.to_owned(), |below| tree.join(below));
    path.strip_prefix(".").unwrap_or(&path).display().to_string()
}

/// Where git looks for the hooks of a repository.
enum Hooks {
    Folder(PathBuf),
    /// The repository's own configuration says so; that folder is a matter of the team.
    Elsewhere(String),
    None,
}

/// The hooks of the repository around a folder; a worktree's `.git` file leads to its common folder.
fn hooks_folder(root: &Path) -> Hooks {
    let Some(top) = root.ancestors().find(|folder| folder.join(".git").exists()) else {
        return Hooks::None;
    };
    let mut git = top.join(".git");
    if let Ok(text) = fs::read_to_string(&git) {
        // A worktree or a submodule: the file names the folder.
        let Some(folder) = text.strip_prefix("gitdir:").map(|folder| top.join(folder.trim())) else {
            return Hooks::None;
        };
        let common = fs::read_to_string(folder.join("commondir")).unwrap_or_default();
        let Ok(common) = fs::canonicalize(folder.join(common.trim())) else {
            return Hooks::None;
        };
        git = common;
    }
    let config = fs::read_to_string(git.join("config")).unwrap_or_default();
    let elsewhere = config.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        key.trim()
            .eq_ignore_ascii_case("hookspath")
            .then(|| value.trim().to_owned())
    });
    elsewhere.map_or_else(|| Hooks::Folder(git.join("hooks")), Hooks::Elsewhere)
}

/// A configuration that can be read as it stands: what can be told from the tree is filled in, the rest is commented.
fn template(root: &Path) -> String {
    let name = root
        .file_name()
        .map_or_else(|| "my-service".to_owned(), |name| name.to_string_lossy().into_owned());
    let name: String = name
        .chars()
        .filter(|c| !c.is_control() && *c != '"' && *c != '\\')
        .collect();
    let mut out = String::from(
        "# What a release is made of, how it is started, and what it has to withstand.\n\
         # What a stage does with it: `proofmark explain stage/commit` (and build, integration, staging, production).\n\n",
    );
    out.push_str(&format!("[release]\nname = \"{name}\"\nversion = \"0.1.0\"\n"));
    for key in schema::ROOT.keys.iter().filter(|key| key.name != "release") {
        out.push_str(&format!("\n# {}\n", key.doc));
        describe(&mut out, key.name, &key.kind);
    }
    out
}

fn describe(out: &mut String, path: &str, kind: &schema::Kind) {
    let (header, table) = match kind {
        schema::Kind::Table(table) => (format!("[{path}]"), table),
        schema::Kind::Tables(table) | schema::Kind::Controls(table) => (format!("[[{path}]]"), table),
        schema::Kind::Named(table) => (format!("[{path}.NAME]"), table),
        _ => return,
    };
    out.push_str(&format!("# {header}\n"));
    let nested = |kind: &schema::Kind| {
        matches!(
            kind,
            schema::Kind::Table(_) | schema::Kind::Tables(_) | schema::Kind::Named(_) | schema::Kind::Controls(_)
        )
    };
    for key in table.keys.iter().filter(|key| !nested(&key.kind)) {
        out.push_str(&format!("# {} = {}    # {}\n", key.name, example(&key.kind), key.doc));
    }
    let prefix = if matches!(kind, schema::Kind::Named(_)) {
        format!("{path}.NAME")
    } else {
        path.to_owned()
    };
    for key in table.keys.iter().filter(|key| nested(&key.kind)) {
        describe(out, &format!("{prefix}.{}", key.name), &key.kind);
    }
}

fn example(kind: &schema::Kind) -> &'static str {
    match kind {
        schema::Kind::Text => "\"…\"",
        schema::Kind::Integer(..) => "1",
        schema::Kind::Number(..) => "0.01",
        schema::Kind::Boolean => "true",
        schema::Kind::TextList => "[\"…\"]",
        schema::Kind::IntegerList(..) => "[10, 50]",
        schema::Kind::Integers(..) => "{ NAME = 1 }",
        schema::Kind::Table(_) | schema::Kind::Named(_) | schema::Kind::Tables(_) | schema::Kind::Controls(_) => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_init_writes_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let text = template(folder.path());
        assert!(config::parse("proofmark.toml", &text).is_ok(), "{text}");
        assert!(
            text.contains("# [[commit.step]]") && text.contains("# [environment.local.services.NAME]"),
            "{text}"
        );
    }
}
