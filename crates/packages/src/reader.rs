//! What ecosystems read from and write into: the files at hand, and what was found so far.
//!
//! It knows no format. Start reading at [`Tree`] (input) and [`Found`] (output).

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Component, Edge, Gap};

use crate::{Inventory, MANIFEST_BYTES_MAX, stronger};

/// The files at hand, by path.
#[derive(Debug)]
pub struct Tree<'a> {
    files: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Tree<'a> {
    pub fn new(files: &'a [(String, Vec<u8>)]) -> Self {
        let mut by_path = BTreeMap::new();
        for (path, bytes) in files {
            if !is_installed(path) {
                by_path.entry(path.as_str()).or_insert(bytes.as_slice());
            }
        }
        Tree { files: by_path }
    }

    pub fn get(&self, path: &str) -> Option<&'a [u8]> {
        self.files.get(path).copied()
    }

    /// Every file, in order of path.
    pub fn all(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + '_ {
        self.files.iter().map(|(path, bytes)| (*path, *bytes))
    }

    /// Every file of that name, in order of path.
    pub fn named<'t>(&'t self, name: &'t str) -> impl Iterator<Item = (&'a str, &'a [u8])> + 't {
        self.all().filter(move |(path, _)| file_name(path) == name)
    }

    /// The text of a file without a byte order mark, or why there is none.
    pub fn text(&self, path: &str) -> Result<&'a str, String> {
        let bytes = self.get(path).ok_or("it is not there")?;
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(format!("it has {} bytes, more than {MANIFEST_BYTES_MAX}", bytes.len()));
        }
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
    }

    /// `name` in the folder of `path` or the nearest folder above it: nearest first.
    pub fn at_or_above<'t>(&'t self, path: &'t str, name: &'t str) -> impl Iterator<Item = String> + 't {
        folders_up(path)
            .map(move |folder| join(folder, name))
            .filter(|candidate| self.files.contains_key(candidate.as_str()))
    }
}

/// What was found so far, in any order and with repeats.
#[derive(Debug, Default)]
pub struct Found {
    pub components: Vec<Component>,
    pub edges: Vec<Edge>,
    pub gaps: Vec<Gap>,
    pub manifests: BTreeSet<String>,
}

impl Found {
    /// A file that is there and says nothing we understand.
    pub fn unreadable(&mut self, path: &str, reason: impl Into<String>) {
        self.gap("packages/unreadable", path, reason);
    }

    /// A gap that blocks: something is pulled in that nobody looked at.
    pub fn gap(&mut self, id: &str, what: &str, reason: impl Into<String>) {
        self.gaps.push(Gap {
            id: id.to_owned(),
            what: what.to_owned(),
            reason: one_line(&reason.into()),
            blocks: true,
        });
    }

    pub fn edge(&mut self, from: &str, to: &str) {
        self.edges.push(Edge {
            from: from.to_owned(),
            to: to.to_owned(),
        });
    }

    /// Sorts and merges. One component stays for each package URL and file: the first line, the strongest scope.
    pub fn into_inventory(mut self) -> Inventory {
        let mut merged: BTreeMap<(String, String), Component> = BTreeMap::new();
        self.components.sort();
        for component in self.components {
            let key = (component.purl.clone(), component.path.clone());
            match merged.get_mut(&key) {
                None => {
                    merged.insert(key, component);
                }
                Some(kept) => {
                    kept.scope = stronger(kept.scope, component.scope);
                    kept.line = kept.line.min(component.line);
                    // Two checksums under one name and version in one file: the file contradicts itself.
                    match (&kept.checksum, component.checksum) {
                        (None, Some(checksum)) => kept.checksum = Some(checksum),
                        (Some(a), Some(b)) if *a != b => self.gaps.push(Gap {
                            id: "packages/contradiction".to_owned(),
                            what: component.path,
                            reason: format!("`{}` stands there with two different checksums", component.purl),
                            blocks: true,
                        }),
                        _ => {}
                    }
                }
            }
        }
        let mut components: Vec<Component> = merged.into_values().collect();
        components.sort();
        self.edges.sort();
        self.edges.dedup();
        self.edges.retain(|edge| edge.from != edge.to);
        self.gaps.sort();
        self.gaps.dedup();
        Inventory {
            components,
            edges: self.edges,
            gaps: self.gaps,
            manifests: self.manifests.into_iter().collect(),
        }
    }
}

/// Whether the path lies in a folder of installed packages: what is there is named by a lock above it.
pub fn is_installed(path: &str) -> bool {
    path.split('/').any(|part| part == "node_modules")
}

pub fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// The folder a file lies in; empty for the root.
pub fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() {
        name.to_owned()
    } else {
        format!("{folder}/{name}")
    }
}

/// The folder of `path`, then each one above it, the root last.
pub fn folders_up(path: &str) -> impl Iterator<Item = &str> {
    let mut next = Some(folder(path));
    std::iter::from_fn(move || {
        let here = next?;
        next = if here.is_empty() { None } else { Some(folder(here)) };
        Some(here)
    })
}

/// Line numbers of byte offsets.
pub struct Lines(Vec<usize>);

impl Lines {
    pub fn of(text: &str) -> Self {
        Lines(
            text.bytes()
                .enumerate()
                .filter(|(_, byte)| *byte == b'\n')
                .map(|(at, _)| at)
                .collect(),
        )
    }

    /// From 1.
    pub fn line(&self, offset: usize) -> u32 {
        u32::try_from(self.0.partition_point(|at| *at < offset) + 1).unwrap_or(u32::MAX)
    }
}

/// An address without user, password, query or fragment: what may stand in a bill of materials.
pub fn public_url(url: &str) -> String {
    let url = url.split(['?', '#']).next().unwrap_or(url);
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (host, path) = rest
        .split_once('/')
        .map_or((rest, None), |(host, path)| (host, Some(path)));
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    match path {
        Some(path) => format!("{scheme}://{host}/{path}"),
        None => format!("{scheme}://{host}"),
    }
}

/// Why a text is no JSON of the expected shape: only where, because parsers repeat values, and those may be secret.
pub fn json_reason(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "it has another shape than expected",
        _ => "it is not JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// As [`json_reason`], for TOML.
pub fn toml_reason(text: &str, error: &toml::de::Error) -> String {
    match error.span() {
        Some(span) => format!(
            "it is not TOML of the expected shape (line {})",
            Lines::of(text).line(span.start)
        ),
        None => "it is not TOML of the expected shape".to_owned(),
    }
}

/// Reasons may quote names from files, which may hold anything.
fn one_line(text: &str) -> String {
    const REASON_CHARS_MAX: usize = 200;
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(REASON_CHARS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_end_at_the_root() {
        assert_eq!(folders_up("a/b/c.toml").collect::<Vec<_>>(), ["a/b", "a", ""]);
        assert_eq!(folders_up("c.toml").collect::<Vec<_>>(), [""]);
    }

    #[test]
    fn lines_count_from_one() {
        let lines = Lines::of("a\nb\n\nc");
        assert_eq!([0, 1, 2, 4, 5].map(|at| lines.line(at)), [1, 1, 2, 3, 4]);
    }

    #[test]
    fn addresses_lose_their_credentials() {
        for (url, expect) in [
            (
                "git+https://dummy-token@github.com/a/b.git#main",
                "git+https://github.com/a/b.git",
            ),
            ("https://u:p@host/x.tgz?token=1", "https://host/x.tgz"),
            ("https://u:p@host", "https://host"),
            ("file:deps/x.tgz", "file:deps/x.tgz"),
        ] {
            assert_eq!(public_url(url), expect);
        }
    }
}
