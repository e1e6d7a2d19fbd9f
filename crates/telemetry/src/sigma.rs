//! Sigma rules (<https://sigmahq.io/sigma-specification/>) over single log lines.
//!
//! Who may write a rule file decides what counts as detected: rules stand in the judged tree, so an experiment
//! self-tests each one, and a rule that matches ordinary traffic proves nothing.

use evidence::{Diagnostic, Span};
use rsigma_eval::Engine;
use rsigma_eval::event::JsonEvent;
use rsigma_parser::{SigmaCollection, parse_sigma_yaml};
use serde_json::Value;

/// A larger rule file is refused.
pub const RULE_BYTES_MAX: usize = 1024 * 1024;

/// Rule files, compiled. `logsource` is not looked at: which logs are read is the caller's choice.
pub struct SigmaRules {
    files: Vec<(String, Engine)>,
}

/// A rule that matched a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMatch {
    /// The rule's file, as it was given to [`SigmaRules::load`].
    pub path: String,
    /// The rule's `id`; empty where it has none.
    pub id: String,
    pub title: String,
}

impl SigmaRules {
    /// Compiles rule files, pairs of path and content. A file may hold several rules.
    ///
    /// # Errors
    /// Everything that is wrong with any of them: a file that is not YAML, not a rule, too large, without a rule,
    /// or with a correlation (which looks at more than one line).
    pub fn load(files: &[(String, Vec<u8>)]) -> Result<SigmaRules, Vec<Diagnostic>> {
        let mut loaded = Vec::new();
        let mut diagnostics = Vec::new();
        for (path, bytes) in files {
            match compile(path, bytes) {
                Ok(engine) => loaded.push((path.clone(), engine)),
                Err(found) => diagnostics.extend(found),
            }
        }
        if diagnostics.is_empty() {
            Ok(SigmaRules { files: loaded })
        } else {
            Err(diagnostics)
        }
    }

    /// The rules that match one line, in order of file.
    pub fn matches(&self, fields: &Value) -> Vec<RuleMatch> {
        let event = JsonEvent::borrow(fields);
        let mut matches = Vec::new();
        for (path, engine) in &self.files {
            matches.extend(engine.evaluate(&event).into_iter().map(|result| RuleMatch {
                path: path.clone(),
                id: result.header.rule_id.unwrap_or_default(),
                title: result.header.rule_title,
            }));
        }
        matches
    }

    /// True when the file was loaded.
    pub fn has(&self, path: &str) -> bool {
        self.files.iter().any(|(loaded, _)| loaded == path)
    }
}

fn compile(path: &str, bytes: &[u8]) -> Result<Engine, Vec<Diagnostic>> {
    let one = |code: &str, message: String, help: &str| vec![diagnostic(path, code, message, help)];
    if bytes.len() > RULE_BYTES_MAX {
        let message = format!("this rule file has {} bytes, more than {RULE_BYTES_MAX}", bytes.len());
        return Err(one("sigma/too-large", message, "split it into several files"));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Err(one(
            "sigma/not-utf8",
            "this rule file is not UTF-8".to_owned(),
            "save it as UTF-8",
        ));
    };
    let parsed = parse_sigma_yaml(text).map_err(|error| one("sigma/not-a-rule", lower(&error.to_string()), HELP))?;
    refuse(path, &parsed)?;
    let mut engine = Engine::new();
    engine
        .add_collection(&parsed)
        .map_err(|error| one("sigma/not-a-rule", lower(&error.to_string()), HELP))?;
    Ok(engine)
}

/// What reads as YAML and still is not a set of rules for single lines.
fn refuse(path: &str, parsed: &SigmaCollection) -> Result<(), Vec<Diagnostic>> {
    let mut found: Vec<Diagnostic> = parsed
        .errors
        .iter()
        .map(|error| diagnostic(path, "sigma/not-a-rule", lower(error), HELP))
        .collect();
    for correlation in &parsed.correlations {
        let message = format!(
            "`{}` correlates several lines, which isn't supported here",
            correlation.title
        );
        found.push(diagnostic(
            path,
            "sigma/correlation",
            message,
            "name the rules that it correlates instead",
        ));
    }
    if found.is_empty() && parsed.rules.is_empty() {
        found.push(diagnostic(
            path,
            "sigma/no-rule",
            "no rule in this file".to_owned(),
            HELP,
        ));
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}

const HELP: &str = "a rule needs `title`, `logsource`, and `detection` with a `condition`: \
                    https://sigmahq.io/docs/basics/rules.html";

fn diagnostic(path: &str, code: &str, message: String, help: &str) -> Diagnostic {
    Diagnostic {
        code: code.to_owned(),
        message,
        span: Some(Span {
            path: path.to_owned(),
            line: 0,
            column: 0,
            commit: None,
        }),
        help: Some(help.to_owned()),
    }
}

/// The first letter in lower case, as messages have it, unless the first word is an abbreviation.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => first.to_lowercase().chain(chars).collect(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const DENIED: &str = "title: Ledger denied a credential\nid: 5f1c2f4e-7d5a-4f7c-9a55-0d1f2b6c7e11\n\
                          logsource:\n  product: shop\ndetection:\n  selection:\n    event: denied\n    reason|contains: token\n  \
                          condition: selection\nlevel: high\n";

    fn load(files: &[(&str, &str)]) -> Result<SigmaRules, Vec<Diagnostic>> {
        let files: Vec<(String, Vec<u8>)> = files
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()))
            .collect();
        SigmaRules::load(&files)
    }

    #[test]
    fn a_rule_matches_its_line() {
        let rules = load(&[("detection/denied.yml", DENIED)]).unwrap();
        assert!(rules.has("detection/denied.yml") && !rules.has("detection/other.yml"));
        assert_eq!(
            rules.matches(&json!({"service": "ledger", "event": "denied", "reason": "bad token"})),
            [RuleMatch {
                path: "detection/denied.yml".to_owned(),
                id: "5f1c2f4e-7d5a-4f7c-9a55-0d1f2b6c7e11".to_owned(),
                title: "Ledger denied a credential".to_owned(),
            }]
        );
        for other in [
            json!({"event": "served"}),
            json!({"event": "denied", "reason": "late"}),
            json!({}),
            json!([1]),
        ] {
            assert_eq!(rules.matches(&other), [], "{other}");
        }
    }

    #[track_caller]
    fn refused(text: &str, code: &str) {
        let found = load(&[("good.yml", DENIED), ("r.yml", text)]).err().unwrap();
        assert_eq!(found[0].code, code, "{found:?}");
        assert_eq!(found[0].span.as_ref().unwrap().path, "r.yml");
    }

    #[test]
    fn what_is_not_a_rule() {
        refused("", "sigma/not-a-rule");
        refused("action: global\nlevel: high\n", "sigma/no-rule");
        refused("title: [", "sigma/not-a-rule");
        refused("- a\n- b\n", "sigma/not-a-rule");
        refused("title: x\n", "sigma/not-a-rule");
        refused(
            &DENIED.replace("condition: selection", "condition: other"),
            "sigma/not-a-rule",
        );
        refused(&DENIED.replace("|contains", "|resembles"), "sigma/not-a-rule");
        refused(&"#".repeat(RULE_BYTES_MAX + 1), "sigma/too-large");
        refused(
            "title: Many\ncorrelation:\n  type: event_count\n  rules:\n    - x\n  group-by:\n    - user\n  timespan: 60s\n  \
             condition:\n    gte: 3\n",
            "sigma/correlation",
        );
    }

    #[test]
    fn all_errors_at_once() {
        let found = load(&[("a.yml", ""), ("b.yml", ""), ("c.yml", DENIED)]).err().unwrap();
        assert_eq!(found.len(), 2);
    }
}
