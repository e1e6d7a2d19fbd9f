//! `proofmark chaos next`: what to run next, and each number that it was chosen by.

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use pipeline::Error;
use pipeline::chaos::next::{self, Asked, Factors, Next, Pick, Reason};
use serde_json::{Value, json};

use crate::chaos::visible;
use crate::cli::Cli;
use crate::commands::{folder, options, out, out_json};
use crate::render::Terminal;

/// Groups that are shown of each: the ones that say most.
const SHARES_MAX: usize = 4;

#[derive(Debug, Args)]
pub struct ChaosNext {
    /// Folder of proofmark.toml
    #[arg(long, default_value = ".", value_name = "FOLDER")]
    pub path: PathBuf,
    /// Choose among the experiments of this folder; default: staging.experiments and `experiments/`
    #[arg(long, value_name = "FOLDER")]
    pub experiments: Option<PathBuf>,
    /// What is drawn is made from this number; default: made of the logged statements, and printed
    #[arg(long)]
    pub seed: Option<u64>,
    /// How many are chosen; default: `runs` of [chaos.choice], or else 3
    #[arg(short = 'n', long, value_name = "NUMBER")]
    pub number: Option<usize>,
    /// Read only so many entries of the log, as an earlier choice did
    #[arg(long, value_name = "ENTRIES")]
    pub log_size: Option<u64>,
    /// One JSON document on stdout
    #[arg(long)]
    pub json: bool,
}

pub fn run(cli: &Cli, args: &ChaosNext, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    let asked = Asked {
        seed: args.seed,
        count: args.number,
        folder: args.experiments.clone(),
        log_size: args.log_size,
    };
    let options = options(cli, &args.path, terminal, evidence::Stage::Staging)?;
    let next = next::next(&options, &asked)?;
    if args.json {
        out_json(&next_json(&next))?;
    } else {
        out(visible(&text(&next)).trim_end())?;
    }
    Ok(0)
}

fn text(next: &Next) -> String {
    let choice = &next.choice;
    let mut text = format!(
        "{} of {} experiments, by {} runs in {} log entries · seed {}\n",
        choice.picks.len(),
        choice.allowed + choice.refused.len() as u64,
        next.runs,
        next.log_size,
        choice.seed
    );
    for (number, pick) in choice.picks.iter().enumerate() {
        text += &format!("\n{}. {}\n{}", number + 1, pick.path, explained(pick, next));
    }
    if choice.picks.is_empty() {
        text += "\nnothing may be proposed\n";
    }
    if !choice.refused.is_empty() {
        text += "\nnever proposed, whatever is learnt:\n";
        for (path, objections) in &choice.refused {
            text += &format!("  {path}\n");
            for objection in objections {
                text += &format!("    - {objection}\n");
            }
        }
    }
    for (path, problem) in &next.unread {
        text += &format!("\nnot read: {path}: {problem}\n");
    }
    if !choice.uncovered.is_empty() {
        text += &format!(
            "\nno experiment that may be proposed stands for {}\n",
            choice.uncovered.join(", ")
        );
    }
    if let Some(short) = &choice.short {
        text += &format!("\nthe rule can't be kept: {short}\n");
    }
    text + &format!(
        "\nthe same again: --seed {} --log-size {} --as-of {} · `proofmark explain chaos/next`\n",
        choice.seed, next.log_size, next.at
    )
}

/// Why it was picked, and each factor's number.
fn explained(pick: &Pick, next: &Next) -> String {
    let factors = &pick.factors;
    let mut text = match &pick.reason {
        Reason::Score => String::new(),
        Reason::Due { technique, last } => format!(
            "   due          {technique} runs at least once in {} releases{}\n",
            next.settings.releases,
            last.map_or_else(
                || "; it never ran".to_owned(),
                |last| format!("; it ran {} ago", releases(next.choice.release.saturating_sub(last)))
            )
        ),
    };
    let _ = writeln!(
        text,
        "   score        {:.4} = {:.2} risk × {:.2} prevalence × {:.3} draw × {:.2} uncertainty ÷ {:.2} cost",
        factors.score,
        factors.risk,
        factors.counted(),
        factors.draw,
        factors.uncertainty,
        factors.cost
    );
    let _ = writeln!(
        text,
        "   prevalence   {} weighs {:.2} ({})",
        factors.prevalence.technique, factors.prevalence.weight, factors.prevalence.source
    );
    let _ = writeln!(
        text,
        "   draw         from Beta({:.1}, {:.1}), mean {:.3}: neighbours say {:.3}, own runs {:.1}",
        factors.belief.beta.a,
        factors.belief.beta.b,
        factors.belief.beta.mean(),
        factors.belief.neighbours,
        factors.belief.runs
    );
    for share in said(factors) {
        let _ = writeln!(
            text,
            "                {}: {:.1} of {:.1} failed, a hole with {:.0} %",
            share.group,
            share.failed,
            share.runs,
            share.hole * 100.0
        );
    }
    if let Some(index) = factors.known {
        let _ = writeln!(
            text,
            "   known        it failed in this release (log index {index}): to be put right first"
        );
    }
    if let Some((path, score)) = &pick.runner_up {
        let _ = writeln!(text, "   runner-up    {path} ({score:.4})");
    }
    text
}

/// The groups that say most, the surest first.
fn said(factors: &Factors) -> Vec<&next::Share> {
    let mut shares: Vec<_> = factors.belief.shares.iter().collect();
    shares.sort_by(|a, b| b.hole.total_cmp(&a.hole).then_with(|| a.group.cmp(&b.group)));
    shares.truncate(SHARES_MAX);
    shares
}

fn releases(number: u64) -> String {
    match number {
        1 => "1 release".to_owned(),
        number => format!("{number} releases"),
    }
}

fn next_json(next: &Next) -> Value {
    let choice = &next.choice;
    let picks: Vec<Value> = choice.picks.iter().map(pick_json).collect();
    let refused = choice.refused.iter();
    let refused: Vec<Value> = refused
        .map(|(path, objections)| json!({"experiment": path, "objections": objections}))
        .collect();
    let unread = next.unread.iter();
    let unread: Vec<Value> = unread
        .map(|(path, problem)| json!({"file": path, "problem": problem}))
        .collect();
    json!({
        "schema": "proofmark.dev/chaos-next/v0.1",
        "seed": choice.seed,
        "logSize": next.log_size,
        "at": next.at,
        "runs": next.runs,
        "release": choice.release,
        "rule": {"releases": next.settings.releases, "runs": next.settings.runs, "short": choice.short},
        "rungMax": next.settings.rung_max.name(),
        "picks": picks,
        "allowed": choice.allowed,
        "refused": refused,
        "unread": unread,
        "uncovered": choice.uncovered,
    })
}

fn pick_json(pick: &Pick) -> Value {
    let factors = &pick.factors;
    let shares = factors.belief.shares.iter();
    let shares: Vec<Value> = shares
        .map(|share| json!({"group": share.group, "failed": share.failed, "runs": share.runs, "hole": share.hole}))
        .collect();
    let due = match &pick.reason {
        Reason::Score => None,
        Reason::Due { technique, last } => Some(json!({"technique": technique, "last": last})),
    };
    json!({
        "experiment": pick.path,
        "score": factors.score,
        "due": due,
        "factors": {
            "risk": factors.risk,
            "prevalence": factors.counted(),
            "draw": factors.draw,
            "uncertainty": factors.uncertainty,
            "cost": factors.cost,
        },
        "prevalence": {
            "technique": factors.prevalence.technique,
            "weight": factors.prevalence.weight,
            "source": factors.prevalence.source,
        },
        "belief": {
            "a": factors.belief.beta.a,
            "b": factors.belief.beta.b,
            "neighbours": factors.belief.neighbours,
            "ownRuns": factors.belief.runs,
            "groups": shares,
        },
        "knownAt": factors.known,
        "seconds": factors.seconds,
        "runnerUp": pick.runner_up.as_ref().map(|(path, score)| json!({"experiment": path, "score": score})),
    })
}
