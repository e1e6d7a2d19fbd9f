//! Files in a folder that somebody else fills: reading and removing that can't be led out of it.
//!
//! A step's report or a built program lies where the step could put a link, a FIFO or a device instead. Only the
//! folder itself is trusted; [`DiskStorage`](super::DiskStorage) is for folders of our own.
//!
//! Start reading at [`read_beneath`].

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

/// The bytes of the regular file `relative` below the folder `root`, at most `bytes_max`.
///
/// `root` may be or lie behind a symbolic link; `relative` may not. Refused, with a text that doesn't repeat the path:
/// absolute paths, `..`, symbolic links at any part, and everything but regular files, without waiting for the
/// other end of a FIFO. A file that isn't there is [`io::ErrorKind::NotFound`], one that is larger than `bytes_max`
/// [`io::ErrorKind::FileTooLarge`].
pub fn read_beneath(root: &Path, relative: &str, bytes_max: u64) -> io::Result<Vec<u8>> {
    let path = checked(relative)?;
    let root = open_root(root)?;
    let file = open_beneath(&root, &path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY).map_err(explained)?;
    let status = fs::fstat(&file)?;
    if FileType::from_raw_mode(status.st_mode) != FileType::RegularFile {
        return Err(refused("it is not a regular file"));
    }
    let too_large = || {
        let text = format!("it is larger than {bytes_max} bytes");
        io::Error::new(io::ErrorKind::FileTooLarge, text)
    };
    if u64::try_from(status.st_size).unwrap_or(0) > bytes_max {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    // It may grow while it is read.
    File::from(file)
        .take(bytes_max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(too_large());
    }
    Ok(bytes)
}

/// Removes the regular file or the symbolic link (not what it leads to) `relative` below the folder `root`.
///
/// The rules are those of [`read_beneath`]; what isn't there is removed already.
pub fn remove_beneath(root: &Path, relative: &str) -> io::Result<()> {
    let path = checked(relative)?;
    let root = match open_root(root) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    let (Some(name), Some(folder)) = (path.file_name(), path.parent()) else {
        return Err(refused("it names no file"));
    };
    let folder = if folder.as_os_str().is_empty() {
        root
    } else {
        match open_beneath(&root, folder, OFlags::RDONLY | OFlags::DIRECTORY) {
            Err(Errno::NOENT) => return Ok(()),
            other => other.map_err(explained)?,
        }
    };
    let kind = match fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(()),
        other => FileType::from_raw_mode(other?.st_mode),
    };
    if !matches!(kind, FileType::RegularFile | FileType::Symlink) {
        return Err(refused("it is not a regular file"));
    }
    match fs::unlinkat(&folder, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
    }
}

/// The path without `.` parts and doubled slashes.
fn checked(relative: &str) -> io::Result<PathBuf> {
    if relative.contains('\0') {
        return Err(refused("it holds a null byte"));
    }
    if relative.ends_with('/') {
        return Err(refused("it names a folder"));
    }
    let mut path = PathBuf::new();
    for part in Path::new(relative).components() {
        match part {
            Component::Normal(name) => path.push(name),
            Component::CurDir => {}
            Component::ParentDir => return Err(refused("`..` is not allowed in it")),
            Component::RootDir | Component::Prefix(_) => return Err(refused("it is an absolute path")),
        }
    }
    if path.as_os_str().is_empty() {
        return Err(refused("it names no file"));
    }
    Ok(path)
}

fn open_root(root: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fs::open(root, flags, Mode::empty())?)
}

fn open_beneath(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::ResolveFlags;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        match fs::openat2(root, path, flags, Mode::empty(), resolve) {
            // Older than Linux 5.6, a filter that doesn't know the call, or a rename that came in between.
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {}
            other => return other,
        }
    }
    open_by_parts(root, path, flags)
}

/// The same without the kernel's help: from folder to folder, following nothing.
fn open_by_parts(root: &OwnedFd, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let mut at = root.try_clone().map_err(|_| Errno::MFILE)?;
    if let Some(folders) = path.parent() {
        for part in folders {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            at = fs::openat(&at, part, flags, Mode::empty()).map_err(|error| link_or(error, &at, part))?;
        }
    }
    let name = path.file_name().ok_or(Errno::INVAL)?;
    fs::openat(&at, name, flags, Mode::empty()).map_err(|error| link_or(error, &at, name))
}

/// A link where a folder was asked for is refused as not being one.
fn link_or(error: Errno, folder: &OwnedFd, name: &std::ffi::OsStr) -> Errno {
    match fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(status) if FileType::from_raw_mode(status.st_mode) == FileType::Symlink => Errno::LOOP,
        _ => error,
    }
}

fn explained(error: Errno) -> io::Error {
    match error {
        Errno::LOOP => refused("it is a symbolic link or lies behind one"),
        Errno::XDEV => refused("it leads out of its folder"),
        Errno::NOTDIR => refused("a part of it is not a folder"),
        // A socket, or a device without a driver.
        Errno::NXIO | Errno::NODEV => refused("it is not a regular file"),
        other => other.into(),
    }
}

fn refused(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("root/sub/deep")).unwrap();
        std::fs::write(at("root/plain"), "12345").unwrap();
        std::fs::write(at("root/sub/deep/file"), "deep").unwrap();
        std::fs::write(at("outside"), "secret").unwrap();
        symlink("plain", at("root/link")).unwrap();
        symlink(at("outside"), at("root/out")).unwrap();
        symlink("sub", at("root/door")).unwrap();
        symlink("../outside", at("root/sub/up")).unwrap();
        fs::mkfifoat(fs::CWD, at("root/fifo"), Mode::RUSR | Mode::WUSR).unwrap();
        drop(UnixListener::bind(at("root/socket")).unwrap());
        symlink("root", at("root-link")).unwrap();
        folder
    }

    const LINK: &str = "it is a symbolic link or lies behind one";
    const IRREGULAR: &str = "it is not a regular file";

    #[test]
    fn only_regular_files_beneath_are_read() {
        let folder = folder();
        let check = |relative: &str, expect: Result<&str, &str>| {
            for root in ["root", "root-link"] {
                let read = read_beneath(&folder.path().join(root), relative, 5);
                let read = read.map_err(|error| error.to_string());
                let expect = expect.map(|text| text.as_bytes().to_vec()).map_err(str::to_owned);
                assert_eq!(read, expect, "{relative}");
            }
        };
        check("plain", Ok("12345"));
        check("sub/deep/file", Ok("deep"));
        check("./sub//deep/./file", Ok("deep"));
        check("link", Err(LINK));
        check("out", Err(LINK));
        check("door/deep/file", Err(LINK));
        check("sub/up", Err(LINK));
        check("fifo", Err(IRREGULAR));
        check("socket", Err(IRREGULAR));
        check("sub", Err(IRREGULAR));
        check("sub/", Err("it names a folder"));
        check("plain/file", Err("a part of it is not a folder"));
        check("../outside", Err("`..` is not allowed in it"));
        check("sub/../plain", Err("`..` is not allowed in it"));
        check("/etc/passwd", Err("it is an absolute path"));
        check("", Err("it names no file"));
        check(".", Err("it names no file"));
        check("a\0b", Err("it holds a null byte"));
        let kind = |relative, bytes_max| {
            let read = read_beneath(&folder.path().join("root"), relative, bytes_max);
            read.unwrap_err().kind()
        };
        assert_eq!(kind("plain", 4), io::ErrorKind::FileTooLarge);
        assert_eq!(kind("none", 4), io::ErrorKind::NotFound);
        assert_eq!(kind("none/file", 4), io::ErrorKind::NotFound);
        let devices = read_beneath(Path::new("/dev"), "zero", 4);
        assert_eq!(devices.unwrap_err().to_string(), IRREGULAR);
    }

    #[test]
    fn without_the_kernels_help_it_is_the_same() {
        let folder = folder();
        let root = open_root(&folder.path().join("root")).unwrap();
        let check = |relative: &str, expect: Result<(), Errno>| {
            let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = open_by_parts(&root, Path::new(relative), flags);
            assert_eq!(opened.map(drop), expect, "{relative}");
        };
        check("plain", Ok(()));
        check("sub/deep/file", Ok(()));
        check("link", Err(Errno::LOOP));
        check("door/deep/file", Err(Errno::LOOP));
        check("sub/up", Err(Errno::LOOP));
        check("plain/file", Err(Errno::NOTDIR));
        check("none", Err(Errno::NOENT));
    }

    #[test]
    fn only_files_and_links_beneath_are_removed() {
        let folder = folder();
        let root = folder.path().join("root");
        let check = |relative: &str, expect: Result<(), &str>| {
            let removed = remove_beneath(&root, relative).map_err(|error| error.to_string());
            assert_eq!(removed, expect.map_err(str::to_owned), "{relative}");
        };
        check("door/deep/file", Err(LINK));
        check("sub", Err(IRREGULAR));
        check("fifo", Err(IRREGULAR));
        check("../outside", Err("`..` is not allowed in it"));
        check("/outside", Err("it is an absolute path"));
        for there in ["plain", "link", "out", "sub/up", "sub/deep/file"] {
            check(there, Ok(()));
            assert!(root.join(there).symlink_metadata().is_err(), "{there}");
        }
        for gone in ["plain", "none", "none/none"] {
            check(gone, Ok(()));
        }
        assert!(remove_beneath(&root.join("none"), "file").is_ok());
        assert_eq!(std::fs::read(folder.path().join("outside")).unwrap(), b"secret");
    }
}
