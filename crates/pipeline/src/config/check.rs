//! Holds a document against the schema: every problem at once, each with its place and the way out.

use std::ops::Range;

use evidence::{Diagnostic, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::schema::{Key, Kind, Table};

/// All problems of `text`; empty when it can be read.
pub fn diagnostics(path: &str, text: &str, schema: &Table) -> Vec<Diagnostic> {
    let mut checker = Checker {
        path,
        text,
        found: Vec::new(),
    };
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        checker.say(span, "config/syntax", error.message().to_owned(), None);
    }
    // The first of a line: the reader goes on where it can, and stumbles over the rest of it.
    let line = |found: &Diagnostic| found.span.as_ref().map(|span| span.line);
    checker.found.dedup_by(|next, kept| line(next) == line(kept));
    if checker.found.is_empty() {
        checker.table(document.get_ref(), document.span(), schema, "", false);
    }
    checker.found
}

/// The line of the first `key = "value"` or `key` whose value holds `needle`, for messages about values found wrong later.
pub fn place_of(path: &str, text: &str, needle: &str) -> Span {
    let offset = text.find(needle).unwrap_or(0);
    place(path, text, offset)
}

struct Checker<'a> {
    path: &'a str,
    text: &'a str,
    found: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn say(&mut self, span: Range<usize>, code: &str, message: String, help: Option<String>) {
        self.found.push(Diagnostic {
            code: code.to_owned(),
            message,
            span: Some(place(self.path, self.text, span.start)),
            help,
        });
    }

    fn table(&mut self, table: &DeTable<'_>, span: Range<usize>, schema: &Table, at: &str, open: bool) {
        for (name, value) in table {
            let text: &str = name.get_ref();
            match schema.keys.iter().find(|key| key.name == text) {
                Some(key) => self.value(value, key, &join(at, text)),
                None if open => {}
                None => {
                    let names = schema.keys.iter().map(|key| key.name);
                    let help = nearest(text, names.clone()).map_or_else(
                        || format!("known here: {}", names.collect::<Vec<_>>().join(", ")),
                        |name| format!("did you mean `{name}`?"),
                    );
                    let message = format!("unknown key `{}`", join(at, text));
                    self.say(name.span(), "config/unknown-key", message, Some(help));
                }
            }
        }
        for key in schema.keys.iter().filter(|key| key.required) {
            if !table.iter().any(|(name, _)| name.get_ref().as_ref() == key.name) {
                let message = format!("`{}` is missing", join(at, key.name));
                self.say(span.clone(), "config/missing-key", message, Some(key.doc.to_owned()));
            }
        }
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>, key: &Key, at: &str) {
        let span = value.span();
        match (&key.kind, value.get_ref()) {
            (Kind::Text, DeValue::String(_)) | (Kind::Boolean, DeValue::Boolean(_)) => {}
            (Kind::Integer(low, high), DeValue::Integer(number)) => {
                self.bounds(span, at, number.as_str(), *low as f64, *high as f64);
            }
            (Kind::Number(low, high), DeValue::Integer(number)) => self.bounds(span, at, number.as_str(), *low, *high),
            (Kind::Number(low, high), DeValue::Float(number)) => self.bounds(span, at, number.as_str(), *low, *high),
            (Kind::TextList, DeValue::Array(items)) => {
                for item in items.iter().filter(|item| !item.get_ref().is_str()) {
                    self.kind(item.span(), at, "a list of texts", item.get_ref());
                }
            }
            (Kind::IntegerList(low, high), DeValue::Array(items)) => {
                for item in items.iter() {
                    match item.get_ref() {
                        DeValue::Integer(number) => {
                            self.bounds(item.span(), at, number.as_str(), *low as f64, *high as f64);
                        }
                        other => self.kind(item.span(), at, "a list of whole numbers", other),
                    }
                }
            }
            (Kind::Integers(low, high), DeValue::Table(table)) => {
                for (name, value) in table {
                    let at = join(at, name.get_ref());
                    match value.get_ref() {
                        DeValue::Integer(number) => {
                            self.bounds(value.span(), &at, number.as_str(), *low as f64, *high as f64);
                        }
                        other => self.kind(value.span(), &at, "a whole number", other),
                    }
                }
            }
            (Kind::Table(schema), DeValue::Table(table)) => self.table(table, span, schema, at, false),
            (Kind::Named(schema), DeValue::Table(table)) => {
                for (name, value) in table {
                    let at = join(at, name.get_ref());
                    match value.get_ref() {
                        DeValue::Table(inner) => self.table(inner, value.span(), schema, &at, false),
                        other => self.kind(value.span(), &at, "a table", other),
                    }
                }
            }
            (Kind::Tables(schema), DeValue::Array(items)) => self.tables(items, schema, at, false),
            (Kind::Controls(schema), DeValue::Array(items)) => self.tables(items, schema, at, true),
            (kind, other) => self.kind(span, at, describe(kind), other),
        }
    }

    fn tables(&mut self, items: &toml::de::DeArray<'_>, schema: &Table, at: &str, open: bool) {
        for item in items.iter() {
            match item.get_ref() {
                DeValue::Table(table) => self.table(table, item.span(), schema, at, open),
                other => self.kind(item.span(), at, "a table", other),
            }
        }
    }

    fn bounds(&mut self, span: Range<usize>, at: &str, number: &str, low: f64, high: f64) {
        let inside = number
            .replace('_', "")
            .parse::<f64>()
            .is_ok_and(|value| value >= low && value <= high);
        if !inside {
            let help = format!("give a number from {low} to {high}");
            self.say(
                span,
                "config/out-of-bounds",
                format!("`{at}` is `{number}`"),
                Some(help),
            );
        }
    }

    fn kind(&mut self, span: Range<usize>, at: &str, expected: &str, got: &DeValue<'_>) {
        let message = format!("`{at}` is {}, {expected} is expected", article(got.type_str()));
        self.say(span, "config/wrong-type", message, None);
    }
}

fn describe(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text => "a text",
        Kind::Integer(..) => "a whole number",
        Kind::Number(..) => "a number",
        Kind::Boolean => "true or false",
        Kind::TextList => "a list of texts",
        Kind::IntegerList(..) => "a list of whole numbers",
        Kind::Table(_) | Kind::Named(_) | Kind::Integers(..) => "a table",
        Kind::Tables(_) | Kind::Controls(_) => "a list of tables (`[[…]]`)",
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}

fn join(at: &str, name: &str) -> String {
    if at.is_empty() {
        name.to_owned()
    } else {
        format!("{at}.{name}")
    }
}

fn place(path: &str, text: &str, offset: usize) -> Span {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    Span {
        path: path.to_owned(),
        line: line as u32,
        column: column as u32,
        commit: None,
    }
}

/// The name of `names` within two edits of `text`, if any: for "did you mean".
pub fn nearest<'n>(text: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|name| (distance(text, name), name))
        .filter(|(distance, name)| *distance <= 2.min(name.len().saturating_sub(1)))
        .min()
        .map(|(_, name)| name)
}

/// Edit distance (insertions, deletions, substitutions and exchanges of neighbours).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}
