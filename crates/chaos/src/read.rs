//! Walking a TOML document by hand, so that every error has a line and a column, and all are told at once.

use std::cell::RefCell;
use std::ops::{Range, RangeInclusive};

use evidence::{Diagnostic, Span};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What is no TOML.
const SYNTAX: &str = "chaos/syntax";

/// A document being read, and what was wrong with it so far.
pub(crate) struct Document<'t> {
    path: &'t str,
    text: &'t str,
    diagnostics: RefCell<Vec<Diagnostic>>,
}

/// A table of the document. Getters of required keys return `None` once the problem is noted.
pub(crate) struct Section<'d> {
    document: &'d Document<'d>,
    /// As the user writes it: `[steady]`, `[[fault]]`; empty for the top.
    name: String,
    table: &'d DeTable<'d>,
    span: Range<usize>,
}

impl<'t> Document<'t> {
    pub(crate) fn new(path: &'t str, text: &'t str) -> Self {
        Document {
            path,
            text,
            diagnostics: RefCell::new(Vec::new()),
        }
    }

    /// The document's top table. Syntax errors are noted, and what could be read all the same is returned.
    pub(crate) fn parse(&self) -> Spanned<DeTable<'t>> {
        let (table, errors) = DeTable::parse_recoverable(self.text);
        for error in errors {
            self.note(SYNTAX, error.message().to_owned(), error.span().unwrap_or(0..0), None);
        }
        table
    }

    pub(crate) fn top<'d>(&'d self, table: &'d Spanned<DeTable<'d>>) -> Section<'d> {
        Section {
            document: self,
            name: String::new(),
            table: table.get_ref(),
            span: 0..0,
        }
    }

    pub(crate) fn note(&self, code: &str, message: String, at: Range<usize>, help: Option<String>) {
        let (line, column) = position(self.text, at.start);
        let span = Some(Span {
            path: self.path.to_owned(),
            line,
            column,
            commit: None,
        });
        self.diagnostics.borrow_mut().push(Diagnostic {
            code: code.to_owned(),
            message,
            span,
            help,
        });
    }

    pub(crate) fn has_problems(&self) -> bool {
        !self.diagnostics.borrow().is_empty()
    }

    /// Everything that was wrong, in order of place. What is no TOML is told alone: what else seems wrong with the rest
    /// may only follow from it.
    pub(crate) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut diagnostics = self.diagnostics.into_inner();
        if diagnostics.iter().any(|diagnostic| diagnostic.code == SYNTAX) {
            diagnostics.retain(|diagnostic| diagnostic.code == SYNTAX);
        }
        diagnostics.sort_by(|a, b| (&a.span, &a.message).cmp(&(&b.span, &b.message)));
        // Of what is no TOML the first of a line: the reader goes on where it can, and stumbles over the rest of it.
        let line = |diagnostic: &Diagnostic| diagnostic.span.as_ref().map(|span| span.line);
        diagnostics.dedup_by(|next, kept| next.code == SYNTAX && line(next) == line(kept));
        diagnostics
    }
}

impl<'d> Section<'d> {
    /// Notes every key that is not among `known`, with the nearest one that is.
    pub(crate) fn only(&self, known: &[&str]) {
        for key in self.table.keys() {
            if !known.contains(&key.get_ref().as_ref()) {
                let place = if self.name.is_empty() {
                    String::new()
                } else {
                    format!(" in {}", self.name)
                };
                let help = nearest(key.get_ref(), known).map_or_else(
                    || format!("known here: {}", quoted(known)),
                    |near| format!("did you mean `{near}`?"),
                );
                let message = format!("unknown key `{}`{place}", key.get_ref());
                self.document.note("chaos/unknown-key", message, key.span(), Some(help));
            }
        }
    }

    /// Notes a problem with a key's value, or with the section where the key is absent.
    pub(crate) fn problem(&self, key: &str, code: &str, message: String, help: &str) {
        let span = self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span);
        self.document.note(code, message, span, Some(help.to_owned()));
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        self.required(key, "a string")?;
        self.optional_text(key)
    }

    pub(crate) fn optional_text(&self, key: &str) -> Option<String> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            other => self.mistyped(key, other, "a string"),
        }
    }

    /// A list of strings that is not empty.
    pub(crate) fn optional_texts(&self, key: &str) -> Option<Vec<String>> {
        let value = self.table.get(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            return self.mistyped(key, value.get_ref(), "a list of strings");
        };
        let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
            DeValue::String(text) => Some(text.clone().into_owned()),
            other => self.mistyped(key, other, "a list of strings"),
        };
        let texts: Vec<String> = items.iter().map(text).collect::<Option<_>>()?;
        if texts.is_empty() {
            return self.mistyped(key, value.get_ref(), "a list of strings that is not empty");
        }
        Some(texts)
    }

    pub(crate) fn optional_flag(&self, key: &str) -> Option<bool> {
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Boolean(flag) => Some(*flag),
            other => self.mistyped(key, other, "true or false"),
        }
    }

    /// One of a few words.
    pub(crate) fn optional_choice<T: Copy>(&self, key: &str, all: &[T], name: fn(T) -> &'static str) -> Option<T> {
        let text = self.optional_text(key)?;
        let chosen = all.iter().copied().find(|choice| name(*choice) == text);
        if chosen.is_none() {
            let known: Vec<&str> = all.iter().map(|choice| name(*choice)).collect();
            let help = nearest(&text, &known).map_or_else(
                || format!("known: {}", quoted(&known)),
                |near| format!("did you mean `{near}`?"),
            );
            self.problem(key, "chaos/unknown-word", format!("`{key}` is `{text}`"), &help);
        }
        chosen
    }

    /// Some of a few words.
    pub(crate) fn optional_choices<T: Copy>(
        &self,
        key: &str,
        all: &[T],
        name: fn(T) -> &'static str,
    ) -> Option<Vec<T>> {
        let texts = self.optional_texts(key)?;
        let mut chosen = Vec::new();
        for text in &texts {
            match all.iter().copied().find(|choice| name(*choice) == *text) {
                Some(choice) => chosen.push(choice),
                None => {
                    let known: Vec<&str> = all.iter().map(|choice| name(*choice)).collect();
                    let help = nearest(text, &known).map_or_else(
                        || format!("known: {}", quoted(&known)),
                        |near| format!("did you mean `{near}`?"),
                    );
                    self.problem(key, "chaos/unknown-word", format!("`{key}` holds `{text}`"), &help);
                }
            }
        }
        Some(chosen)
    }

    /// A time (RFC 3339).
    pub(crate) fn time(&self, key: &str) -> Option<evidence::Timestamp> {
        let text = self.text(key)?;
        let time = text.parse().ok();
        if time.is_none() {
            let message = format!("`{key}` is `{text}`, which is no time");
            self.problem(key, "chaos/bad-time", message, "write it like \"2027-01-31T00:00:00Z\"");
        }
        time
    }

    /// The keys it has, as written.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.table
            .keys()
            .map(|key| key.get_ref().clone().into_owned())
            .collect()
    }

    pub(crate) fn number(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.required(key, &format!("a number from {} to {}", range.start(), range.end()))?;
        self.optional_number(key, range)
    }

    pub(crate) fn optional_number(&self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.table.get(key)?;
        self.number_of(key, value, &range)
    }

    /// A number between two others, neither of them, that may have a fraction.
    pub(crate) fn optional_share(&self, key: &str) -> Option<f64> {
        let value = self.table.get(key)?;
        let share = match value.get_ref() {
            DeValue::Float(text) => text.as_str().replace('_', "").parse().ok(),
            _ => None,
        };
        let within = share.filter(|share: &f64| *share > 0.0 && *share < 1.0);
        within.or_else(|| self.mistyped(key, value.get_ref(), "a number between 0 and 1, such as 0.05"))
    }

    /// A list of numbers that is not empty.
    pub(crate) fn numbers(&self, key: &str, range: RangeInclusive<u64>) -> Option<Vec<u64>> {
        self.required(key, "a list of numbers")?;
        let value = self.table.get(key)?;
        match value.get_ref() {
            DeValue::Array(items) if !items.is_empty() => {
                let numbers: Vec<_> = items.iter().map(|item| self.number_of(key, item, &range)).collect();
                numbers.into_iter().collect()
            }
            other => self.mistyped(key, other, "a list of numbers that is not empty"),
        }
    }

    pub(crate) fn section(&self, key: &str) -> Option<Section<'d>> {
        self.required(key, "a table")?;
        self.optional_section(key)
    }

    pub(crate) fn optional_section(&self, key: &str) -> Option<Section<'d>> {
        let value = self.table.get(key)?;
        let name = if self.name.is_empty() {
            format!("[{key}]")
        } else {
            format!("[{}.{key}]", self.name.trim_matches(['[', ']']))
        };
        match value.get_ref() {
            DeValue::Table(table) => Some(Section {
                document: self.document,
                name,
                table,
                span: value.span(),
            }),
            other => self.mistyped(key, other, &format!("a table: {name}")),
        }
    }

    /// The tables of a list, none when the key is absent.
    pub(crate) fn sections(&self, key: &str) -> Vec<Section<'d>> {
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let name = format!("[[{key}]]");
        let DeValue::Array(items) = value.get_ref() else {
            self.mistyped::<()>(key, value.get_ref(), &format!("a list of tables: {name}"));
            return Vec::new();
        };
        let section = |item: &'d Spanned<DeValue<'d>>| match item.get_ref() {
            DeValue::Table(table) => Some(Section {
                document: self.document,
                name: name.clone(),
                table,
                span: item.span(),
            }),
            other => self.mistyped(key, other, &format!("a list of tables: {name}")),
        };
        items.iter().filter_map(section).collect()
    }

    fn required(&self, key: &str, what: &str) -> Option<()> {
        if self.has(key) {
            return Some(());
        }
        let place = if self.name.is_empty() {
            "the experiment".to_owned()
        } else {
            self.name.clone()
        };
        let message = format!("{place} needs `{key}`");
        self.document.note(
            "chaos/missing-key",
            message,
            self.span.clone(),
            Some(format!("`{key}` is {what}")),
        );
        None
    }

    fn number_of(&self, key: &str, value: &Spanned<DeValue<'_>>, range: &RangeInclusive<u64>) -> Option<u64> {
        let DeValue::Integer(integer) = value.get_ref() else {
            return self.mistyped(key, value.get_ref(), "a whole number");
        };
        match u64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) if range.contains(&number) => Some(number),
            _ => {
                let message = format!("`{key}` is `{integer}`, not from {} to {}", range.start(), range.end());
                self.document.note("chaos/out-of-range", message, value.span(), None);
                None
            }
        }
    }

    fn mistyped<T>(&self, key: &str, value: &DeValue<'_>, expected: &str) -> Option<T> {
        let message = format!("`{key}` is {}, not {expected}", kind(value));
        self.problem(
            key,
            "chaos/wrong-type",
            message,
            &format!("write `{key}` as {expected}"),
        );
        None
    }
}

/// The word of `known` that a typing error most likely meant.
pub(crate) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

pub(crate) fn quoted(words: &[&str]) -> String {
    words
        .iter()
        .map(|word| format!("`{word}`"))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Line and column of a byte, both from 1, the column in bytes.
fn position(text: &str, offset: usize) -> (u32, u32) {
    let before = &text.as_bytes()[..offset.min(text.len())];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
    (
        u32::try_from(line).unwrap_or(u32::MAX),
        u32::try_from(column).unwrap_or(u32::MAX),
    )
}

/// Levenshtein distance. Words longer than 64 bytes are no typing errors of ours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() > 64 {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a point",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a time",
        DeValue::Array(items) if items.is_empty() => "an empty list",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
