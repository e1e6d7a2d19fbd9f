//! `chaos`: what people see of experiments.

use std::path::Path;
use std::sync::Arc;

use evidence::Outcome;
use evidence::predicates::ChaosExperiment;
use pipeline::Error;
use pipeline::chaos::{self, Plan, Ran, Rehearsed};
use serde_json::{Value, json};

use crate::cli::{self, Cli};
use crate::commands::{folder, options, out, out_json};
use crate::render::Terminal;

pub fn run(cli: &Cli, command: &cli::Chaos, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    match command {
        cli::Chaos::List { path, json } => list(cli, path, *json, terminal),
        cli::Chaos::Doctor { json } => doctor(*json),
        cli::Chaos::New(args) => new(args),
        cli::Chaos::Plan(args) => plan(cli, args, terminal),
        cli::Chaos::Run(args) if args.ctk_compat => crate::chaos_ctk::run(args, cli.quiet, cli.verbose),
        cli::Chaos::Run(args) => experiment(cli, args, terminal),
        cli::Chaos::Next(args) => crate::chaos_next::run(cli, args, terminal),
        cli::Chaos::Drill(args) => crate::chaos_drill::run(cli, args, terminal),
        cli::Chaos::Study(args) => {
            refuse_stated_time(cli)?;
            crate::chaos_study::run(cli, args, terminal)
        }
        cli::Chaos::Gates(args) => crate::chaos_gates::run(cli, args, terminal),
        cli::Chaos::Report(args) => crate::chaos_report::run(cli, args),
        cli::Chaos::Approve(args) => approve(cli, args, terminal),
        cli::Chaos::Proxy(args) => crate::chaos_proxy::run(args, terminal),
        cli::Chaos::Stop { path } => stop(path),
        cli::Chaos::Undo { path, leave } => undo(cli, path, *leave, terminal),
    }
}

fn list(cli: &Cli, path: &Path, as_json: bool, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(path)?;
    let rehearsed = chaos::rehearsed(&options(cli, path, terminal, evidence::Stage::Staging)?)?;
    if as_json {
        let entries: Vec<Value> = rehearsed.iter().map(rehearsed_json).collect();
        out_json(&json!({"schema": "proofmark.dev/chaos-list/v0.1", "faults": entries}))?;
        return Ok(0);
    }
    let width = rehearsed.iter().map(|fault| fault.fault.len()).max().unwrap_or(0);
    out(&format!(
        "{:<width$}  {:<15}  undone here (95 % interval, median)",
        "fault", "undo class"
    ))?;
    for fault in &rehearsed {
        out(&format!(
            "{:<width$}  {:<15}  {}",
            fault.fault,
            fault.undo_class,
            history(fault)
        ))?;
    }
    out("")?;
    out("`proofmark explain chaos/FAULT` prints its page, `proofmark chaos new FAULT` an experiment to begin with.")?;
    Ok(0)
}

fn history(fault: &Rehearsed) -> String {
    let (Some(interval), attempted) = (fault.interval, fault.attempted) else {
        return "never rehearsed: counts as missing".to_owned();
    };
    let median = fault
        .undo_us_median
        .map_or_else(String::new, |us| format!(", {:.1} ms", us as f64 / 1000.0));
    format!(
        "{} of {attempted} ({:.0}-{:.0} %{median})",
        fault.succeeded,
        interval.low * 100.0,
        interval.high * 100.0
    )
}

fn rehearsed_json(fault: &Rehearsed) -> Value {
    json!({
        "fault": fault.fault,
        "undoClass": fault.undo_class.name(),
        "attempted": fault.attempted,
        "succeeded": fault.succeeded,
        "interval": fault.interval.map(|interval| json!([interval.low, interval.high])),
        "undoUsMedian": fault.undo_us_median,
    })
}

fn doctor(as_json: bool) -> Result<u8, Error> {
    let capabilities = chaos::capabilities();
    if as_json {
        let all: Vec<Value> = capabilities
            .iter()
            .map(|capability| {
                json!({
                    "name": capability.name,
                    "available": capability.available,
                    "reason": capability.reason,
                    "neededBy": capability.needed_by,
                    "instead": capability.instead,
                })
            })
            .collect();
        out_json(&json!({"schema": "proofmark.dev/chaos-doctor/v0.1", "capabilities": all}))?;
        return Ok(0);
    }
    let width = capabilities
        .iter()
        .map(|capability| capability.name.chars().count())
        .max()
        .unwrap_or(0);
    for capability in &capabilities {
        let word = if capability.available { "yes" } else { "no " };
        out(&format!("{word}  {:<width$}  {}", capability.name, capability.reason))?;
        if capability.available {
            continue;
        }
        if !capability.needed_by.is_empty() {
            out(&format!(
                "     {:<width$}  can't be done: {}",
                "",
                capability.needed_by.join(", ")
            ))?;
        }
        if let Some(instead) = capability.instead {
            out(&format!("     {:<width$}  instead: {instead}", ""))?;
        }
    }
    out("")?;
    out(
        "`proofmark chaos list` has the faults; what a target needs is said before anything is changed (`chaos plan`, `run`).",
    )?;
    Ok(0)
}

fn new(args: &cli::ChaosNew) -> Result<u8, Error> {
    out(chaos::new(&args.fault, args.target.as_deref())?.trim_end())?;
    Ok(0)
}

fn plan(cli: &Cli, args: &cli::ChaosFile, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    let plan = chaos::plan(
        &options(cli, &args.path, terminal, evidence::Stage::Staging)?,
        &args.file,
    )?;
    if args.json {
        out_json(&plan_json(&plan))?;
    } else {
        out(visible(&plan_text(&plan)).trim_end())?;
    }
    Ok(if plan.objections.is_empty() { 0 } else { 3 })
}

fn plan_text(plan: &Plan) -> String {
    let mut text = format!(
        "{}\nsha256:{}; watched for {} s at most, everything undone within {} s\n",
        plan.title,
        plan.digest.short(),
        plan.window_s,
        plan.deadline_s
    );
    for (number, action) in plan.actions.iter().enumerate() {
        text += &format!(
            "\n{}. {}\n   do     {}\n   undo   {} ({})\n",
            number + 1,
            action.fault,
            action.action,
            action.undo,
            action.undo_class
        );
    }
    if !plan.detectors.is_empty() {
        text += &format!("\nnoticed by: {}\n", plan.detectors.join(", "));
    }
    if plan.objections.is_empty() {
        text += "\nnothing stands against it; steady state and detectors are looked at when it runs\n";
    } else {
        text += "\nit may not run:\n";
        for objection in &plan.objections {
            text += &format!("  - {objection}\n");
        }
    }
    text
}

fn plan_json(plan: &Plan) -> Value {
    let actions: Vec<Value> = plan
        .actions
        .iter()
        .map(|action| {
            json!({
                "fault": action.fault,
                "action": action.action,
                "undo": action.undo,
                "undoClass": action.undo_class.name(),
            })
        })
        .collect();
    json!({
        "schema": "proofmark.dev/chaos-plan/v0.1",
        "title": plan.title,
        "digest": plan.digest,
        "deadlineSeconds": plan.deadline_s,
        "windowSeconds": plan.window_s,
        "actions": actions,
        "detectors": plan.detectors,
        "objections": plan.objections,
    })
}

/// What is injected is injected now, whatever time somebody states.
pub(crate) fn refuse_stated_time(cli: &Cli) -> Result<(), Error> {
    match cli.as_of {
        None => Ok(()),
        Some(_) => Err(Error::usage(
            "`--as-of` states a time to judge at; an experiment runs, and is approved, now",
            "leave it out",
        )),
    }
}

fn experiment(cli: &Cli, args: &crate::chaos_ctk::Run, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    refuse_stated_time(cli)?;
    let ran = chaos::run(
        &options(cli, &args.path, terminal, evidence::Stage::Staging)?,
        Path::new(&args.source),
    );
    terminal.done();
    let ran = ran?;
    if args.json {
        out_json(&json!({
            "schema": "proofmark.dev/chaos-run/v0.1",
            "outcome": word(ran.outcome),
            "logIndex": ran.index,
            "evidence": ran.evidence,
        }))?;
    } else {
        out(visible(&ran_text(&ran)).trim_end())?;
    }
    Ok(match ran.outcome {
        Outcome::Pass => 0,
        Outcome::Fail => 1,
        Outcome::Indeterminate => 3,
    })
}

/// The same without what a terminal would obey: a title is whoever wrote it.
pub(crate) fn visible(text: &str) -> String {
    let shown = |character: char| {
        if character.is_control() && character != '\n' {
            '\u{fffd}'
        } else {
            character
        }
    };
    text.chars().map(shown).collect()
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Pass => "pass",
        Outcome::Fail => "fail",
        Outcome::Indeterminate => "indeterminate",
    }
}

fn ran_text(ran: &Ran) -> String {
    let evidence = &ran.evidence;
    let mut text = format!("{}\n", evidence.title);
    for fault in &evidence.faults {
        let bit = if fault.bit { "bit" } else { "did not bite" };
        let undone = if fault.undone {
            format!("undone in {}", duration(fault.undo_us))
        } else {
            "NOT undone: run `proofmark chaos undo`".to_owned()
        };
        text += &format!("  {:<28} {:<15}  {bit}; {undone}\n", fault.fault, fault.undo_class);
    }
    if !evidence.faults.is_empty() {
        text += &measured(evidence);
    }
    for note in &evidence.notes {
        text += &format!("failed: {note}\n");
    }
    for reason in &evidence.unknown {
        text += &format!("unknown: {reason}\n");
    }
    let verdict = match ran.outcome {
        Outcome::Pass => "PASS",
        Outcome::Fail => "FAIL",
        Outcome::Indeterminate if evidence.faults.is_empty() => "NOT RUN: nothing was injected",
        Outcome::Indeterminate => "INDETERMINATE",
    };
    text + &format!("{verdict} · log index {}\n", ran.index)
}

fn measured(evidence: &ChaosExperiment) -> String {
    let time = |us: Option<u64>, never: &str| us.map_or_else(|| never.to_owned(), duration);
    let detected = if evidence.detectors.is_empty() {
        "not watched for".to_owned()
    } else {
        time(evidence.detected_us, "never, in the time that was watched")
    };
    let count = |what: &str| evidence.workload.get(what).copied().unwrap_or(0);
    format!(
        "  detected   {detected}\n  recovered  {}\n  requests   {} sent, {} served, {} refused, {} failed\n  steady     before {}, after {}\n",
        if count("sent") == 0 {
            "not watched for".to_owned()
        } else {
            time(evidence.recovered_us, "not by itself, in the time that was watched")
        },
        count("sent"),
        count("served"),
        count("refused"),
        count("failed"),
        yes(evidence.steady_before),
        yes(evidence.steady_after),
    )
}

fn yes(it_is: bool) -> &'static str {
    if it_is { "yes" } else { "no" }
}

pub(crate) fn duration(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}

fn approve(cli: &Cli, args: &cli::ChaosApprove, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    refuse_stated_time(cli)?;
    let what = match args.what {
        cli::ChaosFor::Ethics => chaos::For::Ethics,
        cli::ChaosFor::Legal => chaos::For::Legal,
        cli::ChaosFor::Run => chaos::For::Run,
    };
    let options = options(cli, &args.path, terminal, evidence::Stage::Staging)?;
    out(&chaos::approve(&options, &args.file, what, &args.reason, args.expires)?)?;
    Ok(0)
}

fn stop(path: &Path) -> Result<u8, Error> {
    folder(path)?;
    let stopped = chaos::stop(path)?;
    for left in &stopped.left {
        out(&format!("NOT undone: {left}"))?;
    }
    out(match (stopped.ran, stopped.left.is_empty()) {
        (true, true) => "stopped, and everything undone",
        (false, true) => "no experiment runs here, and nothing is left to undo",
        (true, false) => "stopped; run `proofmark chaos undo` once the target answers",
        (false, false) => "no experiment runs here; run `proofmark chaos undo`",
    })?;
    Ok(u8::from(!stopped.left.is_empty()))
}

fn undo(cli: &Cli, path: &Path, leave: Option<u64>, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(path)?;
    let options = options(cli, path, terminal, evidence::Stage::Commit)?;
    if let Some(entry) = leave {
        out(&pipeline::release::leave(&options, entry)?)?;
        return Ok(0);
    }
    pipeline::release::undo(&options)?;
    out("nothing that was injected is left")?;
    Ok(0)
}
