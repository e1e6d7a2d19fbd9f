//! `playbook check | run | approve | list`: arguments in, what `pipeline` says out.
//!
//! Start reading at [`main`].

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use pipeline::Error;
use pipeline::playbooks::{self, Answer, Inputs, Options, RunRecord, RunStatus, Waiting, asked};
use serde_json::json;

use crate::cli::Cli;
use crate::render::Terminal;

#[derive(Debug, Subcommand)]
pub enum Playbook {
    /// Hold playbooks against the OASIS schemas of CACAO 2.0, and against what schemas can't say
    Check {
        /// Files, or names that `playbook list` prints
        #[arg(required = true)]
        files: Vec<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run a playbook, or go on with a run that was killed
    Run(Run),
    /// Answer what a run waits for, signed with the approver's keys, and go on with it
    Approve(Approve),
    /// The playbooks that come with this program, and the runs of this repository
    List {
        /// Folder of the repository
        #[arg(default_value = ".")]
        path: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct Run {
    /// A file, or a name that `playbook list` prints
    pub file: String,
    /// Name of the run; one that is known goes on. Default: the playbook's file and the time
    #[arg(long, value_name = "NAME")]
    pub run: Option<String>,
    /// Value of a variable: `role=web` for `__role__`
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    pub variables: Vec<(String, String)>,
    /// File that holds a secret variable's value; it is never written down
    #[arg(long = "secret", value_name = "NAME=FILE", value_parser = pair)]
    pub secrets: Vec<(String, String)>,
    /// A host beside this machine that may be sent requests
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Folder of the repository
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct Approve {
    /// Name of the run
    pub run: String,
    /// Id of the step, or the whole place where it waits more than once
    pub step: String,
    /// Who answers
    #[arg(long, value_name = "NAME")]
    pub by: String,
    /// It was not done, is not approved, or did not happen
    #[arg(long)]
    pub no: bool,
    /// Value of a variable that the step sets
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    pub variables: Vec<(String, String)>,
    /// A host beside this machine that may be sent requests
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Folder of the repository
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Does what was asked: the exit code, and what goes to standard output.
pub fn main(cli: &Cli, command: &Playbook, terminal: &Arc<Terminal>) -> Result<(u8, String), Error> {
    match command {
        Playbook::Check { files, json } => check(files, *json),
        Playbook::Run(args) => {
            let text = playbooks::text(&args.file)?;
            let options = options(cli, &args.path, &args.hosts, terminal)?;
            let now = (options.release.clock)();
            let inputs = Inputs {
                run: args.run.clone().unwrap_or_else(|| run_name(&args.file, now.utc)),
                variables: args.variables.iter().cloned().collect(),
                secrets: args
                    .secrets
                    .iter()
                    .map(|(name, file)| Ok((name.clone(), absolute(file)?)))
                    .collect::<Result<_, Error>>()?,
            };
            let record = playbooks::run(&text, &inputs, &options)?;
            Ok(told(&record, args.json))
        }
        Playbook::Approve(args) => {
            let options = options(cli, &args.path, &args.hosts, terminal)?;
            let now = (options.release.clock)();
            let answer = Answer {
                by: &args.by,
                at: now.utc,
                done: !args.no,
                values: args.variables.iter().cloned().collect::<BTreeMap<_, _>>(),
            };
            let record = playbooks::approve(&args.run, &args.step, &answer, &options)?;
            Ok(told(&record, args.json))
        }
        Playbook::List { path, json } => list(path, *json),
    }
}

pub(crate) fn options(
    cli: &Cli,
    path: &std::path::Path,
    hosts: &[String],
    terminal: &Arc<Terminal>,
) -> Result<Options, Error> {
    let tree = path.canonicalize().map_err(|error| Error::io("open", path, &error))?;
    Ok(Options {
        release: crate::commands::options(cli, &tree, terminal, evidence::Stage::Production)?,
        path: std::env::var("PATH").unwrap_or_default(),
        hosts: hosts.iter().cloned().collect(),
    })
}

fn absolute(file: &str) -> Result<PathBuf, Error> {
    let path = PathBuf::from(file);
    path.canonicalize().map_err(|error| Error::io("open", &path, &error))
}

/// `renew-certificate-20261124T101500Z`
pub(crate) fn run_name(file: &str, now: impl std::fmt::Display) -> String {
    let stem = std::path::Path::new(file)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let stem: String = stem.chars().filter(plain).take(40).collect();
    let now = now.to_string();
    let now = now.split('.').next().unwrap_or_default();
    let time: String = now.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{}-{time}", if stem.is_empty() { "run" } else { &stem })
}

/// `role=web` as `__role__` and `web`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write it like name=value")?;
    let name = if name.starts_with("__") {
        name.to_owned()
    } else {
        format!("__{name}__")
    };
    Ok((name, value.to_owned()))
}

fn check(files: &[String], as_json: bool) -> Result<(u8, String), Error> {
    let (mut lines, mut documents, mut valid) = (Vec::new(), Vec::new(), true);
    for file in files {
        let report = playbooks::check(&playbooks::text(file)?);
        valid &= report.is_valid();
        let place = |path: &str| {
            if path.is_empty() {
                "/".to_owned()
            } else {
                path.to_owned()
            }
        };
        for refusal in &report.refusals {
            lines.push(format!(
                "{file}: {}: {} [schema]",
                place(&refusal.path),
                refusal.sentence
            ));
        }
        for flaw in &report.flaws {
            lines.push(format!("{file}: {}: {} [workflow]", place(&flaw.path), flaw.sentence));
        }
        for limit in &report.limits {
            lines.push(format!(
                "{file}: {}: {} [can't run here]",
                place(&limit.path),
                limit.sentence
            ));
        }
        lines.push(format!(
            "{file}: {}",
            if report.is_valid() { "valid" } else { "not valid" }
        ));
        let flaws = |flaws: &[_]| -> Vec<serde_json::Value> {
            flaws
                .iter()
                .map(|flaw: &pipeline::playbooks::Flaw| json!({"path": flaw.path, "message": flaw.sentence}))
                .collect()
        };
        let refusals: Vec<_> = report
            .refusals
            .iter()
            .map(|refusal| json!({"path": refusal.path, "keyword": refusal.keyword, "message": refusal.sentence}))
            .collect();
        documents.push(json!({"file": file, "valid": report.is_valid(), "refusals": refusals,
            "flaws": flaws(&report.flaws), "limits": flaws(&report.limits)}));
    }
    let text = if as_json {
        json!({"version": 1, "playbooks": documents}).to_string()
    } else {
        lines.join("\n")
    };
    Ok((u8::from(!valid), text))
}

pub(crate) fn told(record: &RunRecord, as_json: bool) -> (u8, String) {
    let (code, status, waiting): (u8, String, &[Waiting]) = match &record.status {
        RunStatus::Succeeded => (0, "succeeded".to_owned(), &[]),
        RunStatus::Failed { reason } => (1, format!("failed: {reason}"), &[]),
        RunStatus::Waiting(places) => (3, "waits for a person".to_owned(), places),
    };
    if as_json {
        let units: Vec<_> = record
            .units
            .iter()
            .map(|unit| json!({"unit": unit.unit, "step": unit.name, "began": unit.began.to_string(), "changed": unit.changed.to_string(), "state": unit.state}))
            .collect();
        let places: Vec<_> = waiting
            .iter()
            .map(|place| json!({"unit": place.unit, "instructions": place.instructions}))
            .collect();
        let document = json!({"version": 1, "run": record.run, "playbook": record.playbook, "status": status,
            "waiting": places, "units": units, "variables": record.variables});
        return (code, document.to_string());
    }
    let mut lines: Vec<String> = record
        .units
        .iter()
        .map(|unit| format!("{:.0}  {}: {}", unit.began, unit.name, unit.state))
        .collect();
    lines.push(format!("run `{}` of `{}` {status}", record.run, record.playbook));
    lines.extend(waiting.iter().map(|place| asked(&record.run, place)));
    (code, lines.join("\n"))
}

fn list(path: &std::path::Path, as_json: bool) -> Result<(u8, String), Error> {
    let (library, runs) = (playbooks::library(), playbooks::runs(path)?);
    let status = |run: &pipeline::playbooks::RunSummary| match &run.ended {
        Some((true, _)) => "succeeded".to_owned(),
        Some((false, reason)) => format!("failed: {reason}"),
        None if run.waiting.is_empty() => "not over".to_owned(),
        None => "waits for a person".to_owned(),
    };
    if as_json {
        let library: Vec<_> = library
            .iter()
            .map(|(name, about)| json!({"name": name, "description": about}))
            .collect();
        let runs: Vec<_> = runs
            .iter()
            .map(|run| json!({"run": run.run, "playbook": run.playbook, "begun": run.begun.to_string(), "status": status(run)}))
            .collect();
        return Ok((0, json!({"version": 1, "playbooks": library, "runs": runs}).to_string()));
    }
    let mut lines: Vec<String> = library
        .iter()
        .map(|(name, about)| format!("{name:<30} {about}"))
        .collect();
    for run in &runs {
        lines.push(format!(
            "run `{}` of `{}`, {:.0}: {}",
            run.run,
            run.playbook,
            run.begun,
            status(run)
        ));
        lines.extend(run.waiting.iter().map(|place| asked(&run.run, place)));
    }
    Ok((0, lines.join("\n")))
}
