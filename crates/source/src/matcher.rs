//! Runs every rule over a text in one pass: a multi-string search for all keywords, then a look at each hit.
//!
//! The cost is the search plus one bounded look a hit, whatever the number of rules. Not here: files, git,
//! findings. Start at [`Matcher::find`].

use std::ops::Range;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use regex::bytes::{Regex, RegexBuilder};

use crate::checks;
use crate::rule::{Candidate, Find, Rule, Text, Validation, rules};

/// The longest token a [`Find::Token`] pattern may match; a private key of 16,384 bits fits.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// A file with more matches of one rule than this has its further ones left out, and says so.
pub const MATCHES_MAX: usize = 10_000;

/// A secret in a text.
#[derive(Clone)]
pub struct Match {
    /// Index into [`rules`].
    pub rule: usize,
    pub value: Range<usize>,
    pub validation: Validation,
}

/// All rules, compiled.
pub struct Matcher {
    keywords: AhoCorasick,
    /// For each keyword, the rules that want it.
    wanted: Vec<Vec<usize>>,
    /// For each rule, its pattern.
    patterns: Vec<Option<Regex>>,
    by_file: Vec<usize>,
}

impl Matcher {
    /// The one compiled set, made at first use.
    pub fn get() -> &'static Matcher {
        static MATCHER: OnceLock<Matcher> = OnceLock::new();
        MATCHER.get_or_init(|| Matcher::new(rules()))
    }

    fn new(rules: &[Rule]) -> Matcher {
        let mut keywords: Vec<String> = Vec::new();
        let mut wanted: Vec<Vec<usize>> = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            for keyword in rule.keywords.iter().flat_map(|keyword| spellings(rule, keyword)) {
                match keywords.iter().position(|known| *known == keyword) {
                    Some(at) if wanted[at].contains(&index) => {}
                    Some(at) => wanted[at].push(index),
                    None => {
                        keywords.push(keyword);
                        wanted.push(vec![index]);
                    }
                }
            }
        }
        let by_file = (0..rules.len())
            .filter(|index| matches!(rules[*index].find, Find::File { .. }))
            .collect();
        Matcher {
            keywords: AhoCorasick::builder()
                .match_kind(MatchKind::Standard)
                .kind(Some(AhoCorasickKind::DFA))
                .build(&keywords)
                .expect("the rules' keywords make an automaton"),
            wanted,
            patterns: rules.iter().map(compile).collect(),
            by_file,
        }
    }

    /// The secrets in a text, in order of place, without overlaps: of two rules that claim the same bytes the surer
    /// one wins, then the longer match, then the first in order of id.
    pub fn find(&self, text: &Text<'_>) -> Vec<Match> {
        let mut found = Vec::new();
        // Where each rule's last look ended: hits close together are looked at once.
        let mut looked = vec![0; rules().len()];
        for hit in self.keywords.find_overlapping_iter(text.bytes) {
            for index in &self.wanted[hit.pattern().as_usize()] {
                self.look(*index, text, hit.range(), &mut looked[*index], &mut found);
            }
        }
        for index in &self.by_file {
            let Find::File { names, .. } = rules()[*index].find else {
                continue;
            };
            if names.iter().any(|name| named(text.path, name)) {
                self.look_between(*index, text, 0..text.bytes.len(), &mut found);
            }
        }
        disjoint(found)
    }

    fn look(&self, index: usize, text: &Text<'_>, hit: Range<usize>, looked: &mut usize, found: &mut Vec<Match>) {
        match &rules()[index].find {
            Find::Token(_) => {
                if hit.start >= *looked && token_may_start(text.bytes, hit.start) {
                    let window = &text.bytes[hit.start..text.bytes.len().min(hit.start + TOKEN_BYTES_MAX)];
                    let pattern = self.patterns[index].as_ref().expect("a token rule has a pattern");
                    if let Some(range) = value_range(pattern, window) {
                        *looked = hit.start + range.end;
                        keep(index, text, hit.start + range.start..hit.start + range.end, found);
                    }
                }
            }
            Find::Near { before, after, .. } => {
                let start = hit.start.saturating_sub(*before).max(*looked);
                let end = text.bytes.len().min(hit.end + after);
                if start < end {
                    *looked = self.look_between(index, text, start..end, found).max(*looked);
                }
            }
            Find::Code(code) => {
                if let Some(value) = code(text, hit) {
                    keep(index, text, value, found);
                }
            }
            Find::File { .. } => {}
        }
    }

    /// Returns where the last match ended.
    fn look_between(&self, index: usize, text: &Text<'_>, window: Range<usize>, found: &mut Vec<Match>) -> usize {
        let pattern = self.patterns[index].as_ref().expect("this rule has a pattern");
        let haystack = &text.bytes[..window.end];
        let (mut at, mut last) = (window.start, 0);
        while at < haystack.len() {
            let Some(whole) = pattern.find_at(haystack, at) else {
                break;
            };
            if let Some(captures) = pattern.captures_at(haystack, whole.start()) {
                let group = captures.name("value").or_else(|| captures.get(0));
                keep(index, text, group.map_or(whole.range(), |group| group.range()), found);
            }
            last = whole.end();
            at = last.max(whole.start() + 1);
        }
        last
    }
}

/// A token is spelled one way; a name in small letters is also written in capitals, or with a capital.
fn spellings(rule: &Rule, keyword: &str) -> Vec<String> {
    let names = !matches!(rule.find, Find::Token(_)) && !keyword.bytes().any(|byte| byte.is_ascii_uppercase());
    if !names {
        return vec![keyword.to_owned()];
    }
    let capital = keyword.find(|c: char| c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
    let title = keyword[..capital].to_ascii_uppercase() + &keyword[capital..];
    vec![keyword.to_owned(), keyword.to_ascii_uppercase(), title]
}

fn compile(rule: &Rule) -> Option<Regex> {
    let pattern = match &rule.find {
        Find::Token(pattern) => format!("^(?:{pattern})"),
        Find::Near { pattern, .. } | Find::File { pattern, .. } => (*pattern).to_owned(),
        Find::Code(_) => return None,
    };
    let regex = RegexBuilder::new(&pattern).unicode(false).size_limit(16 << 20).build();
    Some(regex.unwrap_or_else(|error| panic!("{}: {error}", rule.id)))
}

fn value_range(pattern: &Regex, window: &[u8]) -> Option<Range<usize>> {
    pattern.find(window)?;
    let captures = pattern.captures(window)?;
    captures
        .name("value")
        .or_else(|| captures.get(0))
        .map(|group| group.range())
}

fn keep(index: usize, text: &Text<'_>, value: Range<usize>, found: &mut Vec<Match>) {
    let rule = &rules()[index];
    let candidate = Candidate { text: *text, value };
    if let Some(validation) = (rule.check)(&candidate) {
        found.push(Match {
            rule: index,
            value: candidate.value,
            validation,
        });
    }
}

/// Whether a token may start at `at`: no word goes on before it, unless that is an escape such as `\n` or `%3D`.
fn token_may_start(bytes: &[u8], at: usize) -> bool {
    let before = &bytes[at.saturating_sub(3)..at];
    match before {
        [] => true,
        [.., b'\\', b'n' | b'r' | b't' | b'u'] => true,
        [b'%', a, b] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => true,
        [.., last] => !(last.is_ascii_alphanumeric() || *last == b'_'),
    }
}

fn named(path: &str, name: &str) -> bool {
    let file = path.rsplit('/').next().unwrap_or(path);
    match name.strip_prefix('*') {
        Some(ending) => file.ends_with(ending),
        None => file == name || (name.contains('/') && path.ends_with(name)),
    }
}

fn disjoint(mut found: Vec<Match>) -> Vec<Match> {
    if found.len() > 1 {
        found.sort_by_key(|a| {
            (
                std::cmp::Reverse(a.validation),
                std::cmp::Reverse(a.value.len()),
                a.rule,
                a.value.start,
            )
        });
        let mut taken: std::collections::BTreeMap<usize, usize> = std::collections::BTreeMap::new();
        found.retain(|a| {
            let before = taken.range(..a.value.end).next_back();
            let free = before.is_none_or(|(_, end)| *end <= a.value.start);
            if free {
                taken.insert(a.value.start, a.value.end);
            }
            free
        });
        found.sort_by_key(|a| (a.value.start, a.rule));
    }
    found
}

/// Line and column (bytes, from 1) of places in ascending order, in one pass.
pub struct Lines<'a> {
    bytes: &'a [u8],
    at: usize,
    line: u32,
    line_start: usize,
}

impl<'a> Lines<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Lines {
            bytes,
            at: 0,
            line: 1,
            line_start: 0,
        }
    }

    pub fn place(&mut self, offset: usize) -> (u32, u32) {
        for (index, byte) in self.bytes[self.at..offset].iter().enumerate() {
            if *byte == b'\n' {
                self.line = self.line.saturating_add(1);
                self.line_start = self.at + index + 1;
            }
        }
        self.at = offset;
        (
            self.line,
            u32::try_from(offset - self.line_start + 1).unwrap_or(u32::MAX),
        )
    }
}

/// The line around a place, at most `bytes_max` to each side.
pub fn line_around(bytes: &[u8], range: &Range<usize>, bytes_max: usize) -> Range<usize> {
    let low = range.start.saturating_sub(bytes_max);
    let high = bytes.len().min(range.end + bytes_max);
    let start = bytes[low..range.start]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(low, |at| low + at + 1);
    let end = bytes[range.end..high]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(high, |at| range.end + at);
    start..end
}

/// Whether a text's file is a lock file or something made by a machine, where random text is no secret.
pub fn machine_made(text: &Text<'_>) -> bool {
    const NAMES: &[&str] = &[
        "package-lock.json",
        "npm-shrinkwrap.json",
        "yarn.lock",
        "pnpm-lock.yaml",
        "bun.lock",
        "Cargo.lock",
        "go.sum",
        "go.work.sum",
        "poetry.lock",
        "Pipfile.lock",
        "pdm.lock",
        "uv.lock",
        "composer.lock",
        "Gemfile.lock",
        "packages.lock.json",
        "flake.lock",
        "mix.lock",
        "pubspec.lock",
        "Podfile.lock",
        "gradle.lockfile",
        "MODULE.bazel.lock",
        "deno.lock",
        "*.min.js",
        "*.min.css",
        "*.map",
        "*.svg",
        "*.sum",
        "*.ipynb",
        "*.pdf",
    ];
    NAMES.iter().any(|name| named(text.path, name))
}

/// The value of a candidate, when nothing in it says that it is none. For formats that hardly anything else has.
pub fn by_format(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    (!checks::plain_placeholder(value) && checks::entropy(value) > 2.5).then_some(Validation::Format)
}

/// As [`by_format`], for formats so plain that the value must look random as well.
pub fn by_entropy(candidate: &Candidate<'_>) -> Option<Validation> {
    let value = candidate.value();
    let real = checks::random(value) && !checks::placeholder(value) && !checks::wordlike_only(value);
    (real && !machine_made(&candidate.text)).then_some(Validation::Entropy)
}

/// Helpers for the rules' own rows.
#[cfg(test)]
pub mod testing {
    use super::*;

    pub const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    pub const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    pub const BASE64: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    pub const DIGITS: &str = "0123456789";
    pub const HEX: &str = "0123456789abcdef";
    pub const UPPER: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    pub const WORD: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

    /// The same random-looking text at every run, so that no token stands in our own source.
    pub fn noise(alphabet: &str, length: usize) -> String {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64 ^ (length as u64) << 32 ^ alphabet.len() as u64;
        let mut text = String::with_capacity(length);
        while text.len() < length {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let letter = alphabet.as_bytes()[(state >> 33) as usize % alphabet.len()] as char;
            // Tokens don't end or begin with a sign that a word boundary would cut off.
            if letter.is_ascii_alphanumeric() || (!text.is_empty() && text.len() + 1 < length) {
                text.push(letter);
            }
        }
        text
    }

    pub fn uuid() -> String {
        format!(
            "{}-{}-4{}-9{}-{}",
            noise(HEX, 8),
            noise(HEX, 4),
            noise(HEX, 3),
            noise(HEX, 3),
            noise(HEX, 12)
        )
    }

    /// Checks that `text` holds exactly the value that `rule` finds there, or that the rule finds nothing.
    #[track_caller]
    pub fn check(rule: &str, path: &str, text: &str, expect: Option<&str>) {
        let matches = Matcher::get().find(&Text {
            bytes: text.as_bytes(),
            path,
        });
        let found: Vec<&str> = matches
            .iter()
            .filter(|one| rules()[one.rule].id == rule)
            .map(|one| &text[one.value.clone()])
            .collect();
        let others: Vec<&str> = matches.iter().map(|one| rules()[one.rule].id).collect();
        assert_eq!(found, Vec::from_iter(expect), "in `{text}`, where {others:?} match");
    }
}
