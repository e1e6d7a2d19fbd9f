//! What the world knows: an advisory database in OSV form, and which components it speaks about.
//!
//! Pure over bytes: it fetches nothing and knows no clock (how old a database may be is decided by who has both).
//! It does not read lock files (`packages` does) and clears nothing: a match is a finding until signed data says otherwise.
//!
//! Whoever owns the database can hide a vulnerability by leaving its record out, or invent one. Therefore callers pin
//! [`Database::digest`]; what is malformed makes the database incomplete, and incomplete is never clean.
//!
//! Start reading at [`load`], then [`matches`], then `range.rs`.

mod cvss;
mod database;
mod matching;
mod pages;
mod range;
mod record;
pub mod version;

pub use cvss::{base_score_v3, severity_of_score, severity_of_vector};
pub use database::{Database, IntelError, digest_of, load};
pub use matching::matches;
pub use pages::{ids, page};

/// Bytes one advisory record may have; a larger one is malformed.
pub const RECORD_BYTES_MAX: usize = 8 << 20;
