//! What lies in a store of Proofmark's, as far as the faults on Proofmark itself need it.
//!
//! The layout is that of `.proofmark/` as its owner documents it: envelopes named after the hash of their log leaf,
//! artifacts after their SHA-256, one journal. Nothing is verified here: whether a change is noticed is for Proofmark
//! to show. Start reading at [`envelope`].

use std::ops::Range;
use std::time::Duration;

use evidence::{Envelope, Statement, Timestamp, to_canonical};
use rustix::fs::OFlags;
use serde_json::Value;

use crate::file_change::{Find, Rewrite};
use crate::files::{contents, reach, told};
use crate::target::Target;

pub(crate) const LOG: &str = ".proofmark/log";
pub(crate) const JOURNAL: &str = ".proofmark/log/journal";
pub(crate) const CHECKPOINT: &str = ".proofmark/log/checkpoint";
const ENVELOPES: &str = ".proofmark/envelopes";
const BLOBS: &str = ".proofmark/blobs";
/// What one folder of a store is read for, at most.
const NAMES_MAX: usize = 100_000;
/// Evidence that is so old is good for nothing: ten years.
const AGE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// Length of the magic of a journal, and of the version behind it.
const MAGIC: &[u8] = b"proofmark-journal\n";
const VERSION_BYTES: usize = 4;
/// Behind each leaf of a journal.
const LINK_BYTES: usize = 32;

/// Finds the first envelope, by name, whose statement is wanted.
pub(crate) fn envelope(what: &'static str, wanted: fn(&Statement) -> bool) -> Find {
    Box::new(move |target| {
        for path in below(target, ENVELOPES)? {
            let (_, statement) = read(&contents(target, &path)?)?;
            if wanted(&statement) {
                return Ok(path);
            }
        }
        Err(format!("the store holds no {what}"))
    })
}

/// Finds the first artifact, by name.
pub(crate) fn artifact(target: &Target) -> Result<String, String> {
    let first = below(target, BLOBS)?.into_iter().next();
    first.ok_or_else(|| "the store holds no artifact".to_owned())
}

/// The contents of another envelope of the same predicate, or of any other where there is none.
pub(crate) fn another_envelope(target: &Target, than: &[u8]) -> Result<Vec<u8>, String> {
    let (_, statement) = read(than)?;
    let mut any = None;
    for path in below(target, ENVELOPES)? {
        let bytes = contents(target, &path)?;
        if bytes == than {
            continue;
        }
        let (_, other) = read(&bytes)?;
        if other.predicate_type == statement.predicate_type && other.subject != statement.subject {
            return Ok(bytes);
        }
        any = any.or(Some(bytes));
    }
    any.ok_or_else(|| "the store holds no other envelope".to_owned())
}

/// The envelope of the statement that ends last; where none has an end, the first that says when it was made.
pub(crate) fn longest_valid(target: &Target) -> Result<String, String> {
    let (mut longest, mut dated) = (None, None);
    for path in below(target, ENVELOPES)? {
        let (_, statement) = read(&contents(target, &path)?)?;
        if let Some(end) = end_of(&statement) {
            if longest.as_ref().is_none_or(|(other, _)| end > *other) {
                longest = Some((end, path));
            }
        } else if dated.is_none() && statement.context().is_some() {
            dated = Some(path);
        }
    }
    let found = longest.map(|(_, path)| path).or(dated);
    found.ok_or_else(|| "the store holds no statement with a time".to_owned())
}

/// An envelope of the same predicate that ends earlier, for the same thing where there is one; else the same one, ended
/// when it was made, or made long ago.
pub(crate) fn expired(target: &Target, old: &[u8]) -> Result<Vec<u8>, String> {
    let (_, statement) = read(old)?;
    let Some(end) = end_of(&statement) else {
        return restated(aged)(target, old);
    };
    let mut earlier = None;
    for path in below(target, ENVELOPES)? {
        let bytes = contents(target, &path)?;
        let (_, other) = read(&bytes)?;
        let ends = end_of(&other).filter(|other_end| *other_end < end);
        if let Some(ends) = ends.filter(|_| other.predicate_type == statement.predicate_type) {
            let is_another = same_thing(&other) != same_thing(&statement);
            let rank = (is_another, ends);
            if earlier.as_ref().is_none_or(|(best, _)| rank < *best) {
                earlier = Some((rank, bytes));
            }
        }
    }
    match earlier {
        Some((_, bytes)) => Ok(bytes),
        None => restated(ended)(target, old),
    }
}

/// Until when a statement holds, by its predicate.
fn end_of(statement: &Statement) -> Option<Timestamp> {
    statement.predicate.get("expires")?.as_str()?.parse().ok()
}

/// What an approval or a waiver is for.
fn same_thing(statement: &Statement) -> [Option<&Value>; 4] {
    ["what", "subject", "finding", "rule"].map(|key| statement.predicate.get(key))
}

/// It ended when it was made.
fn ended(statement: &mut Statement) -> Result<(), String> {
    let made = statement.context().map(|context| context.at);
    let made = made.ok_or("the statement does not say when it was made")?;
    statement.predicate["expires"] = made.to_string().into();
    Ok(())
}

fn aged(statement: &mut Statement) -> Result<(), String> {
    let made = statement.context().map(|context| context.at);
    let long_ago = made.and_then(|made| made.checked_sub(AGE).ok());
    let long_ago = long_ago.ok_or("the statement does not say when it was made")?;
    for subject in &mut statement.subject {
        if let Some(at) = subject.annotations.get_mut("at") {
            *at = long_ago.to_string().into();
        }
    }
    Ok(())
}

/// Rewrites the statement of an envelope and leaves its signatures as they are.
pub(crate) fn restated(change: fn(&mut Statement) -> Result<(), String>) -> Rewrite {
    Box::new(move |_, old| {
        let (mut envelope, mut statement) = read(old)?;
        change(&mut statement)?;
        envelope.payload = to_canonical(&statement);
        Ok(envelope.to_bytes())
    })
}

/// An envelope and what it says.
pub(crate) fn read(bytes: &[u8]) -> Result<(Envelope, Statement), String> {
    let envelope = Envelope::from_bytes(bytes).map_err(|error| error.to_string())?;
    let statement =
        serde_json::from_slice(&envelope.payload).map_err(|error| format!("it is no statement: {error}"))?;
    Ok((envelope, statement))
}

/// Where the leaves of a journal lie, each without its length and its link.
pub(crate) fn leaves(journal: &[u8]) -> Result<Vec<Range<usize>>, String> {
    let header = header_end(journal).ok_or("it is no journal of a log")?;
    let mut leaves = Vec::new();
    let mut at = header;
    while let Some(length) = journal.get(at..at + 4) {
        let length = length.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let leaf = at + 4..at + 4 + length;
        if leaf.end + LINK_BYTES > journal.len() {
            break;
        }
        at = leaf.end + LINK_BYTES;
        leaves.push(leaf);
    }
    Ok(leaves)
}

/// Behind magic, version and origin.
fn header_end(journal: &[u8]) -> Option<usize> {
    let rest = journal.strip_prefix(MAGIC)?.get(VERSION_BYTES..)?;
    let length = usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?]));
    let end = MAGIC.len() + VERSION_BYTES + 2 + length;
    (end <= journal.len()).then_some(end)
}

/// The files of `folder`, which has one level of folders, sorted. What is kept there of an earlier fault is left out.
fn below(target: &Target, folder: &str) -> Result<Vec<String>, String> {
    let mut paths = Vec::new();
    for outer in names(target, folder)? {
        for inner in names(target, &format!("{folder}/{outer}"))? {
            paths.push(format!("{folder}/{outer}/{inner}"));
        }
    }
    Ok(paths)
}

fn names(target: &Target, folder: &str) -> Result<Vec<String>, String> {
    let opened = reach(target, folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(&opened).map_err(told)?.take(NAMES_MAX) {
        let entry = entry.map_err(told)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
