//! Journals of lines: a header line with a version, then one checksummed JSON record a line. What undo journal, lease
//! journal and the journals of playbook runs share; what a record says is theirs.
//!
//! ```text
//! proofmark undo journal v2
//! 3c9f2a81d0b7e465 {"record":"plan","entry":1,…}
//! ```
//!
//! The checksum is the first 16 hexadecimal characters of the SHA-256 of the JSON text. It tells a torn write from a
//! whole one; it proves nothing against somebody who can write the file.

use crate::Digest;

/// Characters of a checksum.
const CHECKSUM_LENGTH: usize = 16;

/// Why a file can't be read as a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    NotAJournal,
    OtherVersion,
    /// A bad line with good ones behind it: no crash does that.
    Damaged {
        line: usize,
    },
}

/// The line of one record, its line feed included.
pub fn line(json: &[u8]) -> Vec<u8> {
    let mut line = checksum(json).into_bytes();
    line.push(b' ');
    line.extend_from_slice(json);
    line.push(b'\n');
    line
}

/// The JSON text of a line with its line feed, or `None` when it is torn.
pub fn checked(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n")?;
    let (sum, json) = line.split_at_checked(CHECKSUM_LENGTH)?;
    let json = json.strip_prefix(b" ")?;
    (checksum(json).as_bytes() == sum).then_some(json)
}

/// Reads a whole file: hands the JSON text of each record to `take`, which says whether it is one, and answers how many
/// bytes the header and the records take; what lies behind was torn. A file that ends within its header has no good
/// bytes at all. `headers` are those that are known, all of one length, and each begins with `any_header`, as those of
/// other versions do. A line of more than `bytes_max`, its line feed left out, is no record.
pub fn read(
    bytes: &[u8],
    headers: &[&str],
    any_header: &str,
    bytes_max: usize,
    take: &mut dyn FnMut(&[u8]) -> bool,
) -> Result<u64, Unreadable> {
    let cut = |header: &&str| header.as_bytes().starts_with(bytes) && bytes.len() < header.len();
    if headers.iter().any(cut) {
        return Ok(0);
    }
    let Some(header) = headers.iter().find(|header| bytes.starts_with(header.as_bytes())) else {
        return Err(if bytes.starts_with(any_header.as_bytes()) {
            Unreadable::OtherVersion
        } else {
            Unreadable::NotAJournal
        });
    };
    let mut good_bytes = header.len() as u64;
    let mut bad_line = None;
    for (index, line) in bytes[header.len()..].split_inclusive(|byte| *byte == b'\n').enumerate() {
        let fits = line.len() <= bytes_max + 1;
        let good = fits && checked(line).is_some_and(&mut *take);
        match (good, bad_line) {
            (true, Some(line)) => return Err(Unreadable::Damaged { line }),
            (true, None) => good_bytes += line.len() as u64,
            (false, _) => bad_line = bad_line.or(Some(index + 2)),
        }
    }
    Ok(good_bytes)
}

fn checksum(json: &[u8]) -> String {
    Digest::of(json).hex()[..CHECKSUM_LENGTH].to_owned()
}
