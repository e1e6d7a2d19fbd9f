//! What the kernel bounds ends by itself: whoever injected is killed, nobody undoes anything, and the fault is over by
//! its deadline.
//!
//! ```text
//! cargo test -p chaos --test kernel_bounded
//! ```
//! One process injects and is killed with SIGKILL; another, which knows nothing but the service, asks until the fault
//! no longer shows.

use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chaos::{Rehearsal, UndoClass, UndoJournal};
use testkit::SimStorage;
use testkit::rigs::{self, Rig};

const TIME_LEFT: Duration = Duration::from_secs(3);
/// After its deadline a fault may still be seen for so long.
const LATE: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, fault, targets] = args.as_slice()
        && flag == "__inject"
    {
        inject(fault, targets);
    }
    let mut failures = 0;
    let all = chaos::faults().iter();
    for entry in all.filter(|entry| entry.undo_class == UndoClass::KernelBounded && !entry.targets.is_empty()) {
        let told = rigs::all()
            .into_iter()
            .find(|(id, _)| *id == entry.id)
            .ok_or_else(|| "no rig proves it".to_owned())
            .and_then(|(_, make)| {
                let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
                ends(make(folder.path())?.as_mut())
            });
        match told {
            Ok(late) => println!("{:<32} gone when asked {late} ms after its deadline", entry.id),
            Err(problem) => {
                failures += 1;
                println!("{:<32} {problem}", entry.id);
            }
        }
    }
    println!("{failures} failures");
    ExitCode::from(u8::from(failures > 0))
}

/// Injects, says so, and waits to be killed.
fn inject(fault: &str, targets: &str) -> ! {
    let journal = UndoJournal::open(Arc::new(SimStorage::new(1))).expect("a journal in memory");
    let mut drill = Rehearsal::new(fault, targets, TIME_LEFT).expect("a fault of the catalogue");
    drill.plan(&journal).expect("a target as it should be");
    let program = std::env::current_exe().expect("this program");
    drill.inject(&journal, &program).expect("an injection");
    println!("injected");
    std::thread::sleep(TIME_LEFT * 10);
    std::process::exit(1)
}

/// How many milliseconds after the deadline the service was asked, and did not show it.
fn ends(rig: &mut dyn Rig) -> Result<i128, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let before = rig.state()?;
    let mut child = Command::new(program)
        .args(["__inject", &rig.fault(), &rig.targets()])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut said = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().ok_or("it has no output")?);
    let read = std::io::BufRead::read_line(&mut output, &mut said);
    // The time that was left began before this line was read, so the deadline is no later than this one.
    let deadline = Instant::now() + TIME_LEFT;
    let killed = child.kill().and_then(|()| child.wait());
    read.and(killed).map_err(|error| error.to_string())?;
    if said != "injected\n" {
        return Err("it was not injected".to_owned());
    }
    if !rig.shows()? {
        return Err("it does not outlive its process".to_owned());
    }
    // A question that was asked before the deadline and answered after it tells nothing.
    std::thread::sleep((deadline + LATE).saturating_duration_since(Instant::now()));
    let asked = Instant::now();
    if rig.shows()? {
        return Err(format!(
            "it holds {} ms after its deadline",
            (asked - deadline).as_millis()
        ));
    }
    let after = rig.state()?;
    // The shell of its table is all that is left, and says nothing.
    if after.split_whitespace().next() != before.split_whitespace().next() {
        return Err(format!("it answered `{before}` before, and `{after}` after"));
    }
    let late = asked - deadline;
    i128::try_from(late.as_millis()).map_err(|error| error.to_string())
}
