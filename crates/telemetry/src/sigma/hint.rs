//! What has to occur in a value for one of rsigma's matchers to say yes: cheap to look for, and mostly absent.
//!
//! A hint is looked for in the value's lower case; where that may mislead, [`super::search`] takes it to hold.
//! Start reading at [`of`].

use regex_syntax::hir::{Class, Hir, HirKind};
use rsigma_eval::CompiledMatcher;
use rsigma_eval::matcher::GroupMode;

use super::search::LONG_S;

/// Texts shorter than this stand in almost every value.
const TEXT_BYTES_MIN: usize = 2;

/// A `k` to expressions, and its lower case is one.
const KELVIN: char = '\u{212a}';

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// One of these, in lower case, occurs.
    Texts(Vec<String>),
    All(Vec<Hint>),
    Any(Vec<Hint>),
}

/// `None`: no telling.
pub fn of(matcher: &CompiledMatcher) -> Option<Hint> {
    match matcher {
        CompiledMatcher::Exact { value, .. }
        | CompiledMatcher::Contains { value, .. }
        | CompiledMatcher::StartsWith { value, .. }
        | CompiledMatcher::EndsWith { value, .. } => text(value),
        CompiledMatcher::AhoCorasickSet { needles, .. } => any(needles.iter().map(|needle| text(needle))),
        CompiledMatcher::Regex(regex) => of_expression(regex.as_str()),
        CompiledMatcher::RegexSetMatch {
            set,
            mode: GroupMode::Any,
        } => any(set.patterns().iter().map(|pattern| of_expression(pattern))),
        CompiledMatcher::AnyOf(parts)
        | CompiledMatcher::CaseInsensitiveGroup {
            children: parts,
            mode: GroupMode::Any,
        } => any(parts.iter().map(of)),
        CompiledMatcher::AllOf(parts) => all(parts.iter().filter_map(of).collect()),
        _ => None,
    }
}

fn text(text: &str) -> Option<Hint> {
    (text.len() >= TEXT_BYTES_MIN && text.is_ascii()).then(|| Hint::Texts(vec![text.to_ascii_lowercase()]))
}

/// Each has to give a hint.
fn any(hints: impl Iterator<Item = Option<Hint>>) -> Option<Hint> {
    let (mut texts, mut others) = (Vec::new(), Vec::new());
    for hint in hints {
        match hint? {
            Hint::Texts(own) => texts.extend(own),
            other => others.push(other),
        }
    }
    if !texts.is_empty() {
        others.push(Hint::Texts(texts));
    }
    match others.len() {
        0 => None,
        1 => others.pop(),
        _ => Some(Hint::Any(others)),
    }
}

fn all(mut hints: Vec<Hint>) -> Option<Hint> {
    match hints.len() {
        0 => None,
        1 => hints.pop(),
        _ => Some(Hint::All(hints)),
    }
}

fn of_expression(pattern: &str) -> Option<Hint> {
    necessary(&regex_syntax::parse(pattern).ok()?)
}

/// What stands in whatever the expression matches.
fn necessary(hir: &Hir) -> Option<Hint> {
    match hir.kind() {
        HirKind::Capture(capture) => necessary(&capture.sub),
        HirKind::Repetition(repetition) if repetition.min > 0 => necessary(&repetition.sub),
        HirKind::Alternation(parts) => any(parts.iter().map(necessary)),
        HirKind::Concat(parts) => {
            let mut found = Vec::new();
            let mut run = String::new();
            for part in parts {
                match folded(part) {
                    Some(own) => run.push_str(&own),
                    None => {
                        found.extend(text(&std::mem::take(&mut run)));
                        found.extend(necessary(part));
                    }
                }
            }
            found.extend(text(&run));
            all(found)
        }
        _ => text(&folded(hir)?),
    }
}

/// The lower case of all that the expression matches, where it is one text.
fn folded(hir: &Hir) -> Option<String> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(String::new()),
        HirKind::Literal(literal) => {
            let text = std::str::from_utf8(&literal.0).ok()?;
            text.is_ascii().then(|| text.to_ascii_lowercase())
        }
        HirKind::Capture(capture) => folded(&capture.sub),
        HirKind::Concat(parts) => parts.iter().map(folded).collect(),
        HirKind::Class(Class::Unicode(class)) => {
            let single = class.iter().all(|range| range.start() == range.end());
            let mut letters = class.iter().map(|range| match range.start() {
                LONG_S => 's',
                KELVIN => 'k',
                letter => letter.to_ascii_lowercase(),
            });
            let first = letters.next()?;
            (single && first.is_ascii() && letters.all(|letter| letter == first)).then(|| first.to_string())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, expected: Option<Hint>) {
        assert_eq!(of_expression(pattern), expected, "{pattern}");
    }

    fn texts(texts: &[&str]) -> Hint {
        Hint::Texts(texts.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn what_an_expression_needs() {
        check(
            "(?i)^.*Foo.*barbaz.*$",
            Some(Hint::All(vec![texts(&["foo"]), texts(&["barbaz"])])),
        );
        check("(?i)kiss", Some(texts(&["kiss"])));
        check("a(?:bcd|def)+f?", Some(texts(&["bcd", "def"])));
        check(
            r"\\AppData\\[a-z]{3}\.exe",
            Some(Hint::All(vec![texts(&["\\appdata\\"]), texts(&[".exe"])])),
        );
        check("(?:foo)?|bar", None);
        check("[ab]x*", None);
        check("x{0,3}", None);
        check("[0-9]+", None);
        check("[sé]cho", Some(texts(&["cho"])));
        check("é", None);
    }
}
