//! `soak studies`: simulated studies through the analysis that `chaos study` logs. Where both arms are the same, 4 to
//! 6 % may differ at alpha 0.05; where the treatment is faster, as many must as the plan's own power table says.

use std::collections::BTreeMap;

use chaos::Experiment;
use chaos::study::{Study, analyse};
use evidence::predicates::{ChaosExperiment, FaultRun, StudyArm, StudyPlan};
use statistics::{Random, normal_sf};

use crate::Flags;
use crate::campaigns::Delays;

/// Blocks and their size.
const DESIGNS: [(u64, u64); 9] = [
    (6, 2),
    (3, 4),
    (4, 4),
    (3, 6),
    (6, 4),
    (5, 8),
    (10, 4),
    (16, 4),
    (25, 4),
];
/// Of which the power is looked at as well.
const POWERED: [(u64, u64); 5] = [(4, 4), (6, 4), (5, 8), (10, 4), (25, 4)];
/// Studies for one figure of power, by those that the campaign was asked for.
const POWER_TIMES: u64 = 4;
/// Of the runs of an arm that is not treated, so many per cent are noticed within the window.
const NOTICED_PER_CENT: u64 = 70;
/// What a test at 5 % may find where nothing is, in per cent.
const LEVEL: (f64, f64) = (4.0, 6.0);
/// What power may be off its table by, in points.
const POWER_POINTS_MAX: f64 = 3.0;
/// From so many studies on the bounds hold as they are.
const STRICT_FROM: u64 = 2_000;
const WINDOW_SECONDS: u64 = 60;

pub fn run(flags: &Flags) -> Result<(), String> {
    let (runs, seed) = (flags.number("--runs", 2_000)?, flags.number("--seed", 1)?);
    let mut failures = Vec::new();
    level(runs, seed, &mut failures)?;
    let studies = power(runs, seed, &mut failures)?;
    for failure in &failures {
        println!("{failure}");
    }
    println!(
        "{runs} studies of the same twice, {studies} of a difference, {} failures",
        failures.len()
    );
    if failures.is_empty() {
        Ok(())
    } else {
        Err(format!("{} failures", failures.len()))
    }
}

/// Studies in which nothing differs: delays of every kind, some never noticed, blocks that drift.
fn level(runs: u64, seed: u64, failures: &mut Vec<String>) -> Result<(), String> {
    let plans: Vec<(Study, StudyPlan)> = DESIGNS
        .iter()
        .map(|design| planned(*design, "aa = true"))
        .collect::<Result<_, _>>()?;
    let mut found: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for number in 0..runs {
        let mut random = Random::new(seed.wrapping_add(number)).fork();
        let design = (number % DESIGNS.len() as u64) as usize;
        let plan = drawn(&plans[design], &mut random);
        let delays = Delays::ALL[random.index(Delays::ALL.len())];
        let drift: Vec<f64> = plan.order.iter().map(|_| (0.5 * random.normal()).exp()).collect();
        let differs = study(&plan, &mut |_, block| {
            let noticed = random.below(100) < NOTICED_PER_CENT;
            let seconds = delays.draw(&mut random) * drift[block as usize];
            noticed.then_some(seconds)
        })?;
        let (differing, all) = found.entry(design).or_default();
        *differing += u64::from(differs);
        *all += 1;
    }
    println!("the same in both arms, alpha 0.05:");
    println!("{:<16}{:>8}{:>9}", "blocks of runs", "studies", "differ");
    let (mut differing, mut all) = (0, 0);
    for (design, (some, of)) in &found {
        let (blocks, size) = DESIGNS[*design];
        println!(
            "{:<16}{of:>8}{:>7.1} %",
            format!("{blocks} of {size}"),
            share(*some, *of)
        );
        differing += some;
        all += of;
    }
    let level = share(differing, all);
    println!("{:<16}{all:>8}{level:>7.2} %\n", "all");
    let (low, high) = LEVEL;
    if off(level, low, high, all) {
        failures.push(format!(
            "{level:.2} % of {all} studies of the same twice differ, not {low} to {high} %"
        ));
    }
    Ok(())
}

/// Studies in which the treatment is faster by what each line of the power table supposes.
fn power(runs: u64, seed: u64, failures: &mut Vec<String>) -> Result<u64, String> {
    println!("found where the treatment is faster, in per cent (the plan's own table):");
    let (mut studies, mut header) = (0, true);
    for (number, design) in POWERED.iter().enumerate() {
        let (blocks, size) = *design;
        let plan = planned(*design, "control = \"b.toml\"")?;
        let mut line = format!("{:<16}", format!("{blocks} of {size}"));
        if header {
            let ratios: String = plan
                .1
                .power
                .iter()
                .map(|row| format!("{:>15}", format!("{} times", row.hazard_ratio)))
                .collect();
            println!("{:<16}{ratios}", "blocks of runs");
            header = false;
        }
        for (row, power) in plan.1.power.iter().enumerate() {
            let of = runs * POWER_TIMES;
            let mut random = Random::new(seed.wrapping_add((number * 100 + row) as u64) ^ 0x706f_7765).fork();
            let mut differing = 0;
            for _ in 0..of {
                let plan = drawn(&plan, &mut random);
                differing += u64::from(study(&plan, &mut |arm, _| {
                    Some(faster(
                        &plan,
                        if arm == StudyArm::Treatment {
                            power.hazard_ratio
                        } else {
                            1.0
                        },
                        &mut random,
                    ))
                })?);
            }
            studies += of;
            let (found, said) = (share(differing, of), 100.0 * power.power);
            line += &format!("{:>15}", format!("{found:.1} ({said:.1})"));
            if off(found, said - POWER_POINTS_MAX, said + POWER_POINTS_MAX, of) {
                failures.push(format!(
                    "{blocks} blocks of {size}: {found:.1} % found, the table says {said:.1}"
                ));
            }
        }
        println!("{line}");
    }
    Ok(studies)
}

/// A delay whose rate is `ratio` times the control's at all times, though it is no exponential: a Weibull of shape 0.6,
/// of which the expected share lies within the window.
fn faster(plan: &StudyPlan, ratio: f64, random: &mut Random) -> f64 {
    const SHAPE: f64 = 0.6;
    let window = -(-plan.expected_share).ln_1p();
    WINDOW_SECONDS as f64 * (random.exponential() / ratio / window).powf(1.0 / SHAPE)
}

/// True where the analysis of a simulated study says that the arms differ.
fn study(plan: &StudyPlan, delay: &mut dyn FnMut(StudyArm, u64) -> Option<f64>) -> Result<bool, String> {
    let logged: Vec<(u64, ChaosExperiment)> = plan
        .places()
        .into_iter()
        .enumerate()
        .map(|(index, place)| {
            let mut run = RUN.with(Clone::clone);
            let of_arm = if place.arm == StudyArm::Treatment {
                &plan.treatment
            } else {
                &plan.control
            };
            run.digest = of_arm.digest;
            run.study = Some(place);
            let delay = delay(place.arm, place.block).map(|seconds| (seconds * 1e6) as u64);
            run.detected_us = delay.filter(|us| *us <= plan.window_us);
            (index as u64 + 1, run)
        })
        .collect();
    let result = analyse(plan, 0, &logged);
    if result.missing > 0 || !result.deviations.is_empty() {
        return Err(format!("the simulated study has deviations: {:?}", result.deviations));
    }
    Ok(result.test.is_some_and(|test| test.differs))
}

thread_local! {
    /// A run in which all is well.
    static RUN: ChaosExperiment = ChaosExperiment {
        experiment: "a.toml".to_owned(),
        title: String::new(),
        digest: evidence::Digest::of(b""),
        faults: vec![FaultRun {
            fault: "link-reset".to_owned(),
            parameters: BTreeMap::new(),
            undo_class: "process-bounded".to_owned(),
            bit: true,
            undone: true,
            undo_us: 0,
            techniques: Vec::new(),
        }],
        steady_before: true,
        steady_after: true,
        detectors: Vec::new(),
        detected_us: None,
        contained_us: None,
        recovered_us: None,
        window_us: WINDOW_SECONDS * 1_000_000,
        workload: BTreeMap::new(),
        recovered_by_itself: true,
        rung: None,
        targets: Vec::new(),
        pattern: None,
        study: None,
        unknown: Vec::new(),
        notes: Vec::new(),
        measured: None,
    };
}

const EXPERIMENT: &str = r#"
title = "a reset link is noticed"
deadline_seconds = 100
window_seconds = 60
steady = { service = "storefront", method = "GET", path = "/health", status = 200, requests = 1 }
[[fault]]
id = "link-reset"
link = "storefront-ledger"
hold_ms = 500
[[detector]]
id = "denied"
kind = "sigma"
rule = "detection/denied.yml"
self_test = '{"event":"denied"}'
"#;

/// A study as a user writes it, and its plan.
fn planned((blocks, size): (u64, u64), control: &str) -> Result<(Study, StudyPlan), String> {
    let text = format!(
        "title = \"t\"\ntreatment = \"a.toml\"\n{control}\noutcome = \"detected\"\nblocks = {blocks}\nblock_size = {size}\n\
         seed = 1\nwindow_seconds = {WINDOW_SECONDS}\nexpected_share = 0.{NOTICED_PER_CENT}\n"
    );
    let study = Study::parse("study.toml", &text).map_err(|problems| format!("{problems:?}"))?;
    let treatment = Experiment::parse("a.toml", EXPERIMENT).map_err(|problems| format!("{problems:?}"))?;
    let other = format!("{EXPERIMENT}# another\n");
    let text = if study.control_file() == "a.toml" {
        EXPERIMENT
    } else {
        &other
    };
    let control = Experiment::parse(study.control_file(), text).map_err(|problems| format!("{problems:?}"))?;
    let plan = study
        .plan(&treatment, &control)
        .map_err(|objections| objections.join("; "))?;
    Ok((study, plan))
}

/// The same plan with another order.
fn drawn((study, plan): &(Study, StudyPlan), random: &mut Random) -> StudyPlan {
    let mut study = study.clone();
    study.seed = random.bits() >> 1;
    StudyPlan {
        seed: study.seed.to_string(),
        order: study.order(),
        ..plan.clone()
    }
}

fn share(some: u64, of: u64) -> f64 {
    100.0 * some as f64 / of.max(1) as f64
}

/// Outside of its bounds; where few were simulated, only if that is no accident of one in ten thousand.
fn off(found: f64, low: f64, high: f64, of: u64) -> bool {
    let beyond = (low - found).max(found - high);
    let edge = if found < low { low } else { high }.clamp(1.0, 99.0);
    let error = (edge * (100.0 - edge) / of.max(1) as f64).sqrt();
    beyond > 0.0 && (of >= STRICT_FROM || normal_sf(beyond / error) < 1e-4)
}
