//! # control/dynamic-test-clean
//! The running services stood up to hostile requests.
//!
//! ## What it does
//! Reads the dynamic test of the integration stage: requests made from the OpenAPI document, as each identity and as
//! nobody. Every finding of severity `severity_min` (default `low`) or above fails. A test that reached nothing, or
//! that names a blocking gap, leaves the answer open. Routes that were never reached stand in the verdict.
//!
//! ## Why it matters
//! What a service does with a request that nobody sane would send is seen only by sending it. An endpoint that
//! forgets to ask who is calling looks fine to every test that calls it politely.
//!
//! ## Example
//! `GET /admin/orders` answers 200 to a request without a token: `dast/missing-authentication`.
//!
//! ## What to do instead
//! Fix the route that the finding names; its page (`explain`) says how. Where the document is wrong and the service
//! right, correct the document: it is what clients are promised.
//!
//! ## References
//! - OWASP API Security Top 10 (2023), <https://owasp.org/API-Security/editions/2023/en/0x11-t10/>
//! - OpenAPI 3.1, <https://spec.openapis.org/oas/v3.1.0>

use evidence::predicates::DYNAMIC_TEST;
use evidence::{Severity, Stage};

use crate::catalogue::{Entry, Kind, Parameter, Setting, Tighter};
use crate::observed::{Unit, Watch, judge_observed};

pub(super) const ENTRY: Entry = Entry {
    id: "dynamic-test-clean",
    stages: &[Stage::Integration],
    in_floor: true,
    parameters: &[Parameter {
        name: "severity_min",
        kind: Kind::Severity,
        default: Some(Setting::Severity(Severity::Low)),
        tighter: Tighter::Lower,
        doc: "findings below this severity are counted and don't fail",
    }],
    judge: |asked| {
        asked.each(DYNAMIC_TEST, WATCH.check, |asked, seen| {
            Some(judge_observed(asked, seen, &WATCH))
        })
    },
    judge_one: Some(|asked, seen| {
        (seen.statement.predicate_type == DYNAMIC_TEST).then(|| judge_observed(asked, seen, &WATCH))
    }),
    watch: Some(&WATCH),
};

static WATCH: Watch = Watch {
    predicate: DYNAMIC_TEST,
    check: "dynamic test",
    finding: ("finding", "findings"),
    fix: "fix the route, or the OpenAPI document where that is what is wrong",
    must_look: true,
    units: &[
        Unit {
            name: "routes",
            one: "route",
            many: "routes",
            missed: Some("never reached"),
        },
        Unit {
            name: "requests",
            one: "request",
            many: "requests",
            missed: None,
        },
    ],
};
