//! `[chaos.choice]` and `[chaos.prevalence]` of `proofmark.toml`: what `chaos next` may propose, how often each
//! technique comes round, and how common the owner says techniques are.
//!
//! What an attacker who owns the file can do: let `chaos next` propose experiments up to another rung. What may run is
//! not decided here.

use std::collections::BTreeMap;

use crate::declare::Rung;
use crate::read::Section;

/// Each technique runs at least once in so many releases where nothing else is said.
const RELEASES_DEFAULT: u64 = 10;
/// Runs that a release is expected to have room for where nothing else is said.
const RUNS_DEFAULT: u64 = 3;

/// What a choice is told by the owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChoiceSettings {
    /// Each technique that an allowed experiment stands for runs at least once in so many releases.
    pub releases: u64,
    /// Runs that a release has room for: what the rule above counts on, and how many are proposed.
    pub runs: u64,
    /// Nothing above this rung is proposed, whatever was learnt.
    pub rung_max: Rung,
    /// Weights by ATT&CK technique, per cent of the most prevalent.
    pub prevalence: BTreeMap<String, u64>,
}

impl Default for ChoiceSettings {
    fn default() -> Self {
        ChoiceSettings {
            releases: RELEASES_DEFAULT,
            runs: RUNS_DEFAULT,
            rung_max: Rung::Isolated,
            prevalence: BTreeMap::new(),
        }
    }
}

impl ChoiceSettings {
    /// From `[chaos]`.
    pub(crate) fn read(chaos: &Section<'_>) -> ChoiceSettings {
        let default = ChoiceSettings::default();
        let prevalence = chaos.optional_section("prevalence");
        let weights = prevalence.iter().flat_map(|section| {
            section.keys().into_iter().filter_map(|id| {
                if !is_technique(&id) {
                    let message = format!("`{id}` is no ATT&CK technique");
                    section.problem(
                        &id,
                        "chaos/bad-technique",
                        message,
                        "write `T1078`, or `\"T1078.001\"` in quotes",
                    );
                    return None;
                }
                let percent = section.optional_number(&id, 1..=100)?;
                Some((id, percent))
            })
        });
        let prevalence = weights.collect();
        let Some(choice) = chaos.optional_section("choice") else {
            return ChoiceSettings { prevalence, ..default };
        };
        choice.only(&["releases", "runs", "rung_max"]);
        ChoiceSettings {
            releases: choice.optional_number("releases", 1..=1000).unwrap_or(default.releases),
            runs: choice.optional_number("runs", 1..=256).unwrap_or(default.runs),
            rung_max: choice
                .optional_choice("rung_max", &Rung::ALL, Rung::name)
                .unwrap_or(default.rung_max),
            prevalence,
        }
    }
}

/// `T1078`, `T1078.001`.
fn is_technique(id: &str) -> bool {
    let digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some(number) = id.strip_prefix('T') else {
        return false;
    };
    match number.split_once('.') {
        Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
        None => digits(number, 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[test]
    fn everything_can_be_said_and_what_is_not_is_cautious() {
        let text = "[chaos.choice]\nreleases = 4\nruns = 2\nrung_max = \"canary\"\n[chaos.prevalence]\nT1078 = 90\n\"T1499.003\" = 7\n";
        let choice = Settings::parse("proofmark.toml", text).unwrap().choice;
        assert_eq!((choice.releases, choice.runs, choice.rung_max), (4, 2, Rung::Canary));
        assert_eq!(choice.prevalence["T1499.003"], 7);
        let blank = Settings::parse("proofmark.toml", "[chaos]\n").unwrap().choice;
        assert_eq!(blank, ChoiceSettings::default());
        assert_eq!(blank.rung_max, Rung::Isolated);
    }

    #[test]
    fn problems_have_places() {
        let text = "[chaos.choice]\nrun = 2\n[chaos.prevalence]\nT107 = 90\nT1078 = 0\n";
        let problems: Vec<String> = Settings::parse("proofmark.toml", text)
            .unwrap_err()
            .iter()
            .map(|problem| format!("{}: {}", problem.span.as_ref().unwrap().line, problem.message))
            .collect();
        assert_eq!(
            problems,
            [
                "2: unknown key `run` in [chaos.choice]",
                "4: `T107` is no ATT&CK technique",
                "5: `T1078` is `0`, not from 1 to 100",
            ]
        );
    }
}
