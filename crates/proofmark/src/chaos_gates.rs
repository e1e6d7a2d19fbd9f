//! `proofmark chaos gates`: what was planted, what the gates said of it, and what they missed.

use std::sync::Arc;

use evidence::Outcome;
use evidence::predicates::{NotPlanted, PlantResult, PlantRun};
use pipeline::Error;
use pipeline::gate_experiment::{self, Asked, Ran};
use serde_json::{Value, json};

use crate::cli::{self, Cli};
use crate::commands::{folder, options, out, out_json};
use crate::render::Terminal;

pub fn run(cli: &Cli, args: &cli::ChaosGates, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    let asked = Asked {
        only: args.only.clone(),
        seed: args.seed.unwrap_or_else(fresh_seed),
    };
    let options = options(cli, &args.path, terminal, evidence::Stage::Commit)?;
    let ran = gate_experiment::run(&options, &asked)?;
    terminal.done();
    if let Some(unclean) = &ran.unclean {
        for reason in &unclean.reasons {
            terminal.reason(reason);
        }
    }
    if args.json {
        out_json(&ran_json(&ran))?;
    } else {
        out(text(&ran, asked.seed).trim_end())?;
    }
    Ok(pipeline::report::exit_code(ran.outcome()))
}

/// Small enough to be typed again.
fn fresh_seed() -> u64 {
    let bytes = pipeline::random_seed();
    bytes[..4].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte))
}

fn text(ran: &Ran, seed: u64) -> String {
    let mut text = format!("gates of {} {} · seed {seed}\n", ran.name, ran.version);
    if let Some(unclean) = &ran.unclean {
        return format!(
            "{text}\nUNPROVEN  nothing was planted: the tree as it is does not pass stage {}, so a block would say nothing\n",
            unclean.stage
        );
    }
    let evidence = &ran.evidence;
    if !evidence.plants.is_empty() {
        text += &format!(
            "with nothing planted it passed up to {} in {:.1} s\n\n{}",
            evidence.clean,
            ran.clean_seconds,
            table(ran)
        );
    }
    text += &not_applicable(&evidence.not_applicable);
    text += &misses(&evidence.plants);
    text += &not_judged(&evidence.plants);
    text + &answer(ran)
}

/// The answer first: names are long, and few of them matter.
fn table(ran: &Ran) -> String {
    let mut text = format!("{:<9}  {:<11}  {:>6}  plant · by\n", "answer", "stage", "time");
    for (run, seconds) in ran.evidence.plants.iter().zip(&ran.seconds) {
        let (answer, by) = said(run);
        text += &format!(
            "{answer:<9}  {:<11}  {seconds:>4.1} s  {}{by}\n",
            run.stopped.unwrap_or(run.stage),
            name(&run.plant, &run.variant)
        );
    }
    text + "\n"
}

fn name(plant: &str, variant: &str) -> String {
    match variant {
        "" => plant.to_owned(),
        variant => format!("{plant} ({variant})"),
    }
}

fn said(run: &PlantRun) -> (&'static str, String) {
    match run.result {
        PlantResult::Caught if run.undecided => ("held", format!(" · {}", run.expected)),
        PlantResult::Caught => ("caught", format!(" · {}", run.expected)),
        PlantResult::CaughtElsewhere => {
            let by = run.by.join(", ");
            (
                "elsewhere",
                format!(" · {by}, not by {} at {}", run.expected, run.stage),
            )
        }
        PlantResult::Missed => ("MISSED", String::new()),
        PlantResult::NotJudged => ("UNJUDGED", String::new()),
    }
}

fn not_applicable(list: &[NotPlanted]) -> String {
    if list.is_empty() {
        return String::new();
    }
    let mut text = "no place for these in this tree:\n".to_owned();
    for entry in list {
        text += &format!("  {}: {}\n", name(&entry.plant, &entry.variant), entry.reason);
    }
    text + "\n"
}

fn misses(plants: &[PlantRun]) -> String {
    let mut text = String::new();
    for run in plants.iter().filter(|run| run.result == PlantResult::Missed) {
        let fix = gate_experiment::plant(&run.plant).map_or("", |entry| entry.fix);
        text += &format!(
            "missed[plant/{}]: {}\n  = expected: {} at stage {}\n  = to do: {fix}\n  = `proofmark explain plant/{}`\n\n",
            run.plant, run.what, run.expected, run.stage, run.plant
        );
    }
    text
}

fn not_judged(plants: &[PlantRun]) -> String {
    let mut text = String::new();
    for run in plants.iter().filter(|run| run.result == PlantResult::NotJudged) {
        text += &format!("not judged[plant/{}]: {}\n\n", run.plant, run.by.join("; "));
    }
    text
}

fn answer(ran: &Ran) -> String {
    let (missed, planted) = (ran.evidence.missed(), ran.evidence.planted());
    let count = |with: fn(&PlantRun) -> bool| ran.evidence.plants.iter().filter(|run| with(run)).count();
    let rate = match ran.interval {
        Some(interval) => format!(
            "false negatives {missed} of {planted}: {:.1} % (95 % {:.1}-{:.1})",
            missed as f64 * 100.0 / planted as f64,
            interval.low * 100.0,
            interval.high * 100.0
        ),
        None => "false negatives n/a (n = 0)".to_owned(),
    };
    let logged = match (&ran.index, &ran.unlogged) {
        (Some(index), _) => format!(" · log index {index}"),
        (None, Some(reason)) => format!("\nnot logged: {reason}"),
        (None, None) => String::new(),
    };
    let word = match ran.outcome() {
        Outcome::Pass => "PASS",
        Outcome::Fail => "MISSED",
        Outcome::Indeterminate => "UNPROVEN",
    };
    format!(
        "{} caught, {} held as undecided, {} stopped elsewhere, {} not judged\n{word}  {rate}{logged}\n",
        count(|run| run.result == PlantResult::Caught && !run.undecided),
        count(|run| run.result == PlantResult::Caught && run.undecided),
        count(|run| run.result == PlantResult::CaughtElsewhere),
        count(|run| run.result == PlantResult::NotJudged),
    )
}

fn ran_json(ran: &Ran) -> Value {
    let unclean = ran
        .unclean
        .as_ref()
        .map(|unclean| json!({"stage": unclean.stage, "reasons": unclean.reasons}));
    json!({
        "schema": "proofmark.dev/chaos-gates/v0.1",
        "name": ran.name, "version": ran.version,
        "outcome": ran.outcome(),
        "unclean": unclean,
        "missed": ran.evidence.missed(), "planted": ran.evidence.planted(),
        "interval": ran.interval.map(|interval| json!([interval.low, interval.high])),
        "cleanSeconds": ran.clean_seconds, "seconds": ran.seconds,
        "logIndex": ran.index, "unlogged": ran.unlogged,
        "evidence": ran.evidence,
    })
}
