//! SigmaHQ's own rules and recorded events, where the data is there: all rules at once answer as rsigma does, over the
//! events as they were recorded and over thousands of others made of them and of what the rules look for.

mod common;

use std::fs;

use common::{files, unpack};
use rsigma_eval::Engine;
use rsigma_eval::event::JsonEvent;
use rsigma_parser::parse_sigma_yaml;
use serde_json::{Value, json};
use telemetry::{SigmaRules, windows_event};

/// Events made of each recorded one.
const MUTANTS: u64 = 6;

/// Numbers that look random, the same each time: <https://prng.di.unimi.it/splitmix64.c>.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end as u64) as usize
    }
}

/// Some fields are dropped, turned into lists, written in capitals, or made of what rules look for.
fn mutant(event: &Value, sought: &[&str], numbers: &mut Numbers) -> Value {
    let mut mutant = event.clone();
    let Some(fields) = mutant.as_object_mut() else {
        return mutant;
    };
    let names: Vec<String> = fields.keys().cloned().collect();
    for _ in 0..=numbers.below(4) {
        let name = names[numbers.below(names.len())].clone();
        let text = fields.get(&name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let word = sought[numbers.below(sought.len())];
        let changed = match numbers.below(9) {
            0 => drop_field(fields, &name),
            1 => json!([text, word]),
            2 => json!(text.to_uppercase()),
            3 => json!(format!("{text}{word}")),
            4 => json!(format!("{word} {text}")),
            5 => json!(word),
            6 => json!(format!("{word}\u{17f}\u{212a}")),
            7 => json!(word.replace('*', " x ").to_uppercase()),
            _ => json!(numbers.below(5000)),
        };
        fields.insert(name, changed);
    }
    mutant
}

fn drop_field(fields: &mut serde_json::Map<String, Value>, name: &str) -> Value {
    fields.remove(name);
    Value::Null
}

#[test]
fn all_rules_answer_as_rsigma_does() {
    let (Some(rule_folder), Some(event_folder)) = (unpack("sigma-rules.tar.gz"), unpack("sigma-regression.tar.gz"))
    else {
        return;
    };
    let (mut paths, mut sources) = (Vec::new(), Vec::new());
    files(rule_folder.path(), "yml", &mut paths);
    for path in &paths {
        sources.push((path.display().to_string(), fs::read(path).unwrap()));
    }
    let ours = SigmaRules::load(&sources).unwrap_or_else(|found| panic!("{found:#?}"));
    let texts: Vec<&str> = sources
        .iter()
        .map(|(_, bytes)| std::str::from_utf8(bytes).unwrap())
        .collect();
    let mut theirs = Engine::new();
    let parsed: Vec<_> = texts
        .iter()
        .flat_map(|text| parse_sigma_yaml(text).unwrap().rules)
        .collect();
    assert!(theirs.add_rules(&parsed).is_empty());
    assert!(parsed.len() > 3000, "only {} rules", parsed.len());
    let listed = texts
        .iter()
        .flat_map(|text| text.lines())
        .filter_map(|line| line.trim().strip_prefix("- '"));
    let sought: Vec<&str> = listed.filter_map(|word| word.strip_suffix('\'')).collect();

    let (mut looked, mut matched, mut recorded) = (0, 0, Vec::new());
    let mut numbers = Numbers(5);
    files(event_folder.path(), "json", &mut recorded);
    for path in recorded {
        let bytes = fs::read(&path).unwrap();
        for event in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
            let event = windows_event(&event.unwrap()).unwrap().fields;
            let mutants = (0..MUTANTS)
                .map(|_| mutant(&event, &sought, &mut numbers))
                .collect::<Vec<_>>();
            for event in std::iter::once(&event).chain(&mutants) {
                let matches: Vec<(String, String)> = ours
                    .matches(event)
                    .into_iter()
                    .map(|found| (found.id, found.title))
                    .collect();
                let expected: Vec<(String, String)> = theirs
                    .evaluate(&JsonEvent::borrow(event))
                    .into_iter()
                    .map(|result| (result.header.rule_id.unwrap_or_default(), result.header.rule_title))
                    .collect();
                assert_eq!(matches, expected, "{}: {event}", path.display());
                looked += 1;
                matched += matches.len();
            }
        }
    }
    println!("{looked} events, {matched} matches, all as rsigma has them");
    assert!(looked > 500 && matched > looked, "{looked} events, {matched} matches");
}
