//! Clippy's messages as SARIF 2.1.0.

use std::collections::BTreeSet;

use serde_json::{Value, json};

/// One thing clippy or the compiler says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Result {
    pub path: String,
    pub line: u64,
    pub column: u64,
    /// `clippy::needless_return`; `rustc` where there is no name.
    pub rule: String,
    /// `error` or `warning`, as SARIF has them.
    pub level: String,
    pub message: String,
}

impl Result {
    pub fn place(&self) -> String {
        format!("{}:{}:{}", self.path, self.line, self.column)
    }
}

/// What the messages of `cargo clippy --message-format=json` say about code, each once and in order.
pub fn results(messages: &[Value]) -> Vec<Result> {
    let found: BTreeSet<Result> = messages.iter().filter_map(result).collect();
    found.into_iter().collect()
}

fn result(message: &Value) -> Option<Result> {
    if message["reason"] != "compiler-message" {
        return None;
    }
    let message = &message["message"];
    // Messages without a place only count the others.
    let span = message["spans"]
        .as_array()?
        .iter()
        .find(|span| span["is_primary"] == true)?;
    Some(Result {
        path: span["file_name"].as_str()?.to_owned(),
        line: span["line_start"].as_u64()?,
        column: span["column_start"].as_u64()?,
        rule: message["code"]["code"].as_str().unwrap_or("rustc").to_owned(),
        level: if message["level"] == "warning" {
            "warning"
        } else {
            "error"
        }
        .to_owned(),
        message: message["message"].as_str()?.to_owned(),
    })
}

/// The whole document.
pub fn document(version: &str, results: &[Result]) -> Value {
    let rules: BTreeSet<&str> = results.iter().map(|result| result.rule.as_str()).collect();
    let rules: Vec<Value> = rules.into_iter().map(|id| json!({ "id": id })).collect();
    let results: Vec<Value> = results
        .iter()
        .map(|result| {
            let place = json!({
                "artifactLocation": { "uri": result.path },
                "region": { "startLine": result.line, "startColumn": result.column },
            });
            json!({
                "ruleId": result.rule,
                "level": result.level,
                "message": { "text": result.message },
                "locations": [{ "physicalLocation": place }],
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "clippy", "version": version, "rules": rules } },
            "results": results,
        }],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_messages_once_and_skips_the_rest() {
        let message = json!({ "reason": "compiler-message", "message": {
            "code": { "code": "clippy::len_zero" }, "level": "warning", "message": "length comparison to zero",
            "spans": [{ "is_primary": true, "file_name": "a.rs", "line_start": 3, "column_start": 5 }],
        }});
        let summary = json!({ "reason": "compiler-message", "message": { "level": "warning", "message": "1 warning", "spans": [] }});
        let found = results(&[message.clone(), summary, message, json!({ "reason": "build-finished" })]);
        assert_eq!(found.len(), 1);
        assert_eq!(
            (found[0].place().as_str(), found[0].rule.as_str()),
            ("a.rs:3:5", "clippy::len_zero")
        );
        let document = document("0.1.95", &found);
        assert_eq!(document["runs"][0]["results"][0]["level"], "warning");
    }
}
