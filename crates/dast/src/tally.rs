//! Joins hits into findings: one for each rule, route and context, however often it was hit.
//!
//! Start reading at [`Tally::findings`].

use std::collections::BTreeMap;

use evidence::{Finding, FindingId, Severity};

use crate::oracle::{Entry, Hit};

/// Findings of one route and rule; further contexts are counted under one more.
const CONTEXTS_MAX: usize = 40;
/// Classes of input that one message names.
const CLASSES_SHOWN: usize = 3;

/// Hits so far.
#[derive(Default)]
pub(crate) struct Tally {
    hits: BTreeMap<Key, Count>,
    contexts: BTreeMap<(&'static str, String), usize>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    rule: &'static str,
    route: String,
    context: String,
}

struct Count {
    severity: Severity,
    what: String,
    fix: &'static str,
    component: Option<String>,
    /// By class of input.
    classes: BTreeMap<String, u64>,
}

impl Tally {
    pub fn add(&mut self, oracle: &Entry, route: &str, class: &str, hit: Hit, component: Option<String>) {
        let mut key = Key {
            rule: oracle.id,
            route: route.to_owned(),
            context: hit.context,
        };
        let mut what = hit.what;
        if !self.hits.contains_key(&key) {
            let contexts = self.contexts.entry((oracle.id, route.to_owned())).or_default();
            *contexts += 1;
            if *contexts > CONTEXTS_MAX {
                key.context = "further".to_owned();
                what = format!("has more than {CONTEXTS_MAX} findings of this kind");
            }
        }
        let count = self.hits.entry(key).or_insert_with(|| Count {
            severity: hit.severity,
            what,
            fix: oracle.fix,
            component: None,
            classes: BTreeMap::new(),
        });
        count.severity = count.severity.max(hit.severity);
        count.component = count.component.take().or(component);
        *count.classes.entry(class.to_owned()).or_default() += 1;
    }

    pub fn findings(self) -> Vec<Finding> {
        self.hits.into_iter().map(|(key, count)| finding(key, count)).collect()
    }
}

fn finding(key: Key, count: Count) -> Finding {
    let times: u64 = count.classes.values().sum();
    let mut classes: Vec<(&String, &u64)> = count.classes.iter().collect();
    classes.sort_by(|a, b| (b.1, a.0).cmp(&(a.1, b.0)));
    let shown: Vec<&str> = classes
        .iter()
        .take(CLASSES_SHOWN)
        .map(|(class, _)| class.as_str())
        .collect();
    let more = match classes.len().saturating_sub(CLASSES_SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let often = if times == 1 {
        "once".to_owned()
    } else {
        format!("{times} times")
    };
    Finding {
        id: FindingId::new(key.rule, &key.route, &key.context, 0),
        rule: key.rule.to_owned(),
        severity: count.severity,
        message: format!("`{}` {} ({often}: {}{more})", key.route, count.what, shown.join(", ")),
        span: None,
        route: Some(key.route),
        component: count.component,
        fix: count.fix.to_owned(),
        suppressed: false,
        properties: BTreeMap::from([
            ("context".to_owned(), key.context),
            ("requests".to_owned(), times.to_string()),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_of_one_context_are_one_finding() {
        let oracle = &crate::oracles::ALL[0];
        let mut tally = Tally::default();
        for class in ["b", "a", "b", "c", "d"] {
            tally.add(
                oracle,
                "GET /x",
                class,
                Hit::new(Severity::Low, "status 500", "answers 500"),
                None,
            );
        }
        for number in 0..100 {
            tally.add(
                oracle,
                "GET /y",
                "a",
                Hit::new(Severity::Low, format!("{number}"), "is odd"),
                None,
            );
        }
        let findings = tally.findings();
        assert_eq!(findings.len(), 1 + CONTEXTS_MAX + 1);
        let of_x = findings
            .iter()
            .find(|finding| finding.route.as_deref() == Some("GET /x"))
            .unwrap();
        assert_eq!(of_x.message, "`GET /x` answers 500 (5 times: b, a, c and 1 more)");
    }
}
