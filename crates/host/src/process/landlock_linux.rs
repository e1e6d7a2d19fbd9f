//! Landlock rule sets (landlock(7)): made before the fork, entered by the program just before its `exec`.
//!
//! Being in one keeps a process from tracing any process outside it, whatever its rules.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, Scope,
};

/// From this version on a rule set can keep signals inside.
const SCOPES_SINCE: i64 = 6;

/// How many rules the stand-in for namespaces may need.
const RULES_MAX: usize = 65_536;

/// Devices that may be opened under the stand-in; see `DEVICES` in `mounts_linux`.
const DEVICES: [&str; 10] = [
    "null", "zero", "full", "random", "urandom", "tty", "shm", "mqueue", "pts", "ptmx",
];

/// The version of the kernel's Landlock; 0 where there is none.
pub fn version() -> i64 {
    const CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag, a null pointer and no length, the call only returns a number.
    let version = unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<u8>(),
            0,
            CREATE_RULESET_VERSION,
        )
    };
    version.max(0)
}

/// Whether the stand-in keeps a tree from signalling us too.
pub(super) fn scopes_signals() -> bool {
    version() >= SCOPES_SINCE
}

/// Whether the stand-in can keep files from being cut short too, which `truncate` does without opening them.
pub(super) fn forbids_every_write() -> bool {
    const TRUNCATE_SINCE: i64 = 3;
    version() >= TRUNCATE_SINCE
}

/// Over namespaces: no tracing and no signals out, files untouched (rules for files would forbid every mount, and
/// with it sandboxes inside the tree). `None` where the kernel can't do just that.
pub(super) fn over_namespaces() -> Option<OwnedFd> {
    if !scopes_signals() {
        return None;
    }
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::Signal)
        .and_then(Ruleset::create)
        .ok()?
        .into()
}

/// Instead of namespaces: everything but what lies in `hide` (canonical folders), disks and kernel settings;
/// with `writable` (canonical folders) writing only below these.
pub(super) fn instead_of_namespaces(hide: &[PathBuf], writable: Option<&[PathBuf]>) -> Result<OwnedFd, String> {
    let version = version();
    let abi = match version {
        0 => return Err("there is no Landlock".to_owned()),
        1 => ABI::V1,
        2 => ABI::V2,
        _ => ABI::V3,
    };
    // Listing a folder can't be allowed for it alone, so that names stay visible everywhere.
    let files_abi = AccessFs::from_all(abi) & !AccessFs::ReadDir;
    let made = |error: RulesetError| error.to_string();
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(files_abi)
        .map_err(made)?;
    if version >= SCOPES_SINCE {
        ruleset = ruleset.scope(Scope::Signal).map_err(made)?;
    }
    let mut ruleset = ruleset.create().map_err(made)?;
    for Rule { path, readable_only } in rules(hide, writable)? {
        let Ok(metadata) = std::fs::metadata(&path) else {
            continue;
        };
        let mut access: BitFlags<AccessFs> = files_abi;
        if !metadata.is_dir() {
            access &= AccessFs::from_file(abi);
        }
        if readable_only {
            access &= AccessFs::ReadFile | AccessFs::Execute;
        }
        // What can't be opened even as a path (removed meanwhile) is left out: that only forbids more.
        if let Ok(opened) = PathFd::new(&path) {
            ruleset = ruleset.add_rule(PathBeneath::new(opened, access)).map_err(made)?;
        }
    }
    Option::<OwnedFd>::from(ruleset).ok_or_else(|| "there is no Landlock".to_owned())
}

struct Rule {
    path: PathBuf,
    readable_only: bool,
}

/// Everything beside the hidden folders and the folders above them, and where there are such the writable folders.
fn rules(hide: &[PathBuf], writable: Option<&[PathBuf]>) -> Result<Vec<Rule>, String> {
    let mut rules = Vec::new();
    let mut above = vec![PathBuf::from("/")];
    while let Some(folder) = above.pop() {
        let entries =
            std::fs::read_dir(&folder).map_err(|error| format!("can't list `{}`: {error}", folder.display()))?;
        for entry in entries.filter_map(Result::ok) {
            let path = entry.path();
            let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            if link || hide.contains(&path) {
                continue;
            }
            if hide.iter().any(|hidden| hidden.starts_with(&path)) {
                above.push(path);
            } else if path == Path::new("/dev") {
                rules.extend(DEVICES.iter().map(|name| Rule {
                    path: path.join(name),
                    readable_only: false,
                }));
            } else {
                let kernels = path == Path::new("/proc") || path == Path::new("/sys");
                let outside = writable.is_some_and(|folders| !folders.iter().any(|folder| path.starts_with(folder)));
                // Nothing below is hidden, so that all of a writable folder may be allowed.
                let inside = writable.unwrap_or_default().iter();
                rules.extend(
                    inside
                        .filter(|folder| **folder != path && folder.starts_with(&path))
                        .map(|folder| Rule {
                            path: folder.clone(),
                            readable_only: false,
                        }),
                );
                rules.push(Rule {
                    path,
                    readable_only: kernels || outside,
                });
            }
            if rules.len() > RULES_MAX {
                return Err(format!("more than {RULES_MAX} folders lie beside hidden ones"));
            }
        }
    }
    Ok(rules)
}
