//! What hides a finding in `check`, hook and editor: an inline allow, a baseline line, an imported ignore file.
//!
//! A gate sees the finding all the same, so whoever writes these lines can only quieten a screen.

use std::collections::BTreeMap;
use std::ops::Range;

use evidence::Gap;

use crate::matcher::line_around;
use crate::walk::{Tree, gap, read};

/// The baseline: one finding id a line, then a reason; `#` begins a comment.
pub const BASELINE_PATH: &str = ".proofmark-baseline";
const GITLEAKS_PATH: &str = ".gitleaksignore";
const INLINE: &[u8] = b"proofmark:allow";
const GITLEAKS_INLINE: &[u8] = b"gitleaks:allow";
/// How far from a value its line, or the line above, is looked at.
const LINE_BYTES_MAX: usize = 1024;

/// Why a finding is hidden, or why it is not although someone meant it to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allow {
    Inline,
    Gitleaks,
    WithoutReason,
}

/// The lines that the tree's baseline and ignore files hold.
#[derive(Debug, Default)]
pub struct Lists {
    /// Finding id to reason.
    baseline: BTreeMap<String, String>,
    /// Path and line, from lines of `.gitleaksignore`; the rule's name there is not ours and left out.
    gitleaks: Vec<(String, u32)>,
    pub gaps: Vec<Gap>,
}

impl Lists {
    pub fn of(tree: &Tree) -> Lists {
        let mut lists = Lists::default();
        for (number, line) in lines(tree, BASELINE_PATH) {
            match line
                .split_once(char::is_whitespace)
                .map(|(id, reason)| (id, reason.trim()))
            {
                Some((id, reason)) if !reason.is_empty() => {
                    lists.baseline.insert(id.to_owned(), reason.to_owned());
                }
                _ => lists.gaps.push(without_reason(&format!("{BASELINE_PATH}:{number}"))),
            }
        }
        for (_, line) in lines(tree, GITLEAKS_PATH) {
            // `commit:path:rule:line` or `path:rule:line`.
            let mut parts: Vec<&str> = line.split(':').collect();
            let number = parts.pop().and_then(|number| number.parse().ok());
            parts.pop();
            if parts.len() > 1 && parts[0].len() == 40 && parts[0].bytes().all(|byte| byte.is_ascii_hexdigit()) {
                parts.remove(0);
            }
            if let (Some(number), false) = (number, parts.is_empty()) {
                lists.gitleaks.push((parts.join(":").replace('\\', "/"), number));
            }
        }
        lists
    }

    pub fn reason(&self, id: &str) -> Option<&str> {
        self.baseline.get(id).map(String::as_str)
    }

    pub fn gitleaks(&self, path: &str, line: u32) -> bool {
        self.gitleaks
            .iter()
            .any(|(known, number)| known == path && *number == line)
    }
}

/// A marker on the line of `value`, or on the line above it.
pub fn inline(bytes: &[u8], value: &Range<usize>, rule: &str) -> Option<Allow> {
    let own = line_around(bytes, value, LINE_BYTES_MAX);
    let above = match own.start.checked_sub(1) {
        Some(end) => line_around(bytes, &(end..end), LINE_BYTES_MAX),
        None => 0..0,
    };
    let before_and_after = [
        &bytes[above],
        &bytes[own.start..value.start],
        &bytes[value.end..own.end],
    ];
    let marks = before_and_after.iter().filter_map(|text| marker(text, rule));
    marks.min()
}

fn marker(text: &[u8], rule: &str) -> Option<Allow> {
    if find(text, GITLEAKS_INLINE).is_some() {
        return Some(Allow::Gitleaks);
    }
    let rest = String::from_utf8_lossy(&text[find(text, INLINE)? + INLINE.len()..]).into_owned();
    let (id, reason) = rest
        .trim_start()
        .split_once(char::is_whitespace)
        .unwrap_or((rest.trim(), ""));
    if id != rule {
        return None;
    }
    // What closes a comment is no reason, nor is what stands after it.
    let end = ["*/", "-->"]
        .iter()
        .filter_map(|close| reason.find(close))
        .min()
        .unwrap_or(reason.len());
    let reason = reason[..end].trim();
    Some(if reason.is_empty() {
        Allow::WithoutReason
    } else {
        Allow::Inline
    })
}

pub fn without_reason(place: &str) -> Gap {
    gap(
        "source/suppression-without-reason",
        place,
        "a suppression needs a reason after it, and hides nothing until it has one",
        false,
    )
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}

fn lines(tree: &Tree, path: &str) -> Vec<(usize, String)> {
    let bytes = read(tree, path).ok().flatten().unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line.trim().to_owned()))
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_read() {
        for (text, expect) in [
            (
                "k = VALUE # proofmark:allow secret/x a sample of the docs",
                Some(Allow::Inline),
            ),
            (
                "# proofmark:allow secret/x a sample of the docs\nk = VALUE",
                Some(Allow::Inline),
            ),
            ("/* proofmark:allow secret/x */ k = VALUE", Some(Allow::WithoutReason)),
            ("k = VALUE # proofmark:allow secret/x", Some(Allow::WithoutReason)),
            ("k = VALUE # proofmark:allow secret/other reason", None),
            ("k = VALUE # gitleaks:allow", Some(Allow::Gitleaks)),
            ("# proofmark:allow secret/x reason\n\nk = VALUE", None),
            ("k = VALUE\n# proofmark:allow secret/x reason", None),
        ] {
            let start = text.find("VALUE").unwrap();
            assert_eq!(
                inline(text.as_bytes(), &(start..start + 5), "secret/x"),
                expect,
                "{text}"
            );
        }
    }
}
