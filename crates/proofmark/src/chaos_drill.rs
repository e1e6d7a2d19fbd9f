//! `proofmark chaos drill`: a playbook rehearsed with people, and what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use evidence::predicates::{Drill, DrillAction};
use pipeline::Error;
use pipeline::playbooks::drill::{self, Asked, Closed};
use pipeline::playbooks::{Inputs, RunStatus};
use serde_json::json;

use crate::chaos::{duration, refuse_stated_time, visible};
use crate::cli::Cli;
use crate::commands::{folder, out, out_json};
use crate::playbook::{options, pair, run_name, told};
use crate::render::Terminal;

const HINT: &str = "`proofmark chaos drill PLAYBOOK` begins one, `proofmark chaos drill --close RUN` ends it";

#[derive(Debug, Args)]
pub struct ChaosDrill {
    /// A file, or a name that `playbook list` prints
    #[arg(required_unless_present = "close", conflicts_with = "close")]
    pub playbook: Option<String>,
    /// Inject this experiment at the announcement
    #[arg(long, value_name = "FILE", conflicts_with = "close")]
    pub experiment: Option<PathBuf>,
    /// What people are told
    #[arg(long, value_name = "TEXT", default_value = "this is a drill")]
    pub announce: String,
    /// Name of the drill; one that is known goes on. Default: the playbook's file and the time
    #[arg(long, value_name = "NAME", conflicts_with = "close")]
    pub run: Option<String>,
    /// Really do what the playbook has machines do; otherwise it is only said
    #[arg(long, conflicts_with = "close")]
    pub live: bool,
    /// Value of a variable: `role=web` for `__role__`
    #[arg(long = "var", value_name = "NAME=VALUE", value_parser = pair)]
    pub variables: Vec<(String, String)>,
    /// A host beside this machine that may be sent requests, with --live
    #[arg(long = "host", value_name = "HOST")]
    pub hosts: Vec<String>,
    /// Wait so long for people; the drill goes on without this command too. Default: until it is over
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,
    /// Sign and log the after-action record of this drill
    #[arg(long, value_name = "RUN")]
    pub close: Option<String>,
    /// What was noticed; may be given several times
    #[arg(long, value_name = "TEXT", requires = "close")]
    pub note: Vec<String>,
    /// What is to be done, and by whom: `ann=page the second shift too`; may be given several times
    #[arg(long, value_name = "OWNER=TEXT", value_parser = owned, requires = "close")]
    pub action: Vec<(String, String)>,
    /// Folder of the repository
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

pub fn run(cli: &Cli, args: &ChaosDrill, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    refuse_stated_time(cli)?;
    match (&args.close, &args.playbook) {
        (Some(run), _) => close(cli, args, run, terminal),
        (None, Some(playbook)) => hold(cli, args, playbook, terminal),
        (None, None) => Err(Error::usage("no playbook is named", HINT)),
    }
}

fn hold(cli: &Cli, args: &ChaosDrill, playbook: &str, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    let options = options(cli, &args.path, &args.hosts, terminal)?;
    let now = (options.release.clock)();
    let run = args
        .run
        .clone()
        .unwrap_or_else(|| format!("drill-{}", run_name(playbook, now.utc)));
    let asked = Asked {
        playbook: playbook.to_owned(),
        inputs: Inputs {
            run: run.clone(),
            variables: args.variables.iter().cloned().collect(),
            ..Inputs::default()
        },
        announcement: args.announce.clone(),
        live: args.live,
        experiment: args.experiment.clone(),
        wait: args.wait.map(Duration::from_secs),
    };
    let kind = if args.live {
        "machine actions are done"
    } else {
        "machine actions are rehearsed, not done"
    };
    let tell = || match args.json {
        true => Ok(()),
        false => out(&visible(&format!("drill `{run}`: {} ({kind})", args.announce))),
    };
    let record = drill::hold(&asked, &options, tell);
    terminal.done();
    let record = record?;
    let (_, text) = told(&record, args.json);
    out(&text)?;
    if matches!(record.status, RunStatus::Waiting(_)) {
        return Ok(3);
    }
    if !args.json {
        out(&format!(
            "hint: `proofmark chaos drill --close {run} --note … --action OWNER=…` writes the after-action record"
        ))?;
    }
    Ok(u8::from(matches!(record.status, RunStatus::Failed { .. })))
}

fn close(cli: &Cli, args: &ChaosDrill, run: &str, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    let options = options(cli, &args.path, &args.hosts, terminal)?;
    let actions: Vec<DrillAction> = args
        .action
        .iter()
        .map(|(owner, action)| DrillAction {
            owner: owner.clone(),
            action: action.clone(),
        })
        .collect();
    let closed = drill::close(run, &args.note, &actions, &options)?;
    if args.json {
        out_json(&json!({
            "schema": "proofmark.dev/chaos-drill/v0.1",
            "logIndex": closed.index,
            "drill": closed.drill,
        }))?;
    } else {
        out(visible(&text(&closed)).trim_end())?;
    }
    Ok(0)
}

fn text(closed: &Closed) -> String {
    let drill = &closed.drill;
    let kind = if drill.live { "live" } else { "rehearsed" };
    let mut text = format!(
        "{}: drill `{}` of {:.0}, {kind}: {}\n",
        drill.name, drill.run, drill.started, drill.outcome
    );
    for (name, word) in [
        ("notified", "first person asked"),
        ("acknowledged", "first signed answer"),
        ("over", "playbook over"),
        ("closed", "closed"),
    ] {
        let time = drill
            .milestones_us
            .get(name)
            .map_or_else(|| "never".to_owned(), |us| duration(*us));
        text += &format!("  {word:<20} {time}\n");
    }
    if drill.wall_clock {
        text += "  the machine was restarted meanwhile: what came after is measured by UTC\n";
    }
    text += &steps(drill);
    if let Some(experiment) = &drill.experiment {
        text += &match (&experiment.index, &experiment.problem) {
            (Some(index), _) => format!("experiment {}: log index {index}\n", experiment.file),
            (None, problem) => format!(
                "experiment {}: {}\n",
                experiment.file,
                problem.as_deref().unwrap_or("came to nothing")
            ),
        };
    }
    let people: Vec<String> = drill
        .participants
        .iter()
        .map(|person| format!("{} ({} keys)", person.name, person.keys.len()))
        .collect();
    text += &format!(
        "took part: {}\n",
        if people.is_empty() {
            "nobody answered".to_owned()
        } else {
            people.join(", ")
        }
    );
    for deviation in &drill.deviations {
        text += &format!("deviation [{}]: {}\n", deviation.kind, deviation.what);
    }
    for note in &drill.notes {
        text += &format!("note: {note}\n");
    }
    for action in &drill.actions {
        text += &format!("to do, {}: {}\n", action.owner, action.action);
    }
    text + &format!("proof: log index {}\n", closed.index)
}

fn steps(drill: &Drill) -> String {
    let mut text = String::new();
    for step in &drill.taken {
        let took = step.done_us.map_or_else(
            || "not done".to_owned(),
            |done| format!("took {}", duration(done.saturating_sub(step.began_us))),
        );
        let by = if step.by.is_empty() { "nobody" } else { &step.by };
        text += &format!(
            "  at {:<9} {}: {}, {took}, by {by}\n",
            duration(step.began_us),
            step.name,
            step.outcome
        );
    }
    text
}

/// `ann=page the second shift`.
fn owned(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((owner, action)) if !owner.trim().is_empty() && !action.trim().is_empty() => {
            Ok((owner.trim().to_owned(), action.trim().to_owned()))
        }
        _ => Err("write it like OWNER=what is to be done".to_owned()),
    }
}
