//! # ecosystem/go
//! Reads `go.mod`, with checksums from the `go.sum` beside it.
//!
//! ## What it does
//! Every required module becomes a component, after `replace`: a module replaced by another one counts as that one, a module
//! replaced by a local folder keeps its name and has no version. Below `go 1.17` the file does not list indirect modules; they are then taken from `go.sum`.
//!
//! ## Why it matters
//! Go builds exactly what `go.mod` selects, and refuses what does not match `go.sum`.
//!
//! ## Example
//! ```text
//! require github.com/BurntSushi/toml v1.0.0
//! ```
//!
//! ## What to do instead
//! Run `go mod tidy` with `go 1.17` or newer in `go.mod`, and commit `go.mod` and `go.sum`.
//!
//! ## References
//! - <https://go.dev/ref/mod#go-mod-file>
//! - <https://go.dev/ref/mod#go-sum-files>

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use evidence::{Component, Scope};

use crate::Entry;
use crate::purl::Purl;
use crate::reader::{Found, Tree, folder, join};

pub(super) const ENTRY: Entry = Entry {
    id: "ecosystem/go",
    files: &["go.mod", "go.sum", "go.work"],
    read,
};

fn read(tree: &Tree<'_>, found: &mut Found) {
    for (path, _) in tree.named("go.mod") {
        found.manifests.insert(path.to_owned());
        match tree.text(path).and_then(read_mod) {
            Ok(file) => report(tree, path, &file, found),
            Err(reason) => found.unreadable(path, reason),
        }
    }
    for (path, _) in tree.named("go.sum") {
        // One alone selects nothing: it lists what was ever looked at.
        found.manifests.insert(path.to_owned());
    }
    for (path, _) in tree.named("go.work") {
        found.manifests.insert(path.to_owned());
        match tree.text(path).and_then(read_mod) {
            Ok(file) if file.replaces.is_empty() => {}
            Ok(_) => found.gap(
                "packages/unread-manifest",
                path,
                "it replaces modules, which is not applied to the `go.mod` files it names",
            ),
            Err(reason) => found.unreadable(path, reason),
        }
    }
}

fn report(tree: &Tree<'_>, path: &str, file: &ModFile, found: &mut Found) {
    let sum_path = join(folder(path), "go.sum");
    let sums = match tree.get(&sum_path).map(|_| tree.text(&sum_path).and_then(read_sum)) {
        None => None,
        Some(Ok(sums)) => Some(sums),
        Some(Err(reason)) => {
            found.unreadable(&sum_path, reason);
            None
        }
    };
    let checksum = |name: &str, version: &str| {
        sums.as_ref()?
            .get(&(name.to_owned(), version.to_owned()))
            .map(|sum| sum.checksum.clone())
    };
    let root = file.module.as_ref().and_then(|(name, line)| {
        let component = component(name, "", Scope::Root, path, *line)?;
        found.components.push(component.clone());
        Some(component.purl)
    });
    let mut listed = BTreeSet::new();
    for required in &file.requires {
        let (name, version) = file.replaced(&required.name, &required.version);
        listed.extend([required.name.clone(), name.to_owned()]);
        let Some(mut component) = component(name, version, Scope::Runtime, path, required.line) else {
            found.unreadable(path, format!("line {} names no module", required.line));
            continue;
        };
        component.checksum = checksum(name, version);
        if let (Some(root), false) = (&root, required.indirect) {
            found.edge(root, &component.purl);
        }
        found.components.push(component);
    }
    if file.lists_indirect() || file.requires.is_empty() {
        return;
    }
    match sums {
        None => found.gap(
            "packages/no-lock",
            path,
            "below `go 1.17` indirect modules stand in `go.sum` only, and there is none to read",
        ),
        Some(sums) => {
            for (name, version, sum) in newest(&sums).filter(|(name, ..)| !listed.contains(*name)) {
                found
                    .components
                    .extend(
                        component(name, version, Scope::Runtime, &sum_path, sum.line).map(|component| Component {
                            checksum: Some(sum.checksum.clone()),
                            ..component
                        }),
                    );
            }
        }
    }
}

/// `version` as Go writes it, with `v`; the component has it as OSV does, without.
fn component(name: &str, version: &str, scope: Scope, path: &str, line: u32) -> Option<Component> {
    let (namespace, last) = match name.rsplit_once('/') {
        Some((namespace, last)) => (Some(namespace), last),
        None => (None, name),
    };
    Some(Component {
        purl: Purl::new("golang", namespace, last, Some(version)).ok()?.to_string(),
        ecosystem: "Go".to_owned(),
        name: name.to_owned(),
        version: version.strip_prefix('v').unwrap_or(version).to_owned(),
        licence: None,
        checksum: None,
        scope,
        path: path.to_owned(),
        line,
    })
}

#[derive(Debug, Default)]
struct ModFile {
    module: Option<(String, u32)>,
    /// Minor version of `go 1.N`; nothing said is 16.
    go_minor: Option<u32>,
    requires: Vec<Require>,
    /// From (module, version if stated) to (module or folder, version if stated).
    replaces: BTreeMap<(String, Option<String>), (String, Option<String>)>,
}

#[derive(Debug)]
struct Require {
    name: String,
    version: String,
    indirect: bool,
    line: u32,
}

impl ModFile {
    fn lists_indirect(&self) -> bool {
        self.go_minor.is_some_and(|minor| minor >= 17)
    }

    /// What is really built; a local folder has no version.
    fn replaced<'a>(&'a self, name: &'a str, version: &'a str) -> (&'a str, &'a str) {
        let exact = self.replaces.get(&(name.to_owned(), Some(version.to_owned())));
        match exact.or_else(|| self.replaces.get(&(name.to_owned(), None))) {
            None => (name, version),
            Some((other, Some(version))) => (other, version),
            Some((_, None)) => (name, ""),
        }
    }
}

/// Grammar: <https://go.dev/ref/mod#go-mod-file-grammar>. An unknown directive is an error, as it is for Go.
fn read_mod(text: &str) -> Result<ModFile, String> {
    let mut file = ModFile::default();
    let mut block: Option<String> = None;
    for (at, line) in text.lines().enumerate() {
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let (mut words, comment) = words_of(line).map_err(|reason| format!("line {number}: {reason}"))?;
        if words.is_empty() {
            continue;
        }
        let directive = match &block {
            Some(_) if words == [")"] => {
                block = None;
                continue;
            }
            Some(directive) => directive.clone(),
            None => words.remove(0),
        };
        if block.is_none() && words == ["("] {
            block = Some(directive);
            continue;
        }
        let indirect = comment == "indirect" || comment.starts_with("indirect;");
        file.take(&directive, words, indirect, number)
            .ok_or_else(|| format!("line {number} is no `{directive:.20}` that Go knows"))?;
    }
    match block {
        Some(directive) => Err(format!("its `{directive:.20}` block does not end")),
        None => Ok(file),
    }
}

impl ModFile {
    /// One directive; `None` when it is none.
    fn take(&mut self, directive: &str, words: Vec<String>, indirect: bool, line: u32) -> Option<()> {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        match (directive, words.as_slice()) {
            ("module", [name]) => self.module = Some(((*name).to_owned(), line)),
            ("go", [version]) => {
                let mut parts = version.split('.');
                let (major, minor) = (parts.next()?.parse::<u32>().ok()?, parts.next().unwrap_or("0"));
                let minor: String = minor.chars().take_while(char::is_ascii_digit).collect();
                self.go_minor = Some(if major > 1 { u32::MAX } else { minor.parse().ok()? });
            }
            ("require", [name, version]) if version.starts_with('v') => {
                self.requires.push(Require {
                    name: (*name).to_owned(),
                    version: (*version).to_owned(),
                    indirect,
                    line,
                });
            }
            ("replace", _) => {
                let arrow = words.iter().position(|word| *word == "=>")?;
                let (from, to) = (side(&words[..arrow])?, side(&words[arrow + 1..])?);
                self.replaces.insert(from, to);
            }
            ("exclude", [_, _]) | ("toolchain" | "tool" | "godebug" | "ignore" | "use", [_]) => {}
            ("retract", [_, ..]) | ("godebug", [_, "=", _]) => {}
            _ => return None,
        }
        Some(())
    }
}

fn side(words: &[&str]) -> Option<(String, Option<String>)> {
    match words {
        [name] => Some(((*name).to_owned(), None)),
        [name, version] => Some(((*name).to_owned(), Some((*version).to_owned()))),
        _ => None,
    }
}

/// The words of a line without quotes, and the text of its comment.
fn words_of(line: &str) -> Result<(Vec<String>, &str), &'static str> {
    let mut words = Vec::new();
    let mut rest = line.trim();
    while !rest.is_empty() {
        if let Some(comment) = rest.strip_prefix("//") {
            return Ok((words, comment.trim()));
        }
        let taken = match rest.as_bytes()[0] {
            quote @ (b'"' | b'`') => {
                let end = rest[1..].find(char::from(quote)).ok_or("a quote does not end")? + 1;
                words.push(rest[1..end].to_owned());
                end + 1
            }
            b'(' | b')' => {
                words.push(rest[..1].to_owned());
                1
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '"' | '`'))
                    .unwrap_or(rest.len());
                let end = rest[..end]
                    .find("//")
                    .filter(|at| *at > 0 && !rest[..*at].ends_with(':'))
                    .unwrap_or(end);
                words.push(rest[..end].to_owned());
                end
            }
        };
        rest = rest[taken..].trim_start();
    }
    Ok((words, ""))
}

struct Sum {
    checksum: String,
    line: u32,
}

/// Checksums of module contents by (module, version); those of `go.mod` files alone are left out.
fn read_sum(text: &str) -> Result<BTreeMap<(String, String), Sum>, String> {
    let mut sums = BTreeMap::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = u32::try_from(at + 1).unwrap_or(u32::MAX);
        let mut words = line.split_ascii_whitespace();
        let (Some(name), Some(version), Some(hash), None) = (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(format!("line {number} is not `module version hash`"));
        };
        let Some(encoded) = hash.strip_prefix("h1:") else {
            continue;
        };
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .ok()
            .filter(|bytes| bytes.len() == 32);
        let bytes = bytes.ok_or_else(|| format!("the hash in line {number} is not SHA-256"))?;
        if !version.ends_with("/go.mod") {
            let checksum = format!(
                "sha256:{}",
                bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
            );
            sums.insert((name.to_owned(), version.to_owned()), Sum { checksum, line: number });
        }
    }
    Ok(sums)
}

/// The newest version of each module: what minimal version selection takes at most.
fn newest(sums: &BTreeMap<(String, String), Sum>) -> impl Iterator<Item = (&str, &str, &Sum)> {
    let mut newest: BTreeMap<&str, (&str, &Sum)> = BTreeMap::new();
    let order = |version: &str| semver::Version::parse(version.strip_prefix('v').unwrap_or(version)).ok();
    for ((name, version), sum) in sums {
        let kept = newest.entry(name).or_insert((version, sum));
        if order(version) > order(kept.0) {
            *kept = (version, sum);
        }
    }
    newest.into_iter().map(|(name, (version, sum))| (name, version, sum))
}

#[cfg(test)]
mod tests {
    use crate::{Inventory, read};

    fn go(rows: &[(&str, &str)]) -> Inventory {
        read(
            &rows
                .iter()
                .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
                .collect::<Vec<_>>(),
        )
    }

    fn purls(inventory: &Inventory) -> Vec<(&str, u32)> {
        inventory.components.iter().map(|c| (c.purl.as_str(), c.line)).collect()
    }

    #[test]
    fn requires_in_every_spelling() {
        let text = "module example.com/m // about\n\ngo 1.21.3\n\nrequire (\n\t\"github.com/BurntSushi/toml\" v1.0.0\n\tgolang.org/x/sys v0.0.0-20210630005230-0f9fa26af87c // indirect\n)\nrequire a.b/c v2.0.0+incompatible\nretract [v1.0.0, v1.1.0]\nexclude a.b/c v1.9.9\ntoolchain go1.23.6-xyz\n";
        let inventory = go(&[("go.mod", text)]);
        assert_eq!(
            purls(&inventory),
            [
                ("pkg:golang/a.b/c@v2.0.0%2Bincompatible", 9),
                ("pkg:golang/example.com/m", 1),
                ("pkg:golang/github.com/BurntSushi/toml@v1.0.0", 6),
                ("pkg:golang/golang.org/x/sys@v0.0.0-20210630005230-0f9fa26af87c", 7),
            ]
        );
        assert_eq!(inventory.edges.len(), 2, "the indirect one has another parent");
        assert!(inventory.gaps.is_empty(), "{:?}", inventory.gaps);
        assert_eq!(inventory.components[0].version, "2.0.0+incompatible");
    }

    #[test]
    fn replacements() {
        let text = "module m\ngo 1.17\nrequire a.b/c v1.2.3\nrequire a.b/d v1.0.0\nrequire a.b/e v1.0.0\nreplace a.b/c v1.2.3 => x.y/f v1.4.5\nreplace a.b/d => ../d\nreplace a.b/e v9.9.9 => x.y/g v1.0.0\n";
        let inventory = go(&[("go.mod", text)]);
        assert_eq!(
            purls(&inventory),
            [
                ("pkg:golang/a.b/d", 4),
                ("pkg:golang/a.b/e@v1.0.0", 5),
                ("pkg:golang/m", 1),
                ("pkg:golang/x.y/f@v1.4.5", 3)
            ]
        );
    }

    #[test]
    fn old_files_need_their_sums() {
        let text = "module m\ngo 1.16\nrequire a.b/c v1.2.3\n";
        let zero = "h1:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let sums = format!(
            "a.b/c v1.2.3 {zero}\na.b/d v1.0.0 {zero}\na.b/d v1.10.0 {zero}\na.b/d v1.9.0 {zero}\na.b/e v1.0.0/go.mod {zero}\n"
        );
        let inventory = go(&[("x/go.mod", text), ("x/go.sum", &sums)]);
        assert_eq!(
            purls(&inventory),
            [
                ("pkg:golang/a.b/c@v1.2.3", 3),
                ("pkg:golang/a.b/d@v1.10.0", 3),
                ("pkg:golang/m", 1)
            ]
        );
        assert!(
            inventory.components[0]
                .checksum
                .as_deref()
                .is_some_and(|sum| sum.starts_with("sha256:e3b0c442"))
        );
        assert_eq!(go(&[("x/go.mod", text)]).gaps[0].id, "packages/no-lock");
    }

    #[test]
    fn what_go_refuses_is_a_gap() {
        for text in [
            "this is not a go.mod file!",
            "require (\n a.b/c v1.0.0\n",
            "require a.b/c",
            "replace a => b => c d e",
            "module \"x",
        ] {
            let inventory = go(&[("go.mod", text)]);
            assert_eq!(
                inventory.gaps.iter().map(|gap| gap.id.as_str()).collect::<Vec<_>>(),
                ["packages/unreadable"],
                "{text}"
            );
        }
    }
}
