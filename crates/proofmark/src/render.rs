//! What people see. The first line says what is judged, the last says the answer and where the proof lies.
//!
//! Data goes to stdout, words for people to stderr; colour only on a terminal, and it never carries meaning.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;

use evidence::{Diagnostic, Finding, Gap, Outcome, Reason, Severity, Stage};
use indicatif::{ProgressBar, ProgressStyle};
use pipeline::Error;
use pipeline::progress::Progress;
use pipeline::report::StageLine;

/// Narrow terminals are first-class: no line is laid out for more than this.
const WIDTH_MIN: usize = 60;

/// A person at a terminal, or a log file of CI.
pub struct Terminal {
    quiet: bool,
    verbose: bool,
    colour: bool,
    bar: Mutex<Option<ProgressBar>>,
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
        }
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
        if let Error::Input(diagnostics) = error {
            for diagnostic in diagnostics {
                self.diagnostic(diagnostic);
            }
        }
        self.always(&format!("{} {error}", self.paint("proofmark:", "1;35")));
        if let Some(hint) = error.hint() {
            self.always(&format!("hint: {hint}"));
        }
    }

    pub fn diagnostic(&self, diagnostic: &Diagnostic) {
        let place = diagnostic
            .span
            .as_ref()
            .map_or_else(String::new, |span| format!("{span}: "));
        self.always(&format!("{place}{} [{}]", diagnostic.message, diagnostic.code));
        if let Some(help) = &diagnostic.help {
            self.always(&format!("  hint: {help}"));
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
        self.always(&format!(
            "{}: {}",
            self.paint(&format!("{word}[{}]", reason.id), code),
            reason.what
        ));
        let rows = [
            ("where", &reason.r#where),
            ("why here", &reason.why),
            ("to do", &reason.fix),
        ];
        for (name, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
            for line in wrapped(&format!("  = {name}: {text}")) {
                self.always(&line);
            }
        }
        let log = reason
            .log_index
            .map_or_else(String::new, |index| format!("log index {index} · "));
        self.always(&format!("  = proof: {log}`proofmark explain {}`", reason.id));
        if let Some(finding) = &reason.finding {
            self.always(&format!("  = finding: {finding}"));
        }
    }

    /// One finding of `check`.
    pub fn finding(&self, finding: &Finding) {
        let (word, code) = match finding.severity {
            Severity::Critical | Severity::High => ("error", "1;31"),
            Severity::Medium | Severity::Low => ("warning", "1;33"),
            Severity::Note => ("note", "1"),
        };
        let place = finding.span.as_ref().map_or_else(String::new, ToString::to_string);
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
        self.say(&format!(
            "{} {}: {}{counts}",
            self.paint(&format!("gap[{}]", gap.id), "1;36"),
            gap.what,
            gap.reason
        ));
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
        let mut rows = fold(&notes, columns().saturating_sub(33).max(WIDTH_MIN - 33)).into_iter();
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

fn fold(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for paragraph in text.lines() {
        let mut row = String::new();
        for word in paragraph.split(' ') {
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
