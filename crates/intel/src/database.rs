//! The advisory database: every record that could be read, by package, and the digest of all files.
//!
//! Start reading at [`load`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use evidence::{Diagnostic, Digest, Span, Timestamp};

use crate::record::{Affected, Record};

/// Advisories, ready to be asked. Made by [`load`].
#[derive(Debug)]
pub struct Database {
    records: Vec<Record>,
    /// Places in `records` and their `affected`, by (ecosystem, package).
    by_package: HashMap<(String, String), Vec<(usize, usize)>>,
    ecosystems: BTreeSet<String>,
    digest: Digest,
    last_modified: Option<Timestamp>,
    /// Files that could not be read, sorted.
    malformed: Vec<String>,
}

/// There is no database in what was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IntelError {
    #[error(
        "the advisory database holds no OSV record: {files} files, none of them a `.json` record that could be read"
    )]
    Empty { files: usize },
}

/// Reads a database: one OSV record in each `.json` file (path, bytes). Other files only count for the digest.
///
/// A malformed record is a diagnostic with the code `intel/malformed-record`, one whose id another file has already is
/// `intel/duplicate-record`; both leave the database incomplete ([`Database::complete`]).
pub fn load(files: &[(String, Vec<u8>)]) -> Result<(Database, Vec<Diagnostic>), IntelError> {
    let mut by_path: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for (path, bytes) in files {
        by_path.entry(path).or_insert(bytes);
    }
    let mut diagnostics = Vec::new();
    let mut records: BTreeMap<String, (Record, &str)> = BTreeMap::new();
    for (path, bytes) in by_path.into_iter().filter(|(path, _)| path.ends_with(".json")) {
        match Record::parse(bytes) {
            Err(reason) => diagnostics.push(diagnostic(
                "intel/malformed-record",
                path,
                format!("`{path}` is no OSV record: {reason}"),
            )),
            Ok(record) => match records.get(&record.id) {
                Some((_, first)) => diagnostics.push(diagnostic(
                    "intel/duplicate-record",
                    path,
                    format!("`{}` stands in `{path}` and in `{first}`", record.id),
                )),
                None => {
                    records.insert(record.id.clone(), (record, path));
                }
            },
        }
    }
    if records.is_empty() {
        return Err(IntelError::Empty { files: files.len() });
    }
    let malformed = diagnostics
        .iter()
        .filter_map(|diagnostic| Some(diagnostic.span.as_ref()?.path.clone()))
        .collect();
    let records: Vec<Record> = records.into_values().map(|(record, _)| record).collect();
    let mut database = Database {
        by_package: HashMap::new(),
        ecosystems: BTreeSet::new(),
        digest: digest_of(files),
        // Some databases write year 1 for "not known".
        last_modified: records
            .iter()
            .filter_map(|record| record.modified)
            .filter(|time| *time >= Timestamp::UNIX_EPOCH)
            .max(),
        malformed,
        records,
    };
    database.index();
    Ok((database, diagnostics))
}

/// The digest of a database without reading its records: SHA-256 over `path NUL sha256-of-bytes LF`, sorted by path.
/// Of two files with one path the first counts.
pub fn digest_of(files: &[(String, Vec<u8>)]) -> Digest {
    let mut by_path: BTreeMap<&str, Digest> = BTreeMap::new();
    for (path, bytes) in files {
        by_path.entry(path).or_insert_with(|| Digest::of(bytes));
    }
    let mut hasher = Digest::hasher();
    for (path, digest) in by_path {
        hasher.update(format!("{path}\0{}\n", digest.hex()).as_bytes());
    }
    hasher.finish()
}

impl Database {
    /// What callers pin. See [`digest_of`].
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// How many records could be read, withdrawn ones included.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether every record could be read; if not, a match adds a gap that blocks.
    pub fn complete(&self) -> bool {
        self.malformed.is_empty()
    }

    /// The youngest `modified` of any record, when one is stated.
    pub fn last_modified(&self) -> Option<Timestamp> {
        self.last_modified
    }

    /// Ecosystems with at least one record, as OSV spells them, without a release (`Debian`, not `Debian:12`).
    pub fn ecosystems(&self) -> &BTreeSet<String> {
        &self.ecosystems
    }

    pub(crate) fn malformed(&self) -> &[String] {
        &self.malformed
    }

    /// What the records that were not withdrawn say about a package, in order of record id.
    pub(crate) fn about<'d>(
        &'d self,
        ecosystem: &str,
        name: &str,
    ) -> impl Iterator<Item = (&'d Record, &'d Affected)> + use<'d> {
        let places = self
            .by_package
            .get(&(ecosystem.to_owned(), name.to_owned()))
            .map(Vec::as_slice)
            .unwrap_or_default();
        places
            .iter()
            .map(|(record, affected)| (&self.records[*record], &self.records[*record].affected[*affected]))
    }

    fn index(&mut self) {
        for (at, record) in self.records.iter().enumerate() {
            for (bt, affected) in record.affected.iter().enumerate() {
                let Some(package) = &affected.package else { continue };
                let ecosystem = package.ecosystem.split(':').next().unwrap_or_default().to_owned();
                self.ecosystems.insert(ecosystem.clone());
                if !record.is_withdrawn() {
                    self.by_package
                        .entry((ecosystem, package.name.clone()))
                        .or_default()
                        .push((at, bt));
                }
            }
        }
    }
}

fn diagnostic(code: &str, path: &str, message: String) -> Diagnostic {
    Diagnostic {
        code: code.to_owned(),
        message,
        span: Some(Span {
            path: path.to_owned(),
            line: 0,
            column: 0,
            commit: None,
        }),
        help: Some(
            "fetch the database again; until then nothing is held to be free of known vulnerabilities".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(rows: &[(&str, &str)]) -> Vec<(String, Vec<u8>)> {
        rows.iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_malformed_record_leaves_it_incomplete_and_is_named() {
        let rows = files(&[
            ("a/1.json", r#"{"id":"A-1","modified":"2024-05-01T00:00:00Z"}"#),
            ("a/2.json", "{"),
            ("a/3.json", r#"{"id":"A-1"}"#),
            ("README.md", "hi"),
        ]);
        let (database, diagnostics) = load(&rows).expect("one record");
        assert_eq!((database.len(), database.complete()), (1, false));
        let named: Vec<(&str, &str)> = diagnostics
            .iter()
            .map(|d| (d.code.as_str(), d.span.as_ref().map_or("", |span| span.path.as_str())))
            .collect();
        assert_eq!(
            named,
            [
                ("intel/malformed-record", "a/2.json"),
                ("intel/duplicate-record", "a/3.json")
            ]
        );
        assert_eq!(
            database.last_modified().map(|time| time.to_string()).as_deref(),
            Some("2024-05-01T00:00:00Z")
        );
    }

    #[test]
    fn no_record_is_no_database() {
        for rows in [files(&[]), files(&[("README.md", "x")]), files(&[("a.json", "[]")])] {
            assert_eq!(load(&rows).map(|_| ()), Err(IntelError::Empty { files: rows.len() }));
        }
    }

    #[test]
    fn the_digest_follows_paths_and_bytes_but_not_their_order() {
        let rows = files(&[("a.json", r#"{"id":"A"}"#), ("b.json", r#"{"id":"B"}"#)]);
        let (database, _) = load(&rows).expect("two records");
        assert_eq!(database.digest(), digest_of(&rows));
        let mut other = rows.clone();
        other.reverse();
        assert_eq!(digest_of(&other), digest_of(&rows));
        other[0].0 = "c.json".to_owned();
        assert_ne!(digest_of(&other), digest_of(&rows));
        other = rows.clone();
        other[1].1.push(b' ');
        assert_ne!(digest_of(&other), digest_of(&rows));
    }
}
