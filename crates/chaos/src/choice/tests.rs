use proptest::prelude::*;

use super::*;

const TECHNIQUES: [&str; 7] = ["T1078", "T1098", "T1485", "T1489", "T1498", "T1531", "T1562.001"];

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn candidate(path: &str, technique: &str, target: &str) -> Candidate {
    Candidate {
        path: path.to_owned(),
        identity: path.to_owned(),
        traits: Traits {
            faults: names(&[technique]),
            families: names(&["sql"]),
            techniques: names(&[technique]),
            targets: names(&[target]),
            kinds: names(&["postgresql"]),
        },
        criticality: 3,
        harm: 0.8,
        rung: Rung::Isolated,
        reach: 1,
        seconds: 30.0,
        objections: Vec::new(),
    }
}

fn trial(of: &Candidate, failed: Option<bool>, release: u64, index: u64) -> Trial {
    Trial {
        traits: of.traits.clone(),
        candidate: of.identity.clone(),
        failed,
        release,
        index,
        seconds: 2.0,
    }
}

fn paths(choice: &Choice) -> Vec<&str> {
    choice.picks.iter().map(|pick| pick.path.as_str()).collect()
}

/// Candidates of every sort; every third is refused by the owner's settings, every fifth stands on a higher rung.
fn all_sorts() -> Vec<Candidate> {
    let of = |number: usize| {
        let mut made = candidate(
            &format!("e{number:02}.toml"),
            TECHNIQUES[number % TECHNIQUES.len()],
            ["db", "cache", "queue"][number % 3],
        );
        if number.is_multiple_of(3) {
            made.objections = names(&["it touches 3 targets, `targets_max` allows 2"]);
        }
        if number.is_multiple_of(5) {
            made.rung = Rung::ALL[1 + number % 3];
        }
        made
    };
    (0..24).map(of).collect()
}

fn histories() -> impl Strategy<Value = Vec<(usize, Option<bool>, u64)>> {
    prop::collection::vec((0_usize..24, prop::option::of(any::<bool>()), 0_u64..4), 0..60)
}

proptest! {
    /// Learning changes the order alone: whatever was seen, the same candidates are proposed and the same refused.
    #[test]
    fn no_history_makes_it_propose_what_the_owner_refuses(history in histories(), seed: u64, release in 0_u64..6) {
        let candidates = all_sorts();
        let trials: Vec<Trial> = history
            .iter()
            .zip(0..)
            .map(|((at, failed, release), index)| trial(&candidates[*at], *failed, *release, index))
            .collect();
        let settings = ChoiceSettings::default();
        let blank = choose(&candidates, &[], 0, &settings, 0, candidates.len());
        let choice = choose(&candidates, &trials, release, &settings, seed, candidates.len());
        let (mut before, mut after) = (paths(&blank), paths(&choice));
        before.sort_unstable();
        after.sort_unstable();
        prop_assert_eq!(before, after);
        prop_assert_eq!(&blank.refused, &choice.refused);
        for path in paths(&choice) {
            let proposed = candidates.iter().find(|candidate| candidate.path == path).unwrap();
            prop_assert!(proposed.objections.is_empty() && proposed.rung == Rung::Isolated);
        }
    }

    /// The same candidates in any order, runs and seed: the same choice.
    #[test]
    fn a_choice_is_replayed(history in histories(), seed: u64) {
        let mut candidates = all_sorts();
        let trials: Vec<Trial> = history
            .iter()
            .zip(0..)
            .map(|((at, failed, release), index)| trial(&candidates[*at], *failed, *release, index))
            .collect();
        let settings = ChoiceSettings::default();
        let first = choose(&candidates, &trials, 4, &settings, seed, 5);
        candidates.reverse();
        let again = choose(&candidates, &trials, 4, &settings, seed, 5);
        prop_assert_eq!(format!("{first:?}"), format!("{again:?}"));
    }

    /// Whatever comes of the runs, each technique is run at least once in any `releases` releases.
    #[test]
    fn each_technique_comes_round(seed: u64, releases in 3_u64..8, verdicts in prop::collection::vec(any::<bool>(), 300)) {
        // One technique is never common, never fails and is never critical: by its score alone it would wait for ever.
        let mut candidates: Vec<Candidate> = TECHNIQUES
            .iter()
            .flat_map(|technique| (0..4).map(move |n| candidate(&format!("{technique}-{n}"), technique, &format!("t{n}"))))
            .collect();
        for dull in candidates.iter_mut().filter(|candidate| candidate.traits.techniques[0] == TECHNIQUES[4]) {
            dull.criticality = 1;
            dull.harm = 0.0;
            dull.seconds = 300.0;
        }
        let runs = (TECHNIQUES.len() as u64).div_ceil(releases);
        let settings = ChoiceSettings { releases, runs, ..ChoiceSettings::default() };
        let mut trials: Vec<Trial> = Vec::new();
        let mut verdicts = verdicts.into_iter().cycle();
        for release in 0..releases * 3 {
            // One at a time, so that each is chosen knowing the one before it.
            for _ in 0..runs {
                let choice = choose(&candidates, &trials, release, &settings, seed, 1);
                prop_assert!(choice.short.is_none());
                let picked = candidates.iter().find(|candidate| candidate.path == choice.picks[0].path).unwrap();
                let failed = picked.traits.techniques[0] != TECHNIQUES[4] && verdicts.next().unwrap();
                let index = trials.len() as u64;
                trials.push(trial(picked, Some(failed), release, index));
            }
        }
        for technique in TECHNIQUES {
            for first in 0..=releases * 2 {
                let window = first..first + releases;
                let ran = trials.iter().any(|trial| window.contains(&trial.release) && trial.traits.techniques[0] == technique);
                prop_assert!(ran, "{technique} not in releases {window:?} of {releases}");
            }
        }
    }
}

#[test]
fn without_the_rule_the_dull_technique_waits() {
    let mut dull = candidate("dull", "T1498", "db");
    (dull.criticality, dull.harm, dull.seconds) = (1, 0.0, 300.0);
    let keen = candidate("keen", "T1078", "db");
    let settings = ChoiceSettings {
        releases: 3,
        runs: 1,
        ..ChoiceSettings::default()
    };
    let failed = [trial(&keen, Some(true), 0, 0), trial(&keen, Some(true), 1, 1)];
    let choose = |trials: &[Trial], release| choose(&[dull.clone(), keen.clone()], trials, release, &settings, 1, 1);
    let early = choose(&failed[..1], 1);
    assert_eq!((paths(&early), &early.picks[0].reason), (vec!["keen"], &Reason::Score));
    let due = choose(&failed, 2);
    let expect = Reason::Due {
        technique: "T1498".to_owned(),
        last: None,
    };
    assert_eq!((paths(&due), &due.picks[0].reason), (vec!["dull"], &expect));
    // What could not be judged has not run, but gives way to others until the next release.
    let unknown = [failed.to_vec(), vec![trial(&dull, None, 2, 2)]].concat();
    assert_eq!(paths(&choose(&unknown, 2)), ["keen"]);
    assert_eq!(paths(&choose(&unknown, 3)), ["dull"]);
}

#[test]
fn a_rule_that_has_no_room_says_so() {
    let candidates: Vec<Candidate> = TECHNIQUES
        .iter()
        .map(|technique| candidate(technique, technique, "db"))
        .collect();
    let settings = ChoiceSettings {
        releases: 3,
        runs: 2,
        ..ChoiceSettings::default()
    };
    let choice = choose(&candidates, &[], 0, &settings, 1, 2);
    assert!(
        choice
            .short
            .unwrap()
            .starts_with("7 techniques may need more than the 6 runs")
    );
}

/// What is believed of `of` after these runs, and before any.
#[track_caller]
fn check_mean(of: &Candidate, trials: &[Trial], higher: bool) {
    let mean = |trials: &[Trial]| Posterior::of(trials, 0).belief(&of.identity, &of.traits).beta.mean();
    let (before, after) = (mean(&[]), mean(trials));
    assert_eq!(after > before, higher, "{before} {after}");
}

#[test]
fn learning_one_says_something_of_its_neighbours() {
    let fails = |of: &Candidate, failed: bool| -> Vec<Trial> {
        let other = candidate("far", "T1485", "far");
        let mut all: Vec<Trial> = (0..6).map(|index| trial(of, Some(failed), 0, index)).collect();
        // Another group that does the opposite: the difference is what is learnt from.
        all.extend((6..12).map(|index| trial(&other, Some(!failed), 0, index)));
        all
    };
    let one = candidate("a", "T1078", "db");
    let same_technique = candidate("b", "T1078", "cache");
    let same_target = candidate("c", "T1531", "db");
    for neighbour in [&one, &same_technique, &same_target] {
        check_mean(neighbour, &fails(&one, true), true);
        check_mean(neighbour, &fails(&one, false), false);
    }
}

#[test]
fn what_is_known_to_fail_waits_for_the_next_release() {
    let (broken, open) = (candidate("broken", "T1078", "db"), candidate("open", "T1098", "cache"));
    let trials = [trial(&broken, Some(true), 3, 12)];
    for seed in 0..50 {
        let now = choose(
            &[broken.clone(), open.clone()],
            &trials,
            3,
            &ChoiceSettings::default(),
            seed,
            2,
        );
        assert_eq!(paths(&now), ["open", "broken"], "{seed}");
        assert_eq!(now.picks[1].factors.known, Some(12));
        assert_eq!(
            now.picks[0].runner_up.as_ref().map(|(path, _)| path.as_str()),
            Some("broken")
        );
    }
    let next = choose(&[broken, open], &trials, 4, &ChoiceSettings::default(), 1, 2);
    assert!(next.picks.iter().all(|pick| pick.factors.known.is_none()));
}

#[test]
fn each_factor_moves_the_score_its_way() {
    let base = candidate("x", "T1078", "db");
    let score = |changed: &Candidate, settings: &ChoiceSettings| {
        choose(std::slice::from_ref(changed), &[], 0, settings, 9, 1).picks[0]
            .factors
            .score
    };
    let plain = score(&base, &ChoiceSettings::default());
    let with = |change: &dyn Fn(&mut Candidate)| {
        let mut changed = base.clone();
        change(&mut changed);
        score(&changed, &ChoiceSettings::default())
    };
    assert!(with(&|c| c.criticality = 5) > plain);
    assert!(with(&|c| c.harm = 0.0) < plain);
    assert!(with(&|c| c.seconds = 300.0) < plain);
    assert!(with(&|c| c.reach = 2) < plain);
    let rarer = ChoiceSettings {
        prevalence: BTreeMap::from([("T1078".to_owned(), 1)]),
        ..ChoiceSettings::default()
    };
    assert!(score(&base, &rarer) < plain);
}

#[test]
fn harm_is_read_from_what_a_fault_says_of_itself() {
    let of = |confidentiality, integrity, availability| {
        harm(Effect {
            confidentiality,
            integrity,
            availability,
        })
    };
    assert_eq!(of("kept", "kept", "kept: writes go to memory"), 0.0);
    assert!(of("lost", "kept", "kept") > of("at risk", "kept", "kept"));
    assert!(of("kept", "kept", "degraded: answers come late") > of("kept, unless it fails open", "kept", "kept"));
    assert!(
        crate::faults()
            .iter()
            .all(|entry| (0.0..1.0).contains(&harm(entry.effect)))
    );
}
