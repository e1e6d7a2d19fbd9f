//! Experiment files: what is attacked, how, who should notice, and what is expected.
//!
//! An experiment stands in the judged tree. It can ask for less than a control does, never make one hold: what a
//! gate demands comes from the trust root.

mod invariant;
mod noticed;

use std::sync::Arc;
use std::time::Duration;

use evidence::{Diagnostic, Digest};
use serde_json::Value;

pub(crate) use invariant::VALUE;
use invariant::read_invariants;
pub use invariant::{Invariant, InvariantKind, Model, Property};
pub use noticed::{Answer, Correlation, Detector, DetectorKind, Response};
use noticed::{read_detectors, read_responses};

use crate::declare::Declaration;
use crate::environment::{HEALTHY, ServiceRequest};
use crate::fault::{Fault, Probe, UndoClass, read_path, read_request};
use crate::faults;
use crate::read::{Document, Section, nearest, quoted};
use crate::toolkit::{Method, Toolkit, World};

/// No fault may be in force for longer, whatever the file says.
pub const DEADLINE_SECONDS_MAX: u64 = 300;

/// Faults of one experiment.
const FAULTS_MAX: usize = 16;
/// Requests that make up one look at the steady state.
const STEADY_REQUESTS_MAX: u64 = 100;
/// A larger experiment file is refused.
const FILE_BYTES_MAX: usize = 256 * 1024;

/// A Chaos Toolkit file knows no times of ours.
const TOOLKIT_DEADLINE_SECONDS: u64 = 120;
const TOOLKIT_WINDOW_SECONDS: u64 = 100;
const KEYS: &[&str] = &[
    "title",
    "deadline_seconds",
    "window_seconds",
    "steady",
    "fault",
    "detector",
    "expect",
    "abort",
    "declares",
    "response",
    "invariant",
    "blind_ms",
];
/// How long is looked on before the injection, with nothing and then with only the run's name planted: each of the two.
const BLIND_MS_DEFAULT: u64 = 80;
const BLIND_MS_MAX: u64 = 60_000;
/// Keys of a fault that name targets.
const TARGET_NAMES: &[&str] = &["target", "client", "neighbour"];
const STEADY_KEYS: &[&str] = &["service", "method", "path", "identity", "body", "status", "requests"];
const EXPECT_KEYS: &[&str] = &[
    "detected_within_seconds",
    "contained_within_seconds",
    "recovered_within_seconds",
];

/// An experiment, read and checked.
#[derive(Debug)]
pub struct Experiment {
    /// Its file, relative to the tree.
    pub path: String,
    pub title: String,
    /// SHA-256 of the file.
    pub digest: Digest,
    /// From the injection on; everything is undone by then.
    pub deadline: Duration,
    /// From the injection on; how long is watched at most. Shorter than the deadline.
    pub window: Duration,
    pub steady: Steady,
    /// In order of injection: one that holds for a while has ended before the next begins. Not empty.
    pub faults: Vec<Box<dyn Fault>>,
    pub detectors: Vec<Detector>,
    /// Who answers, as far as that can be seen.
    pub responses: Vec<Response>,
    /// What has to hold throughout.
    pub invariants: Vec<Invariant>,
    /// How long each of the two windows before the injection is, in which whatever fires is a false alert.
    pub blind: Duration,
    pub expect: Expect,
    /// What ends it before its time.
    pub abort: Abort,
    /// What it may do harm to.
    pub declares: Declaration,
}

/// What the system does when nothing is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Steady {
    pub request: ServiceRequest,
    /// The status code of its answer.
    pub status: u16,
    /// So many answered in a row are steady state.
    pub requests: u32,
    /// The hypothesis of a Chaos Toolkit file, which is asked instead, before and after alone.
    pub(crate) hypothesis: Option<Hypothesis>,
}

/// See [`Steady::hypothesis`]. Two are equal when they are the same file's.
#[derive(Debug, Clone)]
pub(crate) struct Hypothesis(pub(crate) Arc<Toolkit>);

impl PartialEq for Hypothesis {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Hypothesis {}

/// What is asked for; `None` where it isn't. Seconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expect {
    /// From the start of the injection.
    pub detected_within_seconds: Option<u64>,
    /// From the start of the injection.
    pub contained_within_seconds: Option<u64>,
    /// From the start of the injection, or from the end of the last fault that has one.
    pub recovered_within_seconds: Option<u64>,
}

/// When everything is undone at once, before the window is over. The default is never.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Abort {
    /// So many requests of the steady state in a row were not served.
    pub failures_in_row: Option<u32>,
    /// A metric rose above its limit.
    pub metrics: Vec<Limit>,
}

/// The highest value of a metric that is borne.
#[derive(Debug, Clone, PartialEq)]
pub struct Limit {
    pub service: String,
    pub path: String,
    pub metric: String,
    pub above: u64,
}

/// One line of `release --plan`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedAction {
    /// Catalogue id: `chaos/link-slowed`.
    pub fault: String,
    pub action: String,
    pub undo_class: UndoClass,
    /// What takes it back, or the way forward.
    pub undo: String,
    pub deadline_s: u64,
}

impl Experiment {
    /// Reads an experiment file. `path` is where it stands, relative to the tree.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its line and column.
    pub fn parse(path: &str, text: &str) -> Result<Experiment, Vec<Diagnostic>> {
        let document = Document::new(path, text);
        if text.len() > FILE_BYTES_MAX {
            let message = format!("this experiment has {} bytes, more than {FILE_BYTES_MAX}", text.len());
            document.note("chaos/too-large", message, 0..0, Some("split it".to_owned()));
            return Err(document.into_diagnostics());
        }
        let experiment = {
            let table = document.parse();
            read(path, text, &document.top(&table))
        };
        match experiment {
            Some(experiment) if !document.has_problems() => Ok(experiment),
            _ => Err(document.into_diagnostics()),
        }
    }

    /// Reads a Chaos Toolkit file (JSON or YAML, by its name): its method is a fault, its rollbacks undo it, its
    /// hypothesis is the steady state. Faults, detectors, expectations and the rest may stand in its `extensions` under
    /// `proofmark`, by the keys of a file of ours.
    ///
    /// # Errors
    /// What is wrong with it; what is wrong in the extension has no line of its own.
    pub fn of_toolkit(path: &str, text: &str, world: World) -> Result<Experiment, Vec<Diagnostic>> {
        let refused = |message: String| {
            vec![Diagnostic {
                code: "chaos/toolkit".to_owned(),
                message,
                span: Some(evidence::Span {
                    path: path.to_owned(),
                    line: 1,
                    column: 1,
                    commit: None,
                }),
                help: Some("`proofmark explain chaos` shows what a file may hold".to_owned()),
            }]
        };
        let toolkit = Arc::new(Toolkit::read(path, text, world).map_err(refused)?);
        let extension = toolkit.extension().unwrap_or_else(|| serde_json::json!({}));
        let extension = match extension {
            Value::Object(mut keys) => {
                keys.remove("name");
                toml::to_string(&keys).map_err(|error| refused(error.to_string()))?
            }
            _ => return Err(refused("the extension `proofmark` is not an object".to_owned())),
        };
        let document = Document::new(path, &extension);
        let experiment = {
            let table = document.parse();
            read_toolkit(path, text, &document.top(&table), &toolkit)
        };
        match experiment {
            Some(experiment) if !document.has_problems() => Ok(experiment),
            _ => Err(document.into_diagnostics()),
        }
    }

    /// What a run will do, in order.
    pub fn plan(&self) -> Vec<PlannedAction> {
        let planned = |fault: &dyn Fault| PlannedAction {
            fault: format!("chaos/{}", fault.entry().id),
            action: fault.action(),
            undo_class: fault.entry().undo_class,
            undo: fault.undo_action(),
            deadline_s: self.deadline.as_secs(),
        };
        self.faults.iter().map(|fault| planned(fault.as_ref())).collect()
    }

    /// Names of the declared targets that it touches, each once, sorted.
    pub fn targets(&self) -> Vec<String> {
        let strikes = self.faults.iter().filter_map(|fault| fault.strike());
        let mut names: Vec<String> = strikes.flat_map(|strike| strike.targets()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// What it does, whatever it does it to: the digest of its faults with their parameters, the names of targets
    /// left out. Runs with the same pattern on a lower rung let it climb.
    pub fn pattern(&self) -> Digest {
        let faults: Vec<serde_json::Value> = self
            .faults
            .iter()
            .map(|fault| {
                let names = fault.strike().map_or_else(Vec::new, |strike| strike.targets());
                let mut parameters = fault.parameters();
                // By key: another parameter may happen to be spelt like a target.
                parameters.retain(|key, value| {
                    let names_target = value.as_str().is_some_and(|text| names.iter().any(|name| name == text));
                    !(names_target && TARGET_NAMES.contains(&key.as_str()))
                });
                serde_json::json!([fault.entry().id, parameters])
            })
            .collect();
        Digest::of(&evidence::to_canonical(&faults))
    }

    /// The Sigma rule files that its detectors and responses name, each once, relative to the tree.
    pub fn rule_paths(&self) -> Vec<String> {
        let detectors = self.detectors.iter().map(|detector| &detector.kind);
        let kinds = detectors.chain(self.responses.iter().map(|response| &response.kind));
        let mut rules: Vec<String> = kinds.filter_map(|kind| kind.rule().map(str::to_owned)).collect();
        rules.sort_unstable();
        rules.dedup();
        rules
    }

    /// A run waits for a detection when one is expected, and when nothing is: then all there is to measure is.
    pub(crate) fn awaits_detection(&self) -> bool {
        let asked = self.expect.detected_within_seconds.is_some() || self.expect == Expect::default();
        asked && !self.detectors.is_empty()
    }

    /// The probe of the fault that has one: what containment is measured with.
    pub(crate) fn probe(&self) -> Option<(usize, &Probe)> {
        self.faults
            .iter()
            .enumerate()
            .find_map(|(index, fault)| Some((index, fault.probe()?)))
    }
}

/// Every part is read even where another one is wrong, so that all problems are noted.
fn read(path: &str, text: &str, top: &Section<'_>) -> Option<Experiment> {
    top.only(KEYS);
    let title = top.text("title");
    let deadline = top.number("deadline_seconds", 1..=DEADLINE_SECONDS_MAX);
    let window = top.number("window_seconds", 1..=DEADLINE_SECONDS_MAX);
    let steady = top.section("steady").and_then(|section| read_steady(&section));
    let faults = read_faults(top);
    let rest = Rest::read(top);
    let experiment = Experiment {
        path: path.to_owned(),
        title: title?,
        digest: Digest::of(text.as_bytes()),
        deadline: Duration::from_secs(deadline?),
        window: Duration::from_secs(window?),
        steady: steady?,
        faults: faults?,
        detectors: rest.detectors,
        responses: rest.responses,
        invariants: rest.invariants,
        blind: rest.blind,
        expect: rest.expect,
        abort: rest.abort,
        declares: rest.declares,
    };
    check_times(top, &experiment);
    check_expect(top, &experiment);
    Some(experiment)
}

/// The same of a Chaos Toolkit file: what its own words say comes from there, and times have defaults.
fn read_toolkit(path: &str, text: &str, top: &Section<'_>, toolkit: &Arc<Toolkit>) -> Option<Experiment> {
    let keys: Vec<&str> = KEYS.iter().copied().filter(|key| *key != "title").collect();
    top.only(&keys);
    let seconds = |key, default| top.optional_number(key, 1..=DEADLINE_SECONDS_MAX).unwrap_or(default);
    let deadline = Duration::from_secs(seconds("deadline_seconds", TOOLKIT_DEADLINE_SECONDS));
    let window = Duration::from_secs(seconds("window_seconds", TOOLKIT_WINDOW_SECONDS));
    let steady = match top.optional_section("steady") {
        Some(section) => read_steady(&section)?,
        None => Steady {
            request: ServiceRequest::default(),
            status: HEALTHY,
            requests: 1,
            hypothesis: Some(Hypothesis(toolkit.clone())),
        },
    };
    let mut faults = if top.has("fault") {
        read_faults(top)?
    } else {
        Vec::new()
    };
    if toolkit.has_method() {
        faults.push(Box::new(Method::of(toolkit.clone(), deadline)));
    }
    let rest = Rest::read(top);
    let experiment = Experiment {
        path: path.to_owned(),
        title: toolkit.title(),
        digest: Digest::of(text.as_bytes()),
        deadline,
        window,
        steady,
        faults,
        detectors: rest.detectors,
        responses: rest.responses,
        invariants: rest.invariants,
        blind: rest.blind,
        expect: rest.expect,
        abort: rest.abort,
        declares: rest.declares,
    };
    check_times(top, &experiment);
    check_expect(top, &experiment);
    Some(experiment)
}

/// The parts that have defaults.
struct Rest {
    detectors: Vec<Detector>,
    responses: Vec<Response>,
    invariants: Vec<Invariant>,
    blind: Duration,
    expect: Expect,
    abort: Abort,
    declares: Declaration,
}

impl Rest {
    fn read(top: &Section<'_>) -> Rest {
        let expect = top.optional_section("expect").map_or_else(Expect::default, |section| {
            section.only(EXPECT_KEYS);
            let seconds = |key| section.optional_number(key, 1..=DEADLINE_SECONDS_MAX);
            Expect {
                detected_within_seconds: seconds("detected_within_seconds"),
                contained_within_seconds: seconds("contained_within_seconds"),
                recovered_within_seconds: seconds("recovered_within_seconds"),
            }
        });
        Rest {
            detectors: read_detectors(top),
            responses: read_responses(top),
            invariants: read_invariants(top),
            blind: Duration::from_millis(
                top.optional_number("blind_ms", 1..=BLIND_MS_MAX)
                    .unwrap_or(BLIND_MS_DEFAULT),
            ),
            expect,
            abort: top
                .optional_section("abort")
                .map_or_else(Abort::default, |section| read_abort(&section)),
            declares: top
                .optional_section("declares")
                .map_or_else(Declaration::default, |section| Declaration::read(&section)),
        }
    }
}

/// Either a request to a service, or a target that has to be healthy.
fn read_steady(section: &Section<'_>) -> Option<Steady> {
    if section.has("target") {
        section.only(&["target", "requests"]);
        let requests = section
            .optional_number("requests", 1..=STEADY_REQUESTS_MAX)
            .and_then(|requests| u32::try_from(requests).ok());
        return Some(Steady {
            request: ServiceRequest::health(&section.text("target")?),
            status: HEALTHY,
            requests: requests.unwrap_or(1),
            hypothesis: None,
        });
    }
    section.only(STEADY_KEYS);
    let request = read_request(section);
    let status = section
        .number("status", 100..=599)
        .and_then(|status| u16::try_from(status).ok());
    let requests = section
        .number("requests", 1..=STEADY_REQUESTS_MAX)
        .and_then(|requests| u32::try_from(requests).ok());
    Some(Steady {
        request: request?,
        status: status?,
        requests: requests?,
        hypothesis: None,
    })
}

fn read_abort(section: &Section<'_>) -> Abort {
    section.only(&["failures_in_row", "metric"]);
    let limit = |section: &Section<'_>| {
        section.only(&["service", "path", "metric", "above"]);
        let (service, path, metric) = (
            section.text("service"),
            read_path(section, "path"),
            section.text("metric"),
        );
        let above = section.number("above", 0..=u64::from(u32::MAX));
        Some(Limit {
            service: service?,
            path: path?,
            metric: metric?,
            above: above?,
        })
    };
    Abort {
        failures_in_row: section
            .optional_number("failures_in_row", 1..=10_000)
            .and_then(|failures| u32::try_from(failures).ok()),
        metrics: section.sections("metric").iter().filter_map(limit).collect(),
    }
}

fn read_faults(top: &Section<'_>) -> Option<Vec<Box<dyn Fault>>> {
    let sections = top.sections("fault");
    if sections.is_empty() || sections.len() > FAULTS_MAX {
        let message = format!(
            "an experiment has 1 to {FAULTS_MAX} faults, this one has {}",
            sections.len()
        );
        top.problem(
            "fault",
            "chaos/faults",
            message,
            "add a `[[fault]]` with an `id` of `proofmark explain chaos`",
        );
        return None;
    }
    let faults: Vec<_> = sections.iter().map(read_fault).collect();
    let faults: Vec<_> = faults.into_iter().collect::<Option<_>>()?;
    if faults.iter().filter(|fault| fault.probe().is_some()).count() > 1 {
        let message = "more than one fault revokes a credential".to_owned();
        top.problem(
            "fault",
            "chaos/faults",
            message,
            "write one experiment for each credential",
        );
        return None;
    }
    Some(faults)
}

pub(crate) fn read_fault(section: &Section<'_>) -> Option<Box<dyn Fault>> {
    let id = section.text("id")?;
    let Some(entry) = faults::ALL.iter().find(|entry| entry.id == id) else {
        let known: Vec<&str> = faults::ALL.iter().map(|entry| entry.id).collect();
        section.problem(
            "id",
            "chaos/unknown-fault",
            format!("no fault is called `{id}`"),
            &suggestion(&id, &known),
        );
        return None;
    };
    let on_target = !entry.targets.is_empty();
    let keys = entry.keys.iter().copied().chain(["id"]);
    let keys: Vec<&str> = keys.chain(on_target.then_some("hold_ms")).collect();
    section.only(&keys);
    let mut fault = (entry.read)(section)?;
    if on_target && let Some(hold_ms) = section.optional_number("hold_ms", 1..=DEADLINE_SECONDS_MAX * 1000) {
        fault.hold_for(Duration::from_millis(hold_ms));
    }
    Some(fault)
}

fn check_times(top: &Section<'_>, experiment: &Experiment) {
    if experiment.window >= experiment.deadline {
        let message = "`window_seconds` is not shorter than `deadline_seconds`".to_owned();
        top.problem(
            "window_seconds",
            "chaos/times",
            message,
            "everything is undone by the deadline: leave time for that",
        );
    }
    let held: Duration = experiment.faults.iter().filter_map(|fault| fault.hold()).sum();
    if held >= experiment.window {
        let message = format!(
            "the faults hold for {} ms, which the window is too short for",
            held.as_millis()
        );
        top.problem(
            "window_seconds",
            "chaos/times",
            message,
            "recovery begins when the last fault has ended",
        );
    }
}

/// What can't be measured can't be asked for.
fn check_expect(top: &Section<'_>, experiment: &Experiment) {
    let Some(section) = top.optional_section("expect") else {
        return;
    };
    if experiment.expect.detected_within_seconds.is_some() && experiment.detectors.is_empty() {
        let message = "detection is expected, and there is no detector".to_owned();
        section.problem(
            "detected_within_seconds",
            "chaos/expects-unmeasured",
            message,
            "add a `[[detector]]`",
        );
    }
    if experiment.expect.contained_within_seconds.is_some() && experiment.probe().is_none() {
        let message = "containment is expected, and no fault has anything to contain".to_owned();
        let help = "only a fault with a `[fault.probe]`, as `credential-revoked`, is contained";
        section.problem("contained_within_seconds", "chaos/expects-unmeasured", message, help);
    }
    for (key, within) in [
        ("detected_within_seconds", experiment.expect.detected_within_seconds),
        ("contained_within_seconds", experiment.expect.contained_within_seconds),
        ("recovered_within_seconds", experiment.expect.recovered_within_seconds),
    ] {
        if within.is_some_and(|seconds| Duration::from_secs(seconds) > experiment.window) {
            let message = format!("`{key}` is longer than `window_seconds`");
            section.problem(
                key,
                "chaos/expects-unmeasured",
                message,
                "watch at least as long as you are ready to wait",
            );
        }
    }
}

fn suggestion(word: &str, known: &[&str]) -> String {
    nearest(word, known).map_or_else(
        || format!("known: {}", quoted(known)),
        |near| format!("did you mean `{near}`?"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const REVOKE: &str = include_str!("../tests/revoke-ledger.toml");
    const DEGRADE: &str = include_str!("../tests/degrade-link.toml");

    #[test]
    fn reads_the_two_kinds() {
        let revoke = Experiment::parse("experiments/revoke-ledger.toml", REVOKE).unwrap();
        assert_eq!(
            revoke.title,
            "a revoked ledger credential stops working, is noticed, and is replaced"
        );
        assert_eq!((revoke.deadline.as_secs(), revoke.window.as_secs()), (60, 30));
        assert_eq!(revoke.steady.request.identity.as_deref(), Some("shopper"));
        assert_eq!(revoke.steady.request.body, br#"{"product":"mug","quantity":1}"#);
        assert_eq!(revoke.rule_paths(), ["detection/ledger-denied.yml"]);
        assert_eq!(revoke.detectors.len(), 2);
        assert_eq!(
            revoke.plan(),
            [PlannedAction {
                fault: "chaos/credential-revoked".to_owned(),
                action: "revoke the live leases that `storefront` holds for `ledger`".to_owned(),
                undo_class: UndoClass::Irreversible,
                undo: "way forward: `storefront` leases for `ledger` again".to_owned(),
                deadline_s: 60,
            }]
        );
        let degrade = Experiment::parse("experiments/degrade-link.toml", DEGRADE).unwrap();
        let faults: Vec<_> = degrade
            .plan()
            .into_iter()
            .map(|planned| (planned.fault, planned.undo_class))
            .collect();
        assert_eq!(
            faults,
            [
                ("chaos/link-slowed".to_owned(), UndoClass::ProcessBounded),
                ("chaos/link-reset".to_owned(), UndoClass::ProcessBounded),
            ]
        );
    }

    /// `REVOKE` with `from` replaced by `to`: each problem as `line:column code message (help)`.
    #[track_caller]
    fn check(from: &str, to: &str, expect: &[&str]) {
        assert!(REVOKE.contains(from), "{from}");
        let found = Experiment::parse("x.toml", &REVOKE.replacen(from, to, 1))
            .err()
            .unwrap_or_default();
        let found: Vec<String> = found
            .iter()
            .map(|problem| {
                let span = problem.span.as_ref().unwrap();
                let help = problem.help.as_deref().unwrap_or("");
                format!(
                    "{}:{} {} {} ({help})",
                    span.line, span.column, problem.code, problem.message
                )
            })
            .collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn problems_have_places() {
        check(
            "window_seconds = 30",
            "window_secnods = 30",
            &[
                "1:1 chaos/missing-key the experiment needs `window_seconds` (`window_seconds` is a number from 1 to 300)",
                "3:1 chaos/unknown-key unknown key `window_secnods` (did you mean `window_seconds`?)",
            ],
        );
        check(
            "status = 201",
            "status = \"201\"",
            &["11:10 chaos/wrong-type `status` is a string, not a whole number (write `status` as a whole number)"],
        );
        check(
            "status = 201",
            "status = 1000",
            &["11:10 chaos/out-of-range `status` is `1000`, not from 100 to 599 ()"],
        );
        check(
            "deadline_seconds = 60",
            "deadline_seconds = 301",
            &["2:20 chaos/out-of-range `deadline_seconds` is `301`, not from 1 to 300 ()"],
        );
        check(
            "deadline_seconds = 60",
            "deadline_seconds = 20",
            &[
                "3:18 chaos/times `window_seconds` is not shorter than `deadline_seconds` \
             (everything is undone by the deadline: leave time for that)",
            ],
        );
        check(
            "id = \"credential-revoked\"",
            "id = \"credential-revokd\"",
            &["15:6 chaos/unknown-fault no fault is called `credential-revokd` (did you mean `credential-revoked`?)"],
        );
        check(
            "method = \"GET\"",
            "method = \"get\"",
            &["20:10 chaos/bad-request `get` is not an HTTP method (write it in capitals: `GET`, `POST`)"],
        );
        check(
            "refused = [401, 403]",
            "refused = []",
            &[
                "22:11 chaos/wrong-type `refused` is an empty list, not a list of numbers that is not empty \
             (write `refused` as a list of numbers that is not empty)",
            ],
        );
        check(
            "rule = \"detection/ledger-denied.yml\"",
            "rule = \"../ledger-denied.yml\"",
            &[
                "27:8 chaos/bad-path `../ledger-denied.yml` is not a path within the tree \
             (write it from the tree's root, `/` between parts)",
            ],
        );
        check(
            "kind = \"probe\"",
            "kind = \"prob\"",
            &["32:8 chaos/unknown-detector no kind of detector is called `prob` (did you mean `probe`?)"],
        );
        check(
            "contained_within_seconds = 5",
            "contained_within_seconds = 31",
            &[
                "39:28 chaos/expects-unmeasured `contained_within_seconds` is longer than `window_seconds` \
             (watch at least as long as you are ready to wait)",
            ],
        );
    }

    #[test]
    fn all_problems_at_once() {
        let text = "title = 1\nwindow = 2\n[steady]\nstatus = 99\n[[fault]]\nid = \"link-slowed\"\nhold = 1\n[expect]\nx = 1\n";
        let found = Experiment::parse("x.toml", text).unwrap_err();
        let codes: Vec<&str> = found.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(
            codes.iter().filter(|code| **code == "chaos/unknown-key").count(),
            3,
            "{found:#?}"
        );
        assert_eq!(
            codes.iter().filter(|code| **code == "chaos/missing-key").count(),
            9,
            "{found:#?}"
        );
        assert!(found.is_sorted_by_key(|problem| problem.span.as_ref().map(|span| span.line)));
    }

    #[test]
    fn what_is_not_measured_is_not_expected() {
        let without_detectors = DEGRADE.split("[[detector]]").next().unwrap();
        let text = format!("{without_detectors}[expect]\ndetected_within_seconds = 5\ncontained_within_seconds = 5\n");
        let found = Experiment::parse("x.toml", &text).unwrap_err();
        let codes: Vec<&str> = found.iter().map(|problem| problem.code.as_str()).collect();
        assert_eq!(
            codes,
            ["chaos/expects-unmeasured", "chaos/expects-unmeasured"],
            "{found:?}"
        );
    }

    #[test]
    fn syntax_errors_are_diagnostics() {
        let found = Experiment::parse("x.toml", "title = \n[steady\n").unwrap_err();
        assert!(found.iter().any(|problem| problem.code == "chaos/syntax"), "{found:?}");
    }

    #[test]
    fn every_fault_has_its_page() {
        const HEADINGS: [&str; 5] = [
            "## What it does",
            "## Why it matters",
            "## Example",
            "## What to do instead",
            "## References",
        ];
        for entry in crate::faults() {
            let page = crate::page(entry.id).unwrap();
            assert!(page.starts_with(&format!("# chaos/{}\n", entry.id)), "{page}");
            let headings: Vec<&str> = page.lines().filter(|line| line.starts_with("## ")).collect();
            assert_eq!(headings, HEADINGS, "{}", entry.id);
            assert!(
                page.contains(&format!("Undo class: `{}`", entry.undo_class)),
                "{}",
                entry.id
            );
            for tag in entry.attack.iter().chain(entry.cwe) {
                assert!(page.contains(tag), "{} is not on the page of {}", tag, entry.id);
            }
            assert_eq!(crate::page(&format!("chaos/{}", entry.id)), Some(page));
        }
        assert!(crate::faults().is_sorted_by_key(|entry| entry.id));
        assert_eq!(crate::page("chaos/none"), None);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(\\[\\[?(steady|fault|detector|expect)\\]\\]?\n|(title|id|status|kind|link) = (1|\"x\"|\\[\\]|\\{\\})\n|\\PC\n){0,12}") {
            let _ = Experiment::parse("x.toml", &text);
        }
    }
}
