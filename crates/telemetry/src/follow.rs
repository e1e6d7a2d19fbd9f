//! Following one file as it grows, is cut, renamed away and replaced.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// At most so many bytes of one file are read in one poll; the rest comes with the next.
pub const POLL_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What happened to a followed file, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// The next bytes.
    Bytes(&'a [u8]),
    /// It was cut short: what comes now was written after the cut.
    Cut,
    /// It was renamed away, has been read to its end, and another file is in its place, which comes now.
    Replaced,
}

/// Reads a file as it grows. It may not exist yet.
pub struct Follow {
    path: PathBuf,
    open: Option<Open>,
}

/// The file that is behind the path, or was when it was opened.
struct Open {
    file: File,
    identity: (u64, u64),
    offset: u64,
}

impl Follow {
    /// From the file's beginning.
    pub fn new(path: PathBuf) -> Self {
        Follow { path, open: None }
    }

    /// From the file's current end. One that doesn't exist yet is read from its beginning.
    pub fn skip_to_end(&mut self) {
        let Ok(Some(mut open)) = Open::at(&self.path) else {
            return;
        };
        open.offset = open.file.metadata().map_or(0, |metadata| metadata.len());
        self.open = Some(open);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads what is new in the open file, then in the file that has taken its place, if one has.
    ///
    /// # Errors
    /// The file can't be read; the next poll tries again.
    pub fn poll(&mut self, each: &mut dyn FnMut(Piece<'_>)) -> io::Result<()> {
        if self.open.is_none() {
            self.open = Open::at(&self.path)?;
        }
        let Some(open) = &mut self.open else { return Ok(()) };
        if open.file.metadata()?.len() < open.offset {
            open.offset = 0;
            each(Piece::Cut);
        }
        let drained = open.read(each)? < POLL_BYTES_MAX;
        if drained && self.replaced()? {
            // A renamed file gets no more once its writer has opened the new one.
            each(Piece::Replaced);
            self.open = Open::at(&self.path)?;
            if let Some(open) = &mut self.open {
                open.read(each)?;
            }
        }
        Ok(())
    }

    /// True when another file is behind the path than the open one. A path with no file behind it waits.
    fn replaced(&self) -> io::Result<bool> {
        let Some(open) = &self.open else { return Ok(false) };
        match fs::metadata(&self.path) {
            Ok(metadata) => Ok(identity(&metadata) != open.identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Open {
    /// The file at `path` from its beginning; `None` where there is none.
    fn at(path: &Path) -> io::Result<Option<Open>> {
        match File::open(path) {
            Ok(file) => {
                let identity = identity(&file.metadata()?);
                Ok(Some(Open {
                    file,
                    identity,
                    offset: 0,
                }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Up to [`POLL_BYTES_MAX`] bytes from where the last read ended, and how many those were.
    fn read(&mut self, each: &mut dyn FnMut(Piece<'_>)) -> io::Result<usize> {
        let mut bytes = Vec::new();
        self.file.seek(SeekFrom::Start(self.offset))?;
        self.file.by_ref().take(POLL_BYTES_MAX as u64).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        if !bytes.is_empty() {
            each(Piece::Bytes(&bytes));
        }
        Ok(bytes.len())
    }
}

/// What tells two files behind one path apart.
#[cfg(unix)]
fn identity(metadata: &Metadata) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.dev(), metadata.ino())
}

/// Without inode numbers only a cut is seen, not a replacement.
#[cfg(not(unix))]
fn identity(_: &Metadata) -> (u64, u64) {
    (0, 0)
}
