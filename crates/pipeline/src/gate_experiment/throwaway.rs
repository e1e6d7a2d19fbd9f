//! The throwaway branch: a clone of the tree's repository, keys and a log of its own, and the way back to the clean
//! state after each plant.
//!
//! The tree and its repository are only read. git runs without the user's configuration, without hooks and without
//! filters; nothing of the clone is ever pushed.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use evidence::{ControlSpec, Digest};
use host::process::{Cancel, Command, Sink, Wanted};

use super::ground::{Edit, Tamper};
use crate::Error;
use crate::home::Home;
use crate::release::Options;
use crate::run::remove_folder;
use crate::store::{self, Store};

const GIT_SECONDS_MAX: u64 = 600;
const GIT_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// A file of the tree that is edited is not larger.
const EDITED_BYTES_MAX: u64 = 64 << 20;

/// A clone with one clean commit to come back to.
pub struct Throwaway {
    /// Top of the clone.
    repository: PathBuf,
    /// The tree in it.
    pub tree: PathBuf,
    /// Keys and trust root.
    pub home: PathBuf,
    /// The clean state of store and home, once there is one.
    kept: PathBuf,
    clean: String,
    cancel: Cancel,
}

impl Throwaway {
    /// Clones the repository around `root` below `folder`, or copies a tree that is in none, with the working tree as
    /// it stands: what is not committed is committed there.
    pub fn make(folder: &Path, root: &Path, cancel: &Cancel) -> Result<Throwaway, Error> {
        let repository = folder.join("clone");
        let prefix = source::head(root).map(|head| head.prefix);
        let mut throwaway = Throwaway {
            tree: repository.join(prefix.as_deref().unwrap_or_default()),
            repository,
            home: folder.join("home"),
            kept: folder.join("kept"),
            clean: String::new(),
            cancel: cancel.clone(),
        };
        match &prefix {
            Some(prefix) => {
                let depth = prefix.split('/').filter(|part| !part.is_empty()).count();
                let from = root.ancestors().nth(depth).unwrap_or(root);
                let arguments = ["clone", "--quiet", "--no-hardlinks", "--single-branch", "--template="];
                let mut arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(std::ffi::OsStr::new).collect();
                arguments.extend([from.as_os_str(), throwaway.repository.as_os_str()]);
                throwaway.git_in(folder, &arguments)?;
            }
            None => {
                make_folder(&throwaway.repository)?;
                throwaway.git(&["init", "--quiet", "--template="])?;
            }
        }
        throwaway.git(&["checkout", "--quiet", "-B", "proofmark/plant-none"])?;
        throwaway.mirror(root)?;
        throwaway.git(&["add", "-A", "--", "."])?;
        throwaway.git(&[
            "commit",
            "--quiet",
            "--allow-empty",
            "-m",
            "the working tree as it stands",
        ])?;
        throwaway.clean = throwaway.git(&["rev-parse", "HEAD"])?.trim().to_owned();
        Ok(throwaway)
    }

    /// Makes keys of its own, under the controls that the user's trust root asks for. The answer is the id of the
    /// clone's store, which names its temporary files.
    pub fn make_keys(&self, floor: &[ControlSpec], random: &mut dyn FnMut() -> [u8; 32]) -> Result<String, Error> {
        let home = Home::at(self.home.clone(), Some(&self.tree))?;
        let (mut root, _) = home.ensure(random)?;
        root.floor = floor.to_vec();
        let path = home.trust_root_path();
        fs::write(&path, root.to_bytes()).map_err(|error| Error::io("write", &path, &error))?;
        Ok(Store::open(&self.tree, random)?.id)
    }

    /// Remembers store and keys as they are now: with a log in which the clean tree passed.
    pub fn keep(&self) -> Result<(), Error> {
        copy_folder(&self.tree.join(store::FOLDER), &self.kept.join("store"))?;
        copy_folder(&self.home, &self.kept.join("home"))
    }

    /// Back to the clean commit, and to the log as it was kept. What `.gitignore` names stays: caches of builds.
    pub fn reset(&self) -> Result<(), Error> {
        self.git(&["checkout", "--quiet", "--force", "--detach", &self.clean])?;
        self.git(&["clean", "-ffdq"])?;
        let store = self.tree.join(store::FOLDER);
        remove_folder(&store)?;
        remove_folder(&self.home)?;
        copy_folder(&self.kept.join("store"), &store)?;
        copy_folder(&self.kept.join("home"), &self.home)
    }

    /// Commits edits on a branch `proofmark/plant-NAME`. A commit that changes nothing is an error: nothing was planted.
    pub fn plant(&self, name: &str, commits: &[Vec<Edit>]) -> Result<(), Error> {
        self.git(&["checkout", "--quiet", "-B", &format!("proofmark/plant-{name}")])?;
        for edits in commits {
            for edit in edits {
                self.edit(edit)?;
            }
            self.git(&["commit", "--quiet", "-m", "planted"])?;
        }
        Ok(())
    }

    /// Does to the store what somebody would do who can write to it, and makes the attempt look interrupted, so that
    /// it goes on from there.
    pub fn tamper(&self, tamper: Tamper) -> Result<(), Error> {
        let store = self.tree.join(store::FOLDER);
        let touched = match tamper {
            Tamper::ArtifactsExchanged => each_file(&store.join("blobs"), &mut |path, mut bytes| {
                if let Some(last) = bytes.last_mut() {
                    *last ^= 1;
                }
                fs::remove_file(path)?;
                fs::write(path, bytes)
            })?,
            Tamper::ProvenanceRemoved => {
                let mut removed = 0;
                each_file(&store.join("envelopes"), &mut |path, bytes| {
                    let envelope = evidence::Envelope::from_bytes(&bytes).ok();
                    let provenance = envelope.is_some_and(|envelope| {
                        String::from_utf8_lossy(&envelope.payload).contains(evidence::predicates::PROVENANCE)
                    });
                    if provenance {
                        removed += 1;
                        fs::remove_file(path)?;
                    }
                    Ok(())
                })?;
                removed
            }
        };
        if touched == 0 {
            return Err(Error::failed("tamper with the clone's store", "there is nothing in it"));
        }
        remove_folder(&store.join("bundles"))
    }

    /// Makes the tree in the clone the one at `root`: files that aren't there go, all others are copied.
    fn mirror(&self, root: &Path) -> Result<(), Error> {
        let failed = |error: source::SourceError| Error::failed("read the tree", error);
        make_folder(&self.tree)?;
        let from = source::walk(root, &source::WalkOptions::default()).map_err(failed)?;
        let wanted: std::collections::BTreeSet<&str> = from.files.iter().map(|file| file.path.as_str()).collect();
        let cloned = source::walk(&self.tree, &source::WalkOptions::default()).map_err(failed)?;
        for file in cloned.files.iter().filter(|file| !wanted.contains(file.path.as_str())) {
            fs::remove_file(&file.os_path).map_err(|error| Error::io("remove", &file.os_path, &error))?;
        }
        for file in &from.files {
            let inside = file.os_path.strip_prefix(&from.root).unwrap_or(&file.os_path);
            self.mirror_file(file, &self.tree.join(inside))?;
        }
        let copied = source::walk(&self.tree, &source::WalkOptions::default()).map_err(failed)?;
        let digest = |tree: &source::Tree| source::tree_digest(tree).map_err(failed);
        if digest(&copied)? != digest(&from)? {
            return Err(Error::failed(
                "copy the tree",
                "the copy is not the same: it changed meanwhile, or holds what can't be copied",
            ));
        }
        Ok(())
    }

    fn mirror_file(&self, file: &source::TreeFile, to: &Path) -> Result<(), Error> {
        let failed = |error: std::io::Error| Error::io("write", to, &error);
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(failed)?;
        }
        if fs::symlink_metadata(to).is_ok() {
            fs::remove_file(to).map_err(failed)?;
        }
        match &file.symlink {
            Some(target) => std::os::unix::fs::symlink(target, to).map_err(failed),
            None => fs::copy(&file.os_path, to).map(|_| ()).map_err(failed),
        }
    }

    fn edit(&self, edit: &Edit) -> Result<(), Error> {
        match edit {
            Edit::Write(path, bytes) => {
                self.write(path, bytes)?;
                self.git_tree(&["add", "-A", "--force", "--", path])
            }
            Edit::Remove(path) => {
                let full = self.tree.join(path);
                host::remove_beneath(&self.tree, path).map_err(|error| Error::io("remove", &full, &error))?;
                self.git_tree(&["add", "-A", "--force", "--", path])
            }
            Edit::Patch(bytes) => {
                let file = self.kept.join("plant.patch");
                fs::write(&file, bytes).map_err(|error| Error::io("write", &file, &error))?;
                self.git_tree(&["apply", "--index", &file.display().to_string()])
            }
        }
    }

    /// Writes a file of the clone. A link in the tree must not lead out of it: what stands there already is a regular
    /// file that is reached without one, and what doesn't goes into a folder of ours.
    fn write(&self, path: &str, bytes: &[u8]) -> Result<(), Error> {
        let full = self.tree.join(path);
        let failed = |error: std::io::Error| Error::io("write", &full, &error);
        match host::read_beneath(&self.tree, path, EDITED_BYTES_MAX) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let top = path.split('/').next().unwrap_or_default();
                let below = self.tree.join(top);
                if fs::symlink_metadata(&below).is_ok_and(|found| !found.is_dir()) {
                    return Err(Error::failed(
                        &format!("plant `{path}`"),
                        format!("`{top}` is in the way"),
                    ));
                }
                if let Some(folder) = full.parent() {
                    fs::create_dir_all(folder).map_err(failed)?;
                }
            }
            Err(error) => return Err(failed(error)),
        }
        fs::write(&full, bytes).map_err(failed)
    }

    fn git_tree(&self, arguments: &[&str]) -> Result<(), Error> {
        let arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(std::ffi::OsStr::new).collect();
        self.git_in(&self.tree, &arguments).map(|_| ())
    }

    fn git(&self, arguments: &[&str]) -> Result<String, Error> {
        let arguments: Vec<&std::ffi::OsStr> = arguments.iter().map(std::ffi::OsStr::new).collect();
        self.git_in(&self.repository, &arguments)
    }

    fn git_in(&self, folder: &Path, arguments: &[&std::ffi::OsStr]) -> Result<String, Error> {
        const SETTINGS: [&str; 8] = [
            "user.name=proofmark",
            "user.email=proofmark@localhost",
            "commit.gpgsign=false",
            "core.hooksPath=/dev/null",
            "core.autocrlf=false",
            "core.fsmonitor=false",
            "gc.auto=0",
            "advice.detachedHead=false",
        ];
        let mut command = Command::new("git", folder);
        command.args.push("--literal-pathspecs".into());
        command
            .args
            .extend(SETTINGS.iter().flat_map(|setting| ["-c".into(), (*setting).into()]));
        command
            .args
            .extend(arguments.iter().map(|argument| (*argument).to_owned()));
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.env = [
            ("PATH".into(), path),
            ("LC_ALL".into(), "C".into()),
            ("GIT_CONFIG_NOSYSTEM".into(), "1".into()),
            ("GIT_CONFIG_GLOBAL".into(), "/dev/null".into()),
            ("GIT_TERMINAL_PROMPT".into(), "0".into()),
        ]
        .into();
        let capture = || Sink::Capture {
            bytes_max: GIT_OUTPUT_BYTES_MAX,
        };
        (command.stdout, command.stderr) = (capture(), capture());
        command.isolation = Wanted::None;
        command.timeout = Some(Duration::from_secs(GIT_SECONDS_MAX));
        let shown = arguments
            .first()
            .map(|word| word.to_string_lossy().into_owned())
            .unwrap_or_default();
        let finished = host::process::run(command, &self.cancel).map_err(|error| {
            Error::usage(
                format!("`git` can't be started: {error}"),
                "the throwaway branch is made with git: install it",
            )
        })?;
        if finished.cancelled {
            return Err(Error::Cancelled);
        }
        if !finished.status.success() {
            let said = String::from_utf8_lossy(&finished.stderr).trim().replace('\n', " | ");
            return Err(Error::failed(
                &format!("run `git {shown}` in the throwaway clone"),
                said,
            ));
        }
        Ok(String::from_utf8_lossy(&finished.stdout).into_owned())
    }

    /// What a release of the clone is told: the user's clock and program, none of the user's keys.
    pub fn options(
        &self,
        options: &Options,
        upto: evidence::Stage,
        progress: std::sync::Arc<dyn crate::progress::Progress>,
    ) -> Options {
        Options {
            tree: self.tree.clone(),
            upto,
            home: self.home.clone(),
            clock: std::sync::Arc::clone(&options.clock),
            random: std::sync::Arc::clone(&options.random),
            progress,
            cancel: options.cancel.clone(),
            program: options.program.clone(),
        }
    }

    /// The tree's digest as the clone has it.
    pub fn digest(&self) -> Result<Digest, Error> {
        let failed = |error: source::SourceError| Error::failed("read the tree", error);
        source::tree_digest(&source::walk(&self.tree, &source::WalkOptions::default()).map_err(failed)?).map_err(failed)
    }
}

fn make_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|error| Error::io("create", path, &error))
}

/// Calls `with` for every file below a folder; the answer is how many there were.
fn each_file(folder: &Path, with: &mut dyn FnMut(&Path, Vec<u8>) -> std::io::Result<()>) -> Result<usize, Error> {
    let mut count = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        let entries = fs::read_dir(&next).map_err(|error| Error::io("read", &next, &error))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
            } else {
                let bytes = fs::read(&path).map_err(|error| Error::io("read", &path, &error))?;
                with(&path, bytes).map_err(|error| Error::io("change", &path, &error))?;
                count += 1;
            }
        }
    }
    Ok(count)
}

/// Copies a folder of ours, modes included; there are no links in it.
fn copy_folder(from: &Path, to: &Path) -> Result<(), Error> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let mode = fs::metadata(from)
        .map_err(|error| Error::io("read", from, &error))?
        .permissions()
        .mode();
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode & 0o777)
        .create(to)
        .map_err(|error| Error::io("create", to, &error))?;
    let entries = fs::read_dir(from).map_err(|error| Error::io("read", from, &error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Error::io("read", from, &error))?;
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_folder(&source, &target)?;
        } else {
            fs::copy(&source, &target).map_err(|error| Error::io("copy", &source, &error))?;
        }
    }
    Ok(())
}
