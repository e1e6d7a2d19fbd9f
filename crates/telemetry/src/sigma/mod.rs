//! Sigma rules (<https://sigmahq.io/sigma-specification/>) over single log lines, and correlations over several.
//!
//! Who may write a rule file decides what counts as detected: rules stand in the judged tree, so an experiment
//! self-tests each one, and a rule that matches ordinary traffic proves nothing.
//!
//! rsigma parses and compiles the rules, and thereby says what a modifier means; what it compiled is evaluated here,
//! all rules at once ([`engine`]). Start reading at [`SigmaRules`].

mod correlate;
mod engine;
mod gate;
mod hint;
mod program;
mod search;
mod windows;

use std::collections::{BTreeMap, BTreeSet};

use evidence::{Diagnostic, Span};
use rsigma_eval::{CompiledRule, compile_rule};
use rsigma_parser::{CorrelationRule, FilterRule, Level, SigmaCollection, SigmaRule, parse_sigma_yaml};
use serde_json::Value;

pub use correlate::Correlator;
use engine::Engine;
pub use engine::Natively;
pub use windows::{WindowsEvent, windows_event};

/// A larger rule file is refused.
pub const RULE_BYTES_MAX: usize = 1024 * 1024;

/// Rule files, compiled. `logsource` is looked at only by [`SigmaRules::matches_from`]: which logs are read is the
/// caller's choice.
pub struct SigmaRules {
    paths: BTreeSet<String>,
    rules: Vec<Rule>,
    engine: Engine,
    /// The rules that correlations refer to, the correlations, and what filters them.
    correlated: SigmaCollection,
    /// By what identifies it: id, name or title.
    correlations: BTreeMap<String, RuleMatch>,
}

struct Rule {
    found: RuleMatch,
    source: LogSource,
}

/// A rule that matched a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleMatch {
    /// The rule's file, as it was given to [`SigmaRules::load`].
    pub path: String,
    /// The rule's `id`; empty where it has none.
    pub id: String,
    pub title: String,
    /// ATT&CK techniques from its tags, such as `T1059.001`, in order of tag.
    pub techniques: Vec<String>,
    /// `informational`, `low`, `medium`, `high` or `critical`; empty where it has none.
    pub level: String,
}

/// Where events come from, as rules name it: <https://sigmahq.io/docs/basics/log-sources.html>. What is `None` is not
/// known and contradicts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogSource {
    pub category: Option<String>,
    pub product: Option<String>,
    pub service: Option<String>,
}

impl SigmaRules {
    /// Compiles rule files, pairs of path and content. A file may hold several rules, correlations and filters; those
    /// may refer to rules of other files.
    ///
    /// # Errors
    /// Everything that is wrong with any of them: a file that is not YAML, not a rule, too large, without a rule, or
    /// with a correlation of rules that no file holds.
    pub fn load(files: &[(String, Vec<u8>)]) -> Result<SigmaRules, Vec<Diagnostic>> {
        let mut loading = Loading::default();
        let mut diagnostics = Vec::new();
        for (path, bytes) in files {
            match parse(path, bytes).and_then(|parsed| loading.add(path, parsed)) {
                Ok(()) => {}
                Err(found) => diagnostics.extend(found),
            }
        }
        if diagnostics.is_empty() {
            loading.finish()
        } else {
            Err(diagnostics)
        }
    }

    /// The rules that match one line, in order of file. Correlations are a [`Correlator`]'s.
    pub fn matches(&self, fields: &Value) -> Vec<RuleMatch> {
        self.matches_from(fields, &LogSource::default())
    }

    /// As [`SigmaRules::matches`], without the rules whose `logsource` contradicts where the line comes from.
    pub fn matches_from(&self, fields: &Value, source: &LogSource) -> Vec<RuleMatch> {
        let matching = self.engine.matching(fields).into_iter().map(|at| &self.rules[at]);
        let asked = matching.filter(|rule| !rule.source.contradicts(source));
        asked.map(|rule| rule.found.clone()).collect()
    }

    /// True when the file was loaded.
    pub fn has(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// True when the file holds correlations: its plain rules are then only what those count.
    pub fn correlates(&self, path: &str) -> bool {
        self.correlations.values().any(|found| found.path == path)
    }

    /// Every rule, in order of file, and every correlation.
    pub fn all(&self) -> impl Iterator<Item = &RuleMatch> {
        self.rules
            .iter()
            .map(|rule| &rule.found)
            .chain(self.correlations.values())
    }

    /// How many rules are answered without rsigma.
    pub fn natively(&self) -> Natively {
        self.engine.natively()
    }

    /// The correlations of these rules, over nothing yet.
    pub fn correlator(&self) -> Correlator {
        Correlator::new(&self.correlated, &self.correlations)
    }
}

impl LogSource {
    /// True when both name one thing and mean another.
    fn contradicts(&self, other: &LogSource) -> bool {
        let differ = |one: &Option<String>, other: &Option<String>| match (one, other) {
            (Some(one), Some(other)) => !one.eq_ignore_ascii_case(other),
            _ => false,
        };
        differ(&self.category, &other.category)
            || differ(&self.product, &other.product)
            || differ(&self.service, &other.service)
    }
}

/// Files on their way to [`SigmaRules`].
#[derive(Default)]
struct Loading {
    paths: BTreeSet<String>,
    rules: Vec<(String, SigmaRule, CompiledRule)>,
    correlations: Vec<(String, CorrelationRule)>,
    filters: Vec<(String, FilterRule)>,
}

impl Loading {
    fn add(&mut self, path: &str, parsed: SigmaCollection) -> Result<(), Vec<Diagnostic>> {
        for rule in parsed.rules {
            match compile_rule(&rule) {
                Ok(compiled) => self.rules.push((path.to_owned(), rule, compiled)),
                Err(error) => return Err(vec![not_a_rule(path, &error.to_string())]),
            }
        }
        let correlations = parsed.correlations.into_iter();
        self.correlations
            .extend(correlations.map(|correlation| (path.to_owned(), correlation)));
        let filters = parsed.filters.into_iter();
        self.filters.extend(filters.map(|filter| (path.to_owned(), filter)));
        self.paths.insert(path.to_owned());
        Ok(())
    }

    fn finish(self) -> Result<SigmaRules, Vec<Diagnostic>> {
        let compiled: Vec<CompiledRule> = self.rules.iter().map(|(_, _, compiled)| compiled.clone()).collect();
        let compiled = filtered(compiled, &self.filters)?;
        let engine = Engine::new(&compiled);
        let paths: BTreeSet<&str> = self.correlations.iter().map(|(path, _)| path.as_str()).collect();
        let correlated = self.correlated();
        if let Err(error) = correlate::check(&correlated) {
            let message = lower(&error);
            let help = "load the rules that it correlates, too, and name them by `id` or `name`";
            let found = paths
                .iter()
                .map(|path| diagnostic(path, "sigma/correlation", message.clone(), help));
            return Err(found.collect());
        }
        let rules = self.rules.into_iter().map(|(path, rule, _)| Rule {
            found: found(path, rule.id, rule.title, &rule.tags, rule.level),
            source: LogSource {
                category: rule.logsource.category,
                product: rule.logsource.product,
                service: rule.logsource.service,
            },
        });
        let correlations = self.correlations.into_iter().map(|(path, rule)| {
            let key = correlate::key(rule.id.as_deref(), &rule.title);
            (key, found(path, rule.id, rule.title, &rule.tags, rule.level))
        });
        Ok(SigmaRules {
            paths: self.paths,
            rules: rules.collect(),
            engine,
            correlated,
            correlations: correlations.collect(),
        })
    }

    /// The correlations with the rules they refer to; of all others they need to know nothing.
    fn correlated(&self) -> SigmaCollection {
        let referred: BTreeSet<&str> = self
            .correlations
            .iter()
            .flat_map(|(_, correlation)| correlation.rules.iter().map(String::as_str))
            .collect();
        let is_referred = |rule: &SigmaRule| {
            let names = [rule.id.as_deref(), rule.name.as_deref()];
            names.into_iter().flatten().any(|name| referred.contains(name))
        };
        let mut collection = SigmaCollection::new();
        let rules = self.rules.iter().map(|(_, rule, _)| rule);
        collection.rules = rules.filter(|rule| is_referred(rule)).cloned().collect();
        collection.correlations = self
            .correlations
            .iter()
            .map(|(_, correlation)| correlation.clone())
            .collect();
        collection.filters = self.filters.iter().map(|(_, filter)| filter.clone()).collect();
        collection
    }
}

/// Filters change rules: <https://sigmahq.io/docs/meta/filters.html>. rsigma does so only within an engine of its own.
fn filtered(rules: Vec<CompiledRule>, filters: &[(String, FilterRule)]) -> Result<Vec<CompiledRule>, Vec<Diagnostic>> {
    if filters.is_empty() {
        return Ok(rules);
    }
    let mut engine = rsigma_eval::Engine::new();
    engine.extend_compiled_rules(rules);
    for (path, filter) in filters {
        engine
            .apply_filter(filter)
            .map_err(|error| vec![not_a_rule(path, &error.to_string())])?;
    }
    Ok(engine.rules().to_vec())
}

fn found(path: String, id: Option<String>, title: String, tags: &[String], level: Option<Level>) -> RuleMatch {
    RuleMatch {
        path,
        id: id.unwrap_or_default(),
        title,
        techniques: tags.iter().filter_map(|tag| technique(tag)).collect(),
        level: level.map(|level| level.as_str().to_owned()).unwrap_or_default(),
    }
}

/// The technique that a tag such as `attack.t1059.001` names.
fn technique(tag: &str) -> Option<String> {
    let name = tag.to_ascii_lowercase();
    let number = name.strip_prefix("attack.t")?;
    let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let known = match number.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(number, 4),
    };
    known.then(|| format!("T{number}"))
}

fn parse(path: &str, bytes: &[u8]) -> Result<SigmaCollection, Vec<Diagnostic>> {
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
    let parsed = parse_sigma_yaml(text).map_err(|error| vec![not_a_rule(path, &error.to_string())])?;
    if !parsed.errors.is_empty() {
        return Err(parsed.errors.iter().map(|error| not_a_rule(path, error)).collect());
    }
    if parsed.is_empty() {
        return Err(one("sigma/no-rule", "no rule in this file".to_owned(), HELP));
    }
    Ok(parsed)
}

fn not_a_rule(path: &str, message: &str) -> Diagnostic {
    diagnostic(path, "sigma/not-a-rule", lower(message), HELP)
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
                techniques: Vec::new(),
                level: "high".to_owned(),
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
        refused(&many("x"), "sigma/correlation");
    }

    fn many(rule: &str) -> String {
        format!(
            "title: Many\nid: many\ncorrelation:\n  type: event_count\n  rules:\n    - {rule}\n  group-by:\n    - user\n  \
             timespan: 60s\n  condition:\n    gte: 3\ntags:\n  - attack.t1110\nlevel: critical\n"
        )
    }

    #[test]
    fn three_lines_within_a_minute() {
        let many = many("5f1c2f4e-7d5a-4f7c-9a55-0d1f2b6c7e11");
        let rules = load(&[("denied.yml", DENIED), ("many.yml", &many)]).unwrap();
        let denied = |user: &str| json!({"event": "denied", "reason": "token", "user": user});
        assert_eq!(
            rules.matches(&denied("ann")).len(),
            1,
            "a line alone completes no correlation"
        );
        let mut correlator = rules.correlator();
        for (user, seconds, completes) in [
            ("ann", 100, 0),
            ("bob", 101, 0),
            ("ann", 130, 0),
            ("ann", 170, 0),
            ("ann", 175, 1),
            ("bob", 176, 0),
        ] {
            let found = correlator.observe(&denied(user), seconds);
            assert_eq!(found.len(), completes, "{user} at {seconds}: {found:?}");
            assert!(
                found.iter().all(|found| found.path == "many.yml"
                    && found.techniques == ["T1110"]
                    && found.level == "critical")
            );
            assert_eq!(
                correlator.observe(&json!({"event": "served", "user": user}), seconds),
                []
            );
        }
    }

    #[test]
    fn a_filter_of_another_file() {
        let filter = "title: Not the probe\nlogsource:\n  product: shop\nfilter:\n  rules:\n    - \
                      5f1c2f4e-7d5a-4f7c-9a55-0d1f2b6c7e11\n  selection:\n    user: probe\n  condition: not selection\n";
        let rules = load(&[("filter.yml", filter), ("denied.yml", DENIED)]).unwrap();
        let denied = |user: &str| {
            rules
                .matches(&json!({"event": "denied", "reason": "token", "user": user}))
                .len()
        };
        assert_eq!((denied("ann"), denied("probe")), (1, 0));
    }

    #[test]
    fn a_source_that_contradicts() {
        let rules = load(&[("denied.yml", DENIED)]).unwrap();
        let line = json!({"event": "denied", "reason": "token"});
        let source = |product: Option<&str>, category: Option<&str>| LogSource {
            product: product.map(str::to_owned),
            category: category.map(str::to_owned),
            service: None,
        };
        for (source, matches) in [
            (source(None, None), 1),
            (source(Some("Shop"), Some("webserver")), 1),
            (source(Some("linux"), None), 0),
        ] {
            assert_eq!(rules.matches_from(&line, &source).len(), matches, "{source:?}");
        }
    }

    #[test]
    fn techniques_of_tags() {
        for (tag, expected) in [
            ("attack.t1059.001", Some("T1059.001")),
            ("attack.T1059", Some("T1059")),
            ("attack.execution", None),
            ("attack.t1059.01", None),
            ("attack.ta0002", None),
            ("cve.2021-44228", None),
        ] {
            assert_eq!(technique(tag).as_deref(), expected, "{tag}");
        }
    }

    #[test]
    fn what_is_left_to_rsigma() {
        let asked = DENIED.replace("reason|contains: token", "reason|re: 'to.en'");
        let rules = load(&[("a.yml", DENIED), ("b.yml", &asked)]).unwrap();
        assert_eq!(rules.natively(), Natively { whole: 1, in_part: 1 });
    }

    #[test]
    fn all_errors_at_once() {
        let found = load(&[("a.yml", ""), ("b.yml", ""), ("c.yml", DENIED)]).err().unwrap();
        assert_eq!(found.len(), 2);
    }
}
