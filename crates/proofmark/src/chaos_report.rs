//! `chaos report`: the report of a log or bundle, as pages, as JSON, or in a few lines.

use std::path::PathBuf;

use clap::Args;
use evidence::TrustRoot;
use pipeline::Error;
use pipeline::chaos_report::{self, Figure, Filter, Report};

use crate::cli::{self, Cli};
use crate::commands::{clock, folder, home, out, out_json, random, relative};

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Folder of proofmark.toml, or of a bundle
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Trust root; default: the one in the home folder
    #[arg(long, value_name = "FILE")]
    pub trust_root: Option<PathBuf>,
    /// This experiment alone, by its file as the log has it
    #[arg(long, value_name = "FILE")]
    pub experiment: Option<String>,
    /// This study alone, by its plan's digest or the beginning of it
    #[arg(long, value_name = "DIGEST")]
    pub study: Option<String>,
    /// Observed at this time or later (RFC 3339; a day alone means its beginning, UTC); `--as-of` states the latest
    #[arg(long, value_name = "TIME", value_parser = cli::time)]
    pub since: Option<evidence::Timestamp>,
    /// Write pages, a Navigator layer and the JSON into this folder: a new one, or an earlier report's
    #[arg(long, value_name = "DIR")]
    pub html: Option<PathBuf>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
    /// One figure or run alone, with the log indexes it was computed from
    #[arg(long, value_name = "ID", requires = "json")]
    pub figure: Option<String>,
}

pub fn run(cli: &Cli, args: &ReportArgs) -> Result<u8, Error> {
    folder(&args.path)?;
    let trust_root = args.trust_root.as_ref().map(|path| {
        let bytes = std::fs::read(path).map_err(|error| Error::io("read the trust root", path, &error))?;
        TrustRoot::from_bytes(&bytes).map_err(|error| Error::trust(path, &error))
    });
    let source = chaos_report::read(&args.path, &home(cli)?, trust_root.transpose()?, &clock(cli), &random())?;
    let filter = Filter {
        experiment: args.experiment.clone(),
        study: args.study.clone(),
        since: args.since,
        as_of: cli.as_of,
    };
    let report = Report::of(&source, &filter);
    if let Some(experiment) = args.experiment.as_ref().filter(|_| report.runs.is_empty()) {
        let all = Report::of(&source, &Filter::default());
        return Err(Error::usage(
            format!("no run of `{experiment}` stands in this log, at the times that were asked for"),
            experiments(&all),
        ));
    }
    if let Some(html) = &args.html {
        chaos_report::write(&report, html)?;
    }
    match (&args.figure, args.json, &args.html) {
        (Some(id), _, _) => {
            let found = report.figure_json(id).ok_or_else(|| unknown(&report, id))?;
            out_json(&found)?;
        }
        (None, true, _) => out_json(&report.json())?,
        (None, false, Some(html)) => {
            let index = std::fs::canonicalize(html)
                .unwrap_or_else(|_| html.clone())
                .join("index.html");
            out(&summary(&report))?;
            out(&relative(&index))?;
        }
        (None, false, None) => {
            out(&summary(&report))?;
            out("`--html DIR` writes it as pages, `--json` as one document.")?;
        }
    }
    Ok(0)
}

fn unknown(report: &Report, id: &str) -> Error {
    let hint = match report.nearest(id) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`--json` without `--figure` has them all".to_owned(),
    };
    Error::usage(format!("there is no figure `{id}`"), hint)
}

fn experiments(report: &Report) -> String {
    let mut files: Vec<&str> = report.runs.iter().map(|run| run.evidence.experiment.as_str()).collect();
    files.sort_unstable();
    files.dedup();
    match files.is_empty() {
        true => "`proofmark chaos run FILE` makes the first run".to_owned(),
        false => format!(
            "it has: {}",
            shown(&files.iter().take(8).copied().collect::<Vec<_>>().join(", "))
        ),
    }
}

/// What is judged, a few lines an experiment, and nothing that scrolls.
fn summary(report: &Report) -> String {
    let runs = match report.runs.len() {
        1 => "1 run".to_owned(),
        n => format!("{n} runs"),
    };
    let mut text = format!(
        "{runs} in the log {} up to size {}\n",
        report.log.origin, report.log.size
    );
    let scopes = report.figures.keys().filter_map(|id| {
        let scope = id.strip_suffix("/runs")?;
        scope.starts_with("experiment:").then_some(scope)
    });
    for scope in scopes {
        let name = scope.strip_prefix("experiment:").unwrap_or(scope);
        text += &format!("\n{}\n", shown(name));
        for (what, share, median) in [
            ("detected ", "detected/probability", "detected/median"),
            ("contained", "contained/probability", "contained/median"),
            ("recovered", "recovered/probability", "recovered/median"),
        ] {
            let figure = |id: &str| report.figures.get(&format!("{scope}/{id}"));
            if let Some((share, median)) = figure(share).zip(figure(median)) {
                text += &format!("  {what}  {}\n", line(share, median));
            }
        }
    }
    text
}

fn line(share: &Figure, median: &Figure) -> String {
    if share.n == 0 {
        return share.text();
    }
    match share.is_raw() {
        true => format!("{}: {}", share.text(), median.text()),
        false => format!("{}; median {}", share.text(), median.text()),
    }
}

/// The same without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}
