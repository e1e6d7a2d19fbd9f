//! What people see. The first line says what is judged, the last says the answer and where the proof lies.
//!
//! Data goes to stdout, words for people to stderr; colour only on a terminal, and it never carries meaning.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock};

use evidence::{Diagnostic, Finding, Gap, Outcome, Reason, Severity, Stage};
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::Error;
use pipeline::progress::Progress;
use pipeline::report::StageLine;

/// Narrow terminals are first-class: no line is laid out for more than this.
const WIDTH_MIN: usize = 60;

/// Below this a stage's notes stand under its line, not beside it.
const WIDTH_SIDE_MIN: usize = 80;

/// A person at a terminal, or a log file of CI.
pub struct Terminal {
    quiet: bool,
    verbose: bool,
    colour: bool,
    bar: Mutex<Option<ProgressBar>>,
    /// Folder that is judged, as seen from where the person stands.
    tree: OnceLock<PathBuf>,
}

impl Terminal {
    pub fn new(quiet: bool, verbose: bool) -> Terminal {
        let terminal = std::io::stderr().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Terminal {
            quiet,
            verbose,
            colour,
            bar: Mutex::new(None),
            tree: OnceLock::new(),
        }
    }

    /// What is judged lies there: places in it are printed as seen from the working directory.
    pub fn stand_at(&self, tree: &Path) {
        // The first one holds; a command has but one.
        let _ = self.tree.set(tree.to_owned());
    }

    /// A place (`path:line`, a route) as seen from the working directory; none stands for the tree itself.
    pub fn place(&self, text: &str) -> String {
        let Some(tree) = self.tree.get() else {
            return text.to_owned();
        };
        if text.is_empty() {
            return tree.display().to_string();
        }
        let path = text.split([':', ',']).next().unwrap_or(text);
        if tree == Path::new(".") || !tree.join(path).exists() {
            return text.to_owned();
        }
        let shown = tree.join(text).display().to_string();
        shown.trim_start_matches("./").to_owned()
    }

    /// A line for people.
    pub fn say(&self, line: &str) {
        if !self.quiet {
            self.always(line);
        }
    }

    fn always(&self, line: &str) {
        self.clear();
        // Nobody is left to read it when stderr is closed.
        let _ = writeln!(std::io::stderr(), "{line}");
    }

    fn clear(&self) {
        if let Ok(mut bar) = self.bar.lock()
            && let Some(bar) = bar.take()
        {
            bar.finish_and_clear();
        }
    }

    /// A bar on a terminal; nothing in a log file.
    pub fn tick(&self, what: &str, done: u64, total: u64) {
        if self.quiet || !std::io::stderr().is_terminal() {
            return;
        }
        let Ok(mut slot) = self.bar.lock() else { return };
        let bar = slot.get_or_insert_with(|| {
            let bar = ProgressBar::new(0);
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            bar
        });
        let template = if total > 0 {
            "  {spinner} {msg}  {pos}/{len}  {elapsed}"
        } else {
            "  {spinner} {msg}  {elapsed}"
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.set_length(total);
        bar.set_position(done);
        bar.set_message(what.to_owned());
    }

    pub fn done(&self) {
        self.clear();
    }

    fn paint(&self, text: &str, code: &str) -> String {
        if self.colour {
            format!("\u{1b}[{code}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }

    /// An error of ours: looks unlike a finding, and says how to report one that is our fault.
    pub fn failed(&self, error: &Error) {
        let said = if let Error::Input(diagnostics) = error {
            self.diagnostics(diagnostics);
            match diagnostics.len() {
                1 => "1 problem in the configuration".to_owned(),
                n => format!("{n} problems in the configuration"),
            }
        } else {
            plain(&error.to_string())
        };
        self.always(&format!("{} {said}", self.paint("proofmark:", "1;35")));
        if let Some(hint) = error.hint().or_else(|| way_out(&said)) {
            self.always(&format!("hint: {hint}"));
        }
    }

    /// Problems of files of theirs, in the order of the files.
    pub fn diagnostics(&self, diagnostics: &[Diagnostic]) {
        let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
        sorted.sort_by_key(|diagnostic| {
            let span = diagnostic.span.as_ref();
            span.map(|span| (span.path.clone(), span.line, span.column))
        });
        for diagnostic in sorted {
            self.diagnostic(diagnostic);
        }
    }

    fn diagnostic(&self, diagnostic: &Diagnostic) {
        let place = diagnostic
            .span
            .as_ref()
            .map_or_else(String::new, |span| format!("{span}: "));
        self.always(&format!("{place}{} [{}]", diagnostic.message, diagnostic.code));
        if let Some(help) = &diagnostic.help {
            self.always(&format!("  hint: {help}"));
        }
    }

    /// What a playbook did after a block.
    pub fn incident(&self, lines: &[String]) {
        self.say("");
        for (number, line) in lines.iter().enumerate() {
            let line = if number == 0 {
                line.clone()
            } else {
                format!("  = {line}")
            };
            for row in wrapped(&line) {
                self.say(&row);
            }
        }
    }

    /// A block: what, where, why here, what to do, and what to ask for more.
    pub fn reason(&self, reason: &Reason) {
        let (word, code) = match reason.outcome {
            Outcome::Fail => ("error", "1;31"),
            Outcome::Indeterminate => ("unproven", "1;33"),
            Outcome::Pass => ("note", "1"),
        };
        self.always("");
        let head = format!("{word}[{}]", reason.id);
        let mut rows = wrapped(&format!("{head}: {}", reason.what)).into_iter();
        let first = rows.next().unwrap_or_default();
        self.always(&first.replacen(&head, &self.paint(&head, code), 1));
        for row in rows {
            self.always(&row);
        }
        let place = self.place(&reason.r#where);
        let fix = self.whole_commands(&reason.fix);
        let rows = [
            (
                "where",
                if reason.r#where.is_empty() {
                    &reason.r#where
                } else {
                    &place
                },
            ),
            ("why here", &reason.why),
            ("to do", &fix),
        ];
        for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
            for line in wrapped(&format!("  = {name}: {text}")) {
                self.always(&line);
            }
        }
        let log = reason
            .log_index
            .map_or_else(String::new, |index| format!("log index {index} · "));
        // Not folded: a command that is printed can be copied.
        self.always(&format!("  = proof: {log}`proofmark explain {}`", reason.id));
        if let Some(finding) = &reason.finding {
            self.always(&format!("  = finding: {finding}"));
        }
    }

    /// `proofmark approve …` with everything it needs, as it is typed from here.
    fn whole_commands(&self, text: &str) -> String {
        let path = match self.tree.get() {
            Some(tree) if tree != Path::new(".") => format!(" --path {}", tree.display()),
            _ => String::new(),
        };
        let mut text = text.to_owned();
        for what in ["first-release", "loosened-controls", "rerun"] {
            let short = format!("`proofmark approve {what}`");
            let whole = format!("`proofmark approve {what}{path} --reason WHY --expires DAY`");
            text = text.replace(&short, &whole);
        }
        text
    }

    /// One finding of `check`.
    pub fn finding(&self, finding: &Finding) {
        let (word, code) = match finding.severity {
            Severity::Critical | Severity::High => ("error", "1;31"),
            Severity::Medium | Severity::Low => ("warning", "1;33"),
            Severity::Note => ("note", "1"),
        };
        let place = finding
            .span
            .as_ref()
            .map_or_else(String::new, |span| self.place(&span.to_string()));
        self.say(&format!(
            "{} {place}",
            self.paint(&format!("{word}[{}]", finding.rule), code)
        ));
        for line in wrapped(&format!("    {}", finding.message)) {
            self.say(&line);
        }
        if !finding.fix.is_empty() {
            for line in wrapped(&format!("    to do: {}", finding.fix)) {
                self.say(&line);
            }
        }
    }

    pub fn gap(&self, gap: &Gap) {
        let counts = if gap.blocks {
            " (counts as undetermined at a gate)"
        } else {
            ""
        };
        let head = format!("gap[{}]", gap.id);
        for (row, line) in wrapped(&format!("{head} {}: {}{counts}", self.place(&gap.what), gap.reason))
            .into_iter()
            .enumerate()
        {
            match row {
                0 => self.say(&line.replacen(&head, &self.paint(&head, "1;36"), 1)),
                _ => self.say(&line),
            }
        }
    }
}

impl Progress for Terminal {
    fn header(&self, line: &str) {
        self.say(line);
        self.say("");
    }

    fn doing(&self, stage: Stage, what: &str, done: u64, total: u64) {
        self.tick(&format!("{:<12} {what}", stage.name()), done, total);
    }

    fn decided(&self, line: &StageLine) {
        let code = match line.outcome {
            Outcome::Pass => "32",
            Outcome::Fail => "1;31",
            Outcome::Indeterminate => "1;33",
        };
        let word = format!("{:<8}", StageLine::word(line.outcome));
        let time = if line.resumed {
            "earlier".to_owned()
        } else {
            format!("{:.1} s", line.seconds)
        };
        let head = format!("  {:<12} {} {time:>7}", line.stage.name(), self.paint(&word, code));
        let notes = line.notes.join("; ");
        if notes.is_empty() {
            self.say(&head);
            return;
        }
        if columns() < WIDTH_SIDE_MIN {
            self.say(&head);
            for row in fold(&notes, columns() - 4) {
                self.say(&format!("    {row}"));
            }
            return;
        }
        let mut rows = fold(&notes, columns() - 33).into_iter();
        self.say(&format!("{head}  {}", rows.next().unwrap_or_default()));
        for row in rows {
            self.say(&format!("{:33}{row}", ""));
        }
    }

    fn note(&self, line: &str) {
        self.say(line);
    }
}

impl Terminal {
    pub fn verbose(&self) -> bool {
        self.verbose
    }
}

/// An error in words for people: paths below the working directory relative to it, no numbers of the system.
fn plain(text: &str) -> String {
    let mut out = text.to_owned();
    if let Ok(here) = std::env::current_dir() {
        let here = here.display().to_string();
        if here.len() > 1 {
            out = out
                .replace(&format!("`{here}/"), "`")
                .replace(&format!("`{here}`"), "`.`");
        }
    }
    while let Some(start) = out.find(" (os error ")
        && let Some(length) = out[start..].find(')')
    {
        out.replace_range(start..=start + length, "");
    }
    out
}

/// What to do about what the system refused.
fn way_out(said: &str) -> Option<&'static str> {
    let ways = [
        (
            "No space left on device",
            "free some space, then run the same command again",
        ),
        ("Permission denied", "this user may not: look at who owns it (`ls -ld`)"),
        ("Read-only file system", "run it where the folder can be written"),
        ("not contain valid UTF-8", "save the file as UTF-8"),
        ("No such file or directory", "is the path right, and is it there?"),
    ];
    ways.into_iter()
        .find(|(words, _)| said.contains(words))
        .map(|(_, way)| way)
}

fn columns() -> usize {
    let told = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    told.unwrap_or(120).clamp(WIDTH_MIN, 160)
}

/// Lines of at most the terminal's width, later ones indented below the first.
fn wrapped(text: &str) -> Vec<String> {
    let indent = text.len() - text.trim_start().len();
    let rows = fold(text.trim_start(), columns().saturating_sub(indent + 4));
    rows.into_iter()
        .enumerate()
        .map(|(row, line)| {
            format!(
                "{:width$}{line}",
                "",
                width = if row == 0 { indent } else { indent + 4 }
            )
        })
        .collect()
}

/// Lines of at most `width` characters; what stands between backticks is typed as it is printed, so it stays on one.
fn fold(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for paragraph in text.lines() {
        let mut row = String::new();
        for word in words(paragraph) {
            if !row.is_empty() && row.chars().count() + 1 + word.chars().count() > width {
                rows.push(std::mem::take(&mut row));
            }
            if !row.is_empty() {
                row.push(' ');
            }
            row.push_str(word);
        }
        rows.push(row);
    }
    rows
}

/// The parts between spaces that may be broken at.
fn words(text: &str) -> Vec<&str> {
    let paired = text.matches('`').count() / 2 * 2;
    let (mut words, mut start, mut quotes) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        if c == '`' {
            quotes += 1;
        }
        let within = quotes % 2 == 1 && quotes < paired;
        if c == ' ' && !within {
            words.push(&text[start..at]);
            start = at + 1;
        }
    }
    words.push(&text[start..]);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_never_broken() {
        let rows = fold("have an approver run `proofmark approve first-release` now", 30);
        assert_eq!(
            rows,
            ["have an approver run", "`proofmark approve first-release`", "now"]
        );
        assert_eq!(fold("an odd ` breaks as ever", 10), ["an odd `", "breaks as", "ever"]);
    }
}
