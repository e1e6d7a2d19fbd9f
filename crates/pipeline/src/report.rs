//! What a release came to, in words: stage lines, the table of metrics, the Markdown summary of a pull request.
//!
//! The same words stand on the screen, in the summary and in the log.

use evidence::predicates::Incident;
use evidence::{Digest, Outcome, Reason, Stage, Verdict};

use crate::metrics::{Metrics, share_text};
use crate::playbooks::incident;

/// One stage's line.
#[derive(Debug, Clone, PartialEq)]
pub struct StageLine {
    pub stage: Stage,
    pub outcome: Outcome,
    pub seconds: f64,
    pub notes: Vec<String>,
    /// Decided in an earlier run of this attempt.
    pub resumed: bool,
}

impl StageLine {
    /// `BLOCK` is what a person reads; `undetermined` blocks too.
    pub fn word(outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Pass => "pass",
            Outcome::Fail => "BLOCK",
            Outcome::Indeterminate => "UNPROVEN",
        }
    }
}

/// How a release ended.
#[derive(Debug)]
pub struct Report {
    pub name: String,
    pub version: String,
    pub attempt: Digest,
    pub self_signed: bool,
    pub lines: Vec<StageLine>,
    pub verdicts: Vec<(Verdict, u64)>,
    pub metrics: Metrics,
    pub outcome: Outcome,
    /// What playbooks did, each with its log index.
    pub incidents: Vec<(Incident, u64)>,
    /// Statements of this attempt and size of the log.
    pub statements: u64,
    pub log_size: u64,
    /// The last stage that was asked for.
    pub upto: Stage,
}

impl Report {
    pub fn reasons(&self) -> impl Iterator<Item = &Reason> {
        self.verdicts.iter().flat_map(|(verdict, _)| &verdict.reasons)
    }

    /// The reasons as a person reads them.
    pub fn reasons_shown(&self) -> Vec<Reason> {
        shown(self.reasons())
    }

    /// Exit code of the design: 1 blocked, 3 indeterminate, 0 pass.
    pub fn exit_code(&self) -> u8 {
        exit_code(self.outcome)
    }

    /// What playbooks did: of each incident one line, and those below it.
    pub fn incidents_shown(&self) -> Vec<Vec<String>> {
        let shown = self.incidents.iter();
        shown
            .map(|(incident, index)| incident::lines(incident, *index))
            .collect()
    }

    /// The metrics, one line of five.
    pub fn metrics_lines(&self) -> Vec<String> {
        let coverage = self.metrics.coverage;
        vec![
            format!("mttd {}", self.metrics.mttd.text()),
            format!("mttr {}", self.metrics.mttr.text()),
            format!("attestation coverage {}/{}", coverage.present, coverage.expected),
            format!("secrets exposed {}", self.metrics.exposure.text()),
            format!(
                "false positives {}, false negatives {}",
                share_text(self.metrics.false_positives),
                share_text(self.metrics.false_negatives)
            ),
        ]
    }

    /// The last line: the answer.
    pub fn answer(&self) -> String {
        let controls: usize = self.verdicts.iter().map(|(verdict, _)| verdict.controls.len()).sum();
        let log = format!("{} statements, log size {}", self.statements, self.log_size);
        let failed = |outcome| {
            let asked = self.verdicts.iter().flat_map(|(verdict, _)| &verdict.controls);
            asked.filter(|(_, o)| *o == outcome).count()
        };
        let at = self.lines.last().map_or("commit", |line| line.stage.name());
        let untouched = if self.lines.iter().any(|line| line.stage == Stage::Production) {
            "the new version carries no traffic"
        } else {
            "production was not touched"
        };
        match self.outcome {
            Outcome::Pass => {
                let all = if self.upto == Stage::Production {
                    String::new()
                } else {
                    format!(" up to {}", self.upto)
                };
                let stages = match self.lines.len() {
                    1 => "1 stage".to_owned(),
                    n => format!("{n} stages"),
                };
                format!("PASS{all}: {controls} controls of {stages} held; {log}")
            }
            Outcome::Fail => {
                let n = failed(Outcome::Fail);
                format!(
                    "BLOCKED at {at} by {n} control{}; {untouched}; {log}",
                    if n == 1 { "" } else { "s" }
                )
            }
            Outcome::Indeterminate => {
                let n = failed(Outcome::Indeterminate);
                let verb = if n == 1 { "control could" } else { "controls could" };
                format!("UNPROVEN at {at}: {n} {verb} not be decided, which blocks too; {untouched}; {log}")
            }
        }
    }

    /// Fits a pull request.
    pub fn markdown(&self) -> String {
        let mut out = format!("### Proofmark: {}\n\n", self.answer());
        out.push_str(&format!(
            "`{} {}` · attempt `{}`",
            self.name,
            self.version,
            self.attempt.short()
        ));
        if self.self_signed {
            out.push_str(" · trust root: self-signed");
        }
        out.push_str("\n\n| stage | result | time | evidence |\n|---|---|---|---|\n");
        for line in &self.lines {
            let notes = line.notes.join("; ").replace('|', "\\|");
            out.push_str(&format!(
                "| {} | {} | {:.1} s | {notes} |\n",
                line.stage,
                StageLine::word(line.outcome),
                line.seconds
            ));
        }
        for reason in self.reasons_shown() {
            out.push_str(&format!("\n**{}**: {}\n", reason.id, reason.what));
            if !reason.r#where.is_empty() {
                out.push_str(&format!("- where: `{}`\n", reason.r#where));
            }
            out.push_str(&format!("- why here: {}\n- to do: {}\n", reason.why, reason.fix));
        }
        for lines in self.incidents_shown() {
            out.push_str(&format!("\n**{}**\n", lines[0]));
            out.extend(lines[1..].iter().map(|line| format!("- {line}\n")));
        }
        out.push_str("\n| metric | |\n|---|---|\n");
        for line in self.metrics_lines() {
            let (name, value) = split_metric(&line);
            out.push_str(&format!("| {name} | {value} |\n"));
        }
        out
    }
}

/// Reasons as a person reads them: what failed before what could not be decided, what was found before what says
/// that looking was incomplete, and one fact once however many controls it fails.
pub fn shown<'r>(reasons: impl Iterator<Item = &'r Reason>) -> Vec<Reason> {
    let mut shown: Vec<Reason> = Vec::new();
    for reason in reasons {
        let same = |other: &&mut Reason| {
            (other.outcome, &other.id, &other.what, &other.r#where, &other.finding)
                == (
                    reason.outcome,
                    &reason.id,
                    &reason.what,
                    &reason.r#where,
                    &reason.finding,
                )
        };
        match shown.iter_mut().find(same) {
            Some(other) if other.why != reason.why => other.why = format!("{}; {}", other.why, reason.why),
            Some(_) => {}
            None => shown.push(reason.clone()),
        }
    }
    shown.sort_by_key(|reason| {
        (
            reason.outcome != Outcome::Fail,
            reason.control == "control/experiments-complete",
        )
    });
    shown
}

fn split_metric(line: &str) -> (&str, &str) {
    const NAMES: [&str; 5] = [
        "mttd",
        "mttr",
        "attestation coverage",
        "secrets exposed",
        "false positives",
    ];
    let name = NAMES.into_iter().find(|name| line.starts_with(name)).unwrap_or("");
    (&line[..name.len()], line[name.len()..].trim())
}

/// 0 pass, 1 blocked, 3 indeterminate.
pub fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Pass => 0,
        Outcome::Fail => 1,
        Outcome::Indeterminate => 3,
    }
}
