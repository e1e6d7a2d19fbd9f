//! Reports of the team's own tools, read as test results: SARIF 2.1.0 and JUnit XML.
//!
//! What such a report says is the tool's word; that the tool ran here, on this tree, is ours.

use evidence::predicates::TestResult;
use serde_json::{Value, json};

/// Upper bound of names kept of each kind; beyond it only counts are true.
const NAMES_MAX: usize = 5_000;

/// Reads a report by its extension. `Err` says what is wrong with it.
pub fn read(path: &str, bytes: &[u8], exit_code: Option<i32>, configuration: Value) -> Result<TestResult, String> {
    let mut result = match path.rsplit('.').next() {
        Some("sarif" | "json") => sarif(bytes)?,
        Some("xml") => junit(bytes)?,
        _ => return Err(format!("`{path}`: a report is `.sarif` or `.xml` (JUnit)")),
    };
    // A step that fails without saying which test failed has still failed.
    if exit_code != Some(0) && result.failed_tests.is_empty() {
        let code = exit_code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"));
        result.failed_tests.push(format!("the step ended with {code}"));
    }
    for names in [
        &mut result.passed_tests,
        &mut result.warned_tests,
        &mut result.failed_tests,
    ] {
        names.sort();
        names.truncate(NAMES_MAX);
    }
    result.result = match (result.failed_tests.is_empty(), result.warned_tests.is_empty()) {
        (false, _) => "FAILED",
        (true, false) => "WARNED",
        (true, true) => "PASSED",
    }
    .to_owned();
    result.configuration = vec![configuration];
    Ok(result)
}

fn empty() -> TestResult {
    TestResult {
        result: String::new(),
        configuration: Vec::new(),
        passed_tests: Vec::new(),
        warned_tests: Vec::new(),
        failed_tests: Vec::new(),
    }
}

/// SARIF 2.1.0: results of level `error` fail, `warning` warn; `note` and `none` are only counted as passed.
fn sarif(bytes: &[u8]) -> Result<TestResult, String> {
    let document: Value = serde_json::from_slice(bytes).map_err(|error| format!("not SARIF: {error}"))?;
    let runs = document["runs"].as_array().ok_or("not SARIF: `runs` is missing")?;
    let mut result = empty();
    for run in runs {
        let tool = run["tool"]["driver"]["name"].as_str().unwrap_or("unnamed tool");
        for found in run["results"].as_array().into_iter().flatten() {
            let location = &found["locations"][0]["physicalLocation"];
            let uri = location["artifactLocation"]["uri"].as_str().unwrap_or("");
            let line = location["region"]["startLine"].as_u64().unwrap_or(0);
            let rule = found["ruleId"].as_str().unwrap_or("unnamed rule");
            let text = found["message"]["text"].as_str().unwrap_or("");
            let name = format!("{rule} {uri}:{line} {}", text.chars().take(200).collect::<String>());
            match found["level"].as_str().unwrap_or("warning") {
                "error" => result.failed_tests.push(name),
                "warning" => result.warned_tests.push(name),
                _ => {}
            }
        }
        result.passed_tests.push(format!("{tool} ran"));
    }
    if runs.is_empty() {
        return Err("the SARIF report holds no run".to_owned());
    }
    Ok(result)
}

/// JUnit XML, as far as its dialects agree: `testcase` with `failure` or `error` below it failed, with `skipped` it warns.
fn junit(bytes: &[u8]) -> Result<TestResult, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not JUnit: not UTF-8")?;
    if !text.contains("<testsuite") {
        return Err("not JUnit: no `testsuite`".to_owned());
    }
    let mut result = empty();
    let mut rest = text;
    while let Some(start) = rest.find("<testcase") {
        rest = &rest[start + "<testcase".len()..];
        let end = tag_end(rest).ok_or("not JUnit: a `testcase` never ends")?;
        let (tag, after) = rest.split_at(end);
        let closed = tag.ends_with('/');
        let (body, next) = if closed {
            ("", after)
        } else {
            let close = after
                .find("</testcase>")
                .ok_or("not JUnit: a `testcase` is never closed")?;
            (&after[..close], &after[close..])
        };
        let name = [attribute(tag, "classname"), attribute(tag, "name")]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>();
        let name = name.join("::");
        let flaky = ["<flakyFailure", "<flakyError", "<rerunFailure", "<rerunError"]
            .iter()
            .any(|tag| body.contains(tag));
        if flaky {
            result.failed_tests.push(format!("{name} (failed before it passed)"));
        } else if body.contains("<failure") || body.contains("<error") {
            result.failed_tests.push(name);
        } else if body.contains("<skipped") {
            result.warned_tests.push(format!("{name} (skipped)"));
        } else {
            result.passed_tests.push(name);
        }
        rest = next;
    }
    if result.passed_tests.is_empty() && result.failed_tests.is_empty() && !result.warned_tests.is_empty() {
        result.failed_tests.push("every test was skipped".to_owned());
    }
    if result.passed_tests.is_empty() && result.failed_tests.is_empty() && result.warned_tests.is_empty() {
        return Err("the JUnit report holds no test".to_owned());
    }
    Ok(result)
}

/// Where a tag ends: the first `>` outside quotes.
fn tag_end(text: &str) -> Option<usize> {
    let mut quote = None;
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (None, '>') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            _ => {}
        }
    }
    None
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let mut rest = tag;
    while let Some(at) = rest.find(name) {
        let before = rest[..at].chars().next_back().is_none_or(char::is_whitespace);
        let after = rest[at + name.len()..].trim_start();
        if let Some(value) = after.strip_prefix('=').map(str::trim_start).filter(|_| before) {
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
            let value = &value[1..];
            return value.find(quote).map(|end| unescape(&value[..end]));
        }
        rest = &rest[at + name.len()..];
    }
    None
}

fn unescape(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

/// The ResourceDescriptor of a step's command, for `configuration`.
pub fn configuration(name: &str, digest: &evidence::Digest) -> Value {
    json!({"name": name, "digest": {"sha256": digest.hex()}})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, text: &str, code: i32, expected: &str) {
        let got = read(path, text.as_bytes(), Some(code), json!({})).map_or_else(|e| e, |result| result.result);
        assert!(got.contains(expected), "{path} {text}: {got}");
    }

    #[test]
    fn reports_are_read_and_never_better_than_they_are() {
        let one = |level: &str| {
            format!(
                r#"{{"runs":[{{"tool":{{"driver":{{"name":"t"}}}},"results":[{{"ruleId":"r","level":"{level}","message":{{"text":"m"}}}}]}}]}}"#
            )
        };
        check(
            "a.sarif",
            r#"{"runs":[{"tool":{"driver":{"name":"t"}},"results":[]}]}"#,
            0,
            "PASSED",
        );
        check("a.sarif", &one("error"), 0, "FAILED");
        check("a.sarif", &one("warning"), 0, "WARNED");
        check(
            "a.sarif",
            r#"{"runs":[{"tool":{"driver":{"name":"t"}},"results":[]}]}"#,
            1,
            "FAILED",
        );
        check("a.sarif", r#"{"runs":[]}"#, 0, "no run");
        check("a.sarif", "nonsense", 0, "not SARIF");
        check(
            "a.xml",
            r#"<testsuites><testsuite><testcase classname="a" name="b > c"/></testsuite></testsuites>"#,
            0,
            "PASSED",
        );
        check(
            "a.xml",
            r#"<testsuite><testcase name="b"><failure message="x"/></testcase></testsuite>"#,
            0,
            "FAILED",
        );
        check(
            "a.xml",
            r#"<testsuite><testcase name="b"><skipped/></testcase></testsuite>"#,
            0,
            "FAILED",
        );
        check("a.xml", r#"<testsuite></testsuite>"#, 0, "no test");
        check("a.xml", r#"<testsuite><testcase name="b""#, 0, "never ends");
        check("a.txt", "", 0, "a report is");
    }
}
