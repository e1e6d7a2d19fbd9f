//! # control/no-secrets
//! No secret stands in the tree or in the git history that is released.
//!
//! ## What it does
//! Reads the secret scan of the commit stage. Every finding of severity `severity_min` (default `low`) or above
//! fails; a file or commit that could not be read leaves the answer open. An inline allow or a baseline entry hides a
//! finding in `check`, the hook and the editor, never here: only a waiver that an approver signed clears it.
//!
//! ## Why it matters
//! A secret in a repository is known to everyone who can read it now or later, and to every tool that copies it. It
//! works until it is revoked, whoever finds it.
//!
//! ## Example
//! `config/ci.env:3` holds a provider's token whose checksum holds. The commit stage is blocked.
//!
//! ## What to do instead
//! Revoke the credential where it was issued, first. Then lease one at run time from the broker, and take the value
//! out of the tree. A value in the history stays known: rewriting history hides it, revoking ends it.
//!
//! ## References
//! - OWASP Secrets Management Cheat Sheet, <https://cheatsheetseries.owasp.org/cheatsheets/Secrets_Management_Cheat_Sheet.html>
//! - CWE-798, use of hard-coded credentials, <https://cwe.mitre.org/data/definitions/798.html>

use evidence::predicates::SECRET_SCAN;
use evidence::{Severity, Stage};

use crate::catalogue::{Entry, Kind, Parameter, Setting, Tighter};
use crate::observed::{Unit, Watch, judge_observed};

pub(super) const ENTRY: Entry = Entry {
    id: "no-secrets",
    stages: &[Stage::Commit],
    in_floor: true,
    parameters: &[Parameter {
        name: "severity_min",
        kind: Kind::Severity,
        default: Some(Setting::Severity(Severity::Low)),
        tighter: Tighter::Lower,
        doc: "findings below this severity are counted and don't fail",
    }],
    judge: |asked| {
        asked.each(SECRET_SCAN, WATCH.check, |asked, seen| {
            Some(judge_observed(asked, seen, &WATCH))
        })
    },
    judge_one: Some(|asked, seen| {
        (seen.statement.predicate_type == SECRET_SCAN).then(|| judge_observed(asked, seen, &WATCH))
    }),
    watch: Some(&WATCH),
};

static WATCH: Watch = Watch {
    predicate: SECRET_SCAN,
    check: "secret scan",
    finding: ("secret", "secrets"),
    fix: "revoke the credential where it was issued, then take it out of the tree",
    must_look: true,
    units: &[
        Unit {
            name: "files",
            one: "file",
            many: "files",
            missed: Some("not searched"),
        },
        Unit {
            name: "commits",
            one: "commit",
            many: "commits",
            missed: Some("not searched"),
        },
    ],
};
