//! Drills: rehearsals of a playbook with people. How soon somebody was told, and answered; and the after-action record of
//! each.

use std::collections::BTreeMap;

use evidence::predicates::{self, Drill};
use evidence::{Logged, Statement, Timestamp, Verified};

use super::figure::{Figure, Sample};
use super::fold::safe;
use super::html::{Writer, details, escaped, grouped, list, minute, name, seconds, table};
use super::{Filter, svg};

/// What happens once in a drill, in the order in which it does.
pub const MILESTONES: [&str; 5] = ["announced", "notified", "acknowledged", "over", "closed"];
/// Those that figures are made of: how long after the announcement.
const TIMED: [&str; 3] = ["notified", "acknowledged", "over"];
const OUTCOMES: [&str; 3] = ["succeeded", "failed", "stopped"];

/// One drill, and where it stands in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct DrillRun {
    pub index: u64,
    pub at: Timestamp,
    pub evidence: Drill,
}

impl DrillRun {
    pub fn id(&self) -> String {
        format!("drill:{}", self.index)
    }

    pub fn file(&self) -> String {
        format!("drill-{}.html", self.index)
    }

    /// Microseconds until a milestone, or, where it never came, until the drill was closed.
    fn time(&self, milestone: &str) -> (u64, bool) {
        let times = &self.evidence.milestones_us;
        match times.get(milestone) {
            Some(at) => (*at, true),
            None => (times.values().copied().max().unwrap_or(0), false),
        }
    }
}

/// Drills of the log that the filter lets through, and log indexes of those that can't be read. An experiment alone is
/// told with the drills that injected it.
pub fn drills(statements: &[Logged<Verified<Statement>>], filter: &Filter) -> (Vec<DrillRun>, Vec<u64>) {
    let (mut drills, mut unreadable) = (Vec::new(), Vec::new());
    for statement in statements
        .iter()
        .filter(|statement| statement.predicate_type == predicates::DRILL)
    {
        let at = statement.context().map(|context| context.at);
        if at.is_some_and(|at| !filter.lets(at)) {
            continue;
        }
        let Some((at, evidence)) = at.zip(statement.predicate_as::<Drill>(predicates::DRILL)) else {
            unreadable.push(statement.index());
            continue;
        };
        let injected = evidence.experiment.as_ref().map(|experiment| &experiment.file);
        if filter.lets_study(None) && (filter.experiment.is_none() || filter.experiment.as_ref() == injected) {
            let index = statement.index();
            drills.push(DrillRun { index, at, evidence });
        }
    }
    (drills, unreadable)
}

/// Figures of all drills, and of those of each playbook.
pub fn figures(drills: &[DrillRun]) -> Vec<Figure> {
    if drills.is_empty() {
        return Vec::new();
    }
    let all: Vec<&DrillRun> = drills.iter().collect();
    let mut figures = scope("drills", &all);
    let mut by_playbook: BTreeMap<&str, Vec<&DrillRun>> = BTreeMap::new();
    for drill in drills {
        by_playbook.entry(&drill.evidence.playbook).or_default().push(drill);
    }
    for (playbook, of) in by_playbook {
        figures.extend(scope(&format!("playbook:{}", safe(playbook)), &of));
    }
    figures
}

fn scope(scope: &str, drills: &[&DrillRun]) -> Vec<Figure> {
    let n = drills.len() as u64;
    let indexes: Vec<u64> = drills.iter().map(|drill| drill.index).collect();
    let mut figures = vec![Figure::count(format!("{scope}/held"), n, n, indexes.clone())];
    for outcome in OUTCOMES {
        let of: Vec<u64> = drills
            .iter()
            .filter(|drill| drill.evidence.outcome == outcome)
            .map(|drill| drill.index)
            .collect();
        figures.push(Figure::count(format!("{scope}/{outcome}"), of.len() as u64, n, of));
    }
    for milestone in TIMED {
        let mut sample = Sample::default();
        for drill in drills {
            let (us, observed) = drill.time(milestone);
            sample.push(us, observed, drill.index);
        }
        figures.push(Figure::probability(format!("{scope}/{milestone}/probability"), &sample));
        figures.push(Figure::median(format!("{scope}/{milestone}/median"), &sample));
        figures.push(Figure::restricted_mean(format!("{scope}/{milestone}/mean"), &sample));
    }
    let deviations = drills.iter().map(|drill| drill.evidence.deviations.len() as u64).sum();
    let expected = drills.iter().map(|drill| drill.evidence.expected.len() as u64).sum();
    figures.push(Figure::count(
        format!("{scope}/deviations"),
        deviations,
        expected,
        indexes,
    ));
    figures
}

/// What the overview says of drills; nothing where there were none.
pub fn overview(writer: &Writer<'_>) -> String {
    let drills = &writer.report.drills;
    if drills.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = drills
        .iter()
        .map(|drill| {
            let evidence = &drill.evidence;
            let time = |milestone: &str| match drill.time(milestone) {
                (us, true) => seconds(us as f64 / 1e6),
                (us, false) => format!("not in {}", seconds(us as f64 / 1e6)),
            };
            vec![
                format!(
                    "<a href=\"{}\">{}</a><small>log index {}</small>",
                    drill.file(),
                    name(&evidence.name),
                    grouped(drill.index)
                ),
                minute(evidence.started),
                name(&evidence.outcome),
                time("notified"),
                time("acknowledged"),
                time("over"),
                grouped(evidence.deviations.len() as u64),
            ]
        })
        .collect();
    let measures: Vec<Vec<String>> = TIMED
        .iter()
        .map(|milestone| {
            let cell = |what: &str| writer.figure(&format!("drills/{milestone}/{what}"));
            vec![
                (*milestone).to_owned(),
                cell("probability"),
                cell("median"),
                cell("mean"),
            ]
        })
        .collect();
    format!(
        "<h2>Drills</h2>\n<p class=\"sub\">Rehearsals with people; times count from the announcement.</p>\n{}{}",
        table(
            "Each drill",
            &[
                "playbook",
                "started",
                "outcome",
                "notified",
                "acknowledged",
                "over",
                "deviations"
            ],
            &rows
        ),
        table(
            "All drills",
            &["milestone", "how often", "median", "restricted mean"],
            &measures
        )
    )
}

/// The after-action record of one drill.
pub fn page(writer: &Writer<'_>, drill: &DrillRun) -> String {
    let evidence = &drill.evidence;
    let us = |us: u64| seconds(us as f64 / 1e6);
    let live = if evidence.live {
        "machine actions were really done"
    } else {
        "machine actions were only said"
    };
    let mut body = format!(
        "<h1>Drill: {}</h1>\n<p>{} (<code>sha256:{}</code>); started {}, outcome <strong>{}</strong>; {live}. <code>{}</code></p>\n",
        name(&evidence.name),
        name(&evidence.playbook),
        evidence.digest.short(),
        minute(evidence.started),
        name(&evidence.outcome),
        escaped(&writer.report.query(&drill.id()))
    );
    body += &format!(
        "<h2>What people were told</h2>\n<p>{}</p>\n",
        name(&evidence.announcement)
    );
    if let Some(experiment) = &evidence.experiment {
        let ran = match (experiment.index, &experiment.problem) {
            (Some(index), _) => format!("log index {}", grouped(index)),
            (None, Some(problem)) => name(problem),
            (None, None) => "no statement".to_owned(),
        };
        body += &format!(
            "<p>Injected at the announcement: {} ({ran}).</p>\n",
            name(&experiment.file)
        );
    }
    body += "<h2>When it happened</h2>\n";
    if evidence.wall_clock {
        body += "<p>The machine was restarted meanwhile: what came after is measured by UTC.</p>\n";
    }
    if let Some(picture) = svg::drill(evidence, "d") {
        body += &format!("<figure>{picture}<figcaption>Steps by their number in the table.</figcaption></figure>\n");
    }
    let milestones = MILESTONES.iter().map(|milestone| {
        let at = evidence.milestones_us.get(*milestone);
        vec![
            (*milestone).to_owned(),
            at.map_or_else(|| "never".to_owned(), |at| us(*at)),
        ]
    });
    body += &table(
        "Milestones",
        &["milestone", "after the announcement"],
        &milestones.collect::<Vec<_>>(),
    );
    let taken = evidence.taken.iter().enumerate().map(|(number, step)| {
        vec![
            format!(
                "{}. {}<small>{}</small>",
                number + 1,
                name(&step.name),
                name(&step.step)
            ),
            name(&step.by),
            us(step.began_us),
            step.done_us.map_or_else(|| "never".to_owned(), us),
            name(&step.outcome),
        ]
    });
    body += &table(
        "What was done",
        &["step", "by", "asked for or begun", "done", "outcome"],
        &taken.collect::<Vec<_>>(),
    );
    body += "<h2>Deviations from the playbook</h2>\n";
    body += &match evidence.deviations.is_empty() {
        true => "<p>None.</p>\n".to_owned(),
        false => {
            let rows = evidence.deviations.iter();
            let rows = rows.map(|deviation| vec![name(&deviation.kind), name(&deviation.step), name(&deviation.what)]);
            table("Deviations", &["kind", "step", "what"], &rows.collect::<Vec<_>>())
        }
    };
    let expected = evidence.expected.iter().map(|step| {
        vec![
            format!("{}<small>{}</small>", name(&step.name), name(&step.step)),
            if step.person { "a person" } else { "a machine" }.to_owned(),
            if step.conditional {
                "where its condition holds"
            } else {
                "always"
            }
            .to_owned(),
            step.timeout_us.map_or_else(|| "none".to_owned(), us),
        ]
    });
    let way = table(
        "The playbook's way",
        &["step", "done by", "when", "time limit"],
        &expected.collect::<Vec<_>>(),
    );
    body += &details("the playbook's own way", &way);
    body += "<h2>Who took part</h2>\n";
    body += &match evidence.participants.is_empty() {
        true => "<p>Nobody answered.</p>\n".to_owned(),
        false => {
            let rows = evidence.participants.iter().map(|person| {
                let keys: Vec<String> = person
                    .keys
                    .iter()
                    .map(|key| format!("<code>{}</code>", escaped(&key.0)))
                    .collect();
                vec![name(&person.name), keys.join(" ")]
            });
            table("Participants", &["name", "keys that signed"], &rows.collect::<Vec<_>>())
        }
    };
    body += "<h2>What people wrote</h2>\n";
    let notes: Vec<String> = evidence.notes.iter().map(|note| name(note)).collect();
    body += &if notes.is_empty() {
        "<p>Nothing.</p>\n".to_owned()
    } else {
        list(&notes)
    };
    body += "<h2>To do</h2>\n";
    let actions: Vec<String> = evidence
        .actions
        .iter()
        .map(|action| format!("{}: {}", name(&action.owner), name(&action.action)))
        .collect();
    body + &if actions.is_empty() {
        "<p>Nothing was written down.</p>\n".to_owned()
    } else {
        list(&actions)
    }
}
