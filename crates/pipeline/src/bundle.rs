//! Bundles on disk: written whole or not at all, read without following anything.

use std::fs;
use std::io::Write;
use std::path::Path;

use evidence::{BundleFiles, CheckedBundle, Digest};

use crate::Error;
use crate::report::Report;
use crate::run::Run;

/// Upper bounds of what is read as a bundle.
const FILES_MAX: usize = 100_000;
const BYTES_MAX: u64 = 1 << 30;

/// Writes the bundle of the running attempt, and answers its path: every statement of the log that its verdicts
/// rest on, other attempts' included, so that `verify` can decide again from the same evidence.
pub fn write(run: &Run, report: &Report) -> Result<std::path::PathBuf, Error> {
    let statements = (0..run.log.size())
        .map(|index| run.log.logged_envelope(index))
        .collect::<Result<Vec<_>, _>>()?;
    let mut others = BundleFiles::new();
    others.insert("summary.md".to_owned(), report.markdown().into_bytes());
    let signers = run.log.gate.signers();
    let files = CheckedBundle::write(
        run.attempt_digest,
        &run.log.checkpoint_note(),
        &statements,
        others,
        &signers,
    )
    .map_err(|error| Error::failed("sign the bundle", error))?;
    let path = run.store.bundle_path(&run.attempt_digest);
    let temporary = path.with_extension("tmp");
    remove(&temporary)?;
    for (name, bytes) in &files {
        write_synced(&temporary.join(name), bytes)?;
    }
    remove(&path)?;
    fs::rename(&temporary, &path).map_err(|error| Error::io("write", &path, &error))?;
    Ok(path)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path, &error)),
        _ => Ok(()),
    }
}

fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::io("write", path, &error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = fs::File::create(path).map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.sync_data().map_err(failed)
}

/// Reads every file of a bundle. Links, devices and empty folders don't belong in one and are refused by name.
pub fn read(path: &Path) -> Result<BundleFiles, Error> {
    let mut files = BundleFiles::new();
    let mut bytes_left = BYTES_MAX;
    read_folder(path, "", &mut files, &mut bytes_left)?;
    Ok(files)
}

fn read_folder(folder: &Path, prefix: &str, files: &mut BundleFiles, bytes_left: &mut u64) -> Result<(), Error> {
    let hint = "take the bundle again from whoever made it";
    let mut entries = fs::read_dir(folder)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| Error::io("read", folder, &error))?;
    if entries.is_empty() {
        let what = if prefix.is_empty() {
            "the bundle".to_owned()
        } else {
            format!("`{prefix}`")
        };
        return Err(Error::refused(format!("{what} is an empty folder"), hint));
    }
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let shown = format!("{prefix}{}", name.to_string_lossy());
        let name = name
            .to_str()
            .ok_or_else(|| Error::refused(format!("`{shown}` has a name that is not UTF-8"), hint))?;
        let meta = fs::symlink_metadata(entry.path()).map_err(|error| Error::io("read", &entry.path(), &error))?;
        if meta.is_dir() {
            read_folder(&entry.path(), &format!("{prefix}{name}/"), files, bytes_left)?;
        } else if meta.is_file() {
            *bytes_left = bytes_left
                .checked_sub(meta.len())
                .filter(|_| files.len() < FILES_MAX)
                .ok_or_else(|| {
                    Error::refused(
                        format!("the bundle is over {FILES_MAX} files or {BYTES_MAX} bytes"),
                        hint,
                    )
                })?;
            let bytes = fs::read(entry.path()).map_err(|error| Error::io("read", &entry.path(), &error))?;
            files.insert(shown, bytes);
        } else {
            return Err(Error::refused(
                format!("`{shown}` is neither a file nor a folder"),
                hint,
            ));
        }
    }
    Ok(())
}

/// Whether an attempt has been brought to its end.
pub fn concluded(run_path: &Path, attempt: &Digest) -> bool {
    run_path
        .join("bundles")
        .join(attempt.hex())
        .join(evidence::MANIFEST_PATH)
        .exists()
}
