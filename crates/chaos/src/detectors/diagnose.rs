//! What is wrong with a detector, by name.
//!
//! - `dead`: it failed its self-test; `dead-since`: nothing was heard of its source for longer than it may be silent
//! - `reads-run-id`: it fires on the run's name, without any fault
//! - `always-on`, `flapping`, `false-alarm`: it fires although nothing is wrong: all the time, on and off, once
//! - `wrong-reason`: all it said is about something else
//! - `clock-wrong`: it says a time before the injection, or one that is yet to come
//! - `weak`: less joins what it said to the injection than was asked for
//! - `late`: it is credited with its own time, which is later than expected, or after the fault had ended
//! - `duplicate`: it is another detector under another name
//! - `self-test-only`: its rule matches the line of its self-test, and not the like of it that the fault brought about
//! - `silent`: it was watched for as long as anything was expected, and said nothing

use std::time::Duration;

use serde_json::Value;
use telemetry::SigmaRules;

use super::{Against, Armed, During};
use crate::experiment::DetectorKind;

/// A word in a self-test's line that marks it as one.
const CANARY: &[&str] = &["canary", "self-test", "selftest", "self_test"];

/// How a run went, as far as it matters for detectors. Boot times.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Course {
    /// Start of the injection; `None` when there was none.
    pub(crate) start: Option<Duration>,
    /// When the last fault that ends by itself had ended.
    pub(crate) ended: Option<Duration>,
    /// Until when was watched.
    pub(crate) until: Duration,
    /// Within which time detection is expected.
    pub(crate) expected: Option<Duration>,
    /// How long is watched where nothing else is known.
    pub(crate) window: Duration,
}

pub(super) fn of(armed: &Armed<'_>, all: &[Armed<'_>], course: &Course) -> Option<&'static str> {
    if let Some((_, silent)) = &armed.broken {
        return Some(if *silent { "dead-since" } else { "dead" });
    }
    if armed.false_alert() {
        return Some(without_cause(armed));
    }
    let start = course.start?;
    let Some(credited) = armed.credited() else {
        return uncredited(armed, course, start);
    };
    if armed.turns > armed.turns_max {
        return Some("flapping");
    }
    let after = credited.at.saturating_sub(start);
    let late = course.expected.is_some_and(|expected| after > expected);
    let too_late = course.ended.is_some_and(|ended| credited.at > ended);
    let twin = |other: &&Armed<'_>| same(&other.detector.kind, &armed.detector.kind);
    if credited.clock_wrong {
        Some("clock-wrong")
    } else if late || too_late {
        Some("late")
    } else if all.iter().find(twin).is_some_and(|first| !std::ptr::eq(first, armed)) {
        Some("duplicate")
    } else {
        None
    }
}

/// It fired before anything was injected.
fn without_cause(armed: &Armed<'_>) -> &'static str {
    let before = || armed.fired.iter().filter(|fired| fired.during != During::Fault);
    let nothing = before().any(|fired| fired.during == During::Nothing);
    let marker = before().any(|fired| fired.during == During::Marker);
    if before().any(|fired| fired.carries_run) || (marker && before().all(|fired| fired.during == During::Marker)) {
        "reads-run-id"
    } else if armed.turns > 2 {
        "flapping"
    } else if (nothing && marker) || armed.on || before().count() > 2 {
        "always-on"
    } else {
        "false-alarm"
    }
}

fn uncredited(armed: &Armed<'_>, course: &Course, start: Duration) -> Option<&'static str> {
    let against = |is: fn(&Against) -> bool| armed.fired.iter().any(|fired| fired.against.as_ref().is_some_and(is));
    if against(|against| matches!(against, Against::Reason(_))) {
        return Some("wrong-reason");
    }
    if against(|against| matches!(against, Against::Clock)) {
        return Some("clock-wrong");
    }
    if against(|against| matches!(against, Against::Weak(_))) {
        return Some("weak");
    }
    if armed.near || armed.marked {
        return Some("self-test-only");
    }
    let watched = course.until.saturating_sub(start);
    (watched >= course.expected.unwrap_or(course.window)).then_some("silent")
}

/// The line of its self-test carries a mark of one, without which its rule doesn't match.
pub(super) fn is_marked(kind: &DetectorKind, rules: &SigmaRules) -> bool {
    let DetectorKind::Sigma { rule, self_test, .. } = kind else {
        return false;
    };
    let Value::Object(fields) = self_test else { return false };
    let mark = |(key, value): &(&String, &Value)| {
        let text = format!("{key} {value}").to_lowercase();
        CANARY.iter().any(|word| text.contains(word))
    };
    let without: serde_json::Map<String, Value> = fields
        .iter()
        .filter(|field| !mark(field))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    let matches = |line: &Value| rules.matches(line).iter().any(|found| found.path == *rule);
    without.len() < fields.len() && matches(self_test) && !matches(&Value::Object(without))
}

fn same(a: &DetectorKind, b: &DetectorKind) -> bool {
    match (a, b) {
        (
            DetectorKind::Sigma { rule, source, .. },
            DetectorKind::Sigma {
                rule: other,
                source: other_source,
                ..
            },
        ) => rule == other && source == other_source,
        _ => a == b,
    }
}

/// True when a line is like the self-test's: more than half of what that says, and not all of it.
pub(super) fn is_near(self_test: &Value, line: &Value) -> bool {
    let (Value::Object(wanted), Value::Object(line)) = (self_test, line) else {
        return false;
    };
    let same = wanted
        .iter()
        .filter(|(key, value)| line.get(*key) == Some(value))
        .count();
    2 * same > wanted.len()
}
