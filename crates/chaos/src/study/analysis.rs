//! What the logged runs of a study come to: a pure fold.

use std::collections::BTreeMap;

use evidence::predicates::{
    ChaosExperiment, StudyArm, StudyArmResult, StudyEstimate, StudyExperiment, StudyPlace, StudyPlan, StudyResult,
    StudyRun, StudyTest,
};
use statistics::{Block, Estimate, KaplanMeier, Method, Time, permuted_log_rank};

/// An arm with fewer runs of known outcome is not estimated: its times stand there as they are.
pub const RAW_BELOW: u64 = 5;
/// A run that was watched so much less than the window was watched to its end.
const CLOSING_US: u64 = 100_000;

/// Folds the logged runs, each with its place in the log and in the log's order. Runs of other studies are passed over.
pub fn analyse(plan: &StudyPlan, plan_index: u64, logged: &[(u64, ChaosExperiment)]) -> StudyResult {
    let places = plan.places();
    let (runs, mut deviations) = placed(plan, &places, logged);
    let missing = (places.len() - runs.len()) as u64;
    let last = runs.keys().next_back().copied();
    for (number, place) in places.iter().enumerate() {
        if last.is_some_and(|last| number < last) && !runs.contains_key(&number) {
            deviations.push(format!("{} is missing, and later ones are there", shown(place)));
        }
    }
    let runs: Vec<StudyRun> = runs.into_values().collect();
    let arms: BTreeMap<StudyArm, StudyArmResult> = [StudyArm::Treatment, StudyArm::Control]
        .into_iter()
        .map(|arm| (arm, summary(plan, arm, &runs)))
        .collect();
    let enough = arms.values().all(|arm| arm.n >= RAW_BELOW);
    StudyResult {
        plan: plan.canonical_digest(),
        plan_index,
        title: plan.title.clone(),
        design: plan.design.clone(),
        outcome: plan.outcome.clone(),
        window_us: plan.window_us,
        alpha: plan.alpha,
        planned: places.len() as u64,
        missing,
        test: enough.then(|| test(plan, &runs)),
        arms,
        runs,
        deviations,
    }
}

/// The run of each place, by number, and what did not go as planned. The first run of a place counts: a second look
/// after an unwelcome one would be a choice.
fn placed(
    plan: &StudyPlan,
    places: &[StudyPlace],
    logged: &[(u64, ChaosExperiment)],
) -> (BTreeMap<usize, StudyRun>, Vec<String>) {
    let digest = plan.canonical_digest();
    let (mut runs, mut deviations) = (BTreeMap::new(), Vec::new());
    for (index, run) in logged {
        let Some(place) = run.study.filter(|place| place.plan == digest) else {
            continue;
        };
        let Some(number) = places.iter().position(|planned| *planned == place) else {
            deviations.push(format!(
                "{} (log index {index}) was not planned; it does not count",
                shown(&place)
            ));
            continue;
        };
        let experiment = experiment(plan, place.arm);
        if run.digest != experiment.digest {
            deviations.push(format!(
                "{} (log index {index}) ran another experiment than `{}` as planned; it does not count",
                shown(&place),
                experiment.experiment
            ));
        } else if runs.contains_key(&number) {
            deviations.push(format!(
                "{} was run again (log index {index}); the first counts",
                shown(&place)
            ));
        } else {
            if runs.keys().next_back().is_some_and(|last| *last > number) {
                deviations.push(format!("{} (log index {index}) ran out of order", shown(&place)));
            }
            runs.insert(number, read(plan, place, *index, run));
        }
    }
    (runs, deviations)
}

fn experiment(plan: &StudyPlan, arm: StudyArm) -> &StudyExperiment {
    match arm {
        StudyArm::Treatment => &plan.treatment,
        StudyArm::Control => &plan.control,
    }
}

fn shown(place: &StudyPlace) -> String {
    format!(
        "block {} run {} ({})",
        place.block + 1,
        place.position + 1,
        place.arm.name()
    )
}

fn read(plan: &StudyPlan, place: StudyPlace, index: u64, run: &ChaosExperiment) -> StudyRun {
    let happened = match plan.outcome.as_str() {
        "contained" => run.contained_us,
        "recovered" => run.recovered_us,
        _ => run.detected_us,
    };
    let unknown = unknown(plan, place.arm, run);
    let watched = if run.window_us + CLOSING_US >= plan.window_us {
        plan.window_us
    } else {
        run.window_us
    };
    StudyRun {
        index,
        block: place.block,
        position: place.position,
        arm: place.arm,
        time_us: happened.filter(|time| *time <= plan.window_us && unknown.is_none()),
        watched_us: watched,
        unknown,
    }
}

/// Why the outcome of a run isn't known, if so.
fn unknown(plan: &StudyPlan, arm: StudyArm, run: &ChaosExperiment) -> Option<String> {
    if let Some(reason) = run.unknown.first() {
        return Some(reason.clone());
    }
    let broken = run.detectors.iter().find(|detector| !detector.self_test);
    if let Some(detector) = broken.filter(|_| plan.outcome == "detected") {
        return Some(format!("detector `{}` failed its self-test", detector.id));
    }
    let injected = !run.faults.is_empty();
    match (experiment(plan, arm).sham, injected) {
        (true, true) => Some("a fault was injected where none should be".to_owned()),
        (false, false) => Some("nothing was injected".to_owned()),
        _ => {
            let blunt = run.faults.iter().find(|fault| !fault.bit);
            blunt.map(|fault| format!("fault `{}` did not bite", fault.fault))
        }
    }
}

fn time(run: &StudyRun) -> Time {
    Time {
        seconds: seconds(run.time_us.unwrap_or(run.watched_us)),
        observed: run.time_us.is_some(),
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn summary(plan: &StudyPlan, arm: StudyArm, runs: &[StudyRun]) -> StudyArmResult {
    let (known, unknown): (Vec<&StudyRun>, Vec<&StudyRun>) = runs
        .iter()
        .filter(|run| run.arm == arm)
        .partition(|run| run.unknown.is_none());
    let times: Vec<Time> = known.iter().map(|run| time(run)).collect();
    let fitted = KaplanMeier::fit(&times);
    let window = seconds(plan.window_us);
    let estimated = |estimate: Estimate| (fitted.n >= RAW_BELOW).then(|| shown_estimate(estimate));
    let raw = || known.iter().map(|run| run.time_us.map(seconds)).collect();
    StudyArmResult {
        n: fitted.n,
        events: fitted.events,
        censored: fitted.censored,
        unknown: unknown.len() as u64,
        raw: (fitted.n < RAW_BELOW).then(raw),
        probability: estimated(fitted.share_by(window)),
        median: estimated(fitted.median()),
        restricted_mean: estimated(fitted.restricted_mean(window)),
    }
}

fn shown_estimate(estimate: Estimate) -> StudyEstimate {
    let (low, high) = estimate.interval.unwrap_or_default();
    StudyEstimate {
        value: estimate.value.map(rounded),
        low: low.map(rounded),
        high: high.map(rounded),
    }
}

/// To twelve digits: the last ones of a logarithm differ between machines, and a statement must not.
fn rounded(value: f64) -> f64 {
    format!("{value:.11e}").parse().unwrap_or(value)
}

fn test(plan: &StudyPlan, runs: &[StudyRun]) -> StudyTest {
    let known = permuted_log_rank(&blocks(plan, runs, None));
    let mut worst = known.p;
    let mut if_unknown = None;
    if runs.iter().any(|run| run.unknown.is_some()) {
        // As much against and as much for the treatment as the unknown runs could say.
        let [fast, slow] =
            [StudyArm::Treatment, StudyArm::Control].map(|fast| permuted_log_rank(&blocks(plan, runs, Some(fast))));
        // Between opposite answers lies none.
        worst = if fast.excess * slow.excess <= 0.0 {
            1.0
        } else {
            known.p.max(fast.p).max(slow.p)
        };
        if_unknown = Some((rounded(known.p.min(fast.p).min(slow.p)), rounded(worst)));
    }
    StudyTest {
        excess: rounded(known.excess),
        p: rounded(known.p),
        method: match known.method {
            Method::Exact { .. } => "exact".to_owned(),
            Method::Normal => "normal".to_owned(),
        },
        if_unknown,
        differs: worst <= plan.alpha,
    }
}

/// The runs by block. Those of unknown outcome are left out; or, in the arm `fast`, had happened at once, and in the
/// other never.
fn blocks(plan: &StudyPlan, runs: &[StudyRun], fast: Option<StudyArm>) -> Vec<Block> {
    let mut blocks = vec![Block::default(); plan.order.len()];
    for run in runs {
        let time = match (&run.unknown, fast) {
            (None, _) => time(run),
            (Some(_), None) => continue,
            (Some(_), Some(fast)) => Time {
                seconds: if run.arm == fast { 0.0 } else { seconds(plan.window_us) },
                observed: run.arm == fast,
            },
        };
        let Some(block) = blocks.get_mut(run.block as usize) else {
            continue;
        };
        match run.arm {
            StudyArm::Treatment => block.treatment.push(time),
            StudyArm::Control => block.control.push(time),
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use evidence::Digest;
    use evidence::predicates::{DetectorRun, FaultRun};

    use super::*;

    const T: StudyArm = StudyArm::Treatment;
    const C: StudyArm = StudyArm::Control;

    fn plan(blocks: usize) -> StudyPlan {
        let experiment = |name: &str| StudyExperiment {
            experiment: name.to_owned(),
            digest: Digest::of(name.as_bytes()),
            sham: false,
        };
        StudyPlan {
            study: "s.toml".to_owned(),
            digest: Digest::of(b"s"),
            title: "t".to_owned(),
            design: "treatment-control".to_owned(),
            treatment: experiment("a.toml"),
            control: experiment("b.toml"),
            outcome: "detected".to_owned(),
            window_us: 10_000_000,
            seed: "1".to_owned(),
            order: vec![vec![T, C, C, T]; blocks],
            alpha: 0.05,
            analysis: String::new(),
            smallest_p: 0.0,
            expected_share: 0.7,
            power: Vec::new(),
        }
    }

    fn run(plan: &StudyPlan, number: usize, detected_us: Option<u64>) -> ChaosExperiment {
        let place = plan.places()[number];
        ChaosExperiment {
            experiment: String::new(),
            title: String::new(),
            digest: experiment(plan, place.arm).digest,
            faults: vec![FaultRun {
                fault: "f".to_owned(),
                parameters: BTreeMap::new(),
                undo_class: String::new(),
                bit: true,
                undone: true,
                undo_us: 1,
                techniques: Vec::new(),
            }],
            steady_before: true,
            steady_after: true,
            detectors: vec![DetectorRun {
                id: "d".to_owned(),
                kind: "sigma".to_owned(),
                self_test: true,
                false_alarm: false,
                detected_us,
                diagnosis: None,
            }],
            detected_us,
            contained_us: None,
            recovered_us: None,
            window_us: 10_000_400,
            workload: BTreeMap::new(),
            recovered_by_itself: true,
            rung: None,
            targets: vec![],
            pattern: None,
            study: Some(place),
            unknown: vec![],
            notes: vec![],
            measured: None,
        }
    }

    /// All runs of a study in which the treatment is noticed after a second and the control never.
    fn runs(plan: &StudyPlan) -> Vec<(u64, ChaosExperiment)> {
        let one = |(number, place): (usize, &StudyPlace)| {
            let detected = (place.arm == T).then_some(1_000_000 + number as u64);
            (10 + number as u64, run(plan, number, detected))
        };
        plan.places().iter().enumerate().map(one).collect()
    }

    #[test]
    fn a_difference_is_found_and_all_is_counted() {
        let plan = plan(4);
        let result = analyse(&plan, 9, &runs(&plan));
        assert_eq!((result.planned, result.missing, result.deviations.len()), (16, 0, 0));
        let treated = &result.arms[&T];
        assert_eq!(
            (treated.n, treated.events, treated.censored, treated.unknown),
            (8, 8, 0, 0)
        );
        let control = &result.arms[&C];
        assert_eq!(
            (control.n, control.events, control.median.expect("enough runs").value),
            (8, 0, None)
        );
        assert_eq!(control.restricted_mean.expect("enough runs").value, Some(10.0));
        let test = result.test.expect("enough runs");
        // The most extreme of 6 to the fourth orders, and its mirror: half of the two.
        assert!(
            test.differs && test.excess > 0.0 && (test.p - 1.0 / 1296.0).abs() < 1e-12,
            "{test:?}"
        );
        assert_eq!((test.method.as_str(), test.if_unknown), ("exact", None));
    }

    #[test]
    fn what_did_not_go_as_planned_is_said() {
        let plan = plan(4);
        let mut logged = runs(&plan);
        logged.swap(2, 3);
        let again = logged[0].1.clone();
        logged.push((30, again));
        let mut stray = run(&plan, 5, None);
        stray.study.as_mut().expect("a place").block = 77;
        logged.push((31, stray));
        let mut other = run(&plan, 6, None);
        other.digest = Digest::of(b"another file");
        logged[6].1 = other;
        let mut foreign = run(&plan, 7, None);
        foreign.study.as_mut().expect("a place").plan = Digest::of(b"another study");
        logged.push((32, foreign));
        let result = analyse(&plan, 9, &logged);
        assert_eq!((result.missing, result.runs.len()), (1, 15));
        let said = result.deviations.join("\n");
        for part in [
            "out of order",
            "run again (log index 30)",
            "log index 31) was not planned",
            "another experiment",
            "is missing",
        ] {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert_eq!(result.deviations.len(), 5, "{said}");
    }

    #[test]
    fn an_unknown_run_is_counted_and_can_take_a_difference_away() {
        let plan = plan(4);
        let mut logged = runs(&plan);
        logged[0].1.detectors[0].self_test = false;
        logged[1].1.unknown.push("the log could not be read".to_owned());
        let result = analyse(&plan, 9, &logged);
        assert_eq!(
            (result.arms[&T].unknown, result.arms[&C].unknown, result.missing),
            (1, 1, 0)
        );
        let test = result.test.expect("enough runs");
        let (low, high) = test.if_unknown.expect("unknown runs");
        assert!(low <= test.p && test.p < high, "{test:?}");
        assert_eq!(test.differs, high <= 0.05);
        for (_, run) in &mut logged {
            run.faults[0].bit = false;
        }
        let blunt = analyse(&plan, 9, &logged);
        assert_eq!(
            (blunt.test, blunt.arms[&T].n, blunt.arms[&T].raw.clone()),
            (None, 0, Some(vec![]))
        );
    }

    #[test]
    fn under_five_runs_there_are_raw_times_alone() {
        let plan = plan(2);
        let result = analyse(&plan, 9, &runs(&plan)[..5]);
        assert_eq!(result.missing, 3);
        let treated = &result.arms[&T];
        assert_eq!(
            treated.raw.as_deref(),
            Some(&[Some(1.0), Some(1.000003), Some(1.000004)][..])
        );
        assert!(treated.median.is_none() && treated.probability.is_none() && result.test.is_none());
    }

    #[test]
    fn what_comes_after_the_window_had_not_happened() {
        let plan = plan(3);
        let mut logged = runs(&plan);
        logged[0].1.detected_us = Some(10_000_001);
        logged[3].1.window_us = 4_000_000;
        logged[3].1.detected_us = None;
        let result = analyse(&plan, 9, &logged);
        assert_eq!((result.runs[0].time_us, result.runs[0].watched_us), (None, 10_000_000));
        assert_eq!((result.runs[3].time_us, result.runs[3].watched_us), (None, 4_000_000));
        assert_eq!(result.arms[&T].censored, 2);
    }
}
