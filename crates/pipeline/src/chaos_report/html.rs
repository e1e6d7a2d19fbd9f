//! The report as pages: static, without script, readable from a phone's width up and by a screen reader.
//!
//! Whatever comes from a statement passes [`name`] or [`escaped`] on its way in, and nothing else does. Numbers come
//! from figures alone, and each leads to its row on a page of figures, where its query stands.
//!
//! Start reading at [`pages`], then [`overview`].

use std::collections::{BTreeMap, BTreeSet};

use statistics::Time;

use super::figure::{Figure, Method, RUNS_MIN, Unit};
use super::fold::{self, CORRELATIONS, MOMENTS, PHASES, PROPERTIES, Run, State};
use super::layer::TABLE;
use super::{Report, drills, layer, studies, style, svg};

/// Characters of a name that are shown; all of it stands in `report.json`.
const NAME_CHARS_MAX: usize = 160;
/// Runs on one page.
const RUNS_PER_PAGE_MAX: usize = 60;
/// Rows of one run's table of alerts; all of them stand in `report.json`.
const ALERT_ROWS_MAX: usize = 60;
/// Rows of one curve's table; all of them stand in `report.json`.
const CURVE_ROWS_MAX: usize = 400;
/// Moments that get a curve.
const CURVES: [&str; 3] = ["detected", "contained", "recovered"];
/// Scopes that figures are grouped by, in the order of their pages.
const SCOPES: [(&str, &str); 9] = [
    ("all", "everything"),
    ("experiment", "experiments"),
    ("fault", "faults"),
    ("mechanism", "undo mechanisms"),
    ("technique", "techniques"),
    ("detector", "detectors"),
    ("drills", "drills"),
    ("playbook", "drills by playbook"),
    ("study", "studies"),
];

/// Every page by file name.
pub fn pages(report: &Report) -> BTreeMap<String, Vec<u8>> {
    let writer = Writer::new(report);
    let mut files = BTreeMap::new();
    let mut page = |file: &str, title: &str, body: String| {
        files.insert(file.to_owned(), writer.page(file, title, &body).into_bytes());
    };
    page("index.html", "Chaos report", writer.overview());
    for drill in &report.drills {
        let title = format!("Drill: {}", plain(&drill.evidence.name, 60));
        page(&drill.file(), &title, drills::page(&writer, drill));
    }
    for study in &report.studies {
        let title = format!("Study: {}", plain(&study.plan.title, 60));
        page(&study.file(), &title, studies::page(&writer, study));
    }
    for (scope, what) in writer.scopes() {
        page(
            &figures_file(scope),
            &format!("Figures: {what}"),
            writer.figures(scope, what),
        );
    }
    for experiment in &writer.experiments {
        for (number, runs) in experiment.pages().enumerate() {
            let body = writer.experiment(experiment, number, runs);
            page(&experiment.file(number), &plain(experiment.path, 60), body);
        }
    }
    files
}

/// Text with everything that a page or a terminal would obey made visible.
pub fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if obeyed(c) => out.push_str(&format!("[U+{:04X}]", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Controls, and the marks that turn the direction of what follows.
fn obeyed(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A name from a statement: clipped, escaped, and kept from turning the direction of what stands around it.
pub fn name(text: &str) -> String {
    match text {
        "" => "<bdi>(no name)</bdi>".to_owned(),
        _ => format!("<bdi>{}</bdi>", plain(text, NAME_CHARS_MAX)),
    }
}

/// The same without markup, at most `most` characters.
fn plain(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return escaped(text);
    }
    let shown: String = text.chars().take(most).collect();
    format!("{}… ({} characters)", escaped(&shown), grouped(count as u64))
}

/// `1,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A duration with its unit and three digits: `140 ms`, `1.30 s`, `4.5 min`.
pub fn seconds(seconds: f64) -> String {
    let size = seconds.abs();
    let digits = |value: f64, unit: &str| match value.abs() {
        big if big >= 99.95 => format!("{value:.0} {unit}"),
        middle if middle >= 9.995 => format!("{value:.1} {unit}"),
        _ => format!("{value:.2} {unit}"),
    };
    let text = match size {
        0.0 => return "0 s".to_owned(),
        size if size < 1e-3 => format!("{:.0} µs", seconds * 1e6),
        size if size < 0.9995 => digits(seconds * 1e3, "ms"),
        size if size < 120.0 => digits(seconds, "s"),
        size if size < 7200.0 => digits(seconds / 60.0, "min"),
        _ => digits(seconds / 3600.0, "h"),
    };
    // `2.00 s` says no more than `2 s`.
    match text.split_once('.') {
        Some((whole, rest)) if rest.starts_with("00 ") => format!("{whole}{}", &rest[2..]),
        Some((whole, rest)) if rest.starts_with("0 ") => format!("{whole}{}", &rest[1..]),
        _ => text,
    }
}

fn per_cent(share: f64) -> String {
    format!("{:.1}", share * 100.0)
}

/// A number without a unit: whole, or with so many digits that something is left of it.
pub fn number(value: f64) -> String {
    let text = match value.abs() {
        _ if value.fract() == 0.0 && value.abs() < 1e15 => return grouped(value as u64),
        small if small < 0.001 => return format!("{value:.1e}"),
        small if small < 10.0 => format!("{value:.3}"),
        _ => format!("{value:.1}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// A value in the unit of its figure.
fn in_unit(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Share => format!("{} %", per_cent(value)),
        Unit::Seconds => seconds(value),
        Unit::PerHour => format!("{} per hour", number(value)),
        Unit::Count => number(value),
    }
}

fn time(time: &Time) -> String {
    match time.observed {
        true => seconds(time.seconds),
        false => format!("not in {}", seconds(time.seconds)),
    }
}

/// What a figure says, in a few words.
pub fn said(figure: &Figure) -> String {
    let (events, n) = (grouped(figure.events), grouped(figure.n));
    match (figure.method, figure.value) {
        _ if figure.n == 0 => "n/a (n = 0)".to_owned(),
        (Method::Curve, _) if !figure.is_raw() => format!("{} steps", grouped(figure.points.len() as u64)),
        (Method::Count, Some(value)) if figure.events == figure.n => number(value),
        (Method::Count, Some(value)) => format!("{} of {n}", number(value)),
        (_, Some(value)) => in_unit(figure.unit, value),
        (Method::Share | Method::ShareBy, None) => format!("{events} of {n}"),
        _ if figure.is_raw() => figure.raw.iter().map(time).collect::<Vec<_>>().join(", "),
        (Method::Median, None) => "not reached".to_owned(),
        _ => "n/a".to_owned(),
    }
}

/// What it rests on: interval, n, censored.
pub fn rests_on(figure: &Figure) -> String {
    if figure.n == 0 || figure.method == Method::Count {
        return String::new();
    }
    let mut parts = Vec::new();
    parts.extend(interval(figure).map(|interval| format!("95 % {interval}")));
    if let Some(until) = figure.until {
        parts.push(format!("within {}", seconds(until)));
    }
    let n = grouped(figure.n);
    parts.push(match (figure.method, figure.exposure) {
        (Method::Rate, Some(hours)) => format!("{} in {hours:.2} h, n {n} windows", grouped(figure.events)),
        (Method::Ratio, Some(whole)) => format!("{} of {} requests, n {n}", grouped(figure.events), number(whole)),
        _ => format!("n {n}"),
    });
    if figure.censored > 0 {
        parts.push(format!("{} censored", grouped(figure.censored)));
    }
    if figure.is_raw() {
        parts.push("raw".to_owned());
    }
    parts.join("; ")
}

fn interval(figure: &Figure) -> Option<String> {
    let (low, high) = figure.interval?;
    let end = |end: Option<f64>| end.map(|value| in_unit(figure.unit, value));
    Some(match (end(low), end(high)) {
        (Some(low), Some(high)) => {
            // One unit for both where it is one.
            let (number, unit) = low.split_once(' ').unwrap_or((&low, ""));
            let same = high.split_once(' ').is_some_and(|(_, other)| other == unit);
            format!("{}–{high}", if same { number } else { &low })
        }
        (Some(low), None) => format!("{low}–not reached"),
        (None, Some(high)) => format!("not reached–{high}"),
        (None, None) => "not reached".to_owned(),
    })
}

/// `experiment` of `experiment:FILE/runs`.
fn scope_of(id: &str) -> &str {
    id.split([':', '/']).next().unwrap_or_default()
}

fn figures_file(scope: &str) -> String {
    format!("figures-{scope}.html")
}

fn link(file: &str, text: &str) -> String {
    format!("<a href=\"{file}\">{text}</a>")
}

fn cells(tag: &str, cells: &[String]) -> String {
    cells.iter().map(|cell| format!("<{tag}>{cell}</{tag}>")).collect()
}

/// A table in a box that scrolls by itself; the first cell of a row is its heading. A keyboard reaches the box.
pub fn table(caption: &str, head: &[&str], rows: &[Vec<String>]) -> String {
    let head: String = head
        .iter()
        .map(|cell| format!("<th scope=\"col\">{cell}</th>"))
        .collect();
    let rows: String = rows
        .iter()
        .map(|row| {
            let (first, rest) = row
                .split_first()
                .map_or(("", &row[..]), |(first, rest)| (first.as_str(), rest));
            format!("<tr><th scope=\"row\">{first}</th>{}</tr>", cells("td", rest))
        })
        .collect();
    format!(
        "<div class=\"box\" role=\"region\" tabindex=\"0\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>\n",
        caption
    )
}

pub fn details(summary: &str, body: &str) -> String {
    format!("<details><summary>{summary}</summary>{body}</details>\n")
}

pub fn list(items: &[String]) -> String {
    let items: String = items.iter().map(|item| format!("<li>{item}</li>")).collect();
    format!("<ul>{items}</ul>\n")
}

/// A file name of our own for a name of theirs.
fn slug(text: &str) -> String {
    let words: String = text
        .chars()
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_lowercase()
            } else {
                '-'
            }
        })
        .take(40)
        .collect();
    format!(
        "{}-{}",
        words.trim_matches('-'),
        &evidence::Digest::of(text.as_bytes()).hex()[..8]
    )
}

/// The runs of one experiment's file.
struct Experiment<'a> {
    path: &'a str,
    runs: Vec<&'a Run>,
}

impl Experiment<'_> {
    fn file(&self, page: usize) -> String {
        match page {
            0 => format!("experiment-{}.html", slug(self.path)),
            page => format!("experiment-{}-{}.html", slug(self.path), page + 1),
        }
    }

    fn pages(&self) -> impl Iterator<Item = &[&Run]> {
        self.runs.chunks(RUNS_PER_PAGE_MAX)
    }

    /// As it was called last.
    fn title(&self) -> &str {
        self.runs.last().map_or("", |run| run.evidence.title.as_str())
    }

    fn scope(&self) -> String {
        format!("experiment:{}", fold::safe(self.path))
    }
}

pub struct Writer<'a> {
    pub report: &'a Report,
    experiments: Vec<Experiment<'a>>,
    /// Where each figure's row stands: page and anchor.
    anchors: BTreeMap<&'a str, String>,
    sheet: String,
}

impl<'a> Writer<'a> {
    fn new(report: &'a Report) -> Writer<'a> {
        let mut by_path: BTreeMap<&str, Vec<&Run>> = BTreeMap::new();
        for run in &report.runs {
            by_path.entry(&run.evidence.experiment).or_default().push(run);
        }
        let anchor = |(number, id): (usize, &'a String)| {
            let scope = scope_of(id);
            (id.as_str(), format!("{}#f{number}", figures_file(scope)))
        };
        Writer {
            report,
            experiments: by_path
                .into_iter()
                .map(|(path, runs)| Experiment { path, runs })
                .collect(),
            anchors: report.figures.keys().enumerate().map(anchor).collect(),
            sheet: style::sheet(),
        }
    }

    fn page(&self, file: &str, title: &str, body: &str) -> String {
        let mut nav = vec![("index.html".to_owned(), "overview")];
        nav.extend(self.scopes().map(|(scope, what)| (figures_file(scope), what)));
        let nav: String = nav
            .iter()
            .map(|(target, text)| {
                let here = if target == file { " aria-current=\"page\"" } else { "" };
                let after = if target == "index.html" {
                    "</li><li class=\"sub\">figures of:"
                } else {
                    ""
                };
                format!("<li><a href=\"{target}\"{here}>{text}</a>{after}</li>")
            })
            .collect();
        let log = &self.report.log;
        format!(
            "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" content=\"{policy}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"referrer\" content=\"no-referrer\">\n<title>{title}</title>\n<style>{sheet}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">to the content</a>\n<header><nav aria-label=\"Pages\"><ul>{nav}</ul></nav></header>\n<main id=\"main\">\n{body}</main>\n<footer><p>Folded from log {origin} up to size {size}{filter}. The same log gives the same bytes. Proof of each statement: <code>proofmark log fsck</code>.</p></footer>\n</body>\n</html>\n",
            policy = style::policy(&self.sheet),
            sheet = self.sheet,
            origin = name(&log.origin),
            size = grouped(log.size),
            filter = match self.report.filter.arguments() {
                none if none.is_empty() => String::new(),
                arguments => format!(", with <code>{}</code>", plain(arguments.trim_start(), 400)),
            },
        )
    }

    /// Scopes that have a figure.
    fn scopes(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        SCOPES
            .into_iter()
            .filter(|(scope, _)| self.report.figures.keys().any(|id| scope_of(id) == *scope))
    }

    fn get(&self, id: &str) -> Option<&'a Figure> {
        self.report.figures.get(id)
    }

    /// A cell with a figure: what it says, what it rests on, and the way to its row.
    pub fn figure(&self, id: &str) -> String {
        let Some((figure, anchor)) = self.get(id).zip(self.anchors.get(id)) else {
            return "not told".to_owned();
        };
        if figure.n == 0 {
            return said(figure);
        }
        match rests_on(figure) {
            none if none.is_empty() => link(anchor, &said(figure)),
            rests_on => format!("{}<small>{rests_on}</small>", link(anchor, &said(figure))),
        }
    }

    /// The figure in a sentence.
    pub fn inline(&self, id: &str) -> String {
        let Some((figure, anchor)) = self.get(id).zip(self.anchors.get(id)) else {
            return "not told".to_owned();
        };
        match (figure.n, rests_on(figure)) {
            (0, _) => said(figure),
            (_, none) if none.is_empty() => link(anchor, &said(figure)),
            (_, rests_on) => format!("{} ({rests_on})", link(anchor, &said(figure))),
        }
    }

    fn overview(&self) -> String {
        let mut body = format!("<h1>Chaos report</h1>\n{}", self.judged());
        if self.report.runs.is_empty() {
            body += "<p>No run of an experiment stands in this log: nothing was attacked, and nothing is known.</p>\n";
            return body + &self.worth_a_look() + &drills::overview(self) + &studies::overview(self);
        }
        body += &self.tiles();
        body += &self.worth_a_look();
        body += &self.per_experiment();
        body += &self.per_fault();
        body += &self.attack();
        body += &self.rollback();
        body += &self.false_alerts();
        body += &self.detectors();
        body += &studies::overview(self);
        body += &drills::overview(self);
        body += &self.properties("all", "What held during the faults", "C/I/A over all runs");
        body += &self.workload("all", "The workload of all runs");
        body + &how_to_read()
    }

    /// The first line: what is judged.
    fn judged(&self) -> String {
        let runs = &self.report.runs;
        let faults: BTreeSet<&str> = runs
            .iter()
            .flat_map(|run| &run.evidence.faults)
            .map(|fault| fault.fault.as_str())
            .collect();
        let days = match (runs.iter().map(|run| run.at).min(), runs.iter().map(|run| run.at).max()) {
            (Some(first), Some(last)) => format!(" between {} and {}", minute(first), minute(last)),
            _ => String::new(),
        };
        format!(
            "<p>{} runs of {} experiments with {} faults{days}; log {} up to size {}.</p>\n",
            grouped(runs.len() as u64),
            grouped(self.experiments.len() as u64),
            grouped(faults.len() as u64),
            name(&self.report.log.origin),
            grouped(self.report.log.size)
        )
    }

    fn tiles(&self) -> String {
        let tiles = [
            ("judged runs", "all/judged"),
            ("unknown runs", "all/unknown"),
            ("detected", "all/detected/probability"),
            ("median time to detect", "all/detected/median"),
            ("median time to contain", "all/contained/median"),
            ("median time to recover", "all/recovered/median"),
            ("undone by us", "all/rollback/probability"),
            ("false alerts in blind windows", "all/blind/rate"),
        ];
        let tiles: String = tiles
            .iter()
            .map(|(what, id)| {
                let says = self.figure(id);
                let (head, rest) = says.split_at(says.find("<small>").unwrap_or(says.len()));
                format!("<li class=\"tile\">{what}<b>{head}</b>{rest}</li>")
            })
            .collect();
        format!("<ul class=\"tiles\">{tiles}</ul>\n")
    }

    /// What somebody should do something about, the worst first.
    fn worth_a_look(&self) -> String {
        let mut items = Vec::new();
        let residue = self.get("all/rollback/residue").map_or(0, |figure| figure.events);
        if residue > 0 {
            items.push(format!(
                "<strong>{} faults are not undone</strong>, or their way forward was not taken: {}. <code>proofmark chaos undo</code>",
                grouped(residue),
                self.inline("all/rollback/residue")
            ));
        }
        for experiment in &self.experiments {
            let id = format!("{}/detected/probability", experiment.scope());
            if self.get(&id).is_some_and(|figure| figure.n > 0 && figure.events == 0) {
                items.push(format!(
                    "{}: <strong>never detected</strong>, {}",
                    link(&experiment.file(0), &name(experiment.path)),
                    self.inline(&id)
                ));
            }
        }
        for (detector, diagnoses) in self.diagnoses() {
            items.push(format!(
                "detector {}: <strong>{}</strong>",
                name(detector),
                diagnoses.join(", ")
            ));
        }
        if self.get("all/detected/weak").is_some_and(|figure| figure.events > 0) {
            items.push(format!(
                "detections that rest on the time window alone (weak: nothing else joins the alert to the fault): {}",
                self.inline("all/detected/weak")
            ));
        }
        if self.get("all/blind/rate").is_some_and(|figure| figure.events > 0) {
            items.push(format!(
                "false alerts where nothing was injected: {}",
                self.inline("all/blind/rate")
            ));
        }
        if self.get("all/unreadable").is_some_and(|figure| figure.events > 0) {
            items.push(format!(
                "<strong>statements of runs that this program can't read</strong>, in no other figure: {}",
                self.inline("all/unreadable")
            ));
        }
        let unknown = self.get("all/unknown").map_or(0, |figure| figure.events);
        if unknown > 0 {
            items.push(format!(
                "unknown runs, in no probability and no time: {}",
                self.inline("all/unknown")
            ));
        }
        let body = match items.is_empty() {
            true => "<p>Nothing in these runs; what was never attacked is not known.</p>\n".to_owned(),
            false => list(&items),
        };
        format!("<h2>Worth a look</h2>\n{body}")
    }

    /// Detectors with what is wrong with each and how often.
    fn diagnoses(&self) -> BTreeMap<&'a str, Vec<String>> {
        let mut counts: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for detector in self.report.runs.iter().flat_map(|run| &run.evidence.detectors) {
            let wrong = match &detector.diagnosis {
                Some(diagnosis) => diagnosis,
                None if !detector.self_test => "failed its self-test",
                None if detector.false_alarm => "fired before the injection",
                None => continue,
            };
            *counts.entry((&detector.id, wrong)).or_default() += 1;
        }
        let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for ((detector, wrong), count) in counts {
            all.entry(detector)
                .or_default()
                .push(format!("{} ×&nbsp;{}", name(wrong), grouped(count)));
        }
        all
    }

    fn per_experiment(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .experiments
            .iter()
            .map(|experiment| {
                let head = format!(
                    "{}<small>{}</small>",
                    link(&experiment.file(0), &name(experiment.path)),
                    name(experiment.title())
                );
                self.row(head, &experiment.scope(), &MEASURES)
            })
            .collect();
        format!(
            "<h2>By experiment</h2>\n{}",
            table(
                "Each experiment, over all its runs",
                &heads("experiment", &MEASURES),
                &rows
            )
        )
    }

    fn row(&self, head: String, scope: &str, measures: &[(&str, &str)]) -> Vec<String> {
        let figures = measures.iter().map(|(_, id)| self.figure(&format!("{scope}/{id}")));
        std::iter::once(head).chain(figures).collect()
    }

    fn names(&self, scope: &str) -> BTreeSet<&'a str> {
        let runs = self.report.runs.iter();
        match scope {
            "fault" => runs
                .flat_map(|run| &run.evidence.faults)
                .map(|fault| fault.fault.as_str())
                .collect(),
            "mechanism" => runs
                .flat_map(|run| &run.evidence.faults)
                .map(|fault| fault.undo_class.as_str())
                .collect(),
            _ => {
                let armed = runs
                    .clone()
                    .flat_map(|run| &run.evidence.detectors)
                    .map(|detector| detector.id.as_str());
                let measured = runs.filter_map(|run| run.evidence.measured.as_ref());
                armed
                    .chain(
                        measured
                            .flat_map(|measured| &measured.alerts)
                            .map(|alert| alert.detector.as_str()),
                    )
                    .collect()
            }
        }
    }

    fn rows(&self, scope: &str, measures: &[(&str, &str)]) -> Vec<Vec<String>> {
        self.names(scope)
            .into_iter()
            .map(|id| self.row(name(id), &format!("{scope}:{}", fold::safe(id)), measures))
            .collect()
    }

    fn per_fault(&self) -> String {
        format!(
            "<h2>By fault</h2>\n<p class=\"sub\">A run with several faults counts for each of them. <code>proofmark explain chaos/FAULT</code> prints a fault's page.</p>\n{}",
            table(
                "Each fault, over all runs that injected it",
                &heads("fault", &MEASURES),
                &self.rows("fault", &MEASURES)
            )
        )
    }

    fn attack(&self) -> String {
        let techniques: Vec<(&str, &Figure)> = self.report.techniques().collect();
        let mut body = format!(
            "<h2>By ATT&amp;CK technique</h2>\n<p class=\"sub\">Names: ATT&amp;CK for Enterprise {}. The same as a layer for the ATT&amp;CK Navigator: {}.</p>\n",
            escaped(&TABLE.version),
            link("layer.json", "layer.json")
        );
        if techniques.is_empty() {
            return body + "<p>No fault of these runs names a technique.</p>\n";
        }
        body += "<div class=\"matrix\">";
        let unplaced = ("", "Not in the table");
        let tactics = TABLE.tactics.iter().map(|(id, name)| (id.as_str(), name.as_str()));
        for (tactic, title) in tactics.chain([unplaced]) {
            let of: Vec<_> = techniques
                .iter()
                .filter(|(id, _)| places(id).contains(&tactic))
                .collect();
            if of.is_empty() {
                continue;
            }
            let items: String = of
                .iter()
                .map(|(id, figure)| {
                    format!(
                        "<li class=\"{}\">{} {}<small>{}</small></li>",
                        shade(figure),
                        name(id),
                        technique(id),
                        detected(figure)
                    )
                })
                .collect();
            body += &format!("<section><h3>{title}</h3><ul>{items}</ul></section>");
        }
        body += "</div>\n";
        body += "<p class=\"sub\">Shades: <span class=\"tag good\">detected in 90 % or more</span> <span class=\"tag middle\">in 50 % or more</span> <span class=\"tag bad\">in fewer</span> <span class=\"tag none\">under five runs, or none that counts</span></p>\n";
        let rows: Vec<Vec<String>> = techniques
            .iter()
            .map(|(id, _)| {
                let tactics: Vec<&str> = TABLE
                    .tactics
                    .iter()
                    .filter(|(tactic, _)| places(id).contains(&tactic.as_str()))
                    .map(|(_, name)| name.as_str())
                    .collect();
                let scope = format!("technique:{id}");
                vec![
                    format!("{}<small>{}</small>", name(id), technique(id)),
                    if tactics.is_empty() {
                        "not in the table".to_owned()
                    } else {
                        tactics.join(", ")
                    },
                    self.figure(&format!("{scope}/runs")),
                    self.figure(&format!("{scope}/detected/probability")),
                    self.figure(&format!("{scope}/detected/median")),
                ]
            })
            .collect();
        let head = ["technique", "tactics", "runs", "detected", "median time to detect"];
        body + &details(
            "the matrix as a table",
            &table("Techniques that were attacked", &head, &rows),
        )
    }

    fn rollback(&self) -> String {
        let measures = [
            ("undone", "rollback/probability"),
            ("median time to the safe state", "rollback/median"),
            ("not undone", "rollback/residue"),
        ];
        let seen = self.names("fault");
        let missing: Vec<String> = self
            .report
            .catalogue
            .iter()
            .filter(|(fault, _)| !seen.contains(fault))
            .map(|(fault, class)| format!("<code>{fault}</code> ({class})"))
            .collect();
        let mut body = format!(
            "<h2>Undoing, measured</h2>\n<p>Faults of the catalogue that were undone here at least once: {}. One that never was counts as missing, whatever its page promises.</p>\n",
            self.inline("all/rollback/rehearsed")
        );
        body += &table(
            "By mechanism",
            &heads("mechanism", &measures),
            &self.rows("mechanism", &measures),
        );
        body += &table("By fault", &heads("fault", &measures), &self.rows("fault", &measures));
        if !missing.is_empty() {
            body += &details(
                &format!("{} faults were never rehearsed", missing.len()),
                &format!("<p>{}</p>", missing.join(", ")),
            );
        }
        body
    }

    fn false_alerts(&self) -> String {
        let rows: Vec<Vec<String>> = [("all", "any"), ("all", "nothing"), ("all", "marker")]
            .iter()
            .map(|(scope, planted)| {
                let (what, id) = match *planted {
                    "any" => ("all blind windows", format!("{scope}/blind/rate")),
                    "nothing" => ("nothing was done", format!("{scope}/blind-nothing/rate")),
                    _ => (
                        "the run's name was planted, and nothing else",
                        format!("{scope}/blind-marker/rate"),
                    ),
                };
                vec![what.to_owned(), self.figure(&id)]
            })
            .collect();
        format!(
            "<h2>False alerts</h2>\n<p class=\"sub\">What fires in a window in which nothing was injected is a false alert; what fires on the run's name alone reads it.</p>\n{}",
            table("Alerts in blind windows", &["window", "false alerts"], &rows)
        )
    }

    fn detectors(&self) -> String {
        let measures = [
            ("armed", "armed"),
            ("detected", "detected/probability"),
            ("median", "detected/median"),
            ("self-test failed", "self-test-failed"),
            ("fired before", "false-alarm"),
            ("alerts credited", "alerts/credited"),
            ("false alerts", "blind/rate"),
        ];
        let wrong = self.diagnoses();
        let rows: Vec<Vec<String>> = self
            .names("detector")
            .into_iter()
            .map(|id| {
                let mut row = self.row(name(id), &format!("detector:{}", fold::safe(id)), &measures);
                row.insert(
                    1,
                    wrong
                        .get(id)
                        .map_or_else(|| "nothing found".to_owned(), |wrong| wrong.join(", ")),
                );
                row
            })
            .collect();
        let mut head = heads("detector", &measures);
        head.insert(1, "diagnosis");
        let correlation: Vec<Vec<String>> = CORRELATIONS
            .iter()
            .map(|kind| {
                let weak = if *kind == "window" { " (weak)" } else { "" };
                vec![format!("{kind}{weak}"), self.figure(&format!("all/alerts/{kind}"))]
            })
            .collect();
        format!(
            "<h2>Detectors</h2>\n{}{}",
            table("Each detector, over the runs it was armed in", &head, &rows),
            table(
                "What joins credited alerts to the injection",
                &["joined by", "credited alerts"],
                &correlation
            )
        )
    }

    fn properties(&self, scope: &str, heading: &str, caption: &str) -> String {
        let rows: Vec<Vec<String>> = PROPERTIES
            .iter()
            .map(|property| vec![(*property).to_owned(), self.figure(&format!("{scope}/{property}/held"))])
            .collect();
        format!(
            "<h2>{heading}</h2>\n<p class=\"sub\">Runs in which every look at every registered invariant found it held, of runs in which there was a look.</p>\n{}",
            table(caption, &["property", "held"], &rows)
        )
    }

    fn workload(&self, scope: &str, caption: &str) -> String {
        let rows: Vec<Vec<String>> = PHASES
            .iter()
            .map(|phase| {
                vec![
                    format!("{phase} the fault"),
                    self.figure(&format!("{scope}/served/{phase}")),
                    self.figure(&format!("{scope}/p99/{phase}")),
                ]
            })
            .collect();
        table(
            caption,
            &["phase", "requests served", "median over runs of the 99th percentile"],
            &rows,
        )
    }

    fn figures(&self, scope: &str, what: &str) -> String {
        let mut body = format!(
            "<h1>Figures: {what}</h1>\n<p>Each figure of the report with its interval, n, censored runs, and the command that gives it again with the log indexes it was computed from. The commands run in the folder of the log; for another folder or a bundle add <code>--path FOLDER</code>.</p>\n"
        );
        let own = |id: &str| scope_of(id) == scope;
        let mut rows = String::new();
        let mut without = 0;
        for (number, (id, figure)) in self.report.figures.iter().enumerate().filter(|(_, (id, _))| own(id)) {
            if figure.n == 0 {
                without += 1;
                continue;
            }
            let row = [
                said(figure),
                interval(figure).unwrap_or_else(|| "none".to_owned()),
                grouped(figure.n),
                grouped(figure.events),
                grouped(figure.censored),
                format!("<code>{}</code>", escaped(&self.report.query(id))),
            ];
            rows += &format!(
                "<tr id=\"f{number}\"><th scope=\"row\"><bdi>{}</bdi><small>{}</small></th>{}</tr>\n",
                escaped(id).replace('/', "/<wbr>"),
                method(figure),
                cells("td", &row)
            );
        }
        if rows.is_empty() {
            return body + "<p>None: n/a (n = 0).</p>\n";
        }
        body += &format!(
            "<div class=\"box\" role=\"region\" tabindex=\"0\" aria-label=\"Figures\"><table><caption>Figures: {what}</caption><thead><tr><th scope=\"col\">figure</th><th scope=\"col\">value</th><th scope=\"col\">95 % interval</th><th scope=\"col\">n</th><th scope=\"col\">events</th><th scope=\"col\">censored</th><th scope=\"col\">query</th></tr></thead><tbody>{rows}</tbody></table></div>\n"
        );
        if without > 0 {
            body += &format!(
                "<p class=\"sub\">{} more have no denominator: n/a (n = 0). They stand in report.json.</p>\n",
                grouped(without)
            );
        }
        body
    }

    fn experiment(&self, experiment: &Experiment<'_>, page: usize, runs: &[&Run]) -> String {
        let scope = experiment.scope();
        let pages = experiment.pages().count();
        let mut body = format!(
            "<h1>{}</h1>\n<p>{}; runs {}, judged {}, unknown {}.</p>\n",
            name(experiment.path),
            name(experiment.title()),
            self.inline(&format!("{scope}/runs")),
            self.inline(&format!("{scope}/judged")),
            self.inline(&format!("{scope}/unknown"))
        );
        if page == 0 {
            body += &self.experiment_figures(experiment);
        }
        let first = page * RUNS_PER_PAGE_MAX + 1;
        body += &format!(
            "<h2>Runs {first} to {} of {}</h2>\n",
            first + runs.len() - 1,
            experiment.runs.len()
        );
        body += "<p class=\"sub\">Times count from the start of the injection. A filled dot: it came; an open dot at the end of a dashed line: it had not come when watching ended. Triangle: an alert that is credited; cross: one that is not.</p>\n";
        body += "<div class=\"cards\">";
        for run in runs {
            body += &self.run(run);
        }
        body += "</div>\n";
        if pages > 1 {
            let items: String = (0..pages)
                .map(|number| {
                    let here = if number == page { " aria-current=\"page\"" } else { "" };
                    format!(
                        "<li><a href=\"{}\"{here}>{}</a></li>",
                        experiment.file(number),
                        number + 1
                    )
                })
                .collect();
            body += &format!("<nav aria-label=\"Pages of runs\"><ul>{items}</ul></nav>\n");
        }
        body
    }

    fn experiment_figures(&self, experiment: &Experiment<'_>) -> String {
        let scope = experiment.scope();
        let measures = [
            ("how often", "probability"),
            ("median", "median"),
            ("restricted mean", "mean"),
        ];
        let rows: Vec<Vec<String>> = MOMENTS
            .iter()
            .map(|moment| self.row((*moment).to_owned(), &format!("{scope}/{moment}"), &measures))
            .collect();
        let mut body = format!(
            "<h2>When it was noticed, and what then</h2>\n{}",
            table("Moments of its runs", &heads("moment", &measures), &rows)
        );
        body += "<h2>Until it was noticed, contained, recovered from</h2>\n<div class=\"cards\">";
        for (number, moment) in CURVES.iter().enumerate() {
            body += &curve_card(self, &format!("{scope}/{moment}/curve"), moment, number);
        }
        body += "</div>\n";
        body += &self.properties(&scope, "What held during the fault", "C/I/A of its runs");
        let measured = experiment.runs.iter().filter_map(|run| run.evidence.measured.as_ref());
        let invariants: BTreeMap<&str, &str> = measured
            .flat_map(|measured| &measured.invariants)
            .map(|invariant| (invariant.id.as_str(), invariant.property.as_str()))
            .collect();
        if !invariants.is_empty() {
            let rows: Vec<Vec<String>> = invariants
                .iter()
                .map(|(id, property)| {
                    vec![
                        name(id),
                        name(property),
                        self.figure(&format!("{scope}/invariant:{}/held", fold::safe(id))),
                    ]
                })
                .collect();
            body += &table(
                "Invariants that were registered before",
                &["invariant", "property", "held"],
                &rows,
            );
        }
        body + &self.workload(&scope, "The workload of its runs")
    }

    fn run(&self, run: &Run) -> String {
        let evidence = &run.evidence;
        let faults: Vec<String> = evidence.faults.iter().map(|fault| name(&fault.fault)).collect();
        let faults = if faults.is_empty() {
            "nothing was injected".to_owned()
        } else {
            faults.join(", ")
        };
        let rung = evidence
            .rung
            .as_deref()
            .map_or_else(String::new, |rung| format!(", {}", name(rung)));
        let mut body = format!(
            "<article class=\"card\" id=\"r{0}\"><h3>Log index {1}</h3><p class=\"sub\">{2}{rung}: {3}</p><p>{faults}</p>",
            run.index,
            grouped(run.index),
            minute(run.at),
            state(run.state)
        );
        let said = evidence.notes.iter().map(|note| format!("failed: {}", name(note)));
        let said: Vec<String> = said
            .chain(evidence.unknown.iter().map(|why| format!("unknown: {}", name(why))))
            .collect();
        if !said.is_empty() {
            body += &list(&said);
        }
        if let Some(picture) = svg::timeline(run, &format!("t{}", run.index)) {
            body += &format!("<figure>{picture}</figure>");
        }
        body += &details("the same as tables", &self.run_tables(run));
        body + "</article>\n"
    }

    fn run_tables(&self, run: &Run) -> String {
        let us = |us: u64| seconds(us as f64 / 1e6);
        let mut body = format!("<p><code>{}</code></p>", escaped(&self.report.query(&run.id())));
        let Some(measured) = &run.evidence.measured else {
            return body + "<p>This run was logged without a measurement.</p>";
        };
        let mut rows = vec![vec![
            "injection".to_owned(),
            "0 s".to_owned(),
            us(measured.injected_us),
            String::new(),
            String::new(),
        ]];
        if let Some(settled) = measured.settled_us {
            rows.push(vec![
                "ended by itself".to_owned(),
                us(measured.injected_us),
                us(settled),
                String::new(),
                String::new(),
            ]);
        }
        for moment_name in MOMENTS {
            let Some(moment) = measured.moments.get(moment_name) else {
                continue;
            };
            let at = match moment.at_us {
                Some(at) => us(at),
                None => format!("not by {}", us(moment.until_us)),
            };
            let by = moment.by.as_deref().map_or_else(String::new, name);
            rows.push(vec![
                moment_name.to_owned(),
                us(moment.from_us),
                at,
                us(moment.resolution_us),
                by,
            ]);
        }
        for fault in &run.evidence.faults {
            let undone = if fault.undone {
                us(measured.undo_us.saturating_add(fault.undo_us))
            } else {
                "not undone".to_owned()
            };
            rows.push(vec![
                format!("our undo of {}", name(&fault.fault)),
                us(measured.undo_us),
                undone,
                String::new(),
                name(&fault.undo_class),
            ]);
        }
        body += &table("Moments", &["what", "from", "at", "resolution", "by"], &rows);
        body += &alerts(measured);
        if !measured.blind.is_empty() {
            let rows: Vec<Vec<String>> = measured
                .blind
                .iter()
                .map(|window| {
                    let fired: Vec<String> = window.fired.iter().map(|id| name(id)).collect();
                    vec![
                        seconds(window.from_us as f64 / 1e6),
                        seconds(window.until_us as f64 / 1e6),
                        name(&window.planted),
                        if fired.is_empty() {
                            "nothing".to_owned()
                        } else {
                            fired.join(", ")
                        },
                    ]
                })
                .collect();
            body += &table("Blind windows", &["from", "until", "planted", "fired"], &rows);
        }
        if !measured.invariants.is_empty() {
            let rows: Vec<Vec<String>> = measured
                .invariants
                .iter()
                .map(|invariant| {
                    let first = invariant
                        .broken_us
                        .map_or_else(String::new, |at| format!(", first at {}", us(at)));
                    vec![
                        name(&invariant.id),
                        name(&invariant.property),
                        grouped(invariant.looks),
                        format!("{}{first}", grouped(invariant.broken)),
                        invariant.diagnosis.as_deref().map_or_else(String::new, name),
                    ]
                })
                .collect();
            let head = ["invariant", "property", "looks", "broken", "how"];
            body += &table("Invariants", &head, &rows);
        }
        if !measured.services.is_empty() {
            let rows: Vec<Vec<String>> = measured
                .services
                .iter()
                .map(|(service, how)| vec![name(service), name(how)])
                .collect();
            body += &table("Served what they had to refuse", &["service", "how"], &rows);
        }
        if !measured.phases.is_empty() {
            let rows: Vec<Vec<String>> = measured
                .phases
                .iter()
                .map(|(phase, counts)| {
                    vec![
                        name(phase),
                        format!("{} of {}", grouped(counts.served), grouped(counts.requests)),
                        us(counts.p50_us),
                        us(counts.p99_us),
                    ]
                })
                .collect();
            body += &table("Workload", &["phase", "served", "median", "99th percentile"], &rows);
        }
        body
    }
}

/// A curve with its tables; `number` is unique on the page.
pub fn curve_card(writer: &Writer<'_>, id: &str, moment: &str, number: usize) -> String {
    let Some(figure) = writer.get(id) else {
        return String::new();
    };
    let heading = format!("<h3>Not yet {moment}</h3>");
    let Some(picture) = svg::curve(figure, moment, &format!("c{number}")) else {
        let why = match figure.n {
            0 => "Not watched for: n/a (n = 0).".to_owned(),
            n => format!(
                "{n} runs: under {RUNS_MIN} there is no curve. Raw values: {}.",
                said(figure)
            ),
        };
        return format!("<section class=\"card\">{heading}<p>{why}</p></section>\n");
    };
    let at_risk: Vec<Vec<String>> = svg::risk_times(figure)
        .iter()
        .map(|at| {
            let left = figure
                .points
                .iter()
                .find(|point| point.time >= *at)
                .map_or(0, |point| point.at_risk);
            vec![seconds(*at), grouped(left)]
        })
        .collect();
    let rows: Vec<Vec<String>> = figure
        .points
        .iter()
        .take(CURVE_ROWS_MAX)
        .map(|point| {
            vec![
                seconds(point.time),
                grouped(point.at_risk),
                grouped(point.events),
                grouped(point.censored),
                format!("{} %", per_cent(point.survival)),
                format!("{}–{} %", per_cent(point.low), per_cent(point.high)),
            ]
        })
        .collect();
    let more = match figure.points.len().saturating_sub(CURVE_ROWS_MAX) {
        0 => String::new(),
        more => format!("<p>{} more steps stand in report.json.</p>", grouped(more as u64)),
    };
    let steps = table(
        &format!("Share not yet {moment}"),
        &["time", "at risk", "events", "censored", "share", "95 % band"],
        &rows,
    );
    format!(
        "<section class=\"card\">{heading}<figure>{picture}<figcaption>Kaplan-Meier with its 95 % band; {}; median {}. A tick marks where watching ended.</figcaption></figure>{}{}</section>\n",
        rests_on(figure),
        writer.inline(&id.replace("/curve", "/median")),
        table(
            &format!("Still at risk: not yet {moment}"),
            &["time", "runs at risk"],
            &at_risk
        ),
        details("the curve as a table", &(steps + &more))
    )
}

/// What is told of every experiment and every fault.
const MEASURES: [(&str, &str); 8] = [
    ("runs", "runs"),
    ("unknown", "unknown"),
    ("detected", "detected/probability"),
    ("median time to detect", "detected/median"),
    ("contained", "contained/probability"),
    ("median time to contain", "contained/median"),
    ("recovered", "recovered/probability"),
    ("median time to recover", "recovered/median"),
];

fn heads<'h>(first: &'h str, measures: &[(&'h str, &str)]) -> Vec<&'h str> {
    std::iter::once(first)
        .chain(measures.iter().map(|(head, _)| *head))
        .collect()
}

fn alerts(measured: &evidence::predicates::Measured) -> String {
    if measured.alerts.is_empty() {
        return "<p>No detector said anything.</p>".to_owned();
    }
    let rows: Vec<Vec<String>> = measured
        .alerts
        .iter()
        .take(ALERT_ROWS_MAX)
        .map(|alert| {
            let weak = if alert.correlation == "window" { " (weak)" } else { "" };
            let credited = match (&alert.why, alert.credited) {
                (_, true) => "yes".to_owned(),
                (Some(why), false) => format!("no: {}", name(why)),
                (None, false) => "no".to_owned(),
            };
            vec![
                name(&alert.detector),
                seconds(alert.at_us as f64 / 1e6),
                format!("{}{weak}", name(&alert.correlation)),
                credited,
            ]
        })
        .collect();
    let more = match measured.alerts.len().saturating_sub(ALERT_ROWS_MAX) {
        0 => String::new(),
        more => format!("<p>{} more stand in report.json.</p>", grouped(more as u64)),
    };
    table("Alerts", &["detector", "at", "joined by", "credited"], &rows) + &more
}

fn state(state: State) -> &'static str {
    match state {
        State::Judged => "judged",
        State::Unknown => "unknown",
        State::NotMeasured => "not measured",
        State::NotInjected => "nothing was injected",
    }
}

/// UTC to the minute.
pub fn minute(at: evidence::Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

fn technique(id: &str) -> String {
    TABLE
        .techniques
        .get(id)
        .map_or_else(String::new, |technique| escaped(&technique.name))
}

/// Tactics of a technique; the empty one where the table has none.
fn places(id: &str) -> Vec<&'static str> {
    match TABLE.techniques.get(id) {
        Some(technique) => technique.tactics.iter().map(String::as_str).collect(),
        None => vec![""],
    }
}

/// How a technique is shaded; the words beside it say the same.
fn shade(figure: &Figure) -> &'static str {
    match figure.value {
        Some(share) if share >= 0.9 => "good",
        Some(share) if share >= 0.5 => "middle",
        Some(_) => "bad",
        None => "none",
    }
}

fn detected(figure: &Figure) -> String {
    escaped(&layer::comment(figure))
}

/// How a figure is computed, in the field's words.
fn method(figure: &Figure) -> &'static str {
    match figure.method {
        Method::Count => "count",
        Method::Share => "share; Wilson interval",
        Method::Median => "Kaplan-Meier median",
        Method::RestrictedMean => "restricted mean",
        Method::Curve => "Kaplan-Meier curve",
        Method::Rate => "rate; exact Poisson interval",
        Method::Ratio => "ratio; interval over runs",
        Method::ShareBy => "share by then; score interval",
        Method::MidPExact => "log-rank mid-p; every order counted",
        Method::MidPNormal => "log-rank mid-p; normal limit",
    }
}

fn how_to_read() -> String {
    format!(
        "<h2>How to read it</h2>\n{}",
        list(&[
            "Times count from the start of the injection on one monotonic clock; recovery from the end of what ends by itself. Our own undo is never the system's recovery.".to_owned(),
            "A run in which something never came is <em>censored</em> where watching ended, not dropped: medians and means are those of Kaplan-Meier curves. <em>Not reached</em>: it came in fewer than half of the runs.".to_owned(),
            format!("Under {RUNS_MIN} runs there are raw values and no estimate. Intervals are 95 %: Wilson for shares, the curve's band for medians, Garwood for rates; requests of one run count as one cluster."),
            "An unknown run (an observer failed its self-test, a fault did not bite) is in no probability and no time; it is counted, and its false alerts are.".to_owned(),
            "Every number leads to its row among the figures, where the command stands that prints it again with the log indexes it was computed from.".to_owned(),
        ])
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_page_would_obey_is_made_visible() {
        for (text, expect) in [
            ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
            ("a\" onload='x", "a&quot; onload=&#39;x"),
            ("\u{202e}evil", "[U+202E]evil"),
            ("a\u{1b}[31mb\n", "a[U+001B][31mb[U+000A]"),
            ("שלום", "שלום"),
        ] {
            assert_eq!(escaped(text), expect);
        }
        assert!(name(&"<".repeat(10_000)).len() < 1_000);
    }

    #[test]
    fn numbers_have_their_unit_and_no_more_digits_than_they_know() {
        for (value, expect) in [
            (0.0, "0 s"),
            (0.000_25, "250 µs"),
            (0.14, "140 ms"),
            (0.0123, "12.3 ms"),
            (1.3, "1.30 s"),
            (2.0, "2 s"),
            (10.0, "10 s"),
            (30.04, "30 s"),
            (300.0, "5 min"),
            (-1.5, "-1.50 s"),
            (9000.0, "2.50 h"),
        ] {
            assert_eq!(seconds(value), expect, "{value}");
        }
        assert_eq!(
            (grouped(0), grouped(999), grouped(1_234_567)),
            ("0".to_owned(), "999".to_owned(), "1,234,567".to_owned())
        );
    }
}
