//! The files of a tree, and its digest.
//!
//! Not here: what the files say. Start at [`walk`].

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use evidence::{Digest, Gap};
use rayon::prelude::*;

use crate::SourceError;
use crate::repository::{self, Revision};

/// The largest file that [`read`] returns.
pub const FILE_BYTES_MAX: u64 = 256 << 20;

/// What is looked at below one root.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    pub root: PathBuf,
    /// Sorted by the bytes of `path`.
    pub files: Vec<TreeFile>,
    pub gaps: Vec<Gap>,
}

/// A file or a symlink; a symlink is an entry of its own and never followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeFile {
    /// Relative to the root, `/` between parts. Bytes that are not UTF-8, control characters and `\` stand as
    /// `\xNN`, so that two files never share a path.
    pub path: String,
    /// As the operating system wants it, root included.
    pub os_path: PathBuf,
    /// Length in bytes (of the target's path, for a symlink).
    pub bytes: u64,
    pub executable: bool,
    /// Where a symlink points to.
    pub symlink: Option<PathBuf>,
}

/// How to walk.
#[derive(Debug, Clone)]
pub struct WalkOptions {
    /// Leave out what `.gitignore` files (those between the repository's root and the tree included) and
    /// `.git/info/exclude` name, unless the HEAD commit holds it. The user's own global ignore file never counts, so that everyone sees the same tree. Default: true.
    pub gitignore: bool,
    /// Most files that are listed; further ones are a gap that blocks. Default: 2,000,000.
    pub files_max: usize,
}

impl Default for WalkOptions {
    fn default() -> Self {
        WalkOptions {
            gitignore: true,
            files_max: 2_000_000,
        }
    }
}

/// Lists the files below `root`, without `.git` and `.proofmark` folders.
///
/// A committed file is listed even where an ignore file names it: an ignore line hides nothing that is released.
/// What can't be read is a gap. `Err` only when `root` itself is no readable folder.
pub fn walk(root: &Path, options: &WalkOptions) -> Result<Tree, SourceError> {
    let io = |error: std::io::Error| SourceError::Io {
        operation: "read folder",
        path: root.display().to_string(),
        reason: error.to_string(),
    };
    let root = root.canonicalize().map_err(io)?;
    fs::read_dir(&root).map_err(io)?;
    let mut tree = Tree {
        root: root.clone(),
        ..Tree::default()
    };
    list(&mut tree, options);
    if options.gitignore {
        add_committed(&mut tree);
    }
    tree.files.sort_by(|a, b| a.path.cmp(&b.path));
    tree.files.dedup_by(|a, b| a.path == b.path);
    if tree.files.len() > options.files_max {
        let more = tree.files.len() - options.files_max;
        tree.files.truncate(options.files_max);
        tree.gaps.push(gap(
            "source/too-many-files",
            ".",
            &format!("{more} files more than {}", options.files_max),
            true,
        ));
    }
    tree.gaps.sort();
    tree.gaps.dedup();
    Ok(tree)
}

/// SHA-256 over path, mode and content of every file of the tree, untracked and dirty ones included.
///
/// Format v1, in order of path; text, each line ended by `\n`:
///
/// ```text
/// proofmark-tree-v1
/// <mode> <SHA-256 of the content, hex> <path as in TreeFile>
/// ```
///
/// `mode` is `100644`, `100755` or `120000` as in git; a symlink's content is the path it points to. Paths hold no
/// line break, because control characters are escaped.
pub fn tree_digest(tree: &Tree) -> Result<Digest, SourceError> {
    let lines: Vec<String> = tree
        .files
        .par_iter()
        .map(|file| {
            let mode = match (&file.symlink, file.executable) {
                (Some(_), _) => "120000",
                (None, true) => "100755",
                (None, false) => "100644",
            };
            Ok(format!("{mode} {} {}\n", content_digest(file)?, file.path))
        })
        .collect::<Result<_, SourceError>>()?;
    let mut hasher = Digest::hasher();
    hasher.update(b"proofmark-tree-v1\n");
    for line in lines {
        hasher.update(line.as_bytes());
    }
    Ok(hasher.finish())
}

/// The content of a file of the tree; `None` where the tree has no such file, or a symlink there.
pub fn read(tree: &Tree, path: &str) -> Result<Option<Vec<u8>>, SourceError> {
    let Ok(index) = tree.files.binary_search_by(|file| file.path.as_str().cmp(path)) else {
        return Ok(None);
    };
    let file = &tree.files[index];
    if file.symlink.is_some() {
        return Ok(None);
    }
    read_file(file, FILE_BYTES_MAX).map(Some)
}

/// Reads one file, refusing what grew beyond `bytes_max`.
pub(crate) fn read_file(file: &TreeFile, bytes_max: u64) -> Result<Vec<u8>, SourceError> {
    let handle = fs::File::open(&file.os_path).map_err(|error| unreadable(file, &error))?;
    let mut bytes = Vec::with_capacity(usize::try_from(file.bytes.min(bytes_max)).unwrap_or(0));
    handle
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| unreadable(file, &error))?;
    if bytes.len() as u64 > bytes_max {
        return Err(SourceError::TooLarge {
            path: file.path.clone(),
            bytes: file.bytes,
            bytes_max,
        });
    }
    Ok(bytes)
}

/// Characters that change how others are shown, and show nothing themselves (Unicode TR 36, bidirectional and
/// zero-width controls): a name must read as it is.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// Bytes of a path as text: what is not printable UTF-8, and the backslash, as `\xNN`.
pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || c == '\\' || is_invisible(c) {
                let mut utf8 = [0; 4];
                c.encode_utf8(&mut utf8)
                    .bytes()
                    .for_each(|byte| out.push_str(&format!("\\x{byte:02X}")));
            } else {
                out.push(c);
            }
        }
        chunk
            .invalid()
            .iter()
            .for_each(|byte| out.push_str(&format!("\\x{byte:02X}")));
    }
    out
}

/// The inverse of [`escape`]; text that is no escape stands for itself.
pub(crate) fn unescape(path: &str) -> Vec<u8> {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = bytes[at..]
            .strip_prefix(b"\\x")
            .and_then(|rest| rest.get(..2))
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        if let Some(byte) = escaped {
            out.push(byte);
            at += 4;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

pub(crate) fn os_bytes(path: &Path) -> Vec<u8> {
    path.as_os_str().as_encoded_bytes().to_vec()
}

pub(crate) fn gap(id: &str, what: &str, reason: &str, blocks: bool) -> Gap {
    Gap {
        id: id.to_owned(),
        what: what.to_owned(),
        reason: reason.to_owned(),
        blocks,
    }
}

fn list(tree: &mut Tree, options: &WalkOptions) {
    let in_repository = repository::enclosing(&tree.root).is_some();
    let walker = ignore::WalkBuilder::new(&tree.root)
        .standard_filters(false)
        .follow_links(false)
        .git_ignore(options.gitignore)
        .git_exclude(options.gitignore)
        .parents(options.gitignore && in_repository)
        .require_git(in_repository)
        .filter_entry(|entry| !(entry.depth() > 0 && matches!(entry.file_name().to_str(), Some(".git" | ".proofmark"))))
        .build();
    for entry in walker {
        if tree.files.len() > options.files_max {
            break;
        }
        match entry {
            Ok(entry) if entry.depth() == 0 => {}
            Ok(entry) => add(tree, entry.path()),
            Err(error) => {
                let (what, reason) = describe(&tree.root, &error);
                tree.gaps.push(gap("source/unreadable", &what, &reason, true));
            }
        }
    }
}

/// Where and why the walk failed, without a path of this machine.
fn describe(root: &Path, error: &ignore::Error) -> (String, String) {
    match error {
        ignore::Error::WithPath { path, err } => {
            let relative = path.strip_prefix(root).unwrap_or(path);
            (escape(&os_bytes(relative)), describe(root, err).1)
        }
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => describe(root, err),
        ignore::Error::Io(error) => (".".to_owned(), error.kind().to_string()),
        other => (".".to_owned(), other.to_string()),
    }
}

fn add(tree: &mut Tree, os_path: &Path) {
    let Ok(relative) = os_path.strip_prefix(&tree.root) else {
        return;
    };
    let path = relative
        .components()
        .map(|part| escape(part.as_os_str().as_encoded_bytes()))
        .collect::<Vec<_>>()
        .join("/");
    let metadata = match fs::symlink_metadata(os_path) {
        Ok(metadata) => metadata,
        Err(error) => {
            return tree
                .gaps
                .push(gap("source/unreadable", &path, &error.kind().to_string(), true));
        }
    };
    let file_type = metadata.file_type();
    let symlink = if file_type.is_symlink() {
        match fs::read_link(os_path) {
            Ok(target) => Some(target),
            Err(error) => {
                return tree
                    .gaps
                    .push(gap("source/unreadable", &path, &error.kind().to_string(), true));
            }
        }
    } else if file_type.is_file() {
        None
    } else if file_type.is_dir() {
        return;
    } else {
        let reason = "a socket, pipe or device has no content to look at";
        return tree.gaps.push(gap("source/special-file", &path, reason, false));
    };
    let bytes = symlink
        .as_ref()
        .map_or(metadata.len(), |target| os_bytes(target).len() as u64);
    let executable = symlink.is_none() && is_executable(&metadata);
    tree.files.push(TreeFile {
        path,
        os_path: os_path.to_owned(),
        bytes,
        executable,
        symlink,
    });
}

/// Adds the files of the HEAD commit that an ignore file would hide but that are there.
fn add_committed(tree: &mut Tree) {
    let known: std::collections::HashSet<String> = tree.files.iter().map(|file| file.path.clone()).collect();
    let committed = match repository::paths_at(&tree.root, Revision::Head) {
        Ok(paths) => paths,
        Err(_) => {
            // A broken repository takes away the guard against hiding, not the walk. What exactly is wrong names
            // folders of this machine, which have no place in a result.
            tree.gaps.push(gap(
                "source/unreadable-history",
                ".",
                "the git repository can't be read",
                true,
            ));
            return;
        }
    };
    for path in committed.into_iter().filter(|path| !known.contains(path)) {
        let Some(relative) = os_path(&unescape(&path)) else {
            continue;
        };
        // A parent that became a symlink leads out of the tree.
        let through_symlink = relative.ancestors().skip(1).any(|parent| {
            !parent.as_os_str().is_empty() && fs::symlink_metadata(tree.root.join(parent)).is_ok_and(|m| m.is_symlink())
        });
        let full = tree.root.join(relative);
        if !through_symlink && fs::symlink_metadata(&full).is_ok_and(|m| !m.is_dir()) {
            add(tree, &full);
        }
    }
}

fn content_digest(file: &TreeFile) -> Result<Digest, SourceError> {
    if let Some(target) = &file.symlink {
        return Ok(Digest::of(&os_bytes(target)));
    }
    let mut handle = fs::File::open(&file.os_path).map_err(|error| unreadable(file, &error))?;
    let mut hasher = Digest::hasher();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match handle.read(&mut buffer).map_err(|error| unreadable(file, &error))? {
            0 => return Ok(hasher.finish()),
            length => hasher.update(&buffer[..length]),
        }
    }
}

fn unreadable(file: &TreeFile, error: &std::io::Error) -> SourceError {
    SourceError::Io {
        operation: "read",
        path: file.path.clone(),
        reason: error.to_string(),
    }
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    metadata.permissions().mode() & 0o111 != 0
}

#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
fn os_path(bytes: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
}

#[cfg(not(unix))]
fn os_path(bytes: &[u8]) -> Option<PathBuf> {
    std::str::from_utf8(bytes).ok().map(PathBuf::from)
}
