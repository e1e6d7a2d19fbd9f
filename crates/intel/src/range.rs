//! Whether a version is affected, by OSV's evaluation rules (<https://ossf.github.io/osv-schema/#evaluation>).
//!
//! Start reading at [`judge`].

use std::cmp::Ordering;

use crate::record::{Affected, Range, RangeKind};
use crate::version::{compare, compare_semver};

/// What a record says about one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    NotAffected,
    /// With the lowest version above it that a matching range calls fixed, when one does.
    Affected {
        fixed: Option<String>,
    },
    /// It can't be told, and why: lower case.
    Unknown(String),
}

/// Holds `version` against one `affected` entry. A version listed by name is affected whatever the ranges say.
///
/// An entry with neither ranges of versions nor versions says that something is wrong, but not where: that is unknown, never clean.
pub(crate) fn judge(affected: &Affected, ecosystem: &str, version: &str) -> Answer {
    let ranges: Vec<&Range> = affected
        .ranges
        .iter()
        .filter(|range| range.kind != RangeKind::Git)
        .collect();
    if ranges.is_empty() && affected.versions.is_empty() {
        return Answer::Unknown("the record says nothing about versions".to_owned());
    }
    let listed = !version.is_empty()
        && affected
            .versions
            .iter()
            .any(|v| v == version || compare(ecosystem, v, version) == Some(Ordering::Equal));
    let mut hit = listed;
    let mut fixed: Option<String> = None;
    let mut unknown = None;
    for range in ranges {
        let order = |a: &str, b: &str| match range.kind {
            RangeKind::Semver => compare_semver(a, b),
            RangeKind::Ecosystem | RangeKind::Git => compare(ecosystem, a, b),
        };
        match contains(range, version, &order) {
            Some(true) => hit = true,
            // A listed version may still learn from the range what fixes it.
            Some(false) if listed => {}
            Some(false) => continue,
            None => {
                unknown = Some("its version, or one in the record, can't be ordered".to_owned());
                continue;
            }
        }
        fixed = lower(fixed, next_fixed(range, version, &order), &order);
    }
    match (hit, unknown) {
        (true, _) => Answer::Affected { fixed },
        (false, Some(reason)) => Answer::Unknown(reason),
        // Only names of versions, and the version has no name.
        (false, None) if version.is_empty() => Answer::Unknown("its version is not known".to_owned()),
        (false, None) => Answer::NotAffected,
    }
}

type Order<'a> = &'a dyn Fn(&str, &str) -> Option<Ordering>;

#[derive(Clone, Copy, PartialEq)]
enum Effect {
    Starts,
    Ends,
    EndsAfter,
}

/// `None` when a version can't be ordered.
fn contains(range: &Range, version: &str, order: Order<'_>) -> Option<bool> {
    let mut events: Vec<(&str, Effect)> = Vec::new();
    let mut limits: Vec<&str> = Vec::new();
    for event in &range.events {
        events.extend(event.introduced.as_deref().map(|at| (at, Effect::Starts)));
        events.extend(event.fixed.as_deref().map(|at| (at, Effect::Ends)));
        events.extend(event.last_affected.as_deref().map(|at| (at, Effect::EndsAfter)));
        limits.extend(event.limit.as_deref());
    }
    order(version, version)?;
    for (at, effect) in &events {
        if !(*effect == Effect::Starts && *at == "0") {
            order(at, at)?;
        }
    }
    // Of equal versions, ends come first: fixed and introduced in one version leaves it affected, which errs on the safe side.
    let rank = |(at, effect): &(&str, Effect)| (!(*effect == Effect::Starts && *at == "0"), *effect == Effect::Starts);
    events.sort_by(|a, b| {
        let zero = rank(a).0.cmp(&rank(b).0);
        let by_version = if rank(a).0 && rank(b).0 {
            order(a.0, b.0).unwrap_or(Ordering::Equal)
        } else {
            Ordering::Equal
        };
        zero.then(by_version).then(rank(a).1.cmp(&rank(b).1))
    });
    let mut affected = false;
    for (at, effect) in events {
        let past = match effect {
            Effect::Starts if at == "0" => true,
            Effect::Starts | Effect::Ends => order(version, at)?.is_ge(),
            Effect::EndsAfter => order(version, at)?.is_gt(),
        };
        if past {
            affected = effect == Effect::Starts;
        }
    }
    let mut within = limits.is_empty();
    for limit in limits {
        within |= limit == "*" || order(version, limit)?.is_lt();
    }
    Some(affected && within)
}

/// The lowest `fixed` of the range above the version.
fn next_fixed(range: &Range, version: &str, order: Order<'_>) -> Option<String> {
    let above = range
        .events
        .iter()
        .filter_map(|event| event.fixed.as_deref())
        .filter(|fixed| order(fixed, version) == Some(Ordering::Greater));
    above.fold(None, |lowest, fixed| lower(lowest, Some(fixed.to_owned()), order))
}

fn lower(a: Option<String>, b: Option<String>, order: Order<'_>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(if order(&b, &a) == Some(Ordering::Less) { b } else { a }),
        (a, b) => a.or(b),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn affected(json: &str) -> Affected {
        serde_json::from_str(json).expect("an affected entry")
    }

    fn range(kind: &str, events: &str) -> String {
        format!(r#"{{"ranges":[{{"type":"{kind}","events":[{events}]}}]}}"#)
    }

    #[test]
    fn the_rules_of_the_schema() {
        let from_zero = range("SEMVER", r#"{"introduced":"0"},{"fixed":"1.2.0"}"#);
        let twice = range(
            "ECOSYSTEM",
            r#"{"introduced":"1.0.0"},{"fixed":"1.0.2"},{"introduced":"3.0.0"},{"fixed":"3.2.5"}"#,
        );
        let unsorted = range(
            "SEMVER",
            r#"{"fixed":"3.2.5"},{"introduced":"3.0.0"},{"fixed":"1.0.2"},{"introduced":"1.0.0"}"#,
        );
        let last = range("SEMVER", r#"{"introduced":"1.0.0"},{"last_affected":"1.5.0"}"#);
        let limit = range("SEMVER", r#"{"introduced":"0"},{"limit":"2.0.0"}"#);
        let open = range("SEMVER", r#"{"introduced":"0"}"#);
        let listed = r#"{"versions":["1.0.0","1.1.0-rc.1"]}"#.to_owned();
        let both = r#"{"versions":["9.0.0"],"ranges":[{"type":"SEMVER","events":[{"introduced":"1.0.0"},{"fixed":"1.1.0"}]}]}"#.to_owned();
        let hit = |fixed: &str| Answer::Affected {
            fixed: Some(fixed.to_owned()).filter(|fixed| !fixed.is_empty()),
        };
        for (entry, version, expect) in [
            (&from_zero, "0.0.0-alpha", hit("1.2.0")),
            (&from_zero, "1.2.0-rc.1", hit("1.2.0")),
            (&from_zero, "1.2.0", Answer::NotAffected),
            (&twice, "0.9.0", Answer::NotAffected),
            (&twice, "1.0.1", hit("1.0.2")),
            (&twice, "1.0.2", Answer::NotAffected),
            (&twice, "2.0.0", Answer::NotAffected),
            (&twice, "3.0.0", hit("3.2.5")),
            (&twice, "4.0.0", Answer::NotAffected),
            (&unsorted, "2.0.0", Answer::NotAffected),
            (&unsorted, "3.1.0", hit("3.2.5")),
            (&last, "1.5.0", hit("")),
            (&last, "1.5.1", Answer::NotAffected),
            (&limit, "1.9.9", hit("")),
            (&limit, "2.0.0", Answer::NotAffected),
            (&open, "99.0.0", hit("")),
            (&listed, "1.1.0-rc.1", hit("")),
            (&listed, "1.1.0", Answer::NotAffected),
            (&both, "9.0.0", hit("")),
            (&both, "1.0.5", hit("1.1.0")),
            (&both, "2.0.0", Answer::NotAffected),
        ] {
            assert_eq!(judge(&affected(entry), "npm", version), expect, "{entry} {version}");
        }
    }

    #[test]
    fn what_can_not_be_told_is_not_clean() {
        let range_entry = range("ECOSYSTEM", r#"{"introduced":"0"},{"fixed":"1.2.0"}"#);
        let git = range("GIT", r#"{"introduced":"0"},{"fixed":"abc"}"#);
        for (entry, ecosystem, version) in [
            (range_entry.as_str(), "npm", ""),
            (&range_entry, "npm", "latest"),
            (&range_entry, "PyPI", "1.0"),
            (&git, "npm", "1.0.0"),
            ("{}", "npm", "1.0.0"),
            (r#"{"versions":["1.0.0"]}"#, "npm", ""),
            (
                r#"{"ranges":[{"type":"SEMVER","events":[{"introduced":"0"},{"fixed":"soon"}]}]}"#,
                "npm",
                "1.0.0",
            ),
        ] {
            assert!(
                matches!(judge(&affected(entry), ecosystem, version), Answer::Unknown(_)),
                "{entry} {version}"
            );
        }
        assert_eq!(
            judge(&affected(r#"{"versions":["1.0"]}"#), "PyPI", "1.0"),
            Answer::Affected { fixed: None },
            "a name needs no order"
        );
    }

    proptest! {
        /// Ranges made of sorted pairs hold exactly what lies in a pair.
        #[test]
        fn pairs_hold_what_lies_between(cuts in prop::collection::btree_set(0u32..60, 2..8), at in 0u32..64, swap in any::<bool>()) {
            let cuts: Vec<u32> = cuts.into_iter().collect();
            let mut events: Vec<String> = cuts.chunks(2).flat_map(|pair| {
                let start = format!(r#"{{"introduced":"1.{}.0"}}"#, pair[0]);
                let end = pair.get(1).map(|end| format!(r#"{{"fixed":"1.{end}.0"}}"#));
                [Some(start), end].into_iter().flatten()
            }).collect();
            if swap {
                events.reverse();
            }
            let expect = cuts.chunks(2).any(|pair| at >= pair[0] && pair.get(1).is_none_or(|end| at < *end));
            let got = judge(&affected(&range("SEMVER", &events.join(","))), "npm", &format!("1.{at}.0"));
            prop_assert_eq!(matches!(got, Answer::Affected { .. }), expect);
            if let Answer::Affected { fixed } = got {
                let next = cuts.chunks(2).filter_map(|pair| pair.get(1)).find(|end| **end > at);
                prop_assert_eq!(fixed, next.map(|end| format!("1.{end}.0")));
            }
        }
    }
}
