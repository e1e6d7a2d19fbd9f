//! `atomic-red-team-linux`: other people's attacks, each run by [`chaos::atomic::run`] in a throwaway copy of this machine.
//!
//! A case is a Linux test. It passes when it ran to an end of its own or its deadline, or was not run for a reason that was found
//! out by trying, and the machine is as it was ([`Learned`]): files, mounts, network, kernel settings, processes. It is looked
//! at after each batch. Each test that was not run is listed with its reason.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chaos::atomic::{Ending, Options, Outcome, Test, parse, run};
use host::process::Cancel;

use super::machine::Learned;
use super::{Data, unplaced};
use crate::expected::Tally;

const COMMAND_SECONDS_MAX: u64 = 12;
const PREREQUISITE_SECONDS_MAX: u64 = 20;

/// Between a deadline and the end of all that ran: the kernel takes a copy of many files apart.
const GRACE_SECONDS_MAX: u64 = 10;

/// Tests at once.
const WORKERS: usize = 2;

/// After how many tests the machine is looked at.
const BATCH: usize = 96;

/// How many changed things of the machine are named.
const NAMED_MAX: usize = 5;

pub fn run_suite(data: &Data, tally: &mut Tally) -> Result<(), String> {
    let mut tests = Vec::new();
    for path in data.files()? {
        // What lies beside a technique's file is what its tests bring along.
        let technique = path.ends_with(".yaml") && path.split('/').count() == 3;
        if !technique {
            if !path.starts_with("atomics/") {
                unplaced(tally, &path);
            }
            continue;
        }
        let (technique, diagnostics) = parse(&data.bytes(&path)?, &path);
        for diagnostic in &diagnostics {
            tally.case(&path, "a technique", &diagnostic.message);
        }
        let linux = technique.into_iter().flat_map(|technique| technique.tests);
        tests.extend(linux.filter(Test::is_for_linux));
    }
    let options = Options {
        atomics: Some(data.folder.join("atomics")),
        timeout: Duration::from_secs(COMMAND_SECONDS_MAX),
        prerequisite_timeout: Duration::from_secs(PREREQUISITE_SECONDS_MAX),
        ..Options::default()
    };
    let mut learned = Learned::watch(Duration::from_secs(2))?;
    println!("{}", learned.describe());
    let mut kinds = BTreeMap::new();
    for batch in tests.chunks(BATCH) {
        let results = run_batch(batch, &options);
        let changed = learned.changed_since()?;
        for path in changed.iter().take(NAMED_MAX) {
            println!("the machine changed: {path}");
        }
        for (test, result) in batch.iter().zip(results) {
            let got = match (&result, changed.is_empty()) {
                (Ok(_), true) => "an outcome, and the machine as it was".to_owned(),
                (Ok(_), false) => format!("{} changes of the machine in its batch", changed.len()),
                (Err(problem), _) => problem.clone(),
            };
            if let Ok(outcome) = &result {
                *kinds.entry(kind(outcome)).or_insert(0) += 1;
                println!("{}: {}", test.id(), line(test, outcome));
            }
            tally.case(&test.id(), "an outcome, and the machine as it was", &got);
        }
    }
    for path in learned.differs_closely()?.iter().take(NAMED_MAX) {
        tally.case("the machine at the end", "as it was", path);
    }
    println!(
        "other programs changed files {} times meanwhile",
        learned.changed_by_others()
    );
    for (kind, count) in kinds {
        println!("{count} {kind}");
    }
    Ok(())
}

/// Results in the order of the tests.
fn run_batch(tests: &[Test], options: &Options) -> Vec<Result<Outcome, String>> {
    let queue: Mutex<VecDeque<usize>> = Mutex::new((0..tests.len()).collect());
    let results = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(next) = queue.lock().ok().and_then(|mut queue| queue.pop_front()) else {
                        return;
                    };
                    let result = run_one(&tests[next], options);
                    if let Ok(mut results) = results.lock() {
                        results.insert(next, result);
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    (0..tests.len())
        .map(|index| results.remove(&index).unwrap_or_else(|| Err("a panic".to_owned())))
        .collect()
}

fn run_one(test: &Test, options: &Options) -> Result<Outcome, String> {
    let started = Instant::now();
    let outcome = run(test, options, &Cancel::new()).map_err(|error| error.to_string())?;
    let prerequisites = u64::try_from(test.dependencies.len()).unwrap_or(u64::MAX);
    let longest = COMMAND_SECONDS_MAX + 3 * PREREQUISITE_SECONDS_MAX * prerequisites + GRACE_SECONDS_MAX;
    if started.elapsed() > Duration::from_secs(longest) {
        return Err(format!("it ran longer than {longest} s"));
    }
    Ok(outcome)
}

fn kind(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Ran(ran) => match ran.ending {
            Ending::Code(0) => "ran, exit code 0".to_owned(),
            Ending::Code(_) if !ran.missing.is_empty() => {
                "ran, another exit code; a program it calls is not installed".to_owned()
            }
            Ending::Code(_) if ran.unreachable > 0 => "ran, another exit code; it looked for the internet".to_owned(),
            Ending::Code(_) => "ran, another exit code".to_owned(),
            Ending::Signal(_) => "ran, and ended its whole copy".to_owned(),
            Ending::TimedOut => "ran, timed out".to_owned(),
            Ending::Cancelled => "ran, cancelled".to_owned(),
        },
        Outcome::NotRun(reason) => format!("not run: {}", reason.kind()),
    }
}

fn line(test: &Test, outcome: &Outcome) -> String {
    let name = &test.name;
    match outcome {
        Outcome::Ran(ran) => {
            let mut parts = vec![ran.ending.to_string()];
            parts.push(format!("{} paths changed", ran.changes.len()));
            parts.push(format!("{} processes", ran.processes));
            if !ran.missing.is_empty() {
                let missing: Vec<&str> = ran.missing.iter().map(String::as_str).collect();
                parts.push(format!("not installed: {}", missing.join(" ")));
            }
            if ran.unreachable > 0 {
                parts.push(format!("{} packets had no way out", ran.unreachable));
            }
            format!(
                "ran, {} ({name}, {:.1} s)",
                parts.join(", "),
                ran.duration.as_secs_f64()
            )
        }
        Outcome::NotRun(reason) => format!("not run: {reason} ({name})"),
    }
}
