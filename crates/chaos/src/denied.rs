//! What a service did with requests that it has to refuse, and the name of how it fails open.
//!
//! - `fail-open`: it never refused
//! - `fail-open-until-cache-expiry`: it served for a while, and refused from then on
//! - `fail-open-after-cache-expiry`: it refused for a while, and served from then on
//! - `fail-open-intermittently`: now this, now that
//! - `fail-open-under-load`: it served only where many came at once
//! - `fail-open-for-one-identity`: one of several is served
//! - `fail-open-on-error`, `fail-open-on-timeout`: it refused before the fault, and served while it was in force, at once
//!   or after a wait
//! - `fail-open-on-one-path`: another path of the same service is refused ([`crate::invariants`])

use std::time::Duration;

/// The one that ends by itself.
pub(crate) const UNTIL_CACHE_EXPIRY: &str = "fail-open-until-cache-expiry";
/// An answer that took so much longer than those before the fault came after a wait.
const WAIT_FACTOR: u32 = 5;
const WAIT_MS_MIN: u64 = 50;
/// So many refusals of single requests show that only load makes the difference.
const SINGLE_MIN: usize = 3;

/// One request that has to be refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Denial {
    /// Boot time.
    pub(crate) start: Duration,
    pub(crate) elapsed: Duration,
    /// The fault that was in force, by number; `None` before the first and between two.
    pub(crate) fault: Option<usize>,
    /// One of many that were sent at once.
    pub(crate) at_once: bool,
    /// Whose credential, by number.
    pub(crate) of: usize,
    pub(crate) answer: Answered,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    Refused,
    Served(u16),
    /// Neither: an error of its own, or nothing.
    Otherwise,
}

impl Answered {
    pub(crate) fn of(status: Option<u16>, refused: &[u16]) -> Answered {
        match status {
            Some(status) if refused.contains(&status) => Answered::Refused,
            Some(status) if status < 400 => Answered::Served(status),
            _ => Answered::Otherwise,
        }
    }
}

/// How a service fails open, by name; `None` where it does not.
pub(crate) fn name(denials: &[Denial]) -> Option<&'static str> {
    let mut denials: Vec<Denial> = denials
        .iter()
        .copied()
        .filter(|denial| denial.answer != Answered::Otherwise)
        .collect();
    denials.sort_by_key(|denial| denial.start);
    let served = |denial: &&Denial| denial.answer != Answered::Refused;
    if !denials.iter().any(|denial| served(&denial)) {
        return None;
    }
    if denials.iter().all(|denial| served(&denial)) {
        return Some("fail-open");
    }
    // What one of them was still served at first doesn't matter.
    let later = &denials[denials.len() / 2..];
    if differs_by(later, |denial| denial.of) {
        return Some("fail-open-for-one-identity");
    }
    let single = denials.iter().filter(|denial| !denial.at_once);
    let refused_single = single.clone().filter(|denial| !served(denial)).count();
    if !single.clone().any(|denial| served(&denial)) && refused_single >= SINGLE_MIN {
        return Some("fail-open-under-load");
    }
    // Whether before, during one fault or another: each is one or the other.
    if denials.iter().any(|denial| denial.fault.is_none()) && differs_by(&denials, |denial| denial.fault) {
        return Some(if waits(&denials) {
            "fail-open-on-timeout"
        } else {
            "fail-open-on-error"
        });
    }
    // That it refused before the fault is not what it does now.
    let denials: Vec<Denial> = denials
        .into_iter()
        .skip_while(|denial| denial.fault.is_none() && !served(&denial))
        .collect();
    let turns = denials
        .windows(2)
        .filter(|pair| served(&&pair[0]) != served(&&pair[1]))
        .count();
    match (turns, served(&&denials[0])) {
        (1, true) => Some(UNTIL_CACHE_EXPIRY),
        // It may take a moment until it refuses at all.
        (1, false) | (2, true) => Some("fail-open-after-cache-expiry"),
        _ => Some("fail-open-intermittently"),
    }
}

/// True when those with the same key all had the same answer, and others another.
fn differs_by<K: Ord>(denials: &[Denial], key: impl Fn(&Denial) -> K) -> bool {
    let mut answers: std::collections::BTreeMap<K, bool> = std::collections::BTreeMap::new();
    for denial in denials {
        let refused = denial.answer == Answered::Refused;
        if *answers.entry(key(denial)).or_insert(refused) != refused {
            return false;
        }
    }
    answers.values().any(|refused| *refused) && answers.values().any(|refused| !refused)
}

/// What was served took much longer than what was refused.
fn waits(denials: &[Denial]) -> bool {
    let median = |refused: bool| {
        let of = denials
            .iter()
            .filter(|denial| (denial.answer == Answered::Refused) == refused);
        let mut times: Vec<Duration> = of.map(|denial| denial.elapsed).collect();
        times.sort_unstable();
        times.get(times.len() / 2).copied().unwrap_or_default()
    };
    let (refused, served) = (median(true), median(false));
    served >= (refused * WAIT_FACTOR).max(Duration::from_millis(WAIT_MS_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One request a letter, 10 ms apart: `r` refused, `s` served, `e` an error; capital: one of many at once. Before a
    /// `|` no fault is in force. A digit after it is whose it is, `~` that it took 200 ms.
    #[track_caller]
    fn check(script: &str, expect: Option<&str>) {
        let mut denials: Vec<Denial> = Vec::new();
        let mut fault = (!script.contains('|')).then_some(0);
        for (at, letter) in script.chars().enumerate() {
            let answer = match letter.to_ascii_lowercase() {
                '|' => {
                    fault = Some(fault.map_or(0, |fault| fault + 1));
                    continue;
                }
                '~' => {
                    denials.last_mut().unwrap().elapsed = Duration::from_millis(200);
                    continue;
                }
                digit if digit.is_ascii_digit() => {
                    denials.last_mut().unwrap().of = digit as usize;
                    continue;
                }
                'r' => Answered::Refused,
                's' => Answered::Served(200),
                _ => Answered::Otherwise,
            };
            denials.push(Denial {
                start: Duration::from_millis(at as u64 * 10),
                elapsed: Duration::from_millis(1),
                fault,
                at_once: letter.is_uppercase(),
                of: 0,
                answer,
            });
        }
        assert_eq!(name(&denials), expect, "{script}");
    }

    #[test]
    fn each_way_to_fail_open_has_its_name() {
        check("", None);
        check("rrrrRRRRr", None);
        check("rrerrer", None);
        check("sssss", Some("fail-open"));
        check("rr|ssss", Some("fail-open-on-error"));
        check("rr|rrrr|ssss", Some("fail-open-on-error"));
        check("rr|s~s~s~s~", Some("fail-open-on-timeout"));
        check("sssrrrr", Some("fail-open-until-cache-expiry"));
        check("rrrrsss", Some("fail-open-after-cache-expiry"));
        check("rr|rrrrsss", Some("fail-open-after-cache-expiry"));
        check("ssrrrrsss", Some("fail-open-after-cache-expiry"));
        check("rr|sssrrr", Some("fail-open-until-cache-expiry"));
        check("s1s2r1r2r1r2r1r2", Some("fail-open-until-cache-expiry"));
        check("rrsrrrsrr", Some("fail-open-intermittently"));
        check("rrRSRSrrr", Some("fail-open-under-load"));
        check("r1s2r1s2r1s2", Some("fail-open-for-one-identity"));
    }
}
