//! What checks see: findings, gaps, coverage.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// Everything one check saw, and what it did not see. A user's own check speaks this as JSON.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Observation {
    pub findings: Vec<Finding>,
    /// What was not looked at, or not fully. A gap is a result, not a log line.
    pub gaps: Vec<Gap>,
    pub coverage: Coverage,
}

impl Observation {
    /// Joins two observations; order of findings becomes canonical.
    #[must_use]
    pub fn merge(mut self, other: Observation) -> Observation {
        self.findings.extend(other.findings);
        self.gaps.extend(other.gaps);
        for (unit, counted) in other.coverage.0 {
            let sum = self.coverage.0.entry(unit).or_default();
            sum.looked += counted.looked;
            sum.total += counted.total;
        }
        self.sort();
        self
    }

    /// Puts findings and gaps in canonical order (path, line, rule, id).
    pub fn sort(&mut self) {
        let place = |span: &Option<Span>| span.as_ref().map(|span| (span.path.clone(), span.line, span.column));
        self.findings.sort_by(|a, b| {
            (place(&a.span), &a.rule, &a.id, &a.message).cmp(&(place(&b.span), &b.rule, &b.id, &b.message))
        });
        self.gaps.sort();
        self.gaps.dedup();
    }
}

/// How bad, in the words of SARIF and CVSS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Note,
    Low,
    Medium,
    High,
    Critical,
}

impl Severity {
    pub const ALL: [Severity; 5] = [
        Severity::Note,
        Severity::Low,
        Severity::Medium,
        Severity::High,
        Severity::Critical,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Severity::Note => "note",
            Severity::Low => "low",
            Severity::Medium => "medium",
            Severity::High => "high",
            Severity::Critical => "critical",
        }
    }
}

/// Keyless, value-free identity of a finding: the same for everyone who clones.
/// `SHA-256(rule NUL path NUL context-without-the-value NUL ordinal)`, first 32 hexadecimal characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FindingId(pub String);

impl FindingId {
    /// `context` must not hold the secret or measured value; `ordinal` tells equal contexts in one path apart, from 0.
    pub fn new(rule: &str, path: &str, context: &str, ordinal: usize) -> Self {
        let text = format!("{rule}\0{path}\0{context}\0{ordinal}");
        FindingId(Digest::of(text.as_bytes()).hex()[..32].to_owned())
    }
}

impl fmt::Display for FindingId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Something a check holds to be wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Finding {
    pub id: FindingId,
    /// Catalogue id, `family/name`: `secret/github-pat`, `vuln/RUSTSEC-2024-0388`, `dast/missing-authentication`.
    pub rule: String,
    pub severity: Severity,
    /// One line, lower case, no full stop, never a secret value.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
    /// `METHOD /path` for findings of running services.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    /// Package URL of the component behind it, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// What to do, cheapest way first.
    pub fix: String,
    /// Hidden in `check`, hook and editor by an inline allow or baseline; a gate sees it all the same.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub suppressed: bool,
    /// More facts, by name; never a secret value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub properties: BTreeMap<String, String>,
}

/// A place in a file. Lines and columns count from 1; columns are bytes. 0 means unknown.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Span {
    /// Relative to the root of what was looked at, `/` between parts; bytes that are not UTF-8 as `\xNN`.
    pub path: String,
    pub line: u32,
    pub column: u32,
    /// Commit that holds it, when it was found in history.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
            if self.column > 0 {
                write!(f, ":{}", self.column)?;
            }
        }
        if let Some(commit) = &self.commit {
            write!(f, " (commit {})", &commit[..commit.len().min(12)])?;
        }
        Ok(())
    }
}

/// Something that was not looked at, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gap {
    /// Catalogue id, `family/name`: `source/too-large`, `packages/unread-manifest`.
    pub id: String,
    /// What: a path, a route, a detector.
    pub what: String,
    /// Why it was not looked at.
    pub reason: String,
    /// True when a gate must hold it as undetermined; false when it is only worth knowing.
    pub blocks: bool,
}

/// How much was looked at, by unit: `files`, `commits`, `routes`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coverage(pub BTreeMap<String, Counted>);

/// So many of so many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    pub looked: u64,
    pub total: u64,
}

impl Coverage {
    pub fn add(&mut self, unit: &str, looked: u64, total: u64) {
        let counted = self.0.entry(unit.to_owned()).or_default();
        counted.looked += looked;
        counted.total += total;
    }

    pub fn looked(&self, unit: &str) -> u64 {
        self.0.get(unit).map_or(0, |counted| counted.looked)
    }
}

/// A problem with the user's own input: configuration, rule, experiment. Bad input is data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnostic {
    /// Catalogue id: `config/unknown-key`.
    pub code: String,
    /// Lower case, no full stop, the user's text in backticks.
    pub message: String,
    pub span: Option<Span>,
    /// What to do.
    pub help: Option<String>,
}
