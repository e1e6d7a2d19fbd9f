//! `chaos report`: what was attacked, how often, what was noticed, and how sure that is.
//!
//! A pure fold over the verified statements of a log: no clock, no randomness, everything in one order, so that the
//! same log gives the same bytes. Every figure says its n, its interval, how many runs are censored, and the command
//! that gives it again with the log indexes it was computed from.
//!
//! It judges nothing: what a gate asks of these figures stands in the policy. What a moment is and which alert counts
//! was decided when a run was measured. Start reading at [`build`], then [`fold`].

mod drills;
mod figure;
mod fold;
mod html;
mod layer;
mod output;
#[cfg(test)]
mod sample;
mod source;
mod studies;
mod style;
mod svg;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use evidence::{Digest, Logged, Statement, Timestamp, Verified};
use serde_json::{Value, json};

pub use drills::DrillRun;
pub use figure::{Figure, Method, RUNS_MIN, Unit};
pub use fold::{Run, State};
pub use output::write;
pub use source::{Source, read};
pub use studies::Study;

/// Version of the report's JSON.
pub const SCHEMA: &str = "proofmark.dev/chaos-report/v0.1";

/// Which statements are told of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// One experiment alone, by its file.
    pub experiment: Option<String>,
    /// One study alone, by its plan's digest in hex, or the beginning of it.
    pub study: Option<String>,
    /// Observed at this time or later.
    pub since: Option<Timestamp>,
    /// Observed at this time or earlier.
    pub as_of: Option<Timestamp>,
}

/// Which log it was folded from, up to where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSize {
    pub origin: String,
    pub size: u64,
}

/// Everything a report says.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    pub log: LogSize,
    pub filter: Filter,
    /// In the order of the log.
    pub runs: Vec<Run>,
    pub drills: Vec<DrillRun>,
    pub studies: Vec<Study>,
    /// By id.
    pub figures: BTreeMap<String, Figure>,
    /// Faults that there are, and how each is undone.
    pub catalogue: Vec<(&'static str, &'static str)>,
}

impl Filter {
    fn lets(&self, at: Timestamp) -> bool {
        self.since.is_none_or(|since| since <= at) && self.as_of.is_none_or(|until| at <= until)
    }

    /// Whether what belongs to this study, or to none, is told of.
    fn lets_study(&self, plan: Option<Digest>) -> bool {
        let begins = |asked: &String| plan.is_some_and(|plan| plan.hex().starts_with(asked.as_str()));
        self.study.as_ref().is_none_or(begins)
    }

    /// The same as arguments, each after a space.
    fn arguments(&self) -> String {
        let mut text = String::new();
        for (name, value) in [("--experiment", &self.experiment), ("--study", &self.study)] {
            if let Some(value) = value {
                text += &format!(" {name} {}", quoted(value));
            }
        }
        for (name, time) in [("--since", self.since), ("--as-of", self.as_of)] {
            if let Some(time) = time {
                text += &format!(" {name} {time}");
            }
        }
        text
    }
}

/// A word as a POSIX shell takes it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,=@:~".contains(c);
    match !word.is_empty() && !word.starts_with('~') && word.chars().all(plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Folds the statements of a log, in its order.
pub fn build(origin: &str, size: u64, statements: &[Logged<Verified<Statement>>], filter: &Filter) -> Report {
    let catalogue: Vec<_> = ::chaos::faults()
        .iter()
        .map(|fault| (fault.id, fault.undo_class.name()))
        .collect();
    let ids: Vec<&str> = catalogue.iter().map(|(id, _)| *id).collect();
    let (runs, mut unreadable) = fold::runs(statements, filter);
    let (drills, others) = drills::drills(statements, filter);
    unreadable.extend(others);
    let (studies, others) = studies::studies(statements, filter);
    unreadable.extend(others);
    let told = runs.len() + drills.len() + studies.len();
    let mut figures = fold::figures(&runs, &ids);
    let all = drills::figures(&drills).into_iter().chain(studies::figures(&studies));
    let all = all.chain([unread(told, unreadable)]);
    figures.extend(all.map(|figure| (figure.id.clone(), figure)));
    Report {
        log: LogSize {
            origin: origin.to_owned(),
            size,
        },
        filter: filter.clone(),
        figures,
        runs,
        drills,
        studies,
        catalogue,
    }
}

/// Statements that say they are of a kind that is told of, and can't be read: of a newer program, say.
fn unread(told: usize, unreadable: Vec<u64>) -> Figure {
    let count = unreadable.len() as u64;
    Figure::count("all/unreadable".to_owned(), count, told as u64 + count, unreadable)
}

impl Report {
    /// The report of everything in a source that the filter lets through.
    pub fn of(source: &Source, filter: &Filter) -> Report {
        build(&source.origin, source.size, &source.statements, filter)
    }

    /// The command that prints one figure with the log indexes it comes from. It runs in the folder of the log; for
    /// another folder or a bundle it takes `--path`.
    pub fn query(&self, id: &str) -> String {
        format!(
            "proofmark chaos report --json --figure {}{}",
            quoted(id),
            self.filter.arguments()
        )
    }

    /// One JSON document with everything.
    pub fn json(&self) -> Value {
        let figures: Vec<Value> = self
            .figures
            .values()
            .map(|figure| figure.json(&self.query(&figure.id)))
            .collect();
        let catalogue: Vec<Value> = self
            .catalogue
            .iter()
            .map(|(fault, class)| json!({"fault": fault, "undoClass": class}))
            .collect();
        json!({
            "schema": SCHEMA,
            "log": self.log_json(),
            "filter": {
                "experiment": self.filter.experiment, "study": self.filter.study,
                "since": self.filter.since, "asOf": self.filter.as_of,
            },
            "catalogue": catalogue,
            "figures": figures,
            "runs": self.runs.iter().map(|run| self.run_json(run)).collect::<Vec<_>>(),
            "drills": self.drills.iter().map(|drill| self.drill_json(drill)).collect::<Vec<_>>(),
            "studies": self.studies.iter().filter_map(|study| self.study_json(&study.id())).collect::<Vec<_>>(),
        })
    }

    /// One figure, run, drill or study alone; `None` where there is none of this id.
    pub fn figure_json(&self, id: &str) -> Option<Value> {
        let figure = self.figures.get(id).map(|figure| figure.json(&self.query(id)));
        let run = || Some(self.run_json(self.runs.iter().find(|run| run.id() == id)?));
        let drill = || Some(self.drill_json(self.drills.iter().find(|drill| drill.id() == id)?));
        let found = figure.or_else(run).or_else(drill).or_else(|| self.study_json(id))?;
        Some(json!({"schema": SCHEMA, "log": self.log_json(), "figure": found}))
    }

    /// The ATT&CK Navigator layer.
    pub fn layer(&self) -> Value {
        layer::layer(self)
    }

    /// Pages and files by name; `index.html` is the first to read.
    pub fn html(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = html::pages(self);
        files.insert("report.json".to_owned(), pretty(&self.json()));
        files.insert("layer.json".to_owned(), pretty(&self.layer()));
        files
    }

    /// Ids nearest to one that is none.
    pub fn nearest(&self, id: &str) -> Option<String> {
        let runs: Vec<String> = self.runs.iter().map(Run::id).collect();
        let all = self
            .figures
            .keys()
            .map(String::as_str)
            .chain(runs.iter().map(String::as_str));
        crate::config::nearest(id, all).map(str::to_owned)
    }

    /// Techniques that were attacked, each with how often that was detected.
    fn techniques(&self) -> impl Iterator<Item = (&str, &Figure)> {
        self.figures.iter().filter_map(|(id, figure)| {
            let technique = id.strip_prefix("technique:")?.strip_suffix("/detected/probability")?;
            Some((technique, figure))
        })
    }

    fn log_json(&self) -> Value {
        json!({"origin": self.log.origin, "size": self.log.size})
    }

    fn drill_json(&self, drill: &DrillRun) -> Value {
        json!({
            "id": drill.id(), "logIndexes": [drill.index], "at": drill.at,
            "evidence": drill.evidence, "query": self.query(&drill.id()),
        })
    }

    fn run_json(&self, run: &Run) -> Value {
        let durations: BTreeMap<&str, Value> = fold::MOMENTS
            .into_iter()
            .filter_map(|name| Some((name, run.moment(name)?.duration_us())))
            .map(|(name, (us, observed))| (name, json!({"seconds": us as f64 / 1e6, "observed": observed})))
            .collect();
        json!({
            "id": run.id(), "logIndexes": [run.index], "at": run.at, "state": run.state.name(),
            "durations": durations, "evidence": run.evidence, "query": self.query(&run.id()),
        })
    }
}

fn pretty(value: &Value) -> Vec<u8> {
    let mut bytes = serde_json::to_vec_pretty(value).expect("a JSON value has a text");
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod quoting {
    use super::*;

    #[test]
    fn a_query_is_taken_by_a_shell_as_it_stands() {
        for (word, expect) in [
            ("fault:link-slowed/detected/median", "fault:link-slowed/detected/median"),
            ("a b", "'a b'"),
            ("$(reboot)", "'$(reboot)'"),
            ("it's", "'it'\\''s'"),
            ("", "''"),
            ("~root", "'~root'"),
        ] {
            assert_eq!(quoted(word), expect);
        }
    }
}
