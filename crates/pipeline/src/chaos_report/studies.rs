//! Studies: what was planned before the first run, and what the logged runs come to. The analysis is the engine's own
//! fold; a logged result that is not what its runs come to is said to be none.

use evidence::predicates::{self, ChaosExperiment, StudyArm, StudyExperiment, StudyPlan, StudyResult, StudyRun};
use evidence::{Logged, Statement, Timestamp, Verified};
use serde_json::{Value, json};

use super::figure::{Figure, Sample};
use super::fold::safe;
use super::html::{Writer, curve_card, details, escaped, grouped, list, minute, name, number, seconds, table};
use super::{Filter, Report};

const ARMS: [StudyArm; 2] = [StudyArm::Treatment, StudyArm::Control];
/// Digits of a plan's digest that name it.
const NAME_DIGITS: usize = 16;

/// A study, from its plan's statement and the log's runs.
#[derive(Debug, Clone, PartialEq)]
pub struct Study {
    /// Where its plan stands.
    pub index: u64,
    pub at: Timestamp,
    pub plan: StudyPlan,
    /// What its runs come to.
    pub result: StudyResult,
    /// Log index of each logged result, and whether the runs before it come to the same.
    pub logged: Vec<(u64, bool)>,
}

impl Study {
    pub fn id(&self) -> String {
        format!("study:{}", &self.result.plan.hex()[..NAME_DIGITS])
    }

    pub fn file(&self) -> String {
        format!("study-{}.html", &self.result.plan.hex()[..NAME_DIGITS])
    }

    pub fn json(&self, query: &str) -> Value {
        let logged: Vec<Value> = self
            .logged
            .iter()
            .map(|(index, agrees)| json!({"logIndex": index, "agrees": agrees}))
            .collect();
        json!({
            "id": self.id(), "logIndexes": [self.index], "at": self.at, "evidence": self.plan, "results": logged,
            "deviations": self.result.deviations, "query": query,
        })
    }

    fn of_arm(&self, arm: StudyArm) -> impl Iterator<Item = &StudyRun> {
        self.result.runs.iter().filter(move |run| run.arm == arm)
    }

    /// Times of the runs of an arm whose outcome is known.
    fn sample(&self, arm: StudyArm) -> Sample {
        let mut sample = Sample::default();
        for run in self.of_arm(arm).filter(|run| run.unknown.is_none()) {
            sample.push(run.time_us.unwrap_or(run.watched_us), run.time_us.is_some(), run.index);
        }
        sample
    }
}

/// Studies of the log that the filter lets through, and log indexes of plans and results that can't be read.
pub fn studies(statements: &[Logged<Verified<Statement>>], filter: &Filter) -> (Vec<Study>, Vec<u64>) {
    let (mut studies, mut unreadable) = (Vec::new(), Vec::new());
    let runs: Vec<(u64, ChaosExperiment)> = statements
        .iter()
        .filter(|statement| statement.context().is_some_and(|context| filter.lets(context.at)))
        .filter_map(|statement| {
            Some((
                statement.index(),
                statement.predicate_as::<ChaosExperiment>(predicates::CHAOS)?,
            ))
        })
        .filter(|(_, run)| run.study.is_some())
        .collect();
    let mut results: Vec<(u64, StudyResult)> = Vec::new();
    for statement in statements
        .iter()
        .filter(|statement| statement.predicate_type == predicates::STUDY_RESULT)
    {
        match statement.predicate_as::<StudyResult>(predicates::STUDY_RESULT) {
            Some(result) => results.push((statement.index(), result)),
            None => unreadable.push(statement.index()),
        }
    }
    for statement in statements
        .iter()
        .filter(|statement| statement.predicate_type == predicates::STUDY_PLAN)
    {
        let at = statement.context().map(|context| context.at);
        if at.is_some_and(|at| !filter.lets(at)) {
            continue;
        }
        let Some((at, plan)) = at.zip(statement.predicate_as::<StudyPlan>(predicates::STUDY_PLAN)) else {
            unreadable.push(statement.index());
            continue;
        };
        let digest = plan.canonical_digest();
        let of = |experiment: &StudyExperiment| {
            filter
                .experiment
                .as_ref()
                .is_none_or(|file| *file == experiment.experiment)
        };
        if !filter.lets_study(Some(digest)) || !(of(&plan.treatment) || of(&plan.control)) {
            continue;
        }
        let index = statement.index();
        let logged = results
            .iter()
            .filter(|(_, result)| result.plan == digest)
            .map(|(at, result)| {
                let before = runs.partition_point(|(index, _)| index < at);
                (*at, ::chaos::study::analyse(&plan, index, &runs[..before]) == *result)
            })
            .collect();
        let result = ::chaos::study::analyse(&plan, index, &runs);
        studies.push(Study {
            index,
            at,
            plan,
            result,
            logged,
        });
    }
    (studies, unreadable)
}

/// Figures of each study.
pub fn figures(studies: &[Study]) -> Vec<Figure> {
    studies.iter().flat_map(of_study).collect()
}

fn of_study(study: &Study) -> Vec<Figure> {
    let (id, result) = (study.id(), &study.result);
    let indexes = |which: &dyn Fn(&&StudyRun) -> bool| -> Vec<u64> {
        result.runs.iter().filter(which).map(|run| run.index).collect()
    };
    let count = |what: &str, of: Vec<u64>, n: u64| Figure::count(format!("{id}/{what}"), of.len() as u64, n, of);
    let done = result.runs.len() as u64;
    let mut figures = vec![
        count("runs", indexes(&|_| true), result.planned),
        count("unknown", indexes(&|run| run.unknown.is_some()), done),
    ];
    let window = result.window_us as f64 / 1e6;
    for arm in ARMS {
        let sample = study.sample(arm);
        let prefix = format!("{id}/{}/{}", arm.name(), safe(&study.plan.outcome));
        figures.push(Figure::share_by(format!("{prefix}/probability"), &sample, window));
        figures.push(Figure::median(format!("{prefix}/median"), &sample));
        figures.push(Figure::mean_until(format!("{prefix}/mean"), &sample, window));
        figures.push(Figure::curve(format!("{prefix}/curve"), &sample));
    }
    let known = indexes(&|run| run.unknown.is_none());
    let test = result.test.as_ref().map(|test| (test.p, test.method == "exact"));
    figures.push(Figure::p(format!("{id}/p"), test, known));
    figures
}

/// What the overview says of studies; nothing where there were none.
pub fn overview(writer: &Writer<'_>) -> String {
    let studies = &writer.report.studies;
    if studies.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = studies
        .iter()
        .map(|study| {
            let id = study.id();
            let arm =
                |arm: StudyArm| writer.figure(&format!("{id}/{}/{}/median", arm.name(), safe(&study.plan.outcome)));
            vec![
                format!(
                    "<a href=\"{}\">{}</a><small>{}</small>",
                    study.file(),
                    name(&study.plan.title),
                    name(&study.plan.study)
                ),
                writer.figure(&format!("{id}/runs")),
                arm(StudyArm::Treatment),
                arm(StudyArm::Control),
                writer.figure(&format!("{id}/p")),
                differs(study).to_owned(),
            ]
        })
        .collect();
    let head = [
        "study",
        "runs of those planned",
        "median, treatment",
        "median, control",
        "p",
        "answer",
    ];
    format!(
        "<h2>Studies</h2>\n{}",
        table("Each study, as its logged runs have it", &head, &rows)
    )
}

fn differs(study: &Study) -> &'static str {
    match &study.result.test {
        None => "not enough runs",
        Some(test) if test.differs && test.excess > 0.0 => "treatment is faster",
        Some(test) if test.differs => "treatment is slower",
        Some(_) => "no difference shown",
    }
}

/// Plan, order, arms, results and power of one study.
pub fn page(writer: &Writer<'_>, study: &Study) -> String {
    let (plan, id) = (&study.plan, study.id());
    let digest = study.result.plan.hex();
    let mut body = format!(
        "<h1>Study: {}</h1>\n<p><strong>{}</strong>: p {}, held against α = {}. Runs that count, of those planned: {}. <code>{}</code></p>\n",
        name(&plan.title),
        differs(study),
        writer.inline(&format!("{id}/p")),
        number(plan.alpha),
        writer.inline(&format!("{id}/runs")),
        escaped(&writer.report.query(&id))
    );
    body += "<h2>What was planned</h2>\n";
    body += &list(&[
        format!(
            "plan <code>{digest}</code>, log index {}, {}: logged before its first run",
            grouped(study.index),
            minute(study.at)
        ),
        format!(
            "file {} (<code>sha256:{}</code>), design {}",
            name(&plan.study),
            plan.digest.short(),
            name(&plan.design)
        ),
        format!(
            "treatment {}; control {}",
            experiment(&plan.treatment),
            experiment(&plan.control)
        ),
        format!(
            "outcome: {} within {}",
            name(&plan.outcome),
            seconds(plan.window_us as f64 / 1e6)
        ),
        format!("judged by: {}", name(&plan.analysis)),
        format!(
            "smallest p that this order can come to: {}; seed {}",
            number(plan.smallest_p),
            name(&plan.seed)
        ),
    ]);
    let power = plan
        .power
        .iter()
        .map(|row| vec![number(row.hazard_ratio), format!("{} %", number(row.power * 100.0))]);
    body += &table(
        "Power: how often a study of this size finds a treatment so many times as fast",
        &["times as fast", "found in"],
        &power.collect::<Vec<_>>(),
    );
    let order = plan.order.iter().enumerate().map(|(block, arms)| {
        let arms: Vec<&str> = arms.iter().map(|arm| arm.name()).collect();
        vec![format!("{}", block + 1), arms.join(", ")]
    });
    body += &details(
        "the order of the arms",
        &table(
            "Blocks in the order of their runs",
            &["block", "arms"],
            &order.collect::<Vec<_>>(),
        ),
    );
    body += "<h2>What came of it</h2>\n";
    let rows: Vec<Vec<String>> = ARMS
        .iter()
        .map(|arm| {
            let cell = |what: &str| writer.figure(&format!("{id}/{}/{}/{what}", arm.name(), safe(&plan.outcome)));
            vec![arm.name().to_owned(), cell("probability"), cell("median"), cell("mean")]
        })
        .collect();
    body += &table(
        "The arms",
        &["arm", "how often within the window", "median", "restricted mean"],
        &rows,
    );
    if let Some((low, high)) = study.result.test.as_ref().and_then(|test| test.if_unknown) {
        body += &format!(
            "<p>Whatever the unknown runs were, p lies between {} and {}.</p>\n",
            number(low),
            number(high)
        );
    }
    body += "<div class=\"cards\">";
    for (place, arm) in ARMS.iter().enumerate() {
        let curve = format!("{id}/{}/{}/curve", arm.name(), safe(&plan.outcome));
        body += &curve_card(
            writer,
            &curve,
            &format!(
                "{} ({})",
                OUTCOME_WORDS
                    .iter()
                    .find(|word| **word == plan.outcome)
                    .unwrap_or(&"happened"),
                arm.name()
            ),
            place,
        );
    }
    body += "</div>\n<h2>Deviations from the plan</h2>\n";
    let mut deviations: Vec<String> = study
        .result
        .deviations
        .iter()
        .map(|deviation| name(deviation))
        .collect();
    deviations.extend(
        study
            .logged
            .iter()
            .filter(|(_, agrees)| !agrees)
            .map(|(index, _)| format!("<strong>the result at log index {index} is not what its runs come to</strong>")),
    );
    body += &if deviations.is_empty() {
        "<p>None.</p>\n".to_owned()
    } else {
        list(&deviations)
    };
    let agreeing: Vec<String> = study
        .logged
        .iter()
        .filter(|(_, agrees)| *agrees)
        .map(|(index, _)| grouped(*index))
        .collect();
    body += &match agreeing.is_empty() {
        true => {
            "<p>No result that agrees stands in the log; what is told here is folded from the runs.</p>\n".to_owned()
        }
        false => format!(
            "<p>Logged results that its runs come to: log index {}.</p>\n",
            agreeing.join(", ")
        ),
    };
    let runs = study.result.runs.iter().map(|run| {
        let time = match (&run.unknown, run.time_us) {
            (Some(why), _) => format!("unknown: {}", name(why)),
            (None, Some(at)) => seconds(at as f64 / 1e6),
            (None, None) => format!("not in {}", seconds(run.watched_us as f64 / 1e6)),
        };
        vec![
            grouped(run.index),
            format!("{}.{}", run.block + 1, run.position + 1),
            run.arm.name().to_owned(),
            time,
        ]
    });
    body + &details(
        "its runs",
        &table(
            "Runs that count, in order",
            &["log index", "block.run", "arm", "time"],
            &runs.collect::<Vec<_>>(),
        ),
    )
}

/// Outcomes that a study may have, as a curve calls them.
const OUTCOME_WORDS: [&str; 3] = ["detected", "contained", "recovered"];

fn experiment(experiment: &StudyExperiment) -> String {
    let sham = if experiment.sham { ", without its faults" } else { "" };
    format!(
        "{} (<code>sha256:{}</code>{sham})",
        name(&experiment.experiment),
        experiment.digest.short()
    )
}

impl Report {
    /// The study of this id.
    pub(super) fn study_json(&self, id: &str) -> Option<Value> {
        let study = self.studies.iter().find(|study| study.id() == id)?;
        Some(study.json(&self.query(id)))
    }
}
