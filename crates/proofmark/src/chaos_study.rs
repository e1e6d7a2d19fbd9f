//! `chaos study`: what people see of a study.

use std::sync::Arc;

use evidence::predicates::{StudyArm, StudyArmResult, StudyEstimate, StudyPlan, StudyTest};
use pipeline::Error;
use pipeline::chaos::{self, Planned, Studied};
use serde_json::json;

use crate::chaos::visible;
use crate::cli::{self, Cli};
use crate::commands::{folder, options, out, out_json};
use crate::render::Terminal;

pub fn run(cli: &Cli, args: &cli::ChaosStudy, terminal: &Arc<Terminal>) -> Result<u8, Error> {
    folder(&args.path)?;
    let options = options(cli, &args.path, terminal, evidence::Stage::Staging)?;
    if args.plan {
        let planned = chaos::study_plan(&options, &args.file)?;
        if args.json {
            out_json(&json!({
                "schema": "proofmark.dev/chaos-study-plan/v0.1",
                "digest": planned.plan.canonical_digest(),
                "plan": planned.plan,
                "logIndex": planned.index,
                "done": planned.done,
                "objections": planned.objections,
            }))?;
        } else {
            out(visible(&planned_text(&planned)).trim_end())?;
        }
        return Ok(if planned.objections.is_empty() { 0 } else { 3 });
    }
    let studied = chaos::study(&options, &args.file);
    terminal.done();
    let studied = studied?;
    if args.json {
        out_json(&json!({
            "schema": "proofmark.dev/chaos-study/v0.1",
            "result": studied.result,
            "logIndex": studied.index,
            "stopped": studied.stopped,
        }))?;
    } else {
        out(visible(&studied_text(&studied)).trim_end())?;
    }
    // A study measures and judges nothing: an answer is a pass, whichever it is.
    Ok(if studied.index.is_some() && studied.result.test.is_some() {
        0
    } else {
        3
    })
}

fn head(plan: &StudyPlan) -> String {
    let control = match plan.design.as_str() {
        "sham" => "the same with nothing injected".to_owned(),
        "aa" => "the same again".to_owned(),
        _ => plan.control.experiment.clone(),
    };
    format!(
        "{} · plan sha256:{}\n  treatment   {}\n  control     {control}\n  compared    when it is {}, within {} s\n",
        plan.title,
        plan.canonical_digest().short(),
        plan.treatment.experiment,
        plan.outcome,
        plan.window_us / 1_000_000
    )
}

fn planned_text(planned: &Planned) -> String {
    let plan = &planned.plan;
    let runs: usize = plan.order.iter().map(Vec::len).sum();
    let mut text = head(plan);
    text += &format!(
        "  order       {} blocks, {runs} runs, drawn from seed {} (T treatment, C control)\n",
        plan.order.len(),
        plan.seed
    );
    let letter = |arm: &StudyArm| if *arm == StudyArm::Treatment { 'T' } else { 'C' };
    let blocks: Vec<String> = plan
        .order
        .iter()
        .map(|block| block.iter().map(letter).collect())
        .collect();
    for line in blocks.chunks(8) {
        text += &format!("              {}\n", line.join(" "));
    }
    text += &format!("  judged by   {}\n", plan.analysis.replace("; ", "\n              "));
    text += &format!(
        "  finds at alpha {}, if the control's is {} in {:.0} % of its runs:\n",
        plan.alpha,
        plan.outcome,
        plan.expected_share * 100.0
    );
    for row in &plan.power {
        text += &format!(
            "    a treatment {} times as fast   in {:.0} % of studies\n",
            row.hazard_ratio,
            row.power * 100.0
        );
    }
    text += &match planned.index {
        Some(index) => format!(
            "{} of {runs} runs are there; the plan is log index {index}\n",
            planned.done
        ),
        None => "nothing is logged yet; the plan will be, before the first run\n".to_owned(),
    };
    if !planned.objections.is_empty() {
        text += "it may not run:\n";
        for objection in &planned.objections {
            text += &format!("  - {objection}\n");
        }
    }
    text
}

fn studied_text(studied: &Studied) -> String {
    let (plan, result) = (&studied.plan, &studied.result);
    let mut text = head(plan);
    for (arm, figures) in &result.arms {
        text += &arm_text(arm.name(), figures, plan);
    }
    for deviation in &result.deviations {
        text += &format!("not as planned: {deviation}\n");
    }
    if result.missing > 0 {
        text += &format!("{} of {} runs are missing\n", result.missing, result.planned);
    }
    if let Some(reason) = &studied.stopped {
        text += &format!("stopped: {reason}\n");
    }
    text + &match (&result.test, studied.index) {
        (Some(test), Some(index)) => format!(
            "{} · log index {index}, plan {}\n",
            test_text(test, plan),
            result.plan_index
        ),
        (None, Some(index)) => format!("NO ANSWER: too few runs of known outcome for a p · log index {index}\n"),
        (_, None) => "NOT COMPLETE: the same command goes on where it stopped\n".to_owned(),
    }
}

fn arm_text(name: &str, arm: &StudyArmResult, plan: &StudyPlan) -> String {
    let unknown = if arm.unknown > 0 {
        format!(", {} unknown", arm.unknown)
    } else {
        String::new()
    };
    let mut text = format!(
        "  {name:<10}  {} in {} of {} runs{unknown}\n",
        plan.outcome, arm.events, arm.n
    );
    if let Some(raw) = &arm.raw {
        let times: Vec<String> = raw
            .iter()
            .map(|time| time.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds:.3} s")))
            .collect();
        let times = if times.is_empty() {
            "n/a (n = 0)".to_owned()
        } else {
            times.join(", ")
        };
        return text + &format!("              {times}\n");
    }
    let share = |share: f64| format!("{:.0} %", share * 100.0);
    let seconds = |seconds: f64| format!("{seconds:.3} s");
    text += &estimate_text("share", arm.probability.as_ref(), &share);
    text += &estimate_text("median", arm.median.as_ref(), &seconds);
    text += &estimate_text("mean in window", arm.restricted_mean.as_ref(), &seconds);
    text
}

fn estimate_text(what: &str, estimate: Option<&StudyEstimate>, shown: &dyn Fn(f64) -> String) -> String {
    let Some(estimate) = estimate else { return String::new() };
    let or_beyond = |value: Option<f64>| value.map_or_else(|| "not reached".to_owned(), shown);
    let interval = match (estimate.low, estimate.high) {
        (None, None) => String::new(),
        (low, high) => format!(" (95 % {} to {})", or_beyond(low), or_beyond(high)),
    };
    format!("              {what:<14}  {}{interval}\n", or_beyond(estimate.value))
}

fn test_text(test: &StudyTest, plan: &StudyPlan) -> String {
    let faster = if test.excess > 0.0 { "faster" } else { "slower" };
    let unknown = test.if_unknown.map_or_else(String::new, |(low, high)| {
        format!(", {low:.4} to {high:.4} by what the unknown runs were")
    });
    let p = format!("p = {:.4} ({}{unknown}) at alpha {}", test.p, test.method, plan.alpha);
    if test.differs {
        format!("DIFFERS: the treatment is {faster}, {p}")
    } else {
        format!("NO DIFFERENCE FOUND: {p}; that is not the same as none (`--plan` says what would be found)")
    }
}
