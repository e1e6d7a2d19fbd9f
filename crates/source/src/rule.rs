//! What a rule is. The rules themselves are one file each under `rules/`; `matcher.rs` runs them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::OnceLock;

use evidence::{Digest, Severity};

/// One kind of secret: how it looks, and how to tell a real one from a look-alike.
///
/// Whoever may change a rule can blind the scan to one kind of secret; [`rules_digest`] makes that visible.
#[derive(Debug)]
pub struct Rule {
    /// `secret/name`, the heading of its page.
    pub id: &'static str,
    /// What was found, to stand after `a` or `an` in a message.
    pub what: &'static str,
    pub severity: Severity,
    /// What to do, cheapest way first.
    pub fix: &'static str,
    /// At least one stands in every match, in any case; nothing is looked at where none does.
    /// Empty only with [`Find::File`].
    pub keywords: &'static [&'static str],
    pub find: Find,
    /// Says how sure a match is, or `None` when it only looks like one.
    pub check: fn(&Candidate<'_>) -> Option<Validation>,
}

/// How a rule finds its candidates. The group named `value`, else the whole match, is the secret.
#[derive(Debug)]
pub enum Find {
    /// A pattern that begins with the keyword, where no word goes on before it.
    Token(&'static str),
    /// A pattern anywhere from `before` bytes before the keyword to `after` bytes after it.
    Near {
        pattern: &'static str,
        before: usize,
        after: usize,
    },
    /// A pattern anywhere in files of these names (a leading `*` stands for anything).
    File {
        names: &'static [&'static str],
        pattern: &'static str,
    },
    /// Code that is given the text and where the keyword stands, and returns where the value stands.
    Code(fn(&Text<'_>, Range<usize>) -> Option<Range<usize>>),
}

/// How sure we are that a candidate is what it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Validation {
    /// It is random enough, in a place where secrets stand.
    Entropy,
    /// It has a form that hardly anything else has.
    Format,
    /// Its own checksum or structure proves it.
    Checksum,
}

impl Validation {
    pub fn name(self) -> &'static str {
        match self {
            Validation::Entropy => "entropy",
            Validation::Format => "format",
            Validation::Checksum => "checksum",
        }
    }
}

/// The text being looked at.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    pub bytes: &'a [u8],
    /// Path as in [`crate::TreeFile`].
    pub path: &'a str,
}

/// Something that looks like a secret. It has no `Debug`: the value must not be printed.
pub struct Candidate<'a> {
    pub text: Text<'a>,
    /// Where the value stands in `text`.
    pub value: Range<usize>,
}

impl Candidate<'_> {
    pub fn value(&self) -> &[u8] {
        &self.text.bytes[self.value.clone()]
    }
}

/// Every rule, in order of id.
pub fn rules() -> &'static [Rule] {
    crate::rules::ALL
}

/// The page of a rule: its Markdown, as written at the head of its file.
pub fn page(id: &str) -> Option<&'static str> {
    static PAGES: OnceLock<BTreeMap<&'static str, String>> = OnceLock::new();
    let pages = PAGES.get_or_init(|| {
        crate::rules::PAGES
            .iter()
            .map(|(id, source)| (*id, page_of(source)))
            .collect()
    });
    pages.get(id).map(String::as_str)
}

/// Changes whenever a rule, or the code that decides with it, changes: two scans are comparable only under one.
pub fn rules_digest() -> Digest {
    let mut hasher = Digest::hasher();
    for (name, source) in crate::rules::PAGES.iter().chain(ENGINE) {
        hasher.update(format!("{name}\0{}\0", source.len()).as_bytes());
        hasher.update(source.as_bytes());
    }
    hasher.finish()
}

const ENGINE: &[(&str, &str)] = &[
    ("checks", include_str!("checks.rs")),
    ("decode", include_str!("decode.rs")),
    ("generic", include_str!("generic.rs")),
    ("matcher", include_str!("matcher.rs")),
];

fn page_of(source: &str) -> String {
    source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect()
}
