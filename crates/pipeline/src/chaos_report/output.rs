//! The report's files on disk: a folder that holds nothing but a report.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::{Report, SCHEMA};
use crate::Error;

/// What says that a folder holds a report.
const MARK: &str = "report.json";

/// Writes every file of a report into `folder`, which is made where there is none. An earlier report in it is replaced;
/// a folder with anything else is refused, because what is no page of ours is not ours to remove.
pub fn write(report: &Report, folder: &Path) -> Result<(), Error> {
    let files = report.html();
    fs::create_dir_all(folder).map_err(|error| Error::io("create", folder, &error))?;
    let earlier = earlier(folder)?;
    // What marks the folder as ours comes first and goes last.
    put(folder, MARK, &files)?;
    for name in files.keys() {
        put(folder, name, &files)?;
    }
    for name in earlier.iter().filter(|name| !files.contains_key(*name)) {
        let path = folder.join(name);
        fs::remove_file(&path).map_err(|error| Error::io("remove", &path, &error))?;
    }
    Ok(())
}

fn put(folder: &Path, name: &str, files: &BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    let Some(bytes) = files.get(name) else {
        return Ok(());
    };
    let (path, temporary) = (folder.join(name), folder.join(format!("{name}.tmp")));
    fs::write(&temporary, bytes).map_err(|error| Error::io("write", &temporary, &error))?;
    fs::rename(&temporary, &path).map_err(|error| Error::io("write", &path, &error))
}

/// Names of an earlier report's files; a folder of anything else is an error.
fn earlier(folder: &Path) -> Result<Vec<String>, Error> {
    let entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| Error::io("read", folder, &error))?;
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.file_name().to_string_lossy().into_owned();
        let file = entry.file_type().is_ok_and(|kind| kind.is_file());
        let known = name.ends_with(".html") || [MARK, "layer.json"].contains(&name.as_str());
        if !file || !(known || name.ends_with(".tmp")) {
            return Err(foreign(folder, &name));
        }
        names.push(name);
    }
    let text = fs::read_to_string(folder.join(MARK)).unwrap_or_default();
    match names.is_empty() || text.contains(SCHEMA) {
        true => Ok(names),
        false => Err(foreign(folder, &names[0])),
    }
}

fn foreign(folder: &Path, name: &str) -> Error {
    Error::usage(
        format!("`{}` holds `{name}`, which is no part of a report", folder.display()),
        "give a new folder, or an earlier report's",
    )
}
