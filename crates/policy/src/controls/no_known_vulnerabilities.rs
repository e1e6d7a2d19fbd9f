//! # control/no-known-vulnerabilities
//! No component has a known vulnerability, and what is known is not too old.
//!
//! ## What it does
//! Reads the vulnerability match of the build stage. Every match of severity `severity_min` (default `low`) or above
//! fails. An advisory database without advisories, or whose newest record is older than `age_days_max` and than what
//! the project declares (`advisories.age_days_max`), whichever is less, leaves the answer open, as does a manifest
//! that could not be read. The database's age always stands in the verdict.
//!
//! ## Why it matters
//! Most break-ins through dependencies use holes that had a number and a fix. An old database finds none of the new
//! ones and says so to nobody.
//!
//! ## Example
//! `derivative 2.2.0` in `Cargo.lock` is matched by RUSTSEC-2024-0388.
//!
//! ## What to do instead
//! Update to the fixed version that the finding names. Where there is none, replace the component, or have an
//! approver sign a waiver with a reason and an end for that one finding.
//!
//! ## References
//! - OSV schema, <https://ossf.github.io/osv-schema/>
//! - in-toto vulns, <https://github.com/in-toto/attestation/blob/main/spec/predicates/vuln.md>
//! - OWASP Top 10 A06:2021, <https://owasp.org/Top10/A06_2021-Vulnerable_and_Outdated_Components/>

use evidence::predicates::{ScannerDatabase, VULNS};
use evidence::{Outcome, Severity, Stage};

use crate::catalogue::{Asked, Entry, Judged, Kind, Parameter, Setting, Tighter};
use crate::history::Seen;
use crate::observed::{Clearing, Watch, judge, vulns};
use crate::words::{count, day};

pub(super) const ENTRY: Entry = Entry {
    id: "no-known-vulnerabilities",
    stages: &[Stage::Build],
    in_floor: true,
    parameters: &[
        Parameter {
            name: "age_days_max",
            kind: Kind::Integer,
            default: Some(Setting::Integer(36_500)),
            tighter: Tighter::Lower,
            doc: "days that the newest advisory may be old, where the project doesn't declare fewer",
        },
        Parameter {
            name: "severity_min",
            kind: Kind::Severity,
            default: Some(Setting::Severity(Severity::Low)),
            tighter: Tighter::Lower,
            doc: "findings below this severity are counted and don't fail",
        },
    ],
    judge: |asked| asked.each(VULNS, WATCH.check, one),
    judge_one: Some(one),
    watch: Some(&WATCH),
};

static WATCH: Watch = Watch {
    predicate: VULNS,
    check: "vulnerability match",
    finding: ("known vulnerability", "known vulnerabilities"),
    fix: "update the component to a version without it, or replace it",
    must_look: false,
    units: &[],
};

fn one(asked: &Asked, seen: &Seen) -> Option<Judged> {
    if seen.statement.predicate_type != VULNS {
        return None;
    }
    let Some(vulns) = vulns(seen.statement) else {
        return Some(asked.malformed(seen));
    };
    let judged = judge(asked, Some(seen), &vulns.observation, &WATCH, Clearing::Waivers);
    Some(judged.merge(database(asked, seen, &vulns.scanner.db)))
}

fn database(asked: &Asked, seen: &Seen, database: &ScannerDatabase) -> Judged {
    const SECONDS_A_DAY: i64 = 86_400;
    let mut judged = Judged::pass();
    if database.advisories == 0 {
        judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            "the advisory database holds no advisory",
            "a match against what is known",
            "fetch advisories in OSV format and name their folder under `[advisories]`",
        ));
        return judged;
    }
    let age_seconds = asked
        .facts
        .now
        .as_second()
        .saturating_sub(database.last_update.as_second());
    // A record from the future is new, not old: `--as-of` may judge at a time before it.
    let age = u64::try_from(age_seconds / SECONDS_A_DAY).unwrap_or(0);
    let own = asked.integer("age_days_max");
    let (limit, by) = match database.age_days_max {
        Some(declared) if declared <= own => (declared, "declared by the project"),
        _ => (own, "of the control"),
    };
    judged.note(format!(
        "database {} old, limit {limit} ({by})",
        count(age, "day", "days").replace(',', "")
    ));
    if age > limit {
        judged.add(asked.reason_at(
            seen,
            Outcome::Indeterminate,
            format!(
                "the newest advisory is of {}, {age} days ago",
                day(database.last_update)
            ),
            &format!("advisories not older than {limit} days ({by})"),
            "fetch the advisories anew and pin their digest under `[advisories]`",
        ));
    }
    judged
}
