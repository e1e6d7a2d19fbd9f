//! Which controls hold: the floor of the trust root, what the configuration adds, and what became looser.

use std::collections::BTreeMap;

use evidence::{ControlSpec, Diagnostic, Severity, Stage};
use serde_json::Value;

use crate::catalogue::{Entry, Kind, Parameter, Setting, Tighter, controls, severity_of};
use crate::decide::find;
use crate::words::{did_you_mean, names};

/// What a new trust root starts with: every control but those that ask about something somebody has to name, at every
/// stage it is made for, with its defaults.
pub fn floor() -> Vec<ControlSpec> {
    let mut floor: Vec<ControlSpec> = controls()
        .iter()
        .filter(|entry| entry.in_floor)
        .flat_map(|entry| {
            let parameters: BTreeMap<String, Value> = entry
                .parameters
                .iter()
                .filter_map(|parameter| Some((parameter.name.to_owned(), value_of(parameter.default?))))
                .collect();
            entry.stages.iter().map(move |stage| ControlSpec {
                id: entry.id.to_owned(),
                stage: *stage,
                parameters: parameters.clone(),
            })
        })
        .collect();
    sort(&mut floor);
    floor
}

/// The floor and what the configuration adds to it, sorted by stage and id.
///
/// The configuration may ask a control more, or the floor's more strictly. Everything that is wrong with it is
/// reported at once: an unknown control, stage or parameter, a value of the wrong kind, and a value that is looser
/// than the floor's. Diagnostics have no span; `code` is `config/unknown-control`, `config/unknown-parameter`,
/// `config/bad-parameter`, `config/wrong-stage`, `config/duplicate-control` or `config/looser-than-floor`.
pub fn effective(floor: &[ControlSpec], added: &[ControlSpec]) -> Result<Vec<ControlSpec>, Vec<Diagnostic>> {
    let mut effective = floor.to_vec();
    let mut diagnostics = Vec::new();
    for (i, spec) in added.iter().enumerate() {
        let Some(entry) = find(&spec.id) else {
            let meant = did_you_mean(&spec.id, controls().iter().map(|entry| entry.id));
            let known = || format!("known are {}", list(controls().iter().map(|entry| entry.id)));
            diagnostics.push(Diagnostic {
                code: "config/unknown-control".to_owned(),
                message: format!("there is no control `{}`", spec.id),
                span: None,
                help: Some(meant.map_or_else(known, |meant| format!("did you mean `{meant}`?"))),
            });
            continue;
        };
        diagnostics.extend(faults(entry, spec));
        if added[..i]
            .iter()
            .any(|earlier| earlier.id == spec.id && earlier.stage == spec.stage)
        {
            diagnostics.push(Diagnostic {
                code: "config/duplicate-control".to_owned(),
                message: format!("control `{}` is added twice at stage {}", spec.id, spec.stage),
                span: None,
                help: Some("put all its parameters into one entry".to_owned()),
            });
        }
        let held = effective
            .iter_mut()
            .filter(|held| held.id == spec.id && held.stage == spec.stage);
        let mut met = false;
        for held in held {
            met = true;
            diagnostics.extend(tighten(entry, held, spec));
        }
        if !met {
            effective.push(spec.clone());
        }
    }
    sort(&mut effective);
    if diagnostics.is_empty() {
        Ok(effective)
    } else {
        Err(diagnostics)
    }
}

/// What `now` asks less than `previous` did, one line each, sorted: a control removed, or a parameter relaxed.
/// Empty when nothing became looser. A parameter this program doesn't know counts as relaxed when it changes.
pub fn loosened(previous: &[ControlSpec], now: &[ControlSpec]) -> Vec<String> {
    let mut out = Vec::new();
    for before in previous {
        let mut same = now
            .iter()
            .filter(|spec| spec.id == before.id && spec.stage == before.stage)
            .peekable();
        if same.peek().is_none() {
            out.push(format!("control `{}` (stage {}) was removed", before.id, before.stage));
            continue;
        }
        // Where a control is asked several times, one asking that is as strict suffices.
        let relaxed = same.map(|after| relaxed(before, after)).min_by_key(Vec::len);
        out.extend(relaxed.unwrap_or_default());
    }
    out.sort();
    out.dedup();
    out
}

/// What is wrong with a control's own entry, the floor aside.
pub(crate) fn faults(entry: &Entry, spec: &ControlSpec) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    if !entry.stages.contains(&spec.stage) {
        out.push(Diagnostic {
            code: "config/wrong-stage".to_owned(),
            message: format!("control `{}` can't be asked at stage {}", spec.id, spec.stage),
            span: None,
            help: Some(format!(
                "it reads evidence of stage {}",
                list(entry.stages.iter().map(|stage| stage.name()))
            )),
        });
    }
    for (name, value) in &spec.parameters {
        let Some(parameter) = entry.parameters.iter().find(|parameter| parameter.name == name) else {
            let meant = did_you_mean(name, entry.parameters.iter().map(|parameter| parameter.name));
            let help = match meant {
                Some(meant) => format!("did you mean `{meant}`?"),
                None if entry.parameters.is_empty() => "it has no parameters".to_owned(),
                None => format!(
                    "it has {}",
                    list(entry.parameters.iter().map(|parameter| parameter.name))
                ),
            };
            out.push(Diagnostic {
                code: "config/unknown-parameter".to_owned(),
                message: format!("control `{}` has no parameter `{name}`", spec.id),
                span: None,
                help: Some(help),
            });
            continue;
        };
        if Parsed::of(parameter.kind, value).is_none() {
            out.push(Diagnostic {
                code: "config/bad-parameter".to_owned(),
                message: format!(
                    "`{name}` of control `{}` is `{value}`, which is not {}",
                    spec.id,
                    parameter.kind.words()
                ),
                span: None,
                help: Some(parameter.doc.to_owned()),
            });
        }
    }
    out
}

/// Puts the values of `spec` into `held`, which is of the floor; looser ones are reported and left out.
fn tighten(entry: &Entry, held: &mut ControlSpec, spec: &ControlSpec) -> Vec<Diagnostic> {
    let mut out = Vec::new();
    for parameter in entry.parameters {
        let Some(value) = spec.parameters.get(parameter.name) else {
            continue;
        };
        if Parsed::of(parameter.kind, value).is_none() {
            // Reported as `config/bad-parameter` already.
            continue;
        }
        let floor = held
            .parameters
            .get(parameter.name)
            .cloned()
            .or_else(|| parameter.default.map(value_of));
        if looser(parameter, floor.as_ref(), Some(value)) {
            out.push(Diagnostic {
                code: "config/looser-than-floor".to_owned(),
                message: format!(
                    "`{}` of control `{}` (stage {}) is `{value}`, looser than the floor's `{}`",
                    parameter.name,
                    spec.id,
                    spec.stage,
                    shown(floor.as_ref())
                ),
                span: None,
                help: Some(format!(
                    "{}; the floor stands in the trust root, and a tree may only tighten it",
                    parameter.tighter.words()
                )),
            });
        } else {
            held.parameters.insert(parameter.name.to_owned(), value.clone());
        }
    }
    out
}

fn relaxed(before: &ControlSpec, after: &ControlSpec) -> Vec<String> {
    let place = format!("of control `{}` (stage {})", before.id, before.stage);
    let change = |name: &str, was: Option<&Value>, is: Option<&Value>| {
        format!("`{name}` {place} was `{}`, is `{}`", shown(was), shown(is))
    };
    let entry = find(&before.id);
    let parameters = entry.map_or(&[][..], |entry| entry.parameters);
    let mut out = Vec::new();
    for parameter in parameters {
        let held = |spec: &ControlSpec| {
            spec.parameters
                .get(parameter.name)
                .cloned()
                .or_else(|| parameter.default.map(value_of))
        };
        let (was, is) = (held(before), held(after));
        if was != is && looser(parameter, was.as_ref(), is.as_ref()) {
            let gone = match parameter.tighter {
                Tighter::Superset => gone(was.as_ref(), is.as_ref()),
                _ => Vec::new(),
            };
            out.push(match gone.is_empty() {
                true => change(parameter.name, was.as_ref(), is.as_ref()),
                false => format!(
                    "`{}` {place} no longer holds {}",
                    parameter.name,
                    names(gone.iter().map(String::as_str))
                ),
            });
        }
    }
    let known = |name: &str| parameters.iter().any(|parameter| parameter.name == name);
    for (name, was) in before.parameters.iter().filter(|(name, _)| !known(name)) {
        let is = after.parameters.get(name);
        if is != Some(was) {
            out.push(change(name, Some(was), is));
        }
    }
    out
}

/// The texts of `was` that are missing from `is`, without the digests they end with. One that is there with another
/// digest is `(changed)`.
fn gone(was: Option<&Value>, is: Option<&Value>) -> Vec<String> {
    let texts = |value: Option<&Value>| match value.and_then(|value| Parsed::of(Kind::Texts, value)) {
        Some(Parsed::Texts(texts)) => texts,
        _ => Vec::new(),
    };
    let is = texts(is);
    texts(was)
        .into_iter()
        .filter(|text| !is.contains(text))
        .map(|text| match named(&text) {
            Some(name) if is.iter().any(|now| named(now) == Some(name)) => format!("{name} (changed)"),
            Some(name) => name.to_owned(),
            None => text,
        })
        .collect()
}

/// `experiment experiments/a.toml` of the same text with a digest behind it; `None` where there is none.
fn named(text: &str) -> Option<&str> {
    let (name, digest) = text.rsplit_once([' ', '@', '='])?;
    let hex = digest.strip_prefix("sha256:").unwrap_or(digest);
    let is_digest = hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_digest.then_some(name)
}

/// True when `value` asks less than `floor`. `None` asks nothing. What can't be compared counts as looser.
fn looser(parameter: &Parameter, floor: Option<&Value>, value: Option<&Value>) -> bool {
    let (floor, value) = match (floor, value) {
        (None, _) => return false,
        (Some(_), None) => return true,
        (Some(floor), Some(value)) => (Parsed::of(parameter.kind, floor), Parsed::of(parameter.kind, value)),
    };
    match (floor, value, parameter.tighter) {
        (Some(Parsed::Rank(floor)), Some(Parsed::Rank(value)), Tighter::Lower) => value > floor,
        (Some(Parsed::Rank(floor)), Some(Parsed::Rank(value)), Tighter::Higher) => value < floor,
        (Some(Parsed::Texts(floor)), Some(Parsed::Texts(value)), Tighter::Subset) => {
            value.iter().any(|text| !floor.contains(text))
        }
        (Some(Parsed::Texts(floor)), Some(Parsed::Texts(value)), Tighter::Superset) => {
            floor.iter().any(|text| !value.contains(text))
        }
        _ => true,
    }
}

/// A parameter's value, ready to be compared.
enum Parsed {
    Rank(f64),
    Texts(Vec<String>),
}

impl Parsed {
    fn of(kind: Kind, value: &Value) -> Option<Parsed> {
        // Beyond this, whole numbers have no exact place among f64.
        const INTEGER_MAX: u64 = 1 << 53;
        match kind {
            Kind::Integer => value
                .as_u64()
                .filter(|n| *n <= INTEGER_MAX)
                .map(|n| Parsed::Rank(n as f64)),
            Kind::Number => value.as_f64().filter(|n| n.is_finite() && *n >= 0.0).map(Parsed::Rank),
            Kind::Severity => {
                let severity = severity_of(value)?;
                Severity::ALL
                    .iter()
                    .position(|known| *known == severity)
                    .map(|rank| Parsed::Rank(rank as f64))
            }
            Kind::Texts => {
                let texts = value.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
                texts.collect::<Option<Vec<_>>>().map(Parsed::Texts)
            }
        }
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Integer => "a whole number from 0",
            Kind::Number => "a number from 0",
            Kind::Severity => "one of note, low, medium, high, critical",
            Kind::Texts => "a list of texts",
        }
    }
}

impl Tighter {
    fn words(self) -> &'static str {
        match self {
            Tighter::Lower => "lower is stricter",
            Tighter::Higher => "higher is stricter",
            Tighter::Subset => "fewer entries are stricter",
            Tighter::Superset => "more entries are stricter",
        }
    }
}

fn value_of(setting: Setting) -> Value {
    match setting {
        Setting::Integer(n) => n.into(),
        Setting::Number(n) => n.into(),
        Setting::Severity(severity) => severity.name().into(),
    }
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "not asked".to_owned(), ToString::to_string)
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn sort(specs: &mut [ControlSpec]) {
    let place = |stage: Stage| Stage::ALL.iter().position(|known| *known == stage);
    specs.sort_by(|a, b| (place(a.stage), &a.id).cmp(&(place(b.stage), &b.id)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn spec(id: &str, stage: Stage, parameters: &[(&str, Value)]) -> ControlSpec {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        ControlSpec {
            id: id.to_owned(),
            stage,
            parameters,
        }
    }

    #[test]
    fn catalogue_is_sound() {
        let mut ids: Vec<&str> = controls().iter().map(|entry| entry.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, controls().iter().map(|entry| entry.id).collect::<Vec<_>>());
        for entry in controls() {
            let page = crate::page(&format!("control/{}", entry.id)).expect(entry.id);
            for heading in [
                &format!("//! # control/{}\n", entry.id),
                "//! ## What it does\n",
                "//! ## Why it matters\n",
                "//! ## Example\n",
                "//! ## What to do instead\n",
                "//! ## References\n",
            ] {
                assert!(page.contains(heading), "{}: {heading}", entry.id);
            }
            assert!(!entry.stages.is_empty());
            for parameter in entry.parameters {
                if let Some(default) = parameter.default {
                    assert!(Parsed::of(parameter.kind, &value_of(default)).is_some(), "{}", entry.id);
                }
                let ordered = matches!(parameter.kind, Kind::Texts);
                assert_eq!(
                    ordered,
                    matches!(parameter.tighter, Tighter::Subset | Tighter::Superset)
                );
            }
        }
        assert_eq!(effective(&floor(), &[]), Ok(floor()));
        assert_eq!(effective(&[], &floor()), Ok(floor()));
    }

    #[test]
    fn the_configuration_may_only_tighten() {
        let staging = Stage::Staging;
        // What is added to the built-in floor, and the code and a part of each diagnostic.
        let rows: &[(ControlSpec, &[(&str, &str)])] = &[
            (
                spec("revocation-detected", staging, &[("within_seconds", json!(30))]),
                &[],
            ),
            (
                spec("revocation-detected", staging, &[("within_seconds", json!(5))]),
                &[],
            ),
            (
                spec("revocation-detected", staging, &[("within_seconds", json!(60))]),
                &[(
                    "config/looser-than-floor",
                    "`within_seconds` of control `revocation-detected` (stage staging) is `60`, looser than the floor's `30`",
                )],
            ),
            (
                spec("revocation-detected", staging, &[("within_second", json!(5))]),
                &[("config/unknown-parameter", "has no parameter `within_second`")],
            ),
            (
                spec("revocation-detected", staging, &[("within_seconds", json!("soon"))]),
                &[(
                    "config/bad-parameter",
                    "is `\"soon\"`, which is not a whole number from 0",
                )],
            ),
            (
                spec("revocation-detected", Stage::Commit, &[]),
                &[("config/wrong-stage", "can't be asked at stage commit")],
            ),
            (
                spec("revocation-detectd", staging, &[]),
                &[("config/unknown-control", "there is no control `revocation-detectd`")],
            ),
            (
                spec(
                    "no-known-vulnerabilities",
                    Stage::Build,
                    &[("severity_min", json!("note"))],
                ),
                &[],
            ),
            (
                spec(
                    "no-known-vulnerabilities",
                    Stage::Build,
                    &[("severity_min", json!("critical"))],
                ),
                &[(
                    "config/looser-than-floor",
                    "`\"critical\"`, looser than the floor's `\"low\"`",
                )],
            ),
            (
                spec("licences-allowed", Stage::Build, &[("allow", json!(["MIT"]))]),
                &[],
            ),
        ];
        for (added, expected) in rows {
            let got = effective(&floor(), std::slice::from_ref(added))
                .err()
                .unwrap_or_default();
            assert_eq!(got.len(), expected.len(), "{added:?}: {got:?}");
            for (got, (code, part)) in got.iter().zip(*expected) {
                assert_eq!(got.code, *code);
                assert!(got.message.contains(part), "{}", got.message);
            }
        }
        let twice = spec("no-secrets", Stage::Commit, &[]);
        let codes: Vec<_> = effective(&floor(), &[twice.clone(), twice])
            .unwrap_err()
            .into_iter()
            .map(|d| d.code)
            .collect();
        assert_eq!(codes, ["config/duplicate-control"]);
        let hint = effective(&floor(), &[spec("no-secret", Stage::Commit, &[])]).unwrap_err();
        assert_eq!(hint[0].help.as_deref(), Some("did you mean `no-secrets`?"));
    }

    #[test]
    fn tightened_values_are_in_force() {
        let added = spec("revocation-detected", Stage::Staging, &[("within_seconds", json!(5))]);
        let held = effective(&floor(), &[added]).unwrap();
        assert_eq!(held.len(), floor().len());
        let spec = held.iter().find(|spec| spec.id == "revocation-detected").unwrap();
        assert_eq!(spec.parameters["within_seconds"], json!(5));
        assert_eq!(spec.parameters["contained_within_seconds"], json!(30));
    }

    #[test]
    fn what_became_looser() {
        let commit = Stage::Commit;
        let at = |n: u64| {
            vec![spec(
                "revocation-detected",
                Stage::Staging,
                &[("within_seconds", json!(n))],
            )]
        };
        let bare = vec![spec("revocation-detected", Stage::Staging, &[])];
        let allow = |texts: &[&str]| vec![spec("licences-allowed", Stage::Build, &[("allow", json!(texts))])];
        let open = vec![spec("licences-allowed", Stage::Build, &[])];
        let deny = |texts: &[&str]| vec![spec("dependency-policy", commit, &[("deny", json!(texts))])];
        // Before, after, and how many lines.
        for (before, after, lines) in [
            (at(30), at(30), 0),
            (at(30), at(10), 0),
            (at(30), at(31), 1),
            (at(30), bare.clone(), 0),
            (at(10), bare.clone(), 1),
            (bare.clone(), at(31), 1),
            (at(30), vec![], 1),
            (vec![], at(30), 0),
            (at(10), [at(30), at(10)].concat(), 0),
            (allow(&["MIT"]), allow(&["MIT"]), 0),
            (allow(&["MIT"]), allow(&["MIT", "GPL-3.0"]), 1),
            (allow(&["MIT", "GPL-3.0"]), allow(&["MIT"]), 0),
            (allow(&["MIT"]), open.clone(), 1),
            (open, allow(&["MIT"]), 0),
            (deny(&["a"]), deny(&["a", "b"]), 0),
            (deny(&["a"]), deny(&["b"]), 1),
            (
                vec![spec("future", commit, &[("x", json!(1))])],
                vec![spec("future", commit, &[("x", json!(2))])],
                1,
            ),
            (
                vec![spec("future", commit, &[("x", json!(1))])],
                vec![spec("future", commit, &[("x", json!(1))])],
                0,
            ),
        ] {
            assert_eq!(
                loosened(&before, &after).len(),
                lines,
                "{before:?} → {after:?}: {:?}",
                loosened(&before, &after)
            );
        }
        assert_eq!(
            loosened(&at(30), &at(60)),
            ["`within_seconds` of control `revocation-detected` (stage staging) was `30`, is `60`"]
        );
        let a = |of: &str| format!("experiment experiments/a.toml {}", evidence::Digest::of(of.as_bytes()));
        let b = format!("experiment b.toml sha256:{}", evidence::Digest::of(b"b").hex());
        let judges = |texts: &[&str]| vec![spec("controls-not-loosened", commit, &[("judges", json!(texts))])];
        let nothing = vec![spec("controls-not-loosened", commit, &[])];
        let line =
            |end: &str| format!("`judges` of control `controls-not-loosened` (stage commit) no longer holds {end}");
        let many: Vec<String> = (0..7).map(|n| format!("secured GET /{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        for (before, after, end) in [
            (
                judges(&[&a("1"), &b, "secured POST /orders"]),
                judges(&[&a("2"), "identity shopper"]),
                Some("`experiment experiments/a.toml (changed)`, `experiment b.toml`, `secured POST /orders`"),
            ),
            (judges(&[&b]), nothing.clone(), Some("`experiment b.toml`")),
            (
                judges(&many),
                judges(&[]),
                Some(
                    "`secured GET /0`, `secured GET /1`, `secured GET /2`, `secured GET /3`, `secured GET /4` and 2 more",
                ),
            ),
            (judges(&[&b]), judges(&["identity shopper", &b]), None),
            (nothing, judges(&[&b]), None),
        ] {
            assert_eq!(loosened(&before, &after), end.map(line).into_iter().collect::<Vec<_>>());
        }
        assert_eq!(
            loosened(&at(30), &[]),
            ["control `revocation-detected` (stage staging) was removed"]
        );
    }

    fn any_specs() -> impl Strategy<Value = Vec<ControlSpec>> {
        let texts = || proptest::sample::subsequence(vec!["MIT", "GPL-3.0", "ISC"], 0..=3);
        let one = prop_oneof![
            (0u64..4).prop_map(|n| spec("revocation-detected", Stage::Staging, &[("within_seconds", json!(n))])),
            (0usize..5).prop_map(|n| spec(
                "dynamic-test-clean",
                Stage::Integration,
                &[("severity_min", json!(Severity::ALL[n].name()))]
            )),
            texts().prop_map(|list| spec("licences-allowed", Stage::Build, &[("allow", json!(list))])),
            texts().prop_map(|list| spec("dependency-policy", Stage::Commit, &[("deny", json!(list))])),
            Just(spec("no-secrets", Stage::Commit, &[])),
        ];
        proptest::collection::btree_map(0u8..5, one, 0..5).prop_map(|specs| {
            let mut specs: Vec<_> = specs.into_values().collect();
            specs.dedup_by(|a, b| a.id == b.id);
            let mut seen = std::collections::BTreeSet::new();
            specs.retain(|spec| seen.insert(spec.id.clone()));
            specs
        })
    }

    proptest! {
        /// Not loosened is reflexive and transitive, and asking more never loosens.
        #[test]
        fn loosened_is_monotone(a in any_specs(), b in any_specs(), c in any_specs(), extra in any_specs()) {
            prop_assert!(loosened(&a, &a).is_empty());
            if loosened(&a, &b).is_empty() && loosened(&b, &c).is_empty() {
                prop_assert!(loosened(&a, &c).is_empty());
            }
            let more = [b.clone(), extra].concat();
            prop_assert!(loosened(&a, &more).len() <= loosened(&a, &b).len());
            let fewer = a.get(1..).unwrap_or_default();
            prop_assert!(loosened(fewer, &b).len() <= loosened(&a, &b).len());
        }

        /// What `effective` accepts is never looser than the floor.
        #[test]
        fn effective_only_tightens(floor in any_specs(), added in any_specs()) {
            if let Ok(effective) = effective(&floor, &added) {
                prop_assert!(loosened(&floor, &effective).is_empty());
                prop_assert!(loosened(&added, &effective).is_empty());
            } else {
                prop_assert!(!added.is_empty());
            }
        }
    }
}
