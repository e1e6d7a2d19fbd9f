//! Findings and gaps as SARIF 2.1.0, for editors and code hosts.

use evidence::{Finding, Observation, Severity};
use serde_json::{Value, json};

/// One run with every finding; what was not looked at stands as notifications of the tool.
pub fn document(observations: &[(&str, &Observation)]) -> Value {
    let findings: Vec<&Finding> = observations
        .iter()
        .flat_map(|(_, observation)| &observation.findings)
        .collect();
    let mut rules: Vec<&str> = findings.iter().map(|finding| finding.rule.as_str()).collect();
    rules.sort_unstable();
    rules.dedup();
    let gaps = observations
        .iter()
        .flat_map(|(_, observation)| &observation.gaps)
        .map(|gap| {
            json!({
                "descriptor": {"id": gap.id}, "level": if gap.blocks { "warning" } else { "note" },
                "message": {"text": format!("{}: {}", gap.what, gap.reason)},
            })
        });
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "proofmark", "version": env!("CARGO_PKG_VERSION"), "informationUri": "https://proofmark.dev",
                "rules": rules.iter().map(|rule| json!({"id": rule})).collect::<Vec<_>>(),
            }},
            "invocations": [{"executionSuccessful": true, "toolExecutionNotifications": gaps.collect::<Vec<_>>()}],
            "results": findings.iter().map(|finding| result(finding)).collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Note => "note",
        Severity::Low | Severity::Medium => "warning",
        Severity::High | Severity::Critical => "error",
    };
    let mut result = json!({
        "ruleId": finding.rule, "level": level,
        "message": {"text": format!("{}; {}", finding.message, finding.fix)},
        "partialFingerprints": {"proofmark/v1": finding.id},
        "properties": finding.properties,
    });
    if let Some(span) = &finding.span {
        let mut region = json!({});
        if span.line > 0 {
            region["startLine"] = span.line.into();
        }
        if span.column > 0 {
            region["startColumn"] = span.column.into();
        }
        result["locations"] = json!([{"physicalLocation": {
            "artifactLocation": {"uri": uri(&span.path)}, "region": region,
        }}]);
    }
    if finding.suppressed {
        result["suppressions"] = json!([{"kind": "inSource"}]);
    }
    result
}

/// A relative path as a URI reference.
fn uri(path: &str) -> String {
    path.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}
