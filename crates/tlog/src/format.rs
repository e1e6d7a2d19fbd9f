//! The journal's bytes, version 1.
//!
//! ```text
//! "proofmark-journal\n"   magic
//! u32                     version, 1
//! u16 + bytes             origin of the log
//! then each entry:
//! u32                     length of the leaf
//! bytes                   the leaf
//! 32 bytes                link: SHA-256(link before || length || leaf); the first link before is SHA-256(header)
//! ```
//!
//! Numbers are big-endian. The links make a chain, so that an entry is whole only after all entries before it:
//! what a crash tore, left out or reordered ends the journal there.

use evidence::Digest;

use crate::LogError;

/// The largest leaf, in bytes: an entry bundle gives a leaf's length in 16 bits (C2SP tlog-tiles).
pub const ENTRY_BYTES_MAX: usize = 65_535;

/// Bytes of an origin, at most.
pub(crate) const ORIGIN_BYTES_MAX: usize = 1024;

const MAGIC: &[u8] = b"proofmark-journal\n";
const VERSION: u32 = 1;
const LENGTH_BYTES: usize = 4;
const LINK_BYTES: usize = 32;

/// Where a leaf lies in the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub offset: u64,
    pub length: usize,
}

impl Extent {
    pub fn end(self) -> u64 {
        self.offset + self.length as u64
    }
}

/// A journal up to its last whole entry.
#[derive(Debug)]
pub(crate) struct Journal<'a> {
    pub origin: &'a str,
    pub leaves: Vec<(Extent, &'a [u8])>,
    /// The end to write on at.
    pub end: End,
}

/// The end of a journal: what the next entry follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct End {
    /// Bytes up to here.
    pub bytes: u64,
    link: Digest,
}

/// The header of an empty journal.
pub(crate) fn header(origin: &str) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_be_bytes());
    let length = u16::try_from(origin.len()).expect("origins are checked to be short");
    bytes.extend(length.to_be_bytes());
    bytes.extend(origin.as_bytes());
    bytes
}

/// Reads a journal. What follows its last whole entry is no error here: the caller knows how many there must be.
pub(crate) fn read(bytes: &[u8]) -> Result<Journal<'_>, LogError> {
    let mut rest = bytes
        .strip_prefix(MAGIC)
        .ok_or(LogError::NotAJournal("it does not begin as one"))?;
    let cut = LogError::NotAJournal("its header is cut short");
    let version = u32::from_be_bytes(*take(&mut rest).ok_or(cut.clone())?);
    if version != VERSION {
        return Err(LogError::Version(version));
    }
    let length = u16::from_be_bytes(*take(&mut rest).ok_or(cut.clone())?);
    let (origin, rest) = rest.split_at_checked(usize::from(length)).ok_or(cut)?;
    let origin = std::str::from_utf8(origin).map_err(|_| LogError::NotAJournal("its origin is not UTF-8"))?;
    let (header, _) = bytes.split_at(bytes.len() - rest.len());
    let mut journal = Journal {
        origin,
        leaves: Vec::new(),
        end: End {
            bytes: header.len() as u64,
            link: Digest::of(header),
        },
    };
    journal.read_entries(rest);
    Ok(journal)
}

impl<'a> Journal<'a> {
    fn read_entries(&mut self, mut rest: &'a [u8]) {
        while let Some(leaf) = take_entry(&mut rest, &self.end.link) {
            let (next, extent) = self.end.after(leaf);
            self.end = next;
            self.leaves.push((extent, leaf));
        }
    }
}

impl End {
    /// Writes `leaf` as the entry after this end.
    pub fn write(&mut self, leaf: &[u8], out: &mut Vec<u8>) -> Extent {
        let (next, extent) = self.after(leaf);
        out.extend(length_of(leaf));
        out.extend(leaf);
        out.extend(next.link.0);
        *self = next;
        extent
    }

    fn after(&self, leaf: &[u8]) -> (End, Extent) {
        let extent = Extent {
            offset: self.bytes + LENGTH_BYTES as u64,
            length: leaf.len(),
        };
        (
            End {
                bytes: extent.end() + LINK_BYTES as u64,
                link: link(&self.link, leaf),
            },
            extent,
        )
    }
}

fn length_of(leaf: &[u8]) -> [u8; LENGTH_BYTES] {
    u32::try_from(leaf.len())
        .expect("leaves are checked to be short")
        .to_be_bytes()
}

fn link(before: &Digest, leaf: &[u8]) -> Digest {
    let mut hasher = Digest::hasher();
    hasher.update(&before.0);
    hasher.update(&length_of(leaf));
    hasher.update(leaf);
    hasher.finish()
}

/// The next entry's leaf, if the entry is whole.
fn take_entry<'a>(rest: &mut &'a [u8], before: &Digest) -> Option<&'a [u8]> {
    let mut at = *rest;
    let length = usize::try_from(u32::from_be_bytes(*take(&mut at)?)).ok()?;
    if length > ENTRY_BYTES_MAX {
        return None;
    }
    let (leaf, after) = at.split_at_checked(length)?;
    at = after;
    let found: &[u8; LINK_BYTES] = take(&mut at)?;
    if link(before, leaf).0 != *found {
        return None;
    }
    *rest = at;
    Some(leaf)
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal(leaves: &[&[u8]]) -> Vec<u8> {
        let mut bytes = header("example.org/log");
        let mut end = read(&bytes).expect("reads").end;
        for leaf in leaves {
            end.write(leaf, &mut bytes);
        }
        bytes
    }

    #[test]
    fn version_1_stays_readable() {
        // INVARIANT: these bytes are on users' disks.
        let bytes = journal(&[b"", b"leaf"]);
        assert_eq!(
            Digest::of(&bytes).hex(),
            "e8752c8998e66d764077ec334c8ab831b451d21183f892cc3498c15133c07811"
        );
        let read = read(&bytes).expect("reads");
        assert_eq!(read.origin, "example.org/log");
        assert_eq!(
            read.leaves.iter().map(|(_, leaf)| *leaf).collect::<Vec<_>>(),
            [&b""[..], b"leaf"]
        );
        assert_eq!(read.end.bytes, bytes.len() as u64);
        let (extent, leaf) = read.leaves[1];
        assert_eq!(
            &bytes[usize::try_from(extent.offset).expect("fits")..][..extent.length],
            leaf
        );
    }

    #[test]
    fn a_cut_journal_ends_at_its_last_whole_entry() {
        let bytes = journal(&[b"one", b"two", b"three"]);
        let whole = journal(&[b"one", b"two"]).len();
        for cut in whole..bytes.len() {
            let read = read(&bytes[..cut]).expect("reads");
            assert_eq!((read.leaves.len(), read.end.bytes), (2, whole as u64), "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_journal_before_it() {
        let bytes = journal(&[b"one", b"two", b"three"]);
        let first = journal(&[b"one"]).len();
        let second = journal(&[b"one", b"two"]).len();
        for position in first..second {
            let mut bytes = bytes.clone();
            bytes[position] ^= 1;
            assert_eq!(read(&bytes).expect("reads").leaves.len(), 1, "flipped at {position}");
        }
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let bytes = journal(&[]);
        for cut in 0..bytes.len() {
            assert!(
                matches!(read(&bytes[..cut]), Err(LogError::NotAJournal(_))),
                "cut at {cut}"
            );
        }
        let mut newer = bytes;
        newer[MAGIC.len() + 3] = 2;
        assert_eq!(read(&newer).expect_err("is newer"), LogError::Version(2));
    }
}
