//! From statements to figures: a pure fold, in the order of the log.
//!
//! It reads no clock and no file, and believes a statement as it stands: what a moment or a credit is was decided when
//! the run was measured. Which runs count for what is decided here, once.

use std::collections::{BTreeMap, BTreeSet};

use evidence::predicates::{self, ChaosExperiment, Measured, Moment};
use evidence::{Logged, Statement, Timestamp, Verified};

use super::Filter;
use super::figure::{Few, Figure, Sample};

/// The moments of a run, in the order in which they come.
pub const MOMENTS: [&str; 6] = [
    "detected",
    "notified",
    "acknowledged",
    "responded",
    "contained",
    "recovered",
];
/// What an invariant stands for.
pub const PROPERTIES: [&str; 3] = ["confidentiality", "integrity", "availability"];
/// When the workload was counted.
pub const PHASES: [&str; 3] = ["before", "during", "after"];
/// What joins an alert to an injection, the strongest first; the last is weak: it came at the right time.
pub const CORRELATIONS: [&str; 3] = ["run-id", "entity-and-technique", "window"];
/// Characters of a name that may stand in a figure's id as they are.
const NAME_CHARS_MAX: usize = 80;
const SLUG_CHARS_MAX: usize = 40;

/// One run of an experiment, and where it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    pub index: u64,
    /// When it was logged as observed.
    pub at: Timestamp,
    pub evidence: ChaosExperiment,
    pub state: State,
}

/// What a run counts for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It counts.
    Judged,
    /// Something about it is not known: in no denominator of a probability or a time.
    Unknown,
    /// Injected, and logged without a measurement.
    NotMeasured,
    /// Nothing was injected.
    NotInjected,
}

impl State {
    pub fn name(self) -> &'static str {
        match self {
            State::Judged => "judged",
            State::Unknown => "unknown",
            State::NotMeasured => "not-measured",
            State::NotInjected => "not-injected",
        }
    }
}

impl Run {
    fn of(index: u64, at: Timestamp, evidence: ChaosExperiment) -> Run {
        let state = match &evidence {
            run if run.faults.is_empty() => State::NotInjected,
            run if !run.unknown.is_empty() => State::Unknown,
            run if run.measured.is_none() => State::NotMeasured,
            _ => State::Judged,
        };
        Run {
            index,
            at,
            evidence,
            state,
        }
    }

    /// The figure that is this run.
    pub fn id(&self) -> String {
        format!("run:{}", self.index)
    }

    pub fn moment(&self, name: &str) -> Option<&Moment> {
        self.evidence.measured.as_ref()?.moments.get(name)
    }

    /// Every alert that was credited came at the right time, and nothing else joins it to the injection.
    fn rests_on_time(&self) -> bool {
        let alerts = self.evidence.measured.iter().flat_map(|measured| &measured.alerts);
        let mut credited = alerts.filter(|alert| alert.credited).peekable();
        credited.peek().is_some() && credited.all(|alert| alert.correlation == "window")
    }
}

/// Runs of the log that the filter lets through, and log indexes of statements that say they are one and
/// can't be read.
pub fn runs(statements: &[Logged<Verified<Statement>>], filter: &Filter) -> (Vec<Run>, Vec<u64>) {
    let (mut runs, mut unreadable) = (Vec::new(), Vec::new());
    for statement in statements
        .iter()
        .filter(|statement| statement.predicate_type == predicates::CHAOS)
    {
        let at = statement.context().map(|context| context.at);
        if at.is_some_and(|at| !filter.lets(at)) {
            continue;
        }
        match at.zip(statement.predicate_as::<ChaosExperiment>(predicates::CHAOS)) {
            Some((_, run)) if !filter.lets_study(run.study.map(|place| place.plan)) => drop(run),
            Some((_, run)) if filter.experiment.as_ref().is_some_and(|file| run.experiment != *file) => {}
            Some((at, run)) => runs.push(Run::of(statement.index(), at, run)),
            None => unreadable.push(statement.index()),
        }
    }
    (runs, unreadable)
}

/// Every figure of these runs, by id. `catalogue` holds the ids of all faults there are: one that never ran counts as
/// never rehearsed.
pub fn figures(runs: &[Run], catalogue: &[&str]) -> BTreeMap<String, Figure> {
    let mut fold = Fold::default();
    let all: Vec<&Run> = runs.iter().collect();
    fold.scope("all", &all);
    for (name, of) in by(runs, |run| vec![run.evidence.experiment.clone()]) {
        let scope = format!("experiment:{}", safe(&name));
        fold.scope(&scope, &of);
        fold.invariants(&scope, &of);
        let versions: BTreeSet<_> = of.iter().map(|run| run.evidence.digest).collect();
        fold.add(Figure::count(
            format!("{scope}/versions"),
            versions.len() as u64,
            of.len() as u64,
            indexes(&of),
        ));
    }
    for (name, of) in by(runs, |run| each(run, |fault| fault.fault.clone())) {
        let scope = format!("fault:{}", safe(&name));
        fold.scope(&scope, &of);
        fold.rollback(&scope, runs, |fault| fault.fault == name);
    }
    for (class, _) in by(runs, |run| each(run, |fault| fault.undo_class.clone())) {
        fold.rollback(&format!("mechanism:{}", safe(&class)), runs, |fault| {
            fault.undo_class == class
        });
    }
    fold.rollback("all", runs, |_| true);
    fold.rehearsed(runs, catalogue);
    for (name, of) in by(runs, techniques) {
        let scope = format!("technique:{}", safe(&name));
        fold.counts(&scope, &of);
        fold.moment(&scope, "detected", &of);
    }
    for (name, of) in by(runs, detectors) {
        fold.detector(&name, &of);
    }
    fold.figures
}

/// Techniques of the faults of a run.
pub fn techniques(run: &Run) -> Vec<String> {
    run.evidence
        .faults
        .iter()
        .flat_map(|fault| fault.techniques.clone())
        .collect()
}

/// Detectors that were armed, or that said something.
pub fn detectors(run: &Run) -> Vec<String> {
    let armed = run.evidence.detectors.iter().map(|detector| detector.id.clone());
    let measured = run.evidence.measured.iter();
    let spoke = measured.flat_map(|measured| measured.alerts.iter().map(|alert| alert.detector.clone()));
    armed.chain(spoke).collect()
}

fn each(run: &Run, name: impl Fn(&predicates::FaultRun) -> String) -> Vec<String> {
    run.evidence.faults.iter().map(name).collect()
}

/// Runs by name, each run once under each of its names.
fn by(runs: &[Run], names: impl Fn(&Run) -> Vec<String>) -> BTreeMap<String, Vec<&Run>> {
    let mut groups: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let once: BTreeSet<String> = names(run).into_iter().collect();
        for name in once {
            groups.entry(name).or_default().push(run);
        }
    }
    groups
}

/// A name as it stands in a figure's id: as it is where a shell takes it as it is, and otherwise what is left of it with
/// the beginning of its SHA-256.
pub fn safe(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    if !name.is_empty() && name.len() <= NAME_CHARS_MAX && name.chars().all(plain) {
        return name.to_owned();
    }
    let left: String = name.chars().filter(|c| plain(*c)).take(SLUG_CHARS_MAX).collect();
    format!("{left}~{}", &evidence::Digest::of(name.as_bytes()).hex()[..8])
}

fn indexes(runs: &[&Run]) -> Vec<u64> {
    runs.iter().map(|run| run.index).collect()
}

fn judged<'a>(runs: &'a [&'a Run]) -> impl Iterator<Item = &'a Run> {
    runs.iter().copied().filter(|run| run.state == State::Judged)
}

/// Runs with a measurement, known or not: what is wrong with an observer shows in those that are not.
fn measured<'a>(runs: &'a [&'a Run]) -> impl Iterator<Item = (&'a Run, &'a Measured)> {
    runs.iter()
        .filter_map(|run| Some((*run, run.evidence.measured.as_ref()?)))
}

/// Figures on their way.
#[derive(Default)]
struct Fold {
    figures: BTreeMap<String, Figure>,
}

impl Fold {
    fn add(&mut self, figure: Figure) {
        self.figures.insert(figure.id.clone(), figure);
    }

    /// Everything that is told of a set of runs.
    fn scope(&mut self, scope: &str, runs: &[&Run]) {
        self.counts(scope, runs);
        for name in MOMENTS {
            self.moment(scope, name, runs);
        }
        self.correlation(scope, runs);
        self.properties(scope, runs);
        self.workload(scope, runs);
        self.blind(&format!("{scope}/blind"), runs, |_| true);
        for planted in ["nothing", "marker"] {
            self.blind(&format!("{scope}/blind-{planted}"), runs, |window| {
                window.planted == planted
            });
        }
    }

    fn counts(&mut self, scope: &str, runs: &[&Run]) {
        let n = runs.len() as u64;
        self.add(Figure::count(format!("{scope}/runs"), n, n, indexes(runs)));
        for state in [State::Judged, State::Unknown, State::NotMeasured, State::NotInjected] {
            let of: Vec<u64> = runs
                .iter()
                .filter(|run| run.state == state)
                .map(|run| run.index)
                .collect();
            self.add(Figure::count(
                format!("{scope}/{}", state.name()),
                of.len() as u64,
                n,
                of,
            ));
        }
    }

    fn moment(&mut self, scope: &str, name: &str, runs: &[&Run]) {
        let mut sample = Sample::default();
        for run in judged(runs) {
            if let Some(moment) = run.moment(name) {
                let (us, observed) = moment.duration_us();
                sample.push(us, observed, run.index);
            }
        }
        self.times(&format!("{scope}/{name}"), &sample);
    }

    /// How often, and how long it took.
    fn times(&mut self, prefix: &str, sample: &Sample) {
        self.add(Figure::probability(format!("{prefix}/probability"), sample));
        self.add(Figure::median(format!("{prefix}/median"), sample));
        self.add(Figure::restricted_mean(format!("{prefix}/mean"), sample));
        self.add(Figure::curve(format!("{prefix}/curve"), sample));
    }

    /// What detections rest on.
    fn correlation(&mut self, scope: &str, runs: &[&Run]) {
        let detected = |run: &&Run| run.moment("detected").is_some_and(|moment| moment.at_us.is_some());
        let all: Vec<&Run> = judged(runs).filter(detected).collect();
        let weak = all.iter().filter(|run| run.rests_on_time()).count() as u64;
        let n = all.len() as u64;
        self.add(Figure::share(
            format!("{scope}/detected/weak"),
            weak,
            n,
            Few::Raw,
            indexes(&all),
        ));
        let mut alerts: BTreeMap<&str, (u64, Vec<u64>)> = CORRELATIONS.map(|name| (name, (0, Vec::new()))).into();
        let (mut credited, mut total) = (0, 0);
        let mut of = Vec::new();
        for (run, measured) in measured(runs) {
            for alert in &measured.alerts {
                total += 1;
                of.push(run.index);
                if !alert.credited {
                    continue;
                }
                credited += 1;
                if let Some((count, of)) = alerts.get_mut(alert.correlation.as_str()) {
                    *count += 1;
                    of.push(run.index);
                }
            }
        }
        self.add(Figure::count(format!("{scope}/alerts/credited"), credited, total, of));
        for (name, (count, of)) in alerts {
            self.add(Figure::count(format!("{scope}/alerts/{name}"), count, credited, of));
        }
    }

    /// Runs in which everything that was registered for a property held.
    fn properties(&mut self, scope: &str, runs: &[&Run]) {
        for property in PROPERTIES {
            self.held(&format!("{scope}/{property}/held"), runs, |invariant| {
                invariant.property == property
            });
        }
    }

    fn invariants(&mut self, scope: &str, runs: &[&Run]) {
        let all = measured(runs).flat_map(|(_, measured)| &measured.invariants);
        let ids: BTreeSet<&str> = all.map(|invariant| invariant.id.as_str()).collect();
        for id in ids {
            self.held(&format!("{scope}/invariant:{}/held", safe(id)), runs, |invariant| {
                invariant.id == id
            });
        }
    }

    fn held(&mut self, id: &str, runs: &[&Run], which: impl Fn(&predicates::InvariantRun) -> bool) {
        let (mut held, mut of) = (0, Vec::new());
        for run in judged(runs) {
            let measured = run.evidence.measured.iter();
            let mut looked = measured
                .flat_map(|measured| &measured.invariants)
                .filter(|invariant| which(invariant) && invariant.looks > 0)
                .peekable();
            if looked.peek().is_none() {
                continue;
            }
            held += u64::from(looked.all(|invariant| invariant.broken == 0));
            of.push(run.index);
        }
        let n = of.len() as u64;
        self.add(Figure::share(id.to_owned(), held, n, Few::Raw, of));
    }

    fn workload(&mut self, scope: &str, runs: &[&Run]) {
        for name in PHASES {
            let (mut pairs, mut of, mut slowest) = (Vec::new(), Vec::new(), Sample::default());
            for run in judged(runs) {
                let phase = run
                    .evidence
                    .measured
                    .as_ref()
                    .and_then(|measured| measured.phases.get(name));
                let Some(phase) = phase.filter(|phase| phase.requests > 0) else {
                    continue;
                };
                pairs.push((phase.served, phase.requests));
                of.push(run.index);
                if phase.served > 0 {
                    slowest.push(phase.p99_us, true, run.index);
                }
            }
            self.add(Figure::ratio(format!("{scope}/served/{name}"), &pairs, of));
            self.add(Figure::median(format!("{scope}/p99/{name}"), &slowest));
        }
    }

    /// Alerts in windows in which nothing was injected; those of unknown runs too, because a false alert is what makes
    /// some of them unknown.
    fn blind(&mut self, id: &str, runs: &[&Run], which: impl Fn(&predicates::BlindWindow) -> bool) {
        let (mut count, mut windows, mut exposure) = (0, 0, 0_u64);
        let mut of = Vec::new();
        for (run, measured) in measured(runs) {
            for window in measured.blind.iter().filter(|window| which(window)) {
                count += window.fired.len() as u64;
                windows += 1;
                exposure = exposure.saturating_add(length_us(window));
                of.push(run.index);
            }
        }
        self.add(Figure::rate(format!("{id}/rate"), count, windows, exposure, of));
    }

    fn rollback(&mut self, scope: &str, runs: &[Run], which: impl Fn(&predicates::FaultRun) -> bool) {
        let (mut sample, mut undone, mut left) = (Sample::default(), 0, Vec::new());
        for run in runs {
            for fault in run.evidence.faults.iter().filter(|fault| which(fault)) {
                sample.push(fault.undo_us, fault.undone, run.index);
                undone += u64::from(fault.undone);
                if !fault.undone {
                    left.push(run.index);
                }
            }
        }
        let n = sample.times.len() as u64;
        let probability = Figure::share(
            format!("{scope}/rollback/probability"),
            undone,
            n,
            Few::Estimated,
            sample.of.clone(),
        );
        self.add(Figure {
            censored: n - undone,
            ..probability
        });
        self.add(Figure::median(format!("{scope}/rollback/median"), &sample));
        self.add(Figure::count(
            format!("{scope}/rollback/residue"),
            left.len() as u64,
            n,
            left,
        ));
    }

    fn rehearsed(&mut self, runs: &[Run], catalogue: &[&str]) {
        let of_catalogue = |run: &&Run| {
            run.evidence
                .faults
                .iter()
                .any(|fault| catalogue.contains(&fault.fault.as_str()))
        };
        let seen: Vec<&Run> = runs.iter().filter(of_catalogue).collect();
        let ids: BTreeSet<&str> = seen
            .iter()
            .flat_map(|run| run.evidence.faults.iter().map(|fault| fault.fault.as_str()))
            .filter(|id| catalogue.contains(id))
            .collect();
        self.add(Figure::count(
            "all/rollback/rehearsed".to_owned(),
            ids.len() as u64,
            catalogue.len() as u64,
            indexes(&seen),
        ));
    }

    fn detector(&mut self, name: &str, runs: &[&Run]) {
        let scope = format!("detector:{}", safe(name));
        let own = |run: &&Run| {
            run.evidence
                .detectors
                .iter()
                .find(|detector| detector.id == name)
                .cloned()
        };
        let armed: Vec<(&Run, predicates::DetectorRun)> =
            runs.iter().filter_map(|run| Some((*run, own(run)?))).collect();
        let n = armed.len() as u64;
        let of = |which: &dyn Fn(&predicates::DetectorRun) -> bool| -> Vec<u64> {
            armed
                .iter()
                .filter(|(_, detector)| which(detector))
                .map(|(run, _)| run.index)
                .collect()
        };
        let mut count =
            |what: &str, of: Vec<u64>| self.add(Figure::count(format!("{scope}/{what}"), of.len() as u64, n, of));
        count("armed", of(&|_| true));
        count("self-test-failed", of(&|detector| !detector.self_test));
        count("false-alarm", of(&|detector| detector.false_alarm));
        let diagnoses: BTreeSet<&str> = armed
            .iter()
            .filter_map(|(_, detector)| detector.diagnosis.as_deref())
            .collect();
        for diagnosis in diagnoses {
            count(
                &format!("diagnosis:{}", safe(diagnosis)),
                of(&|detector| detector.diagnosis.as_deref() == Some(diagnosis)),
            );
        }
        let mut sample = Sample::default();
        for (run, detector) in armed.iter().filter(|(run, _)| run.state == State::Judged) {
            let until = run
                .moment("detected")
                .map_or(run.evidence.window_us, |moment| moment.until_us);
            sample.push(
                detector.detected_us.unwrap_or(until),
                detector.detected_us.is_some(),
                run.index,
            );
        }
        self.times(&format!("{scope}/detected"), &sample);
        self.alerts(&scope, name, runs);
        let (mut fired, mut windows, mut exposure, mut of) = (0, 0, 0_u64, Vec::new());
        for (run, _) in &armed {
            for window in run.evidence.measured.iter().flat_map(|measured| &measured.blind) {
                fired += window.fired.iter().filter(|id| *id == name).count() as u64;
                windows += 1;
                exposure = exposure.saturating_add(length_us(window));
                of.push(run.index);
            }
        }
        self.add(Figure::rate(
            format!("{scope}/blind/rate"),
            fired,
            windows,
            exposure,
            of,
        ));
    }

    fn alerts(&mut self, scope: &str, name: &str, runs: &[&Run]) {
        let all: Vec<(u64, bool)> = measured(runs)
            .flat_map(|(run, measured)| measured.alerts.iter().map(|alert| (run.index, alert)))
            .filter(|(_, alert)| alert.detector == name)
            .map(|(index, alert)| (index, alert.credited))
            .collect();
        let credited = all.iter().filter(|(_, credited)| *credited).count() as u64;
        let of = all.iter().map(|(index, _)| *index).collect();
        self.add(Figure::count(
            format!("{scope}/alerts/credited"),
            credited,
            all.len() as u64,
            of,
        ));
    }
}

fn length_us(window: &predicates::BlindWindow) -> u64 {
    u64::try_from(window.until_us.saturating_sub(window.from_us)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_an_id_is_one_word_for_a_shell() {
        for (name, expect) in [
            ("experiments/revoke-ledger.toml", "experiments/revoke-ledger.toml"),
            ("", "~e3b0c442"),
            ("a b", "ab~c8687a08"),
            ("$(reboot)", "reboot~"),
        ] {
            assert!(safe(name).starts_with(expect), "{name}: {}", safe(name));
        }
        let long = safe(&"x".repeat(10_000));
        assert!(long.len() < 60, "{long}");
        assert_ne!(safe("a b"), safe("ab"));
    }
}
