//! Every fault on a declared target, on the real service: its probe true during, false after; applied twice, over a
//! change of somebody else, and while the target dies: undone or said, never clobbered.
//!
//! ```text
//! cargo test -p chaos --test faults -- [--runs N] [--seed S] [--only ID]
//! ```
//! Without arguments each fault is done once. A fault of the catalogue that attacks a declared target and has no rig is
//! a failure.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos::{Rehearsal, UndoJournal, Undone};
use testkit::rigs::{self, Make};
use testkit::{Rng, SimStorage};

/// A fault may hold so long.
const TIME_LEFT: Duration = Duration::from_secs(20);
/// With the supervisor alive an undo takes no longer.
const UNDO_MS_MAX: u128 = 2_000;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|arg| arg == "__holder") {
        return ExitCode::from(chaos::process::holder_main(&args[1..]));
    }
    let flag = |name: &str| args.iter().position(|arg| arg == name).and_then(|at| args.get(at + 1));
    let number = |name: &str, default: u64| flag(name).map_or(default, |text| text.parse().expect("a number"));
    let (runs, seed) = (number("--runs", 1), number("--seed", 1));
    let rigs = rigs::all();
    let mut failures = Vec::new();
    for entry in chaos::faults().iter().filter(|entry| !entry.targets.is_empty()) {
        if flag("--only").is_some_and(|only| only != entry.id) {
            continue;
        }
        let Some((_, make)) = rigs.iter().find(|(id, _)| *id == entry.id) else {
            failures.push(format!("{}: no rig proves it", entry.id));
            continue;
        };
        let begun = Instant::now();
        let before = failures.len();
        let mut undo_ms = Vec::new();
        for run in 0..runs {
            let seed = seed.wrapping_add(run);
            match prove(*make, seed, &mut undo_ms) {
                Ok(()) => {}
                Err(problem) => failures.push(format!("{} (seed {seed}): {problem}", entry.id)),
            }
        }
        undo_ms.sort_unstable();
        let median = undo_ms.get(undo_ms.len() / 2).copied().unwrap_or(0);
        println!(
            "{:<32} {:<16} {runs} runs, {} failures, undo {median} ms (median), {:.1} s",
            entry.id,
            entry.undo_class.name(),
            failures.len() - before,
            begun.elapsed().as_secs_f64()
        );
    }
    if let Some(only) = flag("--only").filter(|only| !rigs.iter().any(|(id, _)| *only == id)) {
        failures.push(format!("no rig is for a fault `{only}`"));
    }
    for failure in &failures {
        println!("{failure}");
    }
    println!("{} failures", failures.len());
    ExitCode::from(u8::from(!failures.is_empty()))
}

/// The four ways in turn, in an order that the seed draws, on one rig.
fn prove(make: Make, seed: u64, undo_ms: &mut Vec<u128>) -> Result<(), String> {
    let folder = tempfile::Builder::new()
        .prefix("proofmark-rig-")
        .tempdir()
        .map_err(|error| error.to_string())?;
    let mut rig = make(folder.path())?;
    let mut ways = [Way::Plain, Way::Twice, Way::Meddled, Way::Dies];
    let mut rng = Rng::new(seed);
    for index in (1..ways.len()).rev() {
        ways.swap(index, usize::try_from(rng.below(index as u64 + 1)).unwrap_or(0));
    }
    for way in ways {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        once(rig.as_mut(), way, &program, undo_ms).map_err(|problem| format!("{way:?}: {problem}"))?;
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Plain,
    Twice,
    Meddled,
    Dies,
}

fn once(rig: &mut dyn rigs::Rig, way: Way, program: &Path, undo_ms: &mut Vec<u128>) -> Result<(), String> {
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).map_err(|error| error.to_string())?;
    let mut drill =
        Rehearsal::new(&rig.fault(), &rig.targets(), TIME_LEFT).map_err(|problems| format!("{problems:?}"))?;
    let before = rig.state()?;
    drill.plan(&journal)?;
    let truth = |rig: &mut dyn rigs::Rig, drill: &Rehearsal, expect: bool, when: &str| {
        let (shows, bites) = (rig.shows()?, drill.bites()?);
        if (shows, bites) == (expect, expect) {
            return Ok(());
        }
        Err(format!(
            "{when}: the service shows it {shows}, the probe says {bites}, {expect} is right"
        ))
    };
    truth(rig, &drill, false, "before")?;
    drill.inject(&journal, program)?;
    if way == Way::Twice {
        drill.inject(&journal, program)?;
    }
    truth(rig, &drill, true, "during")?;
    let mut kept = None;
    match way {
        Way::Meddled => kept = rig.meddle().transpose()?,
        Way::Dies => {
            if let Some(died) = rig.kill() {
                died?;
                // It is said, or nothing was left to undo; the next start finds the entry all the same.
                let _ = drill.undo(&journal);
                rig.revive()?;
            }
        }
        Way::Plain | Way::Twice => {}
    }
    let begun = Instant::now();
    let undone = drill.undo(&journal)?;
    let took = begun.elapsed().as_millis();
    undo_ms.push(took);
    if took > UNDO_MS_MAX {
        return Err(format!("undoing took {took} ms"));
    }
    if let Some(mut kept) = kept {
        if !kept()? {
            return Err("the change of somebody else was clobbered".to_owned());
        }
        if undone == Undone::Restored && rig.state()? == before {
            return Err("the change of somebody else is gone".to_owned());
        }
        rig.revive()?;
    } else {
        truth(rig, &drill, false, "after")?;
        let after = rig.state()?;
        if way != Way::Dies && after != before {
            return Err(format!("it was `{before}` before and is `{after}` after"));
        }
        if way == Way::Dies {
            rig.revive()?;
        }
    }
    drill.undo(&journal)?;
    if !journal.pending().is_empty() {
        return Err("the journal still has an open entry".to_owned());
    }
    Ok(())
}
