//! The advisory database a release names: read from a folder, held against its digest.

use std::fs;
use std::path::Path;

use evidence::{Component, Diagnostic, Digest, Gap, Observation, Timestamp};

use crate::Error;
use crate::config::Advisories;

/// Upper bounds of what is read as a database.
const RECORDS_MAX: usize = 500_000;

/// A database, or the reason there is none: matching then yields a gap that blocks, never "clean".
pub struct Loaded {
    pub uri: String,
    pub digest: Digest,
    pub last_update: Timestamp,
    pub age_days_max: Option<u64>,
    pub records: u64,
    database: Result<intel::Database, String>,
    problems: Vec<Diagnostic>,
}

/// Reads the records of a folder: every `.json` file directly in it or in folders below.
pub fn read_folder(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).map_err(|error| Error::io("read", &next, &error))?;
        for entry in entries {
            let path = entry.map_err(|error| Error::io("read", &next, &error))?.path();
            let kind = fs::symlink_metadata(&path).map_err(|error| Error::io("read", &path, &error))?;
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "json") {
                let bytes = fs::read(&path).map_err(|error| Error::io("read", &path, &error))?;
                let name = path
                    .strip_prefix(folder)
                    .unwrap_or(&path)
                    .to_string_lossy()
                    .into_owned();
                files.push((name, bytes));
            }
            if files.len() > RECORDS_MAX {
                return Err(Error::usage(
                    format!("`{}` holds more than {RECORDS_MAX} records", folder.display()),
                    "name a smaller folder",
                ));
            }
        }
    }
    files.sort();
    Ok(files)
}

/// The database a configuration names. Other bytes than the pinned digest are an error, not a database.
pub fn load(root: &Path, config: Option<&Advisories>) -> Result<Loaded, Error> {
    let Some(config) = config else {
        return Ok(Loaded::none(
            "no advisory database: `[advisories]` is missing from proofmark.toml",
        ));
    };
    let folder = root.join(&config.path);
    let files = read_folder(&folder)?;
    let digest = intel::digest_of(&files);
    let pinned = config.digest.strip_prefix("sha256:").unwrap_or(&config.digest);
    if pinned != digest.hex() {
        return Err(Error::usage(
            format!(
                "`{}` has digest sha256:{digest}, proofmark.toml pins `{}`",
                config.path, config.digest
            ),
            format!("if the change is yours, set advisories.digest = \"sha256:{digest}\""),
        ));
    }
    let mut loaded = from_files(&files, &config.path)?;
    loaded.age_days_max = Some(config.age_days_max);
    Ok(loaded)
}

/// A database from records that were read already.
pub fn from_files(files: &[(String, Vec<u8>)], name: &str) -> Result<Loaded, Error> {
    let (database, problems) =
        intel::load(files).map_err(|error| Error::failed("read the advisory database", error))?;
    Ok(Loaded {
        uri: format!("file:{name}"),
        digest: database.digest(),
        last_update: database.last_modified().unwrap_or(Timestamp::UNIX_EPOCH),
        age_days_max: None,
        records: database.len() as u64,
        database: Ok(database),
        problems,
    })
}

impl Loaded {
    /// No database, and why.
    pub fn none(reason: &str) -> Loaded {
        Loaded {
            uri: "none".to_owned(),
            digest: Digest::of(b""),
            last_update: Timestamp::UNIX_EPOCH,
            age_days_max: None,
            records: 0,
            database: Err(reason.to_owned()),
            problems: Vec::new(),
        }
    }

    pub fn present(&self) -> bool {
        self.database.is_ok()
    }

    /// What the database says of `components`; unreadable records are gaps.
    pub fn matches(&self, components: &[Component]) -> Observation {
        let mut observation = match &self.database {
            Ok(database) => intel::matches(database, components),
            Err(reason) => Observation {
                gaps: vec![Gap {
                    id: "intel/no-database".to_owned(),
                    what: "vulnerabilities".to_owned(),
                    reason: reason.clone(),
                    blocks: true,
                }],
                ..Observation::default()
            },
        };
        observation.gaps.extend(self.problems.iter().map(|problem| Gap {
            id: "intel/unreadable-record".to_owned(),
            what: problem.span.as_ref().map_or_else(String::new, ToString::to_string),
            reason: problem.message.clone(),
            blocks: true,
        }));
        observation.sort();
        observation
    }
}
