//! Detectors of an experiment while it runs: armed, self-tested, watched for false alerts, and credited or not.
//!
//! A detection is credited when its detector works, did not fire in a blind window, and nothing that it says speaks
//! against it ([`correlate`]). What is wrong with a detector has a name ([`diagnose`]).

mod correlate;
mod diagnose;

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use evidence::predicates::{AlertRun, BlindWindow, DetectorRun, Moment};
use evidence::{Now, Timestamp};
use serde_json::Value;
use telemetry::{Alert, Correlator, Event, Reading, RuleMatch, SigmaRules};
use tokio::time::sleep;

use crate::environment::{CredentialRef, Environment, ServiceRequest};
use crate::experiment::{Answer, Correlation, Detector, DetectorKind, Experiment, Response};
use crate::looks::Change;
use correlate::{Joined, Subject};
pub(crate) use diagnose::Course;

/// So many lines of its self-test complete a correlation, or it is broken.
const SELF_TEST_LINES_MAX: usize = 1_000;
/// Polls that may be needed to get past what was logged before the run.
const OLD_POLLS_MAX: u32 = 256;
/// So much of what one detector said is kept; more is counted.
const FIRINGS_MAX: usize = 64;
/// How often a sign of life is looked for, in milliseconds.
const ALIVE_LOOK_MS: u64 = 10;
/// A clock that is off by no more than that is right: many only tell whole seconds.
const CLOCK_MS_MAX: i64 = 1_500;
/// The fault that makes clocks wrong: what they say is then no fault of theirs.
const CLOCK_FAULT: &str = "clock-skewed";
/// Keys of a log line whose value is its time (RFC 3339).
const TIME_KEYS: &[&str] = &["timestamp", "@timestamp", "time", "ts"];

/// The detectors of one run.
pub(crate) struct Detectors<'a> {
    rules: &'a SigmaRules,
    /// What others' clocks say may be judged.
    clocks: bool,
    state: Mutex<State<'a>>,
}

struct State<'a> {
    subject: Subject,
    armed: Vec<Armed<'a>>,
    responses: Vec<Answered<'a>>,
    /// Start of the last poll; boot time.
    polled: Duration,
    /// How long each observer may take until it sees what is there.
    pauses: BTreeMap<String, Duration>,
    /// When each source last said something; boot time.
    heard: BTreeMap<String, Duration>,
    /// What rules that look at several lines have seen so far.
    correlator: Correlator,
    /// Clocks when the detectors were armed, and at the start of the injection.
    armed_at: Now,
    start: Option<Now>,
}

/// What is going on while something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum During {
    /// The first blind window.
    Nothing,
    /// The second one: the run's name is planted.
    Marker,
    /// Any other time before the injection.
    Between,
    Fault,
}

struct Armed<'a> {
    detector: &'a Detector,
    /// Why its self-test failed, if so, and whether it is only that nothing was heard of it.
    broken: Option<(String, bool)>,
    /// A probe's value as last read before the injection, and when the last reading that was not above it began.
    baseline: f64,
    low: Duration,
    /// An alert that is on, and one that was before the injection.
    on: bool,
    on_before: bool,
    /// How often it went on or off, and how often every fault's coming and going explains.
    turns: u32,
    turns_max: u32,
    /// Something of its source was not read while the fault was in force.
    unread: Option<String>,
    fired: Vec<Fired>,
    /// A line like its self-test came, which its rule did not match.
    near: bool,
    /// Its rule matches its self-test's line for a mark that only such a line has.
    marked: bool,
}

/// Something that a detector said.
struct Fired {
    at: Duration,
    after: Duration,
    during: During,
    carries_run: bool,
    by: Correlation,
    /// Why it is no detection, if so.
    against: Option<Against>,
    /// Its author's clock is wrong.
    clock_wrong: bool,
}

enum Against {
    /// It is about something else.
    Reason(String),
    Clock,
    /// Less joins it to the injection than was asked for.
    Weak(Correlation),
}

struct Answered<'a> {
    response: &'a Response,
    broken: Option<String>,
    /// When, not before which moment, and who or what.
    seen: Option<(Change, String)>,
}

/// Something that was said, by a line or an alert.
#[derive(Clone, Copy)]
struct Said<'s> {
    at: Duration,
    after: Duration,
    during: During,
    claimed: Option<Timestamp>,
    techniques: &'s [String],
    fields: &'s Value,
}

impl<'a> Detectors<'a> {
    /// Arms every detector and runs its self-test. What was said before is none of its business; an alert that is on
    /// already can't go on.
    pub(crate) async fn arm(
        experiment: &'a Experiment,
        rules: &'a SigmaRules,
        environment: &dyn Environment,
        run: &str,
    ) -> Detectors<'a> {
        let mut state = State {
            subject: Subject::of(experiment, environment, run),
            armed: Vec::new(),
            responses: Vec::new(),
            polled: environment.now().boottime,
            pauses: environment.observing().map_or_else(BTreeMap::new, |observing| {
                let names = observing.names().into_iter();
                names.map(|name| (name.clone(), observing.pause(&name))).collect()
            }),
            heard: BTreeMap::new(),
            correlator: rules.correlator(),
            armed_at: environment.now(),
            start: None,
        };
        for detector in &experiment.detectors {
            let tested = match &detector.kind {
                DetectorKind::Probe { .. } => read(&detector.kind, environment).await,
                kind => self_test(kind, rules, environment).await.map(|()| 0.0),
            };
            state.armed.push(Armed {
                detector,
                baseline: *tested.as_ref().unwrap_or(&0.0),
                broken: tested.err().map(|reason| (reason, false)),
                low: Duration::ZERO,
                on: false,
                on_before: false,
                turns: 0,
                turns_max: 2 * u32::try_from(experiment.faults.len()).unwrap_or(1),
                unread: None,
                fired: Vec::new(),
                near: false,
                marked: diagnose::is_marked(&detector.kind, rules),
            });
        }
        for response in &experiment.responses {
            state.responses.push(Answered {
                response,
                broken: self_test(&response.kind, rules, environment).await.err(),
                seen: None,
            });
        }
        // One poll reads a bounded part; an environment that never runs dry only costs false alerts.
        for _ in 0..OLD_POLLS_MAX {
            let now = environment.now();
            let readings = environment.poll_readings(now.boottime);
            if readings.is_empty() {
                break;
            }
            readings.iter().for_each(|reading| state.old(reading, now));
        }
        state.polled = environment.now().boottime;
        Detectors {
            rules,
            clocks: experiment.faults.iter().all(|fault| fault.entry().id != CLOCK_FAULT),
            state: Mutex::new(state),
        }
    }

    /// Waits until every source that has to speak has spoken, for as long as it may be silent.
    pub(crate) async fn alive(&self, environment: &dyn Environment) {
        let begun = environment.now().boottime;
        loop {
            self.read(environment, During::Between);
            let now = environment.now();
            let waits = {
                let mut state = self.state();
                let heard = state.heard.clone();
                let silent = |armed: &Armed<'_>| {
                    let allowed = Duration::from_secs(armed.detector.alive_seconds?);
                    let last = last_heard(&armed.detector.kind, &heard);
                    let silent = last.is_none_or(|at| now.boottime.saturating_sub(at) > allowed);
                    silent.then_some((allowed, last))
                };
                let mut waits = false;
                for armed in state.armed.iter_mut().filter(|armed| armed.broken.is_none()) {
                    let Some((allowed, last)) = silent(armed) else { continue };
                    if now.boottime.saturating_sub(begun) < allowed {
                        waits = true;
                        continue;
                    }
                    let since = last.map_or_else(
                        || "nothing was ever heard of it".to_owned(),
                        |at| format!("last heard {} s ago", now.boottime.saturating_sub(at).as_secs()),
                    );
                    let reason = format!("silent for longer than {} s: {since}", allowed.as_secs());
                    armed.broken = Some((reason, true));
                }
                waits
            };
            if !waits || environment.cancelled() {
                return;
            }
            sleep(Duration::from_millis(ALIVE_LOOK_MS)).await;
        }
    }

    /// Looks once at everything before the injection: whatever fires then is a false alert.
    pub(crate) async fn look_before(&self, environment: &dyn Environment, during: During) {
        self.read(environment, during);
        for index in self.probes() {
            let detector = self.state().armed[index].detector;
            let begun = environment.now().boottime;
            let value = read(&detector.kind, environment).await;
            let at = environment.now().boottime;
            let mut state = self.state();
            let armed = &mut state.armed[index];
            match value {
                Ok(value) if value > armed.baseline => {
                    let after = armed.low;
                    armed.baseline = value;
                    armed.keep(Fired::before(at, after, during, false));
                }
                Ok(value) => armed.baseline = value,
                Err(reason) => armed.broken = Some((reason, false)),
            }
            armed.low = begun;
        }
    }

    /// The injection begins.
    pub(crate) fn start(&self, now: Now) {
        self.state().start = Some(now);
    }

    /// Credentials were revoked.
    pub(crate) fn revoked(&self, leases: &[CredentialRef]) {
        self.state().subject.revoked(leases.iter().map(|lease| lease.0.clone()));
    }

    /// Reads what was said since the last call.
    pub(crate) fn read(&self, environment: &dyn Environment, during: During) {
        let now = environment.now().boottime;
        let readings = environment.poll_readings(now);
        let mut state = self.state();
        let after = std::mem::replace(&mut state.polled, now);
        let clocks = self.clocks && state.clock_runs();
        for reading in &readings {
            match reading {
                Reading::Event(event) => state.event(event, self.rules, after, during, clocks),
                Reading::Alert(alert) => state.alert(alert, after, during, clocks),
                Reading::Gap { source, reason } => state.gap(source, reason),
            }
        }
    }

    /// Reads one probe's metric. Call it for those that [`Detectors::probes`] names.
    pub(crate) async fn read_probe(&self, index: usize, environment: &dyn Environment) {
        let detector = self.state().armed[index].detector;
        let begun = environment.now().boottime;
        // A service that doesn't answer just now is not a detection, and the next reading comes soon.
        let Ok(value) = read(&detector.kind, environment).await else {
            return;
        };
        let at = environment.now().boottime;
        let mut state = self.state();
        let armed = &mut state.armed[index];
        if value > armed.baseline {
            let mut fired = Fired::before(at, armed.low, During::Fault, false);
            let least = armed.detector.correlation;
            if least > Correlation::Window {
                fired.against = Some(Against::Weak(least));
            }
            // A counter that goes on rising says the same again.
            armed.baseline = value;
            armed.keep(fired);
        } else {
            armed.low = begun;
        }
    }

    /// Which detectors have to be asked.
    pub(crate) fn probes(&self) -> Vec<usize> {
        let state = self.state();
        let is_probe = |index: &usize| matches!(state.armed[*index].detector.kind, DetectorKind::Probe { .. });
        (0..state.armed.len()).filter(is_probe).collect()
    }

    /// The first detection that counts.
    pub(crate) fn detected(&self) -> Option<Change> {
        self.state().first(|_| true).map(|(change, _)| change)
    }

    /// True when every detector that counts has fired, and everybody has answered.
    pub(crate) fn all_said(&self) -> bool {
        let state = self.state();
        state
            .armed
            .iter()
            .filter(|armed| armed.counts())
            .all(|armed| armed.credited().is_some())
            && state.all_answered()
    }

    /// True when nothing is to come that the run has to wait for: people are told, where a detector tells them, and
    /// have answered.
    pub(crate) fn all_answered(&self) -> bool {
        let state = self.state();
        let mut tell = state
            .armed
            .iter()
            .filter(|armed| armed.counts() && armed.detector.notifies)
            .peekable();
        let told = tell.peek().is_none() || tell.any(|armed| armed.credited().is_some());
        told && state.all_answered()
    }

    pub(crate) fn is_done(&self, index: usize) -> bool {
        self.state().armed[index].credited().is_some()
    }

    /// Detectors that failed their self-test, each with the reason.
    pub(crate) fn broken(&self) -> Vec<String> {
        let state = self.state();
        let detectors = state.armed.iter().filter_map(|armed| {
            // What was not read can't be told from what never came; what came counts all the same.
            let unread = armed.unread.as_ref().filter(|_| armed.credited().is_none());
            let reason = armed.broken.as_ref().map(|(reason, _)| reason).or(unread)?;
            Some(format!("`{}`: {reason}", armed.detector.id))
        });
        let responses = state.responses.iter().filter_map(|answered| {
            let reason = answered.broken.as_ref()?;
            Some(format!("`{}`: {reason}", answered.response.id))
        });
        detectors.chain(responses).collect()
    }

    /// Detectors that fired before anything was injected.
    pub(crate) fn firing(&self) -> Vec<String> {
        let state = self.state();
        let firing = state.armed.iter().filter(|armed| armed.false_alert());
        firing.map(|armed| armed.detector.id.clone()).collect()
    }

    /// What became of each.
    pub(crate) fn runs(&self, course: &Course) -> Vec<DetectorRun> {
        let state = self.state();
        let run = |armed: &Armed<'_>| DetectorRun {
            id: armed.detector.id.clone(),
            kind: armed.detector.kind.name().to_owned(),
            self_test: armed.broken.is_none(),
            false_alarm: armed.false_alert(),
            detected_us: armed
                .credited()
                .filter(|_| armed.counts())
                .zip(course.start)
                .map(|(fired, start)| micros(fired.at.saturating_sub(start))),
            diagnosis: diagnose::of(armed, &state.armed, course).map(str::to_owned),
        };
        state.armed.iter().map(run).collect()
    }

    /// What was said from arming on, in order of time, with times from `start`.
    pub(crate) fn alerts(&self, start: Duration) -> Vec<AlertRun> {
        let state = self.state();
        let mut alerts: Vec<AlertRun> = Vec::new();
        for armed in &state.armed {
            let credited = armed.credited().filter(|_| armed.counts()).map(std::ptr::from_ref);
            alerts.extend(armed.fired.iter().map(|fired| {
                let counts = credited.is_some_and(|credited| std::ptr::eq(credited, fired));
                AlertRun {
                    detector: armed.detector.id.clone(),
                    at_us: signed(fired.at, start),
                    correlation: fired.correlation().to_owned(),
                    credited: counts,
                    why: if counts { None } else { Some(armed.why_not(fired)) },
                }
            }));
        }
        alerts.sort_by(|a, b| (a.at_us, &a.detector).cmp(&(b.at_us, &b.detector)));
        alerts
    }

    /// The two blind windows, `(from, until)` each: what fired in them.
    pub(crate) fn blind(&self, windows: &[(During, Duration, Duration)], start: Duration) -> Vec<BlindWindow> {
        let state = self.state();
        let window = |(during, from, until): &(During, Duration, Duration)| {
            let fired = state.armed.iter().filter(|armed| armed.fired_during(*during));
            BlindWindow {
                from_us: signed(*from, start),
                until_us: signed(*until, start),
                planted: if *during == During::Marker { "marker" } else { "nothing" }.to_owned(),
                fired: fired.map(|armed| armed.detector.id.clone()).collect(),
            }
        };
        windows.iter().map(window).collect()
    }

    /// `detected`, `notified`, and the answers, as far as they could be seen. `until` is boot time.
    pub(crate) fn moments(&self, start: Duration, until: Duration) -> BTreeMap<String, Moment> {
        let state = self.state();
        let mut moments = BTreeMap::new();
        let mut add = |name: &str, seen: Option<(Change, String)>| {
            moments.insert(name.to_owned(), moment(seen, start, start, until));
        };
        if !state.armed.is_empty() {
            add("detected", state.first(|_| true));
        }
        if state.armed.iter().any(|armed| armed.detector.notifies) {
            add("notified", state.first(|detector| detector.notifies));
        }
        for answer in Answer::ALL {
            let mut of = state
                .responses
                .iter()
                .filter(|of| of.response.answer == answer)
                .peekable();
            if of.peek().is_some() {
                let first = of
                    .filter_map(|answered| answered.seen.clone())
                    .min_by_key(|(change, _)| change.at);
                add(answer.name(), first);
            }
        }
        moments
    }

    fn state(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A moment of the measurement, counted from `from`. All are boot times.
pub(crate) fn moment(seen: Option<(Change, String)>, start: Duration, from: Duration, until: Duration) -> Moment {
    let since = |at: Duration| micros(at.saturating_sub(start));
    Moment {
        at_us: seen.as_ref().map(|(change, _)| since(change.at)),
        from_us: since(from),
        until_us: since(until),
        resolution_us: seen
            .as_ref()
            .map_or(0, |(change, _)| since(change.at) - since(change.after.min(change.at))),
        by: seen.map(|(_, by)| by),
    }
}

impl State<'_> {
    /// Said before the run: whether an alert is on, and that its source lives.
    fn old(&mut self, reading: &Reading, now: Now) {
        let (at, claimed) = match reading {
            Reading::Event(event) => (event.boottime, claimed(&event.fields)),
            Reading::Alert(alert) => {
                for armed in &mut self.armed {
                    if matches(&armed.detector.kind, alert) {
                        (armed.on, armed.on_before) = (alert.firing, alert.firing);
                    }
                }
                (alert.boottime, alert.claimed)
            }
            Reading::Gap { source, reason } => return self.gap(source, reason),
        };
        let age = claimed.map_or(0, |claimed| now.utc.as_millisecond() - claimed.as_millisecond());
        let age = Duration::from_millis(u64::try_from(age).unwrap_or(0));
        self.hear(reading.source(), at.saturating_sub(age));
    }

    fn hear(&mut self, source: &str, at: Duration) {
        let heard = self.heard.entry(source.to_owned()).or_default();
        *heard = (*heard).max(at);
    }

    fn event(&mut self, event: &Event, rules: &SigmaRules, after: Duration, during: During, clocks: bool) {
        self.hear(&event.source, event.boottime);
        let matched = fired(rules, &mut self.correlator, event);
        let said = Said {
            at: event.boottime,
            after,
            during: self.during(during, event.boottime),
            claimed: claimed(&event.fields).filter(|_| clocks),
            techniques: &[],
            fields: &event.fields,
        };
        for armed in &mut self.armed {
            let DetectorKind::Sigma {
                rule,
                source,
                self_test,
            } = &armed.detector.kind
            else {
                continue;
            };
            if source.as_ref().is_some_and(|source| *source != event.source) {
                continue;
            }
            if let Some(found) = matched.iter().find(|found| found.path == *rule) {
                // Authors tag their rules by taste, and the experiment names this one: its tags may join, not object.
                let techniques = self.subject.shared(&found.techniques);
                let said = Said {
                    techniques: &techniques,
                    ..said
                };
                armed.say(&said, &self.subject, self.start);
            } else if said.during == During::Fault && !armed.near {
                armed.near = diagnose::is_near(self_test, &event.fields);
            }
        }
        for answered in &mut self.responses {
            if answered
                .response
                .kind
                .rule()
                .is_some_and(|rule| matched.iter().any(|found| found.path == rule))
            {
                answered.say(&said, &self.subject, &event.source);
            }
        }
    }

    fn alert(&mut self, alert: &Alert, after: Duration, during: During, clocks: bool) {
        self.hear(&alert.source, alert.boottime);
        let said = Said {
            at: alert.boottime,
            after: after
                .min(alert.boottime)
                .saturating_sub(self.pauses.get(&alert.source).copied().unwrap_or_default()),
            during: self.during(during, alert.boottime),
            claimed: alert.claimed.filter(|_| clocks),
            techniques: &alert.techniques,
            fields: &alert.fields,
        };
        for armed in &mut self.armed {
            if !matches(&armed.detector.kind, alert) {
                continue;
            }
            if armed.on != alert.firing {
                armed.turns += 1;
            }
            armed.on = alert.firing;
            if said.during != During::Fault {
                armed.on_before = alert.firing;
            }
            if alert.firing {
                armed.say(&said, &self.subject, self.start);
            }
        }
        for answered in &mut self.responses {
            if matches(&answered.response.kind, alert) && alert.firing {
                answered.say(&said, &self.subject, &alert.source);
            }
        }
    }

    fn gap(&mut self, source: &str, reason: &str) {
        for armed in &mut self.armed {
            let reads = match &armed.detector.kind {
                DetectorKind::Sigma { source: own, .. } => own.as_ref().is_none_or(|own| own == source),
                DetectorKind::Alert { source: own, .. } => own == source,
                DetectorKind::Probe { .. } => false,
            };
            let told = format!("`{source}` was not read: {reason}");
            if reads && self.start.is_some() {
                armed.unread.get_or_insert(told);
            } else if reads && armed.broken.is_none() {
                armed.broken = Some((told, false));
            }
        }
    }

    /// What was said before the injection is not its doing, whenever it is read.
    fn during(&self, during: During, at: Duration) -> During {
        match (during, self.start) {
            (During::Fault, Some(start)) if at < start.boottime => During::Between,
            _ => during,
        }
    }

    fn first(&self, of: impl Fn(&Detector) -> bool) -> Option<(Change, String)> {
        self.armed
            .iter()
            .filter(|armed| armed.counts() && of(armed.detector))
            .filter_map(|armed| Some((armed.credited()?.change(), armed.detector.id.clone())))
            .min_by_key(|(change, _)| change.at)
    }

    /// A stated time stands still: nobody's clock can be held against it.
    fn clock_runs(&self) -> bool {
        self.start.is_some_and(|start| start.utc > self.armed_at.utc)
    }

    fn all_answered(&self) -> bool {
        self.responses.iter().all(|answered| answered.seen.is_some())
    }
}

impl Armed<'_> {
    /// A broken detector and one that fired without a cause prove nothing.
    fn counts(&self) -> bool {
        self.broken.is_none() && !self.false_alert() && !self.flaps_by_itself()
    }

    /// It was on before anything was injected.
    fn false_alert(&self) -> bool {
        self.on_before || self.fired.iter().any(|fired| fired.during != During::Fault)
    }

    /// It goes on and off, and nothing but the time joins it to the injection.
    fn flaps_by_itself(&self) -> bool {
        self.turns > self.turns_max && self.credited().is_none_or(|fired| fired.by == Correlation::Window)
    }

    fn fired_during(&self, during: During) -> bool {
        self.fired.iter().any(|fired| fired.during == during)
    }

    /// The first thing it said that is a detection.
    fn credited(&self) -> Option<&Fired> {
        self.fired
            .iter()
            .find(|fired| fired.during == During::Fault && fired.against.is_none())
    }

    fn say(&mut self, said: &Said<'_>, subject: &Subject, start: Option<Now>) {
        let techniques = if said.techniques.is_empty() {
            &self.detector.techniques
        } else {
            said.techniques
        };
        let Joined { by, against } = subject.join(said.fields, techniques);
        let clock = said
            .claimed
            .zip(start)
            .and_then(|(claimed, start)| off(claimed, start, said.at));
        let early = clock == Some(Clock::Early) && by != Correlation::RunId;
        let least = self.detector.correlation;
        let against = match against {
            Some(reason) => Some(Against::Reason(reason)),
            None if early => Some(Against::Clock),
            None if by < least => Some(Against::Weak(least)),
            None => None,
        };
        self.keep(Fired {
            at: said.at,
            after: said.after,
            during: said.during,
            carries_run: subject.carries_run(said.fields),
            by,
            against,
            clock_wrong: clock.is_some(),
        });
    }

    fn keep(&mut self, fired: Fired) {
        // Of what counts the first is always kept.
        let first = fired.during == During::Fault && fired.against.is_none() && self.credited().is_none();
        if self.fired.len() < FIRINGS_MAX || first {
            self.fired.push(fired);
        }
    }

    fn why_not(&self, fired: &Fired) -> String {
        if fired.during != During::Fault {
            return "nothing was injected yet".to_owned();
        }
        match &fired.against {
            Some(Against::Reason(reason)) => reason.clone(),
            Some(Against::Clock) => "it says that it began before the injection".to_owned(),
            Some(Against::Weak(least)) => format!(
                "only the time joins it to the injection, `{}` is asked for",
                least.name()
            ),
            None if self.broken.is_some() => "its detector failed its self-test".to_owned(),
            None if self.false_alert() => "its detector fires although nothing is wrong".to_owned(),
            None if self.flaps_by_itself() => "its detector goes on and off while nothing changes".to_owned(),
            None => "said before".to_owned(),
        }
    }
}

impl Fired {
    fn before(at: Duration, after: Duration, during: During, carries_run: bool) -> Fired {
        Fired {
            at,
            after,
            during,
            carries_run,
            by: Correlation::Window,
            against: None,
            clock_wrong: false,
        }
    }

    fn change(&self) -> Change {
        Change {
            after: self.after.min(self.at),
            at: self.at,
        }
    }

    fn correlation(&self) -> &'static str {
        match &self.against {
            Some(Against::Reason(_) | Against::Clock) => "none",
            _ if self.during != During::Fault => "none",
            _ => self.by.name(),
        }
    }
}

impl Answered<'_> {
    /// What speaks against it, or came before the injection, is no answer to it.
    fn say(&mut self, said: &Said<'_>, subject: &Subject, source: &str) {
        let joined = subject.join(said.fields, &[]);
        let about_something_else = joined.against.is_some() && self.response.by.is_none();
        if self.seen.is_some() || said.during != During::Fault || about_something_else {
            return;
        }
        let by = self.response.by.as_deref().and_then(|path| text_at(said.fields, path));
        let by = by.unwrap_or_else(|| match self.response.kind {
            DetectorKind::Alert { .. } => source.to_owned(),
            _ => self.response.id.clone(),
        });
        let change = Change {
            after: said.after,
            at: said.at,
        };
        self.seen = Some((change, by));
    }
}

/// How an author's clock is wrong.
#[derive(Debug, PartialEq, Eq)]
enum Clock {
    /// It says a time before the injection.
    Early,
    /// It says a time that is yet to come.
    Ahead,
}

fn off(claimed: Timestamp, start: Now, at: Duration) -> Option<Clock> {
    let claimed = claimed.as_millisecond() - start.utc.as_millisecond();
    let read = i64::try_from(at.saturating_sub(start.boottime).as_millis()).unwrap_or(i64::MAX);
    if claimed < -CLOCK_MS_MAX {
        Some(Clock::Early)
    } else if claimed > read.saturating_add(CLOCK_MS_MAX) {
        Some(Clock::Ahead)
    } else {
        None
    }
}

/// The time that a log line says.
fn claimed(fields: &Value) -> Option<Timestamp> {
    TIME_KEYS.iter().find_map(|key| fields.get(key)?.as_str()?.parse().ok())
}

/// The text, or number, at a key or dotted path.
fn text_at(fields: &Value, path: &str) -> Option<String> {
    let found = fields
        .get(path)
        .or_else(|| path.split('.').try_fold(fields, |value, key| value.get(key)))?;
    match found {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// True when an alert is one that a detector waits for.
fn matches(kind: &DetectorKind, alert: &Alert) -> bool {
    let DetectorKind::Alert { source, name, labels } = kind else {
        return false;
    };
    let carries = |(path, value): (&String, &String)| carries(&alert.fields, path, value);
    *source == alert.source && like(name, &alert.name) && labels.iter().all(carries)
}

/// True when a key or dotted path has a value, at the top or below what holds labels.
fn carries(fields: &Value, path: &str, value: &str) -> bool {
    let mut found = text_at(fields, path).is_some_and(|text| text == value);
    let below = format!(".{path}");
    correlate::leaves("", fields, &mut |key, text| {
        found |= text == value && (key == path || key.ends_with(&below));
    });
    found
}

/// `*` stands for anything.
fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    if !pattern.contains('*') {
        return rest.is_empty();
    }
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or_default();
    let mut rest = rest;
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn last_heard(kind: &DetectorKind, heard: &BTreeMap<String, Duration>) -> Option<Duration> {
    match kind {
        DetectorKind::Sigma { source: None, .. } => heard.values().max().copied(),
        DetectorKind::Sigma {
            source: Some(source), ..
        }
        | DetectorKind::Alert { source, .. } => heard.get(source).copied(),
        DetectorKind::Probe { .. } => None,
    }
}

/// The rules that match a line. A file with correlations fires when one of them is complete, not when a rule that they
/// count matches.
fn fired(rules: &SigmaRules, correlator: &mut Correlator, event: &Event) -> Vec<RuleMatch> {
    let mut matched = rules.matches(&event.fields);
    matched.retain(|found| !rules.correlates(&found.path));
    let seconds = i64::try_from(event.boottime.as_secs()).unwrap_or(i64::MAX);
    matched.extend(correlator.observe(&event.fields, seconds));
    matched
}

/// One line does for a rule; correlations are given it again and again, as an attacker who goes on would.
fn matches_its_line(rules: &SigmaRules, rule: &str, line: &Value) -> bool {
    let mut correlator = rules.correlator();
    let event = Event {
        source: String::new(),
        boottime: Duration::ZERO,
        fields: line.clone(),
    };
    let lines = if rules.correlates(rule) { SELF_TEST_LINES_MAX } else { 1 };
    (0..lines).any(|_| {
        fired(rules, &mut correlator, &event)
            .iter()
            .any(|found| found.path == rule)
    })
}

/// A rule has to match its line, and an observer that is named has to receive.
async fn self_test(kind: &DetectorKind, rules: &SigmaRules, environment: &dyn Environment) -> Result<(), String> {
    match kind {
        DetectorKind::Alert { source, .. } => receives(environment, source).await,
        DetectorKind::Sigma {
            rule,
            self_test,
            source,
        } => {
            if !matches_its_line(rules, rule, self_test) {
                return Err(format!("`{rule}` doesn't match its line"));
            }
            match source {
                Some(source) if is_observer(environment, source) => receives(environment, source).await,
                _ => Ok(()),
            }
        }
        DetectorKind::Probe { .. } => Ok(()),
    }
}

fn is_observer(environment: &dyn Environment, name: &String) -> bool {
    environment
        .observing()
        .is_some_and(|observing| observing.names().contains(name))
}

/// An observer has to be there and to receive.
async fn receives(environment: &dyn Environment, observer: &str) -> Result<(), String> {
    match environment.observing() {
        Some(observing) => observing.self_test(observer, &Value::Null).await,
        None => Err(format!("there is no observer `{observer}`")),
    }
}

/// The metric of a probe.
async fn read(kind: &DetectorKind, environment: &dyn Environment) -> Result<f64, String> {
    let DetectorKind::Probe { service, path, metric } = kind else {
        return Err("it has no metric".to_owned());
    };
    let request = ServiceRequest {
        service: service.clone(),
        method: "GET".to_owned(),
        path: path.clone(),
        ..ServiceRequest::default()
    };
    let answer = crate::run::ask(environment, &request).await?;
    if answer.status != 200 {
        return Err(format!("`{service}` answers {} to GET {path}", answer.status));
    }
    telemetry::metric(&String::from_utf8_lossy(&answer.body), metric)
        .ok_or_else(|| format!("`{service}` shows no metric `{metric}` at {path}"))
}

pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Microseconds from `start` to `at`.
fn signed(at: Duration, start: Duration) -> i64 {
    let whole = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    whole(at) - whole(start)
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, text, expect) in [
            ("*", "", true),
            ("*", "Denied", true),
            ("Denied", "Denied", true),
            ("Denied", "Denied2", false),
            ("Ledger*", "LedgerDenied", true),
            ("*Denied", "LedgerDenied", true),
            ("L*D*d", "LedgerDenied", true),
            ("L*x*d", "LedgerDenied", false),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(like(pattern, text), expect, "{pattern} {text}");
        }
    }
}
